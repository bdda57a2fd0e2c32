"""The workers of a sending queue: how many there are, when they look for work, and that nothing ends them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Callable

import pytest

from sfwebhooks.delivery import workers
from sfwebhooks.delivery.baton import Baton, Runner
from sfwebhooks.delivery.workers import SLOW_SECONDS, UNREST_SECONDS, Workers
from sfwebhooks.errors import OutboxBusyError, ShortageError
from tests.builders import PATIENCE
from tests.threads import until

#: looks often: what these tests wait for takes no time
soon = partial(until, pause=0.001)


class Task:
    """Steps that a test controls. Each takes a permit if `held`, does `raises`, and returns whether work is left."""

    def __init__(self) -> None:
        self.work = 0
        #: steps that began, and those that ended
        self.begun = self.ended = 0
        self.held = False
        self.raises: BaseException | None = None
        self.permits = threading.Semaphore(0)
        #: the thread of each step
        self.threads: list[int] = []
        self._lock = threading.Lock()

    def __call__(self, runner: Runner) -> bool:
        runner.asked_at = time.monotonic()
        with self._lock:
            self.threads.append(threading.get_ident())
            self.begun += 1
            went = self.work > 0
            self.work -= went
        if went and self.held:
            assert self.permits.acquire(timeout=PATIENCE)
        with self._lock:
            self.ended += 1
        if self.raises:
            raise self.raises
        return went

    def ended_after(self, before: int) -> bool:
        return self.ended > before


@pytest.fixture
def task() -> Task:
    return Task()


@pytest.fixture
def new(task: Task) -> Iterator[Callable[..., Workers]]:
    made: list[Workers] = []

    def create(size: int = 2, rest: float = 10 * PATIENCE) -> Workers:
        made.append(Workers("team", size, task, lambda: rest, threading.Condition(), Baton()))
        return made[-1]

    yield create
    task.permits.release(1000)
    for one in made:
        assert one.stop(time.monotonic() + PATIENCE)


def resting(one: Workers, number: int) -> None:
    soon(lambda: one._resting == number)


def bring_two_to_rest(one: Workers, task: Task) -> None:
    """Let two threads make a step each, at the same time, and rest."""
    task.work, task.held = 2, True
    one.wake()
    soon(lambda: task.begun == 1)
    one.more(needed=True)
    soon(lambda: task.begun == 2)
    task.held = False
    task.permits.release(2)
    resting(one, 2)


def threads_of(one: Workers) -> int:
    return len(one._threads)


# --- the first one


def test_no_thread_starts_before_there_is_work(new: Callable[..., Workers], task: Task) -> None:
    one = new()
    assert (one.began, threads_of(one)) == (False, 0)
    one.wake()
    soon(lambda: task.ended == 1)
    assert (one.began, threads_of(one)) == (True, 1)
    assert one._threads[0].name == "team-1"
    assert one._threads[0].daemon, "it must not keep the process from ending"


def test_one_goes_on_while_there_is_work_and_rests_then(new: Callable[..., Workers], task: Task) -> None:
    task.work = 5
    one = new(size=1)
    one.wake()
    resting(one, 1)
    assert task.work == 0
    assert task.ended >= 6


def test_one_that_rests_is_woken(new: Callable[..., Workers], task: Task) -> None:
    one = new(size=1)
    for number in range(3):
        task.work = 1
        one.wake()
        soon(lambda: task.work == 0)
        resting(one, 1)
        assert task.ended >= 2 * number + 2, "it looked for more after the work"


def test_a_call_while_it_looks_for_work_is_not_lost(new: Callable[..., Workers], task: Task) -> None:
    """It came after the step saw nothing, and before the thread rests."""
    one = new(size=1)
    real, calls = one._step, list[int]()

    def step(runner: Runner) -> bool:
        went = real(runner)
        if not calls:
            calls.append(1)
            task.work = 1
            one.wake()
        return went

    one._step = step
    one.wake()
    soon(lambda: task.work == 0)


def test_one_of_those_that_rest_looks_by_itself(new: Callable[..., Workers], task: Task) -> None:
    one = new(size=2, rest=0.01)
    bring_two_to_rest(one, task)
    before = len(task.threads)
    soon(lambda: len(task.threads) >= before + 5)
    assert len({*task.threads[before + 1 :]}) == 1, "the other one waits to be woken"


# --- more of them


def test_another_one_helps_while_a_step_is_slow(new: Callable[..., Workers], task: Task) -> None:
    task.work, task.held = 3, True
    one = new(size=2)
    one.wake()
    soon(lambda: task.begun == 1)
    time.sleep(SLOW_SECONDS * 2)
    one.more()
    soon(lambda: task.begun == 2)
    one.more()
    one.more(needed=True)
    assert (threads_of(one), task.begun) == (2, 2), "no more than size"


def test_nobody_helps_where_steps_are_quick(
    new: Callable[..., Workers], task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "SLOW_SECONDS", PATIENCE)
    task.work = 3
    one = new(size=2)
    one.wake()
    resting(one, 1)
    task.work, task.held = 1, True
    one.wake()
    soon(lambda: task.work == 0)
    one.more()
    assert threads_of(one) == 1


def test_a_last_step_that_was_slow_asks_for_help(new: Callable[..., Workers], task: Task) -> None:
    task.work, task.held = 1, True
    one = new(size=2)
    one.wake()
    soon(lambda: task.begun == 1)
    time.sleep(SLOW_SECONDS * 2)
    task.permits.release()
    resting(one, 1)
    assert one._took > SLOW_SECONDS


@pytest.mark.parametrize(
    ("last", "current", "helped"),
    [(0.0, None, False), (0.0, 0.0, False), (1.0, None, True), (0.0, 1.0, True), (1.0, 0.0, True)],
)
def test_a_step_that_is_slow_now_or_was_before_is_helped(
    last: float, current: float | None, helped: bool, new: Callable[..., Workers]
) -> None:
    """Seconds that the last step took, and for which another one is running."""
    one = new()
    one._took = last * SLOW_SECONDS * 2
    if current is not None:
        one._began_at[-1] = time.monotonic() - current * SLOW_SECONDS * 2 + (PATIENCE if not current else 0.0)
    one.more()
    assert (threads_of(one) == 1) is helped


def test_one_that_was_woken_does_not_poll_too_when_it_rests_again(new: Callable[..., Workers], task: Task) -> None:
    one = new(size=2)
    polled, rest_seconds = list[int](), one._rest_seconds

    def note() -> float:
        polled.append(threading.get_ident())
        return rest_seconds()

    one._rest_seconds = note
    bring_two_to_rest(one, task)
    for _ in range(4):  # the one that has rested longest is woken: both in turn
        before = task.ended
        one.wake()
        soon(partial(task.ended_after, before))
        resting(one, 2)
    assert len({*task.threads[-4:]}) == 2
    assert len({*polled}) == 1


def test_one_that_rested_before_is_not_counted_as_resting(new: Callable[..., Workers], task: Task) -> None:
    task.held = True
    one = new(size=2)
    for _ in range(3):
        task.work = 1
        task.permits.release()
        one.wake()
        soon(lambda: task.work == 0)
        resting(one, 1)
    task.work = 2
    one.wake()
    soon(lambda: task.work == 1)
    assert one._resting == 0
    one.more(needed=True)
    soon(lambda: task.work == 0)
    assert threads_of(one) == 2


def test_that_no_thread_can_be_started_does_no_harm(
    new: Callable[..., Workers], task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, real = new(size=3), threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", lambda thread: (_ for _ in ()).throw(RuntimeError("no more")))
    one.wake()
    assert (one.began, threads_of(one)) == (False, 0)
    monkeypatch.setattr(threading.Thread, "start", real)
    one.wake()
    soon(lambda: task.ended == 1)
    assert threads_of(one) == 1


def test_no_call_is_lost(new: Callable[..., Workers], task: Task) -> None:
    one = new()
    for number in range(3000):
        with task._lock:
            task.work += 1
        one.wake()
        if number % 7 == 0:
            time.sleep(0)  # they come to rest now and then
    soon(lambda: task.work == 0)


def test_who_is_woken_is_not_woken_again_before_it_is_up(new: Callable[..., Workers], task: Task) -> None:
    one = new(size=1)
    one.wake()
    resting(one, 1)
    looks = task.begun
    with one._bell:  # it cannot get up
        one.wake()
        assert (one.will_look, one._rung) == (True, True)
        for _ in range(5):
            one.wake()
    resting(one, 1)
    soon(lambda: task.begun > looks)
    resting(one, 1)
    assert (task.begun - looks, one.will_look) == (1, False)


def test_a_call_during_a_look_leads_to_another_one(new: Callable[..., Workers], task: Task) -> None:
    one = new(size=1)
    task.work, task.held = 1, True
    one.wake()
    soon(lambda: task.begun == 1)
    assert one.will_look is False
    one.wake()
    task.permits.release(2)
    resting(one, 1)
    assert task.begun >= 2


# --- trouble


@pytest.mark.parametrize(
    ("raised", "said", "once"),
    [
        (OutboxBusyError("database is locked"), "database is locked", True),
        (MemoryError(), "this process has no memory left; deliveries wait", True),
        (ValueError("no reason supplied"), "this process has no memory left; deliveries wait", True),  # hashlib
        (ShortageError("no descriptors"), "", False),
        (ValueError("a bug"), "bug in the sending thread of team", False),
    ],
)
def test_nothing_ends_a_thread_and_trouble_is_logged_once(
    new: Callable[..., Workers],
    task: Task,
    caplog: pytest.LogCaptureFixture,
    raised: BaseException,
    said: str,
    once: bool,
) -> None:
    caplog.set_level(logging.INFO)
    one = new(size=1)
    task.raises = raised
    for number in range(3):
        one.wake()
        soon(partial(lambda before: task.ended > before, number))
        resting(one, 1)
    lines = [line for line in caplog.messages if said in line]
    assert (len(lines) == 1 if once else len(lines) >= 3) if said else not caplog.messages
    task.raises, task.work = None, 1
    one.wake()
    soon(lambda: task.work == 0)


def test_one_that_cannot_rest_sleeps(new: Callable[..., Workers], task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    one = new(size=1)
    monkeypatch.setattr(one, "_rest", lambda: (_ for _ in ()).throw(RuntimeError("can't allocate lock")))
    clock = Clock(slept)
    monkeypatch.setattr(workers, "time", clock)
    one.wake()
    soon(lambda: len(slept) >= 2)
    assert slept[:2] == [UNREST_SECONDS] * 2
    assert one._threads[0].is_alive()


class Clock:
    """In place of the module time; a sleep is written down, and short."""

    def __init__(self, slept: list[float], used: float = 0.0) -> None:
        self._slept = slept
        self._used = used
        self._thread_seconds = 0.0

    monotonic = staticmethod(time.monotonic)

    def thread_time(self) -> float:
        self._thread_seconds += self._used
        return self._thread_seconds

    def sleep(self, seconds: float) -> None:
        self._slept.append(seconds)
        time.sleep(0.001)


def test_a_polite_one_rests_in_proportion_to_what_it_used(
    new: Callable[..., Workers], task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(workers, "time", Clock(slept, used=0.25))
    one = new(size=1)
    task.work = 3
    one.wake()
    resting(one, 1)
    assert slept == [], "one that need not be polite does not sleep"
    one.rest_share, task.work = 8.0, 3
    one.wake()
    soon(lambda: task.work == 0)
    resting(one, 1)
    assert slept == [2.0] * 3


def test_a_log_that_cannot_be_written_does_not_end_a_thread(
    new: Callable[..., Workers], task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without memory, `logging` raises what the formatting of a traceback raised."""
    slept: list[float] = []
    monkeypatch.setattr(workers, "time", Clock(slept))
    monkeypatch.setattr(
        workers.log, "exception", lambda *_: (_ for _ in ()).throw(RuntimeError("can't allocate read lock"))
    )
    one = new(size=1)
    task.raises = ValueError("a bug")
    one.wake()
    soon(lambda: len(slept) >= 2)
    assert slept[:2] == [UNREST_SECONDS] * 2
    task.raises, task.work = None, 1
    one.wake()
    soon(lambda: task.work == 0)


