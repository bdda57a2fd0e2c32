"""The examination: a check that fails, or never ends, costs only itself."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sfwebhooks.config.settings import Settings
from sfwebhooks.doctor.examination import examine, in_time
from sfwebhooks.doctor.installation import Installation, Level, Report
from sfwebhooks.errors import OutboxError


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path, Settings)


def well(found: Installation) -> Iterator[Report]:
    yield Report("last", "well")


def test_a_check_that_fails_says_so_and_the_others_follow(installation: Installation) -> None:
    def broken(found: Installation) -> Iterator[Report]:
        yield Report("first", "lost")
        raise KeyError("oops")

    failed, last = examine(installation, (("first", broken), ("last", well)))
    assert (failed.name, failed.level) == ("first", Level.WARNING)
    assert re.fullmatch(r"the check failed: KeyError in test_examination\.py, line \d+", failed.words)
    assert last == Report("last", "well")


def test_an_error_for_the_operator_is_reported_as_it_is(installation: Installation) -> None:
    def refused(found: Installation) -> Iterator[Report]:
        raise OutboxError("the outbox cannot be used")
        yield

    first, last = examine(installation, (("first", refused), ("last", well)))
    assert (first.words, first.level, last.level) == ("the outbox cannot be used", Level.WARNING, Level.OK)


def test_a_check_that_never_ends_is_left_behind(installation: Installation) -> None:
    answer = threading.Event()

    def hanging(found: Installation) -> Iterator[Report]:
        answer.wait()
        yield Report("first", "late")

    first, last = examine(installation, (("first", hanging), ("last", well)), limit=0.05)
    answer.set()
    assert (first.level, last.words) == (Level.WARNING, "well")
    assert first.words.startswith("no result within ")
    assert "network file system does not answer" in first.cure


def test_within_a_limit_results_and_errors_are_those_of_the_function() -> None:
    assert in_time(60.0, lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        in_time(60.0, lambda: 1 // 0)
    answer = threading.Event()
    with pytest.raises(TimeoutError):
        in_time(0.01, answer.wait)
    answer.set()
