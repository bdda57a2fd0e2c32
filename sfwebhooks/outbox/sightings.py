"""Sightings: the fingerprints of what each scan of a target found come in; what is new, gone, known or muted goes out.

There is one row for each target, fingerprint and lineage (`fingerprints.lineage_of`), without data. Accepting a finding
writes one only if it is sent as new (`newness`); at a scan's end all of the scan's findings are recorded, whichever
process does that: `record`, then `finish`.

A scan is compared with the last complete one of its lineage: what other modules would have found is never gone. A row
names three scans: the first and the last that saw it, and the last complete one before `last`. So a scan that is
recorded changes a row once, and what the scan before it saw is still known.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

from sfwebhooks.errors import OutboxReplacedError, TargetBusyError
from sfwebhooks.fingerprints import VERSION, canonical
from sfwebhooks.outbox.bulk import change_in_chunks, changes
from sfwebhooks.outbox.database import Database, Sql
from sfwebhooks.outbox.erasure import note_deletion
from sfwebhooks.outbox.selection import CHUNK, marks

#: a fingerprint, and the type of what has it
Seen = tuple[bytes, str]
#: why a scan cannot be compared, besides the reason of one that is not complete (aborted, failed, died)
FIRST_SCAN, OTHER_MODULES, DIED = "first_scan", "other_modules", "died"
#: sightings that are read at once to be deleted
FORGET_MOST = 20_000
BEGIN = """
    INSERT INTO surveyed (scan_id, target, is_first, at)
    SELECT ?1, ?2, CASE WHEN EXISTS (SELECT 1 FROM surveyed WHERE target = ?2 AND complete = 1) THEN 0 ELSE 1 END, ?3
"""
#: the row of a scan (?5) is the last one that is written: another scan that saw it meanwhile is not forgotten
SEE = f"""
    INSERT INTO sighting (target, fingerprint, lineage, kind, version, first, last, whole)
    VALUES (?1, ?2, ?3, (SELECT number FROM kind WHERE name = ?4), {VERSION}, ?5, ?5, 0)
    ON CONFLICT (target, fingerprint, lineage) DO UPDATE SET last = ?5, whole = CASE
        WHEN EXISTS (SELECT 1 FROM surveyed WHERE number = sighting.last AND complete = 1) THEN sighting.last
        ELSE sighting.whole END
    WHERE sighting.last <> ?5
"""  # noqa: S608
#: what was sent as new, and is now recorded in its scan's lineage. If a scan at the same time was recorded before, the
#: row there names that one as the first: then this one still says to it that another has sent it
SENT_AS_NEW = """
    DELETE FROM sighting WHERE target = ?1 AND fingerprint = ?2 AND lineage = 0 AND first = ?3 AND EXISTS (
        SELECT 1 FROM sighting WHERE target = ?1 AND fingerprint = ?2 AND lineage = ?4 AND first = ?3)
"""
#: other scans (not ?3) of a target (?1) and a lineage (?2) that are recorded just now, or were after one (?4) ended
OTHERS = "FROM surveyed WHERE target = ?1 AND lineage = ?2 AND number <> ?3 AND"
#: what a scan (?3) saw and another (?4) did not, then the opposite
NEW = "last = ?3 AND whole <> ?4"
GONE = "last <> ?3 AND (last = ?4 OR whole = ?4)"
#: scans that were over before a time (?1), of targets of which none is running
OLD = """
    FROM surveyed s WHERE at < ?1 AND kept = 1 AND NOT EXISTS (
        SELECT 1 FROM surveyed o JOIN scan ON scan.id = o.scan_id WHERE o.target = s.target AND scan.ended IS NULL)
