"""Bulk changes of deliveries: a Selection or an age comes in, the number of changed deliveries goes out.

Selected deliveries that no longer qualify when their turn comes are skipped (`bulk`).
"""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Sequence
from functools import partial

from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import WebhookEvent, delivery_id, id_of_key
from sfwebhooks.outbox.bulk import Progress, change_in_chunks, unseen
from sfwebhooks.outbox.claim import ENDS, IN_PARTS
from sfwebhooks.outbox.counting import dying
from sfwebhooks.outbox.database import Database, Sql
from sfwebhooks.outbox.erasure import Erasure, note_deletion, note_order
from sfwebhooks.outbox.rows import ENDPOINTS, LATE, PROBED, deliveries, insert, parts
from sfwebhooks.outbox.selection import CHUNK, OVER, Selection, marks, numbers_of
from sfwebhooks.reasons import DeadReason
from sfwebhooks.retry import State
from sfwebhooks.screening import Screen, Wanted

WAITING = "d.state = 'waiting'"
IS_END = f"(SELECT type FROM event WHERE number = d.event) IN ({', '.join(repr(name) for name in ENDS)})"
log = logging.getLogger("spiderfoot.webhooks")
#: seconds after which it is forgotten what a receiver called something
HANDLE_SECONDS = 400 * 86400.0
#: seconds since its start after which a scan that is over and has no events left is forgotten, except for its id
SCAN_SECONDS = 86400.0
SETTLED = "d.state <> 'waiting'"
#: what the receiver called a request that was pending, unless others of it still are: a replay is another request
NO_LONGER_PENDING = """
    DELETE FROM handle WHERE (endpoint, about) = (SELECT endpoint, batch FROM delivery WHERE number = ?)
    AND NOT EXISTS (SELECT 1 FROM delivery WHERE batch = handle.about AND state = 'waiting')
"""
#: what an endpoint (?1) called a request or its subject (?2), unless other deliveries wait for it
ITS_HANDLE = """
    DELETE FROM handle WHERE endpoint = ?1 AND about = ?2
    AND NOT EXISTS (SELECT 1 FROM delivery WHERE batch = ?2 AND state = 'waiting')
    AND NOT EXISTS (SELECT 1 FROM delivery WHERE endpoint = ?1 AND subject = ?2 AND state = 'waiting')
"""
#: findings of tickets that are forgotten
WITHOUT_TICKET = """
    DELETE FROM ticketed WHERE NOT EXISTS (
        SELECT 1 FROM handle WHERE endpoint = ticketed.endpoint AND about = ticketed.subject)
"""
EMPTY_SCANS = """
    SELECT id FROM scan WHERE ended IS NOT NULL AND begun_at < ? AND database || target || name <> ''
        AND NOT EXISTS (SELECT 1 FROM event WHERE scan = scan.number)
"""
FORGET_SCAN = "UPDATE scan SET name = '', target = '', target_type = '', database = '' WHERE id = ?"
FORGET_EVIDENCE = "DELETE FROM evidence WHERE scan = (SELECT number FROM scan WHERE id = ?)"
DEAD = f"{SETTLED} AND d.state = 'dead'"
#: the endpoints with waiting deliveries, found in indexes without reading all of them
WAITING_ENDPOINTS = f"""
    SELECT n.endpoint FROM ({ENDPOINTS}) n
    WHERE EXISTS ({parts()} SELECT 1 {IN_PARTS.replace("?1", "n.endpoint")})
        OR EXISTS (SELECT 1 FROM delivery WHERE endpoint = n.endpoint AND {PROBED})
        OR EXISTS (SELECT 1 FROM delivery WHERE endpoint = n.endpoint AND {LATE})
    ORDER BY 1
"""
#: an endpoint's (?1) deliveries that were accepted before a time (?2): fresh, as a probe, late
WAITING_SINCE = f"""
    SELECT * FROM ({parts()} SELECT number, event, batch, accepted_at {IN_PARTS} AND accepted_at < ?2) its
    UNION ALL
    SELECT number, event, batch, accepted_at FROM delivery WHERE endpoint = ?1 AND {PROBED} AND accepted_at < ?2
    UNION ALL
    SELECT number, event, batch, accepted_at FROM delivery WHERE endpoint = ?1 AND {LATE} AND accepted_at < ?2
"""


