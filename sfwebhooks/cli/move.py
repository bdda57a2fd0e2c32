"""`sfwebhooks move`: move an endpoint's waiting deliveries to another endpoint."""

from __future__ import annotations

import argparse
import time
from typing import Any

from rich.console import Console

from sfwebhooks.delivery.moving import move
from sfwebhooks.errors import SelectionError
from sfwebhooks.inspection.fields import counted_deliveries, total
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.retry import State
from sfwebhooks.terminal.arguments import endpoint_named
from sfwebhooks.terminal.delivery_table import print_counts
from sfwebhooks.terminal.output import plain, show_result
from sfwebhooks.terminal.selection_arguments import add_choice, choice, demand, on_outbox

HELP = """
Move an endpoint's waiting deliveries to another endpoint in the settings, such as a new name for the same receiver.
Each delivery gets the id that it would have had there, and the next sequence number. Events that the other endpoint
already has are not sent twice. Deliveries that it does not subscribe to, or of scans that are still running, stay. To
move dead letters, first make them due with sfwebhooks dead replay.
"""
EXAMPLE = "example:\n  sfwebhooks move --endpoint siem --to siem_system"


def add(commands: Any) -> None:
    """Add the command."""
    words = "move an endpoint's waiting deliveries to another endpoint"
    command = commands.add_parser("move", help=words, description=HELP, epilog=EXAMPLE)
    add_choice(command)
    command.add_argument("--to", required=True, metavar="NAME", help="the endpoint that gets them")
    command.set_defaults(run=on_outbox(_move, changes=True))


def _move(given: argparse.Namespace, records: Outbox, out: Console) -> int:
    if not given.endpoint:
        raise SelectionError("--endpoint NAME is required: the endpoint whose deliveries are moved")
    to, chosen = endpoint_named(given, given.to), choice(given, records, State.WAITING)
    if to.name == given.endpoint:
        raise SelectionError(f"--endpoint and --to name the same endpoint, {to.name}")
    if given.dry_run:
        print_counts(records.listing.counts(chosen), chosen.states, given, out)
        return 0
    moved = move(records, chosen, to, time.time())
    left = total(records.listing.counts(chosen))
    demand(moved + left, chosen)
    fields = {"moved": moved, "left": left, "to": to.name}
    show_result(given, out, fields, f"{counted_deliveries(moved)} moved to {to.name}.")
    if left and not given.json:
        why = f"{to.name} does not subscribe to them, or their scan is still running"
        out.print(plain(f"{counted_deliveries(left)} left: {why}."))
    return 0
