"""Diagnosis of signatures: a captured request and the receiver's secrets come in, Observations go out.

The verdict is that of `verification`, as in a receiver; this module explains it as precisely as possible. Secrets are
named by their position, and the texts repeat nothing of the request but its times and the names of its headers.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import chain
from typing import Callable

from sfwebhooks.jsontext import written
from sfwebhooks.naming import naming_of, plain_name
from sfwebhooks.receive import variants
from sfwebhooks.receive.capture import Captured
from sfwebhooks.receive.clock_skew import clock_words
from sfwebhooks.receive.verification import BAD_ID, ID, SIGNATURES_MAX, alone, signature_problems
from sfwebhooks.signatures import STANDARD, guide_fits, signed_message, standard_fits
from sfwebhooks.signing_keys import is_asymmetric

SIGNATURE_BYTES = {"v1": 32, "v1a": 64}
#: most signatures whose failure is explained
EXPLAINED_MAX = 8
#: returns what the body may have been when it was signed, computed once for all signatures
Bodies = Callable[[], Sequence[variants.Variant]]


@dataclass(frozen=True)
class Observation:
    """A statement about a part of the request."""

    #: header, or part of the request
    place: str
    #: None: neither good nor bad
    good: bool | None
    words: str


@dataclass(frozen=True)
class Diagnosis:
    """The result for one request."""

    verified: bool
    findings: tuple[Observation, ...]


def diagnose(message: Captured, secrets: Sequence[str], now: float) -> Diagnosis:
    """Find out which signature matches which secret, and what is wrong with those that match none.

    Args:
        secrets: those of the receiver, well-formed.
        now: epoch seconds on this machine; the receiver's own time, if it was recorded, is in the message.
    """
    received_at = now if message.at is None else message.at
    wrong = signature_problems(message.headers, message.body, secrets, received_at)
    others = cache(lambda: variants.bodies(message.body))
    signatures = [*_guide(message, secrets, others), *_standard(message, secrets, others)]
    found = [*_missing(message.headers, secrets), *signatures]
    message_id = message.headers.get("webhook-id", "")
    if message_id and not ID.fullmatch(message_id):
        found.append(Observation("webhook-id", False, BAD_ID.partition(" ")[2]))
    if message.headers.get("webhook-timestamp"):
        good, words = clock_words(message.headers["webhook-timestamp"], message.at, now)
        found.append(Observation("webhook-timestamp", good, words))
    if wrong and not any(finding.good for finding in signatures):
        found += [Observation("the request", None, words) for words in _signs(message)]
    return Diagnosis(not wrong, tuple(found))


def _missing(headers: Mapping[str, str], secrets: Sequence[str]) -> Iterator[Observation]:
    ours = () if any(is_asymmetric(secret) for secret in secrets) else (naming_of(headers).signature,)
    needed = (*ours, *STANDARD)
    missing = [name for name in needed if not headers.get(name, "").strip()]
    only = alone(headers, secrets)
    for name in missing:
        alike = [other for other in headers if plain_name(other) == plain_name(name) and other.lower() != name.lower()]
        hint = f"; {alike[0]} is there: something on the way renamed it" if alike else ""
        empty = "is empty" if name in headers else "is missing"
        if only and name not in only:
            yield Observation(name, None, f"{empty}{hint}; {only[-1]} alone is enough")
        else:
            yield Observation(name, False, empty + hint)
    if len(missing) == len(needed):
        yield Observation(
            "the request", None, "nothing is signed: the endpoint has no secret, or the headers were dropped"
        )


def _guide(message: Captured, secrets: Sequence[str], others: Bodies) -> Iterator[Observation]:
    """Check the guide's signature."""
    name = naming_of(message.headers).signature
    given = message.headers.get(name, "")
    shared = [(number, secret) for number, secret in enumerate(secrets, 1) if not is_asymmetric(secret)]
    fitting = [number for number, secret in shared if guide_fits(given, secret, message.body)]
    match = re.fullmatch(r"(?i)\s*(sha256=)?([0-9a-f]{64})\s*", given)
    if not given:
        return
    if fitting:
        yield Observation(name, True, f"matches {_named(fitting)}")
    elif not shared:
        yield Observation(name, None, "is not checked: there is no shared secret")
    elif not match:
        yield Observation(name, False, "is not sha256= and 64 hex digits")
    else:
        yield Observation(name, False, _why_guide(message, shared, bytes.fromhex(match[2]), others))


def _why_guide(message: Captured, shared: Sequence[tuple[int, str]], digest: bytes, others: Bodies) -> str:
    for number, secret in shared:
        key = secret.encode()
        if _hmac_fits(digest, key, message.body):
            return f"matches secret {number}, but is not written sha256=<hex>"
        by_body = (words for words, body in others() if _hmac_fits(digest, key, body))
        by_key = (words for words, other in variants.keys(secret) if _hmac_fits(digest, other, message.body))
        words = next(chain(by_body, by_key), "")
        if words:
            return _would_fit(number, words)
    if any(_fitting(message, [secret for _, secret in shared])):
        return "matches no secret, though the body is correct: the sender's first shared secret is not among these"
    return _fits_none(len(shared))


