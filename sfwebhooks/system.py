"""Differences between Linux, macOS and Windows: a call comes in, the system's own way of doing it goes out.

Linux has all features used here. macOS has no /proc: it has no boot ids, so a power failure is not detected, and
neither is a file that is itself a mount. Windows has no POSIX users and modes: no owner's files are refused there, and
access to the data folder is controlled by its access list. It locks files with `msvcrt.locking`.
"""

from __future__ import annotations

import errno
import importlib
import os
import re
import select
import selectors
import socket
import struct
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable

#: returns seconds: of the epoch, or by a clock that cannot be set
Clock = Callable[[], float]


def _module(name: str) -> Any:
    """Return a module of the standard library, or None if the system does not have it."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


_fcntl, _pwd, _grp, _resource = _module("fcntl"), _module("pwd"), _module("grp"), _module("resource")
_msvcrt: Any = None if _fcntl else _module("msvcrt")
#: whether files have owners and modes
OWNERS = hasattr(os, "geteuid")
#: whether a file can be removed while it is open
REMOVES_OPEN = _fcntl is not None
#: flags of os.open; missing ones have no effect. BINARY reads and writes bytes unchanged
BINARY, DIRECTORY, NOCTTY, NOFOLLOW, NONBLOCK = (
    getattr(os, f"O_{name}", 0) for name in ("BINARY", "DIRECTORY", "NOCTTY", "NOFOLLOW", "NONBLOCK")
)
#: selector for connections; `select`, the only one on Windows, does not support descriptors above 1023 elsewhere
Selector: type[selectors.BaseSelector] = getattr(selectors, "PollSelector", selectors.SelectSelector)
#: result codes of a connect in progress
CONNECTING = (0, errno.EINPROGRESS, getattr(errno, "WSAEWOULDBLOCK", errno.EINPROGRESS))
#: option of Linux that chooses the port of a bound socket when it is connected; None elsewhere
BIND_ADDRESS_NO_PORT = getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24) if sys.platform == "linux" else None
#: name under which Linux has a file's access list
ACCESS_LIST = "system.posix_acl_access"
#: byte that is locked on Windows, where others cannot read a locked one: beyond the end of all our files
LOCKED_AT = 0x40000000
#: errors of `msvcrt.locking` for a byte that another process has locked
TAKEN = (errno.EACCES, errno.EDEADLK)
#: of a process that is to give way
NICENESS = 10
#: seconds between two tries on Windows, which cannot wait for a lock
TRY_SECONDS = 0.01


def give_way() -> None:
    """Let other processes have the processor first; Windows has no such call in Python."""
    if hasattr(os, "nice"):
        os.nice(NICENESS)


def user() -> int:
    """Return the id of this process's user; on a system without user ids, the id that all files have."""
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
    """Return whether a group has the name of a user and no other members."""
    with suppress(AttributeError, KeyError):
        group, name = _grp.getgrgid(number), _pwd.getpwuid(owner).pw_name
        return bool(group.gr_name == name and set(group.gr_mem) <= {name})
    return False


def proc(name: str) -> str:
    """Return the content of a file in Linux's /proc; empty elsewhere."""
    try:
        return Path("/proc", name).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:  # a missing or restricted /proc
        return ""


def file_system(path: Path) -> str:
    """Return the type of the file system that has a path, such as ext4 or nfs4; empty if that is not known.

    Does not touch the file system (proc_pid_mountinfo(5)).
    """
    best, kind = "", ""
    for line in proc("self/mountinfo").split("\n"):
        place, _, rest = line.partition(" - ")
        mounted = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), " ".join(place.split(" ")[4:5]))
        inside = str(path) == mounted or str(path).startswith(f"{mounted.rstrip('/')}/")
        if mounted and inside and len(mounted) >= len(best):  # the last of several mounts at a place hides the others
            best, kind = mounted, rest.split(" ")[0]
    return kind


