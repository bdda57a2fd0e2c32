"""A past scan from the host's database: its rows come in, their events and the scan's result go out; the result also
counts what the outbox accepted. Used by `recovery`, for what the scan's own process missed or never sees, and by
`backfill`."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from sfwebhooks.events import Scan, WebhookEvent, finding_id
from sfwebhooks.outbox.accepted import AcceptedScan
from sfwebhooks.outbox.finding_counts import TOP_MAX, FindingCounts, TopFinding, worst_findings
from sfwebhooks.scan import correlations, findings
from sfwebhooks.scan.host_database import HostDatabase
from sfwebhooks.scan.host_log import modules_failed
from sfwebhooks.scan.host_rows import FINISHED, ScanRow
from sfwebhooks.screening import Screen


@dataclass(frozen=True)
class ScanResult:
    """The result of a scan."""

    #: the host's row; None: it was deleted, or the current database does not have it
    row: ScanRow | None
    counts: FindingCounts
    top: list[TopFinding]
    #: the host's word for a risk -> number of correlations with it
    correlations: dict[str, int]
    modules_used: list[str]
    modules_failed: list[str]
    #: why it failed, in the host's words; empty if the host gives no reason
    failure: str
    #: timestamp of the start as it was reported; empty if not known
    begun: str
    #: whether any of its findings were accepted
    has_findings: bool


def result_of(scan: Scan, database: HostDatabase, accepted: AcceptedScan) -> ScanResult:
    """Return the result of a scan; it counts the findings of the host's database or the accepted ones, whichever are
    more.

    Raises:
        HostDatabaseError: the host's database cannot be read now; its content must not be guessed.
    """
    return ScanResult(
        row=database.scan(scan.id),
        counts=database.counts(scan.id).fuller(accepted.counts),
        top=worst_findings([*accepted.top, *database.worst(scan.id, TOP_MAX)]),
        correlations=database.correlations_by_risk(scan.id),
        modules_used=database.modules(scan.id) or accepted.begun.get("modules_used", []),
        modules_failed=sorted(modules_failed(scan.id, database) | accepted.modules_failed),
        failure=database.last_failure(scan.id),
        begun=accepted.begun.get("started", ""),
        has_findings=accepted.counts.total > 0,
    )


def possible_hashes(database: HostDatabase, scan: Scan, screen: Screen, known: Container[str]) -> Iterator[str]:
    """Yield the hashes of the findings that an endpoint wants by type and severity, in order of creation.

    Args:
        known: ids of events to skip.
    """
    endpoints, severities = screen.at(scan.target), database.enrichment.severities

    @lru_cache(maxsize=1024)
    def is_wanted(event_type: str, risk: int, exploited: int) -> bool:
        return findings.is_wanted(event_type, risk, endpoints, bool(exploited), severities)

    for event_hash, *kind in database.index(scan.id):
        if is_wanted(*kind) and finding_id(scan.id, event_hash) not in known:
            yield event_hash


def found(database: HostDatabase, scan: Scan, hashes: Iterable[str]) -> Iterator[WebhookEvent]:
    """Yield the events for the findings with these hashes."""
    words = database.descriptions()
    for finding in database.findings(scan.id, hashes):
        yield findings.event_of_finding(finding, scan, words.get(finding.type, finding.type), database.enrichment)


def correlated(database: HostDatabase, scan: Scan, screen: Screen) -> Iterator[WebhookEvent]:
    """Yield an event for each correlation that an endpoint wants, then the one that counts all of them.

    The host looks for correlations only after a scan that finished, not after one that failed or was aborted.
    """
    row, rows = database.scan(scan.id), database.correlations(scan.id)
    if row is None or row.status != FINISHED or rows is None:
        return
    kept = correlations.distinct(rows)
    wanted = [one for one in kept if screen.of(correlations.event_of_correlation(one, (), scan, row.ended))[0]]
    for correlation, evidence in zip(wanted, database.evidence(scan.id, wanted)):
        yield correlations.event_of_correlation(correlation, evidence, scan, row.ended)
    yield correlations.completed(scan, kept, row.ended)
