"""What a row of the benchmarks is, and what it measures."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Measure:
    """How fast something went, or how large it was."""

    per_second: float | None = None
    #: seconds of a single call, where they are single calls
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    p999: float | None = None
    #: seconds of this process's CPU for each
    cpu_seconds: float | None = None
    #: seconds of the whole
    seconds: float | None = None
    #: bytes of a file, or of a process's memory at its peak
    size: float | None = None


@dataclass(frozen=True)
class Row:
    """A row of the table."""

    #: takes how many events there shall be
    measure: Callable[[int], Measure]
    #: name of the row that it is compared with, in each round
    reference: str
    #: the option with the number of events
    events: str = "events"
    #: part of that number which this row takes, since its events cost more
    share: float = 1.0
    #: the field of its measure that is compared
    compares: str = "per_second"


def with_null_row(name: str, measure: Callable[[int], Measure], **values: Any) -> dict[str, Row]:
    """Return a row that others are compared with, and its null row: the same once more."""
    group, _, rest = name.partition(": ")
    row = Row(measure, name, **values)
    return {name: row, f"{group}: null row ({rest})": row}


def each(items: Iterable[Any], call: Callable[[Any], object]) -> Measure:
    """Measure one call after the other."""
    took = []
    cpu = time.process_time()
    for item in items:
        begin = time.perf_counter()
        call(item)
        took.append(time.perf_counter() - begin)
    cpu = time.process_time() - cpu
    return of_times(took, len(took) / sum(took), cpu / len(took))


def of_times(took: Iterable[float], per_second: float | None = None, cpu_seconds: float | None = None) -> Measure:
    """Return the measure of single calls that took these seconds, with the percentiles for which they are enough."""
    times = sorted(took)
    enough = max(1 - 1 / len(times), 0.5)
    p50, p95, p99, p999 = (
        times[int(len(times) * part)] if part <= enough else None for part in (0.5, 0.95, 0.99, 0.999)
    )
    return Measure(per_second, p50, p95, p99, p999, cpu_seconds)


def whole(number: int, run: Callable[[], object]) -> Measure:
    """Measure a run that handles `number` things."""
    begin, cpu = time.perf_counter(), time.process_time()
    run()
    return Measure(number / (time.perf_counter() - begin), cpu_seconds=(time.process_time() - cpu) / number)
