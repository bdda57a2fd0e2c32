"""The host's database on a server that is hostile, slow, locked, stopped or not there."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from sfwebhooks.config.settings import Settings
from sfwebhooks.endpoints import Secret
from sfwebhooks.errors import ConfigError, HostBusyError, HostDatabaseError, SlowReadError
from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.scan import host_address
from sfwebhooks.scan.host_address import current_database, database_address, database_secrets, given_for, use_database
from sfwebhooks.scan.host_database import MODULE, HostDatabase
from sfwebhooks.scan.own_host import NO_SCANS, saved_options, unsupported
from sfwebhooks.scan.recovery import report_dead_scans
from sfwebhooks.scan.run import ScanRun
from tests import postgres as helper
from tests.builders import NOW, PATIENCE, a_finding, a_host_database, a_scan, an_endpoint
from tests.conftest import sql
from tests.host_databases import make_tables, writing
from tests.hosted import add_scan
from tests.postgres import PASSWORD, Postgres

SCAN = a_scan()
#: a type of events whose description takes half a minute
SLOW = "CREATE VIEW tbl_event_types AS SELECT 'A' AS event, 'a' || pg_sleep(30) AS event_descr"


@pytest.fixture
def host(host_server: str) -> str:
    """The address of a host's database with a scan."""
    a_host_database(host_server, SCAN)
    return host_server


def change(place: str, *statements: str) -> None:
    with writing(place) as connection:
        for each in statements:
            connection.execute(each)


# --- its address


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("postgresql://me:geheim@db.test:5433/sf", "postgresql://me@db.test:5433/sf"),
        ("postgres://me:geheim@db.test/sf?sslmode=verify-full", "postgresql://me@db.test/sf?sslmode=verify-full"),
        ("host=db.test user=me password=geheim dbname=sf", "postgresql://me@db.test/sf"),
        ("postgresql:///sf?host=/run/pg&password=geheim&sslpassword=geheim", "postgresql:///sf?host=/run/pg"),
        ("postgresql://m%40e:ge%2Fheim@/s%20f?host=/run/pg", "postgresql://m%40e@/s%20f?host=/run/pg"),
        ("postgresql://me:geheim@a.test,b.test:5433/sf", "postgresql://me@/sf?host=a.test%2Cb.test&port=%2C5433"),
    ],
)
def test_an_address_has_no_password_and_connects_as_given(given: str, address: str) -> None:
    assert database_address(given) == address
    assert given_for(address) == Secret(given)
    parts = psycopg.conninfo.conninfo_to_dict
    hidden = ("password", "sslpassword")
    assert parts(address) == {name: value for name, value in parts(given).items() if name not in hidden}


@pytest.mark.parametrize("given", ["postgresql://me:gehe%im@db/sf", "host=db password='geheim", "postgres://[geheim"])
def test_an_address_that_cannot_be_read_is_not_shown(given: str) -> None:
    with pytest.raises(HostDatabaseError) as caught:
        database_address(given)
    assert "expected postgresql://USER:PASSWORD@HOST:PORT/NAME" in str(caught.value)
    assert "gehe" not in str(caught.value) and caught.value.__cause__ is None
    with pytest.raises(ConfigError, match=r"host_database: .*expected postgresql://"):
        use_database(Secret(given))


def test_the_current_database_is_that_of_the_settings_else_of_the_environment_else_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert current_database(tmp_path) == str(tmp_path / "spiderfoot.db")
    monkeypatch.setenv("SF_POSTGRES_DSN", "postgresql://env:geheim@db.test/sf")
    assert current_database(tmp_path) == "postgresql://env@db.test/sf"
    use_database(Secret("postgresql://settings:geheim@db.test/sf"))
    assert current_database(tmp_path) == "postgresql://settings@db.test/sf"
    use_database(None)
    assert current_database(tmp_path) == "postgresql://settings@db.test/sf"


