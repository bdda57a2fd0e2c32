"""What the end of a scan costs for each of its findings, from the replay of missing ones to the reported end."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from sfwebhooks import pipeline
from sfwebhooks.config.settings import Settings, load_mapping
from sfwebhooks.events import Scan
from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.scan.findings import Finding, event_of_finding
from sfwebhooks.scan.lifecycle import started
from sfwebhooks.scan.recovery import replay_scan, report_end
from sfwebhooks.screening import Screen
from tests.benchmarks.accepting import DEAD
from tests.benchmarks.delivering import ROOMY
from tests.benchmarks.measure import Measure, Row, whole, with_null_row
from tests.benchmarks.sighting import findings, survey
from tests.builders import NOW, a_scan
from tests.hosted import add_scan, index_results

SENT = "survey: every finding was sent"
#: events that are accepted together
GROUP = 500


def ending(known: bool = False, **keys: str) -> Callable[[int], Measure]:
    """Return a row: the end of a scan for an endpoint with some settings.

    Args:
        known: whether an earlier scan found all of it.
    """

    def row(number: int) -> Measure:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            place, found = Path(folder), findings(number)
            scan = a_scan(database=str(place / "spiderfoot.db"))
            add_scan(Path(scan.database), scan, found)
            index_results(Path(scan.database))
            if known:
                survey(place, found)
            settings = load_mapping({"team": {"url": DEAD, "events": "all, !surface_changed", **keys}})
            with closing(Outbox(place / FILE, storage=ROOMY)) as outbox:
                accept(outbox, scan, settings, found)
                return whole(number, lambda: end(outbox, scan, settings))

    return row


def accept(outbox: Outbox, scan: Scan, settings: Settings, found: Sequence[Finding]) -> None:
    """Do what the scan did before its end."""
    screen, begin = Screen(settings.endpoints), started(scan)
    outbox.scans.begin_scan(scan, begin, screen.of(begin)[0], NOW)
    for at in range(0, len(found), GROUP):
        events = [event_of_finding(one, scan, "") for one in found[at : at + GROUP]]
        pipeline.accept(events, screen, outbox, NOW)
    outbox.database.checkpoint()


def end(outbox: Outbox, scan: Scan, settings: Settings) -> None:
    """Replay what is missing, and report the end."""
    replay_scan(outbox, settings, scan)
    report_end(outbox, settings, scan)


ROWS = {
    **with_null_row(SENT, ending()),
    "survey: data_match withholds every finding": Row(ending(data_match="no such text"), SENT),
    "survey: only_new, a first scan": Row(ending(only_new="true"), SENT),
    "survey: only_new, all are known": Row(ending(known=True, only_new="true"), SENT),
    "survey: only_new, all are new": Row(ending(only_new="true", baseline="send"), SENT),
}
