"""The identity of a database: a session comes in, and its numbers begin a new series if it may have lost commits.

A PostgreSQL that took over from another one, or was recovered to a moment, is on another timeline; one that was copied
has another identifier or is another database, and a dump is restored into other tables. One whose files were put back,
such as a snapshot of its disk, has none of that, but its log ends before a place that this process has seen in it. In
any of these, numbers may have been given that it does not know (`sequence_numbers`).
"""

from __future__ import annotations

import logging
from typing import NamedTuple

from sfwebhooks.outbox.database import Sql
from sfwebhooks.outbox.postgres.dsn import Dsn
from sfwebhooks.outbox.sequence_numbers import begin_series, end_numbers

log = logging.getLogger("spiderfoot.webhooks")
#: the system's identifier and its present timeline, the numbers of the database and of a table of ours, and how far its
#: log has come
PLACE = """
    SELECT (SELECT system_identifier FROM pg_control_system()) || ':'
        || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8),
        ((SELECT CAST(oid AS bigint) FROM pg_database WHERE datname = current_database()) << 32)
            | CAST(CAST(to_regclass('file') AS oid) AS bigint),
        pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')
"""
#: the same on a standby, which only can be read
READ_ONLY = "SELECT pg_is_in_recovery()"
KNOWN = "SELECT f.boot, f.inode, f.series, s.name FROM file f JOIN series s ON s.number = f.series"
OTHER = "another database than before, like a restored backup"
OLDER = "older than before, like a restored snapshot of its disk"


class DatabaseId(NamedTuple):
    """Which database it is."""

    system: str
    database: int
    #: number of its series
    series: int


class Seen(NamedTuple):
    """What this process has seen of a server."""

    #: how far its log was on its disk
    log_end: int
    #: name of the series at that time
    series: str


_seen: dict[Dsn, Seen] = {}


def note_log_end(dsn: Dsn, log_end: int) -> None:
    """Note how far the log of a server, whose database was checked before, is on its disk now."""
    before = _seen.get(dsn)
    if before and before.log_end < log_end:
        _seen[dsn] = before._replace(log_end=log_end)


def check(sql: Sql, dsn: Dsn, listing: bool) -> DatabaseId:
    """Return which database it is; begin a series if it is another one than the rows were written to."""
    if sql.execute(READ_ONLY).fetchone()[0]:
        return DatabaseId("standby", 0, 0)
    seen = _seen.get(dsn)  # first: another thread may see more of the log meanwhile
    system, database, log_end = sql.execute(PLACE).fetchone()
    here = (system, database)
    why, row = _reason(sql, seen, here, log_end)
    if row and (not why or listing):
        if not listing:
            _seen[dsn] = Seen(log_end, row[3])
        return DatabaseId(*here, row[2])
    sql.execute("BEGIN")
    try:
        sql.execute("LOCK TABLE file IN EXCLUSIVE MODE")
        why, before = _reason(sql, seen, here, log_end)  # again, under the lock
        if before is None or why:
            sql.execute(
                "INSERT INTO file VALUES (1, ?, ?, ?, 0, 0, NULL, 0) ON CONFLICT (id) DO UPDATE"
                " SET series = excluded.series, boot = excluded.boot, inode = excluded.inode",
                (begin_series(sql), *here),
            )
            end_numbers(sql)
        row = sql.execute(KNOWN).fetchone()
        sql.execute("COMMIT")
    finally:
        if sql.in_transaction:
            sql.execute("ROLLBACK")
    _seen[dsn] = Seen(log_end, row[3])
    if before and why:
        log.warning("webhooks: outbox %s is %s; messages are numbered from 1 again in a new series", dsn, why)
    return DatabaseId(*here, row[2])


def _reason(
    sql: Sql, seen: Seen | None, here: tuple[str, int], log_end: int
) -> tuple[str, tuple[str, int, int, str] | None]:
    """Return why a new series is needed, or nothing, and what the database knows of itself."""
    row = sql.execute(KNOWN).fetchone()
    if row and row[:2] != here:
        return OTHER, row
    # a newer series: another process has noticed it already
    is_older = row and seen and log_end < seen.log_end and row[3] <= seen.series
    return OLDER if is_older else "", row
