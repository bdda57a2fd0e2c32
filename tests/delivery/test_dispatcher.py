from __future__ import annotations

import itertools
import logging
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from subprocess import PIPE
from typing import Any, Callable

import pytest

from sfwebhooks.delivery.dispatcher import REST_SHARE, Dispatcher
from sfwebhooks.delivery.send_queue import SendQueue
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import OutboxBusyError
from sfwebhooks.health import Health
from sfwebhooks.outbox.file import File
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.queue import CRASHES_MAX
from sfwebhooks.pipeline import accept
from sfwebhooks.receive.received import Received
from sfwebhooks.screening import Screen
from sfwebhooks.system import uptime
from tests.builders import NOW, PATIENCE, an_endpoint, an_event
from tests.conftest import Clock, Gate, Team, hold, put, senders, soon, spoil, sql
from tests.processes import Process, run
from tests.stores import Locked

STORES = ("sqlite", "postgres")

ROOT = Path(__file__).parents[2]

# --- two endpoints with one URL


def test_endpoints_with_one_url_share_a_queue(dispatch: Callable[..., Dispatcher]) -> None:
    assert len(dispatch(an_endpoint("one"), an_endpoint("two")).queues) == 1


def test_endpoints_with_other_urls_have_queues_of_their_own(
    endpoint: Endpoint, dispatch: Callable[..., Dispatcher]
) -> None:
    assert len(dispatch(endpoint, an_endpoint("two")).queues) == 2


# --- one sender a URL


def test_a_running_dispatcher_takes_over_by_itself(
    outbox: Outbox, endpoint: Endpoint, team: Team, dispatch: Callable[..., Dispatcher]
) -> None:
    lock = outbox.locks.url(endpoint.url_id)
    lock.take()
    put(outbox, endpoint)
    dispatch(endpoint).wake()
    lock.release()
    assert team.wait_for(1)


DISPATCH = f"""
import sys, time
from pathlib import Path
from sfwebhooks.delivery.dispatcher import Dispatcher
from tests.builders import an_endpoint
from tests.stores import place_in
dispatcher = Dispatcher([an_endpoint(url=sys.argv[2])], place_in(Path(sys.argv[1])))
print("ready", flush=True)
sys.stdin.readline()
dispatcher.wake()
dispatcher.linger(time.monotonic() + {PATIENCE})
dispatcher.stop({PATIENCE})
"""


@pytest.fixture
def new_process(outbox: Outbox, endpoint: Endpoint) -> Iterator[Callable[[], Process]]:
    """Start processes that send to the endpoint once they are asked to, until nothing is due."""
    started: list[Process] = []

    def start() -> Process:
        process = Process([outbox.path.parent, endpoint.url.reveal()], DISPATCH, stdin=PIPE, stdout=PIPE)
        started.append(process)
        assert process.stdout and process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def go(process: Process) -> None:
    assert process.stdin
    process.stdin.write("go\n")
    process.stdin.flush()


def test_two_processes_deliver_each_delivery_once(
    outbox: Outbox, endpoint: Endpoint, team: Team, new_process: Callable[[], Process]
) -> None:
    put(outbox, endpoint, events=50)
    processes = [new_process(), new_process()]
    for process in processes:
        go(process)
    for process in processes:
        process.communicate(timeout=PATIENCE)
    assert (len(team.ids), len(set(team.ids)), outbox.scans.tallies()["delivered"]) == (50, 50, 50)


# --- senders that die


@pytest.mark.slow
def test_a_sender_killed_while_it_waits_for_an_answer_blames_no_delivery(
    outbox: Outbox,
    endpoint: Endpoint,
    team: Team,
    gate: Gate,
    queue: SendQueue,
    new_process: Callable[[], Process],
) -> None:
    team.answer = gate
    put(outbox, endpoint)
    for times in range(1, CRASHES_MAX + 2):
        process = new_process()
        go(process)
        team.wait_for(times)
        process.send_signal(signal.SIGKILL)
        process.wait(PATIENCE)
    gate.open()
    assert (queue.step(), outbox.scans.tallies()) == (True, {"waiting": 0, "delivered": 1, "dead": 0})


