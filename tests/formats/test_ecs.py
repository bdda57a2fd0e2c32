"""Documents of the Elastic Common Schema. Judge: `ecs_fields.json`, the fields that we use as Elastic's npm package
@elastic/ecs 9.4.0 (EcsFlat) defines them, and the pairs of category and type that it expects."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from sfwebhooks.catalogue import EVENT_TYPES
from sfwebhooks.endpoints import Secret
from sfwebhooks.events import Batch, Delivery
from sfwebhooks.formats import FORMATS, ecs, render
from sfwebhooks.formats.content import measure
from sfwebhooks.formats.ecs import ecs_document, entity_of, one_line
from sfwebhooks.severity import SEVERITY_OF_TYPE, Severity
from tests.builders import a_delivery, a_scan, an_endpoint, an_event
from tests.rows import in_one

SCHEMA = json.loads((Path(__file__).parent / "ecs_fields.json").read_text(encoding="utf-8"))
FIELDS: dict[str, dict[str, Any]] = SCHEMA["fields"]
TYPES: dict[str, list[str]] = SCHEMA["types"]
HOSTILE = (
    "",
    "\0",
    "\ud800",
    "\u202egnp.exe",
    "999.1.1.1",
    "fe80::1%eth0",
    "http://[x/",
    "a b",
    "@",
    "x" * 5000,
    "1.2.3.4:99999",
)


def document(delivery: Delivery, **endpoint: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ecs.render(delivery, an_endpoint(**endpoint)).body)
    return found


def found_with(host_type: str, data: str, **more: Any) -> dict[str, Any]:
    """Return the document of a finding."""
    return document(a_delivery(an_event(data={"event_type": host_type, "data": data, "description": "D", **more})))


def leaves(value: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the fields of a document, in dotted notation."""
    for key, item in value.items():
        name = f"{path}.{key}" if path else key
        if isinstance(item, Mapping) and name != "labels":
            yield from leaves(item, name)
        else:
            yield name, item


def assert_ecs(found: Mapping[str, Any]) -> None:
    """Let each field be one of ECS, with a value of its type."""
    for name, value in leaves({key: item for key, item in found.items() if key != "spiderfoot"}):
        field = FIELDS[name]
        assert isinstance(value, list) == ("array" in field), name
        for one in value if isinstance(value, list) else [value]:
            is_of_type(name, field["type"], one)
            assert one in field.get("allowed", [one]), name
    for category in found["event"].get("category", ()):
        assert set(found["event"]["type"]) <= set(TYPES[category])


def is_of_type(name: str, kind: str, value: Any) -> None:
    if kind == "date":
        assert datetime.fromisoformat(value.replace("Z", "+00:00"))
    elif kind == "ip":
        assert str(ip_address(value)) == value
    elif kind in ("long", "float"):
        assert isinstance(value, int if kind == "long" else (int, float)) and not isinstance(value, bool), name
    elif kind == "object":
        assert all(isinstance(one, str) and "." not in key for key, one in value.items()), name
    else:
        assert isinstance(value, str) and 0 < len(value) <= 1024, f"{name}: longer keywords are not indexed"


@in_one("entry", EVENT_TYPES)
def test_every_event_of_the_catalogue_has_fields_of_ecs_only(entry: Any) -> None:
    event = an_event(type=entry.name, data=entry.example, special=entry.example.get("special"))
    assert_ecs(document(a_delivery(event), ui_url="https://sf.acme.example", metadata={"user": "a", "team.x": "b"}))


@in_one("host_type", SEVERITY_OF_TYPE)
def test_every_type_of_finding_has_fields_of_ecs_only(host_type: str) -> None:
    for text in (
        "203.0.113.7",
        "mail.acme.example",
        "jane@acme.example",
        "https://acme.example/x",
        "10.0.0.1:80",
        *HOSTILE,
    ):
        for source in ("INTERNET_NAME", "IP_ADDRESS", "EMAILADDR", "LINKED_URL_EXTERNAL", "TCP_PORT_OPEN", text):
            sources = [{"event_type": source, "data": text, "module": text}]
            assert_ecs(found_with(host_type, text, sources=sources, confidence=50, module=text))


@pytest.mark.parametrize("value", [None, 5, [], {}, ["x"], {"a": 1}, True])
def test_data_of_other_types_are_left_to_our_own_key(value: Any) -> None:
    names = (
        "event_type",
        "data",
        "description",
        "sources",
        "module",
        "confidence",
        "started",
        "ended",
        "duration",
        "title",
    )
    for event_type in ("high_risk_event", "scan_completed", "correlation_found", "system_alert"):
        event = an_event(type=event_type, data=dict.fromkeys(names, value), scan=None)
        found = document(a_delivery(event))
        assert_ecs(found)
        assert found["spiderfoot"] == event.data


