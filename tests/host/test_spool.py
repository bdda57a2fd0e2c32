"""Real scans with a spool in front of an outbox on PostgreSQL."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sfwebhooks.demo import scanner as host
from sfwebhooks.demo.certificates import Authority
from sfwebhooks.demo.site import FictionalWeb
from sfwebhooks.outbox.file import FILE, SPOOL_FILE
from sfwebhooks.outbox.spool import Spool
from sfwebhooks.receive.completeness import CompletenessCheck
from tests.host.conftest import SECRET, Scanner, Team, scan_process, stop_group, until
from tests.postgres import PASSWORD, Postgres
from tests.test_service import Run
from tests.tiers import slow

VARIABLE = "OUTBOX_DATABASE"


def settings(team: Team) -> str:
    return (
        f"[webhooks]\nenabled = true\noutbox = env:{VARIABLE}\nspool = sqlite\ndrain_timeout = 5s\n"
        f"[webhooks.team]\nurl = {team.receiver.url}\nsecret = {SECRET}\nevents = all, !surface_changed\n"
    )


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Run]]:
    """Start `run` on another machine: with a data folder of its own, and no SpiderFoot in it."""
    started: list[Run] = []

    def start(team: Team, dsn: str) -> Run:
        folder = tmp_path / "elsewhere"
        folder.mkdir()
        path = folder / "webhooks.ini"
        path.touch(0o600)
        path.write_text(settings(team), encoding="utf-8")
        monkeypatch.setenv(VARIABLE, dsn)
        started.append(Run(folder, more=["-v"]))
        started[-1].wait_for("sending")
        return started[-1]

    yield start
    for service in started:
        service.end(signal.SIGTERM)


def is_complete(team: Team) -> bool:
    check = CompletenessCheck()
    return any(", none missing" in str(check.enter(message) or "") for message in team.messages)


def left_in_spool(scanner: Scanner) -> int:
    with closing(Spool(scanner.home.data / SPOOL_FILE, listing=True)) as spool:
        return spool.backlog().waiting + spool.number_aside()


@slow
def test_a_scan_arrives_by_a_process_on_another_machine(
    scanner: Scanner, new_team: Callable[..., Team], postgres_dsn: str, elsewhere: Callable[..., Run]
) -> None:
    team = new_team(tls=False)
    service = elsewhere(team, postgres_dsn)
    first = scanner.command("test", "team", "--folder", str(scanner.folder / "elsewhere"), OUTBOX_DATABASE=postgres_dsn)
    assert first.returncode == 0, first.stdout + first.stderr
    scanner.configure(settings(team))
    code, log = scanner.scan(environment=scanner.environment(OUTBOX_DATABASE=postgres_dsn))
    assert code == 0, log
    until(team.ends)
    assert team.hashes() == scanner.hashes()
    assert team.ends() == ["scan_completed"]
    assert is_complete(team)
    assert not (scanner.home.data / FILE).exists()
    assert left_in_spool(scanner) == 0
    assert PASSWORD not in log + "".join(service.said)


@slow
def test_a_server_that_stops_during_a_scan_changes_nothing_in_it(
    scanner: Scanner, new_team: Callable[..., Team], own_server: Postgres
) -> None:
    team, dsn = new_team(tls=False), own_server.dsn("hooks")
    scanner.configure(settings(team))
    process = scanner.start(environment=scanner.environment(OUTBOX_DATABASE=dsn))
    until(lambda: team.got)
    own_server.stop()
    try:
        _, log = process.communicate(timeout=120)
        assert process.returncode == 0, log
        assert scanner.status() == "FINISHED"
        assert "left in the spool: outbox" in log
        assert "buffered in memory" not in log
        assert PASSWORD not in log
        assert team.ends() == []
    finally:
        stop_group(process)
        own_server.start()
    drained = scanner.command("drain", OUTBOX_DATABASE=dsn)
    assert drained.returncode == 0, drained.stdout + drained.stderr
    assert team.hashes_once() == scanner.hashes()
    assert team.ends() == ["scan_completed"]
    assert is_complete(team)
    assert left_in_spool(scanner) == 0


@slow
def test_what_a_killed_scanner_had_accepted_arrives_and_its_end_once(
    scanner: Scanner, new_team: Callable[..., Team], own_server: Postgres
) -> None:
    team, dsn = new_team(tls=False), own_server.dsn("hooks")
    scanner.configure(settings(team))
    process = scanner.start(environment=scanner.environment(OUTBOX_DATABASE=dsn))
    until(lambda: len(team.got) > 5)
    own_server.stop()  # what is accepted from now on is in the spool only
    try:
        before = left_in_spool(scanner)
        until(lambda: left_in_spool(scanner) > before + 5)
        os.kill(scan_process(process.pid), signal.SIGKILL)
    finally:
        stop_group(process)
        own_server.start()
    with closing(Spool(scanner.home.data / SPOOL_FILE, listing=True)) as spool:
        accepted = {one.event.data["hash"] for one in spool.first(10_000) if "hash" in one.event.data}
    assert accepted
    for _ in range(2):
        drained = scanner.command("drain", OUTBOX_DATABASE=dsn)
        assert drained.returncode == 0, drained.stdout + drained.stderr
    assert accepted <= {*team.hashes_once()}
    assert {*scanner.hashes()} <= {*team.hashes_once()}
    assert team.ends() == ["scan_failed"]
    assert left_in_spool(scanner) == 0


@slow
def test_a_scan_in_a_folder_that_is_lost_with_the_machine_sends_nothing_and_says_why(
    ca: Authority, new_team: Callable[..., Team], postgres_dsn: str
) -> None:
    team = new_team(tls=False)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name, FictionalWeb() as site:
        scanner = Scanner(host.prepare(Path(name) / "home", site.port), ca, Path(name))
        scanner.configure(settings(team))
        code, log = scanner.scan(environment=scanner.environment(OUTBOX_DATABASE=postgres_dsn))
        assert code == 0, log
        assert scanner.hashes()
        assert f"{scanner.home.data} is on tmpfs and is lost with its container or machine" in log
        assert "sfwebhooks backfill sends this scan later" in log
        assert team.got == []
        assert not (scanner.home.data / SPOOL_FILE).exists()
        check = scanner.command("check", OUTBOX_DATABASE=postgres_dsn)
        assert check.returncode == 1
        assert "is on tmpfs" in " ".join(check.stdout.split())
