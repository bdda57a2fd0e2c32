"""Statements about scans: bytes come in, a signed envelope goes out, and back.

A statement is an in-toto Statement v1 (https://github.com/in-toto/attestation/tree/main/spec/v1) in an envelope of DSSE
1.0 (https://github.com/secure-systems-lab/dsse), signed with ed25519. `delivery/proving` says what is in ours,
`receive/proof` checks it.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sfwebhooks.events import WebhookEvent
from sfwebhooks.jsontext import written
from sfwebhooks.signing_keys import ed25519_fits, ed25519_signature, receiver_form

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:sfwebhooks:scan-proof:v1"
#: type of the events that carry a statement; its data are the envelope, which is never changed on the way
PROOF = "scan_proof"
#: keys of an envelope, and how the payload of each begins, in whole groups of base64
ENVELOPE = ("payloadType", "payload", "signatures")
BEGIN = base64.b64encode(f'{{"_type":"{STATEMENT_TYPE}'.encode()[:39]).decode()
#: most signatures of an envelope that are tried: a hostile file can have many
SIGNATURES_MAX = 10


@dataclass(frozen=True)
class Subject:
    """A request to an endpoint, whose body a statement names."""

    #: the request's webhook-id: of a delivery, or of a batch
    id: str
    #: of the body before compression, in hexadecimal digits
    sha256: str
    #: number of the scan's messages in it
    messages: int = 1
    #: whether the receiver accepted it; else it was sent, and whether it arrived is not known
    accepted: bool = True

    @property
    def resource(self) -> dict[str, Any]:
        """Its resource descriptor."""
        noted: dict[str, Any] = {"messages": self.messages} if self.messages != 1 else {}
        if not self.accepted:
            noted["accepted"] = False
        named: dict[str, Any] = {"name": self.id, "digest": {"sha256": self.sha256}}
        return {**named, "annotations": noted} if noted else named


def statement(subjects: Iterable[Subject], predicate: Mapping[str, Any]) -> bytes:
    """Return the statement, the payload of its envelope."""
    found = {
        "_type": STATEMENT_TYPE,
        "subject": [one.resource for one in subjects],
        "predicateType": PREDICATE_TYPE,
        "predicate": predicate,
    }
    return written(found).encode()


def sealed(payload: bytes, secret: str) -> dict[str, Any]:
    """Return the envelope of a payload, signed with a whsk_ secret."""
    signature = {"keyid": key_id(secret), "sig": _text(ed25519_signature(secret, _signed(payload)))}
    return {"payloadType": PAYLOAD_TYPE, "payload": _text(payload), "signatures": [signature]}


def unsealed(envelope: Mapping[str, Any], keys: Iterable[str]) -> tuple[bytes, bool]:
    """Return the payload of an envelope, and whether one of the whpk_ keys has signed it.

    Raises:
        ValueError: it is not an envelope of a statement.
    """
    if envelope.get("payloadType") != PAYLOAD_TYPE:
        raise ValueError(f"expected payloadType {PAYLOAD_TYPE}")
    given = envelope.get("signatures")
    payload = _bytes(envelope.get("payload"))
    found = [one.get("sig") for one in given if isinstance(one, Mapping)] if isinstance(given, list) else []
    signatures = [_bytes(text) for text in found[:SIGNATURES_MAX]]
    message = _signed(payload)
    return payload, any(ed25519_fits(key, one, message) for key in keys for one in signatures)


def sealed_part(event: WebhookEvent) -> dict[str, Any]:
    """Return the envelope in the data of a statement's event, nothing of any other event. What it says was redacted
    before it was signed, and a change would break it."""
    if event.type != PROOF or not str(event.data.get("payload")).startswith(BEGIN):
        return {}
    return {key: event.data[key] for key in ENVELOPE if key in event.data}


def key_id(secret: str) -> str:
    """Return the id of the public key of a whsk_ or whpk_ key: the SHA-256 of its 32 bytes."""
    return hashlib.sha256(base64.b64decode(receiver_form(secret).partition("_")[2])).hexdigest()


def _signed(payload: bytes) -> bytes:
    """Return what a signature covers (DSSE, "Pre-Authentication Encoding")."""
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _bytes(text: object) -> bytes:
    if not isinstance(text, str):
        raise ValueError("expected base64")
    return base64.b64decode(text, validate=True)
