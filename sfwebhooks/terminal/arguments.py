"""Arguments shared by the commands: places, names and secrets come in, settings, endpoints and contents go out."""

from __future__ import annotations

import argparse
import errno
import ipaddress
import logging
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

from sfwebhooks import files
from sfwebhooks.config import settings as config
from sfwebhooks.config.endpoint import sourced
from sfwebhooks.config.location import disabled, find_file, missing, named
from sfwebhooks.config.values import receiver_secrets, whole_number
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import ConfigError
from sfwebhooks.events import clean_text
from sfwebhooks.host.hosts import used_folder
from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.postgres.dsn import Place
from sfwebhooks.scan.host_address import use_database
from sfwebhooks.scan.own_host import saved_options

T = TypeVar("T")


def add_config(command: argparse.ArgumentParser) -> None:
    """Add the options for the places of configuration and data."""
    command.add_argument("--config", default="", metavar="FILE", help="the file with the [webhooks] settings")
    add_data(command)


def add_data(command: argparse.ArgumentParser) -> None:
    """Add the option for the data folder."""
    command.add_argument(
        "--folder",
        type=Path,
        metavar="DIR",
        help="SpiderFoot's data folder; default: that of the SpiderFoot with the module, or $SPIDERFOOT_DATA",
    )


def add_json(command: argparse.ArgumentParser, words: str = "print the result as a JSON object") -> None:
    """Add the option for output that programs read."""
    command.add_argument("--json", action="store_true", help=words)


def add_secret(command: argparse.ArgumentParser) -> None:
    """Add the option for the secrets of a receiver."""
    command.add_argument(
        "--secret", action="append", default=[], help="verify with it: text, whpk_ key, env:NAME, file:PATH"
    )


def add_verbosity(command: argparse.ArgumentParser) -> None:
    """Add the options of every command for what it prints besides its result."""
    known = command._option_string_actions
    if "--quiet" not in known:
        words = "print only problems, and what was asked for"
        command.add_argument("-q", "--quiet", action="store_true", help=words)
    if "--verbose" not in known:
        words = "log each attempt, also successful ones, to standard error"
        command.add_argument("-v", "--verbose", action="store_true", help=words)


class _StandardError(logging.Handler):
    """Writes lines to what standard error is at the time: a progress bar replaces it, to stay below the lines."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line."""
        try:
            print(self.format(record), file=sys.stderr, flush=True)
        except Exception:  # a closed terminal must not end the work
            self.handleError(record)


def show_log(given: argparse.Namespace) -> None:
    """Show log lines on standard error, as the command does by default, or as --quiet and --verbose ask."""
    lines = _StandardError()
    lines.setFormatter(logging.Formatter(given.log_form))
    logging.basicConfig(handlers=[lines], level=logging.WARNING if given.quiet else given.log_level)
    if given.verbose:  # ours only: others show URLs, which may be secrets
        logging.getLogger("spiderfoot.webhooks").setLevel(logging.DEBUG)


def folder(given: argparse.Namespace) -> Path:
    """Return the data folder that the command line names, or that of the SpiderFoot with the module.

    Raises:
        ConfigError: there is no such folder, or several SpiderFoots have the module.
    """
    if given.folder and not os.path.isdir(given.folder):  # noqa: PTH112  # Path.is_dir raises without permission
        raise ConfigError(f"--folder {given.folder}: there is no such folder")
    return given.folder or used_folder()


def settings(given: argparse.Namespace) -> config.Settings:
    """Return the settings that the command line names.

    Raises:
        ConfigError: there is no configuration.
    """
    found = config.load(settings_file(given))
    use_database(found.host_database)
    return found


def settings_file(given: argparse.Namespace) -> Path:
    """Return the configuration file that the command line names.

    Raises:
        ConfigError: there is none.
    """
    if given.config:
        return named(given.config)
    place = folder(given)
    path = find_file(saved_options(place).get("config", ""), place)
    if path is None:
        raise missing(place)
    return path


