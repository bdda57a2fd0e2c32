"""How far a running scan is: when it is reported, what it says, and what becomes of a database that cannot be read."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from sfwebhooks.config.settings import Settings
from sfwebhooks.events import Scan, id_of, timestamp
from sfwebhooks.outbox.finding_counts import FindingCounts
from sfwebhooks.scan.progress import Progress, progress_of
from sfwebhooks.severity import Severity
from tests.builders import NOW, a_host_database, a_scan, an_endpoint


@pytest.fixture
def scan(tmp_path: Path) -> Scan:
    """A scan that began at NOW, with nothing found."""
    made = a_scan(database=str(tmp_path / "spiderfoot.db"))
    a_host_database(Path(made.database), made)
    return made


def find(scan: Scan, host_type: str, count: int) -> None:
    with closing(sqlite3.connect(scan.database)) as connection, connection:
        insert = "INSERT INTO tbl_scan_results (scan_instance_id, type) VALUES (?, ?)"
        connection.executemany(insert, [(scan.id, host_type)] * count)


@contextmanager
def locked(scan: Scan) -> Iterator[None]:
    """The host writes, and for a long time."""
    with closing(sqlite3.connect(scan.database, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield


def reported(progress: Progress, after: float) -> dict[str, object] | None:
    event = progress.look(NOW + after)
    return dict(event.data) if event else None


def test_it_is_reported_once_each_interval(scan: Scan) -> None:
    progress = Progress(scan, 60.0, NOW, FindingCounts())
    assert [reported(progress, after) is not None for after in (1, 59, 60, 61, 119, 120)] == [
        *(False, False, True),
        *(False, False, True),
    ]


def test_each_has_its_number_and_the_id_that_this_number_gives(scan: Scan) -> None:
    progress = Progress(scan, 60.0, NOW, FindingCounts())
    events = [progress.look(NOW + after) for after in (60, 120)]
    assert [event and (event.id, event.data["number"]) for event in events] == [
        (id_of(f"progress/{scan.id}/1"), 1),
        (id_of(f"progress/{scan.id}/2"), 2),
    ]


def test_it_counts_what_the_host_has_and_the_target_is_not_a_finding(scan: Scan) -> None:
    find(scan, "ROOT", 1)
    find(scan, "VULNERABILITY_CVE_HIGH", 2)
    data = reported(Progress(scan, 60.0, NOW, FindingCounts()), 60)
    assert data
    assert (data["events_found"], data["high_risk_events"]) == (2, 2)
    assert (data["events_by_type"], data["elapsed"]) == ({"VULNERABILITY_CVE_HIGH": 2}, 60)


def test_it_counts_what_was_accepted_where_that_is_more(scan: Scan) -> None:
    find(scan, "IP_ADDRESS", 3)
    accepted = FindingCounts([("VULNERABILITY_CVE_HIGH", Severity.HIGH, 1)])
    progress = Progress(scan, 60.0, NOW, accepted)
    accepted.add("VULNERABILITY_CVE_HIGH", Severity.HIGH)
    data = reported(progress, 60)
    assert data and data["events_by_type"] == {"IP_ADDRESS": 3, "VULNERABILITY_CVE_HIGH": 2}


def test_the_rate_is_that_since_the_last_one(scan: Scan) -> None:
    progress, rates = Progress(scan, 60.0, NOW, FindingCounts()), []
    for after, count in ((60, 30), (180, 10), (240, 0)):
        find(scan, "IP_ADDRESS", count)
        data = reported(progress, after)
        rates.append(data and data["events_per_minute"])
    assert rates == [30, 5, 0]


@pytest.mark.parametrize("after", [-3600.0, 3600.0])
def test_a_clock_that_is_set_neither_silences_it_nor_makes_nonsense_of_it(scan: Scan, after: float) -> None:
    progress = Progress(scan, 60.0, NOW, FindingCounts())
    find(scan, "IP_ADDRESS", 5)
    assert reported(progress, 60)
    data = reported(progress, after)
    assert data and data["elapsed"] == max(0, after) and data["events_per_minute"] == 0
    assert reported(progress, after + 60)


def test_while_the_hosts_database_is_locked_one_is_skipped_and_no_number_is_lost(scan: Scan) -> None:
    progress = Progress(scan, 60.0, NOW, FindingCounts())
    assert reported(progress, 60)
    with locked(scan):
        assert reported(progress, 120) is None
    assert reported(progress, 121) is None, "the next one is due an interval later"
    data = reported(progress, 180)
    assert data and data["number"] == 2


def test_a_database_that_is_not_there_does_no_harm() -> None:
    assert reported(Progress(a_scan(), 60.0, NOW, FindingCounts()), 60) is None


def test_a_scan_that_the_host_does_not_know_is_not_reported(scan: Scan) -> None:
    other = a_scan("OTHER", database=scan.database)
    assert reported(Progress(other, 60.0, NOW, FindingCounts()), 60) is None


def change(scan: Scan, query: str) -> None:
    with closing(sqlite3.connect(scan.database)) as connection, connection:
        connection.execute(query)


def test_it_has_the_scans_status_start_and_modules_as_the_host_has_them(scan: Scan) -> None:
    change(scan, f"INSERT INTO tbl_scan_config VALUES ('{scan.id}', 'GLOBAL', '_modulesenabled', 'sfp_a,sfp__stor_db')")
    progress = Progress(scan, 60.0, NOW, FindingCounts())
    for after in (60, 120):
        data = reported(progress, after)
        assert data and (data["status"], data["started"], data["modules_used"], data["scan_id"]) == (
            *("RUNNING", timestamp(NOW), ["sfp_a"]),
            scan.id,
        )


def test_a_scan_whose_start_the_host_has_not_written_has_taken_no_time_yet(scan: Scan) -> None:
    change(scan, "UPDATE tbl_scan_instance SET started = 0")
    data = reported(Progress(scan, 60.0, NOW, FindingCounts()), 60)
    assert data and (data["started"], data["elapsed"]) == (timestamp(NOW + 60), 0)


def test_a_clock_that_is_set_back_to_the_last_report_gives_no_rate(scan: Scan) -> None:
    progress = Progress(scan, 60.0, NOW, FindingCounts())
    find(scan, "IP_ADDRESS", 5)
    assert reported(progress, 60)
    database = Path(scan.database)
    away = database.rename(database.with_suffix(".away"))
    assert reported(progress, 120) is None, "it cannot be read now"
    away.rename(database)
    data = reported(progress, 60)
    assert data and data["events_per_minute"] == 0


def test_a_rate_is_per_minute_however_short_the_interval_is(scan: Scan) -> None:
    find(scan, "IP_ADDRESS", 2)
    data = reported(Progress(scan, 0.5, NOW, FindingCounts()), 0.5)
    assert data and data["events_per_minute"] == 240


@pytest.mark.parametrize(
    ("events", "interval", "asked"),
    [
        ((("scan_started",), ("scan_progress",)), 60.0, True),
        ((("scan_started",), ("finding.high",)), 60.0, False),
        ((("scan_progress",),), 0.0, False),
    ],
)
def test_it_is_made_for_a_scan_if_an_endpoint_asks_for_it_and_it_is_not_switched_off(
    scan: Scan, events: tuple[tuple[str, ...], ...], interval: float, asked: bool
) -> None:
    endpoints = tuple(an_endpoint(f"team-{number}", events=one) for number, one in enumerate(events))
    settings = Settings(endpoints, progress_interval=interval)
    assert (progress_of(scan, settings, NOW, FindingCounts()) is not None) is asked


@pytest.mark.parametrize("status", ["FINISHED", "ABORTED", "ERROR-FAILED"])
def test_a_scan_that_is_over_makes_no_progress(scan: Scan, status: str) -> None:
    progress = Progress(scan, 60.0, NOW, FindingCounts())
    with closing(sqlite3.connect(scan.database)) as connection, connection:
        connection.execute("UPDATE tbl_scan_instance SET status = ?", (status,))
    assert progress.look(NOW + 60) is None


def test_the_reports_of_a_scan_have_one_subject_so_that_a_chat_can_show_the_last_one(scan: Scan) -> None:
    progress = Progress(scan, 60.0, NOW, FindingCounts())
    subjects = {event.subject for event in (progress.look(NOW + 60), progress.look(NOW + 120)) if event}
    assert subjects == {f"progress/{scan.id}"}
