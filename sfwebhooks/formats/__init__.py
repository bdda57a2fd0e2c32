"""The wire formats, one file each. A format renders a delivery, and reads a reply where the table does not do.

Adding one is a file with `render`, a line in FORMATS, and one in BATCHES or READERS if it fits there.
"""

from __future__ import annotations

from typing import Protocol

from sfwebhooks.attempts import Reply, Verdict
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Batch, Delivery
from sfwebhooks.formats import generic, security_audit, siem, slack
from sfwebhooks.formats.content import Content, array


class Format(Protocol):
    """What a module of this folder offers."""

    def render(self, delivery: Delivery, endpoint: Endpoint) -> Content:
        """Return the message for a delivery; the same bytes each time that it is asked."""


class Reader(Protocol):
    """What a format offers whose receivers say more than a status."""

    def read(self, reply: Reply) -> Verdict | None:
        """Return the verdict that only this format knows from a reply, or None: the table decides."""


#: formats that people read as a conversation: one attempt at a time, so that it keeps its order
CHATS = ("slack",)
FORMATS: dict[str, Format] = {
    "generic": generic,
    "security-audit": security_audit,
    "siem": siem,
    "slack": slack,
}
#: those of which several messages can go out in one request, as a JSON array
BATCHES = ("generic", "security-audit", "siem")
READERS: dict[str, Reader] = {
    "slack": slack,
}


def render(batch: Batch, endpoint: Endpoint) -> Content:
    """Return the message for a request; one delivery is a batch too where the endpoint accepts batches."""
    one = FORMATS[endpoint.format]
    if endpoint.batch_size == 1:
        return one.render(batch.deliveries[0], endpoint)
    return Content(array(one.render(delivery, endpoint).body for delivery in batch.deliveries))
