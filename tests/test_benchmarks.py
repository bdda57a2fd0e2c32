from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.__main__ import sample
from tests.benchmarks.accepting import BARE
from tests.benchmarks.figures import figures, is_void
from tests.benchmarks.growing import Growth, measured
from tests.benchmarks.measure import Measure, Row
from tests.tiers import quick_first

NULL = "accept: null row (bare sqlite3 commit)"


@pytest.mark.parametrize("only", quick_first(["deliver: plainest", "accept: ScanRun", "deliver: durable"]))
def test_the_command_prints_a_table_with_ratios(only: str) -> None:
    few = ("--rounds", "1", "--events", "20", "--seconds", "0")
    command = [sys.executable, "-m", "tests.benchmarks", *few, "--only", only]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "null row" in done.stdout, "the noise is measured too"
    lines = [line for line in done.stdout.splitlines() if only.partition(": ")[2] in line]
    assert len(lines) >= 2
    assert all(re.search(r"\d\.\d\d \(\d+\.\d\d-\d+\.\d\d\)", line) for line in lines), done.stdout


@pytest.mark.parametrize(("null", "void"), [(100.0, False), (104.0, False), (94.0, True), (106.0, True)])
def test_where_the_same_thing_twice_differs_the_ratios_are_void(null: float, void: bool) -> None:
    found = {BARE: [Measure(100.0)], NULL: [Measure(null)], "accept: ScanRun, one endpoint": [Measure(10.0)]}
    assert is_void(found, "accept: ScanRun, one endpoint") is void
    rows = figures(found)["rows"]
    assert [row["void"] for row in rows.values()] == [void] * 3
    assert rows["accept: ScanRun, one endpoint"]["ratio"] == 0.1


def test_a_sample_takes_a_second_at_least() -> None:
    asked: list[int] = []

    def measure(events: int) -> Measure:
        asked.append(events)
        return Measure(100.0)

    assert sample(Row(measure, "reference"), 20, 1.0).per_second == 100
    assert sample(Row(measure, "reference"), 200, 1.0).per_second == 100
    assert asked == [20, 100, 200]


@pytest.mark.campaign
def test_a_real_scan_is_measured(tmp_path: Path) -> None:
    few = ("--rounds", "1", "--storm", "50", "--seconds", "0", "--json", str(tmp_path / "found.json"))
    command = [sys.executable, "-m", "tests.benchmarks", *few, "--only", "host: storm, "]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "found.json").read_text())["rows"]
    kinds = (
        "endpoint healthy",
        "ten endpoints healthy",
        "endpoint dead",
        "endpoint hangs",
        "a module that does nothing",
    )
    assert {f"host: storm, {kind}" for kind in kinds} < {*rows}
    assert all(row["ratio"] > 0 for row in rows.values())


def test_an_unknown_row_is_named() -> None:
    command = [sys.executable, "-m", "tests.benchmarks", "--only", "no such row"]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "no such row" in done.stderr


def test_growing_inputs_are_measured_and_each_is_called_linear_or_not() -> None:
    command = [sys.executable, "-m", "tests.benchmarks", "--only", "growing: in_line: spaces"]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=120)
    assert (done.returncode, "1 measured, 0 not linear or slow" in done.stdout) == (0, True), done.stdout


@pytest.mark.parametrize(
    ("seconds", "verdict"),
    [
        ({1024: 0.001, 65536: 0.064, 4194304: 4.1}, ""),
        ({1024: 0.001, 65536: 4.1}, "NOT LINEAR"),
        ({1024: 0.001, 65536: 0.001, 4194304: 4.1}, "NOT LINEAR"),
        ({1024: 0.9, 65536: 57.6}, "TOO SLOW"),
        ({1024: 0.01, 65536: 0.64, 4194304: 41.0}, "SLOW"),
    ],
)
def test_what_grows_faster_than_its_input_is_flagged(seconds: dict[int, float], verdict: str) -> None:
    assert Growth("name", "shape", seconds).verdict == verdict


def test_a_function_that_tries_again_at_each_place_is_flagged() -> None:
    def quadratic(text: str) -> None:
        while text:
            text = text[16:]

    assert measured("name", "", lambda size: "x" * size, quadratic).verdict == "NOT LINEAR"
