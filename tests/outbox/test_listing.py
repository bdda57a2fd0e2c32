from __future__ import annotations

import itertools
from contextlib import closing
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from sfwebhooks.attempts import Attempt
from sfwebhooks.errors import OutboxError, SelectionError
from sfwebhooks.events import NO_ID, delivery_id, event_key_of
from sfwebhooks.outbox.claim import Limits
from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.listing import Backlog, Cursor, LastResults
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.records import Record
from sfwebhooks.outbox.results import Result
from sfwebhooks.outbox.selection import CHUNK, FEW, Selection
from sfwebhooks.reasons import DeadReason
from sfwebhooks.retry import Settlement, State
from sfwebhooks.severity import Severity
from tests.builders import NOW, a_scan, an_event, claim_one
from tests.conftest import sql
from tests.filled import an_id, begin, end, put, put_event, send
from tests.outbox_rows import steps
from tests.rows import in_one
from tests.tiers import quick_first

STORES = ("sqlite", "postgres")

ALL = Selection()
DAY = 86400.0
EXPIRED = DeadReason.EXPIRED


def ids(found: list[Record]) -> list[str]:
    return [record.id for record in found]


def plan(records: Outbox, selection: Selection) -> str:
    """Return how SQLite finds the newest ones of a selection."""
    records.database.fullness()  # makes the file
    query = f"EXPLAIN QUERY PLAN SELECT d.number FROM {selection.source} WHERE {selection.where} ORDER BY d.number DESC"
    with records.database.reading() as sql:
        return " ".join(row[3] for row in sql.execute(query, selection.values))


# --- listing


@pytest.mark.sqlite("SQLite's plan")
def test_a_delivery_is_found_by_its_id_without_reading_others(outbox: Outbox, records: Outbox) -> None:
    put(outbox, 1)
    steps = plan(records, Selection(ids=(an_id(1),)))
    assert "SEARCH e USING COVERING INDEX sqlite_autoindex_event_1 (scan=? AND id=?)" in steps
    assert "SEARCH d USING COVERING INDEX sqlite_autoindex_delivery_1 (event=? AND endpoint=?)" in steps
    assert "SCAN d" not in steps


def test_an_outbox_without_deliveries_lists_none(records: Outbox) -> None:
    assert records.listing.deliveries(ALL, 50) == []


def test_the_last_accepted_comes_first(outbox: Outbox, records: Outbox) -> None:
    put(outbox, 1, 2, 3)
    assert ids(records.listing.deliveries(ALL, 50)) == [an_id(3), an_id(2), an_id(1)]


def test_a_limit_keeps_the_newest(outbox: Outbox, records: Outbox) -> None:
    put(outbox, 1, 2, 3)
    assert ids(records.listing.deliveries(ALL, 2)) == [an_id(3), an_id(2)]


def test_more_deliveries_than_one_statement_names_are_listed_in_order(outbox: Outbox, records: Outbox) -> None:
    put(outbox, *range(2 * CHUNK + 1))
    assert ids(records.listing.deliveries(ALL, 5000)) == [an_id(number) for number in reversed(range(2 * CHUNK + 1))]


def test_a_record_has_all_that_is_known(outbox: Outbox, records: Outbox) -> None:
    scan = a_scan()
    begin(outbox, scan)
    put_event(outbox, an_event(1), name="finding.high")
    send(outbox, State.DEAD, "retries_exhausted: http_503", "busy", at=NOW + 5)
    found = records.listing.deliveries(ALL, 1)
    assert found == [
        Record(
            id=an_id(1),
            event_id=an_event(1).id,
            endpoint="team",
            name="finding.high",
            type="high_risk_event",
            severity=Severity.HIGH,
            scan_id=scan.id,
            target=scan.target,
            series=found[0].series,
            sequence=1,
            state=State.DEAD,
            reason="retries_exhausted: http_503",
            attempts=1,
            accepted_at=NOW,
            due_at=NOW + 65,
            settled_at=NOW + 5.125,
            replays=0,
            batch="",
            tries=1,
            last=Attempt(NOW + 5, 0.125, 503, "http_503", "busy"),
        )
    ]


