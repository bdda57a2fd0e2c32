"""The Baton of a process: a thread comes in before a step, and leaves after it.

Python runs one thread at a time, and changing threads in the middle of a step costs more than the moment that a quick
receiver takes to answer. So steps with quick receivers run one after the other, over all sending queues; nobody waits
for a step with a slow one. A step that waits for the outbox keeps the baton: the others would only wait for it too.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import suppress
from itertools import islice

#: seconds of waiting for the receiver that make a step slow: the next one of its thread needs no baton
SLOW_WAIT_SECONDS = 0.001
#: seconds after which a thread loses the baton while it makes a request; and seconds of requests after which it passes
#: it on after a step, so that what it does with the outbox is for several at once
REQUEST_SECONDS = TURN_SECONDS = 0.005
#: seconds after which a thread loses it in any case
LOST_SECONDS = 0.1
NEVER = float("inf")


class Runner:
    """A thread with steps to run."""

    def __init__(self) -> None:
        #: monotonic seconds since when its step makes a request; seconds that it took, and in which the thread waited
        self.asked_at = NEVER
        self.took = self.waited = 0.0
        #: whether its last step was slow
        self.is_slow = False
        #: whether it may begin the step for which it has waited; another one may have the baton already
        self.may_begin = False
        #: released to wake it
        self.gate = threading.Lock()


class Baton:
    """The right to run a step, which one thread has at a time."""

    def __init__(self) -> None:
        #: held while the rest changes
        self._guard = threading.Lock()
        self._runner: Runner | None = None
        #: monotonic seconds at which the runner got it, and at which its step began; seconds of its requests since
        self._got_at = self._began_at = self._spent = 0.0
        #: those that wait for it, in order
        self._waiting: deque[Runner] = deque()

    def take(self, runner: Runner) -> None:
        """Wait until a step may begin."""
        if runner.is_slow:
            return
        with self._guard:
            if self._runner is runner:
                self._began_at = time.monotonic()
                return
            self._waiting.append(runner)
            if self._runner is None:
                self._pass_on()
        try:
            while True:
                patience = self._patience(runner)
                if not patience:
                    return
                runner.gate.acquire(timeout=patience)
        except BaseException:  # no memory
            with self._guard, suppress(ValueError):
                self._waiting.remove(runner)
            raise

    def leave(self, runner: Runner, goes_on: bool) -> None:
        """End a step. The baton is kept for the next one if there is one, unless others have waited long enough."""
        runner.is_slow, took = runner.waited >= SLOW_WAIT_SECONDS, runner.took
        runner.took = runner.waited = 0.0
        keeps = goes_on and not runner.is_slow
        with self._guard:
            if self._runner is not runner:
                return
            self._spent += took
            has_turn = self._spent < TURN_SECONDS and time.monotonic() - self._got_at < LOST_SECONDS
            if self._waiting and not (keeps and has_turn):
                self._pass_on()
            elif not keeps:
                self._runner = None

    def _patience(self, runner: Runner) -> float:
        """Return the seconds after which a waiting thread has to look again, 0 if it has the baton. The first one takes
        it away from a runner whose receiver is slow; another one if the first one had no memory to do that."""
        with self._guard:
            while not runner.may_begin:
                now = time.monotonic()
                left = self._began_at + LOST_SECONDS - now
                if self._waiting[0] is runner and self._runner:
                    left = min(left, min(self._runner.asked_at, now) + REQUEST_SECONDS - now)
                if left > 0:
                    return left
                self._pass_on()
            runner.may_begin = False
            return 0.0

    def _pass_on(self) -> None:
        """Give the baton to the first one that waits; the next one has to look after it."""
        self._runner = self._waiting.popleft()
        self._runner.may_begin = True
        self._got_at = self._began_at = time.monotonic()
        self._spent = 0.0
        for one in (self._runner, *islice(self._waiting, 1)):
            if one.gate.locked():
                one.gate.release()
