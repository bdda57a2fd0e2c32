"""Why deliveries wait: an endpoint's Health and Orders come in, words go out, for a scan's log and for the commands."""

from __future__ import annotations

import math
from collections.abc import Mapping

from sfwebhooks.clocks import moment
from sfwebhooks.pacing import Condition, Health
from sfwebhooks.queues import Orders


def paused(orders: Orders) -> str:
    """Return in words until when an operator lets nothing be sent."""
    return (
        "paused until sfwebhooks resume"
        if math.isinf(orders.paused_until)
        else f"paused until {moment(orders.paused_until)}"
    )


def obstacle(health: Health, orders: Orders, now: float) -> str:
    """Return in a few words why an endpoint is not sent all that waits for it, or nothing if it is."""
    if orders.paused_until > now:
        return paused(orders)
    if health.condition is Condition.DISABLED:
        return "it answered 410 Gone"
    return "" if health.healthy else f"{health.condition.value}, {health.reason}"


def why_waiting(name: str, health: Health, orders: Orders, now: float) -> str:
    """Return in words why an endpoint has deliveries that wait, and what helps."""
    words = obstacle(health, orders, now)
    if orders.paused_until > now:
        return f"{words}; sfwebhooks resume {name}"
    if health.condition is Condition.DISABLED:
        return f"{words}; nothing is sent until its settings change, or sfwebhooks enable {name}"
    later = "" if health.may_send(now) else moment(health.open_at)
    if words:
        again = f"next probe at {later}" if later else "tried again now and then"
        return f"{words}; {again}, or at once with sfwebhooks resume {name}"
    if health.failures:
        return f"its last attempts failed{f'; the next one is at {later}' if later else ''}"
    return "for their next attempt"


def in_brief(waiting: Mapping[str, int], obstacles: Mapping[str, str]) -> str:
    """Return how many deliveries wait, and what for, as a part of a line.

    Args:
        waiting: endpoint -> how many.
        obstacles: endpoint -> as `obstacle` returns it.
    """
    total = sum(waiting.values())
    free = sum(number for name, number in waiting.items() if not obstacles[name])
    words = [f"sfwebhooks drain delivers {'them' if free == total else f'{free} of them'}"] if free else []
    words += [f"{number} for {name}: {obstacles[name]}" for name, number in waiting.items() if obstacles[name]]
    reasons = f" ({'; '.join(words)})" if words else ""
    return f"{total} waiting{reasons}"