def known_settings(given: argparse.Namespace) -> config.Settings | None:
    """Return the settings that the command line names, or None if they cannot be read."""
    with suppress(ConfigError):
        return settings(given)
    return None


def outbox_place(given: argparse.Namespace) -> Place:
    """Return where the outbox is: as the settings that the command line names say, without settings in the data folder.

    Raises:
        ConfigError: there is no such folder, or a mistake in the settings makes the place unknown.
    """
    found, place = known_settings(given), folder(given)
    return found.place(place) if found else place / FILE


def said(parse: Callable[[str], T]) -> Callable[[str], T]:
    """Return a parser for argparse that shows the user the accepted values."""

    def read(text: str) -> T:
        try:
            return parse(text)
        except (ValueError, OverflowError) as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return read


def demand_prometheus(what: str) -> None:
    """Check that the package for metrics is installed.

    Args:
        what: the command or option that needs it.

    Raises:
        ConfigError: it is not.
    """
    if find_spec("prometheus_client") is None:
        raise ConfigError(f"{what} requires another package: pip install 'sfwebhooks[metrics]'")


def parsed_address(text: str) -> tuple[str, int]:
    """Read an IP address and a port, such as 127.0.0.1:9464 or [::1]:9464."""
    host, _, port = text.rpartition(":")
    host = "127.0.0.1" if host == "localhost" else host
    try:
        address = str(ipaddress.ip_address(host[1:-1] if host[:1] + host[-1:] == "[]" else host))
        return address, whole_number(0, 65535)(port)
    except ValueError as error:
        raise ValueError("expected an IP address and a port, such as 127.0.0.1:9464 or [::1]:9464") from error


def demand_sending(found: config.Settings | None = None) -> None:
    """Check that sending is not switched off.

    Raises:
        ConfigError: the environment or the given settings switch it off.
    """
    if disabled():
        raise ConfigError("SFWEBHOOKS_DISABLED is set: nothing is sent")
    if found and found.enabled is False:
        raise ConfigError(f"{found.file}: webhooks are off (enabled = false): nothing is sent")


def endpoint_named(given: argparse.Namespace, name: str) -> Endpoint:
    """Return an endpoint of the configuration that the command line names.

    Raises:
        ConfigError: there is no configuration, or no usable endpoint of that name in it.
    """
    return settings(given).usable(name)


def named_content(name: str, most: int) -> bytes:
    """Return the content of a file, a pipe, or standard input (-) that the command line names.

    Args:
        most: maximum size in bytes.

    Raises:
        OSError: it cannot be read or is larger.
    """
    if name != "-":
        return files.content(Path(name), most, pipes=True)
    if sys.stdin is None:  # it was closed
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    return files.read_at_most(sys.stdin.buffer, most)


def without_mistake(endpoint: Endpoint) -> Endpoint:
    """Return the endpoint if its settings have no mistake.

    Raises:
        ConfigError: they have one.
    """
    if endpoint.mistake:
        raise ConfigError(f'endpoint "{endpoint.name}" has a mistake in its settings: {endpoint.mistake}')
    return endpoint


def named_secrets(texts: Sequence[str]) -> list[str]:
    """Return the texts behind --secret arguments (text, env:NAME or file:PATH), with any spaces around them.

    Raises:
        ConfigError: one of them cannot be read.
    """
    try:
        return [sourced(text, Path(), pipes=True) for text in texts]
    except ValueError as error:
        raise ConfigError(f"--secret: {error}") from error


def known_secrets(texts: Sequence[str]) -> list[str]:
    """Return the forms of the secrets that a receiver verifies with.

    Raises:
        ConfigError: one of them is malformed.
    """
    try:
        if any(clean_text(text) != text for text in texts):
            raise ValueError("expected valid UTF-8 text")
        return [secret.reveal() for text in texts for secret in receiver_secrets(text)]
    except ValueError as error:
        raise ConfigError(f"--secret: {error}") from error
