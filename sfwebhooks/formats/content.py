"""Content: a message as a format made it, before it is signed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import WebhookEvent

#: bytes of a JSON array around its items
BRACKETS = len("[]")


@dataclass(frozen=True)
class Content:
    """A message's bytes and the headers that belong to them."""

    body: bytes
    #: header name -> value, Content-Type among them
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})


def array(items: Iterable[bytes]) -> bytes:
    """Return JSON texts as one JSON array."""
    return b"[" + b",".join(items) + b"]"


def data_of(event: WebhookEvent, endpoint: Endpoint) -> Mapping[str, Any]:
    """Return an event's data; with what a scan says of itself also a link to the scan, if the endpoint has one."""
    link = endpoint.link(event.scan) if event.type.startswith("scan_") else ""
    return {**event.data, "link": link} if link else event.data
