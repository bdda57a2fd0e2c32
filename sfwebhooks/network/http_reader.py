"""One HTTP/1.x reply: its bytes come in as they arrive; status, headers and the beginning of the body go out.

Only the status line counts (RFC 9112 section 4). Everything after it may be malformed, too long or endless: as in
browsers, a line that is not a header is skipped, and a truncated body is an excerpt. This module does no I/O;
`connection` reads, and `budget` limits bytes and time.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping
from itertools import islice

#: most bytes of a reply's body that are read, both raw and decoded
REPLY_BYTES = 64 * 1024
#: most interim replies (1xx) before the reply itself (RFC 9110 section 15.2)
INTERIM_MAX = 16
#: most headers that are read of a reply; further ones are dropped
HEADERS_MAX = 1000
#: the length of a body that ends with its connection
ENDLESS = 1 << 60
BEGIN = b"HTTP/1."
STATUS_LINE = re.compile(rb"HTTP/1\.(\d)[ \t]+(\d{3})(?:[ \t]([^\n]*))?\r?\n")
#: space before the colon is dropped (RFC 9112 section 5.1); a folded line or one without a name does not match
HEADER = re.compile(rb"^([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*:([^\n]*)", re.MULTILINE)
END_OF_HEAD = re.compile(rb"\n\r?\n")
#: size and extensions of a chunk (RFC 9112 section 7.1)
CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?", re.DOTALL)


class NotHTTPError(ValueError):
    """The received data is not an HTTP/1.x reply."""


class Headers(Mapping[str, str]):
    """A reply's headers, by name in any case; the values of repeated ones are joined (RFC 9110 section 5.3)."""

    def __init__(self, lines: bytes = b"") -> None:
        self._values: dict[str, str] = {}
        for line in islice(HEADER.finditer(lines), HEADERS_MAX):
            name, value = line[1].decode("ascii").lower(), line[2].strip().decode("latin-1")
            self._values[name] = f"{self._values[name]}, {value}" if name in self._values else value

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


