"""Files that somebody else put there: a name comes in, the content of a regular file of a sensible size goes out.

A name in the settings may be that of a pipe, which makes whoever opens it wait for a writer, or of /dev/zero, which
never ends. The errors are OSErrors whose `strerror` says what is there and what is accepted.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import IO

from sfwebhooks import system

#: bytes of settings, and of what they refer to: a secret, and certificates
SETTINGS_MAX = 1_048_576
CERTIFICATES_MAX = 16 * 1_048_576
#: what SQLite opens with a database's name: the file, its write-ahead log, the index of that, and a rollback journal
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
        most: bytes; a file that has more is refused.
        pipes: for a name that somebody gave on a command line, where <(...) and /dev/stdin are meant to be read.

    Raises:
        OSError: it cannot be read, or is not a regular file; nothing was waited for.
    """
    with os.fdopen(open_regular(path, os.O_RDONLY, pipes), "rb") as file:
        return read_at_most(file, most)


def open_regular(path: Path, how: int, pipes: bool = False, links: bool = True) -> int:
    """Open a file that is there; return its descriptor.

    Args:
        how: os.O_RDONLY or os.O_RDWR.
        pipes: as `content` has it.
        links: whether they are followed.

    Raises:
        OSError: it cannot be opened, or is not a regular file; nothing was waited for.
    """
    demand_regular(path, pipes, links)  # before it is opened, which is enough to make some devices do something
    how |= system.BINARY | system.NOCTTY | (0 if pipes else system.NONBLOCK) | (0 if links else system.NOFOLLOW)
    descriptor = os.open(path, how)
    try:
        _demand(os.fstat(descriptor), path, pipes)  # another one may have taken its place
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def open_to_append(path: Path) -> int:
    """Open what somebody named on a command line to write behind what is there; a file is made, mode 0600.

    Raises:
        OSError: it cannot be opened, or is a pipe that nobody reads, or neither a file nor a pipe; nothing was waited
            for.
    """
    with suppress(FileNotFoundError):
        demand_regular(path, pipes=True)
    how = os.O_WRONLY | os.O_APPEND | os.O_CREAT | system.BINARY | system.NOCTTY | system.NONBLOCK
    try:
        descriptor = os.open(path, how, 0o600)
    except OSError as error:
        if error.errno == errno.ENXIO:  # fifo(7)
            raise OSError(errno.ENXIO, "it is a pipe that nobody reads: start its reader first", str(path)) from error
        raise
    if system.NONBLOCK:
        os.set_blocking(descriptor, True)  # who reads a pipe slowly gets all of it
    return descriptor


def read_at_most(file: IO[bytes], most: int) -> bytes:
    """Return what an open file has.

    Raises:
        OSError: it cannot be read, or has more than `most` bytes.
    """
    data = file.read(most + 1)
    if len(data) > most:
        raise OSError(errno.EFBIG, f"it has more than {most:,} bytes, which is the most that is accepted")
    return data


def is_deleted(path: Path) -> bool:
    """Say whether a file is not there; one that we may not look at may be."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def demand_regular(path: Path, pipes: bool = False, links: bool = True) -> None:
    """Check that a name is that of a file as `open_regular` opens it, for what opens it by its name.

    Raises:
        OSError: it is not.
    """
    _demand(path.stat() if links else path.lstat(), path, pipes)


def demand_database(path: Path) -> None:
    """Check that SQLite finds files only where it looks for a database, as far as they are there.

    Raises:
        OSError: it does not; the error names which one.
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
        what = f"it is {kind_of(found)}; accepted: a regular file{' or a pipe' if pipes else ''}"
        raise OSError(errno.EINVAL, what, str(path))
