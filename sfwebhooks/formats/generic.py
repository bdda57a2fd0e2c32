"""The generic format: the event as JSON, in the envelope that the product's guide promised."""

from __future__ import annotations

from typing import Any

from sfwebhooks.catalogue import SCHEMA
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Delivery, timestamp
from sfwebhooks.formats.content import Content, event_data, sized
from sfwebhooks.formats.format import Format
from sfwebhooks.formats.layout import LAYOUT, joined


def render(delivery: Delivery, endpoint: Endpoint) -> Content:
    """Return the message of a delivery."""
    return sized(message(delivery, endpoint), endpoint)


def message(delivery: Delivery, endpoint: Endpoint) -> dict[str, Any]:
    """Return event_type, timestamp, source, version, data and metadata of a delivery."""
    event, time = delivery.event, timestamp(delivery.event.at)
    scan = event.scan
    metadata: dict[str, Any] = dict(endpoint.metadata)
    if scan:
        metadata["scan_name"] = scan.name
    metadata.update(
        schema=SCHEMA,
        event_id=event.id,
        delivery_id=delivery.id,
        endpoint=endpoint.name,
        series=delivery.series,
        sequence=delivery.sequence,
        severity=event.severity.label,
        time=time,
    )
    if delivery.backfilled:
        metadata["backfilled"] = True
    return {
        "event_type": delivery.name,
        "timestamp": time.partition(".")[0] + "Z",  # as in the guide
        "source": "spiderfoot",
        "version": scan.version if scan else "",
        "data": event_data(event, endpoint) if endpoint.ui_url else event.data,
        "metadata": metadata,
    }


FORMAT = Format(render, join=joined, keys=(LAYOUT,), is_whole=True)
