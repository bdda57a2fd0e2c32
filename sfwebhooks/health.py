"""An endpoint's Health: may it be sent to now? And a URL's Pace: how fast? Pure; the lane asks, the outbox remembers.

    HEALTHY --5 failures in a row--> FAILING --success--> HEALTHY
    HEALTHY --3 refusals in a row, nothing delivered between--> HELD --success--> HEALTHY
    any --hold verdict--> HELD                                     (its set-up is wrong: certificate, address ...)
    any --410--> DISABLED                                          (until an operator acts)

FAILING and HELD are probed by one delivery at growing intervals. An alert reports a change, and again one that lasts:
the more alerts there were, the longer. What an operator orders (`sfwebhooks pause`) is kept beside the health.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

from sfwebhooks.attempts import Outcome, Verdict

#: failures in a row that make an endpoint FAILING
FAILURES_MAX = 5
#: refusals in a row that make it HELD
REFUSALS_MAX = 3
#: seconds between the probes of an endpoint that is FAILING or HELD; the last one repeats
PROBE_SECONDS = (30.0, 60.0, 120.0, 300.0, 600.0, 900.0)
#: the same of one that is HELD since it refused several messages in a row: others may be taken
REFUSAL_PROBE_SECONDS = (0.2, 1.0, 2.0, 5.0, 10.0, *PROBE_SECONDS)
#: seconds for which it must be held before that is alerted
REFUSAL_LASTING_SECONDS = 5.0
#: seconds; what is closed for much longer than any probe or Retry-After asks comes from a clock that was set back
CLOSED_MAX = 7500.0
#: seconds; a clock that is set by less was corrected, as it always is
SET_SECONDS = 60.0
#: seconds that a change must last to be reported after one alert, two, three ...: doubled each time, up to the longest
LASTING_SECONDS = 120.0
LASTING_MAX = 3600.0
#: seconds after the last alert with which the next one is the first again
CALM_SECONDS = 6 * 3600.0
#: seconds between two failed probes that count for age, by a clock that nobody sets
OUTAGE_SECONDS = 3600.0
#: so many of them show that an endpoint takes nothing, and what waits for it can expire
OUTAGE_PROBES = 3


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
    #: epoch seconds at which it became healthy, stopped being so, or was disabled
    since: float = 0.0
    #: failures in a row that are the endpoint's fault
    failures: int = 0
    #: epoch seconds before which nothing is sent
    open_at: float = 0.0
    #: probes that failed since
    probes: int = 0
    #: the endpoint's settings when this was written; other settings make it healthy again
    fingerprint: str = ""
    #: refusals in a row
    refusals: int = 0
    #: grows with the first refusal after a delivery, and with the first delivery after that: odd while nothing was
    #: delivered since; a message that was refused in an earlier era is at fault itself
    era: int = 0
    #: the condition that the last alert reported
    alerted: Condition = Condition.HEALTHY
    #: epoch seconds of the last alert
    alerted_at: float = 0.0
    #: alerts since it was calm
    alerts: int = 0
    #: failed probes with OUTAGE_SECONDS between them, and the last one by a clock that nobody sets (`uptime`)
    outage_probes: int = 0
    outage_at: float = 0.0

    @property
    def healthy(self) -> bool:
        """Whether all deliveries may go, not only a probe."""
        return self.condition is Condition.HEALTHY

    @property
    def suspect(self) -> bool:
        """Whether so much failed in a row that the next message is picked elsewhere in the queue."""
        return self.healthy and self.setbacks >= 2

    @property
    def setbacks(self) -> int:
        """Return how much failed in a row, or how many probes did."""
        return self.probes if not self.healthy else max(self.failures, self.refusals)

    @property
    def is_dark(self) -> bool:
        """Whether it took nothing for so long that what waits for it can expire."""
        return not self.healthy and self.outage_probes >= OUTAGE_PROBES

    def may_send(self, now: float) -> bool:
        """Whether anything may be sent at `now` (epoch seconds)."""
        if self.condition is Condition.DISABLED:
            return False
        return now >= self.open_at or self.open_at - now > CLOSED_MAX

    def reopened(self, fingerprint: str) -> Health:
        """Return the health after an operator did something about it: it may be tried now. Only a success makes it
        healthy, so that its end is reported to those who were alerted, and not before."""
        if self.healthy:
            return replace(self, reason="", failures=0, open_at=0.0, probes=0, refusals=0, fingerprint=fingerprint)
        condition = Condition.HELD if self.condition is Condition.DISABLED else self.condition
        return replace(self, condition=condition, open_at=0.0, probes=0, fingerprint=fingerprint)

    def after(self, verdict: Verdict, now: float, uptime: float = 0.0, silent: bool = False) -> Health:
        """Return the health after an attempt with this verdict; others may have been in flight beside it.

        Args:
            now: epoch seconds.
            uptime: seconds by a clock that nobody sets.
            silent: whether a failure says nothing of the endpoint, unless as a probe: the request goes on in two
                halves, or its message is known to be at fault.
        """
        if self.condition is Condition.DISABLED:
            return self
        if verdict.outcome is Outcome.SHORTAGE:
            return replace(self, open_at=self._open_at(verdict.wait or 0.0, now))
        if verdict.outcome is Outcome.DELIVERED:
            return self._delivered(now)
        if verdict.outcome is Outcome.DISABLE:
            return self._become(Condition.DISABLED, verdict, now, uptime)
        if verdict.outcome is Outcome.HOLD:
            return self._become(Condition.HELD, verdict, now, uptime)
        if verdict.outcome is Outcome.REFUSED:
            return self._refused(verdict, now, uptime, silent)
        if self.healthy and silent:
            return replace(self, open_at=self._open_at(verdict.wait or 0.0, now))
        if not self.healthy or self.failures + 1 >= FAILURES_MAX:
            return self._become(Condition.FAILING if self.healthy else self.condition, verdict, now, uptime)
        return replace(self, failures=self.failures + 1, open_at=self._open_at(verdict.wait or 0.0, now))

    def dark_for_longer(self, uptime: float) -> Health:
        """Return the health after a failed probe, or a look at an endpoint that is not probed, at `uptime`."""
        if not self.outage_probes or uptime < self.outage_at:  # the first one, or the machine was started again
            return replace(self, outage_probes=max(self.outage_probes, 1), outage_at=uptime)
        if uptime - self.outage_at < OUTAGE_SECONDS:
            return self
        return replace(self, outage_probes=self.outage_probes + 1, outage_at=uptime)

    def news_at(self, now: float) -> float | None:
        """Return when to alert that the endpoint is another one than was reported last, None if it is not.

        Args:
            now: epoch seconds.
        """
        if self.healthy == (self.alerted is Condition.HEALTHY) and self.condition is not Condition.DISABLED:
            return None  # from failing to held, or back, is not news: that nothing arrives was reported
        if self.condition is self.alerted:
            return None
        alerts = self._recent_alerts(now)
        if self.condition is Condition.DISABLED or not alerts:
            # one that is held for a moment refused some messages, and takes others
            return self.since + REFUSAL_LASTING_SECONDS if self.refusals and not self.healthy else now
        return self.since + min(LASTING_SECONDS * float(2 ** (alerts - 1)), LASTING_MAX)

    def reported(self, now: float) -> Health:
        """Return the health after an alert at `now` (epoch seconds)."""
        alerts = self._recent_alerts(now)
        return replace(self, alerted=self.condition, alerted_at=now, alerts=min(alerts + 1, 16))

    def _recent_alerts(self, now: float) -> int:
        return self.alerts if now - self.alerted_at < CALM_SECONDS else 0

    def _delivered(self, now: float) -> Health:
        if self.healthy and not (self.failures or self.refusals or self.era % 2):
            return self
        era = self.era + self.era % 2
        if self.healthy:
            return replace(self, failures=0, refusals=0, era=era)
        return replace(
            self, condition=Condition.HEALTHY, reason="", since=now, failures=0, open_at=0.0, probes=0, refusals=0,
            era=era, outage_probes=0, outage_at=0.0,
        )  # fmt: skip

    def _refused(self, verdict: Verdict, now: float, uptime: float, silent: bool) -> Health:
        refused = replace(self, refusals=self.refusals + (not silent), era=self.era + (self.era + 1) % 2)
        if self.healthy and refused.refusals < REFUSALS_MAX:
            return replace(refused, open_at=self._open_at(verdict.wait or 0.0, now))
        return refused._become(Condition.HELD, verdict, now, uptime)

    def _become(self, condition: Condition, verdict: Verdict, now: float, uptime: float) -> Health:
        same = condition is self.condition
        probes = self.probes + (now >= self.open_at) if same else 0  # what ends while it is closed was not a probe
        waits = REFUSAL_PROBE_SECONDS if verdict.outcome is Outcome.REFUSED else PROBE_SECONDS
        wait = waits[min(probes, len(waits) - 1)]
        return replace(
            self,
            condition=condition,
            reason=verdict.reason,
            since=now if self.healthy or condition is Condition.DISABLED else self.since,
            failures=self.failures + 1,
            open_at=self._open_at(max(wait, verdict.wait or 0.0), now),
            probes=probes,
        ).dark_for_longer(uptime)

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
