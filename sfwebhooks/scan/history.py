"""The scans of the host's database and of the outbox, with what is usual for them: their rows come in, medians go out.

A scan is compared with earlier ones of the same target that finished and had the same modules: others could not find
the same. The host's database is read in short reads, since a scan cannot write meanwhile.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import Any

from sfwebhooks.events import LAST_SECOND, clean_text, lifecycle_id, timestamp
from sfwebhooks.expectations import key_of_scan
from sfwebhooks.fingerprints import lineage_of
from sfwebhooks.outbox.store import Store
from sfwebhooks.scan.escapes import unescaped
from sfwebhooks.scan.host_address import current_database, is_gone
from sfwebhooks.scan.host_database import HostDatabase
from sfwebhooks.scan.host_log import modules_failed
from sfwebhooks.scan.host_rows import FINISHED, OVER

#: scans that a median is made of, at most and at least
COMPARED_MAX = 10
COMPARED_MIN = 3
#: earlier scans of a target whose modules are looked at
EARLIER_MAX = 50
#: seconds that one read may take, and that looking for the modules of scans may
PAST_READ_SECONDS = 2.0
MODULES_SECONDS = 5.0
#: seconds of the outbox's past in which the starts of scans are looked for that the host no longer has
DELETED_SECONDS = 40 * 86400.0


@dataclass(frozen=True)
class KnownScan:
    """A scan of the host's database, or one that only the outbox still has."""

    id: str
    name: str
    target: str
    #: epoch seconds; 0: it has not ended, or that is not known
    started: float
    ended: float
    #: the host's word; empty: the host does not have it
    status: str

    @property
    def is_over(self) -> bool:
        """Whether it does not run."""
        return self.status in ("", *OVER)

    @property
    def has_finished(self) -> bool:
        """Whether it ran to its end, neither aborted nor failed."""
        return self.status == FINISHED and self.ended >= self.started > 0

    @property
    def duration(self) -> float:
        """Seconds from its start to its end."""
        return self.ended - self.started

    @cached_property
    def key(self) -> str:
        """Its target, in the form in which equal ones are equal."""
        return key_of_scan(self.target)


