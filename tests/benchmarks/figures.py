"""The figures of a run: samples of each row come in; ratios go out as JSON types, and whether noise makes them void."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.benchmarks import (
    accepting,
    browsing,
    delivering,
    draining,
    emitting,
    fleet,
    handling,
    keeping,
    lingering,
    listing,
    rendering,
    scanning,
    sighting,
    starting,
    surveying,
    waiting,
)
from tests.benchmarks.measure import Measure, Row
from tests.benchmarks.receiving import KIND

#: bounds of a null row's ratio beyond which its figures are void
NULL_LEAST, NULL_MOST = 0.95, 1.05
ROWS: dict[str, Row] = {
    **accepting.ROWS,
    **handling.ROWS,
    **sighting.ROWS,
    **surveying.ROWS,
    **delivering.ROWS,
    **rendering.ROWS,
    **emitting.ROWS,
    **starting.ROWS,
    **lingering.ROWS,
    **waiting.ROWS,
    **listing.ROWS,
    **draining.ROWS,
    **browsing.ROWS,
    **fleet.ROWS,
    **keeping.ROWS,
    **scanning.ROWS,
}
Found = Mapping[str, Sequence[Measure]]


def null_row(reference: str) -> str:
    """Return the null row of a reference."""
    return next(name for name, row in ROWS.items() if row.reference == reference and "null row" in name)


def is_void(found: Found, name: str, field: str) -> bool:
    """Return whether the noise is too great for a row's ratio of a field: the null row is too far from 1."""
    null = statistics.median(ratios(found, null_row(ROWS[name].reference), field))
    return not NULL_LEAST <= null <= NULL_MOST


def ratios(found: Found, name: str, field: str) -> list[float]:
    """Return how much better a row is than its reference, in each round: faster, shorter, smaller."""
    pairs = [
        (getattr(one, field), getattr(other, field)) for one, other in zip(found[name], found[ROWS[name].reference])
    ]
    return [one / other if field == "per_second" else other / one for one, other in pairs]


def figures(found: Found, **options: float) -> dict[str, Any]:
    """Return all figures, and the machine that they are from.

    Args:
        options: of the command, which the rows depend on.
    """
    run = {"date": time.strftime("%Y-%m-%d", time.gmtime()), "commit": commit(), **options}
    return {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "receiver": KIND,
        "rows": {name: {**row_figures(found, name), "run": run} for name in found},
    }


def row_figures(found: Found, name: str) -> dict[str, Any]:
    """Return a row's samples and what follows from them."""
    row = ROWS[name]
    each = ratios(found, name, row.compares)
    has_cpu = all(one.cpu_seconds for one in (*found[name], *found[row.reference]))
    return {
        "samples": [asdict(one) for one in found[name]],
        "reference": row.reference,
        "compares": row.compares,
        "ratio": statistics.median(each),
        "least": min(each),
        "most": max(each),
        # of the CPU used for each, where less is better
        "cpu_ratio": 1 / statistics.median(ratios(found, name, "cpu_seconds")) if has_cpu else None,
        "void": is_void(found, name, row.compares),
        "cpu_void": has_cpu and is_void(found, name, "cpu_seconds"),
    }


def commit() -> str:
    """Return the commit that is measured, with a mark if files differ from it; empty outside of a repository."""
    command = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True).stdout.strip()
