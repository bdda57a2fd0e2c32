"""The stix format: a whole scan as a bundle of STIX 2.1, or as an envelope for a collection of a TAXII 2.1 server.

What was found is observed data about observables; a malicious one is also an indicator, a CVE a vulnerability with a
sighting, and what has no observable a note. A report has all of them. Envelopes are added by POST
/collections/ID/objects/ of an API root (https://docs.oasis-open.org/cti/taxii/v2.1/os/taxii-v2.1-os.html, section 5.4).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from sfwebhooks.attempts import HTML, Outcome, Reply, Verdict
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Batch, id_of, timestamp
from sfwebhooks.formats.api_path import api_path
from sfwebhooks.formats.content import Content
from sfwebhooks.formats.format import Key
from sfwebhooks.formats.observables import (
    MALICIOUS,
    TLP,
    Observable,
    formed,
    heading_of,
    is_shown,
    observable_of,
    shown_data,
)
from sfwebhooks.formats.replies import NOT_OK, held, json_of
from sfwebhooks.formats.stix_objects import MARKINGS, Json, observable_objects, pattern_of, stix_id
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
from sfwebhooks.text import amount, in_line, numbers, readable, text_of

COLLECTION = Key(
    "collection",
    "the id of a collection of a TAXII 2.1 server, whose API root url then is; absent: a bundle is sent to url",
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "the id of a collection, such as 91a7b528-80eb-42ed-a74d-c6fbd5a26116",
)
STIX_TYPE, TAXII_TYPE = "application/stix+json;version=2.1", "application/taxii+json;version=2.1"
#: most deliveries of a request: of one finding there are up to five objects
DELIVERIES_MAX = 20_000
#: the time at which the object that stands for SpiderFoot was made
MADE_AT = "2026-01-01T00:00:00.000Z"
SPIDERFOOT_ID = stix_id("identity", "SpiderFoot")
#: kinds of which what was found at can be, where a vulnerability is sighted
PLACES = ("ip", "host", "url", "tcp")
#: what a server says of an object that it has already; the last one is what OASIS's own server says of no other
KNOWN = re.compile(
    r"already (?:exists?|present|stored)|duplicate|identical|\AUnable to process object\Z", re.IGNORECASE
)
#: characters of a name, of a text
NAME_MAX, CONTENT_MAX = 300, 4000


@dataclass
class Making:
    """The objects of a scan while they are written."""

    about: ScanOutline
    endpoint: Endpoint
    #: the ids of those that are written, in their order
    ids: dict[str, None] = field(default_factory=dict)
    counts: Counter[Severity] = field(default_factory=Counter)
    #: informational findings without an observable, which have no object
    rest: int = 0

    @cached_property
    def common(self) -> Json:
        """What all objects but observables have."""
        marking = MARKINGS[self.endpoint.key(TLP.name) or "amber"]
        return {"created_by_ref": SPIDERFOOT_ID, "object_marking_refs": [marking]}

    @cached_property
    def target_id(self) -> str:
        """The id of the observable that is the target; that of SpiderFoot if it is not an observable."""
        seen = _target(self.about)
        return str(observable_objects(seen)[-1]["id"]) if seen else SPIDERFOOT_ID

    def once(self, *objects: Json) -> Iterator[str]:
        """Yield those objects that are not written yet."""
        for one in objects:
            if one["id"] not in self.ids:
                self.ids[one["id"]] = None
                yield written(one)

    def made(self, type: str, name: str, at: str, /, **properties: object) -> Json:
        """Return an object other than an observable; its name distinguishes it from others of its type and scan."""
        return {
            "type": type,
            "spec_version": "2.1",
            "id": stix_id(type, f"{self.about.scan.id}/{name}"),
            "created": at,
            "modified": at,
            **self.common,
            **properties,
        }


def bundle(batch: Batch, endpoint: Endpoint) -> Content:
    """Return the bundle of a scan, or the envelope for the collection."""
    collection = endpoint.key(COLLECTION.name)
    if not collection:
        head = f'{{"type":"bundle","id":"bundle--{id_of(f"stix/bundle/{batch.id}")}","objects":['
        return Content(in_pieces(_message(head, batch, endpoint)), {"Content-Type": STIX_TYPE})
    headers = {"Content-Type": TAXII_TYPE, "Accept": TAXII_TYPE}
    body = in_pieces(_message('{"objects":[', batch, endpoint))
    return Content(body, headers, path=api_path(endpoint, f"/collections/{collection}/objects/"))


def _message(head: str, batch: Batch, endpoint: Endpoint) -> Iterator[str]:
    yield head
    yield from separated(_objects(batch, Making(outline(batch), endpoint)))
    yield "]}"


def _objects(batch: Batch, making: Making) -> Iterator[str]:
    yield from making.once(
        {
            "type": "identity",
            "spec_version": "2.1",
            "id": SPIDERFOOT_ID,
            "created": MADE_AT,
            "modified": MADE_AT,
            "name": "SpiderFoot",
            "identity_class": "system",
        }
    )
    target = _target(making.about)
    if target:
        yield from making.once(*observable_objects(target))
    latest = batch.deliveries[0].event.at
    for found in scan_findings(batch, once=True):
        making.counts[found.severity] += 1
        latest = max(latest, found.at)
        yield from _of_finding(found, making)
    yield written(_report(making, batch.id, timestamp(making.about.ended_at or latest)))


def _target(about: ScanOutline) -> Observable | None:
    found = (formed(kind, about.scan.target.strip()) for kind in ("ip", "net", "host", "email", "as"))
    return next((one for one in found if one), None)


def _of_finding(found: ScanFinding, making: Making) -> Iterator[str]:
    """Yield the new objects of a finding."""
    one, at = observable_of(found), timestamp(found.at)
    objects = observable_objects(one) if one else []
    if one and objects:
        seen = _observed(found, objects, at, making)
        yield from making.once(*objects, seen)
        pattern = pattern_of(one) if found.type.startswith(MALICIOUS) else ""
        if pattern:
            yield from _indicator(found, pattern, seen, making)
    for cve in found.cves:
        yield from _vulnerability(found, cve, at, making)
    if not objects and not found.cves:
        yield from _note(found, at, making)


def _observed(found: ScanFinding, objects: list[Json], at: str, making: Making) -> Json:
    return making.made(
        "observed-data",
        found.fingerprint,
        at,
        first_observed=at,
        last_observed=at,
        number_observed=1,
        object_refs=[one["id"] for one in objects],
        labels=_labels(found),
        **_confidence(found),
    )


def _labels(found: ScanFinding) -> list[str]:
    return [in_line(readable(found.type), 100) or "finding", f"severity-{found.severity.label}"]


def _confidence(found: ScanFinding) -> Json:
    text = found.confidence
    return {"confidence": int(text)} if text.isascii() and text.isdigit() and int(text[:4]) <= 100 else {}


def _indicator(found: ScanFinding, pattern: str, seen: Json, making: Making) -> Iterator[str]:
    at = seen["created"]
    indicator = making.made(
        "indicator",
        pattern,
        at,
        name=heading_of(found, NAME_MAX),
        description=shown_data(found, CONTENT_MAX),
        indicator_types=["malicious-activity"],
        pattern=pattern,
        pattern_type="stix",
        valid_from=at,
        labels=_labels(found),
        **_confidence(found),
    )
    ends = {"relationship_type": "based-on", "source_ref": indicator["id"], "target_ref": seen["id"]}
    yield from making.once(indicator, making.made("relationship", f"{pattern}/{found.fingerprint}", at, **ends))


def _vulnerability(found: ScanFinding, cve: str, at: str, making: Making) -> Iterator[str]:
    source = found.source.strip()
    place = next((one for kind in PLACES if (one := formed(kind, source))), None)
    vulnerability = making.made(
        "vulnerability", cve, at, name=cve, external_references=[{"source_name": "cve", "external_id": cve}]
    )
    sighting: Json = {"first_seen": at, "last_seen": at, "count": 1, "sighting_of_ref": vulnerability["id"]}
    if place:
        objects = observable_objects(place)
        seen = _observed(found, objects, at, making)
        yield from making.once(*objects, seen)
        sighting["observed_data_refs"] = [seen["id"]]
    sighting |= {"description": shown_data(found, CONTENT_MAX), "labels": _labels(found), **_confidence(found)}
    yield from making.once(vulnerability, making.made("sighting", f"{cve}/{found.fingerprint}", at, **sighting))


def _note(found: ScanFinding, at: str, making: Making) -> Iterator[str]:
    if not is_shown(found):
        making.rest += 1
        return
    content = shown_data(found, CONTENT_MAX)
    yield from making.once(
        making.made(
            "note",
            found.fingerprint,
            at,
            abstract=heading_of(found, NAME_MAX),
            content=content if content.strip() else found.type,
            object_refs=[making.target_id],
            labels=_labels(found),
        )
    )


def _report(making: Making, batch_id: str, at: str) -> Json:
    found = ", ".join(f"{making.counts[one]:,} {one.label}" for one in sorted(making.counts, reverse=True))
    rest = f"; {amount(making.rest, 'informational finding')} without an object" if making.rest else ""
    total = amount(sum(making.counts.values()), "finding")
    return making.made(
        "report",
        batch_id,
        at,
        name=in_line(f"SpiderFoot scan of {readable(making.about.scan.target)}", NAME_MAX),
        description=f"{making.about.end or 'part of a scan'}: {total}{f' ({found})' if found else ''}{rest}",
        report_types=["observed-data"],
        published=at,
        object_refs=[*making.ids],
    )


def read(reply: Reply, batch: Batch) -> Verdict | None:
    """Return the verdict on a reply of a TAXII server that refused objects, on the page of something else, and
    on a wrong address or key.

    Some servers count an object among the failures that they have already: after a time-out these can be all.
    """
    if reply.status not in (200, 202):
        return held(reply)
    answer = json_of(reply)
    counts, given = numbers(answer), answer.get("failures")
    failed, stored = counts.get("failure_count", 0), counts.get("success_count", 0)
    words = [text_of(one, "message") for one in given if isinstance(one, dict)] if isinstance(given, list) else []
    known = sum(bool(KNOWN.search(text[:CONTENT_MAX])) for text in words)
    if failed > known:
        if stored or known:  # the others are stored, and these would be refused again
            return Verdict(Outcome.DELIVERED, "some_objects_refused")
        return Verdict(Outcome.REFUSED, "taxii_objects_refused")
    if known and not stored:
        return Verdict(Outcome.DELIVERED, "stored_before")
    return NOT_OK if HTML.match(reply.body[:200].decode("utf-8", "replace")) else None


FORMAT = whole_scan_format(
    bundle, read=read, keys=(COLLECTION, TLP), splits=lambda endpoint: True, bundle_max=DELIVERIES_MAX
)
