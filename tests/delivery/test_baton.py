"""The baton: quick steps run one after the other, and nobody waits for a slow one."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from sfwebhooks.delivery import baton
from sfwebhooks.delivery.baton import (
    LOST_SECONDS,
    NEVER,
    REQUEST_SECONDS,
    SLOW_WAIT_SECONDS,
    TURN_SECONDS,
    Baton,
    Runner,
)
from tests.builders import PATIENCE
from tests.threads import until


class Clock:
    """In place of the module time."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(baton, "time", found)
    return found


Begin = Callable[[Runner], threading.Event]


@pytest.fixture
def one() -> Baton:
    return Baton()


@pytest.fixture
def begin(one: Baton) -> Iterator[Begin]:
    """Take the baton in a thread of its own; the event says that it got it."""
    threads: list[threading.Thread] = []

    def take(runner: Runner) -> threading.Event:
        got = threading.Event()

        def run() -> None:
            one.take(runner)
            got.set()

        threads.append(threading.Thread(target=run, daemon=True))
        before = len(one._waiting)
        threads[-1].start()
        until(lambda: got.is_set() or len(one._waiting) > before)
        return got

    yield take
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_who_is_alone_never_waits(one: Baton) -> None:
    runner = Runner()
    for goes_on in (True, True, False, True):
        one.take(runner)
        one.leave(runner, goes_on)
    one.leave(runner, goes_on=False)
    other = Runner()
    one.take(other)
    assert one._runner is other


def test_who_has_no_more_steps_passes_it_on_in_order(one: Baton, begin: Begin, clock: Clock) -> None:
    first, second, third = Runner(), Runner(), Runner()
    one.take(first)
    got_second, got_third = begin(second), begin(third)
    assert not got_second.is_set()
    one.leave(first, goes_on=False)
    assert got_second.wait(PATIENCE)
    assert not got_third.is_set()
    one.leave(second, goes_on=False)
    assert got_third.wait(PATIENCE)


def test_who_has_more_steps_keeps_it_for_some_requests(one: Baton, begin: Begin, clock: Clock) -> None:
    first, second = Runner(), Runner()
    one.take(first)
    got = begin(second)
    clock.now += 2 * TURN_SECONDS  # most of it for the outbox
    first.took = TURN_SECONDS * 0.9
    one.leave(first, goes_on=True)
    one.take(first)
    assert not got.is_set()
    first.took = TURN_SECONDS * 0.2
    one.leave(first, goes_on=True)
    assert got.wait(PATIENCE)
    again = begin(first)
    assert not again.is_set(), "it comes last now"
    second.took = TURN_SECONDS * 0.2
    one.leave(second, goes_on=False)
    assert again.wait(PATIENCE)


def test_who_is_long_at_the_outbox_passes_it_on_too(one: Baton, begin: Begin, clock: Clock) -> None:
    first, second = Runner(), Runner()
    one.take(first)
    got = begin(second)
    for _ in range(2):
        clock.now += LOST_SECONDS * 0.4
        one.leave(first, goes_on=True)
        one.take(first)
        assert not got.is_set()
    clock.now += LOST_SECONDS * 0.4
    one.leave(first, goes_on=True)
    assert got.wait(PATIENCE)


def test_it_is_taken_away_while_a_request_takes_long(one: Baton, begin: Begin) -> None:
    first, second, third = Runner(), Runner(), Runner()
    one.take(first)
    got = begin(second)
    first.asked_at = time.monotonic()
    assert got.wait(PATIENCE), "although the first one has not left"
    second.asked_at = time.monotonic()
    got = begin(third)
    one.leave(first, goes_on=True)
    assert got.wait(PATIENCE), "the next one watches the time of the second one"
    assert one._runner is third


def test_who_waits_for_the_outbox_keeps_it(one: Baton, begin: Begin, clock: Clock) -> None:
    first, second = Runner(), Runner()
    one.take(first)
    with one._guard:
        one._waiting.append(second)
    clock.now += LOST_SECONDS * 0.8
    assert one._patience(second) == pytest.approx(REQUEST_SECONDS), "it looks again whether the request has begun"
    first.asked_at = clock.now
    clock.now += REQUEST_SECONDS * 0.4
    assert one._patience(second) == pytest.approx(REQUEST_SECONDS * 0.6)
    first.asked_at = NEVER
    clock.now += REQUEST_SECONDS
    assert one._patience(second) == pytest.approx(REQUEST_SECONDS)
    clock.now += LOST_SECONDS * 0.2
    assert one._patience(second) == 0.0, "but not for ever"
    assert one._runner is second


