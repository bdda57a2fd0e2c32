"""Eight processes with one outbox, two URLs that have a pace, one of which fails half the time; who sends is killed
twice on the way. `-s` shows the figures."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from math import ceil
from pathlib import Path

import pytest

from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.outbox import Outbox
from tests.builders import PATIENCE, a_scan, an_endpoint
from tests.crash.catcher import Catcher, Caught
from tests.crash.evidence import OK, Evidence
from tests.crash.worker import DRAIN_SECONDS, End, Task, Worker, work

ONE_STORE = "processes share the URLs of a server: tests/delivery/test_fleet.py"

pytestmark = pytest.mark.slow

PROCESSES = 8
EVENTS = 4_000
#: events in one commit
TOGETHER = 25
CONCURRENCY = 4
STEADY, SHAKY = "/steady", "/shaky"
#: URL -> seconds between two requests
INTERVALS = {STEADY: 1 / 200, SHAKY: 1 / 350}
#: URL -> after how many requests to it its sender is killed
KILLS = {STEADY: 1_200, SHAKY: 4_800}
#: seconds of the stretches in which requests are counted
WINDOWS = (0.1, 1.0, 5.0)
#: seconds that all of it may take on a machine that is busy otherwise
LONG = 600.0


class Eight:
    """The processes, and the receiver of both URLs.

    Args:
        folder: for the outbox.
    """

    def __init__(self, folder: Path) -> None:
        self.catcher = Catcher(self._answer)
        self.endpoints = [
            an_endpoint(
                path[1:],
                self.catcher.url(path),
                events=("high_risk_event",),
                retry_schedule=(0.2,) * 40,
                concurrency=CONCURRENCY,
                interval=interval,
            )
            for path, interval in INTERVALS.items()
        ]
        tasks = [Task(mark, folder / FILE, a_scan(), tuple(self.endpoints)) for mark in range(PROCESSES)]
        self.workers = [Worker(work, task) for task in tasks]
        self.outbox = folder / FILE
        self._to_kill = dict(KILLS)
        self._accepted = threading.Event()
        #: URL -> how many requests came
        self._requests: Counter[str] = Counter()
        #: ids of the deliveries that were answered with success
        self._taken: set[str] = set()
        self._guard = threading.Lock()

    def run(self) -> Evidence:
        """Let them accept and send, all at once, and end once the receiver has everything; return the evidence."""
        with self.catcher:
            try:
                self._accept()
                self.catcher.wait_until(lambda: len(self._taken) == EVENTS * len(self.endpoints), LONG)
                self._end()
            finally:
                for worker in self.workers:
                    worker.remove()
        return Evidence(self.outbox, self.endpoints, self.catcher.caught)

    def _accept(self) -> None:
        share = EVENTS // PROCESSES
        for mark, worker in enumerate(self.workers):
            worker.start()
            worker.accept(range(mark * share, (mark + 1) * share), TOGETHER)
        for worker in self.workers:
            assert worker.hear(LONG) == "all"
        self._accepted.set()

    def _end(self) -> None:
        left = [worker for worker in self.workers if not worker.killed]
        for worker in left:
            worker.end(End.DRAIN)
        assert [worker.ended(DRAIN_SECONDS + PATIENCE) for worker in left] == [0] * len(left)

    def _answer(self, caught: Caught) -> int:
        with self._guard:
            self._requests[caught.path] += 1
            count = self._requests[caught.path]
            worker = self.workers[caught.worker]
            due = self._accepted.is_set() and count >= self._to_kill.get(caught.path, EVENTS * 10)
            if due and not worker.killed:
                del self._to_kill[caught.path]
                worker.kill()
            if caught.path == SHAKY and count % 2:
                return 503
            self._taken.update(caught.deliveries)
            return OK


@dataclass(frozen=True)
class Reign:
    """The requests that one process made to a URL, from its first one until another process came."""

    worker: Worker
    caught: Sequence[Caught]

    @property
    def end(self) -> float:
        """When the last one was over: with the answer, or with the sender's death."""
        return min(max(caught.end for caught in self.caught), self.worker.killed_at)


