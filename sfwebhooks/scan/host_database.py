"""The host's own database (spiderfoot.db), read-only: scans, findings, correlations and type descriptions come out."""

from __future__ import annotations

import importlib.util
import os
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sfwebhooks import system
from sfwebhooks.enrichment.cves import TEXT_MAX
from sfwebhooks.enrichment.enrichment import NO_ENRICHMENT, Enrichment
from sfwebhooks.errors import ConfigError
from sfwebhooks.events import LAST_SECOND
from sfwebhooks.files import demand_database, is_deleted
from sfwebhooks.outbox.finding_counts import FindingCounts, TopFinding
from sfwebhooks.scan.correlations import EVIDENCE_MAX, Correlation
from sfwebhooks.scan.escapes import as_typed
from sfwebhooks.scan.findings import ROOT, SOURCES_MAX, Finding, Source
from sfwebhooks.severity import Severities, Severity

#: our module's name in the host
MODULE = "sfp__stor_webhooks"
DATABASE = "spiderfoot.db"
#: the host's statuses of a scan that is over
FINISHED, ABORTED, FAILED = OVER = ("FINISHED", "ABORTED", "ERROR-FAILED")
#: why a host is not supported
NO_SCANS = "this SpiderFoot is not supported: it has no sfscan.py, which starts scans"
NO_FILE = "this SpiderFoot is not supported: its database is not a file but a server such as PostgreSQL"
#: SQL for a column that the host's tables allow to be NULL or bytes, as a text
TEXT = "ifnull(CAST({} AS TEXT), '')"
#: a result's data, type and module
DATA, TYPE, FROM_MODULE = (TEXT.format(column) for column in ("data", "type", "module"))
#: its risk, and its time in epoch seconds, which may be of any type too
RISK = "ifnull(CAST(risk AS INTEGER), 0)"
GENERATED = "ifnull(CAST(generated AS REAL), 0.0)"
#: SQL for a time of a scan, in epoch seconds; 0: there is none
SECONDS = f"max(0.0, min(ifnull(CAST({{}} AS REAL), 0.0) / 1000.0, {LAST_SECOND}))"
#: a scan's start, end, name, target and status
STARTED, ENDED = SECONDS.format("started"), SECONDS.format("ended")
NAME, TARGET, STATUS = (TEXT.format(column) for column in ("name", "seed_target", "status"))
#: whether it is a vulnerability that is known to be exploited; four bytes are the most that a character has
EXPLOITED = (
    f"CASE WHEN type GLOB 'VULNERABILITY*' THEN exploited(substr(CAST(data AS BLOB), 1, {4 * TEXT_MAX})) ELSE 0 END"
)
COLUMNS = f"hash, {TYPE}, {DATA}, {FROM_MODULE}, {GENERATED}, confidence, visibility, risk, source_event_hash"
#: the same in the order of `Finding`, up to its sources
WITHOUT_SOURCES = f"{TYPE}, {DATA}, {FROM_MODULE}, hash, {GENERATED}, confidence, visibility, risk"
#: findings that are read at once
PART = 1000
#: limit of a read during a scan, in seconds: the scan cannot write meanwhile, or waits for us
READ_SECONDS = 1.0
#: rows of scans' settings that are read at once
CONFIG_ROWS = 20_000
#: SQLite steps between two checks of the clock
STEPS = 10_000


@dataclass(frozen=True)
class ScanRow:
    """A scan as the host's database has it."""

    #: both as typed
    name: str
    target: str
    #: epoch seconds, 0 if it has not started or ended
    started: float
    ended: float
    #: RUNNING, FINISHED, ABORTED, ERROR-FAILED ...
    status: str

    @property
    def is_over(self) -> bool:
        """Whether the host has ended it; one that a user is stopping has not."""
        return self.status in OVER


def data_folder() -> Path:
    """Return SpiderFoot's data folder: $SPIDERFOOT_DATA, else ~/.spiderfoot.

    Raises:
        ConfigError: neither is known, as for a container's user without a name.
    """
    named = os.environ.get("SPIDERFOOT_DATA")
    try:
        return Path(named) if named else Path.home() / ".spiderfoot"
    except (RuntimeError, KeyError) as error:  # KeyError: Python 3.9
        raise ConfigError(
            f"uid {system.user()} has no home folder, where SpiderFoot's data would be: set SPIDERFOOT_DATA or HOME"
        ) from error


