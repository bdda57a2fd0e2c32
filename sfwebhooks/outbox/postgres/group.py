"""The acceptance of a group: events with their receivers come in, rows go out in one statement.

Over a network each statement of its own would take longer than all of its work, and others wait for the lock meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple

from sfwebhooks.outbox.database import EventRow
from sfwebhooks.outbox.postgres.session import ServerSession, storable
from sfwebhooks.outbox.rows import ADD_SCAN, by_subject, insert

#: events (from $1 on, the places in the group first) with their receivers (from $9 on); returns the places of those
#: that are new. A number is the last one that was given minus those of later events in the group. An event is counted:
#: for NOT EXISTS the server may read all events of its scan, as long as it believes that there are few
INSERT = b"""
    WITH given AS (
        SELECT * FROM unnest($1::bigint[], $2::text[], $3::bytea[], $4::text[], $5::bigint[], $6::text[],
            $7::double precision[], $8::text[]) AS given (place, scan_id, id, type, severity, special, at, data)
    ), added AS (
        INSERT INTO event (scan, id, type, severity, special, at, data)
        SELECT coalesce(s.number, 0), g.id, g.type, g.severity, g.special, g.at, g.data
        FROM given g LEFT JOIN scan s ON s.id = g.scan_id WHERE (s.number IS NOT NULL OR g.scan_id = '')
            AND (SELECT count(*) FROM event e WHERE e.scan = coalesce(s.number, 0) AND e.id = g.id) = 0
        ORDER BY g.place RETURNING number, id
    ), placed AS (
        SELECT a.number, g.place, g.scan_id FROM added a JOIN given g ON g.id = a.id
    ), receiver AS (
        SELECT p.number, p.scan_id, w.*, count(*) OVER (
            PARTITION BY p.scan_id, w.endpoint ORDER BY p.place ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING
        ) AS later
        FROM unnest($9::bigint[], $10::text[], $11::text[], $12::text[], $13::bigint[])
            WITH ORDINALITY AS w (place, endpoint, name, subject, alone, turn) JOIN placed p ON p.place = w.place
    ), counted AS (
        INSERT INTO sequence (scan_id, endpoint, series, last)
        SELECT scan_id, endpoint, f.series, count(*) FROM receiver CROSS JOIN file f GROUP BY 1, 2, 3
        ON CONFLICT (scan_id, endpoint) DO UPDATE SET last = sequence.last + excluded.last
        RETURNING scan_id, endpoint, series, last
    ), delivered AS (
        INSERT INTO delivery
            (event, endpoint, name, series, sequence, state, due_at, accepted_at, subject, backfilled, alone)
        SELECT r.number, r.endpoint, r.name, c.series, c.last - r.later, 'waiting', $14, $14, r.subject, $15, r.alone
        FROM receiver r JOIN counted c ON c.scan_id = r.scan_id AND c.endpoint = r.endpoint ORDER BY r.turn
    )
    SELECT place FROM placed
"""
#: the endpoints that have events, each with its place
RECEIVERS = b"""
    SELECT g.place, d.endpoint
    FROM unnest($1::bigint[], $2::text[], $3::bytea[]) AS g (place, scan_id, id) LEFT JOIN scan s ON s.id = g.scan_id
    JOIN event e ON e.scan = coalesce(s.number, 0) AND e.id = g.id JOIN delivery d ON d.event = e.number
"""
#: events in one statement, and bytes of their data
MOST = 250
BYTES_MOST = 8_000_000


def insert_group(sql: ServerSession, items: Sequence[EventRow], now: float, backfilled: bool) -> int:
    """Insert events and their deliveries, as `rows.insert` does with each; return the number of new deliveries."""
    new = size = start = 0
    for at, (_, row, _) in enumerate(items):
        size += len(row[-1])
        if at - start == MOST - 1 or size > BYTES_MOST or at == len(items) - 1:
            new += _insert(sql, items[start : at + 1], now, backfilled)
            start, size = at + 1, 0
    return new


def _insert(sql: ServerSession, items: Sequence[EventRow], now: float, backfilled: bool) -> int:
    # a scan that began in another database gets a row here, but its end is not missed
    scans = {event.scan.id: event.scan for event, *_ in items if event.scan and event.scan.id not in sql.scans}
    sql.executemany(f"{ADD_SCAN} ON CONFLICT DO NOTHING", [(*astuple(scan), now, "") for scan in scans.values()])
    sql.scans.update(scans)
    first: dict[bytes, int] = {}
    for place, (_, row, _) in enumerate(items):
        first.setdefault(row[1], place)  # what comes twice is there the second time, and so is a namesake
    alone = sorted(first.values())
    *others, times, data = zip(*(storable(items[place][1]) for place in alone))
    events = (alone, *others, map(float, times), data)  # an array with integers too is not sent
    receivers = [
        (place, *storable((one.endpoint, one.name, subject)), int(items[place][0].goes_alone and not backfilled))
        for place in alone
        for subject, members in by_subject(items[place][0], items[place][2]).items()
        for one in members
    ]
    columns = [*map(list, events), *map(list, zip(*receivers))]
    found = {place for (place,) in sql.connection.execute(INSERT, (*columns, now, int(backfilled)))}
    new = sum(len(items[place][2]) for place in found)
    left = [place for place in range(len(items)) if place not in found]
    if left:
        columns = [left, *map(list, zip(*(storable(items[place][1][:2]) for place in left)))]
        known = {*sql.connection.execute(RECEIVERS, columns)}
        for event, _, wanted in (
            items[place] for place in left if {(place, one.endpoint) for one in items[place][2]} - known
        ):
            new += insert(sql, event, wanted, now, backfilled)
    return new
