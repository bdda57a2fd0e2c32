"""A receiver that keeps every request, and lets a test act at the two moments that matter: before it answers a request,
and just after."""

from __future__ import annotations

import hashlib
import http.client
import json
import socketserver
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Callable

from tests.builders import PATIENCE

#: the header that names the worker who sent a request
MARK = "X-Worker"
#: words in the data of a finding that some receivers refuse
UNWANTED = "nobody wants this"
#: in place of a status: success, which is answered once the sender has given up
LATE = 0


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
    #: what it was answered, LATE until then
    status: int = LATE
    #: monotonic seconds at which the answer was written
    end: float = float("inf")


class Catcher(socketserver.ThreadingTCPServer):
    """The server; its paths are URLs of their own for the engine.

    Args:
        answer: returns the status for a request, or LATE; called from several threads.
        after: called once the answer was written.
    """

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, answer: Callable[[Caught], int], after: Callable[[Caught], None] = lambda caught: None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
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
        return f"http://127.0.0.1:{self.server_address[1]}{path}"

    def keep(self, caught: Caught) -> None:
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
            path, mark, identity = line.split()[1].decode(), int(headers[MARK]), headers["webhook-id"]
            digest, unwanted = hashlib.sha256(body).hexdigest(), UNWANTED.encode() in body
            caught = Caught(time.monotonic(), path, mark, identity, digest, delivery_ids(body), unwanted)
            self.server.keep(caught)
            yield caught


def delivery_ids(body: bytes) -> tuple[str, ...]:
    """Return the ids of the deliveries in a message, which is one object or, of a batch, a list of them."""
    message = json.loads(body)
    messages = message if isinstance(message, list) else [message]
    return tuple(one["metadata"]["delivery_id"] for one in messages)
