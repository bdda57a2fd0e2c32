"""Decodings of a text: a text comes in, Views with its encodings undone go out, for `masking`.

A receiver may repeat what it was sent percent-encoded, escaped for JSON or HTML, in capitals, or in base64.
"""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

#: number of nested encodings that are undone
DEPTH = 3
#: an escape sequence for other characters
ESCAPE = re.compile(
    r"%(?P<percent>[0-9A-Fa-f]{2})|\\x(?P<byte>[0-9A-Fa-f]{2})"
    r"|\\u(?P<high>[dD][89abAB][0-9A-Fa-f]{2})\\{1,4}u(?P<low>[dD][c-fC-F][0-9A-Fa-f]{2})"
    r"|[\\%]u(?P<unit>[0-9A-Fa-f]{4})|\\U(?P<point>[0-9A-Fa-f]{8})"
    r"|&(?:#[0-9]{1,10}|#[xX][0-9A-Fa-f]{1,10}|[A-Za-z][A-Za-z0-9]{1,31});"
)
#: possible base64, in either alphabet, long enough for a credential
BASE64 = re.compile(r"[\w+/-]{16,}", re.ASCII)
#: anything but characters that can be added or lost anywhere: spaces (+ in a form), and backslashes
SOLID = re.compile(r"[^\s+\\]+")
#: separates texts that are not adjacent; no sought text has one
BETWEEN = "\ud800"


@dataclass(frozen=True)
class View:
    """A decoded text, with the place of each character in the original."""

    text: str
    #: for each character the start of its source in the original text
    begins: Sequence[int]
    #: and the position after its source
    ends: Sequence[int]


def views(text: str) -> Iterator[View]:
    """Yield all views of a text, normalised so that different spellings are equal."""
    for view in (View(text, range(len(text)), range(1, len(text) + 1)), *_unpacked(text)):
        for stage in _stages(view):
            yield _comparable(stage)


def forms(text: str) -> set[str]:
    """Return non-empty texts, one of which is in a view of any text that contains the given one."""
    mangled = text.encode("utf-8", "surrogatepass").decode("latin-1")  # UTF-8 read as Latin-1
    plain = (View(one, range(len(one)), range(1, len(one) + 1)) for one in {text, mangled})
    return {_comparable(stage).text for view in plain for stage in _stages(view)} - {""}


def from_base64(text: str) -> bytes:
    """Decode base64 in either alphabet; for invalid or cut text the result is arbitrary."""
    whole = text[: -1 if len(text) % 4 == 1 else None].translate(str.maketrans("-_", "+/"))
    return base64.b64decode(whole + "==")


def _unpacked(text: str) -> Iterator[View]:
    """Yield the content of base64 in a text. Its start is not known: another word may precede it."""
    runs = list(BASE64.finditer(text))
    for skipped in range(4 if runs else 0):
        parts: list[str] = []
        begins: list[int] = []
        ends: list[int] = []
        for run in runs:
            data, begin = from_base64(run[0][skipped:]), run.start() + skipped
            parts.append(data.decode("latin-1") + BETWEEN)
            begins += [*(begin + at * 4 // 3 for at in range(len(data))), run.end()]
            ends += [*(begin - (-(at + 1) * 4 // 3) for at in range(len(data))), run.end()]
        yield View("".join(parts), begins, ends)


def _stages(view: View) -> Iterator[View]:
    """Yield a view, then the view with its escapes undone, and so on."""
    yield view
    for _ in range(DEPTH):
        if not ESCAPE.search(view.text):
            return
        view = _read(view)
        yield view


def _read(view: View) -> View:
    """Return a view with its escapes undone."""
    text, last = view.text, 0
    parts: list[str] = []
    begins: list[int] = []
    ends: list[int] = []
    for found in ESCAPE.finditer(text):
        start, end = found.span()
        meant = _meant(found)
        parts += (text[last:start], meant)
        begins += (*view.begins[last:start], *(view.begins[start] for _ in meant))
        ends += (*view.ends[last:start], *(view.ends[end - 1] for _ in meant))
        last = end
    return View("".join((*parts, text[last:])), [*begins, *view.begins[last:]], [*ends, *view.ends[last:]])


def _meant(found: re.Match[str]) -> str:
    """Return the characters of an escape; a byte becomes a Latin-1 character, and `forms` covers those of UTF-8."""
    if found["high"]:
        pair = bytes.fromhex(found["high"] + found["low"])
        return pair.decode("utf-16-be")
    digits = found["percent"] or found["byte"] or found["unit"] or found["point"]
    if not digits:
        return html.unescape(found[0])
    return chr(int(digits, 16)) if int(digits, 16) <= 0x10FFFF else found[0]


def _comparable(view: View) -> View:
    """Return a view in lower case, without characters that can be added or lost."""
    parts: list[str] = []
    begins: list[int] = []
    ends: list[int] = []
    for run in SOLID.finditer(view.text):
        start, end = run.span()
        small = _small(run[0])
        parts.append(small)
        if len(small) == end - start:
            begins += view.begins[start:end]
            ends += view.ends[start:end]
        else:  # some become two: ß is SS in capitals
            places = [at for at in range(start, end) for _ in _small(view.text[at])]
            begins += map(view.begins.__getitem__, places)
            ends += map(view.ends.__getitem__, places)
    return View("".join(parts), begins, ends)


def _small(text: str) -> str:
    """Return a text in lower case, the same for all ways to capitalise it; never shorter."""
    return text.lower() if text.isascii() else text.upper().casefold()
