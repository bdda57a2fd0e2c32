"""`sfwebhooks backfill`: a scan that is over, sent to an endpoint that has none of it, or a part."""

from __future__ import annotations

import json
import signal
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from subprocess import PIPE
from typing import Any, Callable

import pytest
from jsonschema import Draft202012Validator

from sfwebhooks.catalogue import EVENT_TYPES
from sfwebhooks.catalogue.json_schema import document
from sfwebhooks.cli import main
from sfwebhooks.cli.backfill import GO_ON
from sfwebhooks.config.settings import Settings
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import SelectionError
from sfwebhooks.events import Scan, WebhookEvent, correlation_id, delivery_id, finding_id, lifecycle_id
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.pipeline import accept
from sfwebhooks.receive.completeness import CompletenessCheck
from sfwebhooks.receive.received import Received
from sfwebhooks.scan.backfill import RULES_SECONDS, UNKNOWN, begin_backfill, past_scan, put
from sfwebhooks.scan.findings import event_of_finding
from sfwebhooks.scan.lifecycle import started
from sfwebhooks.scan.recovery import report_end
from sfwebhooks.screening import Screen, Wanted
from tests.builders import NOW, PATIENCE, a_correlation, a_finding, a_scan, an_endpoint
from tests.conftest import Gate, Result, Team, sql
from tests.filled import send
from tests.hosted import TYPES, a_finished_scan, add_scan, correlate
from tests.outbox_rows import rows_of
from tests.processes import Process
from tests.stores import BOTH

STORES = BOTH

pytestmark = pytest.mark.usefixtures("own_signals")
ID = "5C4A0001"
FINDINGS = 10


@dataclass
class Setup:
    """A finished scan in SpiderFoot's database, and two teams with an endpoint each."""

    folder: Path
    outbox: Outbox
    scan: Scan
    team: Team
    late: Team

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        return tuple(an_endpoint(name, one.url, events=("all", "!surface_changed")) for name, one in self.teams.items())

    @property
    def teams(self) -> dict[str, Team]:
        return {"team": self.team, "late": self.late}

    def configure(self, events: str = "all, !surface_changed", more: str = "") -> None:
        sections = [
            f"[webhooks.{name}]\nurl = {team.url}\nevents = {events}\n{more}" for name, team in self.teams.items()
        ]
        path = self.folder / "webhooks.ini"
        path.write_text("".join(sections), encoding="utf-8")
        path.chmod(0o600)

    def begin(self, *endpoints: str) -> None:
        """Begin the scan as it is begun live."""
        wanted = [Wanted(name, "scan_started") for name in endpoints or ("team",)]
        self.outbox.scans.begin_scan(self.scan, started(self.scan), wanted, NOW)

    def accept(self, *numbers: int) -> None:
        """Accept findings as a live scan does, with the whole of their data."""
        accept([live(self.scan, number) for number in numbers], Screen(self.endpoints[:1]), self.outbox, NOW)

    def end(self, late: str = "") -> None:
        """Tell the end to the team."""
        report_end(self.outbox, Settings(self.endpoints[:1]), self.scan, late=late)

    def sequences(self, endpoint: str) -> list[int]:
        rows = sql(self.outbox, f"SELECT sequence FROM delivery WHERE endpoint = '{endpoint}' ORDER BY 1")
        return [row[0] for row in rows]


def live(scan: Scan, number: int) -> WebhookEvent:
    finding = a_finding(hash=f"hash-{number}", type=TYPES[number % len(TYPES)], data=f"the whole of {number}")
    return event_of_finding(finding, scan, "Words")


def events_of(scan: Scan, findings: int = FINDINGS) -> list[str]:
    """Return the ids of all events of the scan, in the order of a live one."""
    hashes = ["target", *(f"hash-{number}" for number in range(findings))]
    return [
        lifecycle_id(scan.id, "started"),
        *(finding_id(scan.id, name) for name in hashes),
        correlation_id(scan.id, "cloud_bucket_open", "Open: a"),
        lifecycle_id(scan.id, "correlations"),
        lifecycle_id(scan.id, "ended"),
    ]


def received(team: Team) -> list[str]:
    """Return the ids of the events that came, in the order of their numbers, each as often as it came."""
    return [meta["event_id"] for meta in sorted(metas(team), key=lambda one: int(one["sequence"]))]


def of_scan(team: Team) -> list[Received]:
    """Return what came, but for alerts."""
    return [received for received in team.got if received.message["event_type"] != "system_alert"]


def metas(team: Team) -> list[dict[str, Any]]:
    return [received.message["metadata"] for received in team.got]


