"""Repeats: the ids of accepted deliveries come in, the time at which each came first goes out.

A sender repeats a delivery, under the same id, if it did not learn that it had arrived.
"""

from __future__ import annotations

import hashlib

#: ids that are remembered, the latest ones: a sender with a broken clock or a malicious one may send more
IDS_MAX = 100_000


class AcceptedIds:
    """The ids of the deliveries that were answered with success, of each its hash: ids may be long."""

    def __init__(self, most: int = IDS_MAX) -> None:
        self._most = most
        #: in the order in which they came first
        self._times: dict[bytes, float] = {}

    def first_at(self, id: str) -> float | None:
        """Return when a delivery came first, in epoch seconds; None if it is new, or its id is empty."""
        return self._times.get(_hash(id))

    def add(self, id: str, at: float) -> None:
        """Remember a delivery unless its id is empty or known."""
        if not id:
            return
        self._times.setdefault(_hash(id), at)
        if len(self._times) > self._most:
            del self._times[next(iter(self._times))]


def _hash(id: str) -> bytes:
    return hashlib.sha256(id.encode("utf-8", "replace")).digest()
