"""Naming: the names of a message's own headers, and of its event, in one guide or the other.

`signing` names the headers after it, `formats.security_audit` the event. A receiver recognises the naming by the
headers. Those of Standard Webhooks are sent as well and have the same names in both.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from sfwebhooks.endpoints import ALIASES
from sfwebhooks.events import Batch, Delivery


@dataclass(frozen=True)
class Naming:
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


def event_name(sent: Delivery | Batch, naming: Naming) -> str:
    """Return the name under which an event is sent, "batch" for several of them."""
    if isinstance(sent, Batch):
        if len(sent.deliveries) > 1:
            return sent.name
        sent = sent.deliveries[0]
    if not naming.dotted:
        return sent.name
    alias = ALIASES.get(sent.name, sent.name)
    # the guide has a name for each severity, and none for both
    return f"finding.{sent.event.severity.label}" if alias == ALIASES["high_risk_event"] else alias


def naming_of(headers: Iterable[str]) -> Naming:
    """Return the naming of a received message, from the names of its headers; SPIDERFOOT if none is known."""
    names = {plain_name(name) for name in headers}
    return next((one for one in NAMINGS if names & set(map(plain_name, one.headers))), SPIDERFOOT)


def plain_name(header: str) -> str:
    """Return a header's name as it is compared: CGI and WSGI say HTTP_WEBHOOK_ID."""
    return re.sub(r"^http-", "", header.lower().replace("_", "-"))
