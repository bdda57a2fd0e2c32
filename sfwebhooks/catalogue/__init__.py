"""The catalogue of event types: every name that can be subscribed to, its dotted alias, meaning, sender, and the fields
of its `data`. The commands, `endpoints` and the documentation read it from here.

`scan`, `findings`, `correlations`, `surface` and `proof` hold the fields of a scan's events, `alerts` those of alerts
on sfwebhooks itself and on failing modules, `watch` those of the watch over scans, `emitted` those of other tools'
events.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from sfwebhooks.catalogue import alerts, correlations, emitted, findings, proof, scan, surface, watch
from sfwebhooks.catalogue.fields import Field, choose
from sfwebhooks.severity import Severity

#: version of the generic messages
SCHEMA = 1


class Origin(Enum):
    """Who sends events of a type; the value is its description."""

    #: sfwebhooks in a scan; if the scan's process died, the next process that checks reports its end
    SCAN = "the scan"
    #: sfwebhooks on itself, in any process that delivers
    ENGINE = "sfwebhooks; any process that delivers: a scan, drain, run"
    #: sfwebhooks on scans that were missed, run too long or found too little
    WATCH = "sfwebhooks run, and drain"
    #: other tools, for work that SpiderFoot itself does not do
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
    #: severity of the example, if it is not in its data nor the first one
    shown: Severity | None = None

    @property
    def by_others(self) -> tuple[Field, ...]:
        """Keys of `data` if another tool reports it with `sfwebhooks emit`; empty: not accepted from other tools."""
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
    EventType("scan_started", "scan.started", "A scan has started.", scan.STARTED, _INFO),
    EventType("scan_progress", "scan.progress", "Progress of a running scan.", scan.PROGRESS, _INFO),
    EventType("scan_completed", "scan.completed", "A scan has finished.", scan.COMPLETED, _INFO),
    EventType(
        "scan_failed",
        "scan.failed",
        "A scan ended because of an error, or its process died.",
        scan.FAILED,
        _MEDIUM,
    ),
    EventType("scan_aborted", "scan.aborted", "A scan was stopped by a user.", scan.ABORTED, _LOW),
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
    EventType("info_event", "finding.info", "An informational finding.", findings.INFO, _INFO),
    EventType(
        "vulnerability_found",
        "finding.vulnerability",
        "A vulnerability of the target was found.",
        findings.VULNERABILITY,
    ),
    EventType(
        "malware_detected",
        "finding.malware",
        "Malware or another threat is linked to the target.",
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
        "surface_changed",
        "surface.changed",
        "A scan has ended, and is compared with the one before: what is new, gone and changed.",
        surface.CHANGED,
        shown=Severity.HIGH,
    ),
    EventType(
        "scan_proof",
        "scan.proof",
        "A signed statement about all that an endpoint was sent of a scan; only for endpoints with proof.",
        proof.STATED,
        _INFO,
        Origin.ENGINE,
    ),
    EventType(
        "cti_report_generated",
        "cti_report.generated",
        "A threat intelligence report was generated.",
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
        "The webhooks themselves need attention.",
        alerts.ALERT,
        _INFO + _MEDIUM + _HIGH,
        Origin.ENGINE,
        Severity.HIGH,
    ),
    EventType(
        "resource_warning",
        "resource.warning",
        "The outbox is filling up or could not be written, or deliveries have been waiting for long.",
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
        "scan_missed",
        "scan.missed",
        "A scan that [webhooks-expect] expects has not started; or has, later.",
        watch.MISSED,
        _INFO + _HIGH,
        Origin.WATCH,
        Severity.HIGH,
    ),
    EventType(
        "scan_overdue",
        "scan.overdue",
        "A scan has been running three times as long as usual; or is over.",
        watch.OVERDUE,
        _INFO + _MEDIUM,
        Origin.WATCH,
        Severity.MEDIUM,
    ),
    EventType(
        "scan_thin",
        "scan.thin",
        "A scan found at least 80 % less than usual; or a later one found as much as usual.",
        watch.THIN,
        _INFO + _MEDIUM,
        Origin.WATCH,
        Severity.MEDIUM,
    ),
    EventType(
        "modules_degraded",
        "modules.degraded",
        "Modules failed in a scan that did not fail before; or they work again.",
        watch.DEGRADED,
        _INFO + _MEDIUM,
        Origin.WATCH,
        Severity.MEDIUM,
    ),
    EventType(
        "remediation.started",
        "remediation.started",
        "Remediation of a finding has started.",
        emitted.REMEDIATION_STARTED,
        sender=_EMIT,
    ),
    EventType(
        "remediation.completed",
        "remediation.completed",
        "A finding was fixed.",
        emitted.REMEDIATION_COMPLETED,
        sender=_EMIT,
    ),
    EventType(
        "hephaestus.phase_completed",
        "hephaestus.phase_completed",
        "A phase of a Hephaestus analysis is complete.",
        emitted.PHASE,
        sender=_EMIT,
    ),
)
#: names of the watch's types
WATCH_TYPES = frozenset(entry.name for entry in EVENT_TYPES if entry.sender is Origin.WATCH)
