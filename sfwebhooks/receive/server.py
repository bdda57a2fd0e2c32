"""A local receiver: accepts deliveries over http, https or mTLS, verifies them, reports each request and answers it.

For `sfwebhooks receive` and the demo. It shows what a receiver has to do, and is not meant for the internet.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import re
import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from types import MappingProxyType
from typing import Any, Callable

from requests.structures import CaseInsensitiveDict

from sfwebhooks.errors import NotStoredError
from sfwebhooks.naming import naming_of
from sfwebhooks.network.addresses import Network
from sfwebhooks.receive.inflating import BODY_MAX, InflatedTooLongError, inflated
from sfwebhooks.receive.responses import Response
from sfwebhooks.receive.verification import TOLERANCE_SECONDS, VerificationError, is_timeless, verify

SOCKET_SECONDS = 30.0
#: bytes of all large bodies that are in hand at once, and of a body that is not large
ROOM = 2 * BODY_MAX
SMALL = 128 * 1024
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
FORBIDDEN: Answer = (403, b"this address is not allowed", {})
#: most values in a body that is read as JSON, where each can take a hundred times its bytes; counted by their signs
VALUES_MAX = 1_000_000
#: the name of a sender
NAME = re.compile(r"[!-~]{1,253}")


@dataclass(frozen=True)
class Received:
    """One request as received."""

    #: epoch seconds
    at: float
    path: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    #: what is wrong with its signatures or its bearer token; empty if verified
    problems: tuple[str, ...]
    #: common name in the client certificate, or nothing
    client: str
    #: status that it is answered with
    answer: int = 200
    #: address of the sender, or of the last proxy
    source: str = ""

    @property
    def taken(self) -> bool:
        """Whether it is answered with success."""
        return 200 <= self.answer < 300

    @property
    def id(self) -> str:
        """The id of the delivery by its headers, of which only webhook-id is signed; empty if they have none."""
        return self.headers.get("webhook-id") or self.headers.get(naming_of(self.headers).delivery, "")

    @property
    def is_crowded(self) -> bool:
        """Whether the body has too many values to be read."""
        return sum(self.body.count(sign) for sign in (b",", b"[", b"{")) > VALUES_MAX

    @cached_property
    def messages(self) -> list[dict[str, Any]]:
        """The messages in the body: one, or those of a batch; none if it is crowded."""
        if self.is_crowded:
            return []
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError):  # RecursionError: brackets that are nested too deeply
            return []
        return [message for message in (found if isinstance(found, list) else [found]) if isinstance(message, dict)]

    @property
    def message(self) -> dict[str, Any]:
        """The only message in the body, or nothing."""
        return self.messages[0] if len(self.messages) == 1 else {}


@dataclass(frozen=True)
class Checks:
    """The requirements for a delivery."""

    #: one of these must have signed it; empty: no signature is required
    secrets: Sequence[str] = field(default=(), repr=False)
    #: required as Authorization: Bearer; empty: none is required
    api_key: str = field(default="", repr=False)
    #: seconds by which a timestamp may be off
    tolerance: float = TOLERANCE_SECONDS
    #: whether a guide's signature alone is enough, which does not cover the time
    timeless: bool = True
    #: networks of the senders; empty: any
    networks: Sequence[Network] = ()

    def problems(self, headers: Mapping[str, str], body: bytes) -> tuple[str, ...]:
        """Return what is wrong with a request, in words."""
        found: list[str] = []
        if self.secrets:
            timeless = self.timeless and is_timeless(headers, self.secrets)
            try:
                verify(body, headers, self.secrets, tolerance=None if timeless else self.tolerance, strict=True)
            except VerificationError as error:
                found += error.reasons
        given, right = headers.get("Authorization", ""), f"Bearer {self.api_key}"
        if self.api_key and not hmac.compare_digest(given.encode("utf-8", "replace"), right.encode()):
            found.append("the bearer token is missing or wrong")
        return tuple(found)

    def allow(self, address: str) -> bool:
        """Return whether a sender may have an address."""
        return not self.networks or any(ip_address(address) in network for network in self.networks)


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


class Room:
    """Memory for bodies, shared by all connections: anybody may send large ones, also compressed. Thread-safe."""

    def __init__(self, size: int = ROOM) -> None:
        self._left = size
        self._guard = threading.Lock()

    @contextlib.contextmanager
    def taken(self, size: int) -> Iterator[bool]:
        """Take some bytes while the block runs; False comes in if fewer are left.

        A few are always there: slow senders of large bodies do not keep out the others.
        """
        size = 0 if size <= SMALL else size
        with self._guard:
            fits = size <= self._left
            self._left -= size if fits else 0
        try:
            yield fits
        finally:
            with self._guard:
                self._left += size if fits else 0


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
        #: called with the address of each request from one that is not allowed
        self.on_forbid: Callable[[str], None] = lambda address: None
        #: seconds between a delivery and its answer
        self.slow_seconds = 0.0
        self._stopping = threading.Event()
        self.room = Room()
        #: held while a body is decompressed, which can need more than its own bytes
        self.inflating = threading.Lock()
        self._open: set[socket.socket] = set()

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
            with contextlib.suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)

    def wait(self) -> None:
        """Wait before an answer, for as long as it was asked for, or until the end."""
        self._stopping.wait(self.slow_seconds)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Shake hands in the connection's own thread, then serve it."""
        request.settimeout(SOCKET_SECONDS)
        if self.tls:
            # not at once: wrap_socket closes a socket whose handshake fails
            request = self.tls.wrap_socket(request, server_side=True, do_handshake_on_connect=False)
            try:
                request.do_handshake()
            except OSError as error:
                self.on_refuse(getattr(error, "reason", "") or str(error))
                _drain(request)
                return
        try:
            self._open.add(request)
            super().finish_request(request, client_address)
        finally:
            self._open.discard(request)
            self.shutdown_request(request)

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


def _drain(request: ssl.SSLSocket) -> None:
    """Read what is still coming, so that closing does not reset the connection before our alert has arrived."""
    with contextlib.suppress(OSError), socket.socket(fileno=request.detach()) as raw:
        raw.settimeout(0.5)
        raw.shutdown(socket.SHUT_WR)
        while raw.recv(65536):
            pass


class Handler(BaseHTTPRequestHandler):
    """One connection; several requests may come over it."""

    protocol_version = "HTTP/1.1"
    server_version = "sfwebhooks"
    sys_version = ""
    disable_nagle_algorithm = True
    server: Receiver

    def parse_request(self) -> bool:
        """Read the head of a request; one from an address that is not allowed is answered here, whatever it asks."""
        if not super().parse_request():
            return False
        address = self._source()
        if self.server.checks.allow(address):
            return True
        self.server.on_forbid(address)
        length = self._length() or 0
        self._skip(length if length <= BODY_MAX else 0, FORBIDDEN)
        self.close_connection = True
        return False

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
        received = Received(time.time(), self.path, headers, body, problems, self._client(), source=self._source())
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
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _source(self) -> str:
        """Return the address of the other end: of IPv4 also where it came to a socket for both, without a zone."""
        address = ip_address(str(self.client_address[0]).partition("%")[0])
        mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        return str(mapped or address)

    def _client(self) -> str:
        certificate = self.connection.getpeercert() if isinstance(self.connection, ssl.SSLSocket) else None
        subject: Any = (certificate or {}).get("subject", ())
        return next((value for part in subject for key, value in part if key == "commonName"), "")
