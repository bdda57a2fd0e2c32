"""A local receiver: accepts deliveries over http, https or mTLS, verifies them, reports each request and answers it.

For `sfwebhooks receive` and the demo. It shows what a receiver has to do, and is not meant for the internet.
"""

from __future__ import annotations

import contextlib
import math
import re
import socket
import ssl
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from types import MappingProxyType
from typing import Any, Callable

from requests.structures import CaseInsensitiveDict

from sfwebhooks.errors import NotStoredError
from sfwebhooks.receive.checks import Checks
from sfwebhooks.receive.head import HeadLines, is_ambiguous
from sfwebhooks.receive.inflating import BODY_MAX, InflatedTooLongError, inflated
from sfwebhooks.receive.received import Received
from sfwebhooks.receive.responses import Response
from sfwebhooks.receive.room import Room

SOCKET_SECONDS = 30.0
#: seconds for a whole head, from the end of the request before it, and for a whole body
HEAD_SECONDS = 30.0
BODY_SECONDS = 300.0
#: connections at once; others wait in the system's backlog
CONNECTIONS_MAX = 256
#: seconds between two looks whether one has ended, or whether there are file descriptors again
PAUSE_SECONDS = 0.05
#: connections from addresses that are not allowed that have the time to read their answer, and seconds of it
REFUSALS_MAX = 16
REFUSAL_SECONDS = 2.0
#: bytes that are kept of a body that is not verified: anybody may send one
REFUSED_MAX = 1_000_000
#: bytes that are read at once of a body that is not kept
PIECE = 64 * 1024
#: seconds after which a sender may come again if there was no room for its body, or it could not be stored
RETRY_SECONDS = 5
#: status, body and headers
Answer = tuple[int, bytes, Mapping[str, str]]
LATER = {"Retry-After": str(RETRY_SECONDS)}
NO_ROOM: Answer = (503, b"too many large bodies at once", LATER)
NOT_STORED: Answer = (503, b"it could not be stored", LATER)
UNCLEAR: Answer = (400, b"it is not clear where this request ends", {})
FORBIDDEN = 403
FORBIDDEN_REPLY = (
    b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 27\r\n"
    b"\r\nthis address is not allowed"
)
#: the name of a sender
NAME = re.compile(r"[!-~]{1,253}")