def test_a_record_of_no_scan_has_no_target(outbox: Outbox, records: Outbox) -> None:
    put_event(outbox, an_event(scan=None))
    (record,) = records.listing.deliveries(ALL, 1)
    assert (record.scan_id, record.target, record.last) == ("", "", None)


def test_a_record_has_the_last_attempt(outbox: Outbox, records: Outbox) -> None:
    put(outbox, 1)
    send(outbox, State.WAITING, "http_503", "first")
    send(outbox, State.WAITING, "timeout", "second", at=NOW + 60)
    (record,) = records.listing.deliveries(ALL, 1)
    assert record.last == Attempt(NOW + 60, 0.125, None, "timeout", "second")


# --- filters


@pytest.fixture
def varied(outbox: Outbox) -> Outbox:
    """Deliveries of two scans to two endpoints under three names, in three states, accepted one a second."""
    scans = (a_scan(), a_scan("5C4A0002"))
    names = ("high_risk_event", "finding.high", "scan_completed")
    for number, (endpoint, scan, name) in enumerate(itertools.product(("team", "siem"), scans, names)):
        event = an_event(number, scan=scan, type="scan_completed" if name == "scan_completed" else "high_risk_event")
        put_event(outbox, event, endpoint, name, at=NOW + number)
    for state in (State.DELIVERED, State.DEAD):
        for endpoint in ("team", "siem"):
            send(outbox, state, endpoint=endpoint, at=NOW + 100)
    return outbox


@in_one("endpoint", ["", "team", "nobody"])
@in_one("scan", ["", "5C4A0002"])
@in_one("type", ["", "high_risk_event", "*high*", "scan_*", "nothing"])
@pytest.mark.parametrize(
    "states", quick_first([(), (State.DEAD,), (State.WAITING,), (State.DELIVERED,), (State.DEAD, State.WAITING)], 2)
)
def test_each_filter_excludes_deliveries_that_do_not_match(
    varied: Outbox, records: Outbox, endpoint: str, scan: str, type: str, states: tuple[State, ...]
) -> None:
    selection = Selection(endpoint, scan, type, states)
    wanted = [
        one
        for one in records.listing.deliveries(ALL, 50)
        if endpoint in ("", one.endpoint)
        and scan in ("", one.scan_id)
        and (not type or fnmatchcase(one.name, type) or fnmatchcase(one.type, type))
        and (not states or one.state in states)
    ]
    assert records.listing.deliveries(selection, 50) == wanted
    assert sum(number for found in records.listing.counts(selection).values() for number in found.values()) == len(
        wanted
    )


def test_an_event_is_found_by_its_type_under_whatever_name_it_went(outbox: Outbox, records: Outbox) -> None:
    put_event(outbox, an_event(1), name="finding.high")
    assert ids(records.listing.deliveries(Selection(type="high_risk_event"), 50)) == [an_id(1)]


def test_since_takes_what_was_accepted_then_and_until_does_not(outbox: Outbox, records: Outbox) -> None:
    for number in (1, 2, 3):
        put(outbox, number, at=NOW + number)
    assert ids(records.listing.deliveries(Selection(since=NOW + 2), 50)) == [an_id(3), an_id(2)]
    assert ids(records.listing.deliveries(Selection(until=NOW + 2), 50)) == [an_id(1)]


def test_the_beginning_of_time_is_a_time_too(outbox: Outbox, records: Outbox) -> None:
    put(outbox, 1)
    assert (records.listing.deliveries(Selection(until=0.0), 50), Selection(until=0.0).is_all) == ([], False)


def test_ids_are_a_filter(outbox: Outbox, records: Outbox) -> None:
    put(outbox, 1, 2, 3)
    assert ids(records.listing.deliveries(Selection(ids=(an_id(1), an_id(3), "unknown")), 50)) == [an_id(3), an_id(1)]


