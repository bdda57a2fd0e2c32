"""`sfwebhooks help`, and the overview that `sfwebhooks --help` shows: the commands, by task."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sfwebhooks.config.values import nearest
from sfwebhooks.errors import SelectionError
from sfwebhooks.terminal.parser import CommandParser

#: characters of a line
WIDTH = 80
#: columns of the overview: task, and names of commands
TASK, NAMES = 9, 36
#: column of the sentences in the whole list
SENTENCE = 14
SUMMARY = "Webhooks for SpiderFoot: send a scan's findings, and its end, to other systems."
HINT = "sfwebhooks help has a sentence about each command; sfwebhooks COMMAND --help has its options and an example."
#: code -> its meaning, the same in every command
EXIT_CODES = {
    0: "success",
    1: "an error that the output explains, or deliveries that were not made",
    2: "wrong usage: an unknown command or option, or a value that it does not accept",
    3: "the settings are right, but something needs attention",
    130: "stopped by Ctrl-C",
}


@dataclass(frozen=True)
class Row:
    """A line of the overview: related commands."""

    task: str
    commands: tuple[str, ...]
    words: str


#: each command once
ROWS = (
    Row("set up", ("install", "uninstall"), "the module in SpiderFoot"),
    Row("set up", ("init", "list", "create", "update", "delete"), "endpoints in the settings"),
    Row("set up", ("check", "doctor"), "find what is wrong, and the cure"),
    Row("set up", ("events", "keygen"), "event types; a signing secret"),
    Row("try out", ("test", "preview", "route"), "a test; one unsent; who gets what"),
    Row("try out", ("connect", "demo"), "go live step by step; a real scan"),
    Row("send", ("drain", "run", "service"), "once; until stopped; at boot"),
    Row("send", ("pause", "resume", "disable", "enable"), "stop sending, and start again"),
    Row("look", ("web", "status", "stats", "metrics"), "a page and API; state; figures"),
    Row("look", ("deliveries", "show", "explain"), "the delivery log; one; why not"),
    Row("look", ("sightings", "tickets", "mute", "unmute"), "findings; tickets; withhold one"),
    Row("repair", ("dead", "replay", "drop", "purge"), "dead letters; again; end; delete"),
    Row("repair", ("backfill", "move", "move-outbox", "spool"), "past scan; rename; server; spool"),
    Row("receive", ("receive", "verify", "verify-scan"), "a receiver; a request; a scan"),
    Row("extend", ("emit",), "send an event of another tool"),
    Row("shell", ("help", "completion", "man"), "this list; Tab; a manual page"),
)


class RootParser(CommandParser):
    """The parser of `sfwebhooks` itself."""

    @property
    def commands(self) -> dict[str, tuple[str, CommandParser]]:
        """The commands: name -> its sentence and its parser."""
        (action,) = (one for one in self._actions if isinstance(one, argparse._SubParsersAction))
        return {one.dest: (one.help or "", action.choices[one.dest]) for one in action._choices_actions}

    def format_help(self) -> str:
        """Return the overview."""
        return overview()


def by_task() -> Iterator[tuple[str, list[Row]]]:
    """Yield each task with its rows."""
    for task, rows in groupby(ROWS, lambda row: row.task):
        yield task, list(rows)


def overview() -> str:
    """Return the commands by task, on one screen."""
    lines = [
        f"  {'' if number else task:{TASK}}{', '.join(row.commands):{NAMES}}{row.words}"
        for task, rows in by_task()
        for number, row in enumerate(rows)
    ]
    parts = ["usage: sfwebhooks [--help] [--version] COMMAND ...", SUMMARY, "\n".join(lines)]
    return "\n\n".join([*parts, textwrap.fill(HINT, WIDTH)]) + "\n"


def add(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        "help",
        help="show a sentence about each command, or the help of one",
        epilog="example:\n  sfwebhooks help dead replay",
    )
    command.add_argument("words", nargs="*", metavar="COMMAND", help="the command, such as drain or dead replay")
    command.set_defaults(run=_help)


def _help(given: argparse.Namespace) -> int:
    root: RootParser = given.root
    print(_named(root, given.words).format_help() if given.words else "\n".join(_sentences(root)), end="")
    return 0


def _named(parser: argparse.ArgumentParser, words: list[str]) -> argparse.ArgumentParser:
    """Return the parser of a command, or of an action of one.

    Raises:
        SelectionError: there is no such command.
    """
    for word in words:
        choices = next((one.choices for one in parser._actions if isinstance(one, argparse._SubParsersAction)), {})
        if word not in choices:
            raise SelectionError(f'{parser.prog} has no command "{word}".{nearest(word, choices)}')
        parser = choices[word]
    return parser


def _sentences(root: RootParser) -> Iterator[str]:
    """Yield the lines of the whole list."""
    yield f"{SUMMARY}\n"
    found = root.commands
    for task, rows in by_task():
        yield f"{task.capitalize()}:"
        yield from (_entry(name, found[name][0]) for row in rows for name in row.commands)
    yield "\nExit codes:"
    for code, words in EXIT_CODES.items():
        yield _entry(str(code), words)
    yield ""


def _entry(name: str, words: str) -> str:
    head, indent = f"  {name:{SENTENCE - 2}}", " " * SENTENCE
    return textwrap.fill(words, WIDTH, initial_indent=head, subsequent_indent=indent)
