"""What is moved: the tables of an outbox file in their order, and what becomes of a row that the server has already.

Those whose rows are known by a number come first: others name these numbers, which differ on the server. Events,
deliveries and attempts come last (`transfer`): from then on they are sent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

from sfwebhooks.outbox.counting import ADD
from sfwebhooks.outbox.schema import TABLES
from sfwebhooks.outbox.totals import ALL

COLUMN = re.compile(r"^\s*(\w+)\s+(INTEGER|REAL|TEXT|BLOB)\b(.*)$", re.MULTILINE)
#: tables whose rows are named by their number, and by what a row is known on both sides
KEYS = {"series": "name", "scan": "id", "target": "name", "lineage": "modules", "kind": "name", "surveyed": "scan_id"}
#: counts of attempts with those of the attempts that are not counted yet, each key once
TALLIES = f"""
    WITH its (endpoint, what, reason, seconds_to, waited_to, number, seconds, waited, last_at) AS ({ALL})
    SELECT endpoint, what, reason, seconds_to, waited_to, sum(number), sum(seconds), sum(waited), max(last_at)
    FROM its GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5
"""  # noqa: S608
#: the scan that ended later, of two numbers
LATER = "(SELECT number FROM surveyed WHERE number IN ({0}, {1}) ORDER BY at {2} LIMIT 1)"
LAST = LATER.format("sighting.last", "excluded.last", "DESC")
#: of a scan that only one side knew to have ended, or to be its own
SCAN = """DO UPDATE SET
    ended = CASE WHEN scan.ended = '' THEN excluded.ended WHEN excluded.ended = '' THEN scan.ended
        ELSE coalesce(scan.ended, excluded.ended) END,
    name = CASE scan.database WHEN '' THEN excluded.name ELSE scan.name END,
    target = CASE scan.database WHEN '' THEN excluded.target ELSE scan.target END,
    target_type = CASE scan.database WHEN '' THEN excluded.target_type ELSE scan.target_type END,
    database = CASE scan.database WHEN '' THEN excluded.database ELSE scan.database END"""
#: seen first by the one scan and last by the other one
SIGHTING = f"""DO UPDATE SET
    first = {LATER.format("sighting.first", "excluded.first", "ASC")}, last = {LAST},
    whole = coalesce((
        SELECT number FROM surveyed WHERE complete = 1 AND number <> {LAST}
            AND number IN (sighting.last, sighting.whole, excluded.last, excluded.whole)
        ORDER BY at DESC LIMIT 1), 0)"""  # noqa: S608
#: numbers of a scan's messages in a series that is not the one in which the server goes on
EARLIER = """
    INSERT INTO earlier SELECT i.* FROM incoming i JOIN sequence s USING (scan_id, endpoint) WHERE s.series <> i.series
    ON CONFLICT (scan_id, endpoint, series) DO UPDATE SET last = max(earlier.last, excluded.last)
"""
#: a series in which the server goes on, since the file was moved to it before
PRESENT = """
    DELETE FROM incoming i USING sequence s
    WHERE s.scan_id = i.scan_id AND s.endpoint = i.endpoint AND s.series = i.series
"""
NEW = "INSERT INTO series SELECT * FROM incoming"
SUM = "DO UPDATE SET number = {0}.number + excluded.number"
#: the places of surveyed scans are the order of their ends, over all machines
PLACES = """
    UPDATE surveyed SET place = its.place FROM (
        SELECT number, row_number() OVER (ORDER BY at, place, number) AS place FROM surveyed WHERE place IS NOT NULL
    ) its WHERE its.number = surveyed.number AND its.place <> surveyed.place
