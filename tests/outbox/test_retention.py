from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from sfwebhooks.attempts import Attempt
from sfwebhooks.errors import OutboxError
from sfwebhooks.events import delivery_id
from sfwebhooks.outbox.bulk import change_in_chunks
from sfwebhooks.outbox.claim import Limits
from sfwebhooks.outbox.database import Sql
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.records import Record
from sfwebhooks.outbox.results import Result
from sfwebhooks.outbox.retention import WAITING_SINCE
from sfwebhooks.outbox.selection import Selection
from sfwebhooks.reasons import DeadReason
from sfwebhooks.retry import Settlement, State
from sfwebhooks.screening import Wanted
from tests.builders import NOW, a_scan, an_endpoint, an_event, claim_one
from tests.conftest import sql
from tests.filled import an_id, begin, end, put, put_event, send
from tests.tiers import quick_first

STORES = ("sqlite", "postgres")

ALL = Selection()
DAY = 86400.0
EXPIRED = DeadReason.EXPIRED


def one(records: Outbox, number: int) -> Record:
    return records.listing.find(an_id(number))


def left(records: Outbox) -> set[str]:
    return {record.id for record in records.listing.deliveries(ALL, 10_000)}


def rows_of(outbox: Outbox, table: str) -> int:
    return int(sql(outbox, f"SELECT count(*) FROM {table}")[0][0])


# --- what is ended


def test_a_waiting_delivery_is_ended_as_a_dead_letter(outbox: Outbox, records: Outbox) -> None:
    put(outbox, 1, 2)
    send(outbox)
    assert records.retention.end(ALL, NOW + 5) == 1
    ended = one(records, 2)
    assert (ended.state, ended.reason, ended.settled_at) == (State.DEAD, "dropped", NOW + 5)
    assert one(records, 1).state is State.DELIVERED


@pytest.mark.parametrize(
    ("state", "reason", "after"),
    [
        (State.WAITING, "http_503", (State.DEAD, "dropped")),
        (State.DEAD, "retries_exhausted: http_503", (State.DEAD, "dropped")),
        (State.DELIVERED, "http_200", (State.DELIVERED, "http_200")),
    ],
)
def test_what_was_in_flight_when_it_was_ended_is_ended_unless_it_was_delivered(
    outbox: Outbox, records: Outbox, state: State, reason: str, after: tuple[State, str]
) -> None:
    put(outbox, 1)
    batch = claim_one(outbox, Limits("team"), (), NOW)
    assert batch
    records.retention.end(ALL, NOW)
    attempt = Attempt(NOW, 0.1, 503, reason, "")
    outbox.queue.settle([Result(batch, attempt, [Settlement(state, reason, NOW + 60, True)])])
    assert (one(records, 1).state, one(records, 1).reason) == after


# --- replay


def test_a_replayed_delivery_is_as_if_it_were_accepted_now(outbox: Outbox, records: Outbox) -> None:
    put(outbox, 1)
    send(outbox, State.DEAD, "http_400")
    before = one(records, 1)
    assert records.retention.replay(ALL, NOW + 100) == 1
    assert one(records, 1) == replace(
        before,
        state=State.WAITING,
        reason="",
        attempts=0,
        accepted_at=NOW + 100,
        due_at=NOW + 100,
        settled_at=None,
        replays=1,
    )


@pytest.mark.parametrize("interval", [1.0, 30_000.0, 300_000.0])
def test_a_paced_replay_is_never_early(outbox: Outbox, records: Outbox, interval: float) -> None:
    put(outbox, 1, 2, 3)
    for _ in range(3):
        send(outbox)
    records.retention.replay(ALL, NOW + 100, interval)
    queue, busy, due = Limits("team"), [an_id(1)], NOW + 100 + interval
    assert claim_one(outbox, queue, busy, due - 0.5) is None
    assert claim_one(outbox, queue, busy, due)


def test_a_paced_replay_is_not_too_old_before_its_time(outbox: Outbox, records: Outbox) -> None:
    put(outbox, 1, 2)
    for _ in range(2):
        send(outbox)
    records.retention.replay(ALL, NOW, 10 * 86400.0)
    records.retention.expire("team", EXPIRED, 7 * 86400.0, NOW + 9 * 86400.0)
    assert (one(records, 1).state, one(records, 2).state) == (State.DEAD, State.WAITING)


