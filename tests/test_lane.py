from __future__ import annotations

import logging
import threading
from dataclasses import replace
from pathlib import Path
from typing import Callable

import pytest
import responses

from sfwebhooks.endpoints import Endpoint, Secret
from sfwebhooks.lane import NEVER, Lane
from sfwebhooks.outbox import CRASHES_MAX, Outbox
from sfwebhooks.pacing import FAILURES_MAX, PROBE_SECONDS, Condition
from sfwebhooks.pipeline import accept
from tests.builders import NOW, URL, an_endpoint, an_event
from tests.conftest import PATIENCE, Clock, Gate, Team, fail, put, soon, sql

POISON = {"data": float("nan")}  # no JSON can be made of it: to render it is a bug

# --- one delivery after the other


def test_a_step_delivers_one_delivery(outbox: Outbox, lane: Lane, endpoint: Endpoint) -> None:
    put(outbox, endpoint, events=2)
    assert (lane.step(), outbox.tallies()) == (True, {"waiting": 1, "delivered": 1, "dead": 0})


def test_a_step_without_work_says_so(lane: Lane) -> None:
    assert lane.step() is False


def test_a_delivery_goes_out_under_its_own_id(outbox: Outbox, lane: Lane, endpoint: Endpoint, team: Team) -> None:
    put(outbox, endpoint)
    lane.step()
    assert team.ids == [row[0] for row in sql(outbox, "SELECT id FROM delivery")]


def test_deliveries_go_in_the_order_of_their_numbers(
    outbox: Outbox, lane: Lane, endpoint: Endpoint, team: Team
) -> None:
    put(outbox, endpoint, events=5)
    while lane.step():
        pass
    assert team.sequences == [1, 2, 3, 4, 5]


def test_a_failed_delivery_waits_for_its_time(
    outbox: Outbox, lane: Lane, endpoint: Endpoint, team: Team, clock: Clock
) -> None:
    team.answer = 500
    put(outbox, endpoint)
    lane.step()
    clock.now += 4.9
    assert lane.step() is False


def test_a_retry_goes_out_under_the_same_id(
    outbox: Outbox, lane: Lane, endpoint: Endpoint, team: Team, clock: Clock
) -> None:
    team.answer = 500
    put(outbox, endpoint)
    lane.step()
    clock.now += 60
    lane.step()
    assert (len(team.ids), len(set(team.ids))) == (2, 1)


def test_a_fresh_delivery_goes_before_a_retry_that_is_due(
    outbox: Outbox, lane: Lane, endpoint: Endpoint, team: Team, clock: Clock
) -> None:
    team.answer = lambda received: 500 if len(team.got) == 1 else 200
    put(outbox, endpoint)
    lane.step()
    put(outbox, endpoint, start=2, events=2)
    clock.now += 60
    while lane.step():
        pass
    assert team.sequences == [1, 2, 3, 1]


def test_a_delivery_whose_retries_are_used_up_is_dead(
    outbox: Outbox, lane: Lane, endpoint: Endpoint, team: Team, clock: Clock
) -> None:
    team.answer = 500
    put(outbox, endpoint)
    while lane.step():
        clock.now += 100
    assert sql(outbox, "SELECT state, reason FROM delivery") == [("dead", "retries_exhausted: http_500")]


def test_a_verdict_on_the_message_lets_the_others_go_on(
    outbox: Outbox, lane: Lane, endpoint: Endpoint, team: Team
) -> None:
    team.answer = lambda received: 422 if received.message["metadata"]["sequence"] == 1 else 200
    put(outbox, endpoint, events=2)
    while lane.step():
        pass
    assert outbox.tallies() == {"waiting": 0, "delivered": 1, "dead": 1}


@responses.activate
def test_retry_after_pauses_the_whole_endpoint(outbox: Outbox, clock: Clock) -> None:
    responses.post(URL, status=429, headers={"Retry-After": "120"})
    endpoint = an_endpoint()
    lane = Lane([endpoint], outbox, clock)
    put(outbox, endpoint, events=2)
    lane.step()
    clock.now += 119
    assert lane.step() is False
    clock.now += 2
    assert lane.step() is True
    lane.stop(soon())


def test_deliveries_of_an_endpoint_that_was_removed_are_kept(outbox: Outbox, lane: Lane, team: Team) -> None:
    put(outbox, an_endpoint("removed", url=team.url))
    lane.step()
    assert outbox.tallies()["waiting"] == 1


