from __future__ import annotations

from dataclasses import replace

import pytest

from sfwebhooks.attempts import Outcome, Verdict
from sfwebhooks.pacing import CLOSED_MAX, FAILURES_MAX, PROBE_SECONDS, Condition, Health
from sfwebhooks.retry import RETRY_AFTER_MAX
from tests.builders import NOW

SUCCESS = Verdict(Outcome.DELIVERED, "http_200")
FAILURE = Verdict(Outcome.RETRY, "http_503")
HOLD = Verdict(Outcome.HOLD, "http_401")
GONE = Verdict(Outcome.DISABLE, "http_410")
WRONG_MESSAGE = Verdict(Outcome.DEAD, "http_422")
ALL = [SUCCESS, FAILURE, HOLD, GONE, WRONG_MESSAGE]


def asked(seconds: float, verdict: Verdict = FAILURE) -> Verdict:
    return replace(verdict, wait=seconds)


def after(*verdicts: Verdict, health: Health | None = None, now: float = NOW) -> Health:
    """Return the health after some verdicts at the same time."""
    health = health or Health(fingerprint="f")
    for verdict in verdicts:
        health = health.after(verdict, now)
    return health


FAILING = after(*[FAILURE] * FAILURES_MAX)
HELD = after(HOLD)
DISABLED = after(GONE)


# --- conditions


def test_an_endpoint_begins_healthy_and_open() -> None:
    assert Health().healthy
    assert Health().may_send(NOW)


@pytest.mark.parametrize("failures", range(1, FAILURES_MAX))
def test_a_few_failures_leave_it_healthy(failures: int) -> None:
    assert after(*[FAILURE] * failures).healthy


def test_five_failures_in_a_row_make_it_failing() -> None:
    assert (FAILURES_MAX, FAILING.condition, FAILING.reason) == (5, Condition.FAILING, "http_503")


@pytest.mark.parametrize("between", [SUCCESS, WRONG_MESSAGE])
def test_an_answer_between_begins_the_row_anew(between: Verdict) -> None:
    verdicts = [FAILURE] * (FAILURES_MAX - 1)
    assert after(*verdicts, between, *verdicts).healthy


def test_a_hold_verdict_holds_it_at_once() -> None:
    assert (HELD.condition, HELD.reason) == (Condition.HELD, "http_401")


def test_a_failing_endpoint_with_a_hold_verdict_is_held() -> None:
    assert after(HOLD, health=FAILING).condition is Condition.HELD


def test_a_held_endpoint_that_fails_stays_held() -> None:
    assert after(FAILURE, health=HELD).condition is Condition.HELD


@pytest.mark.parametrize("health", [FAILING, HELD])
@pytest.mark.parametrize("verdict", [SUCCESS, WRONG_MESSAGE])
def test_an_answer_makes_it_healthy_and_open(health: Health, verdict: Verdict) -> None:
    better = after(verdict, health=health, now=NOW + 60)
    assert (better.healthy, better.failures, better.since, better.may_send(NOW + 60)) == (True, 0, NOW + 60, True)


@pytest.mark.parametrize("health", [Health(), FAILING, HELD])
def test_a_410_disables_it(health: Health) -> None:
    assert after(GONE, health=health).condition is Condition.DISABLED


@pytest.mark.parametrize("verdict", ALL)
def test_a_disabled_endpoint_stays_so_whatever_was_still_in_flight(verdict: Verdict) -> None:
    assert after(verdict, health=DISABLED, now=NOW + 1) == DISABLED


@pytest.mark.parametrize("later", [0.0, 1e3, 1e9, -1e9])
def test_a_disabled_endpoint_is_never_sent_to(later: float) -> None:
    assert not DISABLED.may_send(NOW + later)


@pytest.mark.parametrize("verdict", ALL)
@pytest.mark.parametrize("health", [Health(fingerprint="f"), FAILING, HELD, DISABLED])
def test_the_fingerprint_of_the_settings_is_never_lost(verdict: Verdict, health: Health) -> None:
    assert after(verdict, health=health).fingerprint == "f"


def test_since_tells_when_the_condition_began_and_not_the_last_probe() -> None:
    assert after(FAILURE, health=FAILING, now=NOW + 100).since == NOW


def test_a_success_of_a_healthy_endpoint_changes_nothing() -> None:
    health = after(SUCCESS)
    assert after(SUCCESS, health=health, now=NOW + 5) == health


# --- probes


@pytest.mark.parametrize("health", [FAILING, HELD])
def test_it_is_probed_at_growing_intervals_of_which_the_last_repeats(health: Health) -> None:
    waits, now = [], NOW
    for _ in range(len(PROBE_SECONDS) + 2):
        waits.append(health.open_at - now)
        now = health.open_at
        health = health.after(FAILURE, now)
    assert waits == [*PROBE_SECONDS, PROBE_SECONDS[-1], PROBE_SECONDS[-1]]


@pytest.mark.parametrize("health", [FAILING, HELD])
def test_nothing_is_sent_until_the_probe(health: Health) -> None:
    assert [health.may_send(NOW + seconds) for seconds in (0.0, 29.9, 30.0)] == [False, False, True]


def test_what_was_in_flight_when_it_began_to_fail_is_no_probe() -> None:
    health = after(*[FAILURE] * 60, health=FAILING, now=NOW + 1)
    assert (health.probes, health.open_at) == (0, NOW + 1 + PROBE_SECONDS[0])


# --- Retry-After pauses the endpoint


def test_retry_after_closes_a_healthy_endpoint() -> None:
    health = after(asked(600.0))
    assert (health.healthy, health.may_send(NOW + 599), health.may_send(NOW + 600)) == (True, False, True)


def test_without_retry_after_one_failure_closes_nothing() -> None:
    assert after(FAILURE).may_send(NOW)


@pytest.mark.parametrize("verdict", [SUCCESS, WRONG_MESSAGE, FAILURE, asked(1.0), HOLD])
def test_retry_after_is_not_undercut_by_what_was_in_flight_beside_it(verdict: Verdict) -> None:
    assert not after(asked(600.0), verdict).may_send(NOW + 599)


def test_retry_after_is_not_undercut_by_beginning_to_fail() -> None:
    assert not after(*[FAILURE] * (FAILURES_MAX - 2), asked(600.0), FAILURE).may_send(NOW + 599)


@pytest.mark.parametrize("health", [FAILING, HELD])
def test_retry_after_wins_over_the_next_probe(health: Health) -> None:
    assert health.after(asked(1800.0), health.open_at).open_at == health.open_at + 1800.0


def test_retry_after_does_not_shorten_the_wait_for_a_probe() -> None:
    assert after(asked(1.0, HOLD)).open_at == NOW + PROBE_SECONDS[0]


# --- clocks


@pytest.mark.parametrize("health", [FAILING, HELD, after(asked(600.0))])
def test_a_clock_that_was_set_back_does_not_close_it_for_ever(health: Health) -> None:
    assert health.may_send(NOW - 86400)


@pytest.mark.parametrize("health", [FAILING, HELD])
def test_after_a_clock_was_set_back_it_is_probed_at_intervals_again(health: Health) -> None:
    again = health.after(FAILURE, NOW - 86400)
    assert not again.may_send(NOW - 86400 + 1)


def test_a_clock_that_was_set_back_a_little_does_not_undercut_the_longest_retry_after() -> None:
    assert not after(asked(RETRY_AFTER_MAX)).may_send(NOW - 60)


def test_no_wait_that_can_be_asked_for_is_taken_for_a_wrong_clock() -> None:
    assert max(RETRY_AFTER_MAX, *PROBE_SECONDS) < CLOSED_MAX
