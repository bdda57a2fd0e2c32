from __future__ import annotations

import base64

import pytest

from sfwebhooks.config.values import receiver_secrets, secrets
from sfwebhooks.endpoints import Secret
from sfwebhooks.receive import verify
from sfwebhooks.signing_keys import (
    ed25519_fits,
    ed25519_signature,
    hmac_key,
    new_whsec,
    new_whsk,
    problem,
    receiver_form,
)
from tests.test_signing import SEED_ALONE, WHPK, WHSEC, WHSK


def b64(size: int) -> str:
    return base64.b64encode(b"k" * size).decode()


@pytest.mark.parametrize("secret", [WHSEC, WHSK, SEED_ALONE, "any text", "whpk", "WHSK_x", "whsec"])
def test_a_well_formed_secret_has_no_problem(secret: str) -> None:
    assert problem(secret) == ""


@pytest.mark.parametrize("size", [0, 1, 24, 31, 33, 63, 65, 96])
def test_a_whsk_secret_has_64_bytes_or_32(size: int) -> None:
    assert "64 bytes" in problem(f"whsk_{b64(size)}")


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_a_whpk_key_has_32_bytes(size: int) -> None:
    assert "32 bytes" in problem(f"whpk_{b64(size)}", signs=False)


@pytest.mark.parametrize(
    "key",
    [
        "00" * 32,
        "00" * 31 + "80",
        "01" + "00" * 31,
        "01" + "00" * 30 + "80",
        "ec" + "ff" * 30 + "7f",
        "ed" + "ff" * 30 + "7f",
        "ee" + "ff" * 30 + "ff",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    ],
)
def test_a_whpk_key_of_small_order_is_a_problem(key: str) -> None:
    """With 32 zero bytes, every fourth message or so verifies with the same signature."""
    secret = f"whpk_{base64.b64encode(bytes.fromhex(key)).decode()}"
    assert "small order" in problem(secret, signs=False)
    with pytest.raises(ValueError, match="small order"):
        verify(b"{}", {}, secret)


@pytest.mark.parametrize("text", ["s", "short", "x" * 500])
def test_a_receiver_can_use_the_whsec_form_of_any_text(text: str) -> None:
    assert problem(receiver_form(text), signs=False) == ""
    assert [one.reveal() for one in receiver_secrets(receiver_form(text))] == [receiver_form(text)]


@pytest.mark.parametrize("text", ["!", "é", WHSK[5:-2], WHSK[5:] + "=", WHSK[5:].replace("/", "_"), " " + WHSK[5:]])
def test_anything_but_padded_base64_of_the_standard_alphabet_is_a_problem(text: str) -> None:
    assert problem(f"whsk_{text}")


def test_a_whsk_secret_whose_halves_do_not_belong_together_is_a_problem() -> None:
    other = base64.b64decode(new_whsk()[5:])[32:]
    mixed = base64.b64encode(base64.b64decode(WHSK[5:])[:32] + other).decode()
    assert "do not belong together" in problem(f"whsk_{mixed}")


def test_the_public_key_of_a_published_pair() -> None:
    assert (receiver_form(WHSK), problem(WHPK, signs=False)) == (WHPK, "")


def test_the_seed_alone_has_the_same_public_key() -> None:
    seed = base64.b64encode(base64.b64decode(WHSK[5:])[:32]).decode()
    assert receiver_form(f"whsk_{seed}") == WHPK


@pytest.mark.parametrize("secret", [WHSEC, WHPK])
def test_what_a_receiver_can_use_stays_as_it_is(secret: str) -> None:
    assert receiver_form(secret) == secret


@pytest.mark.parametrize("make", [new_whsec, new_whsk])
def test_a_new_secret_is_well_formed_and_never_the_same(make: object) -> None:
    assert callable(make)
    made = [make() for _ in range(50)]
    assert ([problem(one) for one in made], len(set(made))) == ([""] * 50, 50)


def test_a_new_whsec_secret_has_32_bytes() -> None:
    assert len(hmac_key(new_whsec())) == 32


def test_a_new_pair_signs_and_verifies() -> None:
    secret = new_whsk()
    signature = ed25519_signature(secret, b"message")
    assert [ed25519_fits(receiver_form(secret), signature, text) for text in (b"message", b"massage")] == [True, False]


@pytest.mark.parametrize("key", [WHSK, WHPK])
def test_an_ed25519_key_is_not_an_hmac_key(key: str) -> None:
    with pytest.raises(ValueError, match="not an HMAC key"):
        hmac_key(key)


@pytest.mark.parametrize("length", [0, 1, 63, 65, 128])
def test_a_signature_of_another_length_fits_nothing(length: int) -> None:
    assert not ed25519_fits(WHPK, b"\0" * length, b"message")


# --- as the configuration and the receiver read them


@pytest.mark.parametrize("text", [WHSK, SEED_ALONE, f"{WHSK}\n{WHSEC}\nold"])
def test_whsk_secrets_sign(text: str) -> None:
    assert secrets(text) == tuple(Secret(line) for line in text.split("\n"))


def test_a_public_key_does_not_sign() -> None:
    with pytest.raises(ValueError, match="only verifies"):
        secrets(f"{WHSEC}\n{WHPK}")


def test_a_receiver_takes_public_keys_with_others() -> None:
    assert [one.reveal() for one in receiver_secrets(f"{WHPK}\n{WHSK}\ntext")] == [WHPK, WHSK, "text"]


@pytest.mark.parametrize("secret", ["whsk_c2hvcnQ=", "whpk_c2hvcnQ=", "whsec_c2hvcnQ", WHSK[:-4]])
@pytest.mark.parametrize("read", [secrets, receiver_secrets])
def test_a_malformed_secret_is_not_repeated(read: object, secret: str) -> None:
    assert callable(read)
    with pytest.raises(ValueError, match=r"base64|whsk_") as raised:
        read(secret)
    assert secret.partition("_")[2] not in str(raised.value)
