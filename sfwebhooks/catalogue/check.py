"""Data and a table of fields come in, the mistakes in the data go out: the same verdict as that of the JSON Schema.

That schema is for receivers, which have a validator. One here would add a compiled package for a handful of rules.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sfwebhooks.catalogue.fields import Field

WORDS = {"integer": "an integer", "array": "an array", "object": "an object", "boolean": "true or false"}
#: characters of a wrong value that are shown
SHOWN = 40


def mistakes(data: Mapping[str, Any], fields: tuple[Field, ...], place: str = "data") -> Iterator[str]:
    """Yield the mistakes in an object: where, the value, and what is expected. Unknown keys are fine."""
    for field in fields:
        where = f"{place}.{field.name}"
        if field.name in data:
            yield from _value(data[field.name], field, where)
        elif field.is_lacking_in(data):
            yield f"{where} is missing; expected {_right(field)}"


def _value(value: Any, field: Field, where: str) -> Iterator[str]:
    if value is None and field.nullable:
        return
    if not has_type(value, field.type) or (field.choices and value not in field.choices):
        yield f"{where} is {_shown(value)}; expected {_right(field)}"
    elif field.type == "array":
        for number, item in enumerate(value):
            yield from _part(item, field, f"{where}[{number}]")
    elif field.of:
        for key, item in value.items():
            yield from _part(item, field, f"{where}.{key}")
    elif field.parts:
        yield from mistakes(value, field.parts, where)


def _part(value: Any, field: Field, where: str) -> Iterator[str]:
    """Yield the mistakes in an item of an array, or in a value of an object that can have any key."""
    if not has_type(value, field.of):
        yield f"{where} is {_shown(value)}; expected {WORDS.get(field.of, f'a {field.of}')}"
    elif field.parts:
        yield from mistakes(value, field.parts, where)


def has_type(value: Any, json_type: str) -> bool:
    """Return whether a value is of a JSON type; 2.0 is an integer, as in JSON Schema (2020-12, section 4.2.3)."""
    if isinstance(value, bool) or value is None:
        return json_type == "boolean" and value is not None
    if json_type == "integer":
        return isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if json_type == "number":
        return isinstance(value, (int, float))
    return isinstance(value, {"string": str, "array": list, "object": dict, "boolean": bool}[json_type])


def _right(field: Field) -> str:
    words = " or ".join(field.choices) if field.choices else WORDS.get(field.type, f"a {field.type}")
    return f"{words}{' or null' if field.nullable else ''} ({field.meaning.rstrip('.')})"


def _shown(value: Any) -> str:
    """Return a short form of a wrong value."""
    if isinstance(value, str):
        return f'"{value}"' if len(value) <= SHOWN else f"a string of {len(value)} characters"
    if isinstance(value, (list, dict)):
        return WORDS["array" if isinstance(value, list) else "object"]
    return "null" if value is None else str(value).lower()[:SHOWN]
