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
from contextlib import suppress
from itertools import islice
from pathlib import Path

from sfwebhooks import pipeline
from sfwebhooks.config import Settings
from sfwebhooks.dispatcher import Dispatcher
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import OutboxError
from sfwebhooks.events import Scan, WebhookEvent
from sfwebhooks.findings import Finding, to_event
from sfwebhooks.hostdb import HostDatabase
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
        try:
            self._flush()
            if self._trouble:
                self._log.error("webhooks: %d events of this scan were not kept: %s", len(self._pending), self._trouble)
                return
            replay_scan(self._outbox, self._settings.endpoints, self.scan)
            tell_end(self._outbox, self._settings.endpoints, self.scan, error=error)
            self._lock.release(remove=True)
            self._dispatcher.wake()
            self._dispatcher.linger(self._deadline())
            self._summary()
        except OutboxError as trouble:
            self._log.error("webhooks: the end of this scan is told later: %s", trouble)
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
        with suppress(OutboxError):
            tell_orphans(self._dispatcher.outbox, self._settings.endpoints)
        while not self._ended.wait(1.0):
            if self._pending:
                self._flush()
            with suppress(OutboxError):
                self._dispatcher.outbox.checkpoint()

    def _deadline(self) -> float:
        """Return until when we may linger, in monotonic seconds."""
        seconds = self._settings.drain_timeout
        with suppress(sqlite3.Error):
            row = HostDatabase(self.scan.database).scan(self.scan.id)
            if row and row.ended:
                seconds = min(seconds, row.ended + HOST_PATIENCE_SECONDS - time.time())
        return time.monotonic() + seconds

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


#: the scans of this process: scan id -> its run
RUNS: dict[str, ScanRun] = {}


def replay_scan(outbox: Outbox, endpoints: tuple[Endpoint, ...], scan: Scan) -> int:
    """Accept all that the host's database has of a scan; return how many deliveries were missing.

    Raises:
        OutboxError: the outbox cannot be written.
    """
    new = 0
    with suppress(sqlite3.Error):
        database = HostDatabase(scan.database)
        words = database.descriptions()
        events = (to_event(finding, scan, words.get(finding.type, finding.type))
                  for finding in database.findings(scan.id))  # fmt: skip
        while chunk := list(islice(events, REPLAY_CHUNK)):
            new += pipeline.accept(chunk, endpoints, outbox, time.time())
    return new


def tell_end(
    outbox: Outbox, endpoints: tuple[Endpoint, ...], scan: Scan, error: str = "", late: str = ""
) -> str | None:
    """Tell a scan's end as the host's database has it; return the event's name, None if it was told before.

    Args:
        error: what made the scan fail, where the caller knows it.
        late: why somebody else than the scan's own process tells it, such as process_died.
    """
    event = ended(scan, error, late)
    told = outbox.end_scan(event, pipeline.wanted_by(event, endpoints), time.time())
    return event.type if told else None


def tell_orphans(outbox: Outbox, endpoints: tuple[Endpoint, ...], own_since: float = float("inf")) -> int:
    """Recover scans whose process died and tell their ends; return how many.

    Args:
        own_since: epoch seconds; scans begun later were stopped together with the calling host process.
    """
    told = 0
    for scan, begun_at in outbox.open_scans():
        lock = scan_lock(outbox.path, scan.id)
        if not lock.take():
            continue
        try:
            replay_scan(outbox, endpoints, scan)
            late = "host_stopped" if begun_at >= own_since else "process_died"
            told += tell_end(outbox, endpoints, scan, late=late) is not None
        finally:
            lock.release(remove=True)
    return told
