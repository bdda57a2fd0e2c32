"""How long a scan's process stays for us after the scan's end, where endpoints are dead and their deliveries wait."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.benchmarks.accepting import a_run, numbered
from tests.benchmarks.measure import Measure, Row, of_times, with_null_row

NOTHING = "linger: nothing waits"
#: findings of the scan
FINDINGS = 20
#: part of the events: each sample is a scan
SHARE = 0.002


def lingering(endpoints: int, wanted: str = "all") -> Callable[[int], Measure]:
    """Return a row: ends of scans with so many dead endpoints."""

    def end() -> float:
        with a_run(endpoints, wanted) as run:
            run.begin()
            run.accept(*(numbered(number) for number in range(FINDINGS)))
            begin = time.perf_counter()
            run.end()
            return time.perf_counter() - begin

    return lambda scans: of_times([end() for _ in range(scans)])


ROWS = {
    **with_null_row(NOTHING, lingering(1, "module_error"), share=SHARE, compares="p50"),
    "linger: one endpoint dead": Row(lingering(1), NOTHING, share=SHARE, compares="p50"),
    "linger: ten endpoints dead": Row(lingering(10), NOTHING, share=SHARE, compares="p50"),
}
