"""Filters through a scan: what an endpoint is sent is the same live, recovered and in a backfill, and its receipt has
each reason why the rest was withheld."""

from __future__ import annotations

import json
import random
import sqlite3
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any, Callable

import pytest

from sfwebhooks.config.settings import Settings, load_mapping
from sfwebhooks.events import Scan
from sfwebhooks.outbox.finding_counts import FindingCounts
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.scan.backfill import begin_backfill, past_scan, put
from sfwebhooks.scan.findings import Finding, WantedFindings
from sfwebhooks.scan.host_database import HostDatabase
from sfwebhooks.scan.progress import Progress
from sfwebhooks.scan.recovery import replay_scan, report_dead_scans, report_end
from sfwebhooks.scan.run import ScanRun
from tests.builders import NOW, a_finding, a_host_database, a_scan
from tests.conftest import Result, Team, sql
from tests.stores import BOTH, place_in

STORES = BOTH
pytestmark = pytest.mark.usefixtures("store")

#: as the host's database keeps data
KEPT = 1024
LONG = "x" * 3000
#: what a scan finds: hash, type, data, module, confidence, and what SOC's filters say of it
FOUND = (
    ("leak", "LEAKSITE_URL", "https://paste.example/1 acme.example", "sfp_leakix", 100, None),
    ("mail", "EMAILADDR_COMPROMISED", "anna@acme.example [Breach]", "sfp_haveibeenpwned", 100, None),
    ("doubt", "EMAILADDR_COMPROMISED", "bert@acme.example [Breach]", "sfp_haveibeenpwned", 40, "confidence"),
    ("other", "EMAILADDR_COMPROMISED", "cleo@other.example [Breach]", "sfp_haveibeenpwned", 100, "data"),
    ("test", "EMAILADDR_COMPROMISED", "test-1@acme.example", "sfp_haveibeenpwned", 100, "data"),
    ("module", "LEAKSITE_URL", "https://paste.example/2 acme.example", "sfp_intelx", 100, "module"),
    ("low", "TCP_PORT_OPEN", "mail.acme.example:25", "sfp_portscan_tcp", 100, "severity"),
    ("type", "BLACKLISTED_IPADDR", "192.0.2.1 acme.example", "sfp_spamhaus", 100, "finding_type"),
    ("page", "LEAKSITE_CONTENT", "all of acme.example", "sfp_leakix", 100, "finding_type"),
    ("far", "LEAKSITE_URL", f"{LONG} acme.example", "sfp_leakix", 100, None),
    ("farther", "LEAKSITE_URL", f"acme.example {LONG} test-2", "sfp_leakix", 100, "data"),
)
SOC = {
    "events": "all, !surface_changed",
    "finding_types": "*_COMPROMISED, LEAKSITE_*, TCP_PORT_OPEN",
    "min_severity": "medium",
    "min_confidence": "50",
    "modules": "!sfp_intelx",
    "data_match": r"acme\.example",
    "data_not_match": r"\btest-\d",
    "include_raw": "false",
    "concurrency": "1",
}
SENT = {row[0] for row in FOUND if row[-1] is None}
WITHHELD = Counter(row[-1] for row in FOUND if row[-1])


def finding_of(row: tuple[Any, ...]) -> Finding:
    return a_finding(row[0], type=row[1], data=row[2], module=row[3], confidence=row[4])


@pytest.fixture
def scan(tmp_path: Path) -> Scan:
    """A finished scan in the host's database."""
    made = a_scan(database=str(tmp_path / "spiderfoot.db"))
    a_host_database(tmp_path / "spiderfoot.db", made, "FINISHED")
    with closing(sqlite3.connect(made.database)) as connection, connection:
        connection.execute("UPDATE tbl_scan_instance SET ended = ?", (time.time() * 1000,))
        rows = [(made.id, one[0], one[1], NOW, one[4], 100, 0, one[3], one[2][:KEPT], 0, "ROOT") for one in FOUND]
        connection.executemany(f"INSERT INTO tbl_scan_results VALUES ({','.join('?' * 11)})", rows)
    return made


def settings_of(url: str = "https://r.example.test/", general: dict[str, Any] | None = None, **keys: str) -> Settings:
    found = load_mapping({"team": {"url": url, **SOC, **keys}, **(general or {})})
    assert found.mistakes == ()
    return found


def sent_of(outbox: Outbox) -> set[str]:
    """Return the hashes of the findings in the outbox."""
    found = (json.loads(text) for (text,) in sql(outbox, "SELECT data FROM event"))
    return {data["hash"] for data in found if "hash" in data}


def receipt_of(outbox: Outbox) -> dict[str, Any]:
    (row,) = sql(outbox, "SELECT data FROM event WHERE type LIKE 'scan_%' AND data LIKE '%receipts%'")
    found: dict[str, Any] = json.loads(row[0])["receipts"]["team"]
    return found


