"""What a fleet with an outbox on PostgreSQL needs: costs are measured, and what a number of events a day needs is
calculated from them.

    python -m tests.benchmarks.sizing [--events 20000]

It prints two tables of docs/fleet.md, "Growth". The server is one of its own, with the settings of a new installation
(its log is written to the disk), and with the sender and the receiver on this machine.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from subprocess import DEVNULL, PIPE

import psycopg

from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.postgres.dsn import SCHEMA, Dsn
from sfwebhooks.pipeline import accept
from sfwebhooks.screening import Screen
from tests.benchmarks.accepting import event_of
from tests.benchmarks.delivering import ROOMY
from tests.benchmarks.receiving import receiver
from tests.builders import an_endpoint
from tests.postgres import Postgres
from tests.processes import Process
from tests.servers import free_port, listens
from tests.threads import until

#: of a server as a new installation has it
SETTINGS = {
    "fsync": "on",
    "full_page_writes": "on",
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
}
#: events that the forwarder of a spool admits together
GROUP = 500
#: events that are accepted one by one are so many times fewer
ALONE_SHARE = 10
#: a scan that finds something, and goes on until its input ends
SCANNING = """
import sys
from pathlib import Path
from tests.scanning import Scanning
scan = Scanning(Path(sys.argv[1]))
scan.begin()
scan.find(200)
print("found", flush=True)
sys.stdin.read()
scan.finish()
"""
#: seconds in which sessions are counted
COUNTING_SECONDS = 15.0
#: the part of the deliveries that is left when a sender is measured from, and seconds between two looks
WARM, LOOK_SECONDS = 0.9, 0.25


@dataclass(frozen=True)
class Costs:
    """What events, deliveries and processes cost."""

    #: bytes of the server's log (WAL) for an event with one delivery, accepted alone, or in a group
    alone_log: int
    group_log: int
    #: the same for a further delivery of an event
    further_log: int
    #: bytes of it for a delivery that is sent, alone and in batches of 100
    delivery_log: int
    batch_log: int
    #: bytes of tables and indexes that an event with its delivered delivery takes, and a further delivery
    event_size: int
    further_size: int
    #: microseconds of the server's processors for an event that is accepted in a group, and for a delivery
    event_work: int
    delivery_work: int
    #: microseconds of the sender's processors for a delivery
    sender_work: int
    #: deliveries a second of one sender
    sender_rate: int
    #: most sessions of `sfwebhooks run --metrics`, of a scan without a spool, and of one with a spool
    sender_sessions: int
    scan_sessions: int
    spool_sessions: int


#: field of Costs -> what it is called in the table, and its unit
NAMES: Mapping[str, tuple[str, str]] = {
    "alone_log": ("log of the server for an event with one delivery, accepted alone (`spool = none`)", "bytes"),
    "group_log": ("the same, accepted in groups of 500 (`spool = sqlite`)", "bytes"),
    "further_log": ("log for each further endpoint of an event", "bytes"),
    "delivery_log": ("log for a delivery that is sent", "bytes"),
    "batch_log": ("the same with `batch_size = 100`", "bytes"),
    "event_size": ("tables and indexes for an event with its delivery and attempt", "bytes"),
    "further_size": ("the same for each further endpoint", "bytes"),
    "event_work": ("processor of the server for an event, accepted in groups", "us"),
    "delivery_work": ("processor of the server for a delivery", "us"),
    "sender_work": ("processor of the sender for a delivery", "us"),
    "sender_rate": ("deliveries of one `sfwebhooks run`", "a second"),
    "sender_sessions": ("sessions of `sfwebhooks run --metrics`, at most", "sessions"),
    "scan_sessions": ("sessions of a scan with `spool = none`, at most", "sessions"),
    "spool_sessions": ("sessions of a scan with `spool = sqlite`, at most", "sessions"),
}
#: events a day -> scans at the same time, in the table
DAYS = {10_000: 1, 100_000: 5, 1_000_000: 20, 10_000_000: 100}
#: endpoints that get each event, and most days that delivered ones are there with `keep_delivered = 7d`
ENDPOINTS, KEPT_DAYS = 2, 9
#: how much more comes in the busiest hour than on average, and the part of a processor that it may take
PEAK, BUSY = 10, 0.5


def growth(costs: Costs, events: int, scans: int) -> tuple[str, ...]:
    """Return what a number of events a day needs, as a row below `HEADINGS`."""
    deliveries, further = events * ENDPOINTS, events * (ENDPOINTS - 1)
    log = events * costs.group_log + further * costs.further_log + deliveries * costs.delivery_log
    day = events * costs.event_size + further * costs.further_size
    work = (events * costs.event_work + deliveries * costs.delivery_work) / 1e6
    rate = deliveries / 86_400 * PEAK
    senders = math.ceil(rate * costs.sender_work / 1e6 / BUSY) + 1
    sessions = max(senders, 2) * costs.sender_sessions + scans * costs.spool_sessions
    return (
        f"{events:,}", f"{scans:,}", f"{deliveries:,}", f"{rate:,.1f}", size(log), size(day), size(day * KEPT_DAYS),
        f"{work / 86_400 * PEAK:.3f}", f"{max(senders, 2)}", f"{sessions:,}",
    )  # fmt: skip


HEADINGS = (
    "events a day", "scans at once", "deliveries a day", "deliveries a second at peak", "log a day",
    "partition of a day", "tables", "processors of the server at peak", "senders", "sessions",
)  # fmt: skip


def size(number: float) -> str:
    """Return a number of bytes as people read it."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"


