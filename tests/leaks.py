"""Does a text give a secret away, in whatever form? For every path on which something fails."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from urllib.parse import quote


def leaks(text: str, *secrets: str) -> list[str]:
    """Return the forms of the secrets that the text holds, line breaks and tables notwithstanding."""
    dense = re.sub(r"[\s│]+", "", text)
    return [form for secret in secrets for form in _forms(secret) if re.sub(r"\s+", "", form) in dense]


def _forms(secret: str) -> Iterator[str]:
    bare = re.sub(r"^(whsec|whsk)_", "", secret)
    yield from dict.fromkeys([bare, repr(bare)[1:-1], quote(bare, safe=""), base64.b64encode(bare.encode()).decode()])
    if bare != secret:
        key = base64.b64decode(bare)[:32]  # of a whsk_ the half that is secret
        yield from (key.hex(), base64.b64encode(key).decode().rstrip("="), repr(key)[2:-1])
