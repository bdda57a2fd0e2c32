"""The host's database as a file, read-only: statements come in, rows go out, sqlite3's errors as HostDatabaseError."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sfwebhooks.errors import HostBusyError, HostDatabaseError, SlowReadError
from sfwebhooks.files import demand_database
from sfwebhooks.scan.findings import ROOT
from sfwebhooks.scan.host_sql import SQLITE, Read

#: seconds that a read without a limit waits for a lock
LOCK_SECONDS = 5.0
#: SQLite steps between two checks of the clock
STEPS = 10_000
#: rows of scans' settings that are read at once
CONFIG_ROWS = 20_000


class HostFile:
    """A database file.

    Args:
        limit: seconds that a read may take; None: no limit, once it has the lock.
    """

    sql = SQLITE

    def __init__(self, path: Path, limit: float | None) -> None:
        self._path = path.absolute()
        self._limit = limit

    @contextmanager
    def session(self) -> Iterator[Read]:
        """Lend a function that reads rows.

        Raises:
            HostDatabaseError: within the block too.
        """
        try:
            with closing(self._open()) as connection:

                def read(query: str, *values: Any) -> Iterator[tuple[Any, ...]]:
                    try:
                        yield from connection.execute(query, values)
                    except sqlite3.Error as error:
                        raise _translated(error) from error

                yield read
        except sqlite3.Error as error:
            raise _translated(error) from error

    def module_lists(self, scan_ids: Collection[str], until: float) -> Iterator[tuple[str, str]]:
        """Yield scan id and list of modules of scans, among them all of these, until the deadline (monotonic seconds).

        The host has no index for them, so the table is read from its end, where those of the last scans are, in short
        parts between which a scan can write.
        """
        query = "SELECT scan_instance_id, val FROM tbl_scan_config WHERE rowid BETWEEN ? AND ?"
        left = set(scan_ids)
        end = max((row[0] for row in self._rows("SELECT coalesce(max(rowid), 0) FROM tbl_scan_config")), default=0)
        while left and end > 0 and time.monotonic() < until:
            for scan_id, names in self._rows(f"{query} AND opt = '_modulesenabled'", end - CONFIG_ROWS + 1, end):
                left.discard(scan_id)
                yield scan_id, names
            end -= CONFIG_ROWS

    def results(self, columns: str, scan_id: str, part: int) -> Iterator[tuple[Any, ...]]:
        """Yield these columns of a scan's findings, in order of creation, read in parts of this size."""
        query = (
            f"SELECT rowid, {columns} FROM tbl_scan_results WHERE scan_instance_id = ? AND type <> ?"  # noqa: S608
            f" AND rowid > ? ORDER BY rowid LIMIT {part}"
        )
        last, size = 0, part
        with self.session() as read:
            while size == part:
                rows = list(read(query, scan_id, ROOT, last))
                size, last = len(rows), rows[-1][0] if rows else last
                yield from (row[1:] for row in rows)

    def _rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with self.session() as read:
            return list(read(query, *values))

    def _open(self) -> sqlite3.Connection:
        try:
            demand_database(self._path)  # SQLite would wait for a writer if this were a pipe
        except OSError as error:
            raise HostDatabaseError(f"{error.filename}: {error.strerror}") from error
        connection = sqlite3.connect(f"{self._path.as_uri()}?mode=ro", uri=True, timeout=self._limit or LOCK_SECONDS)
        connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
        if self._limit:
            deadline = time.monotonic() + self._limit
            connection.set_progress_handler(lambda: time.monotonic() > deadline, STEPS)
        return connection


class DeletedFile:
    """Stands for a database whose file was deleted: it has no rows."""

    sql = SQLITE

    @contextmanager
    def session(self) -> Iterator[Read]:
        """Lend a function that reads nothing."""
        yield lambda query, *values: iter(())

    def module_lists(self, scan_ids: Collection[str], until: float) -> Iterator[tuple[str, str]]:
        """Yield nothing."""
        return iter(())

    def results(self, columns: str, scan_id: str, part: int) -> Iterator[tuple[Any, ...]]:
        """Yield nothing."""
        return iter(())


def _translated(error: sqlite3.Error) -> HostDatabaseError:
    text = str(error)
    if isinstance(error, sqlite3.OperationalError) and "locked" in text:
        return HostBusyError(text)
    return SlowReadError(text) if text == "interrupted" else HostDatabaseError(text)
