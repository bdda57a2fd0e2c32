from __future__ import annotations

import contextlib
import gzip
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Callable

import pytest

from sfwebhooks.demo.certificates import Authority, Identity
from sfwebhooks.endpoints import Secret
from sfwebhooks.formats.content import Content
from sfwebhooks.network.tls import context_for
from sfwebhooks.receive.checks import Checks
from sfwebhooks.receive.inflating import BODY_MAX
from sfwebhooks.receive.received import VALUES_MAX, Received
from sfwebhooks.receive.room import SMALL, Room
from sfwebhooks.receive.server import REFUSALS_MAX, RETRY_SECONDS, Receiver, server_context
from sfwebhooks.signing import Request, sign
from tests.builders import PATIENCE, a_batch, a_delivery, an_endpoint
from tests.conftest import Team

SECRET = "the secret of both"
BODY = b'{"event_type":"scan_started","data":{},"metadata":{"sequence":1}}'


def signed(secret: str = SECRET, age: float = 0.0, api_key: str = "") -> Request:
    """Return a request that was signed so many seconds ago."""
    endpoint = an_endpoint(secrets=[secret] if secret else [], api_key=Secret(api_key) if api_key else None)
    return sign(Content(BODY), a_batch(), endpoint, time.time() - age)


def post(team: Team, request: Request, tls: ssl.SSLContext | None = None) -> tuple[int, bytes]:
    """Send a request as it is; return status and body of the reply."""
    with contextlib.closing(connection_to(team, tls)) as connection:
        return exchange(connection, request)


def connection_to(team: Team, tls: ssl.SSLContext | None = None) -> http.client.HTTPConnection:
    port = team.receiver.server_address[1]
    if tls:
        return http.client.HTTPSConnection("127.0.0.1", port, timeout=PATIENCE, context=tls)
    return http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)


def exchange(connection: http.client.HTTPConnection, request: Request) -> tuple[int, bytes]:
    connection.request("POST", "/webhook", request.body, request.headers)
    reply = connection.getresponse()
    return reply.status, reply.read()


def problems(team: Team, request: Request) -> tuple[str, ...]:
    post(team, request)
    return team.got[0].problems


# --- verification


def test_a_delivery_that_is_signed_rightly_has_no_problems(receive: Callable[..., Team]) -> None:
    assert problems(receive([SECRET]), signed()) == ()


def test_one_of_several_secrets_is_enough(receive: Callable[..., Team]) -> None:
    assert problems(receive(["the next one", SECRET]), signed()) == ()


def test_signatures_are_not_asked_for_without_a_secret(receive: Callable[..., Team]) -> None:
    assert problems(receive(), signed(secret="")) == ()


def test_another_secret_is_said_of_both_signatures(receive: Callable[..., Team]) -> None:
    assert problems(receive([SECRET]), signed("another one")) == (
        "X-SpiderFoot-Signature does not fit: another secret, or the body was changed on the way",
        "webhook-signature does not fit: another secret, or id, timestamp or body were changed on the way",
    )


def test_missing_signatures_are_said(receive: Callable[..., Team]) -> None:
    assert problems(receive([SECRET]), signed(secret="")) == (
        "X-SpiderFoot-Signature is missing: does the sender have a secret?",
        "webhook-id, webhook-timestamp or webhook-signature is missing",
    )


def test_a_changed_body_is_said(receive: Callable[..., Team]) -> None:
    request = signed()
    changed = Request(request.url, request.headers, request.body.replace(b"1", b"2"))
    assert len(problems(receive([SECRET]), changed)) == 2


def test_a_changed_id_is_said(receive: Callable[..., Team]) -> None:
    request = signed()
    request.headers["webhook-id"] = "another"
    assert problems(receive([SECRET]), request) == (
        "webhook-signature does not fit: another secret, or id, timestamp or body were changed on the way",
    )


def test_an_old_timestamp_is_said_with_its_age(receive: Callable[..., Team]) -> None:
    (problem,) = problems(receive([SECRET]), signed(age=1000))
    assert problem.startswith("webhook-timestamp is 100") and "s old" in problem