def tables(costs: Costs) -> Iterator[str]:
    """Yield the table of the costs, and that of what follows from them."""
    rows = [(words, f"{value:,} {unit}") for (words, unit), value in zip(NAMES.values(), astuple(costs))]
    yield "\n".join(["| | |", "|---|---|", *(f"| {words} | {value} |" for words, value in rows)])
    lines = [HEADINGS, ("---",) * len(HEADINGS), *(growth(costs, events, scans) for events, scans in DAYS.items())]
    yield "\n".join(f"| {' | '.join(line)} |".replace("| --- ", "|---").replace("---| ", "---|") for line in lines)


def costs_in(text: str) -> Costs:
    """Return the costs that a page has."""
    found = {}
    for name, (words, unit) in NAMES.items():
        match = re.search(rf"^\| {re.escape(words)} \| ([\d,]+) {unit} \|$", text, re.M)
        assert match, f"the page has no row: {words}"
        found[name] = int(match[1].replace(",", ""))
    return Costs(**found)


# --- measuring


class Meter:
    """A database of a server, and what the server does for it."""

    def __init__(self, server: Postgres, name: str) -> None:
        self.server, self.address = server, server.dsn(name)
        server.execute(f"CREATE DATABASE {name}")
        self._name = name
        #: one for all questions: a new one each time would be a part of what is measured
        self._connection = psycopg.connect(self.address, autocommit=True)

    def log_end(self) -> int:
        """Return how far the server's log has come, in bytes."""
        return self._number("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')")

    def sessions(self) -> int:
        """Return how many sessions of ours there are."""
        return self._number(
            f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{self._name}' AND application_name LIKE 'sfweb%'"
        )

    def size(self) -> int:
        """Return the bytes of all tables and indexes."""
        return self._number(
            "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relkind = 'r'"
            f" AND relnamespace = '{SCHEMA}'::regnamespace"
        )

    def waiting(self) -> int:
        """Return how many deliveries wait."""
        return self._number(f"SELECT count(*) FROM {SCHEMA}.delivery WHERE state = 'waiting'")

    def state(self, sender: int) -> tuple[float, ...]:
        """Return the bytes of the log, the seconds of the server's processors and of a process's, and the time."""
        return self.log_end(), processor_of(self.server.pid), processor_of(sender), time.monotonic()

    def _number(self, query: str) -> int:
        row = self._connection.execute(query.encode()).fetchone()
        return int(row[0]) if row else 0


def processor_of(pid: int) -> float:
    """Return the seconds of processors that a process and its children have taken, also those that have ended."""
    tick, total = os.sysconf("SC_CLK_TCK"), 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            continue
        if int(folder.name) == pid:
            total += sum(map(int, words[11:15]))
        elif int(words[1]) == pid:
            total += sum(map(int, words[11:13]))
    return total / tick


