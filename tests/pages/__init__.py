"""Pages of the documentation that are made from the code: what it knows comes in, Markdown and pictures go out.

`python -m tests.pages` writes them. A test compares the pages with what would be written now, as tests/golden does with
messages. Pictures have the times and ids of their day, so the test only asks for what they show.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
#: at the top of each page
MARK = "<!-- Written by python -m tests.pages: change the code, not this page. -->"


def cell(text: str) -> str:
    """Return a text as the cell of a table in Markdown."""
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())


def table(header: str, rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Return the lines of a table.

    Args:
        header: the names of the columns, separated by |.
    """
    columns = header.split("|")
    lines = [f"| {' | '.join(name.strip() for name in columns)} |", "|---" * len(columns) + "|"]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows), ""]
