"""Admission to a filling outbox: an event and the fullness come in, whether it is refused goes out.

New events are refused so that accepted ones are kept; nothing is ever evicted for something new. Scan events,
correlations and alerts are few, and always accepted.
"""

from __future__ import annotations

from sfwebhooks.endpoints import FINDINGS
from sfwebhooks.events import WebhookEvent
from sfwebhooks.severity import Severity

#: fullness from which on findings of a severity are refused, as a fraction of the maximum size
MARKS = {
    Severity.INFO: 0.7,
    Severity.LOW: 0.8,
    Severity.MEDIUM: 0.9,
    Severity.HIGH: 1.0,
    Severity.CRITICAL: 1.0,
}
LEAST_MARK = min(MARKS.values())


def is_refused(event: WebhookEvent, fullness: float) -> bool:
    """Return whether an outbox with this fullness (1: maximum size) refuses an event."""
    return event.type in FINDINGS and fullness >= MARKS[event.severity]


def fullness_mark(fullness: float) -> float:
    """Return the highest mark that is reached, or 0."""
    return max((mark for mark in MARKS.values() if fullness >= mark), default=0.0)
