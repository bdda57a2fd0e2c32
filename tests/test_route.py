from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any, Callable

import pytest

from sfwebhooks.attempts import Failure, Outcome, Reply
from sfwebhooks.endpoints import Endpoint
from sfwebhooks.retry import judge
from sfwebhooks.route import Route
from sfwebhooks.sender import Sender
from sfwebhooks.signing import Request
from tests.builders import NOW, an_endpoint
from tests.conftest import PATIENCE, Team

TOKEN = "path-token-of-a-receiver"
METADATA = "169.254.169.254"


def send(url: str, **values: Any) -> Reply:
    endpoint = an_endpoint(url=url, **{"timeout": PATIENCE, **values})
    sender = Sender(endpoint)
    try:
        return sender.send(Request(endpoint.url, {"Content-Type": "application/json"}, b"{}"))
    finally:
        sender.close()


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """The addresses of names, as the name servers of this test tell them."""
    told: dict[str, list[str]] = {}

    def look(host: str, port: int, *args: Any) -> list[Any]:
        addresses = told.get(host, [host])
        return [(socket.AF_INET6 if ":" in one else socket.AF_INET, 1, 6, "", (one, port)) for one in addresses]

    monkeypatch.setattr("sfwebhooks.route.getaddrinfo", look)
    return told


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


# --- names


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Name servers that never answer."""
    over = threading.Event()

    def look(host: str, port: int, *args: Any) -> list[Any]:
        over.wait(PATIENCE)
        return []

    monkeypatch.setattr("sfwebhooks.route.getaddrinfo", look)
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
        ("HTTPS://[::1]:8443/a", "[::1]", "/a"),
        ("https://[::1]/a:b", "[::1]", "/a:b"),
    ],
)
def test_a_route_has_host_and_target(url: str, host: str, target: str) -> None:
    route = Route.to(an_endpoint(url=url))
    assert (route.host, route.target, route.forwarded) == (host, target, False)


def test_the_policy_is_part_of_the_settings_that_health_belongs_to() -> None:
    endpoint: Endpoint = an_endpoint()
    assert endpoint.fingerprint != an_endpoint(allow_private=False).fingerprint
