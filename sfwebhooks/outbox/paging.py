"""Pages of a listing: a Selection and the place where the page before ended come in, a RecordPage goes out; or
how many there are of each reason.

All pages cost the same: each begins at its place in an index, and looks at no more than ROWS rows. So a page of what is
rare may have few deliveries, or none, and still a next one. Deliveries that come and go meanwhile move no others to
another page: the place is that of a row, whether it is still there or not.
"""

from __future__ import annotations

import base64
import binascii
import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any, NamedTuple

from sfwebhooks.errors import OutboxError, SelectionError
from sfwebhooks.outbox.database import Database, Sql
from sfwebhooks.outbox.listing import BEGINNING, EVENTS_BEGINNING
from sfwebhooks.outbox.records import Record, id_in, record_in, rows_at
from sfwebhooks.outbox.rows import as_text
from sfwebhooks.outbox.selection import ITS_SCAN, Selection
from sfwebhooks.retry import State

#: most rows that are looked at for a page, and by how much fewer they are with filters that read more of each, and of
#: dead letters, whose rows are not together
ROWS = 100_000
COSTS = {"type": 2, "scan": 4, "text": 4}
COST_OF_DEAD = 4
#: most deliveries of a scan that are sorted for a page
SCAN_ROWS = 10_000
#: most characters of an id that a damaged row has
DAMAGED_ID = 100
#: least characters of an id's beginning that are taken for one, and most deliveries with it
ID_LEAST, ID_MOST = 8, 1000
ID = frozenset("0123456789abcdef-")
#: number and time of the last row, the order, and the check of them
CURSOR = struct.Struct(">qdc8s")
#: the columns of `delivery` that filters read
COLUMNS = "number, event, endpoint, name, state, reason, accepted_at, settled_at"
#: the last settled first, as one that dies is new there
DEAD = "d.state <> 'waiting' AND d.state = 'dead'"


@dataclass(frozen=True)
class RecordPage:
    """Some deliveries of a listing."""

    records: Sequence[Record]
    #: ids of those whose rows are damaged
    damaged: Sequence[str]
    #: where the next page begins, only to be given back; empty: this is the last one
    next: str


@dataclass(frozen=True)
class DeadLetters:
    """Those of an endpoint that died for the same reason."""

    endpoint: str
    reason: str
    number: int
    #: epoch seconds at which the last one died
    last_at: float


class PageEnd(NamedTuple):
    """Where a page ends: after a row that it has, or that was the last one looked at."""

    number: int
    #: epoch seconds; 0.0 in the order of acceptance
    settled_at: float = 0.0


class Paging:
    """Lists deliveries page by page. All methods raise OutboxError, as those of `Outbox` do.

    Args:
        rows: most rows that are looked at for a page.
    """

    def __init__(self, database: Database, rows: int = ROWS) -> None:
        self._database = database
        self._rows = rows

    def page(self, selection: Selection, limit: int, cursor: str = "") -> RecordPage:
        """Return a page: the last accepted deliveries first, of dead letters the last that died.

        Args:
            limit: most deliveries in it.
            cursor: `next` of the page before; empty: the first page.

        Raises:
            SelectionError: the cursor is not from a page of this outbox in this order.
        """
        with self._database.reading() as sql:
            query = _Query(sql, selection, self._rows)
            place = _read(sql, cursor, query.order) if cursor else PageEnd(2**63 - 1, math.inf)
            found, following = query.after(place, limit)
            rows = rows_at(sql, [one.number for one in found], query.order_by)
            after = _written(sql, following, query.order) if following else ""
        return RecordPage(*_records(rows), after)

    def dead_letters(self, selection: Selection) -> list[DeadLetters]:
        """Return how many of the selected dead letters each endpoint has for each reason, most first. Counts the rows:
        not for a hot path."""
        its = f"{as_text('d.endpoint')}, {as_text('d.reason')}, count(*), coalesce(max(d.settled_at + 0.0), 0.0)"
        query = f"SELECT {its} FROM {selection.source} WHERE {selection.where} GROUP BY d.endpoint, d.reason"
        with self._database.reading() as sql:
            found = [DeadLetters(*row) for row in sql.execute(query, selection.values)]
        return sorted(found, key=lambda one: (-one.number, one.endpoint, one.reason))


def _records(rows: Sequence[Sequence[Any]]) -> tuple[list[Record], list[str]]:
    records, damaged = list[Record](), list[str]()
    for row in rows:
        try:
            records.append(record_in(row))
        except OutboxError:
            damaged.append(id_in(row)[:DAMAGED_ID])
    return records, damaged


