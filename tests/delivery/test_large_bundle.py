"""A whole scan of 50,000 findings, in a process of its own: how much memory it takes, and what a kill changes."""

from __future__ import annotations

import hashlib
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

from sfwebhooks.events import lifecycle_id
from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.pipeline import accept
from sfwebhooks.scan.findings import Source, event_of_finding
from sfwebhooks.screening import Screen
from sfwebhooks.severity import Severity
from tests.builders import a_finding, a_scan, an_endpoint, an_event
from tests.conftest import sql

ONE_STORE = "it measures the memory of a sender for minutes"

NUMBER = 50_000
#: bytes over those of the idle process
MEMORY_MAX = 150_000_000
SECRET = "a-secret-of-the-receiver-of-files"
#: what DefectDojo and MISP could say; the others say nothing
ANSWER = b'{"Event": {}, "test": 7}'
#: sends what is due to a URL, and prints the most memory that it took over that of the idle process
SENDER = """
import sys, time
from pathlib import Path
from sfwebhooks.delivery.send_queue import SendQueue
from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.sending import load_senders
from tests.builders import an_endpoint

def peak():
    (line,) = (one for one in open("/proc/self/status") if one.startswith("VmHWM"))
    return int(line.split()[1]) * 1024

url, folder, format, secret = sys.argv[1:]
load_senders()
queue = SendQueue(
    [an_endpoint(url=url, format=format, secrets=[secret], events=("all",), timeout=120.0)],
    Outbox(Path(folder) / "webhooks.db"), time.time,
)
queue.states[0].limits, queue.states[0].sender
idle = peak()
assert queue.step()
while queue.step():
    pass
print(peak() - idle)
queue.stop(time.monotonic() + 60)
"""


class Got:
    """What a receiver got: the digest of each body, and where it answers only once it may."""

    def __init__(self) -> None:
        self.digests: list[str] = []
        self.arrived, self.may_answer = threading.Event(), threading.Event()
        self.url = ""


@contextmanager
def receiving() -> Iterator[Got]:
    got = Got()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            digest, left = hashlib.sha256(), int(self.headers["Content-Length"])
            while left and (part := self.rfile.read(min(left, 65536))):
                digest.update(part)
                left -= len(part)
            got.digests.append(digest.hexdigest())
            got.arrived.set()
            got.may_answer.wait(60)
            self.send_response(200)
            self.send_header("Content-Length", str(len(ANSWER)))
            self.end_headers()
            self.wfile.write(ANSWER)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # of a sender that was killed
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    got.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield got
    finally:
        got.may_answer.set()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """Return a folder whose outbox has a large scan that is over."""
    scan, screen, now = a_scan(), Screen((an_endpoint(format="jsonl", events=("all",)),)), time.time()
    with closing(Outbox(tmp_path / FILE)) as outbox:
        start = an_event(id=lifecycle_id(scan.id, "started"), type="scan_started", severity=Severity.INFO, data={})
        outbox.scans.begin_scan(scan, start, screen.of(start)[0], now)
        for first in range(0, NUMBER, 500):
            accept(
                (
                    event_of_finding(
                        a_finding(
                            hash=f"{at:064x}",
                            data=f"CVE-2026-{at:05d} on host-{at}.acme.example: https://host-{at}.acme.example/path",
                            sources=(Source("INTERNET_NAME", f"host-{at}.acme.example", "sfp_dns", "a" * 64),),
                        ),
                        scan,
                        "Vulnerability - CVE High",
                    )
                    for at in range(first, first + 500)
                ),
                screen,
                outbox,
                now,
            )
        end = an_event(id=lifecycle_id(scan.id, "ended"), type="scan_completed", severity=Severity.INFO, data={})
        outbox.scans.end_scan(end, screen.of(end)[0], now)
    return tmp_path


def sender(got: Got, folder: Path, format: str) -> Popen[str]:
    return Popen([sys.executable, "-c", SENDER, got.url, str(folder), format, SECRET], stdout=PIPE, text=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("format", "requests"), [("jsonl", 1), ("csv", 1), ("sarif", 1), ("defectdojo", 1), ("misp", 2), ("stix", 3)]
)
def test_50_000_findings_take_bounded_memory(large: Path, format: str, requests: int) -> None:
    with receiving() as got:
        got.may_answer.set()
        with sender(got, large, format) as process:
            over, _ = process.communicate(timeout=300)
    assert process.returncode == 0 and len(got.digests) == requests
    assert int(over) < MEMORY_MAX
    with closing(Outbox(large / FILE)) as outbox:
        assert sql(outbox, "SELECT state, count(*) FROM delivery GROUP BY state") == [("delivered", NUMBER + 2)]


@pytest.mark.slow
def test_a_kill_brings_the_same_bytes(large: Path) -> None:
    with receiving() as got:
        with sender(got, large, "jsonl") as process:  # killed before it has an answer
            assert got.arrived.wait(120)
            process.kill()
        got.may_answer.set()
        with sender(got, large, "jsonl") as process:  # killed while it writes the result
            while not settled(large) and process.poll() is None:
                time.sleep(0.005)
            process.kill()
        half = settled(large)
        assert 0 < half < NUMBER + 2
        with sender(got, large, "jsonl") as process:
            process.communicate(timeout=300)
    assert settled(large) == NUMBER + 2
    assert len(got.digests) == 3 and len({*got.digests}) == 1


def settled(folder: Path) -> int:
    with closing(Outbox(folder / FILE, listing=True)) as outbox:
        return int(sql(outbox, "SELECT count(*) FROM delivery WHERE state = 'delivered'")[0][0])
