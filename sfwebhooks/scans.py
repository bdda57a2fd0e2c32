"""A scan as a unit: its beginning told once, its findings kept, its end told exactly once, whoever tells it.

ScanRun       a scan of this process: begin -> accept ... -> end
replay_scan   the one recovery: accept what the host's database has (ids make repeats harmless)
tell_orphans  the ends of scans whose process is gone: their lock is free
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from pathlib import Path

from sfwebhooks import pipeline
from sfwebhooks.config import Settings
from sfwebhooks.dispatcher import Dispatcher
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import OutboxError
from sfwebhooks.events import Scan, WebhookEvent, finding_id
from sfwebhooks.findings import Finding, is_wanted, to_event
from sfwebhooks.hostdb import HostDatabase, database_of
from sfwebhooks.lifecycle import ended, started
from sfwebhooks.locks import scan_lock
from sfwebhooks.outbox import FILE, Outbox
from sfwebhooks.retry import State

log = logging.getLogger("spiderfoot.webhooks")
#: events kept in memory while the outbox cannot be written; what is more comes back from the host's database
PENDING_MAX = 10_000
#: the host's command line kills the scan's process 60 s after it saw the scan's end
HOST_PATIENCE_SECONDS = 50.0
REPLAY_CHUNK = 500


class ScanRun:
    """A scan of this process, from its begin until its end is told. Raises nothing but our own bugs."""

    def __init__(self, scan: Scan, settings: Settings, folder: Path) -> None:
        self.scan = scan
        self._settings = settings
        path = folder / FILE
        self._outbox = Outbox(path, accepting=True)
        self._lock = scan_lock(path, scan.id)
        self._dispatcher = Dispatcher(settings.endpoints, path)
        self._log = logging.LoggerAdapter(log, {"scanId": scan.id})
        self._descriptions: dict[str, str] = {}
        self._pending: deque[WebhookEvent] = deque()
        self._flushing = threading.Lock()
        self._begun = False
        self._trouble = ""
        self._ended = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="webhooks-keeper", daemon=True)

    def begin(self) -> None:
        """Tell the scan's beginning and start sending."""
        for text in (*self._settings.mistakes, *self._settings.warnings):
            self._log.warning("webhooks: %s", text)
        if not self._settings.endpoints:
            self._log.warning("webhooks: no endpoint can be used: sfwebhooks check says why")
        with suppress(sqlite3.Error):
            self._descriptions = HostDatabase(self.scan.database).descriptions()
        self._flush()
        self._keeper.start()

    def accept(self, finding: Finding) -> None:
        """Commit a finding; while the outbox cannot be written, keep it in memory without waiting."""
        if len(self._pending) < PENDING_MAX:
            self._pending.append(to_event(finding, self.scan, self._descriptions.get(finding.type, finding.type)))
        if not self._trouble:
            self._flush()

    def end(self, error: str = "") -> None:
        """Recover what the host has and we have not, tell the end, send what can be sent at once, and stop."""
        self._ended.set()
        self._keeper.join(2.0)
        deadline = self._deadline()
        try:
            self._flush()
            while self._trouble and time.monotonic() < deadline:
                time.sleep(0.2)
                self._flush()
            if self._trouble:
                raise OutboxError(self._trouble)
            replay_scan(self._outbox, self._settings.endpoints, self.scan, deadline)
            tell_end(self._outbox, self._settings.endpoints, self.scan, error)
            self._lock.release(remove=True)
            self._dispatcher.wake()
            self._dispatcher.linger(min(deadline, time.monotonic() + self._settings.drain_timeout))
            self._summary()
        except (OutboxError, NotYetError, sqlite3.Error) as trouble:
            self._log.error("webhooks: the end of this scan, and what was not kept of it, is told later: %s", trouble)
        finally:
            self._dispatcher.stop(seconds=0.5)
            self._lock.release()
            self._outbox.close()

    def _flush(self) -> None:
        """Write what is pending; on trouble leave it for the keeper, and say so once."""
        with self._flushing:
            try:
                self._begin_once()
                events = list(self._pending)
                if events:
                    pipeline.accept(events, self._settings.endpoints, self._outbox, time.time())
                for _ in events:
                    self._pending.popleft()
            except OutboxError as error:
                if not self._trouble:
                    self._log.warning("webhooks: %s; events wait in memory", error)
                self._trouble = str(error)
                return
        if self._trouble:
            self._log.info("webhooks: the outbox can be written again")
        self._trouble = ""
        self._dispatcher.wake()

    def _begin_once(self) -> None:
        if self._begun:
            return
        self._lock.take()
        event = started(self.scan)
        wanted = pipeline.wanted_by(event, self._settings.endpoints)
        self._outbox.begin_scan(self.scan, event, wanted, time.time())
        self._begun = True

    def _keep(self) -> None:
        """Do each second what a scan's events must not wait for; first look after scans that died."""
        self._try(lambda: tell_orphans(self._dispatcher.outbox, self._settings))
        while not self._ended.wait(1.0):
            if self._pending:
                self._try(self._flush)
            self._try(self._dispatcher.outbox.checkpoint)

    def _try(self, chore: Callable[[], object]) -> None:
        try:
            chore()
        except OutboxError:
            self._log.debug("webhooks: a chore has to wait", exc_info=True)
        except Exception:  # the thread would end, and with it the rescue of what waits in memory
            self._log.exception("webhooks: a bug in the background")

    def _deadline(self) -> float:
        """Return until when this process may live for us, in monotonic seconds."""
        with suppress(sqlite3.Error):
            row = HostDatabase(self.scan.database).scan(self.scan.id)
            if row and row.ended:
                return time.monotonic() + max(0.0, row.ended + HOST_PATIENCE_SECONDS - time.time())
        return time.monotonic() + self._settings.drain_timeout

    def _summary(self) -> None:
        tallies = self._outbox.tallies(self.scan.id)
        waiting = tallies[State.WAITING.value]
        self._log.info(
            "webhooks: %d delivered, %d waiting%s, %d dead",
            tallies[State.DELIVERED.value],
            waiting,
            " (sfwebhooks drain delivers them)" if waiting else "",
            tallies[State.DEAD.value],
        )


