"""Ownership of the files in the data folder: which may be used, and who owns the files that we create.

A path comes in; it may be used, or an OutboxError names the users, the file and the command that helps. A user who can
write to the outbox decides what is sent, and one who can replace it by a link decides which file root overwrites.
"""

from __future__ import annotations

import errno
import os
import re
import shlex
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from sfwebhooks import system
from sfwebhooks.errors import OutboxBusyError, OutboxError, ShortageError, is_shortage
from sfwebhooks.files import SQLITE, kind_of, open_regular

#: suffixes of the outbox's files: SQLite's, but for the rollback journal, which it never has
SUFFIXES = SQLITE[:-1]
#: the folder of the locks has the outbox's name with this suffix
LOCKS = ".locks"
DATABASE = ".db"
#: the same call may succeed in a moment: no disk space, memory or descriptors are left
PASSING = frozenset(
    (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO, errno.EBUSY, errno.EAGAIN)
)
#: tries to open a file that other processes create and remove at the same time
TRIES = 10
Identity = tuple[int, int]


def identity(path: str | Path) -> Identity | None:
    """Return device and inode of the file at a path; None if there is none."""
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def real_path(path: Path) -> Path:
    """Return the real path of a file: SQLite and the locks must agree on it, whatever name is used."""
    return Path(os.path.realpath(path))


# --- files that we create


def make(path: Path, mode: int = 0o600) -> int:
    """Create and open a file; root gives it to its folder's owner, whose processes could not use it otherwise.

    Raises:
        FileExistsError: the name is taken, possibly by a link.
        OSError: it cannot be created, or not be given to that user.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | system.NOFOLLOW | system.BINARY, mode)
    try:
        if system.OWNERS and os.fstat(descriptor).st_mode & mode != mode:  # the umask removed bits
            os.fchmod(descriptor, mode)
        _give(descriptor, path.parent)
    except BaseException:
        os.close(descriptor)
        path.unlink()
        raise
    return descriptor


def make_folder(path: Path) -> None:
    """Create a folder for our own files, unless it is there.

    Raises:
        OutboxError: it is not a folder, or others can write to it.
        OSError: it cannot be created, or not be given to the owner of its parent folder.
    """
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
        if system.OWNERS:
            descriptor = os.open(path, os.O_RDONLY | system.DIRECTORY | system.NOFOLLOW)
            try:
                _give(descriptor, path.parent)
            finally:
                os.close(descriptor)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise OutboxError(f"{path} is not a folder: remove it")
    _demand_owner(path, found)


def open_ours(path: Path) -> int:
    """Open a file of ours for reading and writing, creating it if needed, without following a link.

    Raises:
        OutboxError: it belongs to another user, or others can write to it.
        OSError: it cannot be opened.
    """
    for _ in range(TRIES):
        with suppress(FileExistsError):
            return make(path)
        with suppress(FileNotFoundError):  # another process removed it in between
            descriptor = open_regular(path, os.O_RDWR, links=False)
            try:
                _demand_ours(path, os.fstat(descriptor))
            except BaseException:
                os.close(descriptor)
                raise
            return descriptor
    raise OutboxBusyError(f"{path} is created and removed repeatedly")


def _give(descriptor: int, folder: Path) -> None:
    """Give a file that root has just created to the owner of its folder. Never an existing file: the owner could have
    put a file of root's there to get it."""
    owner = folder.stat()
    if system.user() == 0 and os.fstat(descriptor).st_uid != owner.st_uid:
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


# --- files that may be used


def checked(outbox: Path) -> Path:
    """Return the real path of the outbox, if no other user can have put it there.

    Raises:
        OutboxError: another user can have, or it has two names, which SQLite and the locks would take for two files.
        OSError: it cannot be examined.
    """
    path = real_path(outbox)
    _check_folder(path.parent)
    if outbox.is_symlink():
        _check_folder(outbox.parent)
        _check_link(outbox, path)
    check_files(path)
    if _is_mounted(path):
        raise OutboxError(f"{path} is mounted as a single file, without its log {path.name}-wal: mount its folder")
    return path


def check_files(path: Path) -> None:
    """Check that the outbox and SQLite's other files are ours, if they exist.

    Raises:
        OutboxError: one of them is not, or others can write to it.
    """
    for suffix in SQLITE:
        check_file(path.with_name(path.name + suffix))


