"""What is read of the host's database, in a file and on a server: recovery, correlations, counts, backfill, progress,
history, false positives, the host's log."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from sfwebhooks.config.settings import Settings
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.enrichment.enrichment import Enrichment
from sfwebhooks.events import Scan
from sfwebhooks.outbox.finding_counts import FindingCounts
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.pipeline import accept
from sfwebhooks.scan.backfill import begin_backfill, past_scan, put
from sfwebhooks.scan.false_positives import screen_for
from sfwebhooks.scan.findings import Source, event_of_finding
from sfwebhooks.scan.forecast import forecast
from sfwebhooks.scan.history import read_history
from sfwebhooks.scan.host_database import PART, WITH_SOURCES, HostDatabase
from sfwebhooks.scan.host_log import modules_failed, modules_unset
from sfwebhooks.scan.lifecycle import started
from sfwebhooks.scan.progress import Progress
from sfwebhooks.scan.recovery import report_dead_scans
from sfwebhooks.screening import Screen
from sfwebhooks.severity import Severity
from tests.builders import CVE, NOW, a_correlation, a_finding, a_host_database, a_scan, add_past_scan, an_endpoint
from tests.conftest import sql
from tests.host_databases import make_tables, writing
from tests.hosted import a_finished_scan, add_scan, correlate
from tests.stores import BOTH

STORES = BOTH

ALL = an_endpoint("all", events=("all", "!surface_changed"))


@pytest.fixture
def scan(host_database: str) -> Scan:
    """A scan of the host whose database it is."""
    return a_scan(database=host_database)


def begin(outbox: Outbox, scan: Scan, *endpoints: Endpoint) -> Screen:
    """Begin a scan whose process is gone at once."""
    screen = screen_for(scan, endpoints, HostDatabase(scan.database))
    first = started(scan)
    outbox.scans.begin_scan(scan, first, screen.of(first)[0], NOW)
    return screen


def sent(outbox: Outbox, endpoint: str = "all") -> Counter[str]:
    """The data of the findings that an endpoint is sent, and the names of other events."""
    query = (
        "SELECT coalesce(json_extract(e.data, '$.data'), d.name) FROM delivery d JOIN event e ON e.number = d.event"
        f" WHERE d.endpoint = '{endpoint}' ORDER BY d.number"
    )
    return Counter(row[0] for row in sql(outbox, query))


def test_a_scan_whose_process_died_is_recovered_with_its_sources_correlations_and_counts(
    outbox: Outbox, scan: Scan
) -> None:
    a_finished_scan(scan.database, scan)
    one = a_correlation(host_id="c1")
    correlate(scan.database, scan, one, ["hash-0", "hash-1"])
    begin(outbox, scan, ALL)
    assert report_dead_scans(outbox, Settings((ALL,))) == 1
    expected = {"scan_started", "scan_completed", "correlation_found", "correlation_completed", scan.target}
    assert sent(outbox) == Counter([*expected, *(f"d {number}" for number in range(10))])
    ((sources,),) = sql(
        outbox,
        "SELECT json_extract(data, '$.sources') FROM event WHERE json_extract(data, '$.data') = 'd 0'",
    )
    assert f'"data":"{scan.target}"' in sources.replace(" ", "")
    ((text,),) = sql(outbox, "SELECT data FROM event WHERE type = 'scan_completed'")
    end = json.loads(text)
    counts = [end[f"{one}_risk_events"] for one in ("high", "medium", "low")]
    assert (counts, end["info_events"], end["events_found"], end["correlations_by_risk"]["HIGH"]) == (
        [4, 2, 2],
        3,
        11,
        1,
    )
    assert [one["hash"] for one in end["top_findings"]][:4] == ["hash-6", "hash-5", "hash-1", "hash-0"]
    ((evidence,),) = sql(outbox, "SELECT json_extract(data, '$.evidence') FROM event WHERE type = 'correlation_found'")
    assert [f'"d {number}"' in evidence for number in (0, 1, 2)] == [True, True, False]


def test_what_a_live_scan_has_accepted_is_not_recovered_again(outbox: Outbox, scan: Scan) -> None:
    found = [a_finding(f"h{number}", data=f"data {number}", sources=()) for number in range(WITH_SOURCES + 5)]
    add_scan(scan.database, scan, found)
    screen = begin(outbox, scan, ALL)
    accept([event_of_finding(one, scan, "") for one in found[::2]], screen, outbox, NOW)
    report_dead_scans(outbox, Settings((ALL,)))
    assert sent(outbox) == Counter(["scan_started", "scan_completed", "correlation_completed",
                                    *(one.data for one in found)])  # fmt: skip


def test_a_backfill_sends_a_past_scan_in_the_order_of_a_live_one(outbox: Outbox, scan: Scan) -> None:
    a_finished_scan(scan.database, scan)
    past = past_scan(outbox, scan.id, dead=True)
    assert (past.scan.database, past.scan.target_type) == (scan.database, scan.target_type)
    expected = forecast(outbox, ALL, past).number
    missing = begin_backfill(outbox, ALL, past)
    assert put(outbox, missing, list(missing.events))
    order = [row[0] for row in sql(outbox, "SELECT json_extract(data, '$.data') FROM event ORDER BY number") if row[0]]
    assert order == [scan.target, *(f"d {number}" for number in range(10))]
    assert sum(sent(outbox).values()) == expected


def test_all_findings_come_in_order_of_creation_over_several_parts(scan: Scan) -> None:
    found = [a_finding(f"h{number}", data=f"d{number}", generated=NOW + number // 7) for number in range(PART * 2 + 1)]
    add_scan(scan.database, scan, found)
    read = list(HostDatabase(scan.database).all_findings(scan.id))
    assert [(one.hash, one.generated, one.data) for one in read] == [(f.hash, f.generated, f.data) for f in found]
    assert [row[0] for row in HostDatabase(scan.database).index(scan.id)] == [one.hash for one in found]


def test_the_worst_findings_are_the_most_severe_ones_and_of_these_the_newest(scan: Scan) -> None:
    a_finished_scan(scan.database, scan, findings=20)
    top = HostDatabase(scan.database).worst(scan.id, 3)
    assert [(one.hash, one.at, one.module, one.data) for one in top] == [
        (f"hash-{number}", NOW + number, "m", f"d {number}") for number in (16, 15, 11)
    ]
    assert {one.severity for one in top} == {Severity.HIGH}


def test_vulnerabilities_that_are_known_to_be_exploited_are_counted_as_such(scan: Scan, tmp_path: Path) -> None:
    kev = tmp_path / "kev.json"
    kev.write_text(f'{{"vulnerabilities": [{{"cveID": "{CVE}", "dueDate": "2026-12-01"}}]}}', encoding="utf-8")
    found = [
        a_finding("a", type="VULNERABILITY_CVE_LOW", data=f"{CVE}\nDescription: x", sources=()),
        a_finding("b", type="VULNERABILITY_CVE_LOW", data="CVE-2026-7777", sources=()),
        a_finding("c", type="EMAILADDR", data=CVE, sources=()),
    ]
    add_scan(scan.database, scan, found)
    database = HostDatabase(scan.database, enrichment=Enrichment(kev))
    assert [row[3] for row in database.index(scan.id)] == [1, 0, 0]
    assert database.counts(scan.id).data["high_risk_events"] == 1
    assert [one.hash for one in database.worst(scan.id, 1)] == ["a"]
    standing = database.standing(scan.id)
    assert standing is not None and standing[2].data == database.counts(scan.id).data


def test_progress_is_counted_in_the_hosts_database(scan: Scan) -> None:
    a_finished_scan(scan.database, scan, status="RUNNING")
    with writing(scan.database) as host:
        host.execute("INSERT INTO tbl_scan_config VALUES (?, 'GLOBAL', '_modulesenabled', 'sfp_a,sfp__stor_db')",
                     (scan.id,))  # fmt: skip
    event = Progress(scan, 60.0, NOW, FindingCounts()).look(NOW + 60)
    assert event is not None
    about = {key: event.data[key] for key in ("status", "events_found", "elapsed", "modules_used")}
    assert about == {"status": "RUNNING", "events_found": 11, "elapsed": 60, "modules_used": ["sfp_a"]}


def test_a_scan_is_compared_with_earlier_ones_with_the_same_modules(outbox: Outbox, host_database: str) -> None:
    make_tables(host_database)
    for number in range(4):
        add_past_scan(host_database, f"S{number}", NOW + 3600 * number, findings=number, failed=("sfp_shodan",))
    add_past_scan(host_database, "OTHER", NOW - 7200, modules="sfp_whois")
    history = read_history(outbox, NOW + 86400)
    last = history.scans["S3"]
    assert [one.id for one in history.comparable(last)] == ["S2", "S1", "S0"]
    assert (history.findings(last), history.failing(last)) == (3, {"sfp_shodan"})
    assert (last.started, last.ended) == (NOW + 3600 * 3, NOW + 3600 * 3 + 600)


def test_what_a_user_marked_as_false_positive_is_withheld(scan: Scan) -> None:
    add_scan(scan.database, scan, [a_finding(one, data=one, sources=()) for one in ("good", "bad")])
    with writing(scan.database) as host:
        host.execute("UPDATE tbl_scan_results SET false_positive = 1 WHERE hash = 'bad'")
    screen = screen_for(scan, (ALL,), HostDatabase(scan.database))
    events = {one: event_of_finding(a_finding(one, data=one, sources=()), scan, "") for one in ("good", "bad")}
    assert {one: bool(screen.of(event)[0]) for one, event in events.items()} == {"good": True, "bad": False}


def test_modules_that_failed_are_found_in_the_hosts_log(scan: Scan) -> None:
    a_host_database(scan.database, scan)
    rows = [
        ("sfp_dns", "it failed"),
        ("sflib", "Module sfp_spider encountered an error: 100% of it"),
        ("sflib", "Warning: You enabled sfp_shodan but did not set an API key!"),
        ("sflib", "an error of nobody"),
    ]
    with writing(scan.database) as host:
        host.executemany("INSERT INTO tbl_scan_log VALUES (?, 5, ?, 'ERROR', ?)", [(scan.id, *row) for row in rows])
    database = HostDatabase(scan.database)
    assert modules_unset(scan.id, database) == {"sfp_shodan"}
    assert modules_failed(scan.id, database) == {"sfp_dns", "sfp_spider", "sfp_shodan"}


def test_findings_of_some_types_are_read_without_the_others(scan: Scan) -> None:
    a_finished_scan(scan.database, scan)
    read = HostDatabase(scan.database).of_types(scan.id, {"JUNK_FILE", "EMAILADDR"})
    assert [data for _, data, _ in read] == ["d 2", "d 4", "d 7", "d 9"]


def test_a_finding_follows_its_chain_of_sources_to_the_target(scan: Scan) -> None:
    a_host_database(scan.database, scan)
    chain = [
        ("ROOT", "ROOT", "ROOT"),
        ("t", "DOMAIN_NAME", "ROOT"),
        ("p", "URL", "t"),
        ("q", "URL", "p"),
        ("v", "X", "q"),
    ]
    rows = [(scan.id, one, kind, NOW, 100, 100, 0, "m", f"of {one}", 0, parent) for one, kind, parent in chain]
    with writing(scan.database) as host:
        host.executemany(f"INSERT INTO tbl_scan_results VALUES ({','.join('?' * 11)})", rows)
    first, second = HostDatabase(scan.database).findings(scan.id, ["v", "nothing", "p"])
    assert [one.hash for one in first.sources] == ["q", "p", "t"]
    assert second.sources == (Source("DOMAIN_NAME", "of t", "m", "t"),)


@pytest.mark.parametrize("stored", [NOW, NOW * 1000])
def test_times_of_findings_are_seconds_or_milliseconds(stored: float, scan: Scan) -> None:
    add_scan(scan.database, scan, [a_finding("h", generated=stored, sources=())])
    database = HostDatabase(scan.database)
    (one,) = database.findings(scan.id, ["h"])
    (other,) = database.all_findings(scan.id)
    assert one.generated == other.generated == database.worst(scan.id, 1)[0].at == NOW


def test_correlations_come_in_order_of_creation_without_those_that_rest_on_nothing(scan: Scan) -> None:
    a_finished_scan(scan.database, scan)
    for number in (3, 1, 2):
        one = a_correlation(host_id=f"c{number}", title=f"Title {number}")
        correlate(scan.database, scan, one, [f"hash-{each}" for each in range(number)])
    correlate(scan.database, scan, a_correlation(host_id="c0"), [])
    database = HostDatabase(scan.database)
    read = database.correlations(scan.id)
    assert read is not None
    assert [(one.host_id, one.event_count) for one in read] == [("c3", 3), ("c1", 1), ("c2", 2)]
    assert [[source.hash for source in each] for each in database.evidence(scan.id, read)] == [
        ["hash-0", "hash-1", "hash-2"], ["hash-0"], ["hash-0", "hash-1"],
    ]  # fmt: skip


def test_a_host_without_rules_has_no_correlations(scan: Scan) -> None:
    a_host_database(scan.database, scan)
    with writing(scan.database) as host:
        host.execute("DROP TABLE tbl_scan_correlation_results")
    database = HostDatabase(scan.database)
    assert (database.correlations(scan.id), database.correlations_by_risk(scan.id)) == (None, {})
