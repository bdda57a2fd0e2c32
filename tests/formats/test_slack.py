from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from sfwebhooks.attempts import Outcome, Reply
from sfwebhooks.events import Batch, Delivery, WebhookEvent
from sfwebhooks.formats import render, slack
from sfwebhooks.formats.notice import Notice
from sfwebhooks.reasons import Failure
from sfwebhooks.retry import judge
from sfwebhooks.scan.findings import Source, event_of_finding
from sfwebhooks.severity import Severity
from tests.builders import NOW, a_batch, a_delivery, a_finding, a_scan, an_endpoint, an_event
from tests.formats.cases import LINK, UI
from tests.receivers.chats import Slack

TYPE_OF_SEVERITY = {
    Severity.CRITICAL: "VULNERABILITY_CVE_CRITICAL",
    Severity.HIGH: "PASSWORD_COMPROMISED",
    Severity.MEDIUM: "VULNERABILITY_GENERAL",
    Severity.LOW: "SIMILARDOMAIN",
    Severity.INFO: "EMAILADDR",
}
COUNTS = {
    "events_found": 1037,
    "events_by_severity": {"critical": 1, "high": 4, "medium": 0, "low": 12, "info": 1020},
    "events_by_type": {"EMAILADDR": 1020, "PASSWORD_COMPROMISED": 4, "TCP_PORT_OPEN": 12, "DEFACED_INTERNET_NAME": 1},
}
SCAN_EVENTS: dict[str, dict[str, Any]] = {
    "scan_started": {"status": "STARTED", "modules_used": ["sfp_dnsresolve"] * 40},
    "scan_progress": {"events_found": 12},
    "scan_completed": {"status": "FINISHED", "duration": 3723, **COUNTS},
    "scan_failed": {"status": "ERROR-FAILED", "duration": 3, "error": "Could not update TLD list", **COUNTS},
    "scan_aborted": {"status": "ABORTED", "duration": 60, **COUNTS},
}
OTHER_EVENTS: dict[str, dict[str, Any]] = {
    "correlation_found": {"title": "Expired certificate", "rule_id": "cert_expired", "risk": "LOW", "event_count": 3},
    "system_alert": {"message": "Endpoint siem is failing: http_503", "endpoint": "siem", "waiting": 1203},
    "module_error": {"module": "sfp_shodan", "error": "Traceback\nKeyError: 'x'"},
    "workspace_created": {},
}


def sent(event: WebhookEvent, **values: Any) -> dict[str, Any]:
    """Return the message that goes out for an event, parsed."""
    return rendered(a_delivery(event, **values))


def rendered(delivery: Delivery) -> dict[str, Any]:
    content = render(Batch((delivery,)), an_endpoint(ui_url=UI, format="slack"))
    assert content.headers["Content-Type"] == "application/json"
    message: dict[str, Any] = json.loads(content.body)
    return message


def a_finding_of(host_type: str, data: str, description: str = "What it is", **values: Any) -> WebhookEvent:
    return event_of_finding(a_finding(type=host_type, data=data, **values), a_scan(), description)


def a_notice(**values: Any) -> Notice:
    defaults: dict[str, Any] = {"headline": "High: It", "body": "", "facts": (), "colour": "#E01E5A", "footer": ("x",)}
    return Notice(**{**defaults, **values})


def blocks_of(message: dict[str, Any]) -> list[dict[str, Any]]:
    return [*message["blocks"], *message["attachments"][0]["blocks"]]


def texts_of(message: dict[str, Any]) -> list[dict[str, Any]]:
    """Return all text objects of a message."""
    found = []
    for block in blocks_of(message):
        found += [block["text"]] if "text" in block else []
        found += [*block.get("fields", ()), *block.get("elements", ())]
    return found


def shown(message: dict[str, Any]) -> str:
    return "\n".join([message["text"], *(text["text"] for text in texts_of(message))])


def block(message: dict[str, Any], key: str) -> dict[str, Any]:
    """Return the attachment's first block that has the key."""
    found: dict[str, Any] = next(block for block in message["attachments"][0]["blocks"] if key in block)
    return found


