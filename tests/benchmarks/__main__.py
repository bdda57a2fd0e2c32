"""Run the benchmarks and print their table.

    python -m tests.benchmarks [--rounds 5] [--events 2000]

Each round runs all rows in a new order, so that a noisy moment hits none of them alone. A ratio is the median over the
rounds of (row / its reference in the same round); the null row runs the reference twice and shows what noise is.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
from collections.abc import Callable

from rich.console import Console
from rich.table import Table

from tests.benchmarks.accepting import ROWS as ACCEPTING
from tests.benchmarks.delivering import ROWS as DELIVERING
from tests.benchmarks.measure import Measure

#: name of a row -> (how it is measured, name of its reference)
ROWS: dict[str, tuple[Callable[[int], Measure], str]] = {**ACCEPTING, **DELIVERING}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--events", type=int, default=2000)
    parser.add_argument("--only", default="", help="rows whose name contains this, and their references")
    given = parser.parse_args()
    wanted = {name for name in ROWS if given.only in name}
    names = [name for name in ROWS if name in wanted | {ROWS[row][1] for row in wanted}]
    found: dict[str, list[Measure]] = {name: [] for name in names}
    for number in range(given.rounds):
        for name in random.sample(names, len(names)):
            print(f"round {number + 1}: {name}".ljust(70), end="\r", file=sys.stderr, flush=True)
            found[name].append(ROWS[name][0](given.events))
    show(found)
    return 0


def show(found: dict[str, list[Measure]]) -> None:
    table = Table("row", "per second", "p50", "p99", "CPU each", "speed against", "ratio")
    for name, measures in found.items():
        reference = ROWS[name][1]
        ratios = [one.per_second / other.per_second for one, other in zip(measures, found[reference])]
        table.add_row(
            name,
            f"{statistics.median(one.per_second for one in measures):,.0f}",
            micros(measures, "p50"),
            micros(measures, "p99"),
            micros(measures, "cpu_seconds"),
            reference if reference != name else "",
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})" if reference != name else "",
        )
    Console(width=140).print(table)


def micros(measures: list[Measure], field: str) -> str:
    values = [value for value in (getattr(one, field) for one in measures) if value is not None]
    return f"{statistics.median(values) * 1e6:,.0f} us" if values else ""


if __name__ == "__main__":
    sys.exit(main())
