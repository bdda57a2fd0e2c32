"""What goes out next to an endpoint: a Queue comes in, the deliveries of the next request go out."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from sfwebhooks.events import Delivery
from sfwebhooks.rows import FRESH, LATE, deliveries

#: what is an endpoint's and not in flight
FREE = "d.endpoint = ? AND d.id NOT IN (SELECT value FROM json_each(?))"
#: is sent again, or late, and says so; what is live does not go in one request with it
MARKED = "(replays > 0 OR backfilled > 0)"


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
    free = f"SELECT number, batch, crashes, accepted_at, {MARKED} FROM delivery d WHERE {FREE}"
    given = (queue.endpoint, json.dumps([*busy]))
    fresh = sql.execute(f"{free} AND {FRESH} ORDER BY due_at, number LIMIT ?", (*given, queue.size)).fetchall()
    if fresh and (len(fresh) == queue.size or not now - queue.wait < fresh[0][3] <= now):
        return _rows(sql, _together(fresh))
    late = f"{free} AND {LATE} AND due_at <= ? ORDER BY due_at LIMIT 1"
    first = sql.execute(late, (*given, now)).fetchone()
    if not first:
        return []
    if first[1] is None:
        alike = f"{free} AND {LATE} AND batch IS NULL AND {MARKED} = ? AND due_at <= ? ORDER BY due_at LIMIT ?"
        return _rows(sql, _together(sql.execute(alike, (*given, first[4], now, queue.size)).fetchall()))
    members = "SELECT number FROM delivery WHERE state = 'waiting' AND batch = ? AND endpoint = ?"
    return _rows(sql, sql.execute(members, (first[1], queue.endpoint)).fetchall())


def _next_alone(sql: sqlite3.Connection, queue: Queue, busy: Collection[str], now: float) -> list[Delivery]:
    """Return the next delivery, where each goes alone."""
    free, given = f"WHERE {FREE}", (queue.endpoint, json.dumps([*busy]))
    fresh = deliveries(sql, f"{free} AND {FRESH} ORDER BY due_at, number LIMIT 1", given)
    return fresh or deliveries(sql, f"{free} AND {LATE} AND due_at <= ? ORDER BY due_at LIMIT 1", (*given, now))


def _together(found: Sequence[tuple[Any, ...]]) -> Sequence[tuple[Any, ...]]:
    """Return what goes in one request: one whose making killed its process before goes alone, and all are live or
    none is."""
    return found[:1] if found[0][2] else list(takewhile(lambda row: not row[2] and row[4] == found[0][4], found))


def _rows(sql: sqlite3.Connection, found: Sequence[tuple[Any, ...]]) -> list[Delivery]:
    """Return the deliveries whose numbers were found, in the order of their numbers."""
    numbers = json.dumps([row[0] for row in found])
    return deliveries(sql, "WHERE d.number IN (SELECT value FROM json_each(?)) ORDER BY d.number", (numbers,))
