"""The watch over scans: what is missed, overdue, thin or degraded is sent once, and once more when it is well again."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sfwebhooks.catalogue import WATCH_TYPES
from sfwebhooks.config.settings import Settings, load_mapping
from sfwebhooks.events import Scan, WebhookEvent, lifecycle_id, timestamp
from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.scan.history import COMPARED_MIN, read_history
from sfwebhooks.scan.host_address import DATABASE
from sfwebhooks.scan.host_file import CONFIG_ROWS
from sfwebhooks.scan.watch import LOOKED, OVERDUE_LEAST, RUNNING_SECONDS, SETTLE_SECONDS, Watch, look_at_scans
from sfwebhooks.screening import Wanted
from sfwebhooks.severity import Severity
from tests.builders import NOW, a_host_database, a_scan, add_past_scan, an_event
from tests.conftest import sql
from tests.outbox_rows import rows_of
from tests.stores import BOTH, place_in
from tests.tiers import slow

STORES = BOTH
pytestmark = pytest.mark.usefixtures("store")

DAY = 86400.0
#: midnight of a day, and the time at which its scan is expected
TODAY = NOW - NOW % DAY
AT = TODAY + 2 * 3600


class Watched:
    """A folder with a host's database and an outbox, at which the watch looks."""

    def __init__(self, folder: Path, expected: Sequence[str] = ("acme.test",), events: Sequence[str] = ("all",)):
        self.folder = folder
        self.database = folder / DATABASE
        a_host_database(self.database, a_scan(), "FINISHED")
        self.outbox = Outbox(place_in(folder))
        self.settings = settings_for(expected, events)

    def look(self, now: float, settings: Settings | None = None) -> list[tuple[str, bool]]:
        """Look; return the types of the events, each with whether it is over."""
        return [(event.type, event.data["resolved"]) for event in self.events(now, settings)]

    def events(self, now: float, settings: Settings | None = None) -> list[WebhookEvent]:
        return Watch(settings or self.settings, self.outbox, timezone.utc).look(now)

    def scan(self, id: str, started: float, **values: Any) -> None:
        add_past_scan(self.database, id, started, **values)

    def nights(self, number: int, **values: Any) -> None:
        """Add the scans of the nights before today."""
        for night in range(number, 0, -1):
            self.scan(f"N{night}", AT - night * DAY, **{"findings": 20, **values})

    def change(self, query: str, *values: object) -> None:
        with closing(sqlite3.connect(self.database)) as connection, connection:
            connection.execute(query, values)

    @property
    def deliveries(self) -> list[str]:
        return [row[0] for row in sql(self.outbox, "SELECT name FROM delivery ORDER BY number")]


def settings_for(expected: Sequence[str], events: Sequence[str]) -> Settings:
    team = {"team": {"url": "https://team.test", "events": list(events)}}
    section = {"webhooks-expect": {"nightly": ["0 2 * * *", *expected]}} if expected else {}
    found = load_mapping({**team, **section})
    assert not found.mistakes
    return found


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    made = Watched(tmp_path)
    yield made
    made.outbox.close()


# --- missed


def test_a_scan_that_has_not_started_an_hour_after_its_time_is_missed_once(watched: Watched) -> None:
    assert watched.look(AT - 60) == []
    assert watched.look(AT + 3599) == []
    (event,) = watched.events(AT + 3600)
    assert (event.type, event.severity, event.scan) == ("scan_missed", Severity.HIGH, None)
    assert watched.look(AT + 3700) == []
    assert watched.look(AT + 5 * DAY) == []
    assert watched.deliveries == ["scan_missed"]


def test_it_is_well_again_when_one_starts_and_says_how_many_were_missed(watched: Watched) -> None:
    watched.look(AT - 60)
    watched.look(AT + 3600)
    watched.look(AT + 2 * DAY + 3600)
    watched.scan("LATE", AT + 2 * DAY + 7200, findings=3)
    (event,) = watched.events(AT + 2 * DAY + 7260)
    data = event.data
    assert (data["resolved"], data["missed"], data["scan_id"], event.severity) == (True, 3, "LATE", Severity.INFO)
    assert data["expected_at"] == timestamp(AT)
    assert watched.look(AT + 2 * DAY + 7300) == []
    assert watched.deliveries == ["scan_missed", "scan_missed"]


