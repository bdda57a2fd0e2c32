"""A campaign against a fleet: its machines are killed, cut off and put to sleep, its server is stopped, and a
transaction is held open, at random moments; what must be true in the end is read from `fleet_evidence`."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from subprocess import TimeoutExpired
from typing import Any, Callable

import psycopg

from sfwebhooks.errors import OutboxError
from sfwebhooks.outbox.file import SPOOL_FILE
from sfwebhooks.outbox.spool import Spool
from tests.builders import PATIENCE
from tests.crash.catcher import Caught
from tests.crash.fleet import HOST_FILE, STOP_SECONDS, Fleet, Node
from tests.host_databases import make_tables

HOSTS, SCANNERS = 3, 3
#: the spools of the scanners' processes, one after the other
SPOOLS = (("sqlite",), ("none",), ("sqlite", "none"))
#: seconds in which a killed process is not there, and the server
ABSENT_SECONDS = (0.1, 2.0)
DOWN_SECONDS = (0.1, 4.0)
#: seconds for which a host is cut off or asleep: the server gives its locks to another one within 25, or not
SHORT_SECONDS, LONG_SECONDS = (2.0, 14.0), (30.0, 40.0)
#: seconds until a host sends something at which it can be cut off
TRAP_SECONDS = 15.0
#: seconds between two looks for that
LOOK_SECONDS = 0.02
#: each so many-th request to SLOW is answered after some seconds, and to FLAKY refused
SLOW, SLOW_EACH, SLOW_SECONDS = "/slow", 4, 0.4
FLAKY, FLAKY_EACH = "/flaky", 9
#: seconds for which SLOW keeps an answer for which it is to wait
HELD_SECONDS = 45.0
#: seconds within which all is sent in the end, and reported
END_SECONDS = 400.0
SIGNED = "secret = a secret of the fleet"
EVERYTHING = f"{SIGNED}\nevents = all, !surface_changed, !system_alert, !resource_warning, !scan_progress"
RETRIES = f"retry_schedule = 1s, 1s, 2s, 2s, {', '.join(['5s'] * 60)}"
ENDPOINTS = {
    "quick": f"{EVERYTHING}\n{RETRIES}\ntimeout = 5s",
    SLOW[1:]: f"{EVERYTHING}\n{RETRIES}\ntimeout = 60s\nconcurrency = 8",
    FLAKY[1:]: f"{EVERYTHING}\n{RETRIES}\ntimeout = 5s",
    "batches": f"{EVERYTHING}\n{RETRIES}\ntimeout = 5s\nbatch_size = 20\nbatch_wait = 1s\nconcurrency = 2",
    "orderly": f"{SIGNED}\nevents = high_risk_event, scan_completed, scan_failed, scan_aborted\n{RETRIES}\n"
    "timeout = 5s\nconcurrency = 1",
}
#: those that do not want findings of low severity
PICKY = ("orderly",)


@dataclass(frozen=True)
class Size:
    """How much of everything."""

    events: int
    kills: int
    partitions: int
    sleeps: int
    stops: int
    #: seconds in which the server is stopped, and in which a transaction is held open instead
    stopping_seconds: float
    held_seconds: float

    @property
    def seconds(self) -> float:
        return self.stopping_seconds + self.held_seconds


@dataclass
class Trap:
    """Waits for a request of a host."""

    #: whether only one to SLOW will do, whose answer is kept
    keeps: bool
    victim: Node | None = None
    #: set once the victim is cut off, or asleep
    sprung: threading.Event = field(default_factory=threading.Event)


class Campaign(Fleet):
    """A fleet with what is done to it."""

    def __init__(self, folder: Path, seed: int, size: Size) -> None:
        super().__init__(folder, ENDPOINTS)
        self.size = size
        #: what was done -> how often
        self.done: Counter[str] = Counter()
        #: seconds for which a transaction was held open, and whether it was to the end
        self.held_seconds, self.was_held = 0.0, False
        self._random = Random(seed)
        self._trap: Trap | None = None
        #: URL -> how many requests came
        self._requests: Counter[str] = Counter()
        #: URL -> number of the machine that sent the last one
        self._last: dict[str, int] = {}
        self._guard = threading.Condition()
        #: what is to be done: when, in monotonic seconds
        self._agenda: list[tuple[float, int, Callable[[], object]]] = []
        self._order = itertools.count()
        #: hosts whose late results are awaited
        self._spared: set[str] = set()
        self._transaction: psycopg.Connection[Any] | None = None

    def run(self) -> None:
        """Let all of it happen, and the fleet come to rest."""
        self.hosts = [self.add(f"host-{number}") for number in range(1, HOSTS + 1)]
        self.scanners = [self.add(f"scanner-{number}") for number in range(1, SCANNERS + 1)]
        for node in self.scanners:
            make_tables(node.folder / HOST_FILE)  # SpiderFoot has them before its first scan
        self._begun_at = time.monotonic()
        for node in self.nodes:
            self._begin(node)
        self._plan()
        while self._agenda:
            at, _, act = heapq.heappop(self._agenda)
            threading.Event().wait(max(0.0, at - time.monotonic()))
            act()
        self._come_to_rest()

    def __enter__(self) -> Campaign:
        super().__enter__()
        return self

    # --- what is done

    def _plan(self) -> None:
        size, random, begin = self.size, self._random, self._begun_at
        for _ in range(size.kills):
            self._at(begin + random.uniform(1.0, size.seconds), self._kill)
        for kind, times in (("cut", size.partitions), ("asleep", size.sleeps)):
            for number in range(times):
                self._at(begin + random.uniform(3.0, size.seconds), partial(self._upset, kind, number))
        for _ in range(size.stops):
            self._at(begin + random.uniform(3.0, size.stopping_seconds), self._stop)
        self._at(begin + size.stopping_seconds + max(DOWN_SECONDS), self._hold)

    def _at(self, at: float, act: Callable[[], object]) -> None:
        heapq.heappush(self._agenda, (at, next(self._order), act))

    def _after(self, seconds: tuple[float, float], act: Callable[[], object]) -> None:
        self._at(time.monotonic() + self._random.uniform(*seconds), act)

    def _kill(self) -> None:
        alive = [node for node in self.nodes if node.is_alive and node.name not in self._spared]
        if not alive:
            self._after(ABSENT_SECONDS, self._kill)
            return
        node = self._random.choice(alive)
        node.kill()
        self.done[f"kills of {'hosts' if node in self.hosts else 'scanners'}"] += 1
        self._after(ABSENT_SECONDS, lambda: self._begin(node))

    def _begin(self, node: Node) -> None:
        """Start what runs on a machine; a scanner finds what it has not found yet."""
        if node.is_alive:
            return
        node.check()
        if node in self.hosts:
            node.deliver()
            return
        number = self.scanners.index(node)
        share = self.size.events // SCANNERS + (number < self.size.events % SCANNERS)
        left = share - len(node.found())
        if left > 0:
            spools = SPOOLS[number % len(SPOOLS)]
            node.configure(spools[len(node.lives) % len(spools)])
            name, seed = f"{node.name}-{len(node.lives) + 1}", self._random.randrange(2**32)
            until = self._begun_at + self.size.seconds
            node.start("from tests.crash.scanner import main; main()", node.folder, name, left, until, seed)

    def _upset(self, kind: str, number: int) -> None:
        """Cut a host off, or let it sleep, while it sends; in half of the cases until another one has taken over."""
        is_long = number % 2 == 0
        with self._guard:
            is_set, trap = self._trap is None and self.is_up, Trap(is_long and number % 4 == 0)
            self._trap = trap if is_set else self._trap
        if is_set:
            self._look(trap, kind, number, time.monotonic() + TRAP_SECONDS)
        else:
            self._after((1.0, 5.0), lambda: self._upset(kind, number))

    def _look(self, trap: Trap, kind: str, number: int, until: float) -> None:
        """Look again and again whether a host is in the trap, while other things happen."""
        is_long, whole, node = number % 2 == 0, number % 4 > 1, trap.victim
        if node is None and time.monotonic() < until:
            self._at(time.monotonic() + LOOK_SECONDS, lambda: self._look(trap, kind, number, until))
            return
        with self._guard:
            self._trap, node = None, trap.victim
        if node is None or not node.is_alive:  # none sends: scanners do, or the server is down
            trap.sprung.set()
            self.done["upsets that found no host that sends"] += 1
            self._after((1.0, 5.0), lambda: self._upset(kind, number))
            return
        if is_long:
            self._spared.add(node.name)
        if kind == "cut":
            node.cut(whole)
            self.done["partitions" + (" from the receivers too" if whole else "")] += 1
        else:
            node.sleep()
            self.done["sleeps"] += 1
        trap.sprung.set()
        self._after(LONG_SECONDS if is_long else SHORT_SECONDS, lambda: self._calm(node))

    def _calm(self, node: Node) -> None:
        self._spared.discard(node.name)
        if node.is_cut:
            node.heal()
        if node.is_asleep:
            node.wake()

    def _stop(self) -> None:
        if self.is_up:
            self.stop_server()
            self.done["immediate stops"] += 1
            self._after(DOWN_SECONDS, self.start_server)
        else:
            self._after(DOWN_SECONDS, self._stop)

    def _hold(self) -> None:
        """Hold a transaction open that sees the tables as they are."""
        self._transaction = psycopg.connect(self.server.dsn("hooks"))
        self.stack.callback(self._transaction.close)
        self._transaction.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        self._transaction.execute("SELECT count(*) FROM sfwebhooks.delivery")
        self._at(time.monotonic() + self.size.held_seconds, self._let_go)

    def _let_go(self) -> None:
        assert self._transaction
        ((seconds,),) = self._transaction.execute("SELECT extract(epoch FROM clock_timestamp() - now())::float")
        self.held_seconds, self.was_held = seconds, True
        self._transaction.close()

    # --- what receivers do

    def answer(self, caught: Caught) -> int:
        with self._guard:
            self._requests[caught.path] += 1
            count = self._requests[caught.path]
            self._last[caught.path] = caught.worker
            trap = self._snap(caught)
            self._guard.notify_all()
        if trap:
            trap.sprung.wait(PATIENCE)
            if trap.keeps:
                with self._guard:
                    self._guard.wait_for(lambda: self._last[caught.path] != caught.worker, HELD_SECONDS)
        elif caught.path == SLOW and count % SLOW_EACH == 0:
            time.sleep(SLOW_SECONDS)
        return 503 if caught.path == FLAKY and count % FLAKY_EACH == 0 else 200

    def _snap(self, caught: Caught) -> Trap | None:
        """Return the trap that this request springs."""
        trap, node = self._trap, self.nodes[caught.worker - 1]
        if not trap or node not in self.hosts or node.is_cut or node.is_asleep or (trap.keeps and caught.path != SLOW):
            return None
        if trap.victim:
            return None
        trap.victim = node
        return trap

    # --- the end

    def _come_to_rest(self) -> None:
        """Let the scanners end, and their machines send what is left, and report the scans whose process died."""
        self.start_server()
        for node in self.nodes:
            self._calm(node)
            self._begin(node)
        for node in self.scanners:
            while node.is_alive:
                with suppress(TimeoutExpired):
                    node.lives[-1].process.wait(PATIENCE)
                self._begin(node)
        deadline = time.monotonic() + END_SECONDS
        while time.monotonic() < deadline and not self._is_at_rest():
            for node in self.scanners:
                drained = node.command("drain", "--timeout", "30s")
                drained.process.wait(STOP_SECONDS)
        assert self._is_at_rest(), f"{self.waiting} deliveries wait"
        for node in self.hosts:
            node.end()

    def _is_at_rest(self) -> bool:
        with suppress(OutboxError):  # its connection may be one from before a stop of the server
            return self.waiting == 0 and not self.outbox.scans.open_scans() and not any(map(spooled, self.scanners))
        return False


def spooled(node: Node) -> int:
    """Return how many events wait in the spool of a machine."""
    path = node.folder / SPOOL_FILE
    if not path.exists():
        return 0
    with closing(Spool(path, listing=True)) as spool:
        return spool.backlog().waiting
