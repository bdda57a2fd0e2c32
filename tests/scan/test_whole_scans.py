"""A scan whose endpoint takes whole scans: one request with all that passes its filters, from its own process or from
another one."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from sfwebhooks.cli import main
from sfwebhooks.config.settings import load
from sfwebhooks.outbox.outbox import Outbox
from tests.conftest import Team
from tests.scanning import Scanning
from tests.stores import BOTH, place_in
from tests.threads import until

STORES = BOTH
pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture
def scanning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scanning:
    monkeypatch.setenv("SPIDERFOOT_DATA", str(tmp_path))
    return Scanning(tmp_path)


def settings_of(team: Team, format: str, **keys: str) -> str:
    given = {"events": "all", **keys}
    return "\n".join([f"url = {team.url}", f"format = {format}", *(f"{key} = {one}" for key, one in given.items())])


def test_a_scan_is_one_file_with_what_passes_the_filters(scanning: Scanning, receive: Callable[..., Team]) -> None:
    lines, rows, single = receive(), receive(), receive()
    scanning.configure(
        "drain_timeout = 10s",
        lines=settings_of(lines, "jsonl"),
        rows=settings_of(rows, "csv", events="finding.*", finding_types="VULNERABILITY_*"),
        single=settings_of(single, "generic", events="high_risk_event"),
    )
    scanning.begin()
    scanning.find(20)
    scanning.find(5, "TCP_PORT_OPEN")
    scanning.find(3, received=False)  # which recovery finds
    until(lambda: len(single.got) == 20)
    assert (lines.got, rows.got) == ([], [])
    scanning.finish()
    until(lambda: len(lines.got) == len(rows.got) == 1)
    messages = [json.loads(line) for line in lines.got[0].body.decode().splitlines()]
    names = [message["event_type"] for message in messages]
    assert (names[0], names[-1], names.count("high_risk_event")) == ("scan_started", "scan_completed", 23)
    assert [message["metadata"]["sequence"] for message in messages] == [*range(1, len(messages) + 1)]
    table = [*csv.DictReader(io.StringIO(rows.got[0].body.decode(), newline=""))]
    assert len(table) == 23 and {row["type"] for row in table} == {"VULNERABILITY_CVE_HIGH"}


def test_a_scan_without_findings_is_a_file(scanning: Scanning, receive: Callable[..., Team]) -> None:
    team = receive()
    scanning.configure(team=settings_of(team, "sarif", events="vulnerability_found"))
    scanning.begin()
    scanning.finish()
    until(lambda: len(team.got) == 1)
    assert json.loads(team.got[0].body)["runs"][0]["results"] == []


def test_a_backfill_makes_a_file_of_a_past_scan(scanning: Scanning, receive: Callable[..., Team]) -> None:
    team, other = receive(), receive()
    scanning.configure(other=settings_of(other, "generic"))
    scanning.begin()
    scanning.find(7)
    scanning.finish()
    scanning.configure(team=settings_of(team, "jsonl"))
    ini = str(scanning.folder / "webhooks.ini")
    assert main(["backfill", scanning.scan.id, "--endpoint", "team", "--config", ini]) == 0
    assert main(["drain", "--config", ini]) == 0
    (asked,) = team.got
    names = [json.loads(line)["event_type"] for line in asked.body.decode().splitlines()]
    assert (names[0], names[-1], names.count("high_risk_event")) == ("scan_started", "scan_completed", 7)


def test_status_says_that_it_waits_for_the_end_of_the_scan(
    scanning: Scanning, receive: Callable[..., Team], capsys: pytest.CaptureFixture[str]
) -> None:
    team = receive()
    scanning.configure(team=settings_of(team, "jsonl"))
    scanning.begin()
    scanning.find(2)
    ini = str(scanning.folder / "webhooks.ini")
    main(["status", "--config", ini])
    assert "waits for the end of the scan" in capsys.readouterr().out
    with closing(Outbox(place_in(scanning.folder), listing=True)) as records:
        limits = load(scanning.folder / "webhooks.ini").endpoints[0]
        assert limits.takes_scans and records.listing.backlog("team").waiting == 3
    scanning.finish()
    until(lambda: len(team.got) == 1)
