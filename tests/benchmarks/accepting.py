"""What handleEvent costs the scan, against a bare commit of the same bytes with the same library (sqlite3)."""

from __future__ import annotations

import json
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path

from sfwebhooks.config import load_mapping
from sfwebhooks.findings import to_event
from sfwebhooks.scans import ScanRun
from tests.benchmarks.measure import Measure, each
from tests.builders import a_finding, a_scan

BARE = "accept: bare sqlite3 commit"


def bare(events: int) -> Measure:
    """Commit each event as one row, WAL and synchronous = NORMAL as the outbox has it."""
    with tempfile.TemporaryDirectory() as folder:
        connection = sqlite3.connect(Path(folder) / "bare.db", isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("CREATE TABLE event (id TEXT PRIMARY KEY, data TEXT)")
        rows = [(f"{number:064d}", json.dumps(dict(event_of(number).data))) for number in range(events)]
        measure = each(rows, lambda row: connection.execute("INSERT INTO event VALUES (?, ?)", row))
        connection.close()
    return measure


def event_of(number: int):  # type: ignore[no-untyped-def]
    return to_event(a_finding(hash=f"{number:064d}", data="x" * 200), a_scan(), "Vulnerability")


def accepting(endpoints: int, wanted: str = "all") -> Callable[[int], Measure]:
    """Return a row: findings accepted for so many endpoints, whose receivers are dead."""

    def row(events: int) -> Measure:
        with tempfile.TemporaryDirectory() as folder:
            mapping = {f"team{n}": {"url": f"http://127.0.0.1:9/{n}", "events": wanted} for n in range(endpoints)}
            run = ScanRun(a_scan(database=str(Path(folder) / "none.db")), load_mapping(mapping), Path(folder))
            run.begin()
            findings = [a_finding(hash=f"{number:064d}", data="x" * 200) for number in range(events)]
            measure = each(findings, run.accept)
            run.end()
        return measure

    return row


ROWS: dict[str, tuple[Callable[[int], Measure], str]] = {
    BARE: (bare, BARE),
    "accept: null row (the same)": (bare, BARE),
    "accept: no endpoint wants it": (accepting(1, "scan_*"), BARE),
    "accept: one endpoint": (accepting(1), BARE),
    "accept: ten endpoints": (accepting(10), BARE),
}
