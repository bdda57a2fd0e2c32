"""`sfwebhooks replay`: send deliveries again, under the same ids."""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from typing import Any

from rich.console import Console

from sfwebhooks.config.values import rate
from sfwebhooks.delivery.status import waiting_lines
from sfwebhooks.inspection.fields import counted_deliveries, total
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.retry import State
from sfwebhooks.terminal.arguments import known_settings, said
from sfwebhooks.terminal.delivery_table import print_counts
from sfwebhooks.terminal.output import show_result
from sfwebhooks.terminal.selection_arguments import add_choice, choice, demand, on_outbox
from sfwebhooks.text import duration

STATES = {"delivered": (State.DELIVERED,), "dead": (State.DEAD,), "all": (State.DELIVERED, State.DEAD)}


def add(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        "replay",
        help="send deliveries again, under the same ids",
        epilog="example:\n  sfwebhooks replay --scan 5909AA61 --rate 5/s",
        description="Make delivered and dead deliveries due again, under the same ids.",
    )
    add_replay(command)
    command.add_argument("--state", choices=STATES, default="all", help="only delivered or only dead ones (all)")


def add_replay(command: argparse.ArgumentParser) -> None:
    """Add the arguments of a command that sends deliveries again."""
    add_choice(command)
    command.add_argument(
        "--rate", type=said(rate), default=0.0, metavar="N/s", help="at most this rate: 10/s, 30/m, 100/h"
    )
    command.set_defaults(run=on_outbox(_replay, changes=True))


def _replay(given: argparse.Namespace, records: Outbox, out: Console) -> int:
    chosen = choice(given, records, *STATES[given.state])
    waiting = total(records.listing.counts(replace(chosen, states=(State.WAITING,))))
    already = [f"{counted_deliveries(waiting)} already waiting: unchanged."] if waiting else []
    if given.dry_run:
        print_counts(records.listing.counts(chosen), chosen.states, given, out)
        for line in [] if given.json else already:
            out.print(line)
        return 0
    number = records.retention.replay(chosen, time.time(), given.rate)
    demand(number + waiting, chosen)
    pace = f", the last one in {duration((number - 1) * given.rate)}" if given.rate and number > 1 else ""
    words = f"{counted_deliveries(number)} will be sent again{pace}."
    names = records.listing.counts(replace(chosen, states=(State.WAITING,))).keys()
    lines = waiting_lines(records.place, known_settings(given), names)
    show_result(given, out, {"replayed": number, "already_waiting": waiting}, words, *already, *lines)
    return 0
