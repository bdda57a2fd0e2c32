"""Events with which their admission fails: they are set aside in the spool, and hold nothing up."""

from __future__ import annotations

import base64
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from sfwebhooks.config.settings import load
from sfwebhooks.events import WebhookEvent
from sfwebhooks.outbox.file import SPOOL_FILE
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.spool import TO_FORWARD, Spool, over
from sfwebhooks.severity import Severity
from tests.builders import NOW
from tests.conftest import Result, Team
from tests.scan.test_spool import AWAY, a_forwarder, a_scan_of, types
from tests.scanning import Scanning, hashes
from tests.tiers import slow

ODD_ID = "0dd00000-0000-4000-8000-00000000000"


@pytest.fixture(autouse=True)
def _again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sfwebhooks.scan.forwarder.SCAN_AGAIN_SECONDS", 0.0)


def odd(scan: Scanning, number: int = 1) -> WebhookEvent:
    """An event as another program may write it: `only_if_changed` cannot be asked about it."""
    return WebhookEvent(f"{ODD_ID}{number}", "surface_changed", Severity.INFO, NOW, {"odd": number}, scan.scan)


def add_odd(scan: Scanning, *numbers: int) -> None:
    with closing(Spool(scan.folder / SPOOL_FILE)) as spool:
        spool.outbox.accept([(odd(scan, number), TO_FORWARD) for number in numbers], NOW)


def configure(scan: Scanning, team: Team, general: str = "", more: str = "only_if_changed = true") -> None:
    """Let what is left be admitted to a file, or as `general` says."""
    scan.configure(general, team=f"url = {team.url}\nevents = all\n{more}")


@pytest.fixture
def waiting(tmp_path: Path, team: Team) -> Scanning:
    """A scan that is over, whose events are in the spool, two that are odd between them."""
    scan = a_scan_of(tmp_path, AWAY, team)
    scan.begin()
    scan.find(3)
    add_odd(scan, 1)
    scan.find(3)
    add_odd(scan, 2)
    scan.finish()
    configure(scan, team)
    return scan


def forward(scan: Scanning) -> None:
    """Forward what can be forwarded."""
    forwarder = a_forwarder(scan)
    forwarder.forward_here(float("inf"))
    forwarder.stop(0.0)


def opened(scan: Scanning) -> Outbox:
    return Outbox(load(scan.folder / "webhooks.ini").place(scan.folder))


def ids_aside(folder: Path) -> list[str]:
    with closing(Spool(folder / SPOOL_FILE)) as spool:
        return [one.event.id for one in spool.aside()]


def test_the_others_are_admitted_in_order_and_the_scan_ends(
    waiting: Scanning, cli: Callable[..., Result], team: Team, caplog: pytest.LogCaptureFixture
) -> None:
    assert cli("drain").code == 0
    its = sorted(team.got, key=lambda one: one.message["metadata"]["sequence"])
    found = [one.message["data"]["hash"] for one in its if "hash" in one.message["data"]]
    assert found == [f"hash-{number}" for number in range(6)]
    assert types(team).count("scan_completed") == 1
    (end,) = (one.message["data"] for one in its if one.message["event_type"] == "scan_completed")
    assert end["receipt"]["withheld_by_reason"]["set_aside"] == 2
    assert ids_aside(waiting.folder) == [f"{ODD_ID}1", f"{ODD_ID}2"]
    assert caplog.text.count(f"event {ODD_ID}1 (surface_changed) of scan 5C4A0001 cannot be forwarded") == 1


def test_what_is_set_aside_is_named_and_needs_attention(waiting: Scanning, cli: Callable[..., Result]) -> None:
    assert cli("drain").code == 0
    status = cli("status")
    assert status.code == 3
    assert "all is forwarded, 2 events set aside" in status.words
    assert f"event {ODD_ID}1 (surface_changed) is set aside: KeyError: 'new'" in status.words
    doctor = cli("doctor").words
    assert f"event {ODD_ID}2 (surface_changed) is set aside" in doctor
    assert "sfwebhooks spool retry" in doctor
    first, _ = cli("spool", "list", "--json").objects
    assert (first["event_id"], first["scan_id"], first["reason"]) == (f"{ODD_ID}1", "5C4A0001", "KeyError: 'new'")
    assert f"{ODD_ID}2" in cli("spool", "list").words


