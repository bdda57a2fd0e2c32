"""Old deliveries are dropped with the partitions of their day, and what is still needed of that day stays."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import pytest

from sfwebhooks.attempts import Attempt
from sfwebhooks.events import Handle
from sfwebhooks.outbox.claim import Limits
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.postgres import periods
from sfwebhooks.outbox.postgres.partitions import BITS
from sfwebhooks.outbox.results import Result
from sfwebhooks.outbox.selection import Selection
from sfwebhooks.outbox.totals import Totals
from sfwebhooks.retry import Settlement, State
from sfwebhooks.screening import Wanted
from tests.builders import PATIENCE, a_scan, an_endpoint, an_event, claim_one
from tests.conftest import sql
from tests.filled import an_id, begin, end
from tests.filled import put as put_at
from tests.filled import send as send_at
from tests.outbox_rows import rows_of

STORES = ("postgres",)
DAY = 86400.0
KEEP = 7 * DAY
ALL = Selection()
#: epoch seconds of the server, and when all that was settled then is old
WHEN = time.time()
LATER = WHEN + KEEP + 1000


def put(outbox: Outbox, *numbers: int, **values: Any) -> None:
    put_at(outbox, *numbers, **{"at": WHEN, **values})


def send(outbox: Outbox, *what: Any, **values: Any) -> str:
    return send_at(outbox, *what, **{"at": WHEN, **values})


def partitions(outbox: Outbox) -> set[str]:
    """Return the names of the partitions of periods."""
    names = rows_of(
        outbox, "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ '^(event|delivery_.*)_[0-9]+$'"
    )
    return {name for (name,) in names}


def of_period(*numbers: int) -> set[str]:
    return {f"{table}_{number}" for table in ("event", "delivery_delivered", "delivery_attempt") for number in numbers}


def end_day(outbox: Outbox) -> None:
    """Let the present period have begun yesterday, and the next one begin."""
    sql(outbox, f"UPDATE period SET begun_at = begun_at - {DAY}")
    assert outbox.retention.prune(WHEN, KEEP, KEEP) == 0


def prune(outbox: Outbox, now: float = LATER, keep_dead: float = 90 * DAY) -> int:
    return outbox.retention.prune(now, KEEP, keep_dead)


def ids(outbox: Outbox) -> set[str]:
    return {one.id for one in outbox.listing.deliveries(ALL, 1000)}


def numbers_in(outbox: Outbox, table: str) -> int:
    return int(sql(outbox, f"SELECT count(*) FROM {table}")[0][0])


# --- a period begins


def test_rows_of_another_day_are_in_partitions_of_their_own(outbox: Outbox) -> None:
    put(outbox, 1, 2)
    send(outbox)
    end_day(outbox)
    put(outbox, 3)
    for _ in range(2):
        send(outbox)
    assert partitions(outbox) == of_period(0, 1)
    assert [numbers_in(outbox, f"{name}_0") for name in ("event", "delivery_delivered", "delivery_attempt")] == [2] * 3
    assert [numbers_in(outbox, f"{name}_1") for name in ("event", "delivery_delivered", "delivery_attempt")] == [1] * 3
    assert sql(outbox, "SELECT number FROM delivery") == [(1,), (2,), (1 << BITS,)]


def test_a_day_without_events_makes_no_partitions(outbox: Outbox) -> None:
    for _ in range(3):
        end_day(outbox)
    assert partitions(outbox) == of_period(0)


def test_deliveries_of_several_days_are_claimed_in_their_order(outbox: Outbox) -> None:
    for number in (1, 2, 3):
        put(outbox, number)
        end_day(outbox)
    claimed = outbox.queue.claim("team", (), WHEN, 10)
    assert [batch.id for batch in claimed] == [an_id(number) for number in (1, 2, 3)]
    assert [batch.deliveries[0].sequence for batch in claimed] == [1, 2, 3]


@pytest.mark.parametrize("settled", [False, True])
def test_an_event_of_another_day_is_not_accepted_twice(outbox: Outbox, settled: bool) -> None:
    put(outbox, 1, 2)
    if settled:
        send(outbox)
    end_day(outbox)
    team = (Wanted("team", "all"),)
    assert outbox.accept([(an_event(1), team)], WHEN) == 0
    assert outbox.accept([(an_event(number), team) for number in (1, 2, 3)], WHEN) == 1
    outbox.scans.begin_scan(a_scan(), an_event(1), team, WHEN)
    assert numbers_in(outbox, "event") == numbers_in(outbox, "delivery") == 3
    assert outbox.accept([(an_event(1), (*team, Wanted("siem", "all")))], WHEN) == 1


# --- a period is dropped


def test_a_day_of_old_deliveries_is_dropped_with_its_events_and_attempts(outbox: Outbox) -> None:
    put(outbox, 1, 2, 3)
    for _ in range(3):
        send(outbox)
    end_day(outbox)
    put(outbox, 4)
    assert prune(outbox, WHEN + KEEP - 10) == 0
    assert prune(outbox) == 3
    assert partitions(outbox) == of_period(1)
    assert [numbers_in(outbox, name) for name in ("delivery", "event", "delivery_attempt")] == [1, 1, 0]
    assert prune(outbox) == 0


def test_a_day_is_dropped_although_nothing_has_come_since(outbox: Outbox) -> None:
    put(outbox, 1)
    send(outbox)
    for _ in range(3):
        end_day(outbox)
    assert prune(outbox, LATER - 3 * DAY) == 0
    assert prune(outbox) == 1
    assert partitions(outbox) == of_period(1)


def test_no_row_is_deleted_singly_for_it(outbox: Outbox) -> None:
    put(outbox, 1, 2)
    for _ in range(2):
        send(outbox)
    end_day(outbox)
    for table in ("delivery", "event", "delivery_attempt"):
        rows_of(
            outbox, f"CREATE TRIGGER kept_{table} BEFORE DELETE ON {table} BEGIN SELECT raise(ABORT, 'deleted'); END"
        )
    assert prune(outbox) == 2


@pytest.mark.parametrize("state", [State.DEAD, State.WAITING])
def test_what_is_needed_of_a_dropped_day_stays(outbox: Outbox, state: State) -> None:
    put(outbox, 1, 2)
    send(outbox, state, "http_503", "try later")
    send(outbox)
    end_day(outbox)
    assert prune(outbox) == 1
    assert partitions(outbox) == of_period(1)
    (left,) = outbox.listing.deliveries(ALL, 10)
    assert (left.id, left.state, left.tries) == (an_id(1), state, 1)
    assert outbox.listing.attempts(left.id)[0].excerpt == "try later"
    outbox.retention.replay(ALL, WHEN)
    claimed = claim_one(outbox, Limits("team"), (), WHEN + 100)
    assert claimed and claimed.deliveries[0].event.data == an_event(1).data


def test_what_outlived_its_day_is_deleted_once_it_is_old(outbox: Outbox) -> None:
    put(outbox, 1, 2)
    send(outbox, State.DEAD, "http_400")
    send(outbox)
    end_day(outbox)
    assert prune(outbox) == 1
    outbox.retention.replay(ALL, LATER)
    send(outbox, at=LATER + 1)
    assert prune(outbox, LATER + KEEP) == 0
    assert prune(outbox, LATER + KEEP + 3 * DAY) == 1
    assert [numbers_in(outbox, name) for name in ("delivery", "event", "delivery_attempt")] == [0, 0, 0]


def test_a_replayed_delivery_keeps_its_day(outbox: Outbox) -> None:
    put(outbox, 1, 2)
    for _ in range(2):
        send(outbox)
    end_day(outbox)
    outbox.retention.replay(Selection(ids=(an_id(1),)), WHEN + 2 * DAY)
    send(outbox, at=WHEN + 2 * DAY)
    assert prune(outbox) == 0
    assert ids(outbox) == {an_id(1), an_id(2)}
    assert prune(outbox, LATER + 2 * DAY) == 2


def test_a_day_that_something_late_keeps_loses_its_rows_singly(outbox: Outbox) -> None:
    put(outbox, 1, 2)
    for at in (WHEN, WHEN + 5 * DAY):
        send(outbox, at=at)
    end_day(outbox)
    assert prune(outbox) == 0
    assert prune(outbox, LATER + 2 * DAY) == 1
    assert ids(outbox) == {an_id(2)}
    assert partitions(outbox) == of_period(0, 1)


def test_a_day_of_which_much_is_needed_loses_its_rows_singly(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    rest = periods.REST.replace(f"LIMIT {periods.REST_MOST + 1}", "LIMIT 2")
    monkeypatch.setattr(periods, "REST", rest)
    monkeypatch.setattr(periods, "REST_MOST", 1)
    put(outbox, 1, 2, 3)
    for state in (State.DEAD, State.DEAD, State.DELIVERED):
        send(outbox, state)
    end_day(outbox)
    assert prune(outbox) == 0
    assert ids(outbox) == {an_id(number) for number in (1, 2, 3)}
    assert prune(outbox, LATER + 2 * DAY) == 1
    assert ids(outbox) == {an_id(1), an_id(2)}
    assert partitions(outbox) == of_period(0, 1)


def test_a_day_with_events_of_a_running_scan_stays(outbox: Outbox) -> None:
    scan = a_scan("RUNNING")
    begin(outbox, scan)
    put(outbox, 1, scan=scan)
    send(outbox)
    end_day(outbox)
    assert prune(outbox) == 0
    end(outbox, scan)
    assert prune(outbox) == 1


def test_an_event_goes_with_its_last_delivery_of_whichever_day(outbox: Outbox) -> None:
    put(outbox, 1, endpoint="siem")
    send(outbox, State.DEAD, endpoint="siem")
    end_day(outbox)
    put(outbox, 1)
    send(outbox)
    end_day(outbox)
    outbox.retention.drop(ALL)
    assert numbers_in(outbox, "event") == 1
    prune(outbox)
    prune(outbox)
    assert [numbers_in(outbox, name) for name in ("delivery", "event", "delivery_attempt")] == [0, 0, 0]


def test_totals_do_not_change_when_a_day_is_dropped(outbox: Outbox) -> None:
    put(outbox, *range(1, 21))
    for number in range(20):
        send(outbox, State.DELIVERED if number % 3 else State.WAITING, "http_200" if number % 3 else "http_503")
    end_day(outbox)
    put(outbox, 21)
    send(outbox, at=LATER)

    def counted() -> list[tuple[str, str, float]]:
        tallies: dict[tuple[str, str], float] = {}
        for one in Totals(outbox.database).tallies():
            tallies[one.what, one.reason] = tallies.get((one.what, one.reason), 0) + one.number
        return sorted((*key, number) for key, number in tallies.items())

    before = counted()
    assert prune(outbox) == 13
    assert counted() == before
    outbox.retention.take_away(ALL)
    assert counted() == before


def test_what_a_receiver_called_a_pending_request_goes_with_its_day(outbox: Outbox) -> None:
    put(outbox, 1)
    batch = claim_one(outbox, Limits("team", size=10), (), WHEN + 60)
    assert batch
    attempt = Attempt(WHEN, 0.1, 202, "http_202", "")
    pending = Settlement(State.WAITING, "http_202", WHEN + 60, True, batch=batch.id, pending=True)
    outbox.queue.settle([Result(batch, attempt, [pending], Handle("there", "4711"))])
    assert numbers_in(outbox, "handle") == 1
    sql(outbox, f"UPDATE delivery SET state = 'delivered', settled_at = {WHEN}")
    end_day(outbox)
    assert prune(outbox) == 1
    assert numbers_in(outbox, "handle") == 0


# --- others at the same time


def test_a_reader_that_goes_on_for_long_only_delays_it(outbox: Outbox) -> None:
    put(outbox, 1)
    send(outbox)
    end_day(outbox)
    with closing(Outbox(outbox.place)) as other, other.database.reading() as session:
        session.execute("BEGIN")
        session.execute("SELECT count(*) FROM delivery")
        assert prune(outbox) == 0
        put(outbox, 2)
        assert len(outbox.queue.claim("team", (), WHEN)) == 1
        session.execute("COMMIT")
    assert prune(outbox) == 1


def test_processes_that_prune_at_once_drop_a_day_once(outbox: Outbox) -> None:
    put(outbox, *range(1, 101))
    for batch in outbox.queue.claim("team", (), WHEN, 100):
        attempt = Attempt(WHEN, 0.1, 200, "http_200", "")
        outbox.queue.settle([Result(batch, attempt, [Settlement(State.DELIVERED, "http_200", WHEN, True)])])
    end_day(outbox)
    found: list[int] = []

    def run() -> None:
        with closing(Outbox(outbox.place)) as other:
            found.append(other.retention.prune(LATER, KEEP, KEEP))

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert sum(found) + prune(outbox) == 100
    assert partitions(outbox) == of_period(1)


def test_a_statement_that_was_prepared_before_goes_on_after(outbox: Outbox) -> None:
    for number in range(1, 8):  # until its plan is kept
        put(outbox, number)
        send(outbox)
    end_day(outbox)
    assert prune(outbox) == 7
    put(outbox, 8)
    assert send(outbox) == an_id(8)


def test_moved_deliveries_are_dropped_too(outbox: Outbox) -> None:
    put(outbox, 1)
    end_day(outbox)
    assert outbox.retention.move(ALL, an_endpoint("siem", events=("all",)), WHEN) == 1
    send(outbox, endpoint="siem")
    end_day(outbox)
    for _ in range(2):
        prune(outbox)
    assert [numbers_in(outbox, name) for name in ("delivery", "event", "delivery_attempt")] == [0, 0, 0]


# --- the settlement of a group


def settle(outbox: Outbox, *results: Sequence[object]) -> None:
    outbox.queue.settle([Result(*one) for one in results])  # type: ignore[arg-type]


def test_a_delivery_may_come_twice_in_a_group(outbox: Outbox) -> None:
    put(outbox, 1)
    batch = claim_one(outbox, Limits("team"), (), WHEN)
    again, done = (Settlement(state, reason, WHEN, True) for state, reason in
                   ((State.WAITING, "http_503"), (State.DELIVERED, "http_200")))  # fmt: skip
    attempts = [Attempt(WHEN + at, 0.1, status, f"http_{status}", "") for at, status in enumerate((503, 200))]
    settle(outbox, (batch, attempts[0], [again]), (batch, attempts[1], [done]))
    assert sql(outbox, "SELECT state, attempts, settled_at FROM delivery") == [("delivered", 2, WHEN + 1.1)]
    assert sql(outbox, "SELECT status, outcome, waited FROM delivery_attempt ORDER BY id") == [
        (503, "waiting", None), (200, None, pytest.approx(1.1))
    ]  # fmt: skip


def test_an_attempt_at_what_was_settled_before_is_logged(outbox: Outbox) -> None:
    put(outbox, 1)
    batch = claim_one(outbox, Limits("team"), (), WHEN)
    for at, state in enumerate((State.DELIVERED, State.DEAD)):
        attempt = Attempt(WHEN + at, 0.1, 200, "http_200", "\0")
        settle(outbox, (batch, attempt, [Settlement(state, "x\0: y", WHEN, True)]))
    assert sql(outbox, "SELECT state, attempts FROM delivery") == [("delivered", 1)]
    assert sql(outbox, "SELECT excerpt, outcome FROM delivery_attempt ORDER BY id") == [
        ("\ufffd", None),
        ("\ufffd", "dead"),
    ]
    assert sql(outbox, "SELECT count(*) FROM tally WHERE what = 'death'") == [(0,)]
