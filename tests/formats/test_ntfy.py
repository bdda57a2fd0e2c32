from __future__ import annotations

import json
from typing import Any

import pytest

from sfwebhooks.attempts import Outcome, Reply
from sfwebhooks.events import Delivery
from sfwebhooks.formats import ntfy
from sfwebhooks.formats.notice import Notice
from sfwebhooks.retry import judge
from sfwebhooks.severity import Severity
from tests.builders import NOW, a_batch, a_delivery, an_event
from tests.formats.cases import (
    LINK,
    each_past,
    mistakes_of,
    past,
    rendered,
    settings_of,
)
from tests.formats.conftest import Served, Start
from tests.receivers.notifiers import Ntfy

TOPIC = Ntfy.topic
TAKEN = {"id": "sPs71M8A2T", "time": 1795255200, "event": "message", "topic": TOPIC, "message": "x"}


def sent(delivery: Delivery) -> dict[str, Any]:
    message = rendered("ntfy", delivery, own=settings_of("ntfy", topic=TOPIC).endpoints[0].own)
    assert Ntfy().problem(message) == ""
    return message


def a_notice(**values: Any) -> Notice:
    return Notice(**{"headline": "h", "body": "", "facts": (), "colour": "#E01E5A", "footer": ("x",), **values})


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


@pytest.mark.parametrize(("path", "reason"), [("/", "refused: http_403"), ("/acme-alerts-x7", "topic_in_url")])
def test_a_wrong_token_or_url_holds_the_endpoint_and_loses_nothing(
    served: Served, sending: Start, path: str, reason: str
) -> None:
    ours = served(Ntfy())
    one = sending(ours, url=ours.root + path, api_key="tk_another")
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
