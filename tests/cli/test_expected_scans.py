"""Expected scans through the commands: `drain` and `run` look and send, `check`, `status` and `doctor` show."""

from __future__ import annotations

import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from subprocess import PIPE

import pytest

from sfwebhooks.doctor.expected import UNKNOWN_MAX
from sfwebhooks.inspection.watched import LATE_CURE, LATE_SECONDS
from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.scan.host_address import DATABASE
from sfwebhooks.scan.watch import LOOKED
from tests import processes
from tests.builders import PATIENCE, a_host_database, a_scan, add_past_scan
from tests.conftest import Result, Team
from tests.outbox_rows import rows_of
from tests.processes import Process
from tests.stores import BOTH, place_in
from tests.test_service import Run
from tests.tiers import slow

STORES = BOTH

pytestmark = pytest.mark.usefixtures("own_signals")
#: the time at which the scan is expected: two hours ago, in local time
WHEN = datetime.fromtimestamp(time.time() - 7200)
CRON = f"{WHEN.minute} {WHEN.hour} * * *"
#: commits a change of the watch in part, and is killed
KILLED = """
import os, signal, sys, time
from pathlib import Path
from sfwebhooks.config.settings import load
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.scan.watch import look_at_scans
outbox = Outbox(Path(sys.argv[1]) / "webhooks.db")
commit = outbox.watch.commit

class Dying:
    all = outbox.watch.all

    def commit(self, changes, now):
        def some():
            yield from changes
            os.kill(os.getpid(), signal.SIGKILL)
        return commit(some(), now)

outbox.watch = Dying()
look_at_scans(load(Path(sys.argv[1]) / "webhooks.ini"), outbox)
"""