def test_the_event_says_what_was_expected_and_what_is_usual(watched: Watched) -> None:
    watched.look(AT - 4 * DAY - 60)
    watched.nights(3, seconds=700)
    (event,) = watched.events(AT + 3600)
    data = event.data
    assert (data["target"], data["expectation"], data["schedule"]) == ("acme.test", "nightly", "0 2 * * *")
    assert (data["last_scan"]["scan_id"], data["last_scan"]["events_found"]) == ("N1", 20)
    assert data["usual_duration"] == data["last_scan"]["duration"] == 700


@pytest.mark.parametrize("started", [-200.0, 0.0, 5.0, 3600.0])
@pytest.mark.parametrize("status", ["FINISHED", "ABORTED", "ERROR-FAILED", "RUNNING"])
def test_a_scan_that_starts_in_time_is_not_missed_whatever_its_end(
    watched: Watched, started: float, status: str
) -> None:
    watched.look(AT - 600)
    watched.scan("ONE", AT + started, status=status)
    assert watched.look(AT + 4000) == []


@pytest.mark.parametrize(
    ("of", "is_it"),
    [
        ("ACME.test.", True),
        ("Acme perimeter", True),
        ("acme  PERIMETER", True),
        ("acme", False),
        ("www.acme.test", False),
    ],
)
def test_a_scan_is_known_by_its_target_or_name(tmp_path: Path, of: str, is_it: bool) -> None:
    watched = Watched(tmp_path, [of])
    watched.look(AT - 60)
    watched.scan("ONE", AT + 5)
    assert (watched.look(AT + 4000) == []) is is_it


def test_a_name_that_the_web_interface_has_escaped_is_known(tmp_path: Path) -> None:
    watched = Watched(tmp_path, ["R&D <o'hara>"])
    watched.look(AT - 60)
    watched.scan("ONE", AT + 5, name="R&D &lt;o&#x27;hara&gt;")
    assert watched.look(AT + 4000) == []


def test_nothing_from_before_the_first_look_is_missed(watched: Watched) -> None:
    assert watched.look(AT + 4000) == []
    assert watched.look(AT + 8000) == []


def test_another_time_is_not_missed_in_the_past(watched: Watched) -> None:
    watched.look(AT - 60)
    later = load_mapping({"team": {"url": "https://team.test"}, "webhooks-expect": {"nightly": "0 1 * * * acme.test"}})
    assert watched.look(AT + 600, later) == []
    assert watched.look(AT + 1200, later) == []


def test_after_a_long_time_without_a_look_one_event_says_how_many(watched: Watched) -> None:
    watched.look(AT - 60)
    (event,) = watched.events(AT + 30 * DAY + 3600)
    assert (event.data["missed"], event.data["resolved"]) == (31, False)
    assert "missed 31 times" in event.data["message"]


def test_those_missed_while_nobody_looked_are_one_event_if_scans_run_again(watched: Watched) -> None:
    watched.look(AT - 3 * DAY - 60)
    watched.scan("FIRST", AT - 3 * DAY + 5)
    watched.scan("LAST", AT + 5)
    (event,) = [one for one in watched.events(AT + 4000) if one.type == "scan_missed"]
    assert (event.data["missed"], event.data["resolved"]) == (2, True)
    assert watched.look(AT + 4100) == []


def test_scans_that_were_deleted_are_not_missed(watched: Watched) -> None:
    watched.look(AT - 9 * DAY)
    watched.scan("LEFT", AT + 5)
    assert watched.look(AT + 4000) == []


def test_a_scan_that_only_the_outbox_still_has_is_not_missed(watched: Watched) -> None:
    watched.look(AT - 60)
    scan = Scan("GONE", "n", "acme.test", "INTERNET_NAME", "4.0.0", str(watched.database))
    begin = an_event(1, type="scan_started", scan=scan)
    watched.outbox.scans.begin_scan(scan, begin, [Wanted("team", "scan_started")], AT + 5)
    assert watched.look(AT + 4000) == []


def test_what_is_no_longer_expected_is_well_again(watched: Watched) -> None:
    watched.look(AT - 60)
    watched.look(AT + 3600)
    none = settings_for((), ["all"])
    (event,) = watched.events(AT + 3700, none)
    assert (event.type, event.data["resolved"], event.data["target"]) == ("scan_missed", True, "acme.test")
    assert "no longer expected" in event.data["message"]
    assert watched.look(AT + 3800, none) == []


