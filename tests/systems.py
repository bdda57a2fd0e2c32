"""Commands as on a system that is not here: what it lacks is taken away before anything of ours is imported.

Not shown by it: how Windows writes paths, and what it does to a process that Ctrl-C ends.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

#: neither has it
NO_PROC = """
import errno, io, os, sys

class Call:  # a function would become a method of pathlib's classes, before Python 3.11
    def __init__(self, function):
        self.function = function

    def __call__(self, *args, **kwargs):
        return self.function(*args, **kwargs)

def hiding(call):
    def hidden(path, *args, **kwargs):
        if isinstance(path, (str, bytes, os.PathLike)) and os.fspath(path).startswith("/proc/"):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return call(path, *args, **kwargs)
    return Call(hidden)

readlink, io.open = os.readlink, hiding(io.open)
for name in ("open", "stat", "lstat", "readlink", "listdir", "scandir"):
    setattr(os, name, hiding(getattr(os, name)))
"""

#: fcntl(2) of macOS has no locks of open file descriptions
MACOS = f"""
import fcntl
{NO_PROC}
for name in [name for name in dir(fcntl) if name.startswith("F_OFD_")]:
    delattr(fcntl, name)
"""

#: `msvcrt.locking` as in https://docs.python.org/3/library/msvcrt.html and in _locking of the C library it calls; files
#: as in CreateFileW and os.stat there
WINDOWS = f"""
import fcntl, select, signal, stat, struct, types
for name in ("poll", "epoll"):
    delattr(select, name)
import subprocess  # which takes a system that has msvcrt for Windows
{NO_PROC}
LACKING = (
    "chown fchmod fchown fork forkpty getegid geteuid getgid getpgid getuid initgroups killpg lchown mkfifo mknod nice"
    " pread pwrite register_at_fork setgid setgroups setsid setuid set_blocking ST_RDONLY statvfs fstatvfs"
    " O_NOFOLLOW O_NONBLOCK O_NOCTTY O_DIRECTORY O_CLOEXEC"
)
of_io = os.O_CLOEXEC  # what io opens has it here, and O_BINARY there
for name in LACKING.split():
    if hasattr(os, name):
        delattr(os, name)
os.supports_effective_ids = set()
for name in ("SIGHUP", "SIGKILL"):
    delattr(signal, name)
for name in ("fcntl", "grp", "pwd", "resource", "termios"):
    sys.modules[name] = None

held = set()

def locking(descriptor, how, count):
    start = os.lseek(descriptor, 0, os.SEEK_CUR)
    if how not in (msvcrt.LK_NBLCK, msvcrt.LK_UNLCK):
        raise AssertionError("this one waits for 10 s")
    if (how == msvcrt.LK_UNLCK) != ((descriptor, start, count) in held):
        raise OSError(errno.EACCES, "Permission denied")
    kind = fcntl.F_UNLCK if how == msvcrt.LK_UNLCK else fcntl.F_WRLCK
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, struct.pack("hhqqi", kind, os.SEEK_SET, start, count, 0))
    except OSError:
        raise OSError(errno.EACCES, "Permission denied") from None
    (held.remove if how == msvcrt.LK_UNLCK else held.add)((descriptor, start, count))

msvcrt = types.ModuleType("msvcrt")
msvcrt.LK_UNLCK, msvcrt.LK_LOCK, msvcrt.LK_NBLCK, msvcrt.locking = 0, 1, 2, locking
sys.modules["msvcrt"] = msvcrt

def unlocking(call):  # one that is closed with its lock keeps it for a while
    def close(descriptor):
        if any(descriptor == one for one, _, _ in held):
            raise AssertionError("closed before it was unlocked")
        call(descriptor)
    return Call(close)

FIRST = ("st_mode", "st_ino", "st_dev", "st_nlink", "st_uid", "st_gid", "st_size")

def as_windows_has_it(call):  # modes and owners mean nothing
    def look(*args, **kwargs):
        found = call(*args, **kwargs)
        more = {{name: getattr(found, name) for name in dir(found) if name.startswith("st_") and name not in FIRST}}
        mode = stat.S_IFMT(found.st_mode) | (0o777 if stat.S_ISDIR(found.st_mode) else 0o666)
        return os.stat_result((mode, *found[1:4], 0, 0, *found[6:]), more)
    return Call(look)

os.O_BINARY = 1 << 30

def opening(call):
    def opened(path, flags, mode=0o777, **kwargs):
        if os.path.isdir(path):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        if path != os.devnull and not flags & (os.O_BINARY | of_io):
            raise AssertionError(f"{{path}} is opened as a text, whose lines end otherwise")
        return call(path, flags & ~os.O_BINARY, mode, **kwargs)
    return Call(opened)

def keeping(call):  # what is open stays
    def change(*paths, **kwargs):
        for descriptor in os.listdir("/dev/fd"):
            try:
                where = readlink(f"/dev/fd/{{descriptor}}")
            except OSError:
                continue
            if where in [os.path.abspath(path) for path in paths]:
                raise PermissionError(errno.EACCES, "it is used by another process", where)
        return call(*paths, **kwargs)
    return Call(change)

os.open, os.close = opening(os.open), unlocking(os.close)
for name in ("stat", "lstat", "fstat"):
    setattr(os, name, as_windows_has_it(getattr(os, name)))
for name in ("unlink", "remove", "rename", "replace"):
    setattr(os, name, keeping(getattr(os, name)))

import socket
errno.WSAEWOULDBLOCK = 10035
connect = socket.socket.connect_ex
socket.socket.connect_ex = lambda *args: {{errno.EINPROGRESS: 10035}}.get(*[connect(*args)] * 2)
"""

SYSTEMS = {"macos": MACOS, "windows": WINDOWS}
COMMAND = """
from sfwebhooks.cli import main
sys.exit(main())
"""


def process(system: str, folder: Path, *arguments: str, program: str = COMMAND) -> subprocess.Popen[str]:
    """Start a command with a data folder as on one of these systems.

    Args:
        program: what to run there instead of the command.
    """
    return subprocess.Popen(
        [sys.executable, "-c", SYSTEMS[system] + program, *arguments],
        cwd=Path(__file__).parent.parent,
        env={"SPIDERFOOT_DATA": str(folder), "HOME": str(folder)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
