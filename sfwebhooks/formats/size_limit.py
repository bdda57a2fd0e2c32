"""Cut a message that is too large for its receiver: a message and a number of bytes come in, the same message goes out
with its longest parts cut, the least important ones first.

First a finding's `data` is cut, then its `sources`, then every long text, finally lists and objects. Next to each NAME
that was cut are NAME_length (characters, or items) and NAME_sha256 (of the text, or of the JSON as we write it), both
of the whole value: a receiver notices the cut and can recognise the whole. The same message is always cut in the same
way, so a retry has the same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Callable

from sfwebhooks.endpoints import FINDINGS
from sfwebhooks.events import WebhookEvent
from sfwebhooks.jsontext import Stored, written

Json = dict[str, Any]

NEVER = 2**63
#: characters that `data` keeps while other texts can be cut
DATA_LEAST = 1024
#: characters that each text keeps
TEXT_LEAST = 64
#: characters that a cut must save, or the two added keys would be longer than the removed text
SAVED = 128
#: bytes of a character in UTF-8
CHARACTER_MAX = 4
#: of the same length as a digest, while only the size matters
NO_DIGEST = "0" * 64


@dataclass(frozen=True)
class Caps:
    """How much of a value is kept."""

    #: characters of each text
    texts: int = NEVER
    #: entries of each list and object
    items: int = NEVER
    #: keys whose values have other caps
    keys: Mapping[str, Caps] = field(default_factory=dict)

    @property
    def inner(self) -> Caps:
        """The caps of the values of all other keys."""
        return Caps(self.texts, self.items) if self.keys else self


def cut_finding(event: WebhookEvent, limit: int) -> WebhookEvent:
    """Return an event with at most `limit` bytes of a finding's data; next to data that was cut are data_length and
    data_sha256 of the whole, as `scan/findings` adds them to data that is too long to be stored."""
    text = event.data.get("data") if event.type in FINDINGS else None
    if not isinstance(text, str) or len(text) <= limit // CHARACTER_MAX:
        return event
    whole = text.encode("utf-8", "replace")
    if len(whole) <= limit:
        return event
    cut: Json = {}
    for key, value in event.data.items():
        cut[key] = whole[:limit].decode("utf-8", "ignore") if key == "data" else value
        if key == "data" and "data_length" not in event.data:
            cut |= {"data_length": len(text), "data_sha256": hashlib.sha256(whole).hexdigest()}
    return replace(event, data=cut)


def fitted(message: Json, place: str, limit: int) -> Json:
    """Return a message that takes at most `limit` bytes as JSON, cut if need be.

    Args:
        message: JSON as the outbox has it, without NaN.
        place: its key whose value is the event's data.
    """
    text = written(message)
    if len(text.encode()) <= limit:
        return message
    whole = dict(Stored(text))  # without lone surrogates: a cut could part two that belong together
    steps = list(_steps(place))
    caps, low = next((step for step in steps if _fits(whole, step[0](step[1]), limit)), steps[-1])
    high = limit  # a text or list of this many characters or items does not fit
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _fits(whole, caps(middle), limit) else (low, middle)
    return dict(_narrowed(whole, caps(low), _sha256)[0])


def _steps(place: str) -> Iterator[tuple[Callable[[int], Caps], int]]:
    """Yield the ways to cut, each for messages that are too large even with the least of the one before: caps for a
    number, and the least number."""

    def caps(data: int = NEVER, sources: int = NEVER, texts: int = NEVER, items: int = NEVER) -> Caps:
        own = {"data": Caps(min(data, texts), items), "sources": Caps(min(sources, texts), items)}
        return Caps(texts, keys={place: Caps(texts, items, own)})

    yield lambda cap: caps(data=cap), DATA_LEAST
    yield lambda cap: caps(DATA_LEAST, sources=cap), TEXT_LEAST
    yield lambda cap: caps(DATA_LEAST, TEXT_LEAST, texts=cap), TEXT_LEAST
    yield lambda cap: caps(texts=TEXT_LEAST, items=cap), 0


def _fits(message: Json, caps: Caps, limit: int) -> bool:
    cut, _ = _narrowed(message, caps, lambda whole: NO_DIGEST)
    return len(written(cut).encode()) <= limit


def _narrowed(value: Any, caps: Caps, digest: Callable[[Any], str]) -> tuple[Any, bool]:
    """Return a value with no more than the caps allow, and whether it was cut and needs marks."""
    if isinstance(value, str):
        cut = len(value) > caps.texts + SAVED
        return value[: caps.texts] if cut else value, cut
    if isinstance(value, Mapping):
        kept: Json = {}
        inner = caps.inner
        for key, item in islice(value.items(), min(caps.items, len(value))):
            kept[key], cut = _narrowed(item, caps.keys.get(key, inner), digest)
            if cut and f"{key}_length" not in value:
                kept |= {f"{key}_length": len(item), f"{key}_sha256": digest(item)}
        return kept, len(value) > caps.items
    if isinstance(value, list):
        parts = [_narrowed(item, caps, digest) for item in value[: caps.items]]
        return [part for part, _ in parts], len(value) > caps.items or any(cut for _, cut in parts)
    return value, False


def _sha256(whole: Any) -> str:
    text = whole if isinstance(whole, str) else written(whole)
    return hashlib.sha256(text.encode()).hexdigest()
