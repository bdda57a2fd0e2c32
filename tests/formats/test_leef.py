"""Lines of LEEF 2.0. No package that reads LEEF was found on PyPI or npm, so the rules of IBM's guide are checked by
the parser here."""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from sfwebhooks.attempts import Outcome, Reply
from sfwebhooks.events import FIRST_SECOND, LAST_SECOND, Batch, Delivery, WebhookEvent
from sfwebhooks.formats import FORMATS, render
from sfwebhooks.formats.content import measure
from sfwebhooks.formats.leef import dev_time
from sfwebhooks.formats.log_line import LINE_MAX
from sfwebhooks.retry import judge
from sfwebhooks.severity import Severity
from tests.builders import NOW, a_delivery, a_scan, an_endpoint, an_event
from tests.formats.bodies import messages
from tests.formats.cases import LINK, UI, each_event, each_text, hostile_deliveries, of_entry
from tests.formats.conftest import Served, Start
from tests.formats.test_any_data import ANY, EVENTS, TEXT
from tests.receivers.collectors import Collector

DEV_TIME = re.compile(r"[A-Z][a-z]{2} \d{2} \d{4} \d{2}:\d{2}:\d{2}\.\d{3} UTC")


def line_of(delivery: Delivery, **endpoint: Any) -> str:
    made = an_endpoint(**{"format": "leef", "ui_url": UI, **endpoint})
    content = render(Batch((delivery,)), made)
    assert len(content.body) <= min(LINE_MAX, measure(made, FORMATS["leef"].surplus)(delivery))
    (line,) = messages(content)
    return str(line)


def assert_leef(line: str) -> tuple[list[str], dict[str, str]]:
    """Return the header and the attributes of a line."""
    *head, attributes = line.split("|", 6)
    assert (head[:3], head[5]) == (["LEEF:2.0", "SpiderFoot", "SpiderFoot"], "x09")
    assert 0 < len(head[3]) <= 31 and "\t" not in "".join(head) and re.fullmatch(r"[A-Z0-9_]{1,64}", head[4])
    pairs = [one.partition("=") for one in attributes.split("\t")]
    assert all(re.fullmatch("[A-Za-z0-9]+", key) and sign and value.strip() for key, sign, value in pairs)
    found = {key: value for key, _, value in pairs}
    assert len(found) == len(pairs), "a repeated key loses its value"
    assert DEV_TIME.fullmatch(found["devTime"]) and found["devTimeFormat"] == "MMM dd yyyy HH:mm:ss.SSS z"
    assert int(found["sev"]) in range(1, 11) and found["cat"]
    assert "dst" not in found or ip_address(found["dst"])
    assert len(found.get("usrName", "")) <= 255
    return head, found


@each_event
def test_every_event_of_the_catalogue_follows_the_guide(entry: Any) -> None:
    _, found = assert_leef(line_of(of_entry(entry, backfilled=True), metadata={"team-name": "soc"}))
    assert (found["metaTeamName"], found["backfilled"], found["link"]) == ("soc", "true", LINK)


@each_text
def test_hostile_texts_follow_the_guide(text: str) -> None:
    for delivery in hostile_deliveries(text):
        assert_leef(line_of(delivery, metadata={"a": text, "b c": text}))
    event = replace(an_event(), scan=a_scan(name=text, target=text, version=text), data={"data": text})
    assert_leef(line_of(a_delivery(event)))


@settings(ANY, max_examples=50)
@given(event=EVENTS, metadata=some.dictionaries(TEXT, TEXT, max_size=3))
def test_any_data_follow_the_guide(event: WebhookEvent, metadata: dict[str, str]) -> None:
    assert_leef(line_of(a_delivery(event), metadata=metadata))


def test_many_long_values_are_cut_until_the_line_fits() -> None:
    text = "\N{PILE OF POO}\t|" * 3000
    data = {"event_type": "X", "description": text, "data": text, "module": text, "rule_id": text}
    event = replace(an_event(), data=data, scan=a_scan(name=text, target=text, version=text))
    _, found = assert_leef(line_of(a_delivery(event), metadata={f"{number}{'k' * 90}": text for number in range(99)}))
    assert found["eventId"] == event.id


