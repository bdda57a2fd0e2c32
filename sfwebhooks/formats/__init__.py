"""The wire formats, one file each. A format renders a delivery, and reads a reply where the table does not do.

Adding one is a file with `render` and `read`, and a line in FORMATS.
"""

from __future__ import annotations

from typing import Protocol

from sfwebhooks.attempts import Reply, Verdict
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Delivery
from sfwebhooks.formats import generic, siem, slack
from sfwebhooks.formats.content import Content


class Format(Protocol):
    """What a module of this folder offers."""

    def render(self, delivery: Delivery, endpoint: Endpoint) -> Content:
        """Return the message for a delivery; the same bytes each time that it is asked."""

    def read(self, reply: Reply) -> Verdict | None:
        """Return the verdict that only this format knows from a reply, or None: the table decides."""


#: formats that people read as a conversation: one attempt at a time, so that it keeps its order
CHATS = ("slack",)
FORMATS: dict[str, Format] = {
    "generic": generic,
    "siem": siem,
    "slack": slack,
}
