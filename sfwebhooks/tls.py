"""TLS of an endpoint: its certificate files come in, checked; an SSLContext that verifies goes out.

The files are checked with `cryptography` before OpenSSL sees them, since OpenSSL's own messages name neither the
file nor the reason, and it would ask for a missing password on the terminal.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

import certifi
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from sfwebhooks.budget import TLSContext
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.errors import CertificateError

BEGIN_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
#: the only names of files that OpenSSL looks for in a folder of CAs
HASHED = re.compile(r"[0-9a-f]{8}\.\d+")


def context_for(endpoint: Endpoint) -> ssl.SSLContext:
    """Return the TLS context of an endpoint: verified, TLS 1.2 at least, with its client certificate.

    Raises:
        CertificateError: a file cannot be used; the text names it and says what would be right.
    """
    context = TLSContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _trust(context, endpoint)
    if endpoint.client_cert:
        password = endpoint.client_key_password.reveal() if endpoint.client_key_password else None
        key = endpoint.client_key or endpoint.client_cert
        check_identity(endpoint.client_cert, key, password)
        try:
            context.load_cert_chain(endpoint.client_cert, key, password=password or "")
        except (ssl.SSLError, OSError) as error:
            raise CertificateError(f"client_cert {endpoint.client_cert} is refused by OpenSSL: {error}") from error
    return context


def _trust(context: ssl.SSLContext, endpoint: Endpoint) -> None:
    if not endpoint.verify_tls:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return
    bundle = endpoint.ca_bundle or Path(certifi.where())
    folder = bundle if bundle.is_dir() else None
    if folder is None and endpoint.ca_bundle:
        _certificates(bundle, "ca_bundle")
    elif folder and not any(HASHED.fullmatch(file.name) for file in folder.iterdir()):
        raise CertificateError(f"ca_bundle {folder} is a folder without hashed certificates: openssl rehash {folder}")
    try:
        context.load_verify_locations(cafile=None if folder else bundle, capath=folder)
    except (ssl.SSLError, OSError) as error:
        raise CertificateError(f"ca_bundle {bundle} is refused by OpenSSL: {error}") from error


def check_identity(certificate: Path, key: Path, password: str | None, now: datetime | None = None) -> None:
    """Check that a client certificate and its key load, belong together and are valid now.

    Raises:
        CertificateError: which file is wrong, and how.
    """
    chain = _certificates(certificate, "client_cert")
    if key == certificate and b"PRIVATE KEY-----" not in _read(key, "client_cert"):
        raise CertificateError(f"client_cert {certificate} holds no private key: name the key's file with client_key")
    public = _private_key_public_part(key, password)
    matching = [_public_part(link) == public for link in chain]
    if not any(matching):
        raise CertificateError(f"client_key {key} does not belong to client_cert {certificate}")
    if not matching[0]:
        raise CertificateError(f"client_cert {certificate}: our own certificate must stand first, then its issuers")
    begin, end = validity(chain[0])
    moment = now or datetime.now(timezone.utc)
    if moment > end:
        raise CertificateError(f"client_cert {certificate} expired on {end:%Y-%m-%d %H:%M} UTC")
    if moment < begin:
        raise CertificateError(f"client_cert {certificate} is valid only from {begin:%Y-%m-%d %H:%M} UTC on")


def validity(certificate: x509.Certificate) -> tuple[datetime, datetime]:
    """Return from when until when a certificate is valid, in aware UTC (cryptography 3.4 has only naive times)."""

    def moment(name: str) -> datetime:
        aware: datetime | None = getattr(certificate, f"{name}_utc", None)
        return aware or getattr(certificate, name).replace(tzinfo=timezone.utc)

    return moment("not_valid_before"), moment("not_valid_after")


def _certificates(path: Path, option: str) -> Sequence[x509.Certificate]:
    """Return all certificates of a PEM file, at least one (cryptography 3.4 loads only one at a time)."""
    blocks = [BEGIN_CERTIFICATE + part for part in _read(path, option).split(BEGIN_CERTIFICATE)[1:]]
    if not blocks:
        raise CertificateError(f'{option} {path} holds no "-----BEGIN CERTIFICATE-----": a PEM file is needed')
    try:
        return [x509.load_pem_x509_certificate(block) for block in blocks]
    except ValueError as error:
        raise CertificateError(f"{option} {path} holds a certificate that cannot be read: {error}") from error


def _private_key_public_part(path: Path, password: str | None) -> bytes:
    data = _read(path, "client_key")
    try:
        key = load_pem_private_key(data, password.encode() if password else None)
    except TypeError as error:
        if password:
            raise CertificateError(f"client_key {path} is not encrypted; leave client_key_password away") from error
        raise CertificateError(f"client_key {path} is encrypted; client_key_password is needed") from error
    except Exception as error:  # cryptography raises its own backend errors here, which differ between versions
        wrong = "client_key_password does not open it, or it" if password else "it"
        raise CertificateError(f"client_key {path} cannot be loaded: {wrong} is no private key in PEM") from error
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _public_part(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _read(path: Path, option: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CertificateError(f"{option} {path} cannot be read: {error.strerror}") from error
