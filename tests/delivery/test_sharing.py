"""URLs are shared out among the processes that send from an outbox on PostgreSQL."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, cast

import pytest

from sfwebhooks.delivery.sharing import LEFT_SECONDS, Sharing
from sfwebhooks.outbox.database import Senders
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.postgres.dsn import Dsn
from tests.builders import an_endpoint
from tests.conftest import Clock, Team, put, sql
from tests.fleet import Host
from tests.postgres import Postgres
from tests.threads import until

#: seconds between two messages, so that all URLs have work all the time
INTERVAL = 0.2
#: which session has how many URLs
OWNERS = """
    SELECT l.pid, count(*) FROM pg_locks l JOIN sfwebhooks.ownership o ON (classid::bigint << 32) | objid::bigint =
        hashtextextended(o.name, 'sfwebhooks.ownership'::regclass::oid::bigint)
    WHERE locktype = 'advisory' AND objsubid = 1 AND o.name LIKE 'url-%' GROUP BY 1 ORDER BY 2
"""


class World:
    """Four receivers, and hosts that send to them from one database."""

    def __init__(self, postgres: Postgres, address: str, folder: Path) -> None:
        self._postgres, self._address, self._folder = postgres, address, folder
        self.teams = {f"team{number}": Team() for number in range(4)}
        self.outbox = Outbox(Dsn(address, folder / "scanner"))
        self.hosts: list[Host] = []

    def add(self, *names: str) -> Host:
        """Start a host that has some endpoints in its settings, or all."""
        urls = {name: self.teams[name].url for name in names or self.teams}
        folder = self._folder / f"host-{len(self.hosts)}"
        self.hosts.append(Host(self._address, folder, urls, interval=INTERVAL))
        return self.hosts[-1]

    def put(self, events: int) -> None:
        put(self.outbox, *(an_endpoint(name, url=team.url) for name, team in self.teams.items()), events=events)

    @property
    def shares(self) -> list[int]:
        """How many URLs each host has."""
        return [number for _, number in self._postgres.execute(OWNERS, self._address)]

    def close(self) -> None:
        for host in self.hosts:
            host.kill()
        for team in self.teams.values():
            team.receiver.stop()
        self.outbox.close()


@pytest.fixture
def world(postgres: Postgres, postgres_dsn: str, tmp_path: Path) -> Iterator[World]:
    with closing(World(postgres, postgres_dsn, tmp_path)) as made:
        yield made


def test_a_host_that_joins_gets_its_part_and_the_others_take_it_over_when_it_dies(world: World) -> None:
    world.put(500)
    world.add()
    until(lambda: world.shares == [4])
    second = world.add()
    until(lambda: world.shares == [2, 2])
    second.kill()
    until(lambda: world.shares == [4])
    assert not any("Traceback" in host.log for host in world.hosts)


def test_what_goes_over_to_another_host_is_sent_once(world: World) -> None:
    world.put(20)
    world.add()
    until(lambda: world.shares == [4])
    world.add()
    until(lambda: world.outbox.scans.tallies()["waiting"] == 0)
    assert [Counter(team.ids).most_common(1)[0][1] for team in world.teams.values()] == [1] * 4


def test_a_url_that_only_one_host_knows_is_sent_to_although_that_is_more_than_its_part(world: World) -> None:
    world.put(10)
    world.add("team0")
    until(lambda: world.shares == [1])
    world.add()
    until(lambda: world.outbox.scans.tallies()["waiting"] == 0)
    assert sql(world.outbox, "SELECT count(*) FROM delivery_attempt") == [(40,)]


# --- who may take one


@dataclass(eq=False)
class Queue:
    """What is asked of a sending queue."""

    owned: bool
    has_work: bool = True
    is_free: bool = True
    is_wanted: bool = False
    leaves: bool = False
    url_id: str = ""
    may_begin: Callable[..., bool] | None = None

    def leave(self) -> None:
        self.leaves = True


class Part:
    """Four queues of a process, among some processes."""

    def __init__(self, senders: int, owned: int) -> None:
        self.clock = Clock()
        self.queues = [Queue(number < owned, url_id=f"url{number}") for number in range(4)]
        self.urls = frozenset[str]()
        locks = SimpleNamespace(senders=lambda: Senders(senders, self.urls))
        self.sharing = Sharing(cast(Any, self.queues), cast(Any, locks), self.clock)

    def allows(self) -> bool:
        return self.sharing.allows(cast(Any, self.queues[-1]))


@pytest.mark.parametrize(
    ("senders", "owned", "allowed"),
    [(1, 0, True), (1, 3, True), (2, 1, True), (2, 2, False), (3, 1, True), (3, 2, False), (9, 0, True), (9, 1, False)],
)
def test_a_process_may_take_its_part_rounded_up(senders: int, owned: int, allowed: bool) -> None:
    part = Part(senders, owned)
    assert part.allows() == allowed
    assert part.queues[-1].may_begin == part.sharing.allows


def test_urls_without_work_are_no_part_of_it() -> None:
    part = Part(2, 1)
    part.queues[1].has_work = part.queues[2].has_work = False
    assert not part.allows()


def test_those_that_another_process_has_are_part_of_it_although_nothing_waits_there_now() -> None:
    part = Part(2, 2)
    for queue in part.queues:
        queue.has_work, queue.is_wanted = False, True
    part.urls = frozenset({"url0", "url1", "url2", "url3"})
    part.sharing.look()
    assert not any(queue.leaves for queue in part.queues)
    part.urls = frozenset({"url0", "url1"})
    part.sharing.look()
    assert [queue.leaves for queue in part.queues] == [True, False, False, False]


def test_one_that_stays_free_for_a_while_may_be_taken() -> None:
    part = Part(2, 2)
    one = part.queues[-1]
    assert not part.allows()
    part.clock.now += LEFT_SECONDS - 0.1
    one.is_free = False  # another process had it meanwhile
    assert not part.allows()
    one.is_free = True
    part.clock.now += 0.2
    assert not part.allows()
    part.clock.now += LEFT_SECONDS
    assert part.allows()


@pytest.mark.parametrize(("owned", "wanted", "leaving"), [(4, 4, 2), (4, 1, 1), (3, 3, 1), (2, 2, 0)])
def test_of_more_than_its_part_it_releases_what_another_one_asks_for(owned: int, wanted: int, leaving: int) -> None:
    part = Part(2, owned)
    for queue in part.queues[:wanted]:
        queue.is_wanted = True
    for _ in range(2):
        part.sharing.look()
        assert [queue.leaves for queue in part.queues] == [True] * leaving + [False] * (4 - leaving)
