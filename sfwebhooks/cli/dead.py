"""`sfwebhooks dead`: list the dead letters, send them again, or drop them. And `drop`, which creates dead letters."""

from __future__ import annotations

import argparse
import time
from typing import Any

from rich.console import Console

from sfwebhooks.cli.replay import add_replay
from sfwebhooks.cli.show import add_show
from sfwebhooks.inspection.fields import counted_deliveries, total
from sfwebhooks.inspection.live_state import ATTENTION
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.retry import State
from sfwebhooks.terminal.delivery_table import DEAD, print_counts, print_left, print_records
from sfwebhooks.terminal.output import show_result
from sfwebhooks.terminal.selection_arguments import (
    add_choice,
    add_filters,
    add_listing,
    choice,
    demand,
    on_outbox,
    selection,
)

EXAMPLES = "examples:\n  sfwebhooks dead list\n  sfwebhooks dead replay --endpoint siem_system"


def add(commands: Any) -> None:
    """Add the command and its actions."""
    family = commands.add_parser("dead", help="the dead letters: list, show ID, replay, drop", epilog=EXAMPLES)
    actions = family.add_subparsers(title="actions", metavar="ACTION", required=True)
    listing = actions.add_parser(
        "list",
        help="list them, newest first",
        description="List the dead letters, newest first. All times are UTC.",
        epilog="example:\n  sfwebhooks dead list --endpoint siem_system --since 2d",
    )
    add_filters(listing)
    add_listing(listing)
    listing.set_defaults(run=on_outbox(_list, listing=True))
    add_show(actions, "show one of them, with every attempt", State.DEAD, "sfwebhooks dead show 3f2a91")
    again = actions.add_parser(
        "replay",
        help="send them again, under the same ids",
        epilog="example:\n  sfwebhooks dead replay --endpoint siem_system",
    )
    add_replay(again)
    again.set_defaults(state="dead")
    drop = actions.add_parser(
        "drop", help="delete them permanently", epilog="example:\n  sfwebhooks dead drop --scan 5909AA61 --dry-run"
    )
    add_choice(drop)
    drop.set_defaults(run=on_outbox(_drop, changes=True))
    _add_drop(commands)


def _add_drop(commands: Any) -> None:
    drop = commands.add_parser(
        "drop",
        help="end waiting deliveries, or delete dead letters",
        description="End waiting deliveries: they become dead letters with the reason dropped. Or delete dead letters"
        " permanently, like sfwebhooks dead drop.",
        epilog="example:\n  sfwebhooks drop --endpoint siem --state waiting",
    )
    add_choice(drop)
    drop.add_argument("--state", choices=[State.WAITING.value, State.DEAD.value], required=True, help="their state")
    drop.set_defaults(run=on_outbox(_drop_any, changes=True))


def _drop_any(given: argparse.Namespace, records: Outbox, out: Console) -> int:
    return _end(given, records, out) if given.state == State.WAITING.value else _drop(given, records, out)


def _end(given: argparse.Namespace, records: Outbox, out: Console) -> int:
    chosen = choice(given, records, State.WAITING)
    if given.dry_run:
        print_counts(records.listing.counts(chosen), chosen.states, given, out)
        return 0
    ended = records.retention.end(chosen, time.time())
    demand(ended, chosen)
    now, them = ("a dead letter", "it") if ended == 1 else ("dead letters", "them")
    words = (
        f"{counted_deliveries(ended)} dropped, now {now}: sfwebhooks dead replay sends {them} again,"
        f" sfwebhooks dead drop deletes {them}."
    )
    show_result(given, out, {"dropped": ended}, words)
    return 0


def _list(given: argparse.Namespace, records: Outbox, out: Console) -> int:
    print_records(records.listing.deliveries(selection(given, State.DEAD), given.limit + 1), DEAD, given, out)
    return 0


def _drop(given: argparse.Namespace, records: Outbox, out: Console) -> int:
    chosen = choice(given, records, State.DEAD)
    if given.dry_run:
        counts = records.listing.counts(chosen, over=True)
        print_counts(counts, chosen.states, given, out)
        if not given.json:
            print_left(total(records.listing.counts(chosen)) - total(counts), out)
        return 0
    was_stopped = records.retention.erasure.is_ordered()
    dropped, left = records.retention.drop(chosen), total(records.listing.counts(chosen))
    if not was_stopped:
        demand(dropped + left, chosen)
    show_result(given, out, {"deleted": dropped, "left": left}, f"{counted_deliveries(dropped)} dropped.")
    if not given.json:
        print_left(left, out)
    return ATTENTION if records.retention.erasure.is_needed() else 0
