"""The fictional web as an HTTP proxy: absolute-form requests come in, the pages of `company` and `web` go out.

It listens on 127.0.0.1 only and never opens a connection of its own: CONNECT is refused with 403, as is a request
that was not meant for a proxy; an unknown host gets 502.
"""

from __future__ import annotations

import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import parse_qsl, urlsplit

from sfwebhooks.demo import company, web
from sfwebhooks.demo.page import Page, html


class FictionalWeb:
    """Serve the fictional web while the context is entered."""

    def __init__(self) -> None:
        #: answered requests by host
        self.requests: Counter[str] = Counter()
        #: refused requests by host, CONNECT included
        self.refused: Counter[str] = Counter()
        self._counting = threading.Lock()
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="demo-site", daemon=True)

    @property
    def port(self) -> int:
        """The port that the proxy listens on."""
        return int(self._server.server_address[1])

    @property
    def address(self) -> str:
        """The proxy's own URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def total(self) -> int:
        """Number of requests that were answered or refused so far."""
        with self._counting:
            return sum(self.requests.values()) + sum(self.refused.values())

    def __enter__(self) -> FictionalWeb:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def answer(self, url: str) -> Page:
        """Return the page at an absolute URL and count it; a refusal is a page too."""
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
        page = self._find(host, parts.path, parts.query) if parts.scheme == "http" else None
        self._count(host, page is not None)
        return page or html("Bad gateway", "<h1>No such host in the fictional web</h1>", status=502 if host else 403)

    def refuse(self, authority: str) -> Page:
        """Return the answer to a CONNECT and count it."""
        self._count(authority.rsplit(":", 1)[0].lower(), False)
        return html("Forbidden", "<h1>The fictional web has no tunnels</h1>", status=403)

    def _find(self, host: str, path: str, query: str) -> Page | None:
        return company.answer_from_company(host, path) or web.answer_from_outside(host, path, dict(parse_qsl(query)))

    def _count(self, host: str, answered: bool) -> None:
        with self._counting:
            (self.requests if answered else self.refused)[host] += 1


class _Server(ThreadingHTTPServer):
    """The listening socket; its requests are answered by the site."""

    request_queue_size = 64

    def __init__(self, site: FictionalWeb) -> None:
        self.site = site
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore a client that disconnected: a killed scan leaves many."""


class _Handler(BaseHTTPRequestHandler):
    """Pass a request to the site, and send its page as the response."""

    protocol_version = "HTTP/1.1"
    # Headers and body are two writes: Nagle's algorithm would hold the second one back for 40 ms.
    disable_nagle_algorithm = True
    timeout = 60
    server: _Server

    def do_GET(self) -> None:
        """Answer a request in absolute form."""
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._send(self.server.site.answer(self.path))

    do_HEAD = do_POST = do_GET

    def do_CONNECT(self) -> None:
        """Refuse a tunnel."""
        self.close_connection = True
        self._send(self.server.site.refuse(self.path))

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: the requests are counted."""

    def _send(self, page: Page) -> None:
        self.send_response_only(page.status)
        for name, value in page.headers:
            self.send_header(name, value)
        self.send_header("Content-Type", page.kind)
        self.send_header("Content-Length", str(len(page.body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(page.body)
