from __future__ import annotations

import errno
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Callable

import pytest

from sfwebhooks import system
from sfwebhooks.errors import OutboxError
from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.locks import FileLocks, Lock
from sfwebhooks.outbox.permissions import LOCKS
from tests.builders import PATIENCE
from tests.outbox.test_permissions import disputed
from tests.threads import waits_for
from tests.users import descriptors

ONE_STORE = "it is about the file"

#: a process that takes a lock and has a child, which lives on when it is killed
PARENT = """
import os, sys
from pathlib import Path
from sfwebhooks.outbox.locks import FileLocks, Lock
lock = Lock(Path(sys.argv[1]), sys.argv[2])
lock.take()
if os.fork() == 0:
    os.close(1)
    sys.stdin.read()
    os._exit(0)
print("held", flush=True)
os.kill(os.getpid(), 9)
"""
HOLDER = """
import sys
from pathlib import Path
from sfwebhooks.outbox.locks import FileLocks, Lock
lock = Lock(Path(sys.argv[1]), sys.argv[2])
print("held" if lock.take() else "not held", flush=True)
sys.stdin.readline()
lock.release()
print("released", flush=True)
sys.stdin.readline()
"""


class Holder:
    """A process that takes a lock and waits for our word."""

    def __init__(self, outbox: Path, name: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(outbox), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.said = self.hear()

    def hear(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def release(self) -> None:
        assert self.process.stdin
        self.process.stdin.write("release\n")
        self.process.stdin.flush()
        assert self.hear() == "released"

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def outbox_path(tmp_path: Path) -> Path:
    return tmp_path / FILE


@pytest.fixture
def holder(outbox_path: Path) -> Iterator[Callable[[str], Holder]]:
    """Start processes that hold a lock: `holder(name)`."""
    holders: list[Holder] = []

    def start(name: str) -> Holder:
        holders.append(Holder(outbox_path, name))
        return holders[-1]

    yield start
    for one in holders:
        one.end()


def test_a_free_lock_is_taken(outbox_path: Path) -> None:
    assert Lock(outbox_path, "url-1").take()


def test_a_lock_is_not_held_before_it_is_taken(outbox_path: Path) -> None:
    assert not Lock(outbox_path, "url-1").held


def test_a_lock_that_we_hold_is_taken_again_at_once(outbox_path: Path) -> None:
    lock = Lock(outbox_path, "url-1")
    lock.take()
    assert lock.take()


def test_a_lock_taken_twice_is_free_after_one_release(outbox_path: Path) -> None:
    lock = Lock(outbox_path, "url-1")
    lock.take()
    lock.take()
    lock.release()
    assert Lock(outbox_path, "url-1").take()


def test_a_lock_that_another_process_holds_is_not_taken(outbox_path: Path, holder: Callable[[str], Holder]) -> None:
    holder("url-1")
    assert not Lock(outbox_path, "url-1").take()


def test_another_process_does_not_take_a_lock_that_we_hold(outbox_path: Path, holder: Callable[[str], Holder]) -> None:
    ours = Lock(outbox_path, "url-1")
    ours.take()
    assert holder("url-1").said == "not held"


def test_two_users_of_a_lock_in_one_process_exclude_each_other(outbox_path: Path) -> None:
    first = Lock(outbox_path, "url-1")
    first.take()
    assert not Lock(outbox_path, "url-1").take()


def test_a_lock_that_another_process_released_is_taken(outbox_path: Path, holder: Callable[[str], Holder]) -> None:
    holder("url-1").release()
    assert Lock(outbox_path, "url-1").take()


def test_a_waiting_process_takes_over_without_a_new_lock_object(
    outbox_path: Path, holder: Callable[[str], Holder]
) -> None:
    other, ours = holder("url-1"), Lock(outbox_path, "url-1")
    ours.take()
    other.release()
    assert ours.take()


def test_the_lock_of_a_killed_process_is_free(outbox_path: Path, holder: Callable[[str], Holder]) -> None:
    holder("url-1").end()
    assert Lock(outbox_path, "url-1").take()


def test_the_lock_of_a_zombie_is_free(outbox_path: Path, holder: Callable[[str], Holder]) -> None:
    one = holder("url-1")
    one.process.kill()
    os.waitid(os.P_PID, one.process.pid, os.WEXITED | os.WNOWAIT)  # it is dead, and stays a zombie
    assert Lock(outbox_path, "url-1").take()


def test_locks_of_other_names_are_independent(outbox_path: Path, holder: Callable[[str], Holder]) -> None:
    holder("url-1")
    assert Lock(outbox_path, "url-2").take()


def test_locks_of_scans_and_urls_are_independent(outbox_path: Path) -> None:
    FileLocks(outbox_path).scan("1").take()
    assert FileLocks(outbox_path).url("1").take()


def test_locks_next_to_another_outbox_are_independent(tmp_path: Path, holder: Callable[[str], Holder]) -> None:
    holder("url-1")
    (tmp_path / "other").mkdir()
    assert Lock(tmp_path / "other" / FILE, "url-1").take()


def test_a_lock_removed_with_its_release_leaves_no_file(outbox_path: Path) -> None:
    lock = FileLocks(outbox_path).scan("1")
    lock.take()
    lock.release(remove=True)
    assert list((outbox_path.with_suffix(LOCKS)).iterdir()) == []


def test_a_lock_that_we_do_not_hold_is_not_removed(outbox_path: Path, holder: Callable[[str], Holder]) -> None:
    holder("scan-1")
    FileLocks(outbox_path).scan("1").release(remove=True)
    assert not FileLocks(outbox_path).scan("1").take()


def test_releasing_a_lock_that_nobody_holds_is_harmless(outbox_path: Path) -> None:
    lock = Lock(outbox_path, "url-1")
    lock.release()
    assert lock.take()


def test_only_the_owner_can_look_into_the_folder_of_locks(outbox_path: Path) -> None:
    Lock(outbox_path, "url-1").take()
    assert stat.S_IMODE((outbox_path.with_suffix(LOCKS)).stat().st_mode) == 0o700


def test_a_lock_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE).with_suffix(LOCKS).write_text("in the way")
    with pytest.raises(OutboxError, match=f"{(tmp_path / FILE).with_suffix(LOCKS)} is not a folder: remove it"):
        Lock(tmp_path / FILE, "url-1").take()


def test_a_check_opens_the_locks_file(tmp_path: Path) -> None:
    lock = Lock(tmp_path / FILE, "url-1")
    lock.check()
    assert [one.name for one in (tmp_path / FILE).with_suffix(LOCKS).iterdir()] == ["url-1.lock"]
    (tmp_path / FILE).with_suffix(LOCKS).joinpath("url-1.lock").unlink()
    (tmp_path / FILE).with_suffix(LOCKS).joinpath("url-1.lock").mkdir()
    with pytest.raises(OutboxError, match=r"url-1\.lock"):
        lock.check()


def test_a_check_looks_at_the_note_too(outbox_path: Path) -> None:
    lock = Lock(outbox_path, "url-1")
    assert lock.take()
    lock.note("ours")
    lock.release()
    lock.check()
    (note,) = outbox_path.with_suffix(LOCKS).glob("*.note")
    note.chmod(0o666)
    with pytest.raises(OutboxError, match="url-1"):
        lock.check()


def test_a_late_thread_does_not_write_over_the_note_of_the_next_holder(outbox_path: Path) -> None:
    ours, next_one = Lock(outbox_path, "one"), Lock(outbox_path, "one")
    ours.take()
    ours.note("ours")
    ours.release()
    next_one.take()
    next_one.note("deadly")
    ours.note("late")
    assert next_one.noted() == "deadly"
    next_one.release()


def test_a_note_replaces_the_one_before(outbox_path: Path) -> None:
    lock = Lock(outbox_path, "one")
    lock.take()
    for text in ("the first one", "second"):
        lock.note(text)
    assert lock.noted() == "second"
    lock.release()


def test_to_look_for_a_note_makes_none(outbox_path: Path) -> None:
    lock = Lock(outbox_path, "one")
    lock.take()
    assert lock.noted() == ""
    assert [file.name for file in outbox_path.with_suffix(LOCKS).iterdir()] == ["one.lock"]
    lock.release()


def test_a_lock_that_was_released_leaves_its_file_and_no_descriptor(outbox_path: Path) -> None:
    lock, other, before = Lock(outbox_path, "one"), Lock(outbox_path, "one"), descriptors()
    assert lock.take()
    assert not other.take()
    for text in ("a note", "another"):
        lock.note(text)
    lock.noted()
    lock.release()
    lock.check()
    assert descriptors() == before
    assert sorted(file.name for file in outbox_path.with_suffix(LOCKS).iterdir()) == ["one.lock", "one.note"]


def test_a_lock_that_is_taken_again_was_never_free(outbox_path: Path) -> None:
    lock = Lock(outbox_path, "one")

    @contextmanager
    def taken_twice() -> Iterator[None]:
        lock.take()
        yield  # here another process begins to wait for it
        assert lock.take()
        lock.release()

    def wait() -> None:
        descriptor = os.open(outbox_path.with_suffix(LOCKS) / "one.lock", os.O_RDWR)
        system.lock(descriptor, wait=True)
        os.close(descriptor)

    assert waits_for(taken_twice(), wait)


def test_a_file_system_without_locks_is_named(outbox_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, before = Lock(outbox_path, "one"), descriptors()

    def flock(descriptor: int, how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", flock)
    with pytest.raises(OutboxError, match=r"the lock .*one\.lock cannot be used: No locks available"):
        lock.take()
    assert descriptors() == before


# --- its file is gone


class Disputed(Lock):
    """A lock whose file another process removes when it has just been created."""

    @property
    def _place(self) -> Path:
        return disputed(super()._place, False, False)


def test_a_lock_whose_file_is_removed_while_it_is_taken_is_taken_again(outbox_path: Path) -> None:
    lock = Disputed(outbox_path, "one")
    assert lock.take()
    assert not Lock(outbox_path, "one").take()
    lock.release()


def test_a_lock_whose_file_was_removed_is_no_longer_held(outbox_path: Path) -> None:
    lock = FileLocks(outbox_path).url("1")
    lock.take()
    shutil.rmtree(outbox_path.with_suffix(LOCKS))
    assert lock.held is False


def test_a_lock_whose_file_was_removed_is_taken_again(outbox_path: Path, holder: Callable[[str], Holder]) -> None:
    lock = FileLocks(outbox_path).url("1")
    lock.take()
    shutil.rmtree(outbox_path.with_suffix(LOCKS))
    assert lock.take()
    assert holder("url-1").said == "not held"


def test_a_lock_whose_file_was_removed_is_another_process_that_takes_it(
    outbox_path: Path, holder: Callable[[str], Holder]
) -> None:
    lock = FileLocks(outbox_path).url("1")
    lock.take()
    outbox_path.with_suffix(LOCKS).rename(outbox_path.with_suffix(".moved"))
    assert holder("url-1").said == "held"
    assert not lock.held
    assert not lock.take()


def test_releasing_a_lock_whose_file_was_removed_leaves_that_of_the_next_holder(
    outbox_path: Path, holder: Callable[[str], Holder]
) -> None:
    lock = FileLocks(outbox_path).scan("1")
    lock.take()
    shutil.rmtree(outbox_path.with_suffix(LOCKS))
    holder("scan-1")
    lock.release(remove=True)
    assert not FileLocks(outbox_path).scan("1").take()


def test_a_child_does_not_hold_the_lock_of_its_dead_parent(outbox_path: Path) -> None:
    command = [sys.executable, "-c", PARENT, str(outbox_path), "url-1"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stdout.read() == "held\n"  # the end: the parent is dead, the child lives
        assert Lock(outbox_path, "url-1").take()
        process.communicate("")


def test_a_child_does_not_hold_a_lock_that_its_parent_has_released(outbox_path: Path) -> None:
    lock = Lock(outbox_path, "one")
    lock.take()
    (is_there, says_so), (may_end, ends) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ends)
        os.write(says_so, b"!")
        os.read(may_end, 1)
        os._exit(0)
    try:
        assert os.read(is_there, 1) == b"!"
        lock.release()
        assert Lock(outbox_path, "one").take()
    finally:
        for descriptor in (is_there, says_so, may_end, ends):
            os.close(descriptor)
        os.waitpid(child, 0)


def test_a_child_uses_a_lock_that_its_parent_was_just_taking(outbox_path: Path) -> None:
    lock = Lock(outbox_path, "one")
    with lock._guard:
        child = os.fork()
        if child == 0:
            signal.alarm(int(PATIENCE))
            os._exit(0 if lock.take() else 1)
        assert os.waitpid(child, 0)[1] == 0


# --- two names of one outbox


def test_an_outbox_and_a_link_to_it_have_the_same_locks(tmp_path: Path, outbox_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / FILE).symlink_to(outbox_path)
    lock = FileLocks(tmp_path / "other" / FILE).url("1")
    assert (lock.take(), FileLocks(outbox_path).url("1").take()) == (True, False)


def test_two_outboxes_in_one_folder_have_locks_of_their_own(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / FILE).symlink_to(tmp_path / f"{name}.db")
    lock = FileLocks(tmp_path / "one" / FILE).url("1")
    assert lock.take()
    assert FileLocks(tmp_path / "two" / FILE).url("1").take()


def test_to_look_whether_a_lock_is_free_makes_no_file_and_keeps_nothing(
    outbox_path: Path, holder: Callable[[str], Holder]
) -> None:
    assert Lock(outbox_path, "url-1").is_free
    assert not outbox_path.with_suffix(LOCKS).exists()
    other = holder("url-1")
    assert not Lock(outbox_path, "url-1").is_free
    other.release()
    looks = Lock(outbox_path, "url-1")
    assert (looks.is_free, looks.held) == (True, False)


def test_a_lock_that_we_hold_is_not_free(outbox_path: Path) -> None:
    ours = Lock(outbox_path, "url-1")
    ours.take()
    assert (ours.is_free, ours.held) == (False, True)


@pytest.mark.parametrize("call", ["take", "release", "note"])
def test_a_lock_is_taken_and_released_by_one_thread_at_a_time(outbox_path: Path, call: str) -> None:
    one = Lock(outbox_path, "one")
    arguments = ("a note",) if call == "note" else ()
    assert waits_for(one._guard, lambda: getattr(one, call)(*arguments))
    one.release()


def test_where_open_files_cannot_be_removed_a_lock_is_closed_first(
    outbox_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows."""
    lock, open_when_removed = FileLocks(outbox_path).scan("1"), list[bool]()
    lock.take()
    monkeypatch.setattr(system, "REMOVES_OPEN", False)
    monkeypatch.setattr(system, "remove", lambda path: open_when_removed.append(lock._descriptor is not None))
    lock.release(remove=True)
    assert open_when_removed == [False, False]
