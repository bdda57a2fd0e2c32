"""Clients of the event stream: one that reads event after event, and a crowd of them in one thread."""

from __future__ import annotations

import json
import selectors
import socket
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Any

from tests.builders import PATIENCE
from tests.threads import until

#: bytes that a client reads at once
READ = 1 << 18
#: clients of a crowd that connect at once: a server takes no more connections than its limit
TOGETHER = 100


def connected(port: int, token: str = "", cookie: str = "", path: str = "/v1/stream") -> socket.socket:
    """Return a socket that has asked for the stream, or something else."""
    client = socket.create_connection(("127.0.0.1", port), PATIENCE)
    client.sendall(asked(port, token, cookie, path))
    return client


def asked(port: int, token: str = "", cookie: str = "", path: str = "/v1/stream") -> bytes:
    """Return a request."""
    proof = f"Authorization: Bearer {token}\r\n" if token else f"Cookie: sfwebhooks={cookie}\r\n" if cookie else ""
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{proof}\r\n".encode()


class Listener:
    """One client, which reads when it is asked for an event.

    Args:
        client: has asked for the stream.
    """

    def __init__(self, client: socket.socket) -> None:
        self.socket = client
        #: name -> data of the last event that was read
        self.last: dict[str, Any] = {}
        self._buffer = b""
        self.head = self._until(b"\r\n\r\n").decode()
        self.status = int(self.head.split(" ")[1])

    def __enter__(self) -> Listener:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def next(self, name: str) -> Any:
        """Return the data of the next event of a name; those before it are in `last`."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            begin, is_event, data = self._until(b"\n\n").partition(b"\ndata: ")
            found = begin.rpartition(b"event: ")[2].decode()
            if is_event:
                self.last[found] = json.loads(data)
            if is_event and found == name:
                return self.last[name]
        raise AssertionError(f"no {name} came within {PATIENCE} s")

    def rest(self) -> bytes:
        """Read until the server closes or ends the stream; return what came."""
        while not self._buffer.endswith(b"\r\n0\r\n\r\n"):
            part = self._read()
            if not part:
                break
            self._buffer += part
        return self._buffer

    def _until(self, end: bytes) -> bytes:
        while end not in self._buffer:
            part = self._read()
            assert part, f"the stream ended: {self._buffer!r}"
            self._buffer += part
        found, _, self._buffer = self._buffer.partition(end)
        return found

    def _read(self) -> bytes:
        with suppress(ConnectionResetError):
            return self.socket.recv(READ)
        return b""


class Crowd:
    """Many clients, in a thread that reads whatever comes while the block runs.

    Args:
        number: of clients.
    """

    def __init__(self, port: int, token: str, number: int) -> None:
        self._port = port
        self._token = token
        self._number = number
        self._selector = selectors.DefaultSelector()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        #: client -> its last status, and what came after the last event
        self.statuses: dict[socket.socket, bytes] = {}
        self._rest: dict[socket.socket, bytes] = {}
        #: number of those that the server has ended
        self.ended = 0

    @property
    def clients(self) -> list[socket.socket]:
        return [*self._rest]

    def __enter__(self) -> Crowd:
        self._thread.start()
        for made in range(self._number):
            until(lambda made=made: made - len(self.statuses) < TOGETHER, 3 * PATIENCE)  # type: ignore[misc]
            client = connected(self._port, self._token)
            self._rest[client] = b""
            self._selector.register(client, selectors.EVENT_READ)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        for client in self._rest:
            client.close()
        self._selector.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            for key, _ in self._selector.select(0.1):
                client = key.fileobj
                assert isinstance(client, socket.socket)
                part = b""
                with suppress(ConnectionResetError):
                    part = client.recv(READ)
                if part:
                    self._take(client, part)
                else:
                    self._selector.unregister(client)
                    self.ended += 1

    def _take(self, client: socket.socket, part: bytes) -> None:
        *blocks, self._rest[client] = (self._rest[client] + part).split(b"\n\n")
        for block in blocks:
            if b"event: status\n" in block:
                self.statuses[client] = block.partition(b"\ndata: ")[2]
