"""The only door to the network: a signed Request goes in, a Reply comes out, never an exception.

It uses the adapter of `requests` without a Session: no redirects, no cookies, no netrc, no proxy from the
environment, no REQUESTS_CA_BUNDLE. Connections are kept alive and reused by the adapter's pool, until a certificate
file of the endpoint changes; `connection` says how they are opened, `budget` how long they may take.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Callable, cast

import requests
import urllib3.exceptions

from sfwebhooks.attempts import Failure, Reply
from sfwebhooks.budget import BUDGET, Phase, ReplyTooLongError
from sfwebhooks.connection import Adapter
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import AddressError, CertificateError, ProxyRefusalError, WebhooksError, is_shortage
from sfwebhooks.signing import Request

CONNECT_SECONDS = 5.0
#: what is read of a reply's body, as it comes and decoded
REPLY_BYTES = 64 * 1024
#: alerts with which a receiver says that our certificate is missing or wrong (RFC 8446 section 6.2; the first one is
#: TLS 1.2's for a missing one, and also that of a receiver with which we have no cipher in common)
REFUSALS = ("HANDSHAKE_FAILURE", "CERTIFICATE_REQUIRED", "BAD_CERTIFICATE", "CERTIFICATE_EXPIRED",
            "CERTIFICATE_REVOKED", "CERTIFICATE_UNKNOWN", "UNSUPPORTED_CERTIFICATE", "UNKNOWN_CA",
            "ACCESS_DENIED")  # fmt: skip
#: our own reasons to go no further
OWN_REASONS: dict[type[WebhooksError], Failure] = {
    AddressError: Failure.ADDRESS,
    ProxyRefusalError: Failure.PROXY_REFUSED,
}
#: a header's value as it may stand in a message: one line (RFC 9110 section 5.5), in what http.client encodes
FIELD_VALUE = re.compile(r"[^\0\r\n\u0100-\U0010ffff]*")


class Sender:
    """Sends to one endpoint. Safe to use from several threads."""

    def __init__(self, endpoint: Endpoint, clock: Callable[[], float] = time.time) -> None:
        #: monotonic seconds at which every attempt is over, whatever the endpoint's `timeout`
        self.until = float("inf")
        self._endpoint = endpoint
        #: epoch seconds, by which our certificate is valid or not
        self._clock = clock
        self._adapter: Adapter | None = None
        #: held while it is changed which adapter is in use, and by how many
        self._guard = threading.Lock()

    def send(self, request: Request) -> Reply:
        """Make one attempt and return what came back, or why nothing did.

        It takes no longer than the endpoint's `timeout`, whatever the receiver does.
        """
        prepared = _prepared(request)
        try:
            adapter = self._take()
        except CertificateError as error:
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
            CertificateError: the files of now cannot be used, and the ones before are not used any more.
        """
        with self._guard:
            now = self._clock()
            if self._adapter and self._adapter.credentials.outdated:
                self._retire()
            if not self._adapter:
                self._adapter = Adapter(self._endpoint, now)
            self._adapter.credentials.check(now)
            self._adapter.users += 1
            return self._adapter

    def _give_back(self, adapter: Adapter) -> None:
        with self._guard:
            adapter.users -= 1
            if adapter is not self._adapter and not adapter.users:
                adapter.close()

    def _retire(self) -> None:
        """Let no further attempt use the adapter; the last one in flight closes its connections."""
        adapter, self._adapter = self._adapter, None
        if adapter and not adapter.users:
            adapter.close()

    def _attempt(self, adapter: Adapter, prepared: requests.PreparedRequest) -> Reply:
        ends_at = min(time.monotonic() + self._endpoint.timeout, self.until)
        reply = self._try(adapter, prepared, ends_at)
        # A receiver may close a kept connection just when we use it again. No answer then says nothing about the
        # receiver, and a message may be repeated under its id (RFC 9112 section 9.3.1): it goes over the next one.
        while BUDGET.reused and not BUDGET.received and reply.failure in (Failure.CONNECTION, Failure.TLS):
            reply = self._try(adapter, prepared, ends_at)
        return reply

    def _try(self, adapter: Adapter, prepared: requests.PreparedRequest, ends_at: float) -> Reply:
        """Send once, over a kept connection or a new one, until `ends_at` (monotonic seconds)."""
        BUDGET.begin(ends_at)
        try:
            return self._exchange(adapter, prepared)
        except tuple(OWN_REASONS) as error:
            return Reply(failure=OWN_REASONS[type(error)], detail=str(error))
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, http.client.HTTPException) as error:
            return failed(error, BUDGET.phase)

    def _exchange(self, adapter: Adapter, prepared: requests.PreparedRequest) -> Reply:
        timeout = (min(CONNECT_SECONDS, self._endpoint.timeout), self._endpoint.timeout)
        verify, proxies = self._endpoint.verify_tls, adapter.proxies
        response = adapter.send(prepared, stream=True, timeout=timeout, verify=verify, proxies=proxies)
        try:
            body = _decoded(_read(response), response.headers.get("Content-Encoding", ""))
        finally:
            response.close()
        return Reply(status=response.status_code, headers=response.headers, body=body)


