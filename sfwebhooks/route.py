"""The Route to a receiver: an Endpoint comes in, open sockets go out, each to an address that the policy allows.

Each address is checked after the name was looked up and before it is connected to, so no DNS server can send us where
the policy forbids. Behind a proxy the name is looked up by that, and only an address in the URL itself is checked.
"""

from __future__ import annotations

import functools
import queue
import re
import socket
import threading
from _socket import getaddrinfo  # that of `socket` asks the scan's own DNS server, where the scan has one
from dataclasses import dataclass, field
from typing import Any, Callable

from sfwebhooks.addresses import literal, refusal
from sfwebhooks.budget import BUDGET, Socket
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import AddressError
from sfwebhooks.proxies import Proxy, connect_through

#: family, address and seconds -> a connection
Connect = Callable[[int, Any, float], Socket]


@dataclass(frozen=True)
class Route:
    """The way to a receiver, as its connections have to know it."""

    #: the receiver's host, as in the URL
    host: str
    #: what stands in the request line: path and query, byte for byte, or the whole URL if a proxy forwards
    target: str = field(repr=False)
    #: whether a proxy is told the whole request, and not only where to connect to
    forwarded: bool
    #: whether the receiver may be in a network that is not public
    allow_private: bool
    proxy: Proxy | None

    @classmethod
    def to(cls, endpoint: Endpoint) -> Route:
        """Return the way to an endpoint."""
        scheme, _, rest = endpoint.url.reveal().partition("://")
        path = re.sub(r"^[^/?]*", "", rest)
        place = rest[: len(rest) - len(path)]
        target = path if path.startswith("/") else "/" + path
        host = re.sub(r":\d*$", "", place)
        proxy = Proxy.of(endpoint.proxy) if endpoint.proxy else None
        forwarded = proxy is not None and proxy.scheme != "socks5h" and scheme.lower() == "http"
        if forwarded:
            target = f"http://{place}{target}"  # RFC 9112 section 3.2.2
        return cls(host, target, forwarded, endpoint.allow_private, proxy)

    def open(self, host: str, port: int, seconds: float) -> Socket:
        """Return a connection to host and port: the receiver's, or those of its HTTP proxy.

        Args:
            seconds: for each address that is tried.

        Raises:
            AddressError: the network policy forbids it.
            ProxyRefusalError: a SOCKS proxy does not take our user name and password.
            OSError: it could not be opened.
        """
        if not self.proxy:
            return dial(host, port, seconds, self.allow_private)
        address = literal(self.host)
        why = refusal(address, self.allow_private) if address else ""
        if why:
            raise AddressError(why)
        if self.proxy.scheme != "socks5h":
            return dial(host, port, seconds)
        through = functools.partial(connect_through, self.proxy, (host.strip("[]"), port))
        return dial(self.proxy.host, self.proxy.port, seconds, connect=through)


def _connect(family: int, address: Any, seconds: float) -> Socket:
    sock = Socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(seconds)
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


def dial(host: str, port: int, seconds: float, allow_private: bool = True, connect: Connect = _connect) -> Socket:
    """Return a connection to the first address of a host that is allowed and can be connected to.

    Raises:
        AddressError: none is allowed.
        OSError: none that is allowed can be connected to, or the host has none.
    """
    refused, failed = "", None
    for family, _, _, _, address in _addresses(host.strip("[]"), port):
        why = refusal(address[0], allow_private)
        if why:
            refused = why
            continue
        try:
            sock = connect(family, address, min(seconds, BUDGET.seconds_left()))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
        except OSError as error:
            failed = error
    raise failed or AddressError(refused)


def _addresses(host: str, port: int) -> list[Any]:
    """Return a host's addresses; a name is looked up in a thread of its own, since getaddrinfo knows no time limit."""
    found: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def look() -> None:
        try:
            found.put(getaddrinfo(host, port, 0, socket.SOCK_STREAM))
        except OSError as error:
            found.put(error)
        except UnicodeError:
            found.put(socket.gaierror(socket.EAI_NONAME, "no host can have this name"))

    if literal(host):
        look()
    else:
        try:
            threading.Thread(target=look, name="webhooks-lookup", daemon=True).start()
        except RuntimeError:  # an interpreter that ends starts no thread any more
            look()
    try:
        result = found.get(timeout=BUDGET.seconds_left())
    except queue.Empty:
        raise socket.gaierror(socket.EAI_AGAIN, "no name server answered in time") from None
    if isinstance(result, OSError):
        raise result
    return list(result)
