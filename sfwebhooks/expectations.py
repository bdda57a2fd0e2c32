"""Expectations: when scans of which targets are expected, and which of them were missed. Pure: `now` and the zone are
passed in.

An Expectation is an entry of [webhooks-expect]; `scan/watch` compares it with the scans that have started. The cron
expressions are read by cronsim, which treats changes to and from summer time as Debian's cron does: a time that is
skipped is moved behind the gap, and one that comes twice counts once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo
from itertools import islice, takewhile

from cronsim import CronSim, CronSimError

#: characters of the longest expression
CRON_MAX = 200
#: fields of an expression, for people
FIELDS = ("minute", "hour", "day of month", "month", "day of week")
CRON_ACCEPTED = (
    "expected a cron expression with 5 fields (minute, hour, day of month, month, day of week), such as 0 2 * * *"
)
#: a field of a cron expression, or a sixth one that was meant to be
FIELD = re.compile(r"[\d*][\d*,/-]*|[*?LW]|\d+[LW#]\d*")
#: most seconds after an expected time in which the scan may start
GRACE_SECONDS = 3600.0
#: seconds by which it may start before: clocks differ
EARLY_SECONDS = 300.0
#: next times that people are shown
NEXT_SHOWN = 2
#: expected times of the past that are looked at, as many seconds at most, and at least
PAST_MAX = 1000
PAST_SECONDS = 400 * 86400.0
LEAST_SECONDS = 2 * 86400.0


class LocalZone(tzinfo):
    """The local time of this process (TZ, or the machine's), with its summer time.

    Python has fixed offsets only, or zones by their names, and the machine's need not have one.
    """

    def utcoffset(self, moment: datetime | None) -> timedelta:
        """Return the offset at a local time."""
        local = (moment or datetime.now()).replace(tzinfo=None)
        return local.astimezone().utcoffset() or timedelta(0)

    def dst(self, moment: datetime | None) -> None:
        """Return nothing: only the offset is known."""

    def tzname(self, moment: datetime | None) -> str:
        """Return the zone's abbreviation at a local time."""
        return (moment or datetime.now()).replace(tzinfo=None).astimezone().tzname() or ""

    def fromutc(self, moment: datetime) -> datetime:
        """Return the local time of a time in UTC."""
        at = moment.replace(tzinfo=timezone.utc).timestamp()
        return datetime.fromtimestamp(at).replace(tzinfo=self)


LOCAL = LocalZone()


@dataclass(frozen=True)
class Expectation:
    """A scan that is expected at certain times, one for each target or name."""

    #: its key in [webhooks-expect]
    name: str
    #: five fields, each separated by one space
    cron: str
    #: the target, or the name of the scan, as written
    of: str

    @property
    def id(self) -> str:
        """Says which it is, whatever its key."""
        return f"{self.cron} {key_of_scan(self.of)}"

    def times(self, after: float, zone: tzinfo) -> Iterator[float]:
        """Yield the expected times after a time, all in epoch seconds."""
        for moment in CronSim(self.cron, datetime.fromtimestamp(after, zone)):
            yield moment.timestamp()

    def next_at(self, now: float, zone: tzinfo) -> float:
        """Return the next expected time."""
        return next(self.times(now, zone))

    def next_times(self, now: float, zone: tzinfo) -> list[float]:
        """Return the next expected times."""
        return [*islice(self.times(now, zone), NEXT_SHOWN)]

    def over(self, after: float, now: float, zone: tzinfo) -> list[tuple[float, float]]:
        """Return the expected times after a time whose scan should have started by now, each with the last moment for
        that."""
        found: list[tuple[float, float]] = []
        times = self.times(after if now - after < LEAST_SECONDS else max(after, self._horizon(now, zone)), zone)
        at = next(times, float("inf"))
        while at <= now:
            following = next(times, float("inf"))
            limit = at + _grace_between(at, following)
            if limit > now:
                break
            found.append((at, limit))
            at = following
        return found

    def grace(self, at: float, zone: tzinfo) -> float:
        """Return the seconds after an expected time in which the scan may start."""
        return _grace_between(at, next(self.times(at, zone), float("inf")))

    def _horizon(self, now: float, zone: tzinfo) -> float:
        """Return the time before which nothing is looked at, so that even one a minute takes moments."""
        ahead = takewhile(lambda at: at < now + PAST_SECONDS, islice(self.times(now, zone), PAST_MAX))
        *_, last = (now, *ahead)
        return now - PAST_SECONDS if last == now else min(2 * now - last, now - LEAST_SECONDS)


@dataclass(frozen=True)
class Missed:
    """The scans that were missed, one after the other."""

    #: the first expected time without a scan, and the last one
    first_at: float
    last_at: float
    number: int


def missed(over: Sequence[tuple[float, float]], starts: Sequence[float], before: Missed | None) -> Missed | None:
    """Return the scans that were missed so far.

    Args:
        over: result of `Expectation.over`.
        starts: when scans started.
        before: those that were missed before.
    """
    for at, limit in over:
        if not any(at - EARLY_SECONDS <= start <= limit for start in starts):
            before = Missed(before.first_at if before else at, at, before.number + 1 if before else 1)
    return before


def is_made_up(found: Missed, starts: Sequence[float]) -> bool:
    """Return whether a scan has started since the last one that was missed."""
    return any(start > found.last_at for start in starts)


def _grace_between(at: float, following: float) -> float:
    return min(GRACE_SECONDS, (following - at) / 2)


def key_of_scan(text: str) -> str:
    """Return a target, or the name of a scan, in the form in which equal ones are equal."""
    return " ".join(text.lower().split()).rstrip(".")


def split_cron(text: str) -> tuple[str, str]:
    """Return the cron expression at the start of a text, and the text after it.

    Raises:
        ValueError: there is none, or it never matches a time; what is accepted.
    """
    words = text.split(None, 5)
    if len(text) > CRON_MAX or len(words) < 5:
        raise ValueError(CRON_ACCEPTED)
    cron = " ".join(words[:5])
    if len(words) > 5 and all(map(FIELD.fullmatch, words[5].split())):
        raise ValueError(f"it has more than 5 fields; {CRON_ACCEPTED}")
    try:
        next(CronSim(cron, datetime(2000, 1, 1, tzinfo=timezone.utc)))
    except (CronSimError, ValueError, AssertionError) as error:
        field = next((one for one in FIELDS if str(error).lower() == f"bad {one.replace(' ', '-')}"), "")
        wrong = f"the {field} is wrong or never comes; " if field else ""
        raise ValueError(f"{wrong}{CRON_ACCEPTED}") from error
    except StopIteration:
        raise ValueError(f"no day matches it; {CRON_ACCEPTED}") from None
    return cron, words[5].strip() if len(words) > 5 else ""