def test_what_separates_is_replaced_where_it_does_not() -> None:
    data = {"event_type": "X", "data": "a\tb\r\nc|d=e\\f\0g\u2028h"}
    line = line_of(a_delivery(an_event(scan=a_scan(version="4|4\t0\n1"), data=data)))
    assert line.startswith("LEEF:2.0|SpiderFoot|SpiderFoot|4/4 0 1|X|x09|devTime=")
    assert "\tmsg=a b c|d=e\\f\ufffdg\ufffdh\t" in line


def test_a_line_has_the_event_its_data_and_its_ids() -> None:
    data = {"event_type": "EMAILADDR", "description": "Email Address", "data": "a@acme.example", "module": "sfp_x"}
    delivery = a_delivery(an_event(at=NOW + 0.25, severity=Severity.LOW, data=data), sequence=7)
    head, found = assert_leef(line_of(delivery, ui_url=""))
    assert head == ["LEEF:2.0", "SpiderFoot", "SpiderFoot", "4.4.0", "EMAILADDR", "x09"]
    assert found == {
        "devTime": "Nov 21 2026 10:00:00.250 UTC",
        "devTimeFormat": "MMM dd yyyy HH:mm:ss.SSS z",
        "sev": "3",
        "cat": "high_risk_event",
        "name": "Email Address",
        "msg": "a@acme.example",
        "usrName": "a@acme.example",
        "resource": "acme.example",
        "severity": "low",
        "eventId": delivery.event.id,
        "deliveryId": delivery.id,
        "sequence": "7",
        "scanId": "5C4A0001",
        "scanName": "Weekly Security Scan",
        "module": "sfp_x",
    }


@pytest.mark.parametrize(
    ("host_type", "text", "keys"),
    [
        ("IPV6_ADDRESS", "2001:db8::1", {"dst": "2001:db8::1"}),
        ("TCP_PORT_OPEN", "192.0.2.1:443", {"dst": "192.0.2.1", "dstPort": "443"}),
        ("INTERNET_NAME", "www.acme.example", {"domain": "www.acme.example"}),
        ("LINKED_URL_INTERNAL", "https://acme.example/?a=b", {"url": "https://acme.example/?a=b"}),
        ("VULNERABILITY_CVE_HIGH", "CVE-2026-0001\nScore: 8", {"cve": "CVE-2026-0001"}),
        ("RAW_RIR_DATA", "CVE-2026-0001", {}),
    ],
)
def test_the_subject_of_a_finding_is_in_the_key_of_its_kind(host_type: str, text: str, keys: dict[str, str]) -> None:
    _, found = assert_leef(line_of(a_delivery(an_event(data={"event_type": host_type, "data": text}))))
    of_kind = ("dst", "dstPort", "domain", "usrName", "url", "cve")
    assert {key: value for key, value in found.items() if key in of_kind} == keys


@pytest.mark.parametrize("at", [FIRST_SECOND, LAST_SECOND, -1e300, 1e300, 0.9999, NOW + 0.0005])
def test_the_time_of_any_event_can_be_written(at: float) -> None:
    assert DEV_TIME.fullmatch(dev_time(at))


def test_metadata_with_names_that_differ_by_signs_only_has_one_key() -> None:
    assert "\tmetaAB=2" in line_of(a_delivery(), metadata={"a-b": "1", "a.b": "2", "-": "3"})


@pytest.mark.parametrize("size", [1, 20])
def test_lines_arrive_in_one_request_or_each_alone(served: Served, sending: Start, size: int) -> None:
    qradar = served(Collector("leef"))
    one = sending(qradar, batch_size=size)
    one.accept(20)
    one.finish()
    assert [asked.text.count("\n") for asked in qradar.got] == [size] * (20 // size)
    assert qradar.got[0].headers["Content-Type"] == "text/plain; charset=utf-8"
    assert [assert_leef(line)[1]["sequence"] for line in qradar.taken] == [str(number) for number in range(1, 21)]


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(200, "delivered"), (204, "delivered"), (401, "refused"), (408, "retry"), (429, "retry"), (503, "retry")],
)
def test_any_reply_is_left_to_the_table(status: int, outcome: str) -> None:
    assert FORMATS["leef"].read is None
    assert judge(Reply(status), NOW).outcome is Outcome(outcome)
