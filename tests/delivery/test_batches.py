"""Batches: several deliveries in one request, with members that stay the same over retries."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import replace
from typing import Callable

import pytest

from sfwebhooks.config.contradictions import formats_for
from sfwebhooks.delivery.send_queue import SendQueue
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Batch
from sfwebhooks.formats import render
from sfwebhooks.health import Condition
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.permissions import LOCKS
from sfwebhooks.outbox.selection import Selection
from sfwebhooks.pipeline import accept
from sfwebhooks.reasons import DeadReason
from sfwebhooks.receive.received import Received
from sfwebhooks.retry import SHORTAGE_SECONDS
from sfwebhooks.screening import Screen, Wanted
from tests.builders import NOW, PATIENCE, a_delivery, an_endpoint, an_event, claim_one
from tests.conftest import Clock, Gate, Result, Team, put, soon, spoil, sql
from tests.formats.bodies import messages
from tests.tiers import quick_first

STORES = ("sqlite", "postgres")

SIZE = 10
HOUR = 3600.0


@pytest.fixture
def endpoint(team: Team) -> Endpoint:
    return an_endpoint(url=team.url, timeout=PATIENCE, retry_schedule=(5.0, 60.0), batch_size=SIZE, batch_wait=2.0)


def go_on(queue: SendQueue, clock: Clock, attempts: int) -> None:
    """Make attempts, whatever they raise."""
    for _ in range(attempts):
        clock.now += 100
        with suppress(ValueError):
            queue.step()


def numbers(received: Received) -> list[int]:
    return [message["metadata"]["sequence"] for message in received.messages]


# --- what goes together


def test_a_full_batch_goes_at_once(outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team) -> None:
    put(outbox, endpoint, events=SIZE + 3)
    queue.step()
    assert [numbers(received) for received in team.got] == [list(range(1, SIZE + 1))]


def test_a_batch_that_is_not_full_waits(outbox: Outbox, queue: SendQueue, endpoint: Endpoint, clock: Clock) -> None:
    put(outbox, endpoint, events=3)
    clock.now += 1.9
    assert queue.step() is False


def test_a_batch_that_has_waited_goes_as_it_is(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock
) -> None:
    put(outbox, endpoint, events=3)
    clock.now += 2
    queue.step()
    assert numbers(team.got[0]) == [1, 2, 3]


def test_an_endpoint_that_is_held_while_it_was_sent_parts_of_a_batch_is_probed_with_one_of_them(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock
) -> None:
    """The parts that were not sent yet are no longer about to be, and nothing else waits."""
    team.answer = 401
    put(outbox, endpoint, events=8)
    queue.hurry()
    while queue.states[0].health.healthy:
        assert queue.step()
    before, team.answer, clock.now = len(team.got), 200, queue.states[0].health.open_at
    assert queue.step()
    assert len(team.got) == before + 1


def test_a_batch_does_not_wait_for_a_clock_that_was_set_back(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock
) -> None:
    put(outbox, endpoint, events=3)
    clock.now -= 3600
    assert queue.step()


def test_a_process_that_ends_does_not_wait_for_a_batch_to_fill(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team
) -> None:
    put(outbox, endpoint, events=3)
    queue.hurry()
    assert queue.step()


def test_a_batch_has_no_more_than_fits_and_a_larger_message_goes_alone(
    outbox: Outbox, team: Team, clock: Clock, new_queue: Callable[..., SendQueue]
) -> None:
    endpoint = an_endpoint(url=team.url, batch_size=100, batch_max_bytes=20_000, max_body=10**6)
    sizes = [3000, 3000, "\N{PILE OF POO}" * 3000, 3000, 15_000, 60_000, *[10] * 30]
    events = [
        an_event(number, scan=None, data={"data": "x" * size if isinstance(size, int) else size})
        for number, size in enumerate(sizes)
    ]
    accept(events, Screen((endpoint,)), outbox, NOW)
    clock.now += 2
    queue = new_queue(endpoint)
    while queue.step():
        pass
    assert [len(numbers(received)) for received in team.got] == [3, 2, 1, 29, 1]
    assert all(len(received.body) < 20_000 for received in team.got if len(received.messages) > 1)
    assert outbox.scans.tallies() == {"waiting": 0, "delivered": len(sizes), "dead": 0}


def test_all_members_are_settled_together(outbox: Outbox, queue: SendQueue, endpoint: Endpoint) -> None:
    put(outbox, endpoint, events=SIZE)
    queue.step()
    assert outbox.scans.tallies() == {"waiting": 0, "delivered": SIZE, "dead": 0}


# --- what goes out


def test_a_batch_is_signed_under_an_id_of_its_own(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team
) -> None:
    put(outbox, endpoint, events=SIZE)
    queue.step()
    ids = [message["metadata"]["delivery_id"] for message in team.got[0].messages]
    assert (team.ids[0] in ids, team.got[0].headers["X-SpiderFoot-Event"]) == (False, "batch")


def test_a_batch_of_one_goes_out_under_the_id_of_its_delivery(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team
) -> None:
    put(outbox, endpoint)
    queue.hurry()
    queue.step()
    assert team.ids == [message["metadata"]["delivery_id"] for message in team.got[0].messages]


def test_a_batch_by_the_security_audit_guide_is_an_array_of_its_envelopes(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, new_queue: Callable[..., SendQueue]
) -> None:
    queue.stop(soon())
    audit = replace(endpoint, format="security-audit")
    put(outbox, audit, events=SIZE)
    new_queue(audit).step()
    names = [message["event_type"] for message in team.got[0].messages]
    assert (team.got[0].headers["X-Security-Event"], names) == ("batch", ["finding.high"] * SIZE)


@pytest.mark.parametrize("name", formats_for("batch_size"))
def test_a_batch_has_what_the_single_messages_have(name: str) -> None:
    single = an_endpoint(format=name)
    together = replace(single, batch_size=2)
    deliveries = tuple(a_delivery(an_event(number)) for number in (1, 2))
    alone = [message for delivery in deliveries for message in messages(render(Batch((delivery,)), single))]
    assert messages(render(Batch(deliveries), together)) == alone


def test_what_is_backfilled_does_not_go_in_one_request_with_what_is_live(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team
) -> None:
    accept([an_event(number) for number in (1, 2)], Screen((endpoint,)), outbox, NOW, backfilled=True)
    put(outbox, endpoint, start=3)
    queue.hurry()
    while queue.step():
        pass
    marked = [("X-SpiderFoot-Replay" in received.headers, numbers(received)) for received in team.got]
    assert marked == [(True, [1, 2]), (False, [3])]


def test_nor_does_it_at_a_retry(outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock) -> None:
    accept([an_event(1)], Screen((endpoint,)), outbox, NOW, backfilled=True)
    put(outbox, endpoint, start=2)
    sql(outbox, f"UPDATE delivery SET attempts = 1, due_at = {NOW}")
    queue.step()
    queue.step()
    assert [numbers(received) for received in team.got] == [[1], [2]]


# --- retries


def test_a_retry_has_the_same_members_the_same_bytes_and_the_same_id(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock
) -> None:
    team.answer = 503
    put(outbox, endpoint, events=SIZE)
    queue.step()
    put(outbox, endpoint, start=SIZE + 1, events=3)
    clock.now += 60
    while queue.step():
        pass
    first, others = team.got[0], team.got[1:]
    again = [other for other in others if other.headers["webhook-id"] == first.headers["webhook-id"]]
    assert [other.body for other in again] == [first.body]


def test_the_members_stay_the_same_in_another_process(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock, new_queue: Callable[..., SendQueue]
) -> None:
    team.answer = 503
    put(outbox, endpoint, events=SIZE)
    queue.step()
    queue.stop(0.0)
    clock.now += 60
    new_queue(endpoint).step()
    assert team.got[0].body == team.got[1].body


def test_a_batch_in_flight_is_not_claimed_twice(outbox: Outbox, endpoint: Endpoint, queue: SendQueue) -> None:
    put(outbox, endpoint, events=2 * SIZE)
    limits = queue.states[0].limits
    first = claim_one(outbox, limits, (), NOW)
    assert first
    busy = [delivery.id for delivery in first.deliveries]
    second = claim_one(outbox, limits, busy, NOW)
    assert second and not set(busy) & {delivery.id for delivery in second.deliveries}
    assert claim_one(outbox, limits, [*busy, *(delivery.id for delivery in second.deliveries)], NOW) is None


def test_a_batch_whose_sender_died_goes_out_again_with_the_same_members(
    outbox: Outbox, endpoint: Endpoint, queue: SendQueue, team: Team
) -> None:
    put(outbox, endpoint, events=SIZE - 3)
    died = claim_one(outbox, replace(queue.states[0].limits, wait=0.0), (), NOW)
    assert died
    put(outbox, endpoint, start=SIZE, events=SIZE)
    while queue.step():
        pass
    again = next(received for received in team.got if received.headers["webhook-id"] == died.id)
    assert numbers(again) == list(range(1, SIZE - 2))


def test_a_batch_whose_sender_died_stays_together_in_a_process_without_memory(
    outbox: Outbox,
    endpoint: Endpoint,
    team: Team,
    clock: Clock,
    new_queue: Callable[..., SendQueue],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none(*args: object) -> None:
        raise MemoryError

    put(outbox, endpoint, events=SIZE)
    other = new_queue(endpoint)
    died = claim_one(outbox, other.states[0].limits, (), NOW)
    assert died
    with monkeypatch.context() as patch:
        patch.setattr("ssl.SSLContext", none)
        assert other.step()
    clock.now += SHORTAGE_SECONDS
    assert other.step()
    assert team.ids == [died.id]


@pytest.mark.sqlite("files of locks are removed")
def test_a_half_that_was_in_flight_when_its_sender_died_comes_again_as_it_was(
    outbox: Outbox, endpoint: Endpoint, team: Team, clock: Clock, new_queue: Callable[..., SendQueue], gate: Gate
) -> None:
    put(outbox, endpoint, events=SIZE)
    team.answer = 403
    first = new_queue(endpoint)
    assert first.step()
    team.answer = gate
    sending = threading.Thread(target=first.step)
    sending.start()
    team.wait_for(2)  # its first half; the process is killed before it hears of it
    outbox.queue.settle((), {endpoint.name: replace(first.states[0].health, condition=Condition.HELD, open_at=0.0)})
    for lock in outbox.path.with_suffix(LOCKS).iterdir():
        lock.unlink()
    team.answer = 200
    second = new_queue(endpoint)
    while second.step():
        pass
    gate.open()
    sending.join(PATIENCE)
    halves = {received.headers["webhook-id"]: numbers(received) for received in team.got[1:]}
    assert sorted(halves.values()) == [[1, 2, 3, 4, 5], [6, 7, 8, 9, 10]]


def test_a_batch_of_one_whose_sender_died_does_not_come_again_within_others(
    outbox: Outbox, endpoint: Endpoint, queue: SendQueue, team: Team
) -> None:
    put(outbox, endpoint)
    died = claim_one(outbox, replace(queue.states[0].limits, wait=0.0), (), NOW)
    assert died
    put(outbox, endpoint, start=2, events=SIZE)
    while queue.step():
        pass
    assert [numbers(received) for received in team.got if 1 in numbers(received)] == [[1]]
    assert died.id in team.ids


def test_nothing_is_left_of_a_batch_that_is_settled(outbox: Outbox, queue: SendQueue, endpoint: Endpoint) -> None:
    put(outbox, endpoint, events=SIZE)
    queue.step()
    assert sql(outbox, "SELECT count(*) FROM frozen") == [(0,)]


# --- what is refused


def refusing(*bad: int) -> Callable[[Received], int]:
    """Return an answer that refuses what has one of these numbers in it."""
    return lambda received: 400 if set(bad) & set(numbers(received)) else 200


@pytest.mark.parametrize("bad", [(1,), (7,), (10,), (2, 3), (1, 5, 10)])
def test_only_the_messages_that_are_meant_are_dead(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock, bad: tuple[int, ...]
) -> None:
    team.answer = refusing(*bad)
    put(outbox, endpoint, events=SIZE)
    while queue.step():
        pass
    assert sql(outbox, "SELECT sequence FROM delivery WHERE state = 'waiting'") == [(number,) for number in bad]
    assert outbox.scans.tallies()["delivered"] == SIZE - len(bad)
    for _ in range(2):
        clock.now += 400
        while queue.step():
            pass
    assert sql(outbox, "SELECT sequence FROM delivery WHERE state = 'dead'") == [(number,) for number in bad]


@pytest.mark.parametrize("bad", quick_first([(1, 5, 10), (1,), (7,), (10,), (2, 3)], 1))
@pytest.mark.parametrize("answer", quick_first([500, 503]))
def test_only_the_messages_that_fail_always_are_dead_when_retries_run_out(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock, bad: tuple[int, ...], answer: int
) -> None:
    team.answer = lambda received: answer if set(bad) & set(numbers(received)) else 200
    put(outbox, endpoint, events=SIZE)
    for start in range(SIZE + 1, SIZE + 400, SIZE):  # other batches are taken meanwhile
        while queue.step():
            pass
        clock.now += 100
        put(outbox, endpoint, start=start, events=SIZE)
    while queue.step():
        pass
    assert sql(outbox, "SELECT sequence FROM delivery WHERE state = 'dead'") == [(number,) for number in bad]
    assert outbox.scans.tallies()["waiting"] == 0


def test_a_receiver_that_refuses_all_batches_is_held_after_a_few_requests(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team
) -> None:
    """The halves go on at once, the smallest first: soon single messages are refused, of which three hold it."""
    team.answer = 401
    put(outbox, endpoint, events=20 * SIZE)
    while queue.step():
        pass
    assert queue.states[0].health.condition is Condition.HELD
    assert (len(team.got) < 12, outbox.scans.tallies()["dead"]) == (True, 0)


def test_the_halves_of_a_refused_batch_go_before_fresh_ones(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team
) -> None:
    team.answer = refusing(1)
    put(outbox, endpoint, events=2 * SIZE)
    while queue.step():
        pass
    assert numbers(team.got[-1]) == list(range(SIZE + 1, 2 * SIZE + 1))


def test_halves_that_a_process_left_behind_go_out_in_the_next_one(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, new_queue: Callable[..., SendQueue]
) -> None:
    team.answer = refusing(1)
    put(outbox, endpoint, events=SIZE)
    queue.step()
    queue.stop(soon())
    later = new_queue(endpoint)
    while later.step():
        pass
    assert outbox.scans.tallies() == {"waiting": 1, "delivered": SIZE - 1, "dead": 0}


def test_a_batch_has_no_more_characters_than_it_may(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team
) -> None:
    for number in range(1, SIZE + 1):
        event = an_event(number, data={"data": "x" * 30_000})
        outbox.accept([(event, [Wanted("team", "high_risk_event")])], NOW)
    queue.hurry()
    while queue.step():
        pass
    assert [len(one.messages) for one in team.got] == [3, 3, 3, 1]


def test_a_single_message_of_any_size_goes_alone(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team
) -> None:
    for number, size in ((1, 10), (2, 300_000), (3, 10)):
        event = an_event(number, data={"data": "x" * size})
        outbox.accept([(event, [Wanted("team", "high_risk_event")])], NOW)
    queue.hurry()
    while queue.step():
        pass
    assert [numbers(one) for one in team.got] == [[1], [2], [3]]


def test_a_batch_that_is_too_large_goes_in_halves(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team
) -> None:
    team.answer = lambda received: 413 if len(received.messages) > 3 else 200
    put(outbox, endpoint, events=SIZE)
    while queue.step():
        pass
    assert sorted(len(one.messages) for one in team.got) == [2, 2, 3, 3, 5, 5, 10]


def test_each_half_has_an_id_of_its_own(outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team) -> None:
    team.answer = refusing(1)
    put(outbox, endpoint, events=SIZE)
    while queue.step():
        pass
    assert len(team.ids) == len(set(team.ids))


def test_a_refusal_uses_up_no_retry_of_the_others(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team
) -> None:
    team.answer = refusing(1)
    put(outbox, endpoint, events=SIZE)
    while queue.step():
        pass
    assert {row[0] for row in sql(outbox, "SELECT attempts FROM delivery WHERE state = 'delivered'")} == {1}


def test_a_batch_is_too_old_when_all_of_it_is(outbox: Outbox, endpoint: Endpoint, queue: SendQueue, team: Team) -> None:
    team.answer = 503
    put(outbox, endpoint, events=SIZE - 1)
    outbox.accept([(an_event(99), [Wanted("team", "high_risk_event")])], NOW + 60)
    queue.hurry()
    queue.step()
    records = Outbox(outbox.place)
    assert records.retention.expire("team", DeadReason.EXPIRED, HOUR, NOW + HOUR + 1) == 0
    assert records.retention.expire("team", DeadReason.EXPIRED, HOUR, NOW + HOUR + 61) == SIZE
    records.close()


def test_a_replay_does_not_share_a_batch_with_what_was_never_delivered(
    outbox: Outbox, endpoint: Endpoint, queue: SendQueue, team: Team, clock: Clock
) -> None:
    put(outbox, endpoint, events=2)
    queue.hurry()
    queue.step()
    team.answer = 503
    put(outbox, endpoint, start=3, events=2)
    queue.step()
    sql(outbox, "UPDATE delivery SET batch = NULL WHERE state = 'waiting'")  # as after its making killed two senders
    team.answer = 200
    records = Outbox(outbox.place)
    records.retention.replay(Selection(endpoint="team"), clock.now)
    records.close()
    clock.now += 60
    while queue.step():
        pass
    marked = [("X-SpiderFoot-Replay" in received.headers, numbers(received)) for received in team.got[2:]]
    assert sorted(marked) == [(False, [3, 4]), (True, [1, 2])]


# --- poison


def test_a_member_that_cannot_be_made_does_not_take_the_others_with_it(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock
) -> None:
    put(outbox, endpoint, events=SIZE - 1)
    outbox.accept([(an_event(99), [Wanted("team", "high_risk_event")])], NOW)
    spoil(outbox, 99)
    queue.hurry()
    go_on(queue, clock, SIZE + 10)
    assert sql(outbox, "SELECT reason, count(*) FROM delivery GROUP BY reason ORDER BY min(state)") == [
        ("crashed_sender", 1),
        ("http_200", SIZE - 1),
    ]


@pytest.mark.parametrize(("kills", "sizes"), [(1, [SIZE]), (2, [1] * SIZE)])
def test_a_batch_keeps_its_members_and_id_until_its_making_killed_a_second_process(
    outbox: Outbox, endpoint: Endpoint, queue: SendQueue, team: Team, clock: Clock, kills: int, sizes: list[int]
) -> None:
    put(outbox, endpoint, events=SIZE)
    died = claim_one(outbox, queue.states[0].limits, (), NOW)
    assert died
    for _ in range(kills):
        outbox.queue.blame(died.id, NOW)
    clock.now += 60
    queue.hurry()
    while queue.step():
        pass
    assert [len(numbers(received)) for received in team.got] == sizes
    assert (died.id in team.ids) == (kills == 1)


def test_a_delivery_whose_rendering_killed_a_process_shows_that_once_it_is_delivered(
    outbox: Outbox, endpoint: Endpoint, queue: SendQueue, clock: Clock
) -> None:
    put(outbox, endpoint, events=SIZE)
    died = claim_one(outbox, queue.states[0].limits, (), NOW)
    assert died
    outbox.queue.blame(died.id, NOW)
    clock.now += 5
    queue.step()
    assert sql(outbox, "SELECT DISTINCT state, crashes FROM delivery") == [("delivered", 1)]


def test_a_batch_of_one_that_killed_a_process_has_done_so_once(
    outbox: Outbox, endpoint: Endpoint, queue: SendQueue
) -> None:
    put(outbox, endpoint)
    died = claim_one(outbox, queue.states[0].limits, (), NOW + 60)
    assert died
    outbox.queue.blame(died.id, NOW)
    assert sql(outbox, "SELECT crashes FROM delivery") == [(1,)]


@pytest.mark.parametrize("bad", [1, 5, 6, 10])
def test_of_the_pieces_of_a_batch_the_smallest_goes_first(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, bad: int
) -> None:
    """It finds the refused message soonest."""
    team.answer = refusing(bad)
    put(outbox, endpoint, events=SIZE)
    while queue.step():
        pass
    pieces: list[list[int]] = []
    for one in (numbers(received) for received in team.got):
        assert not pieces or len(one) == min(map(len, pieces)), one
        pieces = [piece for piece in pieces if piece != one]
        if bad in one and len(one) > 1:
            half = (len(one) + 1) // 2
            pieces += [one[:half], one[half:]]
    assert not pieces


def test_pieces_that_are_forgotten_can_be_claimed_again(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team
) -> None:
    team.answer = refusing(1)
    put(outbox, endpoint, events=SIZE)
    queue.step()
    assert (len(queue.states[0].pieces), len(queue._flight.ids)) == (2, SIZE)
    queue._forget(queue.states[0])
    assert (queue.states[0].pieces, queue._flight.ids) == ([], set())


def test_a_half_of_which_an_operator_deletes_a_part_is_sent_without_it(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, cli: Callable[..., Result]
) -> None:
    team.answer = refusing(1)
    put(outbox, endpoint, events=SIZE)
    queue.step()
    ids = [row[0] for row in sql(outbox, "SELECT id FROM delivery WHERE sequence IN (1, 2, 3, 4, 5, 7)")]
    assert cli("drop", "--state", "waiting", *ids).code == 0
    while queue.step():
        pass
    assert [numbers(one) for one in team.got[1:]] == [[6, 8, 9, 10]]
    assert (outbox.scans.tallies(), queue._flight.ids) == ({"waiting": 0, "delivered": 4, "dead": 6}, set())


def test_what_is_left_of_a_batch_that_cannot_be_made_does_not_hold_up_the_others(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, team: Team, clock: Clock
) -> None:
    """One of its members was dropped since, so that it has another id."""
    put(outbox, endpoint, events=SIZE - 1)
    team.answer = 503
    queue.hurry()
    queue.step()
    (last, *_) = outbox.listing.ids(Selection(), SIZE)
    outbox.retention.end(Selection(ids=(last,)), NOW)
    spoil(outbox, 1)
    team.answer = 200
    go_on(queue, clock, SIZE + 10)
    assert sql(outbox, "SELECT reason, count(*) FROM delivery GROUP BY reason ORDER BY reason") == [
        ("crashed_sender", 1),
        ("dropped", 1),
        ("http_200", SIZE - 3),
    ]


def test_a_batch_of_one_whose_event_has_a_damaged_id_does_not_hold_up_the_others(
    outbox: Outbox, queue: SendQueue, endpoint: Endpoint, clock: Clock
) -> None:
    put(outbox, endpoint, events=3)
    sql(outbox, "UPDATE event SET id = 'text' WHERE number = 1")
    queue.hurry()
    go_on(queue, clock, 10)
    assert sql(outbox, "SELECT reason FROM delivery ORDER BY number") == [
        ("crashed_sender",),
        ("http_200",),
        ("http_200",),
    ]
