"""How tables look: on a terminal of 80 columns no name is broken."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from sfwebhooks.catalogue import EVENT_TYPES
from sfwebhooks.cli import main
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.retry import State
from tests.builders import an_event
from tests.filled import put_event, send

ONE_STORE = "it is about the look of tables"


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
