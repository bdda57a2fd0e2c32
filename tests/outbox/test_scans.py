"""What the outbox knows of scans and their events."""

from __future__ import annotations

from sfwebhooks.events import WebhookEvent, lifecycle_id
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.screening import Wanted
from sfwebhooks.severity import Severity
from tests.builders import NOW, a_scan, an_event
from tests.conftest import sql

STORES = ("sqlite", "postgres")

ONE, OTHER = a_scan("ONE"), a_scan("OTHER")
TEAM, SIEM = Wanted("team", "high_risk_event"), Wanted("siem", "finding.high")


def begin(outbox: Outbox, ended: str | None = None) -> None:
    for scan in (ONE, OTHER):
        start = WebhookEvent(lifecycle_id(scan.id, "started"), "scan_started", Severity.INFO, NOW, {}, scan)
        outbox.scans.begin_scan(scan, start, [Wanted("team", "scan_started")], NOW, ended)


def the_end() -> WebhookEvent:
    return WebhookEvent(lifecycle_id(ONE.id, "ended"), "scan_completed", Severity.INFO, NOW, {}, ONE)


def test_of_an_event_it_is_known_who_gets_it(outbox: Outbox) -> None:
    event = an_event(1, scan=ONE)
    outbox.accept([(event, [TEAM, SIEM])], NOW)
    assert outbox.scans.endpoints_of(event) == {"team", "siem"}
    assert outbox.scans.endpoints_of(an_event(2, scan=ONE)) == set()


def test_of_a_scan_its_events_are_known_and_those_of_an_endpoint(outbox: Outbox) -> None:
    begin(outbox)
    first, second = an_event(1, scan=ONE), an_event(2, scan=ONE)
    outbox.accept([(first, [TEAM]), (second, [SIEM]), (an_event(3, scan=OTHER), [TEAM])], NOW)
    started = lifecycle_id(ONE.id, "started")
    assert outbox.scans.known_events(ONE.id) == {started, first.id, second.id}
    assert outbox.scans.known_events(ONE.id, "team") == {started, first.id}
    assert outbox.scans.known_events(ONE.id, "another") == set()


def test_a_scan_begins_once_and_is_open_until_its_end_is_reported(outbox: Outbox) -> None:
    begin(outbox)
    begin(outbox)
    assert sql(outbox, "SELECT count(*) FROM delivery") == [(2,)]
    assert outbox.scans.open_scans() == [ONE, OTHER]
    assert outbox.scans.scan(ONE.id) == (ONE, None)
    assert outbox.scans.end_scan(the_end(), [Wanted("team", "scan_completed")], NOW) is True
    assert outbox.scans.end_scan(the_end(), [Wanted("team", "scan_completed")], NOW) is False, "another was first"
    assert outbox.scans.open_scans() == [OTHER]
    assert outbox.scans.scan(ONE.id) == (ONE, "scan_completed")
    assert outbox.scans.scan("unknown") is None


def test_an_end_that_was_reported_gets_no_more_receivers_from_who_comes_second(outbox: Outbox) -> None:
    begin(outbox)
    outbox.scans.end_scan(the_end(), [Wanted("team", "scan_completed")], NOW)
    outbox.scans.end_scan(the_end(), [Wanted("team", "scan_completed"), Wanted("siem", "scan_completed")], NOW)
    assert outbox.scans.endpoints_of(the_end()) == {"team"}


def test_a_scan_that_began_in_another_file_is_not_open_until_it_begins_here(outbox: Outbox) -> None:
    event = an_event(1, scan=ONE)
    outbox.accept([(event, [TEAM])], NOW)
    assert outbox.scans.known_events(ONE.id) == {event.id}
    assert (outbox.scans.open_scans(), outbox.scans.scan(ONE.id), outbox.listing.scans(9)) == ([], None, [])
    begin(outbox)
    assert outbox.scans.scan(ONE.id) == (ONE, None)
    assert outbox.scans.open_scans() == [ONE, OTHER]
    assert event.id in outbox.scans.known_events(ONE.id)


