from __future__ import annotations

import json
import logging
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable

import pytest
import responses

from sfwebhooks import pipeline
from sfwebhooks.delivery.alert_timing import DEATHS_SECONDS, GATHER_SECONDS
from sfwebhooks.delivery.baton import NEVER, SLOW_WAIT_SECONDS, Runner
from sfwebhooks.delivery.dispatcher import Dispatcher
from sfwebhooks.delivery.ownership import HUNG_SECONDS, LIFE_SECONDS, PULL_SECONDS, Note, Owner, owner_of
from sfwebhooks.delivery.send_queue import POLL_SECONDS, SendQueue
from sfwebhooks.delivery.settling import UNSETTLED_MAX
from sfwebhooks.endpoints import Endpoint, Secret
from sfwebhooks.errors import OutboxBusyError, OutboxError
from sfwebhooks.events import Batch
from sfwebhooks.formats import render
from sfwebhooks.formats.content import Content
from sfwebhooks.health import (
    FAILURES_MAX,
    LASTING_SECONDS,
    OUTAGE_SECONDS,
    PROBE_SECONDS,
    REFUSAL_LASTING_SECONDS,
    REFUSAL_PROBE_SECONDS,
    REFUSALS_MAX,
    Condition,
    Health,
)
from sfwebhooks.outbox.locks import FileLocks
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.permissions import LOCKS
from sfwebhooks.outbox.queue import CRASH_SECONDS, CRASHES_MAX
from sfwebhooks.pipeline import accept
from sfwebhooks.receive.received import Received
from sfwebhooks.screening import Screen, Wanted
from sfwebhooks.sending import SendingState
from tests.builders import NOW, PATIENCE, URL, an_endpoint, an_event, claim_one
from tests.conftest import Clock, Gate, Team, fail, hold, put, soon, spoil, sql
from tests.stores import Locked

STORES = ("sqlite", "postgres")

# --- one delivery after the other


def test_a_step_delivers_one_delivery(outbox: Outbox, queue: SendQueue, endpoint: Endpoint) -> None:
    put(outbox, endpoint, events=2)
    assert (queue.step(), outbox.scans.tallies()) == (True, {"waiting": 1, "delivered": 1, "dead": 0})


def test_a_step_without_work_says_so(queue: SendQueue) -> None:
    assert queue.step() is False


def test_a_delivery_goes_out_under_its_own_id(outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team) -> None:
    put(outbox, endpoint)
    queue.step()
    assert team.ids == [row[0] for row in sql(outbox, "SELECT id FROM delivery")]


def test_deliveries_go_in_the_order_of_their_numbers(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team
) -> None:
    put(outbox, endpoint, events=5)
    while queue.step():
        pass
    assert team.sequences == [1, 2, 3, 4, 5]


def test_a_failed_delivery_waits_for_its_time(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock
) -> None:
    team.answer = 500
    put(outbox, endpoint)
    queue.step()
    clock.now += 4.9
    assert queue.step() is False


def test_a_retry_goes_out_under_the_same_id(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock
) -> None:
    team.answer = 500
    put(outbox, endpoint)
    queue.step()
    clock.now += 60
    queue.step()
    assert (len(team.ids), len(set(team.ids))) == (2, 1)


def test_a_fresh_delivery_goes_before_a_retry_that_is_due(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock
) -> None:
    team.answer = lambda received: 500 if len(team.got) == 1 else 200
    put(outbox, endpoint)
    queue.step()
    put(outbox, endpoint, start=2, events=2)
    clock.now += 60
    while queue.step():
        pass
    assert team.sequences == [1, 2, 3, 1]


def test_a_delivery_whose_retries_are_used_up_while_others_arrive_is_dead(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock
) -> None:
    team.answer = lambda received: 500 if received.message["metadata"]["sequence"] == 1 else 200
    for number in range(1, 4):
        put(outbox, endpoint, start=number)
        while queue.step():
            pass
        clock.now += 100
    rows = sql(outbox, "SELECT state, reason FROM delivery WHERE sequence = 1")
    assert rows == [("dead", "retries_exhausted: http_500")]


def test_an_outage_kills_nothing_however_short_the_schedule_is(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock
) -> None:
    team.answer = 500
    put(outbox, endpoint)
    for _ in range(FAILURES_MAX + 2):
        while queue.step():
            pass
        clock.now += 1000
    assert (outbox.scans.tallies()["waiting"], queue.states[0].health.condition) == (1, Condition.FAILING)


def test_each_endpoint_keeps_its_own_concurrency_at_a_url_that_it_shares(
    outbox: Outbox, team: Team, gate: Gate, dispatch: Callable[..., Dispatcher]
) -> None:
    team.answer = gate
    one = an_endpoint("one", url=team.url, timeout=PATIENCE, concurrency=1)
    four = an_endpoint("four", url=team.url, timeout=PATIENCE, concurrency=4)
    put(outbox, one, four, events=8)
    dispatch(one, four).wake()
    got = team.wait_for(4)
    assert [received.message["metadata"]["endpoint"] for received in got].count("one") <= 1


def test_a_refused_message_is_set_aside_and_the_others_go_on(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team
) -> None:
    team.answer = lambda received: 422 if received.message["metadata"]["sequence"] == 1 else 200
    put(outbox, endpoint, events=2)
    while queue.step():
        pass
    assert outbox.scans.tallies() == {"waiting": 1, "delivered": 1, "dead": 0}


@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 405, 413, 422, 426, 451, 499])
def test_a_message_that_is_refused_three_times_while_others_are_taken_is_dead(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock, status: int
) -> None:
    team.answer = lambda received: status if received.message["metadata"]["sequence"] == 1 else 200
    put(outbox, endpoint, events=2)
    for _ in range(3):
        while queue.step():
            pass
        clock.now += 400
    assert sql(outbox, "SELECT state, reason, refusals FROM delivery ORDER BY number") == [
        ("dead", f"refused: http_{status}", 3),
        ("delivered", "http_200", 0),
    ]


def test_a_token_that_expires_between_messages_kills_none_of_them(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock
) -> None:
    put(outbox, endpoint)
    fail(queue, team, 200)
    put(outbox, endpoint, start=2, events=20)
    team.answer = 401
    for _ in range(50):
        queue.step()
        clock.now += 600
    assert outbox.scans.tallies() == {"waiting": 20, "delivered": 1, "dead": 0}
    team.answer = 200
    for _ in range(30):
        clock.now += 1000
        queue.step()
    assert outbox.scans.tallies() == {"waiting": 0, "delivered": 21, "dead": 0}


def test_a_firewall_that_refuses_every_third_message_delays_no_other(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock
) -> None:
    team.answer = lambda received: 403 if received.message["metadata"]["sequence"] % 3 == 0 else 200
    put(outbox, endpoint, events=60)
    while queue.step():
        pass
    assert outbox.scans.tallies() == {"waiting": 20, "delivered": 40, "dead": 0}


def test_a_run_of_refused_messages_at_the_head_of_the_queue_does_not_block_it(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock
) -> None:
    """The next one is picked elsewhere after two refusals, so the endpoint is not held."""
    team.answer = lambda received: 403 if received.message["metadata"]["sequence"] <= 100 else 200
    put(outbox, endpoint, events=150)
    while queue.step():
        pass
    assert (outbox.scans.tallies()["delivered"], health_of(queue)) == (50, Condition.HEALTHY)
    assert team.sequences[:3] == [1, 2, 150]


def test_a_run_of_messages_that_fail_at_the_head_of_the_queue_does_not_block_it(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock
) -> None:
    team.answer = lambda received: 500 if received.message["metadata"]["sequence"] <= 100 else 200
    put(outbox, endpoint, events=150)
    while outbox.scans.tallies()["delivered"] < 40:
        assert queue.step()
    assert clock.now == NOW


def put_sizes(outbox: Outbox, endpoint: Endpoint, *sizes: int) -> None:
    """Accept a message of each size."""
    for number, size in enumerate(sizes):
        accept(
            [an_event(number, data={"event_type": "X", "data": "x" * size})], Screen((endpoint,)), outbox, NOW + number
        )


@pytest.mark.parametrize(("status", "sequences"), [(500, [1, 2, 5, 4, 3]), (400, [1, 2, 5])])
def test_after_two_failures_messages_from_elsewhere_in_the_queue_are_tried(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, status: int, sequences: list[int]
) -> None:
    """The newest, the smallest, and then the next one again."""
    put_sizes(outbox, endpoint, 50, 50, 40, 10, 45)
    fail(queue, team, status, times=len(sequences))
    assert team.sequences == sequences


