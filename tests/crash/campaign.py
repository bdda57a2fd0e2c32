"""A campaign of kills: one process after the other that uses the engine is killed, with SIGKILL, at moments of all
kinds; what must be true in the end is read from the evidence."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from enum import Enum
from math import ceil
from random import Random
from typing import Any, Callable

from sfwebhooks.delivery.alerts import ALERT
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.schema import VERSION
from tests.builders import PATIENCE, a_scan, an_endpoint
from tests.crash.catcher import LATE, Catcher, Caught
from tests.crash.evidence import OK, REFUSED, SHORTAGES, Evidence
from tests.crash.grounds import Ground, version
from tests.crash.looking import Look
from tests.crash.worker import DRAIN_SECONDS, End, Task, Worker, open_outbox, work


class Moment(str, Enum):
    """When a process is killed."""

    #: while it accepts one event after the other
    ACCEPTING = "accepting"
    #: while it admits events of the spool to the outbox
    FORWARDING = "forwarding"
    #: while the receiver handles one of its requests
    SENDING = "sending"
    #: just after the receiver answered one
    SETTLING = "between reply and settle"
    #: while it makes an outbox where there was none
    MAKING = "making the outbox"
    #: while it sends to a URL that others wait for
    RELIEVED = "sending, others wait for the URL"
    #: while it reports the ends of scans
    ENDING = "reporting ends of scans"
    #: while it lacks descriptors, or memory
    DESCRIPTORS = "short of descriptors"
    MEMORY = "short of memory"


#: how many of a hundred kills are of a kind; with a spool, half of those while accepting come while forwarding
SHARES = {
    Moment.ACCEPTING: 26,
    Moment.SENDING: 20,
    Moment.SETTLING: 26,
    Moment.MAKING: 4,
    Moment.RELIEVED: 16,
    Moment.ENDING: 4,
    Moment.DESCRIPTORS: 2,
    Moment.MEMORY: 2,
}
#: refuse what is UNWANTED
PICKY, PICKY_BATCH = "/picky", "/picky-batch"
#: fails half of the time, until there are no more kills
HALF = "/half"
#: answers some requests once the sender has given up
SLOW = "/slow"
ALERTS = "/alerts"
#: URL (any of all, if empty) -> how many requests to it FEW events cause at least
REQUESTS = {"": 8, "/orderly": 4, "/shared": 8, "/batch": 1, PICKY: 4, PICKY_BATCH: 1}
#: those that are never closed, so that another process goes on there at once
OPEN = ("/orderly", "/shared", "/batch")
FEW = 4
MANY = 30
#: several scans at a time, so that some processes accept for one that another process began
SCANS = 7
#: each so many-th request to a URL fails, so that there are retries too; and each so many-th to SLOW is answered LATE
FAILED = 9
SLOW_EACH = 5
#: seconds after which a sender to SLOW gives up
SLOW_SECONDS = 0.2
#: how many drain the outbox in the end at most, one after the other
DRAINS_MAX = 60
#: what a process that is short has, at least and at most: descriptors (with a server; with a spool), bytes of memory
DESCRIPTORS, DESCRIPTORS_THERE, DESCRIPTORS_SPOOL = (12, 40), (7, 16), (14, 24)
MEMORY = (2**21, 2**27)
#: seconds within which a kill comes once its moment has come
SPREAD_SECONDS = 0.002
#: seconds that a process takes to make an outbox, to report the ends of SCANS, and to be short for a while
MAKING_SECONDS = 0.01
ENDING_SECONDS = 0.05
SHORT_SECONDS = 0.5
#: the same on a server, and seconds from an event's commit to the spool until it is forwarded
MAKING_SECONDS_THERE = 0.2
ENDING_SECONDS_THERE = 0.3
FORWARDING_SECONDS = 0.15
#: seconds in which a process notes an attempt that failed for what it lacks, if it can
SHORT_SECONDS_MAX = 5.0
#: how many may lack something before the first one notes it
SHORT_TRIES = 20
#: seconds between two looks at whether it did
LOOK_SECONDS = 0.02


@dataclass
class Trap:
    """Kills who makes a certain request."""

    moment: Moment
    #: to which URL; any, if empty
    path: str
    #: how many requests are still to come, with that one
    left: int
    delay_seconds: float
    #: the one at which it snapped
    victim: Caught | None = None
    snapped: threading.Event = field(default_factory=threading.Event)


class Campaign:
    """One outbox, one receiver, and processes that come and go."""

    def __init__(self, ground: Ground, seed: int) -> None:
        self.ground = ground
        self.kills: Counter[Moment] = Counter()
        #: moment -> the requests at which a trap snapped
        self.snapped: dict[Moment, list[Caught]] = defaultdict(list)
        self._random = Random(seed)
        self._catcher = Catcher(self._answer, lambda caught: self._spring(caught, answered=True))
        self._outbox, self._look = ground.outbox, Look(ground.outbox)
        self._endpoints = endpoints_of(self._catcher)
        self._workers: dict[int, Worker] = {}
        self._trap: Trap | None = None
        #: how often all scans were ended, and others begun
        self._generation = 0
        #: events that workers were asked to accept
        self._given = 0
        #: URL -> how many requests came
        self._requests: Counter[str] = Counter()
        self._guard = threading.Lock()
        #: says which requests to HALF fail
        self._coin = Random(seed)
        #: what it shows
        self._faces = (500, OK)
        #: schema version that a kill left in a file that was being made -> how often
        self.left: Counter[int] = Counter()
        on_server = DESCRIPTORS_SPOOL if ground.has_spool else DESCRIPTORS_THERE
        descriptors = on_server if ground.server else DESCRIPTORS
        self._ways: dict[Moment, Callable[[], None]] = {
            Moment.ACCEPTING: self._accepting,
            Moment.FORWARDING: self._forwarding,
            Moment.SENDING: lambda: self._sending(Moment.SENDING),
            Moment.SETTLING: lambda: self._sending(Moment.SETTLING),
            Moment.MAKING: self._making,
            Moment.RELIEVED: self._relieved,
            Moment.ENDING: self._ending,
            Moment.DESCRIPTORS: lambda: self._short("descriptors", descriptors),
            Moment.MEMORY: lambda: self._short("memory", MEMORY),
        }

    def run(self, kills: int) -> Evidence:
        """Kill so many processes at least, let others send what is left, and return the evidence."""
        shares = dict(SHARES)
        if self.ground.has_spool:
            shares[Moment.FORWARDING] = SHARES[Moment.ACCEPTING] // 2
            shares[Moment.ACCEPTING] -= shares[Moment.FORWARDING]
        moments = [moment for moment, share in shares.items() for _ in range(ceil(share * kills / 100))]
        self._random.shuffle(moments)
        with closing(Outbox(self._outbox)) as outbox:
            outbox.scans.tallies()  # makes the file: the first one that is killed may lack something to do so
        with self._catcher:
            try:
                for moment in moments:
                    self._ways[moment]()
                    self.kills[moment] += 1
                self._finish()
            finally:
                for worker in self._workers.values():
                    worker.remove()
        takers = [endpoint for endpoint in self._endpoints if endpoint.name != ALERTS[1:]]
        return Evidence(self._outbox, takers, self._catcher.caught, picky=(PICKY[1:], PICKY_BATCH[1:]))

    # --- ways to kill

    def _accepting(self) -> None:
        worker = self._new_worker()
        worker.accept(self._events(MANY), report_after=self._random.randint(1, MANY // 2))
        assert worker.hear() == "there"
        threading.Event().wait(self._random.uniform(0.0, SPREAD_SECONDS))
        worker.kill()
        worker.ended()
        self._spare()

    def _forwarding(self) -> None:
        worker = self._new_worker()
        worker.accept(self._events(MANY), MANY)
        assert worker.hear() == "all"
        threading.Event().wait(self._random.uniform(0.0, FORWARDING_SECONDS))
        worker.kill()
        worker.ended()
        self._spare()

    def _sending(self, moment: Moment) -> None:
        with self._trapping(moment, self._random.choice(list(REQUESTS))):
            worker = self._new_worker()
            worker.accept(self._events(FEW))
        worker.ended()
        self._spare()

    def _relieved(self) -> None:
        """Kill who sends to a URL; another one must go on there, and then they send what can be sent."""
        path = self._random.choice(OPEN)
        workers = [self._new_worker() for _ in range(self._random.randint(2, 3))]
        for worker in workers:
            worker.accept(self._events(1))
            assert worker.hear() == "all"
        with self._trapping(Moment.RELIEVED, path) as trap:
            workers[-1].accept(self._events(FEW))
        assert trap.victim
        killed = self._workers[trap.victim.worker]
        killed.ended()
        workers.remove(killed)
        self._catcher.wait_until(lambda: self._goes_on(path, killed), 3 * PATIENCE)
        self._end(workers, End.STOP)

    def _ending(self) -> None:
        """Kill a process while it reports the end of its scan, and of others; who does so next reports the rest."""
        worker = self._new_worker()
        worker.accept(self._events(FEW))
        worker.end(End.SCANS)
        assert (worker.hear(), worker.hear()) == ("all", "ends")
        seconds = ENDING_SECONDS_THERE if self.ground.server else ENDING_SECONDS
        threading.Event().wait(self._random.uniform(0.0, seconds))
        worker.kill()
        worker.ended()
        self._generation += 1  # an end is a scan's last message
        self._spare()

    def _short(self, thing: str, limits: tuple[int, int]) -> None:
        """Kill processes that lack something, some time after an attempt failed for that: one may not even be able to
        note it, or have just enough. At least one has to have noted it."""
        for _ in range(SHORT_TRIES):
            self._short_of(thing, self._random.randint(*limits))
            if self._look.count(SHORTAGES):
                break

    def _short_of(self, thing: str, number: int) -> None:
        before = self._look.count(SHORTAGES)
        worker = self._new_worker(**{thing: number})
        worker.accept(self._events(MANY))
        latest = time.monotonic() + SHORT_SECONDS_MAX
        while self._look.count(SHORTAGES) == before and time.monotonic() < latest:
            threading.Event().wait(LOOK_SECONDS)
        threading.Event().wait(self._random.uniform(0.0, SHORT_SECONDS))
        worker.kill()
        worker.ended()
        self._spare()

    def _making(self) -> None:
        """Kill a process while it makes an outbox; the next one that opens it makes what is not there."""
        with self.ground.another() as place:
            worker = Worker(open_outbox, place)
            worker.start()
            assert worker.hear() == "begins"
            seconds = MAKING_SECONDS_THERE if self.ground.server else MAKING_SECONDS
            threading.Event().wait(self._random.uniform(0.0, seconds))
            worker.kill()
            worker.ended()
            self.left[version(place)] += 1
            with closing(Outbox(place)) as outbox:
                outbox.scans.tallies()
            assert version(place) == VERSION

    def _goes_on(self, path: str, killed: Worker) -> bool:
        return any(
            caught.path == path and caught.begin > killed.killed_at and self._workers[caught.worker] is not killed
            for caught in reversed(self._catcher.caught)
        )

    # --- workers and traps

    def _new_worker(self, **limits: int) -> Worker:
        mark = len(self._workers) + 1
        # a scan whose events are in the spool is reported as over by the next process that forwards
        number = f"{self._generation}-{mark % SCANS}" if not self.ground.has_spool else str(mark)
        task = Task(mark, self._outbox, a_scan(f"scan-{number}"), self._endpoints, self.ground.has_spool, **limits)
        worker = self._workers[mark] = Worker(work, task)
        worker.start()
        return worker

    def _events(self, count: int) -> range:
        """Return numbers for events that no others have."""
        self._given += count
        return range(self._given - count, self._given)

    def _end(self, workers: Sequence[Worker], how: End) -> None:
        """Let workers send what waits, and end."""
        for worker in workers:
            worker.end(how)
        assert [worker.ended(DRAIN_SECONDS + PATIENCE) for worker in workers] == [0] * len(workers)

    def _finish(self) -> None:
        """End all scans, and drain the outbox until nothing waits: with a receiver that fails half of the time, that
        would take hours.

        Each time some messages are sent that everybody takes: they show that one that is refused is itself at fault.
        """
        self._faces = (OK, OK)
        for _ in range(DRAINS_MAX):
            self._generation += 1
            worker = self._new_worker()
            worker.accept(self._events(FEW))
            worker.end(End.SCANS)
            self._end([worker], End.DRAIN)
            if not (self._waits() or self.ground.spooled or self._look.count("scan WHERE ended IS NULL")):
                return
        raise AssertionError(f"something still waits after {DRAINS_MAX} drains")

    def _spare(self) -> None:
        """Let what was being made at two kills be sent in peace: it may have been hit again, and a third time would
        rightly make it a dead letter."""
        if self._waits("crashes > 1"):
            self._end([self._new_worker()], End.DRAIN)

    def _waits(self, which: str = "TRUE") -> bool:
        return self._look.count(f"delivery WHERE state = 'waiting' AND {which}") > 0

    @contextmanager
    def _trapping(self, moment: Moment, path: str) -> Iterator[Trap]:
        """Set a trap, and wait until it has snapped."""
        left = self._random.randint(1, REQUESTS[path])
        trap = self._trap = Trap(moment, path, left, self._random.uniform(0.0, SPREAD_SECONDS))
        yield trap
        assert trap.snapped.wait(3 * PATIENCE), f"no sender came into {trap}"

    def _answer(self, caught: Caught) -> int:
        with self._guard:
            self._requests[caught.path] += 1
            status = self._status(caught, self._requests[caught.path])
        self._spring(caught, answered=False)
        return status

    def _status(self, caught: Caught, count: int) -> int:
        """Return the answer to a request, the so many-th to its URL."""
        if caught.path == HALF:
            return self._coin.choice(self._faces)
        if caught.path == SLOW:
            return OK if count % SLOW_EACH else LATE
        if caught.unwanted and caught.path in (PICKY, PICKY_BATCH):
            return REFUSED
        return OK if count % FAILED else 503

    def _spring(self, caught: Caught, answered: bool) -> None:
        """Kill who made a request, if a trap is there for it."""
        worker = self._workers[caught.worker]
        with self._guard:
            trap = self._trap
            if not trap or (trap.moment is Moment.SETTLING) is not answered:
                return
            if trap.path not in ("", caught.path) or worker.killed:
                return
            trap.left -= 1
            if trap.left:
                return
            self._trap, trap.victim = None, caught
        threading.Event().wait(trap.delay_seconds)
        worker.kill()
        self.snapped[trap.moment].append(caught)
        trap.snapped.set()


def endpoints_of(catcher: Catcher) -> tuple[Endpoint, ...]:
    """Return endpoints of all sorts: one attempt at a time, several, two with one URL, batches, receivers that are in
    trouble, and one that is alerted of it."""
    # about as long as it takes to accept two, so that batches of one, of some and of five go out
    batches: dict[str, Any] = {"batch_size": 5, "batch_wait": 0.004, "concurrency": 2}

    def one(path: str, name: str = "", **values: Any) -> Endpoint:
        given = {"events": ("all", f"!{ALERT}"), "retry_schedule": (0.05,) * 40, **values}
        return an_endpoint(name or path[1:], catcher.url(path), **given)

    return (
        one("/orderly", concurrency=1),
        one("/shared", "one"),
        one("/shared", "two"),
        one("/batch", **batches),
        one(PICKY),
        one(PICKY_BATCH, **batches),
        one(HALF),
        one(SLOW, timeout=SLOW_SECONDS),
        one(ALERTS, events=(ALERT,)),
    )