def test_a_delivery_whose_making_killed_three_processes_is_dead_and_the_others_go_on(
    outbox: Outbox, endpoint: Endpoint, new_queue: Callable[..., SendQueue]
) -> None:
    put(outbox, endpoint, events=2)
    dies = """
import dataclasses, os
from sfwebhooks.formats import FORMATS
real = FORMATS["generic"].render
dies = lambda delivery, endpoint: os._exit(9) if delivery.sequence == 1 else real(delivery, endpoint)
FORMATS["generic"] = dataclasses.replace(FORMATS["generic"], render=dies)
"""
    for dead in (True, True, False, True):  # after the second time it waits, and the other one is sent
        process = run([outbox.path.parent, endpoint.url.reveal()], dies + DISPATCH, input="go\n")
        assert process.returncode == (9 if dead else 0)
        if not dead:
            assert outbox.scans.tallies() == {"waiting": 1, "delivered": 1, "dead": 0}
            outbox.due.make_due("team", NOW)
    assert not new_queue(endpoint).step()
    assert outbox.scans.tallies() == {"waiting": 0, "delivered": 1, "dead": 1}
    assert sql(outbox, "SELECT reason FROM delivery WHERE state = 'dead'") == [("crashed_sender",)]


# --- threads


def test_threads_start_only_when_they_are_woken(endpoint: Endpoint, dispatch: Callable[..., Dispatcher]) -> None:
    dispatch(endpoint)
    assert senders() == []


def test_all_that_waits_is_delivered(outbox: Outbox, endpoint: Endpoint, dispatch: Callable[..., Dispatcher]) -> None:
    put(outbox, endpoint, events=50)
    dispatcher = dispatch(endpoint)
    dispatcher.wake()
    dispatcher.linger(soon())
    assert outbox.scans.tallies()["delivered"] == 50


def test_as_many_are_in_flight_as_the_endpoint_allows(
    outbox: Outbox, endpoint: Endpoint, team: Team, dispatch: Callable[..., Dispatcher]
) -> None:
    together = threading.Barrier(4)
    team.answer = lambda received: 200 if together.wait(PATIENCE) >= 0 else 500
    put(outbox, endpoint, events=4)
    dispatcher = dispatch(replace(endpoint, concurrency=4))
    dispatcher.wake()
    dispatcher.linger(soon())
    assert outbox.scans.tallies()["delivered"] == 4


def test_what_fails_at_once_is_alerted_once(
    outbox: Outbox,
    endpoint: Endpoint,
    team: Team,
    dispatch: Callable[..., Dispatcher],
    caplog: pytest.LogCaptureFixture,
) -> None:
    together = threading.Barrier(4)
    team.answer = lambda received: 503 if together.wait(PATIENCE) >= 0 else 200
    put(outbox, endpoint, events=4)
    dispatcher = dispatch(replace(endpoint, concurrency=4))
    dispatcher.wake()
    team.wait_for(4)
    dispatcher.stop(PATIENCE)
    assert (len(team.got), caplog.text.count("its deliveries are kept")) == (4, 1)


def test_a_concurrency_of_one_keeps_the_order(
    outbox: Outbox, endpoint: Endpoint, team: Team, dispatch: Callable[..., Dispatcher]
) -> None:
    put(outbox, endpoint, events=30)
    dispatcher = dispatch(replace(endpoint, concurrency=1))
    dispatcher.wake()
    dispatcher.linger(soon())
    assert team.sequences == list(range(1, 31))


def test_one_endpoint_that_never_answers_does_not_stop_another_one(
    outbox: Outbox,
    endpoint: Endpoint,
    team: Team,
    receive: Callable[..., Team],
    gate: Gate,
    dispatch: Callable[..., Dispatcher],
) -> None:
    slow = receive()
    slow.answer = gate
    hanging = an_endpoint("slow", url=slow.url, timeout=PATIENCE)
    put(outbox, endpoint, hanging, events=10)
    dispatch(endpoint, hanging).wake()
    slow.wait_for(4)
    assert team.wait_for(10)
    gate.open()


def test_what_another_process_accepts_is_found_while_a_delivery_hangs(
    outbox: Outbox, endpoint: Endpoint, team: Team, gate: Gate, dispatch: Callable[..., Dispatcher]
) -> None:
    team.answer = lambda received: gate(received) if len(team.got) == 1 else 200
    put(outbox, endpoint)
    dispatch(replace(endpoint, concurrency=2)).wake()
    put(outbox, endpoint, start=2)  # nobody is woken for it
    assert team.wait_for(2)
    gate.open()


