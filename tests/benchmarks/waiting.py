"""The outbox with a backlog (--backlog): what each step costs there, against the same with 1,000 deliveries waiting.

A backlog is made once; a row that changes it does so in a copy. What a row accepts is settled too, so that the number
of waiting deliveries stays as it is.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import lru_cache, partial
from itertools import count
from pathlib import Path

from sfwebhooks.attempts import Attempt
from sfwebhooks.events import WebhookEvent
from sfwebhooks.jsontext import kept
from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.results import Result
from sfwebhooks.retry import Settlement, State
from sfwebhooks.screening import Wanted
from tests.benchmarks.accepting import DEAD, bare_outbox, event_of
from tests.benchmarks.delivering import ROOMY
from tests.benchmarks.handling import write_settings
from tests.benchmarks.measure import Measure, Row, each, with_null_row
from tests.builders import NOW, a_scan, an_event

#: deliveries of the references
FEW = 1000
TEAM, OTHER = "team0", "team1"
WANTED = [Wanted(TEAM, "high_risk_event")]
#: numbers of the events that a row accepts
NEW = 10**9
#: events that are accepted together, and deliveries that are claimed and settled together
GROUP, CLAIMED = 100, 20
#: findings of a scan
OF_SCAN = 20_000
#: seconds that a step is measured, at least if there are as many deliveries
LEAST = 1.0
RESTARTS = 20
DAY = 86400.0
ROOMY_KEY = f"outbox_max_mb = {ROOMY.max_bytes // 1_000_000}"
STEPS = ("enqueue alone", f"enqueue in groups of {GROUP}", "claim", "settle")
ATTEMPT = Attempt(NOW, 0.01, 200, "http_200", "ok", "schedule")
SETTLEMENT = Settlement(State.DELIVERED, "http_200", NOW, True)
BARE_FILE = "backlog: bare sqlite3 file"


@lru_cache(maxsize=8)
def filled(number: int) -> tempfile.TemporaryDirectory[str]:
    """Return a data folder with so many waiting deliveries, half of them since yesterday; it ends with this process.

    They are of scans of usual size: no scan has a million findings.
    """
    folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    path = Path(folder.name)
    write_settings(path, [DEAD, DEAD], more=ROOMY_KEY)
    with closing(Outbox(path / FILE, storage=ROOMY)) as outbox:
        for at in range(0, number, GROUP):
            scan = a_scan(f"5C4A{at // OF_SCAN + 1:04X}")
            if at % OF_SCAN == 0:
                outbox.scans.begin_scan(scan, an_event(), (), time.time() - DAY, ended="scan_completed")
            events = [event_of(one, scan) for one in range(at, min(at + GROUP, number))]
            outbox.accept([(event, WANTED) for event in events], time.time() - (DAY if at < number / 2 else 0.0))
        outbox.database.checkpoint()
    return folder


@contextlib.contextmanager
def copied(number: int) -> Iterator[Path]:
    """Lend a copy of a data folder with a backlog."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        yield Path(shutil.copytree(filled(number).name, folder, dirs_exist_ok=True))


@contextlib.contextmanager
def opened(number: int) -> Iterator[Outbox]:
    """Lend an outbox with a backlog."""
    with copied(number) as folder, closing(Outbox(folder / FILE, storage=ROOMY)) as outbox:
        yield outbox


def stepping(step: str, few: bool) -> Callable[[int], Measure]:
    """Return a row: one of the STEPS of deliveries, with a few waiting ones or the whole backlog."""

    def row(backlog: int) -> Measure:
        took = dict.fromkeys(STEPS, 0.0)
        with opened(FEW if few else backlog) as outbox:
            for done in count(GROUP, GROUP):
                pass_through(outbox, [event_of(NEW + done + at) for at in range(GROUP)], took, step == STEPS[0])
                if took[step] >= LEAST or done >= backlog:
                    return Measure(done / took[step])
        raise AssertionError("the count has no end")

    return row


def pass_through(outbox: Outbox, events: Sequence[WebhookEvent], took: dict[str, float], alone: bool) -> None:
    """Accept events, claim as many deliveries, and settle them; add the seconds of each of the STEPS."""
    accepted, grouped, claimed, settled = STEPS
    now = time.time()
    with timed(took, accepted if alone else grouped):
        for part in [[event] for event in events] if alone else [events]:
            outbox.accept([(event, WANTED) for event in part], now)
    for _ in range(0, len(events), CLAIMED):
        with timed(took, claimed):
            batches = outbox.queue.claim(TEAM, (), now, CLAIMED)
        with timed(took, settled):
            outbox.queue.settle([Result(batch, ATTEMPT, [SETTLEMENT]) for batch in batches])


@contextlib.contextmanager
def timed(took: dict[str, float], step: str) -> Iterator[None]:
    begin = time.perf_counter()
    yield
    took[step] += time.perf_counter() - begin


def restarting(few: bool) -> Callable[[int], Measure]:
    """Return a row: the outbox opened, its deliveries counted, the first ones claimed."""

    def row(backlog: int) -> Measure:
        with copied(FEW if few else backlog) as folder:

            def restart(_: int) -> None:
                with closing(Outbox(folder / FILE, storage=ROOMY)) as outbox:
                    outbox.scans.tallies()
                    assert outbox.queue.claim(TEAM, (), time.time(), CLAIMED)

            return each(range(RESTARTS), restart)

    return row


def file_size(backlog: int) -> Measure:
    """Return the size of the outbox."""
    return Measure(size=float(sum(file.stat().st_size for file in Path(filled(backlog).name).glob(f"{FILE}*"))))


def bare_file_size(backlog: int) -> Measure:
    """Return the size of a plain file with the same data."""
    with tempfile.TemporaryDirectory() as folder:
        with closing(bare_outbox(Path(folder))) as connection:
            rows = ((number, kept(event_of(number).data)) for number in range(backlog))
            connection.execute("BEGIN")
            connection.executemany("INSERT INTO event VALUES (?, ?, 0)", rows)
            connection.execute("COMMIT")
        return Measure(size=float((Path(folder) / "bare.db").stat().st_size))


def compared(name: str, row: Callable[[bool], Callable[[int], Measure]], field: str) -> dict[str, Row]:
    """Return the rows of something with few deliveries waiting and with the whole backlog.

    Args:
        row: returns the one with few, or the other.
    """
    reference = f"{name}, {FEW:,} waiting"
    return {
        **with_null_row(reference, row(True), events="backlog", compares=field),
        name: Row(row(False), reference, "backlog", 1, field),
    }


ROWS = {
    **{
        name: row
        for step in STEPS
        for name, row in compared(f"backlog: {step}", partial(stepping, step), "per_second").items()
    },
    **compared("backlog: restart", restarting, "p50"),
    **with_null_row(BARE_FILE, bare_file_size, events="backlog", compares="size"),
    "backlog: file": Row(file_size, BARE_FILE, "backlog", 1, "size"),
}
