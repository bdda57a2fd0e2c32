"""`sfwebhooks web`: how soon its answers begin, and what open event streams cost the deliveries of the same process."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

from sfwebhooks.cli import main
from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.outbox import Outbox
from tests.benchmarks.accepting import event_of
from tests.benchmarks.delivering import ROOMY, SECONDS_MAX
from tests.benchmarks.handling import write_settings
from tests.benchmarks.measure import Measure, Row, of_times, with_null_row
from tests.benchmarks.receiving import receiver
from tests.benchmarks.waiting import FEW, GROUP, LEAST, ROOMY_KEY, TEAM, WANTED, compared, copied
from tests.builders import PATIENCE
from tests.web.listening import Crowd, connected
from tests.web.serving import OPERATOR, served

RUN = "web: deliveries by sfwebhooks run"
#: requests of one sample at most
REQUESTS = 200
#: of the number of events: streams get something once a second
SHARE = 5.0
#: seconds between two looks at the number of deliveries
LOOK_SECONDS = 0.05


def answering(path: str, few: bool) -> Callable[[int], Measure]:
    """Return a row: from a new connection to the first byte of an answer."""

    def row(backlog: int) -> Measure:
        took: list[float] = []
        with copied(FEW if few else backlog) as folder, served(folder, "--no-deliver") as web:
            first_byte(web.port, path)
            while not took or (sum(took) < LEAST and len(took) < REQUESTS):
                took.append(first_byte(web.port, path))
        return of_times(took)

    return row


def first_byte(port: int, path: str) -> float:
    """Return the seconds until an answer begins."""
    begin = time.perf_counter()
    with connected(port, OPERATOR, path=path) as client:
        beginning = client.recv(12)
        took = time.perf_counter() - begin
        assert beginning == b"HTTP/1.1 200", beginning
        client.shutdown(socket.SHUT_WR)
    return took


def delivering(streams: int | None) -> Callable[[int], Measure]:
    """Return a row: deliveries by `web` with this number of event streams that are open and read; None: by `run`."""

    def row(number: int) -> Measure:
        with tempfile.TemporaryDirectory() as name, receiver() as url:
            folder = Path(name)
            fill(folder, url, number)
            with ran(folder) if streams is None else webbed(folder, streams) as pid:
                return deliveries_of(pid, folder, number)

    return row


def fill(folder: Path, url: str, number: int) -> None:
    """Let deliveries wait for an endpoint that is paused."""
    write_settings(folder, [url], more=ROOMY_KEY)
    with closing(Outbox(folder / FILE, storage=ROOMY)) as outbox:
        for at in range(0, number, GROUP):
            events = [event_of(one) for one in range(at, min(at + GROUP, number))]
            outbox.accept([(event, WANTED) for event in events], time.time())
    command("pause", folder)


@contextlib.contextmanager
def ran(folder: Path) -> Iterator[int]:
    """Run `sfwebhooks run`, which has begun; lend its process id."""
    arguments = [sys.executable, "-m", "sfwebhooks", "run", "--folder", str(folder)]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        next(line for line in process.stderr if "sending" in line)
        try:
            yield process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=PATIENCE)


@contextlib.contextmanager
def webbed(folder: Path, streams: int) -> Iterator[int]:
    """Run `sfwebhooks web` with so many streams, each of which has got its first event; lend its process id."""
    with served(folder) as web, Crowd(web.port, OPERATOR, streams) as crowd:
        until = time.monotonic() + PATIENCE
        while len(crowd.statuses) < streams:
            assert time.monotonic() < until and not crowd.ended
            time.sleep(LOOK_SECONDS)
        yield web.process.pid


def deliveries_of(pid: int, folder: Path, number: int) -> Measure:
    """Measure a process that delivers what waits in a folder, from the end of the pause."""
    with closing(Outbox(folder / FILE, listing=True)) as outbox:
        begin, cpu = time.perf_counter(), cpu_seconds(pid)
        command("resume", folder)
        while outbox.scans.tallies()["delivered"] < number:
            assert time.perf_counter() < begin + SECONDS_MAX
            time.sleep(LOOK_SECONDS)
        took = time.perf_counter() - begin
    return Measure(number / took, cpu_seconds=(cpu_seconds(pid) - cpu) / number if cpu else None)


def command(name: str, folder: Path) -> None:
    """Pause or resume the endpoint."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        assert main([name, TEAM, "--folder", str(folder)]) == 0


def cpu_seconds(pid: int) -> float:
    """Return how long a process has used a processor; 0: it cannot be seen."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


LIST, STATUS = "/v1/deliveries", "/v1/status"
PLAIN = compared(f"web: first byte of {LIST}", partial(answering, LIST), "p50")
ROWS = {
    **PLAIN,
    f"web: first byte of {STATUS}": Row(answering(STATUS, False), next(iter(PLAIN)), "backlog", 1, "p50"),
    "web: first byte of /": Row(answering("/", False), next(iter(PLAIN)), "backlog", 1, "p50"),
    **with_null_row(RUN, delivering(None), share=SHARE),
    **{
        f"web: deliveries by sfwebhooks web, {streams:,} event streams": Row(delivering(streams), RUN, share=SHARE)
        for streams in (0, 100, 1000)
    },
}