def first(number: int) -> Callable[[Received], int]:
    """Return an answer that takes so many, and then no more."""
    taken: list[str] = []

    def answer(received: Received) -> int:
        taken.append(received.headers["webhook-id"])
        return 200 if len(taken) <= number else 503

    return answer


@pytest.fixture
def setup(tmp_path: Path, outbox: Outbox, receive: Callable[..., Team]) -> Setup:
    scan = a_scan(ID, database=str(tmp_path / "spiderfoot.db"))
    a_finished_scan(Path(scan.database), scan, FINDINGS)
    correlate(Path(scan.database), scan, a_correlation(title="Open: a"), ["hash-0", "hash-1"])
    made = Setup(tmp_path, outbox, scan, receive(), receive())
    made.configure()
    return made


@pytest.fixture
def backfill(setup: Setup, capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Run `sfwebhooks backfill SCAN --endpoint NAME`: `backfill("late", "--again")`."""

    def run(endpoint: str, *arguments: str, scan: str = ID) -> Result:
        code = main(["backfill", scan, "--endpoint", endpoint, "--folder", str(setup.folder), *arguments])
        printed = capsys.readouterr()
        return Result(code, printed.out, printed.err)

    return run


def test_a_scan_without_webhooks_is_sent_from_its_start_to_its_end(
    setup: Setup, backfill: Callable[..., Result]
) -> None:
    result = backfill("team")
    assert (result.code, result.err) == (0, "")
    assert received(setup.team) == events_of(setup.scan)
    assert sorted(one["sequence"] for one in metas(setup.team)) == list(range(1, 15 + 1))
    assert "15 delivered, 0 waiting, 0 dead." in result.out
    assert setup.late.got == []


def test_each_message_says_that_it_is_not_live(setup: Setup, backfill: Callable[..., Result]) -> None:
    backfill("team")
    assert {one.get("backfilled") for one in metas(setup.team)} == {True}
    assert {received.headers.get("X-SpiderFoot-Replay") for received in setup.team.got} == {"true"}


def test_what_came_live_does_not_say_so_and_is_the_same_when_it_is_sent_again(
    setup: Setup, backfill: Callable[..., Result]
) -> None:
    setup.begin()
    setup.accept(1, 2)
    setup.end()
    main(["drain", "--folder", str(setup.folder)])
    live_bodies = [received.body for received in setup.team.got]
    assert not any("backfilled" in one for one in metas(setup.team))
    assert not any("X-SpiderFoot-Replay" in received.headers for received in setup.team.got)
    backfill("team", "--again")
    bodies = {received.headers["webhook-id"]: received.body for received in setup.team.got[len(live_bodies) :]}
    again = [one for one in bodies.values() if b'"backfilled"' not in one]
    assert sorted(again) == sorted(live_bodies)


def test_its_target_and_times_are_those_of_the_scan(setup: Setup, backfill: Callable[..., Result]) -> None:
    backfill("team")
    by_name = {received.message["event_type"]: received.message for received in setup.team.got}
    begin, end = by_name["scan_started"], by_name["scan_completed"]
    assert {one["data"]["target_type"] for one in by_name.values()} == {"INTERNET_NAME"}
    assert (begin["timestamp"], end["timestamp"]) == ("2026-11-21T10:00:00Z", "2026-11-21T10:01:00Z")
    assert (end["data"]["status"], end["data"]["events_found"]) == ("FINISHED", FINDINGS + 1)
    assert begin["metadata"]["scan_name"] == setup.scan.name


def receipt(team: Team) -> dict[str, Any]:
    (end,) = [one.message for one in team.got if one.message["metadata"]["event_id"] == lifecycle_id(ID, "ended")]
    received = end["data"]["receipt"]
    assert received["accepted"] == received["last_sequence"] - received["first_sequence"] + 1
    return {key: received[key] for key in ("first_sequence", "last_sequence", "withheld", "not_wanted")}


def test_with_the_end_comes_the_receipt_by_which_an_endpoint_knows_that_it_has_all(
    setup: Setup, backfill: Callable[..., Result]
) -> None:
    backfill("team")
    assert receipt(setup.team) == {
        "first_sequence": 1,
        "last_sequence": 15,
        "withheld": 0,
        "not_wanted": 0,
    }
    setup.configure("high_risk_event, scan_*")
    backfill("late")
    assert receipt(setup.late) == {
        "first_sequence": 1,
        "last_sequence": 6,
        "withheld": 0,
        "not_wanted": 7,
    }
    before = receipt(setup.team)
    setup.team.got.clear()
    backfill("team", "--again")
    assert receipt(setup.team) == before, "the same bytes each time"


def test_an_endpoint_gets_what_it_asks_for(setup: Setup, backfill: Callable[..., Result]) -> None:
    setup.configure("high_risk_event, correlation_found")
    assert backfill("team").code == 0
    names = [received.message["event_type"] for received in setup.team.got]
    assert sorted(names) == ["correlation_found", *["high_risk_event"] * 4]


def test_nobody_else_gets_it_afterwards(setup: Setup, backfill: Callable[..., Result]) -> None:
    backfill("team")
    assert main(["drain", "--folder", str(setup.folder)]) == 0
    assert (setup.late.got, len(setup.team.got)) == ([], 15)


def test_a_second_backfill_has_nothing_to_send(setup: Setup, backfill: Callable[..., Result]) -> None:
    backfill("team")
    result = backfill("team")
    assert (result.code, "already has every event of scan" in result.out, len(setup.team.got)) == (0, True, 15)


def test_a_scan_that_was_half_delivered_is_sent_completely(setup: Setup, backfill: Callable[..., Result]) -> None:
    setup.begin()
    setup.accept(0, 1, 2, 3)
    for _ in range(3):
        send(setup.outbox)
    setup.end()
    assert backfill("team").code == 0
    already = events_of(setup.scan)[:1] + [finding_id(ID, f"hash-{number}") for number in (0, 1)]
    assert (set(received(setup.team)), len(setup.team.got)) == (set(events_of(setup.scan)) - set(already), 15 - 3)
    assert setup.sequences("team") == list(range(1, 15 + 1))


def test_and_so_is_another_endpoint_with_the_texts_that_were_sent_live(
    setup: Setup, backfill: Callable[..., Result]
) -> None:
    setup.begin()
    setup.accept(0, 1, 2, 3)
    setup.end()
    assert backfill("late").code == 0
    assert (set(received(setup.late)), len(setup.late.got)) == (set(events_of(setup.scan)), 15)
    assert setup.sequences("late") == list(range(1, 15 + 1))
    assert received(setup.late)[-1] == lifecycle_id(ID, "ended")
    texts = {received.message["data"].get("data") for received in setup.late.got}
    assert {"the whole of 0", "d 4"} <= texts
    assert {received.headers["webhook-id"] for received in setup.late.got} == {
        delivery_id(event, "late") for event in events_of(setup.scan)
    }


def test_what_an_endpoint_did_not_take_is_sent_by_the_next_backfill(
    setup: Setup, backfill: Callable[..., Result]
) -> None:
    setup.configure(more="concurrency = 1\nretry_schedule = 1h\n")
    setup.team.answer = first(5)
    result = backfill("team", "--timeout", "1s")
    assert (result.code, "team: 10 waiting" in result.out) == (1, True)
    delivered = set(received(setup.team)[:5])
    setup.team.answer = 200
    refused = len(setup.team.got)
    assert backfill("team").code == 0
    again = [received.message["metadata"]["event_id"] for received in setup.team.got[refused:]]
    assert sorted(again) == sorted(set(events_of(setup.scan)) - delivered)


def test_again_sends_the_delivered_and_the_dead_under_the_same_ids(
    setup: Setup, backfill: Callable[..., Result]
) -> None:
    backfill("team")
    rows_of(setup.outbox, "UPDATE delivery SET state = 'dead' WHERE name = 'high_risk_event'")
    before = {received.headers["webhook-id"] for received in of_scan(setup.team)}
    setup.team.answer, setup.team.got[:] = 200, []
    result = backfill("team", "--again")
    again = of_scan(setup.team)
    assert (result.code, "15 deliveries to send" in result.out) == (0, True)
    assert ({received.headers["webhook-id"] for received in again}, len(again)) == (before, 15)
    assert {received.headers.get("X-SpiderFoot-Replay") for received in again} == {"true"}
    assert sorted(one.message["metadata"]["sequence"] for one in again) == list(range(1, 15 + 1))


def test_without_again_the_dead_are_left_alone_and_named(setup: Setup, backfill: Callable[..., Result]) -> None:
    backfill("team")
    rows_of(setup.outbox, "UPDATE delivery SET state = 'dead' WHERE name = 'scan_completed'")
    result = backfill("team")
    assert (result.code, len(of_scan(setup.team))) == (0, 15)
    assert f"Dead letters: sfwebhooks dead list --scan {ID} --endpoint team" in result.out


def test_where_nobody_knows_any_more_what_was_delivered_only_again_sends(
    setup: Setup, backfill: Callable[..., Result]
) -> None:
    backfill("team")
    rows_of(setup.outbox, "DELETE FROM delivery WHERE sequence < 4")
    rows_of(setup.outbox, "DELETE FROM event WHERE number NOT IN (SELECT event FROM delivery)")
    refused = backfill("team")
    assert (refused.code, len(setup.team.got)) == (1, 15)
    assert f"the outbox no longer has 3 deliveries of scan {ID} to team" in refused.err
    setup.team.got.clear()
    assert backfill("team", "--again").code == 0
    assert (set(received(setup.team)), len(setup.team.got)) == (set(events_of(setup.scan)), 15)
    assert setup.sequences("team") == list(range(1, 15 + 1))
    assert received(setup.team)[-1] == lifecycle_id(ID, "ended")


def forget(setup: Setup) -> None:
    """Delete all that was settled, as it is deleted for its age."""
    assert Outbox(setup.outbox.place).retention.prune(time.time() + 1e6, 0, 0)


def test_and_after_that_all_is_known_again(setup: Setup, backfill: Callable[..., Result]) -> None:
    backfill("team")
    forget(setup)
    assert backfill("team").code == 1
    assert backfill("team", "--again").code == 0
    assert len(setup.team.got) == 2 * 15
    result = backfill("team")
    assert (result.code, "already has every event of scan" in result.out, len(setup.team.got)) == (0, True, 2 * 15)


def test_a_scan_that_was_purged_is_sent_again_with_its_name_and_target(
    setup: Setup, backfill: Callable[..., Result]
) -> None:
    backfill("team")
    assert main(["purge", "--scan", ID, "--yes", "--folder", str(setup.folder)]) == 0
    setup.team.got.clear()
    assert backfill("team", "--again").code == 0
    sent = [received.message["data"] for received in setup.team.got]
    assert {(one["scan_id"], one["target"]) for one in sent} == {(ID, setup.scan.target)}


@pytest.mark.parametrize("kept", ["", "sequence BETWEEN 4 AND 8", "name = 'scan_completed'", "sequence % 2 = 1"])
def test_what_was_deleted_and_is_sent_again_is_renumbered_and_complete(
    setup: Setup, backfill: Callable[..., Result], kept: str
) -> None:
    backfill("team")
    before, setup.team.got[:] = list(setup.team.got), []
    if kept:
        sql(setup.outbox, f"UPDATE delivery SET settled_at = 9e9 WHERE {kept}")
    forget(setup)
    assert backfill("team", "--again").code == 0
    numbers = {"first_sequence": 1, "last_sequence": 15}
    assert receipt(setup.team) == {**numbers, "withheld": 0, "not_wanted": 0}
    for messages in (setup.team.got, [*before, *setup.team.got]):  # of one that came new, and of one that knows all
        check = CompletenessCheck()
        *_, account = (account for one in messages if (account := check.enter(one.message)))
        assert account.complete and "15 of 15 messages" in str(account)


def test_one_that_was_stopped_after_the_renumbering_goes_on_without_again(
    setup: Setup, backfill: Callable[..., Result]
) -> None:
    backfill("team")
    sql(setup.outbox, "UPDATE delivery SET settled_at = 9e9 WHERE sequence BETWEEN 4 AND 8")
    forget(setup)
    setup.team.got.clear()
    assert setup.outbox.scans.renumber(ID, "team", lifecycle_id(ID, "ended"), NOW, 0.0) > 0
    assert backfill("team").code == 0
    check = CompletenessCheck()
    *_, account = (account for one in setup.team.got if (account := check.enter(one.message)))
    assert account.complete and "15 of 15 messages" in str(account)
    assert setup.sequences("team") == list(range(1, 15 + 1))


@pytest.mark.parametrize(("late", "name"), [("host_stopped", "scan_aborted"), ("process_died", "scan_failed")])
@pytest.mark.parametrize("kept", [True, False])
def test_the_end_is_the_one_that_was_reported(
    setup: Setup, backfill: Callable[..., Result], late: str, name: str, kept: bool
) -> None:
    with closing(sqlite3.connect(setup.scan.database)) as connection, connection:
        connection.execute("UPDATE tbl_scan_instance SET status = 'RUNNING', ended = 0")
    setup.begin()
    setup.end(late=late)
    if not kept:  # it was deleted for its age
        rows_of(setup.outbox, f"DELETE FROM delivery WHERE name = '{name}'")
        rows_of(setup.outbox, f"DELETE FROM event WHERE type = '{name}'")
    assert backfill("late").code == 0
    (end,) = (one.message for one in setup.late.got if one.message["metadata"]["event_id"] == lifecycle_id(ID, "ended"))
    assert (end["event_type"], end["data"]["reason"]) == (name, late)


def test_results_without_rules_of_a_failed_scan_have_no_correlations(
    setup: Setup, backfill: Callable[..., Result]
) -> None:
    with closing(sqlite3.connect(setup.scan.database)) as connection, connection:
        connection.execute("UPDATE tbl_scan_instance SET status = 'ABORTED'")
    assert backfill("team").code == 0
    names = {received.message["event_type"] for received in setup.team.got}
    assert {name for name in names if name.startswith(("scan", "corr"))} == {"scan_started", "scan_aborted"}


# --- what is refused


def test_an_unknown_scan_is_refused_with_the_nearest_one(setup: Setup, backfill: Callable[..., Result]) -> None:
    result = backfill("team", scan="5c4a0007")
    assert (result.code, setup.team.got) == (1, [])
    assert (
        f'SpiderFoot\'s database {setup.folder / "spiderfoot.db"} has no scan "5c4a0007". Did you mean "{ID}"?\n'
        in result.err
    )
    assert f"The last ones: {ID}." in backfill("team", scan="../../etc").err


def test_an_unknown_endpoint_is_refused_with_the_nearest_one(backfill: Callable[..., Result]) -> None:
    result = backfill("taem")
    assert result.code == 1
    assert 'there is no endpoint "taem"; there are: team, late. Did you mean "team"?' in result.err


def test_without_spiderfoots_database_that_is_said(setup: Setup, backfill: Callable[..., Result]) -> None:
    Path(setup.scan.database).write_bytes(b"rubbish" * 1000)
    result = backfill("team")
    assert (result.code, "SpiderFoot's database cannot be read" in result.err) == (1, True)
    Path(setup.scan.database).unlink()
    result = backfill("team")
    assert (result.code, f'has no scan "{ID}". There is no such file; a database on' in result.err) == (1, True)


def test_a_scan_that_runs_is_refused(setup: Setup, backfill: Callable[..., Result]) -> None:
    setup.begin()
    lock = setup.outbox.locks.scan(ID)
    assert lock.take()
    result = backfill("late")
    lock.release()
    assert (result.code, setup.late.got) == (1, [])
    assert result.err == f"sfwebhooks: scan {ID} is still running: its findings are sent as they are found\n"


def test_a_scan_that_is_backfilled_by_somebody_else_is_refused(setup: Setup, backfill: Callable[..., Result]) -> None:
    lock = setup.outbox.locks.scan(ID)
    assert lock.take()
    result = backfill("late")
    lock.release()
    assert (result.code, setup.late.got) == (1, [])
    assert "another process is reporting its end or backfilling it" in result.err


def test_a_scan_that_died_is_first_reported_to_all_as_drain_does(setup: Setup, backfill: Callable[..., Result]) -> None:
    setup.begin("team")
    assert backfill("late").code == 0
    assert set(received(setup.team)) == set(received(setup.late)) == set(events_of(setup.scan))


def test_while_the_events_of_an_endpoint_are_not_known_a_dead_scan_waits(
    setup: Setup, backfill: Callable[..., Result]
) -> None:
    setup.begin()
    with (setup.folder / "webhooks.ini").open("a") as file:
        file.write("[webhooks.wrong]\nurl = https://wrong.example/\nevents = nonsense\n")
    result = backfill("team")
    assert (result.code, f"the end of scan {ID} is not reported yet; sfwebhooks drain says why" in result.err) == (
        1,
        True,
    )


def test_of_a_scan_without_webhooks_somebody_must_say_that_it_is_dead(
    setup: Setup, backfill: Callable[..., Result]
) -> None:
    with closing(sqlite3.connect(setup.scan.database)) as connection, connection:
        connection.execute("UPDATE tbl_scan_instance SET status = 'RUNNING', ended = 0")
    refused = backfill("team")
    assert (refused.code, setup.team.got) == (1, [])
    assert f"SpiderFoot says that scan {ID} is RUNNING; if its process is gone for good, add --dead" in refused.err
    assert backfill("team", "--dead").code == 0
    assert "scan_failed" in [received.message["event_type"] for received in setup.team.got]


def finish(setup: Setup, ago: float, status: str = "FINISHED") -> None:
    """Let the scan have ended some seconds ago, with nothing in its log about its correlations."""
    with closing(sqlite3.connect(setup.scan.database)) as connection, connection:
        ended = (time.time() - ago) * 1000
        connection.execute("UPDATE tbl_scan_instance SET status = ?, ended = ?", (status, ended))


def log(setup: Setup, message: str) -> None:
    with closing(sqlite3.connect(setup.scan.database)) as connection, connection:
        connection.execute("INSERT INTO tbl_scan_log VALUES (?, 0, 'sfscan', 'STATUS', ?)", (ID, message))


def test_a_scan_without_webhooks_waits_for_its_correlations(setup: Setup, backfill: Callable[..., Result]) -> None:
    finish(setup, ago=5)
    log(setup, f"Running 37 correlation rules on scan {ID}.")
    refused = backfill("team")
    assert (refused.code, setup.team.got) == (1, [])
    assert f"scan {ID} has just finished, and SpiderFoot may still be looking for correlations" in refused.err
    assert "10 minutes after its end at the latest), or add --dead if" in refused.err
    log(setup, f"Scan [{ID}] completed.")
    assert (backfill("team").code, len(setup.team.got)) == (0, 15)


def test_but_not_forever(setup: Setup, backfill: Callable[..., Result]) -> None:
    finish(setup, ago=RULES_SECONDS + 1)
    assert (backfill("team").code, len(setup.team.got)) == (0, 15)


def test_and_not_if_somebody_says_that_it_is_dead(setup: Setup, backfill: Callable[..., Result]) -> None:
    finish(setup, ago=5)
    assert (backfill("team", "--dead").code, len(setup.team.got)) == (0, 15)


def test_nor_if_it_was_aborted(setup: Setup, backfill: Callable[..., Result]) -> None:
    finish(setup, ago=5, status="ABORTED")
    assert (backfill("team").code, len(setup.team.got)) == (0, 13)


def test_nor_if_it_was_sent_live(setup: Setup, backfill: Callable[..., Result]) -> None:
    setup.begin()
    finish(setup, ago=5)
    setup.end()
    assert (backfill("late").code, len(setup.late.got)) == (0, 15)


def test_it_sends_nothing_when_webhooks_are_stopped(
    setup: Setup, backfill: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SFWEBHOOKS_DISABLED", "1")
    assert (backfill("team").code, setup.team.got) == (1, [])


# --- pace, progress, being stopped


def test_rate_spreads_when_they_are_put_into_the_outbox(setup: Setup, backfill: Callable[..., Result]) -> None:
    assert backfill("team", "--rate", "50/s").code == 0
    (span,) = sql(setup.outbox, "SELECT max(accepted_at) - min(accepted_at) FROM delivery WHERE sequence > 1")[0]
    assert span > 13 * 0.02 - 0.01
    assert received(setup.team) == events_of(setup.scan)


def test_rate_spreads_those_that_are_sent_again_too(setup: Setup, backfill: Callable[..., Result]) -> None:
    backfill("team")
    assert backfill("team", "--again", "--rate", "50/s").code == 0
    due = [row[0] for row in sql(setup.outbox, "SELECT accepted_at FROM delivery ORDER BY number")]
    assert [round(later - sooner, 3) for sooner, later in zip(due, due[1:])] == [0.02] * 14
    assert len(setup.team.got) == 30


def test_where_there_is_no_terminal_it_shows_the_beginning_and_the_end(
    setup: Setup, backfill: Callable[..., Result]
) -> None:
    lines = backfill("team", "--rate", "50/s").out.splitlines()
    first = f"Scan {ID} of acme.example to team: 15 deliveries to send."
    assert lines == [first, "15 delivered, 0 waiting, 0 dead."]


def enlarge(setup: Setup) -> None:
    """Let the scan have found more than an outbox of 1 MB takes."""
    columns = ("EMAILADDR", NOW, 100, 100, 0, "m", "x" * 60_000, 0, "target")
    with closing(sqlite3.connect(setup.scan.database)) as connection, connection:
        connection.executemany(
            f"INSERT INTO tbl_scan_results VALUES ({','.join('?' * 11)})",
            [(ID, f"large-{number}", *columns) for number in range(50)],
        )


def test_what_a_full_outbox_does_not_take_is_said_and_the_end_waits_for_it(
    setup: Setup, backfill: Callable[..., Result]
) -> None:
    enlarge(setup)
    with (setup.folder / "webhooks.ini").open("a") as file:
        file.write("[webhooks]\noutbox_max_mb = 1\n")
    for _ in range(2):
        result = backfill("team", "--rate", "500/s")
        refused = setup.outbox.scans.withheld(ID)["team"]["outbox_full"]
        assert (result.code, refused > 10) == (1, True)
        assert f"The outbox is full: {refused + 1} events are not in the outbox yet" in result.out
        assert lifecycle_id(ID, "ended") not in received(setup.team)
        assert "0 waiting" in result.out

    setup.configure()
    assert backfill("team").code == 0
    assert (len(setup.team.got), received(setup.team)[-1]) == (15 + 50, lifecycle_id(ID, "ended"))
    assert receipt(setup.team) == {
        "first_sequence": 1,
        "last_sequence": 65,
        "withheld": 0,
        "not_wanted": 0,
    }


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_one_that_is_stopped_in_the_middle_goes_on_where_it_was(
    setup: Setup, backfill: Callable[..., Result], number: signal.Signals
) -> None:
    setup.configure(more="concurrency = 1\n")
    command = ["backfill", ID, "--endpoint", "team", "--folder", setup.folder, "--rate", "20/s"]
    process = Process(command, stdout=PIPE, stderr=PIPE)
    setup.team.wait_for(5)
    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == {signal.SIGTERM: 1, signal.SIGINT: 130}.get(number, -number)
    assert ("run the same command again" in out) == (number == signal.SIGTERM)
    assert (f"sfwebhooks: stopped: {GO_ON}" in err) == (number == signal.SIGINT)
    assert "Traceback" not in err
    assert setup.outbox.scans.open_scans() == [], "nobody else tells what is missing, to all"
    stopped_at = len(setup.team.got)
    assert stopped_at < 15

    assert backfill("team").code == 0
    assert set(received(setup.team)) == set(events_of(setup.scan))
    assert len(setup.team.got) - len(set(setup.team.ids)) <= (number == signal.SIGKILL), "but for the one in flight"
    assert setup.sequences("team") == list(range(1, 15 + 1))


def test_each_message_is_as_the_schema_says(setup: Setup, backfill: Callable[..., Result]) -> None:
    backfill("team")
    schema = Draft202012Validator(document(EVENT_TYPES))
    assert [str(error) for received in setup.team.got for error in schema.iter_errors(received.message)] == []
    assert len(setup.team.got) > FINDINGS


@pytest.mark.parametrize("again", [(), ("--again",)])
def test_one_that_is_stopped_while_a_receiver_does_not_answer_says_how_to_go_on(
    setup: Setup, gate: Gate, again: tuple[str, ...]
) -> None:
    setup.team.answer = gate
    command = ["backfill", ID, "--endpoint", "team", "--folder", setup.folder, *again]
    process = Process(command, stdout=PIPE, stderr=PIPE)
    setup.team.wait_for(1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    gate.open()
    assert (process.returncode, err.splitlines()[-1]) == (130, f"sfwebhooks: stopped: {GO_ON}")


# --- its parts, without the command


@pytest.mark.sqlite("no outbox is created")
def test_a_scan_that_nobody_knows_leaves_no_outbox_behind(setup: Setup) -> None:
    with pytest.raises(SelectionError):
        past_scan(setup.outbox, "UNKNOWN", dead=False)
    assert not setup.outbox.path.exists()


def test_the_three_newest_scans_are_named_where_none_is_like_the_one_that_was_asked_for(setup: Setup) -> None:
    with closing(sqlite3.connect(setup.scan.database)) as connection, connection:
        rows = [(f"SCAN{number}", NOW * 1000 + number) for number in range(1, 6)]
        connection.executemany("INSERT INTO tbl_scan_instance (guid, created) VALUES (?, ?)", rows)
    with pytest.raises(SelectionError, match=r"The last ones: SCAN5, SCAN4, SCAN3\.$"):
        past_scan(setup.outbox, "../../etc", dead=False)


def test_a_scan_that_was_sent_live_is_the_one_of_the_outbox_with_its_own_database(setup: Setup, tmp_path: Path) -> None:
    """Not the one that is at the usual place, which may be of another SpiderFoot by now."""
    elsewhere = replace(setup.scan, database=str(tmp_path / "elsewhere.db"), version="4.0.0")
    a_finished_scan(Path(elsewhere.database), elsewhere, 1)
    Path(setup.scan.database).unlink()
    live = replace(setup, scan=elsewhere)
    live.begin()
    live.end()
    past = past_scan(setup.outbox, ID, dead=False)
    assert (past.scan, past.reported_as, past.row.status) == (elsewhere, "scan_completed", "FINISHED")


def test_a_scan_that_only_the_host_knows_has_all_that_the_host_says_of_it(setup: Setup) -> None:
    past = past_scan(setup.outbox, ID, dead=False)
    assert (past.scan, past.reported_as) == (replace(setup.scan, version=UNKNOWN), None)


def test_a_look_at_why_an_end_is_not_reported_leaves_the_scans_lock_free(setup: Setup) -> None:
    setup.begin()
    with pytest.raises(SelectionError, match="is not reported yet"):
        past_scan(setup.outbox, ID, dead=False)
    lock = setup.outbox.locks.scan(ID)
    assert lock.take()
    lock.release()


def test_a_backfill_knows_how_much_it_sends_and_how_much_of_it_again(setup: Setup) -> None:
    endpoint = setup.endpoints[0]
    missing = begin_backfill(setup.outbox, endpoint, past_scan(setup.outbox, ID, dead=False))
    events = list(missing.events)
    assert (missing.number, missing.again, len(events)) == (14, 0, 14)
    assert (events[-1].type, "detected_late" in events[-1].data) == ("scan_completed", False)
    assert put(setup.outbox, missing, events) is True
    for _ in range(15):
        send(setup.outbox)
    again = begin_backfill(setup.outbox, endpoint, past_scan(setup.outbox, ID, dead=False), renumber=True)
    assert (again.number, again.again) == (1, 14), "the end comes last, with a new receipt"


def test_a_backfill_forgets_what_was_refused_before(setup: Setup) -> None:
    setup.begin()
    setup.end()
    sql(setup.outbox, f"INSERT INTO withheld VALUES ('{ID}', 'team', 'outbox_full', 1)")
    sql(setup.outbox, f"INSERT INTO withheld VALUES ('{ID}', 'late', 'outbox_full', 1)")
    begin_backfill(setup.outbox, setup.endpoints[0], past_scan(setup.outbox, ID, dead=False))
    assert setup.outbox.scans.withheld(ID) == {"late": {"outbox_full": 1}}


def test_the_end_waits_while_the_outbox_is_too_full_for_other_events_of_its_endpoint(setup: Setup) -> None:
    endpoint = setup.endpoints[0]
    missing = begin_backfill(setup.outbox, endpoint, past_scan(setup.outbox, ID, dead=False))
    sql(setup.outbox, f"INSERT INTO withheld VALUES ('{ID}', 'team', 'outbox_full', 1)")
    assert put(setup.outbox, missing, list(missing.events)) is False
    names = [row[0] for row in sql(setup.outbox, "SELECT name FROM delivery")]
    assert ("scan_completed" in names, "high_risk_event" in names) == (False, True)


def test_the_comparison_that_was_made_at_its_end_is_sent_and_none_is_made_later(
    setup: Setup, backfill: Callable[..., Result]
) -> None:
    setup.configure("all")
    backfill("late")
    assert "surface_changed" not in {one.message["event_type"] for one in setup.late.got}, (
        "SpiderFoot ran it without us"
    )
    other = replace(setup.scan, id="5C4A0002")
    a_second_scan(setup, other)
    setup.outbox.scans.begin_scan(other, started(other), [], NOW)
    report_end(setup.outbox, Settings((an_endpoint("desk", events=("surface_changed",)),)), other)
    (made,) = sql(setup.outbox, "SELECT id, data FROM event WHERE type = 'surface_changed'")

    assert backfill("team", scan=other.id).code == 0
    (sent,) = (one.message for one in setup.team.got if one.message["event_type"] == "surface_changed")
    assert (sent["metadata"]["event_id"], sent["data"]) == (made[0], json.loads(made[1]))
    assert received(setup.team)[-2:] == [made[0], lifecycle_id(other.id, "ended")]

    setup.configure("all", "only_if_changed = true\n")
    backfill("late", scan=other.id)
    ids = {one.message["metadata"]["event_id"] for one in setup.late.got}
    assert made[0] not in ids, "it was the first of its target"
    assert last_receipt(setup.late)["withheld_by_reason"] == {"not_comparable": 1}


def a_second_scan(setup: Setup, scan: Scan) -> None:
    found = [a_finding(f"other-{number}", data=f"d {number}", sources=()) for number in range(4)]
    add_scan(Path(setup.scan.database), scan, found, NOW + 3600)


def last_receipt(team: Team) -> dict[str, Any]:
    ends = [one.message for one in team.got if one.message["event_type"] == "scan_completed"]
    return dict(ends[-1]["data"]["receipt"])


def test_false_positives_and_what_filters_withhold_are_not_sent_and_exactly_counted(
    setup: Setup, backfill: Callable[..., Result]
) -> None:
    with closing(sqlite3.connect(setup.scan.database)) as connection, connection:
        connection.execute("UPDATE tbl_scan_results SET false_positive = 1 WHERE hash = 'hash-1'")
    setup.configure("all, !surface_changed", "min_severity = high\n")
    assert backfill("team").code == 0
    hashes = {one.message["data"]["hash"] for one in setup.team.got if "hash" in one.message["data"]}
    assert hashes == {"hash-0", "hash-5", "hash-6"}
    receipt = last_receipt(setup.team)
    assert receipt["withheld_by_reason"] == {"severity": 7, "false_positive": 1}
    assert receipt["not_wanted"] == 0
