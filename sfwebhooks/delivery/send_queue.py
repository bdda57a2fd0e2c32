"""The sending queue of a URL: due deliveries of all endpoints at the URL come in, attempts go out, results are settled.
claim -> deliver -> settle

It sends only while it owns the URL's lock (`ownership`), so no two processes send there, and its view of the endpoints'
health and of the pace is the truth. Attempts that were in flight when the process ended are repeated under the same id.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from typing import Callable

from sfwebhooks.delivery.baton import NEVER, Baton, Runner
from sfwebhooks.delivery.log import log_attempt
from sfwebhooks.delivery.ownership import Ownership
from sfwebhooks.delivery.settling import (
    AGAIN_SECONDS,
    GROUP_MAX,
    GROUP_SECONDS,
    UNSETTLED_MAX,
    InFlight,
    Unsettled,
    ids_in,
)
from sfwebhooks.delivery.workers import Workers
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import OutboxError, ShortageError
from sfwebhooks.events import Batch
from sfwebhooks.health import Condition
from sfwebhooks.outbox.claim import Pick
from sfwebhooks.outbox.store import Store
from sfwebhooks.pipeline import deliver
from sfwebhooks.reasons import Failure
from sfwebhooks.sending import SendingState
from sfwebhooks.system import Clock

log = logging.getLogger("spiderfoot.webhooks")
#: seconds between two looks for deliveries from other processes, and for the lock of a dead sender
POLL_SECONDS = 0.5
#: deliveries that a worker claims at once where each goes alone; seconds after which they are looked up again before
#: they are sent, since an operator may have deleted them, and after which the rest is claimed again
AHEAD_MAX = 20
CERTAIN_SECONDS = 0.02
AHEAD_SECONDS = 0.5


class SendQueue:
    """The sending queue of one URL, with its workers.

    Args:
        steady: a clock that cannot be set, in seconds.
        baton: of the process's queues.
    """

    def __init__(
        self,
        endpoints: Iterable[Endpoint],
        outbox: Store,
        clock: Clock,
        steady: Clock | None = None,
        baton: Baton | None = None,
    ) -> None:
        self._flight = InFlight()
        self._lock, self._turn = self._flight.lock, self._flight.turn
        self.states = [SendingState(endpoint, steady=steady or clock, lock=self._lock) for endpoint in endpoints]
        self._hurried = False
        #: whether this process may own the URL too, and whether it is to release it
        self.may_begin: Callable[[SendQueue], bool] = lambda queue: True
        self.leaves = False
        #: whether deliveries were waiting at the last look
        self.has_work = False
        #: whether the pace prevented the last attempt
        self._paced = False
        #: endpoint and reason of each dead letter that is not in an alert yet
        self.deaths: deque[tuple[str, str]] = deque()
        #: whether this process lacked a resource when it tried to take the lock or to send
        self.is_short = False
        self._ownership = Ownership(self.states, outbox, clock, steady or clock, self.deaths)
        self._unsettled = Unsettled(self._flight, outbox, self._ownership, clock, self.deaths)
        self._outbox = outbox
        self._clock = clock
        #: time of the last look at the operator's orders
        self._looked_at = -NEVER
        name, size = self.states[0].endpoint.name, max(state.endpoint.concurrency for state in self.states)
        step = partial(self.step, AHEAD_MAX)
        self._workers = Workers(f"webhooks-{name}", size, step, self._rest_seconds, self._lock, baton or Baton())

    def wake(self) -> None:
        """Look for work now if there may be some; the first call starts the first thread."""
        if not self._workers.will_look and (self._could_send or not self._workers.began):
            self._workers.wake()

    @property
    def has_threads(self) -> bool:
        """Whether a thread looks for work."""
        return self._workers.began

    def look(self) -> None:
        """Look for work now, whatever this process knows: another one may have brought some."""
        self._workers.wake()

    @property
    def _could_send(self) -> bool:
        """Whether something could be sent now. Changes outside this process, such as the death of another sender, are
        found by `look` and by polling."""
        now, ours = self._clock(), self._ownership
        return any(state.may_send(now) for state in self.states) and not ours.pace.wait(now) and ours.lock.held

    def step(self, ahead: int = 1, runner: Runner | None = None) -> bool:
        """Make one attempt if one is allowed now; return whether there may be more to do.

        Args:
            ahead: deliveries that are claimed at once. If there can be several, their results are written together too,
                in a moment.
            runner: notes when the request begins, and how long the receiver takes.

        Raises:
            OutboxError: the outbox cannot be used.
        """
        claimed = self._claim(ahead)
        if not claimed:
            wrote = self._unsettled.write(patient=True)  # deliveries that waited for these results can be sent now
            if self.leaves:
                with self._turn:
                    self._let_go()
            return wrote
        state, batch, takeovers = claimed
        runner = runner or Runner()
        runner.asked_at, cpu = time.monotonic(), time.thread_time()
        try:
            result, change = deliver(batch, state, self._clock, partial(self._ownership.rendering, batch))
        except BaseException:
            with suppress(OutboxError):
                self._outbox.queue.recall(state.endpoint.name, state.repeat_at(self._clock()))
            self._flight.release(batch)
            raise
        finally:
            runner.took = time.monotonic() - runner.asked_at
            runner.waited, runner.asked_at = runner.took - (time.thread_time() - cpu), NEVER
            with self._lock:
                state.in_flight -= 1
        if result.attempt.status == 429:
            with self._lock:
                self._ownership.pace = self._ownership.pace.exhausted(self._clock())
        log_attempt(state, result, change)
        self.is_short = result.attempt.reason == Failure.SHORTAGE.value
        unsettled = self._unsettled
        unsettled.results.append((state, result, takeovers))
        in_group = ahead > 1 and not result.settlements[0].split
        patience = AGAIN_SECONDS if unsettled.trouble.text else GROUP_SECONDS if in_group else 0.0
        full = not unsettled.trouble.text and len(unsettled.results) * len(batch.deliveries) >= GROUP_MAX
        if full or time.monotonic() - unsettled.wrote_at >= patience:
            unsettled.write()
        return True

    def _claim(self, ahead: int) -> tuple[SendingState, Batch, int] | None:
        """Return the next request with the endpoint that it goes to and its number of takeovers, or None if nothing can
        be sent now."""
        with self._turn:
            if self._workers.stopping or self.leaves or len(self._unsettled.results) >= UNSETTLED_MAX:
                return None
            if not (self._ownership.lock.held or self._begin()):
                return None
            now = self._clock()
            if abs(now - self._looked_at) >= POLL_SECONDS:
                self._look(now)
            pace = self._ownership.pace
            self._paced = bool(pace.interval) and pace.wait(now) > 0
            for state in [] if self._paced else [*self.states]:
                batch = self._next(state, now, ahead) if state.is_owned and state.may_send(now) else None
                if batch is None:
                    continue
                _ = state.sender  # made here, by one thread, while nothing is in flight yet
                with self._lock:
                    state.in_flight += 1
                    alone = len(batch.deliveries) == 1
                    self._flight.ids.update((batch.id,) if alone else ids_in(batch))
                    self._ownership.pace = pace.after(now) if pace.interval or pace.brake else pace
                    self.states.remove(state)  # the other endpoints of this URL come first next time
                    self.states.append(state)
                if self._workers.began:
                    self._workers.more()
                return state, batch, state.takeovers
        return None

    def _next(self, state: SendingState, now: float, ahead: int) -> Batch | None:
        """Return the next request to an endpoint."""
        health, limits = state.health, state.hurried_limits if self._hurried else state.limits
        busy = self._flight.ids
        if not health.healthy:
            self._forget(state)
            probe = self._outbox.queue.pick(limits, busy, Pick(health.setbacks % len(Pick)), False, now)
            return probe or (self._outbox.queue.claim_batch(limits, busy, now) if limits.digesting.waits else None)
        while state.pieces:  # of a batch the last is the smallest: it finds the refused message soonest
            waits = self._outbox.queue.is_waiting(state.pieces[-1])
            piece = state.pieces.pop()
            if waits:
                return piece
            self._flight.release(piece)  # what is left of it is claimed from the outbox
        if health.failures >= 2 or health.refusals >= 2:  # the next message may lie elsewhere in the queue
            state.ahead.clear()
            other = Pick((health.setbacks - 1) % len(Pick))
            batch = self._outbox.queue.pick(limits, busy, other, True, now) if other is not Pick.OLDEST else None
            if batch:
                return batch
        if limits.size > 1 or limits.late or limits.is_careful:
            return self._outbox.queue.claim_batch(limits, busy, now, self._ownership.pace.spare(now))
        if state.ahead and abs(now - state.certain_at) > CERTAIN_SECONDS:
            state.ahead, state.certain_at = deque(self._outbox.queue.still_waiting([*state.ahead])), now
        if not state.ahead or abs(now - state.claimed_at) > AHEAD_SECONDS:
            state.ahead = deque(self._outbox.queue.claim(limits.endpoint, busy, now, ahead))
            state.claimed_at = state.certain_at = now
        return state.ahead.popleft() if state.ahead else None

    def next_at(self, healthy_only: bool) -> float:
        """Return the epoch seconds at which something could be sent: 0 for now, NEVER if nothing waits.

        Deliveries that only the pace delays count as sendable now, and so does one whose failure changed its endpoint's
        health until that is written: who reads the outbox next has to find it there.
        """
        with self._turn:
            if self._in_flight and (not healthy_only or any(one.health.healthy or one.is_news for one in self.states)):
                return 0.0
            return min(self._next_at(state, healthy_only) for state in self.states)

    def _next_at(self, state: SendingState, healthy_only: bool) -> float:
        health = self._ownership.health(state)
        name = state.endpoint.name
        due = self._outbox.queue.next_due(state.limits, self._clock())
        paused_until = self._outbox.endpoints.orders(name).paused_until
        unable = not health.healthy or paused_until > self._clock()
        if due is None or health.condition is Condition.DISABLED or (healthy_only and unable):
            return NEVER
        return max(due, health.open_at, paused_until)

    @property
    def _in_flight(self) -> bool:
        return len(self._flight.ids) > sum(len(piece.deliveries) for state in self.states for piece in state.pieces)

    @property
    def owned(self) -> bool:
        """Whether this process owns the URL's lock."""
        return self._ownership.lock.held

    @property
    def url_id(self) -> str:
        """`Endpoint.url_id` of its endpoints."""
        return self.states[0].endpoint.url_id

    @property
    def is_free(self) -> bool:
        """Whether no process owns it.

        Raises:
            OutboxError: the lock cannot be looked at.
        """
        return self._ownership.lock.is_free

    @property
    def is_wanted(self) -> bool:
        """Whether this process owns it, and another one asks for it."""
        return self.owned and self._ownership.lock.is_wanted

    def leave(self) -> None:
        """Claim nothing more, and release the URL once nothing is in flight: another process is to send there."""
        self.leaves = True
        with suppress(OutboxError), self._turn:
            self._let_go()

    def _let_go(self) -> None:
        """Release the URL if it is left and nothing is in flight."""
        if self.leaves:
            for state in self.states:
                self._forget(state)
            if not self._flight.ids:
                self._ownership.release()
                self.leaves = False

    def give_way(self) -> None:
        """Close lock and connections if nothing is to be sent here now: another endpoint needs the descriptors."""
        with suppress(OutboxError), self._turn:
            idle = not self._flight.ids and all(self._next_at(state, True) > self._clock() for state in self.states)
            if idle and self._ownership.lock.held:
                self._ownership.release()
                for state in self.states:
                    state.disconnect()

    def be_polite(self, rest_share: float) -> None:
        """Rest after each attempt, `rest_share` times as long as it used the processor."""
        self._workers.rest_share = rest_share

    def hurry(self, hurried: bool = True) -> None:
        """Send as fast as possible, including batches that are not full yet, unless that is over."""
        self._hurried, self._workers.rest_share = hurried, 0.0

    def tick(self) -> None:
        """Write results and start another thread if all are blocked; call about once a second."""
        self._unsettled.write(patient=True)
        with suppress(OutboxError), self._turn:
            self._ownership.show_life()
            self._let_go()
        if self._workers.began:
            self.wake()

    def halt(self) -> None:
        """Start no more attempts."""
        self._workers.halt()

    def join(self, deadline: float) -> None:
        """Wait until the threads have ended, until `deadline` (monotonic seconds) at most."""
        self._workers.stop(deadline)
        self._unsettled.write(patient=True)

    def stop(self, deadline: float) -> bool:
        """End the threads; return whether everything is settled at `deadline` (monotonic seconds)."""
        ended = self._workers.stop(deadline)
        self._unsettled.write()
        left = sum(len(result.batch.deliveries) for _, result, _ in [*self._unsettled.results])
        if left:
            log.warning("webhooks: %d deliveries were sent but not recorded; they will be sent again", left)
        # even while some are sending: a duplicate message does no harm, a lock that is never released does;
        # not while a thread is still claiming: it would take the lock again
        with self._turn:
            self._ownership.release()
        if ended:
            for state in self.states:
                state.disconnect()
        return ended and not left

    def open_now(self) -> None:
        """Let the next step try endpoints that are failing or held, and deliveries that wait for a retry."""
        with self._turn:
            if self._ownership.take():
                for state in self.states:
                    state.open()
                    self._outbox.due.make_due(state.endpoint.name, self._clock())

    def _begin(self) -> bool:
        """Take the URL's lock if deliveries are waiting and no other process owns it.

        Raises:
            OutboxError: the outbox cannot be used.
        """
        due = (self._outbox.queue.next_due(state.limits, self._clock()) for state in self.states)
        self.has_work = any(at is not None for at in due)
        if not self.has_work or not self.may_begin(self):
            return False
        for state in self.states:  # another process may have sent them meanwhile
            self._forget(state)
        try:
            taken = self._ownership.take()
            if not taken:
                self._ownership.lock.want()
            self.is_short = False
            return taken
        except ShortageError:
            self.is_short = True
            raise

    def _look(self, now: float) -> None:
        """Take locks that became free, and follow the operator's orders."""
        self._looked_at = now
        self._ownership.own_all()
        for state in self.states:
            state.obey(self._outbox.endpoints.orders(state.endpoint.name))
            state.look_at_outage()

    def _forget(self, state: SendingState) -> None:
        """Forget deliveries that were claimed or split and are not in flight; the outbox has them."""
        with self._lock:
            for piece in state.pieces:
                self._flight.ids.difference_update(ids_in(piece))
            state.pieces.clear()
            state.ahead.clear()

    def _rest_seconds(self) -> float:
        """Return the seconds until the next look for work."""
        now = self._clock()
        if self._paced:
            return min(self._ownership.pace.wait(now), POLL_SECONDS)
        probes = [state.health.open_at - now for state in self.states if not state.health.healthy]
        return min((wait for wait in (*probes, POLL_SECONDS) if wait > 0), default=POLL_SECONDS)
