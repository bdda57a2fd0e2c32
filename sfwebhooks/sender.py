"""The only place that touches the network: a signed Request goes in, a Reply comes out, never an exception.

It uses the adapter of `requests` without a Session: no redirects, no cookies, no netrc, no proxy from the
environment, no REQUESTS_CA_BUNDLE. Connections are kept alive and reused by the adapter's pool.
"""

from __future__ import annotations

import contextlib
import errno
import http.client
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from typing import Any

import requests
import urllib3.exceptions
from requests.adapters import HTTPAdapter
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from sfwebhooks.attempts import Failure, Reply
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import CertificateError
from sfwebhooks.signing import Request
from sfwebhooks.tls import context_for

CONNECT_SECONDS = 5.0
REPLY_BYTES = 64 * 1024
#: alerts with which a receiver says that our certificate is missing or wrong (RFC 8446 section 6.2; the first one is
#: TLS 1.2's for a missing one, and also that of a receiver with which we have no cipher in common)
REFUSALS = ("HANDSHAKE_FAILURE", "CERTIFICATE_REQUIRED", "BAD_CERTIFICATE", "CERTIFICATE_EXPIRED",
            "CERTIFICATE_REVOKED", "CERTIFICATE_UNKNOWN", "UNSUPPORTED_CERTIFICATE", "UNKNOWN_CA",
            "ACCESS_DENIED")  # fmt: skip


class Adapter(HTTPAdapter):
    """The adapter of requests with a TLS context of our own, which alone decides what is trusted.

    It sends the target (path and query) as configured: urllib3 would re-encode it, and show it in a log line about
    wrong headers in a reply. `send` is left as it is: the test library `responses` replaces it.
    """

    def __init__(self, context: ssl.SSLContext, target: str, connections: int) -> None:
        self._context = context
        self._target = target
        super().__init__(pool_connections=1, pool_maxsize=connections)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pool with our context and our connections."""
        super().init_poolmanager(*args, **kwargs, ssl_context=self._context)
        pools = (("http", HTTPConnectionPool), ("https", HTTPSConnectionPool))
        self.poolmanager.pool_classes_by_scheme = {scheme: _pool(pool, self._target) for scheme, pool in pools}

    def request_url(self, request: Any, proxies: Any) -> str:
        """Return what urllib3 may know of the target."""
        return "/"

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Leave the context alone; requests would add the public CAs to an endpoint's own ones here."""
        conn.cert_reqs = "CERT_NONE" if self._context.verify_mode is ssl.CERT_NONE else "CERT_REQUIRED"


def _pool(pool: Any, target: str) -> Any:
    """Return a class of connection pools that send this target in place of the one that they are given."""

    class Connection(pool.ConnectionCls):  # type: ignore[misc]
        def putrequest(self, method: str, url: str, *args: Any, **kwargs: Any) -> None:
            super().putrequest(method, target, *args, **kwargs)

        def send(self, data: Any) -> None:
            try:
                super().send(data)
            except ssl.SSLEOFError as error:
                # the receiver has hung up on us; urllib3 takes this one as: look whether it has said why before. With
                # TLS 1.3 that is its alert about our certificate, which it judges after we began to speak
                raise BrokenPipeError(errno.EPIPE, "closed while we were sending") from error

    return type(pool.__name__, (pool,), {"ConnectionCls": Connection})


