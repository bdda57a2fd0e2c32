"""Quotations: a text, and data of findings that it may quote in some writing, come in; the text as it is shown goes
out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache

from sfwebhooks.decoding import View, comparable, contents, folded, legible, readings, solid_forms, squeezed
from sfwebhooks.searching import PART, beginnings
from sfwebhooks.sensitive import MASK, WITHHELD

#: a character of a word
LETTER = re.compile(r"\w")
#: least characters of a quotation: any text may contain shorter data
QUOTED_LEAST = 4
#: and of one that is recognised within a word
QUOTED_LONG = 8
#: most values that are searched in the texts of an event; with more, nothing of its texts is shown
QUOTED_MAX = 256


def requoted(text: str, quoted: Mapping[str, str], is_term: bool = False, but: str = "") -> str:
    """Return a text with what it quotes as it would be shown alone.

    A quotation at the end may be cut, as in a correlation's title. Replacements are not searched again.

    Args:
        quoted: data -> what is shown of them.
        is_term: whether the text is a name, a time or a number, which can be equal to short data by chance.
        but: data whose quotations stay.
    """
    if not quoted:
        return text
    if len(quoted) > QUOTED_MAX:
        return text if is_term else WITHHELD
    spans: list[tuple[int, int, str, bool]] = []
    small = folded(text)
    views = [] if is_term else [*readings(text)]
    pairs = [(view, folded(view.text)) for view in views]
    whole = View(text, range(len(text)), range(1, len(text) + 1))
    solid = [] if is_term else [(view, squeezed(view.text)) for view in (whole, *views, *contents(text))]
    made: dict[str, View] = {}
    for data in quoted.keys() - {but}:
        spans += ((at, -end, data, end - at == len(data)) for at, end in _places(folded(data), small, is_term))
        for form in _forms(data) if solid else ():
            for view, its in solid:
                if form[:PART] in its:
                    made[its] = made.get(its) or comparable(view)
                    spans += _spans(data, form, made[its], its, text)
        for view, its in pairs if len(data) < QUOTED_LONG else ():
            spans += _spans(data, folded(legible(data)), view, its, text)
    parts: list[str] = []
    last = 0
    # of those that begin at a place the longest first
    for at, behind, data, is_whole in sorted(spans, key=lambda span: (*span[:2], not span[3], span[2])):
        end, shown = -behind, quoted[data]
        if at >= last:
            parts += (text[last:at], shown if is_whole or shown == WITHHELD else MASK)
        elif end > last:  # it overlaps the one before
            parts.append(MASK)
        last = max(last, end)
    return "".join((*parts, text[last:]))


@lru_cache(maxsize=256)
def _forms(data: str) -> tuple[str, ...]:
    """Return what to search for in a text without spaces."""
    return tuple(form for form in solid_forms(data) if len(form) >= QUOTED_LEAST)


def _spans(data: str, form: str, view: View, text: str, whole: str) -> Iterator[tuple[int, int, str, bool]]:
    """Yield where a form of data is quoted in the text of a view: the place in the whole one, its end negated, and
    whether the data are whole there."""
    for begin, end, is_word in _found(form, text):
        at, behind = view.begins[begin], view.ends[end - 1]
        if len(form) >= QUOTED_LONG or is_word or _is_word(whole, at, behind):
            yield at, -behind, data, end - begin == len(form)


def _places(data: str, text: str, is_term: bool) -> Iterator[tuple[int, int]]:
    """Yield where data are in a text, whole, or cut where it ends; short data only as a word, and a term has none."""
    is_short = len(data) < QUOTED_LONG
    if is_short and is_term:
        return
    for begin, end, is_word in _found(data, text):
        if is_word or not (is_short or is_term):
            yield begin, end


def _found(data: str, text: str) -> Iterator[tuple[int, int, bool]]:
    """Yield where data are in a text, whole, or cut where it ends, and whether they are a word there."""
    last = 0
    for at, length in beginnings(data, text):
        end = at + length
        if at >= last and (length == len(data) or end == len(text)):
            last = end
            yield at, end, _is_word(text, at, end)


def _is_word(text: str, begin: int, end: int) -> bool:
    return not LETTER.match(text[max(begin - 1, 0) : begin] or " ") and not LETTER.match(text, end)
