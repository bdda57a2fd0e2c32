"""`emit`: what other tools tell is kept once for whom it concerns, and judged before."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from sfwebhooks import emission, emit, emitted_event
from sfwebhooks.catalogue import EVENT_TYPES, EventType
from sfwebhooks.catalogue.json_schema import document
from sfwebhooks.cli import main
from sfwebhooks.emission import NEXT_SENDER, keep
from sfwebhooks.emitted_event import Emission
from sfwebhooks.endpoints import Secret
from sfwebhooks.errors import ConfigError, EmitError, OutboxError
from sfwebhooks.events import WebhookEvent
from sfwebhooks.examples import ENDPOINT
from sfwebhooks.formats import FORMATS, generic
from sfwebhooks.outbox.claim import Limits
from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.severity import Severity
from tests.builders import NOW, PATIENCE, a_delivery, claim_one
from tests.catalogue.test_check import example_of
from tests.conftest import Team, sql
from tests.processes import Process
from tests.rows import in_one
from tests.stores import BOTH, place_in
from tests.threads import forked, is_well
from tests.tiers import slow
from tests.users import descriptors

STORES = BOTH

BY_OTHERS = [entry for entry in EVENT_TYPES if entry.by_others]
REPORT = {"report_id": "report-1", "title": "Threats"}
FINDING = {"finding_id": "f-1", "title": "A key", "severity": "critical"}
#: what is added to it
ADDED = {"target": "", "event_type": "A key", "data": "A key", "scan_id": "", "repository_url": "",
         "description": "A key", "category": "", "file": "", "line": None,
         "remediation": {"available": False, "auto_fixable": False, "description": "None is known."}}  # fmt: skip
SCAN = {"scan_id": "1", "findings_summary": {"critical": 1, "high": 2, "medium": 3, "low": 4, "total": 10},
        "duration_seconds": 9, "repository_url": "https://git.acme.test/x"}  # fmt: skip
WEBHOOKS = "[webhooks]\nsecret = a long secret text\nevents = all\n"
each_type = pytest.mark.parametrize("entry", BY_OTHERS, ids=lambda entry: entry.name)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Let tmp_path be SpiderFoot's data folder; write its configuration: `settings(lines)`."""
    monkeypatch.setenv("SPIDERFOOT_DATA", str(tmp_path))

    def write(lines: str) -> Path:
        path = tmp_path / "webhooks.ini"
        path.write_text(WEBHOOKS + lines)
        return path

    write("team.url = http://127.0.0.1:9/team\n")
    return write


@pytest.fixture
def kept(settings: object, outbox: Outbox) -> Callable[[], list[tuple[Any, ...]]]:
    """Return what is kept: endpoint, name, number, type, severity, special and data of each delivery."""
    query = (
        "SELECT d.endpoint, d.name, d.sequence, e.type, e.severity, e.special, e.data"
        " FROM delivery d JOIN event e ON e.number = d.event ORDER BY d.number"
    )
    return lambda: [(*row[:6], json.loads(row[6])) for row in sql(outbox, query)]


def event_of(type: str, data: Any, severity: str | None = None, id: str | None = None) -> WebhookEvent:
    return emitted_event.event_of(Emission(type, data, id, severity), NOW)


@each_type
def test_each_example_of_the_catalogue_can_be_emitted_under_name_and_alias(
    entry: EventType, kept: Callable[[], Any]
) -> None:
    data = example_of(entry.by_others)
    ids = [emit(entry.name, data), emit(entry.alias, data)]
    assert [str(uuid.UUID(one)) for one in ids] == ids and len(set(ids)) == 2
    assert [row[2] for row in kept()] == [1, 2]
    assert all(row[6].items() >= data.items() for row in kept())


@each_type
def test_an_emitted_event_is_valid_by_the_schema_in_its_message(entry: EventType) -> None:
    event = event_of(entry.name, example_of(entry.by_others))
    validator = Draft202012Validator(document(EVENT_TYPES))
    for name in (entry.name, entry.alias):
        body = json.loads(generic.render(a_delivery(event, name=name), ENDPOINT).body)
        assert [error.message for error in validator.iter_errors(body)] == []


@in_one("entry", BY_OTHERS)
@pytest.mark.parametrize("format_name", [name for name, one in FORMATS.items() if not one.bundle])
def test_each_format_can_render_each_emitted_event(format_name: str, entry: EventType) -> None:
    data = example_of(entry.by_others)
    delivery = a_delivery(event_of(entry.name, data), name=entry.name)
    endpoint = replace(ENDPOINT, own={"template": Secret("{{ data | tojson }}")})
    body = FORMATS[format_name].render(delivery, endpoint).body.decode()
    words = next((data[key] for key in ("title", "error_message", "reason", "name") if key in data), "")
    assert words in body


