"""The outbox: the SQLite file that keeps each delivery until it is settled. Our file is touched here only.

    accept --> waiting --claim, attempt, settle--> delivered
                  ^  |                         \\-> dead (a dead letter: verdict, retries, age, crashed sender)
                  \\--/ retry at due_at

What is waiting belongs to whoever holds the lock of its endpoint's URL (`locks`), so a claim needs no lease and
writes nothing.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import astuple
from pathlib import Path
from typing import Any

from sfwebhooks.attempts import Attempt
from sfwebhooks.errors import OutboxBusyError, OutboxError
from sfwebhooks.events import Delivery, Scan, WebhookEvent, delivery_id
from sfwebhooks.pacing import Condition, Health
from sfwebhooks.retry import Settlement, State
from sfwebhooks.schema import upgrade
from sfwebhooks.severity import Severity

FILE = "webhooks.db"
#: seconds that a statement waits for another process's write
BUSY_SECONDS = 1.0
#: a message whose making killed its process so often is not made again
CRASHES_MAX = 3
#: an event and who wants it: (endpoint, name under which)
Accepted = tuple[WebhookEvent, Sequence[tuple[str, str]]]

SELECT_DELIVERY = """
    SELECT d.id, d.endpoint, d.name, d.sequence, d.attempts,
           e.id, e.type, e.severity, e.at, e.data, e.special,
           s.id, s.name, s.target, s.target_type, s.version, s.database
    FROM delivery d JOIN event e ON e.id = d.event_id LEFT JOIN scan s ON s.id = e.scan_id
