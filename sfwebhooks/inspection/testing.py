"""Testing an endpoint: a test message is sent to it; the result, with the steps of its attempts, goes out.

The message is neither in the outbox nor in the delivery log. `cli.test` prints the result, the API answers with it.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

from sfwebhooks.delivery.status import paused
from sfwebhooks.delivery.troubleshooting import cure
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Batch, Delivery, WebhookEvent, delivery_id
from sfwebhooks.formats import FORMATS
from sfwebhooks.health import Change, Condition
from sfwebhooks.inspection.attempt_steps import AttemptSteps
from sfwebhooks.inspection.chosen_example import named_example
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.postgres.dsn import Place, is_missing
from sfwebhooks.outbox.results import Result
from sfwebhooks.pipeline import deliver, excerpt
from sfwebhooks.reasons import WaitingReason
from sfwebhooks.retry import Settlement, State
from sfwebhooks.sending import SendingState
from sfwebhooks.severity import Severity
from sfwebhooks.signing import unsigned

#: seconds for which a test waits for a confirmation
PENDING_SECONDS = 10.0
#: of what a receiver says to a handshake
COLOURS = {True: "green", False: "red", None: "yellow"}


@dataclass(frozen=True)
class Tested:
    """The result of a test."""

    #: name of the endpoint
    endpoint: str
    #: name under which the event was sent
    name: str
    #: of the last request about the message
    result: Result
    change: Change
    #: the receiver's answer to the question whether we may send; empty: it was not asked
    handshake: str
    #: False: it does not allow our messages
    allowed: bool | None

    @property
    def settlement(self) -> Settlement:
        """What would happen to a message."""
        return self.result.settlements[0]

    @property
    def is_well(self) -> bool:
        """Whether the receiver accepts our messages."""
        return self.is_accepted and self.allowed is not False

    @property
    def is_accepted(self) -> bool:
        """Whether the receiver has the message."""
        return self.settlement.state is State.DELIVERED or self.settlement.pending

    @property
    def words(self) -> str:
        """The result in a few words."""
        if self.settlement.pending:
            return "accepted, not confirmed yet"
        return "delivered" if self.is_accepted else "not delivered"

    @property
    def cure(self) -> str:
        """What to do if it was not delivered, or nothing."""
        attempt = self.result.attempt
        name = self.result.batch.deliveries[0].endpoint
        return "" if self.is_accepted else cure(attempt.reason, attempt.excerpt, name)

    @property
    def verdict(self) -> str:
        """What would happen to messages if this was not a test, or nothing if it was delivered."""
        condition = self.change.after.condition
        if self.is_accepted:
            return ""
        if self.settlement.state is State.DEAD:
            return "such a message would be a dead letter"
        if condition is Condition.DISABLED:
            return f"messages would wait until sfwebhooks enable {self.endpoint}"
        if condition is Condition.HELD:
            return "messages would wait, and the endpoint would be held and probed"
        if self.settlement.refused:
            return "a message would be tried again; after 3 refusals in a row the endpoint is held"
        return "a message would be tried again"


def fields_of_test(endpoint: Endpoint, event: str | None, pause: str) -> dict[str, Any]:
    """Test an endpoint; return the fields of the result, with all steps, for JSON.

    Args:
        event: type of the example to send; None: a test alert.
        pause: words for its pause; empty: there is none.

    Raises:
        SelectionError: there is no such type.
    """
    if endpoint.mistake:
        mistake = {"endpoint": endpoint.name, "place": endpoint.place, "delivered": False}
        return {**mistake, "reason": WaitingReason.MISTAKE.value, "mistake": endpoint.mistake}
    steps = AttemptSteps(endpoint)
    tested = send_test(endpoint, message_of_test(endpoint, event), steps)
    attempt = tested.result.attempt
    if attempt.status is None:
        steps.fail(f"{attempt.reason}{attempt.answer}")
    return {
        "endpoint": tested.endpoint,
        "place": endpoint.place,
        "event": tested.name,
        "paused": pause,
        "handshake": tested.handshake,
        "allowed": tested.allowed,
        "delivered": tested.is_accepted and not tested.settlement.pending,
        "pending": tested.settlement.pending,
        "status": attempt.status,
        "reason": attempt.reason,
        "seconds": round(attempt.seconds, 4),
        "reply": attempt.excerpt,
        "verdict": tested.verdict,
        "cure": tested.cure,
        "steps": steps.fields,
    }


def send_test(endpoint: Endpoint, message: Delivery, steps: AttemptSteps | None) -> Tested:
    """Send a test message, after the handshake if the format has one.

    Args:
        steps: gets each step; None: nobody looks.
    """
    state = SendingState(endpoint)
    state.sender.watch = steps
    handshake, allowed = _shake_hands(state, steps)
    if steps:
        is_wanted = message.event.data.get("alert") == "test" or endpoint.name_for(message.event)
        steps.line("message", message.name + ("" if is_wanted else ", to which the endpoint does not subscribe"))
        steps.begin("message")
    result, change = _sent(Batch((message,)), state, steps)
    state.disconnect()
    return Tested(endpoint.name, message.name, result, change, handshake, allowed)


def _sent(message: Batch, state: SendingState, steps: AttemptSteps | None) -> tuple[Result, Change]:
    """Return the result of the last request about a test message: while it is pending, others follow, for a while."""
    deadline = time.monotonic() + PENDING_SECONDS
    while True:
        result, change = deliver(message, state, time.time)
        wait = max(result.settlements[0].due_at - time.time(), 0.0)
        if not result.settlements[0].pending or time.monotonic() + wait > deadline:
            return result, change
        if steps:
            steps.line("reply", f"{result.attempt.reason}: accepted, and to be confirmed")
        time.sleep(wait)
        if steps:
            steps.line("confirm", "the receiver is asked whether it has the message for good")
            steps.begin("confirmation")
        handle = result.handle if result.handle and result.handle.value else None
        message = Batch(tuple(replace(delivery, handle=handle) for delivery in message.deliveries))


def _shake_hands(state: SendingState, steps: AttemptSteps | None) -> tuple[str, bool | None]:
    """Ask the receiver whether we may send, if the format has a way to; return its answer and whether it allows it."""
    endpoint = state.endpoint
    handshake = FORMATS[endpoint.format].handshake
    if not handshake:
        return "", None
    if steps:
        steps.line("OPTIONS", "the receiver is asked whether it allows our messages")
        steps.begin("handshake")
    reply = state.sender.send(unsigned(handshake.ask(endpoint), endpoint))
    found = handshake.read(reply, endpoint)
    words = excerpt(replace(reply, detail=found.words), state.mask)  # the receiver may repeat a secret
    if steps and reply.failure:
        steps.fail(f"handshake: {words}")
    elif steps:
        steps.line("reply", f"handshake: {words}", COLOURS[found.allowed])
    return words, found.allowed


def message_of_test(endpoint: Endpoint, event: str | None) -> Delivery:
    """Return the delivery of a test.

    Args:
        event: type of the example to send; None: a test alert.

    Raises:
        SelectionError: there is no such type.
    """
    return _example(event, endpoint) if event else _alert(endpoint)


def _alert(endpoint: Endpoint) -> Delivery:
    """Return a test alert."""
    words = "A test of this endpoint by sfwebhooks test."
    data = {"alert": "test", "endpoint": endpoint.name, "message": words}
    event = WebhookEvent(str(uuid.uuid4()), "system_alert", Severity.INFO, time.time(), data)
    return Delivery(delivery_id(event.id, endpoint.name), event, endpoint.name, event.type, series="test", sequence=1)


def _example(word: str, endpoint: Endpoint) -> Delivery:
    """Return the example of an event type as of now, marked as a test."""
    made = named_example(word, endpoint)
    scan = made.event.scan and replace(made.event.scan, name=f"Test by sfwebhooks test: {made.event.scan.name}")
    data = {**made.event.data, "test": True}
    event = replace(made.event, id=str(uuid.uuid4()), at=time.time(), data=data, scan=scan)
    return replace(made, id=delivery_id(event.id, endpoint.name), event=event, series="test")


def pauses_of(endpoints: Iterable[Endpoint], place: Place) -> dict[str, str]:
    """Return the names of paused endpoints, with words for it.

    Args:
        place: of the outbox, which need not exist.

    Raises:
        OutboxError: it cannot be read.
    """
    if is_missing(place):
        return {}
    with closing(Outbox(place, listing=True)) as outbox:
        orders = {endpoint.name: outbox.endpoints.orders(endpoint.name) for endpoint in endpoints}
    return {name: paused(found) for name, found in orders.items() if found.paused_until > time.time()}
