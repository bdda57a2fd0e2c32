"""What this process lacks (memory, descriptors) is the fault of no message and of no endpoint."""

from __future__ import annotations

import errno
import os
import resource
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from sfwebhooks.config.settings import Settings
from sfwebhooks.delivery.background import BackgroundWork
from sfwebhooks.delivery.baton import Baton, Runner
from sfwebhooks.delivery.dispatcher import SHORTAGE_OVER_SECONDS, Dispatcher
from sfwebhooks.delivery.send_queue import SendQueue
from sfwebhooks.delivery.workers import Workers
from sfwebhooks.errors import ShortageError
from sfwebhooks.formats import FORMATS, generic
from sfwebhooks.formats.format import Format
from sfwebhooks.outbox.claim import Limits
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.retry import SHORTAGE_SECONDS
from tests.builders import PATIENCE, an_endpoint
from tests.conftest import Clock, Gate, Team, hold, put, soon, sql

STORES = ("sqlite", "postgres")

ENDPOINTS = 16
#: too few for a lock, a note and a connection of each endpoint
DESCRIPTORS = 30


class Greedy:
    """A format that needs more memory than there is, until there is more."""

    full = True

    def render(self, *args: Any) -> Any:
        if self.full:
            raise MemoryError
        return generic.render(*args)


@pytest.fixture
def greedy(monkeypatch: pytest.MonkeyPatch) -> Greedy:
    made = Greedy()
    monkeypatch.setitem(FORMATS, "greedy", Format(made.render))
    return made


def test_a_moment_without_memory_kills_no_delivery_and_fails_no_endpoint(
    greedy: Greedy, outbox: Outbox, team: Team, clock: Clock, new_queue: Callable[..., SendQueue]
) -> None:
    endpoint = an_endpoint(url=team.url, timeout=PATIENCE, format="greedy")
    put(outbox, endpoint, events=20)
    queue = new_queue(endpoint)
    for _ in range(100):
        queue.step()
        clock.now += 1
    assert sql(outbox, "SELECT state, sum(attempts), sum(crashes), sum(refusals) FROM delivery GROUP BY state") == [
        ("waiting", 0, 0, 0)
    ]
    assert (queue.states[0].health.healthy, queue.is_short) == (True, True)
    greedy.full = False
    clock.now += SHORTAGE_SECONDS
    while queue.step():
        pass
    assert (outbox.scans.tallies()["delivered"], queue.is_short) == (20, False)


