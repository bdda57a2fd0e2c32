"""Statistics for `sfwebhooks stats`: a time comes in, the Figures of each endpoint since then go out.

A million attempts are not kept in memory: SQLite rounds their durations to two digits, and equal rows are counted.
"""

from __future__ import annotations

import math
import sqlite3
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from sfwebhooks.outbox.file import File
from sfwebhooks.outbox.listing import Cursor
from sfwebhooks.outbox.views import DELIVERED_IT, SUCCEEDED

#: seconds by which an attempt can be logged after others that began later
DISORDER_SECONDS = 3600.0
#: fractions of the deliveries that took no longer
MEDIAN, MOST = 0.5, 0.95
#: upper limit in seconds -> milliseconds to which a duration below it is rounded down: two digits
STEPS = {0.1: 1, 1: 10, 10: 100, 100: 1000, 1000: 10_000, 10_000: 100_000, 100_000: 1_000_000}
LONGEST_STEP = 10_000_000


def _rounded(seconds: str) -> str:
    """Return SQL for the two first digits of a duration, in milliseconds."""
    cases = " ".join(f"WHEN {seconds} < {below} THEN CAST({seconds} * {1000 / step!r} AS INTEGER) * {step}"
                     for below, step in STEPS.items())  # fmt: skip
    return f"CASE {cases} ELSE CAST({seconds} * {1000 / LONGEST_STEP!r} AS INTEGER) * {LONGEST_STEP} END"


#: of each attempt: its endpoint, duration, time from acceptance to its end if it delivered, and its success
ATTEMPTS = f"""
    SELECT d.endpoint, {_rounded("a.seconds")},
           CASE WHEN a.at >= d.accepted_at AND {DELIVERED_IT} THEN {_rounded("(a.at + a.seconds - d.accepted_at)")} END,
           CASE WHEN {DELIVERED_IT} THEN 2 ELSE {SUCCEEDED} END
    FROM delivery_attempt a CROSS JOIN delivery d ON d.number = a.number WHERE a.rowid >= ?1 AND a.at >= ?2
"""
#: the place of the first attempt from a place on, and its time
ATTEMPT_FROM = "SELECT rowid, at FROM delivery_attempt WHERE rowid >= ? ORDER BY rowid LIMIT 1"
DIED = "SELECT endpoint FROM delivery WHERE state <> 'waiting' AND state = 'dead' AND settled_at >= ?"
#: of scans that began since a time, or are not over, and of events that are not of a scan
WITHHELD = """
    SELECT w.endpoint, w.reason, sum(w.number) FROM withheld w LEFT JOIN scan s ON s.id = w.scan_id
    WHERE s.id IS NULL OR s.ended IS NULL OR s.begun_at >= ? GROUP BY 1, 2 ORDER BY 2
"""


@dataclass(frozen=True)
class Quantiles:
    """Durations in seconds, rounded down to two digits; None: there were none."""

    p50: float | None = None
    p95: float | None = None


@dataclass(frozen=True)
class Figures:
    """What became of an endpoint's deliveries since a time."""

    #: successful deliveries
    delivered: int = 0
    #: attempts that failed, of whatever delivery
    failed: int = 0
    #: deliveries that became dead letters, and are still there
    dead: int = 0
    #: from acceptance, or from the replay, to the end of the attempt that delivered
    latency: Quantiles = Quantiles()
    #: of each attempt
    attempt: Quantiles = Quantiles()
    #: reason -> number of events that it was not sent, of scans that began since then or are running
    withheld: Mapping[str, int] = field(default_factory=dict)


class Statistics:
    """The outbox's statistics. All methods raise OutboxError, as those of `Outbox` do."""

    def __init__(self, file: File) -> None:
        self._file = file

    def figures(self, since: float) -> dict[str, Figures]:
        """Return endpoint -> its figures since a time in epoch seconds. Reads all attempts since then."""
        with self._file.reading() as sql:
            attempts = Counter(sql.execute(ATTEMPTS, (_first_since(sql, since - DISORDER_SECONDS), since)))
            dead = Counter(endpoint for (endpoint,) in sql.execute(DIED, (since,)))
            withheld: dict[str, dict[str, int]] = {}
            for endpoint, reason, number in sql.execute(WITHHELD, (since,)):
                withheld.setdefault(endpoint, {})[reason] = number
        durations: dict[str, Counter[int]] = {}
        latencies: dict[str, Counter[int]] = {}
        results: dict[str, Counter[int]] = {}
        for (endpoint, duration, latency, result), number in attempts.items():
            durations.setdefault(endpoint, Counter())[duration] += number
            results.setdefault(endpoint, Counter())[result] += number
            if latency is not None:
                latencies.setdefault(endpoint, Counter())[latency] += number
        return {
            name: Figures(
                results[name][2] if name in results else 0,
                results[name][0] if name in results else 0,
                dead[name],
                _quantiles(latencies.get(name, Counter())),
                _quantiles(durations.get(name, Counter())),
                withheld.get(name, {}),
            )
            for name in {*results, *dead, *withheld}
        }

    def delivered_after(self, place: Cursor) -> tuple[dict[str, int], Cursor]:
        """Return endpoint -> number of successful deliveries after a place in the delivery log, and its present end."""
        query = (
            "SELECT d.endpoint, count(*) FROM delivery_attempt a CROSS JOIN delivery d ON d.number = a.number"
            f" WHERE a.rowid > ? AND {DELIVERED_IT} GROUP BY 1"
        )
        with self._file.reading() as sql:
            (end,) = sql.execute("SELECT coalesce(max(rowid), 0) FROM delivery_attempt").fetchone()
            return dict(sql.execute(query, (place,))), Cursor(end)


def _first_since(sql: sqlite3.Connection, at: float) -> int:
    """Return the place in the delivery log of the first attempt at a time or later: they are nearly in order."""
    low, high = sql.execute(
        "SELECT (SELECT min(rowid) FROM delivery_attempt), (SELECT max(rowid) FROM delivery_attempt)"
    ).fetchone()
    if low is None:
        return 0
    high += 1
    while low < high:
        middle = (low + high) // 2
        row = sql.execute(ATTEMPT_FROM, (middle,)).fetchone()
        if row is None or row[1] >= at:
            high = middle
        else:
            low = row[0] + 1
    return int(low)


def _quantiles(counts: Mapping[int, int]) -> Quantiles:
    """Return the quantiles of durations in milliseconds with their numbers."""
    return Quantiles(_quantile(counts, MEDIAN), _quantile(counts, MOST)) if counts else Quantiles()


def _quantile(counts: Mapping[int, int], part: float) -> float:
    """Return the shortest duration in seconds that so large a part of all does not exceed."""
    left = math.ceil(part * sum(counts.values()))
    for milliseconds in sorted(counts):
        left -= counts[milliseconds]
        if left <= 0:
            return milliseconds / 1000
    raise AssertionError("the numbers reach their sum")
