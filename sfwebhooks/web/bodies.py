"""The bodies of requests: their parts come in, whole bodies within limits of size and time go out, or a problem.

They are read before anybody knows who sends them, so that all of them together have a limit too.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus

from starlette.types import Receive

from sfwebhooks.web.problems import RETRY_SECONDS, Problem

#: bytes of the largest body, and of all that are in memory at once, without the first ones of each: those of a login
#: always have room, whatever others hold
BODY_MAX, ALL_BODIES_MAX, FIRST = 1_048_576, 16_777_216, 65_536
#: bytes of a body that is too large which are read before it is refused: many clients read no answer while they send
DISCARDED_MAX = 33_554_432
#: seconds in which a body has to arrive
BODY_SECONDS = 30.0
#: of an answer before the end of the body
CLOSING = {"Connection": "close"}


class Bodies:
    """The bodies that are in memory. For use by one event loop."""

    def __init__(self) -> None:
        self._held = 0

    @asynccontextmanager
    async def read(self, headers: Mapping[str, str], receive: Receive) -> AsyncIterator[bytes | None]:
        """Read the body of a request, which counts while the block runs; None: the client is gone.

        Raises:
            Problem: it is too large or too slow, or there are too many.
        """
        declared = headers.get("Content-Length", "0")
        if declared.isdecimal() and int(declared[:20]) > (BODY_MAX if headers.get("Expect") else DISCARDED_MAX):
            raise _too_large()
        body = bytearray()
        try:
            try:
                is_whole = await asyncio.wait_for(self._fill(body, receive), BODY_SECONDS)
            except asyncio.TimeoutError:
                words = f"expected the whole body within {BODY_SECONDS:.0f} seconds"
                raise Problem(HTTPStatus.REQUEST_TIMEOUT, words, headers=CLOSING) from None
            yield bytes(body) if is_whole else None
        finally:
            self._held -= _counted(len(body))

    async def _fill(self, body: bytearray, receive: Receive) -> bool:
        """Read a body to its end; return whether it came to its end.

        Raises:
            Problem: it is too large, or there are too many.
        """
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return False
            part = message.get("body", b"")
            size += len(part)
            if size <= BODY_MAX:
                more = _counted(size) - _counted(len(body))
                if more and self._held + more > ALL_BODIES_MAX:
                    words = "too many requests with large bodies at once"
                    again = {"Retry-After": f"{RETRY_SECONDS:.0f}"}
                    raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, words, headers={**CLOSING, **again})
                body += part
                self._held += more
            if size > DISCARDED_MAX or not message.get("more_body", False):
                break
        if size > BODY_MAX:
            raise _too_large()
        return True


def _counted(size: int) -> int:
    """Return how much of a body counts for all of them."""
    return max(size - FIRST, 0)


def _too_large() -> Problem:
    words = f"expected a body of at most {BODY_MAX} bytes"
    return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, words, headers=CLOSING)