"""
NONE: Mapping[str, str] = {}


class Column(NamedTuple):
    """A column of a table."""

    name: str
    #: INTEGER, REAL, TEXT or BLOB
    kind: str
    is_nullable: bool


@dataclass(frozen=True)
class MovedTable:
    """A table of which each row is moved."""

    table: str
    #: the columns by which it is ordered, and a row is the same on both sides
    key: str
    #: what happens to a row that the server has
    known: str = "DO NOTHING"
    #: column -> table whose rows it names by their number
    numbers: Mapping[str, str] = field(default_factory=lambda: NONE)
    #: what reads its rows; empty: all columns of the table
    query: str = ""
    #: executed before rows are inserted; `incoming` has them
    before: str = ""
    #: executed once all are inserted, if others were there before
    joined: str = ""

    @property
    def select(self) -> str:
        """What reads its rows, in the same order each time."""
        names = ", ".join(column.name for column in columns_of(self.table))
        order = "number" if self.table in KEYS else self.key
        return self.query or f"SELECT {names} FROM {self.table} ORDER BY {order}"  # noqa: S608

    @property
    def insert(self) -> str:
        """What inserts `incoming`; of two rows that are the same after their damage was corrected, one."""
        if self.table == "series":  # whose names no index has
            return f"{NEW} WHERE NOT EXISTS (SELECT 1 FROM series WHERE name = incoming.name)"  # noqa: S608
        rows = f"SELECT DISTINCT ON ({self.key}) * FROM incoming ORDER BY {self.key}"  # noqa: S608
        return f"INSERT INTO {self.table} {rows} ON CONFLICT ({self.key}) {self.known}"


@cache
def columns_of(table: str) -> tuple[Column, ...]:
    """Return the columns of a table."""
    body = re.search(rf"CREATE TABLE {table} \((.*?)\n    \)", TABLES, re.DOTALL)
    if not body:
        raise KeyError(table)
    found = COLUMN.findall(re.sub(r"--.*", "", body[1]))
    return tuple(Column(name, kind, "NOT NULL" not in rest and "KEY" not in rest) for name, kind, rest in found)


#: all but events, deliveries and attempts. What counts withheld events looks at `withheld_most`, which is there before.
#: Batches in flight (`frozen`) were restored before the file was retired
STEPS = (
    MovedTable("series", "name"),
    MovedTable("scan", "id", SCAN),
    MovedTable("target", "name"),
    MovedTable("lineage", "modules"),
    MovedTable("kind", "name"),
    MovedTable(
        "surveyed",
        "scan_id",
        numbers={"target": "target", "lineage": "lineage", "previous": "surveyed"},
        joined=PLACES,
    ),
    MovedTable(
        "sequence",
        "scan_id, endpoint",
        "DO UPDATE SET last = max(sequence.last, excluded.last) WHERE sequence.series = excluded.series",
        {"series": "series"},
        before=EARLIER,
    ),
    MovedTable(
        "earlier",
        "scan_id, endpoint, series",
        "DO UPDATE SET last = max(earlier.last, excluded.last)",
        {"series": "series"},
        before=PRESENT,
    ),
    MovedTable("withheld_most", "scan_id, endpoint, reason", SUM.format("withheld_most")),
    MovedTable("withheld", "scan_id, endpoint, reason", SUM.format("withheld")),
    MovedTable("health", "endpoint"),
    MovedTable(
        "operator", "endpoint", "DO UPDATE SET paused_until = max(operator.paused_until, excluded.paused_until)"
    ),
    MovedTable(
        "handle",
        "endpoint, about",
        "DO UPDATE SET address = excluded.address, value = excluded.value, at = excluded.at"
        " WHERE handle.at < excluded.at",
    ),
    MovedTable("ticketed", "endpoint, target, subject, fingerprint"),
    MovedTable("digest_part", "batch"),
    MovedTable(
        "watch",
        "kind, subject",
        "DO UPDATE SET checked_at = excluded.checked_at, begun_at = excluded.begun_at, data = excluded.data"
        " WHERE watch.checked_at < excluded.checked_at",
    ),
    MovedTable("statement", "chain"),
    MovedTable(
        "mute",
        "target, fingerprint, endpoint",
        "DO UPDATE SET until = CASE WHEN mute.until IS NOT NULL AND excluded.until IS NOT NULL"
        " THEN max(mute.until, excluded.until) END",
        {"target": "target", "kind": "kind"},
    ),
    MovedTable(
        "sighting",
        "target, fingerprint, lineage",
        SIGHTING,
        {
            "target": "target",
            "lineage": "lineage",
            "kind": "kind",
            "first": "surveyed",
            "last": "surveyed",
            "whole": "surveyed",
        },
    ),
    MovedTable("evidence", "endpoint, scan, id, sha256", numbers={"scan": "scan"}),
    MovedTable("tally", "endpoint, what, reason, seconds_to, waited_to", ADD[ADD.index("DO UPDATE") :], query=TALLIES),
)
