"""Scans with `spool = sqlite`: they accept into a local file, from which their events are forwarded to PostgreSQL."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

import sfwebhooks
from sfwebhooks.config.settings import load
from sfwebhooks.delivery.process import DeliveryProcess, service_lock, service_pid
from sfwebhooks.errors import NO_MEMORY
from sfwebhooks.outbox.file import FILE, SPOOL_FILE
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.postgres.dsn import local_path
from sfwebhooks.outbox.spool import Spool, over
from sfwebhooks.scan.findings import event_of_finding
from sfwebhooks.scan.forwarder import Forwarder
from sfwebhooks.scan.parentage import own_mark
from sfwebhooks.scan.recovery import report_dead_scans
from sfwebhooks.scan.run import ScanRun
from sfwebhooks.screening import Screen
from tests.builders import PATIENCE, a_finding
from tests.conftest import Team, senders
from tests.postgres import PASSWORD, Postgres, stopped
from tests.scanning import Scanning
from tests.threads import until
from tests.tiers import slow

#: nothing listens there
AWAY = "postgresql://scanner@127.0.0.1:9/hooks"
#: the name of its thread
FORWARDER = "webhooks-forwarder"


@pytest.fixture(autouse=True)
def _quick_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is back is used soon."""
    monkeypatch.setattr("sfwebhooks.scan.run.ROUND_SECONDS", 0.05)
    monkeypatch.setattr("sfwebhooks.scan.forwarder.AGAIN_SECONDS", 0.05)
    monkeypatch.setattr("sfwebhooks.scan.forwarder.AGAIN_MOST_SECONDS", 0.05)
    monkeypatch.setattr("sfwebhooks.outbox.postgres.server.AGAIN_SECONDS", 0.05)
    monkeypatch.setattr("sfwebhooks.outbox.postgres.lock_session.AGAIN_SECONDS", 0.05)


def a_scan_of(folder: Path, dsn: str, team: Team, id: str = "5C4A0001") -> Scanning:
    folder.mkdir(exist_ok=True)
    scan = Scanning(folder, id)
    scan.configure(f"outbox = {dsn}\nspool = sqlite", team=f"url = {team.url}\nevents = all, !surface_changed")
    return scan


def types(team: Team) -> list[str]:
    return [received.message["event_type"] for received in team.got]


def numbers(team: Team, scan: Scanning) -> list[int]:
    """Return the numbers of a scan's messages, in order; each message once."""
    its = {one.message["metadata"]["event_id"]: one.message["metadata"]["sequence"] for one in team.got
           if one.message["data"]["scan_id"] == scan.scan.id}  # fmt: skip
    return sorted(its.values())


