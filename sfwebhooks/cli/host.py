"""`sfwebhooks install` and `uninstall`: put the module into SpiderFoot, take it out."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from sfwebhooks.errors import ConfigError
from sfwebhooks.hostdb import data_folder
from sfwebhooks.install import SHIM, install, modules_folder, uninstall


def add(commands: Any) -> None:
    """Add the two commands."""
    for name, run, words in (
        ("install", _install, "put the module into SpiderFoot"),
        ("uninstall", _uninstall, "take the module out of SpiderFoot"),
    ):
        command = commands.add_parser(name, help=words)
        command.add_argument("--spiderfoot", type=Path, metavar="DIR", help="its folder, if not installed with pip")
        command.set_defaults(run=run)


def _install(given: argparse.Namespace) -> int:
    path = install(modules_folder(given.spiderfoot))
    print(f"Installed {path}.")
    print(f"SpiderFoot must run with this Python, which has the package: {sys.executable}")
    try:
        print(f"Settings are read from {data_folder() / 'spiderfoot.conf'} or {data_folder() / 'webhooks.ini'}.")
    except ConfigError as error:
        print(f"Settings are read from spiderfoot.conf or webhooks.ini in the data folder. {error}")
    print("Next: write them, and look at them with: sfwebhooks check")
    return 0


def _uninstall(given: argparse.Namespace) -> int:
    folder = modules_folder(given.spiderfoot)
    path = uninstall(folder)
    print(f"Removed {path}." if path else f"There is no {SHIM} in {folder}; nothing was done.")
    return 0
