"""Rows as PostgreSQL takes them: a row of an outbox file comes in, with any values if it is damaged; one with values of
the types of its columns goes out, and the line of it for COPY.

What can be read of a damaged value stays. A damaged event gets a severity that does not exist, so
that it is still one and no message is built from it (`rows.deliveries`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from sfwebhooks.events import REPLACED
from sfwebhooks.outbox.rows import NO_KEY, SEVERITIES
from sfwebhooks.outbox.transfer.tables import Column, columns_of

TYPES: dict[str, type] = {"INTEGER": int, "REAL": float, "TEXT": str, "BLOB": bytes}
#: the severity of a damaged event
NO_SEVERITY = -1
#: what has a meaning for COPY in a text (postgresql.org/docs/current/sql-copy.html), the backslash first
ESCAPES = (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r"), ("\0", REPLACED))
Row = tuple[Any, ...]


class Cleaner:
    """Corrects the rows of a table.

    Args:
        columns: of the rows, if they have others than the table.
    """

    def __init__(self, table: str, columns: Sequence[Column] = ()) -> None:
        self._columns = columns or columns_of(table)
        #: the types of rows that are as we wrote them
        self._known: set[tuple[type, ...]] = set()

    def clean(self, row: Row) -> tuple[Row, bool]:
        """Return a row with values that its columns can have, and whether it was damaged."""
        types = tuple(map(type, row))
        if types in self._known:
            return row, False
        wrong = [
            not (kind is TYPES[column.kind] or (value is None and column.is_nullable))
            for column, kind, value in zip(self._columns, types, row)
        ]
        if not any(wrong):
            self._known.add(types)
            return row, False
        return tuple(_corrected(value, column) for value, column in zip(row, self._columns)), True


def clean_event(row: Row, cleaner: Cleaner) -> tuple[Row, bool]:
    """Return the row of an event: number, scan, id, type, severity and others."""
    row, is_damaged = cleaner.clean(row)
    number, scan, key, kind, severity, *rest = row
    is_damaged |= len(key) != len(NO_KEY) or severity not in SEVERITIES
    if not is_damaged:
        return row, False
    key = key if len(key) == len(NO_KEY) else number.to_bytes(len(NO_KEY), "big")
    return (number, scan, key, kind, NO_SEVERITY, *rest), True


def copy_line(row: Row) -> str:
    """Return the line of a row for COPY."""
    return "\t".join([WRITERS[type(value)](value) for value in row]) + "\n"


def _text(value: str) -> str:
    for character, escaped in ESCAPES:
        if character in value:
            value = value.replace(character, escaped)
    return value


WRITERS: dict[type, Callable[[Any], str]] = {
    str: _text,
    int: repr,
    float: repr,
    bytes: lambda value: f"\\\\x{value.hex()}",
    type(None): lambda value: "\\N",
}


def _corrected(value: object, column: Column) -> object:
    """Return a value of a column's type that is as near to a value as can be."""
    if type(value) is TYPES[column.kind] or (value is None and column.is_nullable):
        return value
    if column.kind == "TEXT":
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else "" if value is None else str(value)
    if column.kind == "BLOB":
        return value.encode("utf-8", "replace") if isinstance(value, str) else b""
    try:
        number = float(value)  # type: ignore[arg-type]  # None and bytes raise too
    except (TypeError, ValueError):
        return None if column.is_nullable else TYPES[column.kind](0)
    if column.kind == "REAL":
        return number
    return int(number) if math.isfinite(number) and abs(number) < 2**53 else 0
