"""How tables look: no word is broken while there is room, and on a terminal of 80 columns there is."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from rich.console import Console

from sfwebhooks.catalogue import EVENT_TYPES
from sfwebhooks.cli import main
from sfwebhooks.cli.terminal import longest_word, plain, stacked, table, widths
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.retry import State
from tests.builders import an_event
from tests.filled import put_event, send


@pytest.mark.parametrize(
    ("least", "most", "room", "given"),
    [
        ([3, 4], [10, 20], 40, [10, 20]),
        ([3, 4], [13, 14], 17, [8, 9]),
        ([3, 4], [6, 40], 17, [6, 11]),
        ([3, 4], [3, 20], 10, [3, 7]),
        ([3, 30, 9], [3, 40, 9], 20, [3, 8, 9]),
        ([3, 3], [3, 3], 1, [1, 1]),
        ([], [], 80, []),
    ],
)
def test_the_room_is_shared_by_what_columns_need(
    least: Sequence[int], most: Sequence[int], room: int, given: Sequence[int]
) -> None:
    assert widths(least, most, room) == given


@pytest.mark.parametrize(("text", "width"), [("", 0), ("a bcd", 3), ("name\n  alias", 7), ("x\n\n yy zzzz", 4)])
def test_an_indent_belongs_to_its_word(text: str, width: int) -> None:
    assert longest_word(text) == width


@pytest.mark.parametrize("width", [24, 40, 80])
def test_no_word_is_broken_as_long_as_there_is_room(width: int) -> None:
    out = Console(file=io.StringIO(), width=width)
    rows = table("name / alias", "words", "last")
    rows.add_row(stacked(plain("name"), plain("alias")), plain("several words of which none is long " * 3), "end")
    out.print(rows)
    assert isinstance(out.file, io.StringIO)
    lines = out.file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert "".join(lines).split().count("several") == 3
    assert any(line.startswith("  alias ") for line in lines)


@pytest.fixture
def narrow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., list[str]]:
    """Run a command on a terminal of 80 columns without colours; returns the lines: `narrow("check")`."""

    def run(*arguments: str) -> list[str]:
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        monkeypatch.setenv("TERM", "dumb")
        monkeypatch.setenv("SPIDERFOOT_DATA", str(tmp_path))
        main(arguments)
        return capsys.readouterr().out.splitlines()

    return run


def words(lines: Sequence[str]) -> set[str]:
    return {word.rstrip(",") for line in lines for word in line.split()}


def test_check_breaks_no_name_on_a_narrow_terminal(narrow: Callable[..., list[str]], tmp_path: Path) -> None:
    url, events = "https://hooks.acme.example", ["scan_*", "high_risk_event", "correlation_completed"]
    (tmp_path / "webhooks.ini").write_text(
        f"[webhooks.soc_oncall_europe]\nurl = {url}/a\nevents = {', '.join(events)}\n"
    )
    lines = narrow("check")
    assert {"soc_oncall_europe", url, *events} <= words(lines)
    assert max(len(line) for line in lines if "sfp__stor_webhooks" not in line) <= 80  # a path is never broken


@pytest.mark.parametrize("command", [["deliveries"], ["dead", "list"]])
def test_deliveries_have_no_broken_name_on_a_narrow_terminal(
    narrow: Callable[..., list[str]], outbox: Outbox, command: Sequence[str]
) -> None:
    put_event(outbox, an_event(1), "soc_oncall_europe", "hephaestus.phase_completed")
    send(outbox, State.DEAD, "retries_exhausted: http_503", "busy", endpoint="soc_oncall_europe")
    lines = narrow(*command)
    assert {"soc_oncall_europe", "hephaestus.phase_completed", "retries_exhausted:", "http_503"} <= words(lines)
    assert max(map(len, lines)) <= 80
    assert ("endpoint / event" in lines[0], "reason" in lines[0]) == (True, True), "the headings are one line"


def test_events_have_no_broken_name_on_a_narrow_terminal(narrow: Callable[..., list[str]]) -> None:
    lines = narrow("events")
    assert {word for entry in EVENT_TYPES for word in (entry.name, entry.alias)} <= words(lines)
    assert max(map(len, lines)) <= 80