def test_a_replayed_delivery_goes_out_under_its_id_and_is_marked(outbox: Outbox, records: Outbox) -> None:
    put(outbox, 1)
    send(outbox)
    records.retention.replay(ALL, NOW + 100)
    batch = claim_one(outbox, Limits("team"), (), NOW + 100)
    assert batch and (batch.id, batch.deliveries[0].replayed) == (an_id(1), True)


def test_a_replay_forgets_batch_and_crashes(outbox: Outbox, records: Outbox) -> None:
    put(outbox, 1)
    claim_one(outbox, Limits("team", size=10), (), NOW + 60)
    outbox.queue.blame(an_id(1), NOW)
    send(outbox, State.DEAD, at=NOW + 60)
    sql(outbox, "UPDATE delivery SET refusals = 3, refused_in = 1")
    records.retention.replay(ALL, NOW)
    assert sql(outbox, "SELECT crashes, batch, refusals, refused_in FROM delivery") == [(0, None, 0, None)]


def test_waiting_deliveries_are_not_replayed(outbox: Outbox, records: Outbox) -> None:
    put(outbox, 1, 2)
    send(outbox)
    assert records.retention.replay(ALL, NOW + 100) == 1
    assert one(records, 2).replays == 0


def test_a_replay_takes_what_is_selected_only(outbox: Outbox, records: Outbox) -> None:
    put(outbox, 1, 2, 3)
    for state in (State.DELIVERED, State.DEAD, State.DEAD):
        send(outbox, state)
    assert records.retention.replay(Selection(states=(State.DEAD,), ids=(an_id(1), an_id(2))), NOW) == 1
    assert [one(records, number).replays for number in (1, 2, 3)] == [0, 1, 0]


def test_a_replay_of_waiting_deliveries_replays_nothing(outbox: Outbox, records: Outbox) -> None:
    put(outbox, 1, 2)
    send(outbox)
    assert records.retention.replay(Selection(states=(State.WAITING,)), NOW) == 0


def test_a_replay_can_be_replayed(outbox: Outbox, records: Outbox) -> None:
    put(outbox, 1)
    for _ in range(2):
        send(outbox, at=NOW + 100)
        records.retention.replay(ALL, NOW + 100)
    assert one(records, 1).replays == 2


def test_a_replay_goes_in_order_at_its_own_pace(outbox: Outbox, records: Outbox) -> None:
    put(outbox, 3, 1, 2)
    for _ in range(3):
        send(outbox)
    records.retention.replay(ALL, NOW, 2.5)
    assert [one(records, number).due_at - NOW for number in (3, 1, 2)] == [0.0, 2.5, 5.0]


# --- drop


def test_dead_letters_are_dropped_with_all_that_is_theirs_alone(outbox: Outbox, records: Outbox) -> None:
    put(outbox, 1, 2)
    send(outbox, State.WAITING)
    send(outbox, State.DEAD)
    send(outbox, State.DEAD, at=NOW + 60)
    assert records.retention.drop(Selection(ids=(an_id(1),))) == 1
    assert left(records) == {an_id(2)}
    assert [rows_of(outbox, table) for table in ("event", "delivery_attempt")] == [1, 1]


@pytest.mark.parametrize("selection", [ALL, Selection(states=tuple(State)), Selection(states=(State.DELIVERED,))])
def test_only_dead_letters_are_dropped(outbox: Outbox, records: Outbox, selection: Selection) -> None:
    put(outbox, 1, 2)
    send(outbox)
    assert (records.retention.drop(selection), left(records)) == (0, {an_id(1), an_id(2)})


def test_an_event_that_is_another_endpoints_too_is_not_dropped(outbox: Outbox, records: Outbox) -> None:
    event = an_event(1)
    outbox.accept([(event, [Wanted("team", event.type), Wanted("siem", event.type)])], NOW)
    send(outbox, State.DEAD)
    records.retention.drop(ALL)
    assert (left(records), rows_of(outbox, "event")) == ({an_id(1, "siem")}, 1)


def test_a_dead_letter_of_a_running_scan_is_dropped_once_its_end_is_reported(outbox: Outbox, records: Outbox) -> None:
    scan = a_scan()
    begin(outbox, scan)
    put(outbox, 1)
    send(outbox, State.DEAD)
    assert (records.retention.drop(ALL), outbox.scans.known_events(scan.id)) == (0, {an_event(1).id})
    end(outbox, scan)
    assert records.retention.drop(ALL) == 1