def test_a_live_scan_sends_what_passes_and_its_receipt_has_the_rest_by_reason(
    tmp_path: Path, scan: Scan, team: Team, cli: Callable[..., Result]
) -> None:
    run = ScanRun(scan, settings_of(team.url), tmp_path)
    run.begin()
    for row in FOUND:
        if run.terms.wants[row[1], 0]:
            run.accept(finding_of(row))
    run._write_withheld()
    live = Outbox(place_in(tmp_path)).scans.withheld(scan.id)["team"]
    counted = {key: number for key, number in WITHHELD.items() if key in ("confidence", "data", "module")}
    assert live == counted, "what nobody wants by its type and severity is counted at the scan's end"
    run.end()
    assert {one.message["data"]["hash"] for one in team.got if "hash" in one.message["data"]} == SENT
    (end,) = [one.message["data"] for one in team.got if one.message["event_type"] == "scan_completed"]
    assert end["receipt"]["withheld_by_reason"] == WITHHELD
    assert (end["receipt"]["withheld"], end["receipt"]["not_wanted"]) == (sum(WITHHELD.values()), 0)
    assert end["receipt"]["accepted"] == len(team.got)
    stats = cli("stats", "--folder", str(tmp_path), "--json")
    assert json.loads(stats.out.splitlines()[0])["withheld"] == WITHHELD
    words = cli("stats", "--folder", str(tmp_path)).out
    assert "team: 3 events not sent because of data_match or data_not_match" in words


@pytest.mark.sqlite("the file's count of commits")
def test_a_finding_that_filters_withhold_costs_no_commit(tmp_path: Path, scan: Scan) -> None:
    run = ScanRun(scan, settings_of(), tmp_path)
    run.begin()
    run._ended.set()  # without the rounds of the keeper
    run._keeper.join()
    outbox = Outbox(place_in(tmp_path))
    with outbox.database.reading() as connection:
        before = connection.execute("PRAGMA data_version").fetchone()
        run.accept(*(finding_of(row) for row in FOUND if row[-1]))
        assert connection.execute("PRAGMA data_version").fetchone() == before
    run._write_withheld()
    assert outbox.scans.withheld(scan.id)["team"] == WITHHELD
    run.accept(finding_of(FOUND[2]))
    run.accept(finding_of(FOUND[0]))
    assert outbox.scans.withheld(scan.id)["team"] == WITHHELD + Counter({"confidence": 1}), "with the next commit"
    run._ended.clear()
    outbox.close()
    run.end()


def test_what_filters_withhold_takes_no_room_while_the_outbox_cannot_be_written(tmp_path: Path, scan: Scan) -> None:
    run = ScanRun(scan, settings_of(), tmp_path)
    run.begin()
    run._ended.set()
    run._keeper.join()
    run._trouble = "database is locked"
    run.accept(*(finding_of(row) for row in FOUND))
    assert {event.data["hash"] for event in run._pending.events} == SENT
    run._ended.clear()
    run.end()
    assert receipt_of(Outbox(place_in(tmp_path)))["withheld_by_reason"] == WITHHELD


def test_a_dead_scan_is_recovered_with_the_same_filters(tmp_path: Path, scan: Scan) -> None:
    run = ScanRun(scan, settings_of(), tmp_path)
    run._begin_once()  # and then its process dies
    run._lock.release()
    outbox = Outbox(place_in(tmp_path))
    assert report_dead_scans(outbox, settings_of()) == 1
    # the host keeps the first 1,024 characters: of what follows the recovery knows nothing
    assert sent_of(outbox) == SENT - {"far"} | {"farther"}
    assert receipt_of(outbox)["withheld_by_reason"] == WITHHELD
    run._outbox.close()
    outbox.close()


def test_a_recovery_after_the_scan_repeats_no_verdict_on_long_data(tmp_path: Path, scan: Scan, team: Team) -> None:
    run = ScanRun(scan, settings_of(team.url), tmp_path)
    run.begin()
    run.accept(*(finding_of(row) for row in FOUND if row[0] in ("far", "farther")))
    run.end()  # which recovers the others
    assert {one.message["data"]["hash"] for one in team.got if "hash" in one.message["data"]} == SENT


def test_a_backfill_announces_and_sends_what_passes(tmp_path: Path, scan: Scan, outbox: Outbox) -> None:
    settings = settings_of()
    past = past_scan(outbox, scan.id, dead=True, enrichment=settings.enrichment)
    missing = begin_backfill(outbox, settings.endpoints[0], past)
    events = list(missing.events)
    passing = SENT - {"far"} | {"farther"}
    assert missing.number == len(events) == len(passing) + 1  # and the end
    assert put(outbox, missing, events)
    assert sent_of(outbox) == passing
    assert receipt_of(outbox)["withheld_by_reason"] == WITHHELD


