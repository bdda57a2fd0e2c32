"""Run the benchmarks and print their tables.

    python -m tests.benchmarks [--rounds 5] [--events 2000] [--storm 20000] [--backlog 100000] [--memory 20000]
                               [--settled 100000] [--seconds 1] [--only TEXT] [--json FILE] [--page FILE]

A row's ratio is its speed through that of its reference: 0.80 is a fifth slower. It is the median over the rounds,
with the smallest and the greatest in parentheses. Each round runs all rows in a new order, a reference together with
its rows, so that a noisy moment hits none of them alone. A null row is its reference once more, so its range is noise,
and a ratio within it says nothing: where the null row is outside of 0.95 to 1.05, the rows of its reference are void.
A sample takes a second at least, if more events can make it longer.

The groups of rows are those of `showing.GROUPS`. One more has a table of its own, and runs only with --only growing, or
a part of a name that no other row has: the CPU time of each function that reads foreign text, for texts of 1 kB, 64 kB
and 4 MB; exit code 1 if one is not linear, or slow.

`accept: handleEvent`, `start: import` and `host:` need the scanner, and `postgres:` a PostgreSQL that can be started:
without one these rows are skipped. A run may be made in parts: with --merge the rows
that it does not measure are kept as the JSON file has them.
"""

from __future__ import annotations

import argparse
import compileall
import json
import logging
import math
import os
import random
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.benchmarks import growing
from tests.benchmarks.figures import ROWS, Found, figures, null_row
from tests.benchmarks.measure import Measure, Row
from tests.benchmarks.showing import page, show
from tests.postgres import missing

ROOT = Path(__file__).parents[2]
#: options that are numbers: default, and what they mean
NUMBERS = {
    "rounds": (5, "how often each row is measured"),
    "events": (2000, "events of most rows"),
    "storm": (20_000, "events of a storm in a real scan"),
    "backlog": (100_000, "waiting deliveries of the rows backlog:, list: and drain:"),
    "memory": (20_000, "deliveries of the rows memory:"),
    "settled": (100_000, "settled deliveries of the rows postgres:"),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    for name, (default, words) in NUMBERS.items():
        parser.add_argument(f"--{name}", type=int, default=default, help=f"{words} ({default:,})")
    parser.add_argument("--seconds", type=float, default=1.0, help="least duration of a sample: more events if need be")
    parser.add_argument("--only", default="", help="rows whose name contains this, and their references")
    parser.add_argument("--json", type=Path, help="write the figures into this file too")
    parser.add_argument("--merge", action="store_true", help="keep the rows of the JSON file that are not measured now")
    parser.add_argument("--page", type=Path, help="write the page of the documents into this file")
    given = parser.parse_args()
    if given.merge and not given.json:
        parser.error("--merge needs --json")
    if given.merge and not given.json.exists():
        parser.error(f"--merge: {given.json} does not exist, so the page would lose all other rows")
    wanted = {name for name in ROWS if given.only in name}
    reason = missing()
    if reason and any(name.startswith("postgres: ") for name in wanted):
        print(f"no rows postgres: {reason}", file=sys.stderr)
        wanted = {name for name in wanted if not name.startswith("postgres: ")}
    if not wanted and any(given.only in name for name in growing.names()):
        return 1 if growing.show(list(growing.growths(given.only))) else 0
    if not wanted:
        parser.error(f'no row has "{given.only}" in its name: {", ".join(ROWS)}')
    # the processes that rows start measure this checkout too, whatever folder they run in
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    # and do not compile it, as those of an installation: the environment may keep Python from storing what it compiles
    compileall.compile_dir(ROOT / "sfwebhooks", quiet=1)
    logging.getLogger("spiderfoot").setLevel(logging.ERROR)  # dead endpoints are meant to be dead
    options = {name: getattr(given, name) for name in (*NUMBERS, "seconds")}
    earlier = json.loads(given.json.read_text(encoding="utf-8"))["rows"] if given.merge else {}
    found: dict[str, Any] = {}
    for samples in rounds(with_references(wanted), options):
        found = figures(samples, **options)
        write(found, earlier, given)  # after each round, in case a later one fails
    show(found)
    return 0


def write(found: Mapping[str, Any], earlier: Mapping[str, Any], given: argparse.Namespace) -> None:
    """Write the figures, and the rows of an earlier run that this one does not have, into the files that are wanted."""
    rows = {**earlier, **found["rows"]}
    whole = {**found, "rows": {name: rows[name] for name in ROWS if name in rows}}
    if given.json:
        given.json.write_text(json.dumps(whole, indent=2), encoding="utf-8")
    if given.page:
        given.page.write_text(page(whole), encoding="utf-8")


def with_references(wanted: Iterable[str]) -> list[str]:
    """Return the names of rows, of those that they are compared with, and of their null rows."""
    references = {ROWS[name].reference for name in wanted}
    return [name for name in ROWS if name in {*wanted, *references, *map(null_row, references)}]


def rounds(names: list[str], options: dict[str, float]) -> Iterator[Found]:
    """Measure rows, in each round in another order; yield all samples so far after each round."""
    found: dict[str, list[Measure]] = {name: [] for name in names}
    for number in range(int(options["rounds"])):
        for name in shuffled(names):
            print(f"round {number + 1}: {name}".ljust(90), end="\r", file=sys.stderr, flush=True)
            found[name].append(sample(ROWS[name], int(options[ROWS[name].events]), options["seconds"]))
        yield found


def shuffled(names: list[str]) -> list[str]:
    """Return the names in a new order, in which a reference and its rows stay together: the machine's speed drifts."""
    block = {ROWS[name].reference: random.random() for name in names}
    return sorted(random.sample(names, len(names)), key=lambda name: block[ROWS[name].reference])


def sample(row: Row, events: int, least: float) -> Measure:
    """Measure a row, with more events if it takes less than so many seconds."""
    events = math.ceil(events * row.share)
    measure = row.measure(events)
    if row.events != "events" or not measure.per_second:
        return measure
    took = events / measure.per_second
    return row.measure(math.ceil(events * least / took)) if took < least else measure


if __name__ == "__main__":
    sys.exit(main())