def test_a_bug_is_logged_and_the_deliveries_behind_it_arrive(
    outbox: Outbox,
    endpoint: Endpoint,
    team: Team,
    dispatch: Callable[..., Dispatcher],
    caplog: pytest.LogCaptureFixture,
) -> None:
    accept([an_event(1), an_event(2)], Screen((endpoint,)), outbox, NOW)
    spoil(outbox, 1)
    dispatch(replace(endpoint, concurrency=1)).wake()
    team.wait_for(1)
    assert "bug in the sending thread" in caplog.text


class Hearing(logging.Handler):
    """Sets an event once words are logged, or anything."""

    def __init__(self, heard: threading.Event, words: str = "") -> None:
        super().__init__()
        self._heard = heard
        self._words = words

    def emit(self, record: logging.LogRecord) -> None:
        if self._words in record.getMessage():
            self._heard.set()


def test_an_outbox_that_cannot_be_used_is_reported_once(
    tmp_path: Path, endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "broken.db").mkdir()
    logged = threading.Event()
    handler = Hearing(logged)
    logging.getLogger("spiderfoot.webhooks").addHandler(handler)
    dispatcher = Dispatcher([endpoint], tmp_path / "broken.db")
    dispatcher.wake()
    assert logged.wait(PATIENCE)
    logging.getLogger("spiderfoot.webhooks").removeHandler(handler)
    dispatcher.stop(PATIENCE)
    assert caplog.text.count("is not a regular file") == 1


# --- stop


def test_stop_leaves_no_thread(outbox: Outbox, endpoint: Endpoint, dispatch: Callable[..., Dispatcher]) -> None:
    put(outbox, endpoint, events=10)
    dispatcher = dispatch(endpoint)
    dispatcher.wake()
    dispatcher.linger(soon())
    dispatcher.stop(PATIENCE)
    assert senders() == []


def test_stop_lets_go_of_the_url(outbox: Outbox, endpoint: Endpoint, dispatch: Callable[..., Dispatcher]) -> None:
    put(outbox, endpoint)
    dispatcher = dispatch(endpoint)
    dispatcher.wake()
    dispatcher.linger(soon())
    dispatcher.stop(PATIENCE)
    assert outbox.locks.url(endpoint.url_id).take()


def test_stop_keeps_what_was_not_begun(
    outbox: Outbox, endpoint: Endpoint, team: Team, gate: Gate, dispatch: Callable[..., Dispatcher]
) -> None:
    team.answer = gate
    put(outbox, endpoint, events=3)
    dispatcher = dispatch(replace(endpoint, concurrency=1))
    dispatcher.wake()
    team.wait_for(1)
    dispatcher.stop(0.0)
    gate.open()
    dispatcher.stop(PATIENCE)
    assert outbox.scans.tallies() == {"waiting": 2, "delivered": 1, "dead": 0}


def test_stop_does_not_wait_longer_than_its_limit(
    outbox: Outbox, endpoint: Endpoint, team: Team, gate: Gate, dispatch: Callable[..., Dispatcher]
) -> None:
    team.answer = gate
    put(outbox, endpoint)
    dispatcher = dispatch(endpoint)
    dispatcher.wake()
    team.wait_for(1)
    dispatcher.stop(0.0)
    assert outbox.scans.tallies()["waiting"] == 1  # it came back although the receiver has not answered


def test_stop_lets_go_of_the_url_also_while_an_attempt_hangs(
    outbox: Outbox, endpoint: Endpoint, team: Team, gate: Gate, dispatch: Callable[..., Dispatcher]
) -> None:
    team.answer = gate
    put(outbox, endpoint)
    dispatcher = dispatch(endpoint)
    dispatcher.wake()
    team.wait_for(1)
    dispatcher.stop(0.0)
    assert outbox.locks.url(endpoint.url_id).take()


def test_stop_says_whether_all_have_ended(
    outbox: Outbox, endpoint: Endpoint, team: Team, gate: Gate, dispatch: Callable[..., Dispatcher]
) -> None:
    team.answer = gate
    put(outbox, endpoint)
    dispatcher = dispatch(an_endpoint("idle"), endpoint)
    dispatcher.wake()
    team.wait_for(1)
    assert dispatcher.stop(0.0) is False
    gate.open()
    assert dispatcher.stop(PATIENCE) is True


