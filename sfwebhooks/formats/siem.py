"""The siem format: an event in the shape of the product's guide, with the additional keys that a SOC needs.

The guide's six keys keep their names and values, so that rules written for it keep working; all other keys are added to
them. Nothing is masked: `raw_data` is the event's whole data.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Delivery, Scan, timestamp
from sfwebhooks.formats.content import Content, event_data, sized
from sfwebhooks.formats.exploitation import exploitation_of
from sfwebhooks.formats.format import Format
from sfwebhooks.formats.layout import LAYOUT, joined
from sfwebhooks.jsontext import Stored, json_number
from sfwebhooks.severity import Severity

SCHEMA = 1
TAGS = ("osint", "spiderfoot")
#: upper bound of the bytes of what is known of a vulnerability, which `raw_data` has too
SURPLUS = 128
#: the type of a finding among the first keys of its data, none of which needs escapes
FINDING_TYPE = re.compile(r'\{(?:"\w+":"[^"\\]*",)*?"event_type":"([^"\\]*)"')
#: beginnings of the keys that say how a vulnerability is exploited
EXPLOITATION = ('"known_exploited"', '"epss_')
#: the guide's words for its own cases
WORD_OF_NAME = {"high_risk_event": "HIGH", "medium_risk_event": "MEDIUM", "scan_failed": "MEDIUM"}
# For all other names the event's own severity decides. The guide would call them LOW, even a critical CVE sent as
# vulnerability_found. There is no CRITICAL: receivers written for the guide know three words and may refuse a fourth,
# or rank it below HIGH. The exact severity has its own key.
WORD_OF_SEVERITY = {
    Severity.CRITICAL: "HIGH",
    Severity.HIGH: "HIGH",
    Severity.MEDIUM: "MEDIUM",
    Severity.LOW: "LOW",
    Severity.INFO: "LOW",
}


def render(delivery: Delivery, endpoint: Endpoint) -> Content:
    """Return the SIEM event of a delivery."""
    return sized(siem_event(delivery, endpoint), endpoint, "raw_data")


def siem_event(delivery: Delivery, endpoint: Endpoint) -> dict[str, Any]:
    """Return the guide's keys and ours."""
    event = delivery.event
    body: dict[str, Any] = {
        "timestamp": timestamp(event.at),
        "source": "SpiderFoot",
        "event_type": delivery.name,
        "severity": severity_word(delivery),
        "raw_data": event_data(event, endpoint),
        "tags": list(TAGS),
        "schema": SCHEMA,
        "event_id": event.id,
        "delivery_id": delivery.id,
        "series": delivery.series,
        "sequence": delivery.sequence,
        "endpoint": endpoint.name,
        "backfilled": delivery.backfilled or None,
        "severity_exact": event.severity.label,
        "severity_level": int(event.severity),
        "finding_type": None,
        "special": event.special,
        **_of_finding(event.data),
        "scan": _scan(event.scan) if event.scan else None,
        "scanner_version": event.scan.version if event.scan else None,
        "metadata": dict(endpoint.metadata),
    }
    return {key: value for key, value in body.items() if key == "raw_data" or value or value == 0}


def severity_word(delivery: Delivery) -> str:
    """Return HIGH, MEDIUM or LOW."""
    return WORD_OF_NAME.get(delivery.name) or WORD_OF_SEVERITY[delivery.event.severity]


def _of_finding(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the host's type of a finding and the exploitation of a vulnerability; where the text of stored data has
    all of that, the rest of it is not read, which would take a quarter of the message's time."""
    text = data.text if isinstance(data, Stored) else ""
    match = FINDING_TYPE.match(text)
    if match and not any(key in text for key in EXPLOITATION):
        return {"finding_type": match[1]}
    return {"finding_type": data.get("event_type"), **_exploitation(data)}


def _exploitation(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is known of the exploitation of a vulnerability, next to the other keys by which a SOC searches."""
    found = exploitation_of(data)
    return {
        "known_exploited": found.is_known or None,
        "kev_due_date": found.due,
        "epss_score": json_number(found.score) if found.score else None,
        "epss_percentile": json_number(found.percentile) if found.percentile else None,
    }


def _scan(scan: Scan) -> dict[str, str]:
    return {"id": scan.id, "name": scan.name, "target": scan.target, "target_type": scan.target_type}


FORMAT = Format(render, join=joined, keys=(LAYOUT,), surplus=lambda common: SURPLUS, is_whole=True)
