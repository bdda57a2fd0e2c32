"""The Dispatcher: all lanes of a process, one for each URL, and the waiting until they have sent what they can."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from itertools import groupby
from pathlib import Path

from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import OutboxBusyError
from sfwebhooks.lane import NEVER, Lane
from sfwebhooks.outbox import Outbox
from sfwebhooks.pipeline import Clock


class Dispatcher:
    """All lanes of a process, with the outbox that they share."""

    def __init__(self, endpoints: Iterable[Endpoint], path: Path, clock: Clock = time.time) -> None:
        self.outbox = Outbox(path)
        self._clock = clock
        by_url = sorted(endpoints, key=lambda endpoint: endpoint.url_id)
        self.lanes = [Lane(group, self.outbox, clock) for _, group in groupby(by_url, key=lambda e: e.url_id)]

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
        while time.monotonic() < deadline and not (stop and stop.is_set()):
            left = min(horizon, deadline - time.monotonic())
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
        for line in (line for lane in lanes for line in lane.lines):
            line.sender.until = deadline
        while lanes and time.monotonic() < deadline:
            lanes = [lane for lane in lanes if time.monotonic() < deadline and lane.step()]

    def stop(self, seconds: float) -> None:
        """End all threads, wait at most `seconds` for those that are sending, and close the outbox."""
        deadline = time.monotonic() + seconds
        for lane in self.lanes:
            lane.stop(deadline)
        self.outbox.close()