"""


@dataclass(frozen=True)
class Surface:
    """What a scan found, compared with the one before."""

    #: id of the scan with which it was compared; None: with none
    previous: str | None = None
    #: epoch seconds of that one's end
    previous_at: float = 0.0
    #: found now and not then
    new: tuple[Seen, ...] = ()
    #: found then and not now
    gone: tuple[Seen, ...] = ()
    #: epoch seconds of the end of the first scan of an unbroken line that found the same as this one; None: it differs
    unchanged_since: float | None = None
    #: first_scan, other_modules, aborted, failed, died; empty: it was compared
    not_comparable: str = ""


@dataclass(frozen=True)
class Mute:
    """A finding that is not sent."""

    target: str
    fingerprint: bytes
    #: empty: to no endpoint
    endpoint: str
    kind: str
    #: epoch seconds; None: until it is removed
    until: float | None
    #: epoch seconds at which it was set
    at: float


@dataclass(frozen=True)
class _Scan:
    """A row of `surveyed`."""

    number: int
    scan_id: str
    target: int
    is_first: int
    lineage: int | None
    place: int | None
    complete: int
    at: float
    kept: int
    not_comparable: str
    previous: int | None
    unchanged_since: float | None


class Sightings:
    """The sightings of an outbox. All methods raise OutboxError, as `Outbox` does."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, scan_id: str, target: str, lineage: bytes, found: Iterable[Seen], now: float) -> None:
        """Record what a scan that is over has found; `finish` has to follow, in the same process.

        What a killed process has recorded is recorded again. Of a scan that `finish` knows nothing is recorded.

        Args:
            target: as in `Scan`.
            lineage: of the scan's modules.
            found: fingerprints with their types, read only as far as they are recorded; repeats do not matter.
            now: epoch seconds.

        Raises:
            TargetBusyError: another scan of the target, with the same modules, is being recorded by its process.
            OutboxReplacedError: the outbox was replaced meanwhile.
        """
        with self._database.writing() as sql:
            generation = self._database.number
            mine = scan_row(sql, scan_id) or begun(sql, scan_id, target, now)
            if mine.place is not None:
                return
            line = number_of(sql, "lineage", "modules", lineage)
            others = sql.execute(f"SELECT scan_id {OTHERS} place IS NULL", (mine.target, line, mine.number))
            for (other,) in others.fetchall():
                if not self._database.locks.scan(other).is_free:
                    raise TargetBusyError(f"outbox {self._database.where}: scan {other} of {target} is being recorded")
            sql.execute("UPDATE surveyed SET lineage = ?, kept = 1 WHERE number = ?", (line, mine.number))
        for _ in changes(self._database, generation, found, partial(_see, place=(mine.target, line, mine.number))):
            pass
        if self._database.number != generation:
            raise OutboxReplacedError(f"outbox {self._database.where} was replaced")

    def finish(self, scan_id: str, complete: bool, reason: str, at: float) -> Surface:
        """Compare a recorded scan with the last complete one of its target and lineage.

        Later scans are not compared with one that is not complete; if it is its target's first, it leaves no sightings.
        Asked again, the answer is the same, unless another scan was recorded meanwhile: then it is not comparable
        (died).

        Args:
            complete: whether it has finished.
            reason: why it is not complete: aborted, failed, died.
            at: epoch seconds of its end.

        Raises:
            OutboxReplacedError: it is not recorded: the outbox was replaced.
        """
        with self._database.reading() as sql:
            mine = scan_row(sql, scan_id)
            if mine is None or mine.lineage is None:
                raise OutboxReplacedError(f"outbox {self._database.where} was replaced")
            if mine.place is not None:
                return _answered(sql, mine)
            before, why = _comparable(sql, mine) if complete else (None, reason)
            has_base = _has_complete(sql, mine.target)
            new, gone = _differences(sql, mine, before.number) if before else ((), ())
        if not complete and not has_base:
            self._forget(mine)
        since = (before.unchanged_since or before.at) if before and not new and not gone else None
        values = (complete, at, why, before and before.number, since, mine.number)
        with self._database.writing() as sql:
            sql.execute(
                "UPDATE surveyed SET place = (SELECT coalesce(max(place), 0) + 1 FROM surveyed), complete = ?, at = ?,"
                " not_comparable = ?, previous = ?, unchanged_since = ? WHERE number = ? AND place IS NULL",
                values,
            )
        return Surface(*_named(before), new, gone, since, why)

    def is_first(self, scan_id: str, target: str) -> bool:
        """Return whether a scan is its target's baseline: no scan of it had finished when it began."""
        with self._database.reading() as sql:
            mine = scan_row(sql, scan_id)
            return bool(mine.is_first) if mine else not _has_complete(sql, _target(sql, target))

    def known(self, scan_id: str, target: str, found: Collection[bytes]) -> set[bytes]:
        """Return those of some fingerprints that were seen before a scan, in any lineage.

        The answer is the same before `record` and after it.
        """
        query = "SELECT fingerprint FROM sighting WHERE target = ? AND first <> ? AND fingerprint IN ({})"
        seen, left = set[bytes](), iter(sorted(found))  # neighbours share pages
        with self._database.reading() as sql:
            mine = scan_row(sql, scan_id)
            given = (_target(sql, target), mine.number if mine else 0)
            while chunk := [*islice(left, CHUNK)]:
                seen.update(row[0] for row in sql.execute(query.format(marks(chunk)), (*given, *chunk)))
        return seen

    def mutes(self, now: float, target: str | None = None) -> list[Mute]:
        """Return the mutes in force, of one target or of all."""
        query = """
            SELECT t.name, m.fingerprint, m.endpoint, k.name, m.until, m.at
            FROM mute m JOIN target t ON t.number = m.target JOIN kind k ON k.number = m.kind
            WHERE (m.until IS NULL OR m.until > ?1) AND (?2 IS NULL OR t.name = ?2) ORDER BY t.name, m.at
        """
        with self._database.reading() as sql:
            named = None if target is None else canonical(target)
            return [Mute(*row) for row in sql.execute(query, (now, named))]

    def mute(self, target: str, finding: Seen, endpoint: str, until: float | None, now: float) -> None:
        """Withhold a finding of a target, from now on.

        Args:
            endpoint: from which; empty: from all.
            until: epoch seconds; None: until it is removed.
        """
        found, kind = finding
        with self._database.writing() as sql:
            place = number_of(sql, "target", "name", canonical(target))
            values = (place, found, endpoint, number_of(sql, "kind", "name", kind), until, now)
            sql.execute("INSERT OR REPLACE INTO mute VALUES (?, ?, ?, ?, ?, ?)", values)

    def unmute(self, target: str, fingerprint: bytes, endpoint: str | None = None) -> int:
        """Remove the mutes of a finding, or that for one endpoint (empty: that for all); return how many."""
        query = "DELETE FROM mute WHERE target = ?1 AND fingerprint = ?2 AND (?3 IS NULL OR endpoint = ?3)"
        with self._database.writing() as sql:
            return sql.execute(query, (_target(sql, target), fingerprint, endpoint)).rowcount

    def prune(self, now: float, keep: float, chunks: int) -> int:
        """Forget the sightings of scans that ended long ago, and mutes that are over; return how many sightings.

        A target whose complete scans are all forgotten has no baseline: its next scan is a first one. While a scan of a
        target runs, nothing of it is forgotten.

        Args:
            now: epoch seconds.
            keep: seconds for which a sighting stays after its last scan.
            chunks: most chunks of 500 to delete.
        """
        with self._database.writing() as sql:
            sql.execute("DELETE FROM mute WHERE until < ?", (now,))
            # before its rows: a scan that begins meanwhile must find all of them or no baseline
            sql.execute(f"UPDATE surveyed SET complete = 0 WHERE number IN (SELECT number {OLD})", (now - keep,))  # noqa: S608
        with self._database.sparing():
            most = chunks * CHUNK
            pruned = change_in_chunks(self._database, partial(_old, before=now - keep, most=most), _drop)
            if pruned < most:
                with self._database.writing() as sql:
                    if _forget_scans(sql, now - keep):
                        note_deletion(sql, now)
        return pruned

    def _forget(self, mine: _Scan) -> None:
        """Delete the sightings that only a scan has seen."""
        query = (
            "SELECT target, fingerprint, lineage, last FROM sighting"  # noqa: S608
            f" WHERE target = ? AND first = ? AND last = first LIMIT {FORGET_MOST}"
        )
        while change_in_chunks(
            self._database, lambda sql: sql.execute(query, (mine.target, mine.number)).fetchall(), _drop
        ):
            pass


