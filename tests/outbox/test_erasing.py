"""Deleted means gone: what was dropped, purged or pruned is looked for as bytes in the outbox's files."""

from __future__ import annotations

import random
import re
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Callable

import pytest

from sfwebhooks.config.settings import Settings
from sfwebhooks.delivery.maintenance import PRUNE_CHUNKS, Maintenance
from sfwebhooks.errors import DamagedError, OutboxBusyError
from sfwebhooks.outbox.erasure import COLLECT_SECONDS, RETRY_SECONDS, SCANS_SECONDS, note_deletion
from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.permissions import SUFFIXES
from sfwebhooks.outbox.rows import insert
from sfwebhooks.outbox.selection import Selection
from sfwebhooks.retry import State
from sfwebhooks.screening import Wanted
from tests.builders import NOW, a_scan, an_event
from tests.conftest import Result, sql
from tests.filled import begin, end, put_event, send
from tests.processes import run
from tests.tiers import slow

ONE_STORE = "it is about the file"

DAY = 86400.0
NUMBER = 600
WANTED = [Wanted("team", "high_risk_event")]


def fill(outbox: Outbox, number: int = NUMBER) -> None:
    """Put dead letters into an outbox, each with a finding and a reply that are found by their number."""
    sizes = random.Random(17)
    for n in range(number):
        text = f"FINDING-{n}-" + "x" * sizes.choice([20, 200, 900, 6000])
        put_event(outbox, an_event(n, scan=None, data={"data": text}))
        send(outbox, State.DEAD, "http_400", f"EXCERPT-{n}-" + "y" * sizes.choice([10, 100, 900]), at=NOW + n)


def found(outbox: Outbox) -> set[int]:
    """Return the numbers of the findings and replies that stand in one of the files."""
    files = [Path(f"{outbox.path}{suffix}") for suffix in SUFFIXES]
    text = b"".join(file.read_bytes() for file in files if file.exists())
    return {int(number) for number in re.findall(rb"(?:FINDING|EXCERPT)-(\d+)-", text)}


def test_waiting_and_dead_deliveries_are_in_the_files(outbox: Outbox) -> None:
    fill(outbox, 10)
    assert found(outbox) == set(range(10))


def test_what_an_operator_drops_is_gone_from_the_files(outbox: Outbox, cli: Callable[..., Result]) -> None:
    fill(outbox)
    assert cli("dead", "drop", "--all").code == 0
    assert found(outbox) == set()


def test_of_what_is_left_nothing_is_gone(outbox: Outbox, cli: Callable[..., Result]) -> None:
    fill(outbox)
    numbers = list(range(NUMBER))
    random.Random(18).shuffle(numbers)
    dropped = numbers[:400]
    with closing(Outbox(outbox.place)) as records:
        ids = {record.event_id: record.id for record in records.listing.deliveries(Selection(), NUMBER)}
    chosen = [ids[an_event(n, scan=None).id] for n in dropped]
    for start in range(0, len(chosen), 100):
        assert cli("dead", "drop", *chosen[start : start + 100]).code == 0
    assert found(outbox) == set(numbers[400:])


def test_what_is_pruned_is_gone_from_the_files(outbox: Outbox) -> None:
    fill(outbox)
    with closing(Outbox(outbox.place)) as records:
        assert records.retention.prune(NOW + 100 * DAY, 7 * DAY, 90 * DAY, PRUNE_CHUNKS) == NUMBER
    assert found(outbox) == set()


@pytest.fixture
def reader(outbox: Outbox) -> sqlite3.Connection:
    """Another process that reads the outbox as it was before."""
    fill(outbox)
    connection = sqlite3.connect(outbox.path, isolation_level=None)
    connection.execute("BEGIN")
    connection.execute("SELECT count(*) FROM event").fetchone()
    return connection


def test_what_was_pruned_while_somebody_read_is_gone_after_the_next_time(
    outbox: Outbox, reader: sqlite3.Connection
) -> None:
    with closing(Outbox(outbox.place)) as records:
        assert records.retention.prune(NOW + 100 * DAY, 7 * DAY, 90 * DAY) == NUMBER
        assert found(outbox)
        reader.close()
        assert records.retention.prune(NOW + 100 * DAY, 7 * DAY, 90 * DAY) == 0
    assert found(outbox) == set()