def _prepared(request: Request) -> requests.PreparedRequest:
    """Return the request for the adapter, with the URL untouched (requests would re-encode it).

    Raises:
        ValueError: a header would end early and begin another one; `config` lets none through, so this is a bug.
    """
    for name, value in request.headers.items():
        if not FIELD_VALUE.fullmatch(value):
            raise ValueError(f"the header {name} has a value of more than one line, or not in Latin-1")
    prepared = requests.PreparedRequest()
    prepared.method = "POST"
    prepared.url = request.url.reveal()
    headers = {**request.headers, "Content-Length": str(len(request.body))}
    # names are the same in any case, and the last one wins; requests' own kind of dict does it at ten times the price
    prepared.headers = cast(Any, dict({name.lower(): (name, value) for name, value in headers.items()}.values()))
    prepared.body = request.body
    return prepared


def _read(response: requests.Response) -> bytes:
    """Return the reply's body as it came, as far as REPLY_BYTES, the budget and the receiver allow."""
    body = b""
    with contextlib.suppress(requests.RequestException, urllib3.exceptions.HTTPError, OSError):  # the status has come
        while len(body) < REPLY_BYTES:
            part = response.raw.read(1024, decode_content=False)  # of a read that fails nothing is left, so little
            body += part
            if not part or response.raw.length_remaining == 0:  # it could be asked once more, for nothing
                break
    return body[:REPLY_BYTES]


def _decoded(body: bytes, encoding: str) -> bytes:
    """Return at most REPLY_BYTES of a body that was compressed, although we asked for none of it, or the body itself.

    By zlib itself: urllib3 before 2.6 puts no limit to what a read can grow to, and a list of encodings multiplies it.
    """
    if encoding.strip().lower() not in ("gzip", "x-gzip", "deflate"):
        return body
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(body, REPLY_BYTES)  # 32: gzip or zlib, as it says
    except zlib.error:
        return body


def failed(error: BaseException, phase: Phase) -> Reply:
    """Return the reply for an exception of the network; its text tells what happened, but never the URL."""
    reply = _failure(list(_causes(error)), phase)
    if phase is not Phase.PROXY or reply.failure is Failure.SHORTAGE:
        return reply
    failure = Failure.TLS_UNVERIFIED if reply.failure is Failure.TLS_UNVERIFIED else Failure.PROXY
    return replace(reply, failure=failure, detail=f"the proxy: {reply.detail}")


def _failure(causes: Sequence[BaseException], phase: Phase) -> Reply:
    shortage = next((cause for cause in causes if is_shortage(cause)), None)
    if shortage or (any(isinstance(cause, socket.gaierror) for cause in causes) and _lacks_descriptors()):
        return Reply(failure=Failure.SHORTAGE, detail=getattr(shortage, "strerror", "") or "too many open files")
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
        return Reply(failure=Failure.TIMEOUT, detail=f"no answer in time ({phase.value})")
    for cause in causes:
        if isinstance(cause, OSError) and cause.strerror:
            return Reply(failure=Failure.CONNECTION, detail=cause.strerror)
        if isinstance(cause, http.client.RemoteDisconnected):
            return Reply(failure=Failure.CONNECTION, detail="closed without an answer")
        if isinstance(cause, ReplyTooLongError):
            return Reply(failure=Failure.PROTOCOL, detail=str(cause))
        if isinstance(cause, (http.client.HTTPException, UnicodeError, ValueError)):
            return Reply(failure=Failure.PROTOCOL, detail=f"the answer is no HTTP ({type(cause).__name__})")
    return Reply(failure=Failure.CONNECTION, detail=type(causes[0]).__name__)


def _lacks_descriptors() -> bool:
    """Say whether this process can open nothing more: a resolver does not say so."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return is_shortage(error)
    return False


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
