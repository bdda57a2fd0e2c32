from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from sfwebhooks.attempts import Outcome, Reply
from sfwebhooks.formats import mattermost
from sfwebhooks.formats.notice import Notice
from sfwebhooks.retry import judge
from tests.builders import NOW, a_batch, a_delivery
from tests.formats.cases import LINK, MARKED_LINKS
from tests.formats.test_chats import message_of
from tests.receivers.chats import Mattermost

PLAIN = "CVE-2026-0001 on 203.0.113.7, jane@acme.example: A_B"
NOTICE = Notice(headline="High: It", body="", facts=(), colour="#E01E5A", footer=("x",))


def attachment_of(notice: Notice) -> dict[str, Any]:
    message = json.loads(mattermost.mattermost_body(notice))
    assert Mattermost().problem(message) == ""
    attachment: dict[str, Any] = message["attachments"][0]
    return attachment


def test_the_message_is_an_attachment_in_the_severitys_colour() -> None:
    assert message_of("mattermost", a_delivery()) == {
        "attachments": [
            {
                "fallback": "High: VULNERABILITY_CVE_HIGH on acme.example: CVE-2026-0001",
                "color": "#E01E5A",
                "title": "High: VULNERABILITY_CVE_HIGH",
                "text": "CVE-2026-0001",
                "fields": [
                    {"title": "Target", "value": "acme.example", "short": True},
                    {"title": "Type", "value": "VULNERABILITY_CVE_HIGH", "short": True},
                    {"title": "Scan", "value": MARKED_LINKS[-1], "short": False},
                ],
                "footer": "Weekly Security Scan · 2026-11-21 10:00:00 UTC · #1",
            }
        ]
    }


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        (PLAIN, PLAIN),
        ("@channel @all @here x.@jane", "＠channel ＠all ＠here x.＠jane"),
        ("<!channel> a & b", "&lt;!channel&gt; a &amp; b"),
        ("*b* _i_ ~town-square `c` a|b", r"\*b\* \_i\_ \~town-square \`c\` a\|b"),
        ("[x](y)", r"\[x\](y)"),
        ("# a\na\n===\n---\n1. a", "\\# a\na\n\\===\n\\---\n1\\. a"),
    ],
)  # fmt: skip
def test_nothing_is_markup_or_a_mention(text: str, sent: str) -> None:
    assert mattermost.escape(text) == sent


@pytest.mark.parametrize("place", ["fallback", "footer"])
def test_nobody_is_mentioned_in_what_is_no_markdown_either(place: str) -> None:
    assert attachment_of(replace(NOTICE, body="@all <!here>", footer=("@all <!here>",)))[place].endswith(
        "＠all &lt;!here&gt;"
    )


def test_title_and_footer_are_cut_beyond_their_limits() -> None:
    for over, cut in ((0, "a"), (1, "…")):
        assert attachment_of(replace(NOTICE, headline="a" * (256 + over)))["title"] == "a" * 255 + cut
        assert attachment_of(replace(NOTICE, footer=("a" * (300 + over),)))["footer"] == "a" * 299 + cut


def test_a_message_of_16383_characters_is_left_as_it_is_and_a_longer_one_is_shortened() -> None:
    def sent(number: int) -> bytes:
        facts = (("k", "v" * 1900), ("m", "v" * 600), ("l", "v" * number))
        return mattermost.mattermost_body(replace(NOTICE, body="b" * 12_000, facts=facts))

    spare = 16_383 - len(sent(100).decode()) + 100
    assert len(sent(spare).decode()) == 16_383
    assert json.loads(sent(spare + 1))["attachments"][0]["text"] == "b" * 3999 + "…"


@pytest.mark.parametrize("text", ["\\", "🎉", "<", "@ "])
def test_the_fullest_message_is_short_enough(text: str) -> None:
    long = text * 9000
    full = replace(NOTICE, headline=long, body=long, facts=((long, long),) * 20, trail=(long,) * 4, footer=(long,) * 9)
    assert len(attachment_of(replace(full, link=LINK))["fields"]) == 12


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (200, "ok", Outcome.DELIVERED),
        (200, '{"status":"OK"}', Outcome.DELIVERED),
        (200, '{"ok":true}', Outcome.DELIVERED),
        (200, "<html>", Outcome.HOLD),
        (200, "", Outcome.HOLD),
        (200, '{"status":7}', Outcome.HOLD),
        (204, "", Outcome.DELIVERED),
        (400, '{"id":"web.incoming_webhook.invalid.app_error","message":"Invalid webhook"}', Outcome.HOLD),
        (400, '{"id":"web.incoming_webhook.text.app_error"}', Outcome.REFUSED),
        (400, '{"message":"Unable to parse incoming data"}', Outcome.REFUSED),
        (400, '{"id":["x"]}', Outcome.REFUSED),
        (403, '{"id":"web.incoming_webhook.permissions.app_error"}', Outcome.HOLD),
        (404, '{"id":"web.incoming_webhook.channel.app_error"}', Outcome.HOLD),
        (501, '{"id":"web.incoming_webhook.disabled.app_error"}', Outcome.HOLD),
        (501, "", Outcome.RETRY),
        (429, "limit exceeded", Outcome.RETRY),
    ],
)
def test_mattermosts_answers_are_read(status: int, body: str, outcome: Outcome) -> None:
    reply = Reply(status, body=body.encode())
    assert (mattermost.read(reply, a_batch()) or judge(reply, NOW)).outcome is outcome
