"""Random histories of scans: whatever happens between tracker, people and processes, in the end each finding that is
there has one open ticket, and nothing is said twice.

A process that sends is killed with SIGKILL before or after the tracker has done what a request asks; one that reports a
scan's end after any of its steps, and the next process does the rest, at once or some scans later.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest

from sfwebhooks.delivery.send_queue import SendQueue
from sfwebhooks.events import Scan
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.ticketing import SETTLING_SECONDS
from tests.conftest import Clock, soon
from tests.receivers.notifiers import PagerDuty
from tests.receivers.trackers import ServiceNow, Tracker
from tests.receivers.vendor import Answer, Asked, Interruptible, serve
from tests.scan.test_survey import killed_after
from tests.scan.test_tickets import DAY, TRACKERS, Life
from tests.stores import BOTH
from tests.tiers import quick_first

STORES = BOTH

SCANS = 30
NAMES = [f"finding-{letter}" for letter in "abcde"]
CLOSE_AFTER = 2
#: what a ticket is about that is not about one finding
EVERYTHING = "everything"
LINEAGES = ("sfp_a,sfp_b", "sfp_other")
#: an id of a delivery, in a comment
ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
#: steps of a scan's end, after any of which its process may be killed
STEPS = [
    ("recovery.py", "replay_scan"),
    ("sightings.py", "record"),
    ("sightings.py", "finish"),
    ("survey.py", "_compare"),
    ("tickets.py", "gone"),
    ("survey.py", "_close_tickets"),
    ("survey.py", "count"),
    ("scans.py", "end_scan"),
]
Start = Callable[..., SendQueue]


class People:
    """The people who see the tickets of a service, and close them."""

    def __init__(self, service: Interruptible, has_each: bool) -> None:
        self.service = service
        #: whether each finding has a ticket of its own
        self.has_each = has_each
        #: findings of which they want no ticket
        self.dismissed: set[str] = set()
        #: finding -> number of its tickets that they have deleted
        self.deleted: Counter[str] = Counter()

    @property
    def open(self) -> list[str]:
        """The findings of the open tickets."""
        if isinstance(self.service, PagerDuty):
            return [self.name_of(summaries) for summaries in self.service.open.values()]
        assert isinstance(self.service, Tracker)
        return [self.name_of(one.made) for one in self.service.open]

    def name_of(self, made: Any) -> str:
        """Return the finding that a ticket is about."""
        text = json.dumps(made)
        (name,) = {name for name in NAMES if name in text}
        return name if self.has_each else EVERYTHING

    def wanted(self, present: set[str]) -> set[str]:
        """Return what there should be a ticket of, of what is there."""
        return (present if self.has_each else {EVERYTHING for _ in present}) - self.dismissed

    def act(self, chance: random.Random) -> None:
        """Close, dismiss or delete a ticket."""
        if isinstance(self.service, PagerDuty):
            self.service.open.pop(chance.choice([*self.service.open]))
            return
        assert isinstance(self.service, Tracker)
        one = chance.choice(self.service.open)
        deed = chance.choice(["dismiss", "delete", "shut", "shut", "shut"])
        if deed == "dismiss":
            self.service.dismiss(one.key)
            self.dismissed.add(self.name_of(one.made))
        elif deed == "delete":
            self.deleted[self.name_of(one.made)] += 1
            del self.service.held[one.key]
        else:
            self.service.shut(one.key)


class Story:
    """A random history."""

    def __init__(self, life: Life, chance: random.Random) -> None:
        self.life, self.chance = life, chance
        self.people = People(life.tracker, life.endpoint.ticket_per == "finding")
        self.present: set[str] = set()
        #: scans whose process was killed at their end
        self.dead: list[Scan] = []
        #: process that sends, and the number of requests until it is killed
        self.sender, self.until = 0, -1
        #: what was killed: a process that sends, or one after a step
        self.kills: Counter[str] = Counter()
        life.tracker.before = lambda asked: self.kill() if self.until == 0 else None
        life.tracker.after = self.count

    def count(self, asked: Asked) -> None:
        """Count a request that was done, and kill its sender if that was the last one."""
        self.until -= 1
        if self.until == 0 and self.chance.random() < 0.5:
            self.kill()

    def kill(self) -> None:
        os.kill(self.sender, signal.SIGKILL)
        self.until = -1
        self.kills["send"] += 1
        raise ConnectionResetError("its sender is dead")

    def scan(self) -> None:
        """Let things happen until a scan is over, and what follows from it is sent, or not."""
        chance, tracker = self.chance, self.life.tracker
        for name in NAMES:
            if chance.random() < 0.25:
                self.present ^= {name}
        if self.people.open and chance.random() < 0.2:
            self.people.act(chance)
        tracker.instead = Answer(503, "down") if chance.random() < 0.15 else None
        tracker.lost = chance.choice([0, 0, 1, 2])
        tracker.excess = chance.choice([0, 0, 0, 1])
        running = [self.begin()]
        if chance.random() < 0.15:  # two scans of the target at once
            running.append(self.begin())
            chance.shuffle(running)
        for one in running:
            if chance.random() < 0.3:
                self.send(killed=chance.random() < 0.5)
            self.end(one)
        for one in [one for one in self.dead if chance.random() < 0.5]:
            self.recover(one)
        for _ in range(chance.choice([0, 1, 3])):
            self.send(killed=chance.random() < 0.5)
        self.check()

    def begin(self) -> Scan:
        """Begin a scan; return it once the host has all that it finds."""
        chance, history, clock = self.chance, self.life.history, self.life.clock
        values: dict[str, Any] = {"modules": LINEAGES[chance.random() < 0.2]}
        found = self.present
        if chance.random() < 0.15:
            values["status"] = "ABORTED"
            found = {name for name in found if chance.random() < 0.5}
        clock.now += chance.choice([1, 1, 4]) * DAY
        return history.begin(history.found(*sorted(found), generated=clock.now), **values)

    def end(self, scan: Scan) -> None:
        """Report the end of a scan, in a process of its own that may be killed after a step."""
        step = self.chance.choice(STEPS) if self.chance.random() < 0.3 else None
        self.life.outbox.close()

        def report() -> None:
            if step:
                sys.setprofile(killed_after(*step))
            self.life.history.end(scan)

        if run_apart(report):
            assert step
            self.dead.append(scan)
            self.kills[step[1]] += 1

    def recover(self, scan: Scan) -> None:
        """Report the end of a scan whose process is dead."""
        self.dead.remove(scan)
        self.life.history.end(scan, "process_died")

    def send(self, killed: bool = False) -> None:
        """Send in a process of its own what is due; it may be killed at some request."""
        self.until = self.chance.randrange(1, 8) if killed else -1

        def work() -> None:
            queue = SendQueue([self.life.endpoint], Outbox(self.life.outbox.place), self.life.clock)
            while queue.step():
                pass
            queue.stop(soon())

        run_apart(work, lambda process: setattr(self, "sender", process))
        self.life.clock.now += self.chance.choice([1.0, 70.0, SETTLING_SECONDS, DAY])

    def finish(self) -> None:
        """Let all be well: the tracker answers, and scans with all modules see what is there."""
        tracker = self.life.tracker
        tracker.instead, tracker.lost, tracker.excess = None, 0, 0
        for one in [*self.dead]:
            self.recover(one)
        for _ in range(CLOSE_AFTER + 2):
            for modules in LINEAGES:
                self.life.scan(*sorted(self.present), send=False, modules=modules)
                for _ in range(30):
                    self.send()
                    self.life.clock.now += DAY
                    if not self.life.waiting:
                        break
                self.check()

    def check(self) -> None:
        opened = Counter(self.people.open)
        assert max(opened.values(), default=1) == 1, f"two open tickets for one finding: {opened}"
        if isinstance(self.life.tracker, Tracker):
            for one in self.life.tracker.held.values():
                ids = [ID.findall(text)[-1] for text, _ in one.comments]
                assert len(ids) == len(set(ids)), f"a comment that was made twice: {one.comments}"


def run_apart(work: Callable[[], None], note: Callable[[int], None] = lambda process: None) -> bool:
    """Do something in a process of its own, whose id is noted first; return whether it was killed."""
    ready, go = os.pipe()
    process = os.fork()
    if not process:
        status = 1
        try:
            os.close(go)
            os.read(ready, 1)
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(ready)
    note(process)
    os.close(go)
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    assert status in (0, -signal.SIGKILL), status
    return status != 0


@pytest.fixture(params=[*TRACKERS, PagerDuty], ids=lambda make: make.__name__)
def tracker(request: pytest.FixtureRequest) -> Iterator[Interruptible]:
    made: Interruptible = request.param()
    with serve(made) as made.root:
        yield made


#: what a ticket is about in each history
UNITS = ["finding", "finding", "type", "scan", *["finding"] * 15]
HISTORIES = [pytest.param(unit, seed) for seed, unit in enumerate(UNITS, 1)]


@pytest.mark.parametrize(("unit", "seed"), quick_first(HISTORIES, quick=0, slow_ones=2))
def test_after_any_history_there_is_one_open_ticket_for_each_finding_that_is_there(
    unit: str, seed: int, tmp_path: Path, outbox: Outbox, clock: Clock, tracker: Interruptible, new_queue: Start
) -> None:
    if unit != "finding" and isinstance(tracker, PagerDuty):
        pytest.skip("it has an alert for each finding")
    keys = {"ticket_per": unit, "close_after": CLOSE_AFTER, "comment_every": 3 * DAY}
    life = Life(tmp_path, outbox, clock, tracker, new_queue, **keys)
    story = Story(life, random.Random(seed))
    for _ in range(SCANS):
        story.scan()
    story.finish()
    assert Counter(story.people.open) == Counter(story.people.wanted(story.present))
    if isinstance(tracker, Tracker) and not isinstance(tracker, ServiceNow):  # there a ticket that was shut is replaced
        made = Counter(story.people.name_of(one) for one in tracker.taken)
        assert all(number <= 1 + story.people.deleted[name] for name, number in made.items()), made
    assert story.kills["send"] and story.kills.total() > story.kills["send"]
