"""Statistics: an outbox and the settings come in; a Round of figures per endpoint, and its fields for JSON, go out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sfwebhooks.config.settings import Settings
from sfwebhooks.config.values import seconds
from sfwebhooks.events import timestamp
from sfwebhooks.inspection.choosing import past_time
from sfwebhooks.outbox.listing import Backlog, Cursor
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.statistics import Figures, Statistics

#: the first second of a period, given the present time; both in epoch seconds
Since = Callable[[float], float]


def since_of(text: str) -> Since:
    """Read the begin of a period: a duration counts from the present time, whenever that is."""
    try:
        ago = seconds(text)
    except ValueError:
        at = past_time(text)
        return lambda now: at
    return lambda now: now - ago


@dataclass(frozen=True)
class EndpointRow:
    """An endpoint in one round."""

    name: str
    figures: Figures
    backlog: Backlog
    #: deliveries per second since the round before; None: there was none
    rate: float | None = None

    @property
    def total(self) -> int:
        """The number of deliveries that ended, and of those that wait."""
        return self.figures.delivered + self.figures.dead + self.backlog.waiting

    def age(self, now: float) -> float | None:
        """Return for how many seconds the oldest delivery has waited; None: there is none."""
        return None if self.backlog.oldest_at is None else max(now - self.backlog.oldest_at, 0.0)


@dataclass(frozen=True)
class Round:
    """The figures of all endpoints at a time."""

    #: epoch seconds, as is the next one
    at: float
    since: float
    rows: Sequence[EndpointRow]


class Counting:
    """Counts an outbox's deliveries, round after round.

    Args:
        found: the settings; None: not known.
        only: name of the only endpoint that is counted; empty: all are.
    """

    def __init__(self, records: Outbox, found: Settings | None, since: Since, only: str = "") -> None:
        self._records = records
        self._statistics = Statistics(records.database)
        self._since = since
        self._only = only
        self._names = [one.name for one in found.endpoints] if found else []
        #: end of the delivery log in the round before, and its time in monotonic seconds
        self._before: tuple[Cursor, float] | None = None

    def round(self, now: float) -> Round:
        """Return the figures at a time in epoch seconds.

        Raises:
            OutboxError: the outbox cannot be read.
        """
        since, rates, listing = self._since(now), self._rates(), self._records.listing
        figures = self._statistics.figures(since)
        active = {*figures, *self._records.retention.waiting_endpoints()}
        names = [*self._names, *sorted(active.difference(self._names))]
        rows = [
            EndpointRow(
                name,
                figures.get(name, Figures()),
                listing.backlog(name),
                None if rates is None else rates.get(name, 0.0),
            )
            for name in names
            if self._only in ("", name)
        ]
        return Round(now, since, rows)

    def _rates(self) -> dict[str, float] | None:
        """Return endpoint -> deliveries per second since the last call; None: this is the first one."""
        now, before = time.monotonic(), self._before
        place = before[0] if before else self._records.listing.last_attempt()
        delivered, end = self._statistics.delivered_after(place)
        self._before = (end, now)
        return {name: number / max(now - before[1], 0.001) for name, number in delivered.items()} if before else None


def fields_of_row(row: EndpointRow, found: Round) -> dict[str, Any]:
    """Return an endpoint's fields for --json; times are RFC 3339."""
    figures, oldest_at = row.figures, row.backlog.oldest_at
    return {
        "at": timestamp(found.at),
        "since": timestamp(found.since),
        "endpoint": row.name,
        "total": row.total,
        "delivered": figures.delivered,
        "failed": figures.failed,
        "dead": figures.dead,
        "waiting": row.backlog.waiting,
        "oldest_at": None if oldest_at is None else timestamp(oldest_at),
        "latency_seconds": asdict(figures.latency),
        "attempt_seconds": asdict(figures.attempt),
        "withheld": dict(figures.withheld),
        "per_second": None if row.rate is None else round(row.rate, 3),
    }
