"""Regular expressions of an operator: whatever they are and whatever the text, an answer comes in bounded time."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfwebhooks.expressions import EXPRESSION_MAX, MISSING, expression_problem, finder, replaced

#: seconds, for all searches together; Python's own `re` needs longer than a life for one of them
BOUND = 60.0
HOSTILE = (
    "(a+)+$",
    "(a|a)*b",
    "(.*)*x",
    "(x+x+)+y",
    "^(([a-z])+.)+[A-Z]([a-z])+$",
    "(a?){100}a{100}b",
    r"(\w+\s?)*\.",
    "(.|\n)*?(.|\n)*?(.|\n)*?Z",
    "a.*a.*a.*a.*a.*a.*a.*a.*b",
)
PROGRAM = """
import sys
from sfwebhooks.expressions import finder
texts = ["a" * 1_000_000 + "!", "x" * 1_000_000, "ab " * 333_333, "\\u00e4\\U0001f600\\n" * 100_000]
for hostile in sys.argv[1:]:
    for text in texts:
        finder((hostile,))(text)
print("done")
"""


def test_a_hostile_expression_and_a_megabyte_of_data_end_in_bounded_time() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, *HOSTILE], capture_output=True, text=True, timeout=BOUND)
    assert (done.stdout, done.stderr) == ("done\n", "")


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_expression_is_as_good_as_any_other(text: str) -> None:
    assert expression_problem(text) == ""


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("foo(?=bar)", "invalid perl operator: (?=, character 4; expected a regular expression of RE2"),
        ("(?<!x)y", "invalid perl operator: (?<!, character 1; "),
        (r"(x)\1", r"invalid escape sequence: \1, character 4; "),
        ("a[z-a]", "invalid character class range: z-a, character 3; "),
        ("a**", "bad repetition operator: **, character 2; "),
        ("a{1001}", "invalid repetition size: {1001}, character 2; "),
        ("(a", "missing ): (a, character 1; "),
        ("https://ada:hunter2-very-secret@acme.example/(", "missing ), character 1; expected"),
        ("a\\", "trailing \\; "),
        ("x" * (EXPRESSION_MAX + 1), "it has 2,001 characters; expected at most 2,000"),
        (r"((\pL{1000}){1000})", "invalid repetition size"),
    ],
)
def test_what_the_engine_refuses_is_said_with_its_place(text: str, problem: str) -> None:
    assert expression_problem(text).startswith(problem)


def test_a_refused_expression_is_not_written_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    expression_problem("(")
    assert capfd.readouterr() == ("", "")


def test_without_the_package_the_command_that_installs_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "re2", None)
    assert expression_problem("a") == MISSING


@pytest.mark.parametrize(
    ("texts", "data", "found"),
    [
        (("acme",), "mail.acme.example", True),
        (("^acme",), "mail.acme.example", False),
        (("(?i)ACME",), "mail.acme.example", True),
        (("ACME",), "mail.acme.example", False),
        (("nothing", "mail"), "mail.acme.example", True),
        (("a$",), "a\nb", False),
        (("(?m)a$",), "a\nb", True),
        (("a.b",), "a\nb", False),
        (("é",), "caf\u00e9", True),
        ((r"\bx\b",), "a\0x\0b", True),
        (("x",), "", False),
        (("x",), "\ud800x", True),
        (("\\?x",), "\ud800x", True),
    ],
)
def test_an_expression_is_searched_anywhere(texts: tuple[str, ...], data: str, found: bool) -> None:
    assert finder(texts)(data) is found


@given(st.text(max_size=40), st.text())
def test_every_text_is_either_refused_or_searched_for(expression: str, data: str) -> None:
    if not expression_problem(expression):
        assert finder((expression,))(data) in (True, False)


def test_what_no_expression_matches_stays_as_it_is() -> None:
    assert replaced("x", "\ud83d\ude00 \ud800 \0", str.upper) == "\ud83d\ude00 \ud800 \0"
