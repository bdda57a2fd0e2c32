"""The command `sfwebhooks`: one file per family of commands, each with `add` (its arguments) and its functions."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from sfwebhooks import __version__
from sfwebhooks.cli import check, demo, drain, endpoint, events, host, keys, receive, verify
from sfwebhooks.errors import WebhooksError

FAMILIES = (host, check, endpoint, receive, drain, events, keys, verify, demo)


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
        print(f"sfwebhooks: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