@dataclass(frozen=True, repr=False)
class Run:
    """What is left when all is over."""

    eight: Eight
    evidence: Evidence
    seconds: float

    def at(self, path: str) -> list[Caught]:
        """The requests to a URL, as they came."""
        return sorted(
            (caught for caught in self.evidence.caught if caught.path == path), key=lambda caught: caught.begin
        )

    def late(self, path: str) -> list[Caught]:
        """What a process had sent when it was killed, and the receiver read afterwards."""
        return [caught for caught in self.at(path) if caught.begin > self.eight.workers[caught.worker].killed_at]

    def reigns(self, path: str) -> list[Reign]:
        late = {id(caught) for caught in self.late(path)}
        alive = (caught for caught in self.at(path) if id(caught) not in late)
        groups = groupby(alive, key=lambda caught: caught.worker)
        return [Reign(self.eight.workers[mark], list(caught)) for mark, caught in groups]

    def most(self, path: str, seconds: float) -> list[tuple[int, int]]:
        """Return (how many requests, how many of their senders) of each stretch of time that begins with a request."""
        caught, found, end = self.at(path), [], 0
        senders: Counter[int] = Counter()
        for first in caught:
            while end < len(caught) and caught[end].begin < first.begin + seconds:
                senders[caught[end].worker] += 1
                end += 1
            found.append((sum(senders.values()), len(+senders)))
            senders[first.worker] -= 1
        return found

    def figures(self) -> str:
        evidence = self.evidence
        lines = [f"{PROCESSES} processes, {len(evidence.stored)} deliveries, {self.seconds:.0f} s:"]
        for path, interval in INTERVALS.items():
            caught = self.at(path)
            refused = sum(one.status != OK for one in caught)
            reigns = [len(reign.caught) for reign in self.reigns(path)]
            most = [f"{max(self.most(path, seconds))[0]} in {seconds} s" for seconds in WINDOWS]
            lines.append(
                f"  {path}: {len(caught)} requests, {refused} refused; by one sender after the other {reigns},"
                f" {len(self.late(path))} read after a kill; at most {', '.join(most)}"
                f" ({1 / interval:.0f} a second are allowed, {len(caught) / self._span(path):.0f} came)"
            )
        lines.append(
            f"  {len(evidence.repeats)} repeats, {len(evidence.lost)} lost, {len(evidence.blamed())} killed while made"
        )
        return "\n".join(lines)

    def _span(self, path: str) -> float:
        caught = self.at(path)
        return caught[-1].begin - caught[0].begin


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    eight, begin = Eight(tmp_path_factory.mktemp("eight")), time.monotonic()
    run = Run(eight, eight.run(), time.monotonic() - begin)
    print(f"\n{run.figures()}")
    return run


def test_all_is_delivered(run: Run) -> None:
    deliveries = EVENTS * len(INTERVALS)
    assert Outbox(run.evidence.outbox).scans.tallies() == {"waiting": 0, "delivered": deliveries, "dead": 0}


def test_nothing_is_lost_and_nothing_invented(run: Run) -> None:
    assert (run.evidence.lost, run.evidence.received) == (set(), run.evidence.stored)


def test_who_sends_was_killed_twice(run: Run) -> None:
    assert sum(worker.killed for worker in run.eight.workers) == len(KILLS)


@pytest.mark.parametrize("path", INTERVALS)
def test_a_url_changes_hands_only_when_its_sender_is_killed(run: Run, path: str) -> None:
    *before, _ = [reign.worker for reign in run.reigns(path)]  # the last one too may be killed: once all was sent here
    assert before
    assert all(worker.killed for worker in before)
    assert len({id(worker) for worker in before}) == len(before)


@pytest.mark.parametrize("path", INTERVALS)
def test_there_are_never_two_processes_at_one_url(run: Run, path: str) -> None:
    reigns = run.reigns(path)
    for one, other in zip(reigns, reigns[1:]):
        assert one.end < other.caught[0].begin


@pytest.mark.parametrize("path", INTERVALS)
def test_of_a_killed_process_no_more_comes_than_it_had_in_flight(run: Run, path: str) -> None:
    late = Counter(caught.worker for caught in run.late(path))
    assert all(count <= CONCURRENCY for count in late.values())


@pytest.mark.parametrize("seconds", WINDOWS)
@pytest.mark.parametrize("path", INTERVALS)
def test_the_pace_is_held(run: Run, path: str, seconds: float) -> None:
    # An attempt is begun at a time of its own, and each later by the interval at least, whoever sends. It can come in
    # late, if the machine is busy, but never early. So in any stretch come in those begun within it, and those begun
    # before and still under way: one for each thread of a sender. Who takes over has the time from its predecessor in
    # whole milliseconds, so it may be early by part of one.
    for number, senders in run.most(path, seconds):
        assert number <= ceil(seconds / INTERVALS[path]) + 1 + CONCURRENCY * senders + (senders - 1)


def test_what_comes_again_has_the_id_and_the_bytes_that_it_had(run: Run) -> None:
    assert (run.evidence.renamed(), run.evidence.changed()) == (set(), set())


def test_sequence_numbers_have_no_gaps(run: Run) -> None:
    assert list(run.evidence.gaps()) == []


def test_no_process_met_a_bug_or_a_broken_file(run: Run) -> None:
    assert run.evidence.errors == ""
