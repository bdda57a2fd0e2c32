"""The ocsf format: events of the Open Cybersecurity Schema Framework 1.5.0.

https://schema.ocsf.io says what the attributes mean. A vulnerability with a CVE is a Vulnerability Finding (2002), a
threat, a correlation and another vulnerability are a Detection Finding (2004), what else was found is OSINT Inventory
Info (5021), a scan's start and end are Scan Activity (6007), all else is a Base Event (0). The schema refuses unknown
attributes, so the message of the format `generic` is in `unmapped`. Nothing is masked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Delivery, Scan, WebhookEvent
from sfwebhooks.formats import generic
from sfwebhooks.formats.content import Content, epoch_milliseconds, sized
from sfwebhooks.formats.ecs import KINDS, entity_of, one_line
from sfwebhooks.formats.exploitation import exploitation_of
from sfwebhooks.formats.format import Format
from sfwebhooks.formats.layout import LAYOUT, joined
from sfwebhooks.formats.log_line import cve_of
from sfwebhooks.jsontext import json_number, written
from sfwebhooks.severity import Severity
from sfwebhooks.text import in_line, readable, text_of

Json = dict[str, Any]

VERSION = "1.5.0"
#: characters of a name or an id from outside, and of a finding's data that are repeated outside of `unmapped`
NAME_MAX = 64
VALUE_MAX = 256
#: upper bounds of the bytes of the attributes, and of the values that are repeated in them
SURPLUS = 1700
REPEATED = 1900
SEVERITY_ID = {Severity.INFO: 1, Severity.LOW: 2, Severity.MEDIUM: 3, Severity.HIGH: 4, Severity.CRITICAL: 5}
SEVERITY_NAME = {1: "Informational", 2: "Low", 3: "Medium", 4: "High", 5: "Critical"}
#: what a finding's data are -> type of an `osint` and its name
OSINT_TYPES = {
    "ip": (1, "IP Address"),
    "host": (3, "Hostname"),
    "url": (5, "URL"),
    "email": (9, "Email Address"),
}
#: the same for types of the scanner whose data have no form that `ecs` checks
OSINT_TYPES_BY_NAME = {
    "HASH": (4, "Hash"),
    "HASH_COMPROMISED": (4, "Hash"),
    "SSL_CERTIFICATE_RAW": (7, "Digital Certificate"),
    "DOMAIN_NAME": (2, "Domain"),
    "DOMAIN_NAME_PARENT": (2, "Domain"),
    "AFFILIATE_DOMAIN_NAME": (2, "Domain"),
}


class Class(NamedTuple):
    """A class of the schema, and the activity of an event of it."""

    uid: int
    name: str
    category_uid: int
    category: str
    activity_id: int
    activity: str


VULNERABILITY = Class(2002, "Vulnerability Finding", 2, "Findings", 1, "Create")
DETECTION = Class(2004, "Detection Finding", 2, "Findings", 1, "Create")
INVENTORY = Class(5021, "OSINT Inventory Info", 5, "Discovery", 1, "Log")
BASE = Class(0, "Base Event", 0, "Uncategorized", 99, "Other")
SCAN = {
    name: Class(6007, "Scan Activity", 6, "Application Activity", number, activity)
    for name, number, activity in (
        ("scan_started", 1, "Started"),
        ("scan_completed", 2, "Completed"),
        ("scan_aborted", 3, "Cancelled"),
        ("scan_failed", 6, "Error"),
    )
}


def render(delivery: Delivery, endpoint: Endpoint) -> Content:
    """Return the OCSF event of a delivery."""
    before = f'{written(ocsf_event(delivery, endpoint))[:-1]},"unmapped":'
    return sized(generic.message(delivery, endpoint), endpoint, before=before.encode(), after=b"}")


def ocsf_event(delivery: Delivery, endpoint: Endpoint) -> Json:
    """Return the attributes of a delivery's event, without `unmapped`."""
    event = delivery.event
    made, own = _meaning(event, endpoint)
    severity = SEVERITY_ID[event.severity]
    # the name of another activity than those of the class is the event's own
    activity = delivery.name if made.activity_id == 99 else made.activity
    return {
        "activity_id": made.activity_id,
        "activity_name": activity,
        "category_uid": made.category_uid,
        "category_name": made.category,
        "class_uid": made.uid,
        "class_name": made.name,
        "type_uid": made.uid * 100 + made.activity_id,
        "type_name": f"{made.name}: {made.activity}",
        "severity_id": severity,
        "severity": SEVERITY_NAME[severity],
        "time": epoch_milliseconds(event.at),
        "message": one_line(event),
        "metadata": _metadata(delivery),
        **own,
    }


