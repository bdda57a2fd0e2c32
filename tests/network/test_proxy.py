from __future__ import annotations

import logging
import ssl
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Callable

import pytest

from sfwebhooks.attempts import Outcome, Reply, Verdict
from sfwebhooks.config.settings import load_mapping
from sfwebhooks.demo.certificates import Authority, Identity
from sfwebhooks.endpoints import Endpoint, Secret
from sfwebhooks.network.proxy import Proxy, proxy_url
from sfwebhooks.network.sender import Sender
from sfwebhooks.own_secrets import Mask
from sfwebhooks.pipeline import excerpt
from sfwebhooks.reasons import Failure
from sfwebhooks.receive.server import server_context
from sfwebhooks.retry import judge
from sfwebhooks.signing import Request
from tests.builders import NOW, PATIENCE, an_endpoint
from tests.conftest import Team
from tests.hostile import (
    Hostile,
    Way,
    answering,
    closing,
    dripping,
    dripping_handshake,
    flooding,
    hanging_up,
    hanging_up_with,
    in_time,
    resetting,
    silent,
)
from tests.leaks import leaks
from tests.middlemen import Middleman, SocksMiddleman

TOKEN = "path-token-of-a-receiver"
#: seconds for a whole attempt that something on the way would never end
TIMEOUT = 0.3
#: with what a URL has to encode, and what Latin-1 has not
CREDENTIALS = "scän:p@ss/w€rd:2"
ENCODED = "sc%C3%A4n:p%40ss%2Fw%E2%82%ACrd%3A2"
Receive = Callable[..., Team]
Send = Callable[..., Reply]


class Kinds:
    """Makes proxies of each kind, and the way an endpoint names them."""

    def __init__(self, https: ssl.SSLContext, authority: Authority) -> None:
        self.authority = authority
        self._https = https
        self._made: list[Middleman] = []

    def make(self, kind: str, **values: Any) -> Middleman:
        tls = self._https if kind == "https" else None
        self._made.append((SocksMiddleman if kind == "socks5h" else Middleman)(tls, **values))
        return self._made[-1]

    def close(self) -> None:
        for one in self._made:
            one.close()


@pytest.fixture
def kinds(https: ssl.SSLContext, authority: Authority) -> Iterator[Kinds]:
    kinds = Kinds(https, authority)
    yield kinds
    kinds.close()


@pytest.fixture
def send(authority: Authority) -> Iterator[Callable[..., Reply]]:
    """Make an attempt: `send(url, proxy, ...)`; the same endpoint twice goes over the same connections."""
    senders: dict[str, Sender] = {}

    def attempt(url: str, proxy: str, **values: Any) -> Reply:
        defaults = {"timeout": PATIENCE, "ca_bundle": authority.cert, "proxy": Secret(proxy)}
        endpoint = an_endpoint(url=url, **{**defaults, **values})
        sender = senders.setdefault(endpoint.fingerprint, Sender(endpoint))
        return sender.send(request_for(endpoint))

    yield attempt
    for one in senders.values():
        one.close()


def request_for(endpoint: Endpoint) -> Request:
    return Request(
        endpoint.url, {"Content-Type": "application/json", "Authorization": "Bearer for-the-receiver"}, b"{}"
    )


# --- the way through

