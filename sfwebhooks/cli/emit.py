"""`sfwebhooks emit`: an event of another tool comes in and is stored for the endpoints that subscribe to it."""

from __future__ import annotations

import argparse
import errno
from typing import Any

from sfwebhooks.delivery.status import waiting_lines
from sfwebhooks.emission import Emitted, keep
from sfwebhooks.emitted_event import DATA_MAX, Emission
from sfwebhooks.errors import EmitError
from sfwebhooks.strict_json import parsed
from sfwebhooks.terminal.arguments import add_config, add_json, folder, known_settings, named_content, outbox_place
from sfwebhooks.terminal.output import console, show_result
from sfwebhooks.text import amount

#: largest file in bytes: the data, with spaces and line ends, and the message around it
FILE_MAX = 2 * DATA_MAX


def add(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        "emit",
        help="send an event of another tool to the endpoints",
        description="Store an event of another tool for each endpoint that subscribes to it; the next scan, drain or "
        "run delivers it. `sfwebhooks events TYPE` shows the fields of its data.",
        epilog="example:\n  sfwebhooks emit remediation.completed --data result.json --id rem-017",
    )
    command.add_argument("type", metavar="TYPE", help="name or alias, such as remediation.completed")
    command.add_argument(
        "--data",
        required=True,
        metavar="FILE",
        help="its data, a JSON object, or a whole message with event_type and data; - is standard input",
    )
    command.add_argument("--id", help="unique id of the event: the same TYPE and ID are sent once")
    command.add_argument("--severity", metavar="LEVEL", help="critical, high, medium, low or info")
    add_config(command)
    add_json(command)
    command.set_defaults(run=_emit)


def _emit(given: argparse.Namespace) -> int:
    place = "standard input" if given.data == "-" else given.data
    emission = Emission(given.type, _read(given.data, place), given.id, given.severity)
    receipt = keep(emission, given.config, folder(given))
    fields = {"event": receipt.id, "endpoints": receipt.endpoints, "new": receipt.new}
    lines = waiting_lines(outbox_place(given), known_settings(given), receipt.endpoints) if receipt.new else ()
    show_result(given, console(), fields, _words(receipt, given.type), *lines)
    return 0


def _read(name: str, place: str) -> Any:
    try:
        return parsed(named_content(name, FILE_MAX))
    except (OSError, ValueError) as error:
        too_long = isinstance(error, OSError) and error.errno == errno.EFBIG
        hint = "; send a link instead" if too_long else ""
        why = getattr(error, "strerror", None) or error
        raise EmitError(f"--data: {place} cannot be read: {why}{hint}") from error
    except EmitError as error:
        raise EmitError(f"--data: {place}: {error}") from error


def _words(receipt: Emitted, event_type: str) -> str:
    if not receipt.endpoints:
        return f"No endpoint subscribes to {event_type}; nothing was stored. sfwebhooks check shows the subscriptions."
    if not receipt.new:
        return f"event {receipt.id} was already accepted under the same id; it is sent once."
    number = amount(receipt.new, "endpoint")
    others = len(receipt.endpoints) - receipt.new
    before = f", already stored for {others} of them" if others else ""
    return f"event {receipt.id} accepted for {number} ({', '.join(receipt.endpoints)}){before}."
