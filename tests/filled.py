"""Deliveries in each state, put into an outbox as scans and senders do it."""

from __future__ import annotations

from sfwebhooks.attempts import Attempt
from sfwebhooks.events import Scan, WebhookEvent, lifecycle_id
from sfwebhooks.outbox.claim import Limits
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.queue import Result
from sfwebhooks.retry import Settlement, State
from sfwebhooks.screening import Wanted
from tests.builders import NOW, a_scan, an_event, claim_one

#: text with all that a terminal, a table or a log could take for more than text
HOSTILE = "[red]\x1b[2J\x1b]0;owned\x07\nnext\x00\r\x7f\x9b31m\u202eevil"


def put(outbox: Outbox, *numbers: int, endpoint: str = "team", at: float = NOW, scan: Scan | None = None) -> None:
    """Accept an event of each number for an endpoint, under its own name."""
    events = [an_event(number, scan=scan or a_scan()) for number in numbers]
    outbox.accept([(event, [Wanted(endpoint, event.type)]) for event in events], at)


def put_event(outbox: Outbox, event: WebhookEvent, endpoint: str = "team", name: str = "", at: float = NOW) -> None:
    """Accept an event for an endpoint that subscribed to it under that name."""
    outbox.accept([(event, [Wanted(endpoint, name or event.type)])], at)


def send(
    outbox: Outbox,
    state: State = State.DELIVERED,
    reason: str = "http_200",
    excerpt: str = "ok",
    endpoint: str = "team",
    at: float = NOW,
    pending: bool = False,
) -> str:
    """Let the next delivery of an endpoint be attempted, with what comes of it; return its id."""
    batch = claim_one(outbox, Limits(endpoint), (), at)
    assert batch
    status = int(reason[-3:]) if reason[-3:].isdigit() else None
    attempt = Attempt(at, 0.125, status, reason.partition(": ")[2] or reason, excerpt)
    outbox.queue.settle([Result(batch, attempt, [Settlement(state, reason, at + 60, True, pending=pending)])])
    return batch.id


def begin(outbox: Outbox, scan: Scan) -> None:
    """Begin a scan, of which nobody wants events."""
    outbox.scans.begin_scan(scan, an_event(scan=scan, id=lifecycle_id(scan.id, "started")), (), NOW)


def end(outbox: Outbox, scan: Scan) -> None:
    """End a scan, of which nobody wants events."""
    assert outbox.scans.end_scan(an_event(scan=scan, id=lifecycle_id(scan.id, "ended")), (), NOW)
