"""Scans through the API: real runs of scans in an outbox, asked over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from sfwebhooks.cli import main
from sfwebhooks.config.settings import load
from sfwebhooks.events import lifecycle_id
from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.postgres.dsn import Place
from sfwebhooks.outbox.scan_list import ScanList
from sfwebhooks.outbox.selection import Selection
from sfwebhooks.retry import State
from sfwebhooks.scan.recovery import report_dead_scans
from sfwebhooks.web.logins import Logins
from sfwebhooks.web.site import Site
from tests.builders import NOW, a_scan, an_event
from tests.conftest import Team
from tests.filled import begin, end, put, put_event, send
from tests.processes import Process
from tests.scanning import Scanning, lines
from tests.stores import BOTH, Locked, place_in
from tests.threads import until
from tests.web.serving import Web, served

STORES = BOTH
SECRET = "Tr0ub4dor&3"
#: ids of the scans, in the order in which they began
FINISHED, ABORTED, FAILED, KILLED, DEAD, RUNNING = (
    "FIN00001",
    "ABO00002",
    "FAI00003",
    "KIL00004",
    "DEA00005",
    "RUN00006",
)
#: a scan's process, until it is killed
SCAN = """
import sys, time
from pathlib import Path
from tests.scanning import Scanning
one = Scanning(Path(sys.argv[1]), sys.argv[2])
one.begin()
one.find(2)
print("found", flush=True)
time.sleep(600)
"""


def killed(folder: Path, id: str) -> None:
    """Run a scan whose process is killed."""
    with Process([folder, id], program=SCAN, stdout=PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == "found\n"
        process.kill()


@pytest.fixture(scope="module")
def folder(shared_store: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data folder with scans that ended in each way; the last one is running."""
    folder, team = tmp_path_factory.mktemp("scans"), Team()
    everything = "all, !surface_changed, !system_alert"
    settings = lines(team, everything, min_severity="high") + "\n"
    finished = Scanning(folder, FINISHED)
    finished.configure(team=settings, all=lines(team, "all, !system_alert"), ends=lines(team, "scan_*"))
    for one, status, error in (
        (finished, "FINISHED", ""),
        (Scanning(folder, ABORTED), "ABORTED", ""),
        (Scanning(folder, FAILED), "ERROR-FAILED", "Could not update TLD list"),
    ):
        one.begin()
        one.find(3)
        one.find(2, "EMAILADDR")
        one.finish(status, error)
    killed(folder, KILLED)
    running = Scanning(folder, RUNNING)
    running.begin()
    running.find(1, "PASSWORD_COMPROMISED")
    yield folder
    running.finish()
    team.receiver.stop()


@pytest.fixture(scope="module")
def web(folder: Path) -> Iterator[Web]:
    with served(folder, "--no-deliver") as web:
        yield web


def page(web: Web, **query: Any) -> Any:
    answer = web.client.get("/v1/scans", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def one_of(web: Web, id: str, viewer: bool = False) -> dict[str, Any]:
    answer = (web.viewer if viewer else web.client).get(f"/v1/scans/{id}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_scan_is_listed_with_what_became_of_it_the_last_one_first(web: Web) -> None:
    items = page(web)["items"]
    assert [(one["scan"], one["status"]) for one in items] == [
        (RUNNING, "running"),
        (KILLED, "died"),
        (FAILED, "failed"),
        (ABORTED, "aborted"),
        (FINISHED, "finished"),
    ]
    assert [one["ended_at"] is None for one in items] == [True, False, False, False, False]
    assert all(one["began_at"] <= one["ended_at"] for one in items if one["ended_at"])
    names = {"name": "Weekly Security Scan", "target": "acme.example", "target_type": "INTERNET_NAME"}
    assert all(one.items() >= names.items() for one in items)


def test_the_counts_of_a_scan_are_those_of_its_deliveries(web: Web, folder: Path) -> None:
    with closing(Outbox(place_in(folder), listing=True)) as outbox:
        until(lambda: not outbox.scans.tallies()["waiting"])  # the running scan's process sends
        for one in page(web)["items"]:
            assert one["deliveries"] == outbox.scans.tallies(one["scan"])
            assert sum(one["deliveries"].values()) > 0


def test_pages_follow_each_other_without_a_gap_and_a_repetition(web: Web) -> None:
    everything = [one["scan"] for one in page(web)["items"]]
    for limit in (1, 2, 3, 4, 5, 6):
        found, cursor = [], ""
        while True:
            answer = page(web, limit=limit, **({"cursor": cursor} if cursor else {}))
            assert 1 <= len(answer["items"]) <= limit
            found += [one["scan"] for one in answer["items"]]
            cursor = answer["next"]
            if cursor is None:
                break
        assert found == everything


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=501",
        "limit=x",
        "limit=1e2",
        "cursor=NOSUCH",
        "cursor=%00",
        "cursor=%ED%A0%80",
        "cursor=" + "x" * 501,
    ],
)
def test_a_wrong_limit_or_place_is_a_problem_that_says_what_is_expected(web: Web, query: str) -> None:
    answer = web.client.get(f"/v1/scans?{query}")
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert query.partition("=")[0] in answer.text or "NOSUCH" in answer.text or "no scan" in answer.text


