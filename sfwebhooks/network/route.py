"""The Route to a receiver: an Endpoint comes in, open sockets go out, each to an address that the policy allows.

Each address is checked after the name look-up and before the connection, so no DNS server can direct us to a forbidden
one. Behind a proxy, the proxy looks up the name, and only an address in the URL itself is checked.
"""

from __future__ import annotations

import os
import queue
import re
import socket
import threading
import time
from _socket import getaddrinfo  # the one in `socket` asks the scan's own DNS server, if it has one
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from selectors import EVENT_WRITE
from typing import Any, NamedTuple
from urllib.parse import urljoin, urlsplit

from sfwebhooks import system
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import AddressError
from sfwebhooks.network.addresses import literal, refusal
from sfwebhooks.network.budget import Budget, Phase
from sfwebhooks.network.proxy import Proxy

#: seconds for connecting to a host, over all of its addresses
CONNECT_SECONDS = 5.0
#: seconds after which the next address is tried in parallel (RFC 8305 section 5)
NEXT_SECONDS = 0.25
#: most addresses of a host that are tried
ADDRESSES_MAX = 16


class Place(NamedTuple):
    """An address to connect to."""

    family: int
    #: address and port, in the form of `family`
    address: Any


@dataclass(frozen=True)
class Route:
    """The way to a receiver, for its connections."""

    #: the receiver's host from the URL, without brackets, possibly with a final dot
    host: str
    port: int
    #: host and port in the request, without the scheme's default port
    authority: str
    #: target in the request line: path and query, byte for byte, or the whole URL if a proxy forwards
    target: str = field(repr=False)
    #: whether the receiver's URL is https
    secure: bool
    #: whether a proxy gets the whole request, not only the address to connect to
    forwarded: bool
    #: whether the receiver may be in a private network
    allow_private: bool
    proxy: Proxy | None

    @classmethod
    def to(cls, endpoint: Endpoint) -> Route:
        """Return the way to an endpoint."""
        url = endpoint.url.reveal()
        parts = urlsplit(url)
        rest = url.partition("://")[2]
        path = re.sub(r"^[^/?]*", "", rest)
        place = rest[: len(rest) - len(path)]
        target = path if path.startswith("/") else "/" + path
        secure = parts.scheme == "https"
        own_port = 443 if secure else 80
        host, port = parts.hostname or "", parts.port or own_port
        named = f"[{host}]" if ":" in host else host.rstrip(".")
        proxy = Proxy.of(endpoint.proxy) if endpoint.proxy else None
        forwarded = proxy is not None and proxy.scheme != "socks5h" and not secure
        if forwarded:
            target = f"http://{place}{target}"  # RFC 9112 section 3.2.2
        authority = named if port == own_port else f"{named}:{port}"
        return cls(host, port, authority, target, secure, forwarded, endpoint.allow_private, proxy)

    def head(self, method: str = "POST", query: str = "", path: str = "") -> bytes:
        """Return the beginning of a request: its first line and the headers that never change (RFC 9112 section 3).

        Args:
            query: added to the query of the URL.
            path: relative to the URL.
        """
        headers = {"Host": self.authority, **(self.proxy.headers if self.forwarded and self.proxy else {})}
        target = elsewhere(self.target, path, query)
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), ""]
        return "\r\n".join(lines).encode("latin-1")

    def open(self, budget: Budget, first: Place | None = None) -> tuple[socket.socket, Place]:
        """Return a connection to the receiver or its proxy, and the connected address.

        Args:
            first: the previously connected address, which is tried first if the host still has it.

        Raises:
            AddressError: the network policy forbids the address.
            OSError: no connection could be opened.
        """
        if not self.proxy:
            return dial(self.host, self.port, budget, first, self.allow_private)
        _check_name(self.host)
        address = literal(self.host)
        why = refusal(address, self.allow_private) if address else ""
        if why:
            raise AddressError(why)
        budget.phase = Phase.PROXY
        return dial(self.proxy.host, self.proxy.port, budget, first)


def elsewhere(target: str, path: str, query: str) -> str:
    """Return a URL, or a part of one that ends with the query, with another path relative to it (if that is given), and
    with something added to the query."""
    target = urljoin(target, path)
    return f"{target}{'&' if '?' in target else '?'}{query}" if query else target


