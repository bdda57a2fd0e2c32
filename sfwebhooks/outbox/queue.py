"""The sending side of the outbox: an endpoint's deliveries are claimed, and settled after an attempt.

Waiting deliveries belong to the process that holds the lock of their endpoint's URL (`locks`), so a claim needs no
lease. It writes nothing except the members of a batch of several: a retry must have the same ones.
"""

from __future__ import annotations

import json
import logging
import math
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import takewhile
from typing import Any

from sfwebhooks.digesting import Rhythm
from sfwebhooks.events import Batch, Bundle, WebhookEvent
from sfwebhooks.health import Health
from sfwebhooks.outbox.bulk import changes
from sfwebhooks.outbox.bundling import (
    Members,
    Roster,
    SettledKey,
    bundled_at,
    has_unbundled,
    keys_of,
    late_bundle,
    next_bundle,
    series_names,
)
from sfwebhooks.outbox.claim import (
    ENDS,
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
from sfwebhooks.outbox.database import Database, Sql
from sfwebhooks.outbox.endpoint_state import save_health
from sfwebhooks.outbox.evidence import RECORD, evidence_of
from sfwebhooks.outbox.fresh_parts import ALL_PARTS, FreshParts
from sfwebhooks.outbox.frozen import freeze, unfreeze
from sfwebhooks.outbox.gathering import gathered_at, has_gathered, next_gathered, part_of
from sfwebhooks.outbox.results import Item, Result, keep_handle, write_settled
from sfwebhooks.outbox.rows import EVENT, LATE, PROBED, Row, deliveries, insert, numbers_by_ids, parts
from sfwebhooks.reasons import DeadReason
from sfwebhooks.screening import Wanted

log = logging.getLogger("spiderfoot.webhooks")
#: a message whose building crashed its process this often is not built again
CRASHES_MAX = 3
#: seconds before it is built again after the second time; the first time it keeps its place, since a stopped process
#: cannot be distinguished from a crashed one
CRASH_SECONDS = 60.0
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
#: those of some (?1, JSON) that wait, and whether any does
STILL_WAITING = "SELECT number FROM delivery WHERE number IN (SELECT value FROM json_each(?)) AND state = 'waiting'"
ANY_WAITS = f"SELECT EXISTS ({STILL_WAITING})"
#: the members of a batch (?1) that are of some endpoints (?2, JSON)
TOGETHER = """
    SELECT number FROM delivery
    WHERE state = 'waiting' AND batch = ?1 AND endpoint IN (SELECT CAST(value AS TEXT) FROM json_each(?2))
"""
#: seconds between two searches for findings that need not wait for the end of their scan, as long as none is found
SEARCH_SECONDS = 30.0
#: another number than before: row numbers known from before may be those of other deliveries now
REUSED = "SELECT reused FROM file"
REUSED_AND_PROBES = f"SELECT reused, ({HAS_PROBES}) FROM file"
#: an event and its receivers
Accepted = tuple[WebhookEvent, Sequence[Wanted]]


class Queue:
    """The waiting deliveries, in one queue per endpoint."""

    def __init__(self, database: Database) -> None:
        self._database = database
        #: (`Database.number`, its REUSED, id of a claimed delivery) -> number of its row
        self._rows: dict[tuple[int, int, str], int] = {}
        #: endpoint -> time of the last such search in vain, in epoch seconds
        self._searched: dict[str, float] = {}
        self._parts = FreshParts()
        #: endpoint and reason of each damaged delivery that a claim found and that is not in an alert yet
        self.deaths: deque[tuple[str, str]] = deque()

    def claim(self, endpoint: str, busy: Collection[str], now: float, most: int = 1) -> list[Batch]:
        """Return the next deliveries of an endpoint to which each goes alone: fresh ones, else late ones that are due.

        A scan's end is the first of them or not among them: the others may still be in flight when its turn comes.

        Args:
            busy: ids of deliveries in flight, not to be returned.
            most: number of deliveries at most.
        """
        with self._database.reading() as sql:
            reused, has_probes = sql.execute(REUSED_AND_PROBES, (endpoint,)).fetchone()
            place = (self._database.number, reused)
            flying = [self._rows.get((*place, id)) or _number(sql, id) for id in busy]
            passed, (part, _) = {*flying}, self._parts.known.get((*place, endpoint), ALL_PARTS)
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
                self._parts.first(sql, (*place, endpoint))
            if not found:
                found = [*deliveries(sql, NEXT_LATE, (*given, now, most))]
            else:
                found = [*found[:1], *takewhile(lambda row: row[1].name not in ENDS, found[1:])]
            if found:
                rows = max(number for number, _ in found) + place[1]
                if rows > self._database.marked:
                    self._database.raise_mark(sql, rows)
                self._rows.update({(*place, delivery.id): number for number, delivery in found})
            return [Batch((delivery,)) for _, delivery in found]

    def claim_batch(self, limits: Limits, busy: Collection[str], now: float, spare: float = math.inf) -> Batch | None:
        """Return the next deliveries of an endpoint that accepts several in one request: fresh before late ones.

        Its members are recorded, in case it is never settled.

        Args:
            busy: as for `claim`.
            spare: number of messages that its channel takes at once, if it is sent digests.
        """
        if limits.digesting.rhythm is Rhythm.BUNDLE:
            return self._next_bundle(limits, busy, now)
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
        return limits.digesting.ends_with_scan and abs(now - searched_at) >= SEARCH_SECONDS

    def pick(self, limits: Limits, busy: Collection[str], pick: Pick, fresh: bool, now: float = 0.0) -> Batch | None:
        """Return a message from any place of the queue: as a probe, or when many attempts have failed in a row.

        Args:
            busy: as for `claim`.
            fresh: only a message that was never in a request.
            now: epoch seconds, for an endpoint whose messages keep their due times.
        """
        if limits.digesting.rhythm is Rhythm.BUNDLE:
            return None if fresh else self._bundle(limits, busy, lambda sql, _: late_bundle(sql, limits, math.inf), now)
        return self._batch(limits, busy, partial(picked, limits=limits, pick=pick, fresh=fresh, now=now))

    def _batch(
        self, limits: Limits, busy: Collection[str], find: Callable[..., Sequence[Row]], in_parts: bool = False
    ) -> Batch | None:
        with self._database.reading() as sql:
            place = (self._database.number, *sql.execute(REUSED).fetchone())
            given = {"part": self._parts.first(sql, (*place, limits.endpoint))} if in_parts else {}
            members = find(sql, busy=[self._rows.get((*place, id)) or _number(sql, id) for id in busy], **given)
            if not members:
                return None
            self._database.raise_mark(sql, max(number for number, _ in members) + place[1])
            self._rows.update({(*place, delivery.id): number for number, delivery in members})
            batch = Batch(tuple(delivery for _, delivery in members))
            if limits.digesting.is_on:
                batch = replace(batch, part=part_of(sql, limits, batch, members[0][0]))
        single = len(members) == 1 and limits.digesting.is_on and batch.deliveries[0].goes_alone
        # a single one too: it must not come again within a larger batch
        if limits.is_careful or (limits.for_mark(batch.is_late).size > 1 and not single):
            freeze(self._database, batch, limits.endpoint)
        return batch

    def _next_bundle(self, limits: Limits, busy: Collection[str], now: float) -> Bundle | None:
        """Return the next scan that is over, of an endpoint that takes whole scans."""
        thorough = self._is_search_due(limits, now)
        found = self._bundle(limits, busy, lambda sql, part: next_bundle(sql, limits, part, now, thorough), now)
        if thorough and not found:
            self._searched[limits.endpoint] = now
        return found

    def _bundle(
        self,
        limits: Limits,
        busy: Collection[str],
        find: Callable[[Sql, int], Roster | None],
        now: float,
    ) -> Bundle | None:
        with self._database.reading() as sql:
            place = (self._database.number, *sql.execute(REUSED).fetchone())
            roster = find(sql, self._parts.first(sql, (*place, limits.endpoint)))
            if roster is None or not frozenset(busy).isdisjoint(roster.ids):
                return None
            if roster.waits:
                self._database.raise_mark(sql, max(roster.numbers) + place[1])
            bundle = roster.bundle(self._database, series_names(sql), limits.is_whole)
        if roster.damaged:
            self._bury(limits.endpoint, roster.damaged, now)
        if not roster.waits:
            return None
        self._rows.update({(*place, id): number for id, number in zip(roster.ids, roster.numbers)})
        freeze(self._database, bundle, limits.endpoint)
        return bundle

    def is_waiting(self, batch: Batch) -> bool:
        """Return whether all deliveries of a batch are still waiting: those claimed earlier may have been deleted. Of a
        bundle one is enough: it may have some that were delivered before."""
        with self._database.reading() as sql:
            if isinstance(batch.deliveries, Members):
                return bool(sql.execute(ANY_WAITS, (batch.deliveries.numbers,)).fetchone()[0])
            found = ((key.scan, key.event, key.endpoint) for key in keys_of(batch))
            return all(sql.execute(WAITS, its).fetchone() for its in found)

    def still_waiting(self, claimed: Sequence[Batch]) -> list[Batch]:
        """Return those of some claimed deliveries, of which each goes alone, that are still waiting."""
        with self._database.reading() as sql:
            place = (self._database.number, *sql.execute(REUSED).fetchone())
            numbers = [self._rows.get((*place, one.id), 0) for one in claimed]
            found = {number for (number,) in sql.execute(STILL_WAITING, (json.dumps(numbers),))}
        return [one for one, number in zip(claimed, numbers) if number in found]

    def recall(self, endpoint: str, due_at: float = 0.0) -> None:
        """Restore batches that were in flight when their sender died, with the same members.

        Args:
            due_at: epoch seconds before which they are not repeated.
        """
        with self._database.reading() as sql:
            left = sql.execute("SELECT id FROM frozen WHERE endpoint = ?", (endpoint,)).fetchall()
        if left:
            with self._database.writing() as sql:
                for (batch,) in left:
                    unfreeze(sql, batch, due_at)

    def blame(self, batch: str, now: float, whole: Collection[str] = ()) -> list[str]:
        """Count that building a message crashed its process, or raised; at CRASHES_MAX its deliveries are dead.

        Args:
            batch: id of the message. From the second time on its members go alone, to find the one at fault; the first
                time may be chance, and the batch comes again with the same id.
            now: epoch seconds. After the second time it waits, so that one moment of trouble does not make it dead.
            whole: endpoints that are sent whole scans, whose members never go alone.

        Returns:
            The endpoints whose deliveries are dead now.
        """
        itself = "state = 'waiting' AND number IN (SELECT value FROM json_each(?1))"
        others = "state = 'waiting' AND number NOT IN (SELECT value FROM json_each(?1)) AND batch = ?3"
        with self._database.writing() as sql:
            unfreeze(sql, batch)
            place = (self._database.number, *sql.execute(REUSED).fetchone())
            numbers = [row[0] for row in sql.execute(numbers_by_ids("?"), (json.dumps([batch]),))]
            numbers += [row[0] for row in sql.execute(TOGETHER, (batch, json.dumps([*whole])))]
            # an event with a damaged id is not found by it, and would hold up all others
            alone = json.dumps(numbers or [self._rows.get((*place, batch), 0)])
            for which, more in ((itself, ()), (others, (batch,))):
                sql.execute(
                    "UPDATE delivery SET crashes = crashes + 1, batch = CASE crashes WHEN 0 THEN batch END,"
                    f" due_at = CASE crashes WHEN 0 THEN due_at ELSE ?2 END WHERE {which}",
                    (alone, now + CRASH_SECONDS, *more),
                )
            dead = f"{itself} AND crashes >= ?2"
            found = sql.execute(f"SELECT endpoint FROM delivery WHERE {dead}", (alone, CRASHES_MAX)).fetchall()
            given = (alone, CRASHES_MAX, DeadReason.CRASHED.value, now)
            sql.execute(dying("?3", dead), given[:3])
            sql.execute(f"UPDATE delivery SET state = 'dead', reason = ?3, settled_at = ?4 WHERE {dead}", given)
            return [row[0] for row in found]

    def give_up(self, endpoint: str, ids: Iterable[str], now: float) -> None:
        """Turn members of a claimed bundle that cannot be built into dead letters: the others go without them."""
        with self._database.reading() as sql:
            place = (self._database.number, *sql.execute(REUSED).fetchone())
        self._bury(endpoint, [self._rows.get((*place, id), 0) for id in ids], now)

    def _bury(self, endpoint: str, numbers: Sequence[int], now: float) -> None:
        which = "state = 'waiting' AND endpoint = ?2 AND number IN (SELECT value FROM json_each(?3))"
        given = (DeadReason.DAMAGED.value, endpoint, json.dumps(numbers))
        with self._database.writing() as sql:
            sql.execute(dying("?1", which), given)
            ending = f"UPDATE delivery SET state = 'dead', reason = ?1, settled_at = ?4 WHERE {which}"
            dead = sql.execute(ending, (*given, now)).rowcount
        self.deaths.extend([(endpoint, DeadReason.DAMAGED.value)] * dead)
        words = "webhooks: endpoint %s: %d events are damaged and dead; their scan is sent without them"
        log.warning(words, endpoint, dead)

    def settle(
        self, results: Iterable[Result], healths: Mapping[str, Health] | None = None, alerts: Iterable[Accepted] = ()
    ) -> None:
        """Commit results of attempts, the endpoints' health where it changed, and the alerts that report it.

        Raises:
            FencedError: another process has taken over endpoints; of a bundle to them a part may be settled.
        """
        done, proven = [*results], list[tuple[Any, ...]]()
        fence = self._database.locks.check_fence
        for result in done:
            if isinstance(result.batch, Bundle):
                self._settle_bundle(result)
        items: list[Item] = []
        with self._database.writing() as sql:
            if fence:
                fence(sql, {result.batch.deliveries[0].endpoint for result in done})
            place = (self._database.number, *sql.execute(REUSED).fetchone())
            for result in done:
                those = () if isinstance(result.batch, Bundle) else result.batch.deliveries
                for one, new in zip(those, result.settlements):
                    event = bytes.fromhex(one.event.id.replace("-", ""))
                    row = self._rows.get((*place, one.id)) or _number_in(sql, one.event.scan_id, event, one.endpoint)
                    key = SettledKey(row, one.id, event, one.sequence, one.series, one.endpoint)
                    items.append((key, new, result.attempt))
                if result.handle:
                    keep_handle(sql, result, result.handle)
                if result.sha256:
                    proven += evidence_of(result.batch, result.sha256, result.settlements, result.attempt.at)
            write = self._database.settle_group or write_settled
            write(sql, items, [result.batch.id for result in done])
            if proven:
                sql.executemany(RECORD, proven)
            for endpoint, health in (healths or {}).items():
                save_health(sql, endpoint, health)
            for alert, wanted in alerts:
                insert(sql, alert, wanted, alert.at)
        for key, *_ in items:
            self._rows.pop((*place, key.id), None)

    def _settle_bundle(self, result: Result) -> None:
        """Commit the result of a bundle, in transactions that lock the outbox for a moment. If the process is killed
        between two of them, the bundle comes again with the same members: those that are settled have its id."""
        fence, write = self._database.locks.check_fence, self._database.settle_group or write_settled

        def settle(sql: Sql, chunk: Sequence[Item]) -> int:
            if fence:
                fence(sql, (chunk[0][0].endpoint,))
            write(sql, chunk, ())
            return len(chunk)

        with self._database.reading() as sql:
            place = (self._database.number, *sql.execute(REUSED).fetchone())
        keys = keys_of(result.batch)
        items = ((key, new, result.attempt) for key, new in zip(keys, result.settlements))
        for _ in changes(self._database, place[0], items, settle):
            pass
        for key in keys_of(result.batch):
            self._rows.pop((*place, key.id), None)

    def next_due(self, limits: Limits, now: float) -> float | None:
        """Return when the next delivery of an endpoint is due (0 for a fresh one that waits for no digest), or None if
        none is waiting, or only for the end of its scan."""
        late = f"SELECT min(due_at) FROM delivery WHERE endpoint = ? AND {LATE}"
        with self._database.reading() as sql:
            part = self._parts.first(sql, (self._database.number, *sql.execute(REUSED).fetchone(), limits.endpoint))
            if not limits.digesting.waits:
                row: tuple[float | None] = sql.execute(NEXT_DUE, (limits.endpoint, part)).fetchone()
                return row[0]
            thorough = self._is_search_due(limits, now)
            due_at = bundled_at if limits.digesting.rhythm is Rhythm.BUNDLE else gathered_at
            fresh = due_at(sql, limits, part, now, thorough)
            if thorough and fresh is None:
                self._searched[limits.endpoint] = now
            times = (fresh, *sql.execute(late, (limits.endpoint,)).fetchone())
        return min((at for at in times if at is not None), default=None)

    def digest_at(self, limits: Limits, now: float) -> float | None:
        """Return when the findings are due that wait for their digest, inf: at the end of their scan; None: none
        waits for that."""
        with self._database.reading() as sql:
            part = self._parts.first(sql, (self._database.number, *sql.execute(REUSED).fetchone(), limits.endpoint))
            is_bundle = limits.digesting.rhythm is Rhythm.BUNDLE
            has_fresh, due_at = (has_unbundled, bundled_at) if is_bundle else (has_gathered, gathered_at)
            if not limits.digesting.waits or not has_fresh(sql, limits, part):
                return None
            at = due_at(sql, limits, part, now, thorough=True)
        return math.inf if at is None else at if at > now else None


def _number_in(sql: Sql, scan_id: str, key: bytes, endpoint: str) -> int:
    """Return the row number of the delivery of a scan's event to an endpoint; 0 if it does not exist."""
    row = sql.execute(NUMBER, (scan_id, key, endpoint)).fetchone()
    return int(row[0]) if row else 0


def _number(sql: Sql, id: str) -> int:
    """Return the row number of the delivery with an id, of whichever scan; 0 if it does not exist."""
    row = sql.execute(numbers_by_ids("?"), (json.dumps([id]),)).fetchone()
    return int(row[0]) if row else 0
