"""The host's database in a file and on a PostgreSQL server: the same tests fill and read both.

`host_database` is the address of an empty one of each kind. The server's tables are those of the fork 6.0, without
their foreign keys, which only concern who writes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol, Union

import pytest

from sfwebhooks.scan.host_address import DATABASE, database_address, given_for, is_server
from tests.postgres import Postgres

#: path of a file, or address of a server that this process was given
Place = Union[Path, str]

FILE_TABLES = """
    CREATE TABLE tbl_scan_instance (guid, name, seed_target, created, started, ended, status);
    CREATE TABLE tbl_scan_results (scan_instance_id, hash, type, generated, confidence, visibility, risk, module, data,
        false_positive, source_event_hash);
    CREATE TABLE tbl_scan_correlation_results (id, scan_instance_id, title, rule_risk, rule_id, rule_name, rule_descr,
        rule_logic);
    CREATE TABLE tbl_scan_config (scan_instance_id, component, opt, val);
    CREATE TABLE tbl_scan_log (scan_instance_id, generated, component, type, message);
    CREATE TABLE tbl_event_types (event, event_descr, event_raw, event_type);
    CREATE TABLE tbl_config (scope, opt, val)
"""
FILE_EVIDENCE = "CREATE TABLE tbl_scan_correlation_results_events (correlation_id, event_hash)"
SERVER_TABLES = """
    CREATE TABLE tbl_scan_instance (guid varchar NOT NULL PRIMARY KEY, name varchar NOT NULL,
        seed_target varchar NOT NULL, created bigint DEFAULT 0, started bigint DEFAULT 0, ended bigint DEFAULT 0,
        status varchar NOT NULL);
    CREATE TABLE tbl_scan_results (scan_instance_id varchar NOT NULL, hash varchar NOT NULL, type varchar NOT NULL,
        generated bigint NOT NULL, confidence int NOT NULL DEFAULT 100, visibility int NOT NULL DEFAULT 100,
        risk int NOT NULL DEFAULT 0, module varchar NOT NULL, data text, false_positive int NOT NULL DEFAULT 0,
        source_event_hash varchar DEFAULT 'ROOT', UNIQUE (scan_instance_id, hash));
    CREATE INDEX ON tbl_scan_results (scan_instance_id);
    CREATE INDEX ON tbl_scan_results (scan_instance_id, type);
    CREATE INDEX ON tbl_scan_results (false_positive) WHERE false_positive = 1;
    CREATE TABLE tbl_scan_correlation_results (id varchar NOT NULL PRIMARY KEY, scan_instance_id varchar NOT NULL,
        title varchar NOT NULL, rule_risk varchar NOT NULL, rule_id varchar NOT NULL, rule_name varchar NOT NULL,
        rule_descr varchar NOT NULL, rule_logic varchar NOT NULL);
    CREATE TABLE tbl_scan_config (scan_instance_id varchar NOT NULL, component varchar NOT NULL, opt varchar NOT NULL,
        val varchar NOT NULL, UNIQUE (scan_instance_id, component, opt));
    CREATE TABLE tbl_scan_log (scan_instance_id varchar NOT NULL, generated bigint NOT NULL, component varchar,
        type varchar NOT NULL, message varchar);
    CREATE TABLE tbl_event_types (event varchar NOT NULL PRIMARY KEY, event_descr varchar NOT NULL,
        event_raw int NOT NULL DEFAULT 0, event_type varchar NOT NULL);
    CREATE TABLE tbl_config (scope varchar NOT NULL, opt varchar NOT NULL, val varchar NOT NULL,
        PRIMARY KEY (scope, opt))
"""
SERVER_EVIDENCE = (
    "CREATE TABLE tbl_scan_correlation_results_events (correlation_id varchar NOT NULL, event_hash varchar NOT NULL)"
)


class Writer(Protocol):
    """What tests write to a host's database with; values stand where a statement has a question mark."""

    def execute(self, query: str, row: Sequence[Any] = ...) -> Any: ...

    def executemany(self, query: str, rows: Iterable[Sequence[Any]]) -> Any: ...


class _ServerWriter:
    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def execute(self, query: str, row: Sequence[Any] = ()) -> Any:
        return self._connection.execute(query.replace("?", "%s"), row or None)

    def executemany(self, query: str, rows: Iterable[Sequence[Any]]) -> Any:
        return self._connection.cursor().executemany(query.replace("?", "%s"), rows)


@contextmanager
def writing(place: Place) -> Iterator[Writer]:
    """Write to a host's database, in one transaction."""
    if is_server(str(place)):
        import psycopg

        with psycopg.connect(given_for(str(place)).reveal()) as server:
            yield _ServerWriter(server)
    else:
        with closing(sqlite3.connect(place)) as file, file:
            yield file


def make_tables(place: Place) -> None:
    """Make the tables of a host that has no correlations yet."""
    with writing(place) as writer:
        for statement in (SERVER_TABLES if is_server(str(place)) else FILE_TABLES).split(";"):
            writer.execute(statement)


def make_evidence(place: Place) -> None:
    """Make the table of what correlations rest on."""
    with writing(place) as writer:
        writer.execute(SERVER_EVIDENCE if is_server(str(place)) else FILE_EVIDENCE)


def has_tables(place: Place) -> bool:
    """Return whether a host's database was made."""
    if not is_server(str(place)):
        return Path(place).exists()
    with writing(place) as writer:
        return bool(writer.execute("SELECT to_regclass('tbl_scan_instance') IS NOT NULL").fetchone()[0])


@pytest.fixture(params=["file", "server"])
def host_database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a host's database, in a file or on a server, without tables."""
    if request.param == "file":
        return str(tmp_path / DATABASE)
    return database_address(request.getfixturevalue("postgres_dsn"))


@pytest.fixture
def host_server(postgres: Postgres, postgres_dsn: str) -> str:
    """The address of a host's database on a server, without tables."""
    return database_address(postgres_dsn)
