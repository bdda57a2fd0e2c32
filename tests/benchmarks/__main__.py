"""Run the benchmarks and print their table.

    python -m tests.benchmarks [--rounds 5] [--events 2000] [--storm 20000] [--only TEXT]

A row's ratio is its speed through that of its reference: 0.80 is a fifth slower. It is the median over the rounds,
with the smallest and the greatest beside it. Each round runs all rows in a new order, so that a noisy moment hits none
of them alone; a null row is its reference once more, so its range is noise, and a ratio within it says nothing.

    accept:   what an event costs the scan, against a commit of the same bytes with bare sqlite3
    deliver:  deliveries a second and their CPU in the sending process, against a bare loop of `Session.post`
    host:     real scans as the scanner itself measures them (ended - started), against those without us
    growing:  CPU time of each function that reads foreign text, for texts of 1 kB, 64 kB and 4 MB, in a table of its
              own; only with --only growing, or a part of a row's name; exit code 1 if one is not linear, or slow

`accept: handleEvent` and `host:` need the scanner. A round takes about four minutes, nearly all of it for `host:`.
"""

from __future__ import annotations

import argparse
import logging
import random
import statistics
import sys

from rich.console import Console
from rich.table import Table

from tests.benchmarks import accepting, delivering, growing, handling, scanning
from tests.benchmarks.measure import Measure, Row

ROWS: dict[str, Row] = {**accepting.ROWS, **handling.ROWS, **delivering.ROWS, **scanning.ROWS}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--events", type=int, default=2000, help="events of the rows accept: and deliver:")
    parser.add_argument("--storm", type=int, default=20000, help="events of a storm in a real scan")
    parser.add_argument("--only", default="", help="rows whose name contains this, and their references")
    given = parser.parse_args()
    wanted = {name for name in ROWS if given.only in name}
    if given.only and any(given.only in name for name in growing.names()):
        return 1 if growing.show(list(growing.growths(given.only))) else 0
    if not wanted:
        parser.error(f'no row has "{given.only}" in its name: {", ".join(ROWS)}')
    names = [name for name in ROWS if name in wanted | {ROWS[row].reference for row in wanted}]
    logging.getLogger("spiderfoot").setLevel(logging.ERROR)  # dead endpoints are meant to be dead
    found: dict[str, list[Measure]] = {name: [] for name in names}
    for number in range(given.rounds):
        for name in random.sample(names, len(names)):
            print(f"round {number + 1}: {name}".ljust(70), end="\r", file=sys.stderr, flush=True)
            found[name].append(ROWS[name].measure(getattr(given, ROWS[name].size)))
    show(found)
    return 0


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
            ratio(measures, found[reference]) if reference != name else "",
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
    ratios = [one.per_second / other.per_second for one, other in zip(measures, references)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"


if __name__ == "__main__":
    sys.exit(main())
