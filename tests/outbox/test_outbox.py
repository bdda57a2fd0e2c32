from __future__ import annotations

import json
import stat
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest

from sfwebhooks.attempts import Attempt
from sfwebhooks.errors import OutboxBusyError, OutboxError
from sfwebhooks.events import Batch, Delivery, WebhookEvent, delivery_id, key_of, lifecycle_id
from sfwebhooks.health import Condition, Health
from sfwebhooks.outbox.claim import Limits
from sfwebhooks.outbox.endpoint_state import Orders
from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.queue import CRASH_SECONDS, CRASHES_MAX
from sfwebhooks.outbox.results import Result
from sfwebhooks.outbox.rows import TOGETHER
from sfwebhooks.outbox.unencodable import PROBLEMS_MAX
from sfwebhooks.retry import Settlement, State
from sfwebhooks.screening import Wanted
from sfwebhooks.severity import Severity
from tests.builders import NOW, a_scan, an_event, claim_one
from tests.conftest import sql
from tests.outbox_rows import rows_of
from tests.processes import Process, run

STORES = ("sqlite", "postgres")

ROOT = Path(__file__).parents[2]
LONGEST = 7200.0
QUEUE = Limits("team")
#: what an endpoint called "team" wants
TEAM = (Wanted("team", "high_risk_event"),)


def put(outbox: Outbox, *events: WebhookEvent, wanted: Sequence[Wanted] = TEAM, now: float = NOW) -> int:
    return outbox.accept([(event, wanted) for event in events], now)


def claim(outbox: Outbox, busy: Sequence[str] = (), now: float = NOW, endpoint: str = "team") -> Delivery:
    batch = claim_one(outbox, Limits(endpoint), busy, now)
    assert batch
    return batch.deliveries[0]


def settle(
    outbox: Outbox,
    delivery: Delivery,
    state: State = State.WAITING,
    due_at: float = NOW + 60,
    counts: bool = True,
    health: Health | None = None,
) -> None:
    attempt = Attempt(NOW, 0.1, 503, "http_503", "busy")
    settlement = Settlement(state, "http_503", due_at, counts)
    outcome = Result(Batch((delivery,)), attempt, [settlement])
    outbox.queue.settle([outcome], {delivery.endpoint: health} if health else {})


def rows(outbox: Outbox, query: str) -> list[tuple[object, ...]]:
    return rows_of(outbox, query)


def in_another_process(code: str, outbox: Outbox) -> str:
    """Run code in a Python of its own, with an Outbox of that place as `outbox`; return what it prints."""
    place = outbox.place
    words = f"Path({str(place)!r})" if isinstance(place, Path) else f"Dsn({place.text!r}, Path({str(place.folder)!r}))"
    head = (
        "from pathlib import Path; from sfwebhooks.outbox.outbox import Outbox\n"
        f"from sfwebhooks.outbox.postgres.dsn import Dsn; outbox = Outbox({words})\n"
    )
    done = run([], head + code)
    assert not done.stderr
    return done.stdout.strip()


# --- accept


def test_events_that_nobody_wants_are_no_new_deliveries(outbox: Outbox) -> None:
    assert outbox.accept([(an_event(1), ()), (an_event(2), [Wanted("team", "high_risk_event")])], NOW) == 1
    assert sql(outbox, "SELECT id FROM event") == [(an_event(2).id,)]


def test_what_is_accepted_comes_back_as_it_was(outbox: Outbox) -> None:
    event = an_event(data={"text": "żółć \U0001f41b", "list": [1, None]}, special="malware_detected")
    put(outbox, event)
    claimed = claim(outbox)
    assert claimed == Delivery(
        delivery_id(event.id, "team"), event, "team", "high_risk_event", claimed.series, sequence=1
    )


def test_an_event_goes_to_any_number_of_endpoints(outbox: Outbox) -> None:
    names = [Wanted(f"team{number}", f"name{number}") for number in range(2 * TOGETHER + 1)]
    items = [(an_event(1), names[:1]), (an_event(2), names), (an_event(3), names)]
    assert outbox.accept(items, NOW) == 2 * len(names) + 1
    found = rows(outbox, "SELECT endpoint, name, sequence FROM delivery ORDER BY number")
    second, third = ([(*name[:2], at + (name == names[0])) for name in names] for at in (1, 2))
    assert found == [(*names[0][:2], 1), *second, *third]


