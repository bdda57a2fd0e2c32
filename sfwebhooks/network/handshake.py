"""A TLS handshake as both sides see it: its messages come in, decrypted, the step Secured goes out.

CPython's debugging hook for TLS messages (`SSLContext._msg_callback`, private, but in all versions since 3.8) is the
only way to learn whether our certificate was asked for, and what theirs is if it was not verified. It costs a call for
each TLS record, so it is used for a Watch only.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import Any

from sfwebhooks.network.steps import Asked, Secured, Watch
from sfwebhooks.network.streams import TLSStream

#: content type and types of messages (RFC 8446 sections 5.1 and 4)
HANDSHAKE, CERTIFICATE, CERTIFICATE_REQUEST = 22, 11, 13
#: bytes in front of a message: its type, its length
MESSAGE_HEAD = 4
#: `_ssl.ENCODING_DER`
DER = 2


class HandshakeLog:
    """The certificates in the handshakes of a context from now on."""

    def __init__(self, context: ssl.SSLContext, watch: Watch) -> None:
        self._context = context
        self._watch = watch
        self._theirs: tuple[bytes, ...] = ()
        self._ours: tuple[bytes, ...] = ()
        self._asked = False
        self._is_over = False
        setattr(context, "_msg_callback", self._note)  # noqa: B010  # not among the names that mypy knows

    def end(self, stream: TLSStream, host: str, is_proxys: bool, succeeded: bool) -> None:
        """Report the handshake, which was with the proxy or with the receiver."""
        tls, verifies = stream.tls, self._context.verify_mode is ssl.CERT_REQUIRED
        if succeeded and not self._theirs:  # compressed ones (RFC 8879)
            self._theirs = tuple(filter(None, [tls.getpeercert(binary_form=True)]))
        cipher = tls.cipher() if succeeded else None
        self._is_over = True
        self._watch(
            Secured(
                is_proxys=is_proxys,
                host=host,
                version=tls.version() or "" if succeeded else "",
                cipher=cipher[0] if cipher else "",
                verified=succeeded and verifies,
                theirs=self._theirs,
                anchor=anchor_of(tls) if succeeded and verifies else b"",
                asked=self._asked,
                ours=self._ours,
            )
        )

    def _note(
        self, connection: object, direction: str, version: int, content_type: int, message_type: int, data: bytes
    ) -> None:
        """Note a message that was read or written; OpenSSL calls this."""
        if content_type != HANDSHAKE or message_type not in (CERTIFICATE, CERTIFICATE_REQUEST):
            return
        if message_type == CERTIFICATE_REQUEST:
            self._asked = True
        elif direction == "read":
            self._theirs = tuple(certificates_in(data, version))
        else:
            self._ours = tuple(certificates_in(data, version))
            if self._is_over:
                self._watch(Asked(self._ours))


def certificates_in(message: bytes, version: int) -> Iterator[bytes]:
    """Yield the certificates of a Certificate message in DER (RFC 5246 section 7.4.2, RFC 8446 section 4.4.2)."""
    at, is_new = MESSAGE_HEAD, version >= ssl.TLSVersion.TLSv1_3
    if is_new:
        at += 1 + int.from_bytes(message[at : at + 1], "big")  # context of the request
    at += 3  # length of the list
    while at < len(message):
        size = int.from_bytes(message[at : at + 3], "big")
        yield message[at + 3 : at + 3 + size]
        at += 3 + size
        if is_new:
            at += 2 + int.from_bytes(message[at : at + 2], "big")  # extensions


def anchor_of(tls: ssl.SSLObject) -> bytes:
    """Return the CA at the end of a verified chain, in DER; nothing before Python 3.10, which does not know it."""
    inner: Any = getattr(tls, "_sslobj", None)
    chain = inner.get_verified_chain() if hasattr(inner, "get_verified_chain") else None
    return bytes(chain[-1].public_bytes(DER)) if chain else b""
