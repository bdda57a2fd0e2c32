"""A scan that is over, told to one endpoint as far as that was not told of it: what SpiderFoot's database has of the
scan comes in, the missing events go out, in the order and under the ids of a scan that is told live.

The outbox's rows are the memory of what was told, so a backfill that was killed goes on where it was.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from sfwebhooks import pipeline
from sfwebhooks.config.values import nearest
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import SelectionError
from sfwebhooks.events import Scan, WebhookEvent, lifecycle_id
from sfwebhooks.files import is_deleted
from sfwebhooks.outbox.admission import OUTBOX_FULL
from sfwebhooks.outbox.locks import scan_lock
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.scan import from_host
from sfwebhooks.scan.host_database import DATABASE, HostDatabase, ScanRow, database_of
from sfwebhooks.scan.lifecycle import SEVERITY_OF_END, ended, started

#: the host's status of a scan that is over
OVER = ("FINISHED", "ABORTED", "ERROR-FAILED")
#: so long after a scan has finished the host may still run its correlation rules
RULES_SECONDS = 600.0
#: version of the scanner, of which its database says nothing; without one a message would be another tool's
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Past:
    """A scan of the past, as the host and the outbox know it."""

    scan: Scan
    row: ScanRow
    database: HostDatabase
    #: name of the event that told its end; None: SpiderFoot ran it without us
    told: str | None


@dataclass(frozen=True)
class Missing:
    """What an endpoint was not told of a scan."""

    number: int
    events: Iterator[WebhookEvent]
    #: how many it was sent once, that are sent again with new numbers
    again: int


def past_scan(outbox: Outbox, scan_id: str, dead: bool) -> Past:
    """Return a scan that is over.

    Args:
        dead: whether a person says that its process is gone, though the host takes it for running.

    Raises:
        SelectionError: there is no such scan, or it is not over.
        OutboxError: the outbox cannot be read.
    """
    folder = outbox.path.parent
    known = None if is_deleted(outbox.path) else outbox.scan(scan_id)
    database = database_of(known[0].database if known else str(folder / DATABASE), folder)
    try:
        row, target_type = _row(database, scan_id, folder), database.target_type(scan_id)
        if known and known[1] is None:
            raise SelectionError(_untold(outbox, scan_id))
        if not known and not dead:
            _check_over(database, scan_id, row)
    except sqlite3.Error as error:
        raise SelectionError(f"SpiderFoot's database in {folder} cannot be read: {error}") from error
    made = Scan(scan_id, row.name, row.target, target_type, UNKNOWN, str(folder / DATABASE))
    return Past(known[0] if known else made, row, database, known[1] if known else None)


def _row(database: HostDatabase, scan_id: str, folder: Path) -> ScanRow:
    """Return a scan as the host has it.

    Raises:
        SelectionError: there is no such scan.
        sqlite3.Error: the host's database cannot be read.
    """
    row, ids = database.scan(scan_id), database.scan_ids()
    if row is None:
        hint = nearest(scan_id.upper(), ids) or f" The last ones: {', '.join(ids[:3]) or 'none'}."
        raise SelectionError(f'SpiderFoot\'s database in {folder} has no scan "{scan_id}".{hint}')
    return row


def _untold(outbox: Outbox, scan_id: str) -> str:
    """Return why the end of a scan that the outbox knows is not told yet."""
    lock = scan_lock(outbox.path, scan_id)
    runs = not lock.take()
    lock.release()
    if runs:
        return f"scan {scan_id} still runs: what it finds is told as it is found"
    return f"the end of scan {scan_id} is not told yet; sfwebhooks drain says why"


def _check_over(database: HostDatabase, scan_id: str, row: ScanRow) -> None:
    """Check that a scan of which only the host knows is over, with its correlations.

    Raises:
        SelectionError: it is not.
        sqlite3.Error: the host's database cannot be read.
    """
    if row.status not in OVER:
        raise SelectionError(
            f"SpiderFoot says that scan {scan_id} is {row.status}; if its process is gone for good, say so with --dead"
        )
    recent = row.status == "FINISHED" and abs(time.time() - row.ended) < RULES_SECONDS
    if recent and not database.is_correlated(scan_id):
        raise SelectionError(
            f"scan {scan_id} has just finished, and SpiderFoot may still look for its correlations: its log does not"
            f" say yet that it is completed. Try again, at the latest {RULES_SECONDS // 60:.0f} minutes after its end,"
            " or say with --dead that its process is gone for good"
        )


def begin_backfill(
    outbox: Outbox, endpoint: Endpoint, past: Past, renumber: bool = False, interval: float = 0.0
) -> Missing:
    """Commit the scan as one whose end nobody else tells, with its beginning; return what else is missing.

    Args:
        renumber: all that the endpoint has is sent again, and of some of it the number is not known any more.
        interval: seconds between two of these.

    Raises:
        OutboxError: the outbox cannot be written.
        sqlite3.Error: the host's database cannot be read.
    """
    scan, database, only = past.scan, past.database, (endpoint,)
    first, last = started(scan), _end(outbox, past)
    again = outbox.renumber(scan.id, endpoint.name, last.id, time.time(), interval) if renumber else 0
    outbox.begin_scan(scan, first, pipeline.wanted_by(first, only), time.time(), ended=last.type)
    outbox.forget_withheld(scan.id, [endpoint.name])  # what was refused is offered once more
    known = outbox.known_events(scan.id, endpoint.name)
    hashes = list(from_host.untold(database, scan, only, known))
    rest = [event for event in (*from_host.correlated(database, scan, only), last)
            if event.id not in known and endpoint.name_for(event)]  # fmt: skip
    return Missing(len(hashes) + len(rest), chain(from_host.found(database, scan, hashes), rest), again)


def put(outbox: Outbox, endpoint: Endpoint, events: Sequence[WebhookEvent]) -> bool:
    """Commit some of what is missing; with the end goes the endpoint's receipt.

    Returns:
        False if the end has to wait: it must not say that all was told while the outbox is too full for some of it.

    Raises:
        OutboxError: the outbox cannot be written.
    """
    only = (endpoint,)
    found = [event for event in events if event.type not in SEVERITY_OF_END]
    pipeline.accept(found, only, outbox, time.time(), backfilled=True)
    for event in events:
        if event.type in SEVERITY_OF_END:
            if event.scan and OUTBOX_FULL in outbox.withheld(event.scan.id).get(endpoint.name, {}):
                return False
            outbox.repeat_end(event, pipeline.wanted_by(event, only), time.time())
    return True


def _end(outbox: Outbox, past: Past) -> WebhookEvent:
    """Return the event that tells the scan's end: as it was told, where that is still known."""
    told = outbox.event(lifecycle_id(past.scan.id, "ended"))
    if told:
        return told
    late = "host_stopped" if past.told == "scan_aborted" else "process_died"
    result = from_host.result_of(past.scan, past.database, outbox.accepted(past.scan.id))
    return ended(past.scan, result, late="" if past.row.status in OVER else late)
