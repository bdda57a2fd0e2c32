"""The scans of a spool in the outbox that their events are forwarded to: their start and their end come in from the
spool, and are committed there. What the end needs of the host's database is read here, on the scan's own machine.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import suppress

from sfwebhooks.config.settings import Settings
from sfwebhooks.errors import HostDatabaseError
from sfwebhooks.events import Scan, WebhookEvent, lifecycle_id
from sfwebhooks.outbox.spool import Spool
from sfwebhooks.outbox.store import Store
from sfwebhooks.scan.false_positives import screen_for
from sfwebhooks.scan.host_database import database_of
from sfwebhooks.scan.isolation import Isolation
from sfwebhooks.scan.lifecycle import started
from sfwebhooks.scan.recovery import replay_scan, report_end
from sfwebhooks.screening import Screen

log = logging.getLogger("spiderfoot.webhooks")
#: seconds for which a scan in the spool counts as running on the server: after that, another machine that can read the
#: host's database reports the end of one whose disk is gone
VOUCHED_SECONDS = 86_400.0


class SpooledScans:
    """The scans of a spool. All methods raise OutboxError."""

    def __init__(self, spool: Spool, outbox: Store, isolation: Isolation, settings: Settings) -> None:
        self._spool = spool
        self._outbox = outbox
        self._isolation = isolation
        self._settings = settings
        #: scan -> its screen
        self._screens: dict[str, Screen] = {}
        #: generation of the outbox, and a scan that it knows -> whether its end was reported before
        self._begun: dict[tuple[int, str], bool] = {}
        #: generation of the spool's file; more than 1: an earlier one was lost
        self._generation = 1

    def use(self, settings: Settings) -> None:
        """Use other settings from now on."""
        self._settings = settings
        self._screens.clear()
        self._begun.clear()  # an endpoint that joins gets the start

    def screen(self, scan: Scan | None) -> Screen:
        """Return the screen of a scan; what users marked as false positive is sent if that cannot be read."""
        settings = self._settings
        if scan is None:
            return Screen(settings.endpoints)
        if scan.id not in self._screens:
            self._screens[scan.id] = Screen(settings.endpoints)
            with suppress(HostDatabaseError):
                database = database_of(scan.database, self._spool.path.parent, settings.enrichment)
                self._screens[scan.id] = screen_for(scan, settings.endpoints, database)
        return self._screens[scan.id]

    def begin(self, scan: Scan, generation: int, start: Sequence[WebhookEvent] = ()) -> bool:
        """Let the outbox know a scan, which it may have forgotten since: it can have been restored from a backup.
        Return whether the scan's end was reported before.

        Args:
            generation: of the outbox.
            start: the event that reports the scan's start, if that is about to be forwarded.
        """
        if (generation, scan.id) not in self._begun:
            known = self._outbox.scans.scan(scan.id)
            is_over = known is not None and known[1] is not None
            if not is_over:
                event = next(iter(start), None) or self._outbox.scans.event(lifecycle_id(scan.id, "started"))
                event = event or started(scan)
                self._outbox.locks.vouch(scan.id, VOUCHED_SECONDS)
                self._outbox.scans.begin_scan(scan, event, self.screen(scan).of(event)[0], time.time())
            self._begun[generation, scan.id] = is_over
        return self._begun[generation, scan.id]

    def vouch(self) -> None:
        """Let the scans that are in the spool count as running."""
        for scan in self._spool.outbox.scans.open_scans():
            if self._outbox.scans.scan(scan.id) is not None:
                self._outbox.locks.vouch(scan.id, VOUCHED_SECONDS)

    def look_for_loss(self) -> None:
        """If the spool's file was lost, as one that is corrupt is, log that, and no longer vouch for its scans."""
        before, self._generation = self._generation, self._spool.outbox.database.generation()
        if before == self._generation:
            return
        log.error(
            "webhooks: the spool %s was lost, with the events in it that were not forwarded; those of running scans are"
            " read from SpiderFoot's database, for others: sfwebhooks backfill SCAN --endpoint NAME",
            self._spool.path,
        )
        left = {scan.id for scan in self._spool.outbox.scans.open_scans()}
        for scan_id in {scan_id for (_, scan_id), is_over in self._begun.items() if not is_over} - left:
            if self._spool.outbox.locks.scan(scan_id).is_free:
                self._outbox.locks.vouch(scan_id, 0.0)  # its end is reported as that of a scan that died

    def report_end(self, scan: Scan, event: WebhookEvent) -> None:
        """Report the end of a scan, all of whose events are forwarded or set aside, and forget it.

        Args:
            event: the one that says in the spool that it is over.

        Raises:
            HostDatabaseError: the host's database cannot be read.
        """
        settings, known = self._settings, self._outbox.scans.scan(scan.id)
        if known is None or known[1] is None:
            database = database_of(scan.database, self._spool.path.parent, settings.enrichment)
            screen = screen_for(scan, settings.endpoints, database)
            if known is None:
                self._begun.pop((self._outbox.database.generation(), scan.id), None)
                self.begin(scan, self._outbox.database.generation())
            sparing = self._isolation.without_aside(scan, screen)
            replay_scan(self._outbox, settings, scan, screen=sparing, joined=None)
            self._isolation.count(scan, screen)
            error, late = (str(event.data.get(name, "")) for name in ("error", "late"))
            report_end(self._outbox, settings, scan, error, late=late, screen=sparing)
        self._outbox.locks.vouch(scan.id, 0.0)
        self._screens.pop(scan.id, None)
        self._begun = {one: is_over for one, is_over in self._begun.items() if one[1] != scan.id}
