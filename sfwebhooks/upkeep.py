"""The upkeep of an outbox: age and retention, and warnings of what will be trouble. For a process that lives a while.

It looks from time to time, in a thread that nobody waits for, and does a little each time.
"""

from __future__ import annotations

import logging
from pathlib import Path

from sfwebhooks.alerts import age_warning, certificate_alert, outbox_warning, told_to
from sfwebhooks.config import Settings
from sfwebhooks.dispatcher import uptime
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Scan, WebhookEvent
from sfwebhooks.intake import mark_of
from sfwebhooks.outbox import Outbox
from sfwebhooks.pacing import SET_SECONDS
from sfwebhooks.pipeline import Clock, wanted_by
from sfwebhooks.records import Records
from sfwebhooks.tls import expiring

log = logging.getLogger("spiderfoot.webhooks")
#: seconds between two looks at each thing
SIZE_SECONDS = 5.0
TIDY_SECONDS = 60.0
AGE_SECONDS = 60.0
#: seconds after the clock was set for which nothing is too old: by then the lanes have let follow it what waits
FOLLOW_SECONDS = 120.0
#: part of an endpoint's max_age that a delivery may wait before it is told: 17 hours, and all usual retries take 8
AGE_SHARE = 0.1
#: times 500 deliveries that are deleted in one go
PRUNE_CHUNKS = 20
CERTIFICATE_SECONDS = 6 * 3600.0


class Upkeep:
    """What has to be looked after while a process uses an outbox.

    Args:
        scan: the scan of the process, if it has one; warnings are told with it.
        steady: seconds that nobody sets; by it is seen that the clock was set.
    """

    def __init__(self, settings: Settings, path: Path, scan: Scan | None = None, steady: Clock = uptime) -> None:
        self._settings = settings
        self._scan = scan
        self._outbox = Outbox(path, storage=settings.storage)
        self._records = Records(path, storage=settings.storage)
        #: name of a chore -> when it was done
        self._done_at: dict[str, float] = {}
        self._mark = 0.0
        self._steady = steady
        #: how far the clock was ahead of the steady seconds at the last look
        self._offset: float | None = None
        #: steady seconds
        self._unsure_until = float("-inf")
        #: endpoints whose oldest delivery waits for too long
        self._late: set[str] = set()

    def look(self, now: float) -> None:
        """Do what is due (`now` in epoch seconds).

        Raises:
            OutboxError: the outbox cannot be used.
        """
        if self._is_due("certificates", CERTIFICATE_SECONDS, now):
            self._warn_of_certificates(now)
        if self._is_due("size", SIZE_SECONDS, now):
            self._warn_of_size(now)
        sure = self._watch_clock(now)
        if sure and self._is_due("age", AGE_SECONDS, now):
            for endpoint in self._settings.endpoints:
                self._warn_of_age(endpoint, now)
        if self._is_due("tidy", TIDY_SECONDS, now):
            if sure:
                self._age(now)
            self._records.prune(now, self._settings.keep_delivered, self._settings.keep_dead, PRUNE_CHUNKS)

    def close(self) -> None:
        """Close the file."""
        self._outbox.close()
        self._records.close()

    def _is_due(self, chore: str, seconds: float, now: float) -> bool:
        done_at = self._done_at.get(chore)
        if done_at is not None and abs(now - done_at) < seconds:
            return False
        self._done_at[chore] = now
        return True

    def _watch_clock(self, now: float) -> bool:
        """Return whether ages can be trusted: after the clock was set they are wrong until what waits has followed."""
        steady = self._steady()
        before, self._offset = self._offset, now - steady
        if before is not None and abs(self._offset - before) > SET_SECONDS:
            self._unsure_until = steady + FOLLOW_SECONDS
        return steady >= self._unsure_until

    def _age(self, now: float) -> None:
        ages = {endpoint.name: endpoint.max_age for endpoint in self._settings.endpoints}
        if ages and self._settings.is_complete:  # an endpoint that is not known is not removed, nor are all at once
            kept = dict.fromkeys([*self._settings.unused, *self._settings.held], float("inf"))
            self._records.age({**ages, **kept}, max(ages.values()), now)

    def _warn_of_certificates(self, now: float) -> None:
        endpoints = self._settings.endpoints
        for endpoint in endpoints:
            for expiry in expiring(endpoint, now):
                log.warning("webhooks: endpoint %s: %s", endpoint.name, expiry.words)
                event = certificate_alert(endpoint, expiry, now)
                self._outbox.accept([(event, told_to(event, endpoint, endpoints, itself=True))], now)

    def _warn_of_size(self, now: float) -> None:
        fullness = self._outbox.fullness()
        mark, before = mark_of(fullness), self._mark
        self._mark = mark
        if mark > before:
            event = self._warning(fullness, mark, now)
            log.warning("webhooks: %s", event.data["message"])
            self._outbox.accept([(event, wanted_by(event, self._settings.endpoints))], now)

    def _warn_of_age(self, endpoint: Endpoint, now: float) -> None:
        """Tell the others, once, that deliveries wait for an endpoint for long; a pause is meant so."""
        limit = endpoint.max_age * AGE_SHARE
        oldest_at = self._records.oldest(endpoint.name)
        paused_until = self._outbox.orders(endpoint.name).paused_until
        if oldest_at is None or now - max(oldest_at, paused_until) < limit:
            self._late.discard(endpoint.name)
        elif endpoint.name not in self._late:
            event = age_warning(endpoint, oldest_at, limit, self._scan, now)
            log.warning("webhooks: %s", event.data["message"])
            self._outbox.accept([(event, told_to(event, endpoint, self._settings.endpoints))], now)
            self._late.add(endpoint.name)

    def _warning(self, fullness: float, mark: float, now: float) -> WebhookEvent:
        occasion = self._scan.id if self._scan else f"{now // 86400:.0f}"
        return outbox_warning(fullness, self._settings.storage.max_bytes, mark, occasion, self._scan, now)
