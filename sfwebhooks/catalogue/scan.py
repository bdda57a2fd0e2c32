"""The fields of `data` in the events of a scan's life: its start and end as `scan` builds them, with the receipt from
`outbox/outbox` and the link from `formats`; and its progress from `scan/progress`."""

from __future__ import annotations

from dataclasses import replace

from sfwebhooks.catalogue.fields import SCAN, SEVERITIES, Field, only, vary

KNOWN = "the scanner still has the scan"
STATUS = Field("status", "string", "The scan's status in the scanner's own words.", "FINISHED")
BEGINNING = Field("started", "string", "When the scan started (RFC 3339, UTC).", "2026-11-20T09:30:00.000Z")
MODULES = Field(
    "modules_used",
    "array",
    "The modules enabled for the scan, except output modules.",
    ["sfp_dnsresolve", "sfp_portscan_tcp", "sfp_s3bucket"],
    of="string",
)
COUNTS = (
    Field("events_found", "integer", "Number of events in the scanner or accepted, whichever is higher.", 12),
    Field("high_risk_events", "integer", "Number of high or critical ones.", 1),
    Field("medium_risk_events", "integer", "Number of medium ones.", 2),
    Field("low_risk_events", "integer", "Number of low ones.", 1),
    Field("info_events", "integer", "Number of informational ones.", 8),
    Field(
        "events_by_severity",
        "object",
        "Number of events of each severity.",
        {"critical": 0, "high": 1, "medium": 2, "low": 1, "info": 8},
        parts=tuple(Field(label, "integer", f"Number of exactly {label} severity.") for label in SEVERITIES),
    ),
    Field(
        "events_by_type",
        "object",
        "Number of events of each scanner type.",
        {"CLOUD_STORAGE_BUCKET_OPEN": 1, "EMAILADDR_COMPROMISED": 2, "INTERNET_NAME": 8, "TCP_PORT_OPEN": 1},
        of="integer",
    ),
)
SPAN = (
    STATUS,
    BEGINNING,
    Field("ended", "string", "When it ended, or was found dead (RFC 3339, UTC).", "2026-11-20T09:42:31.000Z"),
    Field("duration", "integer", "Whole seconds from start to end.", 751),
)
ERROR = Field("error", "string", "The error.", "Could not update TLD list", when="the cause is known")
LATE = only(
    (
        Field("detected_late", "boolean", "True: another process reported the end."),
        Field("reason", "string", "Why another process reported it: process_died, host_stopped or reported_late."),
    ),
    "the scan's own process could not report the end",
)

TOP = (
    Field(
        "top_findings",
        "array",
        "The most severe findings, the newest first within a severity; at most 10, without informational ones.",
        [
            {
                "event_type": "CLOUD_STORAGE_BUCKET_OPEN",
                "data": "acme-backup.s3.amazonaws.com: 3 files found.",
                "severity": "high",
                "module": "sfp_s3bucket",
                "hash": "9c" * 32,
            },
            {
                "event_type": "EMAILADDR_COMPROMISED",
                "data": "john.doe@acme.test [Example Forum]",
                "severity": "medium",
                "module": "sfp_haveibeenpwned",
                "hash": "5e" * 32,
            },
            {
                "event_type": "EMAILADDR_COMPROMISED",
                "data": "jane.roe@acme.test [Example Forum]",
                "severity": "medium",
                "module": "sfp_haveibeenpwned",
                "hash": "a7" * 32,
            },
            {
                "event_type": "TCP_PORT_OPEN",
                "data": "203.0.113.10:22",
                "severity": "low",
                "module": "sfp_portscan_tcp",
                "hash": "18" * 32,
            },
        ],
        of="object",
        parts=(
            Field("event_type", "string", "The scanner's type of the finding."),
            Field("data", "string", "Its data in one line of at most 200 characters; secrets are masked."),
            Field("severity", "string", "critical, high, medium or low."),
            Field("module", "string", "The module that found it."),
            Field("hash", "string", "The scanner's id of it, as in the finding itself."),
        ),
    ),
    Field(
        "correlations_by_risk",
        "object",
        "Number of correlations of each risk, in the scanner's words.",
        {"HIGH": 1, "MEDIUM": 0, "LOW": 2, "INFO": 0},
        parts=tuple(Field(risk, "integer", f"Number with risk {risk}.") for risk in ("HIGH", "MEDIUM", "LOW", "INFO")),
    ),
)
BROKEN = Field(
    "modules_failed",
    "array",
    "The modules with a logged or reported error, as in module_error.",
    ["sfp_shodan"],
    of="string",
)
#: the series of the examples' numbers
SERIES = "8xjj1yakp69gy1mv"
RECEIPT = Field(
    "receipt",
    "object",
    "How many events of the scan were sent to this endpoint, and how many were not.",
    {
        "series": SERIES,
        "first_sequence": 1,
        "last_sequence": 5,
        "earlier_series": {},
        "accepted": 5,
        "withheld": 1,
        "withheld_by_reason": {"outbox_full": 1},
        "not_wanted": 8,
        "dead": 0,
    },
    when="the endpoint existed when the end was reported",
    parts=(
        Field("series", "string", "The series of this message's number."),
        Field("first_sequence", "integer", "Always 1."),
        Field("last_sequence", "integer", "The number of this message, the last one of its series."),
        Field("earlier_series", "object", "The last number in each other series of the scan's messages.", of="integer"),
        Field("accepted", "integer", "Number of messages accepted for it, this one included."),
        Field("withheld", "integer", "Number of events that it subscribes to but that are not sent."),
        Field(
            "withheld_by_reason", "object", "The same by reason, such as severity, known or outbox_full.", of="integer"
        ),
        Field("not_wanted", "integer", "Number of the scan's findings that it does not subscribe to."),
        Field("dead", "integer", "Number of accepted messages that were dead letters by then."),
    ),
)
LINK = Field(
    "link",
    "string",
    "URL of the scan in SpiderFoot.",
    "https://spiderfoot.acme.test/scaninfo?id=5F2A9C1E",
    when="the endpoint has a ui_url",
)

STARTED = (*SCAN, replace(STATUS, example="STARTED"), BEGINNING, MODULES, LINK)
COMPLETED = (*SCAN, *SPAN, *COUNTS, *TOP, MODULES, BROKEN, *LATE, RECEIPT, LINK)
ABORTED = vary(
    (*SCAN, *only(SPAN, KNOWN), *COUNTS, *TOP, MODULES, BROKEN, *LATE, RECEIPT, LINK),
    status="ABORTED",
    ended="2026-11-20T09:36:40.000Z",
    duration=400,
)
FAILED = vary(
    (*SCAN, *only(SPAN, KNOWN), *COUNTS, *TOP, MODULES, BROKEN, ERROR, *LATE, RECEIPT, LINK),
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
    top_findings=[],
    correlations_by_risk=dict.fromkeys(("HIGH", "MEDIUM", "LOW", "INFO"), 0),
    receipt={
        "series": SERIES,
        "first_sequence": 1,
        "last_sequence": 2,
        "earlier_series": {},
        "accepted": 2,
        "withheld": 0,
        "withheld_by_reason": {},
        "not_wanted": 0,
        "dead": 0,
    },
)
PROGRESS = (
    *SCAN,
    replace(STATUS, example="RUNNING"),
    BEGINNING,
    Field("number", "integer", "1 in the first such event of a scan, then 2, 3 ...", 1),
    Field("elapsed", "integer", "Whole seconds since the start.", 60),
    Field("events_per_minute", "integer", "Rate of events since the last such message, or the start.", 12),
    *COUNTS,
    MODULES,
    LINK,
)