def fields_of(message: dict[str, Any]) -> dict[str, str]:
    """Return label -> value of all facts."""
    found = [field for block in message["attachments"][0]["blocks"] for field in block.get("fields", ())]
    assert [field["type"] for field in found] == ["mrkdwn", "plain_text"] * (len(found) // 2)
    return {label["text"].strip("*"): value["text"] for label, value in zip(found[::2], found[1::2])}


def accepted(message: dict[str, Any]) -> None:
    assert Slack().problem(message) == ""


@pytest.mark.parametrize("severity", Severity)
def test_slack_accepts_findings_of_each_severity(severity: Severity) -> None:
    message = sent(a_finding_of(TYPE_OF_SEVERITY[severity], "x"))
    accepted(message)
    assert message["blocks"][0]["text"]["text"] == f"{severity.label.capitalize()}: What it is"


def test_each_severity_has_a_colour_of_its_own() -> None:
    colours = {sent(a_finding_of(name, "x"))["attachments"][0]["color"] for name in TYPE_OF_SEVERITY.values()}
    assert len(colours) == len(Severity)


@pytest.mark.parametrize("name", [*SCAN_EVENTS, *OTHER_EVENTS])
@pytest.mark.parametrize("scan", [a_scan(), None])
def test_slack_accepts_every_other_event(name: str, scan: Any) -> None:
    data = {**SCAN_EVENTS, **OTHER_EVENTS}[name]
    message = sent(an_event(type=name, severity=Severity.MEDIUM, data=data, scan=scan))
    accepted(message)
    assert message["blocks"][0]["text"]["text"].startswith(name.replace("_", " ").capitalize())


def test_the_same_delivery_gives_the_same_bytes() -> None:
    event = a_finding_of("EMAILADDR", "jane@acme.example", sources=(Source("URL", "x", "m", "h"),))
    one, other = (slack.FORMAT.render(a_delivery(event), an_endpoint(ui_url=UI)) for _ in range(2))
    assert one == other


def test_data_is_shown_where_nothing_is_markup_and_is_exact() -> None:
    data = "<!channel> `x` *b* & :tada:"
    assert block(sent(a_finding_of("SIMILARDOMAIN", data)), "text")["text"] == {
        "type": "plain_text",
        "text": data,
        "emoji": False,
    }


def test_markup_elsewhere_is_verbatim_so_that_bare_addresses_become_no_links() -> None:
    message = sent(a_finding_of("SIMILARDOMAIN", "x", data_source="https://evil.example"))
    assert all(text["verbatim"] for text in texts_of(message) if text["type"] == "mrkdwn")
    assert message["unfurl_links"] is message["unfurl_media"] is False


def test_exactly_three_characters_are_escaped_and_each_once() -> None:
    assert slack.escape("""&amp; <a> "q" 'q' `*_~""") == """&amp;amp; &lt;a&gt; "q" 'q' `*_~"""


def test_the_notification_says_how_bad_what_on_whom() -> None:
    message = sent(a_finding_of("SIMILARDOMAIN", "acme.exarnple\n<!channel>", "Similar Domain"))
    assert message["text"] == "Low: Similar Domain on acme.example: acme.exarnple &lt;!channel&gt;"


def test_a_finding_shows_target_type_module_and_confidence() -> None:
    message = sent(a_finding_of("EMAILADDR", "x", module="sfp_email", confidence=75))
    assert fields_of(message) == {
        "Target": "acme.example",
        "Type": "EMAILADDR",
        "Module": "sfp_email",
        "Confidence": "75 %",
    }


def test_a_subscribed_special_name_is_shown() -> None:
    message = sent(a_finding_of("VULNERABILITY_CVE_HIGH", "x", "CVE"), name="vulnerability_found")
    assert message["blocks"][0]["text"]["text"] == "Vulnerability found (high): CVE"


def test_small_print_has_scan_time_number_and_the_link() -> None:
    message = sent(a_finding_of("EMAILADDR", "x", generated=NOW), sequence=17)
    assert [text["text"] for text in message["attachments"][0]["blocks"][-1]["elements"]] == [
        "Weekly Security Scan",
        "2026-11-21 10:00:00 UTC",
        "#17",
        f"<{UI}/scaninfo?id=5C4A0001|Open scan>",
    ]


def test_without_ui_url_there_is_no_link() -> None:
    assert b"Open scan" not in slack.FORMAT.render(a_delivery(), an_endpoint()).body


def test_a_scans_id_cannot_break_out_of_the_link() -> None:
    event = an_event(scan=a_scan(id="a|b>&c d"))
    assert f"<{UI}/scaninfo?id=a%7Cb%3E%26c%20d|Open scan>" in shown(rendered(a_delivery(event)))


def test_an_address_cannot_break_out_of_the_link_either() -> None:
    notice = a_notice(link="https://h.example/?a=1&b=<x>")
    assert "<https://h.example/?a=1&amp;b=&lt;x&gt;|Open scan>" in shown(slack.slack_body(notice))


def test_the_sources_are_shown_briefly_without_the_target() -> None:
    sources = [Source("URL", f"https://acme.example/{number}", "m", "h") for number in range(200)]
    target = Source("INTERNET_NAME", "acme.example", "m", "h")
    short = shown(sent(a_finding_of("EMAILADDR", "x", sources=(*sources[:2], target))))
    assert "Found via URL https://acme.example/0 ← URL https://acme.example/1\n" in short
    long = shown(sent(a_finding_of("EMAILADDR", "x", sources=tuple(sources))))
    assert "URL https://acme.example/2 ← 29 more\n" in long
    assert "Found via" not in shown(sent(a_finding_of("EMAILADDR", "x", sources=(target,))))


@pytest.mark.parametrize(
    ("host_type", "data", "secret"),
    [
        ("PASSWORD_COMPROMISED", "jane@acme.example:hunter22! [x]", "hunter22!"),
        ("HASH_COMPROMISED", "jane@acme.example:5f4dcc3b5aa765d61d8327deb882cf99 [x]", "5f4dcc3b5aa7"),
        ("CREDIT_CARD_NUMBER", "4111111111111234", "41111111"),
        ("IBAN_NUMBER", "DE89370400440532013000", "893704"),
        ("LEAKSITE_CONTENT", "jane@acme.example:hunter22!", "hunter22!"),
    ],
)
def test_no_secret_reaches_the_channel_not_even_through_a_source(host_type: str, data: str, secret: str) -> None:
    source = (Source(host_type, data, "m", "h"), Source("EMAILADDR", "jane@acme.example", "m", "h"))
    assert secret not in shown(sent(a_finding_of(host_type, data)))
    assert secret not in shown(sent(a_finding_of("EMAILADDR", "x", sources=source)))
    evidence = {"evidence": [{"event_type": host_type, "data": data}]}
    assert secret not in shown(sent(an_event(type="correlation_found", data=evidence)))
    assert secret not in shown(sent(an_event(type="else", data={"event_type": host_type, "data": data})))


def test_a_started_scan_shows_its_modules() -> None:
    message = sent(an_event(type="scan_started", severity=Severity.INFO, data={"modules_used": ["sfp_a", "sfp_b"]}))
    assert fields_of(message)["Modules"] == "sfp_a, sfp_b"
    many = sent(an_event(type="scan_started", severity=Severity.INFO, data=SCAN_EVENTS["scan_started"]))
    assert fields_of(many)["Modules"] == "40"


def test_a_completed_scan_shows_counts_duration_and_serious_findings() -> None:
    message = sent(an_event(type="scan_completed", severity=Severity.INFO, data=SCAN_EVENTS["scan_completed"]))
    assert block(message, "text")["text"]["text"] == "1,037 findings: 1 critical, 4 high, 12 low, 1,020 info"
    assert fields_of(message) == {
        "Target": "acme.example",
        "Duration": "1 h 2 min",
        "Most serious": "DEFACED_INTERNET_NAME: 1\nPASSWORD_COMPROMISED: 4",
    }


@pytest.mark.parametrize(
    ("found", "colour"),
    [
        ({"critical": 1}, "#8B0000"),
        ({"high": 1, "info": 9}, "#E01E5A"),
        ({"medium": 1}, "#ECB22E"),
        ({"low": 5}, "#2EB67D"),
        ({}, "#2EB67D"),
    ],
)
def test_a_completed_scan_is_green_unless_something_needs_a_look(found: dict[str, int], colour: str) -> None:
    data = {"events_found": sum(found.values()), "events_by_severity": found}
    message = sent(an_event(type="scan_completed", severity=Severity.INFO, data=data))
    assert message["attachments"][0]["color"] == colour


def test_a_completed_scan_whose_counts_are_unknown_is_not_called_good() -> None:
    message = sent(an_event(type="scan_completed", severity=Severity.INFO, data={}))
    assert message["attachments"][0]["color"] == "#9AA0A6"


def test_a_failed_scan_shows_why() -> None:
    message = sent(an_event(type="scan_failed", severity=Severity.MEDIUM, data=SCAN_EVENTS["scan_failed"]))
    assert message["text"] == "Scan failed on acme.example: Could not update TLD list"
    assert fields_of(message)["Found"].startswith("1,037 findings")


def test_a_dead_scan_process_is_shown_in_words() -> None:
    data = {"error": "process_died", "detected_late": True, "reason": "process_died"}
    message = sent(an_event(type="scan_failed", severity=Severity.MEDIUM, data=data))
    assert block(message, "text")["text"]["text"] == "The scan's process died."
    assert "Reported late" not in fields_of(message)


def test_an_event_of_no_special_kind_shows_its_message_and_its_simple_values() -> None:
    message = sent(
        an_event(type="system_alert", severity=Severity.MEDIUM, data=OTHER_EVENTS["system_alert"], scan=None)
    )
    assert message["blocks"][0]["text"]["text"] == "System alert (medium)"
    assert block(message, "text")["text"]["text"] == "Endpoint siem is failing: http_503"
    assert fields_of(message) == {"Endpoint": "siem", "Waiting": "1203"}


def test_the_headline_is_cut_beyond_150() -> None:
    for length, expected in ((150, "h" * 150), (151, "h" * 149 + "…")):
        assert slack.slack_body(a_notice(headline="h" * length))["blocks"][0]["text"]["text"] == expected


def test_the_body_is_cut_beyond_3000() -> None:
    for length, expected in ((3000, "b" * 3000), (3001, "b" * 2999 + "…")):
        assert block(slack.slack_body(a_notice(body="b" * length)), "text")["text"]["text"] == expected


def test_the_trail_is_cut_beyond_3000() -> None:
    room = 3000 - len("Found via ")
    for length, expected in ((room, "t" * room), (room + 1, "t" * (room - 1) + "…")):
        message = slack.slack_body(a_notice(trail=("t" * length,)))
        assert block(message, "elements")["elements"][0]["text"] == f"Found via {expected}"


def test_a_value_is_cut_beyond_2000_and_a_label_beyond_500() -> None:
    for length, expected in ((2000, "v" * 2000), (2001, "v" * 1999 + "…")):
        assert fields_of(slack.slack_body(a_notice(facts=(("Label", "v" * length),)))) == {"Label": expected}
    for length, expected in ((498, "l" * 498), (499, "l" * 497 + "…")):
        assert fields_of(slack.slack_body(a_notice(facts=(("l" * length, "v"),)))) == {expected: "v"}


@pytest.mark.parametrize("text", ["x\n*Severity*\nlow", "*bold* _i_ ~s~ `c` ```f```", "> quote\n>>> all", "• *a*"])
def test_no_text_from_outside_can_be_markup_or_imitate_a_label(text: str) -> None:
    message = sent(an_event(type="system_alert", data={"message": text, "finding": text, text: text}))
    marked = [one["text"] for one in texts_of(message) if one["type"] == "mrkdwn"]
    assert "*Finding*" in marked and fields_of(message)["Finding"] == text
    assert all(re.fullmatch(r"\*[^*_~`\n]+\*|<.*\|Open scan>", one) for one in marked)


INVISIBLE = (
    "\u200b\u200c\u200d\u2060\ufeff\u00ad\u061c\u200e\u200f\u202e\u2066\U000e0041\U000e0101\u3164\u115f\uffa0"
    "\u2800\u034f\u180e\ufe00\u2028\x1b"
)


@pytest.mark.parametrize("character", INVISIBLE)
def test_what_nobody_sees_is_replaced_in_every_place_of_a_message(character: str) -> None:
    text = f"a{character}b"
    finding = a_finding_of("SIMILARDOMAIN", text, sources=(Source("URL", text, "m", "h"),), module=text)
    named = replace(finding, scan=a_scan(name=text, target=text))
    for message in (sent(named), sent(an_event(type="system_alert", data={"message": text, text: text}))):
        assert character not in json.dumps(message, ensure_ascii=False)
        assert "a\ufffdb" in shown(message)


def test_of_more_than_ten_facts_the_last_field_says_how_many_are_missing() -> None:
    facts = tuple((f"L{number}", "v") for number in range(11))
    assert list(fields_of(slack.slack_body(a_notice(facts=facts[:10])))) == [f"L{number}" for number in range(10)]
    assert fields_of(slack.slack_body(a_notice(facts=facts)))["And"] == "2 more"
    assert len(fields_of(slack.slack_body(a_notice(facts=facts)))) == 10


def test_of_more_than_ten_elements_the_link_is_kept() -> None:
    footer = tuple(str(number) for number in range(11))
    for notice, expected in (
        (a_notice(footer=footer[:10]), list(footer[:10])),
        (a_notice(footer=footer), list(footer[:10])),
        (a_notice(footer=footer, link=UI), [*footer[:9], f"<{UI}|Open scan>"]),
    ):
        assert [text["text"] for text in block(slack.slack_body(notice), "elements")["elements"]] == expected


def test_the_notification_is_cut_beyond_4000() -> None:
    for length, expected in ((4000, "h" * 4000), (4001, "h" * 3999 + "…")):
        assert slack.slack_body(a_notice(headline="h" * length))["text"] == expected


def test_a_message_of_12000_characters_is_left_as_it_is_and_a_longer_one_is_shortened_everywhere() -> None:
    facts = tuple((f"{number}", "v" * 1996) for number in range(4))  # with their labels 4 times 1999
    notice = a_notice(headline="h" * 150, body="b" * 3000, facts=facts, footer=("f",))
    spare = 12_000 - 150 - 3000 - 4 * 1999 - 1 - len("Found via ")
    full = slack.slack_body(replace(notice, trail=("t" * spare,)))
    assert sum(len(text["text"]) for text in texts_of(full)) == 12_000
    over = slack.slack_body(replace(notice, trail=("t" * (spare + 1),)))
    assert block(over, "text")["text"]["text"] == "b" * 1499 + "…"
    assert {len(value) for value in fields_of(over).values()} == {1500}
    assert sum(len(text["text"]) for text in texts_of(over)) <= 12_000


def test_the_fullest_message_is_short_enough() -> None:
    long = "&" * 5000
    notice = a_notice(headline=long, body=long, facts=((long, long),) * 20, trail=(long,), footer=(long,) * 20, link=UI)
    accepted(slack.slack_body(replace(notice, link=LINK)))


@pytest.mark.parametrize(
    "body",
    [
        b"ok",
        b"ok\n",
        b" ok ",
        # receivers that take Slack's messages
        b"OK",
        b'{"ok":true}',
        b'{"ok": true, "ts": "1.2"}',
        b'{"success":true}',
        b'{"result":"success","msg":""}',
    ],
)
def test_ok_is_left_to_the_table_which_calls_it_delivered(body: bytes) -> None:
    assert slack.read(Reply(200, body=body), a_batch()) is None
    assert judge(Reply(200, body=body), NOW).outcome is Outcome.DELIVERED


HELD = [b"", b"<html>Sign in</html>", b"not ok", b"\xff", b"ok" * 99, b"[" * 65536, b'["ok"]', b'{"ok":"true"}',
        b'{"ok":false}', b'{"success":false}', b'{"success":1}', b'{"result":"error"}', b"true", b"{}"]  # fmt: skip


def test_an_empty_204_is_left_to_the_table_which_calls_it_delivered() -> None:
    assert slack.read(Reply(204), a_batch()) is None
    assert judge(Reply(204), NOW).outcome is Outcome.DELIVERED


@pytest.mark.parametrize("body", HELD)
def test_a_200_without_ok_holds_the_endpoint_and_loses_nothing(body: bytes) -> None:
    verdict = slack.read(Reply(200, body=body), a_batch())
    assert verdict is not None
    assert verdict.outcome is Outcome.HOLD


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (400, b"invalid_payload", Outcome.REFUSED),
        (400, b"user_not_found", Outcome.REFUSED),
        (400, b"invalid_blocks", Outcome.REFUSED),
        (400, b"no_text", Outcome.REFUSED),
        (400, b"no_service", Outcome.HOLD),
        (400, b"channel_is_archived", Outcome.HOLD),
        (403, b"action_prohibited", Outcome.HOLD),
        (403, b"invalid_token", Outcome.HOLD),
        (404, b"channel_not_found", Outcome.HOLD),
        (404, b"no_service", Outcome.HOLD),
        (410, b"channel_is_archived", Outcome.DISABLE),
        (429, b"rate_limited", Outcome.RETRY),
        (500, b"rollup_error", Outcome.RETRY),
        (503, b"", Outcome.RETRY),
    ],
)
def test_slacks_answers_mean_what_its_documentation_says(status: int, body: bytes, outcome: Outcome) -> None:
    reply = Reply(status, body=body)
    assert (slack.read(reply, a_batch()) or judge(reply, NOW)).outcome is outcome


def test_a_failure_without_an_answer_is_left_to_the_table() -> None:
    assert slack.read(Reply(failure=Failure.TIMEOUT), a_batch()) is None
