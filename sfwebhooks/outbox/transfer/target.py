"""The target: an outbox on PostgreSQL, into which rows go in groups, each with the place that it brings the transfer to
in one transaction.

Rows keep their order and get other numbers: those of the source plus a base, behind all numbers that were given before.
Attempts count as counted, since the source's tallies have them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from sfwebhooks.errors import DiskFullError, OutboxBusyError, OutboxError, UnreachableError
from sfwebhooks.outbox.counting import ADD
from sfwebhooks.outbox.postgres.advisory_locks import ALIVE_SECONDS, MACHINE, NOW, SCAN
from sfwebhooks.outbox.postgres.server import Server
from sfwebhooks.outbox.postgres.session import ServerSession, storable
from sfwebhooks.outbox.totals import COUNTED, PLACES, Totals
from sfwebhooks.outbox.transfer.cleaning import Row, copy_line
from sfwebhooks.outbox.transfer.tables import KEYS, MovedTable, columns_of

#: seconds that a transaction waits for those of other processes, and between two tries
PATIENCE_SECONDS, PAUSE_SECONDS = 60.0, 0.1
#: seconds for which scans are not over, until the same command goes on
VOUCHED_SECONDS = 30 * 86400
#: places of the columns of a delivery that is there
STATE, SETTLED, BATCH = (
    [column.name for column in columns_of("delivery")].index(name) for name in ("state", "settled_at", "batch")
)
#: tables whose rows get a base, with the column that has it
NUMBERED = {**dict.fromkeys((*KEYS, "event", "delivery"), "number"), "delivery_attempt": "id"}
#: the last number that was given, and how those up to another one are taken
LAST_GIVEN = "SELECT nextval(pg_get_serial_sequence('{0}', '{1}'))"
TAKE = "SELECT setval(pg_get_serial_sequence('{0}', '{1}'), ?)"
#: what the next owner of a lock has to know
NOTE = "INSERT INTO ownership VALUES (?, 1, ?, ?, 0) ON CONFLICT (name) DO NOTHING"
#: nobody reports the end of a scan before all of its events are here: they would be sent again
VOUCH = (
    f"INSERT INTO ownership VALUES (?, 0, '', ?, {NOW} + {VOUCHED_SECONDS}) ON CONFLICT (name) DO UPDATE"  # noqa: S608
    " SET free_since = excluded.free_since WHERE ownership.number = 0"
)
#: then this machine does at once, and others later
DIED = f"UPDATE ownership SET free_since = {NOW} - {ALIVE_SECONDS} WHERE name = ? AND number = 0"  # noqa: S608
#: rows that others put there since they were looked for, or that the source has twice because of damage
PUT = "INSERT INTO {0} SELECT * FROM incoming ON CONFLICT DO NOTHING"
#: the events (numbers, scans and ids come in) that are there
THERE = b"""
    SELECT i.number, e.number FROM unnest($1::bigint[], $2::bigint[], $3::bytea[]) i (number, scan, id)
    JOIN event e ON e.scan = i.scan AND e.id = i.id
"""
#: their deliveries; what the file has delivered is not sent again, unless an operator wants that
ITS_DELIVERIES = b"SELECT event, endpoint, number FROM delivery WHERE event = ANY($1)"
DELIVERED = """
    UPDATE delivery SET state = 'delivered', settled_at = ?, reason = '', batch = ?
    WHERE number = ? AND state = 'waiting' AND replays = 0
