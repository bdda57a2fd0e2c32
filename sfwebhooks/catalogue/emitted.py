"""The fields of `data` in events that other tools report with `sfwebhooks emit`: the keys that the guides' receivers
read.

Such a message has no scanner `version`. Another tool knows other things about a scan or a finding than SpiderFoot
does, so those types have two tables: the scanner's own in `scan` and `findings`, and the one in BY_OTHERS here. A tool
may use the keys of either guide. `emitted_event` adds those of the other one, since any receiver may get the event: no
key is missing that a receiver from either guide reads.
"""

from __future__ import annotations

from sfwebhooks.catalogue.fields import SEVERITIES, Field, vary
from sfwebhooks.catalogue.scan import COUNTS

REPORT = (
    Field("report_id", "string", "Its id.", "report-0042"),
    Field("title", "string", "Its title.", "Threats to acme.test, November"),
    Field("scan_id", "string", "The scan it is about.", "5F2A9C1E", when="it is about one"),
    Field("target", "string", "The target it is about.", "acme.test", when="it is about one target"),
    Field("report_url", "string", "URL of the report.", "https://reports.acme.test/0042", when="there is one"),
)
WORKSPACE = (
    Field("workspace_id", "string", "Its id.", "ws_7d20c1"),
    Field("name", "string", "Its name.", "Acme, all brands"),
    Field("user", "string", "Who created it.", "admin", when="known"),
)
MULTI_SCAN = (
    Field("scan_ids", "array", "The scanner's ids of the scans.", ["5F2A9C1E", "0B7D44A2"], of="string"),
    Field("targets", "array", "The targets.", ["acme.test", "acme.example"], of="string"),
    Field("duration", "integer", "Whole seconds from the first start to the last end.", 1502),
    *COUNTS[:2],
)
REMEDIATION = (
    Field("remediation_id", "string", "Its id.", "rem-017"),
    Field("finding_id", "string", "The finding being fixed.", "finding-c004"),
)
REMEDIATION_STARTED = (
    *REMEDIATION,
    Field("remediation_type", "string", "Kind of remediation, such as automated.", "automated"),
    Field("estimated_duration", "integer", "Expected duration in seconds.", 90, when="it can be estimated"),
)
REMEDIATION_COMPLETED = (
    *REMEDIATION,
    Field(
        "changes_applied",
        "array",
        "The changes.",
        [{"file": "deploy/bucket.tf", "action": "modified", "lines_changed": 2}],
        of="object",
        parts=(
            Field("file", "string", "The file."),
            Field("action", "string", "What was done to it, such as modified."),
            Field("lines_changed", "integer", "Number of changed lines."),
        ),
    ),
    Field("pr_created", "boolean", "Whether a pull request was created.", True),
    Field("pr_url", "string", "URL of the pull request.", "https://git.acme.test/infra/pull/31", when="there is one"),
)
PHASE = (
    Field("analysis_id", "string", "The analysis the phase belongs to.", "hep-009"),
    Field("phase", "string", "The phase.", "hypothesis_generation"),
    Field("phase_number", "integer", "Its number, from 1.", 2),
    Field("duration_seconds", "integer", "Duration in seconds.", 240),
    Field("hypotheses_generated", "integer", "Number of hypotheses.", 11, when="it generates any"),
    Field("next_phase", "string", "The next phase.", "experimentation", when="it was not the last"),
)

# Scans of other tools

