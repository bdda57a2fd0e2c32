"""Placeholders and samples are not secrets; what is random, or a phrase of somebody's own, is one."""

from __future__ import annotations

import base64
import random
import string
import time

import pytest

from sfwebhooks.config.options import GENERAL_OPTIONS, OPEN_OPTIONS, all_options
from sfwebhooks.config.samples import unfilled
from sfwebhooks.config.settings import Settings, load_mapping
from sfwebhooks.signing_keys import new_whsec, new_whsk
from tests.rows import in_one
from tests.tiers import quick_first

SECRET_KEYS = ("secret", "api_key", "client_key_password", "header.Authorization")
TEMPLATES = (
    "${WEBHOOK_SECRET}",
    "${WEBHOOK_SECRET:-none}",
    "${{ secrets.WEBHOOK }}",
    "$X",
    "$WEBHOOK_SECRET",
    "$webhook_secret",
    "$(cat /run/secret)",
    "%(X)s",
    "%(secret)s",
    "%WEBHOOK_SECRET%",
    "{{ webhook_secret }}",
    "{webhook_secret}",
    "<your secret>",
    "<SECRET>",
    "[your secret here]",
    "@SECRET@",
    "__SECRET__",
    "#{Secret}#",
    "prod-${SECRET}",
)
SOURCES = ("ENV:HOME", "Env:HOME", "FILE:/run/secret", "File:secret", "$env:HOME", "env=HOME", "os.environ['HOME']")
SAMPLES = (
    "changeme",
    "CHANGE_ME",
    "change-me-please",
    "your-secret-here",
    "your-webhook-secret",
    "your_api_key",
    "secret",
    "Secret1",
    "my-secret-token",
    "password",
    "password123",
    "test-key",
    "replace-with-your-secret",
    "replace-this-with-a-long-random-string",
    "choose-a-long-one",
    "TODO",
    "x",
    "xxxx",
    "XXXX-XXXX-XXXX",
    "********",
    "...",
    "whsec_" + "X" * 32,
    "0" * 32,
)
NOTHINGS = ("none", "None", "NULL", "no", "off", "false", "direct", "undefined", "n/a", "-")
REAL = (
    "100%",
    "a;b-Kx72",
    "grüß-密码",
    "correct horse battery staple",
    "change is the only constant",
    "security-team-secret",
    "siem-system-secret",
    "0123456789abcdef",
    "s" * 32,
    "$2b$12$KIXQ1",
    "$Home2sweet",
    "a<b>c",
    "!@#$%^&*()",
    "my-long-signing-secret-2024",
    "environment:blue",
    "filed:away-in-1998",
)


def settings(key: str, value: str) -> Settings:
    own = {key: value} if key == "url" else {"url": "https://x.example/", key: value}
    return load_mapping({"team": own})


@pytest.mark.parametrize("key", SECRET_KEYS)
@in_one("value", [*TEMPLATES, *SOURCES, *SAMPLES, *NOTHINGS])
def test_what_was_never_filled_in_holds_the_endpoint(key: str, value: str) -> None:
    (one,) = settings(key, value).mistakes
    assert (one.key, one.value) == (key, "***")


