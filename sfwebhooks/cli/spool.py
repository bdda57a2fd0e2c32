"""`sfwebhooks spool`: the events in the spool of this machine that are set aside: list them, retry or drop them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import closing
from itertools import islice
from typing import Any

from rich.console import Console

from sfwebhooks.errors import SelectionError
from sfwebhooks.events import clean_text, timestamp
from sfwebhooks.files import is_deleted
from sfwebhooks.inspection.live_state import ATTENTION
from sfwebhooks.outbox.file import SPOOL_FILE
from sfwebhooks.outbox.spool import SetAside, Spool
from sfwebhooks.retry import State
from sfwebhooks.terminal.arguments import add_data, add_json, folder
from sfwebhooks.terminal.delivery_table import short_time
from sfwebhooks.terminal.output import as_json, beside, console, plain, show_end, show_result, stacked, table
from sfwebhooks.terminal.selection_arguments import add_listing
from sfwebhooks.text import amount

EXAMPLES = "examples:\n  sfwebhooks spool list\n  sfwebhooks spool retry --all"
NO_SPOOL = "There is no spool {path}: no scan of this machine has stored events there."


def add(commands: Any) -> None:
    """Add the command and its actions."""
    family = commands.add_parser("spool", help="events set aside in the spool: list, retry, drop", epilog=EXAMPLES)
    actions = family.add_subparsers(title="actions", metavar="ACTION", required=True)
    listing = actions.add_parser(
        "list",
        help="list the events that are set aside, and why",
        description="List the events in the spool of this machine that are set aside: forwarding them to the outbox"
        " failed because of an error of sfwebhooks, while others could be forwarded. Their scans' receipts count them"
        " as set_aside. Times are UTC.",
        epilog="example:\n  sfwebhooks spool list --json",
    )
    add_data(listing)
    add_listing(listing)
    listing.set_defaults(run=_on_spool(_list))
    retry = actions.add_parser(
        "retry",
        help="let them be tried again",
        description="Let events that are set aside be forwarded again, by the process that forwards or the next one:"
        " after an upgrade, or a change of the settings. If a scan's end was reported before, they are sent as"
        " backfilled.",
        epilog="example:\n  sfwebhooks spool retry --all",
    )
    _add_choice(retry)
    retry.set_defaults(run=_on_spool(_retry))
    drop = actions.add_parser(
        "drop",
        help="delete them permanently",
        description="Delete events that are set aside permanently, once the end of their scan is reported.",
        epilog="example:\n  sfwebhooks spool drop 3f2a91",
    )
    _add_choice(drop)
    drop.set_defaults(run=_on_spool(_drop))


def _add_choice(command: argparse.ArgumentParser) -> None:
    command.add_argument("ids", nargs="*", type=clean_text, metavar="ID", help="id of an event, or the start of one")
    command.add_argument("--all", action="store_true", help="all of them; required if there is no ID")
    add_data(command)
    add_json(command)


def _on_spool(work: Callable[[argparse.Namespace, Spool, Console], int]) -> Callable[[argparse.Namespace], int]:
    """Return the command that does this work on the spool, if there is one."""

    def run(given: argparse.Namespace) -> int:
        path, out = folder(given).absolute() / SPOOL_FILE, console()
        if is_deleted(path):
            if getattr(given, "ids", ()):
                raise SelectionError(NO_SPOOL.format(path=path))
            beside(out, given.json).print(plain(NO_SPOOL.format(path=path)), soft_wrap=True)
            return 0
        with closing(Spool(path, listing=work is _list)) as spool:
            return work(given, spool, out)

    return run


def _list(given: argparse.Namespace, spool: Spool, out: Console) -> int:
    found = [*islice(spool.aside(), given.limit + 1)]
    if given.json:
        for one in found[: given.limit]:
            out.print(plain(as_json(_fields(one))), soft_wrap=True)
        return 0
    rows = table("event / why", "scan", "type", "tried", whole=("scan", "tried"))
    for one in found[: given.limit]:
        cells = (one.event.scan_id or "none", one.event.type, short_time(one.at or None, out))
        rows.add_row(stacked(plain(one.event.id), plain(one.reason)), *map(plain, cells))
    if found:
        out.print(rows)
    show_end(given, out, len(found), "No events are set aside.")
    return 0


def _fields(one: SetAside) -> dict[str, Any]:
    return {
        "event_id": one.event.id,
        "type": one.event.type,
        "scan_id": one.event.scan_id or None,
        "at": timestamp(one.event.at),
        "tried_at": timestamp(one.at),
        "reason": one.reason,
    }


def _chosen(given: argparse.Namespace, spool: Spool) -> list[str]:
    """Return the ids of the command line; none: all.

    Raises:
        SelectionError: neither an ID nor --all is given; or an id is unknown or ambiguous.
    """
    if not (given.ids or given.all):
        raise SelectionError("give an ID, or --all")
    return [spool.outbox.listing.find(text, State.DEAD).event_id for text in given.ids]


def _retry(given: argparse.Namespace, spool: Spool, out: Console) -> int:
    number = spool.retry(_chosen(given, spool))
    who = f"process {spool.sender}" if spool.sender else "sfwebhooks run, drain or the next scan"
    show_result(given, out, {"retried": number}, f"{amount(number, 'event')} to be tried again by {who}.")
    return 0


def _drop(given: argparse.Namespace, spool: Spool, out: Console) -> int:
    chosen = _chosen(given, spool)
    dropped = spool.drop(chosen)
    left = spool.number_aside()
    trouble = spool.outbox.retention.erasure.run() if dropped else ""
    words = [f"{amount(dropped, 'event')} dropped."]
    words += [f"{amount(left, 'event')} set aside: the end of a scan has to be reported before."] * bool(left)
    words += [f"The space on disk is not overwritten yet: {trouble}."] * bool(trouble)
    show_result(given, out, {"dropped": dropped, "left": left}, *words)
    return ATTENTION if trouble else 0
