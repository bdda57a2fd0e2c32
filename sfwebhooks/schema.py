"""The outbox file's tables, as numbered steps that only add. `PRAGMA user_version` tells how many were taken."""

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
    CREATE TABLE event (
        id       TEXT PRIMARY KEY,
        scan_id  TEXT,
        type     TEXT NOT NULL,
        severity INTEGER NOT NULL,
        special  TEXT,
        at       REAL NOT NULL,
        data     TEXT NOT NULL      -- JSON
    ) WITHOUT ROWID;
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
)


def upgrade(connection: sqlite3.Connection) -> None:
    """Bring a file to the newest step, in one transaction; several processes may call this at once.

    Raises:
        OutboxError: the file was made by a newer sfwebhooks.
    """
    if _version(connection) == len(STEPS):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        taken = _version(connection)  # again, under the lock
        if taken > len(STEPS):
            raise OutboxError(f"was made by a newer sfwebhooks (schema {taken}, known here: {len(STEPS)}); upgrade")
        for step in STEPS[taken:]:
            for statement in step.split(";\n"):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(STEPS)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk has ended it already
            connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
