"""`sfwebhooks tickets`: the tickets that trackers have for findings, or forget those of a tracker."""

from __future__ import annotations

import argparse
from contextlib import closing
from typing import Any

from rich.console import Console

from sfwebhooks.errors import SelectionError
from sfwebhooks.events import clean_text, timestamp
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.postgres.dsn import is_missing
from sfwebhooks.outbox.tickets import TicketRow
from sfwebhooks.terminal.arguments import add_config, outbox_place
from sfwebhooks.terminal.delivery_table import short_time
from sfwebhooks.terminal.output import as_json, console, no_outbox, plain, show_end, show_result, stacked, table
from sfwebhooks.terminal.selection_arguments import add_listing, on_outbox
from sfwebhooks.text import amount
from sfwebhooks.ticketing import TicketState

#: states of a ticket in words
WORDS = {TicketState.DISMISSED: "closed, not wanted", TicketState.MISSING: "deleted"}
COLOURS = {TicketState.CLOSED: "green", TicketState.DISMISSED: "yellow"}


def add(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        "tickets",
        help="tickets that trackers have for findings: state, last seen",
        description="List the tickets that were created for findings, the last changed ones first, with their state"
        " after the last message about each. A ticket that a person closed as not wanted (wont_fix) mutes its finding:"
        " sfwebhooks mute lists the mutes. Times are UTC.",
        epilog="examples:\n  sfwebhooks tickets --endpoint jira\n  sfwebhooks tickets --endpoint jira --forget",
    )
    command.add_argument("--endpoint", type=clean_text, metavar="NAME", help="only the tickets of this endpoint (all)")
    command.add_argument(
        "--forget",
        action="store_true",
        help="forget the tickets of the endpoint, which its tracker keeps: after its project was changed",
    )
    add_config(command)
    add_listing(command)
    command.set_defaults(run=_tickets)


def _tickets(given: argparse.Namespace) -> int:
    return _forget(given) if given.forget else on_outbox(_list_tickets, listing=True)(given)


def _list_tickets(given: argparse.Namespace, records: Outbox, out: Console) -> int:
    found = records.tickets.all(given.endpoint)
    shown = found[: given.limit]
    if given.json:
        for row in shown:
            out.print(plain(as_json(_ticket_fields(row))), soft_wrap=True)
        return 0
    rows = table("ticket", "finding / address", "endpoint", "last seen", "state", whole=("ticket", "last seen"))
    for row in shown:
        ticket = row.ticket
        several = f" ({amount(row.findings, 'finding')})" if row.findings > 1 else ""
        what = stacked(plain(ticket.title + several), *([plain(ticket.link, "dim")] if ticket.link else []))
        seen = short_time(ticket.seen_at or None, out)
        state = plain(WORDS.get(ticket.state, ticket.state.value), COLOURS.get(ticket.state, ""))
        rows.add_row(plain(ticket.name), what, plain(row.endpoint), plain(seen), state)
    if shown:
        out.print(rows)
    show_end(given, out, len(found), "No tickets.")
    return 0


def _forget(given: argparse.Namespace) -> int:
    place = outbox_place(given)
    if not given.endpoint:
        raise SelectionError("--forget requires --endpoint NAME: the tickets of one endpoint are forgotten")
    if is_missing(place):
        raise SelectionError(no_outbox(place))
    with closing(Outbox(place)) as outbox:
        number = outbox.tickets.forget(given.endpoint)
    words = (
        f"{given.endpoint}: {amount(number, 'ticket')} forgotten; the next scan searches for each before creating it."
    )
    show_result(given, console(), {"endpoint": given.endpoint, "forgotten": number}, words)
    return 0


def _ticket_fields(row: TicketRow) -> dict[str, Any]:
    ticket = row.ticket
    return {
        "endpoint": row.endpoint,
        "ticket": ticket.name,
        "address": ticket.link,
        "finding": ticket.title,
        "target": row.target,
        "findings": row.findings,
        "state": ticket.state.value,
        "last_seen": timestamp(ticket.seen_at) if ticket.seen_at else None,
        "scan_id": ticket.scan_id,
    }
