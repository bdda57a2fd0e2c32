"""The session: statements in SQLite's words come in, are executed on a connection to PostgreSQL, and their rows go out.

Values are sent with their types: whole numbers as bigint, truth values as 0 or 1, texts as text. A NUL and a lone
surrogate, which PostgreSQL has not, become U+FFFD, in what is looked for as in what is stored.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import psycopg
from psycopg import adapt
from psycopg.pq import TransactionStatus
from psycopg.types.numeric import Int8Dumper
from psycopg.types.string import StrDumper

from sfwebhooks.events import REPLACED, clean_text, mask_of
from sfwebhooks.outbox.postgres.dialect import translated
from sfwebhooks.outbox.postgres.patience import PatientConnection
from sfwebhooks.outbox.rows import ENDPOINTS


class BoolDumper(adapt.Dumper):
    """Sends a truth value as a whole number."""

    oid = psycopg.adapters.types["int8"].oid

    def dump(self, obj: Any) -> bytes:
        """Return it as text."""
        return b"1" if obj else b"0"


class NumericLoader(adapt.Loader):
    """Reads a number with any digits, such as a sum."""

    def load(self, data: Any) -> float | int:
        """Return it as an int or a float."""
        text = bytes(data).decode()
        return float(text) if not text.lstrip("-").isdigit() else int(text)


class Answer(psycopg.RawCursor[Any]):
    """The result of a statement."""

    @property
    def rowcount(self) -> int:
        """Number of changed rows; 0 also if there was nothing to execute."""
        return max(super().rowcount, 0)

    @property
    def lastrowid(self) -> int | None:
        """Number of the row that was added."""
        row = self.fetchone()
        return row[0] if row else None


class ServerSession:
    """A connection as the parts of an outbox use it."""

    def __init__(self, connection: PatientConnection) -> None:
        self.connection = connection
        connection.cursor_factory = Answer
        for kind, dumper in ((int, Int8Dumper), (bool, BoolDumper), (str, StrDumper)):
            connection.adapters.register_dumper(kind, dumper)
        connection.adapters.register_loader("numeric", NumericLoader)
        #: ids of scans that have a row
        self.scans: set[str] = set()
        #: the endpoints whose masks the server has
        self._masked: frozenset[str] = frozenset()
        #: whether results were written: the answer to the last commit of the session before may have been lost
        self.has_settled = False

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open, also one that has failed."""
        return self.connection.info.transaction_status is not TransactionStatus.IDLE

    def roll_back(self) -> None:
        """Roll back a transaction, if one is open, and forget what was done in it."""
        self.scans.clear()
        self._masked, self.has_settled = frozenset(), False
        if not self.connection.closed and self.in_transaction:
            with suppress(psycopg.Error, OSError):
                self.connection.execute(b"ROLLBACK")

    @property
    def is_interrupted(self) -> bool:
        """Whether a statement was left before its end, as by Ctrl-C: nothing else can be executed."""
        return self.connection.info.transaction_status is TransactionStatus.ACTIVE

    def execute(self, text: str, values: Any = (), /) -> Answer:
        """Execute a statement."""
        statement = translated(text)
        if statement.asks_keys:
            self._give_masks()
        cursor = Answer(self.connection)
        given = statement.values(values)
        try:
            cursor.execute(statement.text, given)
        except (psycopg.DataError, UnicodeEncodeError) as error:
            if getattr(error, "sqlstate", None):  # the server's; else nothing was sent
                raise
            cursor.execute(statement.text, storable(given))
        return cursor

    def executemany(self, text: str, rows: Iterable[Any], /) -> Answer:
        """Execute a statement for each of some rows, without waiting for each answer."""
        statement = translated(text)
        given = [statement.values(row) for row in rows]
        cursor = Answer(self.connection)
        if given:
            cursor.executemany(statement.text, [storable(row) for row in given])
        return cursor

    def _give_masks(self) -> None:
        """Give the server the bits by which ids of deliveries differ from those of their events."""
        names = frozenset(name for (name,) in self.connection.execute(ENDPOINTS.encode()))
        if names != self._masked:
            masks = json.dumps({name: f"{mask_of(name):032x}" for name in names})
            self.connection.execute(b"SELECT set_config('sfwebhooks.masks', $1, false)", (masks,))
            self._masked = names


def storable(values: Sequence[Any]) -> list[Any]:
    """Return values with texts that PostgreSQL can store."""
    return [_storable(one) if type(one) is str else one for one in values]


def _storable(text: str) -> str:
    return clean_text(text.replace("\0", REPLACED) if "\0" in text else text)
