"""Pages of a listing: together they are the whole, whatever comes and goes meanwhile, and each costs the same."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sfwebhooks.errors import SelectionError
from sfwebhooks.events import delivery_id
from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.paging import Paging, RecordPage
from sfwebhooks.outbox.selection import Selection
from sfwebhooks.retry import State
from tests.builders import NOW, a_scan, an_event
from tests.conftest import sql
from tests.filled import begin, put, put_event, send
from tests.outbox_rows import steps
from tests.rows import in_one

STORES = ("sqlite", "postgres")

DEAD = Selection(states=(State.DEAD,))
ALL = Selection()
OTHER = a_scan("5C4A0002", target="other.example")


@pytest.fixture
def filled(outbox: Outbox) -> Outbox:
    """Return an outbox with forty deliveries of two scans to two endpoints, in all states."""
    for scan in (a_scan(), OTHER):
        begin(outbox, scan)
    for number in range(1, 41):
        endpoint, scan = ("team", "siem")[number % 2], (a_scan(), OTHER)[number % 3 == 0]
        put(outbox, number, endpoint=endpoint, at=NOW + number, scan=scan)
        if number % 4 < 2:
            state, reason = ((State.DEAD, "http_400"), (State.DELIVERED, "http_200"))[number % 4]
            send(outbox, state, reason, endpoint=endpoint, at=NOW + number)
    return outbox


def pages(outbox: Outbox, selection: Selection, limit: int, rows: int = 100_000) -> Iterator[RecordPage]:
    """Yield all pages."""
    cursor, paging = "", Paging(outbox.database, rows)
    while True:
        page = paging.page(selection, limit, cursor)
        yield page
        cursor = page.next
        if not cursor:
            return


def ids_of(found: Iterator[RecordPage]) -> list[str]:
    return [record.id for page in found for record in page.records]


@pytest.mark.parametrize(
    "selection",
    [
        ALL,
        Selection(endpoint="team"),
        Selection(scan=OTHER.id),
        Selection(type="high_*"),
        Selection(since=NOW + 10, until=NOW + 20),
        Selection(states=(State.WAITING,)),
        Selection(states=(State.DELIVERED,), endpoint="siem"),
        Selection(reason="http_400"),
        Selection(text="tea"),
        Selection(text="other.ex"),
        Selection(text="http_2"),
        DEAD,
        replace(DEAD, endpoint="team"),
        replace(DEAD, scan=OTHER.id),
        Selection(endpoint="nobody"),
        Selection(scan="nothing"),
    ],
)
@in_one("limit", [1, 3, 100])
@in_one("rows", [1, 7, 1000])
def test_all_pages_together_are_the_listing(filled: Outbox, selection: Selection, limit: int, rows: int) -> None:
    found = list(pages(filled, selection, limit, rows))
    whole = filled.listing.deliveries(selection, 1000)
    if selection.states == (State.DEAD,):
        whole = sorted(whole, key=lambda one: one.settled_at or 0.0, reverse=True)
    assert [record for page in found for record in page.records] == whole
    assert all(len(page.records) <= limit for page in found)


def test_a_page_that_is_full_and_the_last_has_no_next(filled: Outbox) -> None:
    assert [len(page.records) for page in pages(filled, ALL, 20)] == [20, 20]


@pytest.mark.parametrize("beginning", [8, 12, 36])
def test_a_text_is_the_beginning_of_an_id(filled: Outbox, beginning: int) -> None:
    event = an_event(6, scan=OTHER)
    wanted = delivery_id(event.id, "team")
    for id in (event.id, wanted):
        assert ids_of(pages(filled, Selection(text=id[:beginning]), 10, rows=1)) == [wanted]
    assert ids_of(pages(filled, Selection(text=event.id, endpoint="siem"), 10)) == []


def test_the_text_of_an_id_that_is_none_is_sought_elsewhere(outbox: Outbox) -> None:
    put(outbox, 1, endpoint="deadbeef-team")
    assert len(ids_of(pages(outbox, Selection(text="deadbeef"), 10))) == 1


@pytest.mark.parametrize("selection", [ALL, DEAD])
def test_what_comes_and_goes_meanwhile_moves_nothing_to_another_page(filled: Outbox, selection: Selection) -> None:
    whole = ids_of(pages(filled, selection, 100))
    first = filled.paging.page(selection, 4)
    put(filled, 101, 102, at=NOW + 101)
    send(filled, State.DEAD, "http_410", endpoint="team", at=NOW + 200)
    gone = [first.records[-1].id, whole[5]]  # that of the cursor's place, and one of the next page
    sql(filled, "UPDATE scan SET ended = 'scan_completed'")
    assert filled.retention.purge(Selection(ids=tuple(gone), states=tuple(State))) == 2
    rest = ids_of(iter([filled.paging.page(selection, 100, first.next)]))
    assert rest == [id for id in whole[4:] if id not in gone]


def test_a_dead_letter_that_is_replayed_leaves_the_pages(filled: Outbox) -> None:
    whole = ids_of(pages(filled, DEAD, 100))
    first = filled.paging.page(DEAD, 2)
    filled.retention.replay(Selection(ids=(whole[1], whole[2])), NOW + 500)
    assert ids_of(iter([filled.paging.page(DEAD, 100, first.next)])) == whole[3:]


def test_many_that_died_at_the_same_time_are_in_order(outbox: Outbox) -> None:
    put(outbox, *range(1, 31), at=NOW)
    outbox.retention.end(ALL, NOW)
    numbers = [record.sequence for page in pages(outbox, DEAD, 4) for record in page.records]
    assert numbers == list(range(30, 0, -1))


@pytest.mark.sqlite("SQLite's steps")
@pytest.mark.parametrize("selection", [ALL, DEAD])
def test_the_number_of_rows_before_a_page_makes_no_difference(outbox: Outbox, selection: Selection) -> None:
    put(outbox, *range(1, 3001), at=NOW)
    outbox.retention.end(ALL, NOW)
    costs: list[int] = []
    cursor = ""
    while not costs or cursor:
        with steps(outbox) as counted:
            cursor = outbox.paging.page(selection, 50, cursor).next
        costs.append(counted[0])
    assert len(costs) == 60
    assert max(costs) <= 1.2 * min(costs), costs


@pytest.mark.sqlite("SQLite's steps")
@pytest.mark.parametrize(
    "selection", [Selection(endpoint="none"), Selection(text="none"), Selection(states=(State.DELIVERED,))]
)
def test_a_page_of_what_is_rare_looks_at_some_rows_only(outbox: Outbox, selection: Selection) -> None:
    put(outbox, *range(1, 2001), at=NOW)
    paging = Paging(outbox.database, 100)
    with steps(outbox) as counted:
        page = paging.page(selection, 50)
    assert not page.records and page.next
    with steps(outbox) as whole:
        Paging(outbox.database).page(selection, 50)
    assert counted[0] * 5 < whole[0]


@pytest.mark.parametrize(
    "cursor", ["x", "0", "\x00", "é", "=" * 30, "AAAA" * 20, "../..", base64.urlsafe_b64encode(bytes(25)).decode()]
)
@pytest.mark.parametrize("selection", [ALL, DEAD])
def test_a_forged_cursor_is_refused(filled: Outbox, cursor: str, selection: Selection) -> None:
    with pytest.raises(SelectionError, match="cursor is not the next of a page"):
        filled.paging.page(selection, 10, cursor)


def test_a_changed_cursor_is_refused(filled: Outbox) -> None:
    cursor = filled.paging.page(ALL, 10).next
    raw = base64.urlsafe_b64decode(cursor + "==")
    for at in range(len(raw)):
        other = base64.urlsafe_b64encode(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]).decode().rstrip("=")
        with pytest.raises(SelectionError):
            filled.paging.page(ALL, 10, other)


def test_a_cursor_is_of_one_order_and_of_one_file(filled: Outbox, tmp_path: Path) -> None:
    cursor = filled.paging.page(ALL, 10).next
    (tmp_path / "other").mkdir()
    other = Outbox(tmp_path / "other" / FILE)
    put(other, 1)
    for outbox, selection in ((filled, DEAD), (other, ALL)):
        with pytest.raises(SelectionError):
            outbox.paging.page(selection, 10, cursor)
    other.close()


def test_an_outbox_that_is_not_there_has_one_empty_page(tmp_path: Path) -> None:
    assert Outbox(tmp_path / FILE, listing=True).paging.page(ALL, 10) == RecordPage([], [], "")
    assert not (tmp_path / FILE).exists()


@pytest.mark.sqlite("a column of PostgreSQL has values of one type")
@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE delivery SET accepted_at = 'zz' WHERE number = 38",
        "UPDATE delivery SET state = x'ff' WHERE number = 38",
        "UPDATE delivery SET endpoint = x'ff00' WHERE number = 38",
        "UPDATE delivery SET attempts = x'ff' WHERE number = 38",
        "UPDATE event SET id = 'abc' WHERE number = 38",
        "UPDATE event SET severity = 'x' WHERE number = 38",
    ],
)
def test_a_damaged_row_is_named_and_hides_no_other(filled: Outbox, damage: str) -> None:
    sql(filled, damage)
    found = list(pages(filled, ALL, 3))
    assert len(ids_of(iter(found))) == 39
    assert sum(len(page.damaged) for page in found) == 1


@pytest.mark.sqlite("a column of PostgreSQL has values of one type")
def test_dead_letters_without_a_time_are_passed_over(filled: Outbox) -> None:
    before = ids_of(pages(filled, DEAD, 3))
    ((number,),) = sql(filled, "SELECT number FROM delivery WHERE state = 'dead' ORDER BY settled_at DESC LIMIT 1")
    for value in ("'zz'", "NULL", "x'ff'"):
        sql(filled, f"UPDATE delivery SET settled_at = {value} WHERE number = {number}")
        assert ids_of(pages(filled, DEAD, 3)) == before[1:]


def test_dead_letters_are_counted_by_endpoint_and_reason(filled: Outbox) -> None:
    put_event(filled, an_event(50), "team", at=NOW + 50)
    send(filled, State.DEAD, "http_410", endpoint="team", at=NOW + 50)
    found = [(one.endpoint, one.reason, one.number) for one in filled.paging.dead_letters(DEAD)]
    assert sum(number for *_, number in found) == len(filled.listing.deliveries(DEAD, 1000))
    assert found == sorted(found, key=lambda one: -one[2])
    its = filled.paging.dead_letters(replace(DEAD, reason="http_410"))
    assert [(one.endpoint, one.number, one.last_at) for one in its] == [("team", 1, NOW + 50.125)]


def test_an_unknown_scan_is_not_that_of_events_without_one(outbox: Outbox) -> None:
    put_event(outbox, an_event(1, scan=None))
    assert outbox.listing.deliveries(Selection(scan="nothing"), 10) == []
    assert outbox.listing.counts(Selection(scan="nothing")) == {}
