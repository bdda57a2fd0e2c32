from __future__ import annotations

import json
from typing import Any

import pytest

from sfwebhooks.attempts import Outcome, Reply
from sfwebhooks.config.settings import load_mapping
from sfwebhooks.endpoints import Secret
from sfwebhooks.formats import telegram
from sfwebhooks.formats.cutting import utf16_length
from sfwebhooks.formats.notice import Notice
from sfwebhooks.retry import judge
from tests.builders import NOW, a_batch, a_delivery, an_endpoint, an_event
from tests.formats.cases import LINK
from tests.formats.test_chats import message_of
from tests.receivers.chats import Telegram
from tests.receivers.vendor import Json

URL = "https://api.telegram.org/bot123456:token/sendMessage"


def a_team(**values: str) -> dict[str, str]:
    return {"url": URL, "format": "telegram", "chat_id": "-1001", **values}


def parts_of(message: Json) -> list[tuple[str, str]]:
    """Return the type and the text of each entity."""
    units = message["text"].encode("utf-16-le")
    return [
        (one["type"], units[2 * one["offset"] : 2 * (one["offset"] + one["length"])].decode("utf-16-le"))
        for one in message["entities"]
    ]


# --- the message


def test_the_message_is_a_text_with_entities() -> None:
    message = message_of("telegram", a_delivery())
    assert message["text"].split("\n") == [
        "High: VULNERABILITY_CVE_HIGH",
        "CVE-2026-0001",
        "Target: acme.example",
        "Type: VULNERABILITY_CVE_HIGH",
        "Weekly Security Scan · 2026-11-21 10:00:00 UTC · #1",
        "Open scan",
        "Show deliveries",
    ]
    assert parts_of(message) == [
        ("bold", "High: VULNERABILITY_CVE_HIGH"),
        ("pre", "CVE-2026-0001"),
        ("bold", "Target"),
        ("code", "acme.example"),
        ("bold", "Type"),
        ("code", "VULNERABILITY_CVE_HIGH"),
        ("italic", "Weekly Security Scan · 2026-11-21 10:00:00 UTC · #1"),
        ("text_link", "Open scan"),
        ("text_link", "Show deliveries"),
    ]
    assert (message["entities"][-2]["url"], message["link_preview_options"]) == (LINK, {"is_disabled": True})
    assert "parse_mode" not in message and "disable_notification" not in message


def test_offsets_count_an_emoji_as_two() -> None:
    message = message_of("telegram", a_delivery(an_event(data={"event_type": "X", "data": "🎉 <b>", "module": "🎉"})))
    assert ("pre", "🎉 <b>") in parts_of(message) and ("code", "🎉") in parts_of(message)


def test_a_value_of_several_lines_is_a_block() -> None:
    event = an_event(type="scan_completed", data={"events_by_type": {"A": 2, "B": 1}})
    assert ("pre", "A: 2\nB: 1") in parts_of(message_of("telegram", a_delivery(event)))


def test_nobody_is_mentioned_outside_of_code() -> None:
    event = an_event(type="system_alert", data={"message": "@jane", "@jane": "@jane"})
    parts = parts_of(message_of("telegram", a_delivery(event)))
    assert [(kind, text) for kind, text in parts if "jane" in text] == [
        ("pre", "@jane"),
        ("bold", "＠jane"),
        ("code", "@jane"),
    ]


@pytest.mark.parametrize("key", ["backfilled", "replayed"])
def test_what_comes_late_does_not_ring(key: str) -> None:
    values: dict[str, Any] = {key: True}
    assert message_of("telegram", a_delivery(**values))["disable_notification"] is True


def test_a_message_of_4096_characters_is_left_as_it_is_and_a_longer_one_is_shortened() -> None:
    def text(number: int) -> str:
        data = {"event_type": "X", "data": "b" * 3000, "module": "m" * number}
        message = message_of("telegram", a_delivery(an_event(data=data)))
        assert Telegram().problem(message) == ""
        found: str = message["text"]
        return found

    spare = 4096 - utf16_length(text(1)) + 1
    assert utf16_length(text(spare)) == 4096
    assert "b" * 1999 + "…" in text(spare + 1)


