"""macOS and Windows, as far as they can be had here: what is accepted there is sent and settled there."""

from __future__ import annotations

import shlex
import socket
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Callable

import pytest

from sfwebhooks.config.settings import load
from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.system import POLL_IN, POLL_OUT, Poll, SelectPoll, _write_at, write_at
from tests.builders import PATIENCE, a_scan
from tests.conftest import Team
from tests.hosted import a_finished_scan
from tests.processes import run
from tests.systems import SYSTEMS, process
from tests.tiers import quick_first, slow

ONE_STORE = "it is about operating systems"

#: takes a lock, says so, and keeps it until it is asked to end
KEEPER = """
from pathlib import Path
from sfwebhooks.outbox.locks import FileLocks
lock = FileLocks(Path(sys.argv[1])).url(sys.argv[2])
print(lock.take(), flush=True)
sys.stdin.read()
lock.release()
"""

#: imports all that needs no scanner, and says how much that is
IMPORTER = """
import importlib, pkgutil
import sfwebhooks
names = [found.name for found in pkgutil.walk_packages(sfwebhooks.__path__, "sfwebhooks.")]
ours = [name for name in names if name.rpartition(".")[2] not in ("__main__", "plugin", "around_scan", "risks", "shim")]
for name in ours:
    importlib.import_module(name)
print(len(ours))
"""

#: runs commands, one after the other
COMMANDS = """
import shlex
from collections.abc import Sequence
from sfwebhooks.cli import main
for words in map(shlex.split, sys.argv[1:]):
    print(f"code {main(words)} of {words[0]}")
"""


