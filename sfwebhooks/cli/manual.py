"""`sfwebhooks man`: the help of all commands as a manual page, in roff (man(7))."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from sfwebhooks import __version__
from sfwebhooks.cli.overview import EXIT_CODES, SUMMARY, RootParser, by_task


def add(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        "man",
        help="print a manual page of all commands, in roff",
        epilog="example:\n  sfwebhooks man > sfwebhooks.1",
    )
    command.set_defaults(run=_man)


def _man(given: argparse.Namespace) -> int:
    print("\n".join(_page(given.root)))
    return 0


def _page(root: RootParser) -> Iterator[str]:
    yield f'.TH SFWEBHOOKS 1 "" "sfwebhooks {__version__}" "User Commands"'
    yield from (".SH NAME", r"sfwebhooks \- webhooks for SpiderFoot")
    yield from (".SH SYNOPSIS", ".B sfwebhooks", ".I COMMAND", r"[\fIOPTIONS\fR]")
    yield from (".SH DESCRIPTION", _line(SUMMARY))
    found = root.commands
    for task, rows in by_task():
        yield f".SH {_line(task.upper())}"
        for name in (name for row in rows for name in row.commands):
            yield from _command(found[name][1])
    yield ".SH EXIT STATUS"
    for code, words in EXIT_CODES.items():
        yield from (".TP", f".B {code}", _line(words))


def _command(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yield the lines about a command, and about its actions."""
    yield from (f".SS {_line(parser.prog)}", _line(parser.description or ""))
    formatter = parser._get_formatter()
    for action in parser._actions:
        if action.help == argparse.SUPPRESS or "--help" in action.option_strings:
            continue
        if not isinstance(action, argparse._SubParsersAction):
            yield from (".TP", rf"\fB{_line(formatter._format_action_invocation(action))}\fR")
            yield _line(formatter._expand_help(action))
    for line in (parser.epilog or "").splitlines():
        yield from (".PP", ".EX", f"  {_line(line.strip())}", ".EE") if line.startswith("  ") else ()
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _command(command)


def _line(text: str) -> str:
    """Return a text in one line that is shown as it is."""
    line = " ".join(text.split()).replace("\\", r"\e").replace("-", r"\-")
    return rf"\&{line}" if line.startswith((".", "'")) else line
