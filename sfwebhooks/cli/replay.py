"""`sfwebhooks replay`: send deliveries again, under the same ids."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rich.console import Console

from sfwebhooks.cli.filters import add_choice, choice, on_outbox
from sfwebhooks.cli.terminal import plain, said, table
from sfwebhooks.config.values import rate
from sfwebhooks.errors import SelectionError
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.selection import Selection
from sfwebhooks.retry import State
from sfwebhooks.text import duration

STATES = {"delivered": (State.DELIVERED,), "dead": (State.DEAD,), "all": (State.DELIVERED, State.DEAD)}
Counts = Mapping[str, Mapping[str, int]]


def add(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        "replay",
        help="send deliveries again, under the same ids",
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
    if given.dry_run:
        print_counts(records.listing.counts(chosen), chosen.states, out)
    else:
        number = records.retention.replay(chosen, time.time(), given.rate)
        demand(number + waiting, chosen)
        pace = f", the last one in {duration((number - 1) * given.rate)}" if given.rate and number > 1 else ""
        out.print(
            f"{counted_deliveries(number)} will be sent again{pace}: by a running scan, the next scan, or sfwebhooks"
            " drain."
        )
    if waiting:
        out.print(f"{counted_deliveries(waiting)} already waiting: unchanged.")
    return 0


def demand(number: int, chosen: Selection) -> None:
    """Check that the filters matched something; an empty outbox is not a mistake.

    Raises:
        SelectionError: they matched nothing and may be misspelled.
    """
    if not number and not chosen.is_all:
        states = " or ".join(state.value for state in chosen.states)
        raise SelectionError(f"no {states} delivery matches the filters")


def counted_deliveries(number: int) -> str:
    """Return a number of deliveries in words."""
    return f"{number} deliver{'y' if number == 1 else 'ies'}"


def total(counts: Counts) -> int:
    """Return the sum of all counts."""
    return sum(sum(states.values()) for states in counts.values())


def print_counts(counts: Counts, states: Sequence[State], out: Console) -> None:
    """Print the result of a dry run: the number of deliveries per endpoint and state."""
    rows = table("endpoint", *(state.value for state in states))
    for endpoint, found in sorted(counts.items()):
        rows.add_row(plain(endpoint, "bold"), *(str(found.get(state.value, 0)) for state in states))
    if counts:
        out.print(rows)
    out.print(f"{counted_deliveries(total(counts))}; nothing was changed (--dry-run).")