def test_a_document_has_the_ids_and_the_events_own_data() -> None:
    delivery = a_delivery(sequence=7, backfilled=True)
    found = document(delivery, metadata={"user": "admin", "endpoint": "x"}, ui_url="https://sf.acme.example")
    assert found["event"] == {
        "kind": "alert",
        "category": ["vulnerability"],
        "type": ["info"],
        "module": "spiderfoot",
        "dataset": "spiderfoot.event",
        "action": "high_risk_event",
        "id": delivery.event.id,
        "sequence": 7,
        "severity": 3,
        "url": "https://sf.acme.example/scaninfo?id=5C4A0001",
    }
    assert found["labels"] == {
        "user": "admin",
        "endpoint": "team",
        "delivery_id": delivery.id,
        "series": delivery.series,
        "severity": "high",
        "scan_id": "5C4A0001",
        "scan_name": "Weekly Security Scan",
        "target": "acme.example",
        "backfilled": "true",
    }
    assert found["spiderfoot"] == delivery.event.data
    assert (found["@timestamp"], found["ecs"]) == ("2026-11-21T10:00:00.000Z", {"version": "9.4.0"})


def test_a_vulnerability_has_its_cve_its_score_and_its_reference() -> None:
    entry = next(entry for entry in EVENT_TYPES if entry.name == "finding.critical")
    event = an_event(data=entry.example, severity=Severity.CRITICAL, special="vulnerability_found")
    found = document(a_delivery(event))
    assert found["vulnerability"] == {
        "severity": "critical",
        "scanner": {"vendor": "SpiderFoot"},
        "id": "CVE-2021-44228",
        "enumeration": "CVE",
        "reference": "https://nvd.nist.gov/vuln/detail/CVE-2021-44228",
        "classification": "CVSS",
        "score": {"base": 10},
    }
    assert found["related"] == {"ip": ["203.0.113.10"]}


@pytest.mark.parametrize(
    ("host_type", "source", "value", "indicator"),
    [
        ("MALICIOUS_IPADDR", "IP_ADDRESS", "203.0.113.7", {"type": "ipv4-addr", "ip": "203.0.113.7"}),
        ("BLACKLISTED_IPADDR", "IPV6_ADDRESS", "2001:DB8::1", {"type": "ipv6-addr", "ip": "2001:db8::1"}),
        ("MALICIOUS_INTERNET_NAME", "INTERNET_NAME", "a.example", {"type": "domain-name", "name": "a.example"}),
        (
            "MALICIOUS_EMAILADDR",
            "EMAILADDR",
            "a@b.example",
            {"type": "email-addr", "email": {"address": "a@b.example"}},
        ),
    ],
)
def test_a_threat_is_an_indicator_of_what_it_is_about(host_type: str, source: str, value: str, indicator: Any) -> None:
    sources = [{"event_type": source, "data": value}]
    found = found_with(host_type, f"ThreatFox [{value}]", sources=sources, confidence=70, module="sfp_threatfox")
    assert found["threat"] == {"indicator": {**indicator, "confidence": "High", "provider": "sfp_threatfox"}}
    assert (found["event"]["kind"], found["event"]["category"]) == ("enrichment", ["threat"])


@pytest.mark.parametrize(
    ("number", "word"), [(100, "High"), (69, "Medium"), (29, "Low"), (0, "None"), (-1, "Not Specified")]
)
def test_the_confidence_is_a_word_of_ecs(number: int, word: str) -> None:
    sources = [{"event_type": "IP_ADDRESS", "data": "203.0.113.7"}]
    found = found_with("MALICIOUS_IPADDR", "x", sources=sources, confidence=number)
    assert found["threat"]["indicator"]["confidence"] == word


@pytest.mark.parametrize(
    ("host_type", "text", "category", "fields"),
    [
        ("IP_ADDRESS", "203.0.113.7", "network", {"related": {"ip": ["203.0.113.7"]}}),
        ("INTERNET_NAME", "a.example", "network", {"related": {"hosts": ["a.example"]}}),
        ("EMAILADDR", "a@b.example", "email", {"user": {"email": "a@b.example"}, "related": {"user": ["a@b.example"]}}),
        (
            "TCP_PORT_OPEN",
            "203.0.113.7:22",
            "network",
            {"destination": {"ip": "203.0.113.7", "port": 22}, "related": {"ip": ["203.0.113.7"]}},
        ),
        (
            "LINKED_URL_EXTERNAL",
            "<SFURL>https://a.example:8/x</SFURL>",
            "web",
            {"url": {"full": "https://a.example:8/x", "domain": "a.example"}, "related": {"hosts": ["a.example"]}},
        ),
        ("GEOINFO", "Berlin", "network", {}),
        ("IP_ADDRESS", "mail.acme.example", "network", {}),
    ],
)
def test_a_discovery_has_the_fields_of_its_kind(host_type: str, text: str, category: str, fields: Any) -> None:
    found = found_with(host_type, text)
    assert found["event"]["category"] == [category]
    assert {key: found[key] for key in ("related", "user", "destination", "url") if key in found} == fields


