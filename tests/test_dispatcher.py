from __future__ import annotations

import logging
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable

import pytest
import responses

from sfwebhooks.dispatcher import Dispatcher
from sfwebhooks.endpoints import Endpoint, Secret
from sfwebhooks.lane import Lane
from sfwebhooks.locks import url_lock
from sfwebhooks.outbox import CRASHES_MAX, Outbox
from sfwebhooks.pacing import FAILURES_MAX, PROBE_SECONDS, Condition
from sfwebhooks.pipeline import accept
from sfwebhooks.receiver import Received
from tests.builders import NOW, URL, an_endpoint, an_event
from tests.conftest import PATIENCE, Clock, Team

ROOT = Path(__file__).parents[1]
POISON = {"data": float("nan")}  # no JSON can be made of it: to render it is a bug


def put(outbox: Outbox, *endpoints: Endpoint, events: int = 1, start: int = 1) -> None:
    accept([an_event(number) for number in range(start, start + events)], endpoints, outbox, NOW)


def soon() -> float:
    return time.monotonic() + PATIENCE


def sql(outbox: Outbox, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(outbox.path)) as connection:
        return connection.execute(query).fetchall()


def senders() -> list[str]:
    """Return the names of all sending threads of this process."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("webhooks-")]


class Gate:
    """An answer that a receiver gives only once the test lets it."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self._open = threading.Event()

    def __call__(self, received: Received) -> int:
        self._open.wait(PATIENCE)
        return self.status

    def open(self) -> None:
        self._open.set()


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open()


@pytest.fixture
def team(receive: Callable[..., Team]) -> Team:
    return receive()


@pytest.fixture
def endpoint(team: Team) -> Endpoint:
    return an_endpoint(url=team.url, timeout=PATIENCE, retry_schedule=(5.0, 60.0))


@pytest.fixture
def lane(outbox: Outbox, endpoint: Endpoint, clock: Clock) -> Iterator[Lane]:
    """The lane of the endpoint, to be driven step by step, without threads."""
    lane = Lane([endpoint], outbox, clock)
    yield lane
    lane.stop(soon())


@pytest.fixture
def new_lane(outbox: Outbox, clock: Clock) -> Iterator[Callable[..., Lane]]:
    """Make lanes with an outbox of their own, as other processes have: `new_lane(endpoint, ...)`."""
    lanes: list[Lane] = []

    def make(*endpoints: Endpoint) -> Lane:
        lanes.append(Lane(endpoints, Outbox(outbox.path), clock))
        return lanes[-1]

    yield make
    for lane in lanes:
        lane.stop(soon())


@pytest.fixture
def dispatch(outbox: Outbox, gate: Gate) -> Iterator[Callable[..., Dispatcher]]:
    """Make dispatchers with threads, at the real time: `dispatch(endpoint, ...)`."""
    made: list[Dispatcher] = []

    def make(*endpoints: Endpoint) -> Dispatcher:
        made.append(Dispatcher(endpoints, outbox.path))
        return made[-1]

    yield make
    gate.open()
    for dispatcher in made:
        dispatcher.stop(PATIENCE)


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


def fail(lane: Lane, team: Team, status: int, times: int = 1) -> None:
    team.answer = status
    for _ in range(times):
        assert lane.step()


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


def test_endpoints_with_one_url_share_a_lane(pair: tuple[Endpoint, Endpoint], dispatch: Callable[..., Any]) -> None:
    assert len(dispatch(*pair).lanes) == 1


def test_endpoints_with_other_urls_have_lanes_of_their_own(
    pair: tuple[Endpoint, Endpoint], dispatch: Callable[..., Any]
) -> None:
    assert len(dispatch(pair[0], an_endpoint("three")).lanes) == 2


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


def test_a_running_dispatcher_takes_over_by_itself(
    outbox: Outbox, endpoint: Endpoint, team: Team, dispatch: Callable[..., Dispatcher]
) -> None:
    lock = url_lock(outbox.path, endpoint.url_id)
    lock.take()
    put(outbox, endpoint)
    dispatch(endpoint).wake()
    lock.release()
    assert team.wait_for(1)


