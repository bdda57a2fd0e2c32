"""The settings file is replaced in one step, whatever happens meanwhile."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
import struct
from contextlib import suppress
from pathlib import Path
from random import Random
from subprocess import PIPE, TimeoutExpired

import pytest

from sfwebhooks import system
from sfwebhooks.cli import main
from sfwebhooks.config.rewriting import PREVIOUS, rewrite
from sfwebhooks.config.settings import load
from sfwebhooks.errors import ConfigError
from tests.builders import PATIENCE
from tests.processes import Process, run
from tests.tiers import slow

OLD = "[webhooks.team]\nurl = http://127.0.0.1:9/\n"
#: kills the command at a line of the module that writes, or of the calls below it
KILLED = """
import os, signal, sys
from sfwebhooks.cli import main
left = int(sys.argv[1])
def trace(frame, event, value):
    global left
    if frame.f_code.co_filename.endswith("rewriting.py") or frame.f_code.co_name in ("make", "copy_access", "_give"):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace
sys.settrace(trace)
sys.exit(main(sys.argv[2:]))
"""

#: replaces a file by one of two texts in turn, again and again
REPLACING = """
import os, sys
from pathlib import Path
from sfwebhooks.config.rewriting import rewrite
path = Path(sys.argv[1])
turn = {"a": "b", "b": "a"}
print("ready", flush=True)
while True:
    rewrite(path, lambda text: turn[text[0]] * len(text))
    os.utime(path, (1, 1))
