"""The periods of an outbox on PostgreSQL, of a day or more each: an age comes in, and the periods of which everything
that was delivered is older are dropped as a whole, so that no dead row is left of it.

Dead letters and waiting deliveries outlive their period, with their events and attempts, which are copied to the rest
if they are few. If they are many, the old rows of the period are deleted one by one.
"""

from __future__ import annotations

import time

from sfwebhooks.errors import OutboxBusyError
from sfwebhooks.outbox.database import Database, Sql, Whole
from sfwebhooks.outbox.postgres.partitions import BITS, KEYS, bounds, creation
from sfwebhooks.outbox.selection import FIRST_OPEN
from sfwebhooks.outbox.totals import Totals

DAY_SECONDS = 86400.0
#: most periods in the time for which deliveries are kept: each is one more partition to look into
PERIODS_MOST = 14
#: most rows of a dropped period that are copied
REST_MOST = 5000
#: milliseconds that a change of partitions waits for statements that read them, while others wait behind it
LOCK_MILLISECONDS = 100
#: seconds until a period with more rows to copy is looked at again
AGAIN_SECONDS = 3600.0
CLOCK = "CAST(extract(epoch FROM clock_timestamp()) AS double precision)"
#: the present period, whether it began before the present ?1 seconds, and whether it has rows: without any it goes on
PRESENT = f"""
    SELECT number, floor(begun_at / ?1) <> floor({CLOCK} / ?1),
        EXISTS (SELECT 1 FROM event WHERE event.number >= period.number << {BITS})
            OR EXISTS (SELECT 1 FROM delivery WHERE delivery.number >= period.number << {BITS})
    FROM period ORDER BY number DESC LIMIT 1
"""  # noqa: S608
#: the periods that ended before a time (?1), by the server's clock
ENDED = """
    SELECT number FROM period WHERE (SELECT min(begun_at) FROM period later WHERE later.number > period.number) < ?1
    ORDER BY number
"""
#: whether all that was delivered of a period (its numbers, from one to before another) is older than a time (?1), none
#: of it is of a running scan, and few of it are later deliveries of earlier events; and the last attempt. Another
#: process may drop it meanwhile
DELIVERED = "FROM delivery WHERE state = 'delivered' AND number >= {0} AND number < {1}"
IS_OLD = f"""
    SELECT coalesce(max(settled_at), 0.0) < ?1 AND coalesce(max(event), 0) < ({FIRST_OPEN})
        AND (SELECT count(*) FROM (
            SELECT 1 {DELIVERED} AND event < {{0}} LIMIT {REST_MOST + 1}) its) <= {REST_MOST},
        (SELECT coalesce(max(id), 0) FROM delivery_attempt WHERE number >= {{0}} AND number < {{1}})
    {DELIVERED}
"""  # noqa: S608
NUMBER = f"SELECT count(*) {DELIVERED}"
IS_THERE = "SELECT count(*) FROM period WHERE number = ?"
#: what receivers called its requests, and events before it of which it had the last delivery
HANDLES = """
    DELETE FROM handle WHERE EXISTS (
        SELECT 1 FROM delivery_delivered_{0} d WHERE d.batch = handle.about AND d.endpoint = handle.endpoint)
    AND NOT EXISTS (SELECT 1 FROM delivery WHERE batch = handle.about AND state = 'waiting')
"""
EARLIER_EVENTS = """
    DELETE FROM event WHERE number IN (SELECT event FROM delivery_delivered_{0} WHERE event < {1})
    AND NOT EXISTS (SELECT 1 FROM delivery WHERE event = event.number)
"""
#: the rows of a detached partition that deliveries still have
REST = f"""
    INSERT INTO {{0}} SELECT * FROM {{0}}_{{1}} WHERE number IN (
        SELECT DISTINCT {{2}} FROM delivery WHERE {{2}} >= {{3}} AND {{2}} < {{4}} LIMIT {REST_MOST + 1})
"""  # noqa: S608