# --- who gets it


@pytest.mark.parametrize(
    ("events", "name"),
    [
        ("finding.critical", "finding.critical"),
        ("high_risk_event", "high_risk_event"),
        ("finding.*", "high_risk_event"),
        ("all", "high_risk_event"),
    ],
)
def test_a_finding_comes_under_the_name_that_the_scanners_would_have(
    events: str, name: str, settings: Callable[[str], Path], kept: Callable[[], Any]
) -> None:
    settings(f"team.url = http://127.0.0.1:9/team\nteam.events = {events}\n")
    emit("finding.critical", FINDING)
    assert kept() == [("team", name, 1, "high_risk_event", Severity.CRITICAL, None, {**FINDING, **ADDED})]


def test_a_vulnerability_is_special_and_says_so_to_who_takes_all(kept: Callable[[], Any]) -> None:
    emit("finding.vulnerability", {**FINDING, "severity": "medium"})
    content = {**FINDING, **ADDED, "severity": "medium", "special": "vulnerability_found"}
    assert kept() == [
        ("team", "medium_risk_event", 1, "medium_risk_event", Severity.MEDIUM, "vulnerability_found", content)
    ]


@pytest.mark.parametrize(
    ("severity", "name"), [("high", "high_risk_event"), ("low", "low_risk_event"), ("critical", "high_risk_event")]
)
def test_a_finding_has_the_severity_that_the_settings_give_its_type(
    severity: str, name: str, settings: Callable[[str], Path], kept: Callable[[], Any]
) -> None:
    settings(f"team.url = http://127.0.0.1:9/team\n[webhooks-severity]\n{severity} = EMAILADDR_*\n")
    emit("medium_risk_event", {"event_type": "EMAILADDR_COMPROMISED", "data": "anna@acme.example"})
    emit("medium_risk_event", {"event_type": "PHONE_NUMBER", "data": "555"})
    first, second = kept()
    assert (first[1], first[3], first[4]) == (name, name, Severity.parse(severity))
    assert first[6]["severity"] == severity
    assert second[1] == "medium_risk_event"


def test_what_filters_withhold_is_counted_and_not_stored(
    settings: Callable[[str], Path], kept: Callable[[], Any], outbox: Outbox
) -> None:
    settings("team.url = http://127.0.0.1:9/team\nteam.min_severity = high\nteam.modules = sfp_x\n")
    emitted = keep(Emission("finding.low", {**FINDING, "severity": "low"}))
    assert (emitted.endpoints, emitted.new, kept()) == ((), 0, [])
    emit("finding.critical", FINDING)
    assert [row[0] for row in kept()] == ["team"], "it names no module"
    assert outbox.scans.withheld("") == {"team": {"severity": 1}}


def test_only_subscribers_get_it_and_under_the_subscribed_name(
    settings: Callable[[str], Path], kept: Callable[[], Any]
) -> None:
    settings(
        "soc.url = http://127.0.0.1:9/soc\nsoc.events = cti_report.generated\n"
        "wiki.url = http://127.0.0.1:9/wiki\nwiki.events = cti_*\n"
        "other.url = http://127.0.0.1:9/x\nother.events = scan_*\n"
    )
    emit("cti_report_generated", REPORT)
    assert [row[:3] for row in kept()] == [("soc", "cti_report.generated", 1), ("wiki", "cti_report_generated", 1)]


@pytest.mark.sqlite("no outbox is created")
def test_an_event_that_nobody_wants_is_not_an_error_and_leaves_nothing(
    settings: Callable[[str], Path], tmp_path: Path
) -> None:
    settings("team.url = http://127.0.0.1:9/team\nteam.events = scan_*\n")
    assert uuid.UUID(emit("cti_report_generated", REPORT))
    assert not (tmp_path / FILE).exists()


# --- what is added


def test_a_scan_has_what_receivers_of_spiderfoots_scans_read() -> None:
    content = event_of("scan.completed", SCAN).data
    added = {"target": SCAN["repository_url"], "target_type": "", "status": "FINISHED", "events_found": 10,
             "high_risk_events": 3, "medium_risk_events": 3, "low_risk_events": 4, "duration": 9,
             "modules_used": [], "report_url": None}  # fmt: skip
    assert content == {**SCAN, **added}


def test_a_finding_has_what_receivers_of_spiderfoots_findings_read() -> None:
    content = event_of("finding.critical", {**FINDING, "category": "Secrets", "description": "A key is public."}).data
    assert (content["event_type"], content["data"], content["target"]) == ("Secrets", "A key is public.", "")


