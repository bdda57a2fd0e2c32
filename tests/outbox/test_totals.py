"""The totals of an outbox: what happens is counted once, whatever is deleted, replayed or moved afterwards."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from sfwebhooks.attempts import Attempt
from sfwebhooks.events import Batch
from sfwebhooks.outbox.counting import SECONDS_BOUNDS, WAITED_BOUNDS
from sfwebhooks.outbox.file import Storage
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.results import Result
from sfwebhooks.outbox.selection import Selection
from sfwebhooks.outbox.totals import Totals
from sfwebhooks.reasons import DeadReason
from sfwebhooks.retry import Settlement, State
from tests.builders import NOW, PATIENCE, a_scan, an_endpoint, an_event
from tests.conftest import sql
from tests.filled import begin, end, put, put_event, send
from tests.tiers import quick_first

STORES = ("sqlite", "postgres")

DAY = 86400.0
#: what may happen, the frequent things several times
LIFE = (
    "put",
    "put",
    "send",
    "send",
    "send",
    "fail",
    "die",
    "drop",
    "replay",
    "forget",
    "prune",
    "take",
    "count",
    "move",
)
WAITING = Selection(states=(State.WAITING,))


def counts(outbox: Outbox) -> Counter[tuple[str, str, str]]:
    """Return (endpoint, what, reason) -> number."""
    found: Counter[tuple[str, str, str]] = Counter()
    for one in Totals(outbox.database).tallies():
        found[one.endpoint, one.what, one.reason] += one.number
    return found


def arrive(outbox: Outbox, batch: Batch) -> None:
    """Settle a claimed message as delivered, a second after now."""
    settled = Settlement(State.DELIVERED, "http_200", NOW, True)
    outbox.queue.settle([Result(batch, Attempt(NOW + 1, 0.125, 200, "http_200", "ok"), [settled])])


def count_now(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sfwebhooks.outbox.totals.COUNT_LEAST", 1)
    Totals(outbox.database).count()
    assert sql(outbox, "SELECT counted >= (SELECT coalesce(max(id), 0) FROM delivery_attempt) FROM file") == [(1,)]


def test_attempts_are_counted_by_outcome_and_reason(outbox: Outbox) -> None:
    put(outbox, 1, 2, 3, 4)
    send(outbox)
    send(outbox, State.WAITING, "http_503")
    send(outbox, State.WAITING, "timeout", at=NOW + 60)
    send(outbox, State.DEAD, "refused: http_400", at=NOW + 60)
    assert counts(outbox) == {
        ("team", "delivered", ""): 1,
        ("team", "waiting", "http_503"): 1,
        ("team", "waiting", "timeout"): 1,
        ("team", "dead", "http_400"): 1,
        ("team", "death", "refused"): 1,
    }


def test_a_delivery_is_in_the_classes_of_its_durations(outbox: Outbox) -> None:
    put(outbox, 1)
    send(outbox, at=NOW + 100)
    (one,) = Totals(outbox.database).tallies()
    assert (one.seconds_to, one.waited_to) == (0.25, 300.0)
    assert {one.seconds_to, one.waited_to} <= {*SECONDS_BOUNDS, *WAITED_BOUNDS}
    assert (one.seconds, one.waited, one.last_at) == (0.125, 100.125, NOW + 100.125)


def test_a_clock_that_was_set_back_takes_nothing_from_the_sum(outbox: Outbox) -> None:
    put(outbox, 1)
    send(outbox, at=NOW - 100)
    assert [(one.waited_to, one.waited) for one in Totals(outbox.database).tallies()] == [(WAITED_BOUNDS[0], 0.0)]


def test_a_message_that_two_processes_send_is_two_attempts_and_one_delivery(outbox: Outbox) -> None:
    put(outbox, 1)
    batch = outbox.queue.claim("team", (), NOW)[0]
    send(outbox)
    arrive(outbox, batch)
    assert sorted((one.what, one.waited_to > 0, one.number) for one in Totals(outbox.database).tallies()) == [
        ("delivered", False, 1),
        ("delivered", True, 1),
    ]


def test_a_delivery_that_arrives_after_it_was_dropped_is_counted_as_both(outbox: Outbox) -> None:
    put(outbox, 1)
    batch = outbox.queue.claim("team", (), NOW)[0]
    outbox.retention.end(WAITING, NOW)
    arrive(outbox, batch)
    assert counts(outbox) == {("team", "death", "dropped"): 1, ("team", "delivered", ""): 1}


def test_a_request_that_another_one_has_to_follow_is_neither_delivered_nor_failed(outbox: Outbox) -> None:
    put(outbox, 1)
    batch = outbox.queue.claim("team", (), NOW)[0]
    settled = Settlement(State.WAITING, "hec_pending", NOW, True, batch.id, pending=True)
    outbox.queue.settle([Result(batch, Attempt(NOW, 0.125, 200, "hec_pending", ""), [settled])])
    assert counts(outbox) == {("team", "pending", ""): 1}


@pytest.mark.parametrize("seed", quick_first(range(12), 4))
def test_nothing_that_happens_afterwards_changes_what_was_counted(
    seed: int, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A random life of deliveries, against a count of what the operations say they did."""
    chance, now = random.Random(seed), NOW
    expected: Counter[tuple[str, str, str]] = Counter()
    names, made = ("team", "siem"), 0
    for _ in range(120):
        now += 100.0
        name = chance.choice(names)
        what = chance.choice(LIFE)
        if what == "put":
            put(outbox, *range(made, made + 5), endpoint=name, at=now)
            made += 5
        elif what in ("send", "fail", "die") and Totals(outbox.database).queues().get(name):
            outbox.due.make_due(name, now)
            state, reason, counted = {
                "send": (State.DELIVERED, "http_200", [("delivered", "")]),
                "fail": (State.WAITING, "http_503", [("waiting", "http_503")]),
                "die": (State.DEAD, "refused: http_400", [("dead", "http_400"), ("death", "refused")]),
            }[what]
            send(outbox, state, reason, endpoint=name, at=now)
            expected.update((name, *one) for one in counted)
        elif what == "drop":
            number = outbox.retention.end(Selection(endpoint=name), now)
            expected[name, "death", "dropped"] += number
        elif what == "replay":
            outbox.retention.replay(Selection(endpoint=name), now)
        elif what == "forget":
            outbox.retention.drop(Selection(endpoint=name))
        elif what == "prune":
            outbox.retention.prune(now + 10 * DAY, 7 * DAY, 7 * DAY)
        elif what == "take":
            outbox.retention.take_away(Selection(endpoint=name))
        elif what == "count":
            count_now(outbox, monkeypatch)
        elif what == "move":
            outbox.retention.move(Selection(endpoint=name), an_endpoint(names[name == "team"], events=("all",)), now)
        assert counts(outbox) == +expected, what
    assert len(expected) > 5


