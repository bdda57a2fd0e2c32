"""The source: an outbox file, retired or not, comes in, and its rows go out in an order that stays the same.

Damage that SQLite meets ends no transfer: what is behind it is looked for, and what cannot be read is named.
"""

from __future__ import annotations

import logging
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from sfwebhooks.errors import OutboxError
from sfwebhooks.outbox.file import CORRUPT
from sfwebhooks.outbox.moved import Mark, is_moved, read_mark
from sfwebhooks.outbox.opening import opened, replacing
from sfwebhooks.outbox.permissions import check_files, checked, refused
from sfwebhooks.outbox.schema import VERSION
from sfwebhooks.outbox.transfer.cleaning import Cleaner, Row, clean_event
from sfwebhooks.outbox.transfer.retiring import NAMES, PREFIX, finish_mark, reinstate
from sfwebhooks.outbox.transfer.tables import KEYS, STEPS, MovedTable, columns_of

log = logging.getLogger("spiderfoot.webhooks")
#: events and deliveries of a group, and bytes of its data after which it is large enough
GROUP_EVENTS, GROUP_DELIVERIES, GROUP_BYTES = 2000, 10_000, 8_000_000
#: we never give a larger number
LAST = 2**53
#: a number that none of them reaches, if damage hides the largest one
UNKNOWN = 2**40
#: numbers behind damage that are tried one by one
SKIPPED_MOST = 100_000
PLACE = "number > ? AND number <= ? ORDER BY number LIMIT ?"
#: the deliveries of some events, and their attempts, in their order
DELIVERIES = "FROM delivery its WHERE event > ? AND event <= ? ORDER BY number"
ATTEMPTS = """
    FROM delivery d CROSS JOIN delivery_attempt its ON its.number = d.number WHERE d.event > ? AND d.event <= ?
    ORDER BY its.id
"""
STATES, OPEN = "SELECT state, count(*) FROM delivery GROUP BY 1", "SELECT id FROM scan WHERE ended IS NULL"


class Group(NamedTuple):
    """Events with their deliveries, and with the attempts at these; their columns are those of the tables."""

    #: number of the last event
    last: int
    events: list[Row]
    deliveries: list[Row]
    attempts: list[Row]


