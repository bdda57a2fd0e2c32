"""Splunk's HTTP Event Collector: what is sent, how each code is judged, and both together."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from sfwebhooks.attempts import Outcome, Reply, Verdict
from sfwebhooks.config.settings import load_mapping
from sfwebhooks.endpoints import Endpoint, Secret
from sfwebhooks.events import Batch
from sfwebhooks.formats import render
from sfwebhooks.formats.siem import siem_event
from sfwebhooks.formats.splunk_hec import read
from sfwebhooks.reasons import Failure
from sfwebhooks.signing import sign
from tests.builders import NOW, a_batch, a_delivery, an_endpoint, an_event
from tests.conftest import sql
from tests.formats.bodies import values
from tests.formats.cases import cve
from tests.formats.conftest import Sending, Served, Start
from tests.receivers.collectors import Splunk, concatenated
from tests.receivers.vendor import Answer

SIZE = 100
TOKEN = Splunk.token


@pytest.fixture
def splunk(served: Served) -> Splunk:
    return served(Splunk())


@pytest.fixture
def one(splunk: Splunk, sending: Start) -> Sending:
    """An endpoint with a batch that is due."""
    found = sending(splunk, batch_size=SIZE, batch_max_bytes=10**6)
    found.accept(SIZE)
    return found


def requests(splunk: Splunk) -> list[list[int]]:
    """Return the numbers of the events in each request."""
    return [[envelope["event"]["sequence"] for envelope in concatenated(asked.text)] for asked in splunk.got]


def indexed(splunk: Splunk) -> list[str]:
    """Return the ids of the deliveries that were indexed, in their order, repetitions included."""
    return [envelope["event"]["delivery_id"] for envelope in splunk.taken]


def ids(numbers: Iterator[int] | range, wrong: set[int]) -> set[str]:
    return {a_delivery(an_event(number)).id for number in numbers if number not in wrong}


# --- against a receiver that behaves as HEC


def test_a_batch_that_failed_before_gives_up_an_invalid_event_too(splunk: Splunk, one: Sending) -> None:
    splunk.instead, splunk.unwanted = Answer(503), {cve(40)}
    assert one.step()
    splunk.instead = None
    one.step(100)
    one.step()
    assert (one.numbers("waiting"), len(splunk.got)) == ([40], 3), "the others go without it"
    one.finish()
    assert (one.numbers("dead"), len(one.numbers("delivered"))) == ([40], SIZE - 1)
    assert len(splunk.got) < 10


def test_a_batch_is_indexed_once(splunk: Splunk, one: Sending) -> None:
    assert one.step()
    assert (len(splunk.got), one.numbers("delivered")) == (1, [*range(1, SIZE + 1)])
    assert {*indexed(splunk)} == ids(range(1, SIZE + 1), set()) and len(splunk.taken) == SIZE


@pytest.mark.parametrize("wrong", [{40}, {1}, {SIZE}, {3, 4, 90}])
@pytest.mark.parametrize("keeps_first", [True, False])
def test_of_a_batch_with_invalid_events_all_others_arrive_and_those_are_dead(
    splunk: Splunk, one: Sending, wrong: set[int], keeps_first: bool
) -> None:
    splunk.unwanted, splunk.keeps_first = {*map(cve, wrong)}, keeps_first
    one.queue.hurry()
    while one.step():
        pass
    assert one.numbers("waiting") == sorted(wrong), "the others went again at once"
    one.finish()
    assert (one.numbers("dead"), len(one.numbers("delivered"))) == (sorted(wrong), SIZE - len(wrong))
    assert {reason for state, reason in one.states if state == "dead"} == {"refused: hec_indexed_fields"}
    assert {*indexed(splunk)} == ids(range(1, SIZE + 1), wrong), "nothing is lost, nothing under another id"


def test_the_position_of_an_invalid_event_saves_the_search_for_it(splunk: Splunk, one: Sending) -> None:
    splunk.unwanted = {cve(40)}
    one.queue.hurry()
    while one.step():
        pass
    assert requests(splunk) == [[*range(1, SIZE + 1)], [number for number in range(1, SIZE + 1) if number != 40]]
    assert sql(one.outbox, "SELECT DISTINCT attempts FROM delivery WHERE state = 'delivered'") == [(1,)]


def test_a_receiver_that_refuses_every_event_is_held_after_a_few_requests(splunk: Splunk, one: Sending) -> None:
    splunk.unwanted = {"CVE-"}
    while one.step():
        pass
    assert (one.condition, one.numbers("dead")) == ("held", [])
    assert len(splunk.got) < 12


def test_an_unknown_token_holds_the_endpoint_at_once(splunk: Splunk, one: Sending) -> None:
    splunk.is_revoked = True
    assert one.step() and not one.step()
    assert (one.condition, one.health_reason) == ("held", "hec_token_invalid")
    splunk.is_revoked = False
    assert one.step(60)
    one.finish()
    assert len(one.numbers("delivered")) == SIZE


def test_a_busy_receiver_gets_the_same_batch_later(splunk: Splunk, one: Sending) -> None:
    splunk.excess = 1
    assert one.step() and one.step(10)
    first, second = requests(splunk)
    assert first == second and len(one.numbers("delivered")) == SIZE


# --- what is sent


def envelope(endpoint: Endpoint | None = None, **event: Any) -> dict[str, Any]:
    content = render(Batch((a_delivery(an_event(**event)),)), endpoint or an_endpoint(format="splunk_hec"))
    (found,) = values(content)
    assert isinstance(found, dict)
    return found


def test_an_event_is_that_of_siem_in_an_envelope() -> None:
    delivery = a_delivery()
    found = envelope()
    assert found == {
        "time": NOW,
        "source": "spiderfoot",
        "sourcetype": "spiderfoot:event",
        "event": json.loads(json.dumps(siem_event(delivery, an_endpoint()))),
        "fields": {
            "event_type": "high_risk_event",
            "severity": "high",
            "event_id": delivery.event.id,
            "scan_id": "5C4A0001",
        },
    }


def test_indexed_fields_are_flat_texts() -> None:
    assert all(isinstance(value, str) for value in envelope(scan=None)["fields"].values())
    assert "scan_id" not in envelope(scan=None)["fields"]


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (NOW, "1795255200"),
        (NOW + 0.25, "1795255200.25"),
        (NOW + 0.0004, "1795255200"),
        (NOW + 0.9996, "1795255201"),
        (1e300, "253402300799"),
        (0.00001, "0"),
        (0.001, "0.001"),
    ],
)
def test_the_time_is_in_seconds_without_an_exponent(at: float, text: str) -> None:
    body = render(Batch((a_delivery(an_event(at=at)),)), an_endpoint(format="splunk_hec")).body.decode()
    assert body.startswith(f'{{"time":{text},')


def test_index_source_type_and_source_come_from_the_settings() -> None:
    section = {
        "url": "https://splunk.example:8088/services/collector/event",
        "format": "splunk_hec",
        "api_key": TOKEN,
        "splunk_index": "osint",
        "splunk_sourcetype": "_json",
        "splunk_source": 'a"b',
    }
    found = load_mapping({"splunk": section})
    assert found.mistakes == ()
    made = envelope(found.endpoints[0])
    assert (made["index"], made["sourcetype"], made["source"]) == ("osint", "_json", 'a"b')


def test_several_events_follow_each_other_and_are_no_array() -> None:
    deliveries = tuple(a_delivery(an_event(number)) for number in (1, 2))
    content = render(Batch(deliveries), an_endpoint(format="splunk_hec", batch_size=2))
    assert [one["event"]["delivery_id"] for one in values(content)] == [one.id for one in deliveries]
    assert content.body.startswith(b'{"time"') and content.body.count(b"}\n{") == 1


def test_the_token_goes_out_in_splunks_scheme() -> None:
    endpoint = an_endpoint(format="splunk_hec", api_key=Secret(TOKEN))
    request = sign(render(a_batch(), endpoint), a_batch(), endpoint, NOW)
    assert request.headers["Authorization"] == f"Splunk {TOKEN}"
    assert TOKEN.encode() not in request.body


# --- how answers are judged


def reply(status: int, **answer: Any) -> Reply:
    return Reply(status, body=json.dumps(answer).encode())


@pytest.mark.parametrize(
    ("status", "code", "verdict"),
    [
        (200, 0, Verdict(Outcome.DELIVERED, "http_200")),
        (403, 1, Verdict(Outcome.HOLD, "hec_token_disabled")),
        (401, 2, Verdict(Outcome.HOLD, "hec_token_missing")),
        (401, 3, Verdict(Outcome.HOLD, "hec_authorization_invalid")),
        (403, 4, Verdict(Outcome.HOLD, "hec_token_invalid")),
        (400, 5, None),
        (400, 6, Verdict(Outcome.REFUSED, "hec_invalid_data")),
        (400, 7, Verdict(Outcome.HOLD, "hec_index_incorrect")),
        (500, 8, None),
        (503, 9, None),
        (400, 10, Verdict(Outcome.HOLD, "hec_channel_missing")),
        (400, 11, Verdict(Outcome.HOLD, "hec_channel_invalid")),
        (400, 12, Verdict(Outcome.REFUSED, "hec_event_missing")),
        (400, 13, Verdict(Outcome.REFUSED, "hec_event_blank")),
        (400, 14, Verdict(Outcome.HOLD, "hec_ack_disabled")),
        (400, 15, Verdict(Outcome.REFUSED, "hec_indexed_fields")),
        (400, 16, Verdict(Outcome.HOLD, "hec_query_token_disabled")),
        # a proxy has changed the status
        (200, 4, Verdict(Outcome.HOLD, "hec_token_invalid")),
        (200, 8, Verdict(Outcome.RETRY, "hec_internal_error")),
        (200, 9, Verdict(Outcome.RETRY, "hec_busy")),
        (200, 6, Verdict(Outcome.REFUSED, "hec_invalid_data")),
        (502, 0, None),
        # the health page
        (200, 17, Verdict(Outcome.HOLD, "hec_17")),
        (503, 99, None),
    ],
)
def test_each_code_has_its_verdict(status: int, code: int, verdict: Verdict | None) -> None:
    """None: the table of statuses decides."""
    assert read(reply(status, text="some text", code=code), a_batch()) == verdict


@pytest.mark.parametrize("body", [b"", b"ok", b"[]", b"null", b'{"code":"0"}', b'{"code":false}', b"[" * 100_000])
def test_a_success_that_is_not_of_hec_holds_the_endpoint(body: bytes) -> None:
    assert read(Reply(200, body=body), a_batch()) == Verdict(Outcome.HOLD, "http_200_but_not_hec")
    assert read(Reply(404, body=body), a_batch()) is None


@pytest.mark.parametrize("number", [0, -1, 3, 99, "1", None, 1.0, [1]])
def test_a_position_that_helps_nothing_splits_the_request(number: Any) -> None:
    batch = Batch(tuple(a_delivery(an_event(number)) for number in range(3)))
    found = read(reply(400, code=6, **{"invalid-event-number": number}), batch)
    assert found == Verdict(Outcome.REFUSED, "hec_invalid_data")


def test_a_position_is_a_verdict_on_that_event_and_the_others_go_again() -> None:
    batch = Batch(tuple(a_delivery(an_event(number)) for number in range(3)))
    found = read(reply(400, code=6, **{"invalid-event-number": 1}), batch)
    assert isinstance(found, list)
    assert [one.outcome for one in found] == [Outcome.SKIPPED, Outcome.REFUSED, Outcome.SKIPPED]


def test_a_failure_is_left_to_the_table() -> None:
    assert [read(Reply(failure=failure), a_batch()) for failure in Failure] == [None] * len(Failure)
