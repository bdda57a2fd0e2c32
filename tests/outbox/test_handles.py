"""What receivers called our messages: recorded with the result of an attempt, and known to the next claim."""

from __future__ import annotations

from sfwebhooks.attempts import Attempt
from sfwebhooks.events import Batch, Handle
from sfwebhooks.outbox.claim import Limits
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.results import Result
from sfwebhooks.outbox.retention import HANDLE_SECONDS
from sfwebhooks.outbox.selection import Selection
from sfwebhooks.retry import Settlement, State
from sfwebhooks.screening import Wanted
from tests.builders import NOW, an_event
from tests.conftest import sql

STORES = ("sqlite", "postgres")

HANDLE = Handle("where", "17")
DELIVERED = Settlement(State.DELIVERED, "http_200", NOW, counts=True)
FAILED = Settlement(State.WAITING, "http_503", NOW, counts=True)


def put(outbox: Outbox, number: int, subject: str | None = "progress", endpoint: str = "team") -> None:
    event = an_event(number, type="scan_progress", subject=subject)
    outbox.accept([(event, [Wanted(endpoint, "scan_progress")])], NOW)


def claimed(outbox: Outbox, endpoint: str = "team") -> Batch:
    (batch,) = outbox.queue.claim(endpoint, (), NOW + 60)
    return batch


def settle(outbox: Outbox, batch: Batch, settlement: Settlement, handle: Handle | None = None) -> None:
    if settlement.pending:
        settlement = Settlement(State.WAITING, "pending", NOW, False, batch.id, pending=True)
    attempt = Attempt(NOW, 0.1, 200, settlement.reason, "", "schedule")
    outbox.queue.settle([Result(batch, attempt, [settlement] * len(batch.deliveries), handle)])


PENDING = Settlement(State.WAITING, "pending", NOW, counts=False, pending=True)


def test_the_next_delivery_about_a_subject_knows_what_the_receiver_called_it(outbox: Outbox) -> None:
    put(outbox, 1)
    put(outbox, 2)
    put(outbox, 3, subject="another")
    put(outbox, 4, subject=None)
    first = claimed(outbox)
    assert first.deliveries[0].handle is None
    settle(outbox, first, DELIVERED, HANDLE)
    found = [batch.deliveries[0] for batch in outbox.queue.claim("team", (), NOW, 9)]
    assert [(one.sequence, one.handle) for one in found] == [(2, HANDLE), (3, None), (4, None)]
    assert found[0].event.subject == "progress"


def test_one_endpoint_does_not_know_what_another_ones_receiver_called_it(outbox: Outbox) -> None:
    put(outbox, 1)
    settle(outbox, claimed(outbox), DELIVERED, HANDLE)
    put(outbox, 2, endpoint="soc")
    assert claimed(outbox, "soc").deliveries[0].handle is None


def test_it_stays_known_until_the_receiver_says_something_new(outbox: Outbox) -> None:
    put(outbox, 1)
    settle(outbox, claimed(outbox), DELIVERED, HANDLE)
    put(outbox, 2)
    settle(outbox, claimed(outbox), FAILED)
    assert claimed(outbox).deliveries[0].handle == HANDLE
    settle(outbox, claimed(outbox), DELIVERED)
    put(outbox, 3)
    assert claimed(outbox).deliveries[0].handle == HANDLE
    settle(outbox, claimed(outbox), DELIVERED, Handle("where", "18"))
    put(outbox, 4)
    assert claimed(outbox).deliveries[0].handle == Handle("where", "18")


def test_a_pending_request_has_a_name_of_its_own_until_it_is_delivered(outbox: Outbox) -> None:
    put(outbox, 1)
    settle(outbox, claimed(outbox), PENDING, HANDLE)
    assert claimed(outbox).deliveries[0].handle == HANDLE
    settle(outbox, claimed(outbox), PENDING, Handle("where", "17/2"))
    assert claimed(outbox).deliveries[0].handle == Handle("where", "17/2")
    settle(outbox, claimed(outbox), DELIVERED, Handle("where", ""))
    assert sql(outbox, "SELECT count(*) FROM handle") == [(0,)]
    put(outbox, 2)
    assert claimed(outbox).deliveries[0].handle is None, "the name of the request is not that of its subject"


def test_the_members_of_a_pending_batch_stay_together(outbox: Outbox) -> None:
    limits = Limits("team", size=3)
    for number in range(1, 6):
        put(outbox, number, subject=None)
    batch = outbox.queue.claim_batch(limits, (), NOW)
    assert batch
    settle(outbox, batch, PENDING, HANDLE)
    others = outbox.queue.claim_batch(limits, (), NOW)
    assert others and [one.sequence for one in others.deliveries] == [4, 5], "fresh ones go first"
    settle(outbox, others, DELIVERED)
    again = outbox.queue.claim_batch(limits, (), NOW)
    assert again and again.id == batch.id
    assert [one.handle for one in again.deliveries] == [HANDLE] * 3


def test_what_is_forgotten_by_the_receiver_is_found_under_no_name(outbox: Outbox) -> None:
    put(outbox, 1)
    settle(outbox, claimed(outbox), DELIVERED, HANDLE)
    put(outbox, 2)
    settle(outbox, claimed(outbox), PENDING, Handle("where", ""))
    assert claimed(outbox).deliveries[0].handle is None
    settle(outbox, claimed(outbox), DELIVERED, Handle("where", "18"))
    put(outbox, 3)
    assert claimed(outbox).deliveries[0].handle == Handle("where", "18")


def test_a_replayed_delivery_is_no_longer_pending(outbox: Outbox) -> None:
    put(outbox, 1, subject=None)
    settle(outbox, claimed(outbox), PENDING, HANDLE)
    outbox.retention.end(Selection(), NOW)
    outbox.retention.replay(Selection(), NOW)
    assert claimed(outbox).deliveries[0].handle is None


def test_names_are_kept_longer_than_deliveries_but_not_for_ever(outbox: Outbox) -> None:
    put(outbox, 1)
    settle(outbox, claimed(outbox), DELIVERED, HANDLE)
    later = NOW + HANDLE_SECONDS - 1
    outbox.retention.prune(later, 60.0, 60.0)
    put(outbox, 2)
    assert claimed(outbox).deliveries[0].handle == HANDLE
    outbox.retention.prune(later + 2, 60.0, 60.0)
    assert claimed(outbox).deliveries[0].handle is None


def test_a_pending_request_has_no_name_once_its_dead_letter_is_dropped(outbox: Outbox) -> None:
    put(outbox, 1, subject=None)
    settle(outbox, claimed(outbox), PENDING, HANDLE)
    assert sql(outbox, "SELECT count(*) FROM handle") == [(1,)]
    outbox.retention.end(Selection(), NOW)
    outbox.retention.drop(Selection())
    assert sql(outbox, "SELECT count(*) FROM handle") == [(0,)]
