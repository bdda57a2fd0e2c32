"""The only door to the network: a signed Request goes in, a Reply comes out, never an exception.

It uses the adapter of `requests`, whose `send` the test library `responses` replaces, but no Session: no redirects, no
cookies, no netrc, no proxy from the environment, no REQUESTS_CA_BUNDLE; below the adapter are our own connections
(`connection`), reader (`http_reader`) and limits (`budget`). Connections are reused until a certificate file of the
endpoint changes.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Callable, cast
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter

from sfwebhooks.attempts import NoReplyError, Reply
from sfwebhooks.endpoints import Endpoint, Secret
from sfwebhooks.errors import AddressError, CertificateError, is_shortage
from sfwebhooks.network.budget import Budget, Phase, ReplyTooLongError
from sfwebhooks.network.connection import Contexts, Pool
from sfwebhooks.network.http_reader import REPLY_BYTES, NotHTTPError, ReplyReader, decoded
from sfwebhooks.network.proxy import is_proxys, proxys_refusal
from sfwebhooks.network.route import Route, elsewhere
from sfwebhooks.network.steps import Begun, Ended, Watch
from sfwebhooks.network.tls import context_for, credentials_for
from sfwebhooks.reasons import Failure
from sfwebhooks.signing import Request

#: alerts of a receiver about our missing or wrong certificate (RFC 8446 section 6.2; the first one is TLS 1.2's for a
#: missing one, and also that of a receiver with which we have no cipher in common)
REFUSALS = ("HANDSHAKE_FAILURE", "CERTIFICATE_REQUIRED", "BAD_CERTIFICATE", "CERTIFICATE_EXPIRED",
            "CERTIFICATE_REVOKED", "CERTIFICATE_UNKNOWN", "UNSUPPORTED_CERTIFICATE", "UNKNOWN_CA",
            "ACCESS_DENIED")  # fmt: skip
#: valid header values: in one line (RFC 9110 section 5.5), in Latin-1
FIELD_VALUE = re.compile(r"[\x01-\x09\x0b\x0c\x0e-\xff]*")


class Sender:
    """Sends to one endpoint. Thread-safe."""

    def __init__(
        self,
        endpoint: Endpoint,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        #: monotonic seconds at which every attempt ends, whatever the endpoint's `timeout`
        self.until = float("inf")
        #: gets each step of the attempts; None in normal sending
        self.watch: Watch | None = None
        self._endpoint = endpoint
        #: epoch seconds, for the validity of our certificate
        self._clock = clock
        #: monotonic seconds, for the age of connections
        self._monotonic = monotonic
        self._adapter: Adapter | None = None
        #: held while the adapter or the number of its users changes
        self._guard = threading.Lock()

    @property
    def url(self) -> Secret:
        """The endpoint's URL."""
        return self._endpoint.url

    def send(self, request: Request, ends_at: float = float("inf")) -> Reply:
        """Make one attempt and return the reply, or why there is none; it never exceeds the endpoint's `timeout`.

        Args:
            ends_at: monotonic seconds at which it ends even before.

        Raises:
            ValueError: a header's value would start another header; `config` rejects those, so this is a bug.
        """
        prepared, headers = Prepared(), {**request.headers, "Content-Length": str(len(request.body))}
        if not FIELD_VALUE.fullmatch("".join(headers.values())):
            raise _wrong_value(headers)
        prepared.method, prepared.body = request.method, request.body
        prepared.query, prepared.path, prepared.url = request.query, request.path, request.url.reveal()
        if request.query or request.path:
            prepared.url = elsewhere(prepared.url, request.path, request.query)
        # names ignore case, and the last one wins; requests' own dict does the same at ten times the cost
        names = {name.lower(): name for name in headers}.values()
        prepared.headers = cast(Any, {name: headers[name] for name in names})
        try:
            with self._guard:
                now = self._clock()
                if self._adapter and self._adapter.credentials.outdated(now):
                    self._retire()
                adapter = self._adapter = self._adapter or Adapter(self._endpoint, now, self._monotonic)
                adapter.users += 1
        except (CertificateError, ssl.SSLError) as error:
            return _without_context(error)
        prepared.pool, ends_at = adapter.pool, min(time.monotonic() + self._endpoint.timeout, self.until, ends_at)
        try:
            while True:
                prepared.budget = budget = Budget(ends_at, watch=self.watch)
                if self.watch:
                    self.watch(Begun())
                answer = adapter.send(prepared)
                reply = answer if isinstance(answer, Reply) else _made_by_others(answer)
                # A receiver may close a kept connection just when we reuse it. A missing answer then says nothing about
                # it, and a message may be repeated under its id (RFC 9112 section 9.3.1): use the next connection.
                lost = reply.failure in (Failure.CONNECTION, Failure.TLS) and budget.reused and not budget.answered
                if not (lost and request.is_repeatable):
                    return reply
        except AddressError as error:
            return Reply(failure=Failure.ADDRESS, detail=str(error))
        except OSError as error:  # by `responses`
            return failed(error, Phase.REPLY)
        finally:
            with self._guard:
                adapter.users -= 1
                if adapter is not self._adapter and not adapter.users:
                    adapter.close()

    def close(self) -> None:
        """Close the kept connections; attempts in flight finish first."""
        with self._guard:
            self._retire()

    def _retire(self) -> None:
        """Stop using the adapter; the last attempt in flight closes its connections."""
        adapter, self._adapter = self._adapter, None
        if adapter and not adapter.users:
            adapter.close()


