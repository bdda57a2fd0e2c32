"""The SendingState of an endpoint: what this process knows of it and of its deliveries. Verdicts and orders come in,
whether and how to send next goes out.

It has one owner, the sending queue of the endpoint's URL (`delivery/send_queue`), and one lock, shared by the endpoints
of that URL and held only to change what is here: never while anything is sent, read or written.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING

from sfwebhooks.attempts import SUCCESSES, Verdict
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Batch
from sfwebhooks.formats import FORMATS
from sfwebhooks.formats.content import measure
from sfwebhooks.formats.digest import DIGEST_BYTES, DIGEST_MAX, DIGEST_SECONDS
from sfwebhooks.health import Change, Condition, Health
from sfwebhooks.outbox.claim import Limits
from sfwebhooks.outbox.endpoint_state import Orders
from sfwebhooks.own_secrets import Mask
from sfwebhooks.retry import is_at_fault, is_split, is_too_large
from sfwebhooks.system import Clock, uptime
from sfwebhooks.ticketing import SETTLING_SECONDS

if TYPE_CHECKING:
    from sfwebhooks.network.sender import Sender
    from sfwebhooks.network.tokens import TokenSender

#: single messages of a moment are sent within these seconds; more of them go together
SINGLES_SECONDS = 15.0


def load_senders() -> None:
    """Import what makes attempts, in a process that is there to send: later the locks of many URLs may have taken all
    descriptors."""
    import_module("sfwebhooks.network.tokens")


def limits_of(endpoint: Endpoint) -> Limits:
    """Return how an endpoint's deliveries are claimed."""
    form = FORMATS[endpoint.format]
    if endpoint.takes_scans:
        return Limits(
            endpoint.name,
            size=form.bundle_max,
            max_bytes=form.request_max,
            is_whole=not form.splits(endpoint),
            digesting=endpoint.digest,
        )
    limits = Limits(
        endpoint.name,
        size=endpoint.batch_size,
        wait=endpoint.batch_wait,
        max_bytes=min(endpoint.batch_max_bytes, form.request_max),
        measure=measure(endpoint, form.surplus),
        is_careful=form.converse is not None,
    )
    if not form.digest:
        return limits
    digest = replace(
        limits,
        size=DIGEST_MAX,
        wait=DIGEST_SECONDS,
        max_bytes=DIGEST_BYTES,
        measure=measure(replace(endpoint, max_body=DIGEST_BYTES), form.surplus),  # it is made of uncut data
        named_max=form.named_max,
    )
    if not endpoint.digest.is_on:
        return replace(limits, late=digest)
    singles = int(min(max(SINGLES_SECONDS / endpoint.interval, 1.0), DIGEST_MAX)) if endpoint.interval else DIGEST_MAX
    return replace(digest, late=digest, digesting=endpoint.digest, singles=singles)


@dataclass
class SendingState:
    """An endpoint on the sending side."""

    endpoint: Endpoint
    health: Health = field(default_factory=Health)
    #: the health as written to the outbox, and whether an attempt has changed it since
    written: Health = field(default_factory=Health)
    is_news: bool = False
    orders: Orders = field(default_factory=Orders)
    #: whether this process holds the endpoint's lock, and may send
    is_owned: bool = False
    #: how often another process has taken it over from this one; results of what was claimed before the last time come
    #: too late
    takeovers: int = 0
    #: attempts in flight
    in_flight: int = 0
    #: whether this process has tried it
    tried: bool = False
    #: seconds by a clock that cannot be set
    steady: Clock = uptime
    #: halves of split requests, which are sent before anything else
    pieces: list[Batch] = field(default_factory=list)
    #: claimed and not yet sent, in order; when they were claimed, and last known to be waiting (epoch seconds)
    ahead: deque[Batch] = field(default_factory=deque)
    claimed_at: float = 0.0
    certain_at: float = 0.0
    #: logged reason of the last failed attempt; empty after a success
    logged: str = ""
    #: held while any of this changes
    lock: AbstractContextManager[object] = field(default_factory=threading.RLock, repr=False)

    @cached_property
    def sender(self) -> Sender | TokenSender:
        """What makes its attempts. A process that leaves them to another one needs neither this nor what it imports."""
        from sfwebhooks.network.tokens import sender_of

        return sender_of(self.endpoint)

    def disconnect(self) -> None:
        """Close its connections."""
        if "sender" in vars(self):
            self.sender.close()

    @cached_property
    def limits(self) -> Limits:
        """How its deliveries are claimed."""
        return limits_of(self.endpoint)

    @cached_property
    def hurried_limits(self) -> Limits:
        """The same without waiting for a batch to fill."""
        late = self.limits.late
        return replace(self.limits, wait=0.0, late=replace(late, wait=0.0) if late else None)

    @cached_property
    def mask(self) -> Mask:
        """Masks its secrets in the words of its receiver."""
        return Mask.of(self.endpoint)

    @property
    def longest_wait(self) -> float:
        """Upper bound for the wait until a delivery's next attempt, in seconds."""
        careful = SETTLING_SECONDS if self.limits.is_careful else 0.0
        return max((*self.endpoint.retry_schedule, self.endpoint.retry_after_max, careful)) * 2

    def repeat_at(self, now: float) -> float:
        """Return the epoch seconds before which a message that was in flight when its process ended is not repeated."""
        return now + SETTLING_SECONDS if self.limits.is_careful else 0.0

    def may_send(self, now: float) -> bool:
        """Whether an attempt may begin at `now` (epoch seconds); a probe goes alone."""
        at_once = self.endpoint.concurrency if self.health.healthy else 1
        return self.in_flight < at_once and now >= self.orders.paused_until and self.health.may_send(now)

    def learn(self, verdict: Verdict, now: float, batch: Batch) -> Change:
        """Update the health by a verdict on a request; return the change."""
        with self.lock:
            before = self.health
            failed = verdict.outcome not in SUCCESSES
            silent = failed and (
                is_split(batch, verdict, self.endpoint.retry_schedule, before.healthy)
                or is_at_fault(batch, verdict, before.era)
                or is_too_large(batch, verdict)
            )
            self.health, self.tried = before.after(verdict, now, self.steady(), silent), True
            self.is_news |= self.health != before
            return Change(before, self.health)

    def look_at_outage(self) -> None:
        """Count a disabled endpoint, which is never probed, as if its probes failed."""
        with self.lock:
            if self.health.condition is Condition.DISABLED:
                self.health = self.health.dark_for_longer(self.steady())

    def report(self, now: float) -> None:
        """Record that an alert about the current health was committed."""
        with self.lock:
            self.health = self.health.reported(now)

    def obey(self, orders: Orders) -> None:
        """Follow the operator's orders for the endpoint."""
        with self.lock:
            if orders.resets != self.orders.resets:
                self.health = self.health.reopened(self.health.fingerprint)
            self.orders = orders

    def open(self) -> None:
        """Allow the next delivery, whatever the health says."""
        with self.lock:
            self.health = replace(self.health, open_at=0.0)
