"""Why deliveries are waiting for an endpoint, as several commands print it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from sfwebhooks.config.settings import Settings
from sfwebhooks.delivery.status import IDLE, Situation, situation, why_waiting
from sfwebhooks.outbox.listing import Records
from sfwebhooks.outbox.outbox import Outbox


def situations(
    path: Path, found: Settings | None, wanted: Callable[[str], bool] = lambda name: True
) -> Iterator[Situation]:
    """Yield the situation of each endpoint that has waiting deliveries.

    Args:
        path: of the outbox.
        found: the settings; None: unknown.
        wanted: which endpoints.

    Raises:
        OutboxError: the outbox cannot be read.
    """
    with closing(Outbox(path, listing=True)) as outbox, closing(Records(path, listing=True)) as records:
        for name in filter(wanted, records.waiting_endpoints()):
            yield situation(outbox, records, name, found, time.time())


def waiting_line(found: Situation, idle: str = IDLE) -> str:
    """Return a line with the number of deliveries waiting for an endpoint, and the reason."""
    return f"{found.name}: {found.backlog.waiting} waiting: {why_waiting(found, time.time(), idle)}"
