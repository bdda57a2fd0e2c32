"""Files from others: a path comes in, the content of a regular file of a sensible size goes out.

A path in the settings may name a pipe, where opening waits for a writer, or /dev/zero, which never ends. The errors are
OSErrors whose `strerror` says what was found and what is expected.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import IO

from sfwebhooks import system

#: most bytes of settings and of the secrets that they refer to, and of certificates
SETTINGS_MAX = 1_048_576
CERTIFICATES_MAX = 16 * 1_048_576
#: suffixes of the files that SQLite opens: the database, its write-ahead log, the log's index, and a rollback journal
SQLITE = ("", "-wal", "-shm", "-journal")
KINDS = {
    stat.S_IFLNK: "a link",
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def content(path: Path, most: int, pipes: bool = False) -> bytes:
    """Return the content of a file; links are followed.

    Args:
        most: maximum size in bytes.
        pipes: accept pipes too, for a path from the command line, where <(...) and /dev/stdin are legitimate.

    Raises:
        OSError: it cannot be read, or is not a regular file; this never blocks.
    """
    with os.fdopen(open_regular(path, os.O_RDONLY, pipes), "rb") as file:
        return read_at_most(file, most)


def open_regular(path: Path, how: int, pipes: bool = False, links: bool = True) -> int:
    """Open an existing file; return its descriptor.

    Args:
        how: os.O_RDONLY or os.O_RDWR.
        pipes: as for `content`.
        links: whether links are followed.

    Raises:
        OSError: it cannot be opened, or is not a regular file; this never blocks.
    """
    demand_regular(path, pipes, links)  # before opening, which has side effects on some devices
    how |= system.BINARY | system.NOCTTY | (0 if pipes else system.NONBLOCK) | (0 if links else system.NOFOLLOW)
    descriptor = os.open(path, how)
    try:
        _demand(os.fstat(descriptor), path, pipes)  # it may have been replaced meanwhile
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def open_to_append(path: Path) -> int:
    """Open a path from the command line for appending; a new file gets mode 0600.

    Raises:
        OSError: it cannot be opened, is a pipe without a reader, or is neither a file nor a pipe; this never blocks.
    """
    with suppress(FileNotFoundError):
        demand_regular(path, pipes=True)
    how = os.O_WRONLY | os.O_APPEND | os.O_CREAT | system.BINARY | system.NOCTTY | system.NONBLOCK
    try:
        descriptor = os.open(path, how, 0o600)
    except OSError as error:
        if error.errno == errno.ENXIO:  # fifo(7)
            raise OSError(errno.ENXIO, "it is a pipe without a reader: start the reader first", str(path)) from error
        raise
    if system.NONBLOCK:
        os.set_blocking(descriptor, True)  # a slow reader of a pipe gets everything
    return descriptor


def read_at_most(file: IO[bytes], most: int) -> bytes:
    """Return the content of an open file.

    Raises:
        OSError: it cannot be read, or has more than `most` bytes.
    """
    data = file.read(most + 1)
    if len(data) > most:
        raise OSError(errno.EFBIG, f"it has more than the accepted {most:,} bytes")
    return data


def is_deleted(path: Path) -> bool:
    """Return whether a file does not exist; one that cannot be examined may exist."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def demand_regular(path: Path, pipes: bool = False, links: bool = True) -> None:
    """Check that `open_regular` would open a path, for callers that open it by name.

    Raises:
        OSError: it would not.
    """
    _demand(path.stat() if links else path.lstat(), path, pipes)


def demand_database(path: Path) -> None:
    """Check that the files that SQLite would open for a database are regular files, if they exist.

    Raises:
        OSError: one of them is not; the error names it.
    """
    for suffix in SQLITE:
        with suppress(FileNotFoundError):
            demand_regular(path.with_name(path.name + suffix))


def kind_of(found: os.stat_result) -> str:
    """Return in words what there is in the place of a regular file."""
    return KINDS.get(stat.S_IFMT(found.st_mode), "something else")


def _demand(found: os.stat_result, path: Path, pipes: bool) -> None:
    kind = stat.S_IFMT(found.st_mode)
    if kind == stat.S_IFLNK:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    if kind == stat.S_IFDIR:
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if kind != stat.S_IFREG and not (pipes and kind in (stat.S_IFIFO, stat.S_IFCHR)):
        what = f"it is {kind_of(found)}; expected a regular file{' or a pipe' if pipes else ''}"
        raise OSError(errno.EINVAL, what, str(path))
