"""The host's database on a PostgreSQL server, read-only: statements come in, rows go out, psycopg's errors as
HostDatabaseError.

Each statement is a short transaction that may only read and has limits of time, so no process of the host waits for us;
that also holds behind PgBouncer, where settings of a session would stay with its next user. A server that no longer
answers is given up by a timer here.
"""

from __future__ import annotations

import math
import os
import socket
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import Loader

from sfwebhooks.endpoints import Secret
from sfwebhooks.errors import HostBusyError, HostDatabaseError, SlowReadError
from sfwebhooks.scan.findings import ROOT
from sfwebhooks.scan.host_sql import POSTGRES, Read

#: seconds that a read without a limit may take, and that it waits for a lock
READ_MAX_SECONDS = 30.0
LOCK_SECONDS = 5.0
#: share of a limit in which a lock must be had, so that it is not taken for a slow read
LOCK_SHARE = 0.8
#: seconds beyond a limit after which the server is given up
GRACE_SECONDS = 2.0
#: rows that are fetched at once
ROWS = 200
#: SQLSTATEs (postgresql.org, appendix A) of what passes: no lock, the server stops or starts, too many connections
PASSING = ("55P03", "57P", "08", "53300", "40001", "40P01")
CANCELLED = "57014"
#: what a server says that is there but cannot be used now
NOT_NOW = ("the database system is", "too many", "connection slots")
#: characters of an error's text that are shown
TEXT_MAX = 500
#: the encoding of a database that has any bytes
ANY_BYTES = "SQL_ASCII"
#: types whose values are texts
TEXTS = ("text", "varchar", "bpchar", "name")


class _Text(Loader):
    """Reads a text of a database that has any bytes."""

    def load(self, data: Buffer) -> str:
        return bytes(data).decode("utf-8", "replace")


class HostServer:
    """A database on a server.

    Args:
        given: how to connect, which may have a password.
        limit: seconds that a read may take.
    """

    sql = POSTGRES

    def __init__(self, given: Secret, limit: float | None) -> None:
        self._given = given
        self._limit = limit or READ_MAX_SECONDS
        #: seconds that all that is read by one connection may take
        self._total = limit or math.inf

    @contextmanager
    def session(self) -> Iterator[Read]:
        """Lend a function that reads rows, with one connection.

        Raises:
            HostDatabaseError: within the block too.
        """
        until = time.monotonic() + self._total
        with closing(self._open()) as connection:

            def read(query: str, *values: Any) -> Iterator[tuple[Any, ...]]:
                for row in self._read(connection, query, values):
                    yield row
                    if time.monotonic() > until:
                        raise SlowReadError(f"it took longer than {self._total:g} s")

            yield read

    def module_lists(self, scan_ids: Collection[str], until: float) -> Iterator[tuple[str, str]]:
        """Yield scan id and list of modules of these scans."""
        query = "SELECT scan_instance_id, val FROM tbl_scan_config WHERE scan_instance_id = ANY(?)"
        with self.session() as read:
            yield from read(f"{query} AND opt = '_modulesenabled'", list(scan_ids))

    def results(self, columns: str, scan_id: str, part: int) -> Iterator[tuple[Any, ...]]:
        """Yield these columns of a scan's findings, in order of creation, read in parts of this size.

        First their hashes are put in order, so that the server sorts no data and keeps nothing between two parts.
        """
        where = "FROM tbl_scan_results WHERE scan_instance_id = ?"
        with self.session() as read:
            hashes = [
                row[0] for row in read(f"SELECT hash {where} AND type <> ? ORDER BY {POSTGRES.order}", scan_id, ROOT)
            ]
            for begin in range(0, len(hashes), part):
                chunk = hashes[begin : begin + part]
                rows = {
                    row[0]: row[1:] for row in read(f"SELECT hash, {columns} {where} AND hash = ANY(?)", scan_id, chunk)
                }
                yield from (rows[each] for each in chunk if each in rows)

    def _read(self, connection: psycopg.Connection, query: str, values: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a statement, fetched in parts."""
        limit = round(self._limit * 1000)
        lock = round(min(LOCK_SECONDS, self._limit * LOCK_SHARE) * 1000)
        begin = f"BEGIN READ ONLY; SET LOCAL statement_timeout = {limit}; SET LOCAL lock_timeout = {lock}"
        text = query.replace("%", "%%").replace("?", "%s").encode()
        try:
            with connection.cursor("sfwebhooks") as cursor:
                with self._bounded(connection):
                    connection.execute(begin.encode())
                    cursor.execute(text, values)
                    rows = cursor.fetchmany(ROWS)
                yield from rows
                while len(rows) == ROWS:
                    with self._bounded(connection):
                        rows = cursor.fetchmany(ROWS)
                    yield from rows
        except (psycopg.Error, UnicodeError) as error:
            raise self._translated(error) from error
        finally:
            with suppress(psycopg.Error), self._bounded(connection):  # there may be no connection any more
                connection.rollback()

    def _open(self) -> psycopg.Connection:
        try:
            wait = max(2, math.ceil(self._limit))  # libpq rounds a second up to two
            connection = psycopg.connect(self._given.reveal(), autocommit=True, connect_timeout=wait,
                                         prepare_threshold=None, application_name="sfwebhooks",
                                         client_encoding="utf8")  # fmt: skip
            if connection.info.parameter_status("server_encoding") == ANY_BYTES:
                connection.execute(b"SET client_encoding TO SQL_ASCII")  # else one odd byte fails the whole read
                for name in TEXTS:
                    connection.adapters.register_loader(name, _Text)
            return connection
        except (psycopg.Error, UnicodeError) as error:
            raise self._translated(error) from error

    @contextmanager
    def _bounded(self, connection: psycopg.Connection) -> Iterator[None]:
        """Give the server up if it does not answer in the block."""
        timer = threading.Timer(self._limit + GRACE_SECONDS, _hang_up, (connection,))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _translated(self, error: Exception) -> HostDatabaseError:
        """Return an error of the driver as ours, without the password."""
        diagnosis = error.diag.message_primary if isinstance(error, psycopg.Error) else None
        text = " ".join((diagnosis or str(error)).split())[:TEXT_MAX]
        password = psycopg.conninfo.conninfo_to_dict(self._given.reveal()).get("password")
        text = text.replace(str(password), "***") if password else text
        state = getattr(error, "sqlstate", None) or ""
        if state == CANCELLED:
            return SlowReadError(text)
        if state:
            return (HostBusyError if state.startswith(PASSING) else HostDatabaseError)(text)
        is_refusal = "FATAL" in text and not any(words in text for words in NOT_NOW)
        is_lost = isinstance(error, psycopg.OperationalError) and not is_refusal
        return (HostBusyError if is_lost else HostDatabaseError)(text)


def _hang_up(connection: psycopg.Connection) -> None:
    """End a connection under a thread that waits for it."""
    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as line:
        line.shutdown(socket.SHUT_RDWR)
