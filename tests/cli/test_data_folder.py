"""SpiderFoot's data folder: where it is looked for, and what is said if nobody knows."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from sfwebhooks.errors import ConfigError
from sfwebhooks.scan.own_host import data_folder
from tests.tiers import quick_first
from tests.users import command_as, needs_root

#: a user that no system knows
NAMELESS = 54321
HINT = f"uid {NAMELESS} has no home folder, where SpiderFoot's data would be: set SPIDERFOOT_DATA or HOME"


def test_it_is_what_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIDERFOOT_DATA", "/somewhere")
    assert data_folder() == Path("/somewhere")


def test_else_it_is_in_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/of/mine")
    assert data_folder() == Path("/home/of/mine/.spiderfoot")


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user of whom Python finds no home."""
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("os.getuid", lambda: NAMELESS)


def test_without_either_it_is_said_what_to_set(homeless: None) -> None:
    with pytest.raises(ConfigError, match="set SPIDERFOOT_DATA or HOME"):
        data_folder()


def test_the_scanners_exit_says_so_in_one_line(homeless: None, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("spiderfoot")
    from sfwebhooks.host.around_scan import report_stopped  # needs the scanner

    report_stopped()
    assert [(record.levelno, record.exc_info) for record in caplog.records] == [(logging.WARNING, None)]
    assert "set SPIDERFOOT_DATA or HOME" in caplog.text


COMMANDS = [
    *(
        ("check",),
        ("status",),
        ("doctor",),
        ("drain",),
        ("run",),
        ("test",),
        ("deliveries",),
        ("show", "abcdef"),
        ("dead", "list"),
    ),
    *(("dead", "drop", "--all"), ("replay", "--all"), ("backfill", "X", "--endpoint", "e"), ("pause", "e")),
    *(("resume", "e"), ("emit", "high_risk_event", "--data", "-")),
]


@needs_root
@pytest.mark.parametrize("command", quick_first(COMMANDS, 2))
def test_a_command_of_a_user_without_a_home_says_what_to_set(command: tuple[str, ...]) -> None:
    code, text = command_as(
        NAMELESS, Path("/"), *command, text='{"finding_id": "f", "title": "t", "severity": "high"}', environment={}
    )
    assert (code, text) == (1, f"sfwebhooks: {HINT}")