# --- move, and take away


def test_waiting_deliveries_are_moved_to_an_endpoint_that_asks_for_them(outbox: Outbox, records: Outbox) -> None:
    put_event(outbox, an_event(1, subject="one subject"))
    put_event(outbox, an_event(2), name="finding.high")
    siem = an_endpoint("siem", events=("all",))
    assert records.retention.move(ALL, siem, NOW + 9) == 2
    assert left(records) == {an_id(1, "siem"), an_id(2, "siem")}
    assert sql(outbox, "SELECT subject, accepted_at, name FROM delivery ORDER BY number") == [
        ("one subject", NOW + 9, "high_risk_event"),
        (None, NOW + 9, "high_risk_event"),
    ]
    assert rows_of(outbox, "event") == 2


def test_what_the_other_endpoint_does_not_ask_for_stays(outbox: Outbox, records: Outbox) -> None:
    put(outbox, 1)
    assert records.retention.move(ALL, an_endpoint("siem", events=("scan_started",)), NOW) == 0
    assert left(records) == {an_id(1)}


def test_what_is_not_moved_is_what_is_settled_of_a_running_scan_or_an_end(outbox: Outbox, records: Outbox) -> None:
    begin(outbox, a_scan())
    put(outbox, 1, scan=a_scan("OTHER"))
    send(outbox)
    put(outbox, 2)
    put_event(outbox, an_event(3, scan=a_scan("OTHER"), type="scan_completed"))
    before = left(records)
    assert records.retention.move(ALL, an_endpoint("siem", events=("all",)), NOW) == 0
    assert left(records) == before


def test_the_waiting_ends_of_scans_are_found(outbox: Outbox, records: Outbox) -> None:
    put(outbox, 1)
    ends = [an_event(number, type="scan_failed", scan=a_scan(f"SCAN{number}")) for number in (2, 3, 4)]
    for end_of in ends:
        put_event(outbox, end_of)
    for _ in range(2):
        send(outbox)
    expected = [(delivery_id(end_of.id, "team"), end_of.id) for end_of in ends[1:]]
    assert records.retention.ends(ALL) == expected
    assert records.retention.ends(Selection(endpoint="siem")) == []


def test_waiting_deliveries_are_taken_away_with_their_events(outbox: Outbox, records: Outbox) -> None:
    put(outbox, 1, 2)
    send(outbox)
    assert records.retention.take_away(ALL) == 1
    assert (left(records), rows_of(outbox, "event")) == ({an_id(1)}, 1)


# --- age


def test_a_delivery_that_waits_too_long_is_a_dead_letter(outbox: Outbox, records: Outbox) -> None:
    put(outbox, 1)
    put(outbox, 2, at=NOW + 2)
    assert records.retention.expire("team", EXPIRED, DAY, NOW + DAY + 1) == 1
    old, young = one(records, 1), one(records, 2)
    assert (old.state, old.reason, old.settled_at) == (State.DEAD, "expired", NOW + DAY + 1)
    assert young.state is State.WAITING


@pytest.mark.sqlite("SQLite's plan")
def test_old_deliveries_are_sought_in_indexes_only(outbox: Outbox) -> None:
    put(outbox, 1)
    plan = sql(outbox, "EXPLAIN QUERY PLAN " + WAITING_SINCE.replace("?1", "'team'").replace("?2", "1"))
    assert [row[3] for row in plan if " USING INDEX " in row[3] and "<expr>>" not in row[3]] == [
        "SEARCH d USING INDEX delivery_fresh (<expr>=? AND endpoint=?)",
        "SEARCH delivery USING INDEX delivery_overtaken (endpoint=?)",
        "SEARCH delivery USING INDEX delivery_late_age (endpoint=? AND accepted_at<?)",
    ]


def test_deliveries_to_another_endpoint_do_not_expire(outbox: Outbox, records: Outbox) -> None:
    for endpoint in ("a", "b"):
        put(outbox, 1, endpoint=endpoint)
    assert records.retention.expire("a", EXPIRED, DAY, NOW + 2 * DAY) == 1
    assert records.listing.counts(ALL) == {"a": {"dead": 1}, "b": {"waiting": 1}}