def _metadata(delivery: Delivery) -> Json:
    event = delivery.event
    product = {"name": "SpiderFoot", "vendor_name": "SpiderFoot"}
    version = _shown(event.scan.version) if event.scan else ""
    return {
        "version": VERSION,
        "product": {**product, "version": version} if version else product,
        "uid": event.id,
        "event_code": delivery.name,
        "sequence": delivery.sequence,
        **({"correlation_uid": _shown(event.scan.id)} if event.scan and _shown(event.scan.id) else {}),
        **({"labels": ["backfilled"]} if delivery.backfilled else {}),
    }


def _meaning(event: WebhookEvent, endpoint: Endpoint) -> tuple[Class, Json]:
    """Return the class of an event, and the attributes that only its class has."""
    data, host_type = event.data, text_of(event.data, "event_type")
    if event.type in SCAN and event.scan:
        return SCAN[event.type], _scan(event, event.scan)
    cve = cve_of(event)
    if cve:
        return VULNERABILITY, {**_finding(event, endpoint), "vulnerabilities": [_vulnerability(event, cve)]}
    if event.type == "correlation_found":
        rule = {"uid": _shown(text_of(data, "rule_id")), "name": _shown(text_of(data, "rule_name"))}
        analytic = {key: text for key, text in rule.items() if text}
        return DETECTION, _finding(event, endpoint, {"type_id": 1, "type": "Rule", **analytic} if analytic else {})
    if event.special or host_type.startswith(("VULNERABILITY", "MALICIOUS_", "BLACKLISTED_")):
        return DETECTION, _finding(event, endpoint)
    value = str(readable(text_of(data, "data")[:VALUE_MAX])).strip()
    if host_type and value:
        return INVENTORY, {"osint": [_osint(data, host_type, value)]}
    return BASE, {}


def _vulnerability(event: WebhookEvent, cve: str) -> Json:
    known = exploitation_of(event.data)
    epss = {"score": known.score, **({"percentile": json_number(known.percentile)} if known.percentile else {})}
    return {
        "cve": {"uid": cve, **({"epss": epss} if known.score else {})},
        "severity": SEVERITY_NAME[SEVERITY_ID[event.severity]],
        **({"is_exploit_available": True} if known.is_known else {}),
    }


def _finding(event: WebhookEvent, endpoint: Endpoint, analytic: Json | None = None) -> Json:
    """Return the attributes of a finding: what it is, and what it is about."""
    data, link = event.data, endpoint.link(event.scan)
    kind = _shown(next(filter(None, (text_of(data, key) for key in ("rule_name", "description", "event_type"))), ""))
    about: Json = {
        "uid": event.id,
        "title": one_line(event),
        "created_time": epoch_milliseconds(event.at),
        **({"types": [kind]} if kind else {}),
        **({"src_url": link} if link else {}),
        **({"analytic": analytic} if analytic else {}),
    }
    found: Json = {"finding_info": about, "status_id": 1, "status": "New"}
    confidence = data.get("confidence")
    if isinstance(confidence, int) and not isinstance(confidence, bool) and 0 <= confidence <= 100:
        found["confidence_score"] = confidence
    observables = _observables(data)
    return {**found, "observables": observables} if observables else found


def _observables(data: Mapping[str, Any]) -> list[Json]:
    """Return what a finding is about, in the types of the schema."""
    entity = entity_of(data)
    if not entity:
        return []
    number, name = {
        "ip": (2, "IP Address"),
        "port": (2, "IP Address"),
        "host": (1, "Hostname"),
        "email": (5, "Email Address"),
        "url": (6, "URL String"),
    }[entity.kind]
    value = entity.value.partition(" ")[0] if entity.kind == "port" else entity.value
    return [{"name": "unmapped.data", "type_id": number, "type": name, "value": value}]


def _osint(data: Mapping[str, Any], host_type: str, value: str) -> Json:
    """Return what was found; a value that does not have the form of its type is of another type."""
    kind = KINDS.get(host_type, "")
    entity = entity_of({"event_type": host_type, "data": data.get("data")}) if kind in OSINT_TYPES else None
    number, name = OSINT_TYPES[kind] if entity else (99, _shown(host_type) or "Other")
    if host_type in OSINT_TYPES_BY_NAME and (entity or not kind):
        number, name = OSINT_TYPES_BY_NAME[host_type]
    module = _shown(text_of(data, "module"))
    return {
        "type_id": number,
        "type": name,
        "value": entity.value if entity else value,
        **({"vendor_name": module} if module else {}),
    }


def _scan(event: WebhookEvent, scan: Scan) -> Json:
    """Return the attributes of a scan's start or end."""
    name, duration = _shown(scan.name), event.data.get("duration")
    found: Json = {"scan": {"type_id": 99, "type": "OSINT", "uid": _shown(scan.id) or event.id}}
    if name:
        found["scan"]["name"] = name
    if isinstance(duration, int) and 0 < duration < 2**31:
        found["duration"] = duration * 1000
    return found


def _shown(text: str) -> str:
    return in_line(readable(text[: 4 * NAME_MAX]), NAME_MAX)


FORMAT = Format(render, join=joined, keys=(LAYOUT,), surplus=lambda common: SURPLUS + min(common, REPEATED))
