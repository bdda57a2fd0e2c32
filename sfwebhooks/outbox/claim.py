"""Claiming: the Limits of an endpoint's requests come in, the deliveries of the next request or requests go out.

A scan's end waits for deliveries that were accepted before it and never tried: several attempts run at once, and a
message that was used as a probe has moved to the end of the queue. Deliveries that wait for a retry do not block it.
Deliveries in flight (`busy`) are known by their row numbers here.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from itertools import takewhile
from typing import Callable, Optional

from sfwebhooks.catalogue import EVENT_TYPES
from sfwebhooks.digesting import NO_DIGESTS, Digesting, Rhythm
from sfwebhooks.endpoints import SCAN_ENDS
from sfwebhooks.events import Delivery
from sfwebhooks.outbox.database import Sql
from sfwebhooks.outbox.rows import FRESH, LATE, PROBED, SELECT_DELIVERY, UNTOUCHED, UNTRIED, Row, deliveries, parts

#: whether a subject (of a delivery: o) has a ticket
HAS_TICKET = "substr({0}.subject, 1, 7) = 'ticket/'"
#: an endpoint's deliveries that are not in flight; only the first of several live ones about the same subject; about
#: one with a ticket only the first of all, and none while another one is in flight
FREE = f"""
    d.endpoint = ?1 AND d.number NOT IN (SELECT value FROM json_each(?2)) AND (
        d.subject IS NULL OR (d.replays > 0 AND NOT {HAS_TICKET.format("d")}) OR NOT EXISTS (
            SELECT 1 FROM delivery o WHERE o.endpoint = d.endpoint AND o.subject = d.subject AND o.state = 'waiting'
            AND (o.replays = 0 OR {HAS_TICKET.format("o")}) AND o.number <> d.number
            AND (o.number < d.number
                 OR ({HAS_TICKET.format("o")} AND o.number IN (SELECT value FROM json_each(?2))))))
"""
#: a replay or backfill, which is marked as such; live deliveries do not go in one request with it
MARKED = "CASE WHEN d.replays > 0 OR d.backfilled > 0 THEN 1 ELSE 0 END"
#: their names, under any of which they are not tried while other messages of the scan wait
ENDS = frozenset(name for entry in EVENT_TYPES if entry.name in SCAN_ENDS for name in (entry.name, entry.alias))
#: most seconds that an end waits for deliveries in flight, so that the scan's process, which lingers longer, can still
#: send it
END_SECONDS = 5.0
#: an untried delivery of an endpoint and a scan before a given number
BEFORE = f"d.endpoint = ? AND d.number < ? AND +e.scan = ? AND {UNTRIED} LIMIT 1"
#: among those used as a probe or in a request that ended with its process; among those in flight
OVERTAKEN = f"""SELECT 1 FROM delivery d JOIN event e ON e.number = d.event
    WHERE (due_at <> accepted_at OR batch IS NOT NULL) AND {BEFORE}"""
FLYING = f"""SELECT 1 FROM (SELECT value FROM json_each(?)) its CROSS JOIN delivery d ON d.number = its.value
    JOIN event e ON e.number = d.event
    WHERE {BEFORE}"""
#: an endpoint's fresh deliveries, in parts
PARTED = "part CROSS JOIN delivery d ON d.number >> 8 = part.at AND d.endpoint = ?1"
IN_PARTS = f"FROM {PARTED} WHERE {UNTOUCHED}"
#: the first part (from ?2 on) with some; if there are none, the one of the last number
FIRST_PART = f"""
    {parts("?2")}
    SELECT coalesce((SELECT part.at {IN_PARTS} LIMIT 1), (SELECT max(number) >> 8 FROM delivery), 0)
