"""The ecs format: an event as a document of the Elastic Common Schema.

https://www.elastic.co/docs/reference/ecs says what the fields mean. The event's own data are in `spiderfoot`, a key of
our own, which ECS allows. Nothing is masked. A value that does not have the form of its field is left to `spiderfoot`:
Elasticsearch refuses a document because of a malformed address.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Delivery, WebhookEvent, timestamp
from sfwebhooks.formats.chat import totals
from sfwebhooks.formats.content import Content, sized
from sfwebhooks.formats.format import Format
from sfwebhooks.formats.layout import LAYOUT, joined
from sfwebhooks.text import in_line, people, readable, text_of

Json = dict[str, Any]

VERSION = "9.4.0"
#: characters of `message`, and of a value that is repeated outside of `spiderfoot`
MESSAGE_MAX = 160
VALUE_MAX = 512
#: upper bound of the bytes of a document that are not in a message of the generic format: the names of fields, and
#: the repeated values
SURPLUS = 2600
#: the scanner's type of a finding -> what its data are
KINDS = {
    name: kind
    for kind, names in {
        "ip": "IP_ADDRESS IPV6_ADDRESS AFFILIATE_IPADDR AFFILIATE_IPV6_ADDRESS INTERNAL_IP_ADDRESS",
        "host": "INTERNET_NAME INTERNET_NAME_UNRESOLVED AFFILIATE_INTERNET_NAME AFFILIATE_INTERNET_NAME_UNRESOLVED"
        " DOMAIN_NAME DOMAIN_NAME_PARENT AFFILIATE_DOMAIN_NAME CO_HOSTED_SITE CO_HOSTED_SITE_DOMAIN SIMILARDOMAIN",
        "email": "EMAILADDR EMAILADDR_DELIVERABLE EMAILADDR_DISPOSABLE EMAILADDR_GENERIC EMAILADDR_UNDELIVERABLE"
        " AFFILIATE_EMAILADDR",
        "url": "LINKED_URL_INTERNAL LINKED_URL_EXTERNAL URL_FORM URL_UPLOAD URL_PASSWORD URL_JAVASCRIPT URL_STATIC"
        " URL_WEB_FRAMEWORK INTERESTING_FILE JUNK_FILE LEAKSITE_URL DARKNET_MENTION_URL",
        "port": "TCP_PORT_OPEN UDP_PORT_OPEN",
    }.items()
    for name in names.split()
}
HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?")
EMAIL = re.compile(r"[^\s@\"\\]{1,64}@[A-Za-z0-9.-]{1,253}", re.ASCII)
URL = re.compile(r"https?://[!#-\[\]-~]{1,500}")
PORT = re.compile(r"(.{2,45}):([0-9]{1,5})")
CVE = re.compile(r"CVE-[0-9]{4}-[0-9]{4,19}")
SCORE = re.compile(r"^Score: (10(?:\.0)?|[0-9](?:\.[0-9])?)$", re.MULTILINE)
LINK = re.compile(r"<SFURL>(https?://[!#-;=?-\[\]-~]{1,240})</SFURL>")
#: the least of a module's confidence -> ECS' word for it
CONFIDENCE = ((70, "High"), (30, "Medium"), (1, "Low"), (0, "None"))
#: an event of a scan's life -> event.type and event.outcome
STEPS = {
    "scan_started": ("start", ""),
    "scan_progress": ("info", ""),
    "scan_completed": ("end", "success"),
    "scan_failed": ("end", "failure"),
    "scan_aborted": ("end", "unknown"),
    "correlation_completed": ("info", ""),
    "surface_changed": ("change", ""),
}


class Entity(NamedTuple):
    """What a finding is about."""

    #: ip, host, email, url or port
    kind: str
    value: str


def render(delivery: Delivery, endpoint: Endpoint) -> Content:
    """Return the ECS document of a delivery."""
    return sized(ecs_document(delivery, endpoint), endpoint, "spiderfoot")


def ecs_document(delivery: Delivery, endpoint: Endpoint) -> Json:
    """Return the fields of a delivery's event."""
    event, link = delivery.event, endpoint.link(delivery.event.scan)
    what, fields = _meaning(event)
    observer = {"vendor": "SpiderFoot", "product": "SpiderFoot", "type": "scanner"}
    if event.scan and event.scan.version:
        observer["version"] = event.scan.version
    return {
        "@timestamp": timestamp(event.at),
        "ecs": {"version": VERSION},
        "message": one_line(event),
        "event": {
            **what,
            "module": "spiderfoot",
            "dataset": "spiderfoot.event",
            "action": delivery.name,
            "id": event.id,
            "sequence": delivery.sequence,
            "severity": int(event.severity),
            **({"url": link} if link else {}),
        },
        "observer": observer,
        **fields,
        "labels": _labels(delivery, endpoint),
        "tags": ["osint", "spiderfoot"],
        "spiderfoot": event.data,
    }


