from __future__ import annotations

from typing import Any

import pytest

from sfwebhooks.attempts import Outcome, Reply
from sfwebhooks.endpoints import Secret
from sfwebhooks.events import Delivery
from sfwebhooks.formats import apprise
from sfwebhooks.retry import judge
from sfwebhooks.severity import Severity
from tests.builders import NOW, a_batch, a_delivery, a_scan, an_event
from tests.formats.cases import (
    LINK,
    each_past,
    mistakes_of,
    past,
    rendered,
    settings_of,
)
from tests.formats.conftest import Served, Start
from tests.receivers.notifiers import Apprise

SENT = {"error": None, "details": [["INFO", "2026-11-21 10:00:00", "Sent to Telegram"]]}


def sent(delivery: Delivery, **own: str) -> dict[str, Any]:
    message = rendered("apprise", delivery, own={key: Secret(text) for key, text in own.items()})
    assert Apprise().problem(message) == ""
    return message


@pytest.mark.parametrize(
    ("severity", "kind"), [*zip(reversed(Severity), ("failure", "failure", "warning", "info", "info"))]
)
def test_the_type_follows_the_severity(severity: Severity, kind: str) -> None:
    assert sent(a_delivery(an_event(severity=severity)))["type"] == kind


def test_the_end_of_a_scan_is_a_success() -> None:
    event = an_event(type="scan_completed", severity=Severity.INFO, data={"events_found": 3})
    assert sent(a_delivery(event))["type"] == "success"


def test_the_body_ends_with_the_link_and_the_tag_selects_services() -> None:
    message = sent(a_delivery(), apprise_tag="security")
    assert message["body"].endswith(LINK) and message["tag"] == "security"
    assert "tag" not in sent(a_delivery())


@each_past
def test_what_is_not_live_says_so(how: str) -> None:
    assert f" · {how}\n" in sent(past(how))["body"]


def test_a_title_of_250_bytes_and_a_body_of_10000_are_left_as_they_are() -> None:
    def title(length: int) -> str:
        event = an_event(data={"event_type": "X", "data": "x", "description": "d" * length})
        return str(sent(a_delivery(event))["title"])

    room = 250 - len("High: ")
    assert (title(room), title(room + 1)) == ("High: " + "d" * room, "High: " + "d" * (room - 3) + "…")

    def body(length: int) -> str:
        scan = a_scan(name="n", target="t")
        return str(sent(a_delivery(an_event(scan=scan, data={"event_type": "X", "data": "b" * length})))["body"])

    room = 10_000 - len(body(900).encode()) + 900 - len("Length: 9,999 characters\n")
    assert "…" not in body(room) and len(body(room).encode()) == 10_000
    assert "b…\n" in body(room + 1) and body(room + 1).endswith(LINK)


@pytest.mark.parametrize(
    ("status", "outcome", "reason"),
    [
        (200, Outcome.DELIVERED, "http_200"),
        (204, Outcome.HOLD, "http_204_no_such_key"),
        (400, Outcome.REFUSED, "http_400"),
        (406, Outcome.REFUSED, "http_406"),
        (424, Outcome.RETRY, "http_424"),
        (431, Outcome.REFUSED, "http_431"),
        (500, Outcome.RETRY, "http_500"),
    ],
)
def test_a_reply_means_what_the_servers_documentation_says(status: int, outcome: Outcome, reason: str) -> None:
    reply = Reply(status)
    verdict = apprise.read(reply, a_batch()) or judge(reply, NOW)
    assert (verdict.outcome, verdict.reason) == (outcome, reason)


def test_a_key_that_is_not_known_holds_the_endpoint(served: Served, sending: Start) -> None:
    ours = served(Apprise())
    one = sending(ours, url=f"{ours.root}/notify/amce")
    one.accept()
    assert one.step() and one.states == [("waiting", "http_204_no_such_key")]
    assert one.condition == "held"


def test_where_a_service_failed_the_others_get_the_message_at_most_twice(served: Served, sending: Start) -> None:
    ours = served(Apprise())
    ours.is_partial = True
    one = sending(ours)
    one.accept()
    assert one.step() and one.states == [("waiting", "http_424")]
    assert one.step(10) and one.states == [("dead", "retries_exhausted: http_424")]
    assert not one.step(100_000) and len(ours.got) == 2


def test_each_message_goes_at_most_twice_even_if_all_fail(served: Served, sending: Start) -> None:
    ours = served(Apprise())
    ours.is_partial = True
    one = sending(ours)
    one.accept(6)
    for _ in range(60):
        one.step(1000)
    assert {state for state, _ in one.states} == {"dead"}
    assert len(ours.got) == 12


def test_a_tag_is_optional_and_of_this_format_only() -> None:
    assert mistakes_of("apprise") == [] == mistakes_of("apprise", apprise_tag="devops admin")
    (found,) = mistakes_of("generic", apprise_tag="x")
    assert "team" in found and "apprise_tag requires format = apprise" in found
    assert settings_of("apprise", apprise_tag="x").endpoints[0].key("apprise_tag") == "x"