def test_an_expectation_with_a_mistake_is_not_taken_as_well_again(watched: Watched) -> None:
    watched.look(AT - 60)
    watched.look(AT + 3600)
    team = {"team": {"url": "https://team.test", "events": "all"}}
    wrong = load_mapping({**team, "webhooks-expect": {"nightly": "0 2 * * acme.test"}})
    assert wrong.mistakes
    assert watched.look(AT + 3700, wrong) == []


def test_a_clock_that_is_set_back_misses_nothing(watched: Watched) -> None:
    watched.look(AT + 60)
    assert watched.look(AT - 9 * DAY) == []
    assert watched.look(AT + 120) == []


# --- overdue


def test_a_scan_that_runs_three_times_as_long_as_usual_is_overdue_once(watched: Watched) -> None:
    watched.look(AT - 4 * DAY)
    watched.nights(3, seconds=600)
    watched.scan("SLOW", AT, seconds=0)
    assert watched.look(AT + 1800) == []
    (event,) = watched.events(AT + 1801)
    assert (event.type, event.data["usual_duration"], event.data["elapsed"]) == ("scan_overdue", 600, 1801)
    assert (event.data["scan_id"], event.data["status"]) == ("SLOW", "RUNNING")
    assert watched.look(AT + 9000) == []
    watched.change(
        "UPDATE tbl_scan_instance SET status = 'FINISHED', ended = ? WHERE guid = 'SLOW'", (AT + 9500) * 1000
    )
    assert ("scan_overdue", True) in watched.look(AT + 9600)
    assert watched.look(AT + 9700) == []


def test_a_short_scan_is_not_overdue_within_minutes(watched: Watched) -> None:
    watched.look(AT - 4 * DAY)
    watched.nights(3, seconds=10)
    watched.scan("SLOW", AT, seconds=0)
    assert watched.look(AT + OVERDUE_LEAST) == []
    assert watched.look(AT + OVERDUE_LEAST + 1) == [("scan_overdue", False)]


@pytest.mark.parametrize(
    "values",
    [{"modules": "sfp_spider"}, {"target": "other.test"}, {"status": "ABORTED"}, {"status": "ERROR-FAILED"}],
    ids=["other modules", "another target", "aborted", "failed"],
)
def test_a_scan_is_compared_with_finished_ones_of_its_kind_only(watched: Watched, values: dict[str, str]) -> None:
    watched.look(AT - 9 * DAY)
    watched.nights(COMPARED_MIN, **values)
    watched.scan("SLOW", AT, seconds=0)
    assert watched.look(AT + 10_000) == []


def test_two_scans_are_too_few_to_say_what_is_usual(watched: Watched) -> None:
    watched.look(AT - 9 * DAY)
    watched.nights(COMPARED_MIN - 1)
    watched.scan("SLOW", AT, seconds=0)
    assert watched.look(AT + 10_000) == []


def test_a_running_scan_of_before_the_first_look_is_not_overdue(watched: Watched) -> None:
    watched.nights(5)
    watched.scan("OLD", AT, seconds=0)
    assert watched.look(AT + 7200) == []
    assert watched.look(AT + 7300) == []


def test_a_scan_that_died_is_over_when_its_end_is_reported(watched: Watched) -> None:
    watched.look(AT - 9 * DAY)
    watched.nights(4)
    watched.scan("DEAD", AT, seconds=0)
    scan = Scan("DEAD", "n", "acme.test", "INTERNET_NAME", "4.0.0", str(watched.database))
    watched.outbox.scans.begin_scan(scan, an_event(1, type="scan_started", scan=scan), [], AT)
    assert watched.look(AT + 7200) == [("scan_overdue", False)]
    end = an_event(2, type="scan_failed", scan=scan, id=lifecycle_id("DEAD", "ended"))
    assert watched.outbox.scans.end_scan(end, [], AT + 7300)
    assert watched.look(AT + 7300) == [("scan_overdue", True)]
    assert watched.look(AT + 7400) == []


def test_a_scan_that_died_without_webhooks_is_over_when_the_next_one_finishes(watched: Watched) -> None:
    watched.look(AT - 9 * DAY)
    watched.nights(4)
    watched.scan("DEAD", AT, seconds=0)
    assert watched.look(AT + 7200) == [("scan_overdue", False)]
    watched.scan("NEXT", AT + DAY, findings=20)
    assert watched.look(AT + DAY + 3000) == [("scan_overdue", True)]
    assert watched.look(AT + DAY + 3100) == []
    assert watched.look(AT + RUNNING_SECONDS + DAY, settings_for((), ["scan_overdue"])) == []