def test_who_loses_it_before_it_has_woken_up_begins_all_the_same(one: Baton, begin: Begin, clock: Clock) -> None:
    first, second, third = Runner(), Runner(), Runner()
    one.take(first)
    with one._guard:
        one._waiting.extend([second, third])  # their threads have no processor yet
    one.leave(first, goes_on=False)
    clock.now += LOST_SECONDS * 1.1
    assert one._patience(third) == 0.0
    assert one._runner is third
    assert one._patience(second) == 0.0
    one.leave(second, goes_on=False)
    one.leave(third, goes_on=False)
    assert one._runner is None


def test_each_step_has_its_own_time(one: Baton, begin: Begin, clock: Clock) -> None:
    first, second = Runner(), Runner()
    one.take(first)
    clock.now += LOST_SECONDS * 0.9
    one.leave(first, goes_on=True)
    one.take(first)
    with one._guard:
        one._waiting.append(second)
    clock.now += LOST_SECONDS * 0.9
    assert one._patience(second) == pytest.approx(REQUEST_SECONDS)
    clock.now += LOST_SECONDS * 0.2
    assert one._patience(second) == 0.0


def test_who_is_slow_needs_none_until_it_is_quick_again(one: Baton, begin: Begin, clock: Clock) -> None:
    first, second = Runner(), Runner()
    one.take(second)
    second.waited = SLOW_WAIT_SECONDS
    one.leave(second, goes_on=True)
    one.take(first)
    one.take(second)
    assert one._runner is first, "both run"
    second.waited = SLOW_WAIT_SECONDS * 0.9
    one.leave(second, goes_on=True)
    got = begin(second)
    assert not got.is_set()
    one.leave(first, goes_on=False)
    assert got.wait(PATIENCE)


def test_who_becomes_slow_passes_it_on(one: Baton, begin: Begin, clock: Clock) -> None:
    first, second = Runner(), Runner()
    one.take(first)
    got = begin(second)
    first.waited = SLOW_WAIT_SECONDS
    one.leave(first, goes_on=True)
    assert got.wait(PATIENCE)


def test_quick_steps_of_many_threads_never_overlap(one: Baton, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baton, "LOST_SECONDS", PATIENCE)
    inside: list[int] = []
    most, steps = [0], [0] * 8

    def work(number: int) -> None:
        runner = Runner()
        for left in range(300, 0, -1):
            one.take(runner)
            inside.append(number)
            most[0] = max(most[0], len(inside))
            steps[number] += 1
            inside.remove(number)
            runner.took = TURN_SECONDS / 10
            one.leave(runner, goes_on=left > 1)

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert (steps, most, one._runner) == ([300] * 8, [1], None)


def test_nobody_waits_for_ever(one: Baton, monkeypatch: pytest.MonkeyPatch) -> None:
    """The baton is taken away all the time, and many leave while others try to take it away."""
    monkeypatch.setattr(baton, "REQUEST_SECONDS", 0.0002)
    monkeypatch.setattr(baton, "LOST_SECONDS", 0.002)
    left = [100] * 12

    def work(number: int) -> None:
        runner, dice = Runner(), random.Random(number)
        while left[number]:
            one.take(runner)
            left[number] -= 1
            runner.asked_at = dice.choice((time.monotonic(), NEVER))
            time.sleep(dice.choice((0.0, 0.0, 0.0001, 0.0005)))
            runner.asked_at, runner.waited = NEVER, dice.choice((0.0, 0.0, SLOW_WAIT_SECONDS))
            runner.took = dice.choice((0.0, TURN_SECONDS))
            one.leave(runner, goes_on=left[number] > 0)

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(len(left))]
    for thread in threads:
        thread.start()
    until(lambda: not any(left))
    for thread in threads:
        thread.join(PATIENCE)
    assert one._runner is None
    assert not one._waiting


def test_one_that_cannot_look_after_the_baton_holds_nobody_up(
    one: Baton, begin: Begin, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, lost, third = Runner(), Runner(), Runner()
    one.take(first)
    with one._guard:
        one._waiting.extend([lost, third])  # the thread of the second one ended for want of memory
    assert one._patience(third) == pytest.approx(LOST_SECONDS)
    clock.now += LOST_SECONDS * 1.1
    assert one._patience(third) == pytest.approx(REQUEST_SECONDS), "the lost one has it"
    clock.now += LOST_SECONDS * 1.1
    assert one._patience(third) == 0.0


def test_one_that_has_no_memory_to_wait_leaves_the_queue(one: Baton, clock: Clock) -> None:
    class Scarce(Runner):
        @property
        def may_begin(self) -> bool:
            raise MemoryError

        @may_begin.setter
        def may_begin(self, value: bool) -> None:
            pass

    first = Runner()
    one.take(first)
    with pytest.raises(MemoryError):
        one.take(Scarce())
    assert not one._waiting
    one.leave(first, goes_on=False)
    one.take(Runner())