def number_of(sql: Sql, table: str, column: str, value: str | bytes) -> int:
    """Return the number of a value in a table of values, which it may be new to."""
    sql.execute(f"INSERT INTO {table} ({column}) VALUES (?) ON CONFLICT DO NOTHING", (value,))  # noqa: S608
    return int(sql.execute(f"SELECT number FROM {table} WHERE {column} = ?", (value,)).fetchone()[0])  # noqa: S608


def scan_row(sql: Sql, scan_id: str) -> _Scan | None:
    """Return the row of a scan, None if it has none yet."""
    row = sql.execute("SELECT * FROM surveyed WHERE scan_id = ?", (scan_id,)).fetchone()
    return _Scan(*row) if row else None


def begun(sql: Sql, scan_id: str, target: str, now: float) -> _Scan:
    """Insert the row of a scan and return it."""
    sql.execute(BEGIN, (scan_id, number_of(sql, "target", "name", canonical(target)), now))
    row = sql.execute("SELECT * FROM surveyed WHERE scan_id = ?", (scan_id,)).fetchone()
    return _Scan(*row)


def _target(sql: Sql, target: str) -> int:
    row = sql.execute("SELECT number FROM target WHERE name = ?", (canonical(target),)).fetchone()
    return row[0] if row else 0


def _has_complete(sql: Sql, target: int) -> bool:
    return sql.execute("SELECT 1 FROM surveyed WHERE target = ? AND complete = 1", (target,)).fetchone() is not None


