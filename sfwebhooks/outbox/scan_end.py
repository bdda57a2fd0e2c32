"""The end of a scan: decided once, whichever processes report it, and sent to each endpoint with its receipt.

The scan's own process, `scan/recovery` in another one and a backfill all come here; `scan/lifecycle` decides which end
it is, and `scan_receipt` what a receipt says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, replace
from typing import Any, NamedTuple

from sfwebhooks.endpoints import FINDINGS
from sfwebhooks.events import WebhookEvent, event_key_of
from sfwebhooks.jsontext import Stored, kept
from sfwebhooks.outbox.database import Sql
from sfwebhooks.outbox.rows import ADD_SCAN, EVENT, RECEIVERS, SCAN, insert
from sfwebhooks.outbox.scan_receipt import STORED, receipt
from sfwebhooks.screening import Wanted

#: series with their last number, of a scan's (?1) deliveries to an endpoint (?2)
GIVEN = """
    SELECT series, last FROM earlier WHERE scan_id = ?1 AND endpoint = ?2
    UNION ALL SELECT series, last FROM sequence WHERE scan_id = ?1 AND endpoint = ?2
"""
#: a scan that began in another outbox ends here
END_SCAN = f"{ADD_SCAN} ON CONFLICT (id) DO UPDATE SET ended = NULL WHERE scan.ended = ''"


class Counted(NamedTuple):
    """What is counted for the receipt of an endpoint."""

    #: deliveries of findings
    sent: int = 0
    #: dead letters
    dead: int = 0
    #: withheld events that are not findings
    besides: int = 0


def end_once(
    sql: Sql,
    event: WebhookEvent,
    wanted: Sequence[Wanted],
    counted: Mapping[str, Counted],
    now: float,
) -> bool:
    """Insert the event that reports a scan's end; return False if the end was reported before.

    Args:
        counted: result of `count`.
    """
    if event.scan:
        sql.execute(END_SCAN, (*astuple(event.scan), now, None))
    given = (event.type, event.scan_id)
    first = sql.execute("UPDATE scan SET ended = ? WHERE id = ? AND ended IS NULL", given).rowcount > 0
    if first:
        insert(sql, *with_receipts(sql, event, wanted, counted), now)
    return first


def count(sql: Sql, event: WebhookEvent, besides: Mapping[str, int]) -> dict[str, Counted]:
    """Return the counts of each endpoint for the scan that an event ends.

    Counts all rows of the scan: not while the outbox is locked for writing.

    Args:
        besides: endpoint -> number of its withheld events that are not findings.
    """
    query = (
        f"SELECT d.endpoint, count(*) FILTER (WHERE e.type IN ({','.join('?' * len(FINDINGS))})),"  # noqa: S608
        f" count(*) FILTER (WHERE d.state = 'dead')"
        f" FROM event e JOIN delivery d ON d.event = e.number WHERE e.scan = {SCAN.format('?')} GROUP BY d.endpoint"
    )
    rows = {name: (sent, dead) for name, sent, dead in sql.execute(query, (*FINDINGS, event.scan_id))}
    return {name: Counted(*rows.get(name, (0, 0)), besides.get(name, 0)) for name in {*rows, *besides}}


def with_receipts(
    sql: Sql,
    event: WebhookEvent,
    wanted: Sequence[Wanted],
    counted: Mapping[str, Counted],
) -> tuple[WebhookEvent, list[Wanted]]:
    """Return the event that reports a scan's end with the receipts of all endpoints, and its new receivers.

    Args:
        counted: result of `count`.
    """
    found = event.data.get("events_found", 0)
    its = (event.scan_id, event_key_of(event.id))
    known = {row[0] for row in sql.execute(RECEIVERS, its)}
    new = [one for one in wanted if one.endpoint not in known]
    row = sql.execute(f"SELECT data FROM event WHERE number = ({EVENT})", its).fetchone()  # noqa: S608
    data = dict(Stored(row[0]) if row else event.data)
    names = (one.endpoint for one in new)
    receipts = {name: _receipt(sql, event.scan_id, name, found, counted.get(name, Counted())) for name in names}
    data[STORED] = {**data.get(STORED, {}), **receipts}
    sql.execute(f"UPDATE event SET data = ?3 WHERE number = ({EVENT})", (*its, kept(data)))  # noqa: S608
    return replace(event, data=data), new


def _receipt(sql: Sql, scan_id: str, endpoint: str, found: int, counted: Counted) -> dict[str, Any]:
    """Return the receipt of an endpoint for a scan whose end is about to be inserted.

    Args:
        found: number of findings of the scan.
    """
    given = (scan_id, endpoint)
    withheld = dict(sql.execute("SELECT reason, number FROM withheld WHERE scan_id = ? AND endpoint = ?", given))
    not_wanted = found - (sum(withheld.values()) - counted.besides) - counted.sent
    return receipt(_numbers(sql, *given), withheld, not_wanted, counted.dead)


def _numbers(sql: Sql, scan_id: str, endpoint: str) -> dict[str, int]:
    """Return series -> last number of a scan's deliveries to an endpoint, including the next one."""
    query = f"SELECT name, last FROM ({GIVEN}) its JOIN series s ON s.number = its.series ORDER BY s.number"  # noqa: S608
    numbers: dict[str, int] = dict(sql.execute(query, (scan_id, endpoint)))
    current = (
        "SELECT name FROM series WHERE number ="
        " coalesce((SELECT series FROM sequence WHERE scan_id = ? AND endpoint = ?), (SELECT series FROM file))"
    )
    (name,) = sql.execute(current, (scan_id, endpoint)).fetchone()
    last = numbers.pop(name, 0)  # a series that was moved here from another outbox may have a higher number
    return {**numbers, name: last + 1}
