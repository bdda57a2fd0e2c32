from __future__ import annotations

import pytest

from sfwebhooks.scan.outbox_failure import EVENTS_MAX, SIZE_MAX, Pending
from tests.builders import an_event


def test_events_come_back_in_their_order() -> None:
    pending = Pending()
    for number in range(3):
        pending.add(an_event(number))
    assert [event.id for event in pending.first(2)] == [an_event(0).id, an_event(1).id]


def test_what_is_looked_at_stays_until_it_is_dropped() -> None:
    pending = Pending()
    pending.add(an_event(1))
    pending.add(an_event(2))
    pending.first(2)
    pending.drop(1)
    assert [event.id for event in pending.first(9)] == [an_event(2).id]


def test_too_many_events_are_counted() -> None:
    pending = Pending()
    for _ in range(EVENTS_MAX + 7):
        pending.add(an_event())
    assert (len(pending), pending.missed) == (EVENTS_MAX, 7)


def test_events_that_are_too_large_are_counted() -> None:
    pending = Pending()
    for _ in range(SIZE_MAX // 60_000 + 10):
        pending.add(an_event(data={"data": "x" * 60_000}))
    assert (len(pending) * 60_000 <= SIZE_MAX + 60_000, pending.missed > 0) == (True, True)


def test_what_is_dropped_makes_room() -> None:
    pending = Pending()
    large = an_event(data={"data": "x" * SIZE_MAX, "sources": [{"data": "y"}]})
    pending.add(large)
    pending.add(large)
    pending.drop(1)
    pending.add(large)
    assert (len(pending), pending.missed) == (1, 1)


@pytest.mark.parametrize("data", [{}, {"data": None}, {"data": 5}, {"data": b"x", "sources": 3}, {"sources": [None]}])
def test_data_of_any_shape_have_room(data: dict[str, object]) -> None:
    pending = Pending()
    pending.add(an_event(data=data))
    assert len(pending) == 1


@pytest.mark.parametrize(
    ("data", "kept"),
    [
        ({"data": "x" * 9}, 2),  # one character less than there is room for
        ({"data": "x" * 10}, 1),
        ({"data": "x", "sources": [{"data": "x" * 8}]}, 2),
        ({"data": "x", "sources": [{"data": "x" * 5}, {"data": b"x" * 4}]}, 1),
    ],
)
def test_the_room_is_that_of_data_and_sources_to_the_character(
    data: dict[str, object], kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sfwebhooks.scan.outbox_failure.SIZE_MAX", 10)
    pending = Pending()
    pending.add(an_event(data=data))
    pending.add(an_event(data={"data": "y"}))
    assert (len(pending), pending.missed) == (kept, 2 - kept)