@pytest.mark.sqlite("the file's descriptors")
def test_stop_closes_the_outbox(outbox: Outbox, endpoint: Endpoint, dispatch: Callable[..., Dispatcher]) -> None:
    put(outbox, endpoint)
    dispatcher = dispatch(endpoint)
    dispatcher.tick()
    dispatcher.stop(PATIENCE)
    assert isinstance(dispatcher.outbox, Outbox)
    assert isinstance(dispatcher.outbox.database, File)
    assert dispatcher.outbox.database.connection is None


def test_stop_of_a_dispatcher_that_never_sent_is_harmless(dispatch: Callable[..., Dispatcher]) -> None:
    dispatch(an_endpoint()).stop(PATIENCE)
    assert senders() == []


# --- what it says of its endpoints


def test_the_more_urls_there_are_the_longer_each_rests(dispatch: Callable[..., Dispatcher]) -> None:
    dispatcher = dispatch(an_endpoint("one"), an_endpoint("two", url="https://two.example.test/"))
    dispatcher.be_polite()
    assert [queue._workers.rest_share for queue in dispatcher.queues] == [2 * REST_SHARE] * 2


def test_tried_in_vain_are_those_that_were_tried_and_are_not_healthy(
    outbox: Outbox, receive: Callable[..., Team], clock: Clock
) -> None:
    names = ("healthy", "held", "untried")
    teams = {name: receive() for name in names}
    endpoints = [an_endpoint(name, url=team.url, timeout=PATIENCE) for name, team in teams.items()]
    dispatcher = Dispatcher(endpoints, outbox.place, clock)
    queues = {queue.states[0].endpoint.name: queue for queue in dispatcher.queues}
    put(outbox, *endpoints, events=4)
    assert dispatcher.tried_in_vain == frozenset()
    queues["healthy"].step()
    hold(queues["held"], teams["held"], clock)
    hold(queues["untried"], teams["untried"], clock)
    queues["untried"].states[0].tried = False
    assert dispatcher.tried_in_vain == {"held"}
    queues["held"].stop(soon())
    assert dispatcher.tried_in_vain == frozenset(), "another process may send to it now"
    dispatcher.stop(PATIENCE)


