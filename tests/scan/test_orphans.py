"""Scans whose process is gone: whoever looks next tells their ends, by what the host's database says of them."""

from __future__ import annotations

import json
import logging
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from sfwebhooks.config.draft import Mistake
from sfwebhooks.config.settings import Settings
from sfwebhooks.errors import NotYetError, OutboxBusyError
from sfwebhooks.events import Scan
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.postgres.dsn import Dsn
from sfwebhooks.pipeline import accept
from sfwebhooks.scan import recovery
from sfwebhooks.scan.findings import event_of_finding
from sfwebhooks.scan.lifecycle import started
from sfwebhooks.scan.recovery import replay_scan, report_dead_scans, report_end, running_scans
from sfwebhooks.screening import Screen
from tests.builders import NOW, PATIENCE, a_finding, a_host_database, a_scan, an_endpoint
from tests.conftest import sql

#: the tests run on each of them
STORES = ("sqlite", "postgres")
TEAM = an_endpoint(events=("all", "!surface_changed"))
SETTINGS = Settings((TEAM,))


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "host.db"


@pytest.fixture
def scan(outbox: Outbox, database: Path) -> Scan:
    """A scan that was begun and has found something; then its process died."""
    made = a_scan(database=str(database))
    a_host_database(database, made)
    change(database, f"INSERT INTO tbl_scan_results VALUES ('{made.id}', 'hash-1', 'VULNERABILITY_CVE_HIGH',"
                     f" {NOW}, 100, 100, 0, 'm', 'd', 0, 'ROOT')")  # fmt: skip
    begin(outbox, made)
    return made


def begin(outbox: Outbox, scan: Scan) -> None:
    event = started(scan)
    outbox.scans.begin_scan(scan, event, Screen(SETTINGS.endpoints).of(event)[0], NOW)


def change(database: Path, query: str) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(query)


def types_sent(outbox: Outbox) -> list[str]:
    """The types of what was sent, in order."""
    query = "SELECT type FROM delivery JOIN event ON event.number = delivery.event ORDER BY delivery.number"
    return [row[0] for row in sql(outbox, query)]


def end(outbox: Outbox, key: str) -> object:
    """A value of the data of the only end."""
    query = f"SELECT json_extract(data, '$.{key}') FROM event WHERE type LIKE 'scan_%' AND type <> 'scan_started'"
    ((value,),) = sql(outbox, query)
    return int(value) if str(value).isdigit() else value  # PostgreSQL extracts texts


def test_a_scan_whose_process_died_has_failed(outbox: Outbox, scan: Scan) -> None:
    assert report_dead_scans(outbox, SETTINGS) == 1
    assert types_sent(outbox) == ["scan_started", "high_risk_event", "scan_failed"]
    assert (end(outbox, "reason"), end(outbox, "status")) == ("process_died", "RUNNING")


def test_an_end_repeats_the_start_that_was_reported(outbox: Outbox, scan: Scan, database: Path) -> None:
    change(database, f"UPDATE tbl_scan_instance SET started = {(NOW + 0.07) * 1000}")  # as the host does in its set-up
    report_dead_scans(outbox, SETTINGS)
    query = "SELECT json_extract(data, '$.started') FROM event WHERE type IN ('scan_started', 'scan_failed')"
    assert len(set(sql(outbox, query))) == 1


@pytest.mark.parametrize(
    ("status", "name"),
    [
        ("FINISHED", "scan_completed"),
        ("ABORTED", "scan_aborted"),
        ("ABORT-REQUESTED", "scan_aborted"),
        ("ERROR-FAILED", "scan_failed"),
    ],
)
def test_the_host_knows_better_how_a_scan_ended(
    status: str, name: str, outbox: Outbox, scan: Scan, database: Path
) -> None:
    change(database, f"UPDATE tbl_scan_instance SET status = '{status}'")
    leave_mark(outbox, scan, "its-process")
    report_dead_scans(outbox, SETTINGS, stopped={"its-process"})
    assert (types_sent(outbox)[-1], end(outbox, "reason")) == (name, "reported_late")


