"""Queries on the outbox for the commands: a Selection comes in; Records, attempts or counts go out.

`outbox` is the same outbox for scans and senders; `retention` changes it for operators and by age.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NewType

from sfwebhooks.attempts import Attempt
from sfwebhooks.errors import OutboxError, SelectionError
from sfwebhooks.events import Delivery, printable
from sfwebhooks.outbox.claim import IN_PARTS, PARTED
from sfwebhooks.outbox.database import Database
from sfwebhooks.outbox.records import ATTEMPT, SELECT_RECORD, Record, id_in, record_in, rows_at
from sfwebhooks.outbox.rows import (
    ENDPOINTS,
    EVERY,
    FRESH,
    ITS_SCANS,
    LATE,
    PROBED,
    as_text,
    deliveries,
    numbers_by_ids,
    parts,
)
from sfwebhooks.outbox.selection import CHUNK, OVER, Selection, numbers_of
from sfwebhooks.retry import State

log = logging.getLogger("spiderfoot.webhooks")

#: a place in the delivery log, only to be given back
Cursor = NewType("Cursor", int)
#: least characters of an id's prefix that can identify it
PREFIX_LEAST = 4
#: ids shown if several have the same prefix
ALIKE = 10
#: attempts among which the last one of an endpoint is sought
RECENT = 10_000
#: results among which the last success and the last failure of each endpoint are sought
RESULTS = 100_000
#: the numbers of the deliveries whose id, or whose event's id, begins with a text (?1)
BEGINNING = f"""
    {ITS_SCANS} SELECT d.number FROM its
    CROSS JOIN (  -- LIMIT: made once, not for each scan
        SELECT endpoint, event_key_of(?1, endpoint, '0') AS first, event_key_of(?1, endpoint, 'f') AS last
        FROM ({ENDPOINTS}) its LIMIT {EVERY}
    ) k
    CROSS JOIN event e ON e.scan = its.scan AND e.id BETWEEN k.first AND k.last
    CROSS JOIN delivery d ON d.event = e.number AND d.endpoint = k.endpoint
"""
EVENTS_BEGINNING = f"""
    {ITS_SCANS} SELECT d.number FROM its
    CROSS JOIN (SELECT event_key_of(?1, NULL, '0') AS first, event_key_of(?1, NULL, 'f') AS last LIMIT 1) k
    CROSS JOIN event e ON e.scan = its.scan AND e.id BETWEEN k.first AND k.last
    CROSS JOIN delivery d ON d.event = e.number
"""
#: the last deliveries, in the order of an index, and the last failures; a format may have its own word for a success
DELIVERED = """
    SELECT endpoint, settled_at + 0.0 FROM delivery WHERE state <> 'waiting' AND state = 'delivered'
    ORDER BY settled_at DESC LIMIT ?
"""
FAILED = f"""
    SELECT d.endpoint, {ATTEMPT}
    FROM delivery_attempt a CROSS JOIN delivery d ON d.number = a.number
    WHERE a.id > (SELECT max(id) FROM delivery_attempt) - ? AND NOT glob('http_2[0-9][0-9]', a.reason)
          AND NOT (d.state = 'delivered' AND d.reason = a.reason)
    ORDER BY a.id DESC
"""
#: acceptance of the first fresh deliveries, which are nearly in order
FIRST = f"{parts()} SELECT accepted_at AS at {IN_PARTS} LIMIT 256"
#: acceptance of the oldest waiting delivery
OLDEST = f"""
    SELECT min(at) + 0.0 FROM (
        SELECT * FROM ({FIRST}) new
        UNION ALL SELECT min(accepted_at) FROM delivery WHERE endpoint = ?1 AND {PROBED}
        UNION ALL SELECT min(accepted_at) FROM delivery WHERE endpoint = ?1 AND {LATE}
    ) its
