"""`sfwebhooks stats`: what a person, and a program, sees of the figures."""

from __future__ import annotations

import io
import json
import re
import signal
import time
from pathlib import Path
from subprocess import PIPE
from typing import Callable

import pytest
from rich.console import Console

from sfwebhooks.inspection.counting import EndpointRow, Round
from sfwebhooks.outbox.listing import Backlog
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.statistics import Figures, Quantiles
from sfwebhooks.retry import State
from sfwebhooks.terminal.stats_table import drawing
from tests.builders import NOW, PATIENCE
from tests.conftest import Result, sql
from tests.filled import HOSTILE, put, send
from tests.processes import Process
from tests.stores import BOTH
from tests.terminals import in_terminal
from tests.tiers import slow

STORES = BOTH

#: seconds of the age of what `filled` has
AGE = 60.0


@pytest.fixture
def filled(outbox: Outbox) -> Outbox:
    """To the team: 1 delivered after 3 s, 2 dead, 3 waiting; one for the siem, of a week ago."""
    now = time.time() - AGE
    put(outbox, 1, endpoint="siem", at=now - 7 * 86400)
    send(outbox, endpoint="siem", at=now - 7 * 86400)
    put(outbox, 1, 2, 3, at=now)
    send(outbox, at=now + 3)
    send(outbox, State.DEAD, "http_400", at=now + 3)
    return outbox


def settings(folder: Path, *names: str) -> None:
    """Write settings with these endpoints."""
    sections = (f"[webhooks.{name}]\nurl = https://example.test/{name}\nevents = all\n" for name in names)
    path = folder / "webhooks.ini"
    path.write_text("[webhooks]\n" + "".join(sections))
    path.chmod(0o600)


def test_each_endpoint_with_figures_is_a_line(cli: Callable[..., Result], filled: Outbox) -> None:
    result = cli("stats")
    lines = [" ".join(line.split()) for line in result.out.splitlines()]
    assert result.code == 0
    assert "team 3 1 1 1 1 60 s 3.1 s 3.1 s 0.12 s 0.12 s" in lines
    assert "siem" not in result.out


def test_a_longer_period_has_more(cli: Callable[..., Result], filled: Outbox) -> None:
    found = {one["endpoint"]: one["delivered"] for one in cli("stats", "--since", "30d", "--json").objects}
    assert found == {"siem": 1, "team": 1}


def test_endpoints_of_the_settings_are_first_even_without_deliveries(
    cli: Callable[..., Result], filled: Outbox, tmp_path: Path
) -> None:
    settings(tmp_path, "zebra", "siem")
    assert [one["endpoint"] for one in cli("stats", "--json").objects] == ["zebra", "siem", "team"]


def test_only_one_endpoint_can_be_shown(cli: Callable[..., Result], filled: Outbox) -> None:
    assert [one["endpoint"] for one in cli("stats", "--since", "30d", "--endpoint", "siem", "--json").objects] == [
        "siem"
    ]


def test_an_unknown_endpoint_is_said_with_those_that_there_are(cli: Callable[..., Result], filled: Outbox) -> None:
    assert 'no deliveries for an endpoint "sime", only for: siem, team' in cli("stats", "--endpoint", "sime").err


def test_a_program_gets_all_figures(cli: Callable[..., Result], filled: Outbox) -> None:
    sql(filled, "INSERT INTO withheld VALUES ('', 'team', 'outbox_full', 7)")
    (found,) = cli("stats", "--json").objects
    times = {name: found.pop(name) for name in ("at", "since", "oldest_at")}
    assert all(re.fullmatch(r"[-\dT:.]{23}Z", value) for value in times.values())
    assert found == {
        "endpoint": "team",
        "total": 3,
        "delivered": 1,
        "failed": 1,
        "dead": 1,
        "waiting": 1,
        "latency_seconds": {"p50": 3.1, "p95": 3.1},
        "attempt_seconds": {"p50": 0.12, "p95": 0.12},
        "withheld": {"outbox_full": 7},
        "per_second": None,
    }


def test_withheld_events_are_below_the_table(cli: Callable[..., Result], filled: Outbox) -> None:
    sql(filled, "INSERT INTO withheld VALUES ('', 'team', 'outbox_full', 7)")
    assert "team: 7 events refused because the outbox was full" in cli("stats").out


def test_an_outbox_that_nobody_used_has_no_endpoints(cli: Callable[..., Result], outbox: Outbox) -> None:
    outbox.scans.tallies()
    assert "No endpoints." in cli("stats").out


@pytest.mark.sqlite("no outbox is created")
def test_without_an_outbox_nothing_is_counted(cli: Callable[..., Result]) -> None:
    result = cli("stats")
    assert (result.code, "There is no outbox" in result.out) == (0, True)


@pytest.mark.sqlite("the file is damaged")
def test_a_corrupt_outbox_is_an_error(cli: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "webhooks.db").write_bytes(b"no database" * 1000)
    (tmp_path / "webhooks.db").chmod(0o600)
    result = cli("stats")
    assert (result.code, "is corrupt" in result.err) == (1, True)