@pytest.fixture
def folder(tmp_path: Path, team: Team, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder whose settings expect a scan each day, with a team that wants to know."""
    monkeypatch.setenv("SPIDERFOOT_DATA", str(tmp_path))
    a_host_database(tmp_path / DATABASE, a_scan(), "FINISHED")
    write(tmp_path, f"[webhooks.team]\nurl = {team.url}\nevents = scan.*\n", f"daily = {CRON}\n  acme.test\n")
    return tmp_path


def write(folder: Path, team: str, lines: str) -> None:
    path = folder / "webhooks.ini"
    path.touch(0o600)
    path.write_text(f"{team}[webhooks-expect]\n{lines}")


def set_back(folder: Path, seconds: float = 86400.0) -> None:
    """Let the watch have looked last that long ago."""
    rows_of(place_in(folder), "UPDATE watch SET checked_at = checked_at - ?", seconds)


def got(team: Team) -> list[tuple[str, bool]]:
    return [(one.message["event_type"], one.message["data"]["resolved"]) for one in team.got]


def test_drain_sends_a_missed_scan_once_and_once_more_when_it_is_well_again(
    folder: Path, team: Team, cli: Callable[..., Result]
) -> None:
    assert (cli("drain").code, team.got) == (0, [])
    set_back(folder)
    assert cli("drain").code == 0
    assert cli("drain").code == 0
    assert got(team) == [("scan_missed", False)]
    data = team.got[0].message["data"]
    assert (data["target"], data["schedule"], data["missed"]) == ("acme.test", CRON, 1)
    add_past_scan(folder / DATABASE, "LATE", time.time() - 60, seconds=0)
    cli("drain")
    cli("drain")
    assert got(team) == [("scan_missed", False), ("scan_missed", True)]


def test_run_looks_at_once_and_a_restart_repeats_nothing(folder: Path, team: Team, cli: Callable[..., Result]) -> None:
    cli("drain")
    set_back(folder)
    run = Run(folder)
    try:
        assert team.wait_for(1)[0].message["event_type"] == "scan_missed"
        run.wait_for("No scan of acme.test has started at")
    finally:
        assert run.end(signal.SIGTERM) == 0
    add_past_scan(folder / DATABASE, "LATE", time.time() - 60, seconds=0)
    run = Run(folder)
    try:
        team.wait_for(2)
    finally:
        assert run.end(signal.SIGTERM) == 0
    assert got(team) == [("scan_missed", False), ("scan_missed", True)]


def test_a_delivery_process_does_not_look(folder: Path, team: Team, cli: Callable[..., Result]) -> None:
    cli("drain")
    set_back(folder)
    path = folder / "webhooks.ini"
    path.write_text(f"[webhooks]\ndetach_timeout = 1s\n{path.read_text()}")
    found = processes.run(["run", "--while-needed", "--folder", folder], timeout=2 * PATIENCE)
    assert (found.returncode, team.got) == (0, [])


def test_of_processes_that_look_at_once_one_sends(folder: Path, team: Team, cli: Callable[..., Result]) -> None:
    cli("drain")
    set_back(folder)
    started = [Process(["drain", "--folder", folder], stdout=PIPE, stderr=PIPE) for _ in range(4)]
    for one in started:
        one.communicate(timeout=PATIENCE)
    cli("drain")
    assert got(team) == [("scan_missed", False)]


def test_a_process_that_is_killed_in_its_commit_has_neither_sent_nor_noted(
    folder: Path, team: Team, cli: Callable[..., Result]
) -> None:
    cli("drain")
    set_back(folder)
    killed = processes.run([folder], KILLED, timeout=PATIENCE)
    assert killed.returncode == -signal.SIGKILL
    with closing(Outbox(place_in(folder))) as outbox:
        assert not any(state.begun_at for state in outbox.watch.all().values())
    cli("drain")
    cli("drain")
    assert got(team) == [("scan_missed", False)]


def test_drain_sends_what_waits_although_the_hosts_database_is_damaged(
    folder: Path, team: Team, cli: Callable[..., Result], caplog: pytest.LogCaptureFixture
) -> None:
    cli("drain")
    set_back(folder)
    cli("drain")
    team.got.clear()
    (folder / DATABASE).write_bytes(b"garbage" * 1000)
    rows_of(place_in(folder), "UPDATE delivery SET state = 'waiting', due_at = 0")
    assert cli("drain").code == 0
    assert len(team.got) == 1
    assert "scans are not watched now: SpiderFoot's database cannot be read" in caplog.text


@pytest.mark.sqlite("the file is locked")
@slow
def test_a_folder_that_cannot_be_written_is_an_error_and_not_a_traceback(
    folder: Path, cli: Callable[..., Result]
) -> None:
    cli("drain")
    set_back(folder)
    with closing(sqlite3.connect(folder / FILE, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        result = cli("drain")
        other.execute("ROLLBACK")
    assert result.code == 1
    assert "Traceback" not in result.out + result.err


def test_check_lists_the_expected_scans_with_their_next_times(folder: Path, cli: Callable[..., Result]) -> None:
    result = cli("check")
    first, second = (datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M") for at in next_times(folder, cli))
    assert "expected schedule" in result.words
    assert first in result.words and second in result.words and "acme.test" in result.words
    assert 'daily: SpiderFoot has no scan with the target or name "acme.test" yet' in result.words
    add_past_scan(folder / DATABASE, "ONE", time.time() - 9000)
    assert "SpiderFoot has no scan" not in cli("check").words


def next_times(folder: Path, cli: Callable[..., Result]) -> list[float]:
    (expected,) = cli("check", "--json").objects[0]["expected"]
    assert (expected["name"], expected["schedule"], expected["scans"]) == ("daily", CRON, ["acme.test"])
    return [datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() for text in expected["next_at"]]


def test_check_shows_a_mistake_with_its_line(folder: Path, team: Team, cli: Callable[..., Result]) -> None:
    write(folder, f"[webhooks.team]\nurl = {team.url}\nevents = scan.*\n", "daily = 0 25 * * *\n  acme.test\n")
    result = cli("check")
    assert result.code == 1
    assert '[webhooks-expect] daily = "0 25 * * *": line 5: the hour is wrong' in result.words


def test_check_names_a_few_of_many_unknown_targets(folder: Path, team: Team, cli: Callable[..., Result]) -> None:
    lines = "".join(f"  host{number}.test\n" for number in range(UNKNOWN_MAX + 3))
    write(folder, f"[webhooks.team]\nurl = {team.url}\nevents = scan.*\n", f"daily = {CRON}\n{lines}")
    warnings = [line for line in cli("check", "--json").objects[0]["warnings"] if "webhooks-expect" in line]
    assert len(warnings) == UNKNOWN_MAX + 1 and warnings[-1] == "[webhooks-expect] and 3 more"


def test_status_shows_what_is_missed_and_whether_anything_looks(folder: Path, cli: Callable[..., Result]) -> None:
    result = cli("status")
    assert (result.code, "never looked at" in result.words, LATE_CURE in result.words) == (3, True, True)
    cli("drain")
    result = cli("status")
    assert (result.code, LATE_CURE in result.words) == (0, False)
    set_back(folder)
    cli("drain")
    result = cli("status")
    assert result.code == 3
    assert "scan_missed: acme.test (daily), since " in result.words
    (unwell,) = cli("status", "--json").objects[-1]["watch"]
    assert (unwell["type"], unwell["about"]) == ("scan_missed", "acme.test (daily)")


def test_status_names_all_that_is_not_well(folder: Path, cli: Callable[..., Result]) -> None:
    now = time.time()
    with closing(Outbox(place_in(folder))) as outbox:
        outbox.watch.all()  # drain makes no outbox if no scan is expected
    write(folder, "[webhooks.team]\nurl = http://127.0.0.1:9\nevents = scan.*, modules_degraded\n", "")
    cli("drain", "--timeout", "1s")
    set_back(folder, 9 * 86400)
    for day in range(6, 1, -1):
        add_past_scan(folder / DATABASE, f"S{day}", now - day * 86400, 100, findings=20)
    add_past_scan(folder / DATABASE, "BAD", now - 86400, 100, findings=1, failed=["sfp_shodan"])
    add_past_scan(folder / DATABASE, "SLOW", now - 3600, 0)
    cli("drain", "--timeout", "1s")
    result = cli("status")
    assert "modules_degraded: acme.test: sfp_shodan, since " in result.words
    assert "scan_thin: acme.test, since " in result.words
    assert "scan_overdue: acme.test (scan SLOW), since " in result.words
    assert result.code == 3


def test_doctor_warns_when_nothing_looks(folder: Path, cli: Callable[..., Result]) -> None:
    add_past_scan(folder / DATABASE, "ONE", time.time() - 9000)
    cli("drain")
    assert "ok expected scans: 1 expected scan, the next at" in cli("doctor").words
    set_back(folder, LATE_SECONDS + 1)
    words = cli("doctor").words
    assert "warning expected scans: 1 expected scan" in words and "last looked at 2 h ago" in words
    assert LATE_CURE in words


def test_without_expected_scans_nothing_is_shown(folder: Path, team: Team, cli: Callable[..., Result]) -> None:
    write(folder, f"[webhooks.team]\nurl = {team.url}\nevents = high_risk_event\n", "")
    for command in ("check", "status", "doctor", "drain"):
        assert "expected scan" not in cli(command).words


@pytest.mark.sqlite("no outbox is created")
def test_the_settings_of_an_outbox_that_is_not_there_yet_are_enough(
    folder: Path, team: Team, cli: Callable[..., Result]
) -> None:
    assert not (folder / FILE).exists()
    cli("drain")
    with closing(Outbox(place_in(folder))) as outbox:
        assert LOOKED in outbox.watch.all()
