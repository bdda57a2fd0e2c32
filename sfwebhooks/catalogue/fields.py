"""Field: a key of an event's `data`, with its JSON type, its meaning and a value for the example."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Field:
    """A key of `data`."""

    name: str
    #: JSON type: string, integer, number, boolean, array or object
    type: str
    #: one sentence for people
    meaning: str
    #: its value in the example; None: not in the example
    example: Any = None
    #: the condition on which it is there; empty: always
    when: str = ""
    #: JSON type of an array's items, or of the values of an object that can have any key
    of: str = ""
    #: keys of an object, or of each object of an array; all of them are always there
    parts: tuple[Field, ...] = ()
    #: the texts that it can be; empty: any
    choices: tuple[str, ...] = ()
    #: whether `emitted_event` adds it if another tool does not provide it
    added: bool = False
    #: another key with the same meaning: if neither is given, it cannot be added
    instead: str = ""
    #: whether it can be null: a receiver reads it, but the value is unknown
    nullable: bool = False

    @property
    def required(self) -> bool:
        """Whether every event of the type has it."""
        return not self.when

    @property
    def types(self) -> str | list[str]:
        """Its JSON types, in the form of JSON Schema."""
        return [self.type, "null"] if self.nullable else self.type

    def is_lacking_in(self, data: Mapping[str, Any]) -> bool:
        """Whether another tool's data cannot become an event because this key is missing."""
        added = self.added and (not self.instead or self.instead in data)
        return self.required and not added and self.name not in data


def vary(fields: tuple[Field, ...], **examples: Any) -> tuple[Field, ...]:
    """Return fields with other values for the example."""
    return tuple(replace(each, example=examples.get(each.name, each.example)) for each in fields)


def choose(fields: tuple[Field, ...], **choices: tuple[str, ...]) -> tuple[Field, ...]:
    """Return fields limited to fewer texts; an empty tuple leaves a field unchanged."""
    return tuple(replace(each, choices=choices.get(each.name) or each.choices) for each in fields)


def only(fields: tuple[Field, ...], when: str) -> tuple[Field, ...]:
    """Return fields that are present on a condition; an empty one means always."""
    return tuple(replace(each, when=when) for each in fields)


#: identifies the scan, in every event of one
SCAN = (
    Field("scan_id", "string", "The scanner's id of the scan.", "5F2A9C1E"),
    Field("target", "string", "The scan's target.", "acme.test"),
    Field("target_type", "string", "The scanner's type of the target.", "INTERNET_NAME"),
)
SEVERITIES = ("critical", "high", "medium", "low", "info")
