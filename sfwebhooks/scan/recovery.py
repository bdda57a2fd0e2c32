"""Recovery: accept findings that the host's database has and the outbox lacks, and report the ends of scans.

replay_scan   accepts the missing findings (ids make repeats harmless), also those that only some endpoints lack, since
              they joined while the scan was running: who is sent a scan's end is sent all of it
report_end    reports the end exactly once, whichever process does it; before it, what only the whole scan shows:
              modules without a needed setting, and the correlations, which the host looks for after a scan
report_dead_scans  reports the ends of scans whose process is gone: their lock is free
"""

from __future__ import annotations

import logging
import time
from collections.abc import Container, Iterable, Iterator
from itertools import chain, islice

from sfwebhooks import pipeline
from sfwebhooks.config.settings import Settings
from sfwebhooks.errors import HostDatabaseError, NotYetError, OutboxError, TargetBusyError
from sfwebhooks.events import Scan, WebhookEvent, finding_id
from sfwebhooks.outbox.store import Store
from sfwebhooks.scan import from_host
from sfwebhooks.scan.false_positives import screen_for
from sfwebhooks.scan.host_database import HostDatabase, database_of
from sfwebhooks.scan.host_log import modules_unset, unset_event
from sfwebhooks.scan.lifecycle import ended, started
from sfwebhooks.scan.missing import Earlier, missing_hashes
from sfwebhooks.scan.survey import Survey
from sfwebhooks.screening import Screen

log = logging.getLogger("spiderfoot.webhooks")
#: findings that are read and committed together
REPLAY_CHUNK = 500


def replay_scan(
    outbox: Store,
    settings: Settings,
    scan: Scan,
    deadline: float = float("inf"),
    screen: Screen | None = None,
    joined: Container[str] | None = (),
) -> int:
    """Accept the findings of a scan that the host's database has and the outbox lacks; return the number of deliveries.

    Args:
        deadline: monotonic seconds.
        screen: by which the scan's own process has accepted its findings; None: that process is gone.
        joined: names of the endpoints that may lack events which others have; None: each of them may.

    Raises:
        NotYetError: the deadline passed first; accepted findings stay.
        OutboxError: the outbox cannot be written.
        HostDatabaseError: the host's database cannot be read.
    """
    database = _database_of(scan, settings, outbox)
    screen = screen or screen_for(scan, settings.endpoints, database)
    known = outbox.scans.known_events(scan.id)
    outbox.scans.forget_withheld(
        scan.id, [endpoint.name for endpoint in screen.endpoints]
    )  # refused events are offered once more
    # of what was deleted since, nobody knows whether an endpoint has it: `backfill --again` sends it
    joining = [
        one
        for one in screen.endpoints
        if (joined is None or one.name in joined) and outbox.scans.deleted(scan.id, one.name) <= 0
    ]
    earlier = Earlier(outbox, scan)
    hashes: Iterable[str] = missing_hashes(database, screen, earlier, known, deadline)
    hashes = [*hashes] if joining else hashes
    new = _accept_all(from_host.found(database, scan, hashes), screen, outbox, deadline)
    offered = {finding_id(scan.id, one) for one in hashes}  # what was refused just now is not counted twice
    for endpoint in joining:
        only, known = screen.for_others((endpoint,)), outbox.scans.known_events(scan.id, endpoint.name)
        missing = missing_hashes(database, only, earlier, known | offered, deadline)
        begun = [first] if (first := started(scan)).id not in known else []
        new += _accept_all(chain(begun, from_host.found(database, scan, missing)), only, outbox, deadline)
    outbox.recount_unwritable(scan.id)
    return new


def _database_of(scan: Scan, settings: Settings, outbox: Store) -> HostDatabase:
    return database_of(scan.database, outbox.path.parent, settings.enrichment)


