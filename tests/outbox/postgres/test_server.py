"""What is PostgreSQL's own: its errors, its texts, its identity; the rest is tested with the parts of the outbox."""

from __future__ import annotations

import base64
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from sfwebhooks.attempts import Attempt
from sfwebhooks.errors import OutboxBusyError, OutboxError, RejectedError, UnreachableError
from sfwebhooks.events import Batch
from sfwebhooks.outbox.claim import (
    CANDIDATE,
    CANDIDATE_UNTOUCHED,
    FIRST_PART,
    NEXT_FRESH,
    NEXT_LATE,
    NEXT_UNTOUCHED,
    NUMBERED,
    SELECT_UNTOUCHED,
    Limits,
)
from sfwebhooks.outbox.file import Storage
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.postgres import connecting, identity
from sfwebhooks.outbox.postgres.dialect import translated
from sfwebhooks.outbox.postgres.dsn import Dsn
from sfwebhooks.outbox.postgres.identity import note_log_end
from sfwebhooks.outbox.postgres.lock_session import LockSession
from sfwebhooks.outbox.queue import NEXT_DUE
from sfwebhooks.outbox.records import SELECT_RECORD
from sfwebhooks.outbox.results import Result
from sfwebhooks.outbox.rows import OF_ALL_DELIVERIES
from sfwebhooks.outbox.schema import VERSION
from sfwebhooks.outbox.selection import Selection
from sfwebhooks.retry import Settlement, State
from sfwebhooks.screening import Wanted
from sfwebhooks.severity import Severity
from tests.builders import NOW, PATIENCE, a_scan, an_event
from tests.outbox_rows import rows_of
from tests.postgres import Postgres, stopped
from tests.threads import until

STORES = ("postgres",)
TEAM = (Wanted("team", "high_risk_event"),)


def put(outbox: Outbox, *numbers: int) -> int:
    return outbox.accept([(an_event(number), TEAM) for number in numbers], NOW)


def sequences(outbox: Outbox) -> list[int]:
    return [row[0] for row in rows_of(outbox, "SELECT sequence FROM delivery ORDER BY number")]


def server_does(outbox: Outbox, query: str) -> None:
    """Let another session do something at the outbox's database."""
    with closing(Outbox(outbox.place)) as other, other.database.reading() as session:
        session.connection.execute(query.encode())  # type: ignore[attr-defined]


def end_sessions(outbox: Outbox) -> None:
    """End all sessions at the database but that of this test."""
    which = "datname = current_database() AND pid <> pg_backend_pid()"
    assert isinstance(outbox.place, Dsn)
    with psycopg.connect(outbox.place.text, autocommit=True) as connection:
        query = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {which}"
        until(lambda: not connection.execute(query.encode()).fetchall())


# --- connections


def test_a_session_that_the_server_ends_is_busy_once_and_then_opened_again(outbox: Outbox) -> None:
    put(outbox, 1)
    end_sessions(outbox)
    with pytest.raises(OutboxBusyError):
        put(outbox, 2)
    assert put(outbox, 2) == 1
    assert outbox.database.generation() == 1


def test_what_libpq_guesses_about_a_server_that_was_stopped_is_not_in_the_error(
    own_server: Postgres, tmp_path: Path
) -> None:
    with closing(Outbox(Dsn(own_server.dsn("hooks"), tmp_path))) as outbox:
        put(outbox, 1)
        with stopped(own_server), pytest.raises(UnreachableError, match=r"closed the connection unexpectedly$"):
            put(outbox, 2)


def test_a_transaction_whose_session_ends_is_not_committed(outbox: Outbox) -> None:
    put(outbox, 1)
    with pytest.raises(OutboxBusyError), outbox.database.writing() as sql:
        sql.execute("UPDATE delivery SET state = 'dead'")
        end_sessions(outbox)
        sql.execute("SELECT 1")
    assert rows_of(outbox, "SELECT state FROM delivery") == [("waiting",)]


