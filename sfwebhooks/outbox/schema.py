"""The outbox file's tables. `PRAGMA user_version` is the version of a file's schema; 0: it has no tables.

Nothing is released, so there is one version. A change of released tables is a separate step that takes a file to the
next version in one transaction, such that processes of the previous version that have the file open continue to work;
the tables below stay unchanged, and a new file takes all steps.
"""

from __future__ import annotations

import sqlite3

from sfwebhooks.errors import MovedError, OutboxError
from sfwebhooks.outbox.counting import TRIGGERS
from sfwebhooks.outbox.moved import MOVED, words_of_mark
from sfwebhooks.outbox.views import VIEWS

VERSION = 1
TABLES = """
    CREATE TABLE file (                     -- one row, about the file itself (`series`)
        id      INTEGER PRIMARY KEY,
        series  INTEGER NOT NULL,           -- of new messages, unless their scan has a newer one
        boot    TEXT NOT NULL,              -- of the machine that opened it last
        inode   INTEGER NOT NULL,
        reused  INTEGER NOT NULL,           -- numbers of `delivery` given again after the last rows were deleted
        counted INTEGER NOT NULL,           -- id of the last attempt that `tally` includes
        erase_at REAL,                      -- when to rewrite it without deleted content (`erasure`); NULL: has none
        unordered_until REAL NOT NULL       -- attempts before that time may be in any order: they were moved here
    );
    CREATE TABLE series (
        number INTEGER PRIMARY KEY,         -- higher than those before it
        name   TEXT NOT NULL                -- as receivers see it
    );
    CREATE TABLE scan (
        number      INTEGER PRIMARY KEY,
        id          TEXT NOT NULL UNIQUE,
        name        TEXT NOT NULL,
        target      TEXT NOT NULL,
        target_type TEXT NOT NULL,
        version     TEXT NOT NULL,
        database    TEXT NOT NULL,          -- the host's database that holds it
        begun_at    REAL NOT NULL,
        ended       TEXT                    -- name of the event that reports its end; empty: it began in another file
    );
    CREATE TABLE event (
        number   INTEGER PRIMARY KEY,
        scan     INTEGER NOT NULL,          -- number of its scan; 0: it has none
        id       BLOB NOT NULL,             -- its 16 bytes
        type     TEXT NOT NULL,
        severity INTEGER NOT NULL,
        special  TEXT,
        at       REAL NOT NULL,
        data     TEXT NOT NULL,             -- JSON
        -- ids are random: a scan's are together, so that the next one is near those of the last commits
        UNIQUE (scan, id)
    );
    CREATE TABLE delivery (
        number      INTEGER PRIMARY KEY,    -- order of acceptance
        event       INTEGER NOT NULL,       -- number of its event, from whose id and the endpoint it has its own id
        endpoint    TEXT NOT NULL,
        name        TEXT NOT NULL,          -- the event name that the endpoint subscribed to
        series      INTEGER NOT NULL,
        sequence    INTEGER NOT NULL,
        state       TEXT NOT NULL,          -- waiting, delivered, dead
        attempts    INTEGER NOT NULL DEFAULT 0,
        crashes     INTEGER NOT NULL DEFAULT 0, -- how often its rendering crashed a process
        due_at      REAL NOT NULL,
        settled_at  REAL,
        reason      TEXT NOT NULL DEFAULT '',
        accepted_at REAL NOT NULL,
        replays     INTEGER NOT NULL DEFAULT 0, -- number of replays by an operator
        batch       TEXT,                       -- id of its batch
        refusals    INTEGER NOT NULL DEFAULT 0, -- number of refusals by the endpoint so far
        refused_in  INTEGER,                    -- the endpoint's era in which it was first refused, alone or not
        subject     TEXT,                       -- deliveries about the same subject go one after the other
        backfilled  INTEGER NOT NULL DEFAULT 0, -- whether a backfill accepted it, after its scan
        alone       INTEGER NOT NULL DEFAULT 0, -- whether no digest may have it
        UNIQUE (event, endpoint)
    );
    -- each page that a commit changes costs microseconds: an accepted delivery is in this index, in the one of UNIQUE,
    -- where it is the last, and in no other but that of subjects. In parts of 256 numbers (`rows.parts`): those of an
    -- event to many endpoints are in one page or two, and an endpoint's are found without reading those of others
    CREATE INDEX delivery_fresh ON delivery (number >> 8, endpoint)
        WHERE state = 'waiting' AND attempts = 0 AND replays = 0 AND refusals = 0 AND crashes < 2 AND batch IS NULL;
    -- few among many that wait for their digest
    CREATE INDEX delivery_alone ON delivery (endpoint, number)
        WHERE alone = 1 AND state = 'waiting' AND attempts = 0 AND replays = 0 AND refusals = 0 AND crashes < 2
            AND batch IS NULL;
    CREATE INDEX delivery_late ON delivery (endpoint, due_at)
        WHERE state = 'waiting'
            AND (attempts > 0 OR replays > 0 OR refusals > 0 OR crashes > 1 OR batch IS NOT NULL);
    CREATE INDEX delivery_subject ON delivery (endpoint, subject, number)
        WHERE state = 'waiting' AND subject IS NOT NULL;
    -- those used as a probe, or in a request that ended with its process: a scan's end has to find few among many
    CREATE INDEX delivery_overtaken ON delivery (endpoint, number)
        WHERE state = 'waiting' AND attempts = 0 AND replays = 0 AND refusals = 0 AND crashes < 2
            AND (due_at <> accepted_at OR batch IS NOT NULL);
    CREATE INDEX delivery_late_age ON delivery (endpoint, accepted_at)
        WHERE state = 'waiting'
            AND (attempts > 0 OR replays > 0 OR refusals > 0 OR crashes > 1 OR batch IS NOT NULL);
    CREATE INDEX delivery_settled ON delivery (state, settled_at) WHERE state <> 'waiting';
    CREATE INDEX delivery_batch ON delivery (batch) WHERE batch IS NOT NULL;
    CREATE TRIGGER delivery_last AFTER DELETE ON delivery
        WHEN old.number > (SELECT coalesce(max(number), 0) FROM delivery)
        BEGIN UPDATE file SET reused = reused + old.number - (SELECT coalesce(max(number), 0) FROM delivery); END;
    CREATE TABLE delivery_attempt (
        id      INTEGER PRIMARY KEY,
        number  INTEGER NOT NULL,           -- of the delivery
        at      REAL NOT NULL,
        seconds REAL NOT NULL,
        status  INTEGER,
        reason  TEXT NOT NULL,
        excerpt TEXT NOT NULL,
        cause   TEXT NOT NULL,
        outcome TEXT,                       -- waiting, dead or pending; null, which costs least: delivered
        waited  REAL                        -- seconds since its acceptance, if this attempt delivered it
    );
    CREATE INDEX delivery_attempt_number ON delivery_attempt (number);
    CREATE TABLE sequence (
        scan_id  TEXT NOT NULL,
        endpoint TEXT NOT NULL,
        series   INTEGER NOT NULL,
        last     INTEGER NOT NULL,
        PRIMARY KEY (scan_id, endpoint)
    ) WITHOUT ROWID;
    CREATE TABLE earlier (                  -- rows of `sequence` from before the file got a new series
        scan_id  TEXT NOT NULL,
        endpoint TEXT NOT NULL,
        series   INTEGER NOT NULL,
        last     INTEGER NOT NULL,
        PRIMARY KEY (scan_id, endpoint, series)
    ) WITHOUT ROWID;
    CREATE TABLE withheld (
        scan_id  TEXT NOT NULL,
        endpoint TEXT NOT NULL,
        reason   TEXT NOT NULL,             -- outbox_full, unwritable
        number   INTEGER NOT NULL,
        PRIMARY KEY (scan_id, endpoint, reason)
    ) WITHOUT ROWID;
    CREATE TABLE withheld_most (            -- the highest number that `withheld` has had, which `tally` includes
        scan_id  TEXT NOT NULL,
        endpoint TEXT NOT NULL,
        reason   TEXT NOT NULL,
        number   INTEGER NOT NULL,
        PRIMARY KEY (scan_id, endpoint, reason)
    ) WITHOUT ROWID;
    CREATE TABLE health (
        endpoint    TEXT PRIMARY KEY,
        condition   TEXT NOT NULL,
        reason      TEXT NOT NULL,
        since       REAL NOT NULL,
        failures    INTEGER NOT NULL,
        open_at     REAL NOT NULL,
        probes      INTEGER NOT NULL,
        fingerprint TEXT NOT NULL,
        refusals    INTEGER NOT NULL,
        era         INTEGER NOT NULL,
        alerted     TEXT NOT NULL,
        alerted_at  REAL NOT NULL,
        alerts      INTEGER NOT NULL,
        outage_probes INTEGER NOT NULL,
        outage_at   REAL NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE operator (                 -- an operator's orders for an endpoint
        endpoint     TEXT PRIMARY KEY,
        paused_until REAL NOT NULL,
        resets       INTEGER NOT NULL       -- how often the operator reset it to healthy
    ) WITHOUT ROWID;
    CREATE TABLE handle (                   -- what receivers called our messages, or what they are about
        endpoint TEXT NOT NULL,
        about    TEXT NOT NULL,             -- subject of deliveries; of a pending request the id of its batch
        address  TEXT NOT NULL,             -- id of the URL and the format's keys where it is called so
        value    TEXT NOT NULL,
        at       REAL NOT NULL,
        PRIMARY KEY (endpoint, about)
    ) WITHOUT ROWID;
    CREATE TABLE ticketed (                 -- which findings the tickets are about, of endpoints that are trackers
        endpoint    TEXT NOT NULL,
        subject     TEXT NOT NULL,          -- `handle.about`
        target      TEXT NOT NULL,          -- `fingerprints.canonical`
        fingerprint BLOB NOT NULL,
        scan_id     TEXT NOT NULL,          -- the last one of which a message about it was delivered
        PRIMARY KEY (endpoint, target, subject, fingerprint)
    ) WITHOUT ROWID;
    CREATE TABLE frozen (                   -- batches in flight: if they are never settled, these are their members
        id       TEXT PRIMARY KEY,
        endpoint TEXT NOT NULL,
        members  TEXT NOT NULL              -- JSON, ids of the scan and of the event of each
    ) WITHOUT ROWID;
    CREATE TABLE digest_part (              -- digests that are some of those of a scan
        batch    TEXT PRIMARY KEY,
        endpoint TEXT NOT NULL,
        scan_id  TEXT NOT NULL,
        number   INTEGER NOT NULL,          -- 1, 2, 3 ...
        total    INTEGER NOT NULL,
        at       REAL NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE watch (                    -- what the watch knows of scans (`watch`)
        kind       TEXT NOT NULL,           -- type of the events about it; empty: of the watch itself
        subject    TEXT NOT NULL,           -- an expectation, a scan, or the id of a target with modules
        checked_at REAL NOT NULL,           -- what was before has been judged
        begun_at   REAL,                    -- since when it is not well; NULL: it is
        data       TEXT NOT NULL,           -- JSON
        PRIMARY KEY (kind, subject)
    ) WITHOUT ROWID;
    CREATE TABLE tally (                    -- counts of what happened; rows are never deleted, and numbers only grow
        endpoint   TEXT NOT NULL,           -- empty: of none
        what       TEXT NOT NULL,           -- outcome of an attempt; or death, withheld, end (of a scan)
        reason     TEXT NOT NULL,
        seconds_to REAL NOT NULL DEFAULT 0, -- upper bounds of an attempt's `seconds` and `waited`; 0: there is none
        waited_to  REAL NOT NULL DEFAULT 0,
        number     INTEGER NOT NULL,
        seconds    REAL NOT NULL DEFAULT 0, -- sums
        waited     REAL NOT NULL DEFAULT 0,
        last_at    REAL NOT NULL DEFAULT 0, -- epoch seconds of an attempt's end, the last one
        PRIMARY KEY (endpoint, what, reason, seconds_to, waited_to)
    ) WITHOUT ROWID;
    CREATE TABLE target (                   -- targets of scans, as far as sightings and mutes name them
        number INTEGER PRIMARY KEY,
        name   TEXT NOT NULL UNIQUE         -- `fingerprints.canonical`
    );
    CREATE TABLE lineage (
        number  INTEGER PRIMARY KEY,
        modules BLOB NOT NULL UNIQUE        -- `fingerprints.lineage_of`
    );
    CREATE TABLE kind (                     -- types of findings
        number INTEGER PRIMARY KEY,
        name   TEXT NOT NULL UNIQUE
    );
    CREATE TABLE surveyed (                 -- scans whose findings are sighted
        number   INTEGER PRIMARY KEY,
        scan_id  TEXT NOT NULL UNIQUE,
        target   INTEGER NOT NULL,
        is_first INTEGER NOT NULL,          -- whether its target had no complete scan when it began: it is a baseline
        lineage  INTEGER,                   -- NULL: its findings are not recorded yet, except those sent as new
        place    INTEGER,                   -- 1, 2, 3 ... in the order of the ends; NULL: not over
        complete INTEGER NOT NULL DEFAULT 0, -- whether it has finished, and is not forgotten for its age
        at       REAL NOT NULL,             -- epoch seconds of its end; of its begin while it is not over
        kept     INTEGER NOT NULL DEFAULT 1, -- whether there may be sightings of which it is the last scan
        not_comparable TEXT NOT NULL DEFAULT '',
        previous INTEGER,                   -- number of the scan with which it was compared
        unchanged_since REAL                -- end of the first of the scans before it that found the same
    );
    CREATE INDEX surveyed_target ON surveyed (target);
    CREATE TABLE sighting (                 -- numbers of `surveyed`: first, last, whole
        target      INTEGER NOT NULL,
        fingerprint BLOB NOT NULL,
        lineage     INTEGER NOT NULL,       -- 0: sent as new, and its scan is not recorded yet
        kind        INTEGER NOT NULL,
        version     INTEGER NOT NULL,       -- of the fingerprint
        first       INTEGER NOT NULL,       -- the scan that saw it first
        last        INTEGER NOT NULL,       -- the scan that saw it last
        whole       INTEGER NOT NULL,       -- the last complete one before `last` that saw it; 0: none
        PRIMARY KEY (target, fingerprint, lineage)
    ) WITHOUT ROWID;
    CREATE TABLE evidence (                 -- bodies that endpoints with `proof` were sent (`evidence`)
        endpoint TEXT NOT NULL,
        scan     INTEGER NOT NULL,          -- number of the scan
        id       BLOB NOT NULL,             -- of the request: that of a delivery, or of a batch
        sha256   BLOB NOT NULL,
        messages INTEGER NOT NULL,          -- of the scan in it
        accepted INTEGER NOT NULL,          -- whether the receiver accepted it; else it may have arrived
        at       REAL NOT NULL,             -- of the last attempt
        stated   INTEGER NOT NULL,          -- whether it is in a statement
        PRIMARY KEY (endpoint, scan, id, sha256)
    ) WITHOUT ROWID;
    CREATE INDEX evidence_new ON evidence (endpoint, scan) WHERE stated = 0;
    CREATE TABLE statement (                -- the last one of each chain
        chain  BLOB PRIMARY KEY,            -- hash of the endpoint and the target
        number INTEGER NOT NULL,            -- 1, 2, 3 ...
        sha256 BLOB NOT NULL                -- of its payload
    ) WITHOUT ROWID;
    CREATE TABLE mute (
        target      INTEGER NOT NULL,
        fingerprint BLOB NOT NULL,
        endpoint    TEXT NOT NULL,          -- empty: all
        kind        INTEGER NOT NULL,
        until       REAL,                   -- epoch seconds; NULL: until it is removed
        at          REAL NOT NULL,          -- when it was set
        PRIMARY KEY (target, fingerprint, endpoint)
    ) WITHOUT ROWID;
"""


def make_tables(connection: sqlite3.Connection) -> None:
    """Create the tables if they are not there, in one transaction; several processes may call this at once.

    Raises:
        OutboxError: the file was created by a newer sfwebhooks and must not be used.
        MovedError: its rows were moved to a server.
    """
    if _is_ready(connection):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        if not _is_ready(connection):  # again, under the lock
            for statement in f"{TABLES}{VIEWS}{TRIGGERS}".split(";\n"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk has ended it already
            connection.execute("ROLLBACK")
        raise


def _is_ready(connection: sqlite3.Connection) -> bool:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version == MOVED:
        raise MovedError(words_of_mark(connection))
    if version not in (0, VERSION):
        raise OutboxError(f"was created by a newer sfwebhooks (schema {version}, known here: {VERSION}); upgrade")
    return version == VERSION
