"""`sfwebhooks deliveries`: the accepted deliveries and their state, one line each."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from rich.console import Console

from sfwebhooks.cli.delivery_table import DELIVERIES, as_json, fields_of, fields_of_attempt, line, print_table, states
from sfwebhooks.cli.filters import add_filters, on_outbox, selection
from sfwebhooks.cli.terminal import end_at_signals, known_settings, plain, said
from sfwebhooks.cli.why_waiting import situations, waiting_line
from sfwebhooks.config.values import whole_number
from sfwebhooks.errors import OutboxBusyError
from sfwebhooks.outbox.listing import Record
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.selection import Selection
from sfwebhooks.retry import State

#: seconds between two queries for new attempts
POLL_SECONDS = 0.5


def add(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        "deliveries",
        help="list the deliveries, newest first",
        description="List the deliveries, the last accepted first. With --scan ID, also print how many of the scan's"
        " deliveries are delivered, waiting or dead; the web UI may show that line of the scan's log only when another"
        " scan logs something. All times are UTC.",
    )
    add_filters(command)
    command.add_argument("--state", choices=[state.value for state in State], help="only deliveries in this state")
    add_listing(command)
    command.add_argument("--follow", action="store_true", help="keep showing new attempts until Ctrl-C")
    command.set_defaults(run=on_outbox(_deliveries, listing=True))


def add_listing(command: argparse.ArgumentParser) -> None:
    """Add the arguments of all listings."""
    command.add_argument(
        "--limit", type=said(whole_number(1, 1_000_000)), default=50, metavar="N", help="at most N (50)"
    )
    command.add_argument("--json", action="store_true", help="print one JSON object per line")


def _deliveries(given: argparse.Namespace, records: Outbox, out: Console) -> int:
    chosen = selection(given, *([State(given.state)] if given.state else []))
    if not given.follow:
        found = records.listing.deliveries(chosen, given.limit + 1)
        show(found, DELIVERIES, given, out)
        if given.scan and not given.json:
            out.print(f"{states(records.listing.counts(chosen))}.")
        if not given.json:
            shown = {record.endpoint for record in found if record.state is State.WAITING}
            for one in situations(records.path, known_settings(given), shown.__contains__):
                out.print(plain(waiting_line(one)))
        return 0
    end_at_signals()
    with suppress(KeyboardInterrupt):
        last = records.listing.last_attempt()
        show(records.listing.deliveries(chosen, given.limit)[::-1], DELIVERIES, given, out)  # new attempts follow below
        _follow(records, chosen, last, given.json, out)
    return 0


def show(found: Sequence[Record], headings: tuple[tuple[str, ...], tuple[str, ...]], given: Any, out: Console) -> None:
    """Print up to --limit deliveries as the command line asks; one more than that means that there are others."""
    shown = found[: given.limit]
    if given.json:
        for record in shown:
            out.print(plain(as_json(fields_of(record))), soft_wrap=True)
        return
    if not shown:
        out.print("No deliveries.")
        return
    print_table(shown, headings, out)
    more = f" Only {given.limit} are shown: --limit N shows more." if len(found) > given.limit else ""
    out.print(plain(f"Times are UTC.{more}"))


def _follow(records: Outbox, chosen: Selection, last: int, wants_json: bool, out: Console) -> None:
    """Print new attempts as they are made, starting after the attempt number `last`."""
    while True:
        with suppress(OutboxBusyError):  # the next query may succeed
            new, last = records.listing.attempts_since(last, chosen)
            for record, attempt in new:
                fields = {**fields_of(record), "attempt": fields_of_attempt(attempt)}
                out.print(plain(as_json(fields) if wants_json else line(record, attempt, out)), soft_wrap=True)
        time.sleep(POLL_SECONDS)
