"""What a hostile receiver can do, what becomes of it, and that it is over in time and nobody else's matter."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
import tracemalloc
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

import pytest

from sfwebhooks.attempts import Outcome, Reply, Verdict
from sfwebhooks.delivery.dispatcher import Dispatcher
from sfwebhooks.demo.certificates import Authority
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.formats import FORMATS
from sfwebhooks.network.connection import IDLE_SECONDS, LIFE_SECONDS
from sfwebhooks.network.http_reader import REPLY_BYTES
from sfwebhooks.network.sender import Sender
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.reasons import Failure
from sfwebhooks.receive.server import server_context
from sfwebhooks.retry import CAUTIOUS_WAIT, RETRY_AFTER_MAX, judge
from sfwebhooks.signing import Request
from tests.builders import NOW, PATIENCE, a_batch, an_endpoint
from tests.conftest import Clock, Team, put, soon, sql
from tests.hostile import (
    METADATA,
    OK,
    Hostile,
    Way,
    answering,
    answering_early,
    breaking_off,
    closing,
    closing_when_idle,
    dripping,
    dripping_handshake,
    flooding,
    full_queue,
    hanging_up,
    hanging_up_with,
    in_time,
    leaving_when_used_again,
    old_hello,
    refusing,
    reply,
    resetting,
    silent,
    unread,
    zeros,
)
from tests.tiers import quick_first, slow

ONE_STORE = "it is about connections to receivers"

#: seconds for a whole attempt with a receiver that would never end it
TIMEOUT = 0.6
BODY = b'{"a": 1}'
HEAD = b"HTTP/1.1 200 OK\r\n"
BOMB = zeros(1 << 30)


@dataclass(frozen=True)
class Evil:
    """A way to do harm, and what has to become of it."""

    way: Way
    #: a status or a failure
    came: int | Failure
    outcome: Outcome
    #: in the words of the failure, or in the reply's body
    said: str = ""
    #: key in `contexts`
    tls: str = ""
    #: the Verdict's, where it is not simply what came
    reason: str = ""
    format: str = "generic"

    @property
    def endless(self) -> bool:
        """Whether only the deadline ends it; what floods must be over long before."""
        return self.came is Failure.TIMEOUT or self.way.__name__.startswith("drip")


LATE = (Failure.TIMEOUT, Outcome.RETRY)
NO_HTTP = (Failure.PROTOCOL, Outcome.RETRY)
LOST = (Failure.CONNECTION, Outcome.RETRY)
TAKEN = (200, Outcome.DELIVERED)
UNVERIFIED = (Failure.TLS_UNVERIFIED, Outcome.HOLD)
GZIP = HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
OLD = (Failure.TLS, Outcome.RETRY, "PROTOCOL")
EVILS = {
    "refuses": Evil(refusing, *LOST, "Connection refused"),
    "refuses over TLS": Evil(refusing, *LOST, "Connection refused", tls="good"),
    "never answers": Evil(silent, *LATE, "reply"),
    "drips its status line": Evil(dripping(b"HTTP/1.1 200 OKKKKK"), *LATE, "reply"),
    "drips its headers": Evil(dripping(b"X-Slow: aaaa", HEAD), *LATE, "reply"),
    "drips its body": Evil(dripping(b"a", HEAD + b"Content-Length: 5000\r\n\r\n"), *TAKEN),
    "drips a body without a length": Evil(dripping(b"a", HEAD + b"\r\n"), *TAKEN),
    "drips a chunked body": Evil(
        dripping(b"5\r\naaaaa\r\n5\r\na", HEAD + b"Transfer-Encoding: chunked\r\n\r\n"), *TAKEN
    ),
    "drips the length of a chunk": Evil(dripping(b"0", HEAD + b"Transfer-Encoding: chunked\r\n\r\n"), *TAKEN),
    "drips an error": Evil(dripping(b"a", reply(503)[:-4] + b"0\r\n\r\n"), 503, Outcome.RETRY),
    "drips in the TLS handshake": Evil(dripping_handshake, *LATE, "TLS handshake", tls="raw"),
    "never begins the TLS handshake": Evil(silent, *LATE, "TLS handshake", tls="raw"),
    "never answers over TLS": Evil(silent, *LATE, "reply", tls="good"),
    "drips its headers over TLS": Evil(dripping(b"X-Slow: aaaa", HEAD), *LATE, "reply", tls="good"),
    "drips its body over TLS": Evil(dripping(b"a", HEAD + b"\r\n"), *TAKEN, tls="good"),
    "drips interim replies": Evil(dripping(b"HTTP/1.1 102 Processing\r\n\r\n" * 1000), *LATE, "reply"),
    "floods with 100": Evil(flooding(b"HTTP/1.1 100 Continue\r\n\r\n"), *NO_HTTP),
    "floods with 103 with headers": Evil(flooding(b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n"), *NO_HTTP),
    "floods within one interim reply": Evil(flooding(b"X-Many: 1\r\n", b"HTTP/1.1 100 Continue\r\n"), *NO_HTTP),
    "answers after two interim replies": Evil(answering(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 2 + OK), *TAKEN, "ok"),
    "floods with headers": Evil(flooding(b"X-Many: 1\r\n", HEAD), *NO_HTTP),
    "floods with one header": Evil(flooding(b"a" * 4096, HEAD + b"X-Long: "), *NO_HTTP),
    "floods with long headers": Evil(flooding(b"X-Long: " + b"a" * 60_000 + b"\r\n", HEAD), *NO_HTTP, "256 KiB"),
    "floods with a status line": Evil(flooding(b"a" * 4096, b"HTTP/1.1 200 "), *NO_HTTP),
    "floods with a body": Evil(flooding(b"a" * 4096, HEAD + b"\r\n"), *TAKEN, "a" * REPLY_BYTES),
    "floods with chunks": Evil(flooding(b"1\r\na\r\n", HEAD + b"Transfer-Encoding: chunked\r\n\r\n"), *TAKEN, "aaaa"),
    "floods with what belongs to a chunk": Evil(
        flooding(b"1;" + b"a" * 60_000 + b"\r\na\r\n", HEAD + b"Transfer-Encoding: chunked\r\n\r\n"), *TAKEN
    ),
    "floods after the last chunk": Evil(
        flooding(b"X-Many: 1\r\n", HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n"), *TAKEN
    ),
    "floods over TLS": Evil(flooding(b"X-Many: 1\r\n", HEAD), *NO_HTTP, tls="good"),
    "sends a gzip bomb": Evil(flooding(b"", GZIP % len(BOMB) + BOMB), *TAKEN, "\0" * REPLY_BYTES),
    "sends a bomb in chunks": Evil(
        flooding(
            b"1000\r\n" + b"a" * 4096 + b"\r\n",
            HEAD + b"Content-Encoding: deflate\r\nTransfer-Encoding: chunked\r\n\r\n1000\r\n" + BOMB[:4096] + b"\r\n",
        ),
        *TAKEN,
        "\0" * REPLY_BYTES,
    ),
    "sends gzip that unpacks to nothing": Evil(
        flooding(b"\0\0\0\xff\xff", HEAD + b"Content-Encoding: gzip\r\n\r\n" + BOMB[:10]), *TAKEN
    ),
    "says another protocol": Evil(answering(b"SSH-2.0-OpenSSH_9.2\r\n"), *NO_HTTP),
    "says rubbish": Evil(answering(b"\x00\xff\xfe\r\n\r\n"), *NO_HTTP),
    "says a status that is none": Evil(answering(b"HTTP/1.1 2OO OK\r\n\r\n"), *NO_HTTP),
    "says an endless status": Evil(answering(b"HTTP/1.1 " + b"2" * 60_000 + b" OK\r\n\r\n"), *NO_HTTP),
    "closes": Evil(closing, *LOST, "closed without an answer"),
    "resets": Evil(resetting, *LOST, "Connection reset by peer"),
    "closes instead of TLS": Evil(hanging_up, Failure.TLS, Outcome.RETRY, tls="raw"),
    "resets after a status line": Evil(breaking_off(HEAD), *LOST, "Connection reset by peer"),
    "resets after its headers": Evil(breaking_off(HEAD + b"Content-Length: 9\r\n\r\n"), *TAKEN),
    "resets after an error's headers": Evil(
        breaking_off(b"HTTP/1.1 500 No\r\nContent-Length: 9\r\n\r\n"), 500, Outcome.RETRY
    ),
    "redirects to metadata": Evil(answering(reply(302, f"Location: {METADATA}")), 302, Outcome.REFUSED),
    "redirects to itself": Evil(answering(reply(307, "Location: /webhook")), 307, Outcome.REFUSED),
    "redirects for ever": Evil(answering(reply(308, "Location: /webhook", "Retry-After: 0")), 308, Outcome.REFUSED),
    "changes the protocol": Evil(answering(b"HTTP/1.1 101 Upgrade\r\nUpgrade: h2c\r\n\r\n"), 101, Outcome.REFUSED),
    "has a certificate for another name": Evil(silent, *UNVERIFIED, "127.0.0.1", tls="other name"),
    "has an expired certificate": Evil(silent, *UNVERIFIED, "certificate has expired", tls="expired"),
    "has a certificate of an unknown CA": Evil(silent, *UNVERIFIED, "unable to get local issuer", tls="unknown CA"),
    "speaks TLS 1.1": Evil(silent, *OLD, tls="old"),
    "chooses TLS 1.1": Evil(hanging_up_with(old_hello(b"\3\2")), *OLD, tls="raw"),
    "chooses TLS 1.0": Evil(hanging_up_with(old_hello(b"\3\1")), *OLD, tls="raw"),
    "chooses SSL 3.0": Evil(hanging_up_with(old_hello(b"\3\0")), *OLD, tls="raw"),
    "refuses TLS 1.2": Evil(hanging_up_with(b"\x15\3\2\0\2\2\x46"), *OLD, tls="raw"),
    "says 200 with an error inside": Evil(
        answering(reply(200, body=b'{"ok": false, "error": "invalid_payload"}')), *TAKEN, "invalid_payload"
    ),
    "says 200 with an error inside to a format that reads it": Evil(
        answering(reply(200, body=b"invalid_token")),
        200,
        Outcome.HOLD,
        reason="http_200_but_not_ok",
        format="slack",
    ),
}


@pytest.fixture(scope="session")
def contexts(authority: Authority, other_authority: Authority) -> dict[str, ssl.SSLContext | None]:
    """The TLS contexts of hostile receivers; a way behind "raw" does TLS by itself, or not."""

    def context(name: str, issuer: Authority = authority, **values: Any) -> ssl.SSLContext:
        identity = issuer.issue(f"hostile-{name}", **values)
        return server_context(identity.cert, identity.key)

    return {
        "": None,
        "raw": None,
        "good": context("good"),
        "other name": context("other", hosts=["other.example.test"]),
        "expired": context("expired", days=-1),
        "unknown CA": context("unknown", other_authority),
        "old": _only_tls_1_1(context("old")),
    }


def _only_tls_1_1(context: ssl.SSLContext) -> ssl.SSLContext:
    with warnings.catch_warnings(), contextlib.suppress(ValueError, ssl.SSLError):
        warnings.simplefilter("ignore")
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


def speaks_tls_1_1(endpoint: Endpoint) -> bool:
    """Say whether a receiver talks to somebody who is content with that."""
    content = _only_tls_1_1(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    content.check_hostname, content.verify_mode = False, ssl.CERT_NONE
    port = int(endpoint.place.rpartition(":")[2])
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), PATIENCE) as plain:
        return content.wrap_socket(plain).version() == "TLSv1.1"
    return False


@pytest.fixture
def victim(authority: Authority, hostile: Callable[..., Hostile], contexts: dict[str, Any]) -> Callable[..., Endpoint]:
    """Make the endpoint of a receiver that does this harm."""

    def make(evil: Evil, name: str = "team", **values: Any) -> Endpoint:
        url = hostile(evil.way, contexts[evil.tls]).url
        if evil.tls == "raw":
            url = url.replace("http:", "https:")
        defaults = {
            "timeout": _timeout(evil),
            "ca_bundle": authority.cert,
            "format": evil.format,
        }
        return an_endpoint(name, url=url, **{**defaults, **values})

    return make


def _timeout(evil: Evil) -> float:
    if not evil.endless:
        return PATIENCE
    return 2 * TIMEOUT if evil.tls else TIMEOUT  # with time for a handshake on a busy machine


@pytest.fixture
def sender() -> Iterator[Callable[[Endpoint], Sender]]:
    made: list[Sender] = []

    def make(endpoint: Endpoint) -> Sender:
        made.append(Sender(endpoint))
        return made[-1]

    yield make
    for one in made:
        one.close()


def request_for(endpoint: Endpoint, body: bytes = BODY) -> Request:
    return Request(endpoint.url, {"Content-Type": "application/json", "Accept-Encoding": "identity"}, body)


def verdict(endpoint: Endpoint, got: Reply) -> Verdict:
    read = FORMATS[endpoint.format].read
    found = (read and read(got, a_batch())) or judge(got, NOW)
    assert isinstance(found, Verdict)
    return found


# --- each by itself


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=slow) if one.endless and one.tls else name for name, one in EVILS.items()]
)
def test_a_hostile_receiver_is_judged_in_time(
    name: str, victim: Callable[..., Endpoint], sender: Callable[[Endpoint], Sender]
) -> None:
    evil = EVILS[name]
    endpoint = victim(evil)
    if evil.tls == "old" and not speaks_tls_1_1(endpoint):
        pytest.skip("this OpenSSL cannot speak TLS 1.1")
    got = in_time(lambda: sender(endpoint).send(request_for(endpoint)))
    assert (got.failure or got.status, verdict(endpoint, got).outcome) == (evil.came, evil.outcome)
    assert evil.said in (got.detail or got.body.decode("latin-1"))
    assert len(got.body) <= REPLY_BYTES


def test_an_attempt_is_over_in_time_although_nothing_of_the_request_is_taken(
    hostile: Callable[..., Hostile], sender: Callable[[Endpoint], Sender]
) -> None:
    endpoint = an_endpoint(url=hostile(unread).url, timeout=TIMEOUT)
    got = in_time(lambda: sender(endpoint).send(request_for(endpoint, bytes(50_000_000))))
    assert (got.failure, got.detail) == (Failure.TIMEOUT, "no answer in time (taking the request)")


def test_a_receiver_that_does_not_take_connections_is_a_timeout(sender: Callable[[Endpoint], Sender]) -> None:
    with full_queue("127.0.0.1") as port:
        endpoint = an_endpoint(url=f"http://127.0.0.1:{port}/", timeout=TIMEOUT)
        got = in_time(lambda: sender(endpoint).send(request_for(endpoint)))
    assert (got.failure, got.detail) == (Failure.TIMEOUT, "no answer in time (connect)")


# --- a reply without an end, or before its time

#: seconds for an attempt that must be over long before
LONG = 100 * PATIENCE
#: what no buffer on the way holds
LARGE = bytes(30_000_000)
#: how a receiver can leave a reply open
OPEN = {
    "no length": b"\r\nok",
    "a longer body": b"Content-Length: 5000\r\n\r\nok",
    "no last chunk": b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
    "half a chunk": b"Transfer-Encoding: chunked\r\n\r\n9\r\nok",
    "two lengths": b"Content-Length: 2, 3\r\n\r\nok",
}


@pytest.fixture(params=["", "good"], ids=["http", "https"])
def tls(request: pytest.FixtureRequest, contexts: dict[str, ssl.SSLContext | None]) -> ssl.SSLContext | None:
    return contexts[request.param]


@pytest.fixture
def quick_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait a fraction of a second for the end of a reply, not all of it."""
    monkeypatch.setattr("sfwebhooks.network.connection.BODY_SECONDS", 0.25)


