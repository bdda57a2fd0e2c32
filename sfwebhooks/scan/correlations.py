"""A Correlation is what one of the scanner's rules found in a whole scan, as the host's database has it after the
scan; `to_event` makes it the WebhookEvent that travels, `completed` counts them. No module of the host sees any."""

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
#: events that are told of those that a correlation rests on
EVIDENCE_MAX = 32


@dataclass(frozen=True)
class Correlation:
    """What a rule found."""

    #: the host's id of it, another one each time that the rules are run
    host_id: str
    #: what was found, in words
    title: str
    rule_id: str
    rule_name: str
    #: the rule's risk in the host's words: HIGH, MEDIUM, LOW, INFO
    rule_risk: str
    #: what the rule looks for, and why
    description: str
    #: how many events it rests on, as the host counts them
    event_count: int

    @property
    def severity(self) -> Severity:
        """How urgent it is."""
        return severity_of_correlation(self.rule_risk)


def distinct(found: Iterable[Correlation]) -> list[Correlation]:
    """Return each correlation once: of several of a rule with the same title the one that rests on the most events.

    The rules can be run again, which leaves everything a second time; and a rule can give two groups of events the
    same title.
    """
    kept: dict[tuple[str, str], Correlation] = {}
    for correlation in found:
        key = (correlation.rule_id, correlation.title)
        if key not in kept or correlation.event_count > kept[key].event_count:
            kept[key] = correlation
    return list(kept.values())


def event_of_correlation(correlation: Correlation, evidence: Sequence[Source], scan: Scan, at: float) -> WebhookEvent:
    """Return the event that tells a correlation.

    Args:
        evidence: the events that it rests on, the first EVIDENCE_MAX of them.
        at: epoch seconds at which the scan ended; the host notes no other time.
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
