"""What goes out next to an endpoint: a Queue comes in, the deliveries of the next request go out.

A scan's end waits for what was accepted before it and never tried: several attempts are under way at once, and a
message that came to a probe has gone to the end of the queue. What waits for its retry does not hold it up.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from sfwebhooks.catalogue import EVENT_TYPES
from sfwebhooks.events import Delivery
from sfwebhooks.rows import FRESH, LATE, deliveries

#: names of events that are the last ones of their scan
ENDS = frozenset(
    name
    for entry in EVENT_TYPES
    if entry.name in ("scan_completed", "scan_failed", "scan_aborted")
    for name in (entry.name, entry.alias)
)
#: seconds that an end waits at most for what is in flight, so that the scan's process, which lingers for longer, can
#: still send it
END_SECONDS = 5.0
#: what is an endpoint's and not in flight
FREE = "d.endpoint = ? AND d.id NOT IN (SELECT value FROM json_each(?))"
#: one of an endpoint and a scan, before a number, that was never tried
UNTRIED = f"d.endpoint = ? AND d.number < ? AND +e.scan_id = ? AND {FRESH} LIMIT 1"
#: of those that came to a probe; of those in flight
PROBED = f"SELECT 1 FROM delivery d JOIN event e ON e.id = d.event_id WHERE due_at > accepted_at AND {UNTRIED}"
FLYING = f"""SELECT 1 FROM json_each(?) CROSS JOIN delivery d ON d.id = value CROSS JOIN event e ON e.id = d.event_id
    WHERE {UNTRIED}"""


@dataclass(frozen=True)
class Queue:
    """Whose deliveries are claimed, and how."""

    endpoint: str
    #: how many go out in one request
    size: int = 1
    #: seconds that the first of them waits for the others
    wait: float = 0.0


def next_of(sql: sqlite3.Connection, queue: Queue, busy: Collection[str], now: float) -> list[Delivery]:
    """Return what goes out next: of the fresh ones, else of the late ones that are due.

    A fresh one that an endpoint refused while it was not healthy has a new due time, so another one probes next.
    """
    if queue.size == 1:
        return _next_alone(sql, queue, busy, now)
    free = f"SELECT number, batch, crashes, accepted_at, replays > 0, name FROM delivery d WHERE {FREE}"
    given = (queue.endpoint, json.dumps([*busy]))
    fresh = sql.execute(f"{free} AND {FRESH} ORDER BY due_at, number LIMIT ?", (*given, queue.size)).fetchall()
    fresh = [row for row in fresh if row[5] not in ENDS or not _waits(sql, row[0], busy, now)]
    if fresh and (len(fresh) == queue.size or not now - queue.wait < fresh[0][3] <= now):
        return _rows(sql, _together(fresh))
    late = f"{free} AND {LATE} AND due_at <= ? ORDER BY due_at LIMIT 1"
    first = sql.execute(late, (*given, now)).fetchone()
    if not first:
        return []
    if first[1] is None:
        alike = f"{free} AND {LATE} AND batch IS NULL AND (replays > 0) = ? AND due_at <= ? ORDER BY due_at LIMIT ?"
        return _rows(sql, _together(sql.execute(alike, (*given, first[4], now, queue.size)).fetchall()))
    members = "SELECT number FROM delivery WHERE state = 'waiting' AND batch = ? AND endpoint = ?"
    return _rows(sql, sql.execute(members, (first[1], queue.endpoint)).fetchall())


def _next_alone(sql: sqlite3.Connection, queue: Queue, busy: Collection[str], now: float) -> list[Delivery]:
    """Return the next delivery, where each goes alone."""
    passed = {*busy}
    while True:
        given = (queue.endpoint, json.dumps([*passed]))
        fresh = deliveries(sql, f"WHERE {FREE} AND {FRESH} ORDER BY due_at, number LIMIT 1", given)
        if not fresh or fresh[0].name not in ENDS or not _waits(sql, fresh[0].number, busy, now):
            break
        passed.add(fresh[0].id)  # of another scan there may be something: as many scans wait as are in flight at most
    return fresh or deliveries(sql, f"WHERE {FREE} AND {LATE} AND due_at <= ? ORDER BY due_at LIMIT 1", (*given, now))


def _waits(sql: sqlite3.Connection, number: int, busy: Collection[str], now: float) -> bool:
    """Say whether the end of a scan, which nothing fresh goes before, has to wait for others of its scan.

    These are the ones in flight, and those that were tried while the endpoint was not healthy, and are due after it.
    """
    its = "SELECT d.endpoint, e.scan_id, d.accepted_at FROM delivery d JOIN event e ON e.id = d.event_id"
    endpoint, scan_id, accepted_at = sql.execute(f"{its} WHERE d.number = ?", (number,)).fetchone()
    given = (endpoint, number, scan_id)
    if not scan_id or sql.execute(PROBED, given).fetchone():  # another tool's end is of no scan of ours
        return bool(scan_id)
    is_new = now - END_SECONDS < accepted_at <= now
    return is_new and sql.execute(FLYING, (json.dumps([*busy]), *given)).fetchone() is not None


def _together(found: Sequence[tuple[Any, ...]]) -> Sequence[tuple[Any, ...]]:
    """Return what goes in one request: one whose making killed its process before goes alone."""
    return found[:1] if found[0][2] else list(takewhile(lambda row: not row[2], found))


def _rows(sql: sqlite3.Connection, found: Sequence[tuple[Any, ...]]) -> list[Delivery]:
    """Return the deliveries whose numbers were found, in the order of their numbers."""
    numbers = json.dumps([row[0] for row in found])
    return deliveries(sql, "WHERE d.number IN (SELECT value FROM json_each(?)) ORDER BY d.number", (numbers,))