class Retention:
    """Changes of many deliveries. All methods raise OutboxError, as `Outbox` does."""

    def __init__(self, database: Database) -> None:
        self._database = database
        #: called after each chunk of a change that an operator asked for
        self.progress: Progress = unseen
        self.erasure = Erasure(database)

    def replay(self, selection: Selection, now: float, interval: float = 0.0) -> int:
        """Make delivered and dead ones due again, in the order of acceptance; return how many.

        Args:
            now: epoch seconds. Their age counts from their due time.
            interval: seconds between two due times.
        """
        return change_in_chunks(
            self._database,
            lambda sql: list(enumerate(numbers_of(sql, selection, SETTLED))),
            partial(send_again, now=now, interval=interval),
            self.progress,
        )

    def end(self, selection: Selection, now: float) -> int:
        """Turn waiting deliveries into dead letters; return how many. Their rows stay, so recovery does not bring them
        back."""
        return change_in_chunks(
            self._database,
            lambda sql: numbers_of(sql, selection, WAITING),
            partial(_bury, reason=DeadReason.DROPPED.value, now=now),
            self.progress,
        )

    def move(self, selection: Selection, endpoint: Endpoint, now: float) -> int:
        """Accept waiting deliveries for another endpoint, if it asks for them, and delete the original ones; return how
        many.

        Deliveries of a running scan and ends of scans (`delivery/moving`) are not moved. Events that the endpoint has
        already are not sent to it twice.
        """
        return change_in_chunks(
            self._database,
            lambda sql: numbers_of(sql, selection, f"{WAITING} AND {OVER} AND NOT {IS_END}"),
            partial(_move, endpoint=endpoint, now=now),
            self.progress,
        )

    def ends(self, selection: Selection) -> list[tuple[str, str]]:
        """Return the ids of the waiting deliveries that report a scan's end, each with the id of its event."""
        its = "(SELECT id FROM event WHERE number = d.event), d.endpoint"
        query = f"SELECT {its} FROM {selection.source} WHERE {selection.where} AND {WAITING} AND {IS_END}"
        with self._database.reading() as sql:
            rows = sql.execute(f"{query} ORDER BY d.number", selection.values).fetchall()
        found = [(id_of_key(key), endpoint) for key, endpoint in rows]
        return [(delivery_id(event, endpoint), event) for event, endpoint in found]

    def take_away(self, selection: Selection) -> int:
        """Delete waiting deliveries with their own attempts and events; return how many."""
        return change_in_chunks(
            self._database,
            lambda sql: numbers_of(sql, selection, WAITING),
            partial(_delete, still=WAITING),
        )

    def drop(self, selection: Selection) -> int:
        """Delete dead letters with their own attempts and events; return how many. Those of a running scan stay.

        Also erases what was deleted before, by a command that was killed.
        """
        dropped = change_in_chunks(
            self._database,
            lambda sql: numbers_of(sql, selection, f"{DEAD} AND {OVER}"),
            partial(_delete_for_good, still=DEAD),
            self.progress,
        )
        if self.erasure.is_needed():
            self._erase()
        return dropped

    def purge(self, selection: Selection) -> int:
        """Delete deliveries in the selected states, with their own attempts, handles and events; return how many.

        Those of a running scan stay. `erasure` is to follow.
        """
        which = "true" if State.WAITING in selection.states else SETTLED
        purged = change_in_chunks(
            self._database,
            lambda sql: numbers_of(sql, selection, f"{which} AND {OVER}"),
            partial(_delete_for_good, still=which, handles=True),
            self.progress,
        )
        with self._database.writing() as sql:
            if self._forget_scans(sql):
                note_order(sql)
        return purged

    def waiting_endpoints(self) -> list[str]:
        """Return the names of the endpoints with waiting deliveries; not those that only a damaged row has."""
        with self._database.reading() as sql:
            return [name for (name,) in sql.execute(WAITING_ENDPOINTS) if isinstance(name, str)]

    def expire(self, endpoint: str, reason: DeadReason, max_age: float, now: float, over: bool = False) -> int:
        """Turn an endpoint's deliveries that have waited longer than `max_age` seconds at `now` into dead letters;
        return how many.

        Args:
            over: only those that do not wait for the end of their scan.
        """
        return change_in_chunks(
            self._database,
            partial(_waiting_since, endpoint=endpoint, before=now - max_age, over=over),
            partial(_bury, reason=reason.value, now=now),
        )

    def _erase(self) -> None:
        trouble = self.erasure.run()
        if trouble:
            text = (
                "webhooks: deleted content may still be in %s or %s-wal: %s; sfwebhooks run tries again within an hour"
            )
            log.warning(text, self._database.path, self._database.path.name, trouble)

    def prune(self, now: float, keep_delivered: float, keep_dead: float, chunks: int = sys.maxsize // CHUNK) -> int:
        """Delete deliveries settled long ago, the oldest first; return how many. Those of a running scan stay.

        Also erases what was deleted, by other processes too (`erasure`).

        Args:
            now: epoch seconds.
            keep_delivered: seconds for which a delivery stays once delivered.
            keep_dead: seconds for which a dead letter stays.
            chunks: most chunks of 500 to delete.
        """
        with self._database.sparing():
            return self._prune(now, keep_delivered, keep_dead, chunks)

    def _prune(self, now: float, keep_delivered: float, keep_dead: float, chunks: int) -> int:
        whole, delivered = self._database.drop_delivered(now - keep_delivered, keep_delivered)
        pruned = 0
        ages = [(State.DELIVERED, age) for age in delivered]
        for state, age in (*ages, (State.DEAD, f"d.settled_at < {now - keep_dead!r}")):
            old = f"{SETTLED} AND d.state = '{state.value}' AND {age}"
            oldest = partial(numbers_of, also=f"{old} AND {OVER}", order="d.settled_at", limit=chunks * CHUNK - pruned)
            pruned += change_in_chunks(
                self._database, partial(oldest, selection=Selection()), partial(_delete, still=old)
            )
        pruned += whole
        with self._database.writing() as sql:
            for kept in ("handle", "digest_part"):
                sql.execute(f"DELETE FROM {kept} WHERE at < ?", (now - HANDLE_SECONDS,))
            sql.execute(WITHOUT_TICKET)
            if pruned | self._forget_scans(sql, now - SCAN_SECONDS):
                note_deletion(sql, now)
        self.erasure.maintain(now)
        return pruned

    def _forget_scans(self, sql: Sql, before: float = math.inf) -> int:
        """Forget names and targets of scans that are over and have no events left; return of how many.

        Their ids stay, so that no end is reported twice, and so do the numbers given to their deliveries. A scan that
        is being backfilled needs them: its lock is held.

        Args:
            before: only scans that began before this time, in epoch seconds.
        """
        locks = self._database.locks
        found = [scan for (scan,) in sql.execute(EMPTY_SCANS, (before,)) if locks.scan(scan).is_free]
        sql.executemany(FORGET_EVIDENCE, [(scan,) for scan in found])
        sql.executemany(FORGET_SCAN, [(scan,) for scan in found])
        return len(found)


def _waiting_since(sql: Sql, endpoint: str, before: float, over: bool) -> list[int]:
    """Return the numbers of an endpoint's waiting deliveries that were accepted before a time, and perhaps only those
    whose scan is over.

    The members of a batch are as old as the youngest, so that it is repeated unchanged, or not at all.
    """
    query = (
        f"SELECT number FROM ({WAITING_SINCE}) d WHERE NOT EXISTS (SELECT 1 FROM delivery WHERE batch = d.batch"
        " AND state = 'waiting' AND batch IS NOT NULL AND accepted_at >= ?2)"
        f" AND {OVER if over else 'true'} ORDER BY accepted_at"
    )
    return [row[0] for row in sql.execute(query, (endpoint, before))]


def send_again(sql: Sql, chunk: Sequence[tuple[int, int]], now: float, interval: float) -> int:
    """Make the deliveries due again; `chunk` holds (position in the whole selection, row number)."""
    sql.executemany(NO_LONGER_PENDING, [(number,) for _, number in chunk])
    return sql.executemany(
        "UPDATE delivery SET state = 'waiting', replays = replays + 1, attempts = 0, crashes = 0, batch = NULL,"
        " refusals = 0, refused_in = NULL,"
        " reason = '', settled_at = NULL, accepted_at = ?, due_at = ? WHERE number = ? AND state <> 'waiting'",
        [(now + place * interval, now + place * interval, number) for place, number in chunk],  # its age from then
    ).rowcount


def _bury(sql: Sql, chunk: Sequence[int], reason: str, now: float) -> int:
    sql.execute(dying("?", f"number IN ({marks(chunk)}) AND state = 'waiting'"), (reason, reason, *chunk))
    return sql.executemany(
        "UPDATE delivery SET state = 'dead', reason = ?, settled_at = ? WHERE number = ? AND state = 'waiting'",
        [(reason, now, number) for number in chunk],
    ).rowcount


def _wanted(event: WebhookEvent, endpoint: Endpoint) -> list[Wanted]:
    """Return the endpoint if it wants an event; one with garbage for data, which no filter can read, by its name."""
    try:
        return Screen((endpoint,)).of(event)[0]
    except ValueError:
        name = endpoint.name_for(event)
        return [Wanted(endpoint.name, name)] if name else []


def _move(sql: Sql, chunk: Sequence[int], endpoint: Endpoint, now: float) -> int:
    where = f"WHERE d.number IN ({marks(chunk)}) AND {WAITING} ORDER BY d.number"
    taken = []
    for number, delivery in [*deliveries(sql, where, chunk)]:
        wanted = _wanted(delivery.event, endpoint)
        if wanted:
            insert(sql, delivery.event, wanted, now, delivery.backfilled)
            taken.append(number)
    return _delete(sql, taken, WAITING)


def _delete(sql: Sql, chunk: Sequence[int], still: str, handles: bool = False) -> int:
    """Delete the rows that meet the condition `still`, their attempts, what receivers called their pending requests,
    and events without other deliveries.

    Args:
        handles: also what receivers called their subjects.
    """
    its = "d.number, d.event, d.endpoint, d.subject, d.batch"
    # by their numbers: the index of an age would be read as a whole for each chunk
    query = f"SELECT {its} FROM delivery d NOT INDEXED WHERE d.number IN ({marks(chunk)}) AND {still}"
    rows = sql.execute(query, chunk).fetchall()
    sql.executemany("DELETE FROM delivery_attempt WHERE number = ?", [(row[0],) for row in rows])
    sql.executemany("DELETE FROM delivery WHERE number = ?", [(row[0],) for row in rows])
    sql.executemany(
        "DELETE FROM event WHERE number = ? AND NOT EXISTS (SELECT 1 FROM delivery WHERE event = event.number)",
        [(row[1],) for row in rows],
    )
    its_names = [
        (row[2], about) for row in rows for about in (row[3] if handles else None, row[4]) if about is not None
    ]
    sql.executemany(ITS_HANDLE, its_names)
    return len(rows)


def _delete_for_good(sql: Sql, chunk: Sequence[int], still: str, handles: bool = False) -> int:
    """Do as `_delete` by an operator's order."""
    note_order(sql)
    return _delete(sql, chunk, still, handles)