@pytest.mark.parametrize("text", ["soon", "-5", "0x10", "24"])
def test_a_time_that_cannot_be_read_is_a_wrong_usage(
    cli: Callable[..., Result], filled: Outbox, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if text == "24":  # epoch seconds: 1970
        assert cli("stats", "--since", text).code == 0
        return
    with pytest.raises(SystemExit) as caught:
        cli("stats", f"--since={text}")
    assert (caught.value.code, "expected a duration such as 2h or 7d" in capsys.readouterr().err) == (2, True)


# --- the table


def a_round(*names: str, rate: float | None = None) -> Round:
    figures = Figures(1_000_000, 20_000, 4000, Quantiles(0.041, 3000.0), Quantiles(0.0, 0.5), {"outbox_full": 3})
    return Round(NOW, NOW - 86400, [EndpointRow(name, figures, Backlog(500_000, 0, NOW - 3e5), rate) for name in names])


def drawn(found: Round, width: int = 80, height: int = 24, watching: bool = False) -> list[str]:
    file = io.StringIO()
    out = Console(file=file, width=width, height=height, force_terminal=True, color_system=None)
    out.print(drawing(found, out, watching))
    return file.getvalue().splitlines()


@pytest.mark.parametrize("watching", [False, True])
@pytest.mark.parametrize(("width", "height"), [(80, 24), (110, 24), (200, 50)])
def test_a_million_fits_the_terminal(width: int, height: int, watching: bool) -> None:
    lines = drawn(a_round("siem_system", "team", rate=1234.5), width, height, watching)
    assert max(map(len, lines)) <= width and len(lines) <= height
    row = next(line for line in lines if line.startswith("team"))
    assert "1000000" in row and "500000" in row and "50 min" in row and "41 ms" in row


@pytest.mark.parametrize("width", range(40, 110, 5))
def test_a_narrow_terminal_has_fewer_columns_and_whole_numbers(width: int) -> None:
    lines = drawn(a_round("siem", "team", rate=1234.5), width, watching=True)
    headings, row = (next(line.split() for line in lines if line.startswith(name)) for name in ("endpoint ", "team "))
    assert max(map(len, lines)) <= width
    assert (headings[:2], row[:2]) in ((["endpoint", "delivered"], ["team", "1000000"]),
                                       (["endpoint", "total"], ["team", "1504000"]))  # fmt: skip
    whole = {
        "1504000",
        "1000000",
        "1234",
        "20000",
        "4000",
        "500000",
        "3",
        "d",
        "41",
        "ms",
        "50",
        "min",
        "0",
        "0.5",
        "s",
    }
    assert {*row[1:]} <= whole


def test_a_long_name_is_shown_in_full() -> None:
    name = "a-name-" * 20
    lines = drawn(a_round(name))
    assert name in "".join(line.split()[0] for line in lines if line[:1] not in ("", " ") and "-" in line.split()[0])


def test_while_watching_each_endpoint_is_one_line_and_the_others_are_counted() -> None:
    lines = drawn(a_round(*(f"endpoint-with-a-name-{number}" for number in range(100)), rate=0.5), watching=True)
    shown = [line for line in lines if line.startswith("endpoint")]
    assert (len(lines) <= 24, max(map(len, lines)) <= 80) == (True, True)
    assert f"{100 - len(shown) + 1} more endpoints: enlarge the window, or --endpoint NAME" in lines


def test_a_hostile_name_does_not_reach_the_terminal() -> None:
    lines = drawn(a_round(HOSTILE))
    assert all(line.isprintable() for line in lines)


# --- --watch


@pytest.fixture
def watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Process]:
    """Start `sfwebhooks stats --watch` with its output in a pipe."""
    monkeypatch.setenv("SPIDERFOOT_DATA", str(tmp_path))
    return lambda *arguments: Process(["stats", "--watch", *arguments], stdout=PIPE)


def test_in_a_pipe_each_round_is_a_line_until_ctrl_c(filled: Outbox, watch: Callable[..., Process]) -> None:
    with watch() as process:
        assert process.stdout
        first = process.stdout.readline()
        send(filled, at=time.time())
        second = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0
    assert first[25:] == "1 delivered, 1 attempt failed, 1 dead, 1 waiting\n"
    assert re.fullmatch(r"2 delivered, 1 attempt failed, 1 dead, 0 waiting, 0\.[345] per s\n", second[25:])


@slow
def test_a_program_gets_the_rate_from_the_second_round_on(filled: Outbox, watch: Callable[..., Process]) -> None:
    with watch("--json") as process:
        assert process.stdout
        first = json.loads(process.stdout.readline())
        send(filled, at=time.time())
        second = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0
    assert (first["per_second"], 0 < second["per_second"] <= 0.5) == (None, True)


@slow
def test_an_ended_reader_ends_it_without_a_traceback(filled: Outbox, watch: Callable[..., Process]) -> None:
    process = watch()
    assert process.stdout and process.stdout.readline()
    process.stdout.close()
    assert process.wait(PATIENCE) == 1


def test_in_a_terminal_the_table_is_drawn_in_place_and_stays_after_ctrl_c(filled: Outbox) -> None:
    code, text = in_terminal(["stats", "--watch", "--folder", str(filled.path.parent)], [("p50, p95:", "\x03")])
    enter, leave = "\x1b[?1049h", "\x1b[?1049l"
    assert (code, text.count(enter), text.count(leave)) == (0, 1, 1)
    while_watching, after = text.partition(enter)[2].split(leave)
    assert "per s" in while_watching and "per s" not in after
    assert "team" in while_watching and "team" in after
