"""What `data` holds in what other tools tell with `sfwebhooks emit`: the keys that the guides' receivers read.

Such a message has no `version` of the scanner. Of a scan or a finding another tool knows other things than SpiderFoot
does, so those types have two tables: the scanner's own in `scan` and `findings`, and the one of BY_OTHERS here. A
tool may use the words of either guide. `emission` adds those of the other one, since any receiver may get the event:
no key is missing that one of the guides' receivers reads.
"""

from __future__ import annotations

from sfwebhooks.catalogue.fields import SEVERITIES, Field, vary
from sfwebhooks.catalogue.scan import COUNTS

REPORT = (
    Field("report_id", "string", "Its id.", "report-0042"),
    Field("title", "string", "Its title.", "Threats to acme.test, November"),
    Field("scan_id", "string", "The scan that it is about.", "5F2A9C1E", when="it is about one"),
    Field("target", "string", "What it is about.", "acme.test", when="it is about one target"),
    Field("report_url", "string", "Where it can be read.", "https://reports.acme.test/0042", when="it can be read"),
)
WORKSPACE = (
    Field("workspace_id", "string", "Its id.", "ws_7d20c1"),
    Field("name", "string", "Its name.", "Acme, all brands"),
    Field("user", "string", "Who made it.", "admin", when="it is known"),
)
MULTI_SCAN = (
    Field("scan_ids", "array", "The scanner's ids of the scans.", ["5F2A9C1E", "0B7D44A2"], of="string"),
    Field("targets", "array", "What was scanned.", ["acme.test", "acme.example"], of="string"),
    Field("duration", "integer", "Whole seconds from the first beginning to the last end.", 1502),
    *COUNTS[:2],
)
REMEDIATION = (
    Field("remediation_id", "string", "Its id.", "rem-017"),
    Field("finding_id", "string", "The finding that is mended.", "finding-c004"),
)
REMEDIATION_STARTED = (
    *REMEDIATION,
    Field("remediation_type", "string", "How it is done, such as automated.", "automated"),
    Field("estimated_duration", "integer", "Seconds that it will take.", 90, when="it can be told"),
)
REMEDIATION_COMPLETED = (
    *REMEDIATION,
    Field(
        "changes_applied",
        "array",
        "What was changed.",
        [{"file": "deploy/bucket.tf", "action": "modified", "lines_changed": 2}],
        of="object",
        parts=(
            Field("file", "string", "The file."),
            Field("action", "string", "What was done to it, such as modified."),
            Field("lines_changed", "integer", "How many lines."),
        ),
    ),
    Field("pr_created", "boolean", "Whether a pull request was made.", True),
    Field("pr_url", "string", "Where it is.", "https://git.acme.test/infra/pull/31", when="there is one"),
)
PHASE = (
    Field("analysis_id", "string", "The analysis that the phase belongs to.", "hep-009"),
    Field("phase", "string", "The phase.", "hypothesis_generation"),
    Field("phase_number", "integer", "Which one it is, from 1.", 2),
    Field("duration_seconds", "integer", "How long it took.", 240),
    Field("hypotheses_generated", "integer", "How many hypotheses it made.", 11, when="it makes some"),
    Field("next_phase", "string", "What comes next.", "experimentation", when="it was not the last"),
)

# Scans of other tools

