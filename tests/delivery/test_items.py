"""Formats that judge each delivery of a request by itself, or that change the URL of each attempt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Callable

import pytest

from sfwebhooks.attempts import Outcome, Reply, Verdict
from sfwebhooks.delivery.send_queue import SendQueue
from sfwebhooks.events import Batch
from sfwebhooks.formats import FORMATS
from sfwebhooks.outbox.outbox import Outbox
from tests.builders import PATIENCE, an_endpoint
from tests.conftest import Clock, Team, put, sql

STORES = ("sqlite", "postgres")

TAKEN = Verdict(Outcome.DELIVERED, "http_200")
BUSY = Verdict(Outcome.RETRY, "item_429", 30.0)
WRONG = Verdict(Outcome.REFUSED, "item_400")
SIZE = 100


@pytest.fixture
def judging(monkeypatch: pytest.MonkeyPatch) -> dict[int, Verdict]:
    """Return the verdicts of a format of the tests on messages, by their numbers; it takes the others."""
    verdicts: dict[int, Verdict] = {}

    def read(reply: Reply, batch: Batch) -> Sequence[Verdict]:
        return [verdicts.get(delivery.sequence, TAKEN) for delivery in batch.deliveries]

    monkeypatch.setitem(FORMATS, "items", replace(FORMATS["generic"], read=read))
    return verdicts


@pytest.fixture
def queue(judging: dict[int, Verdict], new_queue: Callable[..., SendQueue], outbox: Outbox, team: Team) -> SendQueue:
    endpoint = an_endpoint(url=team.url, timeout=PATIENCE, batch_size=SIZE, batch_max_bytes=10**6, format="items")
    put(outbox, endpoint, events=SIZE)
    return new_queue(endpoint)


def states(outbox: Outbox) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for state, number in sql(outbox, "SELECT state, sequence FROM delivery ORDER BY sequence"):
        found.setdefault(state, []).append(number)
    return found


def sent(team: Team) -> list[list[int]]:
    return [[message["metadata"]["sequence"] for message in received.messages] for received in team.got]


def test_only_what_has_to_go_again_goes_again(
    judging: dict[int, Verdict], queue: SendQueue, outbox: Outbox, team: Team, clock: Clock
) -> None:
    judging.update({3: BUSY, 50: BUSY, 100: BUSY, 7: WRONG, 8: WRONG})
    assert queue.step()
    found = states(outbox)
    assert (len(found["delivered"]), found["waiting"], found["dead"]) == (95, [3, 50, 100], [7, 8])
    dead = sql(outbox, "SELECT DISTINCT reason FROM delivery WHERE state = 'dead'")
    assert dead == [("refused: item_400",)]
    first = {message["metadata"]["sequence"]: message for message in team.got[0].messages}
    judging.clear()
    assert not queue.step(), "nothing before the wait that the receiver asked for is over"
    clock.now += 40
    assert queue.step()
    assert sent(team)[1:] == [[3, 50, 100]]
    assert [first[number] for number in (3, 50, 100)] == team.got[1].messages, "under the same ids"
    assert states(outbox) == {"delivered": [n for n in range(1, SIZE + 1) if n not in (7, 8)], "dead": [7, 8]}


def test_one_that_is_refused_where_none_is_taken_is_set_aside(
    judging: dict[int, Verdict], queue: SendQueue, outbox: Outbox
) -> None:
    """It may be the receiver's fault."""
    judging.update(dict.fromkeys(range(1, SIZE + 1), BUSY) | {7: WRONG})
    assert queue.step()
    assert states(outbox) == {"waiting": [*range(1, SIZE + 1)]}
    assert sql(outbox, "SELECT sequence FROM delivery WHERE refusals > 0") == [(7,)]


def test_one_whose_retries_run_out_dies_alone(
    judging: dict[int, Verdict], queue: SendQueue, outbox: Outbox, clock: Clock
) -> None:
    judging[5] = BUSY
    for number in range(20):
        while queue.step():
            pass
        clock.now += 30_000
        put(outbox, queue.states[0].endpoint, start=1000 + number)  # which shows that the endpoint works
    assert states(outbox)["dead"] == [5]
    assert sql(outbox, "SELECT reason FROM delivery WHERE state = 'dead'") == [("retries_exhausted: item_429",)]


@pytest.mark.parametrize(("path", "requested"), [("", "?at=1"), ("?key=k", "?key=k&at=1")])
def test_the_url_of_an_attempt_can_have_a_query_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
    outbox: Outbox,
    team: Team,
    new_queue: Callable[..., SendQueue],
    path: str,
    requested: str,
) -> None:
    def query(endpoint: Any, now: float) -> str:
        return f"at={now - start + 1:.0f}"

    monkeypatch.setitem(FORMATS, "dated", replace(FORMATS["generic"], query=query))
    endpoint = an_endpoint(url=team.url + path, timeout=PATIENCE, format="dated")
    queue = new_queue(endpoint)
    start = queue._clock()
    put(outbox, endpoint)
    assert queue.step()
    assert team.got[0].path.endswith(requested)
    assert states(outbox) == {"delivered": [1]}
