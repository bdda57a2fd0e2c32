"""The accepted part of a scan: the outbox's rows come in, an AcceptedScan goes out.

`scan/from_host` compares it with the host's database.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sfwebhooks.endpoints import FINDINGS
from sfwebhooks.events import event_key_of, lifecycle_id
from sfwebhooks.outbox.database import Sql
from sfwebhooks.outbox.finding_counts import TOP_MAX, FindingCounts, TopFinding
from sfwebhooks.outbox.rows import EVENT, READABLE, SCAN
from sfwebhooks.severity import Severity

#: a scan's events of given types with readable data
EVENTS = f"""
    FROM event WHERE scan = {SCAN.format("?")} AND {READABLE} AND type IN (SELECT CAST(value AS TEXT) FROM json_each(?))
"""  # noqa: S608


@dataclass(frozen=True)
class AcceptedScan:
    """The events accepted of a scan, without those deleted since."""

    counts: FindingCounts = field(default_factory=FindingCounts)
    #: its worst findings, the worst first
    top: tuple[TopFinding, ...] = ()
    #: modules with an accepted error
    modules_failed: frozenset[str] = frozenset()
    #: data of the event that reports its start
    begun: Mapping[str, Any] = field(default_factory=dict)


def accepted_scan(sql: Sql, scan_id: str) -> AcceptedScan:
    """Return the accepted part of a scan. Reads all its events: not for a hot path."""
    found = (scan_id, json.dumps(sorted(FINDINGS)))
    counts = f"SELECT json_extract(data, '$.event_type'), severity, count(*) {EVENTS} GROUP BY 1, 2"
    top = f"SELECT data, severity, at {EVENTS} AND severity > 0 ORDER BY severity DESC, at DESC LIMIT {TOP_MAX}"
    errors = sql.execute(f"SELECT data {EVENTS}", (scan_id, '["module_error"]'))
    start = (scan_id, event_key_of(lifecycle_id(scan_id, "started")))
    begun = sql.execute(f"SELECT data FROM event WHERE number = ({EVENT}) AND {READABLE}", start).fetchone()  # noqa: S608
    return AcceptedScan(
        FindingCounts((str(row[0]), Severity(row[1]), row[2]) for row in sql.execute(counts, found)),
        tuple(_top(json.loads(row[0]), *row[1:]) for row in sql.execute(top, found)),
        frozenset(module for row in errors for module in json.loads(row[0]).get("modules", ())),
        json.loads(begun[0]) if begun else {},
    )


def _top(data: Mapping[str, Any], severity: int, at: float) -> TopFinding:
    host_type, text, module, key = (str(data.get(name, "")) for name in ("event_type", "data", "module", "hash"))
    return TopFinding(host_type, text, Severity(severity), at, module, key)
