from __future__ import annotations

import base64
import html
import json
import re
from urllib.parse import quote

import pytest

from sfwebhooks.endpoints import Endpoint, Secret
from sfwebhooks.own_secrets import MASK, Mask, masked_error, shown, shown_name
from tests.builders import URL, an_endpoint
from tests.leaks import leaks
from tests.rows import in_one
from tests.secrecy.planted import BASIC, BASIC_PASSWORD, WRITINGS
from tests.test_signing import WHSEC

TOKEN = 'tok/en "with" <all> & 100%+süß=='
ENDPOINT = an_endpoint(api_key=Secret(TOKEN))


def mask(text: str, endpoint: Endpoint = ENDPOINT, limit: int = 1024) -> str:
    return Mask.of(endpoint).over(text, limit)


# --- what others wrote


@pytest.mark.parametrize("writing", WRITINGS)
def test_a_secret_is_masked_however_it_is_written(writing: str) -> None:
    text = mask(WRITINGS[writing](f"you said {TOKEN}, sorry"))
    assert (MASK in text, leaks(text, TOKEN)) == (True, [])


def test_what_is_around_a_secret_stays() -> None:
    assert mask(f"you said <{TOKEN.upper()}>, sorry") == f"you said <{MASK}>, sorry"


@pytest.mark.parametrize(
    "text",
    [
        WHSEC,
        WHSEC.partition("_")[2],
        base64.b64decode(WHSEC.partition("_")[2]).hex(),
    ],
)
def test_a_signing_secret_is_masked_in_the_forms_that_its_receiver_may_have(text: str) -> None:
    assert mask(f"expected {text}!", an_endpoint(secrets=[WHSEC])) == f"expected {MASK}!"


def test_a_text_as_the_key_of_a_standard_receiver_is_masked() -> None:
    form = base64.b64encode(b"the secret of the team").decode()
    assert mask(f"key whsec_{form}", an_endpoint(secrets=["the secret of the team"])) == f"key whsec_{MASK}"


@pytest.mark.parametrize("text", [f"Basic {BASIC}", BASIC, BASIC_PASSWORD])
def test_credentials_are_masked_as_they_are_sent_and_as_they_are_read(text: str) -> None:
    assert mask(f"no {text}!", an_endpoint(headers={"X-Own": Secret(f"Basic {BASIC}")})) == f"no {MASK}!"


def test_credentials_are_masked_however_short_they_are() -> None:
    assert mask("abc1 is wrong", an_endpoint(headers={"X-Own": Secret("Token abc1")})) == f"{MASK} is wrong"


def test_a_part_of_the_url_is_masked_also_decoded() -> None:
    endpoint = an_endpoint(url="https://receiver.test/?sig=abcdef%2Fghijkl%3D")
    assert mask("sig abcdef/ghijkl= of abcdef%2fghijkl%3d", endpoint) == f"sig {MASK} of {MASK}"


def test_the_name_and_the_password_of_a_proxy_are_masked() -> None:
    endpoint = an_endpoint(proxy=Secret("http://user-of-the-team:p%40ss@proxy.test"))
    words = base64.b64encode(b"user-of-the-team:p@ss").decode()
    assert mask(f"user-of-the-team p@ss p%40ss {words}", endpoint) == " ".join([MASK] * 4)


def test_a_secret_that_only_a_format_has_is_masked_and_its_other_keys_are_not() -> None:
    key = "R0123456789abcdefghijklmnopqrst9"
    pagerduty = an_endpoint(format="pagerduty", own={"routing_key": Secret(key)})
    assert mask(f"invalid key {key}", pagerduty) == f"invalid key {MASK}"
    assert mask(f"it begins with {key[:20]}", pagerduty) == f"it begins with {MASK}"
    apprise = an_endpoint(format="apprise", own={"apprise_tag": Secret("security")})
    assert mask("no service has the tag security", apprise) == "no service has the tag security"


def test_a_text_without_secrets_stays_as_it_is() -> None:
    text = 'HTTP 404: <b>no such path</b> "/v1/events"; aGVsbG8gd29ybGQgaGVsbG8gd29ybGQ= 0123456789abcdef'
    assert mask(text, an_endpoint(url="https://receiver.test/v1/events")) == text


@in_one("length", range(1, len(URL)))
def test_the_beginning_of_a_secret_at_the_end_of_a_long_text_is_cut_off(length: int) -> None:
    text = mask(URL * 1000 + URL[:length], an_endpoint())
    assert set(text) == {"*"}


@pytest.mark.parametrize(
    "part", ["a ", "- ", "\\-", "%25", "% ", "&amp;", "\\\\a", "\t -", "ä", "ß", "ﬁ", "%C3%A4", "&auml;"]
)
def test_a_text_that_almost_fits_is_not_searched_endlessly(part: str) -> None:
    text = mask(f"<{part * 20_000}>", an_endpoint(api_key=Secret(part * 40 + "end")), 100)
    assert re.sub(r"[\s\\]", "", text) == f"<{MASK}"


