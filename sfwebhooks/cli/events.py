"""`sfwebhooks events`: the event types as a table; for one type, its fields and an example message."""

from __future__ import annotations

import argparse
import json
from typing import Any

from rich.console import Console
from rich.text import Text

from sfwebhooks.catalogue import EVENT_TYPES, EventType, type_named
from sfwebhooks.catalogue.fields import Field
from sfwebhooks.catalogue.json_schema import document
from sfwebhooks.config.values import nearest
from sfwebhooks.endpoints import EVENT_NAMES
from sfwebhooks.errors import WebhooksError
from sfwebhooks.examples import ENDPOINT, example
from sfwebhooks.formats import generic
from sfwebhooks.inspection.type_fields import fields_of_type
from sfwebhooks.terminal.arguments import add_json
from sfwebhooks.terminal.output import as_json, console, plain, stacked, table

#: terminal width from which the alias has its own column
WIDE = 130


def add(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        "events",
        help="list the event types; with TYPE: its fields and an example",
        description="List the event types; with TYPE, show its fields and an example message.",
        epilog="examples:\n  sfwebhooks events scan_completed\n  sfwebhooks events --schema",
    )
    command.add_argument("type", nargs="?", metavar="TYPE", help="name or alias, such as scan_completed")
    command.add_argument("--schema", action="store_true", help="instead, print the JSON Schema (2020-12) of messages")
    add_json(command, "print one JSON object per line")
    command.set_defaults(run=_events)


def _events(given: argparse.Namespace) -> int:
    entry = None if given.type is None else type_named(given.type)
    if given.type is not None and not entry:
        raise WebhooksError(f"no event type is called {given.type!r}.{nearest(given.type.lower(), EVENT_NAMES)}")
    if given.schema:
        print(json.dumps(document([entry] if entry else EVENT_TYPES), indent=2))
    elif given.json:
        for one in [entry] if entry else EVENT_TYPES:
            console().print(plain(as_json(fields_of_type(one))), soft_wrap=True)
    elif entry:
        print_type(entry, given.type, console())
    else:
        print_types(console())
    return 0


def print_types(out: Console) -> None:
    """Show all types; on a narrow terminal the alias is below its name."""
    columns = ("name", "alias") if out.width >= WIDE else ("name / alias",)
    rows = table(*columns, "meaning", "severity", "sent by", whole=columns)
    for entry in EVENT_TYPES:
        rows.add_row(*_names(entry, len(columns)), plain(entry.summary), _severities(entry), _sender(entry))
    out.print(rows)
    out.print()
    out.print("sfwebhooks events TYPE shows a type's fields and an example.")


def _names(entry: EventType, columns: int) -> list[Text]:
    name, alias = plain(entry.name, "bold"), plain(entry.alias)
    if columns > 1:
        return [name, alias]
    return [name if entry.alias == entry.name else stacked(name, alias)]


def _severities(entry: EventType) -> str:
    labels = ", ".join(severity.label for severity in reversed(entry.severities))
    return labels or "varies"


def _sender(entry: EventType) -> Text:
    return plain(entry.sender.value.partition(";")[0])


def print_type(entry: EventType, asked: str, out: Console) -> None:
    """Show a type with its fields and its example, under the name that was asked for."""
    alias = f" (alias {entry.alias})" if entry.alias != entry.name else ""
    out.print(Text.assemble(plain(entry.name, "bold"), alias))
    out.print(plain(entry.summary))
    out.print()
    out.print(plain(f"severity  {_severities(entry)}"))
    out.print(plain(f"sent by   {entry.sender.value}"))
    out.print()
    out.print(plain("Fields of data:"))
    _print_fields(entry.fields, out)
    out.print()
    if entry.by_others not in ((), entry.fields):
        out.print("Fields of data if another tool reports it, with sfwebhooks emit:")
        _print_fields(entry.by_others, out)
        out.print()
    out.print(plain("Example in the generic format:"))
    out.print(Text(pretty(entry, asked)), soft_wrap=True)


def _print_fields(fields: tuple[Field, ...], out: Console) -> None:
    conditions = list(dict.fromkeys(field.when for field in fields if field.when))
    rows = table("field", "type", "always", "meaning", whole=("field",))
    for field in fields:
        always = "added" if field.added else "yes" if field.required else f"({conditions.index(field.when) + 1})"
        rows.add_row(plain(field.name), _type(field), always, plain(field.meaning))
        for part in field.parts:
            rows.add_row(plain(f"  .{part.name}"), _type(part), "", plain(part.meaning))
    out.print(rows)
    if any(field.added for field in fields):
        out.print("added: sfwebhooks adds it if the other tool does not provide it")
    for number, condition in enumerate(conditions, 1):
        out.print(plain(f"({number}) only if {condition}"))


def _type(field: Field) -> str:
    null = " or null" if field.nullable else ""
    return f"{field.type} of {field.of}{null}" if field.of else field.type + null


def pretty(entry: EventType, name: str) -> str:
    """Return the example's message as indented JSON, with the values as they are sent."""
    body = generic.render(example(entry, name), ENDPOINT).body
    return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
