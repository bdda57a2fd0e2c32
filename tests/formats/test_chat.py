from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sfwebhooks.config.settings import load_mapping
from sfwebhooks.formats.chat import notice
from sfwebhooks.formats.notice import COLOURS, Notice, without_mentions
from sfwebhooks.reasons import Withheld
from sfwebhooks.redaction import explained, rules_with
from sfwebhooks.scan.findings import event_of_finding
from sfwebhooks.severity import Severity
from tests.builders import URL, a_delivery, a_finding, a_scan, an_endpoint, an_event
from tests.formats.cases import UI

CHAT = rules_with((), None, is_chat=True)


def notice_of(name: str, **data: Any) -> Notice:
    return notice(explained(a_delivery(an_event(type=name, severity=Severity.INFO, data=data)), CHAT)[0], an_endpoint())


def test_long_data_is_shown_with_its_length() -> None:
    def facts_of(length: int) -> dict[str, str]:
        event = event_of_finding(a_finding(data="x" * length), a_scan(), "d")
        return dict(notice(a_delivery(event), an_endpoint()).facts)

    assert "Length" not in facts_of(1000)
    assert facts_of(1001)["Length"] == "1,001 characters"
    assert facts_of(5_000_000)["Length"] == "5,000,000 characters"


def test_a_finding_without_data_says_so() -> None:
    assert notice(a_delivery(event_of_finding(a_finding(data=" \n"), a_scan(), "d")), an_endpoint()).body == "(empty)"


def test_of_many_serious_types_the_worst_come_first_and_the_rest_is_omitted() -> None:
    by_type = {"EMAILADDR": 900, "PASSWORD_COMPROMISED": 2, "HASH_COMPROMISED": 7, "VULNERABILITY_CVE_CRITICAL": 1,
               "JUNK_FILE": 3, "TOR_EXIT_NODE": 5, "LEAKSITE_URL": 4}  # fmt: skip
    facts = dict(notice_of("scan_completed", events_by_type=by_type, events_by_severity={"high": 9}).facts)
    assert facts["Most serious"].split("\n") == [
        "VULNERABILITY_CVE_CRITICAL: 1",
        "HASH_COMPROMISED: 7",
        "PASSWORD_COMPROMISED: 2",
        "TOR_EXIT_NODE: 5",
        "LEAKSITE_URL: 4",
    ]


def test_where_nothing_is_serious_the_most_frequent_types_are_shown() -> None:
    facts = dict(notice_of("scan_completed", events_by_type={"TCP_PORT_OPEN": 2, "EMAILADDR": 1900}).facts)
    assert facts["Most frequent"] == "EMAILADDR: 1,900\nTCP_PORT_OPEN: 2"


def test_an_end_shows_the_worst_findings_and_the_counts_of_events_not_sent() -> None:
    top = [{"event_type": "JUNK_FILE", "data": f"https://acme.example/{number}.bak"} for number in range(10)]
    receipt = {"last_sequence": 2, "withheld": 7, "withheld_by_reason": {"outbox_full": 7}}
    facts = dict(notice_of("scan_completed", top_findings=top, receipt=receipt).facts)
    assert facts["Top findings"] == "\n".join(f"JUNK_FILE https://acme.example/{number}.bak" for number in range(3))
    assert facts["Not sent"] == "7 refused because the outbox was full"


def test_an_end_whose_findings_were_known_names_none_and_has_no_alarming_colour() -> None:
    worst = {"events_found": 80, "events_by_severity": {"critical": 1, "info": 79},
             "events_by_type": {"PASSWORD_COMPROMISED": 1},
             "top_findings": [{"event_type": "JUNK_FILE", "data": "x"}]}  # fmt: skip
    first = notice_of("scan_completed", receipt={"withheld_by_reason": {"baseline": 80}}, **worst)
    assert {"Most serious", "Top findings", "Not sent"} <= dict(first.facts).keys()
    assert first.colour == COLOURS[Severity.CRITICAL]

    later = notice_of("scan_completed", receipt={"withheld_by_reason": {"known": 39, "severity": 36}}, **worst)
    assert dict(later.facts)["Not sent"] == "39 known from earlier scans, 36 of a lower severity"
    assert not {"Most serious", "Top findings"} & dict(later.facts).keys()
    assert (later.body, later.colour) == ("80 findings: 1 critical, 79 info", COLOURS[Severity.INFO])


@pytest.mark.parametrize("reason", Withheld)
def test_each_reason_of_a_receipt_has_words_for_readers_who_do_not_know_the_settings(reason: Withheld) -> None:
    words = dict(notice_of("scan_completed", receipt={"withheld_by_reason": {reason.value: 2}}).facts)["Not sent"]
    assert words.startswith("2 ") and "_" not in words
    assert words != f"2 {reason.value}" or reason is Withheld.MUTED


