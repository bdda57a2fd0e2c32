"""Several `sfwebhooks run` with one outbox on PostgreSQL, each with a data folder of its own: deliveries a second, and
how soon a message arrives, also while a transaction is held open."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from sfwebhooks.delivery.send_queue import POLL_SECONDS
from sfwebhooks.events import delivery_id
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.postgres.dsn import Dsn
from sfwebhooks.screening import Wanted
from tests.benchmarks.accepting import event_of
from tests.benchmarks.browsing import cpu_seconds, ran
from tests.benchmarks.delivering import ROOMY, SECONDS_MAX
from tests.benchmarks.emitting import NOTES, arriving
from tests.benchmarks.handling import write_settings
from tests.benchmarks.measure import Measure, Row, with_null_row
from tests.benchmarks.receiving import in_python, receiver
from tests.benchmarks.waiting import GROUP, ROOMY_KEY
from tests.postgres import Postgres, demand

#: URLs, which one, two and three hosts can share evenly
URLS = 6
HOSTS = {1: "one host", 2: "two hosts", 3: "three hosts"}
#: messages a second
RATE = 200
#: deliveries before a steady rate is measured: while a transaction is held open, nobody removes what they leave behind
BEFORE = 5000
#: of the number of events: hosts need some seconds
SHARE = 5.0
#: of a server that keeps what it has committed, as ours do not
DURABLE = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}
WAITS = b"SELECT EXISTS (SELECT 1 FROM sfwebhooks.delivery WHERE state = 'waiting')"
#: seconds from the first one that was settled to the last one, of the newest deliveries
TOOK = (
    "SELECT max(settled_at) - min(settled_at) FROM"
    " (SELECT settled_at FROM sfwebhooks.delivery ORDER BY number DESC LIMIT {}) newest"
)
LOOK_SECONDS = 0.05


@dataclass(frozen=True)
class Hosts:
    """Processes that deliver, and their outbox."""

    server: Postgres
    outbox: Outbox
    pids: Sequence[int]

    def accept(self, numbers: Sequence[int]) -> list[str]:
        """Accept events, each for one of the URLs; return the ids of their deliveries."""
        items = [(event_of(number), [Wanted(f"team{number % URLS}", "high_risk_event")]) for number in numbers]
        for at in range(0, len(items), GROUP):
            self.outbox.accept(items[at : at + GROUP], time.time())
        return [delivery_id(event.id, wanted[0].endpoint) for event, wanted in items]

    def wait(self) -> None:
        """Wait until nothing waits."""
        import psycopg

        deadline = time.monotonic() + SECONDS_MAX
        with psycopg.connect(self.server.dsn("hooks"), autocommit=True) as connection:
            while connection.execute(WAITS).fetchone() == (True,):
                assert time.monotonic() < deadline
                time.sleep(LOOK_SECONDS)


@contextlib.contextmanager
def delivering(hosts: int, url: str) -> Iterator[Hosts]:
    """Lend so many hosts that send to URLS of a receiver."""
    demand()
    with Postgres.running(DURABLE) as server, tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        server.execute("CREATE DATABASE hooks")
        address = server.dsn("hooks")
        outbox = stack.enter_context(closing(Outbox(Dsn(address, Path(name)), storage=ROOMY)))
        outbox.scans.tallies()  # creates the tables
        pids = []
        for number in range(hosts):
            folder = Path(name) / str(number)
            folder.mkdir()
            more = f"outbox = {address}\nspool = none\n{ROOMY_KEY}"
            write_settings(folder, [f"{url}/{one}" for one in range(URLS)], more=more)
            pids.append(stack.enter_context(ran(folder)))
        yield Hosts(server, outbox, pids)


@contextlib.contextmanager
def held(server: Postgres) -> Iterator[None]:
    """Hold a transaction open that sees the tables as they are now, so that no deleted row is removed from them."""
    import psycopg

    with psycopg.connect(server.dsn("hooks")) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        connection.execute("SELECT count(*) FROM sfwebhooks.delivery")
        yield
        connection.execute("SELECT 1")


def shared(hosts: int, holds: bool = False) -> Callable[[int], Measure]:
    """Return a row: deliveries by so many hosts, from the first one to the last one after a pause."""

    def row(events: int) -> Measure:
        with receiver() as url, delivering(hosts, url) as its, held(its.server) if holds else contextlib.nullcontext():
            its.accept(range(URLS * 20))  # connections open, and each host has its part
            its.wait()
            names = [f"team{number}" for number in range(URLS)]
            for name in names:
                its.outbox.endpoints.pause(name, time.time() + SECONDS_MAX)
            time.sleep(2 * POLL_SECONDS)  # until the hosts obey
            its.accept(range(BEFORE, BEFORE + events))
            cpu = sum(map(cpu_seconds, its.pids))
            for name in names:
                its.outbox.endpoints.resume(name, time.time())
            its.wait()
            cpu = sum(map(cpu_seconds, its.pids)) - cpu
            ((took,),) = its.server.execute(TOOK.format(events), its.server.dsn("hooks"))
        return Measure(events / took, cpu_seconds=cpu / events)

    return row


def steady(holds: bool) -> Callable[[int], Measure]:
    """Return a row: messages that are accepted here one by one, until the receiver has them from one of two hosts."""

    def row(events: int) -> Measure:
        with (
            tempfile.TemporaryDirectory() as name,
            in_python(notes=Path(name) / NOTES) as url,
            delivering(2, url) as its,
            held(its.server) if holds else contextlib.nullcontext(),
        ):
            its.accept(range(BEFORE))
            its.wait()
            numbers = count(BEFORE)
            return arriving(Path(name), lambda text: its.accept([next(numbers)])[0], events, RATE)

    return row


ONE, STEADY = f"fleet: deliveries by {HOSTS[1]}", f"fleet: two hosts, {RATE}/s"
TWO = f"fleet: deliveries by {HOSTS[2]}"
ROWS = {
    **with_null_row(ONE, shared(1), share=SHARE),
    **{f"fleet: deliveries by {words}": Row(shared(hosts), ONE, share=SHARE) for hosts, words in HOSTS.items()
       if hosts > 1},
    f"{TWO}, a transaction held open": Row(shared(2, holds=True), ONE, share=SHARE),
    **with_null_row(STEADY, steady(False), compares="p50"),
    f"{STEADY}, a transaction held open": Row(steady(True), STEADY, compares="p50"),
}  # fmt: skip
