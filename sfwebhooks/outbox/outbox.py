"""The outbox: keeps each delivery until it is settled.

    accept --> waiting --claim, attempt, settle--> delivered
                  ^  |                         \\-> dead (a dead letter; DeadReason says why)
                  \\--/ retry at due_at

It has parts: `queue`, `due` and `endpoints` for the senders, `scans` for a scan's start and end, `listing` and
`retention` for the commands. All of them use one `file`, as do `statistics` and `totals`, which no sender needs.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from sfwebhooks.errors import FileReplacedError, UnwritableError
from sfwebhooks.events import WebhookEvent
from sfwebhooks.outbox.admission import LEAST_MARK, is_refused
from sfwebhooks.outbox.due import DueTimes
from sfwebhooks.outbox.endpoint_state import EndpointStates
from sfwebhooks.outbox.file import File, Storage
from sfwebhooks.outbox.listing import Listing
from sfwebhooks.outbox.newness import IS_MUTING, withheld_from
from sfwebhooks.outbox.queue import Accepted, Queue
from sfwebhooks.outbox.retention import Retention
from sfwebhooks.outbox.rows import insert, row_of
from sfwebhooks.outbox.scans import Scans
from sfwebhooks.outbox.sequence_numbers import boot_id
from sfwebhooks.outbox.sightings import Sightings
from sfwebhooks.outbox.unencodable import Unwritable
from sfwebhooks.outbox.watch import WatchStates
from sfwebhooks.outbox.withholding import WithheldKey, Withholding, add_withheld
from sfwebhooks.reasons import Withheld
from sfwebhooks.screening import Wanted

if TYPE_CHECKING:
    from sfwebhooks.outbox.sighting_list import SightingList

#: more than an event takes in the file, whatever its data
EVENT_BYTES = 2_000_000


class Outbox:
    """The outbox file with its parts. All methods raise OutboxError: the file cannot be used.

    Its arguments are those of `File`.
    """

    def __init__(
        self,
        path: Path,
        accepting: bool = False,
        storage: Storage | None = None,
        listing: bool = False,
        boot: Callable[[], str] = boot_id,
    ) -> None:
        self.path = path
        self.file = File(path, accepting, storage, listing, boot)
        #: the senders' side
        self.queue = Queue(self.file)
        self.due = DueTimes(self.file)
        self.endpoints = EndpointStates(self.file, self.due)
        #: the scan's side, with `accept`
        self.scans = Scans(self.file)
        self.sightings = Sightings(self.file)
        #: the watch over scans
        self.watch = WatchStates(self.file)
        #: the commands
        self.listing = Listing(self.file)
        self.retention = Retention(self.file)
        #: the file's fullness when it was measured, and the part of it that the events offered since can have filled
        self._fullness, self._filled = 1.0, 0.0
        #: the events that this process could not write
        self._unwritable = Unwritable()
        #: counts of withheld events that are not written yet
        self._withholding = Withholding()

    @cached_property
    def sighting_list(self) -> SightingList:
        """What the commands show of sightings."""
        from sfwebhooks.outbox.sighting_list import SightingList  # no scan needs it

        return SightingList(self.file)

    def close(self) -> None:
        """Close the file; the next call opens it again."""
        self.file.close()

    def accept(self, items: Iterable[Accepted], now: float, backfilled: bool = False, file: int = 0) -> int:
        """Commit the deliveries of some events, each event once; return the number of new deliveries.

        Events that are muted or not new, those that a nearly full outbox refuses, and those that cannot be written, are
        counted. `backfilled` deliveries are marked as such when sent.

        Raises:
            FileReplacedError: the file is not that generation; 0: any.
        """
        new, problems, written = 0, [], None
        held: Counter[WithheldKey] = Counter()
        with self.file.writing() as sql:
            if file not in (0, self.file.number):
                raise FileReplacedError(f"outbox {self.file.path} was replaced")
            muting = bool(sql.execute(IS_MUTING).fetchone()[0])
            for event, asking in items:
                wanted = asking
                if muting or any(one.only_new for one in asking):
                    withheld = withheld_from(sql, event, asking, muting, now)
                    held.update((event.scan_id, endpoint, reason) for endpoint, reason in withheld.items())
                    wanted = [one for one in asking if one.endpoint not in withheld]
                if not wanted:
                    continue
                self._filled += EVENT_BYTES / self.file.max_bytes
                if self._fullness + self._filled >= LEAST_MARK:
                    self._fullness, self._filled = self.file.fullness_in(sql), 0.0
                if self._fullness >= LEAST_MARK and is_refused(event, self._fullness):
                    _withhold(sql, event, wanted, Withheld.OUTBOX_FULL)
                    continue
                try:
                    new += insert(sql, event, wanted, now, backfilled)
                except UnwritableError as error:
                    problems.append((event, wanted, str(error)))
                    if event not in self._unwritable:
                        _withhold(sql, event, wanted, Withheld.UNWRITABLE)
            if new and self._withholding.counts:  # a commit of nothing else can wait for `write_withheld`
                written = self._withholding.write(sql)
        if written:
            self._withholding.written(written)
        if held:
            self._withholding.add(held)
        for problem in problems:
            self._unwritable.note(*problem)
        return new

    def foresee(self, items: Iterable[Accepted], now: float) -> list[dict[str, Withheld]]:
        """Return what `accept` would withhold of each of some events, which nobody has yet: endpoint -> reason.

        Nothing is written, and the file is as full as it is now.
        """
        with self.file.reading() as sql:
            muting, fullness = bool(sql.execute(IS_MUTING).fetchone()[0]), self.file.fullness_in(sql)
            return [_foreseen(sql, event, wanted, (muting, fullness), now) for event, wanted in items]

    def count_withheld(self, counts: Mapping[WithheldKey, int]) -> None:
        """Count events that filters withhold; the next commit, or `write_withheld`, writes the counts."""
        self._withholding.add(counts)

    def write_withheld(self) -> None:
        """Write the counts of withheld events that are not written yet."""
        if self._withholding:
            with self.file.writing() as sql:
                counts = self._withholding.write(sql)
            self._withholding.written(counts)

    def recount_unwritable(self, scan_id: str) -> None:
        """Count the events of a scan that this process could not write, after accepting all of the host's database."""
        with self.file.writing() as sql:
            self._unwritable.recount(sql, scan_id)


def _foreseen(
    sql: sqlite3.Connection, event: WebhookEvent, asking: Sequence[Wanted], state: tuple[bool, float], now: float
) -> dict[str, Withheld]:
    muting, fullness = state
    held = withheld_from(sql, event, asking, muting, now, is_forecast=True)
    left = [one.endpoint for one in asking if one.endpoint not in held]
    if left and is_refused(event, fullness):
        return {**held, **dict.fromkeys(left, Withheld.OUTBOX_FULL)}
    with suppress(UnwritableError):
        row_of(event)
        return held
    return {**held, **dict.fromkeys(left, Withheld.UNWRITABLE)}


def _withhold(sql: sqlite3.Connection, event: WebhookEvent, wanted: Sequence[Wanted], reason: Withheld) -> None:
    add_withheld(sql, {(event.scan_id, one.endpoint, reason): 1 for one in wanted})
