"""Results of attempts: the settlements of deliveries and their attempts come in, rows of the outbox go out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sfwebhooks.attempts import Attempt
from sfwebhooks.events import Batch, Handle
from sfwebhooks.outbox.bundling import SettledKey
from sfwebhooks.outbox.counting import dying
from sfwebhooks.outbox.database import Sql
from sfwebhooks.outbox.tickets import note_member
from sfwebhooks.retry import Settlement, State
from sfwebhooks.ticketing import is_about_ticket

#: whether a row is that of a delivery to an endpoint of the event with a key, or of an event whose id is damaged
ITS_ROW = (
    "endpoint = {1} AND"
    " (SELECT id = {0} OR typeof(id) <> 'blob' OR length(id) <> 16 FROM event WHERE number = delivery.event)"
)
#: a delivered delivery stays so, whatever a concurrent sender reports, and one that became dead meanwhile stays dead
#: unless it was delivered; one that got another number after it was claimed, as in a new outbox, is not settled: the
#: receiver has to see that number. Nor is one whose row is another one's now, in a backup that was restored into the
#: open file
SETTLED = (
    "number = ?9 AND sequence = ?10 AND series = (SELECT number FROM series WHERE name = ?11)"
    f" AND (state = 'waiting' OR (state = 'dead' AND ?1 = 'delivered')) AND {ITS_ROW.format('?12', '?13')}"
)
SETTLE = f"""
    UPDATE delivery SET state = ?1, reason = ?2, due_at = ?3, settled_at = ?4, attempts = attempts + ?5,
                        batch = CASE WHEN ?6 = '' THEN batch ELSE ?6 END,
                        refusals = refusals + ?7, refused_in = coalesce(refused_in, ?8),
                        crashes = CASE ?1 WHEN 'waiting' THEN 0 ELSE crashes END
    WHERE {SETTLED}
"""
#: with the parameters of SETTLE
DIES = dying("?2", SETTLED)
#: in the delivery log, if the delivery still exists; after SETTLE: the row shows whether this attempt delivered it
LOG = f"""
    INSERT INTO delivery_attempt (number, at, seconds, status, reason, excerpt, cause, outcome, waited)
    SELECT number, ?2, ?3, ?4, ?5, ?6, ?7, ?8,
           CASE WHEN ?8 IS NULL AND state = 'delivered' AND settled_at = ?2 + ?3
                THEN max(settled_at - accepted_at, 0.0) END
    FROM delivery WHERE number = ?1 AND {ITS_ROW.format("?9", "?10")}
"""
#: enums, which take long to look up
WAITING, DEAD = State.WAITING.value, State.DEAD.value
#: state of a delivery after an attempt -> the attempt's outcome in the log; or PENDING if another request has to follow
OUTCOMES = {WAITING: WAITING, DEAD: DEAD, State.DELIVERED.value: None}
PENDING = "pending"
#: a delivery with its settlement after an attempt
Item = tuple[SettledKey, Settlement, Attempt]


@dataclass(frozen=True)
class Result:
    """The result of an attempt."""

    batch: Batch
    attempt: Attempt
    #: of each delivery
    settlements: Sequence[Settlement]
    #: what the receiver calls it from now on; without a value nothing; None: as before
    handle: Handle | None = None
    #: whether its endpoint is not to be sent again what it is about
    mutes: bool = False
    #: SHA-256 of the body as it was sent, if that is to be proven
    sha256: bytes = b""


def write_settled(sql: Sql, items: Sequence[Item], batches: Sequence[str]) -> None:
    """Write the settlements of some deliveries and their attempts, and forget which batches were in flight."""
    sql.executemany("DELETE FROM frozen WHERE id = ?", [(batch,) for batch in batches])
    settled: list[tuple[Any, ...]] = []
    logged: list[tuple[Any, ...]] = []
    for key, new, attempt in items:
        state, its = new.state.value, (key.event, key.endpoint)
        ended_at = None if state == WAITING else attempt.at + attempt.seconds
        made = (state, new.reason, new.due_at, ended_at, int(new.counts), new.batch, int(new.refused), new.refused_in)
        settled.append((*made, key.number, key.sequence, key.series, *its))
        # `astuple` takes a hundred times as long
        entry = (attempt.at, attempt.seconds, attempt.status, attempt.reason, attempt.excerpt, attempt.trigger)
        logged.append((key.number, *entry, OUTCOMES[state] if not new.pending else PENDING, *its))
    sql.executemany(DIES, [one for one in settled if one[0] == DEAD])
    sql.executemany(SETTLE, settled)
    sql.executemany(LOG, logged)


def keep_handle(sql: Sql, result: Result, handle: Handle) -> None:
    """Record what the receiver calls a request that is pending, or what a delivered message is about."""
    first, batch = result.batch.deliveries[0], result.batch.id
    about = batch if result.settlements[0].state is State.WAITING else first.event.subject
    sql.execute("DELETE FROM handle WHERE endpoint = ? AND about = ?", (first.endpoint, batch))
    if about and handle.value:
        row = (first.endpoint, about, handle.address, handle.value, result.attempt.at)
        sql.execute("INSERT OR REPLACE INTO handle VALUES (?, ?, ?, ?, ?)", row)
        if is_about_ticket(about):
            note_member(sql, first, result.mutes, result.attempt.at)
