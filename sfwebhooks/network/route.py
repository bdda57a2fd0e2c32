"""The Route to a receiver: an Endpoint comes in, open sockets go out, each to an address that the policy allows.

Each address is checked after the name look-up and before the connection, so no DNS server can direct us to a forbidden
one. Behind a proxy, the proxy looks up the name, and only an address in the URL itself is checked.
"""

from __future__ import annotations

import errno
import os
import queue
import re
import socket
import threading
import time
from _socket import getaddrinfo  # the one in `socket` asks the scan's own DNS server, if it has one
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from selectors import EVENT_WRITE
from typing import Any, NamedTuple
from urllib.parse import urljoin, urlsplit

from sfwebhooks import system
from sfwebhooks.attempts import NoReplyError, Reply
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import AddressError
from sfwebhooks.network.addresses import literal, refusal
from sfwebhooks.network.budget import Budget, Phase
from sfwebhooks.network.proxy import Proxy
from sfwebhooks.network.steps import Connected, Resolved, Unreached
from sfwebhooks.reasons import Failure

#: seconds for connecting to a host, over all of its addresses
CONNECT_SECONDS = 5.0
#: seconds after which the next address is tried in parallel (RFC 8305 section 5)
NEXT_SECONDS = 0.25
#: most addresses of a host that are tried
ADDRESSES_MAX = 16
FAMILIES: dict[int, str] = {socket.AF_INET: "IPv4", socket.AF_INET6: "IPv6"}
#: errors of a socket for an address that this machine does not have
NOT_OURS = (errno.EADDRNOTAVAIL, errno.EINVAL)


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
    #: address of this machine from which connections are opened; empty: any
    source: str = ""

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
        return cls(
            host, port, authority, target, secure, forwarded, endpoint.allow_private, proxy, endpoint.source_address
        )

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
            NoReplyError: no connection can be opened from `source`.
            OSError: no connection could be opened.
        """
        places = self.places(budget)
        if first in places:
            places.sort(key=lambda place: place != first)
        return _race(places[:ADDRESSES_MAX], self.source, budget)

    def places(self, budget: Budget) -> list[Place]:
        """Return the addresses of the receiver, or of its proxy, that may be connected to.

        Raises:
            AddressError: the network policy allows none of them.
            NoReplyError: none of them can be reached from `source`.
            OSError: the host has no address.
        """
        host, port, allow_private = self.host, self.port, self.allow_private
        if self.proxy:
            _check_name(host)
            address = literal(host)
            why = refusal(address, allow_private) if address else ""
            if why:
                raise AddressError(why)
            budget.phase = Phase.PROXY
            host, port, allow_private = self.proxy.host, self.proxy.port, True
        found = addresses_of(host, port, budget)
        reasons = {place: refusal(place.address[0], allow_private) for place in found}
        allowed = [place for place in found if not reasons[place]]
        family = family_of(self.source) if self.source else None
        fitting = [place for place in allowed if family in (None, place.family)]
        if budget.watch:
            others = {place.address[0]: reasons[place] or "source_address" for place in found if place not in fitting}
            budget.watch(Resolved(host, tuple(place.address[0] for place in fitting), others))
        if not allowed:
            raise AddressError(next(iter(reasons.values())))
        if family and not fitting:
            who, theirs = "the proxy" if self.proxy else "the receiver", FAMILIES[allowed[0].family]
            raise unusable(self.source, f"is {FAMILIES[family]}, and {who} has only {theirs} addresses")
        return fitting


def elsewhere(target: str, path: str, query: str) -> str:
    """Return a URL, or a part of one that ends with the query, with another path relative to it (if that is given), and
    with something added to the query."""
    target = urljoin(target, path)
    return f"{target}{'&' if '?' in target else '?'}{query}" if query else target


def _race(places: Sequence[Place], source: str, budget: Budget) -> tuple[socket.socket, Place]:
    """Connect to addresses in parallel, with staggered starts; return the first that answers (RFC 8305 section 5).

    The pause between two is shorter if there are many, so that each is tried in time.

    Args:
        source: address of this machine to connect from; empty: any.
    """
    seconds = min(CONNECT_SECONDS, budget.seconds_left())
    waiting, pause = deque(places), min(NEXT_SECONDS, seconds / (len(places) + 1))
    begun: dict[int, tuple[socket.socket, Place]] = {}
    selector, next_at, until = system.Selector(), 0.0, time.monotonic() + seconds
    failed: Exception | None = None
    try:
        while waiting or begun:
            now = time.monotonic()
            if now >= until:
                raise socket.timeout("no address answered in time")
            if waiting and (now >= next_at or not begun):
                next_at, place = now + pause, waiting.popleft()
                try:
                    sock = _begin(place, source)
                except (OSError, NoReplyError) as error:
                    failed, next_at = error, now
                    if budget.watch:
                        budget.watch(Unreached(place.address[0], getattr(error, "strerror", None) or str(error)))
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
                    if budget.watch:
                        silent = tuple(other.address[0] for _, other in begun.values())
                        address, port = place.address[:2]
                        budget.watch(Connected(address, port, sock.getsockname()[0], silent))
                    return sock, place
                sock.close()
                failed, next_at = OSError(code, os.strerror(code)), now
                if budget.watch:
                    budget.watch(Unreached(place.address[0], os.strerror(code)))
        raise failed or socket.timeout("no address answered in time")
    finally:
        for sock, _ in begun.values():
            sock.close()


def _begin(place: Place, source: str) -> socket.socket:
    """Start connecting."""
    sock = socket.socket(place.family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if source:
            bind(sock, source)
        code = sock.connect_ex(place.address)
        if code not in system.CONNECTING:
            raise connect_error(code, place, source)
    except BaseException:
        sock.close()
        raise
    return sock


def bind(sock: socket.socket, source: str) -> None:
    """Let a socket use an address of this machine.

    Raises:
        NoReplyError: this machine does not have it.
    """
    if system.BIND_ADDRESS_NO_PORT:  # else receivers would share the ports of an address, which closed connections hold
        with suppress(OSError):  # a kernel without it
            sock.setsockopt(socket.IPPROTO_IP, system.BIND_ADDRESS_NO_PORT, 1)
    try:
        sock.bind((source, 0))
    except OSError as error:
        if error.errno not in NOT_OURS:
            raise
        raise unusable(source, f"is not an address of this machine: {error.strerror}") from error


def connect_error(code: int, place: Place, source: str) -> OSError | NoReplyError:
    """Return the error for the code with which connecting to an address from `source` failed at once."""
    if source and code == errno.EINVAL:  # as from 127.0.0.1 to another machine
        return unusable(source, f"cannot reach {place.address[0]}: {os.strerror(code)}")
    return OSError(code, os.strerror(code))


def unusable(source: str, why: str) -> NoReplyError:
    """Return the error about a `source_address` from which no connection can be opened."""
    return NoReplyError(Reply(failure=Failure.SOURCE, detail=f"source_address {source} {why}"))


def family_of(address: str) -> socket.AddressFamily:
    """Return the family of an address."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


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
