from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any, Callable
from urllib.parse import urlsplit

import pytest

from sfwebhooks.attempts import Outcome, Reply
from sfwebhooks.endpoints import Endpoint, Secret
from sfwebhooks.network.budget import Budget
from sfwebhooks.network.connection import LIFE_SECONDS
from sfwebhooks.network.route import Route, addresses_of
from sfwebhooks.network.sender import Adapter, Sender
from sfwebhooks.reasons import Failure
from sfwebhooks.retry import judge
from sfwebhooks.signing import Request
from tests.builders import NOW, PATIENCE, an_endpoint
from tests.conftest import Clock, Team, soon
from tests.hostile import OK, Hostile, answering, full_queue, in_time

TOKEN = "path-token-of-a-receiver"
#: seconds for an attempt that must be over long before
LONG = 100 * PATIENCE
METADATA = "169.254.169.254"


def a_request(endpoint: Endpoint) -> Request:
    return Request(endpoint.url, {"Content-Type": "application/json"}, b"{}")


def send(url: str, **values: Any) -> Reply:
    endpoint = an_endpoint(url=url, **{"timeout": PATIENCE, **values})
    sender = Sender(endpoint)
    try:
        return sender.send(a_request(endpoint))
    finally:
        sender.close()


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """The addresses of names, as the name servers of this test tell them."""
    answers: dict[str, list[str]] = {}

    def look(host: str, port: int, *args: Any) -> list[Any]:
        addresses = answers.get(host, [host])
        return [(socket.AF_INET6 if ":" in one else socket.AF_INET, 1, 6, "", (one, port)) for one in addresses]

    monkeypatch.setattr("sfwebhooks.network.route.getaddrinfo", look)
    return answers


# --- where a request goes


@pytest.mark.parametrize(
    ("url", "proxy", "path", "query", "target"),
    [
        ("http://r.test/v2/enqueue?a=b", "", "", "", "/v2/enqueue?a=b"),
        ("http://r.test/v2/enqueue?a=b", "", "", "at=1", "/v2/enqueue?a=b&at=1"),
        ("http://r.test/v2/enqueue", "", "", "at=1", "/v2/enqueue?at=1"),
        ("http://r.test/v2/enqueue?a=b", "", "change/enqueue", "", "/v2/change/enqueue"),
        ("http://r.test/v2/enqueue", "", "change/enqueue", "at=1", "/v2/change/enqueue?at=1"),
        ("http://r.test", "", "change/enqueue", "", "/change/enqueue"),
        ("http://r.test/v2/enqueue", "http://p.test", "change/enqueue", "", "http://r.test/v2/change/enqueue"),
    ],
)
def test_a_request_can_go_to_another_place_of_the_receiver(
    url: str, proxy: str, path: str, query: str, target: str
) -> None:
    route = Route.to(an_endpoint(url=url, proxy=Secret(proxy) if proxy else None))
    assert route.head("POST", query, path).startswith(f"POST {target} HTTP/1.1\r\n".encode())


# --- the network policy


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "169.254.1.1",
        "2852039166",
        "0xa9fea9fe",
        "100.100.100.200",
        "[fd00:ec2::254]",
        "[fe80::1]",
        "[::ffff:169.254.169.254]",
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_link_local_and_metadata_are_never_connected_to(scheme: str, host: str) -> None:
    reply = send(f"{scheme}://{host}/{TOKEN}")
    assert (reply.failure, "never sends" in reply.detail) == (Failure.ADDRESS, True)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "0.0.0.0"])
def test_a_private_address_is_not_connected_to_without_allow_private(receive: Callable[..., Team], host: str) -> None:
    team = receive()
    reply = send(team.url.replace("127.0.0.1", host), allow_private=False)
    assert (reply.failure, team.got) == (Failure.ADDRESS, [])
    assert "allow_private = true" in reply.detail


def test_a_private_address_is_connected_to_by_default(receive: Callable[..., Team]) -> None:
    assert send(receive().url).status == 200


def test_an_address_that_is_not_allowed_holds_the_endpoint() -> None:
    reply = send(f"http://{METADATA}/{TOKEN}")
    verdict = judge(reply, NOW)
    assert (verdict.outcome, verdict.reason) == (Outcome.HOLD, "address_not_allowed")


def test_the_words_about_an_address_show_no_path() -> None:
    assert TOKEN not in repr(send(f"http://{METADATA}/{TOKEN}"))


