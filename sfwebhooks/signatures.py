"""Signatures: a secret and the bytes of a message come in; a signature goes out, or whether a given one fits.

`signing` makes them, `receive/verification` checks them. There are two: `X-SpiderFoot-Signature`, as in both guides
(hex HMAC-SHA256 of the raw body; `naming` has the other guide's name for it), and `webhook-signature` of Standard
Webhooks, v1 and v1a (https://www.standardwebhooks.com).
"""

from __future__ import annotations

import base64
import hmac

from sfwebhooks.signing_keys import WHSK, ed25519_fits, ed25519_signature, hmac_key, is_asymmetric

#: headers of a Standard Webhooks signature
STANDARD = ("webhook-id", "webhook-timestamp", "webhook-signature")


def guide_signature(secret: str, body: bytes) -> str:
    """Return sha256=<hex HMAC of the raw body>; the key is always the UTF-8 of the configured secret."""
    return "sha256=" + hmac.digest(secret.encode(), body, "sha256").hex()


def guide_fits(given: str, secret: str, body: bytes) -> bool:
    """Return whether a guide's signature was made with this secret."""
    return hmac.compare_digest(guide_signature(secret, body).encode(), given.encode("utf-8", "replace"))


def standard_signature(secret: str, message_id: str, timestamp: str, body: bytes) -> str:
    """Return v1,<base64 HMAC> or, of a whsk_ secret, v1a,<base64 ed25519 signature> (Standard Webhooks)."""
    message = f"{message_id}.{timestamp}.".encode() + body
    if secret.startswith(WHSK):
        return "v1a," + base64.b64encode(ed25519_signature(secret, message)).decode()
    return "v1," + base64.b64encode(hmac.digest(hmac_key(secret), message, "sha256")).decode()


def signed_message(message_id: str, timestamp: str, body: bytes) -> bytes:
    """Return the signed message of the standard: id.timestamp.body."""
    return f"{message_id}.{timestamp}.".encode("utf-8", "replace") + body


def standard_fits(signature: str, secret: str, message: bytes) -> bool:
    """Return whether a signature of a `webhook-signature` header was made with this secret, or the pair of this whpk_.

    Args:
        message: result of `signed_message`.
    """
    version, _, text = signature.partition(",")
    try:
        given = base64.b64decode(text, validate=True)
    except ValueError:
        return False
    if is_asymmetric(secret):
        return version == "v1a" and ed25519_fits(secret, given, message)
    return version == "v1" and hmac.compare_digest(given, hmac.digest(hmac_key(secret), message, "sha256"))
