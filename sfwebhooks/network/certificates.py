"""Certificate files: PEM comes in; its checked content goes out, or an error that names file and reason.

The only module that reads certificates with `cryptography`, from 3.4.8, which satisfies the scanner, to the newest
version. Next station: `tls`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from sfwebhooks import files
from sfwebhooks.errors import CertificateError
from sfwebhooks.events import printable

BEGIN_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
#: characters of a name in a summary
NAME_MAX = 120


@dataclass(frozen=True)
class ClientCertificate:
    """Our own certificate for an endpoint."""

    file: Path
    #: epoch seconds
    begins_at: float
    #: epoch seconds
    ends_at: float

    def check(self, now: float) -> None:
        """Check that it is valid at `now` (epoch seconds).

        Raises:
            CertificateError: it is not; the text names the file and the date.
        """
        if now > self.ends_at:
            raise CertificateError(f"client_cert {self.file} expired on {utc(self.ends_at)}")
        if now < self.begins_at:
            raise CertificateError(f"client_cert {self.file} is valid only from {utc(self.begins_at)} on")


@dataclass(frozen=True)
class CertificateSummary:
    """The parts of a certificate that people look at."""

    #: its owner's name, such as CN=receiver.example (RFC 4514); may be empty
    subject: str
    #: host names and addresses for which it is valid
    names: tuple[str, ...]
    #: name of the CA that issued it
    issuer: str
    #: epoch seconds
    begins_at: float
    #: epoch seconds
    ends_at: float


def summary_of(certificate: bytes) -> CertificateSummary | None:
    """Return the summary of a certificate in DER, or None if it cannot be read."""
    try:
        read = x509.load_der_x509_certificate(certificate)
        subject, issuer = (printable(name.rfc4514_string())[:NAME_MAX] for name in (read.subject, read.issuer))
        return CertificateSummary(subject, tuple(_names(read)), issuer, *validity(read))
    except Exception:  # of many kinds, since a peer wrote it: an attempt must not end because people look at it
        return None


def _names(certificate: x509.Certificate) -> Iterator[str]:
    """Yield the names for which a certificate is valid."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return
    yield from (printable(name)[:NAME_MAX] for name in found.get_values_for_type(x509.DNSName))
    yield from (str(address) for address in found.get_values_for_type(x509.IPAddress))


def check_identity(certificate: Path, key: Path, password: str | None, now: float) -> ClientCertificate:
    """Return a client certificate whose files load, belong together and are valid at `now` (epoch seconds).

    Raises:
        CertificateError: which file is wrong, and how.
    """
    chain = certificates_of(certificate, "client_cert")
    if key == certificate and b"PRIVATE KEY-----" not in _read(key, "client_cert"):
        raise CertificateError(f"client_cert {certificate} has no private key: set the key's file with client_key")
    public = _private_key_public_part(key, password)
    with reading("client_cert", certificate):
        matching = [_public_part(link) == public for link in chain]
        ours = ClientCertificate(certificate, *validity(chain[0]))
    if not any(matching):
        raise CertificateError(f"client_key {key} does not belong to client_cert {certificate}")
    if not matching[0]:
        raise CertificateError(f"client_cert {certificate}: our own certificate must come first, then its issuers")
    ours.check(now)
    return ours


def validity(certificate: x509.Certificate) -> tuple[float, float]:
    """Return start and end of a certificate's validity, in epoch seconds (cryptography 3.4 has only naive times)."""

    def moment(name: str) -> float:
        aware: datetime | None = getattr(certificate, f"{name}_utc", None)
        return (aware or getattr(certificate, name).replace(tzinfo=timezone.utc)).timestamp()

    return moment("not_valid_before"), moment("not_valid_after")


def utc(seconds: float) -> str:
    """Return epoch seconds as a date."""
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%d %H:%M} UTC"


@contextmanager
def reading(option: str, path: Path) -> Iterator[None]:
    """Translate the errors of `cryptography`, which parses parts of a certificate only on access.

    Raises:
        CertificateError: instead of them.
    """
    try:
        yield
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateError(f"{option} {path} has a certificate that cannot be read: {error}") from error


def certificates_of(path: Path, option: str) -> Sequence[x509.Certificate]:
    """Return all certificates of a PEM file, at least one (cryptography 3.4 loads only one at a time).

    Args:
        option: the option that has the path, for errors.

    Raises:
        CertificateError: the file cannot be read, or has no certificate.
    """
    blocks = [BEGIN_CERTIFICATE + part for part in _read(path, option).split(BEGIN_CERTIFICATE)[1:]]
    if not blocks:
        raise CertificateError(f'{option} {path} has no "-----BEGIN CERTIFICATE-----": a PEM file is needed')
    with reading(option, path):
        return [x509.load_pem_x509_certificate(block) for block in blocks]


def _private_key_public_part(path: Path, password: str | None) -> bytes:
    data = _read(path, "client_key")
    try:
        key = load_pem_private_key(data, password.encode() if password else None)
    except TypeError as error:
        if password:
            raise CertificateError(f"client_key {path} is not encrypted; remove client_key_password") from error
        raise CertificateError(f"client_key {path} is encrypted; client_key_password is needed") from error
    except Exception as error:  # cryptography raises its own backend errors here, which differ between versions
        wrong = "client_key_password is wrong, or it" if password else "it"
        raise CertificateError(f"client_key {path} cannot be loaded: {wrong} is not a private key in PEM") from error
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _public_part(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _read(path: Path, option: str) -> bytes:
    try:
        return files.content(path, files.CERTIFICATES_MAX)
    except OSError as error:
        raise CertificateError(f"{option} {path} cannot be read: {error.strerror}") from error
