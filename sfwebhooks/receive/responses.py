"""Responses of a receiver, as its operator asks for them: a text comes in, one response after the other goes out.

A sender's retries can be tried with it: `500*3,200` fails three times, `429:30` asks for a pause.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain, repeat
from typing import NamedTuple

#: status, seconds of Retry-After, number of times
ITEM = re.compile(r"\s*([2-5]\d\d)(?::(\d{1,6}))?(?:\*([1-9]\d{0,5}))?\s*", re.ASCII)
ITEMS_MAX = 1000
EXPECTED = (
    "expected statuses from 200 to 599, separated by commas, such as 500*3,200 (three times 500, then always 200)"
    " or 429:30 (with Retry-After: 30)"
)


class Response(NamedTuple):
    """What a verified delivery is answered with."""

    status: int = 200
    #: seconds, or None for no Retry-After
    retry_after: int | None = None

    @property
    def headers(self) -> dict[str, str]:
        """The headers that it adds."""
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}


def responses(text: str) -> Iterator[Response]:
    """Read a list of responses, and return them in turn; the last one is given from then on."""
    items = [ITEM.fullmatch(part) for part in text.split(",", ITEMS_MAX)]
    found = [(_response(item), int(item[3] or 1)) for item in items if item]
    if len(found) < len(items):
        raise ValueError(EXPECTED)
    return chain(*(repeat(response, times) for response, times in found), repeat(found[-1][0]))


def _response(item: re.Match[str]) -> Response:
    return Response(int(item[1]), None if item[2] is None else int(item[2]))
