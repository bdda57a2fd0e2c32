"""The misp format: a whole scan as an event of MISP with an attribute for each thing that the scan found.

A target has one event, whose uuid is made from it, as the uuid of an attribute is from its value. It is created by POST
/events/add; MISP answers that it is there already from the second scan on, and POST /events/edit then adds what is new
and updates what was found again. https://www.misp-standard.org/rfc/misp-standard-core.html has the format, in which
numbers are texts; `app/Controller/EventsController.php` in MISP's source has the answers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from sfwebhooks.attempts import Outcome, Reply, Verdict
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Batch, clean_text, id_of, timestamp
from sfwebhooks.fingerprints import canonical
from sfwebhooks.formats.api_path import api_path
from sfwebhooks.formats.content import Content
from sfwebhooks.formats.format import Key
from sfwebhooks.formats.observables import (
    MALICIOUS,
    TLP,
    Observable,
    heading_of,
    is_shown,
    observable_of,
    shown_data,
)
from sfwebhooks.formats.replies import MESSAGE_GONE, NOT_OK, held, json_of
from sfwebhooks.formats.whole_scan import (
    ScanFinding,
    in_pieces,
    outline,
    scan_findings,
    separated,
    whole_scan_format,
)
from sfwebhooks.jsontext import written
from sfwebhooks.severity import Severity
from sfwebhooks.text import in_line, readable

#: with metadata:1 the answer has the event without its attributes
ADD, EDIT = "/events/add/metadata:1", "/events/edit/{uuid}/metadata:1"
#: the end of a URL that names the first of these
KNOWN = "/events/add"
DISTRIBUTION = Key(
    "distribution",
    "who may see the events: 0 our organisation, 1 the community, 2 connected communities, 3 all (0)",
    "[0-3]",
    "a number from 0 to 3",
)
#: kind of observable -> type and category of its attribute
TYPES = {
    "ipv4": ("ip-dst", "Network activity"),
    "ipv6": ("ip-dst", "Network activity"),
    "host": ("hostname", "Network activity"),
    "url": ("url", "Network activity"),
    "email": ("email", "Social network"),
    "as": ("AS", "Network activity"),
    "phone": ("phone-number", "Person"),
    "btc": ("btc", "Financial fraud"),
    "md5": ("md5", "Payload delivery"),
    "sha1": ("sha1", "Payload delivery"),
    "sha256": ("sha256", "Payload delivery"),
    "tcp": ("ip-dst|port", "Network activity"),
    "udp": ("ip-dst|port", "Network activity"),
}
TEXT = ("text", "Other")
CVE = ("vulnerability", "External analysis")
#: host types whose names are domains
DOMAINS = re.compile(r"(?:\w+_)?DOMAIN(?:_\w+)?|SIMILARDOMAIN")
#: the worst severity -> threat_level_id
LEVELS = {Severity.CRITICAL: "1", Severity.HIGH: "1", Severity.MEDIUM: "2", Severity.LOW: "3", Severity.INFO: "4"}
#: analysis is ongoing, or complete
ONGOING, COMPLETE = "1", "2"
#: of attributes: the event's
INHERITED = "5"
#: characters of a text, a comment, the title
TEXT_MAX, COMMENT_MAX, INFO_MAX = 2000, 500, 200
#: the event without its attributes is as short as an answer that is read whole
EVENT = re.compile(rb'\s*\{\s*"Event"\s*:')

Json = dict[str, Any]


def bundle(batch: Batch, endpoint: Endpoint) -> Content:
    """Return the event of a scan's target: a new one, unless MISP has said that it has it."""
    about, handle = outline(batch), batch.deliveries[0].handle
    uuid = uuid_of(about.scan.target)
    known = bool(handle and handle.address == endpoint.address_id and handle.value == uuid)
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    place = EDIT.format(uuid=uuid) if known else ADD
    return Content(in_pieces(_event(batch, endpoint, uuid)), headers, path=api_path(endpoint, place, KNOWN))


def uuid_of(target: str) -> str:
    """Return the uuid of a target's event."""
    return id_of(f"misp/event/{canonical(clean_text(target))}")


