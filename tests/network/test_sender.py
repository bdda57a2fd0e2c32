from __future__ import annotations

import contextlib
import gzip
import logging
import re
import select
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest
import requests
import responses

from sfwebhooks.attempts import Reply
from sfwebhooks.demo.certificates import Authority, Identity
from sfwebhooks.endpoints import Endpoint, Secret
from sfwebhooks.network.http_reader import REPLY_BYTES
from sfwebhooks.network.sender import Sender
from sfwebhooks.own_secrets import Mask
from sfwebhooks.pipeline import excerpt
from sfwebhooks.reasons import Failure
from sfwebhooks.receive.checks import Checks
from sfwebhooks.receive.server import Receiver, server_context
from sfwebhooks.signing import Request
from tests.builders import PATIENCE, URL, an_endpoint
from tests.conftest import Team
from tests.hostile import held_port

TOKEN = "path-token-of-a-receiver"
BODY = b'{"a": 1}'
HEADERS = {"User-Agent": "sfwebhooks/0", "Content-Type": "application/json", "Accept-Encoding": "identity"}
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Talk = Callable[[socket.socket], None]


def request_for(endpoint: Endpoint, body: bytes = BODY) -> Request:
    return Request(endpoint.url, dict(HEADERS), body)


def send(url: str, body: bytes = BODY, **values: Any) -> Reply:
    """Make one attempt with a sender of its own."""
    endpoint = an_endpoint(url=url, **{"timeout": PATIENCE, **values})
    sender = Sender(endpoint)
    try:
        return sender.send(request_for(endpoint, body))
    finally:
        sender.close()


class RawServer:
    """A server that reads a request and then does to the connection what the test says."""

    def __init__(self, talk: Talk) -> None:
        self.requests: list[bytes] = []
        self._talk = talk
        self._over = threading.Event()
        self._ended = threading.Condition()
        self._count = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/{TOKEN}"

    def close(self) -> None:
        self._over.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(PATIENCE)

    def wait_for_end(self, count: int) -> None:
        """Return once so many connections have been closed."""
        with self._ended:
            assert self._ended.wait_for(lambda: self._count >= count, PATIENCE)

    def hold(self, connection: socket.socket) -> None:
        """Say nothing until the test is over."""
        self._over.wait(PATIENCE)

    def _serve(self) -> None:
        while not self._over.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.settimeout(PATIENCE)
                self.requests.append(_whole_request(connection))
                self._talk(connection)
            with self._ended:
                self._count += 1
                self._ended.notify_all()


def _whole_request(connection: socket.socket) -> bytes:
    """Read a head, and of the body as much as most tests send."""
    data = b""
    while b"\r\n\r\n" not in data or len(data.partition(b"\r\n\r\n")[2]) < len(BODY):
        got = connection.recv(65536)
        if not got:
            break
        data += got
    return data


@pytest.fixture
def serve() -> Iterator[Callable[[Talk], RawServer]]:
    """Start servers that misbehave: `serve(talk)`."""
    servers: list[RawServer] = []

    def start(talk: Talk) -> RawServer:
        servers.append(RawServer(talk))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def saying(data: bytes) -> Talk:
    return lambda connection: connection.sendall(data)


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.fixture
def deaf_place() -> Iterator[str]:
    """Host and port where nobody listens."""
    with held_port() as holder:
        yield f"127.0.0.1:{holder.getsockname()[1]}"


# --- plain replies


@responses.activate
def test_status_headers_and_body_come_back() -> None:
    responses.post(URL, status=202, body=b"taken", headers={"Retry-After": "7"})
    reply = send(URL)
    assert (reply.status, reply.failure, reply.body, reply.headers["retry-after"]) == (202, None, b"taken", "7")


@responses.activate
@pytest.mark.parametrize("status", [200, 204, 304, 400, 404, 410, 429, 500, 599])
def test_no_status_is_a_failure(status: int) -> None:
    responses.post(URL, status=status)
    assert (send(URL).status, send(URL).failure) == (status, None)


@responses.activate
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status: int) -> None:
    responses.post(URL, status=status, headers={"Location": "https://elsewhere.example.test/"})
    elsewhere = responses.post("https://elsewhere.example.test/")
    assert (send(URL).status, elsewhere.call_count) == (status, 0)


