"""The connections to a receiver: a request and its Budget come in, the ReplyReader with the reply goes out.

The Pool opens connections along the endpoint's Route, through its proxy and with TLS, and keeps them for the next
attempts, but not for long: a firewall drops idle ones silently, and a name may get another address.
"""

from __future__ import annotations

import ssl
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Callable

from sfwebhooks.attempts import NoReplyError, Reply
from sfwebhooks.network.budget import Budget, Phase, ReplyTooLongError
from sfwebhooks.network.handshake import HandshakeLog
from sfwebhooks.network.http_reader import NotHTTPError, ReplyReader
from sfwebhooks.network.proxy import Proxy, proxys_refusal, socks_talk
from sfwebhooks.network.route import Place, Route
from sfwebhooks.network.steps import Arrived, Sent, Tunnelled
from sfwebhooks.network.streams import Bytes, Stream, TLSStream

#: seconds to wait for the rest of a reply after its status: an excerpt is not worth more
BODY_SECONDS = 1.0
#: seconds after which an idle connection is not used again
IDLE_SECONDS = 60.0
#: seconds after which a connection is not used again, so that the receiver's name is looked up regularly
LIFE_SECONDS = 120.0


@dataclass(frozen=True)
class Contexts:
    """The TLS contexts of an endpoint."""

    #: verifies the receiver, and presents our client certificate
    receiver: ssl.SSLContext
    #: verifies a proxy with an https URL
    proxy: ssl.SSLContext


