"""What a scan's end says of its result, read from the host's own database."""

from __future__ import annotations

import logging
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sfwebhooks.events import Scan, timestamp
from sfwebhooks.outbox.accepted import AcceptedScan
from sfwebhooks.outbox.finding_counts import TOP_MAX, FindingCounts, TopFinding
from sfwebhooks.own_secrets import ERROR_MAX
from sfwebhooks.scan.from_host import ScanResult, result_of
from sfwebhooks.scan.host_database import HostDatabase
from sfwebhooks.scan.host_log import listen, stop_listening
from sfwebhooks.scan.lifecycle import TOP_DATA_MAX, ended, started
from sfwebhooks.severity import Severity
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


def result(scan: Scan) -> ScanResult:
    """What is known of a scan of which nothing was accepted."""
    return result_of(scan, HostDatabase(scan.database), AcceptedScan())


def end_of(scan: Scan) -> dict[str, Any]:
    return dict(ended(scan, result(scan)).data)


def top(scan: Scan) -> list[str]:
    return [finding["data"] for finding in end_of(scan)["top_findings"]]


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
    assert [finding["severity"] for finding in end_of(scan)["top_findings"]] == ["critical", "low"]


def test_one_is_shown_in_a_line_and_cut(scan: Scan) -> None:
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
def test_no_secret_is_sent_with_the_end(scan: Scan, host_type: str, data: str, secret: str) -> None:
    find(scan, host_type, data)
    end = end_of(scan)
    assert [finding["event_type"] for finding in end["top_findings"]] == [host_type]
    assert secret not in str(end)


def test_a_finding_that_only_was_accepted_is_among_the_worst_and_each_is_there_once(scan: Scan) -> None:
    find(scan, "VULNERABILITY_CVE_HIGH", "both", NOW)
    find(scan, "TCP_PORT_OPEN", "low", NOW + 9)
    rows = [("VULNERABILITY_CVE_CRITICAL", "accepted", 4, NOW + 1), ("VULNERABILITY_CVE_HIGH", "both", 3, NOW)]
    top = tuple(TopFinding(kind, data, Severity(rank), at, "m", f"hash-{at}") for kind, data, rank, at in rows)
    event = ended(scan, result_of(scan, HostDatabase(scan.database), AcceptedScan(top=top)))
    assert [finding["data"] for finding in event.data["top_findings"]] == ["accepted", "both", "low"]


# --- counts


def test_of_each_type_the_numbers_are_those_of_the_side_with_more(scan: Scan) -> None:
    for number in range(3):
        find(scan, "IP_ADDRESS", at=NOW + number)
    find(scan, "VULNERABILITY_CVE_HIGH", at=NOW + 9)
    accepted = AcceptedScan(
        FindingCounts([("VULNERABILITY_CVE_HIGH", Severity.HIGH, 2), ("IP_ADDRESS", Severity.INFO, 1)])
    )
    data = ended(scan, result_of(scan, HostDatabase(scan.database), accepted)).data
    assert data["events_by_type"] == {"IP_ADDRESS": 3, "VULNERABILITY_CVE_HIGH": 2}
    assert (data["events_found"], data["high_risk_events"], data["info_events"]) == (5, 2, 3)


def test_a_finding_counts_with_the_severity_that_its_module_gave_it(scan: Scan) -> None:
    find(scan, "IP_ADDRESS", risk=95)
    find(scan, "IP_ADDRESS", at=NOW + 1)
    data = end_of(scan)
    assert (data["high_risk_events"], data["events_by_severity"]["critical"], data["info_events"]) == (1, 1, 1)


# --- a scan that the host has no more


@pytest.fixture
def deleted(scan: Scan) -> Scan:
    """Return a scan of which the host knows nothing."""
    with closing(sqlite3.connect(scan.database)) as connection, connection:
        connection.execute("DELETE FROM tbl_scan_instance")
    return scan


FOUND = AcceptedScan(FindingCounts([("VULNERABILITY_CVE_HIGH", Severity.HIGH, 230)]), begun={"modules_used": ["sfp_x"]})