def test_ids_can_be_many(outbox: Outbox, records: Outbox) -> None:
    put(outbox, 1)
    many = tuple(f"unknown-{number}" for number in range(100_000))
    assert ids(records.listing.deliveries(Selection(ids=(*many, an_id(1))), 50)) == [an_id(1)]


@pytest.mark.parametrize("unknown", [0, FEW])
def test_ids_are_those_of_deliveries_of_any_scan_or_of_none(outbox: Outbox, records: Outbox, unknown: int) -> None:
    events = [an_event(number, scan=a_scan(f"SCAN{number}")) for number in range(4)] + [an_event(4, scan=None)]
    for event in events:
        put_event(outbox, event, "siem")
        put_event(outbox, event)
    chosen = [delivery_id(event.id, "team") for event in events[1:]]
    others = [f"unknown-{number}" for number in range(unknown)]
    assert ids(records.listing.deliveries(Selection(ids=(*chosen, *others)), 50)) == chosen[::-1]
    for event, id in zip(events[1:], chosen):
        found = records.listing.delivery(id)
        assert found
        assert (found.id, found.event.id, found.event.scan) == (id, event.id, event.scan)
        assert records.listing.find(id[:20]).id == id


@pytest.mark.parametrize("text", ["' OR 1 --", "\0", 'a"b', "%", "ü\U0001f41b"])
def test_a_filter_is_a_value_and_no_part_of_the_query(outbox: Outbox, records: Outbox, text: str) -> None:
    put(outbox, 1)
    assert records.listing.deliveries(Selection(endpoint=text, scan=text, type=text, ids=(text,)), 50) == []


@pytest.mark.sqlite("SQLite's plan")
@pytest.mark.parametrize(
    ("selection", "index"),
    [
        (Selection(states=(State.DEAD,)), "delivery_settled"),
        (Selection(states=(State.DEAD,), endpoint="team"), "delivery_settled"),
        (Selection(states=(State.DEAD,), ids=("a",)), "sqlite_autoindex_delivery_1"),
        (Selection(scan="5C4A0001"), "sqlite_autoindex_event_1"),
    ],
)
def test_what_is_rare_is_found_by_an_index(records: Outbox, selection: Selection, index: str) -> None:
    assert index in plan(records, selection)


@pytest.mark.sqlite("SQLite's plan")
@pytest.mark.parametrize(
    "selection",
    [ALL, Selection(endpoint="team"), Selection(states=(State.DELIVERED,)), Selection(type="high*", since=NOW)],
)
def test_what_is_frequent_is_read_from_the_end_until_there_is_enough(records: Outbox, selection: Selection) -> None:
    assert "delivery_settled" not in plan(records, selection)
    assert "ORDER BY" not in plan(records, selection)


# --- one


def test_a_delivery_is_found_by_its_id(outbox: Outbox, records: Outbox) -> None:
    put(outbox, 1, 2, 3)
    assert records.listing.find(an_id(2)).id == an_id(2)


@pytest.mark.parametrize("form", [lambda id: id[:8], lambda id: id[:4], lambda id: id[:13].upper()])
def test_the_beginning_of_an_id_is_enough(outbox: Outbox, records: Outbox, form: object) -> None:
    put(outbox, 1, 2, 3)
    assert callable(form) and records.listing.find(form(an_id(2))).id == an_id(2)


def rename(outbox: Outbox, *beginnings: str) -> list[str]:
    """Give team's deliveries other ids; return these."""
    ids = [f"{beginning}{NO_ID[len(beginning) :]}" for beginning in beginnings]
    for number, identity in enumerate(ids, 1):
        which = f"number = (SELECT event FROM delivery WHERE number = {number})"
        key = event_key_of(identity, "team")
        assert key
        sql(outbox, f"UPDATE event SET id = x'{key.hex()}' WHERE {which}")
    return ids


