from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from sfwebhooks.attempts import Outcome, Reply
from sfwebhooks.events import Delivery
from sfwebhooks.formats import ntfy
from sfwebhooks.formats.chat import Notice
from sfwebhooks.retry import judge
from sfwebhooks.severity import Severity
from tests.builders import NOW, a_batch, a_delivery, an_event
from tests.conftest import Clock
from tests.formats.cases import (
    LINK,
    each_event,
    each_past,
    each_text,
    hostile_deliveries,
    mistakes_of,
    of_entry,
    past,
    rendered,
    settings_of,
)
from tests.formats.conftest import Sending
from tests.receivers.vendors import Answer, Asked, Vendor

TOPIC = "acme-alerts-x7"
TAKEN = {"id": "sPs71M8A2T", "time": 1795255200, "event": "message", "topic": TOPIC, "message": "x"}


def sent(delivery: Delivery) -> dict[str, Any]:
    message = rendered("ntfy", delivery, own=settings_of("ntfy", topic=TOPIC).endpoints[0].own)
    accepted(message)
    return message


def accepted(message: dict[str, Any]) -> None:
    """Check a message as the server does."""
    assert set(message) <= {"topic", "title", "message", "priority", "tags", "click"}
    assert message["topic"] == TOPIC
    assert 1 <= len(message["title"].encode()) <= 1024
    assert 1 <= len(message["message"].encode()) <= 4096
    assert len(",".join(message["tags"]).encode()) <= 512
    assert message["priority"] in range(1, 6)
    assert all(char.isprintable() or char in "\n\t" for char in message["title"] + message["message"])


def a_notice(**values: Any) -> Notice:
    return Notice(**{"headline": "h", "body": "", "facts": (), "colour": "#E01E5A", "footer": ("x",), **values})


@each_event
def test_every_event_is_a_notification(entry: Any) -> None:
    sent(of_entry(entry))


@each_text
def test_hostile_text_is_harmless(text: str) -> None:
    for delivery in hostile_deliveries(text):
        sent(delivery)


def test_a_finding_is_title_text_and_a_tap_opens_the_scan() -> None:
    message = sent(a_delivery())
    assert (message["title"], message["click"]) == ("High: VULNERABILITY_CVE_HIGH", LINK)
    assert message["message"].split("\n")[:2] == ["CVE-2026-0001", "Target: acme.example"]
    assert "markdown" not in message, "what was found is not markup"


@pytest.mark.parametrize(("severity", "priority"), [*zip(reversed(Severity), (5, 4, 3, 2, 1))])
def test_the_priority_follows_the_severity(severity: Severity, priority: int) -> None:
    assert sent(a_delivery(an_event(severity=severity)))["priority"] == priority


@each_past
def test_what_is_not_live_says_so_without_a_sound(how: str) -> None:
    message = sent(past(how, an_event(severity=Severity.CRITICAL)))
    assert message["priority"] == 1 and message["message"].endswith(f" · {how}")


def test_a_title_of_1024_bytes_is_left_as_it_is() -> None:
    for length, expected in ((1024, "h" * 1024), (1025, "h" * 1021 + "…")):
        body = ntfy.ntfy_body(a_notice(headline="h" * length), TOPIC)
        assert body["title"] == expected


def test_a_message_of_4096_bytes_is_left_as_it_is() -> None:
    for length, expected in ((4094, "b" * 4094), (4095, "b" * 4091 + "…")):
        body = ntfy.ntfy_body(a_notice(body="b" * length), TOPIC)
        assert body["message"] == f"{expected}\nx"


