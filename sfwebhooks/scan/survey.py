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
from contextlib import suppress
from dataclasses import replace
from itertools import chain, islice

from sfwebhooks import fingerprints
from sfwebhooks.endpoints import FINDINGS, Endpoint, subscribed_name
from sfwebhooks.events import Scan, WebhookEvent, lifecycle_id
from sfwebhooks.outbox.sightings import Surface
from sfwebhooks.outbox.store import Store
from sfwebhooks.reasons import Withheld
from sfwebhooks.scan import correlations
from sfwebhooks.scan.from_host import ScanResult
from sfwebhooks.scan.host_database import HostDatabase
from sfwebhooks.scan.host_rows import FINISHED, ScanRow
from sfwebhooks.scan.missing import CHUNK, Earlier
from sfwebhooks.scan.surface import gone_event, scanned, surface_event
from sfwebhooks.screening import COMPARISON, CORRELATION, Screen, Wanted
from sfwebhooks.severity import Severity
from sfwebhooks.ticketing import GONE

#: the reasons that are counted here; what the outbox itself refuses, it counts, and the forwarder what it sets aside
COUNTED = frozenset(Withheld) - {Withheld.OUTBOX_FULL, Withheld.UNWRITABLE, Withheld.SET_ASIDE}
#: name of the event that reports a scan's end -> why the scan is compared with no other
INCOMPLETE = {"scan_completed": "", "scan_aborted": "aborted", "scan_failed": "failed"}


