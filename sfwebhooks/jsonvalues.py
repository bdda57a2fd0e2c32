"""JSON from outside, read strictly: bytes or Python values come in, what every JSON reader takes goes out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from sfwebhooks.errors import EmitError
from sfwebhooks.events import clean_text, printable

#: lists and objects within each other
DEPTH_MAX = 32
#: a whole number that is greater is none for many readers
INTEGER_MAX = 2**63 - 1


def parsed(text: bytes) -> Any:
    """Read JSON in UTF-8, with or without a byte order mark.

    Raises:
        EmitError: it is none, or has a key twice, of which readers would take either.
    """
    if not text.strip():
        raise EmitError("it is empty; right: a JSON object")
    try:
        return json.loads(text.decode("utf-8-sig"), object_pairs_hook=_once, parse_constant=_refuse)
    except UnicodeDecodeError as error:
        raise EmitError(f"it is not UTF-8: byte {error.start + 1} is {text[error.start]:#04x}") from error
    except json.JSONDecodeError as error:
        raise EmitError(f"it is not JSON: {error.msg} in line {error.lineno}, column {error.colno}") from error
    except ValueError as error:  # a number of thousands of digits
        raise EmitError(f"it is not JSON that can be read: {error}") from error
    except RecursionError as error:
        raise EmitError(f"it is nested too deeply; right: at most {DEPTH_MAX} levels") from error


def plain(value: Any, place: str = "data", depth: int = 0) -> Any:
    """Return a copy of a value that is made of what JSON has only.

    Raises:
        EmitError: something in it cannot be said in JSON that every reader takes.
    """
    if depth > DEPTH_MAX:
        raise EmitError(f"{place[:80]} ... is nested too deeply; right: at most {DEPTH_MAX} levels")
    if isinstance(value, Mapping):
        keys = {key: _text(key, f"a key of {place}") for key in value}
        return {keys[key]: plain(item, f"{place}.{printable(keys[key])}", depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, f"{place}[{number}]", depth + 1) for number, item in enumerate(value)]
    if isinstance(value, str):
        return _text(value, place)
    if value is None or isinstance(value, bool):
        return value
    if not isinstance(value, (int, float)):
        raise EmitError(f"{place} is of the Python type {type(value).__name__}, which JSON does not have")
    if not abs(value) <= INTEGER_MAX and (isinstance(value, int) or not abs(value) < float("inf")):
        raise EmitError(f"{place} is {_digits(value)}; right: a finite number, whole ones of 64 bits at most")
    return value


def _text(value: Any, place: str) -> str:
    if not isinstance(value, str):
        raise EmitError(f"{place} is of the Python type {type(value).__name__}; right: a string")
    if clean_text(value) != value:
        raise EmitError(f"{place} has a lone surrogate in it, which UTF-8 cannot write")
    return value


def _digits(value: float) -> str:
    return f"a whole number of {value.bit_length()} bits" if isinstance(value, int) else str(value)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name, number in Counter(name for name, _ in pairs).items() if number > 1)
        raise EmitError(f'the key "{printable(twice)}" stands twice in one object; right: once')
    return found


def _refuse(constant: str) -> Any:
    raise EmitError(f"{constant} is not JSON; right: a number, or null")
