"""Files that somebody else put there: a name comes in, the content of a regular file of a sensible size goes out.

A name in the settings may be that of a pipe, which makes whoever opens it wait for a writer, or of /dev/zero, which
never ends. The errors are OSErrors whose `strerror` says what is there and what is accepted.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import IO

#: bytes of settings, and of what they refer to: a secret, and certificates
SETTINGS_MAX = 1_048_576
CERTIFICATES_MAX = 16 * 1_048_576
KINDS = {
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
    demand_regular(path, pipes)  # before it is opened, which is enough to make some devices do something
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOCTTY | (0 if pipes else os.O_NONBLOCK)), "rb") as file:
        _demand(os.fstat(file.fileno()), path, pipes)  # another one may have taken its place
        return read(file, most)


def read(file: IO[bytes], most: int) -> bytes:
    """Return what an open file has.

    Raises:
        OSError: it cannot be read, or has more than `most` bytes.
    """
    data = file.read(most + 1)
    if len(data) > most:
        raise OSError(errno.EFBIG, f"it has more than {most:,} bytes, which is the most that is accepted")
    return data


def demand_regular(path: Path, pipes: bool = False) -> None:
    """Check that a name is that of a file as `content` reads it, for what opens it by its name.

    Raises:
        OSError: it is not.
    """
    _demand(path.stat(), path, pipes)


def _demand(found: os.stat_result, path: Path, pipes: bool) -> None:
    kind = stat.S_IFMT(found.st_mode)
    if kind == stat.S_IFDIR:
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if kind != stat.S_IFREG and not (pipes and kind in (stat.S_IFIFO, stat.S_IFCHR)):
        what = f"it is {KINDS.get(kind, 'something else')}; accepted: a regular file{' or a pipe' if pipes else ''}"
        raise OSError(errno.EINVAL, what, str(path))
