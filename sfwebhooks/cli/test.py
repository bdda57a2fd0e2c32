"""`sfwebhooks test`: a message is sent to an endpoint, and each step of that is shown with what it found."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from rich.console import Console

from sfwebhooks.delivery.status import config_mistake
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import ConfigError, OutboxError
from sfwebhooks.inspection.attempt_steps import AttemptSteps
from sfwebhooks.inspection.testing import COLOURS, fields_of_test, message_of_test, pauses_of, send_test
from sfwebhooks.outbox.postgres.dsn import Place
from sfwebhooks.terminal.arguments import add_config, add_json, endpoint_named, outbox_place, settings
from sfwebhooks.terminal.output import as_json, console, note, plain, print_hanging
from sfwebhooks.terminal.step_lines import step_printer


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
    pauses = _pauses(outbox_place(given), chosen)
    for endpoint in chosen:
        pause = pauses.get(endpoint.name, "")
        if given.json:
            fields = fields_of_test(endpoint, given.event, pause)
            out.print(plain(as_json(fields)), soft_wrap=True)
            failed += not (fields["delivered"] or fields.get("pending")) or fields.get("allowed") is False
        elif endpoint.mistake:
            out.print(plain(f"{endpoint.name}: not sent, {config_mistake(endpoint.mistake)}", "red"))
            failed += 1
        else:
            if pause:
                out.print(plain(f"{endpoint.name} is {pause}; the test is sent anyway.", "yellow"))
            failed += not (show_test if given.name else _show_in_brief)(endpoint, out, given.event)
    return 1 if failed else 0


def _pauses(place: Place, endpoints: Sequence[Endpoint]) -> dict[str, str]:
    """Return the names of paused endpoints, with words for it; a test needs nothing else from the outbox."""
    try:
        return pauses_of(endpoints, place)
    except OutboxError as error:
        note(f"{error}; the test is sent anyway")
        return {}


def show_test(endpoint: Endpoint, out: Console, event: str | None = None) -> bool:
    """Test an endpoint without a mistake and show each step; return whether the receiver accepts our messages.

    Args:
        event: type of the example to send; None: a test alert.

    Raises:
        SelectionError: there is no such type.
    """
    message = message_of_test(endpoint, event)
    out.print(plain(f"{endpoint.name}: {endpoint.place}", "bold"))
    steps = AttemptSteps(endpoint, step_printer(out))
    tested = send_test(endpoint, message, steps)
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
    return tested.is_well


def _show_in_brief(endpoint: Endpoint, out: Console, event: str | None) -> bool:
    """Do the same, and show only the result."""
    tested = send_test(endpoint, message_of_test(endpoint, event), None)
    attempt = tested.result.attempt
    if tested.handshake:
        out.print(plain(f"{endpoint.name}: handshake: {tested.handshake}", COLOURS[tested.allowed]))
    words = f"{endpoint.name} ({endpoint.place}): {tested.words}, {attempt.reason}{attempt.answer}"
    out.print(plain(f"{words}, {attempt.seconds:.2f} s", "green" if tested.is_accepted else "red"))
    if tested.cure:
        print_hanging("  what to do: ", plain(tested.cure), out)
    if not tested.is_well:
        out.print(plain(f"  each step: sfwebhooks test {endpoint.name}"))
    return tested.is_well


def _phrase(status: int) -> str:
    """Return a status with the words that belong to it."""
    known = {one.value: one.phrase for one in HTTPStatus}
    return f"{status} {known.get(status, '')}".rstrip()


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
