from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from sfwebhooks.attempts import Outcome, Reply
from sfwebhooks.catalogue import WATCH_TYPES, type_named
from sfwebhooks.endpoints import Secret
from sfwebhooks.events import Delivery, WebhookEvent
from sfwebhooks.examples import example
from sfwebhooks.formats import pagerduty
from sfwebhooks.formats.digest import DIGEST_SECONDS
from sfwebhooks.formats.notice import Notice
from sfwebhooks.retry import judge
from sfwebhooks.severity import Severity
from tests.builders import NOW, a_batch, a_delivery, a_scan, an_endpoint, an_event
from tests.formats.cases import (
    LINK,
    UI,
    each_event,
    each_past,
    mistakes_of,
    of_entry,
    past,
    rendered,
    settings_of,
)
from tests.formats.conftest import Served, Start
from tests.receivers.notifiers import PagerDuty

KEY = PagerDuty.routing_key
OWN = {"routing_key": Secret(KEY)}
DONE = {"status": "success", "message": "Event processed", "dedup_key": "x"}
INCIDENTS = {"finding.critical", "finding.high", "high_risk_event", "medium_risk_event", "low_risk_event",
             "vulnerability_found", "malware_detected", "correlation_found", "system_alert", "resource_warning",
             "scan_failed", *WATCH_TYPES}  # fmt: skip


def place(delivery: Delivery) -> str:
    return pagerduty.render(delivery, an_endpoint(own=OWN)).path


def sent(delivery: Delivery) -> dict[str, Any]:
    message = rendered("pagerduty", delivery, own=OWN)
    assert PagerDuty().problem(message) == "" and ("event_action" in message) == (place(delivery) == "")
    return message


def an_alert(event: WebhookEvent) -> dict[str, Any]:
    """Return the message of a live event, which is an alert."""
    assert place(a_delivery(event)) == ""
    return sent(a_delivery(event))


@each_event
def test_what_somebody_has_to_act_on_is_an_alert_and_the_rest_a_change(entry: Any) -> None:
    delivery = of_entry(entry)
    message = sent(delivery)
    assert (place(delivery) == "") == (entry.name in INCIDENTS) == ("event_action" in message)


@pytest.mark.parametrize("name", sorted(WATCH_TYPES))
def test_what_the_watch_saw_is_resolved_under_the_same_key(name: str) -> None:
    entry = type_named(name)
    assert entry
    begun = example(entry, name).event
    over = replace(begun, severity=Severity.INFO, data={**begun.data, "resolved": True, "message": "It is well again."})
    first, last = an_alert(begun), an_alert(over)
    assert (first["event_action"], last["event_action"]) == ("trigger", "resolve")
    assert first["dedup_key"] == last["dedup_key"]
    assert "resolved" in last["payload"]["summary"] and "resolved" not in first["payload"]["summary"]


def test_a_finding_is_a_triggered_alert() -> None:
    message = an_alert(an_event(data={"event_type": "X", "data": "x", "module": "sfp_x", "description": "Open door"}))
    assert message["event_action"] == "trigger" and message["routing_key"] == KEY
    assert (message["client"], message["client_url"]) == ("SpiderFoot", LINK)
    assert message["links"] == [{"href": LINK, "text": "Open scan"}]
    assert message["payload"] == {
        "summary": "High: Open door on acme.example: x",
        "source": "acme.example",
        "timestamp": "2026-11-21T10:00:00.000Z",
        "severity": "error",
        "component": "sfp_x",
        "group": "Weekly Security Scan",
        "class": "high_risk_event",
        "custom_details": {
            "Details": "x",
            "Target": "acme.example",
            "Type": "X",
            "Module": "sfp_x",
            "Scan": "Weekly Security Scan · 2026-11-21 10:00:00 UTC · #1",
        },
    }


@pytest.mark.parametrize(
    ("severity", "level"), [*zip(reversed(Severity), ("critical", "error", "warning", "info", None))]
)
def test_the_severity_is_one_of_pagerdutys_and_an_informational_finding_is_a_change(
    severity: Severity, level: str | None
) -> None:
    assert sent(a_delivery(an_event(severity=severity)))["payload"].get("severity") == level


