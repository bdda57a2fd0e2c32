"""Events that the host has queued for the module are committed together with the one that it is given."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sfwebhooks.host.plugin import FINISHED, GROUP_MAX
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.scan.run import RUNS
from tests.benchmarks.accepting import DEAD
from tests.benchmarks.handling import SCAN, a_module, deliveries, scanner_events, write_settings
from tests.builders import a_host_database

ONE_STORE = "it is about the scanner; test_outbox_on_postgres.py has the server"


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Our module in a scan, with an endpoint that wants findings of high severity; it counts its commits."""
    a_host_database(tmp_path / "spiderfoot.db", SCAN)
    write_settings(tmp_path, [DEAD], "high_risk_event")
    made = a_module(tmp_path / "spiderfoot.db")
    made.incomingEventQueue = queue.Queue()
    made.commits = []
    accept = Outbox.accept

    def counted(self: Outbox, items: Any, *args: Any, **values: Any) -> int:
        kept = [*items]
        made.commits.append([event.data["data"] for event, _ in kept])
        return accept(self, kept, *args, **values)

    monkeypatch.setattr(Outbox, "accept", counted)
    yield made
    RUNS.pop(SCAN.id).end()


def test_what_is_queued_is_committed_with_the_event_in_its_order(module: Any, tmp_path: Path) -> None:
    first, *others = scanner_events(4)
    for event in others:
        module.incomingEventQueue.put(event)
    module.handleEvent(first)
    assert module.commits == [[event.data for event in (first, *others)]]
    assert module.incomingEventQueue.empty()
    assert deliveries(tmp_path, "high_risk_event") == 4


def test_a_commit_has_so_many_events_at_most(module: Any) -> None:
    first, *others = scanner_events(GROUP_MAX + 5)
    for event in others:
        module.incomingEventQueue.put(event)
    module.handleEvent(first)
    assert (len(module.commits[0]), module.incomingEventQueue.qsize()) == (GROUP_MAX, 5)


def test_the_hosts_word_for_the_end_stays_for_the_host(module: Any) -> None:
    first, second, third = scanner_events(3)
    for queued in (second, FINISHED, third):
        module.incomingEventQueue.put(queued)
    module.handleEvent(first)
    assert module.commits == [[first.data, second.data]]
    assert [*module.incomingEventQueue.queue] == [FINISHED, third]


def test_what_nobody_wants_is_not_committed_with_it(module: Any) -> None:
    event, other = scanner_events(2)
    unwanted = event.sourceEvent
    module.incomingEventQueue.put(other)
    module.handleEvent(unwanted)
    assert module.commits == [[other.data]]
    module.incomingEventQueue.put(unwanted)
    module.handleEvent(unwanted)
    assert len(module.commits) == 1


@pytest.mark.parametrize("hosts", [None, [], "a queue of another kind", queue.Queue()])
def test_without_a_queue_an_event_goes_alone(module: Any, hosts: Any) -> None:
    module.incomingEventQueue = hosts
    (event,) = scanner_events(1)
    module.handleEvent(event)
    assert module.commits == [[event.data]]
