"""Several hosts that send from one outbox on PostgreSQL: each URL has one of them, another one takes over when it is
killed, stopped or cut off, and what such a one settles late is refused."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from sfwebhooks.errors import OutboxBusyError
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.postgres.dsn import Dsn
from sfwebhooks.receive.received import Received
from tests.builders import PATIENCE, an_endpoint
from tests.conftest import Team, put, sql
from tests.fleet import Host, Network
from tests.postgres import Postgres, demand
from tests.threads import until


class Fleet:
    """Hosts with one database and one receiver."""

    def __init__(self, address: str, folder: Path, team: Team) -> None:
        self.address = address
        self.team = team
        self.outbox = Outbox(Dsn(address, folder / "scanner"))
        self.hosts: list[Host] = []
        self._folder = folder

    def add(self, address: str = "", **values: object) -> Host:
        """Start another host."""
        folder = self._folder / f"host-{len(self.hosts)}"
        self.hosts.append(Host(address or self.address, folder, {"team": self.team.url}, **values))
        return self.hosts[-1]

    def put(self, events: int, start: int = 1) -> None:
        put(self.outbox, an_endpoint(url=self.team.url), events=events, start=start)

    def offer(self, events: int, start: int) -> bool:
        """Return whether events could be accepted: the first call may find that the connection is broken."""
        try:
            self.put(events, start)
        except OutboxBusyError:
            return False
        return True

    @property
    def waiting(self) -> int:
        return self.outbox.scans.tallies()["waiting"]

    def free_the_lock(self, postgres: Postgres) -> None:
        """Let the server end the session that has the URL's lock, as it does when that is silent."""
        query = (
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND granted"
        )
        postgres.execute(query, self.address)

    def close(self) -> None:
        for host in self.hosts:
            host.kill()
        self.outbox.close()


@pytest.fixture
def fleet(postgres_dsn: str, tmp_path: Path, team: Team) -> Iterator[Fleet]:
    with closing(Fleet(postgres_dsn, tmp_path, team)) as made:
        yield made


class Held:
    """What a receiver does with the first request: it keeps it until it may answer."""

    def __init__(self, team: Team) -> None:
        self.came, self.may_answer = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        team.answer = self

    def __call__(self, received: Received) -> int:
        with self._lock:
            is_first = not self.came.is_set()
            self.came.set()
        if is_first:
            assert self.may_answer.wait(PATIENCE)
        return 200


def test_hosts_that_start_together_send_everything_once(fleet: Fleet) -> None:
    fleet.put(100)
    for _ in range(3):
        fleet.add()
    fleet.team.wait_for(100)
    until(lambda: fleet.waiting == 0)
    assert [*Counter(fleet.team.ids).values()] == [1] * 100


def test_new_deliveries_reach_a_host_that_waits_for_some(fleet: Fleet) -> None:
    fleet.add()
    for number in range(1, 6):
        fleet.put(1, start=number)
        fleet.team.wait_for(number)
    until(lambda: fleet.waiting == 0)


def test_another_host_takes_over_from_a_killed_one_and_only_repeats_what_was_in_flight(fleet: Fleet) -> None:
    held = Held(fleet.team)
    fleet.put(50)
    one = fleet.add()
    assert held.came.wait(PATIENCE)
    fleet.add()
    one.kill()
    fleet.team.wait_for(51)
    held.may_answer.set()
    until(lambda: fleet.waiting == 0)
    assert sorted(Counter(fleet.team.ids).values())[-2:] == [1, 2]


def test_results_of_a_stopped_host_that_goes_on_after_another_one_took_over_are_refused(
    fleet: Fleet, postgres: Postgres
) -> None:
    held = Held(fleet.team)
    fleet.put(3)
    one = fleet.add()
    assert held.came.wait(PATIENCE)
    one.stop()
    fleet.free_the_lock(postgres)
    fleet.add()
    fleet.team.wait_for(4)
    until(lambda: fleet.waiting == 0)
    attempts = "SELECT count(*) FROM delivery_attempt"
    assert sql(fleet.outbox, attempts) == [(3,)]
    held.may_answer.set()
    one.go_on()
    one.wait_for("another process has taken over meanwhile; 1 late results of this process are dropped")
    assert (sql(fleet.outbox, attempts), fleet.waiting) == ([(3,)], 0)


def test_a_host_whose_session_broke_sends_nothing_more_until_it_has_the_lock_again(
    fleet: Fleet, postgres: Postgres
) -> None:
    held = Held(fleet.team)
    fleet.put(20)
    one = fleet.add()
    assert held.came.wait(PATIENCE)
    other = fleet.add()
    fleet.free_the_lock(postgres)
    one.wait_for("are lost")
    held.may_answer.set()
    until(lambda: fleet.waiting == 0)
    counts = Counter(fleet.team.ids)
    assert (len(counts), max(counts.values()) <= 2) == (20, True)
    assert sum(counts.values()) <= 21, "only the request that had begun was repeated"
    assert "Traceback" not in one.log + other.log


def test_a_server_that_crashes_is_waited_for(tmp_path: Path, team: Team) -> None:
    demand()
    with (
        Postgres.running({"synchronous_commit": "on"}) as server,
        server.database() as address,
        closing(Fleet(address, tmp_path, team)) as fleet,
    ):
        fleet.put(5)
        hosts = [fleet.add(), fleet.add()]
        team.wait_for(5)
        until(lambda: fleet.waiting == 0)
        for start in (6, 11):
            server.stop()
            server.start()
            until(partial(fleet.offer, 5, start))
            until(lambda: fleet.waiting == 0)
        assert len({*team.ids}) == 15
        assert not any("Traceback" in host.log for host in hosts)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["stopped", "cut off"])
def test_the_server_itself_frees_what_a_silent_host_holds(fleet: Fleet, how: str) -> None:
    held = Held(fleet.team)
    fleet.put(3)
    with closing(Network(fleet.address)) as network:
        one = fleet.add(network.address)
        assert held.came.wait(PATIENCE)
        if how == "stopped":
            one.stop()
        else:
            network.go_silent()
        fleet.add()
        until(lambda: len(fleet.team.got) >= 4, 60)
        until(lambda: fleet.waiting == 0)
        held.may_answer.set()
        one.go_on()
        network.heal()
        one.wait_for("late results of this process are dropped")
        assert sql(fleet.outbox, "SELECT count(*) FROM delivery_attempt") == [(3,)]
