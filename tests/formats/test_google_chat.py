from __future__ import annotations

import json
from dataclasses import replace

import pytest

from sfwebhooks.attempts import Outcome, Reply
from sfwebhooks.formats import google_chat
from sfwebhooks.formats.notice import Notice
from sfwebhooks.retry import judge
from tests.builders import NOW, a_batch, a_delivery, an_endpoint
from tests.formats.cases import LINK, SCAN_PAGE
from tests.formats.test_chats import message_of
from tests.receivers.chats import GoogleChat, texts_in
from tests.receivers.vendor import Json

NOTICE = Notice(headline="High: It", body="", facts=(), colour="#E01E5A", footer=("x",))


def sent(notice: Notice) -> Json:
    message: Json = json.loads(google_chat.google_chat_body(notice))
    assert GoogleChat().problem(message) == ""
    return message


def test_the_message_is_a_card_with_a_text_for_notifications() -> None:
    links = (("Open scan", LINK), ("Show deliveries", SCAN_PAGE))
    widgets = [
        {"textParagraph": {"text": '<b><font color="#E01E5A">High: VULNERABILITY_CVE_HIGH</font></b>'}},
        {"textParagraph": {"text": "CVE-2026-0001"}},
        {"decoratedText": {"topLabel": "Target", "text": "acme.example", "wrapText": True}},
        {"decoratedText": {"topLabel": "Type", "text": "VULNERABILITY_CVE_HIGH", "wrapText": True}},
        {"textParagraph": {"text": "Weekly Security Scan · 2026-11-21 10:00:00 UTC · #1"}},
        {"buttonList": {"buttons": [{"text": words, "onClick": {"openLink": {"url": url}}} for words, url in links]}},
    ]
    assert message_of("google_chat", a_delivery()) == {
        "fallbackText": "High: VULNERABILITY_CVE_HIGH on acme.example: CVE-2026-0001",
        "cardsV2": [{"cardId": "spiderfoot", "card": {"sections": [{"widgets": widgets}]}}],
    }


def test_it_is_json_in_utf_8() -> None:
    content = google_chat.FORMAT.render(a_delivery(), an_endpoint())
    assert content.headers == {"Content-Type": "application/json; charset=UTF-8"}


def test_markup_is_escaped_and_lines_are_kept() -> None:
    assert google_chat.escape("<users/all> <b>&amp;\n*x*") == "&lt;users/all&gt; &lt;b&gt;&amp;amp;<br>*x*"


def test_a_message_of_32000_bytes_is_left_as_it_is_and_a_longer_one_is_shortened() -> None:
    def body(number: int) -> bytes:
        facts = tuple((str(at), "€" * length) for at, length in enumerate((2000, 2000, 2000, 1500)))
        return google_chat.google_chat_body(replace(NOTICE, body="b" * 8000, facts=(*facts, ("l", "v" * number))))

    spare = 32_000 - len(body(1)) + 1
    assert len(body(spare)) == 32_000
    assert "b" * 3999 + "…" in texts_in(json.loads(body(spare + 1)))


@pytest.mark.parametrize("text", ["<", "🎉", "ü", '"', "\n"])
def test_the_fullest_message_is_short_enough(text: str) -> None:
    long = text * 9000 + "x"
    full = replace(NOTICE, headline=long, body=long, facts=((long, long),) * 20, trail=(long,) * 4, footer=(long,) * 9)
    assert len(texts_in(sent(replace(full, link=LINK)), "topLabel")) == 11


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (200, '{"name":"spaces/S/messages/1"}', Outcome.DELIVERED),
        (200, "ok", Outcome.HOLD),
        (200, "<html>Sign in</html>", Outcome.HOLD),
        (400, '{"error":{"code":400,"status":"INVALID_ARGUMENT"}}', Outcome.REFUSED),
        (401, "", Outcome.HOLD),
        (403, '{"error":{"code":403,"status":"PERMISSION_DENIED"}}', Outcome.HOLD),
        (404, '{"error":{"code":404,"status":"NOT_FOUND"}}', Outcome.HOLD),
        (429, '{"error":{"code":429,"status":"RESOURCE_EXHAUSTED"}}', Outcome.RETRY),
        (503, "", Outcome.RETRY),
    ],
)
def test_google_chats_answers_are_read(status: int, body: str, outcome: Outcome) -> None:
    reply = Reply(status, body=body.encode())
    assert (google_chat.read(reply, a_batch()) or judge(reply, NOW)).outcome is outcome


def test_a_reply_that_repeats_a_long_message_is_cut_off_and_still_a_success() -> None:
    """The sender reads 64 KiB of a reply, and a message of 32,000 bytes may be three times as long with escapes."""
    body = json.dumps({"name": "spaces/S/messages/1", "fallbackText": "🎉" * 8000}).encode()[:65536]
    assert len(body) == 65536 and google_chat.read(Reply(200, body=body), a_batch()) is None
