"""What a filling outbox still takes: how full it is comes in, whether an event is refused goes out.

Refusing at the door keeps what was accepted; nothing is ever thrown out for something new. What a scan says of
itself, correlations and alerts are few, and always taken.
"""

from __future__ import annotations

from sfwebhooks.endpoints import RISK_NAMES
from sfwebhooks.events import WebhookEvent
from sfwebhooks.severity import Severity

#: the reasons under which events are counted that an endpoint asked for and is not sent
OUTBOX_FULL = "outbox_full"
UNWRITABLE = "unwritable"
#: reason -> what is said of such events behind their number
WITHHELD_WORDS = {
    OUTBOX_FULL: "not taken since the outbox was full",
    UNWRITABLE: "not taken since they cannot be written",
}
#: how full the outbox may be, as a part of what it may grow to, for findings of a severity to be taken
MARKS = {
    Severity.INFO: 0.7,
    Severity.LOW: 0.8,
    Severity.MEDIUM: 0.9,
    Severity.HIGH: 1.0,
    Severity.CRITICAL: 1.0,
}
FINDINGS = frozenset(RISK_NAMES.values())


def is_refused(event: WebhookEvent, fullness: float) -> bool:
    """Say whether an event is not taken by an outbox that is so full (1: as large as it may be)."""
    return event.type in FINDINGS and fullness >= MARKS[event.severity]


def fullness_mark(fullness: float) -> float:
    """Return the highest mark that is reached, 0 if none is."""
    return max((mark for mark in MARKS.values() if fullness >= mark), default=0.0)