def test_a_tools_own_words_win() -> None:
    own = {**SCAN, "target": "shop", "status": "DONE", "high_risk_events": 0, "modules_used": ["a"]}
    assert event_of("scan.completed", own).data.items() >= own.items()


def test_a_key_that_the_type_does_not_have_is_not_looked_into() -> None:
    data = {"scan_id": "1", "error_message": "x", "findings_summary": "none", "duration_seconds": None}
    added = {"target": "", "target_type": "", "repository_url": "", "error": "x"}
    assert event_of("scan.failed", data).data == {**data, **added}


# --- ids and severities


def test_the_same_id_of_the_same_type_is_sent_once(kept: Callable[[], Any]) -> None:
    first = emit("cti_report_generated", REPORT, id="report 1 \N{SNOWMAN}")
    assert emit("cti_report.generated", {**REPORT, "title": "Other"}, id="report 1 \N{SNOWMAN}") == first
    assert [row[6] for row in kept()] == [REPORT]


def test_the_same_id_of_another_type_is_another_event(kept: Callable[[], Any]) -> None:
    started = {"remediation_id": "r", "finding_id": "f", "remediation_type": "automated"}
    emit("remediation.started", started, id="r")
    emit("remediation.completed", {**started, "changes_applied": [], "pr_created": False}, id="r")
    assert [row[3] for row in kept()] == ["remediation.started", "remediation.completed"]


def test_a_later_subscriber_gets_it_under_the_same_id(settings: Callable[[str], Path], kept: Callable[[], Any]) -> None:
    emit("cti_report_generated", REPORT, id="1")
    settings("team.url = http://127.0.0.1:9/team\nsoc.url = http://127.0.0.1:9/soc\n")
    emit("cti_report_generated", REPORT, id="1")
    assert [row[:3] for row in kept()] == [("team", "cti_report_generated", 1), ("soc", "cti_report_generated", 1)]


@pytest.mark.parametrize(
    ("type", "given", "stated", "severity"),
    [
        ("cti_report_generated", None, None, Severity.INFO),
        ("cti_report_generated", "HIGH", None, Severity.HIGH),
        ("scan.failed", None, None, Severity.MEDIUM),
        ("scan.failed", "medium", None, Severity.MEDIUM),
        ("finding.vulnerability", None, "low", Severity.LOW),
        ("high_risk_event", "critical", "critical", Severity.CRITICAL),
    ],
)
def test_the_severity_is_the_one_given_or_stated_or_the_types_own(
    type: str, given: str | None, stated: str | None, severity: Severity
) -> None:
    entry = next(one for one in BY_OTHERS if type in (one.name, one.alias))
    data = {**example_of(entry.by_others), **({"severity": stated} if stated else {})}
    assert event_of(type, data, given).severity is severity


@pytest.mark.parametrize(
    ("type", "given", "severity"), [("finding.high", None, "high"), ("high_risk_event", "critical", "critical")]
)
def test_a_severity_that_is_the_only_one_or_given_need_not_be_in_the_data(
    type: str, given: str | None, severity: str
) -> None:
    event = event_of(type, {"title": "A key"}, given)
    assert (event.severity.label, event.data["severity"]) == (severity, severity)


def test_a_severity_with_the_catalogues_fields_is_data_like_any_other() -> None:
    event = event_of("cti_report_generated", {**REPORT, "severity": {"CVSS": 9}})
    assert (event.severity, event.data["severity"]) == (Severity.INFO, {"CVSS": 9})


@pytest.mark.parametrize(
    ("type", "data", "given", "content"),
    [
        (
            "cti_report_generated",
            REPORT,
            "urgent",
            "severity is 'urgent'; expected critical, high, medium, low or info",
        ),
        ("cti_report_generated", REPORT, 3, "severity is 3; expected critical"),
        ("scan.failed", {"scan_id": "1", "error_message": "x"}, "high", "expected medium for scan_failed"),
        (
            "scan.failed",
            {"scan_id": "1", "error_message": "x"},
            "urgent",
            "is 'urgent'; expected medium for scan_failed",
        ),
        ("finding.critical", FINDING, "urgent", "severity is 'urgent'; expected critical for finding.critical$"),
        ("high_risk_event", {**FINDING, "severity": "low"}, None, 'data.severity is "low"; expected critical or high '),
        ("finding.high", {**FINDING, "severity": "urgent"}, None, r'data.severity is "urgent"; expected high \('),
        ("finding.critical", FINDING, "high", "severity is high; expected critical for finding.critical$"),
        ("high_risk_event", FINDING, "high", "severity is high, but data.severity is critical; they must be equal"),
        ("high_risk_event", {"title": "x"}, None, "data.severity is missing; expected critical or high "),
    ],
)
def test_a_severity_that_cannot_be_is_refused(type: str, data: Any, given: Any, content: str) -> None:
    with pytest.raises(EmitError, match=content):
        event_of(type, data, given)


