"""A Correlation is a result of one of the scanner's rules over a whole scan, which only the host's database has, after
the scan; `event_of_correlation` turns it into the WebhookEvent that is sent, `completed` counts them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sfwebhooks.events import Scan, WebhookEvent, correlation_id, lifecycle_id
from sfwebhooks.scan.findings import SOURCE_MAX, Source, source_data
from sfwebhooks.severity import Severity, severity_of_correlation

FOUND = "correlation_found"
COMPLETED = "correlation_completed"
#: events that are sent as the evidence of a correlation
EVIDENCE_MAX = 32


@dataclass(frozen=True)
class Correlation:
    """A match of a rule."""

    #: the host's id of it, a new one on each run of the rules
    host_id: str
    #: the match in words
    title: str
    rule_id: str
    rule_name: str
    #: the rule's risk in the host's words: HIGH, MEDIUM, LOW, INFO
    rule_risk: str
    #: what the rule looks for and why
    description: str
    #: number of events that it rests on, as the host counts them
    event_count: int

    @property
    def severity(self) -> Severity:
        """How urgent it is."""
        return severity_of_correlation(self.rule_risk)


def distinct(found: Iterable[Correlation]) -> list[Correlation]:
    """Return each correlation once: if a rule has several with the same title, the one that rests on the most events.

    Running the rules again stores every correlation a second time, and a rule can give two groups of events the same
    title.
    """
    kept: dict[tuple[str, str], Correlation] = {}
    for correlation in found:
        key = (correlation.rule_id, correlation.title)
        if key not in kept or correlation.event_count > kept[key].event_count:
            kept[key] = correlation
    return list(kept.values())


def event_of_correlation(correlation: Correlation, evidence: Sequence[Source], scan: Scan, at: float) -> WebhookEvent:
    """Return the event for a correlation.

    Args:
        evidence: the first EVIDENCE_MAX events that it rests on.
        at: epoch seconds at which the scan ended; the host records no other time.
    """
    data = {
        **scan.about,
        "title": correlation.title[:SOURCE_MAX],
        "severity": correlation.severity.label,
        "rule_id": correlation.rule_id,
        "rule_name": correlation.rule_name,
        "rule_risk": correlation.rule_risk,
        "description": correlation.description,
        "event_count": correlation.event_count,
        "evidence": [source_data(event, scan) for event in evidence],
    }
    event_id = correlation_id(scan.id, correlation.rule_id, correlation.title)
    return WebhookEvent(event_id, FOUND, correlation.severity, at, data, scan)


def completed(scan: Scan, found: Sequence[Correlation], at: float) -> WebhookEvent:
    """Return the event that counts a scan's correlations."""
    counts = Counter(correlation.severity for correlation in found)
    data: dict[str, Any] = {
        **scan.about,
        "correlations_found": len(found),
        "correlations_by_severity": {severity.label: counts[severity] for severity in sorted(Severity, reverse=True)},
    }
    return WebhookEvent(lifecycle_id(scan.id, "correlations"), COMPLETED, Severity.INFO, at, data, scan)
