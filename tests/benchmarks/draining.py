"""`sfwebhooks drain` at the backlog, as a process of its own: its first delivery, its end, its memory."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.emitting import NOTES
from tests.benchmarks.handling import write_settings
from tests.benchmarks.measure import Measure, Row, with_null_row
from tests.benchmarks.receiving import in_python, receiver
from tests.benchmarks.waiting import FEW, ROOMY_KEY, compared, copied
from tests.builders import PATIENCE

#: seconds until `drain` has to end
TIMEOUT = 10.0
TENTH = "memory: a tenth of the deliveries"
#: seconds that the deliveries of `memory` may take
MEMORY_SECONDS = 3600.0
#: runs a command and prints its seconds and the peak of its memory, to which that of the process that starts it counts:
#: so that is a small one
PEAK = """
import resource, subprocess, sys, time
begin = time.monotonic()
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
assert done.returncode in (0, 1)
print(time.monotonic() - begin, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def first_delivery(few: bool) -> Callable[[int], Measure]:
    """Return a row: from the start of `drain` until the receiver has the first message."""

    def row(backlog: int) -> Measure:
        with copied(FEW if few else backlog) as folder, in_python(notes=folder / NOTES) as url:
            write_settings(folder, [url], more=ROOMY_KEY)
            begin = time.monotonic()
            process = subprocess.Popen(drain(folder, TIMEOUT), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while not (found := (folder / NOTES).read_text(encoding="utf-8").partition(" ")[0]):
                assert time.monotonic() < begin + PATIENCE and process.poll() is None
                time.sleep(0.01)
            process.terminate()
            process.wait(PATIENCE)
        return Measure(seconds=float(found) - begin)

    return row


def draining(few: bool, timeout: float = TIMEOUT) -> Callable[[int], Measure]:
    """Return a row: `drain` with a timeout, from its start to its end, with the peak of its memory.

    Args:
        few: with few deliveries, and a rate that makes them last until the timeout.
    """

    def row(backlog: int) -> Measure:
        rate = f"\nrate = {FEW / timeout / 4:.0f}/s" if few else ""
        return drained(FEW if few else backlog, timeout, ROOMY_KEY + rate)

    return row


def drained(number: int, timeout: float, more: str = ROOMY_KEY) -> Measure:
    """Measure `drain` with so many deliveries waiting, its memory too."""
    with copied(number) as folder, receiver() as url:
        write_settings(folder, [url], more=more)
        printed = subprocess.check_output([sys.executable, "-c", PEAK, *drain(folder, timeout)])
    seconds, peak = map(float, printed.split())
    return Measure(seconds=seconds, size=peak * (1 if sys.platform == "darwin" else 1024))


def drain(folder: Path, timeout: float) -> list[str]:
    """Return the command."""
    return [sys.executable, "-m", "sfwebhooks", "drain", "--timeout", f"{timeout}s", "--folder", str(folder)]


def remembering(share: float) -> Callable[[int], Measure]:
    """Return a row: the peak of the memory of a process that delivers that part of the deliveries."""
    return lambda number: drained(max(int(number * share), 1), MEMORY_SECONDS)


ROWS = {
    **compared("drain: first delivery", first_delivery, "seconds"),
    **compared(f"drain: end after --timeout {TIMEOUT:.0f}s", draining, "seconds"),
    **with_null_row(TENTH, remembering(0.1), events="memory", compares="size"),
    "memory: all deliveries": Row(remembering(1.0), TENTH, "memory", 1, "size"),
}
