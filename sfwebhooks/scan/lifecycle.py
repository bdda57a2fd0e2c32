"""The events of a scan's life: its beginning and its end.

A scan and what is known of its end come in, a WebhookEvent goes out; `run` and `recovery` tell it.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Scan, WebhookEvent, clean_text, lifecycle_id, timestamp
from sfwebhooks.formats.redaction import for_chat
from sfwebhooks.masking import masked_error
from sfwebhooks.outbox.tally import TopFinding
from sfwebhooks.scan.from_host import ScanResult
from sfwebhooks.scan.host_database import READ_SECONDS, HostDatabase, not_output
from sfwebhooks.scan.host_log import credentials_of
from sfwebhooks.severity import Severity
from sfwebhooks.text import in_line

#: the host's status -> the event that tells the end
END_OF_STATUS = {"FINISHED": "scan_completed", "ABORTED": "scan_aborted", "ABORT-REQUESTED": "scan_aborted"}
SEVERITY_OF_END = {"scan_completed": Severity.INFO, "scan_aborted": Severity.LOW, "scan_failed": Severity.MEDIUM}
#: the host's words for the risk of a correlation rule
RISKS = ("HIGH", "MEDIUM", "LOW", "INFO")
#: characters of the data of a finding that a scan's end tells
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
    scan: Scan, result: ScanResult, error: str = "", late: str = "", endpoints: Iterable[Endpoint] = ()
) -> WebhookEvent:
    """Return the event that tells a scan's end.

    Args:
        error: what made the scan fail, where the caller knows it.
        late: why somebody else than the scan's own process tells it: process_died or host_stopped.
        endpoints: their secrets are masked in the error, and the credentials of a scan of this process.
    """
    row, at = result.row, time.time()
    data: dict[str, Any] = {**scan.about}
    if row:
        late, at = "reported_late" if late and is_over(row.status) else late, row.ended or at
        begun = result.begun or timestamp(row.started or at)  # the host writes its own a moment after it was told
        data |= {"status": row.status, "started": begun, "ended": timestamp(at)}
        data |= {"duration": max(0, round(at - (row.started or at)))}
    name = _name_of_end(result, error, late)
    data |= {**result.tally.data, "top_findings": [_top(finding) for finding in result.top]}
    data["correlations_by_risk"] = {risk: result.correlations.get(risk, 0) for risk in RISKS}
    data |= {"modules_used": result.modules_used, "modules_failed": result.modules_failed}
    error = error or result.failure or late
    if name == "scan_failed" and error:
        data["error"] = masked_error(clean_text(error), endpoints, credentials_of(scan.id))
    if late:
        data |= {"detected_late": True, "reason": late}
    return WebhookEvent(lifecycle_id(scan.id, "ended"), name, SEVERITY_OF_END[name], at, data, scan)


def _name_of_end(result: ScanResult, error: str, late: str) -> str:
    """Return the name of the event that tells an end.

    A scan that the host has no more was deleted by somebody, who has to stop it first, whatever error it then met; one
    that died before it was there has found nothing.
    """
    if late == "host_stopped":
        return "scan_aborted"
    if result.row:
        return END_OF_STATUS.get(result.row.status, "scan_failed")
    return "scan_failed" if (error or late) and not result.has_findings else "scan_aborted"


def is_over(status: str) -> bool:
    """Say whether a scan of that status (the host's word) has come to an end, or somebody stopped it."""
    return status in END_OF_STATUS or status == "ERROR-FAILED"


def _top(finding: TopFinding) -> dict[str, str]:
    """Return a finding in short. Whoever asks for a scan's end may not have asked for findings: secrets are masked."""
    return {
        "event_type": finding.type,
        "data": in_line(clean_text(for_chat(finding.type, finding.data)), TOP_DATA_MAX),
        "severity": finding.severity.label,
        "module": finding.module,
        "hash": finding.hash,
    }
