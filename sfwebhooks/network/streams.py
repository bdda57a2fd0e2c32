"""Non-blocking streams: bytes for a peer come in, its bytes go out. A Stream uses TCP, a TLSStream another stream.

`send` accepts as much as fits, and only `recv` waits, within the time of the attempt: for bytes, or for room for more
of ours. So a reply is noticed while the request is still being sent, and OpenSSL may write while we read (a certificate
requested after the handshake, RFC 8446 section 4.6.2).
"""

from __future__ import annotations

import math
import socket
import ssl
import time
from contextlib import suppress
from typing import Protocol, Union

from sfwebhooks import system
from sfwebhooks.network.budget import RECEIVED_MAX, Budget, ReplyTooLongError
from sfwebhooks.system import POLL_IN, POLL_OUT

#: bytes that are received at once
PART = 64 * 1024
Data = Union[bytes, memoryview]


class Bytes(Protocol):
    """A stream that a connection reads from and writes to."""

    @property
    def is_readable(self) -> bool:
        """Whether bytes or the end have arrived."""

    def send(self, data: Data) -> int:
        """Send the beginning of some bytes; return how many were accepted.

        Raises:
            OSError: the peer accepts no more; the cause may have been received before.
        """

    def recv(self, until: float, writable: bool = False) -> bytes | None:
        """Wait for bytes and return them, b"" at the end; None if there are none, and maybe more can be sent.

        Args:
            until: monotonic seconds.
            writable: do not wait any longer once more can be sent.

        Raises:
            socket.timeout: it is later than `until`.
            ReplyTooLongError: the attempt has received more than its limit.
        """

    def close(self) -> None:
        """Close the connection."""


class Stream:
    """A TCP connection; `budget` belongs to the attempt that uses it, and counts received bytes."""

    def __init__(self, sock: socket.socket, budget: Budget) -> None:
        sock.setblocking(False)
        self.budget = budget
        self._sock = sock
        self._poll = system.Poll()
        self._poll.register(sock, POLL_IN)

    @property
    def is_readable(self) -> bool:
        """Whether bytes or the end have arrived."""
        return bool(self._poll.poll(0))

    def send(self, data: Data) -> int:
        """Send the beginning of some bytes; return how many were accepted."""
        try:
            return self._sock.send(data)
        except BlockingIOError:
            return 0

    def recv(self, until: float, writable: bool = False) -> bytes | None:
        """Wait for bytes and return them, b"" at the end; None if there are none, and maybe more can be sent."""
        left = until - time.monotonic()
        if writable:
            self._poll.modify(self._sock, POLL_IN | POLL_OUT)
        try:
            if left <= 0 or not self._poll.poll(math.ceil(left * 1000)):
                raise socket.timeout("the time is over")
        finally:
            if writable:
                self._poll.modify(self._sock, POLL_IN)
        try:
            data = self._sock.recv(PART)
        except BlockingIOError:
            return None
        self.budget.received += len(data)
        if self.budget.received > RECEIVED_MAX:
            raise ReplyTooLongError(f"more than {RECEIVED_MAX // 1024} KiB of headers and framing")
        return data

    def close(self) -> None:
        """Close the connection."""
        self._sock.close()


class TLSStream:
    """TLS over another stream, which may use TLS itself (a receiver behind an https proxy)."""

    def __init__(self, below: Bytes, context: ssl.SSLContext, host: str) -> None:
        self._below = below
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        #: what was agreed upon, and the plain bytes
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        #: encrypted bytes that wait to be sent
        self._unsent = b""
        #: error after which no more can be sent
        self._broken: OSError | None = None

    @property
    def is_readable(self) -> bool:
        """Whether bytes or the end have arrived."""
        return bool(self._incoming.pending or self.tls.pending()) or self._below.is_readable

    def shake_hands(self, until: float) -> None:
        """Start TLS.

        Raises:
            OSError: it failed (ssl.SSLError), or it is later than `until` (monotonic seconds).
        """
        while True:
            try:
                self.tls.do_handshake()
                return
            except ssl.SSLWantReadError:
                pass
            finally:
                self._flush()  # also sends our alert if the handshake fails
            self._fetch(until)

    def send(self, data: Data) -> int:
        """Send the beginning of some bytes; return how many were accepted."""
        self._flush()
        if self._broken:
            raise self._broken
        if self._unsent:
            return 0
        count = 0
        with suppress(ssl.SSLWantReadError):  # in the middle of a renegotiation
            count = self.tls.write(data[:PART])
        self._flush()
        return count

    def recv(self, until: float, writable: bool = False) -> bytes | None:
        """Wait for bytes and return them, b"" at the end; None if there are none, and maybe more can be sent."""
        while True:
            try:
                return self.tls.read(PART)
            except ssl.SSLWantReadError:
                self._flush()
            except ssl.SSLEOFError:
                return b""
            if not self._fetch(until, writable):
                return None

    def close(self) -> None:
        """Close the connection."""
        self._below.close()

    def _fetch(self, until: float, writable: bool = False) -> bool:
        """Wait for bytes and pass them to OpenSSL; return whether bytes or the end have arrived."""
        data = self._below.recv(until, writable or bool(self._unsent))
        if data:
            self._incoming.write(data)
        elif data is not None:
            self._incoming.write_eof()
        return data is not None

    def _flush(self) -> None:
        """Send OpenSSL's output. If the peer accepts no more, bytes that it sent before can still be read."""
        self._unsent += self._outgoing.read()
        try:
            while self._unsent and not self._broken:
                count = self._below.send(self._unsent)
                if not count:
                    return
                self._unsent = self._unsent[count:]
        except OSError as error:
            self._broken = error
        if self._broken:
            self._unsent = b""