def test_one_that_is_retried_comes_as_backfilled(waiting: Scanning, cli: Callable[..., Result], team: Team) -> None:
    assert cli("drain").code == 0
    configure(waiting, team, more="")
    assert cli("spool", "retry").code == 1
    assert cli("spool", "retry", f"{ODD_ID}2", "--json").objects == [{"retried": 1}]
    assert cli("drain").code == 0
    (late,) = (one.message for one in team.got if one.message["data"].get("odd"))
    assert (late["data"]["odd"], late["metadata"]["backfilled"]) == (2, True)
    assert ids_aside(waiting.folder) == [f"{ODD_ID}1"]
    with closing(opened(waiting)) as outbox:
        assert outbox.scans.withheld("5C4A0001")["team"]["set_aside"] == 1
    assert cli("spool", "retry", "--all", "--json").objects == [{"retried": 1}]
    assert cli("drain").code == 0
    assert ids_aside(waiting.folder) == []
    with closing(opened(waiting)) as outbox:
        assert "set_aside" not in outbox.scans.withheld("5C4A0001").get("team", {})
    with closing(Spool(waiting.folder / SPOOL_FILE)) as spool:
        assert spool.outbox.scans.scan("5C4A0001") is None, "nothing is left of it"


def test_one_that_fails_again_is_set_aside_again(waiting: Scanning, cli: Callable[..., Result]) -> None:
    assert cli("drain").code == 0
    assert cli("spool", "retry", "--all", "--json").objects == [{"retried": 2}]
    assert cli("drain").code == 0
    assert ids_aside(waiting.folder) == [f"{ODD_ID}1", f"{ODD_ID}2"]
    with closing(opened(waiting)) as outbox:
        assert outbox.scans.withheld("5C4A0001")["team"]["set_aside"] == 2


def test_one_is_dropped_only_after_its_scan(tmp_path: Path, team: Team, cli: Callable[..., Result]) -> None:
    scan = a_scan_of(tmp_path, AWAY, team)
    scan.begin()
    scan.find(1)
    add_odd(scan, 1)
    configure(scan, team)
    scan.vanish()
    settings = load(tmp_path / "webhooks.ini")
    assert scan.run
    lock = scan.run._lock
    assert lock.held
    assert cli("drain").code == 0
    assert ids_aside(tmp_path) == [f"{ODD_ID}1"]
    kept = cli("spool", "drop", "--all")
    assert "0 events dropped" in kept.words
    assert "the end of a scan has to be reported before" in kept.words
    with closing(Spool(tmp_path / SPOOL_FILE, storage=settings.storage)) as spool:
        spool.end(over(scan.scan, NOW), NOW)
    scan.finish_in_host()
    assert cli("drain").code == 0
    assert cli("spool", "drop", f"{ODD_ID}1", "--json").objects == [{"dropped": 1, "left": 0}]
    assert ids_aside(tmp_path) == []
    assert b'"odd"' not in b"".join(one.read_bytes() for one in tmp_path.glob(f"{SPOOL_FILE}*") if one.is_file())


def test_nothing_is_blamed_while_nothing_can_be_admitted(
    tmp_path: Path, team: Team, caplog: pytest.LogCaptureFixture
) -> None:
    scan = a_scan_of(tmp_path, AWAY, team)
    scan.begin()
    add_odd(scan, 1, 2, 3, 4)
    scan.finish()
    configure(scan, team)
    forwarder = a_forwarder(scan)
    forwarder.step()
    assert ids_aside(tmp_path) == []
    assert forwarder.waiting == 5
    assert "bug while forwarding scan 5C4A0001" in caplog.text
    configure(scan, team, more="")
    forwarder.use(load(tmp_path / "webhooks.ini"))
    while forwarder.step():
        pass
    forwarder.stop(0.0)
    assert ids_aside(tmp_path) == []
    with closing(opened(scan)) as outbox:
        assert outbox.scans.scan(scan.scan.id) == (scan.scan, "scan_completed")
        assert outbox.scans.tallies()["waiting"] == 7, "the start, these, the real comparison and the end"


