"""The sightings of a target for the commands: a target and filters come in, Sightings go out.

A fingerprint has a row for each lineage. It is present if any of them has seen it in its last complete scan or since,
and gone if none has; returned if none of those that have seen it did so in their complete scan before that.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from sfwebhooks.events import WebhookEvent
from sfwebhooks.fingerprints import canonical, of_event
from sfwebhooks.outbox.database import Database, Sql
from sfwebhooks.outbox.rows import deliveries

#: dead letters of some scans
DEAD = """
    WHERE d.state <> 'waiting' AND d.state = 'dead' AND s.id IN (SELECT CAST(value AS TEXT) FROM json_each(?))
        AND d.number = (SELECT min(number) FROM delivery WHERE event = e.number AND state = 'dead')
"""


class Presence(str, Enum):
    """Whether something was found last time."""

    #: first found by the last complete scan of its target, or since
    NEW = "new"
    #: found before, and still there
    PRESENT = "present"
    #: the last complete scan of those modules that had found it did not
    GONE = "gone"
    #: it was gone in the complete scan before, and is there again
    RETURNED = "returned"


@dataclass(frozen=True)
class Sighting:
    """Something that scans of a target have found."""

    fingerprint: bytes
    #: type of the finding
    kind: str
    #: epoch seconds of the ends of the first and the last scan that saw it; of its begin if one is not over
    first_at: float
    last_at: float
    #: ids of these scans
    first_scan: str
    last_scan: str
    presence: Presence


@dataclass(frozen=True)
class Sighted:
    """A target with sightings."""

    target: str
    #: number of its scans that are recorded, or are running
    scans: int
    #: number of those that have finished; 0: its next scan is a first one
    complete: int
    #: epoch seconds of the last one's end; of its begin if it is not over
    last_at: float


@dataclass(frozen=True)
class SightingFilter:
    """Filters, all of which a sighting must pass."""

    #: None: any
    presence: Presence | None = None
    #: pattern of its type; empty: any
    kind: str = ""
    #: fingerprints; None: any
    among: frozenset[bytes] | None = None


class SightingList:
    """What the commands show. All methods raise OutboxError, as `Outbox` does."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def targets(self) -> list[Sighted]:
        """Return the targets with surveyed scans, that of the last scan first."""
        query = (
            "SELECT t.name, count(*), sum(s.complete), max(s.at) FROM surveyed s JOIN target t ON t.number = s.target"
            " GROUP BY t.number ORDER BY max(s.number) DESC"
        )
        with self._database.reading() as sql:
            return [Sighted(*row) for row in sql.execute(query)]

    def of(
        self, target: str, sought: SightingFilter, limit: int, severity_of: Callable[[str], int] = lambda kind: 0
    ) -> list[Sighting]:
        """Return the sightings of a target, those of the last scans first, of one scan the most severe first. Reads all
        of them.

        Args:
            severity_of: returns the severity of a type.
        """
        with self._database.reading() as sql:
            place = sql.execute("SELECT number FROM target WHERE name = ?", (canonical(target),)).fetchone()
            if place is None:
                return []
            its = "true" if sought.presence is None else "presence = :presence"
            worst = _worst(sql, severity_of)
            listed = "SELECT CAST(value AS TEXT) FROM json_each(:among)"
            conditions = [
                "target = :target",
                *(["kind IN (SELECT number FROM kind WHERE glob(:kind, name))"] if sought.kind else []),
                *([] if sought.among is None else [f"hex(fingerprint) IN ({listed})"]),
            ]
            if sought.presence is None:  # else all must be grouped, which takes five times as long
                latest = (
                    f"SELECT fingerprint FROM sighting WHERE {' AND '.join(conditions)}"  # noqa: S608
                    f" ORDER BY last DESC, {worst} DESC, fingerprint"
                )
                lines = "SELECT :limit * (1 + count(DISTINCT lineage)) FROM surveyed WHERE target = :target"
                conditions.append(f"fingerprint IN ({latest} LIMIT ({lines}))")
            query = (
                "SELECT fingerprint, k.name, f.at, l.at, f.scan_id, l.scan_id, presence FROM ("  # noqa: S608
                "SELECT * FROM (SELECT fingerprint, min(kind) AS kind, min(first) AS first, max(last) AS last,"
                f" {_presence(sql, place[0])} AS presence"
                f" FROM sighting WHERE {' AND '.join(conditions)} GROUP BY fingerprint) g WHERE {its}"
                f" ORDER BY last DESC, {worst} DESC, fingerprint LIMIT :limit) s"
                " JOIN kind k ON k.number = s.kind JOIN surveyed f ON f.number = s.first"
                f" JOIN surveyed l ON l.number = s.last ORDER BY s.last DESC, {worst} DESC, fingerprint"
            )
            among = sought.among or ()
            values = {
                "target": place[0],
                "kind": sought.kind,
                "among": json.dumps([one.hex().upper() for one in among]),
                "presence": sought.presence and sought.presence.value,
                "limit": limit,
            }
            rows = sql.execute(query, values).fetchall()
        return [Sighting(*(*row[:-1], Presence(row[-1]))) for row in rows]

    def beginning(self, digits: str, target: str | None = None) -> list[tuple[str, bytes, str]]:
        """Return target, fingerprint and type of what was seen and has a fingerprint that begins with some hexadecimal
        digits."""
        low, high = (bytes.fromhex(digits.ljust(32, rest)) for rest in "0f")
        query = (
            "SELECT DISTINCT t.name, s.fingerprint, k.name FROM target t"
            " CROSS JOIN sighting s ON s.target = t.number AND s.fingerprint BETWEEN ?1 AND ?2"
            " JOIN kind k ON k.number = s.kind WHERE ?3 IS NULL OR t.name = ?3"
        )
        named = None if target is None else canonical(target)
        with self._database.reading() as sql:
            return sql.execute(query, (low, high, named)).fetchall()

    def undelivered(self, target: str) -> frozenset[bytes]:
        """Return the fingerprints of what died on its way to an endpoint, as far as the dead letters are kept."""
        name = canonical(target)
        with self._database.reading() as sql:
            scans = [scan for scan, its in sql.execute("SELECT id, target FROM scan") if canonical(its) == name]
            dead = [delivery.event for _, delivery in deliveries(sql, DEAD, (json.dumps(scans),))]
        return frozenset(filter(None, map(_fingerprint, dead)))


