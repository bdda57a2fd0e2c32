"""What the host's rules found: read from its database, reported before the scan's end."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Callable

import pytest

from sfwebhooks.config.settings import Settings
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import NotYetError
from sfwebhooks.events import Scan, correlation_id, lifecycle_id
from sfwebhooks.formats import siem, slack
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.selection import Selection
from sfwebhooks.scan.correlations import EVIDENCE_MAX, completed, event_of_correlation
from sfwebhooks.scan.findings import SOURCE_MAX
from sfwebhooks.scan.from_host import correlated
from sfwebhooks.scan.host_database import HostDatabase
from sfwebhooks.scan.recovery import report_end
from sfwebhooks.screening import Screen
from tests.builders import NOW, a_correlation, a_delivery, a_scan, an_endpoint
from tests.hosted import a_finished_scan, correlate
from tests.stores import BOTH

STORES = BOTH

COMPLETED = "correlation_completed"


@pytest.fixture
def scan(tmp_path: Path) -> Scan:
    """A finished scan of ten findings."""
    scan = a_scan(database=str(tmp_path / "spiderfoot.db"))
    a_finished_scan(Path(scan.database), scan)
    return scan


def found(scan: Scan, hashes: Any = ("hash-0",), **values: Any) -> None:
    correlate(Path(scan.database), scan, a_correlation(**values), hashes)


def reported(outbox: Outbox, scan: Scan, *events: str) -> list[dict[str, Any]]:
    """Tell the scan's end to an endpoint; return type, id, severity and data of each event, in its order."""
    endpoint = an_endpoint("team", events=events or ("all", "!surface_changed"))
    report_end(outbox, Settings((endpoint,)), scan)
    return sent(outbox)


def sent(outbox: Outbox) -> list[dict[str, Any]]:
    records = Outbox(outbox.place)
    deliveries = [records.listing.delivery(record.id) for record in records.listing.deliveries(Selection(), 100)]
    kept = sorted((one for one in deliveries if one), key=lambda one: one.sequence)
    assert [one.sequence for one in kept] == list(range(1, len(kept) + 1))
    return [{"type": one.event.type, "id": one.event.id, "severity": one.event.severity.label, "at": one.event.at,
             **one.event.data} for one in kept]  # fmt: skip


def test_correlations_are_sent_before_the_end_and_counted(outbox: Outbox, scan: Scan) -> None:
    found(scan, title="Open: a", host_id="1")
    found(scan, title="Old host", rule_id="stale_host", rule_risk="LOW", host_id="2")
    events = reported(outbox, scan)
    assert [event["type"] for event in events] == ["correlation_found"] * 2 + [COMPLETED, "scan_completed"]
    assert [(event["title"], event["severity"], event["rule_risk"]) for event in events[:2]] == [
        ("Open: a", "high", "HIGH"),
        ("Old host", "low", "LOW"),
    ]
    assert events[2]["correlations_found"] == 2
    assert events[2]["correlations_by_severity"] == {"critical": 0, "high": 1, "medium": 0, "low": 1, "info": 0}
    assert {event["at"] for event in events} == {NOW + 60}


def test_its_id_is_that_of_rule_and_title_so_that_rules_can_be_run_again(outbox: Outbox, scan: Scan) -> None:
    found(scan, title="Open: a", host_id="1")
    found(scan, title="Open: a", host_id="another one, of a second run")
    first, counted, _ = reported(outbox, scan)
    assert first["id"] == correlation_id(scan.id, "cloud_bucket_open", "Open: a")
    assert (counted["id"], counted["correlations_found"]) == (lifecycle_id(scan.id, "correlations"), 1)


def test_rules_can_have_the_same_title_and_a_rule_several(outbox: Outbox, scan: Scan) -> None:
    several = [("a", "x"), ("b", "x"), ("a", "y"), ("c/d", "e"), ("c", "d/e")]
    for number, (rule, title) in enumerate(several):
        found(scan, rule_id=rule, title=title, host_id=str(number))
    events = reported(outbox, scan, "correlation_found")
    assert [(event["rule_id"], event["title"]) for event in events] == several


def test_of_several_with_a_rule_and_title_the_one_that_rests_on_most_is_sent(outbox: Outbox, scan: Scan) -> None:
    for host_id, hashes in (("1", ["hash-0"]), ("2", ["hash-1", "hash-2"]), ("3", ["hash-3", "hash-4"])):
        found(scan, hashes, host_id=host_id)
    (event,) = reported(outbox, scan, "correlation_found")
    assert (event["event_count"], [one["hash"] for one in event["evidence"]]) == (2, ["hash-1", "hash-2"])


def test_evidence_has_type_data_and_module_of_each_event(outbox: Outbox, scan: Scan) -> None:
    found(scan, ["hash-3", "hash-4"])
    (event,) = reported(outbox, scan, "correlation_found")
    assert event["evidence"] == [
        {"event_type": "TCP_PORT_OPEN", "data": "d 3", "module": "m", "hash": "hash-3"},
        {"event_type": "EMAILADDR", "data": "d 4", "module": "m", "hash": "hash-4"},
    ]