class _Query:
    """A selection's rows in the order of its pages."""

    def __init__(self, sql: Sql, selection: Selection, rows: int) -> None:
        self._sql = sql
        self._selection = selection
        self._where, self._values = selection.where, selection.values
        self._is_of_dead = selection.states == (State.DEAD,)
        cost = math.prod(COSTS.get(name, 1) for name in self._values) * (COST_OF_DEAD if self._is_of_dead else 1)
        self._rows = max(rows // cost, 1)
        self.order = b"d" if self._is_of_dead else b"n"
        self._select = f"SELECT d.number, {'d.settled_at' if self._is_of_dead else '0.0'}"
        self.order_by = "d.settled_at DESC, d.number DESC" if self._is_of_dead else "d.number DESC"

    def after(self, place: PageEnd, limit: int) -> tuple[list[PageEnd], PageEnd | None]:
        """Return the places of the next rows, and where they end; None: at the last row."""
        ids = self._ids()
        if ids or self._is_small_scan():
            found = self._sorted(place, limit, ids)
            return found[:limit], found[limit - 1] if len(found) > limit else None
        return self._in_order(place, limit)

    def _ids(self) -> str:
        """Return the numbers of the deliveries with an id, or of an event with an id, that begins with the text."""
        text = self._selection.text
        if len(text) < ID_LEAST or not ID.issuperset(text):
            return ""
        numbers = [
            number for query in (BEGINNING, EVENTS_BEGINNING)
            for (number,) in self._sql.execute(f"{query} LIMIT {ID_MOST}", (text,))
        ]  # fmt: skip
        return ", ".join(map(str, numbers))

    def _is_small_scan(self) -> bool:
        """Return whether the rows are those of a scan with few of them: the deliveries of one are not together."""
        if not self._selection.scan:
            return False
        its = f"SELECT 1 FROM event e CROSS JOIN delivery d ON d.event = e.number WHERE e.scan = {ITS_SCAN}"
        query = f"SELECT count(*) FROM ({its} LIMIT {SCAN_ROWS + 1}) its"
        return bool(self._sql.execute(query, self._values).fetchone()[0] <= SCAN_ROWS)

    def _sorted(self, place: PageEnd, limit: int, ids: str) -> list[PageEnd]:
        """Return up to one more than the next places of few rows.

        Args:
            ids: numbers of the only rows; empty: those of a scan.
        """
        source = "delivery d CROSS JOIN event e ON e.number = d.event" if ids else (
            "event e CROSS JOIN delivery d ON d.event = e.number")  # fmt: skip
        where = f"{replace(self._selection, text='').where} AND d.number IN ({ids})" if ids else self._where
        begin = "(d.settled_at, d.number) < (:at, :number)" if self._is_of_dead else "d.number < :number"
        query = f"{self._select} FROM {source} WHERE {where} AND {begin}"
        return self._places(f"{query} ORDER BY {self.order_by} LIMIT {limit + 1}", place)

    def _in_order(self, place: PageEnd, limit: int) -> tuple[list[PageEnd], PageEnd | None]:
        """Return the next places among the next rows of the index, and where these end."""
        found: list[PageEnd] = []
        join = "CROSS JOIN event e ON e.number = d.event" if self._selection.scan else ""
        left = self._rows
        for begin, order in self._ranges(place):
            its = f"FROM delivery d WHERE {begin}"
            rows = f"{its} ORDER BY {order}"
            # its LIMIT keeps the order, and the statement ends with the last row that is wanted
            source = f"(SELECT {COLUMNS} {rows} LIMIT {left}) d {join}"
            query = f"{self._select} FROM {source} WHERE {self._where} LIMIT {limit + 1 - len(found)}"
            found += self._places(query, place)
            if len(found) > limit:
                return found[:limit], found[limit - 1]
            last = self._places(f"{self._select} {rows} LIMIT 1 OFFSET {left - 1}", place)
            if last:
                return found, last[0]
            left -= self._sql.execute(f"SELECT count(*) {its}", self._given(place)).fetchone()[0]
        return found, None

    def _ranges(self, place: PageEnd) -> Iterator[tuple[str, str]]:
        """Yield the ranges of rows after a place, each with its order; many can have died at the same time."""
        if not self._is_of_dead:
            yield "d.number < :number", "d.number DESC"
            return
        yield f"{DEAD} AND d.settled_at = :at AND d.number < :number", "d.number DESC"
        yield f"{DEAD} AND d.settled_at < :at", self.order_by

    def _places(self, query: str, place: PageEnd) -> list[PageEnd]:
        return [PageEnd(*row) for row in self._sql.execute(query, self._given(place))]

    def _given(self, place: PageEnd) -> dict[str, Any]:
        return {**self._values, "number": place.number, "at": place.settled_at}


def _check(sql: Sql, place: PageEnd, order: bytes) -> bytes:
    """Return the check of a cursor, which is of this outbox only."""
    series = sql.execute("SELECT name FROM series ORDER BY number DESC LIMIT 1").fetchone()
    key = str(series and series[0]).encode("utf-8", "replace")[: blake2b.MAX_KEY_SIZE]
    return blake2b(struct.pack(">qdc", *place, order), digest_size=8, key=key).digest()


def _written(sql: Sql, place: PageEnd, order: bytes) -> str:
    """Return the cursor of a place."""
    whole = CURSOR.pack(*place, order, _check(sql, place, order))
    return base64.urlsafe_b64encode(whole).decode().rstrip("=")


def _read(sql: Sql, cursor: str, order: bytes) -> PageEnd:
    """Return the place of a cursor.

    Raises:
        SelectionError: it is not one of ours.
    """
    try:
        number, at, its, check = CURSOR.unpack(base64.b64decode(f"{cursor}==", b"-_", validate=True))
    except (ValueError, binascii.Error, struct.error):
        its, check = b"", b""
    place = PageEnd(number, at) if its == order else None
    if place is None or check != _check(sql, place, order):
        raise SelectionError(
            "cursor is not the next of a page of this outbox with these filters: begin again without cursor"
        )
    return place
