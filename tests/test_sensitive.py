from __future__ import annotations

import html
import json
import random
from base64 import b64encode, urlsafe_b64encode
from typing import Callable
from urllib.parse import quote, quote_plus, unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from sfwebhooks.decoding import WINDOW, legible
from sfwebhooks.sensitive import (
    MASK,
    PEOPLE,
    RAW,
    SECRETS,
    WITHHELD,
    is_card,
    is_secret,
    login_owner,
    masked_value,
    matches_type,
    parts_of,
    without_secrets,
)
from sfwebhooks.severity import SEVERITY_OF_TYPE
from tests.rows import in_one


def without(text: str) -> str:
    return without_secrets(text)[0]


MD5 = "5f4dcc3b5aa765d61d8327deb882cf99"
TRUFFLEHOG = (
    "branch: origin/main\ncommit: add key\ncommitHash: 0a1b2c\ndate: 2026-11-21\npath: deploy/env.sh\n"
    "reason: AWS API Key\nstringsFound: ['AKIAIOSFODNN7EXAMPLE']"
)
LINES = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC\nBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj"


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
        ("HUMAN_NAME", "Jane van Doe", "J•••• v•••• D••••"),
        ("HUMAN_NAME", "J", "••••"),
        ("HUMAN_NAME", " ", "••••"),
        ("EMAILADDR", "jane@acme.example", "j••••@acme.example"),
        ("EMAILADDR_COMPROMISED", "jane@acme.example [Collection #1]", "j••••@acme.example [Collection #1]"),
        ("EMAILADDR_COMPROMISED", "j@acme.example", "••••@acme.example"),
        ("PHONE_NUMBER", "+49301234567", "••••4567"),
        ("PHONE_NUMBER_COMPROMISED", "+49301234567 [Leak]", "••••4567 [Leak]"),
        ("MALICIOUS_EMAILADDR", "EmailRep [jane@acme.example]", "EmailRep [j••••@acme.example]"),
        (
            "MALICIOUS_EMAILADDR",
            "x [jane@a.example]\n<SFURL>https://x/?s=jane@a.example&y",
            "x [j••••@a.example]\n<SFURL>https://x/?s=j••••@a.example&y",
        ),
        (
            "MALICIOUS_PHONE_NUMBER",
            "SEON [+49 (30) 123-4567]\n - FRAUD: 99",
            "SEON [••••4567]\n - FRAUD: 99",
        ),
        ("PHYSICAL_ADDRESS", "1 Main Street, Springfield, 99901", "••••9901"),
        ("DATE_HUMAN_DOB", "1980-02-29", "••••"),
        ("PHYSICAL_COORDINATES", "52.5,13.4", "••••"),
        ("USERNAME", "jane_doe_1980", "••••1980"),
        ("USERNAME", "jane", "••••"),
        ("URL", "see jane@acme.example", "••••mple"),
    ],
)
def test_what_is_masked_can_be_recognised(host_type: str, data: str, shown: str) -> None:
    assert masked_value(host_type, data) == shown
    assert masked_value(host_type, shown) == shown, "what is masked already stays as it is"


def test_the_shortest_secrets_of_which_something_is_shown() -> None:
    shortest = {host_type: kept.shortest for host_type, kept in SECRETS.items()}
    assert shortest == {"PASSWORD_COMPROMISED": 8, "HASH_COMPROMISED": 16, "CREDIT_CARD_NUMBER": 12, "IBAN_NUMBER": 15}


@pytest.mark.parametrize("host_type", SECRETS)
def test_one_character_less_than_the_shortest_shows_nothing(host_type: str) -> None:
    shortest = SECRETS[host_type].shortest
    assert masked_value(host_type, "0123456789abcdefghij"[: shortest - 1]) == MASK
    assert masked_value(host_type, "0123456789abcdefghij"[:shortest]) != MASK


