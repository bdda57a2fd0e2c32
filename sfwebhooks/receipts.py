"""The receipt that an endpoint gets with a scan's end: how much it was sent, how much it was not sent, and why.

The outbox keeps the receipts of all endpoints with the event that tells the end, by name. An endpoint is told its own
one only, and the same one at each retry. Whoever is sent the end later, by a backfill, gets that of then.

A receipt names a run of numbers: whoever has all of it has all. A run that can no longer be completed, since the file
or deliveries in it are gone, is left behind for a new one, of numbers that nothing of the scan had before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: key of the stored data: endpoint -> its receipt
STORED = "receipts"
#: key of the data that an endpoint is sent
SENT = "receipt"
#: numbers of a run, more than any scan needs
RUN = 100_000_000


def first_of_run(number: int) -> int:
    """Return the first number of the run that a number belongs to."""
    return (number - 1) // RUN * RUN + 1


def receipt(
    last_sequence: int, withheld: Mapping[str, int], not_wanted: int, dead: int
) -> dict[str, int | dict[str, int]]:
    """Return the receipt of an endpoint.

    Args:
        last_sequence: the number of the end itself; a run has no gaps, so it says how many messages were accepted.
        withheld: reason -> how many findings that the endpoint wants it is not sent.
        not_wanted: how many findings of the scan it did not ask for.
        dead: how many of the accepted messages were given up so far.
    """
    first = first_of_run(last_sequence)
    return {
        "first_sequence": first,
        "last_sequence": last_sequence,
        "accepted": last_sequence - first + 1,
        "withheld": sum(withheld.values()),
        "withheld_by_reason": dict(withheld),
        "not_wanted": max(0, not_wanted),
        "dead": dead,
    }


def own(data: Mapping[str, Any], endpoint: str) -> Mapping[str, Any]:
    """Return an event's stored data as an endpoint is sent it."""
    if STORED not in data:
        return data
    sent = {key: value for key, value in data.items() if key != STORED}
    found = data[STORED].get(endpoint)
    return {**sent, SENT: found} if found else sent
