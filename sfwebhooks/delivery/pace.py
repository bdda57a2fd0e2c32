"""The Pace of a URL: the time of an attempt comes in, when the next one may start goes out.

`queue` counts each attempt; `ownership` keeps it, also for the URL's next owner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf

from sfwebhooks.endpoints import Endpoint
from sfwebhooks.formats import FORMATS
from sfwebhooks.health import SET_SECONDS

#: messages that go one by one when a moment brings several; all of them again after 15 to 20 seconds without any
BURST = 5


@dataclass(frozen=True)
class Pace:
    """The rate of attempts at a URL: evenly spaced, so that no period has more than its share.

    A channel with digests takes BURST messages at once, and then one for each `brake`: what more is found in that time
    goes together. No minute has more than BURST + 60 / `brake` messages.
    """

    #: seconds between the starts of two attempts; 0: as fast as possible
    interval: float = 0.0
    #: epoch seconds before which nothing is sent
    open_at: float = 0.0
    #: seconds between two messages of a channel that has had BURST of them; 0: it has no digests
    brake: float = 0.0
    #: epoch seconds at which the channel takes BURST messages again
    rested_at: float = 0.0

    def wait(self, now: float) -> float:
        """Return the seconds until the next attempt may start; more than the interval comes from a clock set back."""
        ahead = self.open_at - now
        return min(ahead, self.interval) if 0.0 < ahead <= self.interval + SET_SECONDS else 0.0

    def after(self, now: float) -> Pace:
        """Return the pace after an attempt that starts at `now` (epoch seconds)."""
        if not (self.interval or self.brake):
            return self
        rested_at = min(max(self.rested_at, now), now + BURST * self.brake) + self.brake
        return replace(self, open_at=now + self.interval, rested_at=rested_at if self.brake else 0.0)

    def spare(self, now: float) -> float:
        """Return the number of messages that the channel takes at once."""
        if not self.brake:
            return inf
        ahead = self.rested_at - now  # more than this comes from a clock set back
        return BURST - ahead / self.brake if 0.0 < ahead <= (BURST + 1) * self.brake + SET_SECONDS else float(BURST)

    def seconds_for(self, messages: int) -> float:
        """Return the seconds from the first to the last of some messages, if nothing was sent for a while before."""
        return max(0.0, (messages - 1) * self.interval, (messages - 1 - BURST) * self.brake)

    def exhausted(self, now: float) -> Pace:
        """Return the pace after the channel has answered that it has too many messages."""
        return replace(self, rested_at=now + BURST * self.brake)

    def unknown(self, now: float) -> Pace:
        """Return the pace after attempts that are not known; the last one may have been made just now."""
        return replace(self.exhausted(now), open_at=now + self.interval) if self.interval or self.brake else self


def shared_pace(endpoints: Sequence[Endpoint]) -> Pace:
    """Return the pace of a URL to which some endpoints send."""
    return Pace(
        max(one.interval for one in endpoints),
        brake=max(FORMATS[one.format].brake if one.digest.is_on else 0.0 for one in endpoints),
    )
