from __future__ import annotations

import json
from typing import Any

import pytest

from sfwebhooks.attempts import Outcome, Reply
from sfwebhooks.catalogue import EVENT_TYPES
from sfwebhooks.endpoints import RISK_NAMES, Secret
from sfwebhooks.events import Delivery, WebhookEvent
from sfwebhooks.formats import siem
from sfwebhooks.jsontext import Stored, kept
from sfwebhooks.retry import judge
from sfwebhooks.scan.findings import Source, event_of_finding
from sfwebhooks.severity import Severity
from sfwebhooks.signing import sign
from tests.builders import NOW, a_batch, a_delivery, a_finding, a_scan, an_endpoint, an_event
from tests.rows import in_one

GUIDES_KEYS = {"timestamp", "source", "event_type", "severity", "raw_data", "tags"}
SECRET = "jane@acme.example:hunter22! [Collection #1]"


def sent(event: WebhookEvent, **values: Any) -> dict[str, Any]:
    """Return the SIEM event that goes out, parsed."""
    return rendered(a_delivery(event, **values))


def rendered(delivery: Delivery, **endpoint: Any) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(siem.render(delivery, an_endpoint(**endpoint)).body)
    return event


def the_guides_severity(event_type: str) -> str:
    """Return what the guide's own function gives."""
    return {"high_risk_event": "HIGH", "medium_risk_event": "MEDIUM", "scan_failed": "MEDIUM"}.get(event_type, "LOW")


def test_the_guides_keys_have_the_guides_values() -> None:
    event = an_event(at=NOW, data={"event_type": "EMAILADDR", "data": "x"})
    assert {key: value for key, value in sent(event).items() if key in GUIDES_KEYS} == {
        "timestamp": "2026-11-21T10:00:00.000Z",
        "source": "SpiderFoot",
        "event_type": "high_risk_event",
        "severity": "HIGH",
        "raw_data": {"event_type": "EMAILADDR", "data": "x"},
        "tags": ["osint", "spiderfoot"],
    }


def test_next_to_them_are_the_ids_of_the_event_and_its_scan() -> None:
    delivery = a_delivery(sequence=17)
    body = rendered(delivery, name="soc", metadata={"user": "admin"})
    assert {key: value for key, value in body.items() if key not in GUIDES_KEYS} == {
        "schema": 1,
        "event_id": delivery.event.id,
        "delivery_id": delivery.id,
        "series": delivery.series,
        "sequence": 17,
        "endpoint": "soc",
        "severity_exact": "high",
        "severity_level": 3,
        "finding_type": "VULNERABILITY_CVE_HIGH",
        "scan": {
            "id": "5C4A0001",
            "name": "Weekly Security Scan",
            "target": "acme.example",
            "target_type": "INTERNET_NAME",
        },
        "scanner_version": "4.4.0",
        "metadata": {"user": "admin"},
    }


@pytest.mark.parametrize(
    ("name", "severity"),
    [
        *((name, severity) for severity, name in RISK_NAMES.items()),
        ("scan_started", Severity.INFO),
        ("scan_completed", Severity.INFO),
        ("scan_failed", Severity.MEDIUM),
        ("scan_aborted", Severity.LOW),
    ],
)
def test_what_the_guide_rates_keeps_its_rating(name: str, severity: Severity) -> None:
    assert sent(an_event(type=name, severity=severity))["severity"] == the_guides_severity(name)


@pytest.mark.parametrize("name", ["high_risk_event", "medium_risk_event", "scan_failed"])
@pytest.mark.parametrize("severity", Severity)
def test_the_guides_own_names_have_its_word_whatever_their_severity(name: str, severity: Severity) -> None:
    assert sent(an_event(type=name, severity=severity))["severity"] == the_guides_severity(name)


@pytest.mark.parametrize("name", ["vulnerability_found", "finding.critical", "correlation_found", "system_alert"])
@pytest.mark.parametrize(
    ("severity", "word"),
    [
        (Severity.CRITICAL, "HIGH"),
        (Severity.HIGH, "HIGH"),
        (Severity.MEDIUM, "MEDIUM"),
        (Severity.LOW, "LOW"),
        (Severity.INFO, "LOW"),
    ],
)
def test_other_names_have_the_word_of_their_severity(name: str, severity: Severity, word: str) -> None:
    body = sent(an_event(severity=severity), name=name)
    assert body["severity"] == word
    assert (body["severity_exact"], body["severity_level"]) == (severity.label, severity.value)


