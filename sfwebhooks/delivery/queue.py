"""The sending queue of a URL: due deliveries of all endpoints at the URL come in, attempts go out, results are settled.
claim -> deliver -> settle

It sends only while it owns the URL's lock (`ownership`), so no two processes send there, and its view of the endpoints'
health and of the pace is the truth. Attempts that were in flight when the process ended are repeated under the same id.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from functools import partial

from sfwebhooks.attempts import Failure
from sfwebhooks.delivery import log as journal
from sfwebhooks.delivery.ownership import Tenure
from sfwebhooks.delivery.settling import Ledger
from sfwebhooks.delivery.workers import Crew
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import OutboxError, ShortageError
from sfwebhooks.events import Batch
from sfwebhooks.health import Condition
from sfwebhooks.network.sender import Sender
from sfwebhooks.outbox.claim import Pick
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.queue import Result
from sfwebhooks.pipeline import Clock, Line, deliver

log = logging.getLogger("spiderfoot.webhooks")
#: seconds between two looks for deliveries from other processes, and for the lock of a dead sender
POLL_SECONDS = 0.5
NEVER = float("inf")


class Lane:
    """The sending queue of one URL, with its workers.

    Args:
        steady: a clock that cannot be set, in seconds.
    """

    def __init__(
        self, endpoints: Iterable[Endpoint], outbox: Outbox, clock: Clock, steady: Clock | None = None
    ) -> None:
        self.lines = [Line(endpoint, Sender(endpoint), steady=steady or clock) for endpoint in endpoints]
        self._hurried = False
        #: whether the pace prevented the last attempt
        self._paced = False
        #: (endpoint, reason) -> dead letters that are not reported yet
        self.deaths: Counter[tuple[str, str]] = Counter()
        #: whether this process lacked a resource when it tried to take the lock or to send
        self.is_short = False
        self._ledger = Ledger(outbox, self._written, self.deaths)
        self._tenure = Tenure(self.lines, outbox, clock, steady or clock, self.deaths)
        self._outbox = outbox
        self._clock = clock
        #: time of the last look at the operator's orders
        self._asked_at = -NEVER
        #: held while claiming
        self._claiming = threading.Lock()
        #: ids of the deliveries in flight
        self._busy: set[str] = set()
        name, size = self.lines[0].endpoint.name, max(line.endpoint.concurrency for line in self.lines)
        self._crew = Crew(f"webhooks-{name}", size, partial(self.step, grouped=True), self._rest_seconds)

    def wake(self) -> None:
        """Look for work now if there may be some; the first call starts the first thread."""
        if self._could_send or not self._crew.began:
            self._crew.wake()

    @property
    def _could_send(self) -> bool:
        """Whether something could be sent now. Changes outside this process, such as the death of another sender, are
        found by polling."""
        now = self._clock()
        return self._tenure.held and not self._tenure.pace.wait(now) and any(line.may_send(now) for line in self.lines)

    def step(self, grouped: bool = False) -> bool:
        """Make one attempt if one is allowed now; return whether there may be more to do.

        Args:
            grouped: the result may be written together with others, in a moment.

        Raises:
            OutboxError: the outbox cannot be used.
        """
        claimed = self._claim()
        if not claimed:
            return self._ledger.flush()  # deliveries that waited for these results can be sent now
        line, batch = claimed
        try:
            attempt, settlements, change = deliver(batch, line, self._clock, self._tenure.naming(batch))
        except BaseException:
            with suppress(OutboxError):
                self._outbox.recall(line.endpoint.name)
            self._release(batch)
            raise
        finally:
            with self._claiming:
                line.in_flight -= 1
        journal.tell(line, batch, attempt, settlements[0], change)
        self.is_short = attempt.reason == Failure.SHORTAGE.value
        outcome = Result(batch, attempt, settlements)
        self._ledger.settle(line, outcome, grouped and not outcome.is_split)
        return True

    def next_at(self, healthy_only: bool) -> float:
        """Return the epoch seconds at which something could be sent: 0 for now, NEVER if nothing waits.

        Deliveries that only the pace delays count as sendable now.
        """
        with self._claiming:
            if self._in_flight and (not healthy_only or any(line.health.healthy for line in self.lines)):
                return 0.0
            return min(self._line_next_at(line, healthy_only) for line in self.lines)

    @property
    def _in_flight(self) -> bool:
        return len(self._busy) > sum(len(piece.deliveries) for line in self.lines for piece in line.pieces)

    @property
    def owned(self) -> bool:
        """Whether this process owns the URL's lock."""
        return self._tenure.held

    def give_way(self) -> None:
        """Close lock and connections if nothing is to be sent here now: another endpoint needs the descriptors."""
        with suppress(OutboxError), self._claiming:
            idle = not self._busy and all(self._line_next_at(line, True) > self._clock() for line in self.lines)
            if idle and self._tenure.held:
                self._tenure.release()
                for line in self.lines:
                    line.sender.close()

    def be_polite(self, rest_share: float) -> None:
        """Rest after each attempt, `rest_share` times as long as it used the processor."""
        self._crew.rest_share = rest_share

    def hurry(self) -> None:
        """Send as fast as possible, including batches that are not full yet."""
        self._hurried, self._crew.rest_share = True, 0.0

    def tick(self) -> None:
        """Write results and start another thread if all are blocked; call about once a second."""
        self._ledger.flush()
        with suppress(OutboxError), self._claiming:
            self._tenure.show_life()
        if self._crew.began:
            self.wake()

    def halt(self) -> None:
        """Start no more attempts."""
        self._crew.halt()

    def join(self, deadline: float) -> None:
        """Wait until the threads have ended, until `deadline` (monotonic seconds) at most."""
        self._crew.stop(deadline)
        self._ledger.flush()

    def stop(self, deadline: float) -> bool:
        """End the threads; return whether everything is settled at `deadline` (monotonic seconds)."""
        ended = self._crew.stop(deadline)
        settled = self._ledger.close()
        # even while some are sending: a duplicate message does no harm, a lock that is never released does;
        # not while a thread is still claiming: it would take the lock again
        with self._claiming:
            self._tenure.release()
        if ended:
            for line in self.lines:
                line.sender.close()
        return ended and settled

    def open_now(self) -> None:
        """Let the next step try endpoints that are failing or held, and deliveries that wait for a retry."""
        with self._claiming:
            if self._tenure.take():
                for line in self.lines:
                    line.open()
                    self._outbox.make_due(line.endpoint.name, self._clock())

    def _begin_tenure(self) -> bool:
        """Take the URL's lock if deliveries are waiting and no other process owns it.

        Raises:
            OutboxError: the outbox cannot be used.
        """
        if all(self._outbox.next_due(line.endpoint.name) is None for line in self.lines):
            return False
        for line in self.lines:  # another process may have sent them meanwhile
            self._forget_pieces(line)
        try:
            taken = self._tenure.take()
            self.is_short = False
            return taken
        except ShortageError:
            self.is_short = True
            raise

    def _forget_pieces(self, line: Line) -> None:
        """Drop the halves of split requests, which the outbox still has; the caller holds the lock of `_claim`."""
        for piece in line.pieces:
            self._busy.difference_update(delivery.id for delivery in piece.deliveries)
        line.pieces.clear()

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
            if self._crew.stopping or self._ledger.is_full:
                return None
            if not (self._tenure.held or self._begin_tenure()):
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
        health = line.health
        at_once = line.endpoint.concurrency if health.healthy else 1  # a probe goes alone
        if not (self._tenure.owns(line) and line.may_send(now)) or line.in_flight >= at_once:
            return None
        queue = line.hurried_queue if self._hurried else line.queue
        if not health.healthy:
            self._forget_pieces(line)
            return self._outbox.pick(queue, self._busy, Pick(health.setbacks % len(Pick)), fresh=False)
        if line.pieces:
            line.pieces.sort(key=lambda piece: -len(piece.deliveries))
            return line.pieces.pop()  # the smallest one finds the refused message soonest
        other = Pick((health.setbacks - 1) % len(Pick)) if health.suspect else Pick.OLDEST
        batch = self._outbox.pick(queue, self._busy, other, fresh=True) if other is not Pick.OLDEST else None
        return batch or self._outbox.claim(queue, self._busy, now)

    def _now(self) -> float:
        """Return the time; at intervals read the operator's orders."""
        now = self._clock()
        if abs(now - self._asked_at) >= POLL_SECONDS:
            self._asked_at = now
            self._tenure.own_all()
            for line in self.lines:
                line.obey(self._outbox.orders(line.endpoint.name))
                line.look_at_outage()
        return now

    def _release(self, batch: Batch) -> None:
        with self._claiming:
            self._busy.difference_update(delivery.id for delivery in batch.deliveries)

    def _written(self, line: Line, outcome: Result) -> None:
        """Release the deliveries of a result; the halves of a request that are sent at once stay busy."""
        if outcome.is_split and outcome.settlements[0].due_at <= self._clock():
            with self._claiming:
                line.pieces += outcome.batch.halves
        else:
            self._release(outcome.batch)

    def _rest_seconds(self) -> float:
        """Return the seconds until the next look for work."""
        now = self._clock()
        if self._paced:
            return min(self._tenure.pace.wait(now), POLL_SECONDS)
        probes = [line.health.open_at - now for line in self.lines if not line.health.healthy]
        return min((wait for wait in (*probes, POLL_SECONDS) if wait > 0), default=POLL_SECONDS)
