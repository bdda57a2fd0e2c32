"""The host's database, as far as no other test of this folder reads it."""

from __future__ import annotations

import sqlite3

import pytest

from sfwebhooks.scan.host_database import is_locked


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