@each_past
@pytest.mark.parametrize("data", [{"event_type": "X", "data": "x"}, {"alert": "endpoint_healthy", "endpoint": "siem"}])
def test_what_is_not_live_never_rings_and_never_ends_an_alert(how: str, data: dict[str, Any]) -> None:
    delivery = past(how, an_event(type="system_alert", severity=Severity.CRITICAL, data=data))
    message = sent(delivery)
    assert place(delivery) == "change/enqueue" and "event_action" not in message
    assert message["payload"]["summary"].startswith(f"{how.capitalize()}: ")
    assert message["payload"]["custom_details"]["Scan"].endswith(f" · {how}")


def key_of(event: WebhookEvent) -> str:
    return str(an_alert(event)["dedup_key"])


def test_the_same_finding_in_another_scan_joins_the_open_alert() -> None:
    first = an_event(data={"event_type": "VULNERABILITY_CVE_HIGH", "data": "CVE-1\nScore: 7.0"})
    again = an_event(
        2, scan=a_scan("5C4A0002"), data={"event_type": "VULNERABILITY_CVE_HIGH", "data": "CVE-1\nScore: 8"}
    )
    assert key_of(first) == key_of(again)
    assert key_of(replace(first, scan=a_scan(target="b.example"))) != key_of(first)
    assert key_of(an_event(data={"event_type": "VULNERABILITY_CVE_HIGH", "data": "CVE-2"})) != key_of(first)


def test_the_key_of_an_alert_confirms_no_guess_of_a_password() -> None:
    event = an_event(data={"event_type": "PASSWORD_COMPROMISED", "data": "jane@acme.example:hunter22! [x]"})
    message = an_alert(event)
    assert "hunter22!" not in json.dumps(message)
    other = rendered("pagerduty", a_delivery(event), own={"routing_key": Secret("X" * 32)})
    assert other["dedup_key"] != message["dedup_key"], "who does not know the routing key cannot try passwords"


def test_other_events_are_joined_by_what_they_are_about() -> None:
    def of(name: str, **data: Any) -> str:
        return key_of(an_event(type=name, severity=Severity.MEDIUM, data=data))

    rule = {"rule_id": "open_bucket", "title": "Bucket acme", "event_count": 1}
    assert of("correlation_found", **rule) == of("correlation_found", **{**rule, "event_count": 2})
    assert of("correlation_found", **rule) != of("correlation_found", **{**rule, "title": "Bucket b"})
    assert of("scan_failed", error="x") == of("scan_failed", error="y"), "one alert for a target that fails each night"
    assert of("high_risk_event", finding_id="1", title="a") != of("high_risk_event", finding_id="2", title="a")
    assert of("resource_warning", resource="disk", value=1) == of("resource_warning", resource="disk", value=2)


def test_an_endpoint_that_works_again_resolves_the_alert_of_its_failure() -> None:
    def of(alert: str, endpoint: str = "siem", severity: Severity = Severity.HIGH) -> dict[str, Any]:
        event = an_event(type="system_alert", severity=severity, scan=None, data={"alert": alert, "endpoint": endpoint})
        return an_alert(event)

    failing, held, healthy = of("endpoint_failing"), of("endpoint_held"), of("endpoint_healthy", severity=Severity.INFO)
    assert [one["event_action"] for one in (failing, held, healthy)] == ["trigger", "trigger", "resolve"]
    assert failing["dedup_key"] == held["dedup_key"] == healthy["dedup_key"]
    others = (of("endpoint_healthy", "team"), of("deliveries_dead"), of("certificate_expiring"))
    assert len({failing["dedup_key"], *(one["dedup_key"] for one in others)}) == 4
    assert failing["payload"]["source"] == "sfwebhooks"


def test_a_test_message_is_a_change() -> None:
    event = an_event(type="system_alert", severity=Severity.INFO, scan=None, data={"alert": "test", "message": "x"})
    assert place(a_delivery(event)) == "change/enqueue"


def test_a_summary_of_1024_bytes_is_left_as_it_is() -> None:
    for length, expected in ((1024, "h" * 1024), (1025, "h" * 1021 + "…")):
        notice = Notice(headline="h" * length, body="", facts=(), colour="")
        assert pagerduty.change_event(notice, NOW, KEY)["payload"]["summary"] == expected


