"""The mark of an outbox file whose rows were moved to a server (`transfer`), or are being moved: a connection comes in,
and what the operator has to know goes out.

Such a file has its tables under other names. A process that opens it reads its version, and one that had it open before
finds no table.
"""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from typing import NamedTuple

#: version of the schema in such a file
MOVED = -1
SELECT = "SELECT id, reference, target, done_at FROM moved"


class Mark(NamedTuple):
    """What such a file says of its rows."""

    #: of the transfer, which the server knows too
    id: str
    #: where the address of the server is: env:NAME or file:PATH
    reference: str
    #: the server and its database, without secrets
    target: str
    #: epoch seconds; None: not all rows are there yet
    done_at: float | None


def is_moved(connection: sqlite3.Connection) -> bool:
    """Return whether a file has a mark."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0]) == MOVED


def read_mark(connection: sqlite3.Connection) -> Mark | None:
    """Return the mark of a file; None: it has none, or it cannot be read."""
    with suppress(sqlite3.DatabaseError):
        row = connection.execute(SELECT).fetchone()
        return Mark(*row) if row else None
    return None


def words_of_mark(connection: sqlite3.Connection) -> str:
    """Return what has become of a file with a mark, and what helps."""
    mark = read_mark(connection)
    if mark is None:
        return "was moved to a server, and does not say to which one: restore a backup"
    if mark.done_at is None:
        command = f"sfwebhooks move-outbox {mark.reference}"
        return f"is being moved to {mark.target}, and is not used meanwhile: run {command} until it has completed"
    return f"was moved to {mark.target}: set outbox = {mark.reference} in [webhooks]"