@pytest.mark.parametrize(
    ("status", "said", "outcome", "reason"),
    [
        (200, TAKEN, Outcome.DELIVERED, "http_200"),
        (200, {}, Outcome.HOLD, "http_200_but_not_ok"),
        (200, {**TAKEN, "message": '{"topic":"x","title":"y"}'}, Outcome.HOLD, "topic_in_url"),
        (400, {"code": 40009, "http": 400, "error": "invalid request: topic invalid"}, Outcome.HOLD, "topic_invalid"),
        (400, {"code": 40010, "http": 400, "error": "topic name is disallowed"}, Outcome.HOLD, "topic_disallowed"),
        (400, {"code": 40057, "http": 400}, Outcome.REFUSED, "http_400"),
        (400, {"code": 40058, "http": 400}, Outcome.REFUSED, "http_400"),
        (400, {"code": [40009]}, Outcome.REFUSED, "http_400"),
        (401, {"code": 40101, "http": 401, "error": "unauthorized"}, Outcome.REFUSED, "http_401"),
        (413, {"code": 41303, "http": 413, "error": "JSON body too large"}, Outcome.REFUSED, "http_413"),
        (429, {"code": 42901, "http": 429, "error": "limit reached"}, Outcome.RETRY, "http_429"),
        (500, {"code": 50001, "http": 500}, Outcome.RETRY, "http_500"),
    ],
)
def test_a_reply_means_what_the_servers_code_says(status: int, said: Any, outcome: Outcome, reason: str) -> None:
    reply = Reply(status, body=json.dumps(said).encode())
    verdict = ntfy.read(reply, a_batch()) or judge(reply, NOW)
    assert (verdict.outcome, verdict.reason) == (outcome, reason)


def server(asked: Asked) -> Answer:
    """Answer as ntfy does: JSON is read at the root only, a topic may want a token."""
    if asked.path != "/":
        return Answer(200, {**TAKEN, "message": json.dumps(asked.body, separators=(",", ":"))})
    if asked.headers.get("Authorization") != "Bearer tk_AgQdq7mVBoFD37zQVN29RhuMzNIz2":
        return Answer(403, {"code": 40301, "http": 403, "error": "forbidden"})
    if len(asked.body["title"].encode()) > 1024:
        return Answer(400, {"code": 40057, "http": 400})
    return Answer(200, {**TAKEN, "message": asked.body["message"]})


def test_a_notification_is_delivered_once_the_rate_limit_allows_it(
    vendor: Callable[..., Vendor], sending: Callable[..., Sending], clock: Clock
) -> None:
    limit = Answer(429, {"code": 42901, "http": 429, "error": "limit reached"}, {"Retry-After": "30"})
    ours = vendor(lambda asked: limit)
    token = settings_of("ntfy", topic=TOPIC, api_key="tk_AgQdq7mVBoFD37zQVN29RhuMzNIz2").endpoints[0].api_key
    one = sending(f"{ours.url}/", "ntfy", topic=TOPIC, api_key=token)
    one.accept()
    assert one.step() and one.states == [("waiting", "http_429")]
    ours.answer = server
    assert not one.step(29)
    assert one.step(10) and one.states == [("delivered", "http_200")]
    assert ours.got[0].body == ours.got[1].body


@pytest.mark.parametrize(("path", "reason"), [("/", "refused: http_403"), ("/acme-alerts-x7", "topic_in_url")])
def test_a_wrong_token_or_url_holds_the_endpoint_and_loses_nothing(
    vendor: Callable[..., Vendor], sending: Callable[..., Sending], path: str, reason: str
) -> None:
    ours = vendor(server)
    one = sending(ours.url + path, "ntfy", topic=TOPIC)
    one.accept(5)
    for _ in range(5):
        one.step(1)
    assert one.condition == "held"
    assert {state for state, _ in one.states} == {"waiting"} and one.states[0][1] == reason


def test_the_topic_is_needed_and_checked_and_never_shown() -> None:
    assert any("team" in found and "requires topic" in found for found in mistakes_of("ntfy"))
    (wrong,) = mistakes_of("ntfy", topic="my topic!")
    assert "topic" in wrong and "1 to 64 of A-Z" in wrong and "my topic!" not in wrong
    assert mistakes_of("ntfy", topic="t" * 64) == []
    assert mistakes_of("ntfy", topic="t" * 65)
    assert TOPIC not in repr(settings_of("ntfy", topic=TOPIC))


def test_a_key_of_another_format_is_a_mistake() -> None:
    (found,) = mistakes_of("ntfy", topic=TOPIC, routing_key="R" * 32)
    assert "routing_key requires format = pagerduty" in found