class Connection:
    """An open connection for one request after another."""

    def __init__(self, tcp: Stream, now: float) -> None:
        #: monotonic seconds
        self.opened_at = now
        #: monotonic seconds after which it is too old to be used again
        self.old_at = now
        #: readable while it is kept if the peer has closed it or sent unsolicited data
        self.stream: Bytes = tcp
        self._tcp = tcp

    def begin_tls(self, context: ssl.SSLContext, host: str, budget: Budget) -> None:
        """Start TLS with the peer that the connection has reached."""
        seen = HandshakeLog(context, budget.watch) if budget.watch else None
        secured, succeeded = TLSStream(self.stream, context, host), False
        try:
            secured.shake_hands(budget.ends_at)
            succeeded = True
        finally:
            if seen:
                seen.end(secured, host, budget.phase is Phase.PROXY, succeeded)
        self.stream = secured

    def exchange(self, request: bytes, budget: Budget, reader: ReplyReader) -> bool:
        """Send a request and read the reply; return whether the connection can be used again.

        After the status the rest of the reply is only an excerpt: it is read to its end or for a second, whichever
        comes first. A receiver may answer before it has read the request; with a 2xx it may still need the rest of it,
        with any other status it does not (RFC 9112 section 9.5).

        Raises:
            OSError, NotHTTPError, ReplyTooLongError: no status arrived.
        """
        self._tcp.budget = budget
        unsent, whole, until = memoryview(request), True, budget.ends_at
        try:
            while unsent or not reader.done:
                count, began = 0, reader.status
                if unsent:
                    try:
                        count = self.stream.send(unsent)
                    except OSError:  # it closed the connection, maybe after an alert about our certificate, which it
                        count, whole = len(unsent), False  # checks after we started sending (TLS 1.3)
                    unsent = unsent[count:]
                elif budget.phase is Phase.REQUEST:
                    budget.phase = Phase.REPLY
                    if budget.watch:
                        budget.watch(Sent(len(request)))
                if not count:
                    data = self.stream.recv(until, bool(unsent))
                    if data:
                        budget.answered = True
                        if budget.watch:
                            budget.watch(Arrived(len(data)))
                        reader.feed(data)
                    elif data is not None:
                        reader.end()
                        break
                    if reader.status >= 300 and unsent:
                        unsent, whole = unsent[:0], False
                if reader.status and (count or not began):
                    until = min(budget.ends_at, time.monotonic() + BODY_SECONDS)
        except (OSError, NotHTTPError, ReplyTooLongError):
            if not reader.status:
                raise
            return False
        if not reader.status:
            raise ConnectionError("closed without an answer")
        return reader.reusable and whole

    def ask_socks(self, proxy: Proxy, host: str, port: int, budget: Budget) -> None:
        """Ask a SOCKS proxy to connect to a host and port.

        Raises:
            NoReplyError: it refuses, or cannot reach the host.
            OSError, NotHTTPError: it did not answer.
        """
        talk, came = socks_talk(proxy, host, port), b""
        step = next(talk)
        with suppress(StopIteration):
            while True:
                if isinstance(step, bytes):
                    self.stream.send(step)  # a few bytes, which always fit
                    step = next(talk)
                    continue
                while len(came) < step:
                    data = self.stream.recv(budget.ends_at)
                    if data == b"":
                        raise ConnectionError("closed without an answer")
                    came += data or b""
                got, came = came[:step], came[step:]
                step = talk.send(got)
        if came:
            raise NotHTTPError("the proxy sent more than a SOCKS 5 reply")

    def ask_tunnel(self, route: Route, proxy: Proxy, budget: Budget) -> None:
        """Ask an HTTP proxy to connect to the receiver (RFC 9110 section 9.3.6).

        Raises:
            NoReplyError: it refuses, or cannot reach the receiver.
            OSError, NotHTTPError: it did not answer.
        """
        host = f"[{route.host}]" if ":" in route.host else route.host
        headers = {"Host": f"{host}:{route.port}", **proxy.headers}
        lines = [f"CONNECT {host}:{route.port} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        reader = ReplyReader(tunnel=True)
        kept = self.exchange("\r\n".join([*lines, "", ""]).encode("latin-1"), budget, reader)
        if not 200 <= reader.status < 300:
            refusal = Reply(status=reader.status, headers=reader.headers, body=reader.body)
            raise NoReplyError(proxys_refusal(refusal, reader.reason))
        if not kept:
            raise NotHTTPError("the proxy sent more than its reply to CONNECT")

    def close(self) -> None:
        """Close the connection."""
        self.stream.close()


class Pool:
    """The connections of an endpoint that are kept for its next attempts. Thread-safe.

    Args:
        size: most connections to keep.
        clock: monotonic seconds.
    """

    def __init__(self, route: Route, contexts: Contexts, size: int, clock: Callable[[], float]) -> None:
        self.route = route
        #: the beginning of most requests
        self.head = route.head()
        self.contexts = contexts
        self._size = size
        self._clock = clock
        #: the last used one comes last
        self._idle: list[Connection] = []
        #: the last connected address
        self._place: Place | None = None
        self._guard = threading.Lock()

    def take(self, budget: Budget) -> Connection:
        """Return a kept connection or a new one.

        Raises:
            AddressError: the network policy forbids the receiver's address.
            NoReplyError, OSError, NotHTTPError, ReplyTooLongError: no connection could be opened.
        """
        with self._guard:
            now = self._clock()
            while self._idle and now > self._idle[0].old_at:
                self._idle.pop(0).close()
            while self._idle:
                kept = self._idle.pop()
                if now <= kept.old_at and not kept.stream.is_readable:
                    budget.reused = True
                    return kept
                kept.close()
        return self._open(budget)

    def keep(self, connection: Connection) -> None:
        """Keep a connection for the next attempt."""
        with self._guard:
            connection.old_at = min(self._clock() + IDLE_SECONDS, connection.opened_at + LIFE_SECONDS)
            if len(self._idle) < self._size:
                self._idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        """Close the kept connections."""
        with self._guard:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _open(self, budget: Budget) -> Connection:
        """Open a connection to the receiver: through the proxy if there is one, with TLS if the URL is https."""
        route, proxy = self.route, self.route.proxy
        sock, self._place = route.open(budget, self._place)
        connection = Connection(Stream(sock, budget), self._clock())
        try:
            if proxy and proxy.scheme == "https":
                connection.begin_tls(self.contexts.proxy, proxy.host, budget)
            if proxy and proxy.scheme == "socks5h":
                connection.ask_socks(proxy, route.host, route.port, budget)
            elif proxy and not route.forwarded:
                connection.ask_tunnel(route, proxy, budget)
            if proxy and not route.forwarded and budget.watch:
                budget.watch(Tunnelled(route.host, route.port))
            if route.secure:
                budget.phase = Phase.TLS
                connection.begin_tls(self.contexts.receiver, route.host.rstrip("."), budget)
        except BaseException:
            connection.close()
            raise
        return connection