def test_a_beginning_that_several_share_is_reported_with_the_matches(outbox: Outbox, records: Outbox) -> None:
    put(outbox, *range(12))
    ids = rename(outbox, *(f"abcd{number:04}" for number in range(11)), "b")
    shown = ", ".join(f"{identity} to team" for identity in ids[:10])
    with pytest.raises(SelectionError, match=rf'more than one delivery .* "abcd": {shown}, \.\.\.'):
        records.listing.find("abcd")
    rename(outbox, *(f"abcd{number:04}" for number in range(10)), "c")
    with pytest.raises(SelectionError, match=rf'more than one delivery .* "abcd": {shown}$'):
        records.listing.find("abcd")


def test_a_delivery_is_found_by_its_events_id(outbox: Outbox, records: Outbox) -> None:
    put(outbox, 1, 2)
    assert records.listing.find(an_event(2).id[:12]).id == an_id(2)


@pytest.mark.parametrize(
    ("state", "said"),
    [(None, "no delivery,"), (State.DEAD, "no dead letter,"), (State.DELIVERED, "no delivered delivery,")],
)
def test_what_is_not_found_is_named_by_its_state(records: Outbox, state: State | None, said: str) -> None:
    with pytest.raises(SelectionError, match=said):
        records.listing.find("beef", state)


def test_a_beginning_may_be_shared_with_one_of_another_state(outbox: Outbox, records: Outbox) -> None:
    put(outbox, 1, 2)
    send(outbox, State.DEAD)
    ids = rename(outbox, "abcd1", "abcd2")
    assert records.listing.find("abcd", State.DEAD).id == ids[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("beef", 'no delivery, nor the event of one, has an id that starts with "beef"'),
        ("", "too short"),
        ("abc", "too short"),
    ],
)
def test_a_malformed_id_is_reported(records: Outbox, text: str, words: str) -> None:
    with pytest.raises(SelectionError, match=words):
        records.listing.find(text)


def test_the_message_about_a_wrong_id_moves_no_cursor(records: Outbox) -> None:
    with pytest.raises(SelectionError) as raised:
        records.listing.find("\x1b[2Jabcd\n")
    assert str(raised.value).isprintable()


def test_a_delivery_comes_with_its_event(outbox: Outbox, records: Outbox) -> None:
    put(outbox, 1)
    delivery = records.listing.delivery(an_id(1))
    assert delivery and delivery.event.data == an_event(1).data
    assert records.listing.delivery("unknown") is None


# --- attempts


def test_the_attempts_come_in_their_order(outbox: Outbox, records: Outbox) -> None:
    put(outbox, 1, 2)
    send(outbox, State.WAITING, "http_503", "first")
    send(outbox, State.WAITING, "http_503", "another's")
    send(outbox, State.DELIVERED, "http_200", "second", at=NOW + 60)
    assert [attempt.excerpt for attempt in records.listing.attempts(an_id(1))] == ["first", "second"]


def test_new_attempts_come_once(outbox: Outbox, records: Outbox) -> None:
    put(outbox, 1, 2)
    send(outbox)
    last = records.listing.last_attempt()
    send(outbox, excerpt="new")
    found, last = records.listing.attempts_since(last, ALL)
    assert [(record.id, attempt.excerpt) for record, attempt in found] == [(an_id(2), "new")]
    assert records.listing.attempts_since(last, ALL) == ([], last)


def test_new_attempts_pass_the_filters(outbox: Outbox, records: Outbox) -> None:
    put(outbox, 1)
    put(outbox, 2, endpoint="siem")
    send(outbox)
    send(outbox, endpoint="siem")
    found, last = records.listing.attempts_since(Cursor(0), Selection(endpoint="siem"))
    assert ([record.endpoint for record, _ in found], last) == (["siem"], 2)
    assert records.listing.attempts_since(Cursor(0), Selection(ids=("unknown",))) == ([], 2)


def test_new_attempts_are_seen_after_the_last_ones_were_deleted(outbox: Outbox, records: Outbox) -> None:
    put(outbox, 1, 2)
    send(outbox, State.DEAD)
    last = records.listing.last_attempt()
    records.retention.drop(ALL)
    _, last = records.listing.attempts_since(last, ALL)
    send(outbox)
    assert len(records.listing.attempts_since(last, ALL)[0]) == 1


# --- counts, and trouble


