"""Retiring: an outbox file comes in, and is out of use, with a mark that says where its rows are (`moved`); reinstating
takes it back into use.

All tables get other names in one transaction. So no process can use the file by mistake, however long it has had it
open, and those that use it as usual need not ask.
"""

from __future__ import annotations

import re
import sqlite3
import time
from pathlib import Path

from sfwebhooks.errors import OutboxBusyError
from sfwebhooks.outbox.database import Database, LocksPart, Sql
from sfwebhooks.outbox.moved import MOVED, Mark
from sfwebhooks.outbox.schema import TABLES, VERSION
from sfwebhooks.outbox.sequence_numbers import HighWaterMark, position, renew_series

#: names of all tables, and their prefix in a retired file
NAMES = tuple(re.findall(r"CREATE TABLE (\w+)", TABLES))
PREFIX = "moved_"
MARK = """
    CREATE TABLE moved (                    -- one row, about the rows of the others
        id        TEXT NOT NULL,
        reference TEXT NOT NULL,
        target    TEXT NOT NULL,
        begun_at  REAL NOT NULL,
        done_at   REAL
    )
"""
RUNNING = "SELECT id FROM scan WHERE ended IS NULL"


class ScansRunningError(OutboxBusyError):
    """Scans are running."""

    cure = "wait for their end"


def retire(file: Database, mark: Mark) -> None:
    """Take a file out of use, unless a scan is running.

    Raises:
        ScansRunningError: one is; its text names it.
    """
    with file.writing() as sql:
        _demand_no_scans(sql, file.locks)
        for name in NAMES:
            sql.execute(f"ALTER TABLE {name} RENAME TO {PREFIX}{name}")
        sql.execute(MARK)
        sql.execute("INSERT INTO moved VALUES (?, ?, ?, ?, NULL)", (*mark[:3], time.time()))
        sql.execute(f"PRAGMA user_version = {MOVED}")


def demand_no_scans(file: Database) -> None:
    """Check that no scan is running, whose events are stored in the file.

    Raises:
        ScansRunningError: one is; its text names it.
    """
    with file.reading() as sql:
        _demand_no_scans(sql, file.locks)


def _demand_no_scans(sql: Sql, locks: LocksPart) -> None:
    alive = [id for (id,) in sql.execute(RUNNING).fetchall() if isinstance(id, str) and not locks.scan(id).is_free]
    if alive:
        which = f"scan {alive[0]} is" if len(alive) == 1 else f"scans {', '.join(alive)} are"
        raise ScansRunningError(f"{which} running, and would lose events")


def finish_mark(connection: sqlite3.Connection) -> None:
    """Note in a retired file that all of its rows are on the server."""
    connection.execute("UPDATE moved SET done_at = ? WHERE done_at IS NULL", (time.time(),))


def reinstate(connection: sqlite3.Connection, path: Path) -> None:
    """Take a retired file back into use, with a new series of numbers: the server goes on with the present one."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        for name in NAMES:
            connection.execute(f"ALTER TABLE {PREFIX}{name} RENAME TO {name}")
        connection.execute("DROP TABLE moved")
        renew_series(connection)
        here = position(connection)
        if here:
            HighWaterMark(path).replace(here)
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
