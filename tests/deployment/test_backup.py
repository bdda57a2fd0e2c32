"""Backups of an outbox on PostgreSQL, restored to an earlier moment: by each of the usual ways its numbers begin a new
series, and what was sent since the backup is sent again under its id."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sfwebhooks.errors import OutboxError
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.postgres.dsn import Dsn
from tests.builders import an_endpoint
from tests.conftest import Team, put, sql
from tests.fleet import Host
from tests.postgres import Postgres
from tests.threads import until
from tests.tiers import slow

pytestmark = slow


class Backup:
    """A server, and what was saved of it."""

    def __init__(self, server: Postgres, files: Postgres) -> None:
        self.server, self.files = server, files
        self.files.copy(server)
        self.dump = server.dump("hooks")

    def restore_dump(self) -> None:
        """Put the tables of pg_dump in the place of those that are there."""
        self.server.restore("hooks", self.dump)

    def restore_dump_into_a_new_database(self) -> None:
        """Fill another database from pg_dump, and give it the name of the one that is there, whose sessions end."""
        self.server.execute("CREATE DATABASE restored")
        self.server.restore("restored", self.dump)
        self.server.execute("DROP DATABASE hooks WITH (FORCE)")
        self.server.execute("ALTER DATABASE restored RENAME TO hooks")

    def restore_files(self) -> None:
        """Put the files of pg_basebackup back as they are, as a snapshot of a disk is."""
        self.server.stop("fast")
        self.server.put_back(self.files)
        self.server.start()

    def recover_files(self) -> None:
        """Put the files of pg_basebackup back for a recovery, as to a point in time."""
        self.server.stop("fast")
        self.server.put_back(self.files)
        self.server.recover()
        self.server.start()
        until(lambda: self.server.execute("SELECT pg_is_in_recovery()") == [(False,)])


@pytest.fixture
def empty() -> Iterator[Postgres]:
    with Postgres.without_files() as files:
        yield files


@pytest.mark.parametrize(
    ("restore", "stops"),
    [
        (Backup.restore_dump, True),
        (Backup.restore_dump_into_a_new_database, False),
        (Backup.restore_files, False),
        (Backup.recover_files, False),
        (Backup.recover_files, True),
    ],
)
def test_a_restored_outbox_numbers_in_a_new_series_and_repeats_under_the_same_ids(
    restore: Callable[[Backup], None], stops: bool, own_server: Postgres, empty: Postgres, team: Team, tmp_path: Path
) -> None:
    address, endpoint = own_server.dsn("hooks"), an_endpoint(url=team.url)
    hosts = [Host(address, tmp_path / "host", {"team": team.url})]
    with closing(Outbox(Dsn(address, tmp_path))) as outbox:
        put(outbox, endpoint, events=3)
        team.wait_for(3)
        until(lambda: outbox.scans.tallies()["waiting"] == 0)
        backup = Backup(own_server, empty)
        put(outbox, endpoint, events=4, start=4)
        team.wait_for(7)
        until(lambda: outbox.scans.tallies()["waiting"] == 0)
    ((at,),) = own_server.execute("SELECT clock_timestamp()")

    def has_passed() -> bool:
        """Return whether a sign of life of the host has followed."""
        query = (
            "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'sfwebhooks locks%'"
            f" AND query LIKE '%flush_lsn%' AND query_start > '{at}'"
        )
        return own_server.execute(query) == [(1,)]

    until(has_passed)
    try:
        if stops:
            hosts[0].kill()
        restore(backup)
        if stops:
            hosts.append(Host(address, tmp_path / "host-2", {"team": team.url}))
        hosts[-1].wait_for("in a new series")
        with closing(Outbox(Dsn(address, tmp_path))) as outbox:

            def offer() -> bool:
                try:
                    put(outbox, endpoint, events=2, start=7)
                except OutboxError:
                    return False
                return True

            until(offer)
            team.wait_for(9)
            until(lambda: outbox.scans.tallies()["waiting"] == 0)
            rows = sql(outbox, "SELECT series, sequence FROM delivery ORDER BY number")
    finally:
        for host in hosts:
            host.kill()
    assert [number for _, number in rows] == [1, 2, 3, 1, 2]
    assert [series == rows[0][0] for series, _ in rows] == [True, True, True, False, False]
    given = [(one.message["metadata"]["series"], one.message["metadata"]["sequence"]) for one in team.got]
    assert max(Counter(given).values()) == 1, "no number was given to two messages"
    assert sorted(Counter(team.ids).values()) == [1] * 7 + [2], "one was accepted again"
    assert not any("Traceback" in host.log for host in hosts)