@pytest.mark.parametrize(
    ("location", "place"),
    [
        ("https://login.example.test/sso?token=hidden", "https://login.example.test"),
        ("//login.example.test:8443/hidden", "http://login.example.test:8443"),
        ("https://user:hidden@login.example.test/", "https://login.example.test"),
        ("/hidden", "http://127.0.0.1:PORT"),
        ("", None),
        ("http://[hidden", None),
        ("javascript:hidden", None),
    ],
)
def test_a_redirect_says_to_which_place_it_points_and_no_more(
    serve: Callable[[Talk], RawServer], location: str, place: str | None
) -> None:
    server = serve(saying(f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()))
    reply = send(server.url)
    shown = f"Location: {place}".replace("PORT", str(server.port)) if place else ""
    assert (reply.status, reply.detail, excerpt(reply, Mask.of(an_endpoint()))) == (302, shown, shown)


@responses.activate
def test_the_body_goes_out_as_it_was_signed() -> None:
    responses.post(URL)
    send(URL, body='{"a":"żółć"}'.encode())
    assert responses.calls[0].request.body == '{"a":"żółć"}'.encode()


@responses.activate
def test_the_headers_go_out_with_the_length_of_the_body() -> None:
    responses.post(URL)
    send(URL)
    assert dict(responses.calls[0].request.headers) == {**HEADERS, "Content-Length": str(len(BODY))}


@responses.activate
@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (requests.ConnectTimeout(), Failure.TIMEOUT),
        (requests.ReadTimeout(), Failure.TIMEOUT),
        (requests.ConnectionError(), Failure.CONNECTION),
        (requests.exceptions.ChunkedEncodingError(), Failure.CONNECTION),
        (ConnectionResetError(104, "Connection reset by peer"), Failure.CONNECTION),
    ],
)
def test_an_exception_of_the_network_is_a_failure(error: Exception, failure: Failure) -> None:
    responses.post(URL, body=error)
    assert send(URL).failure is failure


# --- no reply


def test_a_port_where_nobody_listens_is_a_failed_connection(deaf_place: str) -> None:
    reply = send(f"http://{deaf_place}/{TOKEN}")
    assert (reply.failure, reply.detail) == (Failure.CONNECTION, "Connection refused")


def test_a_reset_connection_is_a_failed_connection(serve: Callable[[Talk], RawServer]) -> None:
    reply = send(serve(reset).url)
    assert (reply.failure, reply.detail) == (Failure.CONNECTION, "Connection reset by peer")


def test_a_connection_closed_without_an_answer_is_a_failed_connection(serve: Callable[[Talk], RawServer]) -> None:
    reply = send(serve(lambda connection: None).url)
    assert (reply.failure, reply.detail) == (Failure.CONNECTION, "closed without an answer")


def test_an_unknown_host_is_a_dns_failure() -> None:
    assert send(f"http://receiver.invalid/{TOKEN}").failure is Failure.DNS


@pytest.mark.parametrize("host", ["a" * 70 + ".example.test", "a..example.test", ".example.test"])
def test_a_host_name_that_there_cannot_be_is_a_dns_failure(host: str) -> None:
    assert send(f"http://{host}/{TOKEN}").failure is Failure.DNS


def test_a_receiver_that_never_answers_is_a_timeout(serve: Callable[[Talk], RawServer]) -> None:
    server = serve(lambda connection: server.hold(connection))
    assert send(server.url, timeout=0.2).failure is Failure.TIMEOUT


def test_a_receiver_that_stops_within_the_headers_is_a_timeout(serve: Callable[[Talk], RawServer]) -> None:
    def talk(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nX-Begun: ")
        server.hold(connection)

    server = serve(talk)
    assert send(server.url, timeout=0.2).failure is Failure.TIMEOUT


def test_a_tls_handshake_that_never_ends_is_a_timeout(serve: Callable[[Talk], RawServer]) -> None:
    server = serve(lambda connection: server.hold(connection))
    assert send(server.url.replace("http:", "https:"), timeout=0.2).failure is Failure.TIMEOUT


@pytest.mark.parametrize(
    "garbage",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x00\xff\xfe garbage\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"<html>HTTP/0.9</html>",
    ],
    ids=["another protocol", "bytes", "no status", "another version", "no head"],
)
def test_an_answer_that_is_not_http_is_a_protocol_error(serve: Callable[[Talk], RawServer], garbage: bytes) -> None:
    assert send(serve(saying(garbage)).url).failure is Failure.PROTOCOL


