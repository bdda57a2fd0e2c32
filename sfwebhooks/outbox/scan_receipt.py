"""The receipt that an endpoint gets with a scan's end: its counts come in, how much it was sent and not sent goes out.

The outbox keeps the receipts of all endpoints by name, with the event that reports the end. An endpoint gets only its
own, the same at each retry. If the end is sent later by a backfill, it carries the receipt of that time.

A receipt names each series in which the scan's messages to the endpoint are numbered, with its last number: a receiver
that has all of these numbers has all messages. A series that can no longer be completed, because the outbox or
deliveries are gone, is not named: all of its messages come again in another one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: key of the stored data: endpoint -> its receipt
STORED = "receipts"
#: key of the sent data
SENT = "receipt"
#: key of a receipt: the series before the last one
EARLIER = "earlier_series"


def receipt(numbers: Mapping[str, int], withheld: Mapping[str, int], not_wanted: int, dead: int) -> dict[str, Any]:
    """Return the receipt of an endpoint.

    Args:
        numbers: series -> its last number, oldest series first; the very last number is the end's own. A series has no
            gaps, so the numbers give the count of accepted messages.
        withheld: reason -> number of findings that the endpoint wants and is not sent.
        not_wanted: number of the scan's findings that it did not ask for.
        dead: number of the accepted messages that are dead so far.
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
    """Return an event's stored data in the form that an endpoint is sent."""
    if STORED not in data:
        return data
    sent = {key: value for key, value in data.items() if key != STORED}
    found = data[STORED].get(endpoint)
    return {**sent, SENT: found} if found else sent
