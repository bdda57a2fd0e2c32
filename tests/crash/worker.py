"""A process that is going to be killed. It accepts, into the outbox or into the spool in front of it, sends and reports
the ends of scans as a scan's process does, notes in a file of notes what was accepted, and says over a pipe how far it
is."""

from __future__ import annotations

import faulthandler
import logging
import multiprocessing
import os
import resource
import signal
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import Enum
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Callable, TypeVar

from sfwebhooks.config.settings import Settings
from sfwebhooks.delivery.dispatcher import Dispatcher
from sfwebhooks.endpoints import Endpoint, Secret
from sfwebhooks.errors import OutboxBusyError
from sfwebhooks.events import Scan, WebhookEvent
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.postgres.dsn import Dsn, Place, local_path
from sfwebhooks.scan.findings import event_of_finding
from sfwebhooks.scan.intake import Intake
from sfwebhooks.scan.lifecycle import TOP_DATA_MAX, started
from sfwebhooks.scan.recovery import report_dead_scans, report_end
from sfwebhooks.screening import Screen
from tests.builders import PATIENCE, a_finding
from tests.crash.catcher import MARK, UNWANTED

T = TypeVar("T")
#: forks from a process without threads that has imported all of this: a start costs milliseconds. Where pytest is a
#: script, each process imports that too
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload([__name__, "sfwebhooks.outbox.postgres.server", "pytest"])
#: what processes log of our bugs and of broken files: nothing, if all is well
ERRORS = "errors.log"
#: what they log beside that, such as which message was being made when the process before was killed
WARNINGS = "warnings.log"
#: seconds in which a worker that is asked to drain the outbox sends what waits
DRAIN_SECONDS = 120.0
#: seconds in which one that is asked to stop sends what can be sent
LINGER_SECONDS = 1.0
#: seconds between two looks at alerts and shortages, as a scan's process has them
TICK_SECONDS = 1.0
#: each so many-th finding is UNWANTED: an endpoint that takes nothing else for a while is held
UNWANTED_EACH = 20


@dataclass(frozen=True)
class Task:
    """Who a worker is, and what it has."""

    #: names it; goes out with each request
    mark: int
    outbox: Place
    scan: Scan
    endpoints: tuple[Endpoint, ...]
    #: whether it accepts into the spool
    has_spool: bool = False
    #: descriptors, and bytes of memory, that it may have besides those that it begins with; None: as many as it wants
    descriptors: int | None = None
    memory: int | None = None

    @property
    def notes_file(self) -> Path:
        """The file in which it notes what it accepts."""
        return local_path(self.outbox).with_name(f"{self.mark}.notes")

    @property
    def settings(self) -> Settings:
        """What the settings of its scan say."""
        server = Secret(self.outbox.text) if isinstance(self.outbox, Dsn) else None
        return Settings(self.endpoints, outbox=server, has_spool=self.has_spool)


@dataclass(frozen=True)
class Order:
    """Accept events, in one commit or more."""

    numbers: range
    #: how many in one commit
    size: int
    #: after how many commits to say so
    report_after: int


class End(Enum):
    """What a worker is asked at its end."""

    #: report the ends of its own scan, and of all others whose process is gone; then wait for the next order
    SCANS = "scans"
    #: send what can be sent now, and stop: as a scan's process
    STOP = "stop"
    #: send all that waits for endpoints that take it, whenever it is due, and stop: as `sfwebhooks drain`
    DRAIN = "drain"


class Worker:
    """A worker as the test has it.

    Args:
        target: runs in the process, with `args` and its end of the pipe.
    """

    def __init__(self, target: Callable[..., None], *args: Any) -> None:
        self._talk, self._theirs = CONTEXT.Pipe()
        self._process = CONTEXT.Process(target=target, args=(*args, self._theirs), daemon=True)
        #: monotonic seconds
        self.killed_at = float("inf")
        self._gone = False

    @property
    def killed(self) -> bool:
        return self.killed_at < float("inf")

    def start(self) -> None:
        self._process.start()
        self._theirs.close()

    def accept(self, numbers: range, size: int = 1, report_after: int = 0) -> None:
        self._talk.send(Order(numbers, size, report_after))

    def hear(self, seconds: float = PATIENCE) -> Any:
        """Return what the process says next."""
        assert self._talk.poll(seconds), "a worker says nothing"
        return self._talk.recv()

    def kill(self) -> None:
        self.killed_at = time.monotonic()
        self._process.kill()

    def end(self, how: End) -> None:
        self._talk.send(how)

    def ended(self, seconds: float = PATIENCE) -> int | None:
        """Return the exit code once it has ended."""
        self._process.join(seconds)
        code = self._process.exitcode
        if code is None:
            os.kill(self._process.pid or 0, signal.SIGUSR1)
            self._process.join(1.0)
        assert code is not None, "a worker does not end; where it is was printed"
        self.remove()
        return code

    def remove(self) -> None:
        """Leave nothing of it behind."""
        if not self._gone:
            self._gone = True
            self._process.kill()
            self._process.join()
            self._process.close()
            self._talk.close()