@pytest.mark.parametrize("letter", ["a", "🎉", "\n.", "@"])
def test_the_fullest_message_is_short_enough(letter: str) -> None:
    long = letter * 9000
    full = Notice(long, long, ((long, long),) * 20, "#E01E5A", long, (long,) * 4, (long,) * 9, LINK)
    text, entities = telegram.composed(full, telegram.CAPS[-1])
    assert utf16_length(text) <= 4096
    assert len(entities) == 26


# --- the settings


@pytest.mark.parametrize(
    ("given", "sent"), [("-1001234567890", -1001234567890), ("42", 42), ("@sec_news", "@sec_news")]
)
def test_a_chat_is_a_number_or_a_name(given: str, sent: object) -> None:
    (endpoint,) = load_mapping({"team": a_team(chat_id=given, message_thread_id="7")}).endpoints
    message = json.loads(telegram.FORMAT.render(a_delivery(), endpoint).body)
    assert (message["chat_id"], message["message_thread_id"]) == (sent, 7)


def test_without_a_topic_none_is_sent() -> None:
    endpoint = an_endpoint(format="telegram", own={"chat_id": Secret("1")})
    assert "message_thread_id" not in json.loads(telegram.FORMAT.render(a_delivery(), endpoint).body)


@pytest.mark.parametrize("chat", ["sec_news", "@", "1.5", "0", "-", "@a b", "t.me/x", "\u0661", "-1001\u00a0"])
def test_a_malformed_chat_is_a_mistake_that_says_what_is_expected(chat: str) -> None:
    (mistake,) = load_mapping({"team": a_team(chat_id=chat)}).mistakes
    assert "expected a chat's number such as -1001234567890, or a channel's name such as @security_news" in str(mistake)


def test_a_chat_is_needed() -> None:
    team = a_team()
    del team["chat_id"]
    (mistake,) = load_mapping({"team": team}).mistakes
    assert "format = telegram requires chat_id: the chat to send to" in str(mistake)


@pytest.mark.parametrize("path", ["", "/", "/bot123456:token", "/bot123456:token/", "/bot123456:token/getMe"])
def test_a_url_without_the_method_is_a_mistake_that_shows_no_token(path: str) -> None:
    (mistake,) = load_mapping({"team": a_team(url=f"https://api.telegram.org{path}")}).mistakes
    assert "url must be https://api.telegram.org/bot<TOKEN>/sendMessage" in str(mistake)
    assert "123456" not in str(mistake)


# --- the reply


def refusal(status: int, description: str, **more: Any) -> bytes:
    return json.dumps({"ok": False, "error_code": status, "description": description, **more}).encode()


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (200, b'{"ok":true,"result":{"message_id":7}}', Outcome.DELIVERED),
        (200, b'{"ok":false}', Outcome.HOLD),
        (200, b"ok", Outcome.HOLD),
        (200, b"<html>", Outcome.HOLD),
        (400, refusal(400, "Bad Request: chat not found"), Outcome.HOLD),
        (400, refusal(400, "Bad Request: message thread not found"), Outcome.HOLD),
        (
            400,
            refusal(
                400,
                "Bad Request: group chat was upgraded to a supergroup chat",
                parameters={"migrate_to_chat_id": -1002},
            ),
            Outcome.HOLD,
        ),
        (400, refusal(400, "Bad Request: message is too long"), Outcome.REFUSED),
        (400, b"", Outcome.REFUSED),
        (401, refusal(401, "Unauthorized"), Outcome.HOLD),
        (403, refusal(403, "Forbidden: bot was blocked by the user"), Outcome.HOLD),
        (404, refusal(404, "Not Found"), Outcome.HOLD),
        (429, refusal(429, "Too Many Requests: retry after 35", parameters={"retry_after": 35}), Outcome.RETRY),
        (502, b"", Outcome.RETRY),
    ],
)
def test_telegrams_answers_mean_what_its_documentation_says(status: int, body: bytes, outcome: Outcome) -> None:
    reply = Reply(status, body=body)
    assert (telegram.read(reply, a_batch()) or judge(reply, NOW)).outcome is outcome
