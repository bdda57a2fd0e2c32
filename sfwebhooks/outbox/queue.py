"""The sending side of the outbox: an endpoint's deliveries are claimed, and settled after an attempt.

Waiting deliveries belong to the process that holds the lock of their endpoint's URL (`locks`), so a claim needs no
lease. It writes nothing except the members of a batch of several: a retry must have the same ones.
"""

from __future__ import annotations

import json
import math
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import takewhile
from typing import Any

from sfwebhooks.attempts import Attempt
from sfwebhooks.digesting import Rhythm
from sfwebhooks.events import Batch, Handle, WebhookEvent
from sfwebhooks.health import Health
from sfwebhooks.outbox.claim import (
    ENDS,
    FIRST_PART,
    HAS_PROBES,
    IN_PARTS,
    NEXT_FRESH,
    NEXT_LATE,
    NEXT_UNTOUCHED,
    SELECT_UNTOUCHED,
    Limits,
    Pick,
    next_batch,
    picked,
    waits,
)
from sfwebhooks.outbox.counting import dying
from sfwebhooks.outbox.endpoint_state import save_health
from sfwebhooks.outbox.file import File
from sfwebhooks.outbox.gathering import gathered_at, has_gathered, next_gathered, part_of
from sfwebhooks.outbox.rows import EVENT, LATE, PROBED, SCAN, Row, deliveries, insert, numbers_by_ids, parts
from sfwebhooks.reasons import DeadReason
from sfwebhooks.retry import Settlement, State
from sfwebhooks.screening import Wanted

#: a message whose building crashed its process this often is not built again
CRASHES_MAX = 3
#: seconds before it is built again after the second time; the first time it keeps its place, since a stopped process
#: cannot be distinguished from a crashed one
CRASH_SECONDS = 60.0
#: whether a row is that of a delivery to an endpoint of the event with a key, or of an event whose id is damaged
ITS_ROW = (
    "endpoint = {1} AND"
    " (SELECT id = {0} OR typeof(id) <> 'blob' OR length(id) <> 16 FROM event WHERE number = delivery.event)"
)
#: a delivered delivery stays so, whatever a concurrent sender reports, and one that became dead meanwhile stays dead
#: unless it was delivered; one that got another number after it was claimed, as in a new file, is not settled: the
#: receiver has to see that number. Nor is one whose row is another one's now, in a backup that was restored into the
#: open file
SETTLED = (
    "number = ?9 AND sequence = ?10 AND series = (SELECT number FROM series WHERE name = ?11)"
    f" AND (state = 'waiting' OR (state = 'dead' AND ?1 = 'delivered')) AND {ITS_ROW.format('?12', '?13')}"
)
SETTLE = f"""
    UPDATE delivery SET state = ?1, reason = ?2, due_at = ?3, settled_at = ?4, attempts = attempts + ?5,
                        batch = CASE WHEN ?6 = '' THEN batch ELSE ?6 END,
                        refusals = refusals + ?7, refused_in = coalesce(refused_in, ?8),
                        crashes = CASE ?1 WHEN 'waiting' THEN 0 ELSE crashes END
    WHERE {SETTLED}
"""
#: with the parameters of SETTLE
DIES = dying("?2", SETTLED)
#: in the delivery log, if the delivery still exists; after SETTLE: the row shows whether this attempt delivered it
LOG = f"""
    INSERT INTO delivery_attempt (number, at, seconds, status, reason, excerpt, cause, outcome, waited)
    SELECT number, ?2, ?3, ?4, ?5, ?6, ?7, ?8,
           CASE WHEN ?8 IS NULL AND state = 'delivered' AND settled_at = ?2 + ?3
                THEN max(settled_at - accepted_at, 0.0) END
    FROM delivery WHERE number = ?1 AND {ITS_ROW.format("?9", "?10")}
"""
#: enums, which take long to look up
WAITING, DEAD = State.WAITING.value, State.DEAD.value
#: state of a delivery after an attempt -> the attempt's outcome in the log; or PENDING if another request has to follow
OUTCOMES = {WAITING: WAITING, DEAD: DEAD, State.DELIVERED.value: None}
PENDING = "pending"
#: seconds after which the first parts are looked for among all
PARTS_SECONDS = 60.0
#: the first part, and when all were looked at, of an endpoint of which nothing is known
ALL_PARTS = (0, 0.0)
#: when the next delivery of an endpoint (?1) is due; its fresh ones are in parts from ?2 on
NEXT_DUE = f"""
    SELECT CASE
        WHEN EXISTS ({parts("?2")} SELECT 1 {IN_PARTS}) THEN 0.0
        WHEN EXISTS (SELECT 1 FROM delivery WHERE endpoint = ?1 AND {PROBED}) THEN 0.0
        ELSE (SELECT min(due_at) FROM delivery WHERE endpoint = ?1 AND {LATE}) END
"""
#: the row number of the delivery of a scan's event to an endpoint; the first two parameters are those of EVENT
NUMBER = f"SELECT number FROM delivery WHERE event = ({EVENT}) AND endpoint = ?3"
WAITS = f"{NUMBER} AND state = 'waiting'"
#: seconds between two searches for findings that need not wait for the end of their scan, as long as none is found
SEARCH_SECONDS = 30.0
#: the numbers of the members of a batch (?1) in flight
MEMBERS = f"""
    SELECT d.number FROM frozen f, json_each(members)
    CROSS JOIN event e ON e.scan = {SCAN.format("json_extract(value, '$[0]')")}
        AND e.id = event_key_of(json_extract(value, '$[1]'))
    CROSS JOIN delivery d ON d.event = e.number AND d.endpoint = f.endpoint WHERE f.id = ?1
"""
#: another number than before: row numbers known from before may be those of other deliveries now
REUSED = "SELECT reused FROM file"
#: an event and its receivers
Accepted = tuple[WebhookEvent, Sequence[Wanted]]


