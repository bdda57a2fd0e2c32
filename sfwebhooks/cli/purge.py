"""`sfwebhooks purge`: delete deliveries and what belongs to them, so that no byte of them is left in the outbox."""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

from rich.console import Console

from sfwebhooks.config.values import seconds_with_unit
from sfwebhooks.errors import SelectionError
from sfwebhooks.events import clean_text
from sfwebhooks.inspection.fields import Counts, counted_deliveries, total
from sfwebhooks.inspection.live_state import ATTENTION
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.postgres.dsn import Dsn
from sfwebhooks.outbox.selection import Selection
from sfwebhooks.retry import State
from sfwebhooks.terminal.arguments import add_config, said
from sfwebhooks.terminal.delivery_table import print_counts, print_left, print_numbers
from sfwebhooks.terminal.output import console, plain
from sfwebhooks.terminal.selection_arguments import demand, on_outbox
from sfwebhooks.text import moment

HELP = """
Delete delivered and dead deliveries permanently, with their attempts, the receivers' replies, and the events that no
other endpoint has. Their bytes in the outbox are overwritten. Deliveries of a scan whose end is not reported yet stay.
SpiderFoot's own database is not changed: delete the scan there too.
"""
EXAMPLE = "example:\n  sfwebhooks purge --scan 5909AA61 --dry-run"


def add(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        "purge", help="delete the deliveries of a scan or an endpoint, or old ones", description=HELP, epilog=EXAMPLE
    )
    command.add_argument("--scan", type=clean_text, default="", metavar="ID", help="only from this scan")
    command.add_argument("--endpoint", type=clean_text, default="", metavar="NAME", help="only to this endpoint")
    command.add_argument(
        "--older-than", type=said(seconds_with_unit), metavar="TIME", help="only those accepted before: 30d, 12h"
    )
    command.add_argument("--all", action="store_true", help="all of them; required if there is no filter")
    command.add_argument("--waiting", action="store_true", help="also waiting deliveries, which are then never sent")
    command.add_argument("--dry-run", action="store_true", help="only count them")
    command.add_argument("--yes", action="store_true", help="do not ask; required without a terminal")
    add_config(command)
    command.set_defaults(
        run=on_outbox(_purge, changes=True),
        ids=(),
        stopped="some deliveries are deleted but not overwritten yet; run the same command again",
    )


def _purge(given: argparse.Namespace, records: Outbox, out: Console) -> int:
    chosen = _chosen(given)
    counts = records.listing.counts(chosen, over=True)
    if given.dry_run:
        _print_cutoff(chosen, out)
        print_counts(counts, chosen.states, given, out)
        print_left(total(records.listing.counts(chosen)) - total(counts), out)
        return 0
    out = console(given.quiet and given.yes)
    if counts:
        _announce(records, counts, chosen, out)
        if not given.yes and not _agrees(out):
            out.print("Nothing was deleted.")
            return 1
    purged = records.retention.purge(chosen)
    left = total(records.listing.counts(chosen))
    trouble, ordered = "", records.retention.erasure.is_ordered()  # also after a purge that was stopped
    if records.retention.erasure.is_needed():
        with out.status("Overwriting what was deleted ...") if out.is_terminal else nullcontext():
            trouble = records.retention.erasure.run()
    if not ordered:
        demand(purged + left, chosen)
    out.print(f"{counted_deliveries(purged)} deleted.")
    print_left(left, out)
    return 0 if _is_gone(records, trouble, out) else ATTENTION


def _chosen(given: argparse.Namespace) -> Selection:
    """Return the filters of the command line.

    Raises:
        SelectionError: there are none, without --all.
    """
    states = (State.DELIVERED, State.DEAD, *([State.WAITING] if given.waiting else []))
    until = None if given.older_than is None else time.time() - given.older_than
    chosen = Selection(given.endpoint, given.scan, states=states, until=until)
    if chosen.is_all and not given.all:
        raise SelectionError("give a filter (--scan, --endpoint, --older-than), or --all")
    return chosen


def _announce(records: Outbox, counts: Counts, chosen: Selection, out: Console) -> None:
    """Print what will be deleted, and what will not."""
    _print_cutoff(chosen, out)
    print_numbers(counts, chosen.states, out)
    out.print()
    which = "with the replies to them, and the events that no other endpoint has"
    out.print(f"{counted_deliveries(total(counts))} will be deleted permanently, {which}.")
    waiting = total(records.listing.counts(replace(chosen, states=(State.WAITING,))))
    if waiting and State.WAITING not in chosen.states:
        out.print(f"{counted_deliveries(waiting)} waiting: not deleted, and sent later. --waiting deletes them too.")
    out.print("SpiderFoot's own database is not changed: delete the scan there too.")


def _print_cutoff(chosen: Selection, out: Console) -> None:
    """Print before what time the chosen deliveries were accepted, if that is a filter: 3 is three seconds."""
    if chosen.until is not None:
        out.print(f"Accepted before {moment(chosen.until)}:")


def _agrees(out: Console) -> bool:
    """Ask for agreement.

    Raises:
        SelectionError: there is nobody to ask.
    """
    if not (out.is_terminal and sys.stdin and sys.stdin.isatty()):
        raise SelectionError("purge asks before it deletes; without a terminal, add --yes")
    try:
        return out.input("Delete them? [y/N] ", markup=False).strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _is_gone(records: Outbox, trouble: str, out: Console) -> bool:
    """Report where deleted content may be left; return whether there is no such place.

    Args:
        trouble: why it could not be overwritten; empty: it was.
    """
    name, folder = records.path.name, records.path.resolve().parent
    is_file = not isinstance(records.place, Dsn)
    where = f"{name} or {name}-wal" if is_file else f"the tables of {records.place}"
    there = console()
    if trouble:
        there.print(plain(f"Deleted content may still be in {where}: {trouble}.", "yellow"), soft_wrap=True)
        there.print("sfwebhooks run tries that again within an hour, and the same command at once.")
    elif is_file:
        out.print(f"What was deleted is overwritten in {name} and {name}-wal; backups are not changed.")
    else:
        out.print(f"What was deleted is removed from {where}; the server's log and backups are not changed.")
    aside = sorted(folder.glob(f"{name}.corrupt-*"))
    for path in aside:
        there.print(plain(f"{path} was set aside earlier and may still have it: delete it.", "yellow"), soft_wrap=True)
    return not (trouble or aside)
