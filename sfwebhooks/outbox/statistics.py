"""Statistics for `sfwebhooks stats`: a time comes in, the Figures of each endpoint since then go out.

Of a million attempts none becomes a row in Python: SQLite codes what counts of each in one number, with durations
rounded to two digits, and equal numbers are counted.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sfwebhooks.outbox.database import Database, Sql
from sfwebhooks.outbox.listing import Cursor
from sfwebhooks.outbox.rows import ENDPOINTS, as_text
from sfwebhooks.outbox.views import DELIVERED_IT, SUCCEEDED

#: seconds by which an attempt can be logged after others that began later
DISORDER_SECONDS = 3600.0
#: fractions of the deliveries that took no longer
MEDIAN, MOST = 0.5, 0.95
#: seconds below which a duration is rounded down to a hundredth of them: to two digits
LIMITS = (0.1, 1, 10, 100, 1000, 10_000, 100_000, 1_000_000)
#: numbers for a duration; the last one is that of all longer ones
CODES = 100 * len(LIMITS)
#: results of an attempt; the third one was followed by a replay, so that its delivery's acceptance is no longer known
FAILED, PENDED, DELIVERED_BEFORE, DELIVERED = range(4)


def _code(seconds: str) -> str:
    """Return SQL for the number of a duration."""
    cases = (f"WHEN {seconds} < {below} THEN {100 * at} + max(CAST({seconds} * {100 / below!r} AS INTEGER), 0)"
             for at, below in enumerate(LIMITS))  # fmt: skip
    return f"CASE {' '.join(cases)} ELSE {CODES - 1} END"


#: of each attempt in one number: place of its endpoint (to be filled in), duration, time from acceptance to its end,
#: result
ATTEMPTS = f"""
    SELECT (%s * {CODES} + {_code("a.seconds")}) * {4 * CODES} + CASE
        WHEN NOT {DELIVERED_IT} THEN CASE WHEN {SUCCEEDED} THEN {PENDED} ELSE {FAILED} END
        WHEN a.at < d.accepted_at THEN {DELIVERED_BEFORE}
        ELSE 4 * {_code("(a.at + a.seconds - d.accepted_at)")} + {DELIVERED} END
    FROM delivery_attempt a CROSS JOIN delivery d ON d.number = a.number WHERE a.id >= ? AND a.at >= ?
"""
#: the place of the first attempt from a place on, and its time
ATTEMPT_FROM = "SELECT id, at + 0.0 FROM delivery_attempt WHERE id >= ? ORDER BY id LIMIT 1"
DIED = f"SELECT {as_text('endpoint')} FROM delivery WHERE state <> 'waiting' AND state = 'dead' AND settled_at >= ?"
#: of scans that began since a time, or are not over, and of events that are not of a scan
WITHHELD = f"""
    SELECT {as_text("w.endpoint")}, {as_text("w.reason")}, sum(w.number)
    FROM withheld w LEFT JOIN scan s ON s.id = w.scan_id
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


@dataclass(frozen=True)
class _Counts:
    """An endpoint's attempts: how many have the same result, duration, and time from acceptance to delivery."""

    results: Counter[int] = field(default_factory=Counter)
    #: codes, as are the next ones
    durations: Counter[int] = field(default_factory=Counter)
    latencies: Counter[int] = field(default_factory=Counter)


class Statistics:
    """The outbox's statistics. All methods raise OutboxError, as those of `Outbox` do."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def figures(self, since: float) -> dict[str, Figures]:
        """Return endpoint -> its figures since a time in epoch seconds. Reads all attempts since then."""
        withheld: dict[str, dict[str, int]] = {}
        with self._database.reading() as sql:
            names = [name for (name,) in sql.execute(ENDPOINTS) if isinstance(name, str)]
            attempts = _attempts(sql, names, since) if names else {}
            dead = Counter(endpoint for (endpoint,) in sql.execute(DIED, (since,)))
            for endpoint, reason, number in sql.execute(WITHHELD, (since,)):
                withheld.setdefault(endpoint, {})[reason] = number
        found = {name: attempts.get(name, _Counts()) for name in {*attempts, *dead, *withheld}}
        return {
            name: Figures(
                counts.results[DELIVERED] + counts.results[DELIVERED_BEFORE],
                counts.results[FAILED],
                dead[name],
                _quantiles(counts.latencies),
                _quantiles(counts.durations),
                withheld.get(name, {}),
            )
            for name, counts in found.items()
        }

    def delivered_after(self, place: Cursor) -> tuple[dict[str, int], Cursor]:
        """Return endpoint -> number of successful deliveries after a place in the delivery log, and its present end."""
        query = (
            f"SELECT {as_text('d.endpoint')}, count(*)"
            " FROM delivery_attempt a CROSS JOIN delivery d ON d.number = a.number"
            f" WHERE a.id > ? AND {DELIVERED_IT} GROUP BY 1"
        )
        with self._database.reading() as sql:
            (end,) = sql.execute("SELECT coalesce(max(id), 0) FROM delivery_attempt").fetchone()
            return dict(sql.execute(query, (place,))), Cursor(end)


def _attempts(sql: Sql, names: Sequence[str], since: float) -> dict[str, _Counts]:
    """Return endpoint -> its attempts since a time."""
    place = f"CASE d.endpoint {' '.join(f'WHEN ? THEN {at}' for at in range(len(names)))} ELSE {len(names)} END"
    values = (*names, _first_since(sql, since - DISORDER_SECONDS), since)
    counts = [_Counts() for _ in (*names, "damaged")]
    for (code,), number in Counter(sql.execute(ATTEMPTS % place, values)).items():
        rest, end = divmod(code, 4 * CODES)
        at, duration = divmod(rest, CODES)
        latency, result = divmod(end, 4)
        counts[at].results[result] += number
        counts[at].durations[duration] += number
        if result == DELIVERED:
            counts[at].latencies[latency] += number
    return {name: one for name, one in zip(names, counts) if one.results}


def _first_since(sql: Sql, at: float) -> int:
    """Return the place in the delivery log of the first attempt at a time or later: they are nearly in order."""
    low, high, unordered_until = sql.execute(
        "SELECT (SELECT min(id) FROM delivery_attempt), (SELECT max(id) FROM delivery_attempt),"
        " (SELECT unordered_until FROM file)"
    ).fetchone()
    if low is None or at < (unordered_until or 0.0):
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
    return Quantiles(_quantile(counts, MEDIAN), _quantile(counts, MOST)) if counts else Quantiles()


def _quantile(counts: Mapping[int, int], part: float) -> float:
    """Return the shortest duration in seconds that this part of all does not exceed."""
    left = math.ceil(part * sum(counts.values()))
    for code in sorted(counts):
        left -= counts[code]
        if left <= 0:
            limit, hundredths = divmod(code, 100)
            return round(LIMITS[limit] * hundredths / 100, 3)
    raise AssertionError("the numbers reach their sum")
