"""Content: a message as a format made it, before it is signed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Callable

from sfwebhooks.catalogue import WATCH_TYPES
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import FIRST_SECOND, LAST_SECOND, Batch, Delivery, Scan, WebhookEvent
from sfwebhooks.formats.size_limit import fitted
from sfwebhooks.jsontext import Stored, kept, written, written_around
from sfwebhooks.redaction import redacted, rules_of

#: headers of lines of JSON
NDJSON = {"Content-Type": "application/x-ndjson"}
#: name of the key by which an endpoint chooses them (`layout`)
LAYOUT_KEY = "layout"
#: bytes of a message without what the event, the scan and the endpoint have of their own
ENVELOPE = 640
#: bytes that are left for it around a signed statement
AROUND_LEAST = 2048


@dataclass(frozen=True)
class Content:
    """A message's bytes and the headers that belong to them."""

    body: bytes
    #: header name -> value, Content-Type among them
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})
    method: str = "POST"
    #: another place of the receiver, relative to the URL, such as change/enqueue; the URL's query is not for it
    path: str = ""
    #: whether it has no headers but these and those that the endpoint's settings name
    is_bare: bool = False


def measure(endpoint: Endpoint, surplus: Callable[[int], int]) -> Callable[[Delivery], int]:
    """Return a function that gives an upper bound of a delivery's bytes in a request, without building the message.

    Args:
        surplus: of the endpoint's format (`Format.surplus`).
    """
    own = ENVELOPE + _size([endpoint.ui_url, dict(endpoint.metadata)])
    rules = rules_of(endpoint, is_chat=False)  # the messages of chats are not measured

    def largest(delivery: Delivery) -> int:
        with suppress(ValueError):  # garbage is reported when a message is built from it
            delivery = redacted(Batch((delivery,)), rules).deliveries[0]
        data = delivery.event.data
        size = data.size if isinstance(data, Stored) else _size(dict(data))
        common = own + size + _size_of_scan(delivery.event.scan)
        return min(endpoint.max_body, common + surplus(common))

    return largest


@lru_cache(maxsize=16)
def _size_of_scan(scan: Scan | None) -> int:
    return _size([scan.id, scan.name, scan.target, scan.version]) if scan else 0


def _size(value: object) -> int:
    return len(written(value).encode())


def sized(
    message: dict[str, Any], endpoint: Endpoint, key: str = "data", before: bytes = b"", after: bytes = b""
) -> Content:
    """Return a message as JSON, in the endpoint's layout. The event's data, its value at `key`, go out as the outbox
    has them, unless the message alone, or a batch of it, would exceed the endpoint's `max_body`.

    Args:
        before: bytes in front of the message, and `after` behind it; both count, and neither is cut.
    """
    is_line = bool(endpoint.own) and endpoint.key(LAYOUT_KEY) == "ndjson"
    if is_line:
        after += b"\n"
    limit = endpoint.max_body - len(before) - len(after) - (len("[]") if endpoint.batch_size > 1 else 0)
    data = message[key]
    text = data.text if isinstance(data, Stored) else kept(data)
    body = written_around(message, key, text)
    if len(body) > limit and "payloadType" in data:  # of a signed statement no part is worth anything
        around = max(limit - len(text.encode()), AROUND_LEAST)
        body = written_around(fitted({**message, key: {}}, key, around), key, text)
    elif len(body) > limit:
        body = written(fitted({**message, key: dict(Stored(text))}, key, limit)).encode()
    if before or after:
        body = before + body + after
    return Content(body, NDJSON) if is_line else Content(body)


def array(messages: Sequence[Content]) -> Content:
    """Return messages as one JSON array."""
    return Content(b"[" + b",".join([message.body for message in messages]) + b"]")


def lines(messages: Sequence[Content]) -> Content:
    """Return messages, each of which ends with a line break, one after the other."""
    return replace(messages[0], body=b"".join([message.body for message in messages]))


def epoch_seconds(at: float) -> int | float:
    """Return epoch seconds with milliseconds, as a number that JSON writes without an exponent."""
    seconds = round(min(max(at, FIRST_SECOND), LAST_SECOND), 3)
    return int(seconds) if seconds.is_integer() else seconds


def epoch_milliseconds(at: float) -> int:
    """Return epoch seconds in whole milliseconds, which are those of `events.timestamp`."""
    at = min(max(at, FIRST_SECOND), LAST_SECOND)
    second = math.floor(at)
    return second * 1000 + round((at - second) * 1_000_000) // 1000


def watched_scan(event: WebhookEvent) -> Scan | None:
    """Return the scan to which a message of the watch links: the one that it is about, or the last one."""
    last = event.data.get("last_scan")
    scan_id = event.data.get("scan_id") or (last.get("scan_id") if isinstance(last, Mapping) else None)
    return Scan(str(scan_id), "", "", "") if scan_id else None


def event_data(event: WebhookEvent, endpoint: Endpoint) -> Mapping[str, Any]:
    """Return an event's data; with what a scan says of itself, or the watch of it, also a link to the scan, if the
    endpoint has one."""
    link = ""
    if event.scan is None and event.type in WATCH_TYPES:
        link = endpoint.link(watched_scan(event))
    elif event.type.startswith(("scan_", "surface_")):
        link = endpoint.link(event.scan)
    return {**event.data, "link": link} if link else event.data