class History:
    """The known scans. Its methods raise HostDatabaseError and OutboxError.

    Args:
        scans: in any order.
        ended: id of a scan that the outbox has -> the name of the event that reported its end; None: not yet.
    """

    def __init__(
        self, scans: Iterable[KnownScan], ended: dict[str, str | None], database: HostDatabase, outbox: Store
    ) -> None:
        #: whether the host has a database
        self.has_host = database.is_there
        self.scans = {scan.id: scan for scan in scans}
        self.ended = ended
        self._database = database
        self._outbox = outbox
        self._until = time.monotonic() + MODULES_SECONDS
        self._lineages: dict[str, str] = {}

    @cached_property
    def finished(self) -> dict[str, list[KnownScan]]:
        """The finished scans of each target, by `KnownScan.key`; the last one first."""
        found: dict[str, list[KnownScan]] = defaultdict(list)
        for scan in sorted(self.scans.values(), key=lambda scan: -scan.ended):
            if scan.has_finished:
                found[scan.key].append(scan)
        return found

    @cached_property
    def _named(self) -> dict[str, list[KnownScan]]:
        found: dict[str, list[KnownScan]] = defaultdict(list)
        for scan in self.scans.values():
            for key in {scan.key, key_of_scan(scan.name)}:
                found[key].append(scan)
        return found

    def of(self, text: str) -> list[KnownScan]:
        """Return the scans of a target, or with a name, in order of their starts."""
        return sorted(self._named.get(key_of_scan(text), ()), key=lambda scan: scan.started)

    def finished_after(self, at: float) -> list[KnownScan]:
        """Return the scans that finished after a time, in order."""
        found = (scan for scan in self.scans.values() if scan.ended > at and scan.has_finished)
        return sorted(found, key=lambda scan: scan.ended)

    def last_before(self, scan: KnownScan) -> KnownScan | None:
        """Return the last scan of a scan's target that finished before it started."""
        return next((one for one in self.finished.get(scan.key, ()) if one.ended <= scan.started), None)

    def is_over(self, scan: KnownScan) -> bool:
        """Whether a scan has ended, or its end was reported."""
        return scan.is_over or self.ended.get(scan.id) is not None

    def is_overtaken(self, scan: KnownScan) -> bool:
        """Whether a later scan of the target with the same modules has finished."""
        later = [one for one in self.finished.get(scan.key, ())[:EARLIER_MAX] if one.started > scan.started]
        self._look_up([scan, *later])
        return any(self._lineages[one.id] == self._lineages[scan.id] for one in later)

    def is_reported(self, scan: KnownScan) -> bool:
        """Whether the outbox has its end, or does not have the scan."""
        return self.ended.get(scan.id, "") is not None

    def lineage(self, scan: KnownScan) -> str:
        """Return the id of a scan's list of modules."""
        self._look_up([scan])
        return self._lineages[scan.id]

    def comparable(self, scan: KnownScan) -> list[KnownScan]:
        """Return the last finished scans of the target before a scan, with the same modules; the last one first."""
        earlier = [one for one in self.finished.get(scan.key, ()) if one.id != scan.id and one.ended <= scan.started]
        same: list[KnownScan] = []
        for begin in range(0, min(len(earlier), EARLIER_MAX), COMPARED_MAX):
            part = earlier[begin : begin + COMPARED_MAX]  # mostly the first is enough, and the others are far back
            self._look_up([scan, *part])
            same += [one for one in part if self._lineages[one.id] == self._lineages[scan.id]]
            if len(same) >= COMPARED_MAX:
                break
        return same[:COMPARED_MAX]

    def findings(self, scan: KnownScan) -> int:
        """Return the number of a scan's findings."""
        return self._database.number_of_findings(scan.id)

    def failing(self, scan: KnownScan) -> set[str]:
        """Return the modules of a scan that failed, also those that lack a setting."""
        end = self._outbox.scans.event(lifecycle_id(scan.id, "ended")) if scan.id in self.ended else None
        reported = end.data.get("modules_failed") if end else ()
        return modules_failed(scan.id, self._database) | {*(reported or ())}

    def about(self, scan: KnownScan | None) -> dict[str, Any] | None:
        """Return a finished scan in short, as a field of an event."""
        if scan is None:
            return None
        return {
            "scan_id": scan.id,
            "started": timestamp(scan.started),
            "ended": timestamp(scan.ended),
            "duration": round(scan.duration),
            "events_found": self.findings(scan),
        }

    def _look_up(self, scans: Iterable[KnownScan]) -> None:
        """Learn the lineages of scans; one whose modules cannot be found has that of no modules."""
        new = [scan.id for scan in scans if scan.id not in self._lineages]
        found = self._database.modules_of(new, self._until) if new else {}
        self._lineages.update((scan_id, lineage_of(found.get(scan_id, ())).hex()) for scan_id in new)


def read_history(outbox: Store, now: float) -> History:
    """Return the known scans.

    Raises:
        HostDatabaseError: the host's database cannot be read.
        OutboxError: the outbox cannot be read.
    """
    address = current_database(outbox.path.parent)
    database = HostDatabase(address, PAST_READ_SECONDS, is_deleted=is_gone(address))
    scans = [
        KnownScan(scan_id, clean_text(unescaped(name)), clean_text(unescaped(target)), started, ended, status)
        for scan_id, name, target, started, ended, status in database.instances()
        if 0 <= started < LAST_SECOND and 0 <= ended < LAST_SECOND
    ]
    begun = outbox.scans.begun(now - DELETED_SECONDS)
    there = {scan.id for scan in scans}
    scans += [KnownScan(one.id, one.name, one.target, at, 0.0, "") for one, at, _ in begun if one.id not in there]
    return History(scans, {scan.id: ended for scan, _, ended in begun}, database, outbox)


def usual(values: Iterable[float]) -> int | None:
    """Return the median; None for too few values."""
    found = sorted(values)
    return round(median(found)) if len(found) >= COMPARED_MIN else None
