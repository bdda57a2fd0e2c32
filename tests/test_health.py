from __future__ import annotations

from dataclasses import replace

import pytest

from sfwebhooks.attempts import Outcome, Verdict
from sfwebhooks.health import (
    CALM_SECONDS,
    CLOSED_MAX,
    FAILURES_MAX,
    LASTING_MAX,
    OUTAGE_SECONDS,
    PROBE_SECONDS,
    REFUSAL_LASTING_SECONDS,
    REFUSAL_PROBE_SECONDS,
    Condition,
    Health,
)
from sfwebhooks.retry import RETRY_AFTER_MAX
from tests.builders import NOW

SUCCESS = Verdict(Outcome.DELIVERED, "http_200")
FAILURE = Verdict(Outcome.RETRY, "http_503")
HOLD = Verdict(Outcome.HOLD, "http_401")
GONE = Verdict(Outcome.DISABLE, "http_410")
REFUSAL = Verdict(Outcome.REFUSED, "http_403")
SHORT = Verdict(Outcome.SHORTAGE, "out_of_resources", 5.0)
ALL = [SUCCESS, FAILURE, HOLD, GONE, REFUSAL, SHORT]


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


def test_a_success_between_ends_the_row() -> None:
    verdicts = [FAILURE] * (FAILURES_MAX - 1)
    assert after(*verdicts, SUCCESS, *verdicts).healthy


def test_two_refusals_in_a_row_leave_it_healthy_and_open() -> None:
    assert (after(REFUSAL, REFUSAL).healthy, after(REFUSAL, REFUSAL).may_send(NOW)) == (True, True)


def test_three_refusals_in_a_row_hold_it() -> None:
    health = after(REFUSAL, REFUSAL, REFUSAL)
    assert (health.condition, health.reason) == (Condition.HELD, "http_403")


@pytest.mark.parametrize("between", [FAILURE, SHORT])
def test_only_a_delivery_ends_a_row_of_refusals(between: Verdict) -> None:
    assert after(REFUSAL, REFUSAL, between, REFUSAL).condition is Condition.HELD
    assert after(REFUSAL, REFUSAL, SUCCESS, REFUSAL).healthy


def test_a_silent_refusal_or_failure_of_a_healthy_endpoint_says_nothing() -> None:
    health = Health(fingerprint="f")
    for verdict in [REFUSAL, FAILURE] * 10:
        health = health.after(verdict, NOW, silent=True)
    assert (health.healthy, health.refusals, health.failures) == (True, 0, 0)


def test_a_silent_probe_is_a_failed_one() -> None:
    held = after(REFUSAL, REFUSAL, REFUSAL)
    assert held.after(REFUSAL, held.open_at, silent=True).probes == 1


def test_each_delivery_after_a_refusal_begins_an_era() -> None:
    eras = [
        after(*verdicts).era for verdicts in ([SUCCESS, SUCCESS], [REFUSAL, SUCCESS, SUCCESS], [REFUSAL, SUCCESS] * 2)
    ]
    assert eras == [0, 2, 4]


def test_a_recovery_from_a_hold_by_refusals_begins_an_era() -> None:
    assert [after(*[REFUSAL] * 3).era, after(*[REFUSAL] * 3, SUCCESS).era] == [1, 2]


def test_an_era_outlives_new_settings() -> None:
    assert after(REFUSAL, SUCCESS).reopened("g").era == 2


def test_what_this_process_lacks_closes_an_endpoint_for_a_moment_and_blames_it_for_nothing() -> None:
    health = after(*[SHORT] * 50)
    assert (health.healthy, health.failures, health.may_send(NOW + 4.9), health.may_send(NOW + 5)) == (
        True,
        0,
        False,
        True,
    )


def test_a_hold_verdict_holds_it_at_once() -> None:
    assert (HELD.condition, HELD.reason) == (Condition.HELD, "http_401")


def test_a_failing_endpoint_with_a_hold_verdict_is_held() -> None:
    assert after(HOLD, health=FAILING).condition is Condition.HELD


def test_a_held_endpoint_that_fails_stays_held() -> None:
    assert after(FAILURE, health=HELD).condition is Condition.HELD


@pytest.mark.parametrize("health", [FAILING, HELD])
def test_a_success_makes_it_healthy_and_open(health: Health) -> None:
    better = after(SUCCESS, health=health, now=NOW + 60)
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


def test_since_is_when_the_condition_began_and_not_the_last_probe() -> None:
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


def test_an_attempt_in_flight_when_it_began_to_fail_is_not_a_probe() -> None:
    health = after(*[FAILURE] * 60, health=FAILING, now=NOW + 1)
    assert (health.probes, health.open_at) == (0, NOW + 1 + PROBE_SECONDS[0])


def test_an_endpoint_that_is_held_by_refusals_is_probed_sooner() -> None:
    held = after(REFUSAL, REFUSAL, REFUSAL)
    again = held.after(REFUSAL, held.open_at)
    waits = [held.open_at - NOW, again.open_at - held.open_at]
    assert waits == pytest.approx(REFUSAL_PROBE_SECONDS[:2], abs=1e-6)


