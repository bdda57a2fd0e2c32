"""Bundling: an endpoint that is sent whole scans comes in, the deliveries of the next scan that is over go out.

A bundle has all deliveries of its scan to the endpoint, in any state but dropped: what arrives after it, a backfill or
a replay of one of them, sends the whole scan again, since its receiver may take what is missing for gone. Only a bundle
that may go in parts is divided, always at the same places. Its rows are read whenever they are needed (`Members`). One
that is damaged is skipped, so that it does not hold up the others.
"""

from __future__ import annotations

import json
import sys
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, overload

from sfwebhooks.errors import OutboxBusyError
from sfwebhooks.events import Batch, Bundle, Delivery, Summary, delivery_id, id_of_key, key_of, lifecycle_id
from sfwebhooks.fingerprints import canonical
from sfwebhooks.outbox.claim import ENDS, FREE, Limits, at_an_end
from sfwebhooks.outbox.database import Database, Sql
from sfwebhooks.outbox.rows import EVERY, FRESH, LATE, READABLE, SEVERITIES, deliveries
from sfwebhooks.reasons import DeadReason

#: seconds after which what was accepted for a scan is sent although the scan's end was not accepted for the endpoint
LONE_SECONDS = 3600.0
#: seconds after which what came after the end of a scan, as by a backfill, is taken to be complete
QUIET_SECONDS = 5.0
#: deliveries that are read at once
READ_MAX = 500
#: nothing is in flight: an endpoint has one bundle at a time
IDLE = "[]"
#: a delivery that bundles may have: an operator has not dropped it, and it was not found to be damaged
KEPT = f"(d.state <> 'dead' OR d.reason NOT IN ('{DeadReason.DROPPED.value}', '{DeadReason.DAMAGED.value}'))"
#: whether it has no values that we never write, with which it could not be read or settled
SOUND = f"""
    typeof(e.id) = 'blob' AND length(e.id) = 16 AND typeof(e.at) = 'real' AND typeof(e.data) = 'text' AND {READABLE}
    AND e.severity IN ({", ".join(map(str, SEVERITIES))}) AND d.series IN (SELECT number FROM series)
    AND typeof(d.sequence) = 'integer' AND typeof(d.attempts) = 'integer' AND typeof(d.replays) = 'integer'
    AND typeof(d.backfilled) = 'integer'
"""  # noqa: S608
#: the late one that is due first
FIRST_LATE = (
    "SELECT d.batch, e.scan FROM delivery d CROSS JOIN event e ON e.number = d.event"  # noqa: S608
    f" WHERE {FREE} AND {LATE} AND due_at <= ?3 ORDER BY due_at LIMIT 1"
)
#: the names and scans of fresh ones that no digest may have: of the ends among them, unless a backfill accepted them
FRESH_ALONE = (
    "SELECT d.name, e.scan FROM delivery d CROSS JOIN event e ON e.number = d.event"  # noqa: S608
    f" WHERE {FREE} AND {FRESH} AND d.alone = 1 ORDER BY d.number"
)
#: the scans of the first fresh ones (?3), from a part (?4) on
WITH_FRESH = (
    "SELECT e.scan FROM delivery d CROSS JOIN event e ON e.number = d.event"  # noqa: S608
    f" WHERE d.number IN ({at_an_end()}) GROUP BY e.scan ORDER BY min(d.due_at), min(d.number)"
)
ITS_SCAN = "SELECT id, ended, target FROM scan WHERE number = ?"
HAS_END = (
    "SELECT d.state = 'waiting', d.number FROM event e JOIN delivery d ON d.event = e.number AND d.endpoint = ?1"
    " WHERE e.scan = ?2 AND e.id = ?3"
)
#: the scans that are over, other than one, and the target of each
OTHERS = "SELECT number, id, target FROM scan WHERE ended IS NOT NULL AND number <> ?"
OF_SCAN = "FROM event e CROSS JOIN delivery d ON d.event = e.number AND d.endpoint = ?1 WHERE e.scan = ?2"
NEWEST = f"SELECT max(d.accepted_at) {OF_SCAN} AND d.state = 'waiting'"
MEMBER = f"""
    SELECT d.number, e.id, d.sequence, d.series, d.attempts, d.state = 'waiting', d.replays > 0, d.backfilled > 0,
           d.batch IS NULL, length(e.data), {SOUND}
"""
WHOLE = f"{MEMBER} {OF_SCAN} AND {KEPT} ORDER BY d.number"
#: what is of no scan was meant for another format
SCANLESS = f"{MEMBER} {OF_SCAN} AND d.state = 'waiting' AND {KEPT} ORDER BY d.number LIMIT 1"
#: what is left of it, if its receiver judged parts of it
OF_BATCH = (
    f"{MEMBER} FROM delivery d JOIN event e ON e.number = d.event"
    f" WHERE d.batch = ?2 AND d.endpoint = ?1 AND {KEPT} ORDER BY d.number"
)
#: bytes of a member besides its data, as far as parts are concerned
MEMBER_BYTES = 640


