"""Alerts: a change of an endpoint's health, an expiring certificate or a filling outbox comes in; the event that
reports it goes out, with its receivers.

An alert's id is derived from its subject, so a problem is reported once, whichever process notices it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Scan, WebhookEvent, id_of, timestamp
from sfwebhooks.health import Condition, Health
from sfwebhooks.screening import Wanted
from sfwebhooks.severity import Severity
from sfwebhooks.text import duration

if TYPE_CHECKING:
    from sfwebhooks.network.tls import Expiry

ALERT = "system_alert"
WARNING = "resource_warning"
#: condition that an endpoint has entered -> its part of the message
WORDS = {
    Condition.HEALTHY: "works again; waiting deliveries are being sent",
    Condition.FAILING: "is failing; deliveries are kept and probes continue",
    Condition.HELD: "is held: it refuses deliveries, or its settings are wrong; deliveries are kept and probes"
    " continue",
    Condition.DISABLED: "answered 410 Gone; deliveries are kept, and nothing is sent until an operator acts",
}
#: the same for several endpoints: whether they are healthy -> words
MANY = {
    True: "work again; waiting deliveries are being sent",
    False: "are failing; deliveries are kept and probes continue",
}


def health_alert(changed: Sequence[tuple[Endpoint, Health]], now: float) -> WebhookEvent:
    """Return the alert about one or more endpoints that became unhealthy, or healthy, together.

    Args:
        changed: endpoints with their current health.
        now: epoch seconds.
    """
    (endpoint, first), names = changed[0], sorted(endpoint.name for endpoint, _ in changed)
    healthy, since = first.healthy, min(health.since for _, health in changed)
    reasons = ", ".join(dict.fromkeys(health.reason for _, health in changed if health.reason))
    why = f" ({reasons})" if reasons else ""
    if len(changed) == 1:
        message = f"Endpoint {endpoint.name} ({endpoint.place}) {WORDS[first.condition]}{why}."
    else:
        message = f"{len(names)} endpoints {MANY[healthy]}{why}: {', '.join(names)}."
    data: dict[str, Any] = {
        "alert": f"endpoint_{first.condition.value}",
        "endpoint": endpoint.name,
        **({"endpoints": names} if len(names) > 1 else {}),
        "message": message,
        "reason": reasons,
        "since": timestamp(since),
    }
    severity = Severity.INFO if healthy else Severity.HIGH
    identity = f"health/{'/'.join(names)}/{first.condition.value}/{since!r}"
    return replace(_event(ALERT, identity, severity, now, data), subject="health")


def died_alert(endpoint: str, reason: str, number: int, now: float) -> WebhookEvent:
    """Return the alert about dead letters of an endpoint for one reason: one a day.

    Args:
        reason: as in the outbox.
        number: count at the time of the alert.
    """
    words = "delivery is" if number == 1 else "deliveries are"
    data: dict[str, Any] = {
        "alert": "deliveries_dead",
        "endpoint": endpoint,
        "message": f"{number} {words} dead for endpoint {endpoint} ({reason}): sfwebhooks dead list"
        f" --endpoint {endpoint}. Further ones for this reason are not alerted today.",
        "reason": reason,
        "number": number,
    }
    return _event(ALERT, f"dead/{endpoint}/{reason}/{now // 86400:.0f}", Severity.MEDIUM, now, data)


def report_of_deaths(
    endpoint: str, reason: str, number: int, endpoints: Collection[Endpoint], now: float
) -> tuple[WebhookEvent, list[Wanted]]:
    """Return the alert about dead letters (for the arguments see `died_alert`), and its receivers."""
    event = died_alert(endpoint, reason, number, now)
    return event, alert_receivers(event, [one for one in endpoints if one.name == endpoint], endpoints)


def certificate_alert(endpoint: Endpoint, expiry: Expiry, now: float) -> WebhookEvent:
    """Return the alert about an endpoint's certificate that has expired or soon will: one per certificate and week."""
    data: dict[str, Any] = {
        "alert": "certificate_expiring",
        "endpoint": endpoint.name,
        "message": f"Endpoint {endpoint.name} ({endpoint.place}): {expiry.words}.",
        "ends": timestamp(expiry.ends_at),
    }
    weeks = max(int(expiry.seconds_left // (7 * 86400)), -1)
    identity = f"certificate/{endpoint.name}/{expiry.what}/{expiry.subject}/{expiry.ends_at!r}/{weeks}"
    return _event(ALERT, identity, Severity.HIGH if weeks < 1 else Severity.MEDIUM, now, data)


def outbox_warning(
    fullness: float, max_bytes: int, mark: float, key: str, scan: Scan | None, now: float
) -> WebhookEvent:
    """Return the warning that an outbox is filling up.

    Args:
        mark: the watermark that it has reached.
        key: names the occasion: each mark is reported once for it.
    """
    megabytes = max_bytes / 1_000_000
    refused = {0.7: "informational findings are", 0.8: "findings of low severity and below are",
               0.9: "findings of medium severity and below are"}.get(mark, "all findings are")  # fmt: skip
    data: dict[str, Any] = {
        **(scan.about if scan else {}),
        "resource": "outbox_size",
        "value": round(fullness * megabytes, 1),
        "limit": round(megabytes, 1),
        "unit": "MB",
        "message": f"The outbox is {fullness:.0%} full: {refused} refused from now on (outbox_full).",
    }
    return _event(WARNING, f"outbox/{mark}/{key}", Severity.HIGH if mark >= 1 else Severity.MEDIUM, now, data, scan)


def age_warning(endpoint: Endpoint, oldest_at: float, limit: float, scan: Scan | None, now: float) -> WebhookEvent:
    """Return the warning that deliveries to an endpoint have been waiting for long.

    Args:
        oldest_at: epoch seconds at which the oldest of them was accepted; each such time is reported once.
        limit: seconds.
    """
    age = now - oldest_at
    later = f"nothing is sent to it: {endpoint.mistake}" if endpoint.mistake else ""
    data: dict[str, Any] = {
        **(scan.about if scan else {}),
        "resource": "queue_age",
        "endpoint": endpoint.name,
        "value": round(age, 1),
        "limit": round(limit, 1),
        "unit": "s",
        "message": f"The oldest delivery to endpoint {endpoint.name} ({endpoint.place}) has waited for {duration(age)};"
        f" {later or f'deliveries expire after {duration(endpoint.max_age)}'}.",
    }
    return _event(WARNING, f"queue_age/{endpoint.name}/{oldest_at!r}", Severity.MEDIUM, now, data, scan)


def trouble_warning(scan: Scan, trouble: str, seconds: float, missed: int, now: float) -> WebhookEvent:
    """Return the warning that the outbox could not be written for a while.

    Args:
        seconds: duration of the trouble.
        missed: events without room in memory; they are read from the scanner's database at the end.
    """
    later = f"; {missed} events will be sent later, from SpiderFoot's database" if missed else ""
    data: dict[str, Any] = {
        **scan.about,
        "resource": "disk",
        "value": round(seconds, 1),
        "limit": 0,
        "unit": "s",
        "message": f"The outbox could not be written for {seconds:.0f} s ({trouble}){later}.",
    }
    return _event(WARNING, f"trouble/{scan.id}/{now!r}", Severity.MEDIUM, now, data, scan)


def alert_receivers(
    event: WebhookEvent, about: Sequence[Endpoint], endpoints: Iterable[Endpoint], itself: bool = False
) -> list[Wanted]:
    """Return the receivers of an alert about endpoints: the subscribers to it, and the fallbacks, whatever they
    subscribe to.

    Args:
        itself: whether an alert about a single endpoint also goes to that endpoint if it subscribes to it.
    """
    names, fallbacks = {one.name for one in about}, {one.fallback for one in about}
    found = []
    for other in endpoints:
        name = other.name_for(event) or (event.type if other.name in fallbacks and not other.takes_scans else None)
        if name and (itself or {other.name} != names):
            found.append(Wanted(other.name, name))
    return found


def _event(
    event_type: str, identity: str, severity: Severity, now: float, data: dict[str, Any], scan: Scan | None = None
) -> WebhookEvent:
    return WebhookEvent(id_of(identity), event_type, severity, now, data, scan)