class NotYetError(Exception):
    """The time for a recovery is over; it goes on at the next occasion."""


#: the scans of this process: scan id -> its run
RUNS: dict[str, ScanRun] = {}


def replay_scan(outbox: Outbox, endpoints: tuple[Endpoint, ...], scan: Scan, deadline: float = float("inf")) -> int:
    """Accept what the host's database has of a scan and the outbox has not; return how many deliveries that are.

    Args:
        deadline: monotonic seconds.

    Raises:
        NotYetError: the deadline came first; what was accepted stays.
        OutboxError: the outbox cannot be written.
        sqlite3.Error: the host's database cannot be read.
    """
    database = database_of(scan.database, outbox.path.parent)
    known, words, new = outbox.known_events(scan.id), database.descriptions(), 0
    wanted = (event_hash for event_hash, event_type, risk in database.index(scan.id)
              if finding_id(scan.id, event_hash) not in known and is_wanted(event_type, risk, endpoints))  # fmt: skip
    findings = database.findings(scan.id, wanted)
    while chunk := list(islice(findings, REPLAY_CHUNK)):
        events = [to_event(finding, scan, words.get(finding.type, finding.type)) for finding in chunk]
        new += pipeline.accept(events, endpoints, outbox, time.time())
        outbox.checkpoint()
        if time.monotonic() > deadline:
            raise NotYetError(f"{new} deliveries were recovered, and there are more")
    return new


def tell_end(
    outbox: Outbox, endpoints: tuple[Endpoint, ...], scan: Scan, error: str = "", late: str = ""
) -> str | None:
    """Tell a scan's end as `lifecycle.ended` has it; return the event's name, None if it was told before.

    Raises:
        sqlite3.Error: the host's database cannot be read.
        OutboxError: the outbox cannot be written.
    """
    event = ended(scan, database_of(scan.database, outbox.path.parent), error, late)
    told = outbox.end_scan(event, pipeline.wanted_by(event, endpoints), time.time())
    return event.type if told else None


def tell_orphans(outbox: Outbox, settings: Settings, own_since: float = float("inf")) -> int:
    """Recover scans whose process died and tell their ends; return how many.

    While the configuration has a mistake nothing is told: an endpoint that it leaves out would never hear of it.

    Args:
        own_since: epoch seconds; scans begun later were stopped together with the calling host process.
    """
    told = 0
    for scan, begun_at in outbox.open_scans():
        if settings.mistakes:
            log.warning("webhooks: the end of scan %s waits until the configuration has no mistakes", scan.id)
            continue
        lock = scan_lock(outbox.path, scan.id)
        if not lock.take():
            continue
        try:
            replay_scan(outbox, settings.endpoints, scan)
            late = "host_stopped" if begun_at >= own_since else "process_died"
            told += tell_end(outbox, settings.endpoints, scan, late=late) is not None
            lock.release(remove=True)
        except sqlite3.Error as error:
            log.warning("webhooks: the end of scan %s waits: its database cannot be read: %s", scan.id, error)
        except (ValueError, TypeError, ArithmeticError):  # a bug, or rubbish in the database: the others go on
            log.exception("webhooks: the end of scan %s cannot be told", scan.id)
        finally:
            lock.release()
    return told
