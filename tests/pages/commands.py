"""The page of all commands: the parser comes in, its commands, arguments and exit codes go out as Markdown."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from sfwebhooks.cli import parser
from sfwebhooks.cli.overview import EXIT_CODES
from tests.pages import MARK, cell, table

CODES = "\n".join(table("code | meaning", [(str(code), words) for code, words in EXIT_CODES.items()]))
INTRODUCTION = f"""# Commands

{MARK}

Every command with its arguments, as `sfwebhooks COMMAND --help` shows them. [Operations](operations.md) says which one
helps when.

## Exit codes

{CODES}
What 1 and 3 mean for a command is said below where it is not obvious.
"""


def page() -> str:
    """Return the page."""
    return (
        "\n".join([INTRODUCTION, *(line for name, one in commands() for line in _section(name, one))]).rstrip() + "\n"
    )


def commands() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yield every command that does something, with its name after `sfwebhooks`."""
    yield from _within("", parser())


def arguments(command: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield the arguments of a command that its --help shows, but for --help itself."""
    hidden = (argparse._HelpAction, argparse._SubParsersAction)
    yield from (one for one in command._actions if not isinstance(one, hidden) and one.help != argparse.SUPPRESS)


def shown(argument: argparse.Action) -> str:
    """Return an argument as it is written on a command line."""
    if argument.choices:
        value = f"{{{','.join(map(str, argument.choices))}}}"
    else:
        value = str(argument.metavar or argument.dest.upper())
    if not argument.option_strings:
        return f"{value} ..." if argument.nargs in ("*", "+") else value
    names = ", ".join(argument.option_strings)
    return names if argument.nargs == 0 else f"{names} {value}"


def _within(name: str, command: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    families = [one for one in command._actions if isinstance(one, argparse._SubParsersAction)]
    if not families:
        yield name, command
    for family in families:
        seen = set[int]()
        for word, one in family.choices.items():
            if id(one) not in seen:  # else it is another name for a command
                seen.add(id(one))
                yield from _within(f"{name} {word}".strip(), one)


def _section(name: str, command: argparse.ArgumentParser) -> Iterator[str]:
    yield from (f"## {name}", "", cell(command.description or ""), "")
    rows = [(f"`{shown(one).replace('|', chr(92) + '|')}`", _meaning(command, one)) for one in arguments(command)]
    if rows:
        yield from table("argument | meaning", rows)
    if command.epilog:
        yield from ("```", command.epilog.strip(), "```", "")


def _meaning(command: argparse.ArgumentParser, argument: argparse.Action) -> str:
    help = command._get_formatter()._expand_help(argument) if argument.help else ""
    return cell(help + (" (required)" if argument.option_strings and argument.required else ""))
