"""Newness: an event and the endpoints that want it come in; those for which it is muted or not new go out.

All of it happens in the transaction that accepts the event, so a killed process has sent and noted it, or neither. Only
what an endpoint with `only_new` gets is written; of everything else a few rows are read.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from sfwebhooks.endpoints import SILENT
from sfwebhooks.events import WebhookEvent
from sfwebhooks.fingerprints import VERSION, canonical, of_event
from sfwebhooks.outbox.database import Sql
from sfwebhooks.outbox.sightings import begun, number_of
from sfwebhooks.reasons import Withheld
from sfwebhooks.screening import Wanted

log = logging.getLogger("spiderfoot.webhooks")
#: of a scan (?1): its number, its target, whether it is a first one, whether something (?2) was seen before it
SEEN_BEFORE = """
    SELECT number, target, is_first, EXISTS (
        SELECT 1 FROM sighting WHERE target = s.target AND fingerprint = ?2 AND first <> s.number)
    FROM surveyed s WHERE scan_id = ?1
"""
#: the same of a scan that has no number yet: 0, of a target (?1)
NOT_BEGUN = """
    SELECT 0, t.number, NOT EXISTS (SELECT 1 FROM surveyed WHERE target = t.number AND complete = 1), EXISTS (
        SELECT 1 FROM sighting WHERE target = t.number AND fingerprint = ?2)
    FROM target t WHERE name = ?1
"""
#: the same if its target has no number either
NEVER_SEEN = (0, 0, True, False)
FIRST = (
    "webhooks: no earlier scan of %s is known: of this one, its baseline, endpoints with only_new are sent no findings,"
    " unless baseline = send"
)
#: the row of something that is sent as new
SEND_AS_NEW = f"""
    INSERT INTO sighting (target, fingerprint, lineage, kind, version, first, last, whole)
    SELECT ?1, ?2, 0, number, {VERSION}, ?4, ?4, 0 FROM kind WHERE name = ?3 ON CONFLICT DO NOTHING
"""  # noqa: S608
#: whether anything is muted, or was
IS_MUTING = "SELECT EXISTS (SELECT 1 FROM mute)"
#: the endpoints for which something (?2) of a target (?1) is muted at a time (?3)
MUTED = """
    SELECT endpoint FROM mute WHERE target = (SELECT number FROM target WHERE name = ?1) AND fingerprint = ?2
        AND (until IS NULL OR until > ?3)
"""


def withheld_from(
    sql: Sql,
    event: WebhookEvent,
    wanted: Sequence[Wanted],
    muting: bool,
    now: float,
    is_forecast: bool = False,
) -> dict[str, Withheld]:
    """Return endpoint -> reason for those endpoints of an event from which a mute or `only_new` withholds it.

    What some endpoint gets as new is noted: the next scan knows it, however this one ends.

    Args:
        muting: whether anything is muted.
        is_forecast: only says what would be withheld, and writes nothing.
    """
    found = of_event(event)
    if found is None or event.scan is None:
        return {}
    held = dict.fromkeys(_muted(sql, event.scan.target, found, wanted, now), Withheld.MUTED) if muting else {}
    asking = [one for one in wanted if one.only_new and one.endpoint not in held]
    if not asking:
        return held
    row = sql.execute(SEEN_BEFORE, (event.scan.id, found)).fetchone()
    if row is None and is_forecast:
        row = sql.execute(NOT_BEGUN, (canonical(event.scan.target), found)).fetchone() or NEVER_SEEN
    elif row is None:
        if begun(sql, event.scan.id, event.scan.target, now).is_first:
            log.info(FIRST, event.scan.target)
        row = sql.execute(SEEN_BEFORE, (event.scan.id, found)).fetchone()
    number, target, is_first, is_known = row
    for one in asking:
        reason = by_sightings(one, is_first, is_known)
        if reason:
            held[one.endpoint] = reason
    if not (is_known or is_forecast) and any(one.endpoint not in held for one in asking):
        row = (target, found, str(event.data.get("event_type", event.type)), number)
        if not sql.execute(SEND_AS_NEW, row).rowcount:  # it is there, or its type is new
            number_of(sql, "kind", "name", row[2])
            sql.execute(SEND_AS_NEW, row)
    return held


def by_sightings(wanted: Wanted, is_first: bool, is_known: bool) -> Withheld | None:
    """Return why what was found is not sent to an endpoint that wants it, if it is not muted.

    Args:
        is_first: whether the scan is its target's baseline.
        is_known: whether an earlier scan found it.
    """
    if wanted.only_new == SILENT and is_first:
        return Withheld.BASELINE
    return Withheld.KNOWN if wanted.only_new and is_known else None


def _muted(sql: Sql, target: str, found: bytes, wanted: Sequence[Wanted], now: float) -> list[str]:
    """Return the names of the endpoints for which a finding is muted."""
    names = {endpoint for (endpoint,) in sql.execute(MUTED, (canonical(target), found, now))}
    return [one.endpoint for one in wanted if "" in names or one.endpoint in names]
