"""`sfwebhooks purge`: what is deleted, what stays, and that an operator is asked."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from typing import Callable

import pytest

from sfwebhooks.events import lifecycle_id
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.postgres.dsn import Dsn
from sfwebhooks.retry import State
from sfwebhooks.screening import Wanted
from tests.builders import NOW, a_scan, an_event
from tests.conftest import Result, sql
from tests.filled import begin, end, put, put_event, send
from tests.stores import BOTH
from tests.terminals import in_terminal
from tests.tiers import quick_first

STORES = BOTH

OLD, NEW = a_scan("0LD00001"), a_scan("NEW00001", target="other.example")


@pytest.fixture
def filled(outbox: Outbox) -> Outbox:
    """Two scans that are over; of each to the team 1 delivered, 2 dead, 3 waiting, and 1 delivered to the siem."""
    for scan, at in ((OLD, NOW), (NEW, time.time() - 60)):
        begin(outbox, scan)
        put(outbox, 1, 2, 3, scan=scan, at=at)
        put(outbox, 1, scan=scan, endpoint="siem", at=at)
    for state in (State.DELIVERED, State.DEAD):
        send(outbox, state, at=NOW)
    send(outbox, at=NOW, endpoint="siem")
    of_old = f"event IN (SELECT number FROM event WHERE scan = (SELECT number FROM scan WHERE id = '{OLD.id}'))"
    sql(outbox, f"UPDATE delivery SET due_at = due_at + 1e9, attempts = 1 WHERE state = 'waiting' AND {of_old}")
    for state in (State.DELIVERED, State.DEAD):
        send(outbox, state, at=time.time())
    send(outbox, at=time.time(), endpoint="siem")
    for scan in (OLD, NEW):
        end(outbox, scan)
    return outbox


def left(outbox: Outbox) -> set[tuple[str, str, str]]:
    """Return (scan, endpoint, state) of what is left."""
    query = "SELECT e.scan_id, d.endpoint, d.state FROM delivery d JOIN event e ON e.number = d.event"
    return {(scan, endpoint, state) for scan, endpoint, state in sql(outbox, query)}


def rows_of(scan: str) -> set[tuple[str, str, str]]:
    return {(scan, "team", state) for state in ("delivered", "dead", "waiting")} | {(scan, "siem", "delivered")}


def test_a_scan_is_deleted_except_for_what_is_waiting(cli: Callable[..., Result], filled: Outbox) -> None:
    result = cli("purge", "--scan", OLD.id, "--yes")
    assert result.code == 0
    assert left(filled) == {*rows_of(NEW.id), (OLD.id, "team", "waiting")}
    assert "3 deliveries will be deleted permanently" in result.words
    assert "1 delivery waiting: not deleted, and sent later. --waiting deletes them too." in result.words
    assert "SpiderFoot's own database is not changed" in result.words
    where = "from the tables of" if isinstance(filled.place, Dsn) else "overwritten in webhooks.db and webhooks.db-wal;"
    assert "3 deliveries deleted. What was deleted is " in result.words
    assert where in result.words


def test_waiting_deliveries_are_deleted_if_that_is_asked_for(cli: Callable[..., Result], filled: Outbox) -> None:
    assert cli("purge", "--scan", OLD.id, "--waiting", "--yes").code == 0
    assert left(filled) == rows_of(NEW.id)
    assert sql(filled, "SELECT count(*) FROM event") == [(3,)]
    assert sql(filled, "SELECT count(*) FROM delivery_attempt") == [(3,)]


def test_an_endpoint_is_deleted_and_events_of_others_stay(cli: Callable[..., Result], filled: Outbox) -> None:
    assert cli("purge", "--endpoint", "team", "--waiting", "--yes").code == 0
    assert left(filled) == {(scan, "siem", "delivered") for scan in (OLD.id, NEW.id)}


def test_old_deliveries_are_those_accepted_long_ago(cli: Callable[..., Result], filled: Outbox) -> None:
    sql(filled, f"UPDATE delivery SET accepted_at = {time.time() - 31 * 86400} WHERE number <= 4")
    counted = cli("purge", "--older-than", "30d", "--dry-run")
    told = cli("purge", "--older-than", "30d", "--yes")
    assert re.search(r"Accepted before \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", counted.out)
    assert (told.code, "Accepted before" in told.out) == (0, True)
    assert left(filled) == {*rows_of(NEW.id), (OLD.id, "team", "waiting")}


def test_all_is_deleted_only_if_that_is_said(cli: Callable[..., Result], filled: Outbox) -> None:
    result = cli("purge", "--yes")
    assert (result.code, "give a filter (--scan, --endpoint, --older-than), or --all" in result.err) == (1, True)
    assert cli("purge", "--all", "--waiting", "--yes").code == 0
    assert left(filled) == set()


def test_a_dry_run_counts_only(cli: Callable[..., Result], filled: Outbox) -> None:
    result = cli("purge", "--scan", OLD.id, "--dry-run")
    assert "3 deliveries; nothing was changed (--dry-run)." in result.words
    assert left(filled) == rows_of(OLD.id) | rows_of(NEW.id)


def test_without_a_terminal_it_must_be_said_that_nobody_is_asked(cli: Callable[..., Result], filled: Outbox) -> None:
    result = cli("purge", "--scan", OLD.id)
    assert (result.code, "without a terminal, add --yes" in result.err) == (1, True)
    assert left(filled) == rows_of(OLD.id) | rows_of(NEW.id)


@pytest.mark.parametrize(
    ("filters", "words"),
    [
        (["--scan", "0LD00002"], 'no scan "0LD00002"; its last scans are'),
        (["--endpoint", "siem2"], 'no deliveries for an endpoint "siem2"'),
        (["--older-than", "364d"], "no delivered or dead delivery matches the filters"),
    ],
)
def test_filters_that_match_nothing_are_an_error(
    cli: Callable[..., Result], filled: Outbox, filters: Sequence[str], words: str
) -> None:
    result = cli("purge", *filters, "--yes")
    assert (result.code, words in " ".join(result.err.split())) == (1, True)
    assert left(filled) == rows_of(OLD.id) | rows_of(NEW.id)


def test_a_running_scan_stays_and_that_is_said(cli: Callable[..., Result], filled: Outbox) -> None:
    sql(filled, f"UPDATE scan SET ended = NULL WHERE id = '{OLD.id}'")
    result = cli("purge", "--all", "--yes")
    assert left(filled) == {*rows_of(OLD.id), (NEW.id, "team", "waiting")}
    assert "3 deliveries left: the end of their scan is not reported yet" in result.words


def test_a_dry_run_does_not_count_a_running_scan(cli: Callable[..., Result], filled: Outbox) -> None:
    sql(filled, f"UPDATE scan SET ended = NULL WHERE id = '{OLD.id}'")
    words = cli("purge", "--all", "--dry-run").words
    assert "3 deliveries; nothing was changed (--dry-run). 3 deliveries left: the end of their scan is not" in words
    assert "3 deliveries will be deleted permanently" in cli("purge", "--all", "--yes").words


def test_what_is_deleted_by_age_is_erased_by_filters_that_match_nothing(
    cli: Callable[..., Result], filled: Outbox
) -> None:
    sql(filled, f"UPDATE file SET erase_at = {time.time() + 60}")
    result = cli("purge", "--older-than", "364d", "--yes")
    assert (result.code, "no delivered or dead delivery matches the filters" in result.err) == (1, True)
    assert sql(filled, "SELECT erase_at FROM file") == [(None,)]


def test_an_age_beyond_the_limit_is_said(cli: Callable[..., Result], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli("purge", "--older-than", "366d", "--yes")
    assert "expected a duration of at most 365d" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command", [("purge", "--older-than"), ("mute", "abcd", "--for"), ("pause", "team", "--for")], ids=" ".join
)
def test_a_number_without_its_unit_is_refused(
    cli: Callable[..., Result], capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli(*command, "30")
    said = capsys.readouterr().err
    assert (ended.value.code, "expected a duration with its unit such as 45s, 30m, 12h or 30d" in said) == (2, True)


def test_handles_are_deleted_unless_a_delivery_waits_for_them(cli: Callable[..., Result], outbox: Outbox) -> None:
    for number, subject in ((1, "gone"), (2, "shared"), (3, "shared")):
        put_event(outbox, an_event(number, subject=subject))
    sql(outbox, f"INSERT INTO handle VALUES ('team', 'gone', 'a', 'v', {NOW}), ('team', 'shared', 'a', 'v', {NOW})")
    for _ in range(2):
        send(outbox, at=NOW)
    assert cli("purge", "--all", "--yes").code == 0
    assert sql(outbox, "SELECT about FROM handle") == [("shared",)]


@pytest.mark.sqlite("the file is damaged")
def test_a_file_that_was_set_aside_is_named(cli: Callable[..., Result], filled: Outbox) -> None:
    aside = filled.path.with_name(f"{filled.path.name}.corrupt-20261121-100000-1")
    aside.write_bytes(b"")
    result = cli("purge", "--scan", OLD.id, "--yes")
    assert (result.code, f"{aside} was set aside earlier and may still have it: delete it." in result.out) == (3, True)


@pytest.mark.sqlite("the file's log")
def test_another_process_that_reads_for_long_is_said(
    cli: Callable[..., Result], filled: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sfwebhooks.outbox.erasure.PATIENCE_SECONDS", 0.0)
    with closing(sqlite3.connect(filled.path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM event").fetchone()
        result = cli("purge", "--scan", OLD.id, "--yes")
    assert (result.code, "another process is reading it" in result.words) == (3, True)
    assert "sfwebhooks run tries that again within an hour" in result.words
    assert cli("purge", "--scan", OLD.id, "--yes").code == 0


# --- what is left of a scan


def test_of_a_scan_without_events_only_the_id_is_left(cli: Callable[..., Result], filled: Outbox) -> None:
    cli("purge", "--scan", OLD.id, "--waiting", "--yes")
    assert sql(filled, "SELECT id, name, target, target_type, database, ended FROM scan ORDER BY id") == [
        (OLD.id, "", "", "", "", "high_risk_event"),
        (NEW.id, NEW.name, NEW.target, NEW.target_type, NEW.database, "high_risk_event"),
    ]


def test_a_scan_that_was_purged_does_not_end_twice(cli: Callable[..., Result], filled: Outbox) -> None:
    cli("purge", "--scan", OLD.id, "--waiting", "--yes")
    event = an_event(scan=OLD, id=lifecycle_id(OLD.id, "ended"), type="scan_completed")
    assert not filled.scans.end_scan(event, [Wanted("team", "scan_completed")], NOW)


def test_a_scan_that_was_purged_and_is_sent_again_has_its_target(cli: Callable[..., Result], filled: Outbox) -> None:
    cli("purge", "--scan", OLD.id, "--waiting", "--yes")
    event = an_event(scan=OLD, id=lifecycle_id(OLD.id, "started"), type="scan_started")
    filled.scans.begin_scan(OLD, event, [Wanted("team", "scan_started")], NOW, ended="scan_completed")
    found = filled.scans.event(event.id)
    assert found and found.scan == OLD


def test_a_scan_of_which_nothing_was_sent_is_forgotten(cli: Callable[..., Result], outbox: Outbox) -> None:
    begin(outbox, OLD)
    end(outbox, OLD)
    assert cli("purge", "--scan", OLD.id, "--yes").code == 0
    assert sql(outbox, "SELECT name, target FROM scan") == [("", "")]


def test_a_scan_that_is_being_backfilled_is_not_forgotten(cli: Callable[..., Result], filled: Outbox) -> None:
    sql(filled, f"DELETE FROM event WHERE scan = (SELECT number FROM scan WHERE id = '{NEW.id}')")
    lock = filled.locks.scan(NEW.id)
    assert lock.take()
    assert cli("purge", "--scan", OLD.id, "--waiting", "--yes").code == 0
    assert sql(filled, "SELECT target FROM scan ORDER BY id") == [("",), (NEW.target,)]
    lock.release()
    assert cli("purge", "--all", "--yes").code == 0
    assert sql(filled, "SELECT target FROM scan ORDER BY id") == [("",), ("",)]


# --- the question


#: what a person types -> whether it is deleted
ANSWERS = (("y\n", True), ("\n", False), ("YES\n", True), ("n\n", False), ("\x04", False))


@pytest.mark.parametrize(
    ("answer", "deleted"),
    quick_first([pytest.param(*row) for row in ANSWERS], 2),
)
def test_a_person_is_asked_before_anything_is_deleted(filled: Outbox, answer: str, deleted: bool) -> None:
    arguments = ["purge", "--scan", OLD.id, "--waiting", "--folder", str(filled.path.parent)]
    code, text = in_terminal(arguments, [("[y/N]", answer)])
    assert text.index("4 deliveries will be deleted permanently") < text.index("Delete them? [y/N]")
    assert (code, "Nothing was deleted." in text) == ((0, False) if deleted else (1, True))
    assert left(filled) == rows_of(NEW.id) | (set() if deleted else rows_of(OLD.id))
