"""The contract of every format in the registry, and the envelope of the guide."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import Any, Callable

import pytest

from sfwebhooks.attempts import Reply
from sfwebhooks.catalogue import EVENT_TYPES
from sfwebhooks.endpoints import Secret
from sfwebhooks.events import Batch, Delivery, WebhookEvent
from sfwebhooks.formats import FORMATS
from sfwebhooks.formats import render as render_batch
from sfwebhooks.formats.content import Content
from sfwebhooks.formats.format import Format, Reading
from sfwebhooks.formats.layout import LAYOUT
from sfwebhooks.jsontext import written as to_json
from sfwebhooks.reasons import Failure
from sfwebhooks.retry import judge
from sfwebhooks.scan.findings import event_of_finding
from sfwebhooks.severity import Severity
from tests.builders import NOW, URL, a_batch, a_delivery, a_finding, a_scan, an_endpoint, an_event
from tests.formats.bodies import messages
from tests.rows import in_one
from tests.tiers import quick_first

HOSTILE = {
    "nul": "a\0b",
    "control characters": "".join(map(chr, range(32))) + "\x7f\x85\u2028\u2029",
    "lone surrogates": "\ud800 \udc00\ud800 \udfff",
    "a mention": "<!channel> <@U012AB3CD> @everyone @here",
    "markup": "*b* _i_ `c` ```f``` [x](javascript:alert(1)) <script>&amp;</script> |",
    "json": '"}],{"a":\\u0000\\',
    "right to left": "\u202egnp.exe \u2066x\u2069",
    "emoji": "\U0001f469\u200d\U0001f4bb" * 200,
    "combining": "z" + "\u0301" * 5000,
    "format string": "%s %(x)s {0} {name} ${jndi:ldap://x.example/a} {{7*7}}",
    "empty": "",
    "blank": " \n\t ",
}
FIVE_MEGABYTES = "<&>\ud800x" * 1_000_000
#: values of the keys that a format's endpoints need
OWN = {
    "chat_id": Secret("-1001234567890"),
    "project": Secret("SEC"),
    "topic": Secret("acme-alerts-x7"),
    "tenant": Secret("0f8fad5b-d9cb-469f-a165-70867728950e"),
    "dcr_id": Secret("dcr-000a00a000a00000a000000aa000a0aa"),
    "routing_key": Secret("R0123456789abcdefghijklmnopqrst9"),
    "template": Secret(
        '{"event": {{ event_type | tojson }}, "severity": "{{ severity }}", "target": {{ target | tojson }},'
        ' "data": {{ data | tojson }}, "scan": {{ scan | tojson }}, "metadata": {{ metadata | tojson }}}'
    ),
}
#: every way of writing a message -> the settings of its endpoint
WAYS: dict[str, dict[str, Any]] = {
    **{
        name: {"format": name, "own": {key.name: OWN[key.name] for key in one.keys if key.needed}}
        for name, one in FORMATS.items()
        if not one.bundle  # see test_whole_scans.py
    },
    **{
        f"{name}, ndjson": {"format": name, "own": {"layout": Secret("ndjson")}}
        for name, one in FORMATS.items()
        if LAYOUT in one.keys
    },
}
FORMAT = pytest.mark.parametrize("name", WAYS)
Read = Callable[[Reply, Batch], Reading]
READERS = {name: one.read for name, one in FORMATS.items() if one.read}
READER = pytest.mark.parametrize("read", READERS.values(), ids=READERS)
TEXT = pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)


def content(name: str, delivery: Delivery, **endpoint: Any) -> Content:
    return format_of(name).render(delivery, an_endpoint(**WAYS[name], **endpoint))


def render(name: str, delivery: Delivery, **endpoint: Any) -> bytes:
    return content(name, delivery, **endpoint).body


def check(name: str, delivery: Delivery, **endpoint: Any) -> None:
    """Let a body be what its content type says, with one message in it."""
    assert len(messages(content(name, delivery, **endpoint))) == 1


def format_of(name: str) -> Format:
    return FORMATS[WAYS[name].get("format", "generic")]


def finding_with(text: str, **values: Any) -> Delivery:
    return a_delivery(event_of_finding(a_finding(data=text, **values), a_scan(), "Vulnerability"))


def raw_with(text: str) -> Delivery:
    """Return a delivery with a text wherever a text can stand, past all that cleans it on the way."""
    scan = a_scan(name=text, target=text, target_type=text, version=text)
    data = {"event_type": text, "description": text, "data": text, "module": text, "error": text, "special": text}
    return a_delivery(
        an_event(scan=scan, data={**data, "sources": [{"event_type": text, "data": text, "module": text}]})
    )


# --- every format


@FORMAT
@in_one("entry", EVENT_TYPES)
def test_every_event_of_the_catalogue_is_what_its_content_type_says(name: str, entry: Any) -> None:
    severity = entry.severities[0] if entry.severities else Severity.INFO
    event = an_event(type=entry.name, severity=severity, data=entry.example)
    check(name, a_delivery(event))


@FORMAT
@in_one("text", HOSTILE.values())
def test_hostile_data_of_a_finding_is_what_its_content_type_says(name: str, text: str) -> None:
    check(name, finding_with(text))


@FORMAT
@in_one("text", HOSTILE.values())
def test_hostile_text_in_every_place_is_what_its_content_type_says(name: str, text: str) -> None:
    check(name, raw_with(text))


@pytest.mark.parametrize(
    ("name", "event"),
    quick_first(
        pytest.param(name, event, id=f"{place}-{name}")
        for place, event in {
            "data": an_event(data={"data": FIVE_MEGABYTES}),
            "target": an_event(scan=a_scan(target=FIVE_MEGABYTES)),
        }.items()
        for name in WAYS
    ),
)
def test_five_megabytes_are_what_their_content_type_says(name: str, event: WebhookEvent) -> None:
    check(name, a_delivery(event))


@FORMAT
@in_one("text", HOSTILE.values())
def test_hostile_metadata_is_what_its_content_type_says(name: str, text: str) -> None:
    check(name, a_delivery(), metadata={"user": text})


@FORMAT
@in_one("data", [{}, {"data": 5}, {"data": None}, {"data": ["x"]}, {"sources": []}, {"sources": None}])
def test_data_of_another_shape_is_what_its_content_type_says(name: str, data: dict[str, Any]) -> None:
    check(name, a_delivery(an_event(data=data)))


@FORMAT
def test_an_event_without_a_scan_is_what_its_content_type_says(name: str) -> None:
    event = an_event(type="system_alert", scan=None, data={"message": "endpoint team is failing"})
    check(name, a_delivery(event))


@FORMAT
@in_one("event", [an_event(), an_event(scan=None), an_event(type="scan_completed", data={"b": 1, "a": 2})])
def test_the_same_delivery_gives_the_same_bytes(name: str, event: Any) -> None:
    delivery = a_delivery(event)
    assert render(name, delivery) == render(name, copy.deepcopy(delivery))


@FORMAT
def test_a_retry_gives_the_same_bytes(name: str) -> None:
    delivery = a_delivery()
    assert render(name, delivery) == render(name, replace(delivery, attempts=5))


@FORMAT
def test_rendering_changes_nothing(name: str) -> None:
    delivery = finding_with("x")
    before = copy.deepcopy(delivery)
    render(name, delivery)
    assert delivery == before


@FORMAT
def test_a_message_holds_no_secret_of_its_endpoint(name: str) -> None:
    sent = render(name, a_delivery(), secrets=["hunter2"], url=URL)
    assert not [secret for secret in (b"hunter2", b"url-path-token") if secret in sent]


@FORMAT
def test_several_messages_are_what_their_content_type_says(name: str) -> None:
    deliveries = tuple(
        a_delivery(an_event(number, data={"data": text})) for number, text in enumerate(HOSTILE.values())
    )
    alone = [messages(content(name, delivery, batch_size=99))[0] for delivery in deliveries]
    if format_of(name).join:
        together = render_batch(Batch(deliveries), an_endpoint(**WAYS[name], batch_size=99))
        assert messages(together) == alone


@READER
@in_one("status", [200, 204, 301, 400, 401, 404, 429, 500, 503])
@in_one("body", [b"", b"ok", b"\xff\xfe\x00", b"{", b"[]", b"null", b'{"ok":', b"<html>", b"\0" * 65536])
def test_any_reply_can_be_read(read: Read, status: int, body: bytes) -> None:
    reply = Reply(status=status, body=body)
    assert read(reply, a_batch()) or judge(reply, NOW)


@READER
def test_a_failure_is_left_to_the_table(read: Read) -> None:
    assert [read(Reply(failure=failure), a_batch()) for failure in Failure] == [None] * len(Failure)


# --- generic: the envelope of the guide


def envelope(delivery: Delivery | None = None, **endpoint: Any) -> Any:
    return json.loads(render("generic", delivery or a_delivery(), **endpoint))


def test_the_envelope_has_the_guides_keys_in_the_guides_order() -> None:
    assert list(envelope()) == ["event_type", "timestamp", "source", "version", "data", "metadata"]


def test_the_envelope_says_what_it_is_as_the_guide_does() -> None:
    message = envelope()
    assert {key: message[key] for key in ("event_type", "timestamp", "source", "version")} == {
        "event_type": "high_risk_event",
        "timestamp": "2026-11-21T10:00:00Z",
        "source": "spiderfoot",
        "version": "4.4.0",
    }


def test_the_event_type_is_the_name_that_the_endpoint_subscribed_to() -> None:
    assert envelope(a_delivery(name="finding.critical"))["event_type"] == "finding.critical"


def test_the_data_is_the_events_own() -> None:
    event = an_event(data={"scan_id": "x", "events_found": 1234, "modules_used": ["a", "b"], "deep": {"n": None}})
    assert envelope(a_delivery(event))["data"] == event.data


@pytest.mark.parametrize("name", ["generic", "siem"])
def test_what_a_scan_says_of_itself_has_a_link_to_it_if_there_is_a_web_interface(name: str) -> None:
    def links(event_type: str, **endpoint: Any) -> Any:
        message = json.loads(render(name, a_delivery(an_event(type=event_type)), **endpoint))
        return message.get("data", message.get("raw_data")).get("link")

    assert links("scan_completed", ui_url="https://sf.acme.example") == "https://sf.acme.example/scaninfo?id=5C4A0001"
    assert links("scan_completed") is None
    assert links("high_risk_event", ui_url="https://sf.acme.example") is None


def test_metadata_says_which_message_of_which_scan_it_is() -> None:
    delivery = a_delivery(sequence=7)
    assert envelope(delivery)["metadata"] == {
        "scan_name": "Weekly Security Scan",
        "schema": 1,
        "event_id": delivery.event.id,
        "delivery_id": delivery.id,
        "endpoint": "team",
        "series": delivery.series,
        "sequence": 7,
        "severity": "high",
        "time": "2026-11-21T10:00:00.000Z",
    }


def test_the_guides_metadata_comes_from_the_configuration() -> None:
    message = envelope(metadata={"workspace_id": "ws_abc123", "user": "admin"})["metadata"]
    assert (message["workspace_id"], message["user"]) == ("ws_abc123", "admin")


@pytest.mark.parametrize("name", ["generic", "security-audit"])
def test_the_timestamp_has_whole_seconds_as_in_the_guides_and_the_metadata_the_exact_time(name: str) -> None:
    message = json.loads(render(name, a_delivery(an_event(at=NOW + 59.9996))))
    assert message["timestamp"] == "2026-11-21T10:00:59Z"
    assert message["metadata"]["time"] == "2026-11-21T10:00:59.999Z"


def test_what_is_backfilled_says_so_and_what_is_live_does_not() -> None:
    assert envelope(a_delivery(backfilled=True))["metadata"]["backfilled"] is True
    assert "backfilled" not in envelope()["metadata"]


@pytest.mark.parametrize(
    "key", ["schema", "event_id", "delivery_id", "endpoint", "sequence", "severity", "scan_name", "time"]
)
def test_the_configuration_cannot_replace_what_receivers_rely_on(key: str) -> None:
    assert envelope(metadata={key: "other"})["metadata"][key] != "other"


def test_markup_of_chats_is_left_as_it_was_found() -> None:
    assert envelope(finding_with("<!channel> & <b>"))["data"]["data"] == "<!channel> & <b>"


def test_an_event_outside_a_scan_has_no_scan_name() -> None:
    assert "scan_name" not in envelope(a_delivery(an_event(scan=None)))["metadata"]


# --- how we write JSON


@pytest.mark.parametrize(
    ("value", "written"),
    [
        # as JSON.stringify of ECMAScript has it
        ({"b": 1, "a": [True, None, ""]}, b'{"b":1,"a":[true,null,""]}'),
        ("grüß \U0001f600 / \u2028", '"grüß \U0001f600 / \u2028"'.encode()),
        ('"\\\b\f\n\r\t\0\x1f\x7f', b'"\\"\\\\\\b\\f\\n\\r\\t\\u0000\\u001f\x7f"'),
        # what UTF-8 cannot write
        ("a\ud800b\udc00", '"a\ufffdb\ufffd"'.encode()),
        ("\ud83d\ude00", '"\U0001f600"'.encode()),
    ],
)
def test_json_is_compact_and_as_other_languages_write_it(value: object, written: bytes) -> None:
    assert to_json(value).encode() == written


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [-float("inf")]])
def test_what_json_has_no_word_for_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json(value)