def _see(sql: Sql, chunk: Sequence[Seen], place: tuple[int, int, int]) -> int:
    """Record what a scan has found; `place` is its target, its lineage and its number."""
    target, line, number = place
    kinds = [(kind,) for kind in {kind for _, kind in chunk}]
    sql.executemany("INSERT INTO kind (name) VALUES (?) ON CONFLICT DO NOTHING", kinds)
    ordered = sorted(chunk)  # neighbours share pages
    sql.executemany(SEE, [(target, found, line, kind, number) for found, kind in ordered])
    return sql.executemany(SENT_AS_NEW, [(target, found, number, line) for found, _ in ordered]).rowcount


def _comparable(sql: Sql, mine: _Scan) -> tuple[_Scan | None, str]:
    """Return the scan with which a complete one is compared, or why there is none."""
    query = "SELECT * FROM surveyed WHERE target = ? AND lineage = ? AND complete = 1 ORDER BY place DESC LIMIT 1"
    row = sql.execute(query, (mine.target, mine.lineage)).fetchone()
    if row:
        return _Scan(*row), ""
    return None, OTHER_MODULES if _has_complete(sql, mine.target) else FIRST_SCAN


def _differences(sql: Sql, mine: _Scan, before: int) -> tuple[tuple[Seen, ...], tuple[Seen, ...]]:
    """Return what a scan saw and an earlier one did not, and the opposite."""
    names = dict(sql.execute("SELECT number, name FROM kind"))  # one text for each type: there may be millions of rows
    query = "SELECT fingerprint, kind FROM sighting WHERE target = ?1 AND lineage = ?2 AND"
    given = (mine.target, mine.lineage, mine.number, before)
    new, gone = (
        tuple((found, names[kind]) for found, kind in sql.execute(f"{query} {which}", given)) for which in (NEW, GONE)
    )
    return new, gone


def _answered(sql: Sql, mine: _Scan) -> Surface:
    """Return the answer that `finish` gave before."""
    row = sql.execute("SELECT * FROM surveyed WHERE number = ?", (mine.previous,)).fetchone()
    if row is None:
        return Surface(not_comparable=mine.not_comparable or DIED)
    others = sql.execute(
        f"SELECT 1 {OTHERS} (place IS NULL OR place > ?4)", (mine.target, mine.lineage, mine.number, mine.place)
    )
    if others.fetchone():
        return Surface(not_comparable=DIED)
    before = _Scan(*row)
    return Surface(*_named(before), *_differences(sql, mine, before.number), mine.unchanged_since)


def _named(scan: _Scan | None) -> tuple[str | None, float]:
    return (scan.scan_id, scan.at) if scan else (None, 0.0)


def _old(sql: Sql, before: float, most: int) -> list[tuple[Any, ...]]:
    """Return rows of `sighting` whose last scan was over before a time: (target, fingerprint, lineage, last)."""
    query = (
        "SELECT target, fingerprint, lineage, last FROM sighting WHERE target = ?2"  # noqa: S608
        f" AND last IN (SELECT number {OLD} AND target = ?2) LIMIT ?3"
    )
    found: list[tuple[Any, ...]] = []
    for (target,) in sql.execute(f"SELECT DISTINCT target {OLD}", (before,)).fetchall():
        found += sql.execute(query, (before, target, most - len(found)))
    return found


def _drop(sql: Sql, chunk: Sequence[tuple[Any, ...]]) -> int:
    """Delete rows of `sighting` that no scan has seen since they were found."""
    query = "DELETE FROM sighting WHERE target = ? AND fingerprint = ? AND lineage = ? AND last = ?"
    return sql.executemany(query, chunk).rowcount


def _forget_scans(sql: Sql, before: float) -> int:
    """Note that scans are no longer the last ones of any sighting, and forget a target, with its scans, of which there
    are neither sightings nor mutes; return the number of forgotten targets."""
    old = [target for (target,) in sql.execute(f"SELECT DISTINCT target {OLD}", (before,))]
    sql.execute(f"UPDATE surveyed SET kept = 0 WHERE number IN (SELECT number {OLD})", (before,))  # noqa: S608
    forgotten = 0
    for target in old:
        if sql.execute("SELECT 1 FROM sighting WHERE target = ? LIMIT 1", (target,)).fetchone() is None:
            sql.execute("DELETE FROM surveyed WHERE target = ? AND kept = 0", (target,))
            unused = (
                "DELETE FROM target WHERE number = ?1 AND NOT EXISTS (SELECT 1 FROM surveyed WHERE target = ?1)"
                " AND NOT EXISTS (SELECT 1 FROM mute WHERE target = ?1)"
            )
            forgotten += sql.execute(unused, (target,)).rowcount
    return forgotten
