"""Screening: an event, or a row of the host's findings, comes in; the endpoints that want it go out, and those whose
filters withhold it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from sfwebhooks.endpoints import RISK_NAMES, Endpoint, subscribed_name
from sfwebhooks.events import WebhookEvent
from sfwebhooks.reasons import Withheld
from sfwebhooks.severity import Severity, special_of


class Wanted(NamedTuple):
    """An endpoint that wants an event."""

    endpoint: str
    #: the event name that it subscribed to
    name: str
    #: "silent" or "send" if it wants only what earlier scans did not find: its `baseline`; empty: it wants all
    only_new: str = ""


class Traits(NamedTuple):
    """What a finding is screened by."""

    #: the host's event type
    type: str
    severity: Severity
    data: str
    module: str
    #: 0-100
    confidence: int
    #: of its scan
    target: str


@dataclass(frozen=True)
class Screen:
    """The subscriptions and filters of some endpoints. Pure."""

    endpoints: tuple[Endpoint, ...]

    def of(self, event: WebhookEvent) -> tuple[list[Wanted], dict[str, Withheld]]:
        """Return the endpoints that want an event, and for those that asked for it by name and whose filters withhold
        it the reason."""
        named = ((one.name, one.name_for(event)) for one in self.endpoints)
        return [Wanted(endpoint, name) for endpoint, name in named if name], {}

    def of_finding(self, found: Traits) -> tuple[list[Wanted], dict[str, Withheld]]:
        """Return for a finding what `of` returns for its event, without building the event."""
        risk, special = RISK_NAMES[found.severity], special_of(found.type)
        named = ((one.name, subscribed_name(one.events, risk, found.severity, special)) for one in self.endpoints)
        return [Wanted(endpoint, name) for endpoint, name in named if name], {}
