"""The events of a scan's start and end.

A scan and its result come in, a WebhookEvent goes out; `run` and `recovery` send it, and `outbox/scan_end` accepts one
end per scan.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import HostDatabaseError
from sfwebhooks.events import Scan, WebhookEvent, clean_text, lifecycle_id, timestamp
from sfwebhooks.outbox.finding_counts import TopFinding
from sfwebhooks.own_secrets import masked_error
from sfwebhooks.redaction import for_everybody
from sfwebhooks.scan.from_host import ScanResult
from sfwebhooks.scan.host_database import READ_SECONDS, HostDatabase, not_output
from sfwebhooks.scan.host_log import credentials_of
from sfwebhooks.scan.host_rows import ABORTED, FINISHED
from sfwebhooks.severity import Severity
from sfwebhooks.text import in_line

#: the host's status -> the event that reports the end
END_OF_STATUS = {FINISHED: "scan_completed", ABORTED: "scan_aborted", "ABORT-REQUESTED": "scan_aborted"}
SEVERITY_OF_END = {"scan_completed": Severity.INFO, "scan_aborted": Severity.LOW, "scan_failed": Severity.MEDIUM}
#: the host's words for the risk of a correlation rule
RISKS = ("HIGH", "MEDIUM", "LOW", "INFO")
#: characters of a finding's data in the report of a scan's end
TOP_DATA_MAX = 200


def started(scan: Scan, modules: Iterable[str] = ()) -> WebhookEvent:
    """Return the event that reports a scan's start.

    Args:
        modules: modules of the scan, if the host's database does not have them yet.
    """
    at, used = time.time(), not_output(modules)
    with suppress(HostDatabaseError):
        database = HostDatabase(scan.database, READ_SECONDS)
        row = database.scan(scan.id)
        at = row.started if row and row.started else at
        used = database.modules(scan.id) or used
    data = {**scan.about, "status": "STARTED", "started": timestamp(at), "modules_used": used}
    return WebhookEvent(lifecycle_id(scan.id, "started"), "scan_started", Severity.INFO, at, data, scan)


def ended(
    scan: Scan, result: ScanResult, error: str = "", late: str = "", endpoints: Iterable[Endpoint] = ()
) -> WebhookEvent:
    """Return the event that reports a scan's end.

    Args:
        error: why the scan failed, if the caller knows it.
        late: why another process than the scan's own reports it: process_died or host_stopped.
        endpoints: their secrets are masked in the error, and so are the credentials of a scan of this process.
    """
    row, at = result.row, time.time()
    data: dict[str, Any] = {**scan.about}
    if row:
        late, at = "reported_late" if late and (row.is_over or row.status in END_OF_STATUS) else late, row.ended or at
        begun = result.begun or timestamp(row.started or at)  # the host writes its own a moment after our report
        data |= {"status": row.status, "started": begun, "ended": timestamp(at)}
        data |= {"duration": max(0, round(at - (row.started or at)))}
    name = _name_of_end(result, error, late)
    data |= {**result.counts.data, "top_findings": [_top(finding) for finding in result.top]}
    data["correlations_by_risk"] = {risk: result.correlations.get(risk, 0) for risk in RISKS}
    data |= {"modules_used": result.modules_used, "modules_failed": result.modules_failed}
    error = error or result.failure or late
    if name == "scan_failed" and error:
        data["error"] = masked_error(clean_text(error), endpoints, credentials_of(scan.id))
    if late:
        data |= {"detected_late": True, "reason": late}
    return WebhookEvent(lifecycle_id(scan.id, "ended"), name, SEVERITY_OF_END[name], at, data, scan)


def _name_of_end(result: ScanResult, error: str, late: str) -> str:
    """Return the name of the event that reports an end.

    A scan that the host no longer has was deleted, and a user has to stop it first, whatever error followed; one that
    died before the host stored it has found nothing.
    """
    if late == "host_stopped":
        return "scan_aborted"
    if result.row:
        return END_OF_STATUS.get(result.row.status, "scan_failed")
    return "scan_failed" if (error or late) and not result.has_findings else "scan_aborted"


def _top(finding: TopFinding) -> dict[str, str]:
    """Return a finding in short, with secrets masked: a subscriber to scans' ends need not have asked for findings."""
    return {
        "event_type": finding.type,
        "data": in_line(clean_text(for_everybody(finding.type, finding.data)), TOP_DATA_MAX),
        "severity": finding.severity.label,
        "module": finding.module,
        "hash": finding.hash,
    }
