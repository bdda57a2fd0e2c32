from __future__ import annotations

import json
import re
from dataclasses import replace
from email import message_from_bytes, policy
from typing import Any

import pytest

from sfwebhooks.attempts import Outcome, Reply, Verdict
from sfwebhooks.events import Batch
from sfwebhooks.formats.content import Content
from sfwebhooks.formats.defectdojo import read, service_of
from sfwebhooks.scan.findings import Source
from sfwebhooks.severity import Severity
from tests.builders import NOW, a_batch, a_scan
from tests.conftest import sql
from tests.formats.cases import each_text, mistakes_of
from tests.formats.conftest import Served, Start
from tests.formats.scans import FOUND, a_whole_scan, batch_of, finding_of, sent
from tests.receivers.intelligence import DefectDojo, form_of
from tests.receivers.vendor import Asked, Json

KEYS = {"product_name": "Acme"}
NOTHING = {"created": 0, "closed": 0, "reactivated": 0, "untouched": 0}


@pytest.fixture
def dojo(served: Served) -> DefectDojo:
    return served(DefectDojo())


def form(batch: Batch, **keys: str) -> dict[str, str]:
    content = sent("defectdojo", batch, **{**KEYS, **keys})
    return form_of(Asked("POST", content.path, {}, content.headers, content.body))


def report(batch: Batch) -> list[Json]:
    findings: list[Json] = json.loads(form(batch)["file"])["findings"]
    return findings


# --- against DefectDojo's rules


def scan_number(number: int, target: str = "acme.example") -> Any:
    return a_scan(f"5C4A{number:04d}", target=target)


def test_the_same_scan_twice_creates_and_closes_nothing_and_one_that_is_gone_is_closed(
    dojo: DefectDojo, sending: Start
) -> None:
    one = sending(dojo, events=("*",))
    for number, found in enumerate((FOUND, FOUND, FOUND[1:], FOUND)):
        one.accept(a_whole_scan(found, scan_number(number), at=NOW + number * 86400))
        one.finish()
    size = len(FOUND) + 1
    assert dojo.imports == [
        {**NOTHING, "created": size},
        {**NOTHING, "untouched": size},
        {**NOTHING, "untouched": size - 1, "closed": 1},
        {**NOTHING, "untouched": size - 1, "reactivated": 1},
    ]
    assert len(dojo.got) == 4 and {*one.states} == {("delivered", "http_201")}


def test_a_scan_of_another_target_in_the_same_test_closes_nothing(dojo: DefectDojo, sending: Start) -> None:
    one = sending(dojo, events=("*",))
    for number, target in enumerate(("acme.example", "other.example", "acme.example")):
        one.accept(a_whole_scan(FOUND, scan_number(number, target)))
        one.finish()
    assert [counts["closed"] for counts in dojo.imports] == [0, 0, 0]
    assert [counts["created"] for counts in dojo.imports] == [len(FOUND) + 1, len(FOUND) + 1, 0]
    assert len(dojo.tests) == 1


def test_a_scan_that_is_repeated_does_not_undo_a_later_one(dojo: DefectDojo, sending: Start) -> None:
    one = sending(dojo, events=("*",))
    dojo.excess = 1
    one.accept(a_whole_scan(FOUND, scan_number(0)))
    assert one.step()
    one.accept(a_whole_scan(FOUND[1:], scan_number(1)))
    one.finish()
    assert dojo.imports == [
        {**NOTHING, "created": len(FOUND) + 1},
        {**NOTHING, "untouched": len(FOUND), "closed": 1},
    ]


def test_a_report_without_a_damaged_finding_closes_nothing(dojo: DefectDojo, sending: Start) -> None:
    one = sending(dojo, events=("*",))
    for number in range(2):
        one.accept(a_whole_scan(FOUND, scan_number(number)))
        if number:
            sql(one.outbox, "UPDATE event SET data = '' WHERE number = (SELECT max(number) - 5 FROM event)")
        one.finish()
    assert dojo.imports[1] == {**NOTHING, "untouched": len(FOUND)}


def test_a_scan_without_findings_closes_all_of_its_target(dojo: DefectDojo, sending: Start) -> None:
    one = sending(dojo, events=("*",))
    for number, found in enumerate((FOUND, ())):
        one.accept(a_whole_scan(found, scan_number(number)))
        one.finish()
    assert dojo.imports[1] == {**NOTHING, "closed": len(FOUND) + 1}


