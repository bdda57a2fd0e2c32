"""JSON as we write it: one text for a value, byte-equal to what JSON.stringify gives, since receivers re-serialise to
verify. An event's data become text once, when it is accepted, and go out as that text.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from itertools import chain
from typing import Any

from sfwebhooks.events import clean_text

#: stands where a text is to be put; nobody can know it
HOLE = uuid.uuid4().hex
#: the beginning of an object that we wrote
OURS = re.compile(r'\{(?:\}|"\w+":\S)')
_WRITER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def json_number(text: str) -> int | float:
    """Read a number with a point or an exponent; a whole one becomes an int, as which JSON.stringify would write it."""
    value = float(text)
    return int(value) if value.is_integer() and abs(value) < 1e21 else value


#: what JSON has no word for is null, as JSON.stringify has it
_READER = json.JSONDecoder(parse_float=json_number, parse_constant=lambda _: None)


def written(value: object) -> str:
    """Return compact JSON. Lone surrogates, which UTF-8 cannot write, become U+FFFD.

    Raises:
        ValueError: NaN or an infinity is in it.
    """
    return clean_text(_WRITER.encode(value))


def written_around(value: object, texts: Iterable[str]) -> str:
    """Return compact JSON in which the HOLEs of a value, in their order, are filled with what is JSON already."""
    return clean_text("".join(chain(*zip(written(value).split(f'"{HOLE}"'), [*texts, ""]))))


def kept(data: Mapping[str, Any]) -> str:
    """Return the text of an event's data, in which whole numbers have no point, and what is no number is null."""
    if isinstance(data, Stored):
        return data.text
    return written(_READER.decode(json.dumps(data)) if _has_fraction(data) else data)


def _has_fraction(value: object) -> bool:
    """Say whether a number with a point is in a value."""
    if isinstance(value, dict):
        return any(map(_has_fraction, value.values()))
    return any(map(_has_fraction, value)) if isinstance(value, (list, tuple)) else isinstance(value, float)


class Stored(Mapping[str, Any]):
    """An event's data as the outbox has them: a text, which is read if somebody asks for a key.

    All but the constructor raises ValueError if it is no JSON.
    """

    def __init__(self, text: str) -> None:
        self._raw = text

    @property
    def text(self) -> str:
        """What `kept` returned for the data; earlier versions wrote them in another way."""
        return self._raw if OURS.match(self._raw) else written(self._read)

    @property
    def size(self) -> int:
        """How many bytes it has as the outbox has it, which may be rubbish."""
        return len(self._raw.encode("utf-8", "replace"))

    @cached_property
    def _read(self) -> dict[str, Any]:
        return dict(_READER.decode(self._raw))

    def __getitem__(self, key: str) -> Any:
        return self._read[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read)

    def __len__(self) -> int:
        return len(self._read)
