"""The server: clients that send or read too slowly, and too many of them, do not harm the others."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from sfwebhooks.config import settings
from sfwebhooks.errors import ConfigError
from sfwebhooks.outbox.file import FILE
from sfwebhooks.web.app import guarded
from sfwebhooks.web.logins import Access, Logins
from sfwebhooks.web.server import listening, serving
from sfwebhooks.web.site import Site
from tests.builders import PATIENCE
from tests.threads import until
from tests.web.serving import OPERATOR

ONE_STORE = "it is about a server's clients"

LOCAL = ("127.0.0.1", 0)
HURRY = {
    "sfwebhooks.web.server.HEAD_SECONDS": 0.3,
    "sfwebhooks.web.server.TAKE_SECONDS": 0.3,
    "sfwebhooks.web.server.ROUND_SECONDS": 0.05,
    "sfwebhooks.web.bodies.BODY_SECONDS": 0.3,
    "sfwebhooks.web.server.CONNECTIONS_MAX": 4,
}


@pytest.fixture
def port(site_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Run a server in a hurry; return its port."""
    for name, value in HURRY.items():
        monkeypatch.setattr(name, value)
    with listening(LOCAL) as listener:
        address = listener.getsockname()[:2]
        site = Site(
            folder=site_folder,
            place=site_folder / FILE,
            load=lambda: settings.load(site_folder / "webhooks.ini"),
            file=site_folder / "webhooks.ini",
            logins=Logins({Access.OPERATOR: OPERATOR}),
            listen=address,
        )
        with serving(guarded(site), site, listener):
            yield address[1]


@pytest.fixture
def connect(port: int) -> Iterator[Callable[..., socket.socket]]:
    """Connect to the server: `connect(receive_buffer)`."""
    opened: list[socket.socket] = []

    def open_one(receive_buffer: int = 0) -> socket.socket:
        one = socket.socket()
        opened.append(one)
        if receive_buffer:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        one.settimeout(PATIENCE)
        one.connect(("127.0.0.1", port))
        return one

    yield open_one
    for one in opened:
        one.close()


def rest_of(connection: socket.socket) -> bytes:
    """Return what comes until the server ends a connection."""
    got = b""
    try:
        while part := connection.recv(65536):
            got += part
    except ConnectionResetError:
        pass
    return got


def answers(port: int) -> bool:
    url = f"http://127.0.0.1:{port}/v1/session"
    headers = {"Authorization": f"Bearer {OPERATOR}"}
    return httpx.get(url, headers=headers, timeout=PATIENCE, trust_env=False).status_code == 200


def post(port: int, body: bytes) -> int:
    return httpx.post(f"http://127.0.0.1:{port}/v1/session", content=body, trust_env=False).status_code


@pytest.mark.parametrize("begin", [b"", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nX: "])
def test_who_sends_no_whole_head_is_disconnected(
    port: int, connect: Callable[..., socket.socket], begin: bytes
) -> None:
    client = connect()
    client.sendall(begin)
    assert rest_of(client) == b""
    assert answers(port)


def test_who_sends_a_second_head_slowly_is_disconnected(port: int, connect: Callable[..., socket.socket]) -> None:
    client = connect()
    whole = f"GET /nothing HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    client.sendall(whole + b"GET / HT")
    assert rest_of(client).count(b"HTTP/1.1 404 ") == 1


def test_who_sends_no_whole_body_is_disconnected(port: int, connect: Callable[..., socket.socket]) -> None:
    client = connect()
    head = f"POST /v1/session HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 100\r\n\r\n"
    client.sendall(f"{head}{{".encode())
    got = rest_of(client)
    assert got.startswith(b"HTTP/1.1 408 ") and b"within" in got


def test_bodies_that_do_not_end_do_not_fill_the_memory(
    port: int, connect: Callable[..., socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sfwebhooks.web.bodies.ALL_BODIES_MAX", 1000)
    monkeypatch.setattr("sfwebhooks.web.bodies.FIRST", 100)
    monkeypatch.setattr("sfwebhooks.web.bodies.BODY_SECONDS", PATIENCE)
    head = f"POST /v1/session HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 2000\r\n\r\n".encode()
    first = connect()
    first.sendall(head + b"x" * 700)
    assert answers(port)  # a request without a body, behind it
    second = connect()
    second.sendall(head + b"x" * 700)
    got = rest_of(second)
    assert got.startswith(b"HTTP/1.1 503 ") and b"retry-after: 1" in got.lower()
    assert post(port, b"x" * 100) == 422  # a login has room
    first.close()
    until(lambda: post(port, b"x" * 900) == 422)


def test_who_does_not_take_the_answer_is_disconnected(port: int, connect: Callable[..., socket.socket]) -> None:
    client = connect(receive_buffer=4096)
    asked = f"GET /page/app.css HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    with pytest.raises(ConnectionError):
        while True:
            client.sendall(asked * 100)
    assert answers(port)


def test_of_too_many_connections_the_one_that_has_waited_longest_for_a_request_is_ended(
    port: int, connect: Callable[..., socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sfwebhooks.web.server.HEAD_SECONDS", PATIENCE)
    held = []
    for _ in range(4):
        held.append(connect())
        held[-1].sendall(b"GET ")
    assert answers(port)
    assert rest_of(held[0]) == b""
    for one in held[1:]:
        one.settimeout(0.0)
        with pytest.raises(BlockingIOError):
            one.recv(1)


@pytest.mark.parametrize("path", ["/v1/session", "/v1/stream"])
def test_a_request_without_its_body_is_not_whole(
    port: int, connect: Callable[..., socket.socket], monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr("sfwebhooks.web.bodies.BODY_SECONDS", PATIENCE)
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 9\r\n\r\n"
    held = []
    for _ in range(5):
        held.append(connect())
        held[-1].sendall(head.encode())
    assert rest_of(held[0]) == b""
    assert answers(port)


def test_a_taken_port_is_named() -> None:
    with listening(LOCAL) as taken, pytest.raises(ConfigError, match=r"--listen 127\.0\.0\.1:\d+: .*free port"):
        listening(taken.getsockname()).__enter__()


def test_an_address_of_another_machine_is_named() -> None:
    with pytest.raises(ConfigError, match=r"--listen 192\.0\.2\.1:8900: .*address of this machine"):
        listening(("192.0.2.1", 8900)).__enter__()