@dataclass(frozen=True)
class Result:
    """The result of an attempt."""

    batch: Batch
    attempt: Attempt
    #: of each delivery
    settlements: Sequence[Settlement]
    #: what the receiver calls it from now on; without a value nothing; None: as before
    handle: Handle | None = None


class Queue:
    """The waiting deliveries, in one queue per endpoint."""

    def __init__(self, file: File) -> None:
        self._file = file
        #: (`File.number`, its REUSED, id of a claimed delivery) -> number of its row
        self._rows: dict[tuple[int, int, str], int] = {}
        #: endpoint -> time of the last such search in vain, in epoch seconds
        self._searched: dict[str, float] = {}
        #: (`File.number`, its REUSED, endpoint) -> first part with fresh deliveries of it, and when all were looked at
        self._parts: dict[tuple[int, int, str], tuple[int, float]] = {}

    def claim(self, endpoint: str, busy: Collection[str], now: float, most: int = 1) -> list[Batch]:
        """Return the next deliveries of an endpoint to which each goes alone: fresh ones, else late ones that are due.

        A scan's end is the first of them or not among them: the others may still be in flight when its turn comes.

        Args:
            busy: ids of deliveries in flight, not to be returned.
            most: number of deliveries at most.
        """
        with self._file.reading() as sql:
            place = (self._file.number, *sql.execute(REUSED).fetchone())
            flying = [self._rows.get((*place, id)) or _number(sql, id) for id in busy]
            passed, (part, _) = {*flying}, self._parts.get((*place, endpoint), ALL_PARTS)
            (has_probes,) = sql.execute(HAS_PROBES, (endpoint,)).fetchone()
            while True:
                given = (endpoint, json.dumps([*passed]))
                if has_probes:
                    found = [*deliveries(sql, NEXT_FRESH, (*given, most, part))]
                else:
                    found = [*deliveries(sql, NEXT_UNTOUCHED, (*given, most, part), SELECT_UNTOUCHED)]
                if not found or found[0][1].name not in ENDS or not waits(sql, found[0][0], flying, now):
                    break
                # another scan may have one: no more scans wait than have deliveries in flight
                passed.add(found[0][0])
            if not found or found[0][0] >> 8 > part:
                self._first_part(sql, (*place, endpoint))
            if not found:
                found = [*deliveries(sql, NEXT_LATE, (*given, now, most))]
            else:
                found = [*found[:1], *takewhile(lambda row: row[1].name not in ENDS, found[1:])]
            if found:
                rows = max(number for number, _ in found) + place[1]
                if rows > self._file.marked:
                    self._file.raise_mark(sql, rows)
                self._rows.update({(*place, delivery.id): number for number, delivery in found})
            return [Batch((delivery,)) for _, delivery in found]

    def claim_batch(self, limits: Limits, busy: Collection[str], now: float, spare: float = math.inf) -> Batch | None:
        """Return the next deliveries of an endpoint that accepts several in one request: fresh before late ones.

        Its members are recorded, in case it is never settled.

        Args:
            busy: as for `claim`.
            spare: number of messages that its channel takes at once, if it is sent digests.
        """
        if not limits.digesting.is_on:
            return self._batch(limits, busy, partial(next_batch, limits=limits, now=now), in_parts=True)
        thorough = self._is_search_due(limits, now)
        find = partial(next_gathered, limits=limits, now=now, spare=spare, thorough=thorough)
        batch = self._batch(limits, busy, find, in_parts=True)
        if thorough and not batch:
            self._searched[limits.endpoint] = now
        return batch

    def _is_search_due(self, limits: Limits, now: float) -> bool:
        """Return whether the findings are searched for those that need not wait for the end of their scan."""
        searched_at = self._searched.get(limits.endpoint, -math.inf)
        return limits.digesting.rhythm is Rhythm.SCAN and abs(now - searched_at) >= SEARCH_SECONDS

    def pick(self, limits: Limits, busy: Collection[str], pick: Pick, fresh: bool) -> Batch | None:
        """Return a message from any place of the queue: as a probe, or when many attempts have failed in a row.

        Args:
            busy: as for `claim`.
            fresh: only a message that was never in a request.
        """
        return self._batch(limits, busy, partial(picked, limits=limits, pick=pick, fresh=fresh))

    def _batch(
        self, limits: Limits, busy: Collection[str], find: Callable[..., Sequence[Row]], in_parts: bool = False
    ) -> Batch | None:
        with self._file.reading() as sql:
            place = (self._file.number, *sql.execute(REUSED).fetchone())
            given = {"part": self._first_part(sql, (*place, limits.endpoint))} if in_parts else {}
            members = find(sql, busy=[self._rows.get((*place, id)) or _number(sql, id) for id in busy], **given)
            if not members:
                return None
            self._file.raise_mark(sql, max(number for number, _ in members) + place[1])
            self._rows.update({(*place, delivery.id): number for number, delivery in members})
            batch = Batch(tuple(delivery for _, delivery in members))
            if limits.digesting.is_on:
                batch = replace(batch, part=part_of(sql, limits, batch, members[0][0]))
        single = len(members) == 1 and limits.digesting.is_on and batch.deliveries[0].goes_alone
        # a single one too: it must not come again within a larger batch
        if limits.for_mark(batch.is_late).size > 1 and not single:
            self._freeze(batch, limits.endpoint)
        return batch

    def _freeze(self, batch: Batch, endpoint: str) -> None:
        """Record the members of a new batch."""
        members = json.dumps([(delivery.event.scan_id, delivery.event.id) for delivery in batch.deliveries])
        first = batch.deliveries[0].event
        with self._file.writing() as sql:
            sql.execute("INSERT OR REPLACE INTO frozen VALUES (?, ?, ?)", (batch.id, endpoint, members))
            if batch.part[1]:
                its = (batch.id, endpoint, first.scan_id, *batch.part, first.at)
                sql.execute("INSERT OR IGNORE INTO digest_part VALUES (?, ?, ?, ?, ?, ?)", its)

    def is_waiting(self, batch: Batch) -> bool:
        """Return whether all deliveries of a batch are still waiting: those claimed earlier may have been deleted."""
        with self._file.reading() as sql:
            found = ((one.event.scan_id, one.event.id.replace("-", ""), one.endpoint) for one in batch.deliveries)
            return all(
                sql.execute(WAITS, (scan, bytes.fromhex(id), endpoint)).fetchone() for scan, id, endpoint in found
            )

    def recall(self, endpoint: str) -> None:
        """Restore batches that were in flight when their sender died, with the same members."""
        with self._file.reading() as sql:
            left = sql.execute("SELECT id FROM frozen WHERE endpoint = ?", (endpoint,)).fetchall()
        if left:
            with self._file.writing() as sql:
                for (batch,) in left:
                    _bind(sql, batch)

    def blame(self, batch: str, now: float) -> list[str]:
        """Count that building a message crashed its process, or raised; at CRASHES_MAX its deliveries are dead.

        Args:
            batch: id of the message. From the second time on its members go alone, to find the one at fault; the first
                time may be chance, and the batch comes again with the same id.
            now: epoch seconds. After the second time it waits, so that one moment of trouble does not make it dead.

        Returns:
            The endpoints whose deliveries are dead now.
        """
        itself = "state = 'waiting' AND number IN (SELECT value FROM json_each(?1))"
        with self._file.writing() as sql:
            _bind(sql, batch)
            place = (self._file.number, *sql.execute(REUSED).fetchone())
            numbers = [row[0] for row in sql.execute(numbers_by_ids("?"), (json.dumps([batch]),))]
            # an event with a damaged id is not found by it, and would hold up all others
            alone = json.dumps(numbers or [self._rows.get((*place, batch))])
            for which, value in ((itself, alone), ("state = 'waiting' AND batch = ?1", batch)):
                sql.execute(
                    "UPDATE delivery SET crashes = crashes + 1, batch = CASE crashes WHEN 0 THEN batch END,"
                    f" due_at = CASE crashes WHEN 0 THEN due_at ELSE ?2 END WHERE {which}",
                    (value, now + CRASH_SECONDS),
                )
            dead = f"{itself} AND crashes >= ?2"
            found = sql.execute(f"SELECT endpoint FROM delivery WHERE {dead}", (alone, CRASHES_MAX)).fetchall()
            given = (alone, CRASHES_MAX, DeadReason.CRASHED.value, now)
            sql.execute(dying("?3", dead), given[:3])
            sql.execute(f"UPDATE delivery SET state = 'dead', reason = ?3, settled_at = ?4 WHERE {dead}", given)
            return [row[0] for row in found]

    def settle(
        self, results: Iterable[Result], healths: Mapping[str, Health] | None = None, alerts: Iterable[Accepted] = ()
    ) -> None:
        """Commit results of attempts, the endpoints' health where it changed, and the alerts that report it."""
        settled: list[tuple[Any, ...]] = []
        logged: list[tuple[Any, ...]] = []
        dead: list[tuple[Any, ...]] = []
        gone: list[tuple[str]] = []
        done: list[tuple[int, int, str]] = []
        with self._file.writing() as sql:
            place = (self._file.number, *sql.execute(REUSED).fetchone())
            for result in results:
                attempt = result.attempt
                # `astuple` takes a hundred times as long
                entry = (attempt.at, attempt.seconds, attempt.status, attempt.reason, attempt.excerpt, attempt.trigger)
                for delivery, new in zip(result.batch.deliveries, result.settlements):
                    state = new.state.value
                    ended_at = None if state == WAITING else attempt.at + attempt.seconds
                    changes = (state, new.reason, new.due_at, ended_at, int(new.counts), new.batch)
                    refusal = (int(new.refused), new.refused_in)
                    its = (bytes.fromhex(delivery.event.id.replace("-", "")), delivery.endpoint)
                    row = self._rows.get((*place, delivery.id)) or _number_in(sql, delivery.event.scan_id, *its)
                    done.append((*place, delivery.id))
                    settled.append((*changes, *refusal, row, delivery.sequence, delivery.series, *its))
                    logged.append((row, *entry, OUTCOMES[state] if not new.pending else PENDING, *its))
                    if state == DEAD:
                        dead.append(settled[-1])
                gone.append((result.batch.id,))
                if result.handle:
                    _keep(sql, result, result.handle)
            sql.executemany("DELETE FROM frozen WHERE id = ?", gone)
            sql.executemany(DIES, dead)
            sql.executemany(SETTLE, settled)
            sql.executemany(LOG, logged)
            for endpoint, health in (healths or {}).items():
                save_health(sql, endpoint, health)
            for event, wanted in alerts:
                insert(sql, event, wanted, event.at)
        for place_and_id in done:
            self._rows.pop(place_and_id, None)

    def next_due(self, limits: Limits, now: float) -> float | None:
        """Return when the next delivery of an endpoint is due (0 for a fresh one that waits for no digest), or None if
        none is waiting, or only for the end of its scan."""
        late = f"SELECT min(due_at) FROM delivery WHERE endpoint = ? AND {LATE}"
        with self._file.reading() as sql:
            part = self._first_part(sql, (self._file.number, *sql.execute(REUSED).fetchone(), limits.endpoint))
            if not limits.digesting.waits:
                row: tuple[float | None] = sql.execute(NEXT_DUE, (limits.endpoint, part)).fetchone()
                return row[0]
            thorough = self._is_search_due(limits, now)
            fresh = gathered_at(sql, limits, part, now, thorough)
            if thorough and fresh is None:
                self._searched[limits.endpoint] = now
            times = (fresh, *sql.execute(late, (limits.endpoint,)).fetchone())
        return min((at for at in times if at is not None), default=None)

    def digest_at(self, limits: Limits, now: float) -> float | None:
        """Return when the findings are due that wait for their digest, inf: at the end of their scan; None: none
        waits for that."""
        with self._file.reading() as sql:
            part = self._first_part(sql, (self._file.number, *sql.execute(REUSED).fetchone(), limits.endpoint))
            if not limits.digesting.waits or not has_gathered(sql, limits, part):
                return None
            at = gathered_at(sql, limits, part, now, thorough=True)
        return math.inf if at is None else at if at > now else None

    def _first_part(self, sql: sqlite3.Connection, place: tuple[int, int, str]) -> int:
        """Return the first part with fresh deliveries of an endpoint. None is ever added to an earlier one, so those of
        others there are not read again, except from time to time: another program may have changed the rows."""
        now = time.monotonic()
        if place not in self._parts:
            self._parts = {key: part for key, part in self._parts.items() if key[:2] == place[:2]}
        part, looked_at = self._parts.get(place, (0, now))
        if now - looked_at > PARTS_SECONDS:
            part, looked_at = 0, now
        part = int(sql.execute(FIRST_PART, (place[-1], part)).fetchone()[0])
        self._parts[place] = (part, looked_at)
        return part


