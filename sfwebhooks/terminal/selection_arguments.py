"""Arguments shared by the commands on deliveries: filters and ids come in, a Selection goes out; and the outbox."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from fnmatch import fnmatchcase

from rich.console import Console

from sfwebhooks.config.values import nearest, whole_number
from sfwebhooks.endpoints import EVENT_NAMES
from sfwebhooks.errors import SelectionError
from sfwebhooks.events import clean_text
from sfwebhooks.inspection.choosing import event_type, past_time
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.postgres.dsn import is_missing
from sfwebhooks.outbox.selection import Selection
from sfwebhooks.retry import State
from sfwebhooks.terminal.arguments import add_config, add_json, outbox_place, said
from sfwebhooks.terminal.output import beside, console, no_outbox, plain
from sfwebhooks.terminal.progress_bar import bar_of_changes

#: scans that an error lists
LAST = 5
#: a command's work on the outbox; returns its exit code
Work = Callable[[argparse.Namespace, Outbox, Console], int]


def add_filters(command: argparse.ArgumentParser) -> None:
    """Add the filters of all these commands, and the options for the outbox's place."""
    when = said(past_time)
    command.add_argument("--endpoint", type=clean_text, default="", metavar="NAME", help="only to this endpoint")
    command.add_argument("--scan", type=clean_text, default="", metavar="ID", help="only from this scan")
    command.add_argument(
        "--type", type=event_type, default="", metavar="PATTERN", help="only this event type; * matches any characters"
    )
    command.add_argument(
        "--since", type=when, metavar="TIME", help="accepted at or after: 2h or 7d (ago), or an ISO 8601 time (UTC)"
    )
    command.add_argument("--until", type=when, metavar="TIME", help="accepted before this time")
    add_config(command)


def add_choice(command: argparse.ArgumentParser) -> None:
    """Add the arguments of a command that changes deliveries: ids, filters, or --all."""
    command.add_argument(
        "ids", nargs="*", type=clean_text, metavar="ID", help="id of a delivery or of its event, or the start of one"
    )
    add_filters(command)
    command.add_argument("--all", action="store_true", help="all of them; required if there is no ID and no filter")
    command.add_argument("--dry-run", action="store_true", help="only count them")
    add_json(command)
    command.set_defaults(stopped="changes made so far are kept; run the same command again for the rest")


def selection(given: argparse.Namespace, *states: State) -> Selection:
    """Return the filters of the command line.

    Raises:
        SelectionError: --since is not before --until.
    """
    if None not in (given.since, given.until) and given.since >= given.until:
        raise SelectionError("--since must be before --until: no delivery can match")
    return Selection(given.endpoint, given.scan, given.type, states, given.since, given.until)


def choice(given: argparse.Namespace, records: Outbox, *states: State) -> Selection:
    """Return the filters and ids of the command line.

    Raises:
        SelectionError: neither they nor --all are given; an id is unknown or ambiguous; or as `outbox/selection` does.
    """
    only = states[0] if len(states) == 1 else None
    ids = tuple(records.listing.find(text, only).id for text in given.ids)
    chosen = replace(selection(given, *states), ids=ids)
    if chosen.is_all and not given.all:
        raise SelectionError("give an ID, a filter (--endpoint, --scan, --type, --since, --until), or --all")
    return chosen


def on_outbox(work: Work, changes: bool = False, listing: bool = False) -> Callable[[argparse.Namespace], int]:
    """Return the command that does this work on the outbox, if there is one.

    Args:
        changes: it changes deliveries: then a name unknown to the outbox is an error.
        listing: it only reads, even an outbox that cannot be written.
    """

    def run(given: argparse.Namespace) -> int:
        place, out = outbox_place(given), console()
        if is_missing(place):
            nothing = no_outbox(place)
            if changes and (given.ids or given.endpoint or given.scan):
                raise SelectionError(nothing)
            beside(out, given.json).print(plain(nothing), soft_wrap=True)
            return 0
        with closing(Outbox(place, listing=listing)) as records:
            unknown = list(_unknown(given, records))
            if unknown and changes:
                raise SelectionError(" ".join(unknown))
            for words in unknown:
                beside(out, True).print(plain(words), soft_wrap=True)
            with bar_of_changes(console(given.quiet or given.json)) as records.retention.progress:
                return work(given, records, out)

    return run


def _unknown(given: argparse.Namespace, records: Outbox) -> Iterator[str]:
    """Yield an error for each of endpoint, scan and event type that is unknown: it may be misspelled."""
    endpoint, scan, kind = (getattr(given, name, "") for name in ("endpoint", "scan", "type"))
    names = records.listing.endpoints() if endpoint else []
    if endpoint and endpoint not in names:
        yield f'The outbox has no deliveries for an endpoint "{endpoint}", only for: {", ".join(names) or "none"}.'
    if scan and not records.listing.knows(scan):
        last = ", ".join(records.listing.scans(LAST)) or "none"
        yield f'The outbox has no scan "{scan}"; its last scans are: {last}.'
    if kind and not any(fnmatchcase(name, kind) for name in EVENT_NAMES):
        yield f'There is no event type "{kind}"; sfwebhooks events lists them.{nearest(kind, sorted(EVENT_NAMES))}'


def demand(number: int, chosen: Selection) -> None:
    """Check that the filters matched something; an empty outbox is not a mistake.

    Raises:
        SelectionError: they matched nothing and may be misspelled.
    """
    if not number and not chosen.is_all:
        states = " or ".join(state.value for state in chosen.states)
        raise SelectionError(f"no {states} delivery matches the filters")


def add_listing(command: argparse.ArgumentParser) -> None:
    """Add the arguments of all listings."""
    command.add_argument(
        "--limit", type=said(whole_number(1, 1_000_000)), default=50, metavar="N", help="at most N (50)"
    )
    add_json(command, "print one JSON object per line")
