"""The write-ahead log is deleted while the outbox is in use: what it held is saved, or its loss is said."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from subprocess import PIPE
from typing import Callable

import pytest

from sfwebhooks.errors import OutboxBusyError
from sfwebhooks.outbox import file, opening
from sfwebhooks.outbox.locks import Lock
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.permissions import identity
from tests.builders import PATIENCE, an_endpoint
from tests.conftest import put, sql
from tests.outbox.test_file import patiently
from tests.processes import Process, run
from tests.tiers import quick_first

ONE_STORE = "it is about the file"

TEAM = an_endpoint(events=("all",))
#: a process that accepts two events, each when it is asked to
WRITER = """
import sys
from pathlib import Path
from sfwebhooks.outbox.outbox import Outbox
from tests.conftest import put
from tests.builders import an_endpoint
outbox = Outbox(Path(sys.argv[1]))
for number in (501, 502):
    put(outbox, an_endpoint(events=("all",)), start=number)
    print("put", flush=True)
    sys.stdin.readline()
outbox.close()
"""
#: a process that accepts an event and is killed
KILLED = """
import os, sys
from pathlib import Path
from sfwebhooks.outbox.outbox import Outbox
from tests.conftest import put
from tests.builders import an_endpoint
put(Outbox(Path(sys.argv[1])), an_endpoint(events=("all",)), start=900)
os._exit(0)
"""


def delete(outbox: Outbox, *suffixes: str) -> None:
    for suffix in suffixes:
        Path(f"{outbox.path}{suffix}").unlink()


@pytest.fixture
def others(outbox: Outbox) -> Iterator[Callable[[], Outbox]]:
    """Open the outbox once more in this process."""
    opened: list[Outbox] = []

    def another() -> Outbox:
        opened.append(Outbox(outbox.place))
        return opened[-1]

    yield another
    for one in opened:
        one.close()


@pytest.fixture
def writer(outbox: Outbox) -> Iterator[Process]:
    """Another process that has accepted one event, and accepts one more if it gets a line."""
    put(outbox, TEAM)
    with Process([outbox.path], WRITER, stdin=PIPE, stdout=PIPE) as process:
        assert process.stdout and process.stdout.readline() == "put\n"
        yield process
        process.kill()


def sound(outbox: Outbox) -> bool:
    return sql(outbox, "PRAGMA integrity_check") == [("ok",)]


@pytest.mark.parametrize("gone", [("-wal",), ("-wal", "-shm"), ("-shm",)])
def test_the_content_of_a_deleted_log_is_saved(
    outbox: Outbox, gone: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    put(outbox, TEAM, events=20)
    delete(outbox, *gone)
    put(outbox, TEAM, start=100)
    assert (outbox.scans.tallies()["waiting"], sound(outbox)) == (21, True)
    assert outbox.database.generation() == 1
    assert "was deleted while in use; its content was saved, and 20 deliveries are waiting" in caplog.text


@pytest.mark.parametrize("gone", [("-wal",), ("-wal", "-shm"), ("-shm",)])
def test_several_connections_of_a_process_go_on_after_it(
    outbox: Outbox, others: Callable[[], Outbox], gone: tuple[str, ...]
) -> None:
    all_of_them = [outbox, others(), others()]
    for number, one in enumerate(all_of_them):
        put(one, TEAM, start=1 + 10 * number, events=10)
    delete(outbox, *gone)
    for number, one in enumerate(all_of_them):
        put(one, TEAM, start=100 + number)
    assert ([one.scans.tallies()["waiting"] for one in all_of_them], sound(outbox)) == ([33] * 3, True)


def test_a_log_that_is_deleted_again_and_again_is_saved_each_time(outbox: Outbox, others: Callable[[], Outbox]) -> None:
    """A file system gives the inode of a deleted file to the next one."""
    boxes = [outbox, others()]
    for number in range(6):
        for place, box in enumerate(boxes):
            patiently(partial(put, box, TEAM, start=10 * number + place))
        delete(outbox, "-wal")
    outbox.database.look()
    assert patiently(outbox.scans.tallies)["waiting"] == 12


def test_the_note_of_a_saved_log_is_cleared_by_who_opens_one_with_its_inode(outbox: Outbox) -> None:
    put(outbox, TEAM)
    log = Path(f"{outbox.path}-wal")
    with closing(sqlite3.connect(outbox.path)) as reader:
        reader.execute("SELECT count(*) FROM delivery").fetchone()
        outbox.close()  # the log stays, since the reader has it open
        lock = Lock(outbox.path, "outbox")
        assert lock.take()
        lock.note(str(identity(log)))
        lock.release()
        assert outbox.scans.tallies()["waiting"] == 1
        assert (lock.noted(), lock.take()) == ("", True)
        lock.release()


@pytest.mark.parametrize("gone", [("-wal",), ("-wal", "-shm")])
def test_who_reads_only_saves_it_too(outbox: Outbox, gone: tuple[str, ...]) -> None:
    put(outbox, TEAM, events=20)
    delete(outbox, *gone)
    outbox.database.look()
    outbox.scans.tallies()
    outbox.close()
    assert sql(outbox, "SELECT count(*) FROM delivery") == [(20,)]


@pytest.mark.parametrize("gone", [("-wal",), ("-wal", "-shm")])
def test_the_content_of_a_deleted_log_is_saved_by_closing(outbox: Outbox, gone: tuple[str, ...]) -> None:
    put(outbox, TEAM, events=20)
    delete(outbox, *gone)
    outbox.close()
    assert (sql(outbox, "SELECT count(*) FROM delivery"), sound(outbox)) == ([(20,)], True)


@pytest.mark.parametrize("gone", quick_first([("-wal",), ("-wal", "-shm")]))
def test_another_process_that_had_the_same_log_loses_nothing(
    outbox: Outbox, writer: Process, gone: tuple[str, ...]
) -> None:
    delete(outbox, *gone)
    put(outbox, TEAM, start=2)
    assert writer.stdin and writer.stdout
    writer.stdin.write("again\n")
    writer.stdin.flush()
    assert writer.stdout.readline() == "put\n"
    put(outbox, TEAM, start=3)
    assert (outbox.scans.tallies()["waiting"], sound(outbox)) == (5, True)
    writer.communicate("end\n")
    assert (outbox.scans.tallies()["waiting"], sound(outbox)) == (5, True)


def test_what_can_no_longer_be_saved_is_said_with_its_number(outbox: Outbox, caplog: pytest.LogCaptureFixture) -> None:
    outbox.database.checkpoint()
    put(outbox, TEAM, events=20)
    delete(outbox, "-wal", "-shm")
    assert run([outbox.path], KILLED).returncode == 0
    put(outbox, TEAM, start=901)
    assert (outbox.scans.tallies()["waiting"], sound(outbox)) == (2, True)
    assert "another process created a new one; 19 deliveries are lost" in caplog.text


def test_threads_that_find_it_at_once_save_it_once(outbox: Outbox, others: Callable[[], Outbox]) -> None:
    all_of_them = [outbox, *(others() for _ in range(5))]
    for number, one in enumerate(all_of_them):
        put(one, TEAM, start=1 + number)
    delete(outbox, "-wal", "-shm")
    start = threading.Barrier(len(all_of_them))

    def use(number: int, one: Outbox) -> None:
        start.wait(PATIENCE)
        for place in range(20):
            patiently(partial(put, one, TEAM, start=1000 + 100 * number + place))

    threads = [threading.Thread(target=use, args=pair) for pair in enumerate(all_of_them)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    with closing(Outbox(outbox.place)) as after:
        assert (after.scans.tallies()["waiting"], sound(outbox)) == (6 + 6 * 20, True)


def test_it_is_not_saved_while_another_thread_opens_the_file(
    outbox: Outbox, others: Callable[[], Outbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite would give it the index of the deleted log, and it would miss when that one is closed."""
    put(outbox, TEAM)
    other, is_opening, may_open = others(), threading.Event(), threading.Event()

    def use_log(connection: sqlite3.Connection) -> None:
        is_opening.set()
        assert may_open.wait(PATIENCE)
        opening.use_log(connection)

    monkeypatch.setattr(file, "use_log", use_log)
    thread = threading.Thread(target=patiently, args=(partial(put, other, TEAM, start=2),))
    thread.start()
    assert is_opening.wait(PATIENCE)
    delete(outbox, "-wal", "-shm")
    outbox.database.look()
    with pytest.raises(OutboxBusyError, match="another thread is using it"):
        outbox.database.check()
    may_open.set()
    patiently(partial(put, outbox, TEAM, start=3))
    thread.join(PATIENCE)
    assert (outbox.scans.tallies()["waiting"], sound(outbox)) == (3, True)


