"""Scans that do not end well: nothing that was accepted is lost, and the end is reported once."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.host.conftest import SCAN_SECONDS, SECRET, Scanner, Team, WebUi, free_port, scan_process, stop_group, until
from tests.tiers import quick_first, slow

ENDS = ("scan_completed", "scan_failed", "scan_aborted")


def configure(scanner: Scanner, url: str) -> None:
    scanner.configure(
        f"[webhooks]\nenabled = true\nteam.url = {url}\nteam.secret = {SECRET}\nteam.events = all, !surface_changed\n"
    )


def end_of(team: Team) -> dict[str, Any]:
    """The data of the only reported end."""
    (end,) = (message["data"] for message in team.messages if message["event_type"] in ENDS)
    return dict(end)


@slow
def test_an_aborted_scan_with_a_backlog_sends_all_that_the_host_has(
    scanner: Scanner, new_team: Callable[..., Team], web_ui: Callable[..., WebUi]
) -> None:
    team = new_team(tls=False)
    configure(scanner, team.receiver.url)
    ui = web_ui(**scanner.environment(fault="slow"))
    scan_id = ui.start_scan()
    until(lambda: len(scanner.hashes()) > 40)
    accepted = len(team.got)

    ui.ask(f"/stopscan?id={scan_id}")

    until(team.ends)
    assert scanner.status() == "ABORTED"
    assert team.ends() == ["scan_aborted"]
    assert accepted < len(scanner.hashes()), "there was a backlog"
    assert team.hashes() == scanner.hashes()
    assert team.names()[0] == "scan_started"


@pytest.mark.slow
@pytest.mark.parametrize("events", [15, 1, 60])
def test_a_killed_scan_loses_nothing_that_was_accepted(
    events: int, scanner: Scanner, new_team: Callable[..., Team]
) -> None:
    port = free_port()
    configure(scanner, f"http://127.0.0.1:{port}/webhook")  # nobody listens while the scan runs
    journal = scanner.folder / "journal"
    process = scanner.start(environment=scanner.environment("journal", SFWEBHOOKS_TEST_JOURNAL=str(journal)))
    try:
        until(lambda: journal.exists() and journal.read_text().count("\n") >= events)
        os.kill(scan_process(process.pid), signal.SIGKILL)
    finally:
        stop_group(process)
    handled = {*journal.read_text().splitlines()}
    kept = {json.loads(row[0])["hash"] for row in scanner.outbox("SELECT data FROM event WHERE type LIKE '%_event'")}
    assert handled and handled <= kept, "accepted means committed"

    team = new_team(tls=False, port=port)
    done = scanner.command("drain")

    assert done.returncode == 0, done.stdout + done.stderr
    assert handled <= set(team.hashes())
    assert set(scanner.hashes()) <= set(team.hashes()), "what the host has was recovered"
    assert len(team.hashes()) == len(set(team.hashes())), "nothing was sent twice"
    assert team.ends() == ["scan_failed"]
    end = end_of(team)
    assert (end["reason"], end["detected_late"], end["status"]) == ("process_died", True, "RUNNING")
    assert (end["events_found"], end["receipt"]["not_wanted"]) == (len(team.hashes()), 0), (
        "whatever the host has stored"
    )
    assert scanner.command("drain").stdout == "", "there is nothing left to do"
    assert len(team.ends()) == 1


@slow
def test_a_scan_that_is_stopped_and_deleted_in_the_web_ui_at_once_was_aborted(
    scanner: Scanner, new_team: Callable[..., Team], web_ui: Callable[..., WebUi]
) -> None:
    team = new_team(tls=False)
    configure(scanner, team.receiver.url)
    ui = web_ui()
    scan_id = ui.start_scan()
    until(lambda: len(team.hashes()) > 40)

    ui.ask(f"/stopscan?id={scan_id}")
    ui.ask(f"/scandelete?id={scan_id}")

    until(team.ends, seconds=120)
    assert team.ends() == ["scan_aborted"]
    assert scanner.rows("SELECT count(*) FROM tbl_scan_instance") == [(0,)]
    end = end_of(team)
    assert end["events_found"] == sum(end["events_by_type"].values()) >= len(team.hashes()) > 40
    assert end["high_risk_events"] == team.names().count("high_risk_event")


@slow
def test_a_scan_stopped_with_the_web_ui_is_reported_by_it(
    scanner: Scanner, new_team: Callable[..., Team], web_ui: Callable[..., WebUi]
) -> None:
    team = new_team(tls=False)
    configure(scanner, team.receiver.url)
    ui = web_ui()
    ui.start_scan()
    until(lambda: len(team.got) > 10)

    os.kill(ui.process.pid, signal.SIGTERM)
    ui.process.wait(60)

    assert scanner.status() == "RUNNING", "the host itself never notices"
    assert team.ends() == ["scan_aborted"]
    assert end_of(team)["reason"] == "host_stopped"
    assert set(scanner.hashes()) <= set(team.hashes()), "the host may have lost what it had queued; we have not"


@slow
def test_ctrl_c_on_the_command_line_is_reported_as_an_abort(scanner: Scanner, new_team: Callable[..., Team]) -> None:
    team = new_team(tls=False)
    configure(scanner, team.receiver.url)
    process = scanner.start()
    try:
        until(lambda: len(team.got) > 10)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the whole group
        process.wait(60)
    finally:
        stop_group(process)
    assert team.ends() == ["scan_aborted"]
    assert set(scanner.hashes()) <= set(team.hashes())


@pytest.mark.parametrize("deadly", quick_first([signal.SIGKILL, signal.SIGTERM], 0, 1))
def test_a_scan_whose_parent_was_killed_reports_its_own_end(
    deadly: signal.Signals, scanner: Scanner, new_team: Callable[..., Team]
) -> None:
    team = new_team(tls=False)
    configure(scanner, team.receiver.url)
    process = scanner.start()
    try:
        until(lambda: len(team.got) > 10)
        os.kill(process.pid, deadly)
        until(team.ends)
    finally:
        stop_group(process)
    assert team.names()[0] == "scan_started"
    assert team.ends() == ["scan_completed"]
    assert team.hashes() == scanner.hashes()
    assert "detected_late" not in end_of(team)


@slow
def test_a_scan_killed_under_the_web_ui_is_reported_by_the_next_scan(
    scanner: Scanner, new_team: Callable[..., Team], web_ui: Callable[..., WebUi]
) -> None:
    team = new_team(tls=False)
    configure(scanner, team.receiver.url)
    ui = web_ui()
    killed = kill_in_mid_scan(ui, team)

    following = ui.start_scan(modules=("sfp_pageinfo",))

    until(lambda: len(team.ends()) == 2)
    ends = {message["data"]["scan_id"]: message for message in team.messages if message["event_type"] in ENDS}
    assert (ends[killed]["event_type"], ends[killed]["data"]["reason"]) == ("scan_failed", "process_died")
    assert ends[following]["event_type"] == "scan_completed"


@slow
def test_a_scan_that_died_before_the_web_ui_was_stopped_was_not_stopped_with_it(
    scanner: Scanner, new_team: Callable[..., Team], web_ui: Callable[..., WebUi]
) -> None:
    team = new_team(tls=False)
    configure(scanner, team.receiver.url)
    ui = web_ui()
    kill_in_mid_scan(ui, team)

    os.kill(ui.process.pid, signal.SIGTERM)
    until(team.ends)  # the host itself may hang now: if its log's lock died with the scan

    assert team.ends() == ["scan_failed"]
    assert end_of(team)["reason"] == "process_died"


@slow
def test_a_scan_killed_under_one_web_ui_has_failed_also_for_another_one_that_began_earlier_and_is_stopped(
    scanner: Scanner, new_team: Callable[..., Team], web_ui: Callable[..., WebUi]
) -> None:
    team = new_team(tls=False)
    configure(scanner, team.receiver.url)
    earlier, ui = web_ui(), web_ui()
    killed = kill_in_mid_scan(ui, team)

    os.kill(earlier.process.pid, signal.SIGTERM)
    earlier.process.wait(60)

    assert team.ends() == ["scan_failed"]
    end = end_of(team)
    assert (end["scan_id"], end["reason"], end["detected_late"]) == (killed, "process_died", True)


def kill_in_mid_scan(ui: WebUi, team: Team) -> str:
    """Start a scan, kill its process once it has sent something, and return its id."""
    scan_id = ui.start_scan()
    until(lambda: len(team.got) > 10)
    child = scan_process(ui.process.pid)
    os.kill(child, signal.SIGKILL)
    until(lambda: "State:\tZ" in Path(f"/proc/{child}/status").read_text())
    return scan_id


@slow
def test_two_scans_at_once_report_an_end_each(scanner: Scanner, new_team: Callable[..., Team]) -> None:
    team = new_team(tls=False)
    configure(scanner, team.receiver.url)
    processes = [scanner.start(), scanner.start()]
    try:
        assert [process.wait(SCAN_SECONDS) for process in processes] == [0, 0]
    finally:
        for process in processes:
            stop_group(process)
    until(lambda: len(team.ends()) == 2)
    reported_completely(scanner, team)


@slow
def test_ten_scans_in_a_row_report_an_end_each(scanner: Scanner, new_team: Callable[..., Team]) -> None:
    team = new_team(tls=False)
    configure(scanner, team.receiver.url)
    for _ in range(10):
        assert scanner.scan(modules=("sfp_pageinfo",))[0] == 0
    reported_completely(scanner, team)
    assert scanner.outbox("SELECT count(*) FROM scan WHERE ended <> 'scan_completed'") == [(0,)]
    assert list((scanner.home.data / "webhooks.locks").glob("scan-*")) == []


def reported_completely(scanner: Scanner, team: Team) -> None:
    """Check that each scan of the host was reported: begun once, found what it found, completed once."""
    scans = [row[0] for row in scanner.rows("SELECT guid FROM tbl_scan_instance")]
    for name in ("scan_started", "scan_completed"):
        sent = [message["data"]["scan_id"] for message in team.messages if message["event_type"] == name]
        assert sorted(sent) == sorted(scans)
    assert set(team.ends()) == {"scan_completed"}
    assert team.hashes() == scanner.hashes()


@slow
def test_a_scan_that_fails_before_its_modules_are_loaded_is_reported(
    scanner: Scanner, new_team: Callable[..., Team]
) -> None:
    team = new_team(tls=False)
    configure(scanner, team.receiver.url)
    for cached in (scanner.home.folder / "cache").iterdir():
        cached.unlink()  # and the internet is not there: no list of top-level domains
    process = scanner.start(modules=("sfp_pageinfo",))
    try:
        until(team.ends, seconds=90)
        process.wait(60)
    finally:
        stop_group(process)
    assert team.names() == ["scan_started", "scan_failed"]
    assert "TLD list" in end_of(team)["error"]
    assert process.returncode == 0, "as without us"


@slow
def test_a_scan_with_a_bad_target_is_reported(scanner: Scanner, new_team: Callable[..., Team]) -> None:
    team = new_team(tls=False)
    configure(scanner, team.receiver.url)
    code, log = scanner.scan(modules=("sfp_pageinfo",), environment=scanner.environment("strange_target"))
    assert (code, scanner.status()) == (0, "ERROR-FAILED"), log
    assert team.names() == ["scan_started", "scan_failed"]
    assert "Invalid target" in end_of(team)["error"]


@slow
def test_a_scan_that_is_interrupted_before_our_module_is_set_up_is_reported(
    scanner: Scanner, new_team: Callable[..., Team]
) -> None:
    team = new_team(tls=False)
    configure(scanner, team.receiver.url)
    code, log = scanner.scan(modules=("sfp_pageinfo",), environment=scanner.environment("interrupted"))
    assert (code, scanner.status()) == (0, "ABORTED"), log
    assert team.names() == ["scan_started", "scan_aborted"]


@slow
def test_a_scan_that_is_killed_before_our_module_is_set_up_is_reported(
    scanner: Scanner, new_team: Callable[..., Team]
) -> None:
    team = new_team(tls=False)
    configure(scanner, team.receiver.url)
    process = scanner.start(modules=("sfp_pageinfo",), environment=scanner.environment("stuck"))
    try:
        until(lambda: scanner.rows("SELECT 1 FROM tbl_scan_config") != [])
        os.kill(scan_process(process.pid), signal.SIGKILL)
    finally:
        stop_group(process)
    assert scanner.command("drain").returncode == 0
    assert list(dict.fromkeys(team.names())) == ["scan_started", "scan_failed"]
    ids = {received.headers["webhook-id"] for received in team.got}
    assert len(ids) == 2, "what was killed between a reply and its record came again, under its id"
    assert end_of(team)["reason"] == "process_died"
    begun = team.messages[0]["data"]
    assert (begun["scan_id"], begun["modules_used"]) == (scanner.rows("SELECT guid FROM tbl_scan_instance")[0][0],
                                                         ["sfp_pageinfo"])  # fmt: skip
