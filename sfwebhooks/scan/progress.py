"""The Progress of a running scan: the time comes in, at intervals an event with the counts of the host's database goes
out. `run` sends it.
"""

from __future__ import annotations

from sfwebhooks.config.settings import Settings
from sfwebhooks.endpoints import subscribed_name
from sfwebhooks.enrichment.enrichment import NO_ENRICHMENT, Enrichment
from sfwebhooks.errors import HostDatabaseError
from sfwebhooks.events import Scan, WebhookEvent, id_of, timestamp
from sfwebhooks.outbox.finding_counts import FindingCounts
from sfwebhooks.scan.host_database import READ_SECONDS, HostDatabase
from sfwebhooks.scan.host_rows import OVER
from sfwebhooks.severity import Severity

NAME = "scan_progress"


class Progress:
    """Reports the progress of a scan at intervals.

    Args:
        interval: seconds between two events.
        begun_at: epoch seconds.
        accepted: counts of the findings that this process has accepted so far.
        enrichment: as for `HostDatabase`.
    """

    def __init__(
        self,
        scan: Scan,
        interval: float,
        begun_at: float,
        accepted: FindingCounts,
        enrichment: Enrichment = NO_ENRICHMENT,
    ) -> None:
        self._scan = scan
        self.interval = interval
        self._accepted = accepted
        self._database = HostDatabase(scan.database, READ_SECONDS, enrichment)
        self._looked_at = self._reported_at = begun_at
        self._number = 0
        self._found = 0
        self._modules: list[str] | None = None

    def look(self, now: float) -> WebhookEvent | None:
        """Return the event that is due at `now` (epoch seconds), if one is and the host's database can be read."""
        if abs(now - self._looked_at) < self.interval:  # the clock may be set back
            return None
        self._looked_at = now
        try:
            if self._modules is None:
                self._modules = self._database.modules(self._scan.id)
            standing = self._database.standing(self._scan.id)
        except HostDatabaseError:  # the next report covers it
            return None
        return self._event(*standing, now) if standing and standing[0] not in OVER else None

    def _event(self, status: str, started: float, counts: FindingCounts, now: float) -> WebhookEvent:
        scan, numbers = self._scan, counts.fuller(self._accepted).data
        found, seconds = numbers["events_found"], now - self._reported_at
        rate = (found - self._found) * 60 / seconds if seconds > 0 else 0
        self._number, self._found, self._reported_at = self._number + 1, found, now
        data = {
            **scan.about,
            "status": status,
            "started": timestamp(started or now),
            "number": self._number,
            "elapsed": max(0, round(now - (started or now))),
            "events_per_minute": max(0, round(rate)),
            **numbers,
            "modules_used": self._modules,
        }
        its = (id_of(f"progress/{scan.id}/{self._number}"), NAME, Severity.INFO, now, data, scan)
        return WebhookEvent(*its, subject=f"progress/{scan.id}")


def progress_of(
    scan: Scan, settings: Settings, begun_at: float, accepted: FindingCounts, before: Progress | None = None
) -> Progress | None:
    """Return the progress reports of a scan, or None if no endpoint subscribes to them.

    Args:
        before: its reports by earlier settings, which are continued.
    """
    asked = any(subscribed_name(endpoint.events, NAME, Severity.INFO, None) for endpoint in settings.endpoints)
    interval, enrichment = settings.progress_interval, settings.enrichment
    if not (asked and interval):
        return None
    if before:
        before.interval = interval
    return before or Progress(scan, interval, begun_at, accepted, enrichment)