def unsupported(database: str) -> str:
    """Return why the host of this process is not supported, or nothing.

    Args:
        database: value of the host's option: a path, or the address of a server with its password.
    """
    if importlib.util.find_spec("sfscan") is None:
        return NO_SCANS
    return "" if os.path.isfile(database) else NO_FILE  # noqa: PTH113  # Path.is_file raises where access is denied


def database_of(scan_database: str, folder: Path, enrichment: Enrichment) -> HostDatabase:
    """Return the database of a scan; if it is no longer at its path, the one in the data folder."""
    there = next((path for path in (Path(scan_database), folder / DATABASE) if not is_deleted(path)), None)
    kind = HostDatabase if there else DeletedDatabase
    return kind(str(there or scan_database), enrichment=enrichment)


def not_output(modules: Iterable[str]) -> list[str]:
    """Return the modules that are not output modules."""
    return [name for name in modules if name and not name.startswith("sfp__")]


def saved_options(folder: Path, limit: float | None = None) -> dict[str, str]:
    """Return our module's options as saved on the host's settings page; empty without saved options or a database.

    Args:
        limit: as for `HostDatabase`.

    Raises:
        ConfigError: the database is locked, so it may have some, or something else is at its path.
    """
    path = folder / DATABASE
    try:
        return HostDatabase(str(path), limit).options(MODULE)
    except sqlite3.Error as error:
        cause = error.__cause__
        if isinstance(cause, OSError):
            place = cause.filename or path
            raise ConfigError(f"{place}, which may name the configuration, cannot be read: {cause.strerror}") from error
        if is_locked(error):
            raise ConfigError(f"{path}, which may name the configuration, is locked: try again") from error
        return {}


def is_locked(error: sqlite3.Error) -> bool:
    """Return whether the host's database could not be read because another process is writing to it."""
    return isinstance(error, sqlite3.OperationalError) and "locked" in str(error)


