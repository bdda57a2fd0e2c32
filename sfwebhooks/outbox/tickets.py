"""Tickets: what was delivered to a tracker comes in; which tickets are about something that is gone goes out.

A ticket is about one finding or several (`ticketing`); what trackers call them are handles. Whether a finding is gone
is read from the sightings, so a scan's end that is repeated has the same answer.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import groupby

from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Delivery, Scan
from sfwebhooks.fingerprints import canonical, of_event
from sfwebhooks.outbox.database import Database, Sql
from sfwebhooks.outbox.sightings import number_of
from sfwebhooks.ticketing import PREFIX, Ticket, TicketState, ticket_of

#: what the tickets of an endpoint (?1) at a target (?2) are about
MEMBERS = """
    SELECT m.subject, h.value, h.address, m.fingerprint, m.scan_id FROM ticketed m
    JOIN handle h ON h.endpoint = m.endpoint AND h.about = m.subject
    WHERE m.endpoint = ?1 AND m.target = ?2 ORDER BY m.subject
"""
#: lineage and place of each scan that is known to be the last one of its modules to see a finding (?2) of a target
#: (?1); of a finding without sightings that of the scan (?3) whose message was delivered
LAST_SEEN = """
    SELECT s.lineage, v.place FROM sighting s JOIN surveyed v ON v.number = s.last
    WHERE s.target = (SELECT number FROM target WHERE name = ?1) AND s.fingerprint = ?2
    UNION ALL SELECT lineage, place FROM surveyed WHERE scan_id = ?3
"""
#: whether a scan that is not over, besides one (?4), has seen a finding of a subject (?3) at a target (?2): its message
#: was delivered to an endpoint (?1), or waits
STILL_SEEN = """
    SELECT EXISTS (SELECT 1 FROM scan WHERE ended IS NULL AND id <> ?4 AND id IN (
        SELECT scan_id FROM ticketed WHERE endpoint = ?1 AND target = ?2 AND subject = ?3
        UNION ALL
        SELECT s.id FROM delivery d JOIN event e ON e.number = d.event JOIN scan s ON s.number = e.scan
        WHERE d.endpoint = ?1 AND d.subject = ?3 AND d.state = 'waiting'))
"""
#: lineage and place of the complete scans of a target
COMPLETE = """
    SELECT lineage, place FROM surveyed
    WHERE target = (SELECT number FROM target WHERE name = ?) AND complete = 1 ORDER BY place
"""
LISTED = f"""
    SELECT endpoint, about, value, m.target, m.findings
    FROM handle h LEFT JOIN (
        SELECT endpoint AS its, subject, min(target) AS target, count(*) AS findings FROM ticketed GROUP BY 1, 2
    ) m ON m.its = h.endpoint AND m.subject = h.about
    WHERE substr(about, 1, {len(PREFIX)}) = '{PREFIX}' AND (?1 IS NULL OR endpoint = ?1) ORDER BY endpoint, at DESC
"""  # noqa: S608


@dataclass(frozen=True)
class TicketRow:
    """A ticket of an endpoint."""

    endpoint: str
    subject: str
    ticket: Ticket
    #: empty: it is about something that no scan sees
    target: str
    #: number of findings that were ever in it
    findings: int


@dataclass(frozen=True)
class GoneSubject:
    """A subject with an open ticket that is gone."""

    subject: str
    ticket: Ticket
    #: comparable scans that did not see it
    missed: int


class Tickets:
    """The tickets of an outbox. All methods raise OutboxError, as `Outbox` does."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def gone(self, tracker: Endpoint, scan: Scan, dismissed: Collection[bytes]) -> list[GoneSubject]:
        """Return the subjects at a scan's target whose tickets are open although none of their findings is there.

        A finding is gone if the last scans of some modules that saw it once, `close_after` in number, did not see it,
        and no scan with whatever modules has seen it since, not even one that is not over.

        Args:
            scan: it is about to be over.
            dismissed: fingerprints that count as gone.
        """
        name, gone = canonical(scan.target), list[GoneSubject]()
        with self._database.reading() as sql:
            complete: dict[int, list[int]] = defaultdict(list)
            for line, place in sql.execute(COMPLETE, (name,)):
                complete[line].append(place)
            rows = sql.execute(MEMBERS, (tracker.name, name)).fetchall()
            for (subject, value, address), members in groupby(rows, key=lambda row: row[:3]):
                ticket = ticket_of(value)
                if ticket is None or ticket.state is not TicketState.OPEN:
                    continue
                if not ticket.place and address != tracker.address_id:  # only the address says where it is
                    continue
                missed = [
                    _missed(sql.execute(LAST_SEEN, (name, found, scan_id)).fetchall(), complete)
                    for *_, found, scan_id in members
                    if found not in dismissed
                ]
                if any(number < tracker.close_after for number in missed):
                    continue
                its = (tracker.name, name, subject, scan.id)
                if not missed or not sql.execute(STILL_SEEN, its).fetchone()[0]:
                    gone.append(GoneSubject(subject, ticket, min(missed, default=0)))
        return gone

    def all(self, endpoint: str | None = None) -> list[TicketRow]:
        """Return the tickets of an endpoint or of all, the last changed ones first."""
        with self._database.reading() as sql:
            rows = sql.execute(LISTED, (endpoint,)).fetchall()
        found = ((*row, ticket_of(row[2])) for row in rows)
        return [
            TicketRow(name, about, one, target or "", many or 0) for name, about, _, target, many, one in found if one
        ]

    def forget(self, endpoint: str) -> int:
        """Forget the tickets of an endpoint, which its tracker keeps; return how many."""
        with self._database.writing() as sql:
            sql.execute("DELETE FROM ticketed WHERE endpoint = ?", (endpoint,))
            query = f"DELETE FROM handle WHERE endpoint = ? AND substr(about, 1, {len(PREFIX)}) = '{PREFIX}'"  # noqa: S608
            return sql.execute(query, (endpoint,)).rowcount


def note_member(sql: Sql, delivery: Delivery, mutes: bool, at: float) -> None:
    """Note that a delivered finding is in the ticket of its subject.

    Args:
        mutes: whether its endpoint is not to be sent the finding again.
        at: epoch seconds.
    """
    event = delivery.event
    found = of_event(event)
    if found is None or event.scan is None:
        return
    target = canonical(event.scan.target)
    row = (delivery.endpoint, event.subject, target, found, event.scan.id)
    sql.execute("INSERT OR REPLACE INTO ticketed VALUES (?, ?, ?, ?, ?)", row)
    if mutes:
        kind = number_of(sql, "kind", "name", str(event.data.get("event_type", event.type)))
        its = (number_of(sql, "target", "name", target), found, delivery.endpoint, kind, None, at)
        sql.execute("INSERT OR REPLACE INTO mute VALUES (?, ?, ?, ?, ?, ?)", its)


def _missed(seen: Sequence[tuple[int | None, int | None]], complete: dict[int, list[int]]) -> int:
    """Return how many scans of the same modules have not seen a finding since any scan saw it.

    Args:
        seen: lineage and place of the scans that saw it last; a scan without a place is not over.
        complete: lineage -> places of the complete scans of its target, in order.
    """
    last = max((math.inf if place is None else place for _, place in seen), default=math.inf)
    lines = {line for line, _ in seen if line}
    return max((len(complete[line]) - bisect_right(complete[line], last) for line in lines), default=0)
