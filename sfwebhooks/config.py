"""The configuration: a Draft of what was written comes in, Settings with their Mistakes go out.

Nothing raises for a wrong value: every mistake is collected with its place, an endpoint with a mistake is left
out, and the right ones work. A mistake in [webhooks] leaves out the endpoints that would inherit it, since going
on without a secret or a client certificate that was meant to be there would be worse than not sending.
"""

from __future__ import annotations

import html
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sfwebhooks.configfile import SECTION, Draft, Entry, Mistake, read, read_mapping
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import ConfigError
from sfwebhooks.events import clean_text
from sfwebhooks.formats import CHATS
from sfwebhooks.options import (
    ENDPOINT_OPTIONS,
    GENERAL_OPTIONS,
    OPEN_OPTIONS,
    Option,
    header_problem,
    nearest,
    option_for,
)
from sfwebhooks.options import path as file_name

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
INHERITED = [*OPEN_OPTIONS, *(name for name, option in ENDPOINT_OPTIONS.items() if option.inherited)]
STEMS = {name.rstrip(".") for name in INHERITED}


@dataclass(frozen=True)
class Settings:
    """The whole configuration, as far as it is right."""

    endpoints: tuple[Endpoint, ...] = ()
    #: True: in every scan; False: in none; None: where the module is chosen
    enabled: bool | None = None
    #: seconds that a scan's process may go on sending after the scan
    drain_timeout: float = 10.0
    file: Path | None = None
    mistakes: tuple[Mistake, ...] = ()
    #: usable, but worth a look
    warnings: tuple[str, ...] = ()


def find(option: str, data_folder: Path) -> Path | None:
    """Return the configuration file to use: the module's option, $SFWEBHOOKS_CONFIG, or one in the data folder."""
    for given in (html.unescape(option), os.environ.get("SFWEBHOOKS_CONFIG", "")):
        if given:
            return Path(os.path.expanduser(given))  # noqa: PTH111  # Path's own raises for an unknown user
    for path in (data_folder / "spiderfoot.conf", data_folder / "webhooks.ini"):
        if path.exists() and (path.name == "webhooks.ini" or _mentions_us(path)):
            return path
    return None


def _mentions_us(path: Path) -> bool:
    try:
        return re.search(rb"(?m)^\s*\[webhooks[\].]", path.read_bytes()) is not None
    except OSError:
        return True  # unreadable: say so rather than look elsewhere


def disabled() -> bool:
    """Say whether the environment stops everything (SFWEBHOOKS_DISABLED=1)."""
    return os.environ.get("SFWEBHOOKS_DISABLED", "") not in ("", "0")


def active(options: Mapping[str, Any], data_folder: Path) -> Settings | None:
    """Return the settings to use, or None if webhooks are off: by the environment, the module's option, or the file.

    Args:
        options: the module's options `config` and `enabled`, among others.
    """
    if disabled() or options.get("enabled") in (False, 0, "0"):
        return None
    settings = load(find(str(options.get("config") or ""), data_folder))
    return None if settings.enabled is False else settings


def load(path: Path | None) -> Settings:
    """Return the settings of a file; without one, settings without endpoints."""
    if path is None:
        return Settings()
    draft = Draft(str(path), path.parent)
    try:
        read(path, draft)
    except ConfigError as error:
        draft.mistakes.append(Mistake(str(path), "", "", "", str(error)))
    return _settle(draft, path)


def load_mapping(mapping: Mapping[str, Any], name: str = "settings", folder: Path | None = None) -> Settings:
    """Return the settings of a mapping: endpoint name -> its keys, beside the keys of [webhooks]."""
    draft = Draft(name, folder or Path())
    read_mapping(mapping, draft)
    return _settle(draft, None)


def _settle(draft: Draft, file: Path | None) -> Settings:
    general, inherited = _general(draft)
    endpoints = [_endpoint(name, keys, inherited, draft) for name, keys in draft.endpoints.items()]
    return Settings(
        endpoints=tuple(endpoint for endpoint in endpoints if endpoint),
        enabled=general.get("enabled"),
        drain_timeout=general.get("drain_timeout", Settings.drain_timeout),
        file=file,
        mistakes=tuple(draft.mistakes),
        warnings=tuple(_warnings(draft, file)),
    )