def server_context(cert: Path, key: Path, client_ca: Path | None = None) -> ssl.SSLContext:
    """Return the TLS context of a receiver; with `client_ca` it requires a client certificate of that CA.

    Raises:
        OSError: a file cannot be read, or OpenSSL cannot use it, such as an encrypted key.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key, password="")  # else OpenSSL asks for it on the terminal
    if client_ca:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


class Receiver(ThreadingHTTPServer):
    """The server; it runs in threads of its own between `start` and `stop`.

    Args:
        respond: returns the response to a delivery that was verified; one that was not gets 401.
        on_receive: called with each request, from several threads, before it is answered; a NotStoredError makes the
            answer 503.
        on_refuse: called with the reason when a TLS handshake failed.
    """

    daemon_threads = True
    request_queue_size = 128  # with the default of 5, a sixth connection at once would wait a second for its next try

    def __init__(
        self,
        checks: Checks,
        address: tuple[str, int] = ("127.0.0.1", 0),
        tls: ssl.SSLContext | None = None,
        respond: Callable[[Received], Response] = lambda received: Response(),
        on_receive: Callable[[Received], None] = lambda received: None,
        on_refuse: Callable[[str], None] = lambda reason: None,
    ) -> None:
        self.address_family = _family(address[0])
        super().__init__(address, Handler)
        self.checks = checks
        self.tls = tls
        self.respond = respond
        self.on_receive = on_receive
        self.on_refuse = on_refuse
        #: called with the address of each connection from one that is not allowed
        self.on_forbid: Callable[[str], None] = lambda address: None
        #: seconds between a delivery and its answer
        self.slow_seconds = 0.0
        self._stopping = threading.Event()
        self.room = Room()
        #: held while a body is decompressed, which can need more than its own bytes
        self.inflating = threading.Lock()
        #: connection -> time.monotonic() at which it is ended
        self._open: dict[socket.socket, float] = {}
        self._refusals = threading.Semaphore(REFUSALS_MAX)

    @property
    def url(self) -> str:
        """The address to send to."""
        host, port = str(self.server_address[0]), self.server_address[1]
        shown = f"[{host}]" if ":" in host else host  # RFC 3986 section 3.2.2
        return f"{'https' if self.tls else 'http'}://{shown}:{port}/webhook"

    def start(self) -> None:
        """Start to accept requests, in a thread."""
        threading.Thread(target=self.serve_forever, args=(0.02,), name="receiver", daemon=True).start()

    def stop(self) -> None:
        """Accept no more requests, free the port, and end the connections that are kept alive."""
        self._stopping.set()
        self.shutdown()
        self.server_close()
        for request in list(self._open):
            _end(request)

    def wait(self) -> None:
        """Wait before an answer, for as long as it was asked for, or until the end."""
        self._stopping.wait(self.slow_seconds)

    def get_request(self) -> Any:
        """Accept a connection once there are fewer than the most."""
        while len(self._open) >= CONNECTIONS_MAX and not self._stopping.wait(PAUSE_SECONDS):
            self.service_actions()
        try:
            return super().get_request()
        except OSError:  # no file descriptors: the connection stays in the backlog, and would be tried again at once
            self._stopping.wait(PAUSE_SECONDS)
            raise

    def service_actions(self) -> None:
        """End the connections whose time is over."""
        now = time.monotonic()
        for request, ends_at in list(self._open.items()):
            if ends_at < now:
                _end(request)

    def limit(self, request: socket.socket, seconds: float) -> None:
        """Set the seconds after which a connection is ended."""
        self._open[request] = time.monotonic() + seconds

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread, or refuse it before anything of it is read."""
        address = plain_address(client_address)
        if self.checks.allow(address):
            self.limit(request, math.inf)
            super().process_request(request, client_address)
            return
        self.on_forbid(address)
        if self.tls or not self._refusals.acquire(blocking=False):
            self.shutdown_request(request)
        else:
            threading.Thread(target=self._refuse, args=(request,), daemon=True).start()

    def _refuse(self, request: socket.socket) -> None:
        try:
            request.settimeout(REFUSAL_SECONDS)
            with contextlib.suppress(OSError):
                request.sendall(FORBIDDEN_REPLY)
            _drain(request)
        finally:
            self._refusals.release()

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Shake hands in the connection's own thread, then serve it."""
        request.settimeout(SOCKET_SECONDS)
        if self.tls:
            raw = request
            # not at once: wrap_socket closes a socket whose handshake fails
            request = self.tls.wrap_socket(raw, server_side=True, do_handshake_on_connect=False)
            self._open[request] = self._open.pop(raw)
        try:
            if not self.tls or self._shake_hands(request):
                super().finish_request(request, client_address)
        finally:
            self.shutdown_request(request)

    def _shake_hands(self, request: ssl.SSLSocket) -> bool:
        try:
            request.do_handshake()
        except OSError as error:
            self.on_refuse(getattr(error, "reason", "") or str(error))
            _drain(request)
            return False
        return True

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a sender that disconnects; any other error is a bug of ours."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def _family(host: str) -> socket.AddressFamily:
    """Return IPv6 for a host that has no other address."""
    try:
        families = {found[0] for found in socket.getaddrinfo(host or None, 0, flags=socket.AI_PASSIVE)}
    except OSError:  # listening there raises an error that says why
        return socket.AF_INET
    return socket.AF_INET if socket.AF_INET in families else socket.AF_INET6


def _end(request: socket.socket) -> None:
    """End a connection that another thread reads; of TLS too its socket alone, since that thread uses the rest."""
    with contextlib.suppress(OSError):
        socket.socket.shutdown(request, socket.SHUT_RDWR)


def _drain(request: socket.socket) -> None:
    """Read what is still coming for a while, so that closing does not reset the connection before our last words have
    arrived."""
    ends_at = time.monotonic() + REFUSAL_SECONDS
    with contextlib.suppress(OSError), socket.socket(fileno=request.detach()) as raw:
        raw.settimeout(0.5)
        raw.shutdown(socket.SHUT_WR)
        while time.monotonic() < ends_at and raw.recv(65536):
            pass


