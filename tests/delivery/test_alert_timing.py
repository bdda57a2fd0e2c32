"""When alerts are committed: changes wait a moment for others, and none is committed twice or lost."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import pytest

from sfwebhooks.delivery.alert_timing import DEATHS_SECONDS, GATHER_SECONDS, Alerting
from sfwebhooks.errors import OutboxError
from sfwebhooks.health import LASTING_SECONDS, REFUSAL_LASTING_SECONDS, Condition, Health
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.sending import SendingState
from tests.builders import NOW, an_endpoint
from tests.conftest import Clock, sql

STORES = ("sqlite", "postgres")

OPS = an_endpoint("ops", events=("system_alert",))
ILL = Health(Condition.FAILING, "http_503", since=NOW)
#: held for refusals a moment ago
REFUSING = Health(Condition.HELD, "http_401", since=NOW, refusals=3)
WELL = Health(Condition.HEALTHY, since=NOW)


@pytest.fixture
def alerting(outbox: Outbox, clock: Clock) -> Alerting:
    outbox.database.check()  # makes the file
    return Alerting((OPS, an_endpoint("one"), an_endpoint("two")), outbox, clock)


def a_state(name: str = "one", health: Health = ILL) -> SendingState:
    endpoint = an_endpoint(name)
    return SendingState(endpoint, health=health)


def alerts(outbox: Outbox) -> list[str]:
    return [text for (text,) in sql(outbox, "SELECT json_extract(data, '$.message') FROM event ORDER BY at, number")]


# --- health


@pytest.mark.parametrize(("seconds", "number"), [(0.0, 0), (GATHER_SECONDS - 0.01, 0), (GATHER_SECONDS, 1)])
def test_a_change_waits_a_moment_for_others(
    alerting: Alerting, outbox: Outbox, clock: Clock, seconds: float, number: int
) -> None:
    one = a_state()
    assert alerting.look([one]) is True
    clock.now += seconds
    assert alerting.look([one]) is (number == 0)
    assert len(alerts(outbox)) == number


def test_changes_within_that_moment_are_one_alert(alerting: Alerting, outbox: Outbox, clock: Clock) -> None:
    one, two = a_state(), a_state("two", WELL)
    alerting.look([one, two])
    two.health = ILL
    clock.now += GATHER_SECONDS
    alerting.look([one, two])
    assert [text.partition(" ")[0] for text in alerts(outbox)] == ["2"]


def test_a_change_that_is_over_gives_no_alert_and_the_next_one_waits_again(
    alerting: Alerting, outbox: Outbox, clock: Clock
) -> None:
    one = a_state()
    alerting.look([one])
    one.health = WELL
    clock.now += GATHER_SECONDS / 2
    assert alerting.look([one]) is False
    one.health = ILL
    clock.now += GATHER_SECONDS
    assert (alerting.look([one]), alerts(outbox)) == (True, [])


def test_after_an_alert_the_next_change_waits_again(alerting: Alerting, outbox: Outbox, clock: Clock) -> None:
    one, two = a_state(), a_state("two", WELL)
    alerting.look([one])
    clock.now += GATHER_SECONDS
    alerting.look([one])
    two.health = ILL
    assert (alerting.look([one, two]), len(alerts(outbox))) == (True, 1)


def test_a_clock_that_was_set_back_delays_no_alert(alerting: Alerting, outbox: Outbox, clock: Clock) -> None:
    one = a_state()
    alerting.look([one])
    clock.now -= 3600
    alerting.look([one])
    assert len(alerts(outbox)) == 1


def test_a_change_is_reported_once(alerting: Alerting, outbox: Outbox, clock: Clock) -> None:
    one = a_state()
    for _ in range(5):
        clock.now += GATHER_SECONDS
        alerting.look([one])
    assert len(alerts(outbox)) == 1
    assert one.written.alerted is outbox.endpoints.health("one").alerted is one.health.alerted is Condition.FAILING


def test_those_that_recovered_are_an_alert_of_their_own(alerting: Alerting, outbox: Outbox, clock: Clock) -> None:
    well = replace(WELL, since=NOW - LASTING_SECONDS, alerted=Condition.FAILING, alerted_at=NOW - 600, alerts=1)
    states = [a_state(), a_state("two", well)]
    for _ in range(2):
        alerting.look(states)
        clock.now += GATHER_SECONDS
    assert [text.partition(" (")[0] for text in alerts(outbox)] == ["Endpoint one", "Endpoint two"]


def test_a_recovery_alone_is_reported(alerting: Alerting, outbox: Outbox) -> None:
    well = replace(WELL, alerted=Condition.FAILING)
    alerting.look([a_state(health=well)], last=True)
    assert [text.partition(";")[0] for text in alerts(outbox)] == [
        "Endpoint one (https://hooks.example.test) works again"
    ]


def test_a_process_that_ends_reports_at_once(alerting: Alerting, outbox: Outbox) -> None:
    assert alerting.look([a_state()], last=True) is False
    assert len(alerts(outbox)) == 1


@pytest.mark.parametrize(
    ("health", "number"),
    [
        (REFUSING, 1),
        (replace(REFUSING, alerted=Condition.DISABLED, alerted_at=NOW, alerts=1), 0),
        (replace(WELL, alerted=Condition.FAILING, alerted_at=NOW, alerts=1), 0),
        (replace(ILL, alerted=Condition.HEALTHY, alerted_at=NOW, alerts=2), 0),
        (WELL, 0),
    ],
)
def test_a_process_that_ends_reports_only_a_first_change_before_it_has_lasted(
    alerting: Alerting, outbox: Outbox, health: Health, number: int
) -> None:
    alerting.look([a_state(health=health)], last=True)
    assert len(alerts(outbox)) == number


@pytest.mark.parametrize(("seconds", "is_due"), [(REFUSAL_LASTING_SECONDS - 1, False), (REFUSAL_LASTING_SECONDS, True)])
def test_an_endpoint_that_refuses_is_reported_once_that_has_lasted(
    alerting: Alerting, clock: Clock, seconds: float, is_due: bool
) -> None:
    clock.now += seconds
    assert alerting.look([a_state(health=REFUSING)]) is is_due


# --- dead letters


def die(alerting: Alerting, number: int = 1, reason: str = "refused") -> None:
    deaths = deque([("one", reason)] * number)
    alerting.add_deaths(deaths)
    assert not deaths


@pytest.mark.parametrize(("seconds", "number"), [(0.0, 0), (DEATHS_SECONDS - 0.01, 0), (DEATHS_SECONDS, 1)])
def test_the_first_dead_letter_waits_a_moment_for_others(
    alerting: Alerting, outbox: Outbox, clock: Clock, seconds: float, number: int
) -> None:
    die(alerting)
    clock.now += seconds
    assert (alerting.look([]), len(alerts(outbox))) == (number == 0, number)


def test_dead_letters_within_that_moment_are_one_alert_for_each_reason(
    alerting: Alerting, outbox: Outbox, clock: Clock
) -> None:
    die(alerting, 2)
    clock.now += DEATHS_SECONDS - 1
    die(alerting)
    die(alerting, reason="expired")
    clock.now += 1
    alerting.look([])
    assert [text.partition(" for ")[0] for text in alerts(outbox)] == ["3 deliveries are dead", "1 delivery is dead"]


def test_after_that_the_next_dead_letter_waits_again(alerting: Alerting, outbox: Outbox, clock: Clock) -> None:
    die(alerting)
    clock.now += DEATHS_SECONDS
    alerting.look([])
    die(alerting, reason="expired")
    assert (alerting.look([]), len(alerts(outbox))) == (True, 1)


@pytest.mark.parametrize("back", [True, False])
def test_dead_letters_are_reported_at_once_at_the_end_and_by_a_clock_that_was_set_back(
    alerting: Alerting, outbox: Outbox, clock: Clock, back: bool
) -> None:
    die(alerting)
    clock.now -= 60.0 * back
    assert alerting.look([], last=not back) is False
    assert len(alerts(outbox)) == 1


def test_dead_letters_stay_due_while_the_outbox_cannot_be_written(
    alerting: Alerting, outbox: Outbox, clock: Clock
) -> None:
    die(alerting)
    clock.now += DEATHS_SECONDS
    sql(outbox, "CREATE TRIGGER no BEFORE INSERT ON event BEGIN SELECT raise(ABORT, 'no'); END")
    with pytest.raises(OutboxError):
        alerting.look([])
    sql(outbox, "DROP TRIGGER no")
    assert (alerting.look([]), len(alerts(outbox))) == (False, 1)
