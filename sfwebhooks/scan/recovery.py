"""What a scan's own process could not do: accept what the host's database has and the outbox has not, tell an end.

replay_scan   the one recovery (ids make repeats harmless)
tell_end      exactly once, whoever tells it; before it what only the whole scan shows: modules that were not set up,
              and the correlations, which the host looks for after a scan
tell_orphans  the ends of scans whose process is gone: their lock is free
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Container, Iterator
from itertools import chain, islice

from sfwebhooks import pipeline
from sfwebhooks.config.settings import Settings
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import OutboxError
from sfwebhooks.events import Scan, WebhookEvent
from sfwebhooks.outbox.locks import scan_lock
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.scan import from_host
from sfwebhooks.scan.host_database import database_of
from sfwebhooks.scan.host_log import modules_unset, unset_event
from sfwebhooks.scan.lifecycle import ended

log = logging.getLogger("spiderfoot.webhooks")
#: findings that are read and committed together
REPLAY_CHUNK = 500


class NotYetError(Exception):
    """The time for a recovery is over; it goes on at the next occasion."""


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
    known = outbox.known_events(scan.id)
    outbox.forget_withheld(scan.id, [endpoint.name for endpoint in endpoints])  # what was refused is offered once more
    found = from_host.found(database, scan, from_host.untold(database, scan, endpoints, known))
    new = _accept_all(found, endpoints, outbox, deadline)
    outbox.recount_unwritable(scan.id)
    return new


def _accept_all(
    events: Iterator[WebhookEvent], endpoints: tuple[Endpoint, ...], outbox: Outbox, deadline: float
) -> int:
    """Accept events in chunks; return how many deliveries are new.

    Raises:
        NotYetError: the deadline (monotonic seconds) came first.
    """
    new = 0
    while chunk := list(islice(events, REPLAY_CHUNK)):
        new += pipeline.accept(chunk, endpoints, outbox, time.time())
        outbox.checkpoint()
        if time.monotonic() > deadline:
            raise NotYetError(f"{new} deliveries were recovered, and there are more")
    return new


def tell_end(
    outbox: Outbox,
    endpoints: tuple[Endpoint, ...],
    scan: Scan,
    error: str = "",
    late: str = "",
    deadline: float = float("inf"),
) -> str | None:
    """Tell what only the whole scan shows, then its end as `lifecycle.ended` has it; return the name of the event that
    tells the end, None if it was told before.

    Args:
        deadline: monotonic seconds.

    Raises:
        NotYetError: the deadline came first; the correlations that were told stay.
        sqlite3.Error: the host's database cannot be read.
        OutboxError: the outbox cannot be written.
    """
    database = database_of(scan.database, outbox.path.parent)
    result = from_host.result_of(scan, database, outbox.accepted(scan.id))
    event = ended(scan, result, error, late, endpoints)
    unset = modules_unset(scan.id, database)
    errors = [unset_event(unset, scan)] if unset else []
    _accept_all(chain(errors, from_host.correlated(database, scan, endpoints)), endpoints, outbox, deadline)
    told = outbox.end_scan(event, pipeline.wanted_by(event, endpoints), time.time())
    return event.type if told else None


def tell_orphans(outbox: Outbox, settings: Settings, stopped: Container[str] = ()) -> int:
    """Recover scans whose process died and tell their ends; return how many.

    While there may be an endpoint whose name or events are not known nothing is told: it would never hear of it.

    Args:
        stopped: marks of processes that were stopped together with the calling one, their host.
    """
    told = 0
    for scan in outbox.open_scans():
        lock = scan_lock(outbox.path, scan.id)
        if not lock.take():
            continue
        try:
            if not settings.is_complete:
                log.warning("webhooks: the end of scan %s waits until the events of all endpoints are known", scan.id)
                continue
            replay_scan(outbox, settings.endpoints, scan)
            late = "host_stopped" if lock.noted() in stopped else "process_died"
            told += tell_end(outbox, settings.endpoints, scan, late=late) is not None
            lock.release(remove=True)
        except sqlite3.Error as error:
            log.warning("webhooks: the end of scan %s waits: its database cannot be read: %s", scan.id, error)
        except OutboxError:
            raise
        except Exception:  # a bug, or rubbish in the database: the others go on
            log.exception("webhooks: the end of scan %s cannot be told", scan.id)
        finally:
            lock.release()
    return told