def _general(draft: Draft) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the values of [webhooks] itself, and what endpoints inherit."""
    values: dict[str, Any] = {}
    inherited: dict[str, Any] = {}
    for key, entry in draft.general.items():
        option = option_for(key)
        if key in GENERAL_OPTIONS:
            values.update(_value(GENERAL_OPTIONS[key], key, entry, draft))
        elif option and option.inherited:
            inherited.update(_value(option, key, entry, draft))
        else:
            hint = nearest(key, [*GENERAL_OPTIONS, *INHERITED])
            draft.wrong(entry, f"there is no such key in [{SECTION}].{hint}")
            draft.broken[""].update(name for name in ("enabled", *INHERITED) if f'"{name}"' in hint)
    return values, inherited


def _value(option: Option, key: str, entry: Entry, draft: Draft) -> dict[str, Any]:
    """Return {key: value}, or nothing and a mistake."""
    problem = header_problem(key.partition(".")[2]) if option.field == "headers" else ""
    try:
        text = resolved(entry.text, draft.folder) if option.secret else entry.text
        if clean_text(text) != text:
            problem = "accepted: text that UTF-8 can write"
        if problem:
            raise ValueError(problem)
        value = option.parse(text)
    except ValueError as error:
        draft.wrong(entry, str(error), show=not option.secret)
        return {}
    return {key: draft.folder / value if isinstance(value, Path) else value}


def resolved(text: str, folder: Path) -> str:
    """Return the secret that env:NAME or file:PATH stands for, or the text itself.

    Raises:
        ValueError: the variable is not set, or the file cannot be read.
    """
    kind, _, name = text.strip().partition(":")
    if kind == "env" and name:
        if not os.environ.get(name):
            raise ValueError(f"the environment variable {name} is not set")
        return os.environ[name]
    if kind == "file" and name:
        path = folder / file_name(name)
        try:
            return path.read_text(encoding="utf-8-sig").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} cannot be read: {getattr(error, 'strerror', 'not UTF-8')}") from error
    return text


def _endpoint(name: str, own: Mapping[str, Entry], inherited: Mapping[str, Any], draft: Draft) -> Endpoint | None:
    """Return the endpoint, or None if it is switched off or has a mistake, its own or an inherited one."""
    place = Entry(f"{SECTION}.{name}", "", "")
    if not NAME.fullmatch(name) or f"{name}." in OPEN_OPTIONS:
        draft.wrong(place, "an endpoint's name has letters, digits, _ and -, and is not header or metadata")
    if "url" not in own:
        others = [*(other for other in draft.endpoints if other != name), "header", "metadata"]
        draft.wrong(place, f"this endpoint has no url.{nearest(name, others)}")
    for key in sorted(draft.broken[""]):
        if key in ("", "enabled") or (key not in own and key.partition(".")[0] in STEMS):
            draft.wrong(place, f"left out, since {key or 'something'} is wrong in [{SECTION}]")
    values = dict(inherited)
    for key, entry in own.items():
        option = option_for(key)
        if option:
            values.update(_value(option, key, entry, draft))
        else:
            draft.wrong(entry, f"there is no such key.{nearest(key, [*ENDPOINT_OPTIONS, *OPEN_OPTIONS])}")
    for problem in _contradictions(values):
        draft.wrong(place, problem)
    return None if draft.broken[name] or values.pop("enabled", True) is False else _made(name, values)


def _contradictions(values: Mapping[str, Any]) -> Iterator[str]:
    if values.get("client_key") and not values.get("client_cert"):
        yield "client_key needs client_cert beside it"
    if values.get("client_cert") and "url" in values and values["url"].reveal()[:5].lower() == "http:":
        yield "client_cert needs an https:// url: a certificate cannot be shown over http://"


def _made(name: str, values: dict[str, Any]) -> Endpoint:
    """Return the endpoint of values that are right: key -> value, with header.NAME and metadata.NAME."""
    fields: dict[str, Any] = {"name": name, "headers": {}, "metadata": {}}
    if values.get("format") in CHATS:
        fields["concurrency"] = 1
    fields["retry_schedule"] = _schedule(values.pop("retry_delay", None), values.pop("max_retries", None))
    for key, value in values.items():
        option = option_for(key)
        if option and option.name in OPEN_OPTIONS:
            fields[option.field][key.partition(".")[2]] = value
        elif option:
            fields[option.field or option.name] = value
    return Endpoint(**fields)


def _schedule(delay: float | None, retries: int | None) -> tuple[float, ...]:
    """Return the waits before each retry: the default schedule, or `retries` ones that double from `delay` on."""
    default = Endpoint.retry_schedule
    if delay is None:
        return default if retries is None else (default + (default[-1],) * retries)[:retries]
    return tuple(min(delay * 2**step, 86400.0) for step in range(len(default) if retries is None else retries))


def _warnings(draft: Draft, file: Path | None) -> Iterator[str]:
    entries = [*draft.general.values(), *(entry for keys in draft.endpoints.values() for entry in keys.values())]
    written = [e for e in entries if _is_secret(e) and not e.text.startswith(("env:", "file:"))]
    if file and not (entries or draft.endpoints or draft.mistakes):
        yield f"{file} sets nothing: it has no [{SECTION}] section, or an empty one"
    if file and os.name == "posix" and written and file.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        yield f"{file} holds secrets and can be read by others: chmod 600 {file}"


def _is_secret(entry: Entry) -> bool:
    option = option_for(entry.place[1])
    return bool(option and option.secret)