def test_a_host_on_a_server_is_supported_where_its_driver_is(monkeypatch: pytest.MonkeyPatch) -> None:
    database = "postgresql://me:geheim@db.test/sf"
    assert unsupported(database) in ("", NO_SCANS)
    monkeypatch.setattr("sfwebhooks.scan.own_host.is_importable", lambda module: True)
    assert unsupported(database) == ""
    assert "expected postgresql://" in unsupported("postgresql://me:gehe%im@db/sf")
    monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
    assert "pip install 'sfwebhooks[postgres]'" in unsupported(database)


def test_what_must_not_be_shown_of_a_hosts_option_is_known() -> None:
    given = "postgresql://me:ge%2Fheim@db.test/sf"
    assert database_secrets(given) == [given, "ge/heim"]
    assert database_secrets("/data/spiderfoot.db") == []


# --- what it has


def test_data_of_five_megabytes_and_of_odd_characters_come_as_they_are(host: str) -> None:
    found = [a_finding(f"h{number}", data=data, sources=()) for number, data in
             enumerate(["x" * 5_000_000, "\x01\x7f\u2028 %s %% ? ?1 ''\"", "\U0001f600" * 1000, "\ufffe"])]  # fmt: skip
    add_scan(host, a_scan("S2"), found)
    database = HostDatabase(host)
    assert [one.data for one in database.all_findings("S2")] == [one.data for one in found]
    assert [one.data for one in database.findings("S2", [one.hash for one in found])] == [one.data for one in found]


@pytest.mark.parametrize(
    "scan_id", ["a\0b", "\ud800", "'; DROP TABLE tbl_scan_instance; --", "x" * 5_000_000, "%s", "?"]
)
def test_an_id_of_any_text_is_no_scan_or_a_clear_error(scan_id: str, host: str) -> None:
    try:
        assert HostDatabase(host).scan(scan_id) is None
    except HostDatabaseError as error:
        assert "\n" not in str(error) and type(error) is HostDatabaseError
    assert HostDatabase(host).scan_ids() == [SCAN.id]


def test_a_database_without_an_encoding_may_have_any_bytes(postgres: Postgres) -> None:
    postgres.execute("CREATE DATABASE ascii TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'")
    try:
        host = database_address(postgres.dsn("ascii"))
        make_tables(host)
        row = f"'{SCAN.id}', 'h', 'X', 5, 1, 1, 0, 'm', E'a\\xED\\xA0\\x80\\xFFb'"
        change(host, f"INSERT INTO tbl_scan_results VALUES ({row})")
        (one,) = HostDatabase(host).all_findings(SCAN.id)
        assert one.data == b"a\xed\xa0\x80\xffb".decode("utf-8", "replace")
    finally:
        postgres.execute("DROP DATABASE ascii WITH (FORCE)")


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("DROP TABLE tbl_scan_results", 'relation "tbl_scan_results" does not exist'),
        ("ALTER TABLE tbl_scan_results DROP COLUMN risk", 'column "risk" does not exist'),
        ("ALTER TABLE tbl_scan_results ALTER risk DROP DEFAULT, ALTER risk TYPE varchar USING 'high'",
         'invalid input syntax for type integer: "high"'),
    ],
)  # fmt: skip
def test_other_tables_than_a_host_has_are_a_clear_error(statement: str, words: str, host: str) -> None:
    add_scan(host, a_scan("S2"), [a_finding("h", sources=())])
    change(host, statement)
    with pytest.raises(HostDatabaseError) as caught:
        HostDatabase(host).counts("S2")
    assert words in str(caught.value) and type(caught.value) is HostDatabaseError
    assert HostDatabase(host).scan_ids()


