"""A scan as the host's database has it after its end, written as the host writes it: findings and correlations."""

from __future__ import annotations

from collections.abc import Sequence

from sfwebhooks.events import Scan
from sfwebhooks.scan.correlations import Correlation
from sfwebhooks.scan.findings import Finding
from tests.builders import NOW, a_host_database
from tests.host_databases import Place, has_tables, make_evidence, make_tables, writing

#: types of the findings, in turn: high, high, medium, low, info
TYPES = ("VULNERABILITY_CVE_HIGH", "MALICIOUS_INTERNET_NAME", "JUNK_FILE", "TCP_PORT_OPEN", "EMAILADDR")


def a_finished_scan(path: Place, scan: Scan, findings: int = 10, status: str = "FINISHED") -> None:
    """Make a database with a scan that is over, and its findings hash-0, hash-1 ... below the target."""
    a_host_database(path, scan, status)
    make_evidence(path)
    target = (scan.id, "target", scan.target_type, NOW, 100, 100, 0, "SpiderFoot UI", scan.target, 0, "ROOT")
    root = (scan.id, "ROOT", "ROOT", NOW, 100, 100, 0, "", scan.target, 0, "ROOT")
    found = [
        (
            scan.id,
            f"hash-{number}",
            TYPES[number % len(TYPES)],
            NOW + number,
            100,
            100,
            0,
            "m",
            f"d {number}",
            0,
            "target",
        )
        for number in range(findings)
    ]
    with writing(path) as connection:
        connection.execute("UPDATE tbl_scan_instance SET ended = ?", ((NOW + 60) * 1000,))
        connection.executemany(f"INSERT INTO tbl_scan_results VALUES ({','.join('?' * 11)})", [root, target, *found])


def index_results(path: Place) -> None:
    """Give a database the indexes that the host's has and that a scan with many findings is read by."""
    with writing(path) as connection:
        connection.execute("CREATE INDEX idx_scan_results_id ON tbl_scan_results (scan_instance_id)")
        connection.execute("CREATE INDEX idx_scan_results_hash ON tbl_scan_results (scan_instance_id, hash)")


def correlate(path: Place, scan: Scan, correlation: Correlation, hashes: Sequence[str]) -> None:
    """Write a correlation that rests on some findings."""
    one = correlation
    row = (one.host_id, scan.id, one.title, one.rule_risk, one.rule_id, one.rule_name, one.description, "yaml")
    with writing(path) as connection:
        connection.execute("INSERT INTO tbl_scan_correlation_results VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        connection.executemany(
            "INSERT INTO tbl_scan_correlation_results_events VALUES (?, ?)", [(one.host_id, each) for each in hashes]
        )


def add_scan(path: Place, scan: Scan, found: Sequence[Finding], at: float = NOW, **values: str) -> None:
    """Write a further scan, and its findings, into a database, which is made if it is not there.

    A finding without sources is one of the target; one with sources has the hash of the first as its source.

    Args:
        at: epoch seconds of its end.
        values: `status` (FINISHED) and `modules` (sfp_a,sfp_b).
    """
    if not has_tables(path):
        make_tables(path)
        make_evidence(path)
    rows = [
        (scan.id, one.hash, one.type, one.generated, one.confidence, one.visibility, one.risk, one.module, one.data, 0,
         one.sources[0].hash if one.sources else "ROOT")
        for one in found
    ]  # fmt: skip
    its = (scan.id, scan.name, scan.target, at * 1000, at * 1000, at * 1000, values.get("status", "FINISHED"))
    modules = (scan.id, "GLOBAL", "_modulesenabled", values.get("modules", "sfp_a,sfp_b"))
    with writing(path) as connection:
        connection.execute("INSERT INTO tbl_scan_instance VALUES (?, ?, ?, ?, ?, ?, ?)", its)
        connection.execute("INSERT INTO tbl_scan_config VALUES (?, ?, ?, ?)", modules)
        connection.executemany(f"INSERT INTO tbl_scan_results VALUES ({','.join('?' * 11)})", rows)
