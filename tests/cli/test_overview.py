"""The help: the overview by task, each command's own, and what is said of a wrong word."""

from __future__ import annotations

import argparse
import re
import shlex
from collections import Counter
from collections.abc import Iterator

import pytest

from sfwebhooks.cli import main, parser
from sfwebhooks.cli.overview import EXIT_CODES, ROWS, overview
from tests.rows import in_one
from tests.test_docs import OPERATIONS

PLACED = [name for row in ROWS for name in row.commands]


def leaves(found: argparse.ArgumentParser, name: str = "") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yield each command that does something, with its parser."""
    families = [action for action in found._actions if isinstance(action, argparse._SubParsersAction)]
    for action in families:
        for word, one in action.choices.items():
            yield from leaves(one, f"{name} {word}".strip())
    if not families:
        yield name, found


LEAVES = dict(leaves(parser()))


def run(*arguments: str) -> int:
    """Run a command line; return its exit code."""
    try:
        return main(arguments)
    except SystemExit as ended:
        return int(ended.code or 0)


def examples(found: argparse.ArgumentParser) -> list[list[str]]:
    """Return the words of the examples in a command's help, without the files that they are written to."""
    lines = [line.strip() for line in (found.epilog or "").splitlines()[1:]]
    return [shlex.split(line.partition(" > ")[0]) for line in lines]


def test_each_command_is_in_the_overview_once() -> None:
    assert set(parser().commands) == set(PLACED)
    assert [name for name, number in Counter(PLACED).items() if number > 1] == []


def test_the_overview_of_all_commands_fits_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    lines = overview().splitlines()
    assert (len(lines) <= 23, max(map(len, lines)) <= 80) == (True, True), "a prompt follows"
    assert run("--help") == 0
    shown = capsys.readouterr().out
    assert all(re.search(rf"\b{name}\b", shown) for name in parser().commands)


def test_without_a_command_the_overview_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 2
    assert capsys.readouterr() == ("", overview())


def test_help_has_a_sentence_about_each_command_and_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("help") == 0
    shown = capsys.readouterr().out
    words = " ".join(shown.split())
    for name, (sentence, _) in parser().commands.items():
        assert f" {name} {' '.join(sentence.split())}" in words
    assert all(f"{code} {meaning}" in words for code, meaning in EXIT_CODES.items())
    assert max(map(len, shown.splitlines())) <= 80


def test_help_shows_the_help_of_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["drain"], ["dead", "replay"]):
        assert (run("help", *words), run(*words, "--help")) == (0, 0)
        shown = capsys.readouterr().out
        assert shown[: len(shown) // 2] == shown[len(shown) // 2 :]
    assert run("help", "dead", "reply") == 1
    assert capsys.readouterr().err == 'sfwebhooks: sfwebhooks dead has no command "reply". Did you mean "replay"?\n'


@in_one("name", LEAVES)
def test_each_command_has_examples_that_can_be_parsed(name: str) -> None:
    found = examples(LEAVES[name])
    assert found
    for program, *words in found:
        given, unknown = parser().parse_known_args(words)
        assert (program, given.command.prog, unknown) == ("sfwebhooks", f"sfwebhooks {name}", [])


@in_one("name", LEAVES)
def test_the_help_of_a_command_keeps_to_80_columns(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run(*name.split(), "--help") == 0
    assert [line for line in capsys.readouterr().out.splitlines() if len(line) > 80] == []


@in_one("name", LEAVES)
def test_each_command_can_be_quiet_or_verbose(name: str) -> None:
    assert {"-q", "--quiet", "-v", "--verbose"} <= set(LEAVES[name]._option_string_actions)


#: the commands that print no result of their own, or one that has a form already
WITHOUT_JSON = {"completion", "demo", "help", "keygen", "man", "metrics", "preview", "run", "service", "web"}
#: those that ask, or edit a file
WITHOUT_JSON |= {"connect", "create", "delete", "disable", "enable", "init", "purge", "update"}
#: those that need no settings
WITHOUT_CONFIG = {"completion", "demo", "events", "help", "install", "keygen", "man", "uninstall", "verify-scan"}
WITHOUT_CONFIG |= {"spool list", "spool retry", "spool drop"}


@in_one("name", LEAVES)
def test_a_command_has_the_options_that_all_have(name: str) -> None:
    options = set(LEAVES[name]._option_string_actions)
    assert name in WITHOUT_JSON or "--json" in options
    assert name in WITHOUT_CONFIG or {"--config", "--folder"} <= options


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["chek"], 'sfwebhooks: there is no command "chek". Did you mean "check"?'),
        (["dead", "lst"], 'sfwebhooks dead: there is no command "lst". Did you mean "list"?'),
        (["drain", "--timout=5s"], 'sfwebhooks drain: there is no option --timout. Did you mean "--timeout"?'),
        (["dead", "list", "--endpont", "x"], "sfwebhooks dead list: there is no option --endpont. Did you mean"),
        (["check", "now"], 'sfwebhooks check: there is one argument too many: "now"'),
        (["show"], "sfwebhooks show: the following arguments are required: ID"),
    ],
)
def test_a_wrong_word_is_named_with_the_nearest(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 2
    said = capsys.readouterr().err
    command = words.partition(":")[0]
    assert said.startswith(words)
    assert said.endswith(f"\n{command} --help shows the usage and an example.\n")


def test_the_documents_have_the_exit_codes() -> None:
    for code, meaning in EXIT_CODES.items():
        assert re.search(rf"^\| {code} \| {re.escape(meaning)}[ ;:.|]", OPERATIONS, re.M)
    rows = re.findall(r"^\| (\d+) \| ", OPERATIONS.partition("### Exit codes")[2], re.M)
    assert list(map(int, rows)) == list(EXIT_CODES)