def test_much_evidence_and_long_texts_are_cut_and_the_count_is_exact(outbox: Outbox, tmp_path: Path) -> None:
    scan = a_scan(database=str(tmp_path / "spiderfoot.db"))
    a_finished_scan(Path(scan.database), scan, findings=100)
    with closing(sqlite3.connect(scan.database)) as connection, connection:
        connection.execute("UPDATE tbl_scan_results SET data = ?", ("x" * 5000,))
    found(scan, [f"hash-{number}" for number in range(100)], title="t" * 5000)
    (event,) = reported(outbox, scan, "correlation_found")
    assert (event["event_count"], len(event["evidence"]), len(event["title"])) == (100, EVIDENCE_MAX, SOURCE_MAX)
    assert {len(one["data"]) for one in event["evidence"]} == {SOURCE_MAX}


def test_the_evidence_of_many_is_read_over_one_connection(
    outbox: Outbox, scan: Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    def connect(database: str, **values: Any) -> sqlite3.Connection:
        opened.append(database)
        return connection_to(database, **values)

    connection_to: Callable[..., sqlite3.Connection] = sqlite3.connect
    numbers = []
    for first in (0, 20):
        for number in range(first, first + 20):
            found(scan, title=f"Open: {number}", host_id=str(number))
        monkeypatch.setattr(sqlite3, "connect", connect)
        opened.clear()
        assert (
            len(
                list(
                    correlated(
                        HostDatabase(scan.database), scan, Screen((an_endpoint(events=("all", "!surface_changed")),))
                    )
                )
            )
            > first + 20
        )
        numbers.append(len(opened))
        monkeypatch.undo()
    assert numbers[0] == numbers[1]


def test_a_scan_without_correlations_says_so(outbox: Outbox, scan: Scan) -> None:
    assert [event["correlations_found"] for event in reported(outbox, scan, COMPLETED)] == [0]


@pytest.mark.parametrize("status", ["ABORTED", "ERROR-FAILED", "RUNNING"])
def test_without_a_finished_scan_the_rules_have_not_run(outbox: Outbox, tmp_path: Path, status: str) -> None:
    scan = a_scan(database=str(tmp_path / "spiderfoot.db"))
    a_finished_scan(Path(scan.database), scan, status=status)
    found(scan)  # of rules that somebody ran later
    assert [event["type"] for event in reported(outbox, scan, "correlation_*", COMPLETED)] == []


def test_a_database_of_a_scanner_without_rules_does_no_harm(outbox: Outbox, scan: Scan) -> None:
    with closing(sqlite3.connect(scan.database)) as connection, connection:
        connection.execute("DROP TABLE tbl_scan_correlation_results_events")
        connection.execute("DROP TABLE tbl_scan_correlation_results")
    assert [event["type"] for event in reported(outbox, scan)] == ["scan_completed"]


def test_an_endpoint_gets_those_that_it_asks_for(outbox: Outbox, scan: Scan) -> None:
    found(scan)
    assert [event["type"] for event in reported(outbox, scan, "correlation.found")] == ["correlation_found"]


def test_by_default_an_endpoint_gets_them_without_their_count(outbox: Outbox, scan: Scan) -> None:
    found(scan)
    assert [event["type"] for event in reported(outbox, scan, *Endpoint.events)] == [
        "correlation_found",
        "scan_completed",
    ]


def test_a_second_teller_adds_nothing(outbox: Outbox, scan: Scan) -> None:
    found(scan)
    first = reported(outbox, scan)
    assert reported(outbox, scan) == first


def test_a_correlation_in_a_chat_says_what_which_rule_and_why(outbox: Outbox, scan: Scan) -> None:
    found(scan, [f"hash-{number}" for number in range(9)])
    reported(outbox, scan, "correlation_found")
    records = Outbox(outbox.place)
    (record,) = records.listing.deliveries(Selection(), 10)
    delivery = records.listing.delivery(record.id)
    assert delivery
    message = slack.FORMAT.render(delivery, an_endpoint()).body.decode()
    for words in (
        "Correlation found (high)",
        "Cloud storage bucket found open: acme",
        "A cloud bucket can be listed by anybody.",
        "Cloud storage bucket open to the Internet",
        "cloud_bucket_open",
        "*Event count*",
        "9",
        "VULNERABILITY_CVE_HIGH d 0\\nMALICIOUS_INTERNET_NAME d 1",
        "and 4 more",
    ):
        assert words in message


def test_a_correlation_in_a_siem_has_the_word_of_its_risk() -> None:
    event = event_of_correlation(a_correlation(rule_risk="MEDIUM"), (), a_scan(), NOW)
    body = siem.siem_event(a_delivery(event), an_endpoint())
    assert (body["event_type"], body["severity"], body["severity_exact"]) == ("correlation_found", "MEDIUM", "medium")
    assert body["raw_data"] == event.data


def test_a_deadline_leaves_the_end_to_the_next_teller(outbox: Outbox, scan: Scan) -> None:
    found(scan, title="Open: a", host_id="1")
    with pytest.raises(NotYetError):
        report_end(outbox, Settings((an_endpoint("team", events=("all", "!surface_changed")),)), scan, deadline=0.0)
    assert [event["type"] for event in sent(outbox)] == ["correlation_found", COMPLETED]
    assert [event["type"] for event in reported(outbox, scan)] == ["correlation_found", COMPLETED, "scan_completed"]


def test_the_counts_of_correlations_go_from_the_worst_severity_down() -> None:
    counts = completed(a_scan(), [a_correlation()], NOW).data["correlations_by_severity"]
    assert list(counts) == ["critical", "high", "medium", "low", "info"]