"""


def at_an_end(most: str = "?3", part: str = "?4", order: str = "ASC", which: str = FREE) -> str:
    """Return SQL for the numbers of free fresh deliveries at an end of an endpoint's queue, in which one that was used
    as a probe has the place of its new due time.

    Args:
        most: SQL of how many.
        part: SQL of a part before which there are none.
        order: ASC for the first ones, DESC for the last ones.
        which: SQL of a condition: which of an endpoint's.
    """
    read = most if order == "ASC" else f"{most} + 256"  # of each part the first ones come first
    return f"""
        SELECT number FROM (
            SELECT * FROM (
                SELECT * FROM ({parts(part, order)} SELECT d.number, due_at {IN_PARTS} AND {which} LIMIT {read}) its
                ORDER BY number {order} LIMIT {most}
            ) new UNION ALL SELECT * FROM (
                SELECT d.number, due_at FROM delivery d WHERE {which} AND {PROBED}
                ORDER BY due_at {order}, d.number {order} LIMIT {most}
            ) probed
        ) found ORDER BY due_at {order}, number {order} LIMIT {most}
    """


#: the next deliveries where each goes alone: fresh ones, late ones that are due
NEXT_FRESH = f"WHERE d.number IN ({at_an_end()}) ORDER BY due_at, d.number"
#: the same where none was used as a probe, in a quarter of the time: with the numbers, tables in memory are made
NEXT_UNTOUCHED = f"WHERE {UNTOUCHED} AND {FREE} LIMIT ?3"
SELECT_UNTOUCHED = f"{parts('?4')} {SELECT_DELIVERY.format(PARTED)}"
HAS_PROBES = f"SELECT EXISTS (SELECT 1 FROM delivery d WHERE d.endpoint = ? AND {PROBED})"
NEXT_LATE = f"WHERE {FREE} AND {LATE} AND due_at <= ?3 ORDER BY due_at LIMIT ?4"
#: the deliveries with some row numbers, in their order
NUMBERED = "WHERE d.number IN (SELECT value FROM json_each(?)) ORDER BY d.number"
#: number, batch, crashes, time of acceptance, MARKED and name of a delivery
Candidate = tuple[int, Optional[str], int, float, int, str]
CANDIDATE = f"SELECT d.number, d.batch, d.crashes, d.accepted_at, {MARKED}, d.name FROM delivery d"
CANDIDATE_UNTOUCHED = f"{parts('?4')} {CANDIDATE.replace('delivery d', PARTED)}"
#: deliveries from each end of the queue among which the smallest is sought
SMALLEST_OF = 50


class Pick(Enum):
    """The message of a queue that goes next if the first one is suspected to be refused always."""

    OLDEST = 0
    NEWEST = 1
    SMALLEST = 2


@dataclass(frozen=True)
class Limits:
    """The endpoint whose deliveries are claimed, and the limits of its requests."""

    endpoint: str
    #: most deliveries in one request
    size: int = 1
    #: seconds that the first one waits for others
    wait: float = 0.0
    #: most bytes of a request of several
    max_bytes: int = 100_000
    #: returns an upper bound of a delivery's bytes in it
    measure: Callable[[Delivery], int] = field(default=lambda delivery: 0, compare=False)
    #: most deliveries in one request that are named in it (`WebhookEvent.is_named`); 0: any number
    named_max: int = 0
    #: the same limits for replays and backfills, if other ones hold for them
    late: Limits | None = None
    #: whether a bundle is one request, whatever its size (`Bundle.is_whole`)
    is_whole: bool = False
    #: whether each message is recorded before it is sent, and keeps its due time: it must not be repeated at once
    is_careful: bool = False
    #: when findings go in one request, and most that go one by one when a moment brings several
    digesting: Digesting = NO_DIGESTS
    singles: int = 1

    def for_mark(self, marked: bool) -> Limits:
        """Return the limits of replays and backfills, or of live deliveries."""
        return self.late if marked and self.late else self

    def is_ripe(self, found: Sequence[Candidate], now: float, hurried: bool = False) -> bool:
        """Return whether fresh deliveries, in their order, need not wait for others.

        Args:
            hurried: whether live ones need not wait.
        """
        first_at, its = found[0][3], self.for_mark(found[0][4] > 0)
        if its is self and self.digesting.is_on:
            is_full = len(found) >= self.size and self.digesting.rhythm is Rhythm.INTERVAL
            return hurried or is_full or self.digesting.due_at(first_at, now) <= now
        return len(found) >= its.size or not now - its.wait < first_at <= now


class Filling:
    """A request of several that is being filled."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._members = 0
        self._left, self._names_left = limits.max_bytes, limits.named_max or limits.size

    def takes(self, delivery: Delivery) -> bool:
        """Take the next delivery in, if it fits or is the first one; return whether it was taken in."""
        self._left -= self._limits.measure(delivery)
        self._names_left -= delivery.event.is_named
        if self._members and (min(self._left, self._names_left) < 0 or self._members == self._limits.size):
            return False
        self._members += 1
        return True


def next_batch(sql: Sql, limits: Limits, busy: Collection[int], part: int, now: float) -> list[Row]:
    """Return the deliveries of the next request of several: fresh ones, else late ones that are due.

    A fresh one that failed while its endpoint was unhealthy has a new due time, so another one is next.

    Args:
        part: the first one with fresh deliveries.
    """
    given, most = (limits.endpoint, json.dumps([*busy])), max(limits.size, limits.late.size if limits.late else 1)
    (has_probes,) = sql.execute(HAS_PROBES, given[:1]).fetchone()
    query = f"{CANDIDATE} {NEXT_FRESH}" if has_probes else f"{CANDIDATE_UNTOUCHED} {NEXT_UNTOUCHED}"
    fresh = sql.execute(query, (*given, most, part)).fetchall()
    fresh = [row for row in fresh if row[5] not in ENDS or not waits(sql, row[0], busy, now)]
    if fresh and limits.is_ripe(fresh, now):
        return together(sql, fresh, limits.for_mark(fresh[0][4] > 0))
    return next_late(sql, limits, busy, now)


