"""The fields of `data` in surface_changed, as `scan/surface` builds it."""

from __future__ import annotations

from sfwebhooks.catalogue.fields import SCAN, Field
from sfwebhooks.catalogue.scan import BROKEN, LINK

ITEM = (
    Field("event_type", "string", "The scanner's type of the finding."),
    Field("data", "string", "Its data, the first 1024 characters; secrets are masked."),
    Field("severity", "string", "critical, high, medium, low or info."),
    Field("module", "string", "The module that found it."),
    Field("hash", "string", "The scanner's id of it, in the scan that found it."),
)
BUCKET = {
    "event_type": "CLOUD_STORAGE_BUCKET_OPEN",
    "data": "acme-backup.s3.amazonaws.com: 3 files found.",
    "severity": "high",
    "module": "sfp_s3bucket",
    "hash": "9c" * 32,
}
PORT = {
    "event_type": "TCP_PORT_OPEN",
    "data": "203.0.113.10:22",
    "severity": "low",
    "module": "sfp_portscan_tcp",
    "hash": "18" * 32,
}
BANNER = {
    "event_type": "WEBSERVER_BANNER",
    "data": "nginx/1.27.2",
    "severity": "info",
    "module": "sfp_webserver",
    "hash": "5e" * 32,
}
BEFORE = {**BANNER, "data": "nginx/1.18.0 (Ubuntu)", "hash": "a7" * 32}


def _part(items: str, parts: tuple[Field, ...]) -> tuple[Field, ...]:
    return (
        Field("total", "integer", "Number of findings, equal ones counted once."),
        Field("by_type", "object", "The same by the scanner's type.", of="integer"),
        Field("items", "array", f"{items}, the most severe first; at most 20.", of="object", parts=parts),
    )


FOUND = _part("The first of them", ITEM)
CHANGED = (
    *SCAN,
    Field("message", "string", "The result in words.", "2 new, 1 gone, 1 changed since 2026-11-13 09:42:31 UTC."),
    Field(
        "compared_with",
        "object",
        "The last finished scan of the same target with the same modules.",
        {"scan_id": "41D07B9A", "ended": "2026-11-13T09:42:31.000Z"},
        when="there is something to compare with",
        parts=(
            Field("scan_id", "string", "The scanner's id of that scan."),
            Field("ended", "string", "When it ended (RFC 3339, UTC)."),
        ),
    ),
    Field(
        "new",
        "object",
        "What this scan found and that one did not.",
        {"total": 2, "by_type": {"CLOUD_STORAGE_BUCKET_OPEN": 1, "WEBSERVER_BANNER": 1}, "items": [BUCKET, BANNER]},
        parts=FOUND,
    ),
    Field(
        "gone",
        "object",
        "What that scan found and this one did not; without items if SpiderFoot no longer has that scan.",
        {"total": 1, "by_type": {"WEBSERVER_BANNER": 1}, "items": [BEFORE]},
        parts=FOUND,
    ),
    Field(
        "changed",
        "object",
        "Pairs of a new and a gone finding of the same type with the same direct source; both are also counted above.",
        {"total": 1, "by_type": {"WEBSERVER_BANNER": 1}, "items": [{**BANNER, "before": BEFORE}]},
        parts=_part(
            "The first pairs as they are now, with what was there before in `before`",
            (*ITEM, Field("before", "object", "The finding that is gone.", parts=ITEM)),
        ),
    ),
    Field(
        "unchanged_since",
        "string",
        "End of the first scan of those that found the same as this one (RFC 3339, UTC).",
        when="nothing is new or gone",
    ),
    Field(
        "not_comparable",
        "string",
        "Why nothing is compared: first_scan, other_modules, aborted, failed or died.",
        when="there is nothing to compare with, or the scan did not finish",
    ),
    BROKEN,
    LINK,
)