# --- health


def health_of(lane: Lane, number: int = 0) -> Condition:
    return lane.lines[number].health.condition


def test_failures_in_a_row_make_an_endpoint_failing(outbox: Outbox, lane: Lane, endpoint: Endpoint, team: Team) -> None:
    put(outbox, endpoint, events=10)
    fail(lane, team, 503, FAILURES_MAX)
    assert (lane.step(), health_of(lane)) == (False, Condition.FAILING)


def test_a_failing_endpoint_is_probed_after_a_while(
    outbox: Outbox, lane: Lane, endpoint: Endpoint, team: Team, clock: Clock
) -> None:
    put(outbox, endpoint, events=10)
    fail(lane, team, 503, FAILURES_MAX)
    clock.now += PROBE_SECONDS[0]
    assert (lane.step(), lane.step()) == (True, False)


def test_a_probe_that_succeeds_lets_all_go(
    outbox: Outbox, lane: Lane, endpoint: Endpoint, team: Team, clock: Clock
) -> None:
    put(outbox, endpoint, events=10)
    fail(lane, team, 503, FAILURES_MAX)
    clock.now += 100
    team.answer = 200
    while lane.step():
        pass
    assert outbox.tallies()["delivered"] == 10


def test_a_long_outage_kills_no_delivery(
    outbox: Outbox, lane: Lane, endpoint: Endpoint, team: Team, clock: Clock
) -> None:
    put(outbox, endpoint, events=3)
    team.answer = 503
    for _ in range(100):
        lane.step()
        clock.now += 1000
    assert outbox.tallies() == {"waiting": 3, "delivered": 0, "dead": 0}


def test_a_held_endpoint_is_sent_nothing_until_its_probe(
    outbox: Outbox, lane: Lane, endpoint: Endpoint, team: Team, clock: Clock
) -> None:
    put(outbox, endpoint, events=3)
    fail(lane, team, 401)
    clock.now += PROBE_SECONDS[0] - 1
    assert (lane.step(), health_of(lane)) == (False, Condition.HELD)


def test_a_held_endpoint_recovers_with_all_its_deliveries(
    outbox: Outbox, lane: Lane, endpoint: Endpoint, team: Team, clock: Clock
) -> None:
    put(outbox, endpoint, events=3)
    fail(lane, team, 401)
    clock.now += PROBE_SECONDS[0]
    team.answer = 200
    while lane.step():
        pass
    assert (outbox.tallies()["delivered"], health_of(lane)) == (3, Condition.HEALTHY)


def test_a_message_that_its_receiver_forbids_does_not_stop_the_others(
    outbox: Outbox, lane: Lane, endpoint: Endpoint, team: Team, clock: Clock
) -> None:
    """A web application firewall answers 403 to one message: the next probe is another one."""
    put(outbox, endpoint, events=3)
    team.answer = lambda received: 403 if received.message["metadata"]["sequence"] == 1 else 200
    clock.now += 1
    lane.step()
    clock.now += PROBE_SECONDS[0]
    while lane.step():
        pass
    assert outbox.tallies() == {"waiting": 1, "delivered": 2, "dead": 0}


def test_the_probe_of_an_endpoint_is_noted_as_such(
    outbox: Outbox, lane: Lane, endpoint: Endpoint, team: Team, clock: Clock
) -> None:
    put(outbox, endpoint)
    fail(lane, team, 401)
    clock.now += PROBE_SECONDS[0]
    fail(lane, team, 200)
    assert sql(outbox, "SELECT reason, cause FROM attempt") == [("http_401", "schedule"), ("http_200", "probe")]


def test_a_probe_goes_alone(
    outbox: Outbox, lane: Lane, endpoint: Endpoint, team: Team, clock: Clock, gate: Gate
) -> None:
    put(outbox, endpoint, events=3)
    fail(lane, team, 401)
    clock.now += PROBE_SECONDS[0]
    team.answer = gate
    probe = threading.Thread(target=lane.step)
    probe.start()
    team.wait_for(2)
    assert lane.step() is False
    gate.open()
    probe.join(PATIENCE)


def test_an_endpoint_that_is_gone_gets_nothing_more(
    outbox: Outbox, lane: Lane, endpoint: Endpoint, team: Team, clock: Clock
) -> None:
    put(outbox, endpoint, events=2)
    fail(lane, team, 410)
    clock.now += 30 * 86400
    assert (lane.step(), outbox.tallies()["waiting"]) == (False, 2)


