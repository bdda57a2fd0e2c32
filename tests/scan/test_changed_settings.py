"""A running scan whose settings' file changes: who joins gets all of the scan, once, whoever reports its end."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sfwebhooks.config.settings import load
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.reasons import Withheld
from sfwebhooks.scan.recovery import report_dead_scans, running_scans
from tests.builders import NOW, a_finding, a_scan
from tests.conftest import Team, sql
from tests.scanning import Scanning, hashes, lines, types
from tests.stores import BOTH, place_in
from tests.threads import until

STORES = BOTH
pytestmark = pytest.mark.usefixtures("store")

SCAN = a_scan()


@pytest.fixture(autouse=True)
def _quick_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sfwebhooks.scan.run.ROUND_SECONDS", 0.02)


@pytest.fixture
def scanning(tmp_path: Path) -> Iterator[Scanning]:
    made = Scanning(tmp_path)
    yield made
    if made.run:
        made.run.end()


@pytest.fixture
def other(receive: Callable[..., Team]) -> Team:
    return receive()


def receipt(team: Team) -> dict[str, Any]:
    (end,) = [one.message["data"] for one in team.got if one.message["event_type"] in ("scan_completed", "scan_failed")]
    found: dict[str, Any] = end["receipt"]
    return found


def test_an_endpoint_that_joins_gets_the_whole_scan_once(scanning: Scanning, team: Team, other: Team) -> None:
    scanning.configure(team=lines(team))
    scanning.begin()
    scanning.find(3)
    scanning.takes_up(team=lines(team), other=lines(other))
    (begun,) = other.wait_for(1)
    assert begun.message["event_type"] == "scan_started", "at once"
    scanning.find(2)
    other.wait_for(3)
    assert hashes(other) == ["hash-3", "hash-4"], "live from then on"
    scanning.find(1, received=False)
    scanning.finish()
    for one in (team, other):
        assert hashes(one) == [f"hash-{number}" for number in range(6)]
        assert len({*one.ids}) == len(one.ids) == 8
        assert types(one)[0] == "scan_started" and types(one)[-1] == "scan_completed"
        assert (receipt(one)["accepted"], receipt(one)["last_sequence"], receipt(one)["not_wanted"]) == (8, 8, 0)
        assert not any(received.message["metadata"].get("backfilled") for received in one.got)
    event_ids = [{one.message["metadata"]["event_id"] for one in got.got} for got in (team, other)]
    assert event_ids[0] == event_ids[1]


def test_types_that_nobody_wanted_are_watched_from_then_on(scanning: Scanning, team: Team, other: Team) -> None:
    scanning.configure(team=lines(team, "high_risk_event"))
    run = scanning.begin()
    scanning.find(1, "TCP_PORT_OPEN")
    assert not run.terms.wants["TCP_PORT_OPEN", 0]
    scanning.takes_up(team=lines(team, "high_risk_event"), other=lines(other, "low_risk_event"))
    assert scanning.terms[-1] is run.terms and run.terms.wants["TCP_PORT_OPEN", 0]
    scanning.find(1, "TCP_PORT_OPEN")
    other.wait_for(1)
    assert hashes(other) == ["hash-1"]
    scanning.finish()
    assert hashes(other) == ["hash-0", "hash-1"]


@pytest.mark.parametrize("general", ["enabled = false", ""])
def test_an_endpoint_that_is_removed_or_switched_off_gets_nothing_more(
    general: str, scanning: Scanning, team: Team, other: Team
) -> None:
    scanning.configure(team=lines(team), other=lines(other))
    run = scanning.begin()
    scanning.find(1)
    for one in (team, other):
        one.wait_for(2)
    if general:
        scanning.takes_up(general, team=lines(team), other=lines(other))
    else:
        scanning.takes_up(team=lines(team, enabled="false"))
    assert not run.terms.wants["VULNERABILITY_CVE_HIGH", 0]
    scanning.find(1)
    scanning.finish()
    assert (types(team), types(other)) == (["scan_started", "high_risk_event"],) * 2


def test_one_that_is_switched_on_again_misses_nothing(scanning: Scanning, team: Team, other: Team) -> None:
    scanning.configure(team=lines(team), other=lines(other))
    scanning.begin()
    scanning.find(1)
    scanning.takes_up(team=lines(team), other=lines(other, enabled="false"))
    scanning.find(1)
    scanning.takes_up(team=lines(team), other=lines(other))
    scanning.find(1)
    scanning.finish()
    assert hashes(team) == hashes(other) == ["hash-0", "hash-1", "hash-2"]
    assert len({*other.ids}) == len(other.ids) == 5


def test_a_file_with_mistakes_changes_nothing_and_is_logged_once(
    scanning: Scanning, team: Team, other: Team, caplog: pytest.LogCaptureFixture
) -> None:
    scanning.configure(team=lines(team))
    run = scanning.begin()
    before = run.terms
    scanning.configure(team=lines(team, timeout="soon"), other=lines(other))
    until(lambda: "keeping the previous one" in caplog.text)
    scanning.find(1)
    scanning.takes_up(team=lines(team), other=lines(other))
    assert before is scanning.terms[0] and len(scanning.terms) == 2
    assert caplog.text.count("keeping the previous one") == 1
    scanning.finish()
    assert hashes(other) == ["hash-0"]


def test_the_lock_says_with_which_settings_the_scan_goes_on(scanning: Scanning, team: Team, other: Team) -> None:
    scanning.configure(team=lines(team))
    scanning.begin()
    with closing(Outbox(place_in(scanning.folder))) as outbox:
        assert running_scans(outbox) == {SCAN.id: load(scanning.folder / "webhooks.ini").digest}
        scanning.takes_up(team=lines(team), other=lines(other))
        until(lambda: running_scans(outbox) == {SCAN.id: load(scanning.folder / "webhooks.ini").digest})


def test_filters_and_only_new_hold_for_what_an_endpoint_missed(scanning: Scanning, team: Team, other: Team) -> None:
    scanning.configure(team=lines(team))
    scanning.begin()
    scanning.find(3)
    scanning.find(2, "LEAKSITE_URL")
    filtered = lines(other, data_not_match="hash-1", finding_types="VULNERABILITY_*")
    scanning.takes_up(team=lines(team), other=filtered)
    scanning.finish()
    assert hashes(other) == ["hash-0", "hash-2"]
    withheld = receipt(other)["withheld_by_reason"]
    assert withheld == {Withheld.DATA.value: 1, Withheld.FINDING_TYPE.value: 2}


def test_a_verdict_on_data_that_the_host_cuts_stays(scanning: Scanning, team: Team, other: Team) -> None:
    """The host keeps 1,024 characters, and what is read later must not be judged by these alone."""
    long = "x" * 2000 + "SECRET"
    scanning.configure(team=lines(team, data_not_match="SECRET"))
    run = scanning.begin()
    with closing(sqlite3.connect(scanning.folder / "spiderfoot.db")) as connection, connection:
        row = (SCAN.id, "long", "VULNERABILITY_CVE_HIGH", NOW, 100, 100, 0, "m", long[:1024], 0, "ROOT")
        connection.execute(f"INSERT INTO tbl_scan_results VALUES ({','.join('?' * 11)})", row)
    run.accept(a_finding(hash="long", data=long))
    scanning.takes_up(team=lines(team, data_not_match="SECRET"), other=lines(other))
    scanning.finish()
    assert (hashes(team), hashes(other)) == ([], ["long"])


def test_the_process_that_reports_a_killed_scan_completes_who_joined(
    scanning: Scanning, team: Team, other: Team
) -> None:
    """Neither knows who joined: each endpoint lacks what it has no delivery of."""
    scanning.configure(team=lines(team))
    run = scanning.begin()
    scanning.find(3)
    team.wait_for(4)
    # the process is gone: its lock is free, and the file was changed before it could look
    scanning.configure(team=lines(team), other=lines(other))
    settings = load(scanning.folder / "webhooks.ini")
    scanning.vanish()
    scanning.run = None
    run._lock.release()
    run._outbox.close()
    with closing(Outbox(place_in(scanning.folder))) as outbox:
        assert report_dead_scans(outbox, settings) == 1
        query = "SELECT endpoint, count(*), count(DISTINCT event) FROM delivery GROUP BY 1 ORDER BY 1"
        assert sql(outbox, query) == [("other", 5, 5), ("team", 5, 5)]
        query = "SELECT type FROM delivery JOIN event ON number = event WHERE endpoint = 'other' ORDER BY sequence"
        assert report_dead_scans(outbox, settings) == 0


def test_a_scan_goes_on_during_changes(scanning: Scanning, team: Team, other: Team) -> None:
    scanning.configure(team=lines(team))
    scanning.begin()
    stop = threading.Event()

    def change() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            both = {"team": lines(team), "other": lines(other, timeout=f"{number % 9 + 1}s")}
            scanning.configure(**(both if number % 2 else {"team": lines(team)}))
            stop.wait(0.05)

    changing = threading.Thread(target=change)
    changing.start()
    for _ in range(60):
        scanning.find(5)
    stop.set()
    changing.join()
    scanning.takes_up(team=lines(team), other=lines(other, timeout="20s"))
    scanning.finish()
    with closing(Outbox(place_in(scanning.folder))) as outbox:
        query = "SELECT endpoint, count(*) FROM delivery GROUP BY 1 ORDER BY 1"
        assert sql(outbox, query) == [("other", 302), ("team", 302)]
    assert Outbox(place_in(scanning.folder)).locks.scan(SCAN.id).is_free
