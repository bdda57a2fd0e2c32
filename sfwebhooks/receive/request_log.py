"""The log of a receiver: requests come in, rows of an SQLite file go out, in the table that the webhook guide's
WebhookLogger makes. The guide's own queries work on it.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from datetime import datetime, timezone
from pathlib import Path

from sfwebhooks.errors import NotStoredError, OutboxError
from sfwebhooks.events import clean_text, printable
from sfwebhooks.files import demand_database
from sfwebhooks.outbox.permissions import Identity, identity, make, real_path
from sfwebhooks.receive.received import Received
from sfwebhooks.text import in_line

TABLE = "webhook_logs"
MAKE = """
CREATE TABLE IF NOT EXISTS webhook_logs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    timestamp TEXT NOT NULL,
    event_type TEXT NOT NULL,
    source_ip TEXT,
    payload TEXT NOT NULL,
    processed BOOLEAN DEFAULT FALSE,
    error_message TEXT
)"""
COLUMNS = {"timestamp", "event_type", "source_ip", "payload", "processed", "error_message"}
INSERT = (
    "INSERT INTO webhook_logs (timestamp, event_type, source_ip, payload, processed, error_message)"
    " VALUES (?, ?, ?, ?, ?, ?)"
)
#: seconds that a request waits for another process that has locked the file
BUSY_SECONDS = 1.0
#: message of SQLITE_NOTADB
NO_DATABASE = "file is not a database"
#: most characters of an event's name
NAME_MAX = 200
EXPECTED = "expected a new file, or one that receive --log or the guide's WebhookLogger has made"


class RequestLog:
    """The open file; it is opened again after an error, or once it was moved or removed. For one thread at a time.

    Args:
        path: created with mode 0600 if it does not exist.

    Raises:
        NotStoredError: it cannot be written, or is something else.
    """

    def __init__(self, path: Path) -> None:
        self._path = real_path(path)
        self._file: Identity | None = None
        self._connection = self._open()

    def add(self, received: Received, error: str) -> None:
        """Write a request, and wait until it is on disk.

        Args:
            error: why it was not processed; empty if it was.

        Raises:
            NotStoredError: it could not be written.
        """
        at = datetime.fromtimestamp(received.at, timezone.utc).replace(tzinfo=None).isoformat(timespec="microseconds")
        row = (at, _event_type(received), received.source, _payload(received.body), not error, error or None)
        try:
            if self._file is None or identity(self._path) != self._file:
                self.close()
                self._connection = self._open()
            self._connection.execute(INSERT, row)
        except sqlite3.Error as wrong:
            self.close()
            raise NotStoredError(str(wrong)) from wrong

    def close(self) -> None:
        """Close the file; the next request opens it again."""
        self._file = None
        self._connection.close()

    def _open(self) -> sqlite3.Connection:
        try:
            demand_database(self._path)
            with suppress(FileExistsError):
                os.close(make(self._path))
            connection = sqlite3.connect(
                f"{self._path.as_uri()}?mode=rw",
                timeout=BUSY_SECONDS,
                isolation_level=None,
                check_same_thread=False,
                uri=True,
            )
            try:
                _demand_log(connection)
            except BaseException:
                connection.close()
                raise
        except sqlite3.Error as error:
            raise NotStoredError(f"{error}; {EXPECTED}" if NO_DATABASE in str(error) else str(error)) from error
        except (OSError, OutboxError) as error:
            raise NotStoredError(getattr(error, "strerror", None) or str(error)) from error
        self._file = identity(self._path)
        return connection


def _demand_log(connection: sqlite3.Connection) -> None:
    """Make the table in an empty file, and check that the file can be written.

    Raises:
        NotStoredError: the file has other tables, such as an outbox, or a table with other columns.
    """
    connection.execute("BEGIN IMMEDIATE")
    with closing(connection.execute("SELECT name, type FROM sqlite_master WHERE name NOT LIKE 'sqlite%'")) as rows:
        found = set(rows)
    if found and (TABLE, "table") not in found:
        raise NotStoredError(f"it is another database; {EXPECTED}")
    connection.execute(MAKE)
    with closing(connection.execute("SELECT name FROM pragma_table_info('webhook_logs')")) as rows:
        lacking = COLUMNS - {name for (name,) in rows}
    if lacking:
        raise NotStoredError(f"its table {TABLE} has no column {', '.join(sorted(lacking))}; {EXPECTED}")
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    connection.execute(f"PRAGMA user_version = {version}")  # all before it is possible in a file that is only readable
    connection.execute("COMMIT")


def _event_type(received: Received) -> str:
    """Return the name of the event, "batch" for several, "unknown" (as in the guide) if the body has none."""
    if len(received.messages) > 1:
        return "batch"
    name = received.message.get("event_type")
    start = name[: 4 * NAME_MAX] if isinstance(name, str) else ""  # each of its characters is looked at
    return in_line(printable(clean_text(start)), NAME_MAX) or "unknown"


def _payload(body: bytes) -> str | bytes:
    """Return a body as text, or as it is if it is not text."""
    try:
        return body.decode()
    except UnicodeDecodeError:
        return body
