"""The watch over scans for people: settings and the outbox's states come in; the expected scans with their next times,
and what is not well now, go out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Any

from sfwebhooks.config.settings import Settings
from sfwebhooks.events import timestamp
from sfwebhooks.expectations import LOCAL, Expectation
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.watch import WatchState
from sfwebhooks.scan.watch import LOOKED, is_whole, missed_before
from sfwebhooks.scan.watch_events import DEGRADED, MISSED, OVERDUE, THIN, local_time
from sfwebhooks.text import age, amount, in_line

#: seconds after which the watch should have looked again: `run` does each minute, a cron job once an hour at least
LATE_SECONDS = 2 * 3600.0
LATE_CURE = "keep sfwebhooks run running (sfwebhooks service), or start sfwebhooks drain once an hour with cron"
#: targets of an expectation that are named in a line, and characters of one
NAMED_MAX = 3
OF_MAX = 60


@dataclass(frozen=True)
class ExpectedScans:
    """The scans that are expected at the same times."""

    name: str
    cron: str
    #: targets or names
    of: tuple[str, ...]
    #: the next times, in epoch seconds
    next_at: tuple[float, ...]

    @property
    def shown(self) -> str:
        """The targets or names, the first ones of many."""
        more = [f"and {len(self.of) - NAMED_MAX:,} more"] if len(self.of) > NAMED_MAX else []
        return ", ".join([*(in_line(of, OF_MAX) for of in self.of[:NAMED_MAX]), *more])

    @property
    def fields(self) -> dict[str, Any]:
        """The same for --json."""
        times = [timestamp(at) for at in self.next_at]
        return {"name": self.name, "schedule": self.cron, "scans": list(self.of), "next_at": times}


@dataclass(frozen=True)
class UnwellScan:
    """Something that is not well now."""

    #: the type of its events
    kind: str
    #: epoch seconds
    since: float
    #: what it is about
    about: str

    @property
    def fields(self) -> dict[str, Any]:
        """The same for --json."""
        return {"type": self.kind, "since": timestamp(self.since), "about": self.about}


@dataclass(frozen=True)
class WatchOverview:
    """The watch as it is now."""

    expected: tuple[ExpectedScans, ...]
    unwell: tuple[UnwellScan, ...] = ()
    #: epoch seconds of its last look, to 10 minutes; None: it has never looked
    looked_at: float | None = None
    zone: tzinfo = field(default=LOCAL)

    def is_late(self, now: float) -> bool:
        """Whether scans are expected, and nothing has looked for them for long."""
        return bool(self.expected) and (self.looked_at is None or now - self.looked_at > LATE_SECONDS)

    @property
    def fields(self) -> dict[str, Any]:
        """The same for --json."""
        return {
            "watch": [one.fields for one in self.unwell],
            "expected": [one.fields for one in self.expected],
            "looked_at": None if self.looked_at is None else timestamp(self.looked_at),
        }

    def lines(self, now: float) -> Iterator[str]:
        """Yield lines for a terminal: what is not well, and whether anything looks."""
        for one in self.unwell:
            yield f"{one.kind}: {one.about}, since {local_time(one.since, self.zone)}"
        if self.expected:
            number = sum(len(one.of) for one in self.expected)
            soon = min(at for one in self.expected for at in one.next_at[:1])
            words = "never looked at" if self.looked_at is None else f"last looked at {age(now - self.looked_at)} ago"
            late = f": {LATE_CURE}" if self.is_late(now) else ""
            yield f"{amount(number, 'expected scan')}, the next at {local_time(soon, self.zone)}; {words}{late}"


def expected_in(settings: Settings, now: float, zone: tzinfo = LOCAL) -> tuple[ExpectedScans, ...]:
    """Return the scans that are expected, by their key in the settings, each with the next times."""
    groups: dict[tuple[str, str], list[Expectation]] = {}
    for one in settings.expected:
        groups.setdefault((one.name, one.cron), []).append(one)
    return tuple(
        ExpectedScans(name, cron, tuple(one.of for one in group), tuple(group[0].next_times(now, zone)))
        for (name, cron), group in groups.items()
    )


def watch_overview(settings: Settings, outbox: Outbox | None, now: float, zone: tzinfo = LOCAL) -> WatchOverview:
    """Return the watch as it is now.

    Args:
        outbox: None: there is none yet.

    Raises:
        OutboxError: the outbox cannot be read.
    """
    states: Mapping[tuple[str, str], WatchState] = outbox.watch.all() if outbox else {}
    found = [_unwell(state) for state in states.values() if state.begun_at is not None and is_whole(state)]
    looked = states.get(LOOKED)
    unwell = tuple(sorted(found, key=lambda one: (one.since, one.kind, one.about)))
    return WatchOverview(expected_in(settings, now, zone), unwell, looked.checked_at if looked else None, zone)


def _unwell(state: WatchState) -> UnwellScan:
    about = state.subject
    if state.kind == MISSED:
        found = missed_before(state)
        about = f"{state.data.get('of', '')} ({state.data.get('name', '')})"
        about += f", {found.number} times" if found and found.number > 1 else ""
    elif state.kind == OVERDUE:
        about = f"{state.data['scan'][1]} (scan {state.subject})"
    elif state.kind in (THIN, DEGRADED):
        about = str(state.data.get("target", ""))
        about += f": {_listed(state.data['modules'])}" if state.kind == DEGRADED else ""
    return UnwellScan(state.kind, state.begun_at or 0.0, in_line(about, 200))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(str, names))