KINDS = ["http", "https", "socks5h"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_deliveries_go_through_the_proxy_over_one_connection(
    kinds: Kinds, receive: Receive, send: Send, https: ssl.SSLContext, kind: str, scheme: str
) -> None:
    team, middleman = receive(tls=https if scheme == "https" else None), kinds.make(kind)
    replies = [send(team.url + "?a=%2f", middleman.url) for _ in range(3)]
    assert [(reply.status, reply.detail) for reply in replies] == [(200, "")] * 3
    # our proxy rewrites only the first request of a connection
    assert [received.path.partition("/webhook")[2] for received in team.got] == ["?a=%2f"] * 3
    assert middleman.goals == [("127.0.0.1", team.receiver.server_address[1])]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_user_name_and_password_go_to_the_proxy_only(
    kinds: Kinds, receive: Receive, send: Send, https: ssl.SSLContext, kind: str, scheme: str
) -> None:
    team, middleman = receive(tls=https if scheme == "https" else None), kinds.make(kind, credentials=CREDENTIALS)
    assert send(team.url, middleman.url.replace("//", f"//{ENCODED}@")).status == 200
    if (
        scheme == "https" or kind == "socks5h"
    ):  # a proxy that forwards takes the header out, ours is too simple for that
        assert "Proxy-Authorization" not in team.got[0].headers


@pytest.mark.parametrize("kind", KINDS)
def test_the_proxy_looks_the_name_up(
    kinds: Kinds, receive: Receive, send: Send, authority: Authority, kind: str
) -> None:
    identity = authority.issue("named", hosts=["receiver.test"])
    team, middleman = receive(tls=server_context(identity.cert, identity.key)), kinds.make(kind)
    assert send(team.url.replace("127.0.0.1", "receiver.test"), middleman.url).status == 200
    assert middleman.goals[0][0] == "receiver.test"


@pytest.mark.parametrize("kind", KINDS)
def test_the_receiver_is_verified_through_the_proxy(
    kinds: Kinds, receive: Receive, send: Send, other_authority: Authority, kind: str
) -> None:
    identity = other_authority.issue("impostor")
    team, middleman = receive(tls=server_context(identity.cert, identity.key)), kinds.make(kind)
    reply = send(team.url, middleman.url)
    assert (reply.failure, reply.detail) == (Failure.TLS_UNVERIFIED, "unable to get local issuer certificate")
    assert team.got == []


@pytest.mark.parametrize("kind", KINDS)
def test_the_receiver_sees_our_certificate_through_the_proxy(
    kinds: Kinds, receive: Receive, send: Send, mtls: ssl.SSLContext, client_identity: Identity, kind: str
) -> None:
    team, middleman = receive(tls=mtls), kinds.make(kind)
    send(team.url, middleman.url, client_cert=client_identity.cert, client_key=client_identity.key)
    assert [received.client for received in team.got] == ["spiderfoot"]


def test_nothing_of_a_message_is_seen_by_a_proxy_that_tunnels(
    kinds: Kinds, receive: Receive, send: Send, https: ssl.SSLContext
) -> None:
    middleman = kinds.make("http")
    send(receive(tls=https).url.replace("/webhook", f"/{TOKEN}"), middleman.url)
    assert (b"for-the-receiver" in middleman.heads[0], TOKEN.encode() in middleman.heads[0]) == (False, False)


def test_a_request_that_is_forwarded_has_the_whole_url_and_the_receivers_host(
    kinds: Kinds, receive: Receive, send: Send
) -> None:
    team, middleman = receive(), kinds.make("http")
    send(team.url + "?a=%2f", middleman.url)
    port = team.receiver.server_address[1]
    lines = middleman.heads[0].decode().split("\r\n")
    assert lines[0] == f"POST http://127.0.0.1:{port}/webhook?a=%2f HTTP/1.1"
    assert f"Host: 127.0.0.1:{port}" in lines


# --- a proxy that is verified


def test_a_proxy_over_tls_is_verified(
    receive: Receive, send: Send, https: ssl.SSLContext, other_authority: Authority
) -> None:
    identity = other_authority.issue("impostor-proxy")
    middleman, team = Middleman(server_context(identity.cert, identity.key)), receive(tls=https)
    reply = send(team.url, middleman.url)
    middleman.close()
    assert (reply.failure, team.got) == (Failure.TLS_UNVERIFIED, [])
    assert reply.detail == "the proxy: unable to get local issuer certificate"


def test_a_proxy_over_tls_is_not_verified_by_its_common_name(
    receive: Receive, send: Send, authority: Authority
) -> None:
    nameless = authority.issue("localhost", hosts=["127.0.0.2"])
    middleman, team = Middleman(server_context(nameless.cert, nameless.key)), receive()
    reply = send(team.url, middleman.url.replace("127.0.0.1", "localhost"))
    middleman.close()
    assert (reply.failure, middleman.heads, team.got) == (Failure.TLS_UNVERIFIED, [], [])


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_over_tls_is_verified_even_where_the_receiver_is_not(
    receive: Receive, send: Send, https: ssl.SSLContext, other_authority: Authority, scheme: str
) -> None:
    identity = other_authority.issue("impostor-proxy")
    middleman = Middleman(server_context(identity.cert, identity.key))
    team = receive(tls=https if scheme == "https" else None)
    reply = send(team.url, middleman.url, verify_tls=False)
    middleman.close()
    assert (reply.failure, middleman.heads, team.got) == (Failure.TLS_UNVERIFIED, [], [])


def test_a_proxy_never_sees_our_certificate(
    receive: Receive, send: Send, https: ssl.SSLContext, mtls: ssl.SSLContext, client_identity: Identity
) -> None:
    middleman, team = Middleman(mtls), receive(tls=https)
    reply = send(team.url, middleman.url, client_cert=client_identity.cert, client_key=client_identity.key)
    middleman.close()
    assert (reply.failure, middleman.heads) == (Failure.PROXY, [])


# --- a proxy that does not let us through


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("given", ["", "somebody:else@"])
def test_a_proxy_that_wants_other_credentials_holds_the_endpoint(
    kinds: Kinds, receive: Receive, send: Send, https: ssl.SSLContext, kind: str, given: str
) -> None:
    team, middleman = receive(tls=https), kinds.make(kind, credentials="known:password")
    reply = send(team.url, middleman.url.replace("//", f"//{given}"))
    assert (reply.failure, judge(reply, NOW).outcome, team.got) == (Failure.PROXY_REFUSED, Outcome.HOLD, [])
    assert "USER:PASSWORD@HOST" in reply.detail


def test_a_proxy_that_forwards_and_wants_other_credentials_holds_the_endpoint(
    kinds: Kinds, receive: Receive, send: Send
) -> None:
    reply = send(receive().url, kinds.make("http", credentials="known:password").url)
    assert (reply.failure, judge(reply, NOW).outcome) == (Failure.PROXY_REFUSED, Outcome.HOLD)
    assert "USER:PASSWORD@HOST" in reply.detail


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    ("headers", "words"),
    [
        (("Proxy-Authenticate: NTLM",), "requires NTLM authentication"),
        (("Proxy-Authenticate: Negotiate", "Proxy-Authenticate: NTLM"), "requires Negotiate or NTLM authentication"),
        (("Proxy-Authenticate: Negotiate,NTLM",), "requires Negotiate or NTLM authentication"),
        (('Proxy-Authenticate: Digest realm="a, b", nonce="c", qop="auth"',), "requires Digest authentication"),
        (("Proxy-Authenticate: NTLM", 'Proxy-Authenticate: BASIC realm="x"'), "USER:PASSWORD@HOST"),
        ((), "USER:PASSWORD@HOST"),
    ],
)
def test_a_proxy_that_wants_more_than_a_password_is_reported_as_that(
    kinds: Kinds, send: Send, scheme: str, headers: tuple[str, ...], words: str
) -> None:
    middleman = kinds.make("http", refusal="407 Who", headers=headers)
    reply = send(f"{scheme}://receiver.test/{TOKEN}", middleman.url)
    assert (reply.failure, judge(reply, NOW).outcome) == (Failure.PROXY_REFUSED, Outcome.HOLD)
    assert words in reply.detail
    assert ("USER:PASSWORD" in reply.detail) == ("USER:PASSWORD" in words)


