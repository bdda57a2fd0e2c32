"""The contract of the chats: whatever is found, a service takes the message, and shows nothing but text."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from sfwebhooks.catalogue import EVENT_TYPES
from sfwebhooks.endpoints import Endpoint, Secret
from sfwebhooks.events import Batch, Delivery
from sfwebhooks.formats import FORMATS, render
from sfwebhooks.scan.findings import Source, event_of_finding
from sfwebhooks.severity import Severity
from tests.builders import a_delivery, a_finding, a_scan, an_endpoint, an_event
from tests.formats.cases import PAGE, UI
from tests.receivers.vendor import Json
from tests.receivers.vendors import VENDORS
from tests.rows import in_one
from tests.tiers import quick_first, slow

SERVICES = {name: VENDORS[name]() for name, one in FORMATS.items() if one.is_chat}
SERVICE = pytest.mark.parametrize("name", SERVICES)
HOSTILE = {
    "slack": "<!channel> <!here|x> <@U123> <#C1> <https://evil.example|https://bank.example>",
    "everyone": "@everyone @here @channel @all x @user\n@team",
    "discord": "<@123> <@&1> <#1> <:e:1> <a:e:1> <t:1> </x:1> :tada: \\@everyone ||x|| -# x\n# x\n>>> x\n- x\n1. x",
    "google": "<users/all> <a href='x'>y</a> &lt;users/all&gt; *b* _i_ ~s~",
    "teams": "<at>x</at> [x](https://evil.example) **b**",
    "back-ticks": "``` `x` ```` \\` \\\\` *b* _i_ __u__ ~~s~~ ![x](y) | a | b |\n|---|---|\n===\n---",
    "nul": "\x00a\x1b[2J",
    "surrogates": "\ud800 @here \udfff",
    "right to left": "شركة \u202egpj.exe \u2066x",
    "emoji": "🎉" * 9000,
    "signs": "\\*_~`|[]<>&@#-+.!:" * 1500,
    "quotes": '"\\' * 9000,
    "lines": "a\n" * 9000,
    "space": " \n\t ",
    "one": "&",
}
#: the first ones are quick, the others as long as a text may be
TEXT = pytest.mark.parametrize("text", quick_first([pytest.param(text, id=name) for name, text in HOSTILE.items()], 6))
EVENTS = ("scan_started", "scan_completed", "scan_failed", "correlation_found", "system_alert", "high_risk_event")


def to(name: str, **values: Any) -> Endpoint:
    """Return an endpoint of the service that a format is for."""
    names = {key.name for key in FORMATS[name].keys}
    own = {key: Secret(text) for key, text in SERVICES[name].keys.items() if key in names}
    return an_endpoint(format=name, own=own, **{"ui_url": UI, "web_url": PAGE, **values})


def sent(name: str, delivery: Delivery, **values: Any) -> bytes:
    return render(Batch((delivery,)), to(name, **values)).body


def message_of(name: str, delivery: Delivery) -> Json:
    message: Json = json.loads(sent(name, delivery))
    return message


def problem(name: str, delivery: Delivery) -> str:
    return SERVICES[name].problem(message_of(name, delivery))


def full_of(text: str, event: str) -> Delivery:
    """Return a delivery with a text wherever one can be."""
    keys = ("title", "message", "error", "target", "module", "reason", "modules_used", "description", "x" * 3000)
    data: Json = {**dict.fromkeys(keys, text), text[:3000]: text, "detected_late": True, "evidence": [text] * 9}
    data |= {"events_found": 3, "events_by_type": {text: 3}, "events_by_severity": {text: 3}}
    data |= {str(number): text for number in range(20)}
    if event == "high_risk_event":
        data |= {"event_type": text, "data": text, "data_source": text, "confidence": text}
        data["sources"] = [{"event_type": text, "data": text, "module": text}] * 9
    return a_delivery(an_event(type=event, severity=Severity.LOW, data=data, scan=a_scan(name=text, target=text)))


@SERVICE
@in_one("entry", EVENT_TYPES)
def test_a_service_takes_each_event_of_the_catalogue(name: str, entry: Any) -> None:
    assert problem(name, a_delivery(an_event(type=entry.name, severity=Severity.LOW, data=entry.example))) == ""


@SERVICE
@TEXT
@in_one("host_type", ["SIMILARDOMAIN", "PASSWORD_COMPROMISED", "TARGET_WEB_CONTENT"])
def test_a_service_takes_hostile_findings(name: str, host_type: str, text: str) -> None:
    sources = tuple(Source(text[:99], text, text[:99], "h") for _ in range(9))
    clean = text.encode("utf-8", "replace").decode()
    scan = a_scan(name=clean, target=clean)
    finding = a_finding(type=host_type, data=text, module=clean, data_source=text, sources=sources)
    assert problem(name, a_delivery(event_of_finding(finding, scan, clean))) == ""


@SERVICE
@TEXT
@in_one("event", EVENTS)
def test_a_service_takes_hostile_text_in_every_place(name: str, event: str, text: str) -> None:
    assert problem(name, full_of(text, event)) == ""


@SERVICE
def test_a_service_takes_random_signs_in_every_place(name: str) -> None:
    chance = random.Random(5)
    alphabet = "\\`*_~|[]()<>@#:&-+.!=/ \n\t09azé🎉\u202e\ud800"
    for _ in range(30):
        text = "".join(chance.choices(alphabet, k=chance.choice((1, 7, 60, 3000))))
        assert problem(name, full_of(text, chance.choice(EVENTS))) == "", repr(text)


@slow
@SERVICE
def test_a_service_takes_five_megabytes(name: str) -> None:
    assert problem(name, a_delivery(an_event(data={"event_type": "X", "data": "<&>\ud800x" * 1_000_000}))) == ""


@SERVICE
@in_one("value", [None, True, 7, 1.5, "", "text", [], {}, [None, {"event_type": 3}], {"a": {"b": []}}])
def test_data_of_any_shape_does_no_harm(name: str, value: Any) -> None:
    keys = ("events_found", "events_by_type", "events_by_severity", "duration", "error", "reason", "detected_late",
            "modules_used", "sources", "title", "data", "event_type", "data_length", "confidence", "else")  # fmt: skip
    for event in EVENTS:
        assert problem(name, a_delivery(an_event(type=event, data=dict.fromkeys(keys, value)))) == ""


@SERVICE
def test_without_a_scan_there_is_no_link_and_without_ui_url_neither(name: str) -> None:
    alone = a_delivery(an_event(type="system_alert", scan=None, data={"message": "endpoint team is failing"}))
    assert problem(name, alone) == ""
    bodies = (sent(name, one, ui_url=ui, web_url="") for one, ui in ((alone, UI), (a_delivery(), "")))
    assert not any(b"Open scan" in body or b"scaninfo" in body for body in bodies)


@SERVICE
@pytest.mark.parametrize("ui", [UI, ""])
def test_a_link_to_our_own_page_is_next_to_the_one_to_the_scanner(name: str, ui: str) -> None:
    body = sent(name, a_delivery(), ui_url=ui).decode()
    assert f"{PAGE}/scans/5C4A0001" in body
    assert (f"{UI}/scaninfo" in body) is bool(ui)
    assert problem(name, a_delivery()) == ""
    assert PAGE not in sent(name, a_delivery(), ui_url=ui, web_url="").decode()
    assert PAGE not in sent(name, a_delivery(an_event(scan=None)), ui_url=ui).decode()


@SERVICE
def test_a_finding_shows_what_where_how_and_the_link(name: str) -> None:
    sources = (Source("TCP_PORT_OPEN", "mail.acme.example:25", "m", "h"), Source("ROOT", "acme.example", "", "ROOT"))
    finding = a_finding(type="VULNERABILITY_CVE_HIGH", module="sfp_x", confidence=75, sources=sources)
    body = sent(name, a_delivery(event_of_finding(finding, a_scan(), "CVE"), sequence=17))
    for shown in ("High: CVE", "CVE-2026-0001 on mail.acme.example", "acme.example", "VULNERABILITY_CVE_HIGH", "sfp_x",
                  "75 %", "Found via", "TCP_PORT_OPEN mail.acme.example:25", "Weekly Security Scan",
                  "2026-11-21 10:00:00 UTC", "#17", f"{UI}/scaninfo?id=5C4A0001"):  # fmt: skip
        assert shown in body.decode().replace("\\\\", ""), "signs of markup are escaped"


@SERVICE
@pytest.mark.parametrize("key", ["backfilled", "replayed"])
def test_what_comes_late_says_so(name: str, key: str) -> None:
    values: list[dict[str, Any]] = [{key: True}, {key: False}]
    late, live = (sent(name, a_delivery(**one)) for one in values)
    assert (key.encode() in late, key.encode() in live) == (True, False)


@SERVICE
def test_no_leaked_password_reaches_the_chat(name: str) -> None:
    leaked = a_finding(type="PASSWORD_COMPROMISED", data="jane@acme.example:hunter22! [x]")
    assert b"unter22" not in sent(name, a_delivery(event_of_finding(leaked, a_scan(), "d")))
