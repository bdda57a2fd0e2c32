"""Search in linear time: a piece and a text come in, the places of the piece, or of its parts, go out.

A receiver chooses its text, and can make Python's own search (before 3.10) and regular expressions run for hours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache

#: least characters of a beginning or an end of a piece that is found
PART = 8


def beginnings(piece: str, text: str) -> Iterator[tuple[int, int]]:
    """Yield each place of a piece in a text, or of its beginning of at least PART characters, and the matched length.

    This is the search with Z values (Gusfield 1997, section 1.3), limited to places of the first characters.
    """
    piece = piece[: len(text) + 1]  # more cannot match
    first, repeats, begin, end = piece[:PART], [0], 0, 0
    at = text.find(first) if first else -1
    while at >= 0:
        known = min(repeats[at - begin], end - at) if at < end else 0
        if at + known >= end:
            begin, end = at, _end(piece, text, at, max(known, len(first)))
            known = end - at
            if text.find(first, at + 1, end + len(first)) >= 0:
                repeats = _repeats(piece)
        yield at, known
        at = text.find(first, at + 1)


def ends(piece: str, text: str) -> Iterator[tuple[int, int]]:
    """Yield the same for the ends of a piece."""
    for at, length in beginnings(piece[::-1], text[::-1]):
        yield len(text) - at - length, length


def merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return spans (begin, end) in order, with overlapping and adjacent ones merged."""
    found: list[tuple[int, int]] = []
    for begin, end in sorted(spans):
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((begin, end))
    return found


def _end(piece: str, text: str, at: int, known: int) -> int:
    """Return the end of the match of a piece at a place, of which `known` characters are known to match."""
    length, most = known, min(len(piece), len(text) - at)
    while length < most and text[at + length] == piece[length]:
        length += 1
    return at + length


@lru_cache(maxsize=64)
def _repeats(piece: str) -> list[int]:
    """Return for each place of a piece the length of its common prefix with the whole piece (Z values)."""
    found, begin, end = [len(piece)], 0, 0
    for at in range(1, len(piece)):
        known = min(found[at - begin], end - at) if at < end else 0
        if at + known >= end:
            begin, end = at, _end(piece, piece, at, known)
            known = end - at
        found.append(known)
    return found
