"""The generic format: the event as JSON, in the envelope that the product's guide promised."""

from __future__ import annotations

from typing import Any

from sfwebhooks.attempts import Reply, Verdict
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Delivery, timestamp
from sfwebhooks.formats.content import Content, to_json

SCHEMA = 1


def render(delivery: Delivery, endpoint: Endpoint) -> Content:
    """Return the envelope of a delivery."""
    return Content(to_json(envelope(delivery, endpoint)))


def read(reply: Reply) -> Verdict | None:
    """Return no opinion: the status says it all."""
    return None


def envelope(delivery: Delivery, endpoint: Endpoint) -> dict[str, Any]:
    """Return event_type, timestamp, source, version, data and metadata of a delivery."""
    event = delivery.event
    scan = event.scan
    metadata: dict[str, Any] = dict(endpoint.metadata)
    if scan:
        metadata["scan_name"] = scan.name
    metadata.update(
        schema=SCHEMA,
        event_id=event.id,
        delivery_id=delivery.id,
        endpoint=endpoint.name,
        sequence=delivery.sequence,
        severity=event.severity.label,
    )
    return {
        "event_type": delivery.name,
        "timestamp": timestamp(event.at),
        "source": "spiderfoot",
        "version": scan.version if scan else "",
        "data": dict(event.data),
        "metadata": metadata,
    }
