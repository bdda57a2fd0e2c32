"""Due times that are changed for many deliveries at once: made due, pulled."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import pytest

from sfwebhooks.errors import OutboxError
from sfwebhooks.health import SET_SECONDS, Condition, Health
from sfwebhooks.outbox.endpoint_state import Orders
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.selection import CHUNK, Selection
from sfwebhooks.retry import State
from tests.builders import NOW
from tests.conftest import sql
from tests.filled import put, send
from tests.outbox_rows import file_of
from tests.tiers import quick_first

STORES = ("sqlite", "postgres")

HOUR = 3600.0
YEAR = 365 * 24 * HOUR
#: seconds that nothing can have to wait
LONGEST = 12 * HOUR
COUNT = 700


def late(outbox: Outbox, count: int = COUNT, due_at: float = NOW + HOUR) -> None:
    """Put deliveries into the outbox that were tried, and are due again at a time."""
    put(outbox, *range(1, count + 1))
    sql(outbox, f"UPDATE delivery SET attempts = 1, due_at = {due_at!r}")


def replayed(outbox: Outbox, *numbers: int, at: float, interval: float = 0.0) -> None:
    """Put deliveries into the outbox that were delivered, and that an operator had sent again at a time."""
    put(outbox, *numbers)
    for _ in numbers:
        send(outbox)
    with closing(Outbox(outbox.place)) as records:
        assert records.retention.replay(Selection(), at, interval) == len(numbers)


def due(outbox: Outbox) -> list[float]:
    """Return how many seconds ahead each delivery is due."""
    return [row[0] - NOW for row in sql(outbox, "SELECT due_at FROM delivery ORDER BY number")]


WAYS = {
    "make due": lambda outbox: outbox.due.make_due("team", NOW),
    "resume": lambda outbox: outbox.endpoints.resume("team", NOW),
    "pull": lambda outbox: outbox.due.pull("team", NOW, 60.0),
}


# --- beside a scan


def transactions(outbox: Outbox, act: Callable[[], None]) -> list[int]:
    """Act; return how many rows each transaction changed."""
    totals = []
    with file_of(outbox).reading() as connection:
        totals.append(connection.total_changes)
        connection.set_trace_callback(
            lambda text: totals.append(connection.total_changes) if text == "COMMIT" else None
        )
    try:
        act()
    finally:
        connection.set_trace_callback(None)
    return [after - before for before, after in zip(totals, totals[1:])]


@pytest.mark.sqlite("SQLite's transactions")
@pytest.mark.parametrize("way", quick_first(WAYS.values()), ids=WAYS)
def test_a_scan_can_write_while_thousands_become_due(outbox: Outbox, way: Callable[[Outbox], None]) -> None:
    late(outbox, 5000)
    assert max(transactions(outbox, lambda: way(outbox))) <= CHUNK
    assert set(due(outbox)) == {0.0}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("then", ["state = 'delivered'", f"due_at = {NOW + 2 * HOUR!r}"])
def test_a_delivery_that_changed_since_it_was_selected_keeps_its_time(
    outbox: Outbox, way: Callable[[Outbox], None], then: str
) -> None:
    late(outbox)
    sql(
        outbox,
        "CREATE TRIGGER meanwhile AFTER UPDATE ON delivery WHEN old.number = 1"
        f" BEGIN UPDATE delivery SET {then} WHERE number = {COUNT}; END",
    )
    way(outbox)
    assert (due(outbox)[0], due(outbox)[-1] in (HOUR, 2 * HOUR)) == (0.0, True)


def interrupt(outbox: Outbox) -> None:
    """Let the transaction fail that changes one of the last deliveries."""
    sql(
        outbox,
        f"CREATE TRIGGER interruption BEFORE UPDATE ON delivery WHEN old.number = {COUNT - 10}"
        " BEGIN SELECT RAISE(ABORT, 'interrupted'); END",
    )


def test_an_endpoint_is_resumed_when_all_that_waits_is_due_and_not_before(outbox: Outbox) -> None:
    late(outbox)
    held = Health(Condition.HELD, "http_401", NOW, 1, NOW + HOUR)
    outbox.queue.settle([], {"team": held})
    outbox.endpoints.pause("team", NOW + HOUR)
    interrupt(outbox)
    with pytest.raises(OutboxError):
        outbox.endpoints.resume("team", NOW)
    assert (outbox.endpoints.orders("team"), outbox.endpoints.health("team")) == (Orders(NOW + HOUR), held)
    sql(outbox, "DROP TRIGGER interruption")
    outbox.endpoints.resume("team", NOW)
    assert (outbox.endpoints.orders("team"), outbox.endpoints.health("team").open_at, set(due(outbox))) == (
        Orders(0.0, 1),
        0.0,
        {0.0},
    )


# --- made due


def test_what_is_made_due_keeps_its_place_behind_what_was_due_before(outbox: Outbox) -> None:
    late(outbox, 3)
    sql(outbox, f"UPDATE delivery SET due_at = {NOW - 60!r} WHERE number = 2")
    outbox.due.make_due("team", NOW)
    assert due(outbox) == [0.0, -60.0, 0.0]


def test_what_is_another_endpoints_is_not_made_due(outbox: Outbox) -> None:
    late(outbox, 1)
    outbox.due.make_due("siem", NOW)
    assert due(outbox) == [HOUR]


@pytest.mark.parametrize("pause", [HOUR, 60.0, 1.0])
def test_a_paced_replay_that_is_made_due_keeps_its_pace(outbox: Outbox, pause: float) -> None:
    replayed(outbox, 1, 2, 3, at=NOW, interval=pause)
    send(outbox)
    outbox.due.make_due("team", NOW + 0.5)
    assert due(outbox)[1:] == [pause, 2 * pause]


@pytest.mark.parametrize("way", [WAYS["make due"], WAYS["resume"]], ids=["make due", "resume"])
def test_a_replay_by_a_clock_that_was_an_hour_ahead_is_made_due(outbox: Outbox, way: Callable[[Outbox], None]) -> None:
    replayed(outbox, 1, 2, at=NOW + HOUR)
    way(outbox)
    assert due(outbox) == [0.0, 0.0]


# --- pulled


@pytest.mark.parametrize("interval", [0.0, 2.5, HOUR])
def test_a_replay_by_a_clock_that_was_a_year_ahead_comes_forward_at_its_pace(outbox: Outbox, interval: float) -> None:
    replayed(outbox, 3, 1, 2, at=NOW + YEAR, interval=interval)
    outbox.due.pull("team", NOW, LONGEST)
    assert due(outbox) == [0.0, interval, 2 * interval]


def test_a_replay_that_was_tried_is_pulled_like_any_other_delivery(outbox: Outbox) -> None:
    replayed(outbox, 1, at=NOW)
    send(outbox, State.WAITING, "http_503", at=NOW + YEAR)
    assert due(outbox) == [YEAR + 60]
    outbox.due.pull("team", NOW, LONGEST)
    assert due(outbox) == [0.0]


def test_a_replay_that_was_tried_and_waits_no_longer_than_it_may_is_not_pulled(outbox: Outbox) -> None:
    replayed(outbox, 1, at=NOW)
    send(outbox, State.WAITING, "http_503")
    outbox.due.pull("team", NOW, LONGEST)
    assert due(outbox) == [60.0]


@pytest.mark.parametrize(("at", "interval"), [(NOW, HOUR), (NOW + LONGEST, 1.0), (NOW - HOUR, 24 * HOUR)])
def test_a_paced_replay_of_which_one_is_due_before_long_is_not_pulled(
    outbox: Outbox, at: float, interval: float
) -> None:
    replayed(outbox, *range(1, 31), at=at, interval=interval)
    before = due(outbox)
    outbox.due.pull("team", NOW, LONGEST)
    assert due(outbox) == before


def test_a_replay_whose_pauses_are_longer_than_any_wait_keeps_them(outbox: Outbox) -> None:
    replayed(outbox, 1, 2, 3, at=NOW, interval=24 * HOUR)
    send(outbox)
    outbox.due.pull("team", NOW + 60, LONGEST)
    assert due(outbox)[1:] == [24 * HOUR, 48 * HOUR]


def test_a_clock_that_was_corrected_by_seconds_moves_no_replay(outbox: Outbox) -> None:
    replayed(outbox, 1, at=NOW + SET_SECONDS)
    outbox.due.pull("team", NOW, 10.0)
    assert due(outbox) == [SET_SECONDS]
