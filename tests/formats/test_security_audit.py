"""The envelope of the security-audit guide."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sfwebhooks.events import Delivery, WebhookEvent
from sfwebhooks.formats import generic, security_audit
from sfwebhooks.formats.security_audit import DESCRIPTION_MAX
from sfwebhooks.scan.findings import Source, event_of_finding
from sfwebhooks.severity import Severity
from tests.builders import a_delivery, a_finding, a_scan, an_endpoint, an_event

COUNTS = {"critical": 1, "high": 2, "medium": 3, "low": 4, "info": 500}
BUCKET = Source("CLOUD_STORAGE_BUCKET", "https://acme.s3.example", "sfp_s3bucket", "ab")
CVE = "CVE-2026-0001\n<SFURL>https://nvd.example/CVE-2026-0001</SFURL>\nScore: {}\nDescription: bad"


def sent(delivery: Delivery, **endpoint: Any) -> dict[str, Any]:
    """Return the message of a delivery."""
    message: dict[str, Any] = json.loads(
        security_audit.render(delivery, an_endpoint(format="security-audit", **endpoint)).body
    )
    return message


def data_of(event: WebhookEvent, **endpoint: Any) -> Any:
    return sent(a_delivery(event), **endpoint)["data"]


def finding(**values: Any) -> Any:
    return data_of(event_of_finding(a_finding(**values), a_scan(), "Vulnerability - CVE High"))


def test_the_envelope_has_the_guides_keys_and_ours() -> None:
    delivery = a_delivery(an_event(type="scan_completed"), sequence=7)
    message, ours = sent(delivery), json.loads(generic.render(delivery, an_endpoint()).body)
    assert (message["event_type"], message["timestamp"]) == ("scan.completed", "2026-11-21T10:00:00Z")
    same = ("source", "version", "metadata")
    assert {key: message[key] for key in same} == {key: ours[key] for key in same}


def test_a_finding_has_what_the_guides_receivers_read() -> None:
    event = event_of_finding(a_finding(data=CVE.format("7.5"), sources=(BUCKET,)), a_scan(), "Vulnerability - CVE High")
    data = data_of(event)
    assert {key: data[key] for key in data.keys() - event.data.keys()} == {
        "finding_id": event.id,
        "title": "Vulnerability - CVE High",
        "repository_url": "acme.example",
        "category": "VULNERABILITY_CVE_HIGH",
        "file": "https://acme.s3.example",
        "affected_component": "https://acme.s3.example",
        "line": None,
        "cvss_score": 7.5,
        "remediation": {"available": False, "auto_fixable": False, "description": "None is known."},
    }
    assert (data["scan_id"], data["severity"]) == ("5C4A0001", "high")


def test_the_description_of_a_finding_is_what_was_found_and_all_else_is_as_we_say_it() -> None:
    event = event_of_finding(a_finding(data=CVE.format("7.5")), a_scan(), "Vulnerability - CVE High")
    data = data_of(event)
    assert data["description"] == CVE.format("7.5").replace("<SFURL>", "").replace("</SFURL>", "")
    assert {key: data[key] for key in event.data if key != "description"} == {
        key: value for key, value in event.data.items() if key != "description"
    }


def test_a_long_description_is_cut_and_the_data_is_not() -> None:
    data = finding(data="x" * 10_000)
    assert (len(data["description"]), len(data["data"])) == (DESCRIPTION_MAX, 10_000)


def test_a_finding_without_a_source_is_at_the_target() -> None:
    assert finding(sources=())["file"] == "acme.example"


@pytest.mark.parametrize(
    ("host_type", "text", "score"),
    [
        ("VULNERABILITY_CVE_CRITICAL", CVE.format("10.0"), "10"),
        ("VULNERABILITY_CVE_HIGH", CVE.format("7.5"), "7.5"),
        ("VULNERABILITY_CVE_LOW", CVE.format("0"), "0"),
        ("VULNERABILITY_CVE_HIGH", CVE.format("Unknown"), "null"),
        ("VULNERABILITY_GENERAL", "no score", "null"),
        ("LEAKSITE_CONTENT", "Score: 9.0", "null"),
    ],
)
def test_the_score_is_the_one_that_the_scanner_has(host_type: str, text: str, score: str) -> None:
    assert json.dumps(finding(type=host_type, data=text)["cvss_score"]) == score


def test_a_finding_from_elsewhere_keeps_its_own_words() -> None:
    own = {"finding_id": "f-1", "title": "A key", "description": "in the code", "file": "a.py", "line": 3, "data": "k"}
    data = data_of(an_event(type="finding.critical", severity=Severity.CRITICAL, data=own, scan=None))
    assert {key: data[key] for key in own} == own
    assert (data["severity"], data["scan_id"], data["repository_url"]) == ("critical", "", "")


@pytest.mark.parametrize("name", ["scan_completed", "scan_aborted", "scan_failed"])
def test_a_scans_end_has_a_summary_without_plain_facts(name: str) -> None:
    event = an_event(type=name, data={"events_by_severity": COUNTS, "duration": 751, "target": "acme.example"})
    data = data_of(event, ui_url="https://spiderfoot.example")
    assert data["findings_summary"] == {"critical": 1, "high": 2, "medium": 3, "low": 4, "total": 10}
    assert (data["duration_seconds"], data["repository_url"]) == (751, "acme.example")
    assert data["report_url"] == "https://spiderfoot.example/scaninfo?id=5C4A0001"
    assert data["events_by_severity"] == COUNTS


def test_without_the_address_of_the_web_ui_there_is_no_report() -> None:
    assert data_of(an_event(type="scan_completed", data={"events_by_severity": {}}))["report_url"] is None


@pytest.mark.parametrize(
    ("data", "code", "message"),
    [
        ({"status": "ERROR-FAILED", "error": "no TLD list"}, "ERROR_FAILED", "no TLD list"),
        ({"status": "ERROR-FAILED"}, "ERROR_FAILED", "ERROR-FAILED"),
        ({"status": "RUNNING", "reason": "process_died"}, "PROCESS_DIED", "The scan's process died."),
    ],
)
def test_a_failed_scan_says_why(data: dict[str, Any], code: str, message: str) -> None:
    sent = data_of(an_event(type="scan_failed", data=data))
    assert (sent["error_code"], sent["error_message"]) == (code, message)
    assert (sent["retry_attempt"], sent["will_retry"]) == (0, False)


def test_a_scans_beginning_has_the_guides_keys() -> None:
    data = data_of(an_event(type="scan_started", data={"status": "STARTED"}))
    assert {key: data[key] for key in ("branch", "scan_type", "triggered_by")} == {
        "branch": None,
        "scan_type": "osint",
        "triggered_by": None,
    }
