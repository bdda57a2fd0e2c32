"""Replacing the settings file: a path and a function from its text to a new one come in, the path of a backup goes out.

At any moment there is the old file or the new one, complete and with the same owner and mode. Two commands wait for
each other by a lock on a file of their own, which other users cannot open; if another program, such as an editor,
changed the settings meanwhile, they are left as they are.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from codecs import BOM_UTF8
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Callable

from sfwebhooks import system
from sfwebhooks.errors import NotEditableError
from sfwebhooks.files import SETTINGS_MAX, content
from sfwebhooks.outbox.permissions import identity, make, open_ours, real_path, write_problem
from sfwebhooks.text_file import decoded_text, settled

#: suffix of the previous version, which is kept next to the file
PREVIOUS = ".previous"
#: suffix of a version that is not complete yet
DRAFT = ".new"
#: suffix of the file that a command locks while it runs, and then removes
LOCK = ".lock"
#: seconds to wait for another command, and between two tries
PATIENCE_SECONDS = 10.0
TRY_SECONDS = 0.05


def rewrite(path: Path, change: Callable[[str], str]) -> Path | None:
    """Replace the text of a file; return the path of its backup, or None if the text is the same.

    Args:
        path: if it is a link, the file to which it leads is replaced.
        change: returns the new text for the present one, or raises; both have the line ends of the file.

    Raises:
        NotEditableError: the file cannot be read or replaced, or another program changed it; it is as it was.
    """
    real = real_path(path)
    try:
        with _locked(real):
            return _replaced(real, change)
    except ValueError as error:
        raise NotEditableError(f"{path} cannot be read: {error}") from error
    except OSError as error:
        raise NotEditableError(f"{path} cannot be changed: {_why(real, error)}; it is as it was") from error


def _replaced(real: Path, change: Callable[[str], str]) -> Path | None:
    data = settled(real)
    decoded_text(data)  # else it has another encoding, which this names
    mark = BOM_UTF8 if data.startswith(BOM_UTF8) else b""
    made = mark + change(data[len(mark) :].decode()).encode()
    if made == data:
        return None
    if len(made) > SETTINGS_MAX:
        raise OSError(errno.EFBIG, f"it would have more than {SETTINGS_MAX:,} bytes")
    backup = real.with_name(real.name + PREVIOUS)
    drafts: list[Path] = []
    try:
        for place, its in ((backup, data), (real, made)):
            drafts.append(_draft(place, its, real))
        if content(real, SETTINGS_MAX) != data:
            raise OSError(errno.EBUSY, "another program changed it in this moment: run the command again")
        for draft, place in zip(drafts, (backup, real)):
            draft.replace(place)
    except BaseException:
        for draft in drafts:
            draft.unlink(missing_ok=True)
        raise
    _sync_folder(real.parent)
    return backup


@contextmanager
def _locked(real: Path) -> Iterator[None]:
    """Hold the lock that other commands which replace a file wait for."""
    if not system.REMOVES_OPEN:  # a file that is open cannot be replaced either
        yield
        return
    lock, deadline = real.with_name(f".{real.name}{LOCK}"), time.monotonic() + PATIENCE_SECONDS
    while (descriptor := _try(lock)) is None:
        if time.monotonic() > deadline:
            raise OSError(errno.EBUSY, "another command is changing it")
        time.sleep(TRY_SECONDS)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
        os.close(descriptor)  # releases the lock


def _try(lock: Path) -> int | None:
    """Return the descriptor of the locked file, or None if it is locked or was removed."""
    descriptor = open_ours(lock)
    is_locked = True
    with suppress(OSError):  # some network file systems have no such locks; contents are compared anyway
        is_locked = system.lock(descriptor)
    found = os.fstat(descriptor)
    if is_locked and identity(lock) == (found.st_dev, found.st_ino):
        return descriptor
    os.close(descriptor)
    return None


def _draft(path: Path, data: bytes, like: Path) -> Path:
    """Write a complete file next to a path, with the owner and the mode of another file; return where it is.

    Its mode is never wider than that, also while it is written.
    """
    draft = path.with_name(f".{path.name}{DRAFT}")
    draft.unlink(missing_ok=True)  # of a process that was killed
    descriptor = make(draft)
    try:
        with os.fdopen(descriptor, "wb") as file:
            _assign(file.fileno(), like.stat())
            system.copy_access(like, file.fileno())
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        draft.unlink()
        raise
    return draft


def _assign(descriptor: int, like: os.stat_result) -> None:
    """Give an open file the owner and the mode of another one."""
    if not system.OWNERS:
        return
    found = os.fstat(descriptor)
    if (found.st_uid, found.st_gid) != (like.st_uid, like.st_gid):
        try:
            os.fchown(descriptor, like.st_uid, like.st_gid)
        except PermissionError as error:
            owner = system.user_name(like.st_uid)
            raise OSError(errno.EPERM, f"the new file could not be given to {owner}: run this as {owner}") from error
    os.fchmod(descriptor, stat.S_IMODE(like.st_mode))


def _sync_folder(folder: Path) -> None:
    """Let the file's new name survive a power failure, where the system has a way to."""
    if system.DIRECTORY:
        descriptor = os.open(folder, os.O_RDONLY | system.DIRECTORY)
        try:
            with suppress(OSError):
                os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _why(real: Path, error: OSError) -> str:
    """Return the reason in words, with the path if it is another one than that of the file."""
    if error.errno == errno.ENOENT:
        return "there is no such file; sfwebhooks init creates one"
    if error.errno == errno.EBUSY and error.filename:  # rename(2), of a bind mount
        return "it is mounted as a single file: mount its folder"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC) and error.filename:
        found = write_problem(real)
        if found:
            return str(found)
    place, words = error.filename2 or error.filename, error.strerror or str(error)
    return f"{place}: {words}" if place and str(place) != str(real) else words