def leave_mark(outbox: Outbox, scan: Scan, mark: str) -> None:
    """Do as the process of a scan that then is gone."""
    lock = outbox.locks.scan(scan.id)
    assert lock.take()
    lock.note(mark)
    lock.release()


def test_a_scan_that_was_stopped_with_its_host_was_aborted(outbox: Outbox, scan: Scan) -> None:
    leave_mark(outbox, scan, "its-process")
    report_dead_scans(outbox, SETTINGS, stopped={"its-process", "another one"})
    assert (types_sent(outbox)[-1], end(outbox, "reason")) == ("scan_aborted", "host_stopped")


@pytest.mark.parametrize("mark", ["its-process", ""])
def test_a_scan_of_another_host_was_not_stopped_with_this_one(mark: str, outbox: Outbox, scan: Scan) -> None:
    leave_mark(outbox, scan, mark)
    report_dead_scans(outbox, SETTINGS, stopped={"another one"})
    assert (types_sent(outbox)[-1], end(outbox, "reason")) == ("scan_failed", "process_died")


def test_a_scan_that_left_no_mark_was_not_stopped_with_any_host(outbox: Outbox, scan: Scan) -> None:
    report_dead_scans(outbox, SETTINGS, stopped={"another one"})
    assert (types_sent(outbox)[-1], end(outbox, "reason")) == ("scan_failed", "process_died")


def test_an_end_is_reported_once_however_often_somebody_looks(outbox: Outbox, scan: Scan) -> None:
    assert [report_dead_scans(outbox, SETTINGS) for _ in range(3)] == [1, 0, 0]


def test_a_scan_that_lives_is_left_alone(outbox: Outbox, scan: Scan) -> None:
    lock = outbox.locks.scan(scan.id)
    lock.take()
    assert report_dead_scans(outbox, SETTINGS) == 0
    lock.release()
    assert report_dead_scans(outbox, SETTINGS) == 1


def test_a_teller_that_died_after_the_recovery_is_followed_by_another(outbox: Outbox, scan: Scan) -> None:
    replay_scan(outbox, SETTINGS, scan)
    assert report_dead_scans(outbox, SETTINGS) == 1
    assert types_sent(outbox) == ["scan_started", "high_risk_event", "scan_failed"]


def test_a_scan_that_was_deleted_in_the_host_is_reported_by_what_is_known(
    outbox: Outbox, scan: Scan, database: Path
) -> None:
    for table in ("tbl_scan_instance", "tbl_scan_results", "tbl_scan_config", "tbl_scan_log"):
        change(database, f"DELETE FROM {table}")
    assert report_dead_scans(outbox, SETTINGS) == 1
    assert (types_sent(outbox), end(outbox, "reason")) == (["scan_started", "scan_failed"], "process_died")


def test_a_scan_whose_database_was_deleted_is_reported_by_what_is_known(
    outbox: Outbox, scan: Scan, database: Path
) -> None:
    database.unlink()
    assert report_dead_scans(outbox, SETTINGS) == 1
    assert (types_sent(outbox), end(outbox, "reason")) == (["scan_started", "scan_failed"], "process_died")


def accept_some(outbox: Outbox, scan: Scan, count: int) -> None:
    """Accept findings that the host has not stored yet."""
    found = [event_of_finding(a_finding(f"f-{number}"), scan, "a CVE") for number in range(count)]
    accept(found, Screen(SETTINGS.endpoints), outbox, NOW)


def test_what_was_accepted_counts_where_the_host_has_less(outbox: Outbox, scan: Scan) -> None:
    accept_some(outbox, scan, 12)
    report_dead_scans(outbox, SETTINGS)
    assert [end(outbox, key) for key in ("events_found", "high_risk_events")] == [13, 13]
    assert end(outbox, "events_by_type.VULNERABILITY_CVE_HIGH") == 13
    assert len(json.loads(str(end(outbox, "top_findings")))) == 10


