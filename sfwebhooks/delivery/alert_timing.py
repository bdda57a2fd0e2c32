"""Alerting: the health of a process's endpoints and its dead letters come in; few alerts go into the outbox.

Several endpoints whose health changes together give one alert, a change that does not last gives none after the first,
and dead letters of an endpoint for one reason give one alert a day.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from sfwebhooks.delivery.alerts import health_alert, report_of_deaths, told_to
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.pipeline import Clock, Line

#: seconds that the first change waits for others
GATHER_SECONDS = 1.0
#: the same for the first of many dead letters
DEATHS_SECONDS = 5.0


class Alerting:
    """Decides which alerts are due, and commits them.

    Args:
        endpoints: all endpoints of the process, as possible receivers of alerts.
    """

    def __init__(self, endpoints: Sequence[Endpoint], outbox: Outbox, clock: Clock) -> None:
        self._endpoints = {endpoint.name: endpoint for endpoint in endpoints}
        self._outbox = outbox
        self._clock = clock
        #: time of the first change that is not reported yet; None: all are reported
        self._news_at: float | None = None
        self._deaths: Counter[tuple[str, str]] = Counter()
        self._died_at = 0.0

    def add_deaths(self, deaths: Counter[tuple[str, str]]) -> None:
        """Take over the counts of dead letters by endpoint and reason; other threads keep adding to them."""
        for key in list(deaths):
            if not self._deaths:
                self._died_at = self._clock()
            self._deaths[key] += deaths.pop(key, 0)

    def look(self, lines: Iterable[Line], last: bool = False) -> bool:
        """Commit the alerts that are due; return whether more will be due in a moment.

        Args:
            lines: the endpoints that this process sends to.
            last: whether this is the last look of this process: then changes do not wait for others.

        Raises:
            OutboxError: the outbox cannot be written; the alerts stay due.
        """
        now = self._clock()
        due = [line for line in lines if _is_due(line, now, last)]
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

    def _report(self, due: Sequence[Line], now: float) -> None:
        """Commit one alert about the endpoints that became unhealthy, and one about those that recovered."""
        for healthy in (False, True):
            changed = [line for line in due if line.health.healthy is healthy]
            if not changed:
                continue
            before = [line.health for line in changed]
            event = health_alert([(line.endpoint, line.health) for line in changed], now)
            wanted = told_to(event, [line.endpoint for line in changed], self._endpoints.values())
            healths = {line.endpoint.name: health.reported(now) for line, health in zip(changed, before)}
            self._outbox.settle((), healths, [(event, wanted)])
            for line in changed:
                line.report(now)
                line.written = healths[line.endpoint.name]

    def _report_deaths(self, now: float) -> None:
        for (name, reason), number in list(self._deaths.items()):
            self._outbox.accept([report_of_deaths(name, reason, number, self._endpoints.values(), now)], now)
            del self._deaths[name, reason]


def _is_due(line: Line, now: float, last: bool) -> bool:
    due_at = line.health.news_at(now)
    if due_at is None:
        return False
    first = not line.health.alerts and not line.health.healthy
    return due_at <= now or (last and first)