def _keep(sql: sqlite3.Connection, result: Result, handle: Handle) -> None:
    """Record what the receiver calls a request that is pending, or what a delivered message is about."""
    first, batch = result.batch.deliveries[0], result.batch.id
    about = batch if result.settlements[0].state is State.WAITING else first.event.subject
    sql.execute("DELETE FROM handle WHERE endpoint = ? AND about = ?", (first.endpoint, batch))
    if about and handle.value:
        row = (first.endpoint, about, handle.address, handle.value, result.attempt.at)
        sql.execute("INSERT OR REPLACE INTO handle VALUES (?, ?, ?, ?, ?)", row)


def _number_in(sql: sqlite3.Connection, scan_id: str, key: bytes, endpoint: str) -> int:
    """Return the row number of the delivery of a scan's event to an endpoint; 0 if it does not exist."""
    row = sql.execute(NUMBER, (scan_id, key, endpoint)).fetchone()
    return int(row[0]) if row else 0


def _number(sql: sqlite3.Connection, id: str) -> int:
    """Return the row number of the delivery with an id, of whichever scan; 0 if it does not exist."""
    row = sql.execute(numbers_by_ids("?"), (json.dumps([id]),)).fetchone()
    return int(row[0]) if row else 0


def _bind(sql: sqlite3.Connection, batch: str) -> None:
    """Write the id of a batch in flight into the rows of its members, which may be what is left of another batch."""
    sql.execute(
        f"UPDATE delivery SET batch = ?1 WHERE state = 'waiting' AND number IN ({MEMBERS})",
        (batch,),
    )
    sql.execute("DELETE FROM frozen WHERE id = ?", (batch,))
