"""JSON output: a value comes in, its text goes out, byte-equal to that of JSON.stringify, since receivers re-serialise
to verify. An event's data become text once, when it is accepted, and are sent as that text.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sfwebhooks.events import clean_text

#: placeholder for a text; not guessable
HOLE = uuid.uuid4().hex
#: the beginning of an object that we wrote
OURS = re.compile(r'\{(?:\}|"\w+":\S)')
#: types of values that have no fraction, nor others in them
WHOLE = frozenset({str, int, bool, type(None)})
_WRITER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)
#: the end of a small number, perhaps in a text: Python writes 5e-05 and 5e-07, JSON.stringify 0.00005 and 5e-7
SMALL_END = re.compile(r"e-0[5-9](?=[,\]}]|\Z)")
#: a text, which stays as it is, or a small number
SMALL = re.compile(r'"(?:[^"\\]|\\.)*"|(-?[0-9][0-9.]*e-0)([5-9])')


def json_number(text: str) -> int | float:
    """Read a number with a point or an exponent; a whole one becomes an int, as JSON.stringify would write it."""
    value = float(text)
    return int(value) if value.is_integer() and abs(value) < 1e21 else value


#: NaN and infinities become null, as with JSON.stringify
_READER = json.JSONDecoder(parse_float=json_number, parse_constant=lambda _: None)


def written(value: object) -> str:
    """Return compact JSON. Lone surrogates, which UTF-8 cannot write, become U+FFFD.

    Raises:
        ValueError: NaN or an infinity is in it.
    """
    return clean_text(_encoded(value))


def written_around(message: Mapping[str, Any], key: str, value: str) -> bytes:
    """Return a message as compact JSON, with a text that is JSON already as its value at `key`."""
    whole = _WRITER.encode({**message, key: HOLE})
    if SMALL_END.search(whole):
        whole = SMALL.sub(_as_in_javascript, whole)
    before, _, after = whole.partition(f'"{HOLE}"')
    text = f"{before}{value}{after}"
    try:
        return text.encode()
    except UnicodeEncodeError:
        return clean_text(text).encode()


def kept(data: Mapping[str, Any]) -> str:
    """Return the text of an event's data, with whole numbers without a point, and NaN and infinities as null."""
    if isinstance(data, Stored):
        return data.text
    try:
        text = _WRITER.encode(data)
    except ValueError:  # NaN, or an infinity
        text = ""
    if not text or _has_fraction(data):
        text = _encoded(_READER.decode(json.dumps(data)))
    return clean_text(text)


def _encoded(value: object) -> str:
    text = _WRITER.encode(value)
    return SMALL.sub(_as_in_javascript, text) if SMALL_END.search(text) else text


def _as_in_javascript(found: re.Match[str]) -> str:
    """Return a number as JSON.stringify writes it (ECMAScript, Number::toString)."""
    if not found[1]:
        return found[0]
    if found[2] not in "56":
        return f"{found[1][:-1]}{found[2]}"
    from decimal import Decimal  # such a number is rare

    return format(Decimal(found[0]), "f")


def _has_fraction(data: object) -> bool:
    """Return whether a float is in JSON data, which has no circles: it was written before."""
    rest = [data]
    for value in rest:
        if type(value) in WHOLE:
            continue
        if isinstance(value, float):
            return True
        rest += value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return False


@dataclass(eq=False, repr=False)
class Stored(Mapping[str, Any]):
    """An event's data from the outbox: a text, which is parsed when a key is accessed.

    Everything but the constructor raises ValueError if it is not a JSON object.
    """

    _raw: str

    @property
    def text(self) -> str:
        """The text from `kept`."""
        return self._raw if OURS.match(self._raw) else written(self.read)

    @property
    def size(self) -> int:
        """The number of bytes in the outbox, whose content may be garbage."""
        return len(self._raw.encode("utf-8", "replace"))

    @cached_property
    def read(self) -> dict[str, Any]:
        """The data as a dict, not to be changed: faster where many keys are needed."""
        try:
            found = _READER.decode(self._raw)
        except RecursionError as error:
            raise ValueError("it is nested too deeply") from error
        if not isinstance(found, dict):
            raise ValueError("it is not a JSON object")
        return found

    def __getitem__(self, key: str) -> Any:
        return self.read[key]

    def get(self, key: str, default: Any = None) -> Any:
        """Return a value, or the default: formats ask for many keys, and `Mapping.get` takes twice as long."""
        return self.read.get(key, default)

    def __iter__(self) -> Iterator[str]:
        return iter(self.read)

    def __len__(self) -> int:
        return len(self.read)
