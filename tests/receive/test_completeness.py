"""The completeness check: complete, or what is missing, for each scan and endpoint, whatever the order."""

from __future__ import annotations

import json
import random
import tracemalloc
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from sfwebhooks.events import Batch, Delivery
from sfwebhooks.formats import FORMATS, render
from sfwebhooks.receive.completeness import ACCOUNTS_MAX, RECENT_MAX, CompletenessCheck, Numbers
from tests.builders import SERIES, a_delivery, a_scan, an_endpoint, an_event

LATER = "series-two"
RECEIPT = {"last_sequence": 5, "accepted": 5, "withheld": 0, "withheld_by_reason": {}, "not_wanted": 0, "dead": 0}


def a_message(event: int, end: str = "", style: str = "generic", scan: str = "5C4A0001", **values: Any) -> Any:
    """Return a message as it is sent, numbered like its event if no `number` is given.

    Args:
        end: the name under which it tells the scan's end.
    """
    receipt, number = values.pop("receipt", None), values.pop("number", event)
    data = {"scan_id": scan, **({"receipt": receipt} if receipt else {})}
    sent = an_event(event, scan=a_scan(scan), type=end or "high_risk_event", data=data)
    return json.loads(rendered(replace(a_delivery(sent, **values), sequence=number), style))


def rendered(delivery: Delivery, style: str) -> bytes:
    return render(Batch((delivery,)), an_endpoint(delivery.endpoint, format=style)).body


def entered(messages: Iterable[Any], check: CompletenessCheck | None = None) -> list[str]:
    """Return what the check says, message by message."""
    check = check or CompletenessCheck()
    return [str(account) for account in map(check.enter, messages) if account]


@pytest.mark.parametrize("style", ["generic", "siem"])
@pytest.mark.parametrize("name", ["scan_completed", "scan_failed", "scan_aborted", "scan.completed"])
def test_a_scan_of_which_all_came_is_complete(style: str, name: str) -> None:
    messages = [*(a_message(number, style=style) for number in (2, 1, 3, 4)), a_message(5, name, style)]
    assert entered(messages) == ["scan 5C4A0001 for team: complete, 5 of 5 messages, none missing"]


def test_what_is_missing_is_named() -> None:
    messages = [*(a_message(number) for number in (1, 2, 3, 6, 8)), a_message(9, "scan_completed")]
    assert entered(messages) == [
        "scan 5C4A0001 for team: incomplete so far, 6 of 9 messages, 3 missing (#4-5, #7)",
    ]


def test_of_many_gaps_some_are_named() -> None:
    messages = [*(a_message(number) for number in range(2, 40, 2)), a_message(40, "scan_completed")]
    (line,) = entered(messages)
    assert line.endswith("20 of 40 messages, 20 missing (#1, #3, #5, #7, #9, #11, #13, #15 and 12 more)")


def test_what_comes_after_the_end_makes_it_complete_and_that_is_said_once() -> None:
    late = [a_message(5, "scan_completed"), *(a_message(number) for number in (1, 2, 4, 3, 3))]
    assert entered(late) == [
        "scan 5C4A0001 for team: incomplete so far, 1 of 5 messages, 4 missing (#1-4)",
        "scan 5C4A0001 for team: complete, 5 of 5 messages, none missing",
    ]


def test_repeats_are_counted_by_themselves() -> None:
    messages = [*(a_message(number) for number in (1, 1, 2, 1)), a_message(3, "scan_completed")]
    assert entered(messages) == ["scan 5C4A0001 for team: complete, 3 of 3 messages, none missing; 2 repeated"]


def test_what_was_not_sent_is_shown_as_in_the_receipt() -> None:
    receipt = {**RECEIPT, "withheld": 12, "withheld_by_reason": {"outbox_full": 12}, "not_wanted": 1560, "dead": 1}
    messages = [*(a_message(number) for number in (1, 2, 4)), a_message(5, "scan_completed", receipt=receipt)]
    (line,) = entered(messages)
    assert line.partition("; ")[2].split("; ") == [
        "12 withheld by the sender (12 outbox_full)",
        "1 dead at the sender",
        "1,560 not subscribed to",
    ]


def test_a_series_that_the_receipt_does_not_name_does_not_count() -> None:
    check = CompletenessCheck()
    before = [a_message(number) for number in (1, 2, 3)]
    again = [a_message(place, number=number, series=LATER) for number, place in enumerate((1, 4, 2), start=1)]
    (line,) = entered([*before, *again, a_message(5, "scan_completed", series=LATER)], check)
    assert line == (
        "scan 5C4A0001 for team: incomplete so far, 4 of 5 messages, 1 missing (#4); 3 in series that no longer count"
    )
    (line,) = entered([a_message(3, number=4, series=LATER)], check)
    assert line.startswith("scan 5C4A0001 for team: complete, 5 of 5 messages, none missing;")


