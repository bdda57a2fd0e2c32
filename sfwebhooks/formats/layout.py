"""The layout of JSON formats: a request of several messages is one JSON array, or NDJSON, a line for each message."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sfwebhooks.endpoints import Endpoint
from sfwebhooks.formats.content import Content, array, lines, sized
from sfwebhooks.formats.format import Key

#: headers of lines of JSON
NDJSON = {"Content-Type": "application/x-ndjson"}
LAYOUT = Key(
    "layout",
    "array: several messages are a JSON array, a single one without batch_size is not; ndjson: each message is a line",
    r"array|ndjson",
    "array or ndjson",
)


def laid_out(message: dict[str, Any], endpoint: Endpoint, key: str = "data") -> Content:
    """Return a message in the endpoint's layout; the event's data are its value at `key`."""
    if endpoint.own and endpoint.key(LAYOUT.name) == "ndjson":
        return replace(sized(message, endpoint, key, after=b"\n"), headers=NDJSON)
    return sized(message, endpoint, key)


def joined(messages: Sequence[Content]) -> Content:
    """Return messages in the layout in which they are."""
    return lines(messages) if messages[0].headers is NDJSON else array(messages)
