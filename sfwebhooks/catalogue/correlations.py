"""The fields of `data` in correlations, as the module `scan/correlations` builds them."""

from __future__ import annotations

from sfwebhooks.catalogue.fields import SCAN, SEVERITIES, Field
from sfwebhooks.catalogue.findings import BUCKET, SOURCE

FOUND = (
    *SCAN,
    Field(
        "title",
        "string",
        "The correlation in words, the first 1024 characters.",
        "Cloud storage bucket found open: https://acme-backup.s3.amazonaws.com",
    ),
    Field("severity", "string", "high, medium, low or info, from the rule's risk.", "high"),
    Field("rule_id", "string", "The scanner's id of the rule.", "cloud_bucket_open"),
    Field("rule_name", "string", "The rule's name.", "Cloud storage bucket open to the Internet"),
    Field("rule_risk", "string", "The rule's risk in the scanner's words.", "HIGH"),
    Field("description", "string", "What the rule looks for, and why.", "A cloud bucket can be listed by anybody."),
    Field("event_count", "integer", "Number of events it is based on, as the scanner counts them.", 1),
    Field("evidence", "array", "Those events, at most 32.", [BUCKET], of="object", parts=SOURCE),
)
COMPLETED = (
    *SCAN,
    Field("correlations_found", "integer", "Number of correlations.", 1),
    Field(
        "correlations_by_severity",
        "object",
        "Number of correlations of each severity.",
        {**dict.fromkeys(SEVERITIES, 0), "high": 1},
        parts=tuple(Field(label, "integer", f"Number of exactly {label} severity.") for label in SEVERITIES),
    ),
)