def test_a_scan_that_was_deleted_after_it_had_found_something_was_aborted(
    outbox: Outbox, scan: Scan, database: Path
) -> None:
    accept_some(outbox, scan, 230)
    for table in ("tbl_scan_instance", "tbl_scan_results", "tbl_scan_config", "tbl_scan_log"):
        change(database, f"DELETE FROM {table}")
    report_dead_scans(outbox, SETTINGS)
    assert (types_sent(outbox)[-1], end(outbox, "events_found"), end(outbox, "high_risk_events")) == (
        "scan_aborted",
        230,
        230,
    )


def test_what_was_accepted_and_cannot_be_read_any_more_holds_up_no_end(outbox: Outbox, scan: Scan) -> None:
    accept_some(outbox, scan, 2)
    sql(
        outbox,
        "UPDATE event SET data = 'rubbish' WHERE number = (SELECT min(number) FROM event WHERE type <> 'scan_started')",
    )
    assert report_dead_scans(outbox, SETTINGS) == 1


def test_modules_that_lack_a_setting_are_one_error_before_the_end_which_names_them_too(
    outbox: Outbox, scan: Scan, database: Path
) -> None:
    for number in range(49):
        words = f"You enabled sfp_{number:02} but did not set an API key!"
        row = f"'{scan.id}', {NOW}, 'sfp_{number:02}', 'ERROR', '{words}'"
        change(database, f"INSERT INTO tbl_scan_log VALUES ({row})")
    report_dead_scans(outbox, SETTINGS)
    assert types_sent(outbox) == ["scan_started", "high_risk_event", "module_error", "scan_failed"]
    ((data,),) = sql(outbox, "SELECT data FROM event WHERE type = 'module_error'")
    modules = [f"sfp_{number:02}" for number in range(49)]
    assert json.loads(data)["modules"] == json.loads(str(end(outbox, "modules_failed"))) == modules


def test_a_scan_whose_database_cannot_be_read_waits_and_the_others_do_not(
    outbox: Outbox, scan: Scan, database: Path, tmp_path: Path
) -> None:
    whole = database.read_bytes()
    database.write_bytes(b"rubbish" * 1000)
    other = a_scan("OTHER", database=str(tmp_path / "other.db"))
    a_host_database(tmp_path / "other.db", other)
    begin(outbox, other)
    assert report_dead_scans(outbox, SETTINGS) == 1
    database.write_bytes(whole)
    assert report_dead_scans(outbox, SETTINGS) == 1
    assert sql(outbox, "SELECT ended FROM scan") == [("scan_failed",)] * 2


@pytest.mark.parametrize(("data", "shown"), [("NULL", ""), ("x'ff00'", "\ufffd\0"), ("7", "7")])
def test_data_that_is_not_text_is_sent_as_text(
    data: str, shown: str, outbox: Outbox, scan: Scan, database: Path
) -> None:
    change(database, f"UPDATE tbl_scan_results SET data = {data}")
    assert report_dead_scans(outbox, SETTINGS) == 1
    ((found,),) = sql(outbox, "SELECT data FROM event WHERE type = 'high_risk_event'")
    assert json.loads(found)["data"] == shown


def test_a_scan_whose_database_is_full_of_rubbish_holds_up_no_other(
    outbox: Outbox, scan: Scan, database: Path, tmp_path: Path
) -> None:
    change(database, "UPDATE tbl_scan_results SET generated = 'rubbish', risk = 'rubbish', module = x'00'")
    other = a_scan("OTHER", database=str(tmp_path / "other.db"))
    a_host_database(tmp_path / "other.db", other)
    begin(outbox, other)
    report_dead_scans(outbox, SETTINGS)
    assert sql(outbox, "SELECT ended FROM scan WHERE id = 'OTHER'") == [("scan_failed",)]


def test_a_scan_waits_while_the_events_of_an_endpoint_are_not_known(outbox: Outbox, scan: Scan) -> None:
    assert report_dead_scans(outbox, Settings((TEAM,), is_complete=False)) == 0
    assert report_dead_scans(outbox, SETTINGS) == 1


