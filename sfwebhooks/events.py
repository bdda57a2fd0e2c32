"""The nouns that travel: Scan, WebhookEvent, Delivery. Pure data, and the ids that make repeats recognisable.

An id is a UUIDv5 over what the thing is, so the same thing seen twice (restart, recovery, two processes) has
the same id, and the outbox keeps one of them.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from sfwebhooks.severity import Severity

#: the end of the year 9999: nothing later can be written
LAST_SECOND = 253402300799.0
#: the beginning of the year 1
FIRST_SECOND = -62135596800.0
NAMESPACE = uuid.UUID("9b0f4a52-5a2e-5d2c-8c58-3d1a4f6f2f10")


@dataclass(frozen=True)
class Scan:
    """A scan of the host, as far as every event of it must say."""

    #: the host's id of the scan
    id: str
    name: str
    target: str
    #: the host's type of the target, such as INTERNET_NAME
    target_type: str
    #: the scanner's version
    version: str = ""
    #: path of the host's database that holds the scan
    database: str = ""


@dataclass(frozen=True)
class WebhookEvent:
    """Something worth telling: a finding, or a step in a scan's life."""

    id: str
    #: name in the catalogue; a finding's is its risk name, such as high_risk_event
    type: str
    severity: Severity
    #: epoch seconds at which it happened
    at: float
    data: Mapping[str, Any]
    scan: Scan | None = None
    #: vulnerability_found or malware_detected beside a finding's risk name
    special: str | None = None


@dataclass(frozen=True)
class Delivery:
    """One event on its way to one endpoint."""

    #: goes out as X-SpiderFoot-Delivery and webhook-id; the same over retries, restarts and recovery
    id: str
    event: WebhookEvent
    #: name of the endpoint in the configuration
    endpoint: str
    #: the event name that the endpoint subscribed to
    name: str
    #: 1, 2, 3 ... without gaps per scan and endpoint
    sequence: int
    #: attempts that counted so far
    attempts: int = 0


def finding_id(scan_id: str, event_hash: str) -> str:
    """Return the id of a scanner event; `event_hash` is the host's own hash of it, unique per event."""
    return str(uuid.uuid5(NAMESPACE, f"finding/{scan_id}/{event_hash}"))


def lifecycle_id(scan_id: str, step: str) -> str:
    """Return the id of a scan's beginning (`step` "started") or end ("ended", whatever the end was)."""
    return str(uuid.uuid5(NAMESPACE, f"scan/{scan_id}/{step}"))


def delivery_id(event_id: str, endpoint: str) -> str:
    """Return the id of the delivery of an event to the endpoint of that name."""
    return str(uuid.uuid5(NAMESPACE, f"delivery/{event_id}/{endpoint}"))


def timestamp(at: float) -> str:
    """Return epoch seconds as RFC 3339 in UTC with milliseconds, such as 2026-11-21T10:00:00.000Z."""
    moment = datetime.fromtimestamp(min(max(at, FIRST_SECOND), LAST_SECOND), timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def printable(text: str) -> str:
    """Return text in which nothing moves a terminal's cursor or breaks a log's line."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def clean_text(text: str) -> str:
    """Return text without lone surrogates, which neither UTF-8 nor a strict JSON reader takes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
