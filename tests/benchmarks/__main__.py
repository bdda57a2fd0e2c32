"""Run the benchmarks and print their table.

    python -m tests.benchmarks [--rounds 5] [--events 2000] [--storm 20000] [--seconds 1] [--only TEXT] [--json FILE]

A row's ratio is its speed through that of its reference: 0.80 is a fifth slower. It is the median over the rounds,
with the smallest and the greatest beside it. Each round runs all rows in a new order, so that a noisy moment hits none
of them alone. A null row is its reference once more, so its range is noise, and a ratio within it says nothing: where
the null row is outside of 0.95 to 1.05, the rows of its reference are void. A sample takes a second at least.

    accept:   what an event costs the scan, against a commit of the same bytes with bare sqlite3
    deliver:  deliveries a second and their CPU in the sending process, against a bare loop of `Session.post`
    host:     real scans as the scanner itself measures them (ended - started), against those without us
    growing:  CPU time of each function that reads foreign text, for texts of 1 kB, 64 kB and 4 MB, in a table of its
              own; only with --only growing, or a part of a row's name; exit code 1 if one is not linear, or slow

`accept: handleEvent` and `host:` need the scanner. A round takes about four minutes, nearly all of it for `host:`.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import platform
import random
import statistics
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.benchmarks import accepting, delivering, growing, handling, scanning
from tests.benchmarks.measure import Measure, Row

#: bounds of a null row's ratio beyond which its figures are void
NULL_LEAST, NULL_MOST = 0.95, 1.05
ROWS: dict[str, Row] = {**accepting.ROWS, **handling.ROWS, **delivering.ROWS, **scanning.ROWS}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--events", type=int, default=2000, help="events of the rows accept: and deliver:")
    parser.add_argument("--storm", type=int, default=20000, help="events of a storm in a real scan")
    parser.add_argument("--seconds", type=float, default=1.0, help="least duration of a sample: more events if need be")
    parser.add_argument("--only", default="", help="rows whose name contains this, and their references")
    parser.add_argument("--json", type=Path, help="write the figures into this file too")
    given = parser.parse_args()
    wanted = {name for name in ROWS if given.only in name}
    if given.only and any(given.only in name for name in growing.names()):
        return 1 if growing.show(list(growing.growths(given.only))) else 0
    if not wanted:
        parser.error(f'no row has "{given.only}" in its name: {", ".join(ROWS)}')
    references = {ROWS[row].reference for row in wanted}
    names = [name for name in ROWS if name in wanted | references | {null_row(one) for one in references}]
    logging.getLogger("spiderfoot").setLevel(logging.ERROR)  # dead endpoints are meant to be dead
    found: dict[str, list[Measure]] = {name: [] for name in names}
    for number in range(given.rounds):
        for name in random.sample(names, len(names)):
            print(f"round {number + 1}: {name}".ljust(70), end="\r", file=sys.stderr, flush=True)
            found[name].append(sample(ROWS[name], getattr(given, ROWS[name].size), given.seconds))
    show(found)
    if given.json:
        given.json.write_text(json.dumps(figures(found), indent=2), encoding="utf-8")
    return 0


def sample(row: Row, events: int, least: float) -> Measure:
    """Measure a row, with more events if it takes less than so many seconds."""
    measure = row.measure(events)
    took = events / measure.per_second
    return row.measure(math.ceil(events * least / took)) if took < least and row.size == "events" else measure


def null_row(reference: str) -> str:
    """Return the null row of a reference."""
    return next(name for name, row in ROWS.items() if row.reference == reference and "null row" in name)


def is_void(found: dict[str, list[Measure]], name: str) -> bool:
    """Return whether the noise is too great for a row's ratio: its reference's null row is too far from 1."""
    reference = ROWS[name].reference
    null = statistics.median(ratios(found[null_row(reference)], found[reference]))
    return not NULL_LEAST <= null <= NULL_MOST


def figures(found: dict[str, list[Measure]]) -> dict[str, Any]:
    """Return all figures and the machine that they are from, for --json."""
    rows = {
        name: {
            "samples": [asdict(one) for one in measures],
            "reference": ROWS[name].reference,
            "ratio": statistics.median(ratios(measures, found[ROWS[name].reference])),
            "void": is_void(found, name),
        }
        for name, measures in found.items()
    }
    return {"cores": os.cpu_count(), "python": platform.python_version(), "rows": rows}


def show(found: dict[str, list[Measure]]) -> None:
    table = Table("row", "per second", "p50", "p99", "CPU each", "scan", "speed against", "ratio")
    for name, measures in found.items():
        reference = ROWS[name].reference
        table.add_row(
            name.partition(": ")[2],
            f"{statistics.median(one.per_second for one in measures):,.0f}",
            median(measures, "p50", 1e6, "us"),
            median(measures, "p99", 1e6, "us"),
            median(measures, "cpu_seconds", 1e6, "us"),
            median(measures, "seconds", 1, "s"),
            reference.partition(": ")[2] if reference != name else "",
            ("void " if is_void(found, name) else "") + ratio(measures, found[reference]) if reference != name else "",
            end_section=name.partition(":")[0] != following(found, name).partition(":")[0],
        )
    Console(width=160).print(table)


def following(found: dict[str, list[Measure]], name: str) -> str:
    names = [*found, ""]
    return names[names.index(name) + 1]


def median(measures: list[Measure], field: str, factor: float, unit: str) -> str:
    values = [value for value in (getattr(one, field) for one in measures) if value is not None]
    if not values:
        return ""
    value = statistics.median(values) * factor
    return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.1f} {unit}"


def ratio(measures: list[Measure], references: list[Measure]) -> str:
    each = ratios(measures, references)
    return f"{statistics.median(each):.2f} ({min(each):.2f}-{max(each):.2f})"


def ratios(measures: list[Measure], references: list[Measure]) -> list[float]:
    return [one.per_second / other.per_second for one, other in zip(measures, references)]


if __name__ == "__main__":
    sys.exit(main())