class HostDatabase:
    """The host's database file.

    All methods raise sqlite3.Error if it cannot be read.

    Args:
        limit: seconds that a read may take; None: 5 s to wait for a lock, and no limit for the read itself.
        enrichment: has the severities of findings, and says which vulnerabilities are known to be exploited.
    """

    def __init__(self, path: str, limit: float | None = None, enrichment: Enrichment = NO_ENRICHMENT) -> None:
        self._path = Path(path).absolute()
        self._limit = limit
        self.enrichment = enrichment
        #: expression for whether a finding is known to be exploited
        self._exploited = EXPLOITED if enrichment.raises else "0"

    def scan(self, scan_id: str) -> ScanRow | None:
        """Return a scan, or None if the host does not know it."""
        rows = self._rows(
            f"SELECT {NAME}, {TARGET}, {STARTED}, {ENDED}, {STATUS} FROM tbl_scan_instance WHERE guid = ?",  # noqa: S608
            scan_id,
        )
        if not rows:
            return None
        name, target, *rest = rows[0]
        modules = self._all_modules(scan_id)
        return ScanRow(as_typed(name, modules), as_typed(target, modules), *rest)

    def scan_ids(self) -> list[str]:
        """Return the ids of all scans, the newest first."""
        return [row[0] for row in self._rows("SELECT guid FROM tbl_scan_instance ORDER BY created DESC")]

    def instances(self) -> list[tuple[str, str, str, float, float, str]]:
        """Return id, name, target, start, end (both epoch seconds, 0: none) and status of all scans; names and targets
        as stored (see `escapes`)."""
        times = f"max({STARTED}, {SECONDS.format('created')}), {ENDED}"
        return self._rows(f"SELECT {TEXT.format('guid')}, {NAME}, {TARGET}, {times}, {STATUS} FROM tbl_scan_instance")  # noqa: S608

    def modules_of(self, scan_ids: Collection[str], until: float) -> dict[str, list[str]]:
        """Return the modules of some scans, without output modules.

        The host has no index for them, so the table is read from its end, where those of the last scans are, in short
        parts between which a scan can write.

        Args:
            until: monotonic seconds at which the search ends, with what was found.
        """
        left, found = set(scan_ids), {}
        end = max((row[0] for row in self._rows("SELECT ifnull(max(rowid), 0) FROM tbl_scan_config")), default=0)
        query = "SELECT scan_instance_id, val FROM tbl_scan_config WHERE rowid BETWEEN ? AND ?"
        while left and end > 0 and time.monotonic() < until:
            for scan_id, names in self._rows(f"{query} AND opt = '_modulesenabled'", end - CONFIG_ROWS + 1, end):
                if scan_id in left:
                    left.discard(scan_id)
                    found[scan_id] = not_output(str(names).split(","))
            end -= CONFIG_ROWS
        return found

    def number_of_findings(self, scan_id: str) -> int:
        """Return the number of a scan's findings."""
        query = "SELECT count(*) FROM tbl_scan_results WHERE scan_instance_id = ? AND type <> ?"
        return int(self._rows(query, scan_id, ROOT)[0][0])

    def target_type(self, scan_id: str) -> str:
        """Return the host's type of a scan's target; empty if the scan ended before it was stored."""
        query = "SELECT type FROM tbl_scan_results WHERE scan_instance_id = ? AND source_event_hash = ? AND type <> ?"
        rows = self._rows(f"{query} ORDER BY rowid LIMIT 1", scan_id, ROOT, ROOT)
        return str(rows[0][0]) if rows else ""

    def options(self, module: str) -> dict[str, str]:
        """Return the saved options of a module."""
        return dict(self._rows("SELECT opt, val FROM tbl_config WHERE scope = ?", module))

    def descriptions(self) -> dict[str, str]:
        """Return event type -> the host's description."""
        return dict(self._rows("SELECT event, event_descr FROM tbl_event_types"))

    def counts(self, scan_id: str) -> FindingCounts:
        """Return the number of a scan's findings by type and severity."""
        rows = self._rows(
            f"SELECT {TYPE}, {RISK}, {self._exploited}, count(*) FROM tbl_scan_results"  # noqa: S608
            " WHERE scan_instance_id = ? AND type <> ? GROUP BY 1, 2, 3",
            *(scan_id, ROOT),
        )
        return _counts_of(rows, self.enrichment.severities)

    def modules(self, scan_id: str) -> list[str]:
        """Return the modules enabled for a scan, without output modules."""
        return not_output(self._all_modules(scan_id))

    def _all_modules(self, scan_id: str) -> list[str]:
        query = "SELECT val FROM tbl_scan_config WHERE scan_instance_id = ? AND opt = '_modulesenabled'"
        return [name for row in self._rows(query, scan_id) for name in str(row[0]).split(",")]

    def standing(self, scan_id: str) -> tuple[str, float, FindingCounts] | None:
        """Return a scan's status, start (epoch seconds) and counts, in one read; None if the host does not know it."""
        rows = self._rows(
            f"SELECT {TEXT.format('i.status')}, {SECONDS.format('i.started')}, CAST(r.type AS TEXT),"  # noqa: S608
            f" {RISK}, {self._exploited}, count(r.type) FROM tbl_scan_instance i"
            " LEFT JOIN tbl_scan_results r ON r.scan_instance_id = i.guid AND r.type <> ?"
            " WHERE i.guid = ? GROUP BY 3, 4, 5",
            *(ROOT, scan_id),
        )
        return (
            (*rows[0][:2], _counts_of((row[2:] for row in rows if row[2]), self.enrichment.severities))
            if rows
            else None
        )

    def worst(self, scan_id: str, number: int) -> list[TopFinding]:
        """Return a scan's worst findings, the newest first among equals, without informational ones."""
        with closing(self._open()) as connection:
            connection.create_function("severity_of", 3, self._severity_of, deterministic=True)
            severity = f"severity_of(CAST(type AS BLOB), {RISK}, {self._exploited})"
            rows = connection.execute(
                f"SELECT {TYPE}, {DATA}, {severity}, {GENERATED}, {FROM_MODULE}, {TEXT.format('hash')}"  # noqa: S608
                " FROM tbl_scan_results WHERE rowid IN ("
                f"SELECT rowid FROM tbl_scan_results WHERE scan_instance_id = ?1 AND type <> ?2"
                f" AND {severity} > 0"
                f" ORDER BY {severity} DESC, {GENERATED} DESC, rowid DESC LIMIT ?3)"
                " ORDER BY 3 DESC, 4 DESC, rowid DESC",
                (scan_id, ROOT, number),
            ).fetchall()
        return [TopFinding(row[0], row[1], Severity(row[2]), *row[3:6]) for row in rows]

    def correlations_by_risk(self, scan_id: str) -> dict[str, int]:
        """Return risk of the rule, such as HIGH -> number of a scan's correlations, each counted once as in
        `correlations.distinct`; empty if the host has no rules."""
        if not self._has("tbl_scan_correlation_results"):
            return {}
        query = (
            "SELECT rule_risk, count(DISTINCT rule_id || char(0) || title) FROM tbl_scan_correlation_results"
            " WHERE scan_instance_id = ? GROUP BY 1"
        )
        return dict(self._rows(query, scan_id))

    def errors(self, scan_id: str, words: Iterable[str]) -> list[str]:
        """Return the first characters of the errors in a scan's log that start with one of these words."""
        query = (
            "SELECT DISTINCT substr(message, 1, 200) FROM tbl_scan_log WHERE scan_instance_id = ? AND type = 'ERROR'"
        )
        return [row[0] for word in words for row in self._rows(f"{query} AND message LIKE ? || '%'", scan_id, word)]

    def failing_modules(self, scan_id: str) -> list[str]:
        """Return the modules that logged an error in a scan themselves."""
        query = "SELECT DISTINCT component FROM tbl_scan_log WHERE scan_instance_id = ? AND type = 'ERROR'"
        return [row[0] for row in self._rows(f"{query} AND component GLOB 'sfp_*'", scan_id)]

    def last_failure(self, scan_id: str) -> str:
        """Return the host's reason for a scan's failure, or nothing."""
        rows = self._rows(
            "SELECT message FROM tbl_scan_log WHERE scan_instance_id = ? AND message LIKE 'Scan [%] failed: %'"
            " ORDER BY generated DESC LIMIT 1",
            scan_id,
        )
        return str(rows[0][0]).partition("] failed: ")[2] if rows else ""

    def is_correlated(self, scan_id: str) -> bool:
        """Return whether the last line of a finished scan's log says that its rules were run too. A host that keeps no
        log of scans never has it, and an idle host still has its last lines in memory."""
        query = "SELECT 1 FROM tbl_scan_log WHERE scan_instance_id = ? AND message = ?"
        return bool(self._rows(query, scan_id, f"Scan [{scan_id}] completed."))

    def index(self, scan_id: str) -> list[tuple[str, str, int, int]]:
        """Return hash, type and risk of all findings of a scan, and 1 or 0: whether they are vulnerabilities that are
        known to be exploited; in order of creation."""
        query = (
            f"SELECT hash, {TYPE}, {RISK}, {self._exploited} FROM tbl_scan_results"  # noqa: S608
            " WHERE scan_instance_id = ? AND type <> ? ORDER BY rowid"
        )
        return self._rows(query, scan_id, ROOT)

    def findings(self, scan_id: str, hashes: Iterable[str]) -> Iterator[Finding]:
        """Yield the findings of a scan with these hashes, with their sources."""
        with closing(self._open()) as connection:

            def fetch(event_hash: str) -> Any:
                query = f"SELECT {COLUMNS} FROM tbl_scan_results WHERE scan_instance_id = ? AND hash IS ?"  # noqa: S608
                return connection.execute(query, (scan_id, event_hash)).fetchone()

            for row in map(fetch, hashes):
                if row:
                    yield _finding(row, fetch)

    def of_types(self, scan_id: str, types: Collection[str]) -> Iterator[tuple[str, str, str]]:
        """Yield type, data and module of a scan's findings of some types, in order of creation."""
        query = (
            f"SELECT {TYPE}, {DATA}, {FROM_MODULE} FROM tbl_scan_results WHERE scan_instance_id = ?"  # noqa: S608
            f" AND type IN ({', '.join('?' * len(types))}) ORDER BY rowid"
        )
        with closing(self._open()) as connection:
            yield from connection.execute(query, (scan_id, *types))

    def all_findings(self, scan_id: str) -> Iterator[Finding]:
        """Yield the findings of a scan without their sources, in order of creation, as they are read.

        They are read in short parts, since no scan of the host can write during one.
        """
        query = (
            f"SELECT rowid, {WITHOUT_SOURCES} FROM tbl_scan_results WHERE scan_instance_id = ? AND type <> ?"  # noqa: S608
            f" AND rowid > ? ORDER BY rowid LIMIT {PART}"
        )
        last, size = 0, PART
        with closing(self._open()) as connection:
            while size == PART:
                rows = connection.execute(query, (scan_id, ROOT, last)).fetchall()
                size, last = len(rows), rows[-1][0] if rows else last
                for row in rows:
                    yield Finding._make((*row[1:], (), "", True))

    def false_positives(self, is_meant: Callable[[str], bool]) -> Iterator[tuple[str, str, str]]:
        """Yield type, data and module of what users marked as false positive, in the newest scans first.

        Args:
            is_meant: whether the scans of a target, as the host has it, are meant.
        """
        marked = (
            f"SELECT {TYPE}, {DATA}, {FROM_MODULE} FROM tbl_scan_results"  # noqa: S608
            " WHERE scan_instance_id = ? AND false_positive = 1"
        )
        with closing(self._open()) as connection:
            scans = connection.execute(
                f"SELECT guid, {TARGET} FROM tbl_scan_instance ORDER BY created DESC"  # noqa: S608
            ).fetchall()
            for scan_id, target in scans:
                if is_meant(target):
                    yield from connection.execute(marked, (scan_id,))

    def correlations(self, scan_id: str) -> list[Correlation] | None:
        """Return a scan's correlations; None if the host is older than 4.0 and has no rules."""
        if not self._has("tbl_scan_correlation_results_events"):
            return None
        rows = self._rows(
            "SELECT c.id, c.title, c.rule_id, c.rule_name, c.rule_risk, c.rule_descr, count(*)"
            " FROM tbl_scan_correlation_results c JOIN tbl_scan_correlation_results_events e ON e.correlation_id = c.id"
            " WHERE c.scan_instance_id = ? GROUP BY c.id ORDER BY c.rowid",
            scan_id,
        )
        return [Correlation(*row) for row in rows]

    def evidence(self, scan_id: str, correlations: Iterable[Correlation]) -> Iterator[list[Source]]:
        """Yield the first events that each correlation rests on."""
        query = (
            f"SELECT {TYPE}, {DATA}, {FROM_MODULE}, {TEXT.format('r.hash')} FROM tbl_scan_correlation_results_events e"  # noqa: S608
            " JOIN tbl_scan_results r ON r.scan_instance_id = ? AND r.hash = e.event_hash"
            " WHERE e.correlation_id = ? ORDER BY e.rowid LIMIT ?"
        )
        with closing(self._open()) as connection:
            for correlation in correlations:
                rows = connection.execute(query, (scan_id, correlation.host_id, EVIDENCE_MAX)).fetchall()
                yield [Source(*row) for row in rows]

    def _has(self, table: str) -> bool:
        return bool(self._rows("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", table))

    def _open(self) -> sqlite3.Connection:
        try:
            demand_database(self._path)  # SQLite would wait for a writer if this were a pipe
        except OSError as error:
            raise sqlite3.OperationalError(f"{error.filename}: {error.strerror}") from error
        connection = sqlite3.connect(f"{self._path.as_uri()}?mode=ro", uri=True, timeout=self._limit or 5.0)
        connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
        connection.create_function("exploited", 1, self._is_exploited)
        if self._limit:
            deadline = time.monotonic() + self._limit
            connection.set_progress_handler(lambda: time.monotonic() > deadline, STEPS)
        return connection

    def _is_exploited(self, data: bytes | None) -> bool:
        return self.enrichment.is_exploited((data or b"").decode("utf-8", "replace"))

    def _severity_of(self, host_type: bytes, risk: int, exploited: int) -> Severity:
        return self.enrichment.severities.of(host_type.decode("utf-8", "replace"), risk, bool(exploited))

    def _rows(self, query: str, *values: Any) -> list[Any]:
        with closing(self._open()) as connection:
            return connection.execute(query, values).fetchall()


