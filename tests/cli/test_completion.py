"""`sfwebhooks completion` and `man`: the shells and `man` take what is printed."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from sfwebhooks.cli import main, parser
from tests.cli.test_overview import LEAVES

BASH = """
source "$1"; shift
[[ $(complete -p sfwebhooks) =~ -F\\ ([^ ]+) ]]
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
"${BASH_REMATCH[1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""
#: a command line -> words that complete its last one, and one that does not
LINES = [
    (["sfwebhooks", "dr"], {"drain", "drop"}, "dead"),
    (["sfwebhooks", "dead", ""], {"list", "show", "replay", "drop"}, "drain"),
    (["sfwebhooks", "drain", "--"], {"--timeout", "--quiet", "--config", "--json"}, "--limit"),
    (["sfwebhooks", "dead", "replay", "--ra"], {"--rate"}, "--all"),
    (["sfwebhooks", "deliveries", "--state", ""], {"waiting", "delivered", "dead"}, "list"),
    (["sfwebhooks", "check", "--config", "a-fi"], {"a-file.ini"}, "a-folder"),
    (["sfwebhooks", "check", "--folder", "a-fo"], {"a-folder"}, "a-file.ini"),
]


@pytest.fixture
def script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Path]:
    """The scripts of the shells, as files; the current folder's names are completed."""
    (tmp_path / "here" / "a-folder").mkdir(parents=True)
    (tmp_path / "here" / "a-file.ini").touch()
    made = {}
    for shell in ("bash", "zsh", "fish"):
        assert main(["completion", shell]) == 0
        made[shell] = tmp_path / f"sfwebhooks.{shell}"
        made[shell].write_text(capsys.readouterr().out)
    return made


def run(*command: object, cwd: Path) -> str:
    done = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash here")
@pytest.mark.parametrize(
    ("line", "words", "other"), LINES, ids=lambda one: " ".join(one) if isinstance(one, list) else ""
)
def test_bash_completes(script: dict[str, Path], line: list[str], words: set[str], other: str) -> None:
    found = run("bash", "-c", BASH, "bash", script["bash"], *line, cwd=script["bash"].parent / "here").split()
    assert words <= set(found)
    assert other not in found


@pytest.mark.skipif(not shutil.which("fish"), reason="no fish here")
@pytest.mark.parametrize(
    ("line", "words", "other"), LINES, ids=lambda one: " ".join(one) if isinstance(one, list) else ""
)
def test_fish_completes(
    script: dict[str, Path], line: list[str], words: set[str], other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(script["fish"].parent))
    asked = f"source {script['fish']}; complete -C {' '.join(line)!r}"
    found = run("fish", "--no-config", "-c", asked, cwd=script["fish"].parent / "here")
    names = {one.split("\t")[0].rstrip("/") for one in found.splitlines()}
    assert words <= names
    assert other not in names


@pytest.mark.skipif(not shutil.which("zsh"), reason="no zsh here")
def test_zsh_knows_the_completion(script: dict[str, Path]) -> None:
    here = script["zsh"].parent / "here"
    (here / "_sfwebhooks").write_text(script["zsh"].read_text())
    run("zsh", "-n", here / "_sfwebhooks", cwd=here)
    asked = f"fpath=({here} $fpath); autoload -U compinit; compinit -u -D; print $_comps[sfwebhooks]"
    assert run("zsh", "-f", "-c", asked, cwd=here) == "_sfwebhooks\n"


def test_every_command_is_in_each_script(script: dict[str, Path]) -> None:
    for path in script.values():
        text = path.read_text()
        assert [name for name in parser().commands if not re.search(rf"\b{name}\b", text)] == []


@pytest.mark.skipif(not shutil.which("man"), reason="no man here")
def test_man_shows_the_page_with_every_command_and_no_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["man"]) == 0
    page = tmp_path / "sfwebhooks.1"
    page.write_text(capsys.readouterr().out)
    monkeypatch.setenv("MANWIDTH", "80")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    shown = run("man", "--warnings", "-P", "cat", "-l", page, cwd=tmp_path)
    text = re.sub(".\b", "", shown)
    words = " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 80
    for name, found in LEAVES.items():
        assert f"sfwebhooks {name}" in words
        options = [action.option_strings for action in found._actions if action.help != argparse.SUPPRESS]
        assert [one for names in options for one in names if one not in words and one != "-h"] == ["--help"]