def _labels(delivery: Delivery, endpoint: Endpoint) -> dict[str, str]:
    scan = delivery.event.scan
    about = {"scan_id": scan.id, "scan_name": scan.name, "target": scan.target} if scan else {}
    ours = {
        "delivery_id": delivery.id,
        "endpoint": endpoint.name,
        "series": delivery.series,
        "severity": delivery.event.severity.label,
        **about,
        **({"backfilled": "true"} if delivery.backfilled else {}),
    }
    # a dot in the name of a field would make an object of it
    return {**{key.replace(".", "_"): value for key, value in endpoint.metadata.items()}, **ours}


def one_line(event: WebhookEvent) -> str:
    """Return an event in one line of at most MESSAGE_MAX characters."""
    data = event.data
    texts = (text_of(data, "title"), text_of(data, "message"), failure(data), totals(data))
    words = next(filter(None, texts), "")
    if "data" in data:
        words = text_of(data, "data")[: 4 * MESSAGE_MAX]
    host_type = text_of(data, "event_type")
    what = (host_type and text_of(data, "description")) or host_type or people(event.type)
    text = readable(f"{what[:MESSAGE_MAX]}: {words[: 4 * MESSAGE_MAX]}" if words else what)
    return in_line(text, MESSAGE_MAX) or event.type


def failure(data: Mapping[str, Any]) -> str:
    """Return what went wrong, such as KeyError: 'data'; the error alone may be no more than the name of a key."""
    return ": ".join(filter(None, (text_of(data, "exception"), text_of(data, "error"))))


def _meaning(event: WebhookEvent) -> tuple[Json, Json]:
    """Return the values of `event` that say what kind of event it is, and the fields that only its kind has."""
    data = event.data
    if event.type in STEPS:
        return _step(event)
    if event.type == "correlation_found":
        texts = {"id": "rule_id", "name": "rule_name"}
        rule = {key: text_of(data, ours)[:VALUE_MAX] for key, ours in texts.items() if text_of(data, ours)}
        return _kind("alert", "intrusion_detection"), {"rule": rule} if rule else {}
    host_type = text_of(data, "event_type")
    entity = entity_of(data)
    fields = _fields(entity) if entity else {}
    if event.special == "vulnerability_found" or host_type.startswith("VULNERABILITY"):
        return _kind("alert", "vulnerability"), {**fields, "vulnerability": _vulnerability(event)}
    if host_type.startswith(("MALICIOUS_", "BLACKLISTED_")) and entity:
        threat = {"indicator": _indicator(entity, data)}
        return _kind("enrichment", "threat", "indicator"), {**fields, "threat": threat}
    if not host_type:
        return {"kind": "event"}, fields
    category = {"email": "email", "url": "web"}.get(entity.kind if entity else "", "network")
    return _kind("event", category), fields


def _kind(kind: str, category: str, type_: str = "info") -> Json:
    return {"kind": kind, "category": [category], "type": [type_]}