def test_a_timestamp_in_the_future_is_said(receive: Callable[..., Team]) -> None:
    (problem,) = problems(receive([SECRET]), signed(age=-1000))
    assert "s in the future" in problem


def test_a_timestamp_that_is_not_a_number_is_said(receive: Callable[..., Team]) -> None:
    request = signed()
    request.headers["webhook-timestamp"] = "now"
    assert "webhook-timestamp is not in whole seconds" in problems(receive([SECRET]), request)


@pytest.mark.parametrize("key", ["", "another one"], ids=["missing", "another one"])
def test_a_missing_or_wrong_bearer_token_is_said(receive: Callable[..., Team], key: str) -> None:
    found = problems(receive(api_key="the right one"), signed(api_key=key))
    assert found == ("the bearer token is missing or wrong",)


def test_a_bearer_token_of_any_characters_is_compared_without_a_crash() -> None:
    assert Checks(api_key="the right one").problems({"Authorization": "Bearer \udcff\u0661"}, b"")


def test_the_right_bearer_token_is_taken(receive: Callable[..., Team]) -> None:
    assert problems(receive(api_key="the right one"), signed(api_key="the right one")) == ()


def test_a_delivery_that_is_not_verified_gets_401_and_the_reasons(receive: Callable[..., Team]) -> None:
    status, body = post(receive([SECRET]), signed(secret=""))
    assert (status, b"X-SpiderFoot-Signature is missing" in body) == (401, True)


def test_a_delivery_that_is_verified_gets_the_chosen_status(receive: Callable[..., Team]) -> None:
    team = receive([SECRET])
    team.answer = 503
    assert post(team, signed())[0] == 503


# --- what it got


def test_a_delivery_is_kept_as_it_came(receive: Callable[..., Team]) -> None:
    team, request = receive(), signed()
    post(team, request)
    (got,) = team.got
    assert (got.path, got.body, got.headers["x-spiderfoot-delivery"]) == ("/webhook", BODY, a_delivery().id)


def test_the_message_is_the_body_as_json() -> None:
    assert Received(0.0, "/", {}, BODY, (), "").message["event_type"] == "scan_started"


@pytest.mark.parametrize("body", [b"", b"no JSON", b"[1]", b'"text"', b"\xff\xfe", b"null"])
def test_a_body_that_is_not_an_object_is_an_empty_message(body: bytes) -> None:
    assert Received(0.0, "/", {}, body, (), "").message == {}


def test_the_name_in_the_client_certificate_is_shown(
    receive: Callable[..., Team], mtls: ssl.SSLContext, authority: Authority, client_identity: Identity
) -> None:
    team = receive(tls=mtls)
    endpoint = an_endpoint(ca_bundle=authority.cert, client_cert=client_identity.cert, client_key=client_identity.key)
    post(team, signed(), context_for(endpoint))
    assert team.got[0].client == "spiderfoot"


def test_there_is_no_client_name_without_a_client_certificate(receive: Callable[..., Team]) -> None:
    team = receive()
    post(team, signed())
    assert team.got[0].client == ""


# --- http


def test_several_deliveries_come_over_one_connection(receive: Callable[..., Team]) -> None:
    team = receive()
    with contextlib.closing(connection_to(team)) as connection:
        statuses = [exchange(connection, signed())[0] for _ in range(3)]
    assert statuses == [200] * 3


@pytest.mark.parametrize("status", [204, 205, 304])
def test_a_reply_that_may_have_no_body_leaves_the_connection_usable(receive: Callable[..., Team], status: int) -> None:
    team = receive()
    team.answer = status
    with contextlib.closing(connection_to(team)) as connection:
        replies = [exchange(connection, signed()) for _ in range(3)]
    assert replies == [(status, b"")] * 3


def address_of(team: Team) -> tuple[str, int]:
    host, port = team.receiver.server_address[:2]
    return str(host), port


