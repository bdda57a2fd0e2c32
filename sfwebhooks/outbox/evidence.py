"""Evidence of what endpoints with `proof` were sent: the SHA-256 of each body, from its attempt until its scan's
deliveries are gone; and the chain of statements that were made from it.

`queue.settle` records it in the transaction that records the attempt. `delivery/proving` turns it into statements.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sfwebhooks.events import Batch, Scan, WebhookEvent, delivery_id, event_key_of, id_of_key, key_of, lifecycle_id
from sfwebhooks.fingerprints import canonical
from sfwebhooks.jsontext import Stored
from sfwebhooks.outbox.claim import IN_PARTS
from sfwebhooks.outbox.database import Database, Sql
from sfwebhooks.outbox.rows import LATE, PROBED, insert, parts
from sfwebhooks.outbox.scan_receipt import own
from sfwebhooks.retry import Settlement, State
from sfwebhooks.screening import Wanted
from sfwebhooks.severity import Severity
from sfwebhooks.statements import PROOF, Subject

#: of a scan's (?2) messages in a request to an endpoint (?1); a body that is accepted at last is stated again
RECORD = """
    INSERT INTO evidence SELECT ?1, number, ?3, ?4, ?5, ?6, ?7, 0 FROM scan WHERE id = ?2
    ON CONFLICT (endpoint, scan, id, sha256) DO UPDATE
    SET accepted = max(evidence.accepted, excluded.accepted), at = excluded.at,
        stated = CASE WHEN excluded.accepted > evidence.accepted THEN 0 ELSE evidence.stated END
"""
#: the scans that are over and have evidence that is in no statement, each found by a jump in an index, and the time
#: from which a statement does not wait for long
RIPE = """
    WITH RECURSIVE its (scan) AS (
        SELECT min(scan) FROM evidence WHERE endpoint = ?1 AND stated = 0
        UNION ALL SELECT (SELECT min(scan) FROM evidence WHERE endpoint = ?1 AND stated = 0 AND scan > its.scan)
        FROM its WHERE its.scan IS NOT NULL
    )
    SELECT s.number, s.id,
        (SELECT min(at) FROM evidence WHERE endpoint = ?1 AND stated = 0 AND scan = s.number)
    FROM its JOIN scan s ON s.number = its.scan AND s.ended <> ''
"""
#: the state and the event's id of each of a scan's (?2) deliveries to an endpoint (?1), other than statements
ITS_MESSAGES = f"""
    FROM event e JOIN delivery d ON d.event = e.number AND d.endpoint = ?1
    WHERE e.scan = ?2 AND e.type <> '{PROOF}'
"""
#: of the first waiting deliveries to an endpoint (?1), other than statements, each one's scan
WAITING_SCANS = f"""
    SELECT e.scan, e.type FROM (
        SELECT * FROM ({parts()} SELECT event {IN_PARTS} LIMIT ?2) new
        UNION ALL SELECT * FROM (SELECT event FROM delivery WHERE endpoint = ?1 AND {PROBED} LIMIT ?2) probed
        UNION ALL SELECT * FROM (SELECT event FROM delivery WHERE endpoint = ?1 AND {LATE} LIMIT ?2) late
    ) w JOIN event e ON e.number = w.event
"""
#: most of them that are looked at each time; an endpoint with more has a backlog, and its statements wait for that
LOOKED_AT = 500
#: differs once there is other evidence
MARK = """
    SELECT count(*), coalesce(sum(accepted), 0), max(at) FROM evidence WHERE endpoint = ? AND scan = ? AND stated = 0
"""
END = "SELECT at, data FROM event WHERE scan = ? AND id = ?"


@dataclass(frozen=True)
class Ground:
    """All that a statement about a scan is made from."""

    scan: Scan
    #: the event that reports the scan's end, as the endpoint is sent it, with its receipt; None: it is not known
    end: WebhookEvent | None
    #: what no earlier statement has, by id
    subjects: Sequence[Subject]
    #: number of messages that are delivered
    delivered: int
    #: ids of the messages that wait, and of those that are dead, in order
    pending: Sequence[str]
    dead: Sequence[str]
    #: number of the statement in its chain, and the SHA-256 of the one before it; empty: it is the first
    number: int
    previous: str
    #: number of the scan in the outbox, and what `MARK` said; opaque
    place: tuple[int, object]


class Evidence:
    """The evidence in an outbox. All methods raise OutboxError, as those of `Outbox` do."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def ripe(self, endpoint: str, now: float, patience: float) -> list[int]:
        """Return the scans, by opaque numbers, about which a statement to an endpoint is due.

        Args:
            patience: seconds that a statement waits for messages that are not settled.
        """
        with self._database.reading() as sql:
            return [
                number
                for number, scan_id, since in sql.execute(RIPE, (endpoint,)).fetchall()
                if _is_ripe(sql, endpoint, (number, scan_id, since), now - patience)
            ]

    def ground(self, endpoint: str, number: int) -> Ground:
        """Return what a statement about one of these scans is made from; this reads all of its deliveries."""
        with self._database.reading() as sql:
            return _ground(sql, endpoint, number)

    def state(self, endpoint: str, ground: Ground, made: Sequence[tuple[WebhookEvent, str]], now: float) -> int:
        """Commit the statements about a scan, each as a delivery to the endpoint, unless another process was first or
        there is more to state by now; return how many were committed.

        After a kill it is either all stated or none of it.

        Args:
            made: in their order, the event that carries each, and the SHA-256 of each.
        """
        number, mark = ground.place
        chain = _chain(endpoint, ground.scan)
        with self._database.writing() as sql:
            if (mark, ground.number - 1, ground.previous) != (_mark(sql, endpoint, number), *_last(sql, chain)):
                return 0
            for event, _ in made:
                insert(sql, event, [Wanted(endpoint, PROOF)], now)
            sql.execute(
                "UPDATE evidence SET stated = 1 WHERE endpoint = ? AND scan = ? AND stated = 0", (endpoint, number)
            )
            last = (chain, ground.number + len(made) - 1, bytes.fromhex(made[-1][1]))
            sql.execute("INSERT OR REPLACE INTO statement VALUES (?, ?, ?)", last)
        return len(made)


