"""A receiver that keeps every request, and lets a test act at the two moments that matter: before it answers a request,
and just after."""

from __future__ import annotations

import hashlib
import http.client
import json
import socketserver
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Callable

from tests.builders import PATIENCE

#: the header that names the worker who sent a request
MARK = "X-Worker"
#: words in the data of a finding that some receivers refuse
UNWANTED = "nobody wants this"
#: in place of a status: success, which is answered once the sender has given up
LATE = 0
Message = Mapping[str, Any]


@dataclass
class Caught:
    """One request as it came in whole."""

    #: monotonic seconds
    begin: float
    path: str
    #: mark of the worker who sent it
    worker: int
    #: its webhook-id
    id: str
    #: hash of the body
    digest: str
    #: ids of the deliveries in it, in their order
    deliveries: tuple[str, ...]
    #: whether one of them is UNWANTED
    unwanted: bool
    #: epoch seconds at which it was signed, whole ones; infinite: it is not
    signed: float
    #: what it was answered, LATE until then
    status: int = LATE
    #: monotonic seconds at which the answer was written
    end: float = float("inf")


class Catcher(socketserver.ThreadingTCPServer):
    """The server; its paths are URLs of their own for the engine.

    Args:
        answer: returns the status for a request, or LATE; called from several threads.
        after: called once the answer was written.
        address: of this machine.
    """

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(
        self,
        answer: Callable[[Caught], int],
        after: Callable[[Caught], None] = lambda caught: None,
        address: str = "127.0.0.1",
    ) -> None:
        super().__init__((address, 0), Handler)
        self.caught: list[Caught] = []
        self.answer = answer
        self.after = after
        self._news = threading.Condition()

    def __enter__(self) -> Catcher:
        threading.Thread(target=self.serve_forever, args=(0.02,), name="catcher", daemon=True).start()
        return self

    def __exit__(self, *args: object) -> None:
        self.shutdown()
        self.server_close()

    def url(self, path: str) -> str:
        return f"http://{self.server_address[0]!s}:{self.server_address[1]}{path}"

    def sender_of(self, headers: Mapping[str, str], address: str) -> int:
        """Return the mark of the worker who sent a request with these headers, from an address."""
        return int(headers[MARK])

    def keep(self, caught: Caught, messages: Sequence[Message]) -> None:
        """Keep a request, with the messages that are in it."""
        with self._news:
            self.caught.append(caught)
            self._news.notify_all()

    def wait_until(self, happened: Callable[[], bool], seconds: float = PATIENCE) -> None:
        """Wait until something is true; it is looked at whenever a request has come in."""
        with self._news:
            assert self._news.wait_for(happened, seconds), f"{len(self.caught)} requests came, and not the one awaited"


class Handler(socketserver.StreamRequestHandler):
    """One connection; several requests may come over it."""

    disable_nagle_algorithm = True
    server: Catcher

    def handle(self) -> None:
        try:
            for caught in self._requests():
                caught.status = self.server.answer(caught)
                if caught.status == LATE:
                    self.rfile.read()  # until the sender closes it
                    self.wfile.write(b"HTTP/1.1 200 -\r\nContent-Length: 2\r\n\r\nok")
                    return
                self.wfile.write(b"HTTP/1.1 %d -\r\nContent-Length: 2\r\n\r\nok" % caught.status)
                caught.end = time.monotonic()
                self.server.after(caught)
        except ConnectionError:
            pass  # the sender was killed

    def _requests(self) -> Iterator[Caught]:
        """Yield what comes over the connection, as far as it came whole."""
        while line := self.rfile.readline():
            headers = http.client.parse_headers(self.rfile)
            length = int(headers.get("Content-Length", 0))
            body = self.rfile.read(length)
            if not length or len(body) < length:
                return
            path, identity = line.split()[1].decode(), headers["webhook-id"]
            mark = self.server.sender_of(dict(headers.items()), self.client_address[0])
            digest, unwanted = hashlib.sha256(body).hexdigest(), UNWANTED.encode() in body
            message = json.loads(body)
            messages = message if isinstance(message, list) else [message]  # of a batch
            deliveries = tuple(one["metadata"]["delivery_id"] for one in messages)
            signed = float(headers.get("webhook-timestamp", "inf"))
            caught = Caught(time.monotonic(), path, mark, identity, digest, deliveries, unwanted, signed)
            self.server.keep(caught, messages)
            yield caught
