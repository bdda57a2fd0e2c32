"""`sfwebhooks test`: each step of an attempt is shown, the one that failed, and what to do about it."""

from __future__ import annotations

import io
import json
import re
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from rich.console import Console

from sfwebhooks.cli.test import show_test
from sfwebhooks.demo.certificates import Authority, Identity
from sfwebhooks.inspection.attempt_steps import AttemptSteps
from sfwebhooks.network.steps import Arrived, Begun, Connected, Ended, Resolved, Sent, Step, Unreached
from sfwebhooks.receive.server import server_context
from tests.builders import PATIENCE, an_endpoint
from tests.conftest import Clock, Result, Team
from tests.hostile import (
    METADATA,
    OK,
    Hostile,
    Visit,
    Way,
    answering,
    answering_early,
    dripping,
    hanging_up,
    leaving_when_used_again,
    refusing,
    reply,
    silent,
)
from tests.middlemen import Middleman, SocksMiddleman
from tests.network.test_tokens import Provider
from tests.processes import Process

KEY = "an-api-key-of-the-team"
#: the steps of an attempt without TLS, proxy and token
STEPS = ["message", "resolve", "connect", "send", "wait", "read", "reply", "verdict"]
#: the first word of a line, if it has one
LABEL = re.compile(r"^ {0,2}(\w+)(?: {2,}|$)", re.M)
#: before Python 3.10 nobody knows which CA it was
VERIFIED = "verified by CN=Test CA of ca_bundle" if sys.version_info >= (3, 10) else "verified by ca_bundle"
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
Ask = Callable[..., Result]


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., Path]:
    """Write settings: `settings(team={"url": ...}, ...)`."""

    def write(**endpoints: dict[str, object]) -> Path:
        path = tmp_path / "webhooks.ini"
        path.touch(0o600)
        sections = (
            "\n".join([f"[webhooks.{name}]", *(f"{key} = {value}" for key, value in keys.items())])
            for name, keys in endpoints.items()
        )
        path.write_text("\n".join(sections) + "\n", encoding="utf-8")
        return path

    return write


@pytest.fixture
def ask(cli: Callable[..., Result], settings: Callable[..., Path]) -> Ask:
    """Run `sfwebhooks test team` for an endpoint with these keys."""

    def run(url: str, *arguments: str, **keys: object) -> Result:
        settings(team={"url": url, **keys})
        return cli("test", "team", *arguments)

    return run


def labels(shown: Result) -> list[str]:
    return LABEL.findall(shown.out.partition("\n")[2])


def line(shown: Result, label: str) -> str:
    """Return the only line with a label."""
    (found,) = [one for one in shown.out.splitlines() if one.split()[:1] == [label]]
    return " ".join(found.split())


def limited(context: ssl.SSLContext, version: ssl.TLSVersion) -> ssl.SSLContext:
    """Let a receiver speak one version of TLS only."""
    context.minimum_version = context.maximum_version = version
    return context


def of(identity: Identity, *authorities: Path) -> ssl.SSLContext:
    return server_context(identity.cert, identity.key, *authorities)


# --- the steps


def test_each_step_is_shown_in_order(ask: Ask, team: Team) -> None:
    shown = ask(team.url)
    assert (shown.code, labels(shown)) == (0, STEPS)
    assert shown.out.startswith(f"team: {team.url.rpartition('/')[0]}\n")
    port = team.receiver.server_address[1]
    assert line(shown, "connect").endswith(f"ms 127.0.0.1 port {port} (IPv4), from 127.0.0.1")
    assert line(shown, "reply") == 'reply 200 OK: "ok"'
    assert line(shown, "verdict").endswith("ms delivered, http_200")


def test_the_words_of_all_lines_begin_in_the_same_column(
    ask: Ask, receive: Callable[..., Team], https: ssl.SSLContext, authority: Authority
) -> None:
    shown = ask(receive(tls=https).url, ca_bundle=authority.cert)
    assert {len(one) - len(one[19:].lstrip()) for one in shown.out.splitlines()[1:]} == {19}