@pytest.mark.parametrize(
    "why", ["[CRYPTO] malloc failure", "[SSL: LIBRARY_HAS_NO_CIPHERS] library has no ciphers", "unknown error"]
)
def test_openssl_without_memory_fails_no_endpoint(
    outbox: Outbox, team: Team, queue: SendQueue, clock: Clock, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    def none(*args: Any) -> None:
        raise ssl.SSLError(1, f"{why} (_ssl.c:3098)")

    put(outbox, queue.states[0].endpoint)
    with monkeypatch.context() as patch:
        patch.setattr("ssl.SSLContext", none)
        assert queue.step()
    assert (queue.states[0].health.healthy, queue.is_short) == (True, True)
    clock.now += SHORTAGE_SECONDS
    assert queue.step()
    assert len(team.got) == 1


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no reason supplied"),
        ValueError("[digital envelope routines] malloc failure"),
        SystemError("<built-in function compile> returned NULL without setting an exception"),
    ],
)
def test_a_signature_for_which_there_is_no_memory_blames_no_message(
    outbox: Outbox, team: Team, queue: SendQueue, clock: Clock, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def none(*args: Any) -> None:
        raise error

    put(outbox, queue.states[0].endpoint)
    with monkeypatch.context() as patch:
        patch.setattr("sfwebhooks.pipeline.sign", none)
        for _ in range(4):
            assert queue.step()
            clock.now += SHORTAGE_SECONDS
    assert sql(outbox, "SELECT state, attempts, crashes FROM delivery") == [("waiting", 0, 0)]
    assert (queue.states[0].health.healthy, queue.is_short) == (True, True)
    assert queue.step()
    assert len(team.got) == 1


def test_results_that_there_is_no_memory_to_write_are_kept_until_there_is(
    outbox: Outbox, team: Team, queue: SendQueue, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def none(*args: Any) -> None:
        raise MemoryError

    put(outbox, queue.states[0].endpoint)
    with monkeypatch.context() as patch:
        patch.setattr("sfwebhooks.outbox.queue.Queue.settle", none)
        assert queue.step()
        queue.tick()
    assert "this process has no memory left; results of sent deliveries are kept in memory" in caplog.text
    assert outbox.scans.tallies()["waiting"] == 1
    queue._unsettled.wrote_at = 0.0
    queue.tick()
    assert (outbox.scans.tallies()["delivered"], len(team.got)) == (1, 1)


def test_background_work_without_memory_is_no_bug(
    dispatch: Callable[..., Dispatcher], caplog: pytest.LogCaptureFixture
) -> None:
    def none() -> None:
        raise MemoryError

    work = BackgroundWork(dispatch(an_endpoint()), Settings((an_endpoint(),)))
    assert work.attempt(none) == "this process has no memory left"
    assert caplog.messages == []
    work.close()


def test_a_thread_without_memory_for_a_rest_goes_on() -> None:
    rests: list[None] = []
    goes_on = threading.Event()

    def step(runner: Runner) -> bool:
        if rests:
            goes_on.set()
        return False

    def rest_seconds() -> float:
        rests.append(None)
        raise MemoryError

    workers = Workers("workers", 1, step, rest_seconds, threading.Condition(), Baton())
    workers.wake()
    assert goes_on.wait(PATIENCE)
    assert workers.stop(soon())


def test_what_has_no_memory_for_a_thread_starts_it_later(
    outbox: Outbox, team: Team, queue: SendQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("can't allocate lock")

    put(outbox, queue.states[0].endpoint)
    with monkeypatch.context() as patch:
        patch.setattr("threading.Thread", none)
        queue.wake()
    assert team.got == []
    queue.wake()
    team.wait_for(1)


class Scarce:
    """Two endpoints of a process that has no descriptor for the lock of the second one, until there is `enough`."""

    def __init__(self, outbox: Outbox, clock: Clock, first: Team, second: Team) -> None:
        self.enough = False
        self.first = first
        self.endpoints = [
            an_endpoint(name, url=team.url, timeout=PATIENCE) for name, team in (("first", first), ("second", second))
        ]
        self.dispatcher = Dispatcher(self.endpoints, outbox.place, clock)
        self._outbox = outbox
        self._real = os.open
        self._place = f"url-{self.endpoints[1].url_id}.lock"

    def queue(self, name: str) -> SendQueue:
        return next(one for one in self.dispatcher.queues if one.states[0].endpoint.name == name)

    def open(self, path: Any, *args: Any, **kwargs: Any) -> int:
        if not self.enough and os.fspath(path).endswith(self._place):
            raise OSError(errno.EMFILE, "Too many open files")
        return self._real(path, *args, **kwargs)

    def put(self, *names: str, start: int = 1) -> None:
        for name in names:
            put(self._outbox, *(one for one in self.endpoints if one.name == name), start=start)

    def run_short(self, delivered: bool = True) -> None:
        """Let the first endpoint be sent a message, and the second one lack a descriptor."""
        self.put("second")
        if delivered:
            self.put("first")
            assert self.queue("first").step()
        with pytest.raises(ShortageError):
            self.queue("second").step()


@pytest.fixture
def scarce(
    outbox: Outbox, clock: Clock, receive: Callable[..., Team], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Scarce]:
    made = Scarce(outbox, clock, receive(), receive())
    monkeypatch.setattr("os.open", made.open)
    yield made
    made.dispatcher.stop(PATIENCE)


def connections() -> list[str]:
    """Return the sockets of this process."""
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found.append(str(descriptor.readlink()))
    return [one for one in found if one.startswith("socket:")]


@pytest.mark.sqlite("counts the descriptors that a file takes")
def test_an_endpoint_without_work_gives_its_descriptors_to_one_that_lacks_them(scarce: Scarce) -> None:
    scarce.run_short()
    before = {*connections()}
    scarce.dispatcher.tick()
    assert scarce.queue("first").owned is False
    assert {*connections()} < before


@pytest.mark.sqlite("counts the descriptors that a file takes")
def test_an_endpoint_keeps_its_descriptors_while_it_has_work(scarce: Scarce) -> None:
    scarce.run_short()
    scarce.put("first", start=2)
    scarce.dispatcher.tick()
    assert scarce.queue("first").owned is True


@pytest.mark.sqlite("counts the descriptors that a file takes")
def test_an_endpoint_keeps_its_descriptors_when_a_retry_is_due(scarce: Scarce, outbox: Outbox, clock: Clock) -> None:
    scarce.first.answer = 500
    scarce.run_short()
    clock.now = float(outbox.queue.next_due(Limits("first"), clock.now) or 0.0)
    scarce.dispatcher.tick()
    assert scarce.queue("first").owned is True


@pytest.mark.sqlite("counts the descriptors that a file takes")
def test_an_endpoint_that_is_held_keeps_no_descriptors_for_its_probe(scarce: Scarce, clock: Clock) -> None:
    scarce.put("first")
    hold(scarce.queue("first"), scarce.first, clock)
    clock.now = scarce.queue("first").states[0].health.open_at
    scarce.run_short(delivered=False)
    scarce.dispatcher.tick()
    assert scarce.queue("first").owned is False


@pytest.mark.sqlite("counts the descriptors that a file takes")
def test_an_endpoint_keeps_its_descriptors_while_an_attempt_is_in_flight(scarce: Scarce) -> None:
    gate = Gate()
    scarce.first.answer = gate
    scarce.put("first")
    attempt = threading.Thread(target=scarce.queue("first").step)
    attempt.start()
    try:
        scarce.first.wait_for(1)
        scarce.run_short(delivered=False)
        scarce.dispatcher.tick()
        assert scarce.queue("first").owned is True
    finally:
        gate.open()
        attempt.join(PATIENCE)


def test_an_endpoint_keeps_its_descriptors_while_none_is_lacking(scarce: Scarce) -> None:
    scarce.put("first")
    scarce.queue("first").step()
    scarce.dispatcher.tick()
    assert scarce.queue("first").owned is True


@pytest.mark.sqlite("counts the descriptors that a file takes")
def test_an_endpoint_that_lacked_a_descriptor_is_sent_to_once_there_is_one(scarce: Scarce) -> None:
    scarce.run_short()
    scarce.enough = True
    assert (scarce.queue("second").step(), scarce.queue("second").is_short) == (True, False)


@pytest.mark.sqlite("counts the descriptors that a file takes")
def test_a_shortage_is_logged_once_and_its_end_once_it_has_lasted(
    scarce: Scarce, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    scarce.run_short()
    for _ in range(3):
        scarce.dispatcher.tick()
    begin = "webhooks: this process has no descriptors or no memory left; some endpoints wait for others"
    assert [one.getMessage() for one in caplog.records if one.levelname == "WARNING"] == [begin]
    scarce.enough = True
    scarce.queue("second").step()
    scarce.dispatcher.tick()
    end = "webhooks: this process has descriptors and memory again"
    assert end not in caplog.messages
    scarce.dispatcher._short_at -= SHORTAGE_OVER_SECONDS
    scarce.dispatcher.tick()
    assert caplog.messages.count(end) == 1


@pytest.mark.slow
@pytest.mark.sqlite("counts the descriptors that a file takes")
def test_a_process_with_few_descriptors_delivers_for_all_its_endpoints(
    receive: Callable[..., Team], tmp_path: Path, outbox: Outbox
) -> None:
    team = receive()
    endpoints = [an_endpoint(f"e{number}", url=f"{team.url}?{number}") for number in range(ENDPOINTS)]
    put(outbox, *endpoints, events=3)
    outbox.close()
    sections = "".join(f"[webhooks.{one.name}]\nurl = {one.url.reveal()}\nevents = all\n" for one in endpoints)
    config = tmp_path / "webhooks.ini"
    config.write_text(f"[webhooks]\nsecret = {'s' * 32}\n{sections}")
    config.chmod(0o600)
    done = subprocess.run(
        [sys.executable, "-m", "sfwebhooks", "drain", "--timeout", "60s", "--folder", str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "HOME": str(tmp_path)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS)),
    )
    assert sql(outbox, "SELECT state, count(*) FROM delivery GROUP BY 1") == [("delivered", 3 * ENDPOINTS)], done.stderr
    assert "Traceback" not in done.stderr
