"""Backfill: a past scan in SpiderFoot's database comes in, the events that an endpoint has not been sent go out, in the
order and under the ids of a live scan.

The outbox's rows record which events were accepted, so a backfill that was killed resumes where it stopped.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from sfwebhooks import pipeline
from sfwebhooks.config.values import nearest
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.enrichment.enrichment import NO_ENRICHMENT, Enrichment
from sfwebhooks.errors import HostDatabaseError, SelectionError
from sfwebhooks.events import Scan, WebhookEvent, lifecycle_id
from sfwebhooks.outbox.postgres.dsn import is_missing
from sfwebhooks.outbox.store import Store
from sfwebhooks.reasons import Withheld
from sfwebhooks.scan import from_host
from sfwebhooks.scan.false_positives import screen_for
from sfwebhooks.scan.host_address import VARIABLE, current_database
from sfwebhooks.scan.host_database import HostDatabase, database_of
from sfwebhooks.scan.host_rows import FINISHED, ScanRow
from sfwebhooks.scan.lifecycle import SEVERITY_OF_END, ended, started
from sfwebhooks.scan.missing import Earlier, missing_hashes
from sfwebhooks.scan.survey import Survey
from sfwebhooks.screening import Screen

#: seconds after the end of a scan in which the host may still run its correlation rules
RULES_SECONDS = 600.0
#: version of the scanner: its database does not record one, and a message without one would look like another tool's
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Past:
    """A past scan, as the host and the outbox know it."""

    scan: Scan
    row: ScanRow
    database: HostDatabase
    #: name of the event that reported its end; None: none did, or SpiderFoot ran it without us
    reported_as: str | None
    #: whether the outbox knows it
    is_known: bool = False


@dataclass(frozen=True)
class Missing:
    """The events of a scan that an endpoint has not been sent."""

    number: int
    events: Iterator[WebhookEvent]
    #: how many of them it was sent before, and gets again with new numbers
    again: int
    #: its subscriptions and filters
    screen: Screen
    #: counts what it is not sent
    survey: Survey


def past_scan(outbox: Store, scan_id: str, dead: bool, enrichment: Enrichment = NO_ENRICHMENT) -> Past:
    """Return a scan that is over.

    Args:
        dead: whether the operator says that its process is gone, although the host lists it as running.
        enrichment: of its findings.

    Raises:
        SelectionError: the scan does not exist or is not over.
        OutboxError: the outbox cannot be read.
    """
    past = any_scan(outbox, scan_id, enrichment)
    if past.is_known and past.reported_as is None:
        raise SelectionError(_why_unreported(outbox, scan_id))
    try:
        if not past.is_known and not dead:
            _check_over(past.database, scan_id, past.row)
    except HostDatabaseError as error:
        raise _unreadable(error) from error
    return past


def any_scan(outbox: Store, scan_id: str, enrichment: Enrichment = NO_ENRICHMENT) -> Past:
    """Return a scan, which need not be over; its arguments and errors are those of `past_scan`."""
    folder = outbox.path.parent
    known = None if is_missing(outbox.place) else outbox.scans.scan(scan_id)
    named = known[0] if known and known[0].database else None  # else forgotten, except for its id
    try:
        current = current_database(folder)
        database = database_of(named.database if named else current, folder, enrichment)
        row, target_type = _row(database, scan_id), database.target_type(scan_id)
    except HostDatabaseError as error:
        raise _unreadable(error) from error
    made = Scan(scan_id, row.name, row.target, target_type, UNKNOWN, current)
    return Past(named or made, row, database, known[1] if known else None, known is not None)


def _unreadable(error: HostDatabaseError) -> SelectionError:
    return SelectionError(f"SpiderFoot's database cannot be read: {error}")


def _row(database: HostDatabase, scan_id: str) -> ScanRow:
    """Return a scan as the host has it.

    Raises:
        SelectionError: the scan does not exist.
        HostDatabaseError: the host's database cannot be read.
    """
    row, ids = database.scan(scan_id), database.scan_ids()
    if row is None:
        hint = nearest(scan_id.upper(), ids) or f" The last ones: {', '.join(ids[:3]) or 'none'}."
        if not database.is_there:
            hint = f" There is no such file; a database on PostgreSQL is named by host_database or ${VARIABLE}."
        raise SelectionError(f'SpiderFoot\'s database {database.address} has no scan "{scan_id}".{hint}')
    return row


def _why_unreported(outbox: Store, scan_id: str) -> str:
    """Return why the end of a scan that the outbox knows is not reported yet."""
    if not outbox.locks.scan(scan_id).is_free:
        return f"scan {scan_id} is still running: its findings are sent as they are found"
    return f"the end of scan {scan_id} is not reported yet; sfwebhooks drain says why"


def _check_over(database: HostDatabase, scan_id: str, row: ScanRow) -> None:
    """Check that a scan that only the host knows is over, including its correlations.

    Raises:
        SelectionError: it is not.
        HostDatabaseError: the host's database cannot be read.
    """
    if not row.is_over:
        raise SelectionError(
            f"SpiderFoot says that scan {scan_id} is {row.status}; if its process is gone for good, add --dead"
        )
    recent = row.status == FINISHED and abs(time.time() - row.ended) < RULES_SECONDS
    if recent and not database.is_correlated(scan_id):
        raise SelectionError(
            f"scan {scan_id} has just finished, and SpiderFoot may still be looking for correlations: the scan's log"
            f" does not say that it is completed. Run this again later ({RULES_SECONDS // 60:.0f} minutes after its end"
            " at the latest), or add --dead if its process is gone for good"
        )


def begin_backfill(
    outbox: Store, endpoint: Endpoint, past: Past, renumber: bool = False, interval: float = 0.0
) -> Missing:
    """Commit the scan and its start, marked as ended so that no other process reports its end; return missing events.

    Args:
        renumber: send all events of the endpoint again, since the numbers of some are no longer known.
        interval: seconds between two of the events that are sent again.

    Raises:
        OutboxError: the outbox cannot be written.
        HostDatabaseError: the host's database cannot be read.
    """
    scan = past.scan
    only = screen_for(scan, (endpoint,), past.database)
    first, last = started(scan), _end(outbox, past)
    again = outbox.scans.renumber(scan.id, endpoint.name, last.id, time.time(), interval) if renumber else 0
    outbox.scans.begin_scan(scan, first, only.of(first)[0], time.time(), ended=last.type)
    outbox.scans.forget_withheld(scan.id, [endpoint.name])  # refused events are offered once more
    return _missing(outbox, past, only, last, again)


def forecast_backfill(outbox: Store, endpoint: Endpoint, past: Past) -> Missing:
    """Return the events that a backfill of an endpoint would begin with, the scan's start among them; writes nothing.

    Raises:
        OutboxError: the outbox cannot be read.
        HostDatabaseError: the host's database cannot be read.
    """
    only = screen_for(past.scan, (endpoint,), past.database)
    first = started(past.scan)
    missing = _missing(outbox, past, only, _end(outbox, past))
    if not only.of(first)[0] or first.id in outbox.scans.known_events(past.scan.id, endpoint.name):
        return missing
    return replace(missing, number=missing.number + 1, events=chain([first], missing.events))


def _missing(outbox: Store, past: Past, only: Screen, last: WebhookEvent, again: int = 0) -> Missing:
    """Return the missing events of a scan that has begun.

    Args:
        last: the event that reports its end.
        again: as in Missing.
    """
    scan, database = past.scan, past.database
    known = outbox.scans.known_events(scan.id, only.endpoints[0].name)
    hashes = list(missing_hashes(database, only, Earlier(outbox, scan), known))
    compared = outbox.scans.event(lifecycle_id(scan.id, "surface"))  # not made later: it would compare with the future
    rest = [event for event in (*from_host.correlated(database, scan, only), *([compared] if compared else []), last)
            if event.id not in known and only.of(event)[0]]  # fmt: skip
    survey = Survey(outbox, only, scan, past.row, database)
    return Missing(len(hashes) + len(rest), chain(from_host.found(database, scan, hashes), rest), again, only, survey)


def put(outbox: Store, missing: Missing, events: Sequence[WebhookEvent]) -> bool:
    """Commit some of the missing events; the scan's end carries the endpoint's receipt.

    Returns:
        False if the end has to wait: it must not claim completeness while the outbox is too full for some events.

    Raises:
        OutboxError: the outbox cannot be written.
    """
    only = missing.screen
    found = [event for event in events if event.type not in SEVERITY_OF_END]
    pipeline.accept(found, only, outbox, time.time(), backfilled=True)
    for event in events:
        if event.type in SEVERITY_OF_END:
            if Withheld.OUTBOX_FULL in outbox.scans.withheld(event.scan_id).get(only.endpoints[0].name, {}):
                return False
            outbox.scans.repeat_end(event, only.of(event)[0], time.time(), missing.survey.count())
    return True


def _end(outbox: Store, past: Past) -> WebhookEvent:
    """Return the event that reports the scan's end: the original one if the outbox still has it."""
    sent = outbox.scans.event(lifecycle_id(past.scan.id, "ended"))
    if sent:
        return sent
    late = "host_stopped" if past.reported_as == "scan_aborted" else "process_died"
    result = from_host.result_of(past.scan, past.database, outbox.scans.accepted(past.scan.id))
    return ended(past.scan, result, late="" if past.row.is_over else late)
