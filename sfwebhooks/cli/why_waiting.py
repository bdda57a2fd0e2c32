"""Why deliveries are waiting for an endpoint, as several commands print it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from sfwebhooks.config.settings import Settings
from sfwebhooks.delivery.status import ENDED, UNPROBED, Situation, situation, why_waiting
from sfwebhooks.outbox.outbox import Outbox

#: the text for a failing or held endpoint that the command itself has tried
TRIED = "its messages are kept, the next scan or sfwebhooks run tries it again, and sfwebhooks check shows what to do"


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
    with closing(Outbox(path, listing=True)) as outbox:
        for name in filter(wanted, outbox.retention.waiting_endpoints()):
            yield situation(outbox, name, found, time.time())


def why_left(found: Situation, now: float) -> str:
    """Return why an endpoint has waiting deliveries after a command that tried to send them."""
    return why_waiting(found, now, ENDED).replace(UNPROBED, TRIED)


def waiting_line(found: Situation, why: Callable[[Situation, float], str] = why_waiting) -> str:
    """Return a line with the number of deliveries waiting for an endpoint, and the reason."""
    return f"{found.name}: {found.backlog.waiting} waiting: {why(found, time.time())}"
