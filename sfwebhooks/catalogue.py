"""The catalogue of event types: every name that can be subscribed to, its dotted alias, and what it means."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EventType:
    """A name that an endpoint can subscribe to."""

    name: str
    #: the same in the dotted notation of other products
    alias: str
    #: one sentence for people
    summary: str


EVENT_TYPES = (
    EventType("scan_started", "scan.started", "A scan has begun."),
    EventType("scan_progress", "scan.progress", "A running scan tells how far it is."),
    EventType("scan_completed", "scan.completed", "A scan has finished."),
    EventType("scan_failed", "scan.failed", "A scan ended because of an error, or its process died."),
    EventType("scan_aborted", "scan.aborted", "A scan was stopped by somebody."),
    EventType("finding.critical", "finding.critical", "A finding of exactly critical severity."),
    EventType("finding.high", "finding.high", "A finding of exactly high severity."),
    EventType("high_risk_event", "finding.high_risk", "A finding of high or critical severity."),
    EventType("medium_risk_event", "finding.medium", "A finding of medium severity."),
    EventType("low_risk_event", "finding.low", "A finding of low severity."),
    EventType("info_event", "finding.info", "A plain fact about the target."),
    EventType("vulnerability_found", "finding.vulnerability", "A vulnerability of the target became known."),
    EventType("malware_detected", "finding.malware", "Malware or another threat is linked with the target."),
    EventType("correlation_found", "correlation.found", "A correlation rule matched."),
    EventType("correlation_completed", "correlation.completed", "All correlation rules have run."),
    EventType("cti_report_generated", "cti_report.generated", "A threat intelligence report was made."),
    EventType("workspace_created", "workspace.created", "A workspace was created."),
    EventType("multi_scan_completed", "multi_scan.completed", "A scan of several targets has finished."),
    EventType("system_alert", "system.alert", "Something about the webhooks themselves needs a look."),
    EventType("resource_warning", "resource.warning", "Disk or queue are running full."),
    EventType("module_error", "module.error", "A module of the scanner failed."),
)
