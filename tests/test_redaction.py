from __future__ import annotations

import pytest

from sfwebhooks.redaction import MASK, SECRETS, WITHHELD, for_chat
from sfwebhooks.severity import SEVERITY_OF_TYPE

MD5 = "5f4dcc3b5aa765d61d8327deb882cf99"
TRUFFLEHOG = (
    "branch: origin/main\ncommit: add key\ncommitHash: 0a1b2c\ndate: 2026-11-21\npath: deploy/env.sh\n"
    "reason: AWS API Key\nstringsFound: ['AKIAIOSFODNN7EXAMPLE']"
)


@pytest.mark.parametrize(
    ("host_type", "data", "shown"),
    [
        (
            "PASSWORD_COMPROMISED",
            "jane@acme.example:hunter22! [Collection #1]",
            "jane@acme.example:h••••! [Collection #1]",
        ),
        ("PASSWORD_COMPROMISED", "jane@acme.example:hunter22!", "jane@acme.example:h••••!"),
        ("PASSWORD_COMPROMISED", "jane@acme.example:a:b:c:d:e [x]", "jane@acme.example:a••••e [x]"),
        ("PASSWORD_COMPROMISED", "jane@acme.example:pass [word] [x]", "jane@acme.example:p••••] [x]"),
        ("HASH_COMPROMISED", f"jane@acme.example:{MD5} [x]", "jane@acme.example:5f••••99 [x]"),
        ("CREDIT_CARD_NUMBER", "4111111111111234", "••••1234"),
        ("IBAN_NUMBER", "DE89370400440532013000", "DE••••3000"),
    ],
)
def test_a_secret_is_masked_but_its_owner_and_where_it_leaked_are_told(host_type: str, data: str, shown: str) -> None:
    assert for_chat(host_type, data) == shown
    assert for_chat(host_type, shown) == shown, "what is masked already stays as it is"


def test_the_shortest_secrets_of_which_something_is_shown() -> None:
    shortest = {host_type: kept.shortest for host_type, kept in SECRETS.items()}
    assert shortest == {"PASSWORD_COMPROMISED": 8, "HASH_COMPROMISED": 16, "CREDIT_CARD_NUMBER": 12, "IBAN_NUMBER": 15}


@pytest.mark.parametrize("host_type", SECRETS)
def test_one_character_less_than_the_shortest_shows_nothing(host_type: str) -> None:
    shortest = SECRETS[host_type].shortest
    assert for_chat(host_type, "0123456789abcdefghij"[: shortest - 1]) == MASK
    assert for_chat(host_type, "0123456789abcdefghij"[:shortest]) != MASK


@pytest.mark.parametrize("host_type", SECRETS)
@pytest.mark.parametrize("length", [1, 7, 8, 15, 16, 32, 128])
def test_at_most_half_of_a_secret_is_shown_and_never_its_length(host_type: str, length: int) -> None:
    shown = for_chat(host_type, "s" * length).replace(MASK, "")
    assert len(shown) <= min(length // 2, 6)


def test_where_a_secret_stands_cannot_be_told_all_of_it_is_masked() -> None:
    assert for_chat("PASSWORD_COMPROMISED", "None:correct horse [x]") == f"N{MASK}]"


def test_a_secret_in_a_repository_is_told_by_its_place_only() -> None:
    shown = for_chat("PASSWORD_COMPROMISED", TRUFFLEHOG)
    assert "path: deploy/env.sh" in shown
    assert "reason: AWS API Key" in shown
    assert "AKIA" not in shown
    assert "add key" not in shown


@pytest.mark.parametrize("data", ["", " ", "\n", ":", "@", "a@b:", "[]", " [x]", "a@b:c\n [x]"])
def test_odd_shapes_are_no_trouble(data: str) -> None:
    for host_type in SECRETS:
        assert isinstance(for_chat(host_type, data), str)


@pytest.mark.parametrize(
    "host_type", ["LEAKSITE_CONTENT", "DARKNET_MENTION_CONTENT", "TARGET_WEB_CONTENT", "RAW_RIR_DATA"]
)
def test_raw_content_is_withheld_since_it_may_hold_the_same_secrets(host_type: str) -> None:
    assert for_chat(host_type, "jane@acme.example:hunter22! 4111 1111 1111 1234") == WITHHELD


@pytest.mark.parametrize(
    ("host_type", "data"),
    [
        ("EMAILADDR_COMPROMISED", "jane@acme.example [Collection #1]"),
        ("URL_PASSWORD", "https://acme.example/login"),
        ("TARGET_WEB_CONTENT_TYPE", "text/html"),
        ("HASH", f"[MD5] {MD5}"),
        ("A_TYPE_OF_A_NEWER_HOST", "4111111111111234"),
    ],
)
def test_everything_else_is_told_as_it_is(host_type: str, data: str) -> None:
    assert for_chat(host_type, data) == data


def test_masked_types_are_types_of_the_host() -> None:
    assert SECRETS.keys() <= SEVERITY_OF_TYPE.keys()


def test_a_long_text_that_is_no_login_is_masked_in_reasonable_time() -> None:
    assert for_chat("PASSWORD_COMPROMISED", "a@" * 500_000) == f"a{MASK}@"
    assert for_chat("PASSWORD_COMPROMISED", "a@b:" + " [" * 500_000).startswith("a@b:")
