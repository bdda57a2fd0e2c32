"""One thread at a time goes to the outbox, and one at a time changes the state of an endpoint."""

from __future__ import annotations

import threading
import time
from typing import Callable

import pytest

from sfwebhooks.delivery.send_queue import SendQueue
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Batch
from sfwebhooks.outbox.outbox import Outbox
from tests.builders import PATIENCE, a_delivery
from tests.conftest import Gate, Team, put, soon
from tests.threads import waits_for

STORES = ("sqlite", "postgres")

BATCH = Batch((a_delivery(),))


@pytest.mark.parametrize(
    "call",
    [
        lambda queue: queue.step(),
        lambda queue: queue._unsettled.write(),
        lambda queue: queue.next_at(healthy_only=False),
        lambda queue: queue.open_now(),
        lambda queue: queue.stop(soon()),
        lambda queue: queue.tick(),
        lambda queue: queue.give_way(),
    ],
    ids=["step", "settle", "next_at", "open_now", "stop", "tick", "give_way"],
)
def test_one_thread_at_a_time_goes_to_the_outbox(queue: SendQueue, call: Callable[[SendQueue], object]) -> None:
    assert waits_for(queue._turn, lambda: call(queue))


@pytest.mark.parametrize(
    "call",
    [
        lambda queue: queue._forget(queue.states[0]),
        lambda queue: queue._flight.release(BATCH),
        lambda queue: queue.halt(),
    ],
    ids=["forget", "release", "halt"],
)
def test_the_state_changes_in_one_thread_at_a_time(queue: SendQueue, call: Callable[[SendQueue], object]) -> None:
    assert waits_for(queue._lock, lambda: call(queue))


def test_nothing_is_sent_before_it_is_noted_as_in_flight(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team
) -> None:
    put(outbox, endpoint)
    assert waits_for(queue._lock, queue.step, seen=lambda: team.got)
    assert len(team.got) == 1


def test_an_attempt_that_is_over_is_noted_in_one_thread_at_a_time(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, gate: Gate
) -> None:
    put(outbox, endpoint)
    team.answer = gate

    thread = threading.Thread(target=queue.step, daemon=True)
    thread.start()
    team.wait_for(1)
    with queue._lock:
        gate.open()
        thread.join(0.3)
        assert (thread.is_alive(), queue.states[0].in_flight) == (True, 1)
    thread.join(PATIENCE)
    assert queue.states[0].in_flight == 0


def test_results_are_taken_from_the_state_in_one_thread_at_a_time(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint
) -> None:
    put(outbox, endpoint)
    queue._unsettled.wrote_at = time.monotonic() + PATIENCE  # so the result waits for others
    queue.step(20)
    assert queue._unsettled.results
    assert waits_for(queue._lock, queue._unsettled.write)
    assert (list(queue._unsettled.results), queue._flight.ids) == ([], set())
