"""Which deliveries are claimed together, which one is picked as a probe, and what a result changes."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from types import SimpleNamespace

import pytest

from sfwebhooks.attempts import Attempt
from sfwebhooks.events import Batch, Delivery
from sfwebhooks.outbox.claim import SMALLEST_OF, Limits, Pick
from sfwebhooks.outbox.fresh_parts import PARTS_SECONDS
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.permissions import real_path
from sfwebhooks.outbox.queue import CRASH_SECONDS, CRASHES_MAX
from sfwebhooks.outbox.results import Result
from sfwebhooks.outbox.selection import Selection
from sfwebhooks.outbox.sequence_numbers import HighWaterMark
from sfwebhooks.retry import Settlement, State
from sfwebhooks.screening import Wanted
from tests.builders import NOW, a_scan, an_endpoint, an_event
from tests.conftest import put, sql
from tests.filled import put_event

STORES = ("sqlite", "postgres")

TEAM = an_endpoint(events=("all",))
THREE = Limits("team", size=3, wait=2.0)


def numbers(batch: Batch | None) -> list[int]:
    return [one.sequence for one in batch.deliveries] if batch else []


def batch_of(outbox: Outbox, limits: Limits = THREE, *busy: Batch, at: float = NOW) -> Batch | None:
    return outbox.queue.claim_batch(limits, {one.id for batch in busy for one in batch.deliveries}, at)


def settle(outbox: Outbox, request: Batch | None, state: State, due_at: float = NOW + 60, **changes: object) -> None:
    assert request
    settlement = Settlement(state, "http_500", due_at, **{"counts": True, **changes})  # type: ignore[arg-type]
    attempt = Attempt(NOW, 0.1, 500, "http_500", "", "schedule")
    outbox.queue.settle([Result(request, attempt, [settlement] * len(request.deliveries))])


# --- single ones


def test_several_are_claimed_in_order_and_none_that_is_in_flight(outbox: Outbox) -> None:
    put(outbox, TEAM, events=5)
    first = outbox.queue.claim("team", (), NOW, 2)
    assert [numbers(one) for one in first] == [[1], [2]]
    busy = {one.id for batch in first for one in batch.deliveries}
    assert [numbers(one) for one in outbox.queue.claim("team", busy, NOW, 9)] == [[3], [4], [5]]
    assert outbox.queue.claim("another", (), NOW, 9) == []


def test_late_ones_are_claimed_when_they_are_due_and_no_fresh_one_waits(outbox: Outbox) -> None:
    put(outbox, TEAM, events=2)
    for due_at in (NOW + 60, NOW + 30):
        settle(outbox, outbox.queue.claim("team", (), NOW)[0], State.WAITING, due_at)
    assert outbox.queue.claim("team", (), NOW + 29.9, 9) == []
    assert [numbers(one) for one in outbox.queue.claim("team", (), NOW + 30, 9)] == [[2]]
    assert [numbers(one) for one in outbox.queue.claim("team", (), NOW + 60, 9)] == [[2], [1]], "by their due times"
    put(outbox, TEAM, start=3)
    assert [numbers(one) for one in outbox.queue.claim("team", (), NOW + 60, 9)] == [[3]]


@pytest.mark.sqlite("the file's high-water mark")
@pytest.mark.parametrize("size", [1, 2])
def test_the_mark_covers_all_that_is_claimed(outbox: Outbox, size: int) -> None:
    mark = HighWaterMark(real_path(outbox.path))
    for number in (1, 2):
        put(outbox, TEAM, start=number)
        assert outbox.queue.claim("team", (), NOW, 9) if size == 1 else batch_of(outbox, Limits("team", size=number))
        position = mark.read()
        assert position and position.rows == number


def test_a_scans_end_is_claimed_before_others_or_later(outbox: Outbox) -> None:
    for number, kind in ((1, "high_risk_event"), (2, "scan_completed"), (3, "high_risk_event")):
        outbox.accept([(an_event(number, type=kind, scan=a_scan(f"SCAN{number}")), [Wanted("team", kind)])], NOW)

    def claimed(*busy: Batch) -> list[str]:
        busy_ids = {one.id for batch in busy for one in batch.deliveries}
        return [one.deliveries[0].event.id for one in outbox.queue.claim("team", busy_ids, NOW, 9)]

    assert claimed() == [an_event(1, scan=a_scan("SCAN1")).id]
    (first,) = outbox.queue.claim("team", (), NOW, 9)
    assert claimed(first) == [an_event(number, scan=a_scan(f"SCAN{number}")).id for number in (2, 3)]


# --- together


def test_a_batch_goes_when_it_is_full(outbox: Outbox) -> None:
    put(outbox, TEAM, events=2)
    assert batch_of(outbox) is None
    put(outbox, TEAM, start=3, events=2)
    assert numbers(batch_of(outbox)) == [1, 2, 3]


@pytest.mark.parametrize(("waited", "goes"), [(0.0, False), (1.99, False), (2.0, True), (-1.0, True)])
def test_or_when_its_first_one_has_waited(outbox: Outbox, waited: float, goes: bool) -> None:
    """One from the future was accepted before the clock was set back: it does not wait for that time."""
    put(outbox, TEAM, events=2)
    assert numbers(batch_of(outbox, at=NOW + waited)) == ([1, 2] if goes else [])


def test_it_has_as_many_as_fit_and_at_least_one(outbox: Outbox) -> None:
    def measure(delivery: Delivery) -> int:
        return 40 if delivery.sequence < 3 else 500

    put(outbox, TEAM, events=4)
    limits = Limits("team", size=4, max_bytes=100, measure=measure)
    first = batch_of(outbox, limits)
    assert numbers(first) == [1, 2]
    settle(outbox, first, State.DELIVERED)
    assert numbers(batch_of(outbox, limits, at=NOW + 9)) == [3]
    assert numbers(batch_of(outbox, Limits("team", size=4, max_bytes=1000, measure=measure), at=NOW + 9)) == [3, 4]
    assert numbers(batch_of(outbox, Limits("team", size=4, max_bytes=999, measure=measure), at=NOW + 9)) == [3]


def test_more_than_are_read_at_once_are_one_batch(outbox: Outbox) -> None:
    put(outbox, TEAM, events=120)
    assert numbers(batch_of(outbox, Limits("team", size=110))) == list(range(1, 111))


def test_a_batch_that_failed_comes_again_as_it_was(outbox: Outbox) -> None:
    put(outbox, TEAM, events=5)
    first = batch_of(outbox)
    assert first
    settle(outbox, first, State.WAITING, NOW + 5, batch=first.id)
    rest = batch_of(outbox, at=NOW + 5)
    assert numbers(rest) == [4, 5], "fresh ones first"
    settle(outbox, rest, State.DELIVERED)
    again = batch_of(outbox, at=NOW + 5)
    assert again and (again.id, numbers(again)) == (first.id, [1, 2, 3])
    assert batch_of(outbox, at=NOW + 4.9) is None


@pytest.mark.parametrize("size", [2, 3])
def test_a_batch_that_was_in_flight_when_its_process_ended_comes_again_as_it_was(outbox: Outbox, size: int) -> None:
    put(outbox, TEAM, events=size)
    lost = batch_of(outbox, Limits("team", size=size))
    put(outbox, TEAM, start=size + 1, events=5)
    outbox.queue.recall("team")
    settle(outbox, batch_of(outbox, Limits("team", size=9)), State.DELIVERED)
    again = batch_of(outbox, Limits("team", size=9))
    assert lost and again and (again.id, numbers(again)) == (lost.id, numbers(lost))


def test_what_is_settled_is_no_longer_recorded_as_in_flight(outbox: Outbox) -> None:
    put(outbox, TEAM, events=3)
    first = batch_of(outbox)
    assert sql(outbox, "SELECT count(*) FROM frozen") == [(1,)]
    settle(outbox, first, State.DELIVERED)
    assert sql(outbox, "SELECT count(*) FROM frozen") == [(0,)]


def test_one_that_goes_alone_is_not_recorded_as_in_flight(outbox: Outbox) -> None:
    put(outbox, TEAM)
    assert outbox.queue.pick(Limits("team"), (), Pick.OLDEST, fresh=True)
    assert sql(outbox, "SELECT count(*) FROM frozen") == [(0,)]


def test_where_nothing_was_in_flight_a_sender_starts_while_others_write(outbox: Outbox) -> None:
    put(outbox, TEAM)
    with closing(Outbox(outbox.place)) as other, other.database.writing():
        outbox.queue.recall("team")


def test_late_ones_of_no_batch_go_together_but_not_with_replays(outbox: Outbox) -> None:
    put(outbox, TEAM, events=4)
    for _ in range(4):
        settle(outbox, outbox.queue.claim("team", (), NOW)[0], State.WAITING, NOW + 5)
    sql(outbox, "UPDATE delivery SET replays = 1 WHERE sequence IN (1, 3)")
    limits = Limits("team", size=9)
    first = batch_of(outbox, limits, at=NOW + 5)
    assert numbers(first) in ([1, 3], [2, 4])
    assert first
    other = batch_of(outbox, limits, first, at=NOW + 5)
    assert sorted(numbers(first) + numbers(other)) == [1, 2, 3, 4]
    assert batch_of(outbox, limits, at=NOW + 4) is None


# --- one whose building crashed a process


def test_one_that_crashed_its_process_twice_goes_alone_later_and_is_dead_after_the_third_time(outbox: Outbox) -> None:
    put(outbox, TEAM, events=3)
    first = batch_of(outbox)
    assert first
    assert outbox.queue.blame(first.id, NOW) == []
    again = batch_of(outbox)
    assert again and (again.id, numbers(again)) == (first.id, [1, 2, 3]), "the first time may be chance"
    assert outbox.queue.blame(first.id, NOW) == []
    assert batch_of(outbox, at=NOW + CRASH_SECONDS - 1) is None
    for place in range(3):
        alone = batch_of(outbox, at=NOW + CRASH_SECONDS)
        assert alone and len(alone.deliveries) == 1
        assert outbox.queue.blame(alone.id, NOW + place) == ["team"]
    assert set(sql(outbox, "SELECT state, reason, crashes FROM delivery")) == {("dead", "crashed_sender", CRASHES_MAX)}


def test_one_that_crashed_its_process_goes_in_no_request_with_others(outbox: Outbox) -> None:
    put(outbox, TEAM, events=3)
    for due_at in (1, 2, 3):
        settle(outbox, outbox.queue.claim("team", (), NOW)[0], State.WAITING, NOW + due_at)
    sql(outbox, "UPDATE delivery SET crashes = 2 WHERE sequence = 2")
    claimed: list[Batch] = []
    while batch := batch_of(outbox, THREE, *claimed, at=NOW + 9):
        claimed.append(batch)
    assert [numbers(batch) for batch in claimed] == [[1], [2], [3]]


# --- picked ones


def put_end(outbox: Outbox, number: int) -> None:
    outbox.accept([(an_event(number, type="scan_completed"), [Wanted("team", "scan_completed")])], NOW)


def test_a_scans_end_is_picked_only_if_nothing_else_waits(outbox: Outbox) -> None:
    put(outbox, TEAM)
    settle(outbox, outbox.queue.claim("team", (), NOW)[0], State.WAITING)
    put_end(outbox, 2)
    put_end(outbox, 3)
    assert numbers(outbox.queue.pick(Limits("team"), (), Pick.OLDEST, fresh=False)) == [1]
    assert numbers(outbox.queue.pick(Limits("team"), (), Pick.OLDEST, fresh=True)) == [2]
    put(outbox, TEAM, start=4)
    assert numbers(outbox.queue.pick(Limits("team"), (), Pick.OLDEST, fresh=True)) == [4]


def test_one_that_was_a_probe_is_the_newest_of_the_fresh_ones(outbox: Outbox) -> None:
    put(outbox, TEAM, events=3)
    settle(outbox, outbox.queue.claim("team", (), NOW)[0], State.WAITING, NOW + 60, counts=False)
    assert numbers(outbox.queue.pick(Limits("team"), (), Pick.OLDEST, fresh=True)) == [2]
    assert numbers(outbox.queue.pick(Limits("team"), (), Pick.NEWEST, fresh=True)) == [1]


def test_among_late_ones_the_first_accepted_is_the_oldest(outbox: Outbox) -> None:
    put(outbox, TEAM, events=2)
    for due_at in (60, 30):
        settle(outbox, outbox.queue.claim("team", (), NOW)[0], State.WAITING, NOW + due_at)
    assert numbers(outbox.queue.pick(Limits("team"), (), Pick.OLDEST, fresh=False)) == [1]


def test_of_several_the_smallest_is_picked_from_both_ends(outbox: Outbox) -> None:
    sizes = [9, *[50] * SMALLEST_OF, *[50] * SMALLEST_OF, 5]
    outbox.accept(
        [
            (an_event(at, data={"data": "x" * size}), [Wanted("team", "high_risk_event")])
            for at, size in enumerate(sizes)
        ],
        NOW,
    )
    alone = Limits("team")
    last = outbox.queue.pick(alone, (), Pick.SMALLEST, fresh=True)
    assert numbers(last) == [len(sizes)]
    assert last and numbers(outbox.queue.pick(alone, {last.id}, Pick.SMALLEST, fresh=True)) == [1]


def test_the_oldest_newest_or_smallest_is_picked(outbox: Outbox) -> None:
    for number, size in ((1, 50), (2, 5), (3, 90)):
        outbox.accept(
            [(an_event(number, data={"data": "x" * size}), [Wanted("team", "high_risk_event")])], NOW + number
        )
    alone = Limits("team")
    found = {pick: numbers(outbox.queue.pick(alone, (), pick, fresh=False)) for pick in Pick}
    assert found == {Pick.OLDEST: [1], Pick.NEWEST: [3], Pick.SMALLEST: [2]}
    busy = outbox.queue.claim("team", (), NOW + 9)[0].id
    assert numbers(outbox.queue.pick(alone, {busy}, Pick.OLDEST, fresh=False)) == [2]
    assert outbox.queue.pick(Limits("another"), (), Pick.OLDEST, fresh=False) is None


def test_one_that_was_refused_is_picked_last_and_where_fresh_ones_are_wanted_not_at_all(outbox: Outbox) -> None:
    put(outbox, TEAM, events=3)
    settle(outbox, outbox.queue.claim("team", (), NOW)[0], State.WAITING, counts=False, refused=True)
    settle(outbox, outbox.queue.claim("team", (), NOW)[0], State.WAITING)
    alone = Limits("team")

    def order(fresh: bool) -> list[list[int]]:
        found, busy = list[list[int]](), set[str]()
        while (batch := outbox.queue.pick(alone, busy, Pick.OLDEST, fresh)) is not None:
            found.append(numbers(batch))
            busy.add(batch.id)
        return found

    assert order(fresh=True) == [[3]]
    assert order(fresh=False) == [[3], [2], [1]]


def test_of_a_batch_all_are_picked(outbox: Outbox) -> None:
    put(outbox, TEAM, events=3)
    first = batch_of(outbox)
    assert first
    settle(outbox, first, State.WAITING, NOW + 5, batch=first.id)
    again = outbox.queue.pick(THREE, (), Pick.NEWEST, fresh=False)
    assert again and (again.id, numbers(again)) == (first.id, [1, 2, 3])
    assert outbox.queue.pick(THREE, (), Pick.NEWEST, fresh=True) is None


# --- results


def test_a_result_of_a_file_that_is_gone_does_not_hold_up_the_next_one(outbox: Outbox) -> None:
    put(outbox, TEAM, events=2)
    gone, there = outbox.queue.claim("team", (), NOW, 2)
    attempt, delivered = Attempt(NOW, 0.1, 200, "http_200", "ok"), [Settlement(State.DELIVERED, "http_200", 0.0, True)]
    former = Batch((replace(gone.deliveries[0], series="of the former file"),))
    results = [Result(former, attempt, delivered), Result(there, attempt, delivered)]
    outbox.queue.settle(results)
    assert sql(outbox, "SELECT state FROM delivery ORDER BY number") == [("waiting",), ("delivered",)]


def test_a_result_changes_what_it_says(outbox: Outbox) -> None:
    put(outbox, TEAM)
    (batch,) = outbox.queue.claim("team", (), NOW)
    columns = "SELECT state, reason, due_at, attempts, refusals, settled_at FROM delivery"
    settle(outbox, batch, State.WAITING, NOW + 5)
    assert sql(outbox, columns) == [("waiting", "http_500", NOW + 5, 1, 0, None)]
    settle(outbox, batch, State.WAITING, NOW + 6, counts=False, refused=True)
    assert sql(outbox, columns) == [("waiting", "http_500", NOW + 6, 1, 1, None)]
    settle(outbox, batch, State.DEAD)
    ((state, _, _, attempts, refusals, settled_at),) = sql(outbox, columns)
    assert (state, attempts, refusals) == ("dead", 2, 1)
    assert settled_at == pytest.approx(NOW + 0.1)
    settle(outbox, batch, State.DELIVERED)
    assert sql(outbox, "SELECT state FROM delivery") == [("delivered",)], "it was in flight while it was dropped"
    assert outbox.retention.replay(Selection(), NOW + 9) == 1
    assert sql(outbox, "SELECT state, attempts, refusals, replays FROM delivery") == [("waiting", 0, 0, 1)]


def test_a_delivery_that_was_accepted_again_with_another_number_is_not_settled(outbox: Outbox) -> None:
    put(outbox, TEAM)
    (request,) = outbox.queue.claim("team", (), NOW)
    outbox.retention.end(Selection(), NOW)
    outbox.retention.drop(Selection())
    put(outbox, TEAM)
    settle(outbox, request, State.DELIVERED)
    assert sql(outbox, "SELECT id, sequence, state FROM delivery") == [(request.id, 2, "waiting")]


@pytest.mark.sqlite("SQLite gives numbers of rows again")
def test_a_result_does_not_settle_another_delivery_whose_row_got_the_same_number(outbox: Outbox) -> None:
    put_event(outbox, an_event(scan=a_scan("FIRST")))
    (request,) = outbox.queue.claim("team", (), NOW)
    outbox.retention.end(Selection(), NOW)
    outbox.retention.drop(Selection())
    put_event(outbox, an_event(scan=a_scan("SECOND")))
    settle(outbox, request, State.DELIVERED)
    assert sql(outbox, "SELECT number, sequence, state FROM delivery") == [(1, 1, "waiting")]
    assert sql(outbox, "SELECT count(*) FROM delivery_attempt") == [(0,)]


def test_deliveries_that_another_object_claimed_are_known_too(outbox: Outbox) -> None:
    put(outbox, TEAM, events=3)
    (first,) = outbox.queue.claim("team", (), NOW)
    with closing(Outbox(outbox.place)) as other:
        assert numbers(other.queue.claim("team", [first.id], NOW)[0]) == [2]
        assert numbers(batch_of(other, THREE, first, at=NOW + 2)) == [2, 3]
        settle(other, first, State.DELIVERED)
    assert sql(outbox, "SELECT sequence FROM delivery WHERE state = 'delivered'") == [(1,)]


@pytest.mark.sqlite("the file is lost")
def test_a_result_is_not_that_of_a_delivery_that_has_its_row_in_a_restored_backup(outbox: Outbox) -> None:
    """With the same number, since the backup has the same series."""
    writer = Outbox(outbox.database.path)
    writer.endpoints.health("team")
    with closing(sqlite3.connect(":memory:")) as backup, closing(sqlite3.connect(outbox.database.path)) as opened:
        opened.backup(backup)
        put_event(outbox, an_event(1))
        (sent,) = outbox.queue.claim("team", (), NOW)
        backup.backup(opened)
    put_event(writer, an_event(2))
    settle(outbox, sent, State.DELIVERED)
    writer.close()
    (again,) = outbox.queue.claim("team", (), NOW)
    assert numbers(again) == numbers(sent) and again.id != sent.id
    assert sql(outbox, "SELECT count(*) FROM delivery_attempt") == [(0,)]


# --- parts of the queue


def fill(outbox: Outbox, number: int) -> None:
    """Accept so many events, each for two endpoints, and the first of all for a third one."""
    for at in range(number):
        names = ("dead", "team") if at else ("dead", "team", "rare")
        outbox.accept([(an_event(at), [Wanted(name, "high_risk_event") for name in names])], NOW + at)


def delivered(outbox: Outbox, endpoint: str, most: int) -> list[int]:
    """Deliver the next ones of an endpoint, and return their numbers."""
    batches = outbox.queue.claim(endpoint, (), NOW + 9999, most)
    for batch in batches:
        settle(outbox, batch, State.DELIVERED)
    return [number for batch in batches for number in numbers(batch)]


def test_those_of_an_endpoint_are_claimed_in_order_however_many_of_others_wait_among_them(outbox: Outbox) -> None:
    fill(outbox, 700)
    found: list[int] = []
    while new := delivered(outbox, "team", 60):
        found += new
    assert found == list(range(1, 701))
    assert (delivered(outbox, "rare", 9), delivered(outbox, "rare", 9)) == ([1], [])
    assert outbox.queue.next_due(Limits("rare"), NOW) is None
    put_event(outbox, an_event(700), "rare")
    assert outbox.queue.next_due(Limits("rare"), NOW) == 0.0
    assert delivered(outbox, "rare", 9) == [2]


def test_one_that_was_a_probe_is_claimed_after_later_ones_were_delivered(outbox: Outbox) -> None:
    fill(outbox, 400)
    probe = outbox.queue.pick(Limits("team"), (), Pick.OLDEST, fresh=True)
    settle(outbox, probe, State.WAITING, due_at=NOW + 9000, counts=False)
    assert delivered(outbox, "team", 399) == list(range(2, 401))
    assert outbox.queue.next_due(Limits("team"), NOW) == 0.0
    assert delivered(outbox, "team", 9) == [1]


def test_the_newest_is_found_in_whichever_part_it_is(outbox: Outbox) -> None:
    fill(outbox, 300)
    assert numbers(outbox.queue.pick(Limits("team"), (), Pick.NEWEST, fresh=True)) == [300]
    assert numbers(outbox.queue.pick(Limits("rare"), (), Pick.NEWEST, fresh=True)) == [1]


def test_rows_that_another_program_changed_are_found_when_nothing_else_has_come_for_a_minute(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("sfwebhooks.outbox.fresh_parts.time", SimpleNamespace(monotonic=lambda: now))
    fill(outbox, 300)
    assert len(delivered(outbox, "team", 300)) == 300
    assert delivered(outbox, "team", 9) == []
    sql(outbox, "UPDATE delivery SET state = 'waiting', attempts = 0, due_at = accepted_at WHERE endpoint = 'team'")
    later = delivered(outbox, "team", 300)
    assert (later[-1], delivered(outbox, "team", 300)) == (300, [])
    now = PARTS_SECONDS + 1
    assert delivered(outbox, "team", 300) == []
    assert delivered(outbox, "team", 300) == [*range(1, later[0])]