def test_the_counts_are_by_endpoint_and_state(outbox: Outbox, records: Outbox) -> None:
    put(outbox, 1, 2, 3)
    put(outbox, 1, endpoint="siem")
    send(outbox)
    assert records.listing.counts(ALL) == {"team": {"waiting": 2, "delivered": 1}, "siem": {"waiting": 1}}


def test_a_file_that_is_not_a_database_is_reported(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"no database at all" * 100)
    with pytest.raises(OutboxError, match="set aside"):
        Outbox(tmp_path / FILE).listing.counts(ALL)


def test_a_backlog_has_what_was_refused_its_age_and_what_is_due(outbox: Outbox, records: Outbox) -> None:
    assert records.listing.backlog("team") == Backlog() == Backlog(0, 0, None, None)
    put(outbox, 1, at=NOW)
    batch = claim_one(outbox, Limits("team"), (), NOW)
    assert batch
    refused = Settlement(State.WAITING, "refused: http_403", NOW + 60, False, refused=True, refused_in=1)
    outbox.queue.settle([Result(batch, Attempt(NOW, 0.1, 403, "http_403", "no"), [refused])])
    assert records.listing.backlog("team") == Backlog(1, 1, NOW, NOW + 60)
    put(outbox, 2, 3, at=NOW + 5)
    put(outbox, 2, 3, at=NOW + 5, endpoint="siem")
    assert records.listing.backlog("team") == Backlog(3, 1, NOW, NOW + 5)


def test_the_last_words_for_an_endpoint_are_those_of_its_reason(outbox: Outbox, records: Outbox) -> None:
    assert records.listing.last_words("team", "http_403") == ""
    put(outbox, 1, 2, 3)
    for reason, words in (("http_403", "first"), ("http_403", "second"), ("http_500", "another")):
        send(outbox, State.DEAD, reason, words)
    assert (records.listing.last_words("team", "http_403"), records.listing.last_words("siem", "http_403")) == (
        "second",
        "",
    )


def test_the_last_scans_are_known_the_newest_first(outbox: Outbox, records: Outbox) -> None:
    for number in range(3):
        scan = a_scan(f"SCAN{number}")
        outbox.scans.begin_scan(scan, an_event(scan=scan, id=f"begin-{number}"), (), NOW + number)
    assert records.listing.scans(2) == ["SCAN2", "SCAN1"]


def test_endpoints_and_scans_are_known_after_their_numbers_began_again(tmp_path: Path) -> None:
    path = tmp_path / FILE
    with closing(Outbox(path, boot=lambda: "a boot")) as first:
        put(first, 1, endpoint="siem", scan=a_scan("OLD"))
        log = path.with_name(f"{FILE}-wal").read_bytes()
    path.with_name(f"{FILE}-wal").write_bytes(log)  # as after a power failure
    path.with_name(f"{FILE}-wal").chmod(0o600)
    with closing(Outbox(path, boot=lambda: "another boot")) as second:
        put(second, 2, endpoint="alpha", scan=a_scan("NEW"))
        assert second.listing.endpoints() == ["alpha", "siem"]
        assert [second.listing.knows(scan) for scan in ("OLD", "NEW", "NONE")] == [True, True, False]
        assert sql(second, "SELECT endpoint FROM earlier") == [("siem",)], "one of them is known from there only"


def test_the_oldest_waiting_delivery_of_an_endpoint_has_a_time(outbox: Outbox, records: Outbox) -> None:
    assert records.listing.oldest("team") is None
    for number in (3, 1, 2):
        put(outbox, number, at=NOW + number)
    put(outbox, 4, endpoint="siem", at=NOW)
    assert records.listing.oldest("team") == NOW + 1


