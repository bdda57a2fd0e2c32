"""The scans of an outbox as people look at them: a place in their list, or an id, comes in; scans with their ends,
counts and steps go out.

`scans` has what scans themselves and recovery ask.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sfwebhooks.endpoints import FINDINGS
from sfwebhooks.errors import SelectionError
from sfwebhooks.events import Scan, WebhookEvent, event_key_of, id_of_key, lifecycle_id, printable
from sfwebhooks.jsontext import Stored
from sfwebhooks.outbox.database import Database, Sql
from sfwebhooks.outbox.rows import EVENT, READABLE, SCAN
from sfwebhooks.outbox.scan_receipt import STORED
from sfwebhooks.outbox.selection import chunks_of, marks
from sfwebhooks.retry import State
from sfwebhooks.severity import Severity

#: characters of an unknown id that an error repeats
SHOWN_MAX = 100
#: most steps of a scan that are returned, those of its progress among them
STEPS_MAX = 500
PROGRESS_MAX = 60
PROGRESS = "scan_progress"
#: most of the time that counting takes, and that of scans with nothing to come
COUNT_SHARE = 0.1
SETTLED_SHARE = 0.01
#: scans whose counts are known
COUNTS_MAX = 1000
STATES = [state.value for state in State]
NONE = dict.fromkeys(STATES, 0)
TEXTS = ("id", "name", "target", "target_type", "version", "database")
#: scans of this file (?) whose rows are whole and not forgotten, and when the comparison of their findings says that
#: they ended
SELECT = f"""
    SELECT s.number, {", ".join(f"s.{name}" for name in TEXTS)}, s.begun_at + 0.0, s.ended,
           (SELECT at + 0.0 FROM surveyed WHERE scan_id = s.id AND place IS NOT NULL)
    FROM scan s
    WHERE coalesce(s.ended, 'none') <> '' AND s.database <> ''
        AND {" AND ".join(f"typeof(s.{name}) = 'text'" for name in TEXTS)}
        AND typeof(s.begun_at) = 'real' AND typeof(coalesce(s.ended, '')) = 'text'
"""  # noqa: S608
#: of scans, the number of deliveries in each state; grouped by the scan alone they need no sorting
COUNTS = f"""
    SELECT e.scan, {", ".join(f"count(*) FILTER (WHERE d.state = '{state.value}')" for state in State)}
    FROM event e CROSS JOIN delivery d ON d.event = e.number WHERE e.scan IN ({{0}}) GROUP BY 1
"""  # noqa: S608
#: what reported the end of a scan (?1), and when that was, by the key of its event (?2)
REPORTED = f"SELECT at + 0.0, json_extract(data, '$.reason') FROM event WHERE number = ({EVENT}) AND {READABLE}"  # noqa: S608
#: types of events that are not steps
OTHERS = json.dumps(sorted(FINDINGS))
STEPS = f"""
    SELECT number, type FROM event
    WHERE scan = {SCAN.format("?")} AND type NOT IN (SELECT CAST(value AS TEXT) FROM json_each(?)) ORDER BY number
"""  # noqa: S608
SEVERITIES = f"""
    SELECT severity, count(*) FROM event
    WHERE scan = {SCAN.format("?")} AND type IN (SELECT CAST(value AS TEXT) FROM json_each(?)) GROUP BY 1
"""  # noqa: S608


@dataclass(frozen=True)
class ListedScan:
    """A scan in a list."""

    scan: Scan
    #: epoch seconds
    began_at: float
    #: name of the event that reported its end; None: none did
    ended: str | None = None
    #: epoch seconds of its end; None: it has not ended, or that is no longer known
    ended_at: float | None = None
    #: why another process reported it; empty: its own did, or that is no longer known
    reason: str = ""
    #: whether its process lives, as far as this user can see
    is_alive: bool = False
    #: state -> number of its deliveries
    deliveries: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Steps:
    """The events of a scan that are not findings."""

    #: in the order of acceptance
    events: Sequence[WebhookEvent]
    #: number of further ones, of which there are too many
    missing: int = 0


class ScanCounts:
    """Counts the deliveries of scans, for any threads.

    That takes a small part of the time: what took long to count is not counted again at once, however often it is asked
    for, and one thread counts at a time. A scan that has ended and has nothing waiting changes only by a replay, a
    backfill or a deletion, so it is counted even less often.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        #: series of an outbox and number of a scan -> monotonic seconds until which its counts are used, and these
        self._known: dict[tuple[int, int], tuple[float, Mapping[str, int]]] = {}

    def of(self, sql: Sql, scans: Mapping[int, bool]) -> Mapping[int, Mapping[str, int]]:
        """Return number of a scan -> state -> number of its deliveries.

        Args:
            scans: number of each scan -> whether it has ended.
        """
        if not scans:
            return {}
        series = sql.execute("SELECT series FROM file").fetchone()[0]
        found = self._remembered(series, scans)
        if len(found) < len(scans):
            with self._lock:
                found = self._remembered(series, scans)
                found.update(self._count(sql, series, {number: scans[number] for number in scans.keys() - found}))
        return found

    def forget(self) -> None:
        """Count all scans again when they are asked for: deliveries were replayed or deleted."""
        with self._lock:
            self._known.clear()

    def _remembered(self, series: int, numbers: Iterable[int]) -> dict[int, Mapping[str, int]]:
        now, known = time.monotonic(), {number: self._known.get((series, number)) for number in numbers}
        return {number: its[1] for number, its in known.items() if its and now < its[0]}

    def _count(self, sql: Sql, series: int, scans: Mapping[int, bool]) -> dict[int, Mapping[str, int]]:
        begin = time.monotonic()
        rows = sql.execute(COUNTS.format(marks(scans)), [*scans]).fetchall()
        end = time.monotonic()
        counts: dict[int, Mapping[str, int]] = dict.fromkeys(scans, NONE)
        counts.update((number, dict(zip(STATES, its))) for number, *its in rows)
        for number, its in counts.items():
            is_settled = scans[number] and not its[State.WAITING.value]
            self._known.pop((series, number), None)
            self._known[series, number] = end + (end - begin) / (SETTLED_SHARE if is_settled else COUNT_SHARE), its
        for oldest in [*self._known][:-COUNTS_MAX]:
            del self._known[oldest]
        return counts