def test_the_end_of_a_scan_that_began_in_another_file_is_reported_once(outbox: Outbox) -> None:
    outbox.accept([(an_event(1, scan=ONE), [TEAM])], NOW)
    wanted = [Wanted("team", "scan_completed")]
    assert [outbox.scans.end_scan(the_end(), wanted, NOW) for _ in range(2)] == [True, False]
    assert outbox.scans.scan(ONE.id) == (ONE, "scan_completed")
    assert sql(outbox, "SELECT what, reason, number FROM tally") == [("end", "scan_completed", 1)]


def test_a_past_scan_that_is_backfilled_is_not_open(outbox: Outbox) -> None:
    begin(outbox, ended="scan_completed")
    assert outbox.scans.open_scans() == []
    assert sql(outbox, "SELECT DISTINCT backfilled FROM delivery") == [(1,)]


def test_an_event_comes_back_as_it_was_sent_without_the_receipt(outbox: Outbox) -> None:
    begin(outbox)
    outbox.scans.end_scan(the_end(), [Wanted("team", "scan_completed")], NOW)
    found = outbox.scans.event(the_end().id)
    assert found
    assert (found.type, dict(found.data)) == ("scan_completed", {})
    assert outbox.scans.event("unknown") is None


def test_deliveries_are_counted_by_their_state_of_all_scans_or_of_one(outbox: Outbox) -> None:
    begin(outbox)
    outbox.accept([(an_event(1, scan=ONE), [TEAM, SIEM])], NOW)
    sql(outbox, "UPDATE delivery SET state = 'dead' WHERE endpoint = 'siem'")
    sql(outbox, "UPDATE delivery SET attempts = 1 WHERE number = 1")
    assert outbox.scans.tallies() == {"waiting": 3, "delivered": 0, "dead": 1}
    assert outbox.scans.tallies(OTHER.id) == {"waiting": 1, "delivered": 0, "dead": 0}


def test_deliveries_that_were_deleted_are_counted_by_the_gaps_that_they_left(outbox: Outbox) -> None:
    begin(outbox)
    outbox.accept([(an_event(number, scan=ONE), [TEAM]) for number in range(1, 5)], NOW)
    assert outbox.scans.deleted(ONE.id, "team") == 0
    sql(outbox, "DELETE FROM delivery WHERE sequence IN (2, 3)")
    assert (outbox.scans.deleted(ONE.id, "team"), outbox.scans.deleted(OTHER.id, "team")) == (2, 0)


def test_what_is_left_is_numbered_again_in_a_series_of_its_own_and_due_again(outbox: Outbox) -> None:
    begin(outbox)
    outbox.accept([(an_event(number, scan=ONE), [TEAM]) for number in range(1, 4)], NOW)
    outbox.scans.end_scan(the_end(), [Wanted("team", "scan_completed")], NOW)
    old = sql(outbox, "SELECT DISTINCT series FROM delivery")
    sql(outbox, "UPDATE delivery SET state = 'delivered', settled_at = 1 WHERE sequence IN (1, 3)")
    sql(outbox, "DELETE FROM delivery WHERE sequence = 2")
    assert outbox.scans.renumber(ONE.id, "team", the_end().id, NOW, 10.0) == 2
    query = "SELECT d.sequence, d.state, d.due_at, d.name FROM delivery d JOIN event e ON e.number = d.event"
    rows = sql(outbox, f"{query} WHERE e.scan_id = 'ONE' ORDER BY d.number")
    assert rows == [
        (1, "waiting", NOW, "scan_started"),
        (2, "waiting", NOW + 10, "high_risk_event"),
        (3, "waiting", NOW, "high_risk_event"),
    ], "the end is made once more, after all others"
    series = "SELECT DISTINCT d.series FROM delivery d JOIN event e ON e.number = d.event WHERE e.scan_id"
    assert sql(outbox, f"{series} = 'ONE'") != old == sql(outbox, f"{series} = 'OTHER'")
    assert outbox.scans.deleted(ONE.id, "team") == 0
