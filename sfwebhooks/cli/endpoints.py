"""`sfwebhooks test`, `pause` and `resume`: send a test to an endpoint, pause it, and put it back in use."""

from __future__ import annotations

import argparse
import time
import uuid
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

from rich.console import Console

from sfwebhooks.config.values import seconds
from sfwebhooks.delivery.status import config_mistake, paused
from sfwebhooks.delivery.troubleshooting import cure
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import ConfigError
from sfwebhooks.events import Batch, Delivery, WebhookEvent, delivery_id
from sfwebhooks.files import is_deleted
from sfwebhooks.formats import FORMATS
from sfwebhooks.health import Health
from sfwebhooks.network.tokens import sender_of
from sfwebhooks.outbox.endpoint_state import Orders
from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.queue import Result
from sfwebhooks.pipeline import deliver, excerpt
from sfwebhooks.retry import State
from sfwebhooks.sending import SendingState
from sfwebhooks.severity import Severity
from sfwebhooks.signing import unsigned
from sfwebhooks.terminal.arguments import add_config, endpoint_named, folder, said, settings
from sfwebhooks.terminal.output import console, plain

FOREVER = float("inf")
#: seconds for which a test waits for a confirmation
PENDING_SECONDS = 10.0
#: of what a receiver says to a handshake
COLOURS = {True: "green", False: "red", None: "yellow"}


def add(commands: Any) -> None:
    """Add the commands."""
    test = commands.add_parser(
        "test",
        help="send a test message to one endpoint or to each, and show the answer",
        description="Send a test message to one endpoint or to each, and show the answer. With format = cloudevents,"
        " first ask the receiver whether it allows our messages (OPTIONS), and show its answer. Exit code: 1 if a"
        " message was not delivered, or a receiver allows none of ours.",
    )
    test.add_argument("name", nargs="?", metavar="NAME", help="the endpoint (all of them)")
    pause = commands.add_parser("pause", help="send nothing to an endpoint for a while; its deliveries are kept")
    pause.add_argument(
        "--for", type=said(seconds), dest="span", default=FOREVER, metavar="TIME", help="such as 2h (until resume)"
    )
    resume = commands.add_parser("resume", help="send to a paused, failing or held endpoint again, now")
    for command, run in ((test, _test), (pause, _pause), (resume, _resume)):
        if command is not test:
            command.add_argument("name", metavar="NAME", help="the endpoint")
        add_config(command)
        command.set_defaults(run=run)


def _test(given: argparse.Namespace) -> int:
    out, failed = console(), 0
    for endpoint in _chosen(given):
        if endpoint.mistake:
            out.print(plain(f"{endpoint.name}: not sent, {config_mistake(endpoint.mistake)}", "red"))
            failed += 1
            continue
        orders, _ = _known(given, endpoint)
        if orders.paused_until > time.time():
            out.print(plain(f"{endpoint.name} is {paused(orders)}; the test is sent anyway.", "yellow"))
        state = SendingState(endpoint, sender_of(endpoint))
        refused = _shake_hands(state, out)
        result = _sent(_message(endpoint), state)
        attempt, last = result.attempt, result.settlements[0]
        well = last.state is State.DELIVERED or last.pending
        failed += refused or not well
        taken = "accepted, not confirmed yet" if last.pending else "delivered" if well else "not delivered"
        words = f"{endpoint.name} ({endpoint.place}): {taken}, {attempt.reason}{attempt.answer}"
        if 300 <= (attempt.status or 0) < 400:
            words += " (redirects are not followed: set url to the receiver itself)"
        out.print(plain(f"{words}, {attempt.seconds:.2f} s", "green" if well else "red"))
        helps = "" if well else cure(attempt.reason, attempt.excerpt)
        if helps:
            out.print(plain(f"  what to do: {helps}"))
    return 1 if failed else 0


def _sent(message: Batch, state: SendingState) -> Result:
    """Return the result of the last request about a test message: while it is pending, others follow, for a while."""
    deadline = time.monotonic() + PENDING_SECONDS
    while True:
        result, _ = deliver(message, state, time.time)
        wait = max(result.settlements[0].due_at - time.time(), 0.0)
        if not result.settlements[0].pending or time.monotonic() + wait > deadline:
            return result
        time.sleep(wait)
        handle = result.handle if result.handle and result.handle.value else None
        message = Batch(tuple(replace(delivery, handle=handle) for delivery in message.deliveries))


def _shake_hands(state: SendingState, out: Console) -> bool:
    """Ask the receiver whether we may send, if the format has a way to; return whether it does not allow it."""
    endpoint = state.endpoint
    handshake = FORMATS[endpoint.format].handshake
    if not handshake:
        return False
    reply = state.sender.send(unsigned(handshake.ask(endpoint), endpoint))
    found = handshake.read(reply, endpoint)
    words = excerpt(replace(reply, detail=found.words), state.mask)  # the receiver may repeat a secret
    out.print(plain(f"{endpoint.name}: handshake: {words}", COLOURS[found.allowed]))
    return found.allowed is False


def _message(endpoint: Endpoint) -> Batch:
    """Return a test delivery, which is neither in the outbox nor in the delivery log."""
    words = "A test of this endpoint by sfwebhooks test."
    data = {"alert": "test", "endpoint": endpoint.name, "message": words}
    event = WebhookEvent(str(uuid.uuid4()), "system_alert", Severity.INFO, time.time(), data)
    return Batch(
        (Delivery(delivery_id(event.id, endpoint.name), event, endpoint.name, event.type, series="test", sequence=1),)
    )


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


def _pause(given: argparse.Namespace) -> int:
    endpoint, until = endpoint_named(given, given.name), time.time() + given.span
    outbox = Outbox(folder(given) / FILE)
    outbox.endpoints.pause(endpoint.name, until)
    outbox.close()
    console().print(plain(f"{endpoint.name} is {paused(Orders(until))}: nothing is sent, its deliveries are kept."))
    return 0


def _resume(given: argparse.Namespace) -> int:
    endpoint, path = endpoint_named(given, given.name), folder(given) / FILE
    orders, health = _known(given, endpoint)
    if not is_deleted(path):
        with closing(Outbox(path)) as outbox:
            outbox.endpoints.resume(endpoint.name, time.time())
    stopped = orders.paused_until > time.time() or not health.healthy
    words = "is in use again" if stopped else "was neither paused nor failing; its waiting deliveries are tried now"
    console().print(plain(f"{endpoint.name} {words}: by a running scan, the next scan, or sfwebhooks drain."))
    return 0


def _known(given: argparse.Namespace, endpoint: Endpoint) -> tuple[Orders, Health]:
    """Return an endpoint's orders and health from the outbox, if there is one."""
    path = folder(given) / FILE
    if is_deleted(path):
        return Orders(), Health()
    with closing(Outbox(path)) as outbox:
        return outbox.endpoints.orders(endpoint.name), outbox.endpoints.health(endpoint.name)