def _event(batch: Batch, endpoint: Endpoint, uuid: str) -> Iterator[str]:
    """Yield the event; what depends on all of its findings comes last.

    It has no timestamp: MISP refuses an older one than its own.
    """
    about, levels = outline(batch), {Severity.INFO}
    yield '{"Event":{"Attribute":['
    yield from separated(written(one) for one in _attributes(batch, uuid, levels))
    rest = {
        "uuid": uuid,
        "info": in_line(f"SpiderFoot: {readable(about.scan.target)}", INFO_MAX),
        "date": timestamp(about.began_at or batch.deliveries[0].event.at)[:10],
        "threat_level_id": LEVELS[max(levels)],
        "analysis": COMPLETE if about.is_complete else ONGOING,
        "distribution": endpoint.key(DISTRIBUTION.name) or "0",
        "published": False,
        "Tag": [{"name": f"tlp:{endpoint.key(TLP.name) or 'amber'}"}],
    }
    yield f"],{written(rest)[1:]}}}"


def _attributes(batch: Batch, uuid: str, levels: set[Severity]) -> Iterable[Json]:
    """Return the attributes, one for all findings about the same thing."""
    made: dict[str, Json] = {}
    for found in scan_findings(batch, once=True):
        levels.add(found.severity)
        for (kind, category), value in _values(found):
            id = id_of(f"misp/attribute/{uuid}/{kind}/{value}")
            one = _attribute(found, id, (kind, category), value)
            made[id] = _merged(made[id], one) if id in made else one
    return made.values()


def _merged(one: Json, other: Json) -> Json:
    return {
        **one,
        "to_ids": one["to_ids"] or other["to_ids"],
        "comment": in_line(f"{one['comment']}; {other['comment']}", 2 * COMMENT_MAX),
        "timestamp": max(one["timestamp"], other["timestamp"], key=int),
    }


def _values(found: ScanFinding) -> Iterator[tuple[tuple[str, str], str]]:
    """Yield type with category and value of each attribute of a finding."""
    one = observable_of(found)
    if one:
        yield _type(one, found), f"{one.value}|{one.port}" if one.kind in ("tcp", "udp") else one.value
    for cve in found.cves:
        yield CVE, cve
    if not one and not found.cves and is_shown(found):
        yield TEXT, heading_of(found, TEXT_MAX)


def _type(one: Observable, found: ScanFinding) -> tuple[str, str]:
    kind, category = TYPES.get(one.kind, TEXT)
    return ("domain" if kind == "hostname" and DOMAINS.fullmatch(found.type) else kind), category


def _attribute(found: ScanFinding, id: str, kind: tuple[str, str], value: str) -> Json:
    module = f", {found.module}" if found.module else ""
    comment = f"{found.type} ({found.severity.label}{module}): {shown_data(found, COMMENT_MAX)}"
    return {
        "uuid": id,
        "type": kind[0],
        "category": kind[1],
        "value": value,
        "to_ids": found.type.startswith(MALICIOUS) and kind != TEXT,
        "comment": in_line(readable(comment), COMMENT_MAX),
        "timestamp": str(max(int(found.at), 0)),
        "distribution": INHERITED,
    }


def read(reply: Reply, batch: Batch) -> Verdict | None:
    """Return the verdict on the answers of MISP: it has the event already, so that it is to be edited; it has it no
    more; it refused some attributes; it is not MISP."""
    if reply.status == 200:
        return _success(reply)
    if reply.status == 404 and b"Event already exists" in reply.body:
        return Verdict(Outcome.PENDING, "event_exists", handle=uuid_of(outline(batch).scan.target))
    if reply.status == 404 and b"Invalid event" in reply.body and batch.deliveries[0].handle:
        return MESSAGE_GONE
    return held(reply)


def _success(reply: Reply) -> Verdict | None:
    if not EVENT.match(reply.body):
        return NOT_OK
    return Verdict(Outcome.DELIVERED, "some_attributes_refused") if json_of(reply).get("errors") else None


FORMAT = whole_scan_format(
    bundle,
    read=read,
    keys=(TLP, DISTRIBUTION),
    splits=lambda endpoint: True,
    scheme="",
    request_max=50_000_000,
)