def test_an_end_reported_late_says_why() -> None:
    facts = dict(notice_of("scan_aborted", detected_late=True, reason="host_stopped").facts)
    assert facts["Reported late"] == "SpiderFoot was stopped."


def test_counts_of_any_event_are_one_line_instead_of_many_facts() -> None:
    progress = notice_of("scan_progress", events_found=3, high_risk_events=1, events_by_severity={"high": 1, "low": 2})
    assert progress.body == "3 findings: 1 high, 2 low"
    assert [label for label, _ in progress.facts] == ["Target"]


def test_evidence_is_shown_in_short_lines() -> None:
    evidence = [
        {"event_type": "EMAILADDR", "data": "jane@acme.example"},
        {"event_type": "LEAKSITE_CONTENT", "data": "x"},
    ]
    assert dict(notice_of("correlation_found", evidence=evidence).facts)["Evidence"] == (
        "EMAILADDR j••••@acme.example\nLEAKSITE_CONTENT"
    )
    many = dict(notice_of("correlation_found", evidence=evidence * 4).facts)["Evidence"].split("\n")
    assert (many[:2], many[4:]) == (
        ["EMAILADDR j••••@acme.example", "LEAKSITE_CONTENT"],
        ["EMAILADDR j••••@acme.example", "and 3 more"],
    )


def test_a_secret_that_a_correlation_quotes_is_masked_in_its_words_too() -> None:
    leaked = {"event_type": "PASSWORD_COMPROMISED", "data": "jane@acme.example:hunter22! [x]"}
    rubbish = [7, {}, {"event_type": "EMAILADDR", "data": ""}, {"event_type": None, "data": 7}]
    title = "Password in several leaks: jane@acme.example:hunter22! [x]"
    shown = notice_of("correlation_found", title=title, evidence=[leaked, *rubbish]).body
    assert shown == "Password in several leaks: j••••@acme.example:h••••! [x]"


def test_values_of_unknown_shape_are_not_shown_since_they_might_hold_a_secret() -> None:
    facts = dict(notice_of("else", nested={"password": "hunter22!"}, items=[{"password": "hunter22!"}]).facts)
    assert facts == {"Target": "acme.example", "Items": "1"}


@pytest.mark.parametrize(
    "url", ["https://sf.acme.example", "https://sf.acme.example/", "http://127.0.0.1:5001", "https://h.example/sf//"]
)
def test_ui_url_is_an_address_without_a_slash_at_its_end(url: str) -> None:
    settings = load_mapping({"team": {"url": URL, "ui_url": url}})
    assert not settings.mistakes
    assert settings.endpoints[0].ui_url == url.rstrip("/")


def test_ui_url_is_inherited() -> None:
    settings = load_mapping({"ui_url": "https://sf.acme.example", "team": {"url": URL}})
    assert [endpoint.ui_url for endpoint in settings.endpoints] == ["https://sf.acme.example"]


@pytest.mark.parametrize(
    "url", ["", "sf.acme.example", "ftp://x", "https://h.example/?a=b", "https://h/a|b", "https://h/<a>"]
)
def test_a_wrong_ui_url_is_a_mistake(url: str) -> None:
    settings = load_mapping({"team": {"url": URL, "ui_url": url}})
    assert [mistake.key for mistake in settings.mistakes] == ["ui_url"]
    assert list(settings.held) == ["team"]


def test_the_link_opens_the_scan() -> None:
    endpoint = an_endpoint(ui_url="https://sf.acme.example/spiderfoot")
    assert notice(a_delivery(), endpoint).link == "https://sf.acme.example/spiderfoot/scaninfo?id=5C4A0001"
    assert notice(a_delivery(an_event(scan=None)), endpoint).link == ""


def test_a_second_link_opens_the_scan_on_our_own_page() -> None:
    endpoint = an_endpoint(ui_url="https://sf.acme.example", web_url="https://hooks.acme.example/sent")
    page = "https://hooks.acme.example/sent/scans/5C4A0001"
    ours = ("Show deliveries", page)
    assert notice(a_delivery(), endpoint).links == [("Open scan", "https://sf.acme.example/scaninfo?id=5C4A0001"), ours]
    assert notice(a_delivery(), replace(endpoint, ui_url="")).links == [ours]
    assert notice(a_delivery(an_event(scan=None)), endpoint).links == []
    assert notice(a_delivery(), endpoint).unlinked.links == []


