"""What a row of the benchmarks is, and what it measures."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Measure:
    """How fast something went."""

    per_second: float
    #: seconds of a single call, where they are single calls
    p50: float | None = None
    p99: float | None = None
    #: seconds of this process's CPU for each
    cpu_seconds: float | None = None
    #: seconds of the whole, where the scanner says them
    seconds: float | None = None


@dataclass(frozen=True)
class Row:
    """A row of the table."""

    #: takes how many events there shall be
    measure: Callable[[int], Measure]
    #: name of the row that it is compared with, in each round
    reference: str
    #: which number of events it takes: that of --events or that of --storm
    size: str = "events"


def each(items: Iterable[Any], call: Callable[[Any], object]) -> Measure:
    """Measure one call after the other."""
    took = []
    cpu = time.process_time()
    for item in items:
        begin = time.perf_counter()
        call(item)
        took.append(time.perf_counter() - begin)
    cpu = time.process_time() - cpu
    took.sort()
    return Measure(len(took) / sum(took), took[len(took) // 2], took[len(took) * 99 // 100], cpu / len(took))


def whole(number: int, run: Callable[[], object]) -> Measure:
    """Measure a run that handles `number` things."""
    begin, cpu = time.perf_counter(), time.process_time()
    run()
    return Measure(number / (time.perf_counter() - begin), cpu_seconds=(time.process_time() - cpu) / number)