class ScanList:
    """The list of scans. All methods raise OutboxError.

    Args:
        counts: those that were counted before.
    """

    def __init__(self, database: Database, counts: ScanCounts | None = None) -> None:
        self._database = database
        self._counts = counts or ScanCounts()

    def scans(self, limit: int, after: str = "") -> list[ListedScan]:
        """Return scans, the last accepted first.

        Args:
            after: id of the scan after which the list goes on; empty: from its beginning.

        Raises:
            SelectionError: there is no scan with that id.
        """
        with self._database.reading() as sql:
            last = sql.execute("SELECT number FROM scan WHERE id = ?", (after,)).fetchone() if after else None
            if after and last is None:
                raise SelectionError(f'the outbox has no scan "{printable(after[:SHOWN_MAX])}" to go on from')
            also, values = ("AND s.number < ?", (last[0], limit)) if last else ("", (limit,))
            rows = sql.execute(f"{SELECT} {also} ORDER BY s.number DESC LIMIT ?", values).fetchall()
            return self._listed(sql, rows)

    def scan(self, scan_id: str) -> ListedScan | None:
        """Return a scan; None if it is not known."""
        with self._database.reading() as sql:
            rows = sql.execute(f"{SELECT} AND s.id = ?", (scan_id,)).fetchall()
            return next(iter(self._listed(sql, rows)), None)

    def steps(self, scan: Scan) -> Steps:
        """Return the steps of a scan: the last ones, and its progress in PROGRESS_MAX. Reads all its events once."""
        with self._database.reading() as sql:
            found = sql.execute(STEPS, (scan.id, OTHERS)).fetchall()
            progress = [number for number, kind in found if kind == PROGRESS]
            others = [number for number, kind in found if kind != PROGRESS]
            chosen = sorted([*_thinned(progress, PROGRESS_MAX), *others[-(STEPS_MAX - PROGRESS_MAX) :]])
            events = [event for chunk in chunks_of(chosen) for event in _events(sql, scan, chunk)]
        return Steps(events, len(found) - len(chosen))

    def severities(self, scan_id: str) -> dict[Severity, int]:
        """Return severity -> number of a scan's findings that are sent to an endpoint. Reads all its events."""
        known = {int(severity): severity for severity in Severity}
        with self._database.reading() as sql:
            rows = sql.execute(SEVERITIES, (scan_id, OTHERS)).fetchall()
        return {known[number]: count for number, count in rows if number in known}

    def receipts(self, scan_id: str) -> dict[str, Any]:
        """Return endpoint -> its receipt of a scan; empty before its end."""
        end = (scan_id, event_key_of(lifecycle_id(scan_id, "ended")))
        query = f"SELECT json_extract(data, '$.{STORED}') FROM event WHERE number = ({EVENT}) AND {READABLE}"  # noqa: S608
        with self._database.reading() as sql:
            row = sql.execute(query, end).fetchone()
        found = json.loads(row[0]) if row and isinstance(row[0], str) else {}
        return found if isinstance(found, dict) else {}

    def _listed(self, sql: Sql, rows: Sequence[Sequence[Any]]) -> list[ListedScan]:
        counts = self._counts.of(sql, {row[0]: row[-2] is not None for row in rows})
        locks = self._database.locks
        sees_locks = locks.are_readable
        made = []
        for number, *values, began_at, ended, surveyed_at in rows:
            one = ListedScan(Scan(*values), began_at, ended, surveyed_at, deliveries=counts[number])
            if ended is None:
                made.append(replace(one, is_alive=not (sees_locks and locks.scan(one.scan.id).is_free)))
                continue
            end = (one.scan.id, event_key_of(lifecycle_id(one.scan.id, "ended")))
            at, reason = sql.execute(REPORTED, end).fetchone() or (surveyed_at, "")
            made.append(replace(one, ended_at=at, reason=reason if isinstance(reason, str) else ""))
        return made


def _thinned(numbers: Sequence[int], most: int) -> Sequence[int]:
    """Return at most `most` of some numbers, evenly chosen, the last one among them."""
    step = -(-len(numbers) // most) or 1
    return numbers[::-1][::step]


def _events(sql: Sql, scan: Scan, numbers: Sequence[int]) -> Iterator[WebhookEvent]:
    """Yield events of a scan, without the receipts; damaged ones are omitted."""
    query = f"SELECT id, type, severity, at, data FROM event WHERE number IN ({marks(numbers)}) AND {READABLE}"  # noqa: S608
    known = {int(severity): severity for severity in Severity}
    for key, kind, severity, at, data in sql.execute(f"{query} ORDER BY number", numbers):
        is_ours = isinstance(key, bytes) and len(key) == len(bytes(16)) and isinstance(kind, str)
        if is_ours and isinstance(at, float) and severity in known:
            content = {name: value for name, value in Stored(data).items() if name != STORED}
            yield WebhookEvent(id_of_key(key), kind, known[severity], at, content, scan)