def raw(team: Team, head: bytes) -> bytes:
    """Send these bytes and return the first line of what comes back."""
    with socket.create_connection(address_of(team), PATIENCE) as connection:
        connection.sendall(head)
        return connection.makefile("rb").readline()


@pytest.mark.parametrize(
    ("length", "status"),
    [
        (b"Transfer-Encoding: chunked", b"411"),
        (b"Content-Length: -1", b"411"),
        (b"Content-Length: \xb2", b"411"),
        (b"Content-Length: %d" % (BODY_MAX + 1), b"413"),
        (b"Content-Length: " + b"9" * 5000, b"413"),
    ],
    ids=["chunked", "negative", "no ASCII digit", "too large", "absurd"],
)
def test_a_body_without_a_usable_length_is_refused(receive: Callable[..., Team], length: bytes, status: bytes) -> None:
    assert raw(receive(), b"POST / HTTP/1.1\r\n" + length + b"\r\n\r\n").split()[1] == status


NEXT = b"POST /hidden HTTP/1.1\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nContent-Length: %d\r\n" % len(NEXT),
        b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n",
        b"OPTIONS / HTTP/1.1\r\nContent-Length: %d\r\n" % len(NEXT),
        b"GET / HTTP/1.1\r\nX : y\r\nContent-Length: %d\r\n" % len(NEXT),
        b"POST / HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: %d\r\n" % len(NEXT),
        b"POST / HTTP/1.1\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n",
    ],
    ids=["GET", "GET in chunks", "OPTIONS", "no header", "two lengths", "length and chunks"],
)
def test_a_request_whose_end_a_proxy_may_see_elsewhere_is_refused(receive: Callable[..., Team], head: bytes) -> None:
    team = receive()
    with socket.create_connection(address_of(team), PATIENCE) as connection:
        connection.sendall(head + b"\r\n" + NEXT)
        reply = b""
        with contextlib.suppress(ConnectionResetError):  # it closes before it has read everything
            while part := connection.recv(65536):
                reply += part
    assert (reply[:13], reply.count(b"HTTP/1.1"), team.got) == (b"HTTP/1.1 400 ", 1, [])


def test_a_head_that_is_too_long_is_refused(receive: Callable[..., Team]) -> None:
    heads = [b"X-%d: " % number + b"x" * 60_000 + b"\r\n" for number in range(3)]
    assert raw(receive(), b"POST / HTTP/1.1\r\n" + b"".join(heads)).split()[1] == b"431"


@pytest.mark.parametrize("head", [b"", b"POST / HTTP/1.1\r\nX: y\r\n"], ids=["nothing", "half a head"])
def test_a_sender_whose_head_does_not_end_is_ended(
    receive: Callable[..., Team], monkeypatch: pytest.MonkeyPatch, head: bytes
) -> None:
    monkeypatch.setattr("sfwebhooks.receive.server.HEAD_SECONDS", 0.1)
    with socket.create_connection(address_of(receive()), PATIENCE) as connection:
        connection.sendall(head)
        reply = b"."
        with contextlib.suppress(ConnectionError):
            reply = connection.recv(1)
    assert reply in (b"", b".")  # without TimeoutError: the receiver has closed it


