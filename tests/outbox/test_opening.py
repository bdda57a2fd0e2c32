"""Opening the outbox's file: what another process does at the same time."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.opening import BUSY_SECONDS, not_the_last, opened, use_log, waiting_at_most
from sfwebhooks.outbox.outbox import Outbox
from tests.builders import an_endpoint
from tests.conftest import put
from tests.threads import waits_for
from tests.users import descriptors

ONE_STORE = "it is about the file"

TEAM = an_endpoint(events=("all",))


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A connection to a new file, which has no log yet."""
    (tmp_path / FILE).touch(mode=0o600)
    with closing(opened(tmp_path / FILE)) as connection:
        connection.execute("PRAGMA busy_timeout = 0")
        yield connection


@pytest.fixture
def another(tmp_path: Path, fresh: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """A connection of another process."""
    with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as connection:
        yield connection


@contextmanager
def writing(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN EXCLUSIVE")
    connection.execute("CREATE TABLE IF NOT EXISTS something (value)")
    yield
    connection.execute("COMMIT")


def test_a_file_gets_its_log_once_another_process_has_written(
    fresh: sqlite3.Connection, another: sqlite3.Connection
) -> None:
    assert waits_for(writing(another), lambda: use_log(fresh))
    assert fresh.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_file_that_another_process_writes_to_for_long_is_not_waited_for(
    fresh: sqlite3.Connection, another: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sfwebhooks.outbox.opening.BUSY_SECONDS", 0.0)
    with writing(another), pytest.raises(sqlite3.OperationalError, match="locked"):
        use_log(fresh)


def busy_milliseconds(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA busy_timeout").fetchone()[0])


def test_a_statement_waits_less_for_a_while(fresh: sqlite3.Connection) -> None:
    with waiting_at_most(fresh, 0.25):
        assert busy_milliseconds(fresh) == 250
    assert busy_milliseconds(fresh) == BUSY_SECONDS * 1000


def test_the_sign_of_another_user_is_taken_away_again(tmp_path: Path) -> None:
    (tmp_path / FILE).touch()
    before = descriptors()
    with not_the_last(str(tmp_path / FILE)):
        assert len(descriptors()) == len(before) + 1
    assert descriptors() == before


def test_a_file_of_before_a_boot_is_listed(tmp_path: Path) -> None:
    with closing(Outbox(tmp_path / FILE, boot=lambda: "a boot")) as outbox:
        put(outbox, TEAM)
    with closing(Outbox(tmp_path / FILE, listing=True, boot=lambda: "another boot")) as lister:
        assert lister.scans.tallies()["waiting"] == 1