def _step(event: WebhookEvent) -> tuple[Json, Json]:
    """Return the same for a step of a scan's life."""
    data = event.data
    type_, outcome = STEPS[event.type]
    what = _kind("event", "process", type_)
    if outcome:
        what["outcome"] = outcome
    for key, ours in (("start", "started"), ("end", "ended")):
        if isinstance(data.get(ours), str) and event.scan:
            what[key] = data[ours]
    duration = data.get("duration")
    if type_ == "end" and isinstance(duration, int) and 0 <= duration < 2**31:
        what["duration"] = duration * 1_000_000_000
    return what, {}


def entity_of(data: Mapping[str, Any]) -> Entity | None:
    """Return what a finding is about: its own data, or that of the event that led to it."""
    sources = data.get("sources")
    source = sources[0] if isinstance(sources, list) and sources and isinstance(sources[0], Mapping) else {}
    for one in (data, source):
        kind, text = KINDS.get(text_of(one, "event_type"), ""), one.get("data")
        if kind and isinstance(text, str) and len(text) <= VALUE_MAX:
            value = _formed(kind, text.replace("<SFURL>", "").replace("</SFURL>", "").strip())
            return Entity(kind, value) if value else None
    return None


def _formed(kind: str, text: str) -> str:
    """Return a value in the form of its kind, or nothing."""
    if kind == "ip":
        return _address(text)
    if kind == "port":
        match = PORT.fullmatch(text)
        address = _address(match[1].strip("[]")) if match else ""
        return f"{address} {int(match[2])}" if match and address and int(match[2]) < 65536 else ""
    form = {"host": HOST, "email": EMAIL, "url": URL}[kind]
    return text if form.fullmatch(text) else ""


def _address(text: str) -> str:
    try:
        return "" if "%" in text else str(ip_address(text))
    except ValueError:
        return ""


def _fields(entity: Entity) -> Json:
    kind, value = entity
    if kind == "ip":
        return {"related": {"ip": [value]}}
    if kind == "port":
        address, _, port = value.partition(" ")
        return {"destination": {"ip": address, "port": int(port)}, "related": {"ip": [address]}}
    if kind == "email":
        return {"user": {"email": value}, "related": {"user": [value]}}
    if kind == "host":
        return {"related": {"hosts": [value]}}
    try:
        host = urlsplit(value).hostname or ""
    except ValueError:  # such as http://[x/
        return {}
    url = {"url": {"full": value, **({"domain": host} if HOST.fullmatch(host) else {})}}
    return {**url, "related": {"hosts": [host]}} if HOST.fullmatch(host) else url


def _indicator(entity: Entity, data: Mapping[str, Any]) -> Json:
    kind, value = entity
    found: Json
    if kind in ("ip", "port"):
        address = value.partition(" ")[0]
        found = {"type": "ipv6-addr" if ":" in address else "ipv4-addr", "ip": address}
    elif kind == "email":
        found = {"type": "email-addr", "email": {"address": value}}
    elif kind == "url":
        found = {"type": "url", "url": {"full": value}}
    else:
        found = {"type": "domain-name", "name": value}
    confidence = data.get("confidence")
    if isinstance(confidence, int):
        found["confidence"] = next((word for least, word in CONFIDENCE if confidence >= least), "Not Specified")
    provider = text_of(data, "module")
    return {**found, "provider": provider[:64]} if provider.isascii() and provider.isprintable() and provider else found


def _vulnerability(event: WebhookEvent) -> Json:
    text = text_of(event.data, "data")[:4096]
    found: Json = {"severity": event.severity.label, "scanner": {"vendor": "SpiderFoot"}}
    cve, score, link = CVE.search(text), SCORE.search(text), LINK.search(text)
    if cve:
        found |= {"id": cve[0], "enumeration": "CVE"}
    if link:
        found["reference"] = link[1]
    if score:
        # JSON.stringify writes 10, not 10.0
        base = float(score[1])
        found |= {"classification": "CVSS", "score": {"base": int(base) if base.is_integer() else base}}
    return found


FORMAT = Format(render, join=joined, keys=(LAYOUT,), surplus=lambda common: SURPLUS)
