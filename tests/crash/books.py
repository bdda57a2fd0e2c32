"""The books of a crash test: what processes said that they accepted, what the outbox holds and what a receiver got,
side by side."""

from __future__ import annotations

import re
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import delivery_id
from tests.crash.catcher import Caught
from tests.crash.worker import WARNINGS

OK = 200
MADE = re.compile(r"while it made the message (\S+);")


@dataclass(frozen=True, repr=False)
class Books:
    """What there is to compare once all processes have ended."""

    outbox: Path
    endpoints: Sequence[Endpoint]
    caught: Sequence[Caught]

    @cached_property
    def notes(self) -> list[list[list[str]]]:
        """What the processes noted, each in its order, as [word, id of an event]."""
        journals = sorted(self.outbox.parent.glob("*.journal"))
        return [[line.split() for line in journal.read_text().splitlines()] for journal in journals]

    @cached_property
    def accepted(self) -> set[str]:
        """Ids of the deliveries whose acceptance a process lived to note."""
        events = {identity for notes in self.notes for word, identity in notes if word == "accepted"}
        return {delivery_id(event, endpoint.name) for event in events for endpoint in self.endpoints}

    @cached_property
    def stored(self) -> set[str]:
        """Ids of the deliveries in the outbox."""
        return {row[0] for row in self.rows("SELECT id FROM delivery")}

    @cached_property
    def received(self) -> set[str]:
        """Ids of the deliveries that the receiver got."""
        return {delivery for caught in self.caught for delivery in caught.deliveries}

    @cached_property
    def lost(self) -> set[str]:
        """What was accepted, and which the receiver never got and answered with success."""
        return self.accepted - {
            delivery for caught in self.caught if caught.status == OK for delivery in caught.deliveries
        }

    @cached_property
    def repeats(self) -> list[Caught]:
        """Requests under an id for which the receiver's last answer had been success."""
        answered: dict[str, int] = {}
        found = []
        for caught in self.caught:
            if answered.get(caught.id) == OK:
                found.append(caught)
            answered[caught.id] = caught.status
        return found

    def changed(self) -> set[str]:
        """Return the ids under which two different messages came."""
        digests: dict[str, set[str]] = defaultdict(set)
        for caught in self.caught:
            digests[caught.id].add(caught.digest)
        return {identity for identity, found in digests.items() if len(found) > 1}

    def renamed(self) -> set[str]:
        """Return the deliveries that came under more than one id.

        Not those of a batch whose making killed processes: its members go alone from the second one on.
        """
        ids: dict[str, set[str]] = defaultdict(set)
        for caught in self.caught:
            for delivery in caught.deliveries:
                ids[delivery].add(caught.id)
        return {delivery for delivery, found in ids.items() if len(found) > 1} - self.blamed

    @cached_property
    def blamed(self) -> set[str]:
        """Ids of the deliveries of which a process, when it was killed, was making the message."""
        said = set(MADE.findall(self.outbox.with_name(WARNINGS).read_text()))
        members = {delivery for caught in self.caught if caught.id in said for delivery in caught.deliveries}
        return members | {row[0] for row in self.rows("SELECT id FROM delivery WHERE crashes > 0")}

    @cached_property
    def _last(self) -> dict[str, float]:
        """Id -> when a request came under it for the last time."""
        return {caught.id: caught.begin for caught in sorted(self.caught, key=lambda caught: caught.begin)}

    def came_again(self, caught: Caught) -> bool:
        """Say whether a request came once more after this one."""
        return self._last[caught.id] > caught.begin

    def gaps(self) -> Iterator[tuple[str, str, int]]:
        """Yield (scan, endpoint, series) whose deliveries are not numbered 1, 2, 3 ... up to the last number given, or
        that a kill began: only a loss does."""
        numbers: dict[tuple[str, str, int], list[int]] = defaultdict(list)
        query = "SELECT e.scan_id, d.endpoint, d.series, d.sequence FROM delivery d JOIN event e ON e.id = d.event_id"
        for scan, endpoint, series, number in self.rows(f"{query} ORDER BY d.sequence"):
            numbers[scan, endpoint, series].append(number)
        for scan, endpoint, series, last in self.rows("SELECT * FROM sequence UNION SELECT * FROM earlier"):
            if series > 1 or numbers[scan, endpoint, series] != list(range(1, last + 1)):
                yield scan, endpoint, series

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.outbox)) as connection:
            return connection.execute(query).fetchall()