def work(task: Task, talk: Connection) -> None:
    """Send what waits and do what is ordered, until the order is to stop, or the test is gone."""
    faulthandler.register(signal.SIGUSR1)
    log_errors(task.outbox)
    if isinstance(task.outbox, Dsn):
        from sfwebhooks.outbox.postgres import advisory_locks

        advisory_locks.ALIVE_SECONDS = 0.0  # no scan whose lock is free takes it again
    limit(task)
    mine = {MARK: Secret(str(task.mark))}
    dispatcher = Dispatcher([replace(endpoint, headers=mine) for endpoint in task.endpoints], task.outbox)
    intake = Intake(task.settings, local_path(task.outbox).parent, dispatcher.wake)
    notes_file = os.open(task.notes_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    lock = intake.outbox.locks.scan(task.scan.id)
    insist(lock.take)
    begin(intake, notes_file, task)
    intake.start()
    dispatcher.wake()
    with suppress(EOFError):
        while (order := heard(talk, dispatcher)) not in (End.STOP, End.DRAIN):
            if order is End.SCANS:
                report_ends(intake, task, talk)
            else:
                obey(order, intake, notes_file, task, talk)
            dispatcher.wake()
        seconds = DRAIN_SECONDS if order is End.DRAIN else LINGER_SECONDS
        intake.forward(task.scan.id, time.monotonic() + seconds)
        if order is End.DRAIN:
            dispatcher.open_now()
            dispatcher.wake()
            dispatcher.linger(time.monotonic() + DRAIN_SECONDS, everything=True)
        else:
            dispatcher.linger(time.monotonic() + LINGER_SECONDS)
    dispatcher.stop(PATIENCE)
    intake.close(PATIENCE)


def limit(task: Task) -> None:
    """Let this process have no more than its task says."""
    if task.descriptors is not None:
        most = max(int(link.name) for link in Path("/proc/self/fd").iterdir()) + 1 + task.descriptors
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if task.memory is not None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + task.memory
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def heard(talk: Connection, dispatcher: Dispatcher) -> Any:
    """Return the next order; meanwhile do what a scan's process does from time to time."""
    while not talk.poll(TICK_SECONDS):
        with suppress(MemoryError):  # `BackgroundWork` goes on
            dispatcher.tick()
    return talk.recv()


def obey(order: Order, intake: Intake, notes_file: int, task: Task, talk: Connection) -> None:
    starts, screen = range(0, len(order.numbers), order.size), Screen(task.endpoints)
    for count, start in enumerate(starts, 1):
        events = [event_of(task, number) for number in order.numbers[start : start + order.size]]
        noted(notes_file, events, lambda: intake.accept(events, screen, now=time.time()))  # noqa: B023  # called now
        if count == order.report_after:
            talk.send("there")
    talk.send("all")


def begin(intake: Intake, notes_file: int, task: Task) -> None:
    event, screen = started(task.scan), Screen(task.endpoints)
    noted(notes_file, [event] if screen.of(event)[0] else [], lambda: intake.begin(task.scan, event, screen))


def report_ends(intake: Intake, task: Task, talk: Connection) -> None:
    """Report the ends of its own scan and of those whose process is gone; with a spool, its forwarder does so."""
    talk.send("ends")
    if not insist(lambda: intake.leave_end(task.scan, "", task.settings)):
        insist(lambda: report_end(intake.outbox, task.settings, task.scan))
        insist(lambda: report_dead_scans(intake.outbox, task.settings))
    talk.send("ended")


def event_of(task: Task, number: int) -> WebhookEvent:
    """Return one of the worker's events; they are of all sizes, up to some pages of the file."""
    # behind what a scan's end repeats of a finding, which is wanted
    words = f"CVE-2026-{number}".ljust(TOP_DATA_MAX + number % 13 * 700, ".")
    unwanted = "" if number % UNWANTED_EACH else UNWANTED
    return event_of_finding(a_finding(f"hash-{number}", data=words + unwanted), task.scan, "Vulnerability")


def noted(notes_file: int, events: Iterable[WebhookEvent], write: Callable[[], object]) -> None:
    """Write events, and note before and after that."""
    ids = [event.id for event in events]
    os.write(notes_file, b"".join(f"accepting {identity}\n".encode() for identity in ids))
    insist(write)
    os.write(notes_file, b"".join(f"accepted {identity}\n".encode() for identity in ids))


def insist(write: Callable[[], T]) -> T:
    """Write what another process has locked, or for which there is nothing left here, as soon as it can be."""
    while True:
        with suppress(OutboxBusyError, MemoryError):
            return write()


def open_outbox(place: Place, talk: Connection) -> None:
    """Open an outbox, which makes it, and say when that begins and ends."""
    log_errors(place)
    talk.send("begins")
    Outbox(place).endpoints.health("team")
    talk.send("ends")


def log_errors(outbox: Place) -> None:
    errors, warnings = (logging.FileHandler(local_path(outbox).with_name(name)) for name in (ERRORS, WARNINGS))
    errors.setLevel(logging.ERROR)
    logging.basicConfig(handlers=[errors, warnings], level=logging.WARNING)
    threading.excepthook = lambda args: logging.error("%s ended: %r", args.thread, args.exc_value)
