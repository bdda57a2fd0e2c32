"""What the commands share: which configuration, which folder, how a table looks."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sfwebhooks import config
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import ConfigError
from sfwebhooks.events import clean_text, printable
from sfwebhooks.hostdb import data_folder, saved_options
from sfwebhooks.options import receiver_secrets


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
    return Text(printable(text), style=style)


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


def endpoint_named(given: argparse.Namespace, name: str) -> Endpoint:
    """Return an endpoint of the configuration that the command line names.

    Raises:
        ConfigError: there is no configuration, or no endpoint of that name in it that can be used.
    """
    endpoints = {endpoint.name: endpoint for endpoint in settings(given).endpoints}
    if name not in endpoints:
        raise ConfigError(f'no endpoint is called "{name}"; there are: {", ".join(endpoints) or "none"}')
    return endpoints[name]


def known_secrets(texts: Sequence[str]) -> list[str]:
    """Return what a receiver verifies with, of --secret arguments: text, env:NAME or file:PATH.

    Raises:
        ConfigError: one of them cannot be had, or is malformed.
    """
    try:
        resolved = [config.resolved(text, Path()) for text in texts]
        if any(clean_text(text) != text for text in resolved):
            raise ValueError("accepted: text that UTF-8 can write")
        return [secret.reveal() for text in resolved for secret in receiver_secrets(text)]
    except ValueError as error:
        raise ConfigError(f"--secret: {error}") from error
