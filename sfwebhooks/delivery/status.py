"""Waiting reasons: the state of an endpoint comes in, a text for a scan's log and for the commands goes out."""

from __future__ import annotations

import math
import os
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass

from sfwebhooks.config.location import disabled
from sfwebhooks.config.settings import Settings
from sfwebhooks.delivery.ownership import Owner, owner_of
from sfwebhooks.delivery.process import service_lock, service_pid
from sfwebhooks.errors import OutboxError
from sfwebhooks.formats.digest import DIGEST_MAX
from sfwebhooks.health import Condition, Health
from sfwebhooks.outbox.endpoint_state import Orders
from sfwebhooks.outbox.listing import Backlog
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.postgres.dsn import Place
from sfwebhooks.outbox.selection import Selection
from sfwebhooks.outbox.store import Store
from sfwebhooks.reasons import WITHHELD_WORDS, WaitingReason
from sfwebhooks.retry import State
from sfwebhooks.sending import limits_of
from sfwebhooks.text import duration, moment

#: no process sends to an endpoint
IDLE = f"{WaitingReason.NO_SENDER.meaning}: {WaitingReason.NO_SENDER.cure}"
#: the same after a command that sent for a while
ENDED = "no process is sending any more: use a longer --timeout, or sfwebhooks run, which sends until it is stopped"
#: no process sends to an endpoint that is failing or held
UNPROBED = "no process is sending: sfwebhooks drain tries it at once, sfwebhooks run at intervals"
#: the text for a failing or held endpoint that the command itself has tried
TRIED = "its messages are kept, the next scan or sfwebhooks run tries it again, and sfwebhooks check shows what to do"
#: shortest delay by the pace that is mentioned, in seconds
PACED_SECONDS = 10.0


@dataclass(frozen=True)
class Situation:
    """The state of an endpoint with waiting deliveries."""

    name: str
    health: Health
    orders: Orders
    backlog: Backlog
    #: why the settings prevent sending to it; empty: they do not, or are not known
    switch: str = ""
    #: mistake in its settings; empty: none, or the settings are not known
    mistake: str = ""
    #: seconds between the starts of two attempts at its URL
    interval: float = 0.0
    #: most deliveries in one attempt
    batch_size: int = 1
    #: the process that sends to it
    owner: Owner | None = None
    #: epoch seconds at which the digest is due that its deliveries wait for, inf: at the end of their scan; None: none
    digest_at: float | None = None

    @property
    def paced_seconds(self) -> float:
        """The seconds that its pace allows the waiting deliveries at least."""
        return math.ceil(self.backlog.waiting / self.batch_size) * self.interval


def situation(outbox: Store, name: str, found: Settings | None, now: float, stays: bool = False) -> Situation:
    """Return the state of an endpoint.

    Args:
        found: the settings; None: not known.
        now: epoch seconds.
        stays: whether this process goes on sending, if it sends.

    Raises:
        OutboxError: the outbox cannot be read.
    """
    endpoint = next((one for one in found.endpoints if one.name == name), None) if found else None
    owner = None
    with suppress(OutboxError):  # a lock of another user; a sender would log that
        owner = owner_of(outbox.locks, name, endpoint.url_id if endpoint else "", now)
        pid = 0 if owner else service_pid(service_lock(outbox.path), found.digest if found else "")
        owner = Owner(pid, now) if pid else owner  # it has not looked since the last one came
    return Situation(
        name,
        outbox.endpoints.health(name),
        outbox.endpoints.orders(name),
        outbox.listing.backlog(name),
        switch_of(found, name),
        endpoint.mistake if endpoint else "",
        endpoint.interval if endpoint else 0.0,
        DIGEST_MAX if endpoint and endpoint.digest.is_on else endpoint.batch_size if endpoint else 1,
        owner if owner and (stays or owner.pid != os.getpid()) else None,
        outbox.queue.digest_at(limits_of(endpoint), now) if endpoint else None,
    )


def switch_of(found: Settings | None, name: str) -> str:
    """Return why the settings prevent sending to an endpoint, or nothing if they do not."""
    if disabled():
        return "SFWEBHOOKS_DISABLED is set: this process sends nothing"
    if found is None:
        return ""
    if found.enabled is False:
        return "webhooks are off (enabled = false)"
    if any(one.name == name for one in found.off):
        return f"it is off (enabled = false in its section); sfwebhooks enable {name}"
    if name in found.unused:
        return "its events are not known because of a mistake in its settings, which sfwebhooks check shows"
    if any(one.name == name for one in found.endpoints):
        return ""
    if not found.is_complete:
        return "the readable part of the settings has no such endpoint; sfwebhooks check shows the mistakes"
    return (
        f"the settings have no such endpoint: sfwebhooks move --endpoint {name} --to NAME sends them to another one,"
        f" sfwebhooks drop --endpoint {name} --state waiting turns them into dead letters"
    )


