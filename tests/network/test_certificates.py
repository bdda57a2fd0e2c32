from __future__ import annotations

import base64
import ssl
from datetime import datetime, timezone
from pathlib import Path

import pytest

from sfwebhooks.demo.certificates import Authority, Identity
from sfwebhooks.errors import CertificateError
from sfwebhooks.network.certificates import certificates_of, check_identity, utc, validity

#: object identifier of the curve P-256 (RFC 5480 section 2.1.1.1), and of none that there is
P256 = bytes.fromhex("06082a8648ce3d030107")
NO_CURVE = bytes.fromhex("06082a8648ce3d03016f")


def changed(folder: Path, source: Path, old: bytes, new: bytes) -> Path:
    """Return a copy of a certificate's file in which bytes of the certificate were replaced."""
    lines = source.read_text(encoding="ascii").split("\n")
    body = base64.b64decode("".join(lines[1:-2])).replace(old, new)
    path = folder / "changed.pem"
    path.write_text("\n".join([lines[0], base64.b64encode(body).decode(), lines[-2], ""]), encoding="ascii")
    return path


def period(identity: Identity) -> tuple[float, float]:
    (certificate,) = certificates_of(identity.cert, "client_cert")
    return validity(certificate)


def test_the_validity_is_what_openssl_reads_too(authority: Authority) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(authority.cert)
    (read,) = context.get_ca_certs()
    (certificate,) = certificates_of(authority.cert, "ca_bundle")
    assert validity(certificate) == tuple(
        ssl.cert_time_to_seconds(str(read[name])) for name in ("notBefore", "notAfter")
    )


def test_a_certificate_is_valid_from_its_first_to_its_last_second(client_identity: Identity) -> None:
    begin, end = period(client_identity)
    ours = check_identity(client_identity.cert, client_identity.key, None, begin)
    ours.check(end)
    assert (ours.file, ours.begins_at, ours.ends_at) == (client_identity.cert, begin, end)


def test_after_its_end_a_certificate_has_expired(client_identity: Identity) -> None:
    end = period(client_identity)[1]
    with pytest.raises(CertificateError) as caught:
        check_identity(client_identity.cert, client_identity.key, None, end + 1)
    assert str(caught.value) == f"client_cert {client_identity.cert} expired on {utc(end)}"


def test_before_its_begin_a_certificate_is_not_valid_yet(client_identity: Identity) -> None:
    begin = period(client_identity)[0]
    with pytest.raises(CertificateError) as caught:
        check_identity(client_identity.cert, client_identity.key, None, begin - 1)
    assert str(caught.value) == f"client_cert {client_identity.cert} is valid only from {utc(begin)} on"


def test_a_certificate_that_was_checked_once_can_be_checked_again_later(client_identity: Identity) -> None:
    end = period(client_identity)[1]
    ours = check_identity(client_identity.cert, client_identity.key, None, end)
    with pytest.raises(CertificateError, match="expired on"):
        ours.check(end + 1)


def test_a_key_of_a_kind_that_nobody_knows_is_reported(client_identity: Identity, tmp_path: Path) -> None:
    path = changed(tmp_path, client_identity.cert, P256, NO_CURVE)
    with pytest.raises(CertificateError) as caught:
        check_identity(path, client_identity.key, None, period(client_identity)[1])
    assert str(caught.value).startswith(f"client_cert {path} has a certificate that cannot be read: ")


def test_a_date_that_there_cannot_be_is_reported(authority: Authority, tmp_path: Path) -> None:
    identity = authority.issue("undated", client=True)
    end = period(identity)[1]
    date = datetime.fromtimestamp(end, timezone.utc).strftime("%y%m%d%H%M%SZ").encode()
    path = changed(tmp_path, identity.cert, date, b"99" * 6 + b"Z")
    with pytest.raises(CertificateError) as caught:
        check_identity(path, identity.key, None, end)
    assert str(caught.value).startswith(f"client_cert {path} has a certificate that cannot be read: ")
