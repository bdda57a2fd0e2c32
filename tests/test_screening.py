"""Which endpoints an event goes to: its subscriptions, then its filters, one row for each rule."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfwebhooks import fingerprints
from sfwebhooks.catalogue import EVENT_TYPES
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import WebhookEvent
from sfwebhooks.reasons import Withheld
from sfwebhooks.scan.correlations import event_of_correlation
from sfwebhooks.scan.findings import Finding, event_of_finding, is_wanted
from sfwebhooks.screening import Screen, Wanted, is_chosen, is_target
from sfwebhooks.severity import SEVERITY_OF_TYPE, Severity
from tests.builders import NOW, a_correlation, a_finding, a_scan, an_endpoint, an_event
from tests.rows import in_one

FOUND: dict[str, Any] = {
    "type": "EMAILADDR_COMPROMISED",
    "data": "anna@acme.example [Breach 2019]",
    "module": "sfp_haveibeenpwned",
    "confidence": 75,
}


def an_everything(name: str = "team", **filters: Any) -> Endpoint:
    return an_endpoint(name, events=("all",), **filters)


def event_of(finding: Finding, target: str = "acme.example") -> WebhookEvent:
    return event_of_finding(finding, a_scan(target=target), "words")


def verdict(event: WebhookEvent, **filters: Any) -> Withheld | None:
    wanted, withheld = Screen((an_everything(**filters),)).of(event)
    assert len(wanted) + len(withheld) == 1
    return withheld.get("team")


@in_one(
    ("filters", "reason"),
    [
        ({}, None),
        ({"finding_types": ("EMAILADDR_COMPROMISED",)}, None),
        ({"finding_types": ("EMAILADDR",)}, Withheld.FINDING_TYPE),
        ({"finding_types": ("*_COMPROMISED", "LEAKSITE_*")}, None),
        ({"finding_types": ("!EMAILADDR_*",)}, Withheld.FINDING_TYPE),
        ({"finding_types": ("!LEAKSITE_*",)}, None),
        ({"finding_types": ("*_COMPROMISED", "!EMAILADDR_*")}, Withheld.FINDING_TYPE),
        ({"finding_types": ("emailaddr_compromised",)}, Withheld.FINDING_TYPE),
        ({"min_severity": Severity.MEDIUM}, None),
        ({"min_severity": Severity.HIGH}, Withheld.SEVERITY),
        ({"min_confidence": 75}, None),
        ({"min_confidence": 76}, Withheld.CONFIDENCE),
        ({"modules": ("sfp_haveibeenpwned",)}, None),
        ({"modules": ("sfp_*", "!sfp_have*")}, Withheld.MODULE),
        ({"modules": ("sfp_shodan",)}, Withheld.MODULE),
        ({"targets": ("ACME.example",)}, None),
        ({"targets": ("*.acme.example",)}, Withheld.TARGET),
        ({"targets": ("!acme.*",)}, Withheld.TARGET),
        ({"data_match": ("@acme\\.example",)}, None),
        ({"data_match": ("^admin@", "^anna@")}, None),
        ({"data_match": ("^admin@",)}, Withheld.DATA),
        ({"data_not_match": ("Breach",)}, Withheld.DATA),
        ({"data_not_match": ("^Breach", "nothing")}, None),
        ({"data_match": ("anna",), "data_not_match": ("2019",)}, Withheld.DATA),
        ({"include_raw": False}, None),
        ({"max_data": 100}, None),
        # the first reason counts
        ({"finding_types": ("X",), "min_severity": Severity.HIGH, "data_match": ("x",)}, Withheld.FINDING_TYPE),
        ({"min_severity": Severity.HIGH, "min_confidence": 100}, Withheld.SEVERITY),
        ({"min_confidence": 100, "modules": ("x",)}, Withheld.CONFIDENCE),
        ({"modules": ("x",), "targets": ("x",)}, Withheld.MODULE),
        ({"targets": ("x",), "data_match": ("x",)}, Withheld.TARGET),
    ],
)
def test_a_finding_passes_every_filter_or_is_withheld_by_the_first(
    filters: dict[str, Any], reason: Withheld | None
) -> None:
    assert verdict(event_of(a_finding(**FOUND)), **filters) is reason


@pytest.mark.parametrize(
    "host_type",
    ["RAW_RIR_DATA", "TARGET_WEB_CONTENT", "DOMAIN_WHOIS", "SSL_CERTIFICATE_RAW", "BASE64_DATA", "RAW_OF_TOMORROW"],
)
def test_raw_findings_are_withheld_if_they_are_not_to_be_included(host_type: str) -> None:
    assert verdict(event_of(a_finding(type=host_type)), include_raw=False) is Withheld.FINDING_TYPE


@pytest.mark.parametrize("host_type", ["TARGET_WEB_CONTENT_TYPE", "EMAILADDR", "PASSWORD_COMPROMISED"])
def test_other_findings_are_not_raw(host_type: str) -> None:
    assert verdict(event_of(a_finding(type=host_type)), include_raw=False) is None


@pytest.mark.parametrize(
    ("filters", "reason"),
    [
        ({"min_severity": Severity.HIGH}, None),
        ({"min_severity": Severity.CRITICAL}, Withheld.SEVERITY),
        ({"targets": ("other.example",)}, Withheld.TARGET),
        ({"data_match": ("bucket found",)}, None),
        ({"data_match": ("nothing",)}, Withheld.DATA),
        ({"data_not_match": ("bucket",)}, Withheld.DATA),
        ({"finding_types": ("X",), "modules": ("x",), "min_confidence": 100, "include_raw": False}, None),
    ],
)
def test_a_correlation_is_screened_by_severity_target_and_title(
    filters: dict[str, Any], reason: Withheld | None
) -> None:
    assert verdict(event_of_correlation(a_correlation(), (), a_scan(), NOW), **filters) is reason


ALL: dict[str, Any] = {
    "finding_types": ("X",),
    "min_severity": Severity.CRITICAL,
    "min_confidence": 100,
    "modules": ("x",),
    "data_match": ("nothing like it",),
    "include_raw": False,
}
OTHERS = [one.name for one in EVENT_TYPES if not one.alias.startswith(("finding.", "correlation.found"))]


@pytest.mark.parametrize("name", OTHERS)
def test_other_events_pass_the_filters_of_findings(name: str) -> None:
    event = an_event(
        type=name, severity=Severity.INFO, data={"message": "x", "new": {"total": 0}, "gone": {"total": 0}}
    )
    assert verdict(event, **ALL) is None


@pytest.mark.parametrize("name", OTHERS)
def test_events_of_a_scan_of_another_target_are_withheld_but_no_alert(name: str) -> None:
    event = an_event(type=name, severity=Severity.INFO, data={"new": {"total": 0}, "gone": {"total": 0}})
    is_alert = name in ("system_alert", "resource_warning")
    assert verdict(event, targets=("other.example",)) is (None if is_alert else Withheld.TARGET)


def test_an_event_of_another_tool_passes_the_filters_of_what_it_does_not_say() -> None:
    event = an_event(scan=None, data={"title": "x"})
    assert verdict(event, **{**ALL, "min_severity": Severity.HIGH, "targets": ("x",)}) is None


def test_an_event_of_another_tool_is_screened_by_what_it_says() -> None:
    assert verdict(an_event(scan=None, data={"target": "acme.example"}), targets=("x",)) is Withheld.TARGET
    assert verdict(an_event(scan=None, data={"event_type": "X"}), finding_types=("Y",)) is Withheld.FINDING_TYPE


@pytest.mark.parametrize("data", [{}, {"data": None}, {"data": 5, "confidence": "high", "module": None}])
def test_values_of_other_types_withhold_nothing(data: dict[str, Any]) -> None:
    event = an_event(data={"event_type": "X", **data})
    assert verdict(event, min_confidence=100, modules=("x",), data_match=("x",)) is None


def test_an_event_whose_data_could_not_be_built_is_not_withheld() -> None:
    assert verdict(event_of(a_finding(data=b"bytes")), **{**ALL, "min_severity": Severity.HIGH}) is None


def test_an_endpoint_that_did_not_ask_for_an_event_withholds_nothing() -> None:
    screen = Screen((an_endpoint(events=("scan_*",), finding_types=("X",)), an_everything("other")))
    assert screen.of(event_of(a_finding())) == ([Wanted("other", "high_risk_event")], {})


def test_what_users_marked_as_false_positive_is_withheld_from_all_but_those_with_another_reason() -> None:
    event = event_of(a_finding())
    marked = fingerprints.of_event(event)
    assert marked
    endpoints = (an_everything("one"), an_everything("two", finding_types=("X",)), an_everything("three"))
    assert Screen(endpoints, frozenset({marked})).of(event) == (
        [],
        {"one": Withheld.FALSE_POSITIVE, "two": Withheld.FINDING_TYPE, "three": Withheld.FALSE_POSITIVE},
    )


# --- lists


@pytest.mark.parametrize(
    ("words", "target", "chosen"),
    [
        ("acme.example", "acme.example", True),
        ("acme.example", "ACME.example.", True),
        ("Acme.Example.", "acme.example", True),
        ("acme.example", "www.acme.example", False),
        ("*.acme.example", "www.acme.example", True),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.0.0.0/8", "10.1.0.0/16", True),
        ("10.1.0.0/16", "10.0.0.0/8", False),
        ("10.1.2.3/8", "10.9.9.9", True),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3", "10.1.2.3/32", True),
        ("10.1.*", "10.1.2.3", True),
        ("2001:db8::/32", "2001:DB8::1", True),
        ("2001:db8::/32", "10.1.2.3", False),
        ("0.0.0.0/0", "::1", False),
        ("10.0.0.0/8", "ten.example", False),
        ("10.0.0.0/8, !10.1.0.0/16", "10.1.2.3", False),
        ("10.0.0.0/8, !10.1.0.0/16", "10.2.2.3", True),
        ("!*.test", "acme.example", True),
        ("!*.test", "acme.test", False),
        ("anna lovelace", "Anna Lovelace", True),
        ("acme.example", "", False),
    ],
)
def test_a_target_is_a_name_in_any_case_or_in_a_network(words: str, target: str, chosen: bool) -> None:
    assert is_target(tuple(word.strip() for word in words.split(",")), target) is chosen


def test_endpoints_that_want_nothing_of_a_target_are_left_out() -> None:
    here, there, all = an_everything("a", targets=("acme.*",)), an_everything("b", targets=("x",)), an_everything("c")
    assert Screen((here, there, all)).at("acme.example") == (here, all)
    assert Screen((here, there, all)).at("") == (here, there, all)


@given(st.lists(st.text("ab*?[]!", min_size=1, max_size=6), max_size=5), st.text("ab", max_size=5))
def test_an_excluded_name_is_never_chosen(words: list[str], name: str) -> None:
    assert not is_chosen((*words, f"!{name}"), name)


# --- the same verdict, however it is found

TYPES = st.sampled_from([*sorted(SEVERITY_OF_TYPE), "VULNERABILITY_NEW_HIGH", "SOMETHING"])
FILTERS = st.fixed_dictionaries(
    {
        "finding_types": st.lists(st.sampled_from(["*_COMPROMISED", "VULN*", "!*_HIGH", "EMAILADDR"]), max_size=2).map(
            tuple
        ),
        "min_severity": st.sampled_from(Severity),
        "min_confidence": st.sampled_from([0, 50, 100]),
        "modules": st.sampled_from([(), ("sfp_a",), ("!sfp_a",)]),
        "data_match": st.sampled_from([(), ("a",), ("^b", "c$")]),
        "data_not_match": st.sampled_from([(), ("b",)]),
        "include_raw": st.booleans(),
        "targets": st.sampled_from([(), ("acme.*",), ("!acme.*",)]),
        "events": st.sampled_from([("all",), ("high_risk_event",), ("vulnerability_found", "low_risk_event")]),
    }
)
FINDING = st.builds(
    a_finding,
    type=TYPES,
    data=st.text("abc", max_size=5),
    module=st.sampled_from(["sfp_a", "sfp_b"]),
    confidence=st.integers(0, 100),
    risk=st.sampled_from([0, 10, 40, 70, 90]),
)


@given(FINDING, st.lists(FILTERS, max_size=3))
def test_a_row_of_the_host_and_the_live_event_have_the_same_verdict(
    found: Finding, filters: list[dict[str, Any]]
) -> None:
    screen = Screen(tuple(an_endpoint(f"e{number}", **one) for number, one in enumerate(filters)))
    row = found._replace(sources=(), recovered=True)
    assert screen.of(event_of(found)) == screen.of(event_of(row))


@given(FINDING, st.lists(FILTERS, max_size=3))
def test_what_no_endpoint_can_want_by_type_and_severity_is_not_wanted(
    found: Finding, filters: list[dict[str, Any]]
) -> None:
    screen = Screen(tuple(an_endpoint(f"e{number}", **one) for number, one in enumerate(filters)))
    if not is_wanted(found.type, found.risk, screen.at("acme.example")):
        assert screen.of(event_of(found))[0] == []


@settings(max_examples=20)
@given(st.integers(fingerprints.DATA_COUNTED - 3, fingerprints.DATA_COUNTED + 3))
def test_a_verdict_on_data_that_the_host_cuts_stays(length: int) -> None:
    screen = Screen((an_everything("not", data_not_match=("secret",)), an_everything("only", data_match=("secret",))))
    whole = "x" * (length - len("secret")) + "secret"
    live = screen.of(event_of(a_finding(data=whole)))
    assert live == ([Wanted("only", "high_risk_event")], {"not": Withheld.DATA})
    assert screen.of(event_of(a_finding(data=whole[: fingerprints.DATA_COUNTED]))) == live


def test_few_verdicts_are_remembered() -> None:
    screen = Screen((an_everything(data_match=("nothing",)),))
    screen.of(event_of(a_finding(data="short")))
    assert screen.remembered == {}
    screen.of(event_of(a_finding(data="x" * 2000)))
    assert len(screen.remembered) == 1
