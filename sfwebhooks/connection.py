"""The connections to a receiver: an Endpoint comes in; an Adapter, the one of requests with connections of ours, goes
out to `sender`.

They take the endpoint's Route, keep to the Budget of the attempt that uses them, and tell it how far it has come.
"""

from __future__ import annotations

import errno
import http.client
import re
import socket
import ssl
from dataclasses import replace
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NewConnectionError
from urllib3.poolmanager import PoolManager
from urllib3.util.request import SKIP_HEADER

from sfwebhooks.budget import BUDGET, Phase, Socket
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import ProxyRefusalError
from sfwebhooks.proxies import REFUSED
from sfwebhooks.route import Route
from sfwebhooks.tls import context_for, credentials_for

#: interim replies (1xx) that may come before the reply itself
INTERIM_MAX = 16


class Response(http.client.HTTPResponse):
    """A reply; the interim ones before it are skipped, whatever their number is (RFC 9110 section 15.2)."""

    def begin(self) -> None:
        """Read status and headers; lines there that are no headers are dropped."""
        super().begin()
        self.msg.set_payload("")  # urllib3 would log them, and they can repeat what we sent
        self.msg.defects.clear()

    def _read_status(self) -> tuple[str, int, str]:
        for _ in range(INTERIM_MAX + 1):
            status: tuple[str, int, str] = super()._read_status()  # type: ignore[misc]
            if not 100 <= status[1] < 200 or status[1] == http.HTTPStatus.SWITCHING_PROTOCOLS:
                return status
            http.client.parse_headers(self.fp)
        raise http.client.HTTPException(f"more than {INTERIM_MAX} interim replies")


class Connection(HTTPConnection):
    """A connection that takes its route; each kind of pool has its own kind, see `_pools`."""

    route: Route
    #: whether TLS begins as soon as it is open
    secure: bool
    response_class = Response
    #: the headers, while they wait for the body
    _head = b""
    _holds = False
    cert_reqs: Any

    def _new_conn(self) -> socket.socket:
        BUDGET.connected, BUDGET.phase = True, Phase.PROXY if self.route.proxy else Phase.CONNECT
        try:
            sock = self.route.open(self._dns_host, self.port, float(self.timeout or 0))
        except OSError as error:  # not as it is: after some errors urllib3 goes on as if it were connected
            raise NewConnectionError(self, type(error).__name__) from error
        sock.host = self.host.strip("[]")
        if not self.secure:
            BUDGET.phase = Phase.REQUEST
        elif not self.proxy:  # urllib3 knows nothing of one that speaks SOCKS
            BUDGET.phase = Phase.TLS
        return sock

    def _tunnel(self) -> None:
        try:
            super()._tunnel()  # type: ignore[misc, unused-ignore]  # depends on Python and urllib3
        except OSError as error:
            said = re.match(r"Tunnel connection failed: (\d+) ?(.*)", str(error))
            if not said:
                raise
            if said[1] == "407":
                raise ProxyRefusalError(REFUSED) from error
            raise OSError(errno.EPROTO, f"it answered {said[1]} {said[2]}".rstrip()) from error
        if isinstance(self.sock, Socket):
            self.sock.host = (self._tunnel_host or "").strip("[]")
        BUDGET.phase = Phase.TLS

    def _connect_tls_proxy(self, *args: Any, **kwargs: Any) -> Any:
        receivers, self.cert_reqs = self.cert_reqs, "CERT_REQUIRED"  # older versions of urllib3 ask for one for both
        try:
            return super()._connect_tls_proxy(*args, **kwargs)  # type: ignore[misc]
        finally:
            self.cert_reqs = receivers

    def request(self, *args: Any, **kwargs: Any) -> None:
        """Send the request."""
        BUDGET.phase, BUDGET.reused = Phase.REQUEST, self.sock is not None and not BUDGET.connected
        self._head, self._holds = b"", False
        super().request(*args, **kwargs)
        if self._head:  # there is no body
            self.send(b"")

    def putrequest(self, method: str, url: str, *args: Any, **kwargs: Any) -> None:
        """Begin the request with the target as configured: urllib3 would encode it anew, and show it in log lines."""
        super().putrequest(method, self.route.target, *args, **kwargs)

    def putheader(self, header: Any, *values: Any) -> None:
        """Add a header. `sender` has seen to it that it is one; http.client and urllib3 would look again, at each."""
        if isinstance(header, str) and isinstance(values[0], str) and values[0] != SKIP_HEADER:
            self._buffer.append(f"{header}: {values[0]}".encode("latin-1"))  # type: ignore[attr-defined]
        else:
            super().putheader(header, *values)

    def endheaders(self, *args: Any, **kwargs: Any) -> None:
        """End the headers; they go out together with the body."""
        self._holds = True
        super().endheaders(*args, **kwargs)

    def send(self, data: Any) -> None:
        """Send bytes of the request."""
        if self._holds:
            self._head, self._holds = data, False
            return
        data, self._head = self._head + data, b""
        try:
            super().send(data)
        except (ssl.SSLEOFError, ConnectionResetError) as error:
            # the receiver has hung up on us; urllib3 takes this one as: look whether it has said why before. With
            # TLS 1.3 that is its alert about our certificate, which it judges after we began to speak
            raise BrokenPipeError(errno.EPIPE, "closed while we were sending") from error

    def getresponse(self, *args: Any, **kwargs: Any) -> Any:
        """Wait for the reply."""
        BUDGET.phase = Phase.REPLY
        return super().getresponse(*args, **kwargs)


