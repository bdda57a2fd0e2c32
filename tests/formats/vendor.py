"""A receiver that answers as a vendor's product does: its answer has a body that says what became of each message."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Callable

from requests.structures import CaseInsensitiveDict


@dataclass(frozen=True)
class Posted:
    """A request as received."""

    #: with the query
    path: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


#: status and body of the answer to a request, and headers if it has any of its own
Answer = Callable[[Posted], "tuple[int, bytes] | tuple[int, bytes, Mapping[str, str]]"]


@contextmanager
def vendor(answer: Answer) -> Iterator[str]:
    """Run a receiver while the block runs; its URL without a path comes in."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, words, *more = answer(Posted(self.path, CaseInsensitiveDict(self.headers.items()), body))
            self.send_response(status)
            for name, value in (more[0] if more else {}).items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(words)))
            self.end_headers()
            self.wfile.write(words)

        def log_message(self, *args: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
