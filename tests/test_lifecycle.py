"""What a scan's end says of its result, read from the host's own database."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sfwebhooks.events import Scan
from sfwebhooks.hostdb import HostDatabase
from sfwebhooks.hostlog import listen, stop_listening
from sfwebhooks.lifecycle import TOP_DATA_MAX, TOP_MAX, ended
from sfwebhooks.masking import ERROR_MAX
from tests.builders import NOW, a_host_database, a_scan, an_endpoint


@pytest.fixture
def scan(tmp_path: Path) -> Scan:
    made = a_scan(database=str(tmp_path / "spiderfoot.db"))
    a_host_database(Path(made.database), made, "FINISHED")
    return made


def write(scan: Scan, table: str, **values: Any) -> None:
    names = ("scan_instance_id", *values)
    with closing(sqlite3.connect(scan.database)) as connection, connection:
        marks = ",".join("?" * len(names))
        connection.execute(f"INSERT INTO {table} ({','.join(names)}) VALUES ({marks})", (scan.id, *values.values()))


def find(scan: Scan, host_type: str, data: str = "d", at: float = NOW, risk: int = 0) -> None:
    values = {"hash": f"hash-{at}", "type": host_type, "data": data, "generated": at, "risk": risk}
    write(scan, "tbl_scan_results", module="m", **values)


def told(scan: Scan) -> dict[str, Any]:
    return dict(ended(scan, HostDatabase(scan.database)).data)


def top(scan: Scan) -> list[str]:
    return [finding["data"] for finding in told(scan)["top_findings"]]


# --- top findings


def test_the_worst_findings_come_first_and_of_equally_bad_ones_the_newest(scan: Scan) -> None:
    find(scan, "TCP_PORT_OPEN", "low", NOW + 9)
    find(scan, "VULNERABILITY_CVE_HIGH", "old", NOW + 1)
    find(scan, "CLOUD_STORAGE_BUCKET_OPEN", "new", NOW + 2)
    find(scan, "VULNERABILITY_CVE_CRITICAL", "worst", NOW)
    assert top(scan) == ["worst", "new", "old", "low"]


def test_plain_facts_are_not_among_them(scan: Scan) -> None:
    find(scan, "ROOT")
    find(scan, "IP_ADDRESS")
    assert top(scan) == []


def test_there_are_ten_at_most(scan: Scan) -> None:
    for number in range(TOP_MAX + 5):
        find(scan, "VULNERABILITY_CVE_HIGH", str(number), NOW + number)
    assert top(scan) == [str(number) for number in range(TOP_MAX + 4, 4, -1)]


def test_the_risk_that_a_module_sets_counts(scan: Scan) -> None:
    find(scan, "TCP_PORT_OPEN", "plain", NOW + 1)
    find(scan, "IP_ADDRESS", "raised", risk=90)
    assert [finding["severity"] for finding in told(scan)["top_findings"]] == ["critical", "low"]


def test_one_is_told_in_a_line_and_cut(scan: Scan) -> None:
    find(scan, "VULNERABILITY_CVE_HIGH", "CVE-2026-0001\nScore: 8" + "x" * 1000)
    (line,) = top(scan)
    assert (line[:22], len(line)) == ("CVE-2026-0001 Score: 8", TOP_DATA_MAX)


@pytest.mark.parametrize(
    ("host_type", "data", "secret"),
    [
        ("PASSWORD_COMPROMISED", "jane@acme.example:hunter22! [Forum]", "hunter22!"),
        ("PASSWORD_COMPROMISED", f"jane@acme.example:{'hunter22!' * 40} [Forum]", "hunter22!"),
        ("HASH_COMPROMISED", "jane@acme.example:5f4dcc3b5aa765d61d8327deb882cf99 [Forum]", "3b5aa765"),
        ("CREDIT_CARD_NUMBER", "4111111111111234", "41111111"),
        ("LEAKSITE_CONTENT", "jane@acme.example:hunter22!", "hunter22!"),
    ],
)
def test_no_secret_is_told_with_the_end(scan: Scan, host_type: str, data: str, secret: str) -> None:
    find(scan, host_type, data)
    data_told = told(scan)
    assert [finding["event_type"] for finding in data_told["top_findings"]] == [host_type]
    assert secret not in str(data_told)


# --- correlations, modules


def test_correlations_are_counted_by_risk(scan: Scan) -> None:
    for risk, title in (("HIGH", "a"), ("INFO", "b"), ("HIGH", "c"), ("HIGH", "c")):  # the rules were run again
        write(scan, "tbl_scan_correlation_results", rule_risk=risk, rule_id=f"rule_{risk}", title=title)
    assert told(scan)["correlations_by_risk"] == {"HIGH": 2, "MEDIUM": 0, "LOW": 0, "INFO": 1}


def test_a_scanner_without_correlation_rules_has_none(scan: Scan) -> None:
    with closing(sqlite3.connect(scan.database)) as connection, connection:
        connection.execute("DROP TABLE tbl_scan_correlation_results")
    assert set(told(scan)["correlations_by_risk"].values()) == {0}


# as SpiderFoot 4.0.0 writes them
@pytest.mark.parametrize(
    "message",
    [
        "Failed to load module: sfp_x",
        "Module sfp_x initialization failed",
        "Module sfp_x socket setup failed: no",
        "Module sfp_x output filter setup failed: no",
        "Module sfp_x target enrichment failed: no",
        "Module sfp_x failed to set target 'acme.example': no",
        "Module sfp_x event queue setup failed: no",
        "Module (modules.sfp_x) encountered an error: no",
        "Exception (KeyError) in module sfp_x.Traceback (most recent call last):\n  File ...",
    ],
)
def test_a_module_that_failed_is_named(scan: Scan, message: str) -> None:
    for _ in range(2):
        write(scan, "tbl_scan_log", type="ERROR", message=message)
    assert told(scan)["modules_failed"] == ["sfp_x"]


@pytest.mark.parametrize(
    ("level", "message"),
    [
        ("STATUS", "sfp_x module loaded."),
        ("ERROR", "You enabled sfp_x but did not set an API key!"),
        ("STATUS", "Module sfp_x initialization failed"),
        ("ERROR", "Module sfp__stor_webhooks initialization failed"),
        ("ERROR", "Module sfp_x says nothing of note"),
    ],
)
def test_nothing_else_in_the_log_makes_a_module_one_that_failed(scan: Scan, level: str, message: str) -> None:
    write(scan, "tbl_scan_log", type=level, message=message)
    assert told(scan)["modules_failed"] == []


def test_what_another_scan_found_is_not_told(scan: Scan) -> None:
    other = a_scan("OTHER", database=scan.database)
    find(other, "VULNERABILITY_CVE_HIGH")
    write(other, "tbl_scan_correlation_results", rule_risk="HIGH")
    write(other, "tbl_scan_log", type="ERROR", message="Failed to load module: sfp_x")
    data = told(scan)
    assert (data["top_findings"], data["correlations_by_risk"]["HIGH"], data["modules_failed"]) == ([], 0, [])


def test_an_error_has_no_credential_of_the_scans_options(tmp_path: Path) -> None:
    scan = a_scan(database=str(tmp_path / "failed.db"))
    a_host_database(Path(scan.database), scan, "ERROR-FAILED")
    listen(scan.id, {"_socks5pwd": "a-long-password", "__modules__": {}})
    try:
        data = ended(scan, HostDatabase(scan.database), "proxy http://x:a-long-password@y is mute").data
    finally:
        stop_listening(scan.id)
    assert data["error"] == "proxy http://x:***@y is mute"


def test_an_error_is_cut_and_has_no_secret_of_an_endpoint(tmp_path: Path) -> None:
    scan = a_scan(database=str(tmp_path / "failed.db"))
    a_host_database(Path(scan.database), scan, "ERROR-FAILED")
    endpoint = an_endpoint(secrets=["a-long-secret-text"])
    error = "cannot reach a-long-secret-text " + "x" * 5000
    said = ended(scan, HostDatabase(scan.database), error, endpoints=[endpoint]).data["error"]
    assert (said.startswith("cannot reach *** x"), len(said) <= ERROR_MAX + 3) == (True, True)
