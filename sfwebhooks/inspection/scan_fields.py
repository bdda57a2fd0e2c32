"""Scans as fields for JSON: the outbox's rows come in; a scan's status, its steps in words, what its end reported and
what its endpoints were sent and not sent go out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

from sfwebhooks.endpoints import Endpoint, Secret
from sfwebhooks.events import Delivery, WebhookEvent, timestamp
from sfwebhooks.formats.chat import notice
from sfwebhooks.inspection.delivery import FOR_PEOPLE
from sfwebhooks.outbox.listing import Listing
from sfwebhooks.outbox.scan_list import PROGRESS, ListedScan, ScanList, Steps
from sfwebhooks.outbox.scans import Scans
from sfwebhooks.outbox.selection import Selection
from sfwebhooks.redaction import explained
from sfwebhooks.scan.lifecycle import SEVERITY_OF_END
from sfwebhooks.severity import Severity
from sfwebhooks.text import in_line

#: of a step that nobody is sent
NOBODY = Endpoint("nobody", Secret("http://127.0.0.1"))
#: characters of a step in words
WORDS_MAX = 300
COMPARED = "surface_changed"


class ScanStatus(Enum):
    """What became of a scan."""

    #: its process lives, as far as this user can see
    RUNNING = "running"
    FINISHED = "finished"
    #: a user stopped it, or SpiderFoot
    ABORTED = "aborted"
    #: it ended with an error
    FAILED = "failed"
    #: its process died; if its end is not reported yet, the next process that looks reports it
    DIED = "died"


ENDS = {"scan_completed": ScanStatus.FINISHED, "scan_aborted": ScanStatus.ABORTED}


def scan_status(one: ListedScan) -> ScanStatus:
    """Return what became of a scan."""
    if one.ended is None:
        return ScanStatus.RUNNING if one.is_alive else ScanStatus.DIED
    return ENDS.get(one.ended, ScanStatus.DIED if one.reason == "process_died" else ScanStatus.FAILED)


def fields_of_scan(one: ListedScan) -> dict[str, Any]:
    """Return a scan in a list; times are RFC 3339."""
    return {
        "scan": one.scan.id,
        "name": one.scan.name,
        "target": one.scan.target,
        "target_type": one.scan.target_type,
        "began_at": timestamp(one.began_at),
        "ended_at": None if one.ended_at is None else timestamp(one.ended_at),
        "status": scan_status(one).value,
        "deliveries": dict(one.deliveries),
    }


def scan_in_detail(one: ListedScan, parts: tuple[ScanList, Scans, Listing], redact: bool) -> dict[str, Any]:
    """Return a scan with all that is known of it.

    Args:
        parts: of the outbox.
        redact: whether the data of its comparison and of its end are redacted, as those of a message to people.

    Raises:
        OutboxError: the outbox cannot be read.
    """
    listed, scans, listing = parts
    steps = listed.steps(one.scan)
    shown = {event.id: event for event in _redacted(steps)}
    given = shown.values() if redact else steps.events
    data: dict[str, dict[str, Any]] = {event.type: dict(event.data) for event in given}
    report = next((data[name] for name in SEVERITY_OF_END if name in data), None)
    severities = (report or data.get(PROGRESS, {})).get("events_by_severity")
    return {
        **fields_of_scan(one),
        "version": one.scan.version,
        "timeline": [_step(event) for event in shown.values()],
        "missing_steps": steps.missing,
        "findings": severities if isinstance(severities, dict) else _accepted(listed.severities(one.scan.id)),
        "endpoints": listing.counts(Selection(scan=one.scan.id)),
        "withheld": scans.withheld(one.scan.id),
        "surface": data.get(COMPARED),
        "report": report,
    }


def _redacted(steps: Steps) -> Iterator[WebhookEvent]:
    """Yield the steps as people may see them."""
    for event in steps.events:
        delivery = Delivery(event.id, event, NOBODY.name, event.type, series="", sequence=0)
        yield explained(delivery, FOR_PEOPLE)[0].event


def _step(event: WebhookEvent) -> dict[str, Any]:
    """Return a step of a scan."""
    found = notice(Delivery(event.id, event, NOBODY.name, event.type, series="", sequence=0), NOBODY)
    words = f"{found.headline}: {found.body}" if found.body else found.headline
    return {
        "at": timestamp(event.at),
        "type": event.type,
        "severity": event.severity.label,
        "words": in_line(words, WORDS_MAX),
        "event": event.id,
    }


def _accepted(counts: Mapping[Severity, int]) -> dict[str, int]:
    return {severity.label: counts.get(severity, 0) for severity in sorted(Severity, reverse=True)}