class Adapter(HTTPAdapter):
    """The adapter of requests for one endpoint, whose own TLS context alone decides what is trusted.

    `send` is left as it is: the test library `responses` replaces it.
    """

    def __init__(self, endpoint: Endpoint, now: float) -> None:
        self.credentials = credentials_for(endpoint, now)
        #: attempts in flight
        self.users = 0
        self._route = Route.to(endpoint)
        self._context = self._proxy_context = self.credentials.context
        if self._route.proxy and self._route.proxy.scheme == "https":
            # a proxy is always verified, and never shown the certificate that is for the receiver
            self._proxy_context = context_for(replace(endpoint, verify_tls=True, client_cert=None, client_key=None))
        if self._route.forwarded:  # the only TLS is that with the proxy
            self._context = self._proxy_context
        self._pool: Any = None
        super().__init__(pool_connections=1, pool_maxsize=endpoint.concurrency)

    @property
    def proxies(self) -> dict[str, str]:
        """The proxy as `send` wants it, without user name and password."""
        proxy = self._route.proxy
        return {"all": proxy.place} if proxy and proxy.scheme != "socks5h" else {}

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pool with our context and our connections."""
        super().init_poolmanager(*args, **kwargs, ssl_context=self._context)
        self.poolmanager.pool_classes_by_scheme = _pools(self._route)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> PoolManager:
        """Return the pool for connections through the proxy."""
        known = proxy in self.proxy_manager
        contexts = {} if known else {"ssl_context": self._context, "proxy_ssl_context": self._proxy_context}
        manager: PoolManager = super().proxy_manager_for(proxy, **contexts, **kwargs)
        if not known:
            manager.pool_classes_by_scheme = _pools(self._route)
        return manager

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        """Return the pool: there is one, since there is one target. To find it anew takes a tenth of an attempt."""
        if self._pool is None:
            self._pool = super().get_connection_with_tls_context(*args, **kwargs)
        return self._pool

    def close(self) -> None:
        """Close all connections."""
        self._pool = None
        super().close()

    def proxy_headers(self, proxy: str) -> dict[str, str]:
        """Return what names us to the proxy."""
        return self._route.proxy.headers if self._route.proxy else {}

    def request_url(self, request: Any, proxies: Any) -> str:
        """Return what urllib3 may know of the target: whether a proxy forwards it."""
        return "http://receiver/" if self._route.forwarded else "/"

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Leave the context alone; requests would add the public CAs to an endpoint's own ones here."""
        conn.cert_reqs = "CERT_NONE" if self._context.verify_mode is ssl.CERT_NONE else "CERT_REQUIRED"


def _pools(route: Route) -> dict[str, Any]:
    """Return classes of connection pools whose connections take this route."""
    pools: dict[str, Any] = {"http": HTTPConnectionPool, "https": HTTPSConnectionPool}
    for scheme, pool in pools.items():
        members = {"route": route, "secure": scheme == "https"}
        kind = type("Connection", (Connection, pool.ConnectionCls), members)
        pools[scheme] = type(pool.__name__, (pool,), {"ConnectionCls": kind})
    return pools
