"""What `data` will hold in the types that nothing sends yet: the guides' facts, and what their names ask for."""

from __future__ import annotations

from sfwebhooks.catalogue.fields import SCAN, SEVERITIES, Field
from sfwebhooks.catalogue.found import BUCKET, SOURCE
from sfwebhooks.catalogue.lifecycle import COUNTS

# Correlations

CORRELATION = (
    *SCAN,
    Field("title", "string", "What the rule found, in words.", "Open cloud bucket: acme-backup.s3.amazonaws.com"),
    Field("severity", "string", "critical, high, medium, low or info, from the rule's risk.", "high"),
    Field("rule_id", "string", "The scanner's id of the rule.", "cloud_bucket_open"),
    Field("rule_name", "string", "The rule's name.", "Open cloud bucket"),
    Field("rule_risk", "string", "The rule's risk in the scanner's words.", "HIGH"),
    Field("description", "string", "What the rule looks for, and why.", "A cloud bucket can be listed by anybody."),
    Field("event_count", "integer", "How many events it rests on.", 1),
    Field("evidence", "array", "Those events.", [{**BUCKET, "hash": "9c" * 32}], of="object", parts=SOURCE),
)
CORRELATIONS = (
    *SCAN,
    Field("correlations_found", "integer", "How many correlations the rules found.", 1),
    Field(
        "correlations_by_severity",
        "object",
        "How many of them each severity has.",
        {**dict.fromkeys(SEVERITIES, 0), "high": 1},
        parts=tuple(Field(label, "integer", f"How many are exactly {label}.") for label in SEVERITIES),
    ),
)

# Trouble

ALERT = (
    Field("alert", "string", "What it is about, such as endpoint_failing or endpoint_healthy.", "endpoint_failing"),
    Field("endpoint", "string", "The endpoint.", "siem_system", when="it is about one"),
    Field("message", "string", "The same for people.", "siem_system does not answer: 5 attempts failed (timeout)."),
)
RESOURCE = (
    Field("resource", "string", "disk, outbox_size or queue_age.", "outbox_size"),
    Field("value", "number", "How much it is.", 360),
    Field("limit", "number", "How much it may be.", 512),
    Field("unit", "string", "MB or s.", "MB"),
    Field("message", "string", "The same for people.", "The outbox is 70 % full: plain facts are refused from now on."),
)
MODULE_ERROR = (
    *SCAN,
    Field("module", "string", "The module that failed.", "sfp_shodan"),
    Field("exception", "string", "The exception's type.", "KeyError", when="there was one"),
    Field("error", "string", "What the scanner logged.", "Exception ('data') in module sfp_shodan."),
)

# From outside the scanner

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
