"""`sfwebhooks keygen`: a new signing secret, a new ed25519 key pair, or a new key of hashes."""

from __future__ import annotations

import argparse
import secrets
import sys
from pathlib import Path
from typing import Any

from sfwebhooks.config.secret_file import write_secret
from sfwebhooks.events import printable
from sfwebhooks.signing_keys import WHPK_HINT, new_whsec, new_whsk, receiver_form


def add(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        "keygen",
        help="generate a signing secret, an ed25519 key pair, or a key of hashes",
        epilog="examples:\n  sfwebhooks keygen --file ~/.spiderfoot/webhooks.secret\n  sfwebhooks keygen --ed25519\n"
        "  sfwebhooks keygen --redact --file ~/.spiderfoot/redact.key",
    )
    kinds = command.add_mutually_exclusive_group()
    kinds.add_argument("--ed25519", action="store_true", help="a whsk_ signing secret and its public whpk_ key")
    kinds.add_argument("--redact", action="store_true", help="the key of the hashes that redact makes (redact_key)")
    command.add_argument(
        "--file", type=Path, metavar="PATH", help="write the secret to this new file (mode 0600) instead of printing it"
    )
    command.set_defaults(run=_keygen)


def _keygen(given: argparse.Namespace) -> int:
    """Print the keys alone to stdout, one per line, and their use to stderr."""
    secret = new_whsk() if given.ed25519 else secrets.token_urlsafe(32) if given.redact else new_whsec()
    key, hints = "secret", ["The receiver needs the same secret; send it over a secure channel."]
    if given.ed25519:
        hints = ["The whpk_ key is for the receiver; the whsk_ secret stays with the sender.", WHPK_HINT]
    elif given.redact:
        key, hints = "redact_key", ["Keep it here: with it, anyone can find out what was hashed, by trying."]
    if given.file:
        write_secret(given.file, secret)
        hints = [f"Written to {given.file}; in the settings: {key} = file:{given.file.absolute()}", *hints]
    else:
        print(secret)
    if given.ed25519:
        print(receiver_form(secret))
    for hint in [] if given.quiet else hints:
        print(printable(hint), file=sys.stderr)
    return 0
