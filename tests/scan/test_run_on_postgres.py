"""A scan of this process whose outbox is on PostgreSQL: it accepts there directly, and waits for no server."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from sfwebhooks.config.settings import load
from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.scan.recovery import report_dead_scans
from tests.conftest import Team
from tests.postgres import PASSWORD, Postgres, stopped
from tests.scanning import Scanning
from tests.threads import until
from tests.tiers import slow


@pytest.fixture(autouse=True)
def _quick_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """The background work of scans looks often whether the outbox can be written again."""
    monkeypatch.setattr("sfwebhooks.scan.run.ROUND_SECONDS", 0.05)
    monkeypatch.setattr("sfwebhooks.outbox.postgres.server.AGAIN_SECONDS", 0.05)
    monkeypatch.setattr("sfwebhooks.outbox.postgres.lock_session.AGAIN_SECONDS", 0.05)


@pytest.fixture
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """The host kills the scan's process soon."""
    monkeypatch.setattr("sfwebhooks.scan.run.HOST_PATIENCE_SECONDS", 3.0)


def general(dsn: str) -> str:
    return f"outbox = {dsn}\nspool = none"


def a_scan_of(folder: Path, dsn: str, team: Team) -> Scanning:
    scan = Scanning(folder)
    scan.configure(general(dsn), team=f"url = {team.url}\nevents = scan_*, high_risk_event")
    return scan


def types(team: Team) -> list[str]:
    return [received.message["event_type"] for received in team.got]


def test_a_scan_accepts_on_the_server_and_leaves_no_file(tmp_path: Path, postgres_dsn: str, team: Team) -> None:
    scan = a_scan_of(tmp_path, postgres_dsn, team)
    scan.begin()
    scan.find(3)
    scan.finish()
    assert sorted(types(team)) == [*["high_risk_event"] * 3, "scan_completed", "scan_started"]
    assert types(team)[-1] == "scan_completed"
    assert not (tmp_path / FILE).exists()


def test_findings_wait_in_memory_while_the_server_is_away(
    tmp_path: Path, own_server: Postgres, team: Team, caplog: pytest.LogCaptureFixture
) -> None:
    scan = a_scan_of(tmp_path, own_server.dsn("hooks"), team)
    scan.begin()
    team.wait_for(1)
    with stopped(own_server):
        scan.find(3)
    until(lambda: "can be written again" in caplog.text)
    scan.finish()
    assert types(team).count("high_risk_event") == 3
    assert types(team)[-1] == "scan_completed"
    assert "events are buffered in memory" in caplog.text
    assert PASSWORD not in caplog.text


def test_a_scan_that_never_reaches_the_server_ends_and_says_what_sends_it(
    tmp_path: Path,
    own_server: Postgres,
    team: Team,
    caplog: pytest.LogCaptureFixture,
    short_patience: None,
) -> None:
    scan = a_scan_of(tmp_path, own_server.dsn("hooks"), team)
    with stopped(own_server):
        scan.begin()
        scan.find(3)
        scan.finish()
    assert team.got == []
    assert f"sfwebhooks backfill {scan.scan.id} --endpoint NAME" in caplog.text
    assert PASSWORD not in caplog.text


def test_a_scan_that_ends_without_the_server_is_completed_by_another_process(
    tmp_path: Path, own_server: Postgres, team: Team, monkeypatch: pytest.MonkeyPatch, short_patience: None
) -> None:
    scan = a_scan_of(tmp_path, own_server.dsn("hooks"), team)
    scan.begin()
    team.wait_for(1)
    with stopped(own_server):
        scan.find(3)
        scan.finish()
    settings = load(tmp_path / "webhooks.ini")
    outbox = Outbox(settings.place(tmp_path))
    monkeypatch.setattr("sfwebhooks.outbox.postgres.advisory_locks.ALIVE_SECONDS", 0.0)
    try:
        until(lambda: report_dead_scans(outbox, settings))
        assert outbox.scans.scan(scan.scan.id) == (scan.scan, "scan_completed")
        assert outbox.scans.number_found(scan.scan.id) == 3
    finally:
        outbox.close()


@slow
def test_a_server_that_does_not_answer_holds_a_scan_up_only_once(
    tmp_path: Path, own_server: Postgres, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sfwebhooks.outbox.postgres.server.ACCEPT_SECONDS", 0.5)
    scan = a_scan_of(tmp_path, own_server.dsn("hooks"), team)
    scan.begin()
    team.wait_for(1)
    processes = [pid for (pid,) in own_server.execute("SELECT pid FROM pg_stat_activity WHERE datname = 'hooks'")]
    for pid in (own_server.pid, *processes):
        os.kill(pid, signal.SIGSTOP)
    try:
        scan.find(30)
        assert scan.run
        assert scan.run._trouble
    finally:
        for pid in (*processes, own_server.pid):
            os.kill(pid, signal.SIGCONT)
    until(lambda: scan.run and not scan.run._trouble)
    scan.finish()
    assert types(team).count("high_risk_event") == 30


def test_an_outbox_that_changes_is_used_by_the_next_scan(
    tmp_path: Path, postgres_dsn: str, team: Team, caplog: pytest.LogCaptureFixture
) -> None:
    scan = a_scan_of(tmp_path, postgres_dsn, team)
    scan.begin()
    scan.takes_up("", team=f"url = {team.url}\nevents = all")
    scan.find(1)
    scan.finish()
    assert types(team)[-1] == "scan_completed"
    assert not (tmp_path / FILE).exists()
    assert "the settings have another address for the outbox now" in caplog.text
