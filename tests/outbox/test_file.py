"""The outbox's file when something happens to it: corrupt, taken away, read-only, disk full."""

from __future__ import annotations

import gc
import logging
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Callable, TypeVar

import pytest

from sfwebhooks.errors import DiskFullError, OutboxBusyError, OutboxError
from sfwebhooks.outbox.claim import Limits
from sfwebhooks.outbox.deleted_log import _waiting
from sfwebhooks.outbox.file import FILE, Storage
from sfwebhooks.outbox.locks import Lock
from sfwebhooks.outbox.open_files import OPENING
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.permissions import identity
from sfwebhooks.outbox.set_aside import locked_to_replace, set_aside
from sfwebhooks.screening import Wanted
from tests.builders import NOW, PATIENCE, an_endpoint, an_event
from tests.conftest import Result, put, sql
from tests.outbox_rows import file_of
from tests.threads import forked, is_well, waits_for
from tests.users import descriptors

ONE_STORE = "it is about the file"

T = TypeVar("T")
TEAM = an_endpoint(events=("all",))
QUEUE = Limits("team")
RUBBISH = os.urandom(8192)
#: a process that keeps an outbox open until its standard input ends
OTHER = """
import contextlib, sqlite3, sys
with contextlib.closing(sqlite3.connect(sys.argv[1])) as sql:
    with contextlib.suppress(sqlite3.Error):
        sql.execute("SELECT * FROM scan").fetchall()
    print("open", flush=True)
    sys.stdin.read()
"""


def aside(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"{FILE}.corrupt-*[0-9]"))


def damage(outbox: Outbox) -> None:
    """Overwrite the file's pages as a broken disk does, while it is open."""
    outbox.database.checkpoint()
    with outbox.path.open("r+b") as file:
        file.seek(100)
        file.write(os.urandom(outbox.path.stat().st_size - 100))