@pytest.mark.parametrize("refusal", ["403 Not there", "502 Bad Gateway", "503 Busy", "504 Late", "200OK"])
def test_a_proxy_that_does_not_connect_is_a_failed_proxy(
    kinds: Kinds, receive: Receive, send: Send, https: ssl.SSLContext, refusal: str
) -> None:
    reply = send(receive(tls=https).url, kinds.make("http", refusal=refusal).url)
    assert (reply.failure, judge(reply, NOW).outcome) == (Failure.PROXY, Outcome.RETRY)
    assert refusal in reply.detail or "no status line of HTTP" in reply.detail


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_retry_after_of_a_proxy_is_obeyed(kinds: Kinds, send: Send, scheme: str) -> None:
    middleman = kinds.make("http", refusal="503 Busy", headers=("Retry-After: 120", "Server: squid"))
    verdict = judge(send(f"{scheme}://receiver.test/", middleman.url), NOW)
    assert verdict == Verdict(Outcome.RETRY, "proxy_failed", 120.0)


#: how the page of a proxy begins, and where its title is
PAGE = "<!DOCTYPE html PUBLIC>\n<html><head>\n<meta charset=utf-8>\n<TITLE>ERROR: &lt;that&gt;</TITLE></head>"


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    ("refusal", "headers", "page", "failure"),
    [
        ("400 Bad Request", ("X-Squid-Error: ERR_INVALID_URL 0",), PAGE, Failure.PROXY),
        ("403 Forbidden", ("X-Squid-Error: ERR_ACCESS_DENIED 0",), PAGE, Failure.PROXY),
        ("503 Service Unavailable", ("X-Squid-Error: ERR_CONNECT_FAIL 111",), PAGE, Failure.CONNECTION),
        ("503 Service Unavailable", ("X-Squid-Error: ERR_DNS_FAIL 0",), PAGE, Failure.DNS),
        ("504 Gateway Timeout", ("X-Squid-Error: ERR_READ_TIMEOUT 0",), PAGE, Failure.TIMEOUT),
        ("502 Bad Gateway", ("Proxy-Status: lab; error=connection_refused",), "", Failure.CONNECTION),
        ("502 Bad Gateway", ('Proxy-Status: "a, b"; error="dns_error"; rcode=NXDOMAIN',), "", Failure.DNS),
        ("500 Oops", ("Proxy-Status: lab; error=proxy_internal_error",), "", Failure.PROXY),
        ("403 No", ("Server: squid/5.7", "Via: 1.1 lab (squid/5.7)"), PAGE, Failure.PROXY),
        ("503 No", ("Server: Own-Proxy/1", "Via: 1.0 other, 1.1 lab (Own-Proxy/1)"), "", Failure.PROXY),
        ("500 Unable to connect", ("Server: tinyproxy/1.11.0",), "", Failure.PROXY),
        ("403 No", ('Proxy-Authenticate: Basic realm="x"',), "", Failure.PROXY),
        ("503 Service Unavailable", ("Server: mitmproxy",), "Connection refused", Failure.CONNECTION),
        ("502 Bad Gateway", ("Server: tinyproxy",), "<html><title>Host not found</title>", Failure.CONNECTION),
        ("502 Could not resolve it", ("Server: tinyproxy",), "", Failure.CONNECTION),
        ("307 Login", ("X-Squid-Error: 403 Access Denied", "Location: http://login.test/"), "", Failure.PROXY),
    ],
)
def test_a_proxys_own_page_is_the_proxys_failure_or_what_it_says_of_the_receiver(
    kinds: Kinds, send: Send, scheme: str, refusal: str, headers: tuple[str, ...], page: str, failure: Failure
) -> None:
    middleman = kinds.make("http", refusal=refusal, headers=headers, page=page)
    reply = send(f"{scheme}://receiver.test/{TOKEN}", middleman.url)
    assert (reply.status, reply.failure, judge(reply, NOW).outcome) == (None, failure, Outcome.RETRY)
    assert reply.detail.startswith("the proxy")
    assert refusal in reply.detail
    assert "ERROR: <that>" in reply.detail if page is PAGE else "<html>" not in reply.detail


