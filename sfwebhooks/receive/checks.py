"""The requirements of a receiver: a request or an address comes in, what is wrong with it goes out."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address

from sfwebhooks.network.addresses import Network
from sfwebhooks.receive.verification import TOLERANCE_SECONDS, VerificationError, is_timeless, verify


@dataclass(frozen=True)
class Checks:
    """The requirements for a delivery."""

    #: one of these must have signed it; empty: no signature is required
    secrets: Sequence[str] = field(default=(), repr=False)
    #: required as Authorization: Bearer; empty: none is required
    api_key: str = field(default="", repr=False)
    #: seconds by which a timestamp may be off
    tolerance: float = TOLERANCE_SECONDS
    #: whether a guide's signature alone is enough, which does not cover the time
    timeless: bool = True
    #: networks of the senders; empty: any
    networks: Sequence[Network] = ()

    def problems(self, headers: Mapping[str, str], body: bytes) -> tuple[str, ...]:
        """Return what is wrong with a request, in words."""
        found: list[str] = []
        if self.secrets:
            timeless = self.timeless and is_timeless(headers, self.secrets)
            try:
                verify(body, headers, self.secrets, tolerance=None if timeless else self.tolerance, strict=True)
            except VerificationError as error:
                found += error.reasons
        given, right = headers.get("Authorization", ""), f"Bearer {self.api_key}"
        if self.api_key and not hmac.compare_digest(given.encode("utf-8", "replace"), right.encode()):
            found.append("the bearer token is missing or wrong")
        return tuple(found)

    def allow(self, address: str) -> bool:
        """Return whether a sender may have an address."""
        return not self.networks or any(ip_address(address) in network for network in self.networks)