def test_the_bytes_are_those_that_the_receiver_gets(ask: Ask, hostile: Callable[..., Hostile]) -> None:
    receiver = hostile(answering(reply(200, body=b"x" * 1000)))
    shown = ask(receiver.url)
    answer = reply(200, body=b"x" * 1000)
    assert (line(shown, "send").endswith(f"{len(receiver.requests[0]):,} bytes"), len(receiver.requests)) == (True, 1)
    assert line(shown, "read").endswith(f"{len(answer):,} bytes")


def test_the_steps_are_shown_as_they_happen(settings: Callable[..., Path], hostile: Callable[..., Hostile]) -> None:
    answer = threading.Event()

    def waiting(visit: Visit) -> None:
        visit.request()
        answer.wait(PATIENCE)
        visit.say(OK)

    path = settings(team={"url": hostile(waiting).url})
    process = Process(["test", "team", "--config", path, "--folder", path.parent], stdout=PIPE)
    assert process.stdout
    seen = [process.stdout.readline().split()[0] for _ in range(5)]
    answer.set()
    rest = process.communicate(timeout=PATIENCE)[0]
    assert seen == ["team:", *STEPS[:4]]
    assert [one.split()[0] for one in rest.splitlines()] == STEPS[4:]


def test_the_time_of_a_step_is_that_since_the_step_before_it() -> None:
    clock = Clock(100.0)
    steps = AttemptSteps(an_endpoint(url="http://r.test/"), clock=clock)
    made: list[tuple[Step, float]] = [
        (Begun(), 101.0),
        (Resolved("r.test", ("192.0.2.1", "192.0.2.2"), {}), 101.5),
        (Unreached("192.0.2.1", "No route to host"), 101.6),
        (Connected("192.0.2.2", 80, "192.0.2.7", ()), 101.75),
        (Sent(10), 102.0),
        (Arrived(5), 105.0),
        (Arrived(5), 105.5),
        (Ended(200), 106.0),
    ]
    for step, at in made:
        clock.now = at
        steps(step)
    found = [(one["step"], one["seconds"]) for one in steps.fields]
    assert found == [("resolve", 0.5), ("connect", 0.25), ("send", 0.25), ("wait", 3.0), ("read", 1.0)]


def test_the_time_of_a_failure_is_that_until_the_attempt_ended() -> None:
    clock = Clock(100.0)
    steps = AttemptSteps(an_endpoint(url="http://r.test/"), clock=clock)
    made: list[tuple[Step, float]] = [
        (Begun(), 101.0),
        (Resolved("r.test", ("192.0.2.1",), {}), 102.0),
        (Ended(0), 105.0),
    ]
    for step, at in made:
        clock.now = at
        steps(step)
    clock.now = 200.0
    steps.fail("connection_failed")
    found = [(one["step"], one["seconds"], one["failed"]) for one in steps.fields]
    assert found == [("resolve", 1.0, False), ("connect", 3.0, True)]


