"""The disk of the outbox is full from the middle of a scan on: the scan does not notice, and nothing is lost that was
accepted."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import pytest

from sfwebhooks.receive.received import Received
from sfwebhooks.receive.responses import Response
from tests.host.conftest import SECRET, Scanner, Team, until
from tests.outbox.test_file import fill

pytestmark = pytest.mark.slow

#: deliveries that arrive before the disk is full
BEFORE = 2


@pytest.fixture
def disk(scanner: Scanner, tmp_path: Path) -> Iterator[Path]:
    """A small disk that has only the outbox, so that nothing but us notices when it is full."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("only root can mount a small disk")
    (scanner.home.data / "webhooks.db").symlink_to(folder / "webhooks.db")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def configure(scanner: Scanner, team: Team) -> None:
    scanner.configure(
        "[webhooks]\nenabled = true\nevents = all, !surface_changed\n"
        f"default_url = {team.receiver.url}\nsecret = {SECRET}\n"
    )


def test_a_disk_that_is_full_from_the_middle_of_a_scan_on(
    scanner: Scanner, new_team: Callable[..., Team], disk: Path
) -> None:
    team = new_team(tls=False)
    configure(scanner, team)
    team.receiver.respond = filling(team, disk)
    code, log = scanner.scan()
    assert (code, scanner.status()) == (0, "FINISHED")
    assert "events are buffered in memory" in log and "the next process reads them from SpiderFoot's" in log
    kept = accepted(scanner)
    assert len(kept) < len(scanner.hashes()), "the disk was full in the middle of the scan"
    assert kept <= {received.headers["webhook-id"] for received in team.got}, "what was accepted is delivered"
    (disk / "filler").unlink()
    drained = scanner.command("drain")
    assert drained.returncode == 0, drained.stdout + drained.stderr
    assert (team.hashes_once(), team.ends()) == (scanner.hashes(), ["scan_completed"])


def test_a_disk_that_is_full_for_a_while(scanner: Scanner, new_team: Callable[..., Team], disk: Path) -> None:
    team = new_team(tls=False)
    configure(scanner, team)
    team.receiver.respond = filling(team, disk)
    process = scanner.start()
    until(lambda: (disk / "filler").exists())
    until(lambda: len(scanner.hashes()) > len(accepted(scanner)) + 20)
    (disk / "filler").unlink()
    _, log = process.communicate(timeout=120)
    assert (process.returncode, scanner.status()) == (0, "FINISHED")
    assert "the outbox can be written again" in log
    warnings = [message["data"] for message in team.messages if message["event_type"] == "resource_warning"]
    assert [warning["resource"] for warning in warnings] == ["disk"]
    assert (team.hashes_once(), team.ends()) == (scanner.hashes(), ["scan_completed"])


def accepted(scanner: Scanner) -> set[str]:
    """Return the ids of all deliveries in the outbox."""
    return {row[0] for row in scanner.outbox("SELECT id FROM delivery")}


def filling(team: Team, disk: Path) -> Callable[[Received], Response]:
    """Return an answer that leaves no room on the disk once some deliveries have come."""

    filled = threading.Lock()

    def answer(received: Received) -> Response:
        if len(team.got) >= BEFORE and filled.acquire(blocking=False):  # several may be answered at once
            fill(disk)
        return Response(200)

    return answer
