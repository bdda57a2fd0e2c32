"""The settlement of a group: results come in, rows of deliveries, attempts and dead letters' counts go out in one
statement.

It does what `results.write_settled` does with each, of which it has the reasons.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import psycopg

from sfwebhooks.outbox.counting import ADD, DEATH
from sfwebhooks.outbox.postgres.session import ServerSession, storable
from sfwebhooks.outbox.results import LOG, OUTCOMES, PENDING, WAITING, Item

#: types of its parameters, of which each is an array, and their names
GIVEN = {
    "place": "bigint", "number": "bigint", "sequence": "bigint", "series": "text", "endpoint": "text", "event": "bytea",
    "state": "text", "reason": "text", "due_at": "double precision", "settled_at": "double precision",
    "counts": "bigint", "batch": "text", "refused": "bigint", "refused_in": "bigint",
    "at": "double precision", "seconds": "double precision", "status": "bigint", "logged": "text", "excerpt": "text",
    "cause": "text", "outcome": "text",
}  # fmt: skip
#: returns the places of those that are settled now. BETWEEN: for an equality the server may read all waiting
#: deliveries, in the order of their numbers, as long as it believes that there are none
SETTLE = f"""
    WITH given AS (
        SELECT * FROM unnest({", ".join(f"${at}::{kind}[]" for at, kind in enumerate(GIVEN.values(), start=1))})
        AS given ({", ".join(GIVEN)})
    ), settled AS (
        UPDATE delivery d SET state = g.state, reason = g.reason, due_at = g.due_at, settled_at = g.settled_at,
            attempts = d.attempts + g.counts, batch = CASE WHEN g.batch = '' THEN d.batch ELSE g.batch END,
            refusals = d.refusals + g.refused, refused_in = coalesce(d.refused_in, g.refused_in),
            crashes = CASE g.state WHEN 'waiting' THEN 0 ELSE d.crashes END
        FROM given g JOIN series s ON s.name = g.series
        WHERE d.number BETWEEN g.number AND g.number AND d.sequence = g.sequence AND d.series = s.number
            AND d.endpoint = g.endpoint
            AND (d.state = 'waiting' OR (d.state = 'dead' AND g.state = 'delivered'))
            AND (SELECT id = g.event OR length(id) <> 16 FROM event WHERE event.number = d.event)
        RETURNING g.*, d.accepted_at
    ), logged AS (
        INSERT INTO delivery_attempt (number, at, seconds, status, reason, excerpt, cause, outcome, waited)
        SELECT number, at, seconds, status, logged, excerpt, cause, outcome,
            CASE WHEN outcome IS NULL THEN greatest(settled_at - accepted_at, 0.0) END
        FROM settled ORDER BY place
    ), died AS (
        INSERT INTO tally (endpoint, what, reason, number)
        SELECT endpoint, '{DEATH}', substr(reason, 1, strpos(reason || ':', ':') - 1), count(*)
        FROM settled WHERE state = 'dead' GROUP BY 1, 3 {ADD}
    ), thawed AS (
        DELETE FROM frozen WHERE id = ANY (${len(GIVEN) + 1}::text[])
    )
    SELECT place FROM settled
""".encode()  # noqa: S608


#: attempts of some deliveries
RECORDED = b"SELECT number, at, seconds FROM delivery_attempt WHERE number = ANY($1::bigint[])"


def settle_group(sql: ServerSession, items: Sequence[Item], batches: Sequence[str]) -> None:
    """Write results, and forget which batches were in flight."""
    if not sql.has_settled:
        items = _unrecorded(sql, items)
        sql.has_settled = True
    is_each_once = len({key.number for key, *_ in items}) == len(items)
    for group in [items] if is_each_once else _apart(items):
        rows = []
        for place, (key, new, attempt) in enumerate(group):
            state = new.state.value
            ended_at = None if state == WAITING else attempt.at + attempt.seconds
            its = (place, key.number, key.sequence, key.series, key.endpoint, key.event)
            made = (state, new.reason, new.due_at, ended_at, int(new.counts), new.batch, int(new.refused))
            entry = (attempt.at, attempt.seconds, attempt.status, attempt.reason, attempt.excerpt, attempt.trigger)
            rows.append((*its, *made, new.refused_in, *entry, OUTCOMES[state] if not new.pending else PENDING))
        columns = [[*column] for column in zip(*rows)] or [[] for _ in GIVEN]
        try:
            found = sql.connection.execute(SETTLE, (*columns, [*batches]))
        except (psycopg.DataError, UnicodeEncodeError) as error:
            if getattr(error, "sqlstate", None):  # the server's; else nothing was sent
                raise
            found = sql.connection.execute(SETTLE, (*_storable(columns), [*batches]))
        settled = {place for (place,) in found}
        # those that were settled before are logged, if they are still there
        late = [(row[1], *row[14:], row[5], row[4]) for row in rows if row[0] not in settled]
        if late:
            sql.executemany(LOG, late)


def _unrecorded(sql: ServerSession, items: Sequence[Item]) -> list[Item]:
    """Return the results that are not recorded yet: those of a commit whose answer was lost come again."""
    found = {*sql.connection.execute(RECORDED, ([key.number for key, *_ in items],))}
    return [one for one in items if (one[0].number, one[2].at, one[2].seconds) not in found]


def _storable(columns: Sequence[Sequence[Any]]) -> Iterator[list[Any]]:
    """Yield columns that can be sent: an array with integers among the floats cannot."""
    for kind, column in zip(GIVEN.values(), columns):
        is_time = kind == "double precision"
        yield [None if one is None else float(one) for one in column] if is_time else storable(column)


def _apart(items: Iterable[Item]) -> list[list[Item]]:
    """Return results in groups that have each delivery once: one statement changes a row once."""
    groups, numbers = list[list[Item]](), set[int]()
    for item in items:
        if not groups or item[0].number in numbers:
            groups.append([])
            numbers.clear()
        groups[-1].append(item)
        numbers.add(item[0].number)
    return groups
