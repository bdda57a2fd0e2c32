"""Rows of the outbox's tables: a row comes in, an object goes out, and back."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple
from functools import lru_cache
from typing import Any

from sfwebhooks.errors import UnwritableError
from sfwebhooks.events import Delivery, Handle, Scan, WebhookEvent, clean_text, dashed, key_of, mask_of
from sfwebhooks.jsontext import Stored, kept
from sfwebhooks.outbox.database import Sql
from sfwebhooks.outbox.scan_receipt import STORED, own
from sfwebhooks.screening import Wanted
from sfwebhooks.severity import Severity
from sfwebhooks.ticketing import subject_of

#: no attempt was completed; a process that ended once while building the message may be chance
UNTRIED = "state = 'waiting' AND attempts = 0 AND replays = 0 AND refusals = 0 AND crashes < 2"
#: never in a request
FRESH = f"{UNTRIED} AND batch IS NULL"
#: waiting for its due time
LATE = "state = 'waiting' AND (attempts > 0 OR replays > 0 OR refusals > 0 OR crashes > 1 OR batch IS NOT NULL)"
#: fresh, and not used as a probe; and a probe. Together they are FRESH, each with the words of an index
UNTOUCHED = f"{FRESH} AND due_at = accepted_at"
PROBED = f"{FRESH} AND due_at <> accepted_at AND (due_at <> accepted_at OR batch IS NOT NULL)"
#: an event of a scan (?1; empty: of none), unless it is there
ADD_EVENT = """
    INSERT INTO event (scan, id, type, severity, special, at, data)
    SELECT number, ?2, ?3, ?4, ?5, ?6, ?7
    FROM (SELECT number FROM scan WHERE id = ?1 UNION ALL SELECT 0 WHERE ?1 = '') its WHERE true ON CONFLICT DO NOTHING
"""
#: gives a scan's (?1) next number to endpoints. FAIL: SQLite keeps no copy of each changed page for the case that a
#: later row fails, as the whole transaction is rolled back then
COUNT = """
    INSERT OR FAIL INTO sequence SELECT ?1, column1, series, 1 FROM (VALUES {0}) its CROSS JOIN file WHERE true
    ON CONFLICT (scan_id, endpoint) DO UPDATE SET last = sequence.last + 1
"""
#: with the numbers just given
INSERT = """
    INSERT OR FAIL INTO delivery
        (event, endpoint, name, series, sequence, state, due_at, accepted_at, subject, backfilled,
         alone)
    SELECT ?2, column1, column2, series, last, 'waiting', ?3, ?3, ?4, ?5, ?6
    FROM (VALUES {0}) its CROSS JOIN sequence ON scan_id = ?1 AND endpoint = column1
"""
#: in a LIMIT: all
EVERY = 2**62
#: most endpoints in one statement
TOGETHER = 100
#: the names of all endpoints for which anything was ever accepted
ENDPOINTS = "SELECT endpoint FROM sequence UNION SELECT endpoint FROM earlier"
ADD_SCAN = """
    INSERT INTO scan (id, name, target, target_type, version, database, begun_at, ended) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
#: the number of a scan with an id; 0: of none
SCAN = "coalesce((SELECT number FROM scan WHERE id = {0}), 0)"
#: the number of a scan's (?1) event with a key (?2)
EVENT = f"SELECT number FROM event WHERE scan = {SCAN.format('?1')} AND id = ?2"  # noqa: S608
#: the endpoints that have a delivery of it
RECEIVERS = f"SELECT endpoint FROM delivery WHERE event = ({EVENT})"  # noqa: S608
#: the numbers of all scans with events, and 0 if some have none, each found by a jump in an index: `its`
ITS_SCANS = """
    WITH RECURSIVE its (scan) AS (
        SELECT min(scan) FROM event
        UNION ALL SELECT (SELECT min(scan) FROM event WHERE scan > its.scan) FROM its WHERE its.scan IS NOT NULL
    )
"""
#: to be followed by a WHERE on `delivery`; a replay or backfill is a message of its own, whatever its subject, unless
#: that has a ticket
SELECT_DELIVERY = """
    SELECT d.number, d.endpoint, d.name, (SELECT name FROM series WHERE number = d.series), d.sequence, d.attempts,
           d.replays, d.backfilled, d.refusals, d.refused_in,
           e.id, e.type, e.severity, e.at, e.data, e.special,
           s.id, s.name, s.target, s.target_type, s.version, s.database, d.subject, h.address, h.value
    FROM {0} JOIN event e ON e.number = d.event LEFT JOIN scan s ON s.number = e.scan
    LEFT JOIN handle h ON h.endpoint = d.endpoint AND h.about = CASE
        WHEN d.subject IS NULL THEN d.batch
        WHEN substr(d.subject, 1, 7) = 'ticket/' THEN d.subject
        ELSE coalesce(d.batch, CASE WHEN d.replays = 0 AND d.backfilled = 0 THEN d.subject END) END
"""
OF_ALL_DELIVERIES = SELECT_DELIVERY.format("delivery d")
#: a delivery with the number of its row, which does not leave this room
Row = tuple[int, Delivery]
#: the bytes of no event's id
NO_KEY = bytes(16)
#: whether an event's data are an object, as we wrote it
READABLE = "CASE WHEN json_valid(data) THEN json_type(data) = 'object' ELSE false END"
#: built once: calling an enum takes as long as a check of the outbox's file
SEVERITIES = {int(severity): severity for severity in Severity}