def config_mistake(mistake: str) -> str:
    """Return the text for an endpoint that is held by a mistake in its settings."""
    return f"{WaitingReason.MISTAKE.value}, {mistake.rstrip('.')}"


def paused(orders: Orders) -> str:
    """Return the text for an operator's pause, with its end."""
    return (
        "paused until sfwebhooks resume"
        if math.isinf(orders.paused_until)
        else f"paused until {moment(orders.paused_until)}"
    )


def condition_text(health: Health) -> str:
    """Return the text for an endpoint that is failing or held."""
    return f"{health.condition.value}, {health.reason}, unhealthy since {moment(health.since)}"


def digest_text(found: Situation) -> str:
    """Return the text for deliveries that wait for their digest; empty if they do not."""
    if found.digest_at is None:
        return ""
    when = "the end of the scan" if math.isinf(found.digest_at) else f"its digest at {moment(found.digest_at)}"
    return f"waits for {when}"


def hanging(owner: Owner) -> str:
    """Return the text for a sending process without signs of life."""
    return f"process {owner.name} owns the lock of this URL and has been inactive since {moment(owner.at)}"


def waiting_reason(found: Situation, now: float) -> WaitingReason:
    """Return why an endpoint has waiting deliveries."""
    if found.switch:
        return WaitingReason.OFF
    if found.mistake:
        return WaitingReason.MISTAKE
    if found.orders.paused_until > now:
        return WaitingReason.PAUSED
    if found.health.condition is Condition.DISABLED:
        return WaitingReason.GONE
    if found.owner and found.owner.hangs(now):
        return WaitingReason.HANGING
    if not found.health.healthy:
        return WaitingReason(found.health.condition.value)
    if found.digest_at is not None:
        return WaitingReason.DIGEST
    return WaitingReason.SENDING if found.owner else WaitingReason.NO_SENDER


def obstacle(found: Situation, now: float) -> str:
    """Return in a few words what keeps an endpoint's deliveries waiting, or nothing."""
    reason = waiting_reason(found, now)
    if reason is WaitingReason.HANGING and found.owner:
        return hanging(found.owner)
    return {
        WaitingReason.OFF: found.switch,
        WaitingReason.MISTAKE: config_mistake(found.mistake),
        WaitingReason.PAUSED: paused(found.orders),
        WaitingReason.GONE: "it answered 410 Gone",
        WaitingReason.HELD: condition_text(found.health),
        WaitingReason.FAILING: condition_text(found.health),
        WaitingReason.DIGEST: digest_text(found),
    }.get(reason, "")


def why_waiting(found: Situation, now: float, idle: str = IDLE) -> str:
    """Return why an endpoint has waiting deliveries, and the command that helps.

    Args:
        idle: the text to use if no process sends.
    """
    reason, words, owner = waiting_reason(found, now), obstacle(found, now), found.owner
    cure = reason.cure.format(name=found.name, pid=owner and owner.name)
    if reason is WaitingReason.SENDING and owner:
        return "; ".join([*_delays(found, now), f"process {owner.name} is sending"])
    if reason is WaitingReason.NO_SENDER:
        return "; ".join([*_delays(found, now), idle])
    if reason in (WaitingReason.HELD, WaitingReason.FAILING):
        opens = found.health.may_send(now)
        again = "probed at intervals" if opens else f"next probe at {moment(found.health.open_at)}"
        return f"{words}; {f'{again}, or {cure}' if owner else UNPROBED}"
    return f"{words}; {cure}" if cure else words


def _delays(found: Situation, now: float) -> Iterator[str]:
    """Yield the reasons why deliveries to a healthy endpoint wait."""
    health, backlog = found.health, found.backlog
    if health.failures:
        later = "" if health.may_send(now) else f"; the next one is at {moment(health.open_at)}"
        yield f"its last attempts failed{later}"
    if backlog.refused:
        times = "was refused and is" if backlog.refused == 1 else "were refused and are"
        yield f"{backlog.refused} of them {times} set aside until the next try"
    if backlog.due_at is not None and backlog.due_at > now:
        yield f"the next attempt is due at {moment(backlog.due_at)}"
    if paced(found):
        yield paced(found)


