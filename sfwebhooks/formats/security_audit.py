"""The security-audit format: the message of the generic format, in the terms of the guide of that name.

All keys are kept, with one change: a finding's `description` becomes the finding itself, and the description of its
type becomes the `title`. Other keys that the guide's receivers read are added as far as a scanner knows them; unknown
ones are null or an empty text, since a receiver fails if a key is missing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sfwebhooks.catalogue.emitted import NO_REMEDIATION
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Delivery
from sfwebhooks.formats.chat import WHY
from sfwebhooks.formats.content import Content, array, sized
from sfwebhooks.formats.event_names import event_name
from sfwebhooks.formats.format import Format
from sfwebhooks.formats.generic import message
from sfwebhooks.jsontext import Stored
from sfwebhooks.naming import SECURITY_AUDIT
from sfwebhooks.text import numbers, readable, text_of

Data = dict[str, Any]
#: severities that the guide counts; informational findings are not issues there
COUNTED = ("critical", "high", "medium", "low")
#: characters of a finding's description; `data` has the rest
DESCRIPTION_MAX = 4096
#: how the host's modules write a CVE's score among its other lines
SCORE = re.compile(r"^Score: (\d{1,2}(?:\.\d+)?)$", re.MULTILINE)


def render(delivery: Delivery, endpoint: Endpoint) -> Content:
    """Return the message of a delivery, with the guide's event name and data."""
    ours, name = message(delivery, endpoint), event_name(delivery, SECURITY_AUDIT)
    given = ours["data"].read if isinstance(ours["data"], Stored) else ours["data"]
    data = guides_data(name, delivery, given, endpoint.link(delivery.event.scan))
    return sized({**ours, "event_type": name, "data": data}, endpoint)


def guides_data(name: str, delivery: Delivery, given: Data, report_url: str) -> Data:
    """Return an event's data with the keys that the guide adds to an event of that name; the event's own values win.

    Args:
        given: the event's data.
        report_url: the URL of the scan, or nothing.
    """
    finds = name.startswith("finding.")
    added: Data = _finding(delivery, given) if finds else {}
    if name == "scan.started":
        added = {"branch": None, "scan_type": "osint", "triggered_by": None}
    if name == "scan.failed":
        added = _failure(given)
    if "events_by_severity" in given:
        added |= _summary(given, report_url)
    return {**added, **_scan(delivery, given), **given, **(_wording(given) if finds else {})}


def _scan(delivery: Delivery, given: Data) -> Data:
    """Return the keys that identify the scan; the target stands for the repository."""
    scan, target = delivery.event.scan, given.get("target")
    if scan:
        return {"scan_id": scan.id, "repository_url": target or scan.target}
    return {"repository_url": target} if target else {}


def _finding(delivery: Delivery, given: Data) -> Data:
    """Return the guide's keys of a finding; its place is the event that led to it."""
    sources = given.get("sources")
    source = sources[0] if isinstance(sources, list) and sources and isinstance(sources[0], Mapping) else {}
    place = text_of(source, "data") or text_of(given, "target")
    return {
        "finding_id": delivery.event.id,
        "scan_id": "",
        "repository_url": "",
        "severity": delivery.event.severity.label,
        "category": text_of(given, "event_type"),
        "file": place,
        "line": None,
        "remediation": dict(NO_REMEDIATION),
        "cvss_score": _score(given),
        "affected_component": place,
    }


def _wording(given: Mapping[str, Any]) -> Data:
    """Return title and description of a scanner's finding; another tool's has its own."""
    if "title" in given:
        return {}
    found = readable(text_of(given, "data")[:DESCRIPTION_MAX])
    return {"title": text_of(given, "description") or text_of(given, "event_type"), "description": found}


def _score(given: Mapping[str, Any]) -> int | float | None:
    known = text_of(given, "event_type").startswith("VULNERABILITY_")
    match = SCORE.search(text_of(given, "data")) if known else None
    score = float(match[1]) if match else None
    return int(score) if score is not None and score.is_integer() else score  # JSON.stringify writes 10, not 10.0


def _summary(given: Mapping[str, Any], report_url: str) -> Data:
    """Return how long a scan took and what it found."""
    found = numbers(given["events_by_severity"])
    counts = {label: found.get(label, 0) for label in COUNTED}
    return {
        "duration_seconds": given.get("duration"),
        "findings_summary": {**counts, "total": sum(counts.values())},
        "report_url": report_url or None,
    }


def _failure(given: Mapping[str, Any]) -> Data:
    """Return the guide's keys of a failed scan; the scanner never retries one."""
    reason = text_of(given, "reason") or text_of(given, "status")
    return {
        "error_code": reason.upper().replace("-", "_"),
        "error_message": text_of(given, "error") or WHY.get(reason, reason),
        "retry_attempt": 0,
        "will_retry": False,
    }


# its envelope repeats a finding, and its place
FORMAT = Format(render, join=array, naming=SECURITY_AUDIT, surplus=lambda common: common, is_whole=True)
