"""Read the host's own database (spiderfoot.db), read-only: how a scan stands, what it found, what types mean."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sfwebhooks.findings import SOURCES_MAX, Finding, Source

#: the host's pseudo event above the target; no finding, and left out by the host's own exports too
ROOT = "ROOT"


#: our module's name in the host
MODULE = "sfp__stor_webhooks"
DATABASE = "spiderfoot.db"
COLUMNS = "hash, type, data, module, generated, confidence, visibility, risk, source_event_hash"


@dataclass(frozen=True)
class ScanRow:
    """A scan as the host's database has it."""

    name: str
    target: str
    #: epoch seconds, 0 if it has not begun or ended
    started: float
    ended: float
    #: RUNNING, FINISHED, ABORTED, ERROR-FAILED ...
    status: str


def data_folder() -> Path:
    """Return SpiderFoot's data folder: $SPIDERFOOT_DATA, else ~/.spiderfoot."""
    return Path(os.environ.get("SPIDERFOOT_DATA") or Path.home() / ".spiderfoot")


def database_of(scan_database: str, folder: Path) -> HostDatabase:
    """Return the database of a scan; if it is no longer where it was, the one in the data folder as it is now."""
    known = Path(scan_database)
    return HostDatabase(str(known if known.exists() else folder / DATABASE))


def saved_options(folder: Path) -> dict[str, str]:
    """Return our module's options as saved on the host's settings page; nothing if there are none, or no database."""
    try:
        return HostDatabase(str(folder / DATABASE)).options(MODULE)
    except sqlite3.Error:
        return {}


class HostDatabase:
    """The host's database file.

    All methods raise sqlite3.Error if it cannot be read.
    """

    def __init__(self, path: str) -> None:
        self._uri = Path(path).absolute().as_uri() + "?mode=ro"

    def scan(self, scan_id: str) -> ScanRow | None:
        """Return a scan, or None if the host does not know it."""
        rows = self._rows(
            "SELECT name, seed_target, started / 1000.0, ended / 1000.0, status FROM tbl_scan_instance WHERE guid = ?",
            scan_id,
        )
        return ScanRow(*rows[0]) if rows else None

    def scan_ids(self) -> list[str]:
        """Return the ids of all scans, the newest first."""
        return [row[0] for row in self._rows("SELECT guid FROM tbl_scan_instance ORDER BY created DESC")]

    def options(self, module: str) -> dict[str, str]:
        """Return the saved options of a module."""
        return dict(self._rows("SELECT opt, val FROM tbl_config WHERE scope = ?", module))

    def descriptions(self) -> dict[str, str]:
        """Return event type -> the host's words for it."""
        return dict(self._rows("SELECT event, event_descr FROM tbl_event_types"))

    def counts(self, scan_id: str) -> dict[str, int]:
        """Return event type -> how many events of it a scan has."""
        query = "SELECT type, count(*) FROM tbl_scan_results WHERE scan_instance_id = ? AND type <> ? GROUP BY type"
        return dict(self._rows(query, scan_id, ROOT))

    def modules(self, scan_id: str) -> list[str]:
        """Return the modules enabled for a scan, output modules left out."""
        query = "SELECT val FROM tbl_scan_config WHERE scan_instance_id = ? AND opt = '_modulesenabled'"
        names = [name for row in self._rows(query, scan_id) for name in str(row[0]).split(",")]
        return [name for name in names if name and not name.startswith("sfp__")]

    def last_failure(self, scan_id: str) -> str:
        """Return why the host says that a scan failed, or nothing."""
        rows = self._rows(
            "SELECT message FROM tbl_scan_log WHERE scan_instance_id = ? AND message LIKE 'Scan [%] failed: %'"
            " ORDER BY generated DESC LIMIT 1",
            scan_id,
        )
        return str(rows[0][0]).partition("] failed: ")[2] if rows else ""

    def index(self, scan_id: str) -> list[tuple[str, str, int]]:
        """Return hash, type and risk of all findings of a scan, in the order in which they were made."""
        query = "SELECT hash, type, risk FROM tbl_scan_results WHERE scan_instance_id = ? AND type <> ? ORDER BY rowid"
        return self._rows(query, scan_id, ROOT)

    def findings(self, scan_id: str, hashes: Iterable[str]) -> Iterator[Finding]:
        """Yield some findings of a scan, with their sources."""
        with closing(self._open()) as connection:

            def fetch(event_hash: str) -> Any:
                query = f"SELECT {COLUMNS} FROM tbl_scan_results WHERE scan_instance_id = ? AND hash = ?"  # noqa: S608
                return connection.execute(query, (scan_id, event_hash)).fetchone()

            for row in map(fetch, hashes):
                if row:
                    yield _finding(row, fetch)

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._uri, uri=True, timeout=5.0)
        connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
        return connection

    def _rows(self, query: str, *values: Any) -> list[Any]:
        with closing(self._open()) as connection:
            return connection.execute(query, values).fetchall()


def _finding(row: tuple[Any, ...], fetch: Callable[[str], Any]) -> Finding:
    event_hash, event_type, data, module, generated, confidence, visibility, risk, parent = row
    sources: list[Source] = []
    source = fetch(parent)
    while source and source[1] != ROOT and len(sources) < SOURCES_MAX:
        sources.append(Source(source[1], source[2], source[3], source[0]))
        source = fetch(source[8])
    return Finding(event_type, data, module, event_hash, generated, confidence, visibility, risk,
                   tuple(sources), recovered=True)  # fmt: skip
