"""The live state of the endpoints: settings and outbox come in, a Look per endpoint and the sending processes go out.

`status` shows it, `check` and `doctor` show a part of it; whether an endpoint needs attention is decided here for all.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace

from sfwebhooks.config.settings import Settings
from sfwebhooks.delivery.maintenance import AGE_SHARE
from sfwebhooks.delivery.process import Role, senders
from sfwebhooks.delivery.status import (
    IDLE,
    Situation,
    condition_text,
    config_mistake,
    hanging,
    paused,
    situation,
    switch_of,
    why_waiting,
)
from sfwebhooks.delivery.troubleshooting import cure
from sfwebhooks.health import Health
from sfwebhooks.outbox.endpoint_state import Orders
from sfwebhooks.outbox.listing import Backlog
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.postgres.dsn import Place, is_missing
from sfwebhooks.outbox.selection import Selection
from sfwebhooks.reasons import Reason, WaitingReason
from sfwebhooks.retry import State
from sfwebhooks.text import duration


class Standing(Reason):
    """The live state of an endpoint; one in TROUBLE needs attention."""

    READY = ("ready", "it accepts messages, or was not tried since its settings changed")
    OFF = ("off", "the settings or the environment prevent sending to it")
    PAUSED = ("paused", "an operator paused it", "sfwebhooks resume {name}")
    MISTAKE = ("mistake", "its settings have a mistake; its events are accepted and kept", "sfwebhooks check")
    FAILING = (
        "failing",
        "it failed several times in a row; it is probed at intervals",
        "sfwebhooks test {name} shows whether it works again, sfwebhooks resume {name} sends at once",
    )
    HELD = (
        "held",
        "it refuses messages, or is configured wrongly; it is probed at intervals",
        "correct what the reason says; sfwebhooks resume {name} sends at once",
    )
    DISABLED = ("disabled", "it answered 410 Gone", "set its new url, or sfwebhooks enable {name}")
    HANGING = (
        "sender_hangs",
        "deliveries are waiting, and the process that owns its lock is inactive",
        "if that process is stopped or hangs, end it: kill -9 {pid}",
    )
    LATE = (
        "late",
        "a delivery has been waiting for longer than a tenth of max_age",
        WaitingReason.NO_SENDER.cure,
    )
    REMOVED = (
        "removed",
        "deliveries are waiting for it, and it is not in the settings",
        "sfwebhooks move sends them to another endpoint, sfwebhooks drop makes them dead letters",
    )
    UNKNOWN = ("unknown", "the outbox cannot be read", "sfwebhooks doctor")


TROUBLE = {
    Standing.MISTAKE,
    Standing.FAILING,
    Standing.HELD,
    Standing.DISABLED,
    Standing.HANGING,
    Standing.LATE,
    Standing.REMOVED,
}


@dataclass(frozen=True)
class Look:
    """The state of an endpoint."""

    standing: Standing
    #: in a few words
    words: str
    #: of the words: green, yellow, red
    colour: str = "green"
    #: details, one line each
    lines: tuple[str, ...] = ()
    #: what helps; empty: nothing is known, or needed
    cure: str = ""
    #: its deliveries, health and sender; None: there is no outbox
    situation: Situation | None = None
    #: number of its dead letters
    dead: int = 0

    @property
    def is_trouble(self) -> bool:
        """Whether it needs attention."""
        return self.standing in TROUBLE

    @property
    def advice(self) -> str:
        """What helps, or what usually helps in this state."""
        known = self.situation
        name, owner = known.name if known else "NAME", known.owner if known else None
        return self.cure or self.standing.cure.format(name=name, pid=owner.name if owner else "PID")


#: the locks of the outbox are another user's
UNSEEN = "this user cannot see which process sends: run this as the user of SpiderFoot"
#: exit code of a command that found something in need of attention
ATTENTION = 3
UNKNOWN = Look(Standing.UNKNOWN, "unknown", "yellow")


@dataclass(frozen=True)
class LiveState:
    """The live state of all endpoints."""

    #: those in the settings, and others with waiting deliveries
    looks: Mapping[str, Look]
    #: the processes that send on this machine: process id -> role
    senders: Mapping[int, Role] = field(default_factory=dict)
    #: whether this user can see all of them
    sees_senders: bool = True
    #: the names of those on other machines
    elsewhere: tuple[str, ...] = ()

    @property
    def sending(self) -> str:
        """The processes that send, in words, or what makes one send."""
        found = [f"{role.words} (process {pid})" for pid, role in self.senders.items()]
        found += [f"process {name}" for name in self.elsewhere]
        if found:
            return f"sending: {', '.join(found)}"
        return IDLE if self.sees_senders else UNSEEN


def live_state(found: Settings, place: Place) -> LiveState:
    """Return the live state of the endpoints.

    Args:
        place: of the outbox, which need not exist.

    Raises:
        OutboxError: it cannot be read.
    """
    names, now = [*(one.name for one in found.known), *sorted(unsettled(found))], time.time()
    if is_missing(place):
        return LiveState({name: _look(_nothing(name, found), found, "", now) for name in names})
    with closing(Outbox(place, listing=True)) as outbox:
        dead = outbox.listing.counts(Selection(states=(State.DEAD,)))
        looks, owners = {}, []
        for name in dict.fromkeys([*names, *outbox.retention.waiting_endpoints()]):
            known, number = situation(outbox, name, found, now, stays=True), dead.get(name, {}).get(State.DEAD.value, 0)
            said = "" if known.health.healthy else outbox.listing.last_words(name, known.health.reason)
            made = _look(known, found, said, now)
            lines = (*_lines(known, number, now), *([f"{name}: what to do: {made.cure}"] if made.cure else []))
            looks[name] = replace(made, lines=lines, dead=number)
            owners += [known.owner] if known.owner and not known.owner.hangs(now) else []
        here = [owner.pid for owner in owners if not owner.machine]
        elsewhere = sorted({owner.name for owner in owners if owner.machine})
        return LiveState(looks, senders(outbox, here), outbox.locks.are_readable, tuple(elsewhere))


def unsettled(found: Settings) -> frozenset[str]:
    """Return the names of the endpoints that accept nothing, since a mistake makes their events unknown."""
    return found.unused - {endpoint.name for endpoint in found.off}


def _nothing(name: str, found: Settings) -> Situation:
    """Return the situation of an endpoint without an outbox."""
    mistake = found.held.get(name, "")
    return Situation(name, Health(), Orders(), Backlog(), switch_of(found, name), mistake)


def _lines(known: Situation, dead: int, now: float) -> Iterator[str]:
    """Yield the details of an endpoint's deliveries, one line each."""
    backlog = known.backlog
    if backlog.oldest_at is not None:
        oldest = duration(max(now - backlog.oldest_at, 0.0))
        yield f"{known.name}: {backlog.waiting} waiting, the oldest for {oldest}: {why_waiting(known, now)}"
    if dead:
        yield f"{known.name}: {dead} dead: sfwebhooks dead list --endpoint {known.name}"