def patiently(call: Callable[[], T]) -> T:
    """Call again while the outbox is busy, as everybody who uses it does."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return call()
        except OutboxBusyError:
            assert time.monotonic() < deadline
        time.sleep(0.001)


def test_a_file_is_not_opened_while_another_thread_opens_one_or_saves_a_log(outbox: Outbox) -> None:
    assert waits_for(OPENING, outbox.scans.tallies)


def test_a_file_is_changed_by_others_only_and_once(outbox: Outbox) -> None:
    outbox.database.is_changed()
    put(outbox, TEAM)
    assert outbox.database.is_changed() is False
    with closing(Outbox(outbox.place)) as other:
        put(other, TEAM, start=2)
    assert (outbox.database.is_changed(), outbox.database.is_changed()) == (True, False)


def test_another_file_is_a_change(outbox: Outbox) -> None:
    put(outbox, TEAM)
    outbox.database.is_changed()
    for suffix in ("", "-wal", "-shm"):
        outbox.path.with_name(outbox.path.name + suffix).unlink()
    outbox.database.look()
    assert (outbox.database.is_changed(), outbox.database.is_changed()) == (True, False)


def test_what_is_deleted_is_overwritten(outbox: Outbox) -> None:
    with outbox.database.reading() as connection:
        assert connection.execute("PRAGMA secure_delete").fetchone() == (1,)


# --- corrupt


@pytest.fixture
def corrupt(tmp_path: Path) -> Outbox:
    (tmp_path / FILE).write_bytes(RUBBISH)
    return Outbox(tmp_path / FILE)


@pytest.mark.parametrize(("accepting", "pages"), [(True, 0), (False, 1000)])
def test_only_the_sending_side_writes_a_long_log_back(tmp_path: Path, accepting: bool, pages: int) -> None:
    with closing(Outbox(tmp_path / FILE, accepting=accepting)) as outbox, outbox.database.reading() as connection:
        assert connection.execute("PRAGMA wal_autocheckpoint").fetchone() == (pages,)


def test_a_corrupt_file_is_named_with_what_became_of_it(corrupt: Outbox, tmp_path: Path) -> None:
    with pytest.raises(OutboxBusyError) as caught:
        corrupt.scans.tallies()
    assert str(caught.value) == (
        f"outbox {corrupt.path} was corrupt: file is not a database; it was set aside as {aside(tmp_path)[0]},"
        " and a new one was created"
    )


def test_a_corrupt_file_in_the_place_of_an_open_one_is_recognised_by_the_next_write(tmp_path: Path) -> None:
    with closing(Outbox(tmp_path / FILE)) as outbox:
        put(outbox, TEAM)
        file_of(outbox)._looked_at = float("inf")  # as if it was looked at a moment ago
        for suffix in ("", "-wal", "-shm"):
            Path(f"{outbox.path}{suffix}").unlink()
        outbox.path.write_bytes(RUBBISH)
        with pytest.raises(OutboxBusyError, match="was corrupt: file is not a database"):
            put(outbox, TEAM, start=2)
        put(outbox, TEAM, start=2)
        assert outbox.scans.tallies()["waiting"] == 1


def test_a_corrupt_file_is_kept_as_it_was(corrupt: Outbox, tmp_path: Path) -> None:
    with pytest.raises(OutboxError):
        corrupt.scans.tallies()
    assert [file.read_bytes() for file in aside(tmp_path)] == [RUBBISH]


def test_after_a_corrupt_file_a_new_one_is_used(corrupt: Outbox) -> None:
    with pytest.raises(OutboxError):
        corrupt.scans.tallies()
    put(corrupt, TEAM)
    assert corrupt.scans.tallies()["waiting"] == 1


def test_the_name_of_a_file_that_was_set_aside_is_in_the_log(
    corrupt: Outbox, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(OutboxError):
        corrupt.scans.tallies()
    assert [(record.levelno, str(aside(tmp_path)[0]) in record.getMessage()) for record in caplog.records] == [
        (logging.ERROR, True)
    ]


def test_a_file_that_becomes_corrupt_while_it_is_used_isset_aside(outbox: Outbox, tmp_path: Path) -> None:
    put(outbox, TEAM, events=50)
    damage(outbox)
    other = Outbox(outbox.place)  # one that has not read it yet
    with pytest.raises(OutboxError):
        other.scans.tallies()
    put(outbox, TEAM, start=100)
    assert (outbox.scans.tallies()["waiting"], len(aside(tmp_path))) == (1, 1)


def test_an_open_file_that_is_found_to_be_corrupt_isset_aside(outbox: Outbox, tmp_path: Path) -> None:
    put(outbox, TEAM)
    with pytest.raises(OutboxBusyError, match="was set aside"), outbox.database.reading():
        raise sqlite3.DatabaseError("database disk image is malformed")
    assert len(aside(tmp_path)) == 1


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No wait for other threads and processes."""
    monkeypatch.setattr("sfwebhooks.outbox.set_aside.BUSY_SECONDS", 0.0)


@pytest.mark.usefixtures("impatient")
def test_a_corrupt_file_that_another_process_sets_aside_is_left_to_it(corrupt: Outbox, tmp_path: Path) -> None:
    other = Lock(corrupt.path, "outbox")
    assert other.take()
    with pytest.raises(OutboxBusyError, match="another process has set it aside or is doing so"):
        corrupt.scans.tallies()
    assert (aside(tmp_path), corrupt.path.read_bytes()) == ([], RUBBISH)
    other.release()


def test_a_file_that_has_replaced_the_corrupt_one_is_notset_aside(corrupt: Outbox) -> None:
    assert set_aside(corrupt.path, ((0, 0),)) is None
    assert corrupt.path.read_bytes() == RUBBISH


