"""Variants of a signed body and of a secret: what they may have been before a program on the way, or the person who set
up the secret, changed them. `diagnosis` finds the variant that a signature matches.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

from sfwebhooks.jsontext import written
from sfwebhooks.signing_keys import WHSEC, hmac_key

#: words that follow "it would match secret 1 ", and the bytes
Variant = tuple[str, bytes]


def bodies(body: bytes) -> list[Variant]:
    """Return what the body may have been when it was signed."""
    return [(words, other) for words, other in _other_bodies(body) if other != body]


def _other_bodies(body: bytes) -> Iterator[Variant]:
    yield "without the white space around the body", body.strip()
    with contextlib.suppress(UnicodeError):
        yield "if the body had not been encoded to UTF-8 twice", body.decode().encode("latin-1")
    value = json_value(body)
    if value is not None:
        with contextlib.suppress(ValueError, RecursionError):
            yield "if the body's JSON were written compact: it was serialised again on the way", written(value).encode()


def json_value(body: bytes) -> Any:
    """Return the value of JSON; None if it is not JSON, is null, or cannot be read (too deep, too long a number)."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def keys(secret: str) -> list[Variant]:
    """Return the HMAC keys that may have been made of a shared secret, or of its text in another file."""
    found = [("with a newline at the end of the secret", f"{secret}\n".encode())]
    if len(secret) > 2 and secret[0] == secret[-1] and secret[0] in "\"'":
        found.append(("without the quotes around the secret", secret[1:-1].encode()))
    if secret.startswith(WHSEC):
        found.append(("if the text after whsec_ were decoded from base64 for the key", hmac_key(secret)))
        found.append(("if the whole text, whsec_ included, were the key, not decoded", secret.encode()))
    return found
