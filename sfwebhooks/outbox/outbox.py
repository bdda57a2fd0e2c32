"""The outbox: keeps each delivery until it is settled.

    accept --> waiting --claim, attempt, settle--> delivered
                  ^  |                         \\-> dead (a dead letter; DeadReason says why)
                  \\--/ retry at due_at

It has parts: `queue`, `due` and `endpoints` for the senders, `scans` for a scan's start and end, `listing` and
`retention` for the commands. All of them use one `database`, as do `statistics` and `totals`, which no sender needs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING

from sfwebhooks.errors import OutboxReplacedError, UnwritableError
from sfwebhooks.events import WebhookEvent
from sfwebhooks.outbox.admission import LEAST_MARK, is_refused
from sfwebhooks.outbox.database import Database, EventRow, Sql
from sfwebhooks.outbox.due import DueTimes
from sfwebhooks.outbox.endpoint_state import EndpointStates
from sfwebhooks.outbox.evidence import Evidence
from sfwebhooks.outbox.file import File, Storage
from sfwebhooks.outbox.listing import Listing
from sfwebhooks.outbox.newness import IS_MUTING, withheld_from
from sfwebhooks.outbox.paging import Paging
from sfwebhooks.outbox.postgres.dsn import Dsn, Place
from sfwebhooks.outbox.queue import Accepted, Queue
from sfwebhooks.outbox.retention import Retention
from sfwebhooks.outbox.rows import insert, row_of
from sfwebhooks.outbox.scans import Scans
from sfwebhooks.outbox.sequence_numbers import boot_id
from sfwebhooks.outbox.sightings import Sightings
from sfwebhooks.outbox.tickets import Tickets
from sfwebhooks.outbox.unencodable import Unwritable
from sfwebhooks.outbox.watch import WatchStates
from sfwebhooks.outbox.withholding import WithheldKey, Withholding, add_withheld
from sfwebhooks.reasons import Withheld
from sfwebhooks.screening import Wanted

if TYPE_CHECKING:
    from sfwebhooks.outbox.sighting_list import SightingList

#: more than an event takes in the outbox, whatever its data
EVENT_BYTES = 2_000_000


class Outbox:
    """The outbox with its parts. All methods raise OutboxError: its database cannot be used.

    Its arguments are those of `File`; instead of a path it takes the address of a PostgreSQL server.
    """

    def __init__(
        self,
        place: Place,
        accepting: bool = False,
        storage: Storage | None = None,
        listing: bool = False,
        boot: Callable[[], str] = boot_id,
    ) -> None:
        self.database = _database(place, accepting, storage or Storage(), listing, boot)
        self.path = self.database.path
        self.place = place
        #: who sends, and which scans run
        self.locks = self.database.locks
        #: the senders' side
        self.queue = Queue(self.database)
        self.due = DueTimes(self.database)
        self.endpoints = EndpointStates(self.database, self.due)
        #: the scan's side, with `accept`
        self.scans = Scans(self.database)
        self.sightings = Sightings(self.database)
        self.tickets = Tickets(self.database)
        #: the watch over scans
        self.watch = WatchStates(self.database)
        #: what endpoints with `proof` were sent
        self.evidence = Evidence(self.database)
        #: the commands
        self.listing = Listing(self.database)
        self.paging = Paging(self.database)
        self.retention = Retention(self.database)
        #: the outbox's fullness when it was measured, and the part of it that the events offered since can have filled
        self._fullness, self._filled = 1.0, 0.0
        #: the events that this process could not write
        self._unwritable = Unwritable()
        #: counts of withheld events that are not written yet
        self._withholding = Withholding()

    @cached_property
    def sighting_list(self) -> SightingList:
        """What the commands show of sightings."""
        from sfwebhooks.outbox.sighting_list import SightingList  # no scan needs it

        return SightingList(self.database)

    def close(self) -> None:
        """Close the outbox; the next call opens it again."""
        self.database.close()

    def accept(self, items: Iterable[Accepted], now: float, backfilled: bool = False, generation: int = 0) -> int:
        """Commit the deliveries of some events, each event once; return the number of new deliveries.

        Events that are muted or not new, those that a nearly full outbox refuses, and those that cannot be written, are
        counted. `backfilled` deliveries are marked as such when sent.

        Raises:
            OutboxReplacedError: the outbox is not that generation; 0: any.
        """
        new, problems, written = 0, [], None
        gathered, insert_group = list[EventRow](), self.database.insert_group
        held: Counter[WithheldKey] = Counter()
        with self.database.writing() as sql:
            if generation not in (0, self.database.number):
                raise OutboxReplacedError(f"outbox {self.database.where} was replaced")
            muting = bool(sql.execute(IS_MUTING).fetchone()[0])
            for event, asking in items:
                wanted = asking
                if muting or any(one.only_new for one in asking):
                    withheld = withheld_from(sql, event, asking, muting, now)
                    held.update((event.scan_id, endpoint, reason) for endpoint, reason in withheld.items())
                    wanted = [one for one in asking if one.endpoint not in withheld]
                if not wanted:
                    continue
                self._filled += EVENT_BYTES / self.database.max_bytes
                if self._fullness + self._filled >= LEAST_MARK:
                    self._fullness, self._filled = self.database.fullness_in(sql), 0.0
                if self._fullness >= LEAST_MARK and is_refused(event, self._fullness):
                    _withhold(sql, event, wanted, Withheld.OUTBOX_FULL)
                    continue
                try:
                    if insert_group:
                        gathered.append((event, row_of(event), wanted))
                    else:
                        new += insert(sql, event, wanted, now, backfilled)
                except UnwritableError as error:
                    problems.append((event, wanted, str(error)))
                    if event not in self._unwritable:
                        _withhold(sql, event, wanted, Withheld.UNWRITABLE)
            if insert_group and gathered:
                new = insert_group(sql, gathered, now, backfilled)
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

        Nothing is written, and the outbox is as full as it is now.
        """
        with self.database.reading() as sql:
            muting, fullness = bool(sql.execute(IS_MUTING).fetchone()[0]), self.database.fullness_in(sql)
            return [_foreseen(sql, event, wanted, (muting, fullness), now) for event, wanted in items]

    def count_withheld(self, counts: Mapping[WithheldKey, int]) -> None:
        """Count events that filters withhold; the next commit, or `write_withheld`, writes the counts."""
        self._withholding.add(counts)

    def write_withheld(self) -> None:
        """Write the counts of withheld events that are not written yet."""
        if self._withholding:
            with self.database.writing() as sql:
                counts = self._withholding.write(sql)
            self._withholding.written(counts)

    def recount_unwritable(self, scan_id: str) -> None:
        """Count the events of a scan that this process could not write, after accepting all of the host's database."""
        with self.database.writing() as sql:
            self._unwritable.recount(sql, scan_id)


def _database(place: Place, accepting: bool, storage: Storage, listing: bool, boot: Callable[[], str]) -> Database:
    if not isinstance(place, Dsn):
        return File(place, accepting, storage, listing, boot)
    from sfwebhooks.outbox.postgres.server import Server  # needs psycopg

    return Server(place, storage, listing, accepting)


def _foreseen(
    sql: Sql, event: WebhookEvent, asking: Sequence[Wanted], state: tuple[bool, float], now: float
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


def _withhold(sql: Sql, event: WebhookEvent, wanted: Sequence[Wanted], reason: Withheld) -> None:
    add_withheld(sql, {(event.scan_id, one.endpoint, reason): 1 for one in wanted})
