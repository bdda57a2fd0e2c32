"""Statements that count what happens to deliveries, so that a number never goes down when rows are deleted, replayed or
moved.

Deaths, withheld events and ends of scans are rare, and counted when they happen. Attempts are counted later (`totals`),
since that would cost each delivery time; a trigger counts those that are deleted before. A trigger on `delivery` would
cost each delivery time too, so each statement that ends deliveries as dead follows one of `dying`.
"""

from __future__ import annotations

from collections.abc import Sequence

#: what a tally has instead of an outcome if it is not about attempts
DEATH, WITHHELD, END = "death", "withheld", "end"
#: upper bounds in seconds of the classes of an attempt's duration, and of the time from acceptance to delivery
SECONDS_BOUNDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0)
WAITED_BOUNDS = (0.05, 0.25, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 21600.0, 86400.0, 604800.0)
#: adds to the counts that are there
ADD = """ON CONFLICT (endpoint, what, reason, seconds_to, waited_to) DO UPDATE
    SET number = tally.number + excluded.number, seconds = tally.seconds + excluded.seconds,
        waited = tally.waited + excluded.waited, last_at = max(tally.last_at, excluded.last_at)"""


def bound(column: str, bounds: Sequence[float]) -> str:
    """Return the SQL of the class of a duration: its upper bound, infinite for the last one, 0 if there is none."""
    classes = " ".join(f"WHEN {column} <= {most} THEN {most}" for most in bounds)
    return f"CASE WHEN {column} IS NULL THEN 0.0 {classes} ELSE 9e999 END"


def counted_as(attempt: str) -> str:
    """Return the SQL of what an attempt is counted as: the columns of `tally` from `what` to `waited_to`.

    A receiver can choose its status but not the words here, and there is a bounded number of statuses.

    Args:
        attempt: name of its row.
    """
    outcome = f"coalesce({attempt}.outcome, 'delivered')"
    reason = (
        f"CASE WHEN {outcome} IN ('delivered', 'pending') THEN ''"
        f" WHEN {attempt}.status IS NULL THEN {attempt}.reason ELSE 'http_' || {attempt}.status END"
    )
    seconds, waited = bound(f"{attempt}.seconds", SECONDS_BOUNDS), bound(f"{attempt}.waited", WAITED_BOUNDS)
    return f"{outcome}, {reason}, {seconds}, {waited}"


def dying(reason: str, which: str) -> str:
    """Return the statement that counts deaths; to be executed just before the deliveries are set to dead.

    Args:
        reason: SQL of the reason; words after a colon are not counted.
        which: a WHERE on `delivery`.
    """
    word = f"substr({reason}, 1, instr({reason} || ':', ':') - 1)"
    counted = f"SELECT endpoint, '{DEATH}', {word}, count(*) FROM delivery WHERE {which} GROUP BY 1"
    return f"INSERT INTO tally (endpoint, what, reason, number) {counted} {ADD}"


#: counts what is more than was counted of a scan, an endpoint and a reason: recovery offers refused events again
COUNT_WITHHELD = f"""
        INSERT INTO tally (endpoint, what, reason, number)
            SELECT new.endpoint, '{WITHHELD}', new.reason, new.number - most FROM (
                SELECT coalesce(max(number), 0) most FROM withheld_most
                WHERE scan_id = new.scan_id AND endpoint = new.endpoint AND reason = new.reason) counted
            WHERE new.number > most {ADD}; INSERT INTO withheld_most
            VALUES (new.scan_id, new.endpoint, new.reason, new.number)
            ON CONFLICT (scan_id, endpoint, reason) DO UPDATE
            SET number = max(withheld_most.number, excluded.number);"""
#: the tables' triggers; each statement ends a line, and nothing else in them ends one with a semicolon
TRIGGERS = f"""
    -- its delivery must still be there. The ids of the last ones are given again, to attempts that are not counted
    CREATE TRIGGER attempt_deleted AFTER DELETE ON delivery_attempt BEGIN
        INSERT INTO tally SELECT endpoint, {counted_as("old")}, 1, old.seconds, coalesce(old.waited, 0.0),
            old.at + old.seconds FROM delivery WHERE number = old.number AND old.id > (SELECT counted FROM file)
            {ADD}; UPDATE file SET counted = min(counted, (SELECT coalesce(max(id), 0) FROM delivery_attempt))
            WHERE old.id > (SELECT coalesce(max(id), 0) FROM delivery_attempt); END;
    CREATE TRIGGER withheld_first AFTER INSERT ON withheld BEGIN {COUNT_WITHHELD} END;
    CREATE TRIGGER withheld_more AFTER UPDATE OF number ON withheld BEGIN {COUNT_WITHHELD} END;
    CREATE TRIGGER scan_ended AFTER UPDATE OF ended ON scan WHEN old.ended IS NULL AND new.ended IS NOT NULL BEGIN
        INSERT INTO tally (endpoint, what, reason, number) VALUES ('', '{END}', new.ended, 1) {ADD}; END;
"""