@pytest.mark.parametrize(
    "headers",
    [
        ("Via: 1.1 lab (squid/5.7)", "Server: nginx/1.22"),
        ("Via: 1.1 lab (squid/5.7)", "X-Cache: MISS from lab"),
        ("Proxy-Status: lab; received-status=400", "Server: Apache"),
        ("Via: 1.1 front (Apache/2.4), 1.1 lab (squid/5.7)", "Server: Apache/2.4"),
    ],
)
def test_a_reply_that_a_proxy_passes_on_is_the_receivers(kinds: Kinds, send: Send, headers: tuple[str, ...]) -> None:
    middleman = kinds.make("http", refusal="400 Bad Request", headers=headers, page="no")
    reply = send("http://receiver.test/", middleman.url)
    assert (reply.status, reply.failure, reply.body) == (400, None, b"no")


def test_a_receiver_behind_a_tunnel_may_be_a_squid_itself(
    hostile: Callable[..., Hostile], kinds: Kinds, send: Send, https: ssl.SSLContext
) -> None:
    answer = b"HTTP/1.1 400 No\r\nX-Squid-Error: ERR_INVALID_REQ 0\r\nContent-Length: 0\r\n\r\n"
    assert send(hostile(answering(answer), https).url, kinds.make("http").url).status == 400


