"""The event surface_changed: what a scan found and the one before did not, and the reverse, comes in, a WebhookEvent
that counts it and names the first of it goes out.

`survey` records what the scan found; `outbox/sightings` compares it with the last scan of the same modules. The ones
that are named are read from the host's database, which may no longer have that scan.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sfwebhooks import fingerprints
from sfwebhooks.errors import NotYetError
from sfwebhooks.events import Scan, WebhookEvent, id_of, lifecycle_id, timestamp
from sfwebhooks.outbox.sightings import Surface
from sfwebhooks.outbox.tickets import GoneSubject
from sfwebhooks.redaction import for_everybody
from sfwebhooks.scan.findings import SOURCE_MAX, event_of_finding
from sfwebhooks.scan.from_host import ScanResult
from sfwebhooks.scan.host_database import HostDatabase
from sfwebhooks.screening import COMPARISON
from sfwebhooks.severity import Severity
from sfwebhooks.text import amount, counted, moment
from sfwebhooks.ticketing import GONE

#: findings of each part that are named
ITEMS_MAX = 20
#: findings that wait to be sorted
UNSORTED_MAX = 1000
#: findings between two looks at the clock
LOOK_EACH = 500
#: why a scan is compared with no other -> the same in words
NOT_COMPARABLE = {
    "first_scan": "it is the first finished scan of this target",
    "other_modules": "no earlier finished scan of this target had the same modules",
    "aborted": "the scan was aborted",
    "failed": "the scan failed",
    "died": "the scan's process died",
}

Json = dict[str, Any]


@dataclass
class Side:
    """The findings of one scan that the other one does not have."""

    #: the most severe ones first, in the form in which they are sent, with their severity
    first: list[tuple[Severity, Json]] = field(default_factory=list)
    #: type and fingerprint of the direct source -> the only such finding; None: there are several
    only: dict[tuple[str, bytes], str | None] = field(default_factory=dict)

    @property
    def items(self) -> list[Json]:
        """The first ones."""
        return [item for _, item in self.first[:ITEMS_MAX]]

    @property
    def worst(self) -> Severity:
        """The highest severity."""
        return max((severity for severity, _ in self.first), default=Severity.INFO)

    def add(self, event: WebhookEvent) -> None:
        """Take in a finding."""
        self.first.append((event.severity, item_of(event)))
        if len(self.first) > UNSORTED_MAX:
            self.sort()
        source = next(iter(event.data["sources"]), {"event_type": "", "data": ""})
        key = (event.data["event_type"], fingerprints.of_finding(source["event_type"], source["data"]))
        self.only[key] = None if key in self.only else event.data["hash"]

    def sort(self) -> None:
        """Keep the most severe ones, in their order."""
        self.first = sorted(self.first, key=lambda one: -one[0])[:ITEMS_MAX]


def surface_event(
    scan: Scan, result: ScanResult, found: Surface, database: HostDatabase, at: float, deadline: float
) -> WebhookEvent:
    """Return the event that compares a scan with the one before it.

    Args:
        at: epoch seconds of the scan's end.
        deadline: monotonic seconds.

    Raises:
        NotYetError: the deadline passed first.
        HostDatabaseError: the host's database cannot be read.
    """
    earlier = replace(scan, id=found.previous or "")
    new, gone = (_side(database, one, dict(keys), deadline) for one, keys in ((scan, found.new), (earlier, found.gone)))
    pairs = [(host_type, new_hash, gone_hash) for (host_type, source), new_hash in new.only.items()
             if new_hash and (gone_hash := gone.only.get((host_type, source)))]  # fmt: skip
    data: Json = {**scan.about, "message": _in_words(found, len(pairs))}
    if found.previous:
        data["compared_with"] = {"scan_id": found.previous, "ended": timestamp(found.previous_at)}
    data |= {
        "new": _part((kind for _, kind in found.new), new.items),
        "gone": _part((kind for _, kind in found.gone), gone.items),
        "changed": _part((kind for kind, *_ in pairs), _changes(database, scan, earlier, pairs)),
    }
    if found.unchanged_since is not None:
        data["unchanged_since"] = timestamp(found.unchanged_since)
    if found.not_comparable:
        data["not_comparable"] = found.not_comparable
    data["modules_failed"] = result.modules_failed
    return WebhookEvent(lifecycle_id(scan.id, "surface"), COMPARISON, new.worst, at, data, scan)


def gone_event(scan: Scan, endpoint: str, gone: GoneSubject, at: float) -> WebhookEvent:
    """Return the event that closes the ticket of a tracker.

    Args:
        endpoint: name of the tracker.
        at: epoch seconds of the scan's end.
    """
    name = gone.ticket.name
    words = f"{name} is about what the last {amount(gone.missed, 'comparable scan')} did not find any more."
    if not gone.missed:
        words = f"{name} is about what is a false positive or muted."
    data: Json = {**scan.about, "message": words, "ticket": name, "missed": gone.missed}
    its_id = id_of(f"ticket/{scan.id}/{endpoint}/{gone.subject}")
    return WebhookEvent(its_id, GONE, Severity.INFO, at, data, scan, subject=gone.subject)


def scanned(database: HostDatabase, scan: Scan, deadline: float) -> Iterator[WebhookEvent]:
    """Yield the events of all of a scan's findings in the host's database, without their sources.

    Args:
        deadline: monotonic seconds.

    Raises:
        NotYetError: the deadline passed first.
        HostDatabaseError: the host's database cannot be read.
    """
    for number, finding in enumerate(database.all_findings(scan.id), 1):
        yield event_of_finding(finding, scan, "", database.enrichment)
        if number % LOOK_EACH == 0 and time.monotonic() > deadline:
            raise NotYetError(f"{number} findings of the scan were read, and more are left")


def item_of(event: WebhookEvent) -> Json:
    """Return a finding as surface_changed names it, secrets masked: a subscriber need not have asked for findings."""
    data = event.data
    return {
        "event_type": data["event_type"],
        "data": for_everybody(data["event_type"], data["data"][:SOURCE_MAX]),
        "severity": event.severity.label,
        "module": data["module"],
        "hash": data["hash"],
    }


def _side(database: HostDatabase, scan: Scan, keys: Collection[bytes], deadline: float) -> Side:
    """Return the findings of a scan with these fingerprints; of equal ones the first."""
    side, left = Side(), set(keys)

    def meant() -> Iterator[str]:
        for event in scanned(database, scan, deadline) if left else ():
            key = fingerprints.of_event(event)
            if key in left:
                left.discard(key)
                yield event.data["hash"]
            if not left:
                return

    for event in _whole(database, scan, meant()):
        side.add(event)
    side.sort()
    return side


def _whole(database: HostDatabase, scan: Scan, hashes: Iterable[str]) -> Iterator[WebhookEvent]:
    for finding in database.findings(scan.id, hashes):
        event = event_of_finding(finding, scan, "", database.enrichment)
        if not event.problem:  # in a source
            yield event


def _changes(database: HostDatabase, scan: Scan, earlier: Scan, pairs: Sequence[tuple[str, str, str]]) -> list[Json]:
    """Return the most severe pairs as they are now, with what was there before."""
    before = {new_hash: gone_hash for _, new_hash, gone_hash in pairs}
    now = Side()
    for event in _whole(database, scan, before):
        now.add(event)
    now.sort()
    was = {event.data["hash"]: item_of(event)
           for event in _whole(database, earlier, [before[item["hash"]] for item in now.items])}  # fmt: skip
    return [{**item, "before": was[before[item["hash"]]]} for item in now.items if before[item["hash"]] in was]


def _part(kinds: Iterable[str], items: list[Json]) -> Json:
    by_type = Counter(kinds)
    return {"total": sum(by_type.values()), "by_type": dict(sorted(by_type.items())), "items": items}


def _in_words(found: Surface, changed: int) -> str:
    if found.not_comparable:
        why = NOT_COMPARABLE.get(found.not_comparable, found.not_comparable)
        return f"Not compared with an earlier scan: {why}."
    if found.unchanged_since is not None:
        return f"Nothing is new or gone since {moment(found.unchanged_since)}."
    numbers = {"new": len(found.new), "gone": len(found.gone), "changed": changed}
    return f"{counted(numbers)} since {moment(found.previous_at)}."
