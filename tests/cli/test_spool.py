"""Commands on a machine whose scans have a spool: what waits there is shown, and forwarded."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Result, Team
from tests.postgres import PASSWORD, Postgres
from tests.scan.test_spool import a_scan_of, types
from tests.scanning import Scanning
from tests.test_service import Run, run
from tests.threads import until
from tests.tiers import slow

__all__ = ["run"]
#: nothing listens there
AWAY = f"postgresql://scanner:{PASSWORD}@127.0.0.1:9/hooks"


@pytest.fixture
def waiting(tmp_path: Path, team: Team) -> Scanning:
    """A scan that is over, all of whose events are in the spool."""
    scan = a_scan_of(tmp_path, AWAY, team)
    scan.begin()
    scan.find(3)
    scan.finish()
    return scan


@pytest.fixture
def reach(tmp_path: Path, team: Team, postgres_dsn: str) -> Callable[[], None]:
    """Let the settings name a server that answers."""
    return lambda: Scanning.configure(
        Scanning(tmp_path, "5C4A0002"),
        f"outbox = {postgres_dsn}\nspool = sqlite",
        team=f"url = {team.url}\nevents = all, !surface_changed",
    )


def test_status_shows_what_waits_while_the_server_is_away(cli: Callable[..., Result], waiting: Scanning) -> None:
    result = cli("status")
    assert result.code == 1
    assert "Spool: 5 events not forwarded, the oldest for" in result.words
    assert "Connection refused" in result.err
    assert PASSWORD not in result.out + result.err
    assert "5 events not forwarded" in cli("doctor").words


def test_drain_forwards_and_sends(
    cli: Callable[..., Result], waiting: Scanning, reach: Callable[[], None], team: Team
) -> None:
    reach()
    assert cli("status", "--json").objects[-1]["waiting"] == 5
    drained = cli("drain", "--json")
    assert (drained.code, drained.objects[0]["delivered"]) == (0, 5)
    assert types(team)[-1] == "scan_completed"
    spool = cli("status", "--json").objects[-1]
    assert (spool["waiting"], spool["oldest"], spool["forwarded_by"], spool["trouble"]) == (0, None, None, "")
    assert "all is forwarded" in cli("doctor").words


def test_run_forwards_and_sends(
    run: Callable[..., Run],
    cli: Callable[..., Result],
    waiting: Scanning,
    reach: Callable[[], None],
    team: Team,
) -> None:
    reach()
    service = run()
    assert len(team.wait_for(5)) == 5
    assert types(team)[-1] == "scan_completed"
    until(lambda: f"process {service.process.pid} forwards" in cli("status").words)
    assert service.end(signal.SIGTERM) == 0


def test_check_refuses_a_spool_that_goes_with_its_container(
    cli: Callable[..., Result], waiting: Scanning, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sfwebhooks.system.file_system", lambda path: "overlay")
    for command in ("check", "doctor"):
        result = cli(command)
        assert result.code == 1
        assert f"spool = sqlite: {tmp_path} is on overlay" in result.words


def on_a_file(waiting: Scanning, team: Team, general: str = "") -> None:
    """Let the settings have no server any more."""
    waiting.configure(general, team=f"url = {team.url}\nevents = all, !surface_changed")


def test_what_earlier_settings_left_goes_to_the_file(
    cli: Callable[..., Result], waiting: Scanning, team: Team, caplog: pytest.LogCaptureFixture
) -> None:
    on_a_file(waiting, team)
    assert "5 events not forwarded" in cli("status").words
    assert "left by earlier settings, these have no spool = sqlite" in cli("doctor").words
    assert cli("drain", "--json").objects[0]["delivered"] == 5
    assert types(team)[-1] == "scan_completed"
    path = waiting.folder / "webhooks"
    assert (
        f"5 events left in {path}-spool.db by settings with outbox 127.0.0.1:9/hooks; forwarding to outbox"
        in caplog.text
    )
    status = cli("status")
    assert (status.code, "pool" in status.out) == (0, False)


def test_a_scan_forwards_what_earlier_settings_left(waiting: Scanning, team: Team) -> None:
    on_a_file(waiting, team)
    scan = Scanning(waiting.folder, "5C4A0002")
    scan.begin()
    scan.find(2)
    scan.finish()
    assert types(team).count("scan_completed") == 2
    assert len(team.wait_for(9)) == 9


def test_run_forwards_what_earlier_settings_left(
    run: Callable[..., Run], cli: Callable[..., Result], waiting: Scanning, team: Team
) -> None:
    on_a_file(waiting, team)
    service = run()
    service.wait_for("by settings with outbox 127.0.0.1:9/hooks; forwarding to outbox")
    assert len(team.wait_for(5)) == 5
    assert service.end(signal.SIGTERM) == 0


def test_nothing_is_forwarded_while_webhooks_are_off_and_status_says_so(
    cli: Callable[..., Result], waiting: Scanning, team: Team
) -> None:
    on_a_file(waiting, team, "enabled = false")
    status = cli("status")
    assert status.code == 3
    assert "5 events not forwarded" in status.words
    assert "webhooks are off (enabled = false)" in status.words
    assert cli("drain").code == 1
    assert "5 events not forwarded" in cli("status").words


@slow
def test_what_was_to_go_to_another_server_goes_to_this_one(
    cli: Callable[..., Result], tmp_path: Path, postgres: Postgres, team: Team, caplog: pytest.LogCaptureFixture
) -> None:
    with postgres.database() as old, postgres.database() as new:
        scan = a_scan_of(tmp_path, old, team)
        scan.begin()
        scan.find(2)
        scan.finish()
        assert len(team.wait_for(4)) == 4
        a_scan_of(tmp_path, AWAY, team, "5C4A0002")
        second = Scanning(tmp_path, "5C4A0003")
        second.begin()
        second.find(1)
        second.finish()
        a_scan_of(tmp_path, new, team, "5C4A0004")
        assert cli("drain").code == 0
        assert "by settings with outbox" in caplog.text
        assert types(team).count("scan_completed") == 2
        assert PASSWORD not in caplog.text


def test_metrics_are_of_the_spool_while_the_server_is_away(cli: Callable[..., Result], waiting: Scanning) -> None:
    result = cli("metrics")
    assert result.code == 0
    lines = result.out.splitlines()
    assert "sfwebhooks_spool_waiting 5.0" in lines
    assert "sfwebhooks_spool_failing 1.0" in lines
    assert "sfwebhooks_spool_forwarded_total 0.0" in lines
    assert any(line.startswith("sfwebhooks_spool_last_error_timestamp_seconds") for line in lines)
    assert not any(line.startswith("sfwebhooks_deliveries_total") for line in lines), "0 would be a new counter"


def test_the_last_error_outlives_its_process_and_is_over(
    cli: Callable[..., Result], waiting: Scanning, team: Team
) -> None:
    on_a_file(waiting, team)
    before = cli("status", "--json").objects[-1]
    assert "Connection refused" in before["trouble"]
    assert before["needs_attention"] is True
    assert PASSWORD not in str(before)
    assert cli("drain").code == 0
    lines = cli("metrics").out.splitlines()
    assert not [line for line in lines if line.startswith("sfwebhooks_spool_failing 1")]
    assert "sfwebhooks_spool_forwarded_total 5.0" in lines
    assert any(line.startswith("sfwebhooks_spool_last_forwarded_timestamp_seconds") for line in lines)
