"""What `data` holds in what we tell of ourselves, key by key as `alerts` builds it, and of the scanner's modules."""

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
    Field("endpoint", "string", "The endpoint that it is about, or the first of several.", "siem_system"),
    Field("endpoints", "array", "All of them.", when="it is about several endpoints", of="string"),
    Field(
        "message",
        "string",
        "The same for people.",
        "Endpoint siem_system (https://siem.acme.test) is failing; deliveries are kept and probes continue (http_503).",
    ),
    Field(
        "reason",
        "string",
        "Why, such as http_503 or timeout.",
        "http_503",
        when="it is about an endpoint's health or dead deliveries",
    ),
    Field("number", "integer", "How many deliveries are dead.", when="it is about dead deliveries"),
    Field(
        "since",
        "string",
        "Since when it is so (RFC 3339, UTC).",
        "2026-11-20T09:40:00.000Z",
        when="it is about an endpoint's health",
    ),
    Field("ends", "string", "When the certificate ends (RFC 3339, UTC).", when="it is about a certificate"),
)
RESOURCE = (
    *only(SCAN, "it is noticed by a scan"),
    Field(
        "resource",
        "string",
        "outbox_size; disk: the outbox could not be written for a while; or queue_age: the oldest delivery that waits.",
        "outbox_size",
    ),
    Field("endpoint", "string", "The endpoint that it waits for.", when="the resource is queue_age"),
    Field("value", "number", "How much it is.", 360.2),
    Field("limit", "number", "How much it may be.", 512),
    Field("unit", "string", "MB or s.", "MB"),
    Field(
        "message",
        "string",
        "The same for people.",
        "The outbox is 70 % full: plain facts are refused from now on (outbox_full).",
    ),
)
MODULE_ERROR = (
    *SCAN,
    Field("module", "string", "The module that failed.", "sfp_shodan", when="it is about a single error"),
    Field(
        "modules",
        "array",
        "The same as a list; or, in one event at the scan's end, all modules without a setting that they need.",
        ["sfp_shodan"],
        of="string",
    ),
    Field("exception", "string", "The exception's class.", "KeyError", when="there was one"),
    Field(
        "error",
        "string",
        "The exception's text, or what the module logged, without secrets; or what is missing.",
        "'data'",
    ),
)
