from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from sfwebhooks.attempts import Outcome, Reply
from sfwebhooks.config.settings import load_mapping
from sfwebhooks.formats import discord
from sfwebhooks.formats.notice import Notice
from sfwebhooks.retry import judge
from sfwebhooks.severity import Severity
from tests.builders import NOW, a_batch, a_delivery, an_endpoint, an_event
from tests.formats.cases import LINK, MARKED_LINKS
from tests.formats.test_chats import message_of
from tests.receivers.chats import Discord
from tests.receivers.vendor import utf16_size

HOOK = "https://discord.com/api/webhooks/1/token"
PLAIN = "CVE-2026-0001 on 203.0.113.7, jane@acme.example: A_B"
NOTICE = Notice(headline="High: It", body="", facts=(), colour="#E01E5A", footer=("x",))


def embed_of(notice: Notice) -> dict[str, Any]:
    assert Discord().problem(discord.discord_body(notice)) == ""
    embed: dict[str, Any] = discord.discord_body(notice)["embeds"][0]
    return embed


# --- the message


def test_the_message_is_an_embed_in_the_severitys_colour_that_mentions_nobody() -> None:
    assert message_of("discord", a_delivery()) == {
        "embeds": [
            {
                "title": "High: VULNERABILITY_CVE_HIGH",
                "description": "CVE-2026-0001",
                "color": 0xE01E5A,
                "fields": [
                    {"name": "Target", "value": "acme.example", "inline": True},
                    {"name": "Type", "value": "VULNERABILITY_CVE_HIGH", "inline": True},
                    {"name": "Scan", "value": MARKED_LINKS[-1], "inline": False},
                ],
                "footer": {"text": "Weekly Security Scan · 2026-11-21 10:00:00 UTC · #1"},
            }
        ],
        "allowed_mentions": {"parse": []},
    }


def test_each_severity_has_a_colour_of_its_own() -> None:
    events = (an_event(type="system_alert", severity=severity, data={"message": "x"}) for severity in Severity)
    colours = {message_of("discord", a_delivery(event))["embeds"][0]["color"] for event in events}
    assert len(colours) == len(Severity)


@pytest.mark.parametrize("key", ["backfilled", "replayed"])
def test_what_comes_late_does_not_ring(key: str) -> None:
    values: dict[str, Any] = {key: True}
    assert message_of("discord", a_delivery(**values))["flags"] == 4096


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        (PLAIN, PLAIN),
        ("@everyone <@1> <#1>", r"\@everyone \<\@1> \<#1>"),
        ("*b* _i_ __u__ ~s~ ||x|| `c`", r"\*b\* \_i\_ \_\_u\_\_ \~s\~ \|\|x\|\| \`c\`"),
        ("https://evil.example", r"https\://evil.example"),
        ("[x](https://evil.example)", r"\[x\](https\://evil.example)"),
        (":tada: 10:00", r"\:tada: 10:00"),
        ("\\*", r"\\\*"),
        ("# a\n## a\n> a\n>>> a\n- a", "\\# a\n\\## a\n\\> a\n\\>>> a\n\\- a"),
        ("-# a\n+ a\n1. a\n 12) a\n-a 1.2", "\\-# a\n\\+ a\n1\\. a\n 12\\) a\n-a 1.2"),
    ],
)  # fmt: skip
def test_nothing_is_markup_and_what_could_not_be_is_left_as_it_is(text: str, sent: str) -> None:
    assert discord.escape(text) == sent


def test_each_text_is_cut_beyond_its_limit() -> None:
    for over, cut in ((0, "a"), (1, "…")):
        assert embed_of(replace(NOTICE, headline="a" * (256 + over)))["title"] == "a" * 255 + cut
        assert embed_of(replace(NOTICE, body="a" * (4096 + over)))["description"] == "a" * 4095 + cut
        assert embed_of(replace(NOTICE, footer=("a" * (2048 + over),)))["footer"]["text"] == "a" * 2047 + cut
        (field,) = embed_of(replace(NOTICE, facts=(("a" * (256 + over), "a" * (1024 + over)),)))["fields"]
        assert (field["name"], field["value"]) == ("a" * 255 + cut, "a" * 1023 + cut)


def test_a_message_of_6000_characters_is_left_as_it_is_and_a_longer_one_is_shortened_everywhere() -> None:
    notice = replace(NOTICE, headline="h" * 256, body="b" * 4096, facts=(("l", "v" * 1000),))
    full = embed_of(replace(notice, footer=("f" * (6000 - 256 - 4096 - 1001),)))
    assert discord.embed_length(full) == 6000
    over = embed_of(replace(notice, footer=("f" * (6001 - 256 - 4096 - 1001),)))
    assert over["description"] == "b" * 1023 + "…"
    assert discord.embed_length(over) < 6000


