"""`sfwebhooks connect` while the real scanner runs: who joins gets all of the scan, once, also if it is killed."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import host_shim
from tests.host.conftest import SECRET, Scanner, Team, scan_process, stop_group, until
from tests.host.sfp_test_goes_on import KINDS, UNTIL

pytestmark = pytest.mark.slow


@pytest.fixture
def going_on(alone: None) -> Iterator[str]:
    """A module of the host that goes on until it is stopped."""
    path = host_shim().with_name("sfp_test_goes_on.py")
    shutil.copy(Path(__file__).with_name(path.name), path)
    yield path.stem
    path.unlink()


def configure(scanner: Scanner, detach: str, **teams: tuple[Team, str]) -> None:
    general = f"[webhooks]\nenabled = true\nsecret = {SECRET}\ndetach_timeout = {detach}\n"
    sections = (f"[webhooks.{name}]\nurl = {team.receiver.url}\n{more}\n" for name, (team, more) in teams.items())
    scanner.configure(general + "".join(sections))


def kinds(team: Team) -> set[str]:
    """The types of the findings that were sent live."""
    found = (message["data"] for message in team.messages if "hash" in message["data"])
    return {data["event_type"] for data in found if "recovered" not in data}


@pytest.mark.parametrize("end", ["finished", "killed"])
@pytest.mark.parametrize("detach", ["30s", "0s"])
def test_an_endpoint_joins_a_running_scan(
    end: str, detach: str, going_on: str, scanner: Scanner, new_team: Callable[..., Team], tmp_path: Path
) -> None:
    team, other = new_team(tls=False), new_team(tls=False)
    watching = (team, "events = scan_*, vulnerability_found")
    configure(scanner, detach, team=watching, other=(other, "events = all, !surface_changed\nenabled = false"))
    environment = scanner.environment(**{UNTIL: str(tmp_path / "enough")})
    process = scanner.start(modules=(going_on,), environment=environment)
    try:
        until(lambda: len(team.got) > 5)
        done = scanner.command("connect", "other", "--yes", "--no-test", "--no-backfill")
        assert (done.returncode, "is running, and uses it" in " ".join(done.stdout.split())) == (0, True), done
        until(lambda: kinds(other) >= {*KINDS})
        if end == "killed":
            os.kill(scan_process(process.pid), signal.SIGKILL)  # the scanner's other process would wait for it
        else:
            (tmp_path / "enough").touch()
            _, log = process.communicate(timeout=100)
            assert "bug in" not in log, log
    finally:
        stop_group(process)
    scanner.command("drain", "--timeout", "60s")
    until(lambda: team.ends() and other.ends())
    assert team.ends() == other.ends() == ["scan_completed" if end == "finished" else "scan_failed"]
    assert {*scanner.hashes()} <= {*other.hashes()} and len({*other.hashes()}) >= 2 * 5
    assert {*team.hashes()} == {*scanner.hashes("VULNERABILITY_GENERAL")} or end == "killed"
    ids = {one.headers["webhook-id"]: one.message["metadata"]["event_id"] for one in other.got}
    assert len({*ids.values()}) == len(ids), "no event under two ids"
    counts = scanner.outbox("SELECT count(*), count(DISTINCT event) FROM delivery WHERE endpoint = 'other'")
    (last,) = (message["data"]["receipt"] for message in other.messages if message["data"].get("receipt"))
    assert counts == [(last["accepted"], last["accepted"])] == [(len(ids), len(ids))]