def plain_address(client_address: Any) -> str:
    """Return the address of the other end: of IPv4 also where it came to a socket for both, without a zone."""
    address = ip_address(str(client_address[0]).partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


class Handler(BaseHTTPRequestHandler):
    """One connection; several requests may come over it."""

    protocol_version = "HTTP/1.1"
    server_version = "sfwebhooks"
    sys_version = ""
    disable_nagle_algorithm = True
    server: Receiver

    def handle_one_request(self) -> None:
        """Serve a request that comes in time."""
        self.server.limit(self.connection, HEAD_SECONDS)
        super().handle_one_request()

    def parse_request(self) -> bool:
        """Read the head of a request, and refuse one that a proxy may read differently."""
        file, self.rfile = self.rfile, HeadLines(self.rfile)
        try:
            parsed = super().parse_request()
        finally:
            self.rfile = file
        if parsed and is_ambiguous(self.command, self.headers):
            self.close_connection = True
            self._answer(*UNCLEAR)
            return False
        self.server.limit(self.connection, BODY_SECONDS)
        return parsed

    def do_POST(self) -> None:
        """Accept a delivery, verify it, answer."""
        length = self._length()
        if length is None or length > BODY_MAX:
            self.close_connection = True
            self._answer(411 if length is None else 413, b"")
            return
        with self.server.room.taken(length) as fits:
            answer = self._take(length) if fits else None
        if answer:  # once the room is given back: the sender may send the next large one at once
            self.server.wait()
            self._answer(*answer)
        elif not fits:
            self._skip(length, NO_ROOM)

    def _length(self) -> int | None:
        """Return the size of the body, at most 20 digits of it; None if it is unknown."""
        length = self.headers.get("Content-Length", "")
        return int(length[:20]) if length.isascii() and length.isdigit() else None

    def _skip(self, length: int, answer: Answer) -> None:
        """Read a body that is not used, and answer."""
        for left in range(length, 0, -PIECE):
            if not self.rfile.read(min(left, PIECE)):
                self.close_connection = True
                return
        self._answer(*answer)

    def _take(self, length: int) -> Answer | None:
        """Read a body, decompress and verify it; return the answer, or None if the sender is gone."""
        body = self.rfile.read(length)
        if len(body) < length:  # the sender died while sending: not a message
            self.close_connection = True
            return None
        self.server.limit(self.connection, math.inf)
        headers = CaseInsensitiveDict(self.headers.items())
        try:
            with self.server.inflating:
                body = inflated(headers, body, BODY_MAX)
        except ValueError as error:
            return 413 if isinstance(error, InflatedTooLongError) else 400, str(error).encode(), {}
        with self.server.room.taken(max(len(body) - length, 0)) as fits:
            return self._verify(headers, body) if fits else NO_ROOM

    def _verify(self, headers: CaseInsensitiveDict[str], body: bytes) -> Answer:
        """Verify a delivery, and return the answer."""
        problems = self.server.checks.problems(headers, body)
        if problems and len(body) > REFUSED_MAX:
            problems += (f"of its {len(body):,} bytes, {REFUSED_MAX:,} are kept",)
            body = body[:REFUSED_MAX]
        received = Received(
            time.time(), self.path, headers, body, problems, self._client(), source=plain_address(self.client_address)
        )
        response = Response(401) if problems else self.server.respond(received)
        received = replace(received, answer=response.status)
        try:
            self.server.on_receive(received)
        except NotStoredError:
            return NOT_STORED
        words = "; ".join(problems) or ("ok" if received.taken else f"answering {response.status} as asked")
        return response.status, words.encode(), response.headers

    def do_GET(self) -> None:
        """Describe this server."""
        self._answer(200, b"sfwebhooks receive: send deliveries here with POST\n")

    def do_OPTIONS(self) -> None:
        """Allow messages at any rate, from the sender that asks (CloudEvents, `http-webhook.md` section 4.2)."""
        origin = self.headers.get("WebHook-Request-Origin", "")
        allowed = {"WebHook-Allowed-Origin": origin, "WebHook-Allowed-Rate": "*"} if NAME.fullmatch(origin) else {}
        self._answer(204, b"", {"Allow": "POST", **allowed})

    def log_message(self, *args: Any) -> None:
        """Log nothing: `on_receive` reports the deliveries."""

    def _answer(self, status: int, body: bytes, headers: Mapping[str, str] = MappingProxyType({})) -> None:
        body = (
            b"" if status in (204, 205, 304) else body
        )  # these must not have a body: it would be taken for the next reply
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Type", "text/plain; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _client(self) -> str:
        certificate = self.connection.getpeercert() if isinstance(self.connection, ssl.SSLSocket) else None
        subject: Any = (certificate or {}).get("subject", ())
        return next((value for part in subject for key, value in part if key == "commonName"), "")