KNOWN = "it is known"
#: what can be done about a finding of which nobody says it
NO_REMEDIATION = {"available": False, "auto_fixable": False, "description": "None is known."}
ABOUT = (
    Field(
        "repository_url", "string", "The repository, or else the target.", "https://git.acme.test/shop/api", added=True
    ),
    Field(
        "target", "string", "What it is about, or else the repository.", "https://git.acme.test/shop/api", added=True
    ),
)
SCAN = (
    Field("scan_id", "string", "That tool's id of the scan.", "b2f6c0de"),
    *ABOUT,
    Field("target_type", "string", "What kind of target it is; empty: not known.", "", added=True),
)
SCAN_STARTED = (
    *SCAN,
    Field("branch", "string", "The repository's branch.", "main", when="it is about a repository", nullable=True),
    Field("scan_type", "string", "How it is scanned, such as comprehensive.", "comprehensive", when=KNOWN),
    Field("triggered_by", "string", "What began it, such as scheduled.", "scheduled", when=KNOWN, nullable=True),
)
SCAN_COMPLETED = (
    *SCAN,
    Field("duration_seconds", "integer", "How long it took; 0: not known.", 611, added=True),
    Field(
        "findings_summary",
        "object",
        "How many findings there are of each severity; or give events_found.",
        {"critical": 0, "high": 2, "medium": 5, "low": 9, "total": 16},
        added=True,
        instead="events_found",
        parts=(
            *(Field(label, "integer", f"How many are exactly {label}.") for label in SEVERITIES[:4]),
            Field("total", "integer", "How many there are."),
        ),
    ),
    Field(
        "report_url",
        "string",
        "Where its report is, if there is one.",
        "https://reports.acme.test/b2f6c0de",
        added=True,
        nullable=True,
    ),
    Field("status", "string", "FINISHED, unless the tool has another word.", "FINISHED", added=True),
    Field("events_found", "integer", "The total of findings_summary.", 16, added=True),
    Field("high_risk_events", "integer", "How many of them are high or critical.", 2, added=True),
    Field("medium_risk_events", "integer", "How many are medium.", 5, added=True),
    Field("low_risk_events", "integer", "How many are low.", 9, added=True),
    Field("duration", "integer", "The same as duration_seconds.", 611, added=True),
    Field("modules_used", "array", "Modules of that tool; mostly none.", [], of="string", added=True),
)
SCAN_FAILED = (
    *SCAN,
    Field("error_code", "string", "What went wrong, for programs.", "REPOSITORY_ACCESS_DENIED", when="there is one"),
    Field(
        "error_message",
        "string",
        "What went wrong, for people; or give error.",
        "The repository refused our key.",
        added=True,
        instead="error",
    ),
    Field("error", "string", "The same as error_message.", "The repository refused our key.", added=True),
    Field("retry_attempt", "integer", "How often it was tried again so far.", 3, when=KNOWN),
    Field("will_retry", "boolean", "Whether it will be tried again.", False, when=KNOWN),
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
        "What was found, in a line; or give data.",
        "Private key in the source code",
        added=True,
        instead="data",
    ),
    Field(
        "description",
        "string",
        "What was found, for people.",
        "A TLS key is in the repository.",
        added=True,
    ),
    Field("severity", "string", "One that the type can have; added if it is the only one.", choices=SEVERITIES),
    Field("category", "string", "What kind of finding it is, or else event_type.", "Secrets", added=True),
    Field("file", "string", "The file that it is in, or an empty text.", "deploy/tls.pem", added=True),
    Field("line", "integer", "The line of that file.", 1, added=True, nullable=True),
    Field("cvss_score", "number", "Its CVSS score, 0 to 10.", when="it has one", nullable=True),
    Field("affected_component", "string", "The component that it is in.", when=KNOWN),
    Field(
        "remediation",
        "object",
        "How it is mended.",
        {"available": True, "auto_fixable": False, "description": "Replace the key, and keep it elsewhere."},
        added=True,
        parts=(
            Field("available", "boolean", "Whether it can be mended."),
            Field("auto_fixable", "boolean", "Whether that can be done without people."),
            Field("description", "string", "What is to be done."),
        ),
    ),
    Field("event_type", "string", "The category, or else the title.", "Secrets", added=True),
    Field(
        "data",
        "string",
        "What was found, in whole.",
        "A TLS key is in the repository.",
        added=True,
    ),
)
CRITICAL, HIGH, MEDIUM, LOW, INFO = (vary(FINDING, severity=label) for label in SEVERITIES)

#: name of a type that SpiderFoot's own scans tell too -> what stands in `data` where another tool tells it
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
