"""A PostgreSQL server as the place of an outbox's rows: statements come in, psycopg's errors go out as OutboxError.

It is used as a `file.File` is. All processes write one at a time, under an advisory lock that the server releases with
the transaction, as SQLite's file has one writer: numbers have no gaps, and an end is decided once. A host that vanishes
within a transaction loses it within seconds.
"""

from __future__ import annotations

import logging
import math
import os
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg

from sfwebhooks.errors import DiskFullError, OutboxBusyError, OutboxError, RejectedError, UnreachableError
from sfwebhooks.outbox.database import InsertGroup, SettleGroup, Whole
from sfwebhooks.outbox.postgres import identity
from sfwebhooks.outbox.postgres.advisory_locks import AdvisoryLocks
from sfwebhooks.outbox.postgres.connecting import CONNECT_SECONDS, check_version, failures
from sfwebhooks.outbox.postgres.dsn import SCHEMA, Dsn
from sfwebhooks.outbox.postgres.forking import closed_in_children
from sfwebhooks.outbox.postgres.group import insert_group
from sfwebhooks.outbox.postgres.patience import PatientConnection
from sfwebhooks.outbox.postgres.periods import Periods
from sfwebhooks.outbox.postgres.schema import statements
from sfwebhooks.outbox.postgres.session import ServerSession
from sfwebhooks.outbox.postgres.settling import settle_group
from sfwebhooks.outbox.schema import VERSION

if TYPE_CHECKING:
    from sfwebhooks.outbox.file import Storage

log = logging.getLogger("spiderfoot.webhooks")
#: seconds that a write waits for the one of another process
LOCK_SECONDS = 1
#: seconds for a statement, and for one of a command, which may read much
STATEMENT_SECONDS = 30
LISTING_SECONDS = 600
#: seconds that a transaction may be idle
IDLE_SECONDS = 10
#: seconds for connecting for a scan, which waits for it, and after a failure until the next try
ACCEPT_CONNECT_SECONDS = 2
AGAIN_SECONDS = 1.0
#: seconds beyond a statement's limit until a server that does not answer is given up
PATIENCE_SECONDS = 5.0
#: seconds until it is given up by a scan that waits for a write
ACCEPT_SECONDS = 5.0
#: number of statements that the server keeps the plans of
PREPARED_MAX = 400
#: first key of the advisory locks for writing and for creating the tables; the second one is that of the schema
WRITING, CREATING = 0x5F1E, 0x5F1F
#: the planner reads by indexes and in the order of the joins: the statements are written for that, as SQLite needs it.
#: A plan is the same whatever the values, so it is kept: with partitions, to make one takes longer than to execute it
PLANNING = """
    SET jit = off; SET join_collapse_limit = 1; SET max_parallel_workers_per_gather = 0;
    SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_bitmapscan = off; SET enable_seqscan = off;
    SET random_page_cost = 1.1; SET plan_cache_mode = force_generic_plan;
"""
#: so that the server notices within half a minute that a host has vanished: also one that has not acknowledged the last
#: answer, for which there are no keepalives, and behind whose transaction all others would wait
KEEPALIVES = (
    "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 3; SET tcp_keepalives_count = 3;"
    " SET tcp_user_timeout = '10s'; SET client_connection_check_interval = '5s';"
)
#: the sizes of our tables with all that belongs to them, as far as they are full: a table of which rows were deleted
#: keeps its size. A row has a header, a pointer, and is aligned
SIZE = """
    SELECT coalesce(sum(total * CASE WHEN bytes * width > 0 THEN least(1, live * (width + 36) / bytes) ELSE 1 END), 0)
    FROM (
        SELECT pg_total_relation_size(oid) AS total, CAST(pg_relation_size(oid) AS double precision) AS bytes,
            greatest(pg_stat_get_live_tuples(oid), reltuples, 0) AS live, (
                SELECT sum(avg_width) FROM pg_stats WHERE tablename = relname AND schemaname = $2) AS width
        FROM pg_class WHERE relkind = 'r' AND relnamespace = $1
    ) its
"""
#: seconds between two measurements
MEASURE_SECONDS = 1.0
#: SQLSTATEs, or how they begin, after which the same call may succeed, and those of a full disk
PASSING = ("08", "40", "53", "57", "25P03", "25P02", "25006")
DISK = ("53100", "58030")
#: those of values: wrong, contradictory, beyond a limit
VALUES = ("22", "23", "54")
LOCKED = "55P03"
#: how libpq goes on about a server that does not answer, or has ended a session, after it has said so
HINTS = ("Is the server running", "This probably means")
#: SQLSTATE of what a user may not do, and what helps
DENIED = "42501"
PRIVILEGES = f"its user has to own the schema {SCHEMA}, or to have CREATE on the database"
#: how psycopg begins what libpq says
PREFIXES = ("connection failed: ", "connection is bad: ", "consuming input failed: ")
#: what libpq says of a server that will not let us in, however often it is asked -> what helps
REFUSED = {
    "authentication failed": "correct the user and the password in outbox",
    "does not exist": "create it on the server, or correct its name in outbox",
    "no pg_hba.conf entry": "let pg_hba.conf on the server admit this machine",
    "no password supplied": "add the password to outbox, or to ~/.pgpass",
    "not permitted": "let the server's administrator permit it",
    "permission denied": "let the server's administrator permit it",
}


