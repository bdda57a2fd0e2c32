"""Statements and their envelopes: those of the specification's example, ours, and what is not one."""

from __future__ import annotations

import base64
import json

import pytest
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer._key import SSlibKey

from sfwebhooks.signing_keys import new_whsk, receiver_form
from sfwebhooks.statements import Subject, key_id, sealed, statement, unsealed

KEY, OTHER = new_whsk(), new_whsk()
PAYLOAD = statement([Subject("a", "0" * 64), Subject("b", "1" * 64, 50, False)], {"endpoint": "auditor"})


def independent(secret: str) -> SSlibKey:
    """Return the public key as securesystemslib has it."""
    public = base64.b64decode(receiver_form(secret).partition("_")[2]).hex()
    return SSlibKey(key_id(secret), "ed25519", "ed25519", {"public": public})


def test_a_statement_has_the_names_of_in_toto() -> None:
    assert json.loads(PAYLOAD) == {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [
            {"name": "a", "digest": {"sha256": "0" * 64}},
            {"name": "b", "digest": {"sha256": "1" * 64}, "annotations": {"messages": 50, "accepted": False}},
        ],
        "predicateType": "urn:sfwebhooks:scan-proof:v1",
        "predicate": {"endpoint": "auditor"},
    }


def test_an_independent_library_verifies_an_envelope() -> None:
    envelope = Envelope.from_dict(sealed(PAYLOAD, KEY))
    assert [*envelope.verify([independent(KEY)], 1)] == [key_id(KEY)]
    assert envelope.payload == PAYLOAD


def test_an_independent_library_refuses_it_with_another_key_or_payload() -> None:
    with pytest.raises(VerificationError):
        Envelope.from_dict(sealed(PAYLOAD, KEY)).verify([independent(OTHER)], 1)
    changed = {**sealed(PAYLOAD, KEY), "payload": base64.b64encode(PAYLOAD.replace(b"auditor", b"attacker")).decode()}
    with pytest.raises(VerificationError):
        Envelope.from_dict(changed).verify([independent(KEY)], 1)


def test_an_envelope_of_the_independent_library_is_verified() -> None:
    envelope = Envelope.from_dict(json.loads(json.dumps(Envelope.from_dict(sealed(PAYLOAD, KEY)).to_dict())))
    assert unsealed(envelope.to_dict(), [receiver_form(KEY)]) == (PAYLOAD, True)


def test_only_the_right_key_verifies_it() -> None:
    envelope = sealed(PAYLOAD, KEY)
    assert unsealed(envelope, [receiver_form(KEY)]) == (PAYLOAD, True)
    assert unsealed(envelope, [receiver_form(OTHER), receiver_form(KEY)]) == (PAYLOAD, True)
    assert unsealed(envelope, [receiver_form(OTHER)]) == (PAYLOAD, False)


@pytest.mark.parametrize(
    "change",
    [
        {"payloadType": "text/plain"},
        {"payload": "no base64!"},
        {"payload": None},
        {"payload": "é"},
        {"signatures": [{"keyid": "x"}]},
        {"signatures": [{"sig": 7}]},
    ],
)
def test_what_is_no_envelope_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"expected|base64|padding|ASCII"):
        unsealed({**sealed(PAYLOAD, KEY), **change}, [receiver_form(KEY)])


@pytest.mark.parametrize("signatures", [None, [], ["x"], "sig", {"sig": "AA=="}, [{"sig": "AAAA"}]])
def test_an_envelope_without_a_signature_is_not_signed(signatures: object) -> None:
    assert unsealed({**sealed(PAYLOAD, KEY), "signatures": signatures}, [receiver_form(KEY)]) == (PAYLOAD, False)
