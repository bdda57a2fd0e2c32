"""The Ledger of a lane: what attempts came to, written down in their order, with the endpoints' health and the alerts
that a change of it causes.

What was sent cannot be undone, and what is not written down is sent again, under the same id. Outcomes that come fast
are written together, some at once; while the outbox cannot be written they are kept in memory, and the deliveries stay
in flight.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Callable

from sfwebhooks.alerts import ALERT, health_alert, told_to
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import OutboxError
from sfwebhooks.events import Batch
from sfwebhooks.outbox import Outbox
from sfwebhooks.pacing import Condition, Health
from sfwebhooks.pipeline import Clock, Line
from sfwebhooks.queues import Outcome

log = logging.getLogger("spiderfoot.webhooks")
#: outcomes that are kept in memory at most
UNSETTLED_MAX = 1000
#: outcomes wait for others until they are of so many deliveries, or for so many seconds: a kill repeats so much
GROUP_MAX = 20
GROUP_SECONDS = 0.05
#: seconds between two tries to write them down
AGAIN_SECONDS = 1.0


class Ledger:
    """Writes down outcomes, one thread at a time.

    Args:
        everyone: all endpoints of the process: who may be told of trouble.
        release: called with each batch once it is written down.
    """

    def __init__(
        self, outbox: Outbox, everyone: Sequence[Endpoint], clock: Clock, release: Callable[[Batch], None]
    ) -> None:
        self._outbox = outbox
        self._everyone = everyone
        self._clock = clock
        self._release = release
        self._guard = threading.Lock()
        self._unsettled: deque[tuple[Line, Outcome]] = deque()
        self._trouble = ""
        #: monotonic seconds
        self._written_at = 0.0

    @property
    def is_full(self) -> bool:
        """Whether nothing may be sent before something is written down."""
        return len(self._unsettled) >= UNSETTLED_MAX

    def settle(self, line: Line, outcome: Outcome, grouped: bool = False) -> None:
        """Write down what became of an attempt; `grouped`: in a moment, with others."""
        with self._guard:
            self._unsettled.append((line, outcome))
            patience = AGAIN_SECONDS if self._trouble else GROUP_SECONDS if grouped else 0.0
            full = sum(len(one.batch.deliveries) for _, one in self._unsettled) >= GROUP_MAX
            if (full and not self._trouble) or time.monotonic() - self._written_at >= patience:
                self._write_down()

    def flush(self) -> bool:
        """Write down what waits for others, or for the outbox; after trouble not too often. Return whether it was."""
        if not self._unsettled or (self._trouble and time.monotonic() - self._written_at < AGAIN_SECONDS):
            return False
        with self._guard:
            self._write_down()
        return not self._unsettled

    def close(self) -> bool:
        """Write down what is kept, for the last time; return whether all is."""
        with self._guard:
            self._write_down()
            if self._unsettled:
                text = "webhooks: %d deliveries were made and could not be noted; they are repeated"
                log.warning(text, sum(len(outcome.batch.deliveries) for _, outcome in self._unsettled))
            return not self._unsettled

    def _write_down(self) -> None:
        self._written_at = time.monotonic()
        try:
            while self._unsettled:
                group = [self._unsettled[place] for place in range(min(len(self._unsettled), GROUP_MAX))]
                self._write(group)
                for _, outcome in group:
                    self._unsettled.popleft()
                    self._release(outcome.batch)
            self._trouble = ""
        except OutboxError as error:
            if not self._trouble:
                log.warning("webhooks: %s; deliveries that were made wait to be noted", error)
            self._trouble = str(error)

    def _write(self, group: Sequence[tuple[Line, Outcome]]) -> None:
        """Commit some outcomes, and the health of endpoints as far as it is news."""
        news = []
        for line in {id(one): one for one, _ in group}.values():
            health = line.health
            if health != line.written:
                event = health_alert(line.endpoint, line.written, health, self._clock())
                news.append((line, health, event, event is not None and _is_put_off(line, health, group)))
        alerts = [
            (event, told_to(event, line.endpoint, self._everyone))
            for line, _, event, is_put_off in news
            if event and not is_put_off
        ]
        healths = {
            line.endpoint.name: _untold(health, line.written) if is_put_off else health
            for line, health, _, is_put_off in news
        }
        self._outbox.settle((outcome for _, outcome in group), healths, alerts)
        for line, health, _, is_put_off in news:
            if not is_put_off:  # else it is told with what comes next
                line.written = health


def _untold(health: Health, told: Health) -> Health:
    """Return what is written of a health that nobody was told of: who reads it finds that as news, as this process
    does."""
    return replace(health, condition=told.condition, reason=told.reason, since=told.since)


def _is_put_off(line: Line, health: Health, group: Sequence[tuple[Line, Outcome]]) -> bool:
    """Say whether news of an endpoint wait for what comes next: all that went there were alerts, and there is no alert
    about an alert on its way, or two endpoints could tell each other for ever. Of one that is gone nothing comes."""
    sent = [delivery for one, outcome in group if one is line for delivery in outcome.batch.deliveries]
    return health.condition is not Condition.DISABLED and all(delivery.event.type == ALERT for delivery in sent)