def test_another_scan_of_the_target_does_not_end_it(watched: Watched) -> None:
    watched.look(AT - 9 * DAY)
    watched.nights(4)
    watched.scan("SLOW", AT, seconds=0)
    watched.scan("SMALL", AT + 100, seconds=30, modules="sfp_spider")
    assert watched.look(AT + 7200) == [("scan_overdue", False)]
    assert watched.look(AT + 7300) == []


def test_a_deleted_scan_is_over(watched: Watched) -> None:
    watched.look(AT - 9 * DAY)
    watched.nights(4)
    watched.scan("SLOW", AT, seconds=0)
    watched.look(AT + 7200)
    watched.change("DELETE FROM tbl_scan_instance WHERE guid = 'SLOW'")
    (event,) = watched.events(AT + 7300)
    assert (event.data["resolved"], event.data["target"], "status" in event.data) == (True, "acme.test", False)


# --- thin


@pytest.mark.parametrize(("findings", "is_thin"), [(0, True), (4, True), (5, False), (20, False), (90, False)])
def test_a_scan_with_a_fifth_of_the_usual_findings_is_thin(watched: Watched, findings: int, is_thin: bool) -> None:
    watched.look(AT - 9 * DAY)
    watched.nights(5)
    watched.look(AT - 600)
    watched.scan("NEW", AT, findings=findings)
    assert (watched.look(AT + 700) == [("scan_thin", False)]) is is_thin


def test_it_is_sent_once_and_once_more_when_it_is_well_again(watched: Watched) -> None:
    watched.look(AT - 9 * DAY)
    watched.nights(5)
    watched.scan("THIN", AT, findings=2)
    (event,) = watched.events(AT + 700)
    assert (event.data["events_found"], event.data["usual_events_found"], event.data["compared_scans"]) == (2, 20, 5)
    assert event.data["last_scan"]["scan_id"] == "N1"
    watched.scan("THIN2", AT + DAY, findings=1)
    assert watched.look(AT + DAY + 700) == []
    watched.scan("GOOD", AT + 2 * DAY, findings=21)
    (event,) = watched.events(AT + 2 * DAY + 700)
    assert (event.type, event.data["resolved"], event.data["scan_id"]) == ("scan_thin", True, "GOOD")
    assert event.data["since"] == timestamp(AT + 600)


def test_a_scan_is_judged_when_its_log_is_written_and_its_end_reported(watched: Watched) -> None:
    watched.look(AT - 9 * DAY)
    watched.nights(5)
    scan = Scan("THIN", "n", "acme.test", "INTERNET_NAME", "4.0.0", str(watched.database))
    watched.outbox.scans.begin_scan(scan, an_event(1, type="scan_started", scan=scan), [], AT)
    watched.scan("THIN", AT, findings=2)
    assert watched.look(AT + 600 + SETTLE_SECONDS - 1) == []
    assert watched.look(AT + 900) == []
    watched.outbox.scans.end_scan(an_event(2, type="scan_completed", scan=scan), [], AT + 900)
    assert watched.look(AT + 910) == [("scan_thin", False)]


def test_a_scan_with_fewer_modules_is_not_thin(watched: Watched) -> None:
    watched.look(AT - 9 * DAY)
    watched.nights(5)
    watched.scan("NEW", AT, findings=1, modules="sfp_spider")
    assert watched.look(AT + 700) == []


def test_of_many_scans_since_the_last_look_the_last_one_counts(watched: Watched) -> None:
    watched.look(AT - 9 * DAY)
    watched.nights(5)
    watched.scan("THIN", AT, findings=1)
    watched.scan("GOOD", AT + 3600, findings=20)
    assert watched.look(AT + 8000) == []


def test_a_scan_of_before_the_first_look_is_not_thin(watched: Watched) -> None:
    watched.nights(5)
    watched.scan("THIN", AT, findings=1)
    assert watched.look(AT + 700) == []
    assert watched.look(AT + 800) == []


# --- degraded


