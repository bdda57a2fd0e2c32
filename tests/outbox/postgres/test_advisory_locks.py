"""The locks of an outbox on PostgreSQL: who holds them, notes, numbers and the fence."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from subprocess import PIPE
from typing import Callable

import pytest

from sfwebhooks.attempts import Attempt
from sfwebhooks.errors import FencedError, OutboxBusyError, OutboxError
from sfwebhooks.health import Health
from sfwebhooks.outbox.claim import Limits
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.postgres import advisory_locks
from sfwebhooks.outbox.postgres.advisory_locks import AdvisoryLocks
from sfwebhooks.outbox.postgres.dsn import Dsn
from sfwebhooks.outbox.postgres.lock_session import open_session
from sfwebhooks.outbox.results import Result
from sfwebhooks.retry import Settlement, State
from tests.builders import NOW, an_endpoint
from tests.conftest import put, sql
from tests.postgres import Postgres
from tests.processes import Process
from tests.threads import until

#: a process that takes locks, and may have a child that lives on when it is killed
HOLDER = """
import os, sys
from pathlib import Path
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.postgres.dsn import Dsn
outbox = Outbox(Dsn(sys.argv[1], Path(sys.argv[2])))
locks = [outbox.locks.endpoint(name) for name in sys.argv[4:]]
taken = [lock.take() for lock in locks]
for lock in locks:
    lock.note("of the other process")
if sys.argv[3] == "with a child" and os.fork() == 0:
    os.close(1)
    sys.stdin.read()
    os._exit(0)
print(*taken, flush=True)
sys.stdin.readline()
for lock in locks:
    lock.release()
