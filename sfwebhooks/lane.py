"""A Lane: the sending threads of one URL, with all endpoints that use it. claim -> deliver -> settle.

It sends only during its tenure (`tenure`), so no two processes ever send there, and what it knows of the endpoints'
health and of the pace is the truth. What the threads had begun when the process ended is repeated under
the same id.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial

from sfwebhooks import journal
from sfwebhooks.crew import Crew
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import OutboxError
from sfwebhooks.events import Batch
from sfwebhooks.ledger import Ledger
from sfwebhooks.outbox import Outbox
from sfwebhooks.pacing import Condition
from sfwebhooks.pipeline import Clock, Line, deliver
from sfwebhooks.queues import Outcome
from sfwebhooks.sender import Sender
from sfwebhooks.tenure import Tenure

log = logging.getLogger("spiderfoot.webhooks")
#: seconds between two looks for what other processes put into the outbox, and for the lock of a dead sender
POLL_SECONDS = 0.5
NEVER = float("inf")


class Lane:
    """The way to one URL.

    Args:
        everyone: all endpoints of the process: who may be told of trouble here.
        steady: seconds that nobody sets; by it is seen that the clock was set.
    """

    def __init__(
        self,
        endpoints: Iterable[Endpoint],
        outbox: Outbox,
        clock: Clock,
        everyone: Sequence[Endpoint] = (),
        steady: Clock | None = None,
    ) -> None:
        self.lines = [Line(endpoint, Sender(endpoint)) for endpoint in endpoints]
        self._hurried = False
        #: whether it was the pace that let nothing go
        self._paced = False
        self._ledger = Ledger(outbox, everyone, clock, self._release)
        self._tenure = Tenure(self.lines, outbox, clock, steady or clock)
        self._outbox = outbox
        self._clock = clock
        #: when it was last asked what the operator says
        self._asked_at = -NEVER
        #: held while claiming
        self._claiming = threading.Lock()
        #: ids of the deliveries in flight
        self._busy: set[str] = set()
        name, size = self.lines[0].endpoint.name, max(line.endpoint.concurrency for line in self.lines)
        self._crew = Crew(f"webhooks-{name}", size, partial(self.step, grouped=True), self._rest_seconds)

    def wake(self) -> None:
        """Look for work now, if there may be some; the first call starts the first thread."""
        if self._could_send or not self._crew.began:
            self._crew.wake()

    @property
    def _could_send(self) -> bool:
        """Whether something could go now. What is not known here, such as that another sender died, is seen by looking
        from time to time."""
        now = self._clock()
        return self._tenure.held and not self._tenure.pace.wait(now) and any(line.may_send(now) for line in self.lines)

    def step(self, grouped: bool = False) -> bool:
        """Make one attempt, if one may be made now; return whether there may be more to do.

        Args:
            grouped: it may be written down together with others, in a moment.

        Raises:
            OutboxError: the outbox cannot be used.
        """
        claimed = self._claim()
        if not claimed:
            return self._ledger.flush()  # what waited for it can go now
        line, batch = claimed
        try:
            attempt, settlements, change = deliver(batch, line, self._time, self._tenure.naming(batch))
        except BaseException:
            with suppress(OutboxError):
                self._outbox.recall(line.endpoint.name)
            self._release(batch)
            raise
        finally:
            with self._claiming:
                line.in_flight -= 1
        journal.tell(line.endpoint, batch, attempt, settlements[0], change)
        self._ledger.settle(line, Outcome(batch, attempt, settlements), grouped)
        return True

    def next_at(self, healthy_only: bool) -> float:
        """Return the epoch seconds at which something could be sent: 0 for now, NEVER if nothing waits.

        What only the pace holds back could be sent now.
        """
        with self._claiming:
            if self._busy and (not healthy_only or any(line.health.healthy for line in self.lines)):
                return 0.0
            return min(self._line_next_at(line, healthy_only) for line in self.lines)

    def be_polite(self, rest_share: float) -> None:
        """Rest after each attempt, so many times as long as it used the processor."""
        self._crew.rest_share = rest_share

    def hurry(self) -> None:
        """Send as fast as it goes, and batches that are not full yet too."""
        self._hurried, self._crew.rest_share = True, 0.0

    def tick(self) -> None:
        """Do from time to time what a thread that is held up cannot: write down what was sent, call another thread."""
        self._ledger.flush()
        if self._crew.began:
            self.wake()

    def halt(self) -> None:
        """Begin no attempt any more."""
        self._crew.halt()

    def stop(self, deadline: float) -> bool:
        """End the threads; return whether all is settled at `deadline` (monotonic seconds): the rest is left behind."""
        ended = self._crew.stop(deadline)
        settled = self._ledger.close()
        # also while some are sending: a message that comes twice does no harm, a lock that is held for ever does;
        # not while one is still claiming, who would take it after us
        with self._claiming:
            self._tenure.release()
        if ended:
            for line in self.lines:
                line.sender.close()
        return ended and settled

    def open_now(self) -> None:
        """Let the next step try endpoints that are failing or held, and what waits for a retry."""
        with self._claiming:
            if self._tenure.take():
                for line in self.lines:
                    line.open()
                    self._outbox.make_due(line.endpoint.name, self._clock())

    def _line_next_at(self, line: Line, healthy_only: bool) -> float:
        health = self._tenure.health(line)
        name = line.endpoint.name
        due, paused_until = self._outbox.next_due(name), self._outbox.orders(name).paused_until
        unable = not health.healthy or paused_until > self._clock()
        if due is None or health.condition is Condition.DISABLED or (healthy_only and unable):
            return NEVER
        return max(due, health.open_at, paused_until)

    def _claim(self) -> tuple[Line, Batch] | None:
        with self._claiming:
            if self._crew.stopping or self._ledger.is_full or not self._tenure.take():
                return None
            now = self._now()
            self._paced = self._tenure.pace.wait(now) > 0
            if self._paced:
                return None
            for line in self.lines:
                batch = self._claim_for(line, now)
                if batch:
                    line.in_flight += 1
                    self._busy.update(delivery.id for delivery in batch.deliveries)
                    self._tenure.pace = self._tenure.pace.after(now)
                    self.lines.remove(line)  # the other endpoints of this URL come first next time
                    self.lines.append(line)
                    self._crew.more()
                    return line, batch
        return None

    def _claim_for(self, line: Line, now: float) -> Batch | None:
        probing = not line.health.healthy
        at_once = 1 if probing else line.endpoint.concurrency  # a probe goes alone
        if not line.may_send(now) or line.in_flight >= at_once:
            return None
        queue = line.hurried_queue if self._hurried else line.queue
        return self._outbox.claim(queue, self._busy, now)

    def _now(self) -> float:
        """Return the time; from time to time ask for the operator's orders."""
        self._tenure.follow_clock()
        now = self._clock()
        if abs(now - self._asked_at) >= POLL_SECONDS:
            self._asked_at = now
            for line in self.lines:
                line.obey(self._outbox.orders(line.endpoint.name))
        return now

    def _time(self) -> float:
        """Return the time; what was to wait by another clock follows first, and not what is decided by this one."""
        with suppress(OutboxError), self._claiming:
            self._tenure.follow_clock()
        return self._clock()

    def _release(self, batch: Batch) -> None:
        with self._claiming:
            self._busy.difference_update(delivery.id for delivery in batch.deliveries)

    def _rest_seconds(self) -> float:
        """Return how long nothing can be done here, as far as we know."""
        return min(self._tenure.pace.wait(self._clock()), POLL_SECONDS) if self._paced else POLL_SECONDS
