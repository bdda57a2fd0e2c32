"""The session that has a process's locks: taken and lost, signs of life, notifications, poolers, forked children."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Callable

import pytest

from sfwebhooks.errors import NO_MEMORY, OutboxBusyError, OutboxError, PoolerError
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.postgres import lock_session
from sfwebhooks.outbox.postgres.dsn import Dsn
from sfwebhooks.outbox.postgres.lock_session import LockSession, open_session, session_of
from tests.builders import PATIENCE
from tests.fleet import Network
from tests.pgbouncer import pooled
from tests.postgres import PASSWORD, Postgres, demand
from tests.threads import until

US, OTHER = object(), object()


@pytest.fixture
def dsn(postgres_dsn: str, tmp_path: Path) -> Dsn:
    """An outbox with its tables."""
    made = Dsn(postgres_dsn, tmp_path)
    with closing(Outbox(made)) as outbox:
        outbox.database.check()
    return made


@pytest.fixture
def opened(dsn: Dsn) -> Iterator[Callable[..., LockSession]]:
    """Open sessions as several processes do, each with its own."""
    made: list[LockSession] = []

    def open(place: Dsn = dsn) -> LockSession:
        made.append(LockSession(place))
        return made[-1]

    yield open
    for one in made:
        one.close()


def test_a_lock_is_free_until_one_session_takes_it_and_again_when_that_one_ends(
    opened: Callable[..., LockSession],
) -> None:
    one, other = opened(), opened()
    assert (one.take("url-1", US), one.take("url-1", US), other.take("url-1", US)) == (True, True, False)
    one.close()
    until(lambda: other.take("url-1", US))


def test_a_second_holder_of_the_same_process_is_excluded_too(opened: Callable[..., LockSession]) -> None:
    session = opened()
    assert (session.take("url-1", US), session.take("url-1", OTHER)) == (True, False)
    session.release("url-1", OTHER)
    assert not session.take("url-1", OTHER)
    session.release("url-1", US)
    assert session.take("url-1", OTHER)


def test_locks_of_another_schema_are_others(opened: Callable[..., LockSession], dsn: Dsn, tmp_path: Path) -> None:
    there = Dsn(f"{dsn.text}&options=-csearch_path%3Delsewhere", tmp_path)
    with closing(Outbox(there)) as outbox:
        outbox.database.check()
    assert opened().take("url-1", US)
    assert opened(there).take("url-1", US)


def test_a_session_hears_what_is_notified_until_it_stops_listening(
    opened: Callable[..., LockSession], postgres: Postgres, dsn: Dsn
) -> None:
    session, heard = opened(), threading.Event()
    session.listen("sfwebhooks_new", heard.set)
    postgres.execute("NOTIFY sfwebhooks_new", dsn.text)
    assert heard.wait(PATIENCE)
    session.stop_listening(heard.set)
    heard.clear()
    postgres.execute("NOTIFY sfwebhooks_new", dsn.text)
    assert session.ask("SELECT 1") == [("1",)]
    assert not heard.is_set()


def test_what_is_notified_during_a_sign_of_life_is_heard(
    opened: Callable[..., LockSession], postgres: Postgres, dsn: Dsn, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, heard = opened(), threading.Event()
    session.listen("sfwebhooks_new", heard.set)
    beat = session._beat

    def notified() -> None:
        postgres.execute("NOTIFY sfwebhooks_new", dsn.text)
        beat()

    monkeypatch.setattr(session, "_beat", notified)
    assert heard.wait(PATIENCE)


def test_a_refused_statement_does_not_end_the_session(opened: Callable[..., LockSession]) -> None:
    session = opened()
    assert session.take("url-1", US)
    with pytest.raises(OutboxError, match="division by zero") as caught:
        session.ask("SELECT 1 / 0")
    assert not isinstance(caught.value, OutboxBusyError)
    assert (session.is_alive, session.take("url-1", US)) == (True, True)


def test_a_session_that_the_server_ends_is_broken_at_once_and_says_why(
    opened: Callable[..., LockSession], postgres: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    session = opened()
    session.take("url-1", US)
    postgres.execute(f"SELECT pg_terminate_backend({session._server_pid})")
    until(lambda: not session.is_alive)
    with pytest.raises(OutboxBusyError, match=r"the locks of outbox .* cannot be used"):
        session.take("url-1", US)
    until(lambda: "are lost" in caplog.text)


@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_a_pooler_that_shares_sessions_is_refused(dsn: Dsn, mode: str) -> None:
    with pooled(dsn.text, mode) as address, pytest.raises(PoolerError, match="pool_mode = transaction or statement"):
        session_of(Dsn(address, dsn.folder))


def test_a_pooler_with_a_session_for_each_client_is_used(dsn: Dsn, opened: Callable[..., LockSession]) -> None:
    with pooled(dsn.text, "session") as address:
        session = LockSession(Dsn(address, dsn.folder))
        assert (session.take("url-1", US), opened().take("url-1", US)) == (True, False)
        session.close()


def test_a_session_that_another_client_gets_later_is_given_up(opened: Callable[..., LockSession]) -> None:
    session = opened()
    session.take("url-1", US)
    session._server_pid += 1  # as if the pooler had given us another one
    with pytest.raises(OutboxBusyError, match="a pooler that shares sessions"):
        session.take("url-1", US)
    assert not session.is_alive


def test_a_network_that_goes_silent_is_noticed_without_any_end(
    opened: Callable[..., LockSession], dsn: Dsn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock_session, "ANSWER_SECONDS", 1.0)
    monkeypatch.setattr(lock_session, "BEAT_SECONDS", 0.1)
    with closing(Network(dsn.text)) as network:
        session = opened(Dsn(network.address, dsn.folder))
        assert session.take("url-1", US)
        network.go_silent()
        until(lambda: not session.is_alive)
        until(lambda: session.trouble)
        assert session.trouble == "the server has not answered for 1 s"
        network.heal()
        until(lambda: opened().take("url-1", US))


@pytest.mark.slow
def test_the_server_frees_the_locks_of_a_machine_that_vanished(opened: Callable[..., LockSession], dsn: Dsn) -> None:
    with closing(Network(dsn.text)) as network:
        session, other = opened(Dsn(network.address, dsn.folder)), opened()
        assert session.take("url-1", US)
        network.go_silent()
        until(lambda: other.take("url-1", US), 2 * lock_session.SILENT_SECONDS)
        assert not session.is_alive, "it has stopped before"


def test_a_session_that_nobody_needs_ends(dsn: Dsn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_session, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr(lock_session, "UNUSED_SECONDS", 0.0)
    session = session_of(dsn)
    until(lambda: session.trouble)
    assert open_session(dsn) is None
    assert session_of(dsn) is not session


def test_a_server_that_is_not_there_is_asked_once_a_second(dsn: Dsn) -> None:
    gone = Dsn("postgresql://scanner:hunter2@/nothing?host=/nowhere", dsn.folder)
    with pytest.raises(OutboxBusyError, match="outbox /nowhere/nothing cannot be reached") as first:
        session_of(gone)
    with pytest.raises(OutboxBusyError) as second:
        session_of(gone)
    assert second.value is first.value
    assert "hunter2" not in str(first.value)


def test_no_password_is_in_errors(opened: Callable[..., LockSession], postgres: Postgres) -> None:
    session = opened()
    assert PASSWORD in session._dsn.text
    postgres.execute(f"SELECT pg_terminate_backend({session._server_pid})")
    until(lambda: session.trouble)
    with pytest.raises(OutboxBusyError) as caught:
        session.ask("SELECT 1")
    assert PASSWORD not in f"{caught.value!r} {session.trouble} {session._dsn!r}"


def test_a_forked_child_leaves_the_session_to_its_parent(dsn: Dsn) -> None:
    session = session_of(dsn)
    assert session.take("url-1", US)
    child = os.fork()
    if child == 0:
        session.close()  # as its interpreter does at the end
        own = session_of(dsn)
        is_right = (session.is_alive, own is session, own.take("url-1", OTHER)) == (False, False, False)
        own.close()
        os._exit(0 if is_right else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert (session.is_alive, session.take("url-1", US)) == (True, True)
    session.close()


def test_after_a_restart_of_the_server_a_new_session_takes_the_locks(tmp_path: Path) -> None:
    demand()
    with Postgres.running({"synchronous_commit": "on"}) as server, server.database() as address:
        dsn = Dsn(address, tmp_path)
        with closing(Outbox(dsn)) as outbox:
            outbox.database.check()
        before = session_of(dsn)
        assert before.take("url-1", US)
        server.stop()
        assert not before.is_alive or until(lambda: not before.is_alive)
        server.start()

        def again() -> bool:
            try:
                return session_of(dsn).take("url-1", US)
            except OutboxBusyError:
                return False

        until(again, pause=0.1)
        session_of(dsn).close()


def test_a_note_reaches_the_server_with_the_next_sign_of_life_of_its_owner(
    opened: Callable[..., LockSession], postgres: Postgres, dsn: Dsn
) -> None:
    session = opened()
    for number, text in ((1, "of another owner"), (2, "ours: \"a\" \\ 'b' \N{SNOWMAN}")):
        postgres.execute("DELETE FROM sfwebhooks.ownership", dsn.text)
        postgres.execute(f"INSERT INTO sfwebhooks.ownership VALUES ('url-1', {number}, '', '')", dsn.text)
        session.note("url-1", 2, text)
        assert session.noted("url-1") == text
        until(lambda: session.noted("url-1") is None)
        expected = text if number == 2 else ""
        assert postgres.execute("SELECT note FROM sfwebhooks.ownership", dsn.text) == [(expected,)]


def test_a_taken_lock_outlives_many_signs_of_life(
    opened: Callable[..., LockSession], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock_session, "BEAT_SECONDS", 0.0)
    session, other = opened(), opened()
    session.take("url-1", US)
    begin, asked = time.monotonic(), 0
    while asked < 200 and time.monotonic() - begin < PATIENCE:
        asked += 1
        assert not other.take("url-1", US)
    assert session.is_alive


def test_notes_of_many_threads_reach_the_server(
    opened: Callable[..., LockSession], postgres: Postgres, dsn: Dsn
) -> None:
    session, names = opened(), [f"url-{number}" for number in range(200)]
    postgres.execute(
        f"INSERT INTO sfwebhooks.ownership SELECT name, 1, '', '' FROM unnest(ARRAY{names}) name", dsn.text
    )

    def note(its: list[str]) -> None:
        for name in its:
            session.note(name, 1, "ours")

    threads = [threading.Thread(target=note, args=(its,)) for its in (names[::2], names[1::2])]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        session.post()
    session.post()
    assert postgres.execute("SELECT DISTINCT note FROM sfwebhooks.ownership", dsn.text) == [("ours",)]


def test_a_bug_in_a_listener_ends_the_session_so_that_another_one_is_opened(
    dsn: Dsn, postgres: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise ValueError("a bug")

    session = session_of(dsn)
    session.listen("sfwebhooks_new", fail)
    postgres.execute("NOTIFY sfwebhooks_new", dsn.text)
    until(lambda: session.trouble)
    assert "bug in the session of the locks" in caplog.text
    other = session_of(dsn)
    assert (other is not session, other.take("url-1", US)) == (True, True)
    other.close()


def test_a_process_without_memory_loses_its_session_and_that_is_no_bug(
    dsn: Dsn, postgres: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    def lack() -> None:
        raise MemoryError

    session = session_of(dsn)
    assert session.take("url-1", US)
    session.listen("sfwebhooks_new", lack)
    postgres.execute("NOTIFY sfwebhooks_new", dsn.text)
    until(lambda: session.trouble)
    assert f"are lost ({NO_MEMORY}); 1 were held" in caplog.text
    assert "bug" not in caplog.text
    other = session_of(dsn)
    assert other.take("url-1", US)
    other.close()
