"""Requests as they are sent: deliveries and their endpoint come in; a request goes out, with its secrets masked."""

from __future__ import annotations

import gzip
import time
from dataclasses import dataclass, field, replace

from sfwebhooks.authentication import credentials
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.events import Batch
from sfwebhooks.formats import FORMATS, render
from sfwebhooks.naming import NAMINGS
from sfwebhooks.network.sender import as_sent
from sfwebhooks.own_secrets import MASK, Mask
from sfwebhooks.signatures import STANDARD
from sfwebhooks.signing import sign

#: headers that prove that a message is ours
SIGNATURES = {STANDARD[-1], *(naming.signature.lower() for naming in NAMINGS)}


@dataclass(frozen=True)
class ShownRequest:
    """A request, perhaps with its secrets masked."""

    method: str
    #: path and query
    target: str = field(repr=False)
    version: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    #: before its compression
    body: bytes = field(repr=False)

    @property
    def raw(self) -> bytes:
        """Its bytes."""
        lines = (f"{self.method} {self.target} {self.version}", *(f"{name}: {value}" for name, value in self.headers))
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + self.body


def shown_request(batch: Batch, endpoint: Endpoint, mask: Mask | None) -> ShownRequest:
    """Return the request for a delivery, or for several.

    Args:
        mask: masks the secrets in it; None: nothing is masked.
    """
    request = sign(render(batch, endpoint), batch, endpoint, time.time())
    if endpoint.token_url:  # a token is fetched only to send something
        request = replace(request, headers={**request.headers, "Authorization": f"Bearer {MASK}"})
    head, _, body = as_sent(request, endpoint).partition(b"\r\n\r\n")
    body = gzip.decompress(body) if endpoint.compress else body
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, version = first.split(" ")
    headers = [(name, value) for name, _, value in (line.partition(": ") for line in lines)]
    if mask is None:
        return ShownRequest(method, target, version, tuple(headers), body)
    form = FORMATS[endpoint.format]
    secret = {name.lower() for name in credentials(endpoint, form.key_header, form.scheme)}
    secret |= {"authorization", "proxy-authorization"}
    shown = tuple((name, MASK if name.lower() in secret else value) for name, value in headers)
    # the path and the query of a URL may be a credential
    return ShownRequest(method, f"/{MASK}", version, shown, masked_body(body, mask))


def without_signatures(request: ShownRequest) -> ShownRequest:
    """Return a request that its receiver would not accept, and by which the secret cannot be found by trying."""
    headers = ((name, MASK if name.lower() in SIGNATURES else value) for name, value in request.headers)
    return replace(request, headers=tuple(headers))


def masked_body(body: bytes, mask: Mask | None) -> bytes:
    """Return a body without the secrets that its format puts into it."""
    text = body.decode()
    return mask.over(text, (1 + len(MASK)) * len(text)).encode() if mask else body
