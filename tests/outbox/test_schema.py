from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from sfwebhooks.errors import OutboxBusyError, OutboxError
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.schema import VERSION, make_tables

ONE_STORE = "it is about the file"


def opened(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, timeout=0.05)


def version(sql: sqlite3.Connection) -> int:
    return int(sql.execute("PRAGMA user_version").fetchone()[0])


def schema(sql: sqlite3.Connection) -> list[tuple[str, str]]:
    return sql.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()


def test_a_new_file_gets_the_tables(tmp_path: Path) -> None:
    sql = opened(tmp_path / "webhooks.db")
    make_tables(sql)
    assert version(sql) == VERSION


def test_a_file_that_has_its_tables_is_left_as_it_is(tmp_path: Path) -> None:
    sql = opened(tmp_path / "webhooks.db")
    make_tables(sql)
    before = schema(sql)
    make_tables(sql)
    assert schema(sql) == before


def test_tables_that_cannot_be_made_leave_nothing_behind(tmp_path: Path) -> None:
    sql = opened(tmp_path / "webhooks.db")
    sql.execute("CREATE TABLE health (another TEXT)")  # one of the last tables is in the way
    with pytest.raises(sqlite3.OperationalError):
        make_tables(sql)
    assert (version(sql), [name for name, _ in schema(sql)]) == (0, ["health"])


def test_a_file_of_a_newer_version_is_not_touched(tmp_path: Path) -> None:
    sql = opened(tmp_path / "webhooks.db")
    sql.execute(f"PRAGMA user_version = {VERSION + 1}")
    with pytest.raises(OutboxError):
        make_tables(sql)
    assert schema(sql) == []


def test_a_file_of_a_newer_version_is_named_with_both_versions(tmp_path: Path) -> None:
    path = tmp_path / "webhooks.db"
    opened(path).execute(f"PRAGMA user_version = {VERSION + 1}")
    with pytest.raises(OutboxError) as caught:
        Outbox(path).scans.tallies()
    assert str(caught.value).startswith(
        f"outbox {path} was created by a newer sfwebhooks (schema {VERSION + 1}, known here: {VERSION})"
    )


def test_a_file_that_another_process_is_making_is_busy_not_broken(tmp_path: Path) -> None:
    path = tmp_path / "webhooks.db"
    other = opened(path)
    other.execute("PRAGMA journal_mode = WAL")
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(OutboxBusyError):
        Outbox(path).scans.tallies()


class Late(sqlite3.Connection):
    """A connection of a process that another one overtakes just before it makes the tables."""

    def execute(self, text: str, *values: Any) -> sqlite3.Cursor:
        if text == "BEGIN IMMEDIATE":
            path = super().execute("PRAGMA database_list").fetchone()[2]
            make_tables(opened(Path(path)))
        return super().execute(text, *values)


def test_tables_that_another_process_has_made_meanwhile_are_left_as_they_are(tmp_path: Path) -> None:
    sql = sqlite3.connect(tmp_path / "webhooks.db", isolation_level=None, factory=Late)
    make_tables(sql)
    assert (version(sql), sql.in_transaction) == (VERSION, False)


class Full(sqlite3.Connection):
    """A connection whose disk is full at the commit, which ends the transaction."""

    def execute(self, text: str, *values: Any) -> sqlite3.Cursor:
        if text == "COMMIT":
            super().execute("ROLLBACK")
            raise sqlite3.OperationalError("database or disk is full")
        return super().execute(text, *values)


def test_a_full_disk_is_named_when_it_has_ended_the_transaction(tmp_path: Path) -> None:
    sql = sqlite3.connect(tmp_path / "webhooks.db", isolation_level=None, factory=Full)
    with pytest.raises(sqlite3.OperationalError, match="disk is full"):
        make_tables(sql)
