"""The Dispatcher: all lanes of a process, one for each URL, and the waiting until they have sent what they can."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from itertools import groupby
from pathlib import Path

from sfwebhooks.database import Storage
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import OutboxBusyError
from sfwebhooks.lane import NEVER, Lane
from sfwebhooks.outbox import Outbox
from sfwebhooks.pipeline import Clock

#: seconds that are left to a scan for each one that is used to send beside it
REST_SHARE = 9.0


def uptime() -> float:
    """Return seconds that nobody sets, and that go on while the machine sleeps, where the system has them."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)


class Dispatcher:
    """All lanes of a process, with the outbox that they share.

    Args:
        endpoints: all of the settings; to those with a mistake (`Endpoint.mistake`) nothing is sent.
    """

    def __init__(
        self, endpoints: Iterable[Endpoint], path: Path, clock: Clock = time.time, storage: Storage | None = None
    ) -> None:
        self.outbox = Outbox(path, storage=storage)
        self._clock = clock
        everyone = tuple(endpoints)
        # what waits for one with a mistake in its settings is for a process with the right ones
        sent_to = (endpoint for endpoint in everyone if not endpoint.mistake)
        by_url = sorted(sent_to, key=lambda endpoint: endpoint.url_id)
        self.lanes = [
            Lane(group, self.outbox, clock, everyone, uptime if clock is time.time else None)
            for _, group in groupby(by_url, key=lambda endpoint: endpoint.url_id)
        ]

    def tick(self) -> None:
        """Let no lane wait for a thread that is held up; to be called from time to time."""
        for lane in self.lanes:
            lane.tick()

    def be_polite(self) -> None:
        """Leave the processor to the scan that runs beside, but for a tenth of its time, for all lanes together."""
        for lane in self.lanes:
            lane.be_polite(REST_SHARE * len(self.lanes))

    def wake(self) -> None:
        """Let all lanes look for work; the first call starts the threads."""
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
            horizon: seconds; what becomes due within them is waited for too.
            healthy_only: do not wait for endpoints that are failing or held.
            stop: ends the waiting when it is set.
        """
        self._hurry()
        self.outbox.look()  # what waits may be in a file that was begun just now, in the place of one that was lost
        while time.monotonic() < deadline and not (stop and stop.is_set()):
            left = min(horizon, deadline - time.monotonic())
            self.tick()
            with suppress(OutboxBusyError):
                if min((lane.next_at(healthy_only) for lane in self.lanes), default=NEVER) > self._clock() + left:
                    return
            time.sleep(0.02)

    def open_now(self) -> None:
        """Let everything that waits be tried at once, also at endpoints that are failing or held."""
        for lane in self.lanes:
            lane.open_now()

    def run_here(self, deadline: float) -> None:
        """Deliver what is due in the calling thread, until `deadline` (monotonic seconds): for an interpreter's end,
        when no thread can be started."""
        lanes = list(self.lanes)
        self._hurry()
        for line in (line for lane in lanes for line in lane.lines):
            line.sender.until = deadline
        while lanes and time.monotonic() < deadline:
            lanes = [lane for lane in lanes if time.monotonic() < deadline and lane.step()]

    def _hurry(self) -> None:
        """Send batches that are not full too: nobody knows who will send them otherwise, and when."""
        for lane in self.lanes:
            lane.hurry()

    def stop(self, seconds: float) -> bool:
        """End all threads, wait at most `seconds` for those that are sending, and close the outbox; return whether
        none was left behind."""
        deadline = time.monotonic() + seconds
        for lane in self.lanes:
            lane.halt()
        ended = [lane.stop(deadline) for lane in self.lanes]
        self.outbox.close()
        return all(ended)
