"""Digests of live findings: when they go, what is in them, and that no retry, kill or refusal changes them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from sfwebhooks.config.settings import Settings
from sfwebhooks.delivery.maintenance import AGE_SHARE, Maintenance, expire
from sfwebhooks.delivery.pace import BURST
from sfwebhooks.delivery.send_queue import SendQueue
from sfwebhooks.digesting import Digesting, Rhythm
from sfwebhooks.events import WebhookEvent, lifecycle_id
from sfwebhooks.formats import FORMATS
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.queue import SEARCH_SECONDS
from sfwebhooks.pipeline import accept
from sfwebhooks.screening import Screen, Wanted
from sfwebhooks.severity import Severity
from tests.builders import NOW, PATIENCE, a_scan, an_endpoint, an_event
from tests.conftest import Clock, sql
from tests.receivers.busy_channel import SHOWN_MAX, SHOWN_SECONDS, BusyChannel
from tests.receivers.chats import Slack
from tests.receivers.vendor import Answer, serve

STORES = ("sqlite", "postgres")

AUTO = Digesting(Rhythm.AUTO)
HALF_A_MINUTE = Digesting(Rhythm.INTERVAL, seconds=30.0)
SCAN = Digesting(Rhythm.SCAN)
NAMED_MAX = FORMATS["slack"].named_max
NewQueue = Callable[..., SendQueue]


class Channel:
    """A channel, its endpoint, and a sender that is driven step by step."""

    def __init__(self, slack: Slack, digest: Digesting, outbox: Outbox, clock: Clock, new_queue: NewQueue) -> None:
        self.slack = slack
        self.endpoint = an_endpoint(
            url=slack.url, format="slack", concurrency=1, interval=1.0, timeout=PATIENCE, digest=digest,
            events=("all",), retry_schedule=(1.0, 1.0),
        )  # fmt: skip
        self.outbox, self.clock, self._new_queue = outbox, clock, new_queue
        self.queue = new_queue(self.endpoint)

    def accept(self, *events: WebhookEvent, backfilled: bool = False) -> None:
        accept(events, Screen((self.endpoint,)), self.outbox, self.clock.now, backfilled)

    def find(self, *numbers: int, severity: Severity = Severity.MEDIUM, scan: Any = None) -> None:
        self.accept(*(an_event(number, severity=severity, scan=scan or a_scan()) for number in numbers))

    def begin(self, scan: Any) -> None:
        self.outbox.scans.begin_scan(scan, an_event(1000, type="scan_started", scan=scan, data={}), [], self.clock.now)

    def end(self, scan: Any, wanted: bool = True) -> None:
        event = an_event(
            2000, id=lifecycle_id(scan.id, "ended"), type="scan_completed", severity=Severity.INFO, scan=scan, data={}
        )
        self.outbox.scans.end_scan(event, [Wanted("team", "scan_completed")] if wanted else [], self.clock.now)

    def step(self, later: float = 0.0) -> bool:
        self.clock.now += later
        return self.queue.step()

    def replace(self) -> None:
        """Go on with another process, where the first one was killed."""
        self.queue._ownership.lock.release()
        for lock in self.queue._ownership._locks.values():
            lock.release()
        self.queue = self._new_queue(self.endpoint)

    def finish(self, seconds: float = 120.0) -> None:
        until = self.clock.now + seconds
        while self.clock.now < until:
            self.step(0.5)

    @property
    def headlines(self) -> list[str]:
        return [message["blocks"][0]["text"]["text"] for message in self.slack.taken]

    def states(self) -> dict[str, int]:
        return dict(sql(self.outbox, "SELECT state, count(*) FROM delivery GROUP BY state"))


@pytest.fixture
def channel(outbox: Outbox, clock: Clock, new_queue: NewQueue) -> Iterator[Callable[..., Channel]]:
    with ExitStack() as running:

        def start(digest: Digesting, slack: Slack | None = None) -> Channel:
            slack = slack or Slack()
            slack.root = running.enter_context(serve(slack))
            return Channel(slack, digest, outbox, clock, new_queue)

        yield start


Start = Callable[..., Channel]


def words(message: Any) -> str:
    return json.dumps(message, ensure_ascii=False)


# --- auto


def test_few_findings_are_single_messages(channel: Start) -> None:
    one = channel(AUTO)
    one.find(*range(1, BURST + 1))
    one.finish(20)
    assert one.headlines == ["Medium: VULNERABILITY_CVE_HIGH"] * BURST


def test_more_of_them_are_one_message_at_once(channel: Start) -> None:
    one = channel(AUTO)
    one.find(*range(1, BURST + 2))
    assert one.step()
    assert one.headlines == [f"{BURST + 1} findings"]
    one.finish(60)
    one.find(50)
    one.finish(5)
    assert one.headlines[1:] == ["Medium: VULNERABILITY_CVE_HIGH"], "and when it is quiet again"


@pytest.mark.parametrize("high", [30, 600], ids=["some are high", "all are high"])
def test_a_storm_is_shown_within_two_minutes(high: int, channel: Start, clock: Clock) -> None:
    """600 findings within 10 s."""
    busy = BusyChannel(clock)
    one = channel(AUTO, busy)
    severities = [Severity.HIGH if number % (600 // high) == 0 else Severity.LOW for number in range(600)]
    for moment in range(100):
        for number in range(moment * 6, moment * 6 + 6):
            one.find(number, severity=severities[number])
        one.step(0.1)
    while one.states().get("waiting"):
        one.step(0.1)
    assert clock.now - NOW <= 120
    assert (busy.dropped, busy.refused, one.states()) == (0, 0, {"delivered": 600})
    times = [at for at, _ in busy.shown]
    assert max(sum(0 <= at - first < SHOWN_SECONDS for at in times) for first in times) <= SHOWN_MAX
    shown = "\n".join(words(message) for _, message in busy.shown)
    named = {int(number) for number in re.findall(r"High: VULNERABILITY_CVE_HIGH: CVE-2026-(\d{4})", shown)}
    single = "High: VULNERABILITY_CVE_HIGH"
    named |= {int(re.findall(r"CVE-2026-(\d{4})", words(message))[0]) for _, message in busy.shown
              if message["blocks"][0]["text"]["text"] == single}  # fmt: skip
    assert {number for number, severity in enumerate(severities) if severity is Severity.HIGH} <= named
    heads = [re.match(r"(\d+) findings", message["blocks"][0]["text"]["text"]) for _, message in busy.shown]
    assert sum(int(head[1]) if head else 1 for head in heads) == 600
    assert all(busy.problem(message) == "" for _, message in busy.shown)


def test_a_channel_that_has_too_many_messages_gets_fewer(channel: Start) -> None:
    one = channel(AUTO)
    one.slack.instead = Answer(429, "", {"Retry-After": "2"})
    one.find(1)
    one.step()
    one.slack.instead = None
    one.find(2, 3)
    one.finish(10)
    assert sorted(one.headlines) == ["2 findings", "Medium: VULNERABILITY_CVE_HIGH"]


def test_what_is_no_finding_goes_first_and_alone(channel: Start) -> None:
    one = channel(AUTO)
    one.find(*range(1, 50))
    one.accept(an_event(60, type="system_alert", scan=None, data={"message": "endpoint siem is failing"}))
    one.accept(an_event(61, type="scan_started", severity=Severity.INFO, scan=a_scan("S2"), data={}))
    one.finish(20)
    assert one.headlines == ["System alert (high)", "Scan started", "49 findings"]


def test_the_end_of_a_scan_comes_after_its_findings_in_a_message_of_its_own(channel: Start) -> None:
    one = channel(AUTO)
    one.begin(a_scan())
    one.find(*range(1, 50))
    one.find(*range(50, 50 + 2 * NAMED_MAX), severity=Severity.HIGH)
    one.end(a_scan())
    one.finish(60)
    assert one.headlines[-1] == "Scan completed"
    assert all(re.fullmatch(r"\d+ findings", headline) for headline in one.headlines[:-1])


# --- a duration


def test_a_digest_waits_for_its_time_and_a_start_does_not(channel: Start) -> None:
    one = channel(HALF_A_MINUTE)
    one.begin(a_scan())
    one.find(1)
    one.accept(an_event(61, type="scan_started", severity=Severity.INFO, data={}))
    one.finish(29)
    one.find(2)
    assert one.headlines == ["Scan started"]
    one.finish(2)
    assert one.headlines == ["Scan started", "2 findings"]


def test_the_end_of_a_scan_makes_its_digest_due(channel: Start) -> None:
    one = channel(HALF_A_MINUTE)
    one.begin(a_scan())
    one.find(1, 2)
    one.finish(2)
    one.end(a_scan())
    one.finish(5)
    assert one.headlines == ["2 findings", "Scan completed"]


# --- a scan


def test_a_scan_has_one_digest_before_its_end(channel: Start) -> None:
    one, running, other = channel(SCAN), a_scan("S1"), a_scan("S2")
    one.begin(running)
    one.begin(other)
    one.find(*range(1, 30), scan=running)
    one.find(*range(30, 50), scan=other)
    one.finish(600)
    assert one.headlines == []
    one.end(other)
    one.finish(10)
    assert one.headlines == ["20 findings", "Scan completed"]
    one.find(50, scan=running)
    one.end(running)
    one.finish(10)
    assert one.headlines[2:] == ["30 findings", "Scan completed"]


def test_a_digest_that_is_too_large_is_some_that_say_so(channel: Start) -> None:
    one = channel(SCAN)
    one.begin(a_scan())
    one.find(*range(1, 2 * NAMED_MAX + 4), severity=Severity.HIGH)
    one.end(a_scan())
    one.finish(60)
    parts = [f"{NAMED_MAX} findings (1 of 3)", f"{NAMED_MAX} findings (2 of 3)", "3 findings (3 of 3)"]
    assert one.headlines == [*parts, "Scan completed"]


@pytest.mark.parametrize("other_runs", [False, True])
def test_who_does_not_ask_for_ends_gets_the_digest_too(other_runs: bool, channel: Start) -> None:
    one, running = channel(SCAN), a_scan("S1")
    if other_runs:
        one.begin(running)
        one.find(100, scan=running)
    one.begin(a_scan())
    one.find(1, 2)
    one.end(a_scan(), wanted=False)
    one.finish(SEARCH_SECONDS + 5)
    assert one.headlines == ["2 findings"]


def test_what_belongs_to_no_scan_does_not_wait_for_one(channel: Start) -> None:
    one = channel(SCAN)
    one.find(1)
    one.accept(an_event(3, scan=None, severity=Severity.LOW), an_event(4, scan=None, severity=Severity.LOW))
    one.finish(SEARCH_SECONDS + 5)
    assert sum(one.states().values()) == one.states()["delivered"] == 3


# --- a time of the day


def test_a_daily_digest_has_what_was_found_until_then(channel: Start, berlin: None, clock: Clock) -> None:
    clock.now = NOW  # 11:00 in Berlin
    one = channel(Digesting(Rhythm.DAILY, minute=12 * 60))
    one.begin(a_scan())
    one.find(1, 2)
    one.end(a_scan())
    one.finish(3590)
    assert one.headlines == []
    one.finish(20)
    assert one.headlines == ["2 findings", "Scan completed"]
    one.find(3)
    one.clock.now += 3 * 86400
    one.finish(5)
    assert one.headlines[2:] == ["Medium: VULNERABILITY_CVE_HIGH"], "missed days are made up for"


# --- frozen


def test_a_retry_has_the_same_bytes(channel: Start) -> None:
    one = channel(AUTO)
    one.find(*range(1, 20))
    one.slack.instead = Answer(503)
    one.step()
    one.find(*range(20, 30))
    one.slack.instead = None
    one.finish(30)
    first, *others = (asked.body for asked in one.slack.got)
    ids = [asked.headers["webhook-id"] for asked in one.slack.got]
    assert first in others and ids[0] in ids[1:]
    assert one.states() == {"delivered": 29}


def test_a_kill_repeats_a_digest_as_it_was(channel: Start) -> None:
    one = channel(SCAN)
    one.begin(a_scan())
    one.find(*range(1, 2 * NAMED_MAX + 1), severity=Severity.HIGH)
    one.end(a_scan())
    claimed = one.queue._claim(1)  # and before it is sent, the process is killed
    assert claimed and claimed[1].part == (1, 2)
    one.replace()
    one.finish(60)
    assert one.headlines == [f"{NAMED_MAX} findings (1 of 2)", f"{NAMED_MAX} findings (2 of 2)", "Scan completed"]
    assert one.slack.got[0].headers["webhook-id"] == claimed[1].id


def test_a_refused_finding_costs_a_digest_only_itself(channel: Start) -> None:
    one = channel(AUTO)
    one.slack.unwanted = {"CVE-2026-0003"}
    one.find(*range(1, 9), severity=Severity.HIGH)
    for _ in range(300):
        one.step(5)
    dead = sql(one.outbox, "SELECT sequence, state FROM delivery ORDER BY sequence")
    assert [number for number, state in dead if state != "delivered"] == [3]


def test_the_halves_of_a_refused_digest_are_no_parts_of_their_scan(channel: Start) -> None:
    one = channel(SCAN)
    one.begin(a_scan())
    one.find(*range(1, NAMED_MAX + 6), severity=Severity.HIGH)
    one.end(a_scan())
    one.slack.instead = Answer(400)
    for _ in range(20):
        one.step(3)
    one.slack.instead = None
    one.replace()  # whose successor finds the halves in the outbox
    one.finish(3600)
    parts = [head for head in one.headlines if " of " in head]
    assert one.states() == {"delivered": NAMED_MAX + 6}
    assert parts == ["5 findings (2 of 2)"], one.headlines


def test_a_digest_made_for_a_channel_with_more_room_names_all(channel: Start) -> None:
    one = channel(AUTO)
    room, one.endpoint = one.endpoint, replace(one.endpoint, format="pagerduty")
    one.replace()
    one.find(*range(1, NAMED_MAX + 6), severity=Severity.HIGH)
    one.slack.instead = Answer(503)
    one.step()
    one.slack.instead, one.endpoint = None, room
    one.replace()
    one.finish(60)
    told = words(one.slack.taken)
    assert all(f"CVE-2026-{number:04d}" in told for number in range(1, NAMED_MAX + 6))
    assert one.states() == {"delivered": NAMED_MAX + 5}


# --- age


@pytest.mark.parametrize(("waits", "expired"), [(3 * 3600, 0), (25 * 3600, 2)])
def test_what_waits_for_its_digest_does_not_expire(
    waits: float, expired: int, channel: Start, berlin: None, clock: Clock
) -> None:
    """An endpoint that accepts nothing, with max_age = 1h."""
    one = channel(Digesting(Rhythm.DAILY, minute=10 * 60))  # NOW is an hour after that time
    settings = Settings(endpoints=(replace(one.endpoint, max_age=3600.0),))
    one.find(1, 2)
    assert expire(one.outbox, settings, {"team"}, NOW + waits, removed=True) == expired


def test_what_waits_for_the_end_of_its_scan_does_not_expire(channel: Start) -> None:
    one = channel(SCAN)
    settings = Settings(endpoints=(replace(one.endpoint, max_age=3600.0),))
    one.begin(a_scan())
    one.find(1, 2)
    assert expire(one.outbox, settings, {"team"}, NOW + 7200, removed=True) == 0
    one.end(a_scan(), wanted=False)
    assert expire(one.outbox, settings, {"team"}, NOW + 7200, removed=True) == 2


def test_a_digest_that_is_not_due_yet_is_no_reason_for_an_alert(channel: Start, berlin: None, clock: Clock) -> None:
    one = channel(Digesting(Rhythm.DAILY, minute=10 * 60))
    one.find(1, 2)
    siem = an_endpoint("siem", events=("all",))
    watching = Maintenance(Settings(endpoints=(one.endpoint, siem)), one.outbox.place)
    watching.look(NOW + 20 * 3600)
    assert one.states() == {"waiting": 2}
    watching.look(NOW + 23 * 3600 + one.endpoint.max_age * AGE_SHARE + 60)
    assert one.states() == {"waiting": 3}, "the alert"
    watching.close()
