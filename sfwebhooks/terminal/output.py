"""The terminal, and what commands print on it: texts come in, cells and tables go out."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Container, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sfwebhooks.events import printable
from sfwebhooks.outbox.postgres.dsn import Place

#: characters of a line of a table in a pipe or a file
WIDTH = 240
#: characters between two columns
GAP = 2


def console(quiet: bool = False) -> Console:
    """Return the terminal; lines in a pipe or a file are neither wrapped nor cut.

    Args:
        quiet: whether nothing that is printed on it is shown.
    """
    out = Console(highlight=False, quiet=quiet)
    return out if out.is_terminal else Console(highlight=False, soft_wrap=True, width=WIDTH, quiet=quiet)


def beside(out: Console, wants_json: bool) -> Console:
    """Return where lines go that are not part of a command's result: to standard error if that is JSON."""
    return Console(stderr=True, highlight=False) if wants_json else out


def no_outbox(place: Place) -> str:
    """Return the text for an outbox that does not exist."""
    return (
        f"There is no outbox {place}: no scan has had webhooks yet; sfwebhooks doctor says whether the next one will."
    )


def table(*columns: str, whole: Container[str] = ()) -> Table:
    """Return an empty table.

    Args:
        whole: columns whose cells are short and never broken.
    """
    made = Table(box=None, header_style="bold", pad_edge=False, padding=(0, GAP, 0, 0))
    for column in columns:
        made.add_column(column, overflow="fold", no_wrap=column in whole)
    return made


def stacked(first: Text, *others: Text) -> Text:
    """Return one cell made of several, the others below the first."""
    return Text("\n  ").join([first, *others])


def plain(text: str, style: str = "") -> Text:
    """Return text whose square brackets and control characters have no effect on the terminal."""
    return Text(printable(text), style=style)


def print_hanging(head: str, text: Text, out: Console) -> None:
    """Print a text behind its head; on a terminal, what does not fit is continued below the text."""
    width = out.width - len(head)
    parts = text.wrap(out, width) if out.is_terminal and width > 0 else [text]
    for number, part in enumerate(parts):
        part.rstrip()
        out.print(plain(" " * len(head) if number else head) + part, soft_wrap=True)


def note(words: str) -> None:
    """Print on standard error what keeps a command from a part of its work."""
    print(f"sfwebhooks: {printable(words)}", file=sys.stderr)


def as_json(found: dict[str, Any]) -> str:
    """Return an object as one line of ASCII JSON, without control characters for the terminal."""
    return json.dumps(found)


def show_end(given: argparse.Namespace, out: Console, number: int, nothing: str) -> None:
    """Print below a table, unless --quiet is given, in which zone its times are, and whether --limit has left rows out.

    Args:
        number: of rows; one more than the limit means that there are others.
        nothing: what is printed if there are none.
    """
    if not given.quiet:
        more = f" Only {given.limit} are shown: --limit N shows more." if number > given.limit else ""
        out.print(plain(f"Times are UTC.{more}" if number else nothing))


def show_result(given: argparse.Namespace, out: Console, fields: Mapping[str, Any], *lines: str) -> None:
    """Print what a command has done: its fields with --json, otherwise the lines, unless --quiet is given."""
    if given.json:
        out.print(plain(as_json(dict(fields))), soft_wrap=True)
    elif not given.quiet:
        for line in lines:
            out.print(plain(line))