"""


def put(path: Path, text: str = OLD, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    os.utime(path, (1, 1))
    return path


def killed_at(step: int, path: Path) -> int:
    return run([step, "update", "team", "--events", "all", "--config", path], KILLED, timeout=PATIENCE).returncode


def check_kill(path: Path, step: int, mode: int) -> bool:
    """Kill the command at a step; return whether it got so far."""
    put(path, mode=mode)
    backup = path.with_name(path.name + PREVIOUS)
    backup.unlink(missing_ok=True)
    code = killed_at(step, path)
    assert path.read_text() in (OLD, f"{OLD}events = all\n")
    assert stat.S_IMODE(path.stat().st_mode) == mode
    for one in path.parent.iterdir():
        assert stat.S_IMODE(one.stat().st_mode) | mode == mode, one
    if backup.exists():
        assert backup.read_text() == OLD
    assert code in (0, -signal.SIGKILL)
    return code != 0


@slow
@pytest.mark.parametrize("mode", [0o600, 0o640])
def test_killed_at_any_step_the_file_is_the_old_or_the_new_one(tmp_path: Path, mode: int) -> None:
    path, steps = tmp_path / "webhooks.ini", 0
    while check_kill(path, steps + 1, mode):
        steps += 1
    assert steps > 60
    assert path.read_text() == f"{OLD}events = all\n"


@slow
def test_killed_at_a_random_moment_the_file_is_complete(tmp_path: Path) -> None:
    path, chance = put(tmp_path / "webhooks.ini", "a" * 1_000_000, 0o640), Random(15)
    replaced = 0
    for _ in range(60):
        before = path.stat().st_ino
        os.utime(path, (1, 1))
        with Process([path], REPLACING, stdout=PIPE) as process:
            assert process.stdout and process.stdout.readline() == "ready\n"
            with suppress(TimeoutExpired):
                process.wait(chance.uniform(0, 0.1))
            process.kill()
        text = path.read_text()
        assert text in ("a" * 1_000_000, "b" * 1_000_000)
        assert all(stat.S_IMODE(one.stat().st_mode) | 0o640 == 0o640 for one in tmp_path.iterdir())
        replaced += path.stat().st_ino != before
    assert replaced


def test_after_a_kill_the_next_command_succeeds_and_nothing_is_left_over(tmp_path: Path) -> None:
    path = tmp_path / "webhooks.ini"
    for step in (30, 50):
        assert check_kill(path, step, 0o600)
    os.utime(path, (1, 1))
    assert main(["update", "team", "--events", "scan_*", "--config", str(path)]) == 0
    assert sorted(one.name for one in tmp_path.iterdir()) == ["webhooks.ini", f"webhooks.ini{PREVIOUS}"]


def test_commands_that_run_at_once_lose_no_change(tmp_path: Path) -> None:
    path = put(tmp_path / "webhooks.ini")
    started = [
        Process(["create", f"e{number}", "--url", "http://127.0.0.1:9/", "--no-test", "--config", path], stdout=PIPE)
        for number in range(6)
    ]
    assert [one.wait(PATIENCE) for one in started] == [0] * 6
    assert {one.name for one in load(path).endpoints} == {"team", *(f"e{number}" for number in range(6))}


def test_a_lock_of_a_user_who_may_read_the_settings_holds_nobody(tmp_path: Path) -> None:
    path = put(tmp_path / "webhooks.ini", mode=0o644)
    modes = []

    def change(text: str) -> str:
        modes.append(stat.S_IMODE((tmp_path / ".webhooks.ini.lock").stat().st_mode))
        return text + "#\n"

    with path.open() as theirs:
        fcntl.flock(theirs, fcntl.LOCK_EX)
        assert rewrite(path, change)
    assert modes == [0o600]
    assert sorted(one.name for one in tmp_path.iterdir()) == ["webhooks.ini", f"webhooks.ini{PREVIOUS}"]


def test_a_change_by_another_program_in_this_moment_is_not_lost(tmp_path: Path) -> None:
    path = put(tmp_path / "webhooks.ini")

    def slow_change(text: str) -> str:
        path.write_text("by an editor\n")
        return text + "by a command\n"

    with pytest.raises(ConfigError, match="another program changed it in this moment"):
        rewrite(path, slow_change)
    assert path.read_text() == "by an editor\n"
    assert not list(tmp_path.glob(".*"))


def test_a_link_is_followed_and_stays(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    real, link = put(tmp_path / "etc" / "real.ini", mode=0o640), tmp_path / "webhooks.ini"
    link.symlink_to(real)
    backup = rewrite(link, lambda text: text + "# more\n")
    assert (link.is_symlink(), real.read_text()) == (True, OLD + "# more\n")
    assert backup == tmp_path / "etc" / f"real.ini{PREVIOUS}"
    assert backup
    assert {stat.S_IMODE(one.stat().st_mode) for one in (real, backup)} == {0o640}


def test_the_backup_does_not_follow_a_link(tmp_path: Path) -> None:
    path = put(tmp_path / "webhooks.ini")
    (tmp_path / "precious").write_text("precious")
    (tmp_path / f"webhooks.ini{PREVIOUS}").symlink_to(tmp_path / "precious")
    (tmp_path / ".webhooks.ini.new").symlink_to(tmp_path / "precious")
    backup = rewrite(path, lambda text: text + "#\n")
    assert backup and backup.read_text() == OLD
    assert (tmp_path / "precious").read_text() == "precious"


@pytest.mark.skipif(system.user() != 0, reason="only root can give files away")
def test_the_owner_stays(tmp_path: Path) -> None:
    path = put(tmp_path / "webhooks.ini")
    os.chown(path, 12345, 23456)
    backup = rewrite(path, lambda text: text + "#\n")
    assert backup
    assert {(one.stat().st_uid, one.stat().st_gid) for one in (path, backup)} == {(12345, 23456)}


def test_an_access_list_stays(tmp_path: Path) -> None:
    path = put(tmp_path / "webhooks.ini", mode=0o640)
    entries = ((1, 6, -1), (2, 4, 12345), (4, 0, -1), (0x10, 4, -1), (0x20, 0, -1))  # acl(5): only uid 12345 may read
    access = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
    try:
        os.setxattr(path, system.ACCESS_LIST, access)
    except OSError:
        pytest.skip("this file system has no access lists")
    backup = rewrite(path, lambda text: text + "#\n")
    assert backup
    assert [os.getxattr(one, system.ACCESS_LIST) for one in (path, backup)] == [access] * 2


def test_an_edit_that_changes_nothing_keeps_the_previous_version(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = put(tmp_path / "webhooks.ini")
    command = ["update", "team", "--events", "all", "--config", str(path)]
    assert [main(command), main(command)] == [0, 0]
    assert "Nothing was changed: " in capsys.readouterr().out
    assert path.with_name(path.name + PREVIOUS).read_text() == OLD


@pytest.mark.parametrize("name", ["webhooks.ini.previous", ".webhooks.ini.new", ".webhooks.ini.previous.new"])
def test_a_folder_in_the_place_of_a_file_is_named_and_no_draft_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    path = put(tmp_path / "webhooks.ini")
    (tmp_path / name).mkdir()
    assert main(["update", "team", "--events", "all", "--config", str(path)]) == 1
    shown = capsys.readouterr().err.replace("\n", "")
    assert f"{path} cannot be changed: {tmp_path / name}: Is a directory; it is as it was" in shown
    assert (sorted(one.name for one in tmp_path.iterdir()), path.read_text()) == (sorted([path.name, name]), OLD)


def test_an_edit_that_fails_keeps_the_previous_version(tmp_path: Path) -> None:
    path = put(tmp_path / "webhooks.ini")
    backup = tmp_path / "webhooks.ini.previous"
    backup.write_text("older")

    def slow_change(text: str) -> str:
        path.write_text("by an editor\n")
        return text + "#\n"

    with pytest.raises(ConfigError):
        rewrite(path, slow_change)
    assert backup.read_text() == "older"


@pytest.mark.parametrize("mask", [0, 0o077, 0o777])
def test_the_mode_stays_whatever_the_umask(tmp_path: Path, mask: int) -> None:
    path = put(tmp_path / "webhooks.ini", mode=0o640)
    before = os.umask(mask)
    try:
        backup = rewrite(path, lambda text: text + "#\n")
    finally:
        os.umask(before)
    assert backup
    assert {stat.S_IMODE(one.stat().st_mode) for one in (path, backup)} == {0o640}


def test_a_full_disk_leaves_the_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = put(tmp_path / "webhooks.ini")
    monkeypatch.setattr(os, "fsync", full)
    assert main(["update", "team", "--events", "all", "--config", str(path)]) == 1
    assert "cannot be changed: No space left on device; it is as it was" in " ".join(capsys.readouterr().err.split())
    assert ([one.name for one in tmp_path.iterdir()], path.read_text()) == (["webhooks.ini"], OLD)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xff\xfe[\0", "it is saved as UTF-16"),
        ("[webhooks.team]\nurl = ü\n".encode("latin-1"), "line 2 is not UTF-8"),
        (b"#" * 1_048_577, "it has more than the accepted 1,048,576 bytes"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], data: bytes, words: str
) -> None:
    path = tmp_path / "webhooks.ini"
    path.write_bytes(data)
    os.utime(path, (1, 1))
    assert main(["update", "team", "--events", "all", "--config", str(path)]) == 1
    assert words in capsys.readouterr().err
    assert path.read_bytes() == data


def test_a_missing_file_a_folder_and_a_pipe_are_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, words in (("none", "sfwebhooks init creates one"), ("", "Is a directory"), ("pipe", "a named pipe")):
        assert main(["delete", "team", "--yes", "--config", str(tmp_path / name)]) == 1
        assert words in capsys.readouterr().err