def test_a_corrupt_file_is_set_aside_with_its_log_and_index(corrupt: Outbox, tmp_path: Path) -> None:
    for suffix in ("-wal", "-shm"):
        Path(f"{corrupt.path}{suffix}").touch(mode=0o600)
    found = set_aside(corrupt.path, (identity(corrupt.path),))
    assert found
    names = [found.name + suffix for suffix in ("", "-shm", "-wal")]
    assert sorted(file.name for file in tmp_path.glob("*.db*")) == names


def test_whoever_set_a_file_aside_has_released_its_lock(corrupt: Outbox) -> None:
    with pytest.raises(OutboxError):
        corrupt.scans.tallies()
    assert Lock(corrupt.path, "outbox").is_free


@contextmanager
def taken(lock: Lock) -> Iterator[None]:
    assert lock.take()
    yield
    lock.release()


def test_the_lock_for_replacing_files_is_waited_for(tmp_path: Path) -> None:
    got: list[Lock] = []
    assert waits_for(taken(Lock(tmp_path / FILE, "outbox")), lambda: got.append(locked_to_replace(tmp_path / FILE)))
    assert [lock.held for lock in got] == [True]


@pytest.mark.usefixtures("impatient")
def test_the_lock_for_replacing_files_is_not_waited_for_without_end(tmp_path: Path) -> None:
    with taken(Lock(tmp_path / FILE, "outbox")):
        assert not locked_to_replace(tmp_path / FILE).held


