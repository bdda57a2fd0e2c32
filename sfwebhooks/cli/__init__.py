"""The command `sfwebhooks`: one file per command or family of them, with `add` (its arguments) and its functions."""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
from collections.abc import Sequence
from functools import lru_cache

import urllib3

from sfwebhooks import __version__
from sfwebhooks.cli import (
    backfill,
    check,
    create,
    dead,
    deliveries,
    demo,
    doctor,
    drain,
    emit,
    endpoints,
    events,
    init,
    install,
    keygen,
    listing,
    metrics,
    move,
    preview,
    purge,
    receive,
    replay,
    run,
    show,
    stats,
    status,
    test,
    update,
    verify,
)
from sfwebhooks.errors import OutboxBusyError, WebhooksError

FAMILIES = (
    install,
    init,
    check,
    status,
    doctor,
    listing,
    create,
    test,
    endpoints,
    update,
    receive,
    emit,
    drain,
    run,
    metrics,
    deliveries,
    show,
    stats,
    dead,
    replay,
    move,
    purge,
    backfill,
    events,
    preview,
    keygen,
    verify,
    demo,
)


@lru_cache(maxsize=1)
def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    made = argparse.ArgumentParser(prog="sfwebhooks", description="Webhooks for SpiderFoot.")
    made.add_argument("--version", action="version", version=f"sfwebhooks {__version__}")
    commands = made.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for family in FAMILIES:
        family.add(commands)
    _describe(made)
    return made


def _describe(parser: argparse.ArgumentParser) -> None:
    """Use a command's line in the list of commands as the description in its own --help, if it has none."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for listed in action._choices_actions:
                command = action.choices[listed.dest]
                words = listed.help or ""
                command.description = command.description or f"{words[:1].upper()}{words[1:]}."
                _describe(command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code: 0 success, 1 an error that the output explains, 2 wrong usage, 3 the
    settings are right but something needs attention, 130 stopped by Ctrl-C."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # else a character missing from its encoding would end the command
        sys.stdout.reconfigure(errors="replace")
    urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # our own warning covers verify_tls = false
    given = parser().parse_args(arguments)
    try:
        return int(given.run(given))
    except WebhooksError as error:
        print(f"sfwebhooks: {error}{_again(error)}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader has closed the pipe: head, or a pager
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not print a traceback
        if getattr(given, "stopped", ""):
            print(f"sfwebhooks: stopped: {given.stopped}", file=sys.stderr)
        return 130


def _again(error: WebhooksError) -> str:
    """Return advice if the same command may succeed later."""
    if not isinstance(error, OutboxBusyError):
        return ""
    how = f"{error.cure}, then run the command again" if error.cure else "run the command again in a moment"
    return f"; nothing else was changed: {how}"
