"""The pagerduty format: an alert or a change event of the Events API v2
(https://developer.pagerduty.com/docs/events-API-v2-overview).

An alert can wake somebody up. So only a live finding, correlation, alert, failed scan or trouble that the watch saw
makes one, of at least low severity; everything else is a change event, which is listed at the service and never
notifies. The same finding in another scan has the same `dedup_key`, so it joins the open alert.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sfwebhooks.attempts import Outcome, Reply, Verdict
from sfwebhooks.catalogue import WATCH_TYPES
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Batch, Delivery, WebhookEvent, timestamp
from sfwebhooks.fingerprints import dedup_key, fingerprint, of_event
from sfwebhooks.formats.chat import notice
from sfwebhooks.formats.content import Content
from sfwebhooks.formats.cutting import utf8_length, within
from sfwebhooks.formats.digest import Capacity, digest_notice
from sfwebhooks.formats.format import Format, Key
from sfwebhooks.formats.notice import FOUND_VIA, Notice
from sfwebhooks.formats.replies import NOT_OK, json_of
from sfwebhooks.jsontext import written
from sfwebhooks.severity import Severity
from sfwebhooks.text import in_line, readable, text_of
from sfwebhooks.ticketing import GONE, Ticket, TicketState, is_about_ticket, ticket_of

#: PagerDuty counts characters; in bytes it is right however it counts them
SUMMARY_MAX = 1024
#: bytes of other texts; with all of them a message has less than half of the 512 KB that PagerDuty accepts
NAME_MAX = 255
BODY_MAX = 20_000
VALUE_MAX = 2_000
DETAILS_MAX = 40
DIGEST_ROOM = Capacity(12_000, utf8_length)
ENQUEUE_PATH = "/v2/enqueue"
#: relative to it
CHANGE_PATH = "change/enqueue"
LEVELS = {
    Severity.CRITICAL: "critical",
    Severity.HIGH: "error",
    Severity.MEDIUM: "warning",
    Severity.LOW: "info",
    Severity.INFO: "info",
}
#: events that can be an alert -> the keys of their data that say what it is about; a host's finding has its own
INCIDENTS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(
        ("finding.critical", "finding.high", "high_risk_event", "medium_risk_event", "low_risk_event",
         "vulnerability_found", "malware_detected"),
        ("finding_id", "title"),
    ),
    "correlation_found": ("rule_id", "title"),
    "system_alert": ("alert", "endpoint", "endpoints"),
    "resource_warning": ("resource", "endpoint"),
    "scan_failed": (),
    "scan_missed": ("schedule",),
    "scan_overdue": ("scan_id",),
    "scan_thin": ("lineage",),
    "modules_degraded": ("lineage",),
}  # fmt: skip
#: alerts of one endpoint's health, which the last one ends
HEALTH = ("endpoint_failing", "endpoint_held", "endpoint_disabled", "endpoint_healthy")
ROUTING_KEY = Key(
    "routing_key",
    "the integration key of a service",
    r"[A-Za-z0-9]{32}",
    "the 32 letters and digits of an Events API v2 integration",
    needed=True,
    secret=True,
)

Json = dict[str, Any]


def render(delivery: Delivery, endpoint: Endpoint) -> Content:
    """Return the event of a delivery."""
    shown, event = notice(delivery, endpoint), delivery.event
    known = ticket_of(delivery.handle.value) if delivery.handle else None
    if event.type == GONE and known and not (delivery.is_late and known.seen_at > event.at):
        resolved = {"routing_key": endpoint.key(ROUTING_KEY.name), "event_action": "resolve", "dedup_key": known.key}
        return Content(written(resolved).encode())
    key = endpoint.key(ROUTING_KEY.name)
    past = "Backfilled: " if delivery.backfilled else "Replayed: " if delivery.replayed else ""
    action = "" if past else action_for(event)
    body = (
        alert_event(replace(shown, event=delivery.name), event, key, action)
        if action
        else change_event(shown, event.at, key, past)
    )
    return Content(written(body).encode(), path="" if action else CHANGE_PATH)


def change_digest(batch: Batch, endpoint: Endpoint) -> Content:
    """Return the change event of several deliveries that come late."""
    shown, latest = digest_notice(batch, endpoint, DIGEST_ROOM), max(one.event.at for one in batch.deliveries)
    body = change_event(shown, latest, endpoint.key(ROUTING_KEY.name))
    return Content(written(body).encode(), path=CHANGE_PATH)


def action_for(event: WebhookEvent) -> str:
    """Return what a live event does to an alert; nothing if it makes a change event."""
    if event.type == "system_alert" and event.data.get("alert") == HEALTH[-1]:
        return "resolve"
    if event.type in WATCH_TYPES and event.data.get("resolved") is True:
        return "resolve"
    return "trigger" if event.type in INCIDENTS and event.severity >= Severity.LOW else ""


def alert_event(notice: Notice, event: WebhookEvent, key: str, action: str) -> Json:
    """Return an alert event."""
    group, whole = event.scan.name if event.scan else "", event.whole or event
    names = {"component": text_of(event.data, "module"), "group": group, "class": notice.event}
    about = change_event(notice, event.at, key)
    return {
        "routing_key": key,
        "event_action": action,
        "dedup_key": dedup_key(whole_target(whole), subject(whole), key),
        "client": "SpiderFoot",
        **({"client_url": notice.link} if notice.link else {}),
        **about,
        "payload": {
            **about["payload"],
            "severity": LEVELS[event.severity],
            **{name: within(value, NAME_MAX) for name, value in names.items() if value.strip()},
        },
    }


def change_event(notice: Notice, at: float, key: str, past: str = "") -> Json:
    """Return a change event of some epoch seconds; `past` is put in front of its summary."""
    links = [{"href": url, "text": words} for words, url in notice.links]
    return {
        "routing_key": key,
        "payload": {
            "summary": within(past + notice.summary, SUMMARY_MAX),
            "source": within(notice.target, NAME_MAX).strip() or "sfwebhooks",
            "timestamp": timestamp(at),
            "custom_details": custom_details(notice),
        },
        **({"links": links} if links else {}),
    }


def custom_details(notice: Notice) -> dict[str, str]:
    """Return body, facts, sources and small print of a notice."""
    found = {"Details": within(notice.body, BODY_MAX)} if notice.body else {}
    for label, value in notice.facts[:DETAILS_MAX]:
        found.setdefault(within(label, NAME_MAX), within(value, VALUE_MAX))
    if notice.trail:
        found[FOUND_VIA] = within(" ← ".join(notice.trail), VALUE_MAX)
    return {**found, "Scan": within(notice.small_print, VALUE_MAX)}


def whole_target(event: WebhookEvent) -> str:
    """Return the target of an event as messages have it."""
    return readable(event.scan.target) if event.scan else text_of(readable(event.data), "target")


def subject(event: WebhookEvent) -> str:
    """Return the fingerprint of what an alert is about."""
    found = of_event(event)
    if found:
        return found.hex()
    about = {key: event.data[key] for key in INCIDENTS[event.type] if key in event.data}
    if about.get("alert") in HEALTH:
        about["alert"] = "health"
    return fingerprint(event.type, about)


def wrong_path(path: str) -> str:
    """Return what is wrong with the path of a URL."""
    return "" if path.endswith(ENQUEUE_PATH) else f"must be https://events.pagerduty.com{ENQUEUE_PATH}"


def read(reply: Reply, batch: Batch) -> Verdict | None:
    """Return the verdict of PagerDuty's reply, or None: the status is enough. Any 2xx but 202 is from something else,
    unless it says success. An alert that is open, or was resolved, is remembered by its dedup_key."""
    success = reply.status is not None and 200 <= reply.status < 300 and reply.status != 202
    if success and json_of(reply).get("status") != "success":
        return NOT_OK
    delivery, key = batch.deliveries[0], json_of(reply).get("dedup_key")
    if not (reply.status == 202 and isinstance(key, str) and is_about_ticket(delivery.event.subject)):
        return None
    event, known = delivery.event, ticket_of(delivery.handle.value) if delivery.handle else None
    if known and event.type == GONE:
        alert = replace(known, state=TicketState.CLOSED)
    else:
        title = known.title if known else in_line(text_of(readable(event.data), "event_type"), NAME_MAX)
        name = in_line(readable(f"alert {key[:8]}"), NAME_MAX)
        alert = Ticket("", key, TicketState.OPEN, name, title=title, seen_at=event.at, scan_id=event.scan_id)
    return Verdict(Outcome.DELIVERED, "http_202", handle=alert.text)


FORMAT = Format(
    render,
    digest=change_digest,
    named_max=DIGEST_ROOM.named_max,
    read=read,
    keys=(ROUTING_KEY,),
    is_chat=True,
    interval=0.5,
    wrong_path=wrong_path,
    resolves=True,
)
