"""A standby takes over from a primary that died: senders go over to it, what was replicated is sent, and what
asynchronous replication lost comes again at the end of its scan."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from sfwebhooks.errors import OutboxBusyError, OutboxError, UnreachableError
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.postgres.dsn import Dsn
from sfwebhooks.outbox.postgres.lock_session import session_of
from tests.builders import PATIENCE, an_endpoint
from tests.conftest import Team, put, sql
from tests.fleet import Host
from tests.outbox_rows import rows_of
from tests.postgres import OWNER, PASSWORD, Postgres, demand
from tests.scanning import Scanning
from tests.threads import until
from tests.tiers import slow

ONE_STORE = "it is about servers"

pytestmark = slow


class Pair:
    """A primary and its standby."""

    def __init__(self, primary: Postgres, standby: Postgres) -> None:
        self.primary, self.standby = primary, standby
        self.address = f"postgresql://{OWNER}:{PASSWORD}@/hooks?host={primary.folder},{standby.folder}"

    def wait_for_each_commit(self) -> None:
        """Let each commit wait until the standby has it (synchronous replication)."""
        self.primary.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self.primary.execute("SELECT pg_reload_conf()")
        until(lambda: self._is("sync"))

    def wait_for_the_standby(self) -> None:
        """Wait until the standby has all that was committed."""
        query = "SELECT count(*) FROM pg_stat_replication WHERE replay_lsn >= pg_current_wal_lsn()"
        until(lambda: self.primary.execute(query) == [(1,)])

    def fail_over(self) -> None:
        """Let the primary die, and the standby take over."""
        self.primary.stop("immediate")
        self.standby.promote()

    def _is(self, state: str) -> bool:
        return self.primary.execute("SELECT sync_state FROM pg_stat_replication") == [(state,)]


@pytest.fixture
def pair() -> Iterator[Pair]:
    demand()
    with Postgres.running() as primary:
        primary.execute("CREATE DATABASE hooks")
        with Postgres.standby_of(primary) as standby:
            yield Pair(primary, standby)


@contextmanager
def hosts(pair: Pair, folder: Path, team: Team, count: int = 2) -> Iterator[list[Host]]:
    started = [Host(pair.address, folder / f"host-{number}", {"team": team.url}) for number in range(count)]
    try:
        yield started
    finally:
        for one in started:
            one.kill()


def offered(outbox: Outbox, team: Team, number: int) -> bool:
    """Return whether an event could be accepted."""
    try:
        put(outbox, an_endpoint(url=team.url), start=number)
    except OutboxBusyError:
        return False
    return True


def test_with_synchronous_replication_nothing_that_was_accepted_is_lost(pair: Pair, team: Team, tmp_path: Path) -> None:
    with closing(Outbox(Dsn(pair.address, tmp_path / "scanner"))) as outbox, hosts(pair, tmp_path, team) as both:
        put(outbox, an_endpoint(url=team.url), start=0)
        team.wait_for(1)
        pair.wait_for_each_commit()
        accepted, ended = [0], threading.Event()

        def accept() -> None:
            number = 1
            while not ended.is_set():
                if offered(outbox, team, number):
                    accepted.append(number)
                    number += 1

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        until(lambda: len(accepted) > 100)
        pair.fail_over()
        before = len(accepted)
        until(lambda: len(accepted) > before + 100, 60)
        ended.set()
        thread.join(PATIENCE)
        until(lambda: outbox.scans.tallies()["waiting"] == 0, 60)
        counts = Counter(team.ids)
        assert len(counts) == len(accepted)
        assert max(counts.values()) <= 2
        assert rows_of(outbox, "SELECT count(*) FROM series") == [(2,)]
        assert not any("Traceback" in one.log for one in both)


def test_a_host_that_starts_finds_the_server_that_can_be_written_to(pair: Pair, team: Team, tmp_path: Path) -> None:
    backwards = f"postgresql://{OWNER}@/hooks?host={pair.standby.folder},{pair.primary.folder}"
    with closing(Outbox(Dsn(backwards, tmp_path))) as outbox:
        put(outbox, an_endpoint(url=team.url))
        outbox.locks.session()  # type: ignore[attr-defined]
        outbox.database.check()


def test_one_that_finds_a_standby_only_waits(pair: Pair, tmp_path: Path) -> None:
    with closing(Outbox(Dsn(pair.address, tmp_path))) as outbox:
        outbox.scans.tallies()
        pair.wait_for_the_standby()
    pair.primary.stop()
    with closing(Outbox(Dsn(pair.address, tmp_path))) as outbox:
        with pytest.raises(UnreachableError) as caught:
            outbox.scans.tallies()
        said = str(caught.value)
        assert PASSWORD not in said
        assert said.count("connection to server") == 2 and "session is read-only, it is a standby" in said
        with pytest.raises(OutboxBusyError, match=r"; connection to server.*it is a standby"):
            session_of(Dsn(pair.address, tmp_path))
        pair.standby.promote()
        until(lambda: _works(outbox.database.check))


def _works(call: Callable[[], object]) -> bool:
    try:
        call()
    except OutboxError:
        return False
    return True


def test_what_asynchronous_replication_lost_of_a_running_scan_is_sent_at_its_end(
    pair: Pair, team: Team, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scan = Scanning(tmp_path)
    general = f"outbox = {pair.address}\nspool = none\ndetach_timeout = 0"
    scan.configure(general, team=f"url = {team.url}\nevents = scan_*, high_risk_event\nconcurrency = 1")
    scan.begin()
    scan.find(3)
    team.wait_for(4)
    pair.wait_for_the_standby()
    pair.standby.stop()
    scan.find(5)
    team.wait_for(9)
    pair.primary.stop()
    pair.standby.start()
    pair.standby.promote()
    scan.find(2)
    scan.finish()
    kinds = Counter(one.message["event_type"] for one in team.got if team.ids.count(one.headers["webhook-id"]) == 1)
    counts = Counter(team.ids)
    its = {one.message["data"].get("hash") for one in team.got} - {None}
    assert its == {f"hash-{number}" for number in range(10)}
    assert kinds["scan_completed"] == 1
    assert sorted(counts.values())[-5:] == [2] * 5, "the lost ones were sent twice, under their ids"
    assert "messages are numbered from 1 again in a new series" in caplog.text
    with closing(Outbox(Dsn(pair.address, tmp_path))) as outbox:
        assert outbox.scans.number_found(scan.scan.id) == 10
        assert sql(outbox, "SELECT count(*) FROM delivery WHERE state <> 'delivered'") == [(0,)]
