"""Verification: a delivery as it was received and the secrets of its sender come in; its id goes out, or an error.

For everyone who writes a receiver in Python (`from sfwebhooks.receive import verify`); `sfwebhooks receive` and
`sfwebhooks verify` use the same. It imports little: a receiver needs neither the sending side nor its packages.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from sfwebhooks.naming import naming_of
from sfwebhooks.signatures import STANDARD, guide_fits, signed_message, standard_fits
from sfwebhooks.signing_keys import is_asymmetric, problem

#: largest accepted deviation of a timestamp, in seconds (Standard Webhooks libraries: five minutes)
TOLERANCE_SECONDS = 300
#: most signatures of a message that are checked: each costs a hash of the body, and anybody may send many
SIGNATURES_MAX = 32
#: most digits of a timestamp
DIGITS_MAX = 20
#: the ids of sfwebhooks and of Standard Webhooks; with a stop in one, a part of a signed body could pass as the
#: timestamp, and the rest as another body
ID = re.compile(r"[A-Za-z0-9_-]{1,200}")
BAD_ID = "webhook-id is not 1 to 200 letters, digits, hyphens or underscores"


class VerificationError(Exception):
    """A delivery is not verified: the receiver answers with 401 and does not use it."""

    @property
    def reasons(self) -> tuple[str, ...]:
        """What is wrong, as sentences without any part of the request except names of headers and the time."""
        return self.args

    def __str__(self) -> str:
        return "; ".join(self.args)


class Verified(NamedTuple):
    """The signed facts about a verified delivery; None for both if it has a guide's signature only."""

    #: id of the delivery or of the batch, the same each time it is sent; a receiver drops repeats by it
    id: str | None
    #: epoch seconds at which this attempt was signed
    sent_at: int | None


def verify(
    body: bytes,
    headers: Mapping[str, str],
    secrets: str | Sequence[str],
    *,
    tolerance: float | None = TOLERANCE_SECONDS,
    now: float | None = None,
    strict: bool = False,
) -> Verified:
    """Verify that a delivery was signed with a secret, and that it was sent just now.

    Args:
        body: the bytes as received (decompressed, if a Content-Encoding says so), before any decoding or parsing.
        headers: as received; their names may have any case.
        secrets: the secret of the endpoint, or several while they are rotated: any text, whsec_..., or whpk_... if it
            is an ed25519 key. A text can have several, one per line, as in the settings.
        tolerance: seconds by which webhook-timestamp may differ from `now`; None: any time is accepted, and so is a
            delivery with a guide's signature only (X-SpiderFoot-Signature, X-Security-Signature), which does not cover
            the time. sfwebhooks always sends both.
        now: epoch seconds; by default the current time.
        strict: whether a guide's signature must fit too if there is one, as `sfwebhooks receive` requires. During a
            rotation it may be made with a secret that this receiver does not know.

    Raises:
        VerificationError: a signature does not fit or is missing, or the time is too far off.
        ValueError: there is no secret, or one that is malformed; nothing was verified.
        TypeError: the body is not bytes.
    """
    if not isinstance(body, bytes):
        raise TypeError("expected the body as bytes, before it is decoded or parsed")
    known = _known((secrets,) if isinstance(secrets, str) else tuple(secrets))
    given, now = _lower(headers), time.time() if now is None else now
    if strict or alone(given, known):
        found = signature_problems(given, body, known, now, tolerance)
    else:
        found = [*_standard_problems(given, body, known, now, tolerance)]
    timeless = is_timeless(given, known)
    if timeless and tolerance is not None:
        found.append("webhook-signature is missing: the other signature alone does not cover the time")
    if found:
        raise VerificationError(*found)
    return Verified(None, None) if timeless else Verified(given["webhook-id"], int(given["webhook-timestamp"]))


