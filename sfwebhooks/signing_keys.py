"""Signing secrets: a text comes in; its kind, its mistakes and its signatures go out.

Two kinds come from the Standard Webhooks specification 1.0 ("Signature scheme"): whsec_ (HMAC-SHA256, v1) and whsk_
with its public whpk_ (ed25519, v1a). Any other text is used literally as an HMAC key.

`cryptography` is imported with the first ed25519 key, since a receiver with another secret needs none of it. On the
sending side that is when the settings are read, which rejects malformed keys with `problem`.
"""

from __future__ import annotations

import base64
import os
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

WHSEC, WHSK, WHPK = "whsec_", "whsk_", "whpk_"
#: size of an ed25519 seed, and of a public key (RFC 8032 section 5.1.5)
KEY_BYTES = 32
#: the field of ed25519, and the y of its points of small order: with one as public key, signatures of many messages can
#: be made without a secret
FIELD = 2**255 - 19
EIGHTH = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
SMALL_ORDER = {0, 1, FIELD - 1, EIGHTH, FIELD - EIGHTH}


def is_asymmetric(secret: str) -> bool:
    """Return whether it is an ed25519 key, which must not be used for an HMAC: a whpk_ is public."""
    return secret.startswith((WHSK, WHPK))


def problem(secret: str, signs: bool = True) -> str:
    """Return what is expected instead of a malformed secret, without showing it; nothing if it is well-formed.

    Args:
        signs: False for a receiver, which needs only the public half and accepts a whsec_ of any length:
            `receiver_form` converts any text into one.

    For whsk_ the specification says only "standard ed25519 key pair ... base64 encoded". Its authors' server (Svix)
    uses seed and public key, 64 bytes, the specification's library for Go the seed alone: both are accepted.
    """
    key = _decoded(secret)
    if secret.startswith(WHSEC) and not (24 <= len(key) <= 64 if signs else key):
        return "expected base64 of 24 to 64 bytes after whsec_, or any other text"
    if secret.startswith(WHPK) and signs:
        return "a whpk_ key is public and only verifies; expected the whsk_... secret that belongs to it"
    if secret.startswith(WHPK) and len(key) != KEY_BYTES:
        return "expected base64 of the 32 bytes of an ed25519 public key after whpk_"
    if secret.startswith(WHPK) and int.from_bytes(key, "little") % 2**255 % FIELD in SMALL_ORDER:
        return "this whpk_ key verifies signatures of anybody (a point of small order); expected the sender's own key"
    if secret.startswith(WHSK) and len(key) not in (KEY_BYTES, 2 * KEY_BYTES):
        return "expected base64 of 64 bytes after whsk_, an ed25519 seed and its public key, or of the seed's 32 alone"
    if secret.startswith(WHSK) and key[KEY_BYTES:] not in (b"", _public_bytes(_private_key(secret))):
        return "the two halves of this whsk_ key do not belong together: it was changed or cut when it was copied"
    return ""


@lru_cache(maxsize=256)
def hmac_key(secret: str) -> bytes:
    """Return the v1 key: the decoded base64 of whsec_..., the UTF-8 of any other text.

    Raises:
        ValueError: it is an ed25519 key.
    """
    if is_asymmetric(secret):
        raise ValueError("an ed25519 key is not an HMAC key")
    return _decoded(secret) if secret.startswith(WHSEC) else secret.encode()


def ed25519_signature(secret: str, message: bytes) -> bytes:
    """Return the signature of a message by a whsk_ secret."""
    return _private_key(secret).sign(message)


def ed25519_fits(secret: str, signature: bytes, message: bytes) -> bool:
    """Return whether a signature of this message was made with the pair of a whpk_ or whsk_ key."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    private = secret.startswith(WHSK)
    key = _private_key(secret).public_key() if private else Ed25519PublicKey.from_public_bytes(_decoded(secret))
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True


def receiver_form(secret: str) -> str:
    """Return a Standard Webhooks receiver's key: whpk_ of an ed25519 pair, else whsec_ and the v1 key's base64."""
    if secret.startswith(WHSK):
        return WHPK + base64.b64encode(_public_bytes(_private_key(secret))).decode()
    return secret if secret.startswith(WHPK) else WHSEC + base64.b64encode(hmac_key(secret)).decode()


#: instructions for a receiver with a public key
WHPK_HINT = (
    "whpk_: the Standard Webhooks libraries take whsec_ only (v1). A receiver verifies v1a with an ed25519 library"
    " over webhook-id.webhook-timestamp.body; docs/receivers.md has the code (Verify with a public key) for Python and"
    " Node."
)


def new_whsec() -> str:
    """Return a new whsec_ secret of 32 random bytes (the specification asks for 24 to 64)."""
    return WHSEC + base64.b64encode(os.urandom(32)).decode()


def new_whsk() -> str:
    """Return a new whsk_ secret: base64 of the seed and the public key."""
    seed = os.urandom(KEY_BYTES)
    public = _public_bytes(_private_key(WHSK + base64.b64encode(seed).decode()))
    return WHSK + base64.b64encode(seed + public).decode()


def _decoded(secret: str) -> bytes:
    """Return the bytes after the prefix, or none if they are not base64 (RFC 4648 section 4, padded)."""
    try:
        return base64.b64decode(secret.partition("_")[2], validate=True)
    except ValueError:  # from binascii, or for characters outside ASCII
        return b""


@lru_cache(maxsize=256)
def _private_key(secret: str) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(_decoded(secret)[:KEY_BYTES])


def _public_bytes(key: Ed25519PrivateKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
