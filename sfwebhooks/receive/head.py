"""The head of a request: its lines come in, up to a size; whether the end of the request is certain goes out."""

from __future__ import annotations

import io
from email.message import Message
from http.client import HTTPException

#: bytes of all headers of a request
HEAD_MAX = 128 * 1024


class HeadLines(io.BufferedIOBase):
    """The lines of a head, for the standard library's parser, which limits each line and their number.

    Raises:
        HTTPException: all of them together are too long, when read.
    """

    def __init__(self, file: io.BufferedIOBase, limit: int = HEAD_MAX) -> None:
        self._file = file
        self._left = limit

    def readline(self, size: int | None = -1, /) -> bytes:
        """Return the next line."""
        line = self._file.readline(size)
        self._left -= len(line)
        if self._left < 0:
            raise HTTPException(f"more than {HEAD_MAX:,} bytes")
        return line


def is_ambiguous(method: str, headers: Message) -> bool:
    """Return whether a proxy in front may see the end of a request elsewhere: what follows would be another request
    to one of the two (RFC 9112 sections 6.3 and 11.2)."""
    lengths = headers.get_all("Content-Length", [])
    has_coding = "Transfer-Encoding" in headers
    has_body = has_coding or lengths not in ([], ["0"])
    return (
        bool(headers.defects)  # a line that is not a header: those after it were not read
        or len(lengths) + has_coding > 1
        or (has_body and method in ("GET", "OPTIONS"))
    )
