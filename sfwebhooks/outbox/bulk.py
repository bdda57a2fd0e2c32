"""Bulk changes of the outbox: a function that finds rows and one that changes them come in, the number of changed rows
goes out.

They run in short transactions with pauses: SQLite has no queue for its lock, and a scan that waits for it must get it
within a second. Rows that no longer qualify when their turn comes are to be skipped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

from sfwebhooks.errors import OutboxBusyError
from sfwebhooks.outbox.database import Database, Sql
from sfwebhooks.outbox.selection import CHUNK

T = TypeVar("T")
#: how often a transaction waits for the lock, each time for BUSY_SECONDS
TRIES = 10
#: most seconds that a transaction should hold the lock; the number of rows in that time depends on the disk
HOLD_SECONDS = 0.1
#: rows of the first transaction
FIRST = 100
#: called with the number of rows that are done, and of all
Progress = Callable[[int, int], None]


def unseen(done: int, total: int) -> None:
    """Take the progress of a change that nobody watches."""


def change_in_chunks(
    database: Database,
    find: Callable[[Sql], Sequence[T]],
    change: Callable[[Sql, Sequence[T]], int],
    progress: Progress = unseen,
) -> int:
    """Change the found rows in short transactions with equally long pauses; return how many were changed.

    Args:
        progress: called after each transaction.
    """
    with database.reading() as sql:
        found, number = find(sql), database.number
    changed, done = 0, 0
    for rows, more in changes(database, number, found, change):
        changed, done = changed + more, done + rows
        progress(done, len(found))
    return changed


def changes(
    database: Database, number: int, rows: Iterable[T], change: Callable[[Sql, Sequence[T]], int]
) -> Iterator[tuple[int, int]]:
    """Change rows in short transactions with equally long pauses; yield the number of rows of each, and of changes.

    Args:
        number: of the database (`Database.number`); in another one nothing is changed.
        rows: read only as far as they are changed.
    """
    left, size, held = iter(rows), FIRST, 0.0
    while chunk := [*islice(left, size)]:
        time.sleep(held)
        changed, held = _transact(database, number, chunk, change)
        yield len(chunk), changed
        size = min(max(int(size * HOLD_SECONDS / max(held, 0.001)), 1), CHUNK)


def _transact(
    database: Database, number: int, chunk: Sequence[T], change: Callable[[Sql, Sequence[T]], int]
) -> tuple[int, float]:
    """Change a chunk in one transaction; return the number of changes, and the seconds that the outbox was locked.

    If the database is no longer the one with this number, the found rows are gone, and nothing is changed.
    """
    for tries in range(1, TRIES + 1):
        try:
            with database.writing() as sql:
                begin = time.monotonic()
                changed = change(sql, chunk) if database.number == number else 0
            return changed, time.monotonic() - begin
        except OutboxBusyError:
            if tries == TRIES:
                raise
    raise AssertionError("the last try returns or raises")
