from __future__ import annotations

from typing import Any, get_type_hints

import pytest
from thehive4py.types.alert import InputAlert
from thehive4py.types.observable import InputObservable

from sfwebhooks.attempts import Outcome, Reply, Verdict
from sfwebhooks.formats.thehive import read
from tests.builders import a_batch, a_scan
from tests.formats.cases import each_text, mistakes_of
from tests.formats.conftest import Served, Start
from tests.formats.scans import FOUND, a_whole_scan, batch_of, finding_of, message_of, sent
from tests.receivers.intelligence import TheHive
from tests.receivers.vendor import Json


@pytest.fixture
def thehive(served: Served) -> TheHive:
    return served(TheHive())


def alert_of(batch: Any, **keys: str) -> Json:
    """Return the alert, which has the keys that thehive4py knows, and which TheHive would not refuse."""
    alert: Json = message_of("thehive", batch, **keys)
    assert alert.keys() <= get_type_hints(InputAlert).keys()
    assert all(one.keys() <= get_type_hints(InputObservable).keys() for one in alert["observables"])
    assert TheHive().problem(alert) == ""
    return alert


# --- against TheHive


def test_a_scan_is_one_alert_and_each_scan_has_its_own(thehive: TheHive, sending: Start) -> None:
    one = sending(thehive, events=("*",))
    for number in range(2):
        one.accept(a_whole_scan(FOUND, a_scan(f"5C4A{number:04d}")))
        one.finish()
    assert {*one.states} == {("delivered", "http_201")} and len(thehive.alerts) == 2 == len(thehive.got)


def test_an_alert_that_is_there_already_is_delivered(thehive: TheHive, sending: Start) -> None:
    events, one = a_whole_scan(), sending(thehive, events=("*",))
    one.accept(events)
    one.finish()
    (key,) = thehive.alerts
    again = message_of("thehive", batch_of(events))
    assert (again["type"], again["source"]) == key[:2]
    verdict = read(
        Reply(400, body=b'{"message": "Alert osint:SpiderFoot:x already exist in organisation y"}'), a_batch()
    )
    assert verdict == Verdict(Outcome.DELIVERED, "stored_before")


def test_a_retry_after_a_lost_answer_makes_no_second_alert(thehive: TheHive, sending: Start) -> None:
    one = sending(thehive, events=("*",))
    one.accept(a_whole_scan())
    real = thehive.answer
    thehive.answer = lambda asked: (real(asked), thehive.busy)[1]  # type: ignore[method-assign]
    assert one.step(1000)
    thehive.answer = real  # type: ignore[method-assign]
    one.finish()
    assert {*one.states} == {("delivered", "stored_before")} and len(thehive.alerts) == 1


# --- the alert


def test_the_alert_says_what_was_scanned_and_how_bad_it_is() -> None:
    alert = alert_of(batch_of(a_whole_scan([("MALICIOUS_IPADDR", "x [192.0.2.7]")])), tlp="red", alert_type="easm")
    (one, _) = alert.pop("observables")
    assert one == {
        "dataType": "ip",
        "data": "192.0.2.7",
        "tlp": 3,
        "ioc": True,
        "message": "MALICIOUS_IPADDR: x [192.0.2.7]",
        "tags": ["ipv4", "MALICIOUS_IPADDR", "severity:high"],
    }
    assert alert == {
        "type": "easm",
        "source": "SpiderFoot",
        "sourceRef": alert["sourceRef"],
        "title": "SpiderFoot scan of acme.example",
        "description": alert["description"],
        "severity": alert["severity"],
        "tlp": 3,
        "date": 1795255800000,
        "tags": ["spiderfoot", "osint"],
    }
    assert "Outcome: scan_completed\nFindings: 2 findings" in alert["description"] and alert["severity"] >= 3


@pytest.mark.parametrize(
    ("type", "data", "kind", "value"),
    [
        ("INTERNET_NAME", "mail.acme.example", "domain", "mail.acme.example"),
        ("NETBLOCK_OWNER", "203.0.113.0/24", "other", "203.0.113.0/24"),
        ("EMAILADDR", "a@acme.example", "mail", "a@acme.example"),
        ("BGP_AS_OWNER", "64496", "autonomous-system", "64496"),
        ("UDP_PORT_OPEN", "[2001:db8::7]:53", "other", "[2001:db8::7]:53"),
        ("VULNERABILITY_CVE_LOW", "CVE-2021-44228", "other", "CVE-2021-44228"),
        ("VULNERABILITY_GENERAL", "no limit", "other", "VULNERABILITY_GENERAL: no limit"),
    ],
)
def test_a_finding_is_an_observable(type: str, data: str, kind: str, value: str) -> None:
    alert = alert_of(batch_of([finding_of(type, data).delivery.event]))
    assert [(one["dataType"], one["data"]) for one in alert["observables"]] == [(kind, value)]


def test_findings_about_the_same_thing_are_one_observable() -> None:
    found = [("INTERNET_NAME", "mail.acme.example"), ("MALICIOUS_INTERNET_NAME", "x [mail.acme.example]")]
    one = alert_of(batch_of(a_whole_scan(found)))["observables"][0]
    assert one["ioc"] and {"INTERNET_NAME", "MALICIOUS_INTERNET_NAME"} <= {*one["tags"]}


def test_a_scan_without_findings_and_a_part_of_one_are_alerts_too() -> None:
    assert alert_of(batch_of(a_whole_scan(())))["severity"] == 1
    parts = [alert_of(batch_of(events)) for events in (a_whole_scan()[:9], a_whole_scan()[9:])]
    assert parts[0]["sourceRef"] != parts[1]["sourceRef"]


@each_text
def test_hostile_texts_do_no_harm(text: str) -> None:
    clean = text.encode("utf-8", "replace").decode()
    scan = a_scan(target=clean, name=clean, id=clean[:99] or "x")
    found = finding_of("VULNERABILITY_GENERAL", text).delivery.event
    alert_of(batch_of([*a_whole_scan((), scan), found]))


def test_the_bytes_are_the_same_each_time() -> None:
    batch = batch_of(a_whole_scan())
    assert sent("thehive", batch) == sent("thehive", batch)


# --- settings and replies


def test_a_wrong_colour_is_one_mistake() -> None:
    (found,) = mistakes_of("thehive", tlp="white")
    assert "expected clear, green, amber or red" in found


@pytest.mark.parametrize(
    ("status", "body", "verdict"),
    [
        (201, b'{"_id": "~1", "sourceRef": "x"}', None),
        (201, b'{"observables": [' + b" " * 40_000 + b'], "sourceRef": "x"', None),
        (201, b"{}", Verdict(Outcome.HOLD, "http_200_but_not_ok")),
        (200, b"<html>", Verdict(Outcome.HOLD, "http_200_but_not_ok")),
        (400, b'{"type":"CreateError","message":"Observable already exists"}', None),
        (
            400,
            b'{"type":"ConflictError","message":"[alert][x]: document already exists"}',
            Verdict(Outcome.DELIVERED, "stored_before"),
        ),
        (401, b"", Verdict(Outcome.HOLD, "http_401")),
        (404, b"", Verdict(Outcome.HOLD, "http_404")),
        (413, b"", None),
    ],
)
def test_replies(status: int, body: bytes, verdict: Verdict | None) -> None:
    assert read(Reply(status, body=body), a_batch()) == verdict