def check_file(path: Path) -> None:
    """Check that a file is ours, if it exists.

    Raises:
        OutboxError: it is not, or others can write to it.
    """
    with suppress(FileNotFoundError):
        _demand_ours(path, path.lstat())


def _check_folder(folder: Path) -> None:
    """Check that not everybody can replace files in a folder; in a sticky one such as /tmp only their owner can."""
    mode = folder.stat().st_mode
    if system.OWNERS and mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise OutboxError(
            f"everybody can write to the folder {folder} and so replace the outbox:"
            f" chmod o-w {_quoted(folder)}, or set SPIDERFOOT_DATA to a folder of {_user(system.user())}"
        )


def _check_link(link: Path, path: Path) -> None:
    """Check the owner of a link that replaces the outbox: a user must not direct root to files of other users."""
    owner = link.lstat().st_uid
    if system.user() == 0:
        reached = {found.st_uid for found in map(_stat, (path.parent, path)) if found}
        trusted = owner == 0 or reached == {owner}
    else:
        trusted = owner in (0, system.user(), link.parent.stat().st_uid)
    if not trusted:
        raise OutboxError(f"{link} is a link to {path} by {_user(owner)}, who is not trusted: remove the link")


def _demand_ours(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise OutboxError(f"{path} is not a regular file but {kind_of(found)}: remove it")
    if found.st_nlink > 1:
        raise OutboxError(
            f"{path} has a second name (a hard link), under which it is used without its log and its locks:"
            f" find / -xdev -samefile {_quoted(path)} shows both; remove one"
        )
    _demand_owner(path, found)


def _demand_owner(path: Path, found: os.stat_result) -> None:
    me, owner = system.user(), path.parent.stat().st_uid
    if found.st_uid not in (0, me, owner if me == 0 else me):
        raise _foreign(path)
    if system.OWNERS and found.st_mode & stat.S_IWOTH:
        raise OutboxError(f"everybody can write to {path}: chmod go-rwx {_quoted(path)}")


def _is_mounted(path: Path) -> bool:
    """Return whether a file is itself a mount: then it is another file's second name (proc_pid_mountinfo(5))."""
    place = re.sub(r"[\\ \t\n]", lambda found: f"\\{ord(found[0]):03o}", str(path))
    return any(line.split(" ")[4:5] == [place] for line in system.proc("self/mountinfo").split("\n"))


def permission_warnings(outbox: Path) -> Iterator[str]:
    """Yield warnings about other users who can read or write the outbox, and about files with another owner."""
    if not system.OWNERS:
        return
    path = real_path(outbox)
    folder, found = _stat(path.parent), _stat(path)
    if folder and folder.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not _is_private(folder):
        who = "everybody" if folder.st_mode & stat.S_IWOTH else f"the group {system.group_name(folder.st_gid)}"
        yield f"{who} can write to the folder {path.parent} and replace its files: chmod go-w {_quoted(path.parent)}"
    if folder and folder.st_uid not in (0, system.user()) and system.user():
        yield f"the folder {path.parent} belongs to {_user(folder.st_uid)}, who can replace the outbox"
    if found and found.st_mode & 0o077:
        yield f"{path} can be read or written by others: chmod 600 {_quoted(path)}"
    if folder and system.user() == 0:
        for one in _of_others(path, folder.st_uid):
            with suppress(FileNotFoundError):
                yield str(_foreign(one))


def _is_private(folder: os.stat_result) -> bool:
    """Return whether only the owner of a folder can write to it; distributions give each user a group of their own."""
    if folder.st_mode & stat.S_IWOTH:
        return False
    return system.is_own_group(folder.st_gid, folder.st_uid)


# --- why a file cannot be used


def refused(what: str, path: Path, error: OSError) -> OutboxError:
    """Return the error of a system call with the file, the cause and the remedy."""
    kind = OutboxBusyError if error.errno in PASSING else OutboxError
    kind = ShortageError if is_shortage(error) else kind
    words = error.strerror
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.ENOENT):
        found = write_problem(path)
        words = str(found) if found else words
    elif error.errno == errno.ELOOP:
        words = f"{path} is a link: remove it"
    return kind(f"{what} cannot be used: {words}")