@pytest.mark.parametrize(
    "tried",
    [
        "attempts = 1",
        "due_at = due_at + 60",
        "due_at = due_at - 60",
        "crashes = 2, due_at = due_at + 60",
        "batch = 'a'",
    ],
)
def test_a_delivery_is_as_old_once_it_was_tried(outbox: Outbox, records: Outbox, tried: str) -> None:
    for number in (1, 2):
        put(outbox, number, at=NOW + number)
    sql(outbox, f"UPDATE delivery SET {tried} WHERE number = 1")
    assert records.listing.oldest("team") == NOW + 1
    assert records.listing.backlog("team") == replace(records.listing.backlog("team"), waiting=2, oldest_at=NOW + 1)
    assert records.retention.expire("team", EXPIRED, DAY, NOW + DAY + 1.5) == 1
    assert (records.listing.oldest("team"), records.listing.backlog("team").waiting) == (NOW + 2, 1)


@pytest.mark.sqlite("a server takes no such text")
def test_a_text_that_is_not_utf_8_is_listed_with_a_sign_in_its_place(outbox: Outbox) -> None:
    put(outbox, 1, 2)
    sql(outbox, "UPDATE delivery SET reason = CAST(x'68ff' AS TEXT) WHERE number = 1")
    with closing(Outbox(outbox.place, listing=True)) as listed:
        found = listed.listing.deliveries(Selection(), 9)
    assert [record.reason for record in found] == ["", "h\ufffd"]


# --- the last results of an endpoint


def test_the_last_success_and_the_last_failure_of_each_endpoint_are_found(records: Outbox) -> None:
    put(records, *range(6))
    put(records, 7, 8, endpoint="other")
    assert records.listing.last_results(["team"]) == {"team": LastResults()}
    for at, (state, reason) in enumerate(
        [(State.DELIVERED, "http_200"), (State.WAITING, "http_503"), (State.DEAD, "refused: http_403")]
    ):
        send(records, state, reason, at=NOW + at)
    send(records, State.DELIVERED, "hec_acknowledged", at=NOW + 3)
    send(records, State.WAITING, "timeout", endpoint="other", at=NOW + 4)
    found = records.listing.last_results(["team", "other", "nobody"])
    assert (found["team"].delivered_at, found["team"].failed) == (
        NOW + 3.125,
        Attempt(NOW + 2, 0.125, 403, "http_403", "ok"),
    )
    assert (found["other"].delivered_at, found["other"].failed and found["other"].failed.reason) == (None, "timeout")
    assert found["nobody"] == LastResults()


@pytest.mark.parametrize("number", [1, 2])
def test_only_the_last_results_of_all_are_looked_at(
    records: Outbox, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr("sfwebhooks.outbox.listing.RESULTS", number)
    put(records, 1)
    put(records, 2, endpoint="other")
    send(records, at=NOW)
    send(records, endpoint="other", at=NOW + 1)
    assert (records.listing.last_results(["team", "other"])["team"].delivered_at is None) is (number == 1)


def test_what_can_be_deleted_is_what_is_of_no_running_scan(outbox: Outbox) -> None:
    over, running, silent = (a_scan(f"S{number}") for number in range(3))
    for scan in (over, running, silent):
        begin(outbox, scan)
    put(outbox, 1, scan=over)
    put(outbox, 2, scan=running)
    put(outbox, 3, 4, scan=over)
    put(outbox, 5, scan=running)
    put_event(outbox, an_event(6, scan=None))
    for _ in range(6):
        send(outbox, State.DEAD, "http_410")
    end(outbox, over)
    assert outbox.listing.counts(ALL, over=True) == {"team": {"dead": 4}}
    end(outbox, running)
    assert outbox.listing.counts(ALL, over=True) == {"team": {"dead": 6}}


@pytest.mark.sqlite("SQLite's steps")
@pytest.mark.parametrize("is_running", [False, True])
def test_events_from_before_the_running_scans_are_not_looked_up(outbox: Outbox, is_running: bool) -> None:
    over, running = a_scan("S1"), a_scan("S2")
    begin(outbox, over)
    put(outbox, *range(200), scan=over)
    end(outbox, over)
    if is_running:
        begin(outbox, running)
        put(outbox, 300, scan=running)
    with steps(outbox) as of_all:
        outbox.listing.counts(ALL)
    with steps(outbox) as of_these:
        outbox.listing.counts(ALL, over=True)
    assert of_these[0] < 1.5 * of_all[0]