DISPATCH = f"""
import sys, time
from pathlib import Path
from sfwebhooks.dispatcher import Dispatcher
from tests.builders import an_endpoint
dispatcher = Dispatcher([an_endpoint(url=sys.argv[2])], Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
dispatcher.wake()
dispatcher.linger(time.monotonic() + {PATIENCE})
dispatcher.stop({PATIENCE})
"""


@pytest.fixture
def new_process(outbox: Outbox, endpoint: Endpoint) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Start processes that send to the endpoint once they are told to, until nothing is due."""
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        command = [sys.executable, "-c", DISPATCH, str(outbox.path), endpoint.url.reveal()]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        started.append(process)
        assert process.stdout and process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin
    process.stdin.write("go\n")
    process.stdin.flush()


def test_two_processes_deliver_each_delivery_once(
    outbox: Outbox, endpoint: Endpoint, team: Team, new_process: Callable[[], subprocess.Popen[str]]
) -> None:
    put(outbox, endpoint, events=50)
    processes = [new_process(), new_process()]
    for process in processes:
        go(process)
    for process in processes:
        process.communicate(timeout=PATIENCE)
    assert (len(team.ids), len(set(team.ids)), outbox.tallies()["delivered"]) == (50, 50, 50)


# --- senders that die


def test_a_delivery_that_three_times_killed_its_sender_is_dead(
    outbox: Outbox,
    endpoint: Endpoint,
    team: Team,
    gate: Gate,
    lane: Lane,
    new_process: Callable[[], subprocess.Popen[str]],
) -> None:
    team.answer = gate
    put(outbox, endpoint)
    for times in range(1, CRASHES_MAX + 1):
        process = new_process()
        go(process)
        team.wait_for(times)
        process.send_signal(signal.SIGKILL)
        process.wait(PATIENCE)
    assert (lane.step(), sql(outbox, "SELECT state, reason FROM delivery")) == (False, [("dead", "crashed_sender")])


def test_a_delivery_that_cannot_be_made_ends_as_a_dead_letter(outbox: Outbox, lane: Lane, endpoint: Endpoint) -> None:
    accept([an_event(data=POISON)], (endpoint,), outbox, NOW)
    for _ in range(CRASHES_MAX):
        with pytest.raises(ValueError, match="JSON compliant"):
            lane.step()
    assert (lane.step(), outbox.tallies()["dead"]) == (False, 1)


# --- threads


def test_threads_start_only_when_they_are_woken(endpoint: Endpoint, dispatch: Callable[..., Dispatcher]) -> None:
    dispatch(endpoint)
    assert senders() == []


def test_all_that_waits_is_delivered(outbox: Outbox, endpoint: Endpoint, dispatch: Callable[..., Dispatcher]) -> None:
    put(outbox, endpoint, events=50)
    dispatcher = dispatch(endpoint)
    dispatcher.wake()
    dispatcher.linger(soon())
    assert outbox.tallies()["delivered"] == 50


def test_as_many_are_in_flight_as_the_endpoint_allows(
    outbox: Outbox, endpoint: Endpoint, team: Team, dispatch: Callable[..., Dispatcher]
) -> None:
    together = threading.Barrier(4)
    team.answer = lambda received: 200 if together.wait(PATIENCE) >= 0 else 500
    put(outbox, endpoint, events=4)
    dispatcher = dispatch(replace(endpoint, concurrency=4))
    dispatcher.wake()
    dispatcher.linger(soon())
    assert outbox.tallies()["delivered"] == 4


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


def test_a_bug_is_told_and_the_deliveries_behind_it_arrive(
    outbox: Outbox,
    endpoint: Endpoint,
    team: Team,
    dispatch: Callable[..., Dispatcher],
    caplog: pytest.LogCaptureFixture,
) -> None:
    accept([an_event(1, data=POISON), an_event(2)], (endpoint,), outbox, NOW)
    dispatch(replace(endpoint, concurrency=1)).wake()
    team.wait_for(1)
    assert "met a bug" in caplog.text


def test_an_outbox_that_cannot_be_used_is_told_once(
    tmp_path: Path, endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "broken.db").write_bytes(b"rubbish" * 1000)
    told = threading.Event()
    handler = logging.Handler()
    handler.emit = lambda record: told.set()  # type: ignore[method-assign]
    logging.getLogger("spiderfoot.webhooks").addHandler(handler)
    dispatcher = Dispatcher([endpoint], tmp_path / "broken.db")
    dispatcher.wake()
    assert told.wait(PATIENCE)
    logging.getLogger("spiderfoot.webhooks").removeHandler(handler)
    dispatcher.stop(PATIENCE)
    assert caplog.text.count("file is not a database") == 1


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
    assert url_lock(outbox.path, endpoint.url_id).take()


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
    assert outbox.tallies() == {"waiting": 2, "delivered": 1, "dead": 0}


def test_stop_does_not_wait_longer_than_it_was_told(
    outbox: Outbox, endpoint: Endpoint, team: Team, gate: Gate, dispatch: Callable[..., Dispatcher]
) -> None:
    team.answer = gate
    put(outbox, endpoint)
    dispatcher = dispatch(endpoint)
    dispatcher.wake()
    team.wait_for(1)
    dispatcher.stop(0.0)
    assert outbox.tallies()["waiting"] == 1  # it came back although the receiver has not answered


def test_a_delivery_that_a_stop_cut_off_is_not_taken_for_a_crash(
    outbox: Outbox, endpoint: Endpoint, team: Team, gate: Gate, dispatch: Callable[..., Dispatcher]
) -> None:
    team.answer = gate
    put(outbox, endpoint)
    dispatcher = dispatch(endpoint)
    dispatcher.wake()
    team.wait_for(1)
    dispatcher.stop(0.0)
    assert sql(outbox, "SELECT begun FROM delivery") == [(0,)]


def test_stop_of_a_dispatcher_that_never_sent_is_harmless(dispatch: Callable[..., Dispatcher]) -> None:
    dispatch(an_endpoint()).stop(PATIENCE)
    assert senders() == []


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
    assert outbox.tallies()["delivered"] == 20


def test_linger_does_not_wait_for_a_retry(
    outbox: Outbox, endpoint: Endpoint, team: Team, dispatch: Callable[..., Dispatcher]
) -> None:
    team.answer = 500
    put(outbox, endpoint)
    dispatcher = dispatch(endpoint)
    dispatcher.wake()
    lingers(dispatcher)
    assert outbox.tallies()["waiting"] == 1


def test_linger_does_not_wait_for_a_held_endpoint(
    outbox: Outbox, endpoint: Endpoint, team: Team, dispatch: Callable[..., Dispatcher]
) -> None:
    team.answer = 401
    put(outbox, endpoint, events=10)
    dispatcher = dispatch(endpoint)
    dispatcher.wake()
    lingers(dispatcher)
    assert outbox.tallies()["waiting"] == 10


def test_linger_waits_for_a_healthy_endpoint_beside_a_held_one(
    outbox: Outbox, endpoint: Endpoint, receive: Callable[..., Team], dispatch: Callable[..., Dispatcher]
) -> None:
    closed = receive()
    closed.answer = 401
    held = an_endpoint("held", url=closed.url)
    put(outbox, endpoint, held, events=10)
    dispatcher = dispatch(endpoint, held)
    dispatcher.wake()
    lingers(dispatcher)
    assert outbox.tallies()["delivered"] == 10


def test_linger_waits_for_what_is_due_within_the_horizon(
    outbox: Outbox, endpoint: Endpoint, team: Team, dispatch: Callable[..., Dispatcher]
) -> None:
    team.answer = lambda received: 500 if len(team.got) == 1 else 200
    put(outbox, endpoint)
    dispatcher = dispatch(replace(endpoint, retry_schedule=(0.1,)))
    dispatcher.wake()
    lingers(dispatcher, horizon=PATIENCE)
    assert outbox.tallies()["delivered"] == 1


def test_linger_ends_when_it_is_told_to(
    outbox: Outbox, endpoint: Endpoint, team: Team, gate: Gate, dispatch: Callable[..., Dispatcher]
) -> None:
    team.answer = gate
    put(outbox, endpoint)
    dispatcher, stop = dispatch(endpoint), threading.Event()
    dispatcher.wake()
    team.wait_for(1)
    stop.set()
    lingers(dispatcher, stop=stop)
    gate.open()


def test_linger_does_not_wait_for_an_endpoint_that_an_earlier_process_found_held(
    outbox: Outbox, lane: Lane, endpoint: Endpoint, team: Team, dispatch: Callable[..., Dispatcher]
) -> None:
    put(outbox, endpoint, events=2)
    fail(lane, team, 401)
    lane.stop(soon())
    lingers(dispatch(endpoint))


# --- a locked outbox


class Locked:
    """The outbox's file, locked by somebody else."""

    def __init__(self, outbox: Outbox) -> None:
        self._sql = sqlite3.connect(outbox.path, isolation_level=None, check_same_thread=False)

    def lock(self) -> None:
        self._sql.execute("BEGIN IMMEDIATE")

    def free(self) -> None:
        self._sql.execute("ROLLBACK")
        self._sql.close()


