"""The live state of the endpoints for `sfwebhooks check`: settings and outbox come in, a Look per endpoint goes out."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sfwebhooks.config.settings import Settings
from sfwebhooks.delivery.maintenance import AGE_SHARE
from sfwebhooks.delivery.status import Situation, condition_text, hanging, paused, situation, why_waiting
from sfwebhooks.delivery.troubleshooting import cure
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.files import is_deleted
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.selection import Selection
from sfwebhooks.retry import State
from sfwebhooks.text import duration


@dataclass(frozen=True)
class Look:
    """The state of an endpoint."""

    #: in a few words
    words: str
    #: of the words: green, yellow, red
    colour: str = "green"
    #: details, one line each
    lines: tuple[str, ...] = ()
    #: whether it needs attention
    is_trouble: bool = False


READY = Look("ready")
UNKNOWN = Look("unknown", "yellow")


def look(found: Settings, path: Path) -> dict[str, Look]:
    """Return the state of the endpoints in the settings, and of others with waiting deliveries.

    Args:
        path: of the outbox, which need not exist.

    Raises:
        OutboxError: it cannot be read.
    """
    looks = {one.name: READY for one in found.endpoints} | {one.name: Look("off", "yellow") for one in found.off}
    if is_deleted(path):
        return looks
    with closing(Outbox(path, listing=True)) as outbox:
        counts, now = outbox.listing.counts(Selection()), time.time()
        names = [*looks, *(name for name in outbox.retention.waiting_endpoints() if name not in looks)]
        settled = {endpoint.name: endpoint for endpoint in found.endpoints}
        for name in names:
            known, its = situation(outbox, name, found, now), counts.get(name, {})
            lines = list(_lines(known, its, now))
            if name in settled:
                looks[name] = _of_endpoint(settled[name], known, outbox, lines, now)
            elif name in looks:
                looks[name] = Look("off", "yellow", tuple(lines))
            else:
                looks[name] = Look("", "red", tuple(lines), is_trouble=True)
    return looks


def _lines(known: Situation, counts: Mapping[str, int], now: float) -> Iterator[str]:
    """Yield the details of an endpoint's deliveries, one line each."""
    backlog, dead = known.backlog, counts.get(State.DEAD.value, 0)
    if backlog.oldest_at is not None:
        oldest = duration(max(now - backlog.oldest_at, 0.0))
        yield f"{known.name}: {backlog.waiting} waiting, the oldest for {oldest}: {why_waiting(known, now)}"
    if dead:
        yield f"{known.name}: {dead} dead: sfwebhooks dead list --endpoint {known.name}"


def _of_endpoint(endpoint: Endpoint, known: Situation, outbox: Outbox, lines: list[str], now: float) -> Look:
    health, backlog = known.health, known.backlog
    if known.orders.paused_until > now:
        return Look(paused(known.orders), "yellow", tuple(lines))
    if not health.healthy and health.fingerprint == endpoint.fingerprint:
        helps = cure(health.reason, outbox.listing.last_words(endpoint.name, health.reason))
        lines += [f"{endpoint.name}: what to do: {helps}"] if helps else []
        return Look(condition_text(health), "red", tuple(lines), is_trouble=True)
    if backlog.waiting and known.owner and known.owner.hangs(now):
        return Look(hanging(known.owner), "red", tuple(lines), is_trouble=True)
    if backlog.oldest_at is not None and now - backlog.oldest_at > AGE_SHARE * endpoint.max_age and not known.switch:
        return Look("waiting too long", "red", tuple(lines), is_trouble=True)
    if not health.healthy:
        return Look("not tried since its settings changed", "yellow", tuple(lines))
    refused = f", {backlog.refused} refused" if backlog.refused else ""
    return Look(f"ready{refused}", "yellow" if refused or health.failures else "green", tuple(lines))
