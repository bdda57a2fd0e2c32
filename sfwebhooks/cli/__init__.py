"""The command `sfwebhooks`: one file per command or family of them, with `add` (its arguments) and its functions."""

from __future__ import annotations

import argparse
import io
import logging
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from functools import lru_cache
from textwrap import fill

import urllib3

from sfwebhooks import __version__
from sfwebhooks.cli import (
    backfill,
    check,
    completion,
    connect,
    create,
    dead,
    deliveries,
    demo,
    doctor,
    drain,
    emit,
    endpoints,
    events,
    explain,
    init,
    install,
    keygen,
    listing,
    manual,
    metrics,
    move,
    move_outbox,
    mute,
    overview,
    preview,
    purge,
    receive,
    replay,
    route,
    run,
    service,
    show,
    sightings,
    spool,
    stats,
    status,
    test,
    tickets,
    update,
    verify,
    verify_scan,
    web,
)
from sfwebhooks.cli.overview import RootParser
from sfwebhooks.errors import OutboxBusyError, WebhooksError
from sfwebhooks.events import printable
from sfwebhooks.terminal.arguments import add_verbosity, show_log
from sfwebhooks.terminal.parser import CommandParser

FAMILIES = (
    install,
    init,
    check,
    status,
    doctor,
    listing,
    create,
    test,
    connect,
    endpoints,
    update,
    receive,
    emit,
    drain,
    run,
    web,
    metrics,
    service,
    deliveries,
    show,
    explain,
    sightings,
    tickets,
    mute,
    stats,
    dead,
    replay,
    move,
    move_outbox,
    purge,
    backfill,
    spool,
    events,
    route,
    preview,
    keygen,
    verify,
    verify_scan,
    demo,
    overview,
    completion,
    manual,
)


@lru_cache(maxsize=1)
def parser() -> RootParser:
    """Return the parser of all commands."""
    made = RootParser(prog="sfwebhooks", description=overview.SUMMARY)
    made.add_argument("--version", action="version", version=f"sfwebhooks {__version__}")
    made.set_defaults(root=made, command=made, json=False, log_level=logging.WARNING, log_form="%(message)s")
    commands = made.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=CommandParser)
    for family in FAMILIES:
        family.add(commands)
    _complete(made)
    return made


def _complete(parser: argparse.ArgumentParser) -> None:
    """Add what all commands have: their options, and a description, the command's line in the list if it has none."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for listed in action._choices_actions:
                command = action.choices[listed.dest]
                words = listed.help or ""
                command.description = command.description or f"{words[:1].upper()}{words[1:]}."
                command.set_defaults(command=command)
                _complete(command)
            return
    add_verbosity(parser)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code (`overview.EXIT_CODES`)."""
    _open_missing_output()
    if isinstance(sys.stdout, io.TextIOWrapper):  # else a character missing from its encoding would end the command
        sys.stdout.reconfigure(errors="replace")
    urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # our own warning covers verify_tls = false
    given = _parsed(sys.argv[1:] if arguments is None else arguments)
    try:
        show_log(given)
        code = int(given.run(given))
        sys.stdout.flush()
        return code
    except WebhooksError as error:
        _say(f"{error}{_again(error)}")
        return 1
    except BrokenPipeError:  # the reader has closed the pipe: head, or a pager
        _end_output()
        return 1
    except OSError as error:  # of a place that no command has looked at: a full disk behind its output
        _end_output()
        place = f"{error.filename}: " if error.filename else ""
        _say(f"{place}{error.strerror or error}")
        return 1
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not print a traceback
        if getattr(given, "stopped", ""):
            _say(f"stopped: {given.stopped}")
        return 130


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the arguments of a command line; the program ends if they are wrong."""
    root = parser()
    if not arguments:
        root.exit(2, root.format_help())
    if any("\0" in word for word in arguments):  # no shell can pass one, and no file's name can have one
        root.error("an argument has a NUL character")
    given, unknown = root.parse_known_args(arguments)
    if unknown:
        given.command.refuse(unknown)
    return given


def _open_missing_output() -> None:
    """Open standard output and standard error if the caller has closed them."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115


def _end_output() -> None:
    """Write what is buffered for standard output, or drop it if that fails: at the exit it would be a traceback."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(words: str) -> None:
    """Print an error; what it quotes may have characters that move the cursor, or that no encoding has."""
    lines = [printable(line) for line in f"sfwebhooks: {words}".split("\n")]
    if sys.stderr.isatty():  # which breaks words where a line ends
        width = shutil.get_terminal_size().columns
        lines = [fill(line, width, break_long_words=False, break_on_hyphens=False) for line in lines]
    print("\n".join(lines), file=sys.stderr)


def _again(error: WebhooksError) -> str:
    """Return advice if the same command may succeed later."""
    if not isinstance(error, OutboxBusyError):
        return ""
    how = f"{error.cure}, then run the command again" if error.cure else "run the command again in a moment"
    return f"; nothing else was changed: {how}"