def test_a_finished_scan_has_its_steps_counts_and_report(web: Web) -> None:
    found = one_of(web, FINISHED)
    steps = [one["type"] for one in found["timeline"]]
    assert steps[0] == "scan_started"
    assert {"scan_completed", "surface_changed"} <= set(steps)
    assert not {"high_risk_event", "info_event"} & set(steps)
    words = {one["type"]: one["words"] for one in found["timeline"]}
    assert words["scan_completed"] == "Scan completed: 5 findings: 3 high, 2 info"
    assert found["missing_steps"] == 0
    assert found["findings"] == {"critical": 0, "high": 3, "medium": 0, "low": 0, "info": 2}
    assert found["report"]["events_found"] == 5
    assert "receipts" not in found["report"] and "receipt" not in found["report"]
    assert found["surface"]["not_comparable"] == "first_scan"
    assert found["withheld"] == {"team": {"severity": 2}}
    assert found["endpoints"]["all"] == {"delivered": 5 + len(steps)}
    assert found["deliveries"] == {
        "waiting": 0,
        "delivered": sum(sum(one.values()) for one in found["endpoints"].values()),
        "dead": 0,
    }
    assert found["version"] == "4.4.0"


def test_a_scan_that_is_running_has_neither_report_nor_receipts(web: Web) -> None:
    found = one_of(web, RUNNING)
    assert (found["status"], found["report"], found["surface"], found["ended_at"]) == ("running", None, None, None)
    assert found["findings"] == {"critical": 0, "high": 1, "medium": 0, "low": 0, "info": 0}
    assert web.client.get(f"/v1/scans/{RUNNING}/receipt").json() == {}


def test_a_scan_that_failed_says_why(web: Web) -> None:
    found = one_of(web, FAILED)
    assert found["report"]["error"] == "Could not update TLD list"
    assert "Scan failed: Could not update TLD list" in [one["words"] for one in found["timeline"]]


def test_a_receipt_is_the_one_that_the_endpoint_got(web: Web, folder: Path) -> None:
    receipts = web.client.get(f"/v1/scans/{FINISHED}/receipt").json()
    assert set(receipts) == {"team", "all", "ends"}
    with closing(Outbox(place_in(folder), listing=True)) as outbox:
        for name, receipt in receipts.items():
            sent = next(
                outbox.listing.delivery(one.id)
                for one in outbox.listing.deliveries(Selection(endpoint=name, scan=FINISHED), 100)
                if one.type == "scan_completed"
            )
            assert sent and sent.event.data["receipt"] == receipt
    assert (receipts["team"]["withheld"], receipts["ends"]["not_wanted"]) == (2, 5)


@pytest.mark.parametrize("path", ["/v1/scans/{}", "/v1/scans/{}/receipt"])
@pytest.mark.parametrize(
    "id", ["NOSUCH", "..%2f..%2fetc", "%00", "%ED%A0%80", "x" * 3000, "' OR 1=1 --", "%F0%9F%8E%89"]
)
def test_an_unknown_scan_is_a_404_that_names_it(web: Web, path: str, id: str) -> None:
    answer = web.client.get(path.format(id))
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert answer.json()["title"] == "Not Found"
    assert len(answer.text) < 500


@pytest.mark.parametrize("path", ["/v1/scans", f"/v1/scans/{FINISHED}", f"/v1/scans/{FINISHED}/receipt"])
def test_without_a_token_nothing_is_said(web: Web, path: str) -> None:
    with web.anybody() as somebody:
        assert somebody.get(path).status_code == 401