@pytest.mark.parametrize("key", SECRET_KEYS)
def test_it_does_not_matter_where_it_came_from(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIVEN", "${WEBHOOK_SECRET}")
    (one,) = settings(key, "env:GIVEN").mistakes
    assert "placeholder that was never filled in" in one.problem


def test_a_header_with_a_scheme_is_judged_by_what_follows_it() -> None:
    assert unfilled("header.Authorization", "Bearer changeme")
    assert not unfilled("header.Authorization", "Bearer 8f1c77ab")


@pytest.mark.parametrize("value", ["x", "test", "none", "1", "key"])
def test_a_header_that_is_not_a_credential_may_have_any_short_value(value: str) -> None:
    assert not unfilled("header.X-Team", value)


@pytest.mark.parametrize("value", REAL)
def test_a_secret_of_ones_own_is_taken(value: str) -> None:
    assert not unfilled("secret", value)


def test_random_secrets_are_taken() -> None:
    chance, letters = random.Random(7), string.ascii_letters + string.digits + "-_.!+/="
    made = ["".join(chance.choices(letters, k=length)) for length in range(8, 72) for _ in range(50)]
    made += [base64.b64encode(chance.randbytes(24)).decode() for _ in range(500)]
    made += [new_whsec(), new_whsk()]
    assert [text for text in made if unfilled("secret", text)] == []


def test_one_of_several_secrets_is_enough() -> None:
    assert unfilled("secret", "Zeppelin-1937-over\n${OLD_SECRET}")


@pytest.mark.parametrize("word", NOTHINGS)
def test_a_word_for_none_is_answered_with_how_to_go_without(word: str) -> None:
    assert "leave the value empty" in unfilled("secret", word)


@pytest.mark.parametrize("word", ["none", "direct", "off"])
@pytest.mark.parametrize("key", ["proxy", "client_cert", "ca_bundle", "fallback", "ui_url", "format", "rate", "events"])
def test_the_same_for_what_can_be_inherited(key: str, word: str) -> None:
    assert any("leave the value empty" in one.problem for one in settings(key, word).mistakes)


@pytest.mark.parametrize(
    "url",
    [
        "https://${HOST}/hook",
        "https://hooks.example/${TOKEN}",
        "https://hooks.example/$TOKEN",
        "https://hooks.example/{token}",
        "https://hooks.example/<token>",
        "https://hooks.example/%(TOKEN)s",
        "https://hooks.example/?key=changeme",
        "https://hooks.slack.com/services/T00/B00/XXXXXXXXXXXXXXXXXXXXXXXX",
        "https://hooks.example/your-token",
        "https://your-server.com/webhook",
    ],
)
def test_a_url_with_a_part_that_was_never_filled_in_is_a_mistake(url: str) -> None:
    (one,) = settings("url", url).mistakes
    assert (one.key, "placeholder" in one.problem) == ("url", True)


@pytest.mark.parametrize(
    "url",
    [
        "https://secret.example/webhook/test?key=4f1c&token=aa",
        "https://x.example/api/events",
        "https://[2001:db8::1]:8443/x",
        "https://karma-yours.example/changes",
    ],
)
def test_words_that_are_common_in_urls_are_taken(url: str) -> None:
    assert settings("url", url).mistakes == ()


@pytest.mark.parametrize("proxy", ["http://user:changeme@p.example:3128", "http://u:${PASSWORD}@p.example:3128"])
def test_a_proxys_password_is_judged_as_a_secret(proxy: str) -> None:
    assert [one.key for one in settings("proxy", proxy).mistakes] == ["proxy"]


def test_every_secret_option_is_judged() -> None:
    options = [*all_options().values(), *GENERAL_OPTIONS.values()]
    keys = [option.name for option in options if option.secret]
    keys += [f"{option.name}Authorization" for option in OPEN_OPTIONS.values() if option.secret]
    assert [key for key in keys if not unfilled(key, "${SECRET}")] == []


@pytest.mark.parametrize("piece", quick_first(["${", "your-", "{{", "%(", "<", "$(", "[", "a ", "x", "$A", "ä_9"], 2))
@pytest.mark.parametrize("key", ["secret", "url"])
def test_it_takes_no_longer_for_each_character_of_a_long_text(key: str, piece: str) -> None:
    def cost(size: int) -> float:
        text, begin = piece * (size // len(piece)), time.process_time()
        unfilled(key, text)
        return time.process_time() - begin

    small, large = min(cost(16_000) for _ in range(3)), cost(1_000_000)  # a file of settings has no more
    assert large < max(small, 0.0005) * 62.5 * 4
