"""The messages that both guides show, key by key; only what is written for people has other words here."""

from __future__ import annotations

from typing import Any

SCAN = "550e8400-e29b-41d4-a716-446655440000"
REPOSITORY = "https://github.com/example/repo"

#: of the product's guide: a message, and the shorter one that it sends with curl to try a receiver
SPIDERFOOT: tuple[dict[str, Any], ...] = (
    {
        "event_type": "scan_completed",
        "timestamp": "2024-01-01T12:00:00Z",
        "source": "spiderfoot",
        "version": "5.0.3",
        "data": {
            "scan_id": "scan_12345",
            "target": "example.com",
            "target_type": "DOMAIN_NAME",
            "status": "FINISHED",
            "events_found": 1234,
            "high_risk_events": 5,
            "duration": 3600,
            "modules_used": ["sfp_dnsresolve", "sfp_ssl", "sfp_portscan_tcp"],
        },
        "metadata": {"workspace_id": "ws_abc123", "user": "admin", "scan_name": "Weekly"},
    },
    {
        "event_type": "scan_completed",
        "timestamp": "2024-01-01T12:00:00Z",
        "data": {"scan_id": "test_scan", "target": "example.com", "status": "FINISHED", "events_found": 100},
    },
)
#: of the security-audit guide
SECURITY_AUDIT: tuple[dict[str, Any], ...] = (
    {
        "event_type": "scan.started",
        "timestamp": "2024-01-15T10:30:00Z",
        "data": {
            "scan_id": SCAN,
            "repository_url": REPOSITORY,
            "branch": "main",
            "scan_type": "comprehensive",
            "triggered_by": "scheduled",
        },
    },
    {
        "event_type": "scan.completed",
        "timestamp": "2024-01-15T10:45:23Z",
        "data": {
            "scan_id": SCAN,
            "repository_url": REPOSITORY,
            "duration_seconds": 923,
            "findings_summary": {"critical": 0, "high": 3, "medium": 7, "low": 15, "total": 25},
            "report_url": "https://security-reports.s3.amazonaws.com/scans/550e8400.pdf",
        },
    },
    {
        "event_type": "scan.failed",
        "timestamp": "2024-01-15T10:35:00Z",
        "data": {
            "scan_id": SCAN,
            "error_code": "REPOSITORY_ACCESS_DENIED",
            "error_message": "The repository refused our key.",
            "retry_attempt": 3,
            "will_retry": False,
        },
    },
    {
        "event_type": "finding.critical",
        "timestamp": "2024-01-15T10:40:15Z",
        "data": {
            "finding_id": "finding-c001",
            "scan_id": SCAN,
            "title": "A key in the source",
            "description": "A key of a cloud account is in the source.",
            "severity": "critical",
            "category": "Secrets",
            "file": "src/config.js",
            "line": 15,
            "remediation": {"available": True, "auto_fixable": True, "description": "Take it out."},
        },
    },
    {
        "event_type": "finding.high",
        "timestamp": "2024-01-15T10:41:00Z",
        "data": {
            "finding_id": "finding-h001",
            "scan_id": SCAN,
            "title": "SQL from a form",
            "severity": "high",
            "cvss_score": 8.5,
            "affected_component": "database query builder",
        },
    },
    {
        "event_type": "remediation.started",
        "timestamp": "2024-01-15T11:00:00Z",
        "data": {
            "remediation_id": "rem-001",
            "finding_id": "finding-c001",
            "remediation_type": "automated",
            "estimated_duration": 120,
        },
    },
    {
        "event_type": "remediation.completed",
        "timestamp": "2024-01-15T11:02:30Z",
        "data": {
            "remediation_id": "rem-001",
            "finding_id": "finding-c001",
            "changes_applied": [{"file": "src/config.js", "action": "modified", "lines_changed": 3}],
            "pr_created": True,
            "pr_url": "https://github.com/example/repo/pull/456",
        },
    },
    {
        "event_type": "hephaestus.phase_completed",
        "timestamp": "2024-01-15T12:00:00Z",
        "data": {
            "analysis_id": "hep-001",
            "phase": "hypothesis_generation",
            "phase_number": 2,
            "duration_seconds": 180,
            "hypotheses_generated": 15,
            "next_phase": "experimentation",
        },
    },
)
EXAMPLES = (*SPIDERFOOT, *SECURITY_AUDIT)