# --- what a viewer sees


def test_a_viewer_does_not_see_what_a_chat_would_not_either(store: Place, tmp_path: Path) -> None:
    scan = a_scan()
    found = {"event_type": "PASSWORD_COMPROMISED", "data": f"jane@acme.example:{SECRET}", "severity": "high"}
    change = {"total": 1, "by_type": {"PASSWORD_COMPROMISED": 1}, "items": [found]}
    with closing(Outbox(store)) as outbox:
        begin(outbox, scan)
        data = {**scan.about, "message": "1 new", "new": change, "error": f"login failed: {found['data']}"}
        put_event(outbox, an_event(id=lifecycle_id(scan.id, "surface"), type="surface_changed", data=data))
    (tmp_path / "webhooks.ini").write_text("[webhooks.team]\nurl = http://127.0.0.1:9\n")
    with served(tmp_path, "--no-deliver") as web:
        assert SECRET in str(one_of(web, scan.id)["surface"])
        seen = one_of(web, scan.id, viewer=True)
        assert SECRET not in str(seen)
        assert seen["surface"]["new"]["total"] == 1
        assert SECRET not in str(one_of(web, scan.id)["timeline"]), "words are for people, whoever reads them"


# --- many scans, and steps


def test_of_ten_thousand_scans_each_page_has_the_next_ones(store: Place, tmp_path: Path) -> None:
    (tmp_path / "webhooks.ini").write_text("[webhooks.team]\nurl = http://127.0.0.1:9\n")
    with closing(Outbox(store)) as outbox, outbox.database.writing() as sql:
        sql.executemany(
            "INSERT INTO scan VALUES (?, ?, 'n', 'acme.example', 'INTERNET_NAME', '4.4.0', '/db', ?, 'scan_completed')",
            ((number, f"S{number:05}", NOW + number) for number in range(1, 10_001)),
        )
    with served(tmp_path, "--no-deliver") as web:
        found: list[str] = []
        cursor = None
        while cursor is not None or not found:
            answer = page(web, limit=500, **({"cursor": cursor} if cursor else {}))
            found += [one["scan"] for one in answer["items"]]
            cursor = answer["next"]
        assert found == [f"S{number:05}" for number in range(10_000, 0, -1)]


def test_a_scan_of_many_steps_has_the_last_ones_and_its_progress_in_a_few(store: Place, tmp_path: Path) -> None:
    scan = a_scan()
    (tmp_path / "webhooks.ini").write_text("[webhooks.team]\nurl = http://127.0.0.1:9\n")
    with closing(Outbox(store)) as outbox:
        begin(outbox, scan)
        for number in range(1, 1001):
            data = {**scan.about, "number": number, "events_by_severity": {"info": number}, "events_found": number}
            put_event(outbox, an_event(number, type="scan_progress", data=data))
        for number in range(2001, 2601):
            put_event(outbox, an_event(number, type="module_error", data={**scan.about, "module": f"m{number}"}))
        put(outbox, 3001)
    with served(tmp_path, "--no-deliver") as web:
        found = one_of(web, scan.id)
    kinds = [one["type"] for one in found["timeline"]]
    assert kinds.count("module_error") == 440
    assert 50 <= kinds.count("scan_progress") <= 60
    assert found["missing_steps"] == 1600 - len(kinds)
    assert found["findings"] == {"info": 1000}, "the last progress is among them"


# --- an outbox that is missing, locked, damaged


@pytest.mark.sqlite("no outbox is created")
def test_without_an_outbox_there_is_no_scan(tmp_path: Path) -> None:
    (tmp_path / "webhooks.ini").write_text("[webhooks.team]\nurl = http://127.0.0.1:9\n")
    with served(tmp_path, "--read-only") as web:
        assert page(web) == {"items": [], "next": None}
        assert web.client.get("/v1/scans/X").status_code == 404
        assert not (tmp_path / FILE).exists()


def test_while_another_process_writes_scans_can_be_read(store: Place, tmp_path: Path) -> None:
    (tmp_path / "webhooks.ini").write_text("[webhooks.team]\nurl = http://127.0.0.1:9\n")
    with closing(Outbox(store)) as outbox:
        begin(outbox, a_scan())
    other = Locked(store)
    with served(tmp_path, "--no-deliver") as web:
        other.lock()
        assert [one["scan"] for one in page(web)["items"]] == ["5C4A0001"]
        other.free()


