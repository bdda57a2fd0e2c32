from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, Callable

import pytest

from sfwebhooks.attempts import Attempt, Reply
from sfwebhooks.endpoints import Endpoint, Secret
from sfwebhooks.errors import OutboxError
from sfwebhooks.events import Batch
from sfwebhooks.formats import FORMATS
from sfwebhooks.health import FAILURES_MAX, Condition, Health
from sfwebhooks.outbox.claim import Limits
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.own_secrets import Mask
from sfwebhooks.pipeline import EXCERPT, EXCERPT_LEAST, accept, deliver, excerpt
from sfwebhooks.reasons import Failure
from sfwebhooks.retry import State
from sfwebhooks.screening import Screen, Wanted
from sfwebhooks.sending import SendingState
from sfwebhooks.severity import Severity
from tests.builders import NOW, URL, a_delivery, a_scan, an_endpoint, an_event, claim_one
from tests.conftest import Clock, Team
from tests.stores import BOTH

STORES = BOTH


def state_of(endpoint: Endpoint, **health: Any) -> SendingState:
    return SendingState(endpoint, Health(**health))


# --- accept


def test_an_event_goes_to_each_endpoint_that_wants_it() -> None:
    endpoints = (
        an_endpoint("all", events=("all",)),
        an_endpoint("scans", events=("scan_*",)),
        an_endpoint("high", events=("finding.high",)),
    )
    assert Screen(endpoints).of(an_event())[0] == [Wanted("all", "high_risk_event"), Wanted("high", "finding.high")]


def test_accepting_counts_the_new_deliveries(outbox: Outbox) -> None:
    endpoints = (an_endpoint("one"), an_endpoint("two"))
    assert accept([an_event(1), an_event(2)], Screen(endpoints), outbox, NOW) == 4


def test_accepting_again_is_harmless(outbox: Outbox) -> None:
    events, endpoints = [an_event(1), an_event(2)], (an_endpoint("one"), an_endpoint("two"))
    accept(events, Screen(endpoints), outbox, NOW)
    assert (accept(events, Screen(endpoints), outbox, NOW), outbox.scans.tallies()["waiting"]) == (0, 4)


def test_an_event_that_nobody_wants_is_not_accepted(outbox: Outbox) -> None:
    quiet = an_event(type="info_event", severity=Severity.INFO)
    assert accept([quiet], Screen((an_endpoint(),)), outbox, NOW) == 0


@pytest.mark.sqlite("no outbox is created")
def test_an_event_that_nobody_wants_does_not_touch_the_outbox(outbox: Outbox) -> None:
    accept([an_event(type="info_event", severity=Severity.INFO)], Screen((an_endpoint(),)), outbox, NOW)
    assert not outbox.path.exists()


@pytest.mark.sqlite("the file is damaged")
def test_nothing_is_accepted_where_the_outbox_cannot_be_used(outbox: Outbox) -> None:
    outbox.path.mkdir()
    with pytest.raises(OutboxError):
        accept([an_event()], Screen((an_endpoint(),)), outbox, NOW)


def test_numbers_have_no_gaps_whatever_is_withheld_or_repeated(outbox: Outbox) -> None:
    high, every = an_endpoint("high"), an_endpoint("every", events=("all",))
    for number in range(30):
        severity = Severity.HIGH if number % 3 else Severity.INFO
        kind = "high_risk_event" if number % 3 else "info_event"
        event = an_event(number, severity=severity, type=kind, scan=a_scan("AB"[number % 2]))
        accept([event, event], Screen((high, every)), outbox, NOW)
        accept([event], Screen((every, high)), outbox, NOW)
    numbers: dict[tuple[str, str], list[int]] = {}
    for endpoint in ("high", "every"):
        busy: list[str] = []
        while batch := claim_one(outbox, Limits(endpoint), busy, NOW):
            (delivery,) = batch.deliveries
            busy.append(delivery.id)
            scan = "AB"[int(str(delivery.event.data["data"])[-4:]) % 2]
            numbers.setdefault((endpoint, scan), []).append(delivery.sequence)
    assert numbers == {
        ("high", "A"): list(range(1, 11)),
        ("high", "B"): list(range(1, 11)),
        ("every", "A"): list(range(1, 16)),
        ("every", "B"): list(range(1, 16)),
    }


# --- deliver


@pytest.fixture
def attempt(receive: Callable[..., Team], clock: Clock) -> Callable[..., Any]:
    """Make one attempt at a receiver that answers so: `attempt(status, health...)`."""

    def make(status: int, attempts: int = 0, **health: Any) -> Any:
        team = receive()
        team.answer = status
        state = state_of(an_endpoint(url=team.url, retry_schedule=(5.0,)), **health)
        result, _ = deliver(Batch((a_delivery(attempts=attempts),)), state, clock)
        state.sender.close()
        return result.attempt, result.settlements[0]

    return make


