"""The series of an outbox's numbers: a new one where numbers could be given twice, and only there."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import sqlite3
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from subprocess import PIPE
from typing import Any, Callable

import pytest

from sfwebhooks.config.settings import load_mapping
from sfwebhooks.delivery.dispatcher import Dispatcher
from sfwebhooks.errors import OutboxBusyError
from sfwebhooks.events import lifecycle_id
from sfwebhooks.outbox.claim import Limits
from sfwebhooks.outbox.database import Sql
from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.sequence_numbers import (
    MARK_SIZE,
    RANDOM_BITS,
    HighWaterMark,
    Position,
    _new_name,
    boot_id,
    check_series,
)
from sfwebhooks.receive.completeness import CompletenessCheck
from sfwebhooks.scan.recovery import report_dead_scans
from sfwebhooks.screening import Wanted
from tests.builders import NOW, PATIENCE, a_host_database, a_scan, an_event, claim_one
from tests.conftest import Team, sql
from tests.filled import put, send
from tests.processes import Process, run
from tests.threads import waits_for
from tests.tiers import quick_first
from tests.users import descriptors

ONE_STORE = "it is about the file"

ROOT = Path(__file__).parents[2]
ID = a_scan().id


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / FILE


@pytest.fixture
def opened(path: Path) -> Iterator[Callable[..., Outbox]]:
    """Open the outbox as another process does: `opened("another boot")`."""
    made: list[Outbox] = []

    def open_it(boot: str = "this boot") -> Outbox:
        made.append(Outbox(path, boot=lambda: boot))
        return made[-1]

    yield open_it
    for outbox in made:
        outbox.close()


def numbers(outbox: Outbox) -> list[tuple[str, int]]:
    """Return the series and number of each delivery in its order."""
    rows = sql(outbox, "SELECT s.name, sequence FROM delivery d JOIN series s ON s.number = d.series ORDER BY d.number")
    return [(str(name), int(number)) for name, number in rows]


def series(outbox: Outbox) -> list[str]:
    """Return the series of the deliveries, each once and in the order in which they were begun."""
    return list(dict.fromkeys(name for name, _ in numbers(outbox)))


def log_of(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def saved(path: Path) -> dict[Path, bytes]:
    """Return an outbox as it is on the disk, while others use it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM delivery").fetchone()  # while it reads, the log is not begun again
        return {each: each.read_bytes() for each in (path, log_of(path))}


def put_back(files: dict[Path, bytes]) -> None:
    """Make an outbox that nobody has open what it was."""
    for each, content in files.items():
        each.with_name(FILE + "-shm").unlink(missing_ok=True)
        each.write_bytes(content)


# --- when it stays


def test_numbers_go_on_where_they_were_however_often_the_file_is_opened(opened: Callable[..., Outbox]) -> None:
    for number in (1, 2, 3):
        outbox = opened()
        put(outbox, number)
        send(outbox)
        outbox.close()
    assert (len(series(outbox)), [number for _, number in numbers(outbox)]) == (1, [1, 2, 3])


def test_a_file_that_was_closed_has_its_series_after_another_boot(opened: Callable[..., Outbox]) -> None:
    first = opened()
    put(first, 1)
    first.close()
    second = opened("another boot")
    put(second, 2)
    assert numbers(second) == [(series(second)[0], 1), (series(second)[0], 2)]


def test_a_process_that_was_killed_leaves_the_series_as_it_is(opened: Callable[..., Outbox], path: Path) -> None:
    script = f"""
import os
from pathlib import Path
from sfwebhooks.outbox.outbox import Outbox
from tests.filled import put, send
outbox = Outbox(Path({str(path)!r}), boot=lambda: "this boot")
put(outbox, 1, 2)
send(outbox)
os.kill(os.getpid(), 9)
"""
    assert run([], script).returncode == -signal.SIGKILL
    assert log_of(path).stat().st_size
    outbox = opened()
    put(outbox, 3)
    assert numbers(outbox) == [(series(outbox)[0], number) for number in (1, 2, 3)]


def test_a_process_that_was_killed_after_another_boot_leaves_it_too(opened: Callable[..., Outbox], path: Path) -> None:
    """The boot is written when the file is opened, not only with a series."""
    first = opened("an earlier boot")
    put(first, 1)
    first.close()
    put(opened(), 2)  # and is not closed: its log has something
    assert log_of(path).stat().st_size
    outbox = opened()
    put(outbox, 3)
    assert len(series(outbox)) == 1