def _fingerprint(event: WebhookEvent) -> bytes | None:
    try:
        return of_event(event)
    except ValueError:  # its data are not JSON
        return None


def _worst(sql: Sql, severity_of: Callable[[str], int]) -> str:
    """Return SQL for the severity of a row's type."""
    numbers: dict[int, list[str]] = {}
    for number, name in sql.execute("SELECT number, name FROM kind"):
        numbers.setdefault(severity_of(name), []).append(str(number))
    cases = " ".join(f"WHEN kind IN ({', '.join(those)}) THEN {severity}" for severity, those in numbers.items())
    return f"CASE {cases} END" if cases else "NULL"


def _presence(sql: Sql, target: int) -> str:
    """Return SQL for the presence of a fingerprint, over its rows.

    Numbers of scans stand in it, of which a target has few: to look them up for each row would take seconds.
    """
    running = sql.execute("SELECT number FROM surveyed WHERE target = ? AND place IS NULL", (target,)).fetchall()
    # rows of what was sent as new and is recorded by no scan yet, or never
    words = {0: f"CASE WHEN last NOT IN ({', '.join(str(number) for (number,) in running)}) THEN 0 ELSE 2 END"}
    words |= {line: _row_presence(sql, target, line) for line in _lineages(sql, target)}
    cases = " ".join(f"WHEN {line} THEN {case}" for line, case in words.items())
    best = f"max(CASE lineage {cases} ELSE 2 END)"
    row = sql.execute(
        "SELECT number, is_first FROM surveyed WHERE target = ? AND complete = 1 ORDER BY place DESC LIMIT 1", (target,)
    ).fetchone()
    new = f"min(first) >= {row[0]}" if row and not row[1] else "false"
    return (
        f"CASE {best} WHEN 0 THEN '{Presence.GONE.value}' ELSE CASE WHEN {new} THEN '{Presence.NEW.value}'"
        f" WHEN {best} = 1 THEN '{Presence.RETURNED.value}' ELSE '{Presence.PRESENT.value}' END END"
    )


def _lineages(sql: Sql, target: int) -> list[int]:
    query = "SELECT DISTINCT lineage FROM surveyed WHERE target = ? AND lineage <> 0 AND complete = 1"
    return [line for (line,) in sql.execute(query, (target,))]


def _row_presence(sql: Sql, target: int, line: int) -> str:
    """Return SQL for a row of a lineage that has a complete scan: 0 gone, 1 returned, 2 present."""
    query = "SELECT number, place FROM surveyed WHERE target = ? AND lineage = ? AND complete = 1 ORDER BY place DESC"
    (last, place), *before = sql.execute(f"{query} LIMIT 2", (target, line)).fetchall()
    since = "SELECT number FROM surveyed WHERE target = ? AND lineage = ? AND (place IS NULL OR place >= ?)"
    numbers = ", ".join(str(number) for (number,) in sql.execute(since, (target, line, place)))
    # without one before, nobody knows whether it was gone
    returned = f"last = {last} AND whole NOT IN (0, {before[0][0]}) OR" if before else ""
    return (
        f"CASE WHEN last NOT IN ({numbers}) AND whole <> {last} THEN 0"
        f" WHEN {returned} last <> {last} AND whole NOT IN (0, {last}) THEN 1 ELSE 2 END"
    )
