"""A body as a text for people: JSON is indented, each line of a body of lines has a mark in front. No byte is lost:
`bytes_of` takes the text back to the body.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from sfwebhooks.jsontext import written

#: in front of each line of a body of lines
LINE = "--- line\n"
#: likewise, where lines end with CRLF
CRLF_LINE = "--- line, CRLF\n"
#: characters of a line
WIDTH = 118


def shown(body: str) -> str:
    """Return the text of a body; it ends without a line break."""
    if body.endswith("\r\n"):
        return "\n".join(f"{CRLF_LINE}{_part(line)}" for line in body[:-2].split("\r\n"))
    if not body.endswith("\n"):
        return _part(body)
    return "\n".join(f"{LINE}{_part(line)}" for line in body[:-1].split("\n"))


def _part(text: str) -> str:
    """Return JSON indented, anything else as it is."""
    try:
        return indented(json.loads(text))
    except ValueError:
        return text


def bytes_of(text: str) -> bytes:
    """Return the body that a text shows."""
    if text.startswith(CRLF_LINE):
        return "".join(_back(part.removesuffix("\n")) + "\r\n" for part in text.split(CRLF_LINE)[1:]).encode()
    if not text.startswith(LINE):
        return _back(text).encode()
    return "".join(_back(part.removesuffix("\n")) + "\n" for part in text.split(LINE)[1:]).encode()


def _back(part: str) -> str:
    try:
        return written(json.loads(part))
    except ValueError:
        return part


def indented(value: Any, depth: int = 0) -> str:
    """Return JSON in lines of at most WIDTH characters, unless a text is longer: what fits is in one line, each key of
    another object has one, and the items of a list, and counts, share lines."""
    plain = json.dumps(value, ensure_ascii=False)
    if not value or not isinstance(value, (dict, list)) or 2 * depth + len(plain) <= WIDTH:
        return plain
    margin = "  " * (depth + 1)
    if isinstance(value, dict):
        parts = [f"{json.dumps(key, ensure_ascii=False)}: {indented(one, depth + 1)}" for key, one in value.items()]
        share_lines = all(isinstance(one, int) for one in value.values())
    else:
        parts = [indented(one, depth + 1) for one in value]
        share_lines = not any(isinstance(one, (dict, list)) for one in value)
    if share_lines:
        parts = list(_filled(parts, WIDTH - len(margin)))
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    return "\n".join([opening, ",\n".join(margin + part for part in parts), "  " * depth + closing])


def _filled(parts: list[str], width: int) -> Iterator[str]:
    """Yield lines, each of as many parts as it has room for."""
    line = ""
    for part in parts:
        if line and len(line) + 2 + len(part) > width:
            yield line
            line = ""
        line += f", {part}" if line else part
    yield line
