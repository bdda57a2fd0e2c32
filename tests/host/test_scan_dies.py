"""Scans that do not end well: nothing that was accepted is lost, and the end is told once."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.host.conftest import SECRET, Scanner, Team, WebUi, free_port, stop_group, until


def configure(scanner: Scanner, url: str) -> None:
    scanner.configure(f"[webhooks]\nenabled = true\nteam.url = {url}\nteam.secret = {SECRET}\nteam.events = all\n")


def scan_process(parent: int) -> int:
    """The process that runs the scan: of the two children that spawn makes, the one that is no resource tracker."""
    for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
            return int(child)
    return 0


def test_an_aborted_scan_with_a_backlog_tells_all_that_the_host_has(
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


@pytest.mark.parametrize("events", [1, 15, 60])
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
    handled = {line.split()[1] for line in journal.read_text().splitlines() if not line.startswith("ROOT")}
    kept = {json.loads(row[0])["hash"] for row in scanner.outbox("SELECT data FROM event WHERE type LIKE '%_event'")}
    assert handled and handled <= kept, "accepted means committed"

    team = new_team(tls=False, port=port)
    done = scanner.command("drain")

    assert done.returncode == 0, done.stdout + done.stderr
    assert handled <= set(team.hashes())
    assert set(scanner.hashes()) <= set(team.hashes()), "what the host has was recovered"
    assert len(team.hashes()) == len(set(team.hashes())), "nothing was told twice"
    assert team.ends() == ["scan_failed"]
    end = next(message["data"] for message in team.messages if message["event_type"] == "scan_failed")
    assert (end["reason"], end["detected_late"], end["status"]) == ("process_died", True, "RUNNING")
    assert scanner.command("drain").stdout.startswith("0 delivered, 0 waiting")
    assert len(team.ends()) == 1


def test_a_scan_stopped_with_the_web_ui_is_told_by_it(
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
    assert set(scanner.hashes()) <= set(team.hashes()), "the host may have lost what it had queued; we have not"


def test_ctrl_c_on_the_command_line_is_told_as_an_abort(scanner: Scanner, new_team: Callable[..., Team]) -> None:
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


def test_a_scan_whose_parent_was_killed_tells_its_own_end(scanner: Scanner, new_team: Callable[..., Team]) -> None:
    team = new_team(tls=False)
    configure(scanner, team.receiver.url)
    process = scanner.start()
    try:
        until(lambda: len(team.got) > 10)
        os.kill(process.pid, signal.SIGKILL)
        until(team.ends)
    finally:
        stop_group(process)
    assert team.ends() == ["scan_completed"]
    assert team.hashes() == scanner.hashes()


def test_a_scan_that_fails_before_its_modules_are_loaded_is_told(
    scanner: Scanner, new_team: Callable[..., Team]
) -> None:
    team = new_team(tls=False)
    configure(scanner, team.receiver.url)
    for cached in (scanner.home.folder / "cache").iterdir():
        cached.unlink()  # and the internet is not there: no list of top-level domains
    process = scanner.start(modules=("sfp_pageinfo",))
    try:
        until(team.ends, 90)
        process.wait(60)
    finally:
        stop_group(process)
    assert team.names() == ["scan_started", "scan_failed"]
    end = next(message["data"] for message in team.messages if message["event_type"] == "scan_failed")
    assert "TLD list" in end["error"]
    assert process.returncode == 0, "as without us"
