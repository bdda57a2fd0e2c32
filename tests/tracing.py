"""The functions of our own that some work goes through, found with Python's profile hook."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import sfwebhooks

PACKAGE = str(Path(sfwebhooks.__file__).parent)
#: parts of the function around them to a reader
PARTS = ("<listcomp>", "<genexpr>", "<dictcomp>", "<setcomp>", "<lambda>")


class Trace:
    """Collects what is called below a function, in whatever thread.

    Args:
        door: the function; all of our own functions without one.
    """

    def __init__(self, door: CodeType | None = None) -> None:
        self.codes: set[CodeType] = set()
        #: file and name of each call, in order
        self.calls: list[str] = []
        self._door = door
        self._inside = threading.local()

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if code is self._door and event in ("call", "return"):
            self._inside.now = event == "call"
        is_ours = code.co_filename.startswith(PACKAGE) and code.co_name not in PARTS
        if event == "call" and is_ours and (self._door is None or getattr(self._inside, "now", False)):
            self.codes.add(code)
            self.calls.append(f"{Path(code.co_filename).relative_to(PACKAGE)} {code.co_name}")

    def functions(self, *rooms: str) -> list[str]:
        """Return file and name of the functions, in the order of their first calls, of some rooms or of all."""
        return [call for call in dict.fromkeys(self.calls) if not rooms or call.startswith(rooms)]

    @property
    def files(self) -> set[str]:
        return {call.partition(" ")[0] for call in self.calls}

    @property
    def returns(self) -> int:
        """How often the way comes back to a file that it had left."""
        files = [call.partition(" ")[0] for call in self.calls]
        changes = [file for place, file in enumerate(files) if not place or files[place - 1] != file]
        return len(changes) - len(set(changes))


@contextmanager
def traced(door: CodeType | None = None) -> Iterator[Trace]:
    """Collect the functions that this thread, and threads that start meanwhile, go through."""
    trace = Trace(door)
    threading.setprofile(trace)
    sys.setprofile(trace)
    try:
        yield trace
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
