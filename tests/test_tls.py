from __future__ import annotations

import re
import socket
import ssl
import threading
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import certifi
import pytest

from sfwebhooks.demo.certificates import Authority, Identity
from sfwebhooks.endpoints import Secret
from sfwebhooks.errors import CertificateError
from sfwebhooks.tls import check_identity, context_for
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


def test_validity_is_judged_at_the_time_that_is_passed_in(client_identity: Identity) -> None:
    later = datetime.now(timezone.utc) + timedelta(days=31)
    with pytest.raises(CertificateError, match="expired on"):
        check_identity(client_identity.cert, client_identity.key, None, later)


def test_a_wrong_password_names_key_and_option(authority: Authority) -> None:
    locked = authority.issue("locked", client=True, password=b"right")
    text = presented(locked, client_key_password=Secret("wrong"))
    assert text.startswith(f"client_key {locked.key} cannot be loaded: client_key_password does not open it")


def test_a_missing_password_names_key_and_option(authority: Authority) -> None:
    locked = authority.issue("locked-2", client=True, password=b"right")
    assert presented(locked) == f"client_key {locked.key} is encrypted; client_key_password is needed"


def test_an_empty_password_is_a_missing_one(authority: Authority) -> None:
    locked = authority.issue("locked-3", client=True, password=b"right")
    text = presented(locked, client_key_password=Secret(""))
    assert text == f"client_key {locked.key} is encrypted; client_key_password is needed"


def test_a_password_for_a_key_without_one_is_said(client_identity: Identity) -> None:
    text = presented(client_identity, client_key_password=Secret("needless"))
    assert text == f"client_key {client_identity.key} is not encrypted; leave client_key_password away"


def test_no_message_shows_the_password(authority: Authority) -> None:
    locked = authority.issue("locked-4", client=True, password=b"right")
    assert "wrong-password" not in presented(locked, client_key_password=Secret("wrong-password"))


def test_a_key_that_is_no_pem_is_named(client_identity: Identity, tmp_path: Path) -> None:
    path = rubbish(tmp_path)
    text = problem(client_cert=client_identity.cert, client_key=path)
    assert text == f"client_key {path} cannot be loaded: it is no private key in PEM"


def test_a_certificate_that_is_no_pem_is_named(client_identity: Identity, tmp_path: Path) -> None:
    path = rubbish(tmp_path)
    text = problem(client_cert=path, client_key=client_identity.key)
    assert text.startswith(f'client_cert {path} holds no "-----BEGIN CERTIFICATE-----"')


def test_a_certificate_cut_off_in_the_middle_is_named(client_identity: Identity, tmp_path: Path) -> None:
    path = tmp_path / "cut.pem"
    path.write_bytes(client_identity.cert.read_bytes()[:200])
    text = problem(client_cert=path, client_key=client_identity.key)
    assert text.startswith(f"client_cert {path} holds a certificate that cannot be read")


def test_a_certificate_without_its_key_in_the_same_file_is_said(client_identity: Identity) -> None:
    text = problem(client_cert=client_identity.cert)
    assert text.startswith(f"client_cert {client_identity.cert} holds no private key")


def test_a_chain_in_the_wrong_order_is_said(authority: Authority, client_identity: Identity, tmp_path: Path) -> None:
    path = joined(tmp_path, authority.cert, client_identity.cert)
    text = problem(client_cert=path, client_key=client_identity.key)
    assert text == f"client_cert {path}: our own certificate must stand first, then its issuers"


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


def test_a_bundle_that_is_no_pem_is_named(tmp_path: Path) -> None:
    path = rubbish(tmp_path)
    assert problem(ca_bundle=path).startswith(f'ca_bundle {path} holds no "-----BEGIN CERTIFICATE-----"')


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
    assert [dict(part[0] for part in ca["subject"])["commonName"] for ca in trusted] == ["Test CA"]


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
