"""`sfwebhooks completion`: a script with which a shell completes commands, options and file names."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

#: the places of the scripts in the home folder
PLACES = {
    "bash": "~/.local/share/bash-completion/completions/sfwebhooks",
    "zsh": "~/.zfunc/_sfwebhooks, in a folder of fpath",
    "fish": "~/.config/fish/completions/sfwebhooks.fish",
}


def add(commands: Any) -> None:
    """Add the command."""
    places = "; ".join(f"{shell}: {place}" for shell, place in PLACES.items())
    command = commands.add_parser(
        "completion",
        help="print a script that completes commands and options with Tab",
        description=f"Print a script that completes commands and options with Tab. Its place: {places}.",
        epilog="example:\n  sfwebhooks completion zsh > ~/.zfunc/_sfwebhooks",
    )
    command.add_argument("shell", choices=list(PLACES), metavar="SHELL", help=", ".join(PLACES))
    command.set_defaults(run=_completion)


def _completion(given: argparse.Namespace) -> int:
    import shtab  # here: no other command needs it

    _let_files_be_completed(given.root)
    print(shtab.complete(given.root, given.shell))
    return 0


def _let_files_be_completed(parser: argparse.ArgumentParser) -> None:
    """Mark the arguments that are names of files or folders, as shtab wants it."""
    import shtab

    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                _let_files_be_completed(command)
        elif action.metavar == "DIR":
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
        elif action.metavar in ("FILE", "PATH") or action.type is Path:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
