from __future__ import annotations

from typing import Any

import pytest

from sfwebhooks.formats.notice import Notice
from sfwebhooks.formats.plain import defused, in_lines

LINK = "https://sf.acme.example/scaninfo?id=1"


def a_notice(**values: Any) -> Notice:
    defaults: dict[str, Any] = {"headline": "High: It", "body": "found", "facts": (("Target", "acme.example"),)}
    return Notice(**{**defaults, "colour": "#E01E5A", "footer": ("Weekly", "#1"), **values})


def test_a_notice_is_lines_in_the_order_of_their_weight() -> None:
    assert in_lines(a_notice(trail=("URL x", "2 more"), link=LINK), 1000) == (
        f"High: It\nfound\nTarget: acme.example\nFound via URL x ← 2 more\nWeekly · #1\n{LINK}"
    )


def test_empty_parts_make_no_empty_lines() -> None:
    assert in_lines(a_notice(body="", facts=()), 1000, headline=False) == "Weekly · #1"


def test_a_value_of_several_lines_cannot_imitate_a_label() -> None:
    text = in_lines(a_notice(body="x\nTarget: other", facts=(("Finding", "y\nSeverity: low"),)), 1000)
    assert [line for line in text.split("\n") if not line.startswith(" ")] == [
        "High: It",
        "x",
        "Finding: y",
        "Weekly · #1",
    ]


@pytest.mark.parametrize("character", ["x", "ü", "漢", "🎉"])
def test_of_a_long_notice_the_body_is_cut_and_the_rest_stays(character: str) -> None:
    whole = in_lines(a_notice(body=character * 100, link=LINK), 10_000)
    size = len(whole.encode())
    assert in_lines(a_notice(body=character * 100, link=LINK), size) == whole
    cut = in_lines(a_notice(body=character * 100, link=LINK), size - 1)
    assert len(cut.encode()) < size
    assert cut.startswith(f"High: It\n{character}") and cut.endswith(f"…\nTarget: acme.example\nWeekly · #1\n{LINK}")


def test_long_facts_are_cut_so_that_the_body_keeps_half_and_the_end_stays() -> None:
    text = in_lines(a_notice(body="b" * 5000, facts=(("Fact", "f" * 5000),)), 1000)
    facts = f"\nFact: {'f' * 116}…\nWeekly · #1"
    body = 1000 - len(f"High: It\n…{facts}".encode())
    assert text == f"High: It\n{'b' * body}…{facts}" and len(text.encode()) == 1000


def test_of_many_long_facts_the_end_is_cut() -> None:
    text = in_lines(a_notice(body="b" * 5000, facts=tuple((f"F{number}", "f" * 5000) for number in range(9))), 1000)
    assert len(text.encode()) == 1000
    assert text.count("b") == 497 and text.endswith("f…")


@pytest.mark.parametrize(
    ("text", "harmless"),
    [
        ("<!channel> <@U012> <#C1>", "‹!channel> ‹＠U012> ‹#C1>"),
        ("@everyone (@here) @all", "＠everyone (＠here) ＠all"),
        ("<at user_id='all'>x</at>", "‹at user_id='all'>x‹/at>"),
        ("[bank](https://evil.example)", "[bank] (https://evil.example)"),
        ("<https://evil.example|bank>", "‹https://evil.example|bank>"),
        # what nobody takes for anything else stays exact
        ("jane.roe+x@acme.example", "jane.roe+x@acme.example"),
        ("a < b, 3 @ 4", "a < b, 3 @ 4"),
        ("https://acme.example/?a=b&c", "https://acme.example/?a=b&c"),
    ],
)
def test_mentions_and_links_are_made_harmless(text: str, harmless: str) -> None:
    assert defused(text) == harmless
