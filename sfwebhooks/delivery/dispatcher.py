"""The Dispatcher: the sending queues of a process, one for each URL, and the wait until they have sent all they can."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import Callable

from sfwebhooks.delivery.alert_timing import Alerting
from sfwebhooks.delivery.queue import NEVER, Lane
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import OutboxBusyError, OutboxError, ShortageError
from sfwebhooks.outbox.file import Storage
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.pipeline import Clock, uptime
from sfwebhooks.trouble import Trouble

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
        self, endpoints: Iterable[Endpoint], path: Path, clock: Clock = time.time, storage: Storage | None = None
    ) -> None:
        self.outbox = Outbox(path, storage=storage)
        self._clock = clock
        everyone = tuple(endpoints)
        # deliveries to an endpoint with a mistake wait for a process with corrected settings
        sent_to = (endpoint for endpoint in everyone if not endpoint.mistake)
        by_url = sorted(sent_to, key=lambda endpoint: endpoint.url_id)
        self.lanes = [
            Lane(group, self.outbox, clock, uptime if clock is time.time else None)
            for _, group in groupby(by_url, key=lambda endpoint: endpoint.url_id)
        ]
        #: monotonic seconds at which this process was last short of a resource
        self._short_at = float("-inf")
        self._shortage = Trouble(over="this process has descriptors and memory again")
        self._alerting = Alerting(everyone, self.outbox, clock)
        self._trouble = {lane: Trouble(f"endpoint {lane.lines[0].endpoint.name}: ") for lane in self.lanes}

    def tick(self, last: bool = False) -> bool:
        """Do the work of blocked threads, and commit alerts; call about once a second.

        Args:
            last: whether this is the last call.

        Returns:
            Whether an alert is about to become due.
        """
        short = self._look_at_shortage()
        for lane in self.lanes:
            lane.tick()
            if short:
                lane.give_way()
            self._alerting.add_deaths(lane.deaths)
        lines = [line for lane in self.lanes if lane.owned for line in lane.lines]
        with suppress(OutboxError):
            return self._alerting.look(lines, last)
        return False

    def _look_at_shortage(self) -> bool:
        """Return whether this process lacks a resource; log the begin, and the end once it has lasted."""
        if any(lane.is_short for lane in self.lanes):
            self._shortage.met("this process has no descriptors or no memory left", "; some endpoints wait for others")
            self._short_at = time.monotonic()
            return True
        if time.monotonic() - self._short_at > SHORTAGE_OVER_SECONDS:
            self._shortage.ended()
        return False

    @property
    def tried_in_vain(self) -> frozenset[str]:
        """Names of the endpoints that this process has tried and that are not healthy."""
        lines = [line for lane in self.lanes if lane.owned for line in lane.lines]
        return frozenset(line.endpoint.name for line in lines if line.tried and not line.health.healthy)

    def be_polite(self) -> None:
        """Use at most a tenth of the processor's time, over all queues, and leave the rest to the running scan."""
        for lane in self.lanes:
            lane.be_polite(REST_SHARE * len(self.lanes))

    def wake(self) -> None:
        """Let all queues look for work; the first call starts the threads."""
        for lane in self.lanes:
            lane.wake()

    def linger(
        self,
        deadline: float,
        horizon: float = 0.0,
        healthy_only: bool = True,
        stop: threading.Event | None = None,
    ) -> None:
        """Wait while something can be sent, at most until `deadline` (monotonic seconds).

        Args:
            horizon: seconds; deliveries that become due within them are waited for too.
            healthy_only: do not wait for endpoints that are failing or held.
            stop: ends the wait when set.
        """
        self._hurry()
        self.outbox.look()  # the file may be a new one that replaced a lost one
        while time.monotonic() < deadline and not (stop and stop.is_set()):
            left = min(horizon, deadline - time.monotonic())
            alerts = self.tick()
            with suppress(OutboxBusyError):
                nothing = min((lane.next_at(healthy_only) for lane in self.lanes), default=NEVER) > self._clock() + left
                if nothing and not alerts:
                    return
            time.sleep(0.02)

    def open_now(self) -> None:
        """Make all waiting deliveries due now, including those to endpoints that are failing or held."""
        for lane in self.lanes:
            self._try(lane, lane.open_now)

    def _try(self, lane: Lane, work: Callable[[], object]) -> object:
        """Run `work` on a queue and log an outbox error, so that the other queues go on."""
        try:
            found = work()
            self._trouble[lane].ended()
            return found
        except ShortageError:  # logged once for all endpoints
            return None
        except OutboxError as error:
            self._trouble[lane].met(str(error))
            return None

    def run_here(self, deadline: float) -> None:
        """Deliver what is due in the calling thread, until `deadline` (monotonic seconds): when the interpreter exits
        and no thread can be started."""
        lanes = list(self.lanes)
        self._hurry()
        for line in (line for lane in lanes for line in lane.lines):
            line.sender.until = deadline
        while lanes and time.monotonic() < deadline:
            lanes = [lane for lane in lanes if time.monotonic() < deadline and self._try(lane, lane.step)]

    def _hurry(self) -> None:
        """Send batches that are not full too: it is unknown when another process would send them."""
        for lane in self.lanes:
            lane.hurry()

    def stop(self, seconds: float) -> bool:
        """End all threads, wait at most `seconds` for those that are sending, and close the outbox; return whether all
        have ended."""
        deadline = time.monotonic() + seconds
        for lane in self.lanes:
            lane.halt()
        for lane in self.lanes:
            lane.join(deadline)
        self.tick(last=True)
        ended = [lane.stop(deadline) for lane in self.lanes]
        self.outbox.close()
        return all(ended)
