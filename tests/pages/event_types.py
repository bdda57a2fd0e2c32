"""The page of all event types: the catalogue comes in, each type with its fields and an example goes out."""

from __future__ import annotations

from collections.abc import Iterator

from sfwebhooks.catalogue import EVENT_TYPES, EventType
from sfwebhooks.catalogue.fields import Field
from sfwebhooks.cli.events import pretty
from tests.pages import MARK, cell, table

INTRODUCTION = f"""# Event types

{MARK}

Each type with the fields of its `data` and an example in the format `generic`, as `sfwebhooks events TYPE` shows them.
[Events and payloads](events.md) explains what all of them have in common. `events` of an endpoint takes names, aliases
and patterns.
"""


def page() -> str:
    """Return the page."""
    return "\n".join([INTRODUCTION, *(line for entry in EVENT_TYPES for line in _section(entry))]).rstrip() + "\n"


def _section(entry: EventType) -> Iterator[str]:
    severities = ", ".join(one.label for one in reversed(entry.severities)) or "varies"
    alias = f"Alias: `{entry.alias}`. " if entry.alias != entry.name else ""
    sender = entry.sender.value
    yield from (f"## {entry.name}", "", f"{entry.summary} {alias}Severity: {severities}. Sent by: {sender}.", "")
    yield from _fields(entry.fields)
    if entry.by_others not in ((), entry.fields):
        yield from ("If another tool reports it, with `sfwebhooks emit`:", "", *_fields(entry.by_others))
    yield from ("```json", pretty(entry, entry.name), "```", "")


def _fields(fields: tuple[Field, ...]) -> list[str]:
    rows = []
    for field in fields:
        rows.append((f"`{field.name}`", _type(field), _meaning(field)))
        rows += [(f"`{field.name}.{part.name}`", _type(part), _meaning(part)) for part in field.parts]
    return table("field | type | meaning", rows)


def _type(field: Field) -> str:
    null = " or null" if field.nullable else ""
    return f"{field.type} of {field.of}{null}" if field.of else field.type + null


def _meaning(field: Field) -> str:
    added = " Added if the other tool does not provide it." if field.added else ""
    return cell(field.meaning + (f" Only if {field.when}." if field.when else "") + added)
