from __future__ import annotations

import copy
from typing import Any

import pymisp
import pytest

from sfwebhooks.attempts import Outcome, Reply, Verdict
from sfwebhooks.events import Handle
from sfwebhooks.formats.misp import CVE, TEXT, TYPES, read, uuid_of
from tests.builders import NOW, a_batch, a_scan, an_endpoint
from tests.formats.cases import each_text, mistakes_of
from tests.formats.conftest import Served, Start
from tests.formats.scans import FOUND, a_whole_scan, batch_of, finding_of, message_of, sent
from tests.receivers.intelligence import Misp
from tests.receivers.vendor import Json

DESCRIBED = pymisp.MISPEvent().describe_types
UUID = uuid_of("acme.example")
EXISTS = b'{"name": "Event already exists, if you would like to edit it, use the url in the location header."}'
INVALID = b'{"name": "Invalid event", "message": "Invalid event"}'


@pytest.fixture
def misp(served: Served) -> Misp:
    return served(Misp())


def event_of(batch: Any, **keys: str) -> Json:
    """Return the event, which PyMISP accepts as its own."""
    found: Json = message_of("misp", batch, **keys)
    parsed = pymisp.MISPEvent(strict_validation=True)
    parsed.load(copy.deepcopy(found))
    assert len(parsed.attributes) == len(found["Event"]["Attribute"])
    event: Json = found["Event"]
    return event


def values(event: Json) -> dict[str, Json]:
    return {one["value"]: one for one in event["Attribute"]}


# --- against MISP