def descriptors_max() -> int | None:
    """Return how many files this process may have open; None: no limit, or a system without one."""
    if not _resource:
        return None
    limit = int(_resource.getrlimit(_resource.RLIMIT_NOFILE)[0])
    return None if limit == _resource.RLIM_INFINITY else limit


def allow_descriptors(number: int) -> None:
    """Let this process have a number of files open, or as many as it may allow itself."""
    if not _resource:
        return
    soft, hard = _resource.getrlimit(_resource.RLIMIT_NOFILE)
    wanted = number if hard == _resource.RLIM_INFINITY else min(number, hard)
    if soft != _resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # macOS has a further limit
            _resource.setrlimit(_resource.RLIMIT_NOFILE, (wanted, hard))


def lock(descriptor: int, wait: bool = False) -> bool:
    """Lock an open file for this process; return whether it is locked. `unlock` or the process's end releases it.

    Args:
        wait: wait until the holder releases it.

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
    """Unlock and close a file. Without the explicit unlock Windows would release the lock some time later."""
    try:
        if _msvcrt:
            _locking(descriptor, _msvcrt.LK_UNLCK)
    finally:
        os.close(descriptor)


def share(descriptor: int, start: int, length: int) -> None:
    """Lock bytes of an open file so that any other lock of them fails, even in this process (F_OFD_SETLK in fcntl(2)).
    Does nothing on a system without support."""
    command = getattr(_fcntl, "F_OFD_SETLK", None)
    if command is not None:
        with suppress(OSError):
            _fcntl.fcntl(descriptor, command, struct.pack("hhqqi", _fcntl.F_RDLCK, os.SEEK_SET, start, length, 0))


class SelectPoll:
    """The part of `select.poll` that waits for one socket, where the system has only `select`."""

    def __init__(self) -> None:
        self._waited_for: dict[Any, int] = {}

    def register(self, sock: socket.socket, events: int) -> None:
        """Wait for a socket from now on.

        Args:
            events: POLL_IN, or POLL_IN | POLL_OUT.
        """
        self._waited_for[sock] = events

    modify = register

    def poll(self, milliseconds: int) -> list[Any]:
        """Wait at most so long; return what is ready."""
        writable = [sock for sock, events in self._waited_for.items() if events & POLL_OUT]
        found = select.select([*self._waited_for], writable, [], milliseconds / 1000)
        return [*found[0], *found[1]]


#: waits for a socket; a selector for only one takes three times as long
Poll: Any = getattr(select, "poll", SelectPoll)
POLL_IN, POLL_OUT = getattr(select, "POLLIN", 1), getattr(select, "POLLOUT", 4)


def copy_access(path: Path, descriptor: int) -> None:
    """Give an open file the access list that another file has besides its mode (acl(5)), if it has one."""
    if hasattr(os, "getxattr"):
        found = b""
        with suppress(OSError):  # it has none, or its file system has no such lists
            found = os.getxattr(path, ACCESS_LIST)
        if found:
            os.setxattr(descriptor, ACCESS_LIST, found)


def _write_at(descriptor: int, data: bytes, place: int) -> int:
    os.lseek(descriptor, place, os.SEEK_SET)
    return os.write(descriptor, data)


#: writes bytes at a place in a file
write_at: Callable[[int, bytes, int], int] = getattr(os, "pwrite", _write_at)


def remove(path: Path) -> None:
    """Remove a file if it exists; on Windows a file that another process has open stays."""
    with suppress(FileNotFoundError, *(() if REMOVES_OPEN else (PermissionError,))):
        path.unlink()


def _locking(descriptor: int, how: int) -> None:
    os.lseek(descriptor, LOCKED_AT, os.SEEK_SET)  # it locks at the file position
    try:
        _msvcrt.locking(descriptor, how, 1)
    finally:
        os.lseek(descriptor, 0, os.SEEK_SET)


def uptime() -> float:
    """Return seconds of a clock that cannot be set and, where supported, continues while the machine sleeps."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)
