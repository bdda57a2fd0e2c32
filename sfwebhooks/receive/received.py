"""A request as a receiver got it: its bytes come in, what its body says goes out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from sfwebhooks.naming import naming_of

#: most values in a body that is read as JSON, where each can take a hundred times its bytes; counted by their signs
VALUES_MAX = 1_000_000


@dataclass(frozen=True)
class Received:
    """One request as received."""

    #: epoch seconds
    at: float
    path: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    #: what is wrong with its signatures or its bearer token; empty if verified
    problems: tuple[str, ...]
    #: common name in the client certificate, or nothing
    client: str
    #: status that it is answered with
    answer: int = 200
    #: address of the sender, or of the last proxy
    source: str = ""

    @property
    def taken(self) -> bool:
        """Whether it is answered with success."""
        return 200 <= self.answer < 300

    @property
    def id(self) -> str:
        """The id of the delivery by its headers, of which only webhook-id is signed; empty if they have none."""
        return self.headers.get("webhook-id") or self.headers.get(naming_of(self.headers).delivery, "")

    @property
    def is_crowded(self) -> bool:
        """Whether the body has too many values to be read."""
        return sum(self.body.count(sign) for sign in (b",", b"[", b"{")) > VALUES_MAX

    @cached_property
    def messages(self) -> list[dict[str, Any]]:
        """The messages in the body: one, or those of a batch; none if it is crowded."""
        if self.is_crowded:
            return []
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError):  # RecursionError: brackets that are nested too deeply
            return []
        return [message for message in (found if isinstance(found, list) else [found]) if isinstance(message, dict)]

    @property
    def message(self) -> dict[str, Any]:
        """The only message in the body, or nothing."""
        return self.messages[0] if len(self.messages) == 1 else {}
