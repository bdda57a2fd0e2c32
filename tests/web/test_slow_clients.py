"""Slow, silent and senseless clients of a real server: it answers others, delivers, and gets rid of them."""

from __future__ import annotations

import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from sfwebhooks.outbox.file import FILE
from sfwebhooks.outbox.outbox import Outbox
from tests import filled
from tests.builders import PATIENCE
from tests.conftest import Team
from tests.threads import until
from tests.tiers import slow
from tests.web.serving import OPERATOR, Web, served
from tests.web.watching import SPARE, descriptors, settings

ONE_STORE = "it is about a server's clients"

#: seconds after which the server has ended all connections of an attack
GIVEN_UP = 60.0
#: connections of an attack, and of the one by numbers
MANY, FLOOD = 100, 2_000
#: what an attack sends at once, and what it goes on to send, a byte a second
Attack = tuple[int, bytes, bytes]
HEAD = b"POST /v1/session HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: 100000\r\n\r\n"
ATTACKS: dict[str, Attack] = {
    "a byte of the head a second": (MANY, b"", b"GET / HTTP/1.1\r\nX-Slow: yes\r\n" * 9),
    "a byte of the body a second": (MANY, HEAD, b"x" * 999),
    "nothing at all": (MANY, b"", b""),
    "half a request": (MANY, b"GET /v1/session HTTP/1.1\r\nHost:", b""),
    "a flood of connections": (FLOOD, b"", b""),
    "a flood of half requests": (FLOOD, b"GET / HT", b""),
}


@pytest.fixture(autouse=True)
def many_files() -> None:
    """Let this process have two thousand sockets."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 4096:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))


@pytest.fixture
def web(tmp_path: Path, team: Team) -> Iterator[Web]:
    settings(tmp_path, team.url)
    with served(tmp_path) as web:
        yield web


@contextmanager
def attacked(port: int, attack: Attack) -> Iterator[None]:
    """Attack a server while the block runs."""
    number, first, rest = attack
    clients: list[socket.socket] = []
    stop = threading.Event()

    def drip() -> None:
        for at in range(len(rest)):
            if stop.wait(1.0):
                return
            for client in clients:
                with suppress(OSError):
                    client.send(rest[at : at + 1])

    thread = threading.Thread(target=drip, daemon=True)
    try:
        for _ in range(number):
            with suppress(OSError):  # it may be refused
                clients.append(socket.create_connection(("127.0.0.1", port), PATIENCE))
                clients[-1].sendall(first % port if b"%d" in first else first)
        thread.start()
        yield
    finally:
        stop.set()
        thread.join()
        for client in clients:
            client.close()


def is_answered(web: Web) -> bool:
    """Return whether a request of somebody else is answered; one may try again, as a browser does."""
    with suppress(httpx.TransportError), web.anybody(headers={"Authorization": f"Bearer {OPERATOR}"}) as client:
        return client.get("/v1/session").status_code == 200
    return False


@slow
@pytest.mark.parametrize("name", ATTACKS)
def test_others_are_answered_and_everything_is_delivered(web: Web, tmp_path: Path, team: Team, name: str) -> None:
    assert is_answered(web)
    web.wait_for("sending")
    before = descriptors(web)
    with attacked(web.port, ATTACKS[name]):
        for number in range(1, 6):
            with closing(Outbox(tmp_path / FILE)) as outbox:
                filled.put(outbox, number)
            team.wait_for(number)
            until(lambda: is_answered(web))
        until(lambda: descriptors(web) <= before + SPARE, GIVEN_UP)
        assert is_answered(web)


def exchanged(port: int, *parts: bytes) -> bytes:
    """Return what the server answers until it closes the connection."""
    got = b""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as client, suppress(ConnectionError):
        for part in parts:
            client.sendall(part)
        while part := client.recv(65536):
            got += part
    return got


def asking(port: int, line: str = "GET /v1/health HTTP/1.1", *headers: str) -> bytes:
    return "\r\n".join([line, f"Host: 127.0.0.1:{port}", *headers, "", ""]).encode()


def statuses(got: bytes) -> list[int]:
    return [int(part[:3]) for part in got.split(b"HTTP/1.1 ")[1:]]


def test_what_is_not_http_is_refused_and_ended(web: Web) -> None:
    whole = asking(web.port)
    for rubbish in (b"\x00" * 1000, b"\xff\xfe GET\r\n\r\n", b"A" * 1_000_000, b"GET /\r\n\r\n"):
        assert statuses(exchanged(web.port, rubbish)) in ([], [400], [431]), rubbish[:20]
        assert statuses(exchanged(web.port, whole + rubbish))[:1] == [200], rubbish[:20]
    assert is_answered(web)


def test_requests_in_a_row_are_answered_in_order(web: Web) -> None:
    last = asking(web.port, "GET /v1/nothing HTTP/1.1", "Connection: close")
    got = exchanged(web.port, asking(web.port) * 20 + last)
    assert statuses(got) == [200] * 20 + [404]


def test_a_client_of_http_1_0_is_answered_and_the_connection_ended(web: Web) -> None:
    got = exchanged(web.port, asking(web.port, "GET /v1/health HTTP/1.0"))
    assert (got.startswith(b"HTTP/1.1 200 "), b"chunked" in got.lower()) == (True, False)


def test_a_target_may_be_a_whole_url_of_this_server_only(web: Web) -> None:
    """RFC 9112, section 3.2.2: a server must accept it, and its host counts rather than that of the header."""
    ours = asking(web.port, f"GET http://127.0.0.1:{web.port}/v1/health?x=1 HTTP/1.1", "Connection: close")
    assert statuses(exchanged(web.port, ours)) == [200]
    theirs = asking(web.port, "GET http://evil.example/v1/health HTTP/1.1", "Connection: close")
    assert statuses(exchanged(web.port, theirs)) == [421]


@pytest.mark.parametrize("line", ["CONNECT evil.example:443", "OPTIONS *", "TRACE /v1/health"])
def test_other_targets_and_methods_are_refused(web: Web, line: str) -> None:
    (status,) = statuses(exchanged(web.port, asking(web.port, f"{line} HTTP/1.1", "Connection: close")))
    assert 400 <= status < 500


@slow
@pytest.mark.parametrize("size", [200_000, 1_000_000, 30_000_000])
def test_huge_headers_are_refused_and_kept_nowhere(web: Web, size: int) -> None:
    for headers in ([f"X: {'a' * size}"], ["X: a"] * (size // 6), [f"{'a' * size}: x"]):
        asked = asking(web.port, "GET /v1/health HTTP/1.1", *headers)
        assert statuses(exchanged(web.port, asked)) in ([], [400], [431])
    assert is_answered(web)


def test_nothing_of_that_is_logged_for_each_client(web: Web) -> None:
    for _ in range(50):
        exchanged(web.port, b"\x00rubbish\r\n\r\n")
    assert is_answered(web)
    assert len(web.said) < 10


def test_a_client_that_asks_again_and_again_and_reads_nothing_is_ended(web: Web) -> None:
    asked = asking(web.port, "GET /v1/openapi.json HTTP/1.1", f"Authorization: Bearer {OPERATOR}") * 100
    with socket.create_connection(("127.0.0.1", web.port), PATIENCE) as client:
        client.setblocking(False)
        sent, begin = 0, time.monotonic()
        with suppress(OSError):
            while time.monotonic() < begin + 2:
                sent += client.send(asked)
        assert is_answered(web)
    until(lambda: is_answered(web))