@in_one("host_type", [*SECRETS, "PHONE_NUMBER", "HUMAN_NAME", "USERNAME"])
@in_one("length", [2, 7, 8, 15, 16, 32, 128])
def test_at_most_half_of_a_value_is_shown_and_never_its_length(host_type: str, length: int) -> None:
    shown = masked_value(host_type, "s" * length).replace(MASK, "")
    assert len(shown) <= min(length // 2, 6)


def test_where_the_place_of_a_secret_is_unknown_all_is_masked() -> None:
    assert masked_value("PASSWORD_COMPROMISED", "None:correct horse [x]") == f"N{MASK}]"


def test_a_secret_in_a_repository_is_shown_by_its_place_only() -> None:
    shown = masked_value("PASSWORD_COMPROMISED", TRUFFLEHOG)
    assert "path: deploy/env.sh" in shown
    assert "reason: AWS API Key" in shown
    assert "AKIA" not in shown
    assert "add key" not in shown
    assert "AKIAIOSFODNN7EXAMPLE" in dict(parts_of("PASSWORD_COMPROMISED", TRUFFLEHOG))


def test_what_may_be_quoted_alone() -> None:
    login = "jane@acme.example:hunter22! [x]"
    assert dict(parts_of("PASSWORD_COMPROMISED", login)) == {"hunter22!": MASK}
    assert login_owner("PASSWORD_COMPROMISED", login) == "jane@acme.example"
    assert dict(parts_of("EMAILADDR_COMPROMISED", "jane@acme.example [x]")) == {
        "jane@acme.example": "j••••@acme.example"
    }
    assert dict(parts_of("MALICIOUS_PHONE_NUMBER", "SEON [+49 30 1234567]")) == {"+49 30 1234567": "••••4567"}
    assert [*parts_of("URL", "https://acme.example")] == []
    assert login_owner("PASSWORD_COMPROMISED", "hunter22!") == login_owner("URL", login) == ""


@pytest.mark.parametrize("data", ["", " ", "\n", ":", "@", "a@b:", "[]", " [x]", "a@b:c\n [x]", "@ [x]"])
def test_odd_shapes_do_no_harm(data: str) -> None:
    for host_type in (*SECRETS, "HUMAN_NAME", "EMAILADDR", "PHONE_NUMBER", "DATE_HUMAN_DOB"):
        assert isinstance(masked_value(host_type, data), str)
        assert isinstance([*parts_of(host_type, data)], list)


def test_each_pattern_is_for_types_of_the_host() -> None:
    assert SECRETS.keys() <= SEVERITY_OF_TYPE.keys()
    for pattern in (*RAW, *PEOPLE):
        assert any(matches_type(pattern, name) for name in SEVERITY_OF_TYPE), pattern


def test_types_of_which_nothing_is_shown_may_contain_secrets() -> None:
    found = {name for name in SEVERITY_OF_TYPE if is_secret(name)}
    assert found == {
        *SECRETS,
        *("BASE64_DATA", "RAW_DNS_RECORDS", "RAW_FILE_META_DATA", "RAW_RIR_DATA", "PGP_KEY"),
        *("AFFILIATE_WEB_CONTENT", "DARKNET_MENTION_CONTENT", "LEAKSITE_CONTENT", "SEARCH_ENGINE_WEB_CONTENT"),
        *("TARGET_WEB_CONTENT", "AFFILIATE_DOMAIN_WHOIS", "CO_HOSTED_SITE_DOMAIN_WHOIS", "DOMAIN_WHOIS"),
        *("NETBLOCK_WHOIS", "SIMILARDOMAIN_WHOIS"),
    }


def test_the_types_about_people() -> None:
    found = {name for name in SEVERITY_OF_TYPE if any(matches_type(pattern, name) for pattern in PEOPLE)}
    assert found == {
        *("EMAILADDR", "EMAILADDR_COMPROMISED", "EMAILADDR_DELIVERABLE", "EMAILADDR_DISPOSABLE"),
        *("EMAILADDR_UNDELIVERABLE", "AFFILIATE_EMAILADDR", "MALICIOUS_EMAILADDR", "HUMAN_NAME", "DATE_HUMAN_DOB"),
        *("PHONE_NUMBER", "PHONE_NUMBER_COMPROMISED", "MALICIOUS_PHONE_NUMBER"),
        *("PHYSICAL_ADDRESS", "PHYSICAL_COORDINATES"),
    }


def test_a_long_text_that_is_not_a_login_is_masked_in_reasonable_time() -> None:
    assert masked_value("PASSWORD_COMPROMISED", "a@" * 500_000) == f"a{MASK}@"
    assert masked_value("PASSWORD_COMPROMISED", "a@b:" + " [" * 500_000).startswith("a@b:")


@in_one(
    "number",
    ["4111111111111111", "4222222222222", "378282246310005", "30569309025904", "6011000990139424", "3530111333300000",
     "5555555555554444", "2223003122003222", "6200000000000005", "4000000000000000006"],
)  # fmt: skip
@pytest.mark.parametrize("around", ["{}", "card {}, valid", "x{}y", "1,{},12/27,123", '"{}"', "cc={}&cvv=123"])
def test_a_card_number_is_masked_in_any_text(number: str, around: str) -> None:
    assert is_card(number)
    assert without(around.format(number)) == around.format(MASK + number[-4:])


@pytest.mark.parametrize("separator", [" ", "-", ".", "_", "\t", "\N{NO-BREAK SPACE}"])
@in_one(
    ("groups", "last"),
    [
        ("4111 1111 1111 1111", "1111"),
        ("3782 822463 10005", "0005"),
        ("3056 930902 5904", "5904"),
        ("4000 0000 0000 0000 006", "0006"),
        ("4222 2222 2222 2", "2222"),
    ],
)
def test_also_in_groups(groups: str, last: str, separator: str) -> None:
    text = groups.replace(" ", separator)
    for before, after in (("", ""), ("1 ", " 7"), ("a", "b")):
        assert without(f"{before}{text}{after}") == f"{before}{MASK}{last}{after}"


@pytest.mark.parametrize("part", ["4111 1111 1111 111", "411111111111", "4111 1111 "])
def test_the_beginning_of_one_at_the_end_of_a_text_that_was_cut_is_masked(part: str) -> None:
    text = "x" * (1023 - len(part)) + " "
    assert without(text + part) == text + MASK
    assert without(part) == part


@pytest.mark.parametrize(
    "text",
    [
        "4111111111111112",  # a wrong check digit
        "41111111111111111111111",
        "1795255200000",  # milliseconds
        "2026-11-21 10:00:00 2026-11-22",
        "+49 170 1234567",
        "80 443 22 8080 21 25 110 143 993 995",
        "a9f33fc7e24d0c30de5cc0b4111111111111111a9f33fc7e24d0c30de5cc0b41"[:64],
    ],
)
def test_other_numbers_stay(text: str) -> None:
    assert without(text) == text


@pytest.mark.parametrize(
    "kind", ["PRIVATE KEY", "RSA PRIVATE KEY", "OPENSSH PRIVATE KEY", "PGP PRIVATE KEY BLOCK", "ENCRYPTED PRIVATE KEY"]
)
def test_a_private_key_is_withheld_also_if_a_part_of_it_was_cut_off(kind: str) -> None:
    begin, end = f"-----BEGIN {kind}-----", f"-----END {kind}-----"
    assert without(f"a\n{begin}\n{LINES}\n{end}\nb") == f"a\n{WITHHELD}\nb"
    assert without(f"a {begin}\n{LINES}") == f"a {WITHHELD}"
    assert without(f"{LINES}\n{end} b") == f"{WITHHELD} b"
    assert without(f"{begin}{LINES}{end}" * 3) == WITHHELD * 3


def test_a_public_key_is_shown_and_a_key_of_putty_is_not() -> None:
    public = f"-----BEGIN CERTIFICATE-----\n{LINES}\n-----END CERTIFICATE-----"
    assert without(public) == public
    assert without(f"see PuTTY-User-Key-File-2: ssh-rsa\nPrivate-Lines: 8\n{LINES}") == f"see {WITHHELD}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("jane@acme.example:hunter22! joe@acme.example:x", f"jane@acme.example:h{MASK}! joe@acme.example:{MASK}"),
        ("https://jane:hunter22!@acme.example/", f"https://jane:{MASK}@acme.example/"),
        ("ftp://jane:a@b@acme.example", f"ftp://jane:{MASK}@acme.example"),
        ("postgresql://:hunter22@db/x", f"postgresql://:{MASK}@db/x"),
        ("write to jane@acme.example: today", "write to jane@acme.example: today"),
        ("https://acme.example:8443/@jane", "https://acme.example:8443/@jane"),
        ("no sign", "no sign"),
    ],
)
def test_a_password_next_to_its_owner_is_masked_in_any_text(text: str, shown: str) -> None:
    assert without(text) == without(shown) == shown


