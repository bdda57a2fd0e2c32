"""The way of a delivery, from its claim until it is settled: each function is one that a reader has to open."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from sfwebhooks.delivery.send_queue import AHEAD_MAX, SendQueue
from sfwebhooks.delivery.settling import GROUP_MAX
from sfwebhooks.outbox.outbox import Outbox
from tests.builders import PATIENCE, an_endpoint
from tests.conftest import Clock, put, soon
from tests.tracing import Trace, traced

STORES = ("sqlite", "postgres")

#: functions of our own, from claim to settled, one of which only if the reply is not there at once; and those of them
#: below `Sender.send`
MOST, MOST_HTTP = 60, 25
#: the same with PostgreSQL, whose statements are translated and whose owners are checked
MOST_POSTGRES = 75


class Plain(BaseHTTPRequestHandler):
    """Answers as web servers do that say no more than 200."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Plain)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hook"
    server.shutdown()
    server.server_close()
    thread.join(PATIENCE)


@pytest.fixture
def trace(outbox: Outbox, clock: Clock, url: str) -> Trace:
    """The calls of a worker that claims and settles signed deliveries in groups, after the first ones."""
    endpoint = an_endpoint(url=url, secrets=["s" * 32], concurrency=1, timeout=PATIENCE)
    queue = SendQueue([endpoint], outbox, clock)
    put(outbox, endpoint, events=1 + AHEAD_MAX + GROUP_MAX)
    queue.step(AHEAD_MAX)  # takes the lock, opens the connection, and raises the mark
    with traced(SendQueue.step.__code__) as trace:
        queue.wake()
        deadline = soon()
        while outbox.scans.tallies()["waiting"] and time.monotonic() < deadline:
            threading.Event().wait(0.01)  # the worker itself writes the results
        queue.halt()
    assert queue.stop(soon())
    assert outbox.scans.tallies()["delivered"] == 1 + AHEAD_MAX + GROUP_MAX
    return trace


def test_a_delivery_goes_through_few_functions(trace: Trace) -> None:
    functions = trace.functions()
    most = MOST if any("outbox/file.py" in one for one in functions) else MOST_POSTGRES
    assert len(functions) <= most, "\n".join(functions)


def test_few_of_them_are_about_http(trace: Trace) -> None:
    functions = trace.functions("network/")
    assert len(functions) <= MOST_HTTP, "\n".join(functions)


def test_the_trace_sees_the_whole_way(trace: Trace) -> None:
    stations = ("outbox/queue.py claim", "pipeline.py deliver", "signing.py sign", "network/sender.py send")
    assert {*stations, "retry.py judge", "retry.py decide", "outbox/queue.py settle"} <= {*trace.functions()}