def test_a_delivery_knows_the_scan_that_was_begun(outbox: Outbox) -> None:
    scan = a_scan()
    outbox.scans.begin_scan(scan, an_event(scan=scan), TEAM, NOW)
    assert claim(outbox).event.scan == scan


def test_accepting_counts_the_new_deliveries(outbox: Outbox) -> None:
    assert put(outbox, an_event(1), an_event(2), wanted=(*TEAM, Wanted("siem", "all"))) == 4


def test_an_event_accepted_again_is_not_new(outbox: Outbox) -> None:
    put(outbox, an_event())
    assert put(outbox, an_event()) == 0


def test_an_event_accepted_again_is_still_one_delivery(outbox: Outbox) -> None:
    put(outbox, an_event(), an_event())
    assert outbox.scans.tallies()["waiting"] == 1


def test_a_delivered_event_accepted_again_stays_delivered(outbox: Outbox) -> None:
    put(outbox, an_event())
    settle(outbox, claim(outbox), State.DELIVERED)
    put(outbox, an_event())
    assert outbox.scans.tallies() == {"waiting": 0, "delivered": 1, "dead": 0}


def test_an_event_that_nobody_wants_is_not_kept(outbox: Outbox) -> None:
    put(outbox, an_event(), wanted=())
    assert rows(outbox, "SELECT count(*) FROM event") == [(0,)]


def test_an_event_is_stored_once_for_several_endpoints(outbox: Outbox) -> None:
    put(outbox, an_event(), wanted=(*TEAM, Wanted("siem", "all")))
    assert rows(outbox, "SELECT count(*) FROM event") == [(1,)]


def test_an_endpoint_added_later_gets_an_event_accepted_again(outbox: Outbox) -> None:
    put(outbox, an_event())
    assert put(outbox, an_event(), wanted=(*TEAM, Wanted("siem", "all"))) == 1


def failing(*events: WebhookEvent) -> Iterator[tuple[WebhookEvent, Sequence[Wanted]]]:
    """Yield events to be accepted, then fail as a database does from which they are read."""
    yield from ((event, TEAM) for event in events)
    raise OutboxError("no such column")


def test_nothing_stays_of_an_accept_that_fails(outbox: Outbox) -> None:
    with pytest.raises(OutboxError):
        outbox.accept(failing(an_event(1)), NOW)
    assert outbox.scans.tallies()["waiting"] == 0


def test_an_accept_that_failed_leaves_the_outbox_usable(outbox: Outbox) -> None:
    with pytest.raises(OutboxError):
        outbox.accept(failing(an_event()), NOW)
    assert put(outbox, an_event()) == 1


# --- what cannot be written


def circle() -> dict[str, Any]:
    made: dict[str, Any] = {}
    made["self"] = made
    return made


def deep() -> list[Any]:
    made: list[Any] = []
    for _ in range(100_000):
        made = [made]
    return made


UNWRITABLE: dict[str, dict[str, Any]] = {
    "an object": {"data": {"no JSON": object()}},
    "bytes": {"data": {"data": b"x"}},
    "a set": {"data": {"data": {1}}},
    "a key that is none": {"data": {(1, 2): 3}},
    "a circle": {"data": circle()},
    "a very deep list": {"data": {"data": deep()}},
    "no mapping": {"data": object()},
    "half a character in a name": {"special": "\ud800"},
    "half a character in an id": {"id": "\ud800"},
    "an id that is none": {"id": None},
    "no time": {"at": float("nan")},
    "a text for the time": {"at": "now"},
    "a number of 20,000 digits": {"data": {"data": 10**20_000}},
    "a problem": {"problem": "it has no hash"},
}


@pytest.mark.parametrize("name", UNWRITABLE)
def test_what_cannot_be_written_is_counted_alone(outbox: Outbox, name: str, caplog: pytest.LogCaptureFixture) -> None:
    odd = an_event(2, **UNWRITABLE[name])
    assert put(outbox, an_event(1), odd, an_event(3)) == 2
    assert numbers(outbox, "team", "5C4A0001") == [1, 2]
    assert outbox.scans.withheld("5C4A0001") == {"team": {"unwritable": 1}}
    assert len(caplog.messages) == 1 and "cannot be stored" in caplog.messages[0]


