"""What differs between Linux, macOS and Windows: the one place that knows which of them this is.

Linux has all that is asked for here. macOS has no /proc: its boots have no names, so that a power failure is not seen,
and a file that is mounted by itself is not either. Windows has no users and modes as POSIX means them: nobody's files
are refused there, and who may use the data folder is left to its access list. It locks files by `msvcrt.locking`.
"""

from __future__ import annotations

import errno
import importlib
import os
import selectors
import struct
import time
from contextlib import suppress
from pathlib import Path
from typing import Any


def _module(name: str) -> Any:
    """Return a module of the standard library, or None where the system has none of it."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


_fcntl, _pwd, _grp = _module("fcntl"), _module("pwd"), _module("grp")
_msvcrt: Any = None if _fcntl else _module("msvcrt")
#: whether files have owners and modes
OWNERS = hasattr(os, "geteuid")
#: whether a file can be removed while it is open
REMOVES_OPEN = _fcntl is not None
#: flags of os.open; one that the system lacks changes nothing. Bytes are read and written as they are (BINARY)
BINARY, DIRECTORY, NOCTTY, NOFOLLOW, NONBLOCK = (
    getattr(os, f"O_{name}", 0) for name in ("BINARY", "DIRECTORY", "NOCTTY", "NOFOLLOW", "NONBLOCK")
)
#: what waits for connections; `select` alone, which Windows has, knows no descriptor above 1023 elsewhere
Selector: type[selectors.BaseSelector] = getattr(selectors, "PollSelector", selectors.SelectSelector)
#: what a connect that has only begun says
CONNECTING = (0, errno.EINPROGRESS, getattr(errno, "WSAEWOULDBLOCK", errno.EINPROGRESS))
#: byte that is locked on Windows, where nobody else can read a locked one: no file of ours has so many
LOCKED_AT = 0x40000000
#: what `msvcrt.locking` says of a byte that another one has locked
TAKEN = (errno.EACCES, errno.EDEADLK)
#: seconds between two tries there, where it cannot be waited for
TRY_SECONDS = 0.01


def user() -> int:
    """Return the number of the user that this process runs as; where there are none, that of all files."""
    return os.geteuid() if OWNERS else 0


def user_name(number: int) -> str:
    """Return the name of a user, or the number if there is none."""
    with suppress(AttributeError, KeyError):
        return str(_pwd.getpwuid(number).pw_name)
    return str(number)


def group_name(number: int) -> str:
    """Return the name of a group, or the number if there is none."""
    with suppress(AttributeError, KeyError):
        return str(_grp.getgrgid(number).gr_name)
    return str(number)


def is_own_group(number: int, owner: int) -> bool:
    """Say whether a group has one user's name, and nobody else in it."""
    with suppress(AttributeError, KeyError):
        group, name = _grp.getgrgid(number), _pwd.getpwuid(owner).pw_name
        return bool(group.gr_name == name and set(group.gr_mem) <= {name})
    return False


def proc(name: str) -> str:
    """Return what Linux says in a file of /proc; nothing elsewhere."""
    try:
        return Path("/proc", name).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:  # a /proc that is not there, or shows less than all
        return ""


def lock(descriptor: int, wait: bool = False) -> bool:
    """Lock an open file for this process; return whether it was had. `unlock` or the process's end lets go of it.

    Args:
        wait: until whoever has it lets go.

    Raises:
        OSError: it cannot be locked.
    """
    while True:
        try:
            if _fcntl:
                _fcntl.flock(descriptor, _fcntl.LOCK_EX | (0 if wait else _fcntl.LOCK_NB))
            else:
                _locking(descriptor, _msvcrt.LK_NBLCK)
            return True
        except BlockingIOError:
            return False
        except OSError as error:
            if _fcntl or error.errno not in TAKEN:
                raise
        if not wait:
            return False
        time.sleep(TRY_SECONDS)


def unlock(descriptor: int) -> None:
    """Close a file that is locked. Windows lets go of its lock at some time after that, if it is not told to now."""
    try:
        if _msvcrt:
            _locking(descriptor, _msvcrt.LK_UNLCK)
    finally:
        os.close(descriptor)


def share(descriptor: int, start: int, length: int) -> None:
    """Lock bytes of an open file so that another one's lock of them fails, also in this process (F_OFD_SETLK in
    fcntl(2)). Does nothing where the system cannot."""
    command = getattr(_fcntl, "F_OFD_SETLK", None)
    if command is not None:
        with suppress(OSError):
            _fcntl.fcntl(descriptor, command, struct.pack("hhqqi", _fcntl.F_RDLCK, os.SEEK_SET, start, length, 0))


def remove(path: Path) -> None:
    """Remove a file, if it is there; on Windows one that another process has open stays."""
    with suppress(FileNotFoundError, *(() if REMOVES_OPEN else (PermissionError,))):
        path.unlink()


def _locking(descriptor: int, how: int) -> None:
    os.lseek(descriptor, LOCKED_AT, os.SEEK_SET)  # it locks from where the file is read and written
    try:
        _msvcrt.locking(descriptor, how, 1)
    finally:
        os.lseek(descriptor, 0, os.SEEK_SET)