def test_an_id_cannot_leave_the_page_of_its_scan() -> None:
    hostile = a_delivery(an_event(scan=a_scan(id="../x?y#z%2e")))
    assert (
        notice(hostile, an_endpoint(web_url="https://h.example")).page == "https://h.example/scans/..%2Fx%3Fy%23z%252e"
    )


def test_web_url_is_read_as_ui_url_is_and_the_one_of_webhooks_is_that_of_all() -> None:
    settings = load_mapping({"web_url": "https://h.example/", "team": {"url": URL}, "own": {"url": URL, "web_url": UI}})
    assert [one.web_url for one in settings.endpoints] == ["https://h.example", UI]
    assert settings.web_url == "https://h.example"
    assert load_mapping({"own": {"url": URL, "web_url": UI}}).web_url == ""
    assert [one.key for one in load_mapping({"team": {"url": URL, "web_url": "h.example"}}).mistakes] == ["web_url"]


def test_what_is_not_live_says_so_in_the_small_print() -> None:
    assert notice(a_delivery(backfilled=True), an_endpoint()).footer[-1] == "backfilled"
    assert notice(a_delivery(replayed=True), an_endpoint()).footer[-1] == "replayed"
    assert notice(a_delivery(), an_endpoint()).footer[-1] == "#1"


def test_what_is_replayed_says_so_and_either_is_late() -> None:
    assert notice(a_delivery(replayed=True), an_endpoint()).footer[-1] == "replayed"
    late = [a_delivery(replayed=True), a_delivery(backfilled=True), a_delivery()]
    assert [notice(one, an_endpoint()).is_late for one in late] == [True, True, False]


def test_a_link_that_no_chat_would_accept_is_not_shown() -> None:
    length = 900 - len("/scaninfo?id=5C4A0001")
    for over, shown in ((0, True), (1, False)):
        url = f"https://{'a' * (length + over - len('https://'))}"
        assert bool(notice(a_delivery(), an_endpoint(ui_url=url)).link) is shown


def test_our_page_is_linked_as_far_as_both_links_have_room() -> None:
    length = 900 - len(f"{UI}/scaninfo?id=5C4A0001" + "/scans/5C4A0001")
    for over, shown in ((0, True), (1, False)):
        page = f"https://{'a' * (length + over - len('https://'))}"
        found = notice(a_delivery(), an_endpoint(ui_url=UI, web_url=page))
        assert (bool(found.link), bool(found.page)) == (True, shown)


def test_a_label_without_a_letter_is_a_question_mark() -> None:
    assert ("?", "x") in notice_of("else", **{"": "x"}).facts


@pytest.mark.parametrize(
    ("text", "harmless"),
    [
        ("@all (@here) x.@jane -@jane _@jane", "＠all (＠here) x.＠jane -＠jane _＠jane"),
        ("@", "＠"),
        ("jane@acme.example 3 @ 4 a@", "jane@acme.example 3 @ 4 a@"),
    ],
)
def test_an_at_sign_that_could_mention_somebody_is_a_wide_one(text: str, harmless: str) -> None:
    assert without_mentions(text) == harmless


def test_a_time_is_as_people_write_it() -> None:
    facts = dict(notice_of("system_alert", since="2026-11-20T09:40:00.123Z", ends="2026-11-20T09:40Z").facts)
    assert (facts["Since"], facts["Ends"]) == ("2026-11-20 09:40:00 UTC", "2026-11-20T09:40Z")


def test_nothing_is_said_twice() -> None:
    alert = notice_of("system_alert", message="Endpoint siem is failing (http_503).", reason="http_503")
    assert alert.body == "Endpoint siem is failing (http_503)."
    rule = notice_of("correlation_found", title="Bucket found: a", description="Open bucket", rule_name="Open bucket")
    assert (rule.body, "Rule name" in dict(rule.facts)) == ("Bucket found: a\nOpen bucket", False)


def test_an_exception_is_in_front_of_its_text() -> None:
    failed = notice_of("module_error", module="sfp_x", exception="KeyError", error="'data'")
    assert (failed.body, "Exception" in dict(failed.facts)) == ("KeyError: 'data'", False)


def test_progress_shows_no_counters_of_ours() -> None:
    labels = {label for label, _ in notice_of("scan_progress", status="RUNNING", number=3, elapsed=61).facts}
    assert labels == {"Target", "Elapsed"}


def test_a_source_that_is_unknown_is_not_shown() -> None:
    found = {"event_type": "X", "data": "x"}
    sources = [dict(notice_of("high_risk_event", **found, data_source=name).facts) for name in ("Unknown", "Shodan")]
    assert [facts.get("Data source") for facts in sources] == [None, "Shodan"]
