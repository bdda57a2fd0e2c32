"""What `data` holds in the beginning and the end of a scan, key by key as `scans` builds it; and its progress."""

from __future__ import annotations

from dataclasses import replace

from sfwebhooks.catalogue.fields import SCAN, SEVERITIES, Field, only, vary

READABLE = "the scanner's database could be read"
KNOWN = "the scanner still has the scan"
STATUS = Field("status", "string", "The scan's status in the scanner's own words.", "FINISHED")
BEGINNING = Field("started", "string", "When the scan began (RFC 3339, UTC).", "2026-11-20T09:30:00.000Z")
MODULES = Field(
    "modules_used",
    "array",
    "The modules enabled for the scan, output modules left out.",
    ["sfp_dnsresolve", "sfp_portscan_tcp", "sfp_s3bucket"],
    of="string",
)
COUNTS = (
    Field("events_found", "integer", "How many events the scanner has.", 15),
    Field("high_risk_events", "integer", "How many of them are high or critical.", 1),
    Field("medium_risk_events", "integer", "How many are medium.", 2),
    Field("low_risk_events", "integer", "How many are low.", 4),
    Field("info_events", "integer", "How many are plain facts.", 8),
    Field(
        "events_by_severity",
        "object",
        "How many events there are of each severity.",
        {"critical": 0, "high": 1, "medium": 2, "low": 4, "info": 8},
        parts=tuple(Field(label, "integer", f"How many are exactly {label}.") for label in SEVERITIES),
    ),
    Field(
        "events_by_type",
        "object",
        "How many events there are of each of the scanner's types.",
        {"CLOUD_STORAGE_BUCKET_OPEN": 1, "EMAILADDR_COMPROMISED": 2, "INTERNET_NAME": 8, "TCP_PORT_OPEN": 4},
        of="integer",
    ),
)
SPAN = (
    STATUS,
    BEGINNING,
    Field("ended", "string", "When it ended, or was found dead (RFC 3339, UTC).", "2026-11-20T09:42:31.000Z"),
    Field("duration", "integer", "Whole seconds from beginning to end.", 751),
)
ERROR = Field("error", "string", "What went wrong.", "Could not update TLD list", when="the cause is known")
LATE = only(
    (
        Field("detected_late", "boolean", "True: told by another process."),
        Field("reason", "string", "Why another one told it: process_died, host_stopped or told_late."),
    ),
    "the scan's own process could not tell the end",
)

STARTED = (*SCAN, replace(STATUS, example="STARTED"), *only((BEGINNING, MODULES), READABLE))
COMPLETED = (*SCAN, *SPAN, *COUNTS, MODULES, *LATE)
ABORTED = vary(COMPLETED, status="ABORTED", ended="2026-11-20T09:36:40.000Z", duration=400)
FAILED = vary(
    (*SCAN, *only(SPAN, KNOWN), *COUNTS, MODULES, ERROR, *LATE),
    status="ERROR-FAILED",
    ended="2026-11-20T09:30:04.000Z",
    duration=4,
    events_found=0,
    high_risk_events=0,
    medium_risk_events=0,
    low_risk_events=0,
    info_events=0,
    events_by_severity=dict.fromkeys(SEVERITIES, 0),
    events_by_type={},
)
#: not sent yet
PROGRESS = (
    *SCAN,
    replace(STATUS, example="RUNNING"),
    BEGINNING,
    Field("number", "integer", "1 in the first such event of a scan, then 2, 3 ...", 3),
    Field("elapsed", "integer", "Whole seconds since the beginning.", 180),
    Field("events_per_second", "number", "How fast events came since the last such event.", 0.1),
    *COUNTS,
    MODULES,
)
