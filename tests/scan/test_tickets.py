"""The life of tickets over several scans: created once, commented, closed when their finding is gone, opened again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest

from sfwebhooks.delivery.send_queue import SendQueue
from sfwebhooks.endpoints import Secret
from sfwebhooks.formats import FORMATS
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.pipeline import deliver
from sfwebhooks.ticketing import SETTLING_SECONDS, TicketState
from tests.builders import PATIENCE, an_endpoint
from tests.conftest import Clock, sql
from tests.outbox_rows import rows_of
from tests.receivers.notifiers import PagerDuty
from tests.receivers.trackers import GitHub, GitLab, Jira, JiraDataCenter, ServiceNow, Tracker
from tests.receivers.vendor import Answer, serve
from tests.scan.test_survey import History
from tests.stores import BOTH

STORES = BOTH

DAY = 86400.0
TRACKERS: list[Callable[[], Tracker]] = [GitHub, GitLab, Jira, JiraDataCenter, ServiceNow]


class Life:
    """Scans of one target, and the tracker that is told of them."""

    def __init__(
        self, folder: Path, outbox: Outbox, clock: Clock, tracker: Any, make: Callable[..., SendQueue], **keys: Any
    ) -> None:
        given: dict[str, Any] = {**tracker.keys, **tracker.fields, **keys}
        names = {key.name for key in FORMATS[tracker.format].keys}
        own = {name: Secret(given.pop(name)) for name in names & given.keys()}
        given |= {key: Secret(given[key]) for key in ("api_key",) if key in given}
        defaults = {"events": ("high_risk_event",), "ticket_per": "finding", "timeout": PATIENCE, "concurrency": 1}
        self.endpoint = an_endpoint("tickets", url=tracker.url, format=tracker.format, own=own, **{**defaults, **given})
        self.clock, self.outbox, self.tracker, self._make = clock, outbox, tracker, make
        tracker.clock = clock
        self.history = History(folder, outbox, self.endpoint)
        self.history.at = clock
        self.queue = make(self.endpoint)

    def scan(self, *found: str, send: bool = True, days: float = 1, **values: str) -> None:
        """Make a scan that finds something, some days later, and send what follows from it."""
        self.clock.now += days * DAY
        self.history.run(self.history.found(*found, generated=self.clock.now), **values)
        if send:
            self.send()

    def send(self) -> None:
        """Make attempts until none is left to make."""
        for _ in range(200):
            while self.queue.step():
                pass
            if not self.waiting:
                return
            self.clock.now += SETTLING_SECONDS
        raise AssertionError(f"there is no end to it: {sql(self.outbox, 'SELECT state, reason FROM delivery')}")

    @property
    def waiting(self) -> int:
        return self.outbox.scans.tallies()["waiting"]

    @property
    def states(self) -> list[str]:
        """The states of all tickets, as the tracker has them."""
        return [one.state for one in self.tracker.held.values()]

    @property
    def comments(self) -> list[list[str]]:
        """The first words of the comments on each ticket."""
        texts = [[text for text, _ in one.comments] for one in self.tracker.held.values()]
        return [[next(word for word in WORDS if word in text) for text in one] for one in texts]


def test_an_alert_of_pagerduty_is_resolved_when_its_finding_is_gone(
    tmp_path: Path, outbox: Outbox, clock: Clock, new_queue: Callable[..., SendQueue]
) -> None:
    service = PagerDuty()
    with serve(service) as service.root:
        life = Life(tmp_path, outbox, clock, service, new_queue, close_after=1)
        life.scan("one", "two")
        assert len(service.open) == 2
        life.scan("two")
        assert len(service.open) == 1
        life.scan("one", "two")
        assert len(service.open) == 2
        life.scan()
        assert len(service.open) == 0
        sent = len(service.got)
        life.scan()
        assert len(service.got) == sent, "resolved once"


def test_an_alert_of_pagerduty_stays_open_unless_that_is_asked_for(
    tmp_path: Path, outbox: Outbox, clock: Clock, new_queue: Callable[..., SendQueue]
) -> None:
    service = PagerDuty()
    with serve(service) as service.root:
        life = Life(tmp_path, outbox, clock, service, new_queue, ticket_per="", close_after=1)
        life.scan("one")
        life.scan()
        assert len(service.open) == 1


WORDS = ("Seen again", "Found again", "Gone")


@pytest.fixture(params=TRACKERS, ids=lambda make: make.__name__)
def tracker(request: pytest.FixtureRequest) -> Iterator[Tracker]:
    made: Tracker = request.param()
    with serve(made) as made.root:
        yield made


@pytest.fixture
def live(
    tmp_path: Path, outbox: Outbox, clock: Clock, tracker: Tracker, new_queue: Callable[..., SendQueue]
) -> Callable[..., Life]:
    """Make a Life: `live(close_after=1)`."""
    return lambda **keys: Life(tmp_path, outbox, clock, tracker, new_queue, **keys)


def test_a_finding_has_one_ticket_however_often_it_is_seen(live: Callable[..., Life]) -> None:
    life = live()
    for _ in range(4):
        life.scan("one", "two")
    assert (life.states, life.comments) == (["open", "open"], [[], []])


def test_a_comment_says_that_it_was_seen_again_at_most_once_in_a_while(live: Callable[..., Life]) -> None:
    life = live(comment_every=3 * DAY)
    for _ in range(8):
        life.scan("one")
    assert life.comments == [["Seen again"] * 2]


def test_a_ticket_is_closed_after_some_scans_without_its_finding(live: Callable[..., Life]) -> None:
    life = live(close_after=2)
    life.scan("one", "two")
    life.scan("two")
    assert life.states == ["open", "open"]
    life.scan("two")
    assert (life.states, life.comments) == (["closed", "open"], [["Gone"], []])
    life.scan("two")
    assert life.comments == [["Gone"], []], "closed once"


def test_a_finding_that_comes_back_opens_its_ticket_again(live: Callable[..., Life]) -> None:
    life = live(close_after=1)
    life.scan("one", "two")
    life.scan("two")
    life.scan("one", "two")
    assert (life.states, life.comments[0]) == (["open", "open"], ["Gone", "Found again"])


def test_scans_with_other_modules_and_aborted_ones_close_nothing(live: Callable[..., Life]) -> None:
    life = live(close_after=1)
    life.scan("one", "two")
    life.scan("two", modules="sfp_other")
    life.scan("two", status="ABORTED")
    assert life.states == ["open", "open"]


def test_a_finding_that_another_lineage_still_sees_is_not_gone(live: Callable[..., Life]) -> None:
    life = live(close_after=2)
    life.scan("one", "two")
    life.scan("one", "two", modules="sfp_other")
    life.scan("two")
    life.scan("one", "two", modules="sfp_other")
    life.scan("two")
    assert life.states == ["open", "open"]
    life.scan("two")
    assert life.states == ["closed", "open"]


def test_a_ticket_that_a_person_closed_although_its_finding_is_there_is_opened_again(
    live: Callable[..., Life],
) -> None:
    life = live()
    life.scan("one")
    life.tracker.shut(next(iter(life.tracker.held)))
    life.scan("one")
    if isinstance(life.tracker, ServiceNow):  # it cannot be: another one takes its place
        assert (life.states, life.comments) == (["closed", "open"], [[], []])
    else:
        assert (life.states, life.comments) == (["open"], [["Found again"]])


def test_a_ticket_that_a_person_does_not_want_stays_closed_and_mutes_its_finding(live: Callable[..., Life]) -> None:
    life = live()
    life.scan("one", "two")
    life.tracker.dismiss(next(iter(life.tracker.held)))
    life.scan("one", "two")
    (mute,) = life.outbox.sightings.mutes(life.clock.now)
    assert (mute.endpoint, mute.target, mute.until) == ("tickets", "acme.example", None)
    before = len(life.tracker.got)
    life.scan("one", "two")
    assert (life.states, life.comments) == (["closed", "open"], [[], []])
    assert all(one.method == "GET" for one in life.tracker.got[before:])


def test_an_answer_that_is_lost_makes_no_second_ticket(live: Callable[..., Life]) -> None:
    life = live()
    life.tracker.lost = 1
    life.scan("one", send=False)
    assert life.queue.step()
    assert (len(life.tracker.held), life.waiting) == (1, 1)
    life.clock.now += SETTLING_SECONDS - 1
    assert not life.queue.step(), "its search would not find it yet"
    life.send()
    assert (life.states, life.comments) == (["open"], [[]])


def test_a_kill_after_the_creation_makes_no_second_ticket(
    live: Callable[..., Life], new_queue: Callable[..., SendQueue], outbox: Outbox
) -> None:
    life = live()
    life.scan("one", send=False)
    limits = life.queue.states[0].limits
    batch = outbox.queue.claim_batch(limits, (), life.clock.now)
    assert batch
    deliver(batch, life.queue.states[0], life.clock)  # by a process that ends before it settles
    assert len(life.tracker.held) == 1
    life.queue = new_queue(life.endpoint)
    assert not life.queue.step(), "the search would not find it yet"
    life.send()
    assert life.states == ["open"]


def test_a_lost_outbox_finds_its_tickets_again(
    live: Callable[..., Life], tmp_path: Path, tracker: Tracker, clock: Clock, new_queue: Callable[..., SendQueue]
) -> None:
    life = live()
    life.scan("one")
    clock.now += DAY
    sql(life.outbox, "DELETE FROM handle")
    life.scan("one")
    assert life.states == ["open"]


def test_a_deleted_ticket_is_replaced(live: Callable[..., Life]) -> None:
    life = live()
    life.scan("one")
    life.tracker.held.clear()
    life.scan("one")
    assert life.states == ["open"]


def test_another_project_holds_the_endpoint_until_the_tickets_are_forgotten(live: Callable[..., Life]) -> None:
    life = live(retry_schedule=(1.0,))
    life.scan("one")
    ((value,),) = rows_of(life.outbox, "SELECT value FROM handle")
    rows_of(life.outbox, "UPDATE handle SET value = ?", json.dumps({**json.loads(value), "place": "another"}))
    before = len(life.tracker.got)
    life.scan("one", send=False)
    assert life.queue.step()
    health = life.queue.states[0].health
    assert (health.condition.value, health.reason) == ("held", "ticket_elsewhere")
    assert len(life.tracker.got) == before
    assert life.outbox.tickets.forget("tickets") == 1
    life.queue.states[0].open()
    life.clock.now += DAY
    life.send()
    assert life.states == ["open"]


def test_lost_rights_hold_the_endpoint(live: Callable[..., Life]) -> None:
    life = live(retry_schedule=(1.0,))
    life.scan("one")
    life.tracker.is_revoked = True
    life.scan("one", send=False)
    assert life.queue.step()
    assert life.queue.states[0].health.condition.value == "held"


def test_what_is_known_of_tickets_can_be_listed(live: Callable[..., Life]) -> None:
    life = live(close_after=1)
    life.scan("one", "two")
    life.scan("two")
    rows = {row.ticket.title: row for row in life.outbox.tickets.all("tickets")}
    assert {title: row.ticket.state for title, row in rows.items()} == {
        next(title for title in rows if "one" in title): TicketState.CLOSED,
        next(title for title in rows if "two" in title): TicketState.OPEN,
    }
    assert {row.target for row in rows.values()} == {"acme.example"}


def test_findings_of_one_type_have_one_ticket_until_all_are_gone(live: Callable[..., Life]) -> None:
    life = live(ticket_per="type", close_after=1)
    life.scan("one", "two", "three")
    life.scan("two", "four")
    assert life.states == ["open"]
    life.scan()
    assert life.states == ["closed"]
    life.scan("five")
    assert life.states == ["open"]


def test_a_target_has_one_ticket(live: Callable[..., Life]) -> None:
    life = live(ticket_per="scan", close_after=1)
    life.scan("one", "two")
    life.scan("one", "two")
    assert life.states == ["open"]


def test_more_findings_of_one_ticket_ask_the_tracker_nothing(live: Callable[..., Life]) -> None:
    life = live(ticket_per="type")
    life.scan("one")
    asked = len(life.tracker.got)
    life.scan("two", *map(str, range(50)))
    assert len(life.tracker.got) - asked == 1


def test_a_rate_that_is_exceeded_delays_and_repeats_nothing(live: Callable[..., Life]) -> None:
    life = live()
    life.tracker.excess = 2
    life.scan("one", "two")
    assert (life.states, life.comments) == (["open", "open"], [[], []])


def test_something_else_in_the_trackers_place_is_not_taken_for_it(live: Callable[..., Life]) -> None:
    life = live()
    life.tracker.instead = Answer(200, {})
    life.scan("one", send=False)
    life.queue.step()
    assert life.queue.states[0].health.condition.value == "held"


def test_a_ticket_that_cannot_be_opened_again_is_replaced_by_one_that_names_it(live: Callable[..., Life]) -> None:
    life = live(close_after=1)
    if not isinstance(life.tracker, Jira):
        pytest.skip("its tickets can always be opened again")
    life.scan("one", "two")
    life.scan("two")
    life.tracker.can_reopen = False
    life.tracker.lost = 1
    life.scan("one", "two")
    life.scan("one", "two")
    assert life.states == ["closed", "open", "open"]
    assert "Replaces SEC-1, which" in json.dumps(life.tracker.held["SEC-3"].made)


@pytest.mark.parametrize(("name", "state"), [("resolve", "closed"), ("DONE", "closed"), ("Archive", "open")])
def test_a_transition_has_the_chosen_name_or_leads_to_the_chosen_state(
    live: Callable[..., Life], tracker: Tracker, name: str, state: str
) -> None:
    if not isinstance(tracker, Jira):
        pytest.skip("it has no transitions")
    life = live(close_after=1, close_transition=name, retry_schedule=(1.0,))
    life.scan("one", "two")
    life.scan("two", send=False)
    for _ in range(4):
        life.queue.step()
    assert life.states == [state, "open"]


def test_a_ticket_that_people_made_too_long_to_read_does_not_hold_the_others_up(live: Callable[..., Life]) -> None:
    life = live(retry_schedule=(1.0,))
    if not isinstance(life.tracker, (GitHub, GitLab)):
        pytest.skip("its replies have no descriptions")
    life.scan("one", "two")
    text = "description" if isinstance(life.tracker, GitLab) else "body"
    life.tracker.held["1"].made[text] += "x" * 70_000
    life.scan("one", "two", "three", send=False)
    for _ in range(8):
        life.queue.step()
        life.clock.now += 1
    assert (len(life.tracker.held), life.queue.states[0].health.condition.value) == (3, "healthy")


def test_what_is_secret_in_a_finding_is_masked_in_its_ticket(live: Callable[..., Life]) -> None:
    life = live()
    life.scan("jane@acme.example:Tr0ub4dor-and-3 leaked")
    assert life.states == ["open"]
    assert not any(b"Tr0ub4dor-and-3" in one.body for one in life.tracker.got)
    assert not any("Tr0ub4dor-and-3" in row.ticket.text for row in life.outbox.tickets.all())
