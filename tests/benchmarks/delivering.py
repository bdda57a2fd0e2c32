"""Deliveries per second, durable and signed, against a bare loop of `requests` to the same receiver."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sfwebhooks.config.options import ENDPOINT_OPTIONS
from sfwebhooks.config.settings import load_mapping
from sfwebhooks.delivery.dispatcher import Dispatcher
from sfwebhooks.outbox.file import FILE
from sfwebhooks.pipeline import accept
from tests.benchmarks import looping
from tests.benchmarks.accepting import event_of
from tests.benchmarks.looping import BARE, BATCH
from tests.benchmarks.measure import Measure, Row, whole
from tests.benchmarks.receiving import receiver
from tests.builders import NOW


def engine(**keys: object) -> Callable[[int], Measure]:
    """Return a row: what waits in an outbox is claimed, rendered, signed, sent and settled."""

    def row(events: int) -> Measure:
        with tempfile.TemporaryDirectory() as folder, receiver() as url:
            team = {"url": url, "events": "all", "secret": "s" * 32, **keys}
            endpoints = load_mapping({"team": team}).endpoints
            dispatcher = Dispatcher(endpoints, Path(folder) / FILE)
            accept([event_of(number) for number in range(events)], endpoints, dispatcher.outbox, NOW)

            def run() -> None:
                dispatcher.wake()
                dispatcher.linger(time.monotonic() + 300)

            measure = whole(events, run)
            assert dispatcher.outbox.scans.tallies()["delivered"] == events
            dispatcher.stop(5)
        return measure

    return row


ROWS = {
    **looping.ROWS,
    "deliver: durable, signed, one thread": Row(engine(concurrency=1), BARE),
    "deliver: durable, signed, four threads": Row(engine(concurrency=4), BARE),
}
if "batch_size" in ENDPOINT_OPTIONS:
    batches = engine(concurrency=1, batch_size=BATCH, batch_wait="1s")
    ROWS[f"deliver: durable, signed, batches of {BATCH}"] = Row(batches, BARE)
