from __future__ import annotations

import pytest

from sfwebhooks.delivery.pace import Pace
from sfwebhooks.health import SET_SECONDS
from tests.builders import NOW


def test_without_a_rate_nothing_waits() -> None:
    pace = Pace().after(NOW)
    assert (pace.wait(NOW), pace.open_at) == (0.0, 0.0)


@pytest.mark.parametrize(("later", "wait"), [(0.0, 10.0), (4.0, 6.0), (9.5, 0.5), (10.0, 0.0), (11.0, 0.0)])
def test_attempts_start_an_interval_apart(later: float, wait: float) -> None:
    assert Pace(10.0).after(NOW).wait(NOW + later) == wait


def test_a_clock_that_is_corrected_a_little_adds_no_more_than_an_interval() -> None:
    assert Pace(10.0).after(NOW).wait(NOW - SET_SECONDS) == 10.0


def test_a_clock_that_was_set_back_holds_nothing_up() -> None:
    assert Pace(10.0).after(NOW).wait(NOW - SET_SECONDS - 1) == 0.0
