"""Tickets whose tracker, people and operators do what nobody expects: no second ticket, no comment twice, and nothing
is closed that is there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable

import pytest

from sfwebhooks.config.settings import Settings
from sfwebhooks.delivery.send_queue import SendQueue
from sfwebhooks.endpoints import Secret
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.selection import Selection
from sfwebhooks.retry import State
from sfwebhooks.ticketing import TicketState
from tests.conftest import Clock, soon, sql
from tests.receivers.notifiers import PagerDuty
from tests.receivers.trackers import GitHub, Jira, ServiceNow, Tracker
from tests.receivers.vendor import Answer, Interruptible, serve
from tests.scan.test_tickets import DAY, TRACKERS, Life
from tests.stores import BOTH

STORES = BOTH

Start = Callable[..., Life]


@pytest.fixture
def lives(tmp_path: Path, outbox: Outbox, clock: Clock, new_queue: Callable[..., SendQueue]) -> Iterator[Start]:
    """Make a Life with a tracker: `lives(Jira(), close_after=1)`."""
    with ExitStack() as running:

        def start(tracker: Interruptible, **keys: Any) -> Life:
            tracker.root = running.enter_context(serve(tracker))
            return Life(tmp_path, outbox, clock, tracker, new_queue, **keys)

        yield start


@pytest.fixture(params=TRACKERS, ids=lambda make: make.__name__)
def tracker(request: pytest.FixtureRequest) -> Tracker:
    made: Tracker = request.param()
    return made


def test_a_scan_that_ends_does_not_close_what_one_that_still_runs_has_seen(lives: Start, tracker: Tracker) -> None:
    life = lives(tracker, close_after=1)
    life.scan("one", "two")
    life.clock.now += DAY
    running = life.history.begin(life.history.found("one", "two", generated=life.clock.now))
    life.scan("two", send=False)  # the message of the one that runs still waits
    life.send()
    assert life.states == ["open", "open"]
    life.scan("two")  # now it was delivered
    assert life.states == ["open", "open"]
    life.history.end(running)
    life.scan("two")
    assert life.states == ["closed", "open"]


def test_a_replay_of_what_was_gone_once_does_not_close_what_is_back(lives: Start, tracker: Tracker) -> None:
    life = lives(tracker, close_after=1)
    life.scan("one", "two")
    life.scan("two")
    life.scan("one", "two")
    assert life.outbox.retention.replay(Selection(states=(State.DELIVERED,)), life.clock.now)
    life.send()
    assert life.states == ["open", "open"]
    assert {row.ticket.scan_id for row in life.outbox.tickets.all()} == {"S3"}


def test_a_replay_of_a_dead_message_closes_a_ticket_whose_finding_is_still_gone(lives: Start, tracker: Tracker) -> None:
    life = lives(tracker, close_after=1)
    life.scan("one", "two")
    life.scan("two", send=False)
    sql(life.outbox, "UPDATE delivery SET state = 'dead' WHERE state = 'waiting' AND name = 'ticket_update'")
    life.send()
    assert life.states == ["open", "open"]
    assert life.outbox.retention.replay(Selection(states=(State.DEAD,)), life.clock.now) == 1
    life.send()
    assert life.states == ["closed", "open"]


def test_a_success_that_cannot_be_read_makes_no_second_ticket_even_if_it_is_sent_again_at_once(
    lives: Start, tracker: Tracker
) -> None:
    life = lives(tracker)
    tracker.garbled = 1
    life.scan("one", send=False)
    assert life.queue.step()
    assert life.queue.states[0].health.condition.value == "held"
    life.queue.states[0].open()
    life.outbox.due.make_due("tickets", life.clock.now)
    life.queue.step()
    assert life.states == ["open"]
    life.send()
    assert life.states == ["open"]


def test_what_a_search_still_shows_open_is_closed_if_the_tracker_says_so(lives: Start, tracker: Tracker) -> None:
    life = lives(tracker)
    life.scan("one")
    life.clock.now += DAY
    sql(life.outbox, "DELETE FROM handle")
    tracker.shut(next(iter(tracker.held)))
    life.scan("one", days=0)
    assert life.states == (["closed", "open"] if isinstance(tracker, ServiceNow) else ["open"])


def test_a_search_that_runs_out_of_time_does_not_mean_that_there_is_no_ticket(lives: Start) -> None:
    tracker = GitHub()
    life = lives(tracker)
    life.scan("one")
    sql(life.outbox, "DELETE FROM handle")
    tracker.is_slow = True
    life.scan("one", send=False)
    assert life.queue.step()
    assert sql(life.outbox, "SELECT reason FROM delivery WHERE state = 'waiting'") == [("search_incomplete",)]
    tracker.is_slow = False
    life.send()
    assert life.states == ["open"]


def test_a_replacement_that_was_closed_before_it_was_known_is_not_replaced_too(lives: Start) -> None:
    tracker = ServiceNow()
    life = lives(tracker)
    life.scan("one")
    tracker.shut(next(iter(tracker.held)))
    tracker.lost = 1
    life.scan("one", send=False)
    assert life.queue.step()
    _, second = tracker.held
    tracker.dismiss(second)
    life.send()
    assert life.states == ["closed", "closed"]
    assert [row.ticket.state for row in life.outbox.tickets.all()] == [TicketState.DISMISSED]
    assert len(life.outbox.sightings.mutes(life.clock.now)) == 1


def test_a_ticket_that_was_deleted_and_whose_finding_is_gone_is_asked_for_once(lives: Start, tracker: Tracker) -> None:
    life = lives(tracker, close_after=1)
    life.scan("one")
    tracker.held.clear()
    life.scan()
    asked = len(tracker.got)
    life.scan()
    life.scan()
    assert (len(tracker.got), [row.ticket.state for row in life.outbox.tickets.all()]) == (asked, [TicketState.MISSING])
    life.scan("one")
    assert life.states == ["open"]


@pytest.mark.parametrize("status", [301, 403, 404])
def test_a_project_that_moved_away_or_may_not_be_seen_holds_the_endpoint(
    status: int, lives: Start, tracker: Tracker
) -> None:
    life = lives(tracker, close_after=1)
    life.scan("one", "two")
    tracker.instead = Answer(status, {"message": "Not Found"}, {"Location": "https://elsewhere.example/"})
    life.scan("two", "three", send=False)
    while life.queue.step():
        pass
    health = life.queue.states[0].health
    assert (health.condition.value, health.reason) == ("held", f"http_{status}")
    tracker.instead = None
    life.queue.states[0].open()
    life.send()
    assert life.states == ["closed", "open", "open"]


def test_many_comments_keep_a_ticket_neither_open_nor_are_they_doubled(lives: Start, tracker: Tracker) -> None:
    life = lives(tracker, close_after=1)
    life.scan("one", "two")
    one = next(iter(tracker.held.values()))
    one.comments = [(json.dumps("x" * 9_000), life.clock.now)] * 20
    tracker.lost = 1
    life.scan("two")
    assert life.states == ["closed", "open"]
    assert len(one.comments) == (20 if isinstance(tracker, GitHub) else 21)


def test_a_ticket_that_stays_open_although_it_was_closed_is_reported(lives: Start, tracker: Tracker) -> None:
    if isinstance(tracker, Jira):
        pytest.skip("its answer does not say")
    life = lives(tracker, close_after=1, retry_schedule=(1.0,))
    life.scan("one", "two")
    tracker.is_stubborn = True
    life.scan("two", send=False)
    while life.queue.step():
        pass
    assert sql(life.outbox, "SELECT reason FROM delivery WHERE state = 'waiting'") == [("refused: ticket_still_open",)]
    assert {row.ticket.state for row in life.outbox.tickets.all()} == {TicketState.OPEN}


def test_a_field_that_a_project_requires_and_no_setting_has_holds_the_endpoint(lives: Start) -> None:
    tracker = Jira()
    life = lives(tracker)
    life.scan("one")
    tracker.required = "customfield_10010"
    life.scan("one", "two", send=False)
    while life.queue.step():
        pass
    assert life.queue.states[0].health.condition.value == "held"


def reconfigure(life: Life, new_queue: Callable[..., SendQueue], **changes: Any) -> None:
    """Change the settings of a tracker's endpoint."""
    life.queue.stop(soon())
    life.endpoint = replace(life.endpoint, **changes)
    life.history.settings = Settings((life.endpoint,))
    life.queue = new_queue(life.endpoint)


