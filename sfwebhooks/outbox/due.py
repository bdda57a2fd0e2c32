"""Due times: an endpoint comes in, the due times of its waiting deliveries are changed.

The changes run in chunks (`bulk`). Deliveries that have another due time by then, or no longer wait, are skipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from sfwebhooks.health import SET_SECONDS
from sfwebhooks.outbox.bulk import change_in_chunks
from sfwebhooks.outbox.database import Database, Sql
from sfwebhooks.outbox.rows import EVERY, LATE

#: replays that keep their pauses; after its first attempt a replay waits like any other delivery
PACED = "replays > 0 AND attempts = 0"
#: a waiting delivery: its row number and due time
Waiting = tuple[int, float]


class DueTimes:
    """Changes of due times."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def make_due(self, endpoint: str, now: float) -> None:
        """Make all waiting deliveries of an endpoint due now; replays keep the pauses between them, and those about a
        ticket their times: the one that may have been created is not found at once."""
        self.pull(endpoint, now, 0.0, "AND (subject IS NULL OR substr(subject, 1, 7) <> 'ticket/')")

    def pull(self, endpoint: str, now: float, longest: float, which: str = "") -> None:
        """Make deliveries due whose due time no wait can explain: it comes from a clock that was set back.

        Untried replays move forward together, unless the pauses between them explain their due times.

        Args:
            longest: the longest possible wait, in seconds.
            which: SQL of another condition.
        """
        far = f"{LATE} AND NOT ({PACED}) AND due_at > ? {which}"
        change_in_chunks(
            self._database, lambda sql: _waiting(sql, far, (endpoint, now + longest)), partial(_make_due, now=now)
        )
        replays = self._replays_after(endpoint, now + longest)
        if replays:
            ahead = replays[0][1] - now
            pause = replays[1][1] - replays[0][1] if len(replays) > 1 else 0.0
            if ahead > max(pause, SET_SECONDS):
                change_in_chunks(self._database, lambda _: replays, partial(_shift, seconds=-ahead))

    def _replays_after(self, endpoint: str, at: float) -> list[Waiting]:
        """Return the replays of an endpoint that keep their pauses if all of them are due after `at`, else none."""
        paced = f"{LATE} AND {PACED} AND due_at"
        with self._database.reading() as sql:
            is_running = _waiting(sql, f"{paced} <= ?", (endpoint, at), limit=1)
            return [] if is_running else _waiting(sql, f"{paced} > ?", (endpoint, at))


def _waiting(sql: Sql, where: str, values: Sequence[Any], limit: int = EVERY) -> list[Waiting]:
    """Return an endpoint's deliveries that meet a condition, by due time; the endpoint is the first of `values`."""
    query = f"SELECT number, due_at FROM delivery WHERE endpoint = ? AND {where} ORDER BY due_at LIMIT ?"  # noqa: S608
    return sql.execute(query, (*values, limit)).fetchall()


def _make_due(sql: Sql, chunk: Sequence[Waiting], now: float) -> int:
    return sql.executemany(
        "UPDATE delivery SET due_at = ? WHERE number = ? AND due_at = ? AND state = 'waiting'",
        [(now, number, due_at) for number, due_at in chunk],
    ).rowcount


def _shift(sql: Sql, chunk: Sequence[Waiting], seconds: float) -> int:
    return sql.executemany(
        "UPDATE delivery SET due_at = due_at + ? WHERE number = ? AND due_at = ? AND state = 'waiting'",
        [(seconds, number, due_at) for number, due_at in chunk],
    ).rowcount
