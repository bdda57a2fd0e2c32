"""Sign a message: content and a delivery come in, the Request that goes out byte for byte leaves.

Two signatures stand side by side: `X-SpiderFoot-Signature`, as the product's guide has it (hex HMAC-SHA256 of the
raw body), and `webhook-signature` of Standard Webhooks (https://www.standardwebhooks.com, version v1).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sfwebhooks import __version__
from sfwebhooks.endpoints import Endpoint, Secret
from sfwebhooks.events import Delivery
from sfwebhooks.formats.content import Content

WHSEC = "whsec_"
#: seconds that a timestamp may be off (Standard Webhooks libraries: five minutes)
TOLERANCE_SECONDS = 300


@dataclass(frozen=True)
class Request:
    """What goes out: the bytes that were signed, and all headers. Holds secrets; never shown."""

    url: Secret
    headers: dict[str, str]
    body: bytes


def sign(content: Content, delivery: Delivery, endpoint: Endpoint, now: float) -> Request:
    """Return the request for one attempt; its timestamp and signature are new for each attempt, its id is not.

    Args:
        now: epoch seconds, sent in whole seconds.
    """
    stamp = str(int(now))
    headers = {"User-Agent": f"sfwebhooks/{__version__}", "Accept": "*/*", "Accept-Encoding": "identity"}
    headers.update((name, value.reveal()) for name, value in endpoint.headers.items())
    if endpoint.api_key:
        headers["Authorization"] = f"Bearer {endpoint.api_key.reveal()}"
    headers.update(content.headers)
    headers.update(
        {
            "X-SpiderFoot-Event": delivery.name,
            "X-SpiderFoot-Delivery": delivery.id,
            "X-SpiderFoot-Timestamp": stamp,
            "webhook-id": delivery.id,
            "webhook-timestamp": stamp,
        }
    )
    if endpoint.secrets:
        headers["X-SpiderFoot-Signature"] = guide_signature(endpoint.secrets[0].reveal(), content.body)
        headers["webhook-signature"] = " ".join(
            standard_signature(secret.reveal(), delivery.id, stamp, content.body) for secret in endpoint.secrets
        )
    return Request(endpoint.url, headers, content.body)


def guide_signature(secret: str, body: bytes) -> str:
    """Return sha256=<hex HMAC of the raw body>; the key is the UTF-8 of the secret as configured, whatever it is."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def standard_signature(secret: str, message_id: str, timestamp: str, body: bytes) -> str:
    """Return v1,<base64 HMAC of "id.timestamp.body"> (Standard Webhooks specification, "Signature scheme")."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    digest = hmac.new(standard_key(secret), signed, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def standard_key(secret: str) -> bytes:
    """Return the v1 key: the decoded base64 of whsec_..., the UTF-8 of any other secret."""
    return base64.b64decode(secret[len(WHSEC) :]) if secret.startswith(WHSEC) else secret.encode()


def whsec_form(secret: str) -> str:
    """Return the secret as a Standard Webhooks receiver wants it: whsec_ and the base64 of the v1 key."""
    return WHSEC + base64.b64encode(standard_key(secret)).decode()


def problems(headers: Mapping[str, str], body: bytes, secrets: Sequence[str], now: float) -> list[str]:
    """Return what is wrong with a received message's signatures, in words; nothing if both are right.

    Args:
        headers: as received; any mapping that ignores case.
        secrets: those that the receiver knows; one of them must fit.
        now: epoch seconds at the receiver.
    """
    return [*_guide_problems(headers, body, secrets), *_standard_problems(headers, body, secrets, now)]


def _guide_problems(headers: Mapping[str, str], body: bytes, secrets: Sequence[str]) -> Iterator[str]:
    given = headers.get("X-SpiderFoot-Signature", "")
    if not given:
        yield "X-SpiderFoot-Signature is missing: does the sender have a secret?"
    elif not any(_same(guide_signature(secret, body), given) for secret in secrets):
        yield "X-SpiderFoot-Signature does not fit: another secret, or the body was changed on the way"


def _standard_problems(headers: Mapping[str, str], body: bytes, secrets: Sequence[str], now: float) -> Iterator[str]:
    message_id, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    given = headers.get("webhook-signature", "").split()
    if not (message_id and stamp and given):
        yield "webhook-id, webhook-timestamp or webhook-signature is missing"
        return
    expected = [standard_signature(secret, message_id, stamp, body) for secret in secrets]
    if not any(_same(one, other) for one in expected for other in given):
        yield "webhook-signature does not fit: another secret, or id, timestamp or body were changed on the way"
    age = now - float(stamp) if stamp.isascii() and stamp.isdigit() else None
    if age is None:
        yield "webhook-timestamp is not in whole seconds"
    elif abs(age) > TOLERANCE_SECONDS:
        side = "old" if age > 0 else "in the future"
        yield f"webhook-timestamp is {abs(age):.0f} s {side}: one of the two clocks is off, or this is a replay"


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode("utf-8", "replace"))
