"""A scan while the outbox cannot be written (a full disk, a lock): its events wait here, in memory.

`run` writes them once it can, and reports the trouble. The buffer is bounded; events without room are counted, and read
from the host's database at the scan's end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from itertools import islice

from sfwebhooks.events import WebhookEvent

EVENTS_MAX = 10_000
#: characters of their data
SIZE_MAX = 32 * 1024 * 1024


class Pending:
    """A bounded queue. One thread adds, one thread at a time takes."""

    def __init__(self) -> None:
        #: events for which there was no room
        self.missed = 0
        #: oldest first
        self.events: deque[WebhookEvent] = deque()
        self._size = 0

    def __len__(self) -> int:
        return len(self.events)

    def add(self, event: WebhookEvent) -> None:
        """Keep an event, or count it if there is no room."""
        if len(self.events) >= EVENTS_MAX or self._size >= SIZE_MAX:
            self.missed += 1
        else:
            self.events.append(event)
            self._size += event_size(event)

    def first(self, count: int) -> list[WebhookEvent]:
        """Return the oldest events, at most `count`."""
        return list(islice(self.events, count))

    def drop(self, count: int) -> None:
        """Forget the oldest events: they are committed."""
        for _ in range(count):
            self._size -= event_size(self.events.popleft())


def event_size(event: WebhookEvent) -> int:
    """Return the approximate number of characters in an event's data."""
    sources = event.data.get("sources")
    parts = [event.data, *(sources if isinstance(sources, (list, tuple)) else ())]
    texts = [part.get("data") for part in parts if isinstance(part, Mapping)]
    return sum(len(text) for text in texts if isinstance(text, (str, bytes)))