class ReplyReader:
    """Reads one reply. Feed it until it is done; once `status` is set, only a part of the body is missing.

    Args:
        tunnel: the request was CONNECT, so a 2xx has no body after its headers (RFC 9110 section 9.3.6).
    """

    def __init__(self, tunnel: bool = False) -> None:
        #: 0 until the headers have arrived
        self.status = 0
        self.reason = ""
        self.headers = Headers()
        #: no more data is needed: the reply is complete, or enough of it has arrived
        self.done = False
        #: the reply is complete, and the receiver keeps the connection open for another one
        self.reusable = False
        self._tunnel = tunnel
        self._buffer = bytearray()
        self._body = bytearray()
        #: position from which to look for the end of the headers
        self._seen = 0
        self._interim = 0
        self._keep_alive = False
        self._chunked = False
        #: missing bytes of the body, or of its current chunk
        self._left = 0
        #: the last chunk has arrived
        self._trailer = False

    @property
    def body(self) -> bytes:
        """The beginning of the body, decompressed if the receiver compressed it although we asked it not to."""
        return decoded(bytes(self._body), self.headers.get("Content-Encoding", ""))

    def feed(self, data: bytes) -> None:
        """Process arrived bytes.

        Raises:
            NotHTTPError: it is not a reply.
        """
        self._buffer += data
        while not self.status:
            if not self._read_head():
                return
        if not self.done:
            (self._read_chunks if self._chunked else self._read_body)()
        if self._buffer:  # more than a reply, or an unsolicited second one
            self.reusable = False

    def end(self) -> None:
        """Process the end of the connection, which may end headers as well as a body."""
        if not self.status and b"\n" in self._buffer:
            self.feed(b"\n\n")
            self._body.clear()
        self.done, self.reusable = True, False

    def _read_head(self) -> bool:
        """Read the head of the reply or of an interim one; return whether it is complete."""
        buffer = self._buffer
        if not buffer.startswith(BEGIN[: len(buffer)]):
            raise NotHTTPError("the answer is not HTTP/1.x")
        end = END_OF_HEAD.search(buffer, self._seen)
        if not end:
            self._seen = max(len(buffer) - 2, 0)
            return False
        head = bytes(buffer[: end.start() + 1])
        del buffer[: end.end()]
        self._seen = 0
        line = STATUS_LINE.match(head)
        if not line:
            raise NotHTTPError("the answer has no status line of HTTP/1.x")
        status = int(line[2])
        if 100 <= status < 200 and status != 101:
            self._interim += 1
            if self._interim > INTERIM_MAX:
                raise NotHTTPError(f"more than {INTERIM_MAX} interim replies")
            return True
        self.status, self.reason = status, (line[3] or b"").strip().decode("latin-1")
        self.headers = Headers(head[line.end() :])
        self._begin_body(line[1])
        return True

    def _begin_body(self, minor: bytes) -> None:
        """Determine the length of the body (RFC 9112 section 6.3), and whether the connection stays open (9.3)."""
        headers, status = self.headers, self.status
        connection = headers.get("Connection", "").lower()
        self._keep_alive = "close" not in connection and (minor != b"0" or "keep-alive" in connection)
        if status in (204, 304) or (self._tunnel and 200 <= status < 300):
            return self._complete()
        if status == 101:  # not HTTP from here on
            self.done = True
            return None
        coding = headers.get("Transfer-Encoding")
        if coding is None:
            self._left = content_length(headers.get("Content-Length"))
        else:
            self._chunked = coding.lower().rpartition(",")[2].strip() == "chunked"
            self._left = 0 if self._chunked else ENDLESS
        if not self._left and not self._chunked:
            self._complete()
        return None

    def _complete(self) -> None:
        self.done, self.reusable = True, self._keep_alive

    def _take(self, available: bytes | bytearray) -> None:
        """Add to the body, up to its limit."""
        self._left -= len(available)
        self._body += available[: REPLY_BYTES - len(self._body)]
        if len(self._body) >= REPLY_BYTES:
            self.done = True

    def _read_body(self) -> None:
        part = self._buffer[: self._left]
        del self._buffer[: len(part)]
        self._take(part)
        if not self._left:
            self._complete()

    def _read_chunks(self) -> None:
        buffer, at = self._buffer, 0
        while not self.done:
            if self._left:
                part = buffer[at : at + self._left]
                at += len(part)
                self._take(part)
                if self._left:
                    break
                continue
            end = buffer.find(b"\n", at)
            if end < 0:
                break
            line = buffer[at:end].strip()
            at = end + 1
            self._read_chunk_line(bytes(line))
        del buffer[:at]

    def _read_chunk_line(self, line: bytes) -> None:
        """Read a line between chunks: the end of one, the size of the next, or a trailer."""
        if self._trailer:
            if not line:
                self._complete()
            return
        if not line:
            return
        size = CHUNK.fullmatch(line)
        if not size:
            self.done = True
            return
        self._left = int(size[1], 16)
        self._trailer = not self._left


def content_length(text: str | None) -> int:
    """Return the length in Content-Length, repeated or not (RFC 9110 section 8.6); ENDLESS if there is none."""
    lengths = {part.strip() for part in (text or "").split(",")}
    only = lengths.pop()
    if lengths or not (only.isascii() and only.isdigit()):
        return ENDLESS
    return int(only) if len(only) < 18 else ENDLESS


def decoded(body: bytes, encoding: str) -> bytes:
    """Return at most REPLY_BYTES of a decompressed body, or the body itself.

    Only one encoding is undone: a list of them would multiply the size of a decompression bomb.
    """
    if encoding.strip().lower() not in ("gzip", "x-gzip", "deflate"):
        return body
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(
            body, REPLY_BYTES
        )  # 32: gzip or zlib, detected by the header
    except zlib.error:
        return body