def test_after_failures_of_batches_single_messages_and_batches_take_turns(
    outbox: Outbox, team: Team, new_queue: Callable[..., SendQueue]
) -> None:
    endpoint = an_endpoint(url=team.url, timeout=PATIENCE, batch_size=2, batch_wait=0.0)
    put(outbox, endpoint, events=12)
    queue = new_queue(endpoint)
    fail(queue, team, 500, times=5)
    assert [len(one.messages) for one in team.got] == [2, 2, 1, 1, 2]


def test_probes_are_the_oldest_the_newest_and_the_smallest_message_in_turn(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock
) -> None:
    for number, size in ((1, 50), (2, 10), (3, 40)):
        event = an_event(number, data={"event_type": "X", "data": "x" * size})
        accept([event], Screen((endpoint,)), outbox, NOW + number)
    hold(queue, team, clock)
    team.got.clear()
    for _ in range(4):
        clock.now += 1000
        assert queue.step()
    assert team.sequences == [1, 3, 2, 1]


def test_the_end_of_a_scan_is_not_a_probe_while_other_messages_wait(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock
) -> None:
    put(outbox, endpoint, events=3)
    end = an_event(4, type="scan_completed", data={"events_found": 3})
    outbox.accept([(end, [Wanted("team", "scan_completed")])], NOW + 1)
    hold(queue, team, clock)
    for _ in range(6):
        clock.now += 1000
        assert queue.step()
    assert 4 not in team.sequences


@responses.activate
def test_retry_after_pauses_the_whole_endpoint(outbox: Outbox, clock: Clock) -> None:
    responses.post(URL, status=429, headers={"Retry-After": "120"})
    endpoint = an_endpoint()
    queue = SendQueue([endpoint], outbox, clock)
    put(outbox, endpoint, events=2)
    queue.step()
    clock.now += 119
    assert queue.step() is False
    clock.now += 2
    assert queue.step() is True
    queue.stop(soon())


def test_deliveries_of_an_endpoint_that_was_removed_are_kept(outbox: Outbox, queue: SendQueue, team: Team) -> None:
    put(outbox, an_endpoint("removed", url=team.url))
    queue.step()
    assert outbox.scans.tallies()["waiting"] == 1


# --- health


def health_of(queue: SendQueue, number: int = 0) -> Condition:
    return queue.states[number].health.condition


def test_failures_in_a_row_make_an_endpoint_failing(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team
) -> None:
    put(outbox, endpoint, events=10)
    fail(queue, team, 503, FAILURES_MAX)
    assert (queue.step(), health_of(queue)) == (False, Condition.FAILING)


def test_a_failing_endpoint_is_probed_after_a_while(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock
) -> None:
    put(outbox, endpoint, events=10)
    fail(queue, team, 503, FAILURES_MAX)
    clock.now += PROBE_SECONDS[0]
    assert (queue.step(), queue.step()) == (True, False)


def test_a_probe_that_succeeds_lets_all_go(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock
) -> None:
    put(outbox, endpoint, events=10)
    fail(queue, team, 503, FAILURES_MAX)
    clock.now += 100
    team.answer = 200
    while queue.step():
        pass
    assert outbox.scans.tallies()["delivered"] == 10


def test_a_long_outage_kills_no_delivery(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock
) -> None:
    put(outbox, endpoint, events=3)
    team.answer = 503
    for _ in range(100):
        queue.step()
        clock.now += 1000
    assert outbox.scans.tallies() == {"waiting": 3, "delivered": 0, "dead": 0}


def test_a_held_endpoint_is_sent_nothing_until_its_probe(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock
) -> None:
    put(outbox, endpoint, events=3)
    hold(queue, team, clock)
    clock.now += REFUSAL_PROBE_SECONDS[0] - 1
    assert (queue.step(), health_of(queue)) == (False, Condition.HELD)


def test_a_held_endpoint_recovers_with_all_its_deliveries(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock
) -> None:
    put(outbox, endpoint, events=3)
    hold(queue, team, clock)
    clock.now += 600
    team.answer = 200
    while queue.step():
        pass
    assert (outbox.scans.tallies()["delivered"], health_of(queue)) == (3, Condition.HEALTHY)


def test_two_refused_messages_do_not_hold_an_endpoint_that_takes_others(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock
) -> None:
    """A web application firewall answers 403 to some messages: OSINT data is full of what it looks for."""
    put(outbox, endpoint, events=4)
    team.answer = lambda received: 403 if received.message["metadata"]["sequence"] < 3 else 200
    while queue.step():
        pass
    assert (outbox.scans.tallies(), health_of(queue)) == ({"waiting": 2, "delivered": 2, "dead": 0}, Condition.HEALTHY)


def test_the_probe_of_an_endpoint_is_noted_as_such(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock
) -> None:
    put(outbox, endpoint)
    hold(queue, team, clock)
    clock.now += REFUSAL_PROBE_SECONDS[0]
    fail(queue, team, 200)
    assert sql(outbox, "SELECT reason, cause FROM delivery_attempt") == [
        *[("http_401", "schedule")] * REFUSALS_MAX,
        ("http_200", "probe"),
    ]


def test_a_probe_goes_alone(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock, gate: Gate
) -> None:
    put(outbox, endpoint, events=3)
    hold(queue, team, clock)
    clock.now += REFUSAL_PROBE_SECONDS[0]
    team.answer = gate
    probe = threading.Thread(target=queue.step)
    probe.start()
    team.wait_for(4)
    assert queue.step() is False
    gate.open()
    probe.join(PATIENCE)


def test_an_endpoint_that_is_gone_gets_nothing_more(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock
) -> None:
    put(outbox, endpoint, events=2)
    fail(queue, team, 410)
    clock.now += 30 * 86400
    assert (queue.step(), outbox.scans.tallies()["waiting"]) == (False, 2)


def test_a_held_endpoint_is_tried_at_once_if_the_operator_says_so(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock
) -> None:
    put(outbox, endpoint)
    hold(queue, team, clock)
    queue.open_now()
    assert queue.step() is True


def test_a_retry_is_made_at_once_if_the_operator_says_so(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team
) -> None:
    put(outbox, endpoint)
    fail(queue, team, 500)
    queue.open_now()
    assert queue.step() is True


def test_health_survives_a_restart(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock, new_queue: Callable[..., SendQueue]
) -> None:
    put(outbox, endpoint)
    hold(queue, team, clock)
    queue.stop(soon())
    later = new_queue(endpoint)
    assert (later.step(), health_of(later)) == (False, Condition.HELD)


def test_health_is_forgotten_when_the_settings_change(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock, new_queue: Callable[..., SendQueue]
) -> None:
    put(outbox, endpoint)
    hold(queue, team, clock)
    queue.stop(soon())
    assert new_queue(replace(endpoint, api_key=Secret("the right one"))).step() is True


def test_health_is_forgotten_when_a_certificate_file_changes(
    outbox: Outbox, endpoint: Endpoint, tmp_path: Path, new_queue: Callable[..., SendQueue]
) -> None:
    endpoint = replace(endpoint, ca_bundle=tmp_path / "ca.pem")
    put(outbox, endpoint)
    first = new_queue(endpoint)
    first.step()
    assert health_of(first) is Condition.HELD
    first.stop(soon())
    (tmp_path / "ca.pem").write_text("another one")
    assert new_queue(endpoint).step() is True


def test_the_recovery_of_an_endpoint_is_written_down(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock
) -> None:
    put(outbox, endpoint)
    hold(queue, team, clock)
    queue.open_now()
    fail(queue, team, 200)
    assert outbox.endpoints.health("team").condition is Condition.HEALTHY


def test_healthy_deliveries_write_no_health(outbox: Outbox, queue: SendQueue, endpoint: Endpoint) -> None:
    put(outbox, endpoint, events=3)
    while queue.step():
        pass
    assert sql(outbox, "SELECT count(*) FROM health") == [(0,)]


# --- two endpoints with one URL


@pytest.fixture
def pair(team: Team) -> tuple[Endpoint, Endpoint]:
    return an_endpoint("one", url=team.url), an_endpoint("two", url=team.url)


def receivers(team: Team) -> list[str]:
    return [received.message["metadata"]["endpoint"] for received in team.got]