def evidence_of(
    batch: Batch, sha256: bytes, settlements: Sequence[Settlement], at: float
) -> Iterator[tuple[object, ...]]:
    """Yield the parameters of RECORD for a request, one row for each scan with messages in it other than statements.

    Args:
        sha256: of its body, before compression.
        at: epoch seconds of the attempt.
    """
    accepted: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for delivery, new in zip(batch.deliveries, settlements):
        if delivery.event.scan and delivery.event.type != PROOF:
            counts[delivery.event.scan_id] += 1
            accepted[delivery.event.scan_id] += new.state is State.DELIVERED or new.pending
    key = key_of(batch.id)
    for scan_id, messages in counts.items():
        taken = accepted[scan_id]
        yield batch.deliveries[0].endpoint, scan_id, key, sha256, taken or messages, int(taken > 0), at


def _is_ripe(sql: Sql, endpoint: str, row: tuple[int, str, float], before: float) -> bool:
    number, scan_id, since = row
    end = sql.execute(END, (number, event_key_of(lifecycle_id(scan_id, "ended")))).fetchone()
    if max(since, end[0] if end else since) <= before:
        return True
    if end is None:  # more may be accepted at any moment: of a past scan, by a backfill
        return False
    waiting = sql.execute(WAITING_SCANS, (endpoint, LOOKED_AT)).fetchall()
    return len(waiting) < LOOKED_AT and all(scan != number for scan, kind in waiting if kind != PROOF)


def _mark(sql: Sql, endpoint: str, number: int) -> object:
    return sql.execute(MARK, (endpoint, number)).fetchone()


def _last(sql: Sql, chain: bytes) -> tuple[int, str]:
    """Return the number and the SHA-256 of the last statement of a chain."""
    number, sha256 = sql.execute("SELECT number, sha256 FROM statement WHERE chain = ?", (chain,)).fetchone() or (
        0,
        b"",
    )
    return number, sha256.hex()


def _ground(sql: Sql, endpoint: str, number: int) -> Ground:
    mark = _mark(sql, endpoint, number)  # first: what is recorded from now on is noticed by `state`
    columns = "id, name, target, target_type, version, database"
    scan = Scan(*sql.execute(f"SELECT {columns} FROM scan WHERE number = ?", (number,)).fetchone())
    query = (
        "SELECT id, sha256, messages, accepted FROM evidence WHERE endpoint = ? AND scan = ? AND stated = 0"
        " ORDER BY id, accepted DESC, sha256"
    )
    found = sql.execute(query, (endpoint, number)).fetchall()
    subjects = [Subject(id_of_key(key), digest.hex(), count, bool(taken)) for key, digest, count, taken in found]
    states: dict[str, list[str]] = {"waiting": [], "dead": [], "delivered": []}
    for state, key in sql.execute(f"SELECT d.state, e.id {ITS_MESSAGES}", (endpoint, number)):
        states[state].append(delivery_id(id_of_key(key), endpoint))
    last, previous = _last(sql, _chain(endpoint, scan))
    end, left = _end(sql, endpoint, number, scan), (sorted(states["waiting"]), sorted(states["dead"]))
    return Ground(scan, end, subjects, len(states["delivered"]), *left, last + 1, previous, (number, mark))


def _end(sql: Sql, endpoint: str, number: int, scan: Scan) -> WebhookEvent | None:
    id = lifecycle_id(scan.id, "ended")
    row = sql.execute(
        "SELECT type, at, data FROM event WHERE scan = ? AND id = ?", (number, event_key_of(id))
    ).fetchone()
    if not row:
        return None
    return WebhookEvent(id, row[0], Severity.INFO, row[1], dict(own(Stored(row[2]), endpoint)), scan)


def _chain(endpoint: str, scan: Scan) -> bytes:
    """Return the key of the chain of statements to an endpoint about a target; never deleted, it names neither."""
    return hashlib.sha256(f"{endpoint}/{canonical(scan.target)}".encode("utf-8", "replace")).digest()[:16]