# --- the reply's body


def test_the_reply_of_a_receiver_that_breaks_off_its_body_counts(serve: Callable[[Talk], RawServer]) -> None:
    reply = send(serve(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")).url)
    assert (reply.status, reply.failure) == (200, None)


def test_the_reply_of_a_receiver_that_never_ends_its_body_counts(serve: Callable[[Talk], RawServer]) -> None:
    def talk(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        server.hold(connection)

    server = serve(talk)
    assert send(server.url, timeout=0.2).status == 200


def test_the_reply_with_a_broken_encoding_counts(serve: Callable[[Talk], RawServer]) -> None:
    reply = send(serve(saying(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope")).url)
    assert (reply.status, reply.failure) == (200, None)


def test_a_huge_body_is_read_up_to_the_limit(serve: Callable[[Talk], RawServer]) -> None:
    size = 10 * REPLY_BYTES
    reply = send(serve(saying(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)).url)
    assert len(reply.body) == REPLY_BYTES


def test_an_endless_body_is_read_up_to_the_limit(serve: Callable[[Talk], RawServer]) -> None:
    def talk(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"x" * 65536)

    assert len(send(serve(talk).url).body) == REPLY_BYTES


def test_an_endless_chunked_body_is_read_up_to_the_limit(serve: Callable[[Talk], RawServer]) -> None:
    def talk(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            connection.sendall(b"1000\r\n" + b"x" * 4096 + b"\r\n")

    assert len(send(serve(talk).url).body) == REPLY_BYTES


def test_a_compressed_body_is_decoded_up_to_the_limit(serve: Callable[[Talk], RawServer]) -> None:
    bomb = gzip.compress(b"x" * 50_000_000)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    assert send(serve(saying(head + bomb)).url).body == b"x" * REPLY_BYTES


def test_a_reply_that_comes_before_our_body_was_read_counts(serve: Callable[[Talk], RawServer]) -> None:
    server = serve(saying(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
    assert send(server.url, body=b"x" * 20_000_000).status == 413


# --- TLS


def test_a_certificate_of_a_known_ca_is_verified(
    receive: Callable[..., Team], https: ssl.SSLContext, authority: Authority
) -> None:
    assert send(receive(tls=https).url, ca_bundle=authority.cert).status == 200


def test_a_certificate_of_an_unknown_ca_is_not_verified(
    receive: Callable[..., Team], https: ssl.SSLContext, other_authority: Authority
) -> None:
    reply = send(receive(tls=https).url, ca_bundle=other_authority.cert)
    assert (reply.failure, reply.detail) == (Failure.TLS_UNVERIFIED, "unable to get local issuer certificate")


def test_nothing_is_sent_to_a_receiver_that_is_not_verified(
    receive: Callable[..., Team], https: ssl.SSLContext, other_authority: Authority
) -> None:
    team = receive(tls=https)
    send(team.url, ca_bundle=other_authority.cert)
    assert team.got == []


def test_an_own_ca_is_not_trusted_without_ca_bundle(receive: Callable[..., Team], https: ssl.SSLContext) -> None:
    assert send(receive(tls=https).url).failure is Failure.TLS_UNVERIFIED


def test_public_cas_are_not_trusted_where_ca_bundle_is_set(
    receive: Callable[..., Team],
    https: ssl.SSLContext,
    authority: Authority,
    other_authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", str(authority.cert))  # our CA is a public one
    monkeypatch.setattr("certifi.where", lambda: str(authority.cert))
    assert send(receive(tls=https).url, ca_bundle=other_authority.cert).failure is Failure.TLS_UNVERIFIED


def test_an_expired_certificate_of_a_receiver_is_not_verified(
    receive: Callable[..., Team], authority: Authority
) -> None:
    expired = authority.issue("expired-receiver", days=-1)
    team = receive(tls=server_context(expired.cert, expired.key))
    reply = send(team.url, ca_bundle=authority.cert)
    assert (reply.failure, reply.detail) == (Failure.TLS_UNVERIFIED, "certificate has expired")


def test_a_certificate_for_another_host_is_not_verified(receive: Callable[..., Team], authority: Authority) -> None:
    other = authority.issue("other-host", hosts=["other.example.test"])
    team = receive(tls=server_context(other.cert, other.key))
    assert send(team.url, ca_bundle=authority.cert).failure is Failure.TLS_UNVERIFIED


def test_a_certificate_without_a_dns_name_is_not_verified_by_its_common_name(
    receive: Callable[..., Team], authority: Authority
) -> None:
    nameless = authority.issue("localhost", hosts=["127.0.0.2"])
    team = receive(tls=server_context(nameless.cert, nameless.key))
    reply = send(team.url.replace("127.0.0.1", "localhost"), ca_bundle=authority.cert)
    assert (reply.failure, team.got) == (Failure.TLS_UNVERIFIED, [])


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
def test_verify_tls_false_takes_any_certificate(receive: Callable[..., Team], https: ssl.SSLContext) -> None:
    assert send(receive(tls=https).url, verify_tls=False).status == 200


def test_https_to_a_receiver_of_plain_http_is_other_trouble_with_tls(receive: Callable[..., Team]) -> None:
    assert send(receive().url.replace("http:", "https:")).failure is Failure.TLS


def test_a_ca_bundle_that_cannot_be_used_is_named(receive: Callable[..., Team], tmp_path: Path) -> None:
    reply = send(receive().url, ca_bundle=tmp_path / "nowhere.pem")
    assert (reply.failure, str(tmp_path / "nowhere.pem") in reply.detail) == (Failure.CERTIFICATE, True)


def test_nothing_is_sent_with_a_client_certificate_that_cannot_be_used(
    receive: Callable[..., Team], tmp_path: Path
) -> None:
    team = receive()
    send(team.url, client_cert=tmp_path / "nowhere.pem")
    assert team.got == []


def test_a_file_that_was_put_right_is_taken_at_the_next_attempt(
    receive: Callable[..., Team], https: ssl.SSLContext, authority: Authority, tmp_path: Path
) -> None:
    bundle = tmp_path / "ca.pem"
    endpoint = an_endpoint(url=receive(tls=https).url, ca_bundle=bundle)
    sender = Sender(endpoint)
    assert sender.send(request_for(endpoint)).failure is Failure.CERTIFICATE
    bundle.write_bytes(authority.cert.read_bytes())
    assert sender.send(request_for(endpoint)).status == 200
    sender.close()


def test_a_client_certificate_is_presented(
    receive: Callable[..., Team], mtls: ssl.SSLContext, authority: Authority, client_identity: Identity
) -> None:
    team = receive(tls=mtls)
    send(team.url, ca_bundle=authority.cert, client_cert=client_identity.cert, client_key=client_identity.key)
    assert [received.client for received in team.got] == ["spiderfoot"]


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["TLS 1.2", "TLS 1.3"])
def demanding(request: pytest.FixtureRequest, server_identity: Identity, authority: Authority) -> ssl.SSLContext:
    """The TLS context of a receiver that demands a client certificate, for one version of TLS."""
    context = server_context(server_identity.cert, server_identity.key, authority.cert)
    context.minimum_version = context.maximum_version = request.param
    return context


#: a receiver's refusal is a race between its alert and the end of the connection: once is not enough
REPEATS = 50


def test_a_refused_client_certificate_is_always_reported_as_such(
    receive: Callable[..., Team], demanding: ssl.SSLContext, authority: Authority, other_authority: Authority
) -> None:
    wrong = other_authority.issue("wrong-client", client=True)
    url = receive(tls=demanding).url
    values: dict[str, Any] = {"ca_bundle": authority.cert, "client_cert": wrong.cert, "client_key": wrong.key}
    failures = [send(url, body=BODY * 1000, **values).failure for _ in range(REPEATS)]
    assert failures == [Failure.TLS_REFUSED] * REPEATS


def test_a_missing_client_certificate_is_always_reported_as_such(
    receive: Callable[..., Team], demanding: ssl.SSLContext, authority: Authority
) -> None:
    url = receive(tls=demanding).url
    failures = [send(url, body=BODY * 1000, ca_bundle=authority.cert).failure for _ in range(REPEATS)]
    assert failures == [Failure.TLS_REFUSED] * REPEATS


class Rude(Receiver):
    """A receiver that hangs up at once when it refuses a client, as most servers do, with our request unread."""

    def finish_request(self, request: Any, client_address: Any) -> None:
        assert self.tls
        with contextlib.suppress(OSError), self.tls.wrap_socket(request, server_side=True):
            pass


@pytest.fixture
def rude(demanding: ssl.SSLContext) -> Iterator[Rude]:
    receiver = Rude(Checks(), tls=demanding)
    receiver.start()
    yield receiver
    receiver.stop()


def test_a_refusal_before_our_request_was_read_is_always_reported_as_such(
    rude: Rude, authority: Authority, other_authority: Authority
) -> None:
    wrong = other_authority.issue("wrong-client-2", client=True)
    values: dict[str, Any] = {"ca_bundle": authority.cert, "client_cert": wrong.cert, "client_key": wrong.key}
    failures = [send(rude.url, body=BODY * 1000, **values).failure for _ in range(REPEATS)]
    assert failures == [Failure.TLS_REFUSED] * REPEATS


def request_read(connection: socket.socket) -> bool:
    """Read a whole request; say whether there is one."""
    data = _whole_request(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    found = re.search(rb"(?i)content-length: (\d+)", head)
    missing = int(found[1] if found else 0) - len(body)
    while missing > 0 and data:
        data = connection.recv(65536)
        missing -= len(data)
    return bool(data)


class PerPath(Receiver):
    """A receiver that asks for a client certificate once it has read a request, as Apache does for a Location."""

    def finish_request(self, request: Any, client_address: Any) -> None:
        assert self.tls
        with contextlib.suppress(OSError), self.tls.wrap_socket(request, server_side=True) as tls:
            while request_read(tls):
                known = tls.getpeercert() or self.ask(tls)
                tls.sendall(OK if known else b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")

    def ask(self, tls: ssl.SSLSocket) -> Any:
        try:
            tls.verify_client_post_handshake()
        except ssl.SSLError:  # EXTENSION_NOT_RECEIVED: the client has not said that it can be asked
            return None
        tls.do_handshake()
        while not tls.getpeercert():
            select.select([tls], [], [], PATIENCE)
            tls.setblocking(False)
            with contextlib.suppress(ssl.SSLWantReadError):
                tls.recv(1)
            tls.settimeout(PATIENCE)
        return tls.getpeercert()


@pytest.fixture
def per_path(server_identity: Identity, authority: Authority) -> Iterator[PerPath]:
    context = server_context(server_identity.cert, server_identity.key, authority.cert)
    context.post_handshake_auth = True
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    receiver = PerPath(Checks(), tls=context)
    receiver.start()
    yield receiver
    receiver.stop()


@pytest.mark.parametrize("body", [BODY, BODY * 100_000], ids=["short", "long"])
def test_a_client_certificate_is_presented_when_it_is_asked_for_after_the_handshake(
    per_path: PerPath, authority: Authority, client_identity: Identity, body: bytes
) -> None:
    values: dict[str, Any] = {"client_cert": client_identity.cert, "client_key": client_identity.key}
    endpoint = an_endpoint(url=per_path.url, timeout=PATIENCE, ca_bundle=authority.cert, **values)
    sender = Sender(endpoint)
    assert [sender.send(request_for(endpoint, body)).status for _ in range(3)] == [200] * 3
    sender.close()


def test_a_wrong_client_certificate_is_refused_when_it_is_asked_for_after_the_handshake(
    per_path: PerPath, authority: Authority, other_authority: Authority
) -> None:
    wrong = other_authority.issue("wrong-client-3", client=True)
    values: dict[str, Any] = {"client_cert": wrong.cert, "client_key": wrong.key}
    failures = [send(per_path.url, ca_bundle=authority.cert, **values).failure for _ in range(REPEATS)]
    assert failures == [Failure.TLS_REFUSED] * REPEATS


def test_a_sender_without_a_client_certificate_does_not_offer_one_after_the_handshake(
    per_path: PerPath, authority: Authority
) -> None:
    assert send(per_path.url, ca_bundle=authority.cert).status == 403


def test_a_receiver_that_refuses_a_client_says_why(
    receive: Callable[..., Team], mtls: ssl.SSLContext, authority: Authority
) -> None:
    team = receive(tls=mtls)
    send(team.url, ca_bundle=authority.cert)
    assert team.wait_for_refusal() == "PEER_DID_NOT_RETURN_A_CERTIFICATE"


# --- what the environment says is nothing to us


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_a_ca_bundle_in_the_environment_adds_no_trust(
    receive: Callable[..., Team],
    https: ssl.SSLContext,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    monkeypatch.setenv(name, str(authority.cert))
    assert send(receive(tls=https).url).failure is Failure.TLS_UNVERIFIED


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_a_ca_bundle_in_the_environment_takes_no_trust_away(
    receive: Callable[..., Team],
    https: ssl.SSLContext,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    monkeypatch.setenv(name, "/nonsense")
    assert send(receive(tls=https).url, ca_bundle=authority.cert).status == 200


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_a_proxy_in_the_environment_is_not_used(
    receive: Callable[..., Team], deaf_place: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, f"http://{deaf_place}")
    assert send(receive().url).status == 200


def test_a_proxy_for_https_in_the_environment_is_not_used(
    receive: Callable[..., Team],
    https: ssl.SSLContext,
    authority: Authority,
    deaf_place: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://{deaf_place}")
    assert send(receive(tls=https).url, ca_bundle=authority.cert).status == 200


def test_a_password_in_netrc_is_not_sent(
    receive: Callable[..., Team], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("default login somebody password secret")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    team = receive()
    send(team.url)
    assert "Authorization" not in team.got[0].headers


# --- connections and cookies


def test_a_connection_is_reused(receive: Callable[..., Team], monkeypatch: pytest.MonkeyPatch) -> None:
    ports: list[int] = []
    team = receive()
    verify = team.receiver.verify_request

    def noted(request: Any, address: tuple[str, int]) -> bool:
        ports.append(address[1])
        return verify(request, address)

    monkeypatch.setattr(team.receiver, "verify_request", noted)  # called once a connection
    endpoint = an_endpoint(url=team.url)
    sender = Sender(endpoint)
    for _ in range(5):
        sender.send(request_for(endpoint))
    sender.close()
    assert len(ports) == 1


def test_a_reply_without_a_body_leaves_the_connection_usable(receive: Callable[..., Team]) -> None:
    team = receive()
    team.answer = 204
    endpoint = an_endpoint(url=team.url)
    sender = Sender(endpoint)
    statuses = [sender.send(request_for(endpoint)).status for _ in range(3)]
    sender.close()
    assert statuses == [204] * 3


def test_a_kept_connection_that_the_receiver_closed_is_opened_again(serve: Callable[[Talk], RawServer]) -> None:
    server = serve(saying(OK))  # which closes after each reply, and does not say so
    endpoint = an_endpoint(url=server.url)
    sender = Sender(endpoint)
    statuses = []
    for count in range(1, 4):
        statuses.append(sender.send(request_for(endpoint)).status)
        server.wait_for_end(count)
    sender.close()
    assert statuses == [200] * 3


def test_senders_of_several_threads_share_one_adapter(receive: Callable[..., Team]) -> None:
    team = receive()
    endpoint = an_endpoint(url=team.url)
    sender = Sender(endpoint)
    replies: list[Reply] = []
    threads = [threading.Thread(target=lambda: replies.append(sender.send(request_for(endpoint)))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sender.close()
    assert [reply.status for reply in replies] == [200] * 8


def test_a_cookie_is_not_sent_back(serve: Callable[[Talk], RawServer]) -> None:
    server = serve(saying(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b; Path=/\r\nContent-Length: 0\r\n\r\n"))
    endpoint = an_endpoint(url=server.url)
    sender = Sender(endpoint)
    for count in (1, 2):
        sender.send(request_for(endpoint))
        server.wait_for_end(count)
    sender.close()
    assert (len(server.requests), b"cookie" in server.requests[1].lower()) == (2, False)


# --- the URL


@pytest.mark.parametrize(
    "target",
    [
        "/webhook",
        "/",
        "/a/../b/./c//d/",
        "//double",
        "/services/T0/B0/%2f%2F%e2",
        "/a%zz%",
        "/?sig=a%2fb%3D&sv=2016-06-01&sp=%2Ftriggers%2Fmanual%2Frun",
        "/?empty=&a[]=1&b={x}|y\"'^`<>\\",
        "/path?",
        "/path??a?b",
        "/~user;v=1,2/a+b@c:d!$&'()*",
    ],
)
def test_the_url_goes_out_byte_for_byte(serve: Callable[[Talk], RawServer], target: str) -> None:
    server = serve(saying(OK))
    send(f"http://127.0.0.1:{server.port}{target}")
    assert server.requests[0].split(b"\r\n")[0] == f"POST {target} HTTP/1.1".encode()


@pytest.mark.parametrize(("rest", "target"), [("", "/"), ("?token=a%2fb", "/?token=a%2fb")])
def test_a_url_without_a_path_goes_out_with_the_root(
    serve: Callable[[Talk], RawServer], rest: str, target: str
) -> None:
    server = serve(saying(OK))
    send(f"http://127.0.0.1:{server.port}{rest}")
    assert server.requests[0].split(b"\r\n")[0] == f"POST {target} HTTP/1.1".encode()


def test_the_host_header_names_host_and_port(serve: Callable[[Talk], RawServer]) -> None:
    server = serve(saying(OK))
    send(server.url)
    assert f"\r\nHost: 127.0.0.1:{server.port}\r\n".encode() in server.requests[0]


def test_nothing_is_sent_that_was_not_in_the_request(serve: Callable[[Talk], RawServer]) -> None:
    server = serve(saying(OK))
    send(server.url)
    names = {line.partition(b":")[0] for line in server.requests[0].partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]}
    assert names == {b"Host", b"Content-Length", *(name.encode() for name in HEADERS)}


# --- secrets


@pytest.fixture(
    params=[
        "refused",
        "unknown host",
        "impossible host",
        "reset",
        "closed",
        "silent",
        "garbage",
        "unverified",
        "wrong password",
    ]
)
def failing(request: pytest.FixtureRequest, serve: Callable[[Talk], RawServer]) -> dict[str, Any]:
    """An endpoint's values with which an attempt fails."""
    if request.param == "refused":
        return {"url": f"http://{request.getfixturevalue('deaf_place')}/{TOKEN}"}
    if request.param == "unknown host":
        return {"url": f"https://receiver.invalid/{TOKEN}"}
    if request.param == "impossible host":
        return {"url": f"https://{'a' * 70}.invalid/{TOKEN}"}
    if request.param == "unverified":
        https: ssl.SSLContext = request.getfixturevalue("https")
        team: Team = request.getfixturevalue("receive")(tls=https)
        return {"url": team.url.replace("/webhook", f"/{TOKEN}")}
    if request.param == "wrong password":
        locked = request.getfixturevalue("authority").issue("locked-sender", client=True, password=b"right")
        values = {"client_cert": locked.cert, "client_key": locked.key, "client_key_password": Secret(TOKEN)}
        return {"url": "https://127.0.0.1:1/", **values}
    talks: dict[str, Talk] = {
        "reset": reset,
        "closed": lambda connection: None,
        "silent": lambda connection: server.hold(connection),
        "garbage": saying(b"garbage\r\n\r\n"),
    }
    server = serve(talks[request.param])
    return {"url": server.url, "timeout": 0.2 if request.param == "silent" else PATIENCE}


def test_no_detail_of_a_failure_shows_a_secret(failing: dict[str, Any]) -> None:
    reply = send(**failing)
    assert (reply.failure is not None, TOKEN in repr(reply)) == (True, False)


def test_no_log_line_of_a_failure_shows_a_secret(failing: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        send(**failing)
    assert TOKEN not in caplog.text


def test_no_log_line_about_wrong_headers_in_a_reply_shows_a_secret(
    serve: Callable[[Talk], RawServer], caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n no header\r\n: neither\r\n\r\n"))
    with caplog.at_level(logging.DEBUG):
        send(server.url)
    assert TOKEN not in caplog.text