# --- the end


def test_stop_waits_for_a_step_until_the_deadline(new: Callable[..., Workers], task: Task) -> None:
    task.work, task.held = 3, True
    one = new(size=1)
    one.wake()
    soon(lambda: task.begun == 1)
    assert one.stop(time.monotonic() + 0.05) is False
    assert one.stopping
    task.permits.release(3)
    assert one.stop(time.monotonic() + PATIENCE) is True
    assert task.begun == 1, "no other step begins"


def test_stop_does_not_wait_after_the_deadline(new: Callable[..., Workers]) -> None:
    class Running(threading.Thread):
        def join(self, timeout: float | None = None) -> None:
            waited.append(timeout)

        def is_alive(self) -> bool:
            return True

    waited: list[float | None] = []
    one = new()
    one._threads = [Running(), Running()]
    assert one.stop(time.monotonic() - 1) is False
    one._threads = []
    assert waited == [0.0, 0.0]


def test_halt_ends_those_that_rest(new: Callable[..., Workers], task: Task) -> None:
    one = new(size=1)
    one.wake()
    resting(one, 1)
    one.halt()
    soon(lambda: not one._threads[0].is_alive())


def test_one_that_never_began_is_stopped_at_once(new: Callable[..., Workers]) -> None:
    assert new().stop(time.monotonic()) is True