@pytest.mark.parametrize(("refusal", "words"), [("2", "not allowed by ruleset"), ("1", "general"), ("99", "unknown")])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_socks_proxy_that_does_not_connect_is_a_failed_proxy(
    kinds: Kinds, receive: Receive, send: Send, https: ssl.SSLContext, refusal: str, words: str, scheme: str
) -> None:
    team = receive(tls=https if scheme == "https" else None)
    reply = send(team.url, kinds.make("socks5h", refusal=refusal).url)
    assert (reply.failure, words in reply.detail) == (Failure.PROXY, True)


@pytest.mark.parametrize(
    ("refusal", "words"),
    [("3", "network unreachable"), ("4", "host unreachable"), ("5", "connection refused"), ("6", "TTL expired")],
)
def test_a_receiver_that_a_socks_proxy_does_not_reach_is_a_failed_connection(
    kinds: Kinds, send: Send, refusal: str, words: str
) -> None:
    reply = send("https://receiver.test/", kinds.make("socks5h", refusal=refusal).url)
    assert (reply.failure, judge(reply, NOW).outcome) == (Failure.CONNECTION, Outcome.RETRY)
    assert reply.detail == f"the proxy did not reach the receiver: {words}"


@pytest.mark.parametrize("host", ["127.0.0.1", "receiver.test"])
def test_a_socks_proxy_is_given_addresses_as_such_and_names_to_look_up(
    kinds: Kinds, receive: Receive, send: Send, host: str
) -> None:
    team, middleman = receive(), kinds.make("socks5h")
    assert send(team.url.replace("127.0.0.1", host), middleman.url).status == 200
    assert middleman.goals == [(host, team.receiver.server_address[1])]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("host", ["a" * 70 + ".test", "a..test", "a." * 130 + "test"])
def test_a_name_that_no_host_can_have_is_not_asked_of_a_proxy(kinds: Kinds, send: Send, kind: str, host: str) -> None:
    middleman = kinds.make(kind)
    reply = send(f"https://{host}/", middleman.url)
    assert (reply.failure, reply.detail) == (Failure.DNS, "no host can have this name")
    assert (middleman.goals, middleman.heads) == ([], [])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_is_not_there_is_a_failed_proxy(
    kinds: Kinds, receive: Receive, send: Send, kind: str, scheme: str
) -> None:
    url, middleman = receive().url, kinds.make(kind)
    middleman.close()  # after the receiver got its port: it would get this one
    reply = send(url.replace("http:", f"{scheme}:"), middleman.url)
    assert (reply.failure, "refused" in reply.detail) == (Failure.PROXY, True)


@pytest.mark.parametrize("kind", KINDS)
def test_a_proxy_whose_name_is_not_known_is_a_failed_proxy(send: Send, kind: str) -> None:
    assert send("https://receiver.test/", f"{kind}://proxy.invalid:3128").failure is Failure.PROXY