def dial(
    host: str, port: int, budget: Budget, first: Place | None = None, allow_private: bool = True
) -> tuple[socket.socket, Place]:
    """Return a connection to the first of a host's addresses that is allowed and answers, and that address.

    Raises:
        AddressError: no address is allowed.
        OSError: no allowed address can be connected to, or the host has no address.
    """
    places = addresses_of(host, port, budget)
    reasons = {place: refusal(place.address[0], allow_private) for place in places}
    allowed = [place for place in places if not reasons[place]]
    if not allowed:
        raise AddressError(next(iter(reasons.values())))
    if first in allowed:
        allowed.sort(key=lambda place: place != first)
    return _race(allowed[:ADDRESSES_MAX], min(CONNECT_SECONDS, budget.seconds_left()))


def _race(places: Sequence[Place], seconds: float) -> tuple[socket.socket, Place]:
    """Connect to addresses in parallel, with staggered starts; return the first that answers (RFC 8305 section 5).

    The pause between two is shorter if there are many, so that each is tried in time.
    """
    waiting, pause = deque(places), min(NEXT_SECONDS, seconds / (len(places) + 1))
    begun: dict[int, tuple[socket.socket, Place]] = {}
    selector, next_at, until = system.Selector(), 0.0, time.monotonic() + seconds
    failed: OSError | None = None
    try:
        while waiting or begun:
            now = time.monotonic()
            if now >= until:
                raise socket.timeout("no address answered in time")
            if waiting and (now >= next_at or not begun):
                next_at = now + pause
                try:
                    sock, place = _begin(waiting.popleft())
                except OSError as error:
                    failed, next_at = error, now
                    continue
                begun[sock.fileno()] = sock, place
                selector.register(sock, EVENT_WRITE)
            pausing = min(until, next_at) if waiting else until
            for key, _ in selector.select(max(pausing - now, 0.0)):
                selector.unregister(key.fd)
                sock, place = begun.pop(key.fd)
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if not code:
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    return sock, place
                sock.close()
                failed, next_at = OSError(code, os.strerror(code)), now
        raise failed or socket.timeout("no address answered in time")
    finally:
        for sock, _ in begun.values():
            sock.close()


def _begin(place: Place) -> tuple[socket.socket, Place]:
    """Start connecting."""
    sock = socket.socket(place.family, socket.SOCK_STREAM)
    sock.setblocking(False)
    code = sock.connect_ex(place.address)
    if code not in system.CONNECTING:
        sock.close()
        raise OSError(code, os.strerror(code))
    return sock, place


def addresses_of(host: str, port: int, budget: Budget) -> list[Place]:
    """Return a host's addresses, alternating between the first one's family and the other (RFC 8305 section 4)."""
    found = [Place(family, address) for family, _, _, _, address in _look_up(host, port, budget)]
    if not found:
        raise socket.gaierror(socket.EAI_NONAME, "the name has no address")
    same = [place for place in found if place.family == found[0].family]
    others = [place for place in found if place.family != found[0].family]
    mixed = chain.from_iterable(zip_longest(same, others))
    return list(dict.fromkeys(place for place in mixed if place))


def _look_up(host: str, port: int, budget: Budget) -> list[Any]:
    """Return a host's addresses; a name is looked up in a separate thread, since getaddrinfo has no time limit."""
    found: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def look() -> None:
        try:
            _check_name(host)
            found.put(getaddrinfo(host, port, 0, socket.SOCK_STREAM))
        except OSError as error:
            found.put(error)

    if literal(host):
        look()
    else:
        try:
            threading.Thread(target=look, name="webhooks-lookup", daemon=True).start()
        except RuntimeError:  # an exiting interpreter starts no threads
            look()
    try:
        result = found.get(timeout=budget.seconds_left())
    except queue.Empty:
        raise socket.gaierror(socket.EAI_AGAIN, "no name server answered in time") from None
    if isinstance(result, OSError):
        raise result
    return list(result)


def _check_name(host: str) -> None:
    """Check that a host name is possible, without looking it up.

    Raises:
        socket.gaierror: a part of it is empty or too long (RFC 1035 section 2.3.4).
    """
    try:
        possible = len(host.encode("idna")) <= 255
    except UnicodeError:
        possible = False
    if not possible:
        raise socket.gaierror(socket.EAI_NONAME, "no host can have this name")
