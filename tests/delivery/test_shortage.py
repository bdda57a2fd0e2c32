"""What this process lacks (memory, descriptors) is the fault of no message and of no endpoint."""

from __future__ import annotations

import os
import resource
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sfwebhooks.delivery.send_queue import SendQueue
from sfwebhooks.delivery.workers import Workers
from sfwebhooks.formats import FORMATS, generic
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.retry import SHORTAGE_SECONDS
from tests.builders import PATIENCE, an_endpoint
from tests.conftest import Clock, Team, put, soon, sql

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
    monkeypatch.setitem(FORMATS, "greedy", made)
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
    assert sql(outbox, "SELECT state, sum(attempts), sum(crashes), sum(refusals) FROM delivery") == [
        ("waiting", 0, 0, 0)
    ]
    assert (queue.states[0].health.healthy, queue.is_short) == (True, True)
    greedy.full = False
    clock.now += SHORTAGE_SECONDS
    while queue.step():
        pass
    assert (outbox.scans.tallies()["delivered"], queue.is_short) == (20, False)


def test_openssl_without_memory_fails_no_endpoint(
    outbox: Outbox, team: Team, queue: SendQueue, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*args: Any) -> None:
        raise ssl.SSLError(1, "[CRYPTO] malloc failure (_ssl.c:3098)")

    put(outbox, queue.states[0].endpoint)
    with monkeypatch.context() as patch:
        patch.setattr("ssl.SSLContext", none)
        assert queue.step()
    assert (queue.states[0].health.healthy, queue.is_short) == (True, True)
    clock.now += SHORTAGE_SECONDS
    assert queue.step()
    assert len(team.got) == 1


def test_a_thread_without_memory_for_a_rest_goes_on() -> None:
    rests: list[None] = []
    goes_on = threading.Event()

    def step() -> bool:
        if rests:
            goes_on.set()
        return False

    def rest_seconds() -> float:
        rests.append(None)
        raise MemoryError

    workers = Workers("workers", 1, step, rest_seconds, threading.Condition())
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


@pytest.mark.slow
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
