"""The Database: what the parts of an outbox ask of the place of its rows, a file of SQLite (`file`) or a PostgreSQL
server (`postgres/server`).

Statements are written in SQLite's words, as far as PostgreSQL has them too; `postgres/dialect` translates the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from sfwebhooks.events import WebhookEvent
from sfwebhooks.screening import Wanted


class Fetched(Protocol):
    """The result of a statement."""

    @property
    def rowcount(self) -> int:
        """Number of changed rows."""

    @property
    def lastrowid(self) -> int | None:
        """Number of the row that an INSERT into `event` or `series` has added."""

    def fetchone(self) -> Any: ...
    def fetchall(self) -> list[Any]: ...
    def __iter__(self) -> Iterator[Any]: ...


class Sql(Protocol):
    """What executes statements."""

    @property
    def in_transaction(self) -> bool: ...

    def execute(self, sql: str, parameters: Any = ..., /) -> Fetched: ...
    def executemany(self, sql: str, parameters: Iterable[Any], /) -> Fetched: ...


class StoreLock(Protocol):
    """A lock between all processes that use the outbox; `Lock` in `locks` documents it."""

    @property
    def held(self) -> bool: ...
    @property
    def changed_hands(self) -> bool:
        """Whether another process had it between the last two times that this holder took it."""

    @property
    def is_free(self) -> bool: ...
    def take(self) -> bool: ...
    def check(self) -> None: ...
    def note(self, text: str) -> None: ...
    def noted(self) -> str: ...
    def noted_here(self) -> str:
        """Return the note of the last holder on this machine."""

    @property
    def machine(self) -> str:
        """Name of the machine of the last holder; empty: this one."""

    def want(self) -> None: ...
    @property
    def is_wanted(self) -> bool: ...
    def release(self, remove: bool = False) -> None: ...


class Senders(NamedTuple):
    """The processes that share out an outbox's URLs."""

    number: int
    #: ids of the URLs that any of them has
    urls: frozenset[str]


ALONE = Senders(1, frozenset())


class LocksPart(Protocol):
    """The locks of an outbox; `FileLocks` in `locks` documents them."""

    @property
    def are_readable(self) -> bool: ...
    @property
    def notes_are_late(self) -> bool:
        """Whether a note may be older, by a few seconds, than what its holder did last."""

    @property
    def check_fence(self) -> Callable[[Sql, Iterable[str]], None] | None:
        """What checks within a write transaction that no other process has taken over endpoints, and raises FencedError
        if one has; None: a holder always knows."""

    def senders(self) -> Senders: ...
    def may_be_alive(self, scan_id: str) -> bool:
        """Return whether a scan may be running although its lock is free: its process may have lost it and be about to
        take it again."""

    def vouch(self, scan_id: str, seconds: float) -> None:
        """Let a scan count as running for some seconds from now, although nobody holds its lock."""

    def scan(self, scan_id: str) -> StoreLock: ...
    def endpoint(self, name: str) -> StoreLock: ...
    def url(self, url_id: str) -> StoreLock: ...


#: an event with its row (`rows.row_of`) and its receivers
EventRow = tuple[WebhookEvent, tuple[Any, ...], Sequence[Wanted]]


class InsertGroup(Protocol):
    """Inserts events and their deliveries, marked as backfilled or not; returns the number of new deliveries."""

    def __call__(self, sql: Any, items: Sequence[EventRow], now: float, backfilled: bool) -> int: ...


class SettleGroup(Protocol):
    """Writes results (`results.Item`), and forgets which batches were in flight."""

    def __call__(self, sql: Any, items: Sequence[Any], batches: Sequence[str]) -> None: ...


class Whole(NamedTuple):
    """What becomes of old deliveries."""

    #: number of those that were dropped together
    dropped: int
    #: SQL conditions of those (d) that are to be deleted one by one
    others: Sequence[str]


class Database(Protocol):
    """The place of the rows. All methods raise OutboxError."""

    path: Path
    #: the same in words, for logs and errors
    where: str

    @property
    def locks(self) -> LocksPart:
        """Who sends, and which scans run."""

    #: size in bytes from which on events are refused
    max_bytes: int
    #: number of the databases so far: another one has other rows
    number: int
    #: inserts the events of a group with their deliveries at its end; None: each is inserted at once
    insert_group: InsertGroup | None
    #: writes the results of a group in one statement; None: one after the other
    settle_group: SettleGroup | None
    #: number of deliveries to which the high-water mark was raised
    marked: int

    def reading(self) -> AbstractContextManager[Sql]:
        """Lend the connection to one thread."""

    def writing(self) -> AbstractContextManager[Sql]:
        """Open a write transaction, one at a time among all processes; commit it at the end, or roll it back if
        anything raises."""

    def sparing(self) -> AbstractContextManager[None]: ...
    def raise_mark(self, sql: Sql, rows: int) -> None: ...
    def fullness_in(self, sql: Sql) -> float: ...
    def generation(self) -> int: ...
    def look(self) -> None: ...
    def is_changed(self) -> bool: ...
    def check(self) -> None: ...
    def checkpoint(self) -> None: ...
    def fullness(self) -> float: ...
    def rewrite(self) -> None:
        """Remove what is left of deleted rows.

        Raises:
            DiskFullError: there is no room for it.
            DamagedError: damage prevents it.
        """

    def drop_delivered(self, before: float, keep: float) -> Whole:
        """Drop what was delivered before a time as far as that is possible without deleting single rows.

        Args:
            before: epoch seconds.
            keep: seconds for which deliveries are kept.
        """

    def empty_log(self) -> bool: ...
    def close(self) -> None: ...
