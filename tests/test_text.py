from __future__ import annotations

import pytest

from sfwebhooks.text import age, amount, brief_duration, counted, duration, in_line, moment, people, readable


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (0.4, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (3601, "1 h"),
        (3723, "1 h 2 min"),
        (86400 + 7200 + 60, "1 d 2 h"),
    ],
)
def test_a_duration_has_its_two_largest_units(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(("seconds", "words"), [(7259.0, "2 h"), (59.4, "59 s"), (-5.0, "0 s"), (86400.0, "1 d")])
def test_an_age_has_its_largest_unit(seconds: float, words: str) -> None:
    assert age(seconds) == words


def test_a_time_that_no_calendar_has_is_a_number() -> None:
    assert moment(1e17) == "100000000000000000 s after 1970"


@pytest.mark.parametrize("value", [None, "60", -1, float("nan"), float("inf"), 1e300, [], {}])
def test_a_value_that_is_not_a_duration_gives_nothing(value: object) -> None:
    assert duration(value) == ""


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("high_risk_event", "High risk event"),
        ("remediation.started", "Remediation started"),
        ("cti_report_generated", "CTI report generated"),
        ("rule_id", "Rule ID"),
        ("", ""),
    ],
)
def test_names_become_words(name: str, words: str) -> None:
    assert people(name) == words


def test_zeros_are_omitted_from_numbers_of_things() -> None:
    assert counted({"critical": 1, "high": 0, "info": 1020, "odd": "x"}) == "1 critical, 1,020 info"
    assert counted(["no mapping"]) == ""


def test_a_text_in_a_line_is_cut_beyond_its_limit() -> None:
    assert in_line("a" * 9 + "\n", 9) == "a" * 9
    assert in_line("a" * 10, 9) == "a" * 8 + "…"
    assert in_line(" a\n\n b\t c ", 9) == "a b c"
    assert in_line("a" + " " * 100 + "b", 9).endswith("…")


def test_what_nobody_can_see_and_what_reverses_the_reading_order_is_replaced() -> None:
    assert readable("\x0b\x0c\x08") == "\ufffd\ufffd\ufffd"
    assert readable("a\x00b\x1b[31m\u202egpj.exe\u2066\x85") == "a\ufffdb\ufffd[31m\ufffdgpj.exe\ufffd\ufffd"


def test_lines_tabs_and_every_script_stay() -> None:
    assert readable("a\tb\nc\r\nd\re شركة नमस्ते ❤\ufe0f 🎉") == "a\tb\nc\nd\ne شركة नमस्ते ❤\ufe0f 🎉"
    assert readable("no\u00a0break\u3000here") == "no break here"


def test_lone_surrogates_are_replaced() -> None:
    assert readable("a\ud800b") == "a\ufffdb"


def test_the_hosts_marks_around_addresses_are_taken_off() -> None:
    assert readable("see\n<SFURL>https://acme.example</SFURL>") == "see\nhttps://acme.example"


def test_data_is_made_readable_in_its_depth() -> None:
    assert readable({"a\x00": ["b\x00", ("c\x00", 3)], "d": None}) == {
        "a\ufffd": ["b\ufffd", ["c\ufffd", 3]],
        "d": None,
    }


@pytest.mark.parametrize(
    ("number", "words"), [(0, "0 deliveries"), (1, "1 delivery"), (2, "2 deliveries"), (1200, "1,200 deliveries")]
)
def test_an_amount_has_the_number_of_its_noun(number: int, words: str) -> None:
    assert amount(number, "delivery", "deliveries") == words


def test_a_plural_adds_an_s_unless_it_is_given() -> None:
    assert [amount(number, "scan") for number in (1, 3)] == ["1 scan", "3 scans"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (0.0, "0 ms"), (0.0413, "41 ms"), (0.0994, "99 ms"), (0.0995, "0.1 s"), (0.412, "0.41 s"),
     (4.06, "4.1 s"), (9.94, "9.9 s"), (9.96, "10 s"), (119.4, "119 s"), (120.0, "2 min"), (3000.0, "50 min"),
     (5969.0, "99 min"), (5970.0, "2 h"), (172_800.0, "2 d"), (86400.0 * 999, "999 d"), (1e300, "")],
)  # fmt: skip
def test_a_brief_duration_has_few_characters(seconds: float | None, text: str) -> None:
    assert brief_duration(seconds) == text