@pytest.mark.parametrize("state", [State.WAITING, State.DELIVERED])
def test_results_whose_commit_was_not_answered_are_recorded_once(outbox: Outbox, state: State) -> None:
    put(outbox, 1, 2)
    (one, other) = (Batch((found,)) for batch in outbox.queue.claim("team", (), NOW, 2) for found in batch.deliveries)
    new = Settlement(state, "http_503", NOW, True)
    results = [Result(one, Attempt(NOW, 0.1, 503, "http_503", ""), [new])]
    outbox.queue.settle(results)
    end_sessions(outbox)  # as if it had ended before that was answered
    again = [*results, Result(other, Attempt(NOW, 0.1, 503, "http_503", ""), [new])]
    with pytest.raises(OutboxBusyError):
        outbox.queue.settle(again)
    for _ in range(2):
        outbox.queue.settle(again)
        again = [Result(one, Attempt(NOW + 60, 0.1, 503, "http_503", ""), [new])]
    counts = rows_of(outbox, "SELECT attempts FROM delivery ORDER BY number")
    assert rows_of(outbox, "SELECT count(*) FROM delivery_attempt") == [(3,)]
    assert counts == ([(2,), (1,)] if state is State.WAITING else [(1,), (1,)])


def test_an_error_that_is_caught_within_a_transaction_is_not_taken_for_its_success(outbox: Outbox) -> None:
    with pytest.raises(OutboxBusyError, match="rolled back"), outbox.database.writing() as sql:
        sql.execute("INSERT INTO withheld VALUES ('scan', 'team', 'muted', 1)")
        with suppress(Exception):
            sql.execute("SELECT nothing")
    assert rows_of(outbox, "SELECT count(*) FROM withheld") == [(0,)]


def test_what_was_rolled_back_is_said_to_the_session_again(outbox: Outbox) -> None:
    put(outbox, 1)
    (batch,) = outbox.queue.claim("team", (), NOW)
    with pytest.raises(KeyError), outbox.database.writing() as sql:
        sql.execute("SELECT event_key_of(?, 'team')", (batch.id,))
        raise KeyError
    assert outbox.queue.blame(batch.id, NOW) == []
    assert rows_of(outbox, "SELECT crashes FROM delivery") == [(1,)]


@pytest.mark.parametrize(
    "address", ["postgresql://127.0.0.1:1/x", "postgresql://host.invalid/x", "postgresql:///x?host=/nowhere"]
)
def test_a_server_that_is_not_there_may_come_back(tmp_path: Path, address: str) -> None:
    with pytest.raises(UnreachableError, match="outbox "):
        Outbox(Dsn(address, tmp_path)).scans.tallies()


def test_what_is_wrong_with_each_of_several_servers_is_said(tmp_path: Path, postgres: Postgres) -> None:
    address = f"postgresql://scanner@/nowhere?host=/gone,{postgres.folder}"
    with pytest.raises(UnreachableError) as caught:  # the first one may come back, and have it
        Outbox(Dsn(address, tmp_path)).scans.tallies()
    said = str(caught.value)
    assert f"outbox /gone,{postgres.folder}/nowhere: connection to server on socket" in said
    assert "No such file or directory; connection to server" in said
    assert said.endswith('database "nowhere" does not exist')
    with pytest.raises(OutboxError, match=r"does not exist; .*does not exist") as lasting:
        Outbox(Dsn(address.replace("/gone", str(postgres.folder)), tmp_path)).scans.tallies()
    assert type(lasting.value) is OutboxError


def test_a_failure_to_connect_is_repeated_without_another_try_at_once(tmp_path: Path) -> None:
    tries: list[socket.socket] = []
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        address = f"postgresql://127.0.0.1:{listener.getsockname()[1]}/x"

        def refuse() -> None:
            with suppress(OSError):
                while True:
                    tries.append(listener.accept()[0])
                    tries[-1].close()

        threading.Thread(target=refuse, daemon=True).start()
        outbox = Outbox(Dsn(address, tmp_path))
        numbers = []
        for _ in range(3):
            with pytest.raises(UnreachableError):
                outbox.scans.tallies()
            numbers.append(len(tries))
    assert numbers == [numbers[0]] * 3


