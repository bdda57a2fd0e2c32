"""Sightings as people know them: fingerprints that a scan saw come in, the data that have them go out.

An outbox keeps no data of a sighting. They are read again where they still are: in the host's database, or among the
accepted events.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from operator import attrgetter

from sfwebhooks.errors import HostDatabaseError
from sfwebhooks.events import Scan
from sfwebhooks.fingerprints import of_correlation, of_event
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.sighting_list import Sighting
from sfwebhooks.scan.correlations import FOUND
from sfwebhooks.scan.findings import Finding, event_of_finding
from sfwebhooks.scan.host_address import current_database
from sfwebhooks.scan.host_database import HostDatabase

#: seconds for which each scan's findings are searched in the host's database, and events that are in the outbox
LOOK_SECONDS = 3.0
EVENTS_MAX = 50_000


def data_of(sightings: Iterable[Sighting], outbox: Outbox, target: str) -> dict[bytes, str]:
    """Return fingerprint -> data of some sightings of a target, without those whose data are no longer there, or not
    found in time.

    Raises:
        OutboxError: the outbox cannot be read.
    """
    left = {one.fingerprint: one for one in sightings}
    found: dict[bytes, str] = {}
    for scan_of in (attrgetter("last_scan"), attrgetter("first_scan")):
        for scan_id in dict.fromkeys(map(scan_of, left.values())):
            its = {key: one.kind for key, one in left.items() if scan_of(one) == scan_id}
            found.update(_data_in(scan_id, its, outbox, target))
        left = {key: one for key, one in left.items() if key not in found}
    return found


def _data_in(scan_id: str, left: dict[bytes, str], outbox: Outbox, target: str) -> Iterator[tuple[bytes, str]]:
    """Yield fingerprints that a scan saw, with their data; `left` has their types, and in the end those not found."""
    known = outbox.scans.scan(scan_id)
    scan = known[0] if known and known[0].target else Scan(scan_id, "", target, "")
    with suppress(HostDatabaseError):  # deleted, locked, or too slow
        path = scan.database or current_database(outbox.path.parent)
        yield from _taken(left, _from_host(HostDatabase(path, LOOK_SECONDS), scan, {*left.values()}))
    if left:
        yield from _taken(left, _from_outbox(outbox, scan_id))


def _taken(left: dict[bytes, str], found: Iterator[tuple[bytes | None, str]]) -> Iterator[tuple[bytes, str]]:
    """Yield the fingerprints that are left, with their data, until none is left."""
    for key, data in found:
        if key is not None and left.pop(key, None) is not None:
            yield key, data
        if not left:
            return


def _from_host(database: HostDatabase, scan: Scan, kinds: set[str]) -> Iterator[tuple[bytes | None, str]]:
    for kind, data, module in database.of_types(scan.id, kinds):
        event = event_of_finding(Finding(kind, data, module, "", 0.0, 0, 0, 0, ()), scan, "")
        yield of_event(event), str(event.data.get("data", ""))
    for one in (database.correlations(scan.id) or ()) if FOUND in kinds else ():
        yield of_correlation(one.rule_id, one.title), one.title


def _from_outbox(outbox: Outbox, scan_id: str) -> Iterator[tuple[bytes | None, str]]:
    for event in islice(outbox.scans.found(scan_id), EVENTS_MAX):
        yield of_event(event), str(event.data.get("data", event.data.get("title", "")))