# --- what is refused


@pytest.mark.parametrize(
    ("type", "data", "content"),
    [
        ("cti_report_genrated", REPORT, 'no event type is called .* Did you mean "cti_report_generated"'),
        ("system_alert", {}, "system_alert is not accepted from other tools; expected one of scan_started, "),
        (None, REPORT, "no event type is called None"),
        ("cti_report_generated", [REPORT], "data is not a JSON object"),
        ("cti_report_generated", None, "data is not a JSON object"),
        (
            "cti_report_generated",
            {**REPORT, "text": "x" * 5_000_000},
            "data has 5,0.* bytes as JSON; expected at most 1,048,576",
        ),
        ("cti_report_generated", {**REPORT, "score": float("nan")}, "data.score is nan"),
        (
            "cti_report_generated",
            {"report_id": 7},
            "data.report_id is 7; .*\n.*data.title is missing; expected a string",
        ),
        ("multi_scan_completed", {"scan_ids": ["\x1b[2J", 1]}, r"data.scan_ids\[1\] is 1; expected a string"),
    ],
)
def test_what_is_not_as_the_catalogue_says_is_refused(type: Any, data: Any, content: str) -> None:
    with pytest.raises(EmitError, match=content):
        event_of(type, data)


def test_many_mistakes_are_shown_in_part() -> None:
    with pytest.raises(EmitError) as refused:
        event_of("multi_scan_completed", {"scan_ids": [0] * 1000})
    assert "and 994 more" in str(refused.value) and str(refused.value).count("\n") == 11


def test_a_mistake_moves_no_cursor() -> None:
    with pytest.raises(EmitError) as refused:
        event_of(
            "cti_report_generated", {**REPORT, "report_id": ["\x1b[2J"], "target": "\x1b[2J", "scan_id": {"\x1b": 1}}
        )
    assert "\x1b" not in str(refused.value)


@pytest.mark.parametrize("id", ["", "x" * 1025, "\ud800", 7])
def test_an_id_is_a_text(id: Any) -> None:
    with pytest.raises(EmitError, match="id must be a string of 1 to 1024"):
        event_of("cti_report_generated", REPORT, id=id)


# --- settings and outbox


def test_without_a_configuration_nothing_is_emitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIDERFOOT_DATA", str(tmp_path))
    with pytest.raises(ConfigError, match="no configuration"):
        emit("cti_report_generated", REPORT)


