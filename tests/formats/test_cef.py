"""Lines of CEF. Judges from PyPI: `pycef` reads lines (it knows no escapes in headers, so it gets the catalogue only),
`cefevent` has the dictionary of keys with their types and sizes. The escapes are read by the parser here."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from sfwebhooks.attempts import Outcome, Reply
from sfwebhooks.events import Batch, Delivery, WebhookEvent
from sfwebhooks.formats import FORMATS, render
from sfwebhooks.formats.content import measure
from sfwebhooks.formats.log_line import LINE_MAX, VALUE_MAX
from sfwebhooks.retry import judge
from sfwebhooks.severity import Severity
from tests.builders import NOW, a_delivery, a_scan, an_endpoint, an_event
from tests.formats.bodies import messages
from tests.formats.cases import LINK, UI, each_event, each_text, hostile_deliveries, of_entry
from tests.formats.conftest import Served, Start
from tests.formats.test_any_data import ANY, EVENTS, TEXT
from tests.receivers.collectors import Collector

#: most characters of each key in OpenText's guide; ours that are not there have LINE_MAX
SIZES = {"externalId": 40, "cat": 1023, "msg": 1023, "request": 1023, "dhost": 1023, "duser": 1023} | {
    f"cs{number}": 4000 for number in range(1, 7)
}


def line_of(delivery: Delivery, **endpoint: Any) -> str:
    made = an_endpoint(**{"format": "cef", "ui_url": UI, **endpoint})
    content = render(Batch((delivery,)), made)
    assert len(content.body) <= min(LINE_MAX, measure(made, FORMATS["cef"].surplus)(delivery))
    (line,) = messages(content)
    return str(line)


def parsed(line: str) -> tuple[list[str], dict[str, str]]:
    """Return the header and the extension of a line, by the rules of the guide."""
    parts = re.split(r"(?<!\\)((?:\\\\)*)\|", line, maxsplit=7)
    head, extension = [one + slashes for one, slashes in zip(parts[:14:2], parts[1:14:2])], parts[14]
    assert len(head) == 7 and all(re.fullmatch(r"(?:[^\\|]|\\\\|\\\|)+", one) for one in head)
    found: dict[str, str] = {}
    at = [*re.finditer(r"(?:^| )([A-Za-z0-9]+)=", extension)]
    for one, following in zip(at, [*at[1:], None]):
        value = extension[one.end() : following.start() if following else None]
        assert re.fullmatch(r"(?:[^\\=\n\r]|\\\\|\\=|\\n)+", value), value
        assert value == value.strip(" ") and one[1] not in found and len(value) <= SIZES.get(one[1], LINE_MAX)
        found[one[1]] = re.sub(r"\\(.)", lambda match: {"n": "\n"}.get(match[1], match[1]), value)
    return [re.sub(r"\\(.)", r"\1", one) for one in head], found


def assert_cef(line: str) -> tuple[list[str], dict[str, str]]:
    head, found = parsed(line)
    assert head[:3] == ["CEF:0", "SpiderFoot", "SpiderFoot"]
    assert 0 < len(head[3]) <= 31 and re.fullmatch(r"[A-Z0-9_]{1,64}", head[4]) and 0 < len(head[5]) <= 512
    assert int(head[6]) in range(11)
    assert {
        f"{key}Label" for key in found if re.fullmatch(r"(cs|cn|cfp|c6a|flexString|deviceCustomDate)[0-9]", key)
    } == {key for key in found if key.endswith("Label")}
    judge_of_keys = pytest.importorskip("cefevent").CEFEvent(strict=True)
    for key, value in found.items():
        if not key.startswith("meta"):
            kind = int if re.fullmatch("cn[0-9]|dpt", key) else float if re.fullmatch("cfp[0-9]", key) else str
            judge_of_keys.set_field(key, kind(value))
    return head, found


@each_event
def test_every_event_of_the_catalogue_follows_the_guide(entry: Any) -> None:
    line = line_of(of_entry(entry, backfilled=True), metadata={"team-name": "soc"})
    _, found = assert_cef(line)
    assert (found["metaTeamName"], found["cn2"], found["flexString2"]) == ("soc", "1", LINK)
    read = pytest.importorskip("pycef").parse(line)
    assert (read["DeviceEventClassID"], read["Backfilled"], read["Target"]) == (parsed(line)[0][4], "1", "acme.example")


@each_text
def test_hostile_texts_follow_the_guide(text: str) -> None:
    for delivery in hostile_deliveries(text):
        assert_cef(line_of(delivery, metadata={"a": text, "b c": text}))
    event = replace(an_event(), scan=a_scan(name=text, target=text, version=text), data={"data": text})
    assert_cef(line_of(a_delivery(event)))


@settings(ANY, max_examples=50)
@given(event=EVENTS, metadata=some.dictionaries(TEXT, TEXT, max_size=3))
def test_any_data_follow_the_guide(event: WebhookEvent, metadata: dict[str, str]) -> None:
    assert_cef(line_of(a_delivery(event), metadata=metadata))


def test_many_long_values_are_cut_until_the_line_fits() -> None:
    text = "\N{PILE OF POO}=\\" * 3000
    data = {"event_type": "X", "description": text, "data": text, "module": text, "rule_id": text}
    event = replace(an_event(), data=data, scan=a_scan(name=text, target=text))
    line = line_of(a_delivery(event), metadata={f"{number}{'k' * 90}": text for number in range(99)})
    _, found = assert_cef(line)
    assert len(line.encode()) < LINE_MAX and found["externalId"] == event.id


def test_the_header_and_the_values_have_different_escapes() -> None:
    text = "a|b=c\\d\r\ne\tf\0g"
    event = an_event(data={"event_type": "X|Y=Z", "description": text, "data": text})
    line = line_of(a_delivery(event))
    assert "|X_Y_Z|a\\|b=c\\\\d e f\ufffdg|8|" in line
    assert " msg=a|b\\=c\\\\d\\ne f\ufffdg cs1Label=" in line


def test_a_line_has_the_event_its_data_and_its_ids() -> None:
    data = {"event_type": "EMAILADDR", "description": "Email Address", "data": "a@acme.example", "module": "sfp_x"}
    delivery = a_delivery(an_event(at=NOW + 0.25, severity=Severity.INFO, data=data), sequence=7)
    head, found = assert_cef(line_of(delivery, ui_url=""))
    assert head == ["CEF:0", "SpiderFoot", "SpiderFoot", "4.4.0", "EMAILADDR", "Email Address", "1"]
    assert found == {
        "rt": "1795255200250",
        "externalId": delivery.event.id,
        "cat": "high_risk_event",
        "msg": "a@acme.example",
        "duser": "a@acme.example",
        **{"cs1Label": "Target", "cs1": "acme.example"},
        **{"cs2Label": "Scan ID", "cs2": "5C4A0001"},
        **{"cs3Label": "Scan name", "cs3": "Weekly Security Scan"},
        **{"cs4Label": "Module", "cs4": "sfp_x"},
        **{"cn1Label": "Sequence", "cn1": "7"},
        **{"flexString1Label": "Delivery ID", "flexString1": delivery.id},
    }


@pytest.mark.parametrize(
    ("host_type", "text", "keys"),
    [
        ("IP_ADDRESS", "192.0.2.1", {"dst": "192.0.2.1"}),
        ("IPV6_ADDRESS", "2001:db8::1", {"c6a3": "2001:db8::1", "c6a3Label": "Destination IPv6 Address"}),
        ("TCP_PORT_OPEN", "192.0.2.1:443", {"dst": "192.0.2.1", "dpt": "443"}),
        ("INTERNET_NAME", "www.acme.example", {"dhost": "www.acme.example"}),
        ("LINKED_URL_INTERNAL", "https://acme.example/?a=b", {"request": "https://acme.example/?a=b"}),
        ("VULNERABILITY_CVE_HIGH", "CVE-2026-0001\nScore: 8", {"cs5": "CVE-2026-0001", "cs5Label": "CVE"}),
        ("RAW_RIR_DATA", "CVE-2026-0001", {}),
    ],
)
def test_the_subject_of_a_finding_is_in_the_key_of_its_kind(host_type: str, text: str, keys: dict[str, str]) -> None:
    _, found = assert_cef(line_of(a_delivery(an_event(data={"event_type": host_type, "data": text}))))
    of_kind = ("dst", "dpt", "c6a3", "c6a3Label", "dhost", "duser", "request", "cs5", "cs5Label")
    assert {key: value for key, value in found.items() if key in of_kind} == keys


@pytest.mark.parametrize(("severity", "level"), [*zip(Severity, ("1", "3", "5", "8", "10"))])
def test_the_severity_is_on_the_scale_of_the_guide(severity: Severity, level: str) -> None:
    assert parsed(line_of(a_delivery(an_event(severity=severity))))[0][6] == level


def test_what_the_host_says_of_nothing_is_left_to_the_name_of_the_event() -> None:
    head, found = assert_cef(
        line_of(a_delivery(an_event(type="system_alert", scan=None, data={"event_type": "\u00e4"})))
    )
    assert (head[3], head[4], "cs1" in found, bool(found["msg"])) == ("unknown", "SYSTEM_ALERT", False, True)


def test_lines_arrive_in_one_request_with_plain_text(served: Served, sending: Start) -> None:
    siem = served(Collector("cef"))
    one = sending(siem, batch_size=20)
    one.accept(20)
    one.finish()
    (asked,) = siem.got
    assert asked.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert [assert_cef(line)[1]["cn1"] for line in siem.taken] == [str(number) for number in range(1, 21)]


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(200, "delivered"), (204, "delivered"), (401, "refused"), (408, "retry"), (429, "retry"), (503, "retry")],
)
def test_any_reply_is_left_to_the_table(status: int, outcome: str) -> None:
    assert FORMATS["cef"].read is None
    assert judge(Reply(status), NOW).outcome is Outcome(outcome)


def test_a_value_has_no_more_characters_than_the_least_of_the_guides_sizes_for_texts() -> None:
    assert min(SIZES["msg"], SIZES["request"], SIZES["cat"]) > VALUE_MAX


def test_an_error_is_named_with_its_exception() -> None:
    event = an_event(type="module_error", data={"module": "sfp_x", "exception": "KeyError", "error": "'data'"})
    assert assert_cef(line_of(a_delivery(event)))[1]["msg"] == "KeyError: 'data'"
