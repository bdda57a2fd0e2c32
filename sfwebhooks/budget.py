"""The Budget of an attempt: how long it may go on and how much it may receive, and the sockets that keep to it.

requests and urllib3 limit the wait for each read, so a peer that sends a byte a second is never too slow for them.
Here each call of a socket gets what is left of the whole attempt. An attempt is one thread's matter from its begin
to its end, so the budget belongs to the thread, and a connection that is kept alive takes that of its next user.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from enum import Enum
from typing import Any

#: bytes that an attempt may receive in all: the reply's body, 64 KiB, and headers, interim replies, framing
RECEIVED_MAX = 256 * 1024


class Phase(Enum):
    """How far an attempt has come; the value is what it was waiting for when its time was over."""

    CONNECT = "connect"
    PROXY = "connection"
    TLS = "TLS handshake"
    REQUEST = "taking the request"
    REPLY = "reply"


class ReplyTooLongError(http.client.HTTPException):
    """More came than any answer to a webhook needs."""


class Budget(threading.local):
    """What the attempt of the calling thread may still use."""

    #: monotonic seconds at which it is over
    ends_at = 0.0
    #: bytes that it has received
    received = 0
    phase = Phase.CONNECT
    #: whether it has opened a connection
    connected = False
    #: whether it sent its request over a connection that an earlier one had used
    reused = False

    def begin(self, ends_at: float) -> None:
        """Begin an attempt that is over at `ends_at` (monotonic seconds)."""
        self.ends_at, self.received, self.phase = ends_at, 0, Phase.CONNECT
        self.connected = self.reused = False

    def seconds_left(self) -> float:
        """Return what is left of the time.

        Raises:
            socket.timeout: nothing is.
        """
        left = self.ends_at - time.monotonic()
        if left <= 0:
            raise socket.timeout("the attempt's time is over")
        return left

    def receive(self, count: int) -> None:
        """Count what was received.

        Raises:
            ReplyTooLongError: it was too much.
        """
        self.received += count
        if self.received > RECEIVED_MAX:
            raise ReplyTooLongError(f"more than {RECEIVED_MAX // 1024} KiB of headers and framing")


BUDGET = Budget()


class Socket(socket.socket):
    """A socket that keeps to the budget."""

    #: whom it is connected to, by the name or address that a certificate has to have
    host = ""

    def recv(self, *args: Any, **kwargs: Any) -> bytes:
        """Receive, at most until the attempt is over."""
        self.settimeout(BUDGET.seconds_left())
        data = super().recv(*args, **kwargs)
        BUDGET.receive(len(data))
        return data

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        """Receive, at most until the attempt is over."""
        self.settimeout(BUDGET.seconds_left())
        count = super().recv_into(*args, **kwargs)
        BUDGET.receive(count)
        return count

    def send(self, *args: Any, **kwargs: Any) -> int:
        """Send, at most until the attempt is over."""
        self.settimeout(BUDGET.seconds_left())
        return super().send(*args, **kwargs)

    def sendall(self, *args: Any, **kwargs: Any) -> None:
        """Send all, at most until the attempt is over: since Python 3.5 the timeout is that of the whole call."""
        self.settimeout(BUDGET.seconds_left())
        super().sendall(*args, **kwargs)


class TLSSocket(Socket, ssl.SSLSocket):
    """The same for TLS."""

    def do_handshake(self, *args: Any, **kwargs: Any) -> None:
        """Shake hands, at most until the attempt is over: since Python 3.5 the timeout is that of the whole call."""
        self.settimeout(BUDGET.seconds_left())
        super().do_handshake(*args, **kwargs)


class TLSContext(ssl.SSLContext):
    """A TLS context whose connections keep to the budget."""

    sslsocket_class = TLSSocket

    def wrap_socket(self, sock: socket.socket, *args: Any, **kwargs: Any) -> ssl.SSLSocket:
        """Begin TLS on a connection."""
        if isinstance(sock, Socket) and not kwargs.get("server_hostname"):  # urllib3 1.26 names no host by its address
            kwargs["server_hostname"] = sock.host
        return super().wrap_socket(sock, *args, **kwargs)
