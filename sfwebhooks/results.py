"""What the host's database has of a scan, as the events that tell it: read after the scan by `recovery`, which tells
what the scan's own process could not or never sees, and by `backfill`."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator

from sfwebhooks import correlations, findings, pipeline
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Scan, WebhookEvent, finding_id
from sfwebhooks.hostdb import HostDatabase


def untold(database: HostDatabase, scan: Scan, endpoints: tuple[Endpoint, ...], known: Container[str]) -> Iterator[str]:
    """Yield the hashes of the findings that some endpoint wants, in the order in which they were made.

    Args:
        known: ids of events that are left out.
    """
    for event_hash, event_type, risk in database.index(scan.id):
        if finding_id(scan.id, event_hash) not in known and findings.is_wanted(event_type, risk, endpoints):
            yield event_hash


def found(database: HostDatabase, scan: Scan, hashes: Iterable[str]) -> Iterator[WebhookEvent]:
    """Yield the events that tell some findings."""
    words = database.descriptions()
    for finding in database.findings(scan.id, hashes):
        yield findings.to_event(finding, scan, words.get(finding.type, finding.type))


def correlated(database: HostDatabase, scan: Scan, endpoints: tuple[Endpoint, ...]) -> Iterator[WebhookEvent]:
    """Yield an event for each correlation that some endpoint wants, then the one that counts all of them.

    The host looks for correlations once a scan has finished, never after another end.
    """
    row, rows = database.scan(scan.id), database.correlations(scan.id)
    if row is None or row.status != "FINISHED" or rows is None:
        return
    kept = correlations.distinct(rows)
    wanted = [one for one in kept if pipeline.wanted_by(correlations.to_event(one, (), scan, row.ended), endpoints)]
    for correlation, evidence in zip(wanted, database.evidence(scan.id, wanted)):
        yield correlations.to_event(correlation, evidence, scan, row.ended)
    yield correlations.completed(scan, kept, row.ended)