@pytest.fixture
def few_read(outbox: Outbox) -> sqlite3.Connection:
    """Another process that reads an outbox with a few dead letters."""
    fill(outbox, 10)
    connection = sqlite3.connect(outbox.path, isolation_level=None)
    connection.execute("BEGIN")
    connection.execute("SELECT count(*) FROM event").fetchone()
    return connection


def test_what_is_dropped_while_somebody_reads_is_gone_as_soon_as_that_ends(
    outbox: Outbox, few_read: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pause = SimpleNamespace(time=time.time, monotonic=time.monotonic, sleep=lambda seconds: few_read.close())
    monkeypatch.setattr("sfwebhooks.outbox.erasure.time", pause)
    with closing(Outbox(outbox.place)) as records:
        assert records.retention.drop(Selection()) == 10
    assert (found(outbox), caplog.messages) == (set(), [])


def test_what_is_dropped_while_somebody_reads_for_long_is_logged(
    outbox: Outbox, few_read: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("sfwebhooks.outbox.erasure.PATIENCE_SECONDS", 0.0)
    with closing(Outbox(outbox.place)) as records:
        assert records.retention.drop(Selection()) == 10
    assert "deleted content may still be in" in caplog.text
    few_read.close()


@pytest.mark.slow
def test_what_was_dropped_while_somebody_read_is_said_and_gone_after_the_next_prune(
    outbox: Outbox, reader: sqlite3.Connection, cli: Callable[..., Result], caplog: pytest.LogCaptureFixture
) -> None:
    assert cli("dead", "drop", "--all").code == 3
    assert "deleted content may still be in" in caplog.text
    reader.close()
    with closing(Outbox(outbox.place)) as records:
        records.retention.prune(NOW, 7 * DAY, 90 * DAY)
    assert found(outbox) == set()


# --- among others that stay


KEPT, GONE = a_scan("KEPT0001", target="TARGET-0-"), a_scan("G0NE0001", target="TARGET-1-", name="NAME-1-")
#: bytes of a finding, from one that shares a page with many to one with pages of its own
SIZES = (20, 200, 900, 6000)
LARGEST = 5_000_000
#: with it, SQLite 3.40 leaves copies of a finding and a reply in pages from which it moved them before their deletion
SEED = 64
NEEDLES = re.compile(rb"(FINDING|EXCERPT|TARGET|NAME)-1-")
ALL_NEEDLES = {b"FINDING", b"EXCERPT", b"TARGET", b"NAME"}


def settled(outbox: Outbox, seed: int = SEED) -> None:
    """Put delivered and dead deliveries of two scans that are over into an outbox, in a random order and of random
    sizes, with needles in data, replies and targets."""
    chance = random.Random(seed)
    for scan in (KEPT, GONE):
        begin(outbox, scan)
    for n in range(400):
        scan, mark = chance.choice([(KEPT, 0), (GONE, 1)])
        text = f"FINDING-{mark}-{n}-" + "x" * (LARGEST if n in (7, 393) else chance.choice(SIZES))
        put_event(outbox, an_event(n, scan=scan, data={"data": f"{text}-FINDING-{mark}-"}))
        excerpt = f"EXCERPT-{mark}-{n}-" + "y" * chance.choice([10, 100, 900])
        send(outbox, chance.choice([State.DELIVERED, State.DEAD]), "http_200", excerpt, at=NOW + n)
    for scan in (KEPT, GONE):
        end(outbox, scan)


def content(outbox: Outbox) -> bytes:
    """Return the bytes of all files in the outbox's folder."""
    return b"".join(file.read_bytes() for file in sorted(outbox.path.parent.iterdir()) if file.is_file())


def needles(outbox: Outbox) -> set[bytes]:
    """Return the kinds of content of the scan to be deleted that are left."""
    return set(NEEDLES.findall(content(outbox)))


def kept(outbox: Outbox) -> set[bytes]:
    """Return the findings and replies of the other one."""
    return set(re.findall(rb"(?:FINDING|EXCERPT)-0-\d+-", content(outbox)))


@pytest.fixture
def two_scans(outbox: Outbox) -> Outbox:
    settled(outbox)
    assert needles(outbox) == ALL_NEEDLES
    return outbox


def test_what_is_purged_is_gone_and_the_rest_is_there(two_scans: Outbox, cli: Callable[..., Result]) -> None:
    before = kept(two_scans)
    assert cli("purge", "--scan", GONE.id, "--yes").code == 0
    assert (needles(two_scans), kept(two_scans)) == (set(), before)


@pytest.mark.skipif(sqlite3.sqlite_version_info[:2] != (3, 40), reason="other versions move rows in other ways")
def test_without_a_rewrite_copies_of_moved_rows_would_be_left(two_scans: Outbox) -> None:
    two_scans.retention.purge(Selection(scan=GONE.id, states=(State.DELIVERED, State.DEAD)))
    assert two_scans.database.empty_log()
    assert needles(two_scans)


def test_what_is_too_old_is_gone_within_an_hour(two_scans: Outbox) -> None:
    its = f"SELECT e.number FROM event e JOIN scan s ON s.number = e.scan WHERE s.id = '{GONE.id}'"
    sql(two_scans, f"UPDATE delivery SET settled_at = {NOW - 100 * DAY} WHERE event IN ({its})")
    before = kept(two_scans)
    with closing(Maintenance(Settings(()), two_scans.path)) as maintenance:
        maintenance.look(NOW + 2 * DAY)
        maintenance.look(NOW + 2 * DAY + COLLECT_SECONDS)
    assert (needles(two_scans), kept(two_scans)) == (set(), before)


def test_dead_letters_of_a_scan_that_are_dropped_are_gone(two_scans: Outbox, cli: Callable[..., Result]) -> None:
    sql(two_scans, "UPDATE delivery SET state = 'dead'")
    before = kept(two_scans)
    assert cli("dead", "drop", "--scan", GONE.id).code == 0
    assert (needles(two_scans) - {b"TARGET", b"NAME"}, kept(two_scans)) == (set(), before)


def test_the_target_of_a_scan_is_gone_after_a_day_if_nothing_else_of_it_is_left(
    outbox: Outbox, cli: Callable[..., Result]
) -> None:
    begin(outbox, GONE)
    put_event(outbox, an_event(1, scan=GONE))
    send(outbox, State.DEAD, "http_400")
    end(outbox, GONE)
    assert cli("dead", "drop", "--all").code == 0
    assert needles(outbox) == {b"TARGET", b"NAME"}
    for at in (NOW + DAY + 1, NOW + DAY + 1 + COLLECT_SECONDS):
        outbox.retention.prune(at, 7 * DAY, 90 * DAY)
    assert needles(outbox) == set()


def test_an_event_of_another_endpoint_is_not_gone(outbox: Outbox, cli: Callable[..., Result]) -> None:
    event = an_event(1, scan=None, data={"data": "FINDING-1-"})
    outbox.accept([(event, [Wanted("team", event.type), Wanted("siem", event.type)])], NOW)
    for endpoint in ("team", "siem"):
        send(outbox, endpoint=endpoint)
    assert cli("purge", "--endpoint", "team", "--yes").code == 0
    assert needles(outbox) == {b"FINDING"}
    assert cli("purge", "--endpoint", "siem", "--yes").code == 0
    assert needles(outbox) == set()


def test_what_was_never_committed_is_gone_too(two_scans: Outbox, cli: Callable[..., Result]) -> None:
    """A large transaction is written to the log before it is rolled back."""
    with pytest.raises(ZeroDivisionError), two_scans.database.writing() as connection:
        for n in range(20):
            insert(
                connection, an_event(1000 + n, scan=GONE, data={"data": f"FINDING-1-{'x' * 1_000_000}"}), WANTED, NOW
            )
        raise ZeroDivisionError
    two_scans.close()
    assert cli("purge", "--scan", GONE.id, "--yes").code == 0
    assert needles(two_scans) == set()


#: a process that deletes, and is killed before it rewrites the file
KILLED = """
import os, sys
from pathlib import Path
from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.selection import Selection
from sfwebhooks.retry import State
Outbox(Path(sys.argv[1])).retention.purge(Selection(scan=sys.argv[2], states=(State.DELIVERED, State.DEAD)))
os._exit(9)
"""


def test_a_purge_that_was_killed_is_finished_by_the_next_process(two_scans: Outbox) -> None:
    two_scans.close()
    assert run([two_scans.path, GONE.id], KILLED).returncode == 9
    assert needles(two_scans)
    with closing(Maintenance(Settings(()), two_scans.path)) as maintenance:
        maintenance.look(NOW)
    assert needles(two_scans) == set()


def test_a_purge_that_was_killed_is_finished_by_the_same_command(two_scans: Outbox, cli: Callable[..., Result]) -> None:
    two_scans.close()
    assert run([two_scans.path, GONE.id], KILLED).returncode == 9
    assert cli("purge", "--scan", GONE.id, "--yes").code == 0
    assert needles(two_scans) == set()


def test_a_drop_that_was_killed_is_finished_by_the_same_command(
    two_scans: Outbox, cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    two_scans.close()
    assert run([two_scans.path, GONE.id], KILLED).returncode == 9
    with closing(sqlite3.connect(two_scans.path, isolation_level=None)) as reader, monkeypatch.context() as patch:
        patch.setattr("sfwebhooks.outbox.erasure.PATIENCE_SECONDS", 0.0)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM event").fetchone()
        assert cli("dead", "drop", "--scan", GONE.id).code == 3
    assert cli("dead", "drop", "--scan", GONE.id).code == 0
    assert needles(two_scans) == set()


def test_another_process_that_has_the_file_open_is_no_hindrance(two_scans: Outbox, cli: Callable[..., Result]) -> None:
    with closing(sqlite3.connect(two_scans.path, isolation_level=None)) as other:
        other.execute("SELECT count(*) FROM event").fetchone()
        assert cli("purge", "--scan", GONE.id, "--yes").code == 0
        assert needles(two_scans) == set()


def test_what_is_purged_while_another_process_reads_is_gone_after_the_next_maintenance(
    two_scans: Outbox, cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sfwebhooks.outbox.erasure.PATIENCE_SECONDS", 0.0)
    with closing(sqlite3.connect(two_scans.path, isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM event").fetchone()
        assert cli("purge", "--scan", GONE.id, "--yes").code == 3
        assert needles(two_scans)
    with closing(Maintenance(Settings(()), two_scans.path)) as maintenance:
        maintenance.look(NOW)
    assert needles(two_scans) == set()


# --- when the file is rewritten


@pytest.fixture
def rewrites(outbox: Outbox) -> Callable[[float], bool]:
    """Return whether maintenance at a time rewrites the file."""

    def rewritten(at: float) -> bool:
        outbox.retention.erasure.maintain(at)
        return not outbox.retention.erasure.is_needed()

    return rewritten


def test_nothing_was_deleted_and_nothing_is_rewritten(outbox: Outbox) -> None:
    fill(outbox, 1)
    outbox.retention.prune(NOW, DAY, DAY)
    assert not outbox.retention.erasure.is_needed()
    assert not outbox.retention.erasure.is_due(NOW + 99 * DAY)


def test_a_rewrite_serves_the_deletions_of_an_hour(outbox: Outbox, rewrites: Callable[[float], bool]) -> None:
    fill(outbox, 2)
    sql(outbox, "UPDATE delivery SET settled_at = settled_at + 1800 WHERE number = 2")
    assert outbox.retention.prune(NOW + DAY + 600, DAY, DAY) == 1
    assert outbox.retention.prune(NOW + DAY + 2400, DAY, DAY) == 1
    assert [rewrites(NOW + DAY + 600 + at) for at in (COLLECT_SECONDS - 1, COLLECT_SECONDS)] == [False, True]


def test_a_rewrite_waits_for_running_scans_but_not_for_ever(outbox: Outbox, rewrites: Callable[[float], bool]) -> None:
    begin(outbox, a_scan())
    fill(outbox, 1)
    deleted_at = NOW + 2 * DAY
    outbox.retention.prune(deleted_at, DAY, DAY)
    latest = deleted_at + COLLECT_SECONDS + SCANS_SECONDS
    assert [rewrites(at) for at in (deleted_at + COLLECT_SECONDS, latest - 1, latest)] == [False, False, True]


def test_an_operators_deletion_does_not_wait_for_a_scan(outbox: Outbox, rewrites: Callable[[float], bool]) -> None:
    begin(outbox, a_scan())
    fill(outbox, 1)
    outbox.retention.purge(Selection(states=(State.DEAD,)))
    assert rewrites(NOW)


def test_a_clock_that_was_wrong_does_not_put_it_off(outbox: Outbox, rewrites: Callable[[float], bool]) -> None:
    fill(outbox, 1)
    outbox.retention.prune(NOW + 3650 * DAY, DAY, DAY)
    assert rewrites(NOW + 2 * DAY)


@pytest.mark.parametrize("deletion", ["0", f"{NOW + COLLECT_SECONDS}"], ids=["by an operator", "by age"])
def test_a_deletion_during_a_rewrite_needs_another_one(outbox: Outbox, deletion: str) -> None:
    fill(outbox, 1)
    outbox.retention.purge(Selection(states=(State.DEAD,)))
    sql(
        outbox,
        "CREATE TRIGGER meanwhile AFTER UPDATE ON file WHEN new.erase_at < 0"
        f" BEGIN UPDATE file SET erase_at = {deletion}; END",
    )
    assert outbox.retention.erasure.run() == ""
    assert outbox.retention.erasure.is_needed()


def test_a_deletion_by_age_does_not_put_off_a_rewrite_that_is_under_way_or_was_killed(outbox: Outbox) -> None:
    outbox.database.check()
    sql(outbox, "UPDATE file SET erase_at = -1.5")
    with outbox.database.writing() as connection:
        note_deletion(connection, NOW)
    assert sql(outbox, "SELECT erase_at FROM file") == [(0.0,)]


def test_a_rewrite_that_failed_is_not_tried_again_at_once(outbox: Outbox, rewrites: Callable[[float], bool]) -> None:
    fill(outbox, 1)
    outbox.retention.purge(Selection(states=(State.DEAD,)))
    with closing(sqlite3.connect(outbox.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(OutboxBusyError):
            rewrites(NOW)
    assert [rewrites(NOW + at) for at in (1, RETRY_SECONDS - 1, RETRY_SECONDS)] == [False, False, True]


def test_a_rewrite_that_waits_for_a_reader_is_not_repeated(outbox: Outbox) -> None:
    fill(outbox, 1)
    outbox.retention.purge(Selection(states=(State.DEAD,)))
    with closing(sqlite3.connect(outbox.path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM event").fetchone()
        outbox.retention.erasure.maintain(NOW)
        begun = sql(outbox, "SELECT erase_at FROM file")
        outbox.retention.erasure.maintain(NOW + RETRY_SECONDS)
        assert sql(outbox, "SELECT erase_at FROM file") == begun
    outbox.retention.erasure.maintain(NOW + 60)
    assert not outbox.retention.erasure.is_needed()


# --- without room


def dead_letters(outbox: Outbox, number: int) -> None:
    """Put dead letters of 2 kB into an outbox: one to the siem, all others to the team."""
    event = an_event(scan=None, type="system_alert").type
    for n in range(number):
        one = an_event(n, scan=None, type=event, data={"data": f"FINDING-{n}-" + "x" * 2000})
        outbox.accept([(one, [Wanted("team" if n else "siem", event)])], NOW)
        outbox.database.empty_log()
    outbox.retention.end(Selection(), NOW)
    outbox.database.empty_log()


#: deletes the one to the siem
PURGE = ("purge", "--endpoint", "siem", "--yes", "--folder")


def test_a_rewrite_without_room_is_not_begun(small_disk: Path, cli: Callable[..., Result], tmp_path: Path,
                                             monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setenv("SQLITE_TMPDIR", str(tmp_path))
    with closing(Outbox(small_disk / FILE)) as outbox:
        dead_letters(outbox, 150)
        result = cli(*PURGE, str(small_disk))
    assert (result.code, "its rewrite needs 0." in result.words) == (3, True)
    assert f"MB in {small_disk}, where 0." in result.words
    assert "sfwebhooks run tries that again within an hour, and the same command at once." in result.words


@slow
def test_a_full_folder_for_the_copy_is_named(small_disk: Path, cli: Callable[..., Result], outbox: Outbox,
                                             monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    dead_letters(outbox, 600)
    monkeypatch.setenv("SQLITE_TMPDIR", str(small_disk))
    result = cli(*PURGE, str(outbox.path.parent))
    assert (result.code, f"MB in {small_disk}, where 1.0 MB are free" in result.words) == (3, True)
    assert Path(f"{outbox.path}-wal").stat().st_size == 0
    monkeypatch.delenv("SQLITE_TMPDIR")
    assert cli(*PURGE, str(outbox.path.parent)).code == 0


@slow
def test_a_process_that_maintains_an_outbox_without_room_logs_it_once_an_hour(
    small_disk: Path, outbox: Outbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    dead_letters(outbox, 600)
    outbox.retention.purge(Selection("siem", states=(State.DEAD,)))
    monkeypatch.setenv("SQLITE_TMPDIR", str(small_disk))
    for at in (NOW, NOW + 60, NOW + RETRY_SECONDS - 1):
        outbox.retention.prune(at, 99 * DAY, 99 * DAY)
    assert len(caplog.messages) == 1
    monkeypatch.delenv("SQLITE_TMPDIR")
    outbox.retention.prune(NOW + RETRY_SECONDS, 99 * DAY, 99 * DAY)
    assert not outbox.retention.erasure.is_needed()


#: a process whose files cannot grow beyond 500 kB, so that a rewrite fails in the log; prints what is left in it
LIMITED = """
import resource, sys
from pathlib import Path
from sfwebhooks.outbox.outbox import Outbox
outbox = Outbox(Path(sys.argv[1]))
outbox.database.check()
resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))
print(outbox.retention.erasure.run().split(": ")[1])
print(Path(sys.argv[1] + "-wal").stat().st_size)
"""


def test_a_rewrite_that_failed_leaves_nothing_in_the_log(outbox: Outbox) -> None:
    dead_letters(outbox, 250)
    outbox.close()
    assert run([outbox.path], LIMITED).stdout.split("\n")[:2] == ["disk I/O error", "0"]


# --- damage


@pytest.fixture
def damaged(outbox: Outbox) -> Outbox:
    """An outbox with a damaged page of the delivery log, and a waiting delivery."""
    fill(outbox, 200)
    put_event(outbox, an_event(1000, scan=None))
    query = "SELECT max(pageno) FROM dbstat WHERE name = 'delivery_attempt'"
    try:
        ((page,),) = sql(outbox, query)
    except sqlite3.OperationalError:
        pytest.skip("this SQLite cannot say where a table is")
    ((size,),) = sql(outbox, "PRAGMA page_size")
    outbox.database.empty_log()
    outbox.close()
    with outbox.path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * 200)
    return outbox


def test_damage_that_only_a_rewrite_meets_is_logged_once_and_the_file_is_used_further(
    damaged: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    sql(damaged, "UPDATE file SET erase_at = 0")
    with closing(Maintenance(Settings(()), damaged.path)) as maintenance:
        for at in (NOW, NOW + RETRY_SECONDS):
            with pytest.raises(DamagedError):
                maintenance.look(at)
    assert len(caplog.messages) == 1
    assert "is damaged (database disk image is malformed)" in caplog.text
    assert len(damaged.queue.claim("team", [], NOW + 1, 9)) == 1


def test_an_operator_learns_of_damage_that_prevents_erasure(damaged: Outbox, cli: Callable[..., Result]) -> None:
    sql(damaged, "UPDATE file SET erase_at = 0")
    result = cli("purge", "--older-than", "300d", "--yes")
    assert (result.code, "is damaged (database disk image is malformed)" in result.words) == (3, True)
    assert len(damaged.queue.claim("team", [], NOW + 1, 9)) == 1
