"""Counts of a scan's findings from one source: findings come in, FindingCounts and the worst findings go out.

The host's database lags behind the outbox and loses its last findings in a kill; the outbox has only findings that an
endpoint wants. So the two are compared, type by type.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sfwebhooks.severity import Severity

#: most findings in the report of a scan's end
TOP_MAX = 10
EVENTS_OF_SEVERITY = {
    "high_risk_events": (Severity.HIGH, Severity.CRITICAL),
    "medium_risk_events": (Severity.MEDIUM,),
    "low_risk_events": (Severity.LOW,),
    "info_events": (Severity.INFO,),
}


class FindingCounts:
    """Counts of findings. Several threads may use it at once.

    Args:
        rows: the host's event type, severity and number, in any order.
    """

    def __init__(self, rows: Iterable[tuple[str, Severity, int]] = ()) -> None:
        self._numbers: dict[tuple[str, Severity], int] = {}
        #: held while the numbers change or are copied
        self._lock = threading.Lock()
        for row in rows:
            self.add(*row)

    def add(self, host_type: str, severity: Severity, number: int = 1) -> None:
        """Count findings."""
        key = (host_type, severity)
        with self._lock:
            self._numbers[key] = self._numbers.get(key, 0) + number

    @property
    def total(self) -> int:
        """The number of all findings."""
        return sum(self._copy().values())

    def fuller(self, other: FindingCounts) -> FindingCounts:
        """Return the larger of both counts for each type."""
        mine, its = self._by_type(), other._by_type()
        best = {name: max(mine.get(name, []), its.get(name, []), key=_sum) for name in {*mine, *its}}
        return FindingCounts((name, *row) for name, rows in best.items() for row in rows)

    @property
    def data(self) -> dict[str, Any]:
        """The counts in the form of a scan's events; the key events_found comes from the guide."""
        by_severity: Counter[Severity] = Counter()
        for rows in self._by_type().values():
            by_severity.update(dict(rows))
        return {
            "events_found": self.total,
            **{name: sum(by_severity[severity] for severity in group) for name, group in EVENTS_OF_SEVERITY.items()},
            "events_by_severity": {one.label: by_severity[one] for one in sorted(Severity, reverse=True)},
            "events_by_type": {name: _sum(rows) for name, rows in sorted(self._by_type().items())},
        }

    def _by_type(self) -> dict[str, list[tuple[Severity, int]]]:
        found: dict[str, list[tuple[Severity, int]]] = {}
        for (host_type, severity), number in self._copy().items():
            found.setdefault(host_type, []).append((severity, number))
        return found

    def _copy(self) -> dict[tuple[str, Severity], int]:
        with self._lock:
            return dict(self._numbers)


def _sum(rows: Iterable[tuple[Severity, int]]) -> int:
    return sum(number for _, number in rows)


@dataclass(frozen=True)
class TopFinding:
    """One of the worst findings of a scan."""

    #: the host's event type
    type: str
    data: str
    severity: Severity
    #: epoch seconds
    at: float
    module: str
    #: the host's id of it
    hash: str


def worst_findings(found: Iterable[TopFinding]) -> list[TopFinding]:
    """Return the worst of some findings, each once, the newest first among equals."""
    each = {one.hash: one for one in found}.values()
    return sorted(each, key=lambda one: (one.severity, one.at), reverse=True)[:TOP_MAX]
