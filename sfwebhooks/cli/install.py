"""`sfwebhooks install` and `uninstall`: add the module to SpiderFoot, remove it."""

from __future__ import annotations

import argparse
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from sfwebhooks.config.location import find_file
from sfwebhooks.errors import ConfigError, InstallError
from sfwebhooks.host.hosts import data_folder_of, forget, limits_of_host, remember, used_folder
from sfwebhooks.host.install import SHIM, install, modules_folder, uninstall
from sfwebhooks.scan.own_host import saved_options
from sfwebhooks.terminal.arguments import add_json
from sfwebhooks.terminal.output import console, show_result


def add(commands: Any) -> None:
    """Add the two commands."""
    for name, run, words in (
        ("install", _install, "install the module into SpiderFoot"),
        ("uninstall", _uninstall, "remove the module from SpiderFoot"),
    ):
        command = commands.add_parser(
            name, help=words, epilog=f"example:\n  sfwebhooks {name} --spiderfoot /opt/spiderfoot"
        )
        command.add_argument("--spiderfoot", type=Path, metavar="DIR", help="its folder, unless installed with pip")
        add_json(command)
        command.set_defaults(run=run)


def _has_settings() -> bool:
    with suppress(ConfigError):
        place = used_folder()
        return find_file(saved_options(place).get("config", ""), place) is not None
    return False


def _install(given: argparse.Namespace) -> int:
    path = install(modules_folder(given.spiderfoot))
    spiderfoot = path.parent.parent
    lines = [
        f"Installed {path}.",
        f"SpiderFoot must run with this Python, where the package is installed: {sys.executable}",
        *limits_of_host(spiderfoot),
    ]
    try:
        data = data_folder_of(spiderfoot)
        lines.append(f"Settings are read from {data / 'spiderfoot.conf'} or {data / 'webhooks.ini'}.")
    except ConfigError as error:
        lines.append(f"Settings are read from spiderfoot.conf or webhooks.ini in the data folder. {error}")
    try:
        remember(spiderfoot)
    except (ConfigError, OSError, RuntimeError) as error:  # RuntimeError: this user has no home folder
        lines.append(f"Commands need --spiderfoot and --folder, because this location could not be saved: {error}")
    if not _has_settings():
        lines.append("Next: sfwebhooks init creates the settings, sfwebhooks create adds an endpoint.")
    show_result(given, console(), {"installed": str(path), "python": sys.executable}, *lines)
    return 0


def _uninstall(given: argparse.Namespace) -> int:
    try:
        folder = modules_folder(given.spiderfoot)
    except InstallError:
        if given.spiderfoot and _forgotten(given.spiderfoot):
            words = f"{given.spiderfoot} is no longer a SpiderFoot; it was removed from the list of installations."
            show_result(given, console(), {"removed": None}, words)
            return 0
        raise
    path = uninstall(folder)
    _forgotten(folder.parent)
    words = f"Removed {path}." if path else f"There is no {SHIM} in {folder}; nothing to do."
    show_result(given, console(), {"removed": path and str(path)}, words)
    return 0


def _forgotten(spiderfoot: Path) -> bool:
    """Remove a SpiderFoot from the record of installations; return whether it was there.

    Raises:
        InstallError: the record cannot be written.
    """
    try:
        return forget(spiderfoot)
    except OSError as error:
        raise InstallError(f"{error.filename} cannot be written: {error.strerror}") from error
