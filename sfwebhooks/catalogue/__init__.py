"""The catalogue of event types: every name that can be subscribed to, its dotted alias, what it means, who sends it,
and what stands in its `data`. The commands, `endpoints` and the documentation read it from here.

`scan`, `findings` and `correlations` hold the fields of what a scan sends, `alerts` those of what sfwebhooks reports
of itself and of failing modules, `emitted` those of what other tools send.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from sfwebhooks.catalogue import alerts, correlations, emitted, findings, scan
from sfwebhooks.catalogue.fields import Field, choose
from sfwebhooks.severity import Severity

#: version of the generic messages
SCHEMA = 1


class Origin(Enum):
    """Who sends events of a type; the value says it to people."""

    #: sfwebhooks in a scan; the end of one whose process died is told by the next process that looks
    SCAN = "the scan"
    #: sfwebhooks of itself, in whatever process sends
    ENGINE = "sfwebhooks; whatever process delivers: a scan, drain, run"
    #: other tools, for what SpiderFoot itself does not do
    EMIT = "sfwebhooks emit; other tools use it, or emit() in Python"


@dataclass(frozen=True)
class EventType:
    """A name that an endpoint can subscribe to."""

    name: str
    #: the same in the dotted notation of other products
    alias: str
    #: one sentence for people
    summary: str
    #: keys of `data`, in the order in which they are sent
    fields: tuple[Field, ...]
    #: the severities that it can have; empty: any
    severities: tuple[Severity, ...] = ()
    sender: Origin = Origin.SCAN

    @property
    def by_others(self) -> tuple[Field, ...]:
        """Keys of `data` where another tool tells it with `sfwebhooks emit`; empty: it cannot be told so."""
        if self.sender is Origin.EMIT:
            return self.fields
        labels = tuple(severity.label for severity in reversed(self.severities))
        return choose(emitted.BY_OTHERS.get(self.name, ()), severity=labels)

    @property
    def example(self) -> dict[str, Any]:
        """The `data` of an event of this type."""
        return {field.name: field.example for field in self.fields if field.example is not None}


def type_named(word: str) -> EventType | None:
    """Return the type of that name or alias."""
    return next((entry for entry in EVENT_TYPES if word in (entry.name, entry.alias)), None)


_INFO, _LOW, _MEDIUM, _HIGH, _CRITICAL = ((severity,) for severity in Severity)
_EMIT = Origin.EMIT

EVENT_TYPES = (
    EventType("scan_started", "scan.started", "A scan has begun.", scan.STARTED, _INFO),
    EventType("scan_progress", "scan.progress", "A running scan tells how far it is.", scan.PROGRESS, _INFO),
    EventType("scan_completed", "scan.completed", "A scan has finished.", scan.COMPLETED, _INFO),
    EventType(
        "scan_failed",
        "scan.failed",
        "A scan ended because of an error, or its process died.",
        scan.FAILED,
        _MEDIUM,
    ),
    EventType("scan_aborted", "scan.aborted", "A scan was stopped by somebody.", scan.ABORTED, _LOW),
    EventType(
        "finding.critical", "finding.critical", "A finding of exactly critical severity.", findings.CRITICAL, _CRITICAL
    ),
    EventType("finding.high", "finding.high", "A finding of exactly high severity.", findings.HIGH, _HIGH),
    EventType(
        "high_risk_event",
        "finding.high_risk",
        "A finding of high or critical severity.",
        findings.HIGH,
        _HIGH + _CRITICAL,
    ),
    EventType("medium_risk_event", "finding.medium", "A finding of medium severity.", findings.MEDIUM, _MEDIUM),
    EventType("low_risk_event", "finding.low", "A finding of low severity.", findings.LOW, _LOW),
    EventType("info_event", "finding.info", "A plain fact about the target.", findings.INFO, _INFO),
    EventType(
        "vulnerability_found",
        "finding.vulnerability",
        "A vulnerability of the target became known.",
        findings.VULNERABILITY,
    ),
    EventType(
        "malware_detected",
        "finding.malware",
        "Malware or another threat is linked with the target.",
        findings.MALWARE,
    ),
    EventType("correlation_found", "correlation.found", "A rule of the scanner matched.", correlations.FOUND),
    EventType(
        "correlation_completed",
        "correlation.completed",
        "A scan has finished, and its correlations are counted.",
        correlations.COMPLETED,
        _INFO,
    ),
    EventType(
        "cti_report_generated",
        "cti_report.generated",
        "A threat intelligence report was made.",
        emitted.REPORT,
        sender=_EMIT,
    ),
    EventType("workspace_created", "workspace.created", "A workspace was created.", emitted.WORKSPACE, sender=_EMIT),
    EventType(
        "multi_scan_completed",
        "multi_scan.completed",
        "A scan of several targets has finished.",
        emitted.MULTI_SCAN,
        sender=_EMIT,
    ),
    EventType(
        "system_alert",
        "system.alert",
        "Something about the webhooks themselves needs a look.",
        alerts.ALERT,
        _INFO + _MEDIUM + _HIGH,
        Origin.ENGINE,
    ),
    EventType(
        "resource_warning",
        "resource.warning",
        "The outbox fills or could not be written, or deliveries wait for long.",
        alerts.RESOURCE,
        _MEDIUM + _HIGH,
        Origin.ENGINE,
    ),
    EventType(
        "module_error",
        "module.error",
        "A module of the scanner failed, or logged an error: once for each exception.",
        alerts.MODULE_ERROR,
        _LOW,
    ),
    EventType(
        "remediation.started",
        "remediation.started",
        "The mending of a finding has begun.",
        emitted.REMEDIATION_STARTED,
        sender=_EMIT,
    ),
    EventType(
        "remediation.completed",
        "remediation.completed",
        "A finding was mended.",
        emitted.REMEDIATION_COMPLETED,
        sender=_EMIT,
    ),
    EventType(
        "hephaestus.phase_completed",
        "hephaestus.phase_completed",
        "A phase of a Hephaestus analysis is done.",
        emitted.PHASE,
        sender=_EMIT,
    ),
)
