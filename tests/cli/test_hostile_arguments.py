"""Mistakes of a user, in every argument of every command: an error in words and code 1 or 2, never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sfwebhooks.outbox.outbox import Outbox
from tests.cli.test_overview import LEAVES, examples, run
from tests.filled import put
from tests.stores import BOTH
from tests.tiers import quick_first

STORES = BOTH

pytestmark = pytest.mark.usefixtures("own_signals")
#: the commands that read the settings; the others can do without
READERS = {"backfill", "check", "delete", "disable", "doctor", "drain", "emit", "enable", "list", "move", "pause",
           "preview", "resume", "run", "service", "test", "update"}  # fmt: skip
#: the commands that use the data folder
USERS = READERS | {"dead drop", "dead list", "dead replay", "dead show", "deliveries", "drop", "purge", "replay",
                   "show", "stats", "status"}  # fmt: skip
#: those that would go on until they are stopped, or take long, if what they are given is right
LONG = {"demo", "receive", "run", "web"}
TEXTS = ("", "\0", "\udcff", "x" * 5000, "9" * 400, "-1", "nan", "../..", "env:", "file:", "\x1b[2J")


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outbox: Outbox) -> dict[str, str]:
    """A data folder with settings and a delivery; returns the names of things that are neither."""
    (tmp_path / "webhooks.ini").write_text("[webhooks.team]\nurl = http://127.0.0.1:9/\n")
    put(outbox, 1)
    monkeypatch.setenv("SPIDERFOOT_DATA", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "report").write_text('{"report_id": "1", "title": "Threats"}')
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    (tmp_path / "binary").write_bytes(bytes(range(256)) * 64)
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    there = {name: str(tmp_path / name) for name in ("missing", "empty", "binary", "loop", "pipe")}
    return {
        **there,
        "NUL": f"{tmp_path}\0x",
        "surrogate": "\udcff",
        "long": "x" * 5000,
        "below": f"{tmp_path}/binary/x",
    }


def words_of(name: str) -> list[str]:
    """Return the arguments of a command's first example, without its place of the settings, and soon over."""
    if name == "drain":
        return ["drain", "--timeout", "0.1s"]
    if name == "emit":
        return ["emit", "cti_report_generated", "--data", "../report"]
    words = examples(LEAVES[name])[0][1:]
    return [word for number, word in enumerate(words) if "--config" not in words[max(number - 1, 0) : number + 1]]


def arguments(name: str) -> Iterator[list[str]]:
    """Yield for each argument of a command the words before its value."""
    for action in LEAVES[name]._actions:
        if action.nargs != 0:
            yield list(action.option_strings[-1:])


@pytest.mark.parametrize("name", sorted(READERS))
def test_settings_that_cannot_be_read_are_an_error(
    name: str, places: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    for place in places.values():
        assert run(*words_of(name), "--config", place) == (2 if "\0" in place else 1)
        printed = capsys.readouterr()
        assert "sfwebhooks: " in printed.err or "mistake" in printed.out + printed.err


@pytest.mark.parametrize("name", sorted(USERS))
def test_a_data_folder_that_is_not_a_folder_is_an_error(
    name: str, places: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    for kind, place in places.items():
        if kind != "empty":
            assert run(*words_of(name), "--folder", place) == (2 if "\0" in place else 1)
            assert capsys.readouterr().err.startswith(("sfwebhooks: --folder ", "sfwebhooks: an argument has a NUL"))


@pytest.mark.parametrize("name", quick_first(sorted(set(LEAVES) - LONG), 30))
def test_no_argument_of_a_command_makes_it_fail_without_words(
    name: str, places: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    del places["pipe"]  # emit and verify read from one
    for option in arguments(name):
        for text in (*TEXTS, *places.values()):
            words = [*words_of(name), *option, text] if option else [*name.split(), text]
            code = run(*words)
            printed = capsys.readouterr()
            assert code in (0, 1, 2, 3), words
            assert (code in (0, 3)) or (printed.out + printed.err).strip(), words
            assert not set("\0\x1b") & set(printed.err), words


@pytest.mark.parametrize("option", ["--host", "--cert", "--key", "--client-ca", "--save", "--api-key", "--endpoint"])
def test_receive_refuses_what_it_cannot_use(
    option: str, places: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    value = "file:" + places["missing"] if option == "--api-key" else places["below"]
    assert run("receive", "--port", "0", option, value) == 1
    assert capsys.readouterr().err.startswith("sfwebhooks: ")


@pytest.mark.parametrize("text", TEXTS)
def test_web_refuses_what_it_cannot_listen_on(
    text: str, places: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("web", "--listen", text) in (1, 2)
    printed = capsys.readouterr().err
    assert printed.startswith("sfwebhooks") and not set("\0\x1b") & set(printed)


REDIRECTIONS = {
    ">&-": (0, 0),
    "2>&-": (0, 0),
    "<&-": (0, 0),
    ">&- 2>&- <&-": (0, 0),
    ">/dev/full": (1, 1),
    "| head -c 1": (0, 0),
}


@pytest.mark.parametrize(
    ("command", "files"),
    quick_first(
        [pytest.param(command, files) for files in REDIRECTIONS for command in ("help", "events", "deliveries")], 6
    ),
)
def test_closed_and_full_files_make_no_traceback(command: str, files: str, places: dict[str, str]) -> None:
    line = f"{sys.executable} -m sfwebhooks {command} {files}"
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root, "LANG": "C", "LC_ALL": "C"}
    done = subprocess.run(["sh", "-c", line], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode in REDIRECTIONS[files]
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr
    if files == ">/dev/full":
        assert done.stderr == "sfwebhooks: No space left on device\n"
