"""`sfwebhooks move`: an endpoint's waiting deliveries go to another endpoint, once, with that one's ids and numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sfwebhooks.delivery.moving import move
from sfwebhooks.delivery.send_queue import SendQueue
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import SelectionError
from sfwebhooks.events import Scan, delivery_id, lifecycle_id
from sfwebhooks.outbox.claim import Limits
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.records import Record
from sfwebhooks.outbox.selection import Selection
from sfwebhooks.retry import State
from sfwebhooks.screening import Wanted
from sfwebhooks.severity import Severity
from tests.builders import NOW, a_scan, an_endpoint, an_event, claim_one
from tests.conftest import Clock, Result, Team, sql
from tests.filled import begin, end, put, put_event, send

STORES = ("sqlite", "postgres")

OLD = Selection("old")


@pytest.fixture
def records(outbox: Outbox) -> Outbox:
    return Outbox(outbox.place)


def an_id(number: int, endpoint: str = "new") -> str:
    return delivery_id(an_event(number).id, endpoint)


def a_new(**values: Any) -> Endpoint:
    return an_endpoint("new", **{"events": ("all",), **values})


def waiting(records: Outbox) -> list[Record]:
    """Return what waits, in the order in which it goes out."""
    return records.listing.deliveries(Selection(states=(State.WAITING,)), 100)[::-1]


def an_end(outbox: Outbox, scan: Scan, *endpoints: str) -> None:
    event = an_event(
        scan=scan,
        id=lifecycle_id(scan.id, "ended"),
        type="scan_completed",
        severity=Severity.INFO,
        data={"events_found": 5},
    )
    assert outbox.scans.end_scan(event, [Wanted(name, event.type) for name in endpoints], NOW)


def test_waiting_deliveries_go_to_the_other_endpoint_in_their_order(outbox: Outbox, records: Outbox) -> None:
    put(outbox, 1, 2, 3, endpoint="old")
    send(outbox, endpoint="old")
    assert move(outbox, OLD, a_new(), NOW + 60) == 2
    assert [(one.id, one.endpoint, one.sequence, one.accepted_at) for one in waiting(records)] == [
        (an_id(2), "new", 1, NOW + 60),
        (an_id(3), "new", 2, NOW + 60),
    ]
    assert records.listing.counts(Selection()) == {"new": {"waiting": 2}, "old": {"delivered": 1}}


def test_an_end_that_the_other_endpoint_does_not_ask_for_stays_and_is_not_counted(
    outbox: Outbox, records: Outbox
) -> None:
    begin(outbox, a_scan())
    put(outbox, 1, endpoint="old")
    an_end(outbox, a_scan(), "old")
    assert move(outbox, OLD, a_new(events=("high_risk_event",)), NOW) == 1
    assert [(one.endpoint, one.name) for one in waiting(records)] == [
        ("old", "scan_completed"),
        ("new", "high_risk_event"),
    ]


def test_a_moved_delivery_is_as_if_it_were_accepted_now(outbox: Outbox, records: Outbox) -> None:
    put(outbox, 1, endpoint="old")
    send(outbox, State.WAITING, "http_503", "busy", endpoint="old")
    move(outbox, OLD, a_new(), NOW + 60)
    (found,) = waiting(records)
    assert (found.attempts, found.reason, found.last, found.due_at) == (0, "", None, NOW + 60)
    assert sql(outbox, "SELECT count(*) FROM delivery_attempt") == [(0,)]


def test_a_moved_delivery_is_named_as_the_other_endpoint_asks_for_it(outbox: Outbox, records: Outbox) -> None:
    put(outbox, 1, endpoint="old")
    move(outbox, OLD, a_new(events=("finding.high",)), NOW)
    assert [one.name for one in waiting(records)] == ["finding.high"]


def test_what_the_other_endpoint_does_not_ask_for_stays(outbox: Outbox, records: Outbox) -> None:
    put(outbox, 1, endpoint="old")
    put_event(outbox, an_event(2, type="info_event", severity=Severity.INFO), "old")
    assert move(outbox, OLD, a_new(events=("high_risk_event",)), NOW) == 1
    assert [(one.endpoint, one.name) for one in waiting(records)] == [("old", "info_event"), ("new", "high_risk_event")]


@pytest.mark.parametrize("state", list(State))
def test_what_the_other_endpoint_has_is_not_sent_to_it_twice(outbox: Outbox, records: Outbox, state: State) -> None:
    begin(outbox, a_scan())
    put(outbox, 1, endpoint="new")
    if state is not State.WAITING:
        send(outbox, state, endpoint="new")
    put(outbox, 1, 2, endpoint="old")
    end(outbox, a_scan())
    assert move(outbox, OLD, a_new(), NOW) == 2
    assert [(one.id, one.sequence) for one in waiting(records)][-1:] == [(an_id(2), 2)]
    assert records.listing.find(an_id(1)).state is state
    assert "old" not in records.listing.counts(Selection())


def test_recovery_does_not_bring_back_what_was_moved(outbox: Outbox, records: Outbox) -> None:
    put(outbox, 1, endpoint="old")
    move(outbox, OLD, a_new(), NOW)
    put(outbox, 1, endpoint="new")
    assert [one.id for one in waiting(records)] == [an_id(1)]


def test_what_is_of_a_running_scan_stays_until_its_end(outbox: Outbox, records: Outbox) -> None:
    begin(outbox, a_scan())
    put(outbox, 1, endpoint="old")
    assert move(outbox, OLD, a_new(), NOW) == 0
    end(outbox, a_scan())
    assert move(outbox, OLD, a_new(), NOW) == 1


def test_the_end_of_a_scan_comes_last_with_a_receipt_of_its_own(outbox: Outbox, records: Outbox) -> None:
    scan = a_scan()
    begin(outbox, scan)
    put(outbox, 1, 2, endpoint="old")
    send(outbox, endpoint="old")
    an_end(outbox, scan, "old")
    assert move(outbox, OLD, a_new(), NOW) == 2
    assert [(one.type, one.sequence) for one in waiting(records)] == [("high_risk_event", 1), ("scan_completed", 2)]
    send(outbox, endpoint="new")
    end = claim_one(outbox, Limits("new", size=5), (), NOW + 60)
    assert end is not None
    receipt = end.deliveries[0].event.data["receipt"]
    assert (receipt["first_sequence"], receipt["last_sequence"]) == (1, 2)


def test_a_move_that_was_killed_between_is_ended_by_the_next(outbox: Outbox, records: Outbox) -> None:
    scan = a_scan()
    begin(outbox, scan)
    an_end(outbox, scan, "old", "new")  # as it is when the end was accepted, and not yet taken away
    assert move(outbox, OLD, a_new(), NOW) == 1
    assert [(one.endpoint, one.type) for one in waiting(records)] == [("new", "scan_completed")]


def test_only_what_is_chosen_is_moved(outbox: Outbox, records: Outbox) -> None:
    put(outbox, 1, 2, endpoint="old")
    assert move(outbox, Selection("old", ids=(an_id(2, "old"),)), a_new(), NOW) == 1
    assert [one.id for one in waiting(records)] == [an_id(1, "old"), an_id(2)]


def test_what_a_process_may_be_sending_is_not_moved(outbox: Outbox, records: Outbox) -> None:
    put(outbox, 1, endpoint="old")
    sender = outbox.locks.endpoint("old")
    sender.take()
    with pytest.raises(SelectionError, match="is sending to old"):
        move(outbox, OLD, a_new(), NOW)
    sender.release()
    assert move(outbox, OLD, a_new(), NOW) == 1


def test_what_was_moved_is_delivered_under_its_new_id(
    outbox: Outbox, records: Outbox, team: Team, new_queue: Callable[..., SendQueue], clock: Clock
) -> None:
    put(outbox, 1, 2, endpoint="old")
    target = a_new(url=team.url)
    move(outbox, OLD, target, clock.now)
    queue = new_queue(target)
    assert (queue.step(), queue.step(), queue.step()) == (True, True, False)
    assert (team.ids, team.sequences) == ([an_id(1), an_id(2)], [1, 2])


# --- the command


@pytest.fixture
def configured(tmp_path: Path) -> None:
    (tmp_path / "webhooks.ini").write_text(
        "[webhooks.new]\nurl = https://new.example/\nevents = all\n[webhooks.some]\nurl = https://some.example/\n"
        "events = scan_*\n"
    )


@pytest.mark.usefixtures("configured")
def test_the_command_moves_waiting_deliveries(cli: Callable[..., Result], outbox: Outbox, records: Outbox) -> None:
    put(outbox, 1, 2, endpoint="old")
    result = cli("move", "--endpoint", "old", "--to", "new")
    assert (result.code, result.out) == (0, "2 deliveries moved to new.\n")
    assert [one.endpoint for one in waiting(records)] == ["new", "new"]


@pytest.mark.usefixtures("configured")
def test_the_command_says_what_is_left(cli: Callable[..., Result], outbox: Outbox) -> None:
    put(outbox, 1, endpoint="old")
    result = cli("move", "--endpoint", "old", "--to", "some")
    assert result.words == (
        "0 deliveries moved to some. 1 delivery left: some does not subscribe to them, or their scan is still running."
    )


@pytest.mark.usefixtures("configured")
def test_a_dry_run_moves_nothing(cli: Callable[..., Result], outbox: Outbox, records: Outbox) -> None:
    put(outbox, 1, endpoint="old")
    result = cli("move", "--endpoint", "old", "--to", "new", "--dry-run")
    assert result.words == "endpoint waiting old 1 1 delivery; nothing was changed (--dry-run)."
    assert [one.endpoint for one in waiting(records)] == ["old"]


@pytest.mark.usefixtures("configured")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--endpoint", "old", "--to", "nowhere"], 'there is no endpoint "nowhere"; there are: new, some'),
        (["--endpoint", "new", "--to", "new"], "--endpoint and --to name the same endpoint, new"),
        (["--endpoint", "odl", "--to", "new"], 'has no deliveries for an endpoint "odl"'),
        (["--all", "--to", "new"], "--endpoint NAME is required: the endpoint whose deliveries are moved"),
        (["--endpoint", "new", "--to", "some"], "no waiting delivery matches the filters"),
    ],
)
def test_a_move_that_cannot_be_is_an_error(
    cli: Callable[..., Result], outbox: Outbox, arguments: list[str], said: str
) -> None:
    put(outbox, 1, endpoint="old")
    put(outbox, 2, endpoint="new")
    send(outbox, endpoint="new")
    result = cli("move", *arguments)
    assert (result.code, result.out, said in result.err) == (1, "", True)
