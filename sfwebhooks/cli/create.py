"""`sfwebhooks create`: a new endpoint, from options, from answers at a terminal, or from its URL alone."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from sfwebhooks.config.applying import NEW, demand_private, secret_file
from sfwebhooks.config.draft import Draft
from sfwebhooks.config.editing import Edit
from sfwebhooks.config.endpoint import NAME, NAME_RULE
from sfwebhooks.config.exposure import exposed, formats_at, is_source
from sfwebhooks.config.file import read_settings
from sfwebhooks.config.lists import event_words
from sfwebhooks.config.options import OPEN_OPTIONS
from sfwebhooks.config.values import one_of
from sfwebhooks.endpoints import DEFAULT_EVENTS
from sfwebhooks.errors import ConfigError
from sfwebhooks.files import is_deleted
from sfwebhooks.formats import FORMATS
from sfwebhooks.terminal.arguments import add_config, settings_file
from sfwebhooks.terminal.asking import can_ask, confirmed, secret_answer, typed_answer
from sfwebhooks.terminal.editing import add_values, demand_url, given_values, known_url, write_edit
from sfwebhooks.terminal.output import console, plain

#: exit code if the endpoint was created, and its test message was not delivered
UNTESTED = 3
#: events of an endpoint that people read
CHAT_EVENTS = "high_risk_event, vulnerability_found, correlation_found, scan_completed, scan_failed"
#: keys by which a receiver recognises the sender
CREDENTIALS = ("secret", "api_key", "password", "client_secret")


@dataclass(frozen=True)
class Present:
    """The settings to which an endpoint is added."""

    path: Path
    #: names of endpoints
    names: frozenset[str]
    #: keys of [webhooks], which an endpoint inherits
    general: Mapping[str, str]

    def demand_free(self, name: str) -> None:
        """Check that an endpoint can have a name.

        Raises:
            ValueError: it cannot.
        """
        if not NAME.fullmatch(name) or f"{name}." in OPEN_OPTIONS:
            raise ValueError(f"{NAME_RULE}: choose another one")
        if name in self.names:
            raise ValueError(f'there is already an endpoint "{name}": sfwebhooks update {name} changes it')


def add(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        "create",
        help="add an endpoint to the settings, and test it",
        description="Add an endpoint to the settings, and send it a test message. Without --url or --from it asks for"
        " everything at the terminal. Exit code: 3 if the endpoint was created but the test message was not delivered.",
        epilog="examples:\n  sfwebhooks create siem --url https://siem.example.com/ --secret new\n"
        "  sfwebhooks create --from env:SLACK_URL",
    )
    command.add_argument("name", nargs="?", metavar="NAME", help="its name (with --from: that of its format)")
    command.add_argument(
        "--from",
        dest="source",
        metavar="SOURCE",
        help="the URL of a service, as env:NAME or file:PATH: its format and events follow from it",
    )
    add_values(command)
    command.add_argument("--no-test", action="store_true", help="do not send a test message")
    add_config(command)
    command.set_defaults(run=_create, error=command.error, test=lambda words: _run(commands.choices["test"], words))


def _run(command: argparse.ArgumentParser, words: list[str]) -> int:
    given = command.parse_args(words)
    return int(given.run(given))


def _create(given: argparse.Namespace) -> int:
    present, out = _present(settings_file(given)), console(given.quiet)
    asks = can_ask() and not given.source and given.url is None
    if not (given.source or asks or given.url is not None):
        given.error("--url is missing: there is no terminal to ask for it")
    if not (given.name or given.source or asks):
        given.error("NAME is missing")
    name = _named(given, present)
    values = given_values(given)
    if given.source:
        name = _from_source(given.source, name, values, present)
    elif asks:
        _ask_all(values, name, present)
    elif "format" not in values:
        values.update(_recognised(values["url"], present))
    _ask_needed(values, present)
    write_edit(given, Edit(name, values, is_new=True), out, "Created")
    if given.no_test:
        out.print(plain(f"Test it with: sfwebhooks test {name}"))
        return 0
    places = ["--config", str(present.path), *(["--folder", str(given.folder)] if given.folder else [])]
    places += ["--quiet"] if given.quiet else []
    return UNTESTED if given.test([name, *places]) else 0


def _named(given: argparse.Namespace, present: Present) -> str:
    """Return the name that is given or asked for; nothing if it follows from the URL.

    Raises:
        ConfigError: an endpoint cannot have it.
    """
    try:
        if given.name:
            present.demand_free(given.name)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return given.name or ("" if given.source else typed_answer("Name of the endpoint", parse=present.demand_free))


def _recognised(text: str, present: Present) -> dict[str, str]:
    """Return the format of a URL's host as a value, if there is only one that it accepts."""
    found = formats_at(known_url(text, present.path.parent))
    return {"format": found[0]} if len(found) == 1 else {}


