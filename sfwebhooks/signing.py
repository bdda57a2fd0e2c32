"""Signing: content and a delivery come in, the Request that is sent byte for byte goes out.

It has two signatures: `X-SpiderFoot-Signature`, as in both guides (hex HMAC-SHA256 of the raw body; `formats/naming`
has the other guide's name for it), and `webhook-signature` of Standard Webhooks, v1 and v1a
(https://www.standardwebhooks.com).
"""

from __future__ import annotations

import base64
import gzip
import hmac
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sfwebhooks import __version__
from sfwebhooks.authentication import credentials
from sfwebhooks.endpoints import Endpoint, Secret
from sfwebhooks.events import Batch
from sfwebhooks.formats import FORMATS
from sfwebhooks.formats.content import Content
from sfwebhooks.formats.naming import event_name, naming_of
from sfwebhooks.signing_keys import WHPK, WHSK, ed25519_fits, ed25519_signature, hmac_key, is_asymmetric

#: largest accepted deviation of a timestamp, in seconds (Standard Webhooks libraries: five minutes)
TOLERANCE_SECONDS = 300
#: most signatures of a message that are checked: each costs a hash of the body, and anybody may send many
SIGNATURES_MAX = 32
#: level of gzip: higher ones take much longer for little
COMPRESSION = 5
#: headers of each request
ALWAYS = {"User-Agent": f"sfwebhooks/{__version__}", "Accept": "*/*", "Accept-Encoding": "identity"}
#: headers of a Standard Webhooks signature
STANDARD = ("webhook-id", "webhook-timestamp", "webhook-signature")


@dataclass(frozen=True)
class Request:
    """The request to send: the signed bytes and all headers. Contains secrets; never shown."""

    url: Secret
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    method: str = "POST"
    #: added to the query of the URL
    query: str = field(default="", repr=False)
    #: another place of the receiver, relative to the URL
    path: str = ""


def sign(content: Content, batch: Batch, endpoint: Endpoint, now: float) -> Request:
    """Return the request for one attempt; its timestamp and signature are new for each attempt, its id is not.

    Args:
        batch: the content's deliveries.
        now: epoch seconds, sent in whole seconds.
    """
    stamp, form = str(int(now)), FORMATS[endpoint.format]
    naming = form.naming
    secrets = [secret.reveal() for secret in endpoint.secrets]
    headers = {**ALWAYS, **credentials(endpoint, form.key_header, form.scheme), **content.headers}
    headers[naming.event] = event_name(batch, naming)
    headers[naming.delivery] = headers["webhook-id"] = batch.id
    headers[naming.timestamp] = headers["webhook-timestamp"] = stamp
    if any(delivery.replayed or delivery.backfilled for delivery in batch.deliveries):
        headers[naming.replay] = "true"  # nobody needs to be paged for it
    shared = next((secret for secret in secrets if not secret.startswith((WHSK, WHPK))), "")
    if shared:  # the first one signs the guide's, and each secret the standard's
        headers[naming.signature] = guide_signature(shared, content.body)
    if secrets:
        signatures = [standard_signature(secret, batch.id, stamp, content.body) for secret in secrets]
        headers["webhook-signature"] = " ".join(signatures)
    query, body = form.query(endpoint, now) if form.query else "", content.body
    if endpoint.compress:  # after signing: a receiver's code gets the body as its server has decompressed it
        body, headers["Content-Encoding"] = gzip.compress(body, COMPRESSION, mtime=0), endpoint.compress
    return Request(endpoint.url, headers, body, content.method, query, content.path)


def unsigned(content: Content, endpoint: Endpoint) -> Request:
    """Return a request that has no message, such as a handshake."""
    form = FORMATS[endpoint.format]
    headers = {**ALWAYS, **credentials(endpoint, form.key_header, form.scheme), **content.headers}
    return Request(endpoint.url, headers, content.body, content.method, path=content.path)


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


def alone(headers: Mapping[str, str], secrets: Sequence[str]) -> tuple[str, ...]:
    """Return the header names of the only signature of a received message; none if it has both or neither.

    A sender may support one kind only. A guide's signature counts only if a shared secret is known to check it.
    """
    guide = naming_of(headers).signature
    if guide in headers and not any(name in headers for name in STANDARD):
        return () if all(map(is_asymmetric, secrets)) else (guide,)
    return STANDARD if guide not in headers and STANDARD[-1] in headers else ()


def problems(headers: Mapping[str, str], body: bytes, secrets: Sequence[str], now: float) -> list[str]:
    """Return the problems of a received message's signatures as texts; empty if all of them are valid.

    Args:
        headers: as received; any mapping that ignores case.
        secrets: the receiver's secrets, including whpk_ keys; one of them must match. With an ed25519 key a missing
            guide's signature is not a problem, since a whsk_ secret makes none; an existing one is checked.
        now: epoch seconds at the receiver.
    """
    only = alone(headers, secrets)
    guides = [] if only == STANDARD else _guide_problems(headers, body, secrets)
    standards = _standard_problems(headers, body, secrets, now) if only in (STANDARD, ()) else []
    return [*guides, *standards]


def _guide_problems(headers: Mapping[str, str], body: bytes, secrets: Sequence[str]) -> Iterator[str]:
    name = naming_of(headers).signature
    given = headers.get(name, "")
    shared = [secret for secret in secrets if not is_asymmetric(secret)]
    if not given and len(shared) == len(secrets):
        yield f"{name} is missing: does the sender have a secret?"
    elif given and (shared or not secrets) and not any(guide_fits(given, secret, body) for secret in shared):
        yield f"{name} does not fit: another secret, or the body was changed on the way"


def _standard_problems(headers: Mapping[str, str], body: bytes, secrets: Sequence[str], now: float) -> Iterator[str]:
    message_id, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    given = headers.get("webhook-signature", "").split()[:SIGNATURES_MAX]
    if not (message_id and stamp and given):
        yield "webhook-id, webhook-timestamp or webhook-signature is missing"
        return
    message = signed_message(message_id, stamp, body)
    if not any(standard_fits(signature, secret, message) for secret in secrets for signature in given):
        yield "webhook-signature does not fit: another secret, or id, timestamp or body were changed on the way"
    age = now - float(stamp) if stamp.isascii() and stamp.isdigit() else None
    if age is None:
        yield "webhook-timestamp is not in whole seconds"
    elif abs(age) > TOLERANCE_SECONDS:
        side = "old" if age > 0 else "in the future"
        yield f"webhook-timestamp is {abs(age):.0f} s {side}: one of the two clocks is off, or this is a replay"
