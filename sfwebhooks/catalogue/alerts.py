"""The fields of `data` in alerts on sfwebhooks itself, as `alerts` builds them, and on the scanner's modules."""

from __future__ import annotations

from sfwebhooks.catalogue.fields import SCAN, Field, only

ALERT = (
    Field(
        "alert",
        "string",
        "endpoint_failing, endpoint_held, endpoint_disabled, endpoint_healthy, deliveries_dead, certificate_expiring or"
        " test.",
        "endpoint_failing",
    ),
    Field("endpoint", "string", "The endpoint it is about, or the first of several.", "siem_system"),
    Field("endpoints", "array", "All endpoints it is about.", when="there are several", of="string"),
    Field(
        "message",
        "string",
        "The same in words.",
        "Endpoint siem_system (https://siem.acme.test) is failing; deliveries are kept and probes continue (http_503).",
    ),
    Field(
        "reason",
        "string",
        "Why, such as http_503 or timeout.",
        "http_503",
        when="it is about an endpoint's health or dead deliveries",
    ),
    Field("number", "integer", "Number of dead deliveries.", when="it is about dead deliveries"),
    Field(
        "since",
        "string",
        "Start of this state (RFC 3339, UTC).",
        "2026-11-20T09:40:00.000Z",
        when="it is about an endpoint's health",
    ),
    Field("ends", "string", "When the certificate expires (RFC 3339, UTC).", when="it is about a certificate"),
)
RESOURCE = (
    *only(SCAN, "a scan noticed it"),
    Field(
        "resource",
        "string",
        "outbox_size; disk: the outbox could not be written for a while; or queue_age: the oldest waiting delivery.",
        "outbox_size",
    ),
    Field("endpoint", "string", "The delivery's endpoint.", when="the resource is queue_age"),
    Field("value", "number", "The measured value.", 360.2),
    Field("limit", "number", "The limit.", 512),
    Field("unit", "string", "MB or s.", "MB"),
    Field(
        "message",
        "string",
        "The same in words.",
        "The outbox is 70 % full: informational findings are refused from now on (outbox_full).",
    ),
)
MODULE_ERROR = (
    *SCAN,
    Field("module", "string", "The module that failed.", "sfp_shodan", when="it is about a single error"),
    Field(
        "modules",
        "array",
        "The same as a list; or, in one event at the scan's end, all modules that lack a required setting.",
        ["sfp_shodan"],
        of="string",
    ),
    Field("exception", "string", "The exception's class.", "KeyError", when="there was one"),
    Field(
        "error",
        "string",
        "The text of the exception or the module's log line, without secrets; or the missing settings.",
        "'data'",
    ),
)