@pytest.mark.parametrize(
    ("accepted", "error", "late", "name"),
    [
        (AcceptedScan(), "", "", "scan_aborted"),
        (FOUND, "", "", "scan_aborted"),
        (FOUND, "", "process_died", "scan_aborted"),
        (AcceptedScan(), "", "host_stopped", "scan_aborted"),
        (AcceptedScan(), "", "process_died", "scan_failed"),  # before the host had it
        (AcceptedScan(), "no database", "", "scan_failed"),
    ],
)
def test_a_scan_that_somebody_deleted_was_aborted(
    accepted: AcceptedScan, error: str, late: str, name: str, deleted: Scan
) -> None:
    event = ended(deleted, result_of(deleted, HostDatabase(deleted.database), accepted), error, late)
    assert (event.type, event.data.get("reason", "")) == (name, late)


def test_of_a_scan_that_somebody_deleted_counts_what_was_accepted(deleted: Scan) -> None:
    data = ended(deleted, result_of(deleted, HostDatabase(deleted.database), FOUND)).data
    assert (data["events_found"], data["high_risk_events"], data["modules_used"]) == (230, 230, ["sfp_x"])


# --- correlations, modules


def test_correlations_are_counted_by_risk(scan: Scan) -> None:
    for risk, title in (("HIGH", "a"), ("INFO", "b"), ("HIGH", "c"), ("HIGH", "c")):  # the rules were run again
        write(scan, "tbl_scan_correlation_results", rule_risk=risk, rule_id=f"rule_{risk}", title=title)
    assert end_of(scan)["correlations_by_risk"] == {"HIGH": 2, "MEDIUM": 0, "LOW": 0, "INFO": 1}


def test_a_scanner_without_correlation_rules_has_none(scan: Scan) -> None:
    with closing(sqlite3.connect(scan.database)) as connection, connection:
        connection.execute("DROP TABLE tbl_scan_correlation_results")
    assert set(end_of(scan)["correlations_by_risk"].values()) == {0}


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
    assert end_of(scan)["modules_failed"] == ["sfp_x"]


@pytest.mark.parametrize(
    ("component", "message"),
    [
        ("sfp_x", "You enabled sfp_x but did not set an API key!"),
        ("sfp_x", "Error retrieving search results, code 500"),
        ("plugin", "Warning: You enabled sfp_x but did not set an API key! Queries will be rate limited."),
    ],
)
def test_a_module_that_has_logged_an_error_is_named(scan: Scan, component: str, message: str) -> None:
    for _ in range(2):
        write(scan, "tbl_scan_log", type="ERROR", component=component, message=message)
    assert end_of(scan)["modules_failed"] == ["sfp_x"]


def test_a_module_of_which_an_error_was_reported_is_named(scan: Scan) -> None:
    write(scan, "tbl_scan_log", type="ERROR", component="sfp_x", message="no")
    accepted = AcceptedScan(modules_failed=frozenset({"sfp_a", "sfp_x"}))
    assert result_of(scan, HostDatabase(scan.database), accepted).modules_failed == ["sfp_a", "sfp_x"]


@pytest.mark.parametrize(
    ("level", "message"),
    [
        ("STATUS", "sfp_x module loaded."),
        ("STATUS", "Module sfp_x initialization failed"),
        ("ERROR", "Module sfp__stor_webhooks initialization failed"),
        ("ERROR", "Module sfp_x says nothing of note"),
    ],
)
def test_nothing_else_in_the_log_makes_a_module_one_that_failed(scan: Scan, level: str, message: str) -> None:
    write(scan, "tbl_scan_log", type=level, message=message)
    assert end_of(scan)["modules_failed"] == []


def test_findings_of_another_scan_are_not_sent(scan: Scan) -> None:
    other = a_scan("OTHER", database=scan.database)
    find(other, "VULNERABILITY_CVE_HIGH")
    write(other, "tbl_scan_correlation_results", rule_risk="HIGH")
    write(other, "tbl_scan_log", type="ERROR", message="Failed to load module: sfp_x")
    data = end_of(scan)
    assert (data["top_findings"], data["correlations_by_risk"]["HIGH"], data["modules_failed"]) == ([], 0, [])


def test_an_error_has_no_credential_of_the_scans_options(tmp_path: Path) -> None:
    scan = a_scan(database=str(tmp_path / "failed.db"))
    a_host_database(Path(scan.database), scan, "ERROR-FAILED")
    listen(scan.id, {"_socks5pwd": "a-long-password", "__modules__": {}})
    try:
        data = ended(scan, result(scan), "proxy http://x:a-long-password@y is mute").data
    finally:
        stop_listening(scan.id)
    assert data["error"] == "proxy http://x:***@y is mute"