@settings(derandomize=True, deadline=None, database=None)
@given(before=some.text(max_size=30), after=some.text(max_size=30), chance=some.randoms())
def test_any_card_number_is_found_between_any_texts(before: str, after: str, chance: random.Random) -> None:
    digits = f"{chance.choice('23456')}{chance.randrange(10**14):014d}"
    number = next(f"{digits}{last}" for last in range(10) if is_card(f"{digits}{last}"))
    parted = chance.choice((" ", "-")).join(number[at : at + 4] for at in (0, 4, 8, 12))
    before = f"{before}|" if before[-1:].isdecimal() else before
    after = f"|{after}" if after[:1].isdecimal() else after
    for written in (number, parted):
        assert written not in without(f"{before}{written}{after}")


CARD = "4111111111111111"
KEY = f"-----BEGIN RSA PRIVATE KEY-----\n{LINES}\n-----END RSA PRIVATE KEY-----"
LOGIN = "jane@acme.example:correct-horse"
ADDRESS = "https://joe:correct-horse@acme.example/"
#: how a text may be written -> function that writes it so
WAYS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "percent-encoded": lambda text: quote(text, safe=""),
    "a form": quote_plus,
    "percent-encoded twice": lambda text: quote(quote(text, safe="")),
    "entities": lambda text: "".join(f"&#{ord(one)};" for one in text),
    "HTML": html.escape,
    "JSON": lambda text: json.dumps(text).replace("/", "\\/"),
    "JSON of small code points": lambda text: "".join(f"\\u{ord(one):04x}" for one in text),
    "marks of the host": lambda text: f"{text[:14]}<SFURL>{text[14:18]}</SFURL>{text[18:]}",
    "tags": lambda text: f"{text[:14]}<b>{text[14:18]}</b>{text[18:]}",
    "not seen": "\u200b".join,
    "control characters": "\0".join,
    "soft hyphens": "\u00ad".join,
    "wide": lambda text: "".join(chr(ord(one) + 0xFEE0) if "!" <= one <= "~" else one for one in text),
    "another space": lambda text: text.replace(" ", "\u00a0").replace("\n", "\r\n"),
}
IN_BASE64 = {
    "base64": lambda text: b64encode(text.encode()).decode(),
    "base64 within": lambda text: b64encode(f"{{'x': '{text}'}}".encode()).decode(),
    "base64 of URLs": lambda text: urlsafe_b64encode(f"?>{text}".encode()).decode().rstrip("="),
}


