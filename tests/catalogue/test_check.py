"""Data is judged by a table of fields as the JSON Schema that is made of that table judges it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from sfwebhooks.catalogue import EVENT_TYPES, EventType
from sfwebhooks.catalogue.check import mistakes
from sfwebhooks.catalogue.fields import Field
from sfwebhooks.catalogue.json_schema import document
from sfwebhooks.examples import ENDPOINT, example
from sfwebhooks.formats import generic
from tests.rows import in_one
from tests.tiers import quick_first

Fields = tuple[Field, ...]

VALUES: tuple[Any, ...] = (None, True, False, 0, -1, 1.5, 2.0, 1e300, 10**20, "", "high", "x", [], {}, ["x"], [1],
                           [{}], [None], {"a": 1}, {"a": "x"}, {"a": None})  # fmt: skip
#: an event type, and one of the tables of what can stand in its data
TABLES = [
    pytest.param(entry, fields, id=f"{entry.name}-{sent_by}")
    for entry in EVENT_TYPES
    for sent_by, fields in {"scanner": entry.fields, "others": entry.by_others}.items()
    if fields
]


def size(table: Any) -> int:
    """Return how long it takes to judge each change of an example, roughly."""
    return len(json.dumps(example_of(table.values[1]))) ** 2


def example_of(fields: Fields) -> dict[str, Any]:
    return {field.name: field.example for field in fields if field.example is not None}


def message(entry: EventType, fields: Fields) -> Callable[[Any], dict[str, Any]]:
    """Return what makes a message of the type with other data, in which what we add is there."""
    whole: dict[str, Any] = json.loads(generic.render(example(entry, entry.name), ENDPOINT).body)
    whole["version"] = "" if fields == entry.by_others else "4.0.0"

    def with_data(data: Any) -> dict[str, Any]:
        added = {field.name: field.example for field in fields if field.added and not field.is_lacking_in(data)}
        return {**whole, "data": {**added, **data}}

    return with_data


def changed(data: Any) -> Iterator[Any]:
    """Yield data with one thing in it left out, or with another value, wherever it is."""
    if not isinstance(data, (dict, list)):
        return
    for key in data if isinstance(data, dict) else range(len(data)):
        left_out = deepcopy(data)
        del left_out[key]
        yield left_out
        for value in (*VALUES, *changed(data[key])):
            other = deepcopy(data)
            other[key] = value
            yield other


@pytest.mark.parametrize(("entry", "fields"), quick_first(sorted(TABLES, key=size), 10))
def test_the_judgement_is_the_one_of_the_json_schema(entry: EventType, fields: Fields) -> None:
    validator, with_data = Draft202012Validator(document([entry])), message(entry, fields)
    judged = {True: 0, False: 0}
    for data in (*changed(example_of(fields)), {**example_of(fields), "more": [None]}, {}):
        right = not list(mistakes(data, fields))
        assert right == validator.is_valid(with_data(data)), data
        judged[right] += 1
    assert judged[True] and judged[False]


@in_one(("entry", "fields"), TABLES)
def test_each_key_that_is_missing_is_reported(entry: EventType, fields: Fields) -> None:
    found_mistakes = list(mistakes({}, fields))
    required = [field.name for field in fields if field.required and not (field.added and not field.instead)]
    assert [line.split()[0] for line in found_mistakes] == [f"data.{name}" for name in required]
    assert all(" is missing; expected " in line for line in found_mistakes)


PARTS = (Field("file", "string", "The file."), Field("lines", "integer", "Number of changed lines."))


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        (Field("n", "integer", "A number."), "12", 'data.n is "12"; expected an integer (A number)'),
        (Field("n", "integer", "A number."), True, "data.n is true; expected an integer (A number)"),
        (Field("n", "boolean", "Whether."), 1, "data.n is 1; expected true or false (Whether)"),
        (Field("n", "string", "A name."), None, "data.n is null; expected a string (A name)"),
        (Field("n", "number", "Size."), "x" * 99, "data.n is a string of 99 characters; expected a number (Size)"),
        (Field("n", "string", "Which.", choices=("a", "b")), "c", 'data.n is "c"; expected a or b (Which)'),
        (Field("n", "array", "Names.", of="string"), {}, "data.n is an object; expected an array (Names)"),
        (Field("n", "array", "Names.", of="string"), ["x", 2], "data.n[1] is 2; expected a string"),
        (Field("n", "object", "Counts.", of="integer"), {"a": []}, "data.n.a is an array; expected an integer"),
        (Field("n", "array", "Files.", of="object", parts=PARTS), [{"file": "x", "lines": "many"}],
         'data.n[0].lines is "many"; expected an integer (Number of changed lines)'),
        (Field("n", "integer", "A number.", nullable=True), "x",
         'data.n is "x"; expected an integer or null (A number)'),
        (Field("n", "object", "A file.", parts=PARTS), {"lines": 2},
         "data.n.file is missing; expected a string (The file)"),
    ],
)  # fmt: skip
def test_a_mistake_says_where_what_is_there_and_what_would_be_right(field: Field, value: Any, expected: str) -> None:
    assert list(mistakes({"n": value}, (field,))) == [expected]