def _present(path: Path) -> Present:
    draft = Draft(str(path), path.parent)
    try:
        read_settings(path, draft)
    except ConfigError as error:
        raise ConfigError(f"{path} {error}: sfwebhooks init creates a file") from error
    return Present(path, frozenset(draft.endpoints), {key: entry.text for key, entry in draft.general.items()})


def _from_source(source: str, name: str, values: dict[str, str], present: Present) -> str:
    """Add the values of an endpoint that follow from its URL; return its name.

    Raises:
        ConfigError: the URL cannot be read, or says nothing about its format.
    """
    if not is_source(source):
        raise ConfigError("--from: other users can see the arguments of a command: use env:NAME or file:PATH")
    if "url" in values:
        raise ConfigError("--from and --url exclude each other")
    values["url"] = source.strip()
    found = _recognised(source, present)
    if not found and "format" not in values:
        raise ConfigError(
            f"--from {values['url']}: its host belongs to no service that is known; add --format, one of"
            f" {', '.join(FORMATS)}"
        )
    chosen = values.setdefault("format", found.get("format", ""))
    if _is_chat(chosen):
        values.setdefault("events", CHAT_EVENTS)
    return name or _free_name(chosen.replace("-", "_"), present.names)


def _is_chat(name: str) -> bool:
    return name in FORMATS and FORMATS[name].is_chat


def _free_name(name: str, taken: frozenset[str]) -> str:
    return next(one for number in count(1) if (one := name if number == 1 else f"{name}_{number}") not in taken)


def _ask_all(values: dict[str, str], name: str, present: Present) -> None:
    """Ask for the values that were not given."""
    values["url"] = secret_answer(
        f"URL of {name}, or env:NAME or file:PATH", lambda text: demand_url(text, present.path.parent)
    )
    if exposed("url", values["url"]):
        demand_private(present.path)
    usual = present.general.get("format", "generic")
    found = _recognised(values["url"], present).get("format", usual)
    if "format" not in values:
        values["format"] = typed_answer("Format", found, one_of(FORMATS))
    is_chat = _is_chat(values["format"])
    if "events" not in values:
        usual = present.general.get("events") or (CHAT_EVENTS if is_chat else ", ".join(DEFAULT_EVENTS))
        values["events"] = typed_answer("Events", ", ".join(usual.splitlines()), event_words)
    if is_chat or any(key in values or key in present.general for key in CREDENTIALS):
        return
    is_new = is_deleted(secret_file(present.path, name))
    if confirmed(f"Sign its messages with {'a new' if is_new else 'the'} secret, in {name}.secret?", default=True):
        values["secret"] = NEW if is_new else f"file:{name}.secret"


def _ask_needed(values: dict[str, str], present: Present) -> None:
    """Ask for the keys that the format needs, if there is a terminal; else the check of the settings names them."""
    chosen = values.get("format", present.general.get("format", "generic"))
    if not can_ask() or chosen not in FORMATS:
        return
    for key in FORMATS[chosen].keys:
        if key.needed and key.name not in values:
            question = f"{key.name}, {key.meaning}"
            values[key.name] = secret_answer(question) if key.secret else typed_answer(question)