def test_a_target_has_one_event_that_later_scans_add_to(misp: Misp, sending: Start) -> None:
    one = sending(misp, events=("*",))
    for number, found in enumerate((FOUND[:5], FOUND[3:], FOUND)):
        one.accept(a_whole_scan(found, a_scan(f"5C4A{number:04d}"), at=NOW + number * 86400))
        one.finish()
    assert {state for state, _ in one.states} == {"delivered"}
    assert list(misp.events) == [UUID]
    assert [asked.path.split("/")[2] for asked in misp.got] == ["add", "add", "edit", "add", "edit"]
    stored = {one["value"]: one for one in misp.events[UUID]["attributes"].values()}
    assert stored.keys() == values(event_of(batch_of(a_whole_scan()))).keys()
    assert {int(one["timestamp"]) // 86400 for one in stored.values()} == {int(NOW) // 86400 + 2}


def test_an_event_that_was_deleted_is_made_again(misp: Misp, sending: Start) -> None:
    one = sending(misp, events=("*",))
    misp.events[UUID] = {"attributes": {}}
    one.accept(a_whole_scan())
    assert one.step(1000) and not misp.taken
    del misp.events[UUID]
    one.finish()
    assert {state for state, _ in one.states} == {"delivered"} and list(misp.events) == [UUID]


def test_scans_of_other_targets_have_other_events(misp: Misp, sending: Start) -> None:
    one = sending(misp, events=("*",))
    for target in ("a.example", "b.example"):
        one.accept(a_whole_scan(scan=a_scan(target, target=target)))
        one.finish()
    assert {*misp.events} == {uuid_of("A.example."), uuid_of("b.example")}


# --- the event


def test_the_event_says_what_was_scanned_and_how_bad_it_is() -> None:
    event = event_of(batch_of(a_whole_scan()), tlp="green", distribution="1")
    del event["Attribute"]
    assert event == {
        "uuid": UUID,
        "info": "SpiderFoot: acme.example",
        "date": "2026-11-21",
        "threat_level_id": "1",
        "analysis": "2",
        "distribution": "1",
        "published": False,
        "Tag": [{"name": "tlp:green"}],
    }
    aborted = event_of(batch_of(a_whole_scan([("IP_ADDRESS", "192.0.2.7")][:0], end="scan_aborted")))
    assert (aborted["analysis"], aborted["threat_level_id"], aborted["Attribute"]) == ("1", "4", [])


@pytest.mark.parametrize("kind", [*TYPES.values(), TEXT, CVE])
def test_types_and_categories_are_those_of_misp(kind: tuple[str, str]) -> None:
    assert kind[0] in DESCRIBED["category_type_mappings"][kind[1]]


@pytest.mark.parametrize(
    ("type", "data", "kind", "value", "to_ids"),
    [
        ("IP_ADDRESS", "192.0.2.7", "ip-dst", "192.0.2.7", False),
        ("MALICIOUS_IPADDR", "x [192.0.2.7]", "ip-dst", "192.0.2.7", True),
        ("BLACKLISTED_IPADDR", "x [192.0.2.7]", "ip-dst", "192.0.2.7", False),
        ("INTERNET_NAME", "mail.acme.example", "hostname", "mail.acme.example", False),
        ("CO_HOSTED_SITE_DOMAIN", "acme.example", "domain", "acme.example", False),
        ("TCP_PORT_OPEN", "192.0.2.7:443", "ip-dst|port", "192.0.2.7|443", False),
        ("VULNERABILITY_CVE_LOW", "CVE-2021-44228", "vulnerability", "CVE-2021-44228", False),
        ("ETHEREUM_ADDRESS", "0x" + "a" * 40, "text", "0x" + "a" * 40, False),
        ("VULNERABILITY_GENERAL", "no limit", "text", "VULNERABILITY_GENERAL: no limit", False),
    ],
)
def test_a_finding_is_an_attribute(type: str, data: str, kind: str, value: str, to_ids: bool) -> None:
    event = event_of(batch_of([finding_of(type, data).delivery.event]))
    assert [(one["type"], one["value"], one["to_ids"]) for one in event["Attribute"]] == [(kind, value, to_ids)]


def test_findings_about_the_same_thing_are_one_attribute() -> None:
    found = [("INTERNET_NAME", "mail.acme.example"), ("MALICIOUS_INTERNET_NAME", "x [mail.acme.example]")]
    one = values(event_of(batch_of(a_whole_scan(found))))["mail.acme.example"]
    assert one["to_ids"] is True and one["timestamp"] == str(int(NOW) + 1)
    assert "INTERNET_NAME (info" in one["comment"] and "MALICIOUS_INTERNET_NAME (high" in one["comment"]


def test_informational_findings_without_a_form_are_left_out() -> None:
    assert event_of(batch_of([finding_of("WEBSERVER_BANNER", "nginx").delivery.event]))["Attribute"] == []


@each_text
def test_hostile_texts_are_valid(text: str) -> None:
    clean = text.encode("utf-8", "replace").decode()
    scan = a_scan(target=clean, name=clean)
    events = [*a_whole_scan((), scan), finding_of("VULNERABILITY_GENERAL", text).delivery.event]
    event = event_of(batch_of(events))
    assert all(one["value"].isprintable() and len(one["value"]) <= 2000 for one in event["Attribute"])


def test_the_bytes_are_the_same_each_time() -> None:
    batch = batch_of(a_whole_scan())
    assert sent("misp", batch) == sent("misp", batch)


def test_a_handle_of_another_server_is_not_used() -> None:
    batch = batch_of(a_whole_scan(), handle=Handle("another", UUID))
    assert sent("misp", batch).path.endswith("/events/add/metadata:1")
    own = batch_of(a_whole_scan(), handle=Handle(an_endpoint(format="misp").address_id, UUID))
    assert sent("misp", own).path.endswith(f"/events/edit/{UUID}/metadata:1")
    assert sent("misp", own).body == sent("misp", batch).body


# --- settings and replies


def test_a_wrong_distribution_is_one_mistake() -> None:
    (found,) = mistakes_of("misp", distribution="4")
    assert "expected a number from 0 to 3" in found


@pytest.mark.parametrize(
    ("status", "body", "verdict"),
    [
        (200, b'{"Event": {"id": "1"}}', None),
        (200, b'{\n    "Event": {"Attribute": [' + b"{}, " * 20_000, None),
        (
            200,
            b'{"Event": {"id": "1"}, "errors": {"value": ["x"]}}',
            Verdict(Outcome.DELIVERED, "some_attributes_refused"),
        ),
        (200, b"<html>Login</html>", Verdict(Outcome.HOLD, "http_200_but_not_ok")),
        (404, EXISTS, Verdict(Outcome.PENDING, "event_exists", handle=UUID)),
        (404, INVALID, Verdict(Outcome.HOLD, "http_404")),
        (404, b"", Verdict(Outcome.HOLD, "http_404")),
        (403, b"", Verdict(Outcome.HOLD, "http_403")),
        (500, b"", None),
    ],
)
def test_replies(status: int, body: bytes, verdict: Verdict | None) -> None:
    assert read(Reply(status, body=body), a_batch()) == verdict


def test_an_event_that_is_to_be_edited_and_is_gone_is_forgotten() -> None:
    verdict = read(Reply(404, body=INVALID), batch_of(a_whole_scan(), handle=Handle("x", UUID)))
    assert verdict == Verdict(Outcome.PENDING, "message_gone", handle="")
