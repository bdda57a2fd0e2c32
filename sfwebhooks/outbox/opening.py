"""Opening the outbox's file: its path comes in, a connection of sqlite3 goes out."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sfwebhooks import system
from sfwebhooks.events import event_key_of
from sfwebhooks.files import is_deleted, open_regular
from sfwebhooks.outbox.permissions import write_problem
from sfwebhooks.outbox.schema import make_tables

log = logging.getLogger("spiderfoot.webhooks")
#: seconds that a statement waits for another process's write
BUSY_SECONDS = 1.0


def opened(path: Path, query: str = "mode=rw") -> sqlite3.Connection:
    """Open the existing file.

    Args:
        query: parameters of the URI (https://sqlite.org/uri.html).
    """
    connection = sqlite3.connect(
        f"{path.as_uri()}?{query}", timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, uri=True
    )
    return _set_up(connection)


def _set_up(connection: sqlite3.Connection) -> sqlite3.Connection:
    connection.create_function("event_key_of", -1, event_key_of)
    return connection


def opened_to_read(path: Path) -> sqlite3.Connection:
    """Open the outbox read-only, if need be without its log, which needs a writable index. One that is not there is an
    empty one in memory."""
    if is_deleted(path):
        connection = _set_up(sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False))
        make_tables(connection)
        return connection
    if write_problem(path) is None:
        return opened(path)
    connection = opened(path, "mode=ro")
    try:
        connection.execute("SELECT count(*) FROM sqlite_master")
        return connection
    except sqlite3.OperationalError:
        connection.close()
    log_path = path.with_name(f"{path.name}-wal")
    with suppress(FileNotFoundError):
        if log_path.stat().st_size:
            text = "webhooks: %s, with the latest changes, cannot be read (%s); they are missing below"
            log.warning(text, log_path, write_problem(path))
    return opened(path, "immutable=1")


def replacing(raw: bytes) -> str:
    """Return a text of the file in which U+FFFD replaces what is not UTF-8; only where it is needed, since it is called
    for each text."""
    return raw.decode("utf-8", "replace")


@contextmanager
def not_the_last(path: str) -> Iterator[None]:
    """Allow closing all connections of this process to a file whose current log is not the one they have open: without
    this, the last one to close would write its log back and delete the current one.

    Holds the lock that shows SQLite other users of the file (SHARED_FIRST and SHARED_SIZE in its os.h), as another
    process would.
    """
    descriptor = open_regular(Path(path), os.O_RDONLY)
    try:
        system.share(descriptor, 0x40000002, 510)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def waiting_at_most(connection: sqlite3.Connection, seconds: float) -> Iterator[None]:
    """Limit the wait of statements for other processes."""
    connection.execute(f"PRAGMA busy_timeout = {seconds * 1000:.0f}")
    try:
        yield
    finally:
        connection.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000:.0f}")


def use_log(connection: sqlite3.Connection) -> None:
    """Set WAL, for which SQLite's own timeout does not apply. A file system without WAL support works without it."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
