from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import pytest

from sfwebhooks.events import LAST_SECOND, timestamp
from sfwebhooks.jsontext import HOLE, Stored, kept, written, written_around


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"a": 1, "b": ["x", None, True]}, '{"a":1,"b":["x",null,true]}'),
        ({}, "{}"),
        ({"grüß": "\0"}, '{"grüß":"\\u0000"}'),
        # as JSON.stringify writes numbers
        ({"a": 512.0}, '{"a":512}'),
        ({"a": {"b": [1, 2.0, -0.0, 0.5]}}, '{"a":{"b":[1,2,0,0.5]}}'),
        ({"a": 1e21, "b": 1e20}, '{"a":1e+21,"b":100000000000000000000}'),
        ({"a": "at 10:00:00.0", "b": ",5.0"}, '{"a":"at 10:00:00.0","b":",5.0"}'),
        ({"a": 1e-4, "b": [9.1e-05, -2e-06, 1e-05]}, '{"a":0.0001,"b":[0.000091,-0.000002,0.00001]}'),
        ({"a": 9.99e-07, "b": [1e-09, 1.5e-10]}, '{"a":9.99e-7,"b":[1e-9,1.5e-10]}'),
        ({"1e-05": "5e-06", "b": '\\"1e-05', "c": 1e-05}, '{"1e-05":"5e-06","b":"\\\\\\"1e-05","c":0.00001}'),
        # for which JSON has no word
        ({"a": float("nan"), "b": [float("inf"), 1.0]}, '{"a":null,"b":[null,1]}'),
    ],
)
def test_data_are_kept_as_javascript_would_write_them(data: dict[str, Any], text: str) -> None:
    assert kept(data) == text
    assert kept(Stored(text)) == text


@pytest.mark.parametrize("around", [lambda one: {"a": one}, lambda one: {"a": [{"b": ("c", one)}, "d"]}])
@pytest.mark.parametrize(("value", "text"), [(1.0, "1"), (2.5, "2.5"), (1e300, "1e+300"), (float("nan"), "null")])
def test_numbers_are_found_wherever_they_are(
    around: Callable[[float], dict[str, Any]], value: float, text: str
) -> None:
    assert kept(around(value)) == kept(around(12345)).replace("12345", text)


@pytest.mark.parametrize("data", [{"a": 1, "b": "é"}, {}, {"a b": {"c": [1.5]}}, {"x": "\ud83d\ude00"}])
def test_what_an_earlier_version_kept_goes_out_as_what_this_one_keeps(data: dict[str, Any]) -> None:
    assert Stored(json.dumps(data)).text == kept(data)


def test_small_numbers_are_written_so_around_texts_too() -> None:
    assert written_around({"a": 0, "b": [5e-05, "5e-05,"]}, "a", '{"c":1}') == b'{"a":{"c":1},"b":[0.00005,"5e-05,"]}'
    assert (written(5e-05), written(-5e-07)) == ("0.00005", "-5e-7")


@pytest.mark.skipif(not shutil.which("node"), reason="no JavaScript here")
def test_small_numbers_are_as_javascript_itself_writes_them() -> None:
    values = [float(f"{digits}e-{exponent}") for digits in ("1", "5.25", "9.999") for exponent in range(1, 13)]
    text = kept({"a": [*values, *(-value for value in values)]})
    code = "process.stdout.write(JSON.stringify(JSON.parse(process.argv[1])))"
    done = subprocess.run(["node", "-e", code, text], capture_output=True, text=True, check=True)
    assert done.stdout == text


def test_stored_data_are_a_mapping() -> None:
    stored = Stored('{"a":1,"b":2.0}')
    assert (stored == {"a": 1, "b": 2}, len(stored), list(stored), "c" in stored) == (True, 2, ["a", "b"], False)


def test_rubbish_is_not_data() -> None:
    with pytest.raises(ValueError, match="Expecting value"):
        kept(Stored("rubbish"))


def test_a_text_is_put_into_its_place_whatever_is_in_it() -> None:
    text = written({"a": "é", "b": '"}', "c": HOLE})
    message = {"id": 1, "data": {"instead": "of this"}, "name": "\ud800"}
    assert written_around(message, "data", text) == f'{{"id":1,"data":{text},"name":"\ufffd"}}'.encode()


@pytest.mark.parametrize(
    "at", [0.0, 1.9996, 1.9999999, 1700000000.123, 1700000000.9995, -1.5, -0.0004, 253402300798.9999, 0.0015, 1e9]
)
def test_a_timestamp_is_as_datetime_has_it(at: float) -> None:
    expected = datetime.fromtimestamp(at, timezone.utc).isoformat(timespec="milliseconds")
    assert timestamp(at) == expected.replace("+00:00", "Z")


def test_a_timestamp_after_the_last_one_is_the_last_one() -> None:
    assert timestamp(LAST_SECOND + 1e6) == "9999-12-31T23:59:59.000Z"
