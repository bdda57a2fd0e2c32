from __future__ import annotations

import os
import re
import socket
import ssl
import threading
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import certifi
import pytest

from sfwebhooks.demo.certificates import Authority, Identity
from sfwebhooks.endpoints import Secret
from sfwebhooks.errors import CertificateError
from sfwebhooks.network.certificates import certificates_of, utc, validity
from sfwebhooks.network.tls import EXPIRY_WARNING_SECONDS, OWN_BUNDLE_MAX, context_for, credentials_for, expiring
from tests.builders import an_endpoint


def problem(**values: Any) -> str:
    """Return why there is no TLS context for an endpoint with these values."""
    with pytest.raises(CertificateError) as caught:
        context_for(an_endpoint(**values))
    return str(caught.value)


def presented(identity: Identity, **values: Any) -> str:
    return problem(client_cert=identity.cert, client_key=identity.key, **values)


def rubbish(folder: Path) -> Path:
    path = folder / "rubbish.pem"
    path.write_bytes(b"\x30\x82\x00\xffrubbish")
    return path


def joined(folder: Path, *paths: Path) -> Path:
    path = folder / "joined.pem"
    path.write_bytes(b"".join(path.read_bytes() for path in paths))
    return path


# --- our certificate and its key


def test_a_key_of_another_certificate_is_found_out(authority: Authority, client_identity: Identity) -> None:
    other = authority.issue("other", client=True)
    text = problem(client_cert=client_identity.cert, client_key=other.key)
    assert text == f"client_key {other.key} does not belong to client_cert {client_identity.cert}"


def test_an_expired_certificate_is_named_with_its_date(authority: Authority) -> None:
    expired = authority.issue("expired", client=True, days=-1)
    date = (datetime.now(timezone.utc) - timedelta(days=1)).strftime("%Y-%m-%d")
    assert presented(expired).startswith(f"client_cert {expired.cert} expired on {date}")


def test_a_certificate_that_is_not_yet_valid_is_named_with_its_date(authority: Authority) -> None:
    early = authority.issue("early", client=True, not_before_days=2)
    date = (datetime.now(timezone.utc) + timedelta(days=2)).strftime("%Y-%m-%d")
    assert presented(early).startswith(f"client_cert {early.cert} is valid only from {date}")


def test_a_wrong_password_names_key_and_option(authority: Authority) -> None:
    locked = authority.issue("locked", client=True, password=b"right")
    text = presented(locked, client_key_password=Secret("wrong"))
    assert text.startswith(f"client_key {locked.key} cannot be loaded: client_key_password is wrong")


def test_a_missing_password_names_key_and_option(authority: Authority) -> None:
    locked = authority.issue("locked-2", client=True, password=b"right")
    assert presented(locked) == f"client_key {locked.key} is encrypted; client_key_password is needed"


def test_an_empty_password_is_a_missing_one(authority: Authority) -> None:
    locked = authority.issue("locked-3", client=True, password=b"right")
    text = presented(locked, client_key_password=Secret(""))
    assert text == f"client_key {locked.key} is encrypted; client_key_password is needed"


def test_a_password_for_a_key_without_one_is_said(client_identity: Identity) -> None:
    text = presented(client_identity, client_key_password=Secret("needless"))
    assert text == f"client_key {client_identity.key} is not encrypted; remove client_key_password"


def test_no_message_shows_the_password(authority: Authority) -> None:
    locked = authority.issue("locked-4", client=True, password=b"right")
    assert "wrong-password" not in presented(locked, client_key_password=Secret("wrong-password"))


def test_a_key_that_is_not_pem_is_named(client_identity: Identity, tmp_path: Path) -> None:
    path = rubbish(tmp_path)
    text = problem(client_cert=client_identity.cert, client_key=path)
    assert text == f"client_key {path} cannot be loaded: it is not a private key in PEM"


def test_a_certificate_that_is_not_pem_is_named(client_identity: Identity, tmp_path: Path) -> None:
    path = rubbish(tmp_path)
    text = problem(client_cert=path, client_key=client_identity.key)
    assert text.startswith(f'client_cert {path} has no "-----BEGIN CERTIFICATE-----"')


def test_a_certificate_cut_off_in_the_middle_is_named(client_identity: Identity, tmp_path: Path) -> None:
    path = tmp_path / "cut.pem"
    path.write_bytes(client_identity.cert.read_bytes()[:200])
    text = problem(client_cert=path, client_key=client_identity.key)
    assert text.startswith(f"client_cert {path} has a certificate that cannot be read")