HARMS: dict[str, Way] = {
    "silent": silent,
    "dripping": dripping(b"HTTP/1.1 200 aaaa"),
    "dripping headers": dripping(b"X-Slow: aaaa", b"HTTP/1.1 200 OK\r\n"),
    "flooding": flooding(b"X-Many: 1\r\n", b"HTTP/1.1 200 OK\r\n"),
    "flooding with interim replies": flooding(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "rubbish": answering(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "closing": closing,
    "resetting": resetting,
}


@pytest.mark.parametrize("harm", HARMS)
def test_a_hostile_proxy_is_a_failed_proxy_in_time(hostile: Callable[..., Hostile], send: Send, harm: str) -> None:
    proxy = hostile(HARMS[harm]).url.removesuffix("/webhook")
    reply = in_time(lambda: send("https://receiver.test/", proxy, timeout=TIMEOUT))
    assert reply.failure is Failure.PROXY


def slow_socks(visit: Any) -> None:
    visit.connection.recv(3)
    visit.drip(b"\x05\x00\x05\x00\x00\x03\xff" + b"a" * 300)


@pytest.mark.parametrize("way", [silent, slow_socks, dripping_handshake], ids=["silent", "dripping", "rubbish"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_hostile_socks_proxy_is_a_failed_proxy_in_time(
    hostile: Callable[..., Hostile], send: Send, way: Way, scheme: str
) -> None:
    proxy = f"socks5h://127.0.0.1:{hostile(way).port}"
    reply = in_time(lambda: send(f"{scheme}://receiver.test/", proxy, timeout=TIMEOUT))
    assert reply.failure is Failure.PROXY


def test_a_hostile_proxy_over_tls_is_a_failed_proxy_in_time(
    hostile: Callable[..., Hostile], send: Send, https: ssl.SSLContext
) -> None:
    for harm in (hostile(silent, https), hostile(dripping_handshake)):
        proxy = f"https://127.0.0.1:{harm.port}"
        reply = in_time(partial(send, "https://receiver.test/", proxy, timeout=TIMEOUT))
        assert reply.failure is Failure.PROXY


@pytest.mark.parametrize(("kind", "way"), [*((kind, silent) for kind in KINDS), ("http", dripping_handshake)])
def test_a_hostile_receiver_behind_a_proxy_is_over_in_time(
    hostile: Callable[..., Hostile], kinds: Kinds, send: Send, https: ssl.SSLContext, kind: str, way: Way
) -> None:
    receiver = hostile(way, None if way is dripping_handshake else https)
    reply = in_time(lambda: send(receiver.url.replace("http:", "https:"), kinds.make(kind).url, timeout=0.8))
    assert reply.failure is Failure.TIMEOUT, reply.detail


# --- the network policy


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("host", ["169.254.169.254", "0xa9fea9fe", "[fd00:ec2::254]", "100.100.100.200"])
def test_an_address_that_is_never_allowed_is_not_asked_of_a_proxy(
    kinds: Kinds, send: Send, kind: str, host: str
) -> None:
    middleman = kinds.make(kind)
    assert send(f"http://{host}/", middleman.url).failure is Failure.ADDRESS
    assert (middleman.heads, middleman.goals) == ([], [])


@pytest.mark.parametrize("kind", KINDS)
def test_a_private_address_is_not_asked_of_a_proxy_without_allow_private(
    kinds: Kinds, receive: Receive, send: Send, kind: str
) -> None:
    reply = send(receive().url, kinds.make(kind).url, allow_private=False)
    assert reply.failure is Failure.ADDRESS


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_is_left_to_the_proxy_which_may_be_private_itself(
    kinds: Kinds, receive: Receive, send: Send, kind: str
) -> None:
    url = receive().url.replace("127.0.0.1", "receiver.test")
    assert send(url, kinds.make(kind).url, allow_private=False).status == 200


def test_a_proxy_is_never_at_a_link_local_address(send: Send) -> None:
    assert send("https://receiver.test/", "http://169.254.1.1:3128").failure is Failure.ADDRESS


# --- only the endpoint's own choice


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"])
def test_the_environment_has_no_say(
    kinds: Kinds, receive: Receive, send: Send, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "*" if "no" in name.lower() else "http://127.0.0.1:9")
    middleman = kinds.make("http")
    assert (send(receive().url, middleman.url).status, len(middleman.heads)) == (200, 1)


# --- the option


@pytest.mark.parametrize(
    "text",
    [
        "http://proxy.example",
        "http://proxy.example:3128",
        "http://proxy.example:3128/",
        "https://user:pass@proxy.example",
        "socks5h://[::1]:1080",
        f"http://{ENCODED}@10.0.0.1:8080",
    ],
)
def test_a_proxy_is_taken(text: str) -> None:
    assert proxy_url(text).reveal() == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "proxy.example:3128",
        "ftp://proxy.example",
        "socks5://proxy.example",
        "socks4://proxy.example",
        "http://",
        "http://:3128",
        "http://proxy.example:0",
        "http://proxy.example:99999",
        "http://proxy.example/path",
        "http://proxy.example?query",
        "http://proxy.example#fragment",
        "http://pröxy.example",
        "http://proxy.example\r\nX: y",
        "http://user:pass word@proxy.example",
    ],
)
def test_a_malformed_proxy_is_not_accepted(text: str) -> None:
    with pytest.raises(ValueError, match="expected http://") as caught:
        proxy_url(text)
    assert "user" not in str(caught.value)


def test_a_login_that_socks_cannot_carry_is_not_taken() -> None:
    assert proxy_url("http://user:" + "x" * 256 + "@proxy.example")
    with pytest.raises(ValueError, match="at most 255 bytes"):
        proxy_url("socks5h://user:" + "x" * 256 + "@proxy.example")


def test_proxy_and_allow_private_are_read_from_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "proxy").write_text("http://user:pass-4711@proxy.example:3128\n")
    found = load_mapping(
        {"proxy": "file:proxy", "allow_private": "no", "team": {"url": "https://receiver.example/"}}, folder=tmp_path
    )
    assert found.mistakes == ()
    endpoint = found.endpoints[0]
    assert endpoint.proxy and Proxy.of(endpoint.proxy) == Proxy("http", "proxy.example", 3128, "user", "pass-4711")
    assert endpoint.allow_private is False


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("http://user:secret@proxy.example", "http://proxy.example:80"),
        ("https://proxy.example", "https://proxy.example:443"),
        ("socks5h://proxy.example", "socks5h://proxy.example:1080"),
        ("http://[::1]:3128", "http://[::1]:3128"),
    ],
)
def test_the_place_of_a_proxy_shows_no_secret(url: str, place: str) -> None:
    proxy = Proxy.of(Secret(url))
    assert (proxy.place, "secret" in repr(proxy)) == (place, False)


