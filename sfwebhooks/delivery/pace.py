"""The Pace of a URL: the time of an attempt comes in, when the next one may start goes out.

`queue` counts each attempt; `ownership` keeps it, also for the URL's next owner.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sfwebhooks.health import SET_SECONDS


@dataclass(frozen=True)
class Pace:
    """The rate of attempts at a URL: evenly spaced, so that no period has more than its share."""

    #: seconds between the starts of two attempts; 0: as fast as possible
    interval: float = 0.0
    #: epoch seconds before which nothing is sent
    open_at: float = 0.0

    def wait(self, now: float) -> float:
        """Return the seconds until the next attempt may start; more than the interval comes from a clock set back."""
        ahead = self.open_at - now
        return min(ahead, self.interval) if 0.0 < ahead <= self.interval + SET_SECONDS else 0.0

    def after(self, now: float) -> Pace:
        """Return the pace after an attempt that starts at `now` (epoch seconds)."""
        return replace(self, open_at=now + self.interval) if self.interval else self
