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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sfwebhooks.assembly import INHERITED, endpoint_of, value
from sfwebhooks.configfile import SECTION, Draft, Entry, Mistake, read, read_mapping
from sfwebhooks.database import Storage
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import ConfigError
from sfwebhooks.hostdb import is_deleted
from sfwebhooks.options import (
    GENERAL_OPTIONS,
    option_for,
)
from sfwebhooks.values import comment_in, nearest, quotes_in


@dataclass(frozen=True)
class Settings:
    """The whole configuration, as far as it is right."""

    endpoints: tuple[Endpoint, ...] = ()
    #: those that are right and have enabled = false
    off: tuple[Endpoint, ...] = ()
    #: True: in every scan; False: in none; None: where the module is chosen
    enabled: bool | None = None
    #: seconds that a scan's process may go on sending after the scan
    drain_timeout: float = 10.0
    #: seconds between two scan_progress of a scan; 0: never
    progress_interval: float = 60.0
    #: how the outbox is kept
    storage: Storage = field(default_factory=Storage)
    #: seconds that delivered messages are kept, and dead letters
    keep_delivered: float = 7 * 86400.0
    keep_dead: float = 90 * 86400.0
    #: names of endpoints that are there and not used: switched off, or wrong
    unused: frozenset[str] = frozenset()
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
        if not is_deleted(path) and (path.name == "webhooks.ini" or _mentions_us(path)):
            return path
    return None


def missing(data_folder: Path) -> ConfigError:
    """Return the error that there is none; it says where one was looked for."""
    return ConfigError(
        f"no configuration: there is no [webhooks] in {data_folder / 'spiderfoot.conf'}, no "
        f"{data_folder / 'webhooks.ini'}, and neither --config nor $SFWEBHOOKS_CONFIG names one"
    )


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
    made = [endpoint_of(name, keys, inherited, draft) for name, keys in draft.endpoints.items()]
    endpoints = tuple(endpoint for endpoint in made if endpoint and endpoint.enabled)
    own = ("enabled", "drain_timeout", "progress_interval", "keep_delivered", "keep_dead")
    values = {key: general[key] for key in own if key in general}
    megabytes = general.get("outbox_max_mb")
    storage = Storage(megabytes * 1_000_000 if megabytes else Storage.max_bytes, general.get("durability", False))
    return Settings(
        endpoints=endpoints,
        off=tuple(endpoint for endpoint in made if endpoint and not endpoint.enabled),
        storage=storage,
        unused=frozenset(draft.endpoints) - {endpoint.name for endpoint in endpoints},
        file=file,
        mistakes=tuple(draft.mistakes),
        warnings=(*_warnings(draft, file), *_unverified(endpoints)),
        **values,
    )


def _general(draft: Draft) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the values of [webhooks] itself, and what endpoints inherit."""
    values: dict[str, Any] = {}
    inherited: dict[str, Any] = {}
    for key, entry in draft.general.items():
        option = option_for(key)
        if key in GENERAL_OPTIONS:
            values.update(value(GENERAL_OPTIONS[key], key, entry, draft))
        elif option and option.inherited:
            inherited.update(value(option, key, entry, draft))
        else:
            hint = nearest(key, [*GENERAL_OPTIONS, *INHERITED])
            draft.wrong(entry, f"there is no such key in [{SECTION}].{hint}")
            draft.broken[""].update(name for name in ("enabled", *INHERITED) if f'"{name}"' in hint)
    return values, inherited


def _warnings(draft: Draft, file: Path | None) -> Iterator[str]:
    entries = [*draft.general.values(), *(entry for keys in draft.endpoints.values() for entry in keys.values())]
    for entry in entries:
        name, key = entry.place
        if key not in draft.broken[name]:
            yield from (f"[{draft.section_of(entry)}] {entry.shown_key}: {text}" for text in _doubts(entry))
    if file and not (entries or draft.endpoints or draft.mistakes):
        yield f"{file} sets nothing: it has no [{SECTION}] section, or an empty one"
    written = any(map(_is_written_secret, entries))
    if file and os.name == "posix" and written and _mode(file) & (stat.S_IRGRP | stat.S_IROTH):
        yield f"{file} holds secrets and can be read by others: chmod 600 {file}"


def _mode(file: Path) -> int:
    """Return who may do what with a file; nobody anything with one that was taken away since it was read."""
    try:
        return file.stat().st_mode
    except OSError:
        return 0


def _unverified(endpoints: tuple[Endpoint, ...]) -> Iterator[str]:
    for endpoint in endpoints:
        if not endpoint.verify_tls:
            yield f"{endpoint.name} has verify_tls = false: anybody on the way can read and change its messages"


def _doubts(entry: Entry) -> Iterator[str]:
    """Yield what a right value seems to have in it by mistake."""
    comment = comment_in(entry.text) if _is_written_secret(entry) else ""
    if comment:
        yield f"{comment}; so far it is a part of the value"
    quotes = quotes_in(entry.text.splitlines())
    if quotes:
        yield f"{quotes}; so far they are a part of it"


def _is_written_secret(entry: Entry) -> bool:
    """Say whether a secret stands in the settings themselves."""
    option = option_for(entry.place[1])
    return bool(option and option.secret) and not entry.text.startswith(("env:", "file:"))
