"""The outbox's file as a database: opened, mended; what sqlite3 raises becomes an OutboxError. sqlite3
touches our file here only; `outbox` and `records` say what stands in it.

A file that is corrupt is set aside under another name, and a new one is begun. Any process may do that, or an
operator may take the file away; so a file that is no longer the one that was opened is opened anew.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sfwebhooks.errors import DiskFullError, OutboxBusyError, OutboxError
from sfwebhooks.locks import Lock
from sfwebhooks.schema import make_tables

log = logging.getLogger("spiderfoot.webhooks")
FILE = "webhooks.db"
#: seconds that a statement waits for another process's write
BUSY_SECONDS = 1.0
#: the same call may succeed later: locked by another process, no room on the disk
PASSING = ("locked", "busy", "full", "disk i/o error")
DISK = ("full", "disk i/o error")
#: SQLITE_NOTADB and SQLITE_CORRUPT in words; Python before 3.11 gives no code
CORRUPT = ("file is not a database", "malformed", "file is encrypted")
#: seconds; so long something may be read from a file that was taken away
LOOK_SECONDS = 0.2
SUFFIXES = ("", "-wal", "-shm")


@dataclass(frozen=True)
class Storage:
    """How the file is kept; from [webhooks]."""

    #: bytes that it may grow to before events are refused
    max_bytes: int = 512_000_000
    #: whether what was accepted outlives a power failure too (a commit then waits for the disk)
    power_safe: bool = False


class Database:
    """One connection to the file, for use by any thread, one at a time.

    Args:
        path: the file; it is made, mode 0600, when first needed.
        accepting: for the scan's side: never spends time on a checkpoint (the sending side does that).
    """

    def __init__(self, path: Path, accepting: bool = False, storage: Storage | None = None) -> None:
        self.path = path
        self._storage = storage or Storage()
        self._accepting = accepting
        self._connection: sqlite3.Connection | None = None
        #: which file it is, by device and inode
        self._identity: tuple[int, int] | None = None
        #: whether the next one that is opened is another one, and how many there were
        self._is_lost = True
        self._generation = 0
        self._page_size = 0
        #: when it was last looked whether the file is still the same, in monotonic seconds
        self._looked_at = 0.0
        self._guard = threading.RLock()

    def generation(self) -> int:
        """Return how many files there have been: after the first one was set aside or taken away it is 2."""
        self.look()  # what was begun in a file that was taken away is not begun in the next one
        with self._reading():
            return self._generation

    def look(self) -> None:
        """Let the next call see whether the file is still the same, however short ago that was looked at."""
        self._looked_at = 0.0

    def checkpoint(self) -> None:
        """Write the log back into the file, without waiting for anybody."""
        with self._reading() as sql:
            sql.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def fullness(self) -> float:
        """Return how full the file is, as a part of what it may grow to."""
        with self._reading() as sql:
            return self._fullness(sql)

    def close(self) -> None:
        """Close the connection; the next call opens it again."""
        with self._guard:
            if self._connection:
                self._connection.close()
                self._connection = None

    def _fullness(self, sql: sqlite3.Connection) -> float:
        if not self._page_size:
            self._page_size = int(sql.execute("PRAGMA page_size").fetchone()[0])
        part = self._page_size / self._storage.max_bytes
        pages = int(sql.execute("PRAGMA page_count").fetchone()[0])
        if pages * part < 0.5:  # pages that became free make no difference
            return pages * part
        return (pages - int(sql.execute("PRAGMA freelist_count").fetchone()[0])) * part

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Open a write transaction, commit it at the end; nothing of it stays if anything raises."""
        self.look()  # what is written must not go into a file that was taken away
        with self._reading() as sql:
            sql.execute("BEGIN IMMEDIATE")
            try:
                yield sql
                sql.execute("COMMIT")
            finally:
                if sql.in_transaction:
                    sql.execute("ROLLBACK")

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """Lend the connection, and translate what sqlite3 raises."""
        with self._guard:
            try:
                yield self._connect()
            except sqlite3.DatabaseError as error:
                raise self._translated(error) from error
            except OSError as error:
                raise OutboxError(f"outbox {self.path} cannot be used: {error.strerror}") from error

    def _translated(self, error: sqlite3.DatabaseError) -> OutboxError:
        """Return the error in our words; a corrupt file is set aside, so that the same call finds a new one."""
        text = str(error)
        if isinstance(error, sqlite3.OperationalError) and any(word in text.lower() for word in PASSING):
            kind = DiskFullError if any(word in text.lower() for word in DISK) else OutboxBusyError
            return kind(f"outbox {self.path}: {text}")
        if not any(word in text.lower() for word in CORRUPT):
            return OutboxError(f"outbox {self.path} cannot be used: {text}")
        self.close()
        aside, self._is_lost = _set_aside(self.path, self._identity), True
        where = f"it was set aside as {aside}" if aside else "another process has set it aside"
        log.error("webhooks: outbox %s is corrupt (%s); %s, and a new one is begun", self.path, text, where)
        return OutboxBusyError(f"outbox {self.path} was corrupt: {text}; {where}")

    def _connect(self) -> sqlite3.Connection:
        """Return the connection to the file that is there now."""
        now = time.monotonic()
        if self._connection and now - self._looked_at > LOOK_SECONDS:
            self._looked_at = now
            if _identity(self.path) != self._identity:
                self.close()
                self._is_lost = True
        if self._connection is None:
            self._connection = self._open()
            self._generation += self._is_lost
            self._is_lost = False
        return self._connection

    def _open(self) -> sqlite3.Connection:
        # only a new file: to close a descriptor of a file that SQLite has open drops all of our locks on it, and the
        # next process to close it would delete the log that we write to (sqlite.org/howtocorrupt.html, 2.2)
        with suppress(FileExistsError):
            os.close(os.open(os.path.realpath(self.path), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        self._identity = _identity(self.path)
        connection = sqlite3.connect(
            str(self.path), timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            _use_log(connection)
            connection.execute(f"PRAGMA synchronous = {'FULL' if self._storage.power_safe else 'NORMAL'}")
            if self._accepting:
                connection.execute("PRAGMA wal_autocheckpoint = 0")
            make_tables(connection)
        except OutboxError as error:
            connection.close()
            raise OutboxError(f"outbox {self.path} {error}") from error
        except BaseException:
            connection.close()
            raise
        return connection


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116  # twice as fast, before each statement
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _use_log(connection: sqlite3.Connection) -> None:
    """Set WAL, for which SQLite does not wait as elsewhere. A file system that cannot have it goes on without."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _set_aside(path: Path, identity: tuple[int, int] | None) -> Path | None:
    """Rename a corrupt file and its log; return its new name, or None if it is no longer there."""
    lock = Lock(path, "outbox")
    deadline = time.monotonic() + BUSY_SECONDS
    while not lock.take() and time.monotonic() < deadline:
        time.sleep(0.01)
    try:
        if not lock.held or _identity(path) != identity:
            return None
        aside = path.with_name(f"{path.name}.corrupt-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}")
        for suffix in SUFFIXES[::-1]:  # the log first: it must not be taken for that of the new file
            with suppress(FileNotFoundError):
                path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
        return aside
    except OSError as error:
        raise OutboxError(f"outbox {path} is corrupt, and cannot be set aside: {error.strerror}") from error
    finally:
        lock.release()
