"""One HTTP/1.x reply: its bytes come in as they arrive; status, headers and the beginning of the body go out.

Only the status line counts (RFC 9112 section 4). Everything after it may be malformed, too long or endless: as in
browsers, a line that is not a header is skipped, and a truncated body is an excerpt. This module does no I/O;
`connection` reads, and `budget` limits bytes and time.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice

#: most bytes of a reply's body that are read, both raw and decoded
REPLY_BYTES = 64 * 1024
#: most interim replies (1xx) before the reply itself (RFC 9110 section 15.2)
INTERIM_MAX = 16
#: most headers that are read of a reply; further ones are dropped
HEADERS_MAX = 1000
#: most characters of a head that is remembered
AGAIN_MAX = 4096
#: the length of a body that ends with its connection
ENDLESS = 1 << 60
BEGIN = b"HTTP/1."
STATUS_LINE = re.compile(r"HTTP/1\.([0-9])[ \t]+([0-9]{3})(?:[ \t]([^\n]*))?\r?\n")
#: space before the colon is dropped (RFC 9112 section 5.1); a folded line or one without a name does not match
HEADER = re.compile(r"^([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*:([^\n]*)", re.MULTILINE)
#: whitespace around a value
BLANKS = " \t\r\v\f"
END_OF_HEAD = re.compile(rb"\n\r?\n")
#: size and extensions of a chunk (RFC 9112 section 7.1)
CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?", re.DOTALL)


class NotHTTPError(ValueError):
    """The received data is not an HTTP/1.x reply."""


class Headers(Mapping[str, str]):
    """A reply's headers, by name in any case; the values of repeated ones are joined (RFC 9110 section 5.3)."""

    def __init__(self, lines: str) -> None:
        #: name in lower case -> value
        self.fields: dict[str, str] = {}
        fields = self.fields
        for line in islice(HEADER.finditer(lines), HEADERS_MAX):
            name, value = line[1].lower(), line[2].strip(BLANKS)
            fields[name] = f"{fields[name]}, {value}" if name in fields else value

    def __getitem__(self, name: str) -> str:
        return self.fields[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self.fields)

    def __len__(self) -> int:
        return len(self.fields)


@dataclass(frozen=True)
class Head:
    """The head of a reply."""

    status: int
    #: the receiver's words, which can repeat parts of the request, as can its headers
    reason: str = field(repr=False)
    headers: Headers = field(repr=False)
    #: whether the receiver keeps the connection open after it
    keep_alive: bool

    @classmethod
    def read(cls, text: str) -> Head:
        """Return the head with this text.

        Raises:
            NotHTTPError: it has no status line.
        """
        line = STATUS_LINE.match(text)
        if not line:
            raise NotHTTPError("the answer has no status line of HTTP/1.x")
        headers = Headers(text[line.end() :])
        connection = headers.fields.get("connection", "").lower()
        keep_alive = "close" not in connection and (line[1] != "0" or "keep-alive" in connection)
        return cls(int(line[2]), (line[3] or "").strip(BLANKS), headers, keep_alive)


#: receivers repeat themselves
_read_again = lru_cache(maxsize=64)(Head.read)


class ReplyReader:
    """Reads one reply. Feed it until it is done; once `status` is set, only a part of the body is missing.

    Args:
        tunnel: the request was CONNECT, so a 2xx has no body after its headers (RFC 9110 section 9.3.6).
    """

    def __init__(self, tunnel: bool = False) -> None:
        #: 0 until the headers have arrived
        self.status = 0
        self.reason = ""
        self.headers: Mapping[str, str] = {}
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
        #: the body has arrived to its end
        self._whole = False
        self._keep_alive = False
        #: Content-Encoding
        self._encoding = ""
        self._chunked = False
        #: missing bytes of the body, or of its current chunk
        self._left = 0
        #: the last chunk has arrived
        self._trailer = False

    @property
    def body(self) -> bytes:
        """The beginning of the body, decompressed if the receiver compressed it although we asked it not to."""
        body = bytes(self._body)
        return decoded(body, self._encoding) if self._encoding else body

    def feed(self, data: bytes) -> None:
        """Process arrived bytes.

        Raises:
            NotHTTPError: it is not a reply.
        """
        buffer = self._buffer
        buffer += data
        while not self.status:
            if not buffer.startswith(BEGIN[: len(buffer)]):
                raise NotHTTPError("the answer is not HTTP/1.x")
            end = END_OF_HEAD.search(buffer, self._seen)
            if not end:
                self._seen = max(len(buffer) - 2, 0)
                return
            head = buffer[: end.start() + 1].decode("latin-1")
            del buffer[: end.end()]
            self._seen = 0
            self._read_head(head)
        if not self.done:
            del buffer[: self._read_chunks() if self._chunked else self._take(0)]
            if not (self._left or self._chunked):
                self.done = self._whole = True
        # more than a reply is an unsolicited second one
        self.reusable = self._whole and self._keep_alive and not buffer

    def end(self) -> None:
        """Process the end of the connection, which may end headers as well as a body."""
        if not self.status and b"\n" in self._buffer:
            self.feed(b"\n\n")
            self._body.clear()
        self.done, self.reusable = True, False

    def _read_head(self, text: str) -> None:
        """Read the head of the reply, or of an interim one, and determine how the body ends (RFC 9112 section 6.3)."""
        head = (_read_again if len(text) <= AGAIN_MAX else Head.read)(text)
        if 100 <= head.status < 200 and head.status != 101:
            self._interim += 1
            if self._interim > INTERIM_MAX:
                raise NotHTTPError(f"more than {INTERIM_MAX} interim replies")
            return
        status, fields = head.status, head.headers.fields
        self.status, self.reason, self.headers, self._keep_alive = status, head.reason, head.headers, head.keep_alive
        self._encoding = fields.get("content-encoding", "")
        coding = fields.get("transfer-encoding")
        if status == 101:  # not HTTP from here on
            self.done = True
        elif status in (204, 304) or (self._tunnel and 200 <= status < 300):
            self._left = 0
        elif coding is not None:
            self._chunked = coding.lower().rpartition(",")[2].strip() == "chunked"
            self._left = 0 if self._chunked else ENDLESS
        else:
            # repeated ones with the same value are valid (RFC 9110 section 8.6)
            length, *others = {part.strip() for part in fields.get("content-length", "").split(",")}
            usable = not others and length.isascii() and length.isdigit() and len(length) < 18
            self._left = int(length) if usable else ENDLESS

    def _take(self, at: int) -> int:
        """Move bytes from a position in the buffer to the body, up to its limits; return the position after them."""
        part = self._buffer[at : at + self._left]
        self._left -= len(part)
        self._body += part[: REPLY_BYTES - len(self._body)]
        if len(self._body) >= REPLY_BYTES:
            self.done = True
        return at + len(part)

    def _read_chunks(self) -> int:
        """Read chunks from the buffer; return the position after the bytes that are not needed any more."""
        buffer, at = self._buffer, 0
        while not self.done:
            if self._left:
                at = self._take(at)
                if self._left:
                    break
                continue
            end = buffer.find(b"\n", at)
            if end < 0:
                break
            line = buffer[at:end].strip()
            at = end + 1
            self._read_chunk_line(bytes(line))
        return at

    def _read_chunk_line(self, line: bytes) -> None:
        """Read a line between chunks: the end of one, the size of the next, or a trailer."""
        if self._trailer:
            self.done = self._whole = not line
            return
        if not line:
            return
        size = CHUNK.fullmatch(line)
        if not size:
            self.done = True
            return
        self._left = int(size[1], 16)
        self._trailer = not self._left


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