def test_a_finding_is_sent_whole_and_unmasked() -> None:
    finding = a_finding(type="PASSWORD_COMPROMISED", data=SECRET, sources=(Source("EMAILADDR", "x", "m", "h"),))
    event = event_of_finding(finding, a_scan(), "Compromised Password")
    assert sent(event)["raw_data"] == event.data
    assert sent(event)["raw_data"]["data"] == SECRET


def test_the_special_name_is_next_to_the_subscribed_one() -> None:
    event = event_of_finding(a_finding(type="VULNERABILITY_CVE_HIGH"), a_scan(), "CVE")
    assert sent(event)["special"] == "vulnerability_found"


def test_missing_values_are_omitted() -> None:
    body = rendered(a_delivery(an_event(type="system_alert", data={}, scan=None)))
    assert body.keys().isdisjoint({"scan", "scanner_version", "finding_type", "special", "metadata"})
    assert body["raw_data"] == {}


def test_what_is_backfilled_says_so_and_what_is_live_does_not() -> None:
    assert rendered(a_delivery(backfilled=True))["backfilled"] is True
    assert "backfilled" not in rendered(a_delivery())


@in_one("entry", EVENT_TYPES)
def test_every_event_of_the_catalogue_can_be_rendered(entry: Any) -> None:
    assert sent(an_event(type=entry.name, data=entry.example)).keys() >= GUIDES_KEYS


def test_hostile_text_comes_through_as_it_is() -> None:
    text = '<!channel> \x00 "\\ \u2028 شركة 🎉 ```'
    event = event_of_finding(a_finding(data=text + "\ud800"), a_scan(name=text, target=text), text)
    body = sent(event)
    assert body["raw_data"]["data"] == text + "\ufffd"
    assert body["scan"]["name"] == text


def test_the_same_delivery_gives_the_same_bytes() -> None:
    one, other = (siem.render(a_delivery(), an_endpoint(metadata={"b": "1", "a": "2"})) for _ in range(2))
    assert one == other


def test_the_api_key_goes_out_as_bearer_and_not_in_the_body() -> None:
    endpoint = an_endpoint(api_key=Secret("key-of-the-siem"))
    request = sign(siem.render(a_delivery(), endpoint), a_batch(), endpoint, NOW)
    assert request.headers["Authorization"] == "Bearer key-of-the-siem"
    assert request.headers["Content-Type"] == "application/json"
    assert b"key-of-the-siem" not in request.body


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_any_success_is_left_to_the_table(status: int) -> None:
    assert siem.FORMAT.read is None
    assert judge(Reply(status, body=b"anything"), NOW).outcome is Outcome.DELIVERED


@pytest.mark.parametrize(
    "data",
    [
        {"event_type": "EMAILADDR", "data": "x"},
        {"scan_id": "A", "target": "", "event_type": "EMAILADDR"},
        {"target": 'a"b', "event_type": "EMAILADDR"},
        {"event_type": 'EMAIL"ADDR'},
        {"event_type": "EMAIL\\ADDR"},
        {"event_type": ["EMAILADDR"]},
        {"number": 1, "event_type": "EMAILADDR"},
        {"sources": [{"event_type": "ROOT"}], "event_type": "EMAILADDR"},
        {"text": '"event_type":"ROOT"', "event_type": "EMAILADDR"},
        {"text": "event_type", "sources": {"event_type": "ROOT"}},
        {"event_type": "A", "known_exploited": True, "kev_due_date": "2026-12-01"},
        {"event_type": "A", "epss_score": 0.5},
        {"event_type": "A", "epss_percentile": 0.25},
        {"event_type": ""},
        {},
    ],
)
def test_stored_data_give_the_same_message_as_those_that_are_read(data: dict[str, Any]) -> None:
    stored, read = (sent(an_event(data=given)) for given in (Stored(kept(data)), data))
    assert list(stored.items()) == list(read.items())
    assert stored.get("finding_type", "") == data.get("event_type", "")


def test_rubbish_in_the_outbox_makes_no_message() -> None:
    with pytest.raises(ValueError, match="Expecting value"):
        sent(an_event(data=Stored("rubbish")))