def test_endpoints_with_one_url_take_turns(
    outbox: Outbox, pair: tuple[Endpoint, Endpoint], team: Team, new_queue: Callable[..., SendQueue]
) -> None:
    put(outbox, *pair, events=3)
    queue = new_queue(*pair)
    while queue.step():
        pass
    assert receivers(team) == ["one", "two"] * 3


def test_an_endpoint_goes_on_while_the_other_one_with_its_url_is_refused(
    outbox: Outbox, pair: tuple[Endpoint, Endpoint], team: Team, new_queue: Callable[..., SendQueue]
) -> None:
    team.answer = lambda received: 401 if received.message["metadata"]["endpoint"] == "one" else 200
    put(outbox, *pair, events=3)
    queue = new_queue(*pair)
    while queue.step():
        pass
    assert receivers(team) == ["one", "two"] * 3


def test_a_held_endpoint_is_probed_while_the_other_one_with_its_url_is_busy(
    outbox: Outbox,
    pair: tuple[Endpoint, Endpoint],
    team: Team,
    new_queue: Callable[..., SendQueue],
    clock: Clock,
    gate: Gate,
) -> None:
    queue = new_queue(*pair)
    put(outbox, pair[0])
    hold(queue, team, clock)
    clock.now += REFUSAL_PROBE_SECONDS[0]
    put(outbox, pair[1])
    team.answer = lambda received: gate(received) if received.message["metadata"]["endpoint"] == "two" else 200
    busy = threading.Thread(target=queue.step)
    busy.start()
    team.wait_for(4)
    assert (queue.step(), receivers(team)) == (True, ["one", "one", "one", "two", "one"])
    gate.open()
    busy.join(PATIENCE)


# --- one sender a URL


def test_a_second_sender_waits_while_the_first_one_has_the_url(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, new_queue: Callable[..., SendQueue]
) -> None:
    put(outbox, endpoint, events=2)
    queue.step()
    assert new_queue(endpoint).step() is False


def test_one_endpoint_name_with_two_urls_has_one_sender(
    outbox: Outbox,
    endpoint: Endpoint,
    team: Team,
    receive: Callable[..., Team],
    new_queue: Callable[..., SendQueue],
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A configuration that changed under a running scan, or two configurations for one outbox."""
    other = receive()
    put(outbox, endpoint, events=4)
    first, second = new_queue(endpoint), new_queue(replace(endpoint, url=Secret(other.url)))
    first.step()
    assert (second.step(), other.got) == (False, [])
    assert f"process {os.getpid()} sends to it at another URL" in caplog.text
    first.stop(soon())
    clock.now += 1
    while second.step():
        pass
    assert (len(team.got), len(other.got)) == (1, 3)


def test_the_owner_of_a_url_leaves_a_sign_of_life(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, clock: Clock
) -> None:
    put(outbox, endpoint, events=2)
    queue.step()
    clock.now += LIFE_SECONDS
    queue.tick()
    for lock in (outbox.locks.url(endpoint.url_id), outbox.locks.endpoint(endpoint.name)):
        note = Note.read(lock.noted())
        assert (note.pid, note.at, note.rendering) == (os.getpid(), round(clock.now), "")


def test_an_owner_that_ends_leaves_nobody_behind(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, clock: Clock
) -> None:
    put(outbox, endpoint, events=2)
    queue.step()
    assert owner_of(outbox.locks, endpoint.name, endpoint.url_id, clock.now) == Owner(os.getpid(), clock.now)
    queue.stop(soon())
    assert owner_of(outbox.locks, endpoint.name, endpoint.url_id, clock.now) is None
    assert Note.read(outbox.locks.url(endpoint.url_id).noted()).pid == 0


def test_an_owner_that_shows_no_life_and_holds_its_lock_hangs(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, clock: Clock
) -> None:
    put(outbox, endpoint, events=2)
    queue.step()
    later = clock.now + HUNG_SECONDS
    for url_id in ("", endpoint.url_id):
        owner = owner_of(outbox.locks, endpoint.name, url_id, later)
        assert owner and (owner.hangs(later), owner.hangs(later + 1)) == (False, True)


def test_who_sends_to_another_endpoint_of_the_url_owns_it(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, clock: Clock
) -> None:
    put(outbox, endpoint)
    queue.step()
    assert owner_of(outbox.locks, "other", endpoint.url_id, clock.now) == Owner(os.getpid(), clock.now)
    assert owner_of(outbox.locks, "other", "", clock.now) is None


def test_a_killed_owner_is_none(outbox: Outbox, endpoint: Endpoint, clock: Clock) -> None:
    lock = outbox.locks.endpoint(endpoint.name)
    lock.take()
    lock.note(str(Note(0.0, 2**30, clock.now)))  # no process has this number
    assert owner_of(outbox.locks, endpoint.name, "", clock.now) == Owner(2**30, clock.now)
    lock.release()
    assert owner_of(outbox.locks, endpoint.name, "", clock.now) is None


def test_a_crash_is_counted_once_whether_or_not_the_outbox_takes_it_at_the_first_try(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, clock: Clock
) -> None:
    put(outbox, endpoint)
    batch = claim_one(outbox, queue.states[0].limits, (), clock.now)
    assert batch
    (delivery,) = batch.deliveries
    lock = outbox.locks.url(endpoint.url_id)
    lock.take()
    lock.note(str(Note(0.0, 2**30, clock.now, delivery.id)))
    lock.release()
    sql(outbox, "CREATE TRIGGER full BEFORE UPDATE OF crashes ON delivery BEGIN SELECT RAISE(ABORT, 'no'); END")
    with pytest.raises(OutboxError):
        queue.step()
    assert Note.read(lock.noted()).rendering == delivery.id
    sql(outbox, "DROP TRIGGER full")
    assert queue.step()
    assert Note.read(lock.noted()).rendering == ""
    assert sql(outbox, "SELECT state, crashes FROM delivery") == [("delivered", 1)]


def test_looking_for_an_owner_makes_no_file(tmp_path: Path) -> None:
    assert owner_of(FileLocks(tmp_path / "webhooks.db"), "team", "0" * 32, NOW) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "rubbish", "1 2 three", "\0" * 96, "1e400 x", "nan", "9" * 96])
def test_rubbish_in_a_note_is_not_a_note(text: str) -> None:
    assert Note.read(text) == Note()


def test_a_second_sender_takes_over_when_the_first_one_lets_go(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, new_queue: Callable[..., SendQueue]
) -> None:
    put(outbox, endpoint, events=2)
    queue.step()
    second = new_queue(endpoint)
    second.step()
    queue.stop(soon())
    assert (second.step(), team.sequences) == (True, [1, 2])


def test_a_second_sender_knows_the_health_that_the_first_one_left(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock, new_queue: Callable[..., SendQueue]
) -> None:
    put(outbox, endpoint, events=2)
    queue.step()
    second = new_queue(endpoint)
    second.step()
    hold(queue, team, clock)
    queue.stop(soon())
    assert (second.step(), health_of(second)) == (False, Condition.HELD)


def test_who_has_just_written_results_looks_again(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deliveries may have waited for them, such as a scan's end."""
    monkeypatch.setattr("sfwebhooks.delivery.send_queue.GROUP_SECONDS", PATIENCE)
    put(outbox, endpoint, events=3)
    assert [queue.step(3) for _ in range(3)] == [True, True, True]
    assert outbox.scans.tallies()["delivered"] == 1, "the others are kept for a group"
    assert (queue.step(3), outbox.scans.tallies()["delivered"]) == (True, 3)
    assert queue.step(3) is False


def test_a_sender_that_cannot_be_imported_leaves_the_delivery_waiting(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as after an upgrade in the middle of a scan; the worker logs what a step raises."""
    put(outbox, endpoint)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "sfwebhooks.network.tokens", None)
        with pytest.raises(ImportError):
            queue.step()
    assert (outbox.scans.tallies()["waiting"], queue.states[0].in_flight) == (1, 0)
    assert (queue.step(), outbox.scans.tallies()["delivered"]) == (True, 1)


def test_connections_in_use_stay_open_when_a_queue_is_stopped(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(outbox, endpoint)
    team.answer, closed = gate, list[bool]()
    monkeypatch.setattr(queue.states[0].sender, "close", lambda: closed.append(True))
    queue.wake()
    team.wait_for(1)
    assert (queue.stop(time.monotonic()), closed) == (False, [])
    gate.open()
    assert (queue.stop(soon()), closed) == (True, [True])


def test_deliveries_are_released_under_the_lock_of_the_states(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint
) -> None:
    class Watched(set[str]):
        def difference_update(self, *others: Iterable[object]) -> None:
            held.append(queue._lock._is_owned())  # type: ignore[attr-defined]
            super().difference_update(*others)

    held: list[bool] = []
    queue._flight.ids = Watched()
    put(outbox, endpoint)
    queue.step()
    assert held == [True]


def test_attempts_in_flight_are_counted_under_the_lock_of_the_states(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint
) -> None:
    class Watched(SendingState):
        def __setattr__(self, name: str, value: object) -> None:
            if name == "in_flight":
                held.append(queue._lock._is_owned())  # type: ignore[attr-defined]
            super().__setattr__(name, value)

    held: list[bool] = []
    queue.states[0].__class__ = Watched
    put(outbox, endpoint)
    queue.step()
    assert held == [True, True]


def test_a_thread_that_is_late_does_not_keep_the_url_from_the_next_sender(
    outbox: Outbox,
    queue: SendQueue,
    endpoint: Endpoint,
    new_queue: Callable[..., SendQueue],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It was about to take the lock when its queue was stopped, without patience."""
    put(outbox, endpoint, events=2)
    late, stopping = threading.Thread(target=queue.step), threading.Thread(target=queue.stop, args=(0.0,))
    there, go, mkdir = threading.Event(), threading.Event(), Path.mkdir

    def held_up(path: Path, *args: Any, **options: Any) -> None:
        if threading.current_thread() is late:  # just before the lock's file is opened
            there.set()
            go.wait(PATIENCE)
        mkdir(path, *args, **options)

    monkeypatch.setattr(Path, "mkdir", held_up)
    late.start()
    assert there.wait(PATIENCE)
    stopping.start()
    stopping.join(0.2)  # it waits for the late one, or has ended
    go.set()
    late.join(PATIENCE)
    stopping.join(PATIENCE)
    assert new_queue(endpoint).step() is True


# --- senders that die


def test_a_delivery_that_cannot_be_rendered_ends_as_a_dead_letter(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, clock: Clock
) -> None:
    accept([an_event()], Screen((endpoint,)), outbox, NOW)
    spoil(outbox)
    for _ in range(CRASHES_MAX - 1):
        with pytest.raises(ValueError, match="Expecting value"):
            queue.step()
    assert queue.step() is False
    clock.now += CRASH_SECONDS
    with pytest.raises(ValueError, match="Expecting value"):
        queue.step()
    assert (queue.step(), outbox.scans.tallies()["dead"]) == (False, 1)


def test_a_delivery_that_cannot_be_rendered_is_reported(outbox: Outbox, queue: SendQueue, endpoint: Endpoint) -> None:
    accept([an_event()], Screen((endpoint,)), outbox, NOW)
    spoil(outbox)
    for _ in range(CRASHES_MAX):
        outbox.due.make_due("team", NOW)
        with pytest.raises(ValueError, match="Expecting value"):
            queue.step()
    assert list(queue.deaths) == [("team", "crashed_sender")]


@pytest.mark.sqlite("a column of PostgreSQL has values of one type")
@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE event SET severity = 99 WHERE number = 1",
        "UPDATE event SET data = x'ff' WHERE number = 1",
        "UPDATE event SET at = 'soon' WHERE number = 1",
        "UPDATE delivery SET series = 99 WHERE number = 1",
        "UPDATE event SET id = 'text' WHERE number = 1",
        "UPDATE event SET id = x'0102' WHERE number = 1",
    ],
)
def test_a_damaged_row_does_not_hold_up_the_others(
    damage: str, outbox: Outbox, queue: SendQueue, endpoint: Endpoint
) -> None:
    accept([an_event(1), an_event(2)], Screen((endpoint,)), outbox, NOW)
    sql(outbox, damage)
    for _ in range(CRASHES_MAX):
        outbox.due.make_due("team", NOW)
        with pytest.raises(ValueError, match="Expecting value"):
            while queue.step():
                pass
    while queue.step():
        pass
    assert sql(outbox, "SELECT state, reason FROM delivery ORDER BY number") == [
        ("dead", "crashed_sender"),
        ("delivered", "http_200"),
    ]


