"""The results not yet written: results of attempts come in, and go into the outbox in order with the endpoints' health.

A message whose result is not written is sent again, under the same id. Results that come fast are written together;
while the outbox cannot be written they are kept in memory, and their deliveries stay in flight.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from typing import Callable

from sfwebhooks.errors import OutboxError
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.queue import Result
from sfwebhooks.pipeline import Line
from sfwebhooks.retry import State
from sfwebhooks.trouble import Trouble

log = logging.getLogger("spiderfoot.webhooks")
#: most results that are kept in memory
UNSETTLED_MAX = 1000
#: results wait for others until they cover GROUP_MAX deliveries, or for GROUP_SECONDS: a kill repeats no more than that
GROUP_MAX = 20
GROUP_SECONDS = 0.05
#: seconds between two tries to write them
AGAIN_SECONDS = 1.0


class Ledger:
    """Writes results, one thread at a time.

    Args:
        written: called with each result once it is committed.
        deaths: counts of dead letters by endpoint and reason that are not reported yet.
    """

    def __init__(
        self, outbox: Outbox, written: Callable[[Line, Result], None], deaths: Counter[tuple[str, str]]
    ) -> None:
        self._outbox = outbox
        self._written = written
        self._guard = threading.Lock()
        self._unsettled: deque[tuple[Line, Result]] = deque()
        self._trouble = Trouble(over="the results of sent deliveries are recorded again")
        #: monotonic seconds
        self._written_at = 0.0
        self._deaths = deaths

    @property
    def is_full(self) -> bool:
        """Whether nothing may be sent until results are written."""
        return len(self._unsettled) >= UNSETTLED_MAX

    def settle(self, line: Line, outcome: Result, grouped: bool = False) -> None:
        """Write the result of an attempt; `grouped`: in a moment, with others."""
        with self._guard:
            self._unsettled.append((line, outcome))
            patience = AGAIN_SECONDS if self._trouble else GROUP_SECONDS if grouped else 0.0
            full = sum(len(one.batch.deliveries) for _, one in self._unsettled) >= GROUP_MAX
            if (full and not self._trouble) or time.monotonic() - self._written_at >= patience:
                self._write_down()

    def flush(self) -> bool:
        """Write the kept results, not too often after trouble; return whether any were written."""
        if not self._unsettled or (self._trouble and time.monotonic() - self._written_at < AGAIN_SECONDS):
            return False
        with self._guard:
            self._write_down()
        return not self._unsettled

    def close(self) -> bool:
        """Write the kept results for the last time; return whether all are written."""
        with self._guard:
            self._write_down()
            if self._unsettled:
                text = "webhooks: %d deliveries were sent but not recorded; they will be sent again"
                log.warning(text, sum(len(outcome.batch.deliveries) for _, outcome in self._unsettled))
            return not self._unsettled

    def _write_down(self) -> None:
        self._written_at = time.monotonic()
        try:
            while self._unsettled:
                group = [self._unsettled[place] for place in range(min(len(self._unsettled), GROUP_MAX))]
                self._write(group)
                for line, outcome in group:
                    self._unsettled.popleft()
                    self._written(line, outcome)
            self._trouble.ended()
        except OutboxError as error:
            self._trouble.met(
                str(error), "; results of sent deliveries are kept in memory until the outbox can be written"
            )

    def _write(self, group: Sequence[tuple[Line, Result]]) -> None:
        """Commit some results, and the health of endpoints where it changed."""
        lines = {id(line): line for line, _ in group}.values()
        news = [(line, line.health) for line in lines if line.health != line.written]
        self._outbox.settle((outcome for _, outcome in group), {line.endpoint.name: health for line, health in news})
        for line, health in news:
            line.written = health
        for line, outcome in group:
            for settlement in outcome.settlements:
                if settlement.state is State.DEAD:
                    self._deaths[line.endpoint.name, settlement.reason] += 1
