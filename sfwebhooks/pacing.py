"""An endpoint's Health: may it be sent to now? And a URL's Pace: how fast? Pure; the lane asks, the outbox remembers.

    HEALTHY --5 failures in a row--> FAILING --success--> HEALTHY
    any --hold verdict--> HELD --success--> HEALTHY            (its set-up is wrong: certificate, 401, 404 ...)
    any --410--> DISABLED                                      (until its configuration changes)

FAILING and HELD are probed by one delivery at growing intervals. What an operator says (`sfwebhooks pause`) stands
beside the health.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

from sfwebhooks.attempts import Outcome, Verdict

#: failures in a row that make an endpoint FAILING
FAILURES_MAX = 5
#: seconds between the probes of an endpoint that is FAILING or HELD; the last one repeats
PROBE_SECONDS = (30.0, 60.0, 120.0, 300.0, 600.0, 900.0)
#: seconds; what is closed for much longer than any probe or Retry-After asks comes from a clock that was set back
CLOSED_MAX = 7500.0
#: seconds; a clock that is set by less was corrected, as it always is
SET_SECONDS = 60.0


class Condition(str, Enum):
    """How an endpoint is."""

    HEALTHY = "healthy"
    FAILING = "failing"
    HELD = "held"
    DISABLED = "disabled"


@dataclass(frozen=True)
class Health:
    """How an endpoint is, since when, and when it may be tried."""

    condition: Condition = Condition.HEALTHY
    #: why, such as http_401 or tls_unverified
    reason: str = ""
    #: epoch seconds at which the condition began
    since: float = 0.0
    #: failures in a row that are the endpoint's fault
    failures: int = 0
    #: epoch seconds before which nothing is sent
    open_at: float = 0.0
    #: probes that failed since
    probes: int = 0
    #: the endpoint's settings when this was written; other settings make it healthy again
    fingerprint: str = ""

    @property
    def healthy(self) -> bool:
        """Whether all deliveries may go, not only a probe."""
        return self.condition is Condition.HEALTHY

    def may_send(self, now: float) -> bool:
        """Whether anything may be sent at `now` (epoch seconds)."""
        if self.condition is Condition.DISABLED:
            return False
        return now >= self.open_at or self.open_at - now > CLOSED_MAX

    def reopened(self, fingerprint: str) -> Health:
        """Return the health after an operator did something about it: it may be tried now. Only a success makes it
        healthy, so that those who were told of the trouble are told of its end, and not before."""
        if self.healthy:
            return Health(since=self.since, fingerprint=fingerprint)
        condition = Condition.HELD if self.condition is Condition.DISABLED else self.condition
        return replace(self, condition=condition, open_at=0.0, probes=0, fingerprint=fingerprint)

    def shifted(self, seconds: float) -> Health:
        """Return the health by a clock that was set forward, or back."""
        return replace(self, since=self.since + seconds, open_at=self.open_at and self.open_at + seconds)

    def after(self, verdict: Verdict, now: float) -> Health:
        """Return the health after an attempt with this verdict; others may have been in flight beside it."""
        if self.condition is Condition.DISABLED:
            return self
        if verdict.outcome in (Outcome.DELIVERED, Outcome.DEAD):  # it answers, and for the message only
            if not self.healthy:
                return Health(since=now, fingerprint=self.fingerprint)
            return Health(since=self.since, fingerprint=self.fingerprint, open_at=self.open_at)
        if verdict.outcome is Outcome.DISABLE:
            return self._become(Condition.DISABLED, verdict, now)
        if verdict.outcome is Outcome.HOLD:
            return self._become(Condition.HELD, verdict, now)
        if not self.healthy or self.failures + 1 >= FAILURES_MAX:
            return self._become(Condition.FAILING if self.healthy else self.condition, verdict, now)
        return replace(self, failures=self.failures + 1, open_at=self._open_at(verdict.wait or 0.0, now))

    def _become(self, condition: Condition, verdict: Verdict, now: float) -> Health:
        same = condition is self.condition
        probes = self.probes + (now >= self.open_at) if same else 0  # what ends while it is closed was no probe
        wait = PROBE_SECONDS[min(probes, len(PROBE_SECONDS) - 1)]
        return replace(
            self,
            condition=condition,
            reason=verdict.reason,
            since=self.since if same else now,
            failures=self.failures + 1,
            open_at=self._open_at(max(wait, verdict.wait or 0.0), now),
            probes=probes,
        )

    def _open_at(self, wait: float, now: float) -> float:
        """Return when it opens after a wait; a longer one that was asked for before stays."""
        return max(now + wait, self.open_at if self.open_at - now <= CLOSED_MAX else 0.0)


class Change(NamedTuple):
    """What one attempt made of an endpoint's health; others may change it at the same time."""

    before: Health
    after: Health


@dataclass(frozen=True)
class Pace:
    """How fast a URL may be sent to: evenly, so that any stretch of time has its share at most."""

    #: seconds between the begins of two attempts; 0: as fast as it goes
    interval: float = 0.0
    #: epoch seconds before which nothing is sent
    open_at: float = 0.0

    def wait(self, now: float) -> float:
        """Return the seconds until the next attempt may begin; more than the interval comes from a clock set back."""
        ahead = self.open_at - now
        return min(ahead, self.interval) if 0.0 < ahead <= self.interval + SET_SECONDS else 0.0

    def after(self, now: float) -> Pace:
        """Return the pace after an attempt that begins at `now` (epoch seconds)."""
        return replace(self, open_at=now + self.interval) if self.interval else self
