"""The command `sfwebhooks`: one file per family of commands, each with `add` (its arguments) and its functions."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from sfwebhooks import __version__
from sfwebhooks.cli import (
    backfill,
    check,
    dead,
    deliveries,
    demo,
    drain,
    emit,
    endpoint,
    events,
    host,
    keys,
    receive,
    replay,
    run,
    show,
    verify,
)
from sfwebhooks.errors import OutboxBusyError, WebhooksError

FAMILIES = (
    host,
    check,
    endpoint,
    receive,
    emit,
    drain,
    run,
    deliveries,
    show,
    dead,
    replay,
    backfill,
    events,
    keys,
    verify,
    demo,
)


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    made = argparse.ArgumentParser(prog="sfwebhooks", description="Webhooks for SpiderFoot.")
    made.add_argument("--version", action="version", version=f"sfwebhooks {__version__}")
    commands = made.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for family in FAMILIES:
        family.add(commands)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code: 0 well, 1 something is wrong as the text says, 2 wrong usage."""
    given = parser().parse_args(arguments)
    try:
        return int(given.run(given))
    except WebhooksError as error:
        again = "; nothing more was changed: give the command again in a moment"
        print(f"sfwebhooks: {error}{again if isinstance(error, OutboxBusyError) else ''}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # who read this has enough: head, or a pager that was left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130