def test_the_address_behind_a_name_counts(names: dict[str, list[str]]) -> None:
    names["receiver.example"] = [METADATA]
    assert send(f"https://receiver.example/{TOKEN}").failure is Failure.ADDRESS


def test_the_address_is_checked_at_each_connection(names: dict[str, list[str]], receive: Callable[..., Team]) -> None:
    url = receive().url.replace("127.0.0.1", "receiver.example")
    names["receiver.example"] = ["127.0.0.1"]
    assert send(url).status == 200
    names["receiver.example"] = [METADATA]  # the name server has changed its mind
    assert send(url).failure is Failure.ADDRESS


def test_an_address_that_is_not_allowed_is_passed_over(
    names: dict[str, list[str]], receive: Callable[..., Team]
) -> None:
    names["receiver.example"] = [METADATA, "fe80::1", "127.0.0.1"]
    assert send(receive().url.replace("127.0.0.1", "receiver.example")).status == 200


def test_a_failed_connection_to_one_address_opens_none_that_is_not_allowed(names: dict[str, list[str]]) -> None:
    names["receiver.example"] = ["127.0.0.1", METADATA]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert send(f"http://receiver.example:{port}/").failure is Failure.CONNECTION


def test_the_next_address_is_tried_when_one_refuses(names: dict[str, list[str]], receive: Callable[..., Team]) -> None:
    names["receiver.example"] = ["127.0.0.2", "127.0.0.1"]
    assert send(receive().url.replace("127.0.0.1", "receiver.example")).status == 200


# --- several addresses


def test_silent_addresses_do_not_keep_from_the_one_that_answers(
    names: dict[str, list[str]], receive: Callable[..., Team]
) -> None:
    url, silent = receive().url, [f"127.0.0.{number}" for number in range(2, 8)]
    port = urlsplit(url).port or 0
    names["receiver.example"] = [*silent, "127.0.0.1"]
    with contextlib.ExitStack() as stack:
        for address in silent:
            stack.enter_context(full_queue(address, port))
        endpoint = an_endpoint(url=url.replace("127.0.0.1", "receiver.example"), timeout=LONG)
        sender = Sender(endpoint)
        assert in_time(lambda: sender.send(a_request(endpoint))).status == 200
        sender.close()


def test_addresses_that_are_all_silent_are_a_timeout(names: dict[str, list[str]]) -> None:
    names["receiver.example"] = ["127.0.0.2", "127.0.0.3"]
    with full_queue("127.0.0.2") as port, full_queue("127.0.0.3", port):
        reply = send(f"http://receiver.example:{port}/", timeout=0.5)
    assert (reply.failure, reply.detail) == (Failure.TIMEOUT, "no answer in time (connect)")


def test_the_address_that_answered_is_tried_first_from_then_on(
    names: dict[str, list[str]], receive: Callable[..., Team]
) -> None:
    team, clock = receive(), Clock()
    port = urlsplit(team.url).port or 0
    names["receiver.example"] = ["127.0.0.2", "127.0.0.1"]  # nobody is at the first one yet
    endpoint = an_endpoint(url=team.url.replace("127.0.0.1", "receiver.example"), timeout=PATIENCE)
    sender = Sender(endpoint, monotonic=clock)
    assert sender.send(a_request(endpoint)).status == 200
    with socket.create_server(("127.0.0.2", port)) as other:
        other.settimeout(0)
        clock.now += 2 * LIFE_SECONDS
        assert sender.send(a_request(endpoint)).status == 200
        with pytest.raises(BlockingIOError):
            other.accept()
    sender.close()


def test_an_address_that_the_name_has_no_longer_is_forgotten(
    names: dict[str, list[str]], receive: Callable[..., Team], hostile: Callable[..., Hostile]
) -> None:
    old, clock = receive(), Clock()
    port = urlsplit(old.url).port or 0
    names["receiver.example"] = ["127.0.0.1"]
    endpoint = an_endpoint(url=old.url.replace("127.0.0.1", "receiver.example"), timeout=PATIENCE)
    sender = Sender(endpoint, monotonic=clock)
    assert sender.send(a_request(endpoint)).status == 200
    names["receiver.example"] = ["127.0.0.2"]
    clock.now += 2 * LIFE_SECONDS
    with socket.create_server(("127.0.0.2", port)) as new:
        new.settimeout(PATIENCE)
        thread = threading.Thread(target=lambda: sender.send(a_request(endpoint)))
        thread.start()
        connection, _ = new.accept()
        connection.close()
        thread.join(PATIENCE)
    sender.close()
    assert len(old.got) == 1