@lru_cache(maxsize=32)
def _known(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Return the secrets of some texts: HMAC with an empty or half-decoded key is one that anybody can make."""
    found = tuple(line.strip() for text in texts for line in text.splitlines() if line.strip())
    if not found:
        raise ValueError("expected at least one secret: without one, nothing can be verified")
    for secret in found:
        wrong = problem(secret, signs=False)
        if wrong:
            raise ValueError(wrong)
        if any("\ud800" <= char <= "\udfff" for char in secret):
            raise ValueError("expected a secret of valid UTF-8 text")
    return found


def alone(headers: Mapping[str, str], secrets: Sequence[str]) -> tuple[str, ...]:
    """Return the header names of the only signature of a received message; none if it has both or neither.

    A sender may support one kind only. A guide's signature counts only if a shared secret is known to check it.

    Args:
        headers: names in lower case, or any mapping that ignores case.
    """
    guide = naming_of(headers).signature
    if guide.lower() in headers and not any(name in headers for name in STANDARD):
        return () if all(map(is_asymmetric, secrets)) else (guide,)
    return STANDARD if guide.lower() not in headers and STANDARD[-1] in headers else ()


def is_timeless(headers: Mapping[str, str], secrets: Sequence[str]) -> bool:
    """Return whether a message has a guide's signature only, which does not cover the time.

    Args:
        headers: as for `alone`.
    """
    return alone(headers, secrets) not in ((), STANDARD)


def signature_problems(
    headers: Mapping[str, str],
    body: bytes,
    secrets: Sequence[str],
    now: float,
    tolerance: float | None = TOLERANCE_SECONDS,
) -> list[str]:
    """Return the problems of a received message's signatures as texts; empty if all of them are valid.

    Args:
        headers: as received.
        secrets: the receiver's secrets, well-formed, including whpk_ keys; one of them must match. With an ed25519 key
            a missing guide's signature is not a problem, since a whsk_ secret makes none; an existing one is checked.
        now: epoch seconds at the receiver.
        tolerance: seconds, or None for any time.
    """
    given = _lower(headers)
    only = alone(given, secrets)
    guides = [] if only == STANDARD else _guide_problems(given, body, secrets)
    standards = _standard_problems(given, body, secrets, now, tolerance) if only in (STANDARD, ()) else []
    return [*guides, *standards]


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _guide_problems(headers: Mapping[str, str], body: bytes, secrets: Sequence[str]) -> Iterator[str]:
    name = naming_of(headers).signature
    given = headers.get(name.lower(), "")
    shared = [secret for secret in secrets if not is_asymmetric(secret)]
    if not given and len(shared) == len(secrets):
        yield f"{name} is missing: does the sender have a secret?"
    elif given and (shared or not secrets) and not any(guide_fits(given, secret, body) for secret in shared):
        yield f"{name} does not fit: another secret, or the body was changed on the way"


def _standard_problems(
    headers: Mapping[str, str], body: bytes, secrets: Sequence[str], now: float, tolerance: float | None
) -> Iterator[str]:
    message_id, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    given = headers.get("webhook-signature", "").split()[:SIGNATURES_MAX]
    if not (message_id and stamp and given):
        yield "webhook-id, webhook-timestamp or webhook-signature is missing"
        return
    if not ID.fullmatch(message_id):
        yield BAD_ID
        return
    message = signed_message(message_id, stamp, body)
    if not any(standard_fits(signature, secret, message) for secret in secrets for signature in given):
        yield "webhook-signature does not fit: another secret, or id, timestamp or body were changed on the way"
    age = now - float(stamp) if stamp.isascii() and stamp.isdigit() and len(stamp) <= DIGITS_MAX else None
    if age is None:
        yield "webhook-timestamp is not in whole seconds"
    elif tolerance is not None and not abs(age) <= tolerance:  # so that nothing is within nan
        side = "old" if age > 0 else "in the future"
        yield f"webhook-timestamp is {abs(age):.0f} s {side}: one of the two clocks is off, or this is a replay"
