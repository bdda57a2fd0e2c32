"""`sfwebhooks move`: what waits for an endpoint goes to another one."""

from __future__ import annotations

import argparse
import time
from contextlib import closing
from typing import Any

from rich.console import Console

from sfwebhooks.cli.filters import add_choice, choice, on_outbox
from sfwebhooks.cli.replay import counted_deliveries, demand, print_counts, total
from sfwebhooks.cli.terminal import endpoint_named, plain
from sfwebhooks.delivery.moving import move
from sfwebhooks.errors import SelectionError
from sfwebhooks.outbox.listing import Records
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.retry import State

HELP = """
Let what waits for an endpoint go to another one of the settings, such as the new name of the same receiver. Each
delivery gets the id that it would have had there, and the next number; what the other endpoint has already is not sent
twice, and what it does not ask for stays, as does what is of a scan that still runs. Dead letters wait after
sfwebhooks dead replay, and can be moved then.
"""


def add(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser("move", help="let what waits for an endpoint go to another one", description=HELP)
    add_choice(command)
    command.add_argument("--to", required=True, metavar="NAME", help="the endpoint that gets it")
    command.set_defaults(run=on_outbox(_move, changes=True))


def _move(given: argparse.Namespace, records: Records, out: Console) -> int:
    if not given.endpoint:
        raise SelectionError("--endpoint NAME must say whose deliveries are moved")
    to, chosen = endpoint_named(given, given.to), choice(given, records, State.WAITING)
    if to.name == given.endpoint:
        raise SelectionError(f"--endpoint and --to name the same endpoint, {to.name}")
    if given.dry_run:
        print_counts(records.counts(chosen), chosen.states, out)
        return 0
    with closing(Outbox(records.path)) as outbox:
        moved = move(records, outbox, chosen, to, time.time())
    left = total(records.counts(chosen))
    demand(moved + left, chosen)
    out.print(plain(f"{counted_deliveries(moved)} moved to {to.name}."))
    if left:
        out.print(plain(f"{counted_deliveries(left)} left: {to.name} does not ask for them, or their scan still runs."))
    return 0