@pytest.mark.parametrize(
    ("event_type", "kind", "outcome"),
    [
        ("scan_started", "start", None),
        ("scan_completed", "end", "success"),
        ("scan_failed", "end", "failure"),
        ("scan_aborted", "end", "unknown"),
    ],
)
def test_a_scan_is_a_process_with_an_outcome(event_type: str, kind: str, outcome: str | None) -> None:
    entry = next(entry for entry in EVENT_TYPES if entry.name == event_type)
    found = document(a_delivery(an_event(type=event_type, data=entry.example)))["event"]
    assert (found["category"], found["type"], found.get("outcome")) == (["process"], [kind], outcome)
    assert found["start"] == "2026-11-20T09:30:00.000Z"
    assert found.get("duration") == (entry.example["duration"] * 10**9 if kind == "end" else None)


@pytest.mark.parametrize("text", [text for text in HOSTILE if text not in ("999.1.1.1", "http://[x/")])
def test_a_text_without_the_form_of_its_kind_is_not_an_entity(text: str) -> None:
    assert [entity_of({"event_type": host_type, "data": text}) for host_type in ecs.KINDS] == [None] * len(ecs.KINDS)


def test_our_own_key_has_one_json_type_for_each_field() -> None:
    """Elasticsearch refuses a document whose field has another type than in the documents before."""
    kinds: dict[str, set[str]] = {}

    def walk(fields: Any, path: str) -> None:
        for field in fields:
            kind = field.of if field.type == "array" else field.type
            kinds.setdefault(f"{path}.{field.name}", set()).add("number" if kind == "integer" else kind)
            walk(field.parts, f"{path}.{field.name}")

    for entry in EVENT_TYPES:
        walk(entry.fields, "spiderfoot")
        walk(entry.by_others, "spiderfoot")
    assert {path: found for path, found in kinds.items() if len(found) > 1} == {}


def test_what_a_document_repeats_is_reckoned_with() -> None:
    url = f"http://{'h' * 253}/{'p' * 240}"
    emoji = "\N{PILE OF POO}" * 300
    cve = f"CVE-2020-{'1' * 19}\nScore: 9.8\n<SFURL>http://{'q' * 240}</SFURL>{emoji}"
    endpoint = an_endpoint("n" * 64, format="ecs", ui_url=f"http://{'u' * 300}", metadata={"a": "\0" * 300})
    for host_type, text in (("MALICIOUS_X", url), ("VULNERABILITY_X", cve)):
        source = {"event_type": "LINKED_URL_INTERNAL", "data": url}
        data = {"event_type": host_type, "description": emoji, "data": text, "confidence": 100, "module": "m" * 64}
        scan = a_scan("S" * 64, name="\0" * 300)
        event = an_event(type="hephaestus.phase_completed", data={**data, "sources": [source]}, scan=scan)
        delivery = a_delivery(event, sequence=10**12, backfilled=True, series="s" * 16)
        size = len(render(Batch((delivery,)), endpoint).body)
        assert size <= measure(endpoint, FORMATS["ecs"].surplus)(delivery)


def test_several_documents_are_an_array_or_lines() -> None:
    deliveries = tuple(a_delivery(an_event(number)) for number in (1, 2))
    array = render(Batch(deliveries), an_endpoint(format="ecs", batch_size=2))
    lines = render(Batch(deliveries), an_endpoint(format="ecs", batch_size=2, own={"layout": Secret("ndjson")}))
    documents = [json.loads(json.dumps(ecs_document(one, an_endpoint()))) for one in deliveries]
    assert (json.loads(array.body), array.headers) == (documents, {"Content-Type": "application/json"})
    assert [json.loads(line) for line in lines.body.splitlines()] == documents
    assert lines.headers == {"Content-Type": "application/x-ndjson"}


@pytest.mark.parametrize(
    ("name", "data", "line"),
    [
        (
            "scan_completed",
            {"events_found": 12, "events_by_severity": {"high": 2, "info": 10}},
            "Scan completed: 12 findings: 2 high, 10 info",
        ),
        ("scan_started", {"status": "STARTED"}, "Scan started"),
        ("scan_failed", {"error": "No list", "events_found": 0}, "Scan failed: No list"),
        ("module_error", {"exception": "KeyError", "error": "'data'"}, "Module error: KeyError: 'data'"),
        ("correlation_found", {"title": "Open bucket", "error": "x"}, "Correlation found: Open bucket"),
    ],
)
def test_the_line_of_an_event_says_what_is_most_worth_knowing(name: str, data: dict[str, Any], line: str) -> None:
    assert one_line(an_event(type=name, data=data)) == line
