"""The receipt that an endpoint gets with a scan's end: how much it was sent, how much it was not sent, and why.

The outbox keeps the receipts of all endpoints with the event that tells the end, by name. An endpoint is told its own
one only, and the same one at each retry. Whoever is sent the end later, by a backfill, gets that of then.

A receipt names each series in which the scan's messages to the endpoint are numbered, with its last number: a receiver
that has all of these numbers has all. A series that can no longer be completed, since the file or deliveries in it are
gone, is not named: all of its messages come again in another one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: key of the stored data: endpoint -> its receipt
STORED = "receipts"
#: key of the data that an endpoint is sent
SENT = "receipt"
#: key of a receipt: the series before the last one
EARLIER = "earlier_series"


def receipt(numbers: Mapping[str, int], withheld: Mapping[str, int], not_wanted: int, dead: int) -> dict[str, Any]:
    """Return the receipt of an endpoint.

    Args:
        numbers: series -> last number in it, the oldest one first; the last number of the last one is that of the end
            itself. A series has no gaps, so they say how many messages were accepted.
        withheld: reason -> how many findings that the endpoint wants it is not sent.
        not_wanted: how many findings of the scan it did not ask for.
        dead: how many of the accepted messages were given up so far.
    """
    *earlier, (series, last) = numbers.items()
    return {
        "series": series,
        "first_sequence": 1,
        "last_sequence": last,
        EARLIER: dict(earlier),
        "accepted": sum(numbers.values()),
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