def test_an_error_is_cut_and_has_no_secret_of_an_endpoint(tmp_path: Path) -> None:
    scan = a_scan(database=str(tmp_path / "failed.db"))
    a_host_database(Path(scan.database), scan, "ERROR-FAILED")
    endpoint = an_endpoint(secrets=["a-long-secret-text"])
    error = "cannot reach a-long-secret-text " + "x" * 5000
    said = ended(scan, result(scan), error, endpoints=[endpoint]).data["error"]
    assert (said.startswith("cannot reach *** x"), len(said) <= ERROR_MAX + 3) == (True, True)


# --- times, modules, errors


def change(scan: Scan, **values: Any) -> None:
    """Change the host's row of a scan."""
    with closing(sqlite3.connect(scan.database)) as connection, connection:
        for name, value in values.items():
            connection.execute(f"UPDATE tbl_scan_instance SET {name} = ?", (value,))


def enable(scan: Scan, *modules: str) -> None:
    write(scan, "tbl_scan_config", component="GLOBAL", opt="_modulesenabled", val=",".join(modules))


def test_a_start_has_the_time_and_the_modules_that_the_host_has_written(scan: Scan) -> None:
    enable(scan, "sfp_dns", "sfp__stor_db")
    event = started(scan, ["sfp_given"])
    assert (event.at, event.data["started"], event.data["modules_used"]) == (NOW, timestamp(NOW), ["sfp_dns"])


def test_a_start_before_the_host_has_written_it_is_from_now_and_has_the_modules_that_are_known(scan: Scan) -> None:
    change(scan, started=0)
    before, event, after = time.time(), started(scan, ["sfp_given", "sfp__stor_db"]), time.time()
    assert before <= event.at <= after
    assert (event.data["started"], event.data["modules_used"]) == (timestamp(event.at), ["sfp_given"])


def test_an_end_has_the_times_and_the_modules_that_the_host_has_written(scan: Scan) -> None:
    change(scan, ended=(NOW + 60) * 1000)
    enable(scan, "sfp_dns", "sfp__stor_db")
    event = ended(scan, result(scan))
    keys = ("status", "started", "ended", "duration", "modules_used")
    assert [event.data[key] for key in keys] == [
        *("FINISHED", timestamp(NOW), timestamp(NOW + 60), 60),
        ["sfp_dns"],
    ]
    assert (event.at, "detected_late" in event.data, "error" in event.data) == (NOW + 60, False, False)


def test_an_end_that_the_host_has_not_written_is_from_now(scan: Scan) -> None:
    before, event, after = time.time(), ended(scan, result(scan)), time.time()
    assert before <= event.at <= after
    assert (event.data["ended"], event.data["duration"]) == (timestamp(event.at), max(0, round(event.at - NOW)))


def test_a_scan_that_the_host_never_started_took_no_time(scan: Scan) -> None:
    change(scan, started=0, ended=NOW * 1000)
    data = end_of(scan)
    assert (data["started"], data["duration"]) == (timestamp(NOW), 0)


def test_a_clock_that_was_set_back_during_a_scan_makes_no_negative_duration(scan: Scan) -> None:
    change(scan, ended=(NOW - 60) * 1000)
    assert end_of(scan)["duration"] == 0


@pytest.mark.parametrize(
    ("status", "error", "logged", "late", "sent"),
    [
        ("ERROR-FAILED", "given", "logged", "process_died", "given"),
        ("ERROR-FAILED", "", "logged", "process_died", "logged"),
        ("RUNNING", "", "", "process_died", "process_died"),
        ("ERROR-FAILED", "", "", "", None),
        ("ABORTED", "given", "logged", "", None),
    ],
)
def test_a_failed_scan_has_the_best_reason_that_is_known(
    scan: Scan, status: str, error: str, logged: str, late: str, sent: str | None
) -> None:
    change(scan, status=status)
    if logged:
        write(scan, "tbl_scan_log", type="ERROR", message=f"Scan [{scan.id}] failed: {logged}")
    data = ended(scan, result(scan), error, late).data
    assert (data.get("error"), data.get("detected_late")) == (sent, True if late else None)


def test_a_module_whose_error_is_not_in_the_hosts_log_yet_is_named(scan: Scan) -> None:
    listen(scan.id, {"__modules__": {}})
    try:
        logging.getLogger("spiderfoot.sfp_x").error("it does not work")
        assert end_of(scan)["modules_failed"] == ["sfp_x"]
    finally:
        stop_listening(scan.id)
