"""A receiver that answers as a vendor's service does: the test says how, and sees all requests."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Asked:
    """A request."""

    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    #: JSON is parsed
    body: Any
    method: str = "POST"


@dataclass(frozen=True)
class Answer:
    """A reply; its body is JSON unless it is a text."""

    status: int
    body: Any = ""
    headers: Mapping[str, str] | None = None


class Vendor:
    """A service at 127.0.0.1, with what it was asked."""

    def __init__(self, answer: Callable[[Asked], Answer]) -> None:
        self.got: list[Asked] = []
        #: decides each answer; a test may replace it
        self.answer = answer
        vendor = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body: Any = self.rfile.read(int(self.headers["Content-Length"])).decode()
                if "json" in self.headers["Content-Type"]:
                    body = json.loads(body)
                parts = urlsplit(self.path)
                asked = Asked(parts.path, parse_qs(parts.query), dict(self.headers), body, self.command)
                vendor.got.append(asked)
                answer = vendor.answer(asked)
                data = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
                self.send_response(answer.status)
                for name, value in (answer.headers or {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data.encode())))
                self.end_headers()
                self.wfile.write(data.encode())

            do_PUT = do_PATCH = do_POST

            def log_message(self, *_: object) -> None:
                """Print nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
