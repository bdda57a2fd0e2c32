from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sfwebhooks.cli import main
from sfwebhooks.events import WebhookEvent, delivery_id
from sfwebhooks.fingerprints import lineage_of, of_event
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.selection import Selection
from sfwebhooks.retry import State
from sfwebhooks.screening import Wanted
from tests.builders import NOW, a_host_database, a_scan, an_event
from tests.filled import HOSTILE, begin, send
from tests.stores import BOTH, place_in
from tests.terminals import in_terminal

STORES = BOTH
pytestmark = pytest.mark.usefixtures("store")

CVE = "VULNERABILITY_CVE_HIGH"
TARGET = "acme.example"


def event(data: str, scan_id: str = "5C4A0001", kind: str = CVE, **values: Any) -> WebhookEvent:
    scan = a_scan(scan_id, **values)
    return an_event(sum(data.encode()), scan=scan, data={"event_type": kind, "data": data})


def fingerprint(data: str, kind: str = CVE) -> str:
    found = of_event(event(data, kind=kind))
    assert found
    return found.hex()


def scanned(
    outbox: Outbox,
    scan_id: str,
    *found: str,
    at: float = NOW,
    target: str = TARGET,
    kind: str = CVE,
    complete: bool = True,
) -> None:
    """Let a scan find CVEs for an endpoint that wants everything, and end."""
    events = [event(data, scan_id, kind, target=target) for data in found]
    begin(outbox, a_scan(scan_id, target=target))
    outbox.accept([(one, [Wanted("team", "all")]) for one in events], at)
    seen = [(bytes.fromhex(fingerprint(data, kind)), kind) for data in found]
    outbox.sightings.record(scan_id, target, lineage_of(["sfp_x"]), seen, at)
    outbox.sightings.finish(scan_id, complete, "" if complete else "aborted", at)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Lend a data folder with two scans: CVE-1 is gone, CVE-2 still there, CVE-3 new."""
    (tmp_path / "webhooks.ini").write_text("[webhooks.team]\nurl = http://127.0.0.1:9/\nsecret = whsec_x1y2z3\n")
    with closing(Outbox(place_in(tmp_path))) as outbox:
        scanned(outbox, "5C4A0001", "CVE-1", "CVE-2")
        scanned(outbox, "5C4A0002", "CVE-2", "CVE-3", at=NOW + 60)
    yield tmp_path


@pytest.fixture
def run(folder: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*words: str, code: int = 0) -> str:
        assert main([*words, "--folder", str(folder)]) == code
        found = capsys.readouterr()
        return found.err if code else found.out

    return run


def listed(run: Any, *words: str) -> dict[str, dict[str, Any]]:
    """Return data -> fields."""
    lines = run("sightings", TARGET, *words, "--json").splitlines()
    return {fields["data"]: fields for fields in map(json.loads, lines)}


def test_what_is_new_present_and_gone_is_listed_the_last_seen_first(run: Any) -> None:
    found = listed(run)
    assert {data: fields["state"] for data, fields in found.items()} == {
        "CVE-3": "new",
        "CVE-2": "present",
        "CVE-1": "gone",
    }
    assert [*found][-1] == "CVE-1"
    assert (found["CVE-2"]["first_scan"], found["CVE-2"]["last_scan"]) == ("5C4A0001", "5C4A0002")
    assert found["CVE-3"]["fingerprint"] == fingerprint("CVE-3")


def test_of_one_scan_the_most_severe_are_first_by_the_settings(run: Any, folder: Path) -> None:
    kinds = {"TCP_PORT_OPEN": "low", "INTERNET_NAME": "critical", CVE: "high", "correlation_found": None}
    with (folder / "webhooks.ini").open("a") as file:
        file.write("[webhooks-severity]\ncritical = INTERNET_N*\n")
    with closing(Outbox(place_in(folder))) as outbox:
        begin(outbox, a_scan("5C4A0003"))
        seen = [(bytes.fromhex(fingerprint("x", kind)), kind) for kind in kinds]
        outbox.sightings.record("5C4A0003", TARGET, lineage_of(["sfp_x"]), seen, NOW + 90)
        outbox.sightings.finish("5C4A0003", True, "", NOW + 90)
    expected = [("INTERNET_NAME", "critical"), (CVE, "high"), ("TCP_PORT_OPEN", "low"), ("correlation_found", None)]
    for words, number in (((), 7), (("--new",), 4), (("--limit", "2"), 2)):
        found = [*map(json.loads, run("sightings", TARGET, "--json", *words).splitlines())]
        assert [(one["type"], one["severity"]) for one in found[:4]] == expected[:number]
        assert len(found) == number


def test_what_was_gone_and_is_there_again_has_returned(run: Any, folder: Path) -> None:
    with closing(Outbox(place_in(folder))) as outbox:
        scanned(outbox, "5C4A0003", "CVE-1", "CVE-2", at=NOW + 120)
    assert {data: fields["state"] for data, fields in listed(run).items()} == {
        "CVE-1": "returned",
        "CVE-2": "present",
        "CVE-3": "gone",
    }
    assert [*listed(run, "--returned")] == ["CVE-1"]
    assert listed(run, "--new") == {}
    with closing(Outbox(place_in(folder))) as outbox:
        scanned(outbox, "5C4A0004", "CVE-1", at=NOW + 180)
    assert [*listed(run, "--returned")] == [], "it is there since"


def test_what_an_aborted_scan_finds_again_has_returned(run: Any, folder: Path) -> None:
    with closing(Outbox(place_in(folder))) as outbox:
        scanned(outbox, "5C4A0003", "CVE-1", complete=False, at=NOW + 120)
    assert [*listed(run, "--returned")] == ["CVE-1"]


def test_a_narrow_terminal_has_the_data_in_a_line_of_their_own(folder: Path) -> None:
    data = "CVE-2026-0009: a long text that says what is wrong with the machine <and where it is>"
    with closing(Outbox(place_in(folder))) as outbox:
        scanned(outbox, "5C4A0003", data, "CVE-2", at=NOW + 120)
    code, shown = in_terminal(["sightings", TARGET, "--new", "--folder", str(folder)], [])
    lines = re.sub("\x1b\\[[0-9;]*m", "", shown).splitlines()
    assert code == 0
    assert lines[0].split() == ["fingerprint", "severity", "type", "last", "seen", "state"]
    assert lines[2] == f"  {data[:77]}…"


@pytest.mark.parametrize("words", [("--new",), ("--gone", "--type", "X"), ("--dead",)])
def test_a_selection_without_a_target_is_an_error(run: Any, words: tuple[str, ...]) -> None:
    assert f"give a TARGET; the last targets are: {TARGET}" in run("sightings", *words, code=1)


@pytest.mark.parametrize(("option", "data"), [("--new", "CVE-3"), ("--gone", "CVE-1")])
def test_only_some_are_listed_if_asked_for(run: Any, option: str, data: str) -> None:
    assert [*listed(run, option)] == [data]


def test_a_type_or_a_pattern_of_types_selects_some(run: Any, folder: Path) -> None:
    with closing(Outbox(place_in(folder))) as outbox:
        scanned(outbox, "5C4A0003", "www.acme.example", kind="INTERNET_NAME")
    assert [*listed(run, "--type", "INTERNET_*")] == ["www.acme.example"]
    assert run("sightings", TARGET, "--type", "EMAILADDR") == "No sightings.\n"


def test_what_died_is_listed_as_dead_until_it_is_delivered(run: Any, folder: Path) -> None:
    with closing(Outbox(place_in(folder))) as outbox:
        send(outbox, State.DEAD, "refused")
    assert [*listed(run, "--dead")] == ["CVE-1"]
    assert "gone, dead" in run("sightings", TARGET)
    with closing(Outbox(place_in(folder))) as outbox:
        outbox.retention.replay(Selection(), NOW)
    assert listed(run, "--dead") == {}


def test_a_finding_is_masked_as_in_a_chat(run: Any, folder: Path) -> None:
    with closing(Outbox(place_in(folder))) as outbox:
        scanned(outbox, "5C4A0003", "jane@acme.example:Tr0ub4dor", kind="PASSWORD_COMPROMISED")
    for words in ((), ("--json",)):
        assert "Tr0ub4dor" not in run("sightings", TARGET, *words)
    assert "jane@acme.example:T••••r" in run("sightings", TARGET)


def test_data_come_from_the_hosts_database_too_and_are_missing_when_nobody_has_them(run: Any, folder: Path) -> None:
    path = folder / "spiderfoot.db"
    scan = a_scan("5C4A0003", database=str(path))
    a_host_database(path, scan, "FINISHED")
    with closing(sqlite3.connect(path)) as connection:
        row = (scan.id, "h1", CVE, 1.0, 100, 100, 0, "sfp_x", "CVE-4\n<SFURL>https://x</SFURL>", 0, "ROOT")
        connection.execute("INSERT INTO tbl_scan_results VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
        connection.commit()
    with closing(Outbox(place_in(folder))) as outbox:
        begin(outbox, scan)
        seen = [(bytes.fromhex(fingerprint(data)), CVE) for data in ("CVE-4\nhttps://x", "CVE-5")]
        outbox.sightings.record(scan.id, TARGET, lineage_of(["sfp_x"]), seen, NOW + 99)
        outbox.sightings.finish(scan.id, True, "", NOW + 99)
    found = listed(run, "--new")
    assert {data: fields["fingerprint"] for data, fields in found.items()} == {
        "CVE-4 <SFURL>https://x</SFURL>": fingerprint("CVE-4"),
        None: fingerprint("CVE-5"),
    }


def test_a_limit_shows_that_there_are_more(run: Any) -> None:
    assert "Only 1 are shown: --limit N shows more." in run("sightings", TARGET, "--limit", "1")
    assert len(run("sightings", TARGET, "--limit", "1", "--json").splitlines()) == 1


def test_without_a_target_the_targets_are_listed(run: Any) -> None:
    assert json.loads(run("sightings", "--json")) == {
        "target": TARGET,
        "scans": 2,
        "finished": 2,
        "last_at": "2026-11-21T10:01:00.000Z",
    }
    assert TARGET in run("sightings")


def test_an_unknown_target_is_an_error_that_names_the_known_ones(run: Any) -> None:
    assert f"the last targets are: {TARGET}" in run("sightings", "other.example", code=1)


@pytest.mark.sqlite("no outbox is created")
def test_no_sightings_and_no_outbox_are_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sightings", "--folder", str(tmp_path)]) == 0
    assert main(["mute", "--folder", str(tmp_path)]) == 0
    assert main(["mute", "abcd", "--folder", str(tmp_path)]) == 1
    with closing(Outbox(place_in(tmp_path))) as outbox:
        outbox.database.check()
    assert main(["sightings", "--folder", str(tmp_path)]) == 0
    assert main(["sightings", TARGET, "--folder", str(tmp_path)]) == 1
    found = capsys.readouterr()
    assert found.out.count("only_new") == 1
    assert found.err.count("only_new") == 1


def test_hostile_names_and_data_do_not_reach_the_terminal(run: Any, folder: Path) -> None:
    with closing(Outbox(place_in(folder))) as outbox:
        scanned(outbox, "5C4A0003", HOSTILE, target=HOSTILE, kind=HOSTILE)
    for words in (("sightings",), ("sightings", HOSTILE.replace("\0", ""))):
        code = 0 if len(words) == 1 else 1
        assert not {"\x1b", "\x07", "\x00", "\u202e", "\x9b"} & {*run(*words, code=code)}
    assert not {"\x1b", "\x07", "\x00", "\u202e", "\x9b"} & {*run("sightings", TARGET)}


def test_a_finding_is_muted_by_its_fingerprint_and_listed(run: Any, folder: Path) -> None:
    key = fingerprint("CVE-3")
    assert (
        run("mute", key[:10]) == f"{CVE} at {TARGET} ({key[:8]}) is muted for all endpoints until sfwebhooks unmute.\n"
    )
    assert json.loads(run("mute", "--json"))["fingerprint"] == key
    assert [*listed(run, "--muted")] == ["CVE-3"]
    assert f"{TARGET} {CVE}" in run("mute")
    with closing(Outbox(place_in(folder))) as outbox:
        scanned(outbox, "5C4A0003", "CVE-3", "CVE-4")
        assert outbox.scans.known_events("5C4A0003") == {event("CVE-4", "5C4A0003").id}
    assert "1 mute removed" in run("unmute", key)
    assert "was not muted" in run("unmute", key)
    assert run("mute") == "Nothing is muted.\n"


@pytest.mark.parametrize("of", ["event", "delivery", "beginning"])
def test_a_finding_is_muted_by_an_event_of_it_for_one_endpoint_and_a_while(run: Any, of: str) -> None:
    its = event("CVE-1").id
    its = delivery_id(its, "team") if of == "delivery" else its[:13] if of == "beginning" else its
    fields = json.loads(run("mute", its, "--endpoint", "team", "--for", "30d", "--json"))
    assert (fields["fingerprint"], fields["endpoint"], fields["target"]) == (fingerprint("CVE-1"), "team", TARGET)
    assert fields["until"] > fields["muted_at"]


def test_a_finding_that_several_targets_have_needs_its_target(run: Any, folder: Path) -> None:
    with closing(Outbox(place_in(folder))) as outbox:
        scanned(outbox, "5C4A0003", "CVE-3", target="other.example")
    key = fingerprint("CVE-3")
    assert f"{key} of {TARGET}" in run("mute", key, code=1)
    assert json.loads(run("mute", key, "--target", "OTHER.example", "--json"))["target"] == "other.example"


def test_a_delivery_of_a_finding_is_shown_with_the_fingerprint_that_mutes_it(run: Any, folder: Path) -> None:
    its = json.loads(run("deliveries", "--json").splitlines()[0])
    short = fingerprint(json.loads(run("show", its["delivery"], "--json"))["data"]["data"])[:8]
    assert f"{short}: sfwebhooks mute {short}" in run("show", its["delivery"])
    assert json.loads(run("mute", short, "--json"))["fingerprint"].startswith(short)
    said = run("show", "ffffffff", code=1)
    assert "sfwebhooks explain says why an event was not sent; a fingerprint is listed by sfwebhooks sightings" in said


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("mute", "ffffffff"), "no finding has a fingerprint, nor an event of one an id"),
        (("mute", "x"), "too short for an id"),
        (("mute", "nonsense-id"), "no event, nor a delivery of one"),
        (("mute", "zzzz"), "nor is it a fingerprint, which is 4 to 32 of 0-9 and a-f: sfwebhooks sightings TARGET"),
        (("unmute", "zzzz"), "nor is it a fingerprint, which is 4 to 32 of 0-9 and a-f"),
        (("mute", "--for", "1d"), "give an ID"),
        (("mute", "abcd", "--endpoint", "tema"), 'Did you mean "team"?'),
        (("unmute", "ffffffff"), "no finding has a fingerprint"),
    ],
)
def test_a_wrong_name_is_explained(run: Any, words: tuple[str, ...], expected: str) -> None:
    assert expected in run(*words, code=1)


def test_an_empty_name_of_an_endpoint_mutes_for_none(run: Any) -> None:
    """As that of a variable that is not set."""
    run("mute", fingerprint("CVE-2"), "--endpoint", "", code=1)
    assert run("mute", "--json") == ""


def test_an_event_that_is_no_finding_cannot_be_muted(run: Any, folder: Path) -> None:
    alert = an_event(1, id="00000000-0000-8000-8000-0000000000aa", type="system_alert", data={"alert": "x"}, scan=None)
    with closing(Outbox(place_in(folder))) as outbox:
        outbox.accept([(alert, [Wanted("team", "all")])], NOW)
    assert "only these can be muted" in run("mute", alert.id, code=1)


def test_a_muted_finding_of_which_there_are_no_sightings_is_found_by_its_fingerprint(run: Any, folder: Path) -> None:
    with closing(Outbox(place_in(folder))) as outbox:
        outbox.sightings.prune(NOW + 10, 1.0, 20)
        outbox.sightings.mute(TARGET, (bytes.fromhex(fingerprint("CVE-1")), CVE), "", None, NOW)
    assert "1 mute removed" in run("unmute", fingerprint("CVE-1")[:12])
    assert json.loads(run("mute", fingerprint("CVE-9"), "--target", TARGET, "--json"))["type"] == ""


@pytest.mark.parametrize(("baseline", "words"), [("silent", "no findings are sent"), ("send", "all findings are sent")])
def test_check_says_what_an_endpoint_with_only_new_is_sent(
    folder: Path, capsys: pytest.CaptureFixture[str], baseline: str, words: str
) -> None:
    with (folder / "webhooks.ini").open("a") as file:
        file.write(f"only_new = true\nbaseline = {baseline}\n")
    main(["check", "--folder", str(folder)])
    shown = capsys.readouterr().out
    assert "1 target has such a scan" in shown
    assert words in shown


def test_check_and_list_say_what_an_endpoint_is_sent_as_route_does(folder: Path, capsys: Any) -> None:
    with (folder / "webhooks.ini").open("a") as file:
        file.write("only_new = true\nmin_severity = high\nredact = EMAILADDR: hash\n")

    def shown(*words: str) -> str:
        main([*words, "--folder", str(folder)])
        return str(capsys.readouterr().out)

    its = json.loads(shown("route", "--json"))
    assert its["filters"].startswith("min_severity = high; only findings") and its["redacted"] == "EMAILADDR: hash"
    parts = {label: its[label] for label in ("filters", "messages", "redacted")}
    for command in ("check", "list"):
        assert f"team  {'; '.join(f'{label}: {text}' for label, text in parts.items())}" in shown(command)
    assert json.loads(shown("list", "--json")).items() >= parts.items()
    assert json.loads(shown("check", "--json"))["endpoints"][0].items() >= parts.items()