def _look(known: Situation, found: Settings, said: str, now: float) -> Look:
    """Return the state of an endpoint.

    Args:
        said: the receiver's words with the reason of its health.
    """
    endpoint = next((one for one in found.known if one.name == known.name), None)
    health, backlog = known.health, known.backlog

    def look(standing: Standing, words: str, colour: str, cure: str = "") -> Look:
        return Look(standing, words, colour, cure=cure, situation=known)

    if endpoint is None:
        is_known = known.name in found.unused or not found.is_complete
        return look(Standing.MISTAKE if is_known else Standing.REMOVED, "", "red")
    if known.switch:
        return look(Standing.OFF, "off", "yellow")
    if known.mistake:
        return look(Standing.MISTAKE, config_mistake(known.mistake), "red")
    if known.orders.paused_until > now:
        return look(Standing.PAUSED, paused(known.orders), "yellow")
    if not health.healthy and health.fingerprint == endpoint.fingerprint:
        return look(
            Standing(health.condition.value), condition_text(health), "red", cure(health.reason, said, known.name)
        )
    if backlog.waiting and known.owner and known.owner.hangs(now):
        return look(Standing.HANGING, hanging(known.owner), "red")
    limit = AGE_SHARE * endpoint.max_age  # a delivery that waits for its digest is as old as that
    if backlog.oldest_at is not None and backlog.oldest_at < endpoint.digest.due_until(now - limit):
        return look(Standing.LATE, "waiting too long", "red")
    if not health.healthy:
        return look(Standing.READY, "not tried since its settings changed", "yellow")
    refused = f", {backlog.refused} refused" if backlog.refused else ""
    return look(Standing.READY, f"ready{refused}", "yellow" if refused or health.failures else "green")