@pytest.fixture(params=quick_first(sorted(SYSTEMS, reverse=True)))  # Windows lacks more
def system(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def folder(tmp_path: Path, team: Team) -> Path:
    """A data folder whose only endpoint is the team."""
    (tmp_path / "webhooks.ini").write_text(f"[webhooks.team]\nurl = {team.url}\nevents = all\n")
    (tmp_path / "data.json").write_text('{"report_id": "report-1", "title": "Threats"}')
    return tmp_path


def command(system: str, folder: Path, *arguments: str) -> tuple[int, str]:
    """Run a command there; return its exit code and what it printed, in one line."""
    with process(system, folder, *arguments) as running:
        said, _ = running.communicate(timeout=PATIENCE)
    return running.returncode, " ".join(said.split())


def several(system: str, folder: Path, *commands: Sequence[str]) -> str:
    """Run commands in one process, all with exit code 0; return what they printed."""
    with process(system, folder, *map(shlex.join, commands), program=COMMANDS) as running:
        said, _ = running.communicate(timeout=PATIENCE)
    codes = [line for line in said.splitlines() if line.startswith("code ")]
    assert codes == [f"code 0 of {name}" for name, *_ in commands], said
    return said


def emit(folder: Path, event_id: str) -> tuple[str, ...]:
    return "emit", "cti_report_generated", "--data", str(folder / "data.json"), "--id", event_id


def test_what_is_accepted_is_sent_and_settled(system: str, folder: Path, team: Team) -> None:
    said = several(system, folder, emit(folder, "one"), emit(folder, "two"), ("drain",))
    assert said.count("accepted for 1 endpoint (team)") == 2
    assert "\n2 delivered, 0 waiting, 0 dead." in said
    said = several(system, folder, emit(folder, "three"), ("drain",))
    assert "\n1 delivered, 0 waiting, 0 dead." in said
    assert sorted(team.sequences) == [1, 2, 3]
    assert len({received.message["metadata"]["series"] for received in team.got}) == 1


@slow
def test_one_process_sends(system: str, folder: Path, team: Team) -> None:
    several(system, folder, emit(folder, "one"))
    url_id = load(folder / "webhooks.ini").endpoints[0].url_id
    with process(system, folder, str(folder / FILE), url_id, program=KEEPER) as keeper:
        assert keeper.stdout and keeper.stdout.readline() == "True\n"
        code, said = command(system, folder, "drain", "--timeout", "1s")
        assert (code, "0 delivered, 1 waiting, 0 dead." in said, team.got) == (1, True, [])
        keeper.communicate(timeout=PATIENCE)
    assert command(system, folder, "drain") == (0, "1 delivered, 0 waiting, 0 dead.")


def test_a_scan_is_sent_and_leaves_no_lock(system: str, folder: Path, team: Team) -> None:
    a_finished_scan(folder / "spiderfoot.db", a_scan(), findings=3)
    code, said = command(system, folder, "backfill", a_scan().id, "--endpoint", "team")
    assert code == 0, said
    sent = [received.message["event_type"] for received in team.got]
    assert (sent[-1], len(sent)) == ("scan_completed", 7)
    assert not list(folder.glob("webhooks.locks/scan-*"))


def test_a_copy_of_an_outbox_begins_a_new_series(system: str, folder: Path, team: Team) -> None:
    several(system, folder, emit(folder, "one"), ("drain",))
    data = (folder / FILE).read_bytes()
    (folder / FILE).rename(folder / "original.db")
    (folder / FILE).write_bytes(data)
    (folder / FILE).chmod(0o600)
    several(system, folder, emit(folder, "two"), ("drain",))
    assert team.sequences == [1, 1]
    with closing(Outbox(folder / FILE)) as outbox:
        assert outbox.scans.tallies()["delivered"] == 2


def test_what_is_wrong_is_said(system: str, folder: Path) -> None:
    (folder / FILE).mkdir()
    code, said = command(system, folder, "drain")
    assert (code, f"{folder / FILE} is not a regular file but a folder: remove it" in said) == (1, True), said


def test_all_of_the_package_can_be_imported(system: str, folder: Path) -> None:
    with process(system, folder, program=IMPORTER) as running:
        said, _ = running.communicate(timeout=PATIENCE)
    assert (running.returncode, int(said) > 100) == (0, True), said


def test_other_commands_do_what_they_do_elsewhere(system: str, folder: Path) -> None:
    (folder / "modules").mkdir()
    (folder / "modules" / "sfp__stor_db.py").touch()
    (folder / "sfscan.py").touch()
    commands = [
        ("emit", "cti_report_generated", "--data", f"{folder}/data.json"),
        ("install", "--spiderfoot", f"{folder}"),
        ("check",),
        ("deliveries",),
        ("pause", "team"),
        ("keygen", "--file", f"{folder}/key"),
        ("uninstall", "--spiderfoot", f"{folder}"),
    ]
    several(system, folder, *commands)


@pytest.mark.parametrize("kind", [SelectPoll, Poll])
def test_a_socket_is_waited_for_alike_with_poll_and_with_select(kind: Any) -> None:
    one, other = socket.socketpair()
    with one, other:
        poll = kind()
        poll.register(one, POLL_IN)
        assert not poll.poll(0)
        other.send(b"x")
        assert poll.poll(PATIENCE * 1000)
        one.recv(1)
        assert not poll.poll(1)
        poll.modify(one, POLL_IN | POLL_OUT)
        assert poll.poll(PATIENCE * 1000), "it accepts bytes"
        poll.modify(one, POLL_IN)
        other.close()
        assert poll.poll(PATIENCE * 1000), "its end"


@pytest.mark.parametrize("write", [_write_at, write_at])
def test_bytes_are_written_at_a_place(write: Callable[[int, bytes, int], int], tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abcdef")
    with path.open("r+b") as file:
        write(file.fileno(), b"XY", 0)
        write(file.fileno(), b"Z", 3)
    assert path.read_bytes() == b"XYcZef"


@pytest.mark.parametrize(("soft", "hard", "wanted", "got"), [(256, 4096, 1000, 1000), (256, 512, 1000, 512),
                                                             (2000, 4096, 1000, 2000)])  # fmt: skip
def test_a_process_may_have_more_files_open_as_far_as_it_may_allow_that_itself(
    soft: int, hard: int, wanted: int, got: int
) -> None:
    program = """
import resource, sys
from sfwebhooks.system import allow_descriptors, descriptors_max
soft, hard, wanted = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
allow_descriptors(wanted)
print(descriptors_max())
"""
    assert run([soft, hard, wanted], program, timeout=PATIENCE).stdout == f"{got}\n"