def paced(found: Situation) -> str:
    """Return the pace and the time that is left, if the pace is why deliveries wait, else nothing."""
    if found.paced_seconds <= PACED_SECONDS:
        return ""
    return f"paced to {pace(found.interval)}, about {duration(found.paced_seconds)} for the waiting deliveries"


def pace(interval: float) -> str:
    """Return seconds between two attempts in the form of the option `rate`."""
    per_unit = ((1.0, "s"), (60.0, "m"), (3600.0, "h"))
    size, unit = next(((size, unit) for size, unit in per_unit if interval <= size), per_unit[-1])
    return f"{size / interval:.3g}/{unit}"


def summary(outbox: Store, scan_id: str, now: float, found: Settings, sender: int = 0) -> str:
    """Return a summary of a scan's deliveries in one line.

    Args:
        found: the scan's settings.
        sender: id of another process, which continues to send; 0: there is none.

    Raises:
        OutboxError: the outbox cannot be read.
    """
    counts = outbox.listing.counts(Selection(scan=scan_id))
    known = {
        name: situation(outbox, name, found, now)
        for name, numbers in sorted(counts.items())
        if State.WAITING.value in numbers
    }
    totals = {state: sum(numbers.get(state.value, 0) for numbers in counts.values()) for state in State}
    waiting = {name: counts[name][State.WAITING.value] for name in known}
    obstacles = {name: obstacle(one, now) for name, one in known.items()}
    paces = {name: paced(one) for name, one in known.items() if not obstacles[name]}
    withheld: Counter[str] = Counter()
    for reasons in outbox.scans.withheld(scan_id).values():
        withheld.update(reasons)
    left = in_brief(waiting, obstacles, sender, paces)
    words = [f"{totals[State.DELIVERED]} delivered", left, f"{totals[State.DEAD]} dead"]
    words += [f"{number} {WITHHELD_WORDS.get(reason, reason)}" for reason, number in withheld.items()]
    return ", ".join(words)


def in_brief(
    waiting: Mapping[str, int], obstacles: Mapping[str, str], sender: int = 0, paces: Mapping[str, str] | None = None
) -> str:
    """Return the number of waiting deliveries, who sends them, their pace and their obstacles, as a part of a line.

    Args:
        waiting: endpoint -> number of deliveries.
        obstacles: endpoint -> result of `obstacle`.
        sender: id of the process that sends; 0: there is none.
        paces: endpoint -> result of `paced`.
    """
    total = sum(waiting.values())
    free = sum(number for name, number in waiting.items() if not obstacles[name])
    who = f"process {sender} is sending" if sender else "no process is sending now, sfwebhooks drain delivers"
    words = [f"{who} {'them' if free == total else f'{free} of them'}"] if free else []
    words += [f"{name} is {pace}" for name, pace in (paces or {}).items() if pace]
    words += [f"{number} for {name}: {obstacles[name]}" for name, number in waiting.items() if obstacles[name]]
    reasons = f" ({'; '.join(words)})" if words else ""
    return f"{total} waiting{reasons}"


def situations(
    place: Place, found: Settings | None, wanted: Callable[[str], bool] = lambda name: True
) -> Iterator[Situation]:
    """Yield the situation of each endpoint that has waiting deliveries.

    Args:
        place: of the outbox.
        found: the settings; None: not known.
        wanted: which endpoints.

    Raises:
        OutboxError: the outbox cannot be read.
    """
    with closing(Outbox(place, listing=True)) as outbox:
        for name in filter(wanted, outbox.retention.waiting_endpoints()):
            yield situation(outbox, name, found, time.time())


def why_left(found: Situation, now: float) -> str:
    """Return why an endpoint has waiting deliveries after a command that tried to send them."""
    return why_waiting(found, now, ENDED).replace(UNPROBED, TRIED)


def waiting_line(found: Situation, why: Callable[[Situation, float], str] = why_waiting) -> str:
    """Return a line with the number of deliveries waiting for an endpoint, and the reason, if there is one."""
    reason = why(found, time.time())
    return f"{found.name}: {found.backlog.waiting} waiting{f': {reason}' if reason else ''}"


def waiting_lines(place: Place, found: Settings | None, names: Collection[str]) -> Iterator[str]:
    """Yield the line of each of these endpoints that has waiting deliveries; none if the outbox is locked: the command
    that prints them has done its work.

    Args:
        place: of the outbox.
        found: the settings; None: not known.
    """
    with suppress(OutboxError):
        yield from map(waiting_line, situations(place, found, names.__contains__))
