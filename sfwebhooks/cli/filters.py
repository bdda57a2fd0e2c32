"""What the commands about deliveries share: the filters, the ids, and the outbox that they are about."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from fnmatch import fnmatchcase

from rich.console import Console

from sfwebhooks.catalogue import type_named
from sfwebhooks.cli.terminal import add_config, console, folder, plain, said
from sfwebhooks.cli.verify import parsed_time
from sfwebhooks.config.values import nearest, seconds
from sfwebhooks.endpoints import EVENT_NAMES
from sfwebhooks.errors import SelectionError
from sfwebhooks.events import clean_text
from sfwebhooks.files import is_deleted
from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.listing import Records
from sfwebhooks.outbox.selection import Selection
from sfwebhooks.retry import State

#: scans that are named
LAST = 5
#: what a command does with the outbox; returns its exit code
Work = Callable[[argparse.Namespace, Records, Console], int]


def add_filters(command: argparse.ArgumentParser) -> None:
    """Add the filters that all of these commands have, and where the outbox is."""
    when = said(past_time)
    command.add_argument("--endpoint", type=clean_text, default="", metavar="NAME", help="only to this endpoint")
    command.add_argument("--scan", type=clean_text, default="", metavar="ID", help="only of this scan")
    command.add_argument(
        "--type", type=event_type, default="", metavar="PATTERN", help="only of this event type; * is any characters"
    )
    command.add_argument(
        "--since", type=when, metavar="TIME", help="accepted then or later: 2h or 7d ago, or an ISO 8601 time (UTC)"
    )
    command.add_argument("--until", type=when, metavar="TIME", help="accepted before")
    add_config(command)


def add_choice(command: argparse.ArgumentParser) -> None:
    """Add what a command needs that changes deliveries: ids, filters, or the word that all are meant."""
    command.add_argument(
        "ids", nargs="*", type=clean_text, metavar="ID", help="id of a delivery, or of its event, or its beginning"
    )
    add_filters(command)
    command.add_argument("--all", action="store_true", help="all of them; needed if there is no ID and no filter")
    command.add_argument("--dry-run", action="store_true", help="only say how many there are")
    command.set_defaults(stopped="what was changed stays so; give the same command again for the rest")


def past_time(text: str) -> float:
    """Read a time that was, in epoch seconds: a duration ago, or as `moment` does."""
    try:
        return time.time() - seconds(text)
    except ValueError:
        pass
    try:
        return parsed_time(text)
    except ValueError as error:
        raise ValueError("accepted: a duration such as 2h or 7d, or a time such as 2026-11-21T10:00 (UTC)") from error


def event_type(text: str) -> str:
    """Read an event type; an alias is read as its name, under which all are found."""
    entry = type_named(text)
    return entry.name if entry else clean_text(text)


def selection(given: argparse.Namespace, *states: State) -> Selection:
    """Return the filters of the command line.

    Raises:
        SelectionError: no time is within --since and --until.
    """
    if None not in (given.since, given.until) and given.since >= given.until:
        raise SelectionError("--since must be before --until: nothing can be accepted between them")
    return Selection(given.endpoint, given.scan, given.type, states, given.since, given.until)


def choice(given: argparse.Namespace, records: Records, *states: State) -> Selection:
    """Return the filters and ids of the command line.

    Raises:
        SelectionError: there is none, nor --all; an id is not one, or that of several; or as `outbox/selection` does.
    """
    only = states[0] if len(states) == 1 else None
    ids = tuple(records.find(text, only).id for text in given.ids)
    chosen = replace(selection(given, *states), ids=ids)
    if chosen.is_all and not given.all:
        raise SelectionError("give an ID, a filter (--endpoint, --scan, --type, --since, --until), or --all")
    return chosen


def on_outbox(work: Work, changes: bool = False, listing: bool = False) -> Callable[[argparse.Namespace], int]:
    """Return the command that does this work on the outbox, if there is one.

    Args:
        changes: whether it changes deliveries: then a name that the outbox does not know is an error.
        listing: it only looks, also at an outbox that cannot be written.
    """

    def run(given: argparse.Namespace) -> int:
        path, out = folder(given) / FILE, console()
        if is_deleted(path):
            nothing = f"There is no outbox {path}: no scan has had webhooks yet."
            if changes and (given.ids or given.endpoint or given.scan):
                raise SelectionError(nothing)
            there = Console(stderr=True, highlight=False) if getattr(given, "json", False) else out
            there.print(plain(nothing), soft_wrap=True)
            return 0
        with closing(Records(path, listing=listing)) as records:
            unknown = list(_unknown(given, records))
            if unknown and changes:
                raise SelectionError(" ".join(unknown))
            for words in unknown:
                Console(stderr=True, highlight=False).print(plain(words), soft_wrap=True)
            return work(given, records, out)

    return run


def _unknown(given: argparse.Namespace, records: Records) -> Iterator[str]:
    """Yield that nobody knows the endpoint, the scan or the event type that is asked for: it may be misspelt."""
    endpoint, scan, kind = (getattr(given, name, "") for name in ("endpoint", "scan", "type"))
    names = records.endpoints() if endpoint else []
    if endpoint and endpoint not in names:
        yield f'The outbox never had anything for an endpoint "{endpoint}"; it had for: {", ".join(names) or "none"}.'
    if scan and not records.knows(scan):
        yield f'The outbox knows no scan "{scan}"; the last ones are: {", ".join(records.scans(LAST)) or "none"}.'
    if kind and not any(fnmatchcase(name, kind) for name in EVENT_NAMES):
        yield f'There is no event type "{kind}"; sfwebhooks events lists them.{nearest(kind, sorted(EVENT_NAMES))}'
