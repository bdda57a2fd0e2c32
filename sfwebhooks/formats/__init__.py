"""The wire formats, one file each. A format renders a delivery, and reads a reply where the table does not do.

Adding one is a file with `render` and `read`, and a line in FORMATS; with `render_batch` also one in BATCHES.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sfwebhooks.attempts import Reply, Verdict
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Batch, Delivery
from sfwebhooks.formats import generic, siem, slack
from sfwebhooks.formats.content import Content


class Format(Protocol):
    """What a module of this folder offers."""

    def render(self, delivery: Delivery, endpoint: Endpoint) -> Content:
        """Return the message for a delivery; the same bytes each time that it is asked."""

    def read(self, reply: Reply) -> Verdict | None:
        """Return the verdict that only this format knows from a reply, or None: the table decides."""


class BatchFormat(Protocol):
    """What a format offers that can put several deliveries into one request."""

    def render_batch(self, deliveries: Sequence[Delivery], endpoint: Endpoint) -> Content:
        """Return the message for some deliveries, each with its own id in it; the same bytes each time."""


#: formats that people read as a conversation: one attempt at a time, so that it keeps its order
CHATS = ("slack",)
FORMATS: dict[str, Format] = {
    "generic": generic,
    "siem": siem,
    "slack": slack,
}
BATCHES: dict[str, BatchFormat] = {
    "generic": generic,
    "siem": siem,
}


def render(batch: Batch, endpoint: Endpoint) -> Content:
    """Return the message for what goes out in one request; one delivery is a batch too where an endpoint has them."""
    if endpoint.batch_size > 1:
        return BATCHES[endpoint.format].render_batch(batch.deliveries, endpoint)
    return FORMATS[endpoint.format].render(batch.deliveries[0], endpoint)
