"""Periodic maintenance of an outbox by a long-lived process: prove scans, expire, prune, and warn about size, age and
certificates.

It runs at intervals in a background thread and does a little each time.
"""

from __future__ import annotations

import logging
from collections.abc import Collection

from sfwebhooks.config.settings import Settings
from sfwebhooks.delivery.alerts import age_warning, alert_receivers, certificate_alert, outbox_warning, report_of_deaths
from sfwebhooks.delivery.proving import prove
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Scan, WebhookEvent
from sfwebhooks.outbox.admission import fullness_mark
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.postgres.dsn import Place
from sfwebhooks.outbox.store import Store
from sfwebhooks.pipeline import accept
from sfwebhooks.reasons import DeadReason
from sfwebhooks.screening import Screen
from sfwebhooks.system import Clock, uptime

log = logging.getLogger("spiderfoot.webhooks")
#: seconds between two runs of each check
SIZE_SECONDS = 5.0
TIDY_SECONDS = 60.0
AGE_SECONDS = 60.0
PROOF_SECONDS = 1.0
#: seconds that a process has to run before deliveries to an endpoint that is not in the settings can expire
REMOVED_SECONDS = 2 * 3600.0
#: part of an endpoint's max_age that a delivery may wait before a warning: 17 hours, and all usual retries take 8
AGE_SHARE = 0.1
#: chunks of 500 deliveries that are deleted in one go
PRUNE_CHUNKS = 20
CERTIFICATE_SECONDS = 6 * 3600.0


class Maintenance:
    """Periodic maintenance: expire, prune, warn about size, age and certificates.

    Args:
        scan: the scan of the process, if it has one; warnings name it.
        steady: a clock that cannot be set, in seconds.
    """

    def __init__(self, settings: Settings, place: Place, scan: Scan | None = None, steady: Clock = uptime) -> None:
        self._settings = settings
        self._scan = scan
        self._outbox: Store = Outbox(place, storage=settings.storage)
        #: name of a check -> time of its last run
        self._done_at: dict[str, float] = {}
        self._mark = 0.0
        self._steady = steady
        self._began_at = steady()
        #: endpoints whose oldest delivery has waited too long
        self._late: set[str] = set()

    def look(self, now: float) -> None:
        """Run the checks that are due (`now` in epoch seconds).

        Raises:
            OutboxError: the outbox cannot be used.
        """
        if self._is_due("certificates", CERTIFICATE_SECONDS, now):
            self._warn_of_certificates(now)
        if self._is_due("size", SIZE_SECONDS, now):
            self._warn_of_size(now)
        if self._is_due("age", AGE_SECONDS, now):
            for endpoint in self._settings.endpoints:
                self._warn_of_age(endpoint, now)
        if self._is_due("proof", PROOF_SECONDS, now):
            prove(self._outbox, self._settings.endpoints, now)
        if self._is_due("tidy", TIDY_SECONDS, now):  # not before: it may delete what a statement reads
            right = (one for one in self._settings.endpoints if not one.mistake)
            dark = {one.name for one in right if self._outbox.endpoints.health(one.name).is_dark}
            long_here = self._steady() - self._began_at >= REMOVED_SECONDS
            expire(self._outbox, self._settings, dark, now, removed=long_here)
            self._outbox.retention.prune(now, self._settings.keep_delivered, self._settings.keep_dead, PRUNE_CHUNKS)
            self._outbox.sightings.prune(now, self._settings.sightings_keep, PRUNE_CHUNKS)

    def close(self) -> None:
        """Close the outbox."""
        self._outbox.close()

    def _is_due(self, check: str, seconds: float, now: float) -> bool:
        done_at = self._done_at.get(check)
        if done_at is not None and abs(now - done_at) < seconds:
            return False
        self._done_at[check] = now
        return True

    def _warn_of_certificates(self, now: float) -> None:
        endpoints = self._settings.endpoints
        for endpoint in (one for one in endpoints if one.files):
            from sfwebhooks.network.tls import expiring  # most processes have no certificates to look at

            for expiry in expiring(endpoint, now):
                log.warning("webhooks: endpoint %s: %s", endpoint.name, expiry.words)
                event = certificate_alert(endpoint, expiry, now)
                self._outbox.accept([(event, alert_receivers(event, [endpoint], endpoints, itself=True))], now)

    def _warn_of_size(self, now: float) -> None:
        fullness = self._outbox.database.fullness()
        mark, before = fullness_mark(fullness), self._mark
        self._mark = mark
        if mark > before:
            event = self._warning(fullness, mark, now)
            log.warning("webhooks: %s", event.data["message"])
            accept([event], Screen(self._settings.endpoints), self._outbox, now)

    def _warn_of_age(self, endpoint: Endpoint, now: float) -> None:
        """Alert other endpoints once that deliveries to an endpoint have waited long; a pause does not count."""
        limit = endpoint.max_age * AGE_SHARE
        oldest_at = self._outbox.listing.oldest(endpoint.name)
        paused_until = self._outbox.endpoints.orders(endpoint.name).paused_until
        is_new = oldest_at is not None and oldest_at > endpoint.digest.due_until(now - limit)  # it is for a digest
        if oldest_at is None or is_new or now - max(oldest_at, paused_until) < limit:
            self._late.discard(endpoint.name)
        elif endpoint.name not in self._late:
            event = age_warning(endpoint, oldest_at, limit, self._scan, now)
            log.warning("webhooks: %s", event.data["message"])
            self._outbox.accept([(event, alert_receivers(event, [endpoint], self._settings.endpoints))], now)
            self._late.add(endpoint.name)

    def _warning(self, fullness: float, mark: float, now: float) -> WebhookEvent:
        occasion = self._scan.id if self._scan else f"{now // 86400:.0f}"
        return outbox_warning(fullness, self._settings.storage.max_bytes, mark, occasion, self._scan, now)


def expire(outbox: Store, settings: Settings, dark: Collection[str], now: float, removed: bool) -> int:
    """Turn deliveries that have waited too long into dead letters; log and alert their number, and return it.

    Nothing expires while its endpoint accepts messages, however old it is by the clock.

    Args:
        dark: names of endpoints that have accepted nothing for long.
        now: epoch seconds.
        removed: whether deliveries to endpoints that are not in the settings can expire.

    Raises:
        OutboxError: the outbox cannot be used.
    """
    endpoints = {endpoint.name: endpoint for endpoint in settings.endpoints}
    longest = max((endpoint.max_age for endpoint in settings.endpoints), default=Endpoint.max_age)
    expired = 0
    for name in outbox.retention.waiting_endpoints():
        known = endpoints.get(name)
        if known and name in dark:
            by_scan = known.digest.ends_with_scan
            age = known.max_age if by_scan else now - known.digest.due_until(now - known.max_age)
            number = outbox.retention.expire(name, DeadReason.EXPIRED, age, now, over=by_scan)
        elif removed and endpoints and settings.is_complete and not (known or name in settings.unused):
            number = outbox.retention.expire(name, DeadReason.REMOVED, longest, now)
        else:
            continue
        if number:
            _report(outbox, settings, name, DeadReason.EXPIRED if known else DeadReason.REMOVED, number, now)
        expired += number
    return expired


def _report(outbox: Store, settings: Settings, name: str, reason: DeadReason, number: int, now: float) -> None:
    event, wanted = report_of_deaths(name, reason.value, number, settings.endpoints, now)
    log.warning("webhooks: %s", event.data["message"])
    outbox.accept([(event, wanted)], now)