@pytest.mark.sqlite("a server takes no such text")
@pytest.mark.parametrize("column", ["data", "type", "special"])
def test_a_text_that_is_not_utf_8_holds_up_nobody_either(
    column: str, outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team
) -> None:
    accept([an_event(1), an_event(2)], Screen((endpoint,)), outbox, NOW)
    text = b'{"event_type":"X","data":"\xff"}' if column == "data" else b"\xff"
    sql(outbox, f"UPDATE event SET {column} = CAST(x'{text.hex()}' AS TEXT) WHERE number = 1")
    with pytest.raises(OutboxBusyError, match="has a text that is not UTF-8, part of which is replaced"):
        queue.step()
    while queue.step():
        pass
    assert sql(outbox, "SELECT state FROM delivery") == [("delivered",)] * 2
    assert len(team.got) == 2


# --- what is said


def test_a_failure_is_logged_once_until_something_changes(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, caplog: pytest.LogCaptureFixture
) -> None:
    put(outbox, endpoint, events=10)
    fail(queue, team, 503, FAILURES_MAX - 1)
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_dead_letter_is_logged(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    put(outbox, endpoint, events=2)
    team.answer = lambda received: 422 if received.message["metadata"]["sequence"] == 1 else 200
    for _ in range(4):
        queue.step()
        clock.now += 400
    assert "which is dead: refused: http_422" in caplog.text


def test_a_recovery_is_reported(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    put(outbox, endpoint)
    hold(queue, team, clock)
    queue.open_now()
    with caplog.at_level(logging.INFO):
        fail(queue, team, 200)
    assert f"endpoint team ({endpoint.place}) works again" in caplog.text


def test_no_line_about_a_failure_shows_the_path_of_the_url(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, caplog: pytest.LogCaptureFixture
) -> None:
    put(outbox, endpoint)
    with caplog.at_level(logging.DEBUG, "spiderfoot.webhooks"):
        fail(queue, team, 500)
    assert (team.url.removesuffix("/webhook") in caplog.text, "/webhook" in caplog.text) == (True, False)


# --- when the next one can go


def test_nothing_can_ever_go_where_nothing_waits(queue: SendQueue) -> None:
    assert queue.next_at(healthy_only=True) == NEVER


def test_a_fresh_delivery_can_go_at_once(outbox: Outbox, queue: SendQueue, endpoint: Endpoint) -> None:
    put(outbox, endpoint)
    assert queue.next_at(healthy_only=True) <= NOW


def test_deliveries_of_a_held_endpoint_can_go_with_its_probe(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock
) -> None:
    put(outbox, endpoint, events=4)
    hold(queue, team, clock)
    assert queue.next_at(healthy_only=False) == clock.now + REFUSAL_PROBE_SECONDS[0]


def test_only_who_waits_for_every_endpoint_waits_for_the_probe_in_flight_of_a_held_one(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock, gate: Gate
) -> None:
    put(outbox, endpoint, events=5)
    hold(queue, team, clock)
    team.answer, before = gate, len(team.got)
    clock.now = queue.states[0].health.open_at
    probe = threading.Thread(target=queue.step)
    probe.start()
    try:
        team.wait_for(before + 1)
        assert (queue.next_at(healthy_only=False), queue.next_at(healthy_only=True)) == (0.0, float("inf"))
    finally:
        gate.open()
        probe.join(PATIENCE)


def test_an_attempt_in_flight_is_waited_for_if_one_of_the_urls_endpoints_is_healthy(
    outbox: Outbox, pair: tuple[Endpoint, Endpoint], team: Team, gate: Gate, new_queue: Callable[..., SendQueue]
) -> None:
    queue = new_queue(*pair)
    put(outbox, pair[0])
    team.answer = gate
    attempt = threading.Thread(target=queue.step)
    attempt.start()
    try:
        team.wait_for(1)
        next(one for one in queue.states if one.in_flight).health = Health(Condition.HELD, open_at=NOW + 60)
        assert queue.next_at(healthy_only=True) == 0.0
    finally:
        gate.open()
        attempt.join(PATIENCE)


def test_new_settings_of_a_failing_endpoint_are_no_news_to_wait_for(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock, gate: Gate
) -> None:
    put(outbox, endpoint, events=5)
    hold(queue, team, clock)
    state, team.answer, before = queue.states[0], gate, len(team.got)
    clock.now = state.health.open_at
    state.written = replace(state.written, fingerprint="of other settings")
    probe = threading.Thread(target=queue.step)
    probe.start()
    try:
        team.wait_for(before + 1)
        assert queue.next_at(healthy_only=True) == NEVER
    finally:
        gate.open()
        probe.join(PATIENCE)


def test_who_waits_for_healthy_endpoints_waits_until_it_is_written_that_one_is_not(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sfwebhooks.delivery.send_queue.GROUP_SECONDS", PATIENCE)
    put(outbox, endpoint)
    team.answer = 410
    queue._unsettled.wrote_at = time.monotonic()
    queue.step(20)
    assert (outbox.endpoints.health(endpoint.name).healthy, queue.next_at(healthy_only=True)) == (True, 0.0)
    queue.tick()
    assert (outbox.endpoints.health(endpoint.name).healthy, queue.next_at(healthy_only=True)) == (False, NEVER)


def test_the_attempt_in_flight_of_a_healthy_endpoint_is_waited_for(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, gate: Gate
) -> None:
    put(outbox, endpoint)
    team.answer = gate
    attempt = threading.Thread(target=queue.step)
    attempt.start()
    try:
        team.wait_for(1)
        assert (queue.next_at(healthy_only=False), queue.next_at(healthy_only=True)) == (0.0, 0.0)
    finally:
        gate.open()
        attempt.join(PATIENCE)


def test_deliveries_of_an_endpoint_that_is_gone_can_never_go(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team
) -> None:
    put(outbox, endpoint)
    fail(queue, team, 410)
    assert queue.next_at(healthy_only=False) == NEVER


def test_a_takeover_that_a_locked_outbox_interrupts_is_made_again(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock, new_queue: Callable[..., SendQueue]
) -> None:
    put(outbox, endpoint, events=2)
    hold(queue, team, clock)
    # what it was rendering when it died, so that taking over has to write
    queue._ownership.lock.note(str(Note(rendering=an_event(2).id)))
    for lock in (queue._ownership._locks[endpoint.name], queue._ownership.lock):  # as the kernel does it
        lock.release()
    second = new_queue(endpoint)
    locked = Locked(outbox.place)
    locked.lock()
    with pytest.raises(OutboxBusyError):
        second.step()
    locked.free()
    assert (second.step(), second.states[0].health.condition) == (False, Condition.HELD)


# --- pace


@pytest.fixture
def paced(outbox: Outbox, team: Team, clock: Clock) -> Iterator[SendQueue]:
    """A queue to an endpoint that takes one message in ten seconds."""
    queue = SendQueue([an_endpoint(url=team.url, timeout=PATIENCE, interval=10.0)], outbox, clock)
    yield queue
    queue.stop(soon())


def test_resting_workers_are_woken_unless_nothing_may_be_sent(
    outbox: Outbox, paced: SendQueue, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing may be sent because of the pace, because the endpoint is held, or because another process owns it."""
    woken: list[bool] = []
    monkeypatch.setattr(paced._workers, "wake", lambda: woken.append(True))
    put(outbox, paced.states[0].endpoint, events=2)
    paced._workers.began = True

    def wakes() -> bool:
        woken.clear()
        paced.wake()
        return bool(woken)

    assert not wakes(), "the lock is not ours"
    paced.step()
    assert not wakes(), "it was a moment ago"
    clock.now += 10
    assert wakes()
    paced.states[0].health = Health(Condition.HELD, open_at=clock.now + 60)
    assert not wakes()
    paced.step()
    paced._workers.began = False
    assert wakes(), "the first call starts the first one"


def test_a_pace_is_kept(outbox: Outbox, paced: SendQueue, clock: Clock) -> None:
    put(outbox, paced.states[0].endpoint, events=3)
    went = []
    for _ in range(25):
        went.append(paced.step())
        clock.now += 1
    assert [second for second, one in enumerate(went) if one] == [0, 10, 20]


def test_the_pace_is_that_of_the_url(
    outbox: Outbox, team: Team, clock: Clock, new_queue: Callable[..., SendQueue]
) -> None:
    slow, quick = (an_endpoint(name, url=team.url, interval=interval) for name, interval in (("a", 10.0), ("b", 0.0)))
    queue = new_queue(slow, quick)
    put(outbox, slow, quick)
    assert (queue.step(), queue.step()) == (True, False)


def test_the_pace_goes_on_in_the_process_that_takes_over(
    outbox: Outbox, paced: SendQueue, clock: Clock, new_queue: Callable[..., SendQueue]
) -> None:
    endpoint = paced.states[0].endpoint
    put(outbox, endpoint, events=2)
    paced.step()
    paced.stop(0.0)
    clock.now += 9
    second = new_queue(endpoint)
    assert second.step() is False
    clock.now += 1
    assert second.step() is True


def test_a_clock_that_was_set_back_does_not_stop_what_is_paced(outbox: Outbox, paced: SendQueue, clock: Clock) -> None:
    put(outbox, paced.states[0].endpoint, events=2)
    paced.step()
    clock.now -= 3600
    assert paced.step()


def test_what_only_the_pace_holds_back_can_be_waited_for(outbox: Outbox, paced: SendQueue) -> None:
    put(outbox, paced.states[0].endpoint, events=2)
    paced.step()
    assert paced.next_at(healthy_only=True) == 0.0


# --- what an operator says


def test_a_paused_endpoint_is_sent_nothing(outbox: Outbox, queue: SendQueue, endpoint: Endpoint, clock: Clock) -> None:
    put(outbox, endpoint)
    outbox.endpoints.pause("team", NOW + 7200)
    clock.now += 7199
    assert queue.step() is False


def test_a_pause_ends_by_itself(outbox: Outbox, queue: SendQueue, endpoint: Endpoint, clock: Clock) -> None:
    put(outbox, endpoint)
    outbox.endpoints.pause("team", NOW + 7200)
    clock.now += 7200
    assert queue.step() is True


def test_a_pause_reaches_a_process_that_is_sending(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, clock: Clock
) -> None:
    put(outbox, endpoint, events=2)
    queue.step()
    Outbox(outbox.place).endpoints.pause("team", float("inf"))
    clock.now += 1
    assert queue.step() is False


def test_a_pause_ends_when_the_operator_says_so(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, clock: Clock
) -> None:
    put(outbox, endpoint)
    outbox.endpoints.pause("team", float("inf"))
    queue.step()
    outbox.endpoints.resume("team", clock.now)
    clock.now += 1
    assert queue.step() is True


@pytest.mark.parametrize("status", [410, 401])
def test_an_endpoint_that_is_gone_or_held_is_used_again_when_the_operator_says_so(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock, status: int
) -> None:
    put(outbox, endpoint)
    hold(queue, team, clock, status) if status == 401 else fail(queue, team, status)
    team.answer = 200
    Outbox(outbox.place).endpoints.resume("team", clock.now)
    clock.now += 1
    assert (queue.step(), outbox.scans.tallies()["delivered"]) == (True, 1)


def test_a_delivery_that_waits_for_a_retry_is_tried_at_once_when_the_operator_says_so(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock
) -> None:
    put(outbox, endpoint)
    fail(queue, team, 503)
    clock.now += 1
    outbox.endpoints.resume("team", clock.now)
    assert queue.step()


def test_nobody_waits_for_a_paused_endpoint(outbox: Outbox, queue: SendQueue, endpoint: Endpoint) -> None:
    put(outbox, endpoint)
    outbox.endpoints.pause("team", NOW + 7200)
    assert (queue.next_at(healthy_only=True), queue.next_at(healthy_only=False)) == (NEVER, NOW + 7200)


def test_a_pause_that_ends_now_delays_nothing(outbox: Outbox, queue: SendQueue, endpoint: Endpoint) -> None:
    put(outbox, endpoint)
    outbox.endpoints.pause("team", NOW)
    assert queue.next_at(healthy_only=True) == NOW


# --- how long a worker rests


@pytest.mark.parametrize(
    ("open_in", "seconds"),
    [(None, POLL_SECONDS), (0.25, 0.25), (60, POLL_SECONDS), (0, POLL_SECONDS), (-1, POLL_SECONDS)],
)
def test_a_worker_rests_until_the_next_probe_or_look(queue: SendQueue, open_in: float | None, seconds: float) -> None:
    if open_in is not None:
        queue.states[0].health = Health(Condition.FAILING, open_at=NOW + open_in)
    assert queue._rest_seconds() == seconds


def test_the_time_at_which_a_healthy_endpoint_opens_wakes_no_worker(queue: SendQueue) -> None:
    queue.states[0].health = Health(open_at=NOW + 0.25)
    assert queue._rest_seconds() == POLL_SECONDS


@pytest.mark.parametrize(("interval", "seconds"), [(0.25, 0.25), (60.0, POLL_SECONDS)])
def test_a_worker_rests_as_the_pace_demands(
    outbox: Outbox, team: Team, new_queue: Callable[..., SendQueue], interval: float, seconds: float
) -> None:
    endpoint = an_endpoint(url=team.url, timeout=PATIENCE, interval=interval)
    put(outbox, endpoint, events=2)
    queue = new_queue(endpoint)
    assert (queue.step(), queue.step()) == (True, False)
    assert queue._rest_seconds() == seconds


# --- a clock that is set

HOUR = 3600.0


@pytest.mark.parametrize("is_taken_over", [False, True])
@pytest.mark.parametrize(("ahead", "goes"), [(2 * 24 * HOUR, True), (HOUR, False)])
def test_a_delivery_that_waits_longer_than_any_wait_is_due_now(
    outbox: Outbox,
    queue: SendQueue,
    endpoint: Endpoint,
    team: Team,
    clock: Clock,
    new_queue: Callable[..., SendQueue],
    ahead: float,
    goes: bool,
    is_taken_over: bool,
) -> None:
    put(outbox, endpoint)
    fail(queue, team, 503)
    if is_taken_over:
        queue.stop(soon())
        queue = new_queue(endpoint)
    clock.now -= ahead
    assert queue.step() is goes
    assert len(team.got) == 1 + goes


def test_who_sends_looks_for_due_times_of_another_clock_once_a_minute(
    outbox: Outbox, endpoint: Endpoint, team: Team, clock: Clock
) -> None:
    steady = Clock(1000.0)
    queue = SendQueue([endpoint], outbox, clock, steady)
    put(outbox, endpoint)
    fail(queue, team, 503)
    clock.now -= 2 * 24 * HOUR
    went = []
    for _ in range(2):
        steady.now += PULL_SECONDS - 1
        clock.now += PULL_SECONDS - 1
        went.append(queue.step())
    queue.stop(soon())
    assert went == [False, True]


def test_a_machine_that_slept_tries_what_became_due(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock
) -> None:
    put(outbox, endpoint)
    fail(queue, team, 503)
    clock.now += 8 * HOUR
    assert queue.step() is True


# --- alerts


@pytest.fixture
def others(team: Team) -> list[Endpoint]:
    return [
        an_endpoint("ops", url=f"{team.url}/ops", events=("system_alert",)),
        an_endpoint("chat", url=f"{team.url}/chat", events=("scan_*",)),
    ]


def alerts(outbox: Outbox) -> list[tuple[str, str, str]]:
    """Return (endpoint, which alert, about whom) of all alerts, in the order of their acceptance."""
    rows = sql(
        outbox,
        "SELECT endpoint, data FROM delivery JOIN event ON event.number = delivery.event WHERE type = 'system_alert'"
        " ORDER BY delivery.number",
    )
    return [(name, json.loads(data)["alert"], json.loads(data)["endpoint"]) for name, data in rows]


class Watched:
    """A queue of a process that alerts `ops`, among others that it does not."""

    def __init__(self, outbox: Outbox, clock: Clock, endpoint: Endpoint, *others: Endpoint) -> None:
        self._dispatcher = Dispatcher([endpoint, *others], outbox.place, clock)
        self.queue = next(queue for queue in self._dispatcher.queues if queue.states[0].endpoint == endpoint)
        self._clock = clock

    def look(self, seconds: float = GATHER_SECONDS) -> None:
        """Let the process look at what is to be alerted, and again after a while."""
        self._dispatcher.tick()
        self._clock.now += seconds
        self._dispatcher.tick()

    def stop(self) -> None:
        self._dispatcher.stop(PATIENCE)


@pytest.fixture
def watch(outbox: Outbox, clock: Clock, others: list[Endpoint]) -> Iterator[Callable[..., Watched]]:
    """Make processes that send to an endpoint: `watch(endpoint)`."""
    made: list[Watched] = []

    def start(endpoint: Endpoint) -> Watched:
        made.append(Watched(outbox, clock, endpoint, *others))
        return made[-1]

    yield start
    for one in made:
        one.stop()


@pytest.fixture
def watched(watch: Callable[..., Watched], endpoint: Endpoint) -> Watched:
    return watch(endpoint)


def test_an_endpoint_that_fails_is_alerted_once(
    outbox: Outbox, watched: Watched, endpoint: Endpoint, team: Team, clock: Clock
) -> None:
    put(outbox, endpoint, events=10)
    fail(watched.queue, team, 503, FAILURES_MAX)
    for _ in range(3):
        watched.look()
        clock.now += 900
        fail(watched.queue, team, 503)
    assert alerts(outbox) == [("ops", "endpoint_failing", "team")]


def test_a_recovery_is_alerted_once_it_has_lasted(
    outbox: Outbox, watched: Watched, endpoint: Endpoint, team: Team, clock: Clock
) -> None:
    put(outbox, endpoint, events=10)
    fail(watched.queue, team, 503, FAILURES_MAX)
    watched.look()
    clock.now += 900
    fail(watched.queue, team, 200)
    watched.look(LASTING_SECONDS - 10)
    assert [alert for _, alert, _ in alerts(outbox)] == ["endpoint_failing"]
    watched.look(20)
    watched.look()
    assert [alert for _, alert, _ in alerts(outbox)] == ["endpoint_failing", "endpoint_healthy"]


def test_an_endpoint_that_flaps_is_not_alerted_for_each_flap(
    outbox: Outbox, watched: Watched, endpoint: Endpoint, team: Team, clock: Clock
) -> None:
    put(outbox, endpoint, events=500)
    for _ in range(20):
        fail(watched.queue, team, 503, FAILURES_MAX)
        watched.look()
        clock.now += 40
        fail(watched.queue, team, 200)
        watched.look()
    assert [alert for _, alert, _ in alerts(outbox)] == ["endpoint_failing"]


def test_an_endpoint_that_is_held_for_a_moment_is_not_alerted(
    outbox: Outbox, watched: Watched, endpoint: Endpoint, team: Team, clock: Clock
) -> None:
    put(outbox, endpoint, events=10)
    hold(watched.queue, team, clock)
    watched.look()
    clock.now += REFUSAL_PROBE_SECONDS[0]
    fail(watched.queue, team, 200)
    watched.look()
    assert alerts(outbox) == []


def test_an_endpoint_that_refuses_its_probe_too_is_alerted(
    outbox: Outbox, watched: Watched, endpoint: Endpoint, team: Team, clock: Clock
) -> None:
    put(outbox, endpoint, events=10)
    hold(watched.queue, team, clock)
    clock.now += REFUSAL_LASTING_SECONDS
    fail(watched.queue, team, 401)
    watched.look()
    assert alerts(outbox) == [("ops", "endpoint_held", "team")]


def test_a_process_that_ends_alerts_what_it_has_seen(
    outbox: Outbox, watched: Watched, endpoint: Endpoint, team: Team, clock: Clock
) -> None:
    put(outbox, endpoint, events=10)
    hold(watched.queue, team, clock)
    watched.stop()
    assert alerts(outbox) == [("ops", "endpoint_held", "team")]


def test_an_endpoint_that_is_gone_is_alerted(outbox: Outbox, watched: Watched, endpoint: Endpoint, team: Team) -> None:
    put(outbox, endpoint)
    fail(watched.queue, team, 410)
    watched.look()
    assert alerts(outbox) == [("ops", "endpoint_disabled", "team")]


def test_an_endpoint_that_first_fails_and_then_is_held_is_alerted_once(
    outbox: Outbox, watched: Watched, endpoint: Endpoint, team: Team, clock: Clock
) -> None:
    put(outbox, endpoint, events=10)
    fail(watched.queue, team, 503, FAILURES_MAX)
    watched.look()
    clock.now += 900
    fail(watched.queue, team, 401)
    watched.look()
    assert len(alerts(outbox)) == 1


def test_a_fallback_is_alerted_whatever_it_wants(
    outbox: Outbox, team: Team, clock: Clock, watch: Callable[..., Watched]
) -> None:
    endpoint = an_endpoint(url=team.url, timeout=PATIENCE, fallback="chat")
    one = watch(endpoint)
    put(outbox, endpoint)
    hold(one.queue, team, clock)
    one.stop()
    assert sorted(alerts(outbox)) == [("chat", "endpoint_held", "team"), ("ops", "endpoint_held", "team")]


def test_the_recovery_is_alerted_also_by_another_process_with_better_settings(
    outbox: Outbox, watched: Watched, endpoint: Endpoint, team: Team, clock: Clock, watch: Callable[..., Watched]
) -> None:
    put(outbox, endpoint)
    hold(watched.queue, team, clock)
    watched.stop()
    better = watch(replace(endpoint, api_key=Secret("the right one")))
    clock.now += 600
    fail(better.queue, team, 200)
    better.look(LASTING_SECONDS + 1)
    better.look()
    assert [alert for _, alert, _ in alerts(outbox)] == ["endpoint_held", "endpoint_healthy"]


def test_a_failure_after_the_settings_changed_is_not_a_recovery(
    outbox: Outbox, watched: Watched, endpoint: Endpoint, team: Team, clock: Clock, watch: Callable[..., Watched]
) -> None:
    put(outbox, endpoint, events=10)
    fail(watched.queue, team, 503, FAILURES_MAX)
    watched.stop()
    changed = watch(replace(endpoint, api_key=Secret("another one")))
    fail(changed.queue, team, 503)
    changed.stop()
    assert [alert for _, alert, _ in alerts(outbox)] == ["endpoint_failing"]


@pytest.mark.parametrize(
    ("then", "alerted"), [(200, ["endpoint_failing", "endpoint_healthy"]), (503, ["endpoint_failing"])]
)
def test_resume_neither_repeats_an_alert_nor_swallows_the_recovery(
    outbox: Outbox, watched: Watched, endpoint: Endpoint, team: Team, clock: Clock, then: int, alerted: list[str]
) -> None:
    put(outbox, endpoint, events=10)
    fail(watched.queue, team, 503, FAILURES_MAX)
    watched.look()
    outbox.endpoints.resume("team", clock.now)
    clock.now += 1
    fail(watched.queue, team, then)
    watched.look(LASTING_SECONDS + 1)
    watched.look()
    assert [alert for _, alert, _ in alerts(outbox)] == alerted


def test_an_order_that_comes_while_an_attempt_is_under_way_is_not_lost(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock, new_queue: Callable[..., SendQueue]
) -> None:
    def gone(received: Received) -> int:
        Outbox(outbox.place).endpoints.resume("team", clock.now)
        return 410

    put(outbox, endpoint, events=3)
    team.answer = gone
    queue.step()
    team.answer = 200
    clock.now += 1
    while queue.step():
        pass
    queue.stop(soon())
    assert (outbox.scans.tallies()["delivered"], outbox.endpoints.health("team").healthy) == (3, True)


@pytest.mark.parametrize("answer", [401, 503])
def test_trouble_that_an_alert_met_is_alerted_to_the_others(
    answer: int, outbox: Outbox, team: Team, clock: Clock, watch: Callable[..., Watched]
) -> None:
    endpoint = an_endpoint(url=team.url, timeout=PATIENCE, events=("all",))
    one = watch(endpoint)
    alert = an_event(1, type="system_alert", data={"alert": "endpoint_failing", "endpoint": "siem"})
    outbox.accept([(alert, [Wanted("team", "system_alert")])], NOW)
    team.answer = answer
    for _ in range(FAILURES_MAX + 1):
        one.queue.step()
        clock.now += 900
    one.look()
    condition = {401: "held", 503: "failing"}[answer]
    assert alerts(outbox)[1:] == [("ops", f"endpoint_{condition}", "team")]


def test_endpoints_that_fail_together_are_one_alert(
    outbox: Outbox, team: Team, clock: Clock, dispatch: Callable[..., Dispatcher]
) -> None:
    """The network of this machine is gone: 30 endpoints, of which each wants the alerts about the others."""
    endpoints = [an_endpoint(f"e{number:02d}", url=f"{team.url}/{number}", events=("all",)) for number in range(30)]
    put(outbox, *endpoints, events=FAILURES_MAX)
    dispatcher = Dispatcher(endpoints, outbox.place, clock)
    team.answer = 503
    for queue in dispatcher.queues:
        fail(queue, team, 503, FAILURES_MAX)
    dispatcher.tick()
    clock.now += GATHER_SECONDS
    dispatcher.tick()
    dispatcher.stop(PATIENCE)
    rows = sql(outbox, "SELECT data FROM event WHERE type = 'system_alert'")
    assert [json.loads(data)["endpoints"] for (data,) in rows] == [[endpoint.name for endpoint in endpoints]]
    assert len(alerts(outbox)) == 30


def test_many_dead_letters_for_one_reason_are_one_alert(
    outbox: Outbox, watched: Watched, endpoint: Endpoint, team: Team, clock: Clock
) -> None:
    put(outbox, endpoint, events=20)
    team.answer = lambda received: 413 if received.message["metadata"]["sequence"] % 2 else 200
    for _ in range(3):
        while watched.queue.step():
            pass
        watched.look(DEATHS_SECONDS)
        clock.now += 900
    assert alerts(outbox) == [("ops", "deliveries_dead", "team")]
    ((data,),) = sql(outbox, "SELECT data FROM event WHERE type = 'system_alert'")
    assert json.loads(data)["number"] == 10


def test_alerts_about_health_arrive_in_order(outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team) -> None:
    """The second one waits while the first one waits for a retry."""
    for number, alert in ((1, "endpoint_failing"), (2, "endpoint_healthy")):
        event = an_event(number, type="system_alert", data={"alert": alert}, subject="health", scan=None)
        outbox.accept([(event, [Wanted("team", "system_alert")])], NOW)
    fail(queue, team, 503)
    assert queue.step() is False


# --- an outage


@pytest.mark.slow
def test_an_outage_of_six_hours_kills_nothing_and_is_alerted_twice(
    outbox: Outbox, team: Team, clock: Clock, others: list[Endpoint]
) -> None:
    endpoint = an_endpoint(url=team.url, timeout=PATIENCE, interval=1.0)
    dispatcher = Dispatcher([endpoint, *others], outbox.place, clock)
    queue = next(queue for queue in dispatcher.queues if queue.states[0].endpoint == endpoint)
    put(outbox, endpoint, events=500)
    team.answer = 503
    tried: list[float] = []
    while clock.now < NOW + 6 * HOUR:
        if queue.step():
            tried.append(clock.now)
        dispatcher.tick()
        clock.now += 1
    gaps = [round(later - earlier) for earlier, later in zip(tried[FAILURES_MAX - 1 :], tried[FAILURES_MAX:])]
    assert gaps == [*map(int, PROBE_SECONDS), *[int(PROBE_SECONDS[-1])] * (len(gaps) - len(PROBE_SECONDS))]
    assert outbox.scans.tallies() == {"waiting": 501, "delivered": 0, "dead": 0}  # and one alert
    late = [row[0] for row in sql(outbox, "SELECT sequence FROM delivery WHERE attempts > 0 ORDER BY due_at")]
    put(outbox, endpoint, start=501, events=20)  # what a scan finds now
    team.answer, team.got[:] = 200, []
    sent: list[float] = []
    while outbox.scans.tallies()["waiting"] > 2:
        if queue.step():
            sent.append(clock.now)
        dispatcher.tick()
        clock.now += 1
    dispatcher.stop(PATIENCE)
    assert len(set(team.ids)) == 520
    assert team.sequences[-len(late) :] == late  # fresh before late, and of the late what waits longest
    assert min(later - earlier for earlier, later in zip(sent, sent[1:])) >= 1
    assert [alert for _, alert, _ in alerts(outbox)] == ["endpoint_failing", "endpoint_healthy"]


# --- the lock of the URL is taken away


def test_a_sender_whose_lock_was_removed_takes_it_again_before_the_next_claim(
    queue: SendQueue, outbox: Outbox, endpoint: Endpoint, new_queue: Callable[..., SendQueue], team: Team
) -> None:
    put(outbox, endpoint, events=3)
    assert queue.step()
    shutil.rmtree(outbox.path.with_suffix(LOCKS))
    assert queue.step()
    assert not new_queue(endpoint).step()
    assert len(team.got) == 2


@pytest.mark.sqlite("files of locks are removed")
def test_a_sender_that_takes_its_removed_lock_again_blames_no_message_that_it_is_making(
    queue: SendQueue, outbox: Outbox, endpoint: Endpoint, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(outbox, endpoint, events=2)
    other = threading.Thread(target=queue.step)
    made = render
    taken: list[bool] = []

    def remove_the_lock(batch: Batch, endpoint: Endpoint) -> Content:
        if not taken:
            lock = next(outbox.path.with_suffix(LOCKS).glob("url-*.lock"))
            lock.unlink()
            other.start()
            deadline = soon()
            while queue.states[0].in_flight < 2 and time.monotonic() < deadline:
                time.sleep(0.01)
            taken.append(lock.exists())
        return made(batch, endpoint)

    monkeypatch.setattr(pipeline, "render", remove_the_lock)
    assert queue.step()
    other.join(PATIENCE)
    assert (taken, len(team.got)) == ([True], 2)
    assert sql(outbox, "SELECT DISTINCT crashes FROM delivery") == [(0,)]


@pytest.mark.sqlite("files of locks are removed")
def test_a_sender_whose_lock_was_removed_and_taken_by_another_one_sends_no_more(
    queue: SendQueue, outbox: Outbox, endpoint: Endpoint, new_queue: Callable[..., SendQueue], team: Team
) -> None:
    put(outbox, endpoint, events=3)
    assert queue.step()
    shutil.rmtree(outbox.path.with_suffix(LOCKS))
    other = new_queue(endpoint)
    assert other.step()
    assert not queue.step()
    assert other.step()
    assert len(team.ids) == len(set(team.ids)) == 3


@pytest.mark.sqlite("names of files")
def test_two_names_of_one_outbox_have_one_sender(
    queue: SendQueue, outbox: Outbox, endpoint: Endpoint, clock: Clock, tmp_path: Path, team: Team
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "webhooks.db").symlink_to(outbox.path)
    put(outbox, endpoint, events=2)
    other = SendQueue([endpoint], Outbox(tmp_path / "other" / "webhooks.db"), clock)
    assert queue.step()
    assert not other.step()
    other.stop(soon())


def test_of_several_endpoints_the_first_due_time_counts(
    outbox: Outbox, pair: tuple[Endpoint, Endpoint], new_queue: Callable[..., SendQueue]
) -> None:
    queue = new_queue(*pair)
    assert queue.next_at(healthy_only=False) == NEVER
    put(outbox, *pair)
    for place, endpoint in enumerate(pair):
        sql(
            outbox,
            f"UPDATE delivery SET attempts = 1, due_at = {NOW + 60 * (place + 1)} WHERE endpoint = '{endpoint.name}'",
        )
    assert queue.next_at(healthy_only=False) == NOW + 60


def test_the_outage_of_a_disabled_endpoint_is_counted_though_it_is_never_probed(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock
) -> None:
    """Else its deliveries would never be too old."""
    put(outbox, endpoint)
    fail(queue, team, 410)
    assert health_of(queue) is Condition.DISABLED
    seen = []
    for _ in range(3):
        clock.now += OUTAGE_SECONDS
        queue.step()
        seen.append(queue.states[0].health.outage_probes)
    assert seen == [seen[0], seen[0] + 1, seen[0] + 2]


def test_results_that_wait_for_others_are_recorded_at_the_end(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint
) -> None:
    put(outbox, endpoint, events=2)
    queue._unsettled.wrote_at = time.monotonic() + PATIENCE
    queue.step(20)
    queue.step(20)
    assert (len(queue._unsettled.results), outbox.scans.tallies()["delivered"]) == (2, 0)
    assert queue.stop(soon()) is True
    assert outbox.scans.tallies()["delivered"] == 2


@pytest.mark.postgres
@pytest.mark.parametrize("others", [0, 1])
def test_a_late_result_is_dropped_if_another_process_sent_meanwhile_although_this_one_does_again(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, caplog: pytest.LogCaptureFixture, others: int
) -> None:
    put(outbox, endpoint)
    queue._unsettled.wrote_at = time.monotonic() + PATIENCE
    assert queue.step(20)
    queue._ownership.lose()
    for _ in range(others):
        lock = Outbox(outbox.place).locks.endpoint(endpoint.name)
        assert lock.take()
        lock.release()
    put(outbox, endpoint, start=2)
    queue._unsettled.wrote_at = time.monotonic() + PATIENCE
    assert queue.step(20)
    queue._unsettled.write()
    while queue.step():
        pass
    assert outbox.scans.tallies()["delivered"] == 2
    first, *_ = team.ids
    assert (team.ids.count(first), len(team.ids)) == (1 + others, 2 + others)
    assert ("1 late results of this process are dropped" in caplog.text) == bool(others)
    assert sql(outbox, "SELECT count(*) FROM delivery_attempt") == [(2,)]


def test_results_that_come_while_others_are_written_wait_for_the_next_ones(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(outbox, endpoint, events=2)
    real = outbox.queue.settle

    def settle(*given: Any) -> None:
        real(*given)
        monkeypatch.setattr(outbox.queue, "settle", real)
        queue.step(20)

    queue._unsettled.wrote_at = time.monotonic() + PATIENCE
    queue.step(20)
    monkeypatch.setattr(outbox.queue, "settle", settle)
    assert queue._unsettled.write() is False
    assert (len(queue._unsettled.results), outbox.scans.tallies()["delivered"]) == (1, 1)


def test_results_are_written_once_by_two_threads_that_wanted_to(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Turn:
        """Says that somebody comes in."""

        def __enter__(self) -> None:
            came.set()
            turn.acquire()

        def __exit__(self, *args: object) -> None:
            turn.release()

    put(outbox, endpoint, events=2)
    queue._unsettled.wrote_at = time.monotonic() + PATIENCE
    queue.step(20)
    came, turn = threading.Event(), queue._flight.turn
    second = threading.Thread(target=queue._unsettled.write)
    with turn:
        monkeypatch.setattr(queue._flight, "turn", Turn())
        second.start()
        assert came.wait(PATIENCE)
        assert queue._unsettled.write() is True
        queue._unsettled.wrote_at += 2 * PATIENCE
        queue.step(20)
    second.join(PATIENCE)
    assert (len(queue._unsettled.results), outbox.scans.tallies()["delivered"]) == (1, 1)


def test_a_url_that_is_left_is_free_at_once_or_with_the_last_result(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint
) -> None:
    put(outbox, endpoint, events=2)
    queue.step()
    queue.leave()
    assert (queue.owned, queue.leaves) == (False, False)
    queue._unsettled.wrote_at = time.monotonic() + PATIENCE
    queue.step(20)
    queue.leave()
    assert (queue.owned, queue.leaves) == (True, True)
    queue._unsettled.wrote_at = 0.0
    assert queue.step(20), "it writes the result"
    assert (queue.owned, queue.leaves) == (False, False)


def test_only_the_request_is_a_wait_for_the_receiver(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner, seen = Runner(), list[bool]()
    for name in ("claim", "settle"):
        real: Callable[..., Any] = getattr(outbox.queue, name)

        def noting(*given: Any, real: Callable[..., Any] = real) -> Any:
            seen.append(runner.asked_at < NEVER)
            return real(*given)

        monkeypatch.setattr(outbox.queue, name, noting)

    def answer(received: Received) -> int:
        seen.append(runner.asked_at < NEVER)
        time.sleep(SLOW_WAIT_SECONDS)
        return 200

    team.answer = answer
    put(outbox, endpoint)
    assert queue.step(runner=runner)
    assert seen == [False, True, False]
    assert runner.waited >= SLOW_WAIT_SECONDS


def test_what_was_sent_but_cannot_be_recorded_is_said_at_the_end(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    put(outbox, endpoint, events=3)
    for _ in range(3):
        queue.step()
    outbox.queue.settle = broken  # type: ignore[method-assign]
    put(outbox, endpoint, events=2, start=4)
    for _ in range(2):
        queue.step(20)
    assert queue.stop(soon()) is False
    (line,) = [line for line in caplog.messages if "were sent but not recorded" in line]
    assert line == "webhooks: 2 deliveries were sent but not recorded; they will be sent again"


def broken(*_: object, **__: object) -> None:
    raise OutboxBusyError("database is locked")


def test_nothing_is_sent_while_too_many_results_wait_to_be_written(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team
) -> None:
    put(outbox, endpoint)
    queue._unsettled.trouble.met("database is locked")
    queue._unsettled.wrote_at = float("inf")
    waiting: Any = (queue.states[0], None, 0)
    queue._unsettled.results.extend([waiting] * UNSETTLED_MAX)
    assert (queue.step(), team.got) == (False, [])
    queue._unsettled.results.pop()
    assert queue._claim(1)
    queue._unsettled.results.clear()


def test_a_queue_that_is_halted_begins_no_attempt(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team
) -> None:
    put(outbox, endpoint)
    queue.halt()
    assert (queue.step(), team.got) == (False, [])
