"""The list of scans, where it is not asked over HTTP (`tests/web/test_scans.py`)."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.scan_list import ScanCounts, ScanList
from sfwebhooks.retry import State
from tests.builders import a_scan
from tests.filled import begin, end, put, send

STORES = ("sqlite", "postgres")


def counts(outbox: Outbox, known: ScanCounts) -> list[Mapping[str, int]]:
    return [one.deliveries for one in ScanList(outbox.database, known).scans(10)]


@pytest.fixture
def slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each count take so long that it serves for ever."""
    monkeypatch.setattr("sfwebhooks.outbox.scan_list.COUNT_SHARE", 1e-12)
    monkeypatch.setattr("sfwebhooks.outbox.scan_list.SETTLED_SHARE", 1e-12)


@pytest.mark.usefixtures("slowly")
def test_what_took_long_to_count_is_not_counted_again_until_it_is_known_to_have_changed(outbox: Outbox) -> None:
    begin(outbox, a_scan())
    put(outbox, 1, 2)
    known = ScanCounts()
    assert counts(outbox, known) == [{"waiting": 2, "delivered": 0, "dead": 0}]
    send(outbox)
    assert counts(outbox, known) == [{"waiting": 2, "delivered": 0, "dead": 0}]
    known.forget()
    assert counts(outbox, known) == [{"waiting": 1, "delivered": 1, "dead": 0}]


def test_a_scan_that_is_settled_is_known_for_longer_than_one_that_goes_on(outbox: Outbox) -> None:
    over, running, waiting = (a_scan(f"S{number}") for number in range(3))
    for number, scan in enumerate((over, running, waiting)):
        begin(outbox, scan)
        put(outbox, number, scan=scan)
        if scan is not waiting:
            send(outbox)
        if scan is not running:
            end(outbox, scan)
    known = ScanCounts()
    counts(outbox, known)
    until = [at for _, (at, _) in sorted(known._known.items())]
    assert until[0] > until[1] == until[2]


@pytest.mark.usefixtures("slowly")
def test_only_what_is_not_known_is_counted(outbox: Outbox) -> None:
    one, other = a_scan("S1"), a_scan("S2")
    begin(outbox, one)
    put(outbox, 1, scan=one)
    known = ScanCounts()
    counts(outbox, known)
    begin(outbox, other)
    put(outbox, 2, scan=other)
    put(outbox, 3, scan=one)
    assert [its[State.WAITING.value] for its in counts(outbox, known)] == [1, 1]


def test_the_counts_of_some_scans_are_known(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sfwebhooks.outbox.scan_list.COUNTS_MAX", 3)
    known, scans = ScanCounts(), [a_scan(f"S{number}") for number in range(5)]
    for scan in scans:
        begin(outbox, scan)
        assert ScanList(outbox.database, known).scan(scan.id)
    assert [number for _, number in known._known] == [3, 4, 5]