def test_a_held_endpoint_is_tried_at_once_if_the_operator_says_so(
    outbox: Outbox, lane: Lane, endpoint: Endpoint, team: Team
) -> None:
    put(outbox, endpoint)
    fail(lane, team, 401)
    lane.open_now()
    assert lane.step() is True


def test_a_retry_is_made_at_once_if_the_operator_says_so(
    outbox: Outbox, lane: Lane, endpoint: Endpoint, team: Team
) -> None:
    put(outbox, endpoint)
    fail(lane, team, 500)
    lane.open_now()
    assert lane.step() is True


def test_health_survives_a_restart(
    outbox: Outbox, lane: Lane, endpoint: Endpoint, team: Team, new_lane: Callable[..., Lane]
) -> None:
    put(outbox, endpoint)
    fail(lane, team, 401)
    lane.stop(soon())
    later = new_lane(endpoint)
    assert (later.step(), health_of(later)) == (False, Condition.HELD)


def test_health_is_forgotten_when_the_settings_change(
    outbox: Outbox, lane: Lane, endpoint: Endpoint, team: Team, new_lane: Callable[..., Lane]
) -> None:
    put(outbox, endpoint)
    fail(lane, team, 401)
    lane.stop(soon())
    assert new_lane(replace(endpoint, api_key=Secret("the right one"))).step() is True


def test_health_is_forgotten_when_a_certificate_file_changes(
    outbox: Outbox, endpoint: Endpoint, tmp_path: Path, new_lane: Callable[..., Lane]
) -> None:
    endpoint = replace(endpoint, ca_bundle=tmp_path / "ca.pem")
    put(outbox, endpoint)
    first = new_lane(endpoint)
    first.step()
    assert health_of(first) is Condition.HELD
    first.stop(soon())
    (tmp_path / "ca.pem").write_text("another one")
    assert new_lane(endpoint).step() is True


def test_the_recovery_of_an_endpoint_is_written_down(
    outbox: Outbox, lane: Lane, endpoint: Endpoint, team: Team
) -> None:
    put(outbox, endpoint)
    fail(lane, team, 401)
    lane.open_now()
    fail(lane, team, 200)
    assert outbox.health("team").condition is Condition.HEALTHY


def test_healthy_deliveries_write_no_health(outbox: Outbox, lane: Lane, endpoint: Endpoint) -> None:
    put(outbox, endpoint, events=3)
    while lane.step():
        pass
    assert sql(outbox, "SELECT count(*) FROM health") == [(0,)]


# --- two endpoints with one URL


@pytest.fixture
def pair(team: Team) -> tuple[Endpoint, Endpoint]:
    return an_endpoint("one", url=team.url), an_endpoint("two", url=team.url)


def receivers(team: Team) -> list[str]:
    return [received.message["metadata"]["endpoint"] for received in team.got]


def test_endpoints_with_one_url_take_turns(
    outbox: Outbox, pair: tuple[Endpoint, Endpoint], team: Team, new_lane: Callable[..., Lane]
) -> None:
    put(outbox, *pair, events=3)
    lane = new_lane(*pair)
    while lane.step():
        pass
    assert receivers(team) == ["one", "two"] * 3


def test_an_endpoint_goes_on_while_the_other_one_with_its_url_is_held(
    outbox: Outbox, pair: tuple[Endpoint, Endpoint], team: Team, new_lane: Callable[..., Lane]
) -> None:
    team.answer = lambda received: 401 if received.message["metadata"]["endpoint"] == "one" else 200
    put(outbox, *pair, events=3)
    lane = new_lane(*pair)
    while lane.step():
        pass
    assert receivers(team) == ["one", "two", "two", "two"]


def test_a_held_endpoint_is_probed_while_the_other_one_with_its_url_is_busy(
    outbox: Outbox,
    pair: tuple[Endpoint, Endpoint],
    team: Team,
    new_lane: Callable[..., Lane],
    clock: Clock,
    gate: Gate,
) -> None:
    lane = new_lane(*pair)
    put(outbox, pair[0])
    fail(lane, team, 401)
    clock.now += PROBE_SECONDS[0]
    put(outbox, pair[1])
    team.answer = lambda received: gate(received) if received.message["metadata"]["endpoint"] == "two" else 200
    busy = threading.Thread(target=lane.step)
    busy.start()
    team.wait_for(2)
    assert (lane.step(), receivers(team)) == (True, ["one", "two", "one"])
    gate.open()
    busy.join(PATIENCE)


