from __future__ import annotations

import hashlib
from typing import Any

import pytest

from sfwebhooks.events import WebhookEvent, finding_id
from sfwebhooks.scan.findings import (
    DATA_MAX,
    SOURCE_MAX,
    SOURCES_MAX,
    Finding,
    Source,
    can_be_wanted,
    event_of_finding,
    is_wanted,
)
from sfwebhooks.severity import Severity
from tests.builders import NOW, a_finding, a_scan, an_endpoint


def event_of(finding: Finding | None = None, **values: Any) -> WebhookEvent:
    return event_of_finding(finding or a_finding(**values), a_scan(), "Vulnerability - CVE High")


def test_all_that_the_scanner_knows_is_sent() -> None:
    event = event_of(data_source="https://source.example/list")
    assert event.data == {
        "scan_id": "5C4A0001",
        "target": "acme.example",
        "target_type": "INTERNET_NAME",
        "event_type": "VULNERABILITY_CVE_HIGH",
        "description": "Vulnerability - CVE High",
        "severity": "high",
        "data": "CVE-2026-0001 on mail.acme.example",
        "module": "sfp_example",
        "confidence": 100,
        "visibility": 100,
        "risk": 0,
        "hash": "f00d",
        "generated": "2026-11-21T10:00:00.000Z",
        "sources": [{"event_type": "ROOT", "data": "acme.example", "module": "", "hash": "ROOT"}],
        "special": "vulnerability_found",
        "data_source": "https://source.example/list",
    }


def test_an_event_is_from_when_the_module_found_it() -> None:
    assert event_of().at == NOW


def test_an_event_knows_its_scan() -> None:
    assert event_of().scan == a_scan()


@pytest.mark.parametrize(
    ("host_type", "name", "severity", "special"),
    [
        ("VULNERABILITY_CVE_CRITICAL", "high_risk_event", Severity.CRITICAL, "vulnerability_found"),
        ("VULNERABILITY_CVE_HIGH", "high_risk_event", Severity.HIGH, "vulnerability_found"),
        ("VULNERABILITY_CVE_MEDIUM", "medium_risk_event", Severity.MEDIUM, "vulnerability_found"),
        ("MALICIOUS_IPADDR", "high_risk_event", Severity.HIGH, "malware_detected"),
        ("TCP_PORT_OPEN", "low_risk_event", Severity.LOW, None),
        ("IP_ADDRESS", "info_event", Severity.INFO, None),
        ("TYPE_OF_A_NEWER_HOST", "info_event", Severity.INFO, None),
    ],
)
def test_the_type_gives_name_severity_and_kind(
    host_type: str, name: str, severity: Severity, special: str | None
) -> None:
    event = event_of(type=host_type)
    assert (event.type, event.severity, event.special) == (name, severity, special)


def test_a_risk_that_a_module_sets_raises_the_severity() -> None:
    event = event_of(type="IP_ADDRESS", risk=90)
    assert (event.type, event.data["severity"]) == ("high_risk_event", "critical")


@pytest.mark.parametrize("key", ["special", "data_source", "recovered", "data_length", "data_sha256"])
def test_what_does_not_apply_is_omitted(key: str) -> None:
    assert key not in event_of(type="IP_ADDRESS").data


def test_live_and_recovered_have_the_same_id() -> None:
    recovered = a_finding(recovered=True, data="cut", sources=(), generated=NOW + 1)
    assert event_of(recovered).id == event_of().id == finding_id("5C4A0001", "f00d")


def test_a_recovered_finding_says_so() -> None:
    assert event_of(recovered=True).data["recovered"] is True


def test_the_same_finding_seen_twice_is_two_events() -> None:
    assert event_of(hash="a").id != event_of(hash="b").id


# --- long and hostile data


def test_data_is_sent_whole_up_to_the_limit() -> None:
    data = event_of(data="x" * DATA_MAX).data
    assert (data["data"], "data_length" in data) == ("x" * DATA_MAX, False)


def test_longer_data_is_cut_with_its_length_and_digest_next_to_it() -> None:
    text = "ü" * (DATA_MAX + 1)
    data = event_of(data=text).data
    assert data["data"] == text[:DATA_MAX]
    assert (data["data_length"], data["data_sha256"]) == (len(text), hashlib.sha256(text.encode()).hexdigest())


