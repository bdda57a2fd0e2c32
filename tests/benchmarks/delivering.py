"""Deliveries per second, durable and signed, against a bare requests.Session loop to the same receiver."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import requests

from sfwebhooks.config import load_mapping
from sfwebhooks.dispatcher import Dispatcher
from sfwebhooks.formats import generic
from sfwebhooks.outbox import FILE
from sfwebhooks.pipeline import accept
from tests.benchmarks.accepting import event_of
from tests.benchmarks.measure import Measure, whole
from tests.builders import NOW, a_delivery, an_endpoint

BARE = "deliver: bare requests.Session loop"
#: a receiver in a process of its own, as plain as one can be: it reads a request and answers 200
RECEIVER = """
import socketserver, sys
class Handler(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True
    def handle(self):
        while True:
            length = None
            while True:
                line = self.rfile.readline()
                if line in (b"\\r\\n", b""):
                    break
                if line[:15].lower() == b"content-length:":
                    length = int(line[15:])
            if length is None:
                return
            self.rfile.read(length)
            self.wfile.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")
class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
server = Server(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


@contextlib.contextmanager
def receiver() -> Iterator[str]:
    process = subprocess.Popen([sys.executable, "-c", RECEIVER], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/webhook"
    finally:
        process.kill()
        process.wait()


def bare(events: int) -> Measure:
    """Post the same bodies one after the other, neither kept nor signed."""
    bodies = [generic.render(a_delivery(event_of(number)), an_endpoint()).body for number in range(events)]
    headers = {"Content-Type": "application/json"}
    with receiver() as url, requests.Session() as session:
        session.trust_env = False

        def run() -> None:
            for body in bodies:
                assert session.post(url, data=body, headers=headers, timeout=15).status_code == 200

        return whole(events, run)


def engine(concurrency: int) -> Callable[[int], Measure]:
    """Return a row: what waits in an outbox is claimed, rendered, signed, sent and settled."""

    def row(events: int) -> Measure:
        with tempfile.TemporaryDirectory() as folder, receiver() as url:
            keys = {"url": url, "events": "all", "secret": "s" * 32, "concurrency": concurrency}
            endpoints = load_mapping({"team": keys}).endpoints
            dispatcher = Dispatcher(endpoints, Path(folder) / FILE)
            accept([event_of(number) for number in range(events)], endpoints, dispatcher.outbox, NOW)

            def run() -> None:
                dispatcher.wake()
                dispatcher.linger(time.monotonic() + 300)

            measure = whole(events, run)
            assert dispatcher.outbox.tallies()["delivered"] == events
            dispatcher.stop(5)
        return measure

    return row


ROWS: dict[str, tuple[Callable[[int], Measure], str]] = {
    BARE: (bare, BARE),
    "deliver: null row (the same)": (bare, BARE),
    "deliver: durable, signed, one thread": (engine(1), BARE),
    "deliver: durable, signed, four threads": (engine(4), BARE),
}
