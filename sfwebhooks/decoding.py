"""Decodings of a text: a text comes in, Views with its encodings undone go out, for `own_secrets` and `redaction`.

A receiver may repeat what it was sent percent-encoded, escaped for JSON or HTML, in capitals, or in base64; and a
finding may be in a URL or a page in such a form.
"""

from __future__ import annotations

import base64
import html
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Callable

from sfwebhooks.events import UNSEEN

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
#: what a reader passes over or takes for another character: tags, backslashes, and all but printable ASCII
ODD = re.compile(r"</?[A-Za-z]{1,10}>|\\|[^\n\t -~]")
#: takes the place of characters that are not seen; and what is passed over
UNSEEN_ONE = "\0"
PASSED_OVER = re.compile(r"(?:</?[A-Za-z]{1,10}>|[\\\0])+")
#: what a text may have that makes a reader see more in it than its characters
CODED = re.compile(f"{ODD.pattern}|%[0-9A-Fa-f]{{2}}|%u|&[#A-Za-z]|{BASE64.pattern}", re.ASCII)
#: characters of a text that are decoded together, and of the next ones that are decoded with them
WINDOW = 65536
OVERLAP = 8192
#: categories of characters that are not seen
HIDDEN = ("Cc", "Cf", "Cs", "Co", "Cn")


@dataclass(frozen=True)
class View:
    """A decoded text, with the place of each character in the original."""

    text: str
    #: for each character the start of its source in the original text
    begins: Sequence[int]
    #: and the position after its source
    ends: Sequence[int]


class Quarters(Sequence[int]):
    """Where the characters of base64 begin or end that have some bytes.

    Args:
        begin: of the base64.
        length: number of the bytes.
        behind: 1 for the ends.
    """

    def __init__(self, begin: int, length: int, behind: int = 0) -> None:
        self._begin, self._length, self._behind = begin, length, behind

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return [self[one] for one in range(*at.indices(self._length))]
        return self._begin + (-(-(at + 1) * 4 // 3) if self._behind else at * 4 // 3)


def views(text: str) -> Iterator[View]:
    """Yield all views of a text, normalised so that different spellings are equal."""
    for view in (View(text, range(len(text)), range(1, len(text) + 1)), *_unpacked(text)):
        for stage in _stages(view):
            yield comparable(stage)


def readings(text: str) -> Iterator[View]:
    """Yield a text as people can read it, unless that is the text as it is: with its escapes undone, without what is
    not seen, and with the plain one of characters that look alike."""
    for start, piece in _windows(text):
        for stage in _stages(View(piece, range(start, start + len(piece)), range(start + 1, start + len(piece) + 1))):
            view = _legible(stage)
            if view.text != piece:
                yield view


def contents(text: str) -> Iterator[View]:
    """Yield the contents of each base64 in a text. Its start is not known: another word may precede it."""
    for run in BASE64.finditer(text):
        is_mixed = run[0].lower() != run[0] != run[0].upper()  # unlike a word or a hash
        for skipped in range(4 if is_mixed else 0):
            data, begin = from_base64(run[0][skipped:]), run.start() + skipped
            yield View(data.decode("latin-1"), Quarters(begin, len(data)), Quarters(begin, len(data), 1))


def legible(text: str) -> str:
    """Return a text without what is not seen in it, and with the plain one of characters that look alike."""
    return PASSED_OVER.sub("", text.translate(SEEN)) if ODD.search(text) else text


def solid_forms(text: str) -> set[str]:
    """Return non-empty texts, one of which is in a reading of any text that contains the given one, if that is
    squeezed."""
    return {squeezed(one) for form in (text, _mangled(text)) for one in (form, legible(form))} - {""}


def squeezed(text: str) -> str:
    """Return a text in small letters without spaces."""
    return "".join(map(_small, SOLID.findall(text)))


def folded(text: str) -> str:
    """Return a text in lower case, with each character at its place."""
    small = text.lower()
    return small if len(small) == len(text) else "".join(one.lower() if len(one.lower()) == 1 else one for one in text)


def forms(text: str) -> set[str]:
    """Return non-empty texts, one of which is in a view of any text that contains the given one."""
    plain = (View(one, range(len(one)), range(1, len(one) + 1)) for one in {text, _mangled(text)})
    return {comparable(stage).text for view in plain for stage in _stages(view)} - {""}


def _mangled(text: str) -> str:
    """Return a text's UTF-8 read as Latin-1."""
    return text.encode("utf-8", "surrogatepass").decode("latin-1")


def from_base64(text: str) -> bytes:
    """Decode base64 in either alphabet; for invalid or cut text the result is arbitrary."""
    whole = text[: -1 if len(text) % 4 == 1 else None].translate(str.maketrans("-_", "+/"))
    return base64.b64decode(whole + "==")


def _windows(text: str) -> Iterator[tuple[int, str]]:
    """Yield pieces of a text that has something to decode, each with its place, and with the beginning of the next."""
    if CODED.search(text):
        for start in range(0, len(text), WINDOW):
            yield start, text[start : start + WINDOW + OVERLAP]


def _legible(view: View) -> View:
    if not ODD.search(view.text):
        return view
    return _with(replace(view, text=view.text.translate(SEEN)), PASSED_OVER, lambda found: "")


class _Seen(dict[int, str]):
    """Code point -> the character that a reader sees, filled at the first look."""

    def __missing__(self, code: int) -> str:
        found = self[code] = _seen(chr(code))
        return found


SEEN = _Seen()


def _seen(text: str) -> str:
    """Return the character of ASCII that a character looks like, if there is one."""
    if text.isspace():
        return text if text in "\n\t" else "\n" if text in "\v\f\r\x85\u2028\u2029" else " "
    if text.isascii() and text.isprintable():
        return text
    kind = unicodedata.category(text)
    if kind in HIDDEN or UNSEEN.match(text):
        return UNSEEN_ONE
    if kind in ("Nd", "Pd"):
        return "-" if kind == "Pd" else str(unicodedata.decimal(text))
    plain = unicodedata.normalize("NFKC", text)
    return plain if len(plain) == 1 else text


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
    return _with(view, ESCAPE, _meant)


def _with(view: View, sought: re.Pattern[str], by: Callable[[re.Match[str]], str]) -> View:
    """Return a view in which each match is replaced.

    Args:
        by: returns what replaces it.
    """
    text, last = view.text, 0
    parts: list[str] = []
    begins: list[int] = []
    ends: list[int] = []
    for found in sought.finditer(text):
        start, end = found.span()
        meant = by(found)
        parts += (text[last:start], meant)
        begins += (*view.begins[last:start], *(view.begins[start] for _ in meant))
        ends += (*view.ends[last:start], *(view.ends[end - 1] for _ in meant))
        last = end
    if not last:
        return view
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


def comparable(view: View) -> View:
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
