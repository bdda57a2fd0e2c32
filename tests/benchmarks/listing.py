"""The commands that list deliveries or count them, at the backlog, without the start of a process."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable, Sequence

from sfwebhooks.cli import main
from tests.benchmarks.accepting import event_of
from tests.benchmarks.measure import Measure, Row, of_times
from tests.benchmarks.waiting import FEW, LEAST, OTHER, TEAM, compared, filled
from tests.builders import a_scan

SCAN, EVENT = a_scan().id, event_of(0).id
#: the commands that list deliveries or count them
LISTINGS: tuple[tuple[str, ...], ...] = (
    ("deliveries", "--endpoint", TEAM),
    ("deliveries", "--type", "high_risk_event"),
    ("deliveries", "--type", "*_completed"),
    ("deliveries", "--state", "waiting"),
    ("deliveries", "--state", "dead"),
    ("deliveries", "--since", "2h"),
    ("deliveries", "--until", "2h"),
    ("deliveries", "--scan", SCAN),
    ("deliveries", "--scan", SCAN, "--since", "2h"),
    ("deliveries", "--limit", "1000", "--json"),
    ("show", EVENT),
    ("check",),
    ("status",),
    ("doctor",),
    ("stats",),
    ("dead", "list"),
    ("replay", "--all", "--dry-run"),
    ("drop", "--state", "waiting", "--all", "--dry-run"),
    ("move", "--endpoint", TEAM, "--dry-run", "--to", OTHER),
)


def listing(few: bool, *command: str) -> Callable[[int], Measure]:
    """Return a row: a command."""

    def row(backlog: int) -> Measure:
        folder = filled(FEW if few else backlog).name
        took: list[float] = []
        while not took or (sum(took) < LEAST and len(took) < backlog // FEW):
            took.append(seconds([*command, "--folder", folder]))
        return of_times(took)

    return row


def seconds(command: list[str]) -> float:
    """Return how long a command takes."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        begin = time.perf_counter()
        code = main(command)
        took = time.perf_counter() - begin
    assert code in (0, 3) or command[0] == "doctor", f"{command}: {code}"
    return took


def shown(command: Sequence[str]) -> str:
    """Return a command without the ids of a run."""
    return " ".join("ID" if word in (SCAN, EVENT) else word for word in command)


PLAIN = compared("list: deliveries", lambda few: listing(few, "deliveries"), "p50")
ROWS = {
    **PLAIN,
    **{
        f"list: {shown(words)}": Row(listing(False, *words), next(iter(PLAIN)), "backlog", 1, "p50")
        for words in LISTINGS
    },
}
