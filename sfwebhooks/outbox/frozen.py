"""The members of a batch in flight: they are recorded before it is sent, and bound to its id if it is never settled, so
that it comes again with the same ones."""

from __future__ import annotations

import json

from sfwebhooks.events import Batch, id_of_key
from sfwebhooks.outbox.bundling import Members, keys_of
from sfwebhooks.outbox.database import Database, Sql
from sfwebhooks.outbox.rows import SCAN

#: the members of a bundle (?2, JSON) that were settled before
SENT_AGAIN = "UPDATE delivery SET batch = ? WHERE number IN (SELECT value FROM json_each(?)) AND state <> 'waiting'"
#: the numbers of the members of a batch (?1) in flight
MEMBERS = f"""
    SELECT d.number FROM frozen f CROSS JOIN json_each(members)
    CROSS JOIN event e ON e.scan = {SCAN.format("json_extract(value, '$[0]')")}
        AND e.id = event_key_of(json_extract(value, '$[1]'))
    CROSS JOIN delivery d ON d.event = e.number AND d.endpoint = f.endpoint WHERE f.id = ?1
"""


def freeze(database: Database, batch: Batch, endpoint: str) -> None:
    """Record the members of a new batch."""
    first = batch.deliveries[0].event
    members = json.dumps([(key.scan or first.scan_id, id_of_key(key.event)) for key in keys_of(batch)])
    fence = database.locks.check_fence
    with database.writing() as sql:
        if fence:
            fence(sql, (endpoint,))
        sql.execute("INSERT OR REPLACE INTO frozen VALUES (?, ?, ?)", (batch.id, endpoint, members))
        if isinstance(batch.deliveries, Members):  # some may be sent again with others
            sql.execute(SENT_AGAIN, (batch.id, batch.deliveries.numbers))
        if batch.part[1]:
            its = (batch.id, endpoint, first.scan_id, *batch.part, first.at)
            sql.execute("INSERT INTO digest_part VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", its)


def unfreeze(sql: Sql, batch: str, due_at: float = 0.0) -> None:
    """Write the id of a batch in flight into the rows of its members, which may be what is left of another batch."""
    sql.execute(
        f"UPDATE delivery SET batch = ?1, due_at = max(due_at, ?2) WHERE state = 'waiting' AND number IN ({MEMBERS})",
        (batch, due_at),
    )
    sql.execute("DELETE FROM frozen WHERE id = ?", (batch,))
