"""What docs/fleet.md says of growth follows from the costs that it says, and these can be measured."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.benchmarks.sizing import costs_in, tables
from tests.postgres import demand
from tests.tiers import slow

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "fleet.md").read_text(encoding="utf-8")


def test_the_table_of_growth_follows_from_that_of_costs() -> None:
    assert all(table in PAGE for table in tables(costs_in(PAGE)))


@slow
def test_the_costs_can_be_measured() -> None:
    demand()
    command = [sys.executable, "-m", "tests.benchmarks.sizing", "--events", "1000"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = costs_in(done.stdout)
    assert found.alone_log > found.group_log > found.further_log > 0
    assert min(found.delivery_log, found.batch_log) > 0
    assert found.event_size > found.further_size > 0
    assert min(found.sender_sessions, found.scan_sessions, found.spool_sessions) >= 1
