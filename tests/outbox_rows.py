"""The rows of an outbox as a test wants to see them: ids as text."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from sfwebhooks.events import delivery_id, id_of_key

#: tables of the outbox in this form; only for reading
VIEWS = (
    "CREATE TEMP VIEW event AS SELECT number, id_of(id) id, scan, type, severity, special, at, data,"
    " coalesce((SELECT id FROM scan WHERE number = scan), '') scan_id FROM main.event",
    "CREATE TEMP VIEW delivery AS SELECT delivery_id((SELECT id FROM event WHERE number = d.event), d.endpoint) id, d.*"
    " FROM main.delivery d",
)


def rows_of(path: Path, query: str, *values: object) -> list[tuple[Any, ...]]:
    """Return the rows of a statement at an outbox's file; for a SELECT, ids are texts."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.create_function("id_of", 1, id_of_key)
        connection.create_function("delivery_id", 2, delivery_id)
        for view in VIEWS if query.startswith("SELECT") else ():
            connection.execute(view)
        return connection.execute(query, values).fetchall()
