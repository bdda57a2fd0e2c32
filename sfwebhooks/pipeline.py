"""The way of an event, in order: `accept` on the scan's side, `deliver` on the sending side.

accept:   event -> endpoints that want it -> outbox (committed)
deliver:  delivery -> format -> sign -> send -> judge -> plan -> outbox (settled)
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Callable

from sfwebhooks.attempts import Attempt, Reply, Verdict
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Delivery, WebhookEvent, clean_text, printable
from sfwebhooks.formats import FORMATS
from sfwebhooks.outbox import Outbox
from sfwebhooks.pacing import Health
from sfwebhooks.proxies import Proxy
from sfwebhooks.retry import Settlement, judge, plan
from sfwebhooks.sender import Sender
from sfwebhooks.signing import sign

#: epoch seconds
Clock = Callable[[], float]
#: characters of a reply that the delivery log keeps
EXCERPT = 1024
#: a part of a URL, or a word of a header, that has so many characters may be a credential
CREDENTIAL = 12


@dataclass
class Line:
    """An endpoint as the sending side has it: its settings, its connections, its health."""

    endpoint: Endpoint
    sender: Sender
    health: Health = field(default_factory=Health)
    #: the health as the outbox has it
    written: Health = field(default_factory=Health)
    _guard: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def learn(self, verdict: Verdict, now: float) -> Health:
        """Let the health follow a verdict, one thread at a time, and return it."""
        with self._guard:
            self.health = self.health.after(verdict, now)
            return self.health

    def open(self) -> None:
        """Let the next delivery go, whatever the health says."""
        with self._guard:
            self.health = replace(self.health, open_at=0.0)


def accept(events: Iterable[WebhookEvent], endpoints: tuple[Endpoint, ...], outbox: Outbox, now: float) -> int:
    """Commit the deliveries that some events cause; return how many are new.

    Raises:
        OutboxError: nothing was committed.
    """
    items = [(event, wanted_by(event, endpoints)) for event in events]
    kept = [item for item in items if item[1]]
    return outbox.accept(kept, now) if kept else 0


def wanted_by(event: WebhookEvent, endpoints: tuple[Endpoint, ...]) -> list[tuple[str, str]]:
    """Return (endpoint, name under which it wants the event) for each endpoint that does."""
    named = ((endpoint.name, endpoint.name_for(event)) for endpoint in endpoints)
    return [(endpoint, name) for endpoint, name in named if name]


def deliver(
    delivery: Delivery, line: Line, clock: Clock, making: AbstractContextManager[None] | None = None
) -> tuple[Attempt, Settlement]:
    """Make one attempt; return what it was and what becomes of the delivery. The line's health follows.

    Args:
        making: entered while the message is made.
    """
    endpoint, begin = line.endpoint, clock()
    wire_format, probe = FORMATS[endpoint.format], not line.health.healthy
    with making or nullcontext():
        content = wire_format.render(delivery, endpoint)
        request = sign(content, delivery, endpoint, begin)
    reply = line.sender.send(request)
    end = clock()
    verdict = wire_format.read(reply) or judge(reply, end)
    health = line.learn(verdict, end)
    settlement = plan(verdict, delivery.attempts, endpoint.retry_schedule, health.healthy, end)
    trigger = "probe" if probe else "schedule"
    attempt = Attempt(begin, end - begin, reply.status, verdict.reason, excerpt(reply, endpoint), trigger)
    return attempt, settlement


def excerpt(reply: Reply, endpoint: Endpoint) -> str:
    """Return the reply's first characters, or the failure in words, in one line, with the endpoint's secrets masked."""
    text = clean_text(reply.detail or reply.body.decode("utf-8", "replace"))
    for secret in sorted(_secrets(endpoint), key=len, reverse=True):  # one may be a part of another
        text = text.replace(secret, "***")
    return printable(" ".join(text.split())[:EXCERPT])


def _secrets(endpoint: Endpoint) -> Iterator[str]:
    """Yield what must not be shown of an endpoint; of its URL (a receiver echoes the path) all but scheme and host."""
    whole = [*endpoint.secrets, endpoint.api_key, endpoint.client_key_password, *endpoint.headers.values()]
    texts = [secret.reveal() for secret in whole if secret]
    parts = [part for value in endpoint.headers.values() for part in value.reveal().split()]
    target = re.sub(r"^[^/?]*", "", endpoint.url.reveal().partition("://")[2])
    parts += [endpoint.url.reveal(), target, *re.split(r"[/?&=]", target)]
    if endpoint.proxy:
        proxy = Proxy.of(endpoint.proxy)
        texts += [endpoint.proxy.reveal(), proxy.password, *proxy.headers.values()]
    yield from (text for text in texts if text)
    yield from (part for part in parts if len(part) >= CREDENTIAL)
