"""A Notice as plain text, for receivers that know no blocks or fields."""

from __future__ import annotations

import re
from typing import Callable

from sfwebhooks.events import clean_text
from sfwebhooks.formats.cutting import within
from sfwebhooks.formats.notice import FOUND_VIA, Notice, without_mentions

#: where a mention or a link of some chat begins
BRACKET = re.compile(r"<(?=\S)")


def in_lines(notice: Notice, limit: int, headline: bool = True, safe: Callable[[str], str] = str) -> str:
    """Return a notice as lines; if they are too long, the body is shortened to half of the limit, then each other line,
    then the end.

    Only a label begins a line of its own: further lines of a value are indented, so that they cannot imitate one.

    Args:
        limit: in bytes of UTF-8.
        headline: whether it is the first line; else the receiver shows it elsewhere.
        safe: makes text from outside harmless.
    """
    top = [within(safe(notice.headline), limit // 4)] if headline else []
    trail = [f"{FOUND_VIA} {' ← '.join(notice.trail)}"] if notice.trail else []
    facts = [f"{label}: {value}" for label, value in notice.facts]
    body = clean_text(safe(notice.body.replace("\n", "\n" if notice.is_digest else "\n  ")))
    whole = [clean_text(safe(line.replace("\n", "\n  "))) for line in (*facts, *trail, notice.small_print)]
    for most in (limit, limit // 8):
        rest = [*(within(line, most) for line in whole), *(url for _, url in notice.links)]
        spare = limit - sum(len(line.encode()) + 1 for line in (*top, *rest))
        if spare >= min(len(body.encode()), limit // 2):
            break
    return within("\n".join(line for line in (*top, within(body, max(spare, limit // 2)), *rest) if line), limit)


def defused(text: str) -> str:
    """Return a text in which no chat finds a mention or a link with other words than its address.

    For receivers that have no way to escape, or pass the text on to others: the signs are replaced by similar ones.
    """
    return BRACKET.sub("‹", without_mentions(text)).replace("](", "] (")
