"""A scan of this process while its outbox is in trouble. What the real scanner does with it is in tests/host."""

from __future__ import annotations

import logging
import os
import re
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable

import pytest

from sfwebhooks.config.options import GENERAL_OPTIONS
from sfwebhooks.config.settings import load_mapping
from sfwebhooks.delivery.dispatcher import REST_SHARE
from sfwebhooks.delivery.process import DeliveryProcess, note_service, service_lock
from sfwebhooks.errors import HostDatabaseError, OutboxBusyError
from sfwebhooks.events import finding_id
from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.locks import Lock as KernelLock
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.permissions import LOCKS
from sfwebhooks.outbox.postgres.dsn import Dsn, Place, local_path
from sfwebhooks.receive.completeness import Account, CompletenessCheck
from sfwebhooks.scan.findings import Source
from sfwebhooks.scan.host_log import LISTENERS, listen, stop_listening
from sfwebhooks.scan.outbox_failure import EVENTS_MAX
from sfwebhooks.scan.parentage import own_mark
from sfwebhooks.scan.recovery import replay_scan, report_dead_scans
from sfwebhooks.scan.run import HOST_PATIENCE_SECONDS, ScanRun
from sfwebhooks.screening import Wanted
from tests.builders import NOW, PATIENCE, a_finding, a_host_database, a_scan, an_event
from tests.conftest import Gate, Team, senders, sql
from tests.stores import BOTH, Locked, place_in
from tests.threads import waits_for

STORES = BOTH
pytestmark = pytest.mark.usefixtures("store")

#: seconds that a statement waits for another process's write in these tests
BUSY = 0.1


