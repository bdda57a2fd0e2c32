"""What other tools hand over is read strictly: what one reader would take and another one not is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
from enum import Enum
from typing import Any

import pytest

from sfwebhooks.errors import EmitError
from sfwebhooks.strict_json import DEPTH_MAX, parsed, pure_json


class Colour(str, Enum):
    RED = "red"


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def endless() -> Any:
    value: dict[str, Any] = {}
    value["self"] = value
    return value


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (b"{", "it is not JSON: .* in line 1, column 2"),
        (b'{"a": 1,\n "b": oops}', "it is not JSON: .* in line 2, column 7"),
        (b'{"a": 1} {}', "it is not JSON: Extra data in line 1, column 10"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b'{"a": [-Infinity]}', "-Infinity is not JSON"),
        (b'{"a": 1, "b": 2, "a": 3}', 'the key "a" occurs twice in one object'),
        (b'{"x": [{"\\u001b": 1, "\\u001b": 1}]}', 'the key "\ufffd" occurs twice'),
        (b'{"a": "\xe9"}', "it is not UTF-8: byte 8 is 0xe9"),
        (b"[" * 200_000, "nested too deeply"),
    ],
)
def test_lax_json_is_refused_with_its_place(text: bytes, mistake: str) -> None:
    with pytest.raises(EmitError, match=mistake):
        parsed(text)


def test_a_number_of_thousands_of_digits_is_refused_by_every_reader() -> None:
    with pytest.raises(EmitError, match=r"digits|bits"):
        pure_json(parsed(b'{"a": ' + b"9" * 5000 + b"}"))


def test_json_is_read_with_or_without_a_byte_order_mark() -> None:
    assert parsed(b'\xef\xbb\xbf{"a": "\xc3\xa9"}') == parsed(b'{"a": "\xc3\xa9"}') == {"a": "é"}


@pytest.mark.parametrize(
    ("value", "mistake"),
    [
        ({"a": float("nan")}, "data.a is nan; expected a finite number"),
        ({"a": [1, float("-inf")]}, r"data.a\[1\] is -inf"),
        ({"a": 2**63}, "data.a is a whole number of 64 bits"),
        ({"a": {1: 2}}, "a key of data.a is of the Python type int; expected a string"),
        ({"a": {None: 2}}, "a key of data.a is of the Python type NoneType"),
        ({"a": {"b": b"x"}}, "data.a.b is of the Python type bytes, which JSON does not have"),
        ({"a": {1, 2}}, "data.a is of the Python type set"),
        ({"a": "\ud800"}, "data.a contains a lone surrogate"),
        ({"\udfff": 1}, "a key of data contains a lone surrogate"),
        ({"a\x1b[2J": {1}}, "data.a\ufffd\\[2J is of the Python type set"),
        (nested(DEPTH_MAX + 1), "nested too deeply; expected at most"),
        (endless(), "nested too deeply; expected at most"),
    ],
)
def test_what_json_cannot_say_is_refused_with_its_place(value: Any, mistake: str) -> None:
    with pytest.raises(EmitError, match=mistake):
        pure_json(value)


def test_keys_that_javascript_takes_for_indexes_are_where_it_puts_them() -> None:
    keys = ["b", "10", "9", "0", "-1", "01", "4294967294", "4294967295", "1.5", "a"]
    mistake = pure_json({"x": dict.fromkeys(keys, 1)})
    moved = ["0", "9", "10", "4294967294", "b", "-1", "01", "4294967295", "1.5", "a"]
    assert list(mistake["x"]) == moved
    if shutil.which("node"):
        script = "console.log(JSON.stringify(JSON.parse(process.argv[1])))"
        given = json.dumps(dict.fromkeys(keys, 1))
        assert list(json.loads(subprocess.check_output(["node", "-e", script, given]))) == moved


def test_places_and_double_keys_are_found_in_linear_time() -> None:
    """Each of these took hours while a place was written, or a key counted, for each key."""
    wide = {"k" * 200_000: {str(number): number for number in range(50_000)}, "last": {1, 2}}
    with pytest.raises(EmitError, match=r"data\.last is of the Python type set"):
        pure_json(wide)
    twice = "{" + ",".join(f'"{number}":1' for number in [*range(50_000), 49_999]) + "}"
    with pytest.raises(EmitError, match='the key "49999" occurs twice'):
        parsed(twice.encode())


@pytest.mark.parametrize(
    ("value", "same"),
    [
        ({"a": (1, 2.5, True, None)}, {"a": [1, 2.5, True, None]}),
        ({"a": {"\U0001f600": 2**63 - 1}}, {"a": {"\U0001f600": 2**63 - 1}}),
        ({"a": 1e300}, {"a": 1e300}),
        ({"a": Colour.RED}, {"a": "red"}),
        (nested(DEPTH_MAX), nested(DEPTH_MAX)),
    ],
)
def test_everything_else_stays_as_it_is(value: Any, same: Any) -> None:
    assert json.loads(json.dumps(pure_json(value))) == same