def test_many_with_the_same_problem_are_one_line_in_the_log(outbox: Outbox, caplog: pytest.LogCaptureFixture) -> None:
    put(outbox, *(an_event(number, data={"no JSON": object()}) for number in range(100)))
    assert (len(caplog.messages), outbox.scans.withheld("5C4A0001")) == (1, {"team": {"unwritable": 100}})


def test_one_that_is_offered_again_is_counted_once(outbox: Outbox) -> None:
    for _ in range(3):
        put(outbox, an_event(data={"no JSON": object()}))
    assert outbox.scans.withheld("5C4A0001") == {"team": {"unwritable": 1}}


def test_one_that_came_in_another_form_is_no_longer_counted(outbox: Outbox) -> None:
    put(outbox, *(an_event(number, data={"no JSON": object()}) for number in (1, 2)))
    outbox.scans.forget_withheld("5C4A0001", ["team"])
    put(outbox, an_event(1))
    outbox.recount_unwritable("5C4A0001")
    assert outbox.scans.withheld("5C4A0001") == {"team": {"unwritable": 1}}
    put(outbox, an_event(2))
    outbox.recount_unwritable("5C4A0001")
    assert outbox.scans.withheld("5C4A0001") == {}


def test_what_cannot_be_written_may_belong_to_no_scan(outbox: Outbox) -> None:
    put(outbox, an_event(scan=None, data={"no JSON": object()}))
    assert outbox.scans.withheld("") == {"team": {"unwritable": 1}}


def test_different_problems_are_logged_up_to_a_number(outbox: Outbox, caplog: pytest.LogCaptureFixture) -> None:
    put(outbox, *(an_event(number, problem=f"problem {number}") for number in range(PROBLEMS_MAX + 5)))
    put(outbox, an_event(100, problem="problem 1"))
    assert [record.levelname for record in caplog.records] == ["WARNING"] * PROBLEMS_MAX


