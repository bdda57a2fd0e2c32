"""The Dispatcher: the sending queues of a process, one for each URL, and the wait until they have sent all they can."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from itertools import groupby
from typing import Callable

from sfwebhooks.delivery.alert_timing import Alerting
from sfwebhooks.delivery.baton import NEVER, Baton
from sfwebhooks.delivery.send_queue import SendQueue
from sfwebhooks.delivery.sharing import Sharing
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import OutboxBusyError, OutboxError, ShortageError
from sfwebhooks.log_once import Trouble
from sfwebhooks.outbox.file import Storage
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.postgres.dsn import Place
from sfwebhooks.outbox.store import Store
from sfwebhooks.system import Clock, uptime

#: seconds of processor time left to a running scan for each one used to send
REST_SHARE = 9.0
#: seconds without a shortage of resources until it counts as over
SHORTAGE_OVER_SECONDS = 30.0


class Dispatcher:
    """The sending queues of a process, with the outbox that they share.

    Args:
        endpoints: all of the settings; nothing is sent to those with a mistake (`Endpoint.mistake`).
    """

    def __init__(
        self, endpoints: Iterable[Endpoint], place: Place, clock: Clock = time.time, storage: Storage | None = None
    ) -> None:
        self.outbox: Store = Outbox(place, storage=storage)
        self._clock = clock
        everyone = tuple(endpoints)
        # deliveries to an endpoint with a mistake wait for a process with corrected settings
        sent_to = (endpoint for endpoint in everyone if not endpoint.mistake)
        by_url = sorted(sent_to, key=lambda endpoint: endpoint.url_id)
        steady, baton = uptime if clock is time.time else None, Baton()
        self.queues = [
            SendQueue(group, self.outbox, clock, steady, baton)
            for _, group in groupby(by_url, key=lambda endpoint: endpoint.url_id)
        ]
        self._sharing = Sharing(self.queues, self.outbox.locks, steady or clock)
        #: monotonic seconds at which this process was last short of a resource
        self._short_at = float("-inf")
        self._shortage = Trouble(over="this process has descriptors and memory again")
        self._alerting = Alerting(everyone, self.outbox, clock)
        self._trouble = {queue: Trouble(f"endpoint {queue.states[0].endpoint.name}: ") for queue in self.queues}

    def tick(self, last: bool = False) -> bool:
        """Do the work of blocked threads, and commit alerts; call about once a second.

        Args:
            last: whether this is the last call.

        Returns:
            Whether an alert is about to become due.
        """
        short = self._look_at_shortage()
        for queue in self.queues:
            queue.tick()
            if short:
                queue.give_way()
            self._alerting.add_deaths(queue.deaths)
        self._alerting.add_deaths(self.outbox.queue.deaths)
        states = [state for queue in self.queues if queue.owned for state in queue.states]
        with suppress(OutboxError):
            self._sharing.look()
        with suppress(OutboxError):
            return self._alerting.look(states, last)
        return False

    def _look_at_shortage(self) -> bool:
        """Return whether this process lacks a resource; log the begin, and the end once it has lasted."""
        if any(queue.is_short for queue in self.queues):
            self._shortage.met("this process has no descriptors or no memory left", "; some endpoints wait for others")
            self._short_at = time.monotonic()
            return True
        if time.monotonic() - self._short_at > SHORTAGE_OVER_SECONDS:
            self._shortage.ended()
        return False

    @property
    def tried_in_vain(self) -> frozenset[str]:
        """Names of the endpoints that this process has tried and that are not healthy."""
        states = [state for queue in self.queues if queue.owned for state in queue.states]
        return frozenset(state.endpoint.name for state in states if state.tried and not state.health.healthy)

    def be_polite(self) -> None:
        """Use at most a tenth of the processor's time, over all queues, and leave the rest to the running scan."""
        for queue in self.queues:
            queue.be_polite(REST_SHARE * len(self.queues))

    def wake(self) -> bool:
        """Let all queues look for work; the first call starts the threads. Return whether all queues have some: when
        the interpreter exits, none can be started."""
        for queue in self.queues:
            queue.wake()
        return all(queue.has_threads for queue in self.queues)

    def follow(self) -> None:
        """Let all queues look for work if another process has changed the outbox; call often.

        Raises:
            OutboxError: the outbox cannot be used.
        """
        if self.outbox.database.is_changed():
            for queue in self.queues:
                queue.look()

    def next_at(self, healthy_only: bool = False) -> float:
        """Return the epoch seconds at which something could be sent, by any process: 0 for now, NEVER if nothing waits.

        Args:
            healthy_only: disregard endpoints that are failing, held or paused.

        Raises:
            OutboxError: the outbox cannot be read.
        """
        return min((queue.next_at(healthy_only) for queue in self.queues), default=NEVER)

    def linger(
        self,
        deadline: float,
        everything: bool = False,
        is_over: Callable[[], bool] = lambda: False,
    ) -> None:
        """Wait while something can be sent, at most until `deadline` (monotonic seconds).

        Args:
            everything: wait also for endpoints that are failing or held, and for deliveries that become due before the
                deadline.
            is_over: ends the wait; called often.
        """
        self.hurry()
        self.outbox.database.look()  # it may be a new one that replaced a lost one
        while time.monotonic() < deadline and not is_over():
            alerts = self.tick()
            with suppress(OutboxBusyError):
                next_at = self.next_at(not everything)
                # the clock is read last: a refusal in between opens the endpoint at its own time
                until = self._clock() + (deadline - time.monotonic() if everything else 0.0)
                if next_at > until:
                    if not alerts:
                        return
                    self.tick(last=True)  # nothing more can happen that these alerts could be gathered with
            time.sleep(0.02)

    def open_now(self) -> None:
        """Make all waiting deliveries due now, including those to endpoints that are failing or held."""
        for queue in self.queues:
            self._try(queue, queue.open_now)

    def _try(self, queue: SendQueue, work: Callable[[], object]) -> object:
        """Run `work` on a queue and log an outbox error, so that the other queues go on."""
        try:
            found = work()
            self._trouble[queue].ended()
            return found
        except ShortageError:  # logged once for all endpoints
            return None
        except OutboxError as error:
            self._trouble[queue].met(str(error))
            return None

    def run_here(self, deadline: float) -> None:
        """Deliver what is due in the calling thread, until `deadline` (monotonic seconds): when the interpreter exits
        and no thread can be started."""
        queues = list(self.queues)
        self.hurry()
        for state in (state for queue in queues for state in queue.states):
            state.sender.until = deadline
        while queues and time.monotonic() < deadline:
            queues = [queue for queue in queues if time.monotonic() < deadline and self._try(queue, queue.step)]

    def hurry(self, hurried: bool = True) -> None:
        """Send batches that are not full too, since no scan fills them, or no longer do that."""
        for queue in self.queues:
            queue.hurry(hurried)

    def stop(self, seconds: float) -> bool:
        """End all threads, wait at most `seconds` for those that are sending, and close the outbox; return whether all
        have ended."""
        deadline = time.monotonic() + seconds
        for queue in self.queues:
            queue.halt()
        for queue in self.queues:
            queue.join(deadline)
        self.tick(last=True)
        ended = [queue.stop(deadline) for queue in self.queues]
        self.outbox.close()
        return all(ended)
