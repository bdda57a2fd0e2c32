"""The fields of `data` in scan_proof, as `delivery/proving` builds it."""

from __future__ import annotations

from sfwebhooks.catalogue.fields import SCAN, Field
from sfwebhooks.catalogue.scan import LINK

STATED = (
    *SCAN,
    Field("payloadType", "string", "Type of the payload.", "application/vnd.in-toto+json"),
    Field(
        "payload",
        "string",
        "The statement, an in-toto Statement v1, in base64.",
        "eyJfdHlwZSI6ICJodHRwczovL2luLXRvdG8uaW8vU3RhdGVtZW50L3YxIiwgInN1YmplY3QiOiBbXX0=",
    ),
    Field(
        "signatures",
        "array",
        "Its signature.",
        [{"keyid": "5d" * 32, "sig": f"{'A' * 86}=="}],
        of="object",
        parts=(
            Field("keyid", "string", "SHA-256 of the public key."),
            Field("sig", "string", "Signature with ed25519 of the payload and its type (DSSE), in base64."),
        ),
    ),
    LINK,
)