@pytest.fixture(autouse=True)
def _impatient(store: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = "postgres.server.LOCK_SECONDS" if isinstance(store, Dsn) else "opening.BUSY_SECONDS"
    monkeypatch.setattr(f"sfwebhooks.outbox.{seconds}", BUSY)


@pytest.fixture
def quick_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scan's background work looks often whether the outbox can be written again."""
    monkeypatch.setattr("sfwebhooks.scan.run.ROUND_SECONDS", 0.05)


class Said(logging.Handler):
    """What the log says, and waiting for it."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self._news = threading.Condition()

    def emit(self, record: logging.LogRecord) -> None:
        with self._news:
            self.lines.append(record.getMessage())
            self._news.notify_all()

    def wait_for(self, words: str, times: int = 1) -> str:
        """Return the first line with these words once so many are there."""
        with self._news:
            assert self._news.wait_for(lambda: len(self.of(words)) >= times, PATIENCE), f"{words!r}: {self.lines}"
            return self.of(words)[0]

    def of(self, words: str) -> list[str]:
        """Return the lines with these words."""
        return [line for line in self.lines if words in line]


@pytest.fixture
def said() -> Iterator[Said]:
    handler, logger = Said(), logging.getLogger("spiderfoot.webhooks")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)


class Host:
    """A scan as the host has it: what its modules find goes into its database, and to us."""

    def __init__(self, folder: Path, run: ScanRun) -> None:
        self.run = run
        self._database = folder / "spiderfoot.db"
        self.hashes: list[str] = []

    def find(self, count: int, received: bool = True, data: str = "d") -> None:
        """Find something; we do not get it if the host dropped it on the way."""
        start = len(self.hashes)
        self.hashes += [f"hash-{number}" for number in range(start, start + count)]
        columns = (NOW, 100, 100, 0, "m", data, 0, "ROOT")
        rows = [(self.run.scan.id, name, "VULNERABILITY_CVE_HIGH", *columns) for name in self.hashes[start:]]
        with closing(sqlite3.connect(self._database)) as connection, connection:
            connection.executemany(f"INSERT INTO tbl_scan_results VALUES ({','.join('?' * 11)})", rows)
        for name in self.hashes[start:] if received else ():
            self.run.accept(a_finding(hash=name, data=data))

    def finish(self, ago: float = 0.0) -> None:
        """End the scan; the host did so some seconds ago."""
        with closing(sqlite3.connect(self._database)) as connection, connection:
            connection.execute(
                "UPDATE tbl_scan_instance SET status = 'FINISHED', ended = ?", ((time.time() - ago) * 1000,)
            )
        self.run.end()


@pytest.fixture
def host(tmp_path: Path, team: Team) -> Callable[..., Host]:
    """Begin a scan: `host(key=value ...)`, with keys of its endpoint, which gets one message after the other.

    Args:
        leaves: whether it leaves sending to a delivery process, if there is one.
    """

    def begin(leaves: bool = False, **keys: Any) -> Host:
        scan = a_scan(database=str(tmp_path / "spiderfoot.db"))
        a_host_database(tmp_path / "spiderfoot.db", scan)
        general = {key: keys.pop(key) for key in list(keys) if key in GENERAL_OPTIONS}
        settings = load_mapping(
            {"team": {"url": team.url, "events": "all, !surface_changed", "concurrency": "1", **keys}, **general}
        )
        assert settings.mistakes == ()
        delivery = DeliveryProcess(settings, tmp_path, "") if leaves else None
        made = Host(tmp_path, ScanRun(scan, settings, tmp_path, delivery=delivery))
        made.run.begin()
        return made

    return begin


def names(team: Team) -> list[str]:
    return [
        received.message["event_type"]
        for received in sorted(team.got, key=lambda one: one.message["metadata"]["sequence"])
    ]


def found(team: Team) -> set[str]:
    """Return the event ids of the findings that came."""
    return {one.message["metadata"]["event_id"] for one in team.got if "hash" in one.message["data"]}


def expected(host: Host) -> set[str]:
    return {finding_id(host.run.scan.id, name) for name in host.hashes}


def trouble_that_lasts(run: ScanRun, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the outbox of a scan be in trouble, whatever its background work finds."""
    monkeypatch.setattr(run, "_flush_pending", lambda: None)
    run._trouble = "database is locked"


@pytest.fixture
def fail() -> Iterator[Callable[[], None]]:
    """Let a module of the host log an error."""
    listen(a_scan().id, {"__modules__": {}})
    yield lambda: logging.getLogger("spiderfoot.sfp_x").error("it does not work")
    stop_listening(a_scan().id)


def locked_in(folder: Path) -> Locked:
    """Lock the outbox of a folder."""
    found = Locked(place_in(folder))
    found.lock()
    return found


def test_a_scan_is_reported_from_its_start_to_its_end(host: Callable[..., Host], team: Team) -> None:
    scan = host()
    scan.find(3)
    scan.finish()
    assert names(team) == ["scan_started", *["high_risk_event"] * 3, "scan_completed"]


def test_the_last_line_promises_nothing_to_an_endpoint_that_is_held(
    host: Callable[..., Host], team: Team, said: Said
) -> None:
    team.answer = 401
    scan = host(drain_timeout="60s")  # it ends once the third one is refused
    scan.find(1)
    scan.finish()
    [line] = said.of(" delivered, ")
    assert re.search(
        r" 0 delivered, 3 waiting \(3 for team: held, http_401, unhealthy since 20\S+ \S+ UTC\), 0 dead$", line
    )


def test_the_last_line_says_what_drain_delivers(host: Callable[..., Host], team: Team, said: Said) -> None:
    team.answer = 503
    scan = host(events="scan_started")
    team.wait_for(1)
    scan.finish()
    left = "1 waiting (no process is sending now, sfwebhooks drain delivers them)"
    assert said.of(" delivered, ") == [f"webhooks: 0 delivered, {left}, 0 dead"]


@pytest.mark.usefixtures("quick_rounds")
def test_what_is_found_while_the_outbox_is_locked_waits_in_memory(
    host: Callable[..., Host], team: Team, tmp_path: Path, said: Said
) -> None:
    scan = host()
    team.wait_for(1)
    lock = locked_in(tmp_path)
    scan.find(5)
    said.wait_for("events are buffered in memory")
    lock.free()
    said.wait_for("the outbox can be written again")
    scan.finish()
    assert (found(team), names(team)[-1]) == (expected(scan), "scan_completed")


def test_a_module_that_fails_is_reported(host: Callable[..., Host], team: Team, fail: Callable[[], None]) -> None:
    fail()
    scan = host()
    scan.find(1)
    fail()
    scan.finish()
    assert sorted(names(team)[1:-1]) == ["high_risk_event", "module_error"]
    assert (names(team)[0], names(team)[-1]) == ("scan_started", "scan_completed")


def test_modules_that_lack_a_setting_are_reported_once_with_the_end(
    host: Callable[..., Host], team: Team, fail: Callable[[], None]
) -> None:
    scan = host()
    for name in ("sfp_x", "sfp_y"):
        logging.getLogger(f"spiderfoot.{name}").error(f"You enabled {name} but did not set an API key!")
    scan.finish()
    assert names(team) == ["scan_started", "module_error", "scan_completed"]
    error, end = (next(one.message["data"] for one in team.got if one.message["event_type"] == name)
                  for name in ("module_error", "scan_completed"))  # fmt: skip
    assert error["modules"] == end["modules_failed"] == ["sfp_x", "sfp_y"]


def test_a_scan_that_is_deleted_while_it_runs_was_aborted_and_what_was_accepted_counts(
    host: Callable[..., Host], team: Team, tmp_path: Path
) -> None:
    scan = host()
    scan.find(5)
    with closing(sqlite3.connect(tmp_path / "spiderfoot.db")) as connection, connection:
        for table in ("tbl_scan_instance", "tbl_scan_results"):
            connection.execute(f"DELETE FROM {table}")
    scan.finish()
    assert names(team)[-1] == "scan_aborted"
    end = next(one.message["data"] for one in team.got if one.message["event_type"] == "scan_aborted")
    assert (end["events_found"], end["high_risk_events"], "detected_late" in end) == (5, 5, False)
    assert end["receipt"]["not_wanted"] == 0


@pytest.mark.usefixtures("quick_rounds")
def test_a_module_that_fails_while_the_outbox_is_locked_is_reported_later(
    host: Callable[..., Host], team: Team, tmp_path: Path, said: Said, fail: Callable[[], None]
) -> None:
    scan = host()
    team.wait_for(1)
    lock = locked_in(tmp_path)
    scan.find(1)
    said.wait_for("events are buffered in memory")
    fail()
    lock.free()
    scan.finish()
    assert names(team).count("module_error") == 1


@pytest.mark.usefixtures("quick_rounds")
def test_that_it_was_locked_is_reported(host: Callable[..., Host], team: Team, tmp_path: Path, said: Said) -> None:
    scan = host()
    team.wait_for(1)
    lock = locked_in(tmp_path)
    scan.find(1)
    said.wait_for("events are buffered in memory")
    lock.free()
    said.wait_for("the outbox can be written again")
    scan.finish()
    (warning,) = (one.message for one in team.got if one.message["event_type"] == "resource_warning")
    assert (warning["data"]["resource"], "locked" in warning["data"]["message"]) == ("disk", True)


@pytest.mark.usefixtures("quick_rounds")
def test_that_it_was_locked_is_not_reported_each_time(
    host: Callable[..., Host], team: Team, tmp_path: Path, said: Said
) -> None:
    scan = host()
    team.wait_for(1)
    for times in (1, 2):
        lock = locked_in(tmp_path)
        scan.find(1)
        lock.free()
        said.wait_for("the outbox can be written again", times)
    scan.finish()
    (warning,) = (one.message["data"] for one in team.got if one.message["event_type"] == "resource_warning")
    assert warning["value"] >= BUSY
    assert found(team) == expected(scan)


@pytest.mark.slow
def test_an_end_waits_for_the_hosts_database(host: Callable[..., Host], team: Team, tmp_path: Path) -> None:
    scan = host(drain_timeout="20s")
    scan.find(3, received=False)
    with closing(sqlite3.connect(tmp_path / "spiderfoot.db", isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN EXCLUSIVE")
        release = threading.Timer(7, lambda: other.execute("ROLLBACK"))  # SQLite itself waits for 5 s
        release.start()
        scan.run.end()
        release.join()
    assert found(team) == expected(scan)
    assert names(team)[-1] == "scan_failed"


@pytest.mark.usefixtures("quick_rounds")
def test_what_has_no_room_in_memory_comes_from_the_hosts_database(
    host: Callable[..., Host], team: Team, tmp_path: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sfwebhooks.scan.outbox_failure.EVENTS_MAX", 3)
    assert EVENTS_MAX > 3
    scan = host()
    team.wait_for(1)
    lock = locked_in(tmp_path)
    scan.find(10)
    lock.free()
    line = said.wait_for("the outbox can be written again")
    assert "7 events will be sent later, from SpiderFoot's database" in line
    scan.finish()
    assert found(team) == expected(scan)


def test_what_the_host_dropped_on_the_way_comes_from_its_database(host: Callable[..., Host], team: Team) -> None:
    scan = host()
    scan.find(2)
    scan.find(4, received=False)
    scan.finish()
    assert (found(team), names(team)[-1]) == (expected(scan), "scan_completed")


def wait_for_progress(team: Team) -> list[str]:
    """Return the names of what came, once there is progress among it."""
    count = 0
    while "scan_progress" not in names(team):
        count = len(team.wait_for(count + 1))
    return names(team)


def test_progress_is_reported_between_beginning_and_end(host: Callable[..., Host], team: Team) -> None:
    scan = host(progress_interval="0.001s")
    assert wait_for_progress(team)[0] == "scan_started"
    scan.find(2)
    scan.finish()
    assert (names(team)[0], names(team)[-1], names(team).count("scan_completed")) == (
        *("scan_started", "scan_completed"),
        1,
    )


def test_progress_waits_for_the_beginning_while_the_outbox_is_locked(
    host: Callable[..., Host], team: Team, tmp_path: Path, said: Said
) -> None:
    Outbox(place_in(tmp_path), accepting=True).accept([], NOW)
    lock = locked_in(tmp_path)
    scan = host(progress_interval="0.001s")
    said.wait_for("events are buffered in memory")
    lock.free()
    wait_for_progress(team)
    scan.finish()
    assert (names(team)[0], names(team)[-1]) == ("scan_started", "scan_completed")


def test_progress_that_was_looked_up_while_the_scan_ended_is_not_reported(
    host: Callable[..., Host], team: Team, tmp_path: Path
) -> None:
    scan = host(progress_interval="0.001s")
    wait_for_progress(team)
    scan.finish()
    scan.run._report_progress()  # as the keeper does whose read took long
    received = sql(Outbox(place_in(tmp_path)), "SELECT name FROM delivery ORDER BY number DESC LIMIT 1")
    assert received == [("scan_completed",)]


def test_the_log_is_written_back_meanwhile(host: Callable[..., Host], monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit of an event does not do it: it has to be quick."""
    scan, written = host(), threading.Event()
    monkeypatch.setattr(scan.run._dispatcher.outbox.database, "checkpoint", written.set)
    assert written.wait(PATIENCE)
    scan.finish()


def test_the_lock_of_a_scan_says_whose_it_is(host: Callable[..., Host], tmp_path: Path) -> None:
    scan = host()
    noted = Outbox(place_in(tmp_path)).locks.scan(scan.run.scan.id).noted()
    assert noted == f"{own_mark()} {scan.run.terms.settings.digest} {os.getpid()}"
    scan.finish()


def test_the_lock_of_a_scan_that_has_ended_is_not_taken_again(host: Callable[..., Host], said: Said) -> None:
    scan = host()
    scan.finish()
    scan.run._hold()
    assert (scan.run._lock.held, said.of("created again")) == (False, [])


@pytest.mark.parametrize("trouble", [False, True])
def test_no_progress_is_reported_without_any_or_while_the_outbox_is_in_trouble(
    host: Callable[..., Host], team: Team, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: bool
) -> None:
    scan = host(progress_interval="1h")
    progress = an_event(type="scan_progress", scan=scan.run.scan) if trouble else None
    if trouble:
        trouble_that_lasts(scan.run, monkeypatch)
    monkeypatch.setattr(scan.run, "_progress", SimpleNamespace(look=lambda now: progress))
    scan.run._report_progress()
    assert sql(Outbox(place_in(tmp_path)), "SELECT name FROM delivery WHERE name = 'scan_progress'") == []
    scan.run._trouble = ""
    scan.finish()


def test_progress_waits_while_the_end_is_written(
    host: Callable[..., Host], team: Team, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = host(progress_interval="1h")
    progress = an_event(type="scan_progress", scan=scan.run.scan)
    monkeypatch.setattr(scan.run, "_progress", SimpleNamespace(look=lambda now: progress))
    with scan.run._flushing:
        thread = threading.Thread(target=scan.run._report_progress)
        thread.start()
        thread.join(0.2)
        assert thread.is_alive(), "it waits"
        scan.run._ended.set()
    thread.join(PATIENCE)
    assert sql(Outbox(place_in(tmp_path)), "SELECT name FROM delivery WHERE name = 'scan_progress'") == []
    scan.run._ended.clear()
    scan.finish()


@pytest.mark.sqlite("the file is lost")
def test_progress_after_the_outbox_was_lost_begins_the_scan_in_the_new_one(
    host: Callable[..., Host], team: Team, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = host(progress_interval="1h")
    team.wait_for(1)
    progress = an_event(type="scan_progress", scan=scan.run.scan)
    monkeypatch.setattr(scan.run, "_progress", SimpleNamespace(look=lambda now: progress))
    for suffix in ("", "-wal", "-shm"):
        (tmp_path / f"{FILE}{suffix}").unlink(missing_ok=True)
    scan.run._report_progress()
    assert sql(Outbox(place_in(tmp_path)), "SELECT name FROM delivery ORDER BY number")[:1] == [("scan_started",)]
    scan.finish()


@pytest.mark.parametrize("keys", [{"progress_interval": "0"}, {"events": "all, !scan_progress"}])
def test_progress_that_nobody_wants_needs_no_look_at_the_hosts_database(
    keys: dict[str, str], host: Callable[..., Host], team: Team
) -> None:
    scan = host(**keys)
    assert scan.run._progress is None
    scan.finish()


def receipt_of(team: Team) -> dict[str, Any]:
    """Return what came with the scan's end."""
    (receipt,) = (one.message["data"]["receipt"] for one in team.got if one.message["event_type"] == "scan_completed")
    return dict(receipt)


def assert_proven(team: Team) -> Account:
    """Check that the receiver knows by the numbers that it has all; return its account."""
    check = CompletenessCheck()
    *_, account = (account for one in team.got if (account := check.enter(one.message)))
    assert account.complete, str(account)
    return account


def take_away(folder: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        (folder / f"{FILE}{suffix}").unlink(missing_ok=True)


@pytest.mark.sqlite("the file is damaged")
def test_a_scan_whose_outbox_becomes_corrupt_is_reported_completely(
    host: Callable[..., Host], team: Team, tmp_path: Path, said: Said
) -> None:
    scan = host()
    scan.find(3)
    team.wait_for(4)
    for _ in range(50):  # a sender may make a new one between the two steps
        take_away(tmp_path)
        (tmp_path / FILE).write_bytes(b"rubbish" * 2000)
        scan.find(1)
        if any("is corrupt" in line for line in said.lines):
            break
    said.wait_for("is corrupt")
    scan.finish()
    assert found(team) == expected(scan)
    assert names(team).count("scan_completed") == 1
    assert_proven(team)
    assert list(tmp_path.glob(f"{FILE}.corrupt-*"))


@pytest.mark.sqlite("the file is lost")
def test_a_scan_whose_outbox_is_taken_away_is_reported_completely(
    host: Callable[..., Host], team: Team, tmp_path: Path
) -> None:
    scan = host()
    scan.find(3)
    team.wait_for(4)
    take_away(tmp_path)
    scan.find(3)
    scan.finish()
    assert (found(team), names(team).count("scan_completed")) == (expected(scan), 1)
    assert_proven(team)
    receipt = receipt_of(team)
    assert (receipt["earlier_series"], receipt["accepted"]) == ({}, len(set(team.ids)))
    assert receipt["series"] != team.got[0].message["metadata"]["series"]


def test_one_that_is_taken_away_again_and_again_does_no_harm(
    host: Callable[..., Host], team: Team, tmp_path: Path
) -> None:
    scan = host()
    for _ in range(3):
        scan.find(3)
        take_away(tmp_path)
    scan.find(1)
    scan.finish()
    assert found(team) == expected(scan)
    assert_proven(team)
    assert receipt_of(team)["earlier_series"] == {}


@pytest.mark.sqlite("the file is damaged")
def test_nor_is_one_that_is_found_corrupt_at_the_end(
    host: Callable[..., Host], team: Team, tmp_path: Path, said: Said
) -> None:
    scan = host()
    scan.find(3)
    team.wait_for(4)
    take_away(tmp_path)
    (tmp_path / FILE).write_bytes(b"rubbish" * 2000)
    scan.finish()
    assert found(team) == expected(scan)
    assert_proven(team)


@pytest.mark.sqlite("the file is lost")
def test_an_outbox_that_is_lost_while_the_end_is_prepared_is_begun_again(
    host: Callable[..., Host], team: Team, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = host()
    scan.find(3)
    team.wait_for(4)
    calls = []

    def replay(*given: Any) -> int:
        calls.append(replay_scan(*given))
        if len(calls) == 1:
            take_away(tmp_path)
        return calls[0]

    monkeypatch.setattr("sfwebhooks.scan.run.replay_scan", replay)
    scan.finish()
    check = CompletenessCheck()
    *_, account = (account for one in team.got if (account := check.enter(one.message)))
    assert account.complete and "4 in series that no longer count" in str(account)
    assert (len(calls), found(team), names(team).count("scan_completed")) == (2, expected(scan), 1)


@pytest.mark.sqlite("the file's size")
def test_what_a_full_outbox_refused_is_counted_once_and_said(
    host: Callable[..., Host], team: Team, tmp_path: Path, said: Said
) -> None:
    scan = host(outbox_max_mb=1, progress_interval="0")
    scan.find(30, data="x" * 50_000)
    scan.finish()
    refused = Outbox(place_in(tmp_path)).scans.withheld(scan.run.scan.id)["team"]["outbox_full"]
    assert said.wait_for(f"{refused} refused because the outbox was full")
    assert (names(team)[0], names(team)[-1]) == ("scan_started", "scan_completed")
    receipt = receipt_of(team)
    assert (receipt["withheld"], receipt["withheld_by_reason"]) == (refused, {"outbox_full": refused})
    assert (receipt["accepted"], receipt["not_wanted"]) == (len(team.got), 0)
    account = assert_proven(team)
    assert f"; {refused} withheld by the sender ({refused} outbox_full)" in str(account)
    warnings = [one.message["data"] for one in team.got if one.message["event_type"] == "resource_warning"]
    assert {warning["resource"] for warning in warnings} <= {"outbox_size"}


ODD: dict[str, dict[str, Any]] = {
    "bytes": {"data": b"\xff"},
    "no data": {"data": None},
    "an object for a number": {"confidence": object()},
    "a text for the risk": {"risk": "high"},
    "a text for the time": {"generated": "now"},
    "bytes for the module": {"module": b"sfp_x"},
    "bytes of a source": {"sources": (Source("URL", "https://acme.example", b"m", "h"),)},  # type: ignore[arg-type]  # no text
}


@pytest.mark.parametrize("name", ODD)
def test_a_finding_that_cannot_be_written_is_counted_and_holds_nobody_up(
    host: Callable[..., Host], team: Team, said: Said, name: str
) -> None:
    scan = host()
    scan.find(2)
    scan.run.accept(a_finding(hash="odd", **ODD[name]))
    scan.find(2)
    scan.finish()
    assert (found(team), names(team)[-1]) == (expected(scan), "scan_completed")
    assert_proven(team)
    assert receipt_of(team)["withheld_by_reason"] == {"unwritable": 1}
    assert len(said.of("cannot be stored: ")) == 1
    assert said.of("delivered, ") == [
        "webhooks: 6 delivered, 0 waiting, 0 dead, 1 not accepted because they cannot be stored"
    ]


def test_one_that_the_host_has_in_a_form_that_can_be_written_comes_from_there(
    host: Callable[..., Host], team: Team
) -> None:
    scan = host()
    scan.find(1, received=False)
    scan.run.accept(a_finding(hash=scan.hashes[0], data=b"d"))
    scan.finish()
    assert (found(team), receipt_of(team)["withheld"]) == (expected(scan), 0)


@pytest.mark.slow
def test_a_scan_whose_outbox_stays_locked_is_reported_by_the_next_process(
    host: Callable[..., Host], team: Team, tmp_path: Path, said: Said
) -> None:
    scan = host()
    team.wait_for(1)
    lock = locked_in(tmp_path)
    scan.find(2)
    scan.finish(ago=HOST_PATIENCE_SECONDS)
    assert "and 2 events could not be stored; the next process reads them" in said.wait_for("the end of this scan")
    lock.free()
    assert sql(Outbox(place_in(tmp_path)), "SELECT id FROM scan WHERE ended IS NULL") == [(scan.run.scan.id,)]


def test_an_outbox_that_is_locked_for_a_moment_at_the_end_does_not_put_the_end_off(
    host: Callable[..., Host], team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[int] = []

    def locked_twice(*arguments: Any) -> int:
        tries.append(1)
        if len(tries) < 3:
            raise OutboxBusyError("database is locked")
        return replay_scan(*arguments)

    monkeypatch.setattr("sfwebhooks.scan.run.replay_scan", locked_twice)
    scan = host()
    scan.find(1)
    scan.finish()
    assert (len(tries), names(team)) == (3, ["scan_started", "high_risk_event", "scan_completed"])


# --- its lock is taken away


@pytest.mark.sqlite("the files of locks are removed")
def test_a_scan_whose_lock_was_removed_is_not_taken_for_dead(
    host: Callable[..., Host], tmp_path: Path, said: Said
) -> None:
    scan = host()
    (tmp_path / FILE).with_suffix(LOCKS).rename(tmp_path / "removed")  # at once: its keeper writes there
    said.wait_for("the lock of this running scan was lost")
    with closing(Outbox(place_in(tmp_path))) as other:
        assert report_dead_scans(other, scan.run.terms.settings) == 0
    scan.finish()


@pytest.mark.parametrize("call", ["_flush", "_report_errors", "_hold", "_report_progress", "end"])
def test_events_are_committed_by_one_thread_at_a_time(
    host: Callable[..., Host], team: Team, monkeypatch: pytest.MonkeyPatch, fail: Callable[[], None], call: str
) -> None:
    scan = host(progress_interval="1h")
    team.wait_for(1)
    progress = an_event(type="scan_progress", scan=scan.run.scan)
    monkeypatch.setattr(scan.run, "_progress", SimpleNamespace(look=lambda now: progress))
    assert waits_for(scan.run._flushing, getattr(scan.run, call))
    if call != "end":
        scan.finish()


# --- its start


def test_a_scan_that_begins_logs_what_is_wrong_with_its_settings_and_files(tmp_path: Path, said: Said) -> None:
    """A mistake, a warning, and a folder to which others can write."""
    wrong = load_mapping({"bad": {"url": "https://hooks.example.test/", "events": "nonsense"}})
    settings = replace(wrong, warnings=("a warning",))
    tmp_path.chmod(0o777)
    begin_and_end(ScanRun(a_scan(), settings, tmp_path))
    tmp_path.chmod(0o700)
    assert len(said.of("[webhooks.bad] events")) == len(said.of("webhooks: a warning")) == 1
    assert len(said.of("and replace its files")) == 1


def begin_and_end(run: ScanRun) -> None:
    run.begin()
    run.end()


def test_a_scan_for_which_no_endpoint_can_be_used_says_how_to_send_it_later(tmp_path: Path, said: Said) -> None:
    begin_and_end(ScanRun(a_scan(), load_mapping({}), tmp_path))
    assert said.of("no endpoint can be used") == [
        "webhooks: no endpoint can be used; sfwebhooks check says why, and backfill sends this scan later"
    ]


def test_a_scan_with_an_endpoint_does_not_say_that_it_has_none(host: Callable[..., Host], said: Said) -> None:
    host().finish()
    assert said.of("no endpoint can be used") == []


def test_a_finding_has_the_hosts_description_of_its_type(host: Callable[..., Host], team: Team, tmp_path: Path) -> None:
    scan = host()
    with closing(sqlite3.connect(tmp_path / "spiderfoot.db")) as connection, connection:
        connection.execute("INSERT INTO tbl_event_types VALUES ('VULNERABILITY_CVE_HIGH', 'A known hole', 0, 'D')")
    other = ScanRun(replace(scan.run.scan, id="OTHER"), scan.run.terms.settings, tmp_path)
    other.begin()
    other.accept(a_finding())
    other.end()
    scan.finish()
    assert [one.message["data"]["description"] for one in team.got if "hash" in one.message["data"]] == ["A known hole"]


def test_a_running_scan_sends_politely_and_one_that_ends_as_fast_as_it_can(
    host: Callable[..., Host], team: Team
) -> None:
    scan = host()
    (queue,) = scan.run._dispatcher.queues
    assert queue._workers.rest_share == REST_SHARE
    scan.finish()
    assert queue._workers.rest_share == 0.0


def test_the_lock_of_a_scan_is_held_from_its_begin_on(host: Callable[..., Host], tmp_path: Path) -> None:
    scan = host()
    assert not Outbox(place_in(tmp_path)).locks.scan(scan.run.scan.id).take()
    scan.finish()


def test_no_thread_of_a_scan_keeps_its_process_alive_or_outlives_its_end(host: Callable[..., Host], team: Team) -> None:
    before = set(threading.enumerate())
    scan = host()
    team.wait_for(1)
    ours = [one for one in set(threading.enumerate()) - before if one.name.startswith("webhooks-")]
    assert (len(ours) > 1, {thread.daemon for thread in ours}) == (True, {True})
    scan.finish()
    assert [thread for thread in ours if thread.is_alive()] == []


@pytest.mark.sqlite("the file's size")
def test_a_running_scan_warns_of_an_outbox_that_is_nearly_full(
    host: Callable[..., Host], tmp_path: Path, said: Said
) -> None:
    with closing(Outbox(place_in(tmp_path))) as other:
        large = an_event(scan=a_scan("OTHER"), data={"data": "x" * 850_000})
        other.accept([(large, [Wanted("another", large.type)])], NOW)
    scan = host(outbox_max_mb=1)
    assert "refused from now on" in said.wait_for("The outbox is")
    scan.finish()


# --- its findings


@pytest.mark.sqlite("the file's log")
def test_a_commit_of_a_finding_leaves_the_outboxs_log_to_others(host: Callable[..., Host]) -> None:
    """A checkpoint would hold up the scan."""
    scan = host()
    assert isinstance(scan.run._outbox, Outbox)
    with scan.run._outbox.database.reading() as connection:
        assert connection.execute("PRAGMA wal_autocheckpoint").fetchone() == (0,)
    scan.finish()


def test_a_finding_is_committed_when_it_is_accepted(host: Callable[..., Host], tmp_path: Path) -> None:
    scan = host()
    scan.find(1)
    assert sql(Outbox(place_in(tmp_path)), "SELECT name FROM delivery WHERE name <> 'scan_started'") == [
        ("high_risk_event",)
    ]
    scan.finish()


def test_a_finding_is_committed_at_once_after_the_outbox_was_taken_away(
    host: Callable[..., Host], team: Team, tmp_path: Path
) -> None:
    scan = host()
    team.wait_for(1)
    take_away(tmp_path)
    scan.find(1)
    assert sql(Outbox(place_in(tmp_path)), "SELECT name FROM delivery ORDER BY number") == [
        ("scan_started",),
        ("high_risk_event",),
    ]
    scan.finish()


def test_while_the_outbox_is_in_trouble_a_finding_waits_for_nobody(
    host: Callable[..., Host], team: Team, tmp_path: Path, said: Said
) -> None:
    scan = host()
    team.wait_for(1)
    lock = locked_in(tmp_path)
    scan.find(1)
    assert not waits_for(scan.run._flushing, lambda: scan.find(1))
    lock.free()
    scan.finish()
    assert found(team) == expected(scan)


def test_progress_counts_what_this_process_has_accepted(host: Callable[..., Host]) -> None:
    scan = host(progress_interval="1h")
    scan.run.accept(a_finding())  # which the host has not stored yet
    assert scan.run._progress
    event = scan.run._progress.look(time.time() + 3600)
    assert event and event.data["events_found"] == 1
    scan.finish()


def test_without_progress_reports_there_is_nothing_to_look_for(host: Callable[..., Host]) -> None:
    scan = host(progress_interval="0")
    scan.run._report_progress()
    scan.finish()


# --- trouble


def test_trouble_is_logged_once_and_its_time_is_counted_from_its_begin(
    host: Callable[..., Host], team: Team, tmp_path: Path, said: Said
) -> None:
    begun = time.monotonic()
    scan = host()
    team.wait_for(1)
    lock = locked_in(tmp_path)
    scan.find(1)
    scan.run._flush()
    lock.free()
    scan.run._flush()
    whole = time.monotonic() - begun
    scan.finish()
    (warning,) = (one.message["data"] for one in team.got if one.message["event_type"] == "resource_warning")
    assert len(said.of("events are buffered in memory")) == 1
    assert 2 * BUSY - 0.05 <= warning["value"] <= whole + 0.05


def test_errors_of_modules_wait_while_the_outbox_is_in_trouble(
    host: Callable[..., Host],
    team: Team,
    tmp_path: Path,
    fail: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scan = host()
    trouble_that_lasts(scan.run, monkeypatch)
    fail()
    scan.run._report_errors()
    waiting = sql(Outbox(place_in(tmp_path)), "SELECT name FROM delivery WHERE name = 'module_error'")
    scan.run._trouble = ""
    scan.finish()
    assert (waiting, names(team).count("module_error")) == ([], 1)


def test_where_no_module_failed_nothing_is_reported(
    host: Callable[..., Host], team: Team, fail: Callable[[], None]
) -> None:
    scan = host()
    scan.run._report_errors()
    scan.finish()
    assert names(team) == ["scan_started", "scan_completed"]


def test_errors_of_modules_that_are_reported_are_sent_and_forgotten(
    host: Callable[..., Host], team: Team, fail: Callable[[], None]
) -> None:
    scan = host()
    team.wait_for(1)
    fail()
    scan.run._report_errors()
    team.wait_for(2)
    assert LISTENERS[scan.run.scan.id].heard() == []
    scan.finish()
    assert names(team) == ["scan_started", "module_error", "scan_completed"]


def test_errors_of_modules_after_the_outbox_was_lost_begin_the_scan_in_the_new_one(
    host: Callable[..., Host], team: Team, tmp_path: Path, fail: Callable[[], None]
) -> None:
    scan = host()
    team.wait_for(1)
    take_away(tmp_path)
    fail()
    scan.run._report_errors()
    assert sql(Outbox(place_in(tmp_path)), "SELECT name FROM delivery ORDER BY number")[:1] == [("scan_started",)]
    scan.finish()


# --- its end


def test_nothing_of_the_lock_of_a_scan_that_has_ended_is_left(host: Callable[..., Host], tmp_path: Path) -> None:
    host().finish()
    assert list(tmp_path.rglob("scan-*")) == []


@pytest.mark.sqlite("the file's descriptors")
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_no_file_of_the_outbox_is_open_after_the_end(host: Callable[..., Host], team: Team, tmp_path: Path) -> None:
    scan = host()
    team.wait_for(1)
    scan.finish()
    links = [str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    assert [link for link in links if link.startswith(str(tmp_path / FILE))] == []


@pytest.mark.sqlite("the file is damaged")
def test_an_outbox_that_can_be_used_again_just_before_the_end_gets_all(
    host: Callable[..., Host], team: Team, tmp_path: Path, said: Said
) -> None:
    (tmp_path / FILE).mkdir()
    scan = host()
    scan.find(1)
    assert said.of("events are buffered in memory")
    (tmp_path / FILE).rmdir()
    scan.finish()
    assert (found(team), names(team)[0], names(team)[-1]) == (expected(scan), "scan_started", "scan_completed")


def test_an_end_waits_for_an_outbox_that_is_locked(host: Callable[..., Host], team: Team, tmp_path: Path) -> None:
    scan = host()
    team.wait_for(1)
    lock = locked_in(tmp_path)
    scan.find(1)
    threading.Timer(3 * BUSY, lock.free).start()
    scan.finish()
    assert (found(team), names(team)[-1]) == (expected(scan), "scan_completed")


@pytest.mark.sqlite("the file is damaged")
def test_an_end_that_cannot_be_stored_says_what_is_lost_and_which_command_sends_it(
    host: Callable[..., Host], tmp_path: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sfwebhooks.scan.outbox_failure.EVENTS_MAX", 3)
    (tmp_path / FILE).mkdir()
    scan = host()
    scan.find(5)
    scan.finish()
    assert (
        "the end of this scan and 5 events could not be stored; sfwebhooks backfill"
        f" {scan.run.scan.id} --endpoint NAME reads them from SpiderFoot's database: outbox {tmp_path / FILE}"
    ) in said.wait_for("the end of this scan")


def test_an_end_is_not_reported_while_events_before_it_cannot_be_stored(
    host: Callable[..., Host], tmp_path: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It works again just when the end is reported, but not for them."""
    scan = host()
    trouble_that_lasts(scan.run, monkeypatch)
    monkeypatch.setattr(scan.run, "_flush", lambda *events: None)
    scan.finish()
    said.wait_for("the end of this scan and 0 events could not be stored; the next process reads them")
    with closing(Outbox(place_in(tmp_path))) as outbox:
        assert [one.id for one in outbox.scans.open_scans()] == [scan.run.scan.id]


@pytest.mark.parametrize(
    ("trouble", "ago"),
    [
        (OutboxBusyError("database is locked"), HOST_PATIENCE_SECONDS),  # no time is left
        (HostDatabaseError("no such table: tbl_scan_instance"), 0.0),  # it will not pass
    ],
)
def test_an_end_that_has_no_time_or_no_hope_is_left_to_the_next_process(
    trouble: Exception,
    ago: float,
    host: Callable[..., Host],
    tmp_path: Path,
    said: Said,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried: list[int] = []

    def fail(*arguments: Any) -> int:
        tried.append(1)
        assert len(tried) < 20, "it is tried forever"
        raise trouble

    monkeypatch.setattr("sfwebhooks.scan.run.replay_scan", fail)
    scan = host()
    scan.finish(ago)
    line = said.wait_for("the end of this scan and 0 events could not be stored; the next process reads them")
    assert (len(tried), str(trouble) in line) == (1, True)
    assert Outbox(place_in(tmp_path)).locks.scan(scan.run.scan.id).take(), "the next process can report it"


def test_an_end_is_not_reported_while_a_late_event_is_committed(host: Callable[..., Host], team: Team) -> None:
    scan = host()
    team.wait_for(1)
    assert waits_for(scan.run._flushing, lambda: scan.run._report_end("", time.monotonic() + PATIENCE))
    scan.finish()


def test_an_end_waits_for_a_mute_receiver_only_as_long_as_the_settings_say(
    host: Callable[..., Host], team: Team, gate: Gate, said: Said
) -> None:
    team.answer = gate
    scan = host(drain_timeout="0.1s", timeout="60s")  # in which the receiver does answer
    team.wait_for(1)
    scan.finish()
    assert said.of(" delivered, ")[0].startswith("webhooks: 0 delivered, 2 waiting")


@pytest.mark.parametrize(
    ("ended", "left"), [(0.0, 70.0), (10.0, HOST_PATIENCE_SECONDS - 10), (HOST_PATIENCE_SECONDS + 10, 0.0)]
)
def test_the_host_leaves_so_many_seconds_after_the_end_that_it_has_written(
    ended: float, left: float, host: Callable[..., Host], tmp_path: Path
) -> None:
    """Before it has written one, `drain_timeout` counts."""
    scan, before = host(drain_timeout="70s"), time.monotonic()
    with closing(sqlite3.connect(tmp_path / "spiderfoot.db")) as connection, connection:
        at = (time.time() - ended) * 1000 if ended else 0
        connection.execute("UPDATE tbl_scan_instance SET ended = ?", (at,))
    deadline, after = scan.run._deadline(), time.monotonic()
    assert before - 0.1 <= deadline - left <= after + 0.1
    scan.finish()


# --- who wants what


@pytest.mark.parametrize(
    ("host_type", "risk", "wanted"),
    [
        ("VULNERABILITY_CVE_HIGH", 0, True),
        ("IP_ADDRESS", 0, False),
        ("IP_ADDRESS", 100, True),
        ("ROOT", 100, False),
    ],
)
def test_whether_an_endpoint_wants_a_finding_depends_on_its_type_and_risk(
    host: Callable[..., Host], host_type: str, risk: int, wanted: bool
) -> None:
    scan = host(events="high_risk_event")
    assert [scan.run.terms.wants[host_type, risk] for _ in range(2)] == [wanted, wanted]
    scan.finish()


def test_no_more_pairs_of_type_and_risk_are_remembered_than_real_modules_have(
    host: Callable[..., Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sfwebhooks.scan.findings.WANTED_MAX", 3)
    scan = host(events="all, !surface_changed")
    assert all(scan.run.terms.wants[f"NEW_{number}", number] for number in range(5))
    assert len(scan.run.terms.wants) == 3
    scan.finish()


# --- with a delivery process


@pytest.fixture
def delivered_by(
    host: Callable[..., Host], team: Team, tmp_path: Path
) -> Iterator[Callable[..., tuple[Host, KernelLock]]]:
    """Begin a scan while a delivery process seems to send; return its lock too: `delivered_by(key=value ...)`."""
    lock = service_lock(local_path(place_in(tmp_path)))
    assert lock.take()

    def begin(**keys: Any) -> tuple[Host, KernelLock]:
        own = {key: value for key, value in keys.items() if key not in GENERAL_OPTIONS}
        note_service(
            lock,
            load_mapping({"team": {"url": team.url, "events": "all, !surface_changed", "concurrency": "1", **own}}),
        )
        return host(leaves=True, **keys), lock

    yield begin
    lock.release()


def test_while_a_delivery_process_sends_a_scan_has_no_sending_threads(
    delivered_by: Callable[..., tuple[Host, KernelLock]],
    team: Team,
    quick_rounds: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (scan, lock), looked = delivered_by(), threading.Event()
    monkeypatch.setattr(scan.run._dispatcher.outbox.database, "checkpoint", looked.set)
    scan.find(3)
    assert looked.wait(PATIENCE)
    assert ([name for name in senders() if name.startswith("webhooks-team")], team.got) == ([], [])
    lock.release()  # it was killed
    team.wait_for(4)
    scan.finish()
    assert names(team)[-1] == "scan_completed"


def test_the_last_line_names_the_delivery_process(
    delivered_by: Callable[..., tuple[Host, KernelLock]], said: Said
) -> None:
    scan, _ = delivered_by(rate="1/m", drain_timeout="0.5s")
    scan.find(3)
    scan.finish()
    pace = "team is paced to 1/m, about 4 min for the waiting deliveries"
    said.wait_for(f"1 delivered, 4 waiting (process {os.getpid()} is sending them; {pace}), 0 dead")


def test_without_a_delivery_process_a_scan_sends_at_once(host: Callable[..., Host], team: Team) -> None:
    scan = host(leaves=True)
    team.wait_for(1)
    scan.finish()
