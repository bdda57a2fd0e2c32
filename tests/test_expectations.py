"""When scans are expected, and which were missed: cron expressions over changes to and from summer time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone, tzinfo
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfwebhooks.expectations import (
    CRON_ACCEPTED,
    EARLY_SECONDS,
    GRACE_SECONDS,
    LOCAL,
    PAST_MAX,
    Expectation,
    Missed,
    is_made_up,
    key_of_scan,
    missed,
    split_cron,
)
from tests.tiers import slow

BERLIN = ZoneInfo("Europe/Berlin")
UTC = timezone.utc
NIGHTLY = Expectation("nightly", "30 2 * * *", "acme.test")
HOURLY = Expectation("hourly", "0 * * * *", "acme.test")


def at(text: str, zone: tzinfo = UTC) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


def shown(times: Iterator[float], number: int, zone: tzinfo) -> list[str]:
    return [datetime.fromtimestamp(one, zone).strftime("%d %H:%M %z") for one in islice(times, number)]


# --- expressions


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("0 2 * * *", ("0 2 * * *", "")),
        ("0  2\t* * *", ("0 2 * * *", "")),
        ("0 2 * * * acme.test", ("0 2 * * *", "acme.test")),
        ("0 2 * * * 192.0.2.1", ("0 2 * * *", "192.0.2.1")),
        ("0 2 * * mon-fri Perimeter of the branch", ("0 2 * * mon-fri", "Perimeter of the branch")),
    ],
)
def test_an_expression_may_be_followed_by_a_target(text: str, found: tuple[str, str]) -> None:
    assert split_cron(text) == found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected a cron expression"),
        ("nightly", "expected a cron expression"),
        ("@daily", "expected a cron expression"),
        ("0 2 * *", "expected a cron expression"),
        ("0 25 * * *", "the hour is wrong"),
        ("0 2 30 2 *", "the day of month is wrong or never comes"),
        ("0 0 2 * * *", "it has more than 5 fields"),
        ("0 0 2 * * ?", "it has more than 5 fields"),
        ("\u0660 2 * * *", "the minute is wrong"),
        ("0 2 * * " + "1," * 10_000, "expected a cron expression"),
        ("9" * 150 + " * * * *", "the minute is wrong"),
    ],
)
def test_what_is_wrong_with_an_expression_is_said(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        split_cron(text)
    assert str(caught.value).endswith(CRON_ACCEPTED)


@settings(deadline=None)
@given(st.text(alphabet="0123456789*/,-L#WMON? \0\ud800", max_size=60))
def test_any_text_is_an_expression_or_a_mistake(text: str) -> None:
    try:
        cron, _ = split_cron(text)
    except ValueError:
        return
    assert list(islice(Expectation("n", cron, "x").times(0.0, UTC), 1))


def test_a_target_is_the_same_in_other_case_and_with_a_final_dot() -> None:
    assert key_of_scan("  ACME.test. ") == key_of_scan("acme.test")
    assert Expectation("a", "0 2 * * *", "ACME.test").id == Expectation("b", "0 2 * * *", "acme.test.").id


# --- summer time


def test_a_time_that_is_skipped_in_spring_is_expected_after_the_gap() -> None:
    times = NIGHTLY.times(at("2026-03-28T00:00", BERLIN), BERLIN)
    assert shown(times, 3, BERLIN) == ["28 02:30 +0100", "29 03:00 +0200", "30 02:30 +0200"]


def test_a_time_that_comes_twice_in_autumn_is_expected_once() -> None:
    times = NIGHTLY.times(at("2026-10-24T00:00", BERLIN), BERLIN)
    assert shown(times, 3, BERLIN) == ["24 02:30 +0200", "25 02:30 +0200", "26 02:30 +0100"]


def test_each_hour_is_an_hour_whatever_the_clock_says() -> None:
    for day in ("2026-03-29T00:00", "2026-10-25T00:00"):
        times = [*islice(HOURLY.times(at(day, BERLIN), BERLIN), 30)]
        assert {later - sooner for sooner, later in zip(times, times[1:])} == {3600.0}


@pytest.mark.usefixtures("berlin")
@settings(max_examples=50, deadline=None)
@given(st.integers(int(at("2026-01-01T00:00")), int(at("2027-01-01T00:00"))), st.sampled_from([NIGHTLY, HOURLY]))
def test_the_local_zone_has_the_times_of_the_zone_with_its_name(begin: int, one: Expectation) -> None:
    ours, theirs = (islice(one.times(begin, zone), 5) for zone in (LOCAL, BERLIN))
    assert [*ours] == [*theirs]
    assert datetime.fromtimestamp(begin, LOCAL).strftime("%H:%M %Z") == datetime.fromtimestamp(begin, BERLIN).strftime(
        "%H:%M %Z"
    )


@slow
@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 400),
    st.lists(st.integers(0, 6 * 3600), max_size=6),
    st.integers(0, 59),
    st.integers(0, 23),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"]),
)
def test_looks_at_any_times_find_each_missed_night_once(
    day: int, looks: list[int], minute: int, hour: int, name: str
) -> None:
    zone, one = ZoneInfo(name), Expectation("n", f"{minute} {hour} * * *", "x")
    begin = at("2026-01-01T00:00") + day * 86400
    end = begin + 4 * 86400
    found: list[float] = []
    checked = begin
    for now in [*sorted(begin + offset * 16 for offset in looks), end]:
        over = one.over(checked, now, zone)
        found += [time for time, _ in over]
        checked = found[-1] if found else begin
    assert found == [time for time, _ in one.over(begin, end, zone)]
    assert len(found) == len(set(found)) in (3, 4, 5)


# --- what was missed


def test_a_scan_has_an_hour_to_start() -> None:
    over = NIGHTLY.over(at("2026-06-01T00:00"), at("2026-06-02T00:00"), UTC)
    assert over == [(at("2026-06-01T02:30"), at("2026-06-01T03:30"))]
    assert NIGHTLY.grace(at("2026-06-01T02:30"), UTC) == GRACE_SECONDS
    assert NIGHTLY.over(at("2026-06-01T00:00"), at("2026-06-01T03:29"), UTC) == []


def test_one_that_is_expected_often_has_half_the_time_until_the_next() -> None:
    often = Expectation("often", "*/10 * * * *", "x")
    assert often.over(at("2026-06-01T00:00"), at("2026-06-01T00:15"), UTC) == [
        (at("2026-06-01T00:10"), at("2026-06-01T00:15"))
    ]


@pytest.mark.parametrize(
    ("start", "is_there"),
    [(-EARLY_SECONDS - 1, False), (-EARLY_SECONDS, True), (0, True), (3600, True), (3601, False)],
)
def test_a_start_counts_from_a_little_before_until_the_last_moment(start: float, is_there: bool) -> None:
    pair = (1000.0, 4600.0)
    assert (missed([pair], [1000.0 + start], None) is None) is is_there


def test_missed_ones_are_added_to_those_before() -> None:
    before = Missed(1000.0, 2000.0, 2)
    found = missed([(3000.0, 4000.0), (5000.0, 6000.0)], [3100.0], before)
    assert found == Missed(1000.0, 5000.0, 3)
    assert not is_made_up(found, [3100.0])
    assert is_made_up(found, [6100.0])


def test_after_years_without_a_look_one_a_minute_takes_a_moment() -> None:
    each_minute = Expectation("x", "* * * * *", "x")
    assert len(each_minute.over(0.0, at("2026-06-01T00:00"), BERLIN)) < 4 * PAST_MAX
    assert len(NIGHTLY.over(0.0, at("2026-06-01T12:00"), BERLIN)) in (399, 400, 401)


def test_times_in_a_part_of_the_day_are_found_after_a_long_time() -> None:
    burst = Expectation("x", "*/5 2 * * *", "x")
    over = burst.over(0.0, at("2026-06-03T19:40"), UTC)
    assert over[-1][0] == at("2026-06-03T02:55") and len(over) > 12


def test_an_expression_that_comes_once_in_decades_ends_no_search() -> None:
    rare = Expectation("x", "0 0 29 2 mon#5", "x")
    assert rare.over(0.0, at("2026-06-01T00:00"), UTC) == []
    assert rare.next_at(at("2026-06-01T00:00"), UTC) > at("2026-06-01T00:00") + timedelta(days=365).total_seconds()


def test_the_zone_of_this_machine_is_that_of_its_clock() -> None:
    now = at("2026-06-01T00:00")
    assert datetime.fromtimestamp(now, LOCAL).hour == time.localtime(now).tm_hour
