"""Proxies for tests: HTTP (CONNECT and forwarding, in the clear or over TLS) and SOCKS 5. Hostile ones: `Hostile`."""

from __future__ import annotations

import base64
import contextlib
import select
import socket
import ssl
import threading
from typing import Any
from urllib.parse import urlsplit

from tests.builders import PATIENCE


class Middleman:
    """A proxy that lets everybody through, or who has the right user name and password.

    Args:
        refusal: the status line's words with which an HTTP proxy answers in place of connecting.
        headers: lines that it adds.
        page: and the body.
    """

    def __init__(
        self,
        tls: ssl.SSLContext | None = None,
        credentials: str = "",
        refusal: str = "",
        headers: tuple[str, ...] = (),
        page: str = "",
    ) -> None:
        #: heads of the requests that it got
        self.heads: list[bytes] = []
        #: where it was asked to connect to
        self.goals: list[tuple[str, int]] = []
        self.credentials = credentials
        self.refusal = refusal
        self.lines = "".join(f"{line}\r\n" for line in headers)
        self.page = page
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._welcome, args=(connection,), daemon=True).start()

    def _welcome(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            connection.settimeout(PATIENCE)
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with connection:
                self._talk(connection)

    def _talk(self, connection: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(65536)
        head, _, rest = head.partition(b"\r\n\r\n")
        self.heads.append(head)
        method, target, _ = head.split(b"\r\n")[0].decode().split()
        if self.refusal or not self._knows(head):
            answer = f"HTTP/1.1 {self.refusal or '407 Who'}\r\n{self.lines}Content-Length: {len(self.page)}\r\n\r\n"
            connection.sendall((answer + self.page).encode())
        elif method == "CONNECT":
            host, _, port = target.rpartition(":")
            self._join(connection, (host.strip("[]"), int(port)), b"HTTP/1.1 200 Connected\r\n\r\n", b"")
        else:
            parts = urlsplit(target)
            path = target.partition(parts.netloc)[2]
            onward = head.replace(target.encode(), path.encode(), 1) + b"\r\n\r\n" + rest
            self._join(connection, (str(parts.hostname), parts.port or 80), b"", onward)

    def _knows(self, head: bytes) -> bool:
        expected = b"Proxy-Authorization: Basic " + base64.b64encode(self.credentials.encode())
        return not self.credentials or expected in head.split(b"\r\n")

    def _join(self, one: socket.socket, goal: tuple[str, int], greeting: bytes, begin: bytes) -> None:
        """Connect to the goal (names in .test are this machine), then copy both ways."""
        self.goals.append(goal)
        host = "127.0.0.1" if goal[0].endswith(".test") else goal[0]
        with socket.create_connection((host, goal[1]), PATIENCE) as other:
            one.sendall(greeting)
            other.sendall(begin)
            _relay(one, other)


class SocksMiddleman(Middleman):
    """The same for SOCKS 5 (RFC 1928, RFC 1929); `refusal` is the number of an error."""

    @property
    def url(self) -> str:
        return f"socks5h://127.0.0.1:{self.port}"

    def _talk(self, connection: socket.socket) -> None:
        methods = _exactly(connection, _exactly(connection, 2)[1])
        wanted = 2 if self.credentials else 0
        if wanted not in methods:
            connection.sendall(b"\x05\xff")
            return
        connection.sendall(bytes([5, wanted]))
        if wanted and not self._is_authenticated(connection):
            connection.sendall(b"\x01\x01")
            return
        kind = _exactly(connection, 4)[3]
        host = _exactly(connection, _exactly(connection, 1)[0]).decode() if kind == 3 else ""
        host = host or socket.inet_ntop(*((socket.AF_INET, _exactly(connection, 4)) if kind == 1 else _six(connection)))
        goal = host, int.from_bytes(_exactly(connection, 2), "big")
        answer = bytes([5, int(self.refusal or 0), 0, 1, 0, 0, 0, 0, 0, 0])
        if self.refusal:
            connection.sendall(answer)
            return
        self._join(connection, goal, answer, b"")

    def _is_authenticated(self, connection: socket.socket) -> bool:
        user = _exactly(connection, _exactly(connection, 2)[1])
        password = _exactly(connection, _exactly(connection, 1)[0])
        known = f"{user.decode()}:{password.decode()}" == self.credentials
        if known:
            connection.sendall(b"\x01\x00")
        return known


def _six(connection: socket.socket) -> tuple[Any, bytes]:
    return socket.AF_INET6, _exactly(connection, 16)


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        got = connection.recv(size - len(data))
        if not got:
            raise ConnectionError("left")
        data += got
    return data


def _relay(one: socket.socket, other: socket.socket) -> None:
    """Copy both ways until both have ended, in one thread: two must not use a TLS connection at the same time."""
    sinks = {one: other, other: one}
    with contextlib.suppress(OSError):
        while sinks:
            held = [source for source in sinks if isinstance(source, ssl.SSLSocket) and source.pending()]
            for source in held or select.select(list(sinks), [], [], PATIENCE)[0]:
                data = _at_hand(source)
                if data:
                    sinks[source].sendall(data)
                elif data is not None:
                    sinks.pop(source).shutdown(socket.SHUT_WR)


def _at_hand(source: socket.socket) -> bytes | None:
    """Return what has come: nothing at the end, None if a piece of TLS has come that says nothing."""
    source.settimeout(0)
    try:
        return source.recv(65536)
    except (ssl.SSLWantReadError, BlockingIOError):
        return None
    finally:
        source.settimeout(PATIENCE)
