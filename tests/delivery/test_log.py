from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from sfwebhooks.attempts import Attempt
from sfwebhooks.delivery.log import log_attempt
from sfwebhooks.delivery.send_queue import SendQueue
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Batch
from sfwebhooks.health import Change, Condition, Health
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.results import Result
from sfwebhooks.reasons import Failure
from sfwebhooks.retry import Settlement, State
from sfwebhooks.sending import SendingState
from tests.builders import NOW, a_delivery, an_event
from tests.conftest import Clock, Team, fail, hold, put

STORES = ("sqlite", "postgres")

KEYS = ["endpoint", "delivery", "attempt", "status", "seconds", "verdict", "next"]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, "spiderfoot.webhooks")
    return caplog


def outcomes(lines: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [vars(line)["attempt"] for line in lines.records if "attempt" in vars(line)]


def levels(lines: pytest.LogCaptureFixture) -> list[str]:
    return [line.levelname for line in lines.records if "attempt" in vars(line)]


@pytest.mark.parametrize(
    ("status", "verdict"), [(200, "delivered"), (503, "retry"), (400, "retry"), (401, "retry"), (410, "retry")]
)
def test_each_attempt_has_a_line_with_the_same_keys(
    outbox: Outbox,
    queue: SendQueue,
    endpoint: Endpoint,
    team: Team,
    lines: pytest.LogCaptureFixture,
    status: int,
    verdict: str,
) -> None:
    put(outbox, endpoint)
    fail(queue, team, status)
    (outcome,) = outcomes(lines)
    assert (list(outcome), outcome["status"], outcome["verdict"]) == (KEYS, status, verdict)
    assert all(f"{key}={value}" in lines.messages[-1] for key, value in outcome.items())


def test_a_line_names_the_delivery_the_attempt_and_the_next_one(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock, lines: pytest.LogCaptureFixture
) -> None:
    put(outbox, endpoint)
    fail(queue, team, 503)
    clock.now += 60
    fail(queue, team, 503)
    first, second = outcomes(lines)
    assert [first["delivery"], second["delivery"]] == team.ids
    assert [first["attempt"], second["attempt"]] == [1, 2]
    assert first["next"] < second["next"]


def test_a_success_is_logged_at_debug_and_a_recovery_at_info(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock, lines: pytest.LogCaptureFixture
) -> None:
    put(outbox, endpoint, events=6)
    assert queue.step()
    hold(queue, team, clock)
    team.answer = 200
    clock.now += 3600
    assert queue.step()
    assert (levels(lines)[0], levels(lines)[-1]) == ("DEBUG", "INFO")
    assert "works again" in lines.messages[-1]


def test_a_failure_is_logged_at_debug_until_its_reason_changes(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, lines: pytest.LogCaptureFixture
) -> None:
    put(outbox, endpoint, events=4)
    fail(queue, team, 503, times=2)
    fail(queue, team, 500, times=2)
    assert levels(lines) == ["WARNING", "DEBUG", "WARNING", "DEBUG"]


def test_a_dead_letter_is_logged_as_dead(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock, lines: pytest.LogCaptureFixture
) -> None:
    put(outbox, endpoint)
    fail(queue, team, 503)
    for number in range(2, 4):  # the endpoint accepts others, so that the message itself is at fault
        put(outbox, endpoint, start=number)
        team.answer = 200
        assert queue.step()
        clock.now += 3600
        fail(queue, team, 503)
    assert outcomes(lines)[-1]["verdict"] == "dead"
    assert (levels(lines)[-1], outcomes(lines)[-1]["next"]) == ("WARNING", "-")


def test_nothing_is_formatted_for_a_level_that_is_off(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "spiderfoot.webhooks")
    put(outbox, endpoint)
    assert queue.step()
    assert outcomes(caplog) == []


# --- by the outcome alone

WELL = Health()
ILL = Health(Condition.FAILING, "http_503")
HELD = Health(Condition.HELD, "http_401")


def logged(
    *settlements: Settlement, reason: str = "http_503", before: Health = WELL, after: Health | None = None
) -> Callable[[SendingState], None]:
    """Return what logs an attempt with a delivery for each settlement."""
    batch = Batch(tuple(a_delivery(an_event(at), attempts=2, refusals=3) for at in range(len(settlements))))
    attempt = Attempt(NOW, 0.12345, 503, reason, "busy")
    return lambda state: log_attempt(state, Result(batch, attempt, settlements), Change(before, after or before))


@pytest.fixture
def state(endpoint: Endpoint) -> SendingState:
    return SendingState(endpoint)


def waits(**values: Any) -> Settlement:
    return Settlement(State.WAITING, "http_503", NOW + 5, True, **values)


DELIVERED = Settlement(State.DELIVERED, "http_200", 0.0, True)


def words(lines: pytest.LogCaptureFixture) -> str:
    """Return the last line without the endpoint and the keys."""
    return lines.messages[-1].partition(") ")[2].partition(" [endpoint=")[0]


def test_attempts_and_refusals_are_numbered_and_seconds_rounded(
    state: SendingState, lines: pytest.LogCaptureFixture
) -> None:
    logged(waits())(state)
    assert (outcomes(lines)[-1]["attempt"], outcomes(lines)[-1]["seconds"]) == (6, 0.123)


def test_a_batch_that_is_split_says_how_many_messages_it_had(
    state: SendingState, lines: pytest.LogCaptureFixture
) -> None:
    logged(waits(split=True), waits(split=True))(state)
    assert (levels(lines), outcomes(lines)[-1]["verdict"]) == (["INFO"], "split")
    assert words(lines).startswith("did not accept a batch of 2 messages (http_503")
    assert words(lines).endswith("; they are sent in two halves")


def test_a_shortage_of_this_process_is_logged_once_elsewhere(
    state: SendingState, lines: pytest.LogCaptureFixture
) -> None:
    logged(waits(), reason=Failure.SHORTAGE.value)(state)
    assert (levels(lines), outcomes(lines)[-1]["verdict"], state.logged) == (["DEBUG"], "shortage", "")


@pytest.mark.parametrize(("after", "begin"), [(WELL, "failed: "), (ILL, "is failing: "), (HELD, "is held: ")])
def test_a_failure_says_what_the_endpoint_is_since_then(
    state: SendingState, lines: pytest.LogCaptureFixture, after: Health, begin: str
) -> None:
    logged(waits(), after=after)(state)
    assert words(lines).startswith(begin)
    assert words(lines).endswith("; its deliveries are kept")


def test_a_failure_with_the_same_reason_is_logged_again_when_the_endpoint_becomes_unhealthy(
    state: SendingState, lines: pytest.LogCaptureFixture
) -> None:
    for after in (WELL, WELL, ILL):
        logged(waits(), after=after)(state)
    assert levels(lines) == ["WARNING", "DEBUG", "WARNING"]


def test_after_a_success_the_same_failure_is_logged_again(state: SendingState, lines: pytest.LogCaptureFixture) -> None:
    for settlement in (waits(), DELIVERED, waits()):
        logged(settlement)(state)
    assert levels(lines) == ["WARNING", "DEBUG", "WARNING"]


@pytest.mark.parametrize(("before", "text"), [(WELL, "delivered"), (ILL, "works again")])
def test_a_success_is_a_recovery_if_the_endpoint_was_not_healthy(
    state: SendingState, lines: pytest.LogCaptureFixture, before: Health, text: str
) -> None:
    logged(DELIVERED, before=before)(state)
    assert words(lines) == text