class SettledKey(NamedTuple):
    """What settles a delivery."""

    #: of its row; 0: not known here
    number: int
    #: id of the delivery, and bytes of its event's
    id: str
    event: bytes
    sequence: int
    series: str
    endpoint: str
    #: id of its scan; empty: that of the others
    scan: str = ""


class Roster:
    """The rows of a bundle: of each one what settles it, of all together what the next attempt depends on."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        #: ids of the deliveries
        self.ids: list[str] = []
        self.numbers, self.sequences, self.series = array("q"), array("q"), array("q")
        #: bytes of their data, about
        self.size = 0
        #: of those that wait: attempts so far, and whether there are replays, or others that come late
        self.attempts, self.is_replayed, self.is_late = 0, False, False
        #: whether any waits, and whether one of these is in no request yet
        self.waits = self.is_due = False
        #: numbers of the rows that are damaged and wait
        self.damaged: list[int] = []

    def add(self, row: tuple[Any, ...]) -> None:
        """Add a row of MEMBER, unless it is damaged."""
        number, key, sequence, series, attempts, waits, replayed, backfilled, is_free, size, is_sound = row
        if not is_sound:
            self.damaged += [number] if waits else []
            return
        self.ids.append(delivery_id(id_of_key(key), self.endpoint))
        self.numbers.append(number)
        self.sequences.append(sequence)
        self.series.append(series)
        self.size += size + MEMBER_BYTES
        if waits:
            self.waits, self.is_due = True, self.is_due or bool(is_free)
            self.attempts, self.is_replayed = max(self.attempts, attempts), self.is_replayed or bool(replayed)
            self.is_late = self.is_late or bool(replayed or backfilled)

    def has_room(self, row: tuple[Any, ...], limits: Limits) -> bool:
        """Return whether there is room for another row."""
        size, is_sound = row[-2:]
        return not is_sound or (len(self.ids) < limits.size and self.size + size + MEMBER_BYTES <= limits.max_bytes)

    def bundle(self, database: Database, names: Mapping[int, str], is_whole: bool) -> Bundle:
        """Return the bundle of these rows.

        Args:
            names: number -> name of each series.
        """
        summary = Summary(tuple(self.ids), self.attempts, self.is_replayed, self.is_late)
        return Bundle(Members(database, self, names), summary=summary, is_whole=is_whole)


class Members(Sequence[Delivery]):
    """The deliveries of a bundle: little of them is kept, and the rest is read when they are iterated over.

    Iterating raises OutboxError: they have changed since, and the bundle is to be claimed again.
    """

    def __init__(
        self, database: Database, roster: Roster, names: Mapping[int, str], which: slice = slice(None)
    ) -> None:
        self._database, self._generation = database, database.number
        self._roster, self._names = roster, names
        #: their places in the roster
        self._places = range(len(roster.ids))[which]
        #: those read last, and the place of the first of them
        self._read: tuple[int, list[Delivery]] = (0, [])
        #: the first one, for which it is asked within transactions
        self._first: Delivery | None = None

    @property
    def keys(self) -> Iterator[SettledKey]:
        """What settles each of them."""
        its = self._roster
        for place in self._places:
            key = key_of(delivery_id(its.ids[place], its.endpoint))  # an id leads back to its event's
            series = self._names.get(its.series[place], "")
            yield SettledKey(its.numbers[place], its.ids[place], key, its.sequences[place], series, its.endpoint)

    @property
    def numbers(self) -> str:
        """Their row numbers as JSON."""
        return json.dumps([self._roster.numbers[place] for place in self._places])

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, place: int) -> Delivery: ...
    @overload
    def __getitem__(self, place: slice) -> Members: ...
    def __getitem__(self, place: int | slice) -> Delivery | Members:
        if isinstance(place, slice):
            its = self._places[place]
            return Members(self._database, self._roster, self._names, slice(its.start, its.stop))
        place = range(len(self))[place]
        if place == 0 and self._first:
            return self._first
        first, read = self._read
        if not first <= place < first + len(read):
            first = place - place % READ_MAX
            read = self._chunk(first)
            self._read = (first, read)
            self._first = read[0] if first == 0 else self._first
        return read[place - first]

    def __iter__(self) -> Iterator[Delivery]:
        for first in range(0, len(self), READ_MAX):
            yield from self._chunk(first)

    def _chunk(self, first: int) -> list[Delivery]:
        places = self._places[first : first + READ_MAX]
        numbers = json.dumps([self._roster.numbers[place] for place in places])
        where = "WHERE d.number IN (SELECT value FROM json_each(?)) ORDER BY d.number"
        with self._database.reading() as sql:
            found = [delivery for _, delivery in deliveries(sql, where, (numbers,))]
            is_same = self._database.number == self._generation
        if not is_same or [one.id for one in found] != [self._roster.ids[place] for place in places]:
            raise OutboxBusyError(f"outbox {self._database.where}: the deliveries of a bundle have changed")
        return found


def keys_of(batch: Batch) -> Iterable[SettledKey]:
    """Return what settles the deliveries of a batch."""
    if isinstance(batch.deliveries, Members):
        return batch.deliveries.keys
    return [
        SettledKey(0, one.id, key_of(one.event.id), one.sequence, one.series, one.endpoint, one.event.scan_id)
        for one in batch.deliveries
    ]


def next_bundle(sql: Sql, limits: Limits, part: int, now: float, thorough: bool) -> Roster | None:
    """Return the rows of the next bundle of an endpoint: one that is to be repeated, else that of a scan that is over.

    Args:
        part: the first one with fresh deliveries.
        thorough: whether all that waits is searched for scans that are over.
    """
    late = late_bundle(sql, limits, now)
    if late:
        return late
    scans = _waiting_scans(sql, limits, part, thorough)
    scan = next((one for one in scans if _due_at(sql, limits, one, now) <= now), None)
    return None if scan is None else _members(sql, limits, scan)


def late_bundle(sql: Sql, limits: Limits, now: float) -> Roster | None:
    """Return the rows of the bundle that is repeated next, of those that are due."""
    late = sql.execute(FIRST_LATE, (limits.endpoint, IDLE, now)).fetchone()
    if not late:
        return None
    batch, scan = late
    if not batch:
        return _members(sql, limits, scan)
    roster = Roster(limits.endpoint)
    for row in sql.execute(OF_BATCH, (limits.endpoint, batch)):
        roster.add(row)
    return roster if roster.waits or roster.damaged else None


def bundled_at(sql: Sql, limits: Limits, part: int, now: float, thorough: bool) -> float | None:
    """Return when a fresh bundle of an endpoint is due: 0 for at once; None: none is, as long as its scan goes on.

    Args:
        part: as for `next_bundle`, and so is `thorough`.
    """
    times = [_due_at(sql, limits, scan, now) for scan in _waiting_scans(sql, limits, part, thorough)]
    first = min(times, default=float("inf"))
    return 0.0 if first <= now else None if first == float("inf") else first


def has_unbundled(sql: Sql, limits: Limits, part: int) -> bool:
    """Return whether an endpoint has deliveries that were in no bundle."""
    return sql.execute(at_an_end("1"), (limits.endpoint, IDLE, 1, part)).fetchone() is not None


def series_names(sql: Sql) -> dict[int, str]:
    """Return number -> name of each series."""
    return dict(sql.execute("SELECT number, name FROM series"))


def _waiting_scans(sql: Sql, limits: Limits, part: int, thorough: bool) -> list[int]:
    """Return the numbers of scans that may be over, each once; 0 for what is of none."""
    given = (limits.endpoint, IDLE)
    ended = [scan for name, scan in sql.execute(FRESH_ALONE, given) if name in ENDS]
    others = [scan for (scan,) in sql.execute(WITH_FRESH, (*given, EVERY if thorough else 1, part))]
    return [*dict.fromkeys([*ended, *others])]


def _due_at(sql: Sql, limits: Limits, scan: int, now: float) -> float:
    """Return when the fresh deliveries of a scan are due; inf: not before its end."""
    row = sql.execute(ITS_SCAN, (scan,)).fetchone()
    if row is None:  # of none
        return 0.0
    given = (limits.endpoint, scan)
    end = sql.execute(HAS_END, (*given, key_of(lifecycle_id(row[0], "ended")))).fetchone()
    if end and end[0]:
        return float("inf") if limits.is_whole and _has_earlier(sql, limits, scan, row[2], end[1]) else 0.0
    if row[1] is None:
        return float("inf")
    (newest,) = sql.execute(NEWEST, given).fetchone()
    at: float = (newest or 0.0) + (QUIET_SECONDS if end else LONE_SECONDS)
    return min(at, now + LONE_SECONDS)


def _has_earlier(sql: Sql, limits: Limits, scan: int, target: str, end: int) -> bool:
    """Return whether a bundle of the same target whose end was accepted before waits, for a retry: sent after this one,
    it would bring back what was solved since, and close what is new."""
    for number, id, other in sql.execute(OTHERS, (scan,)).fetchall():
        if canonical(other) == canonical(target):
            its = sql.execute(HAS_END, (limits.endpoint, number, key_of(lifecycle_id(id, "ended")))).fetchone()
            if its and its[0] and its[1] < end:
                return True
    return False


def _members(sql: Sql, limits: Limits, scan: int) -> Roster | None:
    """Return the rows of a scan's bundle, or of the first part of it that has a delivery to send."""
    rows = sql.execute(WHOLE if scan else SCANLESS, (limits.endpoint, scan))
    if limits.is_whole:
        rosters: Iterable[Roster] = _parts(rows, replace(limits, size=sys.maxsize, max_bytes=sys.maxsize))
        return next((one for one in rosters if one.waits or one.damaged), None)
    return next((one for one in _parts(rows, limits) if one.is_due or one.damaged), None)


def _parts(rows: Iterable[tuple[Any, ...]], limits: Limits) -> Iterator[Roster]:
    """Yield rows in parts that keep the limits."""
    part = Roster(limits.endpoint)
    for row in rows:
        if part.ids and not part.has_room(row, limits):
            yield part
            part = Roster(limits.endpoint)
        part.add(row)
    yield part