def test_a_server_that_does_not_answer_is_given_up(
    tmp_path: Path, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sfwebhooks.outbox.postgres.server.ACCEPT_SECONDS", 0.2)
    with closing(Outbox(Dsn(postgres_dsn, tmp_path), accepting=True)) as outbox:
        with pytest.raises(UnreachableError, match="has not answered"), outbox.database.writing() as sql:
            sql.execute("SELECT pg_sleep(1)")

        def can_be_written() -> bool:
            with suppress(OutboxError):
                outbox.database.check()
                return True
            return False

        until(can_be_written)


def test_a_database_that_does_not_exist_is_not_waited_for(postgres: Postgres, tmp_path: Path) -> None:
    with pytest.raises(OutboxError, match="does not exist") as caught:
        Outbox(Dsn(postgres.dsn("nowhere"), tmp_path)).scans.tallies()
    assert type(caught.value) is OutboxError


def test_no_password_is_in_an_error(postgres: Postgres, tmp_path: Path) -> None:
    address = postgres.dsn("nowhere").replace("pg-password-in-tests", "pw-9f31")
    with pytest.raises(OutboxError) as caught:
        Outbox(Dsn(address, tmp_path)).scans.tallies()
    error: BaseException | None = caught.value
    while error:
        assert "pw-9f31" not in f"{error} {error!r}"
        error = error.__cause__ or error.__context__


def test_a_forked_child_has_a_session_of_its_own(outbox: Outbox) -> None:
    put(outbox, 1)
    child = os.fork()
    if not child:
        code = 1
        try:
            put(outbox, 2)
            outbox.close()
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    put(outbox, 3)
    assert sequences(outbox) == [1, 2, 3]


def test_a_killed_process_holds_up_nobody(outbox: Outbox) -> None:
    ready, writing = os.pipe()
    child = os.fork()
    if not child:
        with outbox.database.writing() as sql:
            sql.execute("INSERT INTO withheld VALUES ('scan', 'team', 'muted', 1)")
            os.write(writing, b".")
            signal.pause()
    assert os.read(ready, 1) == b"."
    with pytest.raises(OutboxBusyError, match="locked by another process"):
        put(outbox, 1)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert put(outbox, 1) == 1
    assert rows_of(outbox, "SELECT count(*) FROM withheld") == [(0,)]


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let SIGINT interrupt the test: a shell that runs it in the background has had it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_a_statement_that_was_interrupted_ends_its_session(outbox: Outbox) -> None:
    put(outbox, 1)
    with pytest.raises(KeyboardInterrupt), outbox.database.reading() as sql:
        threading.Timer(0.0, os.kill, (os.getpid(), signal.SIGINT)).start()
        sql.execute("SELECT pg_sleep(?)", (PATIENCE,))
    assert put(outbox, 2) == 1


# --- what is stored


@pytest.mark.parametrize(
    ("given", "stored"), [("a\0b", "a\ufffdb"), ("\ud83d\udc1b", "\U0001f41b"), ("\ud800", "\ufffd")]
)
def test_a_text_that_postgresql_has_not_is_stored_with_a_sign_in_its_place(
    outbox: Outbox, given: str, stored: str
) -> None:
    scan = a_scan("5C4A0001")
    event = an_event(1, scan=scan)
    outbox.accept([(event, [Wanted(given, given)])], NOW)
    assert rows_of(outbox, "SELECT endpoint, name FROM delivery") == [(stored, stored)]
    assert outbox.listing.counts(Selection(endpoint=given)) == {stored: {"waiting": 1}}


def test_data_with_a_nul_are_kept_and_can_be_asked_for(outbox: Outbox) -> None:
    event = an_event(1, data={"event_type": "URL", "data": "a\0b", "deep": ["\0"]}, severity=Severity.HIGH)
    outbox.accept([(event, TEAM)], NOW)
    (claimed,) = outbox.queue.claim("team", (), NOW)
    assert claimed.deliveries[0].event.data["data"] == "a\0b"
    assert outbox.scans.accepted(event.scan_id).counts.data["events_by_type"] == {"URL": 1}


def test_an_event_of_two_megabytes_is_kept(outbox: Outbox) -> None:
    outbox.accept([(an_event(1, data={"data": "x" * 2_000_000}), TEAM)], NOW)
    (claimed,) = outbox.queue.claim("team", (), NOW)
    assert len(claimed.deliveries[0].event.data["data"]) == 2_000_000


# --- a group


def test_a_group_is_numbered_in_its_order_for_each_endpoint_and_scan(outbox: Outbox) -> None:
    both = (*TEAM, Wanted("siem", "all"))
    scans = [a_scan("A"), a_scan("B"), None]
    items = [(an_event(at, scan=scans[at % 3]), both if at % 2 else TEAM) for at in range(600)]
    assert outbox.accept(items, NOW) == 900
    found = rows_of(
        outbox, "SELECT e.scan_id, d.endpoint, d.sequence FROM delivery d JOIN event e ON e.number = d.event"
        " ORDER BY d.number"
    )  # fmt: skip
    for scan in ("A", "B", ""):
        for name in ("team", "siem"):
            its = [number for each, endpoint, number in found if (each, endpoint) == (scan, name)]
            assert its == list(range(1, len(its) + 1))
    order = [row[0] for row in rows_of(outbox, "SELECT id FROM event ORDER BY number")]
    assert order == [event.id for event, _ in items]


def test_what_comes_twice_in_a_group_is_accepted_once_for_each_endpoint(outbox: Outbox) -> None:
    put(outbox, 1)
    other = (Wanted("siem", "all"),)
    items = [(an_event(number), wanted) for number in (1, 2) for wanted in (TEAM, other, TEAM)]
    assert outbox.accept(items, NOW) == 3
    assert rows_of(outbox, "SELECT endpoint, sequence FROM delivery ORDER BY endpoint, sequence") == [
        ("siem", 1), ("siem", 2), ("team", 1), ("team", 2)
    ]  # fmt: skip


# --- the database


def test_processes_that_make_the_tables_at_once_make_them_once(postgres: Postgres, tmp_path: Path) -> None:
    with postgres.database() as address:
        outboxes = [Outbox(Dsn(address, tmp_path)) for _ in range(4)]
        threads = [threading.Thread(target=put, args=(one, at)) for at, one in enumerate(outboxes)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert sorted(sequences(outboxes[0])) == [1, 2, 3, 4]
        for one in outboxes:
            one.close()


def test_the_address_can_name_another_schema(postgres: Postgres, tmp_path: Path) -> None:
    with postgres.database() as address:
        other = f"{address}&options=-csearch_path%3Dother"
        with closing(Outbox(Dsn(address, tmp_path))) as ours, closing(Outbox(Dsn(other, tmp_path))) as its:
            put(ours, 1, 2)
            put(its, 1)
            assert (ours.scans.tallies()["waiting"], its.scans.tallies()["waiting"]) == (2, 1)
            with ours.database.writing():  # each schema has its own writer
                put(its, 2)


def test_a_server_that_is_too_old_is_refused_by_statements_and_by_locks(
    postgres_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connecting, "VERSION_LEAST", 990000)
    place = Dsn(postgres_dsn, tmp_path)
    words = re.escape(f"outbox {place}: PostgreSQL ") + r"\d[\d.]+ .*is too old; expected 99 or later"
    with closing(Outbox(place)) as outbox, pytest.raises(OutboxError, match=words):
        outbox.scans.tallies()
    with pytest.raises(OutboxError, match=words):
        LockSession(place)


def test_tables_of_a_newer_version_are_not_touched(outbox: Outbox) -> None:
    put(outbox, 1)
    rows_of(outbox, f"UPDATE schema_version SET number = {VERSION + 1}")
    outbox.close()
    with pytest.raises(OutboxError, match=f"schema {VERSION + 1}, known here: {VERSION}"):
        put(outbox, 2)


@pytest.fixture
def restored(outbox: Outbox) -> Iterator[Outbox]:
    """The outbox in a database that is a copy, as one that was restored from a backup on another server is."""
    put(outbox, 1, 2)
    rows_of(outbox, "UPDATE file SET boot = 'another:00000001'")
    yield outbox


def test_a_database_that_was_restored_numbers_in_a_new_series(
    restored: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(Outbox(restored.place)) as again:
        put(again, 3)
        assert rows_of(again, "SELECT series, sequence FROM delivery ORDER BY number") == [(1, 1), (1, 2), (2, 1)]
    assert "another database than before" in caplog.text


def test_a_database_that_is_the_same_begins_no_series(outbox: Outbox) -> None:
    for number in range(3):
        put(outbox, number)
        outbox.close()
    assert sequences(outbox) == [1, 2, 3]
    assert rows_of(outbox, "SELECT count(*) FROM series") == [(1,)]


def test_tables_that_a_dump_has_replaced_number_in_a_new_series(outbox: Outbox) -> None:
    put(outbox, 1, 2)
    server_does(
        outbox,
        "ALTER TABLE file RENAME TO before; CREATE TABLE file (LIKE before INCLUDING ALL);"
        " INSERT INTO file SELECT * FROM before",
    )
    outbox.close()
    put(outbox, 3)
    assert rows_of(outbox, "SELECT series, sequence FROM delivery ORDER BY number") == [(1, 1), (1, 2), (2, 1)]


def test_a_server_whose_log_is_shorter_than_it_was_numbers_in_a_new_series_once(
    outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    assert isinstance(outbox.place, Dsn)
    put(outbox, 1, 2)
    note_log_end(outbox.place, 1 << 62)
    outbox.close()
    put(outbox, 3)
    with closing(Outbox(outbox.place)) as another:
        put(another, 4)
    sequence = "SELECT series, sequence FROM delivery ORDER BY number"
    assert rows_of(outbox, sequence) == [(1, 1), (1, 2), (2, 1), (2, 2)]
    assert caplog.text.count("older than before, like a restored snapshot of its disk") == 1
    assert outbox.database.generation() == 2, "a scan has to begin again"


def test_a_process_that_notices_it_later_begins_no_other_series(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(outbox.place, Dsn)
    put(outbox, 1)
    note_log_end(outbox.place, 1 << 62)
    of_the_other_process = dict(identity._seen)
    outbox.close()
    put(outbox, 2)
    monkeypatch.setattr(identity, "_seen", of_the_other_process)
    with closing(Outbox(outbox.place)) as another:
        put(another, 3)
    assert rows_of(outbox, "SELECT count(*) FROM series") == [(2,)]


def test_a_log_that_goes_on_while_it_is_looked_at_begins_no_series(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(outbox, 1)
    outbox.close()
    reason = identity._reason

    def later(*given: Any) -> Any:
        assert isinstance(outbox.place, Dsn)
        note_log_end(outbox.place, 1 << 62)  # a sign of life of another thread
        return reason(*given)

    with monkeypatch.context() as patch:
        patch.setattr(identity, "_reason", later)
        put(outbox, 2)
    assert rows_of(outbox, "SELECT series, sequence FROM delivery ORDER BY number") == [(1, 1), (1, 2)]


def test_room_of_deleted_rows_is_not_counted(outbox: Outbox) -> None:
    its = Outbox(outbox.place, storage=Storage(max_bytes=1_000_000))
    empty = its.database.fullness()
    outbox.accept([(an_event(at, data={"data": "x" * 1500}), TEAM) for at in range(2000)], NOW)
    server_does(outbox, "VACUUM ANALYZE")
    full = its.database.fullness()
    assert full - empty > 2000 * 1500 / 1_000_000
    outbox.retention.take_away(Selection())
    server_does(outbox, "VACUUM ANALYZE")
    assert its.database.fullness() - empty < (full - empty) / 10
    its.close()


def test_what_an_operator_deletes_is_vacuumed_at_once(outbox: Outbox) -> None:
    put(outbox, 1, 2)
    outbox.retention.end(Selection(), NOW)
    assert outbox.retention.drop(Selection()) == 2
    assert not outbox.retention.erasure.is_needed()
    vacuumed = (
        "SELECT relname FROM pg_stat_user_tables WHERE vacuum_count > 0 AND relname IN ('event_0', 'delivery_dead')"
    )
    deadline = time.monotonic() + PATIENCE
    while len(found := rows_of(outbox, vacuumed)) < 2 and time.monotonic() < deadline:
        pass  # the server counts a moment later
    assert len(found) == 2


def plan_of(outbox: Outbox, query: str, *values: object) -> str:
    """Return how the server executes a statement in SQLite's words."""
    statement = translated(query)
    with outbox.database.reading() as session:
        text = b"EXPLAIN " + statement.text
        rows = session.connection.execute(text, statement.values(values)).fetchall()  # type: ignore[attr-defined]
    return "\n".join(row[0] for row in rows)


def test_a_claim_reads_by_indexes_although_there_are_no_statistics(outbox: Outbox) -> None:
    put(outbox, *range(300))
    plan = plan_of(outbox, f"{SELECT_UNTOUCHED} {NEXT_UNTOUCHED}", "team", "[]", 9, 0)
    assert "Index Scan using delivery_fresh on delivery_waiting delivery" in plan
    assert "Sort" not in plan and "Seq Scan on delivery" not in plan and "Hash Join" not in plan


def blocks_of(outbox: Outbox, query: str, *values: object) -> int:
    """Return how many blocks of tables and indexes the server reads for a statement in SQLite's words."""
    statement = translated(query)
    with outbox.database.reading() as session:
        text = b"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + statement.text
        ((found,),) = session.connection.execute(text, statement.values(values))  # type: ignore[attr-defined]
    return int(found[0]["Plan"]["Shared Hit Blocks"] + found[0]["Plan"]["Shared Read Blocks"])


def test_what_is_sent_next_is_read_without_all_that_waits_although_there_are_no_statistics(outbox: Outbox) -> None:
    """Those of an hour ago are gone, and the server does not know yet that others have come."""
    blocks = []
    for start, end in ((0, 300), (300, 6000)):
        outbox.accept([(an_event(number), TEAM) for number in range(start, end)], NOW)
        blocks.append(
            (
                blocks_of(outbox, f"{SELECT_UNTOUCHED} {NEXT_UNTOUCHED}", "team", "[]", 20, 0),
                blocks_of(outbox, f"{CANDIDATE_UNTOUCHED} {NEXT_UNTOUCHED}", "team", "[]", 20, 0),
                blocks_of(outbox, f"{CANDIDATE} {NEXT_FRESH}", "team", "[]", 20, 0),
                blocks_of(outbox, f"{OF_ALL_DELIVERIES} {NEXT_LATE}", "team", "[]", NOW, 20),
                blocks_of(outbox, NEXT_DUE, "team", 0),
                blocks_of(outbox, FIRST_PART, "team", 0),
            )
        )
    few, many = blocks
    assert [later <= 3 * before + 20 for before, later in zip(few, many)] == [True] * len(few), blocks


def test_who_has_nothing_fresh_looks_from_the_last_part_on(outbox: Outbox) -> None:
    put(outbox, *range(1000))
    ((last,),) = rows_of(outbox, "SELECT max(number) >> 8 FROM delivery")
    with outbox.database.reading() as session:
        assert session.execute(FIRST_PART, ("other", 0)).fetchone() == (last,)
        assert session.execute(FIRST_PART, ("other", last + 5)).fetchone() == (last + 5,)


def test_the_deliveries_of_a_batch_are_looked_up_among_all_others(outbox: Outbox) -> None:
    put(outbox, *range(300))
    plan = plan_of(outbox, f"{OF_ALL_DELIVERIES} {NUMBERED}", "[1, 2, 300]")
    assert "Index Cond: (number = ANY" in plan


def test_the_last_attempt_of_a_delivery_is_read_from_an_index(outbox: Outbox) -> None:
    plan = plan_of(outbox, f"{SELECT_RECORD} WHERE d.number IN (1, 2)")
    assert "Index Only Scan Backward using delivery_attempt_0_number_id_idx on delivery_attempt_0" in plan


def test_a_claim_is_in_the_order_of_acceptance_wherever_the_rows_are(outbox: Outbox) -> None:
    put(outbox, *range(300))
    for _ in range(3):  # a changed row moves to another place, and a new one takes its
        server_does(outbox, "UPDATE delivery SET reason = 'moved' WHERE number % 7 = 3")
        server_does(outbox, "VACUUM delivery")
    put(outbox, *range(300, 600))
    places = [row[0] for row in rows_of(outbox, "SELECT number FROM sfwebhooks.delivery ORDER BY ctid")]
    assert places != sorted(places), "the rows are in their order anyway"
    claimed = outbox.queue.claim("team", (), NOW, 600)
    assert [batch.deliveries[0].sequence for batch in claimed] == list(range(1, 601))


# --- groups


def test_a_group_that_is_known_is_passed_over_in_a_few_statements(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers, executed = range(1, 301), []
    execute = psycopg.RawCursor.execute

    def counted(self: Any, query: Any, *args: Any, **more: Any) -> Any:
        executed.append(query)
        return execute(self, query, *args, **more)

    put(outbox, *numbers)
    monkeypatch.setattr(psycopg.RawCursor, "execute", counted)
    assert put(outbox, *numbers) == 0
    assert len(executed) < 20, "all others wait meanwhile"
    both = (*TEAM, Wanted("other", "high_risk_event"))
    known = [(an_event(number), both if number == 7 else TEAM) for number in (*numbers, 400)]
    assert outbox.accept([*known, known[6]], NOW) == 2
    assert sorted(sequences(outbox)) == [1, *range(1, 302)]


def test_values_that_the_server_does_not_take_are_told_from_its_trouble(outbox: Outbox) -> None:
    unfit = replace(an_event(2), subject=base64.b64encode(os.urandom(12_000)).decode())
    with pytest.raises(RejectedError, match="index row"):
        outbox.accept([(an_event(1), TEAM), (unfit, TEAM)], NOW)
    assert sequences(outbox) == []
    assert put(outbox, 1, 3) == 2


def test_times_may_be_whole_numbers_of_seconds(outbox: Outbox) -> None:
    events = [an_event(1, at=5), an_event(2, at=5.5)]
    assert outbox.accept([(event, TEAM) for event in events], NOW) == 2
    assert rows_of(outbox, "SELECT at FROM event ORDER BY number") == [(5.0,), (5.5,)]
    batch = outbox.queue.claim_batch(Limits("team", size=2), (), NOW)
    assert batch
    done = [Settlement(State.DELIVERED, "http_200", due_at, counts=True) for due_at in (0, 0.5)]
    outbox.queue.settle([Result(batch, Attempt(7, 1, 200, "http_200", "ok"), done)])
    assert rows_of(outbox, "SELECT due_at, settled_at FROM delivery ORDER BY number") == [(0.0, 8.0), (0.5, 8.0)]
