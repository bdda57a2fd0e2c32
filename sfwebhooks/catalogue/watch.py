"""The fields of `data` in the events of the watch over scans, as `scan/watch_events` builds them."""

from __future__ import annotations

from sfwebhooks.catalogue.fields import Field, only
from sfwebhooks.catalogue.scan import BEGINNING, KNOWN

RESOLVED = Field("resolved", "boolean", "False: it has begun; true: it is well again.", False)
SINCE = Field("since", "string", "When it began (RFC 3339, UTC).", "2026-11-20T02:00:00.000Z")
TARGET = Field("target", "string", "The scan's target.", "acme.test")
SCAN_ID = Field("scan_id", "string", "The scanner's id of the scan.", "5F2A9C1E")
SCAN_NAME = Field("scan_name", "string", "The scan's name.", "Acme perimeter")
LINEAGE = Field(
    "lineage",
    "string",
    "Id of the scan's list of modules: it is compared with scans of the same target with the same modules only.",
    "9f1c0a3d5b7e2468",
)
#: what identifies a scan that is running, and one that is over
RUNNING = (SCAN_ID, SCAN_NAME, TARGET, BEGINNING)
FINISHED = (
    *RUNNING,
    Field("ended", "string", "When the scan ended (RFC 3339, UTC).", "2026-11-20T09:42:31.000Z"),
    LINEAGE,
)
COMPARED = Field("compared_scans", "integer", "Number of earlier scans that it was compared with.", 10)
LAST = Field(
    "last_scan",
    "object",
    "The last scan before that finished; null: there is none.",
    {
        "scan_id": "5F2A9B0C",
        "started": "2026-11-19T02:00:03.000Z",
        "ended": "2026-11-19T02:12:34.000Z",
        "duration": 751,
        "events_found": 412,
    },
    nullable=True,
    parts=(
        Field("scan_id", "string", "The scanner's id of it."),
        Field("started", "string", "When it started (RFC 3339, UTC)."),
        Field("ended", "string", "When it ended (RFC 3339, UTC)."),
        Field("duration", "integer", "Whole seconds from start to end."),
        Field("events_found", "integer", "Number of its findings."),
    ),
)
USUAL_DURATION = Field("usual_duration", "integer", "Median of the earlier scans' durations, in whole seconds.", 751)
FAILED = Field(
    "modules_failed", "array", "The scan's modules with a logged or reported error.", ["sfp_shodan"], of="string"
)
LINK = Field(
    "link",
    "string",
    "URL of the scan in SpiderFoot; if it was missed, of the last one.",
    "https://spiderfoot.acme.test/scaninfo?id=5F2A9C1E",
    when="the endpoint has a ui_url, and there is a scan",
)


def _about(message: str, advice: str) -> tuple[Field, ...]:
    return (
        RESOLVED,
        Field("message", "string", "The same in words.", message),
        SINCE,
        Field("what_to_do", "string", "What helps.", advice, when="it has begun"),
    )


MISSED = (
    *_about(
        "No scan of acme.test has started at 2026-11-20 02:00 UTC, nor within an hour after it.",
        "See why it was not started (cron, a timer, the machine), and start it: the next scan of it ends this.",
    ),
    Field("target", "string", "The target or the name of the scan, as in [webhooks-expect].", "acme.test"),
    Field("expectation", "string", "Its key in [webhooks-expect].", "nightly"),
    Field("schedule", "string", "Its cron expression.", "0 2 * * *"),
    Field("expected_at", "string", "The first time without a scan (RFC 3339, UTC).", "2026-11-20T02:00:00.000Z"),
    Field("missed", "integer", "How often in a row, or since the last look, it was missed so far.", 1),
    Field("next_at", "string", "When a scan is expected next (RFC 3339, UTC).", "2026-11-21T02:00:00.000Z"),
    *only((SCAN_ID,), "it is well again since this scan has started"),
    LAST,
    Field(
        USUAL_DURATION.name, "integer", f"{USUAL_DURATION.meaning[:-1]}; null: there are too few.", 751, nullable=True
    ),
    LINK,
)
OVERDUE = (
    *_about(
        "The scan of acme.test has been running for 40 min; 12 min 31 s is usual.",
        "See in SpiderFoot's log of the scan what it waits for, and stop it if it hangs.",
    ),
    *RUNNING,
    Field("status", "string", "The scan's status in the scanner's own words.", "RUNNING", when=KNOWN),
    Field("elapsed", "integer", "Whole seconds since its start; if it is over, its duration.", 2400),
    USUAL_DURATION,
    COMPARED,
    LAST,
    LINK,
)
THIN = (
    *_about(
        "The scan of acme.test found 31 findings; 412 are usual.",
        "See whether its modules failed (modules_failed, the scan's log), API keys and the network still work, and"
        " the target is right.",
    ),
    *FINISHED,
    Field("events_found", "integer", "Number of its findings.", 31),
    Field(
        "usual_events_found",
        "integer",
        "Median of the earlier scans' numbers; null: there are too few.",
        412,
        nullable=True,
    ),
    COMPARED,
    FAILED,
    LAST,
    LINK,
)
DEGRADED = (
    *_about(
        "1 module failed in the scan of acme.test and did not before: sfp_shodan.",
        "See the errors of these modules in the scan's log: API keys, quotas, or a service that has changed.",
    ),
    *FINISHED,
    Field("modules", "array", "The modules that fail, or that work again.", ["sfp_shodan"], of="string"),
    FAILED,
    COMPARED,
    LAST,
    LINK,
)
