"""The layout of JSON formats: a request of several messages is one JSON array, or NDJSON, a line for each message."""

from __future__ import annotations

from collections.abc import Sequence

from sfwebhooks.formats.content import LAYOUT_KEY, NDJSON, Content, array, lines
from sfwebhooks.formats.format import Key

LAYOUT = Key(
    LAYOUT_KEY,
    "array: several messages are a JSON array, a single one without batch_size is not; ndjson: each message is a line",
    r"array|ndjson",
    "array or ndjson",
)


def joined(messages: Sequence[Content]) -> Content:
    """Return messages in the layout in which they are."""
    return lines(messages) if messages[0].headers is NDJSON else array(messages)
