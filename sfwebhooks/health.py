"""An endpoint's Health: a verdict comes in, whether and when the next attempt is allowed goes out.

    HEALTHY --5 failures in a row--> FAILING --success--> HEALTHY
    HEALTHY --3 refusals in a row, nothing delivered between--> HELD --success--> HEALTHY
    any --hold verdict--> HELD                                     (it is configured wrongly: certificate, address ...)
    any --410--> DISABLED                                          (until an operator acts)

FAILING and HELD endpoints are probed by one delivery at growing intervals. An alert reports the first change at once,
later ones only if they last, the longer the more alerts there were. Operators' orders (`sfwebhooks pause`) are stored
separately.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

from sfwebhooks.attempts import SUCCESSES, Outcome, Verdict

#: failures in a row that make an endpoint FAILING
FAILURES_MAX = 5
#: refusals in a row that make it HELD
REFUSALS_MAX = 3
#: seconds between the probes of an endpoint that is FAILING or HELD; the last one repeats
PROBE_SECONDS = (30.0, 60.0, 120.0, 300.0, 600.0, 900.0)
#: the same for one that is HELD because it refused several messages in a row: it may accept others
REFUSAL_PROBE_SECONDS = (0.2, 1.0, 2.0, 5.0, 10.0, *PROBE_SECONDS)
#: seconds for which it must be held before that is alerted
REFUSAL_LASTING_SECONDS = 5.0
#: seconds; a wait much longer than any probe or Retry-After comes from a clock that was set back
CLOSED_MAX = 7500.0
#: seconds; a smaller jump of the clock is an ordinary correction
SET_SECONDS = 60.0
#: seconds that a change must last to be reported after the first alert; doubled after each further one, up to a maximum
LASTING_SECONDS = 120.0
LASTING_MAX = 3600.0
#: seconds after the last alert from which on the next one counts as the first again
CALM_SECONDS = 6 * 3600.0
#: seconds between two failed probes that count for expiry, by a clock that cannot be set
OUTAGE_SECONDS = 3600.0
#: number of them after which an endpoint accepts nothing, and its waiting deliveries can expire
OUTAGE_PROBES = 3


class Condition(str, Enum):
    """The condition of an endpoint."""

    HEALTHY = "healthy"
    FAILING = "failing"
    HELD = "held"
    DISABLED = "disabled"


@dataclass(frozen=True)
class Health:
    """The condition of an endpoint, since when, and when it may be tried."""

    condition: Condition = Condition.HEALTHY
    #: why, such as http_401 or tls_unverified
    reason: str = ""
    #: epoch seconds at which it became healthy, became unhealthy, or was disabled
    since: float = 0.0
    #: failures in a row that are the endpoint's fault
    failures: int = 0
    #: epoch seconds before which nothing is sent
    open_at: float = 0.0
    #: failed probes since then
    probes: int = 0
    #: fingerprint of the endpoint's settings when this was written; after a change it may be tried at once
    fingerprint: str = ""
    #: refusals in a row
    refusals: int = 0
    #: grows with the first refusal after a delivery, and with the first delivery after that: odd while nothing was
    #: delivered since; a message that was refused in an earlier era is itself at fault
    era: int = 0
    #: the condition that the last alert reported
    alerted: Condition = Condition.HEALTHY
    #: epoch seconds of the last alert
    alerted_at: float = 0.0
    #: alerts since the last calm period
    alerts: int = 0
    #: failed probes at least OUTAGE_SECONDS apart, and the time of the last one by a clock that cannot be set
    outage_probes: int = 0
    outage_at: float = 0.0

    @property
    def healthy(self) -> bool:
        """Whether all deliveries may be sent, not only a probe."""
        return self.condition is Condition.HEALTHY

    @property
    def setbacks(self) -> int:
        """The number of failures in a row, or of failed probes."""
        return self.probes if not self.healthy else max(self.failures, self.refusals)

    @property
    def is_dark(self) -> bool:
        """Whether it has accepted nothing for long enough that its waiting deliveries can expire."""
        return not self.healthy and self.outage_probes >= OUTAGE_PROBES

    def may_send(self, now: float) -> bool:
        """Whether anything may be sent at `now` (epoch seconds)."""
        if self.condition is Condition.DISABLED:
            return False
        return now >= self.open_at or self.open_at - now > CLOSED_MAX

    def reopened(self, fingerprint: str) -> Health:
        """Return the health after an operator's intervention: it may be tried now. Only a success makes it healthy, and
        only then its recovery is reported to the alerted endpoints."""
        if self.healthy:
            return replace(self, reason="", failures=0, open_at=0.0, probes=0, refusals=0, fingerprint=fingerprint)
        condition = Condition.HELD if self.condition is Condition.DISABLED else self.condition
        return replace(self, condition=condition, open_at=0.0, probes=0, fingerprint=fingerprint)

    def after(self, verdict: Verdict, now: float, uptime: float = 0.0, silent: bool = False) -> Health:
        """Return the health after an attempt with this verdict; other attempts may have been in flight too.

        Args:
            now: epoch seconds.
            uptime: seconds by a clock that cannot be set.
            silent: whether a failure says nothing about the endpoint, unless it was a probe: the request continues in
                two halves, or its message is known to be at fault.
        """
        if self.condition is Condition.DISABLED or verdict.outcome is Outcome.UNSENDABLE:
            return self
        if verdict.outcome in SUCCESSES:
            clean = self.healthy and not (self.failures or self.refusals or self.era % 2)
            return self if clean else self._delivered(now)
        if verdict.outcome is Outcome.SHORTAGE:
            return replace(self, open_at=self._open_at(verdict.wait or 0.0, now))
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
        """Return the health after a failed probe, or a check of an endpoint that is not probed, at `uptime`."""
        if not self.outage_probes or uptime < self.outage_at:  # the first one, or the machine was restarted
            return replace(self, outage_probes=max(self.outage_probes, 1), outage_at=uptime)
        if uptime - self.outage_at < OUTAGE_SECONDS:
            return self
        return replace(self, outage_probes=self.outage_probes + 1, outage_at=uptime)

    def news_at(self, now: float) -> float | None:
        """Return when to alert that the endpoint's condition differs from the last reported one, None if it does not.

        Args:
            now: epoch seconds.
        """
        if self.healthy == (self.alerted is Condition.HEALTHY) and self.condition is not Condition.DISABLED:
            return None  # failing to held or back is not news: that nothing arrives was reported
        if self.condition is self.alerted:
            return None
        alerts = self._recent_alerts(now)
        if self.condition is Condition.DISABLED or not alerts:
            # an endpoint that is held only for a moment refused some messages and accepts others
            return self.since + REFUSAL_LASTING_SECONDS if self.refusals and not self.healthy else now
        return self.since + min(LASTING_SECONDS * float(2 ** (alerts - 1)), LASTING_MAX)

    def reported(self, now: float) -> Health:
        """Return the health after an alert at `now` (epoch seconds)."""
        alerts = self._recent_alerts(now)
        return replace(self, alerted=self.condition, alerted_at=now, alerts=min(alerts + 1, 16))

    def _recent_alerts(self, now: float) -> int:
        return self.alerts if now - self.alerted_at < CALM_SECONDS else 0

    def _delivered(self, now: float) -> Health:
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
        probes = (
            self.probes + (now >= self.open_at) if same else 0
        )  # an attempt that ends while it is closed was not a probe
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
        """Return when it opens after a wait; an earlier request for a longer wait stays."""
        return max(now + wait, self.open_at if self.open_at - now <= CLOSED_MAX else 0.0)


class Change(NamedTuple):
    """The change of an endpoint's health by one attempt; others may change it at the same time."""

    before: Health
    after: Health
