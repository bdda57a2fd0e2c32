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

from sfwebhooks.attempts import Failure, NoReplyError, Reply
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import AddressError, CertificateError, is_shortage
from sfwebhooks.network.budget import Budget, Phase, ReplyTooLongError
from sfwebhooks.network.connection import Contexts, Pool
from sfwebhooks.network.http_reader import REPLY_BYTES, NotHTTPError, ReplyReader, decoded
from sfwebhooks.network.proxy import is_proxys, proxys_refusal
from sfwebhooks.network.route import Route
from sfwebhooks.network.tls import context_for, credentials_for
from sfwebhooks.signing import Request

#: alerts of a receiver about our missing or wrong certificate (RFC 8446 section 6.2; the first one is TLS 1.2's for a
#: missing one, and also that of a receiver with which we have no cipher in common)
REFUSALS = ("HANDSHAKE_FAILURE", "CERTIFICATE_REQUIRED", "BAD_CERTIFICATE", "CERTIFICATE_EXPIRED",
            "CERTIFICATE_REVOKED", "CERTIFICATE_UNKNOWN", "UNSUPPORTED_CERTIFICATE", "UNKNOWN_CA",
            "ACCESS_DENIED")  # fmt: skip
#: a valid header value: one line (RFC 9110 section 5.5), in Latin-1
FIELD_VALUE = re.compile(r"[^\0\r\n\u0100-\U0010ffff]*")


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
        self._endpoint = endpoint
        #: epoch seconds, for the validity of our certificate
        self._clock = clock
        #: monotonic seconds, for the age of connections
        self._monotonic = monotonic
        self._adapter: Adapter | None = None
        #: held while the adapter or the number of its users changes
        self._guard = threading.Lock()

    def send(self, request: Request) -> Reply:
        """Make one attempt and return the reply, or why there is none.

        It never exceeds the endpoint's `timeout`.
        """
        prepared = _prepared(request)
        try:
            adapter = self._take()
        except (CertificateError, ssl.SSLError) as error:
            failure = Failure.SHORTAGE if is_shortage(error) else Failure.CERTIFICATE
            return Reply(failure=failure, detail=str(error))
        try:
            return self._attempt(adapter, prepared)
        finally:
            self._give_back(adapter)

    def close(self) -> None:
        """Close the kept connections; attempts in flight finish first."""
        with self._guard:
            self._retire()

    def _take(self) -> Adapter:
        """Return the adapter for an attempt, a new one once a certificate file has changed.

        Raises:
            CertificateError: the current files cannot be used; the previous ones are no longer used either.
        """
        with self._guard:
            now = self._clock()
            if self._adapter and self._adapter.credentials.outdated:
                self._retire()
            if not self._adapter:
                self._adapter = Adapter(self._endpoint, now, self._monotonic)
            self._adapter.credentials.check(now)
            self._adapter.users += 1
            return self._adapter

    def _give_back(self, adapter: Adapter) -> None:
        with self._guard:
            adapter.users -= 1
            if adapter is not self._adapter and not adapter.users:
                adapter.close()

    def _retire(self) -> None:
        """Stop using the adapter; the last attempt in flight closes its connections."""
        adapter, self._adapter = self._adapter, None
        if adapter and not adapter.users:
            adapter.close()

    def _attempt(self, adapter: Adapter, prepared: Prepared) -> Reply:
        ends_at = min(time.monotonic() + self._endpoint.timeout, self.until)
        while True:
            prepared.exchange = exchange = Exchange(adapter.pool, Budget(ends_at))
            try:
                answer = adapter.send(prepared)
                reply = answer if isinstance(answer, Reply) else _made_by_others(answer)
            except AddressError as error:
                return Reply(failure=Failure.ADDRESS, detail=str(error))
            except OSError as error:  # by `responses`
                return failed(error, Phase.REPLY)
            # A receiver may close a kept connection just when we reuse it. A missing answer then says nothing about the
            # receiver, and a message may be repeated under its id (RFC 9112 section 9.3.1): use the next connection.
            if not exchange.was_lost(reply):
                return reply


class Exchange:
    """One attempt's request and its reply; the adapter uses it as a connection pool of urllib3."""

    def __init__(self, pool: Pool, budget: Budget) -> None:
        self._pool = pool
        self._budget = budget

    def urlopen(self, *, headers: Mapping[str, str], body: bytes, **_: object) -> Reply:
        """Send the request and return the reply, or why there is none."""
        pool, budget, reader = self._pool, self._budget, ReplyReader()
        try:
            connection = pool.take(budget)
        except NoReplyError as error:
            return error.reply
        except AddressError as error:
            return Reply(failure=Failure.ADDRESS, detail=str(error))
        except (OSError, NotHTTPError, ReplyTooLongError) as error:
            return failed(error, budget.phase)
        budget.phase, kept = Phase.REQUEST, False
        try:
            kept = connection.exchange(_written(pool.route, headers, body), budget, reader)
        except (OSError, NotHTTPError, ReplyTooLongError) as error:
            return failed(error, budget.phase)
        finally:
            pool.keep(connection) if kept else connection.close()
        reply = Reply(reader.status, None, _redirect(pool.route, reader), reader.headers, reader.body)
        return proxys_refusal(reply, reader.reason) if pool.route.forwarded and is_proxys(reply) else reply

    def was_lost(self, reply: Reply) -> bool:
        """Return whether the request went over a kept connection that was closed meanwhile, without any reply."""
        lost = reply.failure in (Failure.CONNECTION, Failure.TLS)
        return lost and self._budget.reused and not self._budget.answered


class Prepared(requests.PreparedRequest):
    """A request for the adapter, with its Exchange."""

    exchange: Exchange


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
        """Return the Exchange that sends the request."""
        return request.exchange

    def cert_verify(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing; requests would trust the public CAs here in addition to an endpoint's own ones."""

    def request_url(self, *args: Any, **kwargs: Any) -> str:
        """Return nothing; the route has the target."""
        return ""

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


def _written(route: Route, headers: Mapping[str, str], body: bytes) -> bytes:
    """Return the bytes of a request (RFC 9112 section 3)."""
    to_proxy = route.proxy.headers if route.forwarded and route.proxy else {}
    fields = {"Host": route.authority, **to_proxy, **headers}
    lines = [f"POST {route.target} HTTP/1.1", *[f"{name}: {value}" for name, value in fields.items()], "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def _redirect(route: Route, reader: ReplyReader) -> str:
    """Return the host that a redirect points to, without path and query, which may contain secrets."""
    location = reader.headers.get("Location", "") if 300 <= reader.status < 400 else ""
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


def _prepared(request: Request) -> Prepared:
    """Return the request for the adapter, with the URL untouched (requests would re-encode it).

    Raises:
        ValueError: a header's value would start another header; `config` rejects those, so this is a bug.
    """
    for name, value in request.headers.items():
        if not FIELD_VALUE.fullmatch(value):
            raise ValueError(f"the value of header {name} has more than one line, or is not Latin-1")
    prepared = Prepared()
    prepared.method = "POST"
    prepared.url = request.url.reveal()
    headers = {**request.headers, "Content-Length": str(len(request.body))}
    # names ignore case, and the last one wins; requests' own dict does the same at ten times the cost
    prepared.headers = cast(Any, dict({name.lower(): (name, value) for name, value in headers.items()}.values()))
    prepared.body = request.body
    return prepared


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
