"""`sfwebhooks list`: the endpoints of the settings."""

from __future__ import annotations

import argparse
from typing import Any

from rich.console import Console

from sfwebhooks.config.settings import Settings
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import ConfigError
from sfwebhooks.inspection.filter_words import profile_of
from sfwebhooks.terminal.arguments import add_config, add_json, settings
from sfwebhooks.terminal.output import as_json, console, plain, table
from sfwebhooks.terminal.profiles import print_profiles
from sfwebhooks.text import amount


def add(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        "list",
        help="list the endpoints of the settings",
        description="List the endpoints of the settings, without their secrets, with their filters, how messages reach"
        " them, and what is redacted for them. sfwebhooks check also shows whether they can be used.",
        epilog="example:\n  sfwebhooks list --json",
    )
    add_json(command, "print one JSON object per line")
    add_config(command)
    command.set_defaults(run=_list)


def _list(given: argparse.Namespace) -> int:
    found, out = settings(given), console()
    known = sorted(found.known, key=lambda endpoint: endpoint.name)
    unknown = sorted(found.unused - {endpoint.name for endpoint in known})
    if found.mistakes and not (known or unknown):
        raise ConfigError(str(found.mistakes[0]))
    if given.json:
        for endpoint in known:
            out.print(plain(as_json(_fields(endpoint))), soft_wrap=True)
        for name in unknown:
            out.print(plain(as_json({"name": name, "mistake": "its name or its events are wrong"})), soft_wrap=True)
        return 0
    _print(known, unknown, found, out)
    return 0


def _fields(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "name": endpoint.name,
        "to": endpoint.place,
        "format": endpoint.format,
        "events": list(endpoint.events),
        "enabled": endpoint.enabled,
        "description": endpoint.description,
        **{label: profile_of(endpoint)[label] for label in ("filters", "messages", "redacted")},
        "mistake": endpoint.mistake or None,
    }


def _print(known: list[Endpoint], unknown: list[str], found: Settings, out: Console) -> None:
    rows = table("endpoint", "to", "format", "events", "state", whole=("state",))
    for endpoint in known:
        on = plain("mistake", "red") if endpoint.mistake else plain("on", "green")
        state = on if endpoint.enabled else plain("off", "yellow")
        events = ", ".join(endpoint.events)
        rows.add_row(plain(endpoint.name, "bold"), plain(endpoint.place), endpoint.format, plain(events), state)
    for name in unknown:
        rows.add_row(plain(name, "bold"), "", "", "", plain("mistake", "red"))
    if known or unknown:
        out.print(rows)
        print_profiles(known, out)
    else:
        out.print("No endpoints: sfwebhooks create NAME adds one.")
    if found.mistakes:
        out.print(plain(f"{amount(len(found.mistakes), 'mistake')}: sfwebhooks check shows what is wrong.", "red"))
    if found.enabled is False:
        out.print(plain("Webhooks are off (enabled = false in [webhooks]).", "yellow"))