# --- secrets

PASSWORD = "p4ss-w0rd/of+the=proxy"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("harm", ["refused", "closed", "wrong password", "silent", "rubbish", "unverified"])
def test_no_failure_of_a_proxy_shows_a_secret(
    hostile: Callable[..., Hostile],
    kinds: Kinds,
    send: Send,
    other_authority: Authority,
    caplog: pytest.LogCaptureFixture,
    kind: str,
    scheme: str,
    harm: str,
) -> None:
    ways: dict[str, Way] = {"silent": silent, "closed": hanging_up, "rubbish": hanging_up_with(b"rubbish\r\n\r\n")}
    middleman = kinds.make(kind, credentials="known:other")
    port = hostile(ways[harm]).port if harm in ways else middleman.port
    if harm == "refused":
        middleman.close()
    values = {"ca_bundle": other_authority.cert} if harm == "unverified" else {}
    proxy = f"{kind}://user:{PASSWORD.replace('/', '%2F')}@127.0.0.1:{port}"
    with caplog.at_level(logging.DEBUG):
        reply = send(f"{scheme}://receiver.test/{TOKEN}", proxy, timeout=0.3, **values)
    assert reply.failure
    assert leaks(caplog.text + repr(reply), PASSWORD, TOKEN) == []


def test_a_reply_that_echoes_the_proxys_password_is_masked() -> None:
    endpoint = an_endpoint(proxy=Secret("http://user:p%40ss@proxy.example"))
    assert excerpt(Reply(status=500, body=b"your password is p@ss"), Mask.of(endpoint)) == "your password is ***"
