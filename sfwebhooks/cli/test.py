"""`sfwebhooks test`: a message is sent to an endpoint, and each step of that is shown with what it found."""

from __future__ import annotations

import argparse
import time
import uuid
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any

from rich.console import Console

from sfwebhooks.delivery.status import config_mistake, paused
from sfwebhooks.delivery.troubleshooting import cure
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import ConfigError, OutboxError
from sfwebhooks.events import Batch, Delivery, WebhookEvent, delivery_id
from sfwebhooks.files import is_deleted
from sfwebhooks.formats import FORMATS
from sfwebhooks.health import Change, Condition
from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.queue import Result
from sfwebhooks.pipeline import deliver, excerpt
from sfwebhooks.reasons import WaitingReason
from sfwebhooks.retry import Settlement, State
from sfwebhooks.sending import SendingState
from sfwebhooks.severity import Severity
from sfwebhooks.signing import unsigned
from sfwebhooks.terminal.arguments import add_config, add_json, endpoint_named, folder, named_example, settings
from sfwebhooks.terminal.attempt_steps import AttemptSteps
from sfwebhooks.terminal.output import as_json, console, note, plain, print_hanging

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


def add(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        "test",
        help="send a test message to one endpoint, step by step, or to each",
        description="Send a test message to one endpoint and show each step: name, connection, TLS and certificates,"
        " reply, verdict, and what to do if it was not delivered. Without NAME, each endpoint gets one, and the result"
        " is shown in a line. With format = cloudevents, first ask the receiver whether it allows our messages"
        " (OPTIONS). Exit code: 1 if a message was not delivered, or a receiver allows none of ours.",
        epilog="examples:\n  sfwebhooks test siem_system\n  sfwebhooks test on_call --event high_risk_event",
    )
    command.add_argument("name", nargs="?", metavar="NAME", help="the endpoint (all of them, in brief)")
    command.add_argument(
        "--event",
        metavar="TYPE",
        help="send the example of this event type instead, with test = true in its data; it has the consequences of a"
        " real one, such as a call for the person on duty",
    )
    add_json(command, "one JSON object per endpoint, with all steps")
    add_config(command)
    command.set_defaults(run=_test)


def _test(given: argparse.Namespace) -> int:
    out, failed, chosen = console(), 0, _chosen(given)
    pauses = _pauses(folder(given) / FILE, chosen)
    for endpoint in chosen:
        if endpoint.mistake:
            _show_mistake(endpoint, given.json, out)
            failed += 1
            continue
        pause = pauses.get(endpoint.name, "")
        if given.json:
            steps = AttemptSteps(endpoint, None)
            tested = _tested(endpoint, _message(endpoint, given.event), steps)
            failed += not _is_well(tested)
            out.print(plain(as_json(_fields(tested, endpoint, steps, pause))), soft_wrap=True)
        else:
            if pause:
                out.print(plain(f"{endpoint.name} is {pause}; the test is sent anyway.", "yellow"))
            failed += not (show_test if given.name else _show_in_brief)(endpoint, out, given.event)
    return 1 if failed else 0


def _pauses(path: Path, endpoints: Sequence[Endpoint]) -> dict[str, str]:
    """Return the names of paused endpoints, with words for it; a test needs nothing else from the outbox."""
    if is_deleted(path):
        return {}
    try:
        with closing(Outbox(path, listing=True)) as outbox:
            orders = {endpoint.name: outbox.endpoints.orders(endpoint.name) for endpoint in endpoints}
    except OutboxError as error:
        note(f"{error}; the test is sent anyway")
        return {}
    return {name: paused(found) for name, found in orders.items() if found.paused_until > time.time()}


def show_test(endpoint: Endpoint, out: Console, event: str | None = None) -> bool:
    """Test an endpoint without a mistake and show each step; return whether the receiver accepts our messages.

    Args:
        event: type of the example to send; None: a test alert.

    Raises:
        SelectionError: there is no such type.
    """
    message = _message(endpoint, event)
    out.print(plain(f"{endpoint.name}: {endpoint.place}", "bold"))
    steps = AttemptSteps(endpoint, out)
    tested = _tested(endpoint, message, steps)
    attempt = tested.result.attempt
    if attempt.status is None:
        steps.fail(f"{attempt.reason}{attempt.answer}")
    else:
        said = f': "{attempt.excerpt[:200]}"' if attempt.excerpt else ""
        steps.line("reply", f"{_phrase(attempt.status)}{said}")
    verdict = f": {tested.verdict}" if tested.verdict else ""
    style = "green" if tested.is_accepted else "red"
    steps.line("verdict", f"{tested.words}, {attempt.reason}{verdict}", style, attempt.seconds)
    if tested.cure:
        steps.line("", f"what to do: {tested.cure}", "bold")
    return _is_well(tested)


def _show_in_brief(endpoint: Endpoint, out: Console, event: str | None) -> bool:
    """Do the same, and show only the result."""
    tested = _tested(endpoint, _message(endpoint, event), None)
    attempt = tested.result.attempt
    if tested.handshake:
        out.print(plain(f"{endpoint.name}: handshake: {tested.handshake}", COLOURS[tested.allowed]))
    words = f"{endpoint.name} ({endpoint.place}): {tested.words}, {attempt.reason}{attempt.answer}"
    out.print(plain(f"{words}, {attempt.seconds:.2f} s", "green" if tested.is_accepted else "red"))
    if tested.cure:
        print_hanging("  what to do: ", plain(tested.cure), out)
    if not _is_well(tested):
        out.print(plain(f"  each step: sfwebhooks test {endpoint.name}"))
    return _is_well(tested)


def _is_well(tested: Tested) -> bool:
    return tested.is_accepted and tested.allowed is not False


def _show_mistake(endpoint: Endpoint, is_json: bool, out: Console) -> None:
    """Show that nothing was sent because of a mistake in the settings."""
    if is_json:
        mistake = {"endpoint": endpoint.name, "place": endpoint.place, "delivered": False}
        found = {**mistake, "reason": WaitingReason.MISTAKE.value, "mistake": endpoint.mistake}
        out.print(plain(as_json(found)), soft_wrap=True)
    else:
        out.print(plain(f"{endpoint.name}: not sent, {config_mistake(endpoint.mistake)}", "red"))


def _phrase(status: int) -> str:
    """Return a status with the words that belong to it."""
    known = {one.value: one.phrase for one in HTTPStatus}
    return f"{status} {known.get(status, '')}".rstrip()


def _fields(tested: Tested, endpoint: Endpoint, steps: AttemptSteps, pause: str) -> dict[str, Any]:
    """Return the fields of a test for --json."""
    attempt = tested.result.attempt
    if attempt.status is None:
        steps.fail(attempt.reason)
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


def _tested(endpoint: Endpoint, message: Delivery, steps: AttemptSteps | None) -> Tested:
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


def _message(endpoint: Endpoint, event: str | None) -> Delivery:
    """Return the delivery of a test, which is neither in the outbox nor in the delivery log.

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


def _chosen(given: argparse.Namespace) -> Sequence[Endpoint]:
    """Return the endpoint that the command line names, or all.

    Raises:
        ConfigError: there is no such endpoint.
    """
    if given.name:
        return [endpoint_named(given, given.name)]
    found = settings(given).endpoints
    if not found:
        raise ConfigError("there is no usable endpoint: sfwebhooks check shows why")
    return found
