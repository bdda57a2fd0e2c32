from __future__ import annotations

import html
import re

import pytest

from sfwebhooks.formats.cutting import first_within, fit, smallest, utf16_length, within
from tests.rows import in_one


def entities(text: str) -> str:
    return html.escape(text, quote=False)


@in_one("limit", range(1, 24))
@pytest.mark.parametrize("text", ["a&b<c>d", "&&&&&", "&amp;", "🎉&🎉", "abc", ""])
def test_what_is_cut_fits_after_escaping_and_ends_in_no_half_entity(text: str, limit: int) -> None:
    cut = fit(text, limit, entities)
    assert utf16_length(cut) <= limit
    if utf16_length(entities(text)) <= limit:
        assert cut == entities(text)
    else:
        assert cut.endswith("…")
        assert not re.search("&(?!amp;|lt;|gt;)", cut)


@in_one("limit", range(1, 40))
def test_as_much_is_kept_as_fits(limit: int) -> None:
    text = "a&🎉b<" * 8
    cut = fit(text, limit, entities)
    longer = entities(text[: len(html.unescape(cut[:-1])) + 1]) + "…"
    assert utf16_length(longer) > limit


def test_an_emoji_counts_as_two_in_case_a_chat_counts_so() -> None:
    assert fit("🎉" * 5, 10) == "🎉" * 5
    assert fit("🎉" * 6, 11) == "🎉" * 5 + "…"


@pytest.mark.parametrize(("limit", "way"), [(9, "long"), (4, "long"), (3, "mid"), (2, "s"), (0, "s")])
def test_the_first_way_that_fits_is_taken_else_the_last(limit: int, way: str) -> None:
    assert first_within(limit, len, iter(("long", "mid", "s"))) == way


@in_one("limit", range(3, 14))
@pytest.mark.parametrize("text", ["abc", "äöü", "漢字", "🎉🎉🎉", "a\ud800b", "", "a" * 14])
def test_a_text_is_cut_between_characters(text: str, limit: int) -> None:
    cut = within(text, limit)
    assert len(cut.encode()) <= limit
    whole = text.encode("utf-8", "replace").decode().replace("?", "\ufffd")
    assert cut == whole or (cut.endswith("…") and whole.startswith(cut[:-1]))


def test_the_longest_text_that_fits_is_taken() -> None:
    assert smallest(lambda cap: "x" * cap, (10, 5, 2), 12) == b'"xxxxxxxxxx"'
    assert smallest(lambda cap: "x" * cap, (10, 5, 2), 11) == b'"xxxxx"'
    assert smallest(lambda cap: "x" * cap, (10, 5, 2), 1) == b'"xx"', "the last one whatever it is"