def test_modules_that_fail_and_did_not_before_are_sent_once_until_they_work(watched: Watched) -> None:
    watched.look(AT - 9 * DAY)
    watched.nights(5, failed=["sfp_dnsresolve"])
    for night, failed in enumerate((["sfp_dnsresolve", "sfp_shodan"], ["sfp_shodan"], ["sfp_shodan"]) * 2):
        watched.scan(f"D{night}", AT + night * DAY, findings=20, failed=failed)
        found = watched.events(AT + night * DAY + 700)
        assert [event.data["modules"] for event in found] == [] if night else [["sfp_shodan"]]
    watched.scan("GOOD", AT + 9 * DAY, findings=20, failed=["sfp_dnsresolve"])
    (event,) = [one for one in watched.events(AT + 9 * DAY + 700) if one.type == "modules_degraded"]
    assert (event.data["resolved"], event.data["modules"]) == (True, ["sfp_shodan"])


def test_more_modules_are_sent_as_they_fail_and_all_are_well_when_none_does(watched: Watched) -> None:
    watched.look(AT - 9 * DAY)
    watched.nights(5)
    for night, (failed, modules) in enumerate(
        [(["sfp_a"], ["sfp_a"]), (["sfp_a", "sfp_b"], ["sfp_b"]), (["sfp_b"], None), ([], ["sfp_b"])]
    ):
        watched.scan(f"D{night}", AT + night * DAY, findings=20, failed=failed)
        found = [one.data["modules"] for one in watched.events(AT + night * DAY + 700)]
        assert found == ([modules] if modules else [])


def test_a_module_that_lost_its_key_is_degraded(watched: Watched) -> None:
    watched.look(AT - 9 * DAY)
    watched.nights(5)
    watched.scan("NEW", AT, findings=20)
    words = "You enabled sfp_shodan but did not set an API key!"
    watched.change("INSERT INTO tbl_scan_log VALUES ('NEW', 0, 'sfp_shodan', 'ERROR', ?)", words)
    (event,) = watched.events(AT + 700)
    assert event.data["modules"] == ["sfp_shodan"]


def test_a_targets_first_scan_has_no_degraded_modules(watched: Watched) -> None:
    watched.look(AT - 9 * DAY)
    watched.scan("NEW", AT - DAY, findings=20, failed=["sfp_a"])
    assert [kind for kind, _ in watched.look(AT - DAY + 700) if kind == "modules_degraded"] == []


# --- histories


@pytest.mark.sqlite("each example needs an outbox of its own")
@slow
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from(["none", "good", "late", "thin", "broken", "aborted"]), min_size=1, max_size=12),
    st.sets(st.integers(0, 11)),
)
def test_over_any_history_each_trouble_begins_and_ends_in_turn(
    tmp_path_factory: pytest.TempPathFactory, nights: list[str], unseen: set[int]
) -> None:
    watched = Watched(tmp_path_factory.mktemp("history"))
    with closing(watched.outbox):
        watched.look(AT - 9 * DAY)
        watched.nights(5)
        watched.look(AT - 600)
        found: list[WebhookEvent] = []
        for night, kind in enumerate(nights):
            midnight, is_seen = AT + night * DAY, night not in unseen or night == len(nights) - 1
            values: dict[str, dict[str, Any]]
            values = {"thin": {"findings": 1}, "broken": {"failed": ["sfp_a"]}, "aborted": {"status": "ABORTED"}}
            if kind == "late" and is_seen:
                found += watched.events(midnight + 3700)
            if kind != "none":
                started = midnight + (7200 if kind == "late" else 5)
                watched.scan(f"X{night}", started, **{"findings": 20, **values.get(kind, {})})
            if is_seen:
                found += watched.events(midnight + 4 * 3600)
        for kind in ("scan_missed", "scan_thin", "modules_degraded"):
            ends = [event.data["resolved"] for event in found if event.type == kind]
            alone = kind == "scan_missed"  # those of nights without a look may be over at once
            assert all(one != other or (alone and one) for one, other in zip(ends, ends[1:])), (kind, ends)
            assert alone or not ends or ends[0] is False
        last = {event.type: event.data["resolved"] for event in found}
        assert (last.get("scan_missed") is False) is (nights[-1] == "none")
        judged = [kind for kind in nights if kind not in ("none", "aborted")]
        # five thin ones are usual
        assert (last.get("scan_thin") is False) is (judged[-1:] == ["thin"]) or nights.count("thin") > 4


# --- who looks, and at what


