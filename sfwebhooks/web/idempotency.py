"""Idempotency keys: a request with a key comes in for the second time; the first one's answer goes out.

So a client that got no answer can repeat a POST without doing it twice. The keys are in memory: a restart forgets them.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Annotated, Any, Optional

from fastapi import Header

from sfwebhooks.web.problems import Problem

#: the header with a key, and that of an answer which was given before
IDEMPOTENCY_HEADER, REPLAYED_HEADER = "Idempotency-Key", "Idempotency-Replayed"
#: seconds that an answer is known, and most answers
KEPT_SECONDS, KEPT_MAX = 86400.0, 10_000
#: argument of a handler
IdempotencyKey = Annotated[
    Optional[str],
    Header(
        alias=IDEMPOTENCY_HEADER,
        pattern="^[!-~]{1,255}$",
        description="the same request with the same key is made only once",
    ),
]


@dataclass(frozen=True)
class MadeAnswer:
    """The answer to a request that changed something."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Known:
    """A request with a key."""

    #: hash of what it asked for
    digest: bytes
    #: monotonic seconds
    at: float
    #: None: it is still being answered
    answer: MadeAnswer | None = None


class IdempotencyKeys:
    """The requests with a key of the last day.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._lock = threading.Lock()

    def once(self, key: str | None, asked: object, do: Callable[[], MadeAnswer]) -> MadeAnswer:
        """Return the answer to a request, which is made only once with a key; one that fails may be repeated.

        Args:
            key: None: it has none, and is made.
            asked: what it asks for; its repr is equal for equal requests.

        Raises:
            Problem: the key was used for another request, or that one is still being answered.
        """
        if key is None:
            return do()
        digest = hashlib.sha256(repr(asked).encode("utf-8", "backslashreplace")).digest()
        found = self._begin(key, digest)
        if found:
            return MadeAnswer(found.status, found.body, {**found.headers, REPLAYED_HEADER: "true"})
        answer = None
        try:
            answer = do()
            return answer
        finally:
            self._end(key, digest, answer)

    def _begin(self, key: str, digest: bytes) -> MadeAnswer | None:
        """Return the answer that a key has already, or note that it is being made."""
        with self._lock:
            while self._known and next(iter(self._known.values())).at < self._clock() - KEPT_SECONDS:
                self._known.popitem(last=False)
            known = self._known.get(key)
            if known is None:
                self._known[key] = _Known(digest, self._clock())
                return None
        if known.digest != digest:
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"{IDEMPOTENCY_HEADER}: this key had another request")
        if known.answer is None:
            raise Problem(HTTPStatus.CONFLICT, f"{IDEMPOTENCY_HEADER}: the first request is still being answered")
        return known.answer

    def _end(self, key: str, digest: bytes, answer: MadeAnswer | None) -> None:
        with self._lock:
            self._known.pop(key, None)
            if answer:
                self._known[key] = _Known(digest, self._clock(), answer)
            while len(self._known) > KEPT_MAX:
                self._known.popitem(last=False)
