"""Cutting texts for receivers that limit them: a text and a limit come in, the beginning that fits goes out.

Escaping makes a text longer, so it is escaped while it is cut: the limit is for the text as sent, and no entity, escape
or pair of surrogates is parted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Callable, TypeVar

from sfwebhooks.events import clean_text
from sfwebhooks.jsontext import written as json_text

T = TypeVar("T")


def fit(text: str, limit: int, written: Callable[[str], str] = str) -> str:
    """Return a text as it is sent, within a limit; what was cut ends in an ellipsis, never within an entity.

    Args:
        limit: in UTF-16 units, for what is sent, so after escaping.
        written: escapes a text; does not make it shorter.
    """
    if len(text) <= limit:
        whole = written(text)
        if utf16_length(whole) <= limit:
            return whole
    low, high = 0, limit - 1
    while low < high:
        middle = (low + high + 1) // 2
        fits = utf16_length(written(text[:middle])) < limit
        low, high = (middle, high) if fits else (low, middle - 1)
    return written(text[:low]) + "…"


def cut(text: str, limit: int, size: Callable[[str], int]) -> str:
    """Return a text, not yet escaped, or its beginning with an ellipsis, whose size as it is sent is within a limit.

    Args:
        size: of a text that grows with it.
    """
    if size(text) <= limit:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if size(f"{text[:middle]}…") <= limit else (low, middle - 1)
    return f"{text[:low]}…"


def utf8_length(text: str) -> int:
    """Return a text's length in bytes of UTF-8."""
    return len(clean_text(text).encode())


def utf16_length(text: str) -> int:
    """Return a text's length in UTF-16 units: an emoji counts as two, so we are right whichever way a chat counts."""
    return len(text) + sum(character > "\uffff" for character in text)


def within(text: str, limit: int) -> str:
    """Return a text without lone surrogates, or its beginning with an ellipsis.

    Args:
        limit: in bytes of UTF-8.
    """
    data = clean_text(text).encode()
    if len(data) <= limit:
        return data.decode()
    return data[: limit - len("…".encode())].decode("utf-8", "ignore") + "…"


def first_within(limit: int, size: Callable[[T], int], ways: Iterable[T]) -> T:
    """Return the first of some ways to write a message whose size is within a limit, else the last one.

    Args:
        ways: the longest first.
    """
    way: T
    for way in ways:
        if size(way) <= limit:
            break
    return way


def smallest(build: Callable[[int], Any], caps: Sequence[int], limit: int) -> bytes:
    """Return the JSON of a message with texts as long as its limit allows.

    Args:
        build: makes the message with no text longer than that.
        caps: tried in turn, the longest first; with the last one it always fits.
        limit: in bytes.
    """
    return first_within(limit, len, (json_text(build(cap)).encode() for cap in caps))