def test_what_is_sent_is_verified_by_the_receiver(receive: Callable[..., Team]) -> None:
    team = receive(["a secret"])
    state = state_of(an_endpoint(url=team.url, secrets=["a secret"]))
    deliver(Batch((a_delivery(),)), state, time.time)  # the receiver's clock is the real one
    state.sender.close()
    assert [received.problems for received in team.got] == [()]


def test_a_success_settles_the_delivery(attempt: Callable[..., Any]) -> None:
    made, settlement = attempt(200)
    assert (settlement.state, made.status, made.reason) == (State.DELIVERED, 200, "http_200")


def test_a_failure_plans_the_retry(attempt: Callable[..., Any]) -> None:
    _, settlement = attempt(503)
    assert (settlement.state, settlement.counts, settlement.due_at >= NOW + 5) == (State.WAITING, True, True)


def test_the_last_failure_makes_a_dead_letter(attempt: Callable[..., Any]) -> None:
    _, settlement = attempt(503, attempts=1)
    assert settlement.state is State.DEAD


def test_the_failure_that_makes_the_endpoint_failing_uses_up_no_retry(attempt: Callable[..., Any]) -> None:
    _, settlement = attempt(503, attempts=1, failures=FAILURES_MAX - 1)
    assert (settlement.state, settlement.counts) == (State.WAITING, False)


def test_an_attempt_at_a_healthy_endpoint_is_not_a_probe_even_if_it_is_the_last(attempt: Callable[..., Any]) -> None:
    made, _ = attempt(401)
    assert made.trigger == "schedule"


def test_an_attempt_at_a_held_endpoint_is_a_probe_even_if_it_succeeds(attempt: Callable[..., Any]) -> None:
    made, _ = attempt(200, condition=Condition.HELD)
    assert made.trigger == "probe"


def test_an_attempt_is_noted_at_its_begin(attempt: Callable[..., Any]) -> None:
    made, _ = attempt(200)
    assert (made.at, made.seconds) == (NOW, 0.0)


def delivered(batch: Batch, team: Team, clock: Callable[[], float], **more: Any) -> Attempt:
    """Return the attempt at a receiver."""
    state = state_of(an_endpoint(url=team.url, **more.pop("endpoint", {})))
    result, _ = deliver(batch, state, clock, **more)
    state.sender.close()
    return result.attempt


@pytest.mark.parametrize(("replayed", "trigger"), [((0, 0), "schedule"), ((0, 1), "replay"), ((1, 1), "replay")])
def test_an_attempt_with_a_replayed_delivery_is_a_replay(
    replayed: tuple[int, ...], trigger: str, team: Team, clock: Clock
) -> None:
    deliveries = (a_delivery(an_event(number), replayed=bool(one)) for number, one in enumerate(replayed))
    assert delivered(Batch(tuple(deliveries)), team, clock).trigger == trigger


@pytest.mark.parametrize(("times", "seconds"), [((NOW, NOW + 2.5), 2.5), ((NOW, NOW - 60), 0.0)])
def test_an_attempt_takes_no_negative_time_if_the_clock_is_set_back(
    times: tuple[float, float], seconds: float, team: Team
) -> None:
    assert delivered(Batch((a_delivery(),)), team, iter(times).__next__).seconds == seconds


def test_a_message_is_rendered_while_what_guards_the_rendering_is_entered_and_sent_after_it(
    team: Team, clock: Clock
) -> None:
    order: list[str] = []

    @contextmanager
    def rendering() -> Iterator[None]:
        order.append("begin")
        yield
        order.append("end")

    def answer(received: object) -> int:
        order.append("sent")
        return 200

    team.answer = answer
    delivered(Batch((a_delivery(),)), team, clock, rendering=rendering)
    assert order == ["begin", "end", "sent"]


