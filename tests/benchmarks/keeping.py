"""The outbox on PostgreSQL with many settled deliveries (--settled), against the same with 1,000: what each step costs
there, which commands read them, how large they are, and how they are deleted.

The server syncs each commit to the disk, as one in production does, and makes the rows itself: a million in a minute.
"""

from __future__ import annotations

import atexit
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from functools import lru_cache, partial
from itertools import count
from pathlib import Path
from typing import Any

from sfwebhooks.jsontext import kept
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.postgres.dsn import Dsn
from sfwebhooks.outbox.postgres.partitions import BITS, creation
from sfwebhooks.outbox.results import Result
from sfwebhooks.retry import State
from tests.benchmarks.accepting import DEAD, event_of
from tests.benchmarks.delivering import ROOMY
from tests.benchmarks.handling import write_settings
from tests.benchmarks.listing import seconds
from tests.benchmarks.measure import Measure, Row, of_times, whole, with_null_row
from tests.benchmarks.waiting import (
    ATTEMPT,
    CLAIMED,
    DAY,
    FEW,
    GROUP,
    LEAST,
    NEW,
    OF_SCAN,
    ROOMY_KEY,
    SETTLEMENT,
    STEPS,
    TEAM,
    WANTED,
    pass_through,
)
from tests.postgres import Postgres

#: settings of a server that loses nothing
DURABLE = {
    "fsync": "on",
    "full_page_writes": "on",
    "shared_buffers": "512MB",
    "max_wal_size": "4GB",
    "autovacuum_naptime": "10s",
}
#: days that the settled deliveries are spread over
DAYS = 7
KEEP = DAYS * DAY
#: deliveries of a churn, and one of so many that fails at first
CHURN, FAILING = 20_000, 10
#: most deliveries that are deleted
DELETED_MOST = 100_000
#: the variable that has the address for commands
ADDRESS = "SFWEBHOOKS_BENCHMARK_OUTBOX"
SCAN_ID = f"'SCAN' || at / {OF_SCAN}"
#: fills partitions with the deliveries of a day, from one number to another
FILL = (
    f"""INSERT INTO scan (id, name, target, target_type, version, database, begun_at, ended)
    SELECT DISTINCT {SCAN_ID}, 'a scan', 'acme.example', 'INTERNET_NAME', '4.0.0', '/none', {{now}}, 'scan_completed'
    FROM generate_series({{first}}, {{last}}) at ON CONFLICT DO NOTHING""",
    f"""INSERT INTO sequence SELECT {SCAN_ID}, '{TEAM}', 1, count(*) FROM generate_series({{first}}, {{last}}) at
    GROUP BY 1 ON CONFLICT (scan_id, endpoint) DO UPDATE SET last = sequence.last + excluded.last""",
    f"""INSERT INTO event_{{day}} (number, scan, id, type, severity, at, data)
    SELECT {{base}} + at, s.number, decode(md5(CAST(at AS text)), 'hex'), 'vulnerability_found', 3, {{now}}, '{{data}}'
    FROM generate_series({{first}}, {{last}}) at JOIN scan s ON s.id = {SCAN_ID}""",
    f"""INSERT INTO delivery_delivered_{{day}}
        (number, event, endpoint, name, series, sequence, state, attempts, due_at, settled_at, reason, accepted_at)
    SELECT {{base}} + at, {{base}} + at, '{TEAM}', 'high_risk_event', 1, at % {OF_SCAN} + 1, 'delivered', 1, {{now}},
        {{now}} + at * 1e-6, 'http_200', {{now}}
    FROM generate_series({{first}}, {{last}}) at""",
    """INSERT INTO delivery_attempt_{day} (id, number, at, seconds, status, reason, excerpt, cause, waited)
    SELECT at, {base} + at, {now} + at * 1e-6 - 0.01, 0.01, 200, 'http_200', 'ok', 'schedule', 0.01
    FROM generate_series({first}, {last}) at""",
)
BARE, BARE_TABLE = "postgres: bare psycopg commit", "postgres: bare table"
ONE_BY_ONE, CHURNED = "postgres: delete old ones, one by one", "postgres: churn"
SIZE = """
    SELECT CAST(sum(pg_total_relation_size(oid)) AS bigint) FROM pg_class WHERE relkind = 'r' AND relname LIKE %s
    AND relnamespace = to_regnamespace('sfwebhooks')
"""
COMMANDS: tuple[tuple[str, ...], ...] = (
    ("stats",),
    ("deliveries",),
    ("deliveries", "--state", "dead"),
    ("deliveries", "--scan", "SCAN0"),
    ("status",),
)


