"""The way of an event, from the scanner's call until it is committed: a reader has to open each of these functions."""

from __future__ import annotations

from pathlib import Path

from sfwebhooks.scan.run import RUNS
from tests.benchmarks.accepting import DEAD
from tests.benchmarks.handling import SCAN, a_module, deliveries, scanner_events, write_settings
from tests.builders import a_host_database
from tests.tracing import traced

#: functions of our own, from `handleEvent` to the committed row
MOST = 25


def test_an_event_goes_through_few_functions(tmp_path: Path) -> None:
    a_host_database(tmp_path / "spiderfoot.db", SCAN)
    write_settings(tmp_path, [DEAD])
    module = a_module(tmp_path / "spiderfoot.db")
    first, second = scanner_events(2)
    module.handleEvent(first)
    with traced(type(module).handleEvent.__code__) as trace:
        module.handleEvent(second)
    RUNS.pop(SCAN.id).end()
    assert deliveries(tmp_path, "high_risk_event") == 2
    functions = trace.functions()
    committed = functions[: functions.index("delivery/dispatcher.py wake")]  # the workers learn of it afterwards
    assert len(committed) <= MOST, "\n".join(committed)
    assert {"host/plugin.py handleEvent", "scan/run.py accept", "outbox/outbox.py accept"} <= {*committed}
