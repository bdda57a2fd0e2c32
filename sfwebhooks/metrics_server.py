"""The HTTP server of `sfwebhooks run --metrics`: a scrape comes in, the metrics go out, in the format that it asks for;
a probe comes in, and yes or no goes out, without a look at the outbox.

It must not harm the process that delivers: it answers in threads of its own, a few at once, each within a few seconds.
"""

from __future__ import annotations

import ipaddress
import logging
import re
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import make_wsgi_app

from sfwebhooks.config.settings import Settings
from sfwebhooks.errors import ConfigError, WebhooksError
from sfwebhooks.log_once import Trouble
from sfwebhooks.metrics import OutboxMetrics
from sfwebhooks.outbox.postgres.dsn import Place

log = logging.getLogger("spiderfoot.webhooks")
PATH = "/metrics"
METHODS = ("GET", "HEAD")
#: the beginning of an absolute URL, as clients send it to a proxy (RFC 9112, section 3.2.2)
HOST = re.compile("^https?://[^/]*", re.IGNORECASE)
#: in an Accept header: the OpenMetrics format instead of the text format
OPEN_METRICS = "application/openmetrics-text"
#: connections that are served at once; others are closed
CONNECTIONS_MAX = 8
#: seconds after which a connection is closed, whatever it is doing
CONNECTION_SECONDS = 10.0
#: seconds between two looks at their age, and until a stop is noticed
ROUND_SECONDS = 0.2
#: a WSGI application's arguments (PEP 3333)
Environment = dict[str, Any]
StartResponse = Callable[..., Any]
#: path of a probe -> its answer
Probes = Mapping[str, Callable[[], bool]]
NO_PROBES: Probes = {}


class MetricsServer(socketserver.ThreadingMixIn, WSGIServer):
    """The server; it listens once it is made, and answers between `start` and `stop`.

    Raises:
        OSError: it cannot listen at this address.
    """

    daemon_threads = True

    def __init__(self, address: tuple[str, int], metrics: OutboxMetrics, probes: Probes = NO_PROBES) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._began_at: dict[socket.socket, float] = {}
        self._free = threading.BoundedSemaphore(CONNECTIONS_MAX)
        super().__init__(address, ScrapeHandler)
        self.set_app(_app(metrics, probes))

    @property
    def url(self) -> str:
        """The address to scrape."""
        host, port = str(self.server_address[0]), self.server_address[1]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}{PATH}"

    def start(self) -> None:
        """Start to answer, in a thread."""
        threading.Thread(target=self.serve_forever, args=(ROUND_SECONDS,), name="metrics", daemon=True).start()

    def stop(self) -> None:
        """Answer no more, and free the port."""
        self.shutdown()
        self.server_close()
        self._end_those_before(float("inf"))

    def server_bind(self) -> None:
        """Listen, without asking DNS for this machine's name."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection; without descriptors left, do not try again at once."""
        try:
            return super().get_request()
        except OSError:
            time.sleep(ROUND_SECONDS)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread, unless there are too many."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        self._began_at[request] = time.monotonic()
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread can be started
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def shutdown_request(self, request: Any) -> None:
        """End a connection."""
        self._began_at.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """End the connections that are too old; called every ROUND_SECONDS."""
        self._end_those_before(time.monotonic() - CONNECTION_SECONDS)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a client that disconnects or sends garbage."""
        log.debug("webhooks: a connection to the metrics ended", exc_info=True)

    def _end_those_before(self, moment: float) -> None:
        for request, began_at in [*self._began_at.items()]:
            if began_at < moment:
                with suppress(OSError):
                    request.shutdown(socket.SHUT_RDWR)  # its thread, which may be reading or writing, goes on and ends


class ScrapeHandler(WSGIRequestHandler):
    """One scrape."""

    server_version = "sfwebhooks"
    sys_version = ""

    def log_message(self, *args: Any) -> None:
        """Log nothing."""


def _app(metrics: OutboxMetrics, probes: Probes) -> Callable[[Environment, StartResponse], Iterable[bytes]]:
    exposed, trouble = make_wsgi_app(metrics.registry()), Trouble("metrics: ", over="metrics can be read again")

    def app(environment: Environment, start: StartResponse) -> Iterable[bytes]:
        method, found = environment["REQUEST_METHOD"], []
        path = HOST.sub("", environment["PATH_INFO"])
        status, words = "404 Not Found", f"the metrics are at {PATH}"
        if method not in METHODS:
            status, words = "405 Method Not Allowed", f"expected {' or '.join(METHODS)}"
        elif path in probes:
            status, words = ("200 OK", "yes") if probes[path]() else ("503 Service Unavailable", "no: see the log")
        elif path == PATH:
            try:
                body = b"".join(exposed(_asked(environment), lambda *begin: found.append(begin)))
                trouble.ended()
                start(found[0][0], [*found[0][1], ("Content-Length", str(len(body)))])
                return [] if method == "HEAD" else [body]
            except WebhooksError as error:  # a failed scrape is an alert of its own; it names no file
                trouble.met(str(error))
                status, words = "503 Service Unavailable", "the outbox cannot be read: see the log"
            except Exception as error:  # a bug; raised further, each scrape would write a traceback to stderr
                trouble.met(f"{type(error).__name__}: {error}")
                status, words = "500 Internal Server Error", "the metrics cannot be made: see the log"
        start(status, [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(words) + 1))])
        return [] if method == "HEAD" else [f"{words}\n".encode()]

    return app


def _asked(environment: Environment) -> Environment:
    """Return of a request what prometheus_client is to see: neither a query nor a version, which it may not know."""
    accept = OPEN_METRICS if OPEN_METRICS in environment.get("HTTP_ACCEPT", "") else ""
    encoding = environment.get("HTTP_ACCEPT_ENCODING", "")
    return {"REQUEST_METHOD": "GET", "PATH_INFO": PATH, "HTTP_ACCEPT": accept, "HTTP_ACCEPT_ENCODING": encoding}


@contextmanager
def exposed_metrics(
    address: tuple[str, int], place: Place, settings: Callable[[], Settings], probes: Probes = NO_PROBES
) -> Iterator[MetricsServer]:
    """Serve the metrics of an outbox while the block runs.

    Args:
        address: IP address and port; port 0: any free one.
        place: of the outbox.
        settings: returns the current settings.
        probes: what else is asked there.

    Raises:
        ConfigError: nothing can listen at this address.
    """
    metrics = OutboxMetrics(place, settings, counting=True)
    try:
        server = MetricsServer(address, metrics, probes)
    except OSError as error:
        shown = f"[{address[0]}]" if ":" in address[0] else address[0]
        raise ConfigError(
            f"--metrics {shown}:{address[1]}: {error.strerror}; expected a free port and an address of this machine"
        ) from error
    if ipaddress.ip_address(address[0]).is_loopback:
        log.info("webhooks: metrics at %s", server.url)
    else:
        text = (
            "webhooks: metrics at %s: anyone who can reach this address can read the names of the endpoints and numbers"
        )
        log.warning(text, server.url)
    server.start()
    try:
        yield server
    finally:
        server.stop()
        metrics.close()