def _standard(message: Captured, secrets: Sequence[str], others: Bodies) -> Iterator[Observation]:
    """Check each signature in `webhook-signature`."""
    given = message.headers.get("webhook-signature", "").split()
    fitting = _fitting(message, secrets)
    for position, signature in enumerate(given[:SIGNATURES_MAX], 1):
        place = f"webhook-signature {position}" if len(given) > 1 else "webhook-signature"
        numbers = [number for number, secret in enumerate(secrets, 1) if (signature, secret) in fitting]
        if numbers:
            yield Observation(place, True, f"matches {_named(numbers)}")
        elif fitting:
            yield Observation(place, None, "matches no secret; another signature does, which is enough")
        elif position > EXPLAINED_MAX:
            yield Observation(
                place, False, f"matches no secret; only the first {EXPLAINED_MAX} signatures are explained"
            )
        else:
            yield Observation(place, False, _why_standard(message, secrets, signature, others))
    if len(given) > SIGNATURES_MAX:
        yield Observation("webhook-signature", None, f"has {len(given)} signatures; {SIGNATURES_MAX} were checked")


def _fitting(message: Captured, secrets: Sequence[str]) -> set[tuple[str, str]]:
    """Return which signature matches which secret, for the request as received."""
    headers = message.headers
    signed = signed_message(headers.get("webhook-id", ""), headers.get("webhook-timestamp", ""), message.body)
    given = headers.get("webhook-signature", "").split()[:SIGNATURES_MAX]
    return {(one, secret) for one in given for secret in secrets if standard_fits(one, secret, signed)}


def _why_standard(message: Captured, secrets: Sequence[str], signature: str, others: Bodies) -> str:
    version, _, text = signature.partition(",")
    size = SIGNATURE_BYTES.get(version)
    if size is None:
        return "has a version that sfwebhooks does not create; it creates v1 and v1a"
    try:
        given = base64.b64decode(text, validate=True)
    except ValueError:
        given = b""
    if len(given) != size:
        return f"is not {version} with base64 of {size} bytes: it was cut or changed"
    candidates = [(number, one) for number, one in enumerate(secrets, 1) if is_asymmetric(one) == (version == "v1a")]
    if not candidates:
        kind = "an ed25519 key (whpk_)" if version == "v1a" else "a shared secret"
        return f"is {version}, which {kind} verifies: the secrets contain none"
    return _why_this(message, candidates, signature, given, others)


def _why_this(
    message: Captured, candidates: Sequence[tuple[int, str]], signature: str, given: bytes, others: Bodies
) -> str:
    headers = message.headers
    signed = partial(signed_message, headers.get("webhook-id", ""), headers.get("webhook-timestamp", ""))
    for number, secret in candidates:
        keys = [] if is_asymmetric(secret) else variants.keys(secret)
        by_body = (words for words, body in others() if standard_fits(signature, secret, signed(body)))
        by_key = (words for words, key in keys if _hmac_fits(given, key, signed(message.body)))
        words = next(chain(by_body, by_key), "")
        if words:
            return _would_fit(number, words)
    guide = naming_of(headers).signature
    for number, secret in candidates:
        if guide_fits(headers.get(guide, ""), secret, message.body):
            return (
                f"matches no secret, though {guide} matches secret {number}: webhook-id, webhook-timestamp or this "
                "signature was changed on the way, but the body was not"
            )
    return _fits_none(len(candidates))


def _hmac_fits(digest: bytes, key: bytes, message: bytes) -> bool:
    return hmac.compare_digest(hmac.new(key, message, hashlib.sha256).digest(), digest)


def _named(numbers: Sequence[int]) -> str:
    return "secret " + " and ".join(str(number) for number in numbers)


def _would_fit(number: int, words: str) -> str:
    return f"does not match; it would match secret {number} {words}"


def _fits_none(count: int) -> str:
    secrets = "the secret" if count == 1 else f"one of the {count} secrets"
    return f"does not match {secrets}, in any of the variants tried: another secret, or a change not covered here"


def _signs(message: Captured) -> Iterator[str]:
    """Yield traces of a change that are visible without the right secret."""
    headers, body = message.headers, message.body
    length = headers.get("Content-Length", "")
    if length.isascii() and length.isdigit() and length != str(len(body)):
        yield f"Content-Length says {length[:20]} bytes, but the body has {len(body)}: it was changed on the way"
    if not body:
        yield "the body is empty"
    elif body != body.strip():
        yield "the body starts or ends with white space, which sfwebhooks does not send"
    elif _rewritten(body):
        yield "the body is JSON, but not as sfwebhooks writes it (compact, UTF-8): it was parsed and serialised again"
    if b"\xef\xbf\xbd" in body:
        yield "the body contains U+FFFD: bytes that were not UTF-8 may have been replaced on the way"
    naming = naming_of(headers)
    for ours, standard in ((naming.delivery, "webhook-id"), (naming.timestamp, "webhook-timestamp")):
        other = headers.get(ours)
        if other is not None and headers.get(standard) and other != headers[standard]:
            yield f"{ours} and {standard} differ; sfwebhooks sends the same value in both"


def _rewritten(body: bytes) -> bool:
    value = variants.json_value(body)
    try:
        return value is not None and written(value).encode() != body
    except (ValueError, RecursionError):
        return True
