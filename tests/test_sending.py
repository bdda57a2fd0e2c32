from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from sfwebhooks.attempts import Outcome, Verdict
from sfwebhooks.events import Batch
from sfwebhooks.health import OUTAGE_SECONDS, Condition, Health
from sfwebhooks.outbox.endpoint_state import Orders
from sfwebhooks.sending import SendingState
from tests.builders import NOW, PATIENCE, a_batch, a_delivery, an_endpoint, an_event

FAILURE, SUCCESS = Verdict(Outcome.RETRY, "http_503"), Verdict(Outcome.DELIVERED, "http_200")


def state_of(health: Health | None = None, concurrency: int = 2) -> SendingState:
    endpoint = an_endpoint(concurrency=concurrency)
    return SendingState(endpoint, health or Health(), steady=lambda: NOW)


def test_a_healthy_endpoint_is_sent_as_many_at_once_as_its_concurrency() -> None:
    state = state_of()
    allowed = []
    for _ in range(3):
        allowed.append(state.may_send(NOW))
        state.in_flight += 1
    assert allowed == [True, True, False]


def test_a_probe_goes_alone() -> None:
    state = state_of(Health(Condition.FAILING))
    assert state.may_send(NOW)
    state.in_flight = 1
    assert not state.may_send(NOW)


def test_a_paused_endpoint_is_sent_nothing_until_its_pause_ends() -> None:
    state = state_of()
    state.obey(Orders(paused_until=NOW + 60))
    assert [state.may_send(NOW + seconds) for seconds in (0, 59.9, 60)] == [False, False, True]


def test_a_verdict_changes_the_health_and_says_how() -> None:
    state = state_of()
    change = state.learn(FAILURE, NOW, a_batch())
    assert (change.before.failures, change.after.failures, state.health, state.tried) == (0, 1, change.after, True)


def test_a_request_that_continues_in_halves_says_nothing_about_the_endpoint() -> None:
    state = state_of()
    both = Batch((a_delivery(an_event(1)), a_delivery(an_event(2))))
    assert state.learn(Verdict(Outcome.REFUSED, "http_400"), NOW, both).after.refusals == 0


def test_a_reset_by_the_operator_opens_the_endpoint_once() -> None:
    state = state_of(Health(Condition.HELD, open_at=NOW + 900))
    state.obey(Orders(resets=1))
    assert state.may_send(NOW)
    state.health = replace(state.health, open_at=NOW + 900)
    state.obey(Orders(resets=1))
    assert not state.may_send(NOW)


def test_a_disabled_endpoint_becomes_dark_though_it_is_not_probed() -> None:
    state = state_of(Health(Condition.DISABLED, outage_probes=2, outage_at=NOW - OUTAGE_SECONDS))
    state.look_at_outage()
    assert state.health.is_dark


@pytest.mark.parametrize("change", ["learn", "report", "obey", "open", "look_at_outage"])
def test_a_change_of_the_health_waits_for_the_lock(change: str) -> None:
    """Two threads that both read the health before one writes would lose a failure, or an alert that was sent."""
    state = state_of(Health(Condition.DISABLED))
    calls: dict[str, Callable[[], object]] = {
        "learn": lambda: state.learn(SUCCESS, NOW, a_batch()),
        "report": lambda: state.report(NOW),
        "obey": lambda: state.obey(Orders(resets=1)),
        "open": lambda: state.open(),
        "look_at_outage": lambda: state.look_at_outage(),
    }
    done = threading.Event()

    def work() -> None:
        calls[change]()
        done.set()

    thread = threading.Thread(target=work)
    with state.lock:
        thread.start()
        assert not done.wait(0.05)
    assert done.wait(PATIENCE)
    thread.join(PATIENCE)
