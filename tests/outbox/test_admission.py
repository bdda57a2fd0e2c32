"""What an outbox that fills still takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from sfwebhooks.catalogue import EVENT_TYPES
from sfwebhooks.endpoints import RISK_NAMES
from sfwebhooks.outbox.admission import MARKS, fullness_mark, is_refused
from sfwebhooks.outbox.file import FILE, Storage
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.pipeline import accept
from sfwebhooks.screening import Screen, Wanted
from sfwebhooks.severity import Severity
from tests.builders import NOW, a_scan, an_endpoint, an_event
from tests.conftest import sql
from tests.rows import in_one

STORES = ("sqlite", "postgres")

EVERY = an_endpoint(events=("all",))


@pytest.mark.parametrize("severity", Severity)
def test_a_finding_is_taken_below_the_mark_of_its_severity_and_refused_from_there_on(severity: Severity) -> None:
    event = an_event(type=RISK_NAMES[severity], severity=severity)
    mark = MARKS[severity]
    assert (is_refused(event, mark - 0.001), is_refused(event, mark)) == (False, True)


def test_the_marks_rise_with_the_severity() -> None:
    assert [MARKS[severity] for severity in Severity] == [0.7, 0.8, 0.9, 1.0, 1.0]


@in_one("name", [one.name for one in EVENT_TYPES if one.name not in RISK_NAMES.values()])
def test_events_other_than_findings_are_always_accepted(name: str) -> None:
    assert not is_refused(an_event(type=name, severity=Severity.INFO), 2.0)


@pytest.mark.parametrize(("fullness", "mark"), [(0.0, 0.0), (0.69, 0.0), (0.7, 0.7), (0.85, 0.8), (1.5, 1.0)])
def test_the_mark_is_the_highest_one_that_is_reached(fullness: float, mark: float) -> None:
    assert fullness_mark(fullness) == mark


# --- in the outbox


@pytest.fixture
def small(tmp_path: Path) -> Outbox:
    """An outbox that may become half a megabyte large."""
    return Outbox(tmp_path / FILE, storage=Storage(max_bytes=500_000))


def fill(outbox: Outbox, severity: Severity, events: int = 1000) -> int:
    """Accept findings of a severity until one is refused; return how many were taken."""
    for number in range(events):
        event = an_event(
            number + 10_000 * severity, type=RISK_NAMES[severity], severity=severity, data={"data": "x" * 5000}
        )
        if not accept([event], Screen((EVERY,)), outbox, NOW):
            return number
    raise AssertionError("none was refused")


def test_what_is_less_serious_is_refused_first(small: Outbox) -> None:
    taken = [fill(small, severity) for severity in Severity]
    assert taken[0] > 10 and all(count > 1 for count in taken[:4])


def test_what_is_refused_does_not_hold_up_what_comes_with_it(small: Outbox) -> None:
    fill(small, Severity.INFO)
    events = [
        an_event(number, type=RISK_NAMES[severity], severity=severity)
        for number, severity in enumerate((Severity.INFO, Severity.HIGH), start=90_000)
    ]
    assert small.accept([(event, [Wanted("team", event.type)]) for event in events], NOW) == 1


def test_what_was_accepted_is_never_thrown_out(small: Outbox) -> None:
    taken = fill(small, Severity.INFO)
    fill(small, Severity.HIGH)
    assert len(sql(small, "SELECT 1 FROM event WHERE type = 'info_event'")) == taken


def test_what_is_refused_is_counted_for_each_endpoint(small: Outbox) -> None:
    fill(small, Severity.INFO)
    others = an_endpoint("others", events=("all",))
    for number in range(3):
        accept([an_event(number, type="info_event", severity=Severity.INFO)], Screen((EVERY, others)), small, NOW)
    scan_id = a_scan().id
    assert small.scans.withheld(scan_id) == {"others": {"outbox_full": 3}, "team": {"outbox_full": 4}}


def test_what_was_refused_is_accepted_once_there_is_room(small: Outbox) -> None:
    fill(small, Severity.INFO)
    event = an_event(99_999, type="info_event", severity=Severity.INFO)
    accept([event], Screen((EVERY,)), small, NOW)
    larger = Outbox(small.path, storage=Storage())
    assert accept([event], Screen((EVERY,)), larger, NOW) == 1


def test_the_numbers_have_no_gap_for_what_was_refused(small: Outbox) -> None:
    taken = fill(small, Severity.INFO)
    accept([an_event(99_999)], Screen((EVERY,)), small, NOW)
    assert sql(small, "SELECT max(sequence) FROM delivery") == [(taken + 1,)]
