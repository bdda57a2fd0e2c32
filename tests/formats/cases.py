"""What tests of several formats send: events of each kind, hostile texts, and settings that are right or wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from sfwebhooks.catalogue import EVENT_TYPES
from sfwebhooks.config.settings import Settings, load_mapping
from sfwebhooks.events import Batch, Delivery, WebhookEvent
from sfwebhooks.formats import render
from sfwebhooks.scan.findings import Source, event_of_finding
from sfwebhooks.severity import Severity
from tests.builders import URL, a_delivery, a_finding, a_scan, an_endpoint, an_event
from tests.rows import in_one

#: addresses of the scanner's web UI and of our own page
UI = "https://sf.acme.example"
PAGE = "https://hooks.acme.example/sent"
LINK = f"{UI}/scaninfo?id=5C4A0001"
SCAN_PAGE = f"{PAGE}/scans/5C4A0001"
#: the links of a message in Markdown, either one and both
MARKED = [f"[Open scan]({LINK})", f"[Show deliveries]({SCAN_PAGE})"]
MARKED_LINKS = (*MARKED, " · ".join(MARKED))
HOSTILE = {
    "channel": "<!channel> <!here|x> <@U123>",
    "all": "@all @everyone @here <@all>",
    "at": '<at user_id="all">all</at>',
    "back-ticks": "``` x ``` `x` *b* _i_ ~s~ | a | b |\n# h\n> q\n- l\n1. n\n===",
    "link": "[x](https://evil.example) ![x](https://evil.example) <https://evil.example|x>",
    "entity": "&amp; &lt; <script>alert(1)</script>",
    "nul": "a\x00b",
    "surrogates": "\ud800 x \udfff",
    "right to left": "\u202egpj.exe \u2066x",
    "emoji": "🎉" * 5000,
    "quotes": '"\\' * 20_000,
    "lines": "x\n" * 20_000,
    "5 MB": "<&>@[" * 1_000_000,
    "space": " \n\t ",
    "empty": "",
}
each_text = pytest.mark.parametrize(
    "text",
    [
        pytest.param(text, id=name, marks=[pytest.mark.slow] if len(text) > 10**6 else [])
        for name, text in HOSTILE.items()
    ],
)
each_past = pytest.mark.parametrize("how", ["backfilled", "replayed"])
each_event = in_one("entry", EVENT_TYPES)


def cve(number: int) -> str:
    """Return what only this one of the events of `an_event` has in it."""
    return f"CVE-2026-{number:04d}"


def rendered(format: str, delivery: Delivery, **values: Any) -> dict[str, Any]:
    """Return the message that goes out for a delivery, parsed."""
    endpoint = an_endpoint(ui_url=UI, format=format, **values)
    content = render(Batch((delivery,)), endpoint)
    assert content.headers["Content-Type"] == "application/json"
    message: dict[str, Any] = json.loads(content.body.decode())
    return message


def of_entry(entry: Any, **values: Any) -> Delivery:
    """Return a delivery of an example of the catalogue."""
    severity = entry.severities[-1] if entry.severities else Severity.HIGH
    return a_delivery(an_event(type=entry.name, severity=severity, data=entry.example), **values)


def past(how: str, event: WebhookEvent | None = None) -> Delivery:
    """Return a delivery that was backfilled or replayed."""
    return replace(a_delivery(event), backfilled=how == "backfilled", replayed=how == "replayed")


def hostile_deliveries(text: str) -> list[Delivery]:
    """Return a finding and another event with a text wherever one can be."""
    clean = text.encode("utf-8", "replace").decode()
    sources = tuple(Source(text[:99], text, text[:99], "h") for _ in range(5))
    finding = a_finding(type="SIMILARDOMAIN", data=text, module=clean, data_source=text, sources=sources)
    keys = ("title", "message", "error", "target", "module", "reason", "rule_id", "x" * 3000)
    data: dict[str, Any] = {**dict.fromkeys(keys, text), text[:3000]: text, "evidence": [text] * 9}
    return [
        a_delivery(event_of_finding(finding, a_scan(name=clean, target=clean), clean)),
        a_delivery(an_event(type="system_alert", data=data, scan=None)),
    ]


def settings_of(format: str, **keys: str) -> Settings:
    return load_mapping({"team": {"url": URL, "format": format, **keys}})


def mistakes_of(format: str, **keys: str) -> list[str]:
    """Return the mistakes of an endpoint with these keys, each with its place."""
    return [str(mistake) for mistake in settings_of(format, **keys).mistakes]
