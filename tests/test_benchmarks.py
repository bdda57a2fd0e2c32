from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from itertools import groupby
from pathlib import Path

import pytest
import requests
import urllib3

from tests.benchmarks.__main__ import sample, shuffled
from tests.benchmarks.figures import ROWS, figures, is_void, null_row
from tests.benchmarks.growing import Growth, measured
from tests.benchmarks.looping import BARE
from tests.benchmarks.measure import Measure, Row
from tests.benchmarks.receiving import RECEIVERS, Mutual, certificates, in_python, secured_receiver
from tests.benchmarks.showing import GROUPS, figure
from tests.benchmarks.waiting import FEW
from tests.builders import PATIENCE
from tests.postgres import demand
from tests.tiers import quick_first, slow

PLAIN = "list: deliveries, 1,000 waiting"
#: rows of each kind that take no more than a second with few events
QUICK = {
    "accept: handleEvent, one endpoint",
    "deliver: bare http.client",
    "deliver: durable, signed, ten endpoints",
    "deliver: durable, signed, mTLS",
    "deliver: durable, signed, batches of 100, siem, default settings",
    "render: generic",
    "emit: emit, one endpoint",
    "end to end: emit here, run there, 200/s",
    "start: python -c pass",
    "linger: one endpoint dead",
    "backlog: enqueue in groups of 100",
    "backlog: file",
    "list: deliveries --scan ID --since 2h",
    "memory: a tenth of the deliveries",
    "web: first byte of /",
    "web: deliveries by sfwebhooks web, 100 event streams",
}
NULL = "deliver: null row (bare loop of Session.post)"


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
    found = {BARE: [Measure(100.0)], NULL: [Measure(null)], "deliver: bare http.client": [Measure(1000.0)]}
    assert is_void(found, "deliver: bare http.client", "per_second") is void
    rows = figures(found)["rows"]
    assert [row["void"] for row in rows.values()] == [void] * 3
    assert rows["deliver: bare http.client"]["ratio"] == 10


def test_a_sample_takes_a_second_at_least() -> None:
    asked: list[int] = []

    def measure(events: int) -> Measure:
        asked.append(events)
        return Measure(100.0)

    assert sample(Row(measure, "reference"), 20, 1.0).per_second == 100
    assert sample(Row(measure, "reference"), 200, 1.0).per_second == 100
    assert asked == [20, 100, 200]


@pytest.mark.parametrize("name", RECEIVERS)
def test_each_receiver_answers_and_keeps_the_connection(name: str) -> None:
    with RECEIVERS[name]() as url, urllib3.connection_from_url(url) as pool:
        for body in (b"", b"x" * 1000, b"x" * 1_000_000, b"{}"):
            answer = pool.request("POST", "/webhook", body=body, timeout=PATIENCE)
            assert (answer.status, answer.data) == (200, b"ok")
        assert pool.num_connections == 1


@pytest.mark.parametrize("start", [secured_receiver, in_python])
def test_a_receiver_with_tls_demands_a_client_certificate(
    start: Callable[[Mutual], AbstractContextManager[str]],
) -> None:
    with certificates() as tls, start(tls) as url:
        certificate = (str(tls.client.cert), str(tls.client.key))
        answer = requests.post(url, data=b"{}", verify=str(tls.ca), cert=certificate, timeout=PATIENCE)
        assert (url[:8], answer.status_code) == ("https://", 200)
        try:
            refused = requests.post(url, data=b"{}", verify=str(tls.ca), timeout=PATIENCE).status_code
        except requests.ConnectionError:
            refused = 400
        assert refused == 400


def test_a_reference_is_measured_together_with_its_rows() -> None:
    names = shuffled([*ROWS])
    assert sorted(names) == sorted(ROWS)
    assert len([*groupby(names, key=lambda name: ROWS[name].reference)]) == len(
        {row.reference for row in ROWS.values()}
    )


def test_each_reference_has_a_null_row_and_each_group_its_words() -> None:
    references = {row.reference for row in ROWS.values()}
    assert {ROWS[name].reference for name in references} == references
    nulls = [name for name in ROWS if "null row" in name]
    assert sorted(map(null_row, references)) == sorted(nulls)
    assert {name.partition(": ")[0] for name in ROWS} <= set(GROUPS)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else slow) for name in ROWS if not name.startswith("host:")]
)
def test_a_row_measures_what_it_compares(name: str) -> None:
    row = ROWS[name]
    if name.startswith("postgres:"):
        demand()
    measure = sample(row, FEW if row.events in ("backlog", "settled") else 20, 0.0)
    assert getattr(measure, row.compares) > 0


def test_the_rows_of_an_earlier_part_of_a_run_are_kept(tmp_path: Path) -> None:
    file, page = tmp_path / "found.json", tmp_path / "page.md"
    few = ("--rounds", "1", "--events", "20", "--seconds", "0", "--json", str(file), "--page", str(page))
    for only, *merge in (("render: siem",), ("accept: ScanRun, one", "--merge"), ("render: generic", "--merge")):
        command = [sys.executable, "-m", "tests.benchmarks", *few, *merge, "--only", only]
        subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, timeout=120, check=True)
    found = json.loads(file.read_text(encoding="utf-8"))
    names = [name for name in ROWS if name in found["rows"]]
    assert names == [*found["rows"]]
    assert {"render: siem", "render: generic", "accept: ScanRun, one endpoint"} < {*names}
    text = page.read_text(encoding="utf-8")
    assert re.findall(r"^## (.*)$", text, re.M) == ["How to read it", "accept", "render"]
    assert {f"| {name.partition(': ')[2]} |" for name in names} <= {*re.findall(r"^\| .*? \|", text, re.M)}


def test_nothing_is_merged_into_a_file_that_is_not_there(tmp_path: Path) -> None:
    file = tmp_path / "found.json"
    command = [sys.executable, "-m", "tests.benchmarks", "--merge", "--json", str(file), "--only", "render: siem"]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=120)
    assert (done.returncode, f"{file} does not exist" in done.stderr) == (2, True)


def test_figures_that_are_not_speeds_are_compared_as_such() -> None:
    found = {"list: deliveries": [Measure(p50=0.3)], PLAIN: [Measure(p50=0.1)], null_row(PLAIN): [Measure(p50=0.1)]}
    rows = figures(found)["rows"]
    assert rows["list: deliveries"]["ratio"] == pytest.approx(1 / 3)
    assert (rows[PLAIN]["void"], rows[PLAIN]["cpu_ratio"]) == (False, None)


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.234, "1.2 s"), (0.0456, "45.6 ms"), (2.5e-5, "25.0 us"), (3e-7, "0.3 us"), (0.1996, "200 ms")],
)
def test_a_time_is_shown_with_the_unit_that_fits(value: float, text: str) -> None:
    assert figure({"samples": [{"p50": value}]}, "p50") == text


@pytest.mark.campaign
def test_a_real_scan_is_measured(tmp_path: Path) -> None:
    few = ("--rounds", "1", "--storm", "50", "--seconds", "0", "--json", str(tmp_path / "found.json"))
    command = [sys.executable, "-m", "tests.benchmarks", *few, "--only", "host: storm, "]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "found.json").read_text())["rows"]
    kinds = (
        "no endpoint wants it",
        "endpoint healthy",
        "ten endpoints healthy",
        "endpoint dead",
        "endpoint slow",
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
