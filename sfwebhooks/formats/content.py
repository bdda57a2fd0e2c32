"""Content: a message as a format made it, before it is signed. And the one way in which we write JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from sfwebhooks.events import clean_text


@dataclass(frozen=True)
class Content:
    """A message's bytes and the headers that belong to them."""

    body: bytes
    #: header name -> value, Content-Type among them
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})


def to_json(value: object) -> bytes:
    """Return compact JSON in UTF-8, byte-equal to what JSON.stringify gives for text and whole numbers, since
    receivers re-serialise to verify. Lone surrogates, which UTF-8 cannot write, become U+FFFD.

    Raises:
        ValueError: NaN or an infinity is in it.
    """
    return clean_text(json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)).encode()