def test_what_another_scan_finds_different_makes_no_other_finding(dojo: DefectDojo, sending: Start) -> None:
    one = sending(dojo, events=("*",))
    cve = "CVE-2021-44228\n<SFURL>https://nvd.example</SFURL>\nScore: {}\nDescription: {}"
    header = '{{"server": "nginx", "date": "{}", "set-cookie": "{}"}}'
    page = "x" * 1024
    for number in range(2):
        found = [
            ("VULNERABILITY_CVE_HIGH", cve.format(7 + number, number)),
            ("WEBSERVER_HTTPHEADERS", header.format(number, number)),
            ("TARGET_WEB_CONTENT", page + str(number)),
            ("INTERNET_NAME", ("Mail.Acme.example.", "mail.acme.example")[number]),
        ]
        one.accept(a_whole_scan(found, scan_number(number), at=NOW + number * 999_999))
        one.finish()
    assert dojo.imports[1] == {**NOTHING, "untouched": len(found) + 1}


def test_findings_that_differ_in_case_only_are_two(dojo: DefectDojo, sending: Start) -> None:
    one = sending(dojo, events=("*",))
    found = [("LINKED_URL_INTERNAL", f"https://acme.example/{path}") for path in ("A", "a")]
    for number, its in enumerate((found, found[1:])):
        one.accept(a_whole_scan(its, scan_number(number)))
        one.finish()
    assert [counts["created"] for counts in dojo.imports] == [3, 0] and dojo.imports[1]["closed"] == 1


@pytest.mark.parametrize(
    ("how", "receipt"),
    [
        ({"end": "scan_aborted"}, {}),
        ({"end": "scan_failed"}, {}),
        ({}, {"withheld_by_reason": {"outbox_full": 1}}),
        ({}, {"withheld_by_reason": {"known": 3}}),
        ({}, {"withheld_by_reason": {"a reason of tomorrow": 1}}),
        ({}, {"accepted": 99}),
    ],
)
def test_a_scan_that_may_lack_findings_closes_none(how: dict[str, str], receipt: dict[str, Any]) -> None:
    batch = batch_of(a_whole_scan(**how, **receipt))  # type: ignore[arg-type]
    assert form(batch)["close_old_findings"] == "false"


def test_filters_do_not_keep_findings_open() -> None:
    reasons = {"severity": 3, "finding_type": 1, "module": 1, "data": 2, "muted": 1, "outbox_full": 0}
    assert form(batch_of(a_whole_scan(withheld_by_reason=reasons)))["close_old_findings"] == "true"


def test_an_old_scan_neither_closes_nor_reopens() -> None:
    for how in ({"backfilled": True}, {"replayed": True}):
        its = form(batch_of(a_whole_scan(), **how))
        assert (its["close_old_findings"], its["do_not_reactivate"]) == ("false", "true")


def test_closing_can_be_switched_off() -> None:
    assert form(batch_of(a_whole_scan()), close_old_findings="false")["close_old_findings"] == "false"


def test_a_report_that_is_too_large_is_dead_and_never_sent_in_parts(dojo: DefectDojo, sending: Start) -> None:
    dojo.size_max = 100
    one = sending(dojo, events=("*",))
    one.accept(a_whole_scan())
    one.finish()
    assert {*one.states} == {("dead", "refused: http_413")} and len(dojo.got) == 1


# --- the report


def test_a_finding_has_title_severity_and_texts_without_counts_or_times() -> None:
    (one,) = report(batch_of([finding_of("MALICIOUS_IPADDR", "x [198.51.100.7]").delivery.event]))
    assert one == {
        "title": "MALICIOUS_IPADDR: x [198.51.100.7]",
        "severity": "High",
        "description": "```\nx [198.51.100.7]\n\nType: MALICIOUS_IPADDR\nFingerprint: "
        + one["unique_id_from_tool"]
        + "\n```",
        "date": "2026-11-21",
        "unique_id_from_tool": one["unique_id_from_tool"],
        "vuln_id_from_tool": "MALICIOUS_IPADDR",
        "steps_to_reproduce": "```\nModule: sfp_example\nFound in: acme.example\nRisk: 0\nConfidence: 100\n\n"
        "x [198.51.100.7]\n```",
        "tags": ["spiderfoot"],
        "endpoints": [{"host": "198.51.100.7"}],
    }
    assert re.fullmatch("[0-9a-f]{32}", one["unique_id_from_tool"])