@pytest.mark.parametrize("seed", range(5))
def test_two_recoveries_with_other_filters_count_what_the_last_one_withholds(
    tmp_path: Path, scan: Scan, outbox: Outbox, seed: int
) -> None:
    rule = random.Random(seed)
    first = {key: value for key, value in SOC.items() if key in ("events", "concurrency") or rule.random() < 0.5}
    loose = load_mapping({"team": {"url": "https://r.example.test/", **first}})
    replay_scan(outbox, loose, scan)
    before = sent_of(outbox)
    replay_scan(outbox, settings_of(), scan)
    report_end(outbox, settings_of(), scan)
    assert sent_of(outbox) == before | SENT - {"far"} | {"farther"}
    receipt = receipt_of(outbox)
    known = HostDatabase(scan.database).counts(scan.id).total
    assert receipt["withheld"] == known - len(sent_of(outbox))


@pytest.mark.parametrize(("targets", "is_sent"), [("acme.*, 10.0.0.0/8", True), ("!acme.example", False)])
def test_an_endpoint_gets_nothing_of_scans_of_other_targets(
    tmp_path: Path, scan: Scan, team: Team, targets: str, is_sent: bool
) -> None:
    run = ScanRun(scan, settings_of(team.url, targets=targets), tmp_path)
    run.begin()
    assert run.terms.wants["LEAKSITE_URL", 0] is is_sent
    run.accept(*(finding_of(row) for row in FOUND))
    run.end()
    assert bool(team.got) is is_sent
    withheld = Outbox(place_in(tmp_path)).scans.withheld(scan.id)["team"]
    assert ("target" in withheld) is not is_sent


def test_types_that_filters_exclude_are_not_asked_for() -> None:
    endpoints = settings_of().endpoints
    wants = WantedFindings(endpoints)
    assert [row[0] for row in FOUND if not wants[row[1], 0]] == ["low", "type", "page"]
    assert wants["TCP_PORT_OPEN", 70], "its module can make it serious enough"


# --- [webhooks-severity]

RATED = {"webhooks-severity": {"critical": "EMAILADDR_COMPROMISED", "low": "LEAKSITE_*"}}
PLAIN = dict.fromkeys(("finding_types", "min_confidence", "modules", "data_match", "data_not_match", "include_raw"), "")


def severities_in(outbox: Outbox) -> dict[str, str]:
    found = (json.loads(text) for (text,) in sql(outbox, "SELECT data FROM event"))
    return {data["hash"]: data["severity"] for data in found if "hash" in data}


def rated_settings() -> Settings:
    keys = {key: value for key, value in {**SOC, "min_severity": "high"}.items() if key not in PLAIN}
    found = load_mapping({"team": {"url": "https://r.example.test/", **keys}, **RATED})
    assert found.mistakes == ()
    return found


MAILS = dict.fromkeys(("mail", "doubt", "other", "test"), "critical")


def test_a_live_finding_has_the_severity_of_its_type(tmp_path: Path, scan: Scan) -> None:
    run = ScanRun(scan, rated_settings(), tmp_path)
    run.begin()
    assert (run.terms.wants["EMAILADDR_COMPROMISED", 0], run.terms.wants["LEAKSITE_URL", 90]) == (True, False), (
        "whatever its risk"
    )
    run.accept(*(finding_of(row)._replace(risk=90) for row in FOUND if row[1] != "BLACKLISTED_IPADDR"))
    assert severities_in(Outbox(place_in(tmp_path))) == {**MAILS, "low": "critical"}
    run.end()
    assert severities_in(Outbox(place_in(tmp_path))) == {**MAILS, "low": "critical"}


def test_recovery_backfill_and_counts_have_it_too(tmp_path: Path, scan: Scan, outbox: Outbox) -> None:
    settings = rated_settings()
    replay_scan(outbox, settings, scan)
    report_end(outbox, settings, scan)
    assert severities_in(outbox) == MAILS
    (row,) = sql(outbox, "SELECT data FROM event WHERE type = 'scan_completed'")
    end = json.loads(row[0])
    assert end["events_by_severity"] == {"critical": 4, "high": 0, "medium": 1, "low": 6, "info": 0}
    assert [one["severity"] for one in end["top_findings"][:4]] == ["critical"] * 4
    assert end["receipts"]["team"]["withheld_by_reason"] == {"severity": 7}


def test_progress_has_it_too(scan: Scan) -> None:
    with closing(sqlite3.connect(scan.database)) as connection, connection:
        connection.execute("UPDATE tbl_scan_instance SET status = 'RUNNING'")
    settings = rated_settings()
    event = Progress(scan, 60.0, NOW, FindingCounts(), settings.enrichment).look(NOW + 60)
    assert event
    assert event.data["events_by_severity"]["critical"] == 4


def test_a_backfill_has_it_too(tmp_path: Path, scan: Scan, outbox: Outbox) -> None:
    settings = rated_settings()
    past = past_scan(outbox, scan.id, dead=True, enrichment=settings.enrichment)
    missing = begin_backfill(outbox, settings.endpoints[0], past)
    put(outbox, missing, list(missing.events))
    assert severities_in(outbox) == MAILS
