"""What the formats that write Markdown have in common: escaping, blocks of code, and the rows below a finding."""

from __future__ import annotations

import re
from typing import Callable

from sfwebhooks.formats.cutting import fit
from sfwebhooks.formats.notice import Notice

#: what begins a heading, a quotation, a list or a rule at the start of a line; a number and what follows it
LINE_START = re.compile(r"^([ \t]*(?:\d+(?=[.)](?:\s|$)))?)([#>=.)]|[-+](?=[-#\s]|$))", re.MULTILINE)
#: not an underscore within a word, which is not markup
SIGNS = r"[\\`*~|\[\]]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])"
#: a whole run of back-ticks
TICKS = re.compile("`+")
#: within the parentheses of a link
ADDRESS = str.maketrans({"(": "%28", ")": "%29", "\\": "%5C", " ": "%20"})


def escaped(text: str, signs: re.Pattern[str]) -> str:
    """Return a text with a backslash before each sign, and before what is markup at the start of a line."""
    return LINE_START.sub(r"\1\\\2", signs.sub(r"\\\g<0>", text))


def code_block(text: str) -> str:
    """Return a text as a block in which nothing is markup."""
    fence = "`" * max(3, 1 + max(map(len, TICKS.findall(text)), default=0))
    return f"{fence}\n{text}\n{fence}"


def marked_rows(notice: Notice, limit: int, escape: Callable[[str], str]) -> list[tuple[str, str]]:
    """Return the labels and values that a message shows below the finding: facts, trail, links.

    Args:
        limit: of a value, in UTF-16 units; a label may have a quarter.
    """
    found = [(fit(label, limit // 4, escape), fit(value, limit, escape)) for label, value in notice.rows]
    links = " · ".join(f"[{words}]({url.translate(ADDRESS)})" for words, url in notice.links)
    return [*found, ("Scan", links)] if links else found
