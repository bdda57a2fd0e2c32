"""The outbox's file as a database: statements come in, sqlite3's errors go out as OutboxError. sqlite3 touches our file
here only; `outbox` and `listing` define its content.

A corrupt file is set aside under another name (`set_aside`), and a new one is created. Any process may do that, and an
operator may remove the file; so if the file is no longer the opened one, it is opened again. If a log was deleted while
in use, the open connection still has its content and writes it back (`deleted_log`).
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sfwebhooks.errors import DamagedError, DiskFullError, MovedError, OutboxBusyError, OutboxError
from sfwebhooks.outbox import open_files
from sfwebhooks.outbox.database import InsertGroup, SettleGroup, Sql, Whole
from sfwebhooks.outbox.deleted_log import forget_saved, save_log
from sfwebhooks.outbox.locks import FileLocks, Lock
from sfwebhooks.outbox.moved import is_moved, words_of_mark
from sfwebhooks.outbox.opening import (
    opened,
    opened_to_read,
    replacing,
    use_log,
    waiting_at_most,
)
from sfwebhooks.outbox.permissions import (
    SUFFIXES,
    Identity,
    check_files,
    checked,
    identity,
    make,
    real_path,
    refused,
    write_problem,
)
from sfwebhooks.outbox.rewriting import check_room
from sfwebhooks.outbox.schema import make_tables
from sfwebhooks.outbox.sequence_numbers import HighWaterMark, boot_id, check_series, position
from sfwebhooks.outbox.set_aside import set_aside

log = logging.getLogger("spiderfoot.webhooks")
#: the outbox, and the one in front of a server (`spool`)
FILE, SPOOL_FILE = "webhooks.db", "webhooks-spool.db"
#: the same call may succeed later: locked by another process, or disk full
PASSING = ("locked", "busy", "full", "disk i/o error", "locking protocol")
DISK = ("full", "disk i/o error")
#: messages of SQLITE_NOTADB and SQLITE_CORRUPT; Python before 3.11 has no error code
CORRUPT = ("file is not a database", "malformed", "file is encrypted")
#: message for a text of a damaged row, which sqlite3 would not read each time
NOT_UTF8 = "could not decode to utf-8"
#: message for a table whose rows were moved while this process had the file open
NO_TABLE = "no such table"
#: messages of SQLITE_CANTOPEN and SQLITE_READONLY, which give no cause
REFUSED = ("unable to open", "readonly")
#: seconds for which a removed file may still be read
LOOK_SECONDS = 0.2
#: seconds that emptying the log waits for readers: nothing can be written meanwhile
EMPTY_SECONDS = 0.1


@dataclass(frozen=True)
class Storage:
    """Settings of the file, from [webhooks]."""

    #: maximum size in bytes, from which on events are refused
    max_bytes: int = 512_000_000
    #: whether accepted events survive a power failure too (a commit then waits for the disk)
    power_safe: bool = False


class File:
    """One connection to the file, for use by any thread, one at a time.

    Args:
        path: the file; it is created with mode 0600 when first needed.
        accepting: for the scan's side: spends no time on checkpoints (the sending side does that).
        listing: read-only use: creates no file, sets none aside, and can read an unwritable one; one that is not there
            has no rows.
        boot: returns an id of this boot of the machine; empty: not known.
    """

    def __init__(
        self,
        path: Path,
        accepting: bool = False,
        storage: Storage | None = None,
        listing: bool = False,
        boot: Callable[[], str] = boot_id,
    ) -> None:
        self.path, self.where = path, str(path)
        self.locks = FileLocks(path)
        self._storage = storage or Storage()
        self.max_bytes = self._storage.max_bytes
        self._accepting = accepting
        self._listing = listing
        self._boot = boot
        self._mark = HighWaterMark(path)
        #: number of deliveries to which the mark was raised
        self.marked = 0
        self.connection: sqlite3.Connection | None = None
        #: identities of the open files: the outbox, its log, the log's index
        self.files: tuple[Identity | None, ...] = ()
        self.names: tuple[str, ...] = ()
        #: each event is inserted at once, and results are written one after the other
        self.insert_group: InsertGroup | None = None
        self.settle_group: SettleGroup | None = None
        #: number of files so far
        self.number = 0
        #: SQLite's version of the content at the last call of `is_changed`, and of which file
        self._version = (0, 0)
        #: whether the next file opened is a different one
        self._is_lost = True
        self._page_size = 0
        #: time of the last check that the file is still the same, in monotonic seconds
        self._looked_at = 0.0
        self.guard = threading.RLock()
        #: whether a corrupt file stays where it is, and the damage that was logged
        self._is_sparing, self._damage = False, ""
        open_files.add(self)

    def generation(self) -> int:
        """Return the number of files so far: 2 after the first one was set aside or removed."""
        self.look()  # a scan begun in a removed file has to begin again in the next one
        with self.reading():
            return self.number

    def look(self) -> None:
        """Make the next call check that the file is still the same, however recent the last check."""
        self._looked_at = 0.0

    def is_changed(self) -> bool:
        """Return whether another connection, mostly another process's, has changed the file since the last call."""
        with self.reading() as sql:
            before, self._version = self._version, (self.number, sql.execute("PRAGMA data_version").fetchone()[0])
        return before != self._version

    def check(self) -> None:
        """Check that the file can be written.

        Raises:
            OutboxError: it cannot.
        """
        with self.writing():
            pass

    def checkpoint(self) -> None:
        """Write the log back into the file without waiting for readers or writers."""
        with self.reading() as sql:
            sql.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def fullness(self) -> float:
        """Return the fullness of the file, as a fraction of its maximum size."""
        with self.reading() as sql:
            return self.fullness_in(sql)

    def drop_delivered(self, before: float, keep: float) -> Whole:
        """Return that all rows are deleted one by one."""
        return Whole(0, [f"d.settled_at < {before!r}"])

    def empty_log(self) -> bool:
        """Empty the log, which still has deleted content; return False if another process is reading it."""
        self.checkpoint()  # does most of it without blocking writers
        with self.reading() as sql, waiting_at_most(sql, EMPTY_SECONDS):
            try:
                return not sql.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            except sqlite3.OperationalError as error:
                if "locked" in str(error):
                    return False
                raise

    def rewrite(self) -> None:
        """Rewrite the file without deleted content, which its log may still have.

        Raises:
            DiskFullError: there is no room for it.
            DamagedError: damage prevents it.
        """
        self.empty_log()
        with self.reading() as sql:
            check_room(sql, self.path)
        try:
            with self.sparing(), self.reading() as sql:
                sql.execute("VACUUM")
        except OutboxError:
            with suppress(OutboxError):
                self.empty_log()  # it can have filled the disk, and others need the room
            raise

    def close(self) -> None:
        """Close the connection; the next call opens it again."""
        with self.guard:
            if self.connection and not self._listing:
                found = self._look_up()
                if found[:1] == self.files[:1] and found != self.files:
                    with suppress(OutboxError, OSError, sqlite3.Error):
                        save_log(self, self.connection)
            self.drop()

    def drop(self) -> None:
        """Close the connection, whatever has become of the log."""
        if self.connection:
            self._is_lost |= self._look_up()[:1] != self.files[:1]  # later another file may have its inode
            self.connection.close()
            self.connection = None

    def raise_mark(self, sql: Sql, rows: int) -> None:
        """Raise the mark to cover deliveries that are about to be sent, up to a number (`Position.rows`)."""
        has = position(sql) if rows > self.marked else None
        if has is None:
            return
        self.marked = has.rows  # covers the last row: most claims need not write
        try:
            self._mark.raise_to(has)
        except OSError as error:
            log.warning("webhooks: the mark of outbox %s cannot be written: %s", self.path, error.strerror)

    def fullness_in(self, sql: Sql) -> float:
        """Return the fullness of the file, within a transaction."""
        if not self._page_size:
            self._page_size = int(sql.execute("PRAGMA page_size").fetchone()[0])
        part = self._page_size / self.max_bytes
        pages = int(sql.execute("PRAGMA page_count").fetchone()[0])
        if pages * part < 0.5:  # free pages make no difference
            return pages * part
        return (pages - int(sql.execute("PRAGMA freelist_count").fetchone()[0])) * part

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Open a write transaction and commit it at the end, or roll it back if anything raises.

        The file is checked once no other process can write, so that nothing goes into removed files: a process that
        noticed the removal before us has saved their content.
        """
        with self.reading() as sql:
            sql.execute("BEGIN IMMEDIATE")
            while self._look_up() != self.files:
                sql.execute("ROLLBACK")
                self.look()
                sql = self.connect()
                sql.execute("BEGIN IMMEDIATE")
            try:
                yield sql
                sql.execute("COMMIT")
            finally:
                if sql.in_transaction:
                    sql.execute("ROLLBACK")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Lend the connection to one thread, and translate sqlite3's errors."""
        with self.guard:
            try:
                yield self.connect()
            except sqlite3.DatabaseError as error:
                raise self._translated(error) from error
            except OSError as error:
                raise refused(f"outbox {self.path}", real_path(self.path), error) from error

    @contextmanager
    def sparing(self) -> Iterator[None]:
        """Keep the file if damage is met meanwhile: it may be where senders never read.

        Raises:
            DamagedError: damage was met.
        """
        before, self._is_sparing = self._is_sparing, True
        try:
            yield
        finally:
            self._is_sparing = before

    def _translated(self, error: sqlite3.DatabaseError) -> OutboxError:
        """Return the error as an OutboxError; a corrupt file is set aside, so that the same call finds a new one."""
        text = str(error)
        if any(word in text.lower() for word in CORRUPT):
            return self._corrupt(text)
        if NOT_UTF8 in text.lower() and self.connection:  # it would hold up all other rows
            self.connection.text_factory = replacing
            return OutboxBusyError(f"outbox {self.path} has a text that is not UTF-8, part of which is replaced")
        if any(word in text.lower() for word in REFUSED):
            found = write_problem(real_path(self.path))
            if found:
                return type(found)(f"outbox {self.path} cannot be used: {found}")
            return OutboxBusyError(f"outbox {self.path}: {text}")  # it was just removed or created
        if isinstance(error, sqlite3.OperationalError) and any(word in text.lower() for word in PASSING):
            kind = DiskFullError if any(word in text.lower() for word in DISK) else OutboxBusyError
            return kind(f"outbox {self.path}: {text}")
        if NO_TABLE in text.lower() and self.connection and is_moved(self.connection):
            return MovedError(f"outbox {self.path} {words_of_mark(self.connection)}")
        return OutboxError(f"outbox {self.path} cannot be used: {text}")

    def _corrupt(self, text: str) -> OutboxError:
        self.drop()
        if self._listing:
            return OutboxError(
                f"outbox {self.path} is corrupt ({text}) and was not changed: the next scan, sfwebhooks drain or"
                " sfwebhooks run sets it aside and creates a new one"
            )
        if self._is_sparing:
            words = f"outbox {self.path} is damaged ({text}) where maintenance reads it"
            if text != self._damage:
                log.error("webhooks: %s; deliveries are still sent. sfwebhooks doctor --full says more", words)
            self._damage = text
            return DamagedError(words)
        aside, self._is_lost = set_aside(real_path(self.path), self.files[:1]), True
        where = f"it was set aside as {aside}" if aside else "another process has set it aside or is doing so"
        try:
            self.connect()
            after = "a new one was created"
        except (OutboxError, OSError, sqlite3.Error) as error:
            after = f"a new one cannot be created: {error}"
        log.error("webhooks: outbox %s is corrupt (%s); %s, and %s", self.path, text, where, after)
        return OutboxBusyError(f"outbox {self.path} was corrupt: {text}; {where}, and {after}")

    def connect(self) -> sqlite3.Connection:
        """Return the connection to the current file."""
        now = time.monotonic()
        is_missing = self.files[:1] == (None,)  # a reader may have been before the first writer
        if self.connection and (is_missing or now - self._looked_at > LOOK_SECONDS):
            self._looked_at = now
            found = self._look_up()
            if found[:1] != self.files[:1] or (found != self.files and self._listing):
                self.drop()
            elif found != self.files:
                save_log(self, self.connection)
        if self.connection is None:
            before = self.files[:1]
            with open_files.OPENING:  # while a log is saved, nobody may open the file and get the old log's index
                self.connection = self._open()
            self.number += self._is_lost or before != self.files[:1]
            self._is_lost = False
        return self.connection

    def _look_up(self) -> tuple[Identity | None, ...]:
        """Return the identities of the files that are now at the paths of the open ones."""
        found: list[Identity | None] = []
        for name in self.names:
            try:
                status = os.stat(name)  # noqa: PTH116  # twice as fast, in each transaction
                found.append((status.st_dev, status.st_ino))
            except OSError:
                found.append(None)
        return tuple(found)

    def _open(self) -> sqlite3.Connection:
        with self._refusing():
            path = checked(self.path)
        if self._listing:
            connection = opened_to_read(path)
            connection.text_factory = replacing
        else:
            # only a new file: closing a descriptor of a file that SQLite has open drops all of our locks on it, and the
            # next process to close it would delete the log that we write to (sqlite.org/howtocorrupt.html, 2.2)
            with suppress(FileExistsError):
                os.close(make(path))
            connection = opened(path)
        self.files = (identity(path),)
        self._mark, self.marked, closed = HighWaterMark(path), 0, _is_closed(str(path))
        try:
            if not self._listing or (self.files != (None,) and write_problem(path) is None):
                self._set_up(connection)
                check_series(connection, path, self._mark, self._boot(), closed)
            with self._refusing():
                check_files(path)  # again: the files that SQLite has opened may have been put there a moment ago
        except BaseException:
            connection.close()
            raise
        self.names = (str(self.path), *(f"{path}{suffix}" for suffix in SUFFIXES[1:]))
        self.files = self._look_up()
        if not self._listing:
            lock = Lock(path, "outbox")
            with suppress(OutboxError):
                forget_saved(self, lock)
            lock.release()
        return connection

    def _set_up(self, connection: sqlite3.Connection) -> None:
        use_log(connection)
        connection.execute(f"PRAGMA synchronous = {'FULL' if self._storage.power_safe else 'NORMAL'}")
        connection.execute("PRAGMA secure_delete = ON")  # deleted means gone from the file
        if self._accepting:
            connection.execute("PRAGMA wal_autocheckpoint = 0")
        try:
            make_tables(connection)
        except OutboxError as error:
            raise type(error)(f"outbox {self.path} {error}") from error

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        try:
            yield
        except OutboxError as error:
            raise type(error)(f"outbox {self.path} cannot be used: {error}") from error


def _is_closed(path: str) -> bool:
    """Return whether no process has the file open or died with it open: the last one to close it empties the log."""
    try:
        return os.stat(path + "-wal").st_size == 0  # noqa: PTH116
    except OSError:
        return True
