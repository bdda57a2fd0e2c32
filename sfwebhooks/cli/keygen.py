"""`sfwebhooks keygen`: a new signing secret, or a new ed25519 pair."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from sfwebhooks.errors import ConfigError
from sfwebhooks.outbox.permissions import make
from sfwebhooks.signing_keys import WHPK_HINT, new_whsec, new_whsk, receiver_form


def add(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser("keygen", help="make a signing secret, or an ed25519 pair")
    command.add_argument("--ed25519", action="store_true", help="a whsk_ secret to sign with, and its public whpk_ key")
    command.add_argument(
        "--file", type=Path, metavar="PATH", help="write the secret to this new file (mode 0600) and do not print it"
    )
    command.set_defaults(run=_keygen)


def _keygen(given: argparse.Namespace) -> int:
    """Print what is made to stdout, bare, one a line, and what it is for to stderr."""
    secret = new_whsk() if given.ed25519 else new_whsec()
    if given.file:
        _write(given.file, secret)
        print(f"Written to {given.file}; in the settings: secret = file:{given.file.absolute()}", file=sys.stderr)
    else:
        print(secret)
    if given.ed25519:
        print(receiver_form(secret))
        print("The whpk_ key is for the receiver; the whsk_ secret stays with the sender.", file=sys.stderr)
        print(WHPK_HINT, file=sys.stderr)
    else:
        print("The receiver needs the same secret; hand it over on a safe way.", file=sys.stderr)
    return 0


def _write(path: Path, secret: str) -> None:
    """Write a secret to a file that is not there yet, for its owner only.

    Raises:
        ConfigError: there is something at that place, or it cannot be written.
    """
    try:
        number = make(path)
    except FileExistsError as error:
        raise ConfigError(f"{path} is there already, and is left as it is") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(number, "w", encoding="ascii") as file:
            file.write(secret + "\n")
    except OSError as error:
        path.unlink()  # it is ours, and holds half a secret at most
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error
