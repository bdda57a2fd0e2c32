from __future__ import annotations

import math
from datetime import datetime, timezone
from zoneinfo import ZoneInfo

import pytest

from sfwebhooks.digesting import Digesting, Rhythm
from tests.builders import NOW

pytestmark = pytest.mark.usefixtures("berlin")
BERLIN = ZoneInfo("Europe/Berlin")
HOUR = 3600.0


def daily(hour: int, minute: int = 0) -> Digesting:
    return Digesting(Rhythm.DAILY, minute=hour * 60 + minute)


def local(*parts: int, fold: int = 0) -> float:
    year, month, day, hour, minute = parts
    return datetime(year, month, day, hour, minute, tzinfo=BERLIN, fold=fold).timestamp()


def utc(*parts: int) -> float:
    year, month, day, hour, minute = parts
    return datetime(year, month, day, hour, minute, tzinfo=timezone.utc).timestamp()


def test_a_daily_digest_is_due_at_the_next_local_time() -> None:
    accepted = local(2026, 11, 21, 7, 59)
    assert daily(8).due_at(accepted, accepted) == local(2026, 11, 21, 8, 0)
    assert daily(8).due_at(accepted + 60, accepted + 60) == local(2026, 11, 22, 8, 0), (
        "at that time is for the next one"
    )
    assert daily(8).due_until(local(2026, 11, 21, 8, 0)) == local(2026, 11, 21, 8, 0)
    assert daily(8).due_until(local(2026, 11, 21, 7, 59)) == local(2026, 11, 20, 8, 0)


def test_a_day_has_23_or_25_hours_when_the_clocks_change() -> None:
    before_summer, before_winter = local(2026, 3, 28, 9, 0), local(2026, 10, 24, 9, 0)
    assert daily(8).due_at(before_summer, before_summer) - before_summer == 22 * HOUR
    assert daily(8).due_at(before_winter, before_winter) - before_winter == 24 * HOUR


def test_a_time_that_is_skipped_is_as_much_later() -> None:
    accepted = local(2026, 3, 28, 12, 0)
    due = daily(2, 30).due_at(accepted, accepted)
    assert due == utc(2026, 3, 29, 1, 30) == local(2026, 3, 29, 3, 30)
    assert daily(2, 30).due_at(due, due) == local(2026, 3, 30, 2, 30)


def test_a_time_that_comes_twice_counts_once() -> None:
    accepted = local(2026, 10, 24, 12, 0)
    first = daily(2, 30).due_at(accepted, accepted)
    assert first == local(2026, 10, 25, 2, 30, fold=0)
    second = local(2026, 10, 25, 2, 30, fold=1)
    assert (second - first, daily(2, 30).due_until(second)) == (HOUR, first)
    assert daily(2, 30).due_at(first, second) == local(2026, 10, 26, 2, 30)


def test_every_moment_of_a_year_has_a_next_time_within_25_hours_and_a_last_one() -> None:
    for step in range(0, 366 * 24):
        at = local(2026, 1, 1, 0, 0) + step * HOUR
        assert 0 < daily(2, 30).due_at(at, at) - at <= 25 * HOUR
        assert 0 <= at - daily(2, 30).due_until(at) < 25 * HOUR


@pytest.mark.parametrize(
    ("digesting", "due_at", "due_until"),
    [
        (Digesting(), NOW, NOW),
        (Digesting(Rhythm.AUTO), NOW, NOW),
        (Digesting(Rhythm.INTERVAL, seconds=30), NOW + 30, NOW - 30),
        (Digesting(Rhythm.SCAN), math.inf, -math.inf),
    ],
)
def test_each_rhythm_has_its_times(digesting: Digesting, due_at: float, due_until: float) -> None:
    assert (digesting.due_at(NOW, NOW), digesting.due_until(NOW)) == (due_at, due_until)


@pytest.mark.parametrize("rhythm", Rhythm)
def test_what_was_accepted_before_the_clock_was_set_back_is_due(rhythm: Rhythm) -> None:
    assert Digesting(rhythm, seconds=30).due_at(NOW + 86400, NOW) <= NOW