"""


class Outbox:
    """One connection to the file, for use by any thread, one at a time.

    Args:
        path: the file; it is made, mode 0600, when first needed.
        accepting: for the scan's side: never spends time on a checkpoint (the sending side does that).
    """

    def __init__(self, path: Path, accepting: bool = False) -> None:
        self.path = path
        self._accepting = accepting
        self._connection: sqlite3.Connection | None = None
        self._guard = threading.RLock()

    # --- scan's side

    def accept(self, items: Iterable[Accepted], now: float) -> int:
        """Commit the deliveries of some events, each event once; return how many deliveries are new."""
        with self._writing() as sql:
            return sum(_accept(sql, event, wanted, now) for event, wanted in items)

    def begin_scan(self, scan: Scan, event: WebhookEvent, wanted: Sequence[tuple[str, str]], now: float) -> None:
        """Commit a scan and the event that tells its beginning, unless they are there."""
        with self._writing() as sql:
            sql.execute("INSERT OR IGNORE INTO scan VALUES (?, ?, ?, ?, ?, ?, ?, NULL)", (*astuple(scan), now))
            _accept(sql, event, wanted, now)

    def end_scan(self, event: WebhookEvent, wanted: Sequence[tuple[str, str]], now: float) -> bool:
        """Commit the event that tells a scan's end; return False if another teller was first."""
        scan_id = event.scan.id if event.scan else ""
        with self._writing() as sql:
            changed = sql.execute("UPDATE scan SET ended = ? WHERE id = ? AND ended IS NULL", (event.type, scan_id))
            if changed.rowcount:
                _accept(sql, event, wanted, now)
            return bool(changed.rowcount)

    def known_events(self, scan_id: str) -> set[str]:
        """Return the ids of all events of a scan."""
        with self._reading() as sql:
            return {row[0] for row in sql.execute("SELECT id FROM event WHERE scan_id = ?", (scan_id,))}

    def open_scans(self) -> list[tuple[Scan, float]]:
        """Return the scans whose end was not told, each with the time at which it was begun."""
        with self._reading() as sql:
            rows = sql.execute("SELECT * FROM scan WHERE ended IS NULL").fetchall()
        return [(Scan(*row[:6]), row[6]) for row in rows]

    def tallies(self, scan_id: str | None = None) -> dict[str, int]:
        """Return how many deliveries are in each state, of one scan or of all. Counts the rows: not for a hot path."""
        query = "SELECT d.state, count(*) FROM delivery d JOIN event e ON e.id = d.event_id"
        where = " WHERE e.scan_id = ?" if scan_id else ""
        with self._reading() as sql:
            rows = sql.execute(query + where + " GROUP BY d.state", (scan_id,) if scan_id else ()).fetchall()
        return {state.value: 0 for state in State} | dict(rows)

    def tallies_by_endpoint(self) -> dict[str, dict[str, int]]:
        """Return endpoint -> state -> deliveries. Counts the rows: not for a hot path."""
        found: dict[str, dict[str, int]] = {}
        with self._reading() as sql:
            for endpoint, state, number in sql.execute(
                "SELECT endpoint, state, count(*) FROM delivery GROUP BY endpoint, state"
            ):
                found.setdefault(endpoint, {})[state] = number
        return found

    # --- sending side

    def claim(self, endpoint: str, busy: Collection[str], now: float, longest: float) -> Delivery | None:
        """Return the next delivery of an endpoint that is due, fresh before late.

        Args:
            busy: ids of deliveries in flight, not to be returned.
            longest: seconds; a due time further ahead than this comes from a clock that was set back.
        """
        with self._reading() as sql:
            row = _next(sql, endpoint, busy, now, longest)
        return _delivery(row) if row else None

    def blame(self, delivery_id: str, now: float) -> None:
        """Count that the making of a delivery's message killed its process, or raised; at CRASHES_MAX it is dead."""
        with self._writing() as sql:
            sql.execute("UPDATE delivery SET crashes = crashes + 1 WHERE id = ? AND state = 'waiting'", (delivery_id,))
            sql.execute(
                "UPDATE delivery SET state = 'dead', reason = 'crashed_sender', settled_at = ?"
                " WHERE id = ? AND state = 'waiting' AND crashes >= ?",
                (now, delivery_id, CRASHES_MAX),
            )

    def settle(self, delivery: Delivery, attempt: Attempt, settlement: Settlement, health: Health | None) -> None:
        """Commit what became of an attempt, and the endpoint's health if it changed."""
        with self._writing() as sql:
            sql.execute("INSERT INTO attempt VALUES (?, ?, ?, ?, ?, ?, ?)", (delivery.id, *astuple(attempt)))
            sql.execute(
                "UPDATE delivery SET state = ?, reason = ?, due_at = ?, settled_at = ?,"
                " attempts = attempts + ? WHERE id = ?",
                (
                    settlement.state.value,
                    settlement.reason,
                    settlement.due_at,
                    None if settlement.state is State.WAITING else attempt.at + attempt.seconds,
                    int(settlement.counts),
                    delivery.id,
                ),
            )
            if health:
                _save_health(sql, delivery.endpoint, health)

    def next_due(self, endpoint: str) -> float | None:
        """Return when the next delivery of the endpoint is due (0 if it is a fresh one), or None if none waits."""
        with self._reading() as sql:
            row: tuple[float | None] = sql.execute(
                "SELECT CASE WHEN EXISTS (SELECT 1 FROM delivery WHERE endpoint = ?1 AND state = 'waiting' AND"
                " attempts = 0) THEN 0.0 ELSE (SELECT min(due_at) FROM delivery WHERE endpoint = ?1"
                " AND state = 'waiting' AND attempts > 0) END",
                (endpoint,),
            ).fetchone()
        return row[0]

    def make_due(self, endpoint: str, now: float) -> None:
        """Let all waiting deliveries of an endpoint be tried at once."""
        with self._writing() as sql:
            sql.execute(
                "UPDATE delivery SET due_at = ? WHERE endpoint = ? AND state = 'waiting' AND attempts > 0",
                (now, endpoint),
            )

    def health(self, endpoint: str) -> Health:
        """Return the health of an endpoint as it was last written."""
        with self._reading() as sql:
            row = sql.execute("SELECT * FROM health WHERE endpoint = ?", (endpoint,)).fetchone()
        return Health(Condition(row[1]), *row[2:]) if row else Health()

    def forget_health(self, endpoint: str) -> None:
        """Take an endpoint for healthy again."""
        with self._writing() as sql:
            sql.execute("DELETE FROM health WHERE endpoint = ?", (endpoint,))

    def checkpoint(self) -> None:
        """Write the log back into the file, without waiting for anybody."""
        with self._reading() as sql:
            sql.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def close(self) -> None:
        """Close the connection; the next call opens it again."""
        with self._guard:
            if self._connection:
                self._connection.close()
                self._connection = None

    # --- the file

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Open a write transaction, commit it at the end; nothing of it stays if anything raises."""
        with self._reading() as sql:
            sql.execute("BEGIN IMMEDIATE")
            try:
                yield sql
                sql.execute("COMMIT")
            finally:
                if sql.in_transaction:
                    sql.execute("ROLLBACK")

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """Lend the connection, and translate what sqlite3 raises."""
        with self._guard:
            try:
                if self._connection is None:
                    self._connection = self._open()
                yield self._connection
            except sqlite3.OperationalError as error:
                text = str(error)
                if "locked" in text or "busy" in text or "full" in text:
                    raise OutboxBusyError(f"outbox {self.path}: {text}") from error
                raise OutboxError(f"outbox {self.path} cannot be used: {text}") from error
            except sqlite3.DatabaseError as error:
                raise OutboxError(f"outbox {self.path} cannot be used: {error}") from error
            except OSError as error:
                raise OutboxError(f"outbox {self.path} cannot be used: {error.strerror}") from error

    def _open(self) -> sqlite3.Connection:
        # only a new file: to close a descriptor of a file that SQLite has open drops all of our locks on it, and the
        # next process to close it would delete the log that we write to (sqlite.org/howtocorrupt.html, 2.2)
        with suppress(FileExistsError):
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        connection = sqlite3.connect(
            str(self.path), timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            _use_log(connection)
            connection.execute("PRAGMA synchronous = NORMAL")
            if self._accepting:
                connection.execute("PRAGMA wal_autocheckpoint = 0")
            upgrade(connection)
        except OutboxError as error:
            connection.close()
            raise OutboxError(f"outbox {self.path} {error}") from error
        except BaseException:
            connection.close()
            raise
        return connection


def _use_log(connection: sqlite3.Connection) -> None:
    """Set WAL, for which SQLite does not wait as elsewhere. A file system that cannot have it goes on without."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _accept(sql: sqlite3.Connection, event: WebhookEvent, wanted: Sequence[tuple[str, str]], now: float) -> int:
    """Insert an event and its deliveries as far as they are not there, each with its endpoint's next number."""
    known = "SELECT 1 FROM delivery WHERE id = ?"
    new = [pair for pair in wanted if not sql.execute(known, (delivery_id(event.id, pair[0]),)).fetchone()]
    if not new:
        return 0
    scan_id = event.scan.id if event.scan else ""
    sql.execute(
        "INSERT OR IGNORE INTO event (id, scan_id, type, severity, special, at, data) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (event.id, scan_id, event.type, int(event.severity), event.special, event.at, json.dumps(event.data)),
    )
    for endpoint, name in new:
        sql.execute(
            "INSERT INTO sequence VALUES (?, ?, 1) ON CONFLICT (scan_id, endpoint) DO UPDATE SET last = last + 1",
            (scan_id, endpoint),
        )
        sql.execute(
            "INSERT INTO delivery (id, event_id, endpoint, name, sequence, state, due_at)"
            " SELECT ?, ?, ?, ?, last, 'waiting', ? FROM sequence WHERE scan_id = ? AND endpoint = ?",
            (delivery_id(event.id, endpoint), event.id, endpoint, name, now, scan_id, endpoint),
        )
    return len(new)


