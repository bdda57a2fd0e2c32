"""Whole scans in one request: when they go, what is in them, and that no retry, kill or replay changes them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from sfwebhooks.delivery.send_queue import SendQueue
from sfwebhooks.endpoints import Secret
from sfwebhooks.errors import OutboxBusyError
from sfwebhooks.events import Scan, WebhookEvent, lifecycle_id
from sfwebhooks.formats import render
from sfwebhooks.health import Condition
from sfwebhooks.outbox.bundling import LONE_SECONDS, QUIET_SECONDS
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.queue import CRASH_SECONDS, CRASHES_MAX, SEARCH_SECONDS
from sfwebhooks.outbox.selection import Selection
from sfwebhooks.pipeline import accept
from sfwebhooks.retry import State
from sfwebhooks.screening import Screen
from sfwebhooks.severity import Severity
from tests.builders import PATIENCE, a_scan, an_endpoint, an_event
from tests.conftest import Clock, sql
from tests.outbox_rows import rows_of
from tests.receivers.vendor import Answer, Asked, serve

STORES = ("sqlite", "postgres")

NewQueue = Callable[..., SendQueue]
ONE, OTHER = a_scan("5C4A0001"), a_scan("5C4A0002", target="other.example")


class Files:
    """A receiver of files, and its endpoint with a sender that is driven step by step."""

    def __init__(self, outbox: Outbox, clock: Clock, new_queue: NewQueue) -> None:
        self.outbox, self.clock, self._new_queue = outbox, clock, new_queue
        #: the answers to the next requests; then 200
        self.answers: list[Answer] = []
        self.got: list[Asked] = []

    def answer(self, asked: Asked) -> Answer:
        self.got.append(asked)
        return self.answers.pop(0) if self.answers else Answer(200)

    def begin(self, root: str, own: dict[str, str], **values: Any) -> Files:
        """Begin with the endpoint of the receiver at a URL."""
        values = {"events": ("scan_*", "high_risk_event"), "format": "jsonl", "retry_schedule": (1.0, 1.0), **values}
        secret = {name: Secret(value) for name, value in own.items()}
        self.endpoint = an_endpoint(url=f"{root}/files", timeout=PATIENCE, own=secret, **values)
        self.queue = self._new_queue(self.endpoint)
        return self

    def accept(self, *events: WebhookEvent, backfilled: bool = False) -> None:
        accept(events, Screen((self.endpoint,)), self.outbox, self.clock.now, backfilled)

    def start(self, scan: Scan = ONE) -> None:
        event = an_event(1000, id=lifecycle_id(scan.id, "started"), type="scan_started", scan=scan, data={},
                         severity=Severity.INFO)  # fmt: skip
        self.outbox.scans.begin_scan(scan, event, Screen((self.endpoint,)).of(event)[0], self.clock.now)

    def find(self, *numbers: int, scan: Scan | None = ONE, **values: Any) -> None:
        self.accept(*(an_event(number, scan=scan, **values) for number in numbers))

    def end(self, scan: Scan = ONE) -> None:
        event = an_event(2000, id=lifecycle_id(scan.id, "ended"), type="scan_completed", scan=scan, data={},
                         severity=Severity.INFO)  # fmt: skip
        self.outbox.scans.end_scan(event, Screen((self.endpoint,)).of(event)[0], self.clock.now)

    def scan(self, *numbers: int, scan: Scan = ONE) -> None:
        """Have a whole scan with some findings."""
        self.start(scan)
        self.find(*numbers, scan=scan)
        self.end(scan)

    def step(self, later: float = 0.0) -> bool:
        self.clock.now += later
        return self.queue.step()

    def finish(self, seconds: float = 120.0) -> None:
        until = self.clock.now + seconds
        while self.clock.now < until:
            self.step(0.5)

    def replace(self) -> None:
        """Go on with another process, where the first one was killed."""
        self.queue._ownership.lock.release()
        for lock in self.queue._ownership._locks.values():
            lock.release()
        self.queue = self._new_queue(self.endpoint)

    @property
    def states(self) -> dict[str, int]:
        return dict(sql(self.outbox, "SELECT state, count(*) FROM delivery GROUP BY state"))

    def numbers(self, place: int = -1) -> list[int]:
        """Return which findings a request had."""
        data = (message["data"].get("data", "") for message in lines(self.got[place]))
        return [int(text.rpartition("-")[2]) for text in data if text]


def lines(asked: Asked) -> list[Any]:
    return [json.loads(line) for line in asked.text.splitlines()]


Start = Callable[..., Files]


@pytest.fixture
def files(outbox: Outbox, clock: Clock, new_queue: NewQueue) -> Iterator[Start]:
    with ExitStack() as running:

        def start(own: dict[str, str] | None = None, **values: Any) -> Files:
            one = Files(outbox, clock, new_queue)
            return one.begin(running.enter_context(serve(one.answer)), own or {}, **values)

        yield start


# --- when


def test_a_scan_is_one_request_at_its_end_with_all_its_events(files: Start) -> None:
    one = files()
    one.start()
    one.find(*range(1, 6))
    assert not one.step() and one.got == []
    one.end()
    assert one.step() and not one.step(60)
    (asked,) = one.got
    assert [line["event_type"] for line in lines(asked)] == ["scan_started", *["high_risk_event"] * 5, "scan_completed"]
    assert one.states == {"delivered": 7}


def test_a_scan_without_findings_is_a_request_too_whatever_the_endpoint_subscribes_to(files: Start) -> None:
    one = files(events=("vulnerability_found",))
    one.scan()
    assert one.step()
    assert [line["event_type"] for line in lines(one.got[0])] == ["scan_completed"]


def test_scans_do_not_mix(files: Start) -> None:
    one = files()
    one.start(ONE)
    one.start(OTHER)
    for number in range(1, 9):
        one.find(number, scan=(ONE, OTHER)[number % 2])
    one.end(OTHER)
    assert one.step() and not one.step(SEARCH_SECONDS)
    assert one.numbers() == [1, 3, 5, 7]
    one.end(ONE)
    one.finish(5)
    assert (one.numbers(), len(one.got)) == ([2, 4, 6, 8], 2)


def test_events_outside_of_scans_are_not_for_it(files: Start) -> None:
    one = files(events=("all",))
    one.start()
    one.find(1, scan=None, type="system_alert", data={"alert": "test"})
    one.find(2, type="resource_warning", data={})
    assert one.states == {"waiting": 1}


def test_what_came_from_another_format_is_sent_after_a_while_without_an_end(files: Start) -> None:
    one = files()
    one.start()
    one.find(1, 2)
    one.outbox.scans.end_scan(an_event(9, type="scan_completed", data={}), [], one.clock.now)  # to others only
    assert not one.step(LONE_SECONDS - 1)
    one.finish(SEARCH_SECONDS + 2)
    assert one.numbers() == [1, 2]


# --- the same bytes


@pytest.mark.parametrize("when", ["claimed", "sent"])
def test_a_kill_brings_the_same_bytes_under_the_same_id(files: Start, when: str) -> None:
    one = files()
    one.scan(*range(1, 30))
    if when == "claimed":
        assert one.queue._claim(1)
    else:
        assert one.step()
        with one.outbox.database.writing() as connection:  # as before the result was written
            connection.execute("UPDATE delivery SET state = 'waiting', attempts = 0, batch = NULL, settled_at = NULL")
            connection.execute("DELETE FROM delivery_attempt")
    one.replace()
    assert one.step() and one.states == {"delivered": 31}
    assert len({(asked.body, asked.headers["webhook-id"]) for asked in one.got}) == 1


def test_a_claimed_bundle_keeps_its_members_over_a_kill(files: Start) -> None:
    one = files()
    one.scan(1, 2, 3)
    claimed = one.queue._claim(1)
    one.find(4)  # arrives meanwhile
    one.replace()
    assert claimed and one.step()
    assert (one.got[0].headers["webhook-id"], one.numbers()) == (claimed[1].id, [1, 2, 3])


def test_a_retry_has_the_same_bytes_and_uses_its_schedule(files: Start) -> None:
    one = files()
    one.scan(*range(1, 10))
    one.answers = [Answer(503), Answer(503)]
    one.finish(10)
    assert len(one.got) == 3 and len({(asked.body, asked.headers["webhook-id"]) for asked in one.got}) == 1
    assert one.states == {"delivered": 11}


def test_what_comes_after_the_end_brings_the_whole_scan_again(files: Start) -> None:
    one = files()
    one.scan(1, 2)
    assert one.step()
    one.find(3, 4)
    assert not one.step(1), "more may come"
    one.finish(SEARCH_SECONDS + QUIET_SECONDS)
    assert (len(one.got), one.numbers(), one.states) == (2, [1, 2, 3, 4], {"delivered": 6})
    one.answers = [Answer(503)]
    one.find(5)
    one.finish(SEARCH_SECONDS + QUIET_SECONDS + 3)
    assert [one.numbers(place) for place in (2, 3)] == [[1, 2, 3, 4, 5]] * 2
    assert one.got[2].body == one.got[3].body


# --- refusals and trouble


def test_a_file_that_is_too_large_goes_in_halves(files: Start) -> None:
    one = files()
    one.scan(*range(1, 9))
    one.answers = [Answer(413)]
    one.finish(10)
    assert [len(lines(asked)) for asked in one.got] == [10, 5, 5]
    assert one.states == {"delivered": 10}


@pytest.mark.parametrize(("own", "form"), [({"method": "PUT"}, "jsonl"), ({}, "sarif")])
def test_a_file_that_may_not_go_in_parts_is_dead_if_it_is_too_large(
    files: Start, own: dict[str, str], form: str
) -> None:
    one = files(own, format=form)
    one.scan(1, 2)
    one.answers = [Answer(413)]
    one.finish(10)
    assert len(one.got) == 1
    assert sql(one.outbox, "SELECT DISTINCT state, reason FROM delivery") == [("dead", "refused: http_413")]
    assert one.queue.states[0].health.condition is Condition.HEALTHY


def test_a_refused_bundle_holds_its_endpoint_and_is_probed_with_the_same_bytes(files: Start) -> None:
    one = files()
    one.scan(1, 2)
    one.answers = [Answer(403)] * 3
    one.finish(600)
    assert one.states == {"delivered": 4}
    assert len({asked.body for asked in one.got}) == 1 and len(one.got) == 4


def test_a_refused_bundle_does_not_keep_others_waiting(files: Start) -> None:
    one = files()
    one.scan(1, scan=ONE)
    one.answers = [Answer(400)]
    assert one.step()
    one.scan(2, scan=OTHER)
    assert one.step() and one.numbers() == [2]


def test_a_later_scan_of_the_target_is_not_sent_before_an_earlier_one_that_is_to_be_repeated(files: Start) -> None:
    one = files({"method": "PUT"})
    later = a_scan("5C4A0003", target="ACME.example.")
    one.scan(1, scan=ONE)
    one.answers = [Answer(503)]
    assert one.step()
    one.scan(2, scan=later)
    one.scan(3, scan=OTHER)
    one.finish(SEARCH_SECONDS + 5)
    assert [one.numbers(place) for place in range(4)] == [[1], [3], [1], [2]]
    assert one.states == {"delivered": 9}


def test_where_parts_are_no_loss_a_repeated_scan_keeps_no_other_waiting(files: Start) -> None:
    one = files()
    one.scan(1, scan=ONE)
    one.answers = [Answer(503)]
    assert one.step()
    one.scan(2, scan=a_scan("5C4A0003"))
    assert one.step() and one.numbers() == [2]


def test_a_dead_scan_keeps_no_later_one_of_the_target_waiting(files: Start) -> None:
    one = files({"method": "PUT"})
    one.scan(1, scan=ONE)
    one.answers = [Answer(413)]
    assert one.step()
    one.scan(2, scan=a_scan("5C4A0003"))
    one.finish(5)
    assert one.numbers() == [2] and one.states == {"dead": 3, "delivered": 3}


def test_a_pause_keeps_it(files: Start) -> None:
    one = files()
    one.scan(1)
    one.outbox.endpoints.pause("team", one.clock.now + 60)
    assert not one.step(1) and not one.got
    one.finish(90)
    assert one.states == {"delivered": 3}


# --- damage

#: what a damaged file or another program could leave of the row of a delivery (?)
DAMAGES = (
    "UPDATE event SET data = '{\"a\":' WHERE number = ?",
    "UPDATE event SET data = '[1]' WHERE number = ?",
    "UPDATE event SET data = x'ff' WHERE number = ?",
    "UPDATE event SET id = 'text' WHERE number = ?",
    "UPDATE event SET id = x'0102' WHERE number = ?",
    "UPDATE event SET at = 'soon' WHERE number = ?",
    "UPDATE event SET severity = 99 WHERE number = ?",
    "UPDATE delivery SET series = 99 WHERE number = ?",
    "UPDATE delivery SET sequence = 'x' WHERE number = ?",
    "UPDATE delivery SET attempts = 'x' WHERE number = ?",
    "UPDATE delivery SET replays = 'x' WHERE number = ?",
    "UPDATE delivery SET backfilled = 'x' WHERE number = ?",
)


@pytest.mark.sqlite("a column of PostgreSQL has values of one type")
@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_a_damaged_event_is_dead_and_the_rest_of_its_scan_is_sent_once(
    files: Start, form: str, damage: str, number: int
) -> None:
    one = files(format=form)
    one.scan(1, 2, 3)
    rows_of(one.outbox.path, damage, number)
    one.finish(10)
    assert len(one.got) == 1
    assert sql(one.outbox, "SELECT state, reason, count(*) FROM delivery GROUP BY 1") == [
        ("dead", "damaged_event", 1),
        ("delivered", "http_200", 4),
    ]
    assert [*one.queue._outbox.queue.deaths] == [("team", "damaged_event")]


def test_a_damaged_end_keeps_no_scan_back(files: Start) -> None:
    one = files()
    one.scan(1, 2)
    sql(one.outbox, "UPDATE event SET data = '' WHERE type = 'scan_completed'")
    one.finish(10)
    assert (one.numbers(), one.states) == ([1, 2], {"dead": 1, "delivered": 3})


def test_an_event_that_its_format_cannot_write_is_dead_and_the_rest_is_sent(files: Start) -> None:
    one = files(format="csv")
    one.scan(1, 2, 3)
    number = "1" * 5000  # too long for Python
    rows_of(one.outbox, "UPDATE event SET data = ? WHERE number = 3", f'{{"data": {number}}}')
    with pytest.raises(ValueError, match="digits"):
        one.finish(10)
    one.finish(10)
    assert (len(one.got), one.states) == (1, {"dead": 1, "delivered": 4})
    assert b"CVE-2026-0001" in one.got[0].body and b"CVE-2026-0003" in one.got[0].body


def test_a_scan_of_damaged_events_alone_holds_up_no_other(files: Start) -> None:
    one = files()
    one.scan(1, scan=ONE)
    sql(one.outbox, "UPDATE event SET data = ''")
    one.scan(2, scan=OTHER)
    one.finish(10)
    assert (len(one.got), one.numbers()) == (1, [2])
    assert one.states == {"dead": 3, "delivered": 3}


def test_a_replay_of_a_damaged_event_sends_nothing(files: Start) -> None:
    one = files()
    one.scan(1, 2)
    sql(one.outbox, "UPDATE event SET data = '' WHERE number = 2")
    one.finish(10)
    one.outbox.retention.replay(Selection(states=(State.DEAD,)), one.clock.now)
    one.finish(10)
    assert (len(one.got), one.states) == (1, {"dead": 1, "delivered": 3})


def test_a_bundle_whose_building_kills_three_processes_is_dead_and_a_replay_has_all_of_it(files: Start) -> None:
    one, killed = files(), []
    one.scan(1, 2)
    for _ in range(CRASHES_MAX):
        one.clock.now += CRASH_SECONDS
        claimed = one.queue._claim(1)
        assert claimed and one.states == {"waiting": 4}
        killed.append(one.queue._ownership.rendering(claimed[1]))
        killed[-1].__enter__()  # and here the process is killed
        one.replace()
        one.queue._begin()
    assert not one.step(CRASH_SECONDS)
    assert sql(one.outbox, "SELECT DISTINCT state, reason FROM delivery") == [("dead", "crashed_sender")]
    record = one.outbox.listing.deliveries(Selection(), 1)[0]
    one.outbox.retention.replay(Selection(ids=(record.id,)), one.clock.now)
    assert one.step() and one.numbers() == [1, 2]


def test_what_changes_while_a_bundle_is_built_is_not_held_against_it(files: Start) -> None:
    one = files()
    one.scan(1, 2, 3)
    claimed = one.queue._claim(1)
    assert claimed
    sql(one.outbox, "DELETE FROM delivery WHERE number = 3")
    with pytest.raises(OutboxBusyError), one.queue._ownership.rendering(claimed[1]):
        render(claimed[1], one.endpoint)
    assert sql(one.outbox, "SELECT DISTINCT crashes FROM delivery") == [(0,)]
    one.replace()
    assert one.step() and one.numbers() == [1, 3]


# --- orders


def test_a_replay_of_one_of_its_events_brings_the_whole_scan_again(files: Start) -> None:
    one = files()
    one.scan(1, 2, 3)
    assert one.step()
    id = sql(one.outbox, "SELECT number FROM delivery")
    chosen = [record for record in one.outbox.listing.deliveries(Selection(), 10) if record.name == "high_risk_event"]
    one.outbox.retention.replay(Selection(ids=(chosen[0].id,)), one.clock.now)
    one.finish(3)
    first, again = one.got
    assert (first.body, first.headers["webhook-id"]) == (again.body, again.headers["webhook-id"])
    assert again.headers["X-SpiderFoot-Replay"] == "true" and len(id) == 5


def test_a_dropped_event_is_in_no_bundle(files: Start) -> None:
    one = files()
    one.start()
    one.find(1, 2)
    record = one.outbox.listing.deliveries(Selection(type="high_risk_event"), 1)[0]
    one.outbox.retention.end(Selection(ids=(record.id,)), one.clock.now)
    one.end()
    assert one.step() and one.numbers() == [1]


def test_a_dead_bundle_is_replayed_whole(files: Start) -> None:
    one = files({"method": "PUT"})
    one.scan(1, 2)
    one.answers = [Answer(413)]
    one.finish(3)
    assert one.states == {"dead": 4}
    one.outbox.retention.replay(Selection(states=(State.DEAD,)), one.clock.now)
    one.finish(3)
    assert one.states == {"delivered": 4} and one.got[0].body == one.got[-1].body


def test_limits_divide_a_scan_always_at_the_same_places(files: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    one = files()
    one.queue.states[0].__dict__["limits"] = limits = one.queue.states[0].limits.__class__(
        "team", size=4, max_bytes=10**6, digesting=one.endpoint.digest
    )
    one.scan(*range(1, 9))
    one.finish(3)
    assert [len(lines(asked)) for asked in one.got] == [4, 4, 2] and limits.size == 4
    record = one.outbox.listing.deliveries(Selection(), 1)[0]
    one.outbox.retention.replay(Selection(ids=(record.id,)), one.clock.now)
    one.finish(3)
    assert len(one.got) == 4 and one.got[3].body == one.got[2].body
