"""Erasure: after a deletion, the file is rewritten and its log emptied, so that no byte of what was deleted is left.

`PRAGMA secure_delete` overwrites a row where it is deleted. Two places keep a copy: the log, and gaps in pages from
which SQLite has moved the row to another page before. Nothing but a rewrite of the whole file (VACUUM) removes the
latter, and nothing can be accepted or settled meanwhile. So deletion by age only notes that a rewrite is needed, and
the rewrite waits until no scan is running, but no longer than a day; the deletion by an operator does it at once.
"""

from __future__ import annotations

import logging
import time

from sfwebhooks.errors import DamagedError, DiskFullError, OutboxBusyError
from sfwebhooks.outbox.database import Database, Sql

log = logging.getLogger("spiderfoot.webhooks")

#: seconds from a deletion by age to the rewrite, which serves all deletions until then
COLLECT_SECONDS = 3600.0
#: seconds that a rewrite waits at most for running scans to end
SCANS_SECONDS = 86400.0
#: seconds that an operator's deletion waits for readers and writers, and between two tries
PATIENCE_SECONDS = 5.0
PAUSE_SECONDS = 0.05
#: seconds until a rewrite is tried again that failed, for lack of space or because of another process
RETRY_SECONDS = 3600.0
#: when a rewrite is due, and whether a scan is running
DUE = "SELECT erase_at + 0.0, EXISTS (SELECT 1 FROM scan WHERE ended IS NULL) FROM file"


class Erasure:
    """The removal of deleted content from the file. All methods raise OutboxError, as those of `Outbox` do."""

    def __init__(self, database: Database) -> None:
        self._database = database
        #: time until which no rewrite is tried, in epoch seconds, and when it was set
        self._waits: tuple[float, float] = (0.0, 0.0)
        #: of a rewrite that is done, until the log is empty, what `_finish` needs
        self._order = 0.0

    def maintain(self, now: float) -> None:
        """Rewrite the file if that is due, and empty the log; call from time to time (`now` in epoch seconds).

        While another process is reading the log, emptying it waits for the next call.
        """
        set_at, until = self._waits
        if not self._order and self.is_due(now) and not set_at <= now < until:
            self._waits = (now, now + RETRY_SECONDS)
            try:
                self._order = self._rewrite()
            except DiskFullError as error:
                log.warning("webhooks: deleted content may still be in the outbox, until there is room: %s", error)
        if self._database.empty_log() and self._order:
            self._finish(self._order)
            self._order, self._waits = 0.0, (0.0, 0.0)

    def is_due(self, now: float) -> bool:
        """Return whether the file has to be rewritten now."""
        with self._database.reading() as sql:
            row = sql.execute(DUE).fetchone()
        erase_at, scans = row or (None, False)
        if erase_at is None:
            return False
        is_past = not now < erase_at <= now + COLLECT_SECONDS  # further ahead: the clock was set since
        return is_past and (not scans or now >= erase_at + SCANS_SECONDS)

    def is_needed(self) -> bool:
        """Return whether the file may have deleted content, apart from its log."""
        with self._database.reading() as sql:
            row = sql.execute("SELECT erase_at IS NOT NULL FROM file").fetchone()
        return bool(row and row[0])

    def is_ordered(self) -> bool:
        """Return whether an operator's deletion is not finished, or a rewrite that was begun."""
        with self._database.reading() as sql:
            row = sql.execute("SELECT erase_at <= 0 FROM file").fetchone()
        return bool(row and row[0])

    def run(self) -> str:
        """Rewrite the file and empty the log now; return what prevented it after some seconds, or an empty text."""
        deadline, order = time.monotonic() + PATIENCE_SECONDS, 0.0
        while True:
            try:
                order = order or self._rewrite()
                if self._database.empty_log():
                    self._finish(order)
                    return ""
                trouble = "another process is reading it"
            except (DiskFullError, DamagedError) as error:
                return str(error)
            except OutboxBusyError as error:
                trouble = str(error)
            if time.monotonic() > deadline:
                return trouble
            time.sleep(PAUSE_SECONDS)

    def _rewrite(self) -> float:
        """Rewrite the file; return what `_finish` needs.

        Raises:
            DiskFullError: there is no room for it.
            DamagedError: damage prevents it.
        """
        order = -time.time()
        with self._database.writing() as sql:
            sql.execute("UPDATE file SET erase_at = ?", (order,))  # due at once, should this process be killed
        self._database.rewrite()
        return order

    def _finish(self, order: float) -> None:
        """Note that nothing deleted is left, unless more was deleted since the rewrite began."""
        with self._database.writing() as sql:
            sql.execute("UPDATE file SET erase_at = NULL WHERE erase_at = ?", (order,))


def note_deletion(sql: Sql, now: float) -> None:
    """Note that content was deleted because of its age at `now`, within the transaction that deletes it.

    If a rewrite is due or under way, the next one is due too.
    """
    sql.execute("UPDATE file SET erase_at = coalesce(max(erase_at, 0), ?)", (now + COLLECT_SECONDS,))


def note_order(sql: Sql) -> None:
    """Note that content was deleted by an operator, within the transaction that deletes it: the rewrite is due."""
    sql.execute("UPDATE file SET erase_at = 0")