def test_a_receiver_on_ipv6_is_shown_with_its_family(ask: Ask) -> None:
    with closing(socket.create_server(("::1", 0), family=socket.AF_INET6)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(OK)

        thread = threading.Thread(target=serve)
        thread.start()
        port = listener.getsockname()[1]
        shown = ask(f"http://[::1]:{port}/hook")
        thread.join(PATIENCE)
    assert line(shown, "connect").endswith(f"ms ::1 port {port} (IPv6), from ::1")


def test_an_address_that_refuses_is_shown_with_the_one_that_answers(
    ask: Ask, team: Team, names: dict[str, list[str]]
) -> None:
    names["receiver.example"] = ["127.0.0.2", "127.0.0.1"]
    shown = ask(team.url.replace("127.0.0.1", "receiver.example"))
    assert line(shown, "resolve").endswith("receiver.example is 127.0.0.2, 127.0.0.1")
    assert "(IPv4), from 127.0.0.1\n" + " " * 19 + "127.0.0.2: Connection refused\n" in shown.out


def test_addresses_that_all_refuse_are_each_shown(ask: Ask, names: dict[str, list[str]]) -> None:
    names["receiver.example"] = ["127.0.0.2", "127.0.0.1"]
    shown = ask("http://receiver.example:9/")
    for address in names["receiver.example"]:
        assert f"\n{' ' * 19}{address}: Connection refused\n" in shown.out


def test_an_address_that_is_not_allowed_is_shown_with_the_rule(
    ask: Ask, team: Team, names: dict[str, list[str]]
) -> None:
    names["receiver.example"] = ["169.254.169.254", "127.0.0.1"]
    shown = ask(team.url.replace("127.0.0.1", "receiver.example"))
    assert shown.code == 0
    assert "not tried: 169.254.169.254 (169.254.169.254 is in 169.254.169.254/32 (cloud metadata)" in shown.out


def test_an_address_of_the_other_family_than_source_address_is_shown_as_not_tried(
    ask: Ask, team: Team, names: dict[str, list[str]]
) -> None:
    names["receiver.example"] = ["::1", "127.0.0.1"]
    shown = ask(team.url.replace("127.0.0.1", "receiver.example"), source_address="127.0.0.2")
    assert (shown.code, line(shown, "connect").endswith("(IPv4), from 127.0.0.2")) == (0, True)
    assert f"\n{' ' * 19}not tried: ::1 (source_address)\n" in shown.out


def test_a_source_address_that_this_machine_lacks_is_shown_with_its_cure(ask: Ask, team: Team) -> None:
    shown = ask(team.url, source_address="192.0.2.200")
    assert (shown.code, team.got) == (1, [])
    assert "failed: source_address_unusable (source_address 192.0.2.200 is not an address" in line(shown, "connect")
    assert "what to do: set source_address to an address of this machine (ip address lists them)" in shown.words


# --- TLS


@pytest.mark.parametrize("version", VERSIONS)
def test_a_certificate_is_shown_with_its_ca(
    ask: Ask, receive: Callable[..., Team], server_identity: Identity, authority: Authority, version: ssl.TLSVersion
) -> None:
    shown = ask(receive(tls=limited(of(server_identity), version)).url, ca_bundle=authority.cert)
    words = "TLSv1.3, TLS_" if version is ssl.TLSVersion.TLSv1_3 else "TLSv1.2, ECDHE-"
    assert (shown.code, f"ms {words}" in line(shown, "TLS")) == (0, True)
    assert "theirs CN=receiver, for localhost, 127.0.0.1 valid until 20" in shown.words
    assert f"UTC, 89 days left issued by CN=Test CA; {VERIFIED} send" in shown.words
    assert "ours" not in labels(shown)


@pytest.mark.parametrize("version", VERSIONS)
def test_our_certificate_is_shown_if_they_ask_for_it(
    ask: Ask,
    receive: Callable[..., Team],
    server_identity: Identity,
    client_identity: Identity,
    authority: Authority,
    version: ssl.TLSVersion,
) -> None:
    team = receive(tls=limited(of(server_identity, authority.cert), version))
    ours = {"client_cert": client_identity.cert, "client_key": client_identity.key}
    shown = ask(team.url, ca_bundle=authority.cert, **ours)
    assert (shown.code, len(team.got)) == (0, 1)
    assert line(shown, "ours").startswith("ours CN=spiderfoot, valid until 20")
    assert line(shown, "ours").endswith("UTC, 89 days left; asked for and sent")


def test_our_certificate_that_they_do_not_ask_for_is_not_said_to_be_sent(
    ask: Ask, receive: Callable[..., Team], https: ssl.SSLContext, client_identity: Identity, authority: Authority
) -> None:
    ours = {"client_cert": client_identity.cert, "client_key": client_identity.key}
    shown = ask(receive(tls=https).url, ca_bundle=authority.cert, **ours)
    assert line(shown, "ours") == "ours client_cert was not asked for, so it was not sent"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_certificate_of_ours_that_is_missing_is_asked_for(
    ask: Ask, receive: Callable[..., Team], server_identity: Identity, authority: Authority, version: ssl.TLSVersion
) -> None:
    shown = ask(receive(tls=limited(of(server_identity, authority.cert), version)).url, ca_bundle=authority.cert)
    assert (shown.code, line(shown, "ours")) == (1, "ours asked for, but not sent: client_cert is not set")
    assert "failed: client_certificate_refused" in shown.words
    assert (
        "what to do: the receiver requires a client certificate from a CA that it trusts: set client_c" in shown.words
    )


def test_a_receiver_that_asks_for_our_certificate_after_the_request_is_shown(
    ask: Ask,
    hostile: Callable[..., Hostile],
    server_identity: Identity,
    client_identity: Identity,
    authority: Authority,
) -> None:
    context = of(server_identity)
    context.load_verify_locations(authority.cert)
    context.post_handshake_auth, context.verify_mode = True, ssl.CERT_OPTIONAL

    def asking_late(visit: Visit) -> None:
        visit.request()
        assert isinstance(visit.connection, ssl.SSLSocket)
        visit.connection.verify_client_post_handshake()
        visit.say(OK)
        visit.hold()

    ours = {"client_cert": client_identity.cert, "client_key": client_identity.key}
    url = hostile(asking_late, context).url
    shown = ask(url, ca_bundle=authority.cert, **ours)
    assert (shown.code, "asked for after the request and sent" in shown.words) == (0, True)
    (found,) = ask(url, "--json", ca_bundle=authority.cert, **ours).objects
    assert {step["step"]: step.get("ours") for step in found["steps"]}["certificate"]["subject"] == "CN=spiderfoot"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("kind", "words", "cure"),
    [
        ("self-signed", "CN=alone, for 127.0.0.1 valid until 20", "a self-signed one is its own CA"),
        ("unknown", "issued by CN=Other CA; not verified", "set the CA of the receiver's certificate in ca_bundle"),
        ("expired", "CN=expired, for localhost, 127.0.0.1 expired on 20", "has expired: renew it there"),
        ("early", "CN=early, for localhost, 127.0.0.1 not valid before 20", "set this machine's clock"),
        ("another name", "CN=elsewhere, for a.example, b.example valid", "use one of its names in url"),
    ],
)
def test_a_certificate_that_is_not_accepted_is_shown_with_its_cure(
    ask: Ask,
    receive: Callable[..., Team],
    authority: Authority,
    other_authority: Authority,
    tmp_path: Path,
    version: ssl.TLSVersion,
    kind: str,
    words: str,
    cure: str,
) -> None:
    identity = {
        "self-signed": lambda: self_signed(tmp_path),
        "unknown": lambda: other_authority.issue("unknown"),
        "expired": lambda: authority.issue("expired", days=-3),
        "early": lambda: authority.issue("early", not_before_days=3),
        "another name": lambda: authority.issue("elsewhere", hosts=("a.example", "b.example")),
    }[kind]()
    team = receive(tls=limited(of(identity), version))
    shown = ask(team.url, ca_bundle=authority.cert)
    assert (shown.code, team.got, "failed: tls_unverified (" in line(shown, "TLS")) == (1, [], True)
    assert words in shown.words and cure in shown.words
    assert labels(shown) == ["message", "resolve", "connect", "TLS", "theirs", "verdict"]


