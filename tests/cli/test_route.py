"""`sfwebhooks route`: who gets what, and that a past scan is sent as it says."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Callable

import pytest

from sfwebhooks.cli import main
from sfwebhooks.endpoints import EVENT_NAMES
from sfwebhooks.events import Scan
from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.scan.lifecycle import started
from tests.builders import NOW, a_correlation, a_finding, a_scan
from tests.conftest import Team
from tests.hosted import add_scan, correlate
from tests.receivers.chats import Slack
from tests.receivers.vendor import serve
from tests.rows import in_one
from tests.stores import BOTH, place_in

STORES = BOTH

pytestmark = pytest.mark.usefixtures("own_signals", "store")
SCAN = "5C4A0001"
#: as the host's database has them: type, data, module, confidence
FOUND = (
    *(("VULNERABILITY_CVE_HIGH", f"CVE-2026-{number:04}", "sfp_a", 100) for number in range(40)),
    *(("PASSWORD_COMPROMISED", f"ada{number}@acme.example:hunter2{number}x", "sfp_b", 90) for number in range(3)),
    *(("TCP_PORT_OPEN", f"192.0.2.1:{number}", "sfp_a", 40) for number in range(10)),
    ("LEAKSITE_CONTENT", "a page", "sfp_b", 100),
)


@pytest.fixture
def scan(tmp_path: Path) -> Scan:
    made = a_scan(SCAN, database=str(tmp_path / "spiderfoot.db"))
    found = [
        a_finding(f"{at:064x}", type=kind, data=data, module=module, confidence=sure, sources=())
        for at, (kind, data, module, sure) in enumerate(FOUND)
    ]
    add_scan(tmp_path / "spiderfoot.db", made, found)
    correlate(tmp_path / "spiderfoot.db", made, a_correlation(), [f"{0:064x}"])
    return made


def configure(folder: Path, **sections: Sequence[str]) -> None:
    path = folder / "webhooks.ini"
    parts = (f"[webhooks.{name}]\n" + "\n".join(lines) + "\n" for name, lines in sections.items())
    path.write_text("".join(parts))
    path.chmod(0o600)


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def run(*words: str, code: int = 0) -> str:
        capsys.readouterr()
        assert main([*words, "--folder", str(tmp_path)]) == code
        found = capsys.readouterr()
        return found.err if code else found.out

    return run


def routed(run: Callable[..., str], *words: str) -> dict[str, dict[str, Any]]:
    return {one["endpoint"]: one for one in map(json.loads, run("route", *words, "--json").splitlines())}


def test_a_scan_is_sent_as_foreseen_and_then_nothing_is_left(
    tmp_path: Path, scan: Scan, receive: Callable[..., Team], run: Callable[..., str]
) -> None:
    one, two = receive(), receive()
    configure(
        tmp_path,
        siem=(f"url = {one.url}", "events = all, !scan_started", "batch_size = 10"),
        soc=(f"url = {two.url}", "events = all", "min_severity = medium", "min_confidence = 95", "include_raw = false"),
    )
    foreseen = routed(run, "--scan", SCAN)
    assert not (tmp_path / FILE).exists(), "nothing is written"
    assert foreseen["soc"]["withheld"] == {"finding_type": 1, "severity": 10, "confidence": 3}
    for name, team in (("siem", one), ("soc", two)):
        run("backfill", SCAN, "--endpoint", name)
        messages = [message for received in team.got for message in received.messages]
        assert Counter(message["event_type"] for message in messages) == foreseen[name]["names"]
        assert len(messages) == foreseen[name]["deliveries"]
    assert {name: one["deliveries"] for name, one in routed(run, "--scan", SCAN).items()} == {"siem": 0, "soc": 0}
    assert "siem: nothing" in run("route", "--scan", SCAN)
    assert f"has       {foreseen['siem']['deliveries']} of this scan already" in run("route", "--scan", SCAN)


def test_a_chat_gets_as_many_digests_as_foreseen(tmp_path: Path, scan: Scan, run: Callable[..., str]) -> None:
    channel = Slack()
    with serve(channel) as channel.root:
        configure(tmp_path, chat=(f"url = {channel.url}", "format = slack", "events = high_risk_event", "rate = 10/s"))
        foreseen = routed(run, "--scan", SCAN)["chat"]
        run("backfill", SCAN, "--endpoint", "chat")
    assert foreseen["deliveries"] == 43
    assert foreseen["messages"] == len(channel.taken) > 1
    assert foreseen["redacted"] == {"PASSWORD_COMPROMISED: mask (default)": 3}
    assert "hunter2" not in json.dumps(foreseen)


def test_what_was_deleted_is_said_to_come_again(
    tmp_path: Path, scan: Scan, receive: Callable[..., Team], run: Callable[..., str]
) -> None:
    configure(tmp_path, siem=(f"url = {receive().url}", "events = scan_*"))
    run("backfill", SCAN, "--endpoint", "siem")
    run("purge", "--scan", SCAN, "--all", "--yes")
    shown = run("route", "--scan", SCAN)
    assert "2 that it had: a backfill requires --again" in shown
    assert f"sfwebhooks backfill {SCAN} --endpoint siem --again" in shown


def test_an_outbox_that_cannot_be_written_is_read(
    tmp_path: Path, scan: Scan, receive: Callable[..., Team], run: Callable[..., str]
) -> None:
    configure(
        tmp_path, siem=(f"url = {receive().url}", "events = scan_*"), late=("url = http://127.0.0.1:9", "events = all")
    )
    run("backfill", SCAN, "--endpoint", "siem")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    foreseen = routed(run, "--scan", SCAN)
    assert (foreseen["siem"]["has"], foreseen["late"]["deliveries"]) == (2, len(FOUND) + 4)
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert {path.name: at for path, at in after.items() if "-shm" not in path.name and "-wal" not in path.name} == {
        path.name: at for path, at in before.items() if "-shm" not in path.name and "-wal" not in path.name
    }


def test_a_running_scan_or_none_is_refused_as_by_backfill(tmp_path: Path, scan: Scan, run: Callable[..., str]) -> None:
    configure(tmp_path, siem=("url = http://127.0.0.1:9", "events = all"))
    assert 'has no scan "NONE"' in run("route", "--scan", "NONE", code=1)
    with closing(Outbox(place_in(tmp_path))) as outbox:
        outbox.scans.begin_scan(scan, started(scan), [], NOW)
    assert "is not reported yet; sfwebhooks drain says why" in run("route", "--scan", SCAN, code=1)
    lock = Outbox(place_in(tmp_path)).locks.scan(SCAN)
    assert lock.take()
    assert "is still running" in run("route", "--scan", SCAN, code=1)
    lock.release(remove=True)


ENDPOINTS = {
    "siem": ("url = http://127.0.0.1:9/url-path-token", "events = all", "batch_size = 100", "modules = !sfp_x"),
    "chat": ("url = http://127.0.0.1:9/url-path-token", "format = slack", "events = high_risk_event, medium_risk_event",
             "min_severity = high", "only_new = true"),
    "off": ("url = http://127.0.0.1:9", "events = all", "enabled = false"),
}  # fmt: skip


def test_each_endpoint_is_shown_by_what_it_gets(tmp_path: Path, run: Callable[..., str]) -> None:
    configure(tmp_path, **ENDPOINTS)
    found = routed(run)
    assert found["siem"]["filters"] == "modules = !sfp_x"
    assert found["siem"]["messages"] == "format generic, up to 100 in one message"
    assert found["chat"]["filters"].startswith("min_severity = high; only findings that no earlier scan")
    assert "single messages, digests in a storm" in found["chat"]["messages"]
    assert "secrets" in found["chat"]["redacted"]
    shown = run("route")
    assert "off is sent nothing: it is off (enabled = false in its section)" in shown
    assert "url-path-token" not in shown + json.dumps(found)


def test_a_type_of_spiderfoot_says_who_gets_it_under_which_name(tmp_path: Path, run: Callable[..., str]) -> None:
    configure(tmp_path, **ENDPOINTS)
    found = routed(run, "EMAILADDR_COMPROMISED")
    assert found["siem"]["routes"] == [
        {"name": "medium_risk_event", "severities": ["medium"], "why": "", "only_if": ["modules = !sfp_x"]}
    ]
    (row,) = found["chat"]["routes"]
    assert (row["name"], row["why"]) == (None, "below min_severity (min_severity = high)")
    (row,) = routed(run, "PASSWORD_COMPROMISED")["chat"]["routes"]
    assert row["name"] == "high_risk_event"
    assert routed(run, "PASSWORD_COMPROMISED")["chat"]["redacted"] == "PASSWORD_COMPROMISED: mask (default)"
    assert "is of medium severity: medium_risk_event" in run("route", "EMAILADDR_COMPROMISED")
    assert "being unknown here" in run("route", "SOMETHING_NEW")


@in_one("name", sorted(EVENT_NAMES))
def test_every_type_and_alias_has_an_answer(name: str, tmp_path: Path, run: Callable[..., str]) -> None:
    configure(tmp_path, **ENDPOINTS)
    found = routed(run, name)
    assert {row["name"] for row in found["siem"]["routes"]}
    assert run("route", name)


def test_a_name_that_does_not_exist_is_refused(tmp_path: Path, run: Callable[..., str]) -> None:
    configure(tmp_path, **ENDPOINTS)
    assert 'Did you mean "high_risk_event"?' in run("route", "high_risk_evnt", code=1)
    assert 'Did you mean "EMAILADDR_COMPROMISED"?' in run("route", "emailaddr_compromisd", code=1)
