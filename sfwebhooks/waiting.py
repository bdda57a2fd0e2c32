"""Why deliveries wait, in words for a scan's log and for the commands: an endpoint's Health and Orders come in."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from contextlib import closing

from sfwebhooks.clocks import moment
from sfwebhooks.intake import WITHHELD_WORDS
from sfwebhooks.outbox import Outbox
from sfwebhooks.pacing import Condition, Health
from sfwebhooks.queues import Orders
from sfwebhooks.records import Records
from sfwebhooks.retry import State
from sfwebhooks.selection import Selection

#: why an endpoint is not sent to whose settings have a mistake: a state of a process, which is written nowhere
CONFIG_MISTAKE = "config_mistake"


def paused(orders: Orders) -> str:
    """Return in words until when an operator lets nothing be sent."""
    return (
        "paused until sfwebhooks resume"
        if math.isinf(orders.paused_until)
        else f"paused until {moment(orders.paused_until)}"
    )


def obstacle(health: Health, orders: Orders, now: float, mistake: str = "") -> str:
    """Return in a few words why an endpoint is not sent all that waits for it, or nothing if it is.

    Args:
        mistake: in its settings, as this process has them.
    """
    if mistake:
        return f"{CONFIG_MISTAKE}, {mistake}"
    if orders.paused_until > now:
        return paused(orders)
    if health.condition is Condition.DISABLED:
        return "it answered 410 Gone"
    return "" if health.healthy else f"{health.condition.value}, {health.reason}"


def why_waiting(name: str, health: Health, orders: Orders, now: float, mistake: str = "") -> str:
    """Return in words why an endpoint has deliveries that wait, and what helps; for the arguments see `obstacle`."""
    words = obstacle(health, orders, now, mistake)
    if mistake:
        return f"{words}; sent once its settings are right, see sfwebhooks check"
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


def summary(outbox: Outbox, scan_id: str, now: float, held: Mapping[str, str]) -> str:
    """Return in one line what became of a scan's deliveries.

    Args:
        held: endpoint -> the mistake in its settings, for those that have one.

    Raises:
        OutboxError: the outbox cannot be read.
    """
    with closing(Records(outbox.path)) as records:
        counts = records.counts(Selection(scan=scan_id))
    numbers = {state: sum(found.get(state.value, 0) for found in counts.values()) for state in State}
    waiting = {name: found["waiting"] for name, found in sorted(counts.items()) if "waiting" in found}
    obstacles = {name: obstacle(outbox.health(name), outbox.orders(name), now, held.get(name, "")) for name in waiting}
    withheld: Counter[str] = Counter()
    for reasons in outbox.withheld(scan_id).values():
        withheld.update(reasons)
    words = [f"{numbers[State.DELIVERED]} delivered", in_brief(waiting, obstacles), f"{numbers[State.DEAD]} dead"]
    words += [f"{number} {WITHHELD_WORDS[reason]}" for reason, number in withheld.items()]
    return ", ".join(words)


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