class SourceFile:
    """The file.

    Raises:
        OutboxError: it is not an outbox, or belongs to another user.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            check_files(checked(path))
            self._connection = opened(checked(path))
            self._connection.text_factory = replacing
            self.mark: Mark | None = read_mark(self._connection) if is_moved(self._connection) else None
            if self.mark:
                for name in NAMES:
                    self._connection.execute(f"CREATE TEMP VIEW {name} AS SELECT * FROM {PREFIX}{name}")  # noqa: S608
            version = int(self._connection.execute("PRAGMA user_version").fetchone()[0])
        except sqlite3.DatabaseError as error:
            raise OutboxError(f"outbox {path} cannot be read: {error}") from error
        except OSError as error:
            raise refused(f"outbox {path}", path, error) from error
        if not self.mark and version != VERSION:
            raise OutboxError(f"outbox {path} has schema {version}; expected {VERSION}: it is not moved")
        #: what is damaged -> how many rows; what could not be read at all -> 0
        self.damage: Counter[str] = Counter()
        self._cleaners = {name: Cleaner(name) for name in NAMES}

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def finish(self) -> None:
        """Note that all of its rows are on the server."""
        finish_mark(self._connection)

    def reinstate(self) -> None:
        """Take it back into use."""
        for name in NAMES:
            self._connection.execute(f"DROP VIEW temp.{name}")
        reinstate(self._connection, checked(self.path))

    def count(self, table: str) -> int:
        """Return the number of a table's rows; 0 if they cannot be counted."""
        with suppress(sqlite3.DatabaseError):
            return int(self._connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608
        return 0

    def states(self) -> dict[str, int]:
        """Return state -> number of deliveries in it."""
        return {str(state): number for state, number in self._read(STATES)}

    def open_scans(self) -> list[str]:
        """Return the ids of the scans whose end is not reported."""
        return [id for (id,) in self._read(OPEN) if isinstance(id, str)]

    def largest(self, table: str) -> int:
        """Return the largest number of a row."""
        column = "id" if table == "delivery_attempt" else "number"
        query = f"SELECT max({column}) FROM {table} WHERE {column} <= {LAST}"  # noqa: S608
        return max((int(number or 0) for (number,) in self._read(query)), default=UNKNOWN)

    def keys(self, table: str) -> list[tuple[int, str | bytes]]:
        """Return number and key of each row of one of KEYS."""
        cleaner, place = self._cleaners[table], [column.name for column in columns_of(table)].index(KEYS[table])
        step = next(one for one in STEPS if one.table == table)
        return [(row[0], cleaner.clean(row)[0][place]) for row in self._read(step.select)]

    def rows(self, step: MovedTable, skip: int) -> Iterator[Row]:
        """Yield the rows of a table.

        Args:
            skip: number of rows that are not wanted any more.
        """
        for row in self._read(f"{step.select} LIMIT -1 OFFSET ?", (skip,), step.table):
            yield self._cleaned(step.table, row)

    def groups(self, after: int) -> Iterator[Group]:
        """Yield the events behind a number (0: all), with all that belongs to them."""
        ratio = self.largest("delivery") // max(self.largest("event"), 1)
        most = max(1, min(GROUP_EVENTS, GROUP_DELIVERIES // max(ratio, 1)))
        while True:
            events, size = list[Row](), 0
            for row in self._events(after, most):
                event, is_damaged = clean_event(row, self._cleaners["event"])
                if is_damaged:
                    self.damage["event: no message can be built from it"] += 1
                events.append(event)
                size += len(event[-1])
                if size > GROUP_BYTES:
                    break
            last = events[-1][0] if events else LAST  # behind the last event there may be deliveries without one
            yield self._group(events, after, last)
            if not events:
                return
            after = last

    def _group(self, events: list[Row], after: int, last: int) -> Group:
        known = {event[0] for event in events}
        found = self._belonging("delivery", DELIVERIES, (after, last))
        deliveries = [row for row in found if row[1] in known]
        if len(deliveries) < len(found):
            self.damage["delivery: without its event, which is lost; not moved"] += len(found) - len(deliveries)
        theirs = {row[0] for row in deliveries}
        attempts = self._belonging("delivery_attempt", ATTEMPTS, (after, last)) if deliveries else []
        return Group(last, events, deliveries, [row for row in attempts if row[1] in theirs])

    def _belonging(self, table: str, rest: str, place: tuple[int, int]) -> list[Row]:
        """Return the rows of a table that belong to some events; event by event where SQLite meets damage."""
        names = ", ".join(f"its.{column.name}" for column in columns_of(table))
        query = f"SELECT {names} {rest}"
        try:
            rows = self._connection.execute(query, place).fetchall()
        except sqlite3.DatabaseError as error:
            rows = []
            self._demand_damage(error)
            for (number,) in [*self._read(f"SELECT number FROM event WHERE {PLACE}", (*place, -1))]:  # noqa: S608
                try:
                    rows += self._connection.execute(query, (number - 1, number)).fetchall()
                except sqlite3.DatabaseError:
                    self.damage[f"{table}: those of an event cannot be read ({error})"] += 1
        return [self._cleaned(table, row) for row in rows]

    def _events(self, after: int, most: int) -> Iterator[Row]:
        """Yield the next events; those before the place where SQLite meets damage, or behind it."""
        names = ", ".join(column.name for column in columns_of("event"))
        query, found, skipped = f"SELECT {names} FROM event WHERE {PLACE}", 0, 0  # noqa: S608
        while after + skipped < LAST:
            try:
                for row in self._connection.execute(query, (after + skipped, LAST, most)):
                    found += 1
                    yield row
            except sqlite3.DatabaseError as error:
                self._demand_damage(error)
                if not found:
                    self.damage[f"event: some behind number {after} cannot be read ({error})"] += 0
                    skipped = skipped + 1 if skipped < SKIPPED_MOST else 2 * skipped
                    continue
            return

    def _cleaned(self, table: str, row: Row) -> Row:
        cleaned, is_damaged = self._cleaners[table].clean(row)
        if is_damaged:
            self.damage[f"{table}: values of another type"] += 1
        return cleaned

    def _read(self, query: str, values: Row = (), table: str = "file") -> Iterator[Row]:
        """Yield the rows of a query until SQLite meets damage."""
        try:
            yield from self._connection.execute(query, values)
        except sqlite3.DatabaseError as error:
            self._demand_damage(error)
            self.damage[f"{table}: a part cannot be read ({error})"] += 0

    def _demand_damage(self, error: sqlite3.DatabaseError) -> None:
        """Check that an error is about damage.

        Raises:
            OutboxError: it is about something else.
        """
        if not any(word in str(error).lower() for word in CORRUPT):
            raise OutboxError(f"outbox {self.path} cannot be read: {error}") from error