def test_a_series_that_the_receipt_names_must_have_come_too() -> None:
    check = CompletenessCheck()
    receipt = {**RECEIPT, "series": LATER, "last_sequence": 2, "earlier_series": {SERIES: 3}}
    end = a_message(5, "scan_completed", number=2, series=LATER, receipt=receipt)
    (line,) = entered([a_message(1), a_message(3), end], check)
    assert line == (
        "scan 5C4A0001 for team: incomplete so far, 3 of 5 messages,"
        " 2 missing (#2 of series series-one, #1 of series series-two)"
    )
    (line,) = entered([a_message(2), a_message(4, number=1, series=LATER)], check)
    assert line == "scan 5C4A0001 for team: complete, 5 of 5 messages, none missing"


def test_of_a_series_that_the_receipt_names_nothing_may_have_come() -> None:
    end = a_message(1, "scan_completed", receipt={**RECEIPT, "last_sequence": 1, "earlier_series": {LATER: 2}})
    assert entered([end]) == [
        "scan 5C4A0001 for team: incomplete so far, 1 of 3 messages, 2 missing (#1-2 of series series-two)"
    ]


def test_before_the_end_has_come_all_series_count() -> None:
    check = CompletenessCheck()
    entered([a_message(1), a_message(3), a_message(1, series=LATER), a_message(4, number=2, series=LATER)], check)
    assert [str(account) for account in check.open] == [
        "scan 5C4A0001 for team: its closing event has not arrived; 4 messages, 1 missing (#2 of series series-one)"
    ]


def test_an_end_in_a_series_that_came_later_is_the_last_one() -> None:
    check = CompletenessCheck()
    first = [a_message(1), a_message(2, "scan_completed")]
    again = [a_message(2, "scan_completed", number=3, series=LATER), *(a_message(n, series=LATER) for n in (1, 3))]
    entered([a_message(3, number=3), *first], check)
    lines = entered([*again[:1], first[1], *again[1:], a_message(3, number=2, series=LATER)], check)
    assert [line.split(",")[0].rpartition(": ")[2] for line in lines] == ["incomplete so far", "complete"]


def test_a_message_after_the_end_is_not_a_gap() -> None:
    check = CompletenessCheck()
    entered([a_message(1), a_message(2, "scan_completed"), a_message(5)], check)
    (line,) = entered([a_message(6), a_message(6, "scan_completed")], check)
    assert "incomplete so far, 4 of 6 messages, 2 missing (#3-4)" in line


def test_each_scan_and_each_endpoint_has_an_account_of_its_own() -> None:
    messages = [a_message(1), a_message(1, endpoint="siem"), a_message(1, scan="OTHER")]
    ends = [a_message(2, "scan_completed", endpoint="siem"), a_message(2, "scan_failed", scan="OTHER")]
    assert entered([*messages, *ends]) == [
        "scan 5C4A0001 for siem: complete, 2 of 2 messages, none missing",
        "scan OTHER for team: complete, 2 of 2 messages, none missing",
    ]


def test_messages_with_the_number_of_another_one_are_counted() -> None:
    messages = [a_message(1), a_message(2), a_message(1, id="another"), a_message(3, "scan_completed")]
    assert entered(messages) == [
        "scan 5C4A0001 for team: complete, 3 of 3 messages, none missing; 1 with the number of another message"
    ]


def test_a_scan_whose_end_has_not_come_is_open() -> None:
    check = CompletenessCheck()
    entered([a_message(1), a_message(3), a_message(1, scan="OTHER"), a_message(2, "scan_failed", scan="OTHER")], check)
    assert [str(account) for account in check.open] == [
        "scan 5C4A0001 for team: its closing event has not arrived; 2 messages, 1 missing (#2)"
    ]


def test_what_belongs_to_no_scan_has_no_place_in_them() -> None:
    check = CompletenessCheck()
    alert = an_event(type="system_alert", scan=None, data={"alert": "test"})
    report = an_event(type="cti_report_generated", scan=None, data={"scan_id": "5C4A0001"})
    for event in (alert, report):
        for style in ("generic", "siem"):
            assert check.enter(json.loads(rendered(a_delivery(event), style))) is None
    assert check.open == []


