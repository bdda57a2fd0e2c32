"""The survey of a scan's end: exact counts of what an endpoint is not sent, and the comparison with the scan before."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any, Callable

import pytest

from sfwebhooks.config.settings import Settings
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import NotYetError
from sfwebhooks.events import Scan, timestamp
from sfwebhooks.fingerprints import lineage_of, of_finding
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.pipeline import accept
from sfwebhooks.scan.false_positives import screen_for
from sfwebhooks.scan.findings import Finding, Source, event_of_finding
from sfwebhooks.scan.host_database import PART, HostDatabase
from sfwebhooks.scan.lifecycle import started
from sfwebhooks.scan.missing import Earlier, missing_hashes
from sfwebhooks.scan.recovery import replay_scan, report_dead_scans, report_end
from sfwebhooks.screening import Screen
from sfwebhooks.severity import Severity
from tests.builders import NOW, a_correlation, a_finding, a_scan, an_endpoint
from tests.hosted import add_scan, correlate
from tests.outbox_rows import rows_of
from tests.stores import BOTH
from tests.tiers import quick_first
from tests.tracing import traced

STORES = BOTH

ALL = an_endpoint("all", events=("all", "!surface_changed"))
NEWS = an_endpoint("news", events=("high_risk_event", "scan_*", "surface_changed"), only_new=True)
SURFACE = an_endpoint("surface", events=("surface_changed", "scan_completed"))
CHANGES = an_endpoint("changes", events=("surface_changed", "scan_completed"), only_if_changed=True)


class History:
    """Scans of one target, one after the other, in one database of the host."""

    def __init__(self, folder: Path, outbox: Outbox, *endpoints: Endpoint) -> None:
        self.path = folder / "host.db"
        self.outbox = outbox
        self.settings = Settings(endpoints)
        self.number = 0
        #: returns when the scan that begins now is over for the host, in epoch seconds
        self.at: Callable[[], float] = lambda: NOW + 3600 * self.number

    def found(self, *data: str, **values: Any) -> list[Finding]:
        """Return findings of the next scan, of high severity unless `type` says otherwise."""
        id = f"S{self.number + 1}"
        return [a_finding(f"{id}-{one}", **{"data": one, "sources": (), "module": "sfp_a", **values}) for one in data]

    def begin(self, found: Sequence[Finding], heard: Sequence[Finding] | None = None, **values: str) -> Scan:
        """Begin the next scan: the host has stored all that it found, of which we have heard something or all."""
        self.number += 1
        scan = a_scan(f"S{self.number}", database=str(self.path))
        add_scan(self.path, scan, found, self.at(), **values)
        screen = screen_for(scan, self.settings.endpoints, HostDatabase(scan.database))
        begin = started(scan)
        self.outbox.scans.begin_scan(scan, begin, screen.of(begin)[0], NOW)
        events = [event_of_finding(one, scan, "") for one in (found if heard is None else heard)]
        accept(events, screen, self.outbox, NOW)
        return scan

    def end(self, scan: Scan, late: str = "") -> None:
        replay_scan(self.outbox, self.settings, scan)
        report_end(self.outbox, self.settings, scan, late=late)

    def run(self, found: Sequence[Finding], **values: str) -> Scan:
        scan = self.begin(found, None, **values)
        self.end(scan)
        return scan

    def sent(self, endpoint: Endpoint, scan: Scan | None = None) -> Counter[str]:
        """What an endpoint is sent: the data of findings, the names of other events."""
        query = (
            "SELECT coalesce(json_extract(e.data, '$.data'), d.name) FROM delivery d JOIN event e ON e.number = d.event"
            " WHERE d.endpoint = ? AND e.scan_id LIKE ? ORDER BY d.number"
        )
        return Counter(row[0] for row in rows_of(self.outbox, query, endpoint.name, scan.id if scan else "%"))

    def compared(self, scan: Scan) -> dict[str, Any]:
        """The data of surface_changed."""
        query = "SELECT data FROM event WHERE type = 'surface_changed' AND scan_id = ?"
        ((text,),) = rows_of(self.outbox, query, scan.id)
        return dict(json.loads(text))

    def receipt(self, endpoint: Endpoint, scan: Scan) -> dict[str, Any]:
        query = "SELECT json_extract(data, '$.receipts') FROM event WHERE type = 'scan_completed' AND scan_id = ?"
        ((text,),) = rows_of(self.outbox, query, scan.id)
        return dict(json.loads(text)[endpoint.name])

    def mark(self, data: str) -> None:
        """Mark something as a false positive, in each scan that found it, as a user does."""
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.execute("UPDATE tbl_scan_results SET false_positive = 1 WHERE data = ?", (data,))


def totals(data: dict[str, Any]) -> tuple[int, int, int]:
    return data["new"]["total"], data["gone"]["total"], data["changed"]["total"]


def named(part: dict[str, Any]) -> list[str]:
    return [item["data"] for item in part["items"]]


def test_a_scan_is_compared_with_the_one_before(tmp_path: Path, outbox: Outbox) -> None:
    history = History(tmp_path, outbox, SURFACE)
    first = history.run(history.found("a", "b", "c"))
    second = history.run([*history.found("c"), *history.found("d", "e", "f", type="TCP_PORT_OPEN")])
    data = history.compared(second)
    assert totals(data) == (3, 2, 0)
    assert data["new"]["by_type"] == {"TCP_PORT_OPEN": 3}
    assert (named(data["new"]), named(data["gone"])) == (["d", "e", "f"], ["a", "b"])
    assert data["compared_with"] == {"scan_id": first.id, "ended": timestamp(NOW + 3600)}
    assert data["message"] == "3 new, 2 gone since 2026-11-21 11:00:00 UTC."
    assert not {"unchanged_since", "not_comparable"} & data.keys()


def test_the_first_scan_is_compared_with_none(tmp_path: Path, outbox: Outbox) -> None:
    history = History(tmp_path, outbox, SURFACE)
    data = history.compared(history.run(history.found("a")))
    assert (data["not_comparable"], totals(data)) == ("first_scan", (0, 0, 0))
    assert not {"unchanged_since", "compared_with"} & data.keys()


def test_scans_without_a_difference_are_unchanged_since_the_first_of_them(tmp_path: Path, outbox: Outbox) -> None:
    history = History(tmp_path, outbox, SURFACE)
    for data in ("a", "b", "b", "b"):
        last = history.run(history.found(data))
    assert history.compared(last)["unchanged_since"] == timestamp(NOW + 2 * 3600)
    assert history.compared(last)["message"] == "Nothing is new or gone since 2026-11-21 12:00:00 UTC."


def test_a_scan_with_other_modules_is_not_compared(tmp_path: Path, outbox: Outbox) -> None:
    history = History(tmp_path, outbox, SURFACE)
    history.run(history.found("a"))
    data = history.compared(history.run(history.found("b"), modules="sfp_a"))
    assert (data["not_comparable"], totals(data)) == ("other_modules", (0, 0, 0))


@pytest.mark.parametrize(
    ("status", "late", "why"),
    [
        ("ABORTED", "", "aborted"),
        ("ERROR-FAILED", "", "failed"),
        ("RUNNING", "process_died", "died"),
        ("RUNNING", "host_stopped", "aborted"),
    ],
)
def test_one_that_did_not_finish_is_not_compared_nor_is_a_later_one_with_it(
    status: str, late: str, why: str, tmp_path: Path, outbox: Outbox
) -> None:
    history = History(tmp_path, outbox, SURFACE)
    first = history.run(history.found("a", "b"))
    scan = history.begin(history.found("a"), status=status)
    history.end(scan, late)
    assert (history.compared(scan)["not_comparable"], totals(history.compared(scan))) == (why, (0, 0, 0))
    data = history.compared(history.run(history.found("a", "b")))
    assert (data["compared_with"]["scan_id"], data["unchanged_since"]) == (first.id, timestamp(NOW + 3600))


def test_a_scan_that_finished_and_whose_process_died_then_is_compared(tmp_path: Path, outbox: Outbox) -> None:
    history = History(tmp_path, outbox, SURFACE)
    history.run(history.found("a"))
    scan = history.begin(history.found("a", "b"))
    history.end(scan, "process_died")
    assert named(history.compared(scan)["new"]) == ["b"]


def test_the_most_severe_are_named_first_and_the_others_are_counted(tmp_path: Path, outbox: Outbox) -> None:
    history = History(tmp_path, outbox, SURFACE)
    history.run([])
    mild = history.found(*(f"port-{number}" for number in range(30)), type="TCP_PORT_OPEN")
    grave = history.found("late", type="VULNERABILITY_CVE_CRITICAL")
    scan = history.run([*mild, *grave])
    new = history.compared(scan)["new"]
    assert named(new) == ["late", *(f"port-{number}" for number in range(19))]
    assert (new["total"], new["by_type"]) == (31, {"TCP_PORT_OPEN": 30, "VULNERABILITY_CVE_CRITICAL": 1})
    assert rows_of(outbox, "SELECT severity FROM event WHERE type = 'surface_changed' AND scan_id = ?", scan.id) == [
        (int(Severity.CRITICAL),)
    ]


def test_equal_findings_are_one(tmp_path: Path, outbox: Outbox) -> None:
    history = History(tmp_path, outbox, SURFACE)
    history.run([])
    twice = history.found("a.acme.example", type="INTERNET_NAME")
    again = [twice[0]._replace(hash="other", data="A.acme.example.")]
    data = history.compared(history.run([*twice, *again]))
    assert (data["new"]["total"], named(data["new"])) == (1, ["a.acme.example"])


def test_no_secret_is_named(tmp_path: Path, outbox: Outbox) -> None:
    history = History(tmp_path, outbox, SURFACE)
    history.run(history.found("ada@acme.example:hunter22! [x]", type="PASSWORD_COMPROMISED"))
    scan = history.run(history.found("bob@acme.example:swordfish [x]", type="PASSWORD_COMPROMISED"))
    data = history.compared(scan)
    assert totals(data) == (1, 1, 1)
    before = data["changed"]["items"][0]["before"]["data"]
    texts = (*named(data["new"]), *named(data["gone"]), *named(data["changed"]), before)
    assert [text.partition(":")[0] for text in texts] == [
        f"{name}@acme.example" for name in ("bob", "ada", "bob", "ada")
    ]
    assert not any(secret in text for text in texts for secret in ("unter22", "wordfis"))


def test_what_took_the_place_of_something_is_changed(tmp_path: Path, outbox: Outbox) -> None:
    history = History(tmp_path, outbox, SURFACE)
    for banner in ("nginx/1.18", "nginx/1.27"):
        hosts = [history.found(name, type="INTERNET_NAME")[0] for name in ("a.acme.example", "b.acme.example")]
        below = [Source(one.type, one.data, one.module, one.hash) for one in hosts]
        banners = history.found(banner, type="WEBSERVER_BANNER", sources=(below[0],))
        other = history.found("same", type="WEBSERVER_BANNER", sources=(below[1],))
        scan = history.run([*hosts, *banners, *other])
    data = history.compared(scan)
    assert totals(data) == (1, 1, 1), "it is counted as new and gone too"
    (item,) = data["changed"]["items"]
    assert (item["data"], item["before"]["data"]) == ("nginx/1.27", "nginx/1.18")
    assert (item["hash"], item["before"]["hash"]) == ("S2-nginx/1.27", "S1-nginx/1.18")


def test_several_in_one_place_are_not_paired(tmp_path: Path, outbox: Outbox) -> None:
    history = History(tmp_path, outbox, SURFACE)
    history.run(history.found("a"))
    assert totals(history.compared(history.run(history.found("b", "c")))) == (2, 1, 0)


def test_what_is_gone_is_counted_if_spiderfoot_no_longer_has_it(tmp_path: Path, outbox: Outbox) -> None:
    history = History(tmp_path, outbox, SURFACE)
    history.run(history.found("a", "b"))
    with closing(sqlite3.connect(history.path)) as connection, connection:
        connection.execute("DELETE FROM tbl_scan_results")
    gone = history.compared(history.run(history.found("b")))["gone"]
    assert (gone["total"], gone["items"]) == (1, [])


def test_correlations_are_not_compared(tmp_path: Path, outbox: Outbox) -> None:
    history = History(tmp_path, outbox, SURFACE)
    history.run(history.found("a"))
    scan = history.begin(history.found("a"))
    correlate(history.path, scan, a_correlation(), ["S2-a"])
    history.end(scan)
    assert history.compared(scan)["unchanged_since"] == timestamp(NOW + 3600)


def test_an_endpoint_can_ask_for_changes_only(tmp_path: Path, outbox: Outbox) -> None:
    history = History(tmp_path, outbox, CHANGES, SURFACE)
    scans = [history.run(history.found(data)) for data in ("a", "b", "b")]
    assert [history.sent(SURFACE, one)["surface_changed"] for one in scans] == [1, 1, 1]
    assert [history.sent(CHANGES, one)["surface_changed"] for one in scans] == [0, 1, 0]
    receipts = [history.receipt(CHANGES, one) for one in scans]
    assert [one["withheld_by_reason"] for one in receipts] == [{"not_comparable": 1}, {}, {"unchanged": 1}]
    assert [one["not_wanted"] for one in receipts] == [1, 1, 1], "the findings; a comparison is none"


def test_an_endpoint_for_what_is_new_is_sent_exactly_that(tmp_path: Path, outbox: Outbox) -> None:
    history = History(tmp_path, outbox, NEWS)
    first = history.run(history.found("a", "b", "c"))
    second = history.run(history.found("c", "d", "e", "f"))
    assert +history.sent(NEWS, first) == Counter(["scan_started", "surface_changed", "scan_completed"])
    assert history.sent(NEWS, second) - history.sent(NEWS, first) == Counter(["d", "e", "f"])
    assert history.receipt(NEWS, first)["withheld_by_reason"] == {"baseline": 3}
    assert history.receipt(NEWS, second)["withheld_by_reason"] == {"known": 1}


FILTERS: dict[str, dict[str, Any]] = {
    "severity": {"min_severity": Severity.CRITICAL},
    "finding_type": {"finding_types": ("!VULN*",)},
    "module": {"modules": ("!sfp_a",)},
    "confidence": {"min_confidence": 101},
    "data": {"data_not_match": ("^x",)},
}


@pytest.mark.parametrize("reason", FILTERS)
def test_what_a_filter_withholds_is_counted_exactly_whatever_was_counted_live(
    reason: str, tmp_path: Path, outbox: Outbox
) -> None:
    endpoint = an_endpoint("picky", events=("high_risk_event", "scan_completed"), **FILTERS[reason])
    history = History(tmp_path, outbox, endpoint, ALL)
    found = [*history.found("x1", "x2", "x3"), *history.found("low", type="TCP_PORT_OPEN")]
    scan = history.begin(found, heard=found[:2])
    outbox.write_withheld()
    history.end(scan)
    receipt = history.receipt(endpoint, scan)
    assert receipt["withheld_by_reason"] == {reason: 3}
    assert (receipt["withheld"], receipt["not_wanted"]) == (3, 1)
    assert history.receipt(ALL, scan)["withheld"] == 0


def test_a_process_that_was_killed_before_it_wrote_its_counts_loses_none(tmp_path: Path, outbox: Outbox) -> None:
    endpoint = an_endpoint("picky", events=("all", "!surface_changed"), min_severity=Severity.HIGH)
    history = History(tmp_path, outbox, endpoint)
    found = [*history.found("a"), *history.found("b", "c", type="TCP_PORT_OPEN")]
    scan = history.begin(found)
    outbox.close()
    other = Outbox(outbox.place)  # the counts in memory were those of the killed process
    for _ in range(2):  # the first recovery is killed before the end
        replay_scan(other, history.settings, scan)
    report_end(other, history.settings, scan, late="process_died")
    other.close()
    assert history.receipt(endpoint, scan)["withheld_by_reason"] == {"severity": 2}
    assert history.receipt(endpoint, scan)["not_wanted"] == 0


@pytest.mark.parametrize("length", [1018, 1019, 1024, 65530])
@pytest.mark.parametrize("is_damaged", [False, True])
def test_what_was_withheld_for_data_that_the_host_does_not_keep_is_counted_by_another_process_too(
    length: int, is_damaged: bool, tmp_path: Path, outbox: Outbox
) -> None:
    picky = an_endpoint("picky", events=("high_risk_event", "scan_completed"), data_not_match=("needle",))
    history = History(tmp_path, outbox, picky, ALL)
    (heard,) = history.found("a" * length + "needle")
    scan = history.begin([heard._replace(data=heard.data[:1024])], [heard])
    if is_damaged:
        rows_of(outbox, "UPDATE event SET data = '{' WHERE severity > 0")
    history.end(scan, "process_died")
    receipt = history.receipt(picky, scan)
    is_seen = not is_damaged or length == 1018
    assert (receipt["withheld_by_reason"], receipt["not_wanted"]) == ({"data": 1} if is_seen else {}, int(not is_seen))


def test_a_withheld_correlation_is_no_finding_that_was_not_wanted(tmp_path: Path, outbox: Outbox) -> None:
    endpoint = an_endpoint("picky", events=("correlation_found", "scan_completed"), min_severity=Severity.CRITICAL)
    history = History(tmp_path, outbox, endpoint)
    scan = history.begin(history.found("a", "b"))
    correlate(history.path, scan, a_correlation(), ["S1-a"])
    history.end(scan)
    receipt = history.receipt(endpoint, scan)
    assert (receipt["withheld_by_reason"], receipt["not_wanted"]) == ({"severity": 1}, 2)


def test_a_muted_finding_is_counted(tmp_path: Path, outbox: Outbox) -> None:
    history = History(tmp_path, outbox, ALL, NEWS)
    outbox.sightings.mute(
        a_scan().target, (of_finding("VULNERABILITY_CVE_HIGH", "a"), "VULNERABILITY_CVE_HIGH"), "all", None, NOW
    )
    scan = history.run(history.found("a", "b"))
    assert (history.sent(ALL, scan)["a"], history.sent(ALL, scan)["b"]) == (0, 1)
    assert history.receipt(ALL, scan)["withheld_by_reason"] == {"muted": 1}
    assert history.receipt(NEWS, scan)["withheld_by_reason"] == {"baseline": 2}


def test_a_false_positive_of_any_scan_is_not_sent_again(tmp_path: Path, outbox: Outbox) -> None:
    history = History(tmp_path, outbox, ALL, SURFACE)
    history.run(history.found("a", "b"))
    history.mark("a")
    history.run(history.found("b"))
    third = history.run(history.found("a", "b"))
    assert (history.sent(ALL, third)["a"], history.sent(ALL, third)["b"]) == (0, 1)
    assert history.receipt(ALL, third)["withheld_by_reason"] == {"false_positive": 1}
    assert totals(history.compared(third)) == (0, 0, 0), "it is not called new either"


def test_marks_count_for_the_target_in_any_spelling_and_for_no_other(tmp_path: Path, outbox: Outbox) -> None:
    history = History(tmp_path, outbox, ALL)
    scan = history.run(history.found("a"))
    history.mark("a")
    host = HostDatabase(str(history.path))
    for target, number in (("ACME.example.", 1), ("acme.example", 1), ("other.example", 0)):
        assert len(screen_for(replace(scan, target=target), (ALL,), host).false_positives) == number
    quiet = an_endpoint(events=("scan_*",))
    assert screen_for(scan, (quiet,), host).false_positives == frozenset(), "nobody wants findings"


def test_marks_that_cannot_be_read_in_time_are_said_and_hold_nothing_up(
    tmp_path: Path, outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    history = History(tmp_path, outbox, ALL)
    scan = history.begin(history.found(*map(str, range(3000))), heard=[])
    screen = screen_for(scan, (ALL,), HostDatabase(scan.database, limit=1e-9))
    assert (screen.endpoints, screen.false_positives) == ((ALL,), frozenset())
    assert "reading them took too long" in caplog.text


def test_a_scan_whose_endpoints_want_all_is_not_read_once_more(tmp_path: Path, outbox: Outbox) -> None:
    plain = an_endpoint("plain", events=("high_risk_event", "scan_*", "correlation_found"))
    history = History(tmp_path, outbox, plain, ALL)
    scan = history.begin(history.found("a"))
    with traced() as trace:
        history.end(scan)
    assert "scan/survey.py at_end" in trace.functions()
    assert not {"scan/host_database.py all_findings", "outbox/sightings.py record"} & {*trace.functions()}
    assert rows_of(outbox, "SELECT count(*) FROM sighting") == [(0,)]

    wanting = History(tmp_path / "other", outbox, ALL, SURFACE)
    wanting.path.parent.mkdir()
    wanting.number = 1
    scan = wanting.begin(wanting.found("a"))
    with traced() as trace:
        wanting.end(scan)
    assert {"scan/host_database.py all_findings", "outbox/sightings.py record"} <= {*trace.functions()}


@pytest.mark.parametrize(("endpoint", "number"), [("", 0), ("surface", 1)])
def test_what_is_muted_for_all_is_neither_new_nor_gone(
    endpoint: str, number: int, tmp_path: Path, outbox: Outbox
) -> None:
    history = History(tmp_path, outbox, SURFACE)
    for data in ("new", "gone"):
        seen = (of_finding("VULNERABILITY_CVE_HIGH", data), "VULNERABILITY_CVE_HIGH")
        outbox.sightings.mute(a_scan().target, seen, endpoint, None, NOW)
    history.run(history.found("a", "gone"))
    compared = history.compared(history.run(history.found("a", "new")))
    assert totals(compared) == (number, number, number)
    assert ("unchanged_since" in compared) is (number == 0)


#: values of any type, as a host's database may have them in any column
GARBAGE = [None, 5, 3.5, "text", b"\xff\x00bytes", -1, 1e300, float("inf"), "x\x00y", "9" * 400]
RESULT = ("hash", "type", "generated", "confidence", "visibility", "risk", "module", "data", "source_event_hash")
INSTANCE = ("name", "seed_target", "created", "started", "ended", "status")


@pytest.mark.parametrize("garbage", quick_first([pytest.param(one, id=repr(one)) for one in GARBAGE], 3))
@pytest.mark.parametrize(
    ("table", "column"),
    [*(("tbl_scan_results", name) for name in RESULT), *(("tbl_scan_instance", name) for name in INSTANCE)],
)
def test_garbage_in_the_hosts_database_costs_at_most_its_own_finding(
    table: str, column: str, garbage: object, tmp_path: Path, outbox: Outbox
) -> None:
    picky = an_endpoint("picky", events=("all",), min_confidence=50, modules=("sfp_a",), data_match=("b|d",))
    history = History(tmp_path, outbox, ALL, SURFACE, picky)
    history.run(history.found("a"))
    scan = history.begin(history.found("b", "c", "d"), heard=[])
    where = "data = 'c' AND scan_instance_id" if table == "tbl_scan_results" else "guid"
    with closing(sqlite3.connect(history.path)) as connection, connection:
        connection.execute(f"UPDATE {table} SET {column} = ? WHERE {where} = ?", (garbage, scan.id))
    is_no_finding = column == "type" and garbage is None  # as in the host's own queries
    report_dead_scans(outbox, history.settings)
    assert outbox.scans.open_scans() == []
    assert all(history.sent(one, scan)[data] == 1 for one in (ALL, picky) for data in ("b", "d"))
    sent = rows_of(
        outbox,
        "SELECT count(*) FROM delivery d JOIN event e ON e.number = d.event"
        " WHERE d.endpoint = 'all' AND e.scan_id = 'S2' AND json_extract(e.data, '$.event_type') IS NOT NULL",
    )
    assert sent[0][0] + outbox.scans.withheld(scan.id).get("all", {}).get("unwritable", 0) == 3 - is_no_finding


@pytest.mark.parametrize("garbage", ["{", "[]", "null", "5", '{"event_type": 5, "data": [1]}'])
def test_garbage_in_the_outbox_does_not_keep_an_end_from_being_reported(
    garbage: str, tmp_path: Path, outbox: Outbox
) -> None:
    history = History(tmp_path, outbox, SURFACE, ALL)
    history.begin(history.found("a", "b"))
    with closing(sqlite3.connect(history.path)) as connection, connection:
        connection.execute("DELETE FROM tbl_scan_results WHERE data = 'b'")  # the outbox alone has it
    rows_of(outbox, "UPDATE event SET data = ? WHERE severity > 0", garbage)
    report_dead_scans(outbox, history.settings)
    assert outbox.scans.open_scans() == []


@pytest.mark.parametrize(
    ("file", "function"),
    [
        ("recovery.py", "replay_scan"),
        ("sightings.py", "record"),
        ("sightings.py", "finish"),
        ("surface.py", "surface_event"),
        ("survey.py", "_compare"),
        ("survey.py", "count"),
        ("scans.py", "end_scan"),
    ],
)
def test_wherever_a_process_was_killed_the_next_one_gets_to_the_same_end(
    file: str, function: str, tmp_path: Path, outbox: Outbox
) -> None:
    history = History(tmp_path, outbox, NEWS, CHANGES)
    history.run(history.found("a", "b"))
    scan = history.begin(history.found("b", "c"), heard=[])
    outbox.close()
    child = os.fork()
    if not child:
        sys.setprofile(killed_after(file, function))
        history.end(scan)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    if function != "end_scan":
        history.end(scan, "process_died")
    data = history.compared(scan)
    assert (named(data["new"]), named(data["gone"])) == (["c"], ["a"])
    assert history.sent(NEWS, scan) == Counter(["scan_started", "c", "surface_changed", "scan_completed"])
    assert history.sent(CHANGES, scan) == Counter(["surface_changed", "scan_completed"])
    assert history.receipt(NEWS, scan)["withheld_by_reason"] == {"known": 1}


def killed_after(file: str, function: str) -> Callable[[FrameType, str, Any], None]:
    """Return a profile hook that kills the process when a function of a file returns."""

    def look(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "return" and code.co_name == function and code.co_filename.endswith(f"/sfwebhooks/{room}/{file}"):
            os.kill(os.getpid(), signal.SIGKILL)

    room = "scan" if file in ("recovery.py", "surface.py", "survey.py") else "outbox"
    return look


def test_a_dead_scan_waits_while_another_one_of_its_target_is_being_recorded(
    tmp_path: Path, outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    history = History(tmp_path, outbox, SURFACE)
    dead, live = history.begin(history.found("a")), history.begin(history.found("b"))
    lock, lineage = outbox.locks.scan(live.id), lineage_of(["sfp_a", "sfp_b"])
    assert lock.take()
    outbox.sightings.record(live.id, live.target, lineage, [(of_finding("X", "b"), "X")], NOW)
    assert report_dead_scans(outbox, history.settings) == 0
    assert f"the end of scan {dead.id} is not reported yet: " in caplog.text
    history.end(live)
    lock.release()
    assert report_dead_scans(outbox, history.settings) == 1
    assert named(history.compared(dead)["new"]) == ["a"]


@pytest.mark.parametrize(
    "values",
    [
        {"data": "x" * 5_000_000},
        {"data": "a\x00b\x1b[2J\u202e"},
        {"data": b"\xff\xfe"},
        {"data": None},
        {"risk": "high"},
        {"confidence": None},
        {"module": None},
        {"hash": "\x00"},
        {"type": "NEW_TYPE <b>"},
        {"source": "no such event"},
        {"source": "S2-odd"},
    ],
    ids=str,
)
def test_odd_rows_of_the_host_are_compared_or_left_out(values: dict[str, Any], tmp_path: Path, outbox: Outbox) -> None:
    history = History(tmp_path, outbox, SURFACE, ALL)
    history.run(history.found("a", "b"))
    scan = history.begin(history.found("a", "odd"), heard=[])
    columns = {"source": "source_event_hash", **{key: key for key in values if key != "source"}}
    with closing(sqlite3.connect(history.path)) as connection, connection:
        for key, value in values.items():
            query = f"UPDATE tbl_scan_results SET {columns[key]} = ? WHERE hash = 'S2-odd'"
            connection.execute(query, (value,))
    history.end(scan)
    data = history.compared(scan)
    assert (data["gone"]["total"], named(data["gone"])) == (1, ["b"])
    assert data["new"]["total"] == len(data["new"]["items"]) <= 1
    assert all(len(item["data"]) <= 1024 for item in data["new"]["items"])
    assert history.sent(SURFACE, scan) == Counter(["surface_changed", "scan_completed"])


def test_what_earlier_scans_found_is_not_built_again_at_the_end(tmp_path: Path, outbox: Outbox) -> None:
    history = History(tmp_path, outbox, NEWS)
    history.run(history.found("a", "b"))
    scan = history.begin(history.found("a", "b", "c"), heard=[])
    with traced() as trace:
        replay_scan(outbox, history.settings, scan)
    whole = [name for name in trace.functions() if name == "scan/host_rows.py finding_in"]
    assert (len(whole), history.sent(NEWS, scan)["c"]) == (1, 1), "c alone is read with its sources"
    report_end(outbox, history.settings, scan)
    assert history.receipt(NEWS, scan)["withheld_by_reason"] == {"known": 2}


def test_nothing_is_offered_that_is_muted_or_in_a_baseline(tmp_path: Path, outbox: Outbox) -> None:
    history = History(tmp_path, outbox, ALL, NEWS)
    kind = "VULNERABILITY_CVE_HIGH"
    outbox.sightings.mute(a_scan().target, (of_finding(kind, "a"), kind), "", None, NOW)
    scan = history.begin(history.found("a", "b"), heard=[])
    host, earlier = HostDatabase(scan.database), Earlier(outbox, scan)
    assert list(missing_hashes(host, Screen((ALL,)), earlier, ())) == ["S1-b"]
    assert list(missing_hashes(host, Screen((NEWS,)), earlier, ())) == []


def test_reading_findings_ends_at_the_deadline(tmp_path: Path, outbox: Outbox) -> None:
    history = History(tmp_path, outbox, NEWS)
    scan = history.begin(history.found("a"), heard=[])
    with pytest.raises(NotYetError, match="not all findings of the scan were read"):
        replay_scan(outbox, history.settings, scan, deadline=0.0)


def test_all_parts_of_the_findings_are_read_and_the_host_can_write_between_them(tmp_path: Path, outbox: Outbox) -> None:
    history = History(tmp_path, outbox, ALL)
    scan = history.begin(history.found(*map(str, range(2 * PART + 1))), heard=[])
    found = HostDatabase(scan.database).all_findings(scan.id)
    first = next(found)
    history.mark("5")  # a write, which would wait for a read that goes on
    assert [one.data for one in (first, *found)] == [str(number) for number in range(2 * PART + 1)]
    assert (first.hash, first.recovered, first.sources) == ("S1-0", True, ())