def as_sent(request: Request, endpoint: Endpoint) -> bytes:
    """Return the bytes that `Sender.send` would send.

    Raises:
        CertificateError: a certificate file of the endpoint cannot be used.
    """
    sender = Sender(endpoint)
    adapter = sender._adapter = Adapter(endpoint, time.time(), time.monotonic)
    recorder = adapter.pool = Recorder(adapter.pool.route, adapter.pool.contexts, 1, time.monotonic)
    sender.send(request)
    return recorder.sent


class Recorder(Pool):
    """Connects to nothing, and keeps what would be sent."""

    sent = b""

    def take(self, budget: Budget) -> Any:
        """Return itself in place of a connection."""
        return self

    def exchange(self, request: bytes, budget: Budget, reader: ReplyReader) -> bool:
        """Keep a request."""
        self.sent = request
        return False


class Prepared(requests.PreparedRequest):
    """One attempt: the request for the adapter, which also uses it as a connection pool of urllib3."""

    pool: Pool
    budget: Budget
    #: added to the endpoint's query
    query: str
    #: relative to the endpoint's URL
    path: str

    def urlopen(self, *, method: str, headers: Mapping[str, str], body: bytes, **_: object) -> Reply:
        """Send the request and return the reply, or why there is none.

        Raises:
            AddressError: the network policy forbids the receiver's address.
        """
        pool, budget, reader = self.pool, self.budget, ReplyReader()
        fields = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        own = method != "POST" or self.query or self.path
        head = pool.route.head(method, self.query, self.path) if own else pool.head
        written = b"".join((head, fields.encode("latin-1"), b"\r\n", body))
        try:
            connection, kept = pool.take(budget), False
            budget.phase = Phase.REQUEST
            try:
                kept = connection.exchange(written, budget, reader)
            finally:
                pool.keep(connection) if kept else connection.close()
        except NoReplyError as error:
            return error.reply
        except (OSError, NotHTTPError, ReplyTooLongError) as error:
            return failed(error, budget.phase)
        finally:
            if budget.watch:
                budget.watch(Ended(reader.status))
        place = _redirect(pool.route, reader) if 300 <= reader.status < 400 else ""
        reply = Reply(reader.status, None, place, reader.headers, reader.body)
        return proxys_refusal(reply, reader.reason) if pool.route.forwarded and is_proxys(reply) else reply


class Adapter(HTTPAdapter):
    """The adapter of requests for one endpoint, over our own connections only.

    `send` is not overridden: the test library `responses` replaces it.
    """

    def __init__(self, endpoint: Endpoint, now: float, monotonic: Callable[[], float]) -> None:
        self.credentials = credentials_for(endpoint, now)
        #: attempts in flight
        self.users = 0
        route, context = Route.to(endpoint), self.credentials.context
        contexts = Contexts(context, context)
        if route.proxy and route.proxy.scheme == "https":
            # a proxy is always verified, and never gets the client certificate for the receiver
            for_proxy = replace(endpoint, verify_tls=True, client_cert=None, client_key=None)
            contexts = Contexts(context, context_for(for_proxy))
        self.pool = Pool(route, contexts, endpoint.concurrency, monotonic)
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Create no pool of urllib3: its connections ignore the network policy and must not be used."""
        self.poolmanager = cast(Any, NoPool())

    def get_connection_with_tls_context(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the request, which sends itself."""
        return request

    def _nothing(self, *args: Any, **kwargs: Any) -> Any:
        """Do nothing, and return nothing."""
        return ""

    #: requests would trust the public CAs here in addition to an endpoint's own ones
    cert_verify = _nothing
    #: the route has the target
    request_url = _nothing

    def build_response(self, req: Any, resp: Any) -> Any:
        """Return our own Reply unchanged; other responses come from `responses`."""
        return resp if isinstance(resp, Reply) else super().build_response(req, resp)

    def close(self) -> None:
        """Close all connections."""
        self.pool.close()


