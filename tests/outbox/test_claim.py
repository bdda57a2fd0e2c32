"""When a scan's end is claimed: after what was accepted before it, but not behind what waits for a retry."""

from __future__ import annotations

import re
import threading

import pytest

from sfwebhooks.attempts import Attempt
from sfwebhooks.delivery.send_queue import SendQueue
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Batch, Scan, WebhookEvent, lifecycle_id
from sfwebhooks.outbox.claim import END_SECONDS, FLYING, OVERTAKEN, Limits
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.results import Result
from sfwebhooks.outbox.selection import Selection
from sfwebhooks.pipeline import accept
from sfwebhooks.retry import Settlement, State
from sfwebhooks.screening import Screen, Wanted
from tests.builders import NOW, PATIENCE, a_scan, an_endpoint, an_event, claim_one
from tests.conftest import Gate, Team, sql

STORES = ("sqlite", "postgres")

TEAM = an_endpoint("team", events=("all",))
ONE, OTHER = a_scan("ONE"), a_scan("OTHER")
ALONE = Limits("team")
DOTTED = {"scan_completed": "scan.completed"}


def find(outbox: Outbox, scan: Scan, *numbers: int, endpoint: Endpoint = TEAM, at: float = NOW) -> None:
    accept([an_event(number, scan=scan) for number in numbers], Screen((endpoint,)), outbox, at)


def end(outbox: Outbox, scan: Scan, name: str = "scan_completed", endpoint: str = "team", at: float = NOW) -> None:
    event = WebhookEvent(lifecycle_id(scan.id, "ended"), "scan_completed", an_event().severity, at, {}, scan)
    assert outbox.scans.end_scan(event, [Wanted(endpoint, name)], at)


def claimed(outbox: Outbox, *busy: Batch, queue: Limits = ALONE, at: float = NOW) -> Batch | None:
    return claim_one(outbox, queue, {delivery.id for batch in busy for delivery in batch.deliveries}, at)


def certain(batch: Batch | None) -> Batch:
    assert batch
    return batch


def types(batch: Batch | None) -> list[str]:
    return [one.event.type for one in batch.deliveries] if batch else []


def settle(outbox: Outbox, batch: Batch, state: State, counts: bool = True, due_at: float = NOW + 60) -> None:
    settlement = Settlement(state, "http_500", due_at, counts=counts)
    attempt = Attempt(NOW, 0.1, 500, "http_500", "", "schedule")
    outbox.queue.settle([Result(batch, attempt, [settlement] * len(batch.deliveries))])


def test_a_request_has_one_delivery_unless_it_is_configured(outbox: Outbox) -> None:
    find(outbox, ONE, 1, 2)
    assert Limits("team") == Limits("team", size=1, wait=0.0, max_bytes=100_000)
    assert types(outbox.queue.claim_batch(Limits("team"), (), NOW)) == ["high_risk_event"]


@pytest.mark.parametrize("name", ["scan_completed", "scan.completed"])
def test_an_end_waits_for_what_is_in_flight(name: str, outbox: Outbox) -> None:
    find(outbox, ONE, 1)
    end(outbox, ONE, name)
    first = certain(claimed(outbox))
    assert (types(first), claimed(outbox, first)) == (["high_risk_event"], None)
    settle(outbox, first, State.DELIVERED)
    assert types(claimed(outbox)) == ["scan_completed"]


def test_what_another_scan_has_in_flight_holds_up_no_end_and_other_scans_go_on(outbox: Outbox) -> None:
    find(outbox, ONE, 1)
    end(outbox, ONE)
    find(outbox, OTHER, 2)
    end(outbox, OTHER)
    first, second = certain(claimed(outbox)), None
    second = certain(claimed(outbox, first))
    assert (second.deliveries[0].event.scan or ONE).id == "OTHER", "not the end of the first scan"
    settle(outbox, second, State.DELIVERED)
    last = certain(claimed(outbox, first))
    assert (types(last), (last.deliveries[0].event.scan or ONE).id) == (["scan_completed"], "OTHER")


def test_what_another_endpoint_has_in_flight_holds_up_no_end(outbox: Outbox) -> None:
    siem = an_endpoint("siem", events=("all",))
    find(outbox, ONE, 1, endpoint=siem)
    end(outbox, ONE)
    busy = certain(claimed(outbox, queue=Limits("siem")))
    assert types(claimed(outbox, busy)) == ["scan_completed"]


def test_what_was_tried_and_waits_for_its_retry_holds_up_no_end(outbox: Outbox) -> None:
    find(outbox, ONE, 1)
    end(outbox, ONE)
    settle(outbox, certain(claimed(outbox)), State.WAITING)
    assert types(claimed(outbox)) == ["scan_completed"]


def test_a_retry_that_is_in_flight_holds_up_no_end(outbox: Outbox) -> None:
    find(outbox, ONE, 1)
    settle(outbox, certain(claimed(outbox)), State.WAITING, due_at=NOW)
    retry = certain(claimed(outbox))
    end(outbox, ONE)
    assert types(claimed(outbox, retry)) == ["scan_completed"]


def test_an_end_waits_for_what_is_in_flight_a_few_seconds_only(outbox: Outbox) -> None:
    find(outbox, ONE, 1)
    end(outbox, ONE)
    first = certain(claimed(outbox))
    assert claimed(outbox, first, at=NOW + END_SECONDS - 0.1) is None
    assert types(claimed(outbox, first, at=NOW + END_SECONDS)) == ["scan_completed"]


