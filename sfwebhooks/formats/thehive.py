"""The thehive format: a whole scan as an alert with observables of TheHive 4 and 5 (POST /api/v1/alert).

https://docs.strangebee.com/thehive/api-docs/#operation/Create%20Alert has the fields. TheHive refuses a second alert
with the same type, source and sourceRef: the alert of a scan has the same ones each time it is sent. One observable
that comes twice, or one that is malformed, makes it refuse the alert.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from sfwebhooks.attempts import Outcome, Reply, Verdict
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Batch, clean_text, id_of
from sfwebhooks.fingerprints import canonical
from sfwebhooks.formats.api_path import api_path
from sfwebhooks.formats.content import Content
from sfwebhooks.formats.format import Key
from sfwebhooks.formats.markdown import code_block
from sfwebhooks.formats.observables import MALICIOUS, TLP, Observable, heading_of, is_shown, observable_of
from sfwebhooks.formats.replies import NOT_OK, held, json_of
from sfwebhooks.formats.whole_scan import (
    ScanFinding,
    ScanOutline,
    in_pieces,
    outline,
    scan_findings,
    separated,
    whole_scan_format,
)
from sfwebhooks.jsontext import written
from sfwebhooks.severity import Severity
from sfwebhooks.text import amount, in_line, readable

PLACE = "/api/v1/alert"
ALERT_TYPE = Key(
    "alert_type", "the type of the alerts (osint)", "[A-Za-z0-9_.-]{1,32}", "up to 32 of A-Z, a-z, 0-9, _, . and -"
)
SOURCE = "SpiderFoot"
#: kind of observable -> TheHive's data type; those that are not here are "other"
DATA_TYPES = {
    "ipv4": "ip",
    "ipv6": "ip",
    "host": "domain",
    "url": "url",
    "email": "mail",
    "as": "autonomous-system",
    "md5": "hash",
    "sha1": "hash",
    "sha256": "hash",
}
COLOURS = {"clear": 0, "green": 1, "amber": 2, "red": 3}
LEVELS = {Severity.CRITICAL: 4, Severity.HIGH: 3, Severity.MEDIUM: 2, Severity.LOW: 1, Severity.INFO: 1}
#: characters of an observable that is a text, of its message, of the title
DATA_MAX, MESSAGE_MAX, TITLE_MAX = 500, 300, 200
#: tags of an observable
TAGS_MAX = 20
#: most deliveries of an alert: people read it
ALERT_MAX = 2_000
#: the answer to an alert that is there already, by TheHive 3, and 4 and 5; not that of an observable that comes twice
THERE = re.compile(r"Alert [^\n]{0,500} already exist|document already exists")

Json = dict[str, Any]


def bundle(batch: Batch, endpoint: Endpoint) -> Content:
    """Return the alert of a scan."""
    body = in_pieces(_alert(batch, endpoint))
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    return Content(body, headers, path=api_path(endpoint, PLACE))


def _alert(batch: Batch, endpoint: Endpoint) -> Iterator[str]:
    """Yield the alert; what depends on all of its findings comes last."""
    about, counts, colour = outline(batch), Counter[Severity](), COLOURS[endpoint.key(TLP.name) or "amber"]
    yield '{"observables":['
    yield from separated(written(one) for one in _observables(batch, counts, colour))
    worst = max(counts, default=Severity.INFO)
    target = in_line(readable(about.scan.target), TITLE_MAX)
    rest = {
        "type": endpoint.key(ALERT_TYPE.name) or "osint",
        "source": SOURCE,
        "sourceRef": id_of(f"thehive/{canonical(clean_text(about.scan.target))}/{batch.id}"),
        "title": in_line(f"SpiderFoot scan of {target}", TITLE_MAX),
        "description": description(about, counts),
        "severity": LEVELS[worst],
        "tlp": colour,
        "date": int((about.ended_at or batch.deliveries[0].event.at) * 1000),
        "tags": ["spiderfoot", "osint"],
        **({"externalLink": link} if (link := endpoint.link(about.scan)) else {}),
    }
    yield f"],{written(rest)[1:]}"


def description(about: ScanOutline, counts: Counter[Severity]) -> str:
    """Return the description in Markdown; texts from outside are in a code block."""
    found = ", ".join(f"{counts[one]:,} {one.label}" for one in sorted(counts, reverse=True))
    lines = [
        f"Target: {about.scan.target}",
        f"Scan: {about.scan.name} ({about.scan.id})",
        f"Outcome: {about.end or 'not in this part'}",
        f"Findings: {amount(sum(counts.values()), 'finding')}{f' ({found})' if found else ''}",
    ]
    return code_block("\n".join(in_line(readable(line), 500) for line in lines))


def _observables(batch: Batch, counts: Counter[Severity], colour: int) -> Iterable[Json]:
    """Return the observables, one for all findings about the same thing."""
    made: dict[tuple[str, str], Json] = {}
    for found in scan_findings(batch, once=True):
        counts[found.severity] += 1
        for kind, data, name in _data_of(found):
            one = made.setdefault((kind, data), {"dataType": kind, "data": data, "tlp": colour, "ioc": False})
            one["ioc"] |= found.type.startswith(MALICIOUS)
            messages = (one.get("message"), heading_of(found, MESSAGE_MAX))
            one["message"] = in_line("; ".join(filter(None, messages)), 4 * MESSAGE_MAX)
            tags = (name, in_line(readable(found.type), 100), f"severity:{found.severity.label}")
            one["tags"] = [*dict.fromkeys([*one.get("tags", ()), *tags])][:TAGS_MAX]
    return made.values()


def _data_of(found: ScanFinding) -> Iterator[tuple[str, str, str]]:
    """Yield data type, data and kind of each observable of a finding."""
    one = observable_of(found)
    if one:
        yield _typed(one)
    for cve in found.cves:
        yield "other", cve, "cve"
    if not one and not found.cves and is_shown(found):
        yield "other", heading_of(found, DATA_MAX), "text"


def _typed(one: Observable) -> tuple[str, str, str]:
    if one.kind in ("tcp", "udp"):
        address = f"[{one.value}]" if ":" in one.value else one.value
        return "other", f"{address}:{one.port}", one.kind
    is_net = one.kind.startswith("ip") and "/" in one.value
    return "other" if is_net else DATA_TYPES.get(one.kind, "other"), one.value, one.kind


def read(reply: Reply, batch: Batch) -> Verdict | None:
    """Return the verdict on an alert that is there already, on a 2xx without one, and on a wrong address or key."""
    if reply.status in (200, 201):
        return None if "sourceRef" in json_of(reply) or b'"sourceRef"' in reply.body else NOT_OK
    if reply.status == 400 and THERE.search(reply.words):
        return Verdict(Outcome.DELIVERED, "stored_before")
    return held(reply)


FORMAT = whole_scan_format(
    bundle, read=read, keys=(TLP, ALERT_TYPE), splits=lambda endpoint: True, bundle_max=ALERT_MAX
)
