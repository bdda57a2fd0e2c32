"""The bar of long commands, on a terminal and elsewhere."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from sfwebhooks.terminal.progress_bar import Bar, bar_of_changes


def shown(total: int, *left: int, terminal: bool) -> str:
    out = Console(file=io.StringIO(), force_terminal=terminal, width=80)
    with Bar(out, total, "settled") as bar:
        for number in left:
            bar.show(number)
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue()


def test_on_a_terminal_it_is_a_bar() -> None:
    text = shown(600, 400, 0, terminal=True)
    assert ("settled" in text, "600/600" in text, "of 600" in text) == (True, True, False)


def test_elsewhere_it_is_silent() -> None:
    assert shown(600, 599, 540, 539, 100, 0, terminal=False) == ""


def test_a_quiet_command_has_none() -> None:
    out = Console(file=io.StringIO(), force_terminal=True, width=80, quiet=True)
    with Bar(out, 600, "settled") as bar:
        bar.show(0)
    assert (bar.is_shown, out.file.getvalue()) == (False, "")  # type: ignore[attr-defined]


@pytest.mark.parametrize(("steps", "number"), [([(100, 100)], 0), ([(100, 600), (600, 600)], 1)])
def test_changes_in_one_transaction_have_none(steps: list[tuple[int, int]], number: int) -> None:
    out = Console(file=io.StringIO(), force_terminal=True, width=80)
    with bar_of_changes(out) as show:
        for done, total in steps:
            show(done, total)
    assert isinstance(out.file, io.StringIO)
    assert ("600/600" in out.file.getvalue()) is bool(number)


def test_where_there_is_nothing_to_do_it_says_nothing() -> None:
    assert shown(0, 0, terminal=False) == ""