@pytest.mark.sqlite("the file is damaged")
def test_an_outbox_that_is_no_database_is_a_problem_and_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "webhooks.ini").write_text("[webhooks.team]\nurl = http://127.0.0.1:9\n")
    (tmp_path / FILE).write_bytes(b"not a database at all" * 1000)
    (tmp_path / FILE).chmod(0o600)
    with served(tmp_path, "--no-deliver") as web:
        for path in ("/v1/scans", "/v1/scans/X", "/v1/scans/X/receipt", "/v1/status", "/v1/stats"):
            answer = web.client.get(path)
            assert (answer.status_code, answer.json()["title"]) == (503, "Service Unavailable"), path
        assert web.client.get("/v1/health").json() == {"status": "unavailable"}
    assert (tmp_path / FILE).read_bytes().startswith(b"not a database")


@pytest.mark.sqlite("a column of PostgreSQL has values of one type")
def test_damaged_rows_are_left_out(store: Place, tmp_path: Path) -> None:
    (tmp_path / "webhooks.ini").write_text("[webhooks.team]\nurl = http://127.0.0.1:9\n")
    whole, scan = a_scan("WHOLE001"), a_scan()
    with closing(Outbox(store)) as outbox:
        for one in (whole, scan):
            begin(outbox, one)
            data = {**one.about, "message": "x"}
            for number, kind in enumerate(("module_error", "correlation_found", "surface_changed")):
                put_event(outbox, an_event(number, scan=one, type=kind, data=data))
            put(outbox, 9, scan=one)
        end(outbox, scan)
        with outbox.database.writing() as sql:
            sql.execute("UPDATE event SET data = '{\"a\":' WHERE type = 'module_error'")
            sql.execute("UPDATE event SET data = '[]' WHERE type = 'correlation_found'")
            sql.execute("UPDATE event SET at = 'soon' WHERE type = 'surface_changed'")
            sql.execute("UPDATE event SET severity = 'x' WHERE type = 'high_risk_event'")
            sql.execute("INSERT INTO scan VALUES (NULL, 7, 'n', 't', 'i', 'v', 'd', 'never', NULL)")
            sql.execute("INSERT INTO scan VALUES (NULL, 'X', x'ff', 't', 'i', 'v', 'd', 1.0, NULL)")
            sql.execute("INSERT INTO scan VALUES (NULL, 'Y', 'n', 't', 'i', 'v', 'd', 1.0, x'07')")
    with served(tmp_path, "--no-deliver") as web:
        assert [one["scan"] for one in page(web)["items"]] == [scan.id, whole.id]
        found = one_of(web, whole.id)
        assert (found["timeline"], found["findings"]) == (
            [],
            {"critical": 0, "high": 0, "medium": 0, "low": 0, "info": 0},
        )


def test_a_scan_that_is_known_by_its_id_only_is_not_listed(store: Place, tmp_path: Path) -> None:
    (tmp_path / "webhooks.ini").write_text("[webhooks.team]\nurl = http://127.0.0.1:9\n")
    kept, gone = a_scan("KEPT0001"), a_scan("GONE0001")
    with closing(Outbox(store)) as outbox:
        for one in (kept, gone):
            begin(outbox, one)
            end(outbox, one)
        with outbox.database.writing() as sql:
            sql.execute(
                "UPDATE scan SET name = '', target = '', target_type = '', database = '' WHERE id = ?", (gone.id,)
            )
    with served(tmp_path, "--no-deliver") as web:
        assert [one["scan"] for one in page(web)["items"]] == [kept.id]
        assert web.client.get(f"/v1/scans/{gone.id}").status_code == 404
        assert page(web, cursor=gone.id)["items"][0]["scan"] == kept.id


def test_a_scan_whose_process_is_gone_has_died_before_and_after_that_is_reported(store: Place, tmp_path: Path) -> None:
    Scanning(tmp_path, "FIRST001").configure(team="url = http://127.0.0.1:9\nevents = all")
    killed(tmp_path, KILLED)
    with served(tmp_path, "--no-deliver") as web:
        before = one_of(web, KILLED)
        assert (before["status"], before["ended_at"], before["report"]) == ("died", None, None)
        answer = web.client.get(f"/v1/webhooks/team/route?scan={KILLED}")
        assert (answer.status_code, "not reported yet" in answer.json()["detail"]) == (409, True)
        with closing(Outbox(store)) as outbox:
            report_dead_scans(outbox, load(tmp_path / "webhooks.ini"))
        after = one_of(web, KILLED)
        assert (after["status"], after["report"]["reason"]) == ("died", "process_died")
        assert after["ended_at"] > after["began_at"]