def test_a_certificate_without_its_key_in_the_same_file_is_said(client_identity: Identity) -> None:
    text = problem(client_cert=client_identity.cert)
    assert text.startswith(f"client_cert {client_identity.cert} has no private key")


def test_a_chain_in_the_wrong_order_is_said(authority: Authority, client_identity: Identity, tmp_path: Path) -> None:
    path = joined(tmp_path, authority.cert, client_identity.cert)
    text = problem(client_cert=path, client_key=client_identity.key)
    assert text == f"client_cert {path}: our own certificate must come first, then its issuers"


@pytest.mark.parametrize("option", ["client_cert", "client_key", "ca_bundle"])
def test_a_missing_file_is_named_with_its_option(client_identity: Identity, tmp_path: Path, option: str) -> None:
    path = tmp_path / "nowhere.pem"
    values = {"client_cert": client_identity.cert, "client_key": client_identity.key, option: path}
    assert problem(**values) == f"{option} {path} cannot be read: No such file or directory"


@pytest.mark.parametrize("option", ["client_cert", "client_key"])
def test_a_folder_in_place_of_a_file_is_named_with_its_option(
    client_identity: Identity, tmp_path: Path, option: str
) -> None:
    values = {"client_cert": client_identity.cert, "client_key": client_identity.key, option: tmp_path}
    assert problem(**values) == f"{option} {tmp_path} cannot be read: Is a directory"


def test_a_pair_of_certificate_and_key_loads(client_identity: Identity) -> None:
    assert context_for(an_endpoint(client_cert=client_identity.cert, client_key=client_identity.key))


def test_a_file_with_certificate_and_key_loads(client_identity: Identity, tmp_path: Path) -> None:
    assert context_for(an_endpoint(client_cert=joined(tmp_path, client_identity.cert, client_identity.key)))


def test_a_chain_in_the_right_order_loads(authority: Authority, client_identity: Identity, tmp_path: Path) -> None:
    chain = joined(tmp_path, client_identity.cert, authority.cert)
    assert context_for(an_endpoint(client_cert=chain, client_key=client_identity.key))


def test_an_encrypted_key_loads_with_its_password(authority: Authority) -> None:
    locked = authority.issue("locked-5", client=True, password=b"right")
    password = Secret("right")
    assert context_for(an_endpoint(client_cert=locked.cert, client_key=locked.key, client_key_password=password))


# --- whom we trust


def test_a_bundle_that_is_not_pem_is_named(tmp_path: Path) -> None:
    path = rubbish(tmp_path)
    assert problem(ca_bundle=path).startswith(f'ca_bundle {path} has no "-----BEGIN CERTIFICATE-----"')


def test_a_name_that_no_file_can_have_is_named() -> None:
    path = Path("a" * 300)
    assert problem(ca_bundle=path) == f"ca_bundle {path} cannot be read: File name too long"


def test_a_folder_without_hashed_certificates_is_named(authority: Authority, tmp_path: Path) -> None:
    joined(tmp_path, authority.cert)
    assert problem(ca_bundle=tmp_path).startswith(f"ca_bundle {tmp_path} is a folder without hashed certificates")


def test_a_folder_with_hashed_certificates_is_taken(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "0123abcd.0").write_bytes(authority.cert.read_bytes())
    assert context_for(an_endpoint(ca_bundle=tmp_path)).verify_mode is ssl.CERT_REQUIRED


def test_the_public_cas_are_trusted_by_default() -> None:
    bundled = Path(certifi.where()).read_text(encoding="utf-8").count("BEGIN CERTIFICATE")
    assert len(context_for(an_endpoint()).get_ca_certs()) == bundled


def test_an_own_bundle_is_trusted_alone(authority: Authority) -> None:
    trusted = context_for(an_endpoint(ca_bundle=authority.cert)).get_ca_certs()
    assert [ca["subject"] for ca in trusted] == [((("commonName", "Test CA"),),)]


def test_host_names_are_checked() -> None:
    assert context_for(an_endpoint()).check_hostname


def test_tls_below_1_2_is_refused() -> None:
    assert context_for(an_endpoint()).minimum_version is ssl.TLSVersion.TLSv1_2


def test_only_verify_tls_false_takes_any_certificate() -> None:
    assert context_for(an_endpoint(verify_tls=False)).verify_mode is ssl.CERT_NONE


def test_a_broken_client_certificate_counts_also_without_verification(tmp_path: Path) -> None:
    assert "client_cert" in problem(verify_tls=False, client_cert=rubbish(tmp_path))


def handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> str:
    """Shake hands over a pair of sockets; return why the server refused, or nothing."""
    refusals: list[str] = []
    ours, theirs = socket.socketpair()

    def serve() -> None:
        try:
            with server.wrap_socket(theirs, server_side=True) as tls:
                tls.recv(1)
        except ssl.SSLError as error:
            refusals.append(error.reason or "")

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(ours, server_hostname="localhost") as tls:
            tls.sendall(b"x")
            tls.recv(1)
    except OSError:
        pass
    finally:
        ours.close()
        thread.join()
    return "".join(refusals)


def test_a_receiver_that_demands_a_certificate_refuses_a_sender_without_one(
    mtls: ssl.SSLContext, authority: Authority
) -> None:
    refusal = handshake(mtls, context_for(an_endpoint(ca_bundle=authority.cert)))
    assert re.search("PEER_DID_NOT_RETURN_A_CERTIFICATE", refusal)


def test_a_receiver_that_demands_a_certificate_takes_ours(
    mtls: ssl.SSLContext, authority: Authority, client_identity: Identity
) -> None:
    endpoint = an_endpoint(ca_bundle=authority.cert, client_cert=client_identity.cert, client_key=client_identity.key)
    assert handshake(mtls, context_for(endpoint)) == ""


# --- files that change


@pytest.fixture
def files(client_identity: Identity, authority: Authority, tmp_path: Path) -> dict[str, Any]:
    """An endpoint's certificate files, to be changed."""
    sources = {"ca_bundle": authority.cert, "client_cert": client_identity.cert, "client_key": client_identity.key}
    paths = {option: tmp_path / source.name for option, source in sources.items()}
    for option, path in paths.items():
        path.write_bytes(sources[option].read_bytes())
    return paths


def test_files_that_did_not_change_are_not_outdated(files: dict[str, Any]) -> None:
    assert not credentials_for(an_endpoint(**files), time.time()).outdated(time.time())


@pytest.mark.parametrize("option", ["ca_bundle", "client_cert", "client_key"])
@pytest.mark.parametrize("change", ["time", "size", "inode", "missing", "folder"])
def test_a_file_that_changed_in_any_way_is_outdated(files: dict[str, Any], option: str, change: str) -> None:
    path = files[option]
    credentials, before = credentials_for(an_endpoint(**files), time.time()), path.stat()
    if change in ("inode", "missing", "folder"):
        path.rename(path.with_suffix(".old"))
    if change == "inode":
        path.write_bytes(path.with_suffix(".old").read_bytes())
    if change == "size":
        path.write_bytes(path.read_bytes() + b"\n")
    if change == "folder":
        path.mkdir()
    if change in ("inode", "size"):
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    if change == "time":
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert credentials.outdated(time.time())


def test_a_client_certificate_that_has_expired_since_is_an_error(files: dict[str, Any]) -> None:
    credentials, end = credentials_for(an_endpoint(**files), time.time()), end_of(files["client_cert"])
    assert not credentials.outdated(end)
    with pytest.raises(CertificateError, match="expired on"):
        credentials.outdated(end + 1)


def test_an_expired_client_certificate_that_was_replaced_is_only_outdated(files: dict[str, Any]) -> None:
    credentials, end = credentials_for(an_endpoint(**files), time.time()), end_of(files["client_cert"])
    files["client_cert"].write_bytes(b"a renewed one")
    assert credentials.outdated(end + 1)


def test_a_link_to_another_file_is_outdated(files: dict[str, Any], authority: Authority, tmp_path: Path) -> None:
    link = tmp_path / "link.pem"
    link.symlink_to(files["ca_bundle"])
    credentials = credentials_for(an_endpoint(ca_bundle=link), time.time())
    link.unlink()
    link.symlink_to(authority.cert)
    assert credentials.outdated(time.time())


def test_an_endpoint_without_files_has_none_to_look_at() -> None:
    assert credentials_for(an_endpoint(), time.time()).states == {}


# --- what ends soon


def end_of(path: Path) -> float:
    return validity(certificates_of(path, "client_cert")[0])[1]


def test_a_certificate_that_ends_later_is_not_reported(client_identity: Identity) -> None:
    now = end_of(client_identity.cert) - EXPIRY_WARNING_SECONDS - 1
    assert expiring(an_endpoint(client_cert=client_identity.cert, client_key=client_identity.key), now) == []


