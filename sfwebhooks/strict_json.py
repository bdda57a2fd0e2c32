"""JSON from outside, read strictly: bytes or Python values come in, values that every JSON reader accepts go out."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from sfwebhooks.errors import EmitError
from sfwebhooks.events import clean_text, printable

#: most nested lists and objects
DEPTH_MAX = 32
#: the largest integer; many readers cannot read a greater one exactly
INTEGER_MAX = 2**63 - 1
#: most characters of a place that are shown
PLACE_MAX = 200
#: a key that is an array index in JavaScript, if it is below INDEX_END
INDEX = re.compile(r"0|[1-9][0-9]{0,9}")
INDEX_END = 2**32 - 1


def parsed(text: bytes) -> Any:
    """Read JSON in UTF-8, with or without a byte order mark.

    Raises:
        EmitError: it is not JSON, or has a duplicate key, of which readers may use either value.
    """
    if not text.strip():
        raise EmitError("it is empty; expected a JSON object")
    try:
        return json.loads(text.decode("utf-8-sig"), object_pairs_hook=_once, parse_constant=_refuse)
    except UnicodeDecodeError as error:
        raise EmitError(f"it is not UTF-8: byte {error.start + 1} is {text[error.start]:#04x}") from error
    except json.JSONDecodeError as error:
        raise EmitError(f"it is not JSON: {error.msg} in line {error.lineno}, column {error.colno}") from error
    except ValueError as error:  # a number of thousands of digits
        raise EmitError(f"it is not JSON that can be read: {error}") from error
    except RecursionError as error:
        raise EmitError(f"it is nested too deeply; expected at most {DEPTH_MAX} levels") from error


class _WrongError(Exception):
    """A value that JSON does not support; its path is collected on the way up."""

    def __init__(self, problem: str, of: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        #: words before the place
        self.of = of
        #: keys and indexes, the innermost first
        self.path: list[str] = []


def pure_json(value: Any) -> Any:
    """Return a copy of a value that consists of JSON types only.

    Keys that are array indexes come first, in order, as in JavaScript (ECMAScript, OrdinaryOwnPropertyKeys): a receiver
    that re-serialises the body to verify it gets the same bytes.

    Raises:
        EmitError: a value in it cannot be written as JSON that every reader accepts.
    """
    try:
        return _plain(value, 0)
    except _WrongError as error:
        place = "data" + "".join(reversed(error.path))
        shown = place if len(place) <= PLACE_MAX else f"{place[:PLACE_MAX]} ..."
        raise EmitError(f"{error.of}{printable(shown)} {error.problem}") from None


def _plain(value: Any, depth: int) -> Any:
    if depth > DEPTH_MAX:
        raise _WrongError(f"is nested too deeply; expected at most {DEPTH_MAX} levels")
    if isinstance(value, Mapping):
        for key in value:
            _text(key, "a key of ")
        return {key: _item(value[key], f".{key}", depth) for key in _in_order(value)}
    if isinstance(value, (list, tuple)):
        return [_item(item, f"[{number}]", depth) for number, item in enumerate(value)]
    if isinstance(value, str):
        return _text(value)
    if value is None or isinstance(value, bool):
        return value
    if not isinstance(value, (int, float)):
        raise _WrongError(f"is of the Python type {type(value).__name__}, which JSON does not have")
    if not abs(value) <= INTEGER_MAX and (isinstance(value, int) or not abs(value) < float("inf")):
        raise _WrongError(f"is {_digits(value)}; expected a finite number, an integer of at most 64 bits")
    return value


def _item(value: Any, step: str, depth: int) -> Any:
    try:
        return _plain(value, depth + 1)
    except _WrongError as error:
        error.path.append(step)
        raise


def _in_order(keys: Mapping[Any, Any]) -> Iterable[Any]:
    """Return keys in JavaScript's order."""
    indexes = sorted((key for key in keys if INDEX.fullmatch(key) and int(key) < INDEX_END), key=int)
    return dict.fromkeys([*indexes, *keys]) if indexes else keys


def _text(value: Any, of: str = "") -> str:
    if not isinstance(value, str):
        raise _WrongError(f"is of the Python type {type(value).__name__}; expected a string", of)
    if clean_text(value) != value:
        raise _WrongError("contains a lone surrogate, which UTF-8 cannot encode", of)
    return value


def _digits(value: float) -> str:
    return f"a whole number of {value.bit_length()} bits" if isinstance(value, int) else str(value)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name, number in Counter(name for name, _ in pairs).items() if number > 1)
        raise EmitError(f'the key "{printable(twice)}" occurs twice in one object; expected once')
    return found


def _refuse(constant: str) -> Any:
    raise EmitError(f"{constant} is not JSON; expected a number or null")