class Periods:
    """The periods of a server's rows."""

    def __init__(self, server: Database) -> None:
        self._server = server
        #: number of a period with much to copy -> monotonic seconds until which it is left alone
        self._left: dict[int, float] = {}

    def drop(self, before: float, keep: float) -> Whole:
        """Begin a period if the present one is over, and drop those with only old deliveries.

        While others read the partitions for long, that is left to the next call.

        Args:
            before: epoch seconds: what was delivered earlier is old.
            keep: seconds for which deliveries are kept.
        """
        seconds, dropped = max(DAY_SECONDS, keep / PERIODS_MOST), 0
        try:
            self._begin(seconds)
            for period in self._ended(before):
                if self._left.get(period, 0.0) <= time.monotonic():
                    dropped += self._drop(period, before)
        except OutboxBusyError:
            pass  # what is due will be so in a minute
        with self._server.reading() as sql:
            present = sql.execute(PRESENT, (seconds,)).fetchone()[0]
        if not present:
            return Whole(dropped, [f"d.settled_at < {before!r}"])
        late = f"d.settled_at < {before - 2 * seconds!r}"  # of a period that should be gone by now
        return Whole(dropped, [late, f"d.settled_at < {before!r} AND d.number >= {bounds(present)[0]}"])

    def _begin(self, seconds: float) -> None:
        with self._server.reading() as sql:
            if not all(sql.execute(PRESENT, (seconds,)).fetchone()[1:]):
                return
        with self._server.writing() as sql:
            number, is_over, has_rows = sql.execute(PRESENT, (seconds,)).fetchone()  # another process may do the same
            if is_over and has_rows:
                _alter(sql, creation(number + 1))

    def _ended(self, before: float) -> list[int]:
        with self._server.reading() as sql:
            return [number for (number,) in sql.execute(ENDED, (before,))]

    def _drop(self, period: int, before: float) -> int:
        """Drop a period if what was delivered of it is old; return the number of its deliveries."""
        its = bounds(period)
        query = IS_OLD.format(*its)
        with self._server.reading() as sql:
            is_old, last = sql.execute(query, (before,)).fetchone()
            if not is_old:
                return 0
            (number,) = sql.execute(NUMBER.format(*its)).fetchone()
        Totals(self._server).count(last)
        try:
            with self._server.writing() as sql:
                is_there = sql.execute(IS_THERE, (period,)).fetchone()[0]
                if not is_there or sql.execute(query, (before,)).fetchone() != (is_old, last):
                    return 0  # another process has dropped it, or something of it was replayed
                _drop_partitions(sql, period)
        except _StillNeededError:
            self._left[period] = time.monotonic() + AGAIN_SECONDS
            return 0
        return int(number)


class _StillNeededError(Exception):
    """Too many rows of a period are."""


def _drop_partitions(sql: Sql, period: int) -> None:
    """Drop the partitions of a period, after copying what is needed of them.

    Raises:
        _StillNeededError: that is too much.
    """
    first, after = bounds(period)
    _alter(sql, f"ALTER TABLE delivery_delivered DETACH PARTITION delivery_delivered_{period}")
    sql.execute(HANDLES.format(period))
    sql.execute(EARLIER_EVENTS.format(period, first))
    for table, column in (("delivery_attempt", "number"), ("event", "event")):
        _alter(sql, f"ALTER TABLE {table} DETACH PARTITION {table}_{period}")
        if sql.execute(REST.format(table, period, column, first, after)).rowcount > REST_MOST:
            raise _StillNeededError
    _alter(sql, f"DROP TABLE {', '.join(f'{name}_{period}' for name in KEYS)}")
    sql.execute("DELETE FROM period WHERE number = ?", (period,))


def _alter(sql: Sql, statements: str) -> None:
    """Change partitions, unless others read them for long."""
    sql.execute(f"SET LOCAL lock_timeout = {LOCK_MILLISECONDS}")
    for statement in statements.split(";"):
        if statement.strip():
            sql.execute(statement)
