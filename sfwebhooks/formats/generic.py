"""The generic format: the event as JSON, in the envelope that the product's guide promised.

With `headers = security-audit` it is the envelope of that guide (`security_audit`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sfwebhooks.attempts import Reply, Verdict
from sfwebhooks.catalogue import SCHEMA
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Delivery, timestamp, whole_seconds
from sfwebhooks.formats import security_audit
from sfwebhooks.formats.content import BRACKETS, Content, array, event_data
from sfwebhooks.formats.cutting import fitted
from sfwebhooks.formats.naming import NAMINGS
from sfwebhooks.jsontext import HOLE, Stored, kept, written, written_around


def render(delivery: Delivery, endpoint: Endpoint) -> Content:
    """Return the message of a delivery."""
    return Content(_json(delivery, endpoint, endpoint.max_body))


def render_batch(deliveries: Sequence[Delivery], endpoint: Endpoint) -> Content:
    """Return a JSON array with one such object for each delivery."""
    return Content(array([_json(delivery, endpoint, endpoint.max_body - BRACKETS) for delivery in deliveries]))


def read(reply: Reply) -> Verdict | None:
    """Return no opinion: the status says it all."""
    return None


def message(delivery: Delivery, endpoint: Endpoint) -> dict[str, Any]:
    """Return what is told of a delivery, in the words that the endpoint's `headers` ask for."""
    told = envelope(delivery, endpoint)
    return security_audit.translated(told, delivery, endpoint) if NAMINGS[endpoint.naming].dotted else told


def _json(delivery: Delivery, endpoint: Endpoint, limit: int) -> bytes:
    """Return a delivery's message; its data go out as the outbox has them, unless it would exceed `limit` bytes."""
    told = message(delivery, endpoint)
    data = kept(told["data"])
    body = written_around({**told, "data": HOLE}, [data]).encode()
    if len(body) <= limit:
        return body
    return written(fitted({**told, "data": dict(Stored(data))}, "data", limit)).encode()


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
        time=timestamp(event.at),
    )
    if delivery.backfilled:
        metadata["backfilled"] = True
    return {
        "event_type": delivery.name,
        "timestamp": whole_seconds(event.at),
        "source": "spiderfoot",
        "version": scan.version if scan else "",
        "data": event_data(event, endpoint),
        "metadata": metadata,
    }
