"""A Notice as plain text, for receivers that know no blocks or fields, and what keeps texts within a limit of bytes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Callable

from sfwebhooks.events import clean_text
from sfwebhooks.formats.chat import Notice
from sfwebhooks.jsontext import written

#: where a mention or a link of some chat begins; the @ of a mail address has a letter in front of it
AT = re.compile(r"(?<![\w.+-])@(?=\w)")
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
    trail = ["Found via " + " ← ".join(notice.trail)] if notice.trail else []
    footer = " · ".join(notice.footer)
    facts = [f"{label}: {value}" for label, value in notice.facts]
    body, *whole = (clean_text(safe(line.replace("\n", "\n  "))) for line in (notice.body, *facts, *trail, footer))
    for most in (limit, limit // 8):
        rest = [*(within(line, most) for line in whole), *([notice.link] if notice.link else [])]
        spare = limit - sum(len(line.encode()) + 1 for line in (*top, *rest))
        if spare >= min(len(body.encode()), limit // 2):
            break
    return within("\n".join(line for line in (*top, within(body, max(spare, limit // 2)), *rest) if line), limit)


def within(text: str, limit: int) -> str:
    """Return a text without lone surrogates, or its beginning with an ellipsis.

    Args:
        limit: in bytes of UTF-8.
    """
    data = clean_text(text).encode()
    if len(data) <= limit:
        return data.decode()
    return data[: limit - len("…".encode())].decode("utf-8", "ignore") + "…"


def defused(text: str) -> str:
    """Return a text in which no chat finds a mention or a link with other words than its address.

    For receivers that have no way to escape, or pass the text on to others: the signs are replaced by similar ones.
    """
    return BRACKET.sub("‹", AT.sub("＠", text)).replace("](", "] (")


def smallest(build: Callable[[int], Any], caps: Sequence[int], limit: int) -> bytes:
    """Return the JSON of a message with texts as long as its limit allows.

    Args:
        build: makes the message with texts of at most that number of bytes.
        caps: tried in turn; with the last one it always fits.
        limit: in bytes.
    """
    ways = (written(build(cap)).encode() for cap in caps)
    return next((body for body in ways if len(body) <= limit), b"") or written(build(caps[-1])).encode()
