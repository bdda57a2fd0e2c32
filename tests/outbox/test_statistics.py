"""The figures of `sfwebhooks stats`: each number of each endpoint in a period."""

from __future__ import annotations

import pytest

from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.selection import Selection
from sfwebhooks.outbox.statistics import Figures, Quantiles, Statistics, _first_since
from sfwebhooks.retry import State
from tests.builders import NOW, a_scan
from tests.conftest import sql
from tests.filled import begin, end, put, send

STORES = ("sqlite", "postgres")

DAY = 86400.0


def figures(outbox: Outbox, since: float = NOW) -> Figures:
    return Statistics(outbox.database).figures(since).get("team", Figures())


def test_an_outbox_without_attempts_has_no_figures(outbox: Outbox) -> None:
    put(outbox, 1)
    assert Statistics(outbox.database).figures(NOW) == {}


def test_each_result_is_counted_for_its_endpoint(outbox: Outbox) -> None:
    put(outbox, 1, 2, 3)
    put(outbox, 1, endpoint="siem")
    send(outbox)
    send(outbox, State.WAITING, "http_503")
    send(outbox, State.DEAD, "http_400")
    send(outbox, endpoint="siem")
    found = Statistics(outbox.database).figures(NOW)
    assert {name: (one.delivered, one.failed, one.dead) for name, one in found.items()} == {
        "team": (1, 2, 1),
        "siem": (1, 0, 0),
    }


def test_what_was_before_the_period_is_not_counted(outbox: Outbox) -> None:
    put(outbox, 1, 2, 3, 4)
    send(outbox, at=NOW)
    send(outbox, State.DEAD, "http_400", at=NOW)
    send(outbox, at=NOW + 2 * DAY)
    send(outbox, State.DEAD, "http_400", at=NOW + 2 * DAY)
    since = figures(outbox, NOW + DAY)
    assert (since.delivered, since.failed, since.dead) == (1, 1, 1)
    assert figures(outbox, NOW + 3 * DAY) == Figures()


def test_an_attempt_that_was_logged_before_earlier_ones_is_counted(outbox: Outbox) -> None:
    begin_of_period = NOW + 2 * DAY
    put(outbox, 1, 2, 3, 4)
    for at in (NOW, begin_of_period + 20, begin_of_period - 5, begin_of_period + 30):
        send(outbox, at=at)
    assert figures(outbox, begin_of_period).delivered == 2


@pytest.mark.parametrize("gaps", [(), (1,), (5, 6, 7), (12,), tuple(range(1, 12))])
def test_the_first_attempt_of_a_period_is_found_whatever_was_deleted(outbox: Outbox, gaps: tuple[int, ...]) -> None:
    put(outbox, *range(12))
    for at in range(1, 13):
        send(outbox, at=NOW + at)
    sql(outbox, f"DELETE FROM delivery_attempt WHERE id IN ({','.join(map(str, gaps))})")
    left = [at for at in range(1, 13) if at not in gaps]
    for since in range(14):
        with outbox.database.reading() as connection:
            found = _first_since(connection, NOW + since)
        assert [at for at in left if at >= found] == [at for at in left if at >= since], since


def test_the_latency_is_from_acceptance_to_delivery_and_not_that_of_an_attempt(outbox: Outbox) -> None:
    put(outbox, 1, 2)
    send(outbox, at=NOW + 4.05)
    send(outbox, State.WAITING, "http_503", at=NOW + 8)
    found = figures(outbox)
    assert (found.latency, found.attempt) == (Quantiles(4.1, 4.1), Quantiles(0.12, 0.12))


def test_the_latency_of_a_replay_is_from_the_replay(outbox: Outbox) -> None:
    put(outbox, 1)
    send(outbox, at=NOW + 4)
    outbox.retention.replay(Selection(), NOW + DAY)
    send(outbox, at=NOW + DAY + 30)
    found = figures(outbox)
    assert (found.delivered, found.latency) == (2, Quantiles(30.0, 30.0))


def test_half_of_the_deliveries_and_nearly_all_of_them_took_no_longer(outbox: Outbox) -> None:
    put(outbox, *range(100))
    for seconds in range(1, 101):
        send(outbox, at=NOW + seconds - 0.125)
    assert figures(outbox).latency == Quantiles(50.0, 95.0)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.0, 0.0), (0.0009, 0.0), (0.0999, 0.099), (0.129, 0.12), (1.29, 1.2), (12.9, 12.0), (129.0, 120.0),
     (1290.0, 1200.0), (12_900.0, 12_000.0), (129_000.0, 120_000.0), (1e30, 990_000.0), (-5.0, 0.0)],
)  # fmt: skip
def test_a_duration_is_rounded_down_to_two_digits(outbox: Outbox, seconds: float, shown: float) -> None:
    put(outbox, 1)
    send(outbox)
    sql(outbox, f"UPDATE delivery_attempt SET seconds = {seconds}")
    assert figures(outbox).attempt.p50 == shown


@pytest.mark.sqlite("a column of PostgreSQL has values of one type")
@pytest.mark.parametrize("value", ["'rubbish'", "x'00ff'", "1e999"])
def test_damaged_rows_do_not_end_it(outbox: Outbox, value: str) -> None:
    put(outbox, 1, 2)
    send(outbox)
    send(outbox)
    sql(outbox, f"UPDATE delivery_attempt SET seconds = {value}, status = {value} WHERE number = 1")
    sql(outbox, f"UPDATE delivery SET endpoint = {value}, accepted_at = {value} WHERE number = 1")
    assert figures(outbox).delivered == 1


def test_a_message_that_was_refused_among_others_failed(outbox: Outbox) -> None:
    put(outbox, 1)
    send(outbox, State.DEAD, "http_200")
    assert (figures(outbox).delivered, figures(outbox).failed) == (0, 1)


def test_a_pending_request_neither_failed_nor_delivered(outbox: Outbox) -> None:
    put(outbox, 1)
    send(outbox, State.WAITING, "hec_pending", pending=True)
    assert (figures(outbox).delivered, figures(outbox).failed) == (0, 0)


def test_withheld_events_are_those_of_new_and_running_scans(outbox: Outbox) -> None:
    for scan in ("OLD", "RUNNING", "NEW"):
        begin(outbox, a_scan(scan))
    for scan in ("OLD", "NEW"):
        end(outbox, a_scan(scan))
    sql(outbox, f"UPDATE scan SET begun_at = {NOW - DAY} WHERE id IN ('OLD', 'RUNNING')")
    sql(
        outbox,
        "INSERT INTO withheld VALUES ('OLD', 'team', 'outbox_full', 1), ('RUNNING', 'team', 'outbox_full', 2),"
        " ('NEW', 'team', 'outbox_full', 4), ('NEW', 'team', 'unwritable', 8), ('', 'team', 'outbox_full', 16)",
    )
    assert figures(outbox).withheld == {"outbox_full": 22, "unwritable": 8}


def test_what_was_delivered_since_a_place_is_counted_once(outbox: Outbox) -> None:
    put(outbox, 1, 2, 3, 4)
    send(outbox)
    place = outbox.listing.last_attempt()
    send(outbox)
    send(outbox, State.DEAD, "http_400")
    delivered, end_of_log = Statistics(outbox.database).delivered_after(place)
    assert delivered == {"team": 1}
    assert Statistics(outbox.database).delivered_after(end_of_log) == ({}, end_of_log)
