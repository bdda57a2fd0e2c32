"""When an endpoint's deliveries are due, changed for many at once: they are made due, or follow a clock that was set.

It is done in chunks (`chunks`). What got another time since it was found, or waits no longer, is left alone.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from sfwebhooks.chunks import Chunked
from sfwebhooks.rows import LATE

#: a delivery that waits: number of its row, and when it is due
Waiting = tuple[int, float]


class Times(Chunked):
    """The file as those see it who change when deliveries are due."""

    def make_due(self, endpoint: str, now: float) -> None:
        """Let all waiting deliveries of an endpoint be tried at once; a replay keeps its pace."""
        far = f"{LATE} AND (replays = 0 OR attempts > 0) AND due_at > ?"
        self._change(lambda sql: _waiting(sql, far, (endpoint, now)), partial(_make_due, now=now))

    def pull(self, endpoint: str, now: float, longest: float) -> None:
        """Make due what no wait can have put so far ahead: its due time comes from a clock that was set back.

        Args:
            longest: seconds. A replay has a pace of its own.
        """
        far = f"{LATE} AND replays = 0 AND due_at > ?"
        self._change(lambda sql: _waiting(sql, far, (endpoint, now + longest)), partial(_make_due, now=now))

    def waiting(self, endpoints: Iterable[str]) -> list[Waiting]:
        """Return what waits for a time of its own at endpoints, such that it can be shifted."""
        with self._reading() as sql:
            return [one for name in endpoints for one in _waiting(sql, LATE, (name,))]

    def shift(self, waiting: Sequence[Waiting], seconds: float) -> None:
        """Let the due times of deliveries follow a clock that was set forward, or back.

        If that is interrupted it can be called again with the same ones: none is shifted twice.
        """
        self._change(lambda _: waiting, partial(_shift, seconds=seconds))


def _waiting(sql: sqlite3.Connection, where: str, values: Sequence[Any], limit: int = -1) -> list[Waiting]:
    """Return the deliveries of an endpoint, the first of the values, for which a condition holds; first due first."""
    query = f"SELECT number, due_at FROM delivery WHERE endpoint = ? AND {where} ORDER BY due_at LIMIT ?"  # noqa: S608
    return sql.execute(query, (*values, limit)).fetchall()


def _make_due(sql: sqlite3.Connection, chunk: Sequence[Waiting], now: float) -> int:
    return sql.executemany(
        "UPDATE delivery SET due_at = ? WHERE number = ? AND due_at = ? AND state = 'waiting'",
        [(now, number, due_at) for number, due_at in chunk],
    ).rowcount


def _shift(sql: sqlite3.Connection, chunk: Sequence[Waiting], seconds: float) -> int:
    return sql.executemany(
        "UPDATE delivery SET due_at = due_at + ?1 WHERE number = ?2 AND due_at = ?3 AND state = 'waiting'",
        [(seconds, number, due_at) for number, due_at in chunk],
    ).rowcount
