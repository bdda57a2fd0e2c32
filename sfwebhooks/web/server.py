"""The server: an application comes in; uvicorn serves it on a listening socket, in a thread, until it is stopped.

It must not harm the thread that delivers: connections are limited in number, and a client that sends or reads too
slowly is disconnected.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import anyio.to_thread
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from sfwebhooks import system
from sfwebhooks.errors import ConfigError
from sfwebhooks.web.site import Site

log = logging.getLogger("spiderfoot.webhooks")
#: connections at once, without event streams; of more, the ones that have waited longest for a request are closed
CONNECTIONS_MAX = 256
#: address of the event streams, which have a limit of their own
STREAM = "/v1/stream"
#: threads that answer
THREADS = 8
#: seconds in which a client has to send the head of a request, and to take what was sent to it
HEAD_SECONDS, TAKE_SECONDS = 10.0, 30.0
#: seconds between two looks at that
ROUND_SECONDS = 1.0
#: seconds that an idle connection stays open, and that requests may go on when the server stops
IDLE_SECONDS, GRACE_SECONDS = 5, 2
BACKLOG = 128
NUMBERS = count()
#: bytes that the system keeps for a client that does not read; by itself, it would take megabytes for each
SEND_BUFFER = 65_536
#: open files that this process asks for: the connections with those of the streams, and those of the deliveries
DESCRIPTORS = 4096


class Conversation(H11Protocol):
    """One connection."""

    def connection_made(self, transport: Any) -> None:
        """Begin the connection; if there are too many, end the one that has waited longest for a request: it may be one
        of an attack, and this one not."""
        self.app_state = {**self.app_state, "abort": transport.abort}  # a client that does not read takes no end either
        self.number = next(NUMBERS)
        super().connection_made(transport)
        if len(self.connections) <= CONNECTIONS_MAX:
            return
        known: set[Any] = self.connections  # of uvicorn's other protocols, by their types
        others = [one for one in known if not (one.transport.is_closing() or is_stream(one))]
        if len(others) > CONNECTIONS_MAX:
            waiting = [one for one in others if one.is_waiting or one.cycle.more_body]
            min(waiting, key=lambda one: one.number).transport.abort()

    @property
    def is_waiting(self) -> bool:
        """Whether it has not sent the head of a request that is yet to be answered."""
        return self.cycle is None or bool(self.cycle.response_complete)


def _phase(one: Any) -> tuple[float, object]:
    """Return for how many seconds a connection may go on as it is, and what it does now; that changes with each
    request."""
    if one.transport.get_write_buffer_size():
        return TAKE_SECONDS, ("takes", id(one.cycle))
    if one.is_waiting:
        return HEAD_SECONDS, ("sends", id(one.cycle))
    return float("inf"), None


def is_stream(one: Any) -> bool:
    """Return whether a connection is that of an event stream."""
    return bool(not one.is_waiting and one.cycle.response_started and one.scope["path"] == STREAM)


class WebServer:
    """A server on a listening socket.

    Args:
        listener: see `listening`.
    """

    def __init__(self, app: ASGIApp, site: Site, listener: socket.socket) -> None:
        self._site = site
        self._listener = listener
        config = uvicorn.Config(
            app,
            loop="asyncio",
            http=Conversation,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",  # it would log a line for each client that sends garbage
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=IDLE_SECONDS,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)

    def start(self) -> None:
        """Start to answer, in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more, and free the port."""
        self._site.stopping.set()
        self._site.streams.close()
        self._server.should_exit = True
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as error:  # the deliveries go on without the page
            log.error("webhooks: web: the server ended: %s: %s", type(error).__name__, error)
        finally:
            self._listener.close()

    async def _serve(self) -> None:
        anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
        looks = asyncio.create_task(self._end_slow_ones())
        try:
            await self._server.serve(sockets=[self._listener])
        finally:
            looks.cancel()

    async def _end_slow_ones(self) -> None:
        """End the connections whose client is too slow."""
        loop = asyncio.get_running_loop()
        since: dict[Any, tuple[object, float]] = {}
        while True:
            now, before, since = loop.time(), since, {}
            for one in [*self._server.server_state.connections]:
                limit, phase = _phase(one)
                known = before.get(one)
                since[one] = known if known and known[0] == phase else (phase, now)
                if now - since[one][1] > limit:
                    one.transport.abort()
            await asyncio.sleep(ROUND_SECONDS)


@contextmanager
def listening(address: tuple[str, int]) -> Iterator[socket.socket]:
    """Listen at an address.

    Args:
        address: IP address and port; port 0: any free one.

    Raises:
        ConfigError: nothing can listen at this address.
    """
    host, port = address
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # without its number asyncio sets no TCP_NODELAY, and each answer waits 40 ms for an acknowledgement
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)  # connections inherit both
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(TAKE_SECONDS * 1000))
            listener.bind(address)
            listener.listen(BACKLOG)
        except OSError as error:
            raise ConfigError(
                f"--listen {shown_address(host, port)}: {error.strerror}; expected a free port and an address of this"
                " machine"
            ) from error
        yield listener


@contextmanager
def serving(app: ASGIApp, site: Site, listener: socket.socket) -> Iterator[None]:
    """Serve an application while the block runs."""
    system.allow_descriptors(DESCRIPTORS)
    server = WebServer(app, site, listener)
    server.start()
    try:
        yield
    finally:
        server.stop()


def shown_address(host: str, port: int) -> str:
    """Return an address as it is in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
