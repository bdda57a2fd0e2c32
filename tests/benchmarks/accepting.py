"""What keeping a finding costs, against a bare commit of the same bytes with the same library (sqlite3)."""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sfwebhooks.config.settings import load_mapping
from sfwebhooks.events import Scan, WebhookEvent
from sfwebhooks.scan.findings import Finding, event_of_finding
from sfwebhooks.scan.run import ScanRun
from tests.benchmarks.measure import Measure, Row, each, with_null_row
from tests.builders import a_finding, a_host_database, a_scan

BARE = "accept: bare sqlite3 commit"
#: where nobody listens
DEAD = "http://127.0.0.1:9/"
#: bytes of a finding's data, unless a row says otherwise
SIZE = 200
#: bytes of all texts that a row holds in memory; beyond them they are repeated
TEXTS_MAX = 50_000_000


def texts(number: int, size: int) -> list[str]:
    """Return so many texts of a size."""
    different = min(number, max(TEXTS_MAX // size, 1))
    made = [f"{at:0{size}d}" for at in range(different)]
    return [made[at % different] for at in range(number)]


def bare(size: int = SIZE) -> Callable[[int], Measure]:
    """Return a row: each event committed as one row, WAL and synchronous = NORMAL as the outbox has it."""

    def row(events: int) -> Measure:
        with tempfile.TemporaryDirectory() as folder, closing(bare_outbox(Path(folder))) as connection:
            kept = {text: json.dumps({**event_of(0).data, "data": text}) for text in texts(events, size)}
            rows = [(number, kept[text]) for number, text in enumerate(texts(events, size))]
            return each(rows, lambda row: connection.execute("INSERT INTO event VALUES (?, ?, 0)", row))

    return row


def bare_outbox(folder: Path) -> sqlite3.Connection:
    """Return the plainest file that can keep events until they are delivered."""
    connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("CREATE TABLE IF NOT EXISTS event (number INTEGER PRIMARY KEY, data TEXT, delivered INTEGER)")
    return connection


def event_of(number: int, scan: Scan | None = None) -> WebhookEvent:
    return event_of_finding(numbered(number), scan or a_scan(), "Vulnerability")


def numbered(number: int) -> Finding:
    return a_finding(hash=f"{number:064d}", data="x" * SIZE)


@contextmanager
def a_run(endpoints: int, wanted: str = "all", **keys: str) -> Iterator[ScanRun]:
    """Lend a scan of this process with so many endpoints, whose receivers are dead."""
    with tempfile.TemporaryDirectory() as folder:
        mapping = {f"team{n}": {"url": f"{DEAD}{n}", "events": wanted, **keys} for n in range(endpoints)}
        scan = a_scan(database=str(Path(folder) / "spiderfoot.db"))
        a_host_database(Path(scan.database), scan)
        yield ScanRun(scan, load_mapping(mapping), Path(folder))


def accepting(endpoints: int, wanted: str = "all", **keys: str) -> Callable[[int], Measure]:
    """Return a row: findings accepted for so many endpoints."""

    def row(events: int) -> Measure:
        with a_run(endpoints, wanted, **keys) as run:
            run.begin()
            measure = each([numbered(number) for number in range(events)], run.accept)
            run.end()
        return measure

    return row


ROWS = {
    **with_null_row(BARE, bare(), compares="p50"),
    "accept: ScanRun, no endpoint wants it": Row(accepting(1, "scan_*"), BARE, compares="p50"),
    "accept: ScanRun, data_match withholds it": Row(accepting(1, data_match="no such text"), BARE, compares="p50"),
    "accept: ScanRun, one endpoint": Row(accepting(1), BARE, compares="p50"),
    "accept: ScanRun, ten endpoints": Row(accepting(10), BARE, compares="p50"),
}
