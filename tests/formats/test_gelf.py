"""GELF over HTTP: the rules of GELF 1.1 for every event, and an end-to-end run. The rules are those of Graylog's
documentation; the packages pygelf and graypy only write GELF."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from sfwebhooks.catalogue import EVENT_TYPES
from sfwebhooks.config.settings import load_mapping
from sfwebhooks.events import Batch, Delivery
from sfwebhooks.formats import gelf, render
from sfwebhooks.formats.gelf import FIELDS_MAX, MESSAGE_MAX, TEXT_MAX, cut_bytes
from sfwebhooks.severity import Severity
from tests.builders import NOW, a_delivery, a_scan, an_endpoint, an_event
from tests.formats.conftest import Served, Start
from tests.receivers.collectors import Graylog
from tests.rows import in_one

HOSTILE = ("", " ", "\0", "\ud800", "\u202egnp.exe", '"}\n{', "\N{PILE OF POO}" * 100_000, "\0" * 100_000)
STANDARD = {"version", "host", "short_message", "full_message", "timestamp", "level"}


def message(delivery: Delivery, **endpoint: Any) -> dict[str, Any]:
    body = gelf.render(delivery, an_endpoint(**endpoint)).body
    assert len(body) <= MESSAGE_MAX
    found: dict[str, Any] = json.loads(body.decode())
    return found


def assert_gelf(found: dict[str, Any]) -> None:
    assert (found["version"], found["host"]) == ("1.1", "spiderfoot")
    assert found["short_message"].strip() and isinstance(found["timestamp"], (int, float))
    assert found["level"] in range(8)
    assert found.get("full_message", "x").strip()
    for name, value in found.items():
        assert name in STANDARD or re.fullmatch(r"_[\w.\-]+", name, re.ASCII), name
        assert type(value) in (str, int, float), name
        assert not isinstance(value, str) or len(value.encode()) <= 32_766, "Lucene would refuse it"
    assert "_id" not in found


@in_one("entry", EVENT_TYPES)
def test_every_event_of_the_catalogue_follows_the_rules(entry: Any) -> None:
    event = an_event(type=entry.name, data=entry.example, special=entry.example.get("special"))
    found = message(a_delivery(event, backfilled=True), ui_url="https://sf.acme.example", metadata={"a b": "c"})
    assert_gelf(found)
    assert (found["_metadata_a_b"], found["_backfilled"]) == ("c", "true")


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_follows_the_rules(text: str) -> None:
    keys = ("event_type", "description", "data", "module", "error", "id", "_id", "x y", text[:50] + "k")
    data = {**dict.fromkeys(keys, text), "sources": [{"data": text}] * 40, "many": {text[:9]: text}}
    scan = a_scan(name=text, target=text, version=text)
    assert_gelf(message(a_delivery(an_event(scan=scan, data=data)), metadata={text[:9] or "m": text}))


@pytest.mark.parametrize("value", [None, True, False, 0, -1, 2**70, 1.5, 1e300, float("nan"), [], {}, "", "x", [None]])
def test_values_of_any_type_follow_the_rules(value: Any) -> None:
    names = ("event_type", "data", "description", "title", "message", "severity", "endpoint", "sequence", "special")
    assert_gelf(message(a_delivery(an_event(data=dict.fromkeys(names, value)))))


def test_many_fields_follow_the_rules() -> None:
    data = {f"key {number}": "\N{PILE OF POO}" * 3000 for number in range(1000)}
    found = message(a_delivery(an_event(data=data)))
    assert_gelf(found)
    assert len(found) < FIELDS_MAX + 20


def test_a_message_has_the_event_its_data_and_its_ids() -> None:
    delivery = a_delivery(an_event(at=NOW + 0.25), sequence=7)
    assert message(delivery) == {
        "version": "1.1",
        "host": "spiderfoot",
        "short_message": "VULNERABILITY_CVE_HIGH: CVE-2026-0001",
        "full_message": "CVE-2026-0001",
        "timestamp": NOW + 0.25,
        "level": 3,
        "_finding_type": "VULNERABILITY_CVE_HIGH",
        "_event_type": "high_risk_event",
        "_event_id": delivery.event.id,
        "_delivery_id": delivery.id,
        "_series": delivery.series,
        "_sequence": 7,
        "_endpoint": "team",
        "_severity": "high",
        "_scan_name": "Weekly Security Scan",
        "_scanner_version": "4.4.0",
    }


@pytest.mark.parametrize(("severity", "level"), [*zip(Severity, (6, 5, 4, 3, 2))])
def test_the_level_is_that_of_syslog(severity: Severity, level: int) -> None:
    assert message(a_delivery(an_event(severity=severity)))["level"] == level


def test_our_ids_cannot_be_replaced_by_the_data() -> None:
    delivery = a_delivery(an_event(data={"event_id": "x", "delivery_id": "x", "series": "x", "endpoint": "x"}))
    found = message(delivery)
    assert (found["_event_id"], found["_endpoint"]) == (delivery.event.id, "team")


def test_the_endpoint_that_an_alert_is_about_is_not_the_one_that_gets_it() -> None:
    event = an_event(type="system_alert", scan=None, data={"alert": "endpoint_failing", "endpoint": "siem"})
    found = message(a_delivery(event))
    assert (found["_endpoint"], found["_about_endpoint"]) == ("team", "siem")


@pytest.mark.parametrize("text", ["a" * 9000, "\u00e4" * 9000, "\N{PILE OF POO}" * 9000, "x" + "\u20ac" * 9000])
def test_a_text_is_cut_at_a_character(text: str) -> None:
    cut = cut_bytes(text, TEXT_MAX)
    assert text.startswith(cut) and TEXT_MAX - 4 < len(cut.encode()) <= TEXT_MAX


def test_several_messages_in_a_request_are_a_mistake() -> None:
    section = {"url": "https://x.example/gelf", "format": "gelf", "batch_size": "2"}
    assert "batch_size requires one of the formats" in str(load_mapping({"graylog": section}).mistakes[0])


def test_each_message_goes_alone_and_is_accepted_with_202(served: Served, sending: Start) -> None:
    graylog = served(Graylog())
    one = sending(graylog)
    one.accept(20)
    one.finish()
    assert sorted(message["_sequence"] for message in graylog.taken) == [*range(1, 21)]
    for message in graylog.taken:
        assert_gelf(message)
    assert {*one.states} == {("delivered", "http_202")}


def test_the_content_type_is_json() -> None:
    assert render(Batch((a_delivery(),)), an_endpoint(format="gelf")).headers == {"Content-Type": "application/json"}
