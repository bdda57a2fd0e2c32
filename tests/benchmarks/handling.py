"""What `handleEvent` costs, called as the scanner calls it: with its own events, on the class that it loads.

The scanner asks for no event that no endpoint wants (`watchedEvents`); the row for one says what it would cost.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sfwebhooks.outbox.file import FILE
from sfwebhooks.scan.run import RUNS
from tests.benchmarks.accepting import BARE, DEAD, SIZE, bare, texts
from tests.benchmarks.measure import Measure, Row, each, with_null_row
from tests.builders import a_host_database, a_scan

SCAN = a_scan()
#: a scan's process does not wait long for its deliveries
BRIEF = "drain_timeout = 1s"
#: types of the events that led to one, from the target on
CHAIN = ("INTERNET_NAME", "LINKED_URL_INTERNAL", "TARGET_WEB_CONTENT")


def handling(endpoints: int, wanted: str = "all", size: int = SIZE) -> Callable[[int], Measure]:
    """Return a row: events handled for so many endpoints, whose receivers are dead."""

    def row(events: int) -> Measure:
        made = scanner_events(events, size)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            a_host_database(folder / "spiderfoot.db", SCAN)
            write_settings(folder, [f"{DEAD}{number}" for number in range(endpoints)], wanted)
            module = a_module(folder / "spiderfoot.db")
            measure = each(made, module.handleEvent)
            assert deliveries(folder, "high_risk_event") == (events * endpoints if wanted == "all" else 0)
            RUNS.pop(SCAN.id).end()
        return measure

    return row


def scanner_events(number: int, size: int = SIZE) -> list[Any]:
    """Return SpiderFootEvents of high severity, with data of a size and the chain of those that led to them."""
    from spiderfoot import SpiderFootEvent

    parent = SpiderFootEvent("ROOT", "acme.example", "", None)
    for event_type in CHAIN:
        parent = SpiderFootEvent(event_type, f"{event_type} of acme.example", "sfp_example", parent)
    return [SpiderFootEvent("VULNERABILITY_CVE_HIGH", text, "sfp_example", parent) for text in texts(number, size)]


def a_module(database: Path) -> Any:
    """Return our module as the scanner has it when a scan has begun."""
    from spiderfoot import SpiderFootTarget

    from sfwebhooks.host.plugin import sfp__stor_webhooks

    module = sfp__stor_webhooks()
    module.setScanId(SCAN.id)
    module.setup(None, {"__database": str(database)})
    module.setTarget(SpiderFootTarget(SCAN.target, SCAN.target_type))
    return module


def write_settings(folder: Path, urls: list[str], events: str = "all", more: str = BRIEF) -> None:
    """Write the settings of endpoints with these URLs into a scanner's data folder; they are in every scan."""
    text = f"[webhooks]\nenabled = true\nevents = {events}\nsecret = {'s' * 32}\n{more}\n"
    text += "".join(f"[webhooks.team{number}]\nurl = {url}\n" for number, url in enumerate(urls))
    path = folder / "webhooks.ini"
    path.touch(0o600)
    path.write_text(text, encoding="utf-8")
    os.utime(path, (0, 0))  # a file that was just written is read twice, with a pause


def deliveries(folder: Path, name: str) -> int:
    """Return how many deliveries of a name an outbox has."""
    with contextlib.closing(sqlite3.connect(folder / FILE)) as connection:
        return int(connection.execute("SELECT count(*) FROM delivery WHERE name = ?", (name,)).fetchone()[0])


ROWS = {
    "accept: handleEvent, no endpoint wants it": Row(handling(1, "scan_*"), BARE, compares="p50"),
    "accept: handleEvent, one endpoint": Row(handling(1), BARE, compares="p50"),
    "accept: handleEvent, three endpoints": Row(handling(3), BARE, compares="p50"),
    "accept: handleEvent, ten endpoints": Row(handling(10), BARE, compares="p50"),
}
#: bytes of larger findings -> their name, and the part of the events that such a row takes
LARGER = {20_000: ("20 KB", 0.2), 2_000_000: ("2 MB", 0.01)}
for size, (name, share) in LARGER.items():
    larger = f"{BARE}, {name}"
    ROWS |= with_null_row(larger, bare(size), share=share, compares="p50")
    ours = Row(handling(1, size=size), larger, share=share, compares="p50")
    ROWS[f"accept: handleEvent, one endpoint, {name}"] = ours
if importlib.util.find_spec("spiderfoot") is None:
    ROWS = {}