def test_renumbering_for_a_second_backfill_forgets_no_attempt(outbox: Outbox) -> None:
    put(outbox, 1, 2)
    send(outbox)
    send(outbox, State.DEAD, "refused: http_400")
    before = counts(outbox)
    outbox.scans.renumber("5C4A0001", "team", an_event(2).id, NOW, 0.0)
    assert counts(outbox) == before


def test_two_processes_that_count_count_each_attempt_once(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sfwebhooks.outbox.totals.CHUNK_ATTEMPTS", 7)
    monkeypatch.setattr("sfwebhooks.outbox.totals.COUNT_LEAST", 1)
    put(outbox, *range(200))
    for _ in range(200):
        send(outbox)
    others = [Outbox(outbox.place) for _ in range(2)]
    threads = [threading.Thread(target=Totals(one.database).count) for one in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert sql(outbox, "SELECT sum(number), count(*) FROM tally") == [(200, 1)]
    assert counts(outbox) == {("team", "delivered", ""): 200}
    for one in others:
        one.close()


def test_few_attempts_are_not_worth_a_transaction(outbox: Outbox) -> None:
    put(outbox, 1)
    send(outbox)
    Totals(outbox.database).count()
    assert sql(outbox, "SELECT count(*) FROM tally") == [(0,)]


def test_the_ids_of_deleted_attempts_may_come_again(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    put(outbox, 1, 2)
    send(outbox, State.DEAD, "refused: http_400")
    count_now(outbox, monkeypatch)
    assert outbox.retention.drop(Selection()) == 1
    send(outbox)
    assert counts(outbox)["team", "delivered", ""] == 1


def test_vacuum_keeps_the_place_of_the_last_attempt_that_was_counted(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(outbox, 1, 2, 3)
    send(outbox, State.DEAD, "refused: http_400")
    send(outbox)
    count_now(outbox, monkeypatch)
    outbox.retention.drop(Selection())  # it rewrites the file
    send(outbox)
    assert counts(outbox)["team", "delivered", ""] == 2


@pytest.mark.parametrize(
    ("kill", "reason"),
    [
        (lambda outbox: outbox.retention.expire("team", DeadReason.EXPIRED, 1.0, NOW + 10), "expired"),
        (lambda outbox: outbox.retention.end(WAITING, NOW), "dropped"),
    ],
)
def test_a_death_without_an_attempt_is_counted(outbox: Outbox, kill: Callable[[Outbox], object], reason: str) -> None:
    put(outbox, 1)
    kill(outbox)
    assert counts(outbox) == {("team", "death", reason): 1}


def test_a_message_that_crashes_its_sender_three_times_is_counted_as_dead_once(outbox: Outbox) -> None:
    put(outbox, 1)
    (batch,) = outbox.queue.claim("team", (), NOW)
    for _ in range(4):
        outbox.queue.blame(batch.id, NOW)
    assert counts(outbox) == {("team", "death", "crashed_sender"): 1}


def test_refused_events_stay_counted_when_they_are_offered_again(outbox: Outbox) -> None:
    begin(outbox, a_scan())
    for _ in range(2):
        sql(
            outbox,
            "INSERT INTO withheld VALUES ('scan', 'team', 'outbox_full', 1)"
            " ON CONFLICT (scan_id, endpoint, reason) DO UPDATE SET number = withheld.number + 1",
        )
    outbox.scans.forget_withheld("scan", ["team"])
    assert counts(outbox) == {("team", "withheld", "outbox_full"): 2}


def test_refused_events_are_counted_once_however_often_they_are_offered_again(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "webhooks.db", storage=Storage(max_bytes=1))  # full from the begin
    for offered in ((1, 2, 3), (1, 2), (1, 2, 3), (1, 2, 3, 4)):
        outbox.scans.forget_withheld("5C4A0001", ["team"])
        for number in offered:
            put_event(outbox, an_event(number))
        assert outbox.scans.withheld("5C4A0001") == {"team": {"outbox_full": len(offered)}}
    assert counts(outbox) == {("team", "withheld", "outbox_full"): 4}
    outbox.close()


def test_an_unwritable_event_is_counted_once_however_often_its_scan_is_recounted(outbox: Outbox) -> None:
    wrong, right = (an_event(number, data={"no JSON": object()}) for number in (1, 2))
    for event in (wrong, right):
        put_event(outbox, event)
    put(outbox, 2)  # in a writable form
    for _ in range(3):
        outbox.recount_unwritable("5C4A0001")
    assert outbox.scans.withheld("5C4A0001") == {"team": {"unwritable": 1}}
    assert counts(outbox) == {("team", "withheld", "unwritable"): 2}


def test_the_end_of_a_scan_is_counted_once_and_that_of_a_backfill_never(outbox: Outbox) -> None:
    begin(outbox, a_scan())
    end(outbox, a_scan())
    assert not outbox.scans.end_scan(an_event(type="scan_completed"), [], NOW)
    outbox.scans.begin_scan(a_scan("past"), an_event(), [], NOW, ended="scan_completed")
    assert counts(outbox) == {("", "end", an_event().type): 1}


def test_queues_are_counted_by_endpoint(outbox: Outbox) -> None:
    put(outbox, 1, 2, 3)
    put(outbox, 1, endpoint="siem")
    send(outbox, State.WAITING, "http_503")
    send(outbox)
    assert Totals(outbox.database).queues() == {"team": 2, "siem": 1}