class NoPool:
    """Replaces the pool in which requests would find other connections, and refuses to provide any."""

    def __getattr__(self, name: str) -> Any:
        raise AddressError(
            f"requests {requests.__version__} would use connections that bypass the network policy; nothing is sent."
            " Install a version that sfwebhooks requires: pip install --upgrade sfwebhooks"
        )


def _wrong_value(headers: Mapping[str, str]) -> ValueError:
    """Return the error for headers of which one has a value that cannot be sent."""
    wrong = next(name for name, value in headers.items() if not FIELD_VALUE.fullmatch(value))
    return ValueError(f"the value of header {wrong} has more than one line, or is not Latin-1")


def _without_context(error: CertificateError | ssl.SSLError) -> Reply:
    """Return the reply for an error before a connection is made."""
    # SSLError is of a context before any file is loaded: OpenSSL itself lacks something
    is_ours = isinstance(error, ssl.SSLError) or is_shortage(error)
    return Reply(failure=Failure.SHORTAGE if is_ours else Failure.CERTIFICATE, detail=str(error))


def _redirect(route: Route, reader: ReplyReader) -> str:
    """Return the host that a redirect points to, without path and query, which may contain secrets."""
    location = reader.headers.get("Location", "")
    if not location:
        return ""
    try:
        parts = urlsplit(urljoin(f"{'https' if route.secure else 'http'}://{route.authority}/", location))
        return f"Location: {parts.scheme}://{parts.netloc.rpartition('@')[2]}" if parts.netloc else ""
    except ValueError:
        return ""


def _made_by_others(response: requests.Response) -> Reply:
    """Return the Reply of a response that `responses` made."""
    body = decoded(response.raw.read(REPLY_BYTES, decode_content=False), response.headers.get("Content-Encoding", ""))
    return Reply(status=response.status_code, headers=response.headers, body=body)


def failed(error: Exception, phase: Phase) -> Reply:
    """Return the reply for a network exception; its text describes the failure, never with the URL."""
    reply = _failure(error, phase)
    if phase is not Phase.PROXY or reply.failure is Failure.SHORTAGE:
        return reply
    failure = Failure.TLS_UNVERIFIED if reply.failure is Failure.TLS_UNVERIFIED else Failure.PROXY
    return replace(reply, failure=failure, detail=f"the proxy: {reply.detail}")


def _failure(error: Exception, phase: Phase) -> Reply:
    if is_shortage(error) or (isinstance(error, socket.gaierror) and _lacks_descriptors()):
        return Reply(failure=Failure.SHORTAGE, detail=getattr(error, "strerror", None) or "too many open files")
    if isinstance(error, ssl.SSLCertVerificationError):
        return Reply(failure=Failure.TLS_UNVERIFIED, detail=error.verify_message)
    if isinstance(error, ssl.SSLError):
        refused = "ALERT" in (error.reason or "") and any(word in error.reason for word in REFUSALS)
        return Reply(failure=Failure.TLS_REFUSED if refused else Failure.TLS, detail=error.reason or "")
    if isinstance(error, socket.gaierror):
        return Reply(failure=Failure.DNS, detail=error.strerror or "name not known")
    if isinstance(error, (TimeoutError, socket.timeout, requests.Timeout)):
        return Reply(failure=Failure.TIMEOUT, detail=f"no answer in time ({phase.value})")
    if isinstance(error, (NotHTTPError, ReplyTooLongError)):
        return Reply(failure=Failure.PROTOCOL, detail=str(error))
    if isinstance(error, requests.RequestException):
        return Reply(failure=Failure.CONNECTION, detail=type(error).__name__)
    return Reply(failure=Failure.CONNECTION, detail=getattr(error, "strerror", None) or str(error))


def _lacks_descriptors() -> bool:
    """Return whether this process has no descriptors left, which a resolver does not report."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return is_shortage(error)
    return False
