"""The terms of a scan: Settings come in; what decides on each of its findings goes out, as one object.

When the settings change during the scan, it is replaced as a whole: no event is judged by a part of each.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sfwebhooks.config.settings import Settings
from sfwebhooks.events import Scan
from sfwebhooks.scan.findings import WantedFindings
from sfwebhooks.screening import Screen


@dataclass(frozen=True)
class Terms:
    """The settings that a scan uses, and what follows from them."""

    settings: Settings
    screen: Screen
    #: the findings that an endpoint may want
    wants: WantedFindings

    def joined_since(self, before: Terms) -> set[str]:
        """Return the names of the endpoints that earlier terms did not have, or not with the same settings."""
        was = {one.name: one.fingerprint for one in before.screen.endpoints}
        is_same = self.settings.severities == before.settings.severities
        return {one.name for one in self.screen.endpoints if not is_same or was.get(one.name) != one.fingerprint}


def terms_of(settings: Settings, scan: Scan, before: Screen | None = None) -> Terms:
    """Return the terms of a scan by some settings; with enabled = false no endpoint is used.

    Args:
        before: the screen by which the scan was screened so far.
    """
    if settings.enabled is False:
        settings = replace(settings, endpoints=(), off=settings.known)
    screen = before.for_others(settings.endpoints) if before else Screen(settings.endpoints)
    return Terms(settings, screen, WantedFindings(screen.at(scan.target), settings.enrichment))
