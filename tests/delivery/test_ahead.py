"""Deliveries that a worker has claimed ahead: in memory for a moment, and never in the way of a rule."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import pytest

from sfwebhooks.delivery.send_queue import AHEAD_MAX, AHEAD_SECONDS, CERTAIN_SECONDS, POLL_SECONDS, SendQueue
from sfwebhooks.delivery.settling import GROUP_MAX
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Batch, lifecycle_id
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.pipeline import accept
from sfwebhooks.screening import Screen
from tests.builders import NOW, PATIENCE, a_scan, an_endpoint, an_event
from tests.conftest import Clock, Gate, Result, Team, put, soon, sql

STORES = ("sqlite", "postgres")


def claims(queue: SendQueue) -> int:
    """Return the number of deliveries that are claimed and not yet sent."""
    return sum(len(state.ahead) for state in queue.states)


def test_several_are_claimed_at_once_and_sent_in_order(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team
) -> None:
    put(outbox, endpoint, events=AHEAD_MAX + 5)
    queue.step(AHEAD_MAX)
    assert claims(queue) == AHEAD_MAX - 1
    while queue.step(AHEAD_MAX):
        pass
    assert team.sequences == [*range(1, AHEAD_MAX + 6)]


def test_one_at_a_time_is_claimed_without_workers(outbox: Outbox, queue: SendQueue, endpoint: Endpoint) -> None:
    put(outbox, endpoint, events=3)
    queue.step()
    assert claims(queue) == 0


def test_their_results_are_written_together(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sfwebhooks.delivery.send_queue.GROUP_SECONDS", 10 * PATIENCE)
    put(outbox, endpoint, events=GROUP_MAX + 1)
    queue.step(AHEAD_MAX)  # the first one is written at once
    written = []
    for _ in range(GROUP_MAX):
        queue.step(AHEAD_MAX)
        written.append(outbox.scans.tallies()["delivered"])
    assert (len(team.got), written) == (GROUP_MAX + 1, [1] * (GROUP_MAX - 1) + [GROUP_MAX + 1])


def test_they_are_claimed_again_after_a_moment(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock
) -> None:
    put(outbox, endpoint, events=5)
    queue.step(AHEAD_MAX)
    sql(outbox, "UPDATE delivery SET state = 'dead', reason = 'dropped' WHERE state = 'waiting' AND sequence > 1")
    clock.now += AHEAD_SECONDS + 0.1
    queue.step(AHEAD_MAX)
    assert (len(team.got), claims(queue)) == (1, 0)


def test_a_pause_holds_them(outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock) -> None:
    put(outbox, endpoint, events=5)
    queue.step(AHEAD_MAX)
    outbox.endpoints.pause("team", float("inf"))
    clock.now += POLL_SECONDS
    assert (queue.step(AHEAD_MAX), len(team.got)) == (False, 1)


def test_an_endpoint_that_fails_is_probed_by_one_and_none_is_sent_twice(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock
) -> None:
    put(outbox, endpoint, events=10)
    queue.step(AHEAD_MAX)
    team.answer = 503
    while queue.step(AHEAD_MAX):
        pass
    assert queue.states[0].health.healthy is False
    team.answer = 200
    refused = len(team.got)
    for _ in range(100):
        clock.now += 60
        while queue.step(AHEAD_MAX):
            pass
    assert outbox.scans.tallies() == {"waiting": 0, "delivered": 10, "dead": 0}
    assert sorted(team.ids[refused:]) == sorted({*team.ids[refused:]})


def test_a_message_from_elsewhere_in_the_queue_is_not_sent_again_when_its_turn_comes(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team
) -> None:
    """After two failures the newest one goes, which was claimed ahead."""
    put(outbox, endpoint, events=5)
    team.answer = lambda received: 500 if len(team.got) <= 2 else 200
    while queue.step(AHEAD_MAX):
        pass
    assert team.sequences == [1, 2, 5, 3, 4]


def test_a_scans_end_is_not_claimed_ahead(
    outbox: Outbox, team: Team, clock: Clock, new_queue: Callable[..., SendQueue]
) -> None:
    endpoint = an_endpoint(url=team.url, timeout=PATIENCE, events=("all",))
    scan = a_scan()
    put(outbox, endpoint, events=2)
    end = an_event(9, id=lifecycle_id(scan.id, "ended"), type="scan_completed", scan=scan)
    accept([end], Screen((endpoint,)), outbox, NOW)
    queue, gate = new_queue(endpoint), Gate()
    team.answer = gate
    threads = [threading.Thread(target=queue.step, args=(AHEAD_MAX,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        deadline = soon()
        while queue.states[0].in_flight < 2 and time.monotonic() < deadline:
            threading.Event().wait(0.01)
        assert queue.step(AHEAD_MAX) is False  # both findings are in flight
    finally:
        gate.open()
    for thread in threads:
        thread.join(PATIENCE)
    while queue.step(AHEAD_MAX):
        pass
    assert [one.message["event_type"] for one in team.got][-1] == "scan_completed"


def test_two_workers_never_send_the_same_delivery(
    outbox: Outbox, team: Team, new_queue: Callable[..., SendQueue]
) -> None:
    endpoint = an_endpoint(url=team.url, timeout=PATIENCE, events=("all",), concurrency=4)
    put(outbox, endpoint, events=200)
    queue = new_queue(endpoint)

    def work() -> None:
        while queue.step(AHEAD_MAX):
            pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    work()
    assert (len(team.ids), len({*team.ids})) == (200, 200)
    assert outbox.scans.tallies()["delivered"] == 200


def test_what_was_claimed_ahead_is_forgotten_with_the_lock(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, new_queue: Callable[..., SendQueue]
) -> None:
    put(outbox, endpoint, events=3)
    queue.step(AHEAD_MAX)
    queue._ownership.release()
    other = new_queue(endpoint)
    while other.step():
        pass
    other.stop(soon())
    while queue.step(AHEAD_MAX):
        pass
    assert len(team.ids) == len({*team.ids}) == 3


@pytest.mark.parametrize("command", ["purge --endpoint team --waiting --yes", "drop --endpoint team --state waiting"])
def test_what_an_operator_deletes_is_not_sent_even_if_it_was_claimed(
    command: str,
    outbox: Outbox,
    queue: SendQueue,
    endpoint: Endpoint,
    team: Team,
    clock: Clock,
    cli: Callable[..., Result],
) -> None:
    put(outbox, endpoint, events=AHEAD_MAX)
    queue.step(AHEAD_MAX)
    assert claims(queue) == AHEAD_MAX - 1
    assert cli(*command.split()).code == 0
    clock.now += 1.1 * CERTAIN_SECONDS
    while queue.step(AHEAD_MAX):
        pass
    assert (team.sequences, outbox.scans.tallies()["waiting"]) == ([1], 0)


def test_what_is_left_of_them_is_sent(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock
) -> None:
    put(outbox, endpoint, events=4)
    queue.step(AHEAD_MAX)
    sql(outbox, "DELETE FROM delivery WHERE sequence IN (2, 4)")
    clock.now += 1.1 * CERTAIN_SECONDS
    while queue.step(AHEAD_MAX):
        pass
    assert team.sequences == [1, 3]


def test_a_batch_of_several_is_claimed_alone(outbox: Outbox, team: Team, new_queue: Callable[..., SendQueue]) -> None:
    endpoint = an_endpoint(url=team.url, timeout=PATIENCE, batch_size=3, batch_wait=0.0)
    put(outbox, endpoint, events=7)
    queue = new_queue(endpoint)
    queue.hurry()
    while queue.step(AHEAD_MAX):
        assert claims(queue) == 0
    assert [len(one.messages) for one in team.got] == [3, 3, 1]


def test_what_was_claimed_ahead_is_forgotten_with_the_lock_of_the_endpoint(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock
) -> None:
    put(outbox, endpoint, events=5)
    queue.step(AHEAD_MAX)
    queue._ownership._locks["team"].release()
    sql(outbox, "UPDATE delivery SET state = 'delivered' WHERE sequence = 2")  # by the process that had it meanwhile
    clock.now += POLL_SECONDS
    queue.step(AHEAD_MAX)
    assert team.sequences == [1, 3]


def test_those_that_still_wait_are_looked_up_at_once(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(outbox, endpoint, events=6)
    queue.step(AHEAD_MAX)
    sql(outbox, "DELETE FROM delivery WHERE sequence IN (3, 5)")
    looks, real = list[int](), outbox.queue.still_waiting

    def still_waiting(claimed: Sequence[Batch]) -> list[Batch]:
        looks.append(len(claimed))
        return real(claimed)

    monkeypatch.setattr(outbox.queue, "still_waiting", still_waiting)
    clock.now += 1.1 * CERTAIN_SECONDS
    queue.step(AHEAD_MAX)
    assert (looks, claims(queue)) == ([5], 2)
    queue.step(AHEAD_MAX)
    assert (looks, team.sequences) == ([5], [1, 2, 4]), "they are certain for a moment"