@pytest.mark.parametrize("text", ["*", "🎉", "a"])
def test_the_fullest_message_is_short_enough(text: str) -> None:
    long = text * 9000
    full = replace(NOTICE, headline=long, body=long, facts=((long, long),) * 20, trail=(long,) * 4, footer=(long,) * 9)
    assert len(embed_of(replace(full, link=LINK))["fields"]) == 12


def test_a_link_ends_where_its_parentheses_end() -> None:
    link = discord.discord_body(replace(NOTICE, link="https://h.example/a(b)\\c"))["embeds"][0]["fields"][-1]["value"]
    assert link == "[Open scan](https://h.example/a%28b%29%5Cc)"
    assert utf16_size(link) <= 1024


# --- the URL


@pytest.mark.parametrize(
    ("url", "added"),
    [(HOOK, "wait=true"), (f"{HOOK}?thread_id=5", "wait=true"), (f"{HOOK}?wait=false", ""), (f"{HOOK}?a=1&wait=", "")],
)
def test_discord_is_asked_to_wait_unless_the_url_says_whether_to(url: str, added: str) -> None:
    assert discord.query(an_endpoint(url=url), NOW) == added


@pytest.mark.parametrize("url", [f"{HOOK}/slack", f"{HOOK}/slack?wait=true"])
def test_the_address_for_slacks_messages_is_a_mistake(url: str) -> None:
    settings = load_mapping({"team": {"url": url, "format": "discord"}})
    assert "remove /slack, or use format = slack" in str(settings.mistakes[0])
    assert "token" not in str(settings.mistakes[0])


@pytest.mark.parametrize("path", ["", "/", "/channels/1/2", "/api/webhooks/1", "/api/webhooks/1/"])
def test_an_address_that_is_not_a_webhooks_is_a_mistake(path: str) -> None:
    (found,) = load_mapping({"team": {"url": f"https://discord.com{path}", "format": "discord"}}).mistakes
    assert "url must be that of a webhook: https://discord.com/api/webhooks/ID/TOKEN" in str(found)


@pytest.mark.parametrize(
    ("url", "name", "warning"),
    [
        (HOOK, "discord", ""),
        (HOOK, "slack", "sends to discord.com, which accepts only format = discord"),
        (HOOK, "generic", "sends to discord.com, which accepts only format = discord"),
        (f"{HOOK}/slack", "slack", ""),
        (f"{HOOK}/slack", "generic", "sends to discord.com, which accepts only format = slack"),
        ("https://canary.discord.com/api/webhooks/1/token/slack", "slack", ""),
        ("https://discordapp.com/api/webhooks/1/token", "siem", "accepts only format = discord"),
        ("https://notdiscord.com/api/webhooks/1/token", "generic", ""),
    ],
)
def test_a_host_that_accepts_no_other_format_is_warned_of(url: str, name: str, warning: str) -> None:
    settings = load_mapping({"team": {"url": url, "format": name, "secret": "a secret of some length"}})
    found = " ".join(map(str, settings.warnings))
    assert (warning in found) if warning else ("accepts only" not in found)


# --- the reply


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (200, '{"id": "1", "channel_id": "2"}', Outcome.DELIVERED),
        (204, "", Outcome.DELIVERED),
        (200, "", Outcome.HOLD),
        (200, "ok", Outcome.HOLD),
        (200, '{"ok": true}', Outcome.HOLD),
        (400, '{"embeds": ["0"]}', Outcome.REFUSED),
        (400, '{"message": "Cannot send an empty message", "code": 50006}', Outcome.REFUSED),
        (400, '{"message": "Webhooks posted to forum channels must have a thread_id", "code": 220001}', Outcome.HOLD),
        (401, '{"message": "Invalid Webhook Token", "code": 50027}', Outcome.HOLD),
        (403, '{"message": "Missing Access", "code": 50001}', Outcome.HOLD),
        (404, '{"message": "Unknown Webhook", "code": 10015}', Outcome.HOLD),
        (404, "", Outcome.HOLD),
        (429, '{"retry_after": 0.5, "global": true}', Outcome.RETRY),
        (500, "", Outcome.RETRY),
    ],
)
def test_discords_answers_mean_what_its_documentation_says(status: int, body: str, outcome: Outcome) -> None:
    reply = Reply(status, body=body.encode())
    assert (discord.read(reply, a_batch()) or judge(reply, NOW)).outcome is outcome


@pytest.mark.parametrize(("header", "wait"), [("65", 65.0), ("64", 64.57)])
def test_the_longer_one_of_both_waits_counts(header: str, wait: float) -> None:
    body = json.dumps({"message": "You are being rate limited.", "retry_after": 64.57, "global": False})
    assert judge(Reply(429, headers={"Retry-After": header}, body=body.encode()), NOW).wait == wait
