"""`sfwebhooks deliveries`: the accepted deliveries and their state, one line each."""

from __future__ import annotations

import argparse
import time
from contextlib import suppress
from typing import Any

from rich.console import Console

from sfwebhooks.delivery.status import waiting_lines
from sfwebhooks.errors import OutboxBusyError
from sfwebhooks.inspection.fields import fields_of, fields_of_attempt
from sfwebhooks.outbox.listing import Cursor
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.selection import Selection
from sfwebhooks.retry import State
from sfwebhooks.terminal.arguments import known_settings
from sfwebhooks.terminal.delivery_table import DELIVERIES, line, print_records, states
from sfwebhooks.terminal.output import as_json, plain
from sfwebhooks.terminal.selection_arguments import add_filters, add_listing, on_outbox, selection
from sfwebhooks.terminal.stop_signal import end_at_signals

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
        epilog="examples:\n  sfwebhooks deliveries --state waiting --endpoint siem_system\n"
        "  sfwebhooks deliveries --follow",
    )
    add_filters(command)
    command.add_argument("--state", choices=[state.value for state in State], help="only deliveries in this state")
    add_listing(command)
    command.add_argument("--follow", action="store_true", help="keep showing new attempts until Ctrl-C")
    command.set_defaults(run=on_outbox(_deliveries, listing=True))


def _deliveries(given: argparse.Namespace, records: Outbox, out: Console) -> int:
    chosen = selection(given, *([State(given.state)] if given.state else []))
    if not given.follow:
        found = records.listing.deliveries(chosen, given.limit + 1)
        print_records(found, DELIVERIES, given, out)
        if given.scan and not given.json:
            out.print(f"{states(records.listing.counts(chosen))}.")
        if not given.json:
            shown = {record.endpoint for record in found if record.state is State.WAITING}
            for words in waiting_lines(records.place, known_settings(given), shown):
                out.print(plain(words))
        return 0
    end_at_signals()
    with suppress(KeyboardInterrupt):
        last = records.listing.last_attempt()
        # the latest last: new attempts follow below
        print_records(records.listing.deliveries(chosen, given.limit)[::-1], DELIVERIES, given, out)
        _follow(records, chosen, last, given.json, out)
    return 0


def _follow(records: Outbox, chosen: Selection, last: Cursor, wants_json: bool, out: Console) -> None:
    """Print new attempts as they are made, starting after `last`."""
    while True:
        with suppress(OutboxBusyError):  # the next query may succeed
            new, last = records.listing.attempts_since(last, chosen)
            for record, attempt in new:
                fields = {**fields_of(record), "attempt": fields_of_attempt(attempt)}
                out.print(plain(as_json(fields) if wants_json else line(record, attempt, out)), soft_wrap=True)
        time.sleep(POLL_SECONDS)
