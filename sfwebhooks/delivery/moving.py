"""Moving: waiting deliveries of one endpoint come in, the same for another endpoint go out: after a rename or a merge.

A moved delivery equals one that was accepted for the other endpoint: it has that endpoint's id and its next number. So
an event still goes to an endpoint once, and recovery and backfill know which events it has.
"""

from __future__ import annotations

from sfwebhooks.delivery.ownership import holder_of
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import SelectionError
from sfwebhooks.outbox.selection import Selection
from sfwebhooks.outbox.store import Store
from sfwebhooks.screening import Screen


def move(outbox: Store, chosen: Selection, endpoint: Endpoint, now: float) -> int:
    """Move waiting deliveries that the endpoint asks for, except those of a running scan; return how many.

    Args:
        chosen: deliveries of one endpoint.
        now: epoch seconds.

    Raises:
        SelectionError: a process sends the deliveries that would be moved.
        OutboxError: the outbox cannot be written.
    """
    lock = outbox.locks.endpoint(chosen.endpoint)
    if not lock.take():
        raise SelectionError(
            f"process {holder_of(lock).name} is sending to {chosen.endpoint}, possibly the deliveries to be moved: stop"
            " it first, or wait until its scan has ended"
        )
    try:
        moved = outbox.retention.move(chosen, endpoint, now)
        return moved + sum(_move_end(outbox, *ids, endpoint, now) for ids in outbox.retention.ends(chosen))
    finally:
        lock.release()


def _move_end(outbox: Store, id: str, event_id: str, endpoint: Endpoint, now: float) -> int:
    """Move the end of a scan, with a receipt of the endpoint's deliveries of the scan; return how many, 0 or 1."""
    event = outbox.scans.event(event_id)
    wanted = Screen((endpoint,)).of(event)[0] if event else []
    if not (event and wanted):
        return 0
    outbox.scans.repeat_end(event, wanted, now)
    return outbox.retention.take_away(Selection(ids=(id,)))
