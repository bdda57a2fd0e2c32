"""The scans in the outbox: a scan's start, its end and its events."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, replace

from sfwebhooks.endpoints import FINDINGS
from sfwebhooks.events import Scan, WebhookEvent, event_key_of, id_of_key
from sfwebhooks.jsontext import Stored
from sfwebhooks.outbox.accepted import AcceptedScan, accepted_scan
from sfwebhooks.outbox.database import Database
from sfwebhooks.outbox.retention import send_again
from sfwebhooks.outbox.rows import (
    ADD_SCAN,
    EVENT,
    FRESH,
    ITS_SCANS,
    LATE,
    READABLE,
    RECEIVERS,
    SCAN,
    deliveries,
    insert,
)
from sfwebhooks.outbox.scan_end import GIVEN, count, end_once, with_receipts
from sfwebhooks.outbox.scan_receipt import SENT
from sfwebhooks.outbox.selection import CHUNK, marks
from sfwebhooks.outbox.sequence_numbers import begin_series
from sfwebhooks.outbox.withholding import set_withheld
from sfwebhooks.reasons import Withheld
from sfwebhooks.retry import State
from sfwebhooks.screening import Wanted
from sfwebhooks.severity import Severity

#: state -> number of deliveries of a scan, and of all; the latter reads indexes only
OF_SCAN = f"""
    SELECT d.state, count(*) FROM event e JOIN delivery d ON d.event = e.number WHERE e.scan = {SCAN.format("?")}
    GROUP BY d.state
"""  # noqa: S608
OF_ALL = f"""
    SELECT 'waiting', count(*) FROM delivery WHERE {FRESH}
    UNION ALL SELECT 'waiting', count(*) FROM delivery WHERE {LATE}
    UNION ALL SELECT state, count(*) FROM delivery WHERE state <> 'waiting' GROUP BY state
"""  # noqa: S608
WAITING = f"""
    SELECT (SELECT count(*) FROM delivery WHERE {FRESH}) + (SELECT count(*) FROM delivery WHERE {LATE})
"""  # noqa: S608
#: types of a scan's findings and correlations
FOUND_TYPES = (*sorted(FINDINGS), "correlation_found")
FOUND = f"FROM event WHERE scan = {SCAN.format('?')} AND type IN ({marks(FOUND_TYPES)})"
#: a scan that was forgotten but for its id is known again, and one that began in another file begins
BEGIN_SCAN = f"""
    {ADD_SCAN} ON CONFLICT (id) DO UPDATE
    SET name = excluded.name, target = excluded.target, target_type = excluded.target_type, version = excluded.version,
        database = excluded.database, ended = CASE scan.ended WHEN '' THEN excluded.ended ELSE scan.ended END
    WHERE scan.database = '' OR scan.ended = ''
