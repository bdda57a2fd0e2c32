"""`sfwebhooks emit`: what a person and a script see of it, and that it arrives."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from sfwebhooks.catalogue import EVENT_TYPES
from sfwebhooks.catalogue.json_schema import document
from tests import processes
from tests.builders import PATIENCE
from tests.conftest import Result, Team
from tests.receivers.examples import SECURITY_AUDIT
from tests.stores import BOTH
from tests.test_service import Run, run

STORES = BOTH

__all__ = ["run"]
SECRET = "the secret of the team"
REPORT = {"report_id": "report-1", "title": "Threats"}
#: what the tool of the security-audit guide says
GUIDE = {message["event_type"]: message["data"] for message in SECURITY_AUDIT}


@pytest.fixture
def team(receive: Callable[..., Team], tmp_path: Path) -> Team:
    """A receiver that takes all, under the names of its guide where it asks for them."""
    made = receive([SECRET])
    events = ", ".join(["all", *GUIDE])
    configure(tmp_path, f"team.url = {made.url}\nteam.secret = {SECRET}\nteam.events = {events}\n")
    return made


def configure(folder: Path, lines: str) -> None:
    (folder / "webhooks.ini").write_text(f"[webhooks]\n{lines}")
    (folder / "webhooks.ini").chmod(0o600)


def file(folder: Path, data: Any) -> str:
    path = folder / "data.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return str(path)


def emit_of(text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a process, with that on its standard input."""
    return processes.run(["emit", *arguments], input=text, timeout=PATIENCE)


@pytest.mark.parametrize("name", GUIDE)
def test_what_the_guides_tools_say_arrives_signed_and_valid_by_the_schema(
    name: str, cli: Callable[..., Result], team: Team, tmp_path: Path
) -> None:
    assert cli("emit", name, "--data", file(tmp_path, GUIDE[name])).code == 0
    assert team.got == []
    assert cli("drain").code == 0
    [received] = team.wait_for(1)
    assert (received.problems, received.message["event_type"]) == ((), name)
    assert received.message["data"].items() >= GUIDE[name].items()
    Draft202012Validator(document(EVENT_TYPES)).validate(received.message)


def test_it_says_for_whom_it_was_accepted_and_who_delivers_it(cli: Callable[..., Result], tmp_path: Path) -> None:
    configure(tmp_path, "events = all\nsoc.url = http://127.0.0.1:9/soc\nwiki.url = http://127.0.0.1:9/wiki\n")
    said = cli("emit", "cti_report_generated", "--data", file(tmp_path, REPORT), "--id", "1")
    idle = "1 waiting: no process is sending: sfwebhooks drain sends once, sfwebhooks run keeps sending"
    identity = said.out.split()[1]
    assert (said.code, said.err) == (0, "")
    assert said.out == f"event {identity} accepted for 2 endpoints (soc, wiki).\nsoc: {idle}\nwiki: {idle}\n"
    again = cli("emit", "cti_report.generated", "--data", file(tmp_path, REPORT), "--id", "1")
    assert (again.code, again.out) == (
        0,
        f"event {identity} was already accepted under the same id; it is sent once.\n",
    )
    configure(tmp_path, "events = all\nsoc.url = http://127.0.0.1:9/soc\nnew.url = http://127.0.0.1:9/new\n")
    later = cli("emit", "cti_report_generated", "--data", file(tmp_path, REPORT), "--id", "1")
    assert later.out == (
        f"event {identity} accepted for 1 endpoint (soc, new), already stored for 1 of them.\n"
        f"new: {idle}\nsoc: {idle}\n"
    )


def test_that_nobody_wants_it_is_said_and_no_failure(cli: Callable[..., Result], tmp_path: Path) -> None:
    configure(tmp_path, "team.url = http://127.0.0.1:9/team\n")
    said = cli("emit", "cti_report_generated", "--data", file(tmp_path, REPORT))
    assert (said.code, said.out.startswith("No endpoint subscribes to cti_report_generated; nothing was stored.")) == (
        0,
        True,
    )