@pytest.mark.parametrize(("before", "after"), [("", "this boot"), ("this boot", ""), ("", "")])
def test_where_no_boot_is_known_none_is_another_one(opened: Callable[..., Outbox], before: str, after: str) -> None:
    put(opened(before), 1)
    outbox = opened(after)
    put(outbox, 2)
    assert len(series(outbox)) == 1


def opened_after_deletion(opened: Callable[..., Outbox]) -> Outbox:
    """Return an outbox with a third delivery, whose first two were sent and deleted."""
    outbox = opened()
    put(outbox, 1, 2)
    for _ in range(2):
        send(outbox)
    sql(outbox, "DELETE FROM delivery")
    outbox.close()
    again = opened()
    put(again, 3)
    return again


def test_what_was_deleted_last_is_not_lost(opened: Callable[..., Outbox]) -> None:
    again = opened_after_deletion(opened)
    assert numbers(again) == [(series(again)[0], 3)]


def test_a_second_process_of_the_same_boot_keeps_the_series_that_the_first_one_began(
    opened: Callable[..., Outbox], path: Path
) -> None:
    put(opened("old boot"), 1)
    put(opened(), 2)
    outbox = opened()
    put(outbox, 3)
    assert numbers(outbox) == [(series(outbox)[0], 1), (series(outbox)[1], 1), (series(outbox)[1], 2)]


def test_what_was_lost_and_never_sent_has_taken_no_number(opened: Callable[..., Outbox], path: Path) -> None:
    outbox = opened()
    put(outbox, 1)
    send(outbox)
    before = saved(path)
    put(outbox, 2)
    outbox.close()
    put_back(before)
    again = opened()
    put(again, 3)
    assert numbers(again) == [(series(again)[0], 1), (series(again)[0], 2)]


def test_this_machine_names_its_boot() -> None:
    boot_id.cache_clear()
    assert boot_id() == boot_id() != ""


def test_a_file_that_was_closed_with_an_empty_log_has_its_series_after_another_boot(
    opened: Callable[..., Outbox], path: Path
) -> None:
    first = opened()
    put(first, 1)
    first.close()
    log_of(path).touch(mode=0o600)
    second = opened("another boot")
    put(second, 2)
    assert len(series(second)) == 1


def test_a_file_whose_mark_is_lost_keeps_its_series(opened: Callable[..., Outbox], path: Path) -> None:
    first = opened()
    put(first, 1)
    first.close()
    path.with_suffix(".mark").unlink()
    second = opened()
    put(second, 2)
    assert len(series(second)) == 1


def test_an_outbox_is_opened_while_another_process_writes_to_it(opened: Callable[..., Outbox], path: Path) -> None:
    put(opened(), 1)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert opened().scans.tallies()["waiting"] == 1


# --- when a new one is begun


def test_a_file_with_the_mark_of_another_series_begins_a_new_one(
    opened: Callable[..., Outbox], mark: HighWaterMark
) -> None:
    first = opened()
    put(first, 1)
    first.close()
    mark.replace(Position("another", 0))
    second = opened()
    put(second, 2)
    assert len(series(second)) == 2


class MarkOf(HighWaterMark):
    """A mark that is given."""

    def __init__(self, *read: Position | None, connection: Sql | None = None) -> None:
        self._read = [*read]
        self._full = connection

    def read(self) -> Position | None:
        return self._read.pop(0)

    def replace(self, here: Position) -> None:
        if self._full:
            self._full.execute("ROLLBACK")  # as a full disk ends a transaction
        raise OSError("no space")


def test_a_series_that_another_process_has_begun_meanwhile_is_left_as_it_is(
    opened: Callable[..., Outbox], path: Path
) -> None:
    put(opened(), 1)
    before = sql(opened(), "SELECT * FROM file")
    with opened().database.reading() as connection:
        check_series(connection, path, MarkOf(Position("another", 0), None), "", closed=True)
    assert sql(opened(), "SELECT * FROM file") == before