def test_an_end_is_not_a_probe_while_others_of_its_scan_wait_that_were_probes(outbox: Outbox) -> None:
    find(outbox, ONE, 1, 2)
    end(outbox, ONE)
    for at in (1, 2):
        probe = certain(claimed(outbox, at=NOW + at))
        settle(outbox, probe, State.WAITING, counts=False, due_at=NOW + at)
    order = []
    for _ in range(3):
        batch = certain(claimed(outbox, at=NOW + 1000))
        order += [one.sequence for one in batch.deliveries]
        settle(outbox, batch, State.DELIVERED)
    assert order == [1, 2, 3]


def test_an_end_waits_for_batches_in_flight_too(outbox: Outbox) -> None:
    queue = Limits("team", size=2)
    find(outbox, ONE, 1, 2, 3)
    end(outbox, ONE)
    first = certain(claimed(outbox, queue=queue))
    assert types(claimed(outbox, first, queue=queue)) == ["high_risk_event"]
    settle(outbox, first, State.DELIVERED)
    assert types(claimed(outbox, queue=queue)) == ["high_risk_event", "scan_completed"], (
        "in one request they are in order"
    )


def test_the_end_of_another_tools_scan_waits_for_nothing(outbox: Outbox) -> None:
    accept([an_event(1, scan=None)], Screen((TEAM,)), outbox, NOW)
    first = certain(claimed(outbox))
    outbox.accept([(an_event(2, scan=None, type="scan_completed"), [Wanted("team", "scan_completed")])], NOW)
    assert types(claimed(outbox, first)) == ["scan_completed"]


@pytest.mark.parametrize("is_blamed", [False, True])
def test_an_end_waits_for_a_batch_whose_process_ended(outbox: Outbox, is_blamed: bool) -> None:
    queue = Limits("team", size=2)
    find(outbox, ONE, 1, 2)
    end(outbox, ONE)
    lost = certain(claimed(outbox, queue=queue))
    if is_blamed:
        outbox.queue.blame(lost.id, NOW)
    else:
        outbox.queue.recall("team")
    again = certain(claimed(outbox, queue=queue))
    assert (again.id, len(again.deliveries)) == (lost.id, 2)
    assert claimed(outbox, again, queue=queue) is None
    settle(outbox, again, State.DELIVERED)
    assert types(claimed(outbox, queue=queue)) == ["scan_completed"]


@pytest.mark.sqlite("SQLite's steps")
def test_to_see_whether_an_end_has_to_wait_nothing_reads_the_backlog(outbox: Outbox) -> None:
    find(outbox, ONE, 1)
    queries = [re.sub(r"\?\d?", "'[]'", query) for query in (OVERTAKEN, FLYING)]
    plans = [[row[3] for row in sql(outbox, f"EXPLAIN QUERY PLAN {query}")] for query in queries]
    assert any("SEARCH d USING INDEX delivery_overtaken" in step for step in plans[0])
    assert "SEARCH d USING INTEGER PRIMARY KEY (rowid=?)" in plans[1]
    assert [step for plan in plans for step in plan if step.startswith(("SCAN d", "SCAN e"))] == []


def test_the_end_goes_as_soon_as_the_last_one_before_it_has_arrived(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, gate: Gate
) -> None:
    team.answer = gate
    find(outbox, ONE, 1, endpoint=endpoint)
    end(outbox, ONE, endpoint=endpoint.name)
    slow = threading.Thread(target=queue.step)
    slow.start()
    team.wait_for(1)
    assert queue.step() is False
    gate.open()
    slow.join(PATIENCE)
    assert queue.step()
    assert [received.message["event_type"] for received in team.got] == ["high_risk_event", "scan_completed"]


# --- other limits for replays and backfills


def test_replays_and_backfills_can_have_limits_of_their_own(outbox: Outbox) -> None:
    limits = Limits("team", late=Limits("team", size=3, wait=5.0))
    find(outbox, ONE, 1, 2)
    accept([an_event(number, scan=ONE) for number in range(3, 7)], Screen((TEAM,)), outbox, NOW + 1, backfilled=True)
    find(outbox, ONE, 7, at=NOW + 2)
    sizes = []
    for at in (2, 2, 2, 2, 5.9, 6, 6):
        batch = outbox.queue.claim_batch(limits, (), NOW + at)
        sizes.append(len(batch.deliveries) if batch else 0)
        if batch:
            settle(outbox, batch, State.DELIVERED)
    assert sizes == [1, 1, 3, 0, 0, 1, 1], "three fill a message, the fourth waits for others"


def test_a_replay_joins_only_replays(outbox: Outbox) -> None:
    limits = Limits("team", late=Limits("team", size=9))
    find(outbox, ONE, 1, 2, 3, 4)
    for _ in range(3):
        settle(outbox, certain(outbox.queue.claim_batch(limits, (), NOW)), State.DELIVERED)
    settle(outbox, certain(outbox.queue.claim_batch(limits, (), NOW)), State.WAITING, due_at=NOW)
    outbox.retention.replay(Selection(), NOW)
    found = [[one.sequence for one in certain(batch).deliveries] for batch in all_claimed(outbox, limits)]
    assert sorted(found) == [[1, 2, 3], [4]]


def all_claimed(outbox: Outbox, limits: Limits) -> list[Batch]:
    found: list[Batch] = []
    while batch := outbox.queue.claim_batch(limits, {one.id for old in found for one in old.deliveries}, NOW):
        found.append(batch)
    return found
