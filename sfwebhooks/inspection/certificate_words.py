"""The certificates of a TLS handshake: the step Secured comes in, lines for people and fields for --json go out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import timestamp
from sfwebhooks.network.certificates import CertificateSummary, summary_of, utc
from sfwebhooks.network.steps import Secured
from sfwebhooks.text import amount

#: most names or addresses that are listed
LISTED_MAX = 4
DAY = 86400.0


def their_lines(step: Secured, endpoint: Endpoint, now: float) -> Iterator[str]:
    """Yield whose certificate they presented, until when it is valid, and which CA verifies it.

    Args:
        now: epoch seconds.
    """
    if not step.theirs:
        return
    theirs = summary_of(step.theirs[0])
    if not theirs:
        yield "a certificate that cannot be read"
        return
    names = f", for {listed_texts(theirs.names)}" if theirs.names else ""
    yield f"{theirs.subject or 'a certificate without a subject'}{names}"
    yield validity_words(theirs, now)
    yield f"issued by {theirs.issuer or 'a CA without a name'}; {_verified(step, endpoint)}"


def _verified(step: Secured, endpoint: Endpoint) -> str:
    if not step.verified:
        return "not verified (verify_tls = false)" if step.version else "not verified"
    anchor = summary_of(step.anchor) if step.anchor else None
    bundle = "ca_bundle" if endpoint.ca_bundle else "the public CAs"
    return f"verified by {anchor.subject} of {bundle}" if anchor else f"verified by {bundle}"


def our_words(certificates: Sequence[bytes], endpoint: Endpoint, when: str, now: float) -> str:
    """Return which certificate of ours was presented when the peer asked for one.

    Args:
        certificates: the presented ones, in DER.
        when: empty, or words for the time at which it asked.
        now: epoch seconds.
    """
    if certificates:
        ours = summary_of(certificates[0])
        words = f"{ours.subject}, {validity_words(ours, now)}; " if ours else ""
        return f"{words}asked for{when} and sent"
    if endpoint.client_cert:
        return f"asked for{when}, but from other CAs: client_cert was not sent"
    return f"asked for{when}, but not sent: client_cert is not set"


def validity_words(certificate: CertificateSummary, now: float) -> str:
    """Return until when a certificate is valid; `now` is in epoch seconds."""
    if now < certificate.begins_at:
        return f"not valid before {utc(certificate.begins_at)}"
    days = amount(int(abs(certificate.ends_at - now) // DAY), "day")
    if now > certificate.ends_at:
        return f"expired on {utc(certificate.ends_at)}, {days} ago"
    return f"valid until {utc(certificate.ends_at)}, {days} left"


def listed_texts(texts: Sequence[str]) -> str:
    """Return the first of some texts, and how many others there are."""
    more = len(texts) - LISTED_MAX
    return ", ".join(texts[:LISTED_MAX]) + (f" and {more} more" if more > 0 else "")


def fields_of_handshake(step: Secured) -> dict[str, Any]:
    """Return the fields of a handshake for --json."""
    return {
        "proxy": step.is_proxys,
        "host": step.host,
        "version": step.version,
        "cipher": step.cipher,
        "verified": step.verified,
        "asked_for_ours": step.asked,
        "theirs": fields_of_certificate(step.theirs),
        "verified_by": fields_of_certificate([step.anchor] if step.anchor else []),
        "ours": fields_of_certificate(step.ours),
    }


def fields_of_certificate(chain: Sequence[bytes]) -> dict[str, Any] | None:
    """Return the fields of the first certificate of a chain, if there is one that can be read."""
    certificate = summary_of(chain[0]) if chain else None
    if not certificate:
        return None
    return {
        "subject": certificate.subject,
        "names": list(certificate.names),
        "issuer": certificate.issuer,
        "begins_at": timestamp(certificate.begins_at),
        "ends_at": timestamp(certificate.ends_at),
    }
