"""The way of an event, in order: `accept` on the scan's side, `deliver` on the sending side.

accept:   event -> endpoints that want it -> outbox (committed)
deliver:  batch (of one, mostly) -> format -> sign -> send -> judge -> plan -> outbox (settled)
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Callable

from sfwebhooks.attempts import Attempt, Outcome, Reply, Verdict
from sfwebhooks.claims import Queue
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Batch, WebhookEvent, clean_text, printable
from sfwebhooks.formats import FORMATS, render
from sfwebhooks.masking import masked
from sfwebhooks.outbox import Outbox
from sfwebhooks.pacing import Change, Health
from sfwebhooks.queues import Orders
from sfwebhooks.retry import Settlement, State, judge, plan
from sfwebhooks.sender import Sender
from sfwebhooks.signing import sign

#: epoch seconds
Clock = Callable[[], float]
#: characters of a reply that the delivery log keeps
EXCERPT = 1024
#: and, of one to a large batch, for each of its deliveries
EXCERPT_LEAST = 64
#: short replies whose excerpts are remembered
EXCERPTS_MAX = 32


@dataclass
class Line:
    """An endpoint as the sending side has it: its settings, its connections, its health."""

    endpoint: Endpoint
    sender: Sender
    health: Health = field(default_factory=Health)
    #: the health as the outbox has it
    written: Health = field(default_factory=Health)
    orders: Orders = field(default_factory=Orders)
    #: attempts that are under way
    in_flight: int = 0
    #: short reply -> its excerpt
    _excerpts: dict[bytes, str] = field(default_factory=dict, repr=False)
    _guard: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @cached_property
    def queue(self) -> Queue:
        """How its deliveries are claimed."""
        return Queue(self.endpoint.name, self.endpoint.batch_size, self.endpoint.batch_wait)

    @property
    def longest_wait(self) -> float:
        """Seconds that nothing can have to wait for its next attempt."""
        return max((*self.endpoint.retry_schedule, self.endpoint.retry_after_max)) * 2

    @cached_property
    def hurried_queue(self) -> Queue:
        """The same where nothing waits for a batch to fill."""
        return replace(self.queue, wait=0.0)

    def excerpt(self, reply: Reply) -> str:
        """Return what may be kept of a reply. Most are short and all the same, and are not searched again."""
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

    def learn(self, verdict: Verdict, now: float) -> Change:
        """Let the health follow a verdict, one thread at a time; return what that changed."""
        with self._guard:
            change = Change(self.health, self.health.after(verdict, now))
            self.health = change.after
            return change

    def obey(self, orders: Orders) -> None:
        """Follow what an operator says of the endpoint."""
        with self._guard:
            if orders.resets != self.orders.resets:
                self.health = self.health.reopened(self.health.fingerprint)
            self.orders = orders

    def open(self) -> None:
        """Let the next delivery go, whatever the health says."""
        with self._guard:
            self.health = replace(self.health, open_at=0.0)

    def shift(self, seconds: float) -> None:
        """Follow a clock that was set forward, or back."""
        with self._guard:
            self.health = self.health.shifted(seconds)


def accept(
    events: Iterable[WebhookEvent],
    endpoints: tuple[Endpoint, ...],
    outbox: Outbox,
    now: float,
    backfilled: bool = False,
) -> int:
    """Commit the deliveries that some events cause; return how many are new.

    Args:
        backfilled: the events are of a scan that is over, and are marked so.

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
    """Make one attempt; return what it was, what becomes of each delivery, and how the line's health followed.

    Args:
        making: entered while the message is made.
    """
    endpoint, begin = line.endpoint, clock()
    probe = not line.health.healthy
    with making or nullcontext():
        request = sign(render(batch, endpoint), batch, endpoint, begin)
    reply = line.sender.send(request)
    end = clock()
    verdict = FORMATS[endpoint.format].read(reply) or judge(reply, end, endpoint.retry_after_max)
    change = line.learn(verdict, end)
    settlements = settle(batch, verdict, endpoint, change.after, end)
    trigger = "probe" if probe else "replay" if batch.replayed else "schedule"
    words = line.excerpt(reply)[: max(EXCERPT // len(batch.deliveries), EXCERPT_LEAST)]
    attempt = Attempt(begin, max(end - begin, 0.0), reply.status, verdict.reason, words, trigger)
    return attempt, settlements, change


def settle(batch: Batch, verdict: Verdict, endpoint: Endpoint, health: Health, now: float) -> list[Settlement]:
    """Return what becomes of each delivery of a batch.

    That several in one request are refused says nothing about each: they go on in two halves, until it is known which
    one is meant.
    """
    if verdict.outcome is Outcome.DEAD and len(batch.deliveries) > 1:
        return [
            Settlement(State.WAITING, f"split: {verdict.reason}", now, counts=False, batch=half.id)
            for half in batch.halves
            for _ in half.deliveries
        ]
    settlement = plan(verdict, batch.attempts, endpoint.retry_schedule, health.healthy, now, health.failures)
    if settlement.state is State.WAITING and endpoint.batch_size > 1:
        settlement = replace(settlement, batch=batch.id)
    return [settlement] * len(batch.deliveries)


def excerpt(reply: Reply, endpoint: Endpoint) -> str:
    """Return the reply's first characters, or the failure in words, in one line, with the endpoint's secrets masked."""
    text = clean_text(reply.detail or reply.body.decode("utf-8", "replace"))
    return printable(masked(" ".join(text.split()), endpoint, EXCERPT))