def test_an_endpoint_with_a_new_name_finds_its_tickets(
    lives: Start, tracker: Tracker, new_queue: Callable[..., SendQueue]
) -> None:
    life = lives(tracker, close_after=1)
    life.scan("one", "two")
    reconfigure(life, new_queue, name="renamed")
    life.scan("one", "two")
    assert life.states == ["open", "open"]
    life.scan("two")
    assert life.states == ["closed", "open"]


def test_alerts_of_another_service_are_left_alone(lives: Start, new_queue: Callable[..., SendQueue]) -> None:
    service = PagerDuty()
    life = lives(service, close_after=1)
    life.scan("one", "two")
    service.routing_key = "B" * 32
    reconfigure(life, new_queue, own={"routing_key": Secret(service.routing_key)})
    sent = len(service.got)
    life.scan()
    life.scan()
    assert len(service.got) == sent
    life.scan("one")
    life.scan()
    assert len(service.got) == sent + 2


def test_a_replay_does_not_resolve_an_alert_whose_finding_is_back(lives: Start) -> None:
    service = PagerDuty()
    life = lives(service, close_after=1)
    life.scan("one", "two")
    life.scan("two")
    life.scan("one", "two")
    assert life.outbox.retention.replay(Selection(states=(State.DELIVERED,)), life.clock.now)
    life.send()
    assert len(service.open) == 2


@pytest.mark.parametrize("unit", ["type", "scan"])
def test_a_ticket_for_several_findings_is_listed_with_their_number(unit: str, lives: Start, tracker: Tracker) -> None:
    life = lives(tracker, ticket_per=unit, close_after=1)
    life.scan("one", "two")
    life.scan("two", "three")
    (row,) = life.outbox.tickets.all()
    assert (row.findings, row.target, row.ticket.state) == (3, "acme.example", TicketState.OPEN)


def test_hostile_texts_of_findings_make_one_ticket_each_and_close_it(lives: Start, tracker: Tracker) -> None:
    life = lives(tracker, close_after=1)
    texts = ["nul \x00 @all", "``` @channel #1 !2", "{noformat} [~accountid:1] {code}", "/close <!-- x", "y" * 100_000]
    for _ in range(2):
        life.scan(*texts)
        assert life.states == ["open"] * 5
    assert not any(tracker.mischief_in(made) for made in tracker.taken)
    life.scan()
    assert life.states == ["closed"] * 5


@pytest.mark.slow
def test_a_finding_of_five_megabytes_has_one_ticket(lives: Start, tracker: Tracker) -> None:
    life = lives(tracker, close_after=1)
    for found in (["y" * 5_000_000], ["y" * 5_000_000], []):
        life.scan(*found)
        assert len(tracker.held) == 1
    assert life.states == ["closed"]
