from __future__ import annotations

import pytest

from sfwebhooks.receive.clock_skew import clock_words
from tests.builders import NOW


def words(sent: float, at: float | None, now: float = NOW) -> str:
    good, text = clock_words(str(int(sent)), at, now)
    assert not good
    return text


@pytest.mark.parametrize("age", [-300, -1, 0, 1, 300])
@pytest.mark.parametrize("at", [None, NOW])
def test_a_time_in_the_tolerance_is_good(age: int, at: float | None) -> None:
    assert clock_words(str(int(NOW) - age), at, NOW)[0]


def test_it_is_said_by_how_much_and_how_much_is_allowed() -> None:
    assert words(NOW - 301, NOW).startswith("2026-11-21 09:54:59 UTC, 5 min 1 s before the receiver's clock (5 min are")


def test_a_captured_request_is_judged_by_the_time_of_its_receipt() -> None:
    assert clock_words(str(int(NOW)), NOW + 1, NOW + 86400)[0]


@pytest.mark.parametrize(
    ("sent", "at", "cause"),
    [
        (NOW + 4000, None, "the sender's clock is ahead, or this one is behind"),
        (NOW - 4000, None, "pass that time with --now"),
        (NOW, NOW + 4000, "the receiver's clock is ahead, by at least 1 h 6 min"),
        (NOW + 4000, NOW, "the sender's clock is ahead, by at least 1 h 6 min"),
        (NOW - 100, NOW - 4000, "no delay explains this"),
        (NOW - 4000, NOW - 100, "held up or replayed on the way"),
    ],
)
def test_the_wrong_clock_is_named_as_far_as_three_clocks_show_it(sent: float, at: float | None, cause: str) -> None:
    assert cause in words(sent, at)


@pytest.mark.parametrize(
    ("off", "zone"),
    [
        (3600, "almost exactly 1 h"),
        (-7205, "almost exactly 2 h"),
        (19800, "almost exactly 5 h 30 min"),
        (3700, ""),
        (86400, ""),
    ],
)
def test_whole_half_hours_look_like_a_time_zone(off: int, zone: str) -> None:
    assert ("almost exactly" in words(NOW - off, NOW), zone in words(NOW - off, NOW)) == (bool(zone), True)


@pytest.mark.parametrize(
    ("stamp", "said"),
    [
        ("1795255200000", "is in milliseconds (2026-11-21 10:00:00 UTC)"),
        ("1795255200000000", "is in microseconds (2026-11-21 10:00:00 UTC)"),
        ("1795255200000000000", "is in nanoseconds (2026-11-21 10:00:00 UTC)"),
        ("1795255200.5", "not in whole seconds: it has a fraction"),
        ("2026-11-21T10:00:00Z", "it is a date"),
        ("Sat, 21 Nov 2026 10:00:00 GMT", "it is a date"),
        ("now", "not in whole seconds"),
        ("-1", "not in whole seconds"),
        ("²", "not in whole seconds"),
        ("9" * 20, "is in nanoseconds"),
        ("9" * 5000, "is not a time"),
        ("0", "1970-01-01 00:00:00 UTC"),
    ],
)
def test_a_time_in_another_unit_is_recognised(stamp: str, said: str) -> None:
    good, text = clock_words(stamp, None, NOW)
    assert (good, said in text) == (False, True)
