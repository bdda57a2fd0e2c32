"""Unwritable events: an event with a value that JSON, UTF-8 or SQLite does not support comes in; it alone is rejected,
counted for the receipt, and logged.

Its finding may come from the host's database in a writable form, so the events are remembered by their ids.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from sfwebhooks.events import WebhookEvent, event_key_of, printable
from sfwebhooks.outbox.database import Sql
from sfwebhooks.outbox.rows import RECEIVERS
from sfwebhooks.outbox.withholding import set_withheld
from sfwebhooks.reasons import Withheld
from sfwebhooks.screening import Wanted

log = logging.getLogger("spiderfoot.webhooks")
#: most events that are remembered
EVENTS_MAX = 100_000
#: different problems that are logged, and characters of each
PROBLEMS_MAX = 20
PROBLEM_MAX = 200


@dataclass
class Unwritable:
    """The events that this process could not write."""

    #: id of an event -> its scan, and the endpoints that want it
    _events: dict[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    #: the problems that were logged
    _problems: set[str] = field(default_factory=set)

    def __contains__(self, event: WebhookEvent) -> bool:
        """Return whether an event is remembered, and so counted already."""
        return event.id in self._events

    def note(self, event: WebhookEvent, wanted: Sequence[Wanted], why: str) -> None:
        """Remember an event, and log it if it is the first with its problem."""
        problem, endpoints = printable(why)[:PROBLEM_MAX], tuple(one.endpoint for one in wanted)
        is_new = problem not in self._problems and len(self._problems) < PROBLEMS_MAX
        log.log(
            logging.WARNING if is_new else logging.DEBUG,
            "webhooks: event %s cannot be stored: %s; it is counted as unwritable and not sent to %s",
            *(printable(str(event.id)), problem, ", ".join(endpoints)),
        )
        if is_new:
            self._problems.add(problem)
        if len(self._events) < EVENTS_MAX:
            self._events[event.id] = (event.scan_id, endpoints)

    def recount(self, sql: Sql, scan_id: str) -> None:
        """Recount the events of a scan, without those that came again in a writable form."""
        mine = [(event_id, names) for event_id, (scan, names) in self._events.items() if scan == scan_id]
        if not mine:
            return
        left: Counter[str] = Counter()
        for event_id, names in mine:
            left.update({*names} - {name for (name,) in sql.execute(RECEIVERS, (scan_id, event_key_of(event_id)))})
        others = "scan_id = ? AND reason = ? AND endpoint NOT IN (SELECT CAST(value AS TEXT) FROM json_each(?))"
        given = (scan_id, Withheld.UNWRITABLE.value, json.dumps([*left]))
        sql.execute(f"DELETE FROM withheld WHERE {others}", given)  # noqa: S608
        set_withheld(sql, {(scan_id, name, Withheld.UNWRITABLE): number for name, number in left.items()})
