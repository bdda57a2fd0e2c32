"""Connections to PostgreSQL for a session that has locks: directly, or through a pooler that gives each client a
session of its own. Statements have a time limit.
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Sequence
from typing import Any, Callable

import psycopg
from psycopg import pq
from psycopg.conninfo import make_conninfo

from sfwebhooks.errors import OutboxBusyError, OutboxError, PoolerError
from sfwebhooks.outbox.postgres.dsn import Dsn
from sfwebhooks.outbox.postgres.forking import closed_in_children
from sfwebhooks.system import POLL_IN, POLL_OUT, Poll

#: the oldest version that is supported, as PostgreSQL numbers it: the first that ends sessions whose client is gone
VERSION_LEAST = 140000
#: seconds until a connection is established
CONNECT_SECONDS = 5
#: how this side finds out that the server's machine is gone (postgresql.org/docs/current/libpq-connect.html)
KEEPALIVE = {"keepalives_idle": 4, "keepalives_interval": 2, "keepalives_count": 2, "tcp_user_timeout": 8000}
#: looks for a pooler that lends one of its sessions to several clients
LOOKS = 5
#: what is before the failures of several servers in psycopg's text, and one of them
SEVERAL = "All failures were:"
OF_SERVER = re.compile("connection to server .*")
#: what libpq says of a server that cannot be written to
STANDBY = "session is read-only"
Row = tuple["str | None", ...]


def connected(dsn: Dsn) -> psycopg.Connection[Any]:
    """Connect to a server.

    Raises:
        OutboxBusyError: it cannot be reached.
    """
    name = f"sfwebhooks locks, {socket.gethostname()[:30]} {os.getpid()}"
    try:
        words = make_conninfo(dsn.address, connect_timeout=CONNECT_SECONDS, application_name=name, **KEEPALIVE)
        made = closed_in_children(psycopg.connect(words, autocommit=True))
        made.pgconn.nonblocking = 1
        return made
    except psycopg.Error as error:
        raise OutboxBusyError(f"outbox {dsn} cannot be reached: {first_line(error)}") from error


def check_version(connection: psycopg.Connection[Any], dsn: Dsn) -> None:
    """Check that a server is not too old.

    Raises:
        OutboxError: it is.
    """
    if connection.info.server_version < VERSION_LEAST:
        version = connection.info.parameter_status("server_version")
        raise OutboxError(f"outbox {dsn}: PostgreSQL {version} is too old; expected {VERSION_LEAST // 10000} or later")


def exchanged(pg: pq.abc.PGconn, query: str, values: Sequence[object], seconds: float) -> list[Row]:
    """Return the rows of one statement, all values as text. psycopg itself would wait without a limit.

    Raises:
        TimeoutError: there was no answer within some seconds.
        psycopg.ProgrammingError: the server refuses the statement.
        psycopg.OperationalError: the connection is broken.
    """
    deadline, poll, rows, refused = time.monotonic() + seconds, Poll(), list[Row](), ""
    pg.send_query_params(query.encode(), [str(value).encode() for value in values])
    while True:
        while (is_left := pg.flush()) or pg.is_busy():
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"the server has not answered for {seconds:.0f} s")
            poll.register(pg.socket, POLL_IN | (POLL_OUT if is_left else 0))
            if poll.poll(int(left * 1000) + 1):
                pg.consume_input()
        result = pg.get_result()
        if result is None:
            break
        if result.status == pq.ExecStatus.FATAL_ERROR:
            refused = result.get_error_message()
        for row in range(result.ntuples):
            found = (result.get_value(row, column) for column in range(result.nfields))
            rows.append(tuple(None if value is None else value.decode() for value in found))
    if refused:
        raise (psycopg.ProgrammingError if pg.status == pq.ConnStatus.OK else psycopg.OperationalError)(refused)
    return rows


def check_pooler(dsn: Dsn, pid: Callable[[], int]) -> None:
    """Check that a pooler gives each client a session of its own: while another client is in a transaction, our session
    must still be the same, and not be lent to that one.

    Args:
        pid: asks for the id of the process of the server that has our session.

    Raises:
        PoolerError: it does not.
    """
    ours = pid()
    for _ in range(LOOKS):
        with connected(dsn) as other:
            try:
                exchanged(other.pgconn, "BEGIN", (), CONNECT_SECONDS)
                ((found,),) = exchanged(other.pgconn, "SELECT pg_backend_pid()", (), CONNECT_SECONDS)
            except TimeoutError:  # all sessions of the pool are in use: ours, which is idle, was not lent
                return
            except psycopg.Error as error:  # a pooler that allows no transactions
                raise PoolerError(_text(dsn)) from error
            if found == str(ours) or pid() != ours:
                raise PoolerError(_text(dsn))


def first_line(error: object) -> str:
    """Return the first line of an error's text; if it is about several servers, what it says of each."""
    return "; ".join(failures(error)) or str(error).strip().split("\n")[0] or type(error).__name__


def failures(error: object) -> list[str]:
    """Return what an error says of each of several servers that cannot be used; nothing if there is only one."""
    found = OF_SERVER.findall(str(error).partition(SEVERAL)[2])
    return [one.replace(STANDBY, f"{STANDBY}, it is a standby") for one in found]


def _text(dsn: Dsn) -> str:
    return (
        f"outbox {dsn}: a pooler answers there that lends one session of PostgreSQL to several clients (PgBouncer:"
        " pool_mode = transaction or statement), which would share their locks. Name PostgreSQL's own port, or a pool"
        " with pool_mode = session"
    )