def test_the_age_counts_from_the_replay(outbox: Outbox, records: Outbox) -> None:
    put(outbox, 1)
    send(outbox)
    records.retention.replay(ALL, NOW + 9 * DAY)
    assert records.retention.expire("team", EXPIRED, DAY, NOW + 9 * DAY + 60) == 0


def test_what_is_settled_does_not_age(outbox: Outbox, records: Outbox) -> None:
    put(outbox, 1)
    send(outbox)
    assert records.retention.expire("team", EXPIRED, DAY, NOW + 9 * DAY) == 0


def test_names_of_any_order_and_kind_are_found_among_the_waiting(outbox: Outbox, records: Outbox) -> None:
    names = ["", "\U0001f41b", "Z", "a", "zz", *(["a\0b"] if isinstance(outbox.place, Path) else [])]
    for name in names:
        put(outbox, 1, 2, endpoint=name)
    sql(outbox, "UPDATE delivery SET attempts = 1 WHERE endpoint IN ('', 'a', 'zz')")
    assert records.retention.waiting_endpoints() == sorted(names)


# --- prune


@pytest.mark.parametrize(("state", "keep_seconds"), [(State.DELIVERED, DAY), (State.DEAD, 3 * DAY)])
def test_what_was_settled_long_ago_goes_by_the_time_of_its_state(
    outbox: Outbox, records: Outbox, state: State, keep_seconds: float
) -> None:
    put(outbox, 1)
    send(outbox, state)
    settled_at = NOW + 0.125
    assert records.retention.prune(settled_at + keep_seconds, DAY, 3 * DAY) == 0
    assert records.retention.prune(settled_at + keep_seconds + 1, DAY, 3 * DAY) == 1
    assert [rows_of(outbox, table) for table in ("delivery", "event", "delivery_attempt")] == [0, 0, 0]


def test_waiting_deliveries_are_never_pruned(outbox: Outbox, records: Outbox) -> None:
    put(outbox, 1)
    send(outbox, State.WAITING)
    assert (records.retention.prune(NOW + 1000 * DAY, 0, 0), left(records)) == (0, {an_id(1)})


def test_an_event_that_waits_for_another_endpoint_is_not_pruned(outbox: Outbox, records: Outbox) -> None:
    event = an_event(1)
    outbox.accept([(event, [Wanted("team", event.type), Wanted("siem", event.type)])], NOW)
    send(outbox)
    assert (records.retention.prune(NOW + 9 * DAY, DAY, DAY), rows_of(outbox, "event")) == (1, 1)


def test_what_recovery_must_know_of_a_running_scan_is_not_pruned(outbox: Outbox, records: Outbox) -> None:
    running, over = a_scan(), a_scan("5C4A0002")
    for scan in (running, over):
        begin(outbox, scan)
        put(outbox, 1, scan=scan)
        send(outbox)
    end(outbox, over)
    assert (records.retention.prune(NOW + 9 * DAY, DAY, DAY), left(records)) == (1, {an_id(1)})


def test_what_is_of_no_scan_is_pruned(outbox: Outbox, records: Outbox) -> None:
    put_event(outbox, an_event(scan=None))
    send(outbox)
    assert records.retention.prune(NOW + 9 * DAY, DAY, DAY) == 1


def test_a_prune_in_pieces_takes_the_oldest_first(outbox: Outbox, records: Outbox) -> None:
    fill(outbox, 700)  # what was accepted last was settled first
    assert records.retention.prune(NOW + 9 * DAY, DAY, DAY, chunks=1) == 500
    assert sql(outbox, "SELECT min(number), max(number) FROM delivery") == [(1, 200)]
    assert records.retention.prune(NOW + 9 * DAY, DAY, DAY, chunks=1) == 200


def test_a_piece_is_shared_by_delivered_and_dead(outbox: Outbox, records: Outbox) -> None:
    fill(outbox, 700)
    sql(outbox, "UPDATE delivery SET state = 'delivered' WHERE number <= 300")
    assert records.retention.prune(NOW + 9 * DAY, DAY, DAY, chunks=1) == 500
    assert records.listing.counts(ALL) == {"team": {"dead": 200}}


# --- beside a scan