def test_an_endpoint_for_which_the_outbox_cannot_be_used_does_not_keep_the_others_from_being_tried(
    outbox: Outbox, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    endpoints = [an_endpoint(name, url=f"https://{name}.example.test/") for name in ("first", "second")]
    put(outbox, *endpoints)
    sql(outbox, f"UPDATE delivery SET due_at = {NOW + 600}, attempts = 1")
    sql(
        outbox,
        "CREATE TRIGGER no BEFORE UPDATE ON delivery WHEN NEW.endpoint = 'first'"
        " BEGIN SELECT raise(ABORT, 'refused'); END",
    )
    dispatcher = Dispatcher(endpoints, outbox.place, clock)
    dispatcher.open_now()
    assert sql(outbox, f"SELECT endpoint FROM delivery WHERE due_at < {NOW + 600}") == [("second",)]
    assert next(line for line in caplog.messages if "refused" in line).startswith("webhooks: endpoint first: outbox ")
    dispatcher.stop(PATIENCE)


# --- linger


def lingers(dispatcher: Dispatcher, **values: Any) -> None:
    """Linger as long as the dispatcher wants to; a wait for the deadline is one that had no reason."""
    thread = threading.Thread(target=dispatcher.linger, args=(time.monotonic() + 3600,), kwargs=values, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_linger_ends_at_once_when_nothing_waits(endpoint: Endpoint, dispatch: Callable[..., Dispatcher]) -> None:
    lingers(dispatch(endpoint))


def test_linger_ends_when_all_is_delivered(
    outbox: Outbox, endpoint: Endpoint, dispatch: Callable[..., Dispatcher]
) -> None:
    put(outbox, endpoint, events=20)
    dispatcher = dispatch(endpoint)
    dispatcher.wake()
    lingers(dispatcher)
    assert outbox.scans.tallies()["delivered"] == 20


def test_linger_does_not_wait_for_a_retry(
    outbox: Outbox, endpoint: Endpoint, team: Team, dispatch: Callable[..., Dispatcher]
) -> None:
    team.answer = 500
    put(outbox, endpoint)
    dispatcher = dispatch(endpoint)
    dispatcher.wake()
    lingers(dispatcher)
    assert outbox.scans.tallies()["waiting"] == 1


def test_linger_does_not_wait_for_a_held_endpoint(
    outbox: Outbox, endpoint: Endpoint, team: Team, dispatch: Callable[..., Dispatcher]
) -> None:
    team.answer = 401
    put(outbox, endpoint, events=10)
    dispatcher = dispatch(endpoint)
    dispatcher.wake()
    lingers(dispatcher)
    assert outbox.scans.tallies()["waiting"] == 10


def test_linger_does_not_wait_for_others_that_an_alert_could_be_gathered_with(
    outbox: Outbox,
    endpoint: Endpoint,
    receive: Callable[..., Team],
    dispatch: Callable[..., Dispatcher],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sfwebhooks.delivery.alert_timing.GATHER_SECONDS", 100 * PATIENCE)
    closed = receive()
    closed.answer = 500
    failing = an_endpoint("failing", url=closed.url)
    put(outbox, failing, events=10)
    dispatcher = dispatch(replace(endpoint, events=("system_alert",)), failing)
    dispatcher.wake()
    lingers(dispatcher)
    assert [row[0] for row in sql(outbox, "SELECT state FROM delivery WHERE name = 'system_alert'")] == ["delivered"]


def test_linger_waits_for_a_healthy_endpoint_with_a_held_one(
    outbox: Outbox, endpoint: Endpoint, receive: Callable[..., Team], dispatch: Callable[..., Dispatcher]
) -> None:
    closed = receive()
    closed.answer = 401
    held = an_endpoint("held", url=closed.url)
    put(outbox, endpoint, held, events=10)
    dispatcher = dispatch(endpoint, held)
    dispatcher.wake()
    lingers(dispatcher)
    assert outbox.scans.tallies()["delivered"] == 10


def test_linger_for_everything_waits_for_a_retry(
    outbox: Outbox, endpoint: Endpoint, team: Team, dispatch: Callable[..., Dispatcher]
) -> None:
    team.answer = lambda received: 500 if len(team.got) == 1 else 200
    put(outbox, endpoint)
    dispatcher = dispatch(replace(endpoint, retry_schedule=(0.1,)))
    dispatcher.wake()
    lingers(dispatcher, everything=True)
    assert outbox.scans.tallies()["delivered"] == 1


def test_linger_goes_on_when_an_attempt_is_refused_while_it_looks(outbox: Outbox) -> None:
    """The endpoint is open again from the moment of the refusal, which is later than the last reading of the clock."""
    endpoint, seconds, rounds = an_endpoint(), itertools.count(int(NOW)), list[int]()
    put(outbox, endpoint)

    def clock() -> float:
        now = float(next(seconds))
        for queue in dispatcher.queues if rounds else ():
            queue.states[0].health = Health(refusals=1, open_at=now + 0.5)
        return now

    def is_over() -> bool:
        rounds.append(1)
        return len(rounds) > 3

    dispatcher = Dispatcher([endpoint], outbox.place, clock)
    dispatcher.open_now()
    dispatcher.linger(soon(), is_over=is_over)
    assert len(rounds) == 4
    dispatcher.stop(PATIENCE)


def test_linger_ends_when_it_is_stopped(
    outbox: Outbox, endpoint: Endpoint, team: Team, gate: Gate, dispatch: Callable[..., Dispatcher]
) -> None:
    team.answer = gate
    put(outbox, endpoint)
    dispatcher, stop = dispatch(endpoint), threading.Event()
    dispatcher.wake()
    team.wait_for(1)
    stop.set()
    lingers(dispatcher, is_over=stop.is_set)
    gate.open()


def test_linger_does_not_wait_for_an_endpoint_that_an_earlier_process_found_held(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock, dispatch: Callable[..., Dispatcher]
) -> None:
    put(outbox, endpoint, events=4)
    hold(queue, team, clock)
    queue.stop(soon())
    lingers(dispatch(endpoint))


# --- a locked outbox


@pytest.fixture
def waiting_to_note() -> Iterator[threading.Event]:
    """Set once a delivery that was made could not be noted."""
    seen = threading.Event()
    handler = Hearing(seen, "are kept in memory")
    logger = logging.getLogger("spiderfoot.webhooks")
    logger.addHandler(handler)
    yield seen
    logger.removeHandler(handler)


@pytest.fixture
def locked(outbox: Outbox, team: Team) -> Locked:
    """The outbox is locked as soon as the receiver has got the first delivery, before it answers."""
    locked = Locked(outbox.place)

    def answer(received: Received) -> int:
        if len(team.got) == 1:
            locked.lock()
        return 200

    team.answer = answer
    return locked


def test_a_delivery_made_while_the_outbox_is_locked_is_noted_later(
    outbox: Outbox,
    endpoint: Endpoint,
    team: Team,
    locked: Locked,
    waiting_to_note: threading.Event,
    dispatch: Callable[..., Dispatcher],
) -> None:
    put(outbox, endpoint)
    dispatcher = dispatch(endpoint)
    dispatcher.wake()
    assert waiting_to_note.wait(PATIENCE)
    locked.free()
    dispatcher.linger(soon())
    assert (outbox.scans.tallies()["delivered"], len(team.got)) == (1, 1)


@pytest.mark.slow
def test_while_the_outbox_is_locked_what_was_accepted_is_delivered_once(
    outbox: Outbox, endpoint: Endpoint, team: Team, locked: Locked, dispatch: Callable[..., Dispatcher]
) -> None:
    put(outbox, endpoint, events=10)
    dispatcher = dispatch(endpoint)
    dispatcher.wake()
    team.wait_for(10)
    locked.free()
    dispatcher.linger(soon())
    assert (outbox.scans.tallies()["delivered"], len(team.ids), len(set(team.ids))) == (10, 10, 10)


@pytest.mark.slow
def test_a_delivery_that_cannot_be_noted_before_the_stop_is_repeated_under_the_same_id(
    outbox: Outbox,
    endpoint: Endpoint,
    team: Team,
    locked: Locked,
    waiting_to_note: threading.Event,
    dispatch: Callable[..., Dispatcher],
) -> None:
    put(outbox, endpoint)
    first, second = dispatch(endpoint), dispatch(endpoint)
    first.wake()
    assert waiting_to_note.wait(PATIENCE)
    first.stop(PATIENCE)
    locked.free()
    second.wake()
    second.linger(soon())
    assert (len(team.ids), len(set(team.ids)), outbox.scans.tallies()["delivered"]) == (2, 1, 1)


# --- without threads


@pytest.mark.sqlite("the locks of a server have a thread")
def test_a_host_that_ends_delivers_without_threads(
    outbox: Outbox, endpoint: Endpoint, dispatch: Callable[..., Dispatcher]
) -> None:
    put(outbox, endpoint, events=5)
    dispatch(endpoint).run_here(soon())
    assert (outbox.scans.tallies()["delivered"], senders()) == (5, [])


def test_a_host_that_ends_delivers_batches_that_are_not_full(
    outbox: Outbox, endpoint: Endpoint, dispatch: Callable[..., Dispatcher]
) -> None:
    endpoint = replace(endpoint, batch_size=10, batch_wait=3600.0)
    accept([an_event(1)], Screen((endpoint,)), outbox, time.time())
    dispatch(endpoint).run_here(soon())
    assert outbox.scans.tallies()["delivered"] == 1


def test_a_host_that_ends_does_not_wait_for_retries(
    outbox: Outbox, endpoint: Endpoint, team: Team, dispatch: Callable[..., Dispatcher]
) -> None:
    team.answer = 500
    put(outbox, endpoint)
    dispatch(endpoint).run_here(time.monotonic() + 3600)
    assert len(team.got) == 1


# --- clocks


def test_intervals_are_measured_by_a_clock_that_cannot_be_set(
    outbox: Outbox, endpoint: Endpoint, dispatch: Callable[..., Dispatcher], clock: Clock
) -> None:
    assert dispatch(endpoint).queues[0]._ownership._steady is uptime
    given = Dispatcher([endpoint], outbox.place, clock)
    assert given.queues[0]._ownership._steady is clock
    given.stop(PATIENCE)


def test_where_alerts_cannot_be_stored_none_is_about_to_be_due(
    endpoint: Endpoint, dispatch: Callable[..., Dispatcher], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: object) -> bool:
        raise OutboxBusyError("database is locked")

    dispatcher = dispatch(endpoint)
    monkeypatch.setattr(dispatcher._alerting, "look", fail)
    assert dispatcher.tick() is False
    monkeypatch.undo()