@pytest.mark.sqlite("no outbox is created")
def test_without_a_subscriber_or_an_expectation_nothing_is_read_or_written(tmp_path: Path) -> None:
    watched = Watched(tmp_path, (), ["high_risk_event"])
    watched.database.write_bytes(b"garbage" * 1000)
    assert look_at_scans(watched.settings, watched.outbox) == ""
    assert not (tmp_path / FILE).exists()


def test_only_what_an_endpoint_wants_is_looked_at(tmp_path: Path) -> None:
    watched = Watched(tmp_path, (), ["scan_thin"])
    watched.look(AT - 9 * DAY)
    watched.nights(5)
    watched.scan("THIN", AT, findings=1, failed=["sfp_a"])
    watched.scan("SLOW", AT + 700, seconds=0)
    assert watched.look(AT + 9000) == [("scan_thin", False)]
    assert {kind for kind, _ in watched.outbox.watch.all()} == {"", "scan_thin"}


@pytest.mark.parametrize("word", ["scan.*", "scan.missed", "scan_missed", "all", "*"])
def test_an_endpoint_subscribes_as_to_any_other_event(tmp_path: Path, word: str) -> None:
    watched = Watched(tmp_path, events=[word])
    watched.look(AT - 60)
    watched.look(AT + 4000)
    assert watched.deliveries == ["scan.missed" if "." in word else "scan_missed"] or len(watched.deliveries) == 1


