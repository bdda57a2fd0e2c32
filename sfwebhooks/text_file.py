"""Text files that users or tools may change at any time: a path comes in; the complete content goes out, never a part.

It reads the INI file and the files in `file:` values. A recently changed file may still be being written, so it is read
until two reads agree.
"""

from __future__ import annotations

import errno
import time
from pathlib import Path

from sfwebhooks.files import SETTINGS_MAX, content

#: seconds for which a file has to be unchanged
QUIET_SECONDS = 0.3
#: seconds after which a file that keeps changing is an error
PATIENCE_SECONDS = 5.0
#: time of the last change in nanoseconds, size, inode; empty if there is no file
FileState = tuple[int, ...]


def state_of(path: Path) -> FileState:
    """Return the state of a file, which differs after a change or replacement; of a folder, after a file is added or
    removed."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return ()
    return found.st_mtime_ns, found.st_size, found.st_ino


def settled(path: Path) -> bytes:
    """Return the content of a regular file that is not being written.

    Raises:
        OSError: it cannot be read, is too large, or keeps changing.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    look = _look(path)
    while abs(time.time() - look[0][0] / 1e9) < QUIET_SECONDS:
        time.sleep(QUIET_SECONDS)
        before, look = look, _look(path)
        if look == before:
            break
        if time.monotonic() > deadline:
            raise OSError(errno.EBUSY, "it keeps changing")
    return look[1]


def decoded_text(data: bytes) -> str:
    """Return a text in UTF-8, with or without a byte order mark, its lines ended by newlines.

    Raises:
        ValueError: it has another encoding; the text names the likely one, and says how to save the file.
    """
    wide = _wide(data)
    if wide:
        raise ValueError(f"it is saved as {wide}; {_conversion(wide)}")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"line {line} is not UTF-8; {_guess(data)}") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _look(path: Path) -> tuple[FileState, bytes]:
    """Return the state of a regular file and its content."""
    data = content(path, SETTINGS_MAX)
    return state_of(path) or (0,), data


def _wide(data: bytes) -> str:
    """Return the name of an encoding with two or four bytes per character, or nothing: by byte order mark or zeros."""
    if data.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return "UTF-32"
    even, odd = data[:400:2].count(0), data[1:400:2].count(0)
    share = len(data[:400]) // 4
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or (share and (even > share or odd > share) and not (even and odd)):
        return "UTF-16"
    return ""


def _guess(data: bytes) -> str:
    if any(byte < 32 and byte not in b"\t\n\r\f" for byte in data[:4000]):
        return "it is not a text file"
    try:
        data.decode("cp1252")
    except UnicodeDecodeError:
        return "save it as UTF-8"
    return f"it seems to be Windows-1252 (ANSI); {_conversion('WINDOWS-1252')}"


def _conversion(name: str) -> str:
    return f"save it as UTF-8 (in an editor: Save as, encoding UTF-8; else: iconv -f {name} -t UTF-8)"