def test_a_scan_is_alive_as_long_as_its_lock_is_held(store: Place, tmp_path: Path) -> None:
    (tmp_path / "webhooks.ini").write_text("[webhooks.team]\nurl = http://127.0.0.1:9\n")
    scan = a_scan()
    with closing(Outbox(store)) as outbox:
        begin(outbox, scan)
    with closing(Outbox(store)) as outbox, served(tmp_path, "--no-deliver") as web:
        lock = outbox.locks.scan(scan.id)
        assert lock.take()
        assert one_of(web, scan.id)["status"] == "running"
        lock.release()
        assert one_of(web, scan.id)["status"] == "died"


# --- what would be sent of a past scan


def test_the_route_of_a_past_scan_is_what_the_command_prints(
    web: Web, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["route", "--scan", FINISHED, "--json", "--folder", str(folder)]
    assert main([*given, "--endpoint", "team"]) == 0
    printed = json.loads(capsys.readouterr().out)
    answer = web.client.get("/v1/webhooks/team/route", params={"scan": FINISHED})
    assert answer.status_code == 200, answer.text
    assert answer.json() == printed
    assert printed["deliveries"] == 0 and printed["has"] > 0


@pytest.mark.parametrize(
    ("endpoint", "query", "status", "words"),
    [
        ("nobody", f"scan={FINISHED}", 404, 'there is no endpoint "nobody"'),
        ("tea", f"scan={FINISHED}", 404, "team"),
        ("%00", f"scan={FINISHED}", 404, "there is no endpoint"),
        ("team", "scan=NOSUCH", 404, 'no scan "NOSUCH"'),
        ("team", "scan=%00", 404, "no scan"),
        ("team", "scan=%ED%A0%80", 404, "no scan"),
        ("team", f"scan={RUNNING}", 409, "still running"),
        ("team", "", 422, "query.scan"),
        ("team", f"scan={FINISHED}&dead=perhaps", 422, "query.dead"),
    ],
)
def test_a_route_that_cannot_be_told_says_why(web: Web, endpoint: str, query: str, status: int, words: str) -> None:
    answer = web.client.get(f"/v1/webhooks/{endpoint}/route?{query}")
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    assert words in answer.json()["detail"]


def test_a_route_without_the_scanners_database_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "webhooks.ini").write_text("[webhooks.team]\nurl = http://127.0.0.1:9\n")
    with served(tmp_path, "--no-deliver") as web:
        answer = web.client.get("/v1/webhooks/team/route?scan=X")
        assert (answer.status_code, "SpiderFoot's database" in answer.json()["detail"]) == (404, True)


# --- the document of the API


def test_answers_are_as_the_document_says(web: Web) -> None:
    document = web.client.get("/v1/openapi.json").json()
    for path, url in (
        ("/v1/scans", "/v1/scans?limit=2"),
        ("/v1/scans/{id}", f"/v1/scans/{FINISHED}"),
        ("/v1/scans/{id}/receipt", f"/v1/scans/{FINISHED}/receipt"),
        ("/v1/webhooks/{id}/route", f"/v1/webhooks/team/route?scan={FINISHED}"),
    ):
        schema = document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        validator = Draft202012Validator({**schema, "components": document["components"]})
        validator.validate(web.client.get(url).json())


def test_what_the_server_itself_replays_is_counted_again_at_once(
    store: Place, site_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sfwebhooks.outbox.scan_list.SETTLED_SHARE", 1e-12)
    settings = load(site_folder / "webhooks.ini")
    site = Site(site_folder, store, lambda: settings, None, Logins({}), ("127.0.0.1", 8900))
    with closing(Outbox(store)) as outbox:
        begin(outbox, a_scan())
        put(outbox, 1)
        send(outbox, State.DEAD, "http_410")
        end(outbox, a_scan())

    def dead() -> int:
        with site.reading() as outbox:
            return ScanList(outbox.database, site.counts).scans(1)[0].deliveries["dead"]

    assert dead() == 1
    with site.changing() as outbox:
        assert outbox.retention.replay(Selection(states=(State.DEAD,)), NOW) == 1
    assert dead() == 0
