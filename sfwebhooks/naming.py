"""Naming: the names of a message's own headers in one guide or the other.

`signing` names the headers after it, and `formats/event_names` the event. A receiver recognises the naming by the
headers. Those of Standard Webhooks are sent as well and have the same names in both.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple


class Naming(NamedTuple):
    """The names after one guide."""

    event: str
    delivery: str
    timestamp: str
    replay: str
    signature: str
    #: whether events go by their dotted names, in an envelope of that guide
    dotted: bool = False

    @property
    def headers(self) -> tuple[str, ...]:
        """All headers that it names."""
        return (self.event, self.delivery, self.timestamp, self.replay, self.signature)


SPIDERFOOT = Naming(
    event="X-SpiderFoot-Event",
    delivery="X-SpiderFoot-Delivery",
    timestamp="X-SpiderFoot-Timestamp",
    replay="X-SpiderFoot-Replay",
    signature="X-SpiderFoot-Signature",
)
SECURITY_AUDIT = Naming(
    event="X-Security-Event",
    delivery="X-Security-Delivery",
    timestamp="X-Security-Timestamp",
    replay="X-Security-Replay",
    signature="X-Security-Signature",
    dotted=True,
)
#: SPIDERFOOT counts if a received message has headers of both
NAMINGS = (SPIDERFOOT, SECURITY_AUDIT)


def naming_of(headers: Iterable[str]) -> Naming:
    """Return the naming of a received message, from the names of its headers; SPIDERFOOT if none is known."""
    names = {plain_name(name) for name in headers}
    return next((one for one in NAMINGS if names & set(map(plain_name, one.headers))), SPIDERFOOT)


def plain_name(header: str) -> str:
    """Return a header's name as it is compared: CGI and WSGI say HTTP_WEBHOOK_ID."""
    return re.sub(r"^http-", "", header.lower().replace("_", "-"))
