"""The example of each event type: an entry of the catalogue comes in, a delivery as an endpoint would get it goes out.

The commands show them, and a format tries them out on settings that can be wrong in ways that only an event shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

from sfwebhooks.catalogue import EVENT_TYPES, EventType
from sfwebhooks.catalogue.scan import SERIES
from sfwebhooks.endpoints import RISK_NAMES, Endpoint, Secret
from sfwebhooks.events import Delivery, Scan, WebhookEvent, delivery_id, id_of
from sfwebhooks.severity import Severity

ENDPOINT = Endpoint("security_team", Secret("https://hooks.acme.test/webhook"))
#: time of the examples whose data has no time, in epoch seconds (2026-11-20T09:40:00Z)
MOMENT = datetime(2026, 11, 20, 9, 40, tzinfo=timezone.utc).timestamp()


def examples_for(endpoint: Endpoint) -> Iterator[Delivery]:
    """Yield the examples of all event types that an endpoint subscribes to, of findings one for each severity."""
    for entry in EVENT_TYPES:
        made = example(entry, entry.name)
        severities = [one for one, name in RISK_NAMES.items() if name == entry.name] or [made.event.severity]
        for severity in severities:
            event = replace(made.event, severity=severity)
            name = endpoint.name_for(event)
            if name:
                yield replace(readdressed(made, endpoint), event=event, name=name)


def readdressed(delivery: Delivery, endpoint: Endpoint) -> Delivery:
    """Return a delivery as it would be to another endpoint."""
    its_id = delivery_id(delivery.event.id, endpoint.name)
    return replace(delivery, id=its_id, endpoint=endpoint.name)


def example(entry: EventType, name: str) -> Delivery:
    """Return the delivery of a type's example to an endpoint that subscribes to it under `name`."""
    data = entry.example
    scan = None
    if "target_type" in data:
        scan = Scan(data["scan_id"], "Weekly scan of acme.test", data["target"], data["target_type"], "4.0.0")
    event = WebhookEvent(
        id=id_of(f"example/{entry.name}"),
        type=entry.name,
        severity=_severity(entry, data),
        at=_moment(data),
        data=data,
        scan=scan,
    )
    return Delivery(delivery_id(event.id, ENDPOINT.name), event, ENDPOINT.name, name, series=SERIES, sequence=1)


def _severity(entry: EventType, data: dict[str, Any]) -> Severity:
    if "severity" in data:
        return Severity.parse(data["severity"])
    return entry.shown or next(iter(entry.severities), Severity.INFO)


def _moment(data: dict[str, Any]) -> float:
    """Return the example's time in epoch seconds."""
    if "elapsed" in data or not data.keys() & {"generated", "ended", "started"}:
        return MOMENT
    text = data.get("generated") or data.get("ended") or data["started"]
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()