def next_late(sql: Sql, limits: Limits, busy: Collection[int], now: float) -> list[Row]:
    """Return the deliveries of the next request of several among the late ones that are due."""
    given, free = (limits.endpoint, json.dumps([*busy])), f"{CANDIDATE} WHERE {FREE} AND {LATE}"
    first = sql.execute(f"{free} AND due_at <= ?3 ORDER BY due_at LIMIT 1", (*given, now)).fetchone()
    if not first:
        return []
    if first[1] is None:
        its, alone = limits.for_mark(first[4] > 0), limits.digesting.is_on and not first[4]
        alike = f"{free} AND batch IS NULL AND {MARKED} = ?3 AND due_at <= ?4 ORDER BY due_at LIMIT ?5"
        most = 1 if alone else its.size  # of the live ones, only those that no digest may have are in none
        return together(sql, sql.execute(alike, (*given, first[4], now, most)).fetchall(), its)
    return _members(sql, limits, first[1])


def picked(sql: Sql, limits: Limits, busy: Collection[int], pick: Pick, fresh: bool, now: float) -> list[Row]:
    """Return the oldest, newest or smallest waiting message, due or not, preferably one that was never refused.

    It goes alone unless it belongs to a batch, or to a part of one: the receiver may have that under its id.

    Args:
        fresh: only a message that was never in a request.
    """
    given = (limits.endpoint, json.dumps([*busy]))
    rows: list[tuple[int, str | None, int, str]] = []
    untried = f"{FRESH} AND d.alone = 1" if limits.digesting.waits else FRESH
    late = f"{LATE} AND due_at <= {now!r}" if limits.is_careful else LATE
    for kind in [untried] if fresh else [untried, f"{late} AND refusals = 0", late]:
        found = _from_the_ends(sql, given, pick, kind)
        others = [row for row in found if row[3] not in ENDS]
        rows = others or rows or found
        if others:
            break
    if not rows:
        return []
    number, batch, *_ = min(rows, key=lambda row: row[2]) if pick is Pick.SMALLEST else rows[0]
    return _members(sql, limits, batch) if batch else numbered(sql, number)


def _from_the_ends(sql: Sql, given: tuple[str, str], pick: Pick, kind: str) -> list[tuple[int, str | None, int, str]]:
    """Return number, batch, size and event type of a kind of messages at the ends of a queue from which to pick."""
    its = "SELECT d.number, d.batch, length(e.data), e.type FROM delivery d JOIN event e ON e.number = d.event WHERE"
    late = f"{its} {FREE} AND {kind} ORDER BY d.accepted_at {{0}}, d.number {{0}} LIMIT {SMALLEST_OF}"
    rows: list[tuple[int, str | None, int, str]] = []
    for order in {Pick.OLDEST: ("ASC",), Pick.NEWEST: ("DESC",), Pick.SMALLEST: ("ASC", "DESC")}[pick]:
        found = f"d.number IN ({at_an_end(str(SMALLEST_OF), '0', order)}) ORDER BY d.due_at {order}, d.number {order}"
        rows += sql.execute(f"{its} {found}" if kind is FRESH else late.format(order), given).fetchall()
    return rows


def waits(sql: Sql, number: int, busy: Collection[int], now: float) -> bool:
    """Return whether the end of a scan, first among the fresh ones, has to wait for other deliveries of its scan.

    These are the ones in flight, those tried while the endpoint was unhealthy, and those of a request that ended with
    its process.
    """
    its = "SELECT d.endpoint, e.scan, d.accepted_at FROM delivery d JOIN event e ON e.number = d.event"
    endpoint, scan, accepted_at = sql.execute(f"{its} WHERE d.number = ?", (number,)).fetchone()
    given = (endpoint, number, scan)
    if not scan or sql.execute(OVERTAKEN, given).fetchone():  # the end of another tool's scan has no scan of ours
        return bool(scan)
    is_new = now - END_SECONDS < accepted_at <= now
    return is_new and sql.execute(FLYING, (json.dumps([*busy]), *given)).fetchone() is not None


def together(sql: Sql, found: Sequence[Candidate], limits: Limits) -> list[Row]:
    """Return the deliveries of one request: as many as fit, either all live or none; one whose rendering has crashed a
    process goes alone."""
    if found[0][2]:
        return numbered(sql, found[0][0])
    alike = takewhile(lambda row: not row[2] and row[4] == found[0][4], found[: limits.size])
    numbers, room = sorted(row[0] for row in alike), Filling(limits)
    its = deliveries(sql, NUMBERED, (json.dumps(numbers),))  # only then is it known how many fit
    return [*takewhile(lambda row: room.takes(row[1]), its)]


def numbered(sql: Sql, number: int) -> list[Row]:
    """Return the delivery with a row number."""
    return [*deliveries(sql, NUMBERED, (json.dumps([number]),))]


def _members(sql: Sql, limits: Limits, batch: str) -> list[Row]:
    """Return the waiting deliveries of a batch; no more than can be named, if that was made for another format."""
    where = "WHERE d.state = 'waiting' AND d.batch = ? AND d.endpoint = ? ORDER BY d.number"
    room = Filling(replace(limits, size=sys.maxsize, max_bytes=sys.maxsize))
    return [*takewhile(lambda row: room.takes(row[1]), deliveries(sql, where, (batch, limits.endpoint)))]