def test_a_scan_of_which_nothing_can_be_admitted_holds_no_other_one_up(
    tmp_path: Path, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sfwebhooks.scan.forwarder.SCAN_AGAIN_SECONDS", 1e6)
    first = a_scan_of(tmp_path, AWAY, team)
    first.begin()
    add_odd(first, 1, 2, 3, 4)
    first.finish()
    second = Scanning(tmp_path, "5C4A0002")
    second.begin()
    second.find(2)
    second.finish()
    configure(first, team)
    forward(first)
    with closing(opened(first)) as outbox:
        assert outbox.scans.scan(second.scan.id) == (second.scan, "scan_completed")
        assert outbox.scans.scan(first.scan.id) == (first.scan, "scan_completed"), "then it is known what is at fault"
        assert outbox.scans.withheld(first.scan.id)["team"]["set_aside"] == 4
    assert len(ids_aside(tmp_path)) == 4


def test_the_last_few_of_a_scan_do_not_wait_for_another_one(tmp_path: Path, team: Team) -> None:
    scan = a_scan_of(tmp_path, AWAY, team)
    scan.begin()
    add_odd(scan, 1)
    scan.finish()
    configure(scan, team)
    forward(scan)
    assert ids_aside(tmp_path) == [f"{ODD_ID}1"]
    with closing(opened(scan)) as outbox:
        assert outbox.scans.scan(scan.scan.id) == (scan.scan, "scan_completed")


def make_unfit(folder: Path, *numbers: int) -> None:
    """Let findings have a subject that is too long for PostgreSQL's index."""
    subject = base64.b64encode(os.urandom(12_000)).decode()
    with closing(sqlite3.connect(folder / SPOOL_FILE)) as spool, spool:
        for number in numbers:
            its = "SELECT number FROM event WHERE json_extract(data, '$.hash') = ?"
            spool.execute(f"UPDATE delivery SET subject = ? WHERE event = ({its})", (subject, f"hash-{number}"))


@slow
def test_values_that_the_server_does_not_take_are_set_aside(
    tmp_path: Path, postgres_dsn: str, team: Team, cli: Callable[..., Result], caplog: pytest.LogCaptureFixture
) -> None:
    scan = a_scan_of(tmp_path, AWAY, team)
    scan.begin()
    scan.find(6)
    scan.finish()
    make_unfit(tmp_path, 1, 4)
    configure(scan, team, f"outbox = {postgres_dsn}\nspool = sqlite", more="only_new = true\nbaseline = send")
    assert cli("drain").code == 0
    assert hashes(team) == ["hash-0", "hash-2", "hash-3", "hash-5"]
    (end,) = (one.message["data"] for one in team.got if one.message["event_type"] == "scan_completed")
    assert end["receipt"]["withheld_by_reason"]["set_aside"] == 2
    assert end["receipt"]["not_wanted"] == 0
    assert end["events_found"] == 6
    with closing(Spool(tmp_path / SPOOL_FILE)) as spool:
        assert all("index row requires" in one.reason for one in spool.aside())
    assert "set aside: outbox" in caplog.text
    with closing(sqlite3.connect(tmp_path / SPOOL_FILE)) as spool_file, spool_file:
        spool_file.execute("UPDATE delivery SET subject = NULL")
    assert cli("spool", "retry", "--all").code == 0
    assert cli("drain").code == 0
    assert hashes(team) == [f"hash-{number}" for number in range(6)]
    assert ids_aside(tmp_path) == []
