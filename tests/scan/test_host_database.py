"""The host's database, as far as no other test of this folder reads it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from sfwebhooks.errors import ConfigError
from sfwebhooks.scan.host_database import DATABASE, is_locked, saved_options
from tests.builders import a_host_database, a_scan


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (sqlite3.OperationalError("database is locked"), True),
        (sqlite3.OperationalError("database table is locked"), True),
        (sqlite3.OperationalError("no such table: tbl_scan_instance"), False),
        (sqlite3.DatabaseError("database disk image is malformed"), False),
        (sqlite3.DatabaseError("locked"), False),
    ],
)
def test_only_a_lock_is_waited_for(error: sqlite3.Error, passes: bool) -> None:
    assert is_locked(error) is passes


def test_saved_options_that_cannot_be_read_now_may_name_the_configuration(tmp_path: Path) -> None:
    a_host_database(tmp_path / DATABASE, a_scan())
    with closing(sqlite3.connect(tmp_path / DATABASE, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(ConfigError, match="which may name the configuration, is locked: try again"):
            saved_options(tmp_path)
        other.execute("ROLLBACK")
    assert saved_options(tmp_path) == {}


def test_without_a_database_there_are_no_saved_options(tmp_path: Path) -> None:
    assert saved_options(tmp_path) == {}
    (tmp_path / DATABASE).write_bytes(b"no database" * 100)
    assert saved_options(tmp_path) == {}
    (tmp_path / DATABASE).unlink()
    (tmp_path / DATABASE).mkdir()
    with pytest.raises(ConfigError, match="which may name the configuration, cannot be read"):
        saved_options(tmp_path)