# --- one sender a URL


def test_a_second_sender_waits_while_the_first_one_has_the_url(
    outbox: Outbox, lane: Lane, endpoint: Endpoint, new_lane: Callable[..., Lane]
) -> None:
    put(outbox, endpoint, events=2)
    lane.step()
    assert new_lane(endpoint).step() is False


def test_a_second_sender_takes_over_when_the_first_one_lets_go(
    outbox: Outbox, lane: Lane, endpoint: Endpoint, team: Team, new_lane: Callable[..., Lane]
) -> None:
    put(outbox, endpoint, events=2)
    lane.step()
    second = new_lane(endpoint)
    second.step()
    lane.stop(soon())
    assert (second.step(), team.sequences) == (True, [1, 2])


def test_a_second_sender_knows_the_health_that_the_first_one_left(
    outbox: Outbox, lane: Lane, endpoint: Endpoint, team: Team, new_lane: Callable[..., Lane]
) -> None:
    put(outbox, endpoint, events=2)
    lane.step()
    second = new_lane(endpoint)
    second.step()
    fail(lane, team, 401)
    lane.stop(soon())
    assert (second.step(), health_of(second)) == (False, Condition.HELD)


# --- senders that die


def test_a_delivery_that_cannot_be_made_ends_as_a_dead_letter(outbox: Outbox, lane: Lane, endpoint: Endpoint) -> None:
    accept([an_event(data=POISON)], (endpoint,), outbox, NOW)
    for _ in range(CRASHES_MAX):
        with pytest.raises(ValueError, match="JSON compliant"):
            lane.step()
    assert (lane.step(), outbox.tallies()["dead"]) == (False, 1)


# --- what is said


def test_a_failure_is_told_once_until_something_changes(
    outbox: Outbox, lane: Lane, endpoint: Endpoint, team: Team, caplog: pytest.LogCaptureFixture
) -> None:
    put(outbox, endpoint, events=10)
    fail(lane, team, 503, FAILURES_MAX - 1)
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_dead_letter_is_told(
    outbox: Outbox, lane: Lane, endpoint: Endpoint, team: Team, caplog: pytest.LogCaptureFixture
) -> None:
    put(outbox, endpoint)
    fail(lane, team, 422)
    assert "it is not sent again: http_422" in caplog.text


def test_a_recovery_is_told(
    outbox: Outbox, lane: Lane, endpoint: Endpoint, team: Team, caplog: pytest.LogCaptureFixture
) -> None:
    put(outbox, endpoint)
    fail(lane, team, 401)
    lane.open_now()
    with caplog.at_level(logging.INFO):
        fail(lane, team, 200)
    assert f"endpoint team ({endpoint.place}) works again" in caplog.text


def test_no_line_about_a_failure_shows_the_path_of_the_url(
    outbox: Outbox, lane: Lane, endpoint: Endpoint, team: Team, caplog: pytest.LogCaptureFixture
) -> None:
    put(outbox, endpoint)
    with caplog.at_level(logging.DEBUG, "spiderfoot.webhooks"):
        fail(lane, team, 500)
    assert (team.url.removesuffix("/webhook") in caplog.text, "/webhook" in caplog.text) == (True, False)


# --- when the next one can go


def test_nothing_can_ever_go_where_nothing_waits(lane: Lane) -> None:
    assert lane.next_at(healthy_only=True) == NEVER


def test_a_fresh_delivery_can_go_at_once(outbox: Outbox, lane: Lane, endpoint: Endpoint) -> None:
    put(outbox, endpoint)
    assert lane.next_at(healthy_only=True) <= NOW


def test_deliveries_of_a_held_endpoint_can_go_with_its_probe(
    outbox: Outbox, lane: Lane, endpoint: Endpoint, team: Team
) -> None:
    put(outbox, endpoint)
    fail(lane, team, 401)
    assert lane.next_at(healthy_only=False) == NOW + PROBE_SECONDS[0]


def test_deliveries_of_an_endpoint_that_is_gone_can_never_go(
    outbox: Outbox, lane: Lane, endpoint: Endpoint, team: Team
) -> None:
    put(outbox, endpoint)
    fail(lane, team, 410)
    assert lane.next_at(healthy_only=False) == NEVER
