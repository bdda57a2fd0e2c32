"""When an endpoint's findings are sent together: the value of `digest` comes in, due times go out.

Times of the day are local ones. One that a change of the clocks skips is as much later; one that comes twice counts the
first time. `outbox/claim` chooses the members, `formats/digest` writes the message.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from enum import Enum

#: of the day of a time, those on which the next or the last one may be: a day can have 25 hours
DAYS = (-2, -1, 0, 1, 2)


class Rhythm(str, Enum):
    """What makes a digest due."""

    #: never: each finding is a message of its own
    OFF = "off"
    #: at once, if more findings wait than the pace of the channel allows single messages
    AUTO = "auto"
    #: a time after the first of its findings was accepted, or the end of its scan
    INTERVAL = "interval"
    #: the end of its scan
    SCAN = "scan"
    #: a time of the day
    DAILY = "daily"
    #: the end of its scan, all of whose events are in one request (`Format.bundle`); no value of `digest`
    BUNDLE = "bundle"


@dataclass(frozen=True)
class Digesting:
    """When an endpoint's findings are sent together."""

    rhythm: Rhythm = Rhythm.OFF
    #: with INTERVAL: seconds that the first finding waits for others
    seconds: float = 0.0
    #: with DAILY: minutes since midnight
    minute: int = 0

    @property
    def is_on(self) -> bool:
        """Whether findings are ever sent together."""
        return self.rhythm is not Rhythm.OFF

    @property
    def waits(self) -> bool:
        """Whether findings wait although nothing prevents sending them."""
        return self.rhythm in (Rhythm.INTERVAL, Rhythm.SCAN, Rhythm.DAILY, Rhythm.BUNDLE)

    @property
    def ends_with_scan(self) -> bool:
        """Whether they wait for the end of their scan."""
        return self.rhythm in (Rhythm.SCAN, Rhythm.BUNDLE)

    def due_at(self, accepted_at: float, now: float) -> float:
        """Return when the digest of a finding is due, unless the end of its scan makes it due; inf: not before that.

        A finding from the future was accepted before the clock was set back, and is due.
        """
        if not self.waits or accepted_at > now:
            return min(accepted_at, now)
        if self.rhythm is Rhythm.INTERVAL:
            return accepted_at + self.seconds
        return self._next(accepted_at) if self.rhythm is Rhythm.DAILY else math.inf

    def due_until(self, now: float) -> float:
        """Return the time before which accepted findings are due at `now` (epoch seconds), whatever their scan does."""
        if self.rhythm is Rhythm.INTERVAL:
            return now - self.seconds
        if self.rhythm is Rhythm.DAILY:
            return max(at for at in self._times(now) if at <= now)
        return -math.inf if self.ends_with_scan else now

    def _next(self, at: float) -> float:
        return min(found for found in self._times(at) if found > at)

    def _times(self, at: float) -> Iterator[float]:
        """Yield the epoch seconds of the time of the day on the days around a time."""
        today, moment = datetime.fromtimestamp(at).date(), time(*divmod(self.minute, 60))
        for days in DAYS:
            yield datetime.combine(today + timedelta(days), moment).timestamp()


NO_DIGESTS = Digesting()
