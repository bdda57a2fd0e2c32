"""Screening: an event, or a row of the host's findings, comes in; the endpoints that want it go out, and those whose
filters withhold it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from sfwebhooks.endpoints import RISK_NAMES, Endpoint, subscribed_name
from sfwebhooks.events import WebhookEvent
from sfwebhooks.fingerprints import of_event
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
    #: fingerprints of what users marked as false positive in scans of the target
    false_positives: frozenset[bytes] = frozenset()

    def of(self, event: WebhookEvent) -> tuple[list[Wanted], dict[str, Withheld]]:
        """Return the endpoints that want an event, and for those that asked for it by name and whose filters withhold
        it the reason."""
        named = ((one, one.name_for(event)) for one in self.endpoints)
        found = [(one, Wanted(one.name, name, one.baseline if one.only_new else "")) for one, name in named if name]
        if self.false_positives and of_event(event) in self.false_positives:
            return [], {one.name: Withheld.FALSE_POSITIVE for one, _ in found}
        if event.type == "surface_changed" and not has_changes(event.data):
            withheld = {one.name: Withheld.UNCHANGED for one, _ in found if one.only_if_changed}
            return [wanted for one, wanted in found if not one.only_if_changed], withheld
        return [wanted for _, wanted in found], {}

    def of_finding(self, found: Traits) -> tuple[list[Wanted], dict[str, Withheld]]:
        """Return for a finding what `of` returns for its event, without building the event."""
        risk, special = RISK_NAMES[found.severity], special_of(found.type)
        named = ((one.name, subscribed_name(one.events, risk, found.severity, special)) for one in self.endpoints)
        return [Wanted(endpoint, name) for endpoint, name in named if name], {}


def has_changes(data: Mapping[str, Any]) -> bool:
    """Return whether the data of surface_changed name anything that is new or gone."""
    return any(data[part]["total"] for part in ("new", "gone"))
