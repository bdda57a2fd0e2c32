"""The first part of each endpoint's fresh deliveries, as far as this process knows: a place in the queue comes in, the
number of the part goes out.
"""

from __future__ import annotations

import time

from sfwebhooks.outbox.claim import FIRST_PART
from sfwebhooks.outbox.database import Sql

#: seconds after which the first parts are looked for among all
PARTS_SECONDS = 60.0
#: the first part, and when all were looked at, of an endpoint of which nothing is known
ALL_PARTS = (0, 0.0)


class FreshParts:
    """The first parts with fresh deliveries.

    None is ever added to an earlier part, so those of others there are not read again, except from time to time:
    another program may have changed the rows.
    """

    def __init__(self) -> None:
        #: (`Database.number`, its REUSED, endpoint) -> first part with fresh deliveries, and when all were looked at
        self.known: dict[tuple[int, int, str], tuple[int, float]] = {}

    def first(self, sql: Sql, place: tuple[int, int, str]) -> int:
        """Return the first part with fresh deliveries of an endpoint."""
        now = time.monotonic()
        if place not in self.known:
            self.known = {key: part for key, part in self.known.items() if key[:2] == place[:2]}
        part, looked_at = self.known.get(place, (0, now))
        if now - looked_at > PARTS_SECONDS:
            part, looked_at = 0, now
        part = int(sql.execute(FIRST_PART, (place[-1], part)).fetchone()[0])
        self.known[place] = (part, looked_at)
        return part