@pytest.fixture
def patient_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for a receiver that pauses: a thread of a loaded machine may get no processor for a second."""
    monkeypatch.setattr("sfwebhooks.network.connection.BODY_SECONDS", PATIENCE)


@pytest.mark.usefixtures("quick_end")
@pytest.mark.parametrize("way", OPEN)
@pytest.mark.parametrize("status", quick_first([200, 503]))
def test_a_reply_without_an_end_holds_nobody_for_the_whole_timeout(
    hostile: Callable[..., Hostile],
    sender: Callable[[Endpoint], Sender],
    authority: Authority,
    tls: ssl.SSLContext | None,
    way: str,
    status: int,
) -> None:
    receiver = hostile(answering(b"HTTP/1.1 %d Words\r\n" % status + OPEN[way]), tls)
    endpoint = an_endpoint(url=receiver.url, timeout=LONG, ca_bundle=authority.cert)
    one = sender(endpoint)
    got = [in_time(lambda: one.send(request_for(endpoint))) for _ in range(2)]
    assert [(reply.status, reply.body) for reply in got] == [(status, b"ok")] * 2
    assert receiver.connections == 2, "it was not complete"


@pytest.mark.usefixtures("quick_end")
@pytest.mark.parametrize("status", quick_first([401, 302, 413, 503]))
@pytest.mark.parametrize("body", [b"Content-Length: 2\r\n\r\nno", b"\r\nno"], ids=["complete", "without an end"])
def test_a_refusal_before_the_request_was_read_counts(
    hostile: Callable[..., Hostile],
    sender: Callable[[Endpoint], Sender],
    authority: Authority,
    tls: ssl.SSLContext | None,
    status: int,
    body: bytes,
) -> None:
    receiver = hostile(answering_early(b"HTTP/1.1 %d No\r\n" % status + body), tls)
    endpoint = an_endpoint(url=receiver.url, timeout=LONG, ca_bundle=authority.cert)
    one = sender(endpoint)
    got = [in_time(lambda: one.send(request_for(endpoint, LARGE))) for _ in range(2)]
    assert [(reply.status, reply.body) for reply in got] == [(status, b"no")] * 2
    assert receiver.connections == 2, "half a request is on the first one"


@pytest.mark.usefixtures("patient_end")
def test_a_receiver_that_agrees_before_it_has_read_the_request_gets_all_of_it(
    hostile: Callable[..., Hostile],
    sender: Callable[[Endpoint], Sender],
    authority: Authority,
    tls: ssl.SSLContext | None,
) -> None:
    receiver = hostile(answering_early(OK, reads_on=True), tls)
    endpoint = an_endpoint(url=receiver.url, timeout=LONG, ca_bundle=authority.cert)
    assert in_time(lambda: sender(endpoint).send(request_for(endpoint, LARGE))).status == 200
    assert receiver.ended.acquire(timeout=PATIENCE)
    assert receiver.requests[0].endswith(b"\r\n\r\n" + LARGE)


def test_a_receiver_that_agrees_and_reads_no_further_has_agreed(
    hostile: Callable[..., Hostile],
    sender: Callable[[Endpoint], Sender],
    authority: Authority,
    tls: ssl.SSLContext | None,
) -> None:
    receiver = hostile(answering_early(OK), tls)
    endpoint = an_endpoint(url=receiver.url, timeout=LONG, ca_bundle=authority.cert)
    assert in_time(lambda: sender(endpoint).send(request_for(endpoint, LARGE))).status == 200


def test_an_interim_reply_does_not_end_the_sending(
    hostile: Callable[..., Hostile], sender: Callable[[Endpoint], Sender], tls: ssl.SSLContext | None
) -> None:
    def way(visit: Any) -> None:
        visit.connection.recv(1)
        visit.say(b"HTTP/1.1 100 Continue\r\n\r\n")
        visit.request()
        visit.say(OK)

    receiver = hostile(way, tls)
    endpoint = an_endpoint(url=receiver.url, timeout=LONG, verify_tls=False)
    assert in_time(lambda: sender(endpoint).send(request_for(endpoint, LARGE))).status == 200


def test_what_follows_a_reply_is_not_taken_for_the_next_one(
    hostile: Callable[..., Hostile], sender: Callable[[Endpoint], Sender]
) -> None:
    receiver = hostile(answering(OK + reply(410)))
    endpoint = an_endpoint(url=receiver.url, timeout=PATIENCE)
    one = sender(endpoint)
    statuses = [one.send(request_for(endpoint)).status for _ in range(3)]
    assert (statuses, receiver.connections) == ([200] * 3, 3)


@pytest.mark.skipif(not hasattr(socket, "TCP_CORK"), reason="nothing here sends two TLS records in one piece")
def test_what_follows_a_reply_in_a_tls_record_of_its_own_is_not_taken_for_the_next_one(
    hostile: Callable[..., Hostile],
    sender: Callable[[Endpoint], Sender],
    authority: Authority,
    contexts: dict[str, ssl.SSLContext | None],
) -> None:
    def way(visit: Any) -> None:
        while visit.request():
            visit.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
            visit.say(OK)
            visit.say(reply(410))
            visit.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)

    receiver = hostile(way, contexts["good"])
    endpoint = an_endpoint(url=receiver.url, timeout=PATIENCE, ca_bundle=authority.cert)
    one = sender(endpoint)
    statuses = [one.send(request_for(endpoint)).status for _ in range(3)]
    assert (statuses, receiver.connections) == ([200] * 3, 3)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", ["/elsewhere", "/webhook", METADATA])
def test_a_redirect_is_not_followed_to_anywhere(
    hostile: Callable[..., Hostile], sender: Callable[[Endpoint], Sender], status: int, location: str
) -> None:
    receiver = hostile(answering(reply(status, f"Location: {location}")))
    endpoint = an_endpoint(url=receiver.url)
    got = sender(endpoint).send(request_for(endpoint))
    assert (got.status, len(receiver.requests), receiver.connections) == (status, 1, 1)


@pytest.mark.parametrize(
    "encoding", ["gzip", "x-gzip", "deflate", "gzip, gzip", "gzip, gzip, gzip, gzip", "br", "zstd"]
)
def test_a_bomb_costs_no_memory(
    hostile: Callable[..., Hostile], sender: Callable[[Endpoint], Sender], encoding: str
) -> None:
    bomb = zeros(1 << 30, layers=encoding.count("gzip") or 1)
    receiver = hostile(answering(reply(200, f"Content-Encoding: {encoding}", body=bomb)))
    endpoint = an_endpoint(url=receiver.url, timeout=PATIENCE)
    tracemalloc.start()
    got = in_time(lambda: sender(endpoint).send(request_for(endpoint)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (got.status, len(got.body) <= REPLY_BYTES, peak < 4_000_000) == (200, True, True)


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("0", 0.0),
        ("120", 120.0),
        ("-5", CAUTIOUS_WAIT),
        ("soon", CAUTIOUS_WAIT),
        ("1.5", 2.0),
        ("", CAUTIOUS_WAIT),
        ("5, 7", 7.0),
        ("9" * 60_000, RETRY_AFTER_MAX),
        ("315360000", RETRY_AFTER_MAX),  # ten years
        ("Sat, 21 Nov 2026 09:00:00 GMT", 0.0),  # an hour ago
        ("Sat, 21 Nov 2026 10:10:00 GMT", 600.0),
        ("Sat, 21 Nov 2036 10:00:00 GMT", RETRY_AFTER_MAX),
        ("Saturday, 21-Nov-26 10:10:00 GMT", 600.0),  # RFC 850
        ("Saturday, 21-Nov-26 09:00:00 GMT", 0.0),
        ("Sat Nov 21 10:10:00 2026", 600.0),  # asctime
        ("Sat Nov 21 09:00:00 2026", 0.0),
        ("Sat Nov 21 10:00:00 2036", RETRY_AFTER_MAX),
        ("Sat, 99 Nov 2026 10:00:00 GMT", CAUTIOUS_WAIT),
    ],
)
def test_every_form_of_retry_after_gives_a_wait_within_an_hour(
    hostile: Callable[..., Hostile], sender: Callable[[Endpoint], Sender], header: str, wait: float | None
) -> None:
    receiver = hostile(answering(reply(429, f"Retry-After: {header}")))
    endpoint = an_endpoint(url=receiver.url)
    found = judge(sender(endpoint).send(request_for(endpoint)), NOW)
    assert (found.outcome, found.wait) == (Outcome.RETRY, wait)


@pytest.mark.parametrize(
    ("header", "body", "wait"),
    [
        ("Retry-After: 1", b'{"message": "slow down", "retry_after": 64.57, "global": false}', 64.57),
        ("Retry-After: 120", b'{"retry_after": 64.57}', 120.0),
        ("X-RateLimit-Global: true", b'{"retry_after": 1e999}', RETRY_AFTER_MAX),
        ("Retry-After: soon", b'{"retry_after": -1}', CAUTIOUS_WAIT),
        ("Retry-After: 1", b"[" * REPLY_BYTES, 1.0),
        ("Retry-After: 1", b'{"retry_after": ' + b"9" * REPLY_BYTES, 1.0),  # cut off
        ("Content-Encoding: gzip", BOMB, None),
    ],
    ids=["body", "header", "infinite", "neither", "deep", "endless", "bomb"],
)
def test_a_wait_in_the_body_is_harmless_too(
    hostile: Callable[..., Hostile],
    sender: Callable[[Endpoint], Sender],
    header: str,
    body: bytes,
    wait: float | None,
) -> None:
    receiver = hostile(answering(reply(429, header, body=body)))
    endpoint = an_endpoint(url=receiver.url, timeout=PATIENCE)
    found = judge(sender(endpoint).send(request_for(endpoint)), NOW)
    assert (found.outcome, found.wait) == (Outcome.RETRY, wait)


# --- kept connections


@pytest.mark.parametrize("seconds", [IDLE_SECONDS - 1, IDLE_SECONDS + 1])
def test_a_connection_that_was_idle_for_a_minute_is_not_used_again(
    hostile: Callable[..., Hostile], seconds: float
) -> None:
    receiver, clock = hostile(answering(OK)), Clock()
    endpoint = an_endpoint(url=receiver.url, timeout=PATIENCE)
    one = Sender(endpoint, monotonic=clock)
    for _ in range(3):
        assert one.send(request_for(endpoint)).status == 200
        clock.now += seconds
    one.close()
    assert receiver.connections == (1 if seconds < IDLE_SECONDS else 3)


def test_a_connection_in_use_ends_after_two_minutes(hostile: Callable[..., Hostile]) -> None:
    receiver, clock = hostile(answering(OK)), Clock()
    endpoint = an_endpoint(url=receiver.url, timeout=PATIENCE)
    one = Sender(endpoint, monotonic=clock)
    for _ in range(int(LIFE_SECONDS) // 10 * 2):  # one every ten seconds, for twice as long
        assert one.send(request_for(endpoint)).status == 200
        clock.now += 10.0
    one.close()
    assert receiver.connections == 2


def test_the_deadline_of_an_attempt_does_not_end_its_connection(
    hostile: Callable[..., Hostile],
    sender: Callable[[Endpoint], Sender],
    authority: Authority,
    tls: ssl.SSLContext | None,
) -> None:
    receiver = hostile(answering(OK), tls)
    endpoint = an_endpoint(url=receiver.url, timeout=1.0, ca_bundle=authority.cert)
    one = sender(endpoint)
    statuses = [one.send(request_for(endpoint)).status for _ in range(3)]
    threading.Event().wait(1.0)  # all three attempts would be over by now
    statuses.append(one.send(request_for(endpoint)).status)
    assert (statuses, receiver.connections) == ([200] * 4, 1)


def test_a_connection_that_was_closed_while_idle_is_opened_again(
    hostile: Callable[..., Hostile],
    sender: Callable[[Endpoint], Sender],
    authority: Authority,
    tls: ssl.SSLContext | None,
) -> None:
    receiver = hostile(closing_when_idle, tls)
    endpoint = an_endpoint(url=receiver.url, timeout=PATIENCE, ca_bundle=authority.cert)
    one, statuses = sender(endpoint), []
    for _ in range(3):
        statuses.append(one.send(request_for(endpoint)).status)
        assert receiver.ended.acquire(timeout=PATIENCE)
    assert (statuses, receiver.connections, len(receiver.requests)) == ([200] * 3, 3, 3)


def test_a_message_on_a_connection_that_is_just_closed_is_repeated_at_once(
    hostile: Callable[..., Hostile],
    sender: Callable[[Endpoint], Sender],
    authority: Authority,
    tls: ssl.SSLContext | None,
) -> None:
    receiver = hostile(leaving_when_used_again(), tls)
    endpoint = an_endpoint(url=receiver.url, timeout=PATIENCE, ca_bundle=authority.cert)
    one = sender(endpoint)
    statuses = [one.send(request_for(endpoint)).status for _ in range(2)]
    assert (statuses, receiver.connections, len(receiver.requests)) == ([200, 200], 2, 2)


def test_a_message_that_was_begun_to_be_answered_is_not_repeated(
    hostile: Callable[..., Hostile], sender: Callable[[Endpoint], Sender]
) -> None:
    receiver = hostile(leaving_when_used_again(b"HTTP/1.1 5"))
    endpoint = an_endpoint(url=receiver.url, timeout=PATIENCE)
    one = sender(endpoint)
    one.send(request_for(endpoint))
    assert (one.send(request_for(endpoint)).failure is not None, receiver.connections) == (True, 1)


def test_a_message_that_a_new_connection_lost_is_not_repeated(
    hostile: Callable[..., Hostile], sender: Callable[[Endpoint], Sender]
) -> None:
    receiver = hostile(closing)
    endpoint = an_endpoint(url=receiver.url, timeout=PATIENCE)
    assert sender(endpoint).send(request_for(endpoint)).failure is Failure.CONNECTION
    assert receiver.connections == 1


def test_a_receiver_that_left_for_good_is_a_failed_connection(
    hostile: Callable[..., Hostile], sender: Callable[[Endpoint], Sender]
) -> None:
    receiver = hostile(leaving_when_used_again())
    endpoint = an_endpoint(url=receiver.url, timeout=PATIENCE)
    one = sender(endpoint)
    one.send(request_for(endpoint))
    receiver.stop_listening()
    assert one.send(request_for(endpoint)).failure is Failure.CONNECTION


def test_an_attempt_that_hangs_takes_no_time_from_the_others(
    hostile: Callable[..., Hostile], sender: Callable[[Endpoint], Sender]
) -> None:
    def way(visit: Any) -> None:
        (silent if not visit.number else answering(OK))(visit)

    receiver = hostile(way)
    endpoint = an_endpoint(url=receiver.url, timeout=1.0)
    one, slow = sender(endpoint), []
    thread = threading.Thread(target=lambda: slow.append(one.send(request_for(endpoint)).failure))
    thread.start()
    while not receiver.connections:
        time.sleep(0.001)
    statuses = [one.send(request_for(endpoint)).status for _ in range(20)]
    thread.join(PATIENCE)
    assert (statuses, slow) == ([200] * 20, [Failure.TIMEOUT])


# --- side by side


def reasons(outbox: Outbox) -> dict[str, str]:
    """Return how the first attempt of each endpoint's delivery went."""
    rows = sql(
        outbox,
        "SELECT d.endpoint, a.reason FROM delivery_attempt a JOIN delivery d ON d.number = a.number ORDER BY a.at",
    )
    return dict(reversed(rows))


def test_others_get_theirs_with_all_hostile_receivers_at_once(
    outbox: Outbox,
    receive: Callable[..., Team],
    victim: Callable[..., Endpoint],
    dispatch: Callable[..., Dispatcher],
    tmp_path: Path,
) -> None:
    names = {f"evil-{number}": evil for number, evil in enumerate(EVILS.values())}
    good = receive()
    hostile_ones = [victim(evil, name, concurrency=2) for name, evil in names.items()]
    endpoints = [*hostile_ones, an_endpoint("good", url=good.url)]
    put(outbox, *hostile_ones, events=2)  # as many as can be in flight
    put(outbox, endpoints[-1], events=100)
    dispatch(*endpoints).wake()
    good.wait_for(100)
    until = soon()
    while len(found := reasons(outbox)) < len(endpoints) and time.monotonic() < until:
        time.sleep(0.05)
    expected = {name: evil.reason or reason_of(evil.came) for name, evil in names.items()}
    assert found == {**expected, "good": "http_200"}


def reason_of(came: int | Failure) -> str:
    return came.value if isinstance(came, Failure) else f"http_{came}"