@pytest.mark.parametrize("is_ended", [False, True])
def test_a_series_whose_mark_cannot_be_written_is_not_begun(
    opened: Callable[..., Outbox], path: Path, is_ended: bool
) -> None:
    put(opened(), 1)
    with opened().database.reading() as connection:
        mark = MarkOf(*[Position("another", 0)] * 2, connection=connection if is_ended else None)
        with pytest.raises(OSError, match="no space"):
            check_series(connection, path, mark, "this boot", closed=True)
        assert not connection.in_transaction
    assert sql(opened(), "SELECT count(*) FROM series") == [(1,)]


def test_the_name_of_a_series_says_when_it_was_begun() -> None:
    before = time.time_ns() // 1_000_000
    begun = int(_new_name(), 36) >> RANDOM_BITS
    assert before <= begun <= time.time_ns() // 1_000_000


def test_each_file_has_a_series_of_its_own(opened: Callable[..., Outbox], path: Path) -> None:
    names = set()
    for _ in range(3):
        outbox = opened()
        put(outbox, 1)
        send(outbox)
        names |= set(numbers(outbox))
        outbox.close()
        path.unlink()
    assert ([number for _, number in names], len({name for name, _ in names})) == ([1, 1, 1], 3)


def test_after_a_power_loss_numbers_begin_at_one_in_a_new_series(
    opened: Callable[..., Outbox], path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    outbox = opened()
    put(outbox, 1, 2)
    before = saved(path)
    outbox.close()
    put_back(before)
    again = opened("another boot")
    put(again, 3, 4)
    first, second = series(again)
    assert numbers(again) == [(first, 1), (first, 2), (second, 1), (second, 2)]
    (line,) = caplog.messages
    assert line == (
        f"webhooks: outbox {path}: the machine stopped while it was open, and the last accepted events may be lost;"
        " messages are numbered from 1 again in a new series"
    )


def test_a_file_that_is_older_than_what_was_sent_from_it_begins_a_new_series(
    opened: Callable[..., Outbox], path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    outbox = opened()
    put(outbox, 1)
    before = saved(path)
    put(outbox, 2)
    for _ in range(2):
        send(outbox)
    outbox.close()
    put_back(before)
    again = opened()
    put(again, 3)
    assert numbers(again) == [(series(again)[0], 1), (series(again)[1], 1)]
    assert "a restored backup" in caplog.text


def test_a_file_of_before_the_last_series_begins_another_one(opened: Callable[..., Outbox], path: Path) -> None:
    outbox = opened()
    put(outbox, 1)
    before = saved(path)
    outbox.close()
    names = set()
    for _ in range(3):
        put_back(before)
        again = opened("another boot")
        put(again, 2)
        names |= {series(again)[-1]}
        again.close()
    assert len(names) == 3


def test_a_copy_of_the_file_begins_a_new_series_and_the_original_keeps_its_own(
    opened: Callable[..., Outbox], path: Path, tmp_path: Path
) -> None:
    original = opened()
    put(original, 1)
    original.close()
    (tmp_path / "copy").mkdir()
    for each in (path, path.with_suffix(".mark")):
        shutil.copy(each, tmp_path / "copy")
    with closing(Outbox(tmp_path / "copy" / FILE, boot=lambda: "this boot")) as copy:
        put(copy, 2)
        put(opened(), 2)
        assert (numbers(copy)[1][1], numbers(original)[1][1]) == (1, 2)
        assert numbers(copy)[1][0] != numbers(original)[1][0]


def test_a_series_that_cannot_be_begun_yet_is_begun_later(opened: Callable[..., Outbox], path: Path) -> None:
    outbox = opened()
    put(outbox, 1)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        again = opened("another boot")
        with pytest.raises(OutboxBusyError):
            again.scans.tallies()
    put(again, 2)
    assert len(series(again)) == 2


def test_a_retry_has_the_series_that_it_had(opened: Callable[..., Outbox], path: Path) -> None:
    outbox = opened()
    put(outbox, 1)
    first = claim_one(outbox, Limits("team"), (), NOW)
    again = claim_one(opened("another boot"), Limits("team"), (), NOW)
    assert first and again and first.deliveries == again.deliveries


def test_the_receipt_names_all_series_and_counts_what_is_in_them(opened: Callable[..., Outbox]) -> None:
    put(opened(), 1, 2)
    outbox = opened("another boot")
    put(outbox, 3)
    end = an_event(id=lifecycle_id(ID, "ended"), type="scan_completed", data={"events_found": 3})
    assert outbox.scans.end_scan(end, [Wanted("team", end.type)], NOW)
    (data,) = (json.loads(row[0]) for row in sql(outbox, f"SELECT data FROM event WHERE id = '{end.id}'"))
    first, second = series(outbox)
    receipt = data["receipts"]["team"]
    assert (receipt["series"], receipt["first_sequence"], receipt["last_sequence"]) == (second, 1, 2)
    assert (receipt["earlier_series"], receipt["accepted"]) == ({first: 2}, 4)
    assert outbox.scans.deleted(ID, "team") == 0


# --- the mark


@pytest.fixture
def mark(path: Path) -> HighWaterMark:
    return HighWaterMark(path)


def test_the_mark_is_raised_before_a_message_is_sent(opened: Callable[..., Outbox], mark: HighWaterMark) -> None:
    outbox = opened()
    put(outbox, 1, 2)
    assert mark.read() == Position(series(outbox)[0], 0)
    assert claim_one(outbox, Limits("team"), (), NOW)
    assert mark.read() == Position(series(outbox)[0], 2)


def test_a_mark_is_never_lowered_and_stays_that_of_its_series(mark: HighWaterMark) -> None:
    for reached in (("one", 7), ("one", 3), ("another", 9)):
        mark.raise_to(Position(*reached))
    assert mark.read() == Position("one", 7)
    mark.replace(Position("another", 2))
    assert mark.read() == Position("another", 2)


@pytest.mark.parametrize("content", [b"", b"rubbish", b"one", b"one 1.5", b"\xff 1", "one ١".encode(), b"\0" * 5000])
def test_a_mark_that_says_nothing_is_written_again(path: Path, mark: HighWaterMark, content: bytes) -> None:
    path.with_suffix(".mark").write_bytes(content)
    assert mark.read() is None
    mark.raise_to(Position("one", 7))
    assert mark.read() == Position("one", 7)


def test_a_mark_covers_deliveries_that_were_deleted(opened: Callable[..., Outbox], mark: HighWaterMark) -> None:
    again = opened_after_deletion(opened)
    send(again)
    assert mark.read() == Position(series(again)[0], 3)


def test_a_mark_is_overwritten_in_its_place_and_closed(mark: HighWaterMark, path: Path) -> None:
    before = descriptors()
    mark.replace(Position("one", 1))
    inode = path.with_suffix(".mark").stat().st_ino
    mark.raise_to(Position("one", 1_000_000))
    found = path.with_suffix(".mark").stat()
    assert mark.read() == Position("one", 1_000_000)
    assert (found.st_ino, found.st_size, descriptors()) == (inode, MARK_SIZE, before)


def test_a_mark_is_raised_by_one_process_at_a_time(mark: HighWaterMark, path: Path) -> None:
    mark.replace(Position("one", 1))

    @contextmanager
    def raised_by_another() -> Iterator[None]:
        descriptor = os.open(path.with_suffix(".mark"), os.O_RDWR)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
        os.close(descriptor)

    assert waits_for(raised_by_another(), lambda: mark.raise_to(Position("one", 2)))
    assert mark.read() == Position("one", 2)


def test_a_link_to_another_mark_is_not_read(mark: HighWaterMark, path: Path) -> None:
    HighWaterMark(path.with_name("another.db")).replace(Position("one", 7))
    path.with_suffix(".mark").symlink_to(path.with_name("another.mark"))
    assert mark.read() is None


def a_link(path: Path) -> None:
    path.symlink_to(path.with_name("another file"))


@pytest.mark.parametrize("make", [a_link, os.mkfifo])
def test_what_is_not_a_file_is_replaced_by_the_mark(
    path: Path, mark: HighWaterMark, make: Callable[[Path], None]
) -> None:
    path.with_name("another file").write_text("of somebody else")
    make(path.with_suffix(".mark"))
    assert mark.read() is None
    mark.raise_to(Position("one", 7))
    assert mark.read() == Position("one", 7)
    assert path.with_name("another file").read_text() == "of somebody else"


def test_messages_are_sent_where_no_mark_can_be_written(
    opened: Callable[..., Outbox], path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    outbox = opened()
    put(outbox, 1)
    path.with_suffix(".mark").unlink()
    path.with_suffix(".mark").mkdir()
    assert claim_one(outbox, Limits("team"), (), NOW)
    assert caplog.messages == [f"webhooks: the mark of outbox {path} cannot be written: Is a directory"]
    assert list(path.parent.glob("*.mark.*")) == []


def test_the_mark_belongs_to_its_owner_alone(opened: Callable[..., Outbox], path: Path) -> None:
    put(opened(), 1)
    assert path.with_suffix(".mark").stat().st_mode & 0o777 == 0o600


# --- a scan that lost some seconds

SCAN = """
import sys
from pathlib import Path
from sfwebhooks.outbox.file import File
from sfwebhooks.config.settings import load_mapping
from sfwebhooks.scan.host_database import HostDatabase
from sfwebhooks.scan.run import ScanRun
from tests.builders import a_scan
from tests.scan.test_run import Host
File.empty_log = lambda self: True  # an empty log has nothing to lose, and pruning empties it when it likes
folder = Path(sys.argv[1])
settings = load_mapping({"team": {"url": sys.argv[2], "events": "all"}})
run = ScanRun(a_scan(database=str(folder / "spiderfoot.db")), settings, folder)
host = Host(folder, run)
run.begin()
for line in sys.stdin:
    host.find(int(line), received=False)
    for finding in HostDatabase(run.scan.database).findings(run.scan.id, host.hashes[-int(line):]):
        run.accept(finding)
"""


@pytest.fixture
def scan(tmp_path: Path, team: Team) -> Iterator[Callable[[int], None]]:
    """A scan in another process, which finds something when it is asked to; finding nothing more kills it."""
    a_host_database(tmp_path / "spiderfoot.db", a_scan())
    with Process([tmp_path, team.url], SCAN, stdin=PIPE) as process:

        def find(count: int) -> None:
            if not count:
                process.kill()
                process.wait(PATIENCE)
                return
            assert process.stdin
            process.stdin.write(f"{count}\n")
            process.stdin.flush()

        yield find
        process.kill()


def by_id(team: Team) -> dict[str, list[dict[str, Any]]]:
    """Return the messages that came, by the id of their delivery."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for received in team.got:
        found[received.message["metadata"]["delivery_id"]].append(received.message)
    return found


def without_number(message: dict[str, Any]) -> dict[str, Any]:
    metadata = {key: value for key, value in message["metadata"].items() if key not in ("series", "sequence")}
    return {**message, "metadata": metadata}


@pytest.mark.parametrize("rebooted", quick_first([False, True]))
def test_a_scan_that_lost_some_seconds_gives_no_number_twice_and_its_receipt_is_true(
    scan: Callable[[int], None], team: Team, path: Path, rebooted: bool
) -> None:
    scan(3)
    team.wait_for(4)
    before = saved(path)
    scan(4)
    team.wait_for(8)
    scan(0)
    put_back(before)
    if rebooted:
        path.with_suffix(".mark").unlink()  # it may be lost too
        with closing(Outbox(path, boot=lambda: "another boot")) as outbox:
            outbox.scans.tallies()
    settings = load_mapping({"team": {"url": team.url, "events": "all, !surface_changed"}})
    dispatcher = Dispatcher(settings.endpoints, path)
    report_dead_scans(dispatcher.outbox, settings)
    dispatcher.wake()
    dispatcher.linger(time.monotonic() + PATIENCE)
    dispatcher.stop(PATIENCE)
    messages, places = by_id(team), defaultdict(set)
    for identity, came in messages.items():
        for message in came:
            places[message["metadata"]["series"], message["metadata"]["sequence"]].add(identity)
        assert [without_number(message) for message in came] == [without_number(came[0])] * len(came)
    assert [ids for ids in places.values() if len(ids) > 1] == []
    lost = [came for came in messages.values() if len({message["metadata"]["series"] for message in came}) == 2]
    assert (len(messages), len(lost)) == (9, 4)
    (end,) = (came[0] for came in messages.values() if came[0]["event_type"] == "scan_failed")
    receipt, check = end["data"]["receipt"], CompletenessCheck()
    first, second = dict.fromkeys(received.message["metadata"]["series"] for received in team.got)
    assert (receipt["series"], receipt["earlier_series"], receipt["accepted"]) == (second, {first: 4}, len(messages))
    assert (receipt["first_sequence"], receipt["last_sequence"]) == (1, 5)
    *_, account = (account for one in team.got if (account := check.enter(one.message)))
    assert account.complete, str(account)