@pytest.mark.parametrize("way", WAYS)
@in_one("secret", [CARD, KEY, LOGIN, ADDRESS])
@in_one("around", ["{}", "x={}&y=1", "https://acme.example/?q={}#x", "see {} there"])
def test_no_way_of_writing_hides_a_secret(secret: str, way: str, around: str) -> None:
    text = around.format(WAYS[way](secret))
    shown = without(text)
    read = "".join(one for one in legible(unquote(unquote(html.unescape(shown)))) if one > " ")
    assert not any(one in read for one in ("41111111", "MIIEvQIBAD", "rrect-hors", "006d00690069")), shown
    assert without(shown) == shown, "it stays as it is"


@pytest.mark.parametrize("way", IN_BASE64)
@pytest.mark.parametrize("secret", [CARD, KEY])
def test_nor_does_base64(secret: str, way: str) -> None:
    text = IN_BASE64[way](secret)
    shown = without(f"https://acme.example/?q={text}")
    assert not any(text[at : at + 12] in shown for at in range(16, len(text) - 16)), shown


@pytest.mark.parametrize("gap", ["  ", "\n\n", "\r\n", " - ", "\u2013", "\u2011", "/", "+", " / ", "\u3000"])
def test_groups_of_a_card_number_may_stand_far_apart(gap: str) -> None:
    assert without(f"card {gap.join(['4111'] * 1 + ['1111'] * 3)}.") == f"card {MASK}1111."
    assert without(f"4111 1111{gap}1111-1111") == f"{MASK}1111"


def test_digits_of_a_card_number_may_stand_apart() -> None:
    assert without(" ".join(CARD)) == without("-".join(CARD)) == f"{MASK}1111"
    assert without(" ".join("4111111111111112")) == " ".join("4111111111111112")


@pytest.mark.parametrize("sign", [";", "|"])
def test_other_signs_between_an_address_and_its_password(sign: str) -> None:
    assert without(f"jane@acme.example{sign}correct-horse") == f"jane@acme.example{sign}c{MASK}e"
    assert without(f"jane@acme.example{sign}joe@acme.example") == f"jane@acme.example{sign}joe@acme.example"


def test_a_key_in_the_form_of_ssh2() -> None:
    assert without(
        f"---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\n{LINES}\n---- END SSH2 ENCRYPTED PRIVATE KEY ----"
    ) == (WITHHELD)


@pytest.mark.parametrize(
    "text",
    [
        "https://acme.example/?a=1&b=%2Fx&c=\u00e4\u00f6\u00fc",
        "C:\\Users\\jane & joe <b>bold</b>",
        "\u041f\u0440\u0438\u0432\u0435\u0442 \u05e9\u05dc\u05d5\u05dd \U0001f600",
        b64encode(bytes(range(256))).decode(),
        "a\0b\ud800c",
    ],
)
def test_an_encoded_text_without_secrets_stays(text: str) -> None:
    assert without_secrets(text) == (text, [])


@pytest.mark.parametrize("size", [WINDOW - 40, WINDOW - 8, WINDOW, WINDOW + 8])
def test_a_secret_at_the_end_of_what_is_decoded_together_is_found(size: int) -> None:
    text = f"{'%20' * (size // 3)}{quote(KEY)}{'%20' * WINDOW}{quote('4111 1111 1111 1111')}"
    assert "MIIE" not in without(text)
    assert "4111" not in without(text)
