"""The way of an event, in order: `accept` on the scan's side, `deliver` on the sending side.

accept:   event -> endpoints that want it -> outbox (committed)
deliver:  batch (of one, mostly) -> format -> sign -> send -> judge -> decide -> outbox (settled)
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

#: characters of a reply that the delivery log keeps
EXCERPT = 1024
#: and, of one to a large batch, for each of its deliveries
EXCERPT_LEAST = 64
#: short replies whose excerpts are remembered
EXCERPTS_MAX = 32


def uptime() -> float:
    """Return seconds that nobody sets, and that go on while the machine sleeps, where the system has them."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)


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
    #: whether this process has tried it
    tried: bool = False
    #: seconds by a clock that nobody sets
    steady: Clock = uptime
    #: halves of requests that were split, which go before anything else
    pieces: list[Batch] = field(default_factory=list)
    #: why the last attempt failed, as it was logged; empty after a success
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

    def learn(self, verdict: Verdict, now: float, batch: Batch) -> Change:
        """Let the health follow a verdict on a request, one thread at a time; return what that changed."""
        with self._guard:
            before = self.health
            split = is_split(batch, verdict, self.endpoint.retry_schedule, before.healthy)
            silent = split or is_at_fault(batch, verdict, before.era)
            change = Change(before, before.after(verdict, now, self.steady(), silent))
            self.health, self.tried = change.after, True
            return change

    def look_at_outage(self) -> None:
        """Let a disabled endpoint, which is never probed, grow as old as one whose probes fail."""
        with self._guard:
            if self.health.condition is Condition.DISABLED:
                self.health = self.health.dark_for_longer(self.steady())

    def report(self, now: float) -> None:
        """Note that an alert about the health of now was committed."""
        with self._guard:
            self.health = self.health.reported(now)

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
    """Return the reply's first characters, or the failure in words, in one line, with the endpoint's secrets masked."""
    text = clean_text(reply.detail or reply.words)
    return printable(masked(" ".join(text.split()), endpoint, EXCERPT))
