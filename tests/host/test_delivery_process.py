"""The delivery process that a real scan starts: it sends in the scan's place, and what the scan leaves behind."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from sfwebhooks.delivery.process import service_lock
from sfwebhooks.outbox.file import FILE
from sfwebhooks.receive.received import Received
from sfwebhooks.receive.responses import Response
from tests.builders import PATIENCE
from tests.conftest import host_shim
from tests.host.conftest import SECRET, Scanner, Team, WebUi, scan_process, stop_group, until

pytestmark = pytest.mark.slow


def configure(scanner: Scanner, team: Team, detach: str = "8s", **keys: str) -> None:
    """Write the settings of one endpoint; the process ends soon after the last scan."""
    given = {"url": team.receiver.url, "secret": SECRET, "events": "all, !surface_changed", **keys}
    general = f"[webhooks]\nenabled = true\ndrain_timeout = 1s\ndetach_timeout = {detach}\nprogress_interval = 1s\n"
    scanner.configure(general + "[webhooks.team]\n" + "".join(f"{key} = {value}\n" for key, value in given.items()))


def delivery_processes(scanner: Scanner) -> list[int]:
    """Return the ids of the delivery processes of a scanner's data folder, zombies apart."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (place / "cmdline").read_bytes().split(b"\0")
        except OSError:  # it has just ended
            continue
        if b"--while-needed" in arguments and str(scanner.home.data).encode() in arguments:
            found.append(int(place.name))
    return found


def sending(scanner: Scanner) -> int:
    """Return the id of the process that sends, once it does."""
    return int(until(lambda: service_lock(scanner.home.data / FILE).noted()).split()[0])


def is_there(pid: int) -> bool:
    """Return whether there is a process with this id, or a zombie."""
    return Path(f"/proc/{pid}").exists()


def test_messages_at_a_pace_arrive_after_the_scan_has_ended_and_then_it_ends(
    scanner: Scanner, new_team: Callable[..., Team]
) -> None:
    is_over = threading.Event()

    def answer(received: Received) -> Response:
        """Answer the first message once the scan is over, however long that takes."""
        is_over.wait(3 * PATIENCE)
        return Response(200)

    team = new_team(tls=False, respond=answer)
    configure(scanner, team, detach="10s", rate="5/s", timeout="60s", events="scan_*, high_risk_event")
    code, log = scanner.scan()
    assert code == 0, log
    left, (pid,) = len(team.got), delivery_processes(scanner)
    assert f"waiting (process {pid} is sending them" in log
    assert not team.ends()
    is_over.set()
    until(team.ends)
    assert len(team.got) > left
    until(lambda: not is_there(pid))


def test_it_ends_by_itself_some_time_after_the_last_scan(scanner: Scanner, new_team: Callable[..., Team]) -> None:
    team = new_team(tls=False)
    configure(scanner, team, detach="2s", events="scan_*")
    code, log = scanner.scan()
    assert (code, team.ends(), "0 waiting" in log) == (0, ["scan_completed"], True), log
    until(lambda: not delivery_processes(scanner))
    assert service_lock(scanner.home.data / FILE).is_free


def test_two_scans_share_one(scanner: Scanner, new_team: Callable[..., Team]) -> None:
    team = new_team(tls=False)
    configure(scanner, team)
    scans = [scanner.start(), scanner.start()]
    pids = set()
    try:
        while any(scan.poll() is None for scan in scans):
            pids.add(sending(scanner))
            assert len(delivery_processes(scanner)) <= 2  # a second one that is about to end
    finally:
        for scan in scans:
            stop_group(scan)
    until(lambda: len(team.ends()) == 2)
    assert team.hashes() == scanner.hashes()
    assert len(pids) == 1
    until(lambda: not delivery_processes(scanner))


def test_a_scan_whose_delivery_process_is_killed_sends_itself_and_starts_another_for_the_rest(
    scanner: Scanner, new_team: Callable[..., Team]
) -> None:
    team = new_team(tls=False)
    configure(scanner, team, detach="60s", rate="5/s")
    process = scanner.start()
    try:
        first = sending(scanner)
        until(lambda: len(team.got) > 2)
        os.kill(first, signal.SIGKILL)
        until(lambda: not is_there(first))  # no zombie stays while the scan is running
        before = len(team.got)
        until(lambda: len(team.got) > before + 4)
        assert delivery_processes(scanner) == []
        assert process.poll() is None, "the scan itself has sent"
        _, log = process.communicate(timeout=100)
    finally:
        stop_group(process)
    second = sending(scanner)
    assert f"waiting (process {second} is sending them" in log
    configure(scanner, team, detach="60s")  # as fast as it goes
    until(team.ends)
    assert team.hashes_once() == scanner.hashes()
    os.kill(second, signal.SIGTERM)
    until(lambda: not is_there(second))


def test_it_inherits_nothing_and_shows_no_secret(scanner: Scanner, new_team: Callable[..., Team]) -> None:
    team = new_team(tls=False)
    configure(scanner, team)
    process = scanner.start(environment=scanner.environment("slow"))
    try:
        pid = sending(scanner)
        until(lambda: len(team.got) > 2)
        scan = scan_process(process.pid)
        files = {int(link.name): link.readlink() for link in Path(f"/proc/{pid}/fd").iterdir()}
        assert {str(files[number]) for number in range(3)} == {os.devnull}
        assert [file for file in files.values() if file.name.startswith(("pipe:", "spiderfoot"))] == []
        assert (os.getsid(pid), str(Path(f"/proc/{pid}/cwd").readlink())) == (pid, "/")
        assert os.getpriority(os.PRIO_PROCESS, pid) > os.getpriority(os.PRIO_PROCESS, scan)
        assert str(host_shim()).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
        assert SECRET.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
    finally:
        stop_group(process)
    until(lambda: not delivery_processes(scanner))


@pytest.mark.parametrize(("detach", "fault"), [("0", ""), ("15m", "no_python")])
def test_without_one_the_scan_sends_itself(
    detach: str, fault: str, scanner: Scanner, new_team: Callable[..., Team]
) -> None:
    team = new_team(tls=False)
    configure(scanner, team, detach)
    process = scanner.start(environment=scanner.environment(fault))
    try:
        until(lambda: team.got)
        assert (process.poll(), delivery_processes(scanner)) == (None, [])
        _, log = process.communicate(timeout=100)
    finally:
        stop_group(process)
    assert (process.returncode, team.ends()) == (0, ["scan_completed"]), log
    assert team.hashes() == scanner.hashes()
    assert ("webhooks: no delivery process: /nonexistent/python: " in log) == bool(fault)
    assert delivery_processes(scanner) == []


def test_it_outlives_the_web_ui(scanner: Scanner, new_team: Callable[..., Team], web_ui: Callable[..., WebUi]) -> None:
    team = new_team(tls=False)
    configure(scanner, team, detach="60s", rate="5/s")
    ui = web_ui()
    ui.start_scan()
    pid = sending(scanner)
    until(lambda: scanner.status() == "FINISHED")
    stop_group(ui.process)
    assert not team.ends()
    configure(scanner, team, detach="60s")  # as fast as it goes
    until(team.ends)
    assert team.hashes() == scanner.hashes()
    os.kill(pid, signal.SIGTERM)
    until(lambda: not is_there(pid))