@pytest.mark.parametrize("off", ["file", "environment"])
def test_off_is_off_and_says_so(off: str, settings: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    settings("enabled = false\n" if off == "file" else "")
    if off == "environment":
        monkeypatch.setenv("SFWEBHOOKS_DISABLED", "1")
    with pytest.raises(ConfigError, match="webhooks are off"):
        emit("cti_report_generated", REPORT)


def test_the_configuration_can_be_named(
    settings: Callable[[str], Path], tmp_path: Path, kept: Callable[[], Any]
) -> None:
    settings("").rename(tmp_path / "other.ini")
    (tmp_path / "other.ini").write_text(WEBHOOKS + "soc.url = http://127.0.0.1:9/soc\n")
    emit("cti_report_generated", REPORT, config=tmp_path / "other.ini")
    assert [row[0] for row in kept()] == ["soc"]
    with pytest.raises(ConfigError, match="gone"):
        emit("cti_report_generated", REPORT, config=tmp_path / "gone.ini")


def test_an_endpoint_with_a_mistake_accepts_and_is_logged(
    settings: Callable[[str], Path], kept: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    settings("team.url = http://127.0.0.1:9/team\nsoc.url = nowhere\n")
    emit("cti_report_generated", REPORT)
    assert [row[0] for row in kept()] == ["team", "soc"]
    assert "soc" in caplog.text and "url" in caplog.text
    settings("soc.url = https://soc.example/\nsoc.events = nowhere\n")
    with pytest.raises(ConfigError, match="no endpoint can be used"):
        emit("cti_report_generated", REPORT)


def test_a_mistake_is_logged_once_by_a_process_that_emits_often(
    settings: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    for timeout in ("5 apples", "5 apples", "5 pears", "5 apples"):
        settings(f"team.url = http://127.0.0.1:9/team\nsoc.url = http://127.0.0.1:9/soc\nsoc.timeout = {timeout}\n")
        emit("cti_report_generated", REPORT)
    logged = [record.getMessage() for record in caplog.records]
    assert [sum(timeout in text for text in logged) for timeout in ("5 apples", "5 pears")] == [1, 1]


@pytest.mark.sqlite("the file's size")
def test_a_full_outbox_refuses_a_plain_finding_with_words(
    settings: Callable[[str], Path], kept: Callable[[], Any]
) -> None:
    settings("team.url = http://127.0.0.1:9/team\noutbox_max_mb = 1\n")
    plain_fact = {**FINDING, "severity": "info"}
    for _ in range(9):
        emit("cti_report_generated", {**REPORT, "text": "x" * 100_000})
    with pytest.raises(OutboxError, match="too full for a finding of severity info"):
        emit("info_event", plain_fact)
    emit("cti_report_generated", REPORT)
    assert {row[3] for row in kept()} == {"cti_report_generated"}


@pytest.mark.sqlite("the file is locked")
def test_an_outbox_that_another_process_writes_to_is_waited_for(
    outbox: Outbox, kept: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox.scans.tallies()
    other = sqlite3.connect(outbox.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr(emission, "PATIENCE_SECONDS", 0.0)
    with pytest.raises(OutboxError, match="locked"):
        emit("cti_report_generated", REPORT)
    monkeypatch.setattr(emission, "PATIENCE_SECONDS", PATIENCE)
    monkeypatch.setattr("sfwebhooks.emission.time.sleep", lambda seconds: other.close())  # while emit waits
    emit("cti_report_generated", REPORT)
    assert len(kept()) == 1


@pytest.mark.sqlite("the file is damaged")
def test_a_corrupt_outbox_is_set_aside_and_the_event_is_in_the_new_one(outbox: Outbox, kept: Callable[[], Any]) -> None:
    outbox.path.write_bytes(b"this is no database" * 1000)
    emit("cti_report_generated", REPORT)
    assert len(kept()) == 1 and list(outbox.path.parent.glob("webhooks.db.corrupt-*"))


def test_a_data_folder_that_is_not_there_is_an_error(
    settings: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = settings("team.url = http://127.0.0.1:9/team\n")
    monkeypatch.setenv("SPIDERFOOT_DATA", "/nonexistent")
    with pytest.raises(OutboxError, match="/nonexistent"):
        emit("cti_report_generated", REPORT, config=file)


# --- processes

EMIT = """
import sys
from sfwebhooks import emit
for number in range(int(sys.argv[2])):
    emit("cti_report_generated", {"report_id": str(number), "title": sys.argv[1]}, id=sys.argv[1] + str(number))
    emit("cti_report_generated", {"report_id": str(number), "title": "both"}, id=f"both {number}")
print("done", flush=True)
sys.stdin.readline()
"""


def process(name: str, number: int = 25) -> Process:
    return Process([name, number], EMIT, stdin=PIPE, stdout=PIPE)


@pytest.mark.slow
def test_two_processes_at_once_lose_nothing_and_send_nothing_twice(kept: Callable[[], Any]) -> None:
    both = [process("one"), process("two")]
    for one in both:
        said, _ = one.communicate("\n")
        assert (one.returncode, said) == (0, "done\n")
    assert sorted(row[2] for row in kept()) == list(range(1, 76)), "numbered without gaps"
    content = sorted((row[6]["title"], int(row[6]["report_id"])) for row in kept())
    assert content == [(title, number) for title in ("both", "one", "two") for number in range(25)]


def test_an_emitted_event_outlives_a_kill(kept: Callable[[], Any]) -> None:
    with process("one", 3) as killed:
        assert killed.stdout and killed.stdout.readline() == "done\n"
        killed.kill()
    assert len(kept()) == 6


def opened(path: Path) -> list[int]:
    """Return the descriptors of this process that have a file open."""
    here, found = path.stat(), []
    for name in descriptors():
        with suppress(OSError):
            if os.path.samestat(os.fstat(int(name)), here):
                found.append(int(name))
    return sorted(found)


@pytest.mark.sqlite("the file's descriptors")
def test_the_outbox_stays_open_for_the_next_call_and_no_other_does(outbox: Outbox, kept: Callable[[], Any]) -> None:
    other = outbox.path.parent / "other"
    other.mkdir()
    emit("cti_report_generated", REPORT)
    before = opened(outbox.path)
    emit("cti_report_generated", REPORT)
    assert len(before) == 1 and opened(outbox.path) == before
    (other / "webhooks.ini").write_text(WEBHOOKS + "team.url = http://127.0.0.1:9/team\n")
    keep(Emission("cti_report_generated", REPORT), folder=other)
    assert (opened(outbox.path), len(opened(other / FILE))) == ([], 1)
    assert len(kept()) == 2


@pytest.mark.sqlite("the file's log")
def test_the_outbox_is_closed_at_the_exit(settings: object, tmp_path: Path) -> None:
    with process("one", 3) as one:
        assert one.stdout and one.stdout.readline() == "done\n"
        assert (tmp_path / f"{FILE}-wal").stat().st_size
        one.communicate("\n")
    assert (tmp_path / FILE).exists() and not (tmp_path / f"{FILE}-wal").exists()


@pytest.mark.sqlite("the file is lost")
@pytest.mark.parametrize("how", ["removed", "moved", "replaced"])
def test_an_outbox_that_is_gone_is_noticed_by_the_next_call(
    how: str, outbox: Outbox, kept: Callable[[], Any], tmp_path: Path
) -> None:
    emit("cti_report_generated", REPORT)
    for path in tmp_path.glob(f"{FILE}*"):
        path.unlink() if how == "removed" else path.rename(tmp_path / f"old-{path.name}")
    if how == "replaced":
        with closing(Outbox(outbox.place)) as new:
            new.database.check()
    emit("cti_report_generated", {**REPORT, "title": "Later"})
    assert [row[6]["title"] for row in kept()] == ["Later"]


def test_a_changed_variable_of_the_settings_is_noticed_by_the_next_call(
    settings: Callable[[str], Path], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings("team.url = env:TEAM_URL\n")
    monkeypatch.setenv("TEAM_URL", "http://127.0.0.1:9/team")
    emit("cti_report_generated", REPORT)
    assert "TEAM_URL" not in caplog.text
    monkeypatch.delenv("TEAM_URL")
    emit("cti_report_generated", REPORT)
    assert "the environment variable TEAM_URL is not set" in caplog.text


@pytest.mark.skipif(not hasattr(os, "fork"), reason="only POSIX forks")
def test_a_forked_child_and_its_parent_emit_with_the_outbox_open(kept: Callable[[], Any]) -> None:
    emit("cti_report_generated", REPORT, id="before")
    child = forked(lambda: emit("cti_report_generated", REPORT, id="child"))
    emit("cti_report_generated", REPORT, id="parent")
    assert is_well(child) and sorted(row[2] for row in kept()) == [1, 2, 3]


def test_the_package_alone_is_cheap() -> None:
    code = "import sys; known = set(sys.modules); import sfwebhooks; sfwebhooks.emit; print(*set(sys.modules) - known)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert {name for name in loaded if name.startswith("sfwebhooks")} == {"sfwebhooks"}
    assert not {"json", "sqlite3", "requests", "logging", "typing"} & set(loaded)


@pytest.mark.sqlite("a server needs other modules")
def test_a_process_that_only_stores_events_loads_neither_the_network_nor_the_formats_of_others(
    settings: Callable[[str], Path], kept: Callable[[], Any]
) -> None:
    settings("team.url = https://discord.com/api/webhooks/1/token\nteam.format = discord\n")
    code = f"import sys, sfwebhooks; sfwebhooks.emit('cti_report_generated', {REPORT}); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert len(kept()) == 1
    assert not {"requests", "urllib3", "cryptography", "jinja2", "sfwebhooks.network.sender"} & set(loaded)
    files = {f"sfwebhooks.formats.{name.replace('-', '_')}" for name in FORMATS}
    assert files & set(loaded) == {"sfwebhooks.formats.discord"}


def test_a_key_that_is_called_like_one_of_ours_is_delivered(settings: object, outbox: Outbox) -> None:
    data = {"workspace_id": "w", "name": "n", "receipts": ["a.pdf"], "receipt": {"team": 1}}
    emit("workspace_created", data)
    batch = claim_one(outbox, Limits("team"), (), NOW)
    assert batch and batch.deliveries[0].event.data == data


# --- settings as a mapping


#: the mapping of the guide ("Multiple Webhooks"), with URLs of receivers here
GUIDES_MAPPING = {
    "security_team": {"events": ["high_risk_event", "scan_completed"], "secret": "security-team-secret"},
    "siem_system": {"events": ["all"], "secret": "siem-system-secret"},
    "slack_alerts": {"events": ["scan_failed", "high_risk_event"], "format": "slack"},
}


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let tmp_path be SpiderFoot's data folder, without settings."""
    monkeypatch.setenv("SPIDERFOOT_DATA", str(tmp_path))
    return tmp_path


def test_the_guides_mapping_is_sent_to_before_emit_returns(bare: Path, receive: Callable[..., Team]) -> None:
    secrets = [["security-team-secret"], ["siem-system-secret"], []]
    teams = dict(zip(GUIDES_MAPPING, map(receive, secrets)))
    webhooks = {name: {**keys, "url": teams[name].url} for name, keys in GUIDES_MAPPING.items()}
    event = emit("finding.critical", FINDING, config=webhooks)
    emit("cti_report_generated", REPORT, config={"webhooks": webhooks})
    for name, number in (("security_team", 1), ("siem_system", 2), ("slack_alerts", 1)):
        received = teams[name].got
        assert [one.problems for one in received] == [()] * number
    assert teams["siem_system"].got[0].message["metadata"]["event_id"] == event
    with closing(Outbox(place_in(bare))) as outbox:
        assert outbox.scans.tallies() == {"waiting": 0, "delivered": 4, "dead": 0}


def test_the_next_emit_with_the_mapping_sends_what_the_last_one_could_not(
    bare: Path, receive: Callable[..., Team], caplog: pytest.LogCaptureFixture
) -> None:
    team = receive()
    team.answer = 503
    webhooks = {"team": {"url": team.url, "events": "all", "retry_schedule": "1s"}}
    first = emit("cti_report_generated", REPORT, config=webhooks, id="1")
    (name,) = {endpoint.name for endpoint in emission._mapped(webhooks, bare).endpoints}
    assert [record.getMessage() for record in caplog.records if f"{name}: " in record.getMessage()] == [
        f"webhooks: {name}: event {first} is waiting: its last attempt failed (http_503); {NEXT_SENDER}"
    ]
    team.answer = 200
    with closing(Outbox(place_in(bare))) as outbox:
        outbox.endpoints.resume(name, time.time())
        sql(outbox, "UPDATE delivery SET due_at = 0")
    second = emit("cti_report_generated", REPORT, config=webhooks, id="2")
    at_first, *then = [one.message["metadata"]["event_id"] for one in team.got]
    assert (at_first, sorted(then)) == (first, sorted([first, second])), "two workers send the last two"


@pytest.mark.sqlite("no outbox is created")
@pytest.mark.parametrize(
    ("webhooks", "words"),
    [
        ({"team": {"url": "http://127.0.0.1:9/", "rate": "fast"}}, 'config: [webhooks.team] rate = "fast": '),
        ({"team": {"url": "http://127.0.0.1:9/", "evnts": "all"}}, 'Did you mean "events"?'),
        ({"team": {"url": object()}}, "expected a text, a number, true, false, or a list of these"),
        ({"team": {"url": "http://127.0.0.1:9/", "secret": "file:none"}}, "none cannot be read"),
        ({}, "config: there is no usable endpoint"),
        ({"enabled": False, "team": {"url": "http://127.0.0.1:9/"}}, "webhooks are off (enabled = false)"),
    ],
)
def test_a_mapping_with_a_mistake_stores_nothing(bare: Path, webhooks: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as raised:
        emit("cti_report_generated", REPORT, config=webhooks)
    assert words in str(raised.value) and "nothing was stored" in str(raised.value)
    assert not (bare / FILE).exists()


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ({"secret": "the secret of team A"}, {"secret": "the secret of team B"}),
        ({"url": "{same}", "api_key": "key-of-a"}, {"url": "{same}", "api_key": "key-of-b"}),
        ({"url": "{same}", "header.X-Tenant": "a"}, {"url": "{same}", "header.X-Tenant": "b"}),
    ],
    ids=["url", "api_key", "header"],
)
def test_a_mapping_never_sends_the_deliveries_of_another_one_with_the_same_name(
    bare: Path, receive: Callable[..., Team], theirs: dict[str, str], ours: dict[str, str]
) -> None:
    team = receive()
    down = {"url": "http://127.0.0.1:9/", **theirs, "events": "all", "retry_schedule": "1s"}
    up = {"url": team.url, **ours, "events": "all"}
    down["url"], up["url"] = (one["url"].replace("{same}", team.url) for one in (down, up))
    team.answer = 503
    emit("cti_report_generated", REPORT, config={"customer": down}, id="1")
    team.answer = 200
    team.got.clear()
    with closing(Outbox(place_in(bare))) as outbox:
        sql(outbox, "UPDATE delivery SET due_at = 0")
        sql(outbox, "DELETE FROM health")
    event = emit("cti_report_generated", REPORT, config={"customer": up}, id="2")
    assert [one.message["metadata"]["event_id"] for one in team.got] == [event]


def test_an_endpoint_of_the_settings_never_sends_the_deliveries_of_a_mapping(
    settings: Callable[[str], Path], receive: Callable[..., Team]
) -> None:
    team = receive()
    settings("").write_text(f"[webhooks.team]\nurl = {team.url}\nevents = all\n")
    emit("cti_report_generated", REPORT, config={"team": {"url": "http://127.0.0.1:9/", "events": "all"}})
    event = emit("cti_report_generated", REPORT)
    main(["drain"])
    assert [one.message["metadata"]["event_id"] for one in team.got] == [event]


def test_the_endpoints_of_a_mapping_are_called_by_name_and_account(bare: Path, receive: Callable[..., Team]) -> None:
    webhooks = {"a": {"url": receive().url, "events": "all", "fallback": "b"}, "b": {"url": receive().url}}
    bound = {one.name.partition("@")[0]: one for one in emission._mapped(webhooks, bare).endpoints}
    assert bound["a"].name == f"a@{bound['a'].account_id}" and bound["a"].fallback == bound["b"].name
    renewed = {**webhooks, "a": {**webhooks["a"], "secret": "another secret of the team", "timeout": "3s"}}
    assert emission._mapped(renewed, bare).endpoints[0].name == bound["a"].name


def test_files_of_a_mapping_start_from_the_current_folder(
    bare: Path, receive: Callable[..., Team], monkeypatch: pytest.MonkeyPatch
) -> None:
    (bare / "elsewhere").mkdir()
    (bare / "elsewhere" / "secret").write_text("the secret of the team")
    monkeypatch.chdir(bare / "elsewhere")
    team = receive(["the secret of the team"])
    emit("cti_report_generated", REPORT, config={"team": {"url": team.url, "events": "all", "secret": "file:secret"}})
    assert [one.problems for one in team.got] == [()]


def test_a_mapping_is_off_where_the_environment_says_so(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SFWEBHOOKS_DISABLED", "1")
    with pytest.raises(ConfigError, match=r"webhooks are off .SFWEBHOOKS_DISABLED is set.; nothing was stored"):
        emit("cti_report_generated", REPORT, config={"team": {"url": "http://127.0.0.1:9/", "events": "all"}})


def test_the_same_id_is_sent_once_by_a_mapping_too(bare: Path, receive: Callable[..., Team]) -> None:
    team = receive()
    webhooks = {"team": {"url": team.url, "events": "all"}}
    ids = {emit("cti_report_generated", REPORT, config=webhooks, id="1") for _ in range(3)}
    assert (len(ids), len(team.got)) == (1, 1)


def test_a_warning_is_about_the_own_event_only(
    bare: Path, receive: Callable[..., Team], caplog: pytest.LogCaptureFixture
) -> None:
    team = receive()
    webhooks = {"team": {"url": team.url, "events": "all", "retry_schedule": "1h"}}
    team.answer = 503
    emit("cti_report_generated", REPORT, config=webhooks)
    team.answer = 200
    with closing(Outbox(place_in(bare))) as outbox:
        sql(outbox, "DELETE FROM health")
        caplog.clear()
        emit("cti_report_generated", REPORT, config=webhooks)
        assert outbox.scans.tallies() == {"waiting": 1, "delivered": 1, "dead": 0}
    assert NEXT_SENDER not in caplog.text


@pytest.mark.sqlite("the file is lost")
@slow
def test_an_event_that_was_stored_is_not_refused_because_it_cannot_be_sent(
    bare: Path, receive: Callable[..., Team], caplog: pytest.LogCaptureFixture
) -> None:
    team = receive()

    def removing(received: object) -> int:
        (bare / FILE).rename(bare / "aside.db")
        (bare / FILE).mkdir()
        return 200

    team.answer = removing
    event = emit("cti_report_generated", REPORT, config={"team": {"url": team.url, "events": "all"}})
    assert len(team.got) == 1
    assert f"event {event} is stored, and may not be sent yet: " in caplog.text and "not a regular file" in caplog.text


def test_a_mapping_is_sent_to_where_no_thread_can_be_started(
    bare: Path, receive: Callable[..., Team], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As at the interpreter's exit since Python 3.12."""
    start = threading.Thread.start

    def refusing(thread: threading.Thread) -> None:
        if thread.name.startswith("webhooks-"):
            raise RuntimeError("can't create new thread at interpreter shutdown")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refusing)
    team, failing = receive(), receive()
    failing.answer = 503
    webhooks = {"a": {"url": team.url, "events": "all"}, "b": {"url": failing.url, "events": "all"}}
    event = emit("cti_report_generated", REPORT, config=webhooks)
    for one in (team, failing):
        assert [received.message["metadata"]["event_id"] for received in one.got] == [event]
