"""What the commands share: which configuration, which folder, how a table looks."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sfwebhooks import config
from sfwebhooks.errors import ConfigError
from sfwebhooks.hostdb import data_folder, saved_options


def console() -> Console:
    """Return the terminal; a pipe or a file gets wide lines instead of cut ones."""
    out = Console(highlight=False, soft_wrap=False)
    return out if out.is_terminal else Console(highlight=False, width=240)


def table(*columns: str) -> Table:
    """Return an empty table."""
    made = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def plain(text: str, style: str = "") -> Text:
    """Return text whose square brackets and control characters mean nothing to the terminal."""
    return Text("".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text), style=style)


def add_config(command: argparse.ArgumentParser) -> None:
    """Add the options that say where configuration and data are."""
    command.add_argument("--config", default="", metavar="FILE", help="the file with the [webhooks] settings")
    command.add_argument("--data", type=Path, metavar="DIR", help="SpiderFoot's data folder ($SPIDERFOOT_DATA)")


def folder(given: argparse.Namespace) -> Path:
    """Return the data folder that the command line names."""
    return given.data or data_folder()


def settings(given: argparse.Namespace) -> config.Settings:
    """Return the settings that the command line names.

    Raises:
        ConfigError: there is no configuration.
    """
    path = config.find(given.config or saved_options(folder(given)).get("config", ""), folder(given))
    if path is None:
        raise ConfigError(
            f"no configuration: there is no [webhooks] in {folder(given) / 'spiderfoot.conf'}, no "
            f"{folder(given) / 'webhooks.ini'}, and neither --config nor $SFWEBHOOKS_CONFIG names one"
        )
    return config.load(path)
