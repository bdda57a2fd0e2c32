"""A digest: what is in it, and that every chat takes one whatever is in it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from sfwebhooks.events import Batch, Delivery
from sfwebhooks.formats import FORMATS, render
from sfwebhooks.formats.digest import DIGEST_BYTES, DIGEST_MAX, DIGEST_SECONDS, LINE_MAX, Capacity, digest_notice
from sfwebhooks.formats.notice import Notice
from sfwebhooks.redaction import redacted, rules_with
from sfwebhooks.severity import Severity
from tests.builders import NOW, a_delivery, a_scan, an_endpoint, an_event
from tests.formats.cases import UI, cve
from tests.formats.conftest import Sending, Served, Start
from tests.formats.test_chats import SERVICE, SERVICES, TEXT, full_of, to
from tests.receivers.vendor import Answer, Vendor
from tests.receivers.vendors import VENDORS
from tests.rows import in_one
from tests.tiers import slow


def late(number: int, severity: Severity = Severity.HIGH, **values: Any) -> Delivery:
    event = an_event(number, severity=severity, at=NOW + number, **values)
    return a_delivery(event, backfilled=True, sequence=number)


ROOM = Capacity(3000)


def shown(*deliveries: Delivery) -> Notice:
    batch = redacted(Batch(deliveries), rules_with((), None, is_chat=True))
    return digest_notice(batch, an_endpoint(ui_url=UI), ROOM)


def test_a_digest_says_how_many_how_bad_and_names_the_most_severe_first() -> None:
    found = shown(late(1, Severity.LOW), late(2, Severity.CRITICAL), late(3, Severity.HIGH), late(4, Severity.LOW))
    assert found.headline == "4 backfilled messages"
    assert found.body.split("\n") == [
        "Critical: VULNERABILITY_CVE_HIGH: CVE-2026-0002",
        "High: VULNERABILITY_CVE_HIGH: CVE-2026-0003",
        "Low: VULNERABILITY_CVE_HIGH (2): CVE-2026-0001, CVE-2026-0004",
    ]
    assert found.facts == (("Target", "acme.example"), ("By severity", "1 critical, 1 high, 2 low"))
    times = "2026-11-21 10:00:01 UTC to 2026-11-21 10:00:04 UTC"
    assert found.footer == ("Weekly Security Scan", times, "backfilled")
    assert (found.severity, found.is_late, found.link) == (Severity.CRITICAL, True, f"{UI}/scaninfo?id=5C4A0001")


def test_a_digest_of_live_findings_says_findings_and_rings() -> None:
    found = shown(a_delivery(an_event(1)), a_delivery(an_event(2)))
    assert (found.headline, found.is_late) == ("2 findings", False)
    assert found.footer == ("Weekly Security Scan", "2026-11-21 10:00:00 UTC")


def test_a_part_of_a_scan_s_digests_says_which_it_is() -> None:
    batch = Batch((a_delivery(an_event(1)), a_delivery(an_event(2))), part=(2, 3))
    assert digest_notice(batch, an_endpoint(), ROOM).headline == "2 findings (2 of 3)"


def test_findings_of_one_type_have_one_line_with_the_first_ones() -> None:
    lines = shown(*(late(number, Severity.MEDIUM) for number in range(1, 6))).body
    assert lines == "Medium: VULNERABILITY_CVE_HIGH (5): CVE-2026-0001, CVE-2026-0002, CVE-2026-0003, …"


def test_what_two_modules_report_is_one_line_that_says_so() -> None:
    leak, low = ({"event_type": kind, "data": "CVE-1"} for kind in ("LEAKSITE_URL", "TCP_PORT_OPEN"))
    twice = [late(n, data={**leak, "module": f"sfp_{n}"}) for n in range(2)]
    lines = shown(
        *twice, late(2, data={**leak, "data": "x" * 200}), late(3, data={**leak, "data": "x" * 200}),
        late(4, data=leak, scan=a_scan("5C4A0002", target="other.example")),
        *(late(n, Severity.LOW, data={**low, "data": text}) for n, text in enumerate("aab", 5)),
        *(late(n, Severity.INFO, data={**low, "data": "same"}) for n in range(10, 13)),
    )  # fmt: skip
    assert lines.headline == "11 backfilled messages"
    assert lines.facts[1] == ("By severity", "5 high, 3 low, 3 info")
    body = lines.body.split("\n")
    assert body[0] == "High: LEAKSITE_URL: CVE-1 on acme.example (2 times)"
    assert (len(body[1]), body[1][-11:]) == (LINE_MAX, "… (2 times)")
    assert body[2:] == [
        "High: LEAKSITE_URL: CVE-1 on other.example",
        "Low: TCP_PORT_OPEN (3): a on acme.example (2 times), b on acme.example",
        "Info: TCP_PORT_OPEN (3): same on acme.example",
    ]


def test_what_is_no_finding_is_never_taken_for_the_same() -> None:
    alert = an_event(2, type="system_alert", scan=None, severity=Severity.HIGH, data={"message": "x"})
    same = [a_delivery(replace(alert, id=str(number)), backfilled=True) for number in range(2)]
    assert len(shown(*same).body.split("\n")) == 2


def test_what_no_live_digest_may_have_is_named_in_a_late_one() -> None:
    end = a_delivery(an_event(9, type="scan_aborted", severity=Severity.LOW, data={}), backfilled=True, name="x")
    lines = shown(*(late(number, Severity.MEDIUM) for number in range(1, 6)), end).body.split("\n")
    assert lines[0].startswith("Scan aborted") and lines[1].startswith("Medium: VULNERABILITY_CVE_HIGH (5)")


def test_every_high_finding_is_named_and_all_others_are_counted() -> None:
    types = [late(n, Severity.INFO, data={"event_type": f"TYPE_{n % 170}", "data": "d" * 99}) for n in range(900)]
    found = shown(*types, *(late(number, data=found_data(number)) for number in range(ROOM.named_max)))
    lines = found.body.split("\n")
    assert all(any(cve(number) in line for line in lines) for number in range(ROOM.named_max))
    counted = sum(int(number) for number in re.findall(r"^Info: TYPE_\d+ \((\d+)\)", found.body, re.MULTILINE))
    rest = re.fullmatch(r"(\d+) findings of \d+ other types", lines[-1])
    assert rest and counted + int(rest[1]) == 900
    assert ROOM.size(found.body) <= ROOM.length


def found_data(number: int) -> dict[str, str]:
    return {"event_type": "VULNERABILITY_CVE_HIGH", "data": f"{cve(number)} {'x' * 200}"}


def test_those_for_which_there_is_no_room_are_counted() -> None:
    lines = shown(*map(late, range(ROOM.named_max + 2))).body.split("\n")
    assert len(lines) == ROOM.named_max + 1
    assert lines[-1].startswith("High: VULNERABILITY_CVE_HIGH (2): ")


def test_a_long_finding_has_one_short_line() -> None:
    long = {"event_type": "X", "data": "a " * 10_000 + "\nmore"}
    (line, _) = shown(late(1, data=long), late(2)).body.split("\n")[::-1]
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


@in_one("name", SERVICES)
@TEXT
def test_a_service_takes_a_digest_of_hostile_text(name: str, text: str) -> None:
    deliveries = [full_of(text, event) for event in ("high_risk_event", "scan_failed", "correlation_found")] * 5
    assert SERVICES[name].problem(json.loads(render(Batch(tuple(deliveries)), to(name)).body)) == ""


@in_one("name", SERVICES)
@TEXT
def test_a_service_shows_all_that_a_digest_has_to_name(name: str, text: str) -> None:
    """Whatever is in the texts and in the names of targets and scans."""
    text = (text * 40)[:400]
    scans = [a_scan(f"S{at}", name=text, target=f"{at}{text}") for at in range(5)]
    data = [{"event_type": "X", "data": f"F{at}Z {text}"} for at in range(FORMATS[name].named_max)]
    named = [a_delivery(an_event(at, data=one, scan=scans[at % 5])) for at, one in enumerate(data)]
    types = [{"event_type": f"{at}{text}"} for at in range(99)]
    others = [a_delivery(an_event(1000 + at, data=one, severity=Severity.LOW)) for at, one in enumerate(types)]
    body = json.loads(render(Batch((*named, *others)), to(name)).body)
    assert SERVICES[name].problem(body) == ""
    words = json.dumps(body, ensure_ascii=False)
    assert [at for at in range(len(data)) if f"F{at}Z" not in words] == []


@slow
@SERVICE
def test_the_largest_digest_is_within_the_limits(name: str) -> None:
    fullest = [full_of("🎉&<@" * 50, "high_risk_event")] * DIGEST_MAX  # longer texts are cut anyway
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
    one.accept((an_event(number, severity=Severity.MEDIUM) for number in range(2, 32)), backfilled=True)
    assert one.step() and not one.step(DIGEST_SECONDS - 0.1), "others of the backfill may follow"
    one.accept([an_event(32)])
    assert one.step(0.1) and one.step(5) and not one.step(5)
    assert one.numbers("delivered") == [*range(1, 33)]
    live, late, last = map(text_of, ours.taken)
    assert all(words in late for words in ("30 backfilled messages", cve(2), "(30): "))
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
