"""`sfwebhooks init`: the first configuration, in the right place."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from sfwebhooks.config.file import JSON
from sfwebhooks.config.location import find_file, named
from sfwebhooks.errors import ConfigError
from sfwebhooks.files import is_deleted
from sfwebhooks.outbox.permissions import make
from sfwebhooks.scan.own_host import saved_options
from sfwebhooks.terminal.arguments import add_config, folder
from sfwebhooks.terminal.output import console, plain

TEXT = """\
# Settings of sfwebhooks. Add an endpoint: sfwebhooks create NAME. Check the result: sfwebhooks check.
# A comment has a line of its own; values have no quotes; secrets can be env:NAME or file:PATH.

[webhooks]
# true: in every scan; false: in none; without this line: in scans that select the module sfp__stor_webhooks
enabled = true
"""


def add(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        "init",
        help="create the first configuration file",
        description="Create the first configuration file (webhooks.ini in SpiderFoot's data folder, unless another"
        " place is named), which only its owner can read. An existing one is never changed.",
        epilog="example:\n  sfwebhooks init",
    )
    add_config(command)
    command.set_defaults(run=_init)


def _init(given: argparse.Namespace) -> int:
    path = _place(given)
    if path.suffix == JSON:
        raise ConfigError(f"{path}: commands edit INI files only; choose a name that ends in .ini")
    try:
        if is_deleted(path.parent):
            path.parent.mkdir(mode=0o700, parents=True)
        with os.fdopen(make(path), "w", encoding="utf-8") as file:
            file.write(TEXT)
    except FileExistsError as error:
        raise _exists(path) from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be created: {error.strerror}") from error
    out = console()
    out.print(plain(f"Created {path}: webhooks are on in every scan."))
    out.print("Next: sfwebhooks create NAME adds an endpoint.")
    return 0


def _place(given: argparse.Namespace) -> Path:
    """Return where the configuration is to be.

    Raises:
        ConfigError: there is one already.
    """
    if given.config:
        return named(given.config)
    place = given.folder or folder(given)
    found = find_file(saved_options(place).get("config", ""), place)
    if found and os.path.lexists(found):
        raise _exists(found)
    return found or place / "webhooks.ini"


def _exists(path: Path) -> ConfigError:
    return ConfigError(f"{path} already exists and was not changed: sfwebhooks create NAME adds an endpoint to it")