@contextmanager
def sender(
    folder: Path, meter: Meter, urls: list[str], more: str = "", arguments: Sequence[str] = ()
) -> Iterator[Process]:
    """Run `sfwebhooks run` while the block runs."""
    folder.mkdir(exist_ok=True)
    path = folder / "webhooks.ini"
    path.touch(0o600)
    sections = "".join(f"[webhooks.team{at}]\nurl = {url}\nevents = all\n{more}\n" for at, url in enumerate(urls))
    general = f"outbox = {meter.address}\nspool = none\noutbox_max_mb = 1000000\nsecret = {'s' * 32}"
    path.write_text(f"[webhooks]\n{general}\n{sections}", encoding="utf-8")
    process = Process(["run", "--folder", folder, *arguments], stdout=DEVNULL, stderr=DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def accepted(meter: Meter, folder: Path, events: range, group: int, endpoints: int) -> tuple[float, float]:
    """Accept events; return the bytes of log and the seconds of the server's processors for each."""
    urls = (f"http://127.0.0.1:9/{at}" for at in range(endpoints))
    screen = Screen(tuple(an_endpoint(f"team{at}", url=url, events=("all",)) for at, url in enumerate(urls)))
    with closing(Outbox(Dsn(meter.address, folder), storage=ROOMY)) as outbox:
        accept([event_of(events[0])], screen, outbox, time.time())
        meter.server.execute("CHECKPOINT")
        log, work = meter.log_end(), processor_of(meter.server.pid)
        rest = events[1:]
        for first in range(0, len(rest), group):
            accept([event_of(at) for at in rest[first : first + group]], screen, outbox, time.time())
        return (meter.log_end() - log) / len(rest), (processor_of(meter.server.pid) - work) / len(rest)


def sent(meter: Meter, folder: Path, urls: list[str], deliveries: int, more: str) -> tuple[float, float, float, float]:
    """Send all that waits; return for each delivery the bytes of log, the seconds of the server's processors and of the
    sender's, and deliveries a second."""
    with sender(folder, meter, urls, more) as process:
        while meter.waiting() > deliveries * WARM:  # it starts
            time.sleep(LOOK_SECONDS)
        left, before = meter.waiting(), meter.state(process.pid)
        while meter.waiting():
            time.sleep(LOOK_SECONDS)
        log, work, own, took = (now - then for now, then in zip(meter.state(process.pid), before))
    return log / left, work / left, own / left, left / took


def most_sessions(meter: Meter, during: Callable[[], object]) -> int:
    """Return the most sessions that there are at once while something is done, and for some seconds."""
    most, ended = [0], threading.Event()

    def look() -> None:
        while not ended.is_set():
            most[0] = max(most[0], meter.sessions())

    thread = threading.Thread(target=look)
    thread.start()
    during()
    time.sleep(COUNTING_SECONDS)
    ended.set()
    thread.join()
    return most[0]


def sender_sessions(meter: Meter, folder: Path, url: str) -> int:
    """Return the most sessions of a sender whose metrics are read."""
    place = f"127.0.0.1:{free_port()}"

    def scrape() -> None:
        until(lambda: listens(int(place.rpartition(":")[2])))
        urllib.request.urlopen(f"http://{place}/metrics").read()

    with sender(folder, meter, [url], arguments=["--metrics", place]):
        return most_sessions(meter, scrape)


def scan_sessions(meter: Meter, folder: Path, url: str, spool: str) -> int:
    """Return the most sessions of a scan."""
    folder.mkdir()
    (folder / "webhooks.ini").touch(0o600)
    general = f"[webhooks]\noutbox = {meter.address}\nspool = {spool}\ndetach_timeout = 0\n"
    (folder / "webhooks.ini").write_text(f"{general}[webhooks.team]\nurl = {url}\nevents = all\n", encoding="utf-8")
    process = Process([folder], SCANNING, stdin=PIPE, stdout=PIPE)

    def go_on() -> None:
        assert process.stdin and process.stdout
        process.stdout.readline()

    most = most_sessions(meter, go_on)
    assert process.stdin
    process.stdin.close()
    process.wait()
    return most


def measured(events: int) -> Costs:
    """Measure everything."""
    with Postgres.running(SETTINGS) as server, tempfile.TemporaryDirectory() as name, receiver() as url:
        folder = Path(name)
        alone = Meter(server, "alone")
        alone_log, _ = accepted(alone, folder, range(events // ALONE_SHARE), 1, 1)
        one = Meter(server, "one")
        group_log, event_work = accepted(one, folder, range(events), GROUP, 1)
        delivery_log, delivery_work, sender_work, rate = sent(one, folder / "one", [url], events, "")
        event_size = one.size() / events
        two = Meter(server, "two")
        two_log, _ = accepted(two, folder, range(events), GROUP, 2)
        sent(two, folder / "two", [f"{url}/0", f"{url}/1"], 2 * events, "")
        further_size = two.size() / events - event_size
        batches = Meter(server, "batches")
        accepted(batches, folder, range(events), GROUP, 1)
        batch_log, *_ = sent(batches, folder / "batches", [url], events, "batch_size = 100")
        its = sender_sessions(one, folder / "sessions", url)
        scan = scan_sessions(Meter(server, "scan"), folder / "scan", url, "none")
        spool = scan_sessions(Meter(server, "spool"), folder / "spool", url, "sqlite")
    found = (
        alone_log, group_log, two_log - group_log, delivery_log, batch_log, event_size, further_size,
        event_work * 1e6, delivery_work * 1e6, sender_work * 1e6, rate, its, scan, spool,
    )  # fmt: skip
    assert len(found) == len(fields(Costs))
    return Costs(*map(round, found))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.sizing")
    parser.add_argument("--events", type=int, default=20_000, help="events of each measurement (20,000)")
    print("\n\n".join(tables(measured(parser.parse_args().events))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
