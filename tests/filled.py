"""Deliveries in each state, put into an outbox as scans and senders do it."""

from __future__ import annotations

from sfwebhooks.attempts import Attempt
from sfwebhooks.events import Scan, WebhookEvent, delivery_id, lifecycle_id
from sfwebhooks.fingerprints import lineage_of
from sfwebhooks.health import Condition, Health
from sfwebhooks.outbox.claim import Limits
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.results import Result
from sfwebhooks.outbox.watch import WatchChange, WatchState
from sfwebhooks.reasons import Withheld
from sfwebhooks.retry import Settlement, State
from sfwebhooks.screening import Wanted
from tests.builders import NOW, a_scan, an_event, claim_one
from tests.outbox_rows import rows_of

#: text with all that a terminal, a table or a log could take for more than text
HOSTILE = "[red]\x1b[2J\x1b]0;owned\x07\nnext\x00\r\x7f\x9b31m\u202eevil"
#: what scans of a target have seen
SEEN = [(bytes([number]) * 16, "INTERNET_NAME") for number in range(1, 9)]


def an_id(number: int, endpoint: str = "team") -> str:
    """Return the id of the delivery of an event to an endpoint."""
    return delivery_id(an_event(number).id, endpoint)


def put(outbox: Outbox, *numbers: int, endpoint: str = "team", at: float = NOW, scan: Scan | None = None) -> None:
    """Accept an event of each number for an endpoint, under its own name."""
    events = [an_event(number, scan=scan or a_scan()) for number in numbers]
    outbox.accept([(event, [Wanted(endpoint, event.type)]) for event in events], at)


def put_event(outbox: Outbox, event: WebhookEvent, endpoint: str = "team", name: str = "", at: float = NOW) -> None:
    """Accept an event for an endpoint that subscribed to it under that name."""
    outbox.accept([(event, [Wanted(endpoint, name or event.type)])], at)


def send(
    outbox: Outbox,
    state: State = State.DELIVERED,
    reason: str = "http_200",
    excerpt: str = "ok",
    endpoint: str = "team",
    at: float = NOW,
    pending: bool = False,
) -> str:
    """Let the next delivery of an endpoint be attempted, with what comes of it; return its id."""
    batch = claim_one(outbox, Limits(endpoint), (), at)
    assert batch
    status = int(reason[-3:]) if reason[-3:].isdigit() else None
    attempt = Attempt(at, 0.125, status, reason.partition(": ")[2] or reason, excerpt)
    outbox.queue.settle([Result(batch, attempt, [Settlement(state, reason, at + 60, True, pending=pending)])])
    return batch.id


def begin(outbox: Outbox, scan: Scan) -> None:
    """Begin a scan, of which nobody wants events."""
    outbox.scans.begin_scan(scan, an_event(scan=scan, id=lifecycle_id(scan.id, "started")), (), NOW)


def end(outbox: Outbox, scan: Scan) -> None:
    """End a scan, of which nobody wants events."""
    assert outbox.scans.end_scan(an_event(scan=scan, id=lifecycle_id(scan.id, "ended")), (), NOW)


def fill(outbox: Outbox, *scans: str, at: float = NOW) -> None:
    """Fill an outbox with something in each table."""
    for number, id in enumerate(scans):
        scan, shift = a_scan(id), at + 1000 * number
        begin(outbox, scan)
        put(outbox, *range(1, 8), scan=scan, at=shift)
        put(outbox, 8, 9, scan=scan, endpoint="other", at=shift)
        send(outbox, at=shift)
        send(outbox, State.DEAD, "http_400", at=shift)
        send(outbox, State.WAITING, "timeout", at=shift)
        outbox.count_withheld({(id, "team", Withheld.TARGET): 3 + number})
        outbox.write_withheld()
        outbox.sightings.record(id, "acme.example", lineage_of(["sfp_x"]), SEEN[number : 4 + number], shift)
        outbox.sightings.finish(id, True, "", shift)
    end(outbox, a_scan(scans[0]))
    outbox.sightings.mute("acme.example", SEEN[0], "team", NOW + 1e9, NOW)
    outbox.watch.commit([WatchChange(None, WatchState("scan_missed", scans[0], NOW, None, {"a": [1]}))], NOW)
    batch = claim_one(outbox, Limits("other", size=10))
    assert batch
    sick = Health(Condition.FAILING, "timeout", NOW, 5, NOW + 60)
    result = Result(
        batch, Attempt(NOW, 0.5, None, "timeout", ""), [Settlement(State.WAITING, "timeout", NOW, True)] * 2
    )
    outbox.queue.settle([result], {"other": sick})


def damage_page(outbox: Outbox, table: str) -> None:
    """Overwrite a page of a table's rows that has neither the first nor the last of them."""
    query = "SELECT pageno FROM dbstat WHERE name = ? AND pagetype = 'leaf' ORDER BY path LIMIT 1 OFFSET 1"
    ((page,),), ((size,),) = rows_of(outbox, query, table), rows_of(outbox, "PRAGMA page_size")
    outbox.database.close()
    rows_of(outbox, "PRAGMA wal_checkpoint(TRUNCATE)")
    with outbox.path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
