"""The way of an event, in order: `accept` on the scan's side, `deliver` on the sending side.

accept:   event -> endpoints that want it -> outbox (committed)
deliver:  delivery -> format -> sign -> send -> judge -> plan -> outbox (settled)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Callable

from sfwebhooks.attempts import Attempt, Reply
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Delivery, WebhookEvent, clean_text
from sfwebhooks.formats import FORMATS
from sfwebhooks.outbox import Outbox
from sfwebhooks.pacing import Health
from sfwebhooks.retry import Settlement, judge, plan
from sfwebhooks.sender import Sender
from sfwebhooks.signing import sign

#: epoch seconds
Clock = Callable[[], float]
#: characters of a reply that the delivery log keeps
EXCERPT = 1024


@dataclass
class Line:
    """An endpoint as the sending side has it: its settings, its connections, its health."""

    endpoint: Endpoint
    sender: Sender
    health: Health = field(default_factory=Health)


def accept(events: Iterable[WebhookEvent], endpoints: tuple[Endpoint, ...], outbox: Outbox, now: float) -> int:
    """Commit the deliveries that some events cause; return how many are new.

    Raises:
        OutboxError: nothing was committed.
    """
    items = [(event, wanted_by(event, endpoints)) for event in events]
    return outbox.accept([item for item in items if item[1]], now)


def wanted_by(event: WebhookEvent, endpoints: tuple[Endpoint, ...]) -> list[tuple[str, str]]:
    """Return (endpoint, name under which it wants the event) for each endpoint that does."""
    named = ((endpoint.name, endpoint.name_for(event)) for endpoint in endpoints)
    return [(endpoint, name) for endpoint, name in named if name]


def deliver(delivery: Delivery, line: Line, clock: Clock) -> tuple[Attempt, Settlement]:
    """Make one attempt; return what it was and what becomes of the delivery. The line's health follows."""
    endpoint, begin = line.endpoint, clock()
    wire_format = FORMATS[endpoint.format]
    content = wire_format.render(delivery, endpoint)
    request = sign(content, delivery, endpoint, begin)
    reply = line.sender.send(request)
    end = clock()
    verdict = wire_format.read(reply) or judge(reply, end)
    trigger = "schedule" if line.health.healthy else "probe"
    line.health = line.health.after(verdict, end)
    settlement = plan(verdict, delivery.attempts, endpoint.retry_schedule, line.health.healthy, end)
    attempt = Attempt(begin, end - begin, reply.status, verdict.reason, excerpt(reply, endpoint), trigger)
    return attempt, settlement


def excerpt(reply: Reply, endpoint: Endpoint) -> str:
    """Return the reply's first characters, or the failure in words, with the endpoint's secrets masked."""
    text = clean_text(reply.detail or reply.body[: 4 * EXCERPT].decode("utf-8", "replace"))
    secrets = [endpoint.url, *endpoint.secrets, *endpoint.headers.values()]
    secrets += [secret for secret in (endpoint.api_key, endpoint.client_key_password) if secret]
    for secret in secrets:
        text = text.replace(secret.reveal(), "***")
    return text[:EXCERPT]
