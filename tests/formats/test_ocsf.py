"""Events of OCSF 1.5.0. Judge: the JSON schema of each class from the package `ocsf-json-schema`, which knows required,
unknown and malformed attributes. It does not know the arithmetic of `type_uid` nor the names of numbers: these are
checked here, against the package's copy of the schema."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from typing import Any

import pytest
from hypothesis import given, settings

from sfwebhooks.attempts import Outcome, Reply
from sfwebhooks.events import FIRST_SECOND, LAST_SECOND, Batch, Delivery, WebhookEvent, timestamp
from sfwebhooks.formats import FORMATS, generic, render
from sfwebhooks.formats.ecs import one_line
from sfwebhooks.formats.ocsf import VERSION
from sfwebhooks.retry import judge
from sfwebhooks.severity import SEVERITY_OF_TYPE, Severity
from tests.builders import NOW, a_delivery, a_scan, an_endpoint, an_event
from tests.formats.bodies import messages
from tests.formats.cases import LINK, UI, each_event, each_text, hostile_deliveries, of_entry
from tests.formats.conftest import Served, Start
from tests.formats.test_any_data import ANY, EVENTS
from tests.receivers.collectors import Collector
from tests.rows import in_one

jsonschema = pytest.importorskip("jsonschema")
ocsf_json_schema = pytest.importorskip("ocsf_json_schema")


@lru_cache(maxsize=1)
def schema() -> Any:
    return ocsf_json_schema.get_ocsf_schema(version=VERSION)


@lru_cache(maxsize=8)
def check_of(uid: int) -> tuple[Any, Any]:
    """Return a class of the schema, and the validator of its events."""
    published = ocsf_json_schema.OcsfJsonSchemaEmbedded(schema())
    name = published.lookup_class_name_from_uid(class_uid=uid)
    return schema()["classes"][name], jsonschema.Draft202012Validator(published.get_class_schema(name, profiles=[]))


def sent(delivery: Delivery, **endpoint: Any) -> dict[str, Any]:
    made = an_endpoint(**{"format": "ocsf", "ui_url": UI, **endpoint})
    content = render(Batch((delivery,)), made)
    assert len(content.body) <= made.max_body
    (found,) = messages(content)
    assert_ocsf(found)
    return dict(found)


def assert_ocsf(found: dict[str, Any]) -> None:
    its_class, validator = check_of(found["class_uid"])
    assert [error.message for error in validator.iter_errors(found)] == []
    assert found["type_uid"] == found["class_uid"] * 100 + found["activity_id"]
    assert found["class_uid"] // 1000 == found["category_uid"]
    assert found["class_name"] == its_class["caption"]
    names = {key: its_class["attributes"][key]["enum"] for key in ("type_uid", "activity_id", "severity_id")}
    assert found["type_name"] == names["type_uid"][str(found["type_uid"])]["caption"]
    assert found["severity"] == names["severity_id"][str(found["severity_id"])]["caption"]
    if found["activity_id"] != 99:
        assert found["activity_name"] == names["activity_id"][str(found["activity_id"])]["caption"]
    types = {key: schema()["objects"][key]["attributes"]["type_id"]["enum"] for key in ("osint", "observable")}
    for kind, values in (("osint", found.get("osint", [])), ("observable", found.get("observables", []))):
        assert all(one["type_id"] == 99 or one["type"] == types[kind][str(one["type_id"])]["caption"] for one in values)
    assert type(found["time"]) is int


def found_with(host_type: str, text: Any, **more: Any) -> dict[str, Any]:
    """Return the OCSF event of a finding."""
    return sent(a_delivery(an_event(data={"event_type": host_type, "data": text, "description": "D", **more})))


@each_event
def test_every_event_of_the_catalogue_is_valid(entry: Any) -> None:
    found = sent(of_entry(entry, backfilled=True), metadata={"team": "soc"})
    assert found["metadata"]["labels"] == ["backfilled"]
    assert (found["unmapped"]["metadata"]["team"], found["metadata"]["event_code"]) == ("soc", entry.name)


@in_one("host_type", SEVERITY_OF_TYPE)
def test_every_type_of_the_scanner_is_valid(host_type: str) -> None:
    for text in ("192.0.2.1", "www.acme.example", "https://acme.example/", "a@acme.example", "CVE-2026-0001", ""):
        found_with(host_type, text, module="sfp_x", confidence=80)


@each_text
def test_hostile_texts_are_valid(text: str) -> None:
    for delivery in hostile_deliveries(text):
        sent(delivery, metadata={"user": text})
    event = replace(an_event(), scan=a_scan(name=text, target=text, version=text))
    for name in ("scan_started", "correlation_found", "info_event"):
        sent(a_delivery(replace(event, type=name, data={"event_type": text, "data": text, "rule_name": text})))


@in_one("value", [None, True, -1, 2**70, 1.5, [], {}, "", "x", [None]])
@in_one("name", ["scan_completed", "correlation_found", "high_risk_event", "system_alert"])
def test_values_of_any_type_are_valid(name: str, value: Any) -> None:
    keys = ("event_type", "data", "description", "duration", "confidence", "module", "rule_id", "sources", "title")
    sent(a_delivery(an_event(type=name, data=dict.fromkeys(keys, value))))
    sent(a_delivery(an_event(type=name, data={**dict.fromkeys(keys, value), "event_type": "MALICIOUS_IPADDR"})))
    sent(a_delivery(an_event(type=name, scan=None, data={})))


@settings(ANY, max_examples=50)
@given(event=EVENTS)
def test_any_data_are_valid(event: WebhookEvent) -> None:
    sent(a_delivery(event))


def test_what_is_too_large_is_cut_in_unmapped_only() -> None:
    large = {"data": "\0x" * 50_000, "sources": [{"data": "y" * 9000}] * 9, **{f"k{n}": n for n in range(3000)}}
    found = sent(a_delivery(an_event(data={"event_type": "RAW_RIR_DATA", **large})), max_body=10_000)
    assert found["unmapped"]["data_length"] == len(large) + 1


def test_a_vulnerability_with_a_cve_is_a_vulnerability_finding() -> None:
    delivery = a_delivery(an_event(at=NOW + 0.25), sequence=7)
    assert sent(delivery) == {
        **{"activity_id": 1, "activity_name": "Create", "category_uid": 2, "category_name": "Findings"},
        **{"class_uid": 2002, "class_name": "Vulnerability Finding", "type_uid": 200201},
        **{"type_name": "Vulnerability Finding: Create", "severity_id": 4, "severity": "High"},
        **{"time": 1795255200250, "message": "VULNERABILITY_CVE_HIGH: CVE-2026-0001"},
        "metadata": {
            "version": "1.5.0",
            "product": {"name": "SpiderFoot", "vendor_name": "SpiderFoot", "version": "4.4.0"},
            "uid": delivery.event.id,
            "event_code": "high_risk_event",
            "sequence": 7,
            "correlation_uid": "5C4A0001",
        },
        "finding_info": {
            "uid": delivery.event.id,
            "title": one_line(delivery.event),
            "created_time": 1795255200250,
            "types": ["VULNERABILITY_CVE_HIGH"],
            "src_url": LINK,
        },
        **{"status_id": 1, "status": "New"},
        "vulnerabilities": [{"cve": {"uid": "CVE-2026-0001"}, "severity": "High"}],
        "unmapped": json.loads(json.dumps(generic.message(delivery, an_endpoint(ui_url=UI)))),
    }


@pytest.mark.parametrize(
    ("host_type", "text", "uid"),
    [
        ("VULNERABILITY_CVE_LOW", "CVE-2026-0001\nScore: 2", 2002),
        ("VULNERABILITY_GENERAL", "a weak cipher", 2004),
        ("MALICIOUS_IPADDR", "list [192.0.2.1]", 2004),
        ("BLACKLISTED_IPADDR", "list [192.0.2.1]", 2004),
        ("IP_ADDRESS", "192.0.2.1", 5021),
        ("RAW_RIR_DATA", "CVE-2026-0001", 5021),
        ("IP_ADDRESS", "", 0),
    ],
)
def test_the_kind_of_a_finding_decides_its_class(host_type: str, text: str, uid: int) -> None:
    assert found_with(host_type, text)["class_uid"] == uid


@pytest.mark.parametrize(
    ("host_type", "text", "type_id"),
    [
        ("IP_ADDRESS", "192.0.2.1", 1),
        ("IPV6_ADDRESS", "2001:db8::1", 1),
        ("DOMAIN_NAME", "acme.example", 2),
        ("INTERNET_NAME", "www.acme.example", 3),
        ("HASH", "d41d8cd98f00b204e9800998ecf8427e", 4),
        ("LINKED_URL_EXTERNAL", "https://acme.example/?a=b", 5),
        ("SSL_CERTIFICATE_RAW", "Certificate: ...", 7),
        ("EMAILADDR", "a@acme.example", 9),
        ("TCP_PORT_OPEN", "192.0.2.1:443", 99),
        ("IP_ADDRESS", "not an address", 99),
        ("DOMAIN_NAME", "not a domain", 99),
        ("PHYSICAL_ADDRESS", "1 Main Street", 99),
    ],
)
def test_what_was_found_has_its_type_and_its_value(host_type: str, text: str, type_id: int) -> None:
    (osint,) = found_with(host_type, text, module="sfp_x")["osint"]
    assert (osint["type_id"], osint["value"], osint["vendor_name"]) == (type_id, text, "sfp_x")
    assert type_id != 99 or osint["type"] == host_type


def test_a_threat_has_the_address_it_is_about_and_the_confidence() -> None:
    sources = [{"event_type": "IP_ADDRESS", "data": "192.0.2.1"}]
    found = found_with("MALICIOUS_IPADDR", "list [192.0.2.1]", sources=sources, confidence=80)
    assert found["observables"] == [
        {"name": "unmapped.data", "type_id": 2, "type": "IP Address", "value": "192.0.2.1"},
    ]
    assert found["confidence_score"] == 80


def test_a_correlation_is_a_detection_with_its_rule() -> None:
    data = {"rule_id": "open_bucket", "rule_name": "Open bucket", "title": "Bucket found open", "description": "Long"}
    found = sent(a_delivery(an_event(type="correlation_found", data=data)))
    rule = {"type_id": 1, "type": "Rule", "uid": "open_bucket", "name": "Open bucket"}
    assert (found["class_uid"], found["finding_info"]["analytic"]) == (2004, rule)
    assert found["finding_info"]["types"] == ["Open bucket"]


@pytest.mark.parametrize(
    ("name", "type_name"),
    [
        ("scan_started", "Scan Activity: Started"),
        ("scan_completed", "Scan Activity: Completed"),
        ("scan_aborted", "Scan Activity: Cancelled"),
        ("scan_failed", "Scan Activity: Error"),
        ("scan_progress", "Base Event: Other"),
        ("system_alert", "Base Event: Other"),
    ],
)
def test_a_scan_is_an_activity_and_the_rest_are_base_events(name: str, type_name: str) -> None:
    found = sent(a_delivery(an_event(type=name, data={"duration": 90})))
    assert found["type_name"] == type_name
    if found["class_uid"]:
        assert (found["scan"]["uid"], found["scan"]["name"]) == ("5C4A0001", "Weekly Security Scan")
        assert found["duration"] == 90_000
    else:
        assert found["activity_name"] == name


@pytest.mark.parametrize(("severity", "number"), [*zip(Severity, (1, 2, 3, 4, 5))])
def test_the_severity_is_on_the_scale_of_the_schema(severity: Severity, number: int) -> None:
    assert sent(a_delivery(an_event(severity=severity)))["severity_id"] == number


@in_one("at", [FIRST_SECOND, LAST_SECOND, -1e300, 1e300, 0.9999, *(NOW + n / 1000 for n in range(50))])
def test_the_time_is_in_whole_milliseconds_and_the_same_as_in_other_formats(at: float) -> None:
    found = sent(a_delivery(an_event(at=at)))["time"]
    first = datetime(1970, 1, 1, tzinfo=timezone.utc)
    read = datetime.fromisoformat(timestamp(at).replace("Z", "+00:00"))
    assert type(found) is int and found == (read - first) // timedelta(milliseconds=1)


@pytest.mark.parametrize(("layout", "kind"), [("array", "application/json"), ("ndjson", "application/x-ndjson")])
def test_events_arrive_in_the_layout_of_the_endpoint(served: Served, sending: Start, layout: str, kind: str) -> None:
    store = served(Collector("ocsf"))
    one = sending(store, batch_size=20, layout=layout)
    one.accept(20)
    one.finish()
    assert {asked.headers["Content-Type"] for asked in store.got} == {kind}
    assert sorted(event["metadata"]["sequence"] for event in store.taken) == [*range(1, 21)]
    for event in store.taken:
        assert_ocsf(event)


@pytest.mark.parametrize(("status", "outcome"), [(200, "delivered"), (400, "refused"), (429, "retry"), (503, "retry")])
def test_any_reply_is_left_to_the_table(status: int, outcome: str) -> None:
    assert FORMATS["ocsf"].read is None
    assert judge(Reply(status), NOW).outcome is Outcome(outcome)
