"""What is the same in every command: --json, --quiet, -v, colours, and plain text in a pipe."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.retry import State
from tests.cli.test_overview import run
from tests.conftest import Team
from tests.filled import put, send
from tests.processes import run as run_process
from tests.stores import BOTH
from tests.terminals import in_terminal

STORES = BOTH

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures("own_signals")


@pytest.fixture
def filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outbox: Outbox) -> Path:
    """A data folder with the endpoints team and other, a waiting delivery, a delivered one and a dead letter."""
    settings = tmp_path / "webhooks.ini"
    settings.write_text(
        "[webhooks]\nevents = all\n[webhooks.team]\nurl = http://127.0.0.1:9/\n[webhooks.other]\nurl = http://[::1]:9/\n"
    )
    settings.chmod(0o600)
    monkeypatch.setenv("SPIDERFOOT_DATA", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    put(outbox, 1, 2, 3)
    send(outbox)
    send(outbox, State.DEAD, "refused: http_400")
    (tmp_path / "report").write_text('{"report_id": "1", "title": "Threats"}')
    return tmp_path


#: command -> the keys of its result, and some of the values
RESULTS: dict[str, dict[str, Any]] = {
    "check": {"mistakes": [], "attention": ["team"]},
    "events scan_completed": {"name": "scan_completed", "alias": "scan.completed"},
    "deliveries --state dead": {"endpoint": "team", "state": "dead"},
    "dead list": {"state": "dead"},
    "replay --all": {"replayed": 2, "already_waiting": 1},
    "replay --all --dry-run": {"dry_run": True, "deliveries": 2},
    "dead replay --all": {"replayed": 1},
    "dead drop --all": {"deleted": 1, "left": 0},
    "drop --all --state waiting": {"dropped": 1},
    "move --endpoint team --to other": {"moved": 1, "left": 0, "to": "other"},
    "pause team": {"endpoint": "team", "until": None},
    "resume team": {"endpoint": "team", "was_stopped": False},
    "drain --timeout 0.1s": {"delivered": 0, "waiting": 1, "dead": 1},
    "emit cti_report_generated --data {folder}/report": {"endpoints": ["team", "other"], "new": 2},
}


@pytest.mark.parametrize("command", RESULTS)
def test_a_result_is_one_json_object_in_a_line(command: str, filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(*command.format(folder=filled).split(), "--json")
    lines = capsys.readouterr().out.splitlines()
    assert code in (0, 1, 3)
    assert len(lines) == 1
    found = json.loads(lines[0])
    assert {key: found[key] for key in RESULTS[command]} == RESULTS[command]


CONFIRMATIONS = ["replay --all", "dead drop --all", "move --endpoint team --to other", "pause team", "resume team",
                 "drop --all --state waiting", "emit cti_report_generated --data {folder}/report"]  # fmt: skip


@pytest.mark.parametrize("command", CONFIRMATIONS)
def test_quiet_leaves_no_confirmation(command: str, filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*command.format(folder=filled).split(), "-q") == 0
    assert capsys.readouterr() == ("", "")


def test_quiet_leaves_what_was_asked_for_and_what_is_wrong(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("deliveries", "--quiet") == 0
    assert "refused: http_400" in capsys.readouterr().out
    assert run("drain", "--timeout", "0.1s", "--quiet") == 1
    assert "team: 1 waiting" in capsys.readouterr().out
    assert run("pause", "nobody", "--quiet") == 1
    assert 'there is no endpoint "nobody"' in capsys.readouterr().err


def test_verbose_logs_each_attempt_without_the_path_of_a_url(filled: Path, receive: Callable[..., Team]) -> None:
    team = receive()
    (filled / "webhooks.ini").write_text(f"[webhooks.team]\nurl = {team.url}/the-secret-path\nevents = all\n")
    plain = run_process(["drain", "--timeout", "5s"])
    assert (plain.returncode, "verdict=delivered" in plain.stderr) == (0, False)
    assert run_process(["replay", "--all"]).returncode == 0
    verbose = run_process(["drain", "--timeout", "5s", "-v"])
    assert (verbose.returncode, verbose.stderr.count("verdict=delivered")) == (0, 3)
    assert "the-secret-path" not in verbose.stderr + verbose.stdout


@pytest.mark.sqlite("it starts a process as a user does, with the settings of a file")
@pytest.mark.parametrize(
    ("environment", "coloured"),
    [({}, False), ({"FORCE_COLOR": "1"}, True), ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False)],
    ids=["pipe", "FORCE_COLOR", "NO_COLOR"],
)
def test_colours_are_as_the_environment_says(filled: Path, environment: dict[str, str], coloured: bool) -> None:
    inherited = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    command = [sys.executable, "-m", "sfwebhooks", "deliveries"]
    done = subprocess.run(
        command,
        env={**inherited, "TERM": "xterm-256color", "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ("\x1b[33m" in done.stdout or "\x1b[31m" in done.stdout) is coloured


def test_an_error_in_a_terminal_is_broken_between_words(tmp_path: Path) -> None:
    code, text = in_terminal(["show", "0123", "--folder", str(tmp_path / ("folder" * 12))], [])
    lines = text.splitlines()
    assert (code, len(lines) > 1) == (1, True)
    assert all(len(line) <= 80 or " " not in line.strip() for line in lines)