def test_more_connections_than_the_most_wait_for_one_to_end(
    receive: Callable[..., Team], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sfwebhooks.receive.server.CONNECTIONS_MAX", 2)
    team = receive()
    with contextlib.ExitStack() as idle:
        first = [idle.enter_context(contextlib.closing(connection_to(team))) for _ in range(2)]
        assert [exchange(one, signed(""))[0] for one in first] == [200, 200]
        third = idle.enter_context(contextlib.closing(connection_to(team)))
        third.connect()
        third.sock.settimeout(0.3)
        third.request("POST", "/webhook", BODY)
        with pytest.raises(socket.timeout):  # another class than TimeoutError before Python 3.10
            third.sock.recv(1)
        first[0].close()
        third.sock.settimeout(PATIENCE)
        assert third.getresponse().status == 200


@pytest.mark.parametrize("tls", [False, True])
def test_one_who_is_not_allowed_is_refused_before_anything_is_read(
    receive: Callable[..., Team], https: ssl.SSLContext, tls: bool
) -> None:
    team = receive(networks=[ip_network("192.0.2.7")], tls=https if tls else None)
    with socket.create_connection(address_of(team), PATIENCE) as connection:
        assert connection.makefile("rb").readline() == (b"" if tls else b"HTTP/1.1 403 Forbidden\r\n")


def test_many_who_are_not_allowed_keep_nobody_waiting(
    receive: Callable[..., Team], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sfwebhooks.receive.server.CONNECTIONS_MAX", 1)
    team = receive(networks=[ip_network("127.0.0.1")])
    with contextlib.ExitStack() as others:
        for _ in range(2 * REFUSALS_MAX):
            others.enter_context(socket.create_connection(address_of(team), PATIENCE, ("127.0.0.2", 0)))
        assert post(team, signed(""))[0] == 200


def test_a_person_with_a_browser_sees_what_this_is(receive: Callable[..., Team]) -> None:
    with contextlib.closing(connection_to(receive())) as connection:
        connection.request("GET", "/")
        assert b"send deliveries here with POST" in connection.getresponse().read()


def wait_for_connections() -> None:
    """Return once no receiver of this process serves a connection any more."""
    for thread in threading.enumerate():
        if thread.name.startswith("Thread-"):
            thread.join(PATIENCE)


def test_a_sender_that_goes_away_is_not_logged(receive: Callable[..., Team], capfd: pytest.CaptureFixture[str]) -> None:
    team = receive()
    with socket.create_connection(address_of(team), PATIENCE) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\nhalf")
    post(team, signed())  # another connection: the first one is being served by now
    wait_for_connections()
    assert (len(team.got), capfd.readouterr().err) == (1, "")


def test_a_bug_in_the_handling_of_a_delivery_is_logged(
    receive: Callable[..., Team], capfd: pytest.CaptureFixture[str]
) -> None:
    team = receive()
    team.answer = lambda received: 1 // 0
    with pytest.raises(http.client.RemoteDisconnected):
        post(team, signed())
    wait_for_connections()
    assert "ZeroDivisionError" in capfd.readouterr().err


# --- TLS


def test_a_client_without_a_certificate_is_refused_with_a_reason(
    receive: Callable[..., Team], mtls: ssl.SSLContext, authority: Authority
) -> None:
    team = receive(tls=mtls)
    with pytest.raises(ssl.SSLError):
        post(team, signed(), context_for(an_endpoint(ca_bundle=authority.cert)))
    assert team.wait_for_refusal() == "PEER_DID_NOT_RETURN_A_CERTIFICATE"


def test_a_client_of_another_ca_is_refused_with_a_reason(
    receive: Callable[..., Team], mtls: ssl.SSLContext, authority: Authority, other_authority: Authority
) -> None:
    team, wrong = receive(tls=mtls), other_authority.issue("stranger", client=True)
    endpoint = an_endpoint(ca_bundle=authority.cert, client_cert=wrong.cert, client_key=wrong.key)
    with pytest.raises(ssl.SSLError):
        post(team, signed(), context_for(endpoint))
    assert team.wait_for_refusal() == "CERTIFICATE_VERIFY_FAILED"


def test_a_client_that_does_not_trust_us_is_logged_with_the_reason(
    receive: Callable[..., Team], https: ssl.SSLContext, other_authority: Authority
) -> None:
    team = receive(tls=https)
    with pytest.raises(ssl.SSLCertVerificationError):
        post(team, signed(), context_for(an_endpoint(ca_bundle=other_authority.cert)))
    assert team.wait_for_refusal() == "TLSV1_ALERT_UNKNOWN_CA"


def test_plain_http_to_an_https_receiver_is_refused_with_a_reason(
    receive: Callable[..., Team], https: ssl.SSLContext
) -> None:
    team = receive(tls=https)
    with contextlib.suppress(OSError, http.client.HTTPException):
        post(team, signed())
    assert team.wait_for_refusal() == "HTTP_REQUEST"


def test_a_client_that_never_shakes_hands_keeps_nobody_waiting(
    receive: Callable[..., Team], https: ssl.SSLContext, authority: Authority
) -> None:
    team = receive(tls=https)
    with socket.create_connection(address_of(team), PATIENCE):
        status, _ = post(team, signed(), context_for(an_endpoint(ca_bundle=authority.cert)))
    assert status == 200


def test_an_encrypted_key_is_an_error_and_no_question(authority: Authority) -> None:
    locked = authority.issue("locked-receiver", password=b"secret")
    with pytest.raises(OSError, match=r"(?i)password|decrypt|pem|ssl"):
        server_context(locked.cert, locked.key)


def test_a_missing_certificate_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        server_context(tmp_path / "nowhere.pem", tmp_path / "nowhere.pem")


# --- start and stop


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver(Checks())
    receiver.start()
    yield receiver
    receiver.stop()


def test_the_url_says_where_to_send_to(receiver: Receiver) -> None:
    assert receiver.url == f"http://127.0.0.1:{receiver.server_address[1]}/webhook"


def test_stop_frees_the_port(receiver: Receiver) -> None:
    receiver.stop()
    assert receiver.socket.fileno() == -1


def test_stop_ends_connections_that_are_kept_alive(receive: Callable[..., Team]) -> None:
    team = receive()
    with contextlib.closing(connection_to(team)) as connection:
        exchange(connection, signed())
        team.receiver.stop()
        with pytest.raises((http.client.HTTPException, OSError)):
            exchange(connection, signed())


def test_brackets_without_end_are_not_a_message() -> None:
    assert Received(0.0, "/", {}, b"[" * 200_000, (), "").messages == []


# --- memory: anybody may send large bodies


def test_room_is_taken_and_given_back() -> None:
    room = Room(10 * SMALL)
    with room.taken(9 * SMALL) as first, room.taken(2 * SMALL) as second, room.taken(SMALL) as small:
        assert (first, second, small) == (True, False, True)
    with pytest.raises(ValueError, match="x"), room.taken(9 * SMALL):
        raise ValueError("x")
    with room.taken(10 * SMALL) as again:
        assert again


def of_size(size: int, **headers: str) -> Request:
    return Request(Secret(""), headers, b" " * size)


@pytest.mark.parametrize("is_compressed", [False, True])
def test_a_body_for_which_there_is_no_room_is_to_come_again(team: Team, is_compressed: bool) -> None:
    team.receiver.room = Room(2 * SMALL)
    large = of_size(3 * SMALL)
    if is_compressed:
        large = replace(large, body=gzip.compress(large.body), headers={"Content-Encoding": "gzip"})
        assert len(large.body) < SMALL
    with contextlib.closing(connection_to(team)) as connection:
        connection.request("POST", "/webhook", large.body, large.headers)
        reply = connection.getresponse()
        assert (reply.status, reply.headers["Retry-After"]) == (503, str(RETRY_SECONDS))
    assert team.got == []
    assert post(team, of_size(2 * SMALL))[0] == 200
    assert post(team, of_size(2 * SMALL))[0] == 200, "it was given back"


def test_a_slow_sender_of_a_large_body_does_not_keep_out_the_others(team: Team) -> None:
    team.receiver.room = Room(2 * SMALL)
    with contextlib.closing(connection_to(team)) as slow:
        slow.putrequest("POST", "/webhook")
        slow.putheader("Content-Length", str(2 * SMALL))
        slow.endheaders(b" ")
        assert post(team, signed(""))[0] == 200


@pytest.mark.parametrize("sign", [b",", b"[", b"{"])
def test_a_body_with_too_many_values_is_not_read(sign: bytes) -> None:
    def received(body: bytes) -> Received:
        return Received(0.0, "/", {}, body, (), "")

    assert received(b'{"a":"' + sign * (VALUES_MAX - 1) + b'"}').messages
    crowded = received(b'{"a":"' + sign * VALUES_MAX + b'"}')
    assert (crowded.is_crowded, crowded.messages, crowded.message) == (True, [], {})