@lru_cache(maxsize=1)
def running() -> Postgres:
    """Return a server that ends with this process."""
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(Postgres.running(DURABLE))


def connected(address: str) -> Any:
    import psycopg

    return psycopg.connect(address, autocommit=True)


@contextmanager
def opened(address: str) -> Iterator[Outbox]:
    """Lend an outbox at a database."""
    with tempfile.TemporaryDirectory() as folder, closing(Outbox(Dsn(address, Path(folder)), storage=ROOMY)) as outbox:
        yield outbox


@lru_cache(maxsize=8)
def filled(number: int) -> str:
    """Return the address of a database with so many settled deliveries; it ends with the server."""
    name = f"settled_{number}"
    running().execute(f"CREATE DATABASE {name}")
    address = running().dsn(name)
    with opened(address) as outbox:
        outbox.scans.tallies()  # makes the tables
    begin = time.time() - KEEP
    for day in range(DAYS):
        fill(address, day, (day * number // DAYS + 1, (day + 1) * number // DAYS), begin + day * DAY)
    return address


def fill(address: str, day: int, numbers: tuple[int, int], now: float, ends: bool = True) -> None:
    """Fill a period with deliveries, and end it."""
    data = kept(event_of(0).data).replace("'", "''")
    values = {"day": day, "base": day << BITS, "first": numbers[0], "last": numbers[1], "now": now, "data": data}
    with connected(address) as connection:
        connection.execute("SET search_path = sfwebhooks")
        for statement in FILL:
            connection.execute(statement.format(**values))
        connection.execute(f"UPDATE period SET begun_at = {now} WHERE number = {day}")
        connection.execute(f"UPDATE file SET counted = {numbers[1]}")
        connection.execute(f"ALTER SEQUENCE delivery_attempt_id_seq RESTART WITH {numbers[1] + 1}")
        if ends:
            connection.execute(creation(day + 1))
        for table in ("event", "delivery_delivered", "delivery_attempt"):
            connection.execute(f"VACUUM (ANALYZE) {table}_{day}")


def size_of(address: str, tables: str = "%") -> int:
    """Return the bytes of tables whose name is like a text, with their indexes."""
    with connected(address) as connection:
        return int(connection.execute(SIZE, (tables,)).fetchone()[0])


def bare(settled: int) -> Measure:
    """Commit events as one row each, in the plainest table that can keep them."""
    with running().database() as address, connected(address) as connection:
        connection.execute("CREATE TABLE event (number bigint PRIMARY KEY, data text, delivered integer)")
        data, took = kept(event_of(0).data), 0.0
        for done in count(1):
            begin = time.perf_counter()
            connection.execute("INSERT INTO event VALUES (%s, %s, 0)", (done, data))
            took += time.perf_counter() - begin
            if took >= LEAST or done >= settled:
                return Measure(done / took)
    raise AssertionError("the count has no end")


def bare_table(settled: int) -> Measure:
    """Return the size of such a table with the same data."""
    with running().database() as address, connected(address) as connection:
        connection.execute("CREATE TABLE event (number bigint PRIMARY KEY, data text, delivered integer)")
        query = "INSERT INTO event SELECT at, %s, 0 FROM generate_series(1, %s) at"
        connection.execute(query, (kept(event_of(0).data), settled))
        return Measure(size=float(connection.execute("SELECT pg_total_relation_size('event')").fetchone()[0]))


def tables(settled: int) -> Measure:
    """Return the size of the outbox."""
    return Measure(size=float(size_of(filled(settled))))


def stepping(step: str, few: bool) -> Callable[[int], Measure]:
    """Return a row: one of the STEPS of deliveries, with a few settled ones or all."""

    def row(settled: int) -> Measure:
        took = dict.fromkeys(STEPS, 0.0)
        with opened(filled(FEW if few else settled)) as outbox:
            begin = next_number()
            for done in count(GROUP, GROUP):
                pass_through(outbox, [event_of(begin + done + at) for at in range(GROUP)], took, step == STEPS[0])
                if took[step] >= LEAST or done >= settled:
                    return Measure(done / took[step])
        raise AssertionError("the count has no end")

    return row


def next_number() -> int:
    """Return a number from which on events are new."""
    return NEW + time.monotonic_ns() // 1000 * 100


def command(words: Sequence[str], few: bool) -> Callable[[int], Measure]:
    """Return a row: a command that lists or counts deliveries."""

    def row(settled: int) -> Measure:
        os.environ[ADDRESS] = filled(FEW if few else settled)
        took: list[float] = []
        with tempfile.TemporaryDirectory() as folder:
            write_settings(Path(folder), [DEAD], more=f"outbox = env:{ADDRESS}\nspool = none\n{ROOMY_KEY}")
            while not took or (sum(took) < LEAST and len(took) < settled // FEW):
                took.append(seconds([*words, "--folder", folder]))
        return of_times(took)

    return row


def deleting(whole_day: bool) -> Callable[[int], Measure]:
    """Return a row: a day's deliveries are deleted, one by one or with their partitions."""

    def row(settled: int) -> Measure:
        number = min(settled, DELETED_MOST)
        with running().database() as address, opened(address) as outbox:
            outbox.scans.tallies()
            fill(address, 0, (1, number), time.time() - 2 * KEEP, ends=whole_day)
            if whole_day:
                with connected(address) as connection:
                    connection.execute(f"UPDATE sfwebhooks.period SET begun_at = begun_at - {2 * KEEP}")

            def prune() -> None:
                assert outbox.retention.prune(time.time(), KEEP, KEEP) == number

            return replace(whole(number, prune), cpu_seconds=None, size=float(size_of(address, "event%")))

    return row


def churning(held: bool) -> Callable[[int], Measure]:
    """Return a row: deliveries are accepted, claimed and settled, while another transaction is open or not; its size is
    that of the waiting ones afterwards, of which there are none."""

    def row(settled: int) -> Measure:
        address, number = filled(settled), min(settled, CHURN)
        with opened(address) as outbox, connected(address) as other:
            if held:
                other.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
                other.execute("SELECT count(*) FROM sfwebhooks.file")
            measure = whole(number, partial(churn, outbox, number))
        return replace(measure, size=float(size_of(address, "delivery_waiting")))

    return row


def churn(outbox: Outbox, number: int) -> None:
    """Let deliveries come and go; some of them fail once."""
    begin, failed = next_number(), 0
    for first in range(0, number, GROUP):
        outbox.accept([(event_of(begin + first + at), WANTED) for at in range(GROUP)], time.time())
        while batches := outbox.queue.claim(TEAM, (), time.time(), CLAIMED):
            results = []
            for batch in batches:
                fails = batch.deliveries[0].attempts == 0 and batch.deliveries[0].sequence % FAILING == 0
                again = replace(SETTLEMENT, state=State.WAITING, reason="http_503", due_at=time.time())
                results.append(Result(batch, ATTEMPT, [again if fails else SETTLEMENT]))
                failed += fails
            outbox.queue.settle(results)
    assert failed >= number // FAILING - 1


def compared(name: str, row: Callable[[bool], Callable[[int], Measure]], field: str) -> dict[str, Row]:
    """Return the rows of something with few settled deliveries and with all."""
    reference = f"{name}, {FEW:,} settled"
    return {
        **with_null_row(reference, row(True), events="settled", compares=field),
        name: Row(row(False), reference, "settled", 1, field),
    }


def named(words: Sequence[str]) -> str:
    return f"postgres: {' '.join('ID' if word == 'SCAN0' else word for word in words)}"


ROWS = {
    **with_null_row(BARE, bare, events="settled"),
    **{f"postgres: {step}, against a bare commit": Row(stepping(step, True), BARE, "settled")
       for step in STEPS},
    **{name: row for step in STEPS for name, row in
       compared(f"postgres: {step}", partial(stepping, step), "per_second").items()},
    **{name: row for words in COMMANDS for name, row in
       compared(named(words), partial(command, words), "p50").items()},
    **with_null_row(BARE_TABLE, bare_table, events="settled", compares="size"),
    "postgres: tables": Row(tables, BARE_TABLE, "settled", 1, "size"),
    **with_null_row(ONE_BY_ONE, deleting(False), events="settled"),
    "postgres: delete old ones, a whole day": Row(deleting(True), ONE_BY_ONE, "settled"),
    **with_null_row(CHURNED, churning(False), events="settled"),
    "postgres: churn while a transaction is held open": Row(churning(True), CHURNED, "settled"),
}  # fmt: skip
