"""The path of an event, in order: `accept` on the scan's side, `deliver` on the sending side.

accept:   event -> endpoints that want it -> outbox (committed)
deliver:  batch (mostly of one) -> format -> sign -> send -> judge -> decide -> outbox (settled)
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Callable

from sfwebhooks.attempts import Attempt, Failure, Reply, Verdict
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Batch, WebhookEvent, clean_text, printable
from sfwebhooks.formats import FORMATS, render
from sfwebhooks.formats.content import measure
from sfwebhooks.health import Change, Condition, Health
from sfwebhooks.masking import masked
from sfwebhooks.network.sender import Sender
from sfwebhooks.outbox.claim import Queue
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.queue import Orders
from sfwebhooks.retry import Settlement, decide, in_batch, is_at_fault, is_split, judge
from sfwebhooks.signing import sign

#: epoch seconds
Clock = Callable[[], float]

#: most characters of a reply in the delivery log
EXCERPT = 1024
#: and least for each delivery of a large batch
EXCERPT_LEAST = 64
#: most short replies whose excerpts are cached
EXCERPTS_MAX = 32


def uptime() -> float:
    """Return seconds of a clock that cannot be set and, where supported, continues while the machine sleeps."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)


@dataclass
class Line:
    """An endpoint on the sending side: its settings, its connections, its health."""

    endpoint: Endpoint
    sender: Sender
    health: Health = field(default_factory=Health)
    #: the health as written to the outbox
    written: Health = field(default_factory=Health)
    orders: Orders = field(default_factory=Orders)
    #: attempts in flight
    in_flight: int = 0
    #: whether this process has tried it
    tried: bool = False
    #: seconds by a clock that cannot be set
    steady: Clock = uptime
    #: halves of split requests, which are sent before anything else
    pieces: list[Batch] = field(default_factory=list)
    #: logged reason of the last failed attempt; empty after a success
    logged: str = ""
    #: short reply -> its excerpt
    _excerpts: dict[bytes, str] = field(default_factory=dict, repr=False)
    _guard: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @cached_property
    def queue(self) -> Queue:
        """How its deliveries are claimed."""
        endpoint = self.endpoint
        return Queue(
            endpoint.name,
            size=endpoint.batch_size,
            wait=endpoint.batch_wait,
            max_bytes=endpoint.batch_max_bytes,
            measure=measure(endpoint),
        )

    @property
    def longest_wait(self) -> float:
        """Upper bound for the wait until a delivery's next attempt, in seconds."""
        return max((*self.endpoint.retry_schedule, self.endpoint.retry_after_max)) * 2

    @cached_property
    def hurried_queue(self) -> Queue:
        """The same without waiting for a batch to fill."""
        return replace(self.queue, wait=0.0)

    def excerpt(self, reply: Reply) -> str:
        """Return the masked excerpt of a reply. Most are short and equal, and are masked only once."""
        key = reply.body if len(reply.body) <= EXCERPT_LEAST and not reply.detail else None
        if key is None or key not in self._excerpts:
            shown = excerpt(reply, self.endpoint)
            if key is None or len(self._excerpts) >= EXCERPTS_MAX:
                return shown
            self._excerpts[key] = shown
        return self._excerpts[key]

    def may_send(self, now: float) -> bool:
        """Whether anything may be sent at `now` (epoch seconds)."""
        return self.health.may_send(now) and now >= self.orders.paused_until

    def learn(self, verdict: Verdict, now: float, batch: Batch) -> Change:
        """Update the health by a verdict on a request, one thread at a time; return the change."""
        with self._guard:
            before = self.health
            split = is_split(batch, verdict, self.endpoint.retry_schedule, before.healthy)
            silent = split or is_at_fault(batch, verdict, before.era)
            change = Change(before, before.after(verdict, now, self.steady(), silent))
            self.health, self.tried = change.after, True
            return change

    def look_at_outage(self) -> None:
        """Count a disabled endpoint, which is never probed, as if its probes failed."""
        with self._guard:
            if self.health.condition is Condition.DISABLED:
                self.health = self.health.dark_for_longer(self.steady())

    def report(self, now: float) -> None:
        """Record that an alert about the current health was committed."""
        with self._guard:
            self.health = self.health.reported(now)

    def obey(self, orders: Orders) -> None:
        """Follow the operator's orders for the endpoint."""
        with self._guard:
            if orders.resets != self.orders.resets:
                self.health = self.health.reopened(self.health.fingerprint)
            self.orders = orders

    def open(self) -> None:
        """Allow the next delivery, whatever the health says."""
        with self._guard:
            self.health = replace(self.health, open_at=0.0)


def accept(
    events: Iterable[WebhookEvent],
    endpoints: tuple[Endpoint, ...],
    outbox: Outbox,
    now: float,
    backfilled: bool = False,
) -> int:
    """Commit the deliveries of some events; return how many are new.

    Args:
        backfilled: the events are of a past scan, and are marked as such.

    Raises:
        OutboxError: nothing was committed.
    """
    items = [(event, wanted_by(event, endpoints)) for event in events]
    kept = [item for item in items if item[1]]
    return outbox.accept(kept, now, backfilled) if kept else 0


def wanted_by(event: WebhookEvent, endpoints: tuple[Endpoint, ...]) -> list[tuple[str, str]]:
    """Return (endpoint, name under which it wants the event) for each endpoint that does."""
    named = ((endpoint.name, endpoint.name_for(event)) for endpoint in endpoints)
    return [(endpoint, name) for endpoint, name in named if name]


def deliver(
    batch: Batch, line: Line, clock: Clock, making: AbstractContextManager[None] | None = None
) -> tuple[Attempt, list[Settlement], Change]:
    """Make one attempt; return it with the settlement of each delivery and the change of the line's health.

    Args:
        making: entered while the message is rendered.
    """
    endpoint, begin = line.endpoint, clock()
    probe = not line.health.healthy
    try:
        with making or nullcontext():
            request = sign(render(batch, endpoint), batch, endpoint, begin)
        reply = line.sender.send(request)
    except MemoryError:
        reply = Reply(failure=Failure.SHORTAGE, detail="this process has no memory left")
    end = clock()
    verdict = FORMATS[endpoint.format].read(reply) or judge(reply, end, endpoint.retry_after_max)
    change = line.learn(verdict, end, batch)
    settlements = decide(batch, verdict, endpoint.retry_schedule, change, end)
    settlements = in_batch(settlements, batch) if endpoint.batch_size > 1 else settlements
    trigger = "probe" if probe else "replay" if batch.replayed else "schedule"
    words = line.excerpt(reply)[: max(EXCERPT // len(batch.deliveries), EXCERPT_LEAST)]
    attempt = Attempt(begin, max(end - begin, 0.0), reply.status, verdict.reason, words, trigger)
    return attempt, settlements, change


def excerpt(reply: Reply, endpoint: Endpoint) -> str:
    """Return the beginning of the reply, or the failure in words, in one line, with the endpoint's secrets masked."""
    text = clean_text(reply.detail or reply.words)
    return printable(masked(" ".join(text.split()), endpoint, EXCERPT))