def self_signed(folder: Path) -> Identity:
    """Return a certificate that is its own CA."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(timezone.utc)
    untyped: Any = x509  # cryptography 3.4 has no types for these two
    name = untyped.Name([x509.NameAttribute(NameOID.COMMON_NAME, "alone")])
    builder = untyped.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now - timedelta(1)).not_valid_after(now + timedelta(9))
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    made = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    files = Identity(folder / "alone.pem", folder / "alone.key")
    files.cert.write_bytes(made.public_bytes(Encoding.PEM))
    files.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return files


def test_a_certificate_that_nobody_verifies_is_shown_as_that(
    ask: Ask, receive: Callable[..., Team], other_authority: Authority
) -> None:
    team = receive(tls=of(other_authority.issue("whoever")))
    shown = ask(team.url, verify_tls="false")
    assert (shown.code, "issued by CN=Other CA; not verified (verify_tls = false)" in shown.words) == (0, True)


def test_a_certificate_cannot_move_the_cursor(
    ask: Ask, receive: Callable[..., Team], other_authority: Authority
) -> None:
    team = receive(tls=of(other_authority.issue("evil\x1b[2J\u202e")))
    shown = ask(team.url)
    assert (shown.code, "\x1b" in shown.out, "\u202e" in shown.out, "CN=evil" in shown.out) == (1, False, False, True)


# --- failures


def gone_with(status: int) -> Way:
    return answering(reply(status, body=b"who are you?"))


@pytest.mark.parametrize(
    ("way", "label", "words", "cure"),
    [
        (refusing, "connect", "failed: connection_failed (Connection refused)", "nothing listens there"),
        (hanging_up, "wait", "failed: connection_failed (closed without an answer)", "if its port speaks https"),
        (silent, "wait", "failed: timeout (no answer in time (reply))", "or raise timeout"),
        (dripping(b"HTTP/1.1 200 OK"), "read", "failed: timeout (no answer in time (reply))", "or raise timeout"),
        (gone_with(302), "reply", '302 Found: "who are you?"', "redirects are never followed: set its new address"),
        (gone_with(401), "reply", '401 Unauthorized: "who are you?"', "correct secret, api_key or header.NAME"),
        (gone_with(410), "reply", '410 Gone: "who are you?"', "sfwebhooks enable"),
        (gone_with(500), "reply", '500 Internal Server Error: "who are you?"', "the receiver failed: check its log"),
        (gone_with(599), "reply", '599: "who are you?"', "the receiver failed: check its log"),
        (answering(b"SSH-2.0-OpenSSH_9.6\r\n"), "read", "failed: protocol_error (the answer is not HTTP/1.x)", "HTTPS"),
    ],
)
def test_a_failure_is_shown_at_its_step_with_its_cure(
    ask: Ask, hostile: Callable[..., Hostile], way: Way, label: str, words: str, cure: str
) -> None:
    shown = ask(hostile(way).url, timeout="1s")
    assert (shown.code, words in line(shown, label)) == (1, True)
    assert ("what to do: " in shown.words, cure in shown.words) == (True, True)
    assert labels(shown)[-2:] == [label, "verdict"]


def test_a_name_without_an_address_is_shown(ask: Ask) -> None:
    shown = ask("http://receiver.invalid/hook")
    assert (shown.code, "failed: dns_failed (" in line(shown, "resolve")) == (1, True)
    assert "what to do: correct the host name in url" in shown.words


def test_an_address_that_is_never_sent_to_is_shown(ask: Ask, names: dict[str, list[str]]) -> None:
    names["metadata.test"] = [METADATA.split("/")[2]]
    shown = ask("http://metadata.test/")
    assert (shown.code, "metadata.test is 169.254.169.254" in line(shown, "resolve")) == (1, True)
    assert "failed: address_not_allowed (169.254.169.254 is in " in line(shown, "connect")
    assert "what to do: use another host in url" in shown.words


def test_https_to_a_port_that_speaks_http_is_shown(ask: Ask, team: Team) -> None:
    shown = ask(team.url.replace("http://", "https://"))
    assert (shown.code, "failed: tls_failed (WRONG_VERSION_NUMBER)" in line(shown, "TLS")) == (1, True)
    assert "what to do: this port speaks http, not https" in shown.words


def test_http_to_a_port_that_speaks_https_is_shown(
    ask: Ask, receive: Callable[..., Team], https: ssl.SSLContext
) -> None:
    shown = ask(receive(tls=https).url.replace("https://", "http://"))
    assert (shown.code, "failed: connection_failed" in line(shown, "wait")) == (1, True)
    assert "if its port speaks https, write https:// in url" in shown.words


def test_a_certificate_file_that_is_missing_is_shown_before_all_steps(ask: Ask, tmp_path: Path) -> None:
    shown = ask("https://127.0.0.1:9/", client_cert=tmp_path / "none.pem")
    assert (shown.code, labels(shown)) == (1, ["message", "prepare", "verdict"])
    assert "failed: certificate_unusable (client_cert " in line(shown, "prepare")


def test_a_receiver_that_answers_early_is_shown(ask: Ask, hostile: Callable[..., Hostile]) -> None:
    shown = ask(hostile(answering_early(reply(413))).url)
    assert (shown.code, "413 " in line(shown, "reply"), "client_max_body_size" in shown.words) == (1, True, True)


@pytest.mark.parametrize(
    ("way", "verdict"),
    [
        (gone_with(503), "not delivered, http_503: a message would be tried again"),
        (gone_with(404), "http_404: a message would be tried again; after 3 refusals in a row the endpoint is held"),
        (gone_with(410), "not delivered, http_410: messages would wait until sfwebhooks enable team"),
    ],
)
def test_the_verdict_says_what_happens_to_messages(
    ask: Ask, hostile: Callable[..., Hostile], way: Way, verdict: str
) -> None:
    assert line(ask(hostile(way).url), "verdict").endswith(verdict)


def test_the_verdict_says_that_an_endpoint_is_held(
    ask: Ask, receive: Callable[..., Team], https: ssl.SSLContext
) -> None:
    shown = ask(receive(tls=https).url)
    assert line(shown, "verdict").endswith("messages would wait, and the endpoint would be held and probed")


# --- proxies


@pytest.fixture
def through() -> Iterator[Callable[..., Middleman]]:
    made: list[Middleman] = []

    def make(kind: type[Middleman] = Middleman, **values: Any) -> Middleman:
        made.append(kind(**values))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_a_proxy_that_forwards_is_shown(ask: Ask, team: Team, through: Callable[..., Middleman]) -> None:
    proxy = through()
    shown = ask(team.url, proxy=proxy.url)
    assert (shown.code, labels(shown)) == (0, STEPS)
    assert line(shown, "connect").endswith(f": the proxy {proxy.url}, which forwards the request")


@pytest.mark.parametrize("kind", [Middleman, SocksMiddleman])
def test_a_tunnel_through_a_proxy_is_shown(
    ask: Ask,
    receive: Callable[..., Team],
    https: ssl.SSLContext,
    authority: Authority,
    through: Callable[..., Middleman],
    kind: type[Middleman],
) -> None:
    team, proxy = receive(tls=https), through(kind)
    shown = ask(team.url.replace("127.0.0.1", "localhost"), proxy=proxy.url, ca_bundle=authority.cert)
    assert (shown.code, labels(shown)) == (0, [*STEPS[:3], "proxy", "TLS", "theirs", *STEPS[3:]])
    assert line(shown, "proxy").endswith(f"connected to localhost port {team.receiver.server_address[1]}")


def test_two_handshakes_are_shown_for_a_proxy_that_speaks_tls(
    ask: Ask,
    receive: Callable[..., Team],
    https: ssl.SSLContext,
    authority: Authority,
    through: Callable[..., Middleman],
) -> None:
    shown = ask(receive(tls=https).url, proxy=through(tls=https).url, ca_bundle=authority.cert)
    both = ["TLS", "theirs", "proxy", "TLS", "theirs"]
    assert (shown.code, labels(shown)) == (0, [*STEPS[:3], *both, *STEPS[3:]])
    assert [" with the proxy" in one for one in shown.out.splitlines() if one.startswith("TLS")] == [True, False]


@pytest.mark.parametrize(
    ("kind", "values", "words", "cure"),
    [
        (Middleman, {"refusal": "403 Forbidden"}, "proxy_failed (the proxy: it answered 403 Forbidden)", "proxy's log"),
        (Middleman, {"credentials": "me:who"}, "failed: proxy_refused (", "set the proxy's user name and password"),
        (Middleman, {"refusal": "502 No route to host"}, "failed: connection_failed (the proxy did not", "no route"),
        (SocksMiddleman, {"refusal": "2"}, "proxy_failed (the proxy: not allowed by ruleset)", "the proxy's log"),
    ],
)
def test_a_proxy_that_refuses_is_shown(
    ask: Ask,
    receive: Callable[..., Team],
    https: ssl.SSLContext,
    through: Callable[..., Middleman],
    kind: type[Middleman],
    values: dict[str, str],
    words: str,
    cure: str,
) -> None:
    shown = ask(receive(tls=https).url, proxy=through(kind, **values).url)
    assert (shown.code, words in line(shown, "proxy"), cure in shown.words) == (1, True, True)


def test_a_proxy_that_is_not_there_is_shown(ask: Ask, team: Team) -> None:
    shown = ask(team.url, proxy="http://me:hunter2@127.0.0.1:9")
    assert (shown.code, "failed: proxy_failed (the proxy: " in line(shown, "connect")) == (1, True)
    assert ("check the proxy setting" in shown.words, "hunter2" in shown.out) == (True, False)


def test_a_proxys_own_answer_instead_of_the_receivers_is_shown(
    ask: Ask, team: Team, through: Callable[..., Middleman]
) -> None:
    proxy = through(refusal="503 Busy", headers=("Server: squid/6.1",))
    shown = ask(team.url, proxy=proxy.url)
    assert (shown.code, "failed: proxy_failed (the proxy: it answered 503" in line(shown, "reply")) == (1, True)


# --- tokens


@pytest.fixture
def provider() -> Iterator[Provider]:
    made = Provider()
    yield made
    made.close()


def oauth(provider: Provider) -> dict[str, object]:
    return {"auth": "oauth2", "token_url": f"{provider.url}/token", "client_id": "me", "client_secret": "hush-" * 5}


def test_the_token_is_fetched_in_sight(ask: Ask, team: Team, provider: Provider) -> None:
    shown = ask(team.url, **oauth(provider))
    fetched = ["token", "resolve", "connect", "send", "wait", "read", "token"]
    assert (shown.code, labels(shown)) == (0, ["message", *fetched, *STEPS[1:]])
    assert f"is fetched from {provider.url}\n" in shown.out and "can be used for 59 min 30 s" in shown.words
    assert ("token-1" in shown.out, "hush" in shown.out) == (False, False)


def test_a_token_that_is_refused_is_shown(ask: Ask, team: Team, provider: Provider) -> None:
    provider.instead = 401, b'{"error": "invalid_client"}'
    shown = ask(team.url, **oauth(provider))
    assert (shown.code, team.got, labels(shown)[-2:]) == (1, [], ["token", "verdict"])
    assert "failed: token_refused (token endpoint: http_401, it said invalid_client)" in shown.words
    assert "what to do: correct token_url, client_id, client_secret and scope" in shown.words


def test_a_token_endpoint_that_is_not_there_is_shown_at_its_step(ask: Ask, team: Team, provider: Provider) -> None:
    shown = ask(team.url, **{**oauth(provider), "token_url": "http://127.0.0.1:9/token"})
    assert (shown.code, "failed: connection_failed (token endpoint: " in line(shown, "connect")) == (1, True)


# --- several requests


def test_a_connection_that_is_used_again_is_shown(ask: Ask, hostile: Callable[..., Hostile]) -> None:
    allowing = reply(200, "WebHook-Allowed-Origin: *", "WebHook-Allowed-Rate: *")
    shown = ask(hostile(answering(allowing)).url, format="cloudevents")
    assert shown.code == 0
    assert "\nconnect            the connection from before is used again\n" in shown.out


def test_a_connection_that_was_closed_meanwhile_is_shown(ask: Ask, hostile: Callable[..., Hostile]) -> None:
    shown = ask(hostile(leaving_when_used_again()).url, format="cloudevents")
    assert (shown.code, "has closed the connection from before; a new one is opened" in shown.words) == (0, True)


# --- the message


def test_an_example_is_sent_that_is_marked_as_a_test(ask: Ask, team: Team) -> None:
    shown = [ask(team.url, "--event", "finding.high", events="all") for _ in range(2)]
    one, other = (received.message for received in team.got)
    assert ([result.code for result in shown], one["event_type"]) == ([0, 0], "finding.high")
    assert (one["data"]["test"], one["metadata"]["series"]) == (True, "test")
    assert one["metadata"]["scan_name"].startswith("Test by sfwebhooks test: ")
    assert one["metadata"]["event_id"] != other["metadata"]["event_id"], "else a receiver would drop the second one"
    assert "does not subscribe" not in shown[0].words


def test_an_example_to_which_the_endpoint_does_not_subscribe_is_sent_and_that_is_said(ask: Ask, team: Team) -> None:
    shown = ask(team.url, "--event", "scan_completed", events="high_risk_event")
    assert (shown.code, [received.message["event_type"] for received in team.got]) == (0, ["scan_completed"])
    assert line(shown, "message") == "message scan_completed, to which the endpoint does not subscribe"


def test_an_event_type_that_is_unknown_is_an_error_and_nothing_is_sent(ask: Ask, team: Team) -> None:
    shown = ask(team.url, "--event", "high_risk")
    assert (shown.code, shown.out, team.got) == (1, "", [])
    assert 'Did you mean "high_risk_event"?' in shown.err


# --- JSON, and all endpoints


def test_json_has_the_same_as_one_object(
    ask: Ask, receive: Callable[..., Team], mtls: ssl.SSLContext, client_identity: Identity, authority: Authority
) -> None:
    ours = {"client_cert": client_identity.cert, "client_key": client_identity.key}
    (found,) = ask(receive(tls=mtls).url, "--json", ca_bundle=authority.cert, **ours).objects
    steps = {step["step"]: step for step in found["steps"]}
    assert [*steps] == ["resolve", "connect", "TLS", "send", "wait", "read"]
    assert (found["endpoint"], found["delivered"], found["status"], found["reply"]) == ("team", True, 200, "ok")
    assert (steps["connect"]["source"], steps["connect"]["proxy"]) == ("127.0.0.1", None)
    tls = steps["TLS"]
    assert (tls["version"], tls["verified"], tls["asked_for_ours"]) == ("TLSv1.3", True, True)
    assert (tls["theirs"]["subject"], tls["ours"]["subject"]) == ("CN=receiver", "CN=spiderfoot")
    assert tls["verified_by"] is None or tls["verified_by"]["subject"] == "CN=Test CA"


def test_json_has_the_step_that_failed_and_the_cure(
    ask: Ask, receive: Callable[..., Team], https: ssl.SSLContext
) -> None:
    shown = ask(receive(tls=https).url, "--json")
    (found,) = shown.objects
    assert (shown.code, found["delivered"], found["status"], found["reason"]) == (1, False, None, "tls_unverified")
    assert [(step["step"], step["failed"]) for step in found["steps"]][-1] == ("TLS", True)
    assert (found["steps"][-1]["theirs"]["issuer"], "ca_bundle" in found["cure"]) == ("CN=Test CA", True)


def test_json_has_an_object_for_each_endpoint(
    cli: Callable[..., Result], settings: Callable[..., Path], team: Team
) -> None:
    settings(one={"url": team.url}, two={"url": "http://127.0.0.1:9/"}, three={"url": team.url, "timeout": "5 apples"})
    shown = cli("test", "--json")
    assert (shown.code, [(one["endpoint"], one["delivered"]) for one in shown.objects]) == (
        1,
        [("one", True), ("two", False), ("three", False)],
    )
    assert shown.objects[2]["reason"] == "config_mistake"


def test_all_endpoints_are_shown_in_a_line_each(
    cli: Callable[..., Result], settings: Callable[..., Path], team: Team
) -> None:
    settings(one={"url": team.url}, two={"url": "http://127.0.0.1:9/"})
    shown = cli("test")
    lines = shown.out.splitlines()
    assert (shown.code, len(lines)) == (1, 4)
    assert lines[0].startswith("one (http://127.0.0.1:") and "): delivered, http_200" in lines[0]
    assert lines[1].startswith("two (http://127.0.0.1:9): not delivered, connection_failed (Connection refused), ")
    assert lines[2:] == [
        "  what to do: nothing listens there: start the receiver, or correct the port in url",
        "  each step: sfwebhooks test two",
    ]


# --- secrets, terminals


def test_a_receiver_that_repeats_our_key_is_not_quoted_with_it(ask: Ask, hostile: Callable[..., Hostile]) -> None:
    way = answering(reply(403, body=f"{KEY} is not allowed, \x1b[2J".encode()))
    for shown in (ask(hostile(way).url, api_key=KEY), ask(hostile(way).url, "--json", api_key=KEY)):
        assert (shown.code, KEY in shown.out, "\x1b" in shown.out, "is not allowed" in shown.out) == (
            1,
            False,
            False,
            True,
        )


def test_on_a_narrow_terminal_long_words_are_continued_below_themselves() -> None:
    screen = io.StringIO()
    out = Console(file=screen, force_terminal=True, width=80, color_system=None)
    assert not show_test(an_endpoint(url="http://127.0.0.1:9/", source_address="192.0.2.7"), out)
    lines = screen.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert " ".join(screen.getvalue().split()).endswith("or remove it")
    assert all(one.startswith(" " * 19) for one in lines[lines.index(next(x for x in lines if "what to do" in x)) :])


def test_a_test_of_everything_is_valid_json_line_by_line(
    cli: Callable[..., Result], settings: Callable[..., Path], hostile: Callable[..., Hostile]
) -> None:
    settings(team={"url": hostile(answering(reply(200, body=b"\x00\xff\n[red]"))).url})
    (text,) = cli("test", "--json").out.splitlines()
    assert (text.isascii(), json.loads(text)["delivered"]) == (True, True)
