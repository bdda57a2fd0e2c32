"""An endpoint is put together: its own keys and inherited ones come in; an Endpoint goes out, or its mistakes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sfwebhooks.addresses import literal, refusal
from sfwebhooks.configfile import SECTION, Draft, Entry
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import clean_text
from sfwebhooks.formats import BATCHES, CHATS
from sfwebhooks.masking import shown_name
from sfwebhooks.naming import NAMINGS
from sfwebhooks.options import ENDPOINT_OPTIONS, OPEN_OPTIONS, Option, name_problem, option_for
from sfwebhooks.values import WrongWordsError, comment_in, nearest, quotes_in, words
from sfwebhooks.values import path as file_name

#: of an endpoint; a command would take one that begins with - for an option
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}")
NAME_RULE = (
    "an endpoint's name has up to 64 of A-Z, a-z, 0-9, _ and -, does not begin with -, and is not header or metadata"
)
INHERITED = [*OPEN_OPTIONS, *(name for name, option in ENDPOINT_OPTIONS.items() if option.inherited)]
#: key -> the formats that it makes sense with
ONLY_WITH = {"batch_size": tuple(BATCHES), "headers": ("generic",)}
#: the other way to say what retry_schedule says
COUNTED_RETRIES = {"max_retries", "retry_delay"}
#: seconds between two messages in a chat: Slack, for one, takes no more
CHAT_SECONDS = 1.0
STEMS = {name.rstrip(".") for name in INHERITED}


def value(option: Option, key: str, entry: Entry, draft: Draft) -> dict[str, Any]:
    """Return {key: value}, or nothing and a mistake."""
    problem = name_problem(key)
    try:
        text = resolved(entry.text, draft.folder) if option.secret else entry.text
        if clean_text(text) != text:
            problem = "accepted: text that UTF-8 can write"
        if problem:
            raise ValueError(problem)
        value = option.parse(text)
    except ValueError as error:
        quotes = quotes_in([entry.text, *words(entry.text)])
        said = filter(None, (quotes, str(error), comment_in(entry.text)))
        if isinstance(error, WrongWordsError):
            entry = replace(entry, text=", ".join(error.words))
        draft.wrong(entry, "; ".join(said), show=not option.secret)
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
            raise ValueError(f"the environment variable {shown_name(name)} is not set")
        return os.environ[name]
    if kind == "file" and name:
        path = folder / file_name(name)
        try:
            return path.read_text(encoding="utf-8-sig").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", "not UTF-8")
            raise ValueError(f"{folder / file_name(shown_name(name))} cannot be read: {why}") from error
    return text


def endpoint_of(name: str, own: Mapping[str, Entry], inherited: Mapping[str, Any], draft: Draft) -> Endpoint | None:
    """Return the endpoint, or None if it has a mistake, its own or an inherited one."""
    place = Entry(f"{SECTION}.{name}", "", "")
    if not NAME.fullmatch(name) or f"{name}." in OPEN_OPTIONS:
        draft.wrong(place, NAME_RULE)
    if "url" not in own:
        others = [*(other for other in draft.endpoints if other != name), "header", "metadata"]
        draft.wrong(place, f"this endpoint has no url.{nearest(name, others)}")
    for key in sorted(draft.broken[""]):
        if key in ("", "enabled") or (key not in own and key.partition(".")[0] in STEMS):
            shown = Entry(SECTION, key, "").shown_key
            draft.wrong(place, f"left out, since {shown or 'something'} is wrong in [{SECTION}]")
    values = {key: value for key, value in inherited.items() if not _is_overruled(key, value, name, own)}
    for key, entry in own.items():
        option = option_for(key)
        if option:
            values.update(value(option, key, entry, draft))
        else:
            draft.wrong(entry, f"there is no such key.{_hint(key)}")
    for key, formats in ONLY_WITH.items():
        if key not in own and values.get("format", "generic") not in formats:
            values.pop(key, None)  # it was meant for the others
    for problem in _contradictions(name, values, draft):
        draft.wrong(place, problem)
    return None if draft.broken[name] else _made(name, values)


def _hint(key: str) -> str:
    stem, dot, _ = key.partition(".")
    return (nearest(stem + dot, OPEN_OPTIONS) if dot else "") or nearest(key, [*ENDPOINT_OPTIONS, *OPEN_OPTIONS])


def _is_overruled(key: str, value: object, name: str, own: Mapping[str, Entry]) -> bool:
    """Say whether an endpoint does not inherit a value, since it has another one for the same matter."""
    if key == "retry_schedule":
        return bool(own.keys() & COUNTED_RETRIES)
    return (key in COUNTED_RETRIES and "retry_schedule" in own) or (key == "fallback" and value == name)


def _contradictions(name: str, values: Mapping[str, Any], draft: Draft) -> Iterator[str]:
    if "retry_schedule" in values and COUNTED_RETRIES & values.keys():
        yield "retry_schedule says it all: leave max_retries and retry_delay away"
    if values.get("batch_size", 1) > 1 and values.get("format", "generic") not in BATCHES:
        yield f"batch_size needs one of the formats {', '.join(BATCHES)}"
    if NAMINGS[values.get("headers", Endpoint.naming)].dotted and values.get("format", "generic") != "generic":
        yield f"headers = {values['headers']} has an envelope of its own, and needs format = generic"
    fallback = values.get("fallback")
    if fallback and (fallback == name or fallback not in draft.endpoints):
        others = [other for other in draft.endpoints if other != name]
        yield f"fallback must be the name of another endpoint: {', '.join(others) or 'there is none'}"
    if values.get("client_key") and not values.get("client_cert"):
        yield "client_key needs client_cert beside it"
    if values.get("client_cert") and "url" in values and values["url"].reveal()[:5].lower() == "http:":
        yield "client_cert needs an https:// url: a certificate cannot be shown over http://"
    refused = _refused(values)
    if refused:
        yield refused


def _refused(values: Mapping[str, Any]) -> str:
    """Return why the network policy never lets the URL's address be connected to; a name is judged by `route`."""
    address = literal(urlsplit(values["url"].reveal()).hostname or "") if "url" in values else ""
    return refusal(address, values.get("allow_private", Endpoint.allow_private)) if address else ""


def _made(name: str, values: dict[str, Any]) -> Endpoint:
    """Return the endpoint of values that are right: key -> value, with header.NAME and metadata.NAME."""
    fields: dict[str, Any] = {"name": name, "headers": {}, "metadata": {}}
    if values.get("format") in CHATS:
        fields |= {"concurrency": 1, "interval": CHAT_SECONDS}
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
