"""Names of events: a delivery or a batch comes in, the name under which a guide's receivers know it goes out."""

from __future__ import annotations

from sfwebhooks.endpoints import ALIASES
from sfwebhooks.events import Batch, Delivery
from sfwebhooks.naming import Naming


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
