"""The events of a scan's life: its beginning, and its end with the numbers of the host's database.

A scan and what is known of its end come in, a WebhookEvent goes out; `scans` tells it.
"""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from contextlib import suppress
from typing import Any

from sfwebhooks.events import Scan, WebhookEvent, clean_text, lifecycle_id, timestamp
from sfwebhooks.hostdb import HostDatabase
from sfwebhooks.severity import Severity, severity_of

#: the host's status -> the event that tells the end
END_OF_STATUS = {"FINISHED": "scan_completed", "ABORTED": "scan_aborted", "ABORT-REQUESTED": "scan_aborted"}
SEVERITY_OF_END = {"scan_completed": Severity.INFO, "scan_aborted": Severity.LOW, "scan_failed": Severity.MEDIUM}
EVENTS_OF_SEVERITY = {
    "high_risk_events": (Severity.HIGH, Severity.CRITICAL),
    "medium_risk_events": (Severity.MEDIUM,),
    "low_risk_events": (Severity.LOW,),
    "info_events": (Severity.INFO,),
}


def started(scan: Scan) -> WebhookEvent:
    """Return the event that tells a scan's beginning."""
    data: dict[str, Any] = {"scan_id": scan.id, "target": scan.target, "target_type": scan.target_type}
    data["status"] = "STARTED"
    at = time.time()
    with suppress(sqlite3.Error):
        database = HostDatabase(scan.database)
        row = database.scan(scan.id)
        at = row.started if row and row.started else at
        data |= {"started": timestamp(at), "modules_used": database.modules(scan.id)}
    return WebhookEvent(lifecycle_id(scan.id, "started"), "scan_started", Severity.INFO, at, data, scan)


def ended(scan: Scan, database: HostDatabase, error: str = "", late: str = "") -> WebhookEvent:
    """Return the event that tells a scan's end as the host's database has it, with its counts.

    Args:
        error: what made the scan fail, where the caller knows it.
        late: why somebody else than the scan's own process tells it: process_died or host_stopped.

    Raises:
        sqlite3.Error: the host's database cannot be read now; what it would say must not be guessed.
    """
    row, now = database.scan(scan.id), time.time()
    name, at = "scan_failed", now
    data: dict[str, Any] = {"scan_id": scan.id, "target": scan.target, "target_type": scan.target_type}
    if row:
        over = row.status in END_OF_STATUS or row.status == "ERROR-FAILED"
        late = "told_late" if late and over else late
        name = "scan_aborted" if late == "host_stopped" else END_OF_STATUS.get(row.status, "scan_failed")
        at = row.ended or now
        data |= {"status": row.status, "started": timestamp(row.started or at), "ended": timestamp(at)}
        data |= {"duration": max(0, round(at - (row.started or at)))}
    data |= counts(database.counts(scan.id)) | {"modules_used": database.modules(scan.id)}
    error = error or database.last_failure(scan.id)
    if name == "scan_failed" and (error or late):
        data["error"] = clean_text(error or late)
    if late:
        data |= {"detected_late": True, "reason": late}
    return WebhookEvent(lifecycle_id(scan.id, "ended"), name, SEVERITY_OF_END[name], at, data, scan)


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
