"""Memory for bodies: the size of a body comes in; whether there is room for it goes out."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from sfwebhooks.receive.inflating import BODY_MAX

#: bytes of all large bodies that are in hand at once, and of a body that is not large
ROOM = 2 * BODY_MAX
SMALL = 128 * 1024


class Room:
    """Memory for bodies, shared by all connections: anybody may send large ones, also compressed. Thread-safe."""

    def __init__(self, size: int = ROOM) -> None:
        self._left = size
        self._guard = threading.Lock()

    @contextlib.contextmanager
    def taken(self, size: int) -> Iterator[bool]:
        """Take some bytes while the block runs; False comes in if fewer are left.

        A few are always there: slow senders of large bodies do not keep out the others.
        """
        size = 0 if size <= SMALL else size
        with self._guard:
            fits = size <= self._left
            self._left -= size if fits else 0
        try:
            yield fits
        finally:
            with self._guard:
                self._left += size if fits else 0