ABOUT = {"scan_name": "n", "delivery_id": "d", "series": "s", "sequence": 1}
GENERIC = {"event_type": "scan_completed", "data": {"scan_id": "X"}, "metadata": ABOUT}


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"data": None, "metadata": "text"},
        {**GENERIC, "metadata": {**ABOUT, "delivery_id": None}},
        {**GENERIC, "metadata": {**ABOUT, "series": 1}},
        {**GENERIC, "metadata": {**ABOUT, "sequence": 10**12}},
        {**GENERIC, "metadata": {**ABOUT, "sequence": 0}},
        {**GENERIC, "metadata": {**ABOUT, "sequence": "1"}},
        {**GENERIC, "metadata": {"delivery_id": "d", "series": "s", "sequence": 1}},
        {"event_type": ["x"], "scan": {"id": ["x"]}, "raw_data": {}, "sequence": 1, "delivery_id": "d"},
        json.loads(FORMATS["slack"].render(a_delivery(), an_endpoint()).body),
    ],
)
def test_any_message_can_be_entered_and_rubbish_changes_nothing(message: Any) -> None:
    check = CompletenessCheck()
    assert (check.enter(message), check.open) == (None, [])


@pytest.mark.parametrize(
    "receipt",
    [
        *("text", {"withheld": "many", "withheld_by_reason": 7, "dead": None}, {}, {"earlier_series": "text"}),
        {"earlier_series": {"a": "1", "b": 0, "c": 10**12, "d": None}},
    ],
)
def test_a_receipt_of_another_shape_does_no_harm(receipt: Any) -> None:
    end = a_message(1, "scan_completed")
    end["data"]["receipt"] = receipt
    assert entered([end]) == ["scan 5C4A0001 for team: complete, 1 of 1 message, none missing"]


def test_a_great_number_takes_no_room() -> None:
    numbers = Numbers()
    numbers.add(1)
    numbers.add(10**9)
    assert numbers.gaps(10**9) == [(2, 10**9 - 1)]


def test_numbers_are_known_in_whatever_order_they_come() -> None:
    order, numbers, known = random.Random(7), Numbers(), set[int]()
    for number in (order.randint(1, 60) for _ in range(300)):
        assert numbers.add(number) is (number not in known)
        known.add(number)
        missing = [one for begin, end in numbers.gaps(50) for one in range(begin, end + 1)]
        assert missing == [one for one in range(1, 51) if one not in known]
        assert (numbers.count(), numbers.count(40)) == (len(known), len(known & set(range(40, 61))))
        assert (numbers.greatest, numbers.reach(50)) == (max(known), not missing)


# --- how much is kept


def bare(number: int, type: str = "high_risk_event", scan: str = "5C4A0001") -> dict[str, Any]:
    """Return as much of a message as the check looks at."""
    metadata = {"scan_name": "s", "endpoint": "team", "delivery_id": f"{scan}-{number:040}"}
    return {"event_type": type, "data": {"scan_id": scan}, "metadata": {**metadata, "series": "s", "sequence": number}}


def kept_bytes(messages: Iterable[Any]) -> int:
    """Return how much the check keeps of some messages."""
    tracemalloc.start()
    check = CompletenessCheck()
    for message in messages:
        check.enter(message)
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return kept


@pytest.mark.slow
def test_a_long_scan_takes_no_more_room_than_a_short_one() -> None:
    long, short = (kept_bytes(bare(number) for number in range(1, size)) for size in (20_000, 2 * RECENT_MAX))
    assert long < 1.2 * short


def test_a_long_scan_is_proved_as_a_short_one_is() -> None:
    messages = [bare(number) for number in range(1, 20_000) if number != 9000]
    late = [bare(1), bare(20_000, "scan_completed"), bare(20_000, "scan_completed"), bare(9000)]
    assert entered([*messages, *late]) == [
        "scan 5C4A0001 for team: incomplete so far, 19,999 of 20,000 messages, 1 missing (#9000); 1 repeated",
        "scan 5C4A0001 for team: complete, 20,000 of 20,000 messages, none missing; 2 repeated",
    ]


def scans(number: int) -> Iterator[Any]:
    for scan in range(number):
        yield from (bare(number, scan=f"{scan:08}") for number in range(1, 9))
        yield bare(9, "scan_completed", f"{scan:08}")


@pytest.mark.slow
def test_many_scans_that_are_complete_take_no_more_room_than_some() -> None:
    many, some = (kept_bytes(scans(number)) for number in (2 * ACCOUNTS_MAX, ACCOUNTS_MAX))
    assert many < 1.2 * some < 1500 * ACCOUNTS_MAX


def test_a_scan_that_is_open_is_not_forgotten_for_those_that_are_complete() -> None:
    check = CompletenessCheck()
    entered([bare(1, scan="OPEN"), *scans(ACCOUNTS_MAX + 1), bare(1, scan=f"{1:08}")], check)
    assert [account.scan for account in check.open] == ["OPEN"]


def test_of_too_many_scans_that_are_open_the_first_ones_are_forgotten_and_counted() -> None:
    check = CompletenessCheck()
    entered((bare(1, scan=f"{number:08}") for number in range(ACCOUNTS_MAX + 3)), check)
    assert (len(check.open), check.open[0].scan, check.forgotten) == (ACCOUNTS_MAX, "00000003", 3)