"""


@dataclass(frozen=True)
class Backlog:
    """The waiting deliveries of an endpoint."""

    waiting: int = 0
    #: number of them that were refused at least once
    refused: int = 0
    #: epoch seconds at which the oldest one was accepted; None: none is waiting
    oldest_at: float | None = None
    #: epoch seconds at which the first one is due
    due_at: float | None = None


@dataclass(frozen=True)
class LastResults:
    """The last results of an endpoint, if they are among the last of all."""

    #: epoch seconds of its last success
    delivered_at: float | None = None
    #: its last attempt that failed
    failed: Attempt | None = None


class Listing:
    """What the commands show. All methods raise OutboxError or OutboxBusyError, as those of `Outbox` do."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def deliveries(self, selection: Selection, limit: int, also: str = "true") -> list[Record]:
        """Return deliveries, the latest accepted first; a damaged row is logged instead.

        Args:
            also: SQL of one more condition.
        """
        found: list[Record] = []
        for row in self._rows(selection, limit, also):
            try:
                found.append(record_in(row))
            except OutboxError as error:
                log.warning("webhooks: %s", error)
        return found

    def ids(self, selection: Selection, limit: int) -> list[str]:
        """Return the ids of deliveries, the latest accepted first, even of damaged rows."""
        return [id_in(row) for row in self._rows(selection, limit)]

    def _rows(self, selection: Selection, limit: int, also: str = "true") -> list[Sequence[Any]]:
        """Return rows of SELECT_RECORD, the latest accepted first."""
        with self._database.reading() as sql:
            return rows_at(sql, numbers_of(sql, selection, also, "d.number DESC", limit))

    def others_of(self, record: Record) -> int:
        """Return how many other deliveries were in the last request of a delivery."""
        if not record.batch:
            return 0
        query = "SELECT count(*) FROM delivery WHERE batch = ? AND batch IS NOT NULL AND endpoint = ?"
        with self._database.reading() as sql:
            return max(int(sql.execute(query, (record.batch, record.endpoint)).fetchone()[0]) - 1, 0)

    def endpoints(self) -> list[str]:
        """Return the names of all endpoints for which anything was ever accepted."""
        with self._database.reading() as sql:
            return [name for (name,) in sql.execute(f"{ENDPOINTS} ORDER BY 1") if isinstance(name, str)]

    def knows(self, scan_id: str) -> bool:
        """Return whether the outbox has or had anything of a scan."""
        query = (
            "SELECT 1 FROM scan WHERE id = ?1 UNION ALL SELECT 1 FROM sequence WHERE scan_id = ?1"
            " UNION ALL SELECT 1 FROM earlier WHERE scan_id = ?1"
        )
        with self._database.reading() as sql:
            return sql.execute(query, (scan_id,)).fetchone() is not None

    def scans(self, limit: int) -> list[str]:
        """Return the ids of the last scans, the newest first."""
        with self._database.reading() as sql:
            return [
                row[0]
                for row in sql.execute(
                    "SELECT id FROM scan WHERE coalesce(ended, 'none') <> '' ORDER BY begun_at DESC LIMIT ?", (limit,)
                )
            ]

    def find(self, text: str, state: State | None = None) -> Record:
        """Return the only delivery (of a state, if given) whose id, or else its event's id, starts with a text.

        Raises:
            SelectionError: none or several match, or the text is too short.
            DamagedRowError: its row is damaged.
        """
        which = {None: "delivery", State.DEAD: "dead letter"}.get(state, f"{state and state.value} delivery")
        if len(text) < PREFIX_LEAST:
            raise SelectionError(f'"{printable(text)}" is too short for an id: give {PREFIX_LEAST} characters or more')
        for numbers, words in ((BEGINNING, "has an id"), (EVENTS_BEGINNING, "belongs to an event with an id")):
            rows = self._beginning(numbers, text.lower(), state)
            if len(rows) == 1:
                return rows[0]
            if rows:
                several = ", ".join(f"{one.id} to {printable(one.endpoint)}" for one in rows[:ALIKE])
                more = ", ..." if len(rows) > ALIKE else ""
                raise SelectionError(
                    f'more than one {which} {words} that starts with "{printable(text)}": {several}{more}'
                )
        raise SelectionError(f'no {which}, nor the event of one, has an id that starts with "{printable(text)}"')

    def _beginning(self, numbers: str, text: str, state: State | None) -> list[Record]:
        """Return deliveries with an id that starts with a text.

        Args:
            numbers: the query for their numbers.
        """
        query = f"{SELECT_RECORD} WHERE d.number IN ({numbers}) AND (?2 IS NULL OR d.state = ?2)"
        with self._database.reading() as sql:
            rows = sql.execute(f"{query} ORDER BY d.number LIMIT {ALIKE + 1}", (text, state and state.value))
            return [record_in(row) for row in rows]

    def event(self, text: str) -> Delivery:
        """Return a delivery, any one, of the only event whose id, or that of a delivery of which, starts with a text.

        Raises:
            SelectionError: none or several match, or the text is too short.
            DamagedRowError: its row is damaged.
        """
        if len(text) < PREFIX_LEAST:
            raise SelectionError(f'"{printable(text)}" is too short for an id: give {PREFIX_LEAST} characters or more')
        rows = [
            row for numbers in (BEGINNING, EVENTS_BEGINNING) for row in self._beginning(numbers, text.lower(), None)
        ]
        ids = sorted({row.event_id for row in rows})
        if len(ids) > 1:
            several = ", ".join(ids[:ALIKE]) + (", ..." if len(ids) > ALIKE else "")
            raise SelectionError(f'more than one event has an id that starts with "{printable(text)}": {several}')
        found = self.delivery(rows[0].id) if rows else None
        if found is None:
            raise SelectionError(f'no event, nor a delivery of one, has an id that starts with "{printable(text)}"')
        return found

    def delivery(self, id: str) -> Delivery | None:
        """Return a delivery for sending, with its event and scan."""
        with self._database.reading() as sql:
            found = [*deliveries(sql, f"WHERE d.number IN ({numbers_by_ids('?1')})", (json.dumps([id]),))]
        return found[0][1] if found else None

    def attempts(self, delivery_id: str) -> list[Attempt]:
        """Return the attempts at a delivery in order."""
        query = f"SELECT {ATTEMPT} FROM delivery_attempt a WHERE number IN ({numbers_by_ids('?1')}) ORDER BY id"
        with self._database.reading() as sql:
            return [Attempt(*row) for row in sql.execute(query, (json.dumps([delivery_id]),))]

    def last_attempt(self) -> Cursor:
        """Return the place after the last attempt."""
        with self._database.reading() as sql:
            return Cursor(sql.execute("SELECT coalesce(max(id), 0) FROM delivery_attempt").fetchone()[0])

    def skipped(self, last: Cursor, most: int) -> tuple[Cursor, int]:
        """Return the place after `last` from which at most `most` attempts follow, and the number before it."""
        begin = max(self.last_attempt() - most, last)
        return Cursor(begin), begin - last

    def last_words(self, endpoint: str, reason: str) -> str:
        """Return the excerpt of the last attempt for an endpoint with this reason, or nothing if that is long ago."""
        query = (
            "SELECT a.excerpt FROM delivery_attempt a JOIN delivery d ON d.number = a.number WHERE d.endpoint = ?"
            " AND a.reason = ? AND a.id > (SELECT max(id) FROM delivery_attempt) - ?"
            " ORDER BY a.id DESC LIMIT 1"
        )
        with self._database.reading() as sql:
            row = sql.execute(query, (endpoint, reason, RECENT)).fetchone()
        return str(row[0]) if row else ""

    def last_results(self, endpoints: Collection[str]) -> dict[str, LastResults]:
        """Return the last results of endpoints, from the last RESULTS deliveries and attempts."""
        with self._database.reading() as sql:
            delivered = _first_of_each(endpoints, sql.execute(DELIVERED, (RESULTS,)))
            failed = _first_of_each(endpoints, sql.execute(FAILED, (RESULTS,)))
        return {
            name: LastResults(delivered[name][1] if name in delivered else None,
                              Attempt(*failed[name][1:]) if name in failed else None)
            for name in endpoints
        }  # fmt: skip

    def attempts_since(self, last: Cursor, selection: Selection) -> tuple[list[tuple[Record, Attempt]], Cursor]:
        """Return attempts after the given place, at most 500, and the place to continue from.

        If the last ones were deleted, their numbers are reused; then it continues from the last one that is left.
        """
        query = (
            f"SELECT a.id, d.number, e.id, d.endpoint, {ATTEMPT}"
            " FROM delivery_attempt a JOIN delivery d ON d.number = a.number JOIN event e ON e.number = d.event"
            " WHERE a.id > ? ORDER BY a.id LIMIT ?"
        )
        with self._database.reading() as sql:
            rows = sql.execute(query, (last, CHUNK)).fetchall()
        if not rows:
            return [], min(last, self.last_attempt())
        its = [id_in(row[2:]) for row in rows]
        numbers = {row[1] for id, row in zip(its, rows) if id in (selection.ids or its)}
        also = f"d.number IN ({', '.join(map(str, numbers))})"
        found = self.deliveries(replace(selection, ids=()), CHUNK, also) if numbers else []
        records = {record.id: record for record in found}
        return [(records[id], Attempt(*row[4:])) for id, row in zip(its, rows) if id in records], rows[-1][0]

    def oldest(self, endpoint: str) -> float | None:
        """Return when the oldest waiting delivery of an endpoint was accepted, or None if none is waiting."""
        with self._database.reading() as sql:
            row: tuple[float | None] = sql.execute(OLDEST, (endpoint,)).fetchone()
        return row[0]

    def backlog(self, endpoint: str) -> Backlog:
        """Return an endpoint's backlog. Counts the rows: not for a hot path."""
        its = "FROM delivery WHERE endpoint = ?"
        with self._database.reading() as sql:
            # without columns that are not in the index of fresh deliveries
            new = sql.execute(f"{parts()} SELECT count(*) FROM {PARTED} WHERE {FRESH}", (endpoint,)).fetchone()
            probed = sql.execute(f"SELECT count(*), min(due_at) + 0.0 {its} AND {PROBED}", (endpoint,)).fetchone()
            late = sql.execute(f"SELECT count(*), min(due_at) + 0.0 {its} AND {LATE}", (endpoint,)).fetchone()
            refused = sql.execute(f"SELECT count(*) {its} AND {LATE} AND refusals > 0", (endpoint,)).fetchone()
            oldest = sql.execute(OLDEST, (endpoint,)).fetchone()
            first = sql.execute(f"SELECT min(at) + 0.0 FROM ({FIRST}) its", (endpoint,)).fetchone()
        due = min((at for *_, at in (first, probed, late) if at is not None), default=None)
        return Backlog(new[0] + late[0], refused[0], oldest[0], due)

    def counts(self, selection: Selection, over: bool = False) -> dict[str, dict[str, int]]:
        """Return endpoint -> state -> number of deliveries. Counts the rows: not for a hot path.

        Args:
            over: only those that can be deleted: not of a scan whose end is not reported.
        """
        found: dict[str, dict[str, int]] = {}
        where = f"{selection.where} AND {OVER}" if over else selection.where
        its = f"{as_text('d.endpoint')}, {as_text('d.state')}"
        query = f"SELECT {its}, count(*) FROM {selection.source} WHERE {where} GROUP BY d.endpoint, d.state"
        with self._database.reading() as sql:
            for endpoint, state, number in sql.execute(query, selection.values):
                found.setdefault(endpoint, {})[state] = number
        return found


def _first_of_each(endpoints: Collection[str], rows: Iterable[Sequence[Any]]) -> dict[str, Sequence[Any]]:
    """Return the first row of each endpoint, which a row begins with; no more rows are read than that takes."""
    found: dict[str, Sequence[Any]] = {}
    for row in rows:
        if row[0] in endpoints and found.setdefault(row[0], row) is row and len(found) == len(endpoints):
            break
    return found
