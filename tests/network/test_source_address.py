"""`source_address`: from which address of this machine connections are opened, and what happens if it lacks it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from sfwebhooks.attempts import NoReplyError, Outcome, Reply
from sfwebhooks.config.settings import Settings, load_mapping
from sfwebhooks.delivery.send_queue import SendQueue
from sfwebhooks.endpoints import Secret
from sfwebhooks.health import Condition
from sfwebhooks.network.local_address import local_address
from sfwebhooks.network.tokens import sender_of
from sfwebhooks.outbox.outbox import Outbox
from sfwebhooks.reasons import Failure
from sfwebhooks.retry import judge
from sfwebhooks.signing import Request
from tests.builders import NOW, PATIENCE, an_endpoint
from tests.conftest import Clock, put, soon
from tests.hostile import OK, Hostile, Visit
from tests.hostile import reply as a_reply

ONE_STORE = "it is about connections to receivers"

#: an address that no machine has (RFC 5737)
NOBODYS = "192.0.2.200"


def send(url: str, **values: Any) -> Reply:
    endpoint = an_endpoint(url=url, timeout=PATIENCE, **values)
    sender = sender_of(endpoint)
    try:
        return sender.send(Request(endpoint.url, {"Content-Type": "application/json"}, b"{}"))
    finally:
        sender.close()


@pytest.fixture
def sources() -> list[str]:
    """The addresses from which `receiver` was connected to."""
    return []


@pytest.fixture
def receiver(hostile: Callable[..., Hostile], sources: list[str]) -> Hostile:
    """Takes every message."""

    def noting(visit: Visit) -> None:
        sources.append(visit.connection.getpeername()[0])
        while visit.request():
            visit.say(OK)

    return hostile(noting)


# --- the settings


@pytest.mark.parametrize(
    ("text", "address"),
    [("192.0.2.7", "192.0.2.7"), (" 2001:DB8::7 ", "2001:db8::7"), ("127.0.0.2", "127.0.0.2"), ("::1", "::1")],
)
def test_an_address_is_read(text: str, address: str) -> None:
    found = load_mapping({"team": {"url": "http://r.test/", "source_address": text}})
    assert (found.mistakes, found.endpoints[0].source_address) == ((), address)


@pytest.mark.parametrize(
    "text",
    ["eth0", "192.0.2", "192.0.2.7/24", "192.0.2.300", "0.0.0.0", "::", "224.0.0.1", "ff02::1", "fe80::1%eth0",
     "::ffff:192.0.2.7", "[::1]", "192.0.2.7:8080", "localhost", "192.0.2.7\0", "\ud800", "1" * 5_000_000],
)  # fmt: skip
def test_another_text_is_a_mistake_that_holds_the_endpoint(text: str) -> None:
    found = load_mapping({"team": {"url": "http://r.test/", "source_address": text}})
    assert ["source_address" in str(mistake) for mistake in found.mistakes] == [True]
    assert "source_address" in found.endpoints[0].mistake


def test_it_is_inherited_and_an_empty_one_removes_it() -> None:
    found = settings_of({"source_address": "192.0.2.7"}, one={}, two={"source_address": ""})
    assert [one.source_address for one in found.endpoints] == ["192.0.2.7", ""]


def settings_of(general: dict[str, str], **endpoints: dict[str, str]) -> Settings:
    sections = {name: {"url": "http://r.test/", **keys} for name, keys in endpoints.items()}
    return load_mapping({**general, **sections})


# --- sending


def test_a_connection_comes_from_it(receiver: Hostile, sources: list[str]) -> None:
    replies = [send(receiver.url), send(receiver.url, source_address="127.0.0.2")]
    assert ([reply.status for reply in replies], sources) == ([200, 200], ["127.0.0.1", "127.0.0.2"])


def test_only_addresses_of_its_family_are_tried(
    receiver: Hostile, sources: list[str], names: dict[str, list[str]]
) -> None:
    names["r.test"] = ["::1", "127.0.0.1"]
    with socket.create_server(("::1", receiver.port), family=socket.AF_INET6) as other:
        other.settimeout(0)
        reply = send(receiver.url.replace("127.0.0.1", "r.test"), source_address="127.0.0.2")
        with pytest.raises(BlockingIOError):
            other.accept()
    assert (reply.status, sources) == (200, ["127.0.0.2"])


def test_an_ipv6_address_leads_to_the_ipv6_address_of_the_receiver(
    receiver: Hostile, names: dict[str, list[str]]
) -> None:
    names["r.test"] = ["127.0.0.1", "::1"]
    with socket.create_server(("::1", receiver.port), family=socket.AF_INET6) as six:
        came: list[Any] = []

        def serve() -> None:
            connection, peer = six.accept()
            came.append(peer[0])
            with connection:
                connection.recv(65536)
                connection.sendall(OK)

        thread = threading.Thread(target=serve)
        thread.start()
        reply = send(receiver.url.replace("127.0.0.1", "r.test"), source_address="::1")
        thread.join(PATIENCE)
    assert (reply.status, came, receiver.connections) == (200, ["::1"], 0)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("::1", "source_address ::1 is IPv6, and the receiver has only IPv4 addresses"),
        (NOBODYS, f"source_address {NOBODYS} is not an address of this machine: Cannot assign requested address"),
    ],
)
def test_one_that_cannot_be_used_is_a_failure_of_its_own(receiver: Hostile, source: str, words: str) -> None:
    reply = send(receiver.url, source_address=source)
    assert (reply.failure, reply.detail, receiver.connections) == (Failure.SOURCE, words, 0)
    assert judge(reply, NOW).outcome is Outcome.HOLD


def test_one_from_which_the_receiver_cannot_be_reached_is_a_failure() -> None:
    reply = send(f"http://{NOBODYS}/", source_address="127.0.0.1")
    assert (reply.failure, f"127.0.0.1 cannot reach {NOBODYS}" in reply.detail) == (Failure.SOURCE, True)


def test_another_address_is_tried_if_the_first_cannot_be_reached_from_it(
    receiver: Hostile, sources: list[str], names: dict[str, list[str]]
) -> None:
    names["r.test"] = [NOBODYS, "127.0.0.1"]
    assert send(receiver.url.replace("127.0.0.1", "r.test"), source_address="127.0.0.2").status == 200
    assert sources == ["127.0.0.2"]


def test_nothing_is_lost_while_this_machine_lacks_it(outbox: Outbox, receiver: Hostile, clock: Clock) -> None:
    lacking = an_endpoint(url=receiver.url, source_address=NOBODYS, timeout=PATIENCE)
    put(outbox, lacking, events=2)
    queue = SendQueue([lacking], outbox, clock)
    for _ in range(20):
        queue.step()
        clock.now += 3600
    queue.stop(soon())
    assert outbox.scans.tallies()["waiting"] == 2
    assert outbox.endpoints.health("team").condition is Condition.HELD
    queue = SendQueue([an_endpoint(url=receiver.url, source_address="127.0.0.2", timeout=PATIENCE)], outbox, clock)
    while queue.step():
        pass
    queue.stop(soon())
    assert outbox.scans.tallies()["delivered"] == 2


def test_a_proxy_is_reached_from_it(receiver: Hostile, hostile: Callable[..., Hostile]) -> None:
    peers: list[str] = []

    def proxy(visit: Visit) -> None:
        peers.append(visit.connection.getpeername()[0])
        visit.request()
        visit.say(OK)

    reply = send(receiver.url, source_address="127.0.0.2", proxy=Secret(hostile(proxy).place))
    assert (reply.status, peers) == (200, ["127.0.0.2"])


def test_the_words_about_the_family_name_the_proxy() -> None:
    reply = send("http://r.test/", source_address="::1", proxy=Secret("http://127.0.0.1:9"))
    assert (reply.failure, "and the proxy has only IPv4 addresses" in reply.detail) == (Failure.SOURCE, True)


def test_tokens_are_fetched_from_it(receiver: Hostile, hostile: Callable[..., Hostile]) -> None:
    peers: list[str] = []

    def issuer(visit: Visit) -> None:
        peers.append(visit.connection.getpeername()[0])
        visit.request()
        visit.say(a_reply(200, body=b'{"access_token": "t", "token_type": "Bearer"}'))

    keys = {"auth": "oauth2", "client_id": "me", "client_secret": Secret("x")}
    reply = send(receiver.url, source_address="127.0.0.2", token_url=Secret(hostile(issuer).url), **keys)
    assert (reply.status, peers) == (200, ["127.0.0.2"])


# --- the local address


def why_not(url: str, **values: Any) -> Reply:
    """Return why there is no local address."""
    with pytest.raises(NoReplyError) as raised:
        local_address(an_endpoint(url=url, **values))
    return raised.value.reply


@pytest.mark.parametrize(
    ("url", "values", "address"),
    [
        ("http://127.0.0.1:9/", {}, "127.0.0.1"),
        ("http://[::1]:9/", {}, "::1"),
        ("https://127.0.0.1/", {"source_address": "127.0.0.2"}, "127.0.0.2"),
        ("https://r.test/", {"proxy": Secret("http://[::1]:9")}, "::1"),
    ],
)
def test_the_local_address_of_an_endpoint_is_known_without_a_connection(
    url: str, values: dict[str, Any], address: str
) -> None:
    assert local_address(an_endpoint(url=url, **values)) == address


def test_the_local_address_is_that_from_which_a_receiver_is_connected_to(receiver: Hostile, sources: list[str]) -> None:
    send(receiver.url)
    assert sources == [local_address(an_endpoint(url=receiver.url))]


@pytest.mark.parametrize(
    ("url", "values", "failure"),
    [
        ("http://169.254.169.254/", {}, Failure.ADDRESS),
        ("http://127.0.0.1/", {"allow_private": False}, Failure.ADDRESS),
        ("http://169.254.169.254/", {"proxy": Secret("http://127.0.0.1:9")}, Failure.ADDRESS),
        ("http://r.invalid/", {}, Failure.DNS),
        ("http://127.0.0.1/", {"source_address": "::1"}, Failure.SOURCE),
        ("http://127.0.0.1/", {"source_address": NOBODYS}, Failure.SOURCE),
        (f"http://{NOBODYS}/", {"source_address": "127.0.0.1"}, Failure.SOURCE),
    ],
)
def test_without_a_local_address_the_reason_is_that_of_an_attempt(
    url: str, values: dict[str, Any], failure: Failure
) -> None:
    reply = why_not(url, **values)
    assert (reply.failure, bool(reply.detail)) == (failure, True)
