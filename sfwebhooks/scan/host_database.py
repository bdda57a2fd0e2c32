"""The host's own database, read-only: scans, findings, correlations and type descriptions come out.

It is a file (`host_file`) or on a PostgreSQL server (`host_server`). Both understand the statements here; `host_sql`
has the words in which they differ.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from heapq import nlargest
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfwebhooks.enrichment.enrichment import NO_ENRICHMENT, Enrichment
from sfwebhooks.errors import HostDatabaseError
from sfwebhooks.outbox.finding_counts import FindingCounts, TopFinding
from sfwebhooks.scan.correlations import EVIDENCE_MAX, Correlation
from sfwebhooks.scan.escapes import as_typed
from sfwebhooks.scan.findings import ROOT, SOURCES_MAX, Finding, Source
from sfwebhooks.scan.host_address import (
    NO_DRIVER,
    current_database,
    given_for,
    has_driver,
    is_gone,
    is_server,
)
from sfwebhooks.scan.host_file import DeletedFile, HostFile
from sfwebhooks.scan.host_rows import (
    COLUMNS,
    CREATED,
    DATA,
    ENDED,
    FROM_MODULE,
    GENERATED,
    NAME,
    NUMBER,
    RISK,
    STARTED,
    STATUS,
    TARGET,
    TEXT,
    TYPE,
    WITHOUT_SOURCES,
    ScanRow,
    finding_in,
    seconds_of,
    time_of,
)
from sfwebhooks.scan.host_sql import Read

if TYPE_CHECKING:
    from sfwebhooks.scan.host_server import HostServer

#: our module's name in the host
MODULE = "sfp__stor_webhooks"
#: the types of vulnerabilities, which alone are looked up among those that are known to be exploited
VULNERABILITY = "VULNERABILITY"
#: findings that are read at once, and those that are read with their sources
PART = 1000
WITH_SOURCES = 100
#: limit of a read during a scan, in seconds: the scan cannot write meanwhile, or waits for us
READ_SECONDS = 1.0


def database_of(address: str, folder: Path, enrichment: Enrichment) -> HostDatabase:
    """Return the database of a scan; if it is no longer at its path, the one of the current host.

    Raises:
        HostDatabaseError: as for `current_database`.
    """
    there = current_database(folder) if is_gone(address) else address
    return HostDatabase(there, enrichment=enrichment, is_deleted=is_gone(there))


def not_output(modules: Iterable[str]) -> list[str]:
    """Return the modules that are not output modules."""
    return [name for name in modules if name and not name.startswith("sfp__")]


class HostDatabase:
    """The host's database. All methods raise HostDatabaseError if it cannot be read.

    Args:
        address: as `host_address` has it.
        limit: seconds that a read may take; None: a few to wait for a lock, and as many as it takes for a file.
        enrichment: has the severities of findings, and says which vulnerabilities are known to be exploited.
        is_deleted: whether its file was deleted: then it has no data.
    """

    def __init__(
        self,
        address: str,
        limit: float | None = None,
        enrichment: Enrichment = NO_ENRICHMENT,
        is_deleted: bool = False,
    ) -> None:
        self._source = DeletedFile() if is_deleted else _source(address, limit)
        self._sql = self._source.sql
        #: its address, which may be shown
        self.address = address
        self.enrichment = enrichment
        head = f"CASE WHEN substr({TYPE}, 1, {len(VULNERABILITY)}) = '{VULNERABILITY}' THEN {self._sql.head} END"
        #: expression for what says whether a finding is known to be exploited
        self._head = head if enrichment.raises else "NULL"
        self._severity = enrichment.severities.of

    @property
    def is_there(self) -> bool:
        """Whether there is a database; without one there is no data."""
        return not isinstance(self._source, DeletedFile)

    def scan(self, scan_id: str) -> ScanRow | None:
        """Return a scan, or None if the host does not know it."""
        columns = f"{NAME}, {TARGET}, {STARTED}, {ENDED}, {STATUS}"
        rows = self._rows(f"SELECT {columns} FROM tbl_scan_instance WHERE guid = ?", scan_id)  # noqa: S608
        if not rows:
            return None
        name, target, started, ended, status = rows[0]
        modules = self._all_modules(scan_id)
        names = (as_typed(name, modules), as_typed(target, modules))
        return ScanRow(*names, seconds_of(started), seconds_of(ended), status)

    def scan_ids(self) -> list[str]:
        """Return the ids of all scans, the newest first."""
        return [row[0] for row in self._rows("SELECT guid FROM tbl_scan_instance ORDER BY created DESC")]

    def instances(self) -> list[tuple[str, str, str, float, float, str]]:
        """Return id, name, target, start, end (both epoch seconds, 0: none) and status of all scans; names and targets
        as stored (see `escapes`)."""
        columns = f"{TEXT.format('guid')}, {NAME}, {TARGET}, {STARTED}, {CREATED}, {ENDED}, {STATUS}"
        return [
            (scan_id, name, target, max(seconds_of(started), seconds_of(created)), seconds_of(ended), status)
            for scan_id, name, target, started, created, ended, status in self._rows(
                f"SELECT {columns} FROM tbl_scan_instance"  # noqa: S608
            )
        ]

    def modules_of(self, scan_ids: Collection[str], until: float) -> dict[str, list[str]]:
        """Return the modules of some scans, without output modules.

        Args:
            until: monotonic seconds at which the search ends, with what was found.
        """
        lists = self._source.module_lists(scan_ids, until)
        return {scan_id: not_output(str(names).split(",")) for scan_id, names in lists if scan_id in scan_ids}

    def number_of_findings(self, scan_id: str) -> int:
        """Return the number of a scan's findings."""
        query = "SELECT count(*) FROM tbl_scan_results WHERE scan_instance_id = ? AND type <> ?"
        return int(next(iter(self._rows(query, scan_id, ROOT)), (0,))[0])

    def target_type(self, scan_id: str) -> str:
        """Return the host's type of a scan's target; empty if the scan ended before it was stored."""
        query = "SELECT type FROM tbl_scan_results WHERE scan_instance_id = ? AND source_event_hash = ? AND type <> ?"
        rows = self._rows(f"{query} ORDER BY {self._sql.order} LIMIT 1", scan_id, ROOT, ROOT)
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
            f"SELECT {TYPE}, {RISK}, {self._head}, count(*) FROM tbl_scan_results"  # noqa: S608
            " WHERE scan_instance_id = ? AND type <> ? GROUP BY 1, 2, 3",
            *(scan_id, ROOT),
        )
        return self._counts_of(rows)

    def modules(self, scan_id: str) -> list[str]:
        """Return the modules enabled for a scan, without output modules."""
        return not_output(self._all_modules(scan_id))

    def _all_modules(self, scan_id: str) -> list[str]:
        query = "SELECT val FROM tbl_scan_config WHERE scan_instance_id = ? AND opt = '_modulesenabled'"
        return [name for row in self._rows(query, scan_id) for name in str(row[0]).split(",")]

    def standing(self, scan_id: str) -> tuple[str, float, FindingCounts] | None:
        """Return a scan's status, start (epoch seconds) and counts, in one read; None if the host does not know it."""
        rows = self._rows(
            f"SELECT {TEXT.format('i.status')}, {NUMBER.format('i.started')}, CAST(r.type AS TEXT),"  # noqa: S608
            f" {RISK}, {self._head}, count(r.type) FROM tbl_scan_instance i"
            " LEFT JOIN tbl_scan_results r ON r.scan_instance_id = i.guid AND r.type <> ?"
            " WHERE i.guid = ? GROUP BY 1, 2, 3, 4, 5",
            *(ROOT, scan_id),
        )
        if not rows:
            return None
        return rows[0][0], seconds_of(rows[0][1]), self._counts_of(row[2:] for row in rows if row[2])

    def worst(self, scan_id: str, number: int) -> list[TopFinding]:
        """Return a scan's worst findings, the newest first among equals, without informational ones."""
        all_of_it = (
            f"SELECT hash, {TYPE}, {RISK}, {self._head}, {GENERATED} FROM tbl_scan_results"  # noqa: S608
            f" WHERE scan_instance_id = ? AND type <> ? ORDER BY {self._sql.order}"
        )
        one = (
            f"SELECT {DATA}, {FROM_MODULE}, {TEXT.format('hash')} FROM tbl_scan_results"  # noqa: S608
            " WHERE scan_instance_id = ? AND hash = ?"
        )
        with self._source.session() as read:
            found = (
                (severity, generated, at, event_hash, kind)
                for at, (event_hash, kind, risk, head, generated) in enumerate(read(all_of_it, scan_id, ROOT))
                if (severity := self._severity(kind, risk, self._is_exploited(head)))
            )
            worst = nlargest(number, found, key=lambda each: each[:3])
            rows = [list(read(one, scan_id, each[3]))[:1] for each in worst]
        return [
            TopFinding(kind, row[0][0], severity, time_of(generated), *row[0][1:])
            for (severity, generated, _, _, kind), row in zip(worst, rows)
            if row
        ]

    def correlations_by_risk(self, scan_id: str) -> dict[str, int]:
        """Return risk of the rule, such as HIGH -> number of a scan's correlations, each counted once as in
        `correlations.distinct`; empty if the host has no rules."""
        if not self._has("tbl_scan_correlation_results"):
            return {}
        query = (
            "SELECT rule_risk, count(*) FROM (SELECT DISTINCT rule_risk, rule_id, title"
            " FROM tbl_scan_correlation_results WHERE scan_instance_id = ?) AS each_once GROUP BY 1"
        )
        return dict(self._rows(query, scan_id))

    def errors(self, scan_id: str, words: Iterable[str]) -> list[str]:
        """Return the first characters of the errors in a scan's log that start with one of these words."""
        query = (
            "SELECT DISTINCT substr(message, 1, 200) FROM tbl_scan_log WHERE scan_instance_id = ? AND type = 'ERROR'"
        )
        return [row[0] for word in words for row in self._rows(f"{query} AND message LIKE ?", scan_id, f"{word}%")]

    def failing_modules(self, scan_id: str) -> list[str]:
        """Return the modules that logged an error in a scan themselves."""
        query = "SELECT DISTINCT component FROM tbl_scan_log WHERE scan_instance_id = ? AND type = 'ERROR'"
        return [row[0] for row in self._rows(f"{query} AND substr(component, 1, 4) = 'sfp_'", scan_id)]

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
            f"SELECT hash, {TYPE}, {RISK}, {self._head} FROM tbl_scan_results"  # noqa: S608
            f" WHERE scan_instance_id = ? AND type <> ? ORDER BY {self._sql.order}"
        )
        with self._source.session() as read:
            return [(*row[:3], int(self._is_exploited(row[3]))) for row in read(query, scan_id, ROOT)]

    def findings(self, scan_id: str, hashes: Iterable[str]) -> Iterator[Finding]:
        """Yield the findings of a scan with these hashes, with their sources."""
        left = iter(hashes)
        with self._source.session() as read:
            while chunk := list(islice(left, WITH_SOURCES)):
                known: dict[str, tuple[Any, ...]] = {}
                new, asked = {*chunk}, set[str]()
                while new and len(asked) <= len(chunk) * SOURCES_MAX:
                    rows = _read_hashes(read, scan_id, new)
                    known.update(rows)
                    asked |= new
                    new = {row[8] for row in rows.values() if row[8] and row[1] != ROOT} - asked
                for each in chunk:
                    if each in known:
                        yield finding_in(known[each], known.get)

    def of_types(self, scan_id: str, types: Collection[str]) -> Iterator[tuple[str, str, str]]:
        """Yield type, data and module of a scan's findings of some types, in order of creation."""
        query = (
            f"SELECT {TYPE}, {DATA}, {FROM_MODULE} FROM tbl_scan_results WHERE scan_instance_id = ?"  # noqa: S608
            f" AND type IN ({', '.join('?' * len(types))}) ORDER BY {self._sql.order}"
        )
        with self._source.session() as read:
            yield from read(query, scan_id, *types)

    def all_findings(self, scan_id: str) -> Iterator[Finding]:
        """Yield the findings of a scan without their sources, in order of creation, as they are read in short parts:
        no scan of the host can write to a file during one."""
        for row in self._source.results(WITHOUT_SOURCES, scan_id, PART):
            yield Finding._make((*row[:4], time_of(row[4]), *row[5:], (), "", True))

    def false_positives(self, is_meant: Callable[[str], bool]) -> Iterator[tuple[str, str, str]]:
        """Yield type, data and module of what users marked as false positive, in the newest scans first.

        Args:
            is_meant: whether the scans of a target, as the host has it, are meant.
        """
        marked = (
            f"SELECT {TYPE}, {DATA}, {FROM_MODULE} FROM tbl_scan_results"  # noqa: S608
            " WHERE scan_instance_id = ? AND false_positive = 1"
        )
        with self._source.session() as read:
            scans = list(read(f"SELECT guid, {TARGET} FROM tbl_scan_instance ORDER BY created DESC"))  # noqa: S608
            for scan_id, target in scans:
                if is_meant(target):
                    yield from read(marked, scan_id)

    def correlations(self, scan_id: str) -> list[Correlation] | None:
        """Return a scan's correlations; None if the host is older than 4.0 and has no rules."""
        if not self._has("tbl_scan_correlation_results_events"):
            return None
        rows = self._rows(
            "SELECT c.id, c.title, c.rule_id, c.rule_name, c.rule_risk, c.rule_descr, (SELECT count(*)"  # noqa: S608
            " FROM tbl_scan_correlation_results_events e WHERE e.correlation_id = c.id)"
            f" FROM tbl_scan_correlation_results c WHERE c.scan_instance_id = ?"
            f" ORDER BY {self._sql.created.format('c')}",
            scan_id,
        )
        return [Correlation(*row) for row in rows if row[-1]]

    def evidence(self, scan_id: str, correlations: Iterable[Correlation]) -> Iterator[list[Source]]:
        """Yield the first events that each correlation rests on."""
        query = (
            f"SELECT {TYPE}, {DATA}, {FROM_MODULE}, {TEXT.format('r.hash')} FROM tbl_scan_correlation_results_events e"  # noqa: S608
            " JOIN tbl_scan_results r ON r.scan_instance_id = ? AND r.hash = e.event_hash"
            f" WHERE e.correlation_id = ? ORDER BY {self._sql.created.format('e')} LIMIT ?"
        )
        with self._source.session() as read:
            for correlation in correlations:
                yield [Source(*row) for row in read(query, scan_id, correlation.host_id, EVIDENCE_MAX)]

    def _has(self, table: str) -> bool:
        return bool(self._rows(self._sql.has_table, table))

    def _is_exploited(self, head: str | bytes | None) -> bool:
        if not head:
            return False
        return self.enrichment.is_exploited(head if isinstance(head, str) else head.decode("utf-8", "replace"))

    def _counts_of(self, rows: Iterable[tuple[Any, ...]]) -> FindingCounts:
        return FindingCounts(
            (name, self._severity(name, risk, self._is_exploited(head)), number) for name, risk, head, number in rows
        )

    def _rows(self, query: str, *values: Any) -> list[Any]:
        with self._source.session() as read:
            return list(read(query, *values))


def _source(address: str, limit: float | None) -> HostFile | HostServer:
    if not is_server(address):
        return HostFile(Path(address), limit)
    if not has_driver():
        raise HostDatabaseError(NO_DRIVER)
    from sfwebhooks.scan.host_server import HostServer  # most hosts have a file, and no driver for servers

    return HostServer(given_for(address), limit)


def _read_hashes(read: Read, scan_id: str, hashes: Collection[str]) -> dict[str, tuple[Any, ...]]:
    """Return hash -> row of the findings with these hashes; of equal hashes the first."""
    query = (
        f"SELECT {COLUMNS} FROM tbl_scan_results WHERE scan_instance_id = ?"  # noqa: S608
        f" AND (hash IN ({', '.join('?' * len(hashes))}){' OR hash IS NULL' if None in hashes else ''})"
    )
    found: dict[str, tuple[Any, ...]] = {}
    for row in read(query, scan_id, *hashes):
        found.setdefault(row[0], row)
    return found