# --- age


def test_three_failed_probes_an_hour_apart_show_that_it_takes_nothing() -> None:
    health, dark = FAILING, []
    for uptime in (0.0, OUTAGE_SECONDS - 1, OUTAGE_SECONDS, OUTAGE_SECONDS + 60, 2 * OUTAGE_SECONDS):
        health = health.after(FAILURE, NOW, uptime + FAILING.outage_at)
        dark.append(health.is_dark)
    assert dark == [False, False, False, False, True]


def test_the_clock_has_no_part_in_that() -> None:
    health = FAILING
    for _ in range(10):
        health = health.after(FAILURE, NOW + 365 * 86400, 1.0)
    assert not health.is_dark


def test_a_machine_that_is_started_again_counts_from_its_start() -> None:
    health = FAILING.after(FAILURE, NOW, 5 * OUTAGE_SECONDS).after(FAILURE, NOW, 10.0)
    assert (health.outage_at, health.is_dark) == (10.0, False)


def test_an_endpoint_that_takes_a_message_is_no_longer_dark() -> None:
    health = FAILING
    for hour in range(1, 5):
        health = health.after(FAILURE, NOW, hour * OUTAGE_SECONDS)
    assert (health.is_dark, health.after(SUCCESS, NOW).outage_probes) == (True, 0)


# --- when a change is alerted


def test_the_first_change_is_alerted_at_once() -> None:
    assert (FAILING.news_at(NOW), HELD.news_at(NOW), DISABLED.news_at(NOW)) == (NOW, NOW, NOW)


def test_a_hold_by_refusals_is_alerted_once_it_has_lasted_for_a_moment() -> None:
    held = after(REFUSAL, REFUSAL, REFUSAL)
    later = held.after(REFUSAL, held.open_at)
    assert [held.news_at(NOW), later.news_at(NOW + 1)] == [NOW + REFUSAL_LASTING_SECONDS] * 2


@pytest.mark.parametrize("health", [Health(), after(FAILURE), after(REFUSAL, REFUSAL), after(SUCCESS)])
def test_a_healthy_endpoint_is_not_news(health: Health) -> None:
    assert health.news_at(NOW) is None


def test_a_reported_change_is_not_news() -> None:
    reported = FAILING.reported(NOW)
    assert [reported.news_at(NOW), after(HOLD, health=reported).news_at(NOW)] == [None, None]


def test_that_a_failing_endpoint_is_gone_is_news() -> None:
    assert after(GONE, health=FAILING.reported(NOW)).news_at(NOW) == NOW


def test_each_further_change_must_last_longer_to_be_alerted() -> None:
    health, waits = FAILING.reported(NOW), []
    for verdicts in ([SUCCESS], [HOLD], [SUCCESS], [HOLD], [SUCCESS], [HOLD], [SUCCESS]):
        health = after(*verdicts, health=health)
        waits.append((health.news_at(NOW) or 0.0) - NOW)
        health = health.reported(NOW)
    assert waits == [120.0, 240.0, 480.0, 960.0, 1920.0, LASTING_MAX, LASTING_MAX]


def test_after_a_calm_time_a_change_is_the_first_again() -> None:
    reported = after(SUCCESS, health=FAILING.reported(NOW)).reported(NOW)
    later = NOW + CALM_SECONDS
    assert after(HOLD, health=reported, now=later).news_at(later) == later


# --- Retry-After pauses the endpoint


def test_retry_after_closes_a_healthy_endpoint() -> None:
    health = after(asked(600.0))
    assert (health.healthy, health.may_send(NOW + 599), health.may_send(NOW + 600)) == (True, False, True)


def test_without_retry_after_one_failure_closes_nothing() -> None:
    assert after(FAILURE).may_send(NOW)


@pytest.mark.parametrize("verdict", [SUCCESS, REFUSAL, FAILURE, asked(1.0), HOLD, SHORT])
def test_retry_after_is_not_undercut_by_other_attempts_in_flight(verdict: Verdict) -> None:
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
def test_a_clock_that_was_set_back_does_not_close_it_forever(health: Health) -> None:
    assert health.may_send(NOW - 86400)


@pytest.mark.parametrize("health", [FAILING, HELD])
def test_after_a_clock_was_set_back_it_is_probed_at_intervals_again(health: Health) -> None:
    again = health.after(FAILURE, NOW - 86400)
    assert not again.may_send(NOW - 86400 + 1)


def test_a_clock_that_was_set_back_a_little_does_not_undercut_the_longest_retry_after() -> None:
    assert not after(asked(RETRY_AFTER_MAX)).may_send(NOW - 60)


def test_no_wait_that_can_be_asked_for_is_taken_for_a_wrong_clock() -> None:
    assert max(RETRY_AFTER_MAX, *PROBE_SECONDS) < CLOSED_MAX