@pytest.mark.parametrize(
    ("made_for", "body", "reason"),
    [("slack", b"ok", "http_200"), ("slack", b"a login page", "http_200_but_not_ok"), ("generic", b"any", "http_200")],
)
def test_a_reply_is_judged_by_its_status_unless_the_format_knows_better(
    made_for: str, body: bytes, reason: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = state_of(an_endpoint(format=made_for))
    monkeypatch.setattr(state, "sender", SimpleNamespace(send=lambda request: Reply(status=200, body=body)))
    result, _ = deliver(Batch((a_delivery(),)), state, clock)
    assert (result.attempt.reason, result.attempt.excerpt) == (reason, body.decode())


@pytest.mark.parametrize("count", [1, 4, 100])
def test_the_reply_to_a_large_batch_is_cut_for_each_delivery_and_never_to_nothing(
    count: int, team: Team, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    reply = Reply(status=200, body=b"x" * 5000)
    state = state_of(an_endpoint(url=team.url))
    monkeypatch.setattr(state, "sender", SimpleNamespace(send=lambda request: reply))
    batch = Batch(tuple(a_delivery(an_event(number)) for number in range(count)))
    result, _ = deliver(batch, state, clock)
    assert len(result.attempt.excerpt) == {1: EXCERPT, 4: EXCERPT // 4, 100: EXCERPT_LEAST}[count]


def test_an_attempt_without_a_reply_has_the_failure_in_words(clock: Clock) -> None:
    state = state_of(an_endpoint(url="http://127.0.0.1:9/"))
    result, _ = deliver(Batch((a_delivery(),)), state, clock)
    assert (result.attempt.status, "refused" in result.attempt.excerpt) == (None, True)


@pytest.mark.parametrize(("status", "state"), [(200, State.DELIVERED), (503, State.WAITING)])
def test_a_reply_that_a_format_cannot_read_is_judged_by_its_status(
    status: int,
    state: State,
    team: Team,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def read(reply: Reply, batch: Batch) -> None:
        raise KeyError(reply.status)

    monkeypatch.setitem(FORMATS, "odd", replace(FORMATS["generic"], read=read))
    team.answer = status
    result, _ = deliver(Batch((a_delivery(),)), state_of(an_endpoint(url=team.url, format="odd")), clock)
    assert (result.settlements[0].state, result.attempt.reason) == (state, f"http_{status}")
    assert "format odd cannot read a reply; its status decides" in caplog.text


# --- the excerpt

#: as `excerpt` must give it: every secret of SECRETIVE in a text of the receiver
SECRETIVE: Mapping[str, Any] = {
    "secrets": ["signing-secret"],
    "api_key": Secret("key-of-the-api"),
    "client_key_password": Secret("password-of-the-key"),
    "headers": {"Authorization": Secret("Basic dXNlcjpwYXNzd29yZA==")},
}


@pytest.mark.parametrize(
    "secret",
    [
        "signing-secret",
        "key-of-the-api",
        "password-of-the-key",
        "Basic dXNlcjpwYXNzd29yZA==",
        "dXNlcjpwYXNzd29yZA==",
        URL,
        "/services/T000/B000/url-path-token",
        "url-path-token",
    ],
)
def test_an_excerpt_masks_the_secrets_of_its_endpoint(secret: str) -> None:
    reply = Reply(status=404, body=f"no route to <{secret}>, sorry".encode())
    assert excerpt(reply, Mask.of(an_endpoint(**SECRETIVE))) == "no route to <***>, sorry"


def test_an_excerpt_masks_a_token_in_the_query_of_the_url() -> None:
    endpoint = an_endpoint(url="https://hooks.example.test?v=1&sig=abcdefghijklmnop")
    assert excerpt(Reply(status=403, body=b"abcdefghijklmnop is wrong"), Mask.of(endpoint)) == "*** is wrong"


def test_an_excerpt_leaves_short_words_of_the_url_alone() -> None:
    endpoint = an_endpoint(url="https://hooks.example.test/v1/events")
    assert excerpt(Reply(status=404, body=b"v1 has no events"), Mask.of(endpoint)) == "v1 has no events"


def test_an_excerpt_masks_a_secret_that_begins_like_another_one() -> None:
    endpoint = an_endpoint(secrets=["secret", "secret-2"])
    assert excerpt(Reply(status=400, body=b"secret-2 secret"), Mask.of(endpoint)) == "*** ***"


def test_an_empty_password_masks_nothing() -> None:
    endpoint = an_endpoint(client_key_password=Secret(""))
    assert excerpt(Reply(status=400, body=b"wrong"), Mask.of(endpoint)) == "wrong"


def test_an_excerpt_masks_before_it_cuts() -> None:
    body = b"x" * (EXCERPT - 4) + b"signing-secret"
    assert excerpt(Reply(status=400, body=body), Mask.of(an_endpoint(**SECRETIVE))).endswith("x***")


def test_no_part_of_a_secret_gets_into_a_long_excerpt_that_masking_made_shorter() -> None:
    reply = Reply(status=400, body=(URL * 1000).encode()[:-7])
    assert "url-path" not in excerpt(reply, Mask.of(an_endpoint()))


def test_an_excerpt_is_cut() -> None:
    assert len(excerpt(Reply(status=400, body=b"x" * 60_000), Mask.of(an_endpoint()))) == EXCERPT


def test_an_excerpt_is_one_line_of_printable_characters() -> None:
    reply = Reply(status=400, body=b"one\r\n\x1b[31mtwo\x00\xff")
    assert (
        excerpt(reply, Mask.of(an_endpoint()))
        == "one \N{REPLACEMENT CHARACTER}[31mtwo" + "\N{REPLACEMENT CHARACTER}" * 2
    )


def test_an_excerpt_of_a_failure_is_its_detail() -> None:
    assert excerpt(Reply(failure=Failure.DNS, detail="no such host"), Mask.of(an_endpoint())) == "no such host"