def test_data_can_come_from_standard_input(team: Team, cli: Callable[..., Result]) -> None:
    done = emit_of(json.dumps(REPORT), "cti_report_generated", "--data", "-", "--severity", "high")
    assert (done.returncode, done.stderr) == (0, "")
    assert cli("drain").code == 0
    [received] = team.wait_for(1)
    assert (received.message["data"], received.message["metadata"]["severity"]) == (REPORT, "high")


@pytest.mark.sqlite("no outbox is created")
@pytest.mark.parametrize(
    ("data", "mistake"),
    [
        ("", "is empty; expected a JSON object"),
        ("hello", "is not JSON: Expecting value in line 1, column 1"),
        ("[1]", "data is not a JSON object"),
        ("null", "data is not a JSON object"),
        ('{"report_id": "1", "title": NaN}', "NaN is not JSON"),
        ('{"report_id": "1", "report_id": "2", "title": ""}', 'the key "report_id" occurs twice'),
        ('{"report_id": "1", "title": "\\ud800"}', "data.title contains a lone surrogate"),
        ('{"report_id": "1"}', "data.title is missing; expected a string (Its title)"),
        ('{"report_id": 1, "title": "x"}', "data.report_id is 1; expected a string (Its id)"),
        (f'{{"report_id": "1", "title": "{"x" * 5_000_000}"}}', "has more than the accepted 2,097,152 bytes"),
    ],
    ids=lambda value: str(value)[:40],
)
@pytest.mark.parametrize("source", ["file", "standard input"])
def test_wrong_data_are_an_error_that_says_what_would_be_right(
    source: str,
    data: str,
    mistake: str,
    team: Team,
    cli: Callable[..., Result],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data.encode())))
    said = cli("emit", "cti_report_generated", "--data", "-" if source == "standard input" else file(tmp_path, data))
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("sfwebhooks: ") and mistake in said.err and len(said.err) < 1000
    assert "Traceback" not in said.err
    assert not (tmp_path / "webhooks.db").exists()


@pytest.mark.parametrize(
    ("arguments", "mistake"),
    [
        (("cti_report_generated", "/nonexistent"), "/nonexistent cannot be read: No such file"),
        (("cti_report_generated", "/"), "/ cannot be read: Is a directory"),
        (("system_alert", "GOOD"), "system_alert is not accepted from other tools; expected one of scan_started"),
        (("cti_report", "GOOD"), "no event type is called 'cti_report'"),
        (("cti_report_generated", "GOOD", "--severity", "bad"), "severity is 'bad'; expected critical"),
        (("cti_report_generated", "GOOD", "--id", "\udcff"), "id must be a string of 1 to 1024"),
        (("cti_report_generated", "GOOD", "--config", "/nonexistent"), "/nonexistent"),
    ],
)
def test_wrong_arguments_are_an_error_that_says_what_would_be_right(
    arguments: tuple[str, ...], mistake: str, team: Team, cli: Callable[..., Result], tmp_path: Path
) -> None:
    good = file(tmp_path, REPORT)
    name, data, *rest = arguments
    said = cli("emit", name, "--data", good if data == "GOOD" else data, *rest)
    assert (said.code, said.out) == (1, "")
    assert mistake in said.err


def test_a_closed_standard_input_is_an_error() -> None:
    command = f"exec {sys.executable} -m sfwebhooks emit cti_report_generated --data - <&-"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, "standard input cannot be read" in done.stderr) == (1, True)


def test_a_service_that_runs_delivers_it(
    team: Team, run: Callable[[], Run], cli: Callable[..., Result], tmp_path: Path
) -> None:
    service = run()
    service.wait_for("sending")
    assert cli("emit", "cti_report_generated", "--data", file(tmp_path, REPORT)).code == 0
    [received] = team.wait_for(1)
    assert (received.problems, received.message["data"]) == ((), REPORT)
