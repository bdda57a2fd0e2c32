from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("only", ["accept: ScanRun", "deliver: durable", "deliver: plainest"])
def test_the_command_prints_a_table_with_ratios(only: str) -> None:
    command = [sys.executable, "-m", "tests.benchmarks", "--rounds", "1", "--events", "20", "--only", only]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if only.partition(": ")[2] in line]
    assert len(lines) >= 2
    assert all(re.search(r"\d\.\d\d \(\d+\.\d\d-\d+\.\d\d\)", line) for line in lines), done.stdout


def test_an_unknown_row_is_named() -> None:
    command = [sys.executable, "-m", "tests.benchmarks", "--only", "no such row"]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "no such row" in done.stderr
