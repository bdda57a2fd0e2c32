"""The catalogue as a JSON Schema (2020-12) for receivers: event types come in, one document for all of them goes out.

It describes a message in the generic format, for either guide. It requires the keys that are always present and allows
all others, since messages only ever gain keys. Validators with a strict mode (ajv) compile it: each keyword for one
type comes with its `type`, `properties` lists all `required` keys, and no keyword needs a plugin.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sfwebhooks.catalogue import SCHEMA, EventType
from sfwebhooks.catalogue.fields import SEVERITIES, Field

Json = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
UUID = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
SECOND = "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}"
METADATA: dict[str, Json] = {
    "schema": {"type": "integer", "minimum": SCHEMA, "description": "Increases when messages gain keys."},
    "event_id": {"type": "string", "pattern": UUID, "description": "The same for all endpoints."},
    "delivery_id": {"type": "string", "pattern": UUID, "description": "The same each time this message is sent."},
    "endpoint": {"type": "string", "minLength": 1, "description": "The endpoint's name in the sender's settings."},
    "series": {
        "type": "string",
        "minLength": 1,
        "description": "Opaque. If the sender loses its outbox, messages are numbered in a new series.",
    },
    "sequence": {
        "type": "integer",
        "minimum": 1,
        "description": "1, 2, 3 ... without gaps per scan, endpoint and series.",
    },
    "severity": {"enum": [*SEVERITIES], "description": "The event's severity."},
    "time": {"type": "string", "pattern": SECOND + r"\.[0-9]{3}Z$", "description": "When it happened, exactly."},
}
BACKFILLED: Json = {"const": True, "description": "Only in messages of a past scan, never of a live one."}
ENVELOPE: dict[str, Json] = {
    "timestamp": {"type": "string", "pattern": SECOND + "Z$", "description": "When it happened, in whole seconds."},
    "source": {"const": "spiderfoot"},
    "version": {"type": "string", "description": "SpiderFoot's version; empty if it is not about one of its scans."},
    "data": {"type": "object"},
    "metadata": {
        "type": "object",
        "properties": {**METADATA, "backfilled": BACKFILLED},
        "required": [*METADATA],
    },
}


def document(entries: Iterable[EventType]) -> Json:
    """Return the schema of a message of any of these types, under its name or alias."""
    known = tuple(entries)
    words = [word for entry in known for word in _words(entry)]
    properties = {"event_type": {"enum": words, "description": "The name or alias, as subscribed."}, **ENVELOPE}
    return {
        "$schema": DIALECT,
        "title": "A message of sfwebhooks in the generic format",
        "type": "object",
        "properties": properties,
        "required": [*properties],
        "allOf": [
            {
                "if": {**_with(event_type={"enum": _words(entry)}), "required": ["event_type"]},
                "then": {"title": entry.name, "description": entry.summary, **_of(entry)},
            }
            for entry in known
        ],
    }


def _words(entry: EventType) -> list[str]:
    return list(dict.fromkeys((entry.name, entry.alias)))


def _of(entry: EventType) -> Json:
    """Return the part of the schema for messages of one type."""
    severities = [severity.label for severity in entry.severities] or [*SEVERITIES]
    metadata = _with(severity={"enum": severities})
    if entry.by_others in ((), entry.fields):
        return _with(data=_object(entry.fields), metadata=metadata)
    return {
        **_with(metadata=metadata),
        "if": _with(version={"const": ""}),
        "then": {"description": "From another tool.", **_with(data=_object(entry.by_others))},
        "else": {"description": "From SpiderFoot.", **_with(data=_object(entry.fields))},
    }


def _with(**properties: Json) -> Json:
    """Return the schema of an object with such properties, if they are present."""
    return {"type": "object", "properties": properties}


def _object(fields: tuple[Field, ...]) -> Json:
    return {
        "type": "object",
        "properties": {field.name: _value(field) for field in fields},
        "required": [field.name for field in fields if field.required],
    }


def _value(field: Field) -> Json:
    when = f" Only if {field.when}." if field.when else ""
    schema: Json = {"description": field.meaning + when, "type": field.types}
    if field.choices:
        schema["enum"] = [*field.choices]
    if field.type == "array":
        schema["items"] = _object(field.parts) if field.parts else {"type": field.of}
    elif field.of:
        schema["additionalProperties"] = {"type": field.of}
    elif field.parts:
        schema |= {**_object(field.parts), "type": field.types}
    return schema