class Server:
    """One connection to the server, for use by any thread, one at a time.

    Args:
        listing: read-only use.
        accepting: for the scan's side, which must not wait for long.
    """

    def __init__(self, dsn: Dsn, storage: Storage, listing: bool = False, accepting: bool = False) -> None:
        self.dsn = dsn
        self.path, self.where = dsn.path, str(dsn)
        self.locks = AdvisoryLocks(self)
        self.max_bytes = storage.max_bytes
        self._listing = listing
        self._accepting = accepting
        #: the last failure to connect, and when (monotonic seconds)
        self._failed: tuple[float, Exception] | None = None
        self.insert_group: InsertGroup | None = insert_group
        self.settle_group: SettleGroup | None = settle_group
        self._periods = Periods(self)
        self.number = 0
        #: there is no mark: `identity` notices a restored backup
        self.marked = sys.maxsize
        self.guard = threading.RLock()
        self._session: ServerSession | None = None
        #: number and name of the schema
        self._schema, self._name = 0, ""
        #: the database that was met last
        self._identity: object = None
        #: the transactions that a reader has seen
        self._snapshot = ""
        #: size of our rows in bytes, and when it was measured in monotonic seconds
        self._size = (-math.inf, 0.0)
        _ALL[id(self)] = self

    def generation(self) -> int:
        """Return the number of databases so far: 2 after the first one was replaced by its backup."""
        with self.reading():
            return self.number

    def look(self) -> None:
        """Do nothing: a connection notices its end by itself."""

    def is_changed(self) -> bool:
        """Return whether there may be new deliveries since the last call; for a reader, anything new."""
        if not self._listing:
            return self.locks.has_heard()
        with self.reading():
            before, self._snapshot = self._snapshot, str(self._one("SELECT pg_current_snapshot()"))
        return before != self._snapshot

    def check(self) -> None:
        """Check that the database can be written.

        Raises:
            OutboxError: it cannot.
        """
        with self.writing() as sql:
            sql.execute("LOCK TABLE event IN ROW EXCLUSIVE MODE")  # needs the right to write, and blocks nobody

    def checkpoint(self) -> None:
        """Do nothing: the server does that."""

    def fullness(self) -> float:
        """Return the size of our rows, as a fraction of the maximum size."""
        self._size = (-math.inf, 0.0)
        with self.reading() as sql:
            return self.fullness_in(sql)

    def fullness_in(self, sql: object) -> float:
        """Return the same, within a transaction; it is measured once a second."""
        now, (measured_at, size) = time.monotonic(), self._size
        if not measured_at <= now < measured_at + MEASURE_SECONDS:
            size = float(self._one(SIZE, self._schema, self._name))
            self._size = (now, size)
        return size / self.max_bytes

    def raise_mark(self, sql: object, rows: int) -> None:
        """Do nothing: there is no mark."""

    def rewrite(self) -> None:
        """Remove what is left of deleted rows in tables and indexes; what the server's log has stays."""
        query = b"SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = $1"
        with self.reading() as session:
            connection = session.connection
            tables = connection.execute(query, (self._schema,)).fetchall()
            connection.execute(b"SET statement_timeout = 0")
            try:
                for (table,) in tables:
                    connection.execute(f'VACUUM "{table}"'.encode())
            finally:
                self.close()  # whatever happened, the next session has the limit again

    def drop_delivered(self, before: float, keep: float) -> Whole:
        """Drop the periods whose deliveries are all older than a time; the others' are deleted one by one."""
        return self._periods.drop(before, keep)

    def empty_log(self) -> bool:
        """Return that there is no log of ours."""
        return True

    def close(self) -> None:
        """Close the connection; the next call opens it again."""
        self.locks.close()
        with self.guard:
            session, self._session = self._session, None
            if session:
                session.connection.close()

    @contextmanager
    def sparing(self) -> Iterator[None]:
        """Do nothing: the server's damage is its operator's."""
        yield

    @contextmanager
    def reading(self) -> Iterator[ServerSession]:
        """Lend the connection to one thread, and translate psycopg's errors."""
        with self.guard:
            try:
                yield self._connect()
            except (psycopg.Error, OSError) as error:
                raise self._translated(error) from error
            finally:
                if self._session and self._session.is_interrupted:
                    self.close()

    @contextmanager
    def writing(self) -> Iterator[ServerSession]:
        """Open a write transaction once no other process writes; commit it, or roll it back if anything raises."""
        with self.reading() as session:
            connection = session.connection
            patience = connection.patience
            connection.patience = ACCEPT_SECONDS if self._accepting else patience
            try:
                connection.execute(f"BEGIN; SELECT pg_advisory_xact_lock({WRITING}, {self._schema})".encode())
                yield session
                if connection.execute(b"COMMIT").statusmessage != "COMMIT":  # an error was caught within the block
                    raise psycopg.errors.InFailedSqlTransaction("the transaction was rolled back")
            except BaseException:
                session.roll_back()
                raise
            finally:
                connection.patience = patience

    @property
    def _connection(self) -> PatientConnection:
        return self._connect().connection

    def _one(self, query: str, *values: object) -> Any:
        row = self._connection.execute(query.encode(), values).fetchone()
        return row[0] if row else None

    def _connect(self) -> ServerSession:
        if self._session and self._session.connection.closed:
            self._session = None
        if self._session is None:
            failed_at, error = self._failed or (float("-inf"), None)
            if error and time.monotonic() - failed_at < AGAIN_SECONDS:
                raise error
            try:
                self._session, self._failed = self._open(), None
            except (psycopg.Error, OSError, OutboxError) as trouble:
                self._failed = (time.monotonic(), trouble)
                raise
        return self._session

    def _open(self) -> ServerSession:
        options = self.dsn.parts.get("options", "")
        connection = PatientConnection.connect(
            self.dsn.address,
            autocommit=True,
            prepare_threshold=2,
            connect_timeout=ACCEPT_CONNECT_SECONDS if self._accepting else CONNECT_SECONDS,
            client_encoding="utf8",
            application_name="sfwebhooks",
            keepalives_idle=10,
            keepalives_interval=3,
            keepalives_count=3,
            tcp_user_timeout=10_000,
        )
        closed_in_children(connection)
        try:
            check_version(connection, self.dsn)
            session = ServerSession(connection)
            connection.prepared_max = PREPARED_MAX
            seconds = LISTING_SECONDS if self._listing else STATEMENT_SECONDS
            connection.patience = CONNECT_SECONDS
            path = "" if "search_path" in options else f"SET search_path = {SCHEMA};"
            limits = {
                "statement_timeout": seconds,
                "lock_timeout": LOCK_SECONDS,
                "idle_in_transaction_session_timeout": IDLE_SECONDS,
            }
            given = " ".join(f"SET {name} = '{limit}s';" for name, limit in limits.items())
            connection.execute(f"{PLANNING} {KEEPALIVES} {path} {given} SET client_min_messages = warning".encode())
            self._make_tables(session)
            known = identity.check(session, self.dsn, self._listing)
            if known != self._identity:
                self.number, self._identity = self.number + 1, known
            connection.patience = seconds + PATIENCE_SECONDS
        except BaseException:
            connection.close()
            raise
        return session

    def _make_tables(self, session: ServerSession) -> None:
        """Create the tables if they are not there, in one transaction; several processes may call this at once.

        Raises:
            OutboxError: they were created by a newer sfwebhooks, or cannot be.
        """
        connection = session.connection
        if not self._is_ready(connection):
            (path,) = connection.execute(b"SELECT current_setting('search_path')").fetchone() or ("",)
            name = path.split(",")[0].strip().strip('"')
            try:
                waits = f"SET LOCAL lock_timeout = '{CONNECT_SECONDS - 1}s'"  # as long as others may take
                connection.execute(f"BEGIN; {waits}; SELECT pg_advisory_xact_lock({CREATING}, 0)".encode())
                if not self._is_ready(connection):  # again, under the lock
                    connection.execute(statements(name).encode())
                connection.execute(b"COMMIT")
            except BaseException:
                session.roll_back()
                raise
            self._is_ready(connection)

    def _is_ready(self, connection: psycopg.Connection[Any]) -> bool:
        query = (
            b"SELECT relnamespace::bigint, relnamespace::regnamespace::text FROM pg_class"
            b" WHERE oid = to_regclass('schema_version')"
        )
        row = connection.execute(query).fetchone()
        if not row:
            return False
        (version,) = connection.execute(b"SELECT number FROM schema_version").fetchone() or (0,)
        if version != VERSION:
            problem = f"was created by a newer sfwebhooks (schema {version}, known here: {VERSION}); upgrade"
            raise OutboxError(f"outbox {self.dsn} {problem}")
        self._schema, self._name = row
        return True

    def _translated(self, error: Exception) -> OutboxError:
        """Return the error as an OutboxError."""
        state = getattr(error, "sqlstate", None) or ""
        servers, text = failures(error), " ".join(str(error).split())
        for prefix in PREFIXES:
            text = text.removeprefix(prefix)
        for hint in HINTS:
            text = text.partition(hint)[0].rstrip()
        text = "; ".join(servers) or text
        where = f"outbox {self.dsn}: {text}"
        if state.startswith(DISK):
            return DiskFullError(where)
        if state == LOCKED:
            return OutboxBusyError(f"outbox {self.dsn}: locked by another process")
        if state.startswith(PASSING):
            return OutboxBusyError(where)
        if state.startswith(VALUES):
            return RejectedError(where)
        if not state and isinstance(error, (psycopg.OperationalError, OSError)):
            found = [next((cure for words, cure in REFUSED.items() if words in one), "") for one in servers or [text]]
            return OutboxError(f"{where}; {found[0]}") if all(found) else UnreachableError(where)
        more = f"; {PRIVILEGES}" if state == DENIED else ""
        return OutboxError(f"outbox {self.dsn} cannot be used: {text}{more}")


#: those of this process
_ALL: weakref.WeakValueDictionary[int, Server] = weakref.WeakValueDictionary()
#: connections in use when a child was forked, which it must neither use nor close
_INHERITED: list[ServerSession] = []


def _after_fork_in_child() -> None:
    for one in [found for found in (reference() for reference in _ALL.valuerefs()) if found]:
        one.guard = threading.RLock()
        if one._session:
            _INHERITED.append(one._session)
            one._session = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
