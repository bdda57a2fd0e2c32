"""The selection of deliveries: filters come in, row numbers go out (to `listing` and `retention`)."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sfwebhooks.endpoints import RISK_NAMES
from sfwebhooks.outbox.database import Sql
from sfwebhooks.outbox.rows import EVERY, numbers_by_ids
from sfwebhooks.retry import State

#: most rows that one statement names and one transaction changes
CHUNK = 500
#: ids that are looked for one by one
FEW = 5
#: names that only events of that type have: nearly all of a large outbox
OWN_NAMES = ", ".join(f"'{name}'" for name in sorted(set(RISK_NAMES.values())))
#: the number of the scan that is selected; none for an id that no scan has
ITS_SCAN = "(SELECT number FROM scan WHERE id = :scan)"
#: field of Selection -> condition on a row of `delivery` (d) and, with a scan, of `event` (e)
CONDITIONS = {
    "ids": "d.number IN ({ids})",
    "endpoint": "d.endpoint = :endpoint",
    "scan": f"e.scan = {ITS_SCAN}",
    # the event is looked up only where its type may differ: a million look-ups would take seconds
    "type": f"(glob(:type, d.name) OR (d.name NOT IN ({OWN_NAMES})"
    " AND glob(:type, (SELECT type FROM event WHERE number = d.event))))",
    "since": "d.accepted_at >= :since",
    "until": "d.accepted_at < :until",
    "reason": "d.reason = :reason",
    # events are looked up only if the text is in the target of any scan
    "text": "(instr(lower(d.endpoint), :text) > 0 OR instr(lower(d.name), :text) > 0"
    " OR instr(lower(d.reason), :text) > 0"
    " OR (EXISTS (SELECT 1 FROM scan WHERE instr(lower(target), :text) > 0) AND (SELECT scan FROM event WHERE number"
    " = d.event) IN (SELECT number FROM scan WHERE instr(lower(target), :text) > 0)))",
}

#: the number of the first event of all scans whose end is not reported; PostgreSQL looks for it among those of a scan
#: only if its index of numbers does not help
FIRST_OPEN = f"""
    SELECT coalesce(min(first), {2**62}) FROM (
        SELECT (SELECT min(number + 0) FROM event WHERE scan = s.number) AS first FROM scan s WHERE s.ended IS NULL) its
"""
#: not of a scan whose end is not reported: recovery knows by its rows what was accepted, and would send it again. Most
#: events are older than such scans, and need no look-up
OVER = f"""
    (d.event < ({FIRST_OPEN})
    OR coalesce((SELECT scan FROM event WHERE number = d.event), 0) NOT IN (
        SELECT number FROM scan WHERE ended IS NULL))
"""


@dataclass(frozen=True)
class Selection:
    """Filters, all of which a delivery must pass; none selects all deliveries."""

    endpoint: str = ""
    #: the host's id of the scan
    scan: str = ""
    #: the sent event name or the event's type, with * for any characters
    type: str = ""
    #: empty: any
    states: tuple[State, ...] = ()
    #: epoch seconds: accepted at this time or later
    since: float | None = None
    #: epoch seconds: accepted before this time
    until: float | None = None
    #: full ids of deliveries
    ids: tuple[str, ...] = ()
    #: why it is dead, or not delivered so far
    reason: str = ""
    #: in lower case: in the name of the endpoint or of the event, the reason, or the target
    text: str = ""

    @property
    def values(self) -> dict[str, Any]:
        """The parameters of `where`."""
        given = {name: getattr(self, name) for name in CONDITIONS}
        return {
            name: json.dumps(value) if name == "ids" else value
            for name, value in given.items()
            if value not in ("", (), None)
        }

    @property
    def is_all(self) -> bool:
        """Whether there is no filter other than the state."""
        return not self.values

    @property
    def source(self) -> str:
        """The FROM of a query."""
        return "event e JOIN delivery d ON d.event = e.number" if self.scan else "delivery d"

    @property
    def where(self) -> str:
        """The conditions of a query at `source`."""
        ids = numbers_by_ids(":ids", many=len(self.ids) > FEW)
        return " AND ".join(["true", *self._state(), *(CONDITIONS[name].format(ids=ids) for name in self.values)])

    def _state(self) -> list[str]:
        """Return the condition for the state, such that SQLite uses an index for rare states only."""
        if not self.states:
            return []
        if self.states == (State.DEAD,) and not self.ids:
            return ["d.state <> 'waiting' AND d.state = 'dead'"]  # the first part makes the partial index usable
        listed = ", ".join(f"'{state.value}'" for state in self.states)
        return [f"+d.state IN ({listed})"]


def numbers_of(
    sql: Sql, selection: Selection, also: str = "true", order: str = "d.number", limit: int = EVERY
) -> list[int]:
    """Return the numbers of the deliveries that pass the filters and one more condition."""
    if selection.scan:  # read its events, and sort them: in the order of an index all deliveries might be read
        order = f"0 + {order}"
    query = f"SELECT d.number FROM {selection.source} WHERE {selection.where} AND {also} ORDER BY {order} LIMIT {limit}"
    return [row[0] for row in sql.execute(query, selection.values)]


def chunks_of(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    """Yield the numbers in chunks of CHUNK."""
    return (numbers[start : start + CHUNK] for start in range(0, len(numbers), CHUNK))


def marks(values: Collection[Any]) -> str:
    """Return the question marks of an IN with these values."""
    return ",".join("?" * len(values))
