"""Splunk's acknowledgement: an event is delivered once the indexers have it, and sent again if they never say so."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

import pytest

from sfwebhooks.attempts import Outcome, Reply
from sfwebhooks.config.settings import load_mapping
from sfwebhooks.delivery.send_queue import SendQueue
from sfwebhooks.events import Handle
from sfwebhooks.formats.splunk_hec import ACK_WAITS, follow, read
from sfwebhooks.inspection import testing
from sfwebhooks.outbox.selection import Selection
from tests.builders import a_batch, an_endpoint, an_event
from tests.conftest import Result, sql
from tests.formats.conftest import Sending, Served, Start
from tests.receivers.collectors import Splunk
from tests.receivers.vendor import Answer

ONE_STORE = "a format's messages are the same wherever deliveries are"

CHANNEL = "0aeeac95-ac74-4aa9-b30d-6c4c0ac581ba"
SIZE = 10
EACH = pytest.mark.parametrize("size", [1, SIZE])


@pytest.fixture
def splunk(served: Served) -> Splunk:
    found = served(Splunk())
    found.acknowledges = True
    return found


@pytest.fixture
def started(splunk: Splunk, sending: Start) -> Callable[..., Sending]:
    def start(size: int, **keys: Any) -> Sending:
        one = sending(splunk, batch_size=size, splunk_channel=CHANNEL, **keys)
        one.queue.hurry()
        one.accept(SIZE)
        return one

    return start


def send_all(one: Sending) -> None:
    while one.step():
        pass


def asked(splunk: Splunk) -> list[str]:
    """Return which requests for events, and for acknowledgements, there were."""
    return [one.path.rpartition("/")[2] for one in splunk.got]


def reasons(one: Sending) -> list[str]:
    return [reason for (reason,) in sql(one.outbox, "SELECT reason FROM delivery_attempt ORDER BY rowid")]


@EACH
def test_events_are_delivered_once_they_are_acknowledged(size: int, splunk: Splunk, started: Any) -> None:
    one = started(size)
    splunk.is_slow = True
    send_all(one)
    assert {*one.states} == {("waiting", "hec_pending")} and splunk.taken == []
    splunk.index()
    one.clock.now += ACK_WAITS[0]
    send_all(one)
    assert {*one.states} == {("delivered", "hec_acknowledged")}
    assert asked(splunk) == ["event"] * (SIZE // size) + ["ack"] * (SIZE // size)
    assert {request.headers["X-Splunk-Request-Channel"] for request in splunk.got} == {CHANNEL}
    assert len(splunk.taken) == SIZE
    assert sql(one.outbox, "SELECT count(*) FROM handle") == [(0,)]


@EACH
def test_the_waits_for_an_acknowledgement_grow_and_cost_no_retry(size: int, splunk: Splunk, started: Any) -> None:
    one = started(size, retry_schedule=(1.0,))
    splunk.is_slow = True
    send_all(one)
    for wait in ACK_WAITS[:-1]:
        assert not one.step(wait - 0.1)
        one.clock.now += 0.1
        send_all(one)
    assert {*one.states} == {("waiting", "hec_pending")} and one.condition == "healthy"
    splunk.index()
    one.clock.now += ACK_WAITS[-1]
    send_all(one)
    assert {*one.states} == {("delivered", "hec_acknowledged")} and len(splunk.taken) == SIZE


@EACH
def test_events_that_are_never_acknowledged_go_again(size: int, splunk: Splunk, started: Any) -> None:
    one = started(size)
    splunk.is_slow = True
    send_all(one)
    splunk.lose()
    splunk.is_slow = False
    for wait in ACK_WAITS:
        one.clock.now += wait
        send_all(one)
    assert "hec_not_acknowledged" in reasons(one)
    one.finish()
    assert {*one.states} == {("delivered", "hec_acknowledged")}
    assert sorted(one["event"]["sequence"] for one in splunk.taken) == [*range(1, SIZE + 1)]


def test_another_process_asks_for_the_acknowledgement_and_sends_nothing_again(
    splunk: Splunk, started: Any, new_queue: Callable[..., SendQueue]
) -> None:
    one = started(SIZE)
    send_all(one)
    endpoint = one.queue.states[0].endpoint
    one.queue.stop(0)
    other = new_queue(endpoint)
    one.clock.now += ACK_WAITS[0]
    assert other.step()
    assert {*one.states} == {("delivered", "hec_acknowledged")} and asked(splunk) == ["event", "ack"]


def test_a_question_that_fails_is_asked_again(splunk: Splunk, started: Any) -> None:
    one = started(SIZE)
    send_all(one)
    splunk.instead = Answer(503, "<html>")
    one.clock.now += ACK_WAITS[0]
    send_all(one)
    assert {*one.states} == {("waiting", "http_503")}
    splunk.instead = None
    one.finish()
    assert {*one.states} == {("delivered", "hec_acknowledged")}
    assert asked(splunk) == ["event", "ack", "ack"] and len(splunk.taken) == SIZE


def test_an_invalid_event_is_found_with_a_channel_too(splunk: Splunk, started: Any) -> None:
    splunk.unwanted = {"CVE-2026-0004"}
    one = started(SIZE)
    one.finish()
    assert (one.numbers("dead"), len(one.numbers("delivered"))) == ([4], SIZE - 1)
    assert {reason for state, reason in one.states if state == "delivered"} == {"hec_acknowledged"}


def test_a_token_without_acknowledgement_takes_a_channel(splunk: Splunk, started: Any) -> None:
    splunk.acknowledges = False
    one = started(SIZE)
    send_all(one)
    assert {*one.states} == {("delivered", "http_200")} and asked(splunk) == ["event"]


def test_a_token_with_acknowledgement_and_no_channel_is_held(splunk: Splunk, sending: Start) -> None:
    one = sending(splunk)
    one.accept()
    assert one.step()
    assert (one.condition, one.health_reason) == ("held", "hec_channel_missing")


def test_acknowledgement_that_is_switched_off_meanwhile_holds_the_endpoint(splunk: Splunk, started: Any) -> None:
    one = started(SIZE)
    send_all(one)
    splunk.acknowledges = False
    one.clock.now += ACK_WAITS[0]
    send_all(one)
    assert (one.condition, one.health_reason) == ("held", "hec_ack_disabled")
    splunk.acknowledges = True
    one.finish()
    assert {*one.states} == {("delivered", "hec_acknowledged")}


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/services/collector/event", "/services/collector/ack"),
        ("/services/collector", "/services/collector/ack"),
        ("/services/collector/event/1.0", "/services/collector/ack"),
        ("/proxy/services/collector/event?token=x", "/proxy/services/collector/ack?token=x"),
        ("/hec", "ack"),
    ],
)
def test_the_question_goes_to_the_same_collector(path: str, target: str) -> None:
    content = follow(a_batch(), an_endpoint(url=f"https://splunk.acme.example:8088{path}"), "17/0")
    assert (content.path, content.body) == (target, b'{"acks":[17]}')


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (b'{"acks":{"17":true}}', Outcome.DELIVERED),
        (b'{"acks":{"17":false}}', Outcome.PENDING),
        (b'{"acks":{"17":1}}', Outcome.PENDING),
        (b'{"acks":{"18":true}}', Outcome.PENDING),
        (b'{"acks":{}}', Outcome.PENDING),
        (b'{"acks":[]}', Outcome.HOLD),
        (b'{"acks":' + b"[" * 60_000, Outcome.HOLD),
        (b"", Outcome.HOLD),
    ],
)
def test_only_a_clear_yes_is_an_acknowledgement(body: bytes, outcome: Outcome) -> None:
    verdict = read(Reply(200, body=body), a_batch(handle=Handle("x", "17/0")))
    assert verdict and not isinstance(verdict, (list, tuple)) and verdict.outcome is outcome  # type: ignore[union-attr]


@pytest.mark.parametrize("number", ["true", '"17"', "1.5", "null", "[1]"])
def test_what_is_no_id_is_not_asked_for(number: str) -> None:
    verdict = read(Reply(200, body=f'{{"text":"Success","code":0,"ackId":{number}}}'.encode()), a_batch())
    assert verdict and verdict.outcome is Outcome.DELIVERED  # type: ignore[union-attr]


def test_a_channel_is_a_uuid() -> None:
    def mistakes(channel: str) -> str:
        keys = {"url": "https://splunk.acme.example/services/collector/event", "format": "splunk_hec"}
        return str(load_mapping({"team": {**keys, "api_key": "k" * 36, "splunk_channel": channel}}).mistakes)

    assert mistakes(CHANNEL) == "()"
    assert "splunk_channel" in mistakes("spiderfoot") and "expected a UUID" in mistakes("spiderfoot")


@EACH
@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, {"text": "Success", "code": 0}),
        Answer(200, {"text": "Success", "code": 0, "ackId": 5}),
        Answer(200, {"code": ["0"]}),
        Answer(301),
        Answer(400, {"text": "Invalid data format", "code": 6, "invalid-event-number": 1}),
        Answer(404, {"text": "The requested URL was not found on this server.", "code": 404}),
        Answer(405, "<html>"),
        Answer(410),
        Answer(413),
    ],
)
def test_a_reply_that_does_not_answer_the_question_holds_the_endpoint_and_not_the_events(
    size: int, answer: Answer, splunk: Splunk, started: Any
) -> None:
    one = started(size)
    send_all(one)
    splunk.instead = answer
    for _ in range(20):
        one.step(3600)
    assert (one.condition, one.health_reason) == ("held", "hec_ack_unavailable")
    assert {state for state, _ in one.states} == {"waiting"}
    splunk.instead = None
    one.finish()
    assert {*one.states} == {("delivered", "hec_acknowledged")}
    assert asked(splunk).count("event") == SIZE // size and len(splunk.taken) == SIZE


@EACH
def test_a_replay_is_sent_and_not_asked_for_by_the_id_that_it_had(size: int, splunk: Splunk, started: Any) -> None:
    one = started(size)
    splunk.is_slow = True
    send_all(one)
    one.outbox.retention.end(Selection(), one.clock.now)
    splunk.index()
    one.outbox.retention.replay(Selection(), one.clock.now)
    splunk.instead, splunk.is_slow = Answer(503), False
    one.step(1)
    splunk.instead = None
    one.finish()
    assert {*one.states} == {("delivered", "hec_acknowledged")} and len(splunk.taken) == 2 * SIZE


def test_what_is_left_of_a_pending_request_is_asked_for(splunk: Splunk, started: Any) -> None:
    one = started(SIZE)
    send_all(one)
    (first, *_) = one.outbox.listing.ids(Selection(), SIZE)
    one.outbox.retention.end(Selection(ids=(first,)), one.clock.now)
    one.outbox.retention.replay(Selection(ids=(first,)), one.clock.now)
    one.finish()
    assert {*one.states} == {("delivered", "hec_acknowledged")} and len(splunk.taken) == SIZE + 1


def test_a_scans_end_does_not_wait_for_acknowledgements(splunk: Splunk, started: Any) -> None:
    one = started(SIZE)
    splunk.is_slow = True
    send_all(one)
    end = an_event(99, type="scan_completed")
    one.accept([end])
    assert one.step()
    assert len(splunk.pipeline) == 2 and splunk.pipeline[1][2][0]["event"]["event_type"] == "scan_completed"


# --- sfwebhooks test


@pytest.mark.parametrize(
    ("is_slow", "said"), [(False, "delivered, hec_acknowledged"), (True, "accepted, not confirmed")]
)
def test_a_test_waits_a_while_for_the_acknowledgement(
    is_slow: bool,
    said: str,
    splunk: Splunk,
    cli: Callable[..., Result],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(testing, "PENDING_SECONDS", 3.0 * (not is_slow))
    splunk.is_slow = is_slow
    settings = tmp_path / "webhooks.ini"
    settings.touch(0o600)
    keys = {"url": splunk.url, "format": "splunk_hec", "api_key": splunk.token, "splunk_channel": CHANNEL}
    settings.write_text("[webhooks.splunk]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items()))
    done = cli("test", "splunk")
    assert (done.code, said in done.words) == (0, True), done.out
    assert ("confirm the receiver is asked whether it has the message for good" in done.words) is not is_slow


@pytest.mark.parametrize("path", ["", "/", "/services/collector/raw"])
def test_an_address_that_takes_no_events_is_a_mistake(path: str) -> None:
    keys = {"url": f"https://splunk.acme.example:8088{path}", "format": "splunk_hec", "api_key": "k" * 36}
    (found,) = load_mapping({"team": keys}).mistakes
    assert "url must end in /services/collector/event" in str(found)
