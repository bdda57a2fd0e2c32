"""The workers of a sending queue: threads that run its steps while there are any, and rest until they are woken.

They start lazily and are daemons: they end with the process.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Callable

from sfwebhooks.delivery.baton import NEVER, Baton, Runner
from sfwebhooks.errors import NO_MEMORY, OutboxError, ShortageError, is_shortage
from sfwebhooks.log_once import Trouble

log = logging.getLogger("spiderfoot.webhooks")
#: seconds; if a step takes longer, more threads help
SLOW_SECONDS = 0.005
#: seconds of sleep for a thread that has no memory for a lock
UNREST_SECONDS = 0.5


class Workers:
    """Threads with one task.

    Args:
        name: prefix of the threads' names, followed by a number.
        size: most threads.
        step: runs one step in which its runner notes its request; returns whether there was work.
        rest_seconds: returns the seconds to rest before the next look unless woken.
        bell: rings for resting threads; its lock is held only for moments.
        baton: a thread has it during a step.
    """

    def __init__(
        self,
        name: str,
        size: int,
        step: Callable[[Runner], bool],
        rest_seconds: Callable[[], float],
        bell: threading.Condition,
        baton: Baton,
    ) -> None:
        self.stopping = False
        #: whether there are threads
        self.began = False
        #: seconds of rest after a step for each second of processor time that it took
        self.rest_share = 0.0
        self._name = name
        self._size = size
        self._step = step
        self._rest_seconds = rest_seconds
        self._bell = bell
        self._baton = baton
        #: number of resting threads, and whether one of them polls
        self._resting = 0
        self._polled = False
        #: whether work came that no thread has looked for yet
        self._called = False
        #: whether a resting thread was woken and is not up yet
        self._rung = False
        #: working thread -> monotonic seconds at which its step began; and the duration of the last step
        self._began_at: dict[int, float] = {}
        self._took = NEVER
        self._threads: list[threading.Thread] = []
        self._trouble = Trouble()

    def wake(self) -> None:
        """Look for work now; the first call starts the first thread."""
        if not self.will_look:
            with self._bell:  # a thread that has found no call rests before it is released
                self._called = True
                self.more(needed=self._resting == len(self._threads))

    @property
    def will_look(self) -> bool:
        """Whether a thread is about to look anyway: one was woken, or one will find a call after a pause."""
        return self._rung or (self._called and not self._began_at and self._resting < len(self._threads))

    def more(self, needed: bool = False) -> None:
        """Let one more thread look for work if that is needed, or steps take long enough for it to help."""
        if not needed:
            oldest = min(list(self._began_at.values()), default=NEVER)
            if self._took <= SLOW_SECONDS and time.monotonic() - oldest <= SLOW_SECONDS:
                return
        with self._bell:
            self._rung = self._resting > 0
            self._bell.notify()
            if not self._resting and len(self._threads) < self._size:
                self._grow()

    def halt(self) -> None:
        """Start no more steps."""
        with self._bell:
            self.stopping = True
            self._bell.notify_all()

    def stop(self, deadline: float) -> bool:
        """End the threads; return whether all have ended at `deadline` (monotonic seconds)."""
        self.halt()
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _grow(self) -> None:
        name, before = f"{self._name}-{len(self._threads) + 1}", [*self._threads]
        try:
            thread = threading.Thread(target=self._work, args=(Runner(),), name=name, daemon=True)
            self._threads.append(thread)  # before it starts: it may call for more itself
            thread.start()
            self.began = True
        except (RuntimeError, MemoryError):  # no more threads are available: the existing ones must do
            self._threads = before

    def _work(self, runner: Runner) -> None:
        while not self.stopping:
            try:
                self._look(runner)
            except (RuntimeError, MemoryError):  # resting and logging take locks, and there is no memory for one
                time.sleep(UNREST_SECONDS)

    def _look(self, runner: Runner) -> None:
        """Run one step, and rest if there was no work."""
        self._baton.take(runner)
        self._called = False  # what comes from here on may be too late for this look
        went, begin, cpu = False, time.monotonic(), time.thread_time()
        self._began_at[threading.get_ident()] = begin
        try:
            went = self._step(runner)
            self._trouble.ended()
            self._took = time.monotonic() - begin if went else self._took
        except ShortageError:  # logged once for all endpoints by the dispatcher
            log.debug("webhooks: %s waits", self._name, exc_info=True)
        except OutboxError as error:
            self._trouble.met(str(error))
        except Exception as error:  # if the thread ended, nothing would be sent to its endpoint until the process ends
            if is_shortage(error):
                self._trouble.met(f"{NO_MEMORY}; deliveries wait")
            else:
                log.exception("webhooks: bug in the sending thread of %s", self._name)
        finally:
            del self._began_at[threading.get_ident()]
            used = time.thread_time() - cpu
            self._baton.leave(runner, goes_on=went and not self.rest_share)
        if not went:
            self._rest()
        elif self.rest_share:
            time.sleep(used * self.rest_share)

    def _rest(self) -> None:
        """Wait to be woken; one of the resting threads also polls."""
        with self._bell:
            if self._called or self.stopping:  # while this thread was still looking
                return
            polls, self._polled = not self._polled, True
            self._resting += 1
            try:
                self._bell.wait(self._rest_seconds() if polls else None)
            finally:
                self._rung = False
                self._resting -= 1
                if polls:
                    self._polled = False