def test_events_that_cannot_be_written_are_remembered_up_to_a_number(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sfwebhooks.outbox.unencodable.EVENTS_MAX", 2)
    for _ in range(2):
        put(outbox, *(an_event(number, problem="it has no hash") for number in (1, 2, 3)))
    assert outbox.scans.withheld("5C4A0001") == {"team": {"unwritable": 4}}, "the third one is counted again"


def test_what_another_process_could_not_write_stays_counted(outbox: Outbox) -> None:
    put(outbox, an_event(problem="it has no hash"))
    with closing(Outbox(outbox.place)) as another:
        another.recount_unwritable("5C4A0001")
    assert outbox.scans.withheld("5C4A0001") == {"team": {"unwritable": 1}}


def test_a_lack_of_memory_is_not_the_events_fault(outbox: Outbox) -> None:
    class Large(dict[str, Any]):
        def items(self) -> Any:
            raise MemoryError

    with pytest.raises(MemoryError):
        put(outbox, an_event(data=Large(text="x")))
    assert outbox.scans.withheld("5C4A0001") == {}


# --- sequence numbers


def numbers(outbox: Outbox, endpoint: str, scan_id: str) -> list[object]:
    query = f"""SELECT d.sequence FROM delivery d JOIN event e ON e.number = d.event
                WHERE d.endpoint = '{endpoint}' AND e.scan_id = '{scan_id}' ORDER BY d.number"""
    return [row[0] for row in rows(outbox, query)]


def test_numbers_count_from_one_without_gaps(outbox: Outbox) -> None:
    for number in range(1, 6):
        put(outbox, an_event(number))
    assert numbers(outbox, "team", "5C4A0001") == [1, 2, 3, 4, 5]


def test_a_repeated_event_takes_no_number(outbox: Outbox) -> None:
    put(outbox, an_event(1), an_event(1), an_event(2))
    assert numbers(outbox, "team", "5C4A0001") == [1, 2]


def test_each_endpoint_has_numbers_of_its_own(outbox: Outbox) -> None:
    put(outbox, an_event(1))
    put(outbox, an_event(2), wanted=(*TEAM, Wanted("siem", "all")))
    assert numbers(outbox, "siem", "5C4A0001") == [1]


def test_each_scan_has_numbers_of_its_own(outbox: Outbox) -> None:
    put(outbox, an_event(1), an_event(2, scan=a_scan("OTHER")))
    assert numbers(outbox, "team", "OTHER") == [1]


def test_an_accept_that_failed_takes_no_number(outbox: Outbox) -> None:
    with pytest.raises(OutboxError):
        outbox.accept(failing(an_event(1)), NOW)
    put(outbox, an_event(3))
    assert numbers(outbox, "team", "5C4A0001") == [1]


def test_two_processes_share_the_numbers_of_a_scan(outbox: Outbox) -> None:
    put(outbox, an_event(1))
    code = f"""
from sfwebhooks.screening import Wanted
from tests.builders import an_event
outbox.accept([(an_event(2), {TEAM!r})], 0.0)
"""
    in_another_process(code, outbox)
    put(outbox, an_event(3))
    assert numbers(outbox, "team", "5C4A0001") == [1, 2, 3]


def test_threads_that_accept_at_once_leave_no_gap(outbox: Outbox) -> None:
    other = Outbox(outbox.place, accepting=True)
    ready = threading.Barrier(2)

    def accept_some(box: Outbox, numbers: range) -> None:
        ready.wait()
        for number in numbers:
            put(box, an_event(number))

    threads = [
        threading.Thread(target=accept_some, args=(box, some))
        for box, some in ((outbox, range(0, 100)), (other, range(50, 150)))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    assert numbers(outbox, "team", "5C4A0001") == list(range(1, 151))


# --- scans


def ended(kind: str = "scan_completed") -> WebhookEvent:
    return an_event(id=lifecycle_id("5C4A0001", "ended"), type=kind, severity=Severity.INFO)


def begin(outbox: Outbox) -> None:
    event = an_event(id=lifecycle_id("5C4A0001", "started"), type="scan_started", severity=Severity.INFO)
    outbox.scans.begin_scan(a_scan(), event, (Wanted("team", "scan_started"),), NOW)


def test_a_scan_that_began_is_open(outbox: Outbox) -> None:
    begin(outbox)
    assert outbox.scans.open_scans() == [a_scan()]


def test_a_scan_begun_again_reports_its_start_once(outbox: Outbox) -> None:
    begin(outbox)
    begin(outbox)
    assert outbox.scans.tallies()["waiting"] == 1


def test_a_scan_whose_end_was_reported_is_not_open(outbox: Outbox) -> None:
    begin(outbox)
    outbox.scans.end_scan(ended(), TEAM, NOW)
    assert outbox.scans.open_scans() == []


def test_the_first_teller_of_an_end_wins(outbox: Outbox) -> None:
    begin(outbox)
    assert [outbox.scans.end_scan(ended(kind), TEAM, NOW) for kind in ("scan_failed", "scan_completed")] == [
        True,
        False,
    ]


def test_the_end_that_was_reported_second_is_not_delivered(outbox: Outbox) -> None:
    begin(outbox)
    for kind in ("scan_failed", "scan_completed"):
        outbox.scans.end_scan(ended(kind), (Wanted("team", kind),), NOW)
    assert rows(outbox, "SELECT name FROM delivery ORDER BY number") == [("scan_started",), ("scan_failed",)]


def test_the_end_of_a_scan_that_began_in_a_file_that_is_gone_is_reported_once(outbox: Outbox) -> None:
    assert [outbox.scans.end_scan(ended(), TEAM, NOW), outbox.scans.end_scan(ended(), TEAM, NOW)] == [True, False]


def test_an_end_that_nobody_wants_still_closes_the_scan(outbox: Outbox) -> None:
    begin(outbox)
    outbox.scans.end_scan(ended(), (), NOW)
    assert outbox.scans.open_scans() == []


def test_tallies_can_be_of_one_scan(outbox: Outbox) -> None:
    put(outbox, an_event(1), an_event(2, scan=a_scan("OTHER")))
    assert outbox.scans.tallies("OTHER")["waiting"] == 1


# --- claim


def test_nothing_is_claimed_from_an_empty_outbox(outbox: Outbox) -> None:
    assert claim_one(outbox, QUEUE, (), NOW) is None


def test_another_endpoints_delivery_is_not_claimed(outbox: Outbox) -> None:
    put(outbox, an_event())
    assert claim_one(outbox, Limits("siem"), (), NOW) is None


def test_fresh_deliveries_come_in_the_order_of_acceptance(outbox: Outbox) -> None:
    put(outbox, *(an_event(number) for number in (3, 1, 2)))
    busy: list[str] = []
    while batch := claim_one(outbox, QUEUE, busy, NOW):
        busy.append(batch.id)
    assert busy == [delivery_id(an_event(number).id, "team") for number in (3, 1, 2)]


def test_a_fresh_delivery_goes_before_a_late_one(outbox: Outbox) -> None:
    put(outbox, an_event(1))
    settle(outbox, claim(outbox), due_at=NOW)
    put(outbox, an_event(2))
    assert claim(outbox, now=NOW + 1).event.id == an_event(2).id


def test_the_late_delivery_that_is_due_longest_goes_first(outbox: Outbox) -> None:
    put(outbox, an_event(1), an_event(2))
    first = claim(outbox)
    settle(outbox, claim(outbox, busy=[first.id]), due_at=NOW + 10)
    settle(outbox, first, due_at=NOW + 20)
    assert claim(outbox, now=NOW + 30).event.id == an_event(2).id


def test_a_delivery_is_not_claimed_before_it_is_due(outbox: Outbox) -> None:
    put(outbox, an_event())
    settle(outbox, claim(outbox), due_at=NOW + 60)
    assert claim_one(outbox, QUEUE, (), NOW + 59.9) is None


def test_a_delivery_is_claimed_when_it_is_due(outbox: Outbox) -> None:
    put(outbox, an_event())
    settle(outbox, claim(outbox), due_at=NOW + 60)
    assert claim(outbox, now=NOW + 60).attempts == 1


def test_a_due_time_further_ahead_than_any_wait_is_due_now(outbox: Outbox) -> None:
    put(outbox, an_event())
    settle(outbox, claim(outbox), due_at=NOW + LONGEST + 1)
    outbox.due.pull("team", NOW, LONGEST)
    assert claim(outbox, now=NOW).attempts == 1


def test_a_due_time_within_the_longest_wait_stays(outbox: Outbox) -> None:
    put(outbox, an_event())
    settle(outbox, claim(outbox), due_at=NOW + LONGEST)
    outbox.due.pull("team", NOW, LONGEST)
    assert claim_one(outbox, QUEUE, (), NOW) is None


def test_an_attempt_that_does_not_count_leaves_the_delivery_fresh(outbox: Outbox) -> None:
    put(outbox, an_event())
    settle(outbox, claim(outbox), counts=False, due_at=NOW + 60)
    assert claim(outbox, now=NOW).attempts == 0


def test_a_delivery_in_flight_is_not_claimed_twice(outbox: Outbox) -> None:
    put(outbox, an_event())
    delivery = claim(outbox)
    assert claim_one(outbox, QUEUE, [delivery.id], NOW) is None


def test_deliveries_made_due_are_claimed_at_once(outbox: Outbox) -> None:
    put(outbox, an_event())
    settle(outbox, claim(outbox), due_at=NOW + 3600)
    outbox.due.make_due("team", NOW)
    assert claim(outbox, now=NOW)


# --- messages whose making kills


def blame(outbox: Outbox, delivery: Delivery, times: int) -> None:
    for _ in range(times):
        outbox.queue.blame(delivery.id, NOW)


def test_a_delivery_whose_process_ended_while_it_was_made_keeps_its_place(outbox: Outbox) -> None:
    put(outbox, an_event(1), an_event(2))
    blame(outbox, claim(outbox), 1)
    assert claim(outbox).event.id == an_event(1).id


def test_a_delivery_that_crashed_its_sender_twice_is_tried_again_after_a_while(outbox: Outbox) -> None:
    put(outbox, an_event())
    blame(outbox, claim(outbox), 2)
    assert claim_one(outbox, QUEUE, (), NOW + CRASH_SECONDS - 1) is None
    assert claim_one(outbox, QUEUE, (), NOW + CRASH_SECONDS)


def test_a_delivery_that_crashed_its_sender_three_times_is_dead(outbox: Outbox) -> None:
    put(outbox, an_event())
    blame(outbox, claim(outbox), CRASHES_MAX)
    assert rows(outbox, "SELECT state, reason, settled_at FROM delivery") == [("dead", "crashed_sender", NOW)]


def test_the_delivery_behind_one_that_crashed_its_senders_is_claimed(outbox: Outbox) -> None:
    put(outbox, an_event(1))
    blame(outbox, claim(outbox), CRASHES_MAX)
    put(outbox, an_event(2))
    assert claim(outbox).event.id == an_event(2).id


# --- settle


@pytest.mark.parametrize("state", [State.DELIVERED, State.DEAD])
def test_a_settled_delivery_is_not_claimed_again(outbox: Outbox, state: State) -> None:
    put(outbox, an_event())
    settle(outbox, claim(outbox), state)
    assert claim_one(outbox, QUEUE, (), NOW + LONGEST) is None


def test_a_settled_delivery_keeps_its_reason_and_time(outbox: Outbox) -> None:
    put(outbox, an_event())
    settle(outbox, claim(outbox), State.DEAD)
    assert rows(outbox, "SELECT state, reason, settled_at FROM delivery") == [("dead", "http_503", NOW + 0.1)]


def test_each_attempt_is_kept(outbox: Outbox) -> None:
    put(outbox, an_event())
    settle(outbox, claim(outbox), due_at=NOW)
    settle(outbox, claim(outbox))
    assert (
        rows(outbox, "SELECT status, reason, excerpt, cause FROM delivery_attempt")
        == [(503, "http_503", "busy", "schedule")] * 2
    )


def test_health_is_kept_with_the_settlement(outbox: Outbox) -> None:
    health = Health(Condition.HELD, "http_401", NOW, 1, NOW + 30, 2, "a fingerprint")
    put(outbox, an_event())
    settle(outbox, claim(outbox), health=health)
    assert Outbox(outbox.place).endpoints.health("team") == health


def test_an_endpoint_without_orders_is_neither_paused_nor_reset(outbox: Outbox) -> None:
    assert outbox.endpoints.orders("team") == Orders(paused_until=0.0, resets=0)


def test_an_endpoint_without_a_note_is_healthy(outbox: Outbox) -> None:
    assert outbox.endpoints.health("team") == Health()


# --- when the next one is due


def test_nothing_is_due_in_an_empty_outbox(outbox: Outbox) -> None:
    assert outbox.queue.next_due(Limits("team"), NOW) is None


def test_a_fresh_delivery_is_due_at_once(outbox: Outbox) -> None:
    put(outbox, an_event())
    assert outbox.queue.next_due(Limits("team"), NOW) == 0.0


def test_a_late_delivery_is_due_at_its_time(outbox: Outbox) -> None:
    put(outbox, an_event())
    settle(outbox, claim(outbox), due_at=NOW + 60)
    assert outbox.queue.next_due(Limits("team"), NOW) == NOW + 60


def test_a_settled_delivery_is_never_due(outbox: Outbox) -> None:
    put(outbox, an_event())
    settle(outbox, claim(outbox), State.DELIVERED)
    assert outbox.queue.next_due(Limits("team"), NOW) is None


# --- the file


def test_the_file_is_made_when_it_is_first_needed(tmp_path: Path) -> None:
    Outbox(tmp_path / FILE)
    assert not (tmp_path / FILE).exists()


@pytest.mark.sqlite("the file's permissions")
@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
def test_only_its_owner_can_read_the_file_and_its_log(outbox: Outbox, suffix: str) -> None:
    put(outbox, an_event())
    mode = outbox.path.with_name(FILE + suffix).stat().st_mode
    assert stat.S_IMODE(mode) == 0o600


def test_what_was_accepted_outlives_the_connection(outbox: Outbox) -> None:
    put(outbox, an_event())
    outbox.close()
    assert claim(outbox).event.id == an_event().id


def test_what_was_accepted_outlives_a_kill(outbox: Outbox) -> None:
    code = f"""
import os, signal
from sfwebhooks.screening import Wanted
from tests.builders import an_event
outbox.accept([(an_event(), {TEAM!r})], 0.0)
os.kill(os.getpid(), signal.SIGKILL)
"""
    in_another_process(code, outbox)
    assert claim(outbox).event.id == an_event().id


def test_a_second_outbox_in_the_process_does_not_let_go_of_the_first_ones_locks(tmp_path: Path) -> None:
    """To open and close the file by other means than SQLite drops the locks that SQLite holds on it: the next process
    that closes its connection then deletes the log, and all that is accepted afterwards is lost."""
    first, second = Outbox(tmp_path / FILE), Outbox(tmp_path / FILE)
    put(first, an_event(1))
    second.scans.tallies()
    in_another_process("outbox.scans.tallies(); outbox.close()", first)
    put(first, an_event(2))
    assert in_another_process("print(outbox.scans.tallies()['waiting'])", first) == "2"


def test_several_processes_can_make_the_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / FILE
    code = f"""
import sys
from pathlib import Path
from subprocess import PIPE
from sfwebhooks.screening import Wanted
from sfwebhooks.outbox.outbox import Outbox
from tests.builders import an_event
print("ready", flush=True)
sys.stdin.readline()
print(Outbox(Path({str(path)!r})).accept([(an_event(int(sys.argv[1])), {TEAM!r})], 0.0))
"""
    processes = [Process([number], code, stdin=PIPE, stdout=PIPE) for number in range(4)]
    for process in processes:
        assert process.stdout and process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.communicate()[0] for process in processes] == ["1\n"] * 4


def test_a_locked_file_can_still_be_read(outbox: Outbox) -> None:
    put(outbox, an_event())
    other = Outbox(outbox.place)
    with other.database.writing():
        assert outbox.queue.next_due(Limits("team"), NOW) == 0.0
    other.close()


def test_a_locked_file_is_busy_and_written_once_it_is_free(outbox: Outbox) -> None:
    put(outbox, an_event())
    other = Outbox(outbox.place)
    with other.database.writing(), pytest.raises(OutboxBusyError, match="locked"):
        put(outbox, an_event(2))
    other.close()
    assert put(outbox, an_event(2)) == 1


def test_a_folder_in_place_of_the_file_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    with pytest.raises(OutboxError, match=f"outbox {tmp_path / FILE} cannot be used"):
        Outbox(tmp_path / FILE).scans.tallies()


def test_a_missing_data_folder_is_named(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / FILE
    with pytest.raises(OutboxError, match=f"outbox {path} cannot be used: there is no folder {path.parent}"):
        Outbox(path).scans.tallies()


@pytest.mark.sqlite("the file's log")
def test_a_checkpoint_writes_the_log_back(outbox: Outbox) -> None:
    put(outbox, an_event())
    outbox.database.checkpoint()
    copy = outbox.path.with_name("copy.db")  # of the file alone, without its log
    copy.write_bytes(outbox.path.read_bytes())
    assert Outbox(copy).scans.tallies()["waiting"] == 1


def test_the_scans_side_never_spends_time_on_a_checkpoint(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / FILE, accepting=True)
    put(outbox, *(an_event(number, data={"data": "x" * 20_000}) for number in range(400)))  # > 1000 pages of 4096 bytes
    put(outbox, an_event(1000))
    assert (tmp_path / FILE).stat().st_size < 1000 * 4096


@pytest.mark.sqlite("the file's log")
def test_the_senders_side_writes_a_long_log_back(outbox: Outbox) -> None:
    put(outbox, *(an_event(number, data={"data": "x" * 20_000}) for number in range(400)))  # > 1000 pages of 4096 bytes
    put(outbox, an_event(1000))
    assert outbox.path.stat().st_size > 1000 * 4096


def test_data_is_stored_as_json(outbox: Outbox) -> None:
    put(outbox, an_event(data={"data": "a\nb"}))
    assert [json.loads(str(row[0])) for row in rows(outbox, "SELECT data FROM event")] == [{"data": "a\nb"}]


@pytest.mark.parametrize(
    ("stored", "read"),
    [(512.0, "512"), (0.0, "0"), (-3.0, "-3"), (-0.0, "0"), (0.1, "0.1"), (1e20, "1" + "0" * 20), (1e21, "1e+21")],
)
def test_a_number_is_read_as_javascript_would_write_it(outbox: Outbox, stored: float, read: str) -> None:
    put(outbox, an_event(data={"value": stored}))
    assert json.dumps(dict(claim(outbox).event.data)) == f'{{"value": {read}}}'


# --- numbers in a new series


def all_numbers(outbox: Outbox) -> list[tuple[int, int]]:
    """Return the series, in the order in which they were begun, and the number of each delivery."""
    query = "SELECT series, sequence FROM delivery ORDER BY number"
    return [(int(str(series)), int(str(number))) for series, number in rows(outbox, query)]


def test_what_is_left_of_a_scan_is_renumbered_in_its_order_and_the_end_goes(outbox: Outbox) -> None:
    put(outbox, *(an_event(number) for number in range(1, 7)), an_event(1, scan=a_scan("OTHER")))
    rows(outbox, "DELETE FROM delivery WHERE sequence IN (2, 5)")
    assert outbox.scans.deleted("5C4A0001", "team") == 2
    outbox.scans.renumber("5C4A0001", "team", an_event(6).id, NOW, 0.0)
    assert (all_numbers(outbox), outbox.scans.deleted("5C4A0001", "team")) == ([(2, 1), (2, 2), (2, 3), (1, 1)], 0)
    put(outbox, an_event(7), an_event(2, scan=a_scan("OTHER")))
    assert all_numbers(outbox)[-2:] == [(2, 4), (1, 2)]


def test_what_was_renumbered_while_it_was_sent_is_sent_with_its_new_number_too(outbox: Outbox) -> None:
    put(outbox, an_event(1))
    sent = claim(outbox)
    outbox.scans.renumber("5C4A0001", "team", "", NOW, 0.0)
    settle(outbox, sent, State.DELIVERED)
    again = claim(outbox)
    assert (again.id, again.sequence) == (sent.id, sent.sequence)
    assert again.series != sent.series
    settle(outbox, again, State.DELIVERED)
    assert claim_one(outbox, QUEUE, (), NOW + 1e6) is None


@pytest.mark.sqlite("the file is lost")
def test_what_was_sent_from_a_file_that_is_gone_settles_nothing_in_the_next_one(outbox: Outbox) -> None:
    put(outbox, an_event(1))
    sent = claim_one(outbox, Limits("team"), (), NOW)
    assert sent
    for suffix in ("", "-wal", "-shm"):
        outbox.path.with_name(outbox.path.name + suffix).unlink(missing_ok=True)
    put(outbox, an_event(2))  # its row has the same number
    settled = Settlement(State.DELIVERED, "http_200", 0.0, True)
    outbox.queue.settle([Result(sent, Attempt(NOW, 0.1, 200, "http_200", "ok"), [settled])])
    assert outbox.scans.tallies()["waiting"] == 1
    assert rows(outbox, "SELECT count(*) FROM delivery_attempt") == [(0,)]


def test_what_was_delivered_stays_so_whatever_another_sender_says(outbox: Outbox) -> None:
    put(outbox, an_event(1))
    first, second = claim(outbox), claim(outbox)
    settle(outbox, first, State.DELIVERED)
    settle(outbox, second, State.WAITING)
    assert outbox.scans.tallies() == {"waiting": 0, "delivered": 1, "dead": 0}


def test_a_row_that_got_the_number_of_one_that_is_gone_is_not_settled_in_its_place(outbox: Outbox) -> None:
    put(outbox, an_event(1))
    sent = claim_one(outbox, Limits("team"), (), NOW)
    assert sent
    sql(outbox, "DELETE FROM delivery")
    put(outbox, an_event(2, scan=a_scan("ANOTHER")))  # with the same number, and the first of its scan too
    settled = Settlement(State.DELIVERED, "http_200", 0.0, True)
    outbox.queue.settle([Result(sent, Attempt(NOW, 0.1, 200, "http_200", "ok"), [settled])])
    assert outbox.scans.tallies()["waiting"] == 1
    assert rows(outbox, "SELECT count(*) FROM delivery_attempt") == [(0,)]


def test_rubbish_with_a_word_of_ours_stops_nobody(outbox: Outbox) -> None:
    outbox.scans.begin_scan(a_scan(), an_event(9), [], NOW)
    put(outbox, an_event(1), an_event(2))
    event_key = key_of(an_event(1).id)
    sql(outbox, f"UPDATE event SET data = 'rubbish \"receipts\"' WHERE id = x'{event_key.hex()}'")
    assert [claim(outbox).event.id, claim(outbox, [claim(outbox).id]).event.id] == [an_event(1).id, an_event(2).id]
