"""The deliveries of listings: a row of SELECT_RECORD comes in; its Record goes out, or an error if it is damaged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from sfwebhooks.attempts import Attempt
from sfwebhooks.errors import DamagedRowError
from sfwebhooks.events import delivery_id, id_of_key, printable
from sfwebhooks.outbox.database import Sql
from sfwebhooks.outbox.rows import as_text
from sfwebhooks.outbox.selection import chunks_of, marks
from sfwebhooks.retry import State
from sfwebhooks.severity import Severity

#: fields of a record that are texts, epoch seconds or numbers in each row that we write
TEXTS = ("id", "event_id", "endpoint", "name", "type", "scan_id", "target", "series", "reason", "batch")
TIMES = ("accepted_at", "due_at")
NUMBERS = ("sequence", "attempts", "replays")
#: of an event's id
KEY_BYTES = 16
#: the fields of an attempt (a), of their types in a damaged row too
ATTEMPT = ", ".join(
    ("a.at + 0.0", "a.seconds + 0.0", "a.status + 0", *map(as_text, ("a.reason", "a.excerpt", "a.cause")))
)
#: to be followed by a WHERE on `delivery`
SELECT_RECORD = f"""
    SELECT e.id, d.endpoint, d.name, e.type, e.severity, coalesce(s.id, ''), coalesce(s.target, ''),
           (SELECT name FROM series WHERE number = d.series), d.sequence, d.state, d.reason, d.attempts, d.accepted_at,
           d.due_at, d.settled_at, d.replays,
           coalesce(d.batch, ''), (SELECT count(*) FROM delivery_attempt WHERE number = d.number),
           {ATTEMPT}
    FROM delivery d JOIN event e ON e.number = d.event LEFT JOIN scan s ON s.number = e.scan
         LEFT JOIN delivery_attempt a
             ON a.id = (SELECT max(id) FROM delivery_attempt WHERE number = d.number) AND a.number = d.number
"""


@dataclass(frozen=True)
class Record:
    """A delivery in a listing."""

    id: str
    event_id: str
    endpoint: str
    #: the event name that the endpoint subscribed to
    name: str
    #: the event's own type
    type: str
    severity: Severity
    #: empty: not of a scan
    scan_id: str
    target: str
    #: series of its number
    series: str
    sequence: int
    state: State
    #: why it is dead, or not delivered so far
    reason: str
    #: attempts that used up a retry
    attempts: int
    #: epoch seconds, as are the next two
    accepted_at: float
    due_at: float
    settled_at: float | None
    #: number of replays by an operator
    replays: int
    #: id of its batch; empty: alone, or not known yet
    batch: str
    #: number of attempts, including refusals, probes and those before a replay
    tries: int = 0
    last: Attempt | None = None


def rows_at(sql: Sql, numbers: Sequence[int], order: str = "d.number DESC") -> list[Sequence[Any]]:
    """Return the rows of SELECT_RECORD with these numbers, which are in that order."""
    found: list[Sequence[Any]] = []
    for chunk in chunks_of(numbers):
        found += sql.execute(f"{SELECT_RECORD} WHERE d.number IN ({marks(chunk)}) ORDER BY {order}", chunk).fetchall()
    return found


def id_in(row: Sequence[Any]) -> str:
    """Return the id of the delivery in a row of SELECT_RECORD, or what is in its place."""
    key, endpoint = row[:2]
    is_ours = isinstance(key, bytes) and len(key) == KEY_BYTES and isinstance(endpoint, str)
    return delivery_id(id_of_key(key), endpoint) if is_ours else printable(str(key))


def record_in(row: Sequence[Any]) -> Record:
    """Return the record in a row of SELECT_RECORD.

    Raises:
        DamagedRowError: it has values that we never write.
    """
    try:
        event_id = id_of_key(row[0])
        its = (delivery_id(event_id, row[1]), event_id, *row[1:])
        values = dict(zip((field.name for field in fields(Record)), its))
        values |= {"severity": Severity(values["severity"]), "state": State(values["state"])}
        wrong = [name for name in TEXTS if not isinstance(values[name], str)]
        wrong += [name for name in TIMES if not isinstance(values[name], float)]
        wrong += [name for name in NUMBERS if not isinstance(values[name], int)]
        wrong += ["settled_at"] if not isinstance(values["settled_at"], (float, type(None))) else []
        if wrong:
            raise ValueError(f"{wrong[0]} is {values[wrong[0]]!r}")
    except (ValueError, AttributeError) as error:
        raise DamagedRowError(f"the row of delivery {id_in(row)} in the outbox is damaged: {error}") from error
    return Record(**{**values, "last": None if row[18] is None else Attempt(*row[18:])})