@pytest.mark.parametrize(
    ("left", "words"),
    [
        (EXPIRY_WARNING_SECONDS, "expires on {date}, in 30 days"),
        (7 * 86400 + 1, "expires on {date}, in 7 days"),
        (2 * 86400 - 1, "expires on {date}, in 1 day"),
        (3600, "expires on {date}, in less than a day"),
        (0, "expires on {date}, in less than a day"),
        (-1, "expired on {date}, less than a day ago"),
        (-86400, "expired on {date}, 1 day ago"),
        (-400 * 86400, "expired on {date}, 400 days ago"),
    ],
)
def test_a_certificate_that_ends_soon_is_reported_with_its_date(
    client_identity: Identity, left: float, words: str
) -> None:
    cert, end = client_identity.cert, end_of(client_identity.cert)
    (expiry,) = expiring(an_endpoint(client_cert=cert, client_key=client_identity.key), end - left)
    assert expiry.words == f"client_cert {cert} " + words.format(date=utc(end))
    assert (expiry.what, expiry.file, expiry.ends_at) == ("client_cert", cert, end)


def test_an_expiry_is_the_same_whenever_it_is_looked_at(client_identity: Identity) -> None:
    endpoint, end = an_endpoint(client_cert=client_identity.cert), end_of(client_identity.cert)
    assert expiring(endpoint, end - 3600) == expiring(endpoint, end + 3600) != []


def test_of_a_chain_the_certificate_that_ends_is_named(authority: Authority, tmp_path: Path) -> None:
    ours, issuer = authority.issue("ours", client=True, days=60), authority.issue("issuer", days=5)
    path = joined(tmp_path, ours.cert, issuer.cert, authority.cert)
    found = expiring(an_endpoint(client_cert=path, client_key=ours.key), time.time())
    assert [expiry.words.partition(" expires")[0] for expiry in found] == [f"client_cert {path} (CN=issuer)"]


def test_a_file_that_also_holds_the_key_is_read(client_identity: Identity, tmp_path: Path) -> None:
    path = joined(tmp_path, client_identity.key, client_identity.cert)
    assert len(expiring(an_endpoint(client_cert=path), end_of(path))) == 1


def bundle_of(folder: Path, authority: Authority, count: int) -> Path:
    one = authority.issue("ends-soon", days=5).cert
    return joined(folder, *[one] * (count - 1), authority.cert)


def test_each_own_ca_that_ends_soon_is_reported(authority: Authority, tmp_path: Path) -> None:
    path = bundle_of(tmp_path, authority, OWN_BUNDLE_MAX)
    found = expiring(an_endpoint(ca_bundle=path), time.time())
    names = {(expiry.what, expiry.file, expiry.subject) for expiry in found}
    assert (len(found), names) == (OWN_BUNDLE_MAX - 1, {("ca_bundle", path, "CN=ends-soon")})


def test_a_bundle_of_public_cas_is_not_reported(authority: Authority, tmp_path: Path) -> None:
    path = bundle_of(tmp_path, authority, OWN_BUNDLE_MAX + 1)
    assert expiring(an_endpoint(ca_bundle=path), time.time()) == []


def test_cas_that_are_not_asked_are_not_reported(authority: Authority, tmp_path: Path) -> None:
    path = bundle_of(tmp_path, authority, 2)
    assert expiring(an_endpoint(ca_bundle=path, verify_tls=False), time.time()) == []


def test_an_endpoint_without_files_of_its_own_is_not_reported() -> None:
    assert expiring(an_endpoint(), time.time()) == []


@pytest.mark.parametrize("unusable", ["rubbish", "missing", "folder"])
def test_a_file_that_cannot_be_read_hides_no_other(authority: Authority, tmp_path: Path, unusable: str) -> None:
    paths = {"rubbish": rubbish(tmp_path), "missing": tmp_path / "nowhere.pem", "folder": tmp_path}
    bundle = bundle_of(tmp_path, authority, 2)
    found = expiring(an_endpoint(client_cert=paths[unusable], ca_bundle=bundle), time.time())
    assert [expiry.what for expiry in found] == ["ca_bundle"]


@pytest.mark.parametrize("unusable", ["rubbish", "missing", "folder"])
def test_a_bundle_that_cannot_be_read_hides_no_certificate(authority: Authority, tmp_path: Path, unusable: str) -> None:
    paths = {"rubbish": rubbish(tmp_path), "missing": tmp_path / "nowhere.pem", "folder": tmp_path}
    ours = authority.issue("ends-soon", client=True, days=5)
    found = expiring(an_endpoint(client_cert=ours.cert, ca_bundle=paths[unusable]), time.time())
    assert [expiry.what for expiry in found] == ["client_cert"]
