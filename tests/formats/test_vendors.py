"""The contract between every format and its service: delivery, rate limits, refusals, wrong addresses, hostile data."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from sfwebhooks.events import WebhookEvent
from sfwebhooks.formats import FORMATS
from sfwebhooks.health import REFUSALS_MAX
from tests.builders import an_event
from tests.formats.cases import HOSTILE, UI, cve, hostile_deliveries
from tests.formats.conftest import Sending, Served, Start
from tests.receivers.vendor import Answer, Vendor
from tests.receivers.vendors import VENDORS

#: those that send a whole scan at once have a contract of their own, test_whole_scans.py
ONE_BY_ONE = [name for name, one in FORMATS.items() if not one.bundle]
EACH = pytest.mark.parametrize("name", ONE_BY_ONE)
#: formats whose services have a success that only its status shows
WITHOUT_WORDS = {
    "apprise": "any 200 is a success: its body depends on the version and on the log level",
    "teams": "the 202 of a workflow is empty",
    **dict.fromkeys(
        ("cef", "ecs", "generic", "leef", "ocsf", "security-audit", "siem", "template"),
        "of no vendor, so that nothing is known of an answer's body",
    ),
    "cloudevents": "the spec leaves the body of an answer to the receiver",
    "datadog": "the table of statuses decides, and any other 2xx is a success there",
    "gelf": "the 202 of an input is empty",
}


@pytest.fixture
def started(served: Served, sending: Start) -> Any:
    """Start the service of a format, and an endpoint that sends some events to it: `started("discord", 2)`."""

    def start(name: str, events: int = 1, **keys: Any) -> tuple[Vendor, Sending]:
        ours = served(VENDORS[name]())
        one = sending(ours, retry_schedule=(1.0,), ui_url=UI, **keys)
        one.accept(events)
        return ours, one

    return start


def numbers_in(message: Any) -> set[int]:
    """Return which events of `an_event` are in a message."""
    text = message if isinstance(message, str) else json.dumps(message)
    return {number for number in range(1, 20) if cve(number) in text}


def test_every_format_has_the_fake_of_its_service() -> None:
    assert VENDORS.keys() == FORMATS.keys()
    assert {name: make().format for name, make in VENDORS.items()} == {name: name for name in FORMATS}


@EACH
def test_events_are_delivered_each_once_and_to_people_in_their_order(name: str, started: Any) -> None:
    ours, one = started(name, 3)
    one.finish()
    assert one.numbers("delivered") == [1, 2, 3]
    arrived = [numbers_in(message) for message in ours.taken]
    assert (arrived if FORMATS[name].is_chat else sorted(arrived)) == [{1}, {2}, {3}]


@pytest.mark.parametrize("name", [name for name, one in FORMATS.items() if not (one.converse or one.bundle)])
def test_a_service_whose_rate_is_exceeded_gets_the_same_message_once_the_wait_is_over(name: str, started: Any) -> None:
    ours, one = started(name)
    ours.excess, wait = 1, ours.wait or 1.0
    assert one.step() and one.numbers("waiting") == [1] and one.condition != "held"
    assert not one.step(wait - 0.5)
    assert one.step(0.8) and one.numbers("delivered") == [1]
    first, second = ours.got
    assert (first.body, first.path) == (second.body, second.path)


@EACH
def test_a_wrong_address_or_credential_holds_the_endpoint_and_loses_nothing(name: str, started: Any) -> None:
    ours, one = started(name, 5)
    ours.is_revoked = True
    for _ in range(REFUSALS_MAX):
        one.step(1)
    assert (one.condition, one.numbers("waiting")) == ("held", [1, 2, 3, 4, 5])
    assert len(ours.got) <= REFUSALS_MAX, "not all of them, which would fare no better"
    ours.is_revoked = False
    one.finish()
    assert one.numbers("delivered") == [1, 2, 3, 4, 5]
    assert sorted(number for message in ours.taken for number in numbers_in(message)) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("name", [name for name in ONE_BY_ONE if VENDORS[name]().refuses])
def test_an_invalid_message_is_refused_until_it_is_dead_and_the_others_arrive(name: str, started: Any) -> None:
    ours, one = started(name, 3)
    ours.unwanted = {cve(1)}
    while one.step():
        pass
    for _ in range(3):
        one.step(5)
    assert 1 not in one.numbers("delivered") and {2, 3} <= {*one.numbers("delivered")}
    one.finish()
    assert (one.numbers("dead"), one.numbers("delivered"), one.condition) == ([1], [2, 3], "healthy")
    assert one.states[0][1].startswith("refused: ")


@pytest.mark.parametrize("name", [name for name, one in FORMATS.items() if one.join])
def test_of_a_batch_with_an_invalid_message_all_others_arrive(name: str, started: Any) -> None:
    ours, one = started(name, 8, batch_size=8)
    ours.unwanted = {cve(4)}
    one.finish()
    assert (one.numbers("dead"), one.numbers("delivered")) == ([4], [1, 2, 3, 5, 6, 7, 8])
    assert {number for message in ours.taken for number in numbers_in(message)} == {1, 2, 3, 5, 6, 7, 8}


@pytest.mark.parametrize("name", [name for name, one in FORMATS.items() if one.join])
def test_a_batch_is_one_request(name: str, started: Any) -> None:
    ours, one = started(name, 8, batch_size=8)
    assert one.step() and one.numbers("delivered") == [*range(1, 9)]
    assert (len(ours.got), sorted(map(min, map(numbers_in, ours.taken)))) == (1, [*range(1, 9)])


@pytest.mark.parametrize("name", [name for name in ONE_BY_ONE if name not in WITHOUT_WORDS])
def test_the_answer_of_something_else_is_not_taken_for_the_services(name: str, started: Any) -> None:
    ours, one = started(name)
    ours.instead = Answer(200, "<html>Sign in</html>")
    assert one.step()
    assert (one.numbers("waiting"), one.condition) == ([1], "held")


@EACH
def test_hostile_texts_are_accepted_and_do_no_harm(name: str, served: Served, sending: Start) -> None:
    ours = served(VENDORS[name]())
    one = sending(ours, retry_schedule=(1.0,), ui_url=UI, events=("*",))
    events = hostile_events()
    one.accept(events)
    one.finish()
    assert one.numbers("delivered") == [*range(1, len(events) + 1)]
    assert [ours.mischief_in(message) for message in ours.taken] == [""] * len(events)


def hostile_events() -> list[WebhookEvent]:
    """Return a finding with each hostile text, and an alert with each short one."""
    found: list[WebhookEvent] = []
    for text in HOSTILE.values():
        if len(text) < 10**6:
            finding, alert = (delivery.event for delivery in hostile_deliveries(text))
            found += [finding, alert] if len(text) < 1000 else [finding]
    return [replace(event, id=an_event(number).id) for number, event in enumerate(found)]