def test_a_scan_does_not_wait_for_an_endpoint_that_only_must_not_be_sent_to(outbox: Outbox, scan: Scan) -> None:
    held = replace(TEAM, mistake="secret: it is a sample")
    assert report_dead_scans(outbox, Settings((held,), mistakes=(Mistake("webhooks.ini", "", "", "", "wrong"),))) == 1
    assert types_sent(outbox)[-1] == "scan_failed"


def test_a_scan_id_that_comes_again_is_the_same_scan(outbox: Outbox, scan: Scan) -> None:
    report_dead_scans(outbox, SETTINGS)
    begin(outbox, scan)
    assert report_dead_scans(outbox, SETTINGS) == 0
    assert types_sent(outbox) == ["scan_started", "high_risk_event", "scan_failed"]


def test_nothing_of_the_lock_of_a_reported_scan_is_left(outbox: Outbox, scan: Scan) -> None:
    report_dead_scans(outbox, SETTINGS)
    assert list(outbox.path.parent.rglob("scan-*")) == []


# --- several scans


@pytest.fixture
def other(outbox: Outbox, scan: Scan, tmp_path: Path) -> Scan:
    """A second scan that died, in another database."""
    made = a_scan("OTHER", database=str(tmp_path / "other.db"))
    a_host_database(tmp_path / "other.db", made)
    begin(outbox, made)
    return made


@pytest.mark.parametrize("number", [0, 1])
def test_a_scan_that_lives_holds_up_no_dead_one(outbox: Outbox, scan: Scan, other: Scan, number: int) -> None:
    living, dead = [(scan, other), (other, scan)][number]
    lock = outbox.locks.scan(living.id)
    lock.take()
    assert report_dead_scans(outbox, SETTINGS) == 1
    lock.release()
    assert sql(outbox, "SELECT id FROM scan WHERE ended IS NOT NULL") == [(dead.id,)]


def test_each_scan_that_waits_for_the_settings_is_named_in_the_log(
    outbox: Outbox, scan: Scan, other: Scan, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "spiderfoot.webhooks"):
        report_dead_scans(outbox, Settings((TEAM,), is_complete=False))
    assert sorted(record.getMessage() for record in caplog.records) == sorted(
        f"webhooks: the end of scan {one.id} is not reported until the events of all endpoints are known"
        for one in (scan, other)
    )


