"""Alerting: the health of a process's endpoints and its dead letters come in; few alerts go into the outbox.

Several endpoints whose health changes together give one alert, a change that does not last gives none after the first,
and dead letters of an endpoint for one reason give one alert a day.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence

from sfwebhooks.delivery.alerts import alert_receivers, health_alert, report_of_deaths
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.outbox.store import Store
from sfwebhooks.sending import SendingState
from sfwebhooks.system import Clock

#: seconds that the first change waits for others
GATHER_SECONDS = 1.0
#: the same for the first of many dead letters
DEATHS_SECONDS = 5.0


class Alerting:
    """Decides which alerts are due, and commits them.

    Args:
        endpoints: all endpoints of the process, as possible receivers of alerts.
    """

    def __init__(self, endpoints: Sequence[Endpoint], outbox: Store, clock: Clock) -> None:
        self._endpoints = {endpoint.name: endpoint for endpoint in endpoints}
        self._outbox = outbox
        self._clock = clock
        #: time of the first change that is not reported yet; None: all are reported
        self._news_at: float | None = None
        self._deaths: Counter[tuple[str, str]] = Counter()
        self._died_at = 0.0

    def add_deaths(self, deaths: deque[tuple[str, str]]) -> None:
        """Take dead letters, each with its endpoint and reason, out of `deaths`; other threads keep adding to it."""
        while deaths:
            if not self._deaths:
                self._died_at = self._clock()
            self._deaths[deaths.popleft()] += 1

    def look(self, states: Iterable[SendingState], last: bool = False) -> bool:
        """Commit the alerts that are due; return whether more will be due in a moment.

        Args:
            states: the endpoints that this process sends to.
            last: whether this is the last look of this process: then changes do not wait for others.

        Raises:
            OutboxError: the outbox cannot be written; the alerts stay due.
        """
        now = self._clock()
        due = [state for state in states if _is_due(state, now, last)]
        if not due:
            self._news_at = None
        elif self._news_at is None:
            self._news_at = now
        if due and (last or not 0 <= now - (self._news_at or now) < GATHER_SECONDS):
            self._report(due, now)
            self._news_at, due = None, []
        if self._deaths and (last or not 0 <= now - self._died_at < DEATHS_SECONDS):
            self._report_deaths(now)
        return bool(due or self._deaths)

    def _report(self, due: Sequence[SendingState], now: float) -> None:
        """Commit one alert about the endpoints that became unhealthy, and one about those that recovered."""
        for healthy in (False, True):
            changed = [state for state in due if state.health.healthy is healthy]
            if not changed:
                continue
            before = [state.health for state in changed]
            event = health_alert([(state.endpoint, state.health) for state in changed], now)
            wanted = alert_receivers(event, [state.endpoint for state in changed], self._endpoints.values())
            healths = {state.endpoint.name: health.reported(now) for state, health in zip(changed, before)}
            self._outbox.queue.settle((), healths, [(event, wanted)])
            for state in changed:
                state.report(now)
                state.written = healths[state.endpoint.name]

    def _report_deaths(self, now: float) -> None:
        for (name, reason), number in list(self._deaths.items()):
            self._outbox.accept([report_of_deaths(name, reason, number, self._endpoints.values(), now)], now)
            del self._deaths[name, reason]


def _is_due(state: SendingState, now: float, last: bool) -> bool:
    due_at = state.health.news_at(now)
    if due_at is None:
        return False
    first = not state.health.alerts and not state.health.healthy
    return due_at <= now or (last and first)
