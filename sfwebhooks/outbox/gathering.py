"""Gathering: an endpoint with digests comes in, its next fresh deliveries, or when they are due, go out.

What no digest may have goes first, in its order; but what closes a scan waits for the findings before it, and makes
their digest due. A search may cost as much as there are findings of one scan, and is followed by a request.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from itertools import takewhile
from typing import NamedTuple

from sfwebhooks.catalogue import EVENT_TYPES
from sfwebhooks.digesting import Rhythm
from sfwebhooks.events import Batch
from sfwebhooks.outbox.claim import (
    CANDIDATE,
    ENDS,
    FREE,
    Candidate,
    Limits,
    at_an_end,
    next_late,
    numbered,
    together,
    waits,
)
from sfwebhooks.outbox.database import Sql
from sfwebhooks.outbox.rows import EVERY, FRESH, SCAN, Row
from sfwebhooks.severity import Severity

#: names of the events that come when all findings of their scan are known
CLOSING = ENDS | {
    name
    for entry in EVENT_TYPES
    if entry.name in ("correlation_completed", "surface_changed")
    for name in (entry.name, entry.alias)
}
ALONE = (
    "SELECT d.number, d.name, e.scan FROM delivery d CROSS JOIN event e ON e.number = d.event"  # noqa: S608
    f" WHERE {FREE} AND {FRESH} AND d.alone = 1 ORDER BY d.number"
)
#: the first ones (?3) of those that digests may have, from a part (?4) on
GATHERABLE = f"{CANDIDATE} WHERE d.number IN ({at_an_end(which=f'{FREE} AND d.alone = 0')}) ORDER BY due_at, d.number"
#: the findings of a scan (?3), their severities and sizes
OF_SCAN = f"""FROM event e CROSS JOIN delivery d ON d.event = e.number
    WHERE e.scan = ?3 AND {FREE} AND {FRESH} AND d.alone = 0"""
WHOLE = f"{CANDIDATE.replace('FROM delivery d', OF_SCAN)} ORDER BY d.number LIMIT ?4"
SIZES = f"SELECT e.severity, length(CAST(e.data AS BLOB)) {OF_SCAN} ORDER BY d.number"
#: the scan of a finding among the first ones (?3) that no end will make due
ENDED = (
    "SELECT e.scan FROM delivery d CROSS JOIN event e ON e.number = d.event LEFT JOIN scan s ON s.number = e.scan"  # noqa: S608
    f" WHERE d.number IN ({at_an_end(which=f'{FREE} AND d.alone = 0')})"
    " AND (s.number IS NULL OR s.ended IS NOT NULL) ORDER BY d.due_at, d.number LIMIT 1"
)
IS_FRESH = f"SELECT 1 FROM delivery d WHERE d.number = ? AND {FRESH}"  # noqa: S608


class Front(NamedTuple):
    """The next of those that no digest may have."""

    #: of its row; None: there is none, or it waits
    number: int | None = None
    #: whether one waits for findings, whose digest it makes due
    hurries: bool = False
    #: number of their scan; 0: any
    scan: int = 0


def next_gathered(
    sql: Sql,
    limits: Limits,
    busy: Collection[int],
    part: int,
    now: float,
    spare: float,
    thorough: bool,
) -> list[Row]:
    """Return the deliveries of the next request to an endpoint with digests.

    Args:
        part: the first one with fresh deliveries.
        spare: number of messages that its channel takes at once; only what no digest may have goes beyond that.
        thorough: whether all findings that wait for the end of their scan are searched for those that need not.
    """
    given = (limits.endpoint, json.dumps([*busy]))
    first = sql.execute(GATHERABLE, (*given, 1, part)).fetchone()
    front = _front(sql, limits, first, busy, now)
    if front.number is not None:
        return numbered(sql, front.number)
    if spare < 1:
        return []
    rhythm = limits.digesting.rhythm
    again = next_late(sql, limits, busy, now) if rhythm is Rhythm.SCAN else []  # the parts of a scan in their order
    found = [] if again else _due(sql, limits, (*given, part), front, now, thorough)
    if not found:
        return again or next_late(sql, limits, busy, now)
    its = limits.for_mark(found[0][4] > 0)
    if rhythm is Rhythm.AUTO and its is limits and len(found) <= min(spare, limits.singles):
        found = found[:1]
    return together(sql, found, its)


def has_gathered(sql: Sql, limits: Limits, part: int) -> bool:
    """Return whether an endpoint has fresh deliveries that digests may have."""
    return sql.execute(GATHERABLE, (limits.endpoint, "[]", 1, part)).fetchone() is not None


def gathered_at(sql: Sql, limits: Limits, part: int, now: float, thorough: bool) -> float | None:
    """Return when a fresh delivery to an endpoint with digests is due: 0 for at once; None: none is, as long as its
    scan goes on.

    Args:
        part: as for `next_gathered`, and so is `thorough`.
    """
    first = sql.execute(GATHERABLE, (limits.endpoint, "[]", 1, part)).fetchone()
    front = _front(sql, limits, first, (), now)
    if front.number is not None or _due(sql, limits, (limits.endpoint, "[]", part), front, now, thorough):
        return 0.0
    if not first or limits.digesting.rhythm is Rhythm.SCAN:
        return None
    return 0.0 if first[4] else limits.digesting.due_at(first[3], now)


def part_of(sql: Sql, limits: Limits, batch: Batch, first: int) -> tuple[int, int]:
    """Return the number of a digest among those that the findings of its scan need, and how many these are; zeros if it
    is the only one, or what is left of one.

    Args:
        first: row number of its first delivery.
    """
    known = sql.execute("SELECT number, total FROM digest_part WHERE batch = ?", (batch.id,)).fetchone()
    scan_id = batch.deliveries[0].event.scan_id
    is_new = limits.digesting.rhythm is Rhythm.SCAN and not batch.is_late and len(batch.deliveries) > 1
    if known or not is_new or not sql.execute(IS_FRESH, (first,)).fetchone():
        return known or (0, 0)
    before = (
        "SELECT coalesce(max(number), 0), coalesce(max(total), 0) FROM digest_part WHERE endpoint = ? AND scan_id = ?"
    )
    number, total = sql.execute(before, (limits.endpoint, scan_id)).fetchone()
    (scan,) = sql.execute(f"SELECT {SCAN.format('?')}", (scan_id,)).fetchone()
    total = max(total, number + _parts(sql.execute(SIZES, (limits.endpoint, "[]", scan)), limits))
    return (number + 1, total) if total > 1 else (0, 0)


def _parts(rows: Iterable[tuple[int, int]], limits: Limits) -> int:
    """Return how many digests findings with these severities and sizes need."""
    parts = members = named = size = 0
    for severity, more in rows:
        members, named, size = members + 1, named + (severity >= Severity.HIGH), size + more
        if not parts or members > limits.size or named > limits.named_max or size > limits.max_bytes:
            parts, members, named, size = parts + 1, 1, int(severity >= Severity.HIGH), more
    return parts


def _front(sql: Sql, limits: Limits, first: Candidate | None, busy: Collection[int], now: float) -> Front:
    """Return the next of those that no digest may have.

    Args:
        first: the first one of the others.
    """
    given, is_by_scan = (limits.endpoint, json.dumps([*busy])), limits.digesting.rhythm is Rhythm.SCAN
    blocked = Front()
    for number, name, scan in sql.execute(ALONE, given):
        if name in CLOSING and first:
            its = sql.execute(f"SELECT 1 {OF_SCAN} LIMIT 1", (*given, scan)).fetchone() if is_by_scan else None
            if its or (not is_by_scan and first[0] < number):
                blocked = blocked if blocked.hurries else Front(None, True, scan if is_by_scan else 0)
                continue
        if name not in CLOSING or not waits(sql, number, busy, now):
            return Front(number)
    return blocked


def _due(
    sql: Sql, limits: Limits, queue: tuple[str, str, int], front: Front, now: float, thorough: bool
) -> list[Candidate]:
    """Return the findings of which as many as fit are the next digest.

    Args:
        queue: the endpoint, what is in flight, and the first part.
    """
    *given, part = queue
    if limits.digesting.rhythm is Rhythm.SCAN:
        scan = (
            (front.scan,) if front.hurries else sql.execute(ENDED, (*given, EVERY if thorough else 1, part)).fetchone()
        )
        if not scan:
            return []
        found = sql.execute(WHOLE, (*given, *scan, limits.size)).fetchall()
        return found if found and limits.is_ripe(found, now, hurried=not found[0][4]) else []
    found = sql.execute(GATHERABLE, (*given, limits.size, part)).fetchall()
    is_daily = limits.digesting.rhythm is Rhythm.DAILY
    if not found or not limits.is_ripe(found, now, front.hurries and not is_daily):
        return []
    until = limits.digesting.due_until(now)
    return [*takewhile(lambda one: not until < one[3] <= now, found)] if is_daily and not found[0][4] else found