def test_a_user_who_may_not_read_a_table_is_told_so(host: str, postgres: Postgres) -> None:
    role = f"reader_{os.getpid()}"
    change(host, f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'", f"GRANT SELECT ON tbl_scan_instance TO {role}")
    name = postgres.execute("SELECT current_database()", given_for(host).reveal())[0][0]
    other = HostDatabase(database_address(postgres.dsn(name, role)))
    try:
        assert other.scan_ids() == [SCAN.id]
        with pytest.raises(HostDatabaseError, match="permission denied for table tbl_scan_results"):
            other.counts(SCAN.id)
    finally:
        change(host, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


def test_nothing_can_be_written_through_a_read(host: str) -> None:
    change(host, "CREATE FUNCTION harm() RETURNS text LANGUAGE sql"
           " AS $$ DELETE FROM tbl_scan_instance RETURNING guid $$",
           "DROP TABLE tbl_event_types",
           "CREATE VIEW tbl_event_types AS SELECT 'A' AS event, harm() AS event_descr")  # fmt: skip
    with pytest.raises(HostDatabaseError, match="cannot execute DELETE in a read-only transaction"):
        HostDatabase(host).descriptions()


def test_saved_options_are_those_of_our_module(host: str, tmp_path: Path) -> None:
    change(host, f"INSERT INTO tbl_config VALUES ('{MODULE}', 'config', '/etc/w.ini'), ('sfp_dns', 'config', 'x')")
    assert saved_options(tmp_path) == {"config": "/etc/w.ini"}
    change(host, "DROP TABLE tbl_config")
    assert saved_options(tmp_path) == {}


def test_options_on_a_server_that_cannot_be_used_may_name_the_configuration(host: str, tmp_path: Path) -> None:
    with psycopg.connect(given_for(host).reveal()) as other:
        other.execute("LOCK TABLE tbl_config IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(ConfigError, match=r"^postgresql://scanner@/.*, which may .*, cannot be reached: try again"):
            saved_options(tmp_path, 0.2)
        other.rollback()
    database_address(given_for(host).reveal().replace("scanner:", "nobody:"))
    with pytest.raises(ConfigError, match=r"^postgresql://nobody@/.*, which may .*, cannot be read"):
        saved_options(tmp_path)


# --- how long it takes


def test_a_locked_table_is_waited_for_no_longer_than_the_limit(host: str) -> None:
    with psycopg.connect(given_for(host).reveal()) as other:
        other.execute("LOCK TABLE tbl_scan_instance IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(HostBusyError, match="lock timeout"):
            HostDatabase(host, 0.2).scan_ids()
        other.rollback()
    assert HostDatabase(host, PATIENCE).scan_ids() == [SCAN.id]


def test_a_read_that_takes_longer_than_its_limit_is_given_up(host: str) -> None:
    change(host, "DROP TABLE tbl_event_types", SLOW)
    with pytest.raises(SlowReadError, match="statement timeout"):
        HostDatabase(host, 0.2).descriptions()


def test_rows_that_come_slowly_are_given_up_at_the_limit(host: str) -> None:
    rows = ", ".join(f"('{SCAN.id}', 'h{n}', 'X', 5, 1, 1, 0, 'm', 'd', 1)" for n in range(600))
    change(host, f"INSERT INTO tbl_scan_results VALUES {rows}")
    marked = HostDatabase(host, 0.2).false_positives(lambda target: True)
    next(marked)
    time.sleep(0.3)  # the reader's own work counts too
    with pytest.raises(SlowReadError, match=r"it took longer than 0\.2 s"):
        list(marked)


def test_a_server_that_no_longer_answers_is_given_up(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sfwebhooks.scan.host_server.GRACE_SECONDS", 0.2)
    change(host, "DROP TABLE tbl_event_types", SLOW)
    stopped: list[int] = []

    def stop() -> None:
        query = (
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'sfwebhooks' AND datname = current_database()"
        )
        with psycopg.connect(given_for(host).reveal(), autocommit=True) as other:
            until = time.monotonic() + PATIENCE
            while not stopped and time.monotonic() < until:
                for (pid,) in other.execute(query).fetchall():
                    os.kill(pid, signal.SIGSTOP)
                    stopped.append(pid)

    thread = threading.Thread(target=stop)
    thread.start()
    try:
        with pytest.raises(HostBusyError):
            HostDatabase(host, 2.0).descriptions()
    finally:
        thread.join(PATIENCE)
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    assert stopped


def test_a_server_that_is_not_there_may_come_back(tmp_path: Path) -> None:
    with pytest.raises(HostBusyError, match="No such file or directory"):
        HostDatabase(database_address(f"postgresql://me:{PASSWORD}@/sf?host={tmp_path}"), 1.0).scan_ids()


@pytest.mark.parametrize("name", ["nothing", "no\nthing"])
def test_a_database_that_the_server_does_not_have_is_no_passing_trouble(name: str, postgres: Postgres) -> None:
    with pytest.raises(HostDatabaseError, match="does not exist") as caught:
        HostDatabase(database_address(f"host={postgres.folder} user=scanner dbname='{name}'")).scan_ids()
    assert type(caught.value) is HostDatabaseError and "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def strict() -> Iterator[Postgres]:
    """A server of these tests' own, which wants the password."""
    helper.demand()
    with Postgres.running(auth="scram-sha-256") as server:
        yield server


@pytest.mark.slow
def test_the_password_is_used_and_a_wrong_one_is_not_shown(strict: Postgres) -> None:
    with strict.database() as dsn:
        host = database_address(dsn)
        a_host_database(host, SCAN)
        assert HostDatabase(host).scan_ids() == [SCAN.id]
        host_address._given.clear()
        with pytest.raises(HostDatabaseError, match="no password supplied"):
            HostDatabase(host).scan_ids()
        database_address(dsn.replace(PASSWORD, "geheim-and-wrong"))
        with pytest.raises(HostDatabaseError, match="password authentication failed") as caught:
            HostDatabase(host).scan_ids()
        assert type(caught.value) is HostDatabaseError and "geheim" not in str(caught.value)


@pytest.mark.slow
def test_a_server_that_stops_in_mid_read_is_a_trouble_that_passes() -> None:
    helper.demand()
    with Postgres.running() as server, server.database() as dsn:
        host = database_address(dsn)
        add_scan(host, SCAN, [a_finding(f"h{n}", data="x" * 1000, generated=NOW + n, sources=()) for n in range(3000)])
        findings = HostDatabase(host).all_findings(SCAN.id)
        next(findings)
        server.stop()
        try:
            with pytest.raises(HostBusyError):
                list(findings)
        finally:
            server.start()
        assert len(list(HostDatabase(host).all_findings(SCAN.id))) == 3000


# --- a scan


@pytest.mark.parametrize("trouble", ["not there", "other tables"])
def test_a_scan_whose_database_cannot_be_read_is_accepted_and_its_end_left_to_the_next_process(
    trouble: str, host: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    address = host
    if trouble == "not there":
        address = database_address(f"postgresql://me:{PASSWORD}@/sf?host={tmp_path}")
    else:
        change(host, "ALTER TABLE tbl_scan_instance RENAME TO hidden")
    scan, settings = a_scan(database=address), Settings((an_endpoint(events=("all",)),), drain_timeout=0.1)
    run = ScanRun(scan, settings, tmp_path)
    run.begin()
    run.accept(a_finding("h1", sources=()))
    run.end()
    assert "the end of this scan and 0 events could not be stored; the next process reads them" in caplog.text
    assert PASSWORD not in caplog.text
    with closing(Outbox(tmp_path / FILE)) as outbox:
        assert {row[0] for row in sql(outbox, "SELECT type FROM event")} == {"scan_started", "high_risk_event"}
        assert report_dead_scans(outbox, settings) == 0
        assert "its database cannot be read" in caplog.text
        if trouble == "other tables":
            change(host, "ALTER TABLE hidden RENAME TO tbl_scan_instance")
            assert report_dead_scans(outbox, settings) == 1