def test_a_mistake_of_one_endpoint_keeps_nothing_from_it(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    team = {"team": {"url": "https://team.test", "events": "all", "secret": "env:NOT_SET_ANYWHERE"}}
    held = load_mapping({**team, "webhooks-expect": {"nightly": "0 2 * * * acme.test"}})
    watched.look(AT - 60, held)
    assert watched.look(AT + 4000, held) == [("scan_missed", False)]
    assert watched.deliveries == ["scan_missed"]


def test_of_two_processes_that_look_at_once_one_sends(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    with closing(Outbox(place_in(tmp_path))) as other:
        watched.look(AT - 60)
        seen = {**watched.outbox.watch.all()}
        assert watched.look(AT + 4000) == [("scan_missed", False)]

        class Late:
            """The states as the other process read them, before this one wrote."""

            def all(self) -> Any:
                return seen

            def commit(self, *given: Any) -> Any:
                return watched.outbox.watch.commit(*given)

        other.watch = Late()  # type: ignore[assignment]
        assert Watch(watched.settings, other, timezone.utc).look(AT + 4001) == []
    assert watched.deliveries == ["scan_missed"]


def test_each_event_is_sent_before_the_one_that_says_it_is_over(watched: Watched) -> None:
    watched.look(AT - 60)
    watched.look(AT + 4000)
    watched.scan("LATE", AT + 5000)
    watched.look(AT + 5100)
    subjects = sql(watched.outbox, "SELECT subject FROM delivery WHERE name = 'scan_missed'")
    assert len(subjects) == 2 and len(set(subjects)) == 1 and subjects[0][0]


def test_when_it_looked_last_is_written_now_and_then_only(watched: Watched) -> None:
    for now, expected in ((AT, AT), (AT + 599, AT), (AT + 601, AT + 601), (AT - 9000, AT - 9000)):
        watched.look(now)
        assert watched.outbox.watch.all()[LOOKED].checked_at == expected


def test_states_of_what_is_gone_are_forgotten_after_a_year(watched: Watched) -> None:
    watched.look(AT - 9 * DAY)
    watched.nights(4)
    watched.look(AT)
    before = len(watched.outbox.watch.all())
    watched.look(AT + 500 * DAY, settings_for((), ["all"]))
    assert len(watched.outbox.watch.all()) < before


# --- a database that cannot be used


def test_a_locked_database_postpones_the_look(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sfwebhooks.scan.history.PAST_READ_SECONDS", 0.05)
    watched.look(AT - 60)
    with closing(sqlite3.connect(watched.database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        words = look_at_scans(watched.settings, watched.outbox)
        assert words == "scans are not watched now: SpiderFoot's database cannot be read: database is locked"
        other.execute("ROLLBACK")
    assert watched.look(AT + 4000) == [("scan_missed", False)]


@pytest.mark.parametrize("content", [b"", b"no database" * 1000], ids=["empty", "garbage"])
def test_a_damaged_database_misses_nothing(watched: Watched, content: bytes) -> None:
    watched.look(AT - 60)
    watched.database.write_bytes(content)
    assert "SpiderFoot's database cannot be read" in look_at_scans(watched.settings, watched.outbox)
    assert watched.deliveries == []


def test_without_a_database_only_the_outbox_is_looked_at(watched: Watched) -> None:
    watched.look(AT - 9 * DAY)
    watched.nights(4)
    watched.scan("SLOW", AT - 600, seconds=0)
    watched.look(AT)
    watched.database.unlink()
    assert watched.look(AT + 4000) == [("scan_missed", False)]


def test_rows_with_any_values_do_no_harm(watched: Watched) -> None:
    watched.look(AT - 9 * DAY)
    for number, value in enumerate((None, "text", b"\xff\0", 9e999, -9e999, 1e300, "\0" * 10, 10**18)):
        row = (f"X{number}", value, value, value, value, value, value)
        watched.change("INSERT INTO tbl_scan_instance VALUES (?, ?, ?, ?, ?, ?, ?)", *row)
        watched.change("INSERT INTO tbl_scan_config VALUES (?, ?, '_modulesenabled', ?)", f"X{number}", value, value)
    watched.change("UPDATE tbl_scan_instance SET name = ?", "x" * 5_000_000)
    watched.nights(4)
    assert look_at_scans(watched.settings, watched.outbox) == ""


def test_states_that_we_never_write_are_replaced(watched: Watched) -> None:
    watched.look(AT - 60)
    for value in ("", "[]", "nul", "{", '{"last_at": [1]}' * 2, "[" * 100_000):
        watched.outbox.close()
        rows_of(watched.outbox, "UPDATE watch SET data = ?, begun_at = NULL", value)
        assert watched.look(AT + 10) == []
        assert watched.outbox.watch.all()[LOOKED].checked_at == AT + 10


@pytest.mark.parametrize("value", ["{}", '{"last_at": "x", "number": 1}', '{"scan": 1, "usual": "x", "modules": [1]}'])
def test_states_with_garbage_are_replaced_too(watched: Watched, value: str) -> None:
    watched.look(AT - 9 * DAY)
    watched.nights(5)
    watched.scan("SLOW", AT - 600, seconds=0, failed=["sfp_a"])
    watched.scan("BAD", AT - 500, seconds=60, findings=20, failed=["sfp_a"])
    watched.look(AT)
    watched.outbox.close()
    rows_of(watched.outbox, "UPDATE watch SET data = ?, begun_at = 1.0", value)
    watched.look(AT + 10)
    watched.look(AT + 20)
    assert ("scan_missed", False) in watched.look(AT + DAY + 4000)


def test_a_target_is_named_in_the_outbox_only_while_it_is_not_well(tmp_path: Path) -> None:
    watched = Watched(tmp_path, (), ["scan_thin", "scan_overdue", "modules_degraded"])
    watched.look(AT - 9 * DAY)
    watched.nights(5)
    for night, values, is_named in ((0, {"findings": 1, "failed": ["sfp_a"]}, True), (1, {"findings": 20}, False)):
        watched.scan(f"X{night}", AT + night * DAY, **values)
        assert len(watched.events(AT + night * DAY + 700)) == 2
        assert ("acme" in json.dumps(sql(watched.outbox, "SELECT subject, data FROM watch"))) is is_named


def test_the_modules_of_old_scans_are_found_in_parts(watched: Watched) -> None:
    watched.scan("OLD", AT, modules="sfp_b,sfp_a")
    rows = [("OTHER", "GLOBAL", f"option{number}", "") for number in range(2 * CONFIG_ROWS + 10)]
    with closing(sqlite3.connect(watched.database)) as connection, connection:
        connection.executemany("INSERT INTO tbl_scan_config VALUES (?, ?, ?, ?)", rows)
    watched.scan("NEW", AT + 60, modules="sfp_a,sfp_b")
    history = read_history(watched.outbox, AT)
    assert len({history.lineage(history.scans[name]) for name in ("OLD", "NEW")}) == 1


def test_every_event_has_a_message_and_is_json(watched: Watched) -> None:
    watched.look(AT - 9 * DAY)
    watched.nights(4)
    watched.scan("X", AT - 3600, target="acme.test", name="x" * 3000, seconds=0)
    found = watched.events(AT + 4000)
    assert {event.type for event in found} <= WATCH_TYPES
    for event in found:
        assert 0 < len(event.data["message"]) < 500
        json.dumps(dict(event.data))
