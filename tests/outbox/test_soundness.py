"""Whether the outbox's file is sound."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from sfwebhooks.errors import OutboxError
from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.soundness import Soundness, soundness
from tests.conftest import sql
from tests.filled import put
from tests.outbox_rows import file_of
from tests.threads import until
from tests.tiers import slow

ONE_STORE = "it is about the file"


@pytest.mark.parametrize("seconds", [None, 60.0])
def test_a_sound_file_is_sound(outbox: Outbox, seconds: float | None) -> None:
    put(outbox, 1, 2, 3)
    assert soundness(file_of(outbox), seconds) == Soundness("", is_complete=True)


@slow
def test_a_look_that_takes_too_long_ends_and_the_file_can_still_be_used(outbox: Outbox) -> None:
    put(outbox, *range(40_000))
    until(lambda: not soundness(file_of(outbox), 1e-9).is_complete)
    assert outbox.scans.tallies()["waiting"] == 40_000


def test_an_index_that_lacks_a_row_is_found_by_a_whole_look_only(outbox: Outbox, tmp_path: Path) -> None:
    put(outbox, *range(10))
    (page,) = sql(outbox, "SELECT rootpage FROM sqlite_master WHERE name = 'delivery_settled'")[0]
    outbox.close()
    with closing(sqlite3.connect(tmp_path / FILE)) as connection, connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "UPDATE sqlite_master SET sql = 'CREATE INDEX delivery_settled ON delivery (name)' WHERE rootpage = ?",
            (page,),
        )
    assert soundness(file_of(outbox), 60.0).damage == ""
    assert "delivery_settled" in soundness(file_of(outbox)).damage


def test_a_file_that_is_not_a_database_is_an_error(tmp_path: Path) -> None:
    (tmp_path / FILE).touch(0o600)
    (tmp_path / FILE).write_bytes(b"rubbish" * 1000)
    with closing(Outbox(tmp_path / FILE, listing=True)) as broken, pytest.raises(OutboxError, match="is corrupt"):
        soundness(file_of(broken), 60.0)
