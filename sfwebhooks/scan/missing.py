"""What is missing of a scan: its findings come in from the host's database; those that an endpoint was not sent, and
would be, go out.

The outbox asks the same once more in the transaction that accepts an event (`outbox/newness`). Here it is asked first,
of many findings at once and without their sources: mostly an earlier scan has found nearly all of them.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Container, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import islice

from sfwebhooks import fingerprints
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import NotYetError
from sfwebhooks.events import Scan
from sfwebhooks.outbox.newness import by_sightings
from sfwebhooks.outbox.store import Store
from sfwebhooks.reasons import Withheld
from sfwebhooks.scan.findings import event_of_finding
from sfwebhooks.scan.from_host import possible_hashes
from sfwebhooks.scan.host_database import HostDatabase
from sfwebhooks.screening import Screen, Wanted, looks_into

#: findings whose sightings are looked up together
CHUNK = 500


class Earlier:
    """What mutes and earlier scans withhold of what a scan found. All methods raise OutboxError."""

    def __init__(self, outbox: Store, scan: Scan) -> None:
        self.scan = scan
        self._sightings = outbox.sightings
        #: fingerprint -> the endpoints for which it is muted; an empty name: for all
        self._muted: dict[bytes, set[str]] = {}
        for mute in self._sightings.mutes(time.time(), scan.target):
            self._muted.setdefault(mute.fingerprint, set()).add(mute.endpoint)

    @cached_property
    def _is_first(self) -> bool:
        return self._sightings.is_first(self.scan.id, self.scan.target)

    @property
    def muted_for_all(self) -> Iterator[bytes]:
        """The fingerprints that are muted for all endpoints."""
        return (key for key, names in self._muted.items() if "" in names)

    def can_withhold(self, endpoints: Iterable[Endpoint]) -> bool:
        """Return whether anything can be withheld from some endpoints."""
        return bool(self._muted) or any(one.only_new for one in endpoints)

    def withheld(
        self, keys: Sequence[bytes | None], wanted: Sequence[Collection[Wanted]]
    ) -> Iterator[dict[str, Withheld]]:
        """Yield, for each of some findings, the endpoints from which it is withheld, with the reason.

        Args:
            keys: their fingerprints.
            wanted: the endpoints that want each of them.
        """
        asked = {key for key, ones in zip(keys, wanted) if key and any(one.only_new for one in ones)}
        known = self._sightings.known(self.scan.id, self.scan.target, asked) if asked else set()
        for key, ones in zip(keys, wanted):
            reasons = {one.endpoint: self._reason(one, key, key in known) for one in ones} if key else {}
            yield {name: reason for name, reason in reasons.items() if reason}

    def _reason(self, wanted: Wanted, key: bytes, is_known: bool) -> Withheld | None:
        if self._muted and {"", wanted.endpoint} & self._muted.get(key, set()):
            return Withheld.MUTED
        return by_sightings(wanted, self._is_first, is_known) if wanted.only_new else None


def missing_hashes(
    database: HostDatabase, screen: Screen, earlier: Earlier, known: Container[str], deadline: float = float("inf")
) -> Iterator[str]:
    """Yield the hashes of the findings of a scan that an endpoint is to be sent, in order of creation.

    Args:
        known: ids of events to skip.
        deadline: monotonic seconds.

    Raises:
        NotYetError: the deadline passed first.
        HostDatabaseError: the host's database cannot be read.
        OutboxError: the outbox cannot be read.
    """
    scan, endpoints = earlier.scan, screen.endpoints
    possible = possible_hashes(database, scan, screen, known)
    if not (screen.false_positives or earlier.can_withhold(endpoints) or any(map(looks_into, endpoints))):
        yield from possible
        return
    left = {*possible}
    rows = (one for one in database.all_findings(scan.id) if one.hash in left) if left else iter(())
    while chunk := list(islice(rows, CHUNK)):
        if time.monotonic() > deadline:
            raise NotYetError("not all findings of the scan were read")
        events = [event_of_finding(one, scan, "", database.enrichment) for one in chunk]
        wanted = [screen.of(event)[0] for event in events]
        keys = [fingerprints.of_event(event) if ones else None for event, ones in zip(events, wanted)]
        for one, ones, withheld in zip(chunk, wanted, earlier.withheld(keys, wanted)):
            if len(withheld) < len(ones):
                yield one.hash