def spoil_file(path: Path) -> None:
    """Overwrite all pages of a file that others have open, and let them forget those that they know."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=PATIENCE)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("PRAGMA user_version = 7")
        path.write_bytes(b"garbage!" * (path.stat().st_size // 8))
        connection.execute("COMMIT")  # the first page is right again, in the log


def a_forwarder(scan: Scanning) -> Forwarder:
    settings = load(scan.folder / "webhooks.ini")
    return Forwarder(scan.folder / SPOOL_FILE, settings.place(scan.folder), settings)


def test_a_scan_accepts_into_its_file_and_is_forwarded(tmp_path: Path, postgres_dsn: str, team: Team) -> None:
    scan = a_scan_of(tmp_path, postgres_dsn, team)
    scan.begin()
    scan.find(3)
    scan.finish()
    assert sorted(types(team)) == [*["high_risk_event"] * 3, "scan_completed", "scan_started"]
    assert types(team)[-1] == "scan_completed"
    assert numbers(team, scan) == [1, 2, 3, 4, 5]
    assert not (tmp_path / FILE).exists()
    with closing(Spool(tmp_path / SPOOL_FILE)) as spool:
        assert spool.first(1) == []
        assert spool.outbox.scans.scan(scan.scan.id) is None


def test_findings_wait_on_disk_while_the_server_is_away(
    tmp_path: Path, own_server: Postgres, team: Team, caplog: pytest.LogCaptureFixture
) -> None:
    scan = a_scan_of(tmp_path, own_server.dsn("hooks"), team)
    with stopped(own_server):
        scan.begin()
        scan.find(3)
        assert scan.run
        assert not scan.run._trouble
        assert len(scan.run._pending) == 0
        until(lambda: "events wait in the spool" in caplog.text)
    team.wait_for(4)
    scan.find(2)
    scan.finish()
    assert types(team).count("high_risk_event") == 5
    assert types(team)[-1] == "scan_completed"
    assert PASSWORD not in caplog.text


def test_a_scan_that_never_reaches_the_server_is_forwarded_later(
    tmp_path: Path, own_server: Postgres, team: Team, caplog: pytest.LogCaptureFixture
) -> None:
    scan = a_scan_of(tmp_path, own_server.dsn("hooks"), team)
    with stopped(own_server):
        scan.begin()
        scan.find(3)
        scan.finish()
        assert "5 events of this scan left in the spool: outbox" in caplog.text
    forwarder = a_forwarder(scan)
    while forwarder.step():
        pass
    forwarder.stop(0.0)
    with closing(Outbox(load(tmp_path / "webhooks.ini").place(tmp_path))) as outbox:
        assert outbox.scans.scan(scan.scan.id) == (scan.scan, "scan_completed")
        assert outbox.scans.number_found(scan.scan.id) == 3
    assert team.got == []


def test_a_scan_in_a_spool_is_not_dead_for_others(tmp_path: Path, postgres_dsn: str, team: Team) -> None:
    scan = a_scan_of(tmp_path, postgres_dsn, team)
    run = scan.begin()
    scan.find(1)
    team.wait_for(2)
    settings = load(tmp_path / "webhooks.ini")
    with closing(Outbox(settings.place(tmp_path))) as outbox:
        assert not outbox.locks.scan(scan.scan.id).is_free
        assert report_dead_scans(outbox, settings) == 0
        scan.finish()
        assert outbox.locks.scan(scan.scan.id).is_free
    assert types(team)[-1] == "scan_completed"
    assert run


def test_a_damaged_event_does_not_hold_up_the_others(
    tmp_path: Path, own_server: Postgres, team: Team, caplog: pytest.LogCaptureFixture
) -> None:
    scan = a_scan_of(tmp_path, own_server.dsn("hooks"), team)
    with stopped(own_server):
        scan.begin()
        scan.find(3)
        scan.finish()
        with closing(sqlite3.connect(tmp_path / SPOOL_FILE)) as spool, spool:
            spool.execute("UPDATE event SET data = x'00ff' WHERE number = 2")
            spool.execute("UPDATE event SET id = 'short' WHERE number = 3")
    forwarder = a_forwarder(scan)
    forwarder.start()
    until(lambda: not forwarder.has_work)
    assert forwarder.stop(5.0)
    assert "2 events in the spool were damaged" in caplog.text
    with closing(Outbox(load(tmp_path / "webhooks.ini").place(tmp_path))) as outbox:
        assert outbox.scans.number_found(scan.scan.id) == 3
        assert outbox.scans.scan(scan.scan.id) == (scan.scan, "scan_completed")


def test_a_spool_that_is_corrupt_is_set_aside_and_the_scan_is_complete(
    tmp_path: Path, own_server: Postgres, team: Team, caplog: pytest.LogCaptureFixture
) -> None:
    scan = a_scan_of(tmp_path, own_server.dsn("hooks"), team)
    with stopped(own_server):
        scan.begin()
        scan.find(3)
        spoil_file(tmp_path / SPOOL_FILE)
        scan.find(2)
    forwarder = scan.run and scan.run._intake._forwarder
    until(lambda: forwarder and not forwarder.trouble)
    scan.finish()
    assert types(team).count("high_risk_event") == 5
    assert types(team).count("scan_completed") == 1
    assert sorted(team.sequences) == [*range(1, len(team.got) + 1)]
    assert "it was set aside as" in caplog.text
    assert f"the spool {tmp_path / SPOOL_FILE} was lost" in caplog.text


def test_a_scan_that_was_lost_with_the_spool_is_dead_at_once(tmp_path: Path, postgres_dsn: str, team: Team) -> None:
    scan = a_scan_of(tmp_path, postgres_dsn, team)
    run = scan.begin()
    scan.find(1)
    team.wait_for(2)
    scan.vanish()
    settings = load(tmp_path / "webhooks.ini")
    with closing(Spool(tmp_path / SPOOL_FILE)) as spool:
        spool.accept([event_of_finding(a_finding(hash="late"), scan.scan, "")], Screen(settings.endpoints), 1.0)
    forwarder = a_forwarder(scan)
    forwarder.start()
    until(lambda: not forwarder.has_work)
    run._lock.release()
    spoil_file(tmp_path / SPOOL_FILE)
    with closing(Outbox(settings.place(tmp_path))) as outbox:
        until(lambda: outbox.locks.scan(scan.scan.id).is_free)
    assert forwarder.stop(5.0)


def test_the_trouble_of_the_process_before_is_not_that_of_this_one(
    tmp_path: Path, postgres_dsn: str, team: Team
) -> None:
    scan = a_scan_of(tmp_path, AWAY, team)
    scan.begin()
    scan.find(1)
    scan.finish()
    a_scan_of(tmp_path, postgres_dsn, team, "5C4A0002")
    owner, other = a_forwarder(scan), a_forwarder(scan)
    assert "Connection refused" in other.trouble
    with owner._guard:  # it has not forwarded anything yet
        owner.start()
        until(lambda: other.spool.sender and not other.trouble)
        assert "Connection refused" in other.spool.forwarding().last_error
    assert owner.stop(PATIENCE)
    other.stop(0.0)


def test_a_server_that_lost_a_scan_learns_of_it_again(tmp_path: Path, postgres: Postgres, team: Team) -> None:
    with postgres.database() as old, postgres.database() as new:
        scan = a_scan_of(tmp_path, old, team)
        scan.begin()
        scan.find(2)
        team.wait_for(3)
        scan.configure(f"outbox = {new}\nspool = sqlite", team=f"url = {team.url}\nevents = all, !surface_changed")
        scan.vanish()
        settings = load(tmp_path / "webhooks.ini")
        with closing(Spool(tmp_path / SPOOL_FILE)) as spool:
            only_here = event_of_finding(a_finding(hash="other"), scan.scan, "")
            assert spool.accept([only_here], Screen(settings.endpoints), 1.0) == 1
            assert spool.end(over(scan.scan, 2.0), 2.0)
        scan.finish_in_host()
        forwarder = a_forwarder(scan)
        while forwarder.step():
            pass
        forwarder.stop(0.0)
        with closing(Outbox(settings.place(tmp_path))) as outbox:
            assert outbox.scans.scan(scan.scan.id) == (scan.scan, "scan_completed")
            assert outbox.scans.number_found(scan.scan.id) == 3


def test_late_events_of_a_disabled_configuration_stay(tmp_path: Path, postgres_dsn: str, team: Team) -> None:
    scan = a_scan_of(tmp_path, "postgresql://scanner@127.0.0.1:9/hooks", team)
    scan.begin()
    scan.find(2)
    scan.finish()
    for general, left in (("enabled = false", 4), ("", 0)):
        lines = f"url = {team.url}\nevents = all, !surface_changed"
        scan.configure(f"outbox = {postgres_dsn}\nspool = sqlite\n{general}", team=lines)
        forwarder = a_forwarder(scan)
        while forwarder.step():
            pass
        assert forwarder.waiting == left
        forwarder.stop(0.0)


@slow
def test_the_delivery_process_forwards_and_sends(
    tmp_path: Path, own_server: Postgres, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(sfwebhooks.__file__).parent.parent))
    scan, shim = a_scan_of(tmp_path, own_server.dsn("hooks"), team), tmp_path / "shim.py"
    shim.touch()
    settings = load(tmp_path / "webhooks.ini")
    scan.run = ScanRun(scan.scan, settings, tmp_path, delivery=DeliveryProcess(settings, tmp_path, str(shim)))
    scan.run.begin()
    run = scan.run
    until(lambda: run._leaves)
    with stopped(own_server):
        scan.find(20)
    scan.find(20)
    scan.finish()
    try:
        until(lambda: "scan_completed" in types(team), seconds=2 * PATIENCE)
        assert numbers(team, scan) == [*range(1, 43)]
        assert len(team.got) == 42
    finally:
        shim.unlink()  # with which that process ends
        until(lambda: not service_pid(service_lock(local_path(settings.place(tmp_path)))))


def test_a_scan_whose_process_died_is_reported_by_the_next_scan(tmp_path: Path, postgres_dsn: str, team: Team) -> None:
    first = a_scan_of(tmp_path, postgres_dsn, team)
    run = first.begin()
    first.find(2)
    team.wait_for(3)
    first.vanish()
    run._lock.release()
    second = Scanning(tmp_path, "5C4A0002")
    second.begin()
    until(lambda: "scan_failed" in types(team))
    second.finish()
    (end,) = (one.message["data"] for one in team.got if one.message["event_type"] == "scan_failed")
    assert (end["scan_id"], end["reason"], end["events_found"]) == ("5C4A0001", "process_died", 2)
    assert numbers(team, first) == [1, 2, 3, 4]


def test_a_scan_that_was_stopped_with_its_host_is_reported_as_aborted(
    tmp_path: Path, postgres_dsn: str, team: Team
) -> None:
    scan = a_scan_of(tmp_path, "postgresql://scanner@127.0.0.1:9/hooks", team)
    run = scan.begin()
    scan.find(2)
    scan.vanish()
    run._lock.release()
    scan.configure(f"outbox = {postgres_dsn}\nspool = sqlite", team=f"url = {team.url}\nevents = all, !surface_changed")
    forwarder = a_forwarder(scan)
    forwarder.forward_here(float("inf"), {own_mark()})
    forwarder.stop(0.0)
    with closing(Outbox(load(tmp_path / "webhooks.ini").place(tmp_path))) as outbox:
        assert outbox.scans.scan(scan.scan.id) == (scan.scan, "scan_aborted")
        assert outbox.scans.number_found(scan.scan.id) == 2


def test_a_secret_in_the_error_of_a_scan_is_not_in_the_spool(tmp_path: Path, team: Team) -> None:
    scan = a_scan_of(tmp_path, "postgresql://scanner@127.0.0.1:9/hooks", team)
    lines = f"url = {team.url}\nsecret = a secret of the team\nevents = all"
    scan.configure("outbox = postgresql://scanner@127.0.0.1:9/hooks\nspool = sqlite", team=lines)
    scan.begin()
    scan.finish("ERROR-FAILED", "it failed with a secret of the team")
    with closing(Spool(tmp_path / SPOOL_FILE)) as spool:
        end = spool.first(10)[-1].event
        assert end.data["error"].startswith("it failed with")
        assert "a secret of the team" not in end.data["error"]


def test_a_forwarder_for_which_there_is_no_thread_starts_with_the_next_call(
    tmp_path: Path, postgres_dsn: str, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    forwarder = a_forwarder(a_scan_of(tmp_path, postgres_dsn, team))
    until(lambda: FORWARDER not in senders())  # that of the test before

    def none(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr("threading.Thread.start", none)
        forwarder.start()
    assert FORWARDER not in senders()
    forwarder.start()
    assert senders().count(FORWARDER) == 1
    assert forwarder.stop(PATIENCE)


def test_a_process_without_memory_forwards_once_it_has_some(
    tmp_path: Path, postgres_dsn: str, team: Team, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    scan = a_scan_of(tmp_path, postgres_dsn, team)

    def none(*_: object, **__: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr("sfwebhooks.pipeline.accept", none)
        scan.begin()
        scan.find(1)
        until(lambda: f"{NO_MEMORY}; events wait in the spool" in caplog.text)
    scan.finish()
    assert "bug" not in caplog.text
    assert numbers(team, scan) == [1, 2, 3]