def test_both_families_are_tried_in_turn(names: dict[str, list[str]]) -> None:
    names["receiver.example"] = ["2001:db8::1", "2001:db8::2", "192.0.2.1", "192.0.2.2", "192.0.2.1"]
    found = addresses_of("receiver.example", 443, Budget(soon()))
    assert [place.address[0] for place in found] == ["2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.2"]


# --- connections of others


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("proxy", [None, Secret("http://127.0.0.1:1"), Secret("socks5h://127.0.0.1:1")])
def test_nothing_is_sent_where_requests_would_use_connections_of_its_own(
    hostile: Callable[..., Hostile], monkeypatch: pytest.MonkeyPatch, scheme: str, proxy: Secret | None
) -> None:
    receiver = hostile(answering(OK))
    monkeypatch.delattr(Adapter, "get_connection_with_tls_context")  # as in a version that calls another one
    reply = send(receiver.url.replace("http:", f"{scheme}:"), proxy=proxy)
    assert (reply.failure, receiver.connections) == (Failure.ADDRESS, 0)
    assert "requests" in reply.detail


# --- names


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Name servers that never answer."""
    over = threading.Event()

    def look(host: str, port: int, *args: Any) -> list[Any]:
        over.wait(PATIENCE)
        return []

    monkeypatch.setattr("sfwebhooks.network.route.getaddrinfo", look)
    yield
    over.set()


@pytest.mark.usefixtures("stuck")
def test_name_servers_that_never_answer_hold_nobody() -> None:
    reply = send(f"http://receiver.example/{TOKEN}", timeout=0.2)
    assert (reply.failure, reply.detail) == (Failure.DNS, "no name server answered in time")


def test_a_name_is_looked_up_although_no_thread_can_be_started(
    names: dict[str, list[str]], receive: Callable[..., Team], monkeypatch: pytest.MonkeyPatch
) -> None:
    names["receiver.example"] = ["127.0.0.1"]
    url = receive().url.replace("127.0.0.1", "receiver.example")

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "webhooks-lookup":
            raise RuntimeError("can't start new thread at interpreter shutdown")
        start(thread)

    start = threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert send(url).status == 200


def test_the_name_server_of_a_scan_is_not_asked(monkeypatch: pytest.MonkeyPatch, receive: Callable[..., Team]) -> None:
    def scans_own(*args: Any) -> list[Any]:
        raise AssertionError("a scan with _dnsserver puts its own in place of socket.getaddrinfo")

    team = receive()
    monkeypatch.setattr(socket, "getaddrinfo", scans_own)
    assert send(team.url.replace("127.0.0.1", "localhost")).status == 200


# --- what stands in the request line


@pytest.mark.parametrize(
    ("url", "host", "target"),
    [
        ("https://receiver.example", "receiver.example", "/"),
        ("https://receiver.example:8443/a?b=%2f", "receiver.example", "/a?b=%2f"),
        ("https://receiver.example?token=x/y", "receiver.example", "/?token=x/y"),
        ("HTTPS://[::1]:8443/a", "::1", "/a"),
        ("https://[::1]/a:b", "::1", "/a:b"),
    ],
)
def test_a_route_has_host_and_target(url: str, host: str, target: str) -> None:
    route = Route.to(an_endpoint(url=url))
    assert (route.host, route.target, route.forwarded) == (host, target, False)


@pytest.mark.parametrize(
    ("url", "authority"),
    [
        ("https://receiver.example/a", "receiver.example"),
        ("https://receiver.example:443/a", "receiver.example"),
        ("http://receiver.example:80/a", "receiver.example"),
        ("https://receiver.example:80/a", "receiver.example:80"),
        ("https://Receiver.Example./a", "receiver.example"),
        ("http://[::1]:8080/a", "[::1]:8080"),
    ],
)
def test_a_request_names_the_host_and_only_a_port_that_is_not_the_schemes_own(url: str, authority: str) -> None:
    assert Route.to(an_endpoint(url=url)).authority == authority


def test_the_policy_is_part_of_the_settings_that_health_belongs_to() -> None:
    endpoint: Endpoint = an_endpoint()
    assert endpoint.fingerprint != an_endpoint(allow_private=False).fingerprint
