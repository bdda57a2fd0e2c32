"""The generic format: the event as JSON, in the envelope that the product's guide promised.

With `headers = security-audit` it is the envelope of that guide (`security_audit`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sfwebhooks.attempts import Reply, Verdict
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Delivery, timestamp
from sfwebhooks.formats import security_audit
from sfwebhooks.formats.content import Content, data_of
from sfwebhooks.jsontext import HOLE, kept, written_around
from sfwebhooks.naming import NAMINGS

SCHEMA = 1


def render(delivery: Delivery, endpoint: Endpoint) -> Content:
    """Return the message of a delivery."""
    told = message(delivery, endpoint)
    return Content(_json(told, [told]))


def render_batch(deliveries: Sequence[Delivery], endpoint: Endpoint) -> Content:
    """Return a JSON array with one such object for each delivery."""
    told = [message(delivery, endpoint) for delivery in deliveries]
    return Content(_json(told, told))


def read(reply: Reply) -> Verdict | None:
    """Return no opinion: the status says it all."""
    return None


def message(delivery: Delivery, endpoint: Endpoint) -> dict[str, Any]:
    """Return what is told of a delivery, in the words that the endpoint's `headers` ask for."""
    told = envelope(delivery, endpoint)
    return security_audit.translated(told, delivery, endpoint) if NAMINGS[endpoint.naming].dotted else told


def _json(value: object, messages: Sequence[dict[str, Any]]) -> bytes:
    """Return JSON; the data of the messages that are in it go out as the outbox has them, and are gone from these."""
    texts = [kept(one["data"]) for one in messages]
    for one in messages:
        one["data"] = HOLE
    return written_around(value, texts).encode()


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
        series=delivery.series,
        sequence=delivery.sequence,
        severity=event.severity.label,
    )
    return {
        "event_type": delivery.name,
        "timestamp": timestamp(event.at),
        "source": "spiderfoot",
        "version": scan.version if scan else "",
        "data": data_of(event, endpoint),
        "metadata": metadata,
    }