def test_closing_leaves_the_log_alone_that_a_killed_process_has_created(outbox: Outbox) -> None:
    outbox.database.checkpoint()
    put(outbox, TEAM)
    outbox.database.checkpoint()
    delete(outbox, "-wal", "-shm")
    assert run([outbox.path], KILLED).returncode == 0
    outbox.close()
    assert (sql(outbox, "SELECT count(*) FROM delivery"), sound(outbox)) == ([(2,)], True)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No wait for other threads and processes."""
    monkeypatch.setattr("sfwebhooks.outbox.set_aside.BUSY_SECONDS", 0.0)


@pytest.mark.usefixtures("impatient")
def test_it_is_not_saved_while_another_process_does_it(outbox: Outbox) -> None:
    put(outbox, TEAM)
    other = Lock(outbox.path, "outbox")
    assert other.take()
    delete(outbox, "-wal")
    outbox.database.look()
    with pytest.raises(OutboxBusyError, match="another process is saving it"):
        outbox.database.check()
    other.release()
    put(outbox, TEAM, start=2)
    assert outbox.scans.tallies()["waiting"] == 2


def test_after_it_was_saved_its_lock_is_free(outbox: Outbox) -> None:
    put(outbox, TEAM)
    delete(outbox, "-wal")
    put(outbox, TEAM, start=2)
    assert Lock(outbox.path, "outbox").is_free


def test_it_is_not_saved_while_another_process_reads_it(outbox: Outbox) -> None:
    put(outbox, TEAM)
    with closing(sqlite3.connect(outbox.path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM delivery").fetchone()
        put(outbox, TEAM, start=2)
        with outbox.database.reading() as connection:
            connection.execute("PRAGMA busy_timeout = 0")
        delete(outbox, "-wal")
        outbox.database.look()
        with pytest.raises(OutboxBusyError, match="another process is reading it"):
            outbox.database.check()
    put(outbox, TEAM, start=3)
    assert (outbox.scans.tallies()["waiting"], sound(outbox)) == (3, True)


@pytest.mark.usefixtures("impatient")
def test_it_is_not_saved_while_another_thread_uses_it(outbox: Outbox, others: Callable[[], Outbox]) -> None:
    put(outbox, TEAM)
    other, is_using, may_end = others(), threading.Event(), threading.Event()

    def use() -> None:
        with other.database.reading():
            is_using.set()
            assert may_end.wait(PATIENCE)

    thread = threading.Thread(target=use)
    thread.start()
    assert is_using.wait(PATIENCE)
    delete(outbox, "-wal")
    outbox.database.look()
    with pytest.raises(OutboxBusyError, match="another thread is using it"):
        outbox.database.check()
    may_end.set()
    thread.join(PATIENCE)
    put(outbox, TEAM, start=2)
    assert outbox.scans.tallies()["waiting"] == 2


def test_nothing_is_lost_with_a_log_whose_content_was_in_the_file(
    outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    put(outbox, TEAM)
    outbox.database.checkpoint()
    delete(outbox, "-wal")
    log = outbox.path.with_name(f"{outbox.path.name}-wal")
    log.write_bytes(b"of another process")
    log.chmod(0o600)
    outbox.database.look()
    outbox.scans.tallies()
    assert "another process created a new one; 0 deliveries are lost" in caplog.text