print("released", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def outbox(postgres_dsn: str, tmp_path: Path) -> Iterator[Outbox]:
    with closing(Outbox(Dsn(postgres_dsn, tmp_path))) as made:
        yield made
        session = open_session(Dsn(postgres_dsn, tmp_path))
        if session:
            session.close()


@pytest.fixture
def holder(postgres_dsn: str, tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Start processes that hold the locks of endpoints, each on a machine of its own: `holder(names)`."""
    made: list[Process] = []

    def start(*names: str, how: str = "") -> Process:
        folder = tmp_path / f"machine-{len(made)}"
        folder.mkdir()
        made.append(Process([postgres_dsn, folder, how, *names], HOLDER, stdin=PIPE, stdout=PIPE))
        assert hear(made[-1]) == " ".join(["True"] * len(names))
        return made[-1]

    yield start
    for one in made:
        if one.poll() is None:
            one.kill()
        one.communicate()


def hear(process: Process) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def test_a_lock_is_exclusive_between_processes_and_free_when_its_holder_releases_it(
    outbox: Outbox, holder: Callable[..., Process]
) -> None:
    other, ours = holder("team"), outbox.locks.endpoint("team")
    assert (ours.take(), ours.held, ours.is_free, outbox.locks.endpoint("another").is_free) == (
        False,
        False,
        False,
        True,
    )
    assert other.stdin
    other.stdin.write("release\n")
    other.stdin.flush()
    assert hear(other) == "released"
    assert (ours.is_free, ours.take(), ours.held) == (True, True, True)


@pytest.mark.parametrize("how", ["alone", "with a child"])
def test_a_killed_process_frees_its_locks_also_if_it_leaves_a_child(
    outbox: Outbox, holder: Callable[..., Process], how: str
) -> None:
    other = holder("team", how=how)
    os.kill(other.pid, signal.SIGKILL)
    until(outbox.locks.endpoint("team").take)


def test_two_locks_of_a_name_exclude_each_other_within_a_process(outbox: Outbox) -> None:
    one, other = outbox.locks.url("1"), outbox.locks.url("1")
    assert (one.take(), one.take(), other.take(), other.is_free, one.is_free) == (True, True, False, False, False)
    other.release()
    assert not other.take()
    one.release()
    assert (other.is_free, other.take()) == (True, True)


def test_kinds_of_locks_are_different_names(outbox: Outbox) -> None:
    its = outbox.locks
    assert [lock.take() for lock in (its.scan("1"), its.endpoint("1"), its.url("1"))] == [True] * 3


def test_looking_at_a_lock_does_not_take_it_and_opens_no_session(outbox: Outbox) -> None:
    lock = outbox.locks.scan("1")
    assert (lock.is_free, lock.noted(), lock.held) == (True, "", False)
    assert open_session(outbox.database.dsn) is None  # type: ignore[attr-defined]


def test_the_last_note_outlives_its_holder(outbox: Outbox, holder: Callable[..., Process]) -> None:
    other, lock = holder("team"), outbox.locks.endpoint("team")
    assert lock.noted() == "of the other process"
    os.kill(other.pid, signal.SIGKILL)
    until(lock.take)
    assert lock.noted() == "of the other process"
    lock.note("ours")
    assert outbox.locks.endpoint("team").noted() == "ours"


def test_who_does_not_hold_the_lock_cannot_write_its_note(outbox: Outbox, holder: Callable[..., Process]) -> None:
    holder("team")
    outbox.locks.endpoint("team").note("ours")
    assert outbox.locks.endpoint("team").noted() == "of the other process"


def test_what_the_last_holder_on_this_machine_noted_is_known_whatever_others_noted_since(
    postgres_dsn: str, tmp_path: Path
) -> None:
    folders = [tmp_path / "here", tmp_path / "there"]
    for folder in folders:
        folder.mkdir()
    here, there = (Outbox(Dsn(postgres_dsn, folder)) for folder in folders)
    for outbox, text in ((here, "ours"), (there, "theirs")):
        lock = outbox.locks.url("1")
        assert lock.take()
        lock.note(text)
        lock.release()
    seen = here.locks.url("1")
    assert (seen.noted(), seen.noted_here()) == ("theirs", "ours")
    assert here.locks.endpoint("1").noted_here() == ""
    here.close()
    there.close()


def test_a_machine_whose_folder_cannot_be_written_holds_locks_without_notes_of_its_own(
    postgres_dsn: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with closing(Outbox(Dsn(postgres_dsn, tmp_path / "file"))) as outbox:
        lock = outbox.locks.url("1")
        assert lock.take()
        lock.note("ours")
        assert (lock.noted(), lock.noted_here()) == ("ours", "")
        lock.release()


def test_the_notes_of_a_lock_are_removed_with_its_name(outbox: Outbox) -> None:
    lock = outbox.locks.scan("1")
    lock.take()
    lock.note("ours")
    lock.release(remove=True)
    assert (outbox.locks.scan("1").noted(), sql(outbox, "SELECT name FROM ownership")) == ("", [])


def test_a_session_that_ended_takes_all_locks_with_it_and_the_next_take_opens_another(
    outbox: Outbox, postgres: Postgres
) -> None:
    one, other = outbox.locks.url("1"), outbox.locks.endpoint("team")
    assert (one.take(), other.take()) == (True, True)
    session = open_session(outbox.database.dsn)  # type: ignore[attr-defined]
    assert session
    postgres.execute(f"SELECT pg_terminate_backend({session._server_pid})")
    until(lambda: not one.held)
    assert not other.held
    one.note("late")
    assert (outbox.locks.url("1").noted(), other.take(), other.held) == ("", True, True)


def test_a_lock_can_be_checked_without_taking_it(outbox: Outbox, tmp_path: Path) -> None:
    outbox.locks.url("1").check()
    assert outbox.locks.url("1").is_free
    with closing(Outbox(Dsn("postgresql:///nothing?host=/nowhere", tmp_path))) as nowhere:
        for ask in (nowhere.locks.url("1").check, nowhere.locks.url("1").take, lambda: nowhere.locks.url("1").is_free):
            with pytest.raises(OutboxBusyError, match="outbox /nowhere/nothing"):
                ask()
        assert nowhere.locks.url("1").noted() == ""


def test_the_machine_of_the_last_holder_is_named_unless_it_is_this_one(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = outbox.locks.endpoint("team")
    assert lock.machine == ""
    lock.take()
    assert lock.machine == ""
    monkeypatch.setattr(advisory_locks, "MACHINE", "scanner-2")
    assert lock.machine == socket.gethostname()[:64]


def test_a_scan_whose_lock_is_free_may_be_alive_for_a_while_unless_it_never_had_one(
    outbox: Outbox, holder: Callable[..., Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    its, lock = outbox.locks, outbox.locks.scan("1")

    def lose() -> None:
        session = open_session(outbox.database.dsn)  # type: ignore[attr-defined]
        assert session
        session.close()
        until(lambda: lock.is_free)

    assert (its.may_be_alive("1"), lock.take(), its.may_be_alive("1")) == (False, True, True)
    lose()
    assert its.may_be_alive("1")
    (first,) = sql(outbox, "SELECT free_since FROM ownership")
    assert (its.may_be_alive("1"), sql(outbox, "SELECT free_since FROM ownership")) == (True, [first])
    monkeypatch.setattr(advisory_locks, "ALIVE_SECONDS", 0.0)
    assert not its.may_be_alive("1")
    monkeypatch.setattr(advisory_locks, "MACHINE", "scanner-2")
    assert its.may_be_alive("1"), "its own machine reports it first"
    monkeypatch.setattr(advisory_locks, "ELSEWHERE_SECONDS", 0.0)
    assert not its.may_be_alive("1")
    assert (lock.take(), its.may_be_alive("1")) == (True, True)
    lose()
    monkeypatch.undo()
    assert its.may_be_alive("1"), "it was held since"
    assert lock.take()
    lock.release()
    assert not its.may_be_alive("1"), "its process has given it back"


# --- numbers and the fence


DONE = Settlement(State.DELIVERED, "", 0.0, True)


def settle_one(outbox: Outbox) -> None:
    """Claim a delivery and settle it as delivered."""
    (batch,) = outbox.queue.claim("team", (), NOW)
    outbox.queue.settle([Result(batch, Attempt(NOW, 0.1, 200, "", ""), [DONE])])


def test_each_ownership_has_a_number_of_its_own(outbox: Outbox, holder: Callable[..., Process]) -> None:
    lock, numbers = outbox.locks.endpoint("team"), []
    for _ in range(2):
        assert lock.take()
        numbers += sql(outbox, "SELECT number FROM ownership")
        lock.release()
        holder("team").kill()
        numbers += sql(outbox, "SELECT number FROM ownership")
        until(lambda: lock.is_free)
    assert numbers == sorted({*numbers}) and len(numbers) == 4


def test_who_was_the_last_owner_keeps_its_number_and_knows_whether_another_one_was(
    outbox: Outbox, holder: Callable[..., Process]
) -> None:
    lock, found = outbox.locks.endpoint("team"), []
    for others in (0, 0, 1, 0):
        for _ in range(others):
            holder("team").kill()
            until(lambda: lock.is_free)
        assert lock.take()
        found.append((lock.changed_hands, *sql(outbox, "SELECT number FROM ownership")))
        lock.release()
    assert [changed for changed, _ in found] == [False, False, True, False]
    assert len({number for _, number in found}) == 2


@pytest.mark.parametrize("lost", ["DELETE FROM ownership", "UPDATE ownership SET number = number - 1"])
def test_a_number_that_was_lost_in_a_failover_is_not_given_again(
    outbox: Outbox, holder: Callable[..., Process], lost: str
) -> None:
    put(outbox, an_endpoint())
    lock = outbox.locks.endpoint("team")
    lock.take()
    lock.release()
    sql(outbox, lost)
    holder("team")
    with pytest.raises(FencedError):
        settle_one(outbox)


def test_a_server_whose_clock_is_behind_gives_higher_numbers_too(outbox: Outbox) -> None:
    lock, ahead = outbox.locks.endpoint("team"), 2**62
    lock.take()
    lock.release()
    sql(outbox, f"UPDATE ownership SET number = {ahead}")
    assert lock.take()
    assert sql(outbox, "SELECT number FROM ownership") == [(ahead + 1,)]


def test_who_was_never_an_owner_may_settle(outbox: Outbox, holder: Callable[..., Process]) -> None:
    put(outbox, an_endpoint())
    holder("team")
    settle_one(outbox)
    assert outbox.scans.tallies()["delivered"] == 1


def test_an_owner_may_settle_also_after_it_has_released_its_lock_or_lost_its_session(
    outbox: Outbox, postgres: Postgres
) -> None:
    put(outbox, an_endpoint(), events=3)
    lock = outbox.locks.endpoint("team")
    lock.take()
    settle_one(outbox)
    session = open_session(outbox.database.dsn)  # type: ignore[attr-defined]
    assert session
    postgres.execute(f"SELECT pg_terminate_backend({session._server_pid})")
    until(lambda: not lock.held)
    settle_one(outbox)
    assert lock.take()
    lock.release()
    settle_one(outbox)
    assert outbox.scans.tallies()["delivered"] == 3


def test_what_an_owner_settles_after_another_one_took_over_is_refused_as_a_whole(
    outbox: Outbox, holder: Callable[..., Process]
) -> None:
    team, ours = an_endpoint(), an_endpoint("ours", url="https://ours.example/hook")
    put(outbox, team, ours)
    locks = [outbox.locks.endpoint(name) for name in ("team", "ours")]
    assert all(lock.take() for lock in locks)
    batches = [outbox.queue.claim(name, (), NOW)[0] for name in ("team", "ours")]
    results = [Result(batch, Attempt(NOW, 0.1, 200, "", ""), [DONE]) for batch in batches]
    locks[0].release()
    holder("team")
    with pytest.raises(FencedError, match="another process sends to team now") as caught:
        outbox.queue.settle(results, {"ours": Health(failures=1)})
    assert caught.value.endpoints == ("team",)
    assert outbox.scans.tallies()["delivered"] == 0, "all of it was one transaction"
    outbox.queue.settle(results[1:])
    assert sql(outbox, "SELECT endpoint FROM delivery WHERE state = 'delivered'") == [("ours",)]


def test_a_batch_of_an_owner_that_another_one_has_followed_is_not_recorded(
    outbox: Outbox, holder: Callable[..., Process]
) -> None:
    put(outbox, an_endpoint(), events=2)
    lock = outbox.locks.endpoint("team")
    lock.take()
    lock.release()
    holder("team")
    with pytest.raises(FencedError):
        outbox.queue.claim_batch(Limits("team", size=10), (), NOW)
    assert sql(outbox, "SELECT id FROM frozen") == []


# --- new deliveries, and the other processes


def test_new_deliveries_of_any_process_are_announced(outbox: Outbox, postgres_dsn: str, tmp_path: Path) -> None:
    assert outbox.database.is_changed(), "there may be some from before"
    assert not outbox.database.is_changed()
    with closing(Outbox(Dsn(postgres_dsn, tmp_path / "elsewhere"))) as scanner:
        put(scanner, an_endpoint())
    until(outbox.database.is_changed)
    settle_one(outbox)
    assert not outbox.database.is_changed()


def test_after_a_lost_session_there_may_be_new_deliveries(outbox: Outbox, postgres: Postgres) -> None:
    assert outbox.database.is_changed()
    session = open_session(outbox.database.dsn)  # type: ignore[attr-defined]
    assert session
    postgres.execute(f"SELECT pg_terminate_backend({session._server_pid})")
    until(lambda: session.trouble)
    assert outbox.database.is_changed()


def test_processes_that_want_to_send_are_counted_while_they_live(
    outbox: Outbox, postgres_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sfwebhooks.outbox.postgres.advisory_locks.COUNT_SECONDS", 0.0)
    other = Outbox(Dsn(postgres_dsn, tmp_path / "elsewhere"))
    ours, theirs = (one.locks for one in (outbox, other))
    assert isinstance(ours, AdvisoryLocks)
    assert isinstance(theirs, AdvisoryLocks)
    assert [one.senders().number for one in (ours, ours, theirs, ours)] == [1, 1, 2, 2]
    taken, free = theirs.url("1"), theirs.url("2")
    assert taken.take()
    assert free.take()
    free.release()
    assert [one.senders().urls for one in (ours, theirs)] == [{"1"}, {"1"}]
    session = open_session(theirs.place.dsn)
    assert session
    session.close()
    until(lambda: ours.senders() == (1, frozenset()))
    other.close()


def test_a_server_without_an_answer_is_an_error_of_the_outbox(outbox: Outbox) -> None:
    lock = outbox.locks.url("1")
    assert lock.take()
    session = open_session(outbox.database.dsn)  # type: ignore[attr-defined]
    assert session
    session.close()
    assert not lock.held
    lock.release()
    with pytest.raises(OutboxError):
        session.ask("SELECT 1")
