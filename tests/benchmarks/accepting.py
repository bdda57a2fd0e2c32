"""What keeping a finding costs, against a bare commit of the same bytes with the same library (sqlite3)."""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path

from sfwebhooks.config.settings import load_mapping
from sfwebhooks.events import WebhookEvent
from sfwebhooks.scan.findings import event_of_finding
from sfwebhooks.scan.run import ScanRun
from tests.benchmarks.measure import Measure, Row, each
from tests.builders import a_finding, a_host_database, a_scan

BARE = "accept: bare sqlite3 commit"
#: where nobody listens
DEAD = "http://127.0.0.1:9/"


def bare(events: int) -> Measure:
    """Commit each event as one row, WAL and synchronous = NORMAL as the outbox has it."""
    with tempfile.TemporaryDirectory() as folder:
        connection = bare_outbox(Path(folder))
        rows = [(number, json.dumps(dict(event_of(number).data))) for number in range(events)]
        measure = each(rows, lambda row: connection.execute("INSERT INTO event VALUES (?, ?, 0)", row))
        connection.close()
    return measure


def bare_outbox(folder: Path) -> sqlite3.Connection:
    """Return the plainest file that can keep events until they are delivered."""
    connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("CREATE TABLE event (number INTEGER PRIMARY KEY, data TEXT, delivered INTEGER)")
    return connection


def event_of(number: int) -> WebhookEvent:
    return event_of_finding(a_finding(hash=f"{number:064d}", data="x" * 200), a_scan(), "Vulnerability")


def accepting(endpoints: int, wanted: str = "all") -> Callable[[int], Measure]:
    """Return a row: findings accepted for so many endpoints, whose receivers are dead."""

    def row(events: int) -> Measure:
        with tempfile.TemporaryDirectory() as folder:
            mapping = {f"team{n}": {"url": f"{DEAD}{n}", "events": wanted} for n in range(endpoints)}
            scan = a_scan(database=str(Path(folder) / "spiderfoot.db"))
            a_host_database(Path(scan.database), scan)
            run = ScanRun(scan, load_mapping(mapping), Path(folder))
            run.begin()
            findings = [a_finding(hash=f"{number:064d}", data="x" * 200) for number in range(events)]
            measure = each(findings, run.accept)
            run.end()
        return measure

    return row


ROWS = {
    BARE: Row(bare, BARE),
    "accept: null row (the same)": Row(bare, BARE),
    "accept: ScanRun, no endpoint wants it": Row(accepting(1, "scan_*"), BARE),
    "accept: ScanRun, one endpoint": Row(accepting(1), BARE),
    "accept: ScanRun, ten endpoints": Row(accepting(10), BARE),
}