def fill(outbox: Outbox, count: int) -> None:
    put(outbox, *range(count))
    sql(outbox, f"UPDATE delivery SET state = 'dead', settled_at = {NOW!r} - number")


@pytest.mark.parametrize(
    "change",
    quick_first(
        [
            lambda records: records.retention.replay(ALL, NOW),
            lambda records: records.retention.drop(ALL),
            lambda records: records.retention.prune(NOW + 9 * DAY, DAY, DAY),
        ]
    ),
    ids=["replay", "drop", "prune"],
)
def test_a_scan_can_write_while_thousands_are_changed(
    outbox: Outbox, records: Outbox, change: Callable[[Outbox], int]
) -> None:
    fill(outbox, 5000)
    done = threading.Event()
    trouble: list[OutboxError] = []
    written: list[tuple[int]] = []

    def scan() -> None:
        with closing(Outbox(outbox.place)) as other:
            while not done.is_set():
                try:
                    with other.database.writing() as its:
                        its.execute("INSERT INTO withheld VALUES ('scan', 'team', ?, 1)", (str(len(written)),))
                    with other.database.reading() as its:
                        written.append(its.execute("SELECT count(*) FROM delivery WHERE state = 'dead'").fetchone())
                except OutboxError as error:
                    trouble.append(error)
                time.sleep(0.002)  # a scan does other things too

    thread = threading.Thread(target=scan)
    thread.start()
    try:
        assert change(records) == 5000
    finally:
        done.set()
        thread.join()
    assert not trouble
    assert {count for (count,) in written} - {0, 5000}, "nothing was written between two transactions"


@pytest.mark.parametrize(
    ("change", "when", "then"),
    [
        (lambda records: records.retention.replay(ALL, NOW), "UPDATE", "state = 'waiting', replays = 7"),
        (lambda records: records.retention.drop(ALL), "DELETE", "state = 'waiting', replays = 7"),
        (lambda records: records.retention.drop(ALL), "DELETE", "state = 'delivered', replays = 7"),
        (lambda records: records.retention.prune(NOW + 9 * DAY, DAY, DAY), "DELETE", "state = 'waiting', replays = 7"),
        (
            lambda records: records.retention.prune(NOW + 9 * DAY, DAY, DAY),
            "DELETE",
            f"settled_at = {NOW + 9 * DAY}, replays = 7",
        ),
    ],
    ids=["replay", "drop what waits", "drop what is delivered", "prune what waits", "prune what is new"],
)
def test_a_delivery_that_changed_since_it_was_selected_is_left_alone(
    outbox: Outbox, records: Outbox, change: Callable[[Outbox], int], when: str, then: str
) -> None:
    fill(outbox, 700)
    sql(  # the last one changes in the first transaction
        outbox,
        f"CREATE TRIGGER meanwhile AFTER {when} ON delivery WHEN old.number IN (1, 700) AND old.replays < 7"
        f" BEGIN UPDATE delivery SET {then} WHERE number = 701 - old.number; END",
    )
    assert change(records) == 699
    assert sql(outbox, "SELECT count(*) FROM delivery WHERE replays = 7") == [(1,)]


def test_what_was_delivered_when_its_turn_comes_does_not_age(outbox: Outbox, records: Outbox) -> None:
    put(outbox, *range(700))
    sql(
        outbox,
        "CREATE TRIGGER meanwhile AFTER UPDATE ON delivery WHEN old.number = 1"
        " BEGIN UPDATE delivery SET state = 'delivered' WHERE number = 700; END",
    )
    assert records.retention.expire("team", EXPIRED, DAY, NOW + 9 * DAY) == 699
    assert records.listing.counts(ALL) == {"team": {"dead": 699, "delivered": 1}}


@pytest.mark.sqlite("the file is lost")
def test_numbers_of_a_file_that_was_set_aside_are_not_used_in_the_new_one(outbox: Outbox, records: Outbox) -> None:
    fill(outbox, 10)

    def meanwhile(connection: Sql) -> list[int]:
        numbers = [row[0] for row in connection.execute("SELECT number FROM delivery")]
        outbox.close()
        for suffix in ("", "-wal", "-shm"):
            outbox.path.with_name(outbox.path.name + suffix).unlink(missing_ok=True)
        fill(outbox, 10)
        return numbers

    assert change_in_chunks(records.database, meanwhile, lambda connection, chunk: len(chunk)) == 0