"""
#: an attempt at such a delivery that is there
KNOWN_ATTEMPT = "SELECT 1 FROM delivery_attempt WHERE number = ? AND at = ?"


@dataclass(frozen=True)
class TransferState:
    """How far a transfer is."""

    id: str
    #: table -> what is added to the numbers of its rows
    bases: Mapping[str, int] = field(default_factory=dict)
    #: number of the step, and of the rows of it that are done; of events the number of the last one
    step: int = 0
    place: int = 0
    #: table -> number of rows that were moved
    moved: Mapping[str, int] = field(default_factory=dict)
    #: what was damaged -> how many rows
    damage: Mapping[str, int] = field(default_factory=dict)
    #: whether this file, or one of which it is a copy, was moved here before
    is_again: bool = False
    is_done: bool = False

    def after(self, table: str, rows: int, **values: Any) -> TransferState:
        """Return the state after some more rows of a table."""
        return replace(self, moved={**self.moved, table: self.moved.get(table, 0) + rows}, **values)

    @property
    def text(self) -> str:
        """The same as it is stored."""
        return json.dumps(asdict(self), sort_keys=True)


class Target:
    """The outbox that gets the rows."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.where = server.where

    def check(self) -> None:
        """Check that the server can be used, and create the tables if they are not there.

        Raises:
            OutboxError: it cannot.
        """
        with self.writing():
            pass

    def state(self, id: str) -> TransferState | None:
        """Return how far a transfer is; None: it did not begin here."""
        with self._server.reading() as sql:
            row = sql.execute("SELECT state FROM transfer WHERE id = ?", (id,)).fetchone()
        return TransferState(**json.loads(row[0])) if row else None

    def register(self, id: str) -> TransferState:
        """Note a transfer that is about to begin."""
        state = TransferState(id)
        with self.writing() as sql:
            sql.execute("INSERT INTO transfer VALUES (?, ?, NULL, ?)", (id, time.time(), state.text))
        return state

    def begin(
        self, state: TransferState, largest: Mapping[str, int], series: Sequence[str], notes: Mapping[str, str]
    ) -> TransferState:
        """Take the numbers for all rows; return the state with the bases.

        Args:
            largest: table -> the largest number of its rows.
            series: names of the source's series.
            notes: name of a lock -> note of its last holder.
        """
        with self._server.reading() as sql:
            _, last = sql.execute(PLACES).fetchone() or (0, 0)
        Totals(self._server).count(last)
        with self.writing() as sql:
            known = _one(sql, "SELECT count(*) FROM series WHERE name = ANY(?)", storable(series))
            counted = sql.execute(PLACES).fetchone()
            sql.execute(f"INSERT INTO tally {COUNTED.format('?1', '?2')} {ADD}", counted)
            bases = {}
            for table, column in NUMBERED.items():
                bases[table] = _one(sql, LAST_GIVEN.format(table, column))
                sql.execute(TAKE.format(table, column), (bases[table] + largest[table] + 1,))
            end = bases["delivery_attempt"] + largest["delivery_attempt"] + 1
            sql.execute("UPDATE file SET counted = ?, unordered_until = ?", (end, time.time()))
            sql.executemany(NOTE, [(name, note, MACHINE) for name, note in notes.items()])
            return self._advance(sql, state, replace(state, bases=bases, is_again=known > 0))

    def vouch(self, scans: Iterable[str]) -> None:
        """Let scans whose end is not reported count as running until `finish`."""
        with self.writing() as sql:
            sql.executemany(VOUCH, [(f"{SCAN}{id}", MACHINE) for id in scans])

    def put(self, step: MovedTable, rows: Sequence[Row], before: TransferState, after: TransferState) -> TransferState:
        """Insert some rows of a table, with the numbers of the target, and advance."""
        with self.writing() as sql:
            if rows:
                _bring(sql, step.table, rows)
                if step.before:
                    sql.execute(step.before)
                sql.execute(step.insert)
            if step.joined and after.step > before.step and self._has_others(sql, step.table, before):
                sql.execute(step.joined)
            return self._advance(sql, before, after)

    def put_events(
        self,
        rows: tuple[Sequence[Row], Sequence[Row], Sequence[Row]],
        shared: Container[int],
        before: TransferState,
        after: TransferState,
    ) -> TransferState:
        """Insert some events with their deliveries and the attempts at these, and advance.

        Args:
            rows: of these tables, with the numbers of the target.
            shared: numbers of scans that others have here too.
        """
        events, deliveries, attempts = rows
        with self.writing() as sql:
            asked = [(row[0], row[1], row[2]) for row in events if row[1] in shared]
            if asked:
                there = dict(sql.connection.execute(THERE, [list(column) for column in zip(*asked)]))
                events = [row for row in events if row[0] not in there]
                deliveries, attempts = _besides(sql, there, deliveries, attempts)
            for table, its in (("event", events), ("delivery", deliveries), ("delivery_attempt", attempts)):
                if its:
                    _bring(sql, table, its)
                    sql.execute(PUT.format(table))
            return self._advance(sql, before, after)

    def numbers(self, table: str, keys: Sequence[tuple[int, str | bytes]], base: int) -> dict[int, int]:
        """Return number in the source -> number here, for the rows of one of KEYS; of those that are not here, what
        they will have.

        Args:
            keys: number and key of each in the source.
        """
        query, found = f"SELECT {KEYS[table]}, number FROM {table} WHERE {KEYS[table]} = ANY(?)", dict[Any, int]()  # noqa: S608
        with self._server.reading() as sql:
            for start in range(0, len(keys), 5000):
                its = storable([key for _, key in keys[start : start + 5000]])
                found.update(sql.execute(query, (its,)).fetchall())
        stored = storable([key for _, key in keys])
        return {number: found.get(key, base + number) for (number, _), key in zip(keys, stored)}

    def eras(self) -> dict[str, int]:
        """Return endpoint -> era of its health here."""
        with self._server.reading() as sql:
            return dict(sql.execute("SELECT endpoint, era FROM health").fetchall())

    def finish(self, state: TransferState, scans: Iterable[str]) -> TransferState:
        """Note that all rows are here.

        Args:
            scans: as for `vouch`.
        """
        with self.writing() as sql:
            now = time.time()
            sql.execute("UPDATE file SET unordered_until = ?", (now,))
            sql.executemany(DIED, [(f"{SCAN}{id}",) for id in scans])
            sql.execute("UPDATE transfer SET done_at = ? WHERE id = ?", (now, state.id))
            state = self._advance(sql, state, replace(state, is_done=True))
        return state

    @contextmanager
    def writing(self) -> Iterator[ServerSession]:
        """Open a write transaction, after waiting for those of other processes, which may move files too."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            is_open = False
            try:
                with self._server.writing() as sql:
                    is_open = True
                    yield sql
                return
            except (DiskFullError, UnreachableError):
                raise
            except OutboxBusyError:
                if is_open or time.monotonic() > deadline:
                    raise
            time.sleep(PAUSE_SECONDS)

    def _has_others(self, sql: ServerSession, table: str, state: TransferState) -> bool:
        return bool(_one(sql, f"SELECT EXISTS (SELECT 1 FROM {table} WHERE number <= ?)", state.bases[table]))  # noqa: S608

    def _advance(self, sql: ServerSession, before: TransferState, after: TransferState) -> TransferState:
        """Note how far the transfer is.

        Raises:
            OutboxError: another process has advanced it.
        """
        changed = sql.execute(
            "UPDATE transfer SET state = ? WHERE id = ? AND state = ?", (after.text, before.id, before.text)
        )
        if not changed.rowcount:
            raise OutboxError(f"outbox {self.where}: another process moves the same file")
        return after


def _one(sql: ServerSession, query: str, *values: object) -> Any:
    """Return the only value of the only row of a query."""
    row = sql.execute(query, values).fetchone()
    return row[0] if row else None


def _bring(sql: ServerSession, table: str, rows: Sequence[Row]) -> None:
    """Copy rows to `incoming`, which lasts as long as the transaction."""
    connection, names = sql.connection, ", ".join(column.name for column in columns_of(table))
    connection.execute(
        f"DROP TABLE IF EXISTS incoming; CREATE TEMP TABLE incoming (LIKE {table}) ON COMMIT DROP".encode()
    )
    with connection.cursor().copy(f"COPY incoming ({names}) FROM STDIN".encode()) as copy:
        for start in range(0, len(rows), 500):
            copy.write("".join(map(copy_line, rows[start : start + 500])).encode())


def _besides(
    sql: ServerSession, there: Mapping[int, int], deliveries: Sequence[Row], attempts: Sequence[Row]
) -> tuple[list[Row], list[Row]]:
    """Return the deliveries and attempts that are not there.

    Args:
        there: number of an event as it would be -> its number, of those that are.
    """
    known = {
        (event, endpoint): number
        for event, endpoint, number in sql.connection.execute(ITS_DELIVERIES, ([*there.values()],))
    }
    new, theirs = list[Row](), dict[int, int]()
    for row in deliveries:
        number, event, endpoint = row[0], there.get(row[1], row[1]), row[2]
        its = known.get((event, endpoint))
        if its is None:
            new.append((number, event, *row[2:]))
            continue
        theirs[number] = its
        if row[STATE] == "delivered":
            sql.execute(DELIVERED, (row[SETTLED], row[BATCH], its))
    left = [row for row in attempts if row[1] not in theirs]
    for row in attempts:
        its = theirs.get(row[1])
        if its is not None and not sql.execute(KNOWN_ATTEMPT, (its, row[2])).fetchone():
            left.append((row[0], its, *row[2:]))
    return new, left