def write_problem(path: Path) -> OutboxError | None:
    """Return why the outbox, or another file, cannot be written; None if it can.

    Never opens the file: closing it again would drop SQLite's locks on it.
    """
    folder = _top(path).parent
    try:
        found = folder.stat()
        space = os.statvfs(folder) if hasattr(os, "statvfs") else None
    except FileNotFoundError:
        return OutboxError(f"there is no folder {folder}")
    except OSError:
        return OutboxError(f"{_user(system.user())} may not access the folder {folder}")
    if space and space.f_flag & os.ST_RDONLY:
        return OutboxError(f"the file system of {folder} is read-only")
    for file in (*_family(path), *([path] if os.path.lexists(path) else [])):
        with suppress(FileNotFoundError):  # the log, if another process has just closed the outbox
            if not _may(file, os.R_OK | os.W_OK):
                return _foreign(file)
    if not _may(folder, os.W_OK | os.X_OK):
        owner = _user(found.st_uid)
        return OutboxError(
            f"{_user(system.user())} may not write to the folder {folder}, which belongs to {owner}"
            f" (mode {stat.S_IMODE(found.st_mode):o}): run this as {owner}"
        )
    return _shortage(folder, space) if space else None


def _shortage(folder: Path, space: os.statvfs_result) -> OutboxError | None:
    if space.f_files and not space.f_favail:
        return OutboxBusyError(f"the file system of {folder} has no inodes left: delete files")
    if not (space.f_bavail if system.user() else space.f_bfree):
        return OutboxBusyError(f"the file system of {folder} is full")
    try:
        os.close(os.open(folder, os.O_RDONLY))
    except OSError as error:
        return OutboxBusyError(error.strerror)
    return None


def _foreign(file: Path) -> OutboxError:
    """Return the error for a file that this process may not use, with all users and the command that helps."""
    if not system.OWNERS:
        return OutboxError(f"this user may not read and write {file}: allow both in its access list and its folder's")
    top = _top(file)
    folder, found, me = top.parent.stat(), file.lstat(), system.user()
    mine, owner = _user(me), _user(found.st_uid)
    if found.st_uid == me != 0:
        mode = f"{stat.S_IMODE(found.st_mode):o}"
        return OutboxError(f"{mine} may not use {file}, which has the mode {mode}: chmod -R u+rwX {_quoted(top)}")
    if found.st_uid == folder.st_uid:
        return OutboxError(f"{file} belongs to {owner}, and this process runs as {mine}: run it as {owner}")
    others = _of_others(file, folder.st_uid)
    names = " ".join(_quoted(one) for one in _family(file) if one == top or one in others)
    return OutboxError(
        f"{file} belongs to {owner}, its folder to {_user(folder.st_uid)}, and this process runs as {mine}:"
        f" as root, chown -R {system.user_name(folder.st_uid)}:{folder.st_gid} {names}"
    )


def _top(file: Path) -> Path:
    """Return the entry in the data folder: the folder of a lock, else the file itself."""
    return file.parent if file.parent.suffix == LOCKS else file


def _family(file: Path) -> list[Path]:
    """Return the existing ones of the outbox, SQLite's other files and the folder of its locks, given one of these or
    a lock."""
    top = _top(file)
    ending = DATABASE if top.suffix == LOCKS else top.suffix.partition("-")[0]
    names = [f"{top.stem}{ending}{suffix}" for suffix in SUFFIXES]
    return [one for one in map(top.with_name, (*names, f"{top.stem}{LOCKS}")) if os.path.lexists(one)]


def _of_others(file: Path, owner: int) -> list[Path]:
    """Return those of the family that belong to another user; SQLite may remove its files at any time."""
    found = []
    for one in _family(file):
        with suppress(FileNotFoundError):
            found += [one] if one.lstat().st_uid != owner else []
    return found


def _may(path: Path, how: int) -> bool:
    """Return whether this process has this access to a file; by its effective user where that is supported."""
    return os.access(path, how, effective_ids=os.access in os.supports_effective_ids)


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


def _user(uid: int) -> str:
    name = system.user_name(uid)
    return f"uid {uid}" if name == str(uid) else f"{name} (uid {uid})"