def test_a_cve_and_its_exploitation_are_in_their_keys() -> None:
    event = finding_of("VULNERABILITY_CVE_HIGH", "CVE-2021-44228").delivery.event
    known = {"known_exploited": True, "epss_score": 0.94358, "epss_percentile": 0.999}
    (one,) = report(batch_of([replace(event, data={**event.data, **known})]))
    assert {key: one[key] for key in ("vulnerability_ids", *known)} == {
        "vulnerability_ids": ["CVE-2021-44228"],
        **known,
    }


def test_each_finding_is_there_once() -> None:
    found = [*FOUND, *FOUND]
    assert len(report(batch_of(a_whole_scan(found)))) == len(FOUND) + 1


@each_text
def test_hostile_texts_are_one_block_of_code_and_have_no_character_that_is_refused(text: str) -> None:
    dojo = DefectDojo()
    clean = text.encode("utf-8", "replace").decode()
    finding = finding_of("SIMILARDOMAIN", text, module=clean, sources=(Source("ROOT", text, "", "x"),))
    scan = a_scan(name=clean, target=clean, version=clean)
    events = [*a_whole_scan((), scan)[:1], finding.delivery.event, *a_whole_scan((), scan)[1:]]
    its = form(batch_of(events))
    message: Any = {**its, "file": json.loads(its["file"])}
    assert [words for right, words in dojo.faults(message) if not right] == []
    assert dojo.mischief_in(message["file"]) == ""


def test_a_text_that_looks_like_the_boundary_does_not_end_the_file() -> None:
    found = [("WEBSERVER_BANNER", f"--sfwebhooks-{batch_of(a_whole_scan()).id}-0\r\n\r\n")]
    assert len(report(batch_of(a_whole_scan(found)))) == 2


def test_the_service_is_the_target_and_never_longer_than_it_can_be() -> None:
    assert service_of("ACME.example.") == "acme.example" and service_of("") == "unknown"
    long = [service_of("a" * 5000 + end) for end in "12"]
    assert max(map(len, long)) <= 200 and long[0] != long[1]


def test_the_bytes_are_the_same_each_time() -> None:
    batch = batch_of(a_whole_scan())
    first, second = (sent("defectdojo", batch, **KEYS) for _ in range(2))
    assert first == second and isinstance(first, Content)
    parsed = message_from_bytes(
        f"Content-Type: {first.headers['Content-Type']}\r\n\r\n".encode() + first.body, policy=policy.HTTP
    )
    assert parsed.defects == []


def test_severities_are_those_of_defectdojo() -> None:
    words = {one.label.capitalize() for one in Severity}
    assert words == {"Critical", "High", "Medium", "Low", "Info"}


# --- settings and replies


@pytest.mark.parametrize(
    ("keys", "said"),
    [({}, "product_name"), ({**KEYS, "close_old_findings": "perhaps"}, "expected true or false")],
)
def test_what_is_missing_or_wrong_is_one_mistake(keys: dict[str, str], said: str) -> None:
    found = mistakes_of("defectdojo", **keys)
    assert len(found) == 1 and said in found[0]


@pytest.mark.parametrize(
    ("status", "body", "verdict"),
    [
        (201, b'{"test": 7, "statistics": {}}', None),
        (201, b"{}", Verdict(Outcome.HOLD, "http_200_but_not_ok")),
        (200, b"<html>Log in</html>", Verdict(Outcome.HOLD, "http_200_but_not_ok")),
        (400, b'["Report file is too large. Maximum supported size is 100 MB"]', Verdict(Outcome.REFUSED, "http_413")),
        (400, b'{"product_name": ["x"]}', None),
        (401, b"", Verdict(Outcome.HOLD, "http_401")),
        (403, b"", Verdict(Outcome.HOLD, "http_403")),
        (404, b"", Verdict(Outcome.HOLD, "http_404")),
        (500, b"", None),
    ],
)
def test_replies(status: int, body: bytes, verdict: Verdict | None) -> None:
    assert read(Reply(status, body=body), a_batch()) == verdict
