"""Totals since an outbox was created: rows of `tally`, and attempts that are not in it yet, go out as Tallies.

A process that reads often has the attempts added to `tally`, so that they are read only once (`count`).
"""

from __future__ import annotations

import itertools
import time
from typing import NamedTuple

from sfwebhooks.outbox.bulk import HOLD_SECONDS
from sfwebhooks.outbox.counting import ADD, counted_as
from sfwebhooks.outbox.database import Database
from sfwebhooks.outbox.rows import FRESH, LATE, as_text

#: attempts that are added to `tally` in one transaction, in which other processes wait a few milliseconds, and at once
CHUNK_ATTEMPTS = 2_000
COUNT_MAX = 100_000
#: fewer are read each time rather than added: a transaction costs as much
COUNT_LEAST = 500
#: what the attempts after the ?1 th up to the ?2 th are counted as
COUNTED = f"""
    SELECT d.endpoint, {counted_as("a")}, count(*), sum(a.seconds), coalesce(sum(a.waited), 0.0), max(a.at + a.seconds)
    FROM delivery_attempt a CROSS JOIN delivery d ON d.number = a.number WHERE a.id > {{0}} AND a.id <= {{1}}
    GROUP BY 1, 2, 3, 4, 5
"""
#: the last attempt that is in `tally`, and the last one
PLACES = "SELECT counted, (SELECT coalesce(max(id), 0) FROM delivery_attempt) FROM file"
#: one statement, since attempts may be added between two; a damaged row has no other types, but perhaps other values
ALL = f"""
    SELECT endpoint, what, CAST(reason AS TEXT), seconds_to + 0.0, waited_to + 0.0, number + 0, seconds + 0.0,
           waited + 0.0, last_at + 0.0
    FROM (SELECT * FROM tally UNION ALL {COUNTED.format("(SELECT counted FROM file)", "9e999")}) its
"""
QUEUES = f"""
    SELECT {as_text("endpoint")}, sum(number) FROM (
        SELECT endpoint, count(*) AS number FROM delivery WHERE {FRESH} GROUP BY number >> 8, 1
        UNION ALL SELECT endpoint, count(*) FROM delivery WHERE {LATE} GROUP BY 1
    ) its GROUP BY 1
"""


class Tally(NamedTuple):
    """A number of attempts, deaths, withheld events or ends of scans that are counted together."""

    #: empty: of none
    endpoint: str
    #: outcome of an attempt (`retry.State` or pending); or death, withheld, end
    what: str
    #: why it failed, died or was withheld; the event that reported a scan's end
    reason: str
    #: upper bounds in seconds of an attempt's duration, and of the time from acceptance to delivery; 0: it has none
    seconds_to: float
    waited_to: float
    number: int
    #: sums of these
    seconds: float
    waited: float
    #: epoch seconds of the last one
    last_at: float


class Totals:
    """The totals. All methods raise OutboxError, as those of `Outbox` do."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def tallies(self) -> list[Tally]:
        """Return all tallies; several may be about the same."""
        with self._database.sparing(), self._database.reading() as sql:
            return [Tally(*row) for row in sql.execute(ALL)]

    def queues(self) -> dict[str, int]:
        """Return endpoint -> number of waiting deliveries. Counts an index: not for a hot path."""
        with self._database.reading() as sql:
            return dict(sql.execute(QUEUES).fetchall())

    def count(self, until: int | None = None) -> None:
        """Add attempts to `tally` in short transactions with pauses; the rest of them waits for the next call.

        Args:
            until: id of the last one to be added, however many these are.
        """
        for _ in range(0, COUNT_MAX, CHUNK_ATTEMPTS) if until is None else itertools.count():
            with self._database.reading() as sql:
                counted, last = sql.execute(PLACES).fetchone()
            if last - counted < COUNT_LEAST if until is None else counted >= until:
                return
            begin = time.monotonic()
            with self._database.sparing(), self._database.writing() as sql:
                counted, last = sql.execute(PLACES).fetchone()  # another process may do the same
                end = min(last, counted + CHUNK_ATTEMPTS)
                sql.execute(f"INSERT INTO tally {COUNTED.format('?1', '?2')} {ADD}", (counted, end))
                sql.execute("UPDATE file SET counted = ?", (end,))
            time.sleep(min(time.monotonic() - begin, HOLD_SECONDS))
