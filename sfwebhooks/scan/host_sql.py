"""The few words in which the two databases differ, side by side; `host_database` has the statements."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Callable

from sfwebhooks.enrichment.cves import TEXT_MAX

#: reads the rows of a statement; its values take the places of question marks
Read = Callable[..., Iterator[tuple[Any, ...]]]


@dataclass(frozen=True)
class Dialect:
    """Literals of one database's SQL."""

    #: what a scan's findings are ordered by, as they were created
    order: str
    #: what the rows of another table are ordered by, as they were created, with a place for the table's name
    created: str
    #: the beginning of a finding's data, in which its CVEs are; four bytes are the most that a character has
    head: str
    #: whether there is a table
    has_table: str


SQLITE = Dialect(
    order="rowid",
    created="{}.rowid",
    head=f"substr(CAST(data AS BLOB), 1, {4 * TEXT_MAX})",
    has_table="SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?",
)
POSTGRES = Dialect(
    order="generated, ctid",  # it moves a row that is marked as false positive
    created="{}.ctid",
    head=f"substr(data, 1, {TEXT_MAX})",
    has_table="SELECT 1 WHERE to_regclass(?) IS NOT NULL",
)
