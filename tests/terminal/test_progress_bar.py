"""The bar of long commands, on a terminal and elsewhere."""

from __future__ import annotations

import io

from rich.console import Console

from sfwebhooks.terminal.progress_bar import Bar


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


def test_elsewhere_it_is_a_line_for_each_tenth() -> None:
    assert shown(600, 599, 540, 539, 100, 0, terminal=False).splitlines() == [
        "60 of 600 settled",
        "500 of 600 settled",
        "600 of 600 settled",
    ]


def test_where_there_is_nothing_to_do_it_says_nothing() -> None:
    assert shown(0, 0, terminal=False) == ""