def test_a_database_that_cannot_be_read_is_named_in_the_log(
    outbox: Outbox, scan: Scan, database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    database.write_bytes(b"rubbish" * 1000)
    with caplog.at_level(logging.WARNING, "spiderfoot.webhooks"):
        assert report_dead_scans(outbox, SETTINGS) == 0
    (line,) = (record.getMessage() for record in caplog.records)
    assert line == (
        f"webhooks: the end of scan {scan.id} is not reported yet: its database cannot be read: file is not a database"
    )


def test_a_scan_whose_end_cannot_be_made_is_logged_as_a_bug(
    outbox: Outbox, scan: Scan, caplog: pytest.LogCaptureFixture
) -> None:
    sql(outbox, """UPDATE event SET type = 'module_error', data = '{"modules": 7}'""")
    with caplog.at_level(logging.ERROR, "spiderfoot.webhooks"):
        assert report_dead_scans(outbox, SETTINGS) == 0
    assert [(record.getMessage(), bool(record.exc_info)) for record in caplog.records] == [
        (f"webhooks: the end of scan {scan.id} cannot be reported", True)
    ]


@pytest.mark.sqlite("the file is locked")
def test_an_outbox_that_cannot_be_written_ends_the_look_at_dead_scans(
    outbox: Outbox, scan: Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sfwebhooks.outbox.opening.BUSY_SECONDS", 0.05)
    with closing(sqlite3.connect(outbox.path, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        with closing(Outbox(outbox.place)) as late, pytest.raises(OutboxBusyError):
            report_dead_scans(late, SETTINGS)
        writer.execute("ROLLBACK")
    assert report_dead_scans(outbox, SETTINGS) == 1


# --- the parts of a recovery


def test_a_recovery_counts_its_new_deliveries(outbox: Outbox, scan: Scan) -> None:
    assert [replay_scan(outbox, SETTINGS, scan) for _ in range(2)] == [1, 0]


def test_a_recovery_that_has_no_time_keeps_what_it_has_accepted_and_says_so(outbox: Outbox, scan: Scan) -> None:
    with pytest.raises(NotYetError, match="1 deliveries were recovered, and more are left"):
        replay_scan(outbox, SETTINGS, scan, deadline=0.0)
    assert types_sent(outbox) == ["scan_started", "high_risk_event"]


@pytest.mark.sqlite("the file's log")
def test_a_recovery_writes_the_outboxs_log_back(outbox: Outbox, scan: Scan) -> None:
    """A commit of the scan's side does not do it."""
    with closing(Outbox(outbox.place, accepting=True)) as accepting:
        replay_scan(accepting, SETTINGS, scan)
        with closing(sqlite3.connect(f"{outbox.path.as_uri()}?immutable=1", uri=True)) as file:
            assert file.execute("SELECT count(*) FROM event WHERE type = 'high_risk_event'").fetchone() == (1,)


def test_an_end_names_its_event_for_the_first_who_reports_it_only(outbox: Outbox, scan: Scan) -> None:
    assert [report_end(outbox, SETTINGS, scan) for _ in range(2)] == ["scan_failed", None]


def test_an_event_that_was_refused_is_not_withheld_once_it_is_recovered(outbox: Outbox, scan: Scan) -> None:
    sql(outbox, f"INSERT INTO withheld VALUES ('{scan.id}', 'team', 'outbox_full', 1)")
    replay_scan(outbox, SETTINGS, scan)
    assert outbox.scans.withheld(scan.id) == {}


def test_one_that_is_being_reported_is_not_taken_for_one_that_runs_with_its_settings(
    outbox: Outbox, scan: Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A delivery process ends when a scan with other settings runs."""
    lock = outbox.locks.scan(scan.id)
    assert lock.take()
    lock.note("its-mark digest-of-old-settings")
    assert running_scans(outbox) == {scan.id: "digest-of-old-settings"}
    lock.release()
    seen: list[dict[str, str]] = []
    monkeypatch.setattr(recovery, "replay_scan", lambda *_, **__: seen.append(running_scans(outbox)))
    assert report_dead_scans(outbox, SETTINGS, stopped={"its-mark"}) == 1
    assert seen == [{scan.id: ""}]
    assert end(outbox, "reason") == "host_stopped", "the mark is kept"


@pytest.mark.postgres
def test_a_scan_that_has_lost_its_lock_is_dead_only_if_it_does_not_take_it_again_soon(
    outbox: Outbox, scan: Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sfwebhooks.outbox.postgres import advisory_locks
    from sfwebhooks.outbox.postgres.lock_session import open_session, session_of

    monkeypatch.setattr(advisory_locks, "ALIVE_SECONDS", PATIENCE)
    lock = outbox.locks.scan(scan.id)
    assert lock.take()
    session = open_session(cast(Dsn, outbox.place))
    assert session
    session.close()
    assert report_dead_scans(outbox, SETTINGS) == 0
    assert lock.take()
    session_of(cast(Dsn, outbox.place)).close()
    monkeypatch.setattr(advisory_locks, "ALIVE_SECONDS", 0.0)
    assert report_dead_scans(outbox, SETTINGS) == 1


@pytest.mark.postgres
def test_the_settings_of_a_scan_on_another_machine_end_no_delivery_process_here(
    outbox: Outbox, scan: Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sfwebhooks.outbox.postgres import advisory_locks

    lock = outbox.locks.scan(scan.id)
    assert lock.take()
    lock.note("its-mark its-digest")
    assert running_scans(outbox) == {scan.id: "its-digest"}
    monkeypatch.setattr(advisory_locks, "MACHINE", "scanner-2")
    assert running_scans(outbox) == {scan.id: ""}