@pytest.mark.slow
def test_two_that_meet_a_corrupt_file_set_it_aside_once(corrupt: Outbox, tmp_path: Path) -> None:
    others = [corrupt, *(Outbox(corrupt.path) for _ in range(7))]
    start = threading.Barrier(len(others))

    def use(outbox: Outbox) -> None:
        start.wait(PATIENCE)
        for number in range(20):
            patiently(partial(put, outbox, TEAM, start=number))

    threads = [threading.Thread(target=use, args=(outbox,)) for outbox in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert (len(aside(tmp_path)), corrupt.scans.tallies()["waiting"]) == (1, 20)


def test_who_only_looks_leaves_a_corrupt_file_as_it_is(corrupt: Outbox, cli: Callable[..., Result]) -> None:
    for command in (("deliveries",), ("dead", "list"), ("show", "abcdef")):
        raised = cli(*command)
        assert (raised.code, "is corrupt (file is not a database) and was not changed" in raised.err) == (1, True)
    assert corrupt.path.read_bytes() == RUBBISH


def test_a_new_one_is_there_when_it_is_said_that_it_is_begun(corrupt: Outbox) -> None:
    with pytest.raises(OutboxError, match="and a new one was created"):
        corrupt.scans.tallies()
    with closing(sqlite3.connect(corrupt.path)) as connection:
        assert connection.execute("SELECT count(*) FROM delivery").fetchone() == (0,)


@pytest.fixture
def fixed(corrupt: Outbox) -> Iterator[Outbox]:
    """A corrupt file that cannot be renamed."""
    if subprocess.run(["chattr", "+i", corrupt.path], capture_output=True).returncode:
        pytest.skip("only root can make a file that cannot be renamed, and not on each file system")
    yield corrupt
    subprocess.run(["chattr", "-i", corrupt.path], check=True)


def test_of_a_corrupt_file_that_cannot_be_renamed_no_new_one_is_promised(
    fixed: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(OutboxError) as caught:
        fixed.scans.tallies()
    assert (isinstance(caught.value, OutboxBusyError), "new one" in f"{caught.value}{caplog.text}") == (False, False)


# --- taken away


def test_a_file_that_was_removed_is_made_again(outbox: Outbox) -> None:
    put(outbox, TEAM)
    for suffix in ("", "-wal", "-shm"):
        outbox.path.with_name(outbox.path.name + suffix).unlink(missing_ok=True)
    put(outbox, TEAM, start=2)
    with closing(sqlite3.connect(outbox.path)) as connection:
        assert connection.execute("SELECT count(*) FROM delivery").fetchone() == (1,)


def test_who_uses_a_file_notices_that_it_is_another_one(outbox: Outbox) -> None:
    put(outbox, TEAM)
    before = outbox.database.generation()
    outbox.path.unlink()
    put(outbox, TEAM)
    assert (before, outbox.database.generation()) == (1, 2)


def test_a_generation_is_never_that_of_a_file_that_was_there_a_moment_ago(outbox: Outbox) -> None:
    put(outbox, TEAM)
    file_of(outbox)._looked_at = float("inf")  # as if it was looked at a moment ago
    outbox.path.unlink()
    assert outbox.database.generation() == 2


def test_a_file_that_was_only_closed_is_the_same_one(outbox: Outbox) -> None:
    put(outbox, TEAM)
    outbox.close()
    put(outbox, TEAM, start=2)
    assert outbox.database.generation() == 1


def test_a_file_that_was_closed_is_still_the_same_one_at_the_next_look(outbox: Outbox) -> None:
    put(outbox, TEAM)
    outbox.close()
    assert outbox.database.generation() == 1


def test_a_file_that_was_away_when_it_was_closed_is_another_one(outbox: Outbox, tmp_path: Path) -> None:
    """Its inode does not say that it is the same: a new file may have got it."""
    put(outbox, TEAM)
    outbox.path.rename(tmp_path / "away")
    outbox.close()
    (tmp_path / "away").rename(outbox.path)
    assert outbox.database.generation() == 2


def test_an_outbox_that_is_used_as_usual_logs_nothing(outbox: Outbox, caplog: pytest.LogCaptureFixture) -> None:
    put(outbox, TEAM)
    outbox.database.look()
    outbox.scans.tallies()
    outbox.close()
    assert caplog.messages == []


# --- only to look at it


@pytest.fixture
def lister(outbox: Outbox) -> Iterator[Outbox]:
    with closing(Outbox(outbox.place, listing=True)) as lister:
        yield lister


def test_to_list_an_outbox_that_is_not_there_creates_none_and_finds_it_later(lister: Outbox, outbox: Outbox) -> None:
    assert lister.scans.tallies() == {"waiting": 0, "delivered": 0, "dead": 0}
    assert not lister.path.exists()
    put(outbox, TEAM)
    assert lister.scans.tallies()["waiting"] == 1, "at once"


def test_an_outbox_of_a_newer_version_is_not_listed(outbox: Outbox, lister: Outbox) -> None:
    put(outbox, TEAM)
    sql(outbox, "PRAGMA user_version = 99")
    gc.collect()  # else it may close outboxes of other tests in between
    before = descriptors()
    with pytest.raises(OutboxError, match="was created by a newer sfwebhooks") as caught:
        lister.scans.tallies()
    assert (descriptors(), caught.type) == (before, OutboxError), "and nothing stays open"


def lose_log(outbox: Outbox, lister: Outbox) -> None:
    """Delete the log of an outbox that only a lister has open."""
    put(outbox, TEAM)
    outbox.close()
    lister.scans.tallies()
    outbox.path.with_name(f"{FILE}-wal").unlink()


def test_the_log_that_was_deleted_is_not_saved_by_who_only_lists(
    outbox: Outbox, lister: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    lose_log(outbox, lister)
    lister.database.look()
    lister.scans.tallies()
    lister.close()
    assert caplog.messages == []


def test_a_log_that_was_deleted_is_saved_by_who_closes_the_file_first(outbox: Outbox) -> None:
    """SQLite itself does not write it back while another process has the file open."""
    put(outbox, TEAM)
    outbox.path.with_name(f"{FILE}-wal").unlink()
    with subprocess.Popen(
        [sys.executable, "-c", OTHER, outbox.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout and other.stdout.readline() == "open\n"
        outbox.close()
        other.communicate("")
    assert outbox.scans.tallies()["waiting"] == 1


def test_a_lister_that_is_closed_does_not_save_a_deleted_log(
    outbox: Outbox, lister: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    lose_log(outbox, lister)
    lister.close()
    assert caplog.messages == []


def test_what_cannot_be_written_after_another_boot_is_listed(small_disk: Path) -> None:
    with closing(Outbox(small_disk / FILE, boot=lambda: "a boot")) as outbox:
        put(outbox, TEAM)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with closing(Outbox(small_disk / FILE, listing=True, boot=lambda: "another boot")) as lister:
        assert lister.scans.tallies()["waiting"] == 1


# --- no room, no permission


def fill(folder: Path) -> Path:
    """Leave no room on a disk; return the file to remove for more."""
    path = folder / "filler"
    with path.open("wb", buffering=0) as file:
        for size in (65536, 4096, 512, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue
    return path


def test_a_full_disk_is_busy_and_keeps_what_was_accepted(small_disk: Path) -> None:
    outbox = Outbox(small_disk / FILE)
    put(outbox, TEAM, events=20)
    filler = fill(small_disk)
    accepted = 20
    with pytest.raises(OutboxBusyError):
        for number in range(1000, 3000):
            put(outbox, TEAM, start=number)
            accepted += 1
    assert outbox.scans.tallies()["waiting"] == accepted
    filler.unlink()
    put(outbox, TEAM, start=5000)
    assert outbox.scans.tallies()["waiting"] == accepted + 1
    outbox.close()


def test_a_corrupt_file_on_a_full_disk_is_set_aside_and_replaced_once_there_is_room(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sfwebhooks.outbox.opening.BUSY_SECONDS", 0.0)
    outbox = Outbox(small_disk / FILE)
    outbox.path.write_bytes(RUBBISH)
    filler = fill(small_disk)
    with pytest.raises(OutboxBusyError, match=r"and a new one cannot be created: .* full"):
        outbox.scans.tallies()
    filler.unlink()
    assert (outbox.scans.tallies()["waiting"], len(aside(small_disk))) == (0, 1)
    outbox.close()


def test_a_disk_that_is_full_from_the_start_is_busy(small_disk: Path) -> None:
    filler = fill(small_disk)
    outbox = Outbox(small_disk / FILE)
    with pytest.raises(OutboxError):
        put(outbox, TEAM)
    filler.unlink()
    put(outbox, TEAM)
    assert outbox.scans.tallies()["waiting"] == 1
    outbox.close()


@pytest.fixture
def read_only_disk(small_disk: Path) -> Path:
    """A disk that can only be read, with an outbox on it."""
    outbox = Outbox(small_disk / FILE)
    put(outbox, TEAM)
    outbox.close()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    return small_disk


def test_a_disk_that_can_only_be_read_is_named(read_only_disk: Path) -> None:
    with pytest.raises(
        OutboxError, match=f"outbox {read_only_disk / FILE} cannot be used: the file system of .* is read"
    ):
        put(Outbox(read_only_disk / FILE), TEAM, start=2)


def test_what_is_on_a_disk_that_can_only_be_read_is_listed(read_only_disk: Path, cli: Callable[..., Result]) -> None:
    listed = cli("deliveries", "--folder", str(read_only_disk), "--json")
    assert listed.err == "", "nothing is missing: it has no log"
    assert (listed.code, [one["state"] for one in listed.objects]) == (0, ["waiting"])
    assert cli("show", listed.objects[0]["delivery"][:8], "--folder", str(read_only_disk)).code == 0


@pytest.mark.parametrize(("kept", "number", "said"), [(("-wal", "-shm"), 2, False), (("-wal",), 1, True)])
def test_of_a_log_that_cannot_be_read_it_is_said_that_it_is_missing(
    small_disk: Path,
    cli: Callable[..., Result],
    caplog: pytest.LogCaptureFixture,
    kept: tuple[str, ...],
    number: int,
    said: bool,
) -> None:
    path = small_disk / FILE
    with closing(Outbox(path)) as outbox:
        put(outbox, TEAM)
        outbox.database.checkpoint()
        put(outbox, TEAM, start=2)
        copies = {suffix: Path(f"{path}{suffix}").read_bytes() for suffix in ("", *kept)}
    for suffix, content in copies.items():  # as they are after a crash
        Path(f"{path}{suffix}").write_bytes(content)
        Path(f"{path}{suffix}").chmod(0o600)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    listed = cli("deliveries", "--folder", str(small_disk), "--json")
    assert (listed.code, len(listed.objects)) == (0, number)
    assert ("webhooks.db-wal, with the latest changes, cannot be read (the file system" in caplog.text) is said


def test_a_log_that_becomes_writable_for_everybody_while_it_is_opened_is_refused(tmp_path: Path) -> None:
    def boot() -> str:
        (tmp_path / f"{FILE}-wal").chmod(0o666)  # another user puts a log of theirs there after it was checked
        return "a boot"

    with closing(Outbox(tmp_path / FILE, boot=boot)) as outbox, pytest.raises(OutboxError, match="everybody can write"):
        put(outbox, TEAM)


def test_of_a_file_that_cannot_be_read_nothing_is_counted(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "empty")) as connection:
        assert _waiting(connection) == 0


# --- full, as configured


def test_a_file_knows_how_full_it_is(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / FILE, storage=Storage(max_bytes=1_000_000))
    before = outbox.database.fullness()
    outbox.accept([(an_event(1, data={"data": "x" * 500_000}), [Wanted("team", "high_risk_event")])], NOW)
    assert 0.4 < outbox.database.fullness() - before < 0.6


def test_a_file_has_the_size_that_the_documents_name_unless_it_is_configured(outbox: Outbox) -> None:
    before = outbox.database.fullness()
    outbox.accept([(an_event(1, data={"data": "x" * 512_000}), [Wanted("team", "high_risk_event")])], NOW)
    assert outbox.database.fullness() - before == pytest.approx(0.001, rel=0.05)
    assert Storage() == Storage(max_bytes=512_000_000, power_safe=False)


def test_room_that_became_free_is_not_full(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / FILE, storage=Storage(max_bytes=1_000_000))
    outbox.accept([(an_event(1, data={"data": "x" * 500_000}), [Wanted("team", "high_risk_event")])], NOW)
    with closing(sqlite3.connect(outbox.path)) as connection, connection:
        connection.execute("DELETE FROM event")
    assert outbox.database.fullness() < 0.22


@pytest.mark.parametrize(("safe", "mode"), [(False, 1), (True, 2)])
def test_a_commit_waits_for_the_disk_only_if_asked_to(tmp_path: Path, safe: bool, mode: int) -> None:
    outbox = Outbox(tmp_path / FILE, storage=Storage(power_safe=safe))
    with outbox.database.reading() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (mode,)


# --- what SQLite says


@pytest.mark.parametrize(
    ("raised", "kind", "said"),
    [
        (sqlite3.OperationalError("database is locked"), OutboxBusyError, ": database is locked"),
        (sqlite3.OperationalError("database table is locked"), OutboxBusyError, ": database table is locked"),
        (sqlite3.OperationalError("locking protocol"), OutboxBusyError, ": locking protocol"),
        (sqlite3.OperationalError("database or disk is full"), DiskFullError, ": database or disk is full"),
        (sqlite3.OperationalError("disk I/O error"), DiskFullError, ": disk I/O error"),
        (sqlite3.OperationalError("unable to open database file"), OutboxBusyError, ": unable to open database file"),
        (sqlite3.OperationalError("no such table: event"), OutboxError, " cannot be used: no such table: event"),
        (sqlite3.IntegrityError("disk is full"), OutboxError, " cannot be used: disk is full"),
        (sqlite3.DatabaseError("file is not a database"), OutboxBusyError, " was corrupt: file is not a database"),
    ],
)
def test_an_error_of_sqlite_is_one_that_passes_or_not(
    outbox: Outbox, raised: sqlite3.Error, kind: type[OutboxError], said: str
) -> None:
    with pytest.raises(OutboxError) as caught, outbox.database.reading():
        raise raised
    assert type(caught.value) is kind
    assert str(caught.value).startswith(f"outbox {outbox.path}{said}")


@pytest.mark.parametrize("call", ["check", "close", "fullness"])
def test_one_thread_at_a_time_uses_the_file(outbox: Outbox, call: str) -> None:
    outbox.database.check()
    assert waits_for(file_of(outbox).guard, getattr(outbox.database, call))


def test_a_log_is_emptied_once_nobody_writes(outbox: Outbox) -> None:
    put(outbox, TEAM)
    assert outbox.database.empty_log()
    with closing(sqlite3.connect(outbox.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert not outbox.database.empty_log()
    assert outbox.database.empty_log()


class Reading:
    """A connection whose log somebody reads: it cannot be emptied."""

    def __init__(self, error: str) -> None:
        self._error = error

    def execute(self, text: str) -> None:
        if "TRUNCATE" in text:
            raise sqlite3.OperationalError(self._error)


def test_a_log_that_is_read_is_emptied_later(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox.database, "connect", lambda: Reading("database table is locked"))
    assert outbox.database.empty_log() is False
    monkeypatch.setattr(outbox.database, "connect", lambda: Reading("no such table"))
    with pytest.raises(OutboxError, match="no such table"):
        outbox.database.empty_log()


# --- fork


def test_a_child_opens_the_file_that_its_parent_had_open(outbox: Outbox) -> None:
    """Else it would not have SQLite's lock that keeps the parent from removing the log."""
    put(outbox, TEAM)
    (is_there, says_so), (may_end, ends) = os.pipe(), os.pipe()

    def keep_open() -> None:
        put(outbox, TEAM, start=2)
        os.write(says_so, b"!")
        os.read(may_end, 1)

    child = forked(keep_open)
    assert os.read(is_there, 1) == b"!"
    outbox.close()
    assert outbox.path.with_name(f"{FILE}-wal").exists()
    os.write(ends, b"!")
    assert is_well(child)
    assert outbox.scans.tallies()["waiting"] == 2
    for descriptor in (is_there, says_so, may_end, ends):
        os.close(descriptor)


@pytest.mark.parametrize("use", ["opening", "reading"])
def test_a_child_uses_a_file_that_another_thread_was_using(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch, use: str
) -> None:
    monkeypatch.setattr("sfwebhooks.outbox.open_files.FORK_SECONDS", 0.1)
    put(outbox, TEAM)
    began, end = threading.Event(), threading.Event()

    def hold() -> None:
        with OPENING if use == "opening" else outbox.database.reading():
            began.set()
            end.wait(PATIENCE)

    thread = threading.Thread(target=hold)
    thread.start()
    assert began.wait(PATIENCE)
    child = forked(lambda: put(outbox, TEAM, start=2))
    end.set()
    thread.join()
    assert is_well(child)
    assert outbox.scans.tallies()["waiting"] == 2


def test_a_fork_waits_for_a_transaction_of_another_thread(outbox: Outbox) -> None:
    put(outbox, TEAM)
    children: list[int] = []
    assert waits_for(outbox.database.writing(), lambda: children.append(forked(lambda: put(outbox, TEAM, start=2))))
    assert is_well(children[0])
    assert outbox.scans.tallies()["waiting"] == 2


def test_forks_of_several_threads_do_not_disturb_each_other(outbox: Outbox) -> None:
    def fork(number: int) -> None:
        for start in range(100 * number, 100 * number + 10, 2):
            children.append(forked(partial(put, outbox, TEAM, start=start)))
            put(outbox, TEAM, start=start + 1)

    children: list[int] = []
    threads = [threading.Thread(target=fork, args=(number,)) for number in range(1, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(children) == 15 and all(map(is_well, children))
    assert outbox.scans.tallies()["waiting"] == 30
