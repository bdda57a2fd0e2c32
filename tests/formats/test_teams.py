from __future__ import annotations

import json
from dataclasses import replace

import pytest

from sfwebhooks.attempts import Outcome, Reply
from sfwebhooks.formats import teams
from sfwebhooks.formats.notice import Notice
from sfwebhooks.retry import judge
from sfwebhooks.severity import Severity
from tests.builders import NOW, a_batch, a_delivery, an_event
from tests.formats.cases import LINK, SCAN_PAGE
from tests.formats.test_chats import message_of
from tests.receivers.chats import Teams, texts_in
from tests.receivers.vendor import Json

NOTICE = Notice(headline="High: It", body="", facts=(), colour="#E01E5A", footer=("x",))


def card_of(notice: Notice) -> Json:
    message = json.loads(teams.teams_body(notice))
    assert Teams().problem(message) == ""
    card: Json = message["attachments"][0]["content"]
    return card


def test_the_message_is_a_card_in_the_envelope_that_the_workflow_reads() -> None:
    message = message_of("teams", a_delivery())
    (attachment,) = message.pop("attachments")
    card = attachment.pop("content")
    assert message == {"type": "message"}
    assert attachment == {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None}
    assert (card["version"], card["actions"]) == (
        "1.4",
        [
            {"type": "Action.OpenUrl", "title": "Open scan", "url": LINK},
            {"type": "Action.OpenUrl", "title": "Show deliveries", "url": SCAN_PAGE},
        ],
    )
    assert texts_in(card["body"]) == [
        "High: VULNERABILITY_CVE_HIGH",
        "CVE-2026-0001",
        *("Target: ", "acme.example", "Type: ", "VULNERABILITY_CVE_HIGH"),
        "Weekly Security Scan · 2026-11-21 10:00:00 UTC · #1",
    ]


@pytest.mark.parametrize(
    ("severity", "style"),
    [
        (Severity.CRITICAL, "attention"),
        (Severity.HIGH, "attention"),
        (Severity.MEDIUM, "warning"),
        (Severity.LOW, "accent"),
        (Severity.INFO, "emphasis"),
    ],
)
def test_the_headline_is_on_the_severitys_ground(severity: Severity, style: str) -> None:
    event = an_event(type="system_alert", severity=severity, data={"message": "x"})
    assert message_of("teams", a_delivery(event))["attachments"][0]["content"]["body"][0]["style"] == style


def test_a_good_end_is_on_green() -> None:
    event = an_event(type="scan_completed", severity=Severity.INFO, data={"events_found": 3})
    assert message_of("teams", a_delivery(event))["attachments"][0]["content"]["body"][0]["style"] == "good"


def test_text_from_outside_is_exact_since_nothing_in_it_is_markup() -> None:
    data = "<at>x</at> [x](y) **b** `c`\n# d"
    card = card_of(replace(NOTICE, body=data))
    assert data in texts_in(card["body"])


def test_a_message_of_20000_bytes_is_left_as_it_is_and_a_longer_one_is_shortened() -> None:
    def body(number: int) -> bytes:
        facts = (("a", "€" * 2000), ("b", "€" * 1000), ("l", "v" * number))
        return teams.teams_body(replace(NOTICE, body="b" * 8000, facts=facts))

    spare = 20_000 - len(body(1)) + 1
    assert len(body(spare)) == 20_000
    assert "b" * 3999 + "…" in texts_in(json.loads(body(spare + 1)))


@pytest.mark.parametrize("text", ["€", "🎉", '"', "\\", "\n"])
def test_the_fullest_message_is_small_enough(text: str) -> None:
    long = text * 9000 + "x"
    full = replace(NOTICE, headline=long, body=long, facts=((long, long),) * 20, trail=(long,) * 4, footer=(long,) * 9)
    assert len(card_of(replace(full, link=LINK + "x" * 850))["body"]) == 14


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (200, "", Outcome.DELIVERED),
        (200, "1", Outcome.DELIVERED),
        (202, "", Outcome.DELIVERED),
        (204, "", Outcome.DELIVERED),
        (200, "Webhook message delivery failed. Microsoft Teams endpoint returned HTTP error 429", Outcome.RETRY),
        (200, "Microsoft Teams endpoint returned HTTP error 413 with ContextId x", Outcome.REFUSED),
        (200, "Microsoft Teams endpoint returned HTTP error 403", Outcome.HOLD),
        (200, "Microsoft Teams endpoint returned HTTP error 503", Outcome.RETRY),
        (400, "", Outcome.REFUSED),
        (413, "Request Entity Too Large", Outcome.REFUSED),
        (401, "", Outcome.HOLD),
        (404, '{"error":{"code":"WorkflowNotFound"}}', Outcome.HOLD),
        (410, "", Outcome.DISABLE),
        (429, "", Outcome.RETRY),
        (502, "", Outcome.RETRY),
    ],
)
def test_a_workflows_answers_are_read(status: int, body: str, outcome: Outcome) -> None:
    reply = Reply(status, body=body.encode())
    assert (teams.read(reply, a_batch()) or judge(reply, NOW)).outcome is outcome