KNOWN = "known"
#: remediation of a finding whose tool does not provide one
NO_REMEDIATION = {"available": False, "auto_fixable": False, "description": "None is known."}
ABOUT = (
    Field(
        "repository_url", "string", "The repository, or else the target.", "https://git.acme.test/shop/api", added=True
    ),
    Field("target", "string", "The target, or else the repository.", "https://git.acme.test/shop/api", added=True),
)
SCAN = (
    Field("scan_id", "string", "That tool's id of the scan.", "b2f6c0de"),
    *ABOUT,
    Field("target_type", "string", "Kind of target; empty: unknown.", "", added=True),
)
SCAN_STARTED = (
    *SCAN,
    Field("branch", "string", "The repository's branch.", "main", when="it is about a repository", nullable=True),
    Field("scan_type", "string", "Kind of scan, such as comprehensive.", "comprehensive", when=KNOWN),
    Field("triggered_by", "string", "What started it, such as scheduled.", "scheduled", when=KNOWN, nullable=True),
)
SCAN_COMPLETED = (
    *SCAN,
    Field("duration_seconds", "integer", "Duration in seconds; 0: unknown.", 611, added=True),
    Field(
        "findings_summary",
        "object",
        "Number of findings of each severity; or give events_found.",
        {"critical": 0, "high": 2, "medium": 5, "low": 9, "total": 16},
        added=True,
        instead="events_found",
        parts=(
            *(Field(label, "integer", f"Number of exactly {label} severity.") for label in SEVERITIES[:4]),
            Field("total", "integer", "Number of all findings."),
        ),
    ),
    Field(
        "report_url",
        "string",
        "URL of its report, if there is one.",
        "https://reports.acme.test/b2f6c0de",
        added=True,
        nullable=True,
    ),
    Field("status", "string", "FINISHED, unless the tool provides another status.", "FINISHED", added=True),
    Field("events_found", "integer", "The total of findings_summary.", 16, added=True),
    Field("high_risk_events", "integer", "Number of high or critical ones.", 2, added=True),
    Field("medium_risk_events", "integer", "Number of medium ones.", 5, added=True),
    Field("low_risk_events", "integer", "Number of low ones.", 9, added=True),
    Field("duration", "integer", "The same as duration_seconds.", 611, added=True),
    Field("modules_used", "array", "Modules of that tool; usually none.", [], of="string", added=True),
)
SCAN_FAILED = (
    *SCAN,
    Field("error_code", "string", "The error as a code.", "REPOSITORY_ACCESS_DENIED", when="there is one"),
    Field(
        "error_message",
        "string",
        "The error in words; or give error.",
        "The repository refused our key.",
        added=True,
        instead="error",
    ),
    Field("error", "string", "The same as error_message.", "The repository refused our key.", added=True),
    Field("retry_attempt", "integer", "Number of retries so far.", 3, when=KNOWN),
    Field("will_retry", "boolean", "Whether it will be retried.", False, when=KNOWN),
)
SCAN_ABORTED = (*SCAN, Field("reason", "string", "Why it was stopped.", "Stopped by admin.", when=KNOWN))

# Findings of other tools

FINDING = (
    Field("finding_id", "string", "That tool's id of the finding, or else the event's.", "finding-c004", added=True),
    Field("scan_id", "string", "That tool's id of the scan, or an empty text.", "b2f6c0de", added=True),
    *ABOUT,
    Field(
        "title",
        "string",
        "The finding in one line; or give data.",
        "Private key in the source code",
        added=True,
        instead="data",
    ),
    Field(
        "description",
        "string",
        "The finding in words.",
        "A TLS key is in the repository.",
        added=True,
    ),
    Field("severity", "string", "One of the type's severities; added if there is only one.", choices=SEVERITIES),
    Field("category", "string", "Kind of finding, or else event_type.", "Secrets", added=True),
    Field("file", "string", "The file it is in, or an empty text.", "deploy/tls.pem", added=True),
    Field("line", "integer", "The line in that file.", 1, added=True, nullable=True),
    Field("cvss_score", "number", "Its CVSS score, 0 to 10.", when="it has one", nullable=True),
    Field("affected_component", "string", "The component it is in.", when=KNOWN),
    Field(
        "remediation",
        "object",
        "How it is fixed.",
        {"available": True, "auto_fixable": False, "description": "Replace the key, and keep it elsewhere."},
        added=True,
        parts=(
            Field("available", "boolean", "Whether it can be fixed."),
            Field("auto_fixable", "boolean", "Whether it can be fixed automatically."),
            Field("description", "string", "What to do."),
        ),
    ),
    Field("event_type", "string", "The category, or else the title.", "Secrets", added=True),
    Field(
        "data",
        "string",
        "The whole finding.",
        "A TLS key is in the repository.",
        added=True,
    ),
)
CRITICAL, HIGH, MEDIUM, LOW, INFO = (vary(FINDING, severity=label) for label in SEVERITIES)

#: name of a type that SpiderFoot's own scans report too -> fields of `data` if another tool reports it
BY_OTHERS = {
    "scan_started": SCAN_STARTED,
    "scan_progress": SCAN,
    "scan_completed": SCAN_COMPLETED,
    "scan_failed": SCAN_FAILED,
    "scan_aborted": SCAN_ABORTED,
    "finding.critical": CRITICAL,
    "finding.high": HIGH,
    "high_risk_event": HIGH,
    "medium_risk_event": MEDIUM,
    "low_risk_event": LOW,
    "info_event": INFO,
    "vulnerability_found": HIGH,
    "malware_detected": HIGH,
}
