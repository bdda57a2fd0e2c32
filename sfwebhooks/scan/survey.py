"""The survey of a scan at its end: its findings and correlations come in once, from the host's database; how many of
them each endpoint is not sent, and why, and what is new since the scan before go out.

The live counts of withheld events are lost with a killed process, and a recovery offers some events twice: the survey
replaces them. If a process does not get to its end, the next one repeats it as a whole. A scan whose endpoints want all
that they subscribe to, and no comparison, is not surveyed.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import chain, islice

from sfwebhooks import fingerprints, pipeline
from sfwebhooks.endpoints import Endpoint, subscribed_name
from sfwebhooks.events import Scan, WebhookEvent
from sfwebhooks.outbox.sightings import Surface
from sfwebhooks.outbox.store import Store
from sfwebhooks.reasons import Withheld
from sfwebhooks.scan import correlations
from sfwebhooks.scan.from_host import ScanResult
from sfwebhooks.scan.host_database import FINISHED, HostDatabase, ScanRow
from sfwebhooks.scan.surface import CHANGED, is_change, scanned, surface_event
from sfwebhooks.screening import Screen
from sfwebhooks.severity import Severity

#: events whose deliveries are looked up together
CHUNK = 500
#: the reasons that are counted here; what the outbox itself refuses, it counts
COUNTED = frozenset(Withheld) - {Withheld.OUTBOX_FULL, Withheld.UNWRITABLE}
#: name of the event that reports a scan's end -> why the scan is compared with no other
INCOMPLETE = {"scan_completed": "", "scan_aborted": "aborted", "scan_failed": "failed"}


class Survey:
    """The survey of a scan.

    All methods raise OutboxError, sqlite3.Error (the host's database cannot be read) and NotYetError (the deadline
    passed first).

    Args:
        row: the host's row of the scan; None: it was deleted, and what was counted live is all that is known.
        deadline: monotonic seconds.
    """

    def __init__(
        self,
        outbox: Store,
        screen: Screen,
        scan: Scan,
        row: ScanRow | None,
        database: HostDatabase,
        deadline: float = float("inf"),
    ) -> None:
        self._outbox = outbox
        self._screen = screen
        self._scan = scan
        self._row = row
        self._database = database
        self._deadline = deadline
        #: endpoint and reason -> number of events
        self._counts: Counter[tuple[str, Withheld]] = Counter()
        #: endpoint -> number of those of them that are not findings
        self._besides: Counter[str] = Counter()

    @property
    def is_needed(self) -> bool:
        """Whether an endpoint may not be sent all that it subscribes to, or wants a comparison."""
        return bool(
            self._screen.false_positives
            or any(one.has_filters or one.only_new or wants_comparison(one) for one in self._screen.endpoints)
            or self._outbox.sightings.mutes(self._scan.target)
        )

    def count(self) -> Mapping[str, int]:
        """Count what each endpoint is not sent; return the number of those events that are not findings."""
        for _ in self._found():
            pass
        return self._counted()

    def compare(self, end: WebhookEvent, result: ScanResult) -> Mapping[str, int]:
        """Do as `count`; also record what the scan found, and accept the event that compares it with the scan before.

        Args:
            end: the event that reports the scan's end.
        """
        scan, sightings, now = self._scan, self._outbox.sightings, time.time()
        lineage = fingerprints.lineage_of(result.modules_used)
        sightings.record(scan.id, scan.target, lineage, self._found(), now)
        why = "died" if end.data.get("reason") == "process_died" else INCOMPLETE[end.type]
        found = self._meant(sightings.finish(scan.id, not why, why, end.at))
        event = surface_event(scan, result, found, self._database, end.at, self._deadline)
        wanted, withheld = self._screen.of(event)
        unchanged = {one.name for one in self._screen.endpoints if one.only_if_changed and not is_change(found)}
        for name in [*withheld, *(one.endpoint for one in wanted if one.endpoint in unchanged)]:
            self._counts[name, withheld.get(name, Withheld.UNCHANGED)] += 1
            self._besides[name] += 1
        asked = [one for one in wanted if one.endpoint not in unchanged]
        if asked:
            self._outbox.accept([(event, asked)], time.time())
        return self._counted()

    def _meant(self, found: Surface) -> Surface:
        """Return a comparison without correlations, which may be lost with a killed process, and without what users
        marked as false positive."""
        new, gone = (
            tuple((key, kind) for key, kind in side
                  if kind != correlations.FOUND and key not in self._screen.false_positives)
            for side in (found.new, found.gone)
        )  # fmt: skip
        is_same = not (found.not_comparable or new or gone)
        since = found.unchanged_since if found.unchanged_since is not None or not is_same else found.previous_at
        return replace(found, new=new, gone=gone, unchanged_since=since)

    def _counted(self) -> Mapping[str, int]:
        """Write the counts."""
        if self._row:
            self._outbox.write_withheld()
            names = [one.name for one in self._screen.endpoints]
            self._outbox.scans.replace_withheld(self._scan.id, names, self._counts, COUNTED)
        return self._besides

    def _found(self) -> Iterator[tuple[bytes, str]]:
        """Yield fingerprint and type of all that the scan found, and count what is withheld on the way."""
        events = chain(scanned(self._database, self._scan, self._deadline), self._correlated())
        known = 0
        while chunk := list(islice(events, CHUNK)):
            receivers = self._outbox.scans.receivers([event.id for event in chunk])
            known += len(receivers)
            for event in chunk:
                self._screened(event, receivers.get(event.id, set()))
                yield from _key(event)
        for event in self._outbox.scans.more_found(self._scan.id, known):  # the host lost its last rows in a kill
            yield from _key(event)

    def _correlated(self) -> Iterator[WebhookEvent]:
        if self._row and self._row.status == FINISHED:
            for one in correlations.distinct(self._database.correlations(self._scan.id) or ()):
                yield correlations.event_of_correlation(one, (), self._scan, self._row.ended)

    def _screened(self, event: WebhookEvent, receivers: set[str]) -> None:
        """Count the endpoints that asked for an event by name and have no delivery of it."""
        wanted, withheld = self._screen.of(event)
        for name, reason in withheld.items():
            if name not in receivers:
                self._counts[name, reason] += 1
                self._besides[name] += event.type == correlations.FOUND


def wants_comparison(endpoint: Endpoint) -> bool:
    """Return whether an endpoint subscribes to the comparison of scans."""
    return subscribed_name(endpoint.events, CHANGED, Severity.INFO, None) is not None


def _key(event: WebhookEvent) -> Iterator[tuple[bytes, str]]:
    key = fingerprints.of_event(event)
    if key:
        yield key, str(event.data.get("event_type", event.type))
