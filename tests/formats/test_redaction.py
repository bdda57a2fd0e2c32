from __future__ import annotations

import pytest

from sfwebhooks.formats.redaction import MASK, QUOTED_MAX, SECRETS, TEXT_MAX, WITHHELD, about_for_chat, for_chat
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
def test_a_secret_is_masked_but_its_owner_and_where_it_leaked_are_sent(host_type: str, data: str, shown: str) -> None:
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


def test_where_the_place_of_a_secret_is_unknown_all_is_masked() -> None:
    assert for_chat("PASSWORD_COMPROMISED", "None:correct horse [x]") == f"N{MASK}]"


def test_a_secret_in_a_repository_is_shown_by_its_place_only() -> None:
    shown = for_chat("PASSWORD_COMPROMISED", TRUFFLEHOG)
    assert "path: deploy/env.sh" in shown
    assert "reason: AWS API Key" in shown
    assert "AKIA" not in shown
    assert "add key" not in shown


@pytest.mark.parametrize("data", ["", " ", "\n", ":", "@", "a@b:", "[]", " [x]", "a@b:c\n [x]"])
def test_odd_shapes_do_no_harm(data: str) -> None:
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
def test_everything_else_is_sent_as_it_is(host_type: str, data: str) -> None:
    assert for_chat(host_type, data) == data


def test_masked_types_are_types_of_the_host() -> None:
    assert SECRETS.keys() <= SEVERITY_OF_TYPE.keys()


def test_a_long_text_that_is_not_a_login_is_masked_in_reasonable_time() -> None:
    assert for_chat("PASSWORD_COMPROMISED", "a@" * 500_000) == f"a{MASK}@"
    assert for_chat("PASSWORD_COMPROMISED", "a@b:" + " [" * 500_000).startswith("a@b:")


LEAKED = "jane@acme.example:hunter22!"


def evidence(*data: str, host_type: str = "PASSWORD_COMPROMISED") -> list[dict[str, str]]:
    return [{"event_type": host_type, "data": one} for one in data]


def test_what_is_quoted_is_shown_as_it_would_be_alone() -> None:
    text = f"Leaked: {LEAKED} and {LEAKED}."
    assert about_for_chat(text, evidence(LEAKED)) == "Leaked: jane@acme.example:h••••! and jane@acme.example:h••••!."


def test_a_replacement_is_not_replaced_again() -> None:
    pieces = ["raw content", "content", "(raw", "shown here)", "••••••••"]
    assert about_for_chat("see raw content", evidence(*pieces, host_type="RAW_RIR_DATA")) == f"see {WITHHELD}"


@pytest.mark.parametrize("data", ["n", "no", "the"])
def test_a_very_short_text_is_not_a_quotation(data: str) -> None:
    assert about_for_chat("not the n", evidence(data, host_type="RAW_RIR_DATA") * 32) == "not the n"


def test_a_quotation_that_was_cut_at_the_end_is_not_shown() -> None:
    assert about_for_chat(f"Leaked: {LEAKED[:-3]}", evidence(LEAKED)) == f"Leaked: {MASK}"
    page = "password = correct horse"
    assert about_for_chat(f"Page: {page[:-4]}", evidence(page, host_type="RAW_RIR_DATA")) == f"Page: {WITHHELD}"


def test_of_quotations_that_overlap_nothing_is_left() -> None:
    text = about_for_chat("<abcdefghij>", evidence("abcdefg", "efghij", "abcd", host_type="RAW_RIR_DATA"))
    assert text == f"<{WITHHELD}{MASK}>"


def test_with_more_quotations_than_a_correlation_has_nothing_is_shown() -> None:
    many = evidence(*(f"{number:04d}@acme.example:x" for number in range(QUOTED_MAX + 1)))
    assert about_for_chat("see 0001@acme.example:x", many) == WITHHELD
    assert about_for_chat("see", evidence(*(f"{number:04d}" for number in range(999)), host_type="URL")) == "see"


def test_a_text_longer_than_a_chat_takes_is_cut() -> None:
    shown = about_for_chat("a" * 1_000_000, evidence("a" * 500_000 + "b", host_type="RAW_RIR_DATA"))
    assert shown == f"{WITHHELD}…"
    assert about_for_chat("x" * (TEXT_MAX + 1), []) == "x" * TEXT_MAX + "…"
