"""Two sources of a scan's numbers, compared type by type."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from typing import Callable

import pytest

from sfwebhooks.outbox.finding_counts import TOP_MAX, FindingCounts, TopFinding, worst_findings
from sfwebhooks.severity import Severity
from tests.builders import NOW
from tests.threads import waits_for

CVE, MAIL = "VULNERABILITY_CVE_HIGH", "EMAILADDR"


def test_of_each_type_the_fuller_numbers_are_taken_from_either_side() -> None:
    one = FindingCounts([(CVE, Severity.HIGH, 8), (MAIL, Severity.INFO, 59)])
    other = FindingCounts([(CVE, Severity.HIGH, 12)])
    for both in (one.fuller(other), other.fuller(one)):
        assert (both.total, both.data["events_by_type"]) == (71, {MAIL: 59, CVE: 12})
        assert (both.data["high_risk_events"], both.data["info_events"]) == (12, 59)


def test_a_type_that_both_count_under_other_severities_is_not_counted_twice() -> None:
    both = FindingCounts([(MAIL, Severity.INFO, 3)]).fuller(
        FindingCounts([(MAIL, Severity.INFO, 2), (MAIL, Severity.CRITICAL, 2)])
    )
    assert (both.total, both.data["info_events"], both.data["high_risk_events"]) == (4, 2, 2)


def test_no_findings_have_counts_too() -> None:
    assert FindingCounts().fuller(FindingCounts()).data == {
        **dict.fromkeys(
            ("events_found", "high_risk_events", "medium_risk_events", "low_risk_events", "info_events"), 0
        ),
        "events_by_severity": dict.fromkeys(("critical", "high", "medium", "low", "info"), 0),
        "events_by_type": {},
    }


@pytest.fixture
def _impatient() -> Iterator[None]:
    """Threads take turns as often as possible."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("_impatient")
def test_two_threads_add_while_others_read() -> None:
    growing = FindingCounts()

    def add(name: str) -> None:
        for number in range(500):
            growing.add("TYPE", Severity.INFO)
            growing.add(f"{name}_{number}", Severity.INFO)

    adding = [threading.Thread(target=add, args=(name,)) for name in ("A", "B")]
    for thread in adding:
        thread.start()
    while any(thread.is_alive() for thread in adding):
        assert growing.fuller(FindingCounts()).total <= 2000
    assert growing.data["events_by_type"]["TYPE"] == 1000
    assert growing.total == 2000


def test_the_worst_are_each_there_once_and_the_newest_first() -> None:
    found = [TopFinding(CVE, "d", Severity.HIGH, NOW + number, "m", f"h{number}") for number in range(TOP_MAX + 2)]
    found.append(TopFinding(CVE, "d", Severity.CRITICAL, NOW - 1, "m", "old"))
    assert [one.hash for one in worst_findings([*found, *found])] == [
        "old",
        *(f"h{number}" for number in range(11, 2, -1)),
    ]


@pytest.mark.parametrize("use", [lambda counts: counts.add("IP_ADDRESS", Severity.INFO), lambda counts: counts.total])
def test_one_thread_at_a_time_uses_the_numbers(use: Callable[[FindingCounts], object]) -> None:
    counts = FindingCounts()
    assert waits_for(counts._lock, lambda: use(counts))
