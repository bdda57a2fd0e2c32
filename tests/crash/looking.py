"""A look at the rows of an outbox while other processes use it, or after they have ended."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import cached_property
from typing import Any

from sfwebhooks.outbox.postgres.dsn import SCHEMA, Dsn, Place


class Look:
    """Reads an outbox, and leaves everything as it is.

    Args:
        place: of an outbox that there is.
    """

    def __init__(self, place: Place) -> None:
        self._place = place

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a statement that both stores understand."""
        if isinstance(self._place, Dsn):
            return list(self._connection.execute(query.encode()).fetchall())
        # read-only, since a connection that may write would leave no log for the next process to recover
        with closing(sqlite3.connect(f"file:{self._place}?mode=ro", uri=True)) as connection:
            return connection.execute(query).fetchall()

    def count(self, rows: str) -> int:
        """Return the number of rows of a table, or of what a table and a condition select."""
        return int(self.rows(f"SELECT count(*) FROM {rows}")[0][0])

    @cached_property
    def _connection(self) -> Any:
        import psycopg

        assert isinstance(self._place, Dsn)
        return psycopg.connect(self._place.text, autocommit=True, options=f"-c search_path={SCHEMA}")

    def close(self) -> None:
        """End the connection to a server."""
        if "_connection" in self.__dict__:
            self._connection.close()
            del self._connection
