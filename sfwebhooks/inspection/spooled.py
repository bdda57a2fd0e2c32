"""The spool of this machine in words and fields: its file comes in; how much waits there, since when and why, and what
is set aside, go out."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from sfwebhooks.config.settings import Settings
from sfwebhooks.events import timestamp
from sfwebhooks.files import is_deleted
from sfwebhooks.outbox.listing import Backlog
from sfwebhooks.outbox.postgres.dsn import Dsn, Place
from sfwebhooks.outbox.spool import Forwarding, SetAside, Spool
from sfwebhooks.text import age, amount

#: seconds for which events may wait in the spool until that needs attention
FORWARD_SECONDS = 300.0
#: events that are set aside and named
NAMED = 3


@dataclass(frozen=True)
class SpoolState:
    """The state of the spool."""

    path: Path
    backlog: Backlog = field(default_factory=Backlog)
    #: id of the process that forwards from it; 0: none does
    pid: int = 0
    forwarding: Forwarding = field(default_factory=Forwarding)
    #: number of events that are set aside, and the first of them
    aside: int = 0
    named: tuple[SetAside, ...] = ()
    #: why the settings let nothing be forwarded; empty: they do not prevent it
    switch: str = ""
    #: whether scans store their events here by these settings
    is_used: bool = True

    @property
    def trouble(self) -> str:
        """What keeps events from being forwarded; empty: nothing that is known."""
        waiting = self.backlog.waiting
        return (self.switch if waiting else "") or (self.forwarding.trouble if self.pid or waiting else "")

    def needs_attention(self, now: float) -> bool:
        """Return whether it cannot be used, events have been waiting for long, or some are set aside."""
        oldest = self.backlog.oldest_at
        return bool(self.trouble or self.aside) or (oldest is not None and now - oldest > FORWARD_SECONDS)

    def words(self, now: float) -> str:
        """Return the state in a line."""
        oldest = self.backlog.oldest_at
        words = f"{amount(self.backlog.waiting, 'event')} not forwarded" if self.backlog.waiting else "all is forwarded"
        words += "" if oldest is None else f", the oldest for {age(now - oldest)}"
        words += f", {amount(self.aside, 'event')} set aside" if self.aside else ""
        words += "" if self.is_used else "; left by earlier settings, these have no spool = sqlite"
        by = f"process {self.pid} forwards" if self.pid else "no process forwards now"
        return f"{words}; {by}{f': {self.trouble}' if self.trouble else ''}"

    def lines_of_aside(self) -> list[str]:
        """Return a line for each of the first events that are set aside, and one with what to do."""
        if not self.aside:
            return []
        lines = [f"event {one.event.id} ({one.event.type}) is set aside: {one.reason}" for one in self.named]
        more = f"sfwebhooks spool list shows all {self.aside:,}; " if self.aside > len(self.named) else ""
        return [*lines, f"{more}sfwebhooks spool retry lets them be tried again, sfwebhooks spool drop deletes them"]

    def fields(self, now: float) -> dict[str, Any]:
        """Return the state for --json."""
        oldest, known = self.backlog.oldest_at, self.forwarding
        return {
            "spool": str(self.path),
            "waiting": self.backlog.waiting,
            "oldest": None if oldest is None else timestamp(oldest),
            "forwarded_by": self.pid or None,
            "forwarded": known.total,
            "last_forwarded_at": timestamp(known.last_at) if known.last_at else None,
            "trouble": self.trouble,
            "last_error": known.last_error,
            "last_error_at": timestamp(known.last_error_at) if known.last_error else None,
            "set_aside": self.aside,
            "needs_attention": self.needs_attention(now),
        }


def spool_state(found: Settings, place: Place) -> SpoolState | None:
    """Return the state of the spool; None if this machine has none, or earlier settings had one and left nothing in it.

    Args:
        place: of the outbox.

    Raises:
        OutboxError: the spool cannot be read.
    """
    path = found.spool_left_in(place.folder if isinstance(place, Dsn) else place.parent)
    if path is None or is_deleted(path):
        return None
    switch = "the settings have no endpoint" if found.is_complete and not found.endpoints else ""
    switch = "webhooks are off (enabled = false)" if found.enabled is False else switch
    with closing(Spool(path, listing=True)) as spool:
        aside, known = (spool.number_aside(), tuple(islice(spool.aside(), NAMED))), spool.forwarding()
        state = SpoolState(path, spool.backlog(), spool.sender, known, *aside, switch, found.has_spool)
    return state if state.is_used or state.backlog.waiting or state.aside else None
