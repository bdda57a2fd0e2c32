"""Deliveries and attempts as fields for JSON, the same for `--json` and the API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sfwebhooks.attempts import Attempt
from sfwebhooks.events import timestamp
from sfwebhooks.outbox.records import Record
from sfwebhooks.retry import State
from sfwebhooks.text import amount

#: characters of an id that people are shown; commands accept them in place of the whole id
SHORT = 8
#: endpoint -> state -> number of deliveries
Counts = Mapping[str, Mapping[str, int]]


def fields_of(record: Record) -> dict[str, Any]:
    """Return a delivery's fields for --json; times are RFC 3339."""
    waits = record.state is State.WAITING
    return {
        "delivery": record.id,
        "event": record.event_id,
        "endpoint": record.endpoint,
        "name": record.name,
        "type": record.type,
        "severity": record.severity.label,
        "scan": record.scan_id,
        "target": record.target,
        "series": record.series,
        "sequence": record.sequence,
        "state": record.state.value,
        "reason": record.reason,
        "attempts": record.attempts,
        "tries": record.tries,
        "replays": record.replays,
        "batch": record.batch,
        "accepted_at": timestamp(record.accepted_at),
        "due_at": timestamp(record.due_at) if waits else None,
        "settled_at": None if record.settled_at is None else timestamp(record.settled_at),
        "last_attempt": record.last and fields_of_attempt(record.last),
    }


def fields_of_attempt(attempt: Attempt) -> dict[str, Any]:
    """Return an attempt's fields for --json."""
    return {
        "at": timestamp(attempt.at),
        "seconds": round(attempt.seconds, 3),
        "status": attempt.status,
        "reason": attempt.reason,
        "trigger": attempt.trigger,
        "excerpt": attempt.excerpt,
    }


def counted_deliveries(number: int) -> str:
    """Return a number of deliveries in words."""
    return amount(number, "delivery", "deliveries")


def total(counts: Counts) -> int:
    """Return the sum of all counts."""
    return sum(sum(states.values()) for states in counts.values())