def parts(first: str = "0", order: str = "ASC") -> str:
    """Return SQL for the parts of 256 numbers that have fresh deliveries, as `part (at)`; each is found by a jump in an
    index. In a CROSS JOIN SQLite reads an endpoint's deliveries part by part, and in each by number.

    Args:
        first: SQL of a part before which there are none.
        order: of the parts: ASC or DESC.
    """
    found = f"SELECT number >> 8 FROM delivery WHERE {FRESH} AND number >> 8"  # noqa: S608
    after, one = ">" if order == "ASC" else "<", f"ORDER BY number >> 8 {order} LIMIT 1"
    return f"""
        WITH RECURSIVE part (at) AS (
            SELECT ({found} >= {first} {one})
            UNION ALL SELECT ({found} {after} part.at {one}) FROM part WHERE part.at IS NOT NULL
        )
    """  # noqa: S608


def as_text(column: str) -> str:
    """Return SQL for a column of texts that is a text in a damaged row too."""
    return f"CASE typeof({column}) WHEN 'text' THEN {column} ELSE quote({column}) END"


def numbers_by_ids(array: str, many: bool = False) -> str:
    """Return the query for the numbers of the deliveries with some ids. No index has the ids: each could be the one of
    an event of any scan to one of the endpoints.

    Args:
        array: SQL of the JSON array of ids, such as a parameter.
        many: whether to read the ids of all events once, and not to look for each id in each scan.
    """
    keys = f"""(  -- with a LIMIT they are made once
        SELECT n.endpoint, event_key_of(j.value, n.endpoint) id FROM json_each({array}) j
        CROSS JOIN ({ENDPOINTS}) n LIMIT {EVERY}
    ) k"""  # noqa: S608
    events = "FROM its CROSS JOIN {0} CROSS JOIN event e ON e.scan = its.scan AND e.id = k.id"
    return f"""
        {"" if many else ITS_SCANS} SELECT d.number
        {("FROM event e CROSS JOIN {0} ON k.id = e.id" if many else events).format(keys)}
        CROSS JOIN delivery d ON d.event = e.number AND d.endpoint = k.endpoint
    """


def deliveries(sql: Sql, where: str, values: Sequence[Any], select: str = OF_ALL_DELIVERIES) -> Iterator[Row]:
    """Yield the deliveries of a WHERE on `delivery` (d) and its event (e), each with its row number.

    One whose row has values that we never write, from damage or another program, has data that are not JSON: it
    cannot be built, and does not hold up the others.
    """
    scans: dict[str, Scan] = {}
    for row in sql.execute(select + where, values):
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
    return (texts[0], key, event.type, int(event.severity), event.special, event.at, texts[-1])


def insert(
    sql: Sql,
    event: WebhookEvent,
    wanted: Sequence[Wanted],
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
    added = sql.execute(ADD_EVENT, row)
    if not added.rowcount and event.scan:
        # a scan that began in another outbox gets a row here, but its end is not missed
        began = (*map(clean_text, astuple(event.scan)), now, "")
        if sql.execute(f"{ADD_SCAN} ON CONFLICT DO NOTHING", began).rowcount:
            added = sql.execute(ADD_EVENT, row)
    number, new = added.lastrowid, wanted
    if not added.rowcount:  # else none of its deliveries can be there
        (number,) = sql.execute(EVENT, row[:2]).fetchone()
        known = {name for (name,) in sql.execute("SELECT endpoint FROM delivery WHERE event = ?", (number,))}
        new = [one for one in wanted if one.endpoint not in known]
    alone = event.goes_alone and not backfilled
    its_receivers = by_subject(event, new) if any(one.ticket_per for one in new) else {event.subject: new}
    for subject, members in its_receivers.items():
        for start in range(0, len(members), TOGETHER):
            part = members[start : start + TOGETHER]
            count, add = _for_endpoints(len(part))
            sql.execute(count, (row[0], *[one.endpoint for one in part]))
            its = (row[0], number, now, subject, backfilled, alone)
            sql.execute(add, (*its, *[value for one in part for value in one[:2]]))
    return len(new)


def by_subject(event: WebhookEvent, wanted: Sequence[Wanted]) -> Mapping[str | None, Sequence[Wanted]]:
    """Return subject -> receivers of an event: a tracker's is that of its ticket."""
    found: dict[str | None, list[Wanted]] = {}
    for one in wanted:
        found.setdefault(subject_of(event, one.ticket_per) if one.ticket_per else event.subject, []).append(one)
    return found


@lru_cache(maxsize=TOGETHER)
def _for_endpoints(number: int) -> tuple[str, str]:
    """Return COUNT and INSERT for a number of endpoints: a statement for each of them would take twice as long."""
    pairs = ", ".join(f"(?{7 + 2 * at}, ?{8 + 2 * at})" for at in range(number))
    return COUNT.format(", ".join(f"(?{2 + at})" for at in range(number))), INSERT.format(pairs)
