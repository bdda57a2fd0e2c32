"""A digest: what is in it, and that every chat takes one whatever is in it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sfwebhooks.events import Batch, Delivery
from sfwebhooks.formats import render
from sfwebhooks.formats.chat import Notice
from sfwebhooks.formats.digest import DIGEST_BYTES, DIGEST_MAX, DIGEST_SECONDS, LINE_MAX, NAMED_MAX, digest_notice
from sfwebhooks.redaction import redacted, rules_with
from sfwebhooks.severity import Severity
from tests.builders import NOW, a_delivery, a_scan, an_endpoint, an_event
from tests.formats.cases import UI, cve
from tests.formats.conftest import Sending, Served, Start
from tests.formats.test_chats import SERVICE, SERVICES, TEXT, full_of, to
from tests.receivers.vendor import Answer, Vendor
from tests.receivers.vendors import VENDORS


def late(number: int, severity: Severity = Severity.HIGH, **values: Any) -> Delivery:
    event = an_event(number, severity=severity, at=NOW + number, **values)
    return a_delivery(event, backfilled=True, sequence=number)


def shown(*deliveries: Delivery) -> Notice:
    return digest_notice(
        redacted(Batch(deliveries), rules_with((), None, is_chat=True)).deliveries, an_endpoint(ui_url=UI)
    )


def test_a_digest_says_how_many_how_bad_and_names_the_most_severe_first() -> None:
    found = shown(late(1, Severity.LOW), late(2, Severity.CRITICAL), late(3, Severity.LOW))
    assert found.headline == "3 backfilled messages"
    assert found.body.split("\n") == [
        "Critical: VULNERABILITY_CVE_HIGH: CVE-2026-0002",
        "Low: VULNERABILITY_CVE_HIGH: CVE-2026-0001",
        "Low: VULNERABILITY_CVE_HIGH: CVE-2026-0003",
    ]
    assert found.facts == (
        ("Target", "acme.example"),
        ("By severity", "1 critical, 2 low"),
        ("By event", "High risk event: 3"),
    )
    times = "2026-11-21 10:00:01 UTC to 2026-11-21 10:00:03 UTC"
    assert found.footer == ("Weekly Security Scan", times, "backfilled")
    assert (found.severity, found.is_late, found.link) == (Severity.CRITICAL, True, f"{UI}/scaninfo?id=5C4A0001")


def test_the_first_are_named_and_the_others_are_counted() -> None:
    lines = shown(*map(late, range(1, NAMED_MAX + 3))).body.split("\n")
    assert (len(lines), lines[-1]) == (NAMED_MAX + 1, "and 2 more")
    assert len(shown(*map(late, range(NAMED_MAX))).body.split("\n")) == NAMED_MAX


def test_a_long_finding_has_one_short_line() -> None:
    long = {"event_type": "X", "data": "a " * 10_000 + "\nmore"}
    (line, _) = shown(late(1, data=long), late(2)).body.split("\n")
    assert len(line) == LINE_MAX and line.endswith("…")


def test_several_scans_are_named_and_none_is_linked() -> None:
    scans = [a_scan(f"S{number}", name=f"Scan {number}", target=f"t{number}.example") for number in range(7)]
    found = shown(*(late(number, scan=scan) for number, scan in enumerate(scans)))
    assert found.facts[0] == ("Target", "t0.example, t1.example, t2.example, t3.example, t4.example, 2 more")
    assert found.footer[0] == "Scan 0, Scan 1, Scan 2, Scan 3, Scan 4, 2 more"
    assert found.link == ""


def test_what_has_no_scan_is_counted_too() -> None:
    alert = an_event(2, type="system_alert", scan=None, data={"message": "endpoint team is failing"})
    found = shown(a_delivery(alert, replayed=True), a_delivery(alert, backfilled=True))
    assert found.headline == "2 backfilled or replayed messages"
    assert "endpoint team is failing" in found.body and found.facts[0][0] == "By severity"


def test_a_leaked_password_is_in_no_digest() -> None:
    leak = {"event_type": "PASSWORD_COMPROMISED", "data": "jane@acme.example:hunter22! [x]"}
    assert "unter22" not in str(shown(late(1, data=leak), late(2)))


@SERVICE
def test_every_chat_has_digests_and_they_do_not_ring(name: str) -> None:
    endpoint = to(name)
    content = render(Batch((late(1), late(2))), endpoint)
    body = content.body.decode()
    assert "backfilled" in body and "CVE-2026-0001" in body and "CVE-2026-0002" in body
    assert render(Batch((late(1), late(2))), endpoint) == content
    if name == "ntfy":
        assert json.loads(body)["priority"] == 1
    if name == "pagerduty":
        assert content.path == "change/enqueue"


@SERVICE
@TEXT
def test_a_service_takes_a_digest_of_hostile_text(name: str, text: str) -> None:
    deliveries = [full_of(text, event) for event in ("high_risk_event", "scan_failed", "correlation_found")] * 5
    assert SERVICES[name].problem(json.loads(render(Batch(tuple(deliveries)), to(name)).body)) == ""


@SERVICE
def test_the_largest_digest_is_within_the_limits(name: str) -> None:
    fullest = [full_of("🎉&<@" * 500, "high_risk_event")] * DIGEST_MAX
    body = render(Batch(tuple(fullest)), to(name)).body
    assert SERVICES[name].problem(json.loads(body)) == ""
    assert len(body) < 100_000


# --- against the services


@pytest.fixture
def started(served: Served, sending: Start) -> Any:
    """Start a service, and an endpoint that sends to it: `started("discord")`."""

    def start(name: str) -> tuple[Vendor, Sending]:
        ours = served(VENDORS[name]())
        return ours, sending(ours, retry_schedule=(1.0, 1.0), ui_url=UI)

    return start


def text_of(message: Any) -> str:
    return message if isinstance(message, str) else json.dumps(message)


@SERVICE
def test_what_comes_late_goes_in_one_message_and_what_is_live_goes_alone(name: str, started: Any) -> None:
    ours, one = started(name)
    one.accept(1)
    one.accept(30, backfilled=True)
    assert one.step() and not one.step(DIGEST_SECONDS - 0.1), "others of the backfill may follow"
    one.accept(1)
    assert one.step(0.1) and one.step(5) and not one.step(5)
    assert one.numbers("delivered") == [*range(1, 33)]
    live, late, last = map(text_of, ours.taken)
    assert all(words in late for words in ("30 backfilled messages", cve(2), "and 20 more"))
    assert cve(1) in live and cve(32) in last and "backfilled" not in live + last


@SERVICE
def test_a_digest_that_fails_is_repeated_as_it_was(name: str, started: Any) -> None:
    ours, one = started(name)
    one.accept(5, backfilled=True)
    ours.instead = Answer(503)
    assert one.step(DIGEST_SECONDS)
    one.accept(5, backfilled=True)
    ours.instead = None
    one.finish()
    first, *others = (asked.body for asked in ours.got)
    assert first in others and len(others) == 2
    assert one.numbers("delivered") == [*range(1, 11)]


@SERVICE
def test_a_message_that_is_refused_costs_a_digest_only_itself(name: str, started: Any) -> None:
    ours, one = started(name)
    if not ours.refuses:
        pytest.skip("its answer does not say so")
    one.accept(8, backfilled=True)
    ours.unwanted = {cve(3)}
    one.finish()
    assert (one.numbers("dead"), one.numbers("delivered")) == ([3], [1, 2, 4, 5, 6, 7, 8])


def test_a_digest_has_no_more_data_than_fit_into_the_memory_of_a_scan(started: Any) -> None:
    ours, one = started("slack")
    data = {"event_type": "RAW_RIR_DATA", "data": "x" * (DIGEST_BYTES // 4)}
    one.accept((an_event(number, data=data) for number in range(1, 7)), backfilled=True)
    one.finish()
    assert [text_of(message).count("RAW_RIR_DATA") > 0 for message in ours.taken] == [True] * 2
    assert "3 backfilled messages" in text_of(ours.taken[0])
