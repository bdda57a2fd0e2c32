"""The receipt that comes with a scan's end: true for each endpoint, its own only, the same at each retry."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from sfwebhooks.events import Batch, Delivery, WebhookEvent, lifecycle_id
from sfwebhooks.formats import render
from sfwebhooks.outbox.claim import Limits
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.outbox.postgres.dsn import Place
from sfwebhooks.outbox.scan_receipt import SENT, STORED, own
from sfwebhooks.retry import State
from sfwebhooks.screening import Wanted
from sfwebhooks.severity import Severity
from tests.builders import NOW, a_scan, an_endpoint, an_event, claim_one
from tests.filled import put, send

STORES = ("sqlite", "postgres")

ENDPOINTS = ("team", "siem_of_the_other_department")


@pytest.fixture
def outbox(store: Place) -> Iterator[Outbox]:
    made = Outbox(store, accepting=True)
    begin = an_event(id=lifecycle_id("5C4A0001", "started"), type="scan_started", severity=Severity.INFO)
    made.scans.begin_scan(a_scan(), begin, [Wanted("team", begin.type)], NOW)
    yield made
    made.close()


def an_end(found: int) -> WebhookEvent:
    data = {"scan_id": "5C4A0001", "events_found": found}
    return an_event(id=lifecycle_id("5C4A0001", "ended"), type="scan_completed", severity=Severity.INFO, data=data)


def end(outbox: Outbox, found: int = 0, *endpoints: str) -> None:
    event = an_end(found)
    assert outbox.scans.end_scan(event, [Wanted(name, event.type) for name in endpoints or ("team",)], NOW)


def last(outbox: Outbox, endpoint: str = "team") -> Delivery:
    """Return the delivery of the end."""
    busy: list[str] = []
    while batch := claim_one(outbox, Limits(endpoint), busy, NOW + 1e6):
        if batch.name == "scan_completed":
            return batch.deliveries[0]
        busy.append(batch.id)
    raise AssertionError("there is no end")


def receipt(outbox: Outbox, endpoint: str = "team") -> Any:
    return last(outbox, endpoint).event.data["receipt"]


def test_the_last_number_is_that_of_the_end_itself(outbox: Outbox) -> None:
    put(outbox, 1, 2, 3)
    end(outbox)
    assert (receipt(outbox)["last_sequence"], last(outbox).sequence, receipt(outbox)["accepted"]) == (5, 5, 5)


def test_an_endpoint_that_was_sent_nothing_else_has_number_one(outbox: Outbox) -> None:
    end(outbox, 0, *ENDPOINTS)
    assert receipt(outbox, ENDPOINTS[1])["last_sequence"] == 1


def test_what_was_withheld_is_counted_by_reason_and_not_as_unwanted(outbox: Outbox) -> None:
    put(outbox, 1, 2)
    with outbox.database.writing() as sql:
        sql.execute("INSERT INTO withheld VALUES ('5C4A0001', 'team', 'outbox_full', 3)")
    end(outbox, found=9)
    sent = receipt(outbox)
    assert (sent["withheld"], sent["withheld_by_reason"], sent["not_wanted"]) == (3, {"outbox_full": 3}, 4)


def test_only_findings_count_as_findings(outbox: Outbox) -> None:
    put(outbox, 1, 2)
    warning = an_event(100, type="resource_warning", severity=Severity.MEDIUM)
    outbox.accept([(warning, [Wanted("team", warning.type)])], NOW)
    end(outbox, found=10)
    assert receipt(outbox)["not_wanted"] == 8


def test_other_scans_do_not_count(outbox: Outbox) -> None:
    put(outbox, 1, scan=a_scan("OTHER"))
    end(outbox, found=0)
    assert receipt(outbox)["accepted"] == 2


def test_dead_letters_are_counted_in_the_receipt(outbox: Outbox) -> None:
    put(outbox, 1, 2)
    send(outbox)
    send(outbox, State.DEAD, "http_422")
    end(outbox, found=2)
    assert (receipt(outbox)["dead"], receipt(outbox)["not_wanted"]) == (1, 0)


def test_an_endpoint_gets_its_own_receipt_only(outbox: Outbox) -> None:
    put(outbox, 1, 2)
    end(outbox, 5, *ENDPOINTS)
    bodies = {name: render(Batch((last(outbox, name),)), an_endpoint(name)).body.decode() for name in ENDPOINTS}
    assert [json.loads(bodies[name])["data"]["receipt"]["not_wanted"] for name in ENDPOINTS] == [3, 5]
    assert ENDPOINTS[1] not in bodies["team"]
    assert '"receipts"' not in bodies["team"]


@pytest.mark.parametrize("style", ["generic", "siem"])
def test_a_retry_has_the_same_bytes_whatever_happened_meanwhile(outbox: Outbox, style: str) -> None:
    put(outbox, 1, 2)
    end(outbox, 5)
    endpoint = an_endpoint(format=style)
    first = render(Batch((last(outbox),)), endpoint).body
    send(outbox)
    send(outbox, State.DEAD, "http_422")
    send(outbox, State.WAITING, "http_503")
    put(outbox, 7, 8)
    assert render(Batch((last(outbox),)), endpoint).body == first


def test_who_is_sent_the_end_only_later_gets_no_receipt(outbox: Outbox) -> None:
    end(outbox)
    outbox.accept([(an_end(0), [Wanted("new", "scan_completed")])], NOW)
    assert "receipt" not in last(outbox, "new").event.data
    assert "receipts" not in last(outbox, "new").event.data


def test_the_second_teller_changes_no_receipt(outbox: Outbox) -> None:
    end(outbox, 5)
    put(outbox, 1)
    assert not outbox.scans.end_scan(replace(an_end(9), type="scan_failed"), [Wanted("team", "scan_failed")], NOW)
    assert receipt(outbox)["not_wanted"] == 5


@pytest.mark.parametrize(
    ("stored", "sent"),
    [
        ({"a": 1}, {"a": 1}),
        ({"a": "of receipts"}, {"a": "of receipts"}),
        ({"a": 1, STORED: {"team": {"accepted": 3}, "other": {}}}, {"a": 1, SENT: {"accepted": 3}}),
        ({"a": 1, STORED: {"other": {"accepted": 3}}}, {"a": 1}),
        ({"a": 1, STORED: {"team": {}}}, {"a": 1}),
    ],
)
def test_an_endpoint_is_sent_its_own_receipt_only(stored: dict[str, Any], sent: dict[str, Any]) -> None:
    assert own(stored, "team") == sent
