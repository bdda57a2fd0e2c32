"""A scan of this process: report its start once, accept its findings, report its end. begin -> accept ... -> end

When the settings' files change during the scan, their new content is used from then on.
Anything that could not be stored or reported is left to `recovery`, in this process or another.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from sfwebhooks.config.following import SettingsFiles
from sfwebhooks.config.settings import Settings, load
from sfwebhooks.delivery.alerts import trouble_warning
from sfwebhooks.delivery.background import ROUND_SECONDS, BackgroundWork
from sfwebhooks.delivery.dispatcher import Dispatcher
from sfwebhooks.delivery.process import DeliveryProcess
from sfwebhooks.delivery.proving import prove
from sfwebhooks.delivery.status import summary
from sfwebhooks.errors import (
    HostBusyError,
    HostDatabaseError,
    NotYetError,
    OutboxBusyError,
    OutboxError,
    OutboxReplacedError,
)
from sfwebhooks.events import Scan, WebhookEvent
from sfwebhooks.outbox.finding_counts import FindingCounts
from sfwebhooks.outbox.permissions import permission_warnings
from sfwebhooks.scan.false_positives import screen_for
from sfwebhooks.scan.findings import Finding, event_of_finding
from sfwebhooks.scan.host_database import READ_SECONDS, HostDatabase
from sfwebhooks.scan.host_log import LISTENERS
from sfwebhooks.scan.host_log import event_of_error as error_event
from sfwebhooks.scan.intake import Intake
from sfwebhooks.scan.lifecycle import started
from sfwebhooks.scan.outbox_failure import Pending
from sfwebhooks.scan.parentage import own_mark
from sfwebhooks.scan.progress import progress_of
from sfwebhooks.scan.recovery import replay_scan, report_dead_scans, report_end
from sfwebhooks.scan.terms import Terms, terms_of

log = logging.getLogger("spiderfoot.webhooks")
#: the host's command line kills the scan's process 60 s after it sees the scan's end
HOST_PATIENCE_SECONDS = 50.0
#: seconds that asking the host for a scan's end may take
END_SECONDS = 5.0
#: most events that are committed together
FLUSH_MAX = 500
#: seconds between two warnings that the outbox could not be written if no event was missed
TROUBLE_SECONDS = 60.0
#: seconds beyond the longest attempt in which messages in flight end when the settings have changed
GRACE_SECONDS = 3.0


class ScanRun:
    """A scan of this process, from its start until its end is reported. Raises nothing but our own bugs.

    Args:
        modules: modules of the scan, if the host's database does not have them yet.
        delivery: the delivery process, started if needed; None: this process sends.
    """

    def __init__(
        self,
        scan: Scan,
        settings: Settings,
        folder: Path,
        modules: Iterable[str] = (),
        delivery: DeliveryProcess | None = None,
    ) -> None:
        self.scan = scan
        self._modules = modules
        #: read once for each event, and replaced by one assignment
        self.terms = terms_of(settings, scan)
        self._log = logging.LoggerAdapter(log, {"scanId": scan.id})
        self._files = SettingsFiles(settings, partial(load, settings.file), self._log)
        #: names of the endpoints that have joined since the scan's start
        self._joined: set[str] = set()
        self._watch: Callable[[Terms], object] = lambda terms: None
        self._place = settings.place(folder)
        self._intake = Intake(settings, folder, lambda: self._wake())
        self._outbox, self._accept = self._intake.outbox, self._intake.accept
        self._lock = self._outbox.locks.scan(scan.id)
        self._dispatcher = Dispatcher(settings.endpoints, self._place, storage=settings.storage)
        self._delivery = delivery
        #: whether sending is left to the delivery process
        self._leaves = delivery is not None
        self._accepted = FindingCounts()
        self._progress = progress_of(scan, settings, time.time(), self._accepted)
        self._background = BackgroundWork(self._dispatcher, settings, scan, self._log)
        settings.enrichment.report_to(self._log)
        #: event type -> the host's description; empty if its database could not be read
        self.descriptions: dict[str, str] = {}
        self._pending = Pending()
        self._flushing = threading.Lock()
        #: generation of the outbox that has the scan; 0: none yet
        self._begun_in = 0
        self._trouble = ""
        #: whether the trouble may be over in a moment
        self._passes = False
        #: start of the trouble, and time of the last warning about it; monotonic seconds
        self._trouble_at, self._warned_at = 0.0, float("-inf")
        self._ended = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="webhooks-keeper", daemon=True)

    def begin(self) -> None:
        """Report the scan's start and start sending."""
        settings = self.terms.settings
        for text in (*settings.mistakes, *settings.warnings, *permission_warnings(self._outbox.path)):
            self._log.warning("webhooks: %s", text)
        if not settings.endpoints:
            self._log.warning(
                "webhooks: no endpoint can be used; sfwebhooks check says why, and backfill sends this scan later"
            )
        with suppress(HostDatabaseError):
            self.descriptions = HostDatabase(self.scan.database, READ_SECONDS).descriptions()
        self._read_false_positives()
        self._dispatcher.be_polite()
        self._flush()
        self._keeper.start()

    def _read_false_positives(self) -> None:
        """Let what users marked as false positive be withheld; findings are sent if that cannot be read."""
        try:
            host = HostDatabase(self.scan.database, READ_SECONDS)
            found = screen_for(self.scan, self.terms.screen.endpoints, host)
            self.terms = replace(self.terms, screen=found)
        except HostDatabaseError as error:
            self._log.warning("webhooks: findings that are marked as false positive in SpiderFoot are sent: %s", error)

    def watch(self, watch: Callable[[Terms], object]) -> None:
        """Call a function with the terms now, and whenever they change."""
        with self._flushing:
            self._watch = watch
            watch(self.terms)

    def accept(self, *findings: Finding) -> None:
        """Commit findings; while the outbox cannot be written, buffer them in memory without waiting."""
        events, terms = [], self.terms
        for finding in findings:
            description = self.descriptions.get(finding.type, finding.type)
            event = event_of_finding(finding, self.scan, description, terms.settings.enrichment)
            self._accepted.add(finding.type, event.severity)
            events.append(event)
        if self._trouble:
            for event in events:
                if terms.screen.of(event)[0]:  # the others are counted at the end
                    self._pending.add(event)
        else:
            self._flush(*events)

    def end(self, error: str = "") -> None:
        """Recover missing findings from the host, report the end, send what can be sent at once, and stop."""
        self._ended.set()
        self._keeper.join(2.0)
        deadline = self._deadline()
        try:
            self._flush()
            while self._trouble and self._passes and time.monotonic() < deadline:
                time.sleep(0.2)
                self._flush()
            if self._trouble:
                raise OutboxError(self._trouble)
            self._report_end(error, deadline)
            self._lock.release(remove=True)
            deadline = min(deadline, time.monotonic() + self.terms.settings.drain_timeout)
            left = self._intake.forward(self.scan.id, deadline)
            if left and self._delivery:
                self._background.attempt(self._delivery.ensure)
            if left:
                self._log.warning("webhooks: %s", left)
            else:
                self._send_rest(deadline)
        except (OutboxError, NotYetError, HostDatabaseError) as trouble:
            waiting = len(self._pending) + self._pending.missed
            how = "the next process" if self._begun_in else f"sfwebhooks backfill {self.scan.id} --endpoint NAME"
            self._log.error(
                "webhooks: the end of this scan and %d events could not be stored; %s reads them from SpiderFoot's"
                " database: %s",
                *(waiting, how, trouble),
            )
        finally:
            self._dispatcher.stop(seconds=0.5)
            self._lock.release()
            self._intake.close(seconds=0.5)

    def _send_rest(self, deadline: float) -> None:
        """Send what can be sent until the deadline (monotonic seconds), and log what is left."""
        outbox, settings = self._dispatcher.outbox, self.terms.settings
        self._dispatcher.wake()
        self._dispatcher.linger(deadline)
        if prove(outbox, settings.endpoints, time.time()):
            self._dispatcher.wake()
            self._dispatcher.linger(deadline)
        sender = 0
        if self._delivery and self._dispatcher.next_at() <= time.time() + settings.detach_timeout:
            self._background.attempt(self._delivery.ensure)  # the one that there was may have been killed
            sender = self._delivery.pid
        self._log.info("webhooks: %s", summary(outbox, self.scan.id, time.time(), settings, sender))

    def _report_end(self, error: str, deadline: float) -> None:
        """Report the remaining errors and findings, then the end; retry while the outbox or the host's database is
        locked, until the deadline."""
        while True:
            try:
                with self._flushing:
                    self._begin_once()
                self._report_errors()
                self._outbox.write_withheld()
                terms = self.terms
                if self._intake.leave_end(self.scan, error, terms.settings):
                    return
                replay_scan(self._outbox, terms.settings, self.scan, deadline, terms.screen, self._joined)
                if self._outbox.database.generation() != self._begun_in:  # it was lost, with the replayed findings
                    continue
                report_end(self._outbox, terms.settings, self.scan, error, deadline=deadline, screen=terms.screen)
                return
            except (OutboxBusyError, OutboxReplacedError, HostDatabaseError) as trouble:
                passes = not isinstance(trouble, HostDatabaseError) or isinstance(trouble, HostBusyError)
                if not passes or time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def _flush(self, *new: WebhookEvent) -> None:
        """Commit the pending events and new ones; on trouble leave them to the keeper, and log that once."""
        with self._flushing:
            begin, unstored, added = time.monotonic(), new, not self._begun_in
            try:
                while self._pending.events or unstored or not self._begun_in:
                    if not self._begun_in:
                        self._begin_once()
                    events = self._pending.first(FLUSH_MAX) if self._pending.events else unstored
                    try:
                        added |= self._accept(events, self.terms.screen, now=time.time(), generation=self._begun_in) > 0
                    except OutboxReplacedError:  # the scan has to begin in the new one
                        self._begun_in = 0
                        continue
                    if self._pending.events:
                        self._pending.drop(len(events))
                    else:
                        unstored = ()
                if self._trouble:
                    self._report_trouble()
            except OutboxError as error:
                if not self._trouble:
                    self._log.warning("webhooks: %s; events are buffered in memory", error)
                    self._trouble_at = begin
                self._trouble, self._passes = str(error), isinstance(error, OutboxBusyError)
                return
            finally:
                for event in unstored:
                    self._pending.add(event)
        if added and not self._leaves:  # a step less than `_wake` on an event's way
            self._dispatcher.wake()

    def _wake(self) -> None:
        """Let this process send, unless it leaves that to the delivery process."""
        if not self._leaves:
            self._intake.start()
            self._dispatcher.wake()

    def _report_trouble(self) -> None:
        """Log and send a warning that the outbox could not be written for a while, now that it can be; no event each
        time if another process writes a lot."""
        missed, now = self._pending.missed, time.monotonic()
        warning = trouble_warning(self.scan, self._trouble, now - self._trouble_at, missed, time.time())
        if missed or now - self._warned_at >= TROUBLE_SECONDS:
            self._accept([warning], self.terms.screen, now=warning.at)
            self._warned_at = now
        self._log.warning("webhooks: the outbox can be written again: %s", warning.data["message"])
        self._trouble, self._pending.missed = "", 0

    def _report_errors(self) -> None:
        """Report the collected errors of modules, unless the outbox cannot be written."""
        listener = LISTENERS.get(self.scan.id)
        if listener is None:
            return
        with self._flushing:
            errors = [] if self._trouble else listener.heard()
            if errors:
                self._begin_once()
                endpoints = self.terms.settings.endpoints
                events = [error_event(error, self.scan, endpoints, listener.credentials) for error in errors]
                self._accept(events, self.terms.screen, now=time.time())
                listener.drop(len(errors))
        if errors:
            self._wake()

    def _begin_once(self) -> None:
        """Commit the scan's start; again if the outbox was set aside since."""
        if not self._begun_in or self._begun_in != self._outbox.database.generation():
            self._begin()

    def _begin(self) -> None:
        """Commit the scan's start for the endpoints that do not have it."""
        self._lock.take()
        self._lock.note(f"{own_mark()} {self.terms.settings.digest} {os.getpid()}")
        event = started(self.scan, self._modules)
        self._intake.begin(self.scan, event, self.terms.screen)
        self._begun_in = self._outbox.database.generation()

    def _look_at_delivery(self) -> None:
        """Leave sending to the delivery process while there is one; not at URLs where this process has begun."""
        if self._delivery:
            self._leaves = self._delivery.pid != 0 and not any(queue.owned for queue in self._dispatcher.queues)
            self._wake()

    def _keep(self) -> None:
        """Do the work that must not delay a scan's events, each second; first start the delivery process, or report
        scans that died, as that process does."""
        if self._delivery:
            self._background.attempt(self._delivery.ensure)
            self._background.attempt(self._look_at_delivery)
        if not self._leaves:
            self._intake.start()
            self._background.attempt(lambda: report_dead_scans(self._dispatcher.outbox, self.terms.settings))
        while not self._ended.is_set():
            self._background.attempt(self._follow_settings)
            own = (self._look_at_delivery, self._flush_pending, self._write_withheld, self._hold)
            self._background.round(*own, self._report_errors, self._report_progress)
            self._ended.wait(ROUND_SECONDS)
        self._background.close()

    def _follow_settings(self) -> None:
        """Use the settings of a changed file from now on. Endpoints that join get what they missed at the end."""
        new = self._files.look()
        if new is None:
            return
        before, old, ended_work = self.terms, self._dispatcher, self._background
        terms = terms_of(new, self.scan, before.screen)
        settings = terms.settings
        if not settings.is_at(self._place):
            text = "webhooks: the settings have another address for the outbox now; this scan keeps %s"
            self._log.warning(text, self._place)
        settings.enrichment.report_to(self._log)
        dispatcher = Dispatcher(settings.endpoints, self._place, storage=settings.storage)
        dispatcher.be_polite()
        with self._flushing:
            if self._ended.is_set():  # its end is reported by the settings until now
                return
            self._joined |= terms.joined_since(before)
            self._progress = progress_of(self.scan, settings, time.time(), self._accepted, self._progress)
            self._background = BackgroundWork(dispatcher, settings, self.scan, self._log)
            self._dispatcher, self.terms = dispatcher, terms
            self._watch(terms)
            if self._delivery:
                self._delivery.use(settings)
            self._intake.use(settings)
            if self._begun_in and not self._trouble:
                ended_work.attempt(self._begin)  # else the endpoints that joined get it at the end
        names = ", ".join(one.name for one in settings.endpoints) or "none"
        self._log.info("webhooks: configuration reloaded; endpoints: %s", names)
        ended_work.close()
        old.stop(max((one.timeout for one in before.settings.endpoints), default=0.0) + GRACE_SECONDS)
        if self._delivery:
            self._background.attempt(self._delivery.ensure)
        self._look_at_delivery()
        self._wake()

    def _flush_pending(self) -> None:
        if self._pending or self._trouble:
            self._flush()

    def _write_withheld(self) -> None:
        """Write the counts of the events that filters withhold, if no commit did."""
        if not self._trouble:
            self._outbox.write_withheld()

    def _hold(self) -> None:
        """Take the scan's lock again if its file was removed: other processes would report this scan as dead."""
        with self._flushing:
            if self._begun_in and not self._ended.is_set() and not self._lock.held and self._lock.take():
                self._log.warning("webhooks: the lock of this running scan was lost; it is held again")

    def _report_progress(self) -> None:
        """Report the scan's progress if that is due, its end is not reported, and the outbox is not in trouble."""
        event = self._progress.look(time.time()) if self._progress else None
        if event is None or self._trouble:
            return
        with self._flushing:
            if not self._ended.is_set():  # else the end may be reported already
                self._begin_once()
                self._accept([event], self.terms.screen, now=event.at)
        self._wake()

    def _deadline(self) -> float:
        """Return the time at which this process has to stop working for us, in monotonic seconds."""
        with suppress(HostDatabaseError):
            row = HostDatabase(self.scan.database, END_SECONDS).scan(self.scan.id)
            if row and row.ended:
                return time.monotonic() + max(0.0, row.ended + HOST_PATIENCE_SECONDS - time.time())
        return time.monotonic() + self.terms.settings.drain_timeout


#: the scans of this process: scan id -> its run
RUNS: dict[str, ScanRun] = {}
