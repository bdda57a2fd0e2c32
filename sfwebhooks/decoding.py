"""How a text may be read by whoever undoes what a receiver did to it: a text comes in, Views go out, for `masking`.

A receiver repeats what it was sent in its own way: percent-encoded, escaped for JSON or HTML, in capitals, in base64.
"""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

#: how often something is decoded that was encoded several times
DEPTH = 3
#: what stands for other characters
ESCAPE = re.compile(
    r"%(?P<percent>[0-9A-Fa-f]{2})|\\x(?P<byte>[0-9A-Fa-f]{2})"
    r"|\\u(?P<high>[dD][89abAB][0-9A-Fa-f]{2})\\{1,4}u(?P<low>[dD][c-fC-F][0-9A-Fa-f]{2})"
    r"|[\\%]u(?P<unit>[0-9A-Fa-f]{4})|\\U(?P<point>[0-9A-Fa-f]{8})"
    r"|&(?:#[0-9]{1,10}|#[xX][0-9A-Fa-f]{1,10}|[A-Za-z][A-Za-z0-9]{1,31});"
)
#: what may be base64, in either alphabet, and long enough to hold a credential
BASE64 = re.compile(r"[\w+/-]{16,}", re.ASCII)
#: what may stand between any two characters, or be missing: spaces (a form has + for them), and what escapes the next
SOLID = re.compile(r"[^\s+\\]+")
#: stands between texts that are not each other's neighbours; no text that is looked for has one
BETWEEN = "\ud800"


@dataclass(frozen=True)
class View:
    """A text that is another one, read in some way."""

    text: str
    #: for each of its characters the place in the other text where that which it stands for begins
    begins: Sequence[int]
    #: and the one behind its end
    ends: Sequence[int]


def views(text: str) -> Iterator[View]:
    """Yield all views of a text, comparable by their characters: whatever is written in several ways is the same."""
    for view in (View(text, range(len(text)), range(1, len(text) + 1)), *_unpacked(text)):
        for stage in _stages(view):
            yield _comparable(stage)


def forms(text: str) -> set[str]:
    """Return the texts of which one stands in a view of whatever has the given text in it; none of them is empty."""
    mangled = text.encode("utf-8", "surrogatepass").decode("latin-1")  # bytes of UTF-8 that were taken for characters
    plain = (View(one, range(len(one)), range(1, len(one) + 1)) for one in {text, mangled})
    return {_comparable(stage).text for view in plain for stage in _stages(view)} - {""}


def from_base64(text: str) -> bytes:
    """Return what stands in base64, in either alphabet; of what is none, or was cut, something."""
    whole = text[: -1 if len(text) % 4 == 1 else None].translate(str.maketrans("-_", "+/"))
    return base64.b64decode(whole + "==")


def _unpacked(text: str) -> Iterator[View]:
    """Yield what stands in the base64 of a text. Where that begins is not known: another word may stand before it."""
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
    """Yield a view, then what it is once its escapes are read, and theirs."""
    yield view
    for _ in range(DEPTH):
        if not ESCAPE.search(view.text):
            return
        view = _read(view)
        yield view


def _read(view: View) -> View:
    """Return a view with its escapes read."""
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
    """Return what an escape stands for; a byte is a character of Latin-1, of which `forms` has those of UTF-8."""
    if found["high"]:
        pair = bytes.fromhex(found["high"] + found["low"])
        return pair.decode("utf-16-be")
    digits = found["percent"] or found["byte"] or found["unit"] or found["point"]
    if not digits:
        return html.unescape(found[0])
    return chr(int(digits, 16)) if int(digits, 16) <= 0x10FFFF else found[0]


def _comparable(view: View) -> View:
    """Return a view in small letters, without what can be missing or be there more than once."""
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
    """Return a text in small letters, the same for all ways of writing it in capitals; never shorter."""
    return text.lower() if text.isascii() else text.upper().casefold()
