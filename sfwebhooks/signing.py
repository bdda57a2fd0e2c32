"""Signing: content and a delivery come in, the Request that is sent byte for byte goes out.

It has both kinds of `signatures`: the guide's, and those of Standard Webhooks.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass, field

from sfwebhooks import __version__
from sfwebhooks.authentication import credentials
from sfwebhooks.endpoints import Endpoint, Secret
from sfwebhooks.events import Batch, Bundle
from sfwebhooks.formats import FORMATS
from sfwebhooks.formats.content import Content
from sfwebhooks.formats.event_names import event_name
from sfwebhooks.signatures import guide_signature, standard_signature
from sfwebhooks.signing_keys import WHPK, WHSK

#: level of gzip: higher ones take much longer for little
COMPRESSION = 5
#: methods that change nothing (RFC 9110 section 9.2.1)
SAFE_METHODS = ("GET", "OPTIONS")
#: headers of each request
ALWAYS = {"User-Agent": f"sfwebhooks/{__version__}", "Accept": "*/*", "Accept-Encoding": "identity"}


@dataclass(frozen=True)
class Request:
    """The request to send: the signed bytes and all headers. Contains secrets; never shown."""

    url: Secret
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    method: str = "POST"
    #: added to the query of the URL
    query: str = field(default="", repr=False)
    #: another place of the receiver, relative to the URL
    path: str = ""
    #: whether it does no harm if the receiver gets it twice; a message has an id for that
    is_repeatable: bool = True


def sign(content: Content, batch: Batch, endpoint: Endpoint, now: float) -> Request:
    """Return the request for one attempt; its timestamp and signature are new for each attempt, its id is not.

    Args:
        batch: the content's deliveries.
        now: epoch seconds, sent in whole seconds.
    """
    stamp, form = str(int(now)), FORMATS[endpoint.format]
    naming = form.naming
    headers = {**ALWAYS, **credentials(endpoint, form.key_header, form.scheme), **content.headers}
    if not content.is_bare:
        headers[naming.event] = event_name(batch, naming)
        headers[naming.delivery] = headers["webhook-id"] = batch.id
        headers[naming.timestamp] = headers["webhook-timestamp"] = stamp
        late = (
            batch.is_late
            if isinstance(batch, Bundle)
            else any(one.replayed or one.backfilled for one in batch.deliveries)
        )
        if late:
            headers[naming.replay] = "true"  # nobody needs to be paged for it
    secrets = [secret.reveal() for secret in endpoint.secrets]
    shared = next((secret for secret in secrets if not secret.startswith((WHSK, WHPK))), "")
    if shared:  # the first one signs the guide's, and each secret the standard's
        headers[naming.signature] = guide_signature(shared, content.body)
    if secrets:
        signatures = [standard_signature(secret, batch.id, stamp, content.body) for secret in secrets]
        headers["webhook-signature"] = " ".join(signatures)
    query, body = form.query(endpoint, now) if form.query else "", content.body
    if endpoint.compress:  # after signing: a receiver's code gets the body as its server has decompressed it
        body, headers["Content-Encoding"] = gzip.compress(body, COMPRESSION, mtime=0), endpoint.compress
    return Request(endpoint.url, headers, body, content.method, query, content.path)


def unsigned(content: Content, endpoint: Endpoint) -> Request:
    """Return a request that has no message, such as a handshake, or one to a tracker."""
    form = FORMATS[endpoint.format]
    headers = {**ALWAYS, **credentials(endpoint, form.key_header, form.scheme), **content.headers}
    safe = content.method in SAFE_METHODS
    return Request(endpoint.url, headers, content.body, content.method, path=content.path, is_repeatable=safe)
