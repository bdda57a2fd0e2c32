"""The outbox file's tables, as numbered steps. `PRAGMA user_version` tells how many were taken.

A step leaves the file such that processes of an earlier version that have it open go on working.
"""

from __future__ import annotations

import sqlite3

from sfwebhooks.errors import OutboxError

STEPS = (
    """
    CREATE TABLE scan (
        id          TEXT PRIMARY KEY,
        name        TEXT NOT NULL,
        target      TEXT NOT NULL,
        target_type TEXT NOT NULL,
        version     TEXT NOT NULL,
        database    TEXT NOT NULL,  -- the host's database that holds it
        begun_at    REAL NOT NULL,
        ended       TEXT            -- name of the event that told its end
    ) WITHOUT ROWID;
    -- files that were made before the third step have their rows by id, which is slower: to make them anew takes as
    -- much room on the disk as there is
    CREATE TABLE event (
        id       TEXT NOT NULL UNIQUE,
        scan_id  TEXT,
        type     TEXT NOT NULL,
        severity INTEGER NOT NULL,
        special  TEXT,
        at       REAL NOT NULL,
        data     TEXT NOT NULL      -- JSON
    );
    CREATE TABLE delivery (
        number     INTEGER PRIMARY KEY,     -- order of acceptance
        id         TEXT NOT NULL UNIQUE,
        event_id   TEXT NOT NULL,
        endpoint   TEXT NOT NULL,
        name       TEXT NOT NULL,           -- the event name that the endpoint subscribed to
        sequence   INTEGER NOT NULL,
        state      TEXT NOT NULL,           -- waiting, delivered, dead
        attempts   INTEGER NOT NULL DEFAULT 0,
        crashes    INTEGER NOT NULL DEFAULT 0,  -- how often its making killed a process
        due_at     REAL NOT NULL,
        settled_at REAL,
        reason     TEXT NOT NULL DEFAULT ''
    );
    CREATE INDEX delivery_fresh ON delivery (endpoint, due_at, number) WHERE state = 'waiting' AND attempts = 0;
    CREATE INDEX delivery_late ON delivery (endpoint, due_at) WHERE state = 'waiting' AND attempts > 0;
    CREATE INDEX delivery_event ON delivery (event_id);
    CREATE INDEX event_scan ON event (scan_id);
    CREATE TABLE attempt (
        delivery_id TEXT NOT NULL,
        at          REAL NOT NULL,
        seconds     REAL NOT NULL,
        status      INTEGER,
        reason      TEXT NOT NULL,
        excerpt     TEXT NOT NULL,
        cause       TEXT NOT NULL
    );
    CREATE INDEX attempt_delivery ON attempt (delivery_id);
    CREATE TABLE sequence (
        scan_id  TEXT NOT NULL,
        endpoint TEXT NOT NULL,
        last     INTEGER NOT NULL,
        PRIMARY KEY (scan_id, endpoint)
    ) WITHOUT ROWID;
    CREATE TABLE health (
        endpoint    TEXT PRIMARY KEY,
        condition   TEXT NOT NULL,
        reason      TEXT NOT NULL,
        since       REAL NOT NULL,
        failures    INTEGER NOT NULL,
        open_at     REAL NOT NULL,
        probes      INTEGER NOT NULL,
        fingerprint TEXT NOT NULL
    ) WITHOUT ROWID;
    """,
    """
    ALTER TABLE delivery ADD COLUMN accepted_at REAL NOT NULL DEFAULT 0;
    -- how often an operator had it sent again
    ALTER TABLE delivery ADD COLUMN replays INTEGER NOT NULL DEFAULT 0;
    -- id of the batch that it goes out in
    ALTER TABLE delivery ADD COLUMN batch TEXT;
    UPDATE delivery SET accepted_at = coalesce((SELECT at FROM event WHERE event.id = delivery.event_id), 0);
    DROP INDEX delivery_fresh;
    DROP INDEX delivery_late;
    CREATE INDEX delivery_fresh ON delivery (endpoint, due_at, number)
        WHERE state = 'waiting' AND attempts = 0 AND replays = 0 AND batch IS NULL;
    CREATE INDEX delivery_late ON delivery (endpoint, due_at)
        WHERE state = 'waiting' AND (attempts > 0 OR replays > 0 OR batch IS NOT NULL);
    CREATE INDEX delivery_age ON delivery (endpoint, accepted_at) WHERE state = 'waiting';
    CREATE INDEX delivery_settled ON delivery (state, settled_at) WHERE state <> 'waiting';
    CREATE INDEX delivery_batch ON delivery (batch) WHERE state = 'waiting' AND batch IS NOT NULL;
    CREATE TABLE withheld (
        scan_id  TEXT NOT NULL,
        endpoint TEXT NOT NULL,
        reason   TEXT NOT NULL,         -- outbox_full
        number   INTEGER NOT NULL,
        PRIMARY KEY (scan_id, endpoint, reason)
    ) WITHOUT ROWID;
    CREATE TABLE operator (             -- what people said of an endpoint
        endpoint     TEXT PRIMARY KEY,
        paused_until REAL NOT NULL,
        resets       INTEGER NOT NULL   -- how often it was to be taken for healthy
    ) WITHOUT ROWID;
    CREATE TABLE frozen (               -- batches in flight: if they are never settled, these are their members
        id       TEXT PRIMARY KEY,
        endpoint TEXT NOT NULL,
        members  TEXT NOT NULL          -- JSON, ids of deliveries
    ) WITHOUT ROWID;
    CREATE TABLE compatible (
        oldest INTEGER NOT NULL         -- code that knows so many steps may use a file that has more
    );
    INSERT INTO compatible VALUES (2);
    """,
    """
    -- in the place of attempt, which has only what processes of an earlier version write that still run
    CREATE TABLE delivery_attempt (
        number  INTEGER NOT NULL,       -- of the delivery
        at      REAL NOT NULL,
        seconds REAL NOT NULL,
        status  INTEGER,
        reason  TEXT NOT NULL,
        excerpt TEXT NOT NULL,
        cause   TEXT NOT NULL
    );
    INSERT INTO delivery_attempt
        SELECT d.number, a.at, a.seconds, a.status, a.reason, a.excerpt, a.cause
        FROM attempt a JOIN delivery d ON d.id = a.delivery_id ORDER BY a.rowid;
    DELETE FROM attempt;
    CREATE INDEX delivery_attempt_number ON delivery_attempt (number);
    -- those that came to a probe: few, which a scan's end has to find among many
    CREATE INDEX delivery_probed ON delivery (endpoint, number)
        WHERE state = 'waiting' AND attempts = 0 AND replays = 0 AND batch IS NULL AND due_at > accepted_at;
    """,
)


def upgrade(connection: sqlite3.Connection) -> None:
    """Bring a file to the newest step, in one transaction; several processes may call this at once.

    A file of a newer sfwebhooks is used as it is, if it says that this is possible.

    Raises:
        OutboxError: the file was made by a newer sfwebhooks, and must not be used.
    """
    if _is_ready(connection):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        if not _is_ready(connection):  # again, under the lock
            for step in STEPS[_version(connection) :]:
                for statement in step.split(";\n"):
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {len(STEPS)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk has ended it already
            connection.execute("ROLLBACK")
        raise


def _is_ready(connection: sqlite3.Connection) -> bool:
    taken = _version(connection)
    if taken <= len(STEPS):
        return taken == len(STEPS)
    known = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'compatible'").fetchone()[0]
    if known and connection.execute("SELECT max(oldest) FROM compatible").fetchone()[0] <= len(STEPS):
        return True
    raise OutboxError(f"was made by a newer sfwebhooks (schema {taken}, known here: {len(STEPS)}); upgrade")


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
