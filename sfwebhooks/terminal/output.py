"""The terminal, and what commands print on it: texts come in, cells and tables go out."""

from __future__ import annotations

import json
from collections.abc import Container
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sfwebhooks.events import printable

#: characters of a line of a table in a pipe or a file
WIDTH = 240
#: characters between two columns
GAP = 2


def console() -> Console:
    """Return the terminal; lines in a pipe or a file are neither wrapped nor cut."""
    out = Console(highlight=False)
    return out if out.is_terminal else Console(highlight=False, soft_wrap=True, width=WIDTH)


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


def as_json(found: dict[str, Any]) -> str:
    """Return an object as one line of ASCII JSON, without control characters for the terminal."""
    return json.dumps(found)