class Survey:
    """The survey of a scan.

    All methods raise OutboxError, HostDatabaseError (the host's database cannot be read) and NotYetError (the deadline
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
        #: whether all findings were read
        self._is_read = False
        self._earlier = Earlier(outbox, scan)

    def at_end(self, end: WebhookEvent, result: ScanResult) -> Mapping[str, int]:
        """Do as `count`; if sightings are used, also record what the scan found, and accept the event that compares it
        with the scan before.

        Args:
            end: the event that reports the scan's end.
        """
        trackers = [one for one in self._screen.endpoints if one.ticket_per]
        if trackers or any(one.only_new or wants_comparison(one) for one in self._screen.endpoints):
            self._compare(end, result)
        for tracker in trackers:
            self._close_tickets(tracker, end)
        return self.count()

    def count(self) -> Mapping[str, int]:
        """Count what each endpoint is not sent; return the number of those events that are not findings.

        Nothing is read if all of them are sent all that they subscribe to.
        """
        if not self._is_needed:
            return {}
        counts = self.counts()
        if self._row:
            self._outbox.write_withheld()
            names = [one.name for one in self._screen.endpoints]
            self._outbox.scans.replace_withheld(self._scan.id, names, counts, COUNTED)
        return self._besides

    def counts(self) -> Mapping[tuple[str, Withheld], int]:
        """Return endpoint and reason -> number of the events that it is not sent; nothing is written."""
        if self._is_needed and not self._is_read:
            _exhaust(self._found())
            compared = self._outbox.scans.event(lifecycle_id(self._scan.id, "surface"))
            for event in [compared] if compared else []:
                self._lacking(event, self._outbox.scans.endpoints_of(event))
        return self._counts

    @property
    def _is_needed(self) -> bool:
        """Whether an endpoint may not be sent something that it subscribes to."""
        endpoints = self._screen.endpoints
        asked = self._screen.false_positives or any(one.has_filters or one.only_if_changed for one in endpoints)
        return bool(self._is_read or asked or self._earlier.can_withhold(endpoints))

    def _compare(self, end: WebhookEvent, result: ScanResult) -> None:
        scan, sightings, now = self._scan, self._outbox.sightings, time.time()
        lineage = fingerprints.lineage_of(result.modules_used)
        everything = self._found()
        sightings.record(scan.id, scan.target, lineage, everything, now)
        _exhaust(everything)  # nothing is recorded twice, but all is counted
        why = "died" if end.data.get("reason") == "process_died" else INCOMPLETE[end.type]
        found = self._meant(sightings.finish(scan.id, not why, why, end.at))
        event = surface_event(scan, result, found, self._database, end.at, self._deadline)
        wanted = self._lacking(event, set())
        if wanted:
            self._outbox.accept([(event, wanted)], time.time())

    def _close_tickets(self, tracker: Endpoint, end: WebhookEvent) -> None:
        """Accept an event for each ticket of a tracker at the target that is about what is gone."""
        dismissed = self._screen.false_positives.union(self._earlier.muted_for_all)
        gone = self._outbox.tickets.gone(tracker, self._scan, dismissed)
        events = (gone_event(self._scan, tracker.name, one, end.at) for one in gone)
        while chunk := [*islice(events, CHUNK)]:
            self._outbox.accept([(event, [Wanted(tracker.name, GONE)]) for event in chunk], time.time())

    def _meant(self, found: Surface) -> Surface:
        """Return a comparison without correlations, which may be lost with a killed process, and without what users
        marked as false positive or muted for all endpoints."""
        dismissed = self._screen.false_positives.union(self._earlier.muted_for_all)
        new, gone = (
            tuple((key, kind) for key, kind in side if kind != CORRELATION and key not in dismissed)
            for side in (found.new, found.gone)
        )
        is_same = not (found.not_comparable or new or gone)
        since = found.unchanged_since if found.unchanged_since is not None or not is_same else found.previous_at
        return replace(found, new=new, gone=gone, unchanged_since=since)

    def _found(self) -> Iterator[tuple[bytes, str]]:
        """Yield fingerprint and type of all that the scan found, and count what is withheld on the way."""
        self._is_read = True
        events = chain(scanned(self._database, self._scan, self._deadline), self._correlated())
        accepted = 0
        while chunk := list(islice(events, CHUNK)):
            receivers = self._outbox.scans.receivers(self._scan.id, [event.id for event in chunk])
            accepted += len(receivers)
            keys = [fingerprints.of_event(event) for event in chunk]
            lacking = [self._lacking(event, receivers.get(event.id, set())) for event in chunk]
            for event, key, withheld in zip(chunk, keys, self._earlier.withheld(keys, lacking)):
                for name, reason in withheld.items():
                    self._count(event, name, reason)
                if key:
                    yield key, str(event.data.get("event_type", event.type))
        if self._outbox.scans.number_found(self._scan.id) > accepted:  # a kill can cost the host its last rows
            for event in self._outbox.scans.found(self._scan.id):
                key = fingerprints.of_event(event)
                if key:
                    yield key, str(event.data.get("event_type", event.type))

    def _correlated(self) -> Iterator[WebhookEvent]:
        if self._row and self._row.status == FINISHED:
            for one in correlations.distinct(self._database.correlations(self._scan.id) or ()):
                yield correlations.event_of_correlation(one, (), self._scan, self._row.ended)

    def _lacking(self, event: WebhookEvent, receivers: set[str]) -> list[Wanted]:
        """Return who wants an event and has no delivery of it; count who asked for it by name and does not want it."""
        wanted, withheld = self._screen.of(event)
        if receivers and any(one.endpoint not in receivers for one in wanted) and is_cut(event):
            wanted, withheld = self._screen.of(self._as_accepted(event))
        for name, reason in withheld.items():
            if name not in receivers:
                self._count(event, name, reason)
        return [one for one in wanted if one.endpoint not in receivers]

    def _as_accepted(self, event: WebhookEvent) -> WebhookEvent:
        """Return an event with the data by which it was screened live, of which the host keeps only the first part."""
        with suppress(ValueError, AttributeError):  # damaged
            return self._outbox.scans.event(event.id) or event
        return event

    def _count(self, event: WebhookEvent, endpoint: str, reason: Withheld) -> None:
        self._counts[endpoint, reason] += 1
        self._besides[endpoint] += event.type not in FINDINGS


def is_cut(event: WebhookEvent) -> bool:
    """Return whether the host's database may have only the first part of a finding's data."""
    return event.type in FINDINGS and len(event.data.get("data", "")) >= fingerprints.DATA_COUNTED


def wants_comparison(endpoint: Endpoint) -> bool:
    """Return whether an endpoint subscribes to the comparison of scans."""
    return subscribed_name(endpoint.events, COMPARISON, Severity.INFO, None) is not None


def _exhaust(found: Iterator[tuple[bytes, str]]) -> None:
    for _ in found:
        pass