def _accept_all(events: Iterator[WebhookEvent], screen: Screen, outbox: Store, deadline: float) -> int:
    """Accept events in chunks; return the number of new deliveries.

    Raises:
        NotYetError: the deadline (monotonic seconds) passed first.
    """
    new = 0
    while chunk := list(islice(events, REPLAY_CHUNK)):
        new += pipeline.accept(chunk, screen, outbox, time.time())
        outbox.database.checkpoint()
        if time.monotonic() > deadline:
            raise NotYetError(f"{new} deliveries were recovered, and more are left")
    return new


def report_end(
    outbox: Store,
    settings: Settings,
    scan: Scan,
    error: str = "",
    late: str = "",
    deadline: float = float("inf"),
    screen: Screen | None = None,
) -> str | None:
    """Send what only the whole scan shows, then its end as built by `lifecycle.ended`; return the name of the end's
    event, None if the end was reported before.

    Args:
        deadline: monotonic seconds.
        screen: as for `replay_scan`.

    Raises:
        NotYetError: the deadline passed first; accepted correlations stay.
        HostDatabaseError: the host's database cannot be read.
        OutboxError: the outbox cannot be written.
    """
    database = _database_of(scan, settings, outbox)
    screen = screen or screen_for(scan, settings.endpoints, database)
    result = from_host.result_of(scan, database, outbox.scans.accepted(scan.id))
    event = ended(scan, result, error, late, settings.endpoints)
    unset = modules_unset(scan.id, database)
    errors = [unset_event(unset, scan)] if unset else []
    _accept_all(chain(errors, from_host.correlated(database, scan, screen)), screen, outbox, deadline)
    besides = Survey(outbox, screen, scan, result.row, database, deadline).at_end(event, result)
    reported = outbox.scans.end_scan(event, screen.of(event)[0], time.time(), besides)
    return event.type if reported else None


def running_scans(outbox: Store) -> dict[str, str]:
    """Return the scans whose process lives, since it holds its lock: id -> digest of the settings; empty for one on
    another machine.

    Raises:
        OutboxError: the outbox or a lock cannot be read.
    """
    locks = {scan.id: outbox.locks.scan(scan.id) for scan in outbox.scans.open_scans()}
    alive = {scan_id: lock for scan_id, lock in locks.items() if not lock.is_free}
    return {id: "" if lock.machine else f"{lock.noted()} ".split(" ")[1] for id, lock in alive.items()}


def report_dead_scans(outbox: Store, settings: Settings, stopped: Container[str] = ()) -> int:
    """Recover scans whose process died and report their ends; return how many.

    While the name or events of some endpoint may be unknown, nothing is reported: that endpoint would never get it.

    Args:
        stopped: marks of processes that were stopped together with the calling process, their host.
    """
    reported = 0
    for scan in outbox.scans.open_scans():
        lock = outbox.locks.scan(scan.id)
        if outbox.locks.may_be_alive(scan.id) or not lock.take():
            continue
        mark = lock.noted().partition(" ")[0]
        lock.note(mark)  # without the dead scan's settings: nobody takes it for one that runs with them
        try:
            if not settings.is_complete:
                log.warning(
                    "webhooks: the end of scan %s is not reported until the events of all endpoints are known", scan.id
                )
                continue
            screen = screen_for(scan, settings.endpoints, _database_of(scan, settings, outbox))
            replay_scan(outbox, settings, scan, screen=screen, joined=None)
            late = "host_stopped" if mark in stopped else "process_died"
            reported += report_end(outbox, settings, scan, late=late, screen=screen) is not None
            lock.release(remove=True)
        except HostDatabaseError as error:
            log.warning(
                "webhooks: the end of scan %s is not reported yet: its database cannot be read: %s", scan.id, error
            )
        except TargetBusyError as error:
            log.warning("webhooks: the end of scan %s is not reported yet: %s", scan.id, error)
        except OutboxError:
            raise
        except Exception:  # a bug, or garbage in the database: the other scans are still reported
            log.exception("webhooks: the end of scan %s cannot be reported", scan.id)
        finally:
            lock.release()
    return reported
