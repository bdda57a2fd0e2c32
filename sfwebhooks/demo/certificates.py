"""Certificates for demos and tests: a name comes in, PEM files of a certificate and its key go out.

The authority is new each time, and only clients that are configured with it trust it. Its certificates also pass
OpenSSL's strict checks, which Python 3.13 makes by default (RFC 5280, 4.2.1).
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

# with types, which cryptography 3.4 lacks for these two
_new_builder: Callable[[], x509.CertificateBuilder] = x509.CertificateBuilder
_new_name: Callable[..., x509.Name] = x509.Name


@dataclass(frozen=True)
class Identity:
    """A certificate with its private key."""

    #: PEM file of the certificate
    cert: Path
    #: PEM file of the private key, readable by its owner only
    key: Path


@dataclass(frozen=True)
class Authority:
    """A certificate authority that issues directly, without certificates in between."""

    #: the folder that its files and those of all issued identities are written to
    folder: Path
    #: PEM file of its own certificate: what a verifying peer must trust
    cert: Path
    _certificate: x509.Certificate
    _key: ec.EllipticCurvePrivateKey

    @classmethod
    def create(cls, folder: Path, name: str) -> Authority:
        """Make a new authority, valid for ten years, and write its certificate and key to the folder."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(timezone.utc)
        builder = _builder(name, key, now - timedelta(days=3650), now + timedelta(days=3650))
        certificate = (
            builder.issuer_name(_name(name))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(issuing=True), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        files = _write(folder, name, certificate, key, NoEncryption())
        return cls(folder, files.cert, certificate, key)

    def issue(
        self,
        name: str,
        *,
        hosts: Iterable[str] = ("localhost", "127.0.0.1"),
        client: bool = False,
        days: float = 90,
        not_before_days: float | None = None,
        password: bytes | None = None,
    ) -> Identity:
        """Issue a certificate and write it with its key to the authority's folder.

        Args:
            name: its common name, and the stem of the files `NAME.pem` and `NAME.key`.
            hosts: names and addresses that it is valid for.
            client: for a client in place of a server.
            days: days from now until it expires; a negative number makes one that has expired.
            not_before_days: days from now until it becomes valid, negative for the past; by default it is valid
                since yesterday, or since the day before it expired.
            password: encrypts the private key.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(timezone.utc)
        start = min(-1.0, days - 1) if not_before_days is None else not_before_days
        certificate = (
            _builder(name, key, now + timedelta(days=start), now + timedelta(days=days))
            .issuer_name(self._certificate.subject)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(issuing=False), critical=True)
            .add_extension(_purpose(client), critical=False)
            .add_extension(x509.SubjectAlternativeName([_alternative(host) for host in hosts]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        encryption = BestAvailableEncryption(password) if password else NoEncryption()
        return _write(self.folder, name, certificate, key, encryption)


def _builder(name: str, key: ec.EllipticCurvePrivateKey, start: datetime, end: datetime) -> x509.CertificateBuilder:
    """Begin a certificate: subject, key, validity, and what the authority and its certificates have in common."""
    builder: x509.CertificateBuilder = (
        _new_builder()
        .subject_name(_name(name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return builder


def _name(name: str) -> x509.Name:
    return _new_name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _usage(*, issuing: bool) -> x509.KeyUsage:
    """Return what the key may do: sign certificates, or sign handshakes."""
    return x509.KeyUsage(
        digital_signature=not issuing,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=issuing,
        crl_sign=issuing,
        encipher_only=False,
        decipher_only=False,
    )


def _purpose(client: bool) -> x509.ExtendedKeyUsage:
    return x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH])


def _alternative(host: str) -> x509.GeneralName:
    """Return a host as an address if it is one, else as a DNS name."""
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write(
    folder: Path,
    name: str,
    certificate: x509.Certificate,
    key: ec.EllipticCurvePrivateKey,
    encryption: KeySerializationEncryption,
) -> Identity:
    """Write both PEM files; the key's is never readable by others, not even for a moment."""
    folder.mkdir(parents=True, exist_ok=True)
    files = Identity(folder / f"{name}.pem", folder / f"{name}.key")
    files.cert.write_bytes(certificate.public_bytes(Encoding.PEM))
    files.key.unlink(missing_ok=True)
    with os.fdopen(os.open(files.key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    return files