"""  # noqa: S608
#: the number of the event with a key, of whichever scan
OF_ANY_SCAN = f"{ITS_SCANS} SELECT e.number FROM its CROSS JOIN event e ON e.scan = its.scan AND e.id = ?"  # noqa: S608
#: a scan's columns, as those of `Scan`
COLUMNS = "id, name, target, target_type, version, database"


class Scans:
    """The scans of an outbox."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin_scan(
        self, scan: Scan, event: WebhookEvent, wanted: Sequence[Wanted], now: float, ended: str | None = None
    ) -> None:
        """Commit a scan and the event that reports its start, unless they are there.

        Args:
            ended: name of the event that reports the end, if the caller reports it and no other process may: a backfill
                of a past scan.
        """
        with self._database.writing() as sql:
            sql.execute(BEGIN_SCAN, (*astuple(scan), now, ended))
            insert(sql, event, wanted, now, backfilled=ended is not None)

    def end_scan(
        self, event: WebhookEvent, wanted: Sequence[Wanted], now: float, besides: Mapping[str, int] | None = None
    ) -> bool:
        """Commit the event that reports a scan's end; return False if another process was first.

        Each endpoint gets its receipt with it. An unknown scan began in a file that was set aside.

        Args:
            besides: endpoint -> number of its withheld events that are not findings.
        """
        with self._database.reading() as sql:
            counted = count(sql, event, besides or {})  # not while the file is locked for writing
        with self._database.writing() as sql:
            return end_once(sql, event, wanted, counted, now)

    def repeat_end(
        self, event: WebhookEvent, wanted: Sequence[Wanted], now: float, besides: Mapping[str, int] | None = None
    ) -> None:
        """Commit deliveries of a scan's reported end for endpoints that have none, as a backfill does; each gets its
        receipt."""
        with self._database.reading() as sql:
            counted = count(sql, event, besides or {})
        with self._database.writing() as sql:
            insert(sql, *with_receipts(sql, event, wanted, counted), now, backfilled=True)

    def known_events(self, scan_id: str, endpoint: str | None = None) -> set[str]:
        """Return the ids of all events of a scan, or of those that go to an endpoint."""
        query = f"SELECT id FROM event WHERE scan = {SCAN.format('?1')}"  # noqa: S608
        if endpoint is not None:
            query += " AND EXISTS (SELECT 1 FROM delivery WHERE event = event.number AND endpoint = ?2)"
        with self._database.reading() as sql:
            rows = sql.execute(query, (scan_id, endpoint) if endpoint is not None else (scan_id,))
            return {id_of_key(key) for (key,) in rows}

    def event(self, event_id: str) -> WebhookEvent | None:
        """Return an event as it was sent, without a receipt; None if it is not there."""
        with self._database.reading() as sql:
            found = [*deliveries(sql, f"WHERE d.event = ({OF_ANY_SCAN}) LIMIT 1", (event_key_of(event_id),))]
        if not found:
            return None
        event = found[0][1].event
        return replace(event, data={key: value for key, value in event.data.items() if key != SENT})

    def accepted(self, scan_id: str) -> AcceptedScan:
        """Return the accepted part of a scan. Reads all its events: not for a hot path."""
        with self._database.reading() as sql:
            return accepted_scan(sql, scan_id)

    def scan(self, scan_id: str) -> tuple[Scan, str | None] | None:
        """Return a scan with the name of the event that reported its end (None: not yet); None if it is not known."""
        with self._database.reading() as sql:
            row = sql.execute(f"SELECT {COLUMNS}, ended FROM scan WHERE id = ?", (scan_id,)).fetchone()  # noqa: S608
        return (Scan(*row[:6]), row[6]) if row and row[6] != "" else None

    def deleted(self, scan_id: str, endpoint: str) -> int:
        """Return how many of a scan's deliveries to an endpoint were deleted since the last `renumber`, for their age
        or by an operator."""
        query = (
            f"SELECT (SELECT coalesce(sum(last), 0) FROM ({GIVEN}) its) - count(*)"  # noqa: S608
            " FROM event e JOIN delivery d ON d.event = e.number"
            f" WHERE e.scan = {SCAN.format('?1')} AND d.endpoint = ?2"
        )
        with self._database.reading() as sql:
            return int(sql.execute(query, (scan_id, endpoint)).fetchone()[0])

    def renumber(self, scan_id: str, endpoint: str, end: str, now: float, interval: float) -> int:
        """Number the remaining deliveries of a scan to an endpoint in a new series, and make the settled ones due
        again, as `Retention.replay` does; return how many these are.

        Args:
            end: id of the event that reports the end; its delivery is deleted, to be created last with a new receipt.
        """
        query = (
            "SELECT d.number FROM event e JOIN delivery d ON d.event = e.number"  # noqa: S608
            f" WHERE e.scan = {SCAN.format('?')} AND d.endpoint = ? ORDER BY d.number"
        )
        with self._database.writing() as sql:
            its = f"SELECT number FROM delivery WHERE event = ({EVENT}) AND endpoint = ?3"  # noqa: S608
            given = (scan_id, event_key_of(end), endpoint)
            sql.execute(f"DELETE FROM delivery_attempt WHERE number IN ({its})", given)  # noqa: S608
            sql.execute(f"DELETE FROM delivery WHERE number IN ({its})", given)  # noqa: S608
            left = sql.execute(query, (scan_id, endpoint)).fetchall()
            series = begin_series(sql)
            sql.executemany(
                "UPDATE delivery SET series = ?, sequence = ? WHERE number = ?",
                [(series, place, number) for place, (number,) in enumerate(left, start=1)],
            )
            sql.execute("DELETE FROM earlier WHERE scan_id = ? AND endpoint = ?", (scan_id, endpoint))
            sql.execute("INSERT OR REPLACE INTO sequence VALUES (?, ?, ?, ?)", (scan_id, endpoint, series, len(left)))
            return send_again(sql, [(place, number) for place, (number,) in enumerate(left)], now, interval)

    def endpoints_of(self, event: WebhookEvent) -> set[str]:
        """Return the names of the endpoints that have a delivery of an event, in any state."""
        with self._database.reading() as sql:
            return {row[0] for row in sql.execute(RECEIVERS, (event.scan_id, event_key_of(event.id)))}

    def receivers(self, scan_id: str, event_ids: Sequence[str]) -> dict[str, set[str]]:
        """Return id -> names of the endpoints that have a delivery of it, in any state, for those of a scan's events
        that have one.

        Args:
            event_ids: at most 500.
        """
        query = (
            "SELECT e.id, d.endpoint FROM event e JOIN delivery d ON d.event = e.number"  # noqa: S608
            f" WHERE e.scan = {SCAN.format('?')} AND e.id IN ({marks(event_ids)})"
        )
        found: dict[str, set[str]] = {}
        with self._database.reading() as sql:
            for key, endpoint in sql.execute(query, [scan_id, *(event_key_of(one) for one in event_ids)]):
                found.setdefault(id_of_key(key), set()).add(endpoint)
        return found

    def number_found(self, scan_id: str) -> int:
        """Return the number of a scan's findings and correlations that are sent to an endpoint. Counts the rows."""
        query = f"SELECT count(*) {FOUND} AND EXISTS (SELECT 1 FROM delivery WHERE event = event.number)"  # noqa: S608
        with self._database.reading() as sql:
            return int(sql.execute(query, (scan_id, *FOUND_TYPES)).fetchone()[0])

    def found(self, scan_id: str) -> Iterator[WebhookEvent]:
        """Yield the accepted findings and correlations of a scan, without the scan, in order of acceptance."""
        query = f"SELECT number, id, type, severity, at, data {FOUND} AND {READABLE} AND number > ?"
        last = 0
        while True:
            with self._database.reading() as sql:
                values = (scan_id, *FOUND_TYPES, last)
                rows = sql.execute(f"{query} ORDER BY number LIMIT {CHUNK}", values).fetchall()
            for last, key, event_type, severity, at, data in rows:  # noqa: B007  # the last one is the next page's
                yield WebhookEvent(id_of_key(key), event_type, Severity(severity), at, Stored(data))
            if len(rows) < CHUNK:
                return

    def open_scans(self) -> list[Scan]:
        """Return the scans whose end is not reported."""
        with self._database.reading() as sql:
            rows = sql.execute(f"SELECT {COLUMNS} FROM scan WHERE ended IS NULL").fetchall()  # noqa: S608
        return [Scan(*row) for row in rows]

    def begun(self, after: float) -> list[tuple[Scan, float, str | None]]:
        """Return the scans that began after a time, each with that time and the name of the event that reported its
        end (None: not yet)."""
        where = "begun_at > ? AND coalesce(ended, 'none') <> ''"
        query = f"SELECT {COLUMNS}, begun_at, ended FROM scan WHERE {where} ORDER BY begun_at"  # noqa: S608
        with self._database.reading() as sql:
            rows = sql.execute(query, (after,)).fetchall()
        return [(Scan(*row[:6]), *row[6:]) for row in rows]

    def tallies(self, scan_id: str | None = None) -> dict[str, int]:
        """Return state -> number of deliveries, of one scan or of all. Counts the rows: not for a hot path."""
        found = {state.value: 0 for state in State}
        with self._database.reading() as sql:
            for state, number in sql.execute(*((OF_SCAN, (scan_id,)) if scan_id else (OF_ALL,))):
                found[state] += number
        return found

    def waiting(self) -> int:
        """Return the number of waiting deliveries of all scans. Counts indexes that have no others."""
        with self._database.reading() as sql:
            return int(sql.execute(WAITING).fetchone()[0])

    def withheld(self, scan_id: str) -> dict[str, dict[str, int]]:
        """Return endpoint -> reason -> number of a scan's events that it was not sent."""
        found: dict[str, dict[str, int]] = {}
        with self._database.reading() as sql:
            for endpoint, reason, number in sql.execute(
                "SELECT endpoint, reason, number FROM withheld WHERE scan_id = ? ORDER BY endpoint", (scan_id,)
            ):
                found.setdefault(endpoint, {})[reason] = number
        return found

    def replace_withheld(
        self,
        scan_id: str,
        endpoints: Iterable[str],
        counts: Mapping[tuple[str, Withheld], int],
        reasons: Collection[Withheld],
    ) -> None:
        """Replace a scan's counts of withheld events for some endpoints and reasons, once they are known exactly.

        Args:
            counts: (endpoint, reason) -> number; what is missing is 0.
        """
        its = (scan_id, json.dumps([*endpoints]), json.dumps([reason.value for reason in reasons]))
        with self._database.writing() as sql:
            sql.execute(
                "DELETE FROM withheld WHERE scan_id = ? AND endpoint IN (SELECT CAST(value AS TEXT) FROM json_each(?))"
                " AND reason IN (SELECT CAST(value AS TEXT) FROM json_each(?))",
                its,
            )
            set_withheld(sql, {(scan_id, *key): number for key, number in counts.items()})

    def forget_withheld(self, scan_id: str, endpoints: Iterable[str]) -> None:
        """Forget the withheld events of a scan for some endpoints: all of them are about to be offered again."""
        with self._database.writing() as sql:
            sql.executemany(
                "DELETE FROM withheld WHERE scan_id = ? AND endpoint = ?", [(scan_id, name) for name in endpoints]
            )