class DeletedDatabase(HostDatabase):
    """Stand-in for a database whose file was deleted: it has no data."""

    def findings(self, scan_id: str, hashes: Iterable[str]) -> Iterator[Finding]:
        """Yield nothing."""
        return iter(())

    def all_findings(self, scan_id: str) -> Iterator[Finding]:
        """Yield nothing."""
        return iter(())

    def false_positives(self, is_meant: Callable[[str], bool]) -> Iterator[tuple[str, str, str]]:
        """Yield nothing."""
        return iter(())

    def worst(self, scan_id: str, number: int) -> list[TopFinding]:
        """Return nothing."""
        return []

    def _rows(self, query: str, *values: Any) -> list[Any]:
        return []


def _counts_of(rows: Iterable[tuple[str, int, int, int]], severities: Severities) -> FindingCounts:
    return FindingCounts(
        (name, severities.of(name, risk, bool(exploited)), number) for name, risk, exploited, number in rows
    )


def _finding(row: tuple[Any, ...], fetch: Callable[[str], Any]) -> Finding:
    event_hash, event_type, data, module, generated, confidence, visibility, risk, parent = row
    sources: list[Source] = []
    source = fetch(parent)
    while source and source[1] != ROOT and len(sources) < SOURCES_MAX:
        sources.append(Source(source[1], source[2], source[3], source[0]))
        source = fetch(source[8])
    return Finding(event_type, data, module, event_hash, generated, confidence, visibility, risk,
                   tuple(sources), recovered=True)  # fmt: skip