@pytest.fixture
def waiting_to_note() -> Iterator[threading.Event]:
    """Set once a delivery that was made could not be noted."""
    seen = threading.Event()
    handler = logging.Handler()
    handler.emit = lambda record: seen.set() if "waits to be noted" in record.getMessage() else None  # type: ignore
    logger = logging.getLogger("spiderfoot.webhooks")
    logger.addHandler(handler)
    yield seen
    logger.removeHandler(handler)


@pytest.fixture
def locked(outbox: Outbox, team: Team) -> Locked:
    """The outbox is locked as soon as the receiver has got the first delivery, before it answers."""
    locked = Locked(outbox)

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
    assert (outbox.tallies()["delivered"], len(team.got)) == (1, 1)


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
    assert (len(team.ids), len(set(team.ids)), outbox.tallies()["delivered"]) == (2, 1, 1)


# --- without threads, and what is said


def test_a_host_that_ends_delivers_without_threads(
    outbox: Outbox, endpoint: Endpoint, dispatch: Callable[..., Dispatcher]
) -> None:
    put(outbox, endpoint, events=5)
    dispatch(endpoint).run_here(soon())
    assert (outbox.tallies()["delivered"], senders()) == (5, [])


def test_a_host_that_ends_does_not_wait_for_retries(
    outbox: Outbox, endpoint: Endpoint, team: Team, dispatch: Callable[..., Dispatcher]
) -> None:
    team.answer = 500
    put(outbox, endpoint)
    dispatch(endpoint).run_here(time.monotonic() + 3600)
    assert len(team.got) == 1


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
    assert "dead: http_422" in caplog.text


def test_a_recovery_is_told(
    outbox: Outbox, lane: Lane, endpoint: Endpoint, team: Team, caplog: pytest.LogCaptureFixture
) -> None:
    put(outbox, endpoint)
    fail(lane, team, 401)
    lane.open_now()
    with caplog.at_level(logging.INFO):
        fail(lane, team, 200)
    assert "endpoint team works again" in caplog.text


def test_no_line_about_a_failure_shows_the_path_of_the_url(
    outbox: Outbox, lane: Lane, endpoint: Endpoint, team: Team, caplog: pytest.LogCaptureFixture
) -> None:
    put(outbox, endpoint)
    with caplog.at_level(logging.DEBUG, "spiderfoot.webhooks"):
        fail(lane, team, 500)
    assert (team.url.removesuffix("/webhook") in caplog.text, "/webhook" in caplog.text) == (True, False)
