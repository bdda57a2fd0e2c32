"""Counts of withheld events: (scan, endpoint, reason) and a number come in, rows of `withheld` go out.

The events that filters withhold can be most of a scan's, and cause no commit: they are counted in memory, and written
with the next one, or by `Outbox.write_withheld` in the rounds of a scan.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping

from sfwebhooks.outbox.database import Sql
from sfwebhooks.reasons import Withheld

#: what is counted together: (scan, endpoint, reason)
WithheldKey = tuple[str, str, Withheld]
INSERT = "INSERT INTO withheld VALUES (?, ?, ?, ?) ON CONFLICT (scan_id, endpoint, reason) DO UPDATE SET number ="
ADD = f"{INSERT} withheld.number + excluded.number"
SET = f"{INSERT} excluded.number"


class Withholding:
    """The counts that are not written yet, for use by any thread."""

    def __init__(self) -> None:
        #: asked for at each commit, which calls no function of ours for it
        self.counts: Counter[WithheldKey] = Counter()
        self._lock = threading.Lock()

    def __bool__(self) -> bool:
        """Return whether there are any."""
        return bool(self.counts)

    def add(self, counts: Mapping[WithheldKey, int]) -> None:
        """Count some events."""
        with self._lock:
            self.counts.update(counts)

    def write(self, sql: Sql) -> Counter[WithheldKey]:
        """Write the counts; return them, for `written` once they are committed."""
        with self._lock:
            counts = Counter(self.counts)
        add_withheld(sql, counts)
        return counts

    def written(self, counts: Counter[WithheldKey]) -> None:
        """Forget counts that are committed."""
        with self._lock:
            self.counts -= counts


def add_withheld(sql: Sql, counts: Mapping[WithheldKey, int]) -> None:
    """Add some counts to those of the outbox."""
    sql.executemany(ADD, _rows(counts))


def set_withheld(sql: Sql, counts: Mapping[WithheldKey, int]) -> None:
    """Set some counts of the outbox."""
    sql.executemany(SET, _rows(counts))


def _rows(counts: Mapping[WithheldKey, int]) -> Iterator[tuple[str, str, str, int]]:
    return ((scan, endpoint, reason.value, number) for (scan, endpoint, reason), number in counts.items())