def _next(
    sql: sqlite3.Connection, endpoint: str, busy: Collection[str], now: float, longest: float
) -> tuple[Any, ...] | None:
    """Return the row of the next delivery that is due: a fresh one, else the late one that waits longest.

    A fresh one that an endpoint refused while it was not healthy has a new due time, so another one probes next.
    """
    marks = ",".join("?" * len(busy))
    fresh = f"d.attempts = 0 AND d.id NOT IN ({marks}) ORDER BY d.due_at, d.number LIMIT 1"
    late = f"d.attempts > 0 AND d.id NOT IN ({marks}) AND (d.due_at <= ? OR d.due_at > ?) ORDER BY d.due_at LIMIT 1"
    for where, times in ((fresh, ()), (late, (now, now + longest))):
        query = f"{SELECT_DELIVERY} WHERE d.endpoint = ? AND d.state = 'waiting' AND {where}"
        row: tuple[Any, ...] | None = sql.execute(query, (endpoint, *busy, *times)).fetchone()
        if row:
            return row
    return None


def _delivery(row: Sequence[Any]) -> Delivery:
    """Return the delivery of a row of SELECT_DELIVERY."""
    event_id, event_type, severity, at, data, special = row[5:11]
    scan = Scan(*row[11:17]) if row[11] else None
    event = WebhookEvent(event_id, event_type, Severity(severity), at, json.loads(data), scan, special)
    return Delivery(row[0], event, *row[1:5])


def _save_health(sql: sqlite3.Connection, endpoint: str, health: Health) -> None:
    condition, *rest = astuple(health)
    sql.execute("INSERT OR REPLACE INTO health VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (endpoint, condition.value, *rest))
