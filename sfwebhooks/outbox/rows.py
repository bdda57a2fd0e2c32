"""Rows of the outbox's tables: a row comes in, an object goes out, and back."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from sfwebhooks.errors import UnwritableError
from sfwebhooks.events import Delivery, Handle, Scan, WebhookEvent, dashed, key_of, mask_of
from sfwebhooks.jsontext import Stored, kept
from sfwebhooks.outbox.scan_receipt import STORED, own
from sfwebhooks.severity import Severity

#: no attempt was completed; a process that ended once while building the message may be chance
UNTRIED = "state = 'waiting' AND attempts = 0 AND replays = 0 AND refusals = 0 AND crashes < 2"
#: never in a request
FRESH = f"{UNTRIED} AND batch IS NULL"
#: waiting for its due time
LATE = "state = 'waiting' AND (attempts > 0 OR replays > 0 OR refusals > 0 OR crashes > 1 OR batch IS NOT NULL)"
#: gives a scan's next number to an endpoint
COUNT = "INSERT INTO sequence VALUES (?, ?, (SELECT series FROM file), 1) ON CONFLICT DO UPDATE SET last = last + 1"
#: with the number just given
INSERT = """
    INSERT INTO delivery (event, endpoint, name, series, sequence, state, due_at, accepted_at, subject, backfilled,
                          alone)
    SELECT ?, ?, ?, series, last, 'waiting', ?, ?, ?, ?, ? FROM sequence WHERE scan_id = ? AND endpoint = ?
"""
#: the names of all endpoints for which anything was ever accepted
ENDPOINTS = "SELECT endpoint FROM sequence UNION SELECT endpoint FROM earlier"
#: the endpoints that have a delivery of the event with a key
RECEIVERS = "SELECT endpoint FROM delivery WHERE event = (SELECT number FROM event WHERE id = ?)"
#: to be followed by a WHERE on `delivery`; a replay or backfill is a message of its own, whatever its subject
SELECT_DELIVERY = """
    SELECT d.number, d.endpoint, d.name, (SELECT name FROM series WHERE number = d.series), d.sequence, d.attempts,
           d.replays, d.backfilled, d.refusals, d.refused_in,
           e.id, e.type, e.severity, e.at, e.data, e.special,
           s.id, s.name, s.target, s.target_type, s.version, s.database, d.subject, h.address, h.value
    FROM delivery d JOIN event e ON e.number = d.event LEFT JOIN scan s ON s.id = e.scan_id
    LEFT JOIN handle h ON h.endpoint = d.endpoint AND h.about = coalesce(
        d.batch, CASE WHEN d.replays = 0 AND d.backfilled = 0 THEN d.subject END)
"""
#: a delivery with the number of its row, which does not leave this room
Row = tuple[int, Delivery]
#: the bytes of no event's id
NO_KEY = bytes(16)
#: built once: calling an enum takes as long as a check of the file
SEVERITIES = {int(severity): severity for severity in Severity}


def as_text(column: str) -> str:
    """Return SQL for a column of texts that is a text in a damaged row too."""
    return f"CASE typeof({column}) WHEN 'text' THEN {column} ELSE quote({column}) END"


def numbers_by_ids(array: str) -> str:
    """Return the query for the numbers of the deliveries with some ids. No index has the ids: each could be the one of
    an event to one of the endpoints.

    Args:
        array: SQL of the JSON array of ids, such as a parameter.
    """
    return f"""
        SELECT d.number FROM json_each({array}) j CROSS JOIN ({ENDPOINTS}) n
        CROSS JOIN event e ON e.id = event_key_of(j.value, n.endpoint)
        CROSS JOIN delivery d ON d.event = e.number AND d.endpoint = n.endpoint
    """  # noqa: S608


def deliveries(sql: sqlite3.Connection, where: str, values: Sequence[Any]) -> Iterator[Row]:
    """Yield the deliveries of a WHERE on `delivery` (d) and its event (e), each with its row number.

    One whose row has values that we never write, from a damaged file or another program, has data that are not JSON: it
    cannot be built, and does not hold up the others.
    """
    scans: dict[str, Scan] = {}
    for row in sql.execute(SELECT_DELIVERY + where, values):
        number, endpoint, name, series, sequence, attempts, replays, backfilled = row[:8]
        key, event_type, severity, at, text, special = row[10:16]
        has_id = isinstance(key, bytes) and len(key) == len(NO_KEY)
        is_ours = isinstance(text, str) and isinstance(at, float) and severity in SEVERITIES and series is not None
        if not (is_ours and has_id):
            text, at, severity = "", 0.0, Severity.INFO
            key = key if has_id else number.to_bytes(len(NO_KEY), "big")
        scan = scans.get(row[16])
        if scan is None and row[16]:
            scan = scans[row[16]] = Scan(*row[16:22])
        data: Mapping[str, Any] = Stored(text)
        if scan and STORED in text:
            with suppress(ValueError):  # garbage is reported when a message is built from it
                data = own(data, endpoint)
        event_id, its_id = dashed(key.hex()), dashed(f"{int.from_bytes(key, 'big') ^ mask_of(endpoint):032x}")
        event = WebhookEvent(event_id, event_type, SEVERITIES[severity], at, data, scan, special, row[22])
        handle = Handle(*row[23:]) if row[23] else None
        its = (name, series, sequence, attempts, replays > 0, backfilled > 0, *row[8:10], handle)
        yield number, Delivery(its_id, event, endpoint, *its)


def row_of(event: WebhookEvent) -> tuple[Any, ...]:
    """Return the row of an event.

    Raises:
        UnwritableError: it has a value that JSON, UTF-8 or SQLite does not have.
    """
    if event.problem:
        raise UnwritableError(event.problem)
    try:
        key = key_of(event.id)
        texts = (event.scan.id if event.scan else "", event.type, event.special or "", kept(event.data))
        for text in texts:
            text.encode()
        if not math.isfinite(event.at):
            raise ValueError(f"its time is {event.at}")
    except MemoryError:
        raise
    except Exception as error:  # values of any type, which may fail in any way
        raise UnwritableError(f"{type(error).__name__}: {error}") from error
    return (key, *texts[:2], int(event.severity), event.special, event.at, texts[-1])


def insert(
    sql: sqlite3.Connection,
    event: WebhookEvent,
    wanted: Sequence[tuple[str, str]],
    now: float,
    backfilled: bool = False,
) -> int:
    """Insert an event and its deliveries unless they are there, each with its endpoint's next number.

    Raises:
        UnwritableError: nothing was inserted.
    """
    if not wanted:
        return 0
    row = row_of(event)
    scan_id = row[1]
    added = sql.execute(
        "INSERT OR IGNORE INTO event (id, scan_id, type, severity, special, at, data) VALUES (?, ?, ?, ?, ?, ?, ?)", row
    )
    number, new = added.lastrowid, wanted
    if not added.rowcount:  # else none of its deliveries can be there
        (number,) = sql.execute("SELECT number FROM event WHERE id = ?", row[:1]).fetchone()
        known = {name for (name,) in sql.execute("SELECT endpoint FROM delivery WHERE event = ?", (number,))}
        new = [one for one in wanted if one[0] not in known]
    sql.executemany(COUNT, [(scan_id, endpoint) for endpoint, _ in new])
    about = (now, now, event.subject, backfilled, event.goes_alone and not backfilled, scan_id)
    sql.executemany(
        INSERT,
        [(number, endpoint, name, *about, endpoint) for endpoint, name in new],
    )
    return len(new)