class Sender:
    """Sends to one endpoint. Safe to use from several threads."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._adapter: Adapter | None = None
        self._opening = threading.Lock()

    def send(self, request: Request) -> Reply:
        """Make one attempt and return what came back, or why nothing did."""
        try:
            with self._opening:
                if self._adapter is None:
                    self._adapter = Adapter(context_for(self._endpoint), _target(request), self._endpoint.concurrency)
            return self._exchange(self._adapter, request)
        except CertificateError as error:
            return Reply(failure=Failure.CERTIFICATE, detail=str(error))
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, http.client.HTTPException) as error:
            return failed(error)

    def close(self) -> None:
        """Close the kept connections."""
        if self._adapter:
            self._adapter.close()

    def _exchange(self, adapter: Adapter, request: Request) -> Reply:
        deadline = time.monotonic() + self._endpoint.timeout
        timeout = (min(CONNECT_SECONDS, self._endpoint.timeout), self._endpoint.timeout)
        verify = self._endpoint.verify_tls
        response = adapter.send(_prepared(request), stream=True, timeout=timeout, verify=verify, proxies={})
        try:
            body = _read(response, deadline)
        finally:
            response.close()
        return Reply(status=response.status_code, headers=response.headers, body=body)


def _prepared(request: Request) -> requests.PreparedRequest:
    """Return the request for the adapter, with the URL untouched (requests would re-encode it)."""
    prepared = requests.PreparedRequest()
    prepared.method = "POST"
    prepared.url = request.url.reveal()
    prepared.headers = requests.structures.CaseInsensitiveDict(request.headers)
    prepared.headers["Content-Length"] = str(len(request.body))
    prepared.body = request.body
    return prepared


def _target(request: Request) -> str:
    """Return path and query of the request's URL, byte for byte."""
    target = re.sub(r"^[^/?]*", "", request.url.reveal().partition("://")[2])
    return target if target.startswith("/") else "/" + target


def _read(response: requests.Response, deadline: float) -> bytes:
    """Return the reply's body as far as REPLY_BYTES, the deadline (monotonic seconds) and the receiver allow."""
    body = b""
    with contextlib.suppress(requests.RequestException, urllib3.exceptions.HTTPError, OSError):  # the status has come
        for chunk in response.iter_content(4096):
            body += chunk
            if len(body) >= REPLY_BYTES or time.monotonic() > deadline:
                break
    return body[:REPLY_BYTES]


def failed(error: BaseException) -> Reply:
    """Return the reply for an exception of the network; its text tells what happened, but never the URL."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Reply(failure=Failure.TLS_UNVERIFIED, detail=cause.verify_message)
        if isinstance(cause, ssl.SSLError):
            refused = "ALERT" in (cause.reason or "") and any(word in cause.reason for word in REFUSALS)
            return Reply(failure=Failure.TLS_REFUSED if refused else Failure.TLS, detail=cause.reason or "")
        if isinstance(cause, socket.gaierror):
            return Reply(failure=Failure.DNS, detail=cause.strerror or "name not known")
        if isinstance(cause, urllib3.exceptions.LocationParseError):
            return Reply(failure=Failure.DNS, detail="no host can have this name")
    timeouts = (TimeoutError, socket.timeout, requests.Timeout, urllib3.exceptions.TimeoutError)
    other = urllib3.exceptions.NewConnectionError  # a refused connection, although urllib3 derives it from a timeout
    if any(isinstance(cause, timeouts) and not isinstance(cause, other) for cause in causes):
        return Reply(failure=Failure.TIMEOUT, detail="no answer in time")
    for cause in causes:
        if isinstance(cause, OSError) and cause.strerror:
            return Reply(failure=Failure.CONNECTION, detail=cause.strerror)
        if isinstance(cause, http.client.RemoteDisconnected):
            return Reply(failure=Failure.CONNECTION, detail="closed without an answer")
        if isinstance(cause, (http.client.HTTPException, UnicodeError, ValueError)):
            return Reply(failure=Failure.PROTOCOL, detail=f"the answer is no HTTP ({type(cause).__name__})")
    return Reply(failure=Failure.CONNECTION, detail=type(error).__name__)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and all that it wraps: requests and urllib3 keep the cause in args, reason or __context__."""
    seen: set[int] = set()
    stack: list[Any] = [error]
    while stack:
        item = stack.pop()
        if isinstance(item, BaseException) and id(item) not in seen:
            seen.add(id(item))
            yield item
            stack += [item.__context__, item.__cause__, getattr(item, "reason", None), *item.args]