@pytest.mark.parametrize("part", ["\\", "\t ", "+"])
def test_a_text_of_what_may_be_missing_is_left_alone(part: str) -> None:
    assert mask(part * 20_000, an_endpoint(api_key=Secret(part * 40 + "end")), 100) == part * (100 // len(part))


def test_a_receiver_that_repeats_all_but_the_last_letter_of_many_is_searched_at_once() -> None:
    assert mask("ä" * 39 + "o", an_endpoint(api_key=Secret("ä" * 40))) == f"{MASK}o"


def test_a_secret_of_100_kb_is_masked_like_any_other() -> None:
    secret = "".join(chr(0xE0 + number % 23) + chr(97 + number % 7) for number in range(50_000))
    assert mask(f"you said {secret}, sorry", an_endpoint(secrets=[secret]), 30_000) == f"you said {MASK}, sorry"


LONG = "my-long-signing-secret-2024"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (LONG[:-1], MASK),
        (LONG[:8], MASK),
        (LONG[:7], LONG[:7]),
        (LONG[1:], MASK),
        (LONG[-8:], MASK),
        (LONG[-7:], LONG[-7:]),
        (f"{LONG[:12]}...{LONG[-9:]}", f"{MASK}...{MASK}"),
        (f"{LONG[:20]}X", f"{MASK}X"),
        (LONG[:20].upper(), MASK),
        (quote(LONG[:20]).replace("-", "%2D"), MASK),
        (base64.b64encode(LONG[:20].encode()).decode().rstrip("="), MASK),
    ],
)
def test_a_beginning_and_an_end_of_a_secret_are_masked(said: str, shown: str) -> None:
    assert mask(f"key {said} unknown", an_endpoint(secrets=[LONG])) == f"key {shown} unknown"


@pytest.mark.parametrize("whole", ["aaaaaaaab", "abcabcabcabcabcabX", "aaaaaaaaaaaaaaaab", "abababababababac"])
@pytest.mark.parametrize("before", ["", "a", "ab", "abc", "aaaa"])
def test_a_secret_that_repeats_itself_is_masked_where_others_overlap(whole: str, before: str) -> None:
    assert mask(f"<{before}{whole}>", an_endpoint(api_key=Secret(whole))).replace(before, "", 1) in (f"<{MASK}>", MASK)


SLACK = "https://hooks.slack.test/services/T0123ABCD/B0123ABCD/XyZ0aB1cD2eF3gH4iJ5kL6mN"


@pytest.mark.parametrize("part", ["XyZ0aB1cD2eF3gH4", "iJ5kL6mN", "T0123ABCD/B0123ABCD/XyZ0aB1c"])
def test_a_part_of_a_token_in_a_path_is_masked(part: str) -> None:
    assert mask(f"no {part}!", an_endpoint(url=SLACK)).endswith(f"{MASK}!")


@pytest.mark.parametrize(
    "path", ["services/of-the-security-team", "webhookReceiverOfTeam", "security-events-v2-2026", "short-id-0a1b2c"]
)
def test_words_of_a_path_stay_where_others_say_them(path: str) -> None:
    text = "the security team has no webhook receiver of the team for security events, or services/of ids"
    assert mask(text, an_endpoint(url=f"https://receiver.test/{path}")) == text


def test_a_name_among_the_credentials_of_the_scanner_is_masked_only_whole() -> None:
    assert masked_error("spiderfoot: no spiderfootuser", [], ["spiderfootuser"]) == f"spiderfoot: no {MASK}"
    assert masked_error("no 0123456789abc", [], ["0123456789abcdef"]) == f"no {MASK}"


@pytest.mark.parametrize(
    "said", ["\\ud83d\\ude00 and more", "\\U0001f600 and more", "&#128512; and more", "%u00fcber-all", "\\xfcber-all"]
)
def test_characters_are_found_by_their_numbers(said: str) -> None:
    endpoint = an_endpoint(secrets=["\U0001f600 and more", "über-all"])
    assert mask(f"<{said}>", endpoint) == f"<{MASK}>"


def test_a_secret_is_found_in_what_was_escaped_three_times_in_different_ways() -> None:
    text = quote(html.escape(json.dumps(TOKEN)))
    assert leaks(mask(f"you said {text}"), TOKEN) == []


def test_a_secret_is_found_in_base64_behind_another_word() -> None:
    text = base64.b64encode(LONG.encode()).decode().rstrip("=")
    for before in ("", "k", "ke", "key", "key_"):
        assert leaks(mask(before + text, an_endpoint(secrets=[LONG])), LONG) == []


def test_no_more_than_the_limit_is_returned() -> None:
    assert len(mask("x" * 100_000)) == 1024


def test_an_endpoint_without_secrets_masks_nothing() -> None:
    assert mask("anything", an_endpoint(url="https://receiver.test")) == "anything"


# --- what is in the settings


@pytest.mark.parametrize(
    "text",
    ["15 sec", "1w", "yes please", "genric", "high_risk_evnt, scan_*", "GENERIC", "-1", "10 per second", "0x10",
     "~/ca.pem", "a sentence of several unremarkable words", ""],
)  # fmt: skip
def test_a_slip_of_the_pen_is_shown(text: str) -> None:
    assert shown(text) == text


@pytest.mark.parametrize(
    "text",
    ["whsec_x", "a whsk_x", "https://hooks.example.test/", "user@host", "xoxb-123456789012", "AKIAIOSFODNN7EXAMPLE",
     "Bearer abc123def456", "dGhpcyBpcyBhIHNlY3JldA==", "0123456789abcdef", "pa$$word", "aVeryLongSecretWord"],
)  # fmt: skip
def test_what_looks_like_a_secret_is_not_shown(text: str) -> None:
    assert shown(text) == MASK


@pytest.mark.parametrize(
    "text", ["TEAM_SECRET_2", "team_secret", "/etc/spiderfoot/team-1.secret", "~/x1", "secrets/t 1"]
)
def test_the_name_of_a_variable_or_of_a_file_is_shown(text: str) -> None:
    assert shown_name(text) == text


@pytest.mark.parametrize("text", ["whsec_abc/def", "xoxb-123456789012", "https://hooks.example.test/", "abc/def+gh=="])
def test_a_secret_in_the_place_of_a_name_is_not_shown(text: str) -> None:
    assert shown_name(text) == MASK
