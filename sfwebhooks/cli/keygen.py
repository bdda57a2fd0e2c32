"""`sfwebhooks keygen`: a new signing secret, or a new ed25519 key pair."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from sfwebhooks.signing_keys import WHPK_HINT, new_whsec, new_whsk, receiver_form
from sfwebhooks.terminal.secret_file import write_secret


def add(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser("keygen", help="generate a signing secret or an ed25519 key pair")
    command.add_argument("--ed25519", action="store_true", help="a whsk_ signing secret and its public whpk_ key")
    command.add_argument(
        "--file", type=Path, metavar="PATH", help="write the secret to this new file (mode 0600) instead of printing it"
    )
    command.set_defaults(run=_keygen)


def _keygen(given: argparse.Namespace) -> int:
    """Print the keys alone to stdout, one per line, and their use to stderr."""
    secret = new_whsk() if given.ed25519 else new_whsec()
    if given.file:
        write_secret(given.file, secret)
        print(f"Written to {given.file}; in the settings: secret = file:{given.file.absolute()}", file=sys.stderr)
    else:
        print(secret)
    if given.ed25519:
        print(receiver_form(secret))
        print("The whpk_ key is for the receiver; the whsk_ secret stays with the sender.", file=sys.stderr)
        print(WHPK_HINT, file=sys.stderr)
    else:
        print("The receiver needs the same secret; send it over a secure channel.", file=sys.stderr)
    return 0
