"""CloudEvents 1.0 over HTTP. Judge: the SDK of the CNCF, `cloudevents` from PyPI, which reads what we send. It does not
check the characters of attributes and the length of their names, so that is checked here."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given, settings

from sfwebhooks.attempts import Outcome, Reply, Verdict
from sfwebhooks.catalogue import EVENT_TYPES
from sfwebhooks.endpoints import Endpoint, Secret
from sfwebhooks.events import Batch, Delivery, WebhookEvent
from sfwebhooks.formats import generic, render
from sfwebhooks.formats.cloudevents import ATTRIBUTE_MAX, ORIGIN, ask, consent, read
from sfwebhooks.formats.content import Content
from sfwebhooks.retry import judge
from sfwebhooks.signing import sign
from tests.builders import NOW, URL, a_batch, a_delivery, a_scan, an_endpoint, an_event
from tests.formats.cases import HOSTILE as TEXTS
from tests.formats.cases import UI, hostile_deliveries, mistakes_of, of_entry
from tests.formats.conftest import Served, Start
from tests.formats.test_any_data import ANY, EVENTS
from tests.receivers.collectors import Broker
from tests.receivers.vendor import Answer
from tests.rows import in_one

STRUCTURED, BATCHED = "application/cloudevents+json", "application/cloudevents-batch+json"
#: texts of 100 characters at most: a long one is for the limits
HOSTILE = {**{name: text[:100] for name, text in TEXTS.items()}, "separators": 'a\u2028b\x85c\x7f\ufffe|=\\%"'}
NAME = re.compile(r"[a-z0-9]{1,20}")
#: what the spec forbids in texts: controls, non-characters, halves of surrogate pairs
FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
MODES = ("structured", "binary")
each_mode = pytest.mark.parametrize("mode", MODES)


def endpoint_of(mode: str = "structured", own: Mapping[str, str] | None = None, **values: Any) -> Endpoint:
    keys = {"cloudevents_mode": mode, **(own or {})}
    made = {name: Secret(text) for name, text in keys.items()}
    return an_endpoint(**{"format": "cloudevents", "own": made, **values})


def judged(headers: Mapping[str, str], body: bytes) -> tuple[dict[str, Any], Any]:
    """Return attributes and data of a request as the SDK of the CNCF reads them."""
    http = pytest.importorskip("cloudevents.core.bindings.http")
    event = http.from_http_event(http.HTTPMessage(dict(headers), body))
    data = event.get_data()
    return event.get_attributes(), data if isinstance(data, dict) else json.loads(data)


def event_of(content: Content) -> dict[str, Any]:
    """Return a structured event, or a binary one as if it was structured, by our own reading of the spec."""
    kind, origin = content.headers["Content-Type"], {ORIGIN: content.headers[ORIGIN]}
    if kind.startswith(STRUCTURED):
        assert content.headers == {"Content-Type": f"{STRUCTURED}; charset=utf-8", **origin}
        found: dict[str, Any] = json.loads(content.body.decode())
        return found
    values = {name: value for name, value in content.headers.items() if name not in ("Content-Type", ORIGIN)}
    assert all(re.fullmatch(r"ce-[a-z0-9]{1,20}", name) for name in values)
    assert all(re.fullmatch(r"[!#-$&-~]|(?:[!#-$&-~]|%[0-9A-F]{2})+", value) for value in values.values())
    decoded = {name[3:]: unquote(value, errors="strict") for name, value in values.items()}
    return {**decoded, "datacontenttype": kind, "data": json.loads(content.body.decode())}


def assert_cloudevent(delivery: Delivery, endpoint: Endpoint) -> dict[str, Any]:
    content = render(Batch((delivery,)), endpoint)
    assert len(content.body) <= endpoint.max_body
    found = event_of(content)
    assert {"id", "source", "specversion", "type", "time"} <= found.keys()
    for name, value in found.items():
        if name != "data":
            assert NAME.fullmatch(name) and isinstance(value, str) and value and not FORBIDDEN.search(value), name
            assert len(value) <= max(ATTRIBUTE_MAX, 200)
    assert found["data"].keys() >= generic.message(delivery, endpoint).keys()
    by_judge, data = judged(content.headers, content.body)
    assert data == found["data"]
    assert {key: value for key, value in by_judge.items() if key != "time"} == {
        key: value for key, value in found.items() if key not in ("data", "time")
    }
    return found


@each_mode
@in_one("entry", EVENT_TYPES)
def test_every_event_of_the_catalogue_is_read_by_the_sdk(mode: str, entry: Any) -> None:
    found = assert_cloudevent(of_entry(entry, backfilled=True), endpoint_of(mode, ui_url=UI))
    assert found["type"] == f"net.spiderfoot.{entry.alias}"
    assert (found["source"], found["subject"], found["backfilled"]) == (UI, "acme.example", "true")


@each_mode
@in_one("text", HOSTILE.values())
def test_hostile_texts_are_read_by_the_sdk(mode: str, text: str) -> None:
    for delivery in hostile_deliveries(text):
        assert_cloudevent(delivery, endpoint_of(mode, metadata={"user": text}))
    event = replace(an_event(), scan=a_scan(id=text, name=text, target=text, version=text), data={"data": text})
    assert_cloudevent(a_delivery(event), endpoint_of(mode))


@each_mode
@settings(ANY, max_examples=50)
@given(event=EVENTS)
def test_any_data_are_read_by_the_sdk(mode: str, event: WebhookEvent) -> None:
    assert_cloudevent(a_delivery(event), endpoint_of(mode))


@each_mode
def test_what_is_too_large_is_cut_in_the_data_and_the_attributes_are_whole(mode: str) -> None:
    large = {"data": "\0x" * 50_000, "sources": [{"data": "y" * 9000}] * 9, **{f"k{n}": n for n in range(3000)}}
    scan = a_scan(id="i" * 9000, name="n" * 9000, target="\N{PILE OF POO}" * 9000)
    found = assert_cloudevent(a_delivery(an_event(scan=scan, data=large)), endpoint_of(mode, max_body=8000))
    assert found["data"]["data_length"] == len(large)
    assert (len(found["scanid"]), found["severity"]) == (ATTRIBUTE_MAX, "high")


@each_mode
def test_an_event_has_the_message_of_generic_as_data(mode: str) -> None:
    delivery, endpoint = a_delivery(an_event(at=NOW + 0.25)), endpoint_of(mode)
    assert event_of(render(Batch((delivery,)), endpoint)) == {
        "specversion": "1.0",
        "id": delivery.event.id,
        "source": "/spiderfoot",
        "type": "net.spiderfoot.finding.high_risk",
        "subject": "acme.example",
        "time": "2026-11-21T10:00:00.250Z",
        "datacontenttype": "application/json",
        "severity": "high",
        "scanid": "5C4A0001",
        "deliveryid": delivery.id,
        "data": json.loads(json.dumps(generic.message(delivery, endpoint))),
    }


def test_a_binary_event_has_the_body_of_generic_and_the_attributes_as_headers() -> None:
    delivery, endpoint = a_delivery(an_event(scan=a_scan(target='a "b" % \u00e4'))), endpoint_of("binary")
    content = render(Batch((delivery,)), endpoint)
    assert content.body == generic.render(delivery, endpoint).body
    assert content.headers["Content-Type"] == "application/json"
    assert content.headers["ce-subject"] == "a%20%22b%22%20%25%20%C3%A4"
    assert "ce-datacontenttype" not in content.headers
    headers = sign(content, Batch((delivery,)), endpoint, NOW).headers
    assert (headers["ce-id"], headers["webhook-id"]) == (delivery.event.id, delivery.id)


def test_id_and_source_are_the_same_for_each_endpoint_and_attempt() -> None:
    one, other = (event_of(render(a_batch(endpoint=name), endpoint_of(name=name))) for name in ("a", "b"))
    assert (one["id"], one["source"]) == (other["id"], other["source"])
    assert one["deliveryid"] != other["deliveryid"]


@pytest.mark.parametrize(
    ("own", "ui_url", "source"),
    [
        ({}, "", "/spiderfoot"),
        ({}, "https://sf.acme.example/\u00e4 b", "https://sf.acme.example/%C3%A4%20b"),
        ({"cloudevents_source": "urn:example:spiderfoot"}, UI, "urn:example:spiderfoot"),
    ],
)
def test_the_source_is_that_of_the_settings(own: dict[str, str], ui_url: str, source: str) -> None:
    assert event_of(render(a_batch(), endpoint_of(own=own, ui_url=ui_url)))["source"] == source


def test_an_event_without_a_scan_has_the_target_of_its_data_or_no_subject() -> None:
    def subject(data: dict[str, Any]) -> Any:
        return event_of(render(a_batch(an_event(scan=None, data=data)), endpoint_of())).get("subject")

    assert (subject({"target": "acme.example"}), subject({}), subject({"target": None})) == ("acme.example", None, None)


@each_mode
def test_several_events_are_a_batch_and_one_of_an_endpoint_with_batches_too(mode: str) -> None:
    deliveries = tuple(a_delivery(an_event(number)) for number in range(3))
    for some in (deliveries, deliveries[:1]):
        content = render(Batch(some), endpoint_of(mode, batch_size=3))
        assert content.headers == {"Content-Type": f"{BATCHED}; charset=utf-8", ORIGIN: "spiderfoot"}
        found = json.loads(content.body)
        assert [one["id"] for one in found] == [delivery.event.id for delivery in some]
        for one in found:
            judged({"Content-Type": STRUCTURED}, json.dumps(one).encode())


@pytest.mark.parametrize(
    "key",
    [
        {"cloudevents_mode": "other"},
        {"cloudevents_source": ""},
        {"cloudevents_source": "a b"},
        {"cloudevents_source": "\u00e4"},
    ],
)
def test_a_malformed_key_is_a_mistake(key: dict[str, str]) -> None:
    assert "expected" in mistakes_of("cloudevents", **key)[0]


def test_well_formed_keys_are_none() -> None:
    assert mistakes_of("cloudevents", cloudevents_mode="binary", cloudevents_source="https://[::1]/a?b=%20~_") == []
    assert URL not in str(endpoint_of())


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, Verdict(Outcome.DELIVERED, "http_200")),
        (201, Verdict(Outcome.DELIVERED, "http_201")),
        (202, Verdict(Outcome.DELIVERED, "http_202")),
        (204, Verdict(Outcome.DELIVERED, "http_204")),
        (302, Verdict(Outcome.REFUSED, "http_302", 7.0)),
        (400, Verdict(Outcome.REFUSED, "http_400", 7.0)),
        (410, Verdict(Outcome.DISABLE, "http_410")),
        (415, Verdict(Outcome.HOLD, "http_415")),
        (429, Verdict(Outcome.RETRY, "http_429", 7.0)),
        (503, Verdict(Outcome.RETRY, "http_503", 7.0)),
    ],
)
def test_replies_mean_what_the_spec_of_webhooks_says(status: int, verdict: Verdict) -> None:
    reply = Reply(status, headers={"Retry-After": "7"})
    assert (read(reply, a_batch()) or judge(reply, NOW)) == verdict


@pytest.mark.parametrize(
    ("accepts", "mode", "size"),
    [(STRUCTURED, "structured", 1), ("application/json", "binary", 1), (BATCHED, "structured", 8)],
)
def test_each_event_arrives_once(served: Served, sending: Start, accepts: str, mode: str, size: int) -> None:
    broker = served(Broker([accepts]))
    one = sending(broker, cloudevents_mode=mode, batch_size=size)
    one.accept(20)
    one.finish()
    assert sorted(event["id"] for event in broker.taken) == sorted(an_event(number).id for number in range(1, 21))
    assert {*one.states} == {("delivered", "http_202")}


@pytest.mark.parametrize(("status", "condition"), [(415, "held"), (410, "disabled")])
def test_a_receiver_that_wants_no_such_events_gets_no_more_and_nothing_is_lost(
    served: Served, sending: Start, status: int, condition: str
) -> None:
    broker = served(Broker())
    broker.instead = Answer(status)
    one = sending(broker)
    one.accept(20)
    while one.condition == "healthy":
        assert one.step()
    assert one.condition == condition
    assert {state for state, _ in one.states} == {"waiting"}


# --- the handshake


@pytest.mark.parametrize(
    ("own", "ui_url", "origin"),
    [
        ({}, "", "spiderfoot"),
        ({}, "https://sf.acme.example:5001/ui", "sf.acme.example"),
        ({"cloudevents_source": "https://osint.acme.example/x"}, UI, "osint.acme.example"),
        ({"cloudevents_source": "urn:example:spiderfoot"}, UI, "spiderfoot"),
        ({"cloudevents_source": "http://[x/"}, UI, "spiderfoot"),
        ({}, "https://b\u00fccher.example", "xn--bcher-kva.example"),
        ({"cloudevents_source": "https://a%0d%0ab.example"}, UI, "spiderfoot"),
        ({"cloudevents_source": f"https://{'a' * 64}.example"}, UI, "spiderfoot"),
    ],
)
def test_the_origin_is_the_host_of_the_source_in_each_request(own: dict[str, str], ui_url: str, origin: str) -> None:
    for mode in MODES:
        endpoint = endpoint_of(mode, own, ui_url=ui_url)
        assert ask(endpoint).headers == {ORIGIN: origin}
        assert render(a_batch(), endpoint).headers[ORIGIN] == origin


@pytest.mark.parametrize(("interval", "rate"), [(0.05, "1200"), (3.0, "20"), (0.7, "86"), (3600.0, "1")])
def test_the_rate_of_the_settings_is_asked_for(interval: float, rate: str) -> None:
    assert ask(endpoint_of(interval=interval)).headers["WebHook-Request-Rate"] == rate


@pytest.mark.parametrize(
    ("origin", "rate", "interval", "allowed", "said"),
    [
        ("*", "*", 0.5, True, "allows messages from * at any rate"),
        ("SpiderFoot", "", 0.0, True, "allows messages from SpiderFoot"),
        ("spiderfoot", "", 0.5, True, "but names no rate"),
        ("spiderfoot", "120", 0.5, True, "120 requests a minute"),
        ("spiderfoot", "119", 0.5, True, "119 requests a minute: set rate = 119/m, or it may answer 429"),
        ("spiderfoot", "60", 0.0, True, "60 requests a minute: set rate = 60/m"),
        ("spiderfoot", "0", 0.5, True, "but names no rate"),
        ("spiderfoot", "9" * 5000, 0.5, True, "but names no rate"),
        ("other.example", "*", 0.0, False, "from other.example, not from spiderfoot"),
        ("x" * 5000, "*", 0.0, False, "from " + "x" * 99),
        ("", "*", 0.0, None, "does not answer it (http_200), which is its choice"),
        ("  ", "", 0.0, None, "does not answer it (http_200)"),
    ],
)
def test_what_a_receiver_allows_is_said_with_what_to_do(
    origin: str, rate: str, interval: float, allowed: bool | None, said: str
) -> None:
    headers = {"WebHook-Allowed-Origin": origin, "WebHook-Allowed-Rate": rate}
    found = consent(Reply(200, headers=headers), endpoint_of(interval=interval))
    assert (found.allowed, said in found.words) == (allowed, True), found.words
    assert len(found.words) < 500


@pytest.mark.parametrize("status", [200, 204, 302, 401, 403, 404, 405, 429, 501])
def test_whatever_the_status_a_reply_without_the_header_is_no_consent_and_no_refusal(status: int) -> None:
    found = consent(Reply(status), endpoint_of())
    assert (found.allowed, f"http_{status}" in found.words) == (None, True)
