"""The events of a scan's life: its beginning, its progress, and its end with the numbers of the host's database.

A scan and what is known of its end come in, a WebhookEvent goes out; `scans` tells it.
"""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Scan, WebhookEvent, clean_text, lifecycle_id, timestamp
from sfwebhooks.hostdb import READ_SECONDS, HostDatabase, not_output
from sfwebhooks.hostlog import credentials_of, modules_failed
from sfwebhooks.masking import masked_error
from sfwebhooks.redaction import for_chat
from sfwebhooks.severity import Severity, severity_of
from sfwebhooks.words import in_line

#: the host's status -> the event that tells the end
END_OF_STATUS = {"FINISHED": "scan_completed", "ABORTED": "scan_aborted", "ABORT-REQUESTED": "scan_aborted"}
SEVERITY_OF_END = {"scan_completed": Severity.INFO, "scan_aborted": Severity.LOW, "scan_failed": Severity.MEDIUM}
EVENTS_OF_SEVERITY = {
    "high_risk_events": (Severity.HIGH, Severity.CRITICAL),
    "medium_risk_events": (Severity.MEDIUM,),
    "low_risk_events": (Severity.LOW,),
    "info_events": (Severity.INFO,),
}
#: the host's words for the risk of a correlation rule
RISKS = ("HIGH", "MEDIUM", "LOW", "INFO")
#: findings that a scan's end tells, and characters of their data
TOP_MAX = 10
TOP_DATA_MAX = 200


def started(scan: Scan, modules: Iterable[str] = ()) -> WebhookEvent:
    """Return the event that tells a scan's beginning.

    Args:
        modules: modules of the scan, if the host's database has not got them yet.
    """
    at, used = time.time(), not_output(modules)
    with suppress(sqlite3.Error):
        database = HostDatabase(scan.database, READ_SECONDS)
        row = database.scan(scan.id)
        at = row.started if row and row.started else at
        used = database.modules(scan.id) or used
    data = {**scan.about, "status": "STARTED", "started": timestamp(at), "modules_used": used}
    return WebhookEvent(lifecycle_id(scan.id, "started"), "scan_started", Severity.INFO, at, data, scan)


def ended(
    scan: Scan, database: HostDatabase, error: str = "", late: str = "", endpoints: Iterable[Endpoint] = ()
) -> WebhookEvent:
    """Return the event that tells a scan's end as the host's database has it, with its counts.

    Args:
        error: what made the scan fail, where the caller knows it.
        late: why somebody else than the scan's own process tells it: process_died or host_stopped.
        endpoints: their secrets are masked in the error, and the credentials of a scan of this process.

    Raises:
        sqlite3.Error: the host's database cannot be read now; what it would say must not be guessed.
    """
    row, now = database.scan(scan.id), time.time()
    name, at = "scan_failed", now
    data: dict[str, Any] = {**scan.about}
    if row:
        late = "told_late" if late and is_over(row.status) else late
        name = "scan_aborted" if late == "host_stopped" else END_OF_STATUS.get(row.status, "scan_failed")
        at = row.ended or now
        data |= {"status": row.status, "started": timestamp(row.started or at), "ended": timestamp(at)}
        data |= {"duration": max(0, round(at - (row.started or at)))}
    data |= counts(database.counts(scan.id)) | result(scan.id, database)
    error = error or database.last_failure(scan.id)
    if name == "scan_failed" and (error or late):
        data["error"] = masked_error(clean_text(error or late), endpoints, credentials_of(scan.id))
    if late:
        data |= {"detected_late": True, "reason": late}
    return WebhookEvent(lifecycle_id(scan.id, "ended"), name, SEVERITY_OF_END[name], at, data, scan)


def is_over(status: str) -> bool:
    """Say whether a scan of that status (the host's word) has come to an end, or somebody stopped it."""
    return status in END_OF_STATUS or status == "ERROR-FAILED"


def result(scan_id: str, database: HostDatabase) -> dict[str, Any]:
    """Return what a scan's end says of its result beside the numbers of events.

    Raises:
        sqlite3.Error: the host's database cannot be read.
    """
    by_risk = database.correlations_by_risk(scan_id)
    return {
        "top_findings": [_top(*row) for row in database.worst(scan_id, severity_of, TOP_MAX)],
        "correlations_by_risk": {risk: by_risk.get(risk, 0) for risk in RISKS},
        "modules_used": database.modules(scan_id),
        "modules_failed": modules_failed(scan_id, database),
    }


def _top(event_hash: str, event_type: str, data: str, risk: int, module: str) -> dict[str, str]:
    """Return a finding in short. Whoever asks for a scan's end may not have asked for findings: secrets are masked."""
    return {
        "event_type": event_type,
        "data": in_line(clean_text(for_chat(event_type, data)), TOP_DATA_MAX),
        "severity": severity_of(event_type, risk).label,
        "module": module,
        "hash": event_hash,
    }


def counts(by_type: dict[str, int]) -> dict[str, Any]:
    """Return the numbers of the guide's scan_completed, from the events of each type."""
    by_severity: Counter[Severity] = Counter()
    for event_type, number in by_type.items():
        by_severity[severity_of(event_type)] += number
    return {
        "events_found": sum(by_type.values()),
        **{name: sum(by_severity[severity] for severity in group) for name, group in EVENTS_OF_SEVERITY.items()},
        "events_by_severity": {severity.label: by_severity[severity] for severity in sorted(Severity, reverse=True)},
        "events_by_type": dict(sorted(by_type.items())),
    }
