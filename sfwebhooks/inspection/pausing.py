"""Pausing and resuming an endpoint: its name comes in, the outbox keeps the order, and what it changed goes out."""

from __future__ import annotations

import math
import time
from contextlib import closing
from typing import Any

from sfwebhooks.events import timestamp
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.postgres.dsn import Place, is_missing

#: seconds of a pause that only resume ends
FOREVER = float("inf")


def pause_endpoint(place: Place, name: str, seconds: float = FOREVER) -> float:
    """Send nothing to an endpoint for a time; return when it ends, in epoch seconds.

    Args:
        place: of the outbox, which need not exist.

    Raises:
        OutboxError: it cannot be written.
    """
    until = time.time() + seconds
    with closing(Outbox(place)) as outbox:
        outbox.endpoints.pause(name, until)
    return until


def fields_of_pause(name: str, until: float) -> dict[str, Any]:
    """Return the fields of a pause for JSON."""
    return {"endpoint": name, "until": timestamp(until) if math.isfinite(until) else None}


def resume_endpoint(place: Place, name: str) -> bool:
    """Send to an endpoint again, at once; return whether it was paused or not healthy.

    Args:
        place: of the outbox, which need not exist.

    Raises:
        OutboxError: it cannot be read or written.
    """
    if is_missing(place):
        return False
    with closing(Outbox(place, listing=True)) as outbox:
        orders, health = outbox.endpoints.orders(name), outbox.endpoints.health(name)
    now = time.time()
    with closing(Outbox(place)) as outbox:
        outbox.endpoints.resume(name, now)
    return orders.paused_until > now or not health.healthy


def fields_of_resuming(name: str, was_stopped: bool) -> dict[str, Any]:
    """Return the fields of a resumption for JSON."""
    return {"endpoint": name, "was_stopped": was_stopped}