def test_names_values_and_the_body_are_cut() -> None:
    def found(extra: int) -> dict[str, str]:
        facts = (("l" * (255 + extra), "v" * (2000 + extra)),)
        return pagerduty.custom_details(Notice(headline="h", body="b" * (20_000 + extra), facts=facts, colour=""))

    assert found(0) == {"Details": "b" * 20_000, "l" * 255: "v" * 2000, "Scan": ""}
    assert found(1) == {"Details": "b" * 19_997 + "…", "l" * 252 + "…": "v" * 1997 + "…", "Scan": ""}


@pytest.mark.parametrize("text", ["🎉" * 30_000, '"\\' * 30_000, "\n" * 60_000 + "x"])
def test_the_fullest_message_has_less_than_512_kb(text: str) -> None:
    facts = tuple((f"{number}{text}", text) for number in range(60))
    notice = Notice(text, text, facts, "#E01E5A", text, (text,), (text,), f"{UI}/scaninfo?id=1")
    event = an_event(type="correlation_found", data={"module": text}, scan=a_scan(name=text))
    assert PagerDuty().problem(pagerduty.alert_event(notice, event, KEY, "trigger")) == ""


@pytest.mark.parametrize(
    ("status", "said", "outcome"),
    [
        (202, DONE, Outcome.DELIVERED),
        (202, {}, Outcome.DELIVERED),
        (200, DONE, Outcome.DELIVERED),
        (200, {}, Outcome.HOLD),
        (204, {}, Outcome.HOLD),
        (400, {"status": "invalid event", "message": "Event object is invalid", "errors": ["x"]}, Outcome.REFUSED),
        (403, {}, Outcome.REFUSED),
        (404, {}, Outcome.REFUSED),
        (429, {}, Outcome.RETRY),
        (500, {}, Outcome.RETRY),
    ],
)
def test_a_reply_means_what_the_documentation_says(status: int, said: Any, outcome: Outcome) -> None:
    reply = Reply(status, body=json.dumps(said).encode())
    assert (pagerduty.read(reply, a_batch()) or judge(reply, NOW)).outcome is outcome


def test_a_backfilled_message_goes_where_nothing_rings(served: Served, sending: Start) -> None:
    ours = served(PagerDuty())
    one = sending(ours)
    one.accept(3, backfilled=True)
    one.accept()
    while one.step(DIGEST_SECONDS):
        pass
    assert one.states == [("delivered", "http_202")] * 4
    changed, alerted = sorted(ours.got, key=lambda asked: asked.path)
    assert (changed.path, alerted.path) == ("/v2/change/enqueue", "/v2/enqueue")
    assert changed.json["payload"]["summary"].startswith("3 backfilled messages on acme.example: High: ")
    assert len(ours.open) == 1


ENQUEUE = "https://events.eu.pagerduty.com/v2/enqueue"


@pytest.mark.parametrize("path", ["", "/v2/change/enqueue", "/generic/2010-04-15/create_event.json", "/v2/enqueue/"])
def test_another_address_than_that_of_events_is_a_mistake(path: str) -> None:
    (found,) = mistakes_of("pagerduty", url=f"https://events.pagerduty.com{path}", routing_key=KEY)
    assert "url must be https://events.pagerduty.com/v2/enqueue" in found


def test_the_class_of_an_alert_is_the_name_that_was_subscribed_to() -> None:
    body = pagerduty.render(a_delivery(name="finding.critical"), an_endpoint(own=OWN)).body
    assert json.loads(body)["payload"]["class"] == "finding.critical"


def test_the_key_is_needed_and_checked_and_never_shown() -> None:
    (missing,) = mistakes_of("pagerduty", url=ENQUEUE)
    assert "[webhooks.team]" in missing and "requires routing_key" in missing
    for wrong in ("R" * 31, "R" * 33, "R" * 31 + "-"):
        (found,) = mistakes_of("pagerduty", url=ENQUEUE, routing_key=wrong)
        assert "routing_key" in found and "32 letters and digits" in found and wrong not in found
    assert KEY not in repr(settings_of("pagerduty", routing_key=KEY))


def test_a_key_of_another_format_is_a_mistake() -> None:
    (found,) = mistakes_of("pagerduty", url=ENQUEUE, routing_key=KEY, apprise_tag="x")
    assert "apprise_tag requires format = apprise" in found
