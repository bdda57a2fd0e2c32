"""The event types, the keys of an endpoint and the formats as fields for JSON: what a page or a program needs to offer
them in a form."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from sfwebhooks.catalogue import EventType
from sfwebhooks.catalogue.fields import Field
from sfwebhooks.config.options import OPEN_OPTIONS, Option, all_options, formats_with, own_options
from sfwebhooks.examples import ENDPOINT, example
from sfwebhooks.formats import FORMATS, HOSTS, generic

#: the end of an option's meaning: its default
DEFAULT = re.compile(r" \(([^()]+)\)$")


def fields_of_type(entry: EventType) -> dict[str, Any]:
    """Return an event type in a list."""
    return {
        "name": entry.name,
        "alias": entry.alias,
        "meaning": entry.summary,
        "severities": [severity.label for severity in reversed(entry.severities)],
        "sent_by": entry.sender.value,
    }


def type_in_detail(entry: EventType) -> dict[str, Any]:
    """Return an event type with the fields of its data and an example in the generic format."""
    return {
        **fields_of_type(entry),
        "fields": _fields(entry.fields),
        "by_others": _fields(entry.by_others),
        "example": json.loads(generic.render(example(entry, entry.name), ENDPOINT).body),
    }


def _fields(fields: Iterable[Field]) -> list[dict[str, Any]]:
    return [
        {
            "name": one.name,
            "type": one.type,
            "of": one.of or None,
            "nullable": one.nullable,
            "always": one.required,
            "added": one.added,
            "when": one.when or None,
            "meaning": one.meaning,
            "choices": [*one.choices],
            "parts": _fields(one.parts),
        }
        for one in fields
    ]


def endpoint_options() -> list[dict[str, Any]]:
    """Return the keys of an endpoint; one that ends in a dot takes a name of the user's own after it."""
    own = own_options()
    return [_option(one, formats_with(one.name) if one.name in own else []) for one in all_options().values()] + [
        _option(one, []) for one in OPEN_OPTIONS.values()
    ]


def _option(option: Option, formats: list[str]) -> dict[str, Any]:
    only = f" (only {', '.join(formats)})" if formats else ""
    meaning = option.meaning[: len(option.meaning) - len(only)] if only else option.meaning
    found = DEFAULT.search(meaning)
    needed = [name for name in formats if any(key.name == option.name and key.needed for key in FORMATS[name].keys)]
    return {
        "name": option.name,
        "meaning": meaning[: found.start()] if found else meaning,
        "default": found[1] if found else None,
        "accepted": accepted_by(option),
        "secret": option.secret,
        "inherited": option.inherited,
        "formats": formats,
        "needed_by": needed,
    }


def accepted_by(option: Option) -> str:
    """Return what an option's value may be, in the words of its error for one that none accepts; empty: any text."""
    try:
        option.parse("\n\0")
    except ValueError as error:
        return str(error)
    return ""


def known_formats() -> list[dict[str, Any]]:
    """Return the formats, each with the hosts that accept no other one, and the keys that only it has."""
    return [
        {
            "name": name,
            "is_chat": one.is_chat,
            "hosts": [*HOSTS[name]],
            "batches": one.join is not None,
            "keys": [key.name for key in one.keys],
            "needed": [key.name for key in one.keys if key.needed],
        }
        for name, one in FORMATS.items()
    ]