@pytest.mark.parametrize("text", ["a\0b", "<!channel>", "<SFURL>https://x.example</SFURL>", "line\nline", "\x1b[2J"])
def test_data_is_sent_as_it_was_found(text: str) -> None:
    assert event_of(data=text).data["data"] == text


def test_lone_surrogates_are_replaced_wherever_a_module_can_put_them() -> None:
    bad = "a\ud800b"
    data = event_of(data=bad, data_source=bad, sources=(Source("EMAILADDR", bad, "sfp_x", "1"),)).data
    assert [data["data"], data["data_source"], data["sources"][0]["data"]] == ["a\ufffdb"] * 3


def test_long_data_with_lone_surrogates_has_a_digest_of_what_is_sent() -> None:
    data = event_of(data="\ud800" * (DATA_MAX + 1)).data
    assert data["data_sha256"] == hashlib.sha256(("\ufffd" * (DATA_MAX + 1)).encode()).hexdigest()


def test_sources_go_from_the_direct_one_up() -> None:
    sources = (Source("EMAILADDR", "a@acme.example", "sfp_email", "2"), Source("URL", "https://x", "sfp_spider", "1"))
    sources_sent = event_of(sources=sources).data["sources"]
    assert [source["event_type"] for source in sources_sent] == ["EMAILADDR", "URL"]


def test_the_chain_of_sources_is_cut_at_its_far_end() -> None:
    sources = tuple(Source("URL", str(number), "sfp_spider", str(number)) for number in range(SOURCES_MAX + 5))
    sources_sent = event_of(sources=sources).data["sources"]
    assert [source["data"] for source in sources_sent] == [str(number) for number in range(SOURCES_MAX)]


def test_the_data_of_a_source_is_cut() -> None:
    sources_sent = event_of(sources=(Source("TARGET_WEB_CONTENT", "x" * 10**6, "sfp_spider", "1"),)).data["sources"]
    assert len(sources_sent[0]["data"]) == SOURCE_MAX


@pytest.mark.parametrize(
    ("events", "wanted"),
    [
        (("all",), True),
        (("info_event",), True),
        (("finding.critical",), True),
        (("scan_*",), False),
        (("vulnerability_found",), False),
    ],
)
def test_what_a_type_can_become_decides_whether_it_can_be_wanted(events: tuple[str, ...], wanted: bool) -> None:
    assert can_be_wanted("EMAILADDR", (an_endpoint(events=("scan_*",)), an_endpoint(events=events))) is wanted


def test_an_endpoint_that_wants_nothing_of_it_does_not_make_a_type_unwanted() -> None:
    endpoints = (an_endpoint(events=("scan_*",)), an_endpoint(events=("info_event",)), an_endpoint(events=("scan_*",)))
    assert is_wanted("EMAILADDR", 0, endpoints)
    assert not is_wanted("EMAILADDR", 90, endpoints)


def test_a_finding_from_the_hosts_database_says_so_and_a_live_one_does_not() -> None:
    assert [event_of(recovered=recovered).data.get("recovered") for recovered in (True, False)] == [True, None]


def test_a_module_that_names_no_source_of_its_own_has_none_sent() -> None:
    assert "data_source" not in event_of().data


class Exhausted(tuple):  # type: ignore[type-arg]  # Python 3.8
    """Sources for whose copy there is no memory."""

    def __getitem__(self, part: Any) -> Any:
        raise MemoryError


def test_a_finding_for_which_there_is_no_memory_is_not_taken_for_one_that_cannot_be_written() -> None:
    with pytest.raises(MemoryError):
        event_of(sources=Exhausted())


@pytest.mark.parametrize("values", [{"data": b"bytes"}, {"generated": "now"}])
def test_a_finding_with_a_value_of_the_wrong_type_has_a_problem_and_no_data(values: dict[str, Any]) -> None:
    event = event_of(**values)
    assert (bool(event.problem), event.data) == (True, {})
    assert (event.id, event.type) == (finding_id("5C4A0001", "f00d"), "high_risk_event")
