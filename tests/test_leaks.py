"""The detector of secrets finds each form of each, and nothing where there is none."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Callable
from urllib.parse import quote

import pytest

from tests.leaks import PIECE, forms, leaks
from tests.rows import in_one
from tests.secrecy.planted import (
    BASIC,
    BASIC_PASSWORD,
    BASIC_USER,
    PATH_TOKEN,
    PROOF_KEY,
    SECRETS,
    WHSEC,
    WHSK,
    WRITINGS,
)
from tests.test_signing import SEED_ALONE, WHPK
from tests.test_signing import WHSK as SIGNING_KEY

WRITTEN: dict[str, Callable[[str], str]] = {
    **WRITINGS,
    "in a table": lambda secret: "│\n│ ".join(secret[at : at + 7] for at in range(0, len(secret), 7)),
    "in hex": lambda secret: secret.encode().hex(),
    "in the base64 of URLs": lambda secret: base64.urlsafe_b64encode(secret.encode()).decode(),
    "in base64 after one byte": lambda secret: base64.b64encode(b"x" + secret.encode()).decode(),
    "in base64 after two bytes": lambda secret: base64.b64encode(b"xy" + secret.encode()).decode(),
    "in bytes": lambda secret: repr(secret.encode()),
    "in ASCII": ascii,
    "at its beginning": lambda secret: secret[: PIECE + 6],
    "at its end": lambda secret: secret[-PIECE - 4 :],
    "in JSON within JSON": lambda secret: json.dumps(json.dumps(secret)),
    "in HTML, percent-encoded": lambda secret: html.escape(quote(secret)),
}


@pytest.mark.parametrize("writing", WRITTEN)
@in_one("secret", [secret for secret in SECRETS if not secret.startswith(("whsec_", "whsk_"))])
def test_a_secret_is_found(secret: str, writing: str) -> None:
    assert leaks(f"something <{WRITTEN[writing](secret)}> something", secret)


@pytest.mark.parametrize("secret", [WHSEC, WHSK, PROOF_KEY, SEED_ALONE])
def test_a_key_is_found_without_its_prefix_and_as_bytes(secret: str) -> None:
    bare = secret.partition("_")[2]
    key = base64.b64decode(bare)[:32]
    for text in (
        secret,
        bare,
        bare[:20],
        bare.upper(),
        quote(bare),
        key.hex(),
        repr(key),
        base64.b64encode(key).decode(),
    ):
        assert leaks(f"something {text} something", secret), text


def test_a_password_is_found_in_a_basic_header() -> None:
    assert leaks(f"Authorization: Basic {BASIC}", BASIC_PASSWORD) and leaks(f"Basic {BASIC}", BASIC_USER)


def test_a_short_secret_is_found_only_whole() -> None:
    assert (leaks("a pass-word", "passw"), leaks("a passw-ord", "passw")) == ([], ["passw"])


def test_nothing_is_found_where_nothing_is() -> None:
    text = "".join(map(chr, range(0x20, 0x250))) * 3 + " Traceback (most recent call last): 127.0.0.1 " + "0f" * 64
    assert leaks(text, *SECRETS) == []


def test_the_public_half_of_a_key_is_not_a_secret() -> None:
    assert leaks(WHPK, SIGNING_KEY) == []


def test_no_form_is_empty_or_of_a_whole_alphabet() -> None:
    assert all(len(form) >= PIECE for secret in SECRETS for form in forms(secret))
    assert PATH_TOKEN in forms(PATH_TOKEN)
